#include "study/stats.h"
#include "core/mathd.h"
#include "core/philox.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

double dd_stats_mean(const double *x, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += x[i];
  return n ? sum / (double)n : NAN;
}

double dd_stats_sd(const double *x, size_t n) {
  if (n < 2) return NAN;
  const double mean = dd_stats_mean(x, n);
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += (x[i] - mean) * (x[i] - mean);
  return sqrt(sum / (double)(n - 1));
}

double dd_stats_min(const double *x, size_t n) {
  double m = n ? x[0] : NAN;
  for (size_t i = 1; i < n; i++)
    if (x[i] < m) m = x[i];
  return m;
}

double dd_stats_max(const double *x, size_t n) {
  double m = n ? x[0] : NAN;
  for (size_t i = 1; i < n; i++)
    if (x[i] > m) m = x[i];
  return m;
}

static int by_value(const void *pa, const void *pb) {
  const double a = *(const double *)pa, b = *(const double *)pb;
  return a < b ? -1 : a > b;
}

double dd_stats_median(double *x, size_t n) {
  if (!n) return NAN;
  qsort(x, n, sizeof *x, by_value);
  return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

/* ---- distributions ---- */

/* Stirling's series beyond 15, where the last term used is below 1e-17; smaller x step up by
 * Gamma(x + 1) = x Gamma(x). */
double dd_stats_lgamma(double x) {
  if (!(x > 0)) return NAN;
  double product = 1;
  for (; x < 15; x += 1) product *= x;
  const double z = 1 / (x * x);
  static const double c[] = {1.0 / 12, -1.0 / 360, 1.0 / 1260, -1.0 / 1680, 1.0 / 1188, -691.0 / 360360, 1.0 / 156};
  double series = 0;
  for (int i = 6; i >= 0; i--) series = series * z + c[i];
  const double half_log_2pi = 0x1.d67f1c864beb5p-1;
  return (x - 0.5) * dd_log(x) - x + half_log_2pi + series / x - dd_log(product);
}

/* Continued fraction of the incomplete beta function by Lentz's method; converges fast for x < (a+1)/(a+b+2). */
static double beta_fraction(double a, double b, double x) {
  const double tiny = 1e-300;
  double c = 1, d = 1 - (a + b) * x / (a + 1);
  d = 1 / (fabs(d) < tiny ? tiny : d);
  double f = d;
  for (int m = 1; m <= 20000; m++) {
    for (int odd = 0; odd < 2; odd++) {
      const double k = odd ? -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
                           : m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
      d = 1 + k * d;
      c = 1 + k / c;
      d = 1 / (fabs(d) < tiny ? tiny : d);
      if (fabs(c) < tiny) c = tiny;
      f *= c * d;
    }
    if (fabs(c * d - 1) < 1e-16) break;
  }
  return f;
}

double dd_stats_ibeta(double a, double b, double x, double y) {
  if (!(a > 0) || !(b > 0) || !(x >= 0) || !(y >= 0)) return NAN;
  if (x == 0) return 0;
  if (y == 0) return 1;
  const double front =
      dd_exp(dd_stats_lgamma(a + b) - dd_stats_lgamma(a) - dd_stats_lgamma(b) + a * dd_log(x) + b * dd_log(y));
  if (x < (a + 1) / (a + b + 2)) return front * beta_fraction(a, b, x) / a;
  return 1 - front * beta_fraction(b, a, y) / b;
}

double dd_stats_t_p(double t, double df) {
  if (!(df > 0) || isnan(t)) return NAN;
  if (isinf(t)) return 0;
  const double sum = df + t * t;
  return dd_stats_ibeta(df / 2, 0.5, df / sum, t * t / sum);
}

double dd_stats_t_quantile(double p, double df) {
  if (!(p > 0) || !(p < 1) || !(df > 0)) return NAN;
  double lo = 0, hi = 1;
  while (dd_stats_t_p(hi, df) > p && hi < 1e300) lo = hi, hi *= 2;
  for (int i = 0; i < 200; i++) {
    const double mid = lo + (hi - lo) / 2;
    if (mid <= lo || mid >= hi) break;
    if (dd_stats_t_p(mid, df) > p) lo = mid;
    else hi = mid;
  }
  return lo + (hi - lo) / 2;
}

/* Series about 0 (all terms positive), continued fraction in the tail. */
double dd_stats_normal(double z) {
  if (isnan(z)) return z;
  const double a = fabs(z), density = dd_exp(-a * a / 2) * 0x1.9884533d43651p-2;
  double tail;
  if (a < 5) {
    double term = a, sum = a;
    for (int k = 3; k < 200 && term > 1e-18 * sum; k += 2) term *= a * a / k, sum += term;
    tail = 0.5 - density * sum;
  } else {
    double f = 0;
    for (int k = 60; k >= 1; k--) f = k / (a + f);
    tail = density / (a + f);
  }
  return z < 0 ? tail : 1 - tail;
}

/* ---- differences against zero ---- */

void dd_stats_t_test(const double *d, size_t n, double *p, double *lo, double *hi) {
  *p = *lo = *hi = NAN;
  if (n < 2) return;
  const double mean = dd_stats_mean(d, n), se = dd_stats_sd(d, n) / sqrt((double)n), df = (double)(n - 1);
  const double half = se > 0 ? dd_stats_t_quantile(0.05, df) * se : 0;
  *lo = mean - half;
  *hi = mean + half;
  *p = se > 0 ? dd_stats_t_p(mean / se, df) : mean == 0 ? 1 : 0;
}

/* Key and addresses of the draws here; no run uses this key with these addresses. */
#define STATS_KEY 0x5354415453ull /* "STATS" */
enum { ADDRESS_BOOTSTRAP = 1, ADDRESS_SIGNS = 2 };

/* Quantile of sorted values, linear between neighbours. */
static double quantile(const double *sorted, size_t n, double q) {
  const double at = q * (double)(n - 1);
  const size_t i = (size_t)at;
  return i + 1 < n ? sorted[i] + (at - (double)i) * (sorted[i + 1] - sorted[i]) : sorted[n - 1];
}

void dd_stats_bootstrap(const double *x, size_t n, double *lo, double *hi) {
  *lo = *hi = NAN;
  double mean[DD_BOOTSTRAPS];
  if (n < 2) return;
  for (uint32_t r = 0; r < DD_BOOTSTRAPS; r++) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
      uint32_t u[4];
      dd_philox(u, STATS_KEY, r, (uint32_t)i, ADDRESS_BOOTSTRAP, (uint32_t)n);
      sum += x[dd_philox_below(u, (int64_t)n)];
    }
    mean[r] = sum / (double)n;
  }
  qsort(mean, DD_BOOTSTRAPS, sizeof *mean, by_value);
  *lo = quantile(mean, DD_BOOTSTRAPS, 0.025);
  *hi = quantile(mean, DD_BOOTSTRAPS, 0.975);
}

/* Sums of d[n] under all 2^n patterns of signs. */
static void signed_sums(const double *d, size_t n, double *out) {
  out[0] = 0;
  for (size_t i = 0; i < n; i++)
    for (size_t k = 0; k < (size_t)1 << i; k++) {
      out[k + ((size_t)1 << i)] = out[k] - d[i];
      out[k] += d[i];
    }
}

/* Every pattern is one of the first half joined to one of the second. */
static double permutation_exact(const double *d, size_t n, double least) {
  static const size_t most = (size_t)1 << (DD_PERMUTATION_EXACT / 2);
  double first[(size_t)1 << (DD_PERMUTATION_EXACT / 2)], second[(size_t)1 << (DD_PERMUTATION_EXACT / 2)];
  const size_t a = n / 2, b = n - a;
  signed_sums(d, a, first);
  signed_sums(d + a, b, second);
  size_t count = 0;
  for (size_t i = 0; i < (size_t)1 << a && i < most; i++)
    for (size_t k = 0; k < (size_t)1 << b && k < most; k++) count += fabs(first[i] + second[k]) >= least;
  return (double)count / (double)((size_t)1 << n);
}

static double permutation_drawn(const double *d, size_t n, double least) {
  size_t count = 1;
  for (uint32_t r = 1; r < DD_PERMUTATIONS; r++) {
    uint32_t u[4] = {0};
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
      if (i % 128 == 0) dd_philox(u, STATS_KEY, r, (uint32_t)(i / 128), ADDRESS_SIGNS, (uint32_t)n);
      sum += u[i % 128 / 32] >> i % 32 & 1 ? d[i] : -d[i];
    }
    count += fabs(sum) >= least;
  }
  return (double)count / DD_PERMUTATIONS;
}

double dd_stats_permutation(const double *d, size_t n, bool *exact) {
  *exact = n <= DD_PERMUTATION_EXACT;
  if (!n) return NAN;
  double sum = 0, size = 0;
  for (size_t i = 0; i < n; i++) sum += d[i], size += fabs(d[i]);
  /* Patterns that are as far out as the observed one in real numbers must be so in double too. */
  const double least = fabs(sum) - 1e-12 * size;
  return *exact ? permutation_exact(d, n, least) : permutation_drawn(d, n, least);
}

double dd_stats_permutation_floor(size_t n) {
  if (!n) return 1;
  if (n > DD_PERMUTATION_EXACT) return 1.0 / DD_PERMUTATIONS;
  return 2.0 / (double)((size_t)1 << n);
}

double dd_stats_sign_test(size_t wins, size_t losses) {
  if (wins == losses) return 1;
  const size_t few = wins < losses ? wins : losses, n = wins + losses;
  /* P(X <= few) of the binomial distribution with n trials at 1/2 */
  const double p = 2 * dd_stats_ibeta((double)(n - few), (double)few + 1, 0.5, 0.5);
  return p < 1 ? p : 1;
}

void dd_stats_holm(const double *p, size_t n, double *out) {
  size_t m = 0, at = n; /* at: where the last one was */
  double before = 0;
  for (size_t i = 0; i < n; i++) m += !isnan(p[i]), out[i] = p[i];
  for (size_t rank = 0; rank < m; rank++) {
    size_t next = n; /* the smallest p behind the last one; of equal ones the first */
    for (size_t i = 0; i < n; i++) {
      const bool behind = at == n || p[i] > p[at] || (p[i] == p[at] && i > at);
      if (!isnan(p[i]) && behind && (next == n || p[i] < p[next])) next = i;
    }
    double adjusted = (double)(m - rank) * p[next];
    if (adjusted > 1) adjusted = 1;
    if (adjusted < before) adjusted = before;
    out[next] = before = adjusted;
    at = next;
  }
}

double dd_stats_power(size_t n, double mean, double sd, double alpha) {
  if (n < 2 || !(sd > 0) || isnan(mean)) return NAN;
  enum { STEPS = 600 };
  const double df = (double)(n - 1), shift = fabs(mean) / sd * sqrt((double)n), t = dd_stats_t_quantile(alpha, df);
  /* s: sample deviation over the true one; s^2 df is chi-square. Beyond nine deviations there is nothing left. */
  const double width = 9 / sqrt(df), from = width < 1 ? 1 - width : 0, step = (1 + width - from) / STEPS;
  const double log_scale = 0x1.62e42fefa39efp-1 + df / 2 * dd_log(df / 2) - dd_stats_lgamma(df / 2);
  double sum = 0;
  for (int i = 0; i <= STEPS; i++) {
    const double s = from + i * step;
    double density = 0;
    if (s > 0) density = dd_exp(log_scale + (df - 1) * dd_log(s) - df * s * s / 2);
    else if (df == 1) density = dd_exp(log_scale);
    const double beyond = 1 - dd_stats_normal(t * s - shift) + dd_stats_normal(-t * s - shift);
    sum += (i == 0 || i == STEPS ? 1 : i % 2 ? 4 : 2) * density * beyond;
  }
  return sum * step / 3;
}

size_t dd_stats_seeds_needed(double mean, double sd) {
  if (!(sd > 0) || !(fabs(mean) > 0) || !isfinite(mean / sd)) return 0;
  size_t lo = 1, hi = 2;
  while (!(dd_stats_power(hi, mean, sd, 0.05) >= 0.8)) {
    if (hi >= DD_SEEDS_MOST) return 0;
    lo = hi;
    hi = hi * 2 < DD_SEEDS_MOST ? hi * 2 : DD_SEEDS_MOST;
  }
  while (hi - lo > 1) {
    const size_t mid = lo + (hi - lo) / 2;
    if (dd_stats_power(mid, mean, sd, 0.05) >= 0.8) hi = mid;
    else lo = mid;
  }
  return hi;
}
