/* The runs of a study: those of directories of `dd-cpu compare`, which hold a plan in compare.json, of run directories,
 * and of directories that hold run directories, in any mixture. */
#ifndef DD_STUDY_LOAD_H
#define DD_STUDY_LOAD_H
#include "study/runs.h"

enum { DD_STUDY_CELLS_MOST = 65536 };

typedef struct dd_study {
  dd_study_run *runs; /* planned ones first, in the order of the plan; others in order of name */
  char **cell;        /* of each run: settings of its cell but for the seed, as text; NULL: no cell */
  int *source;        /* of each run: index of the directory it came from */
  size_t n, room;
  json_t *sources, *warnings; /* arrays of strings */
  json_t *cost;       /* object "cost" of the first measured.json, or NULL */
  char *command;      /* that makes the study, or NULL */
  char baseline[256]; /* of the plan; "" when it names none */
  const dd_callbacks *cb; /* while loading: should_stop is asked before every run; may be NULL */
} dd_study;

/** Damaged, unfinished and missing runs are among the runs. DD_E_USAGE, DD_E_IO: a directory holds no run at all.
 *  Free in any case. */
int dd_study_load(const char *const *dirs, int n, const dd_callbacks *cb, dd_study *out, dd_error *err);
void dd_study_free(dd_study *st);
/** One more sentence. */
int dd_study_warn(dd_study *st, dd_error *err, const char *format, ...) DD_PRINTF(3, 4);
#endif
