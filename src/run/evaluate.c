#include "run/evaluate.h"
#include "core/philox.h"
#include <stdlib.h>

static int create(dd_evaluator *e, dd_error *err) {
  const size_t N = (size_t)(e->B * e->T);
  e->idx = malloc(N * sizeof *e->idx);
  e->targets = malloc(N * sizeof *e->targets);
  e->loss = malloc(N * sizeof *e->loss);
  if (e->idx && e->targets && e->loss) return DD_OK;
  dd_evaluator_destroy(e);
  return dd_fail(err, DD_E_RUNTIME, "out of memory for evaluation");
}

int dd_evaluator_create(dd_evaluator *e, dd_model *m, const dd_callbacks *cb, dd_error *err) {
  *e = (dd_evaluator){.m = m, .B = m->o.B, .T = m->o.T, .seed = m->o.seed, .cb = cb};
  return create(e, err);
}

int dd_evaluator_create_infer(dd_evaluator *e, dd_infer *g, const dd_callbacks *cb, dd_error *err) {
  const dd_model *m = dd_infer_model(g);
  *e = (dd_evaluator){.g = g, .B = 1, .T = m->o.shape.S, .seed = m->o.seed, .cb = cb};
  return create(e, err);
}

void dd_evaluator_destroy(dd_evaluator *e) {
  free(e->idx);
  free(e->targets);
  free(e->loss);
  *e = (dd_evaluator){0};
}

static void put_window(dd_evaluator *e, int64_t b, int64_t T, const uint16_t *tok) {
  for (int64_t t = 0; t < T; t++) {
    e->idx[b * T + t] = tok[t];
    e->targets[b * T + t] = tok[t + 1];
  }
}

/* Where window i begins, given what kind of evaluation this is. */
typedef struct plan {
  const uint16_t *tok;
  int64_t n, windows, T;
  int64_t spread; /* > 0: windows spread over this many starts; 0: consecutive; -1: random */
  uint32_t split;
  int64_t iter, batch;
} plan;

static int64_t start_of(const dd_evaluator *e, const plan *p, int64_t i) {
  if (p->spread == 0) return i * p->T;
  if (p->spread > 0) return p->windows > 1 ? (int64_t)((__int128)i * (p->spread - 1) / (p->windows - 1)) : 0;
  uint32_t x[4];
  dd_philox(x, e->seed, (uint32_t)(i % p->batch), (uint32_t)(i / p->batch),
            (uint32_t)DD_PURPOSE_EVAL << 24 | p->split, (uint32_t)p->iter);
  return dd_philox_below(x, p->n - p->T);
}

/* Adds the losses of all windows to *sum in order. */
static int run_plan(dd_evaluator *e, const plan *p, double *sum, dd_error *err) {
  const int64_t B = e->B;
  for (int64_t w = 0; w < p->windows; w += B) {
    const int64_t b_n = p->windows - w < B ? p->windows - w : B;
    for (int64_t b = 0; b < b_n; b++) put_window(e, b, p->T, p->tok + start_of(e, p, w + b));
    if (e->g) dd_infer_losses(e->g, e->idx, e->targets, p->T, e->loss);
    else dd_model_losses(e->m, e->idx, e->targets, b_n, p->T, e->loss);
    for (int64_t i = 0; i < b_n * p->T; i++) *sum += e->loss[i];
    if (e->cb && e->cb->phase) e->cb->phase(e->cb->user, "evaluate", w + b_n, p->windows);
    const int ask = dd_should_stop(e->cb);
    if (ask == 2) e->save_asked = 1;
    if (ask == 1) return dd_fail(err, DD_E_STOPPED, "stopped on request while evaluating");
  }
  return DD_OK;
}

int dd_evaluate_all(dd_evaluator *e, const uint16_t *tok, int64_t n, double *mean, dd_error *err) {
  const int64_t T = e->T, rest = (n - 1) % T;
  double sum = 0;
  plan p = {.tok = tok, .n = n, .windows = (n - 1) / T, .T = T};
  int rc = run_plan(e, &p, &sum, err);
  if (!rc && rest) {
    p = (plan){.tok = tok + (n - 1) / T * T, .n = rest + 1, .windows = 1, .T = rest};
    rc = run_plan(e, &p, &sum, err);
  }
  *mean = sum / (double)(n - 1);
  return rc;
}

int dd_evaluate_spread(dd_evaluator *e, const uint16_t *tok, int64_t n, int64_t windows, double *mean, dd_error *err) {
  const int64_t T = e->T;
  double sum = 0;
  const plan p = {.tok = tok, .n = n, .windows = windows < 1 ? 1 : windows, .T = T, .spread = n - T};
  const int rc = run_plan(e, &p, &sum, err);
  *mean = sum / (double)(p.windows * T);
  return rc;
}

int dd_evaluate_random(dd_evaluator *e, const uint16_t *tok, int64_t n, int64_t batches, uint32_t split, int64_t iter,
                       double *mean, dd_error *err) {
  const int64_t T = e->T, B = e->B;
  double sum = 0;
  const plan p = {
      .tok = tok, .n = n, .windows = batches * B, .T = T, .spread = -1, .split = split, .iter = iter, .batch = B};
  const int rc = run_plan(e, &p, &sum, err);
  *mean = sum / (double)(p.windows * T);
  return rc;
}
