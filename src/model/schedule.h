/* Dropout schedules (arXiv 2411.03236, section 3) and the learning rate: pure functions of the iteration, in double,
 * from own functions; `val-loss` has a state of four numbers that checkpoints carry. */
#ifndef DD_MODEL_SCHEDULE_H
#define DD_MODEL_SCHEDULE_H
#include "model/schedule.def"
#include <stdbool.h>
#include <stdint.h>

typedef struct dd_schedule {
  enum dd_schedule_id id;
  double p0, pf;
  int64_t T; /* max_iters */
  /* val-loss only */
  double step, min, max, min_delta;
  int64_t patience;
  bool compare_prev; /* improved: below the previous loss; else below the best so far */
} dd_schedule;

typedef struct dd_schedule_state {
  double p;           /* rate that val-loss holds now */
  double best, prev;  /* loss to beat (the last that improved by min_delta), loss before; +inf before the first */
  int64_t waited;     /* evaluations in a row without improvement */
} dd_schedule_state;

void dd_schedule_start(const dd_schedule *s, dd_schedule_state *st);
/** Rate of iteration t, 0 <= t <= T. */
double dd_schedule_rate(const dd_schedule *s, const dd_schedule_state *st, int64_t t);
/** Tell the result of an evaluation. */
void dd_schedule_observe(const dd_schedule *s, dd_schedule_state *st, double val_loss);

typedef struct dd_lr {
  double max, min;
  int64_t warmup, decay_iters;
  bool decay;
} dd_lr;
/** nanoGPT: max (it+1)/(warmup+1) while it < warmup, then half a cosine to min at decay_iters. */
double dd_learning_rate(const dd_lr *l, int64_t it);
#endif
