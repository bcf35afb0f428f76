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

double dd_log(double x) {
  if (!(x > 0)) return x == 0 ? -from_bits(0x7ff0000000000000u) : from_bits(0x7ff8000000000000u);
  if (to_bits(x) == 0x7ff0000000000000u) return x;
  int e = 0;
  if (x < 0x1p-1022) x *= 0x1p54, e = -54;
  uint64_t u = to_bits(x);
  e += (int)(u >> 52) - 1023;
  double m = from_bits((u & 0x000fffffffffffffu) | 0x3ff0000000000000u);
  if (m > 0x1.6a09e667f3bcdp+0) m *= 0.5, e++;
  /* log m = 2 atanh(s), s = (m-1)/(m+1), |s| < 0.172 */
  const double s = (m - 1) / (m + 1), z = s * s;
  double p = 0;
  for (int i = 23; i >= 3; i -= 2) p = (p + 1.0 / i) * z;
  return e * 0x1.62e42feep-1 + (2 * s + (2 * s * p + e * 0x1.a39ef35793c76p-33));
}

/* sin and cos of pi*x for |x| <= 1/4. */
static double sin_core(double x) {
  const double y = x * 0x1.921fb54442d18p+1, z = y * y;
  double p = 1;
  for (int i = 19; i >= 3; i -= 2) p = 1 - p * z / ((i - 1) * i);
  return y * p;
}
static double cos_core(double x) {
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

/* ---- many at once: the operations of the functions above on each number, to the bit, without branches, so that
 * compilers can put them into vectors (test_normal_pairs holds the two together) ---- */

#define FOR_PAIRS for (int l = 0; l < DD_NORMAL_PAIRS; l++)

/* out = log x, for normal x up to 1. */
static void logs(double out[DD_NORMAL_PAIRS], const double x[DD_NORMAL_PAIRS]) {
  double e[DD_NORMAL_PAIRS], s[DD_NORMAL_PAIRS], z[DD_NORMAL_PAIRS], p[DD_NORMAL_PAIRS];
  FOR_PAIRS {
    const uint64_t u = to_bits(x[l]);
    const double m = from_bits((u & 0x000fffffffffffffu) | 0x3ff0000000000000u);
    const int high = m > 0x1.6a09e667f3bcdp+0;
    e[l] = (int)(u >> 52) - 1023 + high;
    s[l] = high ? m * 0.5 : m;
  }
  FOR_PAIRS {
    s[l] = (s[l] - 1) / (s[l] + 1);
    z[l] = s[l] * s[l];
    p[l] = 0;
  }
  for (int i = 23; i >= 3; i -= 2) {
    const double term = 1.0 / i;
    FOR_PAIRS p[l] = (p[l] + term) * z[l];
  }
  FOR_PAIRS out[l] = e[l] * 0x1.62e42feep-1 + (2 * s[l] + (2 * s[l] * p[l] + e[l] * 0x1.a39ef35793c76p-33));
}

/* sin_core and cos_core of x. */
static void sines_cosines(double s[DD_NORMAL_PAIRS], double c[DD_NORMAL_PAIRS], const double x[DD_NORMAL_PAIRS]) {
  double y[DD_NORMAL_PAIRS], z[DD_NORMAL_PAIRS];
  FOR_PAIRS {
    y[l] = x[l] * 0x1.921fb54442d18p+1;
    z[l] = y[l] * y[l];
    s[l] = c[l] = 1;
  }
  for (int i = 20; i >= 2; i -= 2) {
    const double cos_term = (i - 1) * i, sin_term = (i - 2) * (i - 1);
    FOR_PAIRS c[l] = 1 - c[l] * z[l] / cos_term;
    if (i > 2) {
      FOR_PAIRS s[l] = 1 - s[l] * z[l] / sin_term;
    }
  }
  FOR_PAIRS s[l] *= y[l];
}

void dd_normal_pairs(double z[2 * DD_NORMAL_PAIRS], const double u[DD_NORMAL_PAIRS], const double w[DD_NORMAL_PAIRS]) {
  double r[DD_NORMAL_PAIRS], x[DD_NORMAL_PAIRS], t[DD_NORMAL_PAIRS], s[DD_NORMAL_PAIRS], c[DD_NORMAL_PAIRS];
  logs(r, u);
  FOR_PAIRS {
    /* The angle is 2w pi: x is its distance, over pi, from the nearest of 0, 1 and 2, and t that of x from the nearest
     * of 0 and 1/2. All of this is exact. */
    const double a = 2 * w[l], half = a > 1 ? a - 1 : a;
    x[l] = half > 0.5 ? 1 - half : half;
    t[l] = x[l] <= 0.25 ? x[l] : 0.5 - x[l];
  }
  sines_cosines(s, c, t);
  FOR_PAIRS {
    const double length = sqrt(-2 * r[l]); /* correctly rounded everywhere */
    const double cosine = x[l] <= 0.25 ? c[l] : s[l], sine = x[l] <= 0.25 ? s[l] : c[l], a = 2 * w[l];
    z[2 * l] = length * (a > 0.5 && a < 1.5 ? -cosine : cosine);
    z[2 * l + 1] = length * (a > 1 ? -sine : sine);
  }
}
#undef FOR_PAIRS
