/* Packing for the matrix tile: rows of A or columns of B become panels of w lanes, k-major (contracts in simd.h).
 *
 * A tier provides TQ and tq_transpose(dst, w, src, rs): TQ consecutive k of four lanes, dst[k*w + lane] =
 * src[lane*rs + k]; with an MR that is no multiple of four also tq_transpose2, the same for two lanes. */
#ifndef DD_PACK_H
#define DD_PACK_H
#include "simd.h"

/* Lanes are strided, k is contiguous: transpose, lane0 .. rows-1 of a panel. */
VI void pack_lanes(float *dst, int64_t w, int64_t rows, int64_t kk, const float *src, int64_t rs) {
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    const float *s = src + r * rs;
    float *d = dst + r;
    int64_t k = 0;
    for (; k + TQ <= kk; k += TQ) {
      for (int64_t i = 8; i < 12; i++) __builtin_prefetch(s + i * rs + k); /* lanes that come soon */
      tq_transpose(d + k * w, w, s + k, rs);
    }
    for (; k < kk; k++)
      for (int64_t i = 0; i < 4; i++) d[k * w + i] = s[i * rs + k];
  }
#if TILE_MR % 4
  for (; r + 2 <= rows; r += 2) {
    int64_t k = 0;
    for (; k + TQ <= kk; k += TQ) tq_transpose2(dst + r + k * w, w, src + r * rs + k, rs);
    for (; k < kk; k++)
      for (int64_t i = 0; i < 2; i++) dst[k * w + r + i] = src[(r + i) * rs + k];
  }
#endif
  for (; r < rows; r++)
    for (int64_t k = 0; k < kk; k++) dst[k * w + r] = src[r * rs + k];
}

/* All panels of `lanes` lanes: lane r, k at src[r*rs + k*cs]. */
VI void pack_panels(float *dst, int64_t w, int64_t lanes, int64_t kk, const float *src, int64_t rs, int64_t cs) {
  const int64_t whole = lanes / w, rest = lanes % w;
  if (rest) memset(dst + whole * w * kk, 0, (size_t)(w * kk) * sizeof *dst);
  if (cs == 1) {
    for (int64_t p = 0; p * w < lanes; p++)
      pack_lanes(dst + p * w * kk, w, p < whole ? w : rest, kk, src + p * w * rs, rs);
    return;
  }
  if (rs == 1) {
    /* Each k is a row of the source: read it once, from end to end, for all panels. Four at a time, because their
     * pieces of a panel are whole lines, and the panels often lie in the same set of the first cache. */
    enum { ROWS = 4 };
    int64_t k = 0;
    for (; k + ROWS <= kk; k += ROWS) {
      const float *s = src + k * cs;
      float *d = dst + k * w;
      for (int64_t p = 0; p < whole; p++, s += w, d += w * kk)
        for (int q = 0; q < ROWS; q++) {
          __builtin_prefetch(s + (2 * ROWS + q) * cs);
          if (w > 16) __builtin_prefetch(s + (2 * ROWS + q) * cs + 16);
          memcpy(d + q * w, s + q * cs, (size_t)w * sizeof *d);
        }
      for (int q = 0; q < ROWS && rest; q++) memcpy(d + q * w, s + q * cs, (size_t)rest * sizeof *d);
    }
    for (; k < kk; k++)
      for (int64_t p = 0; p * w < lanes; p++)
        memcpy(dst + p * w * kk + k * w, src + k * cs + p * w, (size_t)(p < whole ? w : rest) * sizeof *dst);
    return;
  }
  for (int64_t p = 0; p * w < lanes; p++)
    for (int64_t k = 0; k < kk; k++)
      for (int64_t r = 0; r < (p < whole ? w : rest); r++)
        dst[p * w * kk + k * w + r] = src[(p * w + r) * rs + k * cs];
}

static void k_pack_a(float *dst, int64_t m, int64_t kk, const float *src, int64_t rs, int64_t cs) {
  pack_panels(dst, TILE_MR, m, kk, src, rs, cs);
}

static void k_pack_b(float *dst, int64_t kk, int64_t n, const float *src, int64_t rs, int64_t cs) {
  pack_panels(dst, TILE_NR, n, kk, src, cs, rs);
}
#endif
