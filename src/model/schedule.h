/* Dropout schedules (model/schedule.def) and the learning rate: functions of the iteration and of what evaluations have
 * told, in double, from own functions. The state is a few numbers that checkpoints carry. */
#ifndef DD_MODEL_SCHEDULE_H
#define DD_MODEL_SCHEDULE_H
#include "core/error.h"
#include "model/expr.h"
#include "model/points.h"
#include "model/schedule.def"
#include <stdbool.h>
#include <stdint.h>

typedef struct dd_schedule {
  enum dd_schedule_id id;
  double p0, pf;
  int64_t T; /* max_iters */
  /* curriculum; early, late, v: part of T; triangle */
  double gamma, cutoff;
  int64_t cycles;
  /* val-loss, gap: change per evaluation (gap: at most), bounds */
  double step, min, max;
  /* val-loss */
  double min_delta;
  int64_t patience;
  bool compare_prev; /* improved: below the previous loss; else below the best so far */
  /* gap */
  double gap_target, gap_gain;
  /* steps and table; expr; owned by somebody else */
  const dd_points *points;
  const dd_expr *expr;
  /* callback: whose function, the name it was chosen by, and the site it is asked for (-1: all); NULL: p0 */
  const dd_callbacks *ask;
  const char *name;
  int site;
} dd_schedule;

/* Losses are +inf before the first evaluation. */
typedef struct dd_schedule_state {
  double p;           /* rate that val-loss and gap hold now */
  double best, prev;  /* loss to beat (the last that improved by min_delta); last validation loss */
  double train, lowest; /* last training loss; lowest validation loss */
  int64_t waited;     /* evaluations in a row without improvement */
} dd_schedule_state;

void dd_schedule_start(const dd_schedule *s, dd_schedule_state *st);
/** Rate of iteration t, 0 <= t <= T, in [0, 1); of a callback NaN too, as it is. Of an expression: what is outside is clamped, NaN gives p0; before the
 *  first evaluation (in training there is one before iteration 0) val, train and best are inf and gap is 0. */
double dd_schedule_rate(const dd_schedule *s, const dd_schedule_state *st, int64_t t);
/** The value of an expression as it is, for checks: NaN and what is outside [0, 1) included. */
double dd_schedule_raw_expr(const dd_schedule *s, const dd_schedule_state *st, int64_t t);
/** Tell the result of an evaluation. The first one moves nothing: there is nothing to compare it with. */
void dd_schedule_observe(const dd_schedule *s, dd_schedule_state *st, double train_loss, double val_loss);

typedef struct dd_lr {
  double max, min;
  int64_t warmup, decay_iters;
  bool decay;
} dd_lr;
/** nanoGPT: max (it+1)/(warmup+1) while it < warmup, then half a cosine to min at decay_iters. */
double dd_learning_rate(const dd_lr *l, int64_t it);
#endif
