/* Polynomial coefficients shared by all tiers (float32, hex). Derived by us with a weighted minimax (Lawson) fit. */
#ifndef DD_COEFFS_H
#define DD_COEFFS_H

/* e^r = 1 + (r + r^2 P(r)), |r| <= ln2/2; P of degree 4, relative error of the fit 3.1e-9. */
#define DD_EXP_P0 0x1.fffffcp-2f
#define DD_EXP_P1 0x1.555492p-3f
#define DD_EXP_P2 0x1.5558f2p-5f
#define DD_EXP_P3 0x1.1239d4p-7f
#define DD_EXP_P4 0x1.6a2448p-10f
#define DD_LOG2E 0x1.715476p+0f
#define DD_LN2_HI 0x1.62e400p-1f /* 12 trailing zero bits: n * DD_LN2_HI is exact for |n| < 2^11 */
#define DD_LN2_LO 0x1.7f7d1cp-20f
#define DD_EXP_MAX 0x1.62e42ep+6f /* above: +inf */
#define DD_EXP_MIN -0x1.a00000p+6f /* -104: below: +0 */
#define DD_EXP_LOW -0x1.5d589ep+6f /* below: e^x < 2^-126 */
#define DD_ROUND_MAGIC 0x1.8p+23f
#define DD_ROUND_BIASED 0x1.8000fep+23f /* that + 127: the low bits of n + this are the exponent field of 2^n */

/* GELU: erf(|x|/sqrt 2) = 1 - r^3, r = 1 + DD_GELU_R1 b + .. + DD_GELU_R11 b^11 with b = |x|/2; error of the fit
 * 0.25 * 2^-24 in (1 + erf)/2. r falls to 0 (1e-9 with rounding) at DD_GELU_END, and 1 - r^3 to 1. */
#define DD_GELU_R1 -0x1.105822p-1f
#define DD_GELU_R2 -0x1.21bf10p-2f
#define DD_GELU_R3 0x1.a964a2p-4f
#define DD_GELU_R4 0x1.c3b944p-4f
#define DD_GELU_R5 -0x1.8722cap-6f
#define DD_GELU_R6 -0x1.a2fa08p-6f
#define DD_GELU_R7 0x1.2c8510p-10f
#define DD_GELU_R8 0x1.4bbef8p-7f
#define DD_GELU_R9 -0x1.47dc16p-8f
#define DD_GELU_R10 0x1.0443dep-10f
#define DD_GELU_R11 -0x1.3975d2p-14f
#define DD_GELU_END 0x1.82da1ep+1f
/* 2|x| pdf(x) = b r^3 s with s = DD_GELU_S0 + .. + DD_GELU_S8 b^8; error of the fit 0.8 * 2^-24 in half of it. */
#define DD_GELU_S0 0x1.9884dap+0f
#define DD_GELU_S1 0x1.45ebc6p+1f
#define DD_GELU_S2 0x1.bf87dcp-1f
#define DD_GELU_S3 -0x1.425f7cp-2f
#define DD_GELU_S4 0x1.d5ff34p-7f
#define DD_GELU_S5 0x1.ca873ep-5f
#define DD_GELU_S6 -0x1.0d63acp-5f
#define DD_GELU_S7 0x1.19ffacp-7f
#define DD_GELU_S8 -0x1.dbf6dap-11f

#define DD_LN_EPS 0x1.4f8b58p-17f /* 1e-5 */
#define DD_NAN_BITS 0x7fc00000u
#endif
