#include "model/infer.h"
#include "core/mathd.h"
#include "core/philox.h"
#include <stdlib.h>
#include <string.h>

int dd_infer_create(dd_infer **out, dd_model *m, dd_error *err) {
  const dd_shape *s = &m->o.shape;
  const int64_t heads = s->L * s->H, hs = s->C / s->H, nr = dd_team_kernels(m->team)->nr;
  const size_t k = (size_t)(dd_round_up(s->S, nr) * hs) * sizeof(float),
               v = (size_t)(s->S * dd_round_up(hs, nr)) * sizeof(float);
  *out = NULL;
  dd_infer *g = calloc(1, sizeof *g);
  if (g) g->keys = calloc((size_t)heads, sizeof *g->keys), g->values = calloc((size_t)heads, sizeof *g->values);
  if (!g || !g->keys || !g->values) {
    dd_infer_destroy(g);
    return dd_fail(err, DD_E_RUNTIME, "out of memory for the key/value cache");
  }
  g->m = m;
  const int rc = dd_arena_create(&g->cache, (size_t)heads * (k + v + 128), "the key/value cache", err);
  if (rc) {
    dd_infer_destroy(g);
    return rc;
  }
  for (int64_t i = 0; i < heads; i++) {
    g->keys[i] = dd_arena_take(&g->cache, k);
    g->values[i] = dd_arena_take(&g->cache, v);
  }
  *out = g;
  return DD_OK;
}

void dd_infer_destroy(dd_infer *g) {
  if (!g) return;
  dd_arena_destroy(&g->cache);
  free(g->keys);
  free(g->values);
  free(g);
}

void dd_infer_reset(dd_infer *g) { g->length = 0; }

typedef struct feed {
  dd_infer *g;
  const int32_t *ids;
  int64_t n;
} feed;

/* Put n new rows of K and V of one head where the packed caches expect them. */
static void append(const dd_kernels *kn, float *keys, float *values, const float *k, const float *v, int64_t ld,
                   int64_t hs, int64_t S, int64_t at, int64_t n) {
  for (int64_t t = 0; t < n; t++) {
    const int64_t key = at + t, nr = kn->nr;
    float *col = keys + key / nr * nr * hs + key % nr;
    for (int64_t c = 0; c < hs; c++) col[c * nr] = k[t * ld + c];
    for (int64_t c = 0; c < hs; c += nr)
      memcpy(values + c * S + key * nr, v + t * ld + c, (size_t)dd_min64(nr, hs - c) * sizeof *v);
  }
}

static void attend(dd_ctx *c, const feed *f, int64_t l, const dd_layer_acts *y) {
  const dd_kernels *kn = c->k;
  const dd_infer *g = f->g;
  const dd_shape *s = &g->m->o.shape;
  const int64_t C = s->C, hs = C / s->H, ld = 3 * C, ldk = dd_round_up(s->S, kn->nr);
  const float scale = 1.f / __builtin_sqrtf((float)hs);
  DD_FOR(c, h, s->H) {
    float *keys = g->keys[l * s->H + h], *values = g->values[l * s->H + h];
    const float *q = y->qkv + h * hs;
    append(kn, keys, values, q + C, q + 2 * C, ld, hs, s->S, g->length, f->n);
    float *qa = c->scratch, *score = qa + (DD_QUERY_BLOCK + DD_MR_MAX) * dd_round_up(hs, 16);
    float *pa = score + DD_QUERY_BLOCK * ldk;
    for (int64_t q0 = 0; q0 < f->n; q0 += DD_QUERY_BLOCK) {
      const int64_t nq = dd_min64(DD_QUERY_BLOCK, f->n - q0), end = g->length + q0 + nq;
      kn->pack_a(qa, nq, hs, q + q0 * ld, ld, 1);
      kn->gemm(nq, dd_round_up(end, kn->nr), hs, qa, keys, score, ldk, DD_GEMM_SET);
      for (int64_t r = 0; r < nq; r++) {
        float max, inv;
        kn->softmax(score + r * ldk, g->length + q0 + r + 1, end, scale, &max, &inv);
      }
      kn->pack_a(pa, nq, end, score, ldk, 1);
      for (int64_t j = 0; j < hs; j += kn->nr)
        kn->gemm(nq, dd_min64(kn->nr, hs - j), end, pa, values + j * s->S, y->att + q0 * C + h * hs + j, C,
                 DD_GEMM_SET);
    }
  }
}

static void feed_team(dd_ctx *c, void *arg) {
  const feed *f = arg;
  dd_model *m = f->g->m;
  const int64_t C = m->o.shape.C, n = f->n;
  const dd_drop none = {.scale = 1};
  const float *x = m->embed;
  dd_embed_forward(c, m->embed, f->ids, m->p.wte, m->p.wpe + f->g->length * C, 1, n, C, &none);
  dd_barrier(c);
  for (int64_t l = 0; l < m->o.shape.L; l++) {
    const dd_layer_params *p = m->p.layer + l;
    const dd_layer_packs *w = m->packs + l;
    const dd_layer_acts *y = m->layer + l;
    dd_layernorm_forward(c, y->ln1, y->ln1_mean, y->ln1_rstd, x, p->ln1_w, p->ln1_b, n, C);
    dd_barrier(c);
    dd_matmul(c, y->qkv, y->ln1, C, &w->qkv, n, &(dd_epilogue){.fn = dd_epi_bias, .bias = p->qkv_b});
    dd_barrier(c);
    attend(c, f, l, y);
    dd_barrier(c);
    dd_matmul(c, y->mid, y->att, C, &w->att, n,
              &(dd_epilogue){.fn = dd_epi_residual, .bias = p->att_b, .residual = x, .drop = none});
    dd_barrier(c);
    dd_layernorm_forward(c, y->ln2, y->ln2_mean, y->ln2_rstd, y->mid, p->ln2_w, p->ln2_b, n, C);
    dd_barrier(c);
    dd_matmul(c, y->fc, y->ln2, C, &w->fc, n, &(dd_epilogue){.fn = dd_epi_gelu, .bias = p->fc_b, .act = y->act});
    dd_barrier(c);
    dd_matmul(c, y->out, y->act, 4 * C, &w->out, n,
              &(dd_epilogue){.fn = dd_epi_residual, .bias = p->out_b, .residual = y->mid, .drop = none});
    dd_barrier(c);
    x = y->out;
  }
  dd_layernorm_forward(c, m->lnf, m->lnf_mean, m->lnf_rstd, x + (n - 1) * C, m->p.lnf_w, m->p.lnf_b, 1, C);
  dd_barrier(c);
  dd_matmul(c, m->logits, m->lnf, C, &m->head, 1, NULL);
}

const float *dd_infer_feed(dd_infer *g, const int32_t *ids, int64_t n) {
  dd_model_pack(g->m);
  dd_team_run(g->m->team, feed_team, &(feed){g, ids, n});
  g->length += n;
  return g->m->logits;
}

static int compare_down(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x < y) - (x > y);
}

int dd_sample_token(const float *logits, int64_t V, double temperature, int64_t top_k, uint64_t seed, uint32_t sample,
                    uint32_t position, double *work) {
  int64_t best = 0;
  for (int64_t i = 1; i < V; i++)
    if (logits[i] > logits[best]) best = i;
  if (temperature <= 0) return (int)best;
  double floor_logit = -__builtin_inf();
  if (top_k > 0 && top_k < V) {
    for (int64_t i = 0; i < V; i++) work[i] = (double)logits[i];
    qsort(work, (size_t)V, sizeof *work, compare_down);
    floor_logit = work[top_k - 1];
  }
  double total = 0;
  for (int64_t i = 0; i < V; i++) {
    if ((double)logits[i] >= floor_logit) total += dd_exp(((double)logits[i] - (double)logits[best]) / temperature);
    work[i] = total;
  }
  uint32_t x[4];
  dd_philox(x, seed, sample, position, (uint32_t)DD_PURPOSE_SAMPLE << 24, 0);
  const double u = (double)(((uint64_t)x[0] << 32 | x[1]) >> 11) * 0x1p-53 * total;
  for (int64_t i = 0; i < V; i++)
    if (work[i] > u) return (int)i;
  return (int)best;
}
