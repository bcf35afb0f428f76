/* Row functions of all kernels. Those that work in place are set up so that their data neither grows nor fades when
 * they run on their own results again and again. */
#include "bench/cases.h"
#include <string.h>

#define ROW(i) (f->a[i] + row * f->cols)
#define OURS(name) static void name(const dd_field *f, int64_t row)
#define N f->cols

enum { PACK_A_ROWS = 48, PACK_B_ROWS = 64 };

/* Packing: rows of x for a product's left side, rows of W as columns of its right side. */
OURS(pack_a) { f->k->pack_a(ROW(1), PACK_A_ROWS, N, ROW(0), N, 1); }
OURS(pack_b) { f->k->pack_b(ROW(1), N, PACK_B_ROWS, ROW(0), 1, N); }

OURS(exp_row) { f->k->exp(ROW(1), ROW(0), N); }
OURS(plain_exp) { f->l->exp(ROW(1), ROW(0), N); }
OURS(gelu) { f->k->gelu(ROW(1), ROW(0), N); }
OURS(plain_gelu) { f->l->gelu(ROW(1), ROW(0), N); }
OURS(gelu_slope) { f->k->gelu_slope(ROW(1), ROW(2), ROW(0), N); }
OURS(plain_gelu_slope) { f->l->gelu_slope(ROW(1), ROW(2), ROW(0), N); }
OURS(mul) { f->k->mul(ROW(2), ROW(0), ROW(1), N); }
OURS(add) { f->k->add(ROW(2), ROW(0), ROW(1), N); }

/* Rows come in blocks, as the operations have them. */
enum { DROP_ROWS = 48, SOFT_ROWS = 48, XENT_ROWS = 64, NORM_ROWS = 8 };
#define EACH_ROW for (const int64_t end = row + f->unit; row < end; row++)
static dd_drop drop_of(const dd_field *f, int64_t row) {
  dd_drop d = f->drop;
  d.c1 = (uint32_t)row;
  return d;
}
static dd_rows block_of(const dd_field *f) { return (dd_rows){.rows = f->unit, .ld = f->cols, .n = f->cols}; }

OURS(dropout) {
  const dd_drop d = drop_of(f, row);
  const dd_rows g = block_of(f);
  f->k->dropout(ROW(1), ROW(0), &g, &d);
}
OURS(dropout_add) {
  const dd_drop d = drop_of(f, row);
  const dd_rows g = block_of(f);
  f->k->dropout_add(ROW(2), ROW(1), ROW(0), &g, &d);
}
OURS(dropout_pair) {
  const dd_drop d = drop_of(f, row);
  const dd_rows g = block_of(f);
  f->k->dropout_pair(ROW(1), ROW(0), ROW(2), &g, &d);
}
OURS(plain_dropout) {
  EACH_ROW {
    const dd_drop d = drop_of(f, row);
    f->l->dropout(ROW(1), ROW(0), N, &d);
  }
}
OURS(plain_dropout_add) {
  EACH_ROW {
    const dd_drop d = drop_of(f, row);
    f->l->dropout_add(ROW(2), ROW(1), ROW(0), N, &d);
  }
}
OURS(plain_dropout_pair) { /* draws once for each of the two */
  EACH_ROW {
    const dd_drop d = drop_of(f, row);
    f->l->dropout(ROW(1), ROW(0), N, &d);
    f->l->dropout(ROW(2), ROW(2), N, &d);
  }
}
OURS(draws) {
  const dd_drop d = drop_of(f, row);
  f->k->draws((uint16_t *)(void *)ROW(0), N, &d);
}

OURS(layernorm) { f->k->layernorm(ROW(1), f->mean + row, f->rstd + row, ROW(0), f->w, f->bias, NORM_ROWS, N); }
OURS(plain_layernorm) { EACH_ROW f->l->layernorm(ROW(1), f->mean + row, f->rstd + row, ROW(0), f->w, f->bias, N); }
/* Statistics of any block. */
static const float zeros[XENT_ROWS], ones[XENT_ROWS] = {[0 ... XENT_ROWS - 1] = 1.f};
OURS(layernorm_backward) {
  f->k->layernorm_backward(ROW(2), ROW(1), ROW(0), f->w, zeros, ones, NORM_ROWS, N);
}
OURS(plain_layernorm_backward) { EACH_ROW f->l->layernorm_backward(ROW(2), ROW(1), ROW(0), f->w, 0.f, 1.f, N); }
OURS(layernorm_dparam) {
  f->k->layernorm_dparam(f->dw, f->db, ROW(1), ROW(0), zeros, ones, NORM_ROWS, N);
}

OURS(softmax) {
  const dd_rows g = block_of(f);
  f->k->softmax(ROW(0), &g, N, 1.f, f->mean + row, f->rstd + row);
}
OURS(plain_softmax) { EACH_ROW f->l->softmax(ROW(0), N, 1.f); }
OURS(softmax_again) { /* e^(s - 1) goes towards 1 */
  const dd_rows g = block_of(f);
  f->k->softmax_again(ROW(0), &g, N, 1.f, ones, ones);
}
OURS(softmax_backward) { /* p = 1/n: takes the mean away */
  const dd_rows g = block_of(f);
  f->k->softmax_backward(ROW(0), ROW(1), &g, N, (float)N);
}
OURS(plain_softmax_backward) { EACH_ROW f->l->softmax_backward(ROW(0), ROW(1), N, (float)N); }
OURS(xent) {
  int32_t targets[XENT_ROWS];
  for (int64_t i = 0; i < f->unit; i++) targets[i] = (int32_t)((row + i) % N);
  f->k->xent(ROW(0), f->unit, N, targets, 1.f, f->mean + row, f->rstd + row);
}
OURS(plain_xent) { EACH_ROW f->l->xent(ROW(0), N, row % N, 1.f); }

OURS(adamw) { f->k->adamw(ROW(0), ROW(1), ROW(2), ROW(3), N, &f->adam); }
OURS(plain_adamw) { f->l->adamw(ROW(0), ROW(1), ROW(2), ROW(3), N, &f->adam); }
OURS(sumsq) {
  volatile double sum = f->k->sumsq(ROW(0), N);
  (void)sum;
}
OURS(plain_sumsq) {
  volatile float sum = f->l->sumsq(ROW(0), N);
  (void)sum;
}

static const dd_case cases[] = {
    {"pack_a", DD_COLS_C, 2, PACK_A_ROWS, 2, DD_FLOW_COPY, pack_a, NULL, -1},
    {"pack_b", DD_COLS_C, 2, PACK_B_ROWS, 2, DD_FLOW_COPY, pack_b, NULL, -1},
    {"exp", DD_COLS_4C, 2, 1, 2, DD_FLOW_COPY, exp_row, plain_exp, -1},
    {"gelu", DD_COLS_4C, 2, 1, 2, DD_FLOW_COPY, gelu, plain_gelu, DD_DNNL_GELU},
    {"gelu_slope", DD_COLS_4C, 3, 1, 3, DD_FLOW_COPY, gelu_slope, plain_gelu_slope, -1},
    {"mul", DD_COLS_4C, 3, 1, 3, DD_FLOW_COPY, mul, NULL, -1},
    {"add", DD_COLS_C, 3, 1, 3, DD_FLOW_COPY, add, NULL, -1},
    {"dropout", DD_COLS_C, 2, DROP_ROWS, 2, DD_FLOW_COPY, dropout, plain_dropout, -1},
    {"dropout_add", DD_COLS_C, 3, DROP_ROWS, 3, DD_FLOW_COPY, dropout_add, plain_dropout_add, -1},
    {"dropout_pair", DD_COLS_T, 3, DROP_ROWS, 4, DD_FLOW_COPY, dropout_pair, plain_dropout_pair, -1},
    {"draws", DD_COLS_C, 1, 1, 0.5, DD_FLOW_UPDATE, draws, NULL, -1},
    {"layernorm", DD_COLS_C, 2, NORM_ROWS, 2, DD_FLOW_COPY, layernorm, plain_layernorm, DD_DNNL_LAYERNORM},
    {"layernorm_backward", DD_COLS_C, 3, NORM_ROWS, 4, DD_FLOW_UPDATE, layernorm_backward, plain_layernorm_backward,
     -1},
    {"layernorm_dparam", DD_COLS_C, 2, NORM_ROWS, 2, DD_FLOW_READ, layernorm_dparam, NULL, -1},
    {"softmax", DD_COLS_T, 1, SOFT_ROWS, 2, DD_FLOW_UPDATE, softmax, plain_softmax, DD_DNNL_SOFTMAX},
    {"softmax_again", DD_COLS_T, 1, SOFT_ROWS, 2, DD_FLOW_UPDATE, softmax_again, NULL, -1},
    {"softmax_backward", DD_COLS_T, 2, SOFT_ROWS, 3, DD_FLOW_UPDATE, softmax_backward, plain_softmax_backward, -1},
    {"xent", DD_COLS_V, 1, XENT_ROWS, 2, DD_FLOW_UPDATE, xent, plain_xent, -1},
    {"adamw", DD_COLS_FLAT, 4, 1, 7, DD_FLOW_UPDATE3, adamw, plain_adamw, -1},
    {"sumsq", DD_COLS_FLAT, 1, 1, 1, DD_FLOW_READ, sumsq, plain_sumsq, -1},
};

const dd_case *dd_case_at(int i) { return i >= 0 && i < (int)(sizeof cases / sizeof *cases) ? &cases[i] : NULL; }

int dd_case_elsewhere(const char *kernel) {
  static const char *const begin[] = {"gemm", "gemv", "peak", "quantize"};
  for (size_t i = 0; i < sizeof begin / sizeof *begin; i++)
    if (!strncmp(kernel, begin[i], strlen(begin[i]))) return 1;
  return 0;
}
