#include "run/guard.h"
#include <math.h>

/* Squares of gradients are kept as floats; beyond this norm one of them could overflow. */
#define NORM_MOST 1e19

/* Mean and standard deviation in the order of the slots: the same after a resume. */
static double outlier_limit(const dd_settings *s, const dd_guard_state *g) {
  if (!(s->outlier_sigma > 0) || g->norms < DD_GUARD_LEAST) return INFINITY;
  const int n = g->norms < DD_GUARD_WINDOW ? (int)g->norms : DD_GUARD_WINDOW;
  double sum = 0, squares = 0;
  for (int i = 0; i < n; i++) sum += g->norm[i];
  const double mean = sum / n;
  for (int i = 0; i < n; i++) squares += (g->norm[i] - mean) * (g->norm[i] - mean);
  return mean + s->outlier_sigma * sqrt(squares / (n - 1));
}

dd_verdict dd_guard_judge(const dd_settings *s, const dd_guard_state *g, double loss, double norm, double *limit) {
  const double most = outlier_limit(s, g), applied = s->grad_clip > 0 && norm > s->grad_clip ? s->grad_clip : norm;
  if (limit) *limit = most;
  if (!isfinite(loss) || !isfinite(norm) || applied > NORM_MOST) return DD_NOT_FINITE;
  return norm > most ? DD_OUTLIER : DD_FIT;
}

void dd_guard_applied(const dd_settings *s, dd_guard_state *g, double norm) {
  g->updates++;
  g->in_row = 0;
  if (s->outlier_sigma > 0) g->norm[g->norms++ % DD_GUARD_WINDOW] = norm;
}

void dd_guard_skipped(dd_guard_state *g) {
  g->skipped++;
  g->in_row++;
}
