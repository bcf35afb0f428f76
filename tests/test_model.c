/* The whole model: its gradient against central differences of an independent naive GPT in double with masks from the
 * randomness contract; folding of micro-batches; evaluation; AdamW; and that a step allocates nothing.
 *
 * The count of allocations needs the link arguments -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,
 * --wrap=aligned_alloc,--wrap=posix_memalign,--wrap=mmap; without them that one test is skipped and says so. */
#include "ops_common.h"
#include "model/model.h"
#include <sys/mman.h>

/* ---- allocations ---- */

static int allocations;
#define WRAP(ret, name, declared, passed)                                                                              \
  extern ret __real_##name declared __attribute__((weak));                                                             \
  ret __wrap_##name declared;                                                                                          \
  ret __wrap_##name declared {                                                                                         \
    __atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED);                                                             \
    return __real_##name passed;                                                                                       \
  }
WRAP(void *, malloc, (size_t n), (n))
WRAP(void *, calloc, (size_t n, size_t size), (n, size))
WRAP(void *, realloc, (void *p, size_t n), (p, n))
WRAP(void *, aligned_alloc, (size_t align, size_t n), (align, n))
WRAP(int, posix_memalign, (void **p, size_t align, size_t n), (p, align, n))
WRAP(void *, mmap, (void *p, size_t n, int prot, int flags, int fd, off_t at), (p, n, prot, flags, fd, at))

/* ---- models ---- */

static const dd_shape small = {.L = 2, .H = 2, .C = 10, .S = 9, .V = 11, .bias = 1};
enum { B = 2, T = 7, N = B * T, MAX_G = 8 };
static const double lima[] = {0, 1}, reverse[] = {1, 0.5};
static const dd_dropout_rates rates = {.site = {0.1, 0.25, 0.3, 0.5}}, no_rates,
                              attention_only = {.site = {0, 0.9, 0, 0}},
                              rising = {{0.1, 0.25, 0.3, 0.5}, lima},
                              falling = {{0.1, 0.25, 0.3, 0.5}, reverse};
static int32_t ids[MAX_G * N], targets[MAX_G * N]; /* some text: the same in every test */

static dd_model *create(const dd_shape *shape, int64_t batch, int64_t seq, int64_t accumulation, const dd_team *like) {
  const dd_model_options o = {
      .shape = *shape, .B = batch, .T = seq, .accumulation = accumulation, .train = 1, .seed = SEED};
  dd_model *m;
  dd_error err;
  if (dd_model_create(&m, &o, dd_team_kernels(like), dd_team_threads(like), &err)) fail_msg("%s", err.message);
  assert_int_equal(m->bytes, dd_model_bytes(&o, dd_team_kernels(like), dd_team_threads(like)));
  uint64_t s = 31;
  for (int i = 0; i < m->layout.count; i++) {
    const dd_tensor *t = m->layout.tensors + i;
    fill_floats(m->param + t->offset, t->size, FILL_NORMAL, 0.4f, &s);
    for (int64_t e = 0; e < t->size && t->init == DD_INIT_ONE; e++) m->param[t->offset + e] += 1.f;
  }
  dd_model_params_changed(m);
  return m;
}

/* ---- a GPT in double, as plain as can be ---- */

typedef struct gpt {
  const dd_layout *l;
  const double *flat;
  int64_t batch, seq;
  const double *mask[DD_SITES]; /* [layer][row][column], 0 or 1/(1-p) */
} gpt;

static const double *tensor(const gpt *q, int64_t layer, const char *name) {
  char full[96];
  snprintf(full, sizeof full, layer < 0 ? "transformer.%s" : "transformer.h.%2$d.%1$s", name, (int)layer);
  for (int i = 0; i < q->l->count; i++)
    if (!strcmp(q->l->tensors[i].name, full)) return q->flat + q->l->tensors[i].offset;
  return NULL;
}
/* out[n][o] = x[n][i] w[o][i]' + b */
static void linear(double *out, const double *x, const double *w, const double *b, int64_t n, int64_t in, int64_t o) {
  for (int64_t r = 0; r < n; r++)
    for (int64_t j = 0; j < o; j++) {
      double s = b ? b[j] : 0;
      for (int64_t i = 0; i < in; i++) s += x[r * in + i] * w[j * in + i];
      out[r * o + j] = s;
    }
}
static void layernorm(double *out, const double *x, const double *w, const double *b, int64_t n, int64_t C) {
  for (int64_t r = 0; r < n; r++, x += C, out += C) {
    double mean = 0, var = 0;
    for (int64_t c = 0; c < C; c++) mean += x[c] / (double)C;
    for (int64_t c = 0; c < C; c++) var += (x[c] - mean) * (x[c] - mean) / (double)C;
    for (int64_t c = 0; c < C; c++) out[c] = (x[c] - mean) / sqrt(var + 1e-5) * w[c] + (b ? b[c] : 0);
  }
}
static void attend(double *y, const double *qkv, const double *mask, const gpt *q) {
  const int64_t C = q->l->shape.C, H = q->l->shape.H, hs = C / H;
  for (int64_t i = 0; i < q->batch * H * q->seq; i++) {
    const int64_t t = i % q->seq, h = i / q->seq % H, first = i / (H * q->seq) * q->seq;
    double p[16], sum = 0;
    for (int64_t s = 0; s <= t; s++) {
      double score = 0;
      for (int64_t c = 0; c < hs; c++)
        score += qkv[(first + t) * 3 * C + h * hs + c] * qkv[(first + s) * 3 * C + C + h * hs + c];
      sum += p[s] = exp(score / sqrt((double)hs));
    }
    for (int64_t c = 0; c < hs; c++) {
      double v = 0;
      for (int64_t s = 0; s <= t; s++)
        v += p[s] / sum * mask[i * q->seq + s] * qkv[(first + s) * 3 * C + 2 * C + h * hs + c];
      y[(first + t) * C + h * hs + c] = v;
    }
  }
}
enum { ROWS_MAX = 64, WIDE_MAX = 64 };
static double loss_double(const gpt *q, const int32_t *in, const int32_t *out) {
  static double x[ROWS_MAX * WIDE_MAX], a[ROWS_MAX * WIDE_MAX], b[ROWS_MAX * WIDE_MAX], c[ROWS_MAX * WIDE_MAX];
  const int64_t n = q->batch * q->seq, C = q->l->shape.C, V = q->l->shape.V;
  const double *wte = tensor(q, -1, "wte.weight"), *wpe = tensor(q, -1, "wpe.weight");
  assert_true(n <= ROWS_MAX && 4 * C <= WIDE_MAX && V <= WIDE_MAX && q->seq <= 16);
  for (int64_t e = 0; e < n * C; e++)
    x[e] = q->mask[DD_SITE_EMBED][e] * (wte[in[e / C] * C + e % C] + wpe[e / C % q->seq * C + e % C]);
  for (int64_t l = 0; l < q->l->shape.L; l++) {
    layernorm(a, x, tensor(q, l, "ln_1.weight"), tensor(q, l, "ln_1.bias"), n, C);
    linear(b, a, tensor(q, l, "attn.c_attn.weight"), tensor(q, l, "attn.c_attn.bias"), n, C, 3 * C);
    attend(a, b, q->mask[DD_SITE_ATTN] + l * n * q->l->shape.H * q->seq, q);
    linear(b, a, tensor(q, l, "attn.c_proj.weight"), tensor(q, l, "attn.c_proj.bias"), n, C, C);
    for (int64_t e = 0; e < n * C; e++) x[e] += q->mask[DD_SITE_PROJ][l * n * C + e] * b[e];
    layernorm(a, x, tensor(q, l, "ln_2.weight"), tensor(q, l, "ln_2.bias"), n, C);
    linear(b, a, tensor(q, l, "mlp.c_fc.weight"), tensor(q, l, "mlp.c_fc.bias"), n, C, 4 * C);
    for (int64_t e = 0; e < n * 4 * C; e++) c[e] = 0.5 * b[e] * erfc(-b[e] * M_SQRT1_2);
    linear(b, c, tensor(q, l, "mlp.c_proj.weight"), tensor(q, l, "mlp.c_proj.bias"), n, 4 * C, C);
    for (int64_t e = 0; e < n * C; e++) x[e] += q->mask[DD_SITE_MLP][l * n * C + e] * b[e];
  }
  layernorm(a, x, tensor(q, -1, "ln_f.weight"), tensor(q, -1, "ln_f.bias"), n, C);
  linear(b, a, wte, NULL, n, C, V);
  double total = 0;
  for (int64_t r = 0; r < n; r++) {
    double sum = 0;
    for (int64_t j = 0; j < V; j++) sum += exp(b[r * V + j]);
    total += log(sum) - b[r * V + out[r]];
  }
  return total / (double)n;
}

/* Factors of every element at a site, row numbers from the first sequence of the micro-batch on. */
static const double *mask_of(enum dd_site site, const dd_dropout_rates *p, const dd_shape *s, int64_t batch,
                             int64_t seq, int64_t micro, int64_t step) {
  const int64_t rows = batch * seq * (site == DD_SITE_ATTN ? s->H : 1), cols = site == DD_SITE_ATTN ? seq : s->C;
  const int64_t layers = site == DD_SITE_EMBED ? 1 : s->L;
  double *mask = doubles(layers * rows * cols);
  dd_drop d = {.c1 = (uint32_t)(micro * rows), .c3 = (uint32_t)step};
  for (int64_t e = 0; e < layers * rows * cols; e++) {
    const int64_t layer = e / (rows * cols);
    const double factor = p->depth && site != DD_SITE_EMBED ? p->depth[layer] : 1;
    d.threshold = (uint32_t)floor(p->site[site] * factor * 65536 + 0.5);
    d.c2 = (uint32_t)layer << 8 | (uint32_t)site; /* purpose 0 */
    mask[e] = kept(&d, e / cols % rows, e % cols) ? 65536.0 / (65536 - d.threshold) : 0;
  }
  return mask;
}

/* ---- gradients ---- */

/* tree[i] + x must give x for every x, -0 too, so that grad is that of the last micro-batch alone. */
static void empty_tree(dd_model *m) {
  for (int i = 0; m->tree[i]; i++)
    for (int64_t e = 0; e < m->layout.floats; e++) m->tree[i][e] = -0.f;
}

typedef struct gradient_case {
  int bias;
  const dd_dropout_rates *rates;
  int64_t accumulation, micro, step;
} gradient_case;

static void gradient(const gradient_case *g) {
  dd_shape shape = small;
  shape.bias = g->bias;
  CASE("gradient: bias %d, dropout %g..%s, micro-batch %d of %d, step %d", g->bias, g->rates->site[0],
       !g->rates->depth ? "" : g->rates->depth[0] ? " falling" : " rising", (int)g->micro,
       (int)g->accumulation, (int)g->step);
  dd_model *first = NULL;
  double loss, loss_first = 0;
  for (int t = 0; t < team_count; t++) { /* sizes smaller than the model was made for */
    dd_model *m = create(&shape, B + 1, T + 1, g->accumulation, teams[t]);
    empty_tree(m);
    dd_model_forward_backward(m, ids, targets, B, T, g->micro, g->step, g->rates, &loss);
    if (t == 0) {
      first = m;
      loss_first = loss;
      continue;
    }
    if (memcmp(&loss, &loss_first, sizeof loss) || memcmp(m->grad, first->grad, (size_t)m->layout.floats * 4))
      fail_msg("%s: other bits in tier %s on %d threads", where, dd_team_kernels(teams[t])->tier,
               dd_team_threads(teams[t]));
    dd_model_destroy(m);
  }
  double *flat = widen(first->param, first->layout.floats);
  gpt q = {.l = &first->layout, .flat = flat, .batch = B, .seq = T};
  for (int s = 0; s < DD_SITES; s++) q.mask[s] = mask_of((enum dd_site)s, g->rates, &shape, B, T, g->micro, g->step);
  const double want_loss = loss_double(&q, ids, targets), h = 2e-5;
  if (!(fabs(loss_first / want_loss - 1) < 2e-7))
    fail_msg("%s: loss %.12g, in double %.12g", where, loss_first, want_loss);
  for (int i = 0; i < first->layout.count; i++) {
    const dd_tensor *t = first->layout.tensors + i;
    double *want = doubles(t->size);
    for (int64_t e = 0; e < t->size; e++) {
      double *x = flat + t->offset + e;
      const double keep = *x;
      *x = keep + h;
      const double above = loss_double(&q, ids, targets);
      *x = keep - h;
      want[e] = (above - loss_double(&q, ids, targets)) / (2 * h * (double)g->accumulation);
      *x = keep;
    }
    const double top = largest(want, t->size);
    if (!(top > 1e-4)) fail_msg("%s: no gradient in %s", where, t->name);
    near(t->name, first->grad + t->offset, want, NULL, top, t->size, 100);
  }
  dd_model_destroy(first);
  end_case();
}
static void test_gradient(void **state) {
  (void)state;
  static const gradient_case cases[] = {
      {1, &no_rates, 1, 0, 0},       {0, &rates, 1, 0, 4000000000}, {1, &rates, 3, 2, 17},
      {1, &attention_only, 1, 0, 1}, {0, &rising, 1, 0, 2},         {1, &falling, 1, 0, 3}};
  for (int i = 0; i < COUNT(cases); i++) gradient(&cases[i]);
  end_test("gradient");
}

/* ---- micro-batches ---- */

/* The tree of the contract: aligned groups of powers of two, the left one first. */
static void tree_sum(float *out, float *const *leaf, int64_t from, int64_t n, int64_t floats_) {
  if (n == 1) {
    memcpy(out, leaf[from], (size_t)floats_ * 4);
    return;
  }
  int64_t left = 1;
  while (2 * left < n) left *= 2;
  float *right = malloc((size_t)floats_ * 4);
  tree_sum(out, leaf, from, left, floats_);
  tree_sum(right, leaf, from + left, n - left, floats_);
  for (int64_t e = 0; e < floats_; e++) out[e] += right[e];
  free(right);
}
static void accumulation(int64_t G, const dd_team *like) {
  dd_model *m = create(&small, B, T, G, like), *whole = create(&small, B * G, T, 1, like);
  const int64_t n = m->layout.floats;
  float *leaf[MAX_G], *want = floats(n), *got = floats(n);
  double loss = 0, sum = 0, loss_whole;
  CASE("%d micro-batches, tier %s, %d threads", (int)G, dd_team_kernels(like)->tier, dd_team_threads(like));
  for (int64_t i = 0; i < G; i++) { /* in the order of a step, with evaluations between, as a run may do */
    dd_model_forward_backward(m, ids + i * N, targets + i * N, B, T, i, 3, &rates, &loss);
    sum += loss / (double)G;
    double other[N];
    dd_model_losses(m, ids + N, targets, B, T, other);
  }
  memcpy(got, m->grad, (size_t)n * 4);
  for (int64_t i = 0; i < G; i++) {
    empty_tree(m);
    dd_model_forward_backward(m, ids + i * N, targets + i * N, B, T, i, 3, &rates, &loss);
    leaf[i] = floats(n);
    memcpy(leaf[i], m->grad, (size_t)n * 4);
  }
  tree_sum(want, leaf, 0, G, n);
  same_bits("folded gradient", got, want, n);
  if (G > 1 && !memcmp(leaf[0], leaf[1], (size_t)n * 4))
    fail_msg("%s: two micro-batches have the same gradient", where);

  dd_model_forward_backward(whole, ids, targets, B * G, T, 0, 3, &rates, &loss_whole);
  if (!(fabs(loss_whole / sum - 1) < 1e-14))
    fail_msg("%s: loss %.17g, of the whole batch %.17g", where, sum, loss_whole);
  for (int i = 0; i < m->layout.count; i++) {
    const dd_tensor *t = m->layout.tensors + i;
    const double *big = widen(whole->grad + t->offset, t->size);
    near(t->name, got + t->offset, big, NULL, largest(big, t->size), t->size, 40);
  }
  dd_model_destroy(m);
  dd_model_destroy(whole);
  end_case();
}
static void test_accumulation(void **state) {
  (void)state;
  static const int counts[] = {1, 2, 3, 5, 6, 7, 8};
  for (int i = 0; i < COUNT(counts); i++)
    for (int t = 0; t < team_count; t += 3) accumulation(counts[i], teams[t]); /* with 1, 7, 3, 2 threads .. */
  end_test("accumulation");
}

/* ---- slices ---- */

/* A micro-batch in slices of every size, with and without computing again on the way back: loss, gradient and the
 * losses of an evaluation are those of the micro-batch as a whole. */
static void slices(int64_t batch, int64_t seq, int64_t expected, const dd_team *like) {
  const dd_shape shape = {.L = 2, .H = 2, .C = 12, .S = 40, .V = 11, .bias = 1};
  const int64_t n_tok = batch * seq;
  int32_t *x = malloc((size_t)n_tok * 4), *y = malloc((size_t)n_tok * 4);
  uint64_t s = 77;
  for (int64_t i = 0; i < n_tok; i++) x[i] = (int32_t)rnd_below(&s, shape.V), y[i] = (int32_t)rnd_below(&s, shape.V);
  float *want = NULL;
  double want_loss = 0, *want_eval = doubles(n_tok), *eval = doubles(n_tok);
  int64_t seen = 0, last = 0;
  for (int64_t slice = batch; slice >= 1; slice--) /* the whole first */
    for (int recompute = 0; recompute < 2; recompute++) {
      const dd_model_options o = {.shape = shape,
                                  .B = batch,
                                  .T = seq,
                                  .accumulation = 1,
                                  .slice = slice,
                                  .recompute = recompute,
                                  .train = 1,
                                  .seed = SEED};
      const int64_t got = dd_model_slice(&o, dd_team_threads(like));
      if (got == last && slice != batch) continue;
      CASE("batch %d x %d in slices of %d%s, tier %s, %d threads", (int)batch, (int)seq, (int)got,
           recompute ? ", computed again" : "", dd_team_kernels(like)->tier, dd_team_threads(like));
      if (got < slice || got > batch || (got < batch && got * seq % DD_TOKEN_CHUNK))
        fail_msg("%s: asked for %d", where, (int)slice);
      dd_model *m;
      dd_error err;
      if (dd_model_create(&m, &o, dd_team_kernels(like), dd_team_threads(like), &err)) fail_msg("%s", err.message);
      dd_model_init(m, 0.3);
      double loss;
      for (int round = 0; round < 2; round++) /* the second begins with what the first left in every buffer */
        dd_model_forward_backward(m, x, y, batch, seq, 0, 5, &rates, &loss);
      dd_model_losses(m, x, y, batch, seq, eval);
      if (!want) {
        want = floats(m->layout.floats);
        memcpy(want, m->grad, (size_t)m->layout.floats * 4);
        memcpy(want_eval, eval, (size_t)n_tok * sizeof *eval);
        want_loss = loss;
      }
      same_bits("gradient", m->grad, want, m->layout.floats);
      if (memcmp(&loss, &want_loss, sizeof loss)) fail_msg("%s: loss %.17g, not %.17g", where, loss, want_loss);
      if (memcmp(eval, want_eval, (size_t)n_tok * sizeof *eval)) fail_msg("%s: other evaluation losses", where);
      dd_model_destroy(m);
      if (recompute) last = got, seen++;
    }
  if (seen != expected)
    fail_msg("%d sizes of slices for %d x %d, not %d", (int)seen, (int)batch, (int)seq, (int)expected);
  free(x);
  free(y);
  end_case();
}
static void test_slices(void **state) {
  (void)state;
  for (int t = 0; t < team_count; t++) {
    slices(20, 32, 3, teams[t]); /* 20, 16 and 8 sequences */
    slices(67, 12, 2, teams[t]); /* 67 and 64 */
  }
  slices(5, 37, 1, teams[0]); /* no whole chunks: always all of it */
}

/* ---- evaluation ---- */

static void test_losses(void **state) {
  (void)state;
  enum { ALL = 6 };
  double want[ALL * T], got[ALL * T], gpt_loss = 0;
  for (int t = 0; t < team_count; t++) {
    dd_model *m = create(&small, ALL, T, 1, teams[t]);
    CASE("losses, tier %s, %d threads", dd_team_kernels(teams[t])->tier, dd_team_threads(teams[t]));
    static const int splits[][ALL] = {{6}, {1, 1, 1, 1, 1, 1}, {4, 2}, {1, 5}, {3, 3}};
    for (int s = 0; s < COUNT(splits); s++) {
      double *out = t || s ? got : want;
      for (int i = 0, at = 0; i < ALL && splits[s][i]; at += splits[s][i++])
        dd_model_losses(m, ids + at * T, targets + at * T, splits[s][i], T, out + at * T);
      if (memcmp(want, out, sizeof want)) fail_msg("%s: split %d gives other bits", where, s);
    }
    for (int64_t e = 0; e < m->layout.floats; e++)
      if (m->grad[e] != 0) fail_msg("%s: evaluation wrote gradients", where);
    if (t == 0) { /* masks without dropout are all ones */
      gpt q = {.l = &m->layout, .flat = widen(m->param, m->layout.floats), .batch = ALL, .seq = T};
      for (int s = 0; s < DD_SITES; s++) q.mask[s] = mask_of((enum dd_site)s, &no_rates, &small, ALL, T, 0, 0);
      gpt_loss = loss_double(&q, ids, targets);
    }
    dd_model_logits(m, ids, ALL, T, 0, NULL); /* the same forward pass */
    double mean = 0;
    for (int64_t r = 0; r < ALL * T; r++) {
      double sum = 0;
      for (int64_t j = 0; j < small.V; j++) sum += exp((double)m->logits[r * small.V + j]);
      const double l = log(sum) - (double)m->logits[r * small.V + targets[r]];
      if (!(fabs(l - want[r]) < 2e-6)) fail_msg("%s: loss[%d] %.9g, of the logits %.9g", where, (int)r, want[r], l);
      mean += want[r] / (ALL * T);
    }
    if (!(fabs(mean / gpt_loss - 1) < 2e-7)) fail_msg("%s: mean loss %.9g, in double %.9g", where, mean, gpt_loss);
    dd_model_destroy(m);
  }
  end_case();
}

/* ---- AdamW (Loshchilov & Hutter 2019) with clipping, in double ---- */

static void test_update(void **state) {
  (void)state;
  const dd_update u = {.lr = 3e-3, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .weight_decay = 0.1, .clip = 1};
  dd_model *m = create(&small, B, T, 1, teams[team_count - 1]);
  const int64_t n = m->layout.floats;
  double *p = widen(m->param, n), *mean = doubles(n), *var = doubles(n);
  memset(mean, 0, (size_t)n * 8), memset(var, 0, (size_t)n * 8);
  for (int step = 1; step <= 4; step++) {
    double sum = 0, loss;
    CASE("update %d", step);
    dd_model_forward_backward(m, ids + step * N, targets + step * N, B, T, 0, step, &rates, &loss);
    for (int64_t e = 0; e < n; e++) m->grad[e] *= step == 3 ? 1e-3f : 5.f; /* below and above the clip */
    for (int64_t e = 0; e < n; e++) sum += (double)m->grad[e] * (double)m->grad[e];
    const double norm = dd_model_grad_norm(m), factor = fmin(1, u.clip / (norm + 1e-6));
    if (!(fabs(norm / sqrt(sum) - 1) < 1e-13)) fail_msg("norm %.17g, not %.17g", norm, sqrt(sum));
    assert_true((factor < 1) == (step != 3));
    dd_model_update(m, &u, norm);
    for (int i = 0; i < m->layout.count; i++) {
      const dd_tensor *t = m->layout.tensors + i;
      for (int64_t e = t->offset; e < t->offset + t->size; e++) {
        const double g = (double)m->grad[e] * factor;
        mean[e] = u.beta1 * mean[e] + (1 - u.beta1) * g;
        var[e] = u.beta2 * var[e] + (1 - u.beta2) * g * g;
        p[e] *= 1 - (t->cols ? u.lr * u.weight_decay : 0);
        p[e] -= u.lr * (mean[e] / (1 - pow(u.beta1, step))) / (sqrt(var[e] / (1 - pow(u.beta2, step))) + u.eps);
      }
      const double *p_t = p + t->offset, *mean_t = mean + t->offset, *var_t = var + t->offset;
      near(t->name, m->param + t->offset, p_t, NULL, 1 + largest(p_t, t->size), t->size, 2);
      near("first moment", m->m + t->offset, mean_t, NULL, largest(mean_t, t->size), t->size, 4);
      near("second moment", m->v + t->offset, var_t, NULL, largest(var_t, t->size), t->size, 8);
    }
    for (int64_t e = 0; e < n; e++) p[e] = (double)m->param[e]; /* errors do not add up */
  }
  assert_int_equal(m->update, 4);
  dd_model_destroy(m);
  end_case();
  end_test("update");
}

/* ---- memory ---- */

static void one_step(dd_model *m, int64_t step) {
  double loss, losses[N];
  for (int64_t g = 0; g < m->o.accumulation; g++)
    dd_model_forward_backward(m, ids, targets, B, T, g, step, &rates, &loss);
  dd_model_update(m, &(dd_update){.lr = 1e-3, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .clip = 1},
                  dd_model_grad_norm(m));
  dd_model_losses(m, ids, targets, B, T, losses);
  dd_model_logits(m, ids, B, T, step, &rates);
  dd_model_pack(m);
}
static void test_no_allocation(void **state) {
  (void)state;
  if (!__real_malloc || !__real_calloc || !__real_mmap) {
    printf("  skipped: linked without -Wl,--wrap=malloc and so on (see the head of this file)\n");
    skip();
  }
  for (int t = 0; t < team_count; t++) {
    const int before = allocations;
    dd_model *m = create(&small, B, T, 3, teams[t]);
    if (allocations - before < 6)
      fail_msg("creating a model counts as %d allocations: is anything counted?", allocations - before);
    one_step(m, 0);
    const int after_first = allocations;
    for (int64_t step = 1; step < 4; step++) one_step(m, step);
    if (allocations != after_first)
      fail_msg("%d allocations in three steps after the first, tier %s, %d threads", allocations - after_first,
               dd_team_kernels(teams[t])->tier, dd_team_threads(teams[t]));
    dd_model_destroy(m);
  }
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_gradient), cmocka_unit_test(test_accumulation), cmocka_unit_test(test_slices),
      cmocka_unit_test(test_losses),   cmocka_unit_test(test_update),       cmocka_unit_test(test_no_allocation),
  };
  uint64_t s = 2024;
  for (int i = 0; i < COUNT(ids); i++)
    ids[i] = (int32_t)rnd_below(&s, small.V), targets[i] = (int32_t)rnd_below(&s, small.V);
  print_tiers();
  if (argc > 1) cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, make_teams, drop_teams);
}
