/* Text from a model: prompt, context window, tokens out. */
#ifndef DD_RUN_GENERATE_H
#define DD_RUN_GENERATE_H
#include "model/infer.h"
#include "run/settings.h"
#include "run/vocab.h"

typedef struct dd_generator {
  dd_infer *g;            /* borrowed */
  const dd_vocab *vocab;  /* borrowed */
  const dd_settings *s;   /* temperature, top_k, overflow, seed, prompt */
  int titled;             /* the prompt comes before each sample, and a line between samples (0 after opening) */
  int32_t *prompt;
  int64_t n_prompt;
  int32_t *context;       /* [streams][S], what the cache holds */
  int32_t *ids, *next;    /* [streams][S + 1], work; [streams], drawn and not yet fed */
  int32_t *sink;          /* where the ids of stream 0 go too, or NULL (which it is after opening) */
  uint16_t *later;        /* [streams - 1][tokens], to be printed when stream 0 is done */
} dd_generator;

/** Streams that `samples` samples of `tokens` tokens are worth: as many groups of equal size as keep a group within 16
 *  streams, 1 GiB of cache and 64 Mi tokens. */
int64_t dd_generator_streams(const dd_shape *shape, dd_weights weights, int64_t samples, int64_t tokens);
/** Encodes s->prompt. On failure there is nothing to close, but closing is harmless. */
int dd_generator_open(dd_generator *q, dd_infer *g, const dd_vocab *vocab, const dd_settings *s, dd_error *err);
void dd_generator_close(dd_generator *q);
/** Samples number first .. first + samples (at most the streams of the decoder), `tokens` new tokens each, in lockstep;
 *  each text is what it would be alone. The first one goes through cb->text as it comes (some 50 times a second), the
 *  others follow when it is done. *done (may be NULL): grows by the tokens made. Beyond the context length: slide keeps
 *  the newest half (with the new token) and re-runs it once; exact re-runs the last S tokens for every new one.
 *  DD_E_STOPPED on request. */
int dd_generate(dd_generator *q, int64_t first, int64_t samples, int64_t tokens, const dd_callbacks *cb, int64_t *done,
                dd_error *err);
#endif
