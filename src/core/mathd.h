/* exp, log, cos and sin in double from +, -, *, / alone: the same bits with every compiler, C library and processor.
 * For schedules, learning rates, initialization and the loss. A few ulp; bounds in tests/test_mathd.c. */
#ifndef DD_CORE_MATHD_H
#define DD_CORE_MATHD_H

double dd_exp(double x);   /* 0 below -745, +inf above 709.78; NaN -> NaN */
double dd_log(double x);   /* -inf at 0, NaN below */
double dd_cospi(double x); /* cos(pi x), |x| < 2^52 */
double dd_sinpi(double x);
double dd_pow(double base, double exponent); /* base > 0: exp(exponent * log(base)) */
#endif
