#include "run/generate.h"
#include "run/evaluate.h"
#include <stdlib.h>
#include <string.h>

int dd_generator_open(dd_generator *q, dd_infer *g, const dd_vocab *vocab, const dd_settings *s, dd_error *err) {
  *q = (dd_generator){.g = g, .vocab = vocab, .s = s};
  uint16_t *ids = NULL;
  const char *prompt = *s->prompt ? s->prompt : "\n";
  int rc = dd_vocab_encode(vocab, prompt, strlen(prompt), "the prompt", &ids, &q->n_prompt, err);
  if (rc && !dd_settings_is_set(s, DD_SETTING_prompt)) { /* the default prompt is no text of this vocabulary */
    rc = DD_OK;
    q->n_prompt = 1;
    ids = calloc(1, sizeof *ids);
  }
  if (rc) return rc;
  q->prompt = malloc((size_t)(q->n_prompt + 1) * sizeof *q->prompt);
  q->context = malloc((size_t)g->m->o.shape.S * sizeof *q->context);
  q->work = malloc((size_t)g->m->o.shape.V * sizeof *q->work);
  if (!ids || !q->prompt || !q->context || !q->work) {
    free(ids);
    dd_generator_close(q);
    return dd_fail(err, DD_E_RUNTIME, "out of memory for generation");
  }
  for (int64_t i = 0; i < q->n_prompt; i++) q->prompt[i] = ids[i];
  free(ids);
  return DD_OK;
}

void dd_generator_close(dd_generator *q) {
  free(q->prompt);
  free(q->context);
  free(q->work);
  q->prompt = q->context = NULL;
  q->work = NULL;
}

int dd_generate(dd_generator *q, uint32_t sample, int64_t tokens, const dd_callbacks *cb, int64_t *done,
                dd_error *err) {
  const int64_t S = q->g->m->o.shape.S, V = q->g->m->o.shape.V, half = S / 2 > 0 ? S / 2 : 1;
  const int exact = q->s->overflow == DD_OVERFLOW_EXACT;
  int64_t n = q->n_prompt < S ? q->n_prompt : S;
  memcpy(q->context, q->prompt + q->n_prompt - n, (size_t)n * sizeof *q->context);
  dd_infer_reset(q->g);
  const float *logits = dd_infer_feed(q->g, q->context, n);
  for (int64_t i = 0; i < tokens; i++) {
    const int id = dd_sample_token(logits, V, q->s->temperature, q->s->top_k, q->s->seed, sample, (uint32_t)i, q->work);
    char text[8];
    const size_t len = dd_vocab_decode(q->vocab, id, text);
    if (cb && cb->text) cb->text(cb->user, text, len);
    if (done) *done += 1;
    if (dd_should_stop(cb) == 1) return dd_fail(err, DD_E_STOPPED, "stopped on request while generating");
    if (i + 1 == tokens) break;
    if (n < S) {
      q->context[n++] = id;
      logits = dd_infer_feed(q->g, q->context + n - 1, 1);
      continue;
    }
    const int64_t keep = exact ? S - 1 : half - 1 < 0 ? 0 : half - 1; /* plus the new token */
    memmove(q->context, q->context + n - keep, (size_t)keep * sizeof *q->context);
    n = keep;
    q->context[n++] = id;
    dd_infer_reset(q->g);
    logits = dd_infer_feed(q->g, q->context, n);
  }
  return DD_OK;
}
