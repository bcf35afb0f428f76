/* File layer, hashes and checked arithmetic, on a real directory and with every single call failing. */
#include "faulty_fs.h"
#include <fcntl.h>
#include "core/checked.h"
#include "core/hash.h"

/* ---- hashes, arithmetic ---- */

static void test_sha256(void **state) {
  (void)state;
  static const struct {
    const char *text, *hex;
  } known[] = {/* FIPS 180-4 examples */
               {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
               {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
               {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
               {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnop"
                "qrstnopqrstu",
                "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"}};
  char hex[65];
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    dd_sha256_hex(known[i].text, strlen(known[i].text), hex);
    assert_string_equal(hex, known[i].hex);
  }
  char *million = malloc(1000000);
  memset(million, 'a', 1000000);
  dd_sha256_hex(million, 1000000, hex);
  assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  /* all lengths around the block edges: digest of the 301 digests, from Python's hashlib */
  char *all = million, data[300];
  for (int i = 0; i < 300; i++) data[i] = (char)(i * 7);
  for (size_t n = 0; n <= 300; n++) dd_sha256_hex(data, n, all + 64 * n);
  dd_sha256_hex(all, 301 * 64, hex);
  assert_string_equal(hex, "917dfe241fcf4d27cf00582a4b7cbc1f5bb92f4298d46d8d986f7cda814596c6");
  free(million);
}

static void test_xxh3(void **state) {
  (void)state;
  char hex[33], again[33];
  unsigned char data[1500];
  dd_hash_hex(NULL, 0, hex);
  assert_string_equal(hex, "99aa06d3014798d86001c324468d497f");
  dd_hash_hex("abc", 3, hex);
  assert_string_equal(hex, "06b05ab6733a618578af5f94892f3950");
  for (size_t i = 0; i < sizeof data; i++) data[i] = (unsigned char)(i * 31 + i / 256);
  dd_hash_hex(data, sizeof data, hex);
  assert_string_equal(hex, "211a9805e0fc56f82ed94e09207c9462");
  for (size_t n = 0; n <= sizeof data; n += n < 300 ? 1 : 37) { /* in pieces of all kinds */
    dd_hash_hex(data, n, hex);
    for (size_t part = 1; part < 600; part = part * 2 + 1) {
      dd_hasher *h = dd_hasher_create();
      assert_non_null(h);
      for (size_t i = 0; i < n; i += part) dd_hasher_update(h, data + i, n - i < part ? n - i : part);
      dd_hasher_update(h, NULL, 0);
      dd_hasher_hex(h, again);
      assert_string_equal(hex, again);
      dd_hasher_destroy(h);
    }
  }
  dd_hasher_destroy(NULL);
}

static void test_checked(void **state) {
  (void)state;
  uint64_t u = 5;
  size_t s = 5;
  assert_true(dd_add_u64(UINT64_MAX - 1, 1, &u) && u == UINT64_MAX);
  assert_false(dd_add_u64(UINT64_MAX, 1, &u));
  assert_true(dd_mul_u64(UINT32_MAX, UINT32_MAX, &u) && u == UINT64_C(0xfffffffe00000001));
  assert_false(dd_mul_u64(UINT64_C(1) << 32, UINT64_C(1) << 32, &u));
  assert_true(u == UINT64_C(0xfffffffe00000001)); /* left alone */
  assert_true(dd_add_size(1, 2, &s) && s == 3);
  assert_false(dd_add_size(SIZE_MAX, 1, &s));
  assert_true(dd_mul_size(0, SIZE_MAX, &s) && s == 0);
  assert_false(dd_mul_size(SIZE_MAX / 2, 3, &s));
  assert_true(dd_round_up_u64(65, 64, &u) && u == 128);
  assert_true(dd_round_up_u64(64, 64, &u) && u == 64);
  assert_true(dd_round_up_u64(0, 64, &u) && u == 0);
  assert_false(dd_round_up_u64(UINT64_MAX, 64, &u));
}

/* ---- single files ---- */

static void test_read_all(void **state) {
  (void)state;
  char *data;
  size_t n;
  dd_error err;
  put("f", "hello");
  for (size_t max = 0; max < 8; max++) {
    const int rc = dd_file_read_all(at("f"), max, &data, &n, &err);
    assert_int_equal(rc, max < 5 ? DD_E_CORRUPT : DD_OK);
    if (rc != DD_OK) continue;
    assert_int_equal(n, 5);
    assert_string_equal(data, "hello");
    free(data);
  }
  assert_int_equal(dd_file_read_all(at("f"), SIZE_MAX, &data, &n, &err), DD_OK);
  free(data);
  put("empty", "");
  assert_int_equal(dd_file_read_all(at("empty"), 0, &data, &n, &err), DD_OK);
  assert_int_equal(n, 0);
  assert_string_equal(data, "");
  free(data);
  assert_int_equal(dd_file_read_all("/proc/self/status", 1 << 20, &data, &n, &err), DD_OK); /* says it has size 0 */
  assert_true(n > 100 && strlen(data) == n);
  free(data);
  assert_int_equal(dd_file_read_all("/proc/self/status", 100, &data, &n, &err), DD_E_CORRUPT);
  assert_int_equal(dd_file_read_all(root, 100, &data, &n, &err), DD_E_IO);
  assert_non_null(strstr(err.message, "a directory"));
  assert_int_equal(mkfifo(at("fifo"), 0600), 0);
  assert_int_equal(dd_file_read_all(at("fifo"), 100, &data, &n, &err), DD_E_IO);
  assert_int_equal(dd_file_read_all(at("none"), 100, &data, &n, &err), DD_E_IO);
  assert_non_null(strstr(err.message, at("none")));
  assert_non_null(strstr(err.message, "No such file"));
  assert_int_equal(dd_file_read_all(at("none"), 100, &data, &n, NULL), DD_E_IO); /* no err wanted */
  assert_int_equal(dd_is_file(at("f")), 1);
  assert_int_equal(dd_is_file(root), 0);
  assert_int_equal(dd_is_dir(root), 1);
  assert_int_equal(dd_is_dir(at("f")), 0);
  assert_int_equal(dd_is_dir(at("none")), 0);
}

/* Short counts of every size, and interruptions, change nothing but the number of calls. */
static void test_short_counts(void **state) {
  (void)state;
  char text[400], *data, buf[400];
  size_t n;
  dd_error err;
  for (size_t i = 0; i < sizeof text; i++) text[i] = (char)(i * 11);
  for (size_t max = 0; max <= 400; max += max < 20 ? 1 : 95)
    for (int eintr = 0; eintr < 2; eintr++) {
      use_failing(0, 0, 0);
      fs.max_count = max, fs.eintr = eintr;
      assert_int_equal(dd_file_replace(at("f"), text, sizeof text, &err), DD_OK);
      assert_int_equal(dd_file_read_all(at("f"), 1000, &data, &n, &err), DD_OK);
      assert_int_equal(n, sizeof text);
      assert_memory_equal(data, text, n);
      free(data);
      const int fd = dd_fs()->open(at("f"), O_RDONLY, 0);
      assert_int_equal(dd_file_pread_all(fd, "f", buf, 300, 100, &err), DD_OK);
      assert_memory_equal(buf, text + 100, 300);
      assert_int_equal(dd_file_pread_all(fd, "f", buf, 301, 100, &err), DD_E_CORRUPT);
      assert_non_null(strstr(err.message, "truncated"));
      assert_int_equal(dd_file_pread_all(fd, "f", buf, 0, 9999, &err), DD_OK);
      dd_fs()->close(fd);
      use_plain();
      cases++;
    }
  assert_int_equal(count_files(root, ".tmp-"), 0);
}

static void test_protocol(void **state) {
  (void)state;
  dd_error err;
  use_failing(0, 0, 0);
  assert_int_equal(dd_file_replace(at("f"), "abc", 3, &err), DD_OK);
  assert_string_equal(fs.trace, "oawscRosc"); /* file synced before the rename, directory after it */
  use_plain();
  dd_fs_replace(NULL); /* and once with everything real */
  assert_int_equal(dd_file_replace(at("f"), "real", 4, &err), DD_OK);
  assert_string_equal(get("f"), "real");
  char stale[400]; /* of a dead process with our number */
  snprintf(stale, sizeof stale, "f.tmp-%ld", (long)getpid());
  put(stale, "rubbish, longer than the new content");
  assert_int_equal(dd_file_replace(at("f"), "x", 1, &err), DD_OK);
  assert_string_equal(get("f"), "x");
  assert_int_equal(count_files(root, ".tmp-"), 0);
  /* less written than announced: no tail of zeros. Then abandoned: the old content stays. */
  dd_atomic a;
  assert_int_equal(dd_atomic_begin(&a, at("f"), 100000, &err), DD_OK);
  assert_int_equal(dd_atomic_write(&a, "short", 5, &err), DD_OK);
  assert_int_equal(dd_atomic_commit(&a, &err), DD_OK);
  struct stat st;
  assert_int_equal(stat(at("f"), &st), 0);
  assert_int_equal(st.st_size, 5);
  assert_int_equal(dd_atomic_begin(&a, at("f"), 0, &err), DD_OK);
  assert_int_equal(dd_atomic_write(&a, "new", 3, &err), DD_OK);
  dd_atomic_abort(&a);
  dd_atomic_abort(&a);
  assert_string_equal(get("f"), "short");
  assert_int_equal(count_files(root, ".tmp-"), 0);
  assert_int_equal(dd_atomic_begin(&a, "", 0, &err), DD_E_USAGE);
  dd_atomic_abort(&a);
  char *longer = malloc(5000);
  memset(longer, 'a', 4999);
  longer[4999] = '\0';
  assert_int_equal(dd_atomic_begin(&a, longer, 0, &err), DD_E_USAGE);
  assert_int_equal(dd_make_dirs(longer, &err), DD_E_USAGE);
  longer[4095] = '\0'; /* fits, but no such name can exist */
  assert_int_equal(dd_atomic_begin(&a, longer, 0, &err), DD_E_IO);
  assert_non_null(strstr(err.message, "too long"));
  free(longer);
  assert_int_equal(dd_file_replace("/dev/full/x", "x", 1, &err), DD_E_IO);
  /* a full disk is noticed before anything is written */
  use_failing(2, 0, ENOSPC);
  assert_int_equal(dd_file_replace(at("f"), "y", 1, &err), DD_E_IO);
  assert_null(strchr(fs.trace, 'w'));
  assert_non_null(strstr(err.message, "free some space"));
  use_plain();
  const int fd = open("/dev/full", O_WRONLY);
  if (fd >= 0) {
    assert_int_equal(dd_file_write_all(fd, "/dev/full", "x", 1, &err), DD_E_IO);
    assert_non_null(strstr(err.message, "/dev/full: No space left"));
    close(fd);
  }
}

static void old_file(void) {
  clean();
  put("f", "the old content");
}
static int replace_file(dd_error *err) { return dd_file_replace(at("f"), "new", 3, err); }
static void old_or_new(int rc) {
  const char *now = get("f");
  assert_true(strcmp(now, "new") == 0 || (rc != DD_OK && strcmp(now, "the old content") == 0));
}
static int read_file(dd_error *err) {
  char *data;
  size_t n;
  const int rc = dd_file_read_all(at("f"), 100, &data, &n, err);
  if (rc == DD_OK) assert_string_equal(data, "the old content");
  if (rc != DD_OK) assert_null(data);
  free(data);
  return rc;
}
static int make_tree(dd_error *err) { return dd_make_dirs(at("a//b/c/"), err); }
static void tree_there(int rc) {
  if (rc == DD_OK) assert_true(dd_is_dir(at("a/b/c")));
}
static void nothing(int rc) { (void)rc; }

static void test_fail_each_call(void **state) {
  (void)state;
  const long before = cases;
  fail_each_call(old_file, replace_file, old_or_new);
  fail_each_call(old_file, read_file, nothing);
  fail_each_call(clean, make_tree, tree_there);
  print_message("failing calls, single files: %ld cases\n", cases - before);
}

/* A failed sync must not be trusted, and leaves no temporary file. */
static void test_sync_fails(void **state) {
  (void)state;
  dd_error err;
  old_file();
  use_failing(4, 0, EIO); /* o a w s */
  assert_int_equal(dd_file_replace(at("f"), "new", 3, &err), DD_E_IO);
  assert_string_equal(fs.trace, "oawscu");
  use_plain();
  assert_string_equal(get("f"), "the old content");
  assert_int_equal(count_files(root, ".tmp-"), 0);
}

static void test_dirs_and_paths(void **state) {
  (void)state;
  dd_error err;
  char out[16];
  assert_int_equal(dd_make_dirs(at("x/y/z"), &err), DD_OK);
  assert_int_equal(dd_make_dirs(at("x/y/z"), &err), DD_OK);
  assert_int_equal(dd_make_dirs("/", &err), DD_OK);
  assert_int_equal(dd_make_dirs("", &err), DD_E_USAGE);
  put("file", "");
  assert_int_equal(dd_make_dirs(at("file"), &err), DD_E_IO);
  assert_int_equal(dd_make_dirs(at("file/sub"), &err), DD_E_IO);
  assert_int_equal(dd_path_join(out, sizeof out, "dir", "name", &err), DD_OK);
  assert_string_equal(out, "dir/name");
  assert_int_equal(dd_path_join(out, sizeof out, "dir/", "name", &err), DD_OK);
  assert_string_equal(out, "dir/name");
  assert_int_equal(dd_path_join(out, sizeof out, "", "name", &err), DD_OK);
  assert_string_equal(out, "name");
  assert_int_equal(dd_path_join(out, sizeof out, "1234567", "1234567", &err), DD_OK); /* exactly full */
  assert_int_equal(dd_path_join(out, sizeof out, "1234567", "12345678", &err), DD_E_USAGE);
}

static int odd(const char *dir, const char *name, const void *user) {
  assert_string_equal(dir, user);
  return name[0] % 2;
}

static char listed[64];
static int list_odd(dd_error *err) {
  dd_names l;
  char dir[400];
  snprintf(dir, sizeof dir, "%s", at("many"));
  const dd_names_wanted odd_ones = {.keep = odd, .user = dir, .most = 5, .what = "odd ones"};
  const int rc = dd_dir_names(dir, &odd_ones, &l, err);
  *listed = '\0';
  for (size_t i = 0; i < l.n; i++) strcat(listed, l.name[i]);
  if (rc) assert_int_equal(l.n, 0);
  dd_names_free(&l);
  assert_null(l.name);
  return rc;
}
static void make_many(void) {
  clean();
  assert_int_equal(dd_make_dirs(at("many"), NULL), DD_OK);
  for (char c = 'j'; c >= 'a'; c--) put((const char[]){'m', 'a', 'n', 'y', '/', c, '\0'}, "");
  put("many/.i", ""); /* hidden */
}
static void sorted(int rc) { assert_string_equal(listed, rc ? "" : "acegi"); }

static void test_dir_names(void **state) {
  (void)state;
  dd_error err;
  dd_names l;
  fail_each_call(make_many, list_odd, sorted);
  assert_int_equal(dd_dir_names(at("many"), NULL, &l, &err), DD_OK);
  assert_int_equal(l.n, 10);
  assert_string_equal(l.name[9], "j");
  assert_true(dd_names_add(&l, "b"));
  assert_string_equal(l.name[10], "b");
  dd_names_free(&l);
  put("many/k", "");
  assert_int_equal(list_odd(&err), DD_E_USAGE);
  assert_non_null(strstr(err.message, "holds more than 5 odd ones"));
  assert_int_equal(dd_dir_names(at("none"), NULL, &l, &err), DD_E_IO);
  assert_non_null(strstr(err.message, "none: No such file"));
  put("file", "");
  assert_int_equal(dd_dir_names(at("file"), NULL, &l, &err), DD_E_IO);
  assert_int_equal(l.n, 0);
}

int main(void) {
  if (!make_root()) return 1;
#define TEST(f) cmocka_unit_test_setup(f, setup)
  const struct CMUnitTest tests[] = {
      TEST(test_sha256),       TEST(test_xxh3),     TEST(test_checked),    TEST(test_read_all),
      TEST(test_short_counts), TEST(test_protocol), TEST(test_sync_fails), TEST(test_fail_each_call),
      TEST(test_dirs_and_paths), TEST(test_dir_names),
  };
  return run_group("files", tests, sizeof tests / sizeof *tests);
}
