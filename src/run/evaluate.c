#include "run/crew.h"
#include "core/philox.h"
#include <stdlib.h>

static int create(dd_evaluator *e, dd_error *err) {
  const size_t N = (size_t)(e->B * e->T);
  e->idx = malloc(N * sizeof *e->idx);
  e->targets = malloc(N * sizeof *e->targets);
  e->loss = malloc(N * sizeof *e->loss);
  const size_t others = (size_t)dd_ranks_size(e->ranks) - 1;
  e->others = dd_ranks_rank(e->ranks) ? NULL : malloc((others ? others : 1) * N * sizeof *e->others);
  e->requests = calloc(others + 1, sizeof *e->requests);
  if (e->idx && e->targets && e->loss && e->requests && (e->others || dd_ranks_rank(e->ranks))) return DD_OK;
  dd_evaluator_destroy(e);
  return dd_fail(err, DD_E_RUNTIME, "out of memory for evaluation");
}

int dd_evaluator_create(dd_evaluator *e, dd_model *m, const dd_callbacks *cb, dd_error *err) {
  *e = (dd_evaluator){.m = m, .B = m->o.B, .T = m->o.T, .seed = m->o.seed, .cb = cb, .ranks = m->o.ranks};
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
  free(e->others);
  free(e->requests);
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

static int64_t windows_in(const dd_evaluator *e, const plan *p, int64_t batch) {
  const int64_t left = p->windows - batch * e->B;
  return left < 0 ? 0 : left < e->B ? left : e->B;
}

enum { LOSS_TAG = 32000 };

/* Rank 0: the losses of the round's other batches arrive while it computes its own. */
static int expect(dd_evaluator *e, const plan *p, int64_t first, dd_error *err) {
  int rc = DD_OK;
  for (int r = 1; r < dd_ranks_size(e->ranks) && !rc; r++) {
    const int64_t n = windows_in(e, p, first + r) * p->T;
    if (n > 0)
      rc = dd_ranks_receive(e->ranks, e->others + (r - 1) * e->B * e->T, (size_t)n * sizeof *e->others, r, LOSS_TAG,
                            e->requests + r, err);
  }
  return rc;
}

static int compute(dd_evaluator *e, const plan *p, int64_t batch, dd_error *err) {
  const int64_t n = windows_in(e, p, batch);
  if (e->ranks) { /* what was sent last must be gone */
    const int rc = dd_ranks_wait(e->ranks, e->requests, 1, err);
    if (rc) return rc;
  }
  for (int64_t b = 0; b < n; b++) put_window(e, b, p->T, p->tok + start_of(e, p, batch * e->B + b));
  if (e->g) dd_infer_losses(e->g, e->idx, e->targets, p->T, e->loss);
  else if (n) dd_model_losses(e->m, e->idx, e->targets, n, p->T, e->loss);
  if (!n || !dd_ranks_rank(e->ranks)) return DD_OK;
  return dd_ranks_send(e->ranks, e->loss, (size_t)(n * p->T) * sizeof *e->loss, 0, LOSS_TAG, e->requests, err);
}

/* Stop requests between rounds; with other ranks when they agree. */
static int poll(dd_evaluator *e, int64_t at, dd_error *err) {
  int ask = dd_should_stop(e->cb), rc = DD_OK;
  if (e->ranks) rc = dd_crew_ask(e->job, at == 0, &ask, at, err);
  if (rc) return rc;
  if (ask == 2) e->save_asked = 1;
  return ask == 1 ? dd_fail(err, DD_E_STOPPED, "stopped on request while evaluating") : DD_OK;
}

/* Adds the losses of all windows to *sum in order: rank r computes batches r, r + ranks, ..., rank 0 adds. */
static int run_plan(dd_evaluator *e, const plan *p, double *sum, dd_error *err) {
  const int R = dd_ranks_size(e->ranks), rank = dd_ranks_rank(e->ranks);
  const int64_t batches = dd_pieces(p->windows, e->B);
  int rc = e->ranks ? poll(e, 0, err) : DD_OK;
  for (int64_t first = 0; first < batches && !rc; first += R) {
    if (!rank) rc = expect(e, p, first, err);
    if (!rc) rc = compute(e, p, first + rank, err);
    for (int r = 0; r < R && !rank && !rc; r++) {
      const int64_t n = windows_in(e, p, first + r) * p->T;
      if (r && n > 0) rc = dd_ranks_wait(e->ranks, e->requests + r, 1, err);
      const double *loss = r ? e->others + (r - 1) * e->B * e->T : e->loss;
      for (int64_t i = 0; i < n && !rc; i++) *sum += loss[i];
    }
    if (rc) return rc;
    const int64_t done = dd_min64((first + R) * e->B, p->windows);
    if (e->cb && e->cb->phase) e->cb->phase(e->cb->user, "evaluate", done, p->windows);
    rc = poll(e, first + R, err);
  }
  if (!rc && e->ranks) rc = dd_ranks_wait(e->ranks, e->requests, 1, err);
  if (!rc) rc = dd_ranks_broadcast(e->ranks, sum, sizeof *sum, 0, err);
  return rc;
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
