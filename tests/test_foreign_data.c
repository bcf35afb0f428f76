/* Data of other programs: nanoGPT's meta.pkl and directories, llm.c's shards, NumPy's arrays, as --data and through
 * `prepare`. */
#include "data_fixture.h"
#include "pickle_cases.h"
#include "run/settings.h"
#include "run/token_dir.h"
#include "token_files.h"

/* ---- meta.pkl ---- */

static void meta_of_every_protocol(void **state) {
  (void)state;
  static const uint32_t codes[] = {'\n', ' ', 'a', 0xe9, 0x20ac, 0x1f600};
  for (int k = 0; k < 6; k++) {
    dd_vocab v;
    put("meta/meta.pkl", pickled_meta[k].data, pickled_meta[k].size);
    hush();
    if (dd_meta_pkl_read(&v, at("meta/meta.pkl"), &callbacks, &err)) fail_msg("%s", err.message);
    assert_int_equal(v.kind, DD_VOCAB_CHAR);
    assert_int_equal(v.size, 6);
    assert_memory_equal(v.code, codes, sizeof codes);
    assert_string_equal(heard, "");
    dd_vocab_free(&v);
  }
}

static int read_meta(const char *data, size_t n, dd_vocab *v) {
  put("meta/meta.pkl", data, n);
  hush();
  return dd_meta_pkl_read(v, at("meta/meta.pkl"), &callbacks, &err);
}

/* Protocol 1 by hand: {'vocab_size': n, 'itos': {...}, ...}. */
#define PICKLE(text) text, sizeof text - 1
#define META(n, rest) PICKLE("}(X\12\0\0\0vocab_sizeK" n rest "u.")
#define ITOS(entries) "X\4\0\0\0itos}(" entries "u"
#define STOI(entries) "X\4\0\0\0stoi}(" entries "u"

static void meta_forms(void **state) {
  (void)state;
  dd_vocab v;
  assert_int_equal(read_meta(META("\2", ITOS("K\0X\1\0\0\0bK\1X\1\0\0\0a") STOI("X\1\0\0\0bK\0X\1\0\0\0aK\1")), &v), 0);
  assert_true(v.kind == DD_VOCAB_CHAR && v.size == 2 && v.code[0] == 'b' && v.code[1] == 'a'); /* not in rank order */
  uint16_t *ids;
  int64_t n;
  char text[8];
  assert_int_equal(dd_vocab_encode(&v, "abb", 3, "x", &ids, &n, NULL, &err), DD_OK);
  assert_true(n == 3 && ids[0] == 1 && ids[1] == 0 && ids[2] == 0);
  size_t length;
  assert_true(*dd_vocab_decode(&v, 0, text, &length) == 'b' && length == 1);
  free(ids);
  json_t *o = json_object(); /* such an order survives the files of runs */
  dd_vocab again;
  assert_int_equal(dd_vocab_to_json(&v, o, &err), DD_OK);
  assert_int_equal(dd_vocab_from_json(&again, o, "x", &err), DD_OK);
  assert_true(dd_vocab_equal(&v, &again));
  json_decref(o);
  dd_vocab_free(&again);
  dd_vocab_free(&v);
  assert_int_equal(read_meta(META("\2", "X\4\0\0\0itos](X\1\0\0\0bX\1\0\0\0ae"), &v), 0); /* a list will do */
  assert_true(v.kind == DD_VOCAB_CHAR && v.code[0] == 'b');
  dd_vocab_free(&v);
  assert_int_equal(read_meta(META("\7", ""), &v), 0);
  assert_true(v.kind == DD_VOCAB_NUMBER && v.size == 7);
  assert_string_equal(heard, "");
  static const struct {
    const char *data;
    size_t n;
    const char *words;
  } numbers[] = {{META("\3", ITOS("K\0X\1\0\0\0bK\1X\1\0\0\0a")), "no entry for some ids"},
                 {META("\2", ITOS("K\0X\2\0\0\0beK\1X\1\0\0\0a")), "not one character"},
                 {META("\2", ITOS("K\0X\0\0\0\0K\1X\1\0\0\0a")), "not one character"},
                 {META("\2", ITOS("K\0X\3\0\0\0\xed\xa0\x80K\1X\1\0\0\0a")), "not one character"},
                 {META("\2", ITOS("K\0X\1\0\0\0aK\1X\1\0\0\0a")), "a character twice"},
                 {META("\2", ITOS("K\0X\1\0\0\0aK\2X\1\0\0\0b")), "no ids below vocab_size"},
                 {META("\2", ITOS("X\1\0\0\0aK\0X\1\0\0\0bK\1")), "no ids below vocab_size"},
                 {META("\2", "X\4\0\0\0itosK\1"), "itos is no dict"}};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    if (read_meta(numbers[i].data, numbers[i].n, &v)) fail_msg("%zu: %s", i, err.message);
    assert_int_equal(v.kind, DD_VOCAB_NUMBER);
    assert_heard(numbers[i].words);
    dd_vocab_free(&v);
  }
  assert_int_equal(read_meta(META("\2", ITOS("K\0X\1\0\0\0bK\1X\1\0\0\0a") STOI("X\1\0\0\0bK\1")), &v), DD_E_CORRUPT);
  assert_says("contradicts itself: stoi does not give U+0062 the id 0");
  assert_int_equal(read_meta(META("\0", ""), &v), DD_E_CORRUPT);
  assert_says("'vocab_size' from 1 to 65535");
  assert_int_equal(read_meta(PICKLE("]."), &v), DD_E_CORRUPT);
  assert_int_equal(read_meta(PICKLE("}X\12\0\0\0vocab_sizeJ\0\0\1\0s."), &v), DD_E_CORRUPT);
  assert_int_equal(read_meta(PICKLE("cnumpy\nint64\n."), &v), DD_E_CORRUPT);
  assert_says("code in files is never run");
  assert_null(v.code);
}

/* ---- directories and files ---- */

static dd_dataset *opened(const char *spec, const char *tokenizer) {
  dd_dataset *d = NULL;
  hush();
  if (dd_dataset_open(&d, spec, tokenizer, &callbacks, &err)) fail_msg("%s", err.message);
  return d;
}

static void put_npy(const char *name, const char *shape, const void *data, size_t n) {
  char dictionary[128];
  snprintf(dictionary, sizeof dictionary, "{'descr': '<u2', 'fortran_order': False, 'shape': %s, }", shape);
  const size_t size = npy(1, dictionary, data, n);
  put(name, image, size);
}

static void put_llmc(const char *name, const void *data, size_t n) {
  const size_t size = llmc(20240520, 1, (uint32_t)(n / 2), data, n);
  put(name, image, size);
}

/* A directory of nanoGPT is the same data as the text it was made of: same vocabulary, ids and identity. */
static void nanogpt_directory(void **state) {
  (void)state;
  put_text("ng.txt", "aaaaaaaaaaa \xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\n a\n\xc3\xa9");
  put("ng/train.bin", "\2\0\2\0\2\0\2\0\2\0\2\0\2\0\2\0\2\0\2\0\2\0\1\0\3\0\4\0\5\0\0\0\1\0\2\0", 36);
  put("ng/val.bin", "\0\0\3\0", 4);
  put("ng/meta.pkl", pickled_meta[4].data, pickled_meta[4].size);
  dd_dataset *a = opened(at("ng.txt"), NULL), *b = opened(at("ng"), NULL), *c = opened(at("ng"), "char");
  assert_true(a->n_train == 18 && a->n_val == 2 && b->n_train == 18 && b->n_val == 2);
  assert_true(dd_vocab_equal(&a->vocab, &b->vocab));
  assert_string_equal(a->hash, b->hash);
  assert_string_equal(heard, "");
  dd_text t;
  assert_int_equal(dd_text_load(&t, at("ng"), DD_PART_VAL, &a->vocab, NULL, &err), DD_OK);
  assert_true(t.n == 2 && t.bytes == 3);
  dd_text_free(&t);
  dd_dataset_close(a);
  dd_dataset_close(b);
  dd_dataset_close(c);
  refuse(at("ng"), "byte", DD_E_USAGE, "holds char tokens");
  put("ng/val.bin", "\0\0\6\0", 4);
  refuse(at("ng"), NULL, DD_E_CORRUPT, "token 1 of val is 6, but the vocabulary has only 6 entries");
  put("ng/val.bin", "\0\0\3\0", 4);
  put_text("ng/meta.json", "{\"vocab_size\": 9}"); /* goes before meta.pkl */
  a = opened(at("ng"), NULL);
  assert_true(a->vocab.kind == DD_VOCAB_NUMBER && a->vocab_size == 9);
  dd_dataset_close(a);
  unlink(at("ng/meta.json"));
  put("ng/meta.pkl", "cos\nsystem\n.", 12);
  refuse(at("ng"), NULL, DD_E_CORRUPT, "meta.pkl holds more than plain data");
}

static void other_directories(void **state) {
  (void)state;
  put_npy("np/train.npy", "(3,)", "\1\0\2\0\3\0", 6);
  refuse(at("np"), NULL, DD_E_IO, "holds no val.bin");
  put_npy("np/val.npy", "(2,)", "\1\0\4\0", 4);
  dd_dataset *d = opened(at("np"), NULL);
  assert_heard("no meta.json and no meta.pkl");
  assert_true(d->n_train == 3 && d->n_val == 2 && d->vocab_size == 5 && d->val[1] == 4);
  dd_dataset_close(d);
  put("np/train.bin", "\7\0\7\0", 4); /* goes before train.npy */
  d = opened(at("np"), NULL);
  assert_true(d->n_train == 2 && d->train[0] == 7);
  dd_dataset_close(d);

  put_llmc("lc/web_train_000002.bin", "\3\0\4\0", 4);
  put_llmc("lc/web_train_000001.bin", "\1\0\2\0", 4);
  put_llmc("lc/web_val_000000.bin", "\x50\xc4\6\0", 4); /* 50256 */
  put_text("lc/README_train.txt", "not a token file");
  d = opened(at("lc"), NULL);
  assert_heard("0 to 50256 and");
  assert_true(d->n_train == 4 && d->vocab_size == 50257);
  assert_memory_equal(d->train, "\1\0\2\0\3\0\4\0", 8);
  dd_dataset_close(d);
  put_llmc("lc/web_val_000000.bin", "\0\xc4\6\0", 4); /* 50176 */
  d = opened(at("lc"), NULL);
  assert_heard("0 to 50256, that of GPT-2, and");
  dd_dataset_close(d);
  assert_true(dd_token_dir_is(at("lc")) && dd_token_dir_is(at("np")) && !dd_token_dir_is(root));
  put_llmc("lc/books_train.bin", "\1\0\2\0", 4);
  refuse(at("lc"), NULL, DD_E_USAGE, "token files of several texts (books_train.bin, web_train_000001.bin)");
  unlink(at("lc/books_train.bin"));
  put_llmc("lc/web_train_000003.bin", "\1\0\2\0\3", 5);
  refuse(at("lc"), NULL, DD_E_CORRUPT, "web_train_000003.bin is damaged");
}

static void single_files(void **state) {
  (void)state;
  static const char twenty[] = "\0\0\1\0\2\0\3\0\4\0\5\0\6\0\7\0\10\0\11\0\0\0\1\0\2\0\3\0\4\0\5\0\6\0\7\0\10\0\11";
  put_npy("x.npy", "(20,)", twenty, 40);
  put_llmc("x_train.bin", twenty, 40);
  put("x.bin", twenty, 40);
  static const char *const names[] = {"x.npy", "x_train.bin", "x.bin"};
  char hash[33] = "";
  for (int i = 0; i < 3; i++) {
    dd_dataset *d = opened(at(names[i]), NULL), *again = opened(at(names[i]), "number");
    assert_heard("has no vocabulary: the vocabulary is taken as 0 to 9");
    assert_true(d->n_train == 18 && d->n_val == 2 && d->vocab_size == 10 && d->vocab.kind == DD_VOCAB_NUMBER);
    if (*hash) assert_string_equal(d->hash, hash);
    snprintf(hash, sizeof hash, "%s", d->hash);
    dd_text t;
    assert_int_equal(dd_text_load(&t, at(names[i]), DD_PART_VAL, &d->vocab, NULL, &err), DD_OK);
    assert_true(t.n == 2 && t.ids[0] == 8);
    dd_text_free(&t);
    const dd_vocab few = {.kind = DD_VOCAB_NUMBER, .size = 9}, bytes = {.kind = DD_VOCAB_BYTE, .size = 256};
    assert_int_equal(dd_text_load(&t, at(names[i]), DD_PART_ALL, &few, NULL, &err), DD_E_USAGE);
    assert_says("pass tokens of the same kind");
    assert_int_equal(dd_text_load(&t, at(names[i]), DD_PART_ALL, &bytes, NULL, &err), DD_OK); /* any file is bytes */
    dd_text_free(&t);
    dd_dataset_close(d);
    dd_dataset_close(again);
    d = opened(at(names[i]), "byte");
    assert_int_equal(d->vocab_size, 256);
    dd_dataset_close(d);
  }
  refuse(at("x.npy"), "char", DD_E_USAGE, "x.npy holds token numbers, not a text");
  put_text("words.bin", "a text all the same");
  dd_dataset *d = opened(at("words.bin"), "char");
  assert_int_equal(d->vocab.kind, DD_VOCAB_CHAR);
  dd_dataset_close(d);
  put_text("words.txt", "a text");
  refuse(at("words.txt"), "number", DD_E_USAGE, "number is for token files");
  const size_t n = llmc(20240801, 7, 20, NULL, 0);
  memset(image + n, 0, 80);
  image[n + 6] = 1; /* 65536 */
  put("llama.bin", image, n + 80);
  refuse(at("llama.bin"), NULL, DD_E_CORRUPT, "token 1 is 65536; ids must be from 0 to 65534");
  put_npy("short.npy", "(3,)", twenty, 6);
  refuse(at("short.npy"), NULL, DD_E_USAGE, "too short");
  put_npy("none.npy", "(0,)", twenty, 0);
  refuse(at("none.npy"), NULL, DD_E_CORRUPT, "holds 0 tokens");
  const size_t m = npy(1, NPY("<i4", "False", "(5,)"), "\0\0\0\0\0\0\0\0\xff\xff\xff\xff\0\0\0\0\0\0\0\0", 20);
  put("minus.npy", image, m);
  refuse(at("minus.npy"), NULL, DD_E_CORRUPT, "token 2 is -1");
}

/* `prepare` makes of any of them a directory of ours with the same identity; a name is looked for in data/ too. */
static void prepared(void **state) {
  (void)state;
  char here[4096];
  put("p/train.bin", "\2\0\1\0\3\0\4\0\5\0\0\0\1\0\2\0", 16);
  put("p/val.bin", "\0\0\3\0", 4);
  put("p/meta.pkl", pickled_meta[4].data, pickled_meta[4].size);
  put_npy("q.npy", "(20,)", "\0\0\1\0\2\0\3\0\4\0\5\0\6\0\7\0\10\0\11\0\0\0\1\0\2\0\3\0\4\0\5\0\6\0\7\0\10\0\11", 40);
  static const char *const from[] = {"p", "q.npy"};
  for (int i = 0; i < 2; i++) {
    dd_settings *s = dd_settings_create();
    assert_non_null(s);
    assert_int_equal(dd_settings_set(s, "data", at(from[i]), &err), DD_OK);
    assert_int_equal(dd_settings_set(s, "out", at(i ? "data/q" : "data/p"), &err), DD_OK);
    if (dd_prepare(s, NULL, &err)) fail_msg("%s", err.message);
    dd_settings_destroy(s);
    dd_dataset *a = opened(at(from[i]), NULL);
    assert_int_equal(chdir(getcwd(here, sizeof here) ? root : "/"), 0);
    dd_dataset *b = opened(i ? "q" : "p", NULL);
    assert_int_equal(chdir(here), 0);
    assert_string_equal(a->hash, b->hash);
    assert_true(dd_vocab_equal(&a->vocab, &b->vocab));
    dd_dataset_close(a);
    dd_dataset_close(b);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(meta_of_every_protocol),
      cmocka_unit_test(meta_forms),
      cmocka_unit_test(nanogpt_directory),
      cmocka_unit_test(other_directories),
      cmocka_unit_test(single_files),
      cmocka_unit_test(prepared),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
