/* Shared by the tests of operations and of the whole model: buffers of a case between guard pages, every tier with
 * every number of threads, comparisons with double and with bits, and dropout masks by the randomness contract. */
#ifndef DD_OPS_COMMON_H
#define DD_OPS_COMMON_H
#include "kernels_common.h"
#include "ops/ops.h"
#include <math.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof(array)[0]))
#define EPS 0x1p-24 /* half a last place of 1.0f; bounds are multiples of it, relative to what was added up */

enum { T_MAX = 200, HS_MAX = 80 };
static const int thread_counts[] = {1, 2, 3, 7}; /* DD_QUICK=1: 1 and 3; of `scalar`, which is slow, 1 alone */
static dd_team *teams[TIERS_MAX * COUNT(thread_counts)];
static int team_count;

static char where[300]; /* parameters of the case, for messages */
#define CASE(...) snprintf(where, sizeof where, __VA_ARGS__)

/* ---- buffers of one case ---- */

static struct {
  guard g;
  unsigned char *data;
  size_t bytes;
} rooms[64];
static int room_count;

static inline void *room(size_t bytes, size_t align) {
  assert_in_range(room_count, 0, COUNT(rooms) - 1);
  guard *g = &rooms[room_count].g;
  *g = guard_new(bytes);
  rooms[room_count].bytes = bytes;
  rooms[room_count].data = guard_place(g, bytes, align, 1);
  memset(rooms[room_count].data, 0xff, bytes); /* NaN, as float and as double */
  return rooms[room_count++].data;
}
static inline float *floats(int64_t n) { return room((size_t)n * sizeof(float), sizeof(float)); }
static inline double *doubles(int64_t n) { return room((size_t)n * sizeof(double), sizeof(double)); }
static inline float *normal(int64_t n, float scale, uint64_t seed) {
  float *x = floats(n);
  fill_floats(x, n, FILL_NORMAL, scale, &seed);
  return x;
}
static inline double *widen(const float *x, int64_t n) {
  double *d = doubles(n);
  for (int64_t i = 0; i < n; i++) d[i] = (double)x[i];
  return d;
}
static inline void end_case(void) {
  for (int i = 0; i < room_count; i++) {
    const int64_t broken = guard_broken(&rooms[i].g, rooms[i].data, rooms[i].bytes);
    if (broken)
      fail_msg("%s: buffer %d of %zu bytes: written outside, at %lld", where, i, rooms[i].bytes, (long long)broken);
    guard_free(&rooms[i].g);
  }
  room_count = 0;
}

/* ---- running and comparing ---- */

typedef struct output {
  const char *name;
  void *data;
  size_t bytes;
  const void *init; /* contents before the call; NULL: all of it must be written */
} output;

/* Runs fn in every team; the results must be equal. They are left in the outputs. */
static inline void run_all(void (*fn)(dd_ctx *c, void *arg), void *arg, const output *out, int n) {
  void *first[8];
  assert_in_range(n, 1, 8);
  for (int i = 0; i < n; i++) first[i] = room(out[i].bytes, 1);
  for (int t = 0; t < team_count; t++) {
    for (int i = 0; i < n; i++) {
      if (out[i].init) memcpy(out[i].data, out[i].init, out[i].bytes);
      else memset(out[i].data, 0xff, out[i].bytes);
    }
    dd_team_run(teams[t], fn, arg);
    for (int i = 0; i < n; i++) {
      if (t == 0) memcpy(first[i], out[i].data, out[i].bytes);
      const int64_t at = first_difference(first[i], out[i].data, (int64_t)out[i].bytes / 4, 4, 0);
      if (at >= 0)
        fail_msg("%s: %s differs from scalar on 1 thread in tier %s on %d threads, first at 4-byte word %lld", where,
                 out[i].name, dd_team_kernels(teams[t])->tier, dd_team_threads(teams[t]), (long long)at);
    }
  }
}

static double worst; /* of the test, relative to its bound */
static inline void near(const char *name, const float *got, const double *want, const double *size, double all,
                        int64_t n, double bound) {
  for (int64_t i = 0; i < n; i++) {
    const double e = fabs((double)got[i] - want[i]), allowed = bound * EPS * (size ? size[i] : all) + 1e-37;
    if (e / allowed > worst) worst = e / allowed;
    if (!(e <= allowed))
      fail_msg("%s: %s[%lld] is %.9g, in double %.15g: off by %g, allowed %g", where, name, (long long)i,
               (double)got[i], want[i], e, allowed);
  }
}
static inline void same_bits(const char *name, const float *got, const float *want, int64_t n) {
  const int64_t at = first_difference(want, got, n, sizeof *got, 0);
  if (at >= 0)
    fail_msg("%s: %s[%lld] is %a, by the order of the contract %a", where, name, (long long)at, (double)got[at],
             (double)want[at]);
}
static inline double largest(const double *x, int64_t n) {
  double m = 0;
  for (int64_t i = 0; i < n; i++) m = fmax(m, fabs(x[i]));
  return m;
}
/* The gradient got[n] of f with respect to x against central differences, in all places. */
static inline void differences(const char *name, const float *got, double (*f)(const void *), const void *arg,
                               double *x, int64_t n, double bound) {
  const double h = 1e-5;
  double *want = doubles(n);
  for (int64_t i = 0; i < n; i++) {
    const double keep = x[i];
    x[i] = keep + h;
    const double above = f(arg);
    x[i] = keep - h;
    want[i] = (above - f(arg)) / (2 * h);
    x[i] = keep;
  }
  near(name, got, want, NULL, largest(want, n), n, bound);
}
static inline void end_test(const char *what) {
  printf("  %s: worst error %.2f of its bound, %d teams\n", what, worst, team_count);
  assert_true(worst > 1e-6); /* something was compared */
  worst = 0;
}

/* ---- masks: Philox by the randomness contract ---- */

static const uint64_t SEED = 0x9d2c5680efc60000u + 77;

static inline uint32_t philox_word(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, int word) {
  uint32_t x[4] = {c0, c1, c2, c3}, k[2] = {(uint32_t)SEED, (uint32_t)(SEED >> 32)};
  for (int r = 0; r < 10; r++, k[0] += 0x9E3779B9u, k[1] += 0xBB67AE85u) {
    const uint64_t a = x[0] * (uint64_t)0xD2511F53u, b = x[2] * (uint64_t)0xCD9E8D57u;
    const uint32_t y[4] = {(uint32_t)(b >> 32) ^ x[1] ^ k[0], (uint32_t)b, (uint32_t)(a >> 32) ^ x[3] ^ k[1],
                           (uint32_t)a};
    memcpy(x, y, sizeof x);
  }
  return x[word];
}
static inline int kept(const dd_drop *d, int64_t row, int64_t col) {
  const int64_t i = col % 64;
  const uint32_t x =
      philox_word((uint32_t)(col / 64 * 8 + i % 16 / 2), d->c1 + (uint32_t)row, d->c2, d->c3, (int)(i / 16));
  return (x >> (16 * (i % 2)) & 0xffff) >= d->threshold;
}
static inline dd_drop drop_rate(double p, uint32_t first_row, uint32_t site) {
  const uint32_t t = (uint32_t)floor(p * 65536 + 0.5);
  return (dd_drop){.key0 = (uint32_t)SEED,
                   .key1 = (uint32_t)(SEED >> 32),
                   .c1 = first_row,
                   .c2 = 3u << 8 | site,
                   .c3 = 12345,
                   .threshold = t,
                   .scale = 65536.f / (float)(65536 - t)};
}

static inline int make_teams(void **state) {
  (void)state;
  const int64_t a = dd_matmul_scratch(T_MAX * HS_MAX), b = dd_attention_scratch(T_MAX, HS_MAX);
  dd_error err;
  const int quick = getenv("DD_QUICK") != NULL;
  FOR_TIERS(k)
  for (int i = 0; i < COUNT(thread_counts); i += 1 + quick) {
    if (quick && i && tier_count_ > 1 && k == &dd_kernels_scalar) break;
    if (dd_team_create(&teams[team_count++], thread_counts[i], (size_t)(a > b ? a : b) * sizeof(float), k, &err))
      return -1;
  }
  return 0;
}
static inline int drop_teams(void **state) {
  (void)state;
  while (team_count) dd_team_destroy(teams[--team_count]);
  return 0;
}

#endif
