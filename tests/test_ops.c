/* Matrix products and attention against naive implementations in double written here, backward attention also against
 * central differences of that; where the contract fixes the order of float operations, against that order, bit by bit.
 * Each case runs in every tier with 1, 2, 3 and 7 threads, all of which must give the same bytes, in buffers that end
 * at a guard page. The operations on rows are in test_ops_rows.c. */
#include "ops_common.h"

/* ---- matmul ---- */

typedef struct matmul {
  int64_t m, k, n, ldx;
  int transposed; /* w is [n][k] */
  int fresh;      /* packed in the product */
  const float *x, *w;
  float *packed, *out;
  const dd_epilogue *e;
} matmul;
static void matmul_team(dd_ctx *c, void *arg) {
  const matmul *q = arg;
  const dd_packed p = {.data = q->fresh ? NULL : q->packed,
                       .k = q->k,
                       .n = q->n,
                       .w = q->w,
                       .rs = q->transposed ? 1 : q->n,
                       .cs = q->transposed ? q->k : 1};
  if (!q->fresh) dd_pack_weights(c, q->transposed ? &p : NULL, q->transposed ? NULL : &p, q->w);
  dd_barrier(c);
  dd_matmul(c, q->out, q->x, q->ldx, &p, q->m, q->e);
}
static double gelu(double x) { return 0.5 * x * erfc(-x * M_SQRT1_2); }

static void matmul_case(int64_t m, int64_t k, int64_t n, int64_t extra, int transposed, uint64_t seed) {
  matmul q = {.m = m,
              .k = k,
              .n = n,
              .ldx = k + extra,
              .transposed = transposed,
              .x = normal((m - 1) * (k + extra) + k, 1, seed),
              .w = normal(k * n, 1, seed + 1),
              .out = floats(m * n)};
  int64_t packed = 0;
  for (int t = 0; t < team_count; t++) {
    const int64_t size = dd_packed_size(dd_team_kernels(teams[t]), k, n);
    packed = size > packed ? size : packed;
  }
  q.packed = room((size_t)packed * sizeof(float), 64);
  float *chain = floats(m * n), *want = floats(m * n), *act = floats(m * n);
  double *exact = doubles(m * n), *size = doubles(m * n);
  const float *bias = normal(n, 1, seed + 2), *other = normal(m * n, 1, seed + 3);
  for (int64_t r = 0; r < m; r++)
    for (int64_t j = 0; j < n; j++) {
      float c = 0.f;
      double s = 0, a = 0;
      for (int64_t i = 0; i < k; i++) {
        const float x = q.x[r * q.ldx + i], w = transposed ? q.w[j * k + i] : q.w[i * n + j];
        c = fmaf(x, w, c);
        s += (double)x * (double)w;
        a += fabs((double)x * (double)w);
      }
      chain[r * n + j] = c, exact[r * n + j] = s, size[r * n + j] = a;
    }
  const output outs[] = {{"out", q.out, (size_t)(m * n) * 4, NULL}, {"act", act, (size_t)(m * n) * 4, NULL}};
  const dd_drop drop = drop_rate(0.3, 1000, 3);
  for (int which = 0; which < 14; which++) {
    const int kind = which / 2;
    dd_epilogue e = {0};
    q.fresh = which % 2;
    const int with_bias = kind == 2 || kind == 3 || kind == 6;
    q.e = kind ? &e : NULL;
    CASE("matmul m %d k %d n %d ldx %d%s%s seed %d, %s", (int)m, (int)k, (int)n, (int)q.ldx,
         transposed ? " transposed" : "", q.fresh ? " fresh" : "", (int)seed,
         (const char *[]){"no epilogue", "bias NULL", "bias", "gelu", "mul", "residual", "dropout"}[kind]);
    e.bias = with_bias ? bias : NULL;
    if (kind <= 2) e.fn = dd_epi_bias;
    if (kind == 3) e.fn = dd_epi_gelu, e.act = act;
    if (kind == 4) e.fn = dd_epi_mul, e.factor = other;
    if (kind >= 5) e.fn = dd_epi_residual, e.residual = other, e.drop = drop;
    if (kind == 5) e.drop.threshold = 0, e.drop.scale = 1;
    run_all(matmul_team, &q, outs, kind == 3 ? 2 : 1);
    for (int64_t i = 0; i < m * n; i++) {
      const float v = with_bias ? chain[i] + bias[i % n] : chain[i];
      want[i] = kind == 4   ? v * other[i]
                : kind == 5 ? fmaf(v, 1.f, other[i])
                : kind == 6 ? fmaf(kept(&drop, i / n, i % n) ? v : 0.f, drop.scale, other[i])
                            : v;
      const double ev = exact[i] + (with_bias ? (double)bias[i % n] : 0),
                   mag = size[i] + (with_bias ? fabs((double)bias[i % n]) : 0);
      const double keep = kind == 5 ? 1 : kept(&drop, i / n, i % n) ? 65536.0 / (65536 - drop.threshold) : 0;
      const double ideal = kind == 4   ? ev * (double)other[i]
                           : kind >= 5 ? (double)other[i] + keep * ev
                                       : ev;
      near("out", q.out + i, &ideal, NULL,
           kind == 4 ? fabs((double)other[i]) * mag : kind >= 5 ? fabs((double)other[i]) + keep * mag : mag, 1, 6);
      const double g = gelu((double)q.out[i]);
      if (kind == 3) near("act", act + i, &g, NULL, fmax(fabs((double)q.out[i]), 1), 1, 2);
    }
    same_bits("out", q.out, want, m * n);
  }
  end_case();
}
static void test_matmul(void **state) {
  (void)state;
  static const int64_t shapes[][4] = {{1, 1, 1, 0},     {5, 7, 3, 2},     {48, 64, 64, 0},
                                      {49, 65, 130, 7}, {97, 300, 67, 1}, {13, 1100, 33, 0},
                                      {1, 40, 200, 0},  {200, 3, 1, 5},   {3, 513, 257, 0}, {270, 390, 70, 0},
                                      {101, 70, 65, 0}, {70, 450, 97, 3}, {9, 1024, 33, 0}};
  static const int64_t l2[] = {0, 64 << 10, 4 << 20}; /* few rows fit, or all that are taken at a time */
  for (int size = 0; size < COUNT(l2); size++) {
    for (int i = 0; i < team_count; i++) dd_team_set_l2(teams[i], l2[size]);
    for (int i = 0; i < COUNT(shapes); i++)
      matmul_case(shapes[i][0], shapes[i][1], shapes[i][2], shapes[i][3], i % 2, (uint64_t)i * 10 + 1);
  }
  end_test("matmul");
}

static void dweight_team(dd_ctx *c, void *arg) {
  const matmul *q = arg;
  dd_matmul_dweight(c, q->out, q->w, q->x, q->m, q->n, q->k, 0);
}
/* dw[n][k] from dy[m][n] and x[m][k]. */
static void test_dweight(void **state) {
  (void)state;
  static const int64_t shapes[][3] = {{1, 1, 1},     {2, 5, 3},      {256, 7, 9},   {257, 33, 17}, {600, 50, 70},
                                      {300, 200, 3}, {30, 100, 400}, {70, 1, 1000}, {513, 65, 64},
                                      {20, 768, 384}, {258, 30, 270},
                                      {300, 110, 300}, {258, 530, 40}, {258, 13, 800},
                                      {600, 64, 128}, {258, 64, 48},   {258, 128, 256}};
  for (int s = 0; s < COUNT(shapes); s++) {
    const int64_t m = shapes[s][0], n = shapes[s][1], k = shapes[s][2];
    CASE("dweight rows %d out %d in %d", (int)m, (int)n, (int)k);
    matmul q = {.m = m,
                .n = n,
                .k = k,
                .x = normal(m * k, 1, 100 + (uint64_t)s),
                .w = normal(m * n, 1, 200 + (uint64_t)s),
                .out = floats(n * k)};
    float *want = floats(n * k);
    double *exact = doubles(n * k), *size = doubles(n * k);
    for (int64_t o = 0; o < n; o++)
      for (int64_t i = 0; i < k; i++) {
        double sum = 0, a = 0;
        float total = 0.f, chain = 0.f;
        for (int64_t t = 0; t < m; t++) {
          if (t == DD_TOKEN_CHUNK) total = chain;
          else if (t % DD_TOKEN_CHUNK == 0 && t) total += chain;
          if (t % DD_TOKEN_CHUNK == 0) chain = 0.f;
          chain = fmaf(q.w[t * n + o], q.x[t * k + i], chain);
          sum += (double)q.w[t * n + o] * (double)q.x[t * k + i];
          a += fabs((double)q.w[t * n + o] * (double)q.x[t * k + i]);
        }
        want[o * k + i] = m > DD_TOKEN_CHUNK ? total + chain : chain;
        exact[o * k + i] = sum, size[o * k + i] = a;
      }
    for (int big = 0; big < 2; big++) { /* its tiles follow the second cache */
      for (int i = 0; i < team_count; i++) dd_team_set_l2(teams[i], big ? 4 << 20 : 0);
      run_all(dweight_team, &q, &(output){"dw", q.out, (size_t)(n * k) * 4, NULL}, 1);
      near("dw", q.out, exact, size, 0, n * k, 6);
      same_bits("dw", q.out, want, n * k);
    }
    end_case();
  }
  end_test("dweight");
}

/* ---- attention ---- */

typedef struct attention {
  dd_attention a;
  int64_t hs;
  const float *qkv, *dy;
  float *y, *max, *inv, *dqkv;
  double *dqkv64, *qkv64, *dy64, *y64, *p, *mask; /* p: probabilities, mask: 0 or 1/(1-p), both [B*H][T][T] */
  double *max64, *sum64;
} attention;
/* What scratch holds must not matter: NaN. */
static void poison(dd_ctx *c, const attention *q) {
  memset(c->scratch, 0xff, (size_t)dd_attention_scratch(q->a.T, q->hs) * sizeof *c->scratch);
}
static void attention_team(dd_ctx *c, void *arg) {
  const attention *q = arg;
  poison(c, q);
  dd_attention_forward(c, q->y, q->max, q->inv, q->qkv, &q->a);
}
static void attention_back_team(dd_ctx *c, void *arg) {
  const attention *q = arg;
  poison(c, q);
  dd_attention_backward(c, q->dqkv, q->dy, q->qkv, q->max, q->inv, &q->a);
}
static const double *part(const attention *q, const double *x, int which, int64_t bh, int64_t t) {
  return x + (bh / q->a.H * q->a.T + t) * 3 * q->a.C + which * q->a.C + bh % q->a.H * q->hs;
}
static double dot(const double *a, const double *b, int64_t n) {
  double s = 0;
  for (int64_t i = 0; i < n; i++) s += a[i] * b[i];
  return s;
}
/* Fills y64, p, max64, sum64 and returns sum(dy * y). */
static double attention_double(const void *arg) {
  const attention *q = arg;
  const int64_t T = q->a.T, hs = q->hs;
  double objective = 0;
  for (int64_t bh = 0; bh < q->a.B * q->a.H; bh++)
    for (int64_t t = 0; t < T; t++) {
      double *p = q->p + (bh * T + t) * T, *mask = q->mask + (bh * T + t) * T, top = -INFINITY, sum = 0;
      for (int64_t s = 0; s <= t; s++)
        top = fmax(top, p[s] = dot(part(q, q->qkv64, 0, bh, t), part(q, q->qkv64, 1, bh, s), hs));
      for (int64_t s = 0; s <= t; s++) sum += p[s] = exp((p[s] - top) / sqrt((double)hs));
      for (int64_t s = 0; s <= t; s++) p[s] /= sum;
      q->max64[bh * T + t] = top, q->sum64[bh * T + t] = sum;
      for (int64_t c = 0; c < hs; c++) {
        const int64_t at = (bh / q->a.H * T + t) * q->a.C + bh % q->a.H * hs + c;
        double v = 0;
        for (int64_t s = 0; s <= t; s++) v += p[s] * mask[s] * part(q, q->qkv64, 2, bh, s)[c];
        q->y64[at] = v;
        objective += v * q->dy64[at];
      }
    }
  return objective;
}
/* Gradient of that sum (p from the call before): softmax and products by the chain rule, no blocks. */
static void attention_double_back(const attention *q) {
  const int64_t T = q->a.T, hs = q->hs;
  double dp[T_MAX];
  memset(q->dqkv64, 0, (size_t)(q->a.B * T * 3 * q->a.C) * sizeof *q->dqkv64);
  for (int64_t bh = 0; bh < q->a.B * q->a.H; bh++)
    for (int64_t t = 0; t < T; t++) {
      const double *p = q->p + (bh * T + t) * T, *mask = q->mask + (bh * T + t) * T;
      const double *dy = q->dy64 + (bh / q->a.H * T + t) * q->a.C + bh % q->a.H * hs;
      double *dq = (double *)part(q, q->dqkv64, 0, bh, t), mean = 0;
      for (int64_t s = 0; s <= t; s++) mean += p[s] * (dp[s] = mask[s] * dot(dy, part(q, q->qkv64, 2, bh, s), hs));
      for (int64_t s = 0; s <= t; s++) {
        double *dk = (double *)part(q, q->dqkv64, 1, bh, s), *dv = (double *)part(q, q->dqkv64, 2, bh, s);
        const double ds = p[s] * (dp[s] - mean) / sqrt((double)hs);
        for (int64_t c = 0; c < hs; c++) {
          dq[c] += ds * part(q, q->qkv64, 1, bh, s)[c];
          dk[c] += ds * part(q, q->qkv64, 0, bh, t)[c];
          dv[c] += p[s] * mask[s] * dy[c];
        }
      }
    }
}
static void attention_case(int64_t B, int64_t T, int64_t H, int64_t hs, double rate, float sharp, uint64_t seed) {
  const int64_t C = H * hs, N = B * T;
  attention q = {.a = {B, T, H, C, drop_rate(rate, 7 * (uint32_t)T, 1)},
                 .hs = hs,
                 .qkv = normal(N * 3 * C, sharp, seed),
                 .dy = normal(N * C, 1, seed + 1),
                 .y = floats(N * C),
                 .max = floats(N * H),
                 .inv = floats(N * H),
                 .dqkv = floats(N * 3 * C),
                 .dqkv64 = doubles(N * 3 * C),
                 .y64 = doubles(N * C),
                 .p = doubles(N * H * T),
                 .mask = doubles(N * H * T),
                 .max64 = doubles(N * H),
                 .sum64 = doubles(N * H)};
  q.qkv64 = widen(q.qkv, N * 3 * C), q.dy64 = widen(q.dy, N * C);
  CASE("attention B %d T %d H %d hs %d dropout %g scale %g seed %d", (int)B, (int)T, (int)H, (int)hs, rate,
       (double)sharp, (int)seed);
  for (int64_t r = 0; r < N * H; r++)
    for (int64_t s = 0; s < T; s++)
      q.mask[r * T + s] = rate > 0 ? (kept(&q.a.drop, r, s) ? 65536.0 / (65536 - q.a.drop.threshold) : 0) : 1;
  const output forward[] = {{"y", q.y, (size_t)(N * C) * 4, NULL},
                            {"max", q.max, (size_t)(N * H) * 4, NULL},
                            {"inv", q.inv, (size_t)(N * H) * 4, NULL}};
  run_all(attention_team, &q, forward, 3);
  attention_double(&q);
  const double score = (double)(sharp * sharp) * sqrt((double)hs); /* errors of the scores are factors of p */
  near("y", q.y, q.y64, NULL, largest(q.y64, N * C), N * C, 8 + 8 * score);
  near("max", q.max, q.max64, NULL, largest(q.max64, N * H), N * H, 8);
  for (int64_t i = 0; i < N * H; i++) q.sum64[i] = 1 / q.sum64[i];
  near("inv", q.inv, q.sum64, q.sum64, 0, N * H, 8 + 8 * score);
  run_all(attention_back_team, &q, &(output){"dqkv", q.dqkv, (size_t)(N * 3 * C) * 4, NULL}, 1);
  attention_double_back(&q);
  near("dqkv", q.dqkv, q.dqkv64, NULL, largest(q.dqkv64, N * 3 * C), N * 3 * C, 10 + 10 * score);
  if (N * C <= 100) differences("dqkv", q.dqkv, attention_double, &q, q.qkv64, N * 3 * C, 20 + 20 * score);
  end_case();
}
static void test_attention(void **state) {
  (void)state;
  static const int64_t shapes[][4] = {{1, 1, 1, 1},   {2, 7, 2, 3},   {1, 24, 1, 4},  {1, 25, 1, 3},
                                      {2, 26, 3, 17}, {1, 47, 2, 5},  {1, 48, 1, 8},  {2, 49, 1, 33},
                                      {1, 96, 2, 16}, {1, 97, 1, 65}, {1, 130, 3, 7}, {1, 195, 1, 64}};
  for (int i = 0; i < COUNT(shapes); i++)
    for (int d = 0; d < 3; d++)
      attention_case(shapes[i][0], shapes[i][1], shapes[i][2], shapes[i][3],
                     d == 0   ? 0
                     : d == 1 ? 0.2
                              : 0.9,
                     d == 1 ? 2.f : 1.f, 1000 + 10 * (uint64_t)i);
  end_test("attention");
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_matmul),
      cmocka_unit_test(test_dweight),
      cmocka_unit_test(test_attention),
  };
  print_tiers();
  if (argc > 1) cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, make_teams, drop_teams);
}
