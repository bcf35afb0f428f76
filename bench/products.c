/* Matrix products of a training step, beside other libraries in the same rounds.
 *
 * Forward y = x W', backward dx = dy W, weight gradient dW = dy' x, for x [N][in], dy [N][out], W [out][in]. Everything
 * is timed as the step does it, packing of activations included. Weights are packed once per step and used by every
 * micro-batch, so both are given: packed before the rounds ("dd-cpu") and inside them ("dd-cpu +pack"). */
#include "bench/bench.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef enum op { FORWARD, BACKWARD, DWEIGHT, OPS } op;
static const char *const op_name[OPS] = {"y = x W'", "dx = dy W", "dW = dy' x"};

typedef struct shape {
  int64_t rows, in, out;
} shape;

typedef struct product {
  dd_bench *b;
  dd_team *team;
  const dd_bench_preset *preset;
  dd_arena memory;
  op what;
  shape s;
  float *x, *dy, *w;    /* [rows][in], [rows][out], [out][in] */
  float *ours, *theirs; /* result, of the largest size */
  dd_packed packed;
  dd_team_job run, with_pack;
} product;

typedef struct peer_call {
  const product *p;
  const dd_peer *peer;
} peer_call;

/* ---- the calls ---- */

static void pack(dd_ctx *c, const product *p) {
  const int forward = p->what == FORWARD;
  dd_pack_weights(c, forward ? &p->packed : NULL, forward ? NULL : &p->packed, p->w);
  dd_barrier(c);
}

static void multiply(dd_ctx *c, const product *p) {
  if (p->what == FORWARD) dd_matmul(c, p->ours, p->x, p->s.in, &p->packed, p->s.rows, NULL);
  else if (p->what == BACKWARD) dd_matmul_dx(c, p->ours, p->dy, p->s.out, &p->packed, p->s.rows, NULL);
  else dd_matmul_dweight(c, p->ours, p->dy, p->x, p->s.rows, p->s.out, p->s.in, 0);
  dd_barrier(c);
}

static void run_team(dd_ctx *c, void *arg, int64_t times) {
  for (int64_t i = 0; i < times; i++) multiply(c, arg);
}

static void run_with_pack(dd_ctx *c, void *arg, int64_t times) {
  for (int64_t i = 0; i < times; i++) {
    pack(c, arg);
    multiply(c, arg);
  }
}

static void pack_once(dd_ctx *c, void *arg, int64_t times) {
  (void)times;
  pack(c, arg);
}

static void run_peer(void *arg, int64_t times) {
  const peer_call *q = arg;
  const product *p = q->p;
  const shape s = p->s;
  for (int64_t i = 0; i < times; i++) switch (p->what) {
    case FORWARD:
      dd_peer_sgemm(q->peer, 0, 1, s.rows, s.out, s.in, p->x, p->w, p->theirs);
      break;
    case BACKWARD:
      dd_peer_sgemm(q->peer, 0, 0, s.rows, s.in, s.out, p->dy, p->w, p->theirs);
      break;
    default:
      dd_peer_sgemm(q->peer, 1, 0, s.out, s.in, s.rows, p->dy, p->x, p->theirs);
    }
}

/* A peer that was called wrongly must not win: sums of k products of numbers below 1 differ by rounding only. */
static int agrees(const product *p) {
  const shape s = p->s;
  const int64_t n = p->what == FORWARD ? s.rows * s.out : p->what == BACKWARD ? s.rows * s.in : s.out * s.in;
  const int64_t k = p->what == FORWARD ? s.in : p->what == BACKWARD ? s.out : s.rows;
  const double bound = 1e-6 * (double)k + 1e-4;
  for (int64_t i = 0; i < n; i++)
    if (!(fabs((double)p->ours[i] - (double)p->theirs[i]) <= bound)) return 0;
  return 1;
}

/* ---- measuring one product ---- */

enum { PEAK, TILE, OURS, OURS_PACK, PEERS, CONTENDERS = PEERS + DD_PEER_COUNT };

static int add(product *p, const dd_contender *c, const dd_contender *limit, const dd_contender *best, dd_error *err) {
  dd_row r = {.threads = dd_team_threads(p->team),
              .value = dd_contender_rate(c, 1e9),
              .share = dd_contender_ratio(c, limit),
              .ratio = dd_contender_ratio(c, best)};
  dd_row_name(&r, p->preset->name, c->who, dd_team_kernels(p->team), "GFLOP/s", "%s %lldx%lldx%lld", op_name[p->what],
              (long long)p->s.rows, (long long)p->s.in, (long long)p->s.out);
  return dd_bench_add(p->b, &r, err);
}

/* What a group is made of: ratios of one product to the tile, to the best peer, and the same with packing inside; and
 * of the tile to the best peer: what a product that lost nothing to caches and edges would have in `/ best`. */
typedef enum figure { OF_LIMIT, OF_BEST, OF_BEST_PACK, LIMIT_OF_BEST, FIGURES } figure;
static const char *const figure_name[FIGURES] = {"of limit", "/ best", "+pack / best", "limit / best"};

static int measure(product *p, dd_meter *m, dd_spread figures[FIGURES], dd_error *err) {
  dd_contender *c = calloc(CONTENDERS, sizeof *c);
  peer_call calls[DD_PEER_COUNT];
  const double flops = 2.0 * (double)p->s.rows * (double)p->s.in * (double)p->s.out;
  if (!c) return dd_fail(err, DD_E_RUNTIME, "out of memory for samples");
  p->run = (dd_team_job){p->team, pack_once, p, 0};
  if (p->what != DWEIGHT) dd_run_team(&p->run, 1);
  p->run.fn = run_team;
  p->with_pack = (dd_team_job){p->team, run_with_pack, p, 0};
  int n = 0;
  c[n++] = dd_meter_peak(m);
  c[n++] = dd_meter_tile(m);
  c[n++] = (dd_contender){.who = "dd-cpu", .run = dd_run_team, .arg = &p->run, .work = flops};
  if (p->what != DWEIGHT)
    c[n++] = (dd_contender){.who = "dd-cpu +pack", .run = dd_run_team, .arg = &p->with_pack, .work = flops};
  const int first_peer = n;
  dd_run_team(&p->run, 1);
  for (int i = 0; i < DD_PEER_COUNT; i++) {
    if (!p->b->peers[i].handle) continue;
    calls[i] = (peer_call){p, p->b->peers + i};
    dd_peer_threads(p->b->peers + i, dd_team_threads(p->team));
    run_peer(calls + i, 1);
    if (agrees(p))
      c[n++] =
          (dd_contender){.who = p->b->peers[i].name, .run = run_peer, .arg = calls + i, .work = flops, .foreign = 1};
    else dd_bench_warn(p->b, "%s gives another product, so it is left out", p->b->peers[i].name);
  }
  /* One result for all in the rounds: each finds it as warm as the one before left it. */
  float *theirs = p->theirs;
  p->theirs = p->ours;
  int rc = dd_rounds(p->b, c, n, dd_bench_repeats(p->b, 11), err);
  p->theirs = theirs;
  const dd_contender *best = dd_contender_best(c + first_peer, n - first_peer);
  for (int i = OURS; i < n && !rc; i++) rc = add(p, c + i, c + TILE, i < first_peer ? best : NULL, err);
  figures[OF_LIMIT] = dd_contender_ratios(c + OURS, c + TILE);
  figures[OF_BEST] = dd_contender_ratios(c + OURS, best);
  figures[LIMIT_OF_BEST] = dd_contender_ratios(c + TILE, best);
  figures[OF_BEST_PACK] = p->what == DWEIGHT ? dd_spread_of(NULL, 0) : dd_contender_ratios(c + OURS_PACK, best);
  free(c);
  return rc;
}

/* ---- groups ---- */

enum { SHAPES = 5 };

static void shapes_of(const dd_bench *b, const dd_bench_preset *p, shape s[SHAPES]) {
  const int64_t C = p->shape.C, N = b->quick ? dd_min64(p->B * p->T, 2048) : p->B * p->T;
  s[0] = (shape){N, C, 3 * C};
  s[1] = (shape){N, C, C};
  s[2] = (shape){N, C, 4 * C};
  s[3] = (shape){N, 4 * C, C};
  s[4] = (shape){N, C, p->shape.V};
}

static int add_group(product *p, const char *kind, figure f, dd_spread v, dd_error *err) {
  dd_row r = {.threads = dd_team_threads(p->team), .value = v, .share = NAN, .ratio = NAN};
  dd_row_name(&r, p->preset->name, "dd-cpu", dd_team_kernels(p->team), "ratio", "%s, %s %s", op_name[p->what], kind,
              figure_name[f]);
  return dd_bench_add(p->b, &r, err);
}

/* Geometric mean over the shapes, of medians and of percentiles; and the shape that does worst. */
static int add_figure(product *p, figure f, dd_spread x[SHAPES][FIGURES], dd_error *err) {
  double median[SHAPES], p10[SHAPES], p90[SHAPES];
  dd_spread worst = x[0][f];
  if (!isfinite(worst.median)) return DD_OK; /* no peer here */
  for (int i = 0; i < SHAPES; i++) {
    median[i] = x[i][f].median, p10[i] = x[i][f].p10, p90[i] = x[i][f].p90;
    if (median[i] < worst.median) worst = x[i][f];
  }
  const dd_spread mean = {dd_geomean(median, SHAPES), dd_geomean(p10, SHAPES), dd_geomean(p90, SHAPES), worst.n};
  int rc = add_group(p, "mean", f, mean, err);
  return rc ? rc : add_group(p, "worst", f, worst, err);
}

static int measure_group(product *p, const shape *s, dd_meter *m, dd_error *err) {
  dd_spread x[SHAPES][FIGURES];
  int rc = DD_OK;
  for (int i = 0; i < SHAPES && !rc; i++) {
    const int forward = p->what == FORWARD;
    p->s = s[i];
    p->packed = (dd_packed){
        .data = p->packed.data, .k = forward ? s[i].in : s[i].out, .n = forward ? s[i].out : s[i].in};
    rc = measure(p, m, x[i], err);
  }
  for (figure f = 0; f < FIGURES && !rc; f++) rc = add_figure(p, f, x, err);
  return rc;
}

static int take_memory(product *p, const shape *s, dd_error *err) {
  const dd_kernels *k = dd_team_kernels(p->team);
  int64_t x = 0, dy = 0, w = 0, packed = 0;
  for (int i = 0; i < SHAPES; i++) {
    const int64_t f = dd_packed_size(k, s[i].in, s[i].out), g = dd_packed_size(k, s[i].out, s[i].in);
    x = s[i].rows * s[i].in > x ? s[i].rows * s[i].in : x;
    dy = s[i].rows * s[i].out > dy ? s[i].rows * s[i].out : dy;
    w = s[i].in * s[i].out > w ? s[i].in * s[i].out : w;
    packed = f > packed ? f : packed;
    packed = g > packed ? g : packed;
  }
  const int64_t most = x > dy ? (x > w ? x : w) : dy > w ? dy : w;
  int rc =
      dd_arena_create(&p->memory, (size_t)(x + dy + w + packed + 2 * most + 256) * sizeof(float), "the products", err);
  if (rc) return rc;
  p->x = dd_arena_take(&p->memory, (size_t)x * sizeof(float));
  p->dy = dd_arena_take(&p->memory, (size_t)dy * sizeof(float));
  p->w = dd_arena_take(&p->memory, (size_t)w * sizeof(float));
  p->packed.data = dd_arena_take(&p->memory, (size_t)packed * sizeof(float));
  p->ours = dd_arena_take(&p->memory, (size_t)most * sizeof(float));
  p->theirs = dd_arena_take(&p->memory, (size_t)most * sizeof(float));
  for (int64_t i = 0; i < x; i++) p->x[i] = (float)(i % 17 - 8) * 0.06f;
  for (int64_t i = 0; i < dy; i++) p->dy[i] = (float)(i % 13 - 6) * 0.08f;
  for (int64_t i = 0; i < w; i++) p->w[i] = (float)(i % 11 - 5) * 0.09f;
  return DD_OK;
}

static int preset_products(dd_bench *b, dd_team *t, const dd_bench_preset *preset, dd_error *err) {
  product p = {.b = b, .team = t, .preset = preset};
  shape s[SHAPES];
  dd_meter m = {0};
  shapes_of(b, preset, s);
  int rc = take_memory(&p, s, err);
  if (!rc) rc = dd_meter_open(&m, b, t, err);
  if (!rc)
    dd_bench_heading(b, "%s, tier %s, %d thread%s, N x in x out; limit: the tile in the first cache", preset->name,
                     dd_team_kernels(t)->tier, dd_team_threads(t), dd_team_threads(t) > 1 ? "s" : "");
  for (p.what = FORWARD; p.what < OPS && !rc; p.what++) rc = measure_group(&p, s, &m, err);
  dd_meter_close(&m);
  dd_arena_destroy(&p.memory);
  return rc;
}

int dd_bench_products(dd_bench *b, dd_error *err) {
  int rc = DD_OK;
  for (int i = 0; i < dd_bench_main_tiers(b) && !rc; i++)
    for (int j = 0; j < b->n_threads && !rc; j++) {
      dd_team *t;
      b->using = b->threads[j];
      rc = dd_team_create(&t, b->threads[j], (size_t)dd_matmul_scratch(INT32_MAX) * sizeof(float), b->tiers[i], err);
      for (int q = 0; q < b->n_presets && !rc; q++) rc = preset_products(b, t, b->presets + q, err);
      dd_team_destroy(t);
    }
  return rc;
}
