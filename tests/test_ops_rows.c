/* LayerNorm, bias sums, dropout, embeddings, loss and flat sums, tested like the products in test_ops.c: against double
 * and central differences, against the contract's order bit by bit, equal in all tiers and with any number of threads.
 */
#include "ops_common.h"

/* ---- LayerNorm ---- */

typedef struct norm {
  int64_t rows, C;
  const float *x, *w, *b, *dy;
  float *out, *mean, *rstd, *dres, *dw, *db, *partial;
  double *x64, *w64, *b64, *dy64, *out64, *mean64, *rstd64;
} norm;
static void norm_team(dd_ctx *c, void *arg) {
  const norm *q = arg;
  dd_layernorm_forward(c, q->out, q->mean, q->rstd, q->x, q->w, q->b, q->rows, q->C);
}
static void norm_back_team(dd_ctx *c, void *arg) {
  const norm *q = arg;
  dd_layernorm_backward(c, q->dres, q->dw, q->db, q->dy, q->x, q->w, q->mean, q->rstd, q->rows, q->C, q->partial, 0,
                        NULL);
}
static double norm_double(const void *arg) {
  const norm *q = arg;
  double objective = 0;
  for (int64_t r = 0; r < q->rows; r++) {
    const double *x = q->x64 + r * q->C;
    double mean = 0, var = 0;
    for (int64_t c = 0; c < q->C; c++) mean += x[c] / (double)q->C;
    for (int64_t c = 0; c < q->C; c++) var += (x[c] - mean) * (x[c] - mean) / (double)q->C;
    q->mean64[r] = mean, q->rstd64[r] = 1 / sqrt(var + 1e-5);
    for (int64_t c = 0; c < q->C; c++) {
      double *o = q->out64 + r * q->C + c;
      *o = (x[c] - mean) * q->rstd64[r] * q->w64[c] + (q->b ? q->b64[c] : 0);
      objective += *o * q->dy64[r * q->C + c];
    }
  }
  return objective;
}
/* How much larger the rounding errors of x - mean are than those of its deviation. */
static double condition(const norm *q, int64_t r) { return 1 + largest(q->x64 + r * q->C, q->C) * q->rstd64[r]; }
static void norm_forward_case(norm *q) {
  const int64_t n = q->rows * q->C;
  const output outs[] = {{"out", q->out, (size_t)n * 4, NULL},
                         {"mean", q->mean, (size_t)q->rows * 4, NULL},
                         {"rstd", q->rstd, (size_t)q->rows * 4, NULL}};
  run_all(norm_team, q, outs, 3);
  norm_double(q);
  near("mean", q->mean, q->mean64, NULL, largest(q->x64, n), q->rows, 2);
  for (int64_t r = 0; r < q->rows; r++) {
    const double k = q->C > 1 ? condition(q, r) : 1;
    near("rstd", q->rstd + r, q->rstd64 + r, NULL, k * q->rstd64[r], 1, 4);
    for (int64_t c = 0; c < q->C; c++) {
      const int64_t e = r * q->C + c;
      const double b = q->b ? fabs(q->b64[c]) : 0, size = fabs(q->w64[c]) * (fabs(q->out64[e] / q->w64[c]) + k) + b;
      near("out", q->out + e, q->out64 + e, NULL, size, 1, 6);
    }
  }
}
static void norm_backward_case(norm *q) {
  const int64_t C = q->C, n = q->rows * C;
  const float *before = normal(n, 1, 999);
  const output outs[] = {
      {"dres", q->dres, (size_t)n * 4, before}, {"dw", q->dw, (size_t)C * 4, NULL}, {"db", q->db, (size_t)C * 4, NULL}};
  run_all(norm_back_team, q, outs, q->b ? 3 : 2);
  double *dw = doubles(C), *db = doubles(C), *dw_size = doubles(C), *db_size = doubles(C);
  for (int64_t c = 0; c < C; c++) dw[c] = db[c] = dw_size[c] = db_size[c] = 0;
  for (int64_t r = 0; r < q->rows; r++) {
    const double *x = q->x64 + r * C, *dy = q->dy64 + r * C, rstd = q->rstd64[r], k = C > 1 ? condition(q, r) : 1;
    double mean_g = 0, mean_gx = 0, top_g = 0, top_x = 0;
    for (int64_t c = 0; c < C; c++) {
      const double g = dy[c] * q->w64[c], xhat = (x[c] - q->mean64[r]) * rstd;
      mean_g += g / (double)C, mean_gx += g * xhat / (double)C;
      top_g = fmax(top_g, fabs(g)), top_x = fmax(top_x, fabs(xhat));
      dw[c] += dy[c] * xhat, dw_size[c] += fabs(dy[c]) * (fabs(xhat) + k);
      db[c] += dy[c], db_size[c] += fabs(dy[c]);
    }
    for (int64_t c = 0; c < C; c++) {
      const double xhat = (x[c] - q->mean64[r]) * rstd, start = (double)before[r * C + c];
      const double want = start + rstd * (dy[c] * q->w64[c] - mean_g - xhat * mean_gx);
      near("dres", q->dres + r * C + c, &want, NULL, fabs(start) + k * rstd * top_g * (1 + top_x * top_x), 1, 4);
    }
  }
  near("dw", q->dw, dw, dw_size, 0, C, 3);
  if (q->b) near("db", q->db, db, db_size, 0, C, 4);
}
static void norm_case(int64_t rows, int64_t C, int bias, float offset, uint64_t seed) {
  const int64_t n = rows * C;
  float *x = normal(n, 2, seed);
  for (int64_t i = 0; i < n; i++) x[i] += offset;
  norm q = {.rows = rows,
            .C = C,
            .x = x,
            .w = normal(C, 1, seed + 1),
            .b = bias ? normal(C, 1, seed + 2) : NULL,
            .dy = normal(n, 1, seed + 3),
            .out = floats(n),
            .mean = floats(rows),
            .rstd = floats(rows),
            .dres = floats(n),
            .dw = floats(C),
            .db = bias ? floats(C) : NULL,
            .partial = floats(dd_partial_size(rows, C)),
            .out64 = doubles(n),
            .mean64 = doubles(rows),
            .rstd64 = doubles(rows)};
  q.x64 = widen(q.x, n);
  q.w64 = widen(q.w, C);
  q.b64 = bias ? widen(q.b, C) : NULL;
  q.dy64 = widen(q.dy, n);
  CASE("layernorm rows %d C %d bias %d offset %g", (int)rows, (int)C, bias, (double)offset);
  norm_forward_case(&q);
  norm_backward_case(&q);
  if (n <= 200 && C > 2 && offset == 0) {
    memset(q.dres, 0, (size_t)n * 4); /* without what it adds to */
    dd_team_run(teams[0], norm_back_team, &q);
    differences("dres", q.dres, norm_double, &q, q.x64, n, 40);
    differences("dw", q.dw, norm_double, &q, q.w64, C, 40);
    if (bias) differences("db", q.db, norm_double, &q, q.b64, C, 40);
  }
  end_case();
}
static void test_layernorm(void **state) {
  (void)state;
  static const int64_t shapes[][2] = {{1, 1},     {3, 5},   {2, 64},   {64, 2}, {65, 65},
                                      {130, 100}, {7, 300}, {200, 17}, {1, 385}};
  for (int i = 0; i < COUNT(shapes); i++)
    for (int v = 0; v < 3; v++)
      norm_case(shapes[i][0], shapes[i][1], v % 2, v == 2 ? 30.f : 0.f, 5000 + 10 * (uint64_t)i);
  end_test("layernorm");
}

/* ---- bias, dropout, embeddings ---- */

typedef struct rows {
  int64_t B, T, S, C, V;
  const float *src, *wte, *wpe;
  const int32_t *idx;
  float *dst, *dwpe, *partial, *dres, *dw, *zeros;
  double *loss;
  float g;
  dd_drop drop;
} rows;
static void bias_team(dd_ctx *c, void *arg) {
  const rows *q = arg;
  dd_bias_backward(c, q->dst, q->src, q->T, q->C, q->partial, 0);
}
/* What comes after a LayerNorm: one whose gradient is zero leaves dres as it is. */
static void dropped_after(dd_ctx *c, const rows *q, float *out) {
  dd_layernorm_backward(c, q->dres, q->dw, NULL, q->zeros, q->src, q->zeros, q->zeros, q->zeros, q->T, q->C, q->partial,
                        0, &(dd_after){out, q->drop});
}
static void dropout_team(dd_ctx *c, void *arg) {
  const rows *q = arg;
  dropped_after(c, q, q->dst);
}
static void dropout_in_place_team(dd_ctx *c, void *arg) {
  const rows *q = arg;
  dropped_after(c, q, q->dres);
}
static void test_bias_and_dropout(void **state) {
  (void)state;
  static const int64_t shapes[][2] = {{1, 1}, {2, 300}, {63, 5}, {64, 64}, {65, 65}, {129, 33}, {500, 7}};
  for (int i = 0; i < COUNT(shapes); i++) {
    const int64_t n = shapes[i][0], C = shapes[i][1];
    rows q = {.T = n, .C = C, .src = normal(n * C, 1, 300 + (uint64_t)i), .partial = floats(dd_partial_size(n, C))};
    float *want = floats(n * C), *db = floats(C), *dropped = floats(n * C);
    double *sum = doubles(C), *size = doubles(C);
    q.dres = floats(n * C), q.dw = floats(C), q.zeros = floats(n * C);
    memset(q.zeros, 0, (size_t)(n * C) * 4);
    CASE("bias backward rows %d n %d", (int)n, (int)C);
    for (int64_t c = 0; c < C; c++) {
      float total = 0.f, chunk = 0.f;
      sum[c] = size[c] = 0;
      for (int64_t r = 0; r < n; r++) {
        const float v = q.src[r * C + c];
        if (r % DD_ROW_CHUNK == 0) total = r > DD_ROW_CHUNK ? total + chunk : r ? chunk : total;
        chunk = r % DD_ROW_CHUNK ? chunk + v : v;
        sum[c] += (double)v, size[c] += fabs((double)v);
      }
      want[c] = n > DD_ROW_CHUNK ? total + chunk : chunk;
    }
    q.dst = db;
    run_all(bias_team, &q, &(output){"db", db, (size_t)C * 4, NULL}, 1);
    near("db", db, sum, size, 0, C, 4);
    same_bits("db", db, want, C);
    for (int d = 0; d < 3; d++) {
      q.drop = drop_rate((double[]){0.1, 0.5, 0.999}[d], 0xfffffff0u, 2); /* row numbers wrap as 32 bits do */
      q.dst = dropped;
      CASE("dropout rows %d C %d threshold %u", (int)n, (int)C, q.drop.threshold);
      for (int64_t e = 0; e < n * C; e++) want[e] = kept(&q.drop, e / C, e % C) ? q.src[e] * q.drop.scale : 0.f;
      const output outs[] = {{"dst", dropped, (size_t)(n * C) * 4, NULL}, {"dres", q.dres, (size_t)(n * C) * 4, q.src}};
      run_all(dropout_team, &q, outs, 2);
      same_bits("dres", q.dres, q.src, n * C);
      same_bits("dst", dropped, want, n * C);
      run_all(dropout_in_place_team, &q, outs + 1, 1);
      same_bits("in place", q.dres, want, n * C);
    }
    end_case();
  }
  end_test("bias, dropout");
}

static void embed_team(dd_ctx *c, void *arg) {
  const rows *q = arg;
  dd_embed_forward(c, q->dst, q->idx, q->wte, q->wpe, q->B, q->T, q->C, &q->drop);
}
static void embed_back_team(dd_ctx *c, void *arg) {
  const rows *q = arg;
  dd_embed_backward(c, q->dst, q->dwpe, q->src, q->idx, q->B, q->T, q->S, q->C);
}
static void test_embed(void **state) {
  (void)state;
  static const int64_t shapes[][5] = {
      {1, 1, 1, 1, 1}, {2, 3, 5, 7, 4}, {3, 30, 30, 17, 2}, {1, 65, 70, 64, 65}, {5, 40, 64, 65, 300}};
  for (int i = 0; i < COUNT(shapes); i++) {
    const int64_t B = shapes[i][0], T = shapes[i][1], S = shapes[i][2], C = shapes[i][3], V = shapes[i][4], N = B * T;
    uint64_t seed = 400 + (uint64_t)i;
    int32_t *idx = room((size_t)N * 4, 4);
    for (int64_t r = 0; r < N; r++) idx[r] = (int32_t)rnd_below(&seed, V);
    const float *dx = normal(N * C, 1, seed + 1), *before = normal(V * C, 1, seed + 2);
    rows q = {.B = B,
              .T = T,
              .S = S,
              .C = C,
              .idx = idx,
              .wte = normal(V * C, 1, seed + 3),
              .wpe = normal(S * C, 1, seed + 4),
              .src = dx};
    float *x = floats(N * C), *dwte = floats(V * C), *dwpe = floats(S * C), *want = floats(N * C),
          *want_te = floats(V * C), *want_pe = floats(S * C);
    for (int d = 0; d < 2; d++) {
      q.drop = drop_rate(d ? 0.25 : 0, 50, 0);
      q.dst = x;
      CASE("embed B %d T %d S %d C %d V %d threshold %u", (int)B, (int)T, (int)S, (int)C, (int)V, q.drop.threshold);
      for (int64_t e = 0; e < N * C; e++) {
        const float sum = q.wte[idx[e / C] * C + e % C] + q.wpe[e / C % T * C + e % C];
        want[e] = !d ? sum : kept(&q.drop, e / C, e % C) ? sum * q.drop.scale : 0.f;
      }
      run_all(embed_team, &q, &(output){"x", x, (size_t)(N * C) * 4, NULL}, 1);
      same_bits("x", x, want, N * C);
    }
    memcpy(want_te, before, (size_t)(V * C) * 4);
    memset(want_pe, 0, (size_t)(S * C) * 4);
    for (int64_t e = 0; e < N * C; e++) {
      float *pe = want_pe + e / C % T * C + e % C;
      want_te[idx[e / C] * C + e % C] += dx[e];
      *pe = e / C < T ? dx[e] : *pe + dx[e];
    }
    q.dst = dwte, q.dwpe = dwpe;
    const output outs[] = {{"dwte", dwte, (size_t)(V * C) * 4, before}, {"dwpe", dwpe, (size_t)(S * C) * 4, NULL}};
    run_all(embed_back_team, &q, outs, 2);
    same_bits("dwte", dwte, want_te, V * C);
    same_bits("dwpe", dwpe, want_pe, S * C);
    end_case();
  }
}

/* ---- loss, sums ---- */

static void loss_team(dd_ctx *c, void *arg) {
  const rows *q = arg;
  dd_loss_rows(c, q->loss, q->dst, q->idx, q->T, q->V, q->g);
}
static void test_loss(void **state) {
  (void)state;
  static const int64_t shapes[][2] = {{1, 1}, {3, 2}, {64, 65}, {65, 5}, {7, 1000}, {130, 63}, {2, 257},
                                      {3, 2049}};
  for (int i = 0; i < COUNT(shapes); i++)
    for (int v = 0; v < 3; v++) {
      const int64_t n = shapes[i][0], V = shapes[i][1];
      uint64_t seed = 600 + (uint64_t)i;
      const float *logits = normal(n * V, v == 2 ? 60.f : 3.f, seed);
      int32_t *targets = room((size_t)n * 4, 4);
      for (int64_t r = 0; r < n; r++) targets[r] = (int32_t)rnd_below(&seed, V);
      rows q = {.T = n, .V = V, .idx = targets, .dst = floats(n * V), .loss = doubles(n), .g = v == 0 ? 0.f : 0.37f};
      CASE("loss rows %d V %d g %g, logits of scale %d", (int)n, (int)V, (double)q.g, v == 2 ? 60 : 3);
      const output outs[] = {{"logits", q.dst, (size_t)(n * V) * 4, logits}, {"loss", q.loss, (size_t)n * 8, NULL}};
      run_all(loss_team, &q, outs, 2);
      if (v == 0) same_bits("logits without gradient", q.dst, logits, n * V);
      for (int64_t r = 0; r < n; r++) {
        double sum = 0, top = -INFINITY;
        for (int64_t j = 0; j < V; j++) top = fmax(top, (double)logits[r * V + j]);
        for (int64_t j = 0; j < V; j++) sum += exp((double)logits[r * V + j] - top);
        const double want = log(sum) + top - (double)logits[r * V + targets[r]];
        if (!(fabs(q.loss[r] - want) <= 4 * EPS * (1 + fabs(log(sum)))))
          fail_msg("%s: loss[%d] %.15g, not %.15g", where, (int)r, q.loss[r], want);
        for (int64_t j = 0; j < V && v;
             j++) { /* d/dl of the line above; its own difference quotient is checked below */
          const double p = exp((double)logits[r * V + j] - top) / sum, d = (p - (j == targets[r])) * (double)q.g;
          const double size = (double)q.g * (p * (1 + top - (double)logits[r * V + j]) + (j == targets[r]));
          near("gradient", q.dst + r * V + j, &d, NULL, size, 1, 6);
          if (V > 70 || v == 2) continue;
          double two[2];
          for (int side = 0; side < 2; side++) {
            const double moved = (double)logits[r * V + j] + (side ? 1e-5 : -1e-5);
            const double s = sum + exp(moved - top) - exp((double)logits[r * V + j] - top);
            two[side] = log(s) + top - (j == targets[r] ? moved : (double)logits[r * V + targets[r]]);
          }
          const double quotient = (two[1] - two[0]) / 2e-5 * (double)q.g;
          near("gradient by differences", q.dst + r * V + j, &quotient, NULL, (double)q.g, 1, 16);
        }
      }
      end_case();
    }
  end_test("loss");
}

typedef struct sums {
  int64_t n;
  const float *x;
  float *dst;
  double *partial;
} sums;
static void sums_team(dd_ctx *c, void *arg) {
  const sums *q = arg;
  dd_norm_partials(c, q->partial, q->x, q->n);
  dd_accumulate(c, q->dst, q->x, q->n);
}
static void test_sums(void **state) {
  (void)state;
  static const int64_t sizes[] = {1, 15, 4095, 4096, 4097, 12288, 30001};
  for (int i = 0; i < COUNT(sizes); i++) {
    const int64_t n = sizes[i], chunks = (n + DD_NORM_CHUNK - 1) / DD_NORM_CHUNK;
    const float *before = normal(n, 1, 800);
    sums q = {n, normal(n, 1, 700 + (uint64_t)i), floats(n), doubles(chunks)};
    float *want = floats(n);
    CASE("sums n %d", (int)n);
    const output outs[] = {{"partial", q.partial, (size_t)chunks * 8, NULL}, {"dst", q.dst, (size_t)n * 4, before}};
    run_all(sums_team, &q, outs, 2);
    double total = 0;
    for (int64_t k = 0; k < chunks; k++) {
      double s = 0;
      for (int64_t e = k * DD_NORM_CHUNK; e < n && e < (k + 1) * DD_NORM_CHUNK; e++)
        s += (double)q.x[e] * (double)q.x[e];
      if (!(fabs(q.partial[k] - s) <= 1e-13 * s))
        fail_msg("%s: partial %d is %.17g, not %.17g", where, (int)k, q.partial[k], s);
      total += q.partial[k];
    }
    assert_true(dd_sum_in_order(q.partial, chunks) == total);
    for (int64_t e = 0; e < n; e++) want[e] = before[e] + q.x[e];
    same_bits("dst", q.dst, want, n);
    end_case();
  }
  assert_true(dd_sum_in_order((const double[]){1, 1e17, -1e17}, 3) == 0 &&
              dd_sum_in_order(NULL, 0) == 0); /* in order */
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_layernorm), cmocka_unit_test(test_bias_and_dropout),
      cmocka_unit_test(test_embed),     cmocka_unit_test(test_loss),
      cmocka_unit_test(test_sums),
  };
  print_tiers();
  if (argc > 1) cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, make_teams, drop_teams);
}
