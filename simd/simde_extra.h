/* AVX-512 functions that SIMDe 0.7.4 (Debian 12) lacks or rounds differently, from AVX2: only for DD_SIMDE builds. */
#ifndef DD_SIMDE_EXTRA_H
#define DD_SIMDE_EXTRA_H
#include <immintrin.h>
#include <string.h>

/* Only masks of the first lanes, (1 << n) - 1, are used; absent lanes must not be touched. */
static inline simde__m512 dd_simde_maskz_loadu_ps(unsigned mask, const float *p) {
  float t[16] = {0};
  memcpy(t, p, (size_t)__builtin_popcount(mask & 0xffff) * sizeof *t);
  return simde_mm512_loadu_ps(t);
}
static inline void dd_simde_mask_storeu_ps(float *p, unsigned mask, simde__m512 x) {
  float t[16];
  simde_mm512_storeu_ps(t, x);
  memcpy(p, t, (size_t)__builtin_popcount(mask & 0xffff) * sizeof *t);
}
static inline __m256 dd_simde_half_ps(simde__m512 x, int high) {
  float t[16];
  simde_mm512_storeu_ps(t, x);
  return _mm256_loadu_ps(t + 8 * high);
}
static inline simde__m512d dd_simde_cvtps_pd(__m256 x) {
  double t[8];
  _mm256_storeu_pd(t, _mm256_cvtps_pd(_mm256_castps256_ps128(x)));
  _mm256_storeu_pd(t + 4, _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1)));
  return simde_mm512_loadu_pd(t);
}
static inline simde__m512 dd_simde_cvtepi32_ps(simde__m512i x) {
  int32_t t[16];
  float f[16];
  simde_mm512_storeu_si512(t, x);
  for (int i = 0; i < 16; i++) f[i] = (float)t[i];
  return simde_mm512_loadu_ps(f);
}
/* Lanes hold integers within 16 bit: to those, in the two steps of the intrinsics. */
static inline simde__m512i dd_simde_cvtps_epi32(simde__m512 x) {
  float f[16];
  int32_t t[16];
  simde_mm512_storeu_ps(f, x);
  for (int i = 0; i < 16; i++) t[i] = (int32_t)f[i];
  return simde_mm512_loadu_si512(t);
}
static inline __m256i dd_simde_cvtepi32_epi16(simde__m512i x) {
  int32_t t[16];
  int16_t s[16];
  simde_mm512_storeu_si512(t, x);
  for (int i = 0; i < 16; i++) s[i] = (int16_t)t[i];
  return _mm256_loadu_si256((const __m256i *)(const void *)s);
}
/* y * 2^n for |n| <= 150, rounded once: the first product is exact. SIMDe's own goes through exp2f. */
static inline simde__m512 dd_simde_scalef_ps(simde__m512 y, simde__m512 n) {
  float t[16];
  for (int half = 0; half < 2; half++) {
    const __m256i i = _mm256_cvtps_epi32(dd_simde_half_ps(n, half)), h = _mm256_srai_epi32(i, 1);
    const __m256i bias = _mm256_set1_epi32(127), g = _mm256_sub_epi32(i, h);
    __m256 r = dd_simde_half_ps(y, half);
    r = _mm256_mul_ps(r, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(h, bias), 23)));
    r = _mm256_mul_ps(r, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(g, bias), 23)));
    _mm256_storeu_ps(t + 8 * half, r);
  }
  return simde_mm512_loadu_ps(t);
}
static inline unsigned dd_simde_cmpge_epu16_mask(__m256i x, __m256i y) {
  const __m256i k = _mm256_cmpeq_epi16(_mm256_max_epu16(x, y), x);
  return (unsigned)_mm_movemask_epi8(_mm_packs_epi16(_mm256_castsi256_si128(k), _mm256_extracti128_si256(k, 1)));
}

/* Its max and min of equal zeros and NaNs are not maxps's and minps's everywhere: write the comparisons. */
static inline simde__m512 dd_simde_max_ps(simde__m512 x, simde__m512 y) {
  return simde_mm512_mask_blend_ps(simde_mm512_cmp_ps_mask(y, x, SIMDE_CMP_LT_OQ), y, x);
}
static inline simde__m512 dd_simde_min_ps(simde__m512 x, simde__m512 y) {
  return simde_mm512_mask_blend_ps(simde_mm512_cmp_ps_mask(x, y, SIMDE_CMP_LT_OQ), y, x);
}

/* Its alias has the arguments of the masked form. */
#undef _mm512_madd_epi16
#define _mm512_madd_epi16 simde_mm512_madd_epi16
#undef _mm512_maskz_loadu_ps
#define _mm512_maskz_loadu_ps dd_simde_maskz_loadu_ps
#undef _mm512_mask_storeu_ps
#define _mm512_mask_storeu_ps dd_simde_mask_storeu_ps
#undef _mm512_extractf32x8_ps
#define _mm512_extractf32x8_ps dd_simde_half_ps
#undef _mm512_cvtps_pd
#define _mm512_cvtps_pd dd_simde_cvtps_pd
#undef _mm512_cvtepi32_ps
#define _mm512_cvtepi32_ps dd_simde_cvtepi32_ps
#undef _mm512_cvtps_epi32
#define _mm512_cvtps_epi32 dd_simde_cvtps_epi32
#undef _mm512_cvtepi32_epi16
#define _mm512_cvtepi32_epi16 dd_simde_cvtepi32_epi16
#undef _mm512_scalef_ps
#define _mm512_scalef_ps dd_simde_scalef_ps
#undef _mm256_cmpge_epu16_mask
#define _mm256_cmpge_epu16_mask dd_simde_cmpge_epu16_mask
#undef _mm512_max_ps
#define _mm512_max_ps dd_simde_max_ps
#undef _mm512_min_ps
#define _mm512_min_ps dd_simde_min_ps
#endif
