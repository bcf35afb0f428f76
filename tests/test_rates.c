/* The schedules beyond the paper against their formulas in long double; the gap controller; rates of sites and layers;
 * what depends on the schedule: defaults, parameters that are used, labels, checks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "core/file.h"
#include "run/rates.h"
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof(array)[0]))

static dd_error err;

/* ---- functions of t ---- */

static long double formula(const dd_schedule *s, long double t) {
  const long double p0 = s->p0, pf = s->pf, T = (long double)s->T, c = s->cutoff;
  switch (s->id) {
  case DD_SCHEDULE_LINEAR_RISE: return pf + (p0 - pf) * t / T;
  case DD_SCHEDULE_CURRICULUM: return pf + (p0 - pf) * (1 - expl(-(long double)s->gamma * t / T));
  case DD_SCHEDULE_EARLY: return t < c * T ? p0 * (1 - t / (c * T)) : 0;
  case DD_SCHEDULE_LATE: return t < c * T ? 0 : p0;
  case DD_SCHEDULE_V:
    if (t < c * T) return p0 + (pf - p0) * t / (c * T);
    return c < 1 ? pf + (p0 - pf) * (t - c * T) / (T - c * T) : pf;
  case DD_SCHEDULE_TRIANGLE: {
    const long double turns = (long double)s->cycles * t / T, u = turns - floorl(turns);
    return pf + (p0 - pf) * (1 - fabsl(2 * u - 1));
  }
  default: return NAN;
  }
}

static const enum dd_schedule_id forms[] = {DD_SCHEDULE_LINEAR_RISE, DD_SCHEDULE_CURRICULUM, DD_SCHEDULE_EARLY,
                                            DD_SCHEDULE_LATE,        DD_SCHEDULE_V,          DD_SCHEDULE_TRIANGLE};

static double rate(const dd_schedule *s, int64_t t) {
  dd_schedule_state st;
  dd_schedule_start(s, &st);
  return dd_schedule_rate(s, &st, t);
}

static void test_formulas(void **state) {
  (void)state;
  static const double pairs[][2] = {{0.2, 0}, {0.2, 0.05}, {0, 0.3}, {0.5, 0.5}, {0.1, 0.9}, {0, 0}};
  static const int64_t lengths[] = {1, 2, 7, 60, 5000, 4000000000};
  static const double cutoffs[] = {0, 0.125, 0.5, 1}; /* c T is exact for the lengths that meet it */
  long compared = 0;
  for (int i = 0; i < COUNT(forms); i++)
    for (int p = 0; p < COUNT(pairs); p++)
      for (int l = 0; l < COUNT(lengths); l++)
        for (int c = 0; c < COUNT(cutoffs); c++) {
          const dd_schedule s = {.id = forms[i], .p0 = pairs[p][0], .pf = pairs[p][1], .T = lengths[l],
                                 .gamma = 10.0 * c, .cutoff = cutoffs[c], .cycles = c + 1};
          for (int k = 0; k <= 64; k++) {
            const int64_t t = s.T / 64 * k + s.T % 64 * k / 64;
            const double got = rate(&s, t);
            /* steep lines: an error of t/T counts as often as the line is steep */
            const double steep = s.id == DD_SCHEDULE_TRIANGLE ? 2.0 * (double)s.cycles : 10;
            compared++;
            if (!(fabsl((long double)got - formula(&s, (long double)t)) <= 4 * DBL_EPSILON * steep))
              fail_msg("schedule %d, p0 %g, pf %g, T %lld, cutoff %g, t %lld: %.17g, not %.17Lg", (int)s.id, s.p0, s.pf,
                       (long long)s.T, s.cutoff, (long long)t, got, formula(&s, (long double)t));
          }
          if (rate(&s, -1) != rate(&s, 0) || rate(&s, INT64_MAX) != rate(&s, s.T)) fail_msg("goes on beyond 0 or T");
        }
  assert_true(compared > 30000);
}

/* Points that one can see without a formula. */
static void test_shapes(void **state) {
  (void)state;
  dd_schedule s = {.p0 = 0.2, .pf = 0.05, .T = 1200, .gamma = 10, .cutoff = 0.25, .cycles = 3};
  static const struct { enum dd_schedule_id id; int64_t t; double want; } cases[] = {
      {DD_SCHEDULE_LINEAR_RISE, 0, 0.05}, {DD_SCHEDULE_LINEAR_RISE, 1200, 0.2}, {DD_SCHEDULE_CURRICULUM, 0, 0.05},
      {DD_SCHEDULE_EARLY, 0, 0.2}, {DD_SCHEDULE_EARLY, 150, 0.1}, {DD_SCHEDULE_EARLY, 300, 0},
      {DD_SCHEDULE_EARLY, 1200, 0}, {DD_SCHEDULE_LATE, 0, 0}, {DD_SCHEDULE_LATE, 299, 0}, {DD_SCHEDULE_LATE, 300, 0.2},
      {DD_SCHEDULE_LATE, 1200, 0.2}, {DD_SCHEDULE_V, 0, 0.2}, {DD_SCHEDULE_V, 300, 0.05}, {DD_SCHEDULE_V, 1200, 0.2},
      {DD_SCHEDULE_TRIANGLE, 0, 0.05}, {DD_SCHEDULE_TRIANGLE, 200, 0.2}, {DD_SCHEDULE_TRIANGLE, 1200, 0.05}};
  for (int i = 0; i < COUNT(cases); i++) {
    s.id = cases[i].id;
    if (rate(&s, cases[i].t) != cases[i].want)
      fail_msg("schedule %d at %d: %.17g", (int)s.id, (int)cases[i].t, rate(&s, cases[i].t));
  }
  s.id = DD_SCHEDULE_CURRICULUM;
  assert_true(fabs(rate(&s, 1200) - 0.2) < 1e-5 && fabs(rate(&s, 120) - (0.2 - 0.15 * exp(-1))) < 1e-15);
}

static void test_expr(void **state) {
  (void)state;
  dd_schedule s = {.id = DD_SCHEDULE_EXPR, .p0 = 0.2, .pf = 0.1, .T = 100};
  dd_schedule_state st;
  static const struct { const char *text; double before, after; } cases[] = {
      {"p0*(1-t/T)", 0.1, 0.1}, {"pf", 0.1, 0.1}, {"5", 0x1.fffffp-1, 0x1.fffffp-1}, {"-3", 0, 0}, {"-0", 0, 0},
      {"log(-1)", 0.2, 0.2}, /* p0 stands in for NaN */ {"1/0", 0x1.fffffp-1, 0x1.fffffp-1}, {"-1/0", 0, 0},
      {"val/16", 0x1.fffffp-1, 0.1875}, {"train/16", 0x1.fffffp-1, 0.125}, {"best/16", 0x1.fffffp-1, 0.15625},
      {"gap/4", 0, 0.25}, {"(val-train)/4", 0.2, 0.25}};
  for (int i = 0; i < COUNT(cases); i++) {
    dd_expr *e;
    assert_int_equal(dd_expr_compile(&e, cases[i].text, &err), DD_OK);
    s.expr = e;
    dd_schedule_start(&s, &st);
    if (dd_schedule_rate(&s, &st, 50) != cases[i].before)
      fail_msg("%s before: %.17g", cases[i].text, dd_schedule_rate(&s, &st, 50));
    assert_false(signbit(dd_schedule_rate(&s, &st, 50)));
    dd_schedule_observe(&s, &st, 2.25, 2.5);
    dd_schedule_observe(&s, &st, 2, 3);
    if (dd_schedule_rate(&s, &st, 50) != cases[i].after)
      fail_msg("%s after: %.17g", cases[i].text, dd_schedule_rate(&s, &st, 50));
    dd_expr_destroy(e);
  }
}

/* ---- the controller ---- */

static void test_gap(void **state) {
  (void)state;
  const dd_schedule s = {.id = DD_SCHEDULE_GAP, .p0 = 0.25, .T = 100, .step = 0.0625, .min = 0.125, .max = 0.5,
                         .gap_target = 0.25, .gap_gain = 0.125, .patience = 1};
  dd_schedule_state st;
  dd_schedule_start(&s, &st);
  static const struct { double train, val, want; } cases[] = {
      {4, 4, 0.25},       /* the first has nothing to compare with */
      {2, 2.25, 0.25},    /* on target */
      {2, 2.5, 0.28125},  /* above: up by gain * 0.25 */
      {2, 2, 0.25},       /* below: down */
      {2, 9, 0.3125},     /* far above: up by step, no more */
      {2, 9, 0.375},      {2, 9, 0.4375}, {2, 9, 0.5}, {2, 9, 0.5}, /* held at max */
      {2, -9, 0.4375},    /* far below: down by step */
      {2, -9, 0.375},     {2, -9, 0.3125}, {2, -9, 0.25}, {2, -9, 0.1875}, {2, -9, 0.125}, {2, -9, 0.125}};
  for (int i = 0; i < COUNT(cases); i++) {
    dd_schedule_observe(&s, &st, cases[i].train, cases[i].val);
    if (dd_schedule_rate(&s, &st, i) != cases[i].want)
      fail_msg("after evaluation %d: %.17g, not %g", i, dd_schedule_rate(&s, &st, i), cases[i].want);
  }
}

/* ---- settings ---- */

static dd_settings *with(const char *const *pairs) {
  dd_settings *s = dd_settings_create();
  for (; *pairs; pairs += 2)
    if (dd_settings_set(s, pairs[0], pairs[1], &err)) fail_msg("%s = %s: %s", pairs[0], pairs[1], err.message);
  return s;
}
#define WITH(...) with((const char *const[]){__VA_ARGS__, NULL})

static void test_defaults(void **state) {
  (void)state;
  static const struct { const char *key, *value; double final, cutoff, step; } cases[] = {
      {"schedule", "linear", 0, 0.5, 0.01},        {"schedule", "early", 0, 1.0 / 6, 0.01},
      {"schedule", "late", 0, 1.0 / 6, 0.01},      {"schedule", "v", 0, 0.5, 0.01},
      {"schedule", "gap", 0, 0.5, 0.05},           {"schedule", "val-loss", 0, 0.5, 0.01},
      {"schedule", "exponential", 0.01, 0.5, 0.01}, {"dropout_attn", "late", 0, 1.0 / 6, 0.01},
      {"dropout_mlp", "0.1,gap", 0, 0.5, 0.05},    {"dropout_proj", "exponential", 0.01, 0.5, 0.01}};
  for (int i = 0; i < COUNT(cases); i++) {
    dd_settings *s = WITH(cases[i].key, cases[i].value);
    if (s->dropout_final != cases[i].final || s->dropout_cutoff != cases[i].cutoff || s->dropout_step != cases[i].step)
      fail_msg("%s: %g %g %g", cases[i].value, s->dropout_final, s->dropout_cutoff, s->dropout_step);
    assert_int_equal(dd_settings_check(s, &err), DD_OK);
    dd_settings_destroy(s);
  }
  dd_settings *s = WITH("dropout_cutoff", "0.25", "schedule", "late", "dropout_step", "0.02", "dropout_mlp", "gap");
  assert_true(s->dropout_cutoff == 0.25 && s->dropout_step == 0.02);
  dd_settings_destroy(s);
  s = WITH("schedule", "val-loss", "dropout_mlp", "gap"); /* the schedule of all comes first */
  assert_true(s->dropout_step == 0.01);
  dd_settings_destroy(s);
}

static void test_arguments(void **state) {
  (void)state;
  static const struct { const char *value, *key, *arg, *label; } cases[] = {
      {"expr:p0*(1-t/T)", "dropout_expr", "p0*(1-t/T)", "expr:p0*(1-t/T)"},
      {"expr:t<5 ? 0:0.1", "dropout_expr", "t<5 ? 0:0.1", "expr:t<5 ? 0:0.1"},
      {"steps:0=0.2,50%=0.1", "dropout_steps", "0=0.2,50%=0.1", "steps:0=0.2,50%=0.1"},
      {"table:dir/rates.csv", "dropout_table", "dir/rates.csv", "table:rates.csv"}};
  char text[128];
  for (int i = 0; i < COUNT(cases); i++) {
    dd_settings *s = WITH("schedule", cases[i].value);
    assert_int_equal(dd_settings_get(s, cases[i].key, text, sizeof text, &err), DD_OK);
    assert_string_equal(text, cases[i].arg);
    dd_settings_schedule_label(s, text, sizeof text);
    assert_string_equal(text, cases[i].label);
    assert_true(dd_settings_is_set(s, DD_SETTING_schedule));
    dd_settings_destroy(s);
  }
  dd_settings *s = WITH("schedule", "cosine");
  dd_settings_schedule_label(s, text, sizeof text);
  assert_string_equal(text, "cosine");
  static const struct { const char *key, *value, *mention; } bad[] = {
      {"schedule", "linear:3", "schedule linear takes no argument"},
      {"schedule", "expr:", "needs an argument: --schedule 'expr:p0*(1-t/T)^2'"},
      {"schedule", "steps: ", "'steps:0=0.2,50%=0.1,90%=0'"},
      {"schedule", "expt:3", "did you mean 'expr'?"},
      {"schedule", "expr:p0*", "dropout_expr: 'p0*', column 4: expected"},
      {"schedule", "steps:0", "dropout_steps: column 2: expected '='"},
      {"dropout_attn", "1.5", "dropout_attn must be a rate from 0 to below 1"},
      {"dropout_attn", "0.1 cosine", "such as 0.1,cosine"},
      {"dropout_attn", "0.1,", "dropout_attn must be one of fixed"},
      {"dropout_attn", "cosin", "did you mean 'cosine'?"},
      {"dropout_attn", "late:3", "takes no argument"},
      {"dropout_attn", "table:x.csv", "write just `table`"},
      {"dropout_attn", "0.1,expr:p0+", "dropout_attn: 'p0+', column 4"},
      {"dropout_attn", "steps:0=2", "dropout_attn: column 3: a rate is"}};
  for (int i = 0; i < COUNT(bad); i++) {
    dd_settings before = *s;
    if (dd_settings_set(s, bad[i].key, bad[i].value, &err) != DD_E_USAGE) fail_msg("%s was taken", bad[i].value);
    if (!strstr(err.message, bad[i].mention)) fail_msg("%s: %s", bad[i].value, err.message);
    assert_memory_equal(s, &before, sizeof before);
  }
  dd_settings_destroy(s);
}

static void test_checks(void **state) {
  (void)state;
  static const struct { const char *pairs[7]; const char *mention; } bad[] = {
      {{"schedule", "expr"}, "schedule expr needs an argument: --schedule 'expr:p0*(1-t/T)^2' (or dropout_expr)"},
      {{"schedule", "table"}, "'table:rates.csv' (or dropout_table)"},
      {{"dropout_attn", "steps"}, "dropout_attn: schedule steps needs"},
      {{"dropout_attn", "0,exponential"}, "dropout_attn: schedule exponential cannot start"},
      {{"dropout_attn", "0.7,gap"}, "dropout_attn: dropout 0.7, the start of schedule gap, is outside"},
      {{"dropout_attn", "0.1", "dropout_sites", "attn"}, "dropout_sites attn and dropout_attn both"},
      {{"dropout_attn", "0.1", "dropout_sites", "embed"}, "--dropout-attn fixed"},
      {{"schedule", "expr:log(t-10)"}, "is not a number (NaN) at t = 0"},
      {{"schedule", "expr:20*(1-t/T)"}, "is 20 at t = 0, and a rate is below 1"},
      {{"schedule", "expr:sqrt(-1)*val"}, "is not a number (NaN)"},
      {{"schedule", "steps:50%=0.1,3000=0", "max_iters", "6000"}, "iterations must increase"}};
  for (int i = 0; i < COUNT(bad); i++) {
    dd_settings *s = with(bad[i].pairs);
    if (dd_settings_check(s, &err) != DD_E_USAGE) fail_msg("%s was taken", bad[i].pairs[1]);
    if (!strstr(err.message, bad[i].mention)) fail_msg("%s: %s", bad[i].pairs[1], err.message);
    dd_settings_destroy(s);
  }
  static const char *const good[][3] = {
      {"schedule", "expr:sqrt(gap)/2"}, {"schedule", "expr:p0-t"}, {"dropout_embed", "0"},
      {"dropout_mlp", "0.1,cosine"}};
  for (int i = 0; i < COUNT(good); i++) {
    dd_settings *s = with(good[i]);
    if (dd_settings_check(s, &err)) fail_msg("%s: %s", good[i][1], err.message);
    dd_settings_destroy(s);
  }
}

static void test_used(void **state) {
  (void)state;
  static const struct { const char *pairs[5]; const char *used, *unused; } cases[] = {
      {{"schedule", "fixed"}, "dropout schedule dropout_attn dropout_depth", "dropout_final eval_interval gap_gain"},
      {{"schedule", "gap"}, "dropout gap_gain gap_target dropout_step dropout_max eval_iters",
       "val_patience dropout_final"},
      {{"schedule", "val-loss"}, "val_patience dropout_min eval_interval", "gap_gain dropout_cutoff"},
      {{"schedule", "late"}, "dropout_cutoff", "dropout_gamma dropout_cycles dropout_final"},
      {{"schedule", "curriculum"}, "dropout_gamma dropout_final", "dropout_cutoff"},
      {{"schedule", "triangle"}, "dropout_cycles", "dropout_steps"},
      {{"schedule", "steps:0=0.1"}, "dropout_steps", "dropout dropout_expr"},
      {{"schedule", "steps:5=0.1"}, "dropout_steps dropout", "dropout_table"},
      {{"schedule", "expr:0.1*t/T"}, "dropout_expr", "dropout dropout_final eval_interval"},
      {{"schedule", "expr:pf"}, "dropout_final", "dropout"},
      {{"schedule", "expr:val/10"}, "eval_interval eval_iters dropout", "dropout_final val_patience"},
      {{"schedule", "fixed", "dropout_attn", "gap"}, "gap_gain eval_interval", "val_patience"},
      {{"schedule", "fixed", "dropout_attn", "expr:t/T"}, "dropout", "dropout_expr"},
      {{"schedule", "expr:0.1", "dropout_sites", "attn"}, "dropout", "dropout_final"}};
  for (int i = 0; i < COUNT(cases); i++) {
    dd_settings *s = with(cases[i].pairs);
    for (int used = 0; used < 2; used++) {
      char list[256];
      snprintf(list, sizeof list, "%s", used ? cases[i].used : cases[i].unused);
      for (char *p = strtok(list, " "); p; p = strtok(NULL, " "))
        if (dd_settings_schedule_param(s, dd_setting_find(p)->id) != (used ? DD_PARAM_USED : DD_PARAM_UNUSED))
          fail_msg("case %d: %s", i, p);
    }
    assert_int_equal(dd_settings_schedule_param(s, DD_SETTING_lr), DD_PARAM_NONE);
    dd_settings_destroy(s);
  }
}

/* ---- rates of a run ---- */

static void test_sites(void **state) {
  (void)state;
  dd_settings *s = WITH("schedule", "linear", "dropout", "0.25", "max_iters", "100", "dropout_embed", "0.5",
                        "dropout_attn", "late", "dropout_proj", "0.125,steps:0=0.75,60=0.375", "dropout_cutoff", "0.5");
  dd_rates *r;
  dd_rates_state st;
  dd_dropout_rates p;
  assert_int_equal(dd_rates_create(&r, s, &err), DD_OK);
  assert_true(r->varies);
  dd_rates_start(r, &st);
  static const struct { int64_t t; double all, embed, attn, proj; } at[] = {
      {0, 0.25, 0.5, 0, 0.75}, {50, 0.125, 0.25, 0.25, 0.75}, {60, 0.1, 0.2, 0.25, 0.375}, {100, 0, 0, 0.25, 0.375}};
  for (int i = 0; i < COUNT(at); i++) {
    const double all = dd_rates_at(r, &st, at[i].t, &p);
    if (all != at[i].all || p.site[DD_SITE_EMBED] != at[i].embed || p.site[DD_SITE_ATTN] != at[i].attn ||
        p.site[DD_SITE_PROJ] != at[i].proj || p.site[DD_SITE_MLP] != all)
      fail_msg("t %d: %g, sites %g %g %g %g", (int)at[i].t, all, p.site[0], p.site[1], p.site[2], p.site[3]);
  }
  dd_rates_destroy(r);
  dd_settings_destroy(s);
  s = WITH("schedule", "linear", "dropout", "0.25", "max_iters", "100", "dropout_sites", "attn");
  assert_int_equal(dd_rates_create(&r, s, &err), DD_OK);
  assert_true(r->varies);
  dd_rates_start(r, &st);
  assert_true(dd_rates_at(r, &st, 100, &p) == 0 && p.site[DD_SITE_ATTN] == 0 && p.site[DD_SITE_MLP] == 0.25);
  dd_rates_destroy(r);
  dd_settings_destroy(s);
  dd_rates_destroy(NULL);
}

/* Two controllers in one run, and a state that a checkpoint knows only in part. */
static void test_site_states(void **state) {
  (void)state;
  dd_settings *s = WITH("schedule", "val-loss", "dropout", "0.25", "dropout_step", "0.0625", "gap_gain", "0.125",
                        "gap_target", "0.25", "dropout_attn", "0.125,gap", "dropout_mlp", "0.375,val-loss");
  dd_rates *r;
  dd_rates_state st, back;
  dd_dropout_rates p;
  assert_int_equal(dd_rates_create(&r, s, &err), DD_OK);
  assert_false(!r->varies);
  dd_rates_start(r, &st);
  static const struct { double train, val, all, attn, mlp; } at[] = {
      {4, 4, 0.25, 0.125, 0.375}, {3, 3.25, 0.1875, 0.125, 0.3125}, {2, 3.5, 0.25, 0.1875, 0.375},
      {2, 3, 0.1875, 0.25, 0.3125}, {1, 1, 0.125, 0.21875, 0.25}};
  for (int i = 0; i < COUNT(at); i++) {
    dd_rates_observe(r, &st, at[i].train, at[i].val);
    back = st; /* these numbers are the whole state: what a checkpoint brings back */
    dd_rates_resume(r, &back);
    assert_memory_equal(&back, &st, sizeof st);
    const double all = dd_rates_at(r, &st, i, &p);
    if (all != at[i].all || p.site[DD_SITE_ATTN] != at[i].attn || p.site[DD_SITE_MLP] != at[i].mlp ||
        p.site[DD_SITE_EMBED] != all)
      fail_msg("evaluation %d: %g, attn %g, mlp %g", i, all, p.site[DD_SITE_ATTN], p.site[DD_SITE_MLP]);
  }
  for (int i = 0; i < DD_SITES; i++) back.site_p[i] = -1; /* of a program that knew no sites */
  dd_rates_resume(r, &back);
  assert_true(back.site_p[DD_SITE_ATTN] == 0.125 && back.site_p[DD_SITE_MLP] == 0.375 && back.all.p == st.all.p);
  dd_rates_destroy(r);
  dd_settings_destroy(s);
}

static void test_depth(void **state) {
  (void)state;
  static const struct { const char *how, *layers; double want[4]; } cases[] = {
      {"flat", "4", {1, 1, 1, 1}}, {"linear", "4", {0.25, 0.5, 0.75, 1}}, {"lima", "3", {0, 0.5, 1}},
      {"lima", "1", {1}},
      {"reverse", "4", {1, 0.75, 0.5, 0.25}}, {"linear", "1", {1}}, {"reverse", "1", {1}}};
  for (int i = 0; i < COUNT(cases); i++) {
    dd_settings *s = WITH("dropout_depth", cases[i].how, "n_layer", cases[i].layers);
    dd_rates *r;
    dd_rates_state st;
    dd_dropout_rates p;
    assert_int_equal(dd_rates_create(&r, s, &err), DD_OK);
    dd_rates_start(r, &st);
    dd_rates_at(r, &st, 0, &p);
    for (int l = 0; l < (int)s->n_layer; l++)
      if (p.depth[l] != cases[i].want[l]) fail_msg("%s, block %d: %g", cases[i].how, l, p.depth[l]);
    dd_rates_destroy(r);
    dd_settings_destroy(s);
  }
}

static void test_table(void **state) {
  (void)state;
  char path[] = "/tmp/dd-rates-XXXXXX";
  const int fd = mkstemp(path);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, "0,0.5\n100%,0.25\n", 16), 16);
  close(fd);
  dd_settings *s = WITH("max_iters", "100", "dropout_table", path, "dropout_attn", "table", "dropout_mlp", "table");
  dd_rates *r;
  dd_rates_state st;
  dd_dropout_rates p;
  if (dd_rates_create(&r, s, &err)) fail_msg("%s", err.message);
  dd_rates_start(r, &st);
  assert_true(dd_rates_at(r, &st, 50, &p) == 0.2 && p.site[DD_SITE_ATTN] == 0.375 && p.site[DD_SITE_MLP] == 0.375);
  assert_int_equal(strlen(r->table_hash), 32);
  dd_rates_destroy(r);
  unlink(path);
  assert_int_equal(dd_rates_create(&r, s, &err), DD_E_IO);
  assert_non_null(strstr(err.message, path));
  assert_null(r);
  dd_settings_destroy(s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_formulas), cmocka_unit_test(test_shapes), cmocka_unit_test(test_expr),
      cmocka_unit_test(test_gap), cmocka_unit_test(test_defaults), cmocka_unit_test(test_arguments),
      cmocka_unit_test(test_checks), cmocka_unit_test(test_used), cmocka_unit_test(test_sites),
      cmocka_unit_test(test_site_states), cmocka_unit_test(test_depth), cmocka_unit_test(test_table),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
