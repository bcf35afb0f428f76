#include "model/schedule.h"
#include "core/mathd.h"
#include <math.h>

/* One function per row of DD_SCHEDULES: the rate at fraction x = t/T. */
typedef double rate_fn(const dd_schedule *s, const dd_schedule_state *st, double x);

static double rate_FIXED(const dd_schedule *s, const dd_schedule_state *st, double x) {
  (void)st, (void)x;
  return s->p0;
}
static double rate_LINEAR(const dd_schedule *s, const dd_schedule_state *st, double x) {
  (void)st;
  return s->p0 * (1 - x) + s->pf * x;
}
static double rate_EXPONENTIAL(const dd_schedule *s, const dd_schedule_state *st, double x) {
  (void)st;
  return s->p0 > 0 ? s->p0 * dd_pow(s->pf / s->p0, x) : 0;
}
static double rate_COSINE(const dd_schedule *s, const dd_schedule_state *st, double x) {
  (void)st;
  return s->pf + (s->p0 - s->pf) * (1 + dd_cospi(x)) / 2;
}
static double rate_VAL_LOSS(const dd_schedule *s, const dd_schedule_state *st, double x) {
  (void)s, (void)x;
  return st->p;
}

static rate_fn *const rates[DD_SCHEDULE_COUNT] = {
#define ROW(id, ...) [DD_SCHEDULE_##id] = rate_##id,
    DD_SCHEDULES(ROW)
#undef ROW
};

static double clamp(double x, double lo, double hi) { return x < lo ? lo : x > hi ? hi : x; }

void dd_schedule_start(const dd_schedule *s, dd_schedule_state *st) {
  *st = (dd_schedule_state){.p = s->p0, .best = INFINITY, .prev = INFINITY};
}

double dd_schedule_rate(const dd_schedule *s, const dd_schedule_state *st, int64_t t) {
  const double x = s->T > 0 ? clamp((double)t / (double)s->T, 0, 1) : 0;
  return clamp(rates[s->id](s, st, x), 0, 0x1.fffffp-1);
}

void dd_schedule_observe(const dd_schedule *s, dd_schedule_state *st, double val_loss) {
  const bool first = st->best == INFINITY;
  const bool improved = val_loss < (s->compare_prev ? st->prev : st->best) - s->min_delta;
  st->waited = improved ? 0 : st->waited + 1;
  /* Without compare_prev, best is the loss to beat: falls smaller than min_delta add up until they count. */
  if (s->compare_prev ? val_loss < st->best : improved) st->best = val_loss;
  st->prev = val_loss;
  if (s->id != DD_SCHEDULE_VAL_LOSS || first) return; /* the first loss has nothing to compare with */
  if (improved) st->p = clamp(st->p - s->step, s->min, s->max);
  else if (st->waited >= s->patience) st->p = clamp(st->p + s->step, s->min, s->max);
}

double dd_learning_rate(const dd_lr *l, int64_t it) {
  if (!l->decay) return l->max;
  if (it < l->warmup) return l->max * (double)(it + 1) / (double)(l->warmup + 1);
  if (it >= l->decay_iters) return l->min;
  const double x = (double)(it - l->warmup) / (double)(l->decay_iters - l->warmup);
  return l->min + 0.5 * (1 + dd_cospi(x)) * (l->max - l->min);
}
