/* What a thread needs to generate: its share of a weight matrix in panels that gemv reads from front to back, and the
 * keys and values of one head. All functions are serial; a thread calls them on what it owns. */
#ifndef DD_OPS_PANELS_H
#define DD_OPS_PANELS_H
#include "core/ints.h"
#include "ops/weights.def"
#include "simd.h"

typedef enum dd_weights {
#define DD_WEIGHTS_ENUM(list, id, name) DD_##list##_##id,
  DD_WEIGHTS(DD_WEIGHTS_ENUM) DD_WEIGHTS_COUNT
#undef DD_WEIGHTS_ENUM
} dd_weights;

/** n outputs of a matrix over k inputs, in panels of 64 outputs; a panel of int8 begins with its 64 scales. */
typedef struct dd_panels {
  dd_weights kind;
  int64_t n, k;
  void *data; /* dd_panels_bytes, 64-byte aligned */
} dd_panels;

/** Vectors to multiply: x[r*ld + k], for int8 instead q[r*ld + k] (k up to an even number, +0 after the end) with
 *  scale[r]. */
typedef struct dd_vectors {
  const float *x;
  const int16_t *q;
  const float *scale;
  int64_t ld;
} dd_vectors;

size_t dd_panels_bytes(dd_weights kind, int64_t n, int64_t k);
/** Convert and pack rows of w[n][k]. bf16: nearest, even at ties. int8: per row a = max |w|, scale a/127, w * (127/a)
 *  to the nearest integer, even at ties; a row with a < 2^-100 is 0. */
void dd_panels_pack(const dd_panels *p, const float *w);
/** out[r*ldo + j] = vector r times output j, r < m, j < n. */
void dd_panels_apply(const dd_kernels *k, const dd_panels *p, float *out, int64_t ldo, const dd_vectors *x, int64_t m);

/** Keys and values of one head of one stream, at most `capacity` tokens of hs channels, in float32 or bfloat16. Keys
 *  are panels of 64 for the scores, values are rows of channels for the weighted sum. */
typedef struct dd_kv {
  void *keys, *values;
} dd_kv;
/** Bytes of each of the two, a multiple of 64. */
void dd_kv_bytes(int bf16, int64_t capacity, int64_t hs, size_t *keys, size_t *values);
/** Put k[hs] and v[hs] at position `at`. */
void dd_kv_put(const dd_kv *c, int bf16, int64_t hs, int64_t at, const float *k, const float *v);
/** Attention (Vaswani et al. 2017, eq. 1) of m queries q[r*ldq + c] at positions at, at+1, ...: each looks at all
 *  positions up to its own. y[r*ldy + c]. scores: room for min(m, DD_KV_QUERIES) rows of the positions rounded up to
 *  64. The bits of a query's result do not depend on m. */
enum { DD_KV_QUERIES = 12 };
void dd_kv_attend(const dd_kernels *k, const dd_kv *c, int bf16, int64_t hs, int64_t at, int64_t m, const float *q,
                  int64_t ldq, float *y, int64_t ldy, float *scores);
#endif
