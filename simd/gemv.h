/* Products of a few vectors with a matrix, for generation, in any tier that provides v16 and the functions of 16-bit
 * integers named below. Included by template.h.
 *
 * Lanes are outputs, so no sum crosses lanes and every output is one chain over k. A tile of R rows of x and U units of
 * 16 outputs keeps R x U accumulators in named variables (arrays make compilers spill them). One row is the case that
 * counts: it runs at the speed of memory, and prefetches the stream of weights a little ahead; with more rows each
 * weight is used R times from registers. The tier says how large a tile its registers hold (GEMV_ROWS x GEMV_UNITS, or
 * four units in all; GEMV_ROWS_BF16 where that is fewer). */
#ifndef DD_GEMV_H
#define DD_GEMV_H
#include "simd.h"

typedef struct gemv_args { /* of one tile: as in simd.h */
  float *out;
  int64_t ldo, n, kk, ldx, ldw;
  const void *x, *w;
  const float *xscale, *wscale;
  const char *next; /* prefetch from here, moving by next_step for each row of weights */
  int64_t next_step;
  int on; /* sums go on from what is in out */
} gemv_args;

/* k of many rows at a time: what several passes read of the weights then stays in the second cache. */
enum { GEMV_KC = 384 };
enum { GEMV_AHEAD = 8192 }; /* bytes; 2 KiB is a fifth slower with bf16, 16 KiB with int8; f32 is indifferent */

#define GEMV_U1(M, r) M(r, 0)
#define GEMV_U2(M, r) GEMV_U1(M, r) M(r, 1)
#define GEMV_U3(M, r) GEMV_U2(M, r) M(r, 2)
#define GEMV_U4(M, r) GEMV_U3(M, r) M(r, 3)
#define GEMV_R1(M, U) M(0, U)
#define GEMV_R2(M, U) GEMV_R1(M, U) M(1, U)
#define GEMV_R3(M, U) GEMV_R2(M, U) M(2, U)
#define GEMV_R4(M, U) GEMV_R3(M, U) M(3, U)
#define GEMV_R5(M, U) GEMV_R4(M, U) M(4, U)
#define GEMV_R6(M, U) GEMV_R5(M, U) M(5, U)

#define GEMV_EACH(r, U) U(GEMV_DO, r)
#define GEMV_PREFETCH_one(w, bytes)                                                                                    \
  for (int c_ = 0; c_ < (bytes); c_ += 64) __builtin_prefetch((const char *)(w) + GEMV_AHEAD + c_)
#define GEMV_PREFETCH_many(w, bytes)                                                                                   \
  for (int c_ = 0; c_ < (bytes); c_ += 64) __builtin_prefetch(next + c_, 0, 2);                                        \
  next += next_step

/* One step of k. `many`: the weights of all units, then row by row; `one` row: unit by unit, in fewer registers. */
#define F32_STEP_one(R, U, load)                                                                                       \
  {                                                                                                                    \
    const v16 xk = v16_set(x[k]);                                                                                      \
    U(load##_FMA, 0)                                                                                                   \
  }
#define F32_STEP_many(R, U, load)                                                                                      \
  {                                                                                                                    \
    U(load, 0)                                                                                                         \
    R(F32_ROW, U)                                                                                                      \
  }
#define F32_ROW(r, U)                                                                                                  \
  {                                                                                                                    \
    const v16 xk = v16_set(x[r * ldx + k]);                                                                            \
    U(F32_FMA, r)                                                                                                      \
  }
#define F32_FMA(r, u) s##r##u = v16_fma(xk, w##u, s##r##u);

/* f32 */
#define F32_ZERO(r, u) v16 s##r##u = v16_set(0.f);
#define F32_ZEROS(r, U) U(F32_ZERO, r)
#define F32_BEFORE(r, u) s##r##u = ld(g->out + r * g->ldo, 16 * u, g->n);
#define F32_BEFORES(r, U) U(F32_BEFORE, r)
#define F32_BEGIN_one(R, U) R(F32_ZEROS, U)
#define F32_BEGIN_many(R, U) R(F32_ZEROS, U) if (g->on) { R(F32_BEFORES, U) }
#define F32_LOAD(r, u) const v16 w##u = v16_load(w + 16 * u);
#define F32_LOAD_FMA(r, u) s##r##u = v16_fma(xk, v16_load(w + 16 * u), s##r##u);
#define F32_STORE(r, u) st(g->out + r * g->ldo, s##r##u, 16 * u, g->n);
#define F32_STORES(r, U) U(F32_STORE, r)
#define F32_TILE(name, R, U, units, rows)                                                                              \
  static void name(const gemv_args *g) {                                                                               \
    const float *x = g->x, *w = g->w;                                                                                  \
    const char *next = g->next;                                                                                        \
    const int64_t ldx = g->ldx, ldw = g->ldw, next_step = g->next_step;                                                \
    F32_BEGIN_##rows(R, U)                                                                                             \
    for (int64_t k = 0; k < g->kk; k++, w += ldw) {                                                                    \
      GEMV_PREFETCH_##rows(w, 64 * units);                                                                             \
      F32_STEP_##rows(R, U, F32_LOAD)                                                                                  \
    }                                                                                                                  \
    R(F32_STORES, U)                                                                                                   \
    (void)ldx, (void)next, (void)next_step;                                                                            \
  }

/* bf16: even k, then odd k, of each pair */
#define BF16_EVEN(r, u) const v16 w##u = v16_bf16_even(w + 32 * u);
#define BF16_EVEN_FMA(r, u) s##r##u = v16_fma(xk, v16_bf16_even(w + 32 * u), s##r##u);
#define BF16_ODD(r, u) const v16 w##u = v16_bf16_odd(w + 32 * u);
#define BF16_ODD_FMA(r, u) s##r##u = v16_fma(xk, v16_bf16_odd(w + 32 * u), s##r##u);
#define BF16_TILE(name, R, U, units, rows)                                                                             \
  static void name(const gemv_args *g) {                                                                               \
    const float *x = g->x;                                                                                             \
    const uint16_t *w = g->w;                                                                                          \
    const char *next = g->next;                                                                                        \
    const int64_t ldx = g->ldx, ldw = g->ldw, next_step = g->next_step;                                                \
    int64_t k = 0;                                                                                                     \
    F32_BEGIN_##rows(R, U)                                                                                             \
    for (; k + 1 < g->kk; k++, w += ldw) {                                                                             \
      GEMV_PREFETCH_##rows(w, 64 * units);                                                                             \
      F32_STEP_##rows(R, U, BF16_EVEN)                                                                                 \
      k++;                                                                                                             \
      F32_STEP_##rows(R, U, BF16_ODD)                                                                                  \
    }                                                                                                                  \
    if (k < g->kk) F32_STEP_##rows(R, U, BF16_EVEN)                                                                    \
    R(F32_STORES, U)                                                                                                   \
    (void)ldx, (void)next, (void)next_step;                                                                            \
  }

/* int8 x int16: pairs of k in one multiply-add */
#define I8_ZERO(r, u) i32x16 s##r##u = i32x16_zero();
#define I8_ZEROS(r, U) U(I8_ZERO, r)
#define I8_LOAD(r, u) const i16x32 w##u = i16x32_widen(w + 32 * u);
#define I8_MADD(r, u) s##r##u = i32x16_madd(s##r##u, w##u, xk);
#define I8_LOAD_MADD(r, u) s##r##u = i32x16_madd(s##r##u, i16x32_widen(w + 32 * u), xk);
#define I8_ROW(r, U)                                                                                                   \
  {                                                                                                                    \
    int32_t xk;                                                                                                        \
    memcpy(&xk, x + r * ldx + k, sizeof xk);                                                                           \
    U(I8_MADD, r)                                                                                                      \
  }
#define I8_STEP_one(R, U)                                                                                              \
  {                                                                                                                    \
    int32_t xk;                                                                                                        \
    memcpy(&xk, x + k, sizeof xk);                                                                                     \
    U(I8_LOAD_MADD, 0)                                                                                                 \
  }
#define I8_STEP_many(R, U)                                                                                             \
  {                                                                                                                    \
    U(I8_LOAD, 0)                                                                                                      \
    R(I8_ROW, U)                                                                                                       \
  }
#define I8_STORE(r, u)                                                                                                 \
  {                                                                                                                    \
    v16 f = v16_from_i32(s##r##u);                                                                                     \
    if (k0) f = v16_add(ld(g->out + r * g->ldo, 16 * u, g->n), f);                                                     \
    if (end == g->kk) f = v16_mul(f, v16_mul(ld(g->wscale, 16 * u, g->n), v16_set(g->xscale[r])));                     \
    st(g->out + r * g->ldo, f, 16 * u, g->n);                                                                          \
  }
#define I8_STORES(r, U) U(I8_STORE, r)
#define I8_TILE(name, R, U, units, rows)                                                                               \
  static void name(const gemv_args *g) {                                                                               \
    const int16_t *x = g->x;                                                                                           \
    const int8_t *w = g->w;                                                                                            \
    const char *next = g->next;                                                                                        \
    const int64_t ldx = g->ldx, ldw = g->ldw, next_step = g->next_step;                                                \
    for (int64_t k0 = 0, end; k0 < g->kk; k0 = end) {                                                                  \
      end = g->kk - k0 < DD_GEMV_CHUNK ? g->kk : k0 + DD_GEMV_CHUNK;                                                   \
      R(I8_ZEROS, U)                                                                                                   \
      for (int64_t k = k0; k < end; k += 2, w += ldw) {                                                                \
        GEMV_PREFETCH_##rows(w, 32 * units);                                                                           \
        I8_STEP_##rows(R, U)                                                                                           \
      }                                                                                                                \
      R(I8_STORES, U)                                                                                                  \
    }                                                                                                                  \
    (void)ldx, (void)next, (void)next_step;                                                                            \
  }

/* The tiles kind_RxU of a kind, and a table of them. */
#define GEMV_UNITS_OF(TILE, kind, r, R, rows)                                                                          \
  TILE(kind##_##r##x1, R, GEMV_U1, 1, rows)                                                                            \
  TILE(kind##_##r##x2, R, GEMV_U2, 2, rows)                                                                            \
  TILE(kind##_##r##x3, R, GEMV_U3, 3, rows)                                                                            \
  TILE(kind##_##r##x4, R, GEMV_U4, 4, rows)
#define GEMV_NAMES(kind, r) {kind##_##r##x1, kind##_##r##x2, kind##_##r##x3, kind##_##r##x4}
#if GEMV_ROWS == 6
#define GEMV_MORE(TILE, kind) GEMV_UNITS_OF(TILE, kind, 5, GEMV_R5, many) GEMV_UNITS_OF(TILE, kind, 6, GEMV_R6, many)
#define GEMV_MORE_NAMES(kind) , GEMV_NAMES(kind, 5), GEMV_NAMES(kind, 6)
#else
#define GEMV_MORE(TILE, kind)
#define GEMV_MORE_NAMES(kind)
#endif
typedef void gemv_tile(const gemv_args *);
#ifndef GEMV_ROWS_BF16
#define GEMV_ROWS_BF16 GEMV_ROWS
#endif
/* Tiles of one row do not go on; equal parts of more rows have more. */
_Static_assert(GEMV_ROWS >= 3 && GEMV_ROWS_BF16 >= 3, "more than one row is never cut into parts of one");
_Static_assert(GEMV_KC % 2 == 0, "pairs of bfloat16 stay together");
#define GEMV_TILES(TILE, kind)                                                                                         \
  GEMV_UNITS_OF(TILE, kind, 1, GEMV_R1, one) GEMV_UNITS_OF(TILE, kind, 2, GEMV_R2, many)                               \
  GEMV_UNITS_OF(TILE, kind, 3, GEMV_R3, many) GEMV_UNITS_OF(TILE, kind, 4, GEMV_R4, many) GEMV_MORE(TILE, kind)        \
  static gemv_tile *const kind##_tiles[GEMV_ROWS][4] = {GEMV_NAMES(kind, 1), GEMV_NAMES(kind, 2), GEMV_NAMES(kind, 3), \
                                                        GEMV_NAMES(kind, 4) GEMV_MORE_NAMES(kind)};
GEMV_TILES(F32_TILE, f32)
GEMV_TILES(BF16_TILE, bf16)
GEMV_TILES(I8_TILE, i8)

/* Cut m rows x n outputs into tiles. x_size, unit_size: bytes of an element of x and of 16 outputs in a row of w, each
 * of which holds `pair` k; most_k: k at a time, where several passes read them. */
VI void gemv_run(gemv_tile *const tiles[GEMV_ROWS][4], int64_t most_rows, int64_t most_k, const gemv_args *all,
                 int64_t m, size_t x_size, size_t unit_size, size_t w_size, int64_t pair) {
  const int64_t units = (all->n + 15) / 16, row = all->ldw * (int64_t)w_size;
  if (m == 1) { /* the case that counts: one tile, which fetches by itself */
    tiles[0][units - 1](all);
    return;
  }
  const int64_t parts = (m + most_rows - 1) / most_rows; /* equal ones: ten rows are five and five */
  const int64_t passes = parts * ((units + GEMV_UNITS - 1) / GEMV_UNITS);
  const char *next = (const char *)all->w + (passes > 1 ? row * (all->kk / pair) : GEMV_AHEAD);
  int64_t k0 = 0, k1;
  do {
    k1 = passes > 1 && all->kk - k0 > most_k ? k0 + most_k : all->kk;
    for (int64_t r = 0, rows, left = parts; r < m; r += rows, left--) {
      rows = (m - r + left - 1) / left;
      const int64_t most = rows * GEMV_UNITS < 4 ? 4 / rows : GEMV_UNITS; /* few rows: more units, for enough chains */
      for (int64_t u = 0, some; u < units; u += some) {
        some = units - u < most ? units - u : most;
        gemv_args g = *all;
        g.out += r * g.ldo + 16 * u;
        g.n -= 16 * u;
        g.kk = k1 - k0;
        g.on = k0 > 0;
        g.x = (const char *)g.x + (size_t)(r * g.ldx + k0) * x_size;
        g.w = (const char *)g.w + (size_t)u * unit_size + k0 / pair * row;
        if (g.xscale) g.xscale += r, g.wscale += 16 * u;
        g.next = next;
        g.next_step = row / passes;
        next += row * (g.kk / pair) / passes;
        tiles[rows - 1][some - 1](&g);
      }
    }
  } while ((k0 = k1) < all->kk);
}

static void k_gemv_f32(float *out, int64_t ldo, int64_t m, int64_t n, int64_t kk, const float *x, int64_t ldx,
                       const float *w, int64_t ldw) {
  const gemv_args g = {.out = out, .ldo = ldo, .n = n, .kk = kk, .x = x, .ldx = ldx, .w = w, .ldw = ldw};
  gemv_run(f32_tiles, GEMV_ROWS, GEMV_KC, &g, m, sizeof *x, 64, sizeof *w, 1);
}

static void k_gemv_bf16(float *out, int64_t ldo, int64_t m, int64_t n, int64_t kk, const float *x, int64_t ldx,
                        const uint16_t *w, int64_t ldw) {
  const gemv_args g = {.out = out, .ldo = ldo, .n = n, .kk = kk, .x = x, .ldx = ldx, .w = w, .ldw = ldw};
  gemv_run(bf16_tiles, GEMV_ROWS_BF16, GEMV_KC, &g, m, sizeof *x, 64, sizeof *w, 2);
}

static void k_gemv_i8(float *out, int64_t ldo, int64_t m, int64_t n, int64_t kk, const int16_t *x, int64_t ldx,
                      const float *xscale, const int8_t *w, int64_t ldw, const float *wscale) {
  const gemv_args g = {.out = out, .ldo = ldo, .n = n, .kk = kk, .x = x, .ldx = ldx, .w = w, .ldw = ldw,
                       .xscale = xscale, .wscale = wscale};
  gemv_run(i8_tiles, GEMV_ROWS, kk, &g, m, sizeof *x, 32, sizeof *w, 2); /* tiles cut k themselves */
}

static float k_quantize(int16_t *q, const float *x, int64_t n) {
  v16 top = v16_set(0.f);
  EACH(c, n, top = v16_max(v16_abs(ld(x, c, end)), top););
  const float a = v16_hmax(top);
  if (!(a >= 0x1p-100f)) {
    memset(q, 0, (size_t)n * sizeof *q);
    return 0.f;
  }
  const v16 inv = v16_set(32767.f / a), most = v16_set(32767.f), least = v16_set(-32767.f);
  const v16 magic = v16_set(DD_ROUND_MAGIC);
  EACH(c, n, {
    const v16 t = v16_max(v16_min(v16_mul(ld(x, c, end), inv), most), least);
    const v16 i = v16_sub(v16_add(t, magic), magic);
    if (end - c >= 16) {
      v16_store_i16(q + c, i);
    } else {
      int16_t tail[16];
      v16_store_i16(tail, i);
      memcpy(q + c, tail, (size_t)(end - c) * sizeof *q);
    }
  });
  return a / 32767.f;
}
#endif
