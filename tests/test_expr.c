/* Formulas as schedules: values against C, precedence, the column that errors point at, limits; and lists and tables of
 * rates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "core/number.h"
#include "model/expr.h"
#include "model/points.h"
#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof(array)[0]))

static dd_error err;
static const double var[DD_EXPR_VAR_COUNT] = {[DD_EXPR_t] = 300,     [DD_EXPR_T] = 1200,   [DD_EXPR_p0] = 0.2,
                                              [DD_EXPR_pf] = 0.05,   [DD_EXPR_val] = 1.75, [DD_EXPR_train] = 1.5,
                                              [DD_EXPR_best] = 1.25, [DD_EXPR_gap] = 0.25};

static double value(const char *text) {
  dd_expr *e;
  if (dd_expr_compile(&e, text, &err)) fail_msg("`%s`: %s", text, err.message);
  const double v = dd_expr_eval(e, var);
  dd_expr_destroy(e);
  return v;
}

static void test_values(void **state) {
  (void)state;
  const double t = 300, T = 1200, p0 = 0.2, pf = 0.05, val = 1.75, train = 1.5, best = 1.25, gap = 0.25;
  (void)val, (void)train, (void)best;
  /* exact: only operations that round once, written the same way */
#define SAME(...) {#__VA_ARGS__, (double)(__VA_ARGS__)}
  const struct { const char *text; double want; } exact[] = {
      SAME(p0 * (1 - t / T)), SAME(1 - 2 - 3), SAME(8 / 4 / 2), SAME(2 + 3 * 4), SAME((2 + 3) * 4), SAME(-2 + 5),
      SAME(2 * -3), SAME(2 - -3), SAME(t < 300), SAME(t <= 300), SAME(t > 299.5), SAME(t >= 301), SAME(t == 300),
      SAME(t != 300), SAME(1 < 2 && 3 < 2), SAME(1 < 2 || 3 < 2), SAME(0 || 0), SAME(!0 + 1), SAME(!5), SAME(!!5),
      SAME(t < T / 2 ? p0 : pf), SAME(0 ? 1 : 0 ? 2 : 3), SAME(1 ? 0 ? 4 : 5 : 6), SAME(p0 * (t < 500)),
      {"1 + 2 < 4 == 1", 1}, SAME(1.5e2), SAME(.5), SAME(5.), SAME(1e-3), SAME(2E+3), SAME(0.1 + 0.2),
      SAME(val - train == gap), SAME(best), SAME(sqrt(2.0)), SAME(floor(-1.5)), SAME(floor(2.75)), SAME(floor(-3.0)),
      SAME(pf), {"  t\t/ \n T ", 0.25}, {"+3", 3}, {"- - 3", 3}, {"2^3", 8}, {"2^3^2", 512}, {"-2^2", -4},
      {"2^-1", 0.5},
      {"(1/3)^2", (1.0 / 3) * (1.0 / 3)}, {"(-2)^3", -8}, {"(-2)^-2", 0.25}, {"0^0", 1}, {"0^2", 0}, {"t^0", 1},
      {"min(3, 1, 2)", 1}, {"max(1, 3, 2)", 3}, {"min(t, T)", 300}, {"clamp(5, 0, 1)", 1}, {"clamp(-5, 0, 1)", 0},
      {"clamp(.5,0,1)", 0.5}, {"abs(-2.5)", 2.5}, {"abs(2)", 2}, {"max(min(1,2),min(3,4))", 3}, {"((((1))))", 1},
      {"1/0", INFINITY}, {"-1/0", -INFINITY}, {"0 && log(-1)", 0}, {"1 ? 2 : log(-1)", 2}, {"exp(0)", 1}, {"log(1)", 0},
      {"exp(-1e9)", 0}, {"cos(0)", 1}, {"sin(0)", 0}, {"1e400", INFINITY}, {"9007199254740993", 9007199254740992.0},
  };
  for (int i = 0; i < COUNT(exact); i++) {
    const double got = value(exact[i].text);
    if (got != exact[i].want) fail_msg("`%s` is %.17g, not %.17g", exact[i].text, got, exact[i].want);
  }
  static const char *const nan[] = {"log(-1)", "sqrt(-1)", "0/0", "(-2)^0.5", "sin(1e300)", "cos(1/0)", "(-3)^65",
                                    "1/0 - 1/0"};
  for (int i = 0; i < COUNT(nan); i++)
    if (!isnan(value(nan[i]))) fail_msg("`%s` is %.17g, not NaN", nan[i], value(nan[i]));
  const struct { const char *text; double want; } near[] = {
      {"pi", M_PI}, {"exp(1.5)", exp(1.5)}, {"log(t)", log(300)}, {"t^0.3", pow(300, 0.3)}, {"sin(2)", sin(2)},
      {"cos(pi*t/T)", cos(M_PI / 4)}, {"sin(-7.5)", sin(-7.5)}, {"p0*exp(-5*t/T)", 0.2 * exp(-1.25)},
      {"2^0.5", sqrt(2)}, {"t^65", pow(300, 65)}, {"cos(100)", cos(100)}};
  for (int i = 0; i < COUNT(near); i++)
    if (!(fabs(value(near[i].text) / near[i].want - 1) < 1e-13))
      fail_msg("`%s` is %.17g, not %.17g", near[i].text, value(near[i].text), near[i].want);
}

static void test_variables(void **state) {
  (void)state;
  static const struct { const char *text; unsigned vars; } cases[] = {
      {"1", 0}, {"t/T", 1u << DD_EXPR_t | 1u << DD_EXPR_T}, {"p0", 1u << DD_EXPR_p0}, {"pf*0", 1u << DD_EXPR_pf},
      {"val", 1u << DD_EXPR_val}, {"1 ? 1 : train", 1u << DD_EXPR_train},
      {"best+gap", 1u << DD_EXPR_best | 1u << DD_EXPR_gap}};
  for (int i = 0; i < COUNT(cases); i++) {
    dd_expr *e;
    assert_int_equal(dd_expr_compile(&e, cases[i].text, &err), DD_OK);
    assert_int_equal(dd_expr_vars(e), cases[i].vars);
    dd_expr_destroy(e);
  }
  dd_expr_destroy(NULL);
}

static void bad(const char *text, int column, const char *mention) {
  dd_expr *e;
  char where[32];
  snprintf(where, sizeof where, "column %d:", column);
  if (dd_expr_compile(&e, text, &err) != DD_E_USAGE) fail_msg("`%s` was taken", text);
  assert_null(e);
  if (strncmp(err.message, where, strlen(where)) || !strstr(err.message, mention))
    fail_msg("`%s`: expected %s ... %s, got: %s", text, where, mention, err.message);
}

static void test_errors(void **state) {
  (void)state;
  bad("", 1, "found the end");
  bad("   ", 4, "found the end");
  bad("p0*", 4, "found the end");
  bad("p0*(1-t/T", 10, "expected ')', found the end");
  bad("p0)", 3, "expected an operator or the end, found ')'");
  bad("p0 t", 4, "expected an operator");
  bad("2t", 1, "expected a number");
  bad("1.2.3", 1, "expected a number");
  bad("0x10", 1, "expected a number");
  bad("1e", 1, "expected a number");
  bad("p0*tt", 4, "unknown name; known are t T p0 pf val train best gap pi min max");
  bad("p0*tt", 4, "found 'tt'");
  bad("TT", 1, "unknown name");
  bad("Exp(1)", 1, "unknown name");
  bad("exp 1", 5, "expected '('");
  bad("exp", 4, "expected '('");
  bad("exp()", 5, "expected a number, a name or '('");
  bad("exp(1,2)", 1, "takes one value");
  bad("1+min(1)", 3, "two or more");
  bad("clamp(1,2)", 1, "three");
  bad("clamp(1,2,3,4)", 1, "three");
  bad("1 ? 2", 6, "expected ':'");
  bad("1 ? : 2", 5, "found ':'");
  bad("1 = 2", 3, "expected an operator");
  bad("1 & 2", 3, "expected an operator");
  bad("* 2", 1, "found '*'");
  bad("1 +* 2", 4, "found '*'");
  bad("t, T", 2, "found ','");
  bad("t\xc3\xa9", 2, "found '\xc3\xa9'");
  bad("\xe2\x88\x92""1", 1, "found '\xe2\x88\x92""1'");
  bad("p0 * system(1)", 6, "unknown name");
}

static void test_limits(void **state) {
  (void)state;
  char text[6000];
  memset(text, '(', sizeof text);
  strcpy(text + 500, "1");
  bad(text, 33, "nested too deeply");
  memset(text, '-', sizeof text);
  strcpy(text + 500, "1");
  bad(text, 64, "nested too deeply");
  size_t n = 0;
  for (int i = 0; i < 500; i++) n += (size_t)sprintf(text + n, "2^");
  strcpy(text + n, "1");
  dd_expr *e;
  assert_int_equal(dd_expr_compile(&e, text, &err), DD_E_USAGE);
  assert_non_null(strstr(err.message, "nested too deeply"));
  /* long is well, as long as it is flat */
  n = 0;
  for (int i = 0; i < 1000; i++) n += (size_t)sprintf(text + n, "1+");
  strcpy(text + n, "1");
  assert_true(value(text) == 1001);
  n = (size_t)sprintf(text, "max(0");
  for (int i = 0; i < 200; i++) n += (size_t)sprintf(text + n, ",%d", i);
  strcpy(text + n, ")");
  assert_true(value(text) == 199);
  for (int i = 0; i < 200; i++) n += (size_t)sprintf(text + n, ",%d", i);
  strcpy(text + n, ")");
  assert_int_equal(dd_expr_compile(&e, text, &err), DD_E_USAGE);
  assert_non_null(strstr(err.message, "too many values are open"));
  memset(text, ' ', sizeof text);
  strcpy(text + 5000, "1");
  assert_int_equal(dd_expr_compile(&e, text, &err), DD_E_USAGE);
  assert_non_null(strstr(err.message, "too long"));
}

static void test_numbers(void **state) {
  (void)state;
  static const struct { const char *text; double want; int length; } cases[] = {
      {"1", 1, 1}, {"-2.5x", -2.5, 4}, {"+.5", 0.5, 3}, {"5.", 5, 2}, {"1e3", 1000, 3}, {"1e", 1, 1}, {"1e+", 1, 1},
      {"1E-2%", 0.01, 4}, {"", 0, 0}, {".", 0, 0}, {"e5", 0, 0}, {"-", 0, 0}, {"nan", 0, 0}, {"inf", 0, 0},
      {"0x10", 0, 1}, {"1,5", 1, 1}, {" 1", 0, 0}, {"0.1", 0.1, 3}};
  for (int pass = 0; pass < 2; pass++) { /* in the locale of a host program too, where there is one */
    if (pass && !setlocale(LC_ALL, "de_DE.UTF-8") && !setlocale(LC_ALL, "de_DE.utf8")) break;
    for (int i = 0; i < COUNT(cases); i++) {
      const char *end;
      const double v = dd_parse_real(cases[i].text, &end);
      if (v != cases[i].want || end - cases[i].text != cases[i].length)
        fail_msg("'%s' is %.17g in %d characters", cases[i].text, v, (int)(end - cases[i].text));
    }
  }
  setlocale(LC_ALL, "C");
  char big[200];
  const char *end;
  memset(big, '1', sizeof big - 1);
  big[sizeof big - 1] = '\0';
  dd_parse_real(big, &end);
  assert_ptr_equal(end, big);
}

/* ---- lists and tables ---- */

static void test_steps(void **state) {
  (void)state;
  dd_points *p;
  assert_int_equal(dd_points_parse_list(&p, "x", " 10 = 0.2, 50%=.1 ,75.5%=0,1000=0.5", &err), DD_OK);
  assert_int_equal(p->n, 4);
  assert_int_equal(dd_points_check(p, "x", 1000, &err), DD_OK);
  static const struct { int64_t t; double want; } at[] = {{0, 0.9},   {9, 0.9},   {10, 0.2}, {499, 0.2}, {500, 0.1},
                                                          {754, 0.1}, {755, 0.0}, {999, 0.0}, {1000, 0.5}};
  for (int i = 0; i < COUNT(at); i++) assert_true(dd_points_step(p, 1000, at[i].t, 0.9) == at[i].want);
  assert_int_equal(dd_points_check(p, "x", 20, &err), DD_E_USAGE); /* 50% is iteration 10 then */
  assert_non_null(strstr(err.message, "50% comes after 10 (of 20 iterations)"));
  assert_true(dd_points_step(p, 15, 7, 0.9) == 0.9); /* 50% of 15 is 7.5 */
  free(p);
  static const struct { const char *text, *mention; } wrong[] = {
      {"", "an iteration is"}, {"0", "column 2: expected '='"},
      {"0=1", "column 3: a rate is a number from 0 to below 1"},
      {"0=-0.1", "rate"}, {"0=0.1,", "an iteration is"}, {"0=0.1;5=0", "column 6: expected ','"},
      {"0.5=0.1", "whole number"}, {"-1=0.1", "from 0 to"}, {"101%=0.1", "percentage"}, {"5000000000=0", "from 0 to"},
      {"a=0", "iteration"}, {"0=a", "rate"}, {"0=nan", "rate"}, {"0=0.1x", "expected ','"}};
  for (int i = 0; i < COUNT(wrong); i++) {
    if (dd_points_parse_list(&p, "name", wrong[i].text, &err) != DD_E_USAGE) fail_msg("'%s' was taken", wrong[i].text);
    assert_null(p);
    if (!strstr(err.message, wrong[i].mention) || strncmp(err.message, "name: ", 6)) fail_msg("%s", err.message);
  }
}

static void test_table(void **state) {
  (void)state;
  static const char *const same[] = {
      "100, 0.2\n300, 0.1\n100%, 0.5\n", "100 0.2\n300\t0.1\n100%   0.5",
      "\357\273\277100;0.2\r\n300;0.1\r\n100%;0.5\r\n",
      "# rates\niteration,rate\n\n  100 ,0.2 # first\n\t300, .1\n\n100% , 5e-1\n\n"};
  for (int i = 0; i < COUNT(same); i++) {
    dd_points *p;
    if (dd_points_parse_table(&p, "f.csv", same[i], strlen(same[i]), &err)) fail_msg("table %d: %s", i, err.message);
    assert_int_equal(p->n, 3);
    assert_int_equal(dd_points_check(p, "f.csv", 500, &err), DD_OK);
    for (int64_t t = 0; t <= 500; t++) {
      const long double want = t <= 100   ? 0.2L
                               : t <= 300 ? 0.2L - 0.1L * (long double)(t - 100) / 200
                                          : 0.1L + 0.4L * (long double)(t - 300) / 200;
      const double got = dd_points_line(p, 500, t);
      if (!(fabsl(got - want) < 2 * (long double)DBL_EPSILON)) fail_msg("table %d at %d: %.17g", i, (int)t, got);
    }
    assert_true(dd_points_line(p, 500, 100) == 0.2 && dd_points_line(p, 500, 300) == 0.1);
    assert_true(dd_points_line(p, 500, 600) == 0.5);
    free(p);
  }
  static const struct { const char *text, *mention; } wrong[] = {
      {"", "f.csv holds no row"}, {"# nothing\n\n", "holds no row"}, {"a,b\nc,d\n", "f.csv:2: an iteration is"},
      {"1,0.1\na,b\n", "f.csv:2:"}, {"0,0.1\n5\n", "f.csv:2: expected a comma"}, {"0,1\n", "f.csv:1: a rate is"},
      {"0,0.1,3\n", "f.csv:1: something follows"}, {"0,0.1\n\n5,nan\n", "f.csv:3: a rate is"}, {"0,,1", "a rate is"},
      {"1.5,0.1", "whole number"}, {"0 = 0.1", "a rate is"}};
  for (int i = 0; i < COUNT(wrong); i++) {
    dd_points *p;
    if (dd_points_parse_table(&p, "f.csv", wrong[i].text, strlen(wrong[i].text), &err) != DD_E_CORRUPT)
      fail_msg("'%s' was taken", wrong[i].text);
    assert_null(p);
    if (!strstr(err.message, wrong[i].mention)) fail_msg("'%s': %s", wrong[i].text, err.message);
  }
  dd_points *p;
  assert_int_equal(dd_points_parse_table(&p, "f.csv", "0,0.1\0", 6, &err), DD_E_CORRUPT);
  assert_non_null(strstr(err.message, "NUL"));
  assert_int_equal(dd_points_parse_table(&p, "f.csv", "5,0.1\n5,0.2\n", 12, &err), DD_OK);
  assert_int_equal(dd_points_check(p, "f.csv", 500, &err), DD_E_USAGE);
  free(p);
  /* as many rows as there may be, and one more */
  char *big = malloc(DD_POINTS_MAX * 16 + 64);
  size_t n = 0;
  for (int i = 0; i < DD_POINTS_MAX; i++) n += (size_t)sprintf(big + n, "%d,0.%d\n", i, i % 9 + 1);
  assert_int_equal(dd_points_parse_table(&p, "f.csv", big, n, &err), DD_OK);
  assert_int_equal(p->n, DD_POINTS_MAX);
  for (int i = 0; i < DD_POINTS_MAX; i += 997)
    assert_true(fabs(dd_points_line(p, 100, i) - (i % 9 + 1) / 10.0) < 1e-15);
  free(p);
  n += (size_t)sprintf(big + n, "%d,0\n", DD_POINTS_MAX);
  assert_int_equal(dd_points_parse_table(&p, "f.csv", big, n, &err), DD_E_CORRUPT);
  assert_non_null(strstr(err.message, "f.csv:100001: too many rows"));
  free(big);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_values), cmocka_unit_test(test_variables), cmocka_unit_test(test_errors),
      cmocka_unit_test(test_limits), cmocka_unit_test(test_numbers), cmocka_unit_test(test_steps),
      cmocka_unit_test(test_table),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
