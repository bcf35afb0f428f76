#include "core/mathd.h"
#include <math.h>
#include <stdint.h>
#include <string.h>

static double from_bits(uint64_t u) {
  double d;
  memcpy(&d, &u, sizeof d);
  return d;
}
static uint64_t to_bits(double d) {
  uint64_t u;
  memcpy(&u, &d, sizeof u);
  return u;
}

double dd_exp(double x) {
  if (x != x) return x;
  if (x > 709.78) return from_bits(0x7ff0000000000000u);
  if (x < -745.0) return 0;
  const double scaled = x * 0x1.71547652b82fep+0;
  const int n = (int)(scaled + (scaled < 0 ? -0.5 : 0.5));
  /* ln 2 in two parts, the first with 21 trailing zero bits: n * it is exact. */
  const double r = (x - n * 0x1.62e42feep-1) - n * 0x1.a39ef35793c76p-33;
  double p = 1;
  for (int i = 16; i >= 1; i--) p = 1 + p * r / i;
  const int h = n / 2;
  return p * from_bits((uint64_t)(h + 1023) << 52) * from_bits((uint64_t)(n - h + 1023) << 52);
}

/* log(x 2^e) for positive normal x. */
static inline double log_normal(double x, int e) {
  const uint64_t u = to_bits(x);
  const double m = from_bits((u & 0x000fffffffffffffu) | 0x3ff0000000000000u);
  const int high = m > 0x1.6a09e667f3bcdp+0;
  e += (int)(u >> 52) - 1023 + high;
  const double n = high ? m * 0.5 : m;
  /* log n = 2 atanh(s), s = (n-1)/(n+1), |s| < 0.172 */
  const double s = (n - 1) / (n + 1), z = s * s;
  double p = 0;
  for (int i = 23; i >= 3; i -= 2) p = (p + 1.0 / i) * z;
  return e * 0x1.62e42feep-1 + (2 * s + (2 * s * p + e * 0x1.a39ef35793c76p-33));
}

double dd_log(double x) {
  if (!(x > 0)) return x == 0 ? -from_bits(0x7ff0000000000000u) : from_bits(0x7ff8000000000000u);
  if (to_bits(x) == 0x7ff0000000000000u) return x;
  return x < 0x1p-1022 ? log_normal(x * 0x1p54, -54) : log_normal(x, 0);
}

/* sin and cos of pi*x for |x| <= 1/4. */
static inline double sin_core(double x) {
  const double y = x * 0x1.921fb54442d18p+1, z = y * y;
  double p = 1;
  for (int i = 19; i >= 3; i -= 2) p = 1 - p * z / ((i - 1) * i);
  return y * p;
}
static inline double cos_core(double x) {
  const double y = x * 0x1.921fb54442d18p+1, z = y * y;
  double p = 1;
  for (int i = 20; i >= 2; i -= 2) p = 1 - p * z / ((i - 1) * i);
  return p;
}

double dd_cospi(double x) {
  if (x < 0) x = -x;
  x -= 2 * (double)(int64_t)(x / 2); /* period 2, exact */
  if (x > 1) x = 2 - x;
  const int flip = x > 0.5;
  if (flip) x = 1 - x;
  const double c = x <= 0.25 ? cos_core(x) : sin_core(0.5 - x);
  return flip ? -c : c;
}

double dd_sinpi(double x) {
  const int negative = x < 0;
  if (negative) x = -x;
  x -= 2 * (double)(int64_t)(x / 2);
  const int flip = x > 1;
  if (flip) x -= 1;
  if (x > 0.5) x = 1 - x;
  const double s = x <= 0.25 ? sin_core(x) : cos_core(0.5 - x);
  return negative != flip ? -s : s;
}

double dd_pow(double base, double exponent) { return dd_exp(exponent * dd_log(base)); }

/* Many at once: without branches, so that compilers can put several numbers into a vector. */
#define FOR_PAIRS for (int l = 0; l < DD_NORMAL_PAIRS; l++)

void dd_normal_pairs(double z[2 * DD_NORMAL_PAIRS], const double u[DD_NORMAL_PAIRS], const double w[DD_NORMAL_PAIRS]) {
  double r[DD_NORMAL_PAIRS], x[DD_NORMAL_PAIRS], s[DD_NORMAL_PAIRS], c[DD_NORMAL_PAIRS];
  FOR_PAIRS r[l] = sqrt(-2 * log_normal(u[l], 0)); /* sqrt is correctly rounded everywhere */
  FOR_PAIRS {
    /* The angle is 2w pi: x is its distance, over pi, from the nearest of 0, 1 and 2. All of this is exact. */
    const double a = 2 * w[l], half = a > 1 ? a - 1 : a;
    x[l] = half > 0.5 ? 1 - half : half;
    const double t = x[l] <= 0.25 ? x[l] : 0.5 - x[l];
    s[l] = sin_core(t);
    c[l] = cos_core(t);
  }
  FOR_PAIRS {
    const double cosine = x[l] <= 0.25 ? c[l] : s[l], sine = x[l] <= 0.25 ? s[l] : c[l], a = 2 * w[l];
    z[2 * l] = r[l] * (a > 0.5 && a < 1.5 ? -cosine : cosine);
    z[2 * l + 1] = r[l] * (a > 1 ? -sine : sine);
  }
}
#undef FOR_PAIRS
