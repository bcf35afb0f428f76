/* What a dropout schedule costs or saves in time: iterations at rates spread over a run, beside the fixed rate. A rate
 * of 0 needs no masks, so schedules that spend time there are a little faster; that is all the speed there is in them. */
#include "bench/bench.h"
#include "run/rates.h"
#include <math.h>
#include <stdlib.h>

#define P0 0.2

typedef struct scheduled {
  dd_trainee t; /* the same model for all */
  dd_schedule schedule;
  int points; /* iterations, evenly over the run */
} scheduled;

static void run_points(void *arg, int64_t times) {
  scheduled *s = arg;
  dd_schedule_state state;
  dd_schedule_start(&s->schedule, &state);
  for (int64_t i = 0; i < times; i++)
    for (int x = 0; x < s->points; x++) {
      s->t.rate = dd_schedule_rate(&s->schedule, &state, s->schedule.T * x / (s->points - 1));
      dd_run_step(&s->t, 1);
    }
}

/* Those that need no argument, and whose rate does not wait for an evaluation. */
static int is_plain(int id) {
#define USES_ROW(id, name, formula, uses, source, help) uses,
  static const unsigned uses[] = {DD_SCHEDULES(USES_ROW)};
  return !(uses[id] & (DD_USES_EVALS | DD_USES_STEPS | DD_USES_TABLE | DD_USES_EXPR));
}

static int measure(dd_bench *b, const dd_bench_preset *p, dd_trainee *t, const dd_settings *s, dd_error *err) {
#define NAME_ROW(id, name, ...) name,
  static const char *const names[] = {DD_SCHEDULES(NAME_ROW)};
  const double flops = dd_step_flops(p);
  const int points = flops > 5e11 ? 3 : 9;
  scheduled *q = calloc(DD_SCHEDULE_COUNT, sizeof *q);
  dd_contender *c = calloc(DD_SCHEDULE_COUNT, sizeof *c);
  int rc = q && c ? DD_OK : dd_fail(err, DD_E_RUNTIME, "out of memory for samples"), n = 0;
  for (int id = 0; id < DD_SCHEDULE_COUNT && !rc; id++) { /* the fixed rate is the first */
    if (!is_plain(id)) continue;
    q[n] = (scheduled){.t = *t, .points = points};
    dd_rates_schedule(&q[n].schedule, s, (enum dd_schedule_id)id, P0);
    c[n] = (dd_contender){.who = names[id], .run = run_points, .arg = q + n, .work = points};
    n++;
  }
  if (!rc) rc = dd_rounds(b, c, n, dd_bench_repeats(b, flops > 5e11 ? 3 : 7), err);
  for (int i = 0; i < n && !rc; i++) {
    const dd_spread v = dd_contender_seconds(c + i);
    const double ms = 1e3 / points;
    dd_row r = {.threads = dd_team_threads(t->m->team),
                .value = {ms * v.median, ms * v.p10, ms * v.p90, v.n},
                .lower_is_better = 1,
                .share = NAN,
                .ratio = dd_contender_ratio(c + i, c)};
    dd_row_name(&r, p->name, "dd-cpu", dd_team_kernels(t->m->team), "ms", "iteration, %s", c[i].who);
    rc = dd_bench_add(b, &r, err);
  }
  free(c);
  free(q);
  return rc;
}

int dd_bench_schedules(dd_bench *b, dd_error *err) {
  dd_settings *s = dd_settings_create();
  int rc = s ? dd_settings_set(s, "dropout_final", "0.01", err) /* which all of them can reach */
             : dd_fail(err, DD_E_RUNTIME, "out of memory for settings");
  for (int i = 0; i < dd_bench_main_tiers(b) && !rc; i++)
    for (int q = 0; q < b->n_presets && !rc; q++)
      for (int j = 0; j < b->n_threads && !rc; j++) {
        const dd_bench_preset *p = b->presets + q;
        dd_trainee t = {0};
        b->using = b->threads[j];
        rc = dd_trainee_open(&t, p, b->tiers[i], b->threads[j], err);
        dd_bench_heading(b, "%s, tier %s, %d thread%s; mean over a run from p0 = %.1f; vs best: speed of fixed",
                         p->name, b->tiers[i]->tier, b->threads[j], b->threads[j] > 1 ? "s" : "", P0);
        if (!rc) rc = measure(b, p, &t, s, err);
        dd_trainee_close(&t);
      }
  dd_settings_destroy(s);
  return rc;
}
