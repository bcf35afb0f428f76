/* Statistics that do not trust a single moment: order statistics, no means of times. */
#include "bench/bench.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int ascending(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

double dd_quantile(const double *sorted, int n, double q) {
  const double at = q * (n - 1);
  const int i = (int)at;
  return i + 1 < n ? sorted[i] + (at - i) * (sorted[i + 1] - sorted[i]) : sorted[n - 1];
}

dd_spread dd_spread_of(const double *x, int n) {
  double sorted[DD_SAMPLES_MAX];
  if (n < 1) return (dd_spread){NAN, NAN, NAN, 0};
  if (n > DD_SAMPLES_MAX) n = DD_SAMPLES_MAX;
  memcpy(sorted, x, (size_t)n * sizeof *x);
  qsort(sorted, (size_t)n, sizeof *sorted, ascending);
  return (dd_spread){dd_quantile(sorted, n, 0.5), dd_quantile(sorted, n, 0.1), dd_quantile(sorted, n, 0.9), n};
}

double dd_geomean(const double *x, int n) {
  double sum = 0;
  for (int i = 0; i < n; i++) sum += log(x[i]);
  return exp(sum / n);
}

int dd_spread_differs(const dd_spread *a, const dd_spread *b) { return b->p10 > a->p90 ? 1 : b->p90 < a->p10 ? -1 : 0; }
