/* Ceilings: what registers, caches and memory of this machine give to code that does nothing else. */
#include "bench/bench.h"
#include <math.h>
#include <stdio.h>

/* ---- arithmetic ---- */

enum { SINK = 16, PEAK_ITERS = 20000, CALLS = 25, TILES = 8 }; /* most tiles in a call */

static void peak_team(dd_ctx *c, void *arg, int64_t times) {
  const dd_meter *m = arg;
  for (int64_t i = 0; i < times; i++) c->k->peak(PEAK_ITERS, m->sink + SINK * c->tid);
}

static void tile_team(dd_ctx *c, void *arg, int64_t times) {
  const dd_meter *m = arg;
  const dd_kernels *k = c->k;
  float *a = m->tiles + m->tile_stride * c->tid, *b = a + dd_round_up(k->mr * m->tile_k, 16);
  float *out = b + dd_round_up(k->nr * m->tile_k, 16);
  /* Several tiles from the same panel of A: with one, what happens between two calls would count for a few per cent. */
  const dd_operand left = {.data = a, .step = k->mr}, right = {.data = b, .step = k->nr};
  for (int64_t i = 0; i < times * CALLS; i++)
    k->gemm_strided(m->call_tiles * k->mr, k->nr, m->tile_k, &left, &right, out, k->nr, DD_GEMM_SET);
}

int dd_meter_open(dd_meter *m, const dd_bench *b, dd_team *t, dd_error *err) {
  const dd_kernels *k = dd_team_kernels(t);
  const int n = dd_team_threads(t);
  *m = (dd_meter){.team = t};
  m->peak = (dd_team_job){t, peak_team, m, 0};
  m->tile = (dd_team_job){t, tile_team, m, 0};
  /* Both panels within two thirds of the first cache; C has an eighth, the rest is for what else happens. */
  const int64_t l1 = b->caches.l1 > 0 ? b->caches.l1 : 32768;
  m->tile_k = dd_min64(k->kc, l1 * 2 / 3 / (4 * (k->mr + k->nr)));
  m->call_tiles = dd_min64(dd_max64(l1 / 8 / (4 * k->mr * k->nr), 1), TILES);
  /* + 64: threads' panels do not share the same sets */
  m->tile_stride = dd_round_up((k->mr + k->nr) * m->tile_k + m->call_tiles * k->mr * k->nr + 32, 1024) + 64;
  int rc = dd_arena_create(&m->memory, (size_t)(n * (m->tile_stride + SINK) * 4 + 4096), "the ceilings", err);
  if (rc) return rc;
  m->sink = dd_arena_take(&m->memory, (size_t)(n * SINK) * sizeof(float));
  m->tiles = dd_arena_take(&m->memory, (size_t)(n * m->tile_stride) * sizeof(float));
  for (int64_t i = 0; i < n * m->tile_stride; i++) m->tiles[i] = (float)(i % 13) * 0.01f;
  for (int i = 0; i < n * SINK; i++) m->sink[i] = 1.f + (float)i * 1e-3f;
  return DD_OK;
}

void dd_meter_close(dd_meter *m) { dd_arena_destroy(&m->memory); }

dd_contender dd_meter_peak(dd_meter *m) {
  float sink[SINK];
  for (int i = 0; i < SINK; i++) sink[i] = 1.f + (float)i * 1e-3f;
  const double flops = dd_team_kernels(m->team)->peak(1, sink) * PEAK_ITERS;
  return (dd_contender){
      .who = "registers", .run = dd_run_team, .arg = &m->peak, .work = flops * dd_team_threads(m->team)};
}

dd_contender dd_meter_tile(dd_meter *m) {
  const dd_kernels *k = dd_team_kernels(m->team);
  const double flops = 2.0 * k->mr * k->nr * (double)m->tile_k * CALLS * (double)m->call_tiles;
  return (dd_contender){
      .who = "L1 tile", .run = dd_run_team, .arg = &m->tile, .work = flops * dd_team_threads(m->team)};
}

/* ---- memory ---- */

const char *const dd_flow_name[DD_FLOWS] = {"read", "copy", "update", "update 3 of 4"};
static const int flow_arrays[DD_FLOWS] = {1, 2, 1, 4}, flow_moves[DD_FLOWS] = {1, 2, 2, 7}; /* arrays; reads + writes */

static void stream_team(dd_ctx *c, void *arg, int64_t times) {
  const dd_stream *s = arg;
  const int64_t n = s->floats / flow_arrays[s->flow] / 256 * 256;
  float *x = s->base + c->tid * s->floats;
  if (s->flow == DD_FLOW_READ) {
    volatile float sum = s->loops->read(x, n, times);
    (void)sum;
    return;
  }
  for (int64_t i = 0; i < times; i++) switch (s->flow) {
    case DD_FLOW_COPY:
      s->loops->copy(x + n, x, n);
      break;
    case DD_FLOW_UPDATE:
      s->loops->update(x, n, 1e-3f);
      break;
    default:
      s->loops->update3(x, x + n, x + 2 * n, x + 3 * n, n);
    }
}

static void touch_team(dd_ctx *c, void *arg, int64_t times) {
  const dd_stream *s = arg;
  for (int64_t i = 0; i < s->floats; i++) s->base[c->tid * s->floats + i] = (float)times * 1e-3f;
}

int dd_stream_open(dd_stream *s, dd_team *t, dd_flow flow, int64_t bytes, dd_error *err) {
  const int n = dd_team_threads(t);
  *s = (dd_stream){.flow = flow, .loops = dd_loops_of(dd_team_kernels(t))};
  s->floats = dd_round_up(bytes / 4 / n, 1024);
  int rc = dd_arena_create(&s->memory, (size_t)(s->floats * n) * sizeof(float), "streaming loops", err);
  if (rc) return rc;
  s->base = dd_arena_take(&s->memory, (size_t)(s->floats * n) * sizeof(float));
  s->job = (dd_team_job){t, touch_team, s, 0};
  dd_run_team(&s->job, 1); /* each thread places its own pages */
  s->job.fn = stream_team;
  return DD_OK;
}

void dd_stream_close(dd_stream *s) { dd_arena_destroy(&s->memory); }

dd_contender dd_stream_contender(dd_stream *s) {
  const double n = (double)(s->floats / flow_arrays[s->flow] / 256 * 256);
  return (dd_contender){.who = dd_flow_name[s->flow],
                        .run = dd_run_team,
                        .arg = &s->job,
                        .work = 4 * n * flow_moves[s->flow] * dd_team_threads(s->job.team)};
}

/* ---- threads ---- */

static void barrier_team(dd_ctx *c, void *arg, int64_t times) {
  (void)arg;
  for (int64_t i = 0; i < times; i++) dd_barrier(c);
}

double dd_barrier_seconds(dd_team *t) {
  dd_team_job j = {t, barrier_team, NULL, 0};
  double seconds[5];
  dd_run_team(&j, 1000);
  for (int i = 0; i < 5; i++) {
    const double t0 = dd_now();
    dd_run_team(&j, 2000);
    seconds[i] = (dd_now() - t0) / 2000;
  }
  return dd_spread_of(seconds, 5).median;
}

/* ---- the subject ---- */

static int add(dd_bench *b, const dd_contender *c, const char *what, const char *unit, double scale, int threads,
               const dd_kernels *k, const dd_contender *ceiling, dd_error *err) {
  dd_row r = {
      .threads = threads, .value = dd_contender_rate(c, scale), .share = dd_contender_ratio(c, ceiling), .ratio = NAN};
  dd_row_name(&r, NULL, c->who, k, unit, "%s", what);
  return dd_bench_add(b, &r, err);
}

static int arithmetic(dd_bench *b, dd_team *t, dd_error *err) {
  dd_meter m;
  int rc = dd_meter_open(&m, b, t, err);
  if (rc) return rc;
  dd_contender c[2] = {dd_meter_peak(&m), dd_meter_tile(&m)};
  const dd_kernels *k = dd_team_kernels(t);
  rc = dd_rounds(b, c, 2, dd_bench_repeats(b, 21), err);
  if (!rc) rc = add(b, c, "multiply-add", "GFLOP/s", 1e9, dd_team_threads(t), k, NULL, err);
  if (!rc) rc = add(b, c + 1, "multiply-add with loads", "GFLOP/s", 1e9, dd_team_threads(t), k, c, err);
  dd_meter_close(&m);
  return rc;
}

/* Half a private cache, a quarter of the shared one (others use it too), four times all of it for memory. */
static int64_t level_bytes(const dd_bench *b, int level, int threads) {
  const int64_t l1 = b->caches.l1 ? b->caches.l1 : 32768, l2 = b->caches.l2 ? b->caches.l2 : 524288;
  switch (level) {
  case 1:
    return l1 / 2 * threads;
  case 2:
    return l2 / 2 * threads;
  case 3:
    return b->caches.l3 >= 4 * l2 ? b->caches.l3 / 4 : 0;
  default: {
    const int64_t all = b->caches.l3 + l2 * threads, most = b->quick ? (int64_t)128 << 20 : (int64_t)1 << 30;
    return dd_min64(4 * all > ((int64_t)64 << 20) ? 4 * all : (int64_t)64 << 20, most);
  }
  }
}

static int memory(dd_bench *b, dd_team *t, dd_error *err) {
  static const char *const names[] = {"", "L1", "L2", "L3", "DRAM"};
  const int threads = dd_team_threads(t);
  int rc = DD_OK;
  for (int level = 1; level <= 4 && !rc; level++) {
    const int64_t bytes = level_bytes(b, level, threads);
    if (!bytes) continue;
    dd_stream s[DD_FLOW_UPDATE3] = {0};
    dd_contender c[DD_FLOW_UPDATE3];
    for (int f = 0; f < DD_FLOW_UPDATE3 && !rc; f++)
      if (!(rc = dd_stream_open(s + f, t, (dd_flow)f, bytes, err))) c[f] = dd_stream_contender(s + f);
    if (!rc) rc = dd_rounds(b, c, DD_FLOW_UPDATE3, dd_bench_repeats(b, 11), err);
    for (int f = 0; f < DD_FLOW_UPDATE3 && !rc; f++) {
      char what[40];
      snprintf(what, sizeof what, "%s, %.3g MB", names[level], (double)bytes / 1e6);
      rc = add(b, c + f, what, "GB/s", 1e9, threads, dd_team_kernels(t), NULL, err);
    }
    for (int f = 0; f < DD_FLOW_UPDATE3; f++) dd_stream_close(s + f);
  }
  return rc;
}

static int barrier(dd_bench *b, dd_team *t, dd_error *err) {
  const double s = dd_barrier_seconds(t) * 1e9;
  dd_row r = {.threads = dd_team_threads(t),
              .lower_is_better = 1,
              .value = {s, s, s, 1},
              .share = NAN,
              .ratio = NAN};
  dd_row_name(&r, NULL, "dd-cpu", dd_team_kernels(t), "ns", "barrier");
  return dd_bench_add(b, &r, err);
}

int dd_bench_ceilings(dd_bench *b, dd_error *err) {
  int rc = DD_OK;
  for (int i = 0; i < b->n_tiers && !rc; i++)
    for (int j = 0; j < b->n_threads && !rc; j++) {
      dd_team *t;
      b->using = b->threads[j];
      if ((rc = dd_team_create(&t, b->threads[j], 64, b->tiers[i], err))) break;
      dd_bench_heading(b, "tier %s, %d thread%s", b->tiers[i]->tier, b->threads[j], b->threads[j] > 1 ? "s" : "");
      rc = arithmetic(b, t, err);
      if (!rc) rc = memory(b, t, err);
      if (!rc && b->threads[j] > 1) rc = barrier(b, t, err);
      dd_team_destroy(t);
    }
  return rc;
}
