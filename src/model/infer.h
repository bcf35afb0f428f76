/* Generation: tokens through a key/value cache, one or many streams in lockstep so that the weights are read once for a
 * token of each.
 *
 * A decoder has its own copy of the weights, in the chosen format: every thread packs its share of the outputs of each
 * matrix in the order of use and reads that from front to back once per token. With f32 the logits have the bits of the
 * training forward pass; with every format they are the same for any number of threads and streams, any instruction
 * set, and however the tokens were fed. Embeddings, LayerNorm, softmax and GELU are float32 in every format; all matrix
 * products (the head too) use the format; the cache is float32 for f32 and bfloat16 otherwise.
 *
 * To measure generation without files: dd_model_create (T = 1 will do), dd_model_init, dd_infer_create, then per
 * sequence dd_infer_reset, dd_infer_feed of one token per stream, dd_infer_sample, and dd_infer_generate, which is the
 * call to time; dd_infer_bytes says what it reads per token. */
#ifndef DD_MODEL_INFER_H
#define DD_MODEL_INFER_H
#include "model/model.h"
#include "ops/panels.h"

typedef struct dd_infer dd_infer;

typedef struct dd_infer_options {
  dd_weights weights;
  int64_t streams; /* sequences in lockstep, >= 1 */
} dd_infer_options;

/** m is borrowed: its parameters (packed again when dd_model_params_changed was called), shape and team; B, T and train
 *  do not matter. Every stream holds shape.S tokens. */
int dd_infer_create(dd_infer **out, dd_model *m, const dd_infer_options *o, dd_error *err);
void dd_infer_destroy(dd_infer *g);
const dd_model *dd_infer_model(const dd_infer *g);
int64_t dd_infer_streams(const dd_infer *g);
/** Bytes of one stream's cache for a shape: what bounds the number of streams. */
uint64_t dd_infer_stream_bytes(const dd_shape *s, dd_weights weights);
/** Bytes that one step of all streams reads at a context of `length` tokens: all weights once, and their caches. */
uint64_t dd_infer_bytes(const dd_infer *g, int64_t length);

/** Pack the weights now if they changed since the last time; the calls below do it themselves. */
void dd_infer_pack(dd_infer *g);

/** Forget the context of every stream. */
void dd_infer_reset(dd_infer *g);
/** Tokens in the cache of each stream. */
int64_t dd_infer_length(const dd_infer *g);
/** Append ids[streams][n] (1 <= n, length + n <= shape.S), n tokens to every stream. Returns logits[streams][V] of the
 *  last ones, valid until the next call. */
const float *dd_infer_feed(dd_infer *g, const int32_t *ids, int64_t n);
/** Append the same ids[n] to every stream at the cost of one; the streams must not have been told apart since the last
 *  reset. Returns as dd_infer_feed. */
const float *dd_infer_feed_all(dd_infer *g, const int32_t *ids, int64_t n);

/** How tokens are drawn: as dd_sample_token. */
typedef struct dd_draw {
  double temperature;
  int64_t top_k;
  uint64_t seed;
  uint32_t sample;   /* of stream 0; stream s draws for sample + s */
  uint32_t position; /* of the next token to draw */
} dd_draw;
/** Draw one token per stream, ids[streams], from the logits of the last feed. */
void dd_infer_sample(dd_infer *g, const dd_draw *d, int32_t *ids);
/** ids[streams][n + 1]: feeds ids[s][0] and draws ids[s][1], feeds that and draws ids[s][2], ... until ids[s][n] is
 *  drawn (and not fed). d->position is that of ids[s][1]. 1 <= n <= shape.S - length; the cache grows by n. */
void dd_infer_generate(dd_infer *g, int64_t n, const dd_draw *d, int32_t *ids);

/** Cross-entropy in nats of each of the n <= shape.S predictions targets[i] after ids[0..i], from an empty context,
 *  with the arithmetic of generation. Stream 0 is used, all streams are reset. */
void dd_infer_losses(dd_infer *g, const int32_t *ids, const int32_t *targets, int64_t n, double *loss);

/** One id from logits[V]: temperature 0 takes the largest (lowest id of equals); else logits / temperature, the top_k
 *  largest (0: all; equals of the k-th stay), softmax in double, and the draw of address (sample, position) from the
 *  seed: Philox counter (sample, position, 3 << 24, 0), u = (x0 << 32 | x1) >> 11 times 2^-53, first id whose
 *  cumulative sum exceeds u * total. work: V doubles. */
int dd_sample_token(const float *logits, int64_t V, double temperature, int64_t top_k, uint64_t seed, uint32_t sample,
                    uint32_t position, double *work);
#endif
