/* Kernels of rows (LayerNorm, softmax, cross-entropy) in every tier against `scalar`: see test_kernels.c. */
#include "kernels_common.h"
#include <math.h>

#define OP(label, n, data)                                                                                             \
  { .name = label, .size = sizeof(float), .count = (n), .init = (data) }

/* Products of three such inputs overflow, and infinities may cancel. */
static int may_overflow(fill kind) {
  return kind == FILL_WIDE || kind == FILL_MIXED || kind == FILL_HUGE;
}

/* One row, or up to seventeen, which is more than kernels take side by side: every third case of short rows and of the
 * longest, and some of those between. */
enum { ROWS_MOST = 17 };
static int64_t some_rows(int64_t n, int64_t which, uint64_t *s) {
  const int64_t rows = (n + which) % (n < 100 || n > SIZE_SMALL ? 3 : 11) ? 1 : 2 + rnd_below(s, ROWS_MOST - 1);
  return rows * n > SIZE_MAX_N ? SIZE_MAX_N / n : rows;
}

/* ---- LayerNorm --------------------------------------------------------------------------------------------- */

static void call_layernorm(const dd_kernels *k, void *const *p, const kcase *c) {
  k->layernorm(p[0], p[1], p[2], p[3], p[4], c->target ? p[5] : NULL, c->rows, c->n); /* target: with a bias */
}
static void layernorm_case(int64_t n, fill kind, uint64_t seed) {
  uint64_t s = seed;
  for (int bias = 0; bias < 2; bias++) {
    const int64_t rows = some_rows(n, bias + (int64_t)kind, &s), all = rows * n;
    kcase c = {.kernel = "layernorm",
               .call = call_layernorm,
               .n = n,
               .rows = rows,
               .kind = kind,
               .seed = seed,
               .target = bias,
               .any_nan = kind == FILL_HUGE || n == 0, /* 0/0 */
               .op = {OP("out", all, NULL), OP("mean", rows, NULL), OP("rstd", rows, NULL), OP("x", all, input(3)),
                      OP("w", n, input(4)), OP("b", n, input(5))}};
    for (int i = 3; i < 6; i++) fill_floats(input(i), i == 3 ? all : n, kind, 1.f, &s);
    for (int64_t i = 0; i < all && n % 5 == 0; i++) input(3)[i] += 100.f; /* a mean far from 0 */
    check_case(&c);
  }
}
void kernel_layernorm(void **state) {
  (void)state;
  each_case(layernorm_case, 0, FILL_SPECIAL);
}

/* Means and reciprocal deviations of up to seventeen rows. */
static float means[ROWS_MOST], rstds[ROWS_MOST];
static void fill_statistics(fill kind, uint64_t *s) {
  for (int r = 0; r < ROWS_MOST; r++) means[r] = fill_one(kind, s), rstds[r] = fabsf(fill_one(FILL_NORMAL, s)) + .5f;
}

static void call_layernorm_backward(const dd_kernels *k, void *const *p, const kcase *c) {
  k->layernorm_backward(p[0], p[1], p[2], p[3], p[4], p[5], c->rows, c->n);
}
static void layernorm_backward_case(int64_t n, fill kind, uint64_t seed) {
  uint64_t s = seed;
  fill_statistics(kind, &s);
  const int64_t rows = some_rows(n, (int64_t)kind, &s), all = rows * n;
  kcase c = {.kernel = "layernorm_backward",
             .call = call_layernorm_backward,
             .n = n,
             .rows = rows,
             .kind = kind,
             .seed = seed,
             .any_nan = may_overflow(kind),
             .op = {OP("dx", all, input(0)), OP("dy", all, input(1)), OP("x", all, input(2)), OP("w", n, input(3)),
                    OP("mean", rows, means), OP("rstd", rows, rstds)}};
  for (int i = 0; i < 4; i++) fill_floats(input(i), i < 3 ? all : n, kind, 1.f, &s);
  check_case(&c);
  if (kind == FILL_HUGE) { /* all x of a row equal and huge: (x - mean) * rstd is 0 in every lane that exists */
    for (int64_t i = 0; i < all; i++) input(2)[i] = means[i / n], input(1)[i] = 1.f;
    for (int64_t i = 0; i < n; i++) input(3)[i] = 1.f;
    for (int r = 0; r < ROWS_MOST; r++) rstds[r] = 316.f;
    c.any_nan = 0;
    check_case(&c);
  }
}
void kernel_layernorm_backward(void **state) {
  (void)state;
  each_case(layernorm_backward_case, 1, FILL_SPECIAL);
}

static void call_layernorm_dparam(const dd_kernels *k, void *const *p, const kcase *c) {
  k->layernorm_dparam(p[0], c->target ? p[1] : NULL, p[2], p[3], p[4], p[5], c->rows, c->n);
}
static void layernorm_dparam_case(int64_t n, fill kind, uint64_t seed) {
  uint64_t s = seed;
  for (int bias = 0; bias < 2; bias++) {
    fill_statistics(kind, &s);
    const int64_t rows = some_rows(n, bias + (int64_t)kind, &s), all = rows * n;
    kcase c = {.kernel = "layernorm_dparam",
               .call = call_layernorm_dparam,
               .n = n,
               .rows = rows,
               .kind = kind,
               .seed = seed,
               .target = bias,
               .any_nan = may_overflow(kind),
               .op = {OP("dw", n, input(0)), OP("db", n, input(1)), OP("dy", all, input(2)), OP("x", all, input(3)),
                      OP("mean", rows, means), OP("rstd", rows, rstds)}};
    for (int i = 0; i < 4; i++) fill_floats(input(i), i < 2 ? n : all, kind, 1.f, &s);
    check_case(&c);
  }
}
void kernel_layernorm_dparam(void **state) {
  (void)state;
  each_case(layernorm_dparam_case, 0, FILL_SPECIAL);
}

/* ---- softmax ----------------------------------------------------------------------------------------------- */

static const float scales[] = {1.f, 0.125f, 0.14433756f, 3.f};

static int64_t length_of(const kcase *c, int64_t r) { return c->n + r * c->grow; }

/* Rows of the case: equal ones or the triangle of causal attention; zeros up to n_pad, and room behind them that is
 * nobody's. Returns the elements from the first to the last. */
static int64_t soft_rows(kcase *c, int64_t n, uint64_t *s) {
  c->n = n;
  c->rows = some_rows(n, (int64_t)c->kind, s);
  c->grow = c->rows > 1 ? rnd_below(s, 3) : 0;
  const int64_t gap = rnd(s) % 2 ? 5 : 0, beyond = rnd(s) % 3 ? rnd_below(s, 40) : 0;
  while (c->rows > 1 && c->rows * (length_of(c, c->rows - 1) + beyond + gap) > SIZE_MAX_N) c->rows--;
  c->n_pad = length_of(c, c->rows - 1) + beyond;
  c->ld = c->n_pad + gap;
  return (c->rows - 1) * c->ld + c->n_pad;
}

static void call_softmax(const dd_kernels *k, void *const *p, const kcase *c) {
  const dd_rows g = rows_of(c);
  k->softmax(p[0], &g, c->n_pad, c->f0, p[1], p[2]);
}
static void call_softmax_again(const dd_kernels *k, void *const *p, const kcase *c) {
  float max[ROWS_MOST], inv_sum[ROWS_MOST]; /* of this tier's softmax, in a copy of the rows */
  static float copy[SIZE_MAX_N];
  const dd_rows g = rows_of(c);
  const int64_t count = (c->rows - 1) * c->ld + c->n_pad;
  memcpy(copy, p[0], (size_t)count * sizeof *copy);
  k->softmax(copy, &g, c->n_pad, c->f0, max, inv_sum);
  k->softmax_again(p[0], &g, c->n_pad, c->f0, max, inv_sum);
  const int64_t at = first_difference(copy, p[0], count, sizeof *copy, 0);
  if (at < 0) return;
  kcase_print(c, k, 0, 0);
  fail_msg("softmax_again is not softmax: [%lld] 0x%08x, not 0x%08x", (long long)at, bits_of(((float *)p[0])[at]),
           bits_of(copy[at]));
}

/* FILL_SPECIAL is here: finite scores with some -inf, as a masked row may hold; of eleven rows one with a NaN of any
 * bits, one with +inf, one of -inf alone. */
static void scores(float *x, int64_t n, fill kind, uint64_t *s) {
  if (kind != FILL_SPECIAL) fill_floats(x, n, kind, kind == FILL_NORMAL ? 5.f : 1.f, s);
  else {
    fill_floats(x, n, FILL_NORMAL, 20.f, s);
    for (int64_t i = 1; i < n; i++)
      if (rnd(s) % 3 == 0) x[i] = -INFINITY;
    const uint64_t which = rnd(s) % 11, bits = rnd(s);
    const uint32_t sign = (uint32_t)(bits >> 63) << 31, nan = 0x7f800001u + (uint32_t)bits % 0x7fffffu;
    if (which == 0) x[rnd_below(s, n)] = float_of(sign | nan);
    if (which == 1) x[rnd_below(s, n)] = INFINITY;
    for (int64_t i = 0; which == 2 && i < n; i++) x[i] = -INFINITY;
  }
  for (int64_t i = 0; kind == FILL_ZERO && n % 2 && i < n; i++) /* the largest is a zero: of which sign? */
    if (x[i] > 0) x[i] = -x[i];
}
/* Rows of scores; what lies beyond a row must not matter, and what lies between rows must stay. */
static void score_rows(const kcase *c, float *x, int64_t count, uint64_t *s) {
  for (int64_t i = 0; i < count; i++) x[i] = i % c->ld < c->n_pad ? NAN : 77.f;
  for (int64_t r = 0; r < c->rows; r++) scores(x + r * c->ld, length_of(c, r), c->kind, s);
}
static void softmax_case(int64_t n, fill kind, uint64_t seed) {
  uint64_t s = seed;
  kcase c = {.kernel = "softmax", .call = call_softmax, .kind = kind, .seed = seed, .f0 = scales[rnd(&s) % 4]};
  const int64_t count = soft_rows(&c, n, &s);
  const operand ops[] = {OP("s", count, input(0)), OP("max", c.rows, NULL), OP("inv_sum", c.rows, NULL)};
  memcpy(c.op, ops, sizeof ops);
  score_rows(&c, input(0), count, &s);
  check_case(&c);
}
void kernel_softmax(void **state) {
  (void)state;
  each_case(softmax_case, 1, FILL_KINDS);
}

static void softmax_again_case(int64_t n, fill kind, uint64_t seed) {
  uint64_t s = seed;
  kcase c = {
      .kernel = "softmax_again", .call = call_softmax_again, .kind = kind, .seed = seed, .f0 = scales[rnd(&s) % 4]};
  const int64_t count = soft_rows(&c, n, &s);
  c.op[0] = (operand)OP("s", count, input(0));
  score_rows(&c, input(0), count, &s);
  check_case(&c);
}
void kernel_softmax_again(void **state) {
  (void)state;
  each_case(softmax_again_case, 1, FILL_KINDS);
}

static void call_softmax_backward(const dd_kernels *k, void *const *p, const kcase *c) {
  const dd_rows g = rows_of(c);
  k->softmax_backward(p[0], p[1], &g, c->n_pad, c->f0);
}
static void softmax_backward_case(int64_t n, fill kind, uint64_t seed) {
  uint64_t s = seed;
  float max, inv_sum;
  kcase c = {.kernel = "softmax_backward",
             .call = call_softmax_backward,
             .kind = kind,
             .seed = seed,
             .f0 = scales[rnd(&s) % 4],
             .any_nan = may_overflow(kind)};
  const int64_t count = soft_rows(&c, n, &s), last = length_of(&c, c.rows - 1), whole = (last + 15) / 16 * 16;
  /* p of the last row has room up to a whole vector or to n_pad, where it must not matter */
  const operand ops[] = {OP("dp", count, input(0)),
                         OP("p", (c.rows - 1) * c.ld + (c.n_pad < whole ? c.n_pad : whole), input(1))};
  memcpy(c.op, ops, sizeof ops);
  for (int64_t i = 0; i < count; i++) {
    input(0)[i] = i % c.ld < c.n_pad ? NAN : 77.f;
    input(1)[i] = (float)(i % 97) - 7.f;
  }
  for (int64_t r = 0; r < c.rows; r++) {
    fill_floats(input(0) + r * c.ld, length_of(&c, r), kind, 1.f, &s);
    fill_floats(input(1) + r * c.ld, length_of(&c, r), kind, 1.f, &s);
  }
  for (int64_t r = 0; n && seed & 256 && r < c.rows; r++) {
    const int64_t length = length_of(&c, r);
    dd_kernels_scalar.softmax(input(1) + r * c.ld, &(dd_rows){1, length, length, 0, 0}, length, 1.f, &max, &inv_sum);
  }
  check_case(&c);
}
/* Products that are all -0: absent lanes must not make a sum +0. */
static void negative_zeros(void) {
  for (int64_t n = 1; n < 130; n += 7) {
    kcase c = {.kernel = "softmax_backward", .call = call_softmax_backward, .n = n, .rows = 1, .n_pad = n, .ld = n,
               .f0 = 1.f, .op = {OP("dp", n, input(0)), OP("p", n, input(1))}};
    for (int64_t i = 0; i < n; i++) input(0)[i] = i == n - 1 && n > 64 ? -0.f : -0x1p-60f, input(1)[i] = 0x1p-100f;
    check_case(&c);
    kcase l = {.kernel = "layernorm_backward", .call = call_layernorm_backward, .n = n, .rows = 1,
               .op = {OP("dx", n, input(0)), OP("dy", n, input(1)), OP("x", n, input(2)), OP("w", n, input(3)),
                      OP("mean", 1, means), OP("rstd", 1, rstds)}};
    means[0] = 0.f, rstds[0] = 1.f;
    for (int64_t i = 0; i < n; i++) {
      input(0)[i] = -0.f, input(1)[i] = -0x1p-100f;
      input(2)[i] = 1.f, input(3)[i] = 0x1p-60f;
    }
    check_case(&l);
  }
}
void kernel_softmax_backward(void **state) {
  (void)state;
  each_case(softmax_backward_case, 0, FILL_SPECIAL);
  negative_zeros();
}

/* ---- cross-entropy ----------------------------------------------------------------------------------------- */

static void call_xent(const dd_kernels *k, void *const *p, const kcase *c) {
  k->xent(p[0], c->rows, c->n, p[3], c->f0, p[1], p[2]);
}
static void xent_case(int64_t n, fill kind, uint64_t seed) {
  uint64_t s = seed;
  const float gs[] = {1.f, 1.f / 2048, 0x1p-140f};
  for (int i = 0; i < 4; i++) { /* the last: g = 0, the logits must stay as they are */
    kcase c = {.kernel = "xent", .call = call_xent, .n = n, .kind = kind, .seed = seed, .f0 = i < 3 ? gs[i] : 0.f};
    c.rows = some_rows(n, i + (int64_t)kind, &s);
    int32_t targets[ROWS_MOST];
    for (int r = 0; r < c.rows; r++)
      targets[r] = (int32_t)((r + i) % 3 == 0 ? 0 : (r + i) % 3 == 1 ? n - 1 : rnd_below(&s, n));
    const operand ops[] = {OP("l", c.rows * n, input(0)), OP("max", c.rows, NULL), OP("sum", c.rows, NULL),
                           OP("targets", c.rows, targets)};
    memcpy(c.op, ops, sizeof ops);
    for (int64_t r = 0; r < c.rows; r++) scores(input(0) + r * n, n, kind, &s);
    check_case(&c);
    if (i < 3) continue;
    float max[ROWS_MOST], sum[ROWS_MOST], max1[ROWS_MOST], sum1[ROWS_MOST];
    static float copy[SIZE_MAX_N];
    FOR_TIERS(k) {
      memcpy(copy, input(0), (size_t)(c.rows * n) * sizeof *copy);
      k->xent(copy, c.rows, n, targets, 0.f, max, sum);
      const int64_t at = first_difference(input(0), copy, c.rows * n, sizeof *copy, 0);
      if (at >= 0) fail_msg("tier %s, v %lld, g 0: logit %lld was changed", k->tier, (long long)n, (long long)at);
      k->xent(copy, c.rows, n, targets, 1.f, max1, sum1);
      for (int r = 0; r < c.rows; r++)
        if (bits_of(max[r]) != bits_of(max1[r]) || bits_of(sum[r]) != bits_of(sum1[r]))
          fail_msg("tier %s, v %lld, row %d, inputs %s, seed 0x%llx: the loss depends on g: "
                   "max %08x %08x sum %08x %08x",
                   k->tier, (long long)n, r, fill_names[kind], (unsigned long long)seed, bits_of(max[r]),
                   bits_of(max1[r]), bits_of(sum[r]), bits_of(sum1[r]));
    }
  }
}
void kernel_xent(void **state) {
  (void)state;
  each_case(xent_case, 1, FILL_KINDS);
  for (int64_t n = 2047; n <= 2049; n++) /* where rows become long */
    for (int f = 0; f < 2 * (int)FILL_KINDS; f++) xent_case(n, (fill)(f % (int)FILL_KINDS), (uint64_t)(n << 8 | f));
}
