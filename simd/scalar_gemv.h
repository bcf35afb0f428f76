/* Tier `scalar`, the products of generation: obvious C, included by scalar.c. Contracts: simd.h. */
#ifndef DD_SCALAR_GEMV_H
#define DD_SCALAR_GEMV_H

static void k_gemv_f32(float *out, int64_t ldo, int64_t m, int64_t n, int64_t kk, const float *x, int64_t ldx,
                       const float *w, int64_t ldw) {
  for (int64_t r = 0; r < m; r++)
    for (int64_t j = 0; j < n; j++) {
      float s = 0.f;
      for (int64_t k = 0; k < kk; k++) s = fmaf(x[r * ldx + k], w[k * ldw + j], s);
      out[r * ldo + j] = s;
    }
}

static void k_gemv_bf16(float *out, int64_t ldo, int64_t m, int64_t n, int64_t kk, const float *x, int64_t ldx,
                        const uint16_t *w, int64_t ldw) {
  for (int64_t r = 0; r < m; r++)
    for (int64_t j = 0; j < n; j++) {
      float s = 0.f;
      for (int64_t k = 0; k < kk; k++)
        s = fmaf(x[r * ldx + k], bits_to_float((uint32_t)w[k / 2 * ldw + 2 * j + k % 2] << 16), s);
      out[r * ldo + j] = s;
    }
}

static void k_gemv_i8(float *out, int64_t ldo, int64_t m, int64_t n, int64_t kk, const int16_t *x, int64_t ldx,
                      const float *xscale, const int8_t *w, int64_t ldw, const float *wscale) {
  for (int64_t r = 0; r < m; r++)
    for (int64_t j = 0; j < n; j++) {
      float total = 0.f;
      int32_t sum = 0;
      for (int64_t k = 0; k < kk; k++) {
        sum += (int32_t)x[r * ldx + k] * w[k / 2 * ldw + 2 * j + k % 2];
        if (k % DD_GEMV_CHUNK != DD_GEMV_CHUNK - 1 && k != kk - 1) continue;
        total = k < DD_GEMV_CHUNK ? (float)sum : total + (float)sum;
        sum = 0;
      }
      out[r * ldo + j] = total * (wscale[j] * xscale[r]);
    }
}

static float k_quantize(int16_t *q, const float *x, int64_t n) {
  float a = 0.f;
  for (int64_t i = 0; i < n; i++)
    if (fabsf(x[i]) > a) a = fabsf(x[i]);
  const float inv = a < 0x1p-100f ? 0.f : 32767.f / a;
  for (int64_t i = 0; i < n; i++) {
    float t = inv == 0.f && a < 1.f ? 0.f : x[i] * inv;
    if (!(t < 32767.f)) t = 32767.f;
    if (!(t > -32767.f)) t = -32767.f;
    q[i] = (int16_t)lrintf(t);
  }
  return a < 0x1p-100f ? 0.f : a / 32767.f;
}
#endif
