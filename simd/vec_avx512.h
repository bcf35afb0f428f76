/* Sixteen virtual lanes on AVX-512 (F, DQ, BW, VL): one register. See template.h for what each function must do.
 * With DD_SIMDE the same source runs through SIMDe, so that its arithmetic is tested on any machine. */
#ifndef DD_VEC_AVX512_H
#define DD_VEC_AVX512_H
#ifdef DD_SIMDE
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <simde/x86/fma.h>
#include "simde_extra.h"
#else
#include <immintrin.h>
#endif
#include <stdint.h>
#include <string.h>
#define VI static inline __attribute__((always_inline))

typedef __m512 v16;
typedef struct d16 {
  __m512d a, b;
} d16;

VI v16 v16_load(const float *p) { return _mm512_loadu_ps(p); }
VI void v16_store(float *p, v16 x) { _mm512_storeu_ps(p, x); }
VI v16 v16_load_n(const float *p, int64_t n) { return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p); }
VI void v16_store_n(float *p, v16 x, int64_t n) { _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), x); }
VI v16 v16_first(v16 x, int64_t n, v16 y) { return _mm512_mask_blend_ps((__mmask16)((1u << n) - 1), y, x); }
VI v16 v16_set(float x) { return _mm512_set1_ps(x); }
VI v16 v16_add(v16 x, v16 y) { return _mm512_add_ps(x, y); }
VI v16 v16_sub(v16 x, v16 y) { return _mm512_sub_ps(x, y); }
VI v16 v16_mul(v16 x, v16 y) { return _mm512_mul_ps(x, y); }
VI v16 v16_div(v16 x, v16 y) { return _mm512_div_ps(x, y); }
VI v16 v16_sqrt(v16 x) { return _mm512_sqrt_ps(x); }
VI v16 v16_fma(v16 x, v16 y, v16 z) { return _mm512_fmadd_ps(x, y, z); }
VI v16 v16_fnma(v16 x, v16 y, v16 z) { return _mm512_fnmadd_ps(x, y, z); }
VI v16 v16_select_lt(v16 x, v16 y, v16 t, v16 f) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, y, _CMP_LT_OQ), f, t);
}
VI v16 v16_select_nan(v16 x, v16 t, v16 f) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), f, t);
}
VI v16 v16_max(v16 x, v16 y) { return _mm512_max_ps(x, y); } /* x > y ? x : y, exactly maxps */
VI v16 v16_min(v16 x, v16 y) { return _mm512_min_ps(x, y); } /* x < y ? x : y */
VI v16 v16_abs(v16 x) {
  return _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7fffffff)));
}
VI v16 v16_scale2(v16 y, v16 n) { return _mm512_scalef_ps(y, n); } /* one rounding, as the other tiers' two products */
/* x < limit ? +0 : (p + 1) * 2^n; the low bits of `shifted` are the exponent field of 2^n. */
VI v16 v16_scale_unless_lt(v16 p, v16 shifted, v16 x, v16 limit) {
  const v16 two_n = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(shifted), 23));
  return _mm512_maskz_fmadd_ps(_mm512_cmp_ps_mask(x, limit, _CMP_NLT_UQ), p, two_n, two_n);
}
VI v16 v16_copysign(v16 size, v16 sign) { /* size >= 0 */
  const __m512i m = _mm512_set1_epi32(INT32_MIN);
  return _mm512_castsi512_ps(
      _mm512_or_si512(_mm512_castps_si512(size), _mm512_and_si512(_mm512_castps_si512(sign), m)));
}
VI __m256 v16_low(v16 x) { return _mm512_castps512_ps256(x); }
VI __m256 v16_high(v16 x) { return _mm512_extractf32x8_ps(x, 1); }
VI float v16_sum(v16 x) {
  __m256 s = _mm256_add_ps(v16_low(x), v16_high(x));
  __m128 t = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
  t = _mm_add_ps(t, _mm_movehl_ps(t, t));
  return _mm_cvtss_f32(_mm_add_ss(t, _mm_shuffle_ps(t, t, 1)));
}
VI float v16_hmax(v16 x) {
  __m256 s = _mm256_max_ps(v16_low(x), v16_high(x));
  __m128 t = _mm_max_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
  t = _mm_max_ps(t, _mm_movehl_ps(t, t));
  return _mm_cvtss_f32(_mm_max_ss(t, _mm_shuffle_ps(t, t, 1)));
}
VI d16 d16_zero(void) { return (d16){_mm512_setzero_pd(), _mm512_setzero_pd()}; }
VI d16 d16_add_square(d16 s, v16 x) {
  __m512d lo = _mm512_cvtps_pd(v16_low(x)), hi = _mm512_cvtps_pd(v16_high(x));
  return (d16){_mm512_fmadd_pd(lo, lo, s.a), _mm512_fmadd_pd(hi, hi, s.b)};
}
VI d16 d16_add(d16 x, d16 y) { return (d16){_mm512_add_pd(x.a, y.a), _mm512_add_pd(x.b, y.b)}; }
VI double d16_sum(d16 s) {
  double l[8];
  _mm512_storeu_pd(l, _mm512_add_pd(s.a, s.b));
  for (int h = 4; h; h /= 2)
    for (int i = 0; i < h; i++) l[i] += l[i + h];
  return l[0];
}
VI v16 v16_keep(v16 x, const uint16_t *draws, uint32_t t) {
  __m256i d = _mm256_loadu_si256((const __m256i *)(const void *)draws);
  return _mm512_maskz_mov_ps(_mm256_cmpge_epu16_mask(d, _mm256_set1_epi16((short)t)), x);
}

typedef __m512i w8;
VI w8 w8_set(uint32_t x) { return _mm512_set1_epi32((int)x); }
VI w8 w8_iota(void) { return _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7); }
VI w8 w8_add(w8 x, w8 y) { return _mm512_add_epi32(x, y); }
VI w8 w8_xor(w8 x, w8 y) { return _mm512_xor_si512(x, y); }
VI w8 w8_times(w8 x, w8 y) { return _mm512_mul_epu32(x, y); }
VI w8 w8_high(w8 x) { return _mm512_srli_epi64(x, 32); }
VI void w8_store(uint16_t *p, w8 x) { _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtepi64_epi32(x)); }
VI w8 w8_here(w8 x) { return x; } /* one instruction takes three operands of an exclusive or */
#define PHILOX_SIDE 4
#include "philox_x86.h"

/* Weights of 16 outputs for pairs of k, and activations in 16 bit: gemv.h. */
typedef __m512i i16x32;
typedef __m512i i32x16;
VI v16 v16_bf16_even(const uint16_t *p) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512((const void *)p), 16));
}
VI v16 v16_bf16_odd(const uint16_t *p) {
  return _mm512_castsi512_ps(
      _mm512_and_si512(_mm512_loadu_si512((const void *)p), _mm512_set1_epi32((int)0xffff0000u)));
}
VI i16x32 i16x32_widen(const int8_t *p) {
  return _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)p));
}
VI i32x16 i32x16_zero(void) { return _mm512_setzero_si512(); }
VI i32x16 i32x16_madd(i32x16 s, i16x32 w, int32_t pair) {
  s = _mm512_add_epi32(s, _mm512_madd_epi16(w, _mm512_set1_epi32(pair)));
#ifndef DD_SIMDE
  __asm__("" : "+v"(s)); /* here and now: gcc 12 would compute all products of a tile first, and spill the sums */
#endif
  return s;
}
VI v16 v16_from_i32(i32x16 x) { return _mm512_cvtepi32_ps(x); }
VI void v16_store_i16(int16_t *p, v16 x) {
  _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(x)));
}
#define GEMV_ROWS 6
#define GEMV_UNITS 4

#define TW 16
#define TILE_MR 12
#define TILE_KC 384
typedef __m512 tv;
VI tv tv_zero(void) { return _mm512_setzero_ps(); }
VI tv tv_load(const float *p) { return _mm512_loadu_ps(p); }
VI void tv_store(float *p, tv x) { _mm512_storeu_ps(p, x); }
VI tv tv_bcast(const float *p) { return _mm512_set1_ps(*p); }
VI tv tv_fma(tv x, tv y, tv z) { return _mm512_fmadd_ps(x, y, z); }
VI tv tv_add(tv x, tv y) { return _mm512_add_ps(x, y); }
/* Four elements of every fourth row, side by side; like the names below for x86_transpose.h. */
VI tv tv_quads(const float *src, int64_t rs) {
  tv x = _mm512_castps128_ps512(_mm_loadu_ps(src));
  x = _mm512_insertf32x4(x, _mm_loadu_ps(src + 4 * rs), 1);
  x = _mm512_insertf32x4(x, _mm_loadu_ps(src + 8 * rs), 2);
  return _mm512_insertf32x4(x, _mm_loadu_ps(src + 12 * rs), 3);
}
typedef __m512d tv_pairs;
#define TV(operation) _mm512_##operation

#ifndef DD_SIMDE
/* The whole tile: tile_x86.h. */
#define X_NAME(kind) kind##_12x2
#define X_V "zmm"
#define X_BYTES 64
#define X_EVEN(at, p, q)                                                                                               \
  X_("vfmadd231ps " at "%{1to16%}, %%zmm0, " X_R(p)) X_("vfmadd231ps " at "%{1to16%}, %%zmm1, " X_R(q))
#define X_ODD(at, p, q)                                                                                                \
  X_("vbroadcastss " at ", %%zmm2") X_("vfmadd231ps %%zmm0, %%zmm2, " X_R(p))                                  \
      X_("vfmadd231ps %%zmm1, %%zmm2, " X_R(q))
#define X_ROWS(X, u)                                                                                                   \
  X(EVEN, 0, a, 0, 8, 9, u) X(ODD, 1, a, 1, 10, 11, u) X(EVEN, 2, a, 2, 12, 13, u) X(ODD, 3, a, 3, 14, 15, u)          \
  X(EVEN, 4, a4, 0, 16, 17, u) X(ODD, 5, a4, 1, 18, 19, u) X(EVEN, 6, a4, 2, 20, 21, u) X(ODD, 7, a4, 3, 22, 23, u)    \
  X(EVEN, 8, a8, 0, 24, 25, u) X(ODD, 9, a8, 1, 26, 27, u) X(EVEN, 10, a8, 2, 28, 29, u) X(ODD, 11, a8, 3, 30, 31, u)
#define X_POINTERS(X) X(a4, 4) X(a8, 8)
#define X_CLOBBERS                                                                                                     \
  "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",                                                      \
  "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15",                                                \
  "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23",                                              \
  "xmm24", "xmm25", "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31"
#endif
#include "x86_transpose.h"
#endif
