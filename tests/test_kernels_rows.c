/* Kernels of one row (LayerNorm, softmax, cross-entropy) in every tier against `scalar`: see test_kernels.c. */
#include "kernels_common.h"
#include <math.h>

#define OP(label, n, data)                                                                                             \
  { .name = label, .size = sizeof(float), .count = (n), .init = (data) }

/* Products of three such inputs overflow, and infinities may cancel. */
static int may_overflow(fill kind) {
  return kind == FILL_WIDE || kind == FILL_MIXED || kind == FILL_HUGE;
}

/* ---- LayerNorm --------------------------------------------------------------------------------------------- */

static void call_layernorm(const dd_kernels *k, void *const *p, const kcase *c) {
  k->layernorm(p[0], p[1], p[2], p[3], p[4], c->target ? p[5] : NULL, c->n); /* target: with a bias */
}
static void layernorm_case(int64_t n, fill kind, uint64_t seed) {
  uint64_t s = seed;
  for (int bias = 0; bias < 2; bias++) {
    kcase c = {.kernel = "layernorm",
               .call = call_layernorm,
               .n = n,
               .kind = kind,
               .seed = seed,
               .target = bias,
               .any_nan = kind == FILL_HUGE || n == 0, /* 0/0 */
               .op = {OP("out", n, NULL), OP("mean", 1, NULL), OP("rstd", 1, NULL), OP("x", n, input(3)),
                      OP("w", n, input(4)), OP("b", n, input(5))}};
    for (int i = 3; i < 6; i++) fill_floats(input(i), n, kind, 1.f, &s);
    for (int64_t i = 0; i < n && n % 5 == 0; i++) input(3)[i] += 100.f; /* a mean far from 0 */
    check_case(&c);
  }
}
void kernel_layernorm(void **state) {
  (void)state;
  each_case(layernorm_case, 0, FILL_SPECIAL);
}

static void call_layernorm_backward(const dd_kernels *k, void *const *p, const kcase *c) {
  k->layernorm_backward(p[0], p[1], p[2], p[3], c->f0, c->f1, c->n);
}
static void layernorm_backward_case(int64_t n, fill kind, uint64_t seed) {
  uint64_t s = seed;
  const float mean = fill_one(kind, &s), rstd = fabsf(fill_one(FILL_NORMAL, &s)) + .5f;
  kcase c = {.kernel = "layernorm_backward",
             .call = call_layernorm_backward,
             .n = n,
             .kind = kind,
             .seed = seed,
             .f0 = mean,
             .f1 = rstd,
             .any_nan = may_overflow(kind),
             .op = {OP("dx", n, input(0)), OP("dy", n, input(1)), OP("x", n, input(2)), OP("w", n, input(3))}};
  for (int i = 0; i < 4; i++) fill_floats(input(i), n, kind, 1.f, &s);
  check_case(&c);
  if (kind == FILL_HUGE) { /* all x equal and huge: (x - mean) * rstd is 0 in every lane that exists */
    for (int64_t i = 0; i < n; i++) input(2)[i] = c.f0, input(1)[i] = input(3)[i] = 1.f;
    c.f1 = 316.f;
    c.any_nan = 0;
    check_case(&c);
  }
}
void kernel_layernorm_backward(void **state) {
  (void)state;
  each_case(layernorm_backward_case, 1, FILL_SPECIAL);
}

static void call_layernorm_dparam(const dd_kernels *k, void *const *p, const kcase *c) {
  k->layernorm_dparam(p[0], c->target ? p[1] : NULL, p[2], p[3], c->f0, c->f1, c->n);
}
static void layernorm_dparam_case(int64_t n, fill kind, uint64_t seed) {
  uint64_t s = seed;
  for (int bias = 0; bias < 2; bias++) {
    const float mean = fill_one(kind, &s), rstd = fabsf(fill_one(FILL_NORMAL, &s)) + .5f;
    kcase c = {.kernel = "layernorm_dparam",
               .call = call_layernorm_dparam,
               .n = n,
               .kind = kind,
               .seed = seed,
               .target = bias,
               .f0 = mean,
               .f1 = rstd,
               .any_nan = may_overflow(kind),
               .op = {OP("dw", n, input(0)), OP("db", n, input(1)), OP("dy", n, input(2)), OP("x", n, input(3))}};
    for (int i = 0; i < 4; i++) fill_floats(input(i), n, kind, 1.f, &s);
    check_case(&c);
  }
}
void kernel_layernorm_dparam(void **state) {
  (void)state;
  each_case(layernorm_dparam_case, 0, FILL_SPECIAL);
}

/* ---- softmax ----------------------------------------------------------------------------------------------- */

static const float scales[] = {1.f, 0.125f, 0.14433756f, 3.f};

static void call_softmax(const dd_kernels *k, void *const *p, const kcase *c) {
  k->softmax(p[0], c->n, c->n_pad, c->f0, p[1], p[2]);
}
static void call_softmax_again(const dd_kernels *k, void *const *p, const kcase *c) {
  float max, inv_sum; /* of this tier's softmax, in a copy of the row */
  static float copy[SIZE_MAX_N];
  memcpy(copy, p[0], (size_t)c->n_pad * sizeof *copy);
  k->softmax(copy, c->n, c->n_pad, c->f0, &max, &inv_sum);
  k->softmax_again(p[0], c->n, c->n_pad, c->f0, max, inv_sum);
  const int64_t at = first_difference(copy, p[0], c->n_pad, sizeof *copy, 0);
  if (at < 0) return;
  kcase_print(c, k, 0, 0);
  fail_msg("softmax_again is not softmax: [%lld] 0x%08x, not 0x%08x", (long long)at, bits_of(((float *)p[0])[at]),
           bits_of(copy[at]));
}

/* FILL_SPECIAL is here: finite scores with some -inf, as a masked row may hold; the largest score is finite. */
static void scores(float *x, int64_t n, int64_t n_pad, fill kind, uint64_t *s) {
  if (kind != FILL_SPECIAL) fill_floats(x, n_pad, kind, kind == FILL_NORMAL ? 5.f : 1.f, s);
  else {
    fill_floats(x, n_pad, FILL_NORMAL, 20.f, s);
    for (int64_t i = 1; i < n; i++)
      if (rnd(s) % 3 == 0) x[i] = -INFINITY;
  }
  for (int64_t i = 0; kind == FILL_ZERO && n % 2 && i < n; i++) /* the largest is a zero: of which sign? */
    if (x[i] > 0) x[i] = -x[i];
  for (int64_t i = n; i < n_pad; i++) x[i] = NAN; /* what lies beyond n must not matter */
}
static void softmax_case(int64_t n, fill kind, uint64_t seed) {
  uint64_t s = seed;
  const int64_t n_pad = n + (int64_t)(rnd(&s) % 3 ? rnd(&s) % 40 : 0);
  kcase c = {.kernel = "softmax",
             .call = call_softmax,
             .n = n,
             .n_pad = n_pad,
             .kind = kind,
             .seed = seed,
             .f0 = scales[rnd(&s) % 4],
             .op = {OP("s", n_pad, input(0)), OP("max", 1, NULL), OP("inv_sum", 1, NULL)}};
  scores(input(0), n, n_pad, kind, &s);
  check_case(&c);
}
void kernel_softmax(void **state) {
  (void)state;
  each_case(softmax_case, 1, FILL_KINDS);
}

static void softmax_again_case(int64_t n, fill kind, uint64_t seed) {
  uint64_t s = seed;
  const int64_t n_pad = n + (int64_t)(rnd(&s) % 3 ? rnd(&s) % 40 : 0);
  kcase c = {.kernel = "softmax_again",
             .call = call_softmax_again,
             .n = n,
             .n_pad = n_pad,
             .kind = kind,
             .seed = seed,
             .f0 = scales[rnd(&s) % 4],
             .op = {OP("s", n_pad, input(0))}};
  scores(input(0), n, n_pad, kind, &s);
  check_case(&c);
}
void kernel_softmax_again(void **state) {
  (void)state;
  each_case(softmax_again_case, 1, FILL_KINDS);
}

static void call_softmax_backward(const dd_kernels *k, void *const *p, const kcase *c) {
  k->softmax_backward(p[0], p[1], c->n, c->n_pad, c->f0);
}
static void softmax_backward_case(int64_t n, fill kind, uint64_t seed) {
  uint64_t s = seed;
  const int64_t n_pad = n + (int64_t)(rnd(&s) % 3 ? rnd(&s) % 40 : 0), whole = (n + 15) / 16 * 16;
  const int64_t room = n_pad < whole ? n_pad : whole; /* of p, where it must not matter */
  float max, inv_sum;
  kcase c = {.kernel = "softmax_backward",
             .call = call_softmax_backward,
             .n = n,
             .n_pad = n_pad,
             .kind = kind,
             .seed = seed,
             .f0 = scales[rnd(&s) % 4],
             .any_nan = may_overflow(kind),
             .op = {OP("dp", n_pad, input(0)), OP("p", room, input(1))}};
  fill_floats(input(0), n, kind, 1.f, &s);
  for (int64_t i = n; i < n_pad; i++) input(0)[i] = NAN;
  fill_floats(input(1), n, kind, 1.f, &s);
  if (n && seed & 256) dd_kernels_scalar.softmax(input(1), n, n, 1.f, &max, &inv_sum);
  for (int64_t i = n; i < room; i++) input(1)[i] = (float)(i - n) - 7.f;
  check_case(&c);
}
void kernel_softmax_backward(void **state) {
  (void)state;
  each_case(softmax_backward_case, 0, FILL_SPECIAL);
}

/* ---- cross-entropy ----------------------------------------------------------------------------------------- */

static void call_xent(const dd_kernels *k, void *const *p, const kcase *c) {
  k->xent(p[0], c->n, c->target, c->f0, p[1], p[2]);
}
static void xent_case(int64_t n, fill kind, uint64_t seed) {
  uint64_t s = seed;
  const int64_t targets[] = {0, n - 1, rnd_below(&s, n)};
  const float gs[] = {1.f, 1.f / 2048, 0x1p-140f};
  for (int i = 0; i < 4; i++) { /* the last: g = 0, the logits must stay as they are */
    kcase c = {.kernel = "xent",
               .call = call_xent,
               .n = n,
               .kind = kind,
               .seed = seed,
               .target = targets[i % 3],
               .f0 = i < 3 ? gs[i] : 0.f,
               .op = {OP("l", n, input(0)), OP("max", 1, NULL), OP("sum", 1, NULL)}};
    scores(input(0), n, n, kind, &s);
    check_case(&c);
    if (i < 3) continue;
    float max, sum, max1, sum1;
    static float copy[SIZE_MAX_N];
    FOR_TIERS(k) {
      memcpy(copy, input(0), (size_t)n * sizeof *copy);
      k->xent(copy, n, 0, 0.f, &max, &sum);
      const int64_t at = first_difference(input(0), copy, n, sizeof *copy, 0);
      if (at >= 0) fail_msg("tier %s, v %lld, g 0: logit %lld was changed", k->tier, (long long)n, (long long)at);
      k->xent(copy, n, 0, 1.f, &max1, &sum1);
      if (bits_of(max) != bits_of(max1) || bits_of(sum) != bits_of(sum1))
        fail_msg("tier %s, v %lld, inputs %s, seed 0x%llx: the loss depends on g: max %08x %08x sum %08x %08x", k->tier,
                 (long long)n, fill_names[kind], (unsigned long long)seed, bits_of(max), bits_of(max1), bits_of(sum),
                 bits_of(sum1));
    }
  }
}
void kernel_xent(void **state) {
  (void)state;
  each_case(xent_case, 1, FILL_KINDS);
}
