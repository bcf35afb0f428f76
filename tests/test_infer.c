/* Generation: the key/value cache gives the bits of the full forward pass at every length, however the tokens are fed;
 * sampling follows the softmax, is a function of its address, and obeys temperature and top_k. */
#include "ops_common.h"
#include "model/infer.h"

/* ---- the cache ---- */

enum { MAX_S = 80 };

typedef struct shape_case {
  dd_shape shape;
  int train;
} shape_case;
/* Head sizes below, at and above one panel; contexts of several query blocks, not a multiple of anything. */
static const shape_case shapes[] = {
    {{.L = 2, .H = 2, .C = 10, .S = 52, .V = 13, .bias = 1}, 0},
    {{.L = 1, .H = 1, .C = 40, .S = 51, .V = 65, .bias = 0}, 1},
    {{.L = 2, .H = 3, .C = 96, .S = 25, .V = 130, .bias = 0}, 0},
    {{.L = 1, .H = 2, .C = 2, .S = 1, .V = 2, .bias = 1}, 0},
};

static int32_t ids[MAX_S];

static dd_model *create(const shape_case *q, int64_t T, const dd_team *like) {
  const dd_model_options o = {.shape = q->shape, .B = 1, .T = T, .accumulation = 1, .train = q->train, .seed = SEED};
  dd_model *m;
  dd_error err;
  if (dd_model_create(&m, &o, dd_team_kernels(like), dd_team_threads(like), &err)) fail_msg("%s", err.message);
  dd_model_init(m, 0.3);
  uint64_t s = 5;
  for (int i = 0; i < m->layout.count; i++) /* biases too */
    if (m->layout.tensors[i].init == DD_INIT_BIAS)
      fill_floats(m->param + m->layout.tensors[i].offset, m->layout.tensors[i].size, FILL_NORMAL, 0.3f, &s);
  dd_model_params_changed(m);
  return m;
}

/* Feeds ids[0..n) in pieces of `step` (the last one shorter) and compares the logits after each. */
static void feed(dd_infer *g, const float *want, int64_t n, int64_t step, int64_t V, const char *how) {
  dd_infer_reset(g);
  for (int64_t at = 0; at < n;) {
    const int64_t k = n - at < step ? n - at : step;
    const float *got = dd_infer_feed(g, ids + at, k);
    at += k;
    assert_int_equal(dd_infer_length(g), at);
    const int64_t bad = first_difference(want + (at - 1) * V, got, V, sizeof *got, 0);
    if (bad >= 0)
      fail_msg("%s: fed %s (pieces of %d), length %d: logit %d is %a, in the full pass %a", where, how, (int)step,
               (int)at, (int)bad, (double)got[bad], (double)want[(at - 1) * V + bad]);
  }
}

/* want: logits of the full pass at each length, made by the first team. */
static void cache_case(const shape_case *q, const dd_team *like, float *want, int first) {
  const int64_t S = q->shape.S, V = q->shape.V;
  dd_model *m = create(q, S, like), *full = create(q, S, like);
  dd_infer *g;
  dd_error err;
  if (dd_infer_create(&g, m, &(dd_infer_options){.streams = 1}, &err)) fail_msg("%s", err.message);
  const int64_t sparse =
      first || dd_team_threads(like) == 3 ? 1 : S / 3 + 1; /* teams with which every length is tried */
  for (int64_t n = S; n > 0; n -= sparse) {                /* the last row of a pass over n tokens */
    dd_model_logits(full, ids, 1, n, 0, NULL);
    const float *row = full->logits + (n - 1) * V;
    if (first) memcpy(want + (n - 1) * V, row, (size_t)V * 4);
    else if (memcmp(want + (n - 1) * V, row, (size_t)V * 4))
      fail_msg("%s: the full pass of %d tokens differs", where, (int)n);
  }
  static const int64_t pieces[] = {1, 3, 23, 24, 25, 49};
  for (int i = 0; i < COUNT(pieces); i++) feed(g, want, S, pieces[i], V, "in pieces");
  for (int64_t n = S; n > 0; n -= sparse) feed(g, want, n, n, V, "as a whole");
  /* A prompt, then one by one, as generation does. */
  dd_infer_reset(g);
  for (int64_t n = S / 2, k = n; n && n <= S / 2 + 4 && n <= S; n++, k = 1)
    if (memcmp(dd_infer_feed(g, ids + n - k, k), want + (n - 1) * V, (size_t)V * 4))
      fail_msg("%s: prompt, then %d", where, (int)n);
  /* Other parameters: the packed weights must follow, and come back. */
  float *w = m->param + m->layout.tensors[0].offset, keep = w[ids[0] * q->shape.C];
  w[ids[0] * q->shape.C] += 0.5f;
  dd_model_params_changed(m);
  dd_infer_reset(g);
  if (q->shape.S > 1 && !memcmp(dd_infer_feed(g, ids, 1), want, (size_t)V * 4)) fail_msg("%s: stale weights", where);
  w[ids[0] * q->shape.C] = keep;
  dd_model_params_changed(m);
  feed(g, want, S, S, V, "after a change and back");
  dd_infer_destroy(g);
  dd_infer_destroy(NULL);
  dd_model_destroy(full);
  dd_model_destroy(m);
}
static void test_cache(void **state) {
  (void)state;
  for (int i = 0; i < COUNT(shapes); i++) {
    const dd_shape *s = &shapes[i].shape;
    uint64_t seed = 90 + (uint64_t)i;
    for (int64_t t = 0; t < s->S; t++) ids[t] = (int32_t)rnd_below(&seed, s->V);
    float *want = floats(s->S * s->V);
    for (int t = 0; t < team_count; t++) {
      CASE("L %d H %d C %d S %d V %d, tier %s, %d threads", (int)s->L, (int)s->H, (int)s->C, (int)s->S, (int)s->V,
           dd_team_kernels(teams[t])->tier, dd_team_threads(teams[t]));
      cache_case(&shapes[i], teams[t], want, t == 0);
    }
    end_case();
  }
}

/* What the attention of one fed token needs fits the scratch of a model made for single tokens. */
static void test_single_token_model(void **state) {
  (void)state;
  const shape_case q = {{.L = 1, .H = 1, .C = 16, .S = MAX_S, .V = 7, .bias = 1}, 0};
  for (int t = 0; t < team_count; t += 3) {
    dd_model *m = create(&q, 1, teams[t]), *full = create(&q, MAX_S, teams[t]);
    dd_infer *g;
    dd_error err;
    for (int i = 0; i < MAX_S; i++) ids[i] = i * 3 % 7;
    if (dd_infer_create(&g, m, &(dd_infer_options){.streams = 1}, &err)) fail_msg("%s", err.message);
    dd_model_logits(full, ids, 1, MAX_S, 0, NULL);
    CASE("model of T 1, tier %s, %d threads", dd_team_kernels(teams[t])->tier, dd_team_threads(teams[t]));
    feed(g, full->logits, MAX_S, 1, 7, "one by one");
    dd_infer_destroy(g);
    dd_model_destroy(full);
    dd_model_destroy(m);
  }
}

/* ---- sampling ---- */

enum { V = 12, DRAWS = 40000 };
static const float some_logits[V] = {0.3f, -1.2f, 2.1f, 0.f, 2.1f, -5.f, 1.7f, 0.29f, -0.4f, 1.1f, -2.2f, 0.8f};

/* Probabilities as they are defined; the k-th largest and its equals stay. */
static void probabilities(double p[V], const float *logits, double temperature, int64_t top_k) {
  double sum = 0;
  for (int i = 0; i < V; i++) {
    int above = 0;
    for (int j = 0; j < V; j++) above += logits[j] > logits[i];
    p[i] = top_k > 0 && above >= top_k ? 0 : exp(((double)logits[i] - 2.1) / temperature);
    sum += p[i];
  }
  for (int i = 0; i < V; i++) p[i] /= sum;
}
/* The draw of an address, by the rule in infer.h and the Philox of this test. */
static double uniform_of(uint32_t sample, uint32_t position) {
  const uint64_t hi = philox_word(sample, position, 3u << 24, 0, 0), lo = philox_word(sample, position, 3u << 24, 0, 1);
  return (double)((hi << 32 | lo) >> 11) * 0x1p-53;
}

typedef struct sampling {
  double temperature;
  int64_t top_k;
  double limit; /* of chi-square: exceeded by chance once in 10,000 seeds */
} sampling;
static void test_distribution(void **state) {
  (void)state;
  static const sampling cases[] = {{1, 0, 37.4}, {0.7, 0, 37.4}, {2.5, 0, 37.4}, {1, 5, 23.6},  {0.8, 3, 18.5},
                                   {1, 1, 15.2}, {1, 12, 37.4},  {1, 99, 37.4},  {0.8, 2, 15.2}};
  for (int c = 0; c < COUNT(cases); c++) {
    const sampling *q = &cases[c];
    double p[V], work[V], chi = 0;
    int64_t seen[V] = {0}, unequal = 0;
    probabilities(p, some_logits, q->temperature, q->top_k);
    for (uint32_t i = 0; i < DRAWS; i++) {
      const uint32_t sample = i % 200, position = i / 200;
      const int id = dd_sample_token(some_logits, V, q->temperature, q->top_k, SEED, sample, position, work);
      if (id < 0 || id >= V || p[id] <= 0)
        fail_msg("temperature %g top_k %d: drew %d", q->temperature, (int)q->top_k, id);
      seen[id]++;
      const double u = uniform_of(sample, position);
      double sum = 0;
      int want = -1;
      for (int j = 0; j < V && want < 0; j++)
        if ((sum += p[j]) > u) want = j;
      if (id != want && fabs(sum - u) > 1e-12 && fabs(sum - p[want < 0 ? V - 1 : want] - u) > 1e-12)
        fail_msg("temperature %g top_k %d, sample %u position %u: drew %d, u %.17g is in %d", q->temperature,
                 (int)q->top_k, sample, position, id, u, want);
      unequal +=
          i > 0 && id != dd_sample_token(some_logits, V, q->temperature, q->top_k, SEED + 1, sample, position, work);
    }
    int kinds = 0;
    for (int j = 0; j < V; j++) {
      if (p[j] <= 0) continue;
      const double expected = p[j] * DRAWS, d = (double)seen[j] - expected;
      chi += d * d / expected;
      kinds++;
    }
    printf("  temperature %g, top_k %d: chi-square %.1f of %d kinds, limit %.1f\n", q->temperature, (int)q->top_k, chi,
           kinds, q->limit);
    if (!(chi < q->limit)) fail_msg("temperature %g top_k %d: chi-square %.1f", q->temperature, (int)q->top_k, chi);
    if (unequal < DRAWS / 10) fail_msg("another seed changes only %d draws", (int)unequal);
  }
}

/* Neighbouring addresses are independent: pairs along positions, and along samples, fall as their product. */
static void test_addresses(void **state) {
  (void)state;
  const float even[V] = {0};
  double work[V];
  for (int axis = 0; axis < 2; axis++) {
    int64_t seen[V][V] = {{0}};
    for (uint32_t i = 0; i < DRAWS; i++) {
      const uint32_t a = 2 * (i % 100), b = i / 100;
      const int x = dd_sample_token(even, V, 1, 0, 77, axis ? a : b, axis ? b : a, work);
      const int y = dd_sample_token(even, V, 1, 0, 77, axis ? a + 1 : b, axis ? b : a + 1, work);
      seen[x][y]++;
    }
    double chi = 0;
    const double expected = (double)DRAWS / (V * V);
    for (int x = 0; x < V; x++)
      for (int y = 0; y < V; y++) chi += ((double)seen[x][y] - expected) * ((double)seen[x][y] - expected) / expected;
    printf("  pairs along %s: chi-square %.1f, limit 211\n", axis ? "samples" : "positions", chi);
    if (!(chi < 211))
      fail_msg("pairs along %s: chi-square %.1f", axis ? "samples" : "positions", chi); /* 143 degrees */
  }
}

static void test_sample_edges(void **state) {
  (void)state;
  double work[V];
  const float ties[V] = {1, 3, 2, 3, 3, 0, 1, 1, 1, 1, 1, 3}, cold[V] = {-200, 60, 59.999f, -1e30f, 3e38f, -3e38f};
  for (uint32_t i = 0; i < 500; i++) {
    assert_int_equal(dd_sample_token(some_logits, V, 0, 0, SEED, i, i, work), 2); /* the first of two largest */
    assert_int_equal(dd_sample_token(some_logits, V, 0, 5, SEED, i, i, work), 2);
    assert_int_equal(dd_sample_token(ties, V, 0, 0, SEED, i, i, work), 1);
    assert_int_equal(dd_sample_token(cold, V, 1e-3, 0, SEED, i, i, work), 4);
    assert_int_equal(dd_sample_token(cold, 3, 1e-5, 0, SEED, i, i, work), 1); /* 0.001 / 1e-5: e^-100 */
    assert_int_equal(dd_sample_token(cold, 1, 0.8, 200, SEED, i, i, work), 0);
  }
  for (int64_t k = 1; k <= 4; k++) { /* four share the first place: all of them stay, whatever k up to 4 */
    int64_t seen[V] = {0};
    for (uint32_t i = 0; i < 4000; i++) seen[dd_sample_token(ties, V, 1, k, SEED, 0, i, work)]++;
    for (int j = 0; j < V; j++)
      if ((ties[j] == 3) != (seen[j] > 0) || (seen[j] && (seen[j] < 850 || seen[j] > 1150)))
        fail_msg("top_k %d: token %d came %d times", (int)k, j, (int)seen[j]);
  }
  /* An address always gives the same token: not even the order of calls matters. */
  int forth[300];
  for (uint32_t i = 0; i < 300; i++) forth[i] = dd_sample_token(some_logits, V, 1, 0, 9, 3, i, work);
  for (uint32_t i = 300; i-- > 0;) assert_int_equal(dd_sample_token(some_logits, V, 1, 0, 9, 3, i, work), forth[i]);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_cache),     cmocka_unit_test(test_single_token_model), cmocka_unit_test(test_distribution),
      cmocka_unit_test(test_addresses), cmocka_unit_test(test_sample_edges),
  };
  print_tiers();
  if (argc > 1) cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, make_teams, drop_teams);
}
