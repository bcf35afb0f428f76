/* Running a decoder. Every function here but the public ones is SPMD: all threads of the team call it together.
 *
 * Products are split over outputs, never over k. A layer takes four barriers: after attention, after its projection,
 * after the MLP's first and second product (five where heads cannot be divided among the threads, two more where many
 * rows share the normalization). Two would need partial sums over k, which would change the bits. */
#include "core/mathd.h"
#include "core/philox.h"
#include "model/infer_internal.h"
#include <string.h>

/* Rows of one pass: streams stream0 .. stream0 + streams, `per` tokens of each at positions at, at + 1, ... */
typedef struct pass {
  dd_infer *g;
  int64_t stream0, streams, per, at;
  int64_t rows;  /* streams * per */
  int64_t first; /* the first row whose logits are wanted (all after it too) */
} pass;

static void embed_row(dd_ctx *c, dd_infer *g, int64_t row, int32_t id, int64_t at) {
  const int64_t C = g->m->o.shape.C;
  dd_enter(c, DD_PHASE_EMBED);
  c->k->add(g->x + row * C, g->m->p.wte + id * C, g->m->p.wpe + at * C, C);
}

/* Rows from..rows of src as the next product wants them: normalized if there is a weight, quantized for int8. The
 * caller has put a barrier between the writers of src and this. */
static dd_vectors prepare(dd_ctx *c, const pass *s, int64_t from, const float *src, int64_t n, const float *w,
                          const float *b) {
  const dd_infer *g = s->g;
  const dd_infer_thread *t = g->thread + c->tid;
  const int int8 = g->o.weights == DD_WEIGHTS_INT8, alone = s->rows - from <= DD_INFER_ALONE;
  if (!w && !int8) return (dd_vectors){.x = src + from * n, .ld = n};
  dd_enter(c, DD_PHASE_NORM);
  float *norm = alone ? t->norm : g->norm, *scale = alone ? t->scale : g->scale;
  int16_t *q = alone ? t->q : g->q;
  const int64_t rows = s->rows - from, ldq = dd_round_up(n, 2);
  const int64_t begin = alone ? 0 : dd_part_begin(rows, c->tid, c->nthreads),
                end = alone ? rows : dd_part_begin(rows, c->tid + 1, c->nthreads);
  for (int64_t r = begin; r < end; r++) {
    const float *x = src + (from + r) * n;
    float mean, rstd;
    if (w) c->k->layernorm(norm + r * n, &mean, &rstd, x, w, b, 1, n), x = norm + r * n;
    if (!int8) continue;
    scale[r] = c->k->quantize(q + r * ldq, x, n);
    if (ldq > n) q[r * ldq + n] = 0;
  }
  if (!alone) dd_barrier(c);
  return int8 ? (dd_vectors){.q = q, .scale = scale, .ld = ldq} : (dd_vectors){.x = norm, .ld = n};
}

/* out[r][col0 ..] = x times the share, plus bias. */
static void product(dd_ctx *c, const dd_share *h, float *out, int64_t ldo, const dd_vectors *x, int64_t rows,
                    const float *bias) {
  float *o = out + h->col0;
  if (!h->w.n) return;
  dd_enter(c, DD_PHASE_MATMUL);
  dd_panels_apply(c->k, &h->w, o, ldo, x, rows);
  for (int64_t r = 0; bias && r < rows; r++) c->k->add(o + r * ldo, o + r * ldo, bias + h->col0, h->w.n);
}

static void attend(dd_ctx *c, const pass *s, int64_t l, int64_t from) {
  const dd_infer *g = s->g;
  const dd_shape *p = &g->m->o.shape;
  const int64_t C = p->C, hs = C / p->H, tasks = p->H * s->streams;
  dd_enter(c, DD_PHASE_ATTENTION);
  /* Heads are the slow index: with by_head this gives every thread its own. */
  const int64_t begin = dd_part_begin(tasks, c->tid, c->nthreads), end = dd_part_begin(tasks, c->tid + 1, c->nthreads);
  for (int64_t i = begin; i < end; i++) {
    const int64_t h = i / s->streams, row = i % s->streams * s->per, skip = from > row ? from - row : 0;
    const dd_kv *kv = dd_infer_kv(g, l, h, s->stream0 + i % s->streams);
    const float *q = g->qkv + row * 3 * C + h * hs;
    for (int64_t t = 0; t < s->per; t++)
      dd_kv_put(kv, g->bf16_cache, hs, s->at + t, q + t * 3 * C + C, q + t * 3 * C + 2 * C);
    if (skip < s->per)
      dd_kv_attend(c->k, kv, g->bf16_cache, hs, s->at + skip, s->per - skip, q + skip * 3 * C, 3 * C,
                   g->att + (row + skip) * C + h * hs, C, g->thread[c->tid].scores);
  }
}

/* x += src in the columns of a share: the residual stream. */
static void add_residual(dd_ctx *c, const dd_share *h, float *x, const float *src, int64_t C, int64_t from,
                         int64_t rows) {
  for (int64_t r = from; r < rows && h->w.n; r++)
    c->k->add(x + r * C + h->col0, x + r * C + h->col0, src + r * C + h->col0, h->w.n);
}

/* From the embedded rows in g->x to the logits of rows first.. in `logits`. Ends with a barrier. */
static void run(dd_ctx *c, const pass *s, float *logits) {
  dd_infer *g = s->g;
  const dd_infer_thread *t = g->thread + c->tid;
  const dd_shape *sh = &g->m->o.shape;
  const int64_t C = sh->C, rows = s->rows;
  for (int64_t l = 0; l < sh->L; l++) {
    const dd_layer_params *p = g->m->p.layer + l;
    const dd_share_layer *y = t->layer + l;
    const int64_t from = l == sh->L - 1 ? s->first : 0; /* before it only the last layer's keys and values are needed */
    dd_vectors in = prepare(c, s, 0, g->x, C, p->ln1_w, p->ln1_b);
    for (int i = 0; i < g->qkv_pieces; i++) product(c, &y->qkv[i], g->qkv, 3 * C, &in, rows, p->qkv_b);
    if (!g->by_head) dd_barrier(c);
    attend(c, s, l, from);
    dd_barrier(c);
    if (from == rows) return;
    in = prepare(c, s, from, g->att, C, NULL, NULL);
    product(c, &y->att, g->sum + from * C, C, &in, rows - from, p->att_b);
    add_residual(c, &y->att, g->x, g->sum, C, from, rows);
    dd_barrier(c);
    in = prepare(c, s, from, g->x, C, p->ln2_w, p->ln2_b);
    product(c, &y->fc, g->act + from * 4 * C, 4 * C, &in, rows - from, p->fc_b);
    for (int64_t r = from; r < rows && y->fc.w.n; r++) {
      float *a = g->act + r * 4 * C + y->fc.col0;
      c->k->gelu(a, a, y->fc.w.n);
    }
    dd_barrier(c);
    in = prepare(c, s, from, g->act, 4 * C, NULL, NULL);
    product(c, &y->out, g->sum + from * C, C, &in, rows - from, p->out_b);
    add_residual(c, &y->out, g->x, g->sum, C, from, rows);
    dd_barrier(c);
  }
  const dd_vectors in = prepare(c, s, s->first, g->x, C, g->m->p.lnf_w, g->m->p.lnf_b);
  product(c, &t->head, logits, sh->V, &in, rows - s->first, NULL);
  dd_barrier(c);
}

/* ---- tokens that are known ---- */

typedef struct feed_args {
  dd_infer *g;
  const int32_t *ids, *targets;
  int64_t n, streams; /* ids[streams][n] */
  double *loss;
} feed_args;

/* Rows of streams stream0.., `per` tokens each, that begin at token `from` of what is fed. */
static pass pass_of(dd_ctx *c, const feed_args *f, int64_t stream0, int64_t streams, int64_t from, int64_t per) {
  pass s = {.g = f->g, .stream0 = stream0, .streams = streams, .per = per, .at = f->g->length + from};
  s.rows = streams * per;
  for (int64_t r = c->tid; r < s.rows; r += c->nthreads)
    embed_row(c, f->g, r, f->ids[(stream0 + r / per) * f->n + from + r % per], s.at + r % per);
  dd_barrier(c);
  return s;
}

static void feed_team(dd_ctx *c, void *arg) {
  const feed_args *f = arg;
  dd_infer *g = f->g;
  const int64_t V = g->m->o.shape.V;
  if (f->n == 1) { /* a token of each stream: together */
    const pass s = pass_of(c, f, 0, f->streams, 0, 1);
    run(c, &s, g->logits);
    return;
  }
  for (int64_t stream = 0; stream < f->streams; stream++)
    for (int64_t from = 0, per; from < f->n; from += per) {
      per = dd_min64(g->rows, f->n - from);
      pass s = pass_of(c, f, stream, 1, from, per);
      s.first = from + per == f->n ? per - 1 : per;
      run(c, &s, g->logits + stream * V);
    }
}

static void losses_team(dd_ctx *c, void *arg) {
  const feed_args *f = arg;
  dd_infer *g = f->g;
  for (int64_t from = 0, per; from < f->n; from += per) {
    per = dd_min64(g->rows, f->n - from);
    const pass s = pass_of(c, f, 0, 1, from, per);
    run(c, &s, g->logits);
    dd_loss_rows(c, f->loss + from, g->logits, f->targets + from, per, g->m->o.shape.V, 0);
    dd_barrier(c);
  }
}

static void run_team(dd_infer *g, void (*fn)(dd_ctx *c, void *arg), void *arg) {
  dd_infer_pack(g);
  dd_team_eager(g->m->team, 1);
  dd_team_run(g->m->team, fn, arg);
  dd_team_eager(g->m->team, 0);
}

const float *dd_infer_feed(dd_infer *g, const int32_t *ids, int64_t n) {
  run_team(g, feed_team, &(feed_args){.g = g, .ids = ids, .n = n, .streams = g->o.streams});
  g->length += n;
  return g->logits;
}

void dd_infer_losses(dd_infer *g, const int32_t *ids, const int32_t *targets, int64_t n, double *loss) {
  g->length = 0;
  run_team(g, losses_team, &(feed_args){.g = g, .ids = ids, .targets = targets, .n = n, .streams = 1, .loss = loss});
}

static void copy_team(dd_ctx *c, void *arg) {
  dd_infer *g = arg;
  const dd_shape *s = &g->m->o.shape;
  size_t keys, values;
  dd_kv_bytes(g->bf16_cache, s->S, s->C / s->H, &keys, &values);
  DD_FOR(c, i, s->L * s->H) {
    const dd_kv *kv = dd_infer_kv(g, i / s->H, i % s->H, 0);
    for (int64_t j = 1; j < g->o.streams; j++) {
      memcpy(kv[j].keys, kv->keys, keys);
      memcpy(kv[j].values, kv->values, values);
    }
  }
  DD_FOR(c, j, g->o.streams) {
    if (j) memcpy(g->logits + j * s->V, g->logits, (size_t)s->V * sizeof *g->logits);
  }
}

const float *dd_infer_feed_all(dd_infer *g, const int32_t *ids, int64_t n) {
  run_team(g, feed_team, &(feed_args){.g = g, .ids = ids, .n = n, .streams = 1});
  if (g->o.streams > 1) dd_team_run(g->m->team, copy_team, g);
  g->length += n;
  return g->logits;
}

/* ---- tokens that are drawn ---- */

static int draw(const dd_infer *g, const dd_draw *d, int64_t stream, int64_t step, double *work) {
  const int64_t V = g->m->o.shape.V;
  return dd_sample_token(g->logits + stream * V, V, d->temperature, d->top_k, d->seed, d->sample + (uint32_t)stream,
                         d->position + (uint32_t)step, work);
}

void dd_infer_sample(dd_infer *g, const dd_draw *d, int32_t *ids) {
  for (int64_t s = 0; s < g->o.streams; s++) ids[s] = draw(g, d, s, 0, g->thread->work);
}

typedef struct generate_args {
  dd_infer *g;
  const dd_draw *d;
  int32_t *ids;
  int64_t n;
} generate_args;

/* The whole sequence in one region: a stream's next token is drawn and embedded by one thread, the rest is run(). */
static void generate_team(dd_ctx *c, void *arg) {
  const generate_args *a = arg;
  dd_infer *g = a->g;
  pass s = {.g = g, .streams = g->o.streams, .per = 1, .rows = g->o.streams};
  for (int64_t i = 0; i < a->n; i++) {
    s.at = g->length + i;
    for (int64_t r = c->tid; r < s.streams; r += c->nthreads) embed_row(c, g, r, a->ids[r * (a->n + 1) + i], s.at);
    dd_barrier(c);
    run(c, &s, g->logits);
    dd_enter(c, DD_PHASE_LOSS);
    for (int64_t r = c->tid; r < s.streams; r += c->nthreads)
      a->ids[r * (a->n + 1) + i + 1] = draw(g, a->d, r, i, g->thread[c->tid].work);
  }
}

void dd_infer_generate(dd_infer *g, int64_t n, const dd_draw *d, int32_t *ids) {
  run_team(g, generate_team, &(generate_args){g, d, ids, n});
  g->length += n;
}
