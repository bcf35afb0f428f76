/* One case per kernel: the data it works on, how much memory that moves, and what stands beside it. */
#ifndef DD_BENCH_CASES_H
#define DD_BENCH_CASES_H
#include "bench/bench.h"

/** Data of one case: up to four arrays of rows x cols. */
typedef struct dd_field {
  const dd_kernels *k;
  const dd_loops *l;
  int64_t rows, cols;
  int64_t unit; /* rows per call */
  float *a[4];
  float *w, *bias, *dw, *db; /* [cols]; dw, db per thread in use */
  float *mean, *rstd;        /* [rows] */
  dd_drop drop;
  dd_adamw adam;
} dd_field;

typedef enum dd_columns { DD_COLS_C, DD_COLS_4C, DD_COLS_T, DD_COLS_V, DD_COLS_FLAT } dd_columns;

typedef struct dd_case {
  const char *name;   /* of the kernel */
  dd_columns columns; /* length of a row; FLAT: there are no rows, pieces of 4096 */
  int arrays;         /* of rows x cols that are touched */
  int unit;           /* rows per call; of logits, at most */
  double moves;       /* floats read plus floats written, per element */
  dd_flow limit;      /* the streaming loop that moves memory alike */
  void (*ours)(const dd_field *f, int64_t row);
  void (*plain)(const dd_field *f, int64_t row); /* plain C, or NULL */
  int dnnl;                                      /* dd_dnnl_op, or -1 */
} dd_case;

/** Cases in order, NULL after the last. */
const dd_case *dd_case_at(int i);
/** Kernels without a case here because `ceilings`, `products` and `generate` measure them: gemm, gemv, peak, quantize.
 */
int dd_case_elsewhere(const char *kernel);
#endif
