/* Dropout schedules and learning rate against their formulas, computed here with the C library in long double; the
 * val-loss rules against sequences worked out by hand; thresholds of the randomness contract. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "model/model.h"
#include "model/schedule.h"
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof(array)[0]))
#define BELOW_1 0x1.fffffffffffffp-1 /* largest rate the settings take */

static const long double PI = 3.14159265358979323846264338327950288L;
static const char *const names[] = {
#define NAME(id, name, ...) [DD_SCHEDULE_##id] = name,
    DD_SCHEDULES(NAME)
#undef NAME
};
static const enum dd_schedule_id pure[] = {DD_SCHEDULE_FIXED, DD_SCHEDULE_LINEAR, DD_SCHEDULE_EXPONENTIAL,
                                           DD_SCHEDULE_COSINE};
/* tested in test_rates.c */
static const enum dd_schedule_id elsewhere[] = {
    DD_SCHEDULE_LINEAR_RISE, DD_SCHEDULE_CURRICULUM, DD_SCHEDULE_EARLY, DD_SCHEDULE_LATE, DD_SCHEDULE_V,
    DD_SCHEDULE_TRIANGLE,    DD_SCHEDULE_STEPS,      DD_SCHEDULE_TABLE, DD_SCHEDULE_EXPR, DD_SCHEDULE_GAP,
    DD_SCHEDULE_CALLBACK};

/* ---- the four that are functions of t ---------------------------------------------------------------------------- */

static long double formula(const dd_schedule *s, long double t) {
  const long double p0 = s->p0, pf = s->pf, x = t / (long double)s->T;
  switch (s->id) {
  case DD_SCHEDULE_FIXED:
    return p0;
  case DD_SCHEDULE_LINEAR:
    return p0 * (1 - x) + pf * x;
  case DD_SCHEDULE_EXPONENTIAL:
    return p0 * powl(pf / p0, x);
  case DD_SCHEDULE_COSINE:
    return pf + (p0 - pf) * (1 + cosl(PI * x)) / 2;
  default:
    return NAN;
  }
}

static double rate(const dd_schedule *s, int64_t t) {
  dd_schedule_state st;
  dd_schedule_start(s, &st);
  return dd_schedule_rate(s, &st, t);
}

static void show(const dd_schedule *s, int64_t t, double got, const char *what) {
  fail_msg("%s, p0 %.17g, pf %.17g, T %lld, t %lld: rate %.17g (%s)", names[s->id], s->p0, s->pf, (long long)s->T,
           (long long)t, got, what);
}

static const double pairs[][2] = {{0.2, 0.05}, {0.2, 0.01},  {0.01, 0.5}, {0.5, 0.5},     {0.9, 1e-6},
                                  {1e-6, 0.9}, {0.1, 1e-12}, {0.3, 0.7},  {BELOW_1, 0.1}, {0.25, BELOW_1}};
static const int64_t lengths[] = {1, 2, 3, 7, 60, 5000, 4000000000};

/* Calls fn for every schedule, pair of rates and length; pf = 0 for those that can reach it. */
static void each(void (*fn)(const dd_schedule *s)) {
  for (int i = 0; i < COUNT(pure); i++)
    for (int p = -2; p < COUNT(pairs); p++)
      for (int l = 0; l < COUNT(lengths); l++) {
        dd_schedule s = {.id = pure[i], .T = lengths[l], .step = 0.01, .max = 1, .patience = 1};
        if (p < 0 && s.id == DD_SCHEDULE_EXPONENTIAL) continue;
        s.p0 = p == -1 ? 0.2 : p == -2 ? 0 : pairs[p][0];
        s.pf = p == -1 ? 0 : p == -2 ? 0.3 : pairs[p][1];
        fn(&s);
      }
}

static double worst;

static void check_formula(const dd_schedule *s) {
  for (int i = 0; i <= 64; i++) {
    const int64_t t = s->T / 64 * i + s->T % 64 * i / 64;
    const double got = rate(s, t);
    const long double want = formula(s, (long double)t);
    /* Exponential: relative, as rounding the exponent's argument is a factor; others: relative to the larger rate. */
    const long double unit =
        s->id == DD_SCHEDULE_EXPONENTIAL ? want * (1 + fabsl(logl((long double)(s->pf / s->p0)))) : fmaxl(s->p0, s->pf);
    const double error = (double)(fabsl((long double)got - want) / (unit > 0 ? unit : 1)) / DBL_EPSILON;
    if (want > 0x1.fffffp-1L) { /* so close to 1 that nothing would be left: held below */
      if (got != 0x1.fffffp-1) show(s, t, got, "not the largest rate");
      continue;
    }
    if (error > worst) worst = error;
    if (!(error <= 4)) show(s, t, got, "not the formula");
  }
}
static void test_formula(void **state) {
  (void)state;
  worst = 0;
  each(check_formula);
  printf("  worst error %.2f of 4 epsilon\n", worst);
  assert_true(worst > 0);
}

static void check_ends(const dd_schedule *s) {
  const double top = 0x1.fffffp-1, p0 = s->p0 < top ? s->p0 : top, pf = s->pf < top ? s->pf : top;
  const double first = rate(s, 0), last = rate(s, s->T), end = s->id == DD_SCHEDULE_FIXED ? p0 : pf;
  /* A cosine from p0 = 0.3 to pf = 0.7 begins at pf + (p0 - pf), which is p0 but for rounding. */
  if (!(fabs(first - p0) <= DBL_EPSILON / 2)) show(s, 0, first, "does not begin at p0");
  if (s->id != DD_SCHEDULE_COSINE && first != p0) show(s, 0, first, "does not begin at p0 exactly");
  if (s->id == DD_SCHEDULE_EXPONENTIAL ? fabs(last / end - 1) > 32 * DBL_EPSILON : last != end)
    show(s, s->T, last, "does not end at pf");
  if (rate(s, s->T + 1) != last || rate(s, INT64_MAX) != last) show(s, s->T + 1, rate(s, s->T + 1), "goes on after T");
  if (rate(s, -1) != first) show(s, -1, rate(s, -1), "begins before 0");
  if (s->T % 2) return;
  const double mid = rate(s, s->T / 2);
  const double want = s->id == DD_SCHEDULE_FIXED         ? s->p0
                      : s->id == DD_SCHEDULE_EXPONENTIAL ? sqrt(s->p0 * s->pf)
                                                         : (s->p0 + s->pf) / 2;
  if (!(fabs(mid - want) <= (s->p0 < top && s->pf < top ? 1e-14 : 1e-6))) show(s, s->T / 2, mid, "not half-way");
}
static void test_ends(void **state) {
  (void)state;
  each(check_ends);
}

static void check_monotonic(const dd_schedule *s) {
  const int64_t step = s->T > 5000 ? s->T / 5000 : 1;
  const double lo = s->p0 < s->pf ? s->p0 : s->pf, hi = s->p0 < s->pf ? s->pf : s->p0;
  double before = rate(s, 0);
  for (int64_t t = step; t <= s->T; t += step) {
    const double p = rate(s, t);
    if (!(p >= 0 && p < 1)) show(s, t, p, "outside [0, 1)");
    if (p < lo * (1 - 64 * DBL_EPSILON) - DBL_EPSILON / 4 || p > hi * (1 + 64 * DBL_EPSILON))
      show(s, t, p, "beyond p0 and pf");
    /* rounding may go back by a last place where the curve is flat */
    if (s->pf >= s->p0 ? p < before * (1 - 2 * DBL_EPSILON) : p > before * (1 + 2 * DBL_EPSILON) + DBL_EPSILON / 4)
      show(s, t, p, "turns back");
    if (s->id == DD_SCHEDULE_FIXED && p != before) show(s, t, p, "not fixed");
    before = p;
  }
}
static void test_monotonic(void **state) {
  (void)state;
  each(check_monotonic);
  dd_schedule s = {.id = DD_SCHEDULE_LINEAR, .p0 = 0.2, .pf = 0.1, .T = 100}; /* and they do move */
  for (int i = 1; i < COUNT(pure); i++) {
    s.id = pure[i];
    for (int64_t t = 1; t <= 100; t++)
      if (!(rate(&s, t) < rate(&s, t - 1))) show(&s, t, rate(&s, t), "does not fall");
  }
}

static void test_degenerate(void **state) {
  (void)state;
  for (int i = 0; i < COUNT(pure); i++) {
    const dd_schedule none = {.id = pure[i], .p0 = 0.2, .pf = 0.1, .T = 0}; /* no division by 0 */
    if (!(fabs(rate(&none, 0) - 0.2) < 1e-15)) show(&none, 0, rate(&none, 0), "T = 0");
    const dd_schedule off = {.id = pure[i], .p0 = 0, .pf = 0, .T = 10};
    for (int64_t t = 0; t <= 10; t++)
      if (rate(&off, t) != 0) show(&off, t, rate(&off, t), "not off");
  }
}

/* ---- val-loss ---------------------------------------------------------------------------------------------------- */

typedef struct observation {
  double loss;
  int steps; /* p after it, in steps from p0 */
} observation;
typedef struct rule_case {
  const char *what;
  dd_schedule s;
  observation o[16]; /* ends with loss 0 */
} rule_case;

#define RULE(step_, min_, max_, patience_, delta, prev_)                                                               \
  {                                                                                                                    \
    .id = DD_SCHEDULE_VAL_LOSS, .p0 = 0.2, .T = 100, .step = (step_), .min = (min_), .max = (max_),                    \
    .patience = (patience_), .min_delta = (delta), .compare_prev = (prev_)                                             \
  }

static const rule_case rules[] = {
    {"best: improved means below the best so far",
     RULE(0.01, 0, 0.5, 1, 0, false),
     {{4, 0}, {3, -1}, {3.5, 0}, {3.2, 1}, {3, 2}, {2.999, 1}, {2.999, 2}, {2, 1}, {1, 0}, {0, 0}}},
    {"prev: improved means below the one before",
     RULE(0.01, 0, 0.5, 1, 0, true),
     {{4, 0}, {3, -1}, {3.5, 0}, {3.2, -1}, {3, -2}, {3, -1}, {2.999, -2}, {9, -1}, {8, -2}, {0, 0}}},
    {"the first evaluation moves nothing, however good", RULE(0.01, 0, 0.5, 1, 1, false), {{1e-9, 0}, {5, 1}, {0, 0}}},
    {"patience 3: the third in a row without improvement, and each after it, raises p",
     RULE(0.01, 0, 0.5, 3, 0, false),
     {{4, 0}, {5, 0}, {5, 0}, {5, 1}, {5, 2}, {3, 1}, {3, 1}, {3, 1}, {3, 2}, {2, 1}, {2, 1}, {1, 0}, {0, 0}}},
    {"min-delta with best: a fall of less is none, but small falls add up",
     RULE(0.01, 0, 0.5, 1, 0.5, false),
     {{4, 0}, {3.75, 1}, {3.25, 0}, {3.0, 1}, {2.5, 0}, {2.25, 1}, {1.0, 0}, {0, 0}}},
    {"min-delta with prev",
     RULE(0.01, 0, 0.5, 1, 0.5, true),
     {{4, 0}, {3.25, -1}, {3, 0}, {2.25, -1}, {9, 0}, {8.5, 1}, {7.75, 0}, {0, 0}}},
    {"held at min", RULE(0.01, 0.18, 0.5, 1, 0, false), {{9, 0}, {8, -1}, {7, -2}, {6, -2}, {5, -2}, {6, -1}, {0, 0}}},
    {"held at max", RULE(0.01, 0, 0.22, 1, 0, false), {{1, 0}, {2, 1}, {3, 2}, {4, 2}, {4, 2}, {0.5, 1}, {0, 0}}},
    {"min = max: never moves", RULE(0.01, 0.2, 0.2, 1, 0, false), {{4, 0}, {3, 0}, {5, 0}, {0, 0}}},
    {"step 0: never moves", RULE(0, 0, 0.5, 1, 0, false), {{4, 0}, {3, 0}, {5, 0}, {0, 0}}},
};

static void test_val_loss(void **state) {
  (void)state;
  for (int i = 0; i < COUNT(rules); i++) {
    const dd_schedule *s = &rules[i].s;
    dd_schedule_state st;
    dd_schedule_start(s, &st);
    assert_true(dd_schedule_rate(s, &st, 0) == 0.2);
    double best = INFINITY;
    for (int k = 0; rules[i].o[k].loss > 0; k++) {
      const observation *o = &rules[i].o[k];
      dd_schedule_state copy = st; /* what a checkpoint brings back: these four numbers are the whole state */
      dd_schedule_observe(s, &st, 1, o->loss);
      dd_schedule_observe(s, &copy, 1, o->loss);
      double want = s->p0 + o->steps * s->step;
      want = want < s->min ? s->min : want > s->max ? s->max : want;
      const double got = dd_schedule_rate(s, &st, 50);
      best = o->loss < best - (s->compare_prev ? 0 : s->min_delta) ? o->loss : best;
      if (!(fabs(got - want) < 1e-12) || got < s->min || got > s->max)
        fail_msg("%s: after evaluation %d (loss %g) p is %.17g, not %g", rules[i].what, k, o->loss, got, want);
      if (st.best != best || st.prev != o->loss || copy.p != st.p || copy.waited != st.waited)
        fail_msg("%s: state after evaluation %d: best %g, prev %g, waited %lld", rules[i].what, k, st.best, st.prev,
                 (long long)st.waited);
      if (dd_schedule_rate(s, &st, 0) != got || dd_schedule_rate(s, &st, 100) != got)
        fail_msg("%s: p moves without an evaluation", rules[i].what);
    }
  }
}

/* Held between min and max exactly, never outside of [0, 1), however long it goes on. */
static void test_val_loss_bounds(void **state) {
  (void)state;
  dd_schedule s = RULE(0.01, 0.05, 0.35, 1, 0, false);
  dd_schedule_state st;
  for (int up = 0; up < 2; up++) {
    dd_schedule_start(&s, &st);
    for (int i = 0; i < 1000; i++) {
      dd_schedule_observe(&s, &st, 1, up ? 1 + i : 2000 - i);
      const double p = dd_schedule_rate(&s, &st, i);
      if (p < s.min || p > s.max) fail_msg("p %.17g after %d evaluations %s", p, i, up ? "rising" : "falling");
    }
    if (st.p != (up ? s.max : s.min)) fail_msg("ends at %.17g and not at the bound", st.p);
  }
  s = (dd_schedule)RULE(0.9, 0, BELOW_1, 1, 0, false);
  dd_schedule_start(&s, &st);
  dd_schedule_observe(&s, &st, 1, 1);
  dd_schedule_observe(&s, &st, 1, 1);
  assert_true(dd_schedule_rate(&s, &st, 0) < 1 && dd_schedule_rate(&s, &st, 0) > 0.999);
}

static void test_others_do_not_listen(void **state) {
  (void)state;
  for (int i = 0; i < COUNT(pure); i++) {
    const dd_schedule s = {.id = pure[i], .p0 = 0.2, .pf = 0.1, .T = 50, .step = 0.01, .max = 1, .patience = 1};
    dd_schedule_state st;
    dd_schedule_start(&s, &st);
    for (int64_t t = 0; t <= 50; t++) {
      const double before = dd_schedule_rate(&s, &st, t);
      dd_schedule_observe(&s, &st, 1, t % 7 ? 3.0 : 2.0 / (double)(t + 1));
      if (dd_schedule_rate(&s, &st, t) != before || before != rate(&s, t))
        show(&s, t, dd_schedule_rate(&s, &st, t), "moved by an evaluation");
    }
  }
  assert_int_equal(COUNT(names), DD_SCHEDULE_COUNT);
  bool tested[DD_SCHEDULE_COUNT] = {[DD_SCHEDULE_VAL_LOSS] = true}; /* a new schedule needs a test too */
  for (int i = 0; i < COUNT(pure); i++) tested[pure[i]] = true;
  for (int i = 0; i < COUNT(elsewhere); i++) tested[elsewhere[i]] = true;
  for (int i = 0; i < DD_SCHEDULE_COUNT; i++)
    if (!tested[i]) fail_msg("no test of schedule %s", names[i]);
}

/* ---- learning rate ----------------------------------------------------------------------------------------------- */

/* nanoGPT's get_lr, as it stands in train.py; decay_lr = False there means the constant learning_rate. */
static long double nanogpt_lr(const dd_lr *l, int64_t it) {
  if (!l->decay) return l->max;
  if (it < l->warmup) return (long double)l->max * (long double)(it + 1) / (long double)(l->warmup + 1);
  if (it > l->decay_iters) return l->min;
  if (l->decay_iters == l->warmup) return l->min; /* 0 / 0 there */
  const long double x = (long double)(it - l->warmup) / (long double)(l->decay_iters - l->warmup);
  return l->min + 0.5L * (1 + cosl(PI * x)) * ((long double)l->max - (long double)l->min);
}

static void test_learning_rate(void **state) {
  (void)state;
  static const dd_lr cases[] = {{1e-3, 1e-4, 100, 5000, true},
                                {6e-4, 6e-5, 2000, 600000, true},
                                {1e-3, 1e-4, 0, 10, true},
                                {1e-3, 1e-3, 5, 50, true},
                                {1e-3, 0, 10, 60, true},
                                {1e-3, 1e-4, 20, 20, true},
                                {1e-3, 1e-4, 0, 0, true},
                                {0, 0, 10, 60, true},
                                {2e-3, 1e-4, 7, 8, true},
                                {1e-3, 1e-4, 100, 5000, false},
                                {1e-3, 1e-4, 1000000000, 4000000000, true}};
  for (int c = 0; c < COUNT(cases); c++) {
    const dd_lr *l = &cases[c];
    const int64_t end = l->decay_iters + l->decay_iters / 5 + 5, step = end > 5000 ? end / 5000 : 1;
    double before = 0;
    for (int64_t it = 0; it <= end; it += step) {
      const double got = dd_learning_rate(l, it);
      const long double want = nanogpt_lr(l, it);
      if (!(fabsl((long double)got - want) <= 4 * DBL_EPSILON * (long double)l->max))
        fail_msg("lr case %d, iteration %lld: %.17g, not %.17Lg", c, (long long)it, got, want);
      if (!(got >= 0 && got <= l->max * (1 + DBL_EPSILON)) || (it >= l->warmup && l->decay && got < l->min))
        fail_msg("lr case %d, iteration %lld: %.17g out of bounds", c, (long long)it, got);
      const int rising = it <= l->warmup && l->decay && l->warmup < l->decay_iters;
      if (it && (rising ? got < before : it - step >= l->warmup && got > before * (1 + 2 * DBL_EPSILON)))
        fail_msg("lr case %d turns back at iteration %lld: %.17g after %.17g", c, (long long)it, got, before);
      before = got;
    }
  }
  const dd_lr paper = {1e-3, 1e-4, 100, 5000, true}, off = {1e-3, 1e-4, 100, 5000, false};
  assert_true(dd_learning_rate(&paper, 0) == 1e-3 / 101); /* not 0: nanoGPT since December 2024 */
  assert_true(dd_learning_rate(&paper, 99) == 1e-3 * 100 / 101);
  assert_true(dd_learning_rate(&paper, 100) == 1e-3);
  assert_true(fabs(dd_learning_rate(&paper, 2550) - 5.5e-4) < 1e-18);
  assert_true(dd_learning_rate(&paper, 5000) == 1e-4 && dd_learning_rate(&paper, INT64_MAX) == 1e-4);
  for (int64_t it = 0; it < 6000; it += 50) assert_true(dd_learning_rate(&off, it) == 1e-3);
  const dd_lr all_warmup = {1e-3, 1e-4, 20, 20, true};
  assert_true(dd_learning_rate(&all_warmup, 19) == 1e-3 * 20 / 21 && dd_learning_rate(&all_warmup, 20) == 1e-4);
}

/* ---- thresholds -------------------------------------------------------------------------------------------------- */

static void threshold_is(double p, uint32_t want) {
  if (dd_drop_threshold(p) != want) fail_msg("rate %.17g: threshold %u, not %u", p, dd_drop_threshold(p), want);
}
static void test_threshold(void **state) {
  (void)state;
  threshold_is(0, 0);
  threshold_is(-0.0, 0);
  threshold_is(0.5, 32768);
  threshold_is(0.2, 13107);
  threshold_is(0.25, 16384);
  threshold_is(0x1p-16, 1);
  threshold_is(0x1p-17, 1); /* halves go up */
  threshold_is(0x0.ffffffffffff8p-17, 0);
  threshold_is(65534.5 / 65536, 65535);
  threshold_is(65534.4999 / 65536, 65534);
  threshold_is(65535.5 / 65536, 65535); /* never 65536: that would drop all and divide by 0 */
  threshold_is(BELOW_1, 65535);
  threshold_is(1, 65535);
  threshold_is(2, 65535);
  threshold_is(-1, 0);
  uint32_t before = 0;
  for (int i = 0; i < 65536 * 8; i++) { /* p = i / 2^19: p * 65536 + 1/2 is exact */
    const uint32_t t = dd_drop_threshold(i * 0x1p-19), want = (uint32_t)((i + 4) / 8);
    if (t != (want > 65535 ? 65535 : want) || t < before) fail_msg("rate %a: threshold %u", i * 0x1p-19, t);
    before = t;
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_formula),
      cmocka_unit_test(test_ends),
      cmocka_unit_test(test_monotonic),
      cmocka_unit_test(test_degenerate),
      cmocka_unit_test(test_val_loss),
      cmocka_unit_test(test_val_loss_bounds),
      cmocka_unit_test(test_others_do_not_listen),
      cmocka_unit_test(test_learning_rate),
      cmocka_unit_test(test_threshold),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
