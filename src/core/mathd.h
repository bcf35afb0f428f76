/* exp, log, cos and sin in double from +, -, *, / alone: the same bits with every compiler, C library and processor.
 * For schedules, learning rates, initialization and the loss. A few ulp; bounds in tests/test_mathd.c. */
#ifndef DD_CORE_MATHD_H
#define DD_CORE_MATHD_H

double dd_exp(double x);   /* 0 below -745, +inf above 709.78; NaN -> NaN */
double dd_log(double x);   /* -inf at 0, NaN below */
double dd_cospi(double x); /* cos(pi x), |x| < 2^52 */
double dd_sinpi(double x);
double dd_pow(double base, double exponent); /* base > 0: exp(exponent * log(base)) */

enum { DD_NORMAL_PAIRS = 16 }; /* at a time: enough for any vector */
/** Pairs of normal numbers from pairs of uniform ones (Box and Muller 1958): with r = sqrt(-2 log u[i]) is
 *  z[2i] = r cos(2 pi w[i]) and z[2i+1] = r sin(2 pi w[i]), every bit as the functions above have it. u in
 *  [2^-1022, 1], w in [0, 1). */
void dd_normal_pairs(double z[2 * DD_NORMAL_PAIRS], const double u[DD_NORMAL_PAIRS], const double w[DD_NORMAL_PAIRS]);
#endif
