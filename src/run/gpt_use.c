/* dd_gpt: losses, logits, new tokens, text, tensors. */
#include "core/ints.h"
#include "run/generate.h"
#include "run/gpt.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int dd_gpt_check_ids(const dd_gpt *g, const int32_t *ids, int64_t n, const char *what, dd_error *err) {
  const int64_t V = g->j.m->o.shape.V;
  for (int64_t i = 0; i < n; i++)
    if (ids[i] < 0 || ids[i] >= V)
      return dd_fail(err, DD_E_USAGE, "%s %lld is %d, but ids are 0 to %lld", what, (long long)i, (int)ids[i],
                     (long long)V - 1);
  return DD_OK;
}

static int check_batch(const dd_gpt *g, const int32_t *ids, int64_t sequences, int64_t tokens, const char *what,
                       dd_error *err) {
  const int64_t S = g->j.m->o.shape.S;
  if (tokens < 1 || tokens > S)
    return dd_fail(err, DD_E_USAGE, "a sequence has 1 to %lld tokens (block_size), not %lld", (long long)S,
                   (long long)tokens);
  if (sequences < 1 || sequences > ((int64_t)1 << 40) / tokens)
    return dd_fail(err, DD_E_USAGE, "%lld sequences are too few or too many", (long long)sequences);
  return dd_gpt_check_ids(g, ids, sequences * tokens, what, err);
}

int dd_gpt_evaluate_tokens(dd_gpt *g, const uint16_t *ids, int64_t n, double *mean, dd_error *err) {
  if (n < 2) return dd_fail(err, DD_E_USAGE, "%lld tokens are too few: a loss needs at least 2", (long long)n);
  for (int64_t i = 0; i < n; i++)
    if (ids[i] >= g->j.m->o.shape.V)
      return dd_fail(err, DD_E_USAGE, "id %lld is %d, but ids are 0 to %lld", (long long)i, (int)ids[i],
                     (long long)g->j.m->o.shape.V - 1);
  return dd_evaluate_all(&g->j.evaluator, ids, n, mean, err);
}

int dd_gpt_loss(dd_gpt *g, const int32_t *ids, const int32_t *targets, int64_t sequences, int64_t tokens, double *loss,
                dd_error *err) {
  int rc = check_batch(g, ids, sequences, tokens, "id", err);
  if (!rc) rc = dd_gpt_check_ids(g, targets, sequences * tokens, "target", err);
  if (rc) return rc;
  const int64_t most = g->j.m->o.B;
  for (int64_t b = 0; b < sequences; b += most) {
    const int64_t n = dd_min64(most, sequences - b), at = b * tokens;
    dd_model_losses(g->j.m, ids + at, targets + at, n, tokens, loss + at);
  }
  return DD_OK;
}

int dd_gpt_logits(dd_gpt *g, const int32_t *ids, int64_t sequences, int64_t tokens, float *logits, dd_error *err) {
  const int rc = check_batch(g, ids, sequences, tokens, "id", err);
  if (rc) return rc;
  dd_model *m = g->j.m;
  const int64_t V = m->o.shape.V, most = dd_min64(m->o.slice * m->o.T / tokens, m->o.B);
  for (int64_t b = 0; b < sequences; b += most) {
    const int64_t n = dd_min64(most, sequences - b);
    dd_model_logits(m, ids + b * tokens, n, tokens, 0, NULL);
    memcpy(logits + b * tokens * V, m->logits, (size_t)(n * tokens * V) * sizeof *logits);
  }
  return DD_OK;
}

/* A decoder of one stream in these weights, kept for the next call. */
static int decoder(dd_gpt *g, dd_weights weights, dd_error *err) {
  if (g->infer && g->infer_weights == weights) return DD_OK;
  dd_infer_destroy(g->infer);
  g->infer = NULL;
  g->infer_weights = weights;
  return dd_infer_create(&g->infer, g->j.m, &(dd_infer_options){.weights = weights, .streams = 1}, err);
}

int dd_gpt_generate(dd_gpt *g, const dd_settings *how, const int32_t *prompt, int64_t n_prompt, int32_t *ids, int64_t n,
                    dd_error *err) {
  if (!how) how = g->j.s;
  if (n_prompt < 1 || n < 1)
    return dd_fail(err, DD_E_USAGE, "generating needs a prompt of at least 1 token and at least 1 token to make");
  int rc = dd_gpt_check_ids(g, prompt, n_prompt, "prompt token", err);
  if (!rc) rc = decoder(g, (dd_weights)how->weights, err);
  if (rc) return rc;
  dd_settings *s = dd_settings_create();
  if (!s) return dd_fail(err, DD_E_RUNTIME, "out of memory for settings");
  *s = *how;
  dd_settings_reset(s, DD_SETTING_prompt); /* ids are given instead */
  const dd_callbacks quiet = {.user = g->j.cb ? g->j.cb->user : NULL,
                              .should_stop = g->j.cb ? g->j.cb->should_stop : NULL};
  dd_generator q;
  rc = dd_generator_open(&q, g->infer, g->vocab, s, err);
  if (!rc) {
    int32_t *own = q.prompt;
    const int64_t keep = dd_min64(n_prompt, g->j.m->o.shape.S);
    q.prompt = malloc((size_t)keep * sizeof *q.prompt);
    if (q.prompt) {
      free(own);
      memcpy(q.prompt, prompt + n_prompt - keep, (size_t)keep * sizeof *q.prompt);
      q.n_prompt = keep;
      q.sink = ids;
      rc = dd_generate(&q, 0, 1, n, &quiet, NULL, err);
    } else {
      q.prompt = own;
      rc = dd_fail(err, DD_E_RUNTIME, "out of memory for a prompt");
    }
    dd_generator_close(&q);
  }
  dd_settings_destroy(s);
  return rc;
}

/* ---- text ---- */

int dd_gpt_encode(const dd_gpt *g, const char *text, size_t bytes, int32_t *ids, int64_t room, int64_t *n,
                  dd_error *err) {
  uint16_t *all = NULL;
  *n = 0;
  if (bytes == 0) return DD_OK;
  const int rc = dd_vocab_encode(g->vocab, text, bytes, "the text", &all, n, NULL, err);
  if (rc) return rc;
  for (int64_t i = 0; i < *n && i < room; i++) ids[i] = all[i];
  free(all);
  return DD_OK;
}

int dd_gpt_decode(const dd_gpt *g, const int32_t *ids, int64_t n, char *text, size_t room, size_t *bytes,
                  dd_error *err) {
  size_t used = 0, end = 0;
  const int rc = dd_gpt_check_ids(g, ids, n, "id", err);
  if (rc) return rc;
  for (int64_t i = 0; i < n; i++) {
    char scratch[8];
    size_t len;
    const char *one = dd_vocab_decode(g->vocab, ids[i], scratch, &len);
    if (used == end && used + len < room) { /* whole symbols only, and nothing after one that did not fit */
      memcpy(text + used, one, len);
      end += len;
    }
    used += len;
  }
  if (room) text[end] = '\0';
  *bytes = used;
  return DD_OK;
}

/* ---- weights ---- */

static void view(dd_tensor_view *out, const dd_tensor *t, float *flat, const char *name) {
  *out = (dd_tensor_view){.data = flat + t->offset,
                          .size = t->size,
                          .dimensions = t->cols ? 2 : 1,
                          .shape = {t->rows, t->cols ? t->cols : 1}};
  snprintf(out->name, sizeof out->name, "%s", name);
}

int dd_gpt_tensor_at(dd_gpt *g, int64_t i, dd_tensor_view *out, dd_error *err) {
  const dd_layout *l = &g->j.m->layout;
  if (i < 0 || i >= l->count)
    return dd_fail(err, DD_E_USAGE, "there is no tensor %lld; there are 0 to %d", (long long)i, l->count - 1);
  view(out, l->tensors + i, g->j.m->param, l->tensors[i].name);
  return DD_OK;
}

int dd_gpt_tensor(dd_gpt *g, const char *name, dd_tensor_view *out, dd_error *err) {
  const dd_model *m = g->j.m;
  static const char *const prefix[3] = {"optim.m/", "optim.v/", ""};
  float *const flat[3] = {m->m, m->v, m->param};
  for (int a = 0; a < 3; a++) {
    const size_t n = strlen(prefix[a]);
    if (!flat[a] || strncmp(name, prefix[a], n) != 0) continue;
    for (int i = 0; i < m->layout.count; i++)
      if (strcmp(name + n, m->layout.tensors[i].name) == 0) {
        view(out, m->layout.tensors + i, flat[a], name);
        return DD_OK;
      }
  }
  return dd_fail(err, DD_E_USAGE, "there is no tensor '%.80s' (the first is '%s')", name, m->layout.tensors[0].name);
}

int dd_gpt_changed(dd_gpt *g, dd_error *err) {
  dd_model_params_changed(g->j.m);
  if (g->c) return dd_job_check_state(&g->j, err);
  g->j.state.by_hand |= DD_HAND_WEIGHTS;
  return dd_job_check_state(&g->j, err);
}

int dd_gpt_fingerprint(const dd_gpt *g, char out[33], dd_error *err) {
  dd_model_fingerprint(g->j.m, out);
  return *out ? DD_OK : dd_fail(err, DD_E_RUNTIME, "out of memory for the fingerprint of the weights");
}
