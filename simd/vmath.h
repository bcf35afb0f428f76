/* Functions of sixteen lanes, one definition for every tier but `scalar` (which writes the same arithmetic again).
 * Only + - * / fma, comparisons and powers of two: equal bits on every instruction set.
 *
 * Errors are in units in the last place (ulp) of the exact result, measured over all 2^32 inputs against double;
 * tests/test_math.c asserts them. */
#ifndef DD_VMATH_H
#define DD_VMATH_H
#include "coeffs.h"

VI float contract_nan(void) {
  const uint32_t bits = DD_NAN_BITS;
  float f;
  memcpy(&f, &bits, 4);
  return f;
}
VI v16 v16_nan(void) { return v16_set(contract_nan()); }

/* e^(x - n ln 2) - 1, n = x / ln 2 to the nearest integer. */
VI v16 v16_exp_part(v16 x, v16 n) {
  v16 r = v16_fnma(n, v16_set(DD_LN2_LO), v16_fnma(n, v16_set(DD_LN2_HI), x));
  v16 p = v16_fma(v16_set(DD_EXP_P4), r, v16_set(DD_EXP_P3));
  p = v16_fma(p, r, v16_set(DD_EXP_P2));
  p = v16_fma(p, r, v16_set(DD_EXP_P1));
  p = v16_fma(p, r, v16_set(DD_EXP_P0));
  return v16_fma(p, v16_mul(r, r), r);
}

/* e^x, worst error 1.014 ulp (x = 0x1.2e3aa8p+5, got 0x1.6ace8cp+54, exactly 0x1.6ace89f8f9p+54).
 * NaN -> 0x7fc00000, overflow -> +inf, underflow gradual to +0. */
VI v16 v16_exp(v16 x) {
  v16 c = v16_max(v16_min(x, v16_set(89.f)), v16_set(DD_EXP_MIN));
  v16 magic = v16_set(DD_ROUND_MAGIC);
  v16 n = v16_sub(v16_fma(c, v16_set(DD_LOG2E), magic), magic);
  v16 p = v16_scale2(v16_add(v16_exp_part(c, n), v16_set(1.f)), n);
  p = v16_select_lt(v16_set(DD_EXP_MAX), x, v16_set(__builtin_inff()), p);
  return v16_select_nan(x, v16_nan(), p);
}

/* The same for x <= 0: every bit of v16_exp where e^x >= 2^-126, +0 below (also for -inf) instead of a gradual
 * underflow; a NaN stays one, with any bits, so that a sum shows whether there is one. p 2^n + 2^n rounds as (p + 1)
 * 2^n does, because no result is subnormal, and n is what it is in v16_exp, because no product x * DD_LOG2E lies
 * halfway between integers (the factor has 24 bits, the last of them 1). No clamp: far below, the power of two is
 * not one, but there the result is 0. */
VI v16 v16_exp_low(v16 x) {
  v16 magic = v16_set(DD_ROUND_BIASED);
  v16 shifted = v16_fma(x, v16_set(DD_LOG2E), magic), n = v16_sub(shifted, magic);
  return v16_scale_unless_lt(v16_exp_part(x, n), shifted, x, v16_set(DD_EXP_LOW));
}

/* GELU without exponential and division: gelu(x) = x/2 + |x|/2 erf(|x|/sqrt 2), and erf(|x|/sqrt 2) = 1 - r^3 with a
 * polynomial r, which reaches 0 at |x|/2 = DD_GELU_END; from there on erf is 1 exactly. The cube takes the place of
 * the exponential: the third root of the tail is a tame function, and what it errs by where it is small, the cube
 * makes smaller still. x/2 stands outside, so small x keep all their digits.
 *
 * Worst errors, all floats of 2^-17 <= |x| scanned, the last rounding included:
 *   gelu            1.79 * 2^-24 of max(|x|, 1) (x = 0x1.25df1ep+0);
 *                   4.24 * 2^-24 relative for x >= -0.5 (x = -0x1.82cc5p-2)
 *   gelu_slope      3.32 * 2^-24 absolute (x = 0x1.851fdap+0)
 * Results for x <= -2 DD_GELU_END are +0 and 0, for x >= 2 DD_GELU_END x and 1. */
/* Blocks side by side, as many as registers hold; the slope needs more of them. */
enum { GELU_BLOCKS = TW >= 16 ? 4 : 2, GELU_SLOPE_BLOCKS = TW >= 16 ? 3 : 2 };
typedef struct gelu_parts {
  v16 h, m, b; /* x/2, |x/2|, and that limited to DD_GELU_END */
  v16 q, r, w; /* r^2, r, 1 - r^3 */
} gelu_parts;
/* Blocks stand side by side, a few at a time: one alone is a chain of fifteen steps, each waiting for the one before.
 */
#define EACH_BLOCK for (int u = 0; u < blocks; u++)
VI void v16_gelu_parts(int blocks, gelu_parts *g, const v16 *x) {
  v16 p[GELU_BLOCKS];
  EACH_BLOCK {
    g[u].h = v16_mul(x[u], v16_set(0.5f));
    g[u].m = v16_abs(g[u].h);
    g[u].b = v16_min(v16_set(DD_GELU_END), g[u].m); /* in this order NaN stays */
    p[u] = v16_set(DD_GELU_R11);
  }
#define NEXT(k) EACH_BLOCK p[u] = v16_fma(p[u], g[u].b, v16_set(DD_GELU_R##k));
  NEXT(10)
  NEXT(9) NEXT(8) NEXT(7) NEXT(6) NEXT(5) NEXT(4) NEXT(3) NEXT(2) NEXT(1)
#undef NEXT
      EACH_BLOCK {
    g[u].r = v16_fma(p[u], g[u].b, v16_set(1.f));
    g[u].q = v16_mul(g[u].r, g[u].r);
    g[u].w = v16_fnma(g[u].q, g[u].r, v16_set(1.f));
  }
}
VI v16 v16_gelu(const gelu_parts *g) {
  v16 y = v16_fma(g->m, g->w, g->h);
  return v16_select_nan(y, v16_nan(), y);
}
/* d/dx gelu(x) = (1 + sgn(x) z)/2, z = erf(|x|/sqrt 2) + 2|x| pdf(x) = w + b (r^3 s(b)). */
VI void v16_gelu_slope(int blocks, v16 *d, const gelu_parts *g, const v16 *x) {
  v16 s[GELU_BLOCKS];
  EACH_BLOCK s[u] = v16_set(DD_GELU_S8);
#define NEXT(k) EACH_BLOCK s[u] = v16_fma(s[u], g[u].b, v16_set(DD_GELU_S##k));
  NEXT(7)
  NEXT(6) NEXT(5) NEXT(4) NEXT(3) NEXT(2) NEXT(1) NEXT(0)
#undef NEXT
      EACH_BLOCK {
    v16 z = v16_fma(g[u].b, v16_mul(v16_mul(g[u].q, g[u].r), s[u]), g[u].w);
    d[u] = v16_fma(v16_copysign(v16_set(0.5f), x[u]), z, v16_set(0.5f));
  }
}
#undef EACH_BLOCK
#endif
