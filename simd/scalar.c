/* Tier `scalar`: the reference. Obvious C, no vectors, written independently of template.h; fmaf() is one rounding by
 * the C standard on every machine. It is also what runs on CPUs without AVX2, slowly. Contracts: simd.h. */
#include "simd.h"
#include "coeffs.h"
#include <math.h>
#include <string.h>

enum { MR = 4, NR = 8 };

static void k_pack_a(float *dst, int64_t m, int64_t kk, const float *src, int64_t rs, int64_t cs) {
  for (int64_t p = 0; p < m; p += MR)
    for (int64_t k = 0; k < kk; k++)
      for (int64_t r = p; r < p + MR; r++) *dst++ = r < m ? src[r * rs + k * cs] : 0.f;
}

static void k_pack_b(float *dst, int64_t kk, int64_t n, const float *src, int64_t rs, int64_t cs) {
  for (int64_t p = 0; p < n; p += NR)
    for (int64_t k = 0; k < kk; k++)
      for (int64_t c = p; c < p + NR; c++) *dst++ = c < n ? src[k * rs + c * cs] : 0.f;
}

static void k_gemm(int64_t m, int64_t n, int64_t kk, const float *a, const float *b, float *c, int64_t ldc,
                   dd_gemm_mode mode) {
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++) {
      const float *x = a + i / MR * MR * kk + i % MR, *y = b + j / NR * NR * kk + j % NR;
      float s = mode == DD_GEMM_CONTINUE ? c[i * ldc + j] : 0.f;
      for (int64_t k = 0; k < kk; k++) s = fmaf(x[k * MR], y[k * NR], s);
      c[i * ldc + j] = mode == DD_GEMM_ADD ? c[i * ldc + j] + s : s;
    }
}

static void k_gemm_strided(int64_t m, int64_t n, int64_t kk, const dd_operand *a, const dd_operand *b, float *c,
                           int64_t ldc, dd_gemm_mode mode) {
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++) {
      float *out = c + i * ldc + j, s = mode == DD_GEMM_CONTINUE ? *out : 0.f;
      const float *x = a->data + i / MR * a->panel + i % MR * (a->lane ? a->lane : 1);
      const float *y = b->data + j / NR * b->panel + j % NR;
      for (int64_t k = 0; k < kk; k++) s = fmaf(x[k * (a->lane ? 1 : a->step)], y[k * b->step], s);
      *out = mode == DD_GEMM_ADD ? *out + s : s;
    }
}

static float bits_to_float(uint32_t u) {
  float f;
  memcpy(&f, &u, sizeof f);
  return f;
}

static float exp1(float x) {
  if (x != x) return bits_to_float(DD_NAN_BITS);
  if (x > DD_EXP_MAX) return INFINITY;
  const float c = x > DD_EXP_MIN ? x : DD_EXP_MIN;
  volatile float shifted = fmaf(c, DD_LOG2E, DD_ROUND_MAGIC); /* volatile: no compiler may cancel the two magics */
  const float n = shifted - DD_ROUND_MAGIC;
  const float r = fmaf(-n, DD_LN2_LO, fmaf(-n, DD_LN2_HI, c));
  float p = DD_EXP_P4;
  p = fmaf(p, r, DD_EXP_P3);
  p = fmaf(p, r, DD_EXP_P2);
  p = fmaf(p, r, DD_EXP_P1);
  p = fmaf(p, r, DD_EXP_P0);
  p = fmaf(p, r * r, r) + 1.f;
  const int i = (int)n, h = i >= 0 ? i / 2 : -((1 - i) / 2);
  return p * bits_to_float((uint32_t)(h + 127) << 23) * bits_to_float((uint32_t)(i - h + 127) << 23);
}

/* exp1 of x <= 0, cut off where results would be subnormal. */
static float exp_low1(float x) { return x < DD_EXP_LOW ? 0.f : exp1(x); }

static void k_exp(float *dst, const float *src, int64_t n) {
  for (int64_t i = 0; i < n; i++) dst[i] = exp1(src[i]);
}

static float horner(const float *c, int degree, float x) {
  float p = c[degree];
  while (degree-- > 0) p = fmaf(p, x, c[degree]);
  return p;
}
static void gelu1(float x, float *y, float *slope) {
  static const float r_of[] = {1.f,        DD_GELU_R1, DD_GELU_R2, DD_GELU_R3, DD_GELU_R4,  DD_GELU_R5,
                               DD_GELU_R6, DD_GELU_R7, DD_GELU_R8, DD_GELU_R9, DD_GELU_R10, DD_GELU_R11},
                     s_of[] = {DD_GELU_S0, DD_GELU_S1, DD_GELU_S2, DD_GELU_S3, DD_GELU_S4,
                               DD_GELU_S5, DD_GELU_S6, DD_GELU_S7, DD_GELU_S8};
  const float half = 0.5f * x, b = fabsf(half) > DD_GELU_END ? DD_GELU_END : fabsf(half);
  const float r = horner(r_of, 11, b), erf = fmaf(-(r * r), r, 1.f), g = fmaf(fabsf(half), erf, half);
  *y = g != g ? bits_to_float(DD_NAN_BITS) : g;
  *slope = fmaf(copysignf(0.5f, x), fmaf(b, r * r * r * horner(s_of, 8, b), erf), 0.5f);
}

static void k_gelu(float *y, const float *x, int64_t n) {
  float slope;
  for (int64_t i = 0; i < n; i++) gelu1(x[i], y + i, &slope);
}

static void k_gelu_slope(float *y, float *d, const float *x, int64_t n) {
  for (int64_t i = 0; i < n; i++) gelu1(x[i], y + i, d + i);
}

static void k_mul(float *dst, const float *a, const float *b, int64_t n) {
  for (int64_t i = 0; i < n; i++) dst[i] = a[i] * b[i];
}

#include "scalar_gemv.h"

static void k_add(float *dst, const float *a, const float *b, int64_t n) {
  for (int64_t i = 0; i < n; i++) dst[i] = a[i] + b[i];
}

static void philox(uint32_t x[4], uint32_t k0, uint32_t k1) {
  for (int r = 0; r < 10; r++) {
    const uint64_t p = (uint64_t)0xD2511F53u * x[0], q = (uint64_t)0xCD9E8D57u * x[2];
    const uint32_t y0 = (uint32_t)(q >> 32) ^ x[1] ^ k0, y2 = (uint32_t)(p >> 32) ^ x[3] ^ k1;
    x[0] = y0, x[1] = (uint32_t)q, x[2] = y2, x[3] = (uint32_t)p;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

/* Draw of column c, straight from the contract. last: the counter of the previous call and its output, to draw once. */
typedef struct last_draw {
  int64_t counter;
  uint32_t x[4][8];
} last_draw;
static uint32_t draw1(const dd_drop *d, int64_t c, last_draw *last) {
  const int64_t i = c % 64, w = i / 16, j = i % 16 / 2, h = i % 2;
  if (last->counter != c / 64) {
    last->counter = c / 64;
    for (uint32_t l = 0; l < 8; l++) {
      uint32_t x[4] = {(uint32_t)(c / 64) * 8 + l, d->c1, d->c2, d->c3};
      philox(x, d->key0, d->key1);
      for (int v = 0; v < 4; v++) last->x[v][l] = x[v];
    }
  }
  return last->x[w][j] >> (16 * h) & 0xffff;
}

/* One row of dropout. */
static void drop_row(float *dst, const float *src, int64_t n, const dd_drop *d, int64_t row) {
  last_draw last = {.counter = -1};
  dd_drop at = *d;
  at.c1 += (uint32_t)row;
  for (int64_t c = 0; c < n; c++)
    if (!d->threshold) dst[c] = src[c];
    else dst[c] = draw1(&at, d->col0 + c, &last) < d->threshold ? 0.f : src[c] * d->scale;
}

static void k_dropout(float *dst, const float *src, const dd_rows *g, const dd_drop *d) {
  for (int64_t r = 0; r < g->rows; r++) drop_row(dst + r * g->ld, src + r * g->ld, dd_row_length(g, r), d, r);
}

static void k_dropout_pair(float *dst, const float *src, float *also, const dd_rows *g, const dd_drop *d) {
  k_dropout(dst, src, g, d);
  k_dropout(also, also, g, d);
}

static void k_dropout_add(float *dst, const float *res, const float *src, const dd_rows *g, const dd_drop *d) {
  for (int64_t r = 0; r < g->rows; r++) {
    last_draw last = {.counter = -1};
    dd_drop row = *d;
    row.c1 += (uint32_t)r;
    for (int64_t c = 0; c < dd_row_length(g, r); c++) {
      const int64_t i = r * g->ld + c;
      const int kept = !d->threshold || draw1(&row, d->col0 + c, &last) >= d->threshold;
      dst[i] = d->threshold ? fmaf(kept ? src[i] : 0.f, d->scale, res[i]) : res[i] + src[i];
    }
  }
}

static void k_draws(uint16_t *dst, int64_t n, const dd_drop *d) {
  last_draw last = {.counter = -1};
  for (int64_t c = 0; c < n; c++) dst[c] = (uint16_t)draw1(d, d->col0 + c, &last);
}

static float fold64(const float l[64]) {
  float t[16];
  for (int i = 0; i < 16; i++) t[i] = (l[i] + l[16 + i]) + (l[32 + i] + l[48 + i]);
  for (int half = 8; half; half /= 2)
    for (int i = 0; i < half; i++) t[i] = t[i] + t[i + half];
  return t[0];
}

static void layernorm_row(float *out, float *mean, float *rstd, const float *x, const float *w, const float *b,
                          int64_t n) {
  float sum[64] = {0}, sq[64] = {0};
  for (int64_t c = 0; c < n; c++) sum[c % 64] += x[c];
  *mean = fold64(sum) / (float)n;
  for (int64_t c = 0; c < n; c++) sq[c % 64] = fmaf(x[c] - *mean, x[c] - *mean, sq[c % 64]);
  *rstd = 1.f / sqrtf(fold64(sq) / (float)n + DD_LN_EPS);
  for (int64_t c = 0; c < n; c++) {
    const float h = (x[c] - *mean) * *rstd;
    out[c] = b ? fmaf(h, w[c], b[c]) : h * w[c];
  }
}

static void k_layernorm(float *out, float *mean, float *rstd, const float *x, const float *w, const float *b,
                        int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; r++) layernorm_row(out + r * n, mean + r, rstd + r, x + r * n, w, b, n);
}

static void layernorm_backward_row(float *dx, const float *dy, const float *x, const float *w, float mean, float rstd,
                                   int64_t n) {
  float sg[64] = {0}, sgx[64] = {0};
  for (int64_t c = 0; c < n; c++) {
    sg[c % 64] = fmaf(dy[c], w[c], sg[c % 64]);
    sgx[c % 64] = fmaf(dy[c] * w[c], (x[c] - mean) * rstd, sgx[c % 64]);
  }
  const float a = fold64(sg) / (float)n, b = fold64(sgx) / (float)n;
  for (int64_t c = 0; c < n; c++) {
    const float g = dy[c] * w[c], h = (x[c] - mean) * rstd;
    dx[c] = fmaf(rstd, fmaf(-h, b, g - a), dx[c]);
  }
}

static void k_layernorm_backward(float *dx, const float *dy, const float *x, const float *w, const float *mean,
                                 const float *rstd, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; r++) layernorm_backward_row(dx + r * n, dy + r * n, x + r * n, w, mean[r], rstd[r], n);
}

static void k_layernorm_dparam(float *dw, float *db, const float *dy, const float *x, const float *mean,
                               const float *rstd, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; r++, dy += n, x += n)
    for (int64_t c = 0; c < n; c++) {
      dw[c] = fmaf(dy[c], (x[c] - mean[r]) * rstd[r], dw[c]);
      if (db) db[c] += dy[c];
    }
}

/* Largest element in the order of 64 lanes, x > m ? x : m: decides between +0 and -0. */
static float row_max(const float *s, int64_t n) {
  float m[64];
  for (int i = 0; i < 64; i++) m[i] = -INFINITY;
  for (int64_t c = 0; c < n; c++) m[c % 64] = s[c] > m[c % 64] ? s[c] : m[c % 64];
#define BIGGER(a, b) ((a) > (b) ? (a) : (b))
  for (int i = 0; i < 16; i++) {
    const float p = BIGGER(m[i], m[16 + i]), q = BIGGER(m[32 + i], m[48 + i]);
    m[i] = BIGGER(p, q);
  }
  for (int half = 8; half; half /= 2)
    for (int i = 0; i < half; i++) m[i] = BIGGER(m[i], m[i + half]);
  return m[0];
}

static void softmax_row(float *s, int64_t n, int64_t n_pad, float scale, float *max, float *inv_sum) {
  float sum[64] = {0};
  *max = row_max(s, n);
  for (int64_t c = 0; c < n; c++) sum[c % 64] += s[c] = exp_low1((s[c] - *max) * scale);
  *inv_sum = 1.f / fold64(sum);
  for (int64_t c = 0; c < n_pad; c++) s[c] = c < n ? s[c] * *inv_sum : 0.f;
}
static void k_softmax(float *s, const dd_rows *g, int64_t n_pad, float scale, float *max, float *inv_sum) {
  for (int64_t r = 0; r < g->rows; r++)
    softmax_row(s + r * g->ld, g->n + r * g->grow, n_pad, scale, max + r, inv_sum + r);
}

static void k_softmax_again(float *s, const dd_rows *g, int64_t n_pad, float scale, const float *max,
                            const float *inv_sum) {
  for (int64_t r = 0; r < g->rows; r++, s += g->ld)
    for (int64_t c = 0; c < n_pad; c++)
      s[c] = c < g->n + r * g->grow ? exp_low1((s[c] - max[r]) * scale) * inv_sum[r] : 0.f;
}

static void k_softmax_backward(float *dp, const float *p, const dd_rows *g, int64_t n_pad, float scale) {
  for (int64_t r = 0; r < g->rows; r++, dp += g->ld, p += g->ld) {
    const int64_t n = g->n + r * g->grow;
    float dot[64] = {0};
    for (int64_t c = 0; c < n; c++) dot[c % 64] = fmaf(p[c], dp[c], dot[c % 64]);
    const float d = fold64(dot);
    for (int64_t c = 0; c < n_pad; c++) dp[c] = c < n ? p[c] * (dp[c] - d) * scale : 0.f;
  }
}

static void xent_row(float *l, int64_t v, int64_t target, float g, float *max, float *sum) {
  float s[64] = {0};
  *max = row_max(l, v);
  for (int64_t c = 0; c < v; c++) s[c % 64] += exp_low1((l[c] - *max) * 1.f);
  *sum = fold64(s);
  if (!(g > 0)) return;
  for (int64_t c = 0; c < v; c++) {
    const float p = exp_low1(l[c] - *max) * (1.f / *sum);
    l[c] = c == target ? (p - 1.f) * g : p * g;
  }
}
static void k_xent(float *l, int64_t rows, int64_t v, const int32_t *targets, float g, float *max, float *sum) {
  for (int64_t r = 0; r < rows; r++) xent_row(l + r * v, v, targets[r], g, max + r, sum + r);
}

static void k_adamw(float *p, float *m, float *v, const float *g, int64_t n, const dd_adamw *a) {
  for (int64_t i = 0; i < n; i++) {
    const float x = g[i] * a->grad_scale;
    m[i] = fmaf(a->beta1, m[i], a->one_minus_beta1 * x);
    v[i] = fmaf(a->beta2, v[i], a->one_minus_beta2 * x * x);
    p[i] = fmaf(-a->step, m[i] / fmaf(sqrtf(v[i]), a->inv_sqrt_bc2, a->eps), p[i] * a->decay);
  }
}

static double k_sumsq(const float *x, int64_t n) {
  double l[64] = {0};
  for (int64_t c = 0; c < n; c++) l[c % 64] += (double)x[c] * (double)x[c];
  for (int i = 0; i < 16; i++) l[i] = (l[i] + l[16 + i]) + (l[32 + i] + l[48 + i]);
  for (int half = 8; half; half /= 2)
    for (int i = 0; i < half; i++) l[i] += l[i + half];
  return l[0];
}

static double k_peak(int64_t iters, float *sink) {
  float s[8];
  for (int j = 0; j < 8; j++) s[j] = sink[2 + j];
  for (int64_t i = 0; i < iters; i++)
    for (int j = 0; j < 8; j++) s[j] = fmaf(sink[0], sink[1], s[j]);
  for (int j = 1; j < 8; j++) s[0] += s[j];
  sink[0] = s[0];
  return 2.0 * 8 * (double)iters;
}

#define DD_ENTRY(ret, name, args) .name = k_##name,
const dd_kernels dd_kernels_scalar = {.tier = "scalar", .mr = MR, .nr = NR, .kc = 384, DD_KERNELS(DD_ENTRY)};
