/* Container of checkpoints: round trips, the golden files, and damage of every kind.
 * Golden files: arguments, else all *.safetensors of the directory $DD_GOLDEN. */
#include "st_common.h"
#include <dirent.h>
#include <unistd.h>
#include "core/file.h"

static char dir[256], file[300];
static char *golden[64];
static size_t goldens;

/* ---- a small checkpoint of our own ---- */

static float w[6 * 11];
static int32_t ids[5];
static double loss[3];
static unsigned char bytes[131];

static size_t small_tensors(dd_tensor_info t[6]) {
  for (size_t i = 0; i < 66; i++) w[i] = (float)i * 0.25f - 3.0f;
  for (int i = 0; i < 5; i++) ids[i] = 7 * i - 9;
  for (int i = 0; i < 3; i++) loss[i] = 1.0 / (i + 3);
  for (int i = 0; i < 131; i++) bytes[i] = (unsigned char)(i * 37);
  t[0] = (dd_tensor_info){.name = "transformer.wte.weight", .dtype = DD_F32, .ndim = 2, .shape = {6, 11}, .data = w};
  t[1] = (dd_tensor_info){.name = "ids", .dtype = DD_I32, .ndim = 1, .shape = {5}, .data = ids};
  t[2] = (dd_tensor_info){.name = "empty", .dtype = DD_F32, .ndim = 2, .shape = {4, 0}};
  t[3] = (dd_tensor_info){.name = "none", .dtype = DD_U8, .ndim = 1, .shape = {0}};
  t[4] = (dd_tensor_info){.name = "loss", .dtype = DD_F64, .ndim = 0, .data = loss};
  t[5] = (dd_tensor_info){.name = "b\xc3\xbctes", .dtype = DD_U8, .ndim = 4, .shape = {1, 131, 1, 1}, .data = bytes};
  return 6;
}

static json_t *small_metadata(void) {
  return json_pack("{s:s, s:s}", "n_layer", "2", "text", "\xc3\xa4 \"quoted\" \n");
}

static void load(const char *path, unsigned char **data, size_t *size) {
  dd_error err;
  char *text;
  dd_fs_replace(NULL);
  assert_int_equal(dd_file_read_all(path, (size_t)1 << 30, &text, size, &err), DD_OK);
  *data = malloc(*size + 4096); /* without the helpful NUL byte; room to append */
  memcpy(*data, text, *size);
  memset(*data + *size, ' ', 4096);
  free(text);
}

static void make_small(unsigned char **data, size_t *size) {
  dd_tensor_info t[6];
  dd_error err;
  const size_t n = small_tensors(t);
  json_t *meta = small_metadata();
  dd_fs_replace(NULL);
  assert_int_equal(dd_st_write(file, t, n, meta, &err), DD_OK);
  json_decref(meta);
  load(file, data, size);
}

/* ---- what must work ---- */

static void test_round_trip(void **state) {
  (void)state;
  dd_tensor_info t[6];
  dd_error err;
  const size_t n = small_tensors(t);
  json_t *meta = small_metadata();
  unsigned char *data, *again;
  size_t size, size2;
  make_small(&data, &size);
  assert_int_equal(dd_st_size(t, n, meta), size);
  make_small(&again, &size2);
  assert_int_equal(size, size2);
  assert_memory_equal(data, again, size);
  free(again);
  dd_st *st;
  assert_int_equal(dd_st_open(file, &st, &err), DD_OK);
  assert_false(dd_st_is_foreign(st));
  assert_string_equal(dd_st_path(st), file);
  assert_int_equal(dd_st_count(st), n);
  assert_true(json_equal(dd_st_metadata(st), meta));
  assert_string_equal(dd_st_meta(st, "n_layer"), "2");
  assert_null(dd_st_meta(st, "header_xxh3"));
  assert_null(dd_st_find(st, "__metadata__"));
  assert_null(dd_st_find(st, "wte"));
  assert_null(dd_st_at(st, n));
  assert_int_equal(dd_st_verify(st, &err), DD_OK);
  uint64_t at = 0;
  for (size_t i = 0; i < n; i++) {
    const dd_tensor_info *r = dd_st_at(st, i);
    uint64_t want;
    assert_true(dd_tensor_bytes(&t[i], &want));
    assert_string_equal(r->name, t[i].name);
    assert_int_equal(r->dtype, t[i].dtype);
    assert_int_equal(r->ndim, t[i].ndim);
    assert_memory_equal(r->shape, t[i].shape, sizeof r->shape);
    assert_int_equal(r->begin, at);
    assert_int_equal(r->end - r->begin, want);
    at = r->end;
    void *dst = malloc(want + 1);
    assert_int_equal(dd_st_read(st, r, dst, want, &err), DD_OK);
    if (want) assert_memory_equal(dst, t[i].data, want);
    assert_int_equal(dd_st_read(st, r, dst, want + 1, &err), DD_E_CORRUPT);
    free(dst);
  }
  float x;
  assert_int_equal(dd_st_read(st, &t[0], &x, sizeof x, &err), DD_E_USAGE);
  dd_st_close(st);
  dd_st_close(NULL);
  assert_int_equal((size - at) % DD_ST_ALIGN, 0); /* where the data begins */
  json_decref(meta);
  mem_file_use(data, size); /* reads that come in pieces */
  for (mem_file.max_read = 1; mem_file.max_read < 100; mem_file.max_read++) assert_int_equal(try_all(&err), DD_OK);
  mem_file.max_read = 0;
  free(data);
}

static void test_every_dtype(void **state) {
  (void)state;
  static const uint64_t zeros[DD_DTYPES][3];
  char name[DD_DTYPES][16];
  dd_tensor_info t[DD_DTYPES];
  dd_error err;
  for (int i = 0; i < DD_DTYPES; i++) {
    snprintf(name[i], sizeof name[i], "t%d", i);
    t[i] = (dd_tensor_info){.name = name[i], .dtype = (dd_dtype)i, .ndim = 1, .shape = {3}, .data = zeros[i]};
  }
  dd_fs_replace(NULL);
  assert_int_equal(dd_st_write(file, t, DD_DTYPES, NULL, &err), DD_OK);
  dd_st *st;
  assert_int_equal(dd_st_open(file, &st, &err), DD_OK);
  for (size_t i = 0; i < DD_DTYPES; i++) assert_int_equal(dd_st_at(st, i)->dtype, i);
  assert_int_equal(dd_st_verify(st, &err), DD_OK);
  dd_st_close(st);
  assert_int_equal(dd_st_write(file, NULL, 0, NULL, &err), DD_OK); /* no tensors at all */
  assert_int_equal(dd_st_open(file, &st, &err), DD_OK);
  assert_int_equal(dd_st_count(st), 0);
  assert_false(dd_st_is_foreign(st));
  dd_st_close(st);
  assert_int_equal(dd_dtype_size((dd_dtype)99), 0);
}

static void test_writer_refuses(void **state) {
  (void)state;
  float x[4] = {0};
  const dd_tensor_info good = {.name = "a", .dtype = DD_F32, .ndim = 1, .shape = {4}, .data = x};
  static char long_name[DD_ST_MAX_NAME + 2];
  memset(long_name, 'x', DD_ST_MAX_NAME + 1);
  const char *names[] = {"", "__metadata__", "a\nb", "\x1b[31m", "a\xc2\x9b", "\xff\xfe", long_name, NULL};
  dd_error err;
  dd_fs_replace(NULL);
  unlink(file);
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    dd_tensor_info t = good;
    t.name = names[i];
    assert_int_equal(dd_st_write(file, &t, 1, NULL, &err), DD_E_USAGE);
    assert_int_equal(dd_st_size(&t, 1, NULL), 0);
  }
  dd_tensor_info t[2] = {good, good};
  assert_int_equal(dd_st_write(file, t, 2, NULL, &err), DD_E_USAGE); /* twice the same name */
  t[1].name = "b", t[1].shape[0] = -1;
  assert_int_equal(dd_st_write(file, t, 2, NULL, &err), DD_E_USAGE);
  t[1].shape[0] = INT64_MAX;
  assert_int_equal(dd_st_write(file, t, 2, NULL, &err), DD_E_USAGE);
  t[1] = good, t[1].name = "b", t[1].ndim = 5;
  assert_int_equal(dd_st_write(file, t, 2, NULL, &err), DD_E_USAGE);
  t[1].ndim = 1, t[1].data = NULL;
  assert_int_equal(dd_st_write(file, t, 2, NULL, &err), DD_E_USAGE);
  json_t *bad[] = {json_pack("{s:i}", "k", 1), json_pack("{s:s}", "header_xxh3", "x"),
                   json_pack("{s:s}", "tensors_xxh3", "x"), json_pack("[s]", "k"), json_object()};
  json_object_set_new(bad[4], "nul", json_stringn("a\0b", 3));
  for (size_t i = 0; i < 5; i++) {
    assert_int_equal(dd_st_write(file, &good, 1, bad[i], &err), DD_E_USAGE);
    json_decref(bad[i]);
  }
  json_t *huge = json_object();
  char *text = malloc(DD_ST_MAX_HEADER);
  memset(text, 'x', DD_ST_MAX_HEADER);
  json_object_set_new(huge, "k", json_stringn(text, DD_ST_MAX_HEADER));
  assert_int_equal(dd_st_write(file, &good, 1, huge, &err), DD_E_USAGE);
  json_decref(huge);
  free(text);
  assert_false(dd_is_file(file)); /* nothing of this touched the file */
  char none[400];
  snprintf(none, sizeof none, "%s/no/such/dir.safetensors", dir);
  assert_int_equal(dd_st_write(none, &good, 1, NULL, &err), DD_E_IO);
  assert_non_null(strstr(err.message, none));
}

static void test_golden(void **state) {
  (void)state;
  if (goldens == 0) skip();
  dd_fs_replace(NULL);
  for (size_t g = 0; g < goldens; g++) {
    dd_error err;
    dd_st *st;
    if (dd_st_open(golden[g], &st, &err) != DD_OK) fail_msg("%s", err.message);
    assert_true(dd_st_is_foreign(st));
    assert_int_equal(dd_st_verify(st, &err), DD_OK);
    assert_true(atoi(dd_st_meta(st, "n_layer")) > 0);
    double v[3];
    const dd_tensor_info *t = dd_st_find(st, "loss");
    assert_non_null(t);
    assert_int_equal(t->dtype, DD_F64);
    assert_int_equal(dd_st_read(st, t, v, sizeof v, &err), DD_OK);
    for (int i = 0; i < 3; i++) assert_true(v[i] > 0.5 && v[i] < 10);
    const dd_tensor_info *wte = dd_st_find(st, "param/transformer.wte.weight"), *idx = dd_st_find(st, "idx");
    assert_non_null(wte);
    assert_non_null(idx);
    assert_int_equal(idx->dtype, DD_I32);
    int32_t *tokens = malloc(idx->end - idx->begin);
    assert_int_equal(dd_st_read(st, idx, tokens, idx->end - idx->begin, &err), DD_OK);
    for (int64_t i = 0; i < idx->shape[0] * idx->shape[1]; i++)
      assert_true(tokens[i] >= 0 && tokens[i] < wte->shape[0]);
    free(tokens);
    dd_st_close(st);
  }
  print_message("golden files read: %zu\n", goldens);
}

/* A golden file written again as ours has the same tensors, and hashes. */
static void test_golden_rewritten(void **state) {
  (void)state;
  if (goldens == 0) skip();
  dd_error err;
  dd_st *st, *own;
  dd_fs_replace(NULL);
  assert_int_equal(dd_st_open(golden[0], &st, &err), DD_OK);
  const size_t n = dd_st_count(st);
  dd_tensor_info *t = calloc(n, sizeof *t);
  for (size_t i = 0; i < n; i++) {
    t[i] = *dd_st_at(st, i);
    void *data = malloc(t[i].end - t[i].begin);
    assert_int_equal(dd_st_read(st, dd_st_at(st, i), data, t[i].end - t[i].begin, &err), DD_OK);
    t[i].data = data;
  }
  assert_int_equal(dd_st_write(file, t, n, dd_st_metadata(st), &err), DD_OK);
  assert_int_equal(dd_st_open(file, &own, &err), DD_OK);
  assert_int_equal(dd_st_count(own), n);
  assert_int_equal(dd_st_verify(own, &err), DD_OK);
  assert_true(json_equal(dd_st_metadata(st), dd_st_metadata(own)));
  for (size_t i = 0; i < n; i++) {
    void *data = malloc(t[i].end - t[i].begin);
    const dd_tensor_info *r = dd_st_find(own, t[i].name);
    assert_non_null(r);
    assert_int_equal(dd_st_read(own, r, data, t[i].end - t[i].begin, &err), DD_OK);
    assert_memory_equal(data, t[i].data, t[i].end - t[i].begin);
    free(data);
    free((void *)(uintptr_t)t[i].data);
  }
  free(t);
  dd_st_close(st);
  dd_st_close(own);
}

/* ---- damage ---- */

static size_t header_bytes(const unsigned char *data) {
  return 8u + data[0] + 256u * data[1] + 65536u * data[2]; /* small headers only */
}

static void test_header_bytes(void **state) {
  (void)state;
  unsigned char *data;
  size_t size;
  const long before = cases;
  make_small(&data, &size);
  mem_file_use(data, size);
  const size_t header = header_bytes(data);
  for (size_t i = 0; i < header; i++) { /* every other value, so the four of the test list are among them */
    const unsigned char good = data[i];
    for (unsigned x = 1; x < 256; x++) {
      data[i] = (unsigned char)(good ^ x);
      must_be_corrupt("changed header byte", i);
    }
    data[i] = good;
  }
  for (size_t i = 0; i + 1 < header; i++) { /* neighbours swapped */
    const unsigned char a = data[i], b = data[i + 1];
    if (a == b) continue;
    data[i] = b, data[i + 1] = a;
    must_be_corrupt("swapped header bytes", i);
    data[i] = a, data[i + 1] = b;
  }
  print_message("header of %zu bytes: %ld changes, all refused\n", header, cases - before);
  free(data);
}

static void test_data_bits(void **state) {
  (void)state;
  unsigned char *data;
  size_t size;
  dd_error err;
  const long before = cases;
  make_small(&data, &size);
  mem_file_use(data, size);
  for (size_t bit = header_bytes(data) * 8; bit < size * 8; bit++) { /* all bits, not only one per 64 bytes */
    data[bit / 8] ^= (unsigned char)(1u << bit % 8);
    must_be_corrupt("changed data bit", bit);
    data[bit / 8] ^= (unsigned char)(1u << bit % 8);
  }
  assert_int_equal(try_all(&err), DD_OK);
  /* dd_st_read alone notices it too, and only in the tensor that is damaged */
  data[size - 1] ^= 1;
  dd_st *st;
  assert_int_equal(dd_st_open("some.safetensors", &st, &err), DD_OK);
  unsigned char dst[300];
  for (size_t i = 0; i < dd_st_count(st); i++) {
    const dd_tensor_info *t = dd_st_at(st, i);
    assert_int_equal(dd_st_read(st, t, dst, (size_t)(t->end - t->begin), &err), i == 5 ? DD_E_CORRUPT : DD_OK);
  }
  dd_st_close(st);
  print_message("data bits: %ld flips, all found\n", cases - before);
  free(data);
}

static void test_lengths(void **state) {
  (void)state;
  unsigned char *data;
  size_t size;
  const long before = cases;
  make_small(&data, &size);
  for (size_t n = 0; n < size; n++) {
    unsigned char *cut = malloc(n + !n); /* exact, so that a read beyond it is found by ASan */
    memcpy(cut, data, n);
    mem_file_use(cut, n);
    must_be_corrupt("truncation", n);
    free(cut);
  }
  const size_t more[] = {1, 2, 63, 64, 512, 4096};
  for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
    mem_file_use(data, size + more[i]);
    must_be_corrupt("appended bytes", more[i]);
  }
  print_message("lengths: %ld, all refused\n", cases - before);
  free(data);
}

/* A file that shrinks while it is open. */
static void test_shrinks(void **state) {
  (void)state;
  unsigned char *data;
  size_t size;
  dd_error err;
  dd_st *st;
  make_small(&data, &size);
  mem_file_use(data, size);
  assert_int_equal(dd_st_open("some.safetensors", &st, &err), DD_OK);
  mem_file.size = size - 1;
  assert_int_equal(dd_st_verify(st, &err), DD_E_CORRUPT);
  dd_st_close(st);
  free(data);
}

/* The n-th allocation of the JSON library fails. It does not always say why, so its word is "no valid JSON" then. */
static long allocations, fail_allocation;
static void *failing_malloc(size_t n) { return ++allocations == fail_allocation ? NULL : malloc(n); }

static void test_no_memory(void **state) {
  (void)state;
  dd_tensor_info t[6];
  dd_error err;
  dd_st *st;
  unsigned char *data;
  size_t size;
  const size_t n = small_tensors(t);
  json_t *meta = small_metadata();
  make_small(&data, &size);
  json_set_alloc_funcs(failing_malloc, free);
  for (int write = 0; write < 2; write++)
    for (fail_allocation = 1;; fail_allocation++) {
      allocations = 0;
      if (write)
        dd_fs_replace(NULL);
      else
        mem_file_use(data, size);
      const int rc = write ? dd_st_write(file, t, n, meta, &err) : dd_st_open(file, &st, &err);
      if (rc == DD_OK && !write) dd_st_close(st);
      if (rc != DD_OK && rc != DD_E_RUNTIME && rc != (write ? DD_E_USAGE : DD_E_CORRUPT)) fail_msg("%s", err.message);
      cases++;
      if (allocations < fail_allocation) {
        assert_int_equal(rc, DD_OK);
        break;
      }
    }
  json_set_alloc_funcs(malloc, free);
  json_decref(meta);
  free(data);
  load(file, &data, &size); /* what the failures left is whole */
  mem_file_use(data, size);
  assert_int_equal(try_all(&err), DD_OK);
  free(data);
}

static void test_not_a_file(void **state) {
  (void)state;
  dd_error err;
  dd_st *st;
  char path[400];
  dd_fs_replace(NULL);
  assert_int_equal(dd_st_open(dir, &st, &err), DD_E_IO);
  assert_null(st);
  snprintf(path, sizeof path, "%s/none", dir);
  assert_int_equal(dd_st_open(path, &st, &err), DD_E_IO);
  assert_non_null(strstr(err.message, "No such file"));
  assert_int_equal(mkfifo(path, 0600), 0);
  assert_int_equal(dd_st_open(path, &st, &err), DD_E_IO); /* and does not wait for a writer */
  unlink(path);
}

int main(int argc, char **argv) {
  const char *where = getenv("DD_GOLDEN");
  for (int i = 1; i < argc && goldens < 64; i++) golden[goldens++] = strdup(argv[i]);
  DIR *d = argc == 1 && where ? opendir(where) : NULL;
  for (struct dirent *e; d && goldens < 64 && (e = readdir(d)) != NULL;) {
    const size_t n = strlen(e->d_name);
    if (n > 12 && strcmp(e->d_name + n - 12, ".safetensors") == 0)
      if (asprintf(&golden[goldens], "%s/%s", where, e->d_name) > 0) goldens++;
  }
  if (d) closedir(d);
  const char *tmp = getenv("TMPDIR");
  snprintf(dir, sizeof dir, "%s/dd-st-XXXXXX", tmp && *tmp && strlen(tmp) < 200 ? tmp : "/tmp");
  if (!mkdtemp(dir)) {
    perror(dir);
    return 1;
  }
  snprintf(file, sizeof file, "%s/a.safetensors", dir);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_round_trip), cmocka_unit_test(test_every_dtype),
      cmocka_unit_test(test_writer_refuses), cmocka_unit_test(test_golden),
      cmocka_unit_test(test_golden_rewritten), cmocka_unit_test(test_header_bytes),
      cmocka_unit_test(test_data_bits), cmocka_unit_test(test_lengths),
      cmocka_unit_test(test_shrinks), cmocka_unit_test(test_not_a_file),
      cmocka_unit_test(test_no_memory),
  };
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  printf("damaged or hostile inputs tried: %ld\n", cases);
  unlink(file);
  rmdir(dir);
  while (goldens > 0) free(golden[--goldens]);
  return failed != 0;
}
