/* The training step over thread counts, all counts in the same rounds; and what larger machines should do, modelled.
 *
 * The model of a step on N cores, from measurements with one thread and with the most threads that are here (M):
 *
 *   T(N) = outside + sum over phases of max(work_p / N, bytes_p / B(N)) + tail * 2 (N - 1) / N + barriers * b(N)
 *
 *   work_p    thread time of phase p with one thread: all of it is shared out in tasks
 *   outside   wall time of a step with M threads in which the team does not run: serial
 *   bytes_p   memory traffic of a phase if nothing stayed in a cache (parameters and activations counted)
 *   B(N)      N times the bandwidth per thread measured here, at most SOCKET_BANDWIDTH
 *   tail      what a thread waits at the ends of loops with M threads, barriers themselves taken off. The last task of
 *             a loop ends at a moment uniform over its length: two threads wait a quarter of a task on average, many
 *             half a task ("same tasks"). Loops that cut smaller tasks for more threads, as those of matrix products
 *             do, wait M/N of it ("finer tasks"): the truth is between the two
 *   b(N)      barrier measured here, growing in proportion to N: every thread writes one shared counter
 *
 * It leaves out clocks that fall with many busy cores, memory nodes, and loops with fewer tasks than cores (those
 * are printed: tasks of a slice of attention). */
#include "bench/bench.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SOCKET_BANDWIDTH 400e9 /* a server's socket with twelve channels of DDR5, of 460 GB/s on paper */

typedef struct run {
  int threads;
  dd_trainee t;
  double phase[DD_PHASE_COUNT]; /* thread seconds of a step */
  double wall, barriers;        /* of the step whose phases these are */
} run;

static int counts(const dd_bench *b, int *list) {
  int most = 1, n = 0;
  for (int i = 0; i < b->n_threads; i++) most = b->threads[i] > most ? b->threads[i] : most;
  for (int t = 1; t < most && n < DD_LIST_MAX - 1; t *= 2) list[n++] = t;
  list[n++] = most;
  return n;
}

static int add(dd_bench *b, const dd_bench_preset *p, const dd_kernels *k, int threads, const char *what,
               const char *unit, dd_spread v, double share, int flags, dd_error *err) {
  dd_row r = {.threads = threads,
              .value = v,
              .share = share,
              .ratio = NAN,
              .lower_is_better = flags & 1,
              .modelled = flags >> 1};
  const char *plural = threads > 1 ? "s" : "";
  if (r.modelled) dd_row_name(&r, p->name, "modelled", k, unit, "%d cores, %s", threads, what);
  else if (what[0] == ' ') dd_row_name(&r, p->name, "dd-cpu", k, unit, "%s", what); /* a phase */
  else dd_row_name(&r, p->name, "dd-cpu", k, unit, "%s, %d thread%s", what, threads, plural);
  return dd_bench_add(b, &r, err);
}

enum { LOWER = 1, MODELLED = 2 };

/* ---- measured ---- */

static int measure_phases(run *r, int steps, dd_error *err) {
  dd_team *t = r->t.m->team;
  if (dd_team_timing(t, 1)) return dd_fail(err, DD_E_RUNTIME, "out of memory for the clocks");
  const unsigned barriers = dd_team_barriers(t);
  const double t0 = dd_now();
  dd_run_step(&r->t, steps);
  r->wall = (dd_now() - t0) / steps;
  r->barriers = (double)(dd_team_barriers(t) - barriers) / steps;
  for (int p = 0; p < DD_PHASE_COUNT; p++) r->phase[p] = dd_team_phase_seconds(t, (dd_phase)p) / steps;
  dd_team_timing(t, 0);
  return DD_OK;
}

static int add_speedup(dd_bench *b, const dd_bench_preset *p, const dd_kernels *k, int threads, const char *what,
                       dd_spread v, dd_error *err) {
  return add(b, p, k, threads, what, "x", v, v.median / threads, 0, err);
}

static int measure(dd_bench *b, const dd_bench_preset *p, const dd_kernels *k, run *r, int n, dd_error *err) {
  /* The steps, and in the same rounds the tile on as many threads. */
  dd_contender *c = calloc(2 * (size_t)n, sizeof *c), *tile = c ? c + n : NULL;
  dd_meter *m = calloc((size_t)n, sizeof *m);
  const double flops = dd_step_flops(p);
  int rc = c && m ? DD_OK : dd_fail(err, DD_E_RUNTIME, "out of memory for samples");
  for (int i = 0; i < n && !rc; i++) {
    r[i].t.rate = 0.2;
    c[i] = (dd_contender){.who = "dd-cpu", .run = dd_run_step, .arg = &r[i].t, .work = flops};
    rc = dd_meter_open(m + i, b, r[i].t.m->team, err);
    if (!rc) tile[i] = dd_meter_tile(m + i);
  }
  if (!rc) rc = dd_rounds(b, c, 2 * n, dd_bench_repeats(b, flops > 5e11 ? 3 : 11), err);
  for (int i = 0; i < n && !rc; i++) {
    const dd_spread s = dd_contender_seconds(c + i);
    rc = add(b, p, k, r[i].threads, "step, dropout 0.2", "ms",
             (dd_spread){1e3 * s.median, 1e3 * s.p10, 1e3 * s.p90, s.n}, NAN, LOWER, err);
    if (!rc && i) rc = add_speedup(b, p, k, r[i].threads, "speedup", dd_contender_ratios(c + i, c), err);
    if (!rc && i)
      rc = add_speedup(b, p, k, r[i].threads, "of the tile alone", dd_contender_ratios(tile + i, tile), err);
  }
  for (int i = 0; i < n && m; i++) dd_meter_close(m + i);
  free(m);
  free(c);
  for (int i = 0; i < n && !rc; i++) rc = measure_phases(r + i, flops > 5e11 ? 1 : 10, err);
  return rc;
}

/* Wall time outside the team, and waiting inside it, of the largest team. */
static double outside(const run *r) {
  double inside = 0;
  for (int p = 0; p < DD_PHASE_COUNT; p++) inside += r->phase[p];
  return fmax(r->wall - inside / r->threads, 0);
}

static int shares(dd_bench *b, const dd_bench_preset *p, const dd_kernels *k, const run *one, const run *all,
                  dd_error *err) {
  const double serial = outside(all), wait = all->phase[DD_PHASE_WAIT] / all->threads;
  char what[40];
  dd_bench_say(b, "serial (outside the team), waiting, phases with their speedup; share of the step, not of a limit");
  int rc =
      add(b, p, k, all->threads, "serial", "ms", (dd_spread){1e3 * serial, 0, 0, 1}, serial / all->wall, LOWER, err);
  if (!rc)
    rc = add(b, p, k, all->threads, "waiting", "ms", (dd_spread){1e3 * wait, 0, 0, 1}, wait / all->wall, LOWER, err);
  if (!rc)
    rc = add(b, p, k, all->threads, "barriers", "per step", (dd_spread){all->barriers, 0, 0, 1}, NAN, LOWER, err);
  for (int i = 0; i < DD_PHASE_COUNT && !rc; i++) {
    if (i == DD_PHASE_WAIT || one->phase[i] <= 0 || all->phase[i] <= 0) continue;
    snprintf(what, sizeof what, "  %s", dd_phase_name((dd_phase)i));
    const double speedup = one->phase[i] / (all->phase[i] / all->threads);
    rc = add(b, p, k, all->threads, what, "x", (dd_spread){speedup, 0, 0, 1}, one->phase[i] / one->wall, 0, err);
  }
  return rc;
}

/* ---- modelled ---- */

/* Bytes of a phase when everything comes from memory and goes back there; phases not named move little. */
static double bytes_of(dd_phase phase, const dd_bench_preset *p) {
  const double L = (double)p->shape.L, C = (double)p->shape.C, N = (double)(p->B * p->T), V = (double)p->shape.V;
  const double weights = 12 * L * C * C + V * C;
  switch (phase) {
  case DD_PHASE_UPDATE:
    return 28 * weights; /* p, m, v read and written, g read */
  case DD_PHASE_FOLD:
    return 4 * weights; /* g read for the norm */
  case DD_PHASE_PACK:
    return 4 * 3 * weights; /* read, written twice */
  case DD_PHASE_EMBED:
  case DD_PHASE_EMBED_BACK:
    return 4 * 2 * N * C;
  case DD_PHASE_NORM:
    return 4 * N * C * 2 * (2 * L + 1);
  case DD_PHASE_NORM_BACK:
    return 4 * N * C * 4 * (2 * L + 1);
  case DD_PHASE_MATMUL:
    return 4 * N * (L * (4 + 3 + 9 + 6) * C + C + V);
  case DD_PHASE_MATMUL_BACK:
    return 4 * N * (L * (4 + 2 + 9 + 5) * C + C + V);
  case DD_PHASE_DWEIGHT:
    return 4 * N * (L * (4 + 2 + 5 + 5) * C + C + V);
  case DD_PHASE_ATTENTION:
    return 4 * N * L * 4 * C;
  case DD_PHASE_ATTENTION_BACK:
    return 4 * N * L * 7 * C;
  case DD_PHASE_LOSS:
    return 4 * N * 2 * V;
  default:
    return 0;
  }
}

static int model(dd_bench *b, const dd_bench_preset *p, const dd_kernels *k, const run *one, const run *all,
                 dd_error *err) {
  static const int cores[] = {32, 64, 128};
  dd_stream s = {0};
  const int M = all->threads;
  int rc = dd_stream_open(&s, all->t.m->team, DD_FLOW_COPY, (int64_t)256 << 20, err);
  if (rc) return rc;
  dd_contender c = dd_stream_contender(&s);
  rc = dd_rounds(b, &c, 1, 5, err);
  dd_stream_close(&s);
  if (rc) return rc;
  const double per_thread = dd_contender_rate(&c, 1).median / M, barrier = dd_barrier_seconds(all->t.m->team);
  const double tail = fmax(all->phase[DD_PHASE_WAIT] / M - all->barriers * barrier, 0);
  const double serial = outside(all);
  dd_bench_say(b, "model from: barrier %.0f ns, %.0f of them, tail %.3f ms, serial %.3f ms, %.1f GB/s per thread",
               1e9 * barrier, all->barriers, 1e3 * tail, 1e3 * serial, per_thread / 1e9);
  dd_bench_say(b, "            %lld tasks in the attention of a slice",
               (long long)(dd_model_slice(&all->t.m->o, 128) * p->shape.H));
  for (size_t i = 0; i < 2 * (sizeof cores / sizeof *cores) && !rc; i++) {
    const double N = cores[i / 2], bandwidth = fmin(N * per_thread, SOCKET_BANDWIDTH);
    const int finer = i % 2;
    double seconds = serial + tail * (finer ? M / N : 2 * (N - 1) / N) + all->barriers * barrier * N / M;
    for (int q = 0; q < DD_PHASE_COUNT; q++)
      if (q != DD_PHASE_WAIT) seconds += fmax(one->phase[q] / N, bytes_of((dd_phase)q, p) / bandwidth);
    const double speedup = one->wall / seconds;
    rc = add(b, p, k, cores[i / 2], finer ? "finer tasks" : "same tasks", "x", (dd_spread){speedup, 0, 0, 1},
             speedup / N, MODELLED, err);
  }
  return rc;
}

static int preset_scaling(dd_bench *b, const dd_bench_preset *p, const dd_kernels *k, dd_error *err) {
  int list[DD_LIST_MAX], rc = DD_OK;
  const int n = counts(b, list);
  b->using = list[n - 1];
  run *r = calloc((size_t)n, sizeof *r);
  if (!r) return dd_fail(err, DD_E_RUNTIME, "out of memory for the scaling runs");
  for (int i = 0; i < n && !rc; i++) {
    r[i].threads = list[i];
    rc = dd_trainee_open(&r[i].t, p, k, list[i], err);
  }
  if (!rc) {
    dd_bench_heading(b, "%s, %lld x %lld tokens, tier %s; limit: one thread's speed times threads", p->name,
                     (long long)p->B, (long long)p->T, k->tier);
    rc = measure(b, p, k, r, n, err);
  }
  if (!rc && n > 1) rc = shares(b, p, k, r, r + n - 1, err);
  if (!rc && n > 1) rc = model(b, p, k, r, r + n - 1, err);
  for (int i = 0; i < n; i++) dd_trainee_close(&r[i].t);
  free(r);
  return rc;
}

int dd_bench_scaling(dd_bench *b, dd_error *err) {
  int rc = DD_OK;
  for (int i = 0; i < dd_bench_main_tiers(b) && !rc; i++)
    for (int q = 0; q < b->n_presets && !rc; q++) rc = preset_scaling(b, b->presets + q, b->tiers[i], err);
  return rc;
}
