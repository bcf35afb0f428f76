/* Sums over flat arrays that the optimizer step needs. */
#include "ops/ops.h"

void dd_norm_partials(dd_ctx *c, double *partial, const float *g, int64_t n) {
  dd_enter(c, DD_PHASE_FOLD);
  DD_FOR(c, i, dd_pieces(n, DD_NORM_CHUNK)) {
    partial[i] = c->k->sumsq(g + i * DD_NORM_CHUNK, dd_min64(DD_NORM_CHUNK, n - i * DD_NORM_CHUNK));
  }
}

void dd_accumulate(dd_ctx *c, float *dst, const float *src, int64_t n) {
  dd_enter(c, DD_PHASE_FOLD);
  DD_FOR(c, i, dd_pieces(n, DD_NORM_CHUNK)) {
    const int64_t at = i * DD_NORM_CHUNK;
    c->k->add(dst + at, dst + at, src + at, dd_min64(DD_NORM_CHUNK, n - at));
  }
}

double dd_sum_in_order(const double *x, int64_t n) {
  double s = 0;
  for (int64_t i = 0; i < n; i++) s += x[i];
  return s;
}
