#include "run/generate.h"
#include "core/machine.h"
#include "run/evaluate.h"
#include <stdlib.h>
#include <string.h>

enum { STREAMS_MAX = 16, PIECE = 4096 };
static const double PAUSE = 0.02; /* seconds between pieces of text: each costs the threads that wait a sleep */

int64_t dd_generator_streams(const dd_shape *shape, dd_weights weights, int64_t samples, int64_t tokens) {
  int64_t most = STREAMS_MAX;
  most = dd_min64(most, (int64_t)(((uint64_t)1 << 30) / dd_infer_stream_bytes(shape, weights)));
  most = dd_min64(most, ((int64_t)64 << 20) / tokens);
  if (most < 1) most = 1;
  return dd_pieces(samples, dd_pieces(samples, most));
}

int dd_generator_open(dd_generator *q, dd_infer *g, const dd_vocab *vocab, const dd_settings *s, dd_error *err) {
  *q = (dd_generator){.g = g, .vocab = vocab, .s = s};
  uint16_t *ids = NULL;
  const char *prompt = *s->prompt ? s->prompt : "\n";
  int rc = dd_vocab_encode_prompt(vocab, prompt, strlen(prompt), &ids, &q->n_prompt, err);
  if (rc && !dd_settings_is_set(s, DD_SETTING_prompt)) { /* the default prompt is no text of this vocabulary */
    rc = DD_OK;
    q->n_prompt = 1;
    ids = calloc(1, sizeof *ids);
  }
  if (rc) return rc;
  const size_t S = (size_t)dd_infer_model(g)->o.shape.S, streams = (size_t)dd_infer_streams(g);
  q->prompt = malloc((size_t)(q->n_prompt + 1) * sizeof *q->prompt);
  q->context = malloc(streams * S * sizeof *q->context);
  q->ids = malloc(streams * (S + 1) * sizeof *q->ids);
  q->next = malloc(streams * sizeof *q->next);
  if (!ids || !q->prompt || !q->context || !q->ids || !q->next) {
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
  free(q->ids);
  free(q->next);
  free(q->later);
  q->prompt = q->context = q->ids = q->next = NULL;
  q->later = NULL;
}

/* ---- text ---- */

typedef struct piece {
  const dd_generator *q;
  const dd_callbacks *cb;
  size_t n;
  char text[PIECE];
} piece;

/* Bytes at the end of text[n] that begin a character and do not end it: tokens of bytes and of GPT-2 may do so. */
static size_t unfinished(const char *text, size_t n) {
  for (size_t k = 1; k <= 3 && k <= n; k++) {
    const unsigned char c = (unsigned char)text[n - k];
    if ((c & 0xC0) == 0x80) continue;
    return k < (c >= 0xF0 ? 4U : c >= 0xE0 ? 3U : c >= 0xC0 ? 2U : 1U) ? k : 0;
  }
  return 0;
}

/* Whole characters; with `all` the rest too. */
static void piece_flush(piece *p, int all) {
  const size_t kept = all ? 0 : unfinished(p->text, p->n), n = p->n - kept;
  if (n && p->cb && p->cb->text) p->cb->text(p->cb->user, p->text, n);
  memmove(p->text, p->text + n, kept);
  p->n = kept;
}

static void piece_put(piece *p, int id) {
  char scratch[8];
  size_t n;
  const char *text = dd_vocab_decode(p->q->vocab, id, scratch, &n);
  if (p->n + n > PIECE) piece_flush(p, 0);
  memcpy(p->text + p->n, text, n);
  p->n += n;
}

static void title(const dd_generator *q, int64_t sample, const dd_callbacks *cb) {
  if (!q->titled || !cb || !cb->text) return;
  if (sample) cb->text(cb->user, "\n---------------\n", 17);
  cb->text(cb->user, q->s->prompt, strlen(q->s->prompt));
}

static int stopped(const dd_callbacks *cb, dd_error *err) {
  if (dd_should_stop(cb) != 1) return DD_OK;
  return dd_fail(err, DD_E_STOPPED, "stopped on request while generating");
}

/* ---- one group of samples ---- */

typedef struct group {
  dd_generator *q;
  const dd_callbacks *cb;
  int64_t samples, tokens; /* samples that are wanted, tokens of each */
  int64_t made, length;    /* tokens made; tokens of the context */
  dd_draw draw;
  double per_token; /* seconds, of the last steps; 0: not known */
  piece text;       /* of stream 0, not yet told */
} group;

/* n new tokens of each stream, ids[stream*ld ..]: stream 0 is printed, the others wait. */
static int emit(group *p, const int32_t *ids, int64_t ld, int64_t n, int64_t *done, dd_error *err) {
  for (int64_t i = 0; i < n; i++) piece_put(&p->text, ids[i]);
  piece_flush(&p->text, 0);
  for (int64_t s = 1; s < p->samples; s++) {
    uint16_t *to = p->q->later + (s - 1) * p->tokens + p->made;
    for (int64_t i = 0; i < n; i++) to[i] = (uint16_t)ids[s * ld + i];
  }
  if (p->q->sink) memcpy(p->q->sink + p->made, ids, (size_t)n * sizeof *ids);
  p->made += n;
  p->draw.position += (uint32_t)n;
  if (done) *done += n * p->samples;
  return stopped(p->cb, err);
}

/* The context is full: keep its end, put the new token there, run it again. */
static void rerun(group *p) {
  dd_generator *q = p->q;
  const int64_t S = dd_infer_model(q->g)->o.shape.S, half = S / 2 > 0 ? S / 2 : 1;
  const int64_t n = q->s->overflow == DD_OVERFLOW_EXACT ? S : half;
  for (int64_t s = 0; s < dd_infer_streams(q->g); s++) {
    int32_t *context = q->context + s * S;
    memmove(context, context + p->length - (n - 1), (size_t)(n - 1) * sizeof *context);
    context[n - 1] = q->next[s];
    memcpy(q->ids + s * n, context, (size_t)n * sizeof *context);
  }
  dd_infer_reset(q->g);
  dd_infer_feed(q->g, q->ids, n);
  dd_infer_sample(q->g, &p->draw, q->next);
  p->length = n;
}

/* n more tokens of each stream through the cache, into q->ids[stream][n + 1] after the one fed first. */
static void step(group *p, int64_t n) {
  dd_generator *q = p->q;
  const int64_t S = dd_infer_model(q->g)->o.shape.S;
  const double since = dd_now();
  for (int64_t s = 0; s < dd_infer_streams(q->g); s++) q->ids[s * (n + 1)] = q->next[s];
  dd_infer_generate(q->g, n, &p->draw, q->ids);
  for (int64_t s = 0; s < dd_infer_streams(q->g); s++) {
    const int32_t *ids = q->ids + s * (n + 1);
    memcpy(q->context + s * S + p->length, ids, (size_t)n * sizeof *ids);
    q->next[s] = ids[n];
  }
  p->length += n;
  p->per_token = (dd_now() - since) / (double)n;
}

static int run_group(group *p, int64_t *done, dd_error *err) {
  dd_generator *q = p->q;
  const int64_t S = dd_infer_model(q->g)->o.shape.S, streams = dd_infer_streams(q->g);
  p->length = dd_min64(q->n_prompt, S);
  for (int64_t s = 0; s < streams; s++)
    memcpy(q->context + s * S, q->prompt + q->n_prompt - p->length, (size_t)p->length * sizeof *q->prompt);
  dd_infer_reset(q->g);
  dd_infer_feed_all(q->g, q->context, p->length);
  dd_infer_sample(q->g, &p->draw, q->next);
  int rc = emit(p, q->next, 1, 1, done, err);
  while (!rc && p->made < p->tokens) {
    const int64_t room = S - p->length;
    if (room == 0) {
      rerun(p);
      rc = emit(p, q->next, 1, 1, done, err);
      continue;
    }
    const double fit = p->per_token > 0 ? PAUSE / p->per_token : 1;
    const int64_t n = dd_min64(dd_min64(room, p->tokens - p->made), fit < 1 ? 1 : fit > 1e6 ? 1000000 : (int64_t)fit);
    step(p, n);
    rc = emit(p, q->ids + 1, n + 1, n, done, err);
  }
  return rc;
}

int dd_generate(dd_generator *q, int64_t first, int64_t samples, int64_t tokens, const dd_callbacks *cb, int64_t *done,
                dd_error *err) {
  group p = {.q = q, .cb = cb, .samples = samples, .tokens = tokens, .text = {.q = q, .cb = cb}};
  p.draw = (dd_draw){.temperature = q->s->temperature, .top_k = q->s->top_k, .seed = q->s->seed,
                     .sample = (uint32_t)first};
  free(q->later);
  q->later = samples > 1 ? malloc((size_t)((samples - 1) * tokens) * sizeof *q->later) : NULL;
  if (samples > 1 && !q->later)
    return dd_fail(err, DD_E_RUNTIME, "out of memory for the text of %d samples", (int)samples);
  title(q, first, cb);
  int rc = run_group(&p, done, err);
  piece_flush(&p.text, 1);
  for (int64_t s = 1; s < samples && !rc; s++) {
    piece text = {.q = q, .cb = cb};
    title(q, first + s, cb);
    for (int64_t i = 0; i < tokens && !rc; i++) {
      piece_put(&text, q->later[(s - 1) * tokens + i]);
      if (i % PIECE == PIECE - 1) rc = stopped(cb, err);
    }
    piece_flush(&text, 1);
  }
  return rc;
}
