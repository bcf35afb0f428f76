/* dd_gpt, the engine as an object: a run driven through it has the bits of dd_train whatever the steps it is driven
 * in, checkpoints go from one to the other; schedules that are C functions; tokens, batches, rates of the caller's. */
#include "gpt_fixture.h"
#include "run/rundir.h"
#include <pthread.h>

/* ---- the same bits ---- */

static void test_same_bits(void **state) {
  static const char *const cases[][6] = {{"schedule", "linear", NULL},
                                         {"schedule", "val-loss", "dropout_step", "0.05", NULL},
                                         {"schedule", "gap", "gradient_accumulation_steps", "3", NULL},
                                         {"dropout_attn", "late", "outlier_sigma", "1", NULL}};
  (void)state;
  for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
    const char *const *o = cases[c];
    char expected[33];
    OK(train(at("plain"), 0, expected, &err, o[0], o[1], o[2], o[2] ? o[3] : NULL, NULL));
    for (int chunk = 0; chunk <= T + 5; chunk = chunk ? chunk * 6 + 1 : 1) {
      dd_gpt *g = gpt(make(NULL, o[0], o[1], o[2], o[2] ? o[3] : NULL, NULL), NULL);
      dd_train_result r;
      int calls = 0;
      do {
        OK(dd_gpt_train(g, chunk ? chunk : -1, &r, &err));
        dd_eval_record e;
        OK(dd_gpt_evaluate(g, &e, &err)); /* looking changes nothing */
        assert_int_equal(e.iter, r.iter);
      } while (r.iter < T && ++calls < 100);
      assert_string_equal(r.fingerprint, expected);
      assert_string_equal(print_of(g), expected);
      const double loss = r.final_loss;
      OK(dd_gpt_train(g, 1, &r, &err)); /* there is nothing left but, after whole chunks, the last loss */
      OK(dd_gpt_train(g, 5, &r, &err));
      assert_string_equal(r.fingerprint, expected);
      assert_true(isfinite(r.final_loss) && isfinite(loss));
      OK(dd_gpt_close(g, &err));
    }
  }
}

/* With a run directory: the files of dd_train, records once and in order. */
static void test_run_directory(void **state) {
  (void)state;
  char expected[33], hex[33], kinds[2][8192];
  OK(train(at("a"), 0, expected, &err, "schedule", "val-loss", "log_interval", "5", NULL));
  dd_gpt *g = gpt(make(NULL, "schedule", "val-loss", "log_interval", "5", "out", at("b"), NULL), NULL);
  for (int i = 0; i < 3; i++) OK(dd_gpt_train(g, 10, NULL, &err));
  FAILS(DD_E_USAGE, "resume", dd_gpt_load(g, at("a"), &err));
  OK(dd_gpt_save(g, NULL, &err));
  OK(dd_gpt_close(g, &err));
  dd_settings *s = make(NULL, "resume", "true", "overwrite", "false", NULL);
  FAILS(DD_E_USAGE, "need `out`", dd_gpt_create(&g, s, NULL, &err));
  dd_settings_destroy(s);
  /* one stop, and the rest by the same function */
  g = gpt(make(NULL, "schedule", "val-loss", "log_interval", "5", "out", at("b"), "overwrite", "false", "resume",
               "true", NULL), NULL);
  OK(dd_gpt_train(g, 3, NULL, &err));
  OK(dd_gpt_train(g, -1, NULL, &err));
  OK(dd_gpt_close(g, &err));
  OK(train(at("b"), 1, hex, &err, NULL));
  assert_string_equal(hex, expected);
  for (int i = 0; i < 2; i++) {
    size_t n;
    char *text = slurp(at(i ? "b/metrics.jsonl" : "a/metrics.jsonl"), &n), *p = text;
    *kinds[i] = '\0';
    while (p < text + n) {
      char *end = memchr(p, '\n', n - (size_t)(p - text));
      json_t *o = json_loadb(p, (size_t)(end - p), 0, NULL);
      const char *type = json_string_value(json_object_get(o, "type"));
      const size_t used = strlen(kinds[i]);
      if (strcmp(type, "config") != 0)
        snprintf(kinds[i] + used, sizeof *kinds - used, "%s %d %.17g %s\n", type,
                 (int)json_integer_value(json_object_get(o, "iter")), json_real_value(json_object_get(o, "dropout")),
                 strcmp(type, "eval") ? "" : json_string_value(json_object_get(o, "fingerprint")));
      json_decref(o);
      p = end + 1;
    }
    free(text);
  }
  assert_string_equal(kinds[0], kinds[1]);
}

/* ---- checkpoints between the two ---- */

static void test_checkpoints(void **state) {
  (void)state;
  char expected[33], hex[33];
  OK(train(at("whole"), 0, expected, &err, "schedule", "val-loss", "checkpoint_interval", "1", NULL));
  for (int it = 3; it < T; it += 12) {
    char name[64];
    snprintf(name, sizeof name, "whole/ckpt-%07d.safetensors", it);
    dd_gpt *g = gpt(make(NULL, "schedule", "val-loss", "threads", "2", NULL), NULL);
    dd_train_result r;
    OK(dd_gpt_train(g, 7, NULL, &err)); /* what was before is gone */
    OK(dd_gpt_load(g, at(name), &err));
    OK(dd_gpt_train(g, -1, &r, &err));
    assert_string_equal(r.fingerprint, expected);
    OK(dd_gpt_close(g, &err));

    g = gpt(make(NULL, "schedule", "val-loss", NULL), NULL);
    OK(dd_gpt_train(g, it, NULL, &err));
    remove_tree(at("taken"));
    OK(dd_make_dirs(at("taken"), &err));
    snprintf(name, sizeof name, "taken/ckpt-%07d.safetensors", it);
    OK(dd_gpt_save(g, at(name), &err));
    OK(dd_gpt_close(g, &err));
    OK(train(at("taken"), 1, hex, &err, NULL));
    assert_string_equal(hex, expected);
  }
  dd_gpt *g = gpt(make(NULL, "n_embd", "16", NULL), NULL);
  char before[33];
  snprintf(before, sizeof before, "%s", print_of(g));
  FAILS(DD_E_CORRUPT, "another shape", dd_gpt_load(g, at("whole"), &err));
  FAILS(DD_E_IO, "no such file", dd_gpt_load(g, at("nowhere"), &err));
  FAILS(DD_E_USAGE, "name the file", dd_gpt_save(g, NULL, &err));
  FAILS(DD_E_IO, "", dd_gpt_save(g, at("nowhere/x.safetensors"), &err));
  assert_string_equal(print_of(g), before);
  OK(dd_gpt_close(g, &err));
  copy_file(at("text.txt"), at("other.txt"));
  replace_in(at("other.txt"), "e", "t");
  g = gpt(make(NULL, "data", at("other.txt"), NULL), NULL);
  FAILS(DD_E_CORRUPT, "another text", dd_gpt_load(g, at("whole"), &err));
  OK(dd_gpt_close(g, &err));
  g = gpt(make(NULL, "max_iters", "30", NULL), NULL);
  FAILS(DD_E_USAGE, "beyond max_iters", dd_gpt_load(g, at("whole"), &err));
  OK(dd_gpt_close(g, &err));
  OK(dd_gpt_close(NULL, &err));
}

/* ---- a schedule that is a C function ---- */

typedef struct own {
  double (*f)(const dd_rate_query *q);
  long asked, sites;
  char name[64];
} own;
static double ask(void *user, const dd_rate_query *q) {
  own *o = user;
  o->asked++;
  if (q->site >= 0) o->sites |= 1 << q->site;
  snprintf(o->name, sizeof o->name, "%s", q->name);
  assert_true(q->iter >= 0 && q->iter <= q->max_iters);
  return o->f(q);
}
static double line(const dd_rate_query *q) { /* that of schedule linear with p0 = 0.2, pf = 0.05 */
  const double x = (double)q->iter / (double)q->max_iters;
  return q->p0 * (1 - x) + 0.05 * x;
}
static double wild(const dd_rate_query *q) { return q->iter < 20 ? -3 : 7; }
static double bad_at_10(const dd_rate_query *q) { return q->iter == 10 ? NAN : 0.1; }
static double by_losses(const dd_rate_query *q) {
  return isfinite(q->val_loss) ? fmin(0.5, 0.1 * q->val_loss + (q->best_val_loss < q->val_loss ? 0.05 : 0)) : 0.2;
}

static int train_own(const char *out, int resume, own *o, char hex[33], ...) {
  va_list pairs;
  va_start(pairs, hex);
  dd_settings *s = settings_of(out, resume, pairs);
  va_end(pairs);
  const dd_callbacks cb = {.user = o, .rate = o ? ask : NULL};
  dd_train_result r = {0};
  const int rc = dd_train(s, &cb, &r, &err);
  memcpy(hex, r.fingerprint, 33);
  dd_settings_destroy(s);
  return rc;
}

static void test_callback(void **state) {
  (void)state;
  char expected[33], hex[33];
  own o = {.f = line};
  OK(train(at("line"), 0, expected, &err, "schedule", "linear", "dropout_final", "0.05", NULL));
  OK(train_own(at("own"), 0, &o, hex, "schedule", "callback:mine", NULL));
  assert_string_equal(hex, expected);
  assert_string_equal(o.name, "mine");
  assert_true(o.asked > T && !o.sites);
  size_t n;
  char *text = slurp(at("own/config.json"), &n);
  assert_part(text, "\"schedule\": \"callback\"");
  assert_part(text, "\"dropout_callback\": \"mine\"");
  free(text);

  /* sites of their own, each asked for itself */
  OK(train(at("line"), 0, expected, &err, "dropout_attn", "0.3,linear", "dropout_mlp", "linear", "dropout_final",
           "0.05", NULL));
  o = (own){.f = line};
  OK(train_own(at("own"), 0, &o, hex, "dropout_attn", "0.3,callback:attn", "dropout_mlp", "callback:attn", NULL));
  assert_string_equal(hex, expected);
  assert_int_equal(o.sites, 1 << 1 | 1 << 3);

  /* one that reacts, interrupted: the same bits; without it: a sentence, and nothing lost */
  o = (own){.f = by_losses};
  OK(train_own(at("own"), 0, &o, expected, "schedule", "callback:react", "checkpoint_interval", "4", NULL));
  OK(train_own(at("part"), 0, &o, hex, "schedule", "callback:react", "checkpoint_interval", "4", NULL));
  OK(dd_fs()->unlink(at("part/ckpt-0000040.safetensors")));
  OK(dd_fs()->unlink(at("part/ckpt-0000036.safetensors")));
  FAILS(DD_E_USAGE, "here is none", train_own(at("part"), 1, NULL, hex, NULL));
  OK(train_own(at("part"), 1, &o, hex, NULL));
  assert_string_equal(hex, expected);
  /* a replay asks too */
  dd_settings *s = dd_settings_create();
  dd_callbacks cb = {.user = &o, .rate = ask};
  dd_verify_result v;
  OK(dd_settings_set(s, "run", at("part"), &err));
  OK(dd_settings_set(s, "replay", "4..32", &err));
  OK(dd_verify(s, &cb, &v, &err));
  o.f = line;
  assert_int_equal(dd_verify(s, &cb, &v, &err), DD_E_CORRUPT);
  dd_settings_destroy(s);

  o.f = wild; /* clamped, as expressions are */
  OK(train_own(at("own"), 0, &o, hex, "schedule", "callback:wild", "log_interval", "1", NULL));
  text = slurp(at("own/metrics.jsonl"), &n);
  assert_part(text, "\"dropout\":0.0,");
  assert_part(text, "\"dropout\":0.9999");
  free(text);
  o.f = bad_at_10;
  FAILS(DD_E_USAGE, "no number (NaN) at iteration 10",
        train_own(at("own"), 0, &o, hex, "schedule", "callback:bad", NULL));
  FAILS(DD_E_USAGE, "no schedule asks", train_own(at("own"), 0, &o, hex, "schedule", "linear", NULL));
  FAILS(DD_E_USAGE, "here is none", train_own(at("own"), 0, NULL, hex, "schedule", "callback:x", NULL));
  FAILS(DD_E_USAGE, "needs an argument", train_own(at("own"), 0, &o, hex, "schedule", "callback", NULL));
  s = dd_settings_create();
  FAILS(DD_E_USAGE, "letters", dd_settings_set(s, "schedule", "callback:a b", &err));
  dd_settings_destroy(s);
}

/* ---- tokens of the caller's ---- */

enum { V = 7 };
static uint16_t tokens[3000];
static void fill_tokens(void) {
  uint32_t x = 7;
  for (int i = 0; i < 3000; i++) x = x * 1664525u + 1013904223u, tokens[i] = (uint16_t)((x >> 24) * (x >> 24) / 9300);
  tokens[5] = V - 1;
}

static void test_tokens(void **state) {
  (void)state;
  dd_gpt *g;
  char expected[33], hex[33];
  dd_train_result r;
  fill_tokens();
  OK(dd_make_dirs(at("dir"), &err));
  put(at("dir/train.bin"), tokens, 2000 * sizeof *tokens);
  put(at("dir/val.bin"), tokens + 2000, 1000 * sizeof *tokens);
  OK(train(at("run"), 0, expected, &err, "data", at("dir"), NULL));
  dd_settings *s = make(NULL, NULL);
  dd_settings *fresh = dd_settings_create();
  char value[4200];
  static const char *const keys[] = {"n_layer", "n_head", "n_embd", "block_size", "batch_size", "max_iters", "threads",
                                     "warmup_iters", "eval_interval", "eval_iters", "lr", "min_lr", "dropout",
                                     "init_std", NULL};
  for (int i = 0; keys[i]; i++) { /* without `data` */
    OK(dd_settings_get(s, keys[i], value, sizeof value, &err));
    OK(dd_settings_set(fresh, keys[i], value, &err));
  }
  OK(dd_gpt_create_from_tokens(&g, fresh, tokens, 2000, tokens + 2000, 1000, V, NULL, &err));
  dd_gpt_info info;
  dd_gpt_describe(g, &info);
  assert_true(info.vocab_size == V && info.train_tokens == 2000 && info.val_tokens == 1000 && info.trains == 1);
  OK(dd_gpt_train(g, 11, NULL, &err));
  OK(dd_make_dirs(at("own"), &err));
  remove_tree(at("own"));
  OK(dd_make_dirs(at("own"), &err));
  OK(dd_gpt_save(g, at("own/ckpt-0000011.safetensors"), &err));
  OK(dd_gpt_train(g, -1, &r, &err));
  assert_string_equal(r.fingerprint, expected);
  OK(dd_gpt_close(g, &err));
  assert_int_equal(train(at("own"), 1, hex, &err, NULL), DD_E_USAGE);
  assert_part(err.message, "name a directory");
  OK(train(at("own"), 1, hex, &err, "data", at("dir"), NULL));
  assert_string_equal(hex, expected);
  FAILS(DD_E_USAGE, "vocabulary has only 3",
        dd_gpt_create_from_tokens(&g, fresh, tokens, 2000, tokens, 1000, 3, NULL, &err));
  assert_null(g);
  FAILS(DD_E_USAGE, "1 to 65535", dd_gpt_create_from_tokens(&g, fresh, tokens, 20, tokens, 10, 65536, NULL, &err));
  FAILS(DD_E_USAGE, "at least 2", dd_gpt_create_from_tokens(&g, fresh, tokens, 20, tokens, 1, V, NULL, &err));
  FAILS(DD_E_USAGE, "too few", dd_gpt_create_from_tokens(&g, fresh, tokens, 8, tokens, 10, V, NULL, &err));
  dd_settings_destroy(s);
  dd_settings_destroy(fresh);
}

/* ---- by hand ---- */

static void test_by_hand(void **state) {
  (void)state;
  char hex[33], expected[33];
  dd_train_result r;
  /* A rate and a learning rate that the settings could have had give the bits they would have given. */
  OK(train(at("plain"), 0, expected, &err, "schedule", "late", "dropout_cutoff", "0.5", "decay_lr", "false", NULL));
  dd_gpt *g = gpt(make(NULL, NULL), NULL);
  OK(dd_gpt_set_dropout(g, NULL, 0, &err));
  OK(dd_gpt_set_lr(g, 3e-3, &err));
  OK(dd_gpt_train(g, T / 2, NULL, &err));
  for (int i = 0; i < 4; i++)
    OK(dd_gpt_set_dropout(g, (const char *const[]){"embed", "attn", "proj", "mlp"}[i], 0.2, &err));
  OK(dd_gpt_train(g, 5, NULL, &err));
  OK(dd_gpt_set_dropout(g, NULL, NAN, &err)); /* fixed 0.2 */
  remove_tree(at("hand"));
  OK(dd_make_dirs(at("hand"), &err));
  OK(dd_gpt_save(g, at("hand/ckpt-0000025.safetensors"), &err));
  OK(dd_gpt_train(g, -1, &r, &err));
  assert_string_equal(r.fingerprint, expected);
  FAILS(DD_E_USAGE, "not 1", dd_gpt_set_dropout(g, NULL, 1, &err));
  FAILS(DD_E_USAGE, "'head'", dd_gpt_set_dropout(g, "head", 0.1, &err));
  FAILS(DD_E_USAGE, "at least 0", dd_gpt_set_lr(g, -1, &err));
  /* such a run is no run of its settings, */
  assert_int_equal(train(at("hand"), 1, hex, &err, NULL), DD_E_USAGE);
  assert_part(err.message, "set its learning rate by hand");
  /* but the library goes on with it */
  OK(dd_gpt_load(g, at("hand"), &err));
  OK(dd_gpt_train(g, -1, &r, &err));
  assert_string_equal(r.fingerprint, expected);
  OK(dd_gpt_close(g, &err));
  /* marked by what was trained so, not by what was set: nothing before, still so after a load */
  OK(train(at("clean"), 0, expected, &err, "checkpoint_interval", "10", NULL));
  OK(dd_fs()->unlink(at("clean/ckpt-0000040.safetensors")));
  g = gpt(make(NULL, NULL), NULL);
  OK(dd_gpt_set_lr(g, 1, &err));
  OK(dd_gpt_load(g, at("clean/ckpt-0000020.safetensors"), &err));
  OK(dd_gpt_save(g, at("clean/ckpt-0000040.safetensors"), &err)); /* of iteration 20, whatever its name */
  OK(dd_gpt_train(g, 1, NULL, &err));
  OK(dd_gpt_save(g, at("hand/ckpt-0000026.safetensors"), &err));
  OK(dd_gpt_close(g, &err));
  OK(train(at("clean"), 1, hex, &err, NULL));
  assert_string_equal(hex, expected);
  assert_int_equal(train(at("hand"), 1, hex, &err, NULL), DD_E_USAGE);
}

static void test_own_batches(void **state) {
  (void)state;
  enum { N = 2 * 2 * 8 };
  int32_t ids[N], targets[N];
  dd_step_record r[3];
  char hex[3][33];
  for (int run = 0; run < 3; run++) { /* twice the same, then another token */
    dd_gpt *g = gpt(make(NULL, "gradient_accumulation_steps", "2", "threads", run ? "2" : "1", NULL), NULL);
    for (int step = 0; step < 12; step++) {
      for (int i = 0; i < N; i++) ids[i] = (i * 7 + step) % 11, targets[i] = (i * 7 + step + 7) % 11;
      if (run == 2) targets[N - 1] = 0;
      OK(dd_gpt_step(g, ids, targets, r + run, &err));
      assert_int_equal(r[run].iter, step);
    }
    snprintf(hex[run], sizeof hex[run], "%s", print_of(g));
    assert_true(isfinite(r[run].loss) && r[run].grad_norm > 0 && r[run].dropout == 0.2);
    ids[3] = 1000;
    FAILS(DD_E_USAGE, "id 3 is 1000", dd_gpt_step(g, ids, targets, NULL, &err));
    ids[3] = 0, targets[1] = -1;
    FAILS(DD_E_USAGE, "target 1 is -1", dd_gpt_step(g, ids, targets, NULL, &err));
    assert_string_equal(print_of(g), hex[run]);
    OK(dd_gpt_close(g, &err));
  }
  assert_string_equal(hex[0], hex[1]);
  assert_string_not_equal(hex[0], hex[2]);
  assert_true(r[0].loss == r[1].loss && r[0].loss != r[2].loss);
}

/* A stop between micro-batches loses nothing. */
static int polls, stop_at;
static int stop_there(void *user) { return (void)user, ++polls == stop_at; }
static void test_stop(void **state) {
  (void)state;
  const dd_callbacks cb = {.should_stop = stop_there};
  dd_train_result r;
  char expected[33];
  OK(train(at("plain"), 0, expected, &err, "gradient_accumulation_steps", "3", NULL));
  for (int k = 1; k < 40; k += 7) {
    dd_gpt *g = gpt(make(NULL, "gradient_accumulation_steps", "3", NULL), &cb);
    polls = 0;
    stop_at = k;
    FAILS(DD_E_STOPPED, "stopped on request", dd_gpt_train(g, -1, &r, &err));
    assert_true(r.iter < T);
    OK(dd_gpt_train(g, -1, &r, &err));
    assert_string_equal(r.fingerprint, expected);
    OK(dd_gpt_close(g, &err));
    stop_at = 0;
  }
}

/* Several at once, each in a thread of its own: nothing of one is seen by another. */
typedef struct alone {
  dd_settings *s;
  dd_train_result r;
} alone;
static void *in_a_thread(void *arg) {
  alone *a = arg;
  dd_error e;
  dd_gpt *g = NULL;
  int rc = dd_gpt_create(&g, a->s, NULL, &e);
  for (int i = 0; i < 8 && !rc; i++) rc = dd_gpt_train(g, 5, &a->r, &e);
  dd_gpt_close(g, &e);
  return NULL;
}
static void test_threads(void **state) {
  (void)state;
  enum { N = 3 };
  pthread_t thread[N];
  char expected[33];
  alone a[N] = {{.s = NULL}};
  OK(train(at("plain"), 0, expected, &err, NULL));
  for (int i = 0; i < N; i++) a[i].s = make(NULL, "threads", "2", NULL);
  for (int i = 0; i < N; i++) assert_int_equal(pthread_create(thread + i, NULL, in_a_thread, a + i), 0);
  for (int i = 0; i < N; i++) pthread_join(thread[i], NULL);
  for (int i = 0; i < N; i++) {
    assert_string_equal(a[i].r.fingerprint, expected);
    dd_settings_destroy(a[i].s);
  }
}

/* A study of schedules that are functions: each cell has the bits of the run alone. */
static double by_name(const dd_rate_query *q) { return strcmp(q->name, "half") == 0 ? 0.1 : line(q); }
typedef struct study { /* the hooks share one user pointer */
  own o;
  char text[4096];
} study;
static double ask_in_study(void *user, const dd_rate_query *q) { return ask(&((study *)user)->o, q); }
static void hear_study(void *user, dd_level level, const char *text) {
  study *y = user;
  const size_t n = strlen(y->text);
  if (level == DD_INFO && strstr(text, "fingerprint")) snprintf(y->text + n, sizeof y->text - n, "%s\n", text);
}
static void test_compare(void **state) {
  (void)state;
  study y = {.o = {.f = by_name}};
  const dd_callbacks cb = {.user = &y, .message = hear_study, .rate = ask_in_study};
  char hex[3][33];
  dd_compare_result r;
  OK(train(at("plain"), 0, hex[0], &err, NULL));
  OK(train_own(at("plain"), 0, &y.o, hex[1], "schedule", "callback:half", NULL));
  OK(train_own(at("plain"), 0, &y.o, hex[2], "schedule", "callback:line", NULL));
  dd_settings *s = make(NULL, "out", at("study"), "overwrite", "false", "schedules", "fixed,callback:half,callback:line",
                        "seeds", "1", "jobs", "2", NULL);
  const int rc = dd_compare(s, NULL, &cb, &r, &err);
  dd_settings_destroy(s);
  if (rc) fail_msg("%s", err.message);
  assert_int_equal(r.finished, 3);
  for (int i = 0; i < 3; i++) {
    hex[i][8] = '\0';
    assert_part(y.text, hex[i]);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_same_bits),   cmocka_unit_test(test_run_directory), cmocka_unit_test(test_checkpoints),
      cmocka_unit_test(test_callback),    cmocka_unit_test(test_tokens),        cmocka_unit_test(test_by_hand),
      cmocka_unit_test(test_own_batches), cmocka_unit_test(test_stop),          cmocka_unit_test(test_threads),
      cmocka_unit_test(test_compare)};
  if (!make_root()) return 1;
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  remove_tree(root);
  return failed;
}
