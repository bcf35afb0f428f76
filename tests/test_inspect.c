/* `dd-cpu inspect` on a real run and what is in it, on files of other kinds and of none, and with every call of the
 * file system failing in turn. */
#include "run_fixture.h"
#include "core/machine.h"
#include <jansson.h>
#include <stdbool.h>

double __wrap_dd_machine_peak(const dd_kernels *k, int ms);
double __wrap_dd_machine_peak(const dd_kernels *k, int ms) {
  (void)k, (void)ms;
  return 1e9;
}

static dd_error err;
static char kinds[256], lines[65536];
static json_t *facts; /* of the last file */
static int stop_asked;
static long cases;

static void on_inspect(void *user, const dd_inspect_record *r) {
  (void)user;
  snprintf(kinds + strlen(kinds), sizeof kinds - strlen(kinds), "%s ", r->kind);
  snprintf(lines, sizeof lines, "%s", r->lines);
  json_decref(facts);
  facts = json_loads(r->json, JSON_ALLOW_NUL, NULL);
  assert_true(json_is_object(facts) && strlen(r->what) > 3 && strlen(r->path) > 0);
}

static int on_stop(void *user) { return (void)user, stop_asked; }

static int inspect(const char *files) {
  dd_settings *s = dd_settings_create();
  const dd_callbacks cb = {.inspect = on_inspect, .message = listen, .should_stop = on_stop};
  assert_non_null(s);
  assert_int_equal(dd_settings_set(s, "files", files, &err), DD_OK);
  *kinds = *lines = *heard = '\0';
  err = (dd_error){.code = DD_OK};
  const int rc = dd_inspect(s, &cb, &err);
  dd_settings_destroy(s);
  return rc;
}

static void is_kind(const char *file, const char *kind) {
  char want[64];
  snprintf(want, sizeof want, "%s ", kind);
  if (inspect(file)) fail_msg("%s", err.message);
  assert_string_equal(kinds, want);
}

static int64_t number(const char *key) {
  const json_t *v = json_object_get(facts, key);
  if (!json_is_integer(v)) fail_msg("no number %s in %s", key, lines);
  return json_integer_value(v);
}

static const char *word(const char *key) {
  const char *text = json_string_value(json_object_get(facts, key));
  if (!text) fail_msg("no text %s in %s", key, lines);
  return text;
}

static char fingerprint[33]; /* of the run */

static void a_run(void **state) {
  (void)state;
  is_kind(at("run"), "run");
  assert_int_equal(number("iteration"), 40);
  assert_string_equal(word("fingerprint"), fingerprint);
  assert_int_equal(json_array_size(json_object_get(facts, "checkpoints")), 4);
  const json_t *changed = json_object_get(facts, "changed");
  assert_int_equal(json_integer_value(json_object_get(changed, "n_embd")), 8);
  assert_null(json_object_get(changed, "threads")); /* it changes no result */
  assert_part(lines, "ckpt-0000040.safetensors");
  assert_part(lines, "\n  model\n    layers    1\n");
  is_kind(at("run/config.json"), "config");
  assert_int_equal(json_integer_value(json_object_get(json_object_get(facts, "changed"), "max_iters")), 40);
  is_kind(at("run/metrics.jsonl"), "metrics");
  assert_int_equal(json_integer_value(json_object_get(json_object_get(facts, "records"), "eval")), 5);
  assert_string_equal(word("fingerprint"), fingerprint);
  assert_string_equal(word("iterations"), "0 to 40");
  is_kind(at("run/ckpt-0000040.safetensors"), "checkpoint");
  assert_string_equal(word("fingerprint"), fingerprint);
  assert_int_equal(number("iteration"), 40);
  assert_string_equal(word("tokenizer"), "char");
  const int64_t parameters = number("parameters");
  replace_in(at("run/ckpt-0000020.safetensors"), "dd-cpu checkpoint 1", "xx-yyy checkpoint 1");
  is_kind(at("run"), "run"); /* one that is damaged is told, the others are described */
  assert_part(lines, "20  ckpt-0000020.safetensors  not readable: see dd-cpu verify");
  assert_int_equal(number("parameters"), parameters);
}

static void other_files(void **state) {
  (void)state;
  char files[3000];
  is_kind(at("text.txt"), "text");
  assert_int_equal(number("characters"), 3000);
  put(at("train.bin"), "\1\0\2\0\xff\xff", 6);
  is_kind(at("train.bin"), "raw");
  assert_true(number("tokens") == 3 && number("largest") == 65535);
  assert_part(word("note"), "cannot be trained on");
  static const char json[] = "{\"a\": [1, 2], \"b\": {\"c\": 1}, \"d\": \"\\u001b[2J\\u009b\\n\"}";
  put(at("x.json"), json, sizeof json - 1);
  is_kind(at("x.json"), "json");
  assert_part(lines, "a  list of 2\n  b  object of 1\n  d  \\x1b[2J\\x9b\\n\n"); /* nothing that a terminal obeys */
  put(at("noise"), "\xff\xfe\0\1", 4);
  assert_int_equal(inspect(at("noise")), DD_E_CORRUPT);
  assert_part(err.message, "noise is of no kind that is known (run, data, checkpoint,");
  put(at("empty"), "", 0);
  assert_int_equal(inspect(at("empty")), DD_E_CORRUPT);
  assert_part(err.message, "empty is empty");
  assert_int_equal(inspect(at("nowhere")), DD_E_IO);
  assert_int_equal(inspect(root), DD_E_CORRUPT); /* a directory of no kind */
  assert_int_equal(inspect(""), DD_E_USAGE);
  snprintf(files, sizeof files, "%s\n%s\n%s\n%s", at("noise"), at("text.txt"), at("nowhere"), at("train.bin"));
  assert_int_equal(inspect(files), DD_E_CORRUPT); /* the first of the failures; the good ones are told */
  assert_string_equal(kinds, "text raw ");
  assert_part(err.message, "2 of 4 could not be inspected; the first: ");
  assert_part(heard, "nowhere");
  stop_asked = 1;
  char *many = calloc(1, 40 << 20);
  assert_non_null(many);
  put(at("large.bin"), many, 40 << 20);
  free(many);
  assert_int_equal(inspect(at("large.bin")), DD_E_STOPPED);
  stop_asked = 0;
}

/* ---- failing calls ---- */

static struct {
  long n, calls, open;
  int persistent;
} fault;

static int trip(void) {
  fault.calls++;
  if (fault.persistent ? fault.calls < fault.n : fault.calls != fault.n) return 0;
  errno = EIO;
  return 1;
}
static int f_open(const char *p, int flags, mode_t m) {
  const int fd = trip() ? -1 : dd_fs_posix.open(p, flags, m);
  fault.open += fd >= 0;
  return fd;
}
static int f_close(int fd) { return fault.open--, dd_fs_posix.close(fd); }
static ssize_t f_read(int fd, void *b, size_t n) { return trip() ? -1 : dd_fs_posix.read(fd, b, n); }
static ssize_t f_pread(int fd, void *b, size_t n, off_t at) { return trip() ? -1 : dd_fs_posix.pread(fd, b, n, at); }
static int f_fstat(int fd, struct stat *st) { return trip() ? -1 : dd_fs_posix.fstat(fd, st); }
static int f_stat(const char *p, struct stat *st) { return trip() ? -1 : dd_fs_posix.stat(p, st); }
static void *f_opendir(const char *p) {
  void *d = trip() ? NULL : dd_fs_posix.opendir(p);
  fault.open += d != NULL;
  return d;
}
static const char *f_readdir(void *d) { return trip() ? NULL : dd_fs_posix.readdir(d); }
static int f_closedir(void *d) { return fault.open--, dd_fs_posix.closedir(d); }
static const dd_fs_ops failing = {.open = f_open, .close = f_close, .read = f_read, .pread = f_pread, .fstat = f_fstat,
                                  .stat = f_stat, .opendir = f_opendir, .readdir = f_readdir, .closedir = f_closedir};

/* The n-th call fails: either that file is not described, or what is said does not depend on it. */
static void every_call_fails(void **state) {
  (void)state;
  static const char *const names[] = {"run", "run/ckpt-0000040.safetensors", "run/metrics.jsonl", "text.txt",
                                      "train.bin"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    for (int persistent = 0; persistent < 2; persistent++)
      for (long n = 1;; n++) {
        fault.n = n, fault.persistent = persistent, fault.calls = fault.open = 0;
        dd_fs_replace(&failing);
        const int rc = inspect(at(names[i]));
        const bool through = fault.calls < n;
        dd_fs_replace(NULL);
        assert_int_equal(fault.open, 0);
        assert_true(rc == DD_OK || rc == DD_E_IO || rc == DD_E_CORRUPT);
        assert_true((rc == DD_OK) == (*kinds != '\0') && (!rc || strlen(err.message) > 10));
        cases++;
        if (through) break;
      }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_run),
      cmocka_unit_test(other_files),
      cmocka_unit_test(every_call_fails),
  };
  if (!make_root() || train(at("run"), 0, fingerprint, &err, NULL)) {
    fprintf(stderr, "no run to look at: %s\n", err.message);
    return 1;
  }
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  printf("# %ld cases of failing calls\n", cases);
  json_decref(facts);
  remove_tree(root);
  return failed;
}
