/* Whole-model reference cases: `test_golden FILE...` checks logits, loss, gradients, gradient norm and parameters after
 * 1 and 3 updates of each file against the engine and prints the worst relative error per kind. The files come from a
 * float64 computation with the masks of the randomness contract; a file describes itself (its __metadata__).
 * Errors are relative to the largest magnitude of each tensor. Options: --tier NAME (status 77 where it cannot
 * run), --threads N.
 *
 * Updated parameters have a second allowance. AdamW's first step is lr g / (|g| + eps): where the true gradient is
 * about eps or below (the gradient of the key bias is 0 in exact arithmetic), it magnifies any float32 rounding of g up
 * to lr. So each element may also differ by what its update changes when g moves by GRAD_NOISE of the tensor's largest
 * gradient, once per update. The raw error is printed beside the judged one. */
#include "core/machine.h"
#include "model/model.h"
#include "model/safetensors.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double TENSOR_BOUND = 1e-5, LOSS_BOUND = 1e-6, GRAD_NOISE = 1e-6;

enum kind { LOGITS, LOSS, GRAD, NORM, STEP1, STEP3, KINDS };
static const char *const kind_name[KINDS] = {"logits", "loss", "grad", "grad_norm", "step1", "step3"};
typedef struct worst {
  double error[KINDS], raw[KINDS];
  char where[KINDS][600];
  int seen[KINDS];
} worst;

static dd_error err;

static void note(worst *w, enum kind k, double e, const char *where) {
  w->seen[k]++;
  if (w->seen[k] > 1 && !(e > w->error[k]) && !isnan(e)) return;
  w->error[k] = e;
  snprintf(w->where[k], sizeof w->where[k], "%s", where);
}

static double number(dd_st *st, const char *key) {
  const char *s = dd_st_meta(st, key);
  if (!s) {
    printf("missing setting '%s' in the metadata\n", key);
    exit(1);
  }
  if (strcmp(s, "true") == 0) return 1;
  return strcmp(s, "false") == 0 ? 0 : strtod(s, NULL);
}

/* Tensor of that name with exactly n elements, as malloc'd bytes. */
static void *load(dd_st *st, const char *name, dd_dtype type, int64_t n) {
  const dd_tensor_info *t = dd_st_find(st, name);
  const size_t bytes = (size_t)n * dd_dtype_size(type);
  void *p = malloc(bytes ? bytes : 1);
  if (!t || t->dtype != type || !p || dd_st_read(st, t, p, bytes, &err)) {
    printf("tensor '%s': %s\n", name, t ? (t->dtype == type ? err.message : "wrong type") : "missing");
    exit(1);
  }
  return p;
}

static double relative(const float *got, const float *want, int64_t n) {
  double top = 0, diff = 0;
  for (int64_t i = 0; i < n; i++) {
    const double d = fabs((double)got[i] - want[i]);
    if (isnan(d)) return NAN;
    if (fabs((double)want[i]) > top) top = fabs((double)want[i]);
    if (d > diff) diff = d;
  }
  return diff == 0 ? 0 : diff / top;
}

/* Change of Adam's first step (without lr) when the gradient g moves by at most d. */
static double adam_slack(double g, double d) {
  const double u = g / (fabs(g) + 1e-8), a = (g + d) / (fabs(g + d) + 1e-8), b = (g - d) / (fabs(g - d) + 1e-8);
  return fmax(fabs(a - u), fabs(b - u));
}

/* Parameters after `updates` updates; grad_scale: clipping factor of the first. */
static void compare_params(dd_st *st, const dd_model *m, const char *prefix, enum kind k, double grad_scale, double lr,
                           int updates, worst *w) {
  for (int i = 0; i < m->layout.count; i++) {
    const dd_tensor *t = m->layout.tensors + i;
    char name[128];
    snprintf(name, sizeof name, "%s/%s", prefix, t->name);
    float *want = load(st, name, DD_F32, t->size);
    const float *got = m->param + t->offset;
    char gname[128];
    snprintf(gname, sizeof gname, "grad/%s", t->name);
    float *grad = load(st, gname, DD_F32, t->size);
    double top = 0, g_top = 0, judged = 0;
    for (int64_t e = 0; e < t->size; e++) {
      const double a = fabs((double)want[e]), g = fabs(grad[e] * grad_scale);
      if (a > top) top = a;
      if (g > g_top) g_top = g;
    }
    for (int64_t e = 0; e < t->size; e++) {
      const double d = fabs((double)got[e] - want[e]);
      const double left = d - updates * lr * adam_slack(grad[e] * grad_scale, GRAD_NOISE * g_top);
      if (isnan(d) || left > judged) judged = isnan(d) ? NAN : left;
    }
    const double raw = relative(got, want, t->size);
    if (!(raw <= w->raw[k])) w->raw[k] = raw;
    note(w, k, judged / top, name);
    free(want);
    free(grad);
  }
}

static void compare_flat(dd_st *st, const dd_model *m, const float *flat, const char *prefix, enum kind k, worst *w) {
  for (int i = 0; i < m->layout.count; i++) {
    const dd_tensor *t = m->layout.tensors + i;
    char name[128];
    snprintf(name, sizeof name, "%s/%s", prefix, t->name);
    float *want = load(st, name, DD_F32, t->size);
    note(w, k, relative(flat + t->offset, want, t->size), name);
    free(want);
  }
}

static int check_file(const char *path, const dd_kernels *k, int threads) {
  dd_st *st;
  if (dd_st_open(path, &st, &err)) {
    printf("%s: %s\n", path, err.message);
    return 1;
  }
  const int64_t B = (int64_t)number(st, "batch_size"), T = (int64_t)number(st, "seq_len");
  dd_model_options o = {.B = B, .T = T, .accumulation = 1, .train = 1};
  o.shape = (dd_shape){.L = (int64_t)number(st, "n_layer"), .H = (int64_t)number(st, "n_head"),
                       .C = (int64_t)number(st, "n_embd"), .S = (int64_t)number(st, "block_size"),
                       .V = (int64_t)number(st, "vocab_size"), .bias = number(st, "bias") != 0};
  const char *seed = dd_st_meta(st, "seed");
  o.seed = seed ? strtoull(seed, NULL, 10) : 0;
  const double p = number(st, "dropout");
  const dd_dropout_rates rates = {.site = {p, p, p, p}};
  const dd_update u = {.lr = number(st, "lr"), .beta1 = number(st, "beta1"), .beta2 = number(st, "beta2"), .eps = 1e-8,
                       .weight_decay = number(st, "weight_decay"), .clip = number(st, "grad_clip")};
  dd_model *m;
  if (dd_model_create(&m, &o, k, threads, &err)) {
    printf("%s: %s\n", path, err.message);
    return 1;
  }
  for (int i = 0; i < m->layout.count; i++) {
    const dd_tensor *t = m->layout.tensors + i;
    char name[128];
    snprintf(name, sizeof name, "param/%s", t->name);
    float *v = load(st, name, DD_F32, t->size);
    memcpy(m->param + t->offset, v, (size_t)t->size * sizeof *v);
    free(v);
  }
  dd_model_params_changed(m);

  worst w = {0};
  double scale = 1;
  int32_t *idx = load(st, "idx", DD_I32, B * T), *targets = load(st, "targets", DD_I32, B * T);
  double *loss = load(st, "loss", DD_F64, 3), *norm = load(st, "grad_norm", DD_F64, 3);
  float *logits = load(st, "logits", DD_F32, B * T * o.shape.V);
  dd_model_logits(m, idx, B, T, 0, &rates);
  note(&w, LOGITS, relative(m->logits, logits, B * T * o.shape.V), "logits");
  for (int step = 0; step < 3; step++) {
    char where[32];
    double l;
    dd_model_forward_backward(m, idx, targets, B, T, 0, step, &rates, &l);
    snprintf(where, sizeof where, "step %d", step);
    note(&w, LOSS, fabs(l - loss[step]) / fabs(loss[step]), where);
    if (step == 0) compare_flat(st, m, m->grad, "grad", GRAD, &w);
    const double n = dd_model_grad_norm(m);
    note(&w, NORM, fabs(n - norm[step]) / fabs(norm[step]), where);
    if (step == 0 && u.clip > 0) scale = fmin(1, u.clip / (norm[0] + 1e-6));
    dd_model_update(m, &u, n);
    if (step == 0) compare_params(st, m, "step1", STEP1, scale, u.lr, 1, &w);
    if (step == 2) compare_params(st, m, "step3", STEP3, scale, u.lr, 3, &w);
  }

  int bad = 0;
  const char *slash = strrchr(path, '/');
  printf("%s (%s, %d threads)\n", slash ? slash + 1 : path, k->tier, threads);
  for (int i = 0; i < KINDS; i++) {
    const double bound = i == LOSS ? LOSS_BOUND : TENSOR_BOUND;
    const int fail = !w.seen[i] || !(w.error[i] <= bound);
    printf("  %-10s worst relative error %9.3g  bound %g  %s", kind_name[i], w.error[i], bound, w.where[i]);
    if (i == STEP1 || i == STEP3) printf("  (raw %.3g)", w.raw[i]);
    printf("%s\n", fail ? "  FAILED" : "");
    bad |= fail;
  }
  free(idx), free(targets), free(loss), free(norm), free(logits);
  dd_model_destroy(m);
  dd_st_close(st);
  return bad;
}

int main(int argc, char **argv) {
  const dd_kernels *k = NULL;
  const char *tier = NULL;
  char why[128];
  int threads = 2, bad = 0, files = 0;
  for (int i = 1; i + 1 < argc; i++) {
    if (strcmp(argv[i], "--tier") == 0) tier = argv[i + 1];
    if (strcmp(argv[i], "--threads") == 0) threads = atoi(argv[i + 1]);
  }
  for (int i = 0, runs; tier && (k = dd_tier_at(i, &runs)); i++)
    if (strcmp(k->tier, tier) == 0 && !runs) {
      printf("skipped: this processor cannot run tier %s\n", tier);
      return 77;
    }
  if (dd_tier_select(tier, &k, why, sizeof why, &err) || dd_self_test(k, &err)) {
    printf("%s\n", err.message);
    return 1;
  }
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--tier") == 0 || strcmp(argv[i], "--threads") == 0) {
      i++;
      continue;
    }
    files++;
    bad += check_file(argv[i], k, threads);
  }
  if (!files) printf("usage: test_golden [--tier NAME] [--threads N] FILE...\n");
  else printf("%d passed, %d failed\n", files - bad, bad);
  return bad || !files;
}
