/* How many trainings at once, on which processors; and what a step of them costs. None of it changes a result. */
#ifndef DD_STUDY_PACKING_H
#define DD_STUDY_PACKING_H
#include "run/settings.h"
#include "study/worker.h"

typedef struct dd_packing {
  int jobs, threads; /* trainings at once, threads of each */
  cpu_set_t *block;  /* [jobs] processors of each, or NULL: not bound */
  double step_ms;    /* of one training while all run, 0: not measured */
  char why[160];     /* for people */
} dd_packing;

/** Memory of one training, in bytes; 0 when not known. */
uint64_t dd_packing_bytes(const dd_settings *s, int vocab, int threads);
/** --jobs decides, else a short measurement of every split of the threads into powers of two: what finishes `pending`
 *  runs soonest. The memory that is free bounds the jobs. s: settings of the largest run. vocab: V of the model.
 *  DD_E_STOPPED when asked for; a split that cannot be measured is left out, with a warning. */
int dd_packing_choose(dd_packing *p, const dd_settings *s, int vocab, size_t pending, const dd_callbacks *cb,
                      dd_error *err);
void dd_packing_free(dd_packing *p);

/** What a training step costs; measured in a child process by dd_trial_run. */
typedef struct dd_trial {
  const dd_settings *s;
  int vocab, threads;
  double seconds; /* at least this long */
  int both;       /* with and without dropout in turn: figure[0] and figure[1] are ms per iteration; else [0] only */
} dd_trial;
int dd_trial_run(void *trial, dd_slot *slot);
#endif
