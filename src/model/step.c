/* One training step: forward and backward are mirror images, block by block. Every function here is SPMD: all threads
 * of the team run it together, one team per micro-batch. */
#include "core/philox.h"
#include "model/model.h"
#include <math.h>
#include <string.h>

typedef struct pass {
  dd_model *m;
  const int32_t *idx, *targets; /* of the slice */
  int64_t B, T, micro, step;    /* B: sequences of the micro-batch */
  int64_t first, count;         /* sequences of the slice */
  dd_dropout_rates rates;
  float g; /* gradient of the objective per row: 1 / (rows * accumulation); 0: forward only */
  int64_t part; /* first micro-batch of the part that the gradient then is */
  int waiting;  /* sums that wait before it */
  int joins;    /* those that the gradient of this micro-batch joins */
  int waits;    /* the result waits, for others to join it or for the end of the step */
  int ships;    /* it is the last of this rank's: buckets go to the others as they get ready */
} pass;

static uint32_t threshold(const pass *s, dd_site site, int64_t layer) {
  const double p = s->rates.site[site];
  return dd_drop_threshold(site == DD_SITE_EMBED || !s->rates.depth ? p : p * s->rates.depth[layer]);
}

/* How one site of one layer drops in this slice. */
static dd_drop drop_at(const pass *s, dd_site site, int64_t layer) {
  const uint64_t seed = s->m->o.seed;
  const int64_t rows = s->T * (site == DD_SITE_ATTN ? s->m->o.shape.H : 1); /* of one sequence */
  const uint32_t t = threshold(s, site, layer);
  return (dd_drop){.key0 = (uint32_t)seed,
                   .key1 = (uint32_t)(seed >> 32),
                   .c1 = (uint32_t)((s->micro * s->B + s->first) * rows),
                   .c2 = (uint32_t)DD_PURPOSE_DROPOUT << 24 | (uint32_t)layer << 8 | (uint32_t)site,
                   .c3 = (uint32_t)s->step,
                   .threshold = t,
                   .scale = 65536.f / (float)(65536 - t)};
}

static void pack_pair(dd_ctx *c, const dd_packed *forward, const dd_packed *backward, const float *w) {
  dd_pack_weights(c, forward, backward->data ? backward : NULL, w);
}

static void pack_weights(dd_ctx *c, dd_model *m) {
  if (m->fresh) return;
  for (int64_t l = 0; l < m->o.shape.L; l++) {
    const dd_layer_packs *w = m->packs + l;
    const dd_layer_params *p = m->p.layer + l;
    pack_pair(c, &w->qkv, &w->qkv_back, p->qkv_w);
    pack_pair(c, &w->att, &w->att_back, p->att_w);
    pack_pair(c, &w->fc, &w->fc_back, p->fc_w);
    pack_pair(c, &w->out, &w->out_back, p->out_w);
  }
  pack_pair(c, &m->head, &m->head_back, m->p.wte);
  dd_barrier(c);
}

static void pack_team(dd_ctx *c, void *arg) { pack_weights(c, arg); }

void dd_model_pack(dd_model *m) {
  if (!m->packs_valid) dd_team_run(m->team, pack_team, m);
  m->packs_valid = 1;
}

static void block_forward(dd_ctx *c, const pass *s, int64_t l, const float *x) {
  dd_model *m = s->m;
  const dd_layer_params *p = m->p.layer + l;
  const dd_layer_packs *w = m->packs + l;
  const dd_layer_acts *y = m->layer + l;
  const int64_t N = s->count * s->T, C = m->o.shape.C, H = m->o.shape.H;
  const dd_attention att = {s->count, s->T, H, C, drop_at(s, DD_SITE_ATTN, l)};

  dd_layernorm_forward(c, y->ln1, y->ln1_mean, y->ln1_rstd, x, p->ln1_w, p->ln1_b, N, C);
  dd_barrier(c);
  dd_matmul(c, y->qkv, y->ln1, C, &w->qkv, N, &(dd_epilogue){.fn = dd_epi_bias, .bias = p->qkv_b});
  dd_barrier(c);
  dd_attention_forward(c, y->att, y->att_max, y->att_inv, y->qkv, &att);
  dd_barrier(c);
  dd_matmul(
      c, y->mid, y->att, C, &w->att, N,
      &(dd_epilogue){.fn = dd_epi_residual, .bias = p->att_b, .residual = x, .drop = drop_at(s, DD_SITE_PROJ, l)});
  dd_barrier(c);
  dd_layernorm_forward(c, y->ln2, y->ln2_mean, y->ln2_rstd, y->mid, p->ln2_w, p->ln2_b, N, C);
  dd_barrier(c);
  dd_matmul(c, y->fc, y->ln2, C, &w->fc, N,
            &(dd_epilogue){.fn = dd_epi_gelu, .bias = p->fc_b, .act = y->act, .slope = s->g > 0 && !m->o.recompute});
  dd_barrier(c);
  dd_matmul(
      c, y->out, y->act, 4 * C, &w->out, N,
      &(dd_epilogue){.fn = dd_epi_residual, .bias = p->out_b, .residual = y->mid, .drop = drop_at(s, DD_SITE_MLP, l)});
  dd_barrier(c);
}

/* What follows when dres is the gradient of block l's output: its part that goes into the MLP, in dsite; below the
 * first block (l = -1) the gradient of the embedding, in place. */
static dd_after after_block(const pass *s, int64_t l, float *dres) {
  if (l < 0) return (dd_after){dres, drop_at(s, DD_SITE_EMBED, 0)};
  return (dd_after){s->m->dsite, drop_at(s, DD_SITE_MLP, l)};
}

/* dres: gradient of the block's output on entry, of its input on return. Weight gradients have few large tasks, so they
 * come before the product that shares their barrier, whose tasks are small: who is done first takes more of those. */
static void block_backward(dd_ctx *c, const pass *s, int64_t l, const float *x, float *dres) {
  dd_model *m = s->m;
  const dd_layer_params *p = m->p.layer + l, *g = m->g.layer + l;
  const dd_layer_packs *w = m->packs + l;
  const dd_layer_acts *y = m->layer + l;
  const int64_t N = s->count * s->T, C = m->o.shape.C, H = m->o.shape.H;
  const dd_after proj = {m->dsite, drop_at(s, DD_SITE_PROJ, l)}, below = after_block(s, l - 1, dres);
  const dd_attention att = {s->count, s->T, H, C, drop_at(s, DD_SITE_ATTN, l)};
  const int more = s->first > 0;
  const float *dout;

  /* out = mid + dropout(act W_out' + b) */
  dout = threshold(s, DD_SITE_MLP, l) ? m->dsite : dres;
  if (m->o.recompute) {
    dd_matmul_dx(c, m->dwide, dout, C, &w->out_back, N,
                 &(dd_epilogue){.fn = dd_epi_gelu_again, .factor = y->fc, .act = y->act});
    dd_layernorm_forward(c, y->ln2, y->ln2_mean, y->ln2_rstd, y->mid, p->ln2_w, p->ln2_b, N, C);
    dd_barrier(c);
  }
  dd_matmul_dweight(c, g->out_w, dout, y->act, N, C, 4 * C, more);
  if (!m->o.recompute)
    dd_matmul_dx(c, m->dwide, dout, C, &w->out_back, N, &(dd_epilogue){.fn = dd_epi_mul, .factor = y->fc});
  if (g->out_b) dd_bias_backward(c, g->out_b, dout, N, C, m->partial, more);
  else dd_barrier(c);
  /* fc = ln2 W_fc' + b */
  dd_matmul_dweight(c, g->fc_w, m->dwide, y->ln2, N, 4 * C, C, more);
  dd_matmul_dx(c, m->dnarrow, m->dwide, 4 * C, &w->fc_back, N, NULL);
  if (g->fc_b) dd_bias_backward(c, g->fc_b, m->dwide, N, 4 * C, m->partial, more);
  else dd_barrier(c);
  dd_layernorm_backward(c, dres, g->ln2_w, g->ln2_b, m->dnarrow, y->mid, p->ln2_w, y->ln2_mean, y->ln2_rstd, N, C,
                        m->partial, more, &proj);
  /* mid = x + dropout(att W_att' + b) */
  dout = proj.drop.threshold ? m->dsite : dres;
  dd_matmul_dweight(c, g->att_w, dout, y->att, N, C, C, more);
  dd_matmul_dx(c, m->dnarrow, dout, C, &w->att_back, N, NULL);
  if (g->att_b) dd_bias_backward(c, g->att_b, dout, N, C, m->partial, more);
  else dd_barrier(c);
  if (m->o.recompute) dd_layernorm_forward(c, y->ln1, y->ln1_mean, y->ln1_rstd, x, p->ln1_w, p->ln1_b, N, C);
  dd_attention_backward(c, m->dqkv, m->dnarrow, y->qkv, y->att_max, y->att_inv, &att);
  dd_barrier(c);
  /* qkv = ln1 W_qkv' + b */
  dd_matmul_dweight(c, g->qkv_w, m->dqkv, y->ln1, N, 3 * C, C, more);
  dd_matmul_dx(c, m->dnarrow, m->dqkv, 3 * C, &w->qkv_back, N, NULL);
  if (g->qkv_b) dd_bias_backward(c, g->qkv_b, m->dqkv, N, 3 * C, m->partial, more);
  else dd_barrier(c);
  dd_layernorm_backward(c, dres, g->ln1_w, g->ln1_b, m->dnarrow, x, p->ln1_w, y->ln1_mean, y->ln1_rstd, N, C,
                        m->partial, more, &below);
}

/* grad[from, to) joins the sums that wait: the newest lies next to the left, then come those before it. */
static void join_waiting(dd_ctx *c, const pass *s, int64_t from, int64_t to) {
  const dd_model *m = s->m;
  dd_enter(c, DD_PHASE_FOLD);
  DD_FOR(c, i, dd_pieces(to - from, DD_NORM_CHUNK)) {
    const int64_t at = from + i * DD_NORM_CHUNK, n = dd_min64(DD_NORM_CHUNK, to - at);
    for (int k = 1; k <= s->joins; k++) c->k->add(m->grad + at, m->tree[s->waiting - k] + at, m->grad + at, n);
  }
  dd_barrier(c);
}

/* A bucket of this rank's last part is final. */
static void ship(dd_ctx *c, const pass *s, int bucket) {
  dd_joint *j = s->m->joint;
  join_waiting(c, s, j->begin[bucket], j->begin[bucket + 1]);
  if (c->tid == 0) dd_joint_send(j, s->part, s->m->grad, bucket);
}

/* After a block, one way or the other. */
static void between_blocks(dd_ctx *c, const pass *s) {
  if (s->m->joint && c->tid == 0) dd_joint_poll(s->m->joint);
}

static const float *block_input(const dd_model *m, int64_t l) { return l ? m->layer[l - 1].out : m->embed; }

static void forward(dd_ctx *c, const pass *s) {
  dd_model *m = s->m;
  const int64_t N = s->count * s->T, C = m->o.shape.C;
  const dd_drop d = drop_at(s, DD_SITE_EMBED, 0);
  dd_embed_forward(c, m->embed, s->idx, m->p.wte, m->p.wpe, s->count, s->T, C, &d);
  dd_barrier(c);
  for (int64_t l = 0; l < m->o.shape.L; l++) {
    block_forward(c, s, l, block_input(m, l));
    between_blocks(c, s);
  }
  dd_layernorm_forward(c, m->lnf, m->lnf_mean, m->lnf_rstd, block_input(m, m->o.shape.L), m->p.lnf_w, m->p.lnf_b, N, C);
  dd_barrier(c);
  dd_matmul(c, m->logits, m->lnf, C, &m->head, N, NULL);
  dd_barrier(c);
  if (s->targets) {
    dd_loss_rows(c, m->row_loss + s->first * s->T, m->logits, s->targets, N, m->o.shape.V, s->g);
    dd_barrier(c);
  }
}

static void zero_rows(dd_ctx *c, float *x, int64_t rows, int64_t n) {
  DD_FOR(c, r, rows) memset(x + r * n, 0, (size_t)n * sizeof *x);
}

static void backward(dd_ctx *c, const pass *s) {
  dd_model *m = s->m;
  const int64_t N = s->count * s->T, C = m->o.shape.C, V = m->o.shape.V;
  const int more = s->first > 0;
  float *dres = m->dres + s->first * s->T * C;
  const dd_after top = after_block(s, m->o.shape.L - 1, dres);
  zero_rows(c, dres, N, C);
  dd_matmul_dweight(c, m->g.wte, m->logits, m->lnf, N, V, C, more); /* logits hold their gradient now */
  dd_matmul_dx(c, m->dnarrow, m->logits, V, &m->head_back, N, NULL);
  dd_barrier(c);
  dd_layernorm_backward(c, dres, m->g.lnf_w, m->g.lnf_b, m->dnarrow, block_input(m, m->o.shape.L), m->p.lnf_w,
                        m->lnf_mean, m->lnf_rstd, N, C, m->partial, more, &top);
  for (int64_t l = m->o.shape.L - 1; l >= 0; l--) {
    block_backward(c, s, l, block_input(m, l), dres);
    const int bucket = s->ships && s->first + s->count == s->B ? dd_joint_bucket_of(m->joint, l) : -1;
    if (bucket > 0) ship(c, s, bucket);
    between_blocks(c, s);
  }
}

static void copy_flat(dd_ctx *c, float *dst, const float *src, int64_t n) {
  DD_FOR(c, i, dd_pieces(n, DD_NORM_CHUNK)) {
    const int64_t at = i * DD_NORM_CHUNK;
    memcpy(dst + at, src + at, (size_t)dd_min64(DD_NORM_CHUNK, n - at) * sizeof *dst);
  }
  dd_barrier(c);
}

static void train_team(dd_ctx *c, void *arg) {
  const pass *all = arg;
  dd_model *m = all->m;
  const int64_t rows = m->o.slice * m->o.T; /* a micro-batch of shorter sequences has more of them in a slice */
  const int64_t slice = all->T == m->o.T ? m->o.slice : rows / all->T;
  if (!m->packs_valid) pack_weights(c, m);
  for (int64_t first = 0; first < all->B; first += slice) {
    pass s = *all;
    s.first = first;
    s.count = dd_min64(slice, all->B - first);
    s.idx += first * s.T;
    if (s.targets) s.targets += first * s.T;
    forward(c, &s);
    if (s.g > 0) backward(c, &s);
  }
  if (all->g > 0) {
    /* After the head's share of wte from all slices, as if there were one. */
    dd_embed_backward(c, m->g.wte, m->g.wpe, m->dres, all->idx, all->B, all->T, m->o.shape.S, m->o.shape.C);
    dd_barrier(c);
    if (all->ships) ship(c, all, 0);
    else if (all->joins) join_waiting(c, all, 0, m->layout.floats);
    if (all->waits) copy_flat(c, m->tree[all->waiting - all->joins], m->grad, m->layout.floats);
  }
}

static pass pass_of(dd_model *m, const int32_t *idx, const int32_t *targets, int64_t B, int64_t T) {
  return (pass){.m = m, .idx = idx, .targets = targets, .B = B, .T = T};
}

static void begin_fold(dd_model *m, pass *s) {
  const dd_range own = dd_model_micros(m);
  dd_joint_part part;
  int is_part;
  if (m->joint && s->micro == own.first) dd_joint_begin(m->joint);
  s->waiting = dd_joint_waiting(own, s->micro);
  s->joins = dd_joint_joins(m->o.accumulation, own, s->micro, &part, &is_part);
  s->part = is_part ? part.first : -1;
  s->waits = s->micro + 1 < own.end;
  s->ships = m->joint && !s->waits;
}

static void end_fold(dd_model *m, const pass *s) {
  if (m->joint && s->waits && s->part >= 0)
    dd_joint_send(m->joint, s->part, m->tree[s->waiting - s->joins], -1);
}

void dd_model_forward_backward(dd_model *m, const int32_t *idx, const int32_t *targets, int64_t B, int64_t T,
                               int64_t micro, int64_t step, const dd_dropout_rates *rates, double *loss) {
  pass s = pass_of(m, idx, targets, B, T);
  s.micro = micro;
  s.step = step;
  s.rates = *rates;
  s.g = (float)(1.0 / ((double)(B * T) * (double)m->o.accumulation));
  begin_fold(m, &s);
  dd_team_run(m->team, train_team, &s);
  end_fold(m, &s);
  m->packs_valid = 1;
  *loss = dd_sum_in_order(m->row_loss, B * T) / (double)(B * T);
}

dd_range dd_model_micros(const dd_model *m) {
  return m->joint ? m->joint->own : (dd_range){0, m->o.accumulation};
}

typedef struct upper {
  dd_model *m;
  int bucket;
} upper;

/* The own piece of a bucket: the upper part of the tree, over the parts of all ranks. */
static void upper_team(dd_ctx *c, void *arg) {
  const upper *u = arg;
  const dd_joint *s = u->m->joint;
  const dd_piece p = dd_joint_piece(s, u->bucket, s->rank);
  const float *sum = dd_joint_part_data(s, 0, u->bucket);
  dd_enter(c, DD_PHASE_FOLD);
  DD_FOR(c, i, dd_pieces(p.n, DD_NORM_CHUNK)) {
    const int64_t at = i * DD_NORM_CHUNK, n = dd_min64(DD_NORM_CHUNK, p.n - at);
    for (int k = 0; k < s->parts - 1; k++) {
      float *left = dd_joint_part_data(s, s->pair[k][0], u->bucket) + at;
      c->k->add(left, left, dd_joint_part_data(s, s->pair[k][1], u->bucket) + at, n);
    }
    if (sum != u->m->grad + p.at) memcpy(u->m->grad + p.at + at, sum + at, (size_t)n * sizeof *sum);
  }
}

int dd_model_sum_ranks(dd_model *m, double *losses, dd_error *err) {
  if (!m->joint) return DD_OK;
  int rc = dd_joint_losses(m->joint, losses, err);
  for (int b = m->joint->buckets - 1; b >= 0 && !rc; b--) {
    rc = dd_joint_arrived(m->joint, b, err);
    if (rc) break;
    dd_team_run(m->team, upper_team, &(upper){m, b});
    rc = dd_joint_publish(m->joint, b, m->grad, err);
  }
  return rc ? rc : dd_joint_finish(m->joint, err);
}

int dd_model_abandon_ranks(dd_model *m, dd_error *err) {
  return m->joint ? dd_joint_abandon(m->joint, m->grad, err) : DD_OK;
}

void dd_model_losses(dd_model *m, const int32_t *idx, const int32_t *targets, int64_t B, int64_t T, double *loss) {
  pass s = pass_of(m, idx, targets, B, T);
  dd_team_run(m->team, train_team, &s);
  m->packs_valid = 1;
  memcpy(loss, m->row_loss, (size_t)(B * T) * sizeof *loss);
}

void dd_model_logits(dd_model *m, const int32_t *idx, int64_t B, int64_t T, int64_t step,
                     const dd_dropout_rates *rates) {
  pass s = pass_of(m, idx, NULL, B, T);
  s.step = step;
  if (rates) s.rates = *rates;
  dd_team_run(m->team, train_team, &s);
  m->packs_valid = 1;
}

static void norm_team(dd_ctx *c, void *arg) {
  dd_model *m = arg;
  dd_norm_partials(c, m->norm_partial, m->grad, m->layout.floats);
}

double dd_model_grad_norm(dd_model *m) {
  dd_team_run(m->team, norm_team, m);
  return sqrt(dd_sum_in_order(m->norm_partial, dd_pieces(m->layout.floats, DD_NORM_CHUNK)));
}

typedef struct update_args {
  dd_model *m;
  dd_adamw a;
  float decay; /* factor for tensors with weight decay */
} update_args;

static void update_team(dd_ctx *c, void *arg) {
  const update_args *u = arg;
  dd_enter(c, DD_PHASE_UPDATE);
  dd_model *m = u->m;
  for (int n = 0; n < m->layout.count; n++) {
    const dd_tensor *t = m->layout.tensors + n;
    dd_adamw a = u->a;
    a.decay = t->decay ? u->decay : 1.f;
    DD_FOR(c, i, dd_pieces(t->size, DD_NORM_CHUNK)) {
      const int64_t at = t->offset + i * DD_NORM_CHUNK, left = t->size - i * DD_NORM_CHUNK;
      c->k->adamw(m->param + at, m->m + at, m->v + at, m->grad + at, left < DD_NORM_CHUNK ? left : DD_NORM_CHUNK, &a);
    }
  }
}

void dd_model_update(dd_model *m, const dd_update *u, double norm) {
  m->update++;
  m->beta1_t *= u->beta1;
  m->beta2_t *= u->beta2;
  const double factor = u->clip > 0 ? u->clip / (norm + 1e-6) : 1;
  update_args a = {.m = m, .decay = (float)(1 - u->lr * u->weight_decay)};
  a.a = (dd_adamw){.beta1 = (float)u->beta1,
                   .one_minus_beta1 = (float)(1 - u->beta1),
                   .beta2 = (float)u->beta2,
                   .one_minus_beta2 = (float)(1 - u->beta2),
                   .step = (float)(u->lr / (1 - m->beta1_t)),
                   .inv_sqrt_bc2 = (float)(1 / sqrt(1 - m->beta2_t)),
                   .eps = (float)u->eps,
                   .grad_scale = (float)(factor < 1 ? factor : 1)};
  dd_team_run(m->team, update_team, &a);
  dd_model_params_changed(m);
}
