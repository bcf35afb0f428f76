/* Texts, vocabularies, splits, prepared directories; every bad input is refused with its code and a sentence that names
 * the place. */
#include "data_fixture.h"
#include "run/settings.h"

/* ---- UTF-8 ---- */

static void utf8_all_code_points(void **state) {
  (void)state;
  for (uint32_t c = 0; c < 0x110000; c++) {
    char s[4];
    uint32_t back = 0;
    const size_t n = dd_utf8_encode(c, s);
    assert_int_equal(n, c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4);
    if (c >= 0xD800 && c <= 0xDFFF) {
      assert_int_equal(dd_utf8_decode(s, n, &back), 0);
      continue;
    }
    assert_int_equal(dd_utf8_decode(s, n, &back), n);
    assert_int_equal(back, c);
    for (size_t cut = 1; cut < n; cut++) assert_int_equal(dd_utf8_decode(s, cut, &back), 0);
  }
}

/* Every pair and triple of bytes, and all starts of quadruples: exactly the valid ones are accepted. */
static void utf8_all_byte_strings(void **state) {
  (void)state;
  int two = 0, three = 0, four = 0;
  uint32_t c;
  for (unsigned a = 0; a < 256; a++)
    for (unsigned b = 0; b < 256; b++) {
      const char pair[2] = {(char)a, (char)b};
      two += dd_utf8_decode(pair, 2, &c) == 2;
      for (unsigned d = 0; d < 256; d++) {
        const char triple[3] = {(char)a, (char)b, (char)d};
        three += dd_utf8_decode(triple, 3, &c) == 3;
      }
      const char good[4] = {(char)a, (char)b, (char)0x80, (char)0xBF},
                 bad[4] = {(char)a, (char)b, (char)0x80, (char)0xC0};
      four += dd_utf8_decode(good, 4, &c) == 4;
      assert_true(dd_utf8_decode(bad, 4, &c) != 4);
    }
  assert_int_equal(two, 0x800 - 0x80);
  assert_int_equal(three, 0x10000 - 0x800 - 0x800); /* without the surrogates */
  assert_int_equal(four, 0x100000 >> 12);           /* blocks of 2^12 above the first plane */
}

static void utf8_errors_name_the_offset(void **state) {
  (void)state;
  put("bad.txt", "a good line\nbad: \xC0\xAF and more\n", 30);
  refuse(at("bad.txt"), "char", DD_E_CORRUPT, "bad byte 0xc0 at offset 17 (line 2)");
  put("cut.txt", "a text that ends within a character \xE2\x82", 38);
  refuse(at("cut.txt"), NULL, DD_E_CORRUPT, "bad byte 0xe2 at offset 36");
  put("latin1.txt", "caf\xE9 au lait, caf\xE9 noir", 22);
  refuse(at("latin1.txt"), "auto", DD_E_CORRUPT, "--tokenizer byte");
  dd_dataset *d = NULL;
  assert_int_equal(dd_dataset_open(&d, at("latin1.txt"), "byte", NULL, &err), DD_OK);
  assert_int_equal(d->vocab_size, 256);
  assert_int_equal(d->train[3], 0xE9);
  dd_dataset_close(d);
}

/* ---- vocabulary ---- */

static void vocabulary_is_sorted_and_reversible(void **state) {
  (void)state;
  const char text[] = "zebra \xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80 ab\n\0\x7F"; /* zero bytes are characters, too */
  dd_vocab v, copy, back;
  uint16_t *ids = NULL;
  int64_t n = 0;
  assert_int_equal(dd_vocab_from_text(&v, DD_VOCAB_CHAR, text, sizeof text - 1, "text", NULL, &err), DD_OK);
  assert_int_equal(v.size, 12);
  assert_int_equal(v.code[0], 0);
  assert_int_equal(v.code[1], '\n');
  assert_int_equal(v.code[11], 0x1F600);
  for (int i = 1; i < v.size; i++) assert_true(v.code[i - 1] < v.code[i]);
  assert_int_equal(dd_vocab_encode(&v, text, sizeof text - 1, "text", &ids, &n, NULL, &err), DD_OK);
  assert_int_equal(n, 15);
  char out[64];
  size_t used = 0;
  for (int64_t i = 0; i < n; i++) used += text_of(&v, ids[i], out + used);
  assert_int_equal(used, sizeof text - 1);
  assert_memory_equal(out, text, used);
  char scratch[8];
  assert_int_equal(text_of(&v, -1, scratch), 0);
  assert_int_equal(text_of(&v, v.size, scratch), 0);
  json_t *o = json_object();
  assert_int_equal(dd_vocab_to_json(&v, o, &err), DD_OK);
  assert_int_equal(dd_vocab_from_json(&back, o, "meta", &err), DD_OK);
  assert_true(dd_vocab_equal(&v, &back));
  assert_int_equal(dd_vocab_copy(&copy, &v, &err), DD_OK);
  assert_true(dd_vocab_equal(&copy, &v));
  copy.code[0] = 1;
  assert_false(dd_vocab_equal(&copy, &v));
  json_decref(o);
  free(ids);
  dd_vocab_free(&copy);
  dd_vocab_free(&back);
  dd_vocab_free(&v);
}

static void unknown_characters_are_named(void **state) {
  (void)state;
  dd_vocab v;
  dd_text t;
  assert_int_equal(dd_vocab_from_text(&v, DD_VOCAB_CHAR, "abc\xC3\xA9\n", 6, "abc", NULL, &err), DD_OK);
  put_text("other.txt", "abc\nab\xC3\xA9"
                        "cX\n");
  assert_int_equal(dd_text_load(&t, at("other.txt"), DD_PART_ALL, &v, NULL, &err), DD_E_USAGE);
  assert_says("line 2, column 5: the character 'X' (U+0058)");
  put_text("tab.txt", "abc\tabc");
  assert_int_equal(dd_text_load(&t, at("tab.txt"), DD_PART_ALL, &v, NULL, &err), DD_E_USAGE);
  assert_says("line 1, column 4: the character (U+0009)");
  put_text("one.txt", "a");
  assert_int_equal(dd_text_load(&t, at("one.txt"), DD_PART_ALL, &v, NULL, &err), DD_E_USAGE);
  assert_says("at least 2 tokens");
  put_text("none.txt", "");
  assert_int_equal(dd_text_load(&t, at("none.txt"), DD_PART_ALL, &v, NULL, &err), DD_E_USAGE);
  assert_says("is empty");
  put_text("twenty.txt", "aaaaaaaaaaaaaaaaaa\xC3\xA9"
                         "b");
  assert_int_equal(dd_text_load(&t, at("twenty.txt"), DD_PART_VAL, &v, NULL, &err), DD_OK);
  assert_int_equal(t.n, 2);
  assert_int_equal(t.bytes, 3);
  assert_int_equal(v.code[t.ids[1]], 'b');
  dd_text_free(&t);
  assert_int_equal(dd_text_load(&t, at("twenty.txt"), DD_PART_TRAIN, &v, NULL, &err), DD_OK);
  assert_int_equal(t.n, 18);
  dd_text_free(&t);
  dd_vocab_free(&v);
  dd_vocab_numbers(&v, 9);
  assert_int_equal(dd_text_load(&t, at("twenty.txt"), DD_PART_ALL, &v, NULL, &err), DD_E_USAGE);
  assert_says("bare token numbers");
}

static void vocabulary_limit(void **state) {
  (void)state;
  char *text = malloc(4 * 65536), scratch[8];
  size_t n = 0;
  for (uint32_t c = 0x10000; c < 0x10000 + 65535; c++) n += dd_utf8_encode(c, text + n);
  dd_vocab v;
  uint16_t *ids = NULL;
  int64_t count = 0;
  assert_int_equal(dd_vocab_from_text(&v, DD_VOCAB_CHAR, text, n, "most", NULL, &err), DD_OK);
  assert_int_equal(v.size, 65535);
  assert_int_equal(dd_vocab_encode(&v, text, n, "most", &ids, &count, NULL, &err), DD_OK);
  assert_int_equal(ids[count - 1], 65534);
  free(ids);
  dd_vocab_free(&v);
  n += dd_utf8_encode('a', text + n);
  put("many.txt", text, n);
  refuse(at("many.txt"), "char", DD_E_USAGE, "65536 different characters");
  free(text);
  dd_vocab_numbers(&v, 65535);
  assert_int_equal(text_of(&v, 65534, scratch), 6);
}

static void bad_vocabularies_in_json(void **state) {
  (void)state;
  static const char *const bad[] = {"{}",
                                    "{\"vocab_size\":0}",
                                    "{\"vocab_size\":65536}",
                                    "{\"vocab_size\":\"3\"}",
                                    "{\"vocab_size\":2.0}",
                                    "{\"vocab_size\":2,\"tokenizer\":\"bpe\"}",
                                    "{\"vocab_size\":2,\"tokenizer\":7}",
                                    "{\"vocab_size\":2,\"tokenizer\":\"byte\"}",
                                    "{\"vocab_size\":2,\"tokenizer\":\"char\"}",
                                    "{\"vocab_size\":2,\"tokenizer\":\"char\",\"vocabulary\":[1]}",
                                    "{\"vocab_size\":3,\"tokenizer\":\"char\",\"vocabulary\":[2,1,2]}",
                                    "{\"vocab_size\":2,\"tokenizer\":\"char\",\"vocabulary\":[2,2]}",
                                    "{\"vocab_size\":2,\"tokenizer\":\"char\",\"vocabulary\":[-1,2]}",
                                    "{\"vocab_size\":2,\"tokenizer\":\"char\",\"vocabulary\":[1,1114112]}",
                                    "{\"vocab_size\":2,\"tokenizer\":\"char\",\"vocabulary\":[1,55296]}",
                                    "{\"vocab_size\":2,\"tokenizer\":\"char\",\"vocabulary\":[1,\"b\"]}"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    json_t *o = json_loads(bad[i], 0, NULL);
    dd_vocab v;
    assert_non_null(o);
    if (dd_vocab_from_json(&v, o, "meta.json", &err) != DD_E_CORRUPT) fail_msg("accepted: %s", bad[i]);
    assert_null(v.code);
    json_decref(o);
  }
}

/* ---- splits and texts ---- */

static void split_is_nanogpts(void **state) {
  (void)state;
  assert_int_equal(dd_split_point(1115394), 1003854);
  assert_int_equal(dd_split_point(10), 9);
  assert_int_equal(dd_split_point(11), 9);
  assert_int_equal(dd_split_point(100000000), 90000000);
  put_text("abc.txt", "abcdefghijklmnopqrstuvwxyz");
  dd_dataset *d = NULL;
  assert_int_equal(dd_dataset_open(&d, at("abc.txt"), "", NULL, &err), DD_OK);
  assert_int_equal(d->n_train, 23);
  assert_int_equal(d->n_val, 3);
  assert_int_equal(d->val[0], 23);
  assert_string_equal(d->name, "abc.txt");
  assert_string_equal(d->spec, at("abc.txt"));
  assert_int_equal(d->source_bytes, 26);
  dd_dataset_close(d);
  dd_dataset_close(NULL);
}

static void bad_texts(void **state) {
  (void)state;
  put_text("empty.txt", "");
  refuse(at("empty.txt"), NULL, DD_E_USAGE, "empty.txt is empty");
  refuse(at("empty.txt"), "byte", DD_E_USAGE, "empty.txt is empty");
  put_text("ten.txt", "0123456789");
  refuse(at("ten.txt"), NULL, DD_E_USAGE, "too short: 10 tokens");
  refuse(at("nowhere.txt"), NULL, DD_E_IO, "shakespeare, kjv, enwik8, text8");
  refuse(at("ten.txt"), "bpe", DD_E_USAGE, "unknown tokenizer 'bpe'");
  char *endless = malloc(5001);
  memset(endless, 'x', 5000);
  endless[5000] = 0;
  refuse(endless, NULL, DD_E_USAGE, "too long");
  free(endless);
}

static void identity_follows_contents(void **state) {
  (void)state;
  static const char *const texts[] = {"a text of some length", "a text of some lengtH", "a text of some length ",
                                      "b text of some length"};
  char hash[4][33];
  for (int i = 0; i < 4; i++) {
    dd_dataset *d = NULL;
    put_text("identity.txt", texts[i]);
    assert_int_equal(dd_dataset_open(&d, at("identity.txt"), NULL, NULL, &err), DD_OK);
    memcpy(hash[i], d->hash, 33);
    dd_dataset_close(d);
    for (int j = 0; j < i; j++) assert_string_not_equal(hash[i], hash[j]);
  }
  dd_dataset *d = NULL;
  put_text("renamed.txt", texts[3]);
  assert_int_equal(dd_dataset_open(&d, at("renamed.txt"), NULL, NULL, &err), DD_OK);
  assert_string_equal(d->hash, hash[3]); /* the name is no part of it */
  dd_dataset_close(d);
}

/* ---- prepared directories ---- */

static int prepare(const char *data, const char *out, const char *tokenizer, int overwrite) {
  dd_settings *s = dd_settings_create();
  assert_int_equal(dd_settings_set(s, "data", data, &err), DD_OK);
  if (out) assert_int_equal(dd_settings_set(s, "out", out, &err), DD_OK);
  if (tokenizer) assert_int_equal(dd_settings_set(s, "tokenizer", tokenizer, &err), DD_OK);
  if (overwrite) assert_int_equal(dd_settings_set(s, "overwrite", "true", &err), DD_OK);
  const int status = dd_prepare(s, &callbacks, &err);
  dd_settings_destroy(s);
  return status;
}

static void prepare_and_open_again(void **state) {
  (void)state;
  put_text("round.txt", "caf\xC3\xA9 abc abc abc abc abc\n");
  hush();
  assert_int_equal(prepare(at("round.txt"), at("prepared/round"), NULL, 0), DD_OK);
  assert_heard("vocabulary of 7, train.bin 22 tokens, val.bin 3 tokens");
  dd_dataset *a = NULL, *b = NULL;
  assert_int_equal(dd_dataset_open(&a, at("round.txt"), NULL, NULL, &err), DD_OK);
  assert_int_equal(dd_dataset_open(&b, at("prepared/round/"), "char", NULL, &err), DD_OK);
  assert_string_equal(a->hash, b->hash);
  assert_string_equal(b->name, "round");
  assert_int_equal(b->source_bytes, 26);
  assert_int_equal(b->n_train, a->n_train);
  assert_memory_equal(b->train, a->train, (size_t)a->n_train * 2);
  char *bytes = NULL; /* the file itself: little-endian, ids by rank: \n=0 ' '=1 a=2 b=3 c=4 f=... */
  size_t n = 0;
  assert_int_equal(dd_file_read_all(at("prepared/round/val.bin"), 100, &bytes, &n, &err), DD_OK);
  assert_int_equal(n, 6);
  assert_memory_equal(bytes, "\3\0\4\0\0\0", 6);
  free(bytes);
  dd_text t;
  assert_int_equal(dd_text_load(&t, at("prepared/round"), DD_PART_VAL, &a->vocab, NULL, &err), DD_OK);
  assert_int_equal(t.n, 3);
  assert_int_equal(t.bytes, 3);
  dd_text_free(&t);
  assert_int_equal(dd_text_load(&t, at("prepared/round"), DD_PART_ALL, &a->vocab, NULL, &err), DD_OK);
  assert_int_equal(t.bytes, 26);
  dd_text_free(&t);
  dd_vocab bytes256 = {.kind = DD_VOCAB_BYTE, .size = 256};
  assert_int_equal(dd_text_load(&t, at("prepared/round"), DD_PART_ALL, &bytes256, NULL, &err), DD_E_USAGE);
  assert_says("another vocabulary");
  dd_dataset_close(a);
  dd_dataset_close(b);
  refuse(at("prepared/round"), "byte", DD_E_USAGE, "holds char tokens, not byte tokens");
  assert_int_equal(prepare(at("round.txt"), at("prepared/round"), NULL, 0), DD_E_USAGE);
  assert_says("--overwrite");
  assert_int_equal(prepare(at("round.txt"), at("prepared/round"), "byte", 1), DD_OK);
  assert_int_equal(dd_dataset_open(&a, at("prepared/round"), NULL, NULL, &err), DD_OK);
  assert_int_equal(a->vocab_size, 256);
  dd_dataset_close(a);
  assert_int_equal(prepare(at("prepared/round"), at("prepared/again"), NULL, 0), DD_OK); /* a directory, too */
  assert_int_equal(dd_dataset_open(&a, at("prepared/round"), NULL, NULL, &err), DD_OK);
  assert_int_equal(dd_dataset_open(&b, at("prepared/again"), NULL, NULL, &err), DD_OK);
  assert_string_equal(a->hash, b->hash);
  dd_dataset_close(a);
  dd_dataset_close(b);
  assert_int_equal(prepare(at("nowhere.txt"), NULL, NULL, 0), DD_E_IO);
  char here[4096];
  assert_non_null(getcwd(here, sizeof here));
  assert_int_equal(chdir(root), 0);
  assert_int_equal(prepare("round.txt", NULL, NULL, 0), DD_OK); /* default destination */
  assert_int_equal(chdir(here), 0);
  assert_true(dd_is_file(at("data/round/meta.json")));
}

static void foreign_directories(void **state) {
  (void)state;
  put("foreign/train.bin", "\1\0\2\0\5\0", 6);
  refuse(at("foreign"), NULL, DD_E_IO, "holds no val.bin");
  put("foreign/val.bin", "\0\0\7\0", 4);
  dd_dataset *d = NULL;
  hush();
  assert_int_equal(dd_dataset_open(&d, at("foreign"), NULL, &callbacks, &err), DD_OK);
  assert_heard("tokens print as numbers");
  assert_int_equal(d->vocab_size, 8);
  char s[8];
  assert_int_equal(text_of(&d->vocab, 7, s), 2);
  assert_memory_equal(s, "7 ", 2);
  dd_text t;
  assert_int_equal(dd_text_load(&t, at("foreign"), DD_PART_ALL, &d->vocab, NULL, &err), DD_OK);
  assert_int_equal(t.n, 5);
  assert_int_equal(t.bytes, 0);
  dd_text_free(&t);
  dd_dataset_close(d);
  put_text("foreign/meta.json", "{\"vocab_size\": 50}"); /* another tool's, with the size only */
  assert_int_equal(dd_dataset_open(&d, at("foreign"), NULL, NULL, &err), DD_OK);
  assert_int_equal(d->vocab_size, 50);
  dd_dataset_close(d);
  put_text("foreign/meta.json", "{\"vocab_size\": 7}");
  refuse(at("foreign"), NULL, DD_E_CORRUPT, "token 1 of val is 7, but the vocabulary has only 7 entries");
  put_text("foreign/meta.json", "{\"vocab_size\": 5}");
  refuse(at("foreign"), NULL, DD_E_CORRUPT, "token 2 of train is 5");
  put_text("foreign/meta.json", "{\"vocab_size\": 50");
  refuse(at("foreign"), NULL, DD_E_CORRUPT, "meta.json is damaged: line 1 is not valid JSON");
  put_text("foreign/meta.json", "[1]");
  refuse(at("foreign"), NULL, DD_E_CORRUPT, "not a JSON object");
  put_text("foreign/meta.json", "{\"vocab_size\": 50, \"hash\": \"00000000000000000000000000000000\"}");
  refuse(at("foreign"), NULL, DD_E_CORRUPT, "are not the ones meta.json was written for");
  unlink(at("foreign/meta.json"));
  put("foreign/val.bin", "\0\0\7", 3);
  refuse(at("foreign"), NULL, DD_E_CORRUPT, "odd number of bytes");
  put("foreign/val.bin", "\0\0", 2);
  refuse(at("foreign"), NULL, DD_E_CORRUPT, "at least 2 are needed");
  put("foreign/val.bin", "", 0);
  refuse(at("foreign"), NULL, DD_E_CORRUPT, "val.bin holds 0 tokens");
  put("foreign/val.bin", "\0\0\xFF\xFF", 4);
  refuse(at("foreign"), NULL, DD_E_CORRUPT, "val.bin: token 1 is 65535; ids must be from 0 to 65534");
  unlink(at("foreign/train.bin"));
  refuse(at("foreign"), NULL, DD_E_IO, "holds no train.bin");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(utf8_all_code_points),
      cmocka_unit_test(utf8_all_byte_strings),
      cmocka_unit_test(utf8_errors_name_the_offset),
      cmocka_unit_test(vocabulary_is_sorted_and_reversible),
      cmocka_unit_test(unknown_characters_are_named),
      cmocka_unit_test(vocabulary_limit),
      cmocka_unit_test(bad_vocabularies_in_json),
      cmocka_unit_test(split_is_nanogpts),
      cmocka_unit_test(bad_texts),
      cmocka_unit_test(identity_follows_contents),
      cmocka_unit_test(prepare_and_open_again),
      cmocka_unit_test(foreign_directories),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
