/* Headers of token files and the reader of pickles: every type and protocol, what is refused, damage. */
#include "data_fixture.h"
#include "formats/pickle.h"
#include "formats/tokens.h"
#include "mem_file.h"
#include "pickle_cases.h"
#include "token_files.h"

/* Open image[n] as a token file; on success all of its ids are read. */
static int open_image(size_t n, dd_token_layout *l, int64_t *ids) {
  dd_token_file *f;
  err.message[0] = 0;
  mem_file_use(image, n);
  int rc = dd_token_file_open("tokens", &f, &err);
  if (!rc) {
    *l = *dd_token_file_layout(f);
    assert_true(l->count <= n && l->at + l->count * (uint64_t)l->width == n);
    rc = dd_token_file_read(f, 0, ids, (size_t)l->count, &err);
    dd_token_file_close(f);
  }
  assert_int_equal(mem_file.open, 0);
  dd_fs_replace(NULL);
  return rc;
}

static void refuse_image(size_t n, const char *words) {
  static int64_t ids[4096];
  dd_token_layout l;
  const int rc = open_image(n, &l, ids);
  if (rc != DD_E_CORRUPT || !strstr(err.message, words) || !strstr(err.message, "tokens"))
    fail_msg("wanted \"%s\", got %d \"%s\"", words, rc, err.message);
}

/* ---- npy ---- */

static void npy_types(void **state) {
  (void)state;
  static const struct {
    const char *type, *name;
    int width;
    int64_t second;
  } t[] = {{"|u1", "uint8", 1, 0xfe},      {"|i1", "int8", 1, -2},       {"<u2", "uint16", 2, 0xfffe},
           {"<i2", "int16", 2, -2},        {"<u4", "uint32", 4, 0xfffffffe}, {"<i4", "int32", 4, -2},
           {"<u8", "uint64", 8, INT64_MAX}, {"<i8", "int64", 8, -2},      {"=u2", "uint16", 2, 0xfffe}};
  for (size_t i = 0; i < sizeof t / sizeof *t; i++)
    for (int version = 1; version <= 3; version++) {
      unsigned char data[16] = {7};
      char dictionary[128], name[16], format[32];
      int64_t ids[2];
      dd_token_layout l;
      memset(data + t[i].width, 0xff, 8); /* -2, or the largest but one */
      data[t[i].width] = 0xfe;
      snprintf(dictionary, sizeof dictionary, "{'descr': '%s', 'fortran_order': False, 'shape': (2,), }", t[i].type);
      assert_int_equal(open_image(npy(version, dictionary, data, 2 * (size_t)t[i].width), &l, ids), DD_OK);
      assert_int_equal(l.count, 2);
      assert_int_equal(l.width, t[i].width);
      assert_true(ids[0] == 7 && ids[1] == t[i].second);
      dd_tokens_type_name(&l, name);
      dd_tokens_format_name(&l, format);
      assert_string_equal(name, t[i].name);
      snprintf(dictionary, sizeof dictionary, "npy version %d", version);
      assert_string_equal(format, dictionary);
    }
}

static void npy_spellings(void **state) {
  (void)state;
  static const char *const good[] = {"{'descr': '<u2', 'fortran_order': False, 'shape': (2,), }",
                                     "{\"shape\":(2,),\"descr\":\"<u2\",\"fortran_order\":False}",
                                     "  {'shape': (2L,), 'fortran_order': False, 'descr': '<u2'}",
                                     "{'descr': '<u2', 'fortran_order': False, 'shape': ( 2 ), }"};
  int64_t ids[2];
  dd_token_layout l;
  for (size_t i = 0; i < sizeof good / sizeof *good; i++)
    if (open_image(npy(1, good[i], "\1\0\2\0", 4), &l, ids)) fail_msg("%s: %s", good[i], err.message);
}

static void npy_refused(void **state) {
  (void)state;
  static const struct {
    const char *dictionary, *words;
  } bad[] = {{NPY(">u2", "False", "(2,)"), "big-endian"},
             {NPY(">i8", "False", "(2,)"), "big-endian"},
             {NPY("<f4", "False", "(2,)"), "does not hold integers"},
             {NPY("|b1", "False", "(2,)"), "does not hold integers"},
             {NPY("|S2", "False", "(2,)"), "does not hold integers"},
             {NPY("<u3", "False", "(2,)"), "does not hold integers"},
             {NPY("<u22", "False", "(2,)"), "does not hold integers"},
             {NPY("", "False", "(2,)"), "does not hold integers"},
             {NPY("<u2", "True", "(2,)"), "Fortran"},
             {NPY("<u2", "False", "(1, 2)"), "more than one dimension"},
             {NPY("<u2", "False", "(2, 1,)"), "more than one dimension"},
             {NPY("<u2", "False", "()"), "without a dimension"},
             {NPY("<u2", "False", "(3,)"), "promises 3 numbers"},
             {NPY("<u2", "False", "(1,)"), "promises 1 numbers"},
             {NPY("<u2", "False", "(9223372036854775810,)"), "promises"},
             {NPY("<u2", "False", "(18446744073709551617,)"), "damaged header"},
             {NPY("<u2", "False", "(-2,)"), "damaged header"},
             {NPY("<u2", "False", "2"), "damaged header"},
             {NPY("<u2", "0", "(2,)"), "damaged header"},
             {"{'descr': [('a', '<u2')], 'fortran_order': False, 'shape': (2,), }", "records of several fields"},
             {"{'descr': '<u2', 'fortran_order': False}", "damaged header"},
             {"{'descr': '<u2', 'descr': '<u2', 'fortran_order': False, 'shape': (2,)}", "damaged header"},
             {"{'descr': '<u2', 'fortran_order': False, 'shape': (2,), 'more': 1}", "damaged header"},
             {"{'descr': '<u2', 'fortran_order': False, 'shape': (2,)} 1", "damaged header"},
             {"{'descr': '<u2', 'fortran_order': False, 'shape': (2,)", "damaged header"},
             {"{'descr' '<u2'}", "damaged header"},
             {"{", "damaged header"},
             {"", "damaged header"}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    refuse_image(npy(1, bad[i].dictionary, "\1\0\2\0", 4), bad[i].words);
  const size_t n = npy(2, NPY("<u2", "False", "(2,)"), "\1\0\2\0", 4);
  image[6] = 4;
  refuse_image(n, "version 4.0");
  image[6] = 2, image[7] = 1;
  refuse_image(n, "version 2.1");
  image[7] = 0, image[11] = 0xff;
  refuse_image(n, "has a damaged header: it says that it has");
}

/* Cut anywhere, or longer, it is refused; with any byte of the header changed it is refused or still fits its size. */
static void damaged_headers(void **state) {
  (void)state;
  static int64_t ids[2048]; /* a file whose magic is damaged is raw */
  dd_token_layout l;
  for (int kind = 0; kind < 2; kind++) {
    const size_t n = kind ? llmc(20240520, 1, 2, "\1\0\2\0", 4) : npy(1, NPY("<u2", "False", "(2,)"), "\1\0\2\0", 4);
    unsigned char good[2048];
    long accepted = 0;
    memcpy(good, image, n);
    for (size_t cut = 8; cut < n; cut++) refuse_image(cut, cut < n - 4 ? "truncated" : "promises 2");
    for (size_t more = 1; more < 10; more++) refuse_image(n + more, "promises 2");
    for (size_t i = 0; i < n - 4; i++)
      for (int w = 1; w < 256; w++) {
        image[i] = good[i] ^ (unsigned char)w;
        const int rc = open_image(n, &l, ids);
        accepted += rc == DD_OK;
        if (rc && (rc != DD_E_CORRUPT || strlen(err.message) < 20)) fail_msg("byte %zu: %d %s", i, rc, err.message);
        image[i] = good[i];
      }
    /* Other first bytes make it raw (one: llm.c's examples). llm.c does not use 253 words; npy: blanks, byte order. */
    assert_true(kind ? accepted == (4 + 1012) * 255 - 1 : accepted > 6 * 255 && accepted < 6 * 255 + 200);
  }
}

/* ---- llm.c ---- */

static void llmc_files(void **state) {
  (void)state;
  int64_t ids[2];
  dd_token_layout l;
  assert_int_equal(open_image(llmc(20240520, 1, 2, "\x50\xc4\2\0", 4), &l, ids), DD_OK);
  assert_true(l.format == DD_TOKENS_LLMC && l.width == 2 && ids[0] == 50256 && ids[1] == 2);
  assert_int_equal(open_image(llmc(20240801, 7, 2, "\0\0\1\0\2\0\0\0", 8), &l, ids), DD_OK);
  assert_true(l.width == 4 && ids[0] == 65536 && ids[1] == 2);
  refuse_image(llmc(20240520, 7, 2, "\1\0\2\0", 4), "version 7");
  refuse_image(llmc(20240801, 1, 2, "\1\0\2\0\1\0\2\0", 8), "version 1");
  refuse_image(llmc(20240520, 1, 3, "\1\0\2\0", 4), "promises 3 tokens, and 4 bytes follow");
  refuse_image(llmc(20240520, 1, 0x80000002, "\1\0\2\0", 4), "promises 2147483650 tokens");
  refuse_image(llmc(20240522, 1, 1, "\1\0\2\0", 4), "multiple-choice");
}

/* ---- pickles ---- */

static const dd_pickle_value *get(const dd_pickle *p, const char *key) {
  const dd_pickle_value *v = dd_pickle_get(dd_pickle_root(p), key);
  if (!v) fail_msg("no %s", key);
  return v;
}

static void pickles_of_every_protocol(void **state) {
  (void)state;
  for (int k = 0; k < 6; k++) {
    dd_pickle *p;
    if (dd_pickle_parse(pickled_every[k].data, pickled_every[k].size, "x.pkl", &p, &err)) fail_msg("%s", err.message);
    assert_int_equal(dd_pickle_protocol(p), k < 2 ? 0 : k);
    assert_int_equal(get(p, "none")->kind, DD_PICKLE_NONE);
    assert_true(get(p, "yes")->kind == DD_PICKLE_BOOL && get(p, "yes")->integer == 1 && get(p, "no")->integer == 0);
    static const struct {
      const char *key;
      int64_t value;
    } ints[] = {{"small", 200}, {"mid", 60000}, {"neg", -5}, {"big", INT64_C(1) << 40}, {"least", INT64_MIN},
                {"most", INT64_MAX}};
    for (int i = 0; i < 6; i++)
      assert_true(get(p, ints[i].key)->kind == DD_PICKLE_INT && get(p, ints[i].key)->integer == ints[i].value);
    assert_true(get(p, "real")->kind == DD_PICKLE_REAL && get(p, "real")->real == -2.5);
    static const struct {
      const char *key;
      dd_pickle_kind kind;
      size_t count;
    } lists[] = {{"tuple", DD_PICKLE_TUPLE, 2}, {"triple", DD_PICKLE_TUPLE, 3}, {"list", DD_PICKLE_LIST, 2},
                 {"empty", DD_PICKLE_TUPLE, 0}, {"one", DD_PICKLE_TUPLE, 1},    {"four", DD_PICKLE_TUPLE, 4},
                 {"dict", DD_PICKLE_DICT, 0}};
    for (int i = 0; i < 7; i++)
      assert_true(get(p, lists[i].key)->kind == lists[i].kind && get(p, lists[i].key)->count == lists[i].count);
    const dd_pickle_value *inner = get(p, "list")->item[1];
    assert_true(inner->count == 2 && inner->item[1]->kind == DD_PICKLE_LIST && inner->item[1]->count == 0);
    const dd_pickle_value *text = get(p, "esc");
    assert_int_equal(text->size, 9);
    assert_memory_equal(text->text, "\\ \xc4\x80 back", 9);
    assert_null(dd_pickle_get(dd_pickle_root(p), "nothing"));
    assert_null(dd_pickle_get(text, "nothing"));
    dd_pickle_free(p);
  }
}

static void refuse_pickle(const char *data, size_t n, const char *words) {
  dd_pickle *p;
  hush();
  const int rc = dd_pickle_parse(data, n, "x.pkl", &p, &err);
  if (rc != DD_E_CORRUPT || p || !strstr(err.message, words) || !strstr(err.message, "x.pkl"))
    fail_msg("wanted \"%s\", got %d \"%s\"", words, rc, err.message);
}

#define PICKLE(text) text, sizeof text - 1
static void pickles_refused(void **state) {
  (void)state;
  static const struct {
    const char *data;
    size_t n;
    const char *words;
  } bad[] = {
      {PICKLE("cos\nsystem\n(S'true'\ntR."), "more than plain data (GLOBAL at byte 0)"},
      {PICKLE("\x80\4\x8c\2os\x8c\6system\x93\x8c\4true\x85R."), "(STACK_GLOBAL at byte 14)"},
      {PICKLE("N)R."), "(REDUCE at byte 2)"},
      {PICKLE("(ios\nsystem\n."), "(INST at byte 1)"},
      {PICKLE("(N)o."), "(OBJ at byte 3)"},
      {PICKLE("N}b."), "(BUILD at byte 2)"},
      {PICKLE("N)\x81."), "(NEWOBJ at byte 2)"},
      {PICKLE("\x80\4N)}\x92."), "(NEWOBJ_EX at byte 5)"},
      {PICKLE("\x82\1."), "(EXT1 at byte 0)"},
      {PICKLE("Pid\n."), "(PERSID at byte 0)"},
      {PICKLE("NQ."), "(BINPERSID at byte 1)"},
      {PICKLE("\x80\4\x8f."), "(EMPTY_SET at byte 2)"},
      {PICKLE("\x97."), "(NEXT_BUFFER at byte 0)"},
      {PICKLE(""), "truncated"},
      {PICKLE("N"), "truncated"},
      {PICKLE("."), "a value is missing"},
      {PICKLE("(N."), "ends inside a container"},
      {PICKLE("N.N"), "something follows its end"},
      {PICKLE("\xff."), "this opcode is not known"},
      {PICKLE("\x80\6N."), "newer than 5"},
      {PICKLE("t."), "a mark is missing"},
      {PICKLE("(Nd."), "a key has no value"},
      {PICKLE("}(Nu."), "a key has no value"},
      {PICKLE("]NNs."), "no container of this kind"},
      {PICKLE("}Na."), "no container of this kind"},
      {PICKLE("Na."), "a value is missing"},
      {PICKLE("N\x87."), "a value is missing"},
      {PICKLE("(\x85."), "a value is missing"},
      {PICKLE("h\0."), "a value that was not there"},
      {PICKLE("g7\n."), "a value that was not there"},
      {PICKLE("Nr\xff\xff\xff\xff."), "its memo is too large"},
      {PICKLE("Npx\n."), "its memo is damaged"},
      {PICKLE("Np1234567890\n."), "its memo is damaged"},
      {PICKLE("q\0."), "a value is missing"},
      {PICKLE("I9223372036854775808\n."), "more than 64 bits"},
      {PICKLE("I12x\n."), "damaged"},
      {PICKLE("I-\n."), "damaged"},
      {PICKLE("\x8a\x09\1\1\1\1\1\1\1\1\1."), "more than 64 bits"},
      {PICKLE("\x8b\xff\xff\xff\x7f."), "more than 64 bits"},
      {PICKLE("Fnan\n."), "not finite"},
      {PICKLE("X\xff\xff\xff\xff" "a."), "truncated"},
      {PICKLE("\x8d\xff\xff\xff\xff\xff\xff\xff\xff" "a."), "truncated"},
      {PICKLE("\x95\xff\xff\xff\xff\xff\xff\xff\xff."), "truncated"},
      {PICKLE("V\\u12\n."), "damaged escape"},
      {PICKLE("V\\U00110000\n."), "damaged escape"},
      {PICKLE("Vno end"), "truncated"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) refuse_pickle(bad[i].data, bad[i].n, bad[i].words);
}

static void pickles_have_limits(void **state) {
  (void)state;
  const size_t n = DD_PICKLE_BYTES + 1;
  char *many = malloc(n);
  assert_non_null(many);
  memset(many, '(', n);
  refuse_pickle(many, 1000, "nested too deeply");
  memset(many, ']', n);
  refuse_pickle(many, DD_PICKLE_BYTES, "too many values");
  memset(many, 'N', n);
  refuse_pickle(many, DD_PICKLE_BYTES, "too many values");
  refuse_pickle(many, n, "too large");
  for (size_t i = 3; i + 3 <= n; i += 3) memcpy(many + i, "h\0a", 3); /* a list that holds itself */
  dd_pickle *p;
  memcpy(many, "]q\0", 3);
  memcpy(many + 9, ".", 1);
  assert_int_equal(dd_pickle_parse(many, 10, "x", &p, &err), DD_OK);
  assert_true(dd_pickle_root(p)->count == 2 && dd_pickle_root(p)->item[1] == dd_pickle_root(p));
  dd_pickle_free(p);
  memcpy(many + 9, "h\0a", 3);
  refuse_pickle(many, DD_PICKLE_BYTES, "too many values");
  free(many);
}

/* Cut anywhere it is refused; changed anywhere it is refused or read, but never anything else. */
static void damaged_pickles(void **state) {
  (void)state;
  char data[512];
  for (int k = 0; k < 6; k++) {
    const size_t n = pickled_meta[k].size;
    assert_true(n <= sizeof data);
    for (size_t cut = 0; cut < n; cut++) refuse_pickle(pickled_meta[k].data, cut, "");
    memcpy(data, pickled_meta[k].data, n);
    for (size_t i = 0; i < n; i++)
      for (int w = 1; w < 256; w++) {
        dd_pickle *p;
        data[i] ^= (char)w;
        const int rc = dd_pickle_parse(data, n, "x", &p, &err);
        if (rc && rc != DD_E_CORRUPT) fail_msg("byte %zu: %d %s", i, rc, err.message);
        dd_pickle_free(p);
        data[i] ^= (char)w;
      }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(npy_types),
      cmocka_unit_test(npy_spellings),
      cmocka_unit_test(npy_refused),
      cmocka_unit_test(damaged_headers),
      cmocka_unit_test(llmc_files),
      cmocka_unit_test(pickles_of_every_protocol),
      cmocka_unit_test(pickles_refused),
      cmocka_unit_test(pickles_have_limits),
      cmocka_unit_test(damaged_pickles),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
