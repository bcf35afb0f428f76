/* The products of generation and their quantization in every tier: against `scalar`, and against chains and exact sums
 * over matrices that are packed here by the contract's formula. See test_kernels.c. */
#include "kernels_common.h"
#include <math.h>

enum { M_MAX = 13, N_MAX = DD_GEMV_PANEL, K_MAX = 1538, LANES_MAX = N_MAX + 16 };
enum { KINDS_OF_WEIGHTS = 3 };
typedef enum weights { W_F32, W_BF16, W_I8 } weights;
static const char *const weight_names[KINDS_OF_WEIGHTS] = {"gemv_f32", "gemv_bf16", "gemv_i8"};

typedef struct gemv_case {
  weights kind;
  int64_t m, n, kk, ldo, ldx, ldw;
  fill inputs;
  int extreme; /* int8: largest magnitudes, so that sums come close to 2^31 */
  uint64_t seed;
} gemv_case;

/* x and w(k, j) as the contract names them; the packed arrays are made from these. */
static union {
  float f[M_MAX * K_MAX];
  int16_t i[M_MAX * K_MAX];
} x_of;
static union {
  float f[K_MAX * N_MAX];
  int8_t i[K_MAX * N_MAX];
} w_of;
static float xscale_of[M_MAX], wscale_of[N_MAX], want[M_MAX * N_MAX];

static size_t x_size(weights kind) {
  return kind == W_I8 ? sizeof(int16_t) : sizeof(float);
}
static size_t w_size(weights kind) {
  return kind == W_F32 ? sizeof(float) : kind == W_BF16 ? sizeof(uint16_t) : sizeof(int8_t);
}
static int64_t w_at(const gemv_case *q, int64_t k, int64_t j) {
  return q->kind == W_F32 ? k * q->ldw + j : k / 2 * q->ldw + 2 * j + k % 2;
}
/* Elements that may be read: whole rows of units of 16 lanes, the last of them without the gap that follows. */
static int64_t w_count(const gemv_case *q) {
  const int64_t lanes = (q->n + 15) / 16 * 16, rows = q->kind == W_F32 ? q->kk : (q->kk + 1) / 2;
  return rows ? (rows - 1) * q->ldw + (q->kind == W_F32 ? lanes : 2 * lanes) : 0;
}

static void draw_inputs(const gemv_case *q) {
  uint64_t s = q->seed;
  for (int64_t i = 0; i < q->m * q->kk; i++) {
    const int16_t v = (int16_t)(rnd_below(&s, 2 * 32767 + 1) - 32767);
    if (q->kind == W_I8) x_of.i[i] = q->extreme ? (int16_t)(v < 0 && q->extreme > 1 ? -32767 : 32767) : v;
    else x_of.f[i] = fill_one(q->inputs, &s);
  }
  for (int64_t i = 0; i < q->n * q->kk; i++) {
    const int8_t v = (int8_t)(rnd_below(&s, 255) - 127);
    if (q->kind == W_I8) w_of.i[i] = q->extreme ? (int8_t)(i % q->n % 2 ? 127 : -127) : v;
    else w_of.f[i] = fill_one(q->inputs, &s);
    if (q->kind == W_BF16) w_of.f[i] = float_of(bits_of(w_of.f[i]) & 0xffff0000u);
  }
  for (int64_t r = 0; r < q->m; r++) xscale_of[r] = fill_one(FILL_NORMAL, &s);
  for (int64_t j = 0; j < q->n; j++) wscale_of[j] = fill_one(FILL_NORMAL, &s);
}

static float by_contract(const gemv_case *q, int64_t r, int64_t j) {
  if (q->kind != W_I8) {
    float sum = 0;
    for (int64_t k = 0; k < q->kk; k++) sum = fmaf(x_of.f[r * q->kk + k], w_of.f[k * q->n + j], sum);
    return sum;
  }
  float total = 0;
  for (int64_t k0 = 0; k0 < q->kk; k0 += DD_GEMV_CHUNK) {
    int64_t sum = 0;
    for (int64_t k = k0; k < q->kk && k < k0 + DD_GEMV_CHUNK; k++)
      sum += (int64_t)x_of.i[r * q->kk + k] * w_of.i[k * q->n + j];
    assert_true(sum <= INT32_MAX && sum >= INT32_MIN); /* what the constant promises */
    total = k0 ? total + (float)sum : (float)sum;
  }
  return total * (wscale_of[j] * xscale_of[r]);
}

static void call(const dd_kernels *k, const gemv_case *q, float *out, const void *x, const void *w, const float *xs,
                 const float *ws) {
  switch (q->kind) {
  case W_F32: k->gemv_f32(out, q->ldo, q->m, q->n, q->kk, x, q->ldx, w, q->ldw); break;
  case W_BF16: k->gemv_bf16(out, q->ldo, q->m, q->n, q->kk, x, q->ldx, w, q->ldw); break;
  case W_I8: k->gemv_i8(out, q->ldo, q->m, q->n, q->kk, x, q->ldx, xs, w, q->ldw, ws); break;
  }
  upper_halves_are_clean(weight_names[q->kind], k->tier);
}

typedef struct gemv_rooms {
  guard out, x, w, xs, ws;
} gemv_rooms;

static void one_case(const gemv_case *q, gemv_rooms *g) {
  const size_t xz = x_size(q->kind), wz = w_size(q->kind);
  const int64_t out_n = q->m ? (q->m - 1) * q->ldo + q->n : 0, w_n = w_count(q);
  const int64_t x_n = q->m ? (q->m - 1) * q->ldx + q->kk : 0;
  draw_inputs(q);
  for (int64_t r = 0; r < q->m; r++)
    for (int64_t j = 0; j < q->n; j++) want[r * q->n + j] = by_contract(q, r, j);
  kernel_result(weight_names[q->kind], want, q->m * q->n, sizeof *want);

  FOR_TIERS(t)
  for (int at_end = only_reference(t) ? 1 : 0; at_end < 2; at_end++) {
    float *out = guard_place(&g->out, (size_t)out_n * sizeof *out, sizeof *out, at_end);
    unsigned char *x = guard_place(&g->x, (size_t)x_n * xz, xz, at_end);
    unsigned char *w = guard_place(&g->w, (size_t)w_n * wz, wz, at_end);
    float *xs = guard_place(&g->xs, (size_t)q->m * sizeof *xs, sizeof *xs, at_end);
    float *ws = guard_place(&g->ws, (size_t)q->n * sizeof *ws, sizeof *ws, at_end);
    memset(x, 0xff, (size_t)x_n * xz); /* gaps: NaN */
    memset(w, 0xff, (size_t)w_n * wz);
    memset(out, 0xee, (size_t)out_n * sizeof *out);
    for (int64_t r = 0; r < q->m; r++)
      memcpy(x + (size_t)(r * q->ldx) * xz,
             q->kind == W_I8 ? (void *)(x_of.i + r * q->kk) : (void *)(x_of.f + r * q->kk), (size_t)q->kk * xz);
    for (int64_t k = 0; k < q->kk; k++)
      for (int64_t j = 0; j < q->n; j++) {
        const int64_t from = k * q->n + j;
        unsigned char *to = w + (size_t)w_at(q, k, j) * wz;
        const uint16_t high = (uint16_t)(bits_of(w_of.f[from]) >> 16);
        if (q->kind == W_BF16) memcpy(to, &high, sizeof high);
        else memcpy(to, q->kind == W_I8 ? (void *)(w_of.i + from) : (void *)(w_of.f + from), wz);
      }
    memcpy(xs, xscale_of, (size_t)q->m * sizeof *xs);
    memcpy(ws, wscale_of, (size_t)q->n * sizeof *ws);
    call(t, q, out, x, w, xs, ws);
    for (int64_t r = 0; r < q->m; r++)
      for (int64_t j = 0; j < q->ldo && r * q->ldo + j < out_n; j++) {
        const uint32_t got = bits_of(out[r * q->ldo + j]),
                       wanted = j < q->n ? bits_of(want[r * q->n + j]) : 0xeeeeeeeeu;
        if (got == wanted) continue;
        fail_msg("%s, tier %s: m %d n %d kk %d ldo %d ldx %d ldw %d, inputs %s, extreme %d, seed 0x%llx, at the %s: "
                 "out[%d][%d]%s is %08x, by the contract %08x",
                 weight_names[q->kind], t->tier, (int)q->m, (int)q->n, (int)q->kk, (int)q->ldo, (int)q->ldx,
                 (int)q->ldw, fill_names[q->inputs], q->extreme, (unsigned long long)q->seed,
                 at_end ? "end" : "start", (int)r, (int)j, j < q->n ? "" : " (gap)", got, wanted);
      }
    if (guard_broken(&g->out, out, (size_t)out_n * sizeof *out))
      fail_msg("%s, tier %s: m %d n %d kk %d: wrote outside", weight_names[q->kind], t->tier, (int)q->m, (int)q->n,
               (int)q->kk);
  }
}

/* pad: 0 for the tightest rows, 1 for gaps between them. */
static gemv_case case_of(weights kind, int64_t m, int64_t n, int64_t kk, int pad, fill inputs, uint64_t seed) {
  const int64_t lanes = (n + 15) / 16 * 16 + 16 * pad;
  return (gemv_case){.kind = kind, .m = m, .n = n, .kk = kk, .ldo = n + 3 * pad,
                     .ldx = kk + pad * (kind == W_I8 ? 2 : 5), .ldw = kind == W_F32 ? lanes : 2 * lanes,
                     .inputs = inputs, .seed = seed};
}

static void gemv_cases(weights kind) {
  static const int64_t kks[] = {1, 2, 3, 4, 5, 8, 17, 64}, ms[] = {1, 2, 3, 4, 5, 6, 7, 10, 13};
  static const int64_t ns[] = {1, 16, 33, 64}, long_kks[] = {384, 385, 511, 512, 513, 514, 769, 1024, 1026, 1536, 1537};
  static const int64_t long_ms[] = {1, 2, 4, 5, 6, 7, 13}; /* tiles of every height, with pieces of k */
  gemv_rooms g = {.out = guard_new(M_MAX * (N_MAX + 3) * sizeof(float)),
                  .x = guard_new(M_MAX * (K_MAX + 5) * sizeof(float)),
                  .w = guard_new((size_t)K_MAX * LANES_MAX * sizeof(float)),
                  .xs = guard_new(M_MAX * sizeof(float)),
                  .ws = guard_new(N_MAX * sizeof(float))};
  uint64_t seed = 100u * (uint64_t)kind;
  const int64_t by = kind == W_I8 ? 2 : 1; /* int8 takes pairs */
  for (int64_t n = 1; n <= N_MAX; n++)
    for (size_t i = 0; i < sizeof kks / sizeof *kks; i++)
      for (size_t j = 0; j < sizeof ms / sizeof *ms; j++, seed++) {
        const gemv_case q = case_of(kind, ms[j], n, kks[i] * by, (int)(seed % 2), (fill)(seed % FILL_HUGE), seed);
        one_case(&q, &g);
      }
  for (size_t i = 0; i < sizeof long_kks / sizeof *long_kks; i++)
    for (size_t j = 0; j < sizeof ns / sizeof *ns; j++)
      for (size_t l = 0; l < sizeof long_ms / sizeof *long_ms; l++, seed++)
        for (int extreme = 0; extreme < (kind == W_I8 ? 3 : 1); extreme++) {
          const int64_t kk = (long_kks[i] + by - 1) / by * by;
          gemv_case q = case_of(kind, long_ms[l], ns[j], kk, (int)(seed % 2), FILL_NORMAL, seed);
          q.extreme = extreme;
          one_case(&q, &g);
        }
  const gemv_case none = case_of(kind, 0, 64, 2, 0, FILL_NORMAL, 1);
  one_case(&none, &g);
  guard_free(&g.out);
  guard_free(&g.x);
  guard_free(&g.w);
  guard_free(&g.xs);
  guard_free(&g.ws);
}

void kernel_gemv_f32(void **state) {
  (void)state;
  gemv_cases(W_F32);
}
void kernel_gemv_bf16(void **state) {
  (void)state;
  gemv_cases(W_BF16);
}
void kernel_gemv_i8(void **state) {
  (void)state;
  gemv_cases(W_I8);
}

/* ---- quantize ---------------------------------------------------------------------------------------------- */

static void call_quantize(const dd_kernels *k, void *const *p, const kcase *c) {
  *(float *)p[2] = k->quantize(p[0], p[1], c->n);
}

static void quantize_case(int64_t n, fill kind, uint64_t seed) {
  float *x = input(0);
  uint64_t s = seed;
  fill_floats(x, n, kind, 1.f, &s);
  const kcase c = {.kernel = "quantize",
                   .call = call_quantize,
                   .kind = kind,
                   .seed = seed,
                   .n = n,
                   .op = {{"q", 2, n, NULL}, {"x", 4, n, x}, {"scale", 4, 1, NULL}}};
  check_case(&c);
  if (kind == FILL_SPECIAL || !n) return;
  /* What the numbers mean: within half a step (and a little for two roundings) of x. */
  int16_t q[SIZE_MAX_N];
  const float scale = dd_kernels_scalar.quantize(q, x, n);
  double most = 0;
  for (int64_t i = 0; i < n; i++) most = fmax(most, fabs((double)x[i]));
  for (int64_t i = 0; i < n; i++) {
    const double back = (double)q[i] * (double)scale, step = most / 32767;
    if (fabs(back - (double)x[i]) > 0.51 * step && most >= 0x1p-100)
      fail_msg("quantize: n %d, inputs %s, seed 0x%llx: %a becomes %d, that is %a, a step is %a", (int)n,
               fill_names[kind], (unsigned long long)seed, (double)x[i], q[i], back, step);
    assert_in_range(q[i] + 32767, 0, 65534);
    if (most < 0x1p-100) assert_int_equal(q[i], 0);
  }
}

void kernel_quantize(void **state) {
  (void)state;
  each_case(quantize_case, 0, FILL_KINDS);
  float x[20] = {0};
  int16_t q[20];
  FOR_TIERS(k) { /* the largest is 32767 steps of either sign, ties go to the even neighbour */
    for (int i = 0; i < 20; i++) x[i] = (float)(i - 10) * 0.5f;
    x[19] = -32767.f;
    assert_true(k->quantize(q, x, 20) == 1.f);
    static const int want_q[19] = {-5, -4, -4, -4, -3, -2, -2, -2, -1, 0, 0, 0, 1, 2, 2, 2, 3, 4, 4};
    for (int i = 0; i < 19; i++) assert_int_equal(q[i], want_q[i]);
    assert_int_equal(q[19], -32767);
  }
}
