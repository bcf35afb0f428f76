/* Transposition for packing (see pack.h) and for a lonely column (see tile.h), for the tiers of x86. */
#ifndef DD_X86_TRANSPOSE_H
#define DD_X86_TRANSPOSE_H
#include <immintrin.h>
#include <stdint.h>
#define TQ 8

/* Eight k of four lanes, transposed within the 128-bit lanes. */
VI void tq_transpose(float *dst, int64_t w, const float *src, int64_t rs) {
  const __m256 a = _mm256_loadu_ps(src), b = _mm256_loadu_ps(src + rs), c = _mm256_loadu_ps(src + 2 * rs),
               d = _mm256_loadu_ps(src + 3 * rs);
  const __m256d ab = _mm256_castps_pd(_mm256_unpacklo_ps(a, b)), cd = _mm256_castps_pd(_mm256_unpacklo_ps(c, d)),
                ab2 = _mm256_castps_pd(_mm256_unpackhi_ps(a, b)), cd2 = _mm256_castps_pd(_mm256_unpackhi_ps(c, d));
  const __m256 k[4] = {_mm256_castpd_ps(_mm256_unpacklo_pd(ab, cd)), _mm256_castpd_ps(_mm256_unpackhi_pd(ab, cd)),
                       _mm256_castpd_ps(_mm256_unpacklo_pd(ab2, cd2)), _mm256_castpd_ps(_mm256_unpackhi_pd(ab2, cd2))};
  for (int i = 0; i < 4; i++) {
    _mm_storeu_ps(dst + i * w, _mm256_castps256_ps128(k[i]));
    _mm_storeu_ps(dst + (4 + i) * w, _mm256_extractf128_ps(k[i], 1));
  }
}

/* The same of two lanes. */
VI __attribute__((unused)) void tq_transpose2(float *dst, int64_t w, const float *src, int64_t rs) {
  const __m256 a = _mm256_loadu_ps(src), b = _mm256_loadu_ps(src + rs);
  const __m256 k[2] = {_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b)};
  for (int i = 0; i < 4; i++) {
    const __m128 half = i < 2 ? _mm256_castps256_ps128(k[i % 2]) : _mm256_extractf128_ps(k[i % 2], 1);
    _mm_storel_pi((__m64 *)(void *)(dst + 2 * i * w), half);
    _mm_storeh_pi((__m64 *)(void *)(dst + (2 * i + 1) * w), half);
  }
}

/* Four k of TW rows, rs apart, as four vectors with a lane for each row. */
VI void tv_four(tv k[4], const float *src, int64_t rs) {
  const tv a = tv_quads(src, rs), b = tv_quads(src + rs, rs), c = tv_quads(src + 2 * rs, rs),
           d = tv_quads(src + 3 * rs, rs);
  const tv_pairs ab = TV(castps_pd)(TV(unpacklo_ps)(a, b)), cd = TV(castps_pd)(TV(unpacklo_ps)(c, d)),
                 ab2 = TV(castps_pd)(TV(unpackhi_ps)(a, b)), cd2 = TV(castps_pd)(TV(unpackhi_ps)(c, d));
  k[0] = TV(castpd_ps)(TV(unpacklo_pd)(ab, cd)), k[1] = TV(castpd_ps)(TV(unpackhi_pd)(ab, cd));
  k[2] = TV(castpd_ps)(TV(unpacklo_pd)(ab2, cd2)), k[3] = TV(castpd_ps)(TV(unpackhi_pd)(ab2, cd2));
}
#endif
