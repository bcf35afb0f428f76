#include "study/packing.h"
#include "core/ints.h"
#include "core/machine.h"
#include "model/model.h"
#include "run/evaluate.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define TRIAL_SECONDS 0.7

uint64_t dd_packing_bytes(const dd_settings *s, int vocab, int threads) {
  const dd_kernels *k;
  char why[128];
  if (dd_tier_select(s->tier, &k, why, sizeof why, NULL)) return 0;
  const dd_model_options o = {
      .shape = {.L = s->n_layer, .H = s->n_head, .C = s->n_embd, .S = s->block_size, .V = vocab, .bias = s->bias},
      .B = s->batch_size,
      .T = s->block_size,
      .accumulation = s->gradient_accumulation_steps,
      .slice = s->slice,
      .recompute = s->recompute,
      .train = 1};
  return dd_model_bytes(&o, k, threads) + (16u << 20); /* the program itself, and the text */
}

/* Trainings of that many threads that fit into nine tenths of the free memory, at least one. */
static int jobs_that_fit(const dd_settings *s, int vocab, int threads, int jobs) {
  const uint64_t left = dd_machine_free_memory(""), each = dd_packing_bytes(s, vocab, threads);
  if (!left || !each) return jobs;
  const uint64_t fit = left / 10 * 9 / each;
  return fit < 1 ? 1 : fit < (uint64_t)jobs ? (int)fit : jobs;
}

/* All jobs of a split at work at once: mean of their ms per iteration. */
static int measure(const dd_packing *p, const dd_settings *s, int vocab, double *ms, const dd_callbacks *cb,
                   dd_error *err) {
  dd_trial trial = {.s = s, .vocab = vocab, .threads = p->threads, .seconds = TRIAL_SECONDS};
  dd_worker *w = calloc((size_t)p->jobs, sizeof *w);
  int rc = w ? DD_OK : dd_fail(err, DD_E_RUNTIME, "out of memory for child processes"), started = 0;
  while (!rc && started < p->jobs) {
    rc = dd_worker_start(w + started, dd_trial_run, &trial, p->block ? p->block + started : NULL, err);
    started += !rc;
  }
  *ms = 0;
  for (int i = 0; i < started; i++) {
    while (!dd_worker_ended(w + i)) {
      const int stop = rc || dd_should_stop(cb) == 1;
      if (stop) atomic_store(&w[i].slot->stop, 1);
      if (stop && !rc) rc = dd_fail(err, DD_E_STOPPED, "stopped on request");
      nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    if (!rc && w[i].slot->rc) rc = dd_fail(err, (dd_status)w[i].slot->rc, "%s", w[i].slot->error.message);
    *ms += w[i].slot->figure[0] / p->jobs;
    dd_worker_release(w + i);
  }
  free(w);
  return rc;
}

/* Others may run beside a study that leaves processors idle, parts of the same study among them, and all of them would
 * be bound to the first ones: so bound only where this one takes the whole machine. */
static int whole_machine(const dd_packing *p, const dd_settings *s) {
  const int cores = dd_machine_cores("");
  return p->jobs > 1 && !*s->shard && dd_machine_quota("") <= 0 &&
         (int64_t)p->jobs * p->threads >= (cores > 0 ? cores : dd_machine_cpus());
}

/* The processors of a split; bound only when every job gets its own. */
static int place(dd_packing *p, const dd_settings *s, dd_error *err) {
  p->block = calloc((size_t)p->jobs, sizeof *p->block);
  if (!p->block) return dd_fail(err, DD_E_RUNTIME, "out of memory for processor sets");
  if (!whole_machine(p, s) || dd_machine_blocks("", NULL, p->threads, p->jobs, p->block) < p->jobs) {
    free(p->block);
    p->block = NULL;
  }
  return DD_OK;
}

void dd_packing_free(dd_packing *p) {
  free(p->block);
  *p = (dd_packing){0};
}

int dd_packing_choose(dd_packing *p, const dd_settings *s, int vocab, size_t pending, const dd_callbacks *cb,
                      dd_error *err) {
  char why[128];
  const int threads = dd_machine_threads(s->threads, why, sizeof why);
  const int most = pending < (size_t)threads ? (int)pending : threads;
  *p = (dd_packing){.jobs = 1, .threads = threads};
  if (s->jobs > 0 || most < 2) {
    p->jobs = s->jobs > 0 ? (int)dd_min64(s->jobs, (int64_t)pending) : 1;
    p->threads = threads / p->jobs;
    if (p->threads < 1) p->threads = 1;
    snprintf(p->why, sizeof p->why, s->jobs > 0 ? "asked for" : "one run is left");
    return place(p, s, err);
  }
  double best = 0;
  for (int w = 1, last = 0; !last; w *= 2) {
    last = w >= threads;
    dd_packing q = {.threads = last ? threads : w};
    q.jobs = threads / q.threads < most ? threads / q.threads : most;
    q.jobs = jobs_that_fit(s, vocab, q.threads, q.jobs);
    dd_error failed;
    int rc = place(&q, s, &failed);
    if (!rc) rc = measure(&q, s, vocab, &q.step_ms, cb, &failed);
    if (rc == DD_E_STOPPED) {
      dd_packing_free(&q);
      dd_packing_free(p);
      return dd_fail(err, rc, "%s", failed.message);
    }
    if (rc) { /* for want of memory, most likely: not that many */
      dd_say(cb, DD_WARNING, "%d runs at once with %d threads cannot be measured: %s", q.jobs, q.threads,
             failed.message);
      dd_packing_free(&q);
      continue;
    }
    const double rounds = (double)((pending + (size_t)q.jobs - 1) / (size_t)q.jobs), total = rounds * q.step_ms;
    dd_say(cb, DD_DEBUG, "%d at once with %d threads: %.1f ms per iteration, %.0f rounds", q.jobs, q.threads, q.step_ms,
           rounds);
    if (best > 0 && total >= best) {
      dd_packing_free(&q);
      continue;
    }
    dd_packing_free(p);
    *p = q;
    best = total;
  }
  if (!(best > 0)) {
    snprintf(p->why, sizeof p->why, "not measured");
    return place(p, s, err);
  }
  snprintf(p->why, sizeof p->why, "measured: %.1f ms per iteration each", p->step_ms);
  return DD_OK;
}
