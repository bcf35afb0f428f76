/* Operations of the model: one parallel loop (or a few) over kernels each; forward and backward side by side.
 *
 * All are SPMD: every thread of the team calls them with the same arguments. They begin loops but put no barrier at
 * their end unless "ends with a barrier" is said; the caller separates producers from consumers.
 * Shapes: N = B*T rows (tokens), C channels, H heads, hs = C/H, V vocabulary. Row-major, row stride = columns. */
#ifndef DD_OPS_H
#define DD_OPS_H
#include "core/parallel.h"

/** Constants of the engine that decide bits (raise DD_NUMERICS_VERSION with them). */
enum {
  DD_TOKEN_CHUNK = 256, /* tokens per chain in weight gradients; chunks add up in increasing order */
  DD_ROW_CHUNK = 64,    /* rows per partial sum of bias, LayerNorm and loss sums; partials add up in increasing order */
  DD_QUERY_BLOCK = 24,  /* queries per block of attention forward: P V runs over the keys up to the block's end */
  DD_QUERY_BLOCK_BACK = 48, /* of attention backward: dS K runs over the keys up to the block's end */
  DD_NORM_CHUNK = 4096 /* elements per partial sum of the gradient norm */
};

/* ---- matmul.c ---- */

/** A matrix B[k][n] for gemm, from element (k, j) = w[k*rs + j*cs], one of rs, cs being 1 (w is borrowed). */
typedef struct dd_packed {
  float *data; /* packed: blocks of kc rows, each in panels of nr columns; NULL: packed from w in each product */
  int64_t k, n;
  const float *w;
  int64_t rs, cs;
} dd_packed;
/** Most rows of x for which packing in the product pays: more would do it again for each block of rows. */
enum { DD_FRESH_ROWS = 256 };
/** Floats that packing k x n takes in this tier. */
int64_t dd_packed_size(const dd_kernels *kn, int64_t k, int64_t n);
/** Both packings of weights w [out][in]: forward (k = in, n = out) for x w', back (k = out, n = in) for dy w. Either
 *  may be NULL. */
void dd_pack_weights(dd_ctx *c, const dd_packed *forward, const dd_packed *back, const float *w);

/** Called on each finished block of the product, while it is in cache: rows row0.., columns col0.. (col0 a multiple of
 *  64). out is the product's base, ldo its row stride. */
typedef struct dd_epilogue {
  void (*fn)(const dd_kernels *k, const struct dd_epilogue *e, float *out, int64_t ldo, int64_t row0, int64_t rows,
             int64_t col0, int64_t cols);
  const float *bias;     /* [n] or NULL */
  float *act;            /* gelu: [m][n] output of the activation */
  int slope;             /* gelu: leave its derivative in out, for the way back */
  const float *factor;   /* mul: [m][n] */
  const float *residual; /* dropout + residual: [m][n] */
  dd_drop drop;          /* c1 = row of row 0; col0 is set by the epilogue */
} dd_epilogue;

/** out[m][n] = x[m][k] times packed[k][n], each element one chain over k; then the epilogue (may be NULL). ldx: row
 *  stride of x. */
void dd_matmul(dd_ctx *c, float *out, const float *x, int64_t ldx, const dd_packed *w, int64_t m, const dd_epilogue *e);
/** The same on the way back: dx from dy and the weights packed untransposed. */
void dd_matmul_dx(dd_ctx *c, float *dx, const float *dy, int64_t ldy, const dd_packed *w, int64_t m,
                  const dd_epilogue *e);
/** dw[o][i] (+)= sum over rows t of dy[t][o] * x[t][i]: chains over chunks of DD_TOKEN_CHUNK rows, added in order.
 * more: 0: dw begins here; 1: these rows follow those that dw already has (a multiple of DD_TOKEN_CHUNK). */
void dd_matmul_dweight(dd_ctx *c, float *dw, const float *dy, const float *x, int64_t rows, int64_t out, int64_t in,
                       int more);
/** Floats of per-thread scratch that matmuls need whose rows, of either side, have at most `widest` elements. */
int64_t dd_matmul_scratch(int64_t widest);

/* epilogues */
void dd_epi_bias(const dd_kernels *k, const dd_epilogue *e, float *out, int64_t ldo, int64_t row0, int64_t rows,
                 int64_t col0, int64_t cols); /* out += bias (if any) */
void dd_epi_gelu(const dd_kernels *k, const dd_epilogue *e, float *out, int64_t ldo, int64_t row0, int64_t rows,
                 int64_t col0, int64_t cols); /* out += bias; act = gelu(out); slope: out = gelu'(out) */
void dd_epi_mul(const dd_kernels *k, const dd_epilogue *e, float *out, int64_t ldo, int64_t row0, int64_t rows,
                int64_t col0, int64_t cols); /* out = out * factor */
void dd_epi_gelu_again(const dd_kernels *k, const dd_epilogue *e, float *out, int64_t ldo, int64_t row0, int64_t rows,
                       int64_t col0, int64_t cols); /* act = gelu(factor); out = out * gelu'(factor) */
void dd_epi_residual(const dd_kernels *k, const dd_epilogue *e, float *out, int64_t ldo, int64_t row0, int64_t rows,
                     int64_t col0, int64_t cols); /* out = residual + dropout(out + bias) */

/* ---- attention.c ---- */

/** Causal self-attention (Vaswani et al. 2017, eq. 1) with dropout on the probabilities. qkv: [B*T][3C], q, k, v of
 *  head h at columns h*hs, C + h*hs, 2C + h*hs. y: [B*T][C]. max, inv: [B*H*T], the softmax statistics for backward.
 *  drop.c1 = (b*H + h)*T + q of the first row. */
typedef struct dd_attention {
  int64_t B, T, H, C;
  dd_drop drop;
} dd_attention;
void dd_attention_forward(dd_ctx *c, float *y, float *max, float *inv, const float *qkv, const dd_attention *a);
/** dqkv: [B*T][3C] from dy: [B*T][C]. */
void dd_attention_backward(dd_ctx *c, float *dqkv, const float *dy, const float *qkv, const float *max,
                           const float *inv, const dd_attention *a);
int64_t dd_attention_scratch(int64_t T, int64_t hs);

/* ---- rows.c ---- */

void dd_layernorm_forward(dd_ctx *c, float *out, float *mean, float *rstd, const float *x, const float *w,
                          const float *b, int64_t rows, int64_t C);
/** What the way back needs of a finished gradient: its dropped-out copy, made while the rows are in cache. */
typedef struct dd_after {
  float *out;   /* [rows][C]; may be dres itself */
  dd_drop drop; /* c1 = row of row 0; threshold 0: nothing is written */
} dd_after;
/** dres += gradient through LayerNorm, then *after is done (may be NULL); dw, db (db may be NULL) are written, or added
 *  to when the rows are `more` of those that came before (a multiple of DD_ROW_CHUNK). partial: dd_partial_size floats,
 *  shared. Has barriers inside and ends with a barrier. */
void dd_layernorm_backward(dd_ctx *c, float *dres, float *dw, float *db, const float *dy, const float *x,
                           const float *w, const float *mean, const float *rstd, int64_t rows, int64_t C,
                           float *partial, int more, const dd_after *after);
/** db[n] (+)= sum of the rows of dy[rows][n], `more` as above. Barriers inside, ends with a barrier. */
void dd_bias_backward(dd_ctx *c, float *db, const float *dy, int64_t rows, int64_t n, float *partial, int more);
int64_t dd_partial_size(int64_t rows, int64_t C);

/** x[r] = dropout(wte[idx[r]] + wpe[r mod T]). */
void dd_embed_forward(dd_ctx *c, float *x, const int32_t *idx, const float *wte, const float *wpe, int64_t B, int64_t T,
                      int64_t C, const dd_drop *d);
/** dwte[idx[r]] += dx[r] in row order (adds to what the head left there); dwpe[t] = sum over b, in order; rows of wpe
 *  from T on (up to S) become 0. */
void dd_embed_backward(dd_ctx *c, float *dwte, float *dwpe, const float *dx, const int32_t *idx, int64_t B, int64_t T,
                       int64_t S, int64_t C);

/** Per row: cross-entropy in nats into loss[r]; logits become their gradient times g when g > 0. */
void dd_loss_rows(dd_ctx *c, double *loss, float *logits, const int32_t *targets, int64_t rows, int64_t V, float g);

/* ---- optimizer.c ---- */

/** partial[i] = sum of squares of chunk i of DD_NORM_CHUNK floats. */
void dd_norm_partials(dd_ctx *c, double *partial, const float *g, int64_t n);
/** dst += src over n floats. */
void dd_accumulate(dd_ctx *c, float *dst, const float *src, int64_t n);
/** Sum of n doubles in increasing order. */
double dd_sum_in_order(const double *x, int64_t n);
#endif
