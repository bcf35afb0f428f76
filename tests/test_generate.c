/* Generation with every format of weights: the packed products and the cache against formulas written here, equal bits
 * however the tokens are fed, on any team and with any number of streams, accuracy of the reduced formats, and text
 * that is the same alone and in lockstep, beyond the context too. test_infer.c holds f32 to the full forward pass. */
#include "ops_common.h"
#include "model/infer.h"
#include "run/generate.h"

/* The first team makes what is expected; the others are three threads in every tier, and all numbers in the last. */
#define FOR_TEAMS(t)                                                                                                   \
  for (int t = 0; t < team_count; t++)                                                                                 \
    if (t == 0 || dd_team_threads(teams[t]) == 3 || t >= team_count - COUNT(thread_counts))

static const char *const kinds[] = {"f32", "bf16", "int8"};

static float bf16_rounded(float x) { /* nearest, even at ties, by arithmetic on the bits of the neighbours */
  const uint32_t u = bits_of(x), low = u & 0xffff0000u, rest = u & 0xffff;
  const uint32_t up = rest > 0x8000 || (rest == 0x8000 && (u & 0x10000)) ? 0x10000 : 0;
  return float_of(low + up);
}

/* ---- packed products ---- */

static float product_by_contract(dd_weights kind, const float *w, const float *x, int64_t k) {
  float sum = 0, top_w = 0, top_x = 0, total = 0;
  if (kind != DD_WEIGHTS_INT8) {
    for (int64_t i = 0; i < k; i++) sum = fmaf(x[i], kind == DD_WEIGHTS_F32 ? w[i] : bf16_rounded(w[i]), sum);
    return sum;
  }
  for (int64_t i = 0; i < k; i++) top_w = fmaxf(top_w, fabsf(w[i])), top_x = fmaxf(top_x, fabsf(x[i]));
  const float inv_w = 127.f / top_w, inv_x = 32767.f / top_x;
  for (int64_t i = 0; i < k;) {
    int64_t s = 0;
    do s += llrintf(w[i] * inv_w) * llrintf(x[i] * inv_x);
    while (++i < k && i % 512);
    total = i <= 512 ? (float)s : total + (float)s;
  }
  return total * (top_w / 127.f * (top_x / 32767.f));
}

static void test_panels(void **state) {
  (void)state;
  static const int64_t ns[] = {1, 5, 16, 64, 65, 100, 192}, ks[] = {1, 2, 7, 96, 513, 1100};
  enum { M = 3 };
  for (int kind = 0; kind < DD_WEIGHTS_COUNT; kind++)
    for (int a = 0; a < COUNT(ns); a++)
      for (int b = 0; b < COUNT(ks); b++) {
        const int64_t n = ns[a], k = ks[b], ldq = (k + 1) / 2 * 2;
        CASE("%s, n %d k %d", kinds[kind], (int)n, (int)k);
        const float *w = normal(n * k, 0.1f, 7 + (uint64_t)a), *x = normal(M * k, 1.f, 99 + (uint64_t)b);
        const size_t bytes = dd_panels_bytes((dd_weights)kind, n, k);
        dd_panels p = {.kind = (dd_weights)kind, .n = n, .k = k, .data = room(bytes, 64)};
        int16_t *q = room((size_t)(M * ldq) * sizeof *q, 2);
        float *scale = floats(M), *out = floats(M * n), *want = floats(M * n);
        memset(q, 0, (size_t)(M * ldq) * sizeof *q);
        dd_panels_pack(&p, w);
        for (int64_t r = 0; r < M; r++)
          for (int64_t j = 0; j < n; j++) want[r * n + j] = product_by_contract(p.kind, w + j * k, x + r * k, k);
        FOR_TIERS(t) {
          for (int64_t r = 0; r < M; r++) scale[r] = t->quantize(q + r * ldq, x + r * k, k);
          const dd_vectors v = kind == DD_WEIGHTS_INT8 ? (dd_vectors){.q = q, .scale = scale, .ld = ldq}
                                                       : (dd_vectors){.x = x, .ld = k};
          memset(out, 0xff, (size_t)(M * n) * sizeof *out);
          dd_panels_apply(t, &p, out, n, &v, M);
          same_bits(t->tier, out, want, M * n);
        }
        end_case();
      }
}

/* Keys and values through the cache, against attention in double on what the cache can hold. */
static void test_kv(void **state) {
  (void)state;
  static const int64_t sizes[] = {1, 5, 16, 64, 65, 80};
  enum { TOKENS = 140 };
  for (int bf16 = 0; bf16 < 2; bf16++)
    for (int i = 0; i < COUNT(sizes); i++) {
      const int64_t hs = sizes[i];
      size_t kb, vb;
      dd_kv_bytes(bf16, TOKENS, hs, &kb, &vb);
      CASE("%s cache, head of %d", bf16 ? "bf16" : "f32", (int)hs);
      const dd_kv c = {.keys = room(kb, 64), .values = room(vb, 64)};
      const float *q = normal(TOKENS * hs, 1.f, 1), *k = normal(TOKENS * hs, 1.f, 2), *v = normal(TOKENS * hs, 1.f, 3);
      float *y = floats(TOKENS * hs), *one = floats(TOKENS * hs), *scores = floats(DD_KV_QUERIES * 192);
      double *want = doubles(TOKENS * hs);
      for (int64_t t = 0; t < TOKENS; t++) {
        double p[TOKENS], sum = 0;
        for (int64_t j = 0; j <= t; j++) {
          double s = 0;
          for (int64_t d = 0; d < hs; d++)
            s += (double)q[t * hs + d] * (double)(bf16 ? bf16_rounded(k[j * hs + d]) : k[j * hs + d]);
          sum += p[j] = exp(s / sqrt((double)hs));
        }
        for (int64_t d = 0; d < hs; d++) {
          double s = 0;
          for (int64_t j = 0; j <= t; j++)
            s += p[j] / sum * (double)(bf16 ? bf16_rounded(v[j * hs + d]) : v[j * hs + d]);
          want[t * hs + d] = s;
        }
      }
      FOR_TIERS(tier) {
        for (int64_t t = 0; t < TOKENS; t++) { /* as generation does it */
          dd_kv_put(&c, bf16, hs, t, k + t * hs, v + t * hs);
          dd_kv_attend(tier, &c, bf16, hs, t, 1, q + t * hs, hs, one + t * hs, hs, scores);
        }
        near(tier->tier, one, want, NULL, 4, TOKENS * hs, 8);
        for (int64_t t = 0, m; t < TOKENS; t += m) { /* as a prompt does it */
          m = t == 0 ? 37 : TOKENS - t;
          dd_kv_attend(tier, &c, bf16, hs, t, m, q + t * hs, hs, y + t * hs, hs, scores);
        }
        same_bits("queries together", y, one, TOKENS * hs);
      }
      end_case();
    }
  end_test("attention through the cache");
}

/* ---- the decoder ---- */

enum { S_MAX = 70, STREAMS = 5 };
static const dd_shape shapes[] = {
    {.L = 2, .H = 2, .C = 10, .S = 40, .V = 13, .bias = 1}, /* odd head size */
    {.L = 2, .H = 3, .C = 96, .S = S_MAX, .V = 70, .bias = 0},
    {.L = 1, .H = 1, .C = 130, .S = 66, .V = 65, .bias = 1}, /* longer than one pass of a prompt */
};
static int32_t ids[STREAMS][S_MAX];

static void draw_ids(const dd_shape *s, uint64_t seed) {
  for (int i = 0; i < STREAMS; i++)
    for (int64_t t = 0; t < S_MAX; t++) ids[i][t] = (int32_t)rnd_below(&seed, s->V);
}

static dd_model *create_model(const dd_shape *shape, const dd_team *like, int64_t T) {
  const dd_model_options o = {.shape = *shape, .B = 1, .T = T, .accumulation = 1, .seed = SEED};
  dd_model *m;
  dd_error err;
  if (dd_model_create(&m, &o, dd_team_kernels(like), dd_team_threads(like), &err)) fail_msg("%s", err.message);
  dd_model_init(m, 0.3);
  uint64_t s = 5;
  for (int i = 0; i < m->layout.count; i++)
    if (m->layout.tensors[i].init == DD_INIT_BIAS)
      fill_floats(m->param + m->layout.tensors[i].offset, m->layout.tensors[i].size, FILL_NORMAL, 0.3f, &s);
  dd_model_params_changed(m);
  return m;
}
static dd_infer *create_infer(dd_model *m, dd_weights kind, int64_t streams) {
  dd_infer *g;
  dd_error err;
  const dd_infer_options o = {.weights = kind, .streams = streams};
  if (dd_infer_create(&g, m, &o, &err)) fail_msg("%s", err.message);
  assert_int_equal(dd_infer_streams(g), streams);
  return g;
}

/* want[stream][t][V]: logits of each stream after each token, one by one and alone, by the first team. */
static void fed_case(const dd_shape *s, dd_weights kind, const dd_team *team, float *want, int first) {
  const int64_t S = s->S, V = s->V;
  dd_model *m = create_model(s, team, 1);
  dd_infer *alone = create_infer(m, kind, 1), *many = create_infer(m, kind, STREAMS);
  int32_t column[STREAMS * S_MAX];
  for (int i = 0; first && i < STREAMS; i++) {
    dd_infer_reset(alone);
    for (int64_t t = 0; t < S; t++)
      memcpy(want + (i * S + t) * V, dd_infer_feed(alone, &ids[i][t], 1), (size_t)V * sizeof *want);
    assert_int_equal(dd_infer_length(alone), S);
  }
  static const int64_t pieces[] = {1, 7, S_MAX};
  const int ways = first && getenv("DD_QUICK") ? 0 : COUNT(pieces); /* the other teams do it to these bits */
  for (int p = 0; p < ways; p++) {
    dd_infer_reset(alone);
    dd_infer_reset(many);
    for (int64_t t = 0, n; t < S; t += n) {
      n = S - t < pieces[p] ? S - t : pieces[p];
      for (int i = 0; i < STREAMS; i++) memcpy(column + i * n, &ids[i][t], (size_t)n * sizeof *column);
      same_bits("in pieces", dd_infer_feed(alone, &ids[0][t], n), want + (t + n - 1) * V, V);
      const float *got = dd_infer_feed(many, column, n);
      for (int i = 0; i < STREAMS; i++) same_bits("in lockstep", got + i * V, want + (i * S + t + n - 1) * V, V);
    }
  }
  /* One prompt for all, then each its own way. */
  dd_infer_reset(many);
  const float *got = dd_infer_feed_all(many, ids[0], S / 2);
  for (int i = 0; i < STREAMS; i++) same_bits("shared prompt", got + i * V, want + (S / 2 - 1) * V, V);
  for (int i = 0; i < STREAMS; i++) column[i] = ids[i][S / 2];
  got = dd_infer_feed(many, column, 1);
  for (int i = 0; i < STREAMS; i += 2) {
    float *own = floats(V);
    memcpy(own, got + i * V, (size_t)V * sizeof *own);
    dd_infer_reset(alone);
    dd_infer_feed(alone, ids[0], S / 2);
    same_bits("after a shared prompt", own, dd_infer_feed(alone, &ids[i][S / 2], 1), V);
  }
  dd_infer_destroy(alone);
  dd_infer_destroy(many);
  dd_model_destroy(m);
}

static void test_fed(void **state) {
  (void)state;
  for (int i = 0; i < COUNT(shapes); i++)
    for (int kind = 0; kind < DD_WEIGHTS_COUNT; kind++) {
      const dd_shape *s = &shapes[i];
      draw_ids(s, 40 + (uint64_t)i);
      float *want = malloc((size_t)(STREAMS * s->S * s->V) * sizeof *want);
      assert_non_null(want);
      FOR_TEAMS(t) {
        CASE("%s, L %d H %d C %d S %d V %d, tier %s, %d threads", kinds[kind], (int)s->L, (int)s->H, (int)s->C,
             (int)s->S, (int)s->V, dd_team_kernels(teams[t])->tier, dd_team_threads(teams[t]));
        fed_case(s, (dd_weights)kind, teams[t], want, t == 0);
        end_case();
      }
      free(want);
    }
}

/* Drawn tokens: a sequence in one call is that of feeding and drawing by hand, for each stream alone. */
static void test_drawn(void **state) {
  (void)state;
  const dd_shape *s = &shapes[1];
  enum { N = 20 };
  for (int kind = 0; kind < DD_WEIGHTS_COUNT; kind++) {
    int32_t want[STREAMS][N + 1];
    FOR_TEAMS(t) {
      CASE("%s, tier %s, %d threads", kinds[kind], dd_team_kernels(teams[t])->tier, dd_team_threads(teams[t]));
      dd_model *m = create_model(s, teams[t], 1);
      if (t == 0) {
        dd_infer *alone = create_infer(m, (dd_weights)kind, 1);
        double work[128];
        for (int i = 0; i < STREAMS; i++) {
          dd_infer_reset(alone);
          want[i][0] = i;
          for (uint32_t k = 0; k < N; k++)
            want[i][k + 1] = dd_sample_token(dd_infer_feed(alone, &want[i][k], 1), s->V, 0.9, 30, SEED,
                                             4 + (uint32_t)i, 11 + k, work);
        }
        dd_infer_destroy(alone);
      }
      for (int64_t streams = 1; streams <= STREAMS; streams += 2) {
        dd_infer *g = create_infer(m, (dd_weights)kind, streams);
        const dd_draw d = {.temperature = 0.9, .top_k = 30, .seed = SEED, .sample = 4, .position = 11};
        int32_t got[STREAMS * (N + 1)];
        for (int64_t i = 0; i < streams; i++) got[i * (N + 1)] = (int32_t)i;
        dd_infer_generate(g, N, &d, got);
        assert_int_equal(dd_infer_length(g), N);
        for (int64_t i = 0; i < streams; i++)
          for (int k = 0; k <= N; k++)
            if (got[i * (N + 1) + k] != want[i][k])
              fail_msg("%s: %d streams, stream %d, token %d is %d, alone %d", where, (int)streams, (int)i, k,
                       got[i * (N + 1) + k], want[i][k]);
        dd_infer_destroy(g);
      }
      dd_model_destroy(m);
    }
  }
}

/* Losses: f32 has the bits of the model's; the other formats come close to them. */
static void test_losses(void **state) {
  (void)state;
  for (int i = 0; i < COUNT(shapes); i++) {
    const dd_shape *s = &shapes[i];
    const int64_t n = s->S - 1;
    draw_ids(s, 70 + (uint64_t)i);
    double exact[S_MAX], first[DD_WEIGHTS_COUNT][S_MAX], got[S_MAX];
    FOR_TEAMS(t) {
      dd_model *m = create_model(s, teams[t], s->S);
      dd_model_losses(m, ids[0], ids[0] + 1, 1, n, exact);
      for (int kind = 0; kind < DD_WEIGHTS_COUNT; kind++) {
        dd_infer *g = create_infer(m, (dd_weights)kind, 1 + t % 2);
        CASE("losses, %s, shape %d, tier %s, %d threads", kinds[kind], i, dd_team_kernels(teams[t])->tier,
             dd_team_threads(teams[t]));
        dd_infer_losses(g, ids[0], ids[0] + 1, n, got);
        if (t == 0) memcpy(first[kind], got, sizeof got);
        if (memcmp(kind ? first[kind] : exact, got, (size_t)n * sizeof *got)) fail_msg("%s: other bits", where);
        dd_infer_destroy(g);
      }
      dd_model_destroy(m);
    }
  }
}

/* Error of the logits relative to their size (root mean square), on a model whose logits vary as a trained one's do. */
static void test_accuracy(void **state) {
  (void)state;
  static const double bound[DD_WEIGHTS_COUNT] = {0, 0.01, 0.03};
  const dd_shape s = {.L = 4, .H = 4, .C = 128, .S = 64, .V = 65, .bias = 1};
  dd_model *m = create_model(&s, teams[team_count - 1], 1);
  dd_model_init(m, 0.08);
  float *exact = floats(s.S * s.V);
  draw_ids(&s, 8);
  for (int kind = 0; kind < DD_WEIGHTS_COUNT; kind++) {
    dd_infer *g = create_infer(m, (dd_weights)kind, 1);
    double error = 0, size = 0;
    for (int64_t t = 0; t < s.S; t++) {
      const float *got = dd_infer_feed(g, &ids[0][t], 1);
      if (!kind) memcpy(exact + t * s.V, got, (size_t)s.V * sizeof *got);
      for (int64_t j = 0; j < s.V; j++) {
        const double e = (double)got[j] - (double)exact[t * s.V + j];
        error += e * e;
        size += (double)exact[t * s.V + j] * (double)exact[t * s.V + j];
      }
    }
    const double relative = sqrt(error / size);
    printf("  %s: relative error of the logits %.5f, bound %g\n", kinds[kind], relative, bound[kind]);
    if (!(relative <= bound[kind])) fail_msg("%s: error %g, bound %g", kinds[kind], relative, bound[kind]);
    if (kind) assert_true(relative > 1e-5); /* it is another format */
    dd_infer_destroy(g);
  }
  end_case();
  dd_model_destroy(m);
}

/* ---- text ---- */

typedef struct collected {
  char text[4000];
  size_t n;
  int64_t stop_after; /* polls of should_stop */
} collected;
static void on_text(void *user, const char *utf8, size_t n) {
  collected *c = user;
  assert_true(c->n + n < sizeof c->text);
  memcpy(c->text + c->n, utf8, n);
  c->n += n;
}
static int on_stop(void *user) {
  return ((collected *)user)->stop_after-- == 0;
}

static dd_settings *settings_of(const char *overflow) {
  dd_settings *s = dd_settings_create();
  assert_non_null(s);
  assert_int_equal(dd_settings_set(s, "overflow", overflow, NULL), 0);
  assert_int_equal(dd_settings_set(s, "prompt", "abc", NULL), 0);
  assert_int_equal(dd_settings_set(s, "temperature", "1", NULL), 0);
  return s;
}

/* Text of samples first .. first + samples in a group of `streams`. */
static int text_of(collected *c, dd_model *m, const dd_vocab *v, const dd_settings *s, dd_weights kind, int64_t streams,
                   int64_t first, int64_t samples, int64_t tokens, int64_t *done) {
  dd_infer *g = create_infer(m, kind, streams);
  dd_generator q;
  dd_error err;
  const dd_callbacks cb = {.user = c, .text = on_text, .should_stop = on_stop};
  if (dd_generator_open(&q, g, v, s, &err)) fail_msg("%s", err.message);
  const int rc = dd_generate(&q, first, samples, tokens, &cb, done, &err);
  dd_generator_close(&q);
  dd_infer_destroy(g);
  return rc;
}

static void test_text(void **state) {
  (void)state;
  enum { TOKENS = 44, SAMPLES = 4 };
  dd_vocab v;
  dd_error err;
  assert_int_equal(dd_vocab_from_text(&v, DD_VOCAB_CHAR, "abcdefghijklm", 13, "here", NULL, &err), 0);
  const dd_shape s = {.L = 2, .H = 2, .C = 32, .S = 16, .V = 13};
  for (int exact = 0; exact < 2; exact++)
    for (int kind = 0; kind < DD_WEIGHTS_COUNT; kind++) {
      dd_settings *set = settings_of(exact ? "exact" : "slide");
      char want[SAMPLES][TOKENS + 1] = {{0}};
      FOR_TEAMS(t) {
        CASE("%s, %s, tier %s, %d threads", exact ? "exact" : "slide", kinds[kind],
             dd_team_kernels(teams[t])->tier, dd_team_threads(teams[t]));
        dd_model *m = create_model(&s, teams[t], 1);
        int64_t done = 0;
        if (t == 0)
          for (int i = 0; i < SAMPLES; i++) {
            collected c = {.stop_after = -1};
            assert_int_equal(text_of(&c, m, &v, set, (dd_weights)kind, 1, i, 1, TOKENS, NULL), 0);
            assert_int_equal(c.n, TOKENS);
            memcpy(want[i], c.text, TOKENS);
            if (i && !memcmp(want[i], want[0], TOKENS)) fail_msg("%s: sample %d is sample 0", where, i);
          }
        collected c = {.stop_after = -1};
        assert_int_equal(text_of(&c, m, &v, set, (dd_weights)kind, SAMPLES, 0, SAMPLES, TOKENS, &done), 0);
        assert_int_equal(done, SAMPLES * TOKENS);
        assert_int_equal(c.n, SAMPLES * TOKENS);
        for (int i = 0; i < SAMPLES; i++)
          if (memcmp(c.text + i * TOKENS, want[i], TOKENS))
            fail_msg("%s: sample %d in lockstep is\n%.44s\nalone\n%.44s", where, i, c.text + i * TOKENS, want[i]);
        c = (collected){.stop_after = -1}; /* fewer samples than streams, from the middle */
        assert_int_equal(text_of(&c, m, &v, set, (dd_weights)kind, 3, 2, 2, TOKENS, NULL), 0);
        if (c.n != 2 * TOKENS || memcmp(c.text, want[2], TOKENS) || memcmp(c.text + TOKENS, want[3], TOKENS))
          fail_msg("%s: samples 2 and 3", where);
        dd_model_destroy(m);
      }
      /* Beyond the context the two ways differ, up to it they do not. */
      static char slide[DD_WEIGHTS_COUNT][TOKENS];
      if (!exact) memcpy(slide[kind], want[0], TOKENS);
      else {
        assert_memory_equal(slide[kind], want[0], 16 - 3 + 1);
        assert_memory_not_equal(slide[kind], want[0], TOKENS);
      }
      dd_settings_destroy(set);
    }
  dd_vocab_free(&v);
}

/* exact is nanoGPT's rule: every new token from a fresh pass over the last S tokens. slide: the last S/2 when full. */
static void test_overflow(void **state) {
  (void)state;
  enum { TOKENS = 60, S = 16 };
  dd_vocab v;
  dd_error err;
  assert_int_equal(dd_vocab_from_text(&v, DD_VOCAB_CHAR, "abcdefghijklm", 13, "here", NULL, &err), 0);
  const dd_shape s = {.L = 2, .H = 2, .C = 32, .S = S, .V = 13};
  dd_model *m = create_model(&s, teams[team_count - 1], S);
  for (int exact = 0; exact < 2; exact++) {
    dd_settings *set = settings_of(exact ? "exact" : "slide");
    int32_t all[3 + TOKENS] = {0, 1, 2};
    double work[16];
    for (int64_t n = 3, from = 0; n < 3 + TOKENS; n++) {
      if (n - from > S) from = exact ? n - S : n - S / 2;
      dd_model_logits(m, all + from, 1, n - from, 0, NULL);
      all[n] = dd_sample_token(m->logits + (n - from - 1) * s.V, s.V, 1, 200, 1337, 0, (uint32_t)(n - 3), work);
    }
    collected c = {.stop_after = -1};
    assert_int_equal(text_of(&c, m, &v, set, DD_WEIGHTS_F32, 1, 0, 1, TOKENS, NULL), 0);
    for (int i = 0; i < TOKENS; i++)
      if (c.text[i] != 'a' + all[3 + i])
        fail_msg("%s: token %d is %c, by the rule %c", exact ? "exact" : "slide", i, c.text[i], 'a' + all[3 + i]);
    c = (collected){.stop_after = 1};
    int64_t done = 0;
    assert_int_equal(text_of(&c, m, &v, set, DD_WEIGHTS_F32, 2, 0, 2, 1000000, &done), DD_E_STOPPED);
    assert_in_range(done, 2, 1000000);
    dd_settings_destroy(set);
  }
  dd_model_destroy(m);
  dd_vocab_free(&v);
}

/* Groups: within 16 streams, 1 GiB of cache and 64 Mi tokens, and of equal size. */
static void test_groups(void **state) {
  (void)state;
  const dd_shape small = {.L = 2, .H = 2, .C = 32, .S = 16, .V = 13};
  const dd_shape large = {.L = 48, .H = 25, .C = 1600, .S = 1024, .V = 50257};
  assert_int_equal(dd_generator_streams(&small, DD_WEIGHTS_F32, 1, 10), 1);
  assert_int_equal(dd_generator_streams(&small, DD_WEIGHTS_F32, 10, 10), 10);
  assert_int_equal(dd_generator_streams(&small, DD_WEIGHTS_F32, 16, 10), 16);
  assert_int_equal(dd_generator_streams(&small, DD_WEIGHTS_F32, 17, 10), 9);
  assert_int_equal(dd_generator_streams(&small, DD_WEIGHTS_F32, 1000000, 10), 16);
  assert_int_equal(dd_generator_streams(&small, DD_WEIGHTS_F32, 16, (int64_t)16 << 20), 4);
  assert_int_equal(dd_generator_streams(&small, DD_WEIGHTS_F32, 16, 1000000000), 1);
  const int64_t fit = (int64_t)(((uint64_t)1 << 30) / dd_infer_stream_bytes(&large, DD_WEIGHTS_F32));
  assert_in_range(fit, 1, 2);
  assert_int_equal(dd_generator_streams(&large, DD_WEIGHTS_F32, 100, 10), fit);
  assert_true(dd_infer_stream_bytes(&large, DD_WEIGHTS_INT8) * 2 <= dd_infer_stream_bytes(&large, DD_WEIGHTS_F32));
}

/* A piece of text ends with a whole character; only the last may not. What is not UTF-8 comes as it is. */
static char *piece_end[1000];
static int pieces;
static void on_piece(void *user, const char *utf8, size_t n) {
  on_text(user, utf8, n);
  collected *c = user;
  assert_true(pieces < 1000);
  piece_end[pieces++] = c->text + c->n;
}

static void test_characters(void **state) {
  (void)state;
  enum { TOKENS = 300 };
  dd_vocab v;
  dd_error err;
  assert_int_equal(dd_vocab_from_text(&v, DD_VOCAB_BYTE, "", 0, "here", NULL, &err), 0);
  const dd_shape s = {.L = 1, .H = 2, .C = 32, .S = 16, .V = 256};
  dd_model *m = create_model(&s, teams[0], 16);
  dd_settings *set = settings_of("slide");
  dd_infer *g = create_infer(m, DD_WEIGHTS_F32, 1);
  dd_generator q;
  if (dd_generator_open(&q, g, &v, set, &err)) fail_msg("%s", err.message);
  collected c = {.stop_after = -1};
  const dd_callbacks cb = {.user = &c, .text = on_piece, .should_stop = on_stop};
  pieces = 0;
  assert_int_equal(dd_generate(&q, 0, 1, TOKENS, &cb, NULL, &err), 0);
  assert_int_equal(c.n, TOKENS); /* a token is a byte: none is lost, none comes twice */
  for (int i = 0; i < pieces; i++) {
    const unsigned char *end = (const unsigned char *)piece_end[i];
    if (end == (const unsigned char *)c.text + c.n) continue;
    if ((*end & 0xC0) != 0x80) continue; /* the next piece begins a character */
    assert_false(end[-1] >= 0xC0);
    assert_false(end - (const unsigned char *)c.text > 1 && end[-2] >= 0xE0 && (end[-1] & 0xC0) == 0x80);
  }
  dd_generator_close(&q);
  dd_infer_destroy(g);
  dd_model_destroy(m);
  dd_settings_destroy(set);
  dd_vocab_free(&v);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_panels), cmocka_unit_test(test_kv),       cmocka_unit_test(test_fed),
      cmocka_unit_test(test_drawn),  cmocka_unit_test(test_losses),   cmocka_unit_test(test_accuracy),
      cmocka_unit_test(test_text),   cmocka_unit_test(test_overflow), cmocka_unit_test(test_groups),
      cmocka_unit_test(test_characters),
  };
  print_tiers();
  if (argc > 1) cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, make_teams, drop_teams);
}
