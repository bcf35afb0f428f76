#include "ops/panels.h"
#include <math.h>
#include <string.h>

enum { P = DD_GEMV_PANEL };

/* Lanes of the panel that begins at output j: whole units of 16. */
static int64_t lanes_at(int64_t n, int64_t j) { return dd_min64(P, dd_round_up(n - j, 16)); }

static size_t panel_bytes(dd_weights kind, int64_t lanes, int64_t k) {
  const size_t l = (size_t)lanes, pairs = (size_t)dd_pieces(k, 2);
  switch (kind) {
  case DD_WEIGHTS_BF16:
    return pairs * l * 2 * sizeof(uint16_t);
  case DD_WEIGHTS_INT8:
    return (l * sizeof(float) + pairs * l * 2 + 63) / 64 * 64;
  default:
    return (size_t)k * l * sizeof(float);
  }
}

size_t dd_panels_bytes(dd_weights kind, int64_t n, int64_t k) {
  size_t bytes = (size_t)(n / P) * panel_bytes(kind, P, k);
  if (n % P) bytes += panel_bytes(kind, lanes_at(n, n / P * P), k);
  return bytes;
}

static uint16_t bf16_of(float x) {
  uint32_t u;
  memcpy(&u, &x, sizeof u);
  if ((u & 0x7fffffff) > 0x7f800000) return (uint16_t)(u >> 16 | 0x40); /* a NaN stays one */
  return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

static float int8_row(int8_t *q, int64_t stride, const float *w, int64_t k) {
  float a = 0;
  for (int64_t i = 0; i < k; i++) a = fabsf(w[i]) > a ? fabsf(w[i]) : a;
  const float inv = a >= 0x1p-100f ? 127.f / a : 0.f;
  for (int64_t i = 0; i < k; i++) {
    const float t = w[i] * inv, most = t < 127.f ? t : 127.f; /* NaN too */
    q[i / 2 * stride + i % 2] = (int8_t)lrintf(most > -127.f ? most : -127.f);
  }
  return a >= 0x1p-100f ? a / 127.f : 0.f;
}

void dd_panels_pack(const dd_panels *p, const float *w) {
  char *to = p->data;
  for (int64_t j0 = 0; j0 < p->n; j0 += P) {
    const int64_t lanes = lanes_at(p->n, j0), n = dd_min64(lanes, p->n - j0), k = p->k;
    const size_t bytes = panel_bytes(p->kind, lanes, k);
    if (n < lanes || k % 2) memset(to, 0, bytes);
    for (int64_t j = 0; j < n; j++) {
      const float *row = w + (j0 + j) * k;
      if (p->kind == DD_WEIGHTS_F32) {
        float *f = (float *)(void *)to + j;
        for (int64_t i = 0; i < k; i++) f[i * lanes] = row[i];
      } else if (p->kind == DD_WEIGHTS_BF16) {
        uint16_t *b = (uint16_t *)(void *)to + 2 * j;
        for (int64_t i = 0; i < k; i++) b[i / 2 * 2 * lanes + i % 2] = bf16_of(row[i]);
      } else {
        float *scale = (float *)(void *)to;
        scale[j] = int8_row((int8_t *)(scale + lanes) + 2 * j, 2 * lanes, row, k);
      }
    }
    to += bytes;
  }
}

void dd_panels_apply(const dd_kernels *k, const dd_panels *p, float *out, int64_t ldo, const dd_vectors *x, int64_t m) {
  const char *w = p->data;
  for (int64_t j = 0; j < p->n; j += P) {
    const int64_t lanes = lanes_at(p->n, j), n = dd_min64(lanes, p->n - j);
    if (p->kind == DD_WEIGHTS_F32) {
      k->gemv_f32(out + j, ldo, m, n, p->k, x->x, x->ld, (const float *)(const void *)w, lanes);
    } else if (p->kind == DD_WEIGHTS_BF16) {
      k->gemv_bf16(out + j, ldo, m, n, p->k, x->x, x->ld, (const uint16_t *)(const void *)w, 2 * lanes);
    } else {
      const float *scale = (const float *)(const void *)w;
      k->gemv_i8(out + j, ldo, m, n, dd_round_up(p->k, 2), x->q, x->ld, x->scale, (const int8_t *)(scale + lanes),
                 2 * lanes, scale);
    }
    w += panel_bytes(p->kind, lanes, p->k);
  }
}

/* ---- keys and values ---- */

/* Elements of a panel of 64 keys, and of a row (bf16: a pair of rows) of values. */
static int64_t key_panel(int bf16, int64_t hs) { return P * (bf16 ? dd_round_up(hs, 2) : hs); }
static int64_t value_row(int bf16, int64_t hs) { return dd_round_up(hs, 16) * (bf16 ? 2 : 1); }

void dd_kv_bytes(int bf16, int64_t capacity, int64_t hs, size_t *keys, size_t *values) {
  const size_t size = bf16 ? sizeof(uint16_t) : sizeof(float);
  *keys = (size_t)(dd_pieces(capacity, P) * key_panel(bf16, hs)) * size;
  *values = (size_t)(bf16 ? dd_pieces(capacity, 2) : capacity) * (size_t)value_row(bf16, hs) * size;
}

void dd_kv_put(const dd_kv *c, int bf16, int64_t hs, int64_t at, const float *k, const float *v) {
  const int64_t panel = at / P * key_panel(bf16, hs), lane = at % P, ldv = value_row(bf16, hs);
  if (!bf16) {
    float *key = (float *)c->keys + panel + lane;
    for (int64_t i = 0; i < hs; i++) key[i * P] = k[i];
    memcpy((float *)c->values + at * ldv, v, (size_t)hs * sizeof *v);
    return;
  }
  /* Pairs as 32-bit words, the first in the low half (both architectures are little-endian). */
  char *key = (char *)((uint16_t *)c->keys + panel + 2 * lane), *value = (char *)((uint16_t *)c->values + at / 2 * ldv);
  for (int64_t i = 0; i < hs; i += 2) {
    const uint32_t pair = bf16_of(k[i]) | (uint32_t)(i + 1 < hs ? bf16_of(k[i + 1]) : 0) << 16;
    memcpy(key + i * P * (int64_t)sizeof(uint16_t), &pair, sizeof pair);
  }
  for (int64_t i = 0; i < hs; i++) {
    uint32_t pair = 0;
    if (at % 2) memcpy(&pair, value + 4 * i, sizeof pair);
    pair = at % 2 ? (pair & 0xffff) | (uint32_t)bf16_of(v[i]) << 16 : bf16_of(v[i]);
    memcpy(value + 4 * i, &pair, sizeof pair);
  }
}

/* scores[r*ld + j] = query r times key j, j < keys. */
static void scores_of(const dd_kernels *k, const dd_kv *c, int bf16, int64_t hs, int64_t keys, int64_t m,
                      const float *q, int64_t ldq, float *scores, int64_t ld) {
  for (int64_t j = 0; j < keys; j += P) {
    const int64_t at = j / P * key_panel(bf16, hs), n = dd_min64(P, keys - j);
    if (bf16) k->gemv_bf16(scores + j, ld, m, n, hs, q, ldq, (const uint16_t *)c->keys + at, 2 * P);
    else k->gemv_f32(scores + j, ld, m, n, hs, q, ldq, (const float *)c->keys + at, P);
  }
}

void dd_kv_attend(const dd_kernels *k, const dd_kv *c, int bf16, int64_t hs, int64_t at, int64_t m, const float *q,
                  int64_t ldq, float *y, int64_t ldy, float *scores) {
  const float scale = 1.f / __builtin_sqrtf((float)hs);
  const int64_t ldv = value_row(bf16, hs);
  for (int64_t r0 = 0; r0 < m; r0 += DD_KV_QUERIES) {
    const int64_t rows = dd_min64(DD_KV_QUERIES, m - r0), keys = at + r0 + rows, ld = dd_round_up(keys, P);
    scores_of(k, c, bf16, hs, keys, rows, q + r0 * ldq, ldq, scores, ld);
    float max[DD_KV_QUERIES], inv[DD_KV_QUERIES];
    k->softmax(scores, &(dd_rows){rows, ld, at + r0 + 1, 1, 0}, dd_round_up(keys, 16), scale, max, inv);
    for (int64_t r = 0; r < rows; r++) {
      const int64_t seen = at + r0 + r + 1;
      const float *p = scores + r * ld;
      float *to = y + (r0 + r) * ldy;
      for (int64_t j = 0; j < hs; j += P) {
        const int64_t n = dd_min64(P, hs - j);
        if (bf16) k->gemv_bf16(to + j, ldy, 1, n, seen, p, 0, (const uint16_t *)c->values + 2 * j, ldv);
        else k->gemv_f32(to + j, ldy, 1, n, seen, p, 0, (const float *)c->values + j, ldv);
      }
    }
  }
}
