/* Generation: tokens per second of one and of ten streams, with each format of weights, beside the memory that a step
 * has to read. */
#include "bench/bench.h"
#include "model/infer.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { TOKENS = 256, MANY = 10, KINDS = 2 };
static const int64_t streams_of[KINDS] = {1, MANY};
#define WEIGHTS_NAME(list, id, name) name,
static const char *const weights_name[DD_WEIGHTS_COUNT] = {DD_WEIGHTS(WEIGHTS_NAME)};

/* Everything that knows how tokens are made. */
typedef struct writer {
  dd_infer *g;
  int32_t *ids; /* [streams][steps + 1] */
  int64_t streams, steps;
  double bytes; /* that one pass over all its tokens reads */
} writer;

static int writer_open(writer *w, dd_model *m, dd_weights weights, int64_t streams, dd_error *err) {
  *w = (writer){.streams = streams, .steps = dd_min64(TOKENS, m->o.shape.S) - 1};
  int rc = dd_infer_create(&w->g, m, &(dd_infer_options){weights, streams}, err);
  if (rc) return rc;
  w->ids = calloc((size_t)(streams * (w->steps + 1)), sizeof *w->ids);
  if (!w->ids) return dd_fail(err, DD_E_RUNTIME, "out of memory for tokens");
  for (int64_t i = 1; i <= w->steps + 1; i++) w->bytes += (double)dd_infer_bytes(w->g, i);
  return DD_OK;
}

static void writer_close(writer *w) {
  dd_infer_destroy(w->g);
  free(w->ids);
}

/* From an empty context, token by token, as `dd-cpu sample` does. */
static void write_text(void *arg, int64_t times) {
  writer *w = arg;
  for (int64_t i = 0; i < times; i++) {
    const int32_t start = 0;
    dd_draw d = {.temperature = 0.8, .top_k = 200, .seed = 1337};
    dd_infer_reset(w->g);
    dd_infer_feed_all(w->g, &start, 1);
    for (int64_t s = 0; s < w->streams; s++) w->ids[s * (w->steps + 1)] = 0;
    d.position = 1;
    dd_infer_generate(w->g, w->steps, &d, w->ids);
  }
}

static int add(dd_bench *b, const dd_bench_preset *p, const dd_kernels *k, int threads, const char *what,
               const char *unit, dd_spread v, double share, dd_error *err) {
  dd_row r = {.threads = threads, .value = v, .share = share, .ratio = NAN};
  dd_row_name(&r, p->name, "dd-cpu", k, unit, "%s", what);
  return dd_bench_add(b, &r, err);
}

/* c: reading, then one contender per kind. */
static int add_rows(dd_bench *b, const dd_bench_preset *p, const dd_kernels *k, int threads, const char *weights,
                    const dd_contender *c, const writer *w, dd_error *err) {
  char what[40];
  int rc = DD_OK;
  for (int i = 0; i < KINDS && !rc; i++) {
    const double tokens = (double)(w[i].streams * (w[i].steps + 1));
    snprintf(what, sizeof what, "%s, %lld stream%s", weights, (long long)w[i].streams, w[i].streams > 1 ? "s" : "");
    rc = add(b, p, k, threads, what, "token/s", dd_contender_rate(c + 1 + i, w[i].bytes / tokens),
             dd_contender_ratio(c + 1 + i, c), err);
  }
  if (rc) return rc;
  /* per token: the bytes of a pass differ */
  dd_contender one = c[1], many = c[2];
  one.work = (double)(w[0].streams * w[0].steps);
  many.work = (double)(w[1].streams * w[1].steps);
  snprintf(what, sizeof what, "%s, %d streams over 1", weights, MANY);
  return add(b, p, k, threads, what, "ratio", dd_contender_ratios(&many, &one), NAN, err);
}

static int with_weights(dd_bench *b, const dd_bench_preset *p, dd_model *m, int threads, dd_weights weights,
                        dd_error *err) {
  writer w[KINDS] = {{0}};
  dd_stream s = {0};
  dd_contender *c = calloc(1 + KINDS, sizeof *c);
  int rc = c ? DD_OK : dd_fail(err, DD_E_RUNTIME, "out of memory for samples");
  for (int i = 0; i < KINDS && !rc; i++) rc = writer_open(w + i, m, weights, streams_of[i], err);
  if (!rc) rc = dd_stream_open(&s, m->team, DD_FLOW_READ, (int64_t)(w[0].bytes / (double)(w[0].steps + 1)), err);
  if (!rc) {
    c[0] = dd_stream_contender(&s);
    for (int i = 0; i < KINDS; i++)
      c[1 + i] = (dd_contender){.who = "dd-cpu", .run = write_text, .arg = w + i, .work = w[i].bytes};
    rc = dd_rounds(b, c, 1 + KINDS, dd_bench_repeats(b, 11), err);
  }
  const dd_kernels *k = dd_team_kernels(m->team);
  if (!rc) rc = add_rows(b, p, k, threads, weights_name[weights], c, w, err);
  for (int i = 0; i < KINDS; i++) writer_close(w + i);
  dd_stream_close(&s);
  free(c);
  return rc;
}

static int configuration(dd_bench *b, const dd_bench_preset *p, const dd_kernels *k, int threads, dd_error *err) {
  const dd_model_options o = {.shape = p->shape, .B = 1, .T = 1, .accumulation = 1, .seed = 1337};
  dd_model *m;
  b->using = threads;
  int rc = dd_model_create(&m, &o, k, threads, err);
  if (rc) return rc;
  dd_model_init(m, 0.02);
  dd_bench_heading(b, "%s, first %lld tokens, tier %s, %d thread%s; limit: reading as many bytes", p->name,
                   (long long)dd_min64(TOKENS, p->shape.S), k->tier, threads, threads > 1 ? "s" : "");
  for (dd_weights f = 0; f < DD_WEIGHTS_COUNT && !rc; f++) rc = with_weights(b, p, m, threads, f, err);
  dd_model_destroy(m);
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
