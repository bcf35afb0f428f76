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
#define DD_ROUND_MAGIC 0x1.8p+23f

/* Upper normal tail: 1 - Phi(a) = e^(-a^2/2) t Q(t), t = 1/(1 + DD_CDF_A a), a >= 0; Q of degree 9, relative error of
 * the fit 2^-26.9 on 0 <= a <= 14 (beyond, the tail underflows). */
#define DD_CDF_A 0x1.21a186p-2f
#define DD_CDF_Q0 0x1.ce3f6ep-4f
#define DD_CDF_Q1 0x1.ccb3a8p-4f
#define DD_CDF_Q2 0x1.b82772p-4f
#define DD_CDF_Q3 0x1.0995cap-4f
#define DD_CDF_Q4 0x1.169806p-3f
#define DD_CDF_Q5 -0x1.233004p-3f
#define DD_CDF_Q6 0x1.1848d2p-2f
#define DD_CDF_Q7 -0x1.fec772p-3f
#define DD_CDF_Q8 0x1.958714p-4f
#define DD_CDF_Q9 -0x1.e4de50p-7f

/* Centre: Phi(x) = 1/2 + x R(x^2), |x| < 1; R of degree 5, relative error of the fit 2^-30.3. There 1 - tail would carry
 * the rounding of t into every digit. */
#define DD_CDF_R0 0x1.988454p-2f
#define DD_CDF_R1 -0x1.105832p-4f
#define DD_CDF_R2 0x1.46ce4cp-7f
#define DD_CDF_R3 -0x1.36fd42p-10f
#define DD_CDF_R4 0x1.dbff10p-14f
#define DD_CDF_R5 -0x1.00d526p-17f
#define DD_INV_SQRT_2PI 0x1.988454p-2f

#define DD_LN_EPS 0x1.4f8b58p-17f /* 1e-5 */
#define DD_NAN_BITS 0x7fc00000u
#endif
