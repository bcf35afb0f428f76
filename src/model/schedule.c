#include "model/schedule.h"
#include "core/mathd.h"
#include <math.h>

static double clamp(double x, double lo, double hi) { return x < lo ? lo : x > hi ? hi : x; }

/* One function per row of DD_SCHEDULES: the rate at iteration t, x = t/T. */
typedef struct place {
  double x;
  int64_t t;
} place;
typedef double rate_fn(const dd_schedule *s, const dd_schedule_state *st, place at);
#define RATE(id) static double rate_##id(const dd_schedule *s, const dd_schedule_state *st, place at)

RATE(FIXED) {
  (void)st, (void)at;
  return s->p0;
}
RATE(LINEAR) {
  (void)st;
  return s->p0 * (1 - at.x) + s->pf * at.x;
}
RATE(EXPONENTIAL) {
  (void)st;
  return s->p0 > 0 ? s->p0 * dd_pow(s->pf / s->p0, at.x) : 0;
}
RATE(COSINE) {
  (void)st;
  return s->pf + (s->p0 - s->pf) * (1 + dd_cospi(at.x)) / 2;
}
RATE(VAL_LOSS) {
  (void)s, (void)at;
  return st->p;
}
RATE(LINEAR_RISE) {
  (void)st;
  return s->pf * (1 - at.x) + s->p0 * at.x;
}
RATE(CURRICULUM) {
  (void)st;
  return s->pf + (s->p0 - s->pf) * (1 - dd_exp(-s->gamma * at.x));
}
RATE(EARLY) {
  (void)st;
  return at.x < s->cutoff ? s->p0 * (1 - at.x / s->cutoff) : 0;
}
RATE(LATE) {
  (void)st;
  return at.x < s->cutoff ? 0 : s->p0;
}
RATE(V) {
  (void)st;
  const double c = s->cutoff, u = at.x < c ? at.x / c : c < 1 ? 1 - (at.x - c) / (1 - c) : 1; /* depth: 0 to 1 to 0 */
  return s->p0 * (1 - u) + s->pf * u;
}
RATE(TRIANGLE) {
  (void)st;
  const double turn = at.x * (double)s->cycles, u = 2 * (turn - (double)(int64_t)turn), up = u < 1 ? u : 2 - u;
  return s->pf * (1 - up) + s->p0 * up;
}
RATE(STEPS) {
  (void)st;
  return dd_points_step(s->points, s->T, at.t, s->p0);
}
RATE(TABLE) {
  (void)st;
  return dd_points_line(s->points, s->T, at.t);
}

double dd_schedule_raw_expr(const dd_schedule *s, const dd_schedule_state *st, int64_t t) {
  const double var[DD_EXPR_VAR_COUNT] = {
      [DD_EXPR_t] = (double)t,       [DD_EXPR_T] = (double)s->T,
      [DD_EXPR_p0] = s->p0,          [DD_EXPR_pf] = s->pf,
      [DD_EXPR_val] = st->prev,      [DD_EXPR_train] = st->train,
      [DD_EXPR_best] = st->lowest,   [DD_EXPR_gap] = st->prev < (double)INFINITY ? st->prev - st->train : 0,
  };
  return dd_expr_eval(s->expr, var);
}
RATE(EXPR) {
  const double p = dd_schedule_raw_expr(s, st, at.t);
  return p == p ? p + 0.0 : s->p0; /* -0 becomes 0 */
}
RATE(GAP) {
  (void)s, (void)at;
  return st->p;
}

RATE(CALLBACK) {
  if (!s->ask || !s->ask->rate) return s->p0;
  const dd_rate_query q = {.iter = at.t,
                           .max_iters = s->T,
                           .name = s->name,
                           .site = s->site,
                           .p0 = s->p0,
                           .train_loss = st->train,
                           .val_loss = st->prev,
                           .best_val_loss = st->lowest};
  return s->ask->rate(s->ask->user, &q) + 0.0;
}

static rate_fn *const rates[DD_SCHEDULE_COUNT] = {
#define ROW(id, ...) [DD_SCHEDULE_##id] = rate_##id,
    DD_SCHEDULES(ROW)
#undef ROW
};

void dd_schedule_start(const dd_schedule *s, dd_schedule_state *st) {
  *st = (dd_schedule_state){
      .p = s->p0, .best = INFINITY, .prev = INFINITY, .train = INFINITY, .lowest = INFINITY, .waited = 0};
}

double dd_schedule_rate(const dd_schedule *s, const dd_schedule_state *st, int64_t t) {
  const place at = {.x = s->T > 0 ? clamp((double)t / (double)s->T, 0, 1) : 0, .t = t < 0 ? 0 : t > s->T ? s->T : t};
  return clamp(rates[s->id](s, st, at), 0, 0x1.fffffp-1);
}

void dd_schedule_observe(const dd_schedule *s, dd_schedule_state *st, double train_loss, double val_loss) {
  const bool first = st->best == INFINITY;
  const bool improved = val_loss < (s->compare_prev ? st->prev : st->best) - s->min_delta;
  st->waited = improved ? 0 : st->waited + 1;
  /* Without compare_prev, best is the loss to beat: falls smaller than min_delta add up until they count. */
  if (s->compare_prev ? val_loss < st->best : improved) st->best = val_loss;
  if (val_loss < st->lowest) st->lowest = val_loss;
  st->prev = val_loss;
  st->train = train_loss;
  if (first) return;
  double change = 0;
  const double off = val_loss - train_loss - s->gap_target;
  if (s->id == DD_SCHEDULE_GAP) change = clamp(s->gap_gain * off, -s->step, s->step);
  else if (s->id != DD_SCHEDULE_VAL_LOSS) return;
  else if (improved) change = -s->step;
  else if (st->waited >= s->patience) change = s->step;
  else return;
  st->p = clamp(st->p + change, s->min, s->max);
}

double dd_learning_rate(const dd_lr *l, int64_t it) {
  if (!l->decay) return l->max;
  if (it < l->warmup) return l->max * (double)(it + 1) / (double)(l->warmup + 1);
  if (it >= l->decay_iters) return l->min;
  const double x = (double)(it - l->warmup) / (double)(l->decay_iters - l->warmup);
  return l->min + 0.5 * (1 + dd_cospi(x)) * (l->max - l->min);
}
