/* Functions of sixteen lanes, one definition for every tier but `scalar` (which writes the same arithmetic again).
 * Only + - * / fma, comparisons and powers of two: equal bits on every instruction set.
 *
 * Errors are in units in the last place (ulp) of the exact result, measured over all 2^32 inputs against double;
 * tests/test_math.c asserts them. */
#ifndef DD_VMATH_H
#define DD_VMATH_H
#include "coeffs.h"

VI v16 v16_nan(void) {
  const uint32_t bits = DD_NAN_BITS;
  float f;
  memcpy(&f, &bits, 4);
  return v16_set(f);
}

/* e^x, worst error 1.014 ulp (x = 0x1.2e3aa8p+5, got 0x1.6ace8cp+54, exactly 0x1.6ace89f8f9p+54).
 * NaN -> 0x7fc00000, overflow -> +inf, underflow gradual to +0. */
VI v16 v16_exp(v16 x) {
  v16 c = v16_max(v16_min(x, v16_set(89.f)), v16_set(DD_EXP_MIN));
  v16 magic = v16_set(DD_ROUND_MAGIC);
  v16 n = v16_sub(v16_fma(c, v16_set(DD_LOG2E), magic), magic);
  v16 r = v16_fnma(n, v16_set(DD_LN2_LO), v16_fnma(n, v16_set(DD_LN2_HI), c));
  v16 p = v16_fma(v16_set(DD_EXP_P4), r, v16_set(DD_EXP_P3));
  p = v16_fma(p, r, v16_set(DD_EXP_P2));
  p = v16_fma(p, r, v16_set(DD_EXP_P1));
  p = v16_fma(p, r, v16_set(DD_EXP_P0));
  p = v16_add(v16_fma(p, v16_mul(r, r), r), v16_set(1.f));
  p = v16_scale2(p, n);
  p = v16_select_lt(v16_set(DD_EXP_MAX), x, v16_set(__builtin_inff()), p);
  return v16_select_nan(x, v16_nan(), p);
}

/* Worst errors of what is made of it:
 *   gelu            6.45 ulp for x >= -12.9, in the negative tail (x = -0x1.dbfa08p+0, all floats scanned);
 *                   10.1 ulp below, where the tail is subnormal (x = -0x1.a319bp+3, gelu = -0x1.e93a6cp-126)
 *   gelu_slope      2.3 * 2^-24 absolute, any x; 4.4 ulp for -12.9 <= x <= -1.5 and x >= 0, away from its zero at
 *                   -0.7518 (every 257th float scanned)
 * *cdf = Phi(x), the standard normal distribution function; *e = exp(-x^2/2). |x| is clamped at 16 (Phi is 0 or 1). */
VI void v16_cdf(v16 x, v16 *cdf, v16 *e) {
  v16 one = v16_set(1.f);
  v16 a = v16_abs(x);
  a = v16_select_lt(v16_set(16.f), a, v16_set(16.f), a);
  v16 s = v16_mul(a, a);
  v16 low = v16_fma(a, a, v16_sub(v16_set(0.f), s)); /* what rounding a*a lost */
  v16 g = v16_exp(v16_mul(s, v16_set(-0.5f)));
  g = v16_fma(v16_mul(low, v16_set(-0.5f)), g, g);
  v16 t = v16_div(one, v16_fma(v16_set(DD_CDF_A), a, one));
  v16 q = v16_fma(v16_set(DD_CDF_Q9), t, v16_set(DD_CDF_Q8));
  q = v16_fma(q, t, v16_set(DD_CDF_Q7));
  q = v16_fma(q, t, v16_set(DD_CDF_Q6));
  q = v16_fma(q, t, v16_set(DD_CDF_Q5));
  q = v16_fma(q, t, v16_set(DD_CDF_Q4));
  q = v16_fma(q, t, v16_set(DD_CDF_Q3));
  q = v16_fma(q, t, v16_set(DD_CDF_Q2));
  q = v16_fma(q, t, v16_set(DD_CDF_Q1));
  q = v16_fma(q, t, v16_set(DD_CDF_Q0));
  v16 tail = v16_mul(g, v16_mul(t, q));
  v16 r = v16_fma(v16_set(DD_CDF_R5), s, v16_set(DD_CDF_R4));
  r = v16_fma(r, s, v16_set(DD_CDF_R3));
  r = v16_fma(r, s, v16_set(DD_CDF_R2));
  r = v16_fma(r, s, v16_set(DD_CDF_R1));
  r = v16_fma(r, s, v16_set(DD_CDF_R0));
  v16 outer = v16_select_lt(x, v16_set(0.f), tail, v16_sub(one, tail));
  *cdf = v16_select_lt(a, one, v16_fma(x, r, v16_set(0.5f)), outer);
  *e = g;
}
#endif
