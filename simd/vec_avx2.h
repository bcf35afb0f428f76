/* Sixteen virtual lanes on AVX2 + FMA: two registers. See template.h for what each function must do. */
#ifndef DD_VEC_AVX2_H
#define DD_VEC_AVX2_H
#include <immintrin.h>
#include <stdint.h>
#include <string.h>
#define VI static inline __attribute__((always_inline))

typedef struct v16 {
  __m256 a, b;
} v16;
typedef struct d16 {
  __m256d a, b, c, d;
} d16;
#define V2(op, x, y) ((v16){op((x).a, (y).a), op((x).b, (y).b)})

VI v16 v16_load(const float *p) { return (v16){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
VI void v16_store(float *p, v16 x) {
  _mm256_storeu_ps(p, x.a);
  _mm256_storeu_ps(p + 8, x.b);
}
VI __m256i v16_mask8(int64_t n) { /* lanes below n */
  return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
VI v16 v16_load_n(const float *p, int64_t n) {
  return (v16){_mm256_maskload_ps(p, v16_mask8(n)), _mm256_maskload_ps(p + (n > 8 ? 8 : 0), v16_mask8(n - 8))};
}
VI void v16_store_n(float *p, v16 x, int64_t n) {
  _mm256_maskstore_ps(p, v16_mask8(n), x.a);
  if (n > 8) _mm256_maskstore_ps(p + 8, v16_mask8(n - 8), x.b);
}
/* Lanes below n of x, the others of y. */
VI v16 v16_first(v16 x, int64_t n, v16 y) {
  const __m256i limit = _mm256_set1_epi32((int)n), lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i low = _mm256_cmpgt_epi32(limit, lane),
                high = _mm256_cmpgt_epi32(limit, _mm256_add_epi32(lane, _mm256_set1_epi32(8)));
  return (v16){_mm256_blendv_ps(y.a, x.a, _mm256_castsi256_ps(low)),
               _mm256_blendv_ps(y.b, x.b, _mm256_castsi256_ps(high))};
}
VI v16 v16_set(float x) { return (v16){_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
VI v16 v16_add(v16 x, v16 y) { return V2(_mm256_add_ps, x, y); }
VI v16 v16_sub(v16 x, v16 y) { return V2(_mm256_sub_ps, x, y); }
VI v16 v16_mul(v16 x, v16 y) { return V2(_mm256_mul_ps, x, y); }
VI v16 v16_div(v16 x, v16 y) { return V2(_mm256_div_ps, x, y); }
VI v16 v16_sqrt(v16 x) { return (v16){_mm256_sqrt_ps(x.a), _mm256_sqrt_ps(x.b)}; }
VI v16 v16_fma(v16 x, v16 y, v16 z) { return (v16){_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)}; }
VI v16 v16_fnma(v16 x, v16 y, v16 z) {
  return (v16){_mm256_fnmadd_ps(x.a, y.a, z.a), _mm256_fnmadd_ps(x.b, y.b, z.b)};
}
VI v16 v16_max(v16 x, v16 y) { return V2(_mm256_max_ps, x, y); } /* x > y ? x : y, exactly maxps */
VI v16 v16_min(v16 x, v16 y) { return V2(_mm256_min_ps, x, y); } /* x < y ? x : y */
VI v16 v16_abs(v16 x) {
  const __m256 m = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
  return (v16){_mm256_and_ps(x.a, m), _mm256_and_ps(x.b, m)};
}
VI v16 v16_select_lt(v16 x, v16 y, v16 t, v16 f) { /* x < y ? t : f */
  return (v16){_mm256_blendv_ps(f.a, t.a, _mm256_cmp_ps(x.a, y.a, _CMP_LT_OQ)),
               _mm256_blendv_ps(f.b, t.b, _mm256_cmp_ps(x.b, y.b, _CMP_LT_OQ))};
}
VI v16 v16_select_nan(v16 x, v16 t, v16 f) { /* x is NaN ? t : f */
  return (v16){_mm256_blendv_ps(f.a, t.a, _mm256_cmp_ps(x.a, x.a, _CMP_UNORD_Q)),
               _mm256_blendv_ps(f.b, t.b, _mm256_cmp_ps(x.b, x.b, _CMP_UNORD_Q))};
}
VI __m256 v8_scale2(__m256 y, __m256 n) {
  __m256i i = _mm256_cvtps_epi32(n), h = _mm256_srai_epi32(i, 1), k = _mm256_set1_epi32(127);
  __m256i g = _mm256_sub_epi32(i, h);
  y = _mm256_mul_ps(y, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(h, k), 23)));
  return _mm256_mul_ps(y, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(g, k), 23)));
}
VI v16 v16_scale2(v16 y, v16 n) { return (v16){v8_scale2(y.a, n.a), v8_scale2(y.b, n.b)}; }
/* x < limit ? +0 : (p + 1) * 2^n; the low bits of `shifted` are the exponent field of 2^n. */
VI __m256 v8_scale_unless_lt(__m256 p, __m256 shifted, __m256 x, __m256 limit) {
  const __m256 two_n = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(shifted), 23));
  return _mm256_andnot_ps(_mm256_cmp_ps(x, limit, _CMP_LT_OQ), _mm256_fmadd_ps(p, two_n, two_n));
}
VI v16 v16_scale_unless_lt(v16 p, v16 shifted, v16 x, v16 limit) {
  return (v16){v8_scale_unless_lt(p.a, shifted.a, x.a, limit.a), v8_scale_unless_lt(p.b, shifted.b, x.b, limit.b)};
}
VI v16 v16_copysign(v16 size, v16 sign) { /* size >= 0 */
  const __m256 m = _mm256_set1_ps(-0.f);
  return (v16){_mm256_or_ps(size.a, _mm256_and_ps(sign.a, m)), _mm256_or_ps(size.b, _mm256_and_ps(sign.b, m))};
}
VI float v4_sum(__m128 s) {
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}
VI float v16_sum(v16 x) {
  __m256 s = _mm256_add_ps(x.a, x.b);
  return v4_sum(_mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1)));
}
VI float v16_hmax(v16 x) {
  __m256 s = _mm256_max_ps(x.a, x.b);
  __m128 t = _mm_max_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
  t = _mm_max_ps(t, _mm_movehl_ps(t, t));
  return _mm_cvtss_f32(_mm_max_ss(t, _mm_shuffle_ps(t, t, 1)));
}
VI d16 d16_zero(void) {
  __m256d z = _mm256_setzero_pd();
  return (d16){z, z, z, z};
}
VI __m256d d4_sq(__m256d s, __m128 x) {
  __m256d d = _mm256_cvtps_pd(x);
  return _mm256_fmadd_pd(d, d, s);
}
VI d16 d16_add_square(d16 s, v16 x) {
  return (d16){d4_sq(s.a, _mm256_castps256_ps128(x.a)), d4_sq(s.b, _mm256_extractf128_ps(x.a, 1)),
               d4_sq(s.c, _mm256_castps256_ps128(x.b)), d4_sq(s.d, _mm256_extractf128_ps(x.b, 1))};
}
VI d16 d16_add(d16 x, d16 y) {
  return (d16){_mm256_add_pd(x.a, y.a), _mm256_add_pd(x.b, y.b), _mm256_add_pd(x.c, y.c), _mm256_add_pd(x.d, y.d)};
}
VI double d16_sum(d16 s) {
  __m256d t = _mm256_add_pd(_mm256_add_pd(s.a, s.c), _mm256_add_pd(s.b, s.d));
  __m128d u = _mm_add_pd(_mm256_castpd256_pd128(t), _mm256_extractf128_pd(t, 1));
  return _mm_cvtsd_f64(_mm_add_sd(u, _mm_unpackhi_pd(u, u)));
}
/* Keep lanes whose draw is >= t; +0 elsewhere. */
VI v16 v16_keep(v16 x, const uint16_t *draws, uint32_t t) {
  const __m256i last_dropped = _mm256_set1_epi32((int)t - 1);
  const __m128i *d = (const __m128i *)(const void *)draws;
  const __m256i lo = _mm256_cmpgt_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(d)), last_dropped),
                hi = _mm256_cmpgt_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(d + 1)), last_dropped);
  return (v16){_mm256_and_ps(x.a, _mm256_castsi256_ps(lo)), _mm256_and_ps(x.b, _mm256_castsi256_ps(hi))};
}

/* Eight counters: those of even and those of odd number. */
typedef struct w8 {
  __m256i even, odd;
} w8;
#define W2(op, x, y) ((w8){op((x).even, (y).even), op((x).odd, (y).odd)})
VI w8 w8_set(uint32_t x) { return (w8){_mm256_set1_epi32((int)x), _mm256_set1_epi32((int)x)}; }
VI w8 w8_iota(void) { return (w8){_mm256_setr_epi64x(0, 2, 4, 6), _mm256_setr_epi64x(1, 3, 5, 7)}; }
VI w8 w8_add(w8 x, w8 y) { return W2(_mm256_add_epi32, x, y); }
VI w8 w8_xor(w8 x, w8 y) { return W2(_mm256_xor_si256, x, y); }
VI w8 w8_times(w8 x, w8 y) { return W2(_mm256_mul_epu32, x, y); }
VI w8 w8_high(w8 x) { return (w8){_mm256_srli_epi64(x.even, 32), _mm256_srli_epi64(x.odd, 32)}; }
VI void w8_store(uint16_t *p, w8 x) {
  _mm256_storeu_si256((__m256i *)(void *)p, _mm256_blend_epi32(x.even, _mm256_slli_epi64(x.odd, 32), 0xaa));
}
VI w8 w8_here(w8 x) {
  __asm__("" : "+x"(x.even), "+x"(x.odd));
  return x;
}
#define DRAWS_BETWEEN_ROUNDS
#include "philox_x86.h"

/* Weights of 16 outputs for pairs of k, and activations in 16 bit: gemv.h. */
typedef struct i16x32 {
  __m256i a, b;
} i16x32;
typedef struct i32x16 {
  __m256i a, b;
} i32x16;
VI __m256i load_i256(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }
VI v16 v16_bf16_even(const uint16_t *p) {
  return (v16){_mm256_castsi256_ps(_mm256_slli_epi32(load_i256(p), 16)),
               _mm256_castsi256_ps(_mm256_slli_epi32(load_i256(p + 16), 16))};
}
VI v16 v16_bf16_odd(const uint16_t *p) {
  const __m256i m = _mm256_set1_epi32((int)0xffff0000u);
  return (v16){_mm256_castsi256_ps(_mm256_and_si256(load_i256(p), m)),
               _mm256_castsi256_ps(_mm256_and_si256(load_i256(p + 16), m))};
}
VI i16x32 i16x32_widen(const int8_t *p) {
  const __m128i *halves = (const __m128i *)(const void *)p;
  return (i16x32){_mm256_cvtepi8_epi16(_mm_loadu_si128(halves)), _mm256_cvtepi8_epi16(_mm_loadu_si128(halves + 1))};
}
VI i32x16 i32x16_zero(void) { return (i32x16){_mm256_setzero_si256(), _mm256_setzero_si256()}; }
VI i32x16 i32x16_madd(i32x16 s, i16x32 w, int32_t pair) {
  const __m256i x = _mm256_set1_epi32(pair), a = _mm256_madd_epi16(w.a, x), b = _mm256_madd_epi16(w.b, x);
  /* Here and now: gcc 12 would compute all products first, and spill or copy the sums. */
  __asm__("vpaddd %1, %0, %0" : "+x"(s.a) : "x"(a));
  __asm__("vpaddd %1, %0, %0" : "+x"(s.b) : "x"(b));
  return s;
}
VI v16 v16_from_i32(i32x16 x) { return (v16){_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
VI void v16_store_i16(int16_t *p, v16 x) {
  const __m256i both = _mm256_packs_epi32(_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b));
  _mm256_storeu_si256((__m256i *)(void *)p, _mm256_permute4x64_epi64(both, 0xd8));
}
#define GEMV_ROWS 6
#define GEMV_ROWS_BF16 5 /* six do not fit into registers */
#define GEMV_UNITS 1

/* The matrix tile: MR x (two vectors of TW). */
#define TW 8
#define TILE_MR 6
#define TILE_KC 384
typedef __m256 tv;
VI tv tv_zero(void) { return _mm256_setzero_ps(); }
VI tv tv_load(const float *p) { return _mm256_loadu_ps(p); }
VI void tv_store(float *p, tv x) { _mm256_storeu_ps(p, x); }
VI tv tv_bcast(const float *p) { return _mm256_broadcast_ss(p); }
VI tv tv_fma(tv x, tv y, tv z) { return _mm256_fmadd_ps(x, y, z); }
VI tv tv_add(tv x, tv y) { return _mm256_add_ps(x, y); }
/* Four elements of every fourth row, side by side; like the names below for x86_transpose.h. */
VI tv tv_quads(const float *src, int64_t rs) {
  return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(src)), _mm_loadu_ps(src + 4 * rs), 1);
}
typedef __m256d tv_pairs;
#define TV(operation) _mm256_##operation

/* The whole tile: tile_x86.h. */
#define X_NAME(kind) kind##_6x2
#define X_V "ymm"
#define X_BYTES 32
#define X_EVEN(at, p, q)                                                                                               \
  X_("vbroadcastss " at ", %%ymm2") X_("vfmadd231ps %%ymm0, %%ymm2, " X_R(p))                                  \
      X_("vfmadd231ps %%ymm1, %%ymm2, " X_R(q))
#define X_ODD(at, p, q)                                                                                                \
  X_("vbroadcastss " at ", %%ymm3") X_("vfmadd231ps %%ymm0, %%ymm3, " X_R(p))                                  \
      X_("vfmadd231ps %%ymm1, %%ymm3, " X_R(q))
#define X_ROWS(X, u)                                                                                                   \
  X(EVEN, 0, a, 0, 4, 5, u) X(ODD, 1, a, 1, 6, 7, u) X(EVEN, 2, a, 2, 8, 9, u)                                         \
  X(ODD, 3, a, 3, 10, 11, u) X(EVEN, 4, a4, 0, 12, 13, u) X(ODD, 5, a4, 1, 14, 15, u)
#define X_POINTERS(X) X(a4, 4)
#define X_CLOBBERS                                                                                                     \
  "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",                                                      \
  "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"
#include "x86_transpose.h"
#endif
