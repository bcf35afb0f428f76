/* Generation: tokens per second of one stream, beside the memory that a token has to read. */
#include "bench/bench.h"
#include "model/infer.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { TOKENS = 256 };

/* Everything that knows how tokens are made. */
typedef struct writer {
  dd_model *m;
  dd_infer *g;
  double *work;
  int64_t tokens;
} writer;

static int writer_open(writer *w, const dd_bench_preset *p, const dd_kernels *k, int threads, dd_error *err) {
  const dd_model_options o = {.shape = p->shape, .B = 1, .T = p->shape.S, .accumulation = 1, .seed = 1337};
  *w = (writer){.tokens = dd_min64(TOKENS, p->shape.S)};
  int rc = dd_model_create(&w->m, &o, k, threads, err);
  if (rc) return rc;
  dd_model_init(w->m, 0.02);
  w->work = malloc((size_t)p->shape.V * sizeof *w->work);
  if (!w->work) return dd_fail(err, DD_E_RUNTIME, "out of memory for sampling");
  return dd_infer_create(&w->g, w->m, err);
}

static void writer_close(writer *w) {
  dd_infer_destroy(w->g);
  dd_model_destroy(w->m);
  free(w->work);
}

/* From an empty context, token by token, as `dd-cpu sample` does. */
static void write_text(void *arg, int64_t times) {
  writer *w = arg;
  for (int64_t i = 0; i < times; i++) {
    int32_t id = 0;
    dd_infer_reset(w->g);
    for (int64_t t = 0; t < w->tokens; t++) {
      const float *logits = dd_infer_feed(w->g, &id, 1);
      id = dd_sample_token(logits, w->m->o.shape.V, 0.8, 200, 1337, 0, (uint32_t)t, w->work);
    }
  }
}

/* Bytes that a token reads on average: every matrix once, and the keys and values so far. */
static double bytes_per_token(const dd_bench_preset *p, int64_t tokens, double bytes_per_weight) {
  const double L = (double)p->shape.L, C = (double)p->shape.C;
  return bytes_per_weight * (12 * L * C * C + (double)p->shape.V * C) + 4 * L * C * (double)tokens;
}

static int configuration(dd_bench *b, const dd_bench_preset *p, const dd_kernels *k, int threads, dd_error *err) {
  writer w;
  b->using = threads;
  dd_stream s = {0};
  dd_contender c[2];
  int rc = writer_open(&w, p, k, threads, err);
  const double bytes = bytes_per_token(p, w.tokens, 4);
  if (!rc) rc = dd_stream_open(&s, w.m->team, DD_FLOW_READ, (int64_t)bytes, err);
  if (!rc) {
    dd_bench_heading(b, "%s, %.1f MB per token, tier %s, %d thread%s; limit: reading as many bytes", p->name, bytes / 1e6,
                     k->tier, threads, threads > 1 ? "s" : "");
    c[0] = dd_stream_contender(&s);
    c[1] = (dd_contender){.who = "dd-cpu", .run = write_text, .arg = &w, .work = bytes * (double)w.tokens};
    rc = dd_rounds(b, c, 2, dd_bench_repeats(b, 11), err);
  }
  if (!rc) {
    dd_row r = {.threads = threads, .value = dd_contender_rate(c + 1, bytes), .share = dd_contender_ratio(c + 1, c),
                .ratio = NAN, .who = "dd-cpu", .unit = "token/s"};
    snprintf(r.preset, sizeof r.preset, "%s", p->name);
    snprintf(r.what, sizeof r.what, "1 stream, f32, %lld tokens", (long long)w.tokens);
    snprintf(r.tier, sizeof r.tier, "%s", k->tier);
    rc = dd_bench_add(b, &r, err);
  }
  dd_stream_close(&s);
  writer_close(&w);
  return rc;
}

int dd_bench_generate(dd_bench *b, dd_error *err) {
  int rc = DD_OK;
  for (int i = 0; i < dd_bench_main_tiers(b) && !rc; i++)
    for (int q = 0; q < b->n_presets && !rc; q++)
      for (int j = 0; j < b->n_threads && !rc; j++)
        rc = configuration(b, b->presets + q, b->tiers[i], b->threads[j], err);
  return rc;
}
