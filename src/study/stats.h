/* Statistics of a few paired runs, in double, from + - * / sqrt and own functions alone: the same data give the same
 * bits on every machine. Undefined results are NaN. x[n] is never changed. */
#ifndef DD_STUDY_STATS_H
#define DD_STUDY_STATS_H
#include <stdbool.h>
#include <stddef.h>

double dd_stats_mean(const double *x, size_t n);
/** Sample standard deviation (n - 1); NaN below two values. */
double dd_stats_sd(const double *x, size_t n);
double dd_stats_min(const double *x, size_t n);
double dd_stats_max(const double *x, size_t n);
/** Middle value, or the mean of the two middle ones. NaN for n = 0 or when memory ran out. */
double dd_stats_median(double *x, size_t n); /* sorts x */

/* ---- distributions ---- */
double dd_stats_lgamma(double x); /* x > 0 */
/** Regularized incomplete beta function I_x(a, b); y = 1 - x, given apart so that nothing is lost near 1. */
double dd_stats_ibeta(double a, double b, double x, double y);
/** P(|T| >= |t|) of Student's t with df degrees of freedom. */
double dd_stats_t_p(double t, double df);
/** The t with P(|T| >= t) = p, 0 < p < 1. */
double dd_stats_t_quantile(double p, double df);
/** Standard normal distribution function, absolute error below 1e-13. */
double dd_stats_normal(double z);

/* ---- one sample of differences against zero ---- */
/** Paired t test on differences d: two-sided p and 95 % interval of the mean. With no spread at all the interval is the
 *  mean and p is 0 (or 1 when the mean is 0). NaN below two differences. */
void dd_stats_t_test(const double *d, size_t n, double *p, double *lo, double *hi);

/** 95 % percentile interval of the mean from DD_BOOTSTRAPS resamples; their draws have fixed addresses of Philox.
 *  Percentile and not BCa: bias and acceleration of BCa would be estimated from the same handful of runs, and their
 *  error is larger than what they correct. Too narrow for few runs (about sqrt((n-1)/n) of its width is missing): the
 *  t interval is the one to quote. NaN below two values or when memory ran out. */
enum { DD_BOOTSTRAPS = 10000 };
void dd_stats_bootstrap(const double *x, size_t n, double *lo, double *hi);

/** Two-sided p of the mean when every sign is as likely as its opposite: all 2^n sign patterns for
 *  n <= DD_PERMUTATION_EXACT (*exact true), else DD_PERMUTATIONS drawn ones, the observed counted among them. */
enum { DD_PERMUTATION_EXACT = 20, DD_PERMUTATIONS = 100000 };
double dd_stats_permutation(const double *d, size_t n, bool *exact);
/** Smallest p that dd_stats_permutation can give for n differences. */
double dd_stats_permutation_floor(size_t n);

/** Exact two-sided sign test; ties were left out before. */
double dd_stats_sign_test(size_t wins, size_t losses);

/** Holm's step-down correction of p[n] into out[n], which is not p. NaN stays NaN and is not counted. */
void dd_stats_holm(const double *p, size_t n, double *out);

/** Power of the two-sided paired t test at level alpha with n pairs whose differences have this mean and standard
 *  deviation: noncentral t, integrated over the distribution of the sample deviation by Simpson's rule. */
double dd_stats_power(size_t n, double mean, double sd, double alpha);
/** Least n with power >= 0.8 at alpha 0.05; 0: none up to DD_SEEDS_MOST, or undefined. */
enum { DD_SEEDS_MOST = 1000000 };
size_t dd_stats_seeds_needed(double mean, double sd);
#endif
