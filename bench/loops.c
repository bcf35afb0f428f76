/* Streaming loops, and kernels in the plain C that most programs would have. Compiled once per tier with its flags plus
 * -O3 -ffast-math: what a compiler makes of such code is the peer here, so nothing is tuned by hand, and nothing of it
 * is ever part of training. */
#include "bench/bench.h"
#include <math.h>

#define JOIN2(a, b) a##b
#define JOIN(a, b) JOIN2(a, b)

/* Reads are as wide as the tier: with one chain of additions per vector the loop would measure their latency. */
#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif
typedef float vec __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));
enum { LANES = VECTOR_BYTES / 4, UNROLL = 8, BLOCK = LANES * UNROLL };
/* Keeps the compiler from turning a loop into a call of memcpy. */
#define KEEP_LOOP() __asm__ volatile("" ::: "memory")

static float read_all(const float *x, int64_t n, int64_t times) {
  vec s[UNROLL] = {{0}};
  int64_t i = 0;
  for (int64_t t = 0; t < times; t++) {
    for (i = 0; i + BLOCK <= n; i += BLOCK) {
      const vec *v = (const vec *)(const void *)(x + i);
      s[0] += v[0], s[1] += v[1], s[2] += v[2], s[3] += v[3], s[4] += v[4], s[5] += v[5], s[6] += v[6], s[7] += v[7];
    }
    KEEP_LOOP();
  }
  for (int u = 1; u < UNROLL; u++) s[0] += s[u];
  float sum = 0;
  for (int l = 0; l < LANES; l++) sum += s[0][l];
  for (; i < n; i++) sum += x[i];
  return sum;
}

static void copy(float *dst, const float *src, int64_t n) {
  int64_t i = 0;
  for (; i + BLOCK <= n; i += BLOCK) {
    vec *d = (vec *)(void *)(dst + i);
    const vec *v = (const vec *)(const void *)(src + i);
    for (int u = 0; u < UNROLL; u++) d[u] = v[u];
    KEEP_LOOP();
  }
  for (; i < n; i++) dst[i] = src[i];
}

static void update(float *x, int64_t n, float by) {
  int64_t i = 0;
  for (; i + BLOCK <= n; i += BLOCK) {
    vec *v = (vec *)(void *)(x + i);
    for (int u = 0; u < UNROLL; u++) v[u] += by;
  }
  for (; i < n; i++) x[i] += by;
}

static void update3(float *restrict p, float *restrict m, float *restrict v, const float *restrict g, int64_t n) {
  for (int64_t i = 0; i < n; i++) p[i] += g[i], m[i] += g[i], v[i] += g[i];
}

static void plain_exp(float *y, const float *x, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = expf(x[i]);
}

static void gelu(float *restrict y, const float *restrict x, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = 0.5f * x[i] * (1.f + erff(x[i] * 0.70710678f));
}

static void gelu_slope(float *restrict y, float *restrict d, const float *restrict x, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    const float phi = 0.5f * (1.f + erff(x[i] * 0.70710678f));
    y[i] = x[i] * phi;
    d[i] = phi + x[i] * 0.39894228f * expf(-0.5f * x[i] * x[i]);
  }
}

/* Philox4x32-10 for DRAWS columns from col on, eight draws a counter, in loops that a compiler can vectorize. */
enum { DRAWS = 512 };
static void draw(uint16_t *restrict out, const dd_drop *d, int64_t col) {
  uint32_t x0[DRAWS / 8], x1[DRAWS / 8], x2[DRAWS / 8], x3[DRAWS / 8], k0 = d->key0, k1 = d->key1;
  for (int i = 0; i < DRAWS / 8; i++) x0[i] = (uint32_t)(col / 8 + i), x1[i] = d->c1, x2[i] = d->c2, x3[i] = d->c3;
  for (int r = 0; r < 10; r++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u)
    for (int i = 0; i < DRAWS / 8; i++) {
      const uint64_t p = (uint64_t)0xD2511F53u * x0[i], q = (uint64_t)0xCD9E8D57u * x2[i];
      x0[i] = (uint32_t)(q >> 32) ^ x1[i] ^ k0, x1[i] = (uint32_t)q;
      x2[i] = (uint32_t)(p >> 32) ^ x3[i] ^ k1, x3[i] = (uint32_t)p;
    }
  typedef uint32_t word __attribute__((may_alias));
  word *words = (word *)(void *)out;
  for (int i = 0; i < DRAWS / 8; i++)
    words[4 * i] = x0[i], words[4 * i + 1] = x1[i], words[4 * i + 2] = x2[i], words[4 * i + 3] = x3[i];
}

static void dropout(float *y, const float *x, int64_t n, const dd_drop *d) {
  _Alignas(64) uint16_t u[DRAWS];
  for (int64_t i = 0; i < n; i += DRAWS) {
    const int64_t m = n - i < DRAWS ? n - i : DRAWS;
    draw(u, d, i);
    for (int64_t j = 0; j < m; j++) y[i + j] = u[j] < d->threshold ? 0.f : x[i + j] * d->scale;
  }
}

static void dropout_add(float *restrict y, const float *restrict r, const float *restrict x, int64_t n,
                        const dd_drop *d) {
  _Alignas(64) uint16_t u[DRAWS];
  for (int64_t i = 0; i < n; i += DRAWS) {
    const int64_t m = n - i < DRAWS ? n - i : DRAWS;
    draw(u, d, i);
    for (int64_t j = 0; j < m; j++) y[i + j] = r[i + j] + (u[j] < d->threshold ? 0.f : x[i + j] * d->scale);
  }
}

static void layernorm(float *restrict out, float *mean, float *rstd, const float *restrict x, const float *restrict w,
                      const float *restrict b, int64_t n) {
  float sum = 0, squares = 0;
  for (int64_t i = 0; i < n; i++) sum += x[i];
  const float mu = sum / (float)n;
  for (int64_t i = 0; i < n; i++) squares += (x[i] - mu) * (x[i] - mu);
  const float s = 1.f / sqrtf(squares / (float)n + 1e-5f);
  for (int64_t i = 0; i < n; i++) out[i] = (x[i] - mu) * s * w[i] + b[i];
  *mean = mu;
  *rstd = s;
}

static void layernorm_backward(float *restrict dx, const float *restrict dy, const float *restrict x,
                               const float *restrict w, float mean, float rstd, int64_t n) {
  float a = 0, c = 0;
  for (int64_t i = 0; i < n; i++) {
    const float g = dy[i] * w[i];
    a += g;
    c += g * (x[i] - mean) * rstd;
  }
  a /= (float)n;
  c /= (float)n;
  for (int64_t i = 0; i < n; i++) dx[i] += rstd * (dy[i] * w[i] - a - (x[i] - mean) * rstd * c);
}

static void softmax(float *s, int64_t n, float scale) {
  float max = s[0], sum = 0;
  for (int64_t i = 1; i < n; i++) max = s[i] > max ? s[i] : max;
  for (int64_t i = 0; i < n; i++) {
    s[i] = expf((s[i] - max) * scale);
    sum += s[i];
  }
  const float inv = 1.f / sum;
  for (int64_t i = 0; i < n; i++) s[i] *= inv;
}

static void softmax_backward(float *restrict dp, const float *restrict p, int64_t n, float scale) {
  float dot = 0;
  for (int64_t i = 0; i < n; i++) dot += p[i] * dp[i];
  for (int64_t i = 0; i < n; i++) dp[i] = p[i] * (dp[i] - dot) * scale;
}

static void xent(float *l, int64_t v, int64_t target, float g) {
  softmax(l, v, 1);
  l[target] -= 1;
  for (int64_t i = 0; i < v; i++) l[i] *= g;
}

static void adamw(float *restrict p, float *restrict m, float *restrict v, const float *restrict g, int64_t n,
                  const dd_adamw *a) {
  const dd_adamw c = *a;
  for (int64_t i = 0; i < n; i++) {
    const float d = g[i] * c.grad_scale;
    m[i] = c.beta1 * m[i] + c.one_minus_beta1 * d;
    v[i] = c.beta2 * v[i] + c.one_minus_beta2 * d * d;
    p[i] = p[i] * c.decay - c.step * m[i] / (sqrtf(v[i]) * c.inv_sqrt_bc2 + c.eps);
  }
}

static float sumsq(const float *x, int64_t n) {
  float sum = 0;
  for (int64_t i = 0; i < n; i++) sum += x[i] * x[i];
  return sum;
}

#define TEXT2(a) #a
#define TEXT(a) TEXT2(a)
extern const dd_loops JOIN(dd_loops_, LOOPS_TIER);
const dd_loops JOIN(dd_loops_, LOOPS_TIER) = {
    .tier = TEXT(LOOPS_TIER),
    .read = read_all,
    .copy = copy,
    .update = update,
    .update3 = update3,
    .exp = plain_exp,
    .gelu = gelu,
    .gelu_slope = gelu_slope,
    .dropout = dropout,
    .dropout_add = dropout_add,
    .layernorm = layernorm,
    .layernorm_backward = layernorm_backward,
    .softmax = softmax,
    .softmax_backward = softmax_backward,
    .xent = xent,
    .adamw = adamw,
    .sumsq = sumsq,
};
