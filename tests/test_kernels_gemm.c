/* Packing and the matrix product in every tier: the layout against its contract, the product against `scalar` and
 * against chains of fmaf() written here, from sources of any stride. See test_kernels.c. */
#include "kernels_common.h"
#include <math.h>

typedef struct strides {
  int64_t rs, cs;
  const char *name;
} strides;
/* Ways to lay out a rows x cols matrix. */
enum { LAYOUTS = 5 };
static strides layout(int which, int64_t rows, int64_t cols) {
  switch (which) {
  case 0:
    return (strides){cols, 1, "rows"};
  case 1:
    return (strides){cols + 3, 1, "padded rows"};
  case 2:
    return (strides){1, rows, "transposed"};
  case 3:
    return (strides){1, rows + 5, "transposed, padded"};
  default:
    return (strides){2 * cols + 3, 2, "general strides"};
  }
}
static int64_t extent(int64_t rows, int64_t cols, strides t) {
  return rows && cols ? (rows - 1) * t.rs + (cols - 1) * t.cs + 1 : 0;
}
static int64_t round_up(int64_t x, int64_t to) { return (x + to - 1) / to * to; }

/* ---- packing ----------------------------------------------------------------------------------------------- */

/* is_b: columns of B (kk x lanes) instead of rows of A (lanes x kk). */
static void pack_case(const dd_kernels *k, int is_b, int64_t lanes, int64_t kk, int which, guard *from, guard *to) {
  const int64_t w = is_b ? k->nr : k->mr, rows = is_b ? kk : lanes, cols = is_b ? lanes : kk;
  const strides t = layout(which, rows, cols);
  const int64_t src_n = extent(rows, cols, t), dst_n = round_up(lanes, w) * kk;
  const int at_end = (int)(lanes + kk + which) % 2;
  float *src = guard_place(from, (size_t)src_n * sizeof *src, sizeof *src, at_end);
  float *dst = guard_place(to, (size_t)dst_n * sizeof *dst, 64, at_end);
  for (int64_t i = 0; i < src_n; i++) src[i] = (float)(i + 1);
  memset(dst, 0xee, (size_t)dst_n * sizeof *dst);
  if (is_b) k->pack_b(dst, kk, lanes, src, t.rs, t.cs);
  else k->pack_a(dst, lanes, kk, src, t.rs, t.cs);
  const char *name = is_b ? "pack_b" : "pack_a";
  for (int64_t p = 0; p * w < lanes; p++)
    for (int64_t q = 0; q < kk; q++)
      for (int64_t r = 0; r < w; r++) {
        const int64_t lane = p * w + r, at = p * w * kk + q * w + r;
        const int64_t from_at = is_b ? q * t.rs + lane * t.cs : lane * t.rs + q * t.cs;
        const float want = lane < lanes ? (float)(from_at + 1) : 0.f;
        if (bits_of(dst[at]) != bits_of(want))
          fail_msg("%s, tier %s: lanes %lld of %lld, kk %lld, %s: dst[%lld] is %08x, not %08x (%s %lld, k %lld)", name,
                   k->tier, (long long)lanes, (long long)w, (long long)kk, t.name, (long long)at, bits_of(dst[at]),
                   bits_of(want), is_b ? "column" : "row", (long long)lane, (long long)q);
      }
  if (guard_broken(to, dst, (size_t)dst_n * sizeof *dst))
    fail_msg("%s, tier %s: lanes %lld, kk %lld, %s: wrote outside dst", name, k->tier, (long long)lanes, (long long)kk,
             t.name);
  for (int64_t i = 0; i < src_n; i++) assert_true(src[i] == (float)(i + 1));
}

static void pack_cases(int is_b) {
  static const int64_t kks[] = {0, 1, 2, 3, 7, 15, 16, 17, 31, 32, 33, 48, 100};
  guard from = guard_new(105 * 210 * sizeof(float)), to = guard_new(128 * 100 * sizeof(float));
  FOR_TIERS(k) {
    assert_in_range(k->mr, 1, DD_MR_MAX);
    assert_in_range(k->nr, 1, DD_NR_MAX);
    const int64_t w = is_b ? k->nr : k->mr;
    for (int64_t lanes = 0; lanes <= 3 * w + 1; lanes++)
      for (size_t i = 0; i < sizeof kks / sizeof *kks; i++)
        for (int which = 0; which < LAYOUTS; which++) pack_case(k, is_b, lanes, kks[i], which, &from, &to);
  }
  guard_free(&from);
  guard_free(&to);
}
void kernel_pack_a(void **state) {
  (void)state;
  pack_cases(0);
}
void kernel_pack_b(void **state) {
  (void)state;
  pack_cases(1);
}

/* ---- product ----------------------------------------------------------------------------------------------- */

typedef struct product {
  int64_t m, n, k, ldc;
  strides a, b;
  dd_gemm_mode mode;
  int blocks; /* > 1: k is split, the later blocks continue the chain */
  int at_end;
  int strided; /* gemm_strided, with every operand in place that may be */
  fill kind;
  uint64_t seed;
} product;

typedef struct rooms {
  guard a, b, pa, pb, c, copy;
} rooms;
static const char *const mode_names[] = {"set", "continue", "add"};

/* Packs and multiplies the block of k from k0, of kb. */
static void multiply(const dd_kernels *t, const product *p, const float *a, const float *b, int64_t k0, int64_t kb,
                     float *c, dd_gemm_mode mode, rooms *g) {
  const int64_t an = round_up(p->m, t->mr) * kb, bn = round_up(p->n, t->nr) * kb;
  float *pa = guard_place(&g->pa, (size_t)an * sizeof *pa, 64, p->at_end);
  float *pb = guard_place(&g->pb, (size_t)bn * sizeof *pb, 64, p->at_end);
  t->pack_a(pa, p->m, kb, a + k0 * p->a.cs, p->a.rs, p->a.cs);
  t->pack_b(pb, kb, p->n, b + k0 * p->b.rs, p->b.rs, p->b.cs);
  if (!p->strided) {
    t->gemm(p->m, p->n, kb, pa, pb, c, p->ldc, mode);
    upper_halves_are_clean("gemm", t->tier);
    return;
  }
  dd_operand oa = {.data = pa, .step = t->mr, .panel = t->mr * kb};
  dd_operand ob = {.data = pb, .step = t->nr, .panel = t->nr * kb};
  if (p->a.rs == 1) {
    oa = (dd_operand){.data = a + k0 * p->a.cs, .step = p->a.cs, .panel = t->mr};
    if (p->seed / 2 % 2) oa.copy = memset(pa, 0xff, (size_t)an * sizeof *pa);
  } else if (p->a.cs == 1) oa = (dd_operand){.data = a + k0, .lane = p->a.rs, .panel = t->mr * p->a.rs};
  const int copied = p->seed % 2;
  if (p->b.cs == 1 && (copied || p->n % (t->nr / 2) == 0))
    ob = (dd_operand){
        .data = b + k0 * p->b.rs, .step = p->b.rs, .panel = t->nr, .next = b, .next_step = p->k, .next_k = p->ldc};
  if (p->b.cs == 1 && copied) {
    ob.copy = guard_place(&g->copy, (size_t)(t->nr * kb) * sizeof *ob.copy, 64, p->at_end);
    if (p->blocks > 1) ob.next = NULL;
  }
  t->gemm_strided(p->m, p->n, kb, &oa, &ob, c, p->ldc, mode);
  upper_halves_are_clean("gemm_strided", t->tier);
  if (oa.copy && guard_broken(&g->pa, oa.copy, (size_t)an * sizeof *pa)) fail_msg("wrote outside the copy of A");
  if (ob.copy && guard_broken(&g->copy, ob.copy, (size_t)(t->nr * kb) * sizeof *pb))
    fail_msg("wrote outside the copy of B");
}

static void compare(const product *p, const char *tier, const char *with, const float *want, const float *got,
                    int64_t cn, const guard *g) {
  const int64_t at = first_difference(want, got, cn, sizeof *got, 0);
  const int64_t broken = guard_broken(g, got, (size_t)cn * sizeof *got);
  if (at < 0 && !broken) return;
  print_error("gemm, tier %s against %s: m %lld n %lld k %lld ldc %lld mode %s blocks %d, A %s, B %s, inputs %s, "
              "seed 0x%llx, at the %s of guarded memory\n",
              tier, with, (long long)p->m, (long long)p->n, (long long)p->k, (long long)p->ldc, mode_names[p->mode],
              p->blocks, p->a.name, p->b.name, fill_names[p->kind], (unsigned long long)p->seed,
              p->at_end ? "end" : "start");
  if (broken) fail_msg("wrote outside C: byte %+lld of its %s", (long long)broken, broken < 0 ? "start" : "end");
  fail_msg("C[%lld][%lld]%s: 0x%08x, not 0x%08x", (long long)(at / p->ldc), (long long)(at % p->ldc),
           at % p->ldc >= p->n ? " (gap between rows)" : "", bits_of(got[at]), bits_of(want[at]));
}

static void product_case(const product *p, rooms *g) {
  const int64_t an = extent(p->m, p->k, p->a), bn = extent(p->k, p->n, p->b);
  const int64_t cn = p->m && p->n ? (p->m - 1) * p->ldc + p->n : 0;
  uint64_t s = p->seed;
  float *a = guard_place(&g->a, (size_t)an * sizeof *a, sizeof *a, p->at_end);
  float *b = guard_place(&g->b, (size_t)bn * sizeof *b, sizeof *b, p->at_end);
  float *c0 = malloc((size_t)cn * sizeof *c0 + 1), *chain = malloc((size_t)cn * sizeof *chain + 1);
  float *scalar = malloc((size_t)cn * sizeof *scalar + 1);
  assert_true(c0 && chain && scalar);
  fill_floats(a, an, p->kind, 1.f, &s);
  fill_floats(b, bn, p->kind, 1.f, &s);
  fill_floats(c0, cn, p->kind, 1.f, &s);

  memcpy(chain, c0, (size_t)cn * sizeof *c0);
  for (int64_t i = 0; i < p->m; i++)
    for (int64_t j = 0; j < p->n; j++) {
      float *to = &chain[i * p->ldc + j], sum = p->mode == DD_GEMM_CONTINUE ? *to : 0.f;
      for (int64_t k = 0; k < p->k; k++) sum = fmaf(a[i * p->a.rs + k * p->a.cs], b[k * p->b.rs + j * p->b.cs], sum);
      *to = p->mode == DD_GEMM_ADD ? *to + sum : sum;
    }
  kernel_result(p->strided ? "gemm_strided" : "gemm", chain, cn, sizeof *chain);

  FOR_TIERS(t) {
    float *c = guard_place(&g->c, (size_t)cn * sizeof *c, sizeof *c, p->at_end);
    memcpy(c, c0, (size_t)cn * sizeof *c);
    int64_t k0 = 0;
    for (int blk = 0; blk < p->blocks; blk++) {
      const int64_t kb = blk == p->blocks - 1 ? p->k - k0 : (p->k - k0) * (blk + 1) / (p->blocks + 1);
      multiply(t, p, a, b, k0, kb, c, blk ? DD_GEMM_CONTINUE : p->mode, g);
      k0 += kb;
    }
    if (t == &dd_kernels_scalar) memcpy(scalar, c, (size_t)cn * sizeof *c);
    compare(p, t->tier, "a chain of fmaf", chain, c, cn, &g->c);
    compare(p, t->tier, "scalar", scalar, c, cn, &g->c);
  }
  free(c0);
  free(chain);
  free(scalar);
}

static void gemm_cases(int strided) {
  enum { MAX_M = 150, MAX_N = 230, MAX_K = 300 };
  rooms g = {guard_new(MAX_M * (2 * MAX_K + 3) * sizeof(float)), guard_new(MAX_K * (2 * MAX_N + 3) * sizeof(float)),
             guard_new((MAX_M + DD_MR_MAX) * MAX_K * sizeof(float)),
             guard_new((MAX_N + DD_NR_MAX) * MAX_K * sizeof(float)), guard_new(MAX_M * (MAX_N + 40) * sizeof(float)),
             guard_new(DD_NR_MAX * MAX_K * sizeof(float))};
  uint64_t s = 20240607;
  /* The steps 1, 1 and 1 with periods 40, 70 and 41 meet every m, n and k, and m 1..40 x n 1..70 in ever new pairs. */
  for (int i = 0; i < 900; i++) {
    product p = {.strided = strided,
                 .m = 1 + i % 40,
                 .n = 1 + (i + i / 70 * 7) % 70,
                 .k = (i + i / 41 * 3) % 41,
                 .at_end = i % 2,
                 .seed = rnd(&s),
                 .blocks = 1};
    p.mode = (dd_gemm_mode)(i / 2 % 3);
    p.kind = i % 5 == 0 ? FILL_MIXED : i % 5 == 1 ? FILL_SUBNORMAL : i % 5 == 2 ? FILL_ZERO : FILL_NORMAL;
    p.a = layout((int)rnd_below(&s, LAYOUTS), p.m, p.k);
    p.b = layout((int)rnd_below(&s, LAYOUTS), p.k, p.n);
    p.ldc = p.n + (i % 3 ? rnd_below(&s, 20) : 0);
    if (p.mode != DD_GEMM_ADD && i % 4 == 3) p.blocks = 2 + i % 3;
    product_case(&p, &g);
  }
  static const int64_t big[][3] = {{130, 200, 300}, {48, 96, 257}, {12, 32, 300}, {6, 16, 299},  {149, 65, 128},
                                   {1, 230, 64},    {150, 1, 77},  {0, 5, 3},     {5, 0, 3},     {0, 0, 0},
                                   {97, 33, 1},     {13, 129, 0},  {24, 64, 288}, {37, 227, 111}};
  for (size_t i = 0; i < sizeof big / sizeof *big; i++)
    for (int mode = 0; mode < 3; mode++) {
      product p = {.strided = strided,
                   .m = big[i][0],
                   .n = big[i][1],
                   .k = big[i][2],
                   .mode = (dd_gemm_mode)mode,
                   .at_end = mode % 2,
                   .blocks = mode == DD_GEMM_ADD ? 1 : 1 + (int)(i % 4),
                   .kind = i % 2 ? FILL_WIDE : FILL_NORMAL,
                   .seed = rnd(&s),
                   .ldc = big[i][1] + 5 * mode};
      if (p.kind == FILL_WIDE && p.k > 64) p.kind = FILL_MIXED;
      p.a = layout((int)rnd_below(&s, LAYOUTS), p.m, p.k);
      p.b = layout((int)rnd_below(&s, LAYOUTS), p.k, p.n);
      product_case(&p, &g);
    }
  /* A last column that is alone, rows in place: several groups of rows and blocks of k, to both ends of the memory. */
  for (int i = 0; i < 12; i++) {
    product p = {.strided = strided, .m = 149 - i, .n = i % 2 ? 33 : 65, .k = 101 + i, .ldc = 70, .at_end = i / 3 % 2,
                 .mode = (dd_gemm_mode)(i % 3), .blocks = i % 3 == DD_GEMM_ADD ? 1 : 1 + i / 6, .seed = rnd(&s)};
    p.a = layout(0, p.m, p.k);
    p.b = layout(0, p.k, p.n);
    product_case(&p, &g);
  }
  guard_free(&g.a);
  guard_free(&g.b);
  guard_free(&g.pa);
  guard_free(&g.pb);
  guard_free(&g.c);
  guard_free(&g.copy);
}
void kernel_gemm(void **state) {
  (void)state;
  gemm_cases(0);
}
void kernel_gemm_strided(void **state) {
  (void)state;
  gemm_cases(1);
}
