/* The tokenizers that export writes beside a model on GPT-2's tokens: for transformers and for llama.cpp, read back
 * with our own readers and held to the vocabulary, entry by entry. What the libraries make of them: interop/. */
#include "run_fixture.h"
#include "bpe_files.h"
#include "formats/gguf.h"
#include "run/vocab.h"
#include <jansson.h>

static char hex[33];
static dd_error err;

static int export_to(const char *run, const char *format, const char *to, const char *bpe) {
  dd_settings *s = dd_settings_create();
  dd_export_result r;
  const dd_callbacks cb = {.message = listen};
  int rc = dd_settings_set(s, "run", run, &err);
  *heard = '\0';
  if (!rc) rc = dd_settings_set(s, "checkpoint", "latest", &err);
  if (!rc) rc = dd_settings_set(s, "export_format", format, &err);
  if (!rc) rc = dd_settings_set(s, "out", to, &err);
  if (!rc && bpe) rc = dd_settings_set(s, "bpe", bpe, &err);
  if (!rc) rc = dd_export(s, &cb, &r, &err);
  dd_settings_destroy(s);
  return rc;
}

static void exported(const char *run, const char *format, const char *to, const char *bpe) {
  if (export_to(run, format, to, bpe)) fail_msg("%s", err.message);
}

static dd_bpe *loaded(const char *path) {
  dd_bpe *b;
  if (dd_bpe_load(&b, path, &err)) fail_msg("%s", err.message);
  return b;
}

static json_t *parsed(const char *path) {
  json_t *o = json_load_file(path, 0, NULL);
  if (!o) fail_msg("%s is no JSON", path);
  return o;
}

static int64_t number_in(const char *path, const char *key) { /* -1: null */
  json_t *o = parsed(path), *value = json_object_get(o, key);
  assert_non_null(value);
  const int64_t n = json_is_null(value) ? -1 : json_integer_value(value);
  json_decref(o);
  return n;
}

/* Both make the same ids of texts of all bytes, of words of the merges, and of long words. */
static void encode_alike(const dd_bpe *a, const dd_bpe *b) {
  static const char *const parts[] = {" the", "lower", "ing", " low", "aaaaa", "\xc3\xa9", "\n\n", "'s", "er",
                                      "<|endoftext|>"};
  static uint16_t x[4096], y[4096];
  char text[2048];
  uint32_t s = 7;
  dd_bpe_encoder *e = dd_bpe_encoder_create(a), *f = dd_bpe_encoder_create(b);
  for (int round = 0; round < 200; round++) {
    size_t n = 0;
    while (n < 1500) {
      s = s * 1664525u + 1013904223u;
      const char *part = parts[(s >> 16) % 10];
      if (s >> 30) memcpy(text + n, part, strlen(part)), n += strlen(part);
      else text[n++] = (char)(s >> 20);
    }
    const int64_t made = dd_bpe_encode(e, text, n, x);
    assert_true(made > 0 && made == dd_bpe_encode(f, text, n, y));
    assert_memory_equal(x, y, (size_t)made * sizeof *x);
  }
  dd_bpe_encoder_destroy(e);
  dd_bpe_encoder_destroy(f);
}

static int setup(void **state) {
  (void)state;
  static char text[65536];
  if (!make_root()) return 1;
  put(at("merges.txt"), merges_text, strlen(merges_text));
  put(at("ranks.tiktoken"), text, (size_t)(rank_lines(text) - text));
  if (train(at("run"), 0, hex, &err, "bpe", at("merges.txt"), NULL)) fail_msg("%s", err.message);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  remove_tree(root);
  return 0;
}

static void test_hf(void **state) {
  (void)state;
  size_t n;
  exported(at("run"), "hf", at("hf"), NULL);
  assert_string_equal(heard, "");
  char *merges = slurp(at("hf/merges.txt"), &n);
  assert_int_equal(n, strlen(merges_text));
  assert_memory_equal(merges, merges_text, n);
  free(merges);
  json_t *o = parsed(at("hf/tokenizer.json")), *added = json_object_get(o, "added_tokens");
  json_t *ids = json_object_get(json_object_get(o, "model"), "vocab"), *of_pair = parsed(at("hf/vocab.json"));
  assert_int_equal(json_object_size(ids), IDS);
  assert_int_equal(json_integer_value(json_object_get(ids, "\xc4\xa0the")), 256 + 2);
  assert_int_equal(json_integer_value(json_object_get(ids, "!")), 0);
  assert_true(json_equal(ids, of_pair));
  assert_int_equal(json_array_size(added), 1);
  added = json_array_get(added, 0);
  assert_int_equal(json_integer_value(json_object_get(added, "id")), IDS - 1);
  assert_string_equal(json_string_value(json_object_get(added, "content")), "<|endoftext|>");
  json_decref(of_pair);
  json_decref(o);
  o = parsed(at("hf/tokenizer_config.json"));
  assert_string_equal(json_string_value(json_object_get(o, "eos_token")), "<|endoftext|>");
  assert_string_equal(json_string_value(json_array_get(json_object_get(o, "model_input_names"), 1)), "attention_mask");
  json_decref(o);
  assert_int_equal(number_in(at("hf/config.json"), "eos_token_id"), IDS - 1);
  assert_int_equal(number_in(at("hf/generation_config.json"), "bos_token_id"), IDS - 1);
  dd_bpe *own = loaded(at("merges.txt"));
  const char *const forms[] = {"hf/tokenizer.json", "hf/vocab.json", "hf"};
  for (size_t i = 0; i < 3; i++) {
    dd_bpe *b = loaded(at(forms[i]));
    assert_string_equal(dd_bpe_hash(b), dd_bpe_hash(own));
    assert_int_equal(dd_bpe_end_of_text(b), IDS - 1);
    encode_alike(own, b);
    dd_bpe_release(b);
  }
  dd_bpe_release(own);
}

/* A run from an export, without updates, exports the same files again. */
static void test_round_trip(void **state) {
  (void)state;
  static const char *const same[] = {"model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.json",
                                     "merges.txt", "generation_config.json"};
  exported(at("run"), "hf", at("hf1"), NULL);
  if (train(at("again"), 0, hex, &err, "init_from", at("hf1"), "max_iters", "1", "lr", "0", "min_lr", "0",
            "warmup_iters", "0", NULL))
    fail_msg("%s", err.message);
  exported(at("again"), "hf", at("hf2"), NULL);
  for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
    char one[64], two[64];
    size_t n, m;
    snprintf(one, sizeof one, "hf1/%s", same[i]);
    snprintf(two, sizeof two, "hf2/%s", same[i]);
    char *a = slurp(at(one), &n), *b = slurp(at(two), &m);
    if (n != m || memcmp(a, b, n)) fail_msg("%s is another after the round trip", same[i]);
    free(a);
    free(b);
  }
}

/* Element i of an array of strings; its length. */
static size_t element(const dd_gguf *g, const char *key, uint64_t i, const char **text) {
  const dd_gguf_pair *p = dd_gguf_find(g, key);
  assert_true(p && p->type == DD_GGUF_ARRAY && p->element == DD_GGUF_STRING && i < p->count);
  const unsigned char *at_ = p->value;
  for (; i; i--) at_ += 8 + dd_load_le(at_, 8);
  *text = (const char *)at_ + 8;
  return (size_t)dd_load_le(at_, 8);
}

static void is_element(const dd_gguf *g, const char *key, uint64_t i, const char *want, size_t n) {
  const char *text;
  if (element(g, key, i, &text) != n || memcmp(text, want, n)) fail_msg("%s %d is not %.*s", key, (int)i, (int)n, want);
}

static int type_of(const dd_gguf *g, uint64_t i) {
  const dd_gguf_pair *p = dd_gguf_find(g, "tokenizer.ggml.token_type");
  assert_true(p && p->element == DD_GGUF_I32 && i < p->count);
  return (int)dd_load_le(p->value + 4 * i, 4);
}

static void test_gguf(void **state) {
  (void)state;
  dd_gguf *g;
  char text[64];
  exported(at("run"), "gguf", at("model.gguf"), NULL);
  assert_string_equal(heard, "");
  if (dd_gguf_open(at("model.gguf"), &g, &err)) fail_msg("%s", err.message);
  dd_gguf_text(dd_gguf_find(g, "tokenizer.ggml.model"), text, sizeof text);
  assert_string_equal(text, "gpt2");
  dd_gguf_text(dd_gguf_find(g, "tokenizer.ggml.pre"), text, sizeof text);
  assert_string_equal(text, "gpt-2");
  assert_int_equal(dd_gguf_find(g, "tokenizer.ggml.tokens")->count, IDS);
  assert_int_equal(dd_gguf_find(g, "tokenizer.ggml.merges")->count, MERGES);
  const char *line = strchr(merges_text, '\n') + 1;
  for (int i = 0; i < MERGES; i++, line = strchr(line, '\n') + 1) {
    char token[16];
    is_element(g, "tokenizer.ggml.merges", (uint64_t)i, line, strcspn(line, "\n"));
    is_element(g, "tokenizer.ggml.tokens", 256 + (uint64_t)i, token, merged(i, token));
    assert_int_equal(type_of(g, 256 + (uint64_t)i), 1);
  }
  is_element(g, "tokenizer.ggml.tokens", IDS - 1, "<|endoftext|>", 13);
  assert_int_equal(type_of(g, IDS - 1), 3);
  assert_int_equal(dd_gguf_number(dd_gguf_find(g, "tokenizer.ggml.eos_token_id"), 0), IDS - 1);
  assert_int_equal(dd_gguf_number(dd_gguf_find(g, "tokenizer.ggml.bos_token_id"), 0), IDS - 1);
  dd_gguf_close(g);
}

/* Ranks become all pairs that form a token; without a name for the end of text it is a byte that no text has. */
static void test_ranks(void **state) {
  (void)state;
  dd_gguf *g;
  if (train(at("ranked"), 0, hex, &err, "bpe", at("ranks.tiktoken"), NULL)) fail_msg("%s", err.message);
  exported(at("ranked"), "hf", at("ranked.hf"), NULL);
  dd_bpe *own = loaded(at("ranks.tiktoken")), *b = loaded(at("ranked.hf/tokenizer.json"));
  assert_string_equal(dd_bpe_hash(b), dd_bpe_hash(own));
  encode_alike(own, b);
  assert_int_equal(number_in(at("ranked.hf/config.json"), "eos_token_id"), -1);
  exported(at("ranked"), "gguf", at("ranked.gguf"), NULL);
  if (dd_gguf_open(at("ranked.gguf"), &g, &err)) fail_msg("%s", err.message);
  const int end = (int)dd_gguf_number(dd_gguf_find(g, "tokenizer.ggml.eos_token_id"), 0);
  is_element(g, "tokenizer.ggml.tokens", (uint64_t)end, "\xc3\xbf", 2);
  assert_int_equal(type_of(g, (uint64_t)end), 1);
  dd_gguf_close(g);
  dd_bpe_release(own);
  dd_bpe_release(b);
}

/* Bare ids have the texts of --bpe, and a model may know more ids than there are tokens. */
static void test_numbers(void **state) {
  (void)state;
  uint16_t ids[400];
  dd_gguf *g;
  for (int i = 0; i < 400; i++) ids[i] = (uint16_t)(i % 300);
  assert_int_equal(mkdir(at("data"), 0700), 0);
  put(at("data/train.bin"), ids, sizeof ids);
  put(at("data/val.bin"), ids, sizeof ids);
  if (train(at("numbers"), 0, hex, &err, "data", at("data"), NULL)) fail_msg("%s", err.message);
  exported(at("numbers"), "hf", at("bare"), NULL);
  assert_part(heard, "--bpe");
  assert_int_equal(access(at("bare/tokenizer.json"), F_OK), -1);
  exported(at("numbers"), "hf", at("texts"), at("merges.txt"));
  assert_string_equal(heard, "");
  dd_bpe *own = loaded(at("merges.txt")), *b = loaded(at("texts"));
  assert_string_equal(dd_bpe_hash(b), dd_bpe_hash(own));
  dd_bpe_release(own);
  dd_bpe_release(b);
  exported(at("numbers"), "gguf", at("numbers.gguf"), at("merges.txt"));
  if (dd_gguf_open(at("numbers.gguf"), &g, &err)) fail_msg("%s", err.message);
  assert_int_equal(dd_gguf_find(g, "tokenizer.ggml.tokens")->count, number_in(at("texts/config.json"), "vocab_size"));
  is_element(g, "tokenizer.ggml.tokens", IDS, "[PAD272]", 8);
  assert_int_equal(type_of(g, IDS), 5);
  dd_gguf_close(g);
  assert_int_equal(export_to(at("run"), "gguf", at("no.gguf"), at("ranks.tiktoken")), DD_E_USAGE); /* another one */
  assert_int_equal(export_to(at("numbers"), "gguf", at("no.gguf"), at("text.txt")), DD_E_CORRUPT);
  assert_int_equal(access(at("no.gguf"), F_OK), -1);
}

/* Tokens that a tokenizer.json names, of which merges make none: added there, and in the copy that a run keeps. */
static void test_added(void **state) {
  (void)state;
  static char json[65536], with[65536];
  static const char name[] = "{\"id\":272,\"content\":\"<|im_start|>\"},{\"id\":273,\"content\":\"a b\"},"
                             "{\"id\":270,\"content\":\"aaaa\"},";
  *tokenizer_json(json, 0) = '\0';
  const char *list = strchr(json, '[') + 1;
  const int n = snprintf(with, sizeof with, "%.*s%s%s", (int)(list - json), json, name, list);
  put(at("chat.json"), with, (size_t)n);
  dd_bpe *b = loaded(at("chat.json")), *again;
  json_t *o = json_object();
  assert_int_equal(dd_bpe_to_json(b, o, &err), DD_OK);
  assert_int_equal(dd_bpe_from_json(&again, o, "x", &err), DD_OK);
  for (int id = -1; id < 280; id++) {
    char x[2 * DD_BPE_MAX_TOKEN], y[2 * DD_BPE_MAX_TOKEN];
    const size_t length = dd_bpe_spell(b, id, x);
    assert_int_equal(length, dd_bpe_spell(again, id, y));
    assert_memory_equal(x, y, length);
    assert_int_equal(dd_bpe_is_added(b, id), id >= IDS - 1 && id <= 273); /* text is encoded to 270 */
    assert_int_equal(dd_bpe_is_added(again, id), dd_bpe_is_added(b, id));
    if (id == 273) assert_memory_equal(x, "a b", length);
  }
  assert_int_equal(dd_bpe_needs_whole(b), 0);
  json_object_set_new(o, "added", json_pack("[i]", 300));
  dd_bpe_release(again);
  assert_int_equal(dd_bpe_from_json(&again, o, "x", &err), DD_E_CORRUPT);
  json_decref(o);
  dd_bpe_release(b);
}

/* ignore_merges, where it makes a difference: said, and no files that could not say it. */
static void test_whole(void **state) {
  (void)state;
  static char json[65536], with[65536];
  *tokenizer_json(json, 0) = '\0';
  const char *model = strstr(json, "\"dropout\""), *vocab = strstr(json, "\"vocab\":{") + 9;
  const int n = snprintf(with, sizeof with, "%.*s\"ignore_merges\":true,%.*s\"hello\":300,%s", (int)(model - json),
                         json, (int)(vocab - model), model, vocab);
  put(at("whole.json"), with, (size_t)n);
  dd_bpe *b = loaded(at("whole.json"));
  assert_int_equal(dd_bpe_needs_whole(b), 1);
  if (train(at("whole"), 0, hex, &err, "bpe", at("whole.json"), NULL)) fail_msg("%s", err.message);
  exported(at("whole"), "hf", at("whole.hf"), NULL);
  dd_bpe *again = loaded(at("whole.hf"));
  assert_string_equal(dd_bpe_hash(b), dd_bpe_hash(again));
  assert_int_equal(dd_bpe_needs_whole(again), 1);
  encode_alike(b, again);
  assert_int_equal(access(at("whole.hf/merges.txt"), F_OK), -1);
  exported(at("whole"), "gguf", at("whole.gguf"), NULL);
  assert_part(heard, "ignore_merges");
  dd_bpe_release(b);
  dd_bpe_release(again);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_hf),      cmocka_unit_test(test_round_trip),
                                     cmocka_unit_test(test_gguf),    cmocka_unit_test(test_ranks),
                                     cmocka_unit_test(test_numbers), cmocka_unit_test(test_added),
                                     cmocka_unit_test(test_whole)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
