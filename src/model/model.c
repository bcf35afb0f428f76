/* Creation of a model: every buffer it will ever use is taken here. The step itself is in step.c. */
#include "model/model.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Tokens per slice and thread: enough work between two barriers, few enough for a layer to stay in the last cache. */
enum { SLICE_TOKENS = 512 };

/* With arenas that have no memory yet this only adds up sizes. */
static float *floats(dd_arena *a, int64_t n) { return dd_arena_take(a, (size_t)n * sizeof(float)); }

/* Weights w [out][in] for x w' and for dy w; w is bound when there are parameters. */
static dd_packed packed(dd_model *m, const dd_kernels *k, const float *w, int64_t rows, int64_t cols, int back) {
  float *data = m->fresh ? NULL : floats(&m->weights, dd_packed_size(k, rows, cols));
  return (dd_packed){data, rows, cols, w, back ? cols : 1, back ? 1 : rows};
}

static void take_weights(dd_model *m, const dd_kernels *k) {
  dd_arena *a = &m->weights;
  const dd_shape *s = &m->o.shape;
  const int64_t n = m->layout.floats, C = s->C;
  m->param = floats(a, n);
  if (m->param) dd_params_bind(&m->p, &m->layout, m->param);
  if (m->o.train) {
    m->grad = floats(a, n);
    if (m->grad) dd_params_bind(&m->g, &m->layout, m->grad);
    m->m = floats(a, n);
    m->v = floats(a, n);
    const int depth = dd_joint_depth(dd_model_micros(m));
    for (int i = 0; i < depth; i++) m->tree[i] = floats(a, n);
    for (int i = 0; m->joint && i < m->joint->parts; i++)
      if (m->joint->part[i].owner != m->joint->rank) m->joint->box[i] = floats(a, dd_joint_box(m->joint));
  }
  for (int64_t l = 0; l < s->L; l++) {
    const dd_layer_params *p = m->p.layer + l;
    dd_layer_packs w = {.qkv = packed(m, k, p->qkv_w, C, 3 * C, 0),
                        .att = packed(m, k, p->att_w, C, C, 0),
                        .fc = packed(m, k, p->fc_w, C, 4 * C, 0),
                        .out = packed(m, k, p->out_w, 4 * C, C, 0)};
    if (m->o.train) {
      w.qkv_back = packed(m, k, p->qkv_w, 3 * C, C, 1);
      w.att_back = packed(m, k, p->att_w, C, C, 1);
      w.fc_back = packed(m, k, p->fc_w, 4 * C, C, 1);
      w.out_back = packed(m, k, p->out_w, C, 4 * C, 1);
    }
    m->packs[l] = w;
  }
  m->head = packed(m, k, m->p.wte, C, s->V, 0);
  if (m->o.train) m->head_back = packed(m, k, m->p.wte, s->V, C, 1);
}

static void take_acts(dd_model *m) {
  dd_arena *a = &m->acts;
  const dd_shape *s = &m->o.shape;
  const int64_t all = m->o.B * m->o.T, N = m->o.slice * m->o.T, C = s->C;
  m->embed = floats(a, N * C);
  for (int64_t l = 0; l < s->L; l++) {
    if (l && !m->o.train) { /* nothing is kept for backward: one set serves all layers (out doubles as input) */
      m->layer[l] = m->layer[0];
      continue;
    }
    dd_layer_acts *y = m->layer + l;
    const int kept = !l || !m->o.recompute; /* else these belong to the layer at work */
    y->ln1 = kept ? floats(a, N * C) : m->layer->ln1, y->ln1_mean = floats(a, N), y->ln1_rstd = floats(a, N);
    y->qkv = floats(a, N * 3 * C);
    y->att_max = floats(a, N * s->H), y->att_inv = floats(a, N * s->H);
    y->att = floats(a, N * C);
    y->mid = floats(a, N * C);
    y->ln2 = kept ? floats(a, N * C) : m->layer->ln2, y->ln2_mean = floats(a, N), y->ln2_rstd = floats(a, N);
    y->fc = floats(a, N * 4 * C), y->act = kept ? floats(a, N * 4 * C) : m->layer->act;
    y->out = floats(a, N * C);
  }
  m->lnf = floats(a, N * C), m->lnf_mean = floats(a, N), m->lnf_rstd = floats(a, N);
  m->logits = floats(a, N * s->V);
  m->row_loss = dd_arena_take(a, (size_t)all * sizeof(double));
  if (!m->o.train) return;
  m->norm_partial = dd_arena_take(a, (size_t)(m->layout.floats / DD_NORM_CHUNK + 1) * sizeof(double));
  m->dres = floats(a, all * C), m->dsite = floats(a, N * C), m->dnarrow = floats(a, N * C);
  m->dwide = floats(a, N * 4 * C), m->dqkv = floats(a, N * 3 * C);
  m->partial = floats(a, dd_partial_size(N, C));
}

static size_t scratch_bytes(const dd_model_options *o) {
  /* S, not T: generation attends to the whole context whatever the model was made to train on. */
  const int64_t widest = o->shape.V > 4 * o->shape.C ? o->shape.V : 4 * o->shape.C;
  const int64_t a = dd_matmul_scratch(widest), b = dd_attention_scratch(o->shape.S, o->shape.C / o->shape.H);
  return (size_t)(a > b ? a : b) * sizeof(float);
}

int64_t dd_model_slice(const dd_model_options *o, int threads) {
  const int64_t wanted = o->slice ? o->slice : dd_pieces(SLICE_TOKENS * threads, o->T);
  int64_t aligned = 1; /* sequences that make whole chunks */
  while (o->train && aligned < o->B && aligned * o->T % DD_TOKEN_CHUNK) aligned++;
  return dd_min64(dd_round_up(wanted, aligned), o->B);
}

static int allocate(dd_model *m, const dd_model_options *o, int threads, dd_error *err) {
  m->o = *o;
  m->o.slice = dd_model_slice(o, threads);
  m->fresh = o->B * o->T * (o->accumulation > 1 ? o->accumulation : 1) <= DD_FRESH_ROWS;
  int rc = dd_layout_create(&m->layout, &o->shape, err);
  if (rc) return rc;
  const size_t L = (size_t)o->shape.L;
  m->packs = calloc(L, sizeof *m->packs);
  m->layer = calloc(L, sizeof *m->layer);
  m->p.layer = calloc(L, sizeof *m->p.layer);
  m->g.layer = calloc(L, sizeof *m->g.layer);
  if (!m->packs || !m->layer || !m->p.layer || !m->g.layer)
    return dd_fail(err, DD_E_RUNTIME, "out of memory for a model of %d layers", (int)L);
  return o->train && o->ranks ? dd_joint_create(&m->joint, o->ranks, o->accumulation, &m->layout, err) : DD_OK;
}

uint64_t dd_model_bytes(const dd_model_options *o, const dd_kernels *k, int threads) {
  dd_model *m = calloc(1, sizeof *m);
  uint64_t bytes = 0;
  if (m && !allocate(m, o, threads, NULL)) {
    take_weights(m, k);
    take_acts(m);
    bytes = m->weights.used + m->acts.used + scratch_bytes(o) * (uint64_t)threads;
  }
  dd_model_destroy(m);
  return bytes;
}

int dd_model_create(dd_model **out, const dd_model_options *o, const dd_kernels *k, int threads, dd_error *err) {
  *out = NULL;
  dd_model *m = calloc(1, sizeof *m);
  if (!m) return dd_fail(err, DD_E_RUNTIME, "out of memory for the model");
  int rc = allocate(m, o, threads, err);
  if (!rc) rc = dd_team_create(&m->team, threads, scratch_bytes(o), k, err);
  if (!rc) { /* first count, then take for real */
    take_weights(m, k);
    take_acts(m);
    const size_t w = m->weights.used, a = m->acts.used;
    rc = dd_arena_create(&m->weights, w, "weights and optimizer state", err);
    if (!rc) rc = dd_arena_create(&m->acts, a, "activations", err);
    m->bytes = w + a + scratch_bytes(o) * (uint64_t)threads;
  }
  if (rc) {
    dd_model_destroy(m);
    return rc;
  }
  dd_arena_interleave(&m->weights);
  take_weights(m, k);
  take_acts(m);
  m->beta1_t = m->beta2_t = 1;
  m->version = 1;
  *out = m;
  return DD_OK;
}

void dd_model_destroy(dd_model *m) {
  if (!m) return;
  dd_team_destroy(m->team);
  dd_arena_destroy(&m->weights);
  dd_arena_destroy(&m->acts);
  dd_layout_destroy(&m->layout);
  dd_joint_destroy(m->joint);
  free(m->packs);
  free(m->layer);
  free(m->p.layer);
  free(m->g.layer);
  free(m);
}

typedef struct init_args {
  dd_model *m;
  double std;
} init_args;
static void init_team(dd_ctx *c, void *arg) {
  const init_args *a = arg;
  dd_params_init(c, a->m->param, &a->m->layout, a->m->o.seed, a->std);
}

void dd_model_init(dd_model *m, double std) {
  dd_team_run(m->team, init_team, &(init_args){m, std});
  if (m->o.train) {
    memset(m->m, 0, (size_t)m->layout.floats * sizeof(float));
    memset(m->v, 0, (size_t)m->layout.floats * sizeof(float));
  }
  m->update = 0;
  m->beta1_t = m->beta2_t = 1;
  dd_model_params_changed(m);
}

void dd_model_params_changed(dd_model *m) {
  m->packs_valid = 0;
  m->version++;
}

void dd_model_set_update(dd_model *m, int64_t update, double beta1, double beta2) {
  m->update = update;
  m->beta1_t = m->beta2_t = 1;
  for (int64_t i = 0; i < update; i++) m->beta1_t *= beta1, m->beta2_t *= beta2;
}

void dd_model_fingerprint(const dd_model *m, char hex[33]) { dd_params_fingerprint(m->param, &m->layout, hex); }

double dd_flops_per_token(const dd_shape *s, int64_t T) {
  const double L = (double)s->L, C = (double)s->C;
  return 6 * (12 * L * C * C + (double)s->V * C) + 12 * L * (double)T * C;
}

uint32_t dd_drop_threshold(double rate) {
  const double t = floor(rate * 65536 + 0.5);
  return t <= 0 ? 0 : t >= 65535 ? 65535 : (uint32_t)t;
}
