/* Matrix tile and packing, for any tier that provides tv (a native vector of TW floats) and TILE_MR.
 *
 * The micro-kernel holds mr x nv accumulators in named variables: arrays make compilers spill them. One function per
 * mr = 1..TILE_MR and nv = 1, 2 keeps ragged edges as fast as their rows allow. Each output is one chain over k. */
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
#define T2_LOAD(i) p##i = tv_load(c + i * ldc), q##i = tv_load(c + i * ldc + TW);
#define T2_STEP(i)                                                                                                     \
  x = tv_bcast(a + i);                                                                                                 \
  p##i = tv_fma(x, y, p##i);                                                                                           \
  q##i = tv_fma(x, z, q##i);
#define T2_ADD(i) p##i = tv_add(tv_load(c + i * ldc), p##i), q##i = tv_add(tv_load(c + i * ldc + TW), q##i);
#define T2_STORE(i) tv_store(c + i * ldc, p##i), tv_store(c + i * ldc + TW, q##i);
#define T1_ZERO(i) tv p##i = tv_zero();
#define T1_LOAD(i) p##i = tv_load(c + i * ldc);
#define T1_STEP(i) p##i = tv_fma(tv_bcast(a + i), y, p##i);
#define T1_ADD(i) p##i = tv_add(tv_load(c + i * ldc), p##i);
#define T1_STORE(i) tv_store(c + i * ldc, p##i);

/* What to fetch into the second cache while a tile runs: the rows of A that the next tile takes, and some of what the
 * caller needs next. Small tiles have no room for both in every k. */
typedef struct ahead {
  const float *a, *b;
  int64_t step; /* of b, per k */
} ahead;
#if TW >= 16
#define T_AHEAD __builtin_prefetch(fa, 0, 2), fa += as, __builtin_prefetch(fb, 0, 2), fb += f->step;
#else
#define T_AHEAD                                                                                                        \
  if (k & 1) __builtin_prefetch(fa, 0, 2), fa += 2 * as;                                                               \
  else __builtin_prefetch(fb, 0, 2), fb += 2 * f->step;
#endif

/* c is fetched while the products run: it is often in the second cache or beyond. */
#define T_FETCH(i) __builtin_prefetch(c + i * ldc, 1);
#define T2_FETCH(i) __builtin_prefetch(c + i * ldc, 1), __builtin_prefetch(c + i * ldc + TILE_NR - 1, 1);

#define TILE_FN(mr, R)                                                                                                 \
  static void tile_##mr##x2(int64_t kk, const float *a, int64_t as, const float *b, int64_t bs, float *c, int64_t ldc, \
                            dd_gemm_mode mode, const ahead *f) {                                                       \
    const float *fa = f->a, *fb = f->b;                                                                                \
    R(T2_ZERO) if (mode == DD_GEMM_CONTINUE) { R(T2_LOAD) }                                                            \
    else { R(T2_FETCH) }                                                                                               \
    for (int64_t k = 0; k < kk; k++, a += as, b += bs) {                                                               \
      tv x, y = tv_load(b), z = tv_load(b + TW);                                                                       \
      T_AHEAD                                                                                                          \
      R(T2_STEP)                                                                                                       \
    }                                                                                                                  \
    if (mode == DD_GEMM_ADD) { R(T2_ADD) }                                                                             \
    R(T2_STORE)                                                                                                        \
  }                                                                                                                    \
  static void tile_##mr##x1(int64_t kk, const float *a, int64_t as, const float *b, int64_t bs, float *c, int64_t ldc, \
                            dd_gemm_mode mode, const ahead *f) {                                                       \
    const float *fa = f->a, *fb = f->b;                                                                                \
    R(T1_ZERO) if (mode == DD_GEMM_CONTINUE) { R(T1_LOAD) }                                                            \
    else { R(T_FETCH) }                                                                                                \
    (void)fa, (void)fb;                                                                                                \
    for (int64_t k = 0; k < kk; k++, a += as, b += bs) {                                                               \
      tv y = tv_load(b);                                                                                               \
      R(T1_STEP)                                                                                                       \
    }                                                                                                                  \
    if (mode == DD_GEMM_ADD) { R(T1_ADD) }                                                                             \
    R(T1_STORE)                                                                                                        \
  }

TILE_FN(1, R1) TILE_FN(2, R2) TILE_FN(3, R3) TILE_FN(4, R4) TILE_FN(5, R5) TILE_FN(6, R6)
#if TILE_MR > 6
TILE_FN(7, R7) TILE_FN(8, R8) TILE_FN(9, R9) TILE_FN(10, R10) TILE_FN(11, R11) TILE_FN(12, R12)
#endif

typedef void tile_fn(int64_t, const float *, int64_t, const float *, int64_t, float *, int64_t, dd_gemm_mode,
                     const ahead *);
static tile_fn *const tile_of[TILE_MR][2] = {
    {tile_1x1, tile_1x2}, {tile_2x1, tile_2x2}, {tile_3x1, tile_3x2},
    {tile_4x1, tile_4x2}, {tile_5x1, tile_5x2}, {tile_6x1, tile_6x2},
#if TILE_MR > 6
    {tile_7x1, tile_7x2}, {tile_8x1, tile_8x2}, {tile_9x1, tile_9x2},
    {tile_10x1, tile_10x2}, {tile_11x1, tile_11x2}, {tile_12x1, tile_12x2},
#endif
};

/* A column edge: run the tile on a private copy of C, so that nothing beyond the n columns is touched. */
static void tile_edge(int64_t mr, int64_t nc, int64_t kk, const float *a, int64_t as, const float *b, int64_t bs,
                      float *c, int64_t ldc, dd_gemm_mode mode, const ahead *f) {
  _Alignas(64) float t[TILE_MR * TILE_NR] = {0};
  const int nv = nc > TW;
  if (mode != DD_GEMM_SET)
    for (int64_t i = 0; i < mr; i++) memcpy(t + i * TILE_NR, c + i * ldc, (size_t)nc * sizeof *c);
  tile_of[mr - 1][nv](kk, a, as, b, bs, t, TILE_NR, mode, f);
  for (int64_t i = 0; i < mr; i++) memcpy(c + i * ldc, t + i * TILE_NR, (size_t)nc * sizeof *c);
}

/* One last column, as of a vocabulary of 65: lanes are rows of packed A, a few panels side by side, because a tile would
 * spend whole vectors on it. Lanes beyond MR belong to the next k and are not stored; the last k has none to spare. */
enum { NARROW = 4, PANEL_VECS = (TILE_MR + TW - 1) / TW, PANEL_LANES = PANEL_VECS * TW };
static void narrow_group(int64_t panels, int64_t m, int64_t kk, const float *a, const float *b, int64_t bs, float *c,
                         int64_t ldc, dd_gemm_mode mode) {
  float lane[NARROW][PANEL_LANES] = {{0}};
  tv sum[NARROW][PANEL_VECS];
  for (int64_t i = 0; i < m && mode == DD_GEMM_CONTINUE; i++) lane[i / TILE_MR][i % TILE_MR] = c[i * ldc];
  for (int p = 0; p < NARROW; p++)
    for (int v = 0; v < PANEL_VECS; v++) sum[p][v] = tv_load(lane[p] + v * TW);
  const float *row[NARROW];
  for (int p = 0; p < NARROW; p++) row[p] = a + (p < panels ? p : 0) * TILE_MR * kk;
  for (int64_t k = 0; k < kk - 1; k++) {
    const tv y = tv_bcast(b + k * bs);
    for (int p = 0; p < NARROW; p++)
      for (int v = 0; v < PANEL_VECS; v++)
        sum[p][v] = tv_fma(tv_load(row[p] + k * TILE_MR + v * TW), y, sum[p][v]);
  }
  for (int p = 0; p < NARROW && kk > 0; p++) {
    float last[PANEL_LANES] = {0};
    memcpy(last, row[p] + (kk - 1) * TILE_MR, TILE_MR * sizeof *last);
    for (int v = 0; v < PANEL_VECS; v++)
      sum[p][v] = tv_fma(tv_load(last + v * TW), tv_bcast(b + (kk - 1) * bs), sum[p][v]);
  }
  for (int p = 0; p < NARROW; p++)
    for (int v = 0; v < PANEL_VECS; v++) tv_store(lane[p] + v * TW, sum[p][v]);
  for (int64_t i = 0; i < m; i++) {
    const float s = lane[i / TILE_MR][i % TILE_MR];
    c[i * ldc] = mode == DD_GEMM_ADD ? c[i * ldc] + s : s;
  }
}

static void tile_narrow(int64_t m, int64_t kk, const float *a, const float *b, int64_t bs, float *c, int64_t ldc,
                        dd_gemm_mode mode) {
  for (int64_t i = 0; i < m; i += NARROW * TILE_MR) {
    const int64_t rows = m - i < NARROW * TILE_MR ? m - i : NARROW * TILE_MR;
    narrow_group((rows + TILE_MR - 1) / TILE_MR, rows, kk, a + i * kk, b, bs, c + i * ldc, ldc, mode);
  }
}

static void k_gemm_strided(int64_t m, int64_t n, int64_t kk, const dd_operand *a, const dd_operand *b, float *c,
                           int64_t ldc, dd_gemm_mode mode) {
  const float *bp = b->data, *next = b->next ? b->next : bp;
  const int64_t share = b->next_k ? b->next_k : kk ? b->next_step / kk : 0, step = b->next ? share < 1 ? 1 : share : 0;
  for (int64_t j = 0; j < n; j += TILE_NR, bp += b->panel) {
    const int64_t nc = n - j < TILE_NR ? n - j : TILE_NR;
    const float *ap = a->data;
    if (nc == 1 && a->step == TILE_MR && a->panel == TILE_MR * kk) {
      tile_narrow(m, kk, ap, bp, b->step, c + j, ldc, mode);
      break;
    }
    for (int64_t i = 0; i < m; i += TILE_MR, ap += a->panel) {
      const int64_t mr = m - i < TILE_MR ? m - i : TILE_MR;
      float *cp = c + i * ldc + j;
      const ahead f = {ap + a->panel + TILE_MR - 1, next, step};
      if (b->next) next += b->next_step;
      if (nc == TILE_NR || nc == TW) tile_of[mr - 1][nc > TW](kk, ap, a->step, bp, b->step, cp, ldc, mode, &f);
      else tile_edge(mr, nc, kk, ap, a->step, bp, b->step, cp, ldc, mode, &f);
    }
  }
}

static void k_gemm(int64_t m, int64_t n, int64_t kk, const float *a, const float *b, float *c, int64_t ldc,
                   dd_gemm_mode mode) {
  /* While the rows pass one panel of B, the next one comes. */
  const int64_t panel = TILE_NR * kk, tiles = (m + TILE_MR - 1) / TILE_MR;
  const dd_operand rows = {.data = a, .step = TILE_MR, .panel = TILE_MR * kk};
  const dd_operand cols = {.data = b,
                           .step = TILE_NR,
                           .panel = panel,
                           .next = b + panel,
                           .next_step = panel / (tiles + !tiles)};
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
