/* Signs of training that goes wrong, on curves made for each: those that show it and those that nearly do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "study/signs.h"

enum { MOST = 64 };
static dd_run_eval evals[MOST];
static dd_run_step steps[MOST];
static dd_study_run run;
static dd_sign sign[DD_SIGN_COUNT];

/* Validation and training losses (and rates, when not NULL) at iterations 0, 100, 200 ... */
static void curves(size_t n, const double *val, const double *train, const double *rate) {
  run = (dd_study_run){.state = DD_RUN_FINISHED, .evals = evals, .n_evals = n, .steps = steps};
  run.max_iters = run.iter = 100 * (int64_t)(n - 1);
  for (size_t i = 0; i < n; i++)
    evals[i] = (dd_run_eval){.iter = 100 * (int64_t)i, .val = val[i], .train = train[i], .rate = rate ? rate[i] : 0.2};
  dd_signs_find(&run, sign);
}
#define CURVES(val, train) curves(sizeof(val) / sizeof *(val), val, train, NULL)

/* Exactly this sign is there (-1: none). */
static void only(int id) {
  for (int i = 0; i < DD_SIGN_COUNT; i++)
    if (sign[i].there != (i == id)) fail_msg("sign %d is %s: %s", i, sign[i].there ? "there" : "missing", sign[i].text);
}

static void test_overfitting(void **state) {
  (void)state;
  const double val[] = {4, 2, 1.5, 1.48, 1.55, 1.7}, train[] = {4, 1.9, 1.3, 1.1, 0.9, 0.6};
  CURVES(val, train);
  only(DD_SIGN_OVERFITTING);
  assert_int_equal(sign[DD_SIGN_OVERFITTING].since, 300);
  assert_string_equal(sign[DD_SIGN_OVERFITTING].text,
                      "overfits since iteration 300: until iteration 500 the validation loss rose from 1.4800 to "
                      "1.7000 while the training loss fell from 1.1000 to 0.6000");
  const double little[] = {4, 2, 1.5, 1.48, 1.485, 1.499}; /* within 0.02 of the best */
  CURVES(little, train);
  only(-1);
  const double both[] = {4, 1.9, 1.3, 1.1, 1.2, 1.3}; /* training suffers too: something else is wrong */
  CURVES(val, both);
  only(-1);
  const double falls[] = {4, 2, 1.8, 1.7, 1.6, 1.5};
  CURVES(falls, train);
  only(-1);
}

static void test_plateau(void **state) {
  (void)state;
  const double val[] = {4, 3, 2.52, 2.505, 2.503, 2.502, 2.501, 2.5, 2.5},
               train[] = {4, 3, 2.50, 2.495, 2.493, 2.492, 2.491, 2.49, 2.49};
  CURVES(val, train);
  only(DD_SIGN_UNDERFITTING);
  assert_int_equal(sign[DD_SIGN_UNDERFITTING].since, 300);
  const double learns[] = {4, 3, 2.4, 2.3, 2.2, 2.1, 2.0, 1.9, 1.8};
  CURVES(val, learns); /* a gap: learnt by heart, no plateau; the validation loss does not rise */
  only(-1);
  CURVES(learns, learns);
  only(-1);
  const double late[] = {4, 3, 2.9, 2.8, 2.7, 2.6, 2.52, 2.5, 2.5}; /* flat only in the last eighth */
  CURVES(late, late);
  only(-1);
  const double two[] = {2.5, 2.5};
  CURVES(two, two);
  only(-1);
}

static void test_waves(void **state) {
  (void)state;
  const double train[] = {4, 3, 2.9, 2.7, 2.5, 2.3, 2.1, 1.9, 1.8, 1.7, 1.6, 1.5, 1.4};
  const double val[] = {4, 3, 2.9, 2.7, 2.5, 2.3, 2.1, 2.2, 2.1, 2.2, 2.1, 2.2, 2.1};
  CURVES(val, train);
  only(DD_SIGN_WAVES);
  assert_int_equal(sign[DD_SIGN_WAVES].since, 700);
  const double small[] = {4, 3, 2.9, 2.7, 2.5, 2.3, 2.100, 2.105, 2.1, 2.105, 2.1, 2.105, 2.1};
  CURVES(small, train);
  only(-1);
  const double early[] = {4, 3, 3.5, 3, 3.5, 3, 2.9, 2.8, 2.7, 2.6, 2.5, 2.4, 2.3}; /* only at the beginning */
  CURVES(early, train);
  only(-1);
  const double few[] = {4, 3, 2.9, 2.7, 2.5, 2.3, 2.1, 2.2, 2.1, 2.0, 1.9, 1.8, 1.7};
  CURVES(few, train);
  only(-1);
}

static void test_rate(void **state) {
  (void)state;
  const double loss[] = {4, 3.5, 3, 2.5, 2.2, 2, 1.9, 1.8, 1.7};
  const double there[] = {0.2, 0.19, 0.2, 0.19, 0.2, 0.19, 0.2, 0.19, 0.2};
  curves(9, loss, loss, there);
  only(DD_SIGN_RATE_WAVES);
  assert_int_equal(sign[DD_SIGN_RATE_WAVES].since, 100);
  const double turns[] = {0.2, 0.19, 0.18, 0.17, 0.18, 0.19, 0.2, 0.21, 0.22}; /* as val-loss does once */
  curves(9, loss, loss, turns);
  only(-1);
  const double falls[] = {0.2, 0.18, 0.16, 0.14, 0.12, 0.1, 0.08, 0.06, 0.04};
  curves(9, loss, loss, falls);
  only(-1);
  const double rests[] = {0.2, 0.19, 0.19, 0.2, 0.2, 0.19, 0.19, 0.2, 0.19}; /* it may pause between */
  curves(9, loss, loss, rests);
  only(DD_SIGN_RATE_WAVES);
}

static void test_divergence(void **state) {
  (void)state;
  const double up[] = {4.2, 3, 4.25, 4.5, 5}, train[] = {4.2, 3, 4.25, 4.5, 5};
  CURVES(up, train);
  only(DD_SIGN_DIVERGENCE);
  assert_int_equal(sign[DD_SIGN_DIVERGENCE].since, 300);
  const double back[] = {4.2, 3, 4.25, 4.5, 3.5};
  CURVES(back, back);
  only(-1);
  const double hole[] = {4.2, 3, NAN, 2.5, 2.4};
  CURVES(hole, train);
  assert_true(sign[DD_SIGN_DIVERGENCE].there);
  assert_int_equal(sign[DD_SIGN_DIVERGENCE].since, 200);
  /* batch losses of a run that never came to an evaluation */
  run = (dd_study_run){.state = DD_RUN_UNFINISHED, .max_iters = 100, .iter = 4, .steps = steps, .n_steps = 5};
  const double loss[] = {4.2, 4.1, 4.25, 9, 20};
  for (int i = 0; i < 5; i++) steps[i] = (dd_run_step){.iter = i, .loss = loss[i]};
  dd_signs_find(&run, sign);
  only(DD_SIGN_DIVERGENCE);
  assert_int_equal(sign[DD_SIGN_DIVERGENCE].since, 3);
  steps[4].loss = 4.2;
  dd_signs_find(&run, sign);
  only(-1);
  run.state = DD_RUN_DIVERGED, run.iter = 5;
  snprintf(run.why, sizeof run.why, "loss became NaN");
  dd_signs_find(&run, sign);
  only(DD_SIGN_DIVERGENCE);
  assert_string_equal(sign[DD_SIGN_DIVERGENCE].text, "diverged: loss became NaN");
  assert_int_equal(sign[DD_SIGN_DIVERGENCE].since, 5);
}

static void test_nothing(void **state) {
  (void)state;
  run = (dd_study_run){.state = DD_RUN_MISSING, .iter = -1};
  dd_signs_find(&run, sign);
  only(-1);
  const double none[] = {NAN, NAN, NAN, NAN};
  CURVES(none, none);
  only(DD_SIGN_DIVERGENCE);
}

/* The rules that reports print are those of the constants. */
static void test_rules(void **state) {
  (void)state;
  const double constants[] = {DD_SIGN_RISE, DD_SIGN_FLAT, DD_SIGN_CLOSE, DD_SIGN_WAVE,
                              DD_SIGN_FLIPS, DD_SIGN_ABOVE_START};
  static const int sign_of[] = {DD_SIGN_OVERFITTING, DD_SIGN_UNDERFITTING, DD_SIGN_UNDERFITTING, DD_SIGN_WAVES,
                                DD_SIGN_RATE_WAVES, DD_SIGN_DIVERGENCE};
#define RULE(id, name, rule) rule,
  static const char *const rules[] = {DD_SIGNS(RULE)};
  for (size_t i = 0; i < sizeof constants / sizeof *constants; i++) {
    char text[32];
    snprintf(text, sizeof text, "%g", constants[i]);
    if (!strstr(rules[sign_of[i]], text)) fail_msg("the rule '%s' does not name %s", rules[sign_of[i]], text);
  }
  assert_true(DD_SIGN_FLIP_PART == 0.5 && DD_SIGN_LAST_PART == 0.25); /* "half", "quarter" */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_overfitting), cmocka_unit_test(test_plateau), cmocka_unit_test(test_waves),
      cmocka_unit_test(test_rate), cmocka_unit_test(test_divergence), cmocka_unit_test(test_nothing),
      cmocka_unit_test(test_rules),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
