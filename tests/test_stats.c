/* Statistics against reference values of scipy 1.10, printed with %.17g by these lines (np numpy, st scipy.stats,
 * sp scipy.special):
 *   ibeta      sp.betainc(a, b, x)
 *   t_p        2*st.t.sf(abs(t), df)            quantile   root of st.t.sf(t, df) = 1 - q by
 *              scipy.optimize.brentq (st.t.ppf itself is right to 9 digits only); p = 2*(1 - q)
 *   lgamma     sp.gammaln(x)                    normal     sp.ndtr(z)
 *   t test     st.ttest_1samp(d, 0), with that quantile for the interval
 *   permute    st.permutation_test((d,), np.mean, permutation_type='samples', n_resamples=10**6)
 *   sign       st.binomtest(wins, wins + losses).pvalue
 *   power      st.nct.sf(c, n-1, m/s*n**.5) + st.nct.cdf(-c, n-1, m/s*n**.5), c = st.t.ppf(.975, n-1); seeds: first n
 *   bootstrap  st.bootstrap((d,), np.mean, n_resamples=200000, method='percentile') */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include "study/stats.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define NEAR(got, want, rel) near_(got, want, rel, __LINE__)
static void near_(double got, double want, double rel, int line) {
  if (!(fabs(got - want) <= rel * fabs(want) + 1e-300)) fail_msg("line %d: %.17g, expected %.17g", line, got, want);
}

static const double d8[] = {-0.0031, -0.0012, 0.0008, -0.0045, -0.0020, 0.0004, -0.0017, -0.0029};

static void test_moments(void **state) {
  (void)state;
  const double x[] = {3, -1, 4, 1};
  NEAR(dd_stats_mean(x, 4), 1.75, 1e-15);
  NEAR(dd_stats_sd(x, 4), sqrt(14.75 / 3), 1e-15); /* squares 1.5625, 7.5625, 5.0625, 0.5625 */
  NEAR(dd_stats_median((double[]){3, -1, 4, 1}, 4), 2, 0);
  NEAR(dd_stats_median((double[]){3, -1, 4}, 3), 3, 0);
  NEAR(dd_stats_min(x, 4), -1, 0);
  NEAR(dd_stats_max(x, 4), 4, 0);
  NEAR(dd_stats_mean(d8, 8), -0.0017750000000000001, 1e-15);
  NEAR(dd_stats_sd(d8, 8), 0.0017806499615910718, 1e-14);
  assert_true(isnan(dd_stats_mean(x, 0)) && isnan(dd_stats_sd(x, 1)) && isnan(dd_stats_median(NULL, 0)));
  assert_true(isnan(dd_stats_min(x, 0)) && isnan(dd_stats_max(x, 0)));
}

static void test_distributions(void **state) {
  (void)state;
  static const double lg[][2] = {
      {0.5, 0.57236494292469997}, {1.5, -0.12078223763524526}, {3.7, 1.4280723266653881},   {10, 12.801827480081469},
      {100.5, 361.43554046777757}, {1e-3, 6.9071788853838534}, {1e6, 12815504.569147611},
  };
  for (size_t i = 0; i < COUNT(lg); i++) NEAR(dd_stats_lgamma(lg[i][0]), lg[i][1], 1e-13);
  assert_true(fabs(dd_stats_lgamma(1)) < 1e-14 && fabs(dd_stats_lgamma(2)) < 1e-14);
  static const double ib[][4] = {
      {0.5, 0.5, 0.3, 0.36901011956554541},     {2.5, 0.5, 0.9, 0.48958974456442739},
      {1, 3, 0.2, 0.48799999999999999},         {10, 0.5, 0.99, 0.65792817515678426},
      {50, 0.5, 0.2, 9.994267861336983e-37},    {3.5, 0.5, 0.999999, 0.99796281842604639},
      {0.5, 0.5, 1e-12, 6.3661977236768759e-07},
  };
  for (size_t i = 0; i < COUNT(ib); i++)
    NEAR(dd_stats_ibeta(ib[i][0], ib[i][1], ib[i][2], 1 - ib[i][2]), ib[i][3], 1e-10);
  NEAR(dd_stats_ibeta(2, 3, 0, 1), 0, 0);
  NEAR(dd_stats_ibeta(2, 3, 1, 0), 1, 0);
  assert_true(isnan(dd_stats_ibeta(-1, 1, 0.5, 0.5)));
  static const double nd[][2] = {{-8, 6.2209605742717405e-16}, {-2, 0.022750131948179195}, {-0.3, 0.38208857781104738},
                                 {0, 0.5},                     {0.5, 0.69146246127401312}, {1.96, 0.97500210485177952},
                                 {5, 0.99999971334842808}};
  for (size_t i = 0; i < COUNT(nd); i++) NEAR(dd_stats_normal(nd[i][0]), nd[i][1], 1e-12);
  static const double tp[][3] = {
      {0.1, 4, 0.92515584093945324},   {1, 1, 0.5},
      {2.5, 4, 0.066766544811988127},  {-3.2, 7, 0.015065811342489297},
      {12, 2, 0.0068729336771584599},  {40, 9, 1.8982998449339835e-11},
      {0.7, 30, 0.48932044349967163},  {2, 1000, 0.045770346493251665},
  };
  for (size_t i = 0; i < COUNT(tp); i++) NEAR(dd_stats_t_p(tp[i][0], tp[i][1]), tp[i][2], 1e-10);
  NEAR(dd_stats_t_p(0, 5), 1, 0);
  NEAR(dd_stats_t_p(INFINITY, 5), 0, 0);
  static const double tq[][3] = {
      {0.975, 1, 12.706204736174691}, {0.975, 2, 4.3026527297494619},  {0.975, 4, 2.7764451051977987},
      {0.975, 7, 2.364624251592784}, {0.975, 29, 2.045229642132703},  {0.975, 1000, 1.9623390808264074},
      {0.8, 4, 0.94096457723518157},  {0.6, 3, 0.27667066233268955},
  };
  for (size_t i = 0; i < COUNT(tq); i++) NEAR(dd_stats_t_quantile(2 * (1 - tq[i][0]), tq[i][1]), tq[i][2], 1e-10);
  assert_true(isnan(dd_stats_t_quantile(0, 3)) && isnan(dd_stats_t_quantile(0.5, 0)));
}

static void test_t_test(void **state) {
  (void)state;
  double p, lo, hi;
  dd_stats_t_test(d8, 8, &p, &lo, &hi);
  NEAR(p, 0.02579352328921811, 1e-10);
  NEAR(lo, -0.0032636606219892776, 1e-10);
  NEAR(hi, -0.00028633937801072237, 1e-10);
  const double same[] = {0.5, 0.5, 0.5}, none[] = {0, 0};
  dd_stats_t_test(same, 3, &p, &lo, &hi);
  assert_true(p == 0 && lo == 0.5 && hi == 0.5);
  dd_stats_t_test(none, 2, &p, &lo, &hi);
  assert_true(p == 1 && lo == 0 && hi == 0);
  dd_stats_t_test(d8, 1, &p, &lo, &hi);
  assert_true(isnan(p) && isnan(lo) && isnan(hi));
}

static void test_bootstrap(void **state) {
  (void)state;
  double lo, hi, again_lo, again_hi;
  dd_stats_bootstrap(d8, 8, &lo, &hi);
  NEAR(lo, -0.0029125, 0.02); /* of 10,000 resamples: within their own error of the 200,000 of scipy */
  NEAR(hi, -0.0006125, 0.06);
  dd_stats_bootstrap(d8, 8, &again_lo, &again_hi);
  assert_true(lo == again_lo && hi == again_hi);
  const double two[] = {1, 2};
  dd_stats_bootstrap(two, 2, &lo, &hi); /* means 1, 1.5, 2 with weights 1:2:1 */
  assert_true(lo == 1 && hi == 2);
  dd_stats_bootstrap(two, 1, &lo, &hi);
  assert_true(isnan(lo) && isnan(hi));
}

static void test_permutation(void **state) {
  (void)state;
  bool exact = false;
  NEAR(dd_stats_permutation(d8, 8, &exact), 0.0390625, 0);
  assert_true(exact);
  const double all[] = {0.1, 0.2, 0.3, 0.7, 0.1}, zero[] = {0, 0, 0};
  NEAR(dd_stats_permutation(all, 5, &exact), 2.0 / 32, 0); /* the sums 0.1+0.2 and 0.3 differ in double: still tied */
  NEAR(dd_stats_permutation(zero, 3, &exact), 1, 0);
  NEAR(dd_stats_permutation(all, 1, &exact), 1, 0);
  const double tied[] = {0.1, 0.2, -0.3, 0.3};
  /* sums over 16 patterns of 1,2,3,3 tenths: |1+2+3+3|=9, |-1+2+6|=7, |1-2+6|=5, |-1-2+6|=3, and 3,1,1,3 twice for
   * the two threes opposed; of these 8 (the others are their opposites) 9,7,5,3,3,3 reach 3 */
  NEAR(dd_stats_permutation(tied, 4, &exact), 0.75, 0);
  double many[24], p20;
  for (int i = 0; i < 24; i++) many[i] = d8[i % 8];
  p20 = dd_stats_permutation(many, 20, &exact);
  assert_true(exact && p20 > 0 && p20 < 0.01);
  const double drawn = dd_stats_permutation(many, 21, &exact);
  assert_false(exact);
  assert_true(drawn > 1e-5 && drawn < 0.01 && drawn == dd_stats_permutation(many, 21, &exact));
  for (int i = 0; i < 24; i++) many[i] = i % 2 ? 0.3 : -0.3;
  NEAR(dd_stats_permutation(many, 24, &exact), 1, 0); /* mean 0: every pattern is at least as far out */
  for (int i = 0; i < 24; i++) many[i] = i < 7 ? 0.3 : -0.3;
  NEAR(dd_stats_permutation(many, 24, &exact), 0.06391, 0.05); /* 2 P(X <= 7) of 24 at 1/2 */
  NEAR(dd_stats_permutation_floor(5), 2.0 / 32, 0);
  NEAR(dd_stats_permutation_floor(21), 1e-5, 0);
}

static void test_sign(void **state) {
  (void)state;
  static const double k[][3] = {{6, 2, 0.2890625}, {5, 0, 0.0625}, {3, 4, 1}, {4, 4, 1}, {0, 6, 0.03125},
                                {14, 6, 0.11531829833984375}, {0, 0, 1}};
  for (size_t i = 0; i < COUNT(k); i++) NEAR(dd_stats_sign_test((size_t)k[i][0], (size_t)k[i][1]), k[i][2], 1e-12);
}

static void test_holm(void **state) {
  (void)state;
  double out[4];
  const double p[] = {0.01, 0.04, 0.03, 0.005};
  dd_stats_holm(p, 4, out); /* 4*0.005, 3*0.01, 2*0.03, then 0.04 raised to 0.06 */
  NEAR(out[0], 0.03, 1e-15), NEAR(out[1], 0.06, 1e-15), NEAR(out[2], 0.06, 1e-15), NEAR(out[3], 0.02, 1e-15);
  const double q[] = {0.9, NAN, 0.02, 0.02};
  dd_stats_holm(q, 4, out); /* three of them count */
  assert_true(isnan(out[1]));
  NEAR(out[0], 0.9, 1e-15), NEAR(out[2], 0.06, 1e-15), NEAR(out[3], 0.06, 1e-15);
  const double one[] = {0.7, 0.8};
  dd_stats_holm(one, 2, out);
  assert_true(out[0] == 1 && out[1] == 1);
}

static void test_seeds(void **state) {
  (void)state;
  static const double power[][4] = {
      {10, 1, 1, 0.803096856648},        {9, 1, 1, 0.748017092279},         {34, 0.5, 1, 0.807777501279},
      {128, 0.001, 0.004, 0.801507136379}, {5, 2, 1, 0.908884868101},       {787, 0.1, 1, 0.800095442212},
      {3, 5, 1, 0.975462268727},
  };
  for (size_t i = 0; i < COUNT(power); i++)
    NEAR(dd_stats_power((size_t)power[i][0], power[i][1], power[i][2], 0.05), power[i][3], 1e-8);
  static const double need[][3] = {{1, 1, 10}, {-0.5, 1, 34}, {0.001, 0.004, 128}, {2, 1, 5}, {0.3, 1, 90},
                                   {0.1, 1, 787}, {5, 1, 3}};
  for (size_t i = 0; i < COUNT(need); i++)
    assert_int_equal(dd_stats_seeds_needed(need[i][0], need[i][1]), (size_t)need[i][2]);
  assert_int_equal(dd_stats_seeds_needed(0, 1), 0);
  assert_int_equal(dd_stats_seeds_needed(1, 0), 0);
  assert_int_equal(dd_stats_seeds_needed(NAN, 1), 0);
  assert_int_equal(dd_stats_seeds_needed(1e-9, 1), 0); /* more than a million */
  const size_t large = dd_stats_seeds_needed(0.01, 1);
  assert_in_range(large, 78000, 79000); /* (1.95996 + 0.84162)^2 / 0.01^2 = 78489 */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_moments),     cmocka_unit_test(test_distributions), cmocka_unit_test(test_t_test),
      cmocka_unit_test(test_bootstrap),   cmocka_unit_test(test_permutation),   cmocka_unit_test(test_sign),
      cmocka_unit_test(test_holm),        cmocka_unit_test(test_seeds),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
