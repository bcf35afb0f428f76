/* The GPT-2 tokenizer: words, merges, files in all forms and damaged, data sets. Exactness against other
 * implementations: interop/bpe_test.py. */
#include "data_fixture.h"
#include "bpe_files.h"
#include "formats/pretokenizer.h"
#include "formats/unicode.h"

/* ---- words ---- */

static void words_are(const char *text, size_t n, const char *const *want) {
  for (size_t i = 0, length; i < n; i += length, want++) {
    length = dd_word_length(text + i, n - i);
    if (!*want || strlen(*want) != length || memcmp(text + i, *want, length) != 0)
      fail_msg("\"%s\": at %zu a word of %zu bytes, not \"%s\"", text, i, length, *want ? *want : "");
  }
  assert_null(*want);
}
#define WORDS(text, ...) words_are(text, sizeof text - 1, (const char *const[]){__VA_ARGS__, NULL})

static void test_words(void **state) {
  (void)state;
  WORDS("Hello world", "Hello", " world");
  WORDS("it's we'll I'm they'd you're I've can't", "it", "'s", " we", "'ll", " I", "'m", " they", "'d", " you", "'re",
        " I", "'ve", " can", "'t");
  WORDS("IT'S", "IT", "'", "S");
  WORDS("'r 'l ''s !'s", "'", "r", " '", "l", " ''", "s", " !'", "s");
  WORDS("'", "'");
  WORDS("a1b22 3", "a", "1", "b", "22", " 3");
  WORDS("a  b", "a", " ", " b");
  WORDS("a   \n\n  b", "a", "   \n\n ", " b");
  WORDS("a\nb", "a", "\n", "b");
  WORDS("a \nb", "a", " ", "\n", "b");
  WORDS("a  ", "a", "  ");
  WORDS(" ", " ");
  WORDS(" \t", " \t");
  WORDS("x=?! y", "x", "=?!", " y");
  WORDS("\xc3\xa9t\xc3\xa9 \xe6\xbc\xa2\xe5\xad\x97", "\xc3\xa9t\xc3\xa9", " \xe6\xbc\xa2\xe5\xad\x97");
  WORDS("\xd9\xa1\xc2\xbd", "\xd9\xa1\xc2\xbd");                       /* Arabic one, a half: numbers */
  WORDS("a\xc2\xa0" "b", "a", "\xc2\xa0", "b");                       /* a blank that is not U+0020 */
  WORDS("a\xe2\x80\x83\xe3\x80\x80z", "a", "\xe2\x80\x83", "\xe3\x80\x80", "z");
  WORDS("e\xcc\x81", "e", "\xcc\x81");                                /* a mark is no letter */
  WORDS("a\x1c" "b", "a", "\x1c", "b");                               /* not white space */
  WORDS("a\xff\xc3(b", "a", "\xff\xc3(", "b");                        /* no UTF-8: symbols */
  WORDS("\xf0\x9f\x98", "\xf0\x9f\x98");
}

/* A text cut where dd_word_cut says has the words of the whole. */
static void test_cuts(void **state) {
  (void)state;
  static const char alphabet[][5] = {"a", "B", "1", " ", " ", "\n", "'", "s", "ll", "!", "\xc3\xa9",
                                    "\xe2\x80\x83", "\xff"};
  uint32_t x = 1;
  char text[80];
  for (int round = 0; round < 20000; round++) {
    size_t n = 0;
    while (n < 40) {
      x = x * 1664525 + 1013904223;
      const char *c = alphabet[(x >> 16) % (sizeof alphabet / sizeof *alphabet)];
      memcpy(text + n, c, strlen(c));
      n += strlen(c);
    }
    const size_t cut = dd_word_cut(text, n, (x >> 8) % 40);
    size_t at = 0;
    while (at < cut) at += dd_word_length(text + at, n - at);
    assert_int_equal(at, cut);
    for (at = 0; at < cut; at += dd_word_length(text + at, cut - at))
      assert_int_equal(dd_word_length(text + at, cut - at), dd_word_length(text + at, n - at));
  }
}

static void test_classes(void **state) {
  (void)state;
  int n[4] = {0};
  for (uint32_t c = 0; c < 0x120000; c++) n[dd_unicode_class(c)]++;
  assert_int_equal(n[DD_CHAR_LETTER], 141028); /* of Unicode 16.0.0 */
  assert_int_equal(n[DD_CHAR_NUMBER], 1911);
  assert_int_equal(n[DD_CHAR_SPACE], 25);
  assert_int_equal(dd_unicode_class(0xFFFFFFFF), DD_CHAR_OTHER);
  for (int i = 0; i < 256; i++) assert_int_equal(dd_bpe_byte_of(dd_bpe_code_of((unsigned char)i)), i);
  assert_int_equal(dd_bpe_code_of(' '), 0x120);
  assert_int_equal(dd_bpe_code_of(0xAD), 0x143);
  for (uint32_t c = 0, bytes = 0; c < 0x400; c++) {
    bytes += dd_bpe_byte_of(c) >= 0;
    if (c == 0x3FF) assert_int_equal(bytes, 256);
  }
}

/* ---- merges ---- */

/* The plainest form: of all neighbours that join, the lowest rank, leftmost, one at a time. */
static size_t slow(const dd_bpe *b, const char *word, size_t n, uint16_t *id) {
  for (size_t i = 0; i < n; i++) id[i] = b->byte_id[(unsigned char)word[i]];
  for (;;) {
    const dd_bpe_pair *best = NULL;
    size_t at = 0;
    for (size_t i = 0; i + 1 < n; i++) {
      const dd_bpe_pair *p = dd_bpe_pair_of(b, id[i], id[i + 1]);
      if (p->rank != DD_BPE_NO_RANK && (!best || p->rank < best->rank)) best = p, at = i;
    }
    if (!best) return n;
    id[at] = (uint16_t)best->id;
    memmove(id + at + 1, id + at + 2, (n - at - 2) * sizeof *id);
    n--;
  }
}

static dd_bpe *load(const char *name) {
  dd_bpe *b = NULL;
  if (dd_bpe_load(&b, at(name), &err)) fail_msg("%s", err.message);
  return b;
}

static void write_forms(void) {
  static char text[32768];
  put_text("merges/merges.txt", merges_text);
  put_text("pair/merges.txt", merges_text);
  put("pair/vocab.json", text, (size_t)(vocab_json(text) - text));
  put_text("openai/vocab.bpe", merges_text);
  put("openai/encoder.json", text, (size_t)(vocab_json(text) - text));
  put("hf/tokenizer.json", text, (size_t)(tokenizer_json(text, 0) - text));
  put("hf2/tokenizer.json", text, (size_t)(tokenizer_json(text, 1) - text));
  put("rank/small.tiktoken", text, (size_t)(rank_lines(text) - text));
}

static void spells(const dd_bpe *b, const char *text, const char *want) {
  char got[1024] = "";
  uint16_t ids[256];
  dd_bpe_encoder *e = dd_bpe_encoder_create(b);
  const int64_t n = dd_bpe_encode(e, text, strlen(text), ids);
  dd_bpe_encoder_destroy(e);
  for (int64_t i = 0; i < n; i++) {
    size_t length;
    const char *token = dd_bpe_token(b, ids[i], &length);
    snprintf(got + strlen(got), sizeof got - strlen(got), "%s%.*s", i ? "|" : "", (int)length, token);
  }
  assert_string_equal(got, want);
}

static void test_merges(void **state) {
  (void)state;
  write_forms();
  dd_bpe *b = load("merges");
  assert_int_equal(dd_bpe_size(b), IDS);
  assert_int_equal(dd_bpe_end_of_text(b), IDS - 1);
  assert_true(dd_bpe_is_special(b, IDS - 1));
  assert_false(dd_bpe_is_special(b, IDS - 2));
  spells(b, "the the", "t|he| the");
  spells(b, "lower lowing", "lower| |low|ing");
  spells(b, "\xc3\xa9\n\nit's", "\xc3\xa9|\n|\n|i|t|'s");
  spells(b, "aaaaaaa", "aaaa|aaa"); /* rank before length, left before right */
  spells(b, "<|endoftext|>", "<|||e|n|d|o|f|t|e|x|t|||>");
  dd_bpe_release(b);
}

/* Short, long, cached and uncached words: what the plainest form gives. */
static void test_lengths(void **state) {
  (void)state;
  static const char alphabet[] = "aaaaaalowerinthe";
  static char text[6000], back[6000];
  static uint16_t got[6000], want[6000];
  for (int form = 0; form < 2; form++) {
    dd_bpe *b = load(form ? "rank" : "merges");
    dd_bpe_encoder *e = dd_bpe_encoder_create(b);
    uint32_t x = 7;
    for (int round = 0; round < 3000; round++) {
      const size_t n = round < 2950 ? 1 + (size_t)round % 140 : 500 + (size_t)round % 50 * 30;
      for (size_t i = 0; i < n; i++) x = x * 1664525 + 1013904223, text[i] = alphabet[x >> 28];
      const int64_t made = dd_bpe_encode(e, text, n, got);
      size_t k = slow(b, text, n, want), used = 0;
      const int whole = form ? dd_bpe_find(b, text, n) : -1;
      if (whole >= 0) k = 1, want[0] = (uint16_t)whole;
      assert_int_equal(made, k);
      assert_memory_equal(got, want, k * sizeof *got);
      for (size_t i = 0; i < k; i++) {
        size_t length;
        const char *token = dd_bpe_token(b, got[i], &length);
        memcpy(back + used, token, length);
        used += length;
      }
      assert_int_equal(used, n);
      assert_memory_equal(back, text, n);
    }
    dd_bpe_encoder_destroy(e);
    dd_bpe_release(b);
  }
}

/* ---- files ---- */

static void test_forms(void **state) {
  (void)state;
  static const char *const forms[] = {"merges", "pair", "openai", "hf", "hf2", "rank", "merges/merges.txt",
                                      "pair/vocab.json", "pair/merges.txt", "openai/encoder.json", "openai/vocab.bpe",
                                      "hf/tokenizer.json", "rank/small.tiktoken"};
  dd_bpe *first = load("merges");
  for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
    dd_bpe *b = load(forms[i]), *again = NULL;
    const int ranks = strncmp(forms[i], "rank", 4) == 0; /* these have no special token */
    assert_int_equal(dd_bpe_size(b), IDS - ranks);
    assert_int_equal(dd_bpe_end_of_text(b), ranks ? -1 : IDS - 1);
    if (!ranks) assert_string_equal(dd_bpe_hash(b), dd_bpe_hash(first));
    spells(b, " theing lower\n\n", " the|ing| |lower|\n\n");
    json_t *o = json_object();
    assert_int_equal(dd_bpe_to_json(b, o, &err), DD_OK);
    assert_int_equal(dd_bpe_from_json(&again, o, "copy", &err), DD_OK);
    assert_string_equal(dd_bpe_hash(b), dd_bpe_hash(again));
    assert_int_equal(dd_bpe_end_of_text(again), dd_bpe_end_of_text(b));
    spells(again, " theing lower\n\n", " the|ing| |lower|\n\n");
    json_decref(o);
    dd_bpe_release(again);
    dd_bpe_release(b);
  }
  dd_bpe_release(first);
}

static void refused(const char *path, int code, const char *words) {
  dd_bpe *b = NULL;
  hush();
  assert_int_equal(dd_bpe_load(&b, at(path), &err), code);
  assert_null(b);
  assert_says(words);
}

/* Write tokenizer.json with one part exchanged, and expect words. */
static void exchanged(const char *from, const char *to, const char *words) {
  static char text[32768], other[32768];
  *tokenizer_json(text, 0) = 0;
  char *there = strstr(text, from);
  assert_non_null(there);
  snprintf(other, sizeof other, "%.*s%s%s", (int)(there - text), text, to, there + strlen(from));
  put_text("other/tokenizer.json", other);
  refused("other/tokenizer.json", DD_E_CORRUPT, words);
}

static void test_refusals(void **state) {
  (void)state;
  refused("nowhere", DD_E_IO, "there is no");
  put_text("nothing/readme", "");
  refused("nothing", DD_E_IO, "holds no vocabulary of GPT-2");
  put_text("alone/vocab.json", "{}");
  refused("alone", DD_E_IO, "no merges.txt beside it");
  put_text("two/a.tiktoken", "");
  put_text("two/b.tiktoken", "");
  refused("two", DD_E_IO, "name one of them");
  refused("two/a.tiktoken", DD_E_CORRUPT, "lacks tokens for some of the 256 bytes");
  put_text("bad/a.tiktoken", "IQ== 0\nIQ== 1\n");
  refused("bad/a.tiktoken", DD_E_CORRUPT, "two ids for one token");
  put_text("bad/a.tiktoken", "IQ== 0\nIg== 0\n");
  refused("bad/a.tiktoken", DD_E_CORRUPT, "an id to two tokens");
  static const char *const lines[] = {"IQ==\n", "IQ== x\n", "IQ= 1\n", "I=== 1\n", "!!!! 1\n", "IQ== 1 2\n", " 1\n",
                                      "IQ== -1\n", "IQ== 12345678901\n"};
  for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
    put_text("bad/a.tiktoken", lines[i]);
    refused("bad/a.tiktoken", DD_E_CORRUPT, "not a token in base64 and its rank");
  }
  put_text("bad/a.tiktoken", "IQ== 65535\n");
  refused("bad/a.tiktoken", DD_E_CORRUPT, "beyond 0 to 65534");
  put_text("bad/merges.txt", "#version: 0.2\na b\nab\n");
  refused("bad/merges.txt", DD_E_CORRUPT, "not two tokens");
  put_text("bad/merges.txt", "a b\na b\n");
  refused("bad/merges.txt", DD_E_CORRUPT, "line 2 repeats a merge");
  put_text("bad/merges.txt", "a b\nq xy\n");
  refused("bad/merges.txt", DD_E_CORRUPT, "line 2 has a merge of tokens");
  put_text("bad/merges.txt", "a \xe2\x82\xac\n");
  refused("bad/merges.txt", DD_E_CORRUPT, "alphabet of bytes");
  put("bad/merges.txt", "a b\0\n", 5);
  refused("bad/merges.txt", DD_E_CORRUPT, "NUL");
  put_text("bad/x.json", "{\"a\":0}");
  refused("bad/x.json", DD_E_CORRUPT, "neither tokenizer.json nor vocab.json");
  put_text("bad/x.json", "{\"a\":0");
  refused("bad/x.json", DD_E_CORRUPT, "is damaged: line 1");
  exchanged("\"BPE\"", "\"WordPiece\"", "not BPE");
  exchanged("\"normalizer\":null", "\"normalizer\":{\"type\":\"NFC\"}", "another way than GPT-2");
  exchanged("\"ByteLevel\"", "\"Whitespace\"", "another way than GPT-2");
  exchanged("\"add_prefix_space\":false", "\"add_prefix_space\":true", "another way than GPT-2");
  exchanged("\"dropout\":null", "\"dropout\":0.1", "merges in another way");
  exchanged("\"unk_token\":null", "\"end_of_word_suffix\":\"</w>\"", "merges in another way");
  exchanged("\"!\":0,", "", "lacks tokens for some of the 256 bytes");
  exchanged("\"!\":0,", "\"!\":0.5,", "without an id");
  exchanged("\"h e\"", "\"he\"", "not two tokens");
  exchanged("{\"id\":271,", "{\"id\":3,", "id is another's");
}

/* Every byte of each form changed, every length: refused, or a vocabulary that gives texts back. */
static void test_damage(void **state) {
  (void)state;
  static char good[32768], text[32768];
  static const char *const name[] = {"merges.txt", "d.tiktoken", "tokenizer.json"};
  const int step = getenv("DD_LONG") ? 1 : getenv("DD_QUICK") ? 97 : 13;
  long cases = 0, whole = 0;
  for (int form = 0; form < 3; form++) {
    char path[64];
    snprintf(path, sizeof path, "damage%d/%s", form, name[form]);
    char *end = good + sizeof merges_text - 1;
    if (form == 0) memcpy(good, merges_text, sizeof merges_text - 1);
    else end = form == 1 ? rank_lines(good) : tokenizer_json(good, 1);
    const size_t n = (size_t)(end - good);
    put(path, good, n);
    for (size_t i = 0; i < n; i += form ? (size_t)step : 1)
      for (int how = 0; how < 4; how++, cases++) {
        memcpy(text, good, n);
        if (how == 1) text[i] = (char)(text[i] ^ 0x20);
        if (how == 2) text[i] = (char)0xC3;
        if (how == 3) text[i] = '\n';
        FILE *f = fopen(at(path), "wb");
        assert_int_equal(fwrite(text, 1, how ? n : i, f), how ? n : i);
        assert_int_equal(fclose(f), 0);
        dd_bpe *b = NULL;
        const int rc = dd_bpe_load(&b, at(path), &err);
        assert_true(rc == DD_OK || rc == DD_E_CORRUPT);
        if (rc) continue;
        whole++;
        uint16_t ids[64];
        static const char sample[] = " the lower aaaa'\xc3\xa9\xff\n";
        dd_bpe_encoder *e = dd_bpe_encoder_create(b);
        const int64_t made = dd_bpe_encode(e, sample, sizeof sample - 1, ids);
        size_t used = 0, length;
        for (int64_t k = 0; k < made; k++, used += length) {
          const char *token = dd_bpe_token(b, ids[k], &length);
          assert_memory_equal(token, sample + used, length);
        }
        assert_int_equal(used, sizeof sample - 1);
        dd_bpe_encoder_destroy(e);
        dd_bpe_release(b);
      }
  }
  print_message("%ld damaged files, %ld of them still a vocabulary\n", cases, whole);
}

/* ---- data ---- */

static void test_data_sets(void **state) {
  (void)state;
  static char text[20000];
  for (size_t i = 0; i + 20 < sizeof text; i += 10) memcpy(text + i, " the lower", 10);
  memcpy(text + 100, "\xc3\xa9\xc3\xa9\n\n", 6);
  put_text("text.txt", text);
  refuse(at("text.txt"), "gpt2", DD_E_USAGE, "--bpe");
  dd_bpe *b = load("merges");
  dd_dataset *d = NULL, *e = NULL;
  assert_int_equal(dd_dataset_open_bpe(&d, at("text.txt"), "gpt2", b, NULL, &err), DD_OK);
  assert_int_equal(d->vocab_size, IDS);
  /* bare numbers get the same vocabulary and are then the same data */
  put("bare/train.bin", d->train, (size_t)d->n_train * 2);
  put("bare/val.bin", d->val, (size_t)d->n_val * 2);
  hush();
  assert_int_equal(dd_dataset_open_bpe(&e, at("bare"), "gpt2", b, &callbacks, &err), DD_OK);
  assert_string_equal(heard, "");
  assert_string_equal(d->hash, e->hash);
  assert_int_equal(e->source_bytes, strlen(text));
  /* other kinds and larger ids do not */
  put_text("bare/meta.json", "{\"tokenizer\":\"number\",\"vocab_size\":300}");
  ((uint16_t *)d->memory[0])[5] = IDS;
  put("bare/train.bin", d->train, (size_t)d->n_train * 2);
  dd_dataset_close(e);
  assert_int_equal(dd_dataset_open_bpe(&e, at("bare"), "gpt2", b, NULL, &err), DD_E_CORRUPT);
  put_text("bare/meta.json", "{\"tokenizer\":\"byte\",\"vocab_size\":256}");
  memset(d->memory[0], 0, 64), put("bare/train.bin", d->train, 64), put("bare/val.bin", d->train, 64);
  assert_int_equal(dd_dataset_open_bpe(&e, at("bare"), "gpt2", b, NULL, &err), DD_E_USAGE);
  assert_says("a vocabulary of its own");
  dd_dataset_close(d);

  /* JSON keeps it, also with the ids of a padded model */
  dd_vocab v, back = {0}, copy = {0};
  dd_vocab_gpt2(&v, b, IDS + 40);
  assert_int_equal(v.size, IDS + 40);
  json_t *o = json_object();
  assert_int_equal(dd_vocab_to_json(&v, o, &err), DD_OK);
  assert_int_equal(dd_vocab_from_json(&back, o, "meta", &err), DD_OK);
  assert_int_equal(dd_vocab_copy(&copy, &back, &err), DD_OK);
  assert_true(dd_vocab_equal(&v, &copy));
  assert_int_equal(text_of(&v, IDS + 10, text), 0);
  json_object_set_new(o, "vocab_size", json_integer(IDS - 1));
  dd_vocab_free(&back);
  assert_int_equal(dd_vocab_from_json(&back, o, "meta", &err), DD_E_CORRUPT);
  json_decref(o);

  /* prompts know the special token, texts do not; it stands for no text */
  uint16_t *ids;
  int64_t n;
  static const char prompt[] = "<|endoftext|> the<|endoftext|>";
  assert_int_equal(dd_vocab_encode_prompt(&v, prompt, sizeof prompt - 1, &ids, &n, &err), DD_OK);
  assert_int_equal(n, 3);
  assert_int_equal(ids[0], IDS - 1);
  assert_int_equal(ids[2], IDS - 1);
  assert_int_equal(dd_vocab_text_bytes(&v, ids, n), 4);
  free(ids);
  assert_int_equal(dd_vocab_encode(&v, prompt, sizeof prompt - 1, "p", &ids, &n, NULL, &err), DD_OK);
  assert_int_equal(dd_vocab_text_bytes(&v, ids, n), sizeof prompt - 1);
  free(ids);
  dd_vocab_free(&v);
  dd_vocab_free(&copy);
  dd_bpe_release(b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_words),  cmocka_unit_test(test_cuts),  cmocka_unit_test(test_classes),
    cmocka_unit_test(test_merges), cmocka_unit_test(test_lengths), cmocka_unit_test(test_forms),
    cmocka_unit_test(test_refusals), cmocka_unit_test(test_damage), cmocka_unit_test(test_data_sets),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
