#include "model/params.h"
#include "core/hash.h"
#include "core/mathd.h"
#include "core/philox.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Visit every tensor of a shape: full_index counts also the biases a shape without biases leaves out. */
static int visit(const dd_shape *s, dd_tensor *out) {
  int count = 0;
  int64_t offset = 0;
  const int64_t V = s->V, S = s->S, C = s->C;
#define ADD(prefix, text, r, c, kind)                                                                                  \
  if (DD_INIT_##kind != DD_INIT_BIAS || s->bias) {                                                                     \
    if (out) {                                                                                                         \
      dd_tensor *t = out + count;                                                                                      \
      *t = (dd_tensor){.rows = (r), .cols = (c), .offset = offset, .init = DD_INIT_##kind, .decay = (c) != 0};         \
      t->size = t->rows * (t->cols ? t->cols : 1);                                                                     \
      offset += dd_round_up(t->size, 16);                                                                              \
      snprintf(t->name, sizeof t->name, "%s%s", prefix, text);                                                         \
    }                                                                                                                  \
    count++;                                                                                                           \
  }
#define GLOBAL(field, text, r, c, kind) ADD("", text, r, c, kind)
#define LAYER(field, text, r, c, kind) ADD(prefix, text, r, c, kind)
  DD_TENSORS_HEAD(GLOBAL)
  for (int64_t l = 0; l < s->L; l++) {
    char prefix[40];
    snprintf(prefix, sizeof prefix, "transformer.h.%d.", (int)l);
    DD_TENSORS_LAYER(LAYER)
  }
  DD_TENSORS_TAIL(GLOBAL)
  return count;
}

int dd_layout_create(dd_layout *l, const dd_shape *shape, dd_error *err) {
  *l = (dd_layout){.shape = *shape};
  l->count = visit(shape, NULL);
  l->tensors = calloc((size_t)l->count, sizeof *l->tensors);
  if (!l->tensors) return dd_fail(err, DD_E_RUNTIME, "out of memory for the list of tensors");
  visit(shape, l->tensors);
  const dd_tensor *last = l->tensors + l->count - 1;
  l->floats = last->offset + dd_round_up(last->size, 16);
  for (int i = 0; i < l->count; i++) l->parameters += l->tensors[i].size;
  return DD_OK;
}

void dd_layout_destroy(dd_layout *l) {
  free(l->tensors);
  l->tensors = NULL;
}

void dd_params_bind(dd_params *p, const dd_layout *l, float *flat) {
  const dd_tensor *t = l->tensors;
#define BIND(where, kind)                                                                                              \
  if (DD_INIT_##kind != DD_INIT_BIAS || l->shape.bias) where = flat + (t++)->offset;                                   \
  else where = NULL;
#define BIND_GLOBAL(field, text, r, c, kind) BIND(p->field, kind)
#define BIND_LAYER(field, text, r, c, kind) BIND(p->layer[i].field, kind)
  DD_TENSORS_HEAD(BIND_GLOBAL)
  for (int64_t i = 0; i < l->shape.L; i++) { DD_TENSORS_LAYER(BIND_LAYER) }
  DD_TENSORS_TAIL(BIND_GLOBAL)
}

/* Index of tensor i among those of the same shape with biases, so that `bias` does not change what weights draw. */
static uint32_t full_index(const dd_layout *l, int i) {
  uint32_t full = 0;
  int own = 0;
#define COUNT_UP(field, text, r, c, kind)                                                                              \
  if ((DD_INIT_##kind != DD_INIT_BIAS || l->shape.bias) && own++ == i) return full;                                    \
  full++;
  DD_TENSORS_HEAD(COUNT_UP)
  for (int64_t k = 0; k < l->shape.L; k++) { DD_TENSORS_LAYER(COUNT_UP) }
  DD_TENSORS_TAIL(COUNT_UP)
#undef COUNT_UP
  return full;
}

/* Normal numbers of a tensor from element `first` on, an even one: a pair of elements is a counter. */
static void normals(double z[2 * DD_NORMAL_PAIRS], uint64_t seed, uint32_t tensor, int64_t first) {
  double u[DD_NORMAL_PAIRS], w[DD_NORMAL_PAIRS];
  for (uint32_t i = 0; i < DD_NORMAL_PAIRS; i++) {
    uint32_t x[4];
    dd_philox(x, seed, (uint32_t)(first / 2) + i, tensor, (uint32_t)DD_PURPOSE_INIT << 24, 0);
    u[i] = (double)((((uint64_t)x[0] << 32 | x[1]) >> 11) + 1) * 0x1p-53;
    w[i] = (double)(((uint64_t)x[2] << 32 | x[3]) >> 11) * 0x1p-53;
  }
  dd_normal_pairs(z, u, w);
}

void dd_params_init(dd_ctx *c, float *flat, const dd_layout *l, uint64_t seed, double std) {
  enum { BLOCK = 4096, STEP = 2 * DD_NORMAL_PAIRS };
  const double residual = std / sqrt(2.0 * (double)l->shape.L);
  for (int n = 0; n < l->count; n++) {
    const dd_tensor *t = l->tensors + n;
    const int random = t->init == DD_INIT_NORMAL || t->init == DD_INIT_RESIDUAL;
    const double scale = t->init == DD_INIT_RESIDUAL ? residual : std;
    const uint32_t index = full_index(l, n);
    DD_FOR(c, i, dd_pieces(t->size, BLOCK)) {
      const int64_t end = dd_min64((i + 1) * BLOCK, t->size);
      float *p = flat + t->offset;
      for (int64_t e = i * BLOCK; e < end; e += STEP) {
        double z[STEP];
        if (random) normals(z, seed, index, e);
        for (int64_t at = e; at < dd_min64(e + STEP, end); at++)
          p[at] = random ? (float)(z[at - e] * scale) : t->init == DD_INIT_ONE ? 1.f : 0.f;
      }
    }
  }
  dd_barrier(c);
}

void dd_params_fingerprint(const float *flat, const dd_layout *l, char hex[33]) {
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "fingerprints and files are little-endian; this machine needs a conversion here"
#endif
  dd_hasher *h = dd_hasher_create();
  strcpy(hex, "");
  if (!h) return;
  for (int i = 0; i < l->count; i++)
    dd_hasher_update(h, flat + l->tensors[i].offset, (size_t)l->tensors[i].size * sizeof *flat);
  dd_hasher_hex(h, hex);
  dd_hasher_destroy(h);
}
