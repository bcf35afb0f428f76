/* Every kernel in every tier equals `scalar`, byte for byte, and touches nothing outside its operands. This file: the
 * elementwise kernels, the random masks and main(); rows in test_kernels_rows.c, products in test_kernels_gemm.c. */
#include "kernels_common.h"
#include <math.h>

#define OP(label, n, data)                                                                                             \
  { .name = label, .size = sizeof(float), .count = (n), .init = (data) }

/* ---- one input, one output --------------------------------------------------------------------------------- */

static void call_exp(const dd_kernels *k, void *const *p, const kcase *c) {
  k->exp(p[0], p[1], c->n);
}
static void call_gelu(const dd_kernels *k, void *const *p, const kcase *c) {
  k->gelu(p[0], p[1], c->n);
}

static void unary(const char *name, kcall *call, int64_t n, fill kind, uint64_t seed, float scale) {
  kcase c = {.kernel = name,
             .call = call,
             .n = n,
             .kind = kind,
             .seed = seed,
             .alias = {1},
             .op = {OP("out", n, NULL), OP("in", n, input(1))}};
  uint64_t s = seed;
  fill_floats(input(1), n, kind, scale, &s);
  check_case(&c);
}

static void exp_case(int64_t n, fill kind, uint64_t seed) {
  unary("exp", call_exp, n, kind, seed, n % 3 ? 40.f : 1.f);
}
void kernel_exp(void **state) {
  (void)state;
  each_case(exp_case, 0, FILL_KINDS);
  const float in[] = {NAN, -NAN, INFINITY, -INFINITY, 0.f, -0.f, 1e30f, -1e30f};
  const uint32_t want[] = {0x7fc00000, 0x7fc00000, 0x7f800000, 0, 0x3f800000, 0x3f800000, 0x7f800000, 0};
  float out[8];
  FOR_TIERS(k) {
    k->exp(out, in, 8);
    for (int i = 0; i < 8; i++)
      if (bits_of(out[i]) != want[i])
        fail_msg("tier %s: exp(%g) = %08x, not %08x", k->tier, (double)in[i], bits_of(out[i]), want[i]);
  }
}

static void gelu_case(int64_t n, fill kind, uint64_t seed) {
  unary("gelu", call_gelu, n, kind, seed, n % 3 ? 3.f : 1.f);
}
void kernel_gelu(void **state) {
  (void)state;
  each_case(gelu_case, 0, FILL_KINDS);
}

/* ---- two inputs, one output -------------------------------------------------------------------------------- */

static void call_gelu_slope(const dd_kernels *k, void *const *p, const kcase *c) {
  k->gelu_slope(p[1], p[0], p[2], c->n);
}
static void call_mul(const dd_kernels *k, void *const *p, const kcase *c) {
  k->mul(p[0], p[1], p[2], c->n);
}
static void call_add(const dd_kernels *k, void *const *p, const kcase *c) {
  k->add(p[0], p[1], p[2], c->n);
}

static void gelu_slope_case(int64_t n, fill kind, uint64_t seed) {
  kcase c = {.kernel = "gelu_slope",
             .call = call_gelu_slope,
             .n = n,
             .kind = kind,
             .seed = seed,
             .alias = {2},
             .any_nan = kind >= FILL_HUGE,
             .op = {OP("d", n, NULL), OP("y", n, NULL), OP("x", n, input(2))}};
  uint64_t s = seed;
  fill_floats(input(2), n, kind, n % 3 ? 3.f : 1.f, &s);
  check_case(&c);
}
void kernel_gelu_slope(void **state) {
  (void)state;
  each_case(gelu_slope_case, 0, FILL_KINDS);
}

static void mul_case(int64_t n, fill kind, uint64_t seed) {
  kcase c = {.kernel = "mul",
             .call = call_mul,
             .n = n,
             .kind = kind,
             .seed = seed,
             .alias = {1, 2},
             .any_nan = kind >= FILL_HUGE,
             .op = {OP("dst", n, NULL), OP("a", n, input(1)), OP("b", n, input(2))}};
  uint64_t s = seed;
  fill_floats(input(1), n, kind, 1.f, &s);
  fill_floats(input(2), n, kind, 1.f, &s);
  check_case(&c);
}
void kernel_mul(void **state) {
  (void)state;
  each_case(mul_case, 0, FILL_KINDS);
}

static void add_case(int64_t n, fill kind, uint64_t seed) {
  kcase c = {.kernel = "add",
             .call = call_add,
             .n = n,
             .kind = kind,
             .seed = seed,
             .alias = {1, 2},
             .op = {OP("dst", n, NULL), OP("a", n, input(1)), OP("b", n, input(2))}};
  uint64_t s = seed;
  fill_floats(input(1), n, kind, 1.f, &s);
  fill_floats(input(2), n, kind, 1.f, &s);
  check_case(&c);
}
void kernel_add(void **state) {
  (void)state;
  each_case(add_case, 0, FILL_SPECIAL);
}

/* ---- dropout ----------------------------------------------------------------------------------------------- */

static const uint32_t thresholds[] = {0, 1, 13107, 32768, 65535};
enum { THRESHOLDS = (int)(sizeof thresholds / sizeof *thresholds) };

/* Addresses as the model makes them, and some at the ends of their range. */
static dd_drop drop_at(uint32_t threshold, uint64_t *s) {
  const uint64_t r = rnd(s), key = rnd(s);
  dd_drop d = {.key0 = (uint32_t)key,
               .key1 = (uint32_t)(key >> 32),
               .threshold = threshold,
               .scale = 65536.f / (float)(65536 - threshold)};
  switch (r % 4) {
  case 0:
    d.c1 = (uint32_t)(r >> 8) % 8192, d.c2 = (uint32_t)(r >> 24) % 48 << 8 | r >> 60, d.c3 = r >> 40 & 0xffff;
    break;
  case 1:
    d.c1 = 0, d.c2 = 0, d.c3 = 0;
    break;
  case 2:
    d.key0 = d.key1 = d.c1 = d.c2 = d.c3 = 0xffffffff;
    break;
  default:
    d.c1 = (uint32_t)(r >> 2), d.c2 = (uint32_t)(r >> 32), d.c3 = (uint32_t)rnd(s);
    break;
  }
  if (key % 3 == 0) d.col0 = (uint32_t)(key >> 40) % 100 * 64;
  return d;
}

static void call_dropout(const dd_kernels *k, void *const *p, const kcase *c) {
  const dd_rows g = rows_of(c);
  k->dropout(p[0], p[1], &g, &c->drop);
}
static void call_dropout_add(const dd_kernels *k, void *const *p, const kcase *c) {
  const dd_rows g = rows_of(c);
  k->dropout_add(p[0], p[1], p[2], &g, &c->drop);
}
static void call_draws(const dd_kernels *k, void *const *p, const kcase *c) {
  k->draws(p[0], c->n, &c->drop);
}

static int64_t drop_length(const kcase *c, int64_t r) {
  const int64_t n = c->n + r * c->grow;
  return c->whole ? (n + 15) / 16 * 16 : n;
}
/* Rows of case c: one, several, and the triangle of causal attention, also in whole sixteens, with room between rows in
 * every second case. Returns the elements from the first to the last. */
static int64_t drop_rows(kcase *c, int64_t n, int which) {
  c->rows = n <= SIZE_SMALL ? 1 + (n + which) % 7 : 1;
  c->grow = c->rows > 1 ? which % 3 : 0;
  c->whole = which % 5 > 2;
  c->n = n;
  c->ld = drop_length(c, c->rows - 1) + (which % 2 ? 5 : 0);
  return (c->rows - 1) * c->ld + drop_length(c, c->rows - 1);
}
/* What lies between rows is nobody's: the same in all operands, so that any change shows. */
static void drop_fill(const kcase *c, float *x, int64_t count, uint64_t *s) {
  fill_floats(x, count, c->kind, 1.f, s);
  for (int64_t r = 0; r < c->rows; r++)
    for (int64_t i = drop_length(c, r); i < c->ld && r * c->ld + i < count; i++) x[r * c->ld + i] = 77.f;
}

static void dropout_case(int64_t n, fill kind, uint64_t seed) {
  uint64_t s = seed;
  for (int t = 0; t < THRESHOLDS; t++) {
    kcase c = {.kernel = "dropout",
               .call = call_dropout,
               .kind = kind,
               .seed = seed,
               .alias = {1},
               .drop = drop_at(thresholds[t], &s)};
    const int64_t count = drop_rows(&c, n, t + (int)kind);
    const operand ops[] = {OP("dst", count, input(1)), OP("src", count, input(1))};
    memcpy(c.op, ops, sizeof ops);
    drop_fill(&c, input(1), count, &s);
    check_case(&c);
    if (n != 300) continue; /* against the words of the contract, through `draws` */
    uint16_t draw[300];
    float out[300];
    FOR_TIERS(k) {
      k->draws(draw, n, &c.drop);
      k->dropout(out, input(1), &(dd_rows){1, n, n, 0, 0}, &c.drop);
      for (int64_t i = 0; i < n; i++) {
        const float kept = input(1)[i] * c.drop.scale, want = draw[i] < thresholds[t] ? 0.f : kept;
        if (bits_of(out[i]) != bits_of(want))
          fail_msg("tier %s, threshold %u, draw[%d] = %u: %08x becomes %08x, not %08x", k->tier, thresholds[t], (int)i,
                   draw[i], bits_of(input(1)[i]), bits_of(out[i]), bits_of(want));
      }
    }
  }
}
void kernel_dropout(void **state) {
  (void)state;
  each_case(dropout_case, 0, FILL_SPECIAL);
}

static void dropout_add_case(int64_t n, fill kind, uint64_t seed) {
  uint64_t s = seed;
  for (int t = 0; t < THRESHOLDS; t++) {
    kcase c = {.kernel = "dropout_add",
               .call = call_dropout_add,
               .kind = kind,
               .seed = seed,
               .alias = {1, 2},
               .drop = drop_at(thresholds[t], &s),
               .any_nan = kind == FILL_HUGE};
    const int64_t count = drop_rows(&c, n, t + (int)kind);
    const operand ops[] = {OP("dst", count, input(1)), OP("res", count, input(1)), OP("src", count, input(2))};
    memcpy(c.op, ops, sizeof ops);
    drop_fill(&c, input(1), count, &s);
    drop_fill(&c, input(2), count, &s);
    check_case(&c);
  }
}
void kernel_dropout_add(void **state) {
  (void)state;
  each_case(dropout_add_case, 0, FILL_SPECIAL);
}

static void call_dropout_pair(const dd_kernels *k, void *const *p, const kcase *c) {
  const dd_rows g = rows_of(c);
  k->dropout_pair(p[0], p[1], p[2], &g, &c->drop);
}
static void dropout_pair_case(int64_t n, fill kind, uint64_t seed) {
  uint64_t s = seed;
  for (int t = 0; t < THRESHOLDS; t++) {
    kcase c = {.kernel = "dropout_pair",
               .call = call_dropout_pair,
               .kind = kind,
               .seed = seed,
               .drop = drop_at(thresholds[t], &s),
               .any_nan = kind == FILL_HUGE};
    const int64_t count = drop_rows(&c, n, t + (int)kind);
    const operand ops[] = {OP("dst", count, input(1)), OP("src", count, input(1)), OP("also", count, input(2))};
    memcpy(c.op, ops, sizeof ops);
    drop_fill(&c, input(1), count, &s);
    drop_fill(&c, input(2), count, &s);
    check_case(&c);
  }
}
void kernel_dropout_pair(void **state) {
  (void)state;
  each_case(dropout_pair_case, 0, FILL_SPECIAL);
}

static void draws_case(int64_t n, fill kind, uint64_t seed) { /* kind only varies the address */
  uint64_t s = seed;
  kcase c = {.kernel = "draws",
             .call = call_draws,
             .n = n,
             .kind = kind,
             .seed = seed,
             .drop = drop_at(0, &s),
             .op = {{.name = "draws", .size = sizeof(uint16_t), .count = n}}};
  check_case(&c);
}
void kernel_draws(void **state) {
  (void)state;
  each_case(draws_case, 0, FILL_KINDS);
}

/* ---- optimizer, norms, peak -------------------------------------------------------------------------------- */

static void call_adamw(const dd_kernels *k, void *const *p, const kcase *c) {
  k->adamw(p[0], p[1], p[2], p[3], c->n, &c->adamw);
}
static void adamw_case(int64_t n, fill kind, uint64_t seed) {
  uint64_t s = seed;
  const float lr = 6e-4f, bc1 = (seed & 256) ? 0.1f : 1.f, bc2 = (seed & 512) ? 0.05f : 1.f;
  kcase c = {.kernel = "adamw",
             .call = call_adamw,
             .n = n,
             .kind = kind,
             .seed = seed,
             .any_nan = kind == FILL_HUGE,
             .adamw = {.beta1 = 0.9f,
                       .one_minus_beta1 = 0.1f,
                       .beta2 = 0.95f,
                       .one_minus_beta2 = 0.05f,
                       .decay = 1.f - lr * 0.1f,
                       .step = lr / bc1,
                       .inv_sqrt_bc2 = 1.f / sqrtf(bc2),
                       .eps = 1e-8f,
                       .grad_scale = (seed & 1024) ? 1.f : 0.3f},
             .op = {OP("p", n, input(0)), OP("m", n, input(1)), OP("v", n, input(2)), OP("g", n, input(3))}};
  for (int i = 0; i < 4; i++) fill_floats(input(i), n, kind, i == 3 && kind == FILL_NORMAL ? 1e-3f : 1.f, &s);
  for (int64_t i = 0; i < n; i++) input(2)[i] = fabsf(input(2)[i]);
  check_case(&c);
}
void kernel_adamw(void **state) {
  (void)state;
  each_case(adamw_case, 0, FILL_SPECIAL);
}

static void call_sumsq(const dd_kernels *k, void *const *p, const kcase *c) {
  *(double *)p[0] = k->sumsq(p[1], c->n);
}
static void sumsq_case(int64_t n, fill kind, uint64_t seed) {
  uint64_t s = seed;
  kcase c = {.kernel = "sumsq",
             .call = call_sumsq,
             .n = n,
             .kind = kind,
             .seed = seed,
             .op = {{.name = "sum", .size = sizeof(double), .count = 1}, OP("x", n, input(1))}};
  fill_floats(input(1), n, kind, 1.f, &s);
  check_case(&c);
}
void kernel_sumsq(void **state) {
  (void)state;
  each_case(sumsq_case, 0, FILL_SPECIAL);
}

/* The one kernel whose result is not the same in every tier: only its promises about work and memory are tested. */
void kernel_peak(void **state) {
  (void)state;
  guard g = guard_new(64);
  FOR_TIERS(k)
  for (int at_end = 0; at_end < 2; at_end++) {
    float *sink = guard_place(&g, 14 * sizeof *sink, sizeof *sink, at_end);
    for (int i = 0; i < 14; i++) sink[i] = 1.f;
    const double one = k->peak(1, sink);
    sink[0] = 1.f;
    const double many = k->peak(1000, sink);
    if (!(one >= 16) || many != 1000 * one) fail_msg("tier %s: %g and %g FLOPs", k->tier, one, many);
    /* Products of 1 x 1 count the multiply-adds, so the FLOPs that are claimed were done. */
    if (!(sink[0] >= 8000.f) || sink[1] != 1.f)
      fail_msg("tier %s: sink %g %g", k->tier, (double)sink[0], (double)sink[1]);
    assert_int_equal(guard_broken(&g, sink, 14 * sizeof *sink), 0);
  }
  guard_free(&g);
}

/* ---- the same bytes everywhere ----------------------------------------------------------------------------- */

/* What all results of a kernel's test hash to, on every instruction set, compiler and level of optimization. A change
 * means that runs get other bits: raise DD_NUMERICS_VERSION (or that the test's inputs changed), then put the new value
 * here. peak and the packing have no results of this kind. */
static struct {
  const char *kernel;
  uint64_t want, got;
} fingerprints[] = {
    {"gemm", 0xfa94ad719ba8d98b, 0},
    {"gemm_strided", 0xfa94ad719ba8d98b, 0},
    {"gemv_f32", 0xc1c69c536ac3fcfe, 0},
    {"gemv_bf16", 0x9f82738737c5b8d1, 0},
    {"gemv_i8", 0xfe32fabe446dfdd1, 0},
    {"quantize", 0xe032c63d57305095, 0},
    {"exp", 0xcf6326bf588c470b, 0},
    {"gelu", 0x5e2c74b5555b6f08, 0},
    {"gelu_slope", 0x247afdf2eec14426, 0},
    {"add", 0x53ac78b3b26fc6c3, 0},
    {"mul", 0xb4e4af38ddb9b2a1, 0},
    {"dropout", 0x81d8e7794bb450f1, 0},
    {"dropout_pair", 0x5a544481e588b3d9, 0},
    {"dropout_add", 0xa5308021e663133e, 0},
    {"draws", 0xa6fed064c855bc40, 0},
    {"layernorm", 0xc15eb0dbcdd6b080, 0},
    {"layernorm_backward", 0x18ac36d4b57d6f57, 0},
    {"layernorm_dparam", 0x5217b3542cd773d3, 0},
    {"softmax", 0x2a3a678326b01fe7, 0},
    {"softmax_again", 0xc3e884b4516b8195, 0},
    {"softmax_backward", 0x5097647b8bb631be, 0},
    {"xent", 0x2e0cef602a2613e7, 0},
    {"adamw", 0x921505e1d7a85080, 0},
    {"sumsq", 0x4a47f176f55a5733, 0},
};
enum { FINGERPRINTS = (int)(sizeof fingerprints / sizeof *fingerprints) };

void kernel_result(const char *kernel, const void *p, int64_t count, size_t size) {
  int f = 0;
  while (f < FINGERPRINTS && strcmp(fingerprints[f].kernel, kernel)) f++;
  if (f == FINGERPRINTS) fail_msg("kernel %s has no line in fingerprints[]", kernel);
  uint64_t h = fingerprints[f].got;
  for (int64_t i = 0; i < count; i++) {
    const uint64_t u = element_bits(p, size, i);
    h = (h ^ (bits_are_nan(u, size) ? 0x7fc00000 : u)) * 0x9E3779B97F4A7C15u;
    h ^= h >> 29;
  }
  fingerprints[f].got = h;
}
static void test_fingerprints(void **state) {
  (void)state;
  int wrong = 0;
  for (int f = 0; f < FINGERPRINTS; f++) {
    if (fingerprints[f].got == fingerprints[f].want) continue;
    print_error("{\"%s\", 0x%016llx, 0},\n", fingerprints[f].kernel, (unsigned long long)fingerprints[f].got);
    wrong++;
  }
  if (wrong) fail_msg("%d kernels give other bytes than they did (above: what they give now)", wrong);
}

int main(void) {
#define DD_KERNEL_TEST(ret, name, args) cmocka_unit_test(kernel_##name),
  const struct CMUnitTest tests[] = {DD_KERNELS(DD_KERNEL_TEST) cmocka_unit_test(test_fingerprints)}; /* last */
  print_tiers();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
