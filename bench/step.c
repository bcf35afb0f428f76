/* The training step: time, share of the peak, phases, memory; what dropout costs; evaluation. */
#include "bench/bench.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* FLOPs of a phase that consists of matrix products of a step; 0 for the others. */
static double phase_flops(const dd_bench_preset *p, dd_phase phase) {
  const double L = (double)p->shape.L, C = (double)p->shape.C, T = (double)p->T, V = (double)p->shape.V;
  const double tokens = (double)p->B * T;
  if (phase == DD_PHASE_MATMUL || phase == DD_PHASE_MATMUL_BACK || phase == DD_PHASE_DWEIGHT)
    return 2 * (12 * L * C * C + V * C) * tokens;
  if (phase == DD_PHASE_ATTENTION) return 2 * L * T * C * tokens;
  return phase == DD_PHASE_ATTENTION_BACK ? 4 * L * T * C * tokens : 0;
}

double dd_step_flops(const dd_bench_preset *p) {
  double sum = 0;
  for (int phase = 0; phase < DD_PHASE_COUNT; phase++) sum += phase_flops(p, (dd_phase)phase);
  return sum;
}

/* ---- a model at work ---- */

int dd_trainee_open(dd_trainee *t, const dd_bench_preset *p, const dd_kernels *k, int threads, dd_error *err) {
  const dd_model_options o = {.shape = p->shape, .B = p->B, .T = p->T, .accumulation = 1, .train = 1, .seed = 1337};
  const size_t n = (size_t)(p->B * p->T);
  *t = (dd_trainee){.B = p->B, .T = p->T};
  const uint64_t needed = dd_model_bytes(&o, k, threads), left = dd_machine_free_memory("");
  if (left && needed > left)
    return dd_fail(err, DD_E_RUNTIME, "preset %s needs %.2f GB of memory and %.2f GB are free; use a smaller --batch",
                   p->name, (double)needed / 1e9, (double)left / 1e9);
  int rc = dd_model_create(&t->m, &o, k, threads, err);
  if (rc) return rc;
  t->idx = malloc(n * sizeof *t->idx);
  t->targets = malloc(n * sizeof *t->targets);
  if (!t->idx || !t->targets) return dd_fail(err, DD_E_RUNTIME, "out of memory for a batch");
  uint32_t x = 1;
  for (size_t i = 0; i < n; i++) {
    x = x * 1664525u + 1013904223u;
    t->idx[i] = (int32_t)((x >> 8) % (uint32_t)p->shape.V);
    t->targets[i] = (int32_t)((x >> 4) % (uint32_t)p->shape.V);
  }
  dd_model_init(t->m, 0.02);
  return DD_OK;
}

void dd_trainee_close(dd_trainee *t) {
  dd_model_destroy(t->m);
  free(t->idx);
  free(t->targets);
  *t = (dd_trainee){0};
}

void dd_run_step(void *trainee, int64_t times) {
  dd_trainee *t = trainee;
  const dd_update u = {.lr = 1e-4, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .weight_decay = 0.1, .clip = 1};
  const dd_dropout_rates rates = {.site = {t->rate, t->rate, t->rate, t->rate}};
  for (int64_t i = 0; i < times; i++) {
    double loss;
    dd_model_params_changed(t->m); /* an evaluation before this step may have packed what the step has to */
    dd_model_forward_backward(t->m, t->idx, t->targets, t->B, t->T, 0, t->step++, &rates, &loss);
    dd_model_update(t->m, &u, dd_model_grad_norm(t->m));
  }
}

static void pack_first(void *trainee) { dd_model_pack(((dd_trainee *)trainee)->m); }

void dd_run_forward(void *trainee, int64_t times) {
  dd_trainee *t = trainee;
  double *loss = malloc((size_t)(t->B * t->T) * sizeof *loss);
  for (int64_t i = 0; loss && i < times; i++) dd_model_losses(t->m, t->idx, t->targets, t->B, t->T, loss);
  free(loss);
}

/* ---- rows ---- */

typedef struct config {
  dd_bench *b;
  const dd_bench_preset *p;
  const dd_kernels *k;
  int threads;
} config;

static int add(const config *g, const char *what, const char *unit, dd_spread v, int lower_is_better, double share,
               dd_error *err) {
  dd_row r = {.threads = g->threads,
              .value = v,
              .lower_is_better = lower_is_better,
              .share = share,
              .ratio = NAN};
  dd_row_name(&r, g->p->name, "dd-cpu", g->k, unit, "%s", what);
  return dd_bench_add(g->b, &r, err);
}

static dd_spread times_1000(dd_spread s) { return (dd_spread){1e3 * s.median, 1e3 * s.p10, 1e3 * s.p90, s.n}; }
static dd_spread one(double v) { return (dd_spread){v, v, v, 1}; }

/* What a step with dropout takes more than one without, in percent, round by round. */
static dd_spread price(const dd_contender *with, const dd_contender *without) {
  double x[DD_SAMPLES_MAX];
  for (int i = 0; i < with->n; i++) x[i] = 100 * (with->seconds[i] / without->seconds[i] - 1);
  return dd_spread_of(x, with->n);
}

/* Where threads spend a step, and what the products in it reach of `tile`, GFLOP/s of the tile on all threads. Measured
 * apart from the rounds, because reading clocks costs a little. */
static int phases(const config *g, dd_trainee *t, int steps, double tile, dd_error *err) {
  double ms[DD_PHASE_COUNT], all = 0, forward = 0, backward = 0;
  if (dd_team_timing(t->m->team, 1)) return dd_fail(err, DD_E_RUNTIME, "out of memory for the clocks");
  dd_run_step(t, steps);
  for (int p = 0; p < DD_PHASE_COUNT; p++) {
    ms[p] = 1e3 * dd_team_phase_seconds(t->m->team, (dd_phase)p) / steps / g->threads;
    all += ms[p];
    if (dd_phase_way((dd_phase)p) == DD_FORWARD) forward += ms[p];
    if (dd_phase_way((dd_phase)p) == DD_BACKWARD) backward += ms[p];
  }
  dd_team_timing(t->m->team, 0);
  dd_bench_say(g->b, "phases of a step, mean of all threads; share of the step instead of the limit");
  int rc = add(g, "forward", "ms", one(forward), 1, forward / all, err);
  if (!rc) rc = add(g, "backward", "ms", one(backward), 1, backward / all, err);
  for (int p = 0; p < DD_PHASE_COUNT && !rc; p++) {
    char what[40];
    if (ms[p] <= 0) continue;
    snprintf(what, sizeof what, "  %s", dd_phase_name((dd_phase)p));
    rc = add(g, what, "ms", one(ms[p]), 1, ms[p] / all, err);
  }
  if (!rc) dd_bench_say(g->b, "products in the phases, with what is fused to them; limit: the tile in the first cache");
  for (int p = 0; p < DD_PHASE_COUNT && !rc; p++) {
    char what[40];
    const double rate = phase_flops(g->p, (dd_phase)p) / ms[p] / 1e6;
    if (ms[p] <= 0 || rate <= 0) continue;
    snprintf(what, sizeof what, "  %s, products", dd_phase_name((dd_phase)p));
    rc = add(g, what, "GFLOP/s", one(rate), 0, rate / tile, err);
  }
  return rc;
}

static int memory(const config *g, int reset, dd_error *err) {
  const dd_model_options o = {.shape = g->p->shape, .B = g->p->B, .T = g->p->T, .accumulation = 1, .train = 1};
  const double predicted = (double)dd_model_bytes(&o, g->k, g->threads), peak = (double)dd_memory_peak();
  int rc = add(g, "memory, predicted", "MB", one(predicted / 1e6), 1, NAN, err);
  if (!rc && reset && peak > 0) rc = add(g, "memory, peak resident", "MB", one(peak / 1e6), 1, NAN, err);
  return rc;
}

/* tile: GFLOP/s of the matrix tile in the first cache, median of the rounds. */
static int measure(const config *g, dd_trainee *t, double *tile, dd_error *err) {
  enum { PEAK, TILE, WITH, WITHOUT, FORWARD, CONTENDERS };
  const double flops = dd_step_flops(g->p), tokens = (double)(g->p->B * g->p->T);
  dd_trainee plain = *t; /* the same model at another rate */
  dd_meter m;
  dd_contender *c = calloc(CONTENDERS, sizeof *c);
  if (!c) return dd_fail(err, DD_E_RUNTIME, "out of memory for samples");
  t->rate = 0.2;
  plain.rate = 0;
  int rc = dd_meter_open(&m, g->b, t->m->team, err);
  if (!rc) {
    c[PEAK] = dd_meter_peak(&m);
    c[TILE] = dd_meter_tile(&m);
    c[WITH] = (dd_contender){.who = "dd-cpu", .run = dd_run_step, .arg = t, .work = flops};
    c[WITHOUT] = (dd_contender){.who = "dd-cpu", .run = dd_run_step, .arg = &plain, .work = flops};
    c[FORWARD] =
        (dd_contender){.who = "dd-cpu", .run = dd_run_forward, .prepare = pack_first, .arg = t, .work = flops / 3};
    rc = dd_rounds(g->b, c, CONTENDERS, dd_bench_repeats(g->b, flops > 5e11 ? 3 : 11), err);
  }
  dd_meter_close(&m);
  if (!rc) rc = add(g, "multiply-add peak", "GFLOP/s", dd_contender_rate(c + PEAK, 1e9), 0, NAN, err);
  *tile = rc ? NAN : dd_contender_rate(c + TILE, 1e9).median;
  if (!rc)
    rc = add(g, "tile in the first cache", "GFLOP/s", dd_contender_rate(c + TILE, 1e9), 0,
             dd_contender_ratio(c + TILE, c + PEAK), err);
  if (!rc)
    rc = add(g, "step, dropout 0.2", "ms", times_1000(dd_contender_seconds(c + WITH)), 1,
             dd_contender_ratio(c + WITH, c + PEAK), err);
  if (!rc)
    rc = add(g, "step, dropout 0", "ms", times_1000(dd_contender_seconds(c + WITHOUT)), 1,
             dd_contender_ratio(c + WITHOUT, c + PEAK), err);
  if (!rc)
    rc = add(g, "evaluation (forward)", "ms", times_1000(dd_contender_seconds(c + FORWARD)), 1,
             dd_contender_ratio(c + FORWARD, c + PEAK), err);
  if (!rc) rc = add(g, "training, dropout 0.2", "token/s", dd_contender_rate(c + WITH, flops / tokens), 0, NAN, err);
  if (!rc) rc = add(g, "price of dropout 0.2", "%", price(c + WITH, c + WITHOUT), 1, NAN, err);
  free(c);
  return rc;
}

static int configuration(const config *g, dd_error *err) {
  dd_trainee t = {0};
  g->b->using = g->threads;
  const int reset = dd_memory_peak_reset(); /* before the model: what is freed does not count, what stays does */
  const double begin = dd_now();
  double first = 0, tile = NAN; /* first: from nothing to the end of the first step */
  int rc = dd_trainee_open(&t, g->p, g->k, g->threads, err);
  if (!rc) {
    t.rate = 0.2;
    dd_run_step(&t, 1);
    first = 1e3 * (dd_now() - begin);
    dd_bench_heading(g->b, "%s, %lld x %lld tokens, %.1f GFLOP, tier %s, %d thread%s; limit: peak", g->p->name,
                     (long long)g->p->B, (long long)g->p->T, dd_step_flops(g->p) / 1e9, g->k->tier, g->threads,
                     g->threads > 1 ? "s" : "");
    rc = measure(g, &t, &tile, err);
  }
  if (!rc) rc = add(g, "creation and first step", "ms", one(first), 1, NAN, err);
  if (!rc) rc = phases(g, &t, dd_step_flops(g->p) > 5e11 ? 1 : 5, tile, err);
  if (!rc) rc = memory(g, reset, err);
  dd_trainee_close(&t);
  return rc;
}

int dd_bench_step(dd_bench *b, dd_error *err) {
  int rc = DD_OK;
  for (int i = 0; i < dd_bench_main_tiers(b) && !rc; i++)
    for (int q = 0; q < b->n_presets && !rc; q++)
      for (int j = 0; j < b->n_threads && !rc; j++)
        rc = configuration(&(config){b, b->presets + q, b->tiers[i], b->threads[j]}, err);
  return rc;
}
