/* Creation of a decoder: who computes what, where it lies, and packing the weights. decode.c runs it. */
#include "model/infer_internal.h"
#include <stdlib.h>
#include <string.h>

/* Like dd_part_begin in whole units of 16 outputs, a vector of the widest tier. */
static dd_share share_of(dd_weights kind, int64_t n, int64_t k, int tid, int threads) {
  const int64_t units = dd_pieces(n, 16), begin = dd_part_begin(units, tid, threads) * 16,
                end = dd_min64(dd_part_begin(units, tid + 1, threads) * 16, n);
  return (dd_share){.col0 = dd_min64(begin, n), .w = {.kind = kind, .n = end > begin ? end - begin : 0, .k = k}};
}

static void plan_thread(dd_infer *g, int tid) {
  const dd_shape *s = &g->m->o.shape;
  const int threads = dd_team_threads(g->m->team);
  const int64_t C = s->C, hs = C / s->H;
  const dd_weights kind = g->o.weights;
  dd_infer_thread *t = g->thread + tid;
  t->layer = g->layers + tid * s->L;
  dd_share_layer y = {.att = share_of(kind, C, C, tid, threads),
                      .fc = share_of(kind, 4 * C, C, tid, threads),
                      .out = share_of(kind, C, 4 * C, tid, threads)};
  if (g->by_head) {
    const int64_t h0 = dd_part_begin(s->H, tid, threads), h1 = dd_part_begin(s->H, tid + 1, threads);
    for (int i = 0; i < DD_INFER_PIECES; i++)
      y.qkv[i] = (dd_share){.col0 = i * C + h0 * hs, .w = {.kind = kind, .n = (h1 - h0) * hs, .k = C}};
  } else {
    y.qkv[0] = share_of(kind, 3 * C, C, tid, threads);
  }
  for (int64_t l = 0; l < s->L; l++) t->layer[l] = y;
  t->head = share_of(kind, s->V, C, tid, threads);
}

/* ---- memory: each function runs twice, first on empty arenas to add up sizes ---- */

static void take_share(dd_arena *a, dd_share *h) {
  h->w.data = dd_arena_take(a, dd_panels_bytes(h->w.kind, h->w.n, h->w.k));
}

static void take_packed(dd_infer *g) {
  const int threads = dd_team_threads(g->m->team);
  for (int i = 0; i < threads; i++) {
    dd_infer_thread *t = g->thread + i;
    for (int64_t l = 0; l < g->m->o.shape.L; l++) {
      dd_share_layer *y = t->layer + l;
      for (int j = 0; j < g->qkv_pieces; j++) take_share(&g->packed, &y->qkv[j]);
      take_share(&g->packed, &y->att);
      take_share(&g->packed, &y->fc);
      take_share(&g->packed, &y->out);
    }
    take_share(&g->packed, &t->head);
    dd_arena_take(&g->packed, 4096); /* neighbours do not share pages (small ones), nor what the prefetcher runs into */
  }
}

static void take_cache(dd_infer *g) {
  const dd_shape *s = &g->m->o.shape;
  size_t keys, values;
  dd_kv_bytes(g->bf16_cache, s->S, s->C / s->H, &keys, &values);
  for (int64_t i = 0; i < s->L * s->H * g->o.streams; i++)
    g->kv[i] = (dd_kv){.keys = dd_arena_take(&g->cache, keys), .values = dd_arena_take(&g->cache, values)};
}

static float *floats(dd_arena *a, int64_t n) { return dd_arena_take(a, (size_t)n * sizeof(float)); }
static int16_t *shorts(dd_arena *a, int64_t n) { return dd_arena_take(a, (size_t)n * sizeof(int16_t)); }

static void take_acts(dd_infer *g) {
  const dd_shape *s = &g->m->o.shape;
  const int64_t R = g->rows, C = s->C, S = dd_round_up(s->S, DD_GEMV_PANEL);
  const int threads = dd_team_threads(g->m->team), int8 = g->o.weights == DD_WEIGHTS_INT8;
  dd_arena *a = &g->acts;
  g->x = floats(a, R * C), g->sum = floats(a, R * C), g->norm = floats(a, R * C);
  g->qkv = floats(a, R * 3 * C), g->att = floats(a, R * C), g->act = floats(a, R * 4 * C);
  g->q = int8 ? shorts(a, R * (4 * C + 1)) : NULL;
  g->scale = floats(a, R);
  g->logits = floats(a, R * s->V);
  for (int i = 0; i < threads; i++) {
    dd_infer_thread *t = g->thread + i;
    t->norm = floats(a, DD_INFER_ALONE * C);
    t->q = int8 ? shorts(a, DD_INFER_ALONE * (4 * C + 1)) : NULL;
    t->scale = floats(a, DD_INFER_ALONE);
    t->scores = floats(a, DD_KV_QUERIES * S);
    t->work = dd_arena_take(a, (size_t)s->V * sizeof(double));
  }
}

static int allocate(dd_infer *g, dd_error *err) {
  take_packed(g);
  take_cache(g);
  take_acts(g);
  const size_t packed = g->packed.used, cache = g->cache.used, acts = g->acts.used;
  int rc = dd_arena_create(&g->packed, packed, "packed weights", err);
  if (!rc) rc = dd_arena_create(&g->cache, cache, "the key/value cache", err);
  if (!rc) rc = dd_arena_create(&g->acts, acts, "activations", err);
  if (rc) return rc;
  take_packed(g);
  take_cache(g);
  take_acts(g);
  return DD_OK;
}

int dd_infer_create(dd_infer **out, dd_model *m, const dd_infer_options *o, dd_error *err) {
  const dd_shape *s = &m->o.shape;
  const int threads = dd_team_threads(m->team);
  *out = NULL;
  dd_infer *g = calloc(1, sizeof *g);
  if (g) {
    g->m = m;
    g->o = *o;
    g->bf16_cache = o->weights != DD_WEIGHTS_F32;
    g->by_head = s->H % threads == 0;
    g->qkv_pieces = g->by_head ? DD_INFER_PIECES : 1;
    g->rows = dd_min64(DD_INFER_ROWS, s->S);
    if (g->rows < o->streams) g->rows = o->streams;
    g->kv = calloc((size_t)(s->L * s->H * o->streams), sizeof *g->kv);
    g->thread = calloc((size_t)threads, sizeof *g->thread);
    g->layers = calloc((size_t)(threads * s->L), sizeof *g->layers);
  }
  if (!g || !g->kv || !g->thread || !g->layers) {
    dd_infer_destroy(g);
    return dd_fail(err, DD_E_RUNTIME, "out of memory for generation");
  }
  for (int i = 0; i < threads; i++) plan_thread(g, i);
  const int rc = allocate(g, err);
  if (rc) {
    dd_infer_destroy(g);
    return rc;
  }
  *out = g;
  return DD_OK;
}

void dd_infer_destroy(dd_infer *g) {
  if (!g) return;
  dd_arena_destroy(&g->packed);
  dd_arena_destroy(&g->cache);
  dd_arena_destroy(&g->acts);
  free(g->kv);
  free(g->thread);
  free(g->layers);
  free(g);
}

const dd_model *dd_infer_model(const dd_infer *g) { return g->m; }
int64_t dd_infer_streams(const dd_infer *g) { return g->o.streams; }
int64_t dd_infer_length(const dd_infer *g) { return g->length; }
void dd_infer_reset(dd_infer *g) { g->length = 0; }

uint64_t dd_infer_stream_bytes(const dd_shape *s, dd_weights weights) {
  size_t keys, values;
  dd_kv_bytes(weights != DD_WEIGHTS_F32, s->S, s->C / s->H, &keys, &values);
  return (uint64_t)(s->L * s->H) * (keys + values);
}

uint64_t dd_infer_bytes(const dd_infer *g, int64_t length) {
  const dd_shape *s = &g->m->o.shape;
  const uint64_t entry = g->bf16_cache ? sizeof(uint16_t) : sizeof(float);
  uint64_t bytes = (uint64_t)(2 * s->L * s->C * length * g->o.streams) * entry;
  for (int i = 0; i < dd_team_threads(g->m->team); i++) {
    const dd_infer_thread *t = g->thread + i;
    for (int64_t l = 0; l < s->L; l++) {
      const dd_share_layer *y = t->layer + l;
      for (int j = 0; j < g->qkv_pieces; j++) bytes += dd_panels_bytes(g->o.weights, y->qkv[j].w.n, y->qkv[j].w.k);
      bytes += dd_panels_bytes(g->o.weights, y->att.w.n, y->att.w.k);
      bytes += dd_panels_bytes(g->o.weights, y->fc.w.n, y->fc.w.k);
      bytes += dd_panels_bytes(g->o.weights, y->out.w.n, y->out.w.k);
    }
    bytes += dd_panels_bytes(g->o.weights, t->head.w.n, t->head.w.k);
  }
  return bytes;
}

/* ---- packing ---- */

static void pack_share(const dd_share *h, const float *w) { dd_panels_pack(&h->w, w + h->col0 * h->w.k); }

static void pack_team(dd_ctx *c, void *arg) {
  const dd_infer *g = arg;
  const dd_infer_thread *t = g->thread + c->tid;
  for (int64_t l = 0; l < g->m->o.shape.L; l++) {
    const dd_share_layer *y = t->layer + l;
    const dd_layer_params *p = g->m->p.layer + l;
    for (int j = 0; j < g->qkv_pieces; j++) pack_share(&y->qkv[j], p->qkv_w);
    pack_share(&y->att, p->att_w);
    pack_share(&y->fc, p->fc_w);
    pack_share(&y->out, p->out_w);
  }
  pack_share(&t->head, g->m->p.wte);
}

void dd_infer_pack(dd_infer *g) {
  if (g->packed_version == g->m->version) return;
  dd_team_run(g->m->team, pack_team, g);
  g->packed_version = g->m->version;
}
