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
  int32_t *prompt, *context;
  int64_t n_prompt;
  double *work;
} dd_generator;

/** Encodes s->prompt. On failure there is nothing to close, but closing is harmless. */
int dd_generator_open(dd_generator *q, dd_infer *g, const dd_vocab *vocab, const dd_settings *s, dd_error *err);
void dd_generator_close(dd_generator *q);
/** Sample number `sample`: `tokens` new tokens, text through cb->text as it comes. *done (may be NULL): how many were
 *  made. Beyond the context length: slide drops the older half and re-runs the rest once; exact re-runs the last S
 *  tokens for every new one. DD_E_STOPPED on request. */
int dd_generate(dd_generator *q, uint32_t sample, int64_t tokens, const dd_callbacks *cb, int64_t *done, dd_error *err);
#endif
