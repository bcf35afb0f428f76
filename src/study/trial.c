/* A training step on made-up tokens, timed. Batches are cut to a few sequences per thread and the time scaled up, so
 * that even a step that takes minutes is known in a second. */
#include "core/machine.h"
#include "core/ints.h"
#include "model/model.h"
#include "study/packing.h"
#include <stdlib.h>

enum { TIMES_MAX = 64 };

typedef struct trial {
  dd_model *m;
  int32_t *idx, *targets;
  double times[2][TIMES_MAX]; /* ms: without accumulation and scaling, with rate p0 and 0 */
} trial;

static int open_trial(trial *t, const dd_trial *a, dd_error *err) {
  const dd_settings *s = a->s;
  const dd_kernels *k;
  char why[128];
  int rc = dd_tier_select(s->tier, &k, why, sizeof why, err);
  if (rc) return rc;
  const int64_t B = dd_min64(s->batch_size, dd_max64(8, 2 * a->threads));
  const dd_model_options o = {
      .shape = {.L = s->n_layer, .H = s->n_head, .C = s->n_embd, .S = s->block_size, .V = a->vocab, .bias = s->bias},
      .B = B,
      .T = s->block_size,
      .accumulation = 1,
      .slice = s->slice,
      .recompute = s->recompute,
      .train = 1,
      .seed = s->seed};
  if ((rc = dd_model_create(&t->m, &o, k, a->threads, err))) return rc;
  const size_t n = (size_t)(B * o.T);
  t->idx = malloc(n * sizeof *t->idx);
  t->targets = malloc(n * sizeof *t->targets);
  if (!t->idx || !t->targets) return dd_fail(err, DD_E_RUNTIME, "out of memory for a batch");
  uint32_t x = 1;
  for (size_t i = 0; i < n; i++) {
    x = x * 1664525u + 1013904223u;
    t->idx[i] = (int32_t)((x >> 8) % (uint32_t)a->vocab);
    t->targets[i] = (int32_t)((x >> 4) % (uint32_t)a->vocab);
  }
  dd_model_init(t->m, s->init_std);
  return DD_OK;
}

/* One iteration as the run would make it, in ms. */
static double iteration(trial *t, const dd_settings *s, double p, int64_t step) {
  const dd_dropout_rates rates = {.site = {p, p, p, p}};
  double loss;
  const double t0 = dd_now();
  dd_model_forward_backward(t->m, t->idx, t->targets, t->m->o.B, t->m->o.T, 0, step, &rates, &loss);
  const double t1 = dd_now();
  const dd_update u = {.lr = 1e-5, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .clip = 1};
  dd_model_update(t->m, &u, dd_model_grad_norm(t->m));
  const double sequences = (double)(s->batch_size * s->gradient_accumulation_steps);
  return 1e3 * ((t1 - t0) * sequences / (double)t->m->o.B + dd_now() - t1);
}

static int ascending(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

int dd_trial_run(void *arg, dd_slot *slot) {
  const dd_trial *a = arg;
  trial t = {0};
  int rc = open_trial(&t, a, &slot->error);
  int n = 0;
  if (!rc) iteration(&t, a->s, a->s->dropout, 0); /* pages, caches, clocks */
  const double until = dd_now() + a->seconds;
  for (; !rc && n < TIMES_MAX && (n < 2 || dd_now() < until) && !dd_slot_should_stop(slot); n++)
    for (int i = 0; i <= a->both; i++) t.times[i][n] = iteration(&t, a->s, i ? 0 : a->s->dropout, n + 1);
  if (!rc && n < 2) rc = dd_fail(&slot->error, DD_E_STOPPED, "stopped on request");
  for (int i = 0; !rc && i <= a->both; i++) {
    qsort(t.times[i], (size_t)n, sizeof *t.times[i], ascending);
    slot->figure[i] = (t.times[i][(n - 1) / 2] + t.times[i][n / 2]) / 2;
  }
  dd_model_destroy(t.m);
  free(t.idx);
  free(t.targets);
  return rc;
}
