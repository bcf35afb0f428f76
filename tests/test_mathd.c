/* Our own exp, log, cos, sin and pow in double (core/mathd.h) against the C library's long double, over the ranges that
 * they promise, and the bits of 100,000 results: every compiler and architecture must give the same ones.
 * Pairs of normal numbers against these functions, by bytes.
 *
 * The bounds are what was measured on five million inputs of each kind, rounded up. DD_MATHD_N=5000000 repeats that,
 * DD_QUICK makes it a tenth. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "core/hash.h"
#include "core/mathd.h"
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Units in the last place of the exact result. */
#define EXP_ULP 1.2      /* normal results, |x| <= 745 */
#define EXP_TINY_ULP 1.5 /* subnormal results: two roundings, and 0 from -745 on where 2^-1074 would be nearest */
#define LOG_ULP 2.1      /* any x > 0 */
#define COSPI_ULP 2.4    /* relative to the exact result, also near its zeros */
#define SINPI_ULP 2.4
#define POW_ULP(y) (2 + 3.5 * fabs(y)) /* y = exponent * log base: its rounding errors are errors of the result */

static const long double PI = 3.14159265358979323846264338327950288L;

static uint64_t rnd(uint64_t *s) { /* SplitMix64 */
  uint64_t z = *s += 0x9E3779B97F4A7C15u;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return z ^ z >> 31;
}
/* Exact on every machine: an integer of 53 bits times a power of two. */
static double uniform(uint64_t *s, double from, double width) {
  return from + (double)(int64_t)(rnd(s) >> 11) * 0x1p-53 * width;
}
static double from_bits(uint64_t u) {
  double d;
  memcpy(&d, &u, sizeof d);
  return d;
}
/* Any positive number, every exponent (subnormals too) with the same probability. */
static double any_positive(uint64_t *s) {
  double x;
  do x = from_bits(rnd(s) & INT64_MAX);
  while (!(x > 0) || isinf(x));
  return x;
}

static int64_t inputs(void) {
  const char *n = getenv("DD_MATHD_N");
  return n && atoll(n) > 0 ? atoll(n) : getenv("DD_QUICK") ? 15000 : 150000;
}

/* ---- accuracy ---------------------------------------------------------------------------------------------------- */

/* |got - want| in units in the last place of want (2^-1074 for subnormals). */
static double ulps(double got, long double want) {
  int e;
  if (want == 0) return got == 0 ? 0 : INFINITY;
  frexpl(want, &e);
  return (double)ldexpl(fabsl((long double)got - want), e - 53 < -1074 ? 1074 : 53 - e);
}

typedef struct worst {
  const char *what;
  double error, at, at2, got;
  long double want;
} worst;
static void note(worst *w, double error, double at, double at2, double got, long double want) {
  if (error <= w->error) return; /* NaN is noted: no comparison with it holds */
  *w = (worst){w->what, error, at, at2, got, want};
}
static void require(const worst *w, double bound) {
  printf("  %s: worst %.4f (bound %g) at %.17g", w->what, w->error, bound, w->at);
  if (w->at2 != 0) printf(", %.17g", w->at2);
  printf(": %a, exactly %La\n", w->got, w->want);
  if (!(w->error > 0)) fail_msg("%s: not one inexact result; is anything tested?", w->what);
  if (!(w->error <= bound)) fail_msg("%s: %.4f is above the bound %g", w->what, w->error, bound);
}

static void try_exp(worst *normal, worst *tiny, double x) {
  const double y = dd_exp(x);
  const long double want = expl((long double)x);
  note(want < 0x1p-1022L ? tiny : normal, ulps(y, want), x, 0, y, want);
}
static void test_exp(void **state) {
  (void)state;
  worst normal = {.what = "exp, ulp"}, tiny = {.what = "exp with subnormal result, ulp"};
  uint64_t s = 1;
  for (int64_t i = 0; i < inputs(); i++) {
    try_exp(&normal, &tiny, uniform(&s, -745, 745 + 709.78));
    try_exp(&normal, &tiny, uniform(&s, -745, 38));
    try_exp(&normal, &tiny, uniform(&s, -1, 2));
    const double small = any_positive(&s);
    if (small < 1) try_exp(&normal, &tiny, small), try_exp(&normal, &tiny, -small);
  }
  for (int n = -1074; n <= 1023; n++) /* where the power of two changes, and the middle between two such points */
    for (int half = 0; half < 2; half++)
      for (int d = -3; d <= 3; d++) {
        const double x = (n + 0.5 * half) * 0x1.62e42fefa39efp-1;
        if (x >= -745 && x <= 709.78) try_exp(&normal, &tiny, x * (1 + d * DBL_EPSILON));
      }
  require(&normal, EXP_ULP);
  require(&tiny, EXP_TINY_ULP);
}

static void test_log(void **state) {
  (void)state;
  worst w = {.what = "log, ulp"};
  uint64_t s = 2;
  for (int64_t i = 0; i < inputs(); i++) {
    const double x[] = {any_positive(&s), uniform(&s, 0.5, 1.5), 1 + ldexp(uniform(&s, -1, 2), -(int)(rnd(&s) % 50)),
                        from_bits(rnd(&s) >> 12), uniform(&s, 0x1p-53, 1)};
    for (int j = 0; j < 5; j++) {
      if (!(x[j] > 0)) continue;
      const double y = dd_log(x[j]);
      const long double want = logl((long double)x[j]);
      note(&w, ulps(y, want), x[j], 0, y, want);
    }
  }
  for (int e = -1074; e <= 1023; e++)
    for (int d = -2; d <= 2; d++)
      for (int root = 0; root < 2; root++) { /* powers of two, and sqrt(2) times them, where the exponent changes */
        const double x = ldexp(root ? 0x1.6a09e667f3bcdp+0 + d * DBL_EPSILON : 1 + d * DBL_EPSILON / 2, e);
        const double y = dd_log(x);
        if (x > 0 && !isinf(x)) note(&w, ulps(y, logl((long double)x)), x, 0, y, logl((long double)x));
      }
  require(&w, LOG_ULP);
}

/* cos and sin of pi x without cancellation: both are the sine of pi times an exactly known number up to 1/2. */
static long double cospi_exact(double x) {
  long double t = fmodl(fabsl((long double)x), 2);
  if (t > 1) t = 2 - t;
  return sinl(PI * (0.5L - t));
}
static long double sinpi_exact(double x) {
  long double t = fmodl((long double)x, 2);
  if (t > 1) t -= 2;
  if (t < -1) t += 2;
  return sinl(PI * (t > 0.5L ? 1 - t : t < -0.5L ? -1 - t : t));
}
static void test_circle(void **state) {
  (void)state;
  worst c = {.what = "cospi, ulp"}, n = {.what = "sinpi, ulp"};
  uint64_t s = 3;
  for (int64_t i = 0; i < inputs(); i++) {
    double x[] = {uniform(&s, 0, 1), uniform(&s, -2, 4), uniform(&s, -1e6, 2e6), uniform(&s, -0x1p52, 0x1p53), 0, 0};
    x[4] = (double)(rnd(&s) % 9) / 4 + ldexp(uniform(&s, -1, 2), -(int)(rnd(&s) % 60)); /* around multiples of 1/4 */
    x[5] = ldexp(uniform(&s, -1, 2), -(int)(rnd(&s) % 900));
    for (int j = 0; j < 6; j++) {
      const double got_c = dd_cospi(x[j]), got_n = dd_sinpi(x[j]);
      note(&c, ulps(got_c, cospi_exact(x[j])), x[j], 0, got_c, cospi_exact(x[j]));
      note(&n, ulps(got_n, sinpi_exact(x[j])), x[j], 0, got_n, sinpi_exact(x[j]));
      if (dd_cospi(-x[j]) != got_c || dd_sinpi(-x[j]) != -got_n) fail_msg("not even or not odd at %.17g", x[j]);
      if (x[j] + 2 - 2 == x[j] && fabs(x[j]) < 1e15 && (x[j] + 2) - x[j] == 2 &&
          (dd_cospi(x[j] + 2) != got_c || dd_sinpi(x[j] + 2) != got_n))
        fail_msg("not of period 2 at %.17g", x[j]);
      if (!(fabs(got_c) <= 1 && fabs(got_n) <= 1)) fail_msg("beyond 1 at %.17g: %a, %a", x[j], got_c, got_n);
    }
  }
  require(&c, COSPI_ULP);
  require(&n, SINPI_ULP);
}

static void test_pow(void **state) {
  (void)state;
  worst w = {.what = "pow, ulp over its bound of 2 + 3.5 |exponent log base|"};
  uint64_t s = 4;
  for (int64_t i = 0; i < inputs(); i++) {
    const double cases[][2] = {{uniform(&s, 1e-6, 1), uniform(&s, 0, 1)}, /* schedules: (pf/p0)^(t/T) */
                               {uniform(&s, 1e-3, 1e3), uniform(&s, -20, 40)},
                               {uniform(&s, 0.9, 0.1), uniform(&s, 0, 5000)}, /* beta^t */
                               {any_positive(&s), uniform(&s, -1, 2)}};
    for (int j = 0; j < 4; j++) {
      const double b = cases[j][0], e = cases[j][1], got = dd_pow(b, e);
      const long double want = powl((long double)b, (long double)e);
      if (want < 1e-300L || want > 1e300L) continue; /* overflow and underflow are exp's */
      note(&w, ulps(got, want) / POW_ULP(e * log(b)), b, e, got, want);
    }
  }
  require(&w, 1);
}

/* ---- values that must be exact ----------------------------------------------------------------------------------- */

static void equal(const char *what, double got, double want) {
  if (memcmp(&got, &want, sizeof got) != 0) fail_msg("%s is %a, not %a", what, got, want);
}
#define EQUAL(call, want) equal(#call, call, want)

static void test_special(void **state) {
  (void)state;
  EQUAL(dd_exp(0), 1);
  EQUAL(dd_exp(-0.0), 1);
  EQUAL(dd_exp(INFINITY), INFINITY);
  EQUAL(dd_exp(-INFINITY), 0);
  EQUAL(dd_exp(1e308), INFINITY);
  EQUAL(dd_exp(-1e308), 0);
  EQUAL(dd_exp(709.79), INFINITY);
  EQUAL(dd_exp(-745.2), 0);
  EQUAL(dd_exp(DBL_MIN), 1);
  EQUAL(dd_exp(-0x1p-1074), 1);
  assert_true(isfinite(dd_exp(709.78)) && dd_exp(709.78) > 1.79e308);
  EQUAL(dd_exp(-745), 0x1p-1074);
  assert_true(isnan(dd_exp(NAN)));
  EQUAL(dd_log(1), 0);
  EQUAL(dd_log(0), -INFINITY);
  EQUAL(dd_log(-0.0), -INFINITY);
  EQUAL(dd_log(INFINITY), INFINITY);
  EQUAL(dd_log(2), 0x1.62e42fefa39efp-1);
  EQUAL(dd_log(0.5), -0x1.62e42fefa39efp-1);
  assert_true(isnan(dd_log(-1)) && isnan(dd_log(-INFINITY)) && isnan(dd_log(NAN)) && isnan(dd_log(-0x1p-1074)));
  static const double whole[] = {0, 1, 2, 3, 1000, 1001, 0x1p51, 0x1p51 + 1};
  for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
    const double x = whole[i], sign = fmod(x, 2) == 0 ? 1 : -1;
    if (dd_cospi(x) != sign || dd_sinpi(x) != 0) fail_msg("pi %g: cos %a, sin %a", x, dd_cospi(x), dd_sinpi(x));
    if (x + 0.5 == x || x > 1e15) continue;
    if (dd_cospi(x + 0.5) != 0 || dd_sinpi(x + 0.5) != sign) fail_msg("pi %g: cos %a", x + 0.5, dd_cospi(x + 0.5));
    if (dd_cospi(-x - 0.5) != 0 || dd_sinpi(-x - 0.5) != -sign) fail_msg("pi %g", -x - 0.5);
  }
  EQUAL(dd_pow(0.25, 0), 1);
  EQUAL(dd_pow(1, 0.3), 1);
  EQUAL(dd_pow(1, 1e300), 1);
}

/* ---- the same bits everywhere ------------------------------------------------------------------------------------ */

enum { PER_FUNCTION = 20000 };
static const char *const expected = "a362b143540978e7ef71f0d2fa140eac";

static void test_bits(void **state) {
  (void)state;
  static double out[5 * PER_FUNCTION];
  uint64_t s = 5;
  for (int64_t i = 0; i < PER_FUNCTION; i++) {
    /* uniform() with widths that are powers of two, and whole numbers: nothing here can round differently. */
    out[i] = dd_exp(uniform(&s, -512, 1024));
    out[PER_FUNCTION + i] = dd_log(any_positive(&s));
    out[2 * PER_FUNCTION + i] = dd_cospi(uniform(&s, -4, 8));
    out[3 * PER_FUNCTION + i] = dd_sinpi(uniform(&s, -4, 8));
    const double base = uniform(&s, 0x1p-10, 1); /* arguments of one call have no order */
    out[4 * PER_FUNCTION + i] = dd_pow(base, uniform(&s, 0, 16));
  }
  for (int64_t i = 0; i < 5 * PER_FUNCTION; i++)
    if (isnan(out[i])) fail_msg("result %d is no number", (int)i);
  char hex[33];
  dd_hash_hex(out, sizeof out, hex); /* as the bytes lie in memory: the engine is for little-endian machines */
  printf("  XXH3-128 of %d results: %s\n", 5 * PER_FUNCTION, hex);
  if (strcmp(hex, expected) != 0)
    fail_msg("the bits of exp, log, cospi, sinpi or pow are not those of numerics versions 1 and 2: hash %s, expected %s; "
             "first values %a %a %a %a %a",
             hex, expected, out[0], out[PER_FUNCTION], out[2 * PER_FUNCTION], out[3 * PER_FUNCTION],
             out[4 * PER_FUNCTION]);
}

/* The vectors against the functions that they stand for, also where the circle has its quarters and u its ends. */
static void test_normal_pairs(void **state) {
  (void)state;
  static const double ends[] = {0x1p-53, 0x1p-52, 0x1.6a09e667f3bccp-1, 0x1.6a09e667f3bcdp-1, 0x1.fffffffffffffp-1, 1};
  static const double turns[] = {0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875};
  uint64_t s = 9;
  for (int64_t n = 0; n < inputs(); n += DD_NORMAL_PAIRS) {
    double u[DD_NORMAL_PAIRS], w[DD_NORMAL_PAIRS], z[2 * DD_NORMAL_PAIRS], want[2];
    for (int i = 0; i < DD_NORMAL_PAIRS; i++) {
      u[i] = n % 2048 ? 1 - uniform(&s, 0, 1) : ends[(n / 2048 + i) % 6];
      w[i] = n % 512 ? uniform(&s, 0, 1) : turns[i % 8] + (i < 8 ? 0 : n % 1024 ? 0x1p-53 : 0.125 - 0x1p-53);
    }
    dd_normal_pairs(z, u, w);
    for (int i = 0; i < DD_NORMAL_PAIRS; i++) {
      const double r = sqrt(-2 * dd_log(u[i]));
      want[0] = r * dd_cospi(2 * w[i]);
      want[1] = r * dd_sinpi(2 * w[i]);
      if (memcmp(z + 2 * i, want, sizeof want) != 0)
        fail_msg("u = %a, w = %a: %a %a, expected %a %a", u[i], w[i], z[2 * i], z[2 * i + 1], want[0], want[1]);
    }
  }
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_exp), cmocka_unit_test(test_log),     cmocka_unit_test(test_circle),
      cmocka_unit_test(test_pow), cmocka_unit_test(test_special), cmocka_unit_test(test_bits),
      cmocka_unit_test(test_normal_pairs),
  };
  if (LDBL_MANT_DIG < 64) {
    printf("long double is no wider than double here: there is nothing to measure against, only bits are checked\n");
    const struct CMUnitTest bits[] = {cmocka_unit_test(test_special), cmocka_unit_test(test_bits),
                                      cmocka_unit_test(test_normal_pairs)};
    return cmocka_run_group_tests(bits, NULL, NULL);
  }
  if (argc > 1) cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
