/* Sixteen virtual lanes on AArch64 NEON: four registers. See template.h for what each function must do. */
#ifndef DD_VEC_NEON_H
#define DD_VEC_NEON_H
#include <arm_neon.h>
#include <stdint.h>
#include <string.h>
#define VI static inline __attribute__((always_inline))

typedef struct v16 {
  float32x4_t q[4];
} v16;
typedef struct d16 {
  float64x2_t q[8];
} d16;
#define VMAP(expr) ((v16){{({ enum { i = 0 }; expr; }), ({ enum { i = 1 }; expr; }), ({ enum { i = 2 }; expr; }),      \
                           ({ enum { i = 3 }; expr; })}})

VI v16 v16_load(const float *p) { return VMAP(vld1q_f32(p + 4 * i)); }
VI void v16_store(float *p, v16 x) {
  for (int i = 0; i < 4; i++) vst1q_f32(p + 4 * i, x.q[i]);
}
VI v16 v16_load_n(const float *p, int64_t n) {
  float t[16] = {0};
  memcpy(t, p, (size_t)n * sizeof *t);
  return v16_load(t);
}
VI void v16_store_n(float *p, v16 x, int64_t n) {
  float t[16];
  v16_store(t, x);
  memcpy(p, t, (size_t)n * sizeof *t);
}
/* Lanes below n of x, the others of y. */
VI v16 v16_first(v16 x, int64_t n, v16 y) {
  static const uint32_t iota[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const uint32x4_t limit = vdupq_n_u32((uint32_t)n);
  return VMAP(vbslq_f32(vcgtq_u32(limit, vld1q_u32(iota + 4 * i)), x.q[i], y.q[i]));
}
VI v16 v16_set(float x) { return VMAP(vdupq_n_f32(x)); }
VI v16 v16_add(v16 x, v16 y) { return VMAP(vaddq_f32(x.q[i], y.q[i])); }
VI v16 v16_sub(v16 x, v16 y) { return VMAP(vsubq_f32(x.q[i], y.q[i])); }
VI v16 v16_mul(v16 x, v16 y) { return VMAP(vmulq_f32(x.q[i], y.q[i])); }
VI v16 v16_div(v16 x, v16 y) { return VMAP(vdivq_f32(x.q[i], y.q[i])); }
VI v16 v16_sqrt(v16 x) { return VMAP(vsqrtq_f32(x.q[i])); }
VI v16 v16_fma(v16 x, v16 y, v16 z) { return VMAP(vfmaq_f32(z.q[i], x.q[i], y.q[i])); }
VI v16 v16_fnma(v16 x, v16 y, v16 z) { return VMAP(vfmsq_f32(z.q[i], x.q[i], y.q[i])); }
VI v16 v16_max(v16 x, v16 y) { return VMAP(vbslq_f32(vcgtq_f32(x.q[i], y.q[i]), x.q[i], y.q[i])); }
VI v16 v16_min(v16 x, v16 y) { return VMAP(vbslq_f32(vcltq_f32(x.q[i], y.q[i]), x.q[i], y.q[i])); }
VI v16 v16_abs(v16 x) { return VMAP(vabsq_f32(x.q[i])); }
VI v16 v16_select_lt(v16 x, v16 y, v16 t, v16 f) {
  return VMAP(vbslq_f32(vcltq_f32(x.q[i], y.q[i]), t.q[i], f.q[i]));
}
VI v16 v16_select_nan(v16 x, v16 t, v16 f) { return VMAP(vbslq_f32(vceqq_f32(x.q[i], x.q[i]), f.q[i], t.q[i])); }
VI float32x4_t v4_scale2(float32x4_t y, float32x4_t n) {
  int32x4_t i = vcvtnq_s32_f32(n), h = vshrq_n_s32(i, 1), k = vdupq_n_s32(127), g = vsubq_s32(i, h);
  y = vmulq_f32(y, vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(h, k), 23)));
  return vmulq_f32(y, vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(g, k), 23)));
}
VI v16 v16_scale2(v16 y, v16 n) { return VMAP(v4_scale2(y.q[i], n.q[i])); }
/* x < limit ? +0 : (p + 1) * 2^n; the low bits of `shifted` are the exponent field of 2^n. */
VI float32x4_t v4_scale_unless_lt(float32x4_t p, float32x4_t shifted, float32x4_t x, float32x4_t limit) {
  const float32x4_t two_n = vreinterpretq_f32_s32(vshlq_n_s32(vreinterpretq_s32_f32(shifted), 23));
  return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(vfmaq_f32(two_n, p, two_n)), vcltq_f32(x, limit)));
}
VI v16 v16_scale_unless_lt(v16 p, v16 shifted, v16 x, v16 limit) {
  return VMAP(v4_scale_unless_lt(p.q[i], shifted.q[i], x.q[i], limit.q[i]));
}
VI v16 v16_copysign(v16 size, v16 sign) { /* size >= 0 */
  return VMAP(vbslq_f32(vdupq_n_u32(0x80000000u), sign.q[i], size.q[i]));
}
VI float v16_sum(v16 x) {
  float32x4_t s = vaddq_f32(vaddq_f32(x.q[0], x.q[2]), vaddq_f32(x.q[1], x.q[3]));
  float32x2_t t = vadd_f32(vget_low_f32(s), vget_high_f32(s));
  return vget_lane_f32(t, 0) + vget_lane_f32(t, 1);
}
VI float v16_hmax(v16 x) {
  float l[16];
  v16_store(l, x);
  for (int h = 8; h; h /= 2)
    for (int i = 0; i < h; i++) l[i] = l[i] > l[i + h] ? l[i] : l[i + h];
  return l[0];
}
VI d16 d16_zero(void) {
  d16 z;
  for (int i = 0; i < 8; i++) z.q[i] = vdupq_n_f64(0);
  return z;
}
VI d16 d16_add_square(d16 s, v16 x) {
  for (int i = 0; i < 4; i++) {
    float64x2_t lo = vcvt_f64_f32(vget_low_f32(x.q[i])), hi = vcvt_high_f64_f32(x.q[i]);
    s.q[2 * i] = vfmaq_f64(s.q[2 * i], lo, lo);
    s.q[2 * i + 1] = vfmaq_f64(s.q[2 * i + 1], hi, hi);
  }
  return s;
}
VI d16 d16_add(d16 x, d16 y) {
  for (int i = 0; i < 8; i++) x.q[i] = vaddq_f64(x.q[i], y.q[i]);
  return x;
}
VI double d16_sum(d16 s) {
  for (int h = 4; h; h /= 2)
    for (int i = 0; i < h; i++) s.q[i] = vaddq_f64(s.q[i], s.q[i + h]);
  return vgetq_lane_f64(s.q[0], 0) + vgetq_lane_f64(s.q[0], 1);
}
VI v16 v16_keep(v16 x, const uint16_t *draws, uint32_t t) {
  uint16x8_t th = vdupq_n_u16((uint16_t)t);
  uint16x8_t a = vcgeq_u16(vld1q_u16(draws), th), b = vcgeq_u16(vld1q_u16(draws + 8), th);
  int16x8_t sa = vreinterpretq_s16_u16(a), sb = vreinterpretq_s16_u16(b);
  int32x4_t m[4] = {vmovl_s16(vget_low_s16(sa)), vmovl_high_s16(sa), vmovl_s16(vget_low_s16(sb)), vmovl_high_s16(sb)};
  return VMAP(vreinterpretq_f32_s32(vandq_s32(vreinterpretq_s32_f32(x.q[i]), m[i])));
}

VI void philox_mul(uint32x4_t x, uint32_t m, uint32x4_t *hi, uint32x4_t *lo) {
  uint32x4_t a = vreinterpretq_u32_u64(vmull_n_u32(vget_low_u32(x), m));
  uint32x4_t b = vreinterpretq_u32_u64(vmull_n_u32(vget_high_u32(x), m));
  *lo = vuzp1q_u32(a, b);
  *hi = vuzp2q_u32(a, b);
}
#define PHILOX_SIDE 1
typedef struct philox {
  uint32_t c2, c3, k0, k1;
} philox;
VI void v16_philox_begin(philox *p, uint32_t c2, uint32_t c3, uint32_t k0, uint32_t k1) {
  *p = (philox){c2, c3, k0, k1};
}
/* `count` blocks of 64 draws, block i at out + 64*i, of columns 64*c0[i].. of row c1[i]. */
VI void v16_philox(uint16_t *out, int count, const uint32_t *c0, const uint32_t *c1, const philox *p) {
  static const uint32_t iota[8] = {0, 1, 2, 3, 4, 5, 6, 7};
  for (int i = 0; i < count; i++, out += 64) {
    uint32x4_t x[2][4]; /* the halves of a block, side by side */
    for (int half = 0; half < 2; half++) {
      x[half][0] = vaddq_u32(vdupq_n_u32(c0[i] * 8), vld1q_u32(iota + 4 * half));
      x[half][1] = vdupq_n_u32(c1[i]), x[half][2] = vdupq_n_u32(p->c2), x[half][3] = vdupq_n_u32(p->c3);
    }
    uint32_t a = p->k0, b = p->k1;
    for (int r = 0; r < 10; r++, a += 0x9E3779B9u, b += 0xBB67AE85u)
      for (int half = 0; half < 2; half++) {
        uint32x4_t *y = x[half], h0, l0, h1, l1;
        philox_mul(y[0], 0xD2511F53u, &h0, &l0);
        philox_mul(y[2], 0xCD9E8D57u, &h1, &l1);
        y[0] = veorq_u32(veorq_u32(h1, y[1]), vdupq_n_u32(a));
        y[2] = veorq_u32(veorq_u32(h0, y[3]), vdupq_n_u32(b));
        y[1] = l1;
        y[3] = l0;
      }
    for (int half = 0; half < 2; half++)
      for (int w = 0; w < 4; w++) vst1q_u16(out + 8 * half + 16 * w, vreinterpretq_u16_u32(x[half][w]));
  }
}

/* Weights of 16 outputs for pairs of k, and activations in 16 bit: gemv.h. */
typedef struct i16x32 {
  int16x8_t q[4];
} i16x32;
typedef struct i32x16 {
  int32x4_t q[4];
} i32x16;
VI uint32x4_t load_pairs(const uint16_t *p) { return vreinterpretq_u32_u16(vld1q_u16(p)); }
VI v16 v16_bf16_even(const uint16_t *p) {
  return VMAP(vreinterpretq_f32_u32(vshlq_n_u32(load_pairs(p + 8 * i), 16)));
}
VI v16 v16_bf16_odd(const uint16_t *p) {
  return VMAP(vreinterpretq_f32_u32(vandq_u32(load_pairs(p + 8 * i), vdupq_n_u32(0xffff0000u))));
}
VI i16x32 i16x32_widen(const int8_t *p) {
  const int8x16_t a = vld1q_s8(p), b = vld1q_s8(p + 16);
  return (i16x32){{vmovl_s8(vget_low_s8(a)), vmovl_high_s8(a), vmovl_s8(vget_low_s8(b)), vmovl_high_s8(b)}};
}
VI i32x16 i32x16_zero(void) {
  const int32x4_t z = vdupq_n_s32(0);
  return (i32x16){{z, z, z, z}};
}
VI i32x16 i32x16_madd(i32x16 s, i16x32 w, int32_t pair) {
  const int16x8_t x = vreinterpretq_s16_s32(vdupq_n_s32(pair));
  for (int i = 0; i < 4; i++) {
    const int32x4_t lo = vmull_s16(vget_low_s16(w.q[i]), vget_low_s16(x)), hi = vmull_high_s16(w.q[i], x);
    s.q[i] = vaddq_s32(s.q[i], vpaddq_s32(lo, hi));
  }
  return s;
}
VI v16 v16_from_i32(i32x16 x) { return VMAP(vcvtq_f32_s32(x.q[i])); }
VI void v16_store_i16(int16_t *p, v16 x) {
  for (int i = 0; i < 4; i++) vst1_s16(p + 4 * i, vmovn_s32(vcvtnq_s32_f32(x.q[i])));
}
#define GEMV_ROWS 4
#define GEMV_UNITS 1

#define TW 4
#define TILE_MR 12
#define TILE_KC 384
typedef float32x4_t tv;
VI tv tv_zero(void) { return vdupq_n_f32(0); }
VI tv tv_load(const float *p) { return vld1q_f32(p); }
VI void tv_store(float *p, tv x) { vst1q_f32(p, x); }
VI tv tv_bcast(const float *p) { return vld1q_dup_f32(p); }
VI tv tv_fma(tv x, tv y, tv z) { return vfmaq_f32(z, x, y); }
VI tv tv_add(tv x, tv y) { return vaddq_f32(x, y); }

/* Four k of TW rows, rs apart, as four vectors with a lane for each row. */
VI void tv_four(tv k[4], const float *src, int64_t rs) {
  const float32x4x2_t ab = vtrnq_f32(vld1q_f32(src), vld1q_f32(src + rs)),
                      cd = vtrnq_f32(vld1q_f32(src + 2 * rs), vld1q_f32(src + 3 * rs));
  for (int i = 0; i < 2; i++) {
    k[i] = vcombine_f32(vget_low_f32(ab.val[i]), vget_low_f32(cd.val[i]));
    k[2 + i] = vcombine_f32(vget_high_f32(ab.val[i]), vget_high_f32(cd.val[i]));
  }
}

#define TQ 4
VI void tq_transpose(float *dst, int64_t w, const float *src, int64_t rs) {
  tv k[4];
  tv_four(k, src, rs);
  for (int i = 0; i < 4; i++) tv_store(dst + i * w, k[i]);
}
#endif
