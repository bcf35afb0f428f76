/* Kernels: pure, serial functions behind one table per instruction set ("tier").
 *
 * DD_KERNELS is the only list of kernels: it makes the table's struct, the prototypes and every tier's const table, so
 * a kernel missing in a tier does not compile. Every tier gives the same bytes as `scalar` for the same arguments; the
 * order of operations that makes this true is part of each contract below (and of DD_NUMERICS_VERSION).
 *
 * Common rules: n, m, k >= 0; float arrays need no alignment unless stated; nothing outside the stated ranges is read
 * or written; outputs may alias inputs of the same name and range only where "in place" is said.
 * "64 lanes": a row sum runs in 64 virtual lanes (element c goes to lane c mod 64, increasing c, each lane starting at
 * +0), lanes fold as (l[i] + l[16+i]) + (l[32+i] + l[48+i]) for i < 16, then 16 -> 8 -> 4 -> 2 -> 1 by
 * l[i] + l[i + half].
 */
#ifndef DD_SIMD_H
#define DD_SIMD_H
#include <stddef.h>
#include <stdint.h>

/** How a matrix product treats C. A chain is one fused multiply-add per k, k increasing. */
typedef enum dd_gemm_mode {
  DD_GEMM_SET,      /* C = chain from +0 */
  DD_GEMM_CONTINUE, /* C = chain from C: the next block of k */
  DD_GEMM_ADD       /* C = C + (chain from +0): the next chunk of a long sum */
} dd_gemm_mode;

/** An operand of gemm_strided where it lies: lane r (row of A or column of B) of panel p at k is
 *  data[p*panel + k*step + r]. Packed: step MR or NR, panel that times kk. A row-major matrix whose rows are k: step =
 *  row stride, panel = MR or NR. A row-major A whose rows are lanes: lane = row stride, panel = MR of them;
 *  element data[p*panel + r*lane + k], step is not used. */
typedef struct dd_operand {
  const float *data;
  int64_t step, panel;
  int64_t lane;       /* of A; 0: lanes lie side by side */
  const float *next;  /* of B, a hint: what is needed afterwards, fetched meanwhile, tile by tile; NULL: nothing */
  int64_t next_step;  /* from one tile's share to the next one's */
  int64_t next_k;     /* from one k to the next within a share; 0: shares lie one after the other */
  float *copy;        /* where the tiles that read it first may leave it packed for the others, 64-byte aligned; NULL:
                       * nowhere. Of A, whose lanes lie side by side: all panels, ceil(m/MR)*MR*kk floats. Of B: one
                       * panel, NR*kk; `next` is then the panel after the last one, in the same steps */
} dd_operand;

/** Address of one row of dropout draws (randomness contract) and what to do with them. */
typedef struct dd_drop {
  uint32_t key0, key1; /* low, high half of the run's seed */
  uint32_t c1, c2, c3; /* row; purpose << 24 | layer << 8 | site; step */
  uint32_t col0;       /* column of element 0, a multiple of 64 */
  uint32_t threshold;  /* dropped when draw < threshold; 0: no draws, keep all */
  float scale;         /* 65536 / (65536 - threshold) */
} dd_drop;

/** Rows in one call: row r has n + r*grow elements from r*ld on and the address c1 + r. `whole`: as many, rounded up to
 * a multiple of 16, because a last 16 that is not whole costs as much as two that are. */
typedef struct dd_rows {
  int64_t rows, ld, n, grow;
  int whole;
} dd_rows;
static inline int64_t dd_row_length(const dd_rows *g, int64_t r) {
  const int64_t n = g->n + r * g->grow;
  return g->whole ? (n + 15) & ~(int64_t)15 : n;
}

/** Constants of one AdamW update (Loshchilov & Hutter 2019, algorithm 2; PyTorch's order of operations). */
typedef struct dd_adamw {
  float beta1, one_minus_beta1, beta2, one_minus_beta2;
  float decay;     /* 1 - lr * weight_decay */
  float step;      /* lr / (1 - beta1^t) */
  float inv_sqrt_bc2; /* 1 / sqrt(1 - beta2^t) */
  float eps;
  float grad_scale; /* clipping factor, multiplies the gradient first */
} dd_adamw;

/** k per exact sum of gemv_i8: 512 * 127 * 32767 < 2^31. */
enum { DD_GEMV_CHUNK = 512 };
/** Outputs of a whole panel of gemv. */
enum { DD_GEMV_PANEL = 64 };

/* X(return type, name, (arguments)) */
#define DD_KERNELS(X)                                                                                                  \
  /* Pack rows of A for gemm: element (i, k) is src[i*rs + k*cs], i < m, k < kk; dst: panels of MR rows, each          \
   * k-major: dst[p*MR*kk + k*MR + r]; missing rows are +0. dst 64-byte aligned, ceil(m/MR)*MR*kk floats. */           \
  X(void, pack_a, (float *dst, int64_t m, int64_t kk, const float *src, int64_t rs, int64_t cs))                       \
  /* Pack columns of B: element (k, j) is src[k*rs + j*cs], k < kk, j < n; dst: panels of NR columns, each k-major:    \
   * dst[p*NR*kk + k*NR + c]; missing columns are +0. dst 64-byte aligned. */                                          \
  X(void, pack_b, (float *dst, int64_t kk, int64_t n, const float *src, int64_t rs, int64_t cs))                       \
  /* C[m][n] (row stride ldc) from packed A and B of the same kk: see dd_gemm_mode. */                                 \
  X(void, gemm, (int64_t m, int64_t n, int64_t kk, const float *a, const float *b, float *c, int64_t ldc,              \
                 dd_gemm_mode mode))                                                                                   \
  /* The same product from operands in place. Of A only the m rows are read; of B, if it has no `copy`, all columns up \
   * to a multiple of the vector (NR/2), which must be there. */                                                       \
  X(void, gemm_strided, (int64_t m, int64_t n, int64_t kk, const dd_operand *a, const dd_operand *b, float *c,         \
                         int64_t ldc, dd_gemm_mode mode))                                                              \
  /* dst[i] = e^src[i]; in place. <= 1.02 ulp (see vmath.h). */                                                        \
  X(void, exp, (float *dst, const float *src, int64_t n))                                                              \
  /* y[i] = x[i] * Phi(x[i]), exact (erf) GELU (Hendrycks & Gimpel 2016, eq. 1), errors as in vmath.h: +0 far below 0, \
   * x far above; NaN and -inf give 0x7fc00000; in place. */                                                           \
  X(void, gelu, (float *y, const float *x, int64_t n))                                                                 \
  /* The same y, and d[i] = d/dx gelu(x[i]) for the way back, 0 and 1 far from 0; y or d may be x. */                  \
  X(void, gelu_slope, (float *y, float *d, const float *x, int64_t n))                                                 \
  /* dst[i] = a[i] + b[i]; in place. */                                                                                \
  X(void, add, (float *dst, const float *a, const float *b, int64_t n))                                                \
  /* dst[i] = a[i] * b[i]; in place. */                                                                                \
  X(void, mul, (float *dst, const float *a, const float *b, int64_t n))                                                \
  /* dst[c] = kept ? src[c] * scale : +0, columns col0 + c of the rows addressed by d (dst, src and the like: rows of  \
   * g, all of the same ld); in place. */                                                                              \
  X(void, dropout, (float *dst, const float *src, const dd_rows *g, const dd_drop *d))                                 \
  /* dst = dropout(src) and, with the same draws, also = dropout(also) in place; dst is neither. */                    \
  X(void, dropout_pair, (float *dst, const float *src, float *also, const dd_rows *g, const dd_drop *d))               \
  /* dst[c] = fma(kept ? src[c] : +0, scale, res[c]); in place. */                                                     \
  X(void, dropout_add, (float *dst, const float *res, const float *src, const dd_rows *g, const dd_drop *d))           \
  /* The 16-bit draws themselves, columns col0 + c (threshold and scale are not used). */                              \
  X(void, draws, (uint16_t *dst, int64_t n, const dd_drop *d))                                                         \
  /* LayerNorm of rows of n, one after the other (Ba et al. 2016, eq. 4), eps 1e-5, biased variance: mean[r] = sum/n;  \
   * var = sum((x-mean)^2)/n, both 64 lanes (squares by fma); rstd[r] = 1/sqrt(var + eps);                             \
   * out = fma((x-mean)*rstd, w, b). b may be NULL (then out = (x-mean)*rstd * w). */                                  \
  X(void, layernorm, (float *out, float *mean, float *rstd, const float *x, const float *w, const float *b,            \
                      int64_t rows, int64_t n))                                                                        \
  /* dx[c] = dx[c] + rstd*(g - sum(g)/n - xhat*sum(g*xhat)/n), g = dy*w, xhat = (x-mean)*rstd; sums 64 lanes. */       \
  X(void, layernorm_backward, (float *dx, const float *dy, const float *x, const float *w, const float *mean,          \
                               const float *rstd, int64_t rows, int64_t n))                                            \
  /* dw[c] = fma(dy, xhat, dw[c]); db[c] = db[c] + dy (db may be NULL), row after row. */                              \
  X(void, layernorm_dparam, (float *dw, float *db, const float *dy, const float *x, const float *mean,                 \
                             const float *rstd, int64_t rows, int64_t n))                                              \
  /* In place, rows as g says (`whole` is not used), 1 <= n + r*grow <= n_pad, and n_pad <= ld where there are         \
   * several: s[i] = exp((s[i]-max)*scale) * (1/sum) for i below the row's length, +0 from there up to n_pad. max[r]   \
   * over the row; sum 64 lanes of the exponentials; max and inv_sum of each row are for softmax_again. scale > 0.     \
   * Here and in xent exp(x), x <= 0, has the bits of the kernel `exp`, but is +0 where that would be below 2^-126. */ \
  X(void, softmax, (float *s, const dd_rows *g, int64_t n_pad, float scale, float *max, float *inv_sum))               \
  /* The same result from max and inv_sum of these scores. */                                                          \
  X(void, softmax_again, (float *s, const dd_rows *g, int64_t n_pad, float scale, const float *max,                    \
                          const float *inv_sum))                                                                       \
  /* dp in place, rows of g as in softmax: ds[i] = (p[i]*(dp[i] - sum(p*dp)))*scale below the row's length, +0 up to   \
   * n_pad; sum 64 lanes by fma. Of p, too, a row is there up to n_pad or to a multiple of 16. */                      \
  X(void, softmax_backward, (float *dp, const float *p, const dd_rows *g, int64_t n_pad, float scale))                 \
  /* Cross-entropy of rows of v >= 1 logits, one after the other, 0 <= targets[r] < v: max[r], sum[r] of exp(l - max)  \
   * (64 lanes); when g > 0, in place l[i] = (exp(l[i]-max) * (1/sum) - [i == targets[r]]) * g (of rows whose turn is  \
   * yet to come anything may be written meanwhile), otherwise logits stay. */                                         \
  X(void, xent, (float *l, int64_t rows, int64_t v, const int32_t *targets, float g, float *max, float *sum))          \
  /* One AdamW update of n parameters: see dd_adamw. */                                                                \
  X(void, adamw, (float *p, float *m, float *v, const float *g, int64_t n, const dd_adamw *a))                         \
  /* Sum of squares in double, 64 lanes. */                                                                            \
  X(double, sumsq, (const float *x, int64_t n))                                                                        \
  /* For generation: m short products with one panel of n outputs, 1 <= n <= 64, whose weights lie side by side for    \
   * each k. out[r*ldo + j] = chain from +0 over k < kk, increasing, of x[r*ldx + k] * w(k, j), r < m, j < n. Of each  \
   * row of weights n rounded up to 16 are read. f32: w(k, j) = w[k*ldw + j]. */                                       \
  X(void, gemv_f32, (float *out, int64_t ldo, int64_t m, int64_t n, int64_t kk, const float *x, int64_t ldx,           \
                     const float *w, int64_t ldw))                                                                     \
  /* The same with weights in bfloat16, pairs of k side by side: w(k, j) = w[k/2*ldw + 2*j + k%2]; all pairs are       \
   * read. */                                                                                                          \
  X(void, gemv_bf16, (float *out, int64_t ldo, int64_t m, int64_t n, int64_t kk, const float *x, int64_t ldx,          \
                      const uint16_t *w, int64_t ldw))                                                                 \
  /* Integers: w(k, j) = w[k/2*ldw + 2*j + k%2], -127..127; x: -32767..32767, even kk >= 2. Sums of chunks of          \
   * DD_GEMV_CHUNK k are exact in 32 bits; out = (((float)sum_0 + (float)sum_1) + ...) * (wscale[j] * xscale[r]). */   \
  X(void, gemv_i8, (float *out, int64_t ldo, int64_t m, int64_t n, int64_t kk, const int16_t *x, int64_t ldx,          \
                    const float *xscale, const int8_t *w, int64_t ldw, const float *wscale))                           \
  /* q[i] = x[i] * (32767/a) to the nearest integer (even at ties), a = the largest |x[i]|; returns a/32767. NaN       \
   * counts for 32767 and not for a. All q are 0, and so is the result, when a < 2^-100. */                            \
  X(float, quantize, (int16_t *q, const float *x, int64_t n))                                                          \
  /* iters rounds of independent fused multiply-adds on registers, for measuring the peak; returns FLOPs done.         \
   * sink: 14 floats that the compiler cannot know; sink[0] is changed. */                                             \
  X(double, peak, (int64_t iters, float *sink))

typedef struct dd_kernels {
  const char *tier;
  int mr, nr; /* tile of gemm: rows of A and columns of B per panel */
  int kc;     /* block of k for which a panel of B stays in the first cache */
#define DD_FIELD(ret, name, args) ret(*name) args;
  DD_KERNELS(DD_FIELD)
#undef DD_FIELD
} dd_kernels;

/* Bounds over all tiers, for scratch sizes. */
#define DD_MR_MAX 12
#define DD_NR_MAX 32
#define DD_KC_MAX 512

extern const dd_kernels dd_kernels_scalar;
#ifdef DD_TIER_AVX2
extern const dd_kernels dd_kernels_avx2;
#endif
#ifdef DD_TIER_AVX512
extern const dd_kernels dd_kernels_avx512;
#endif
#ifdef DD_TIER_NEON
extern const dd_kernels dd_kernels_neon;
#endif
#endif
