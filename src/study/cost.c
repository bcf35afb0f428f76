#include "study/cost.h"
#include "core/file.h"
#include "core/machine.h"
#include "run/evaluate.h"
#include "study/packing.h"
#include "study/runs.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SAMPLES = 3, TOKENS = 500 };
#define STEP_SECONDS 4.0

/* ---- in the child ---- */

typedef struct sampling {
  const dd_settings *s;
  char run[4096];
  int threads;
} sampling;

static int child_should_stop(void *user) { return dd_slot_should_stop(user); }

/* The median of a few texts; the first is not counted, it warms up. */
static int sample_run(void *arg, dd_slot *slot) {
  const sampling *a = arg;
  dd_settings *s = dd_settings_create();
  if (!s) return dd_fail(&slot->error, DD_E_RUNTIME, "out of memory for settings");
  snprintf(s->run, sizeof s->run, "%s", a->run);
  snprintf(s->tier, sizeof s->tier, "%s", a->s->tier);
  s->threads = a->threads;
  s->max_new_tokens = TOKENS;
  const dd_callbacks cb = {.user = slot, .should_stop = child_should_stop};
  double rate[SAMPLES + 1] = {0};
  int rc = DD_OK;
  for (int i = 0; i <= SAMPLES && !rc; i++) {
    dd_sample_result r = {0};
    rc = dd_sample(s, &cb, &r, &slot->error);
    rate[i] = r.seconds > 0 ? (double)r.tokens / r.seconds : 0;
  }
  dd_settings_destroy(s);
  const double lo = fmin(rate[1], rate[2]), hi = fmax(rate[1], rate[2]);
  slot->figure[0] = fmax(lo, fmin(hi, rate[3]));
  return rc;
}

/* ---- in the parent ---- */

static int run_child(int (*job)(void *, dd_slot *), void *arg, double figure[2], const dd_callbacks *cb,
                     dd_error *err) {
  dd_worker w;
  int rc = dd_worker_start(&w, job, arg, NULL, err);
  if (rc) return rc;
  while (!dd_worker_ended(&w)) {
    if (dd_should_stop(cb) == 1) atomic_store(&w.slot->stop, 1);
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
  }
  rc = w.slot->rc ? dd_fail(err, (dd_status)w.slot->rc, "%s", w.slot->error.message) : DD_OK;
  for (int i = 0; i < 2; i++) figure[i] = w.slot->figure[i];
  dd_worker_release(&w);
  return rc;
}

static int is_finished(const char *dir, const char *name, const void *user) {
  char path[4096];
  (void)user;
  return !dd_path_join(path, sizeof path, dir, name, NULL) && dd_study_run_finished(path);
}

/* A finished run of the study, the first in the order of names so that a repetition takes the same. */
static int any_run(const char *dir, char *run, size_t size) {
  char runs[4096];
  dd_names l;
  if (dd_path_join(runs, sizeof runs, dir, "runs", NULL) ||
      dd_dir_names(runs, &(dd_names_wanted){.keep = is_finished}, &l, NULL))
    return 0;
  const int any = l.n && !dd_path_join(run, size, runs, l.name[0], NULL);
  dd_names_free(&l);
  return any;
}

static int write_cost(const char *path, const char *tier, int threads, const double step[2], double rate,
                      dd_error *err) {
  char cpu[256], text[512], generation[512];
  dd_machine_name(cpu, sizeof cpu);
  const double price = step[1] > 0 ? step[0] / step[1] - 1 : NAN;
  snprintf(text, sizeof text,
           "With %d thread%s an iteration takes %.1f ms with dropout at p0 and %.1f ms without: dropout costs %.1f %%.",
           threads, threads > 1 ? "s" : "", step[0], step[1], 100 * price);
  snprintf(
      generation, sizeof generation,
      "%.0f tokens/s (one stream, %d tokens, f32 weights, %d thread%s), measured once for all: dropout is off when "
      "text is generated, so no schedule can change this speed.",
      rate, TOKENS, threads, threads > 1 ? "s" : "");
  json_t *o =
      json_pack("{s:{s:s, s:s, s:i, s:f, s:s, s:f, s:f, s:f, s:s}}", "cost", "cpu", cpu, "tier", tier, "threads",
                threads, "generation_tokens_per_s", rate, "generation_text", generation, "step_ms", step[0],
                "step_ms_no_dropout", step[1], "dropout_price", isfinite(price) ? price : 0.0, "text", text);
  char *dump = o ? json_dumps(o, JSON_INDENT(1) | JSON_REAL_PRECISION(6)) : NULL;
  const int rc =
      dump ? dd_file_replace(path, dump, strlen(dump), err) : dd_fail(err, DD_E_RUNTIME, "out of memory for %s", path);
  free(dump);
  json_decref(o);
  return rc;
}

int dd_cost_measure(const char *dir, const dd_settings *s, int vocab, const dd_callbacks *cb, dd_error *err) {
  char path[4096], why[128];
  double step[2], rate[2];
  const dd_kernels *k;
  sampling a = {.s = s, .threads = dd_machine_threads(s->threads, why, sizeof why)};
  dd_trial trial = {.s = s, .vocab = vocab, .threads = a.threads, .seconds = STEP_SECONDS, .both = 1};
  int rc = dd_path_join(path, sizeof path, dir, "measured.json", err);
  if (rc || dd_is_file(path) || !any_run(dir, a.run, sizeof a.run)) return rc;
  dd_say(cb, DD_INFO, "measuring the price of dropout and the speed of generation, once for all runs");
  if ((rc = dd_tier_select(s->tier, &k, why, sizeof why, err))) return rc;
  rc = run_child(dd_trial_run, &trial, step, cb, err);
  if (!rc) rc = run_child(sample_run, &a, rate, cb, err);
  if (!rc) return write_cost(path, k->tier, a.threads, step, rate[0], err);
  if (rc == DD_E_STOPPED) return rc;
  dd_say(cb, DD_WARNING, "not measured: %s", err ? err->message : "failed");
  return DD_OK;
}
