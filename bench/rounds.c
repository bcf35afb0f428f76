/* Interleaved timing: every round times each contender once, in the same order. */
#include "bench/bench.h"
#include "run/evaluate.h"
#include <math.h>
#include <time.h>

static double cpu_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Threads of other libraries spin for some milliseconds after a call, on processors that the next contender needs; and
 * after a pause clocks are low, and threads are woken late or onto one core. So whoever comes after either runs untimed
 * first, ours and others alike: this long at least, and until no more threads are busy than should be. A sleep instead
 * would let processors go idle. */
#define RUN_IN 0.03
#define RUN_IN_MOST 0.5 /* a pool told to spin for ever is not ours to wait for */
#define RUN_IN_WINDOW 0.003

static void run_in(const dd_bench *b, dd_contender *c) {
  const double begin = dd_now();
  for (double elapsed = 0; elapsed < RUN_IN_MOST;) {
    const double t0 = dd_now(), cpu0 = cpu_seconds();
    double wall;
    do {
      c->run(c->arg, 1);
      wall = dd_now() - t0;
    } while (wall < RUN_IN_WINDOW);
    elapsed = dd_now() - begin;
    if (elapsed >= RUN_IN && (cpu_seconds() - cpu0) / wall < b->using + 0.3) return;
  }
}

static double timed(dd_bench *b, dd_contender *c, int64_t times) {
  if (b->unsettled) run_in(b, c);
  else if (times > 1) c->run(c->arg, 1); /* or what another one left in the caches would decide */
  b->unsettled = c->foreign;
  if (c->prepare) c->prepare(c->arg);
  const double t0 = dd_now();
  c->run(c->arg, times);
  return dd_now() - t0;
}

/* The first call pays for pages, thread pools and code that was never run; then find how many make a sample. */
static void warm_up(dd_bench *b, dd_contender *c) {
  const int fixed = c->times > 0;
  const double first = timed(b, c, 1);
  if (fixed) return;
  c->times = 1;
  if (first > 20 * b->sample_seconds) return; /* a long one needs no second look */
  while (c->times < (int64_t)1 << 40) {
    const double seconds = timed(b, c, c->times), wanted = b->sample_seconds;
    if (seconds >= wanted) return;
    const double more = seconds > wanted / 50 ? 1.1 * wanted / seconds : 50;
    c->times = (int64_t)ceil((double)c->times * more);
  }
}

int dd_rounds(dd_bench *b, dd_contender *c, int n, int repeats, dd_error *err) {
  if (repeats > DD_SAMPLES_MAX) repeats = DD_SAMPLES_MAX;
  b->unsettled = 1;
  for (int i = 0; i < n; i++) {
    if (dd_check_stop(b->cb, "measuring", "the machine", err)) return DD_E_STOPPED;
    warm_up(b, c + i);
    c[i].n = 0;
  }
  for (int r = 0; r < repeats; r++) {
    for (int i = 0; i < n; i++) {
      if (dd_check_stop(b->cb, "measuring", "the machine", err)) return DD_E_STOPPED;
      const double seconds = timed(b, c + i, c[i].times);
      c[i].seconds[c[i].n++] = seconds / (double)c[i].times;
    }
  }
  return DD_OK;
}

dd_spread dd_contender_seconds(const dd_contender *c) { return dd_spread_of(c->seconds, c->n); }

dd_spread dd_contender_rate(const dd_contender *c, double unit) {
  double rate[DD_SAMPLES_MAX];
  for (int i = 0; i < c->n; i++) rate[i] = c->work / c->seconds[i] / unit;
  return dd_spread_of(rate, c->n);
}

dd_spread dd_contender_ratios(const dd_contender *a, const dd_contender *b) {
  double ratio[DD_SAMPLES_MAX];
  if (!b) return dd_spread_of(NULL, 0);
  const int n = a->n < b->n ? a->n : b->n;
  for (int i = 0; i < n; i++) ratio[i] = a->work / a->seconds[i] / (b->work / b->seconds[i]);
  return dd_spread_of(ratio, n);
}

double dd_contender_ratio(const dd_contender *a, const dd_contender *b) { return dd_contender_ratios(a, b).median; }

const dd_contender *dd_contender_best(const dd_contender *c, int n) {
  const dd_contender *best = NULL;
  double most = 0;
  for (int i = 0; i < n; i++) {
    const double rate = dd_contender_rate(c + i, 1).median;
    if (!best || rate > most) best = c + i, most = rate;
  }
  return best;
}

static void team_trampoline(dd_ctx *c, void *arg) {
  const dd_team_job *j = arg;
  j->fn(c, j->arg, j->times);
}

void dd_run_team(void *job, int64_t times) {
  dd_team_job *j = job;
  j->times = times;
  dd_team_run(j->team, team_trampoline, j);
}
