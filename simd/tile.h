/* Matrix tile and packing, for any tier that provides tv (a native vector of TW floats), TILE_MR, and tv_four(k, src,
 * rs): four k of TW rows, rs apart, as four vectors with a lane for each row.
 *
 * The micro-kernel holds mr x nv accumulators in named variables: arrays make compilers spill them. One function per
 * mr = 1..TILE_MR and nv = 1, 2 keeps ragged edges as fast as their rows allow. Each output is one chain over k. The
 * whole tile of x86 tiers is in tile_x86.h instead. */
#ifndef DD_TILE_H
#define DD_TILE_H
#include "simd.h"

#define TILE_NR (2 * TW)
#include "pack.h"
#define R1(X) X(0)
#define R2(X) R1(X) X(1)
#define R3(X) R2(X) X(2)
#define R4(X) R3(X) X(3)
#define R5(X) R4(X) X(4)
#define R6(X) R5(X) X(5)
#define R7(X) R6(X) X(6)
#define R8(X) R7(X) X(7)
#define R9(X) R8(X) X(8)
#define R10(X) R9(X) X(9)
#define R11(X) R10(X) X(10)
#define R12(X) R11(X) X(11)

#define T2_ZERO(i) tv p##i = tv_zero(), q##i = tv_zero();
#define T2_LOAD(i) p##i = tv_load(C##i), q##i = tv_load(C##i + TW);
#define T2_STEP(i)                                                                                                     \
  x = tv_bcast(a + i);                                                                                                 \
  p##i = tv_fma(x, y, p##i);                                                                                           \
  q##i = tv_fma(x, z, q##i);
#define T2_ADD(i) p##i = tv_add(tv_load(C##i), p##i), q##i = tv_add(tv_load(C##i + TW), q##i);
#define T2_STORE(i) tv_store(C##i, p##i), tv_store(C##i + TW, q##i);
#define T1_ZERO(i) tv p##i = tv_zero();
#define T1_LOAD(i) p##i = tv_load(C##i);
#define T1_STEP(i) p##i = tv_fma(tv_bcast(a + i), y, p##i);
#define T1_ADD(i) p##i = tv_add(tv_load(C##i), p##i);
#define T1_STORE(i) tv_store(C##i, p##i);

/* Rows of A in place: every third has a pointer, the others are found from it by one register that holds the stride. */
#define ROW0 a
#define ROW1 (a + as)
#define ROW2 (a + 2 * as)
#define ROW3 a3
#define ROW4 (a3 + as)
#define ROW5 (a3 + 2 * as)
#define ROW6 a6
#define ROW7 (a6 + as)
#define ROW8 (a6 + 2 * as)
#define ROW9 a9
#define ROW10 (a9 + as)
#define ROW11 (a9 + 2 * as)
#define C0 c
#define C1 (c + ldc)
#define C2 (c + 2 * ldc)
#define C3 c3
#define C4 (c3 + ldc)
#define C5 (c3 + 2 * ldc)
#define C6 c6
#define C7 (c6 + ldc)
#define C8 (c6 + 2 * ldc)
#define C9 c9
#define C10 (c9 + ldc)
#define C11 (c9 + 2 * ldc)
#define T2_ROW(i)                                                                                                      \
  x = tv_bcast(ROW##i);                                                                                                \
  p##i = tv_fma(x, y, p##i);                                                                                           \
  q##i = tv_fma(x, z, q##i);
#define T1_ROW(i) p##i = tv_fma(tv_bcast(ROW##i), y, p##i);

/* What the tiles of a product share, and what changes from one to the next. They fetch into the second cache the rows
 * of A that the next tile takes, and some of what the caller needs next. */
typedef struct tile_job {
#ifdef X_ROWS
  /* tile_x86.h makes these of those below, in bytes, and knows their order. */
  int64_t ldc4, from_c, add_c;
  int64_t rest, c_fours, fours; /* of k: beyond whole fours; in fours that fetch a row of C too; in all of them */
  int64_t eights;               /* in fours that do not, two by two */
  int64_t k_on, four_on, eight_on; /* of B's next: to what a k, a four, an eight fetches afterwards */
  int64_t wrap;                 /* of A's next rows: from the last ones back to the first, a line on */
  int64_t fetch;                /* a line of B's next 0: in an eight; 3: in a four; 1: and of A's; 2: four of B's */
  float *c;
  int64_t plain;                /* fetch where A's next is in a cache */
#endif
  const float *next_a, *next_b;
  int64_t per_k, per_tile; /* of next_b: from one k to the next, from one tile to the next */
  int64_t rows;            /* where B is copied: how many of its rows, per_k apart, a tile should fetch */
  int64_t kk, as, bs, ldc;
  dd_gemm_mode mode;
} tile_job;
#if TW >= 16 /* smaller tiles have no room for both in every k */
#define T_AHEAD __builtin_prefetch(fa, 0, 2), fa += as, __builtin_prefetch(fb, 0, 2), fb += job->per_k;
#else
#define T_AHEAD                                                                                                        \
  if (k & 1) __builtin_prefetch(fa, 0, 2), fa += 2 * as;                                                               \
  else __builtin_prefetch(fb, 0, 2), fb += 2 * job->per_k;
#endif
/* The same for rows in place: in sixteen k, a line of each row of the next tile. */
enum { ROWS_AHEAD = (TILE_MR + 3) / 4 };
#define T_AHEAD_ROWS                                                                                                   \
  if (k % 4 == 0) {                                                                                                    \
    const float *l_ = fa + (k / 4 % 4 * ROWS_AHEAD) * as + (k & ~(int64_t)15);                                         \
    __builtin_prefetch(l_, 0, 2), __builtin_prefetch(l_ + as, 0, 2);                                                   \
    if (ROWS_AHEAD > 2) __builtin_prefetch(l_ + 2 * as, 0, 2);                                                         \
  }                                                                                                                    \
  __builtin_prefetch(fb, 0, 2), fb += job->per_k;

/* c is fetched while the products run: it is often in the second cache or beyond. */
#define T_FETCH(i) __builtin_prefetch(C##i, 1);
#define T2_FETCH(i) __builtin_prefetch(C##i, 1), __builtin_prefetch(C##i + TILE_NR - 1, 1);

typedef void tile_fn(const float *a, const float *b, float *c, tile_job *job);
#define TILE_BODY(name, R, V, STEP, BEFORE, AHEAD, NEXT)                                                               \
  static void name(const float *a, const float *b, float *c, tile_job *job) {                                          \
    const float *fa = job->next_a, *fb = job->next_b;                                                                  \
    const int64_t kk = job->kk, as = job->as, bs = job->bs;                                                            \
    int64_t ldc = job->ldc;                                                                                            \
    const dd_gemm_mode mode = job->mode;                                                                               \
    float *c3 = c + 3 * ldc, *c6 = c + 6 * ldc, *c9 = c + 9 * ldc;                                                     \
    BEFORE                                                                                                             \
    R(V##_ZERO) if (mode == DD_GEMM_CONTINUE) { R(V##_LOAD) }                                                          \
    else {R(V##_FETCH)}(void)fa, (void)fb;                                                                             \
    for (int64_t k = 0; k < kk; k++, b += bs) { V##_B AHEAD R(STEP) NEXT }                                             \
    __asm__("" : "+r"(c), "+r"(ldc)); /* or gcc keeps the addresses of all rows from above, in memory */               \
    c3 = c + 3 * ldc, c6 = c + 6 * ldc, c9 = c + 9 * ldc;                                                              \
    if (mode == DD_GEMM_ADD) { R(V##_ADD) }                                                                            \
    R(V##_STORE)                                                                                                       \
    (void)c3, (void)c6, (void)c9;                                                                                      \
  }
#define T2_B tv x, y = tv_load(b), z = tv_load(b + TW);
#define T1_B tv y = tv_load(b);
#define T1_FETCH T_FETCH
#define ROWS_FROM                                                                                                      \
  const float *a3 = a + 3 * as, *a6 = a + 6 * as, *a9 = a + 9 * as;                                                    \
  (void)a3, (void)a6, (void)a9;
#define ROWS_NEXT a++, a3++, a6++, a9++;
#define TILE_FN_1(mr, R)                                                                                               \
  TILE_BODY(tile_##mr##x1, R, T1, T1_STEP, , , a += as;)                                                               \
  TILE_BODY(rows_##mr##x1, R, T1, T1_ROW, ROWS_FROM, , ROWS_NEXT)
#define TILE_FN(mr, R)                                                                                                 \
  TILE_FN_1(mr, R)                                                                                                     \
  TILE_BODY(tile_##mr##x2, R, T2, T2_STEP, , T_AHEAD, a += as;)                                                        \
  TILE_BODY(rows_##mr##x2, R, T2, T2_ROW, ROWS_FROM, T_AHEAD_ROWS, ROWS_NEXT)

TILE_FN(1, R1)
TILE_FN(2, R2) TILE_FN(3, R3) TILE_FN(4, R4) TILE_FN(5, R5)
#if TILE_MR > 6
TILE_FN(6, R6) TILE_FN(7, R7) TILE_FN(8, R8) TILE_FN(9, R9) TILE_FN(10, R10) TILE_FN(11, R11)
#define TILE_WHOLE(FN) FN(12, R12)
#else
#define TILE_WHOLE(FN) FN(6, R6)
#endif
#ifdef X_ROWS
#include "tile_x86.h"
TILE_WHOLE(TILE_FN_1)
#else
static void tile_prepare(tile_job *j) { (void)j; }
VI void tile_fetch(tile_job *j, int fetch_a) { (void)j, (void)fetch_a; }
TILE_WHOLE(TILE_FN)
#endif

/* By rows of A, vectors of B, and whether A lies in rows. */
#define TILES(mr)                                                                                                      \
  {                                                                                                                    \
    {tile_##mr##x1, tile_##mr##x2}, { rows_##mr##x1, rows_##mr##x2 }                                                   \
  }
static tile_fn *const tile_of[TILE_MR][2][2] = {
    TILES(1), TILES(2), TILES(3), TILES(4),  TILES(5),  TILES(6),
#if TILE_MR > 6
    TILES(7), TILES(8), TILES(9), TILES(10), TILES(11), TILES(12),
#endif
};

/* A column edge: run the tile on a private copy of C, so that nothing beyond the n columns is touched. Not inlined: the
 * copy would be part of every product's frame. */
static __attribute__((noinline)) void tile_edge(tile_fn *fn, int64_t mr, int64_t nc, const float *a, const float *b,
                                                float *c, const tile_job *job) {
  _Alignas(64) float t[TILE_MR * TILE_NR] = {0};
  tile_job j = *job;
  j.ldc = TILE_NR;
  tile_prepare(&j);
  if (j.mode != DD_GEMM_SET)
    for (int64_t i = 0; i < mr; i++) memcpy(t + i * TILE_NR, c + i * job->ldc, (size_t)nc * sizeof *c);
  fn(a, b, t, &j);
  for (int64_t i = 0; i < mr; i++) memcpy(c + i * job->ldc, t + i * TILE_NR, (size_t)nc * sizeof *c);
}

/* One last column, as of a vocabulary of 65, on which tiles would spend whole vectors: rows of A become lanes, four
 * vectors of them because one sum waits for itself. m >= NARROW; some of the last rows are taken twice. */
enum { NARROW = 4 * TW };
static void tile_narrow(int64_t m, int64_t kk, const float *a, int64_t as, const float *b, int64_t bs, float *c,
                        int64_t ldc, dd_gemm_mode mode) {
  for (int64_t done = 0; done < m;) {
    const int64_t i = done < m - NARROW ? done : m - NARROW;
    const float *rows = a + i * as;
    float lane[NARROW] = {0};
    for (int64_t r = 0; r < NARROW && mode == DD_GEMM_CONTINUE; r++) lane[r] = c[(i + r) * ldc];
    tv sum[4], x[4];
    for (int v = 0; v < 4; v++) sum[v] = tv_load(lane + v * TW);
    int64_t k = 0;
    for (; k + 4 <= kk; k += 4)
      for (int v = 0; v < 4; v++) {
        tv_four(x, rows + v * TW * as + k, as);
        for (int q = 0; q < 4; q++) sum[v] = tv_fma(x[q], tv_bcast(b + (k + q) * bs), sum[v]);
      }
    for (; k < kk; k++) {
      for (int64_t r = 0; r < NARROW; r++) lane[r] = rows[r * as + k];
      for (int v = 0; v < 4; v++) sum[v] = tv_fma(tv_load(lane + v * TW), tv_bcast(b + k * bs), sum[v]);
    }
    for (int v = 0; v < 4; v++) tv_store(lane + v * TW, sum[v]);
    for (; done < i + NARROW; done++) {
      float *to = c + done * ldc;
      *to = mode == DD_GEMM_ADD ? *to + lane[done - i] : lane[done - i];
    }
  }
}

/* Lets tiles fetch what the caller needs next of B, from its beginning; each of them moves it on. Where B has a copy,
 * they fetch rows of its next panel: a fourth of them the tile that copies, so many `others` the rest. */
static void tile_stream(tile_job *j, const dd_operand *b, int64_t others) {
  j->next_b = b->data;
  j->per_k = j->per_tile = j->rows = 0;
  if (b->copy) {
    j->per_k = b->step;
    j->rows = others ? (j->kk - j->kk / 4) / others + 1 : j->kk;
    j->per_tile = j->rows * b->step;
  } else if (b->next) {
    const int64_t share = b->next_k ? b->next_k : j->kk ? b->next_step / j->kk : 0;
    j->next_b = b->next;
    j->per_k = share < 1 ? 1 : share;
    j->per_tile = b->next_step;
  }
  tile_prepare(j);
}

/* Leaves a panel of B in `copy`, and returns the rows of A whose tile did that. */
VI int64_t tile_copy(int64_t m, int64_t nc, const float *a, int lanes, const float *b, float *c, tile_job *j,
                     float *copy) {
#ifdef X_ROWS
  if (lanes && m >= TILE_MR && nc == TILE_NR) {
    tile_copying(a, b, c, j, copy);
    return TILE_MR;
  }
#endif
  (void)m, (void)a, (void)lanes, (void)c;
  pack_panels(copy, TILE_NR, nc, j->kk, b, 1, j->per_k);
  return 0;
}

/* The first panel of B, of nc columns, and all panels of A but the first, which is packed already because a tile may
 * have to copy B with it. The tiles leave them packed; those that cannot, at the edges, find them packed. */
static void tiles_leaving(int64_t m, int64_t nc, const dd_operand *a, const float *b, float *c, tile_job *j) {
  const float *ap = a->data + a->panel;
  float *copy = a->copy + TILE_MR * j->kk;
  c += TILE_MR * j->ldc;
  for (int64_t left = m - TILE_MR; left > 0; left -= TILE_MR, ap += a->panel, c += TILE_MR * j->ldc) {
    const int64_t mr = left < TILE_MR ? left : TILE_MR;
    tile_fn *const fn = tile_of[mr - 1][0][nc > TW];
    j->next_a = ap + a->panel;
#ifdef X_ROWS
    if (left >= TW && nc == TILE_NR) {
      tile_job in_place = *j;
      in_place.as = a->step;
      in_place.next_a += TILE_MR - 1;
      tile_leaving(ap, b, c, &in_place, copy);
    } else
#endif
    {
      pack_panels(copy, TILE_MR, mr, j->kk, ap, 1, a->step);
      if (nc == TILE_NR || nc == TW) fn(copy, b, c, j);
      else tile_edge(fn, mr, nc, copy, b, c, j);
    }
    copy += TILE_MR * j->kk;
    j->next_b += j->per_tile;
  }
}

/* Of A is fetched what is not in a cache already: rows for the first panel of B, lanes of other lines but by a tile
 * that copies (by one that leaves them packed, lanes always), nothing packed. Little happens between two tiles, because
 * one of attention's takes 200 cycles. */
static void k_gemm_strided(int64_t m, int64_t n, int64_t kk, const dd_operand *a, const dd_operand *b, float *c,
                           int64_t ldc, dd_gemm_mode mode) {
  const dd_operand packed = {.data = a->copy, .step = TILE_MR, .panel = TILE_MR * kk};
  const dd_operand rows = a->copy ? packed : *a;
  const float *bp = b->data;
  const int in_rows = rows.lane != 0;
  const int64_t as = in_rows ? rows.lane : rows.step, last = in_rows ? 0 : TILE_MR - 1;
  const int strided = !in_rows && as != TILE_MR;
  tile_job job = {.kk = kk, .as = as, .bs = b->copy ? TILE_NR : b->step, .ldc = ldc, .mode = mode};
  tile_stream(&job, b, (m - 1) / TILE_MR);
  for (int64_t j = 0; j < n; j += TILE_NR, bp += b->panel) {
    const int64_t nc = n - j < TILE_NR ? n - j : TILE_NR;
    const int vectors = nc > TW, direct = nc == TILE_NR || nc == TW;
    tile_fn *const whole = tile_of[TILE_MR - 1][in_rows][vectors];
    const float *ap = rows.data, *panel = bp;
    float *cp = c + j;
    int64_t left = m, end = 0;
    if (nc == 1 && m >= NARROW && in_rows && rows.panel == TILE_MR * as) {
      tile_narrow(m, kk, ap, as, bp, b->step, cp, ldc, mode);
      break;
    }
    if (a->copy && j == 0) {
      end = m < TILE_MR ? 0 : m - TILE_MR;
      pack_panels(a->copy, TILE_MR, m - end, kk, a->data, 1, a->step);
    }
    if (b->copy && m > 0) {
      panel = b->copy;
      job.next_b = j + TILE_NR < n ? bp + b->panel : b->next ? b->next : bp;
      const int64_t done = tile_copy(m, nc, ap, !in_rows, bp, cp, &job, b->copy);
      if (done) job.next_b += kk / 4 * b->step;
      left -= done, ap += done / TILE_MR * rows.panel, cp += done * ldc;
    }
    tile_fetch(&job, in_rows && j == 0);
    for (; left > end; left -= TILE_MR, ap += rows.panel, cp += TILE_MR * ldc) {
      const int64_t mr = left < TILE_MR ? left : TILE_MR;
      tile_fn *const fn = mr == TILE_MR ? whole : tile_of[mr - 1][in_rows][vectors];
      job.next_a = ap + rows.panel + last;
      if (strided) tile_fetch(&job, ((uintptr_t)job.next_a ^ (uintptr_t)(ap + last)) >= 64);
      if (direct) fn(ap, panel, cp, &job);
      else tile_edge(fn, mr, nc, ap, panel, cp, &job);
      job.next_b += job.per_tile;
    }
    if (end) tiles_leaving(m, nc, a, panel, c + j, &job);
  }
}

static void k_gemm(int64_t m, int64_t n, int64_t kk, const float *a, const float *b, float *c, int64_t ldc,
                   dd_gemm_mode mode) {
  /* While the rows pass one panel of B, the next one comes. */
  const int64_t panel = TILE_NR * kk, tiles = (m + TILE_MR - 1) / TILE_MR;
  const dd_operand rows = {.data = a, .step = TILE_MR, .panel = TILE_MR * kk};
  const dd_operand cols = {
      .data = b, .step = TILE_NR, .panel = panel, .next = b + panel, .next_step = panel / (tiles + !tiles)};
  k_gemm_strided(m, n, kk, &rows, &cols, c, ldc, mode);
}

/* Twelve independent chains on operands that stay in registers. They start from different memory, or a compiler would
 * see one chain twelve times. */
static double k_peak(int64_t iters, float *sink) {
  tv x = tv_bcast(sink), y = tv_bcast(sink + 1);
#define T2_FROM(i) tv p##i = tv_bcast(sink + 2 + i), q##i = tv_bcast(sink + 8 + i);
  R6(T2_FROM)
  for (int64_t i = 0; i < iters; i++) {
#define T2_PEAK(i) p##i = tv_fma(x, y, p##i), q##i = tv_fma(x, y, q##i);
    R6(T2_PEAK)
  }
#define T2_SUM(i) x = tv_add(x, tv_add(p##i, q##i));
  R6(T2_SUM)
  float out[TW];
  tv_store(out, x);
  sink[0] = out[0];
  return 2.0 * TW * 12 * (double)iters;
}
#endif
