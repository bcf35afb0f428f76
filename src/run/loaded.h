/* A finished or running run, opened for reading. */
#ifndef DD_RUN_LOADED_H
#define DD_RUN_LOADED_H
#include "run/checkpoint.h"

typedef struct dd_loaded {
  dd_checkpoint *c;
  dd_model *m;    /* without gradients */
  dd_vocab vocab; /* the run's own, or with the texts of --bpe */
} dd_loaded;

/** The checkpoint that s.run and s.checkpoint name. B: sequences at once; 0: as many as the run trained with, unless the
 *  settings say. T: tokens of each; 0: the context. */
int dd_run_load(dd_loaded *r, const dd_settings *s, int64_t B, int64_t T, dd_error *err);
void dd_run_unload(dd_loaded *r);
#endif
