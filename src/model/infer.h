/* Generation: one token at a time through a key/value cache. The cache is kept in the packed layout that the matrix
 * tile reads, so a token costs no packing. While the context fits, logits have the bits of the full forward pass. */
#ifndef DD_MODEL_INFER_H
#define DD_MODEL_INFER_H
#include "model/model.h"

typedef struct dd_infer {
  dd_model *m;     /* borrowed: B*T >= 1 row per fed token; parameters of this model */
  dd_arena cache;
  float **keys, **values; /* [L*H] packed: K as B[hs][S], V as B[S][hs] */
  int64_t length;  /* tokens in the cache */
} dd_infer;

/** m: any model of B = 1 or more (train or not). Cache for shape.S tokens. */
int dd_infer_create(dd_infer **out, dd_model *m, dd_error *err);
void dd_infer_destroy(dd_infer *g);
/** Forget the context. */
void dd_infer_reset(dd_infer *g);
/** Append n tokens (1 <= n, length + n <= shape.S, n <= T of the model); logits[V] of the last one, valid until the
 *  next call. */
const float *dd_infer_feed(dd_infer *g, const int32_t *ids, int64_t n);

/** One id from logits[V]: temperature 0 takes the largest (lowest id of equals); else logits / temperature, the top_k
 *  largest (0: all; equals of the k-th stay), softmax in double, and the draw of address (sample, position) from the
 *  seed: Philox counter (sample, position, 3 << 24, 0), u = (x0 << 32 | x1) >> 11 times 2^-53, first id whose
 *  cumulative sum exceeds u * total. work: V doubles. */
int dd_sample_token(const float *logits, int64_t V, double temperature, int64_t top_k, uint64_t seed, uint32_t sample,
                    uint32_t position, double *work);
#endif
