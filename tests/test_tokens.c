/* Token files and vocabularies of other programs: npy, llm.c, pickles, and the directories that hold them. */
#include "data_fixture.h"
#include "formats/pickle.h"
#include "formats/tokens.h"
#include "mem_file.h"
#include "pickle_cases.h"
#include "run/settings.h"
#include "run/token_dir.h"
#include <math.h>

/* ---- files made here ---- */

static unsigned char image[4096];

/* An .npy file of that dictionary and data; returns its size. */
static size_t npy(int version, const char *dictionary, const void *data, size_t n) {
  const size_t fixed = version == 1 ? 10 : 12;
  const size_t length = (fixed + strlen(dictionary) + 1 + 63) / 64 * 64 - fixed;
  memcpy(image, "\x93NUMPY", 6);
  image[6] = (unsigned char)version, image[7] = 0;
  image[8] = (unsigned char)length, image[9] = (unsigned char)(length >> 8), image[10] = image[11] = 0;
  memset(image + fixed, ' ', length);
  memcpy(image + fixed, dictionary, strlen(dictionary));
  image[fixed + length - 1] = '\n';
  memcpy(image + fixed + length, data, n);
  return fixed + length + n;
}

static void put_le32(unsigned char *p, uint32_t v) {
  for (int i = 0; i < 4; i++) p[i] = (unsigned char)(v >> 8 * i);
}

static size_t llmc(uint32_t magic, uint32_t version, uint32_t count, const void *data, size_t n) {
  memset(image, 0, 1024);
  put_le32(image, magic), put_le32(image + 4, version), put_le32(image + 8, count);
  memcpy(image + 1024, data, n);
  return 1024 + n;
}

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
#define NPY(type, order, shape) "{'descr': '" type "', 'fortran_order': " order ", 'shape': " shape ", }"
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
  assert_true(dd_vocab_decode(&v, 0, text) == 1 && text[0] == 'b');
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
      cmocka_unit_test(npy_types),
      cmocka_unit_test(npy_spellings),
      cmocka_unit_test(npy_refused),
      cmocka_unit_test(damaged_headers),
      cmocka_unit_test(llmc_files),
      cmocka_unit_test(pickles_of_every_protocol),
      cmocka_unit_test(pickles_refused),
      cmocka_unit_test(pickles_have_limits),
      cmocka_unit_test(damaged_pickles),
      cmocka_unit_test(meta_of_every_protocol),
      cmocka_unit_test(meta_forms),
      cmocka_unit_test(nanogpt_directory),
      cmocka_unit_test(other_directories),
      cmocka_unit_test(single_files),
      cmocka_unit_test(prepared),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
