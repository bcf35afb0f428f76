/* One run directory as a study sees it: its settings, its curves, and the values of columns.def. */
#ifndef DD_STUDY_RUNS_H
#define DD_STUDY_RUNS_H
#include "run/settings.h"
#include "study/columns.def"

/* X(id, name): finished has a step and an evaluation at max_iters; damaged cannot be read at all. */
#define DD_RUN_STATES(X)                                                                                             \
  X(FINISHED, "finished") X(UNFINISHED, "unfinished") X(MISSING, "missing") X(DIVERGED, "diverged")                  \
  X(DAMAGED, "damaged")
enum dd_run_state_id {
#define DD_ENUM_ROW(id, name) DD_RUN_##id,
  DD_RUN_STATES(DD_ENUM_ROW) DD_RUN_STATE_COUNT
#undef DD_ENUM_ROW
};
const char *dd_run_state_name(enum dd_run_state_id id);

/* What cannot be is NaN. */
typedef struct dd_run_step { int64_t iter; double loss, rate, ms, elapsed_s; } dd_run_step;
typedef struct dd_run_eval { int64_t iter; double train, val, rate; } dd_run_eval;

/* At most this many of each are kept per run. Of more steps every second one is dropped, again and again; more
 * evaluations, which decide results, make the run damaged. */
enum { DD_RUN_STEPS_MOST = 65536, DD_RUN_EVALS_MOST = 262144 };

typedef struct dd_study_run {
  char *dir;                         /* as reports name it */
  enum dd_run_state_id state;
  char why[600];                     /* one sentence unless finished */
  bool known;                        /* settings are: from config.json, or from the plan of a study */
  bool read;                         /* config.json was */
  char *setting[DD_SETTING_COUNT];   /* text of what changes results, else NULL */
  bool used[DD_SETTING_COUNT];       /* parameters that this run's schedule uses */
  char schedule[256];                /* its name in reports */
  int schedule_id;
  uint64_t seed;
  int64_t max_iters;
  int64_t numerics;
  char data_name[256], data_hash[80];
  char cpu[128], tier[32];
  int threads;
  dd_run_step *steps;                /* iter rises in both */
  size_t n_steps;
  dd_run_eval *evals;
  size_t n_evals;
  int64_t iter;                      /* of the last record, -1: none */
  int64_t bad_lines;                 /* lines of metrics.jsonl that are no records */
  char fingerprint[33];              /* of the last evaluation */
  double column[DD_COLUMN_COUNT];    /* NaN unless finished */
} dd_study_run;

/** Read directory `path`, called `shown` in reports. Whatever is wrong with the files becomes out->state and out->why;
 *  fails only with DD_E_RUNTIME when memory ran out. Free in any case. */
int dd_study_run_read(const char *path, const char *shown, dd_study_run *out, dd_error *err);
/** Is the run in this directory finished? */
int dd_study_run_finished(const char *dir);
/** Settings of a planned run whose directory tells none. */
int dd_study_run_plan(dd_study_run *run, const dd_settings *s, dd_error *err);
void dd_study_run_free(dd_study_run *run);
#endif
