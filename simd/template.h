/* Every kernel but the matrix tile, written once over v16, a virtual vector of 16 floats. The including tier defines:
 * v16 load/store (whole and first n lanes; absent lanes read as +0), arithmetic, select, v16_max(x, y) = x > y ? x : y,
 * v16_scale2(y, n) = y * 2^n with one rounding, v16_scale_unless_lt (x < limit ? +0 : (p + 1) * 2^n), v16_sum and
 * v16_hmax (fold 16 -> 8 -> 4 -> 2 -> 1), d16 (16 doubles), v16_keep, philox as draws.h wants it, v16_first(x, n, y):
 * lanes below n of x, the others of y; then DD_TIER_NAME and DD_TIER_TABLE. Contracts: simd.h. */
#include "simd.h"
#include "tile.h"
#include "vmath.h"

VI v16 ld(const float *p, int64_t c, int64_t n) { return n - c >= 16 ? v16_load(p + c) : v16_load_n(p + c, n - c); }
VI void st(float *p, v16 x, int64_t c, int64_t n) {
  if (n - c >= 16) v16_store(p + c, x);
  else v16_store_n(p + c, x, n - c);
}
/* A row ends inside x: the lanes from n on are those of y. */
VI v16 below(v16 x, int64_t n, v16 y) { return n >= 16 ? x : v16_first(x, n, y); }
/* +0 there, where 0 - mean, e^0 and the like must not reach a sum. */
VI v16 present(v16 x, int64_t n) { return below(x, n, v16_set(0.f)); }
/* The code for each block of 16 elements from c on. It measures by `end`, which compilers see to be c + 16 in all
 * blocks but the last: asking for the end of the row at each would take half of the instructions. */
#define EACH(c, n, ...)                                                                                                \
  do {                                                                                                                 \
    int64_t c = 0;                                                                                                     \
    for (; c + 16 <= (n); c += 16) {                                                                                   \
      const int64_t end = c + 16;                                                                                      \
      __VA_ARGS__                                                                                                      \
    }                                                                                                                  \
    if (c < (n)) {                                                                                                     \
      const int64_t end = (n);                                                                                         \
      __VA_ARGS__                                                                                                      \
    }                                                                                                                  \
  } while (0)

VI float fold64(v16 s0, v16 s1, v16 s2, v16 s3) { return v16_sum(v16_add(v16_add(s0, s1), v16_add(s2, s3))); }
/* Row sums in 64 lanes: BODY(S, c, end) adds element block c to accumulator S (`end` as above); result in `out`. */
#define SUM64(out, n, BODY)                                                                                            \
  do {                                                                                                                 \
    v16 s0_ = v16_set(0.f), s1_ = s0_, s2_ = s0_, s3_ = s0_;                                                           \
    SUM64_ON(s0_, s1_, s2_, s3_, n, BODY);                                                                             \
    out = fold64(s0_, s1_, s2_, s3_);                                                                                  \
  } while (0)
#define SUM64_ON(s0, s1, s2, s3, n, BODY)                                                                              \
  do {                                                                                                                 \
    int64_t c_ = 0;                                                                                                    \
    for (; c_ + 64 <= (n); c_ += 64) {                                                                                 \
      BODY(s0, c_, c_ + 16) BODY(s1, c_ + 16, c_ + 32) BODY(s2, c_ + 32, c_ + 48) BODY(s3, c_ + 48, c_ + 64)           \
    }                                                                                                                  \
    if (c_ < (n)) { BODY(s0, c_, n) }                                                                                  \
    if (c_ + 16 < (n)) { BODY(s1, c_ + 16, n) }                                                                        \
    if (c_ + 32 < (n)) { BODY(s2, c_ + 32, n) }                                                                        \
    if (c_ + 48 < (n)) { BODY(s3, c_ + 48, n) }                                                                        \
  } while (0)

static void k_exp(float *dst, const float *src, int64_t n) {
  EACH(c, n, st(dst, v16_exp(ld(src, c, end)), c, end););
}

VI void gelu_blocks(int blocks, float *y, const float *x, int64_t c, int64_t n) {
  v16 v[GELU_BLOCKS];
  gelu_parts g[GELU_BLOCKS];
  for (int u = 0; u < blocks; u++) v[u] = ld(x, c + 16 * u, n);
  v16_gelu_parts(blocks, g, v);
  for (int u = 0; u < blocks; u++) st(y, v16_gelu(&g[u]), c + 16 * u, n);
}
static void k_gelu(float *y, const float *x, int64_t n) {
  int64_t c = 0;
  for (; c + 16 * GELU_BLOCKS <= n; c += 16 * GELU_BLOCKS)
    gelu_blocks(GELU_BLOCKS, y, x, c, c + 16 * GELU_BLOCKS);
  for (; c < n; c += 16) gelu_blocks(1, y, x, c, n);
}

VI void gelu_slope_blocks(int blocks, float *y, float *d, const float *x, int64_t c, int64_t n) {
  v16 v[GELU_BLOCKS], s[GELU_BLOCKS];
  gelu_parts g[GELU_BLOCKS];
  for (int u = 0; u < blocks; u++) v[u] = ld(x, c + 16 * u, n);
  v16_gelu_parts(blocks, g, v);
  v16_gelu_slope(blocks, s, g, v);
  for (int u = 0; u < blocks; u++) {
    st(y, v16_gelu(&g[u]), c + 16 * u, n);
    st(d, s[u], c + 16 * u, n);
  }
}
static void k_gelu_slope(float *y, float *d, const float *x, int64_t n) {
  int64_t c = 0;
  for (; c + 16 * GELU_SLOPE_BLOCKS <= n; c += 16 * GELU_SLOPE_BLOCKS)
    gelu_slope_blocks(GELU_SLOPE_BLOCKS, y, d, x, c, c + 16 * GELU_SLOPE_BLOCKS);
  for (; c < n; c += 16) gelu_slope_blocks(1, y, d, x, c, n);
}

static void k_add(float *dst, const float *a, const float *b, int64_t n) {
  EACH(c, n, st(dst, v16_add(ld(a, c, end), ld(b, c, end)), c, end););
}

static void k_mul(float *dst, const float *a, const float *b, int64_t n) {
  EACH(c, n, st(dst, v16_mul(ld(a, c, end), ld(b, c, end)), c, end););
}

#include "draws.h"

static void k_dropout(float *dst, const float *src, const dd_rows *g, const dd_drop *d) {
  v16 scale = v16_set(d->scale);
  const uint32_t threshold = d->threshold;
  const int apart = dst != src;
  if (!threshold) {
    for (int64_t r = 0; apart && r < g->rows; r++)
      memcpy(dst + r * g->ld, src + r * g->ld, (size_t)dd_row_length(g, r) * sizeof *dst);
    return;
  }
  FOR_DRAWS(g, d, __builtin_prefetch(src + at); if (apart) __builtin_prefetch(dst + at, 1);
            , { st(dst + at, v16_keep(v16_mul(ld(src + at, 0, left), scale), draw, threshold), 0, left); });
}

static void k_dropout_pair(float *dst, const float *src, float *also, const dd_rows *g, const dd_drop *d) {
  v16 scale = v16_set(d->scale);
  const uint32_t threshold = d->threshold;
  if (!threshold) {
    k_dropout(dst, src, g, d);
    return;
  }
  FOR_DRAWS(g, d, (void)at;, {
    st(dst + at, v16_keep(v16_mul(ld(src + at, 0, left), scale), draw, threshold), 0, left);
    st(also + at, v16_keep(v16_mul(ld(also + at, 0, left), scale), draw, threshold), 0, left);
  });
}

static void k_dropout_add(float *dst, const float *res, const float *src, const dd_rows *g, const dd_drop *d) {
  v16 scale = v16_set(d->scale);
  const uint32_t threshold = d->threshold;
  if (!threshold) {
    for (int64_t r = 0; r < g->rows; r++) k_add(dst + r * g->ld, res + r * g->ld, src + r * g->ld, dd_row_length(g, r));
    return;
  }
  FOR_DRAWS(g, d, __builtin_prefetch(src + at); __builtin_prefetch(res + at);, {
    const v16 kept = v16_keep(ld(src + at, 0, left), draw, threshold);
    st(dst + at, v16_fma(kept, scale, ld(res + at, 0, left)), 0, left);
  });
}

static void k_draws(uint16_t *dst, int64_t n, const dd_drop *d) {
  const dd_rows one = {.rows = 1, .n = n};
  FOR_DRAWS(&one, d, (void)at;, { memcpy(dst + at, draw, (size_t)(left < 16 ? left : 16) * sizeof *dst); });
}

/* How many of so many rows of n floats go side by side: at most `most`, and no more than `floats` hold. */
static int64_t side_by_side(int64_t rows, int64_t n, int64_t most, int64_t floats) {
  const int64_t fit = n * most <= floats ? most : n * 2 <= floats ? floats / n : 1;
  return rows < fit ? rows : fit;
}

/* Short rows go side by side, as those of softmax do; longer ones read from memory faster one by one. */
static void k_layernorm(float *out, float *mean, float *rstd, const float *x, const float *w, const float *b,
                        int64_t rows, int64_t n) {
#define ADD_X(s, c, end)                                                                                               \
  {                                                                                                                    \
    __builtin_prefetch(y + (c), 1);                                                                                    \
    s = v16_add(s, ld(xr, c, end));                                                                                    \
  }
#define ADD_SQ(s, c, end)                                                                                              \
  {                                                                                                                    \
    __builtin_prefetch(xr + ahead + (c)); /* the rows after these */                                                   \
    const v16 d_ = present(v16_sub(ld(xr, c, end), m), end - (c));                                                     \
    s = v16_fma(d_, d_, s);                                                                                            \
  }
  enum { SHORT = 512, MOST = 4 };
  for (int64_t r0 = 0, to; r0 < rows; r0 = to) {
    float sum[MOST];
    to = r0 + side_by_side(rows - r0, n, MOST, SHORT);
    const int64_t ahead = (to - r0) * n;
    for (int64_t r = r0; r < to; r++) {
      const float *xr = x + r * n, *y = out + r * n;
      SUM64(sum[r - r0], n, ADD_X);
    }
    for (int64_t r = r0; r < to; r++) {
      const float *xr = x + r * n;
      const v16 m = v16_set(mean[r] = sum[r - r0] / (float)n);
      SUM64(sum[r - r0], n, ADD_SQ);
    }
    for (int64_t r = r0; r < to; r++) {
      const float *xr = x + r * n;
      float *y = out + r * n;
      const v16 m = v16_set(mean[r]), rs = v16_set(rstd[r] = 1.f / __builtin_sqrtf(sum[r - r0] / (float)n + DD_LN_EPS));
      EACH(c, n, {
        v16 h = v16_mul(v16_sub(ld(xr, c, end), m), rs), wc = ld(w, c, end);
        st(y, b ? v16_fma(h, wc, ld(b, c, end)) : v16_mul(h, wc), c, end);
      });
    }
  }
}

/* Absent lanes keep their sums: +0 added to one that has become -0 would change it. */
static void layernorm_backward_row(float *dx, const float *dy, const float *x, const float *w, float mean, float rstd,
                                   int64_t n) {
  const v16 m = v16_set(mean), r = v16_set(rstd), zero = v16_set(0.f);
  v16 g0 = zero, g1 = zero, g2 = zero, g3 = zero, t0 = zero, t1 = zero, t2 = zero, t3 = zero; /* two row sums at once */
#define ADD_G(s, t, c, end)                                                                                            \
  {                                                                                                                    \
    const v16 d_ = ld(dy, c, end), w_ = ld(w, c, end), h_ = v16_mul(v16_sub(ld(x, c, end), m), r);                     \
    s = below(v16_fma(d_, w_, s), end - (c), s);                                                                       \
    t = below(v16_fma(v16_mul(d_, w_), h_, t), end - (c), t);                                                          \
  }
  int64_t at = 0;
  for (; at + 64 <= n; at += 64) {
    ADD_G(g0, t0, at, at + 16)
    ADD_G(g1, t1, at + 16, at + 32)
    ADD_G(g2, t2, at + 32, at + 48)
    ADD_G(g3, t3, at + 48, at + 64)
  }
  if (at < n) ADD_G(g0, t0, at, n)
  if (at + 16 < n) ADD_G(g1, t1, at + 16, n)
  if (at + 32 < n) ADD_G(g2, t2, at + 32, n)
  if (at + 48 < n) ADD_G(g3, t3, at + 48, n)
  const float sg = fold64(g0, g1, g2, g3), sgx = fold64(t0, t1, t2, t3);
  const v16 a = v16_set(sg / (float)n), b = v16_set(sgx / (float)n);
  EACH(c, n, {
    v16 g = v16_mul(ld(dy, c, end), ld(w, c, end)), h = v16_mul(v16_sub(ld(x, c, end), m), r);
    st(dx, v16_fma(r, v16_fnma(h, b, v16_sub(g, a)), ld(dx, c, end)), c, end);
  });
}
static void k_layernorm_backward(float *dx, const float *dy, const float *x, const float *w, const float *mean,
                                 const float *rstd, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; r++) layernorm_backward_row(dx + r * n, dy + r * n, x + r * n, w, mean[r], rstd[r], n);
}

/* Four rows for each time that a sum goes to memory and back. */
VI void layernorm_dparam_rows(float *dw, float *db, const float *dy, const float *x, const float *mean,
                              const float *rstd, int rows, int64_t n) {
  v16 m[4], rs[4];
  for (int r = 0; r < rows; r++) m[r] = v16_set(mean[r]), rs[r] = v16_set(rstd[r]);
  EACH(c, n, {
    v16 s = ld(dw, c, end);
    for (int r = 0; r < rows; r++)
      s = v16_fma(ld(dy + r * n, c, end), v16_mul(v16_sub(ld(x + r * n, c, end), m[r]), rs[r]), s);
    st(dw, s, c, end);
    if (db) {
      v16 t = ld(db, c, end);
      for (int r = 0; r < rows; r++) t = v16_add(t, ld(dy + r * n, c, end));
      st(db, t, c, end);
    }
  });
}
static void k_layernorm_dparam(float *dw, float *db, const float *dy, const float *x, const float *mean,
                               const float *rstd, int64_t rows, int64_t n) {
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) layernorm_dparam_rows(dw, db, dy + r * n, x + r * n, mean + r, rstd + r, 4, n);
  for (; r < rows; r++) layernorm_dparam_rows(dw, db, dy + r * n, x + r * n, mean + r, rstd + r, 1, n);
}

/* Where the block from c on ends in memory: rows have room up to `room`, which mostly makes their last block whole. */
VI int64_t end_of(int64_t c, int64_t end, int64_t room) { return end - c >= 16 ? end : room; }

VI v16 ld_low(const float *p, int64_t c, int64_t n, int64_t room) { /* lanes from n on read as -inf */
  return n - c >= 16 ? v16_load(p + c) : v16_first(ld(p, c, room), n - c, v16_set(-__builtin_inff()));
}

static float row_max(const float *s, int64_t n, int64_t room) {
  const v16 low = v16_set(-__builtin_inff());
  v16 m0 = low, m1 = low, m2 = low, m3 = low;
  int64_t c = 0;
  for (; c + 64 <= n; c += 64) {
    m0 = v16_max(v16_load(s + c), m0);
    m1 = v16_max(v16_load(s + c + 16), m1);
    m2 = v16_max(v16_load(s + c + 32), m2);
    m3 = v16_max(v16_load(s + c + 48), m3);
  }
  if (c < n) m0 = v16_max(ld_low(s, c, n, room), m0);
  if (c + 16 < n) m1 = v16_max(ld_low(s, c + 16, n, room), m1);
  if (c + 32 < n) m2 = v16_max(ld_low(s, c + 32, n, room), m2);
  if (c + 48 < n) m3 = v16_max(ld_low(s, c + 48, n, room), m3);
  return v16_hmax(v16_max(v16_max(m0, m1), v16_max(m2, m3)));
}

/* s[c] = VALUE for each block from c on below n, +0 up to n_pad. VALUE reads up to `to`, within n_pad. */
#define EACH_PADDED(s, c, n, n_pad, VALUE)                                                                             \
  do {                                                                                                                 \
    int64_t c = 0;                                                                                                     \
    for (; c + 16 <= (n); c += 16) {                                                                                   \
      const int64_t to = c + 16;                                                                                       \
      st(s, VALUE, c, to);                                                                                             \
    }                                                                                                                  \
    if (c < (n)) {                                                                                                     \
      const int64_t to = (n_pad);                                                                                      \
      st(s, present(VALUE, (n) - c), c, to);                                                                           \
      c += 16;                                                                                                         \
    }                                                                                                                  \
    for (; c < (n_pad); c += 16) st(s, v16_set(0.f), c, n_pad);                                                        \
  } while (0)

/* Exponentials of a row whose sum is a NaN: makes them the NaN of the contract and returns it, which is their sum. */
static __attribute__((noinline)) float row_of_nan(float *e, int64_t n) {
  EACH(c, n, {
    const v16 x = ld(e, c, end);
    st(e, v16_select_nan(x, v16_nan(), x), c, end);
  });
  return contract_nan();
}

/* Rows go side by side, pass by pass: one alone is a chain (maximum, exponentials, sum, reciprocal) longer than a core
 * looks ahead. Some at a time, so that they stay in the first cache; a long row alone, in cross-entropy by pieces. Each
 * pass is a function of its own: its constants then have all registers. */
enum { SIDE_ROWS = 8, SIDE_FLOATS = 2048 };
/* Row r has n + r*grow elements. Its last block may be read, and that of e written, up to element `room`; of x no
 * further than `left` elements from x, where the array ends. e may be x. */
typedef struct side {
  int64_t rows, n, grow, room;
  const float *x;
  int64_t ldx, left;
  float *e;
  int64_t lde;
} side;
#define SIDE_PASS static __attribute__((noinline)) void
#define EACH_SIDE(g, r, n_) for (int64_t r = 0, n_ = (g)->n; r < (g)->rows; r++, n_ += (g)->grow)
VI int64_t side_room(const side *g, int64_t r) {
  const int64_t left = g->left - r * g->ldx;
  return left < g->room ? left : g->room;
}

SIDE_PASS side_max(const side *g, float *max) {
  EACH_SIDE(g, r, n) max[r] = row_max(g->x + r * g->ldx, n, side_room(g, r));
}

/* e[c] = exp((x[c] - max) * scale), +0 from n on. The last block is read and written whole where that is allowed: then
 * processors do not make a load wait for a partial store before it. Computed as (max - x) * -scale, the same bits but
 * for the sign of a zero, which e^0 does not see: so x is an operand in memory. */
SIDE_PASS side_exp(const side *g, float scale, const float *max) {
  const v16 k = v16_set(-scale);
  const int64_t ahead = g->rows * g->ldx; /* the rows after these, whose maxima are next */
  EACH_SIDE(g, r, n) {
    const float *x = g->x + r * g->ldx;
    float *e = g->e + r * g->lde;
    const v16 m = v16_set(max[r]);
    int64_t c = 0;
    for (; c + 16 <= n; c += 16) {
      __builtin_prefetch(x + c + ahead);
      v16_store(e + c, v16_exp_low(v16_mul(v16_sub(m, v16_load(x + c)), k)));
    }
    if (c == n) continue;
    const v16 last = v16_exp_low(v16_mul(v16_sub(m, ld(x, c, side_room(g, r))), k));
    st(e, present(last, n - c), c, g->room);
  }
}

#define ADD_E(a, c, end) a = v16_add(a, ld(e, c, end_of(c, end, room))); /* +0 behind n */
SIDE_PASS side_sum(const side *g, float *sum) {
  const int64_t room = g->room;
  EACH_SIDE(g, r, n) {
    float *e = g->e + r * g->lde;
    SUM64(sum[r], n, ADD_E);
    if (sum[r] != sum[r]) sum[r] = row_of_nan(e, n);
  }
}

static void k_softmax(float *s, const dd_rows *g, int64_t n_pad, float scale, float *max, float *inv_sum) {
  for (int64_t r0 = 0, rows; r0 < g->rows; r0 += rows) {
    rows = side_by_side(g->rows - r0, n_pad, SIDE_ROWS, SIDE_FLOATS);
    float *x = s + r0 * g->ld, sum[SIDE_ROWS];
    const side here = {.rows = rows, .n = g->n + r0 * g->grow, .grow = g->grow, .room = n_pad, .x = x, .ldx = g->ld,
                       .left = (rows - 1) * g->ld + n_pad, .e = x, .lde = g->ld};
    side_max(&here, max + r0);
    side_exp(&here, scale, max + r0);
    side_sum(&here, sum);
    EACH_SIDE(&here, r, n) {
      float *row = x + r * g->ld;
      inv_sum[r0 + r] = 1.f / sum[r];
      const v16 i = v16_set(inv_sum[r0 + r]);
      EACH_PADDED(row, c, n, n_pad, v16_mul(ld(row, c, to), i));
    }
  }
}

static void k_softmax_again(float *s, const dd_rows *g, int64_t n_pad, float scale, const float *max,
                            const float *inv_sum) {
  const v16 k = v16_set(-scale);
  EACH_SIDE(g, r, n) {
    float *row = s + r * g->ld;
    const v16 m = v16_set(max[r]), i = v16_set(inv_sum[r]);
    if (inv_sum[r] == inv_sum[r])
      EACH_PADDED(row, c, n, n_pad, v16_mul(v16_exp_low(v16_mul(v16_sub(m, ld(row, c, to)), k)), i));
    else EACH_PADDED(row, c, n, n_pad, v16_nan());
  }
}

static void k_softmax_backward(float *dp, const float *p, const dd_rows *g, int64_t n_pad, float scale) {
  const v16 k = v16_set(scale);
  float dot[SIDE_ROWS];
  for (int64_t r0 = 0, rows; r0 < g->rows; r0 += rows) {
    rows = side_by_side(g->rows - r0, 2 * n_pad, SIDE_ROWS, SIDE_FLOATS);
    const dd_rows here = {.rows = rows, .n = g->n + r0 * g->grow, .grow = g->grow};
    const float *of_p = p + r0 * g->ld;
    float *of_dp = dp + r0 * g->ld;
#define ADD_PD(s, c, end)                                                                                              \
  {                                                                                                                    \
    const int64_t to_ = end_of(c, end, n_pad);                                                                         \
    s = below(v16_fma(ld(pr, c, to_), ld(dr, c, to_), s), end - (c), s);                                               \
  }
    EACH_SIDE(&here, r, n) {
      const float *pr = of_p + r * g->ld, *dr = of_dp + r * g->ld;
      SUM64(dot[r], n, ADD_PD);
    }
    EACH_SIDE(&here, r, n) {
      const float *pr = of_p + r * g->ld;
      float *dr = of_dp + r * g->ld;
      const v16 d = v16_set(dot[r]);
      EACH_PADDED(dr, c, n, n_pad, v16_mul(v16_mul(ld(pr, c, to), v16_sub(ld(dr, c, to), d)), k));
    }
  }
}

/* Rows whose exponentials stay here: the last block of a row of logits cannot be written whole, and no logit may change
 * where the caller keeps them. The last block is read on into rows behind it, as far as there are some, and written on
 * into those of them whose turn is yet to come. */
static void xent_side(float *l, int64_t left, int64_t rows, int64_t v, const int32_t *targets, float g, float *max,
                      float *sum) {
  _Alignas(64) float e[SIDE_FLOATS];
  const int64_t whole = (v + 15) & ~(int64_t)15;
  const side here = {.rows = rows, .n = v, .room = whole, .x = l, .ldx = v, .left = left, .e = e, .lde = whole};
  side_max(&here, max);
  side_exp(&here, 1.f, max);
  side_sum(&here, sum);
  for (int64_t r = 0; r < rows && g > 0; r++) {
    float *row = l + r * v, *from = e + r * whole;
    const int64_t room = (rows - r) * v < whole ? v : whole;
    const float inv = 1.f / sum[r];
    const v16 i = v16_set(inv), k = v16_set(g);
    EACH(c, v, st(row, v16_mul(v16_mul(v16_load(from + c), i), k), c, end_of(c, end, room)););
    row[targets[r]] = (from[targets[r]] * inv - 1.f) * g;
  }
}

/* A long row, piece by piece: in place, or where the logits stay, in a piece of its own. */
static void xent_long(float *l, int64_t v, int64_t target, float g, float *max, float *sum) {
  _Alignas(64) float piece[SIDE_FLOATS];
  v16 s0 = v16_set(0.f), s1 = s0, s2 = s0, s3 = s0;
  *max = row_max(l, v, v);
  for (int64_t at = 0; at < v; at += SIDE_FLOATS) {
    const int64_t n = v - at < SIDE_FLOATS ? v - at : SIDE_FLOATS, room = n;
    float *e = g > 0 ? l + at : piece;
    side_exp(&(side){.rows = 1, .n = n, .room = n, .x = l + at, .ldx = n, .left = n, .e = e}, 1.f, max);
    SUM64_ON(s0, s1, s2, s3, n, ADD_E);
  }
  *sum = fold64(s0, s1, s2, s3);
  if (*sum != *sum) *sum = row_of_nan(l, g > 0 ? v : 0);
  if (!(g > 0)) return;
  const float inv = 1.f / *sum, hit = l[target] * inv - 1.f;
  const v16 i = v16_set(inv), k = v16_set(g);
  EACH(c, v, st(l, v16_mul(v16_mul(ld(l, c, end), i), k), c, end););
  l[target] = hit * g;
}

static void k_xent(float *l, int64_t rows, int64_t v, const int32_t *targets, float g, float *max, float *sum) {
  for (int64_t r = 0, n; r < rows; r += n) {
    n = side_by_side(rows - r, (v + 15) & ~(int64_t)15, SIDE_ROWS, SIDE_FLOATS);
    if (v > SIDE_FLOATS) xent_long(l + r * v, v, targets[r], g, max + r, sum + r);
    else xent_side(l + r * v, (rows - r) * v, n, v, targets + r, g, max + r, sum + r);
  }
}

static void k_adamw(float *p, float *m, float *v, const float *g, int64_t n, const dd_adamw *a) {
  const v16 b1 = v16_set(a->beta1), c1 = v16_set(a->one_minus_beta1), b2 = v16_set(a->beta2),
            c2 = v16_set(a->one_minus_beta2), decay = v16_set(a->decay), step = v16_set(a->step),
            isb = v16_set(a->inv_sqrt_bc2), eps = v16_set(a->eps), gs = v16_set(a->grad_scale);
  EACH(c, n, {
    v16 x = v16_mul(ld(g, c, end), gs);
    v16 mc = v16_fma(b1, ld(m, c, end), v16_mul(c1, x));
    v16 vc = v16_fma(b2, ld(v, c, end), v16_mul(v16_mul(c2, x), x));
    v16 d = v16_fma(v16_sqrt(vc), isb, eps);
    st(m, mc, c, end);
    st(v, vc, c, end);
    st(p, v16_fnma(step, v16_div(mc, d), v16_mul(ld(p, c, end), decay)), c, end);
  });
}

static double k_sumsq(const float *x, int64_t n) {
  d16 s0 = d16_zero(), s1 = s0, s2 = s0, s3 = s0;
  int64_t c = 0;
  for (; c + 64 <= n; c += 64) {
    s0 = d16_add_square(s0, v16_load(x + c));
    s1 = d16_add_square(s1, v16_load(x + c + 16));
    s2 = d16_add_square(s2, v16_load(x + c + 32));
    s3 = d16_add_square(s3, v16_load(x + c + 48));
  }
  if (c < n) s0 = d16_add_square(s0, ld(x, c, n));
  if (c + 16 < n) s1 = d16_add_square(s1, ld(x, c + 16, n));
  if (c + 32 < n) s2 = d16_add_square(s2, ld(x, c + 32, n));
  if (c + 48 < n) s3 = d16_add_square(s3, ld(x, c + 48, n));
  return d16_sum(d16_add(d16_add(s0, s1), d16_add(s2, s3)));
}

#include "gemv.h"

#define DD_ENTRY(ret, name, args) .name = k_##name,
const dd_kernels DD_TIER_TABLE = {
    .tier = DD_TIER_NAME, .mr = TILE_MR, .nr = TILE_NR, .kc = TILE_KC, DD_KERNELS(DD_ENTRY)};
