/* Causal attention, one (sequence, head) per task: no T x T matrix ever leaves a core, and what the mask throws away is
 * skipped block by block. Backward recomputes the probabilities from the saved softmax statistics and the dropout
 * masks from their addresses. */
#include "ops/ops.h"
#include <string.h>

enum { QB = DD_QUERY_BLOCK, QBB = DD_QUERY_BLOCK_BACK };

/* Where one head lives in qkv rows of stride 3C. */
typedef struct head {
  int64_t T, hs, ld, tpad; /* tpad: the row stride of scores */
  const float *q, *k, *v;
  float scale;
} head;

/* Keys whose scores row kernels see: whole vectors of them, +0 beyond the diagonal. */
static int64_t whole(int64_t keys) { return dd_round_up(keys, 16); }

/* Stride of rows of scores: whole panels and vectors, but no multiple of 4 KB, of which all rows would fall into one
 * set of the first cache. */
static int64_t score_stride(int64_t T, int64_t nr) {
  const int64_t n = dd_round_up(whole(T), nr);
  return n % 1024 ? n : dd_round_up(n + 16, nr);
}

static head head_of(const dd_ctx *c, const float *qkv, const dd_attention *a, int64_t bh) {
  const int64_t b = bh / a->H, h = bh % a->H, hs = a->C / a->H;
  const float *base = qkv + b * a->T * 3 * a->C + h * hs;
  return (head){.T = a->T,
                .hs = hs,
                .ld = 3 * a->C,
                .tpad = score_stride(a->T, c->k->nr),
                .q = base,
                .k = base + a->C,
                .v = base + 2 * a->C,
                .scale = 1.f / __builtin_sqrtf((float)hs)};
}

/* Shared scratch layout: three operand packs of T x hs, then score blocks. */
static int64_t pack_floats(int64_t T, int64_t hs) {
  return dd_round_up(dd_round_up(T, DD_NR_MAX) * dd_round_up(hs, DD_NR_MAX), 16);
}
static int64_t block_floats(int64_t T) { return QBB * (dd_round_up(T, DD_NR_MAX) + DD_NR_MAX); }

int64_t dd_attention_scratch(int64_t T, int64_t hs) {
  /* k, v, k packed; scores, dp, dropped p; q, dy rows packed */
  return 3 * pack_floats(T, hs) + 3 * block_floats(T) + 2 * QBB * dd_round_up(hs, DD_NR_MAX) + 8 * 16;
}

static float *take(float **scratch, int64_t floats) {
  float *p = *scratch;
  *scratch += dd_round_up(floats, 16);
  return p;
}

/* out[m][n] = A[m][k] B[k][n]: rows of A of stride lda where they lie, B packed with kk rows, of which the first k
 * count. Packing A would cost more than it gains: each element meets few columns. */
static void multiply(const dd_kernels *kn, int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b,
                     int64_t kk, float *out, int64_t ldo) {
  const dd_operand left = {.data = a, .lane = lda, .panel = kn->mr * lda};
  const dd_operand right = {.data = b, .step = kn->nr, .panel = kn->nr * kk};
  kn->gemm_strided(m, n, k, &left, &right, out, ldo, DD_GEMM_SET);
}

/* out (+)= A' B for the nq queries from q0 on: A [nq][keys] of scores where they lie, B [nq][hs] packed. out: [T][hs]
 * inside qkv; its rows before q0 go on, those of these queries begin. */
static void multiply_transposed(const dd_kernels *kn, int64_t q0, int64_t nq, const head *h, const float *a,
                                const float *b, float *out) {
  const dd_operand packed = {.data = b, .step = kn->nr, .panel = kn->nr * nq};
  const dd_operand before = {.data = a, .step = h->tpad, .panel = kn->mr},
                   here = {.data = a + q0, .step = h->tpad, .panel = kn->mr};
  kn->gemm_strided(q0, h->hs, nq, &before, &packed, out, h->ld, DD_GEMM_CONTINUE);
  kn->gemm_strided(nq, h->hs, nq, &here, &packed, out + q0 * h->ld, h->ld, DD_GEMM_SET);
}

void dd_attention_forward(dd_ctx *c, float *y, float *max, float *inv, const float *qkv, const dd_attention *a) {
  dd_enter(c, DD_PHASE_ATTENTION);
  const dd_kernels *kn = c->k;
  const int64_t heads = a->B * a->H, blocks = dd_pieces(a->T, QB);
  /* Few heads and many threads: also split the queries (keys are then packed once per part). */
  int64_t parts = dd_pieces(2 * c->nthreads, heads);
  if (c->nthreads == 1) parts = 1;
  if (parts > blocks) parts = blocks;
  DD_FOR(c, task, heads * parts) {
    const int64_t bh = task / parts, part = task % parts;
    const head h = head_of(c, qkv, a, bh);
    const int64_t q_first = dd_part_begin(blocks, part, parts) * QB;
    const int64_t q_end = dd_min64(dd_part_begin(blocks, part + 1, parts) * QB, a->T);
    float *s = c->scratch, *kp = take(&s, pack_floats(h.T, h.hs)), *vp = take(&s, pack_floats(h.T, h.hs));
    float *score = take(&s, block_floats(h.T));
    kn->pack_b(kp, h.hs, dd_min64(q_end, h.T), h.k, 1, h.ld);
    kn->pack_b(vp, q_end, h.hs, h.v, h.ld, 1);
    for (int64_t q0 = q_first; q0 < q_end; q0 += QB) {
      const int64_t nq = dd_min64(QB, q_end - q0), keys = q0 + nq;
      multiply(kn, nq, dd_round_up(keys, kn->nr), h.hs, h.q + q0 * h.ld, h.ld, kp, h.hs, score, h.tpad);
      const int64_t stat = bh * h.T + q0;
      kn->softmax(score, &(dd_rows){nq, h.tpad, q0 + 1, 1, 0}, whole(keys), h.scale, max + stat, inv + stat);
      if (a->drop.threshold) {
        dd_drop d = a->drop;
        d.c1 += (uint32_t)stat;
        kn->dropout(score, score, &(dd_rows){nq, h.tpad, q0 + 1, 1, 1}, &d);
      }
      float *out = y + (bh / a->H * h.T + q0) * a->C + bh % a->H * h.hs;
      multiply(kn, nq, h.hs, keys, score, h.tpad, vp, q_end, out, a->C);
    }
  }
}

void dd_attention_backward(dd_ctx *c, float *dqkv, const float *dy, const float *qkv, const float *max,
                           const float *inv, const dd_attention *a) {
  dd_enter(c, DD_PHASE_ATTENTION_BACK);
  const dd_kernels *kn = c->k;
  /* A block's queries come in equal parts of about four tiles, which skip more of what the mask throws away. Products
   * with its zeros at the beginning of a chain leave finite sums as they are; the keys of dQ, whose zeros are at the end,
   * are those of the block on every tier. */
  const int64_t step = QBB / dd_pieces(QBB, 4 * kn->mr);
  DD_FOR(c, bh, a->B * a->H) {
    const head h = head_of(c, qkv, a, bh);
    float *dq = dqkv + (h.q - qkv), *dk = dqkv + (h.k - qkv), *dv = dqkv + (h.v - qkv);
    const float *dyh = dy + bh / a->H * h.T * a->C + bh % a->H * h.hs;
    float *s = c->scratch, *kt = take(&s, pack_floats(h.T, h.hs)), *vt = take(&s, pack_floats(h.T, h.hs));
    float *kp = take(&s, pack_floats(h.T, h.hs));
    float *p = take(&s, block_floats(h.T)), *dp = take(&s, block_floats(h.T)), *pd = take(&s, block_floats(h.T));
    float *rows_q = take(&s, QBB * dd_round_up(h.hs, DD_NR_MAX)),
          *rows_dy = take(&s, QBB * dd_round_up(h.hs, DD_NR_MAX));
    kn->pack_b(kt, h.hs, h.T, h.k, 1, h.ld); /* K^T: scores = Q K^T */
    kn->pack_b(vt, h.hs, h.T, h.v, 1, h.ld); /* V^T: dP = dY V^T */
    kn->pack_b(kp, h.T, h.hs, h.k, h.ld, 1); /* K: dQ = dS K */
    /* Above the diagonal it stays zero: a row's triangle only grows from block to block. */
    if (a->drop.threshold) memset(pd, 0, (size_t)(step * h.tpad) * sizeof *pd);
    for (int64_t q0 = 0; q0 < h.T; q0 += step) {
      const int64_t nq = dd_min64(step, h.T - q0), keys = q0 + nq, cols = dd_round_up(keys, kn->nr);
      const int64_t end = dd_min64((q0 / QBB + 1) * QBB, h.T);
      multiply(kn, nq, cols, h.hs, h.q + q0 * h.ld, h.ld, kt, h.hs, p, h.tpad);
      multiply(kn, nq, cols, h.hs, dyh + q0 * a->C, a->C, vt, h.hs, dp, h.tpad);
      const float *dropped = a->drop.threshold ? pd : p;
      const int64_t stat = bh * h.T + q0;
      const dd_rows causal = {nq, h.tpad, q0 + 1, 1, 0};
      kn->softmax_again(p, &causal, whole(keys), h.scale, max + stat, inv + stat);
      if (a->drop.threshold) {
        dd_drop d = a->drop;
        d.c1 += (uint32_t)stat;
        kn->dropout_pair(pd, p, dp, &(dd_rows){nq, h.tpad, q0 + 1, 1, 1}, &d);
      }
      kn->softmax_backward(dp, p, &causal, whole(end), h.scale);
      kn->pack_b(rows_dy, nq, h.hs, dyh + q0 * a->C, a->C, 1);
      multiply_transposed(kn, q0, nq, &h, dropped, rows_dy, dv); /* dV += P' dY */
      kn->pack_b(rows_q, nq, h.hs, h.q + q0 * h.ld, h.ld, 1);
      multiply_transposed(kn, q0, nq, &h, dp, rows_q, dk); /* dK += dS' Q */
      multiply(kn, nq, h.hs, end, dp, h.tpad, kp, h.T, dq + q0 * h.ld, h.ld);
    }
  }
}
