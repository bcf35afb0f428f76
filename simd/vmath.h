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

/* e^(x - n ln 2), n = x / ln 2 to the nearest integer. */
VI v16 v16_exp_part(v16 x, v16 n) {
  v16 r = v16_fnma(n, v16_set(DD_LN2_LO), v16_fnma(n, v16_set(DD_LN2_HI), x));
  v16 p = v16_fma(v16_set(DD_EXP_P4), r, v16_set(DD_EXP_P3));
  p = v16_fma(p, r, v16_set(DD_EXP_P2));
  p = v16_fma(p, r, v16_set(DD_EXP_P1));
  p = v16_fma(p, r, v16_set(DD_EXP_P0));
  return v16_add(v16_fma(p, v16_mul(r, r), r), v16_set(1.f));
}

/* e^x, worst error 1.014 ulp (x = 0x1.2e3aa8p+5, got 0x1.6ace8cp+54, exactly 0x1.6ace89f8f9p+54).
 * NaN -> 0x7fc00000, overflow -> +inf, underflow gradual to +0. */
VI v16 v16_exp(v16 x) {
  v16 c = v16_max(v16_min(x, v16_set(89.f)), v16_set(DD_EXP_MIN));
  v16 magic = v16_set(DD_ROUND_MAGIC);
  v16 n = v16_sub(v16_fma(c, v16_set(DD_LOG2E), magic), magic);
  v16 p = v16_scale2(v16_exp_part(c, n), n);
  p = v16_select_lt(v16_set(DD_EXP_MAX), x, v16_set(__builtin_inff()), p);
  return v16_select_nan(x, v16_nan(), p);
}

/* The same for x <= 0: every bit of v16_exp where e^x >= 2^-126, +0 below (also for -inf) instead of a gradual
 * underflow. No clamp: far below, the power of two is not one, but the last two lines see to that. */
VI v16 v16_exp_low(v16 x) {
  v16 magic = v16_set(DD_ROUND_MAGIC);
  v16 shifted = v16_fma(x, v16_set(DD_LOG2E), magic), n = v16_sub(shifted, magic);
  v16 p = v16_scale_normal(v16_exp_part(x, n), n, shifted);
  p = v16_zero_lt(x, v16_set(DD_EXP_LOW), p);
  return v16_select_nan(x, v16_nan(), p);
}

/* GELU without exponential and division: gelu(x) = x/2 + |x|/2 erf(|x|/sqrt 2), and erf(|x|/sqrt 2) = 1 - r^3 with a
 * polynomial r, which reaches 0 at |x|/2 = DD_GELU_END; from there on erf is 1 exactly. The cube takes the place of
 * the exponential: the third root of the tail is a tame function, and what it errs by where it is small, the cube
 * makes smaller still. x/2 stands outside, so small x keep all their digits.
 *
 * Worst errors, all floats scanned:
 *   gelu            @G@
 *   gelu_slope      @S@
 * Results for x <= -2 DD_GELU_END are +0 and 0, for x >= 2 DD_GELU_END x and 1. */
typedef struct gelu_parts {
  v16 y;         /* gelu(x), before NaN gets its one pattern */
  v16 b, q, r, w; /* min(|x|/2, DD_GELU_END), r^2, r, 1 - r^3 */
} gelu_parts;
VI gelu_parts v16_gelu(v16 x) {
  v16 h = v16_mul(x, v16_set(0.5f)), m = v16_abs(h), one = v16_set(1.f);
  v16 b = v16_min(v16_set(DD_GELU_END), m); /* in this order NaN stays */
  v16 p = v16_fma(v16_set(DD_GELU_R11), b, v16_set(DD_GELU_R10));
  p = v16_fma(p, b, v16_set(DD_GELU_R9));
  p = v16_fma(p, b, v16_set(DD_GELU_R8));
  p = v16_fma(p, b, v16_set(DD_GELU_R7));
  p = v16_fma(p, b, v16_set(DD_GELU_R6));
  p = v16_fma(p, b, v16_set(DD_GELU_R5));
  p = v16_fma(p, b, v16_set(DD_GELU_R4));
  p = v16_fma(p, b, v16_set(DD_GELU_R3));
  p = v16_fma(p, b, v16_set(DD_GELU_R2));
  p = v16_fma(p, b, v16_set(DD_GELU_R1));
  v16 r = v16_fma(p, b, one), q = v16_mul(r, r), w = v16_fnma(q, r, one);
  return (gelu_parts){v16_fma(m, w, h), b, q, r, w};
}
/* d/dx gelu(x) = (1 + sgn(x) z)/2, z = erf(|x|/sqrt 2) + 2|x| pdf(x) = w + b (r^3 S(b)). */
VI v16 v16_gelu_slope(v16 x, gelu_parts g) {
  v16 s = v16_fma(v16_set(DD_GELU_S8), g.b, v16_set(DD_GELU_S7));
  s = v16_fma(s, g.b, v16_set(DD_GELU_S6));
  s = v16_fma(s, g.b, v16_set(DD_GELU_S5));
  s = v16_fma(s, g.b, v16_set(DD_GELU_S4));
  s = v16_fma(s, g.b, v16_set(DD_GELU_S3));
  s = v16_fma(s, g.b, v16_set(DD_GELU_S2));
  s = v16_fma(s, g.b, v16_set(DD_GELU_S1));
  s = v16_fma(s, g.b, v16_set(DD_GELU_S0));
  v16 z = v16_fma(g.b, v16_mul(v16_mul(g.q, g.r), s), g.w);
  return v16_fma(v16_copysign(v16_set(0.5f), x), z, v16_set(0.5f));
}
#endif
