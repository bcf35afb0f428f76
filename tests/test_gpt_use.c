/* dd_gpt, asked: losses, logits, new tokens, text, tensors and their changes, for GPTs that train and ones that were
 * opened from a run. */
#include "gpt_fixture.h"

typedef struct said {
  char text[4096];
  size_t n;
} said;
static void collect(void *user, const char *text, size_t n) {
  said *t = user;
  assert_true(t->n + n < sizeof t->text);
  memcpy(t->text + t->n, text, n);
  t->text[t->n += n] = '\0';
}

static void test_forward(void **state) {
  (void)state;
  enum { B = 5, LEN = 6 };
  char hex[33];
  OK(train(at("plain"), 0, hex, &err, NULL));
  dd_gpt *trained = gpt(make(NULL, NULL), NULL), *opened;
  OK(dd_gpt_train(trained, -1, NULL, &err));
  dd_settings *s = dd_settings_create();
  OK(dd_settings_set(s, "run", at("plain"), &err));
  OK(dd_settings_set(s, "checkpoint", "latest", &err));
  OK(dd_settings_set(s, "threads", "2", &err));
  OK(dd_settings_set(s, "batch_size", "4", &err));
  OK(dd_gpt_open(&opened, s, NULL, &err));
  assert_string_equal(print_of(opened), print_of(trained));
  dd_gpt_info info;
  dd_gpt_describe(opened, &info);
  assert_true(!info.trains && info.iter == T && info.n_embd == 8 && info.train_tokens == 0);
  FAILS(DD_E_USAGE, "asked only", dd_gpt_train(opened, 1, NULL, &err));
  FAILS(DD_E_USAGE, "asked only", dd_gpt_save(opened, at("x"), &err));
  FAILS(DD_E_USAGE, "asked only", dd_gpt_set_lr(opened, 1, &err));

  const int64_t vocab = info.vocab_size;
  int32_t ids[B * LEN], targets[B * LEN];
  for (int i = 0; i < B * LEN; i++) ids[i] = (int32_t)(i * 5 % vocab), targets[i] = (int32_t)((i * 5 + 3) % vocab);
  float *a = calloc(B * LEN * (size_t)vocab, sizeof *a), *b = calloc(B * LEN * (size_t)vocab, sizeof *b);
  double loss[2][B * LEN];
  OK(dd_gpt_logits(trained, ids, B, LEN, a, &err));
  OK(dd_gpt_logits(opened, ids, B, LEN, b, &err));
  assert_memory_equal(a, b, B * LEN * (size_t)vocab * sizeof *a);
  OK(dd_gpt_loss(trained, ids, targets, B, LEN, loss[0], &err));
  OK(dd_gpt_loss(opened, ids, targets, B, LEN, loss[1], &err));
  assert_memory_equal(loss[0], loss[1], sizeof loss[0]);
  for (int i = 0; i < B * LEN; i++) { /* cross-entropy of the logits */
    double sum = 0;
    for (int64_t v = 0; v < vocab; v++) sum += exp((double)a[i * vocab + v]);
    assert_true(fabs(log(sum) - (double)a[i * vocab + targets[i]] - loss[0][i]) < 1e-4);
  }
  FAILS(DD_E_USAGE, "1 to 8 tokens", dd_gpt_logits(opened, ids, 1, 9, a, &err));
  FAILS(DD_E_USAGE, "too few", dd_gpt_loss(opened, ids, targets, 0, 1, loss[0], &err));
  targets[4] = (int32_t)vocab;
  FAILS(DD_E_USAGE, "target 4", dd_gpt_loss(opened, ids, targets, B, LEN, loss[0], &err));
  free(a);
  free(b);

  /* over a text: the mean of dd_evaluate */
  size_t bytes;
  char *text = slurp(at("text.txt"), &bytes);
  int64_t n;
  int32_t *wide = malloc(bytes * sizeof *wide);
  uint16_t *narrow = malloc(bytes * sizeof *narrow);
  OK(dd_gpt_encode(opened, text, bytes, wide, (int64_t)bytes, &n, &err));
  assert_int_equal(n, bytes);
  for (int64_t i = 0; i < n; i++) narrow[i] = (uint16_t)wide[i];
  double mean;
  dd_eval_result e;
  OK(dd_gpt_evaluate_tokens(opened, narrow, n, &mean, &err));
  OK(dd_settings_set(s, "data", at("text.txt"), &err));
  OK(dd_evaluate(s, NULL, &e, &err));
  assert_true(e.loss == mean);
  char back[64];
  size_t length;
  OK(dd_gpt_decode(opened, wide, 100, back, sizeof back, &length, &err));
  assert_true(length == 100 && strlen(back) == 63 && memcmp(back, text, 63) == 0);
  FAILS(DD_E_USAGE, "the text", dd_gpt_encode(opened, "\xc3\xa4", 2, NULL, 0, &n, &err));
  free(text);
  free(wide);
  free(narrow);

  /* new tokens: those of dd_sample */
  static const char *const formats[] = {"f32", "int8", "f32"};
  for (int f = 0; f < 3; f++) {
    said told = {.n = 0};
    const dd_callbacks cb = {.user = &told, .text = collect};
    dd_sample_result r;
    OK(dd_settings_set(s, "prompt", "then", &err));
    OK(dd_settings_set(s, "max_new_tokens", "50", &err));
    OK(dd_settings_set(s, "weights", formats[f], &err));
    OK(dd_sample(s, &cb, &r, &err));
    int32_t prompt[4], made[50];
    OK(dd_gpt_encode(trained, "then", 4, prompt, 4, &n, &err));
    OK(dd_gpt_generate(f == 1 ? opened : trained, s, prompt, 4, made, 50, &err));
    char mine[128];
    OK(dd_gpt_decode(trained, made, 50, mine, sizeof mine, &length, &err));
    assert_string_equal(mine, told.text + 4);
    FAILS(DD_E_USAGE, "at least 1 token", dd_gpt_generate(trained, s, prompt, 0, made, 50, &err));
  }
  dd_settings_destroy(s);
  OK(dd_gpt_close(trained, &err));
  OK(dd_gpt_close(opened, &err));
}

static void test_tensors(void **state) {
  (void)state;
  dd_gpt *g = gpt(make(NULL, NULL), NULL);
  dd_gpt_info info;
  dd_tensor_view v, w;
  int64_t sum = 0;
  dd_gpt_describe(g, &info);
  for (int64_t i = 0; i < info.tensors; i++) {
    OK(dd_gpt_tensor_at(g, i, &v, &err));
    OK(dd_gpt_tensor(g, v.name, &w, &err));
    assert_true(v.data == w.data && v.size == v.shape[0] * v.shape[1] && v.dimensions == (v.shape[1] > 1 ? 2 : 1));
    sum += v.size;
  }
  assert_int_equal(sum, info.parameters);
  FAILS(DD_E_USAGE, "no tensor 'nope'", dd_gpt_tensor(g, "nope", &v, &err));
  FAILS(DD_E_USAGE, "no tensor -1", dd_gpt_tensor_at(g, -1, &v, &err));
  OK(dd_gpt_train(g, 5, NULL, &err));
  OK(dd_gpt_tensor(g, "optim.v/transformer.wte.weight", &w, &err));
  OK(dd_gpt_tensor(g, "transformer.wte.weight", &v, &err));
  assert_true(w.size == v.size && w.data != v.data);
  for (int64_t i = 0; i < w.size; i++) assert_true(w.data[i] >= 0);

  /* Writing: seen by everything, also by a decoder that was there before. */
  int32_t ids[3] = {1, 2, 3}, before[20], after[20], fresh[20];
  float logits[2][3 * 32];
  OK(dd_gpt_generate(g, NULL, ids, 3, before, 20, &err));
  OK(dd_gpt_logits(g, ids, 1, 3, logits[0], &err));
  for (int64_t i = 0; i < v.size; i++) v.data[i] *= 1.5f;
  OK(dd_gpt_changed(g, &err));
  OK(dd_gpt_logits(g, ids, 1, 3, logits[1], &err));
  assert_memory_not_equal(logits[0], logits[1], sizeof logits[0]);
  OK(dd_gpt_generate(g, NULL, ids, 3, after, 20, &err));
  OK(dd_gpt_save(g, at("changed.safetensors"), &err));
  dd_settings *s = dd_settings_create();
  dd_gpt *other;
  OK(dd_settings_set(s, "run", at("changed.safetensors"), &err));
  OK(dd_gpt_open(&other, s, NULL, &err));
  OK(dd_gpt_generate(other, NULL, ids, 3, fresh, 20, &err));
  assert_memory_equal(after, fresh, sizeof after);
  OK(dd_gpt_close(other, &err));
  dd_settings_destroy(s);
  v.data[3] = NAN;
  FAILS(DD_E_DIVERGED, "transformer.wte.weight", dd_gpt_changed(g, &err));
  FAILS(DD_E_DIVERGED, "transformer.wte.weight", dd_gpt_save(g, at("nan.safetensors"), &err));
  assert_false(dd_is_file(at("nan.safetensors")));
  OK(dd_gpt_close(g, &err));
}

static void test_sizes(void **state) {
  (void)state;
  assert_int_equal(dd_struct_size("dd_callbacks"), sizeof(dd_callbacks));
  assert_int_equal(dd_struct_size("struct dd_gpt_info"), sizeof(dd_gpt_info));
  assert_int_equal(dd_struct_size("dd_gpt"), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_forward), cmocka_unit_test(test_tensors),
                                     cmocka_unit_test(test_sizes)};
  if (!make_root()) return 1;
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  remove_tree(root);
  return failed;
}
