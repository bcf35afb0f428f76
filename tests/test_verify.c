/* `dd-cpu verify`: a good run, every kind of damage, and runs trained again. */
#include "run_fixture.h"
#include "core/machine.h"
#include "model/safetensors.h"

double __wrap_dd_machine_peak(const dd_kernels *k, int ms);
double __wrap_dd_machine_peak(const dd_kernels *k, int ms) {
  (void)k, (void)ms;
  return 1e9;
}

static char lines[8192]; /* "STATE FILE: TEXT" of the last verify() */
static dd_verify_result result;
static dd_error err;
static long cases;

static void on_check(void *user, const dd_check_record *r) {
  static const char *const words[] = {"good", "note", "BAD"};
  (void)user;
  const size_t n = strlen(lines);
  snprintf(lines + n, sizeof lines - n, "%s %s: %s\n", words[r->state], r->file, r->text);
}

/* replay, data: NULL for none. */
static int verify(const char *what, const char *replay, const char *data) {
  dd_settings *s = dd_settings_create();
  const dd_callbacks cb = {.check = on_check, .message = listen};
  assert_int_equal(dd_settings_set(s, "run", what, &err), DD_OK);
  assert_int_equal(dd_settings_set(s, "threads", "1", &err), DD_OK);
  if (replay) assert_int_equal(dd_settings_set(s, "replay", replay, &err), DD_OK);
  if (data) assert_int_equal(dd_settings_set(s, "data", data, &err), DD_OK);
  *lines = '\0';
  err = (dd_error){.code = DD_OK};
  const int rc = dd_verify(s, &cb, &result, &err);
  dd_settings_destroy(s);
  cases++;
  return rc;
}
static void fresh(void) { /* a copy of the run of main() as ROOT/run */
  void *dir = dd_fs_posix.opendir(at("good"));
  remove_tree(at("run"));
  assert_int_equal(mkdir(at("run"), 0755), 0);
  for (const char *name; (name = dd_fs_posix.readdir(dir)) != NULL;) {
    char from[300], to[300];
    if (*name == '.') continue;
    snprintf(from, sizeof from, "good/%.200s", name);
    snprintf(to, sizeof to, "run/%.200s", name);
    copy_file(at(from), at(to));
  }
  dd_fs_posix.closedir(dir);
}
static void expect_bad(const char *line, const char *words) {
  const int rc = verify(at("run"), NULL, NULL);
  if (rc != DD_E_CORRUPT || !strstr(lines, line) || !strstr(lines, words))
    fail_msg("status %d (%s), wanted \"%s\" and \"%s\" in:\n%s", rc, err.message, line, words, lines);
  assert_true(result.bad >= 1);
  fresh();
}

static void test_good(void **state) {
  (void)state;
  fresh();
  if (verify(at("run"), NULL, NULL)) fail_msg("%s\n%s", err.message, lines);
  assert_null(strstr(lines, "BAD"));
  assert_null(strstr(lines, "note"));
  static const char *const parts[] = {"good config.json: run ", "good ckpt-0000040.safetensors: iteration 40",
                                      "good ckpt-0000010.safetensors: ", "good metrics.jsonl: ",
                                      "5 evaluations, of which 4 agree", "good latest: ckpt-0000040",
                                      "good data: text.txt"};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) assert_part(lines, parts[i]);
  assert_int_equal(result.bad, 0);
  assert_int_equal(result.to, -1);
  if (verify(at("run/ckpt-0000030.safetensors"), NULL, at("text.txt"))) fail_msg("%s", err.message);
  assert_int_equal(result.files, 2);
  assert_int_equal(verify(at("nowhere"), NULL, NULL), DD_E_IO);
  assert_int_equal(verify("", NULL, NULL), DD_E_USAGE);
  assert_int_equal(verify(at("run"), NULL, at("nowhere")), DD_E_IO);
  assert_int_equal(verify(at("text.txt"), NULL, NULL), DD_E_CORRUPT);
}

static void cut(const char *path, size_t less) {
  size_t n;
  char *data = slurp(path, &n);
  put(path, data, n - less);
  free(data);
}
static void flip(const char *path, long from_end) {
  size_t n;
  char *data = slurp(path, &n);
  data[(long)n - from_end] ^= 1;
  put(path, data, n);
  free(data);
}

static void test_damage(void **state) {
  (void)state;
  fresh();
  flip(at("run/ckpt-0000020.safetensors"), 100);
  expect_bad("BAD ckpt-0000020.safetensors", "does not match its hash");
  flip(at("run/ckpt-0000040.safetensors"), 100);
  expect_bad("BAD latest", "which is damaged");
  cut(at("run/ckpt-0000010.safetensors"), 1);
  expect_bad("BAD ckpt-0000010.safetensors", "truncated");
  copy_file(at("good/ckpt-0000010.safetensors"), at("run/ckpt-0000011.safetensors"));
  expect_bad("BAD ckpt-0000011.safetensors", "of iteration 10 under another name");
  copy_file(at("other/ckpt-0000020.safetensors"), at("run/ckpt-0000020.safetensors"));
  expect_bad("BAD ckpt-0000020.safetensors", "belongs to another run");
  put(at("run/latest"), "ckpt-0000035.safetensors\n", 25);
  expect_bad("BAD latest", "which is not there");
  put(at("run/best"), "../../etc/passwd", 16);
  expect_bad("BAD best", "does not hold the name");
  cut(at("run/config.json"), 10);
  expect_bad("BAD config.json", "not valid JSON");
  unlink(at("run/config.json"));
  expect_bad("BAD config.json", "cannot open");
  put(at("run/config.json"), "{}", 2);
  expect_bad("BAD config.json", "lacks");
  unlink(at("run/metrics.jsonl"));
  expect_bad("BAD metrics.jsonl", "missing");
  replace_in(at("run/metrics.jsonl"), "\"type\":\"eval\",\"iter\":20", "\"type\":\"eval\",\"iter\":99");
  expect_bad("BAD metrics.jsonl", "the one before of 99");
  replace_in(at("run/metrics.jsonl"), "{\"type\":\"eval\",\"iter\":20", "[\"type\":\"eval\",\"iter\":20");
  expect_bad("BAD metrics.jsonl", "is no JSON object");
  replace_in(at("run/metrics.jsonl"), "\"iter\":20", "\"iter\":2.");
  expect_bad("BAD metrics.jsonl", "is no JSON object");
  /* the hash of the weights of iteration 20, changed by one digit */
  size_t n;
  char *text = slurp(at("run/metrics.jsonl"), &n);
  char *p = strstr(strstr(text, "\"type\":\"eval\",\"iter\":20"), "fingerprint");
  p[14] = p[14] == '0' ? '1' : '0';
  put(at("run/metrics.jsonl"), text, n);
  free(text);
  expect_bad("BAD metrics.jsonl", "not of the weights in its checkpoint");
  /* no damage: what a crash leaves */
  text = slurp(at("run/metrics.jsonl"), &n);
  put(at("run/metrics.jsonl"), text, n - 9);
  free(text);
  assert_int_equal(verify(at("run"), NULL, NULL), DD_OK);
  assert_part(lines, "note metrics.jsonl");
  assert_part(lines, "torn");
  unlink(at("run/latest"));
  assert_int_equal(verify(at("run"), NULL, NULL), DD_OK);
  assert_part(lines, "note latest");
  put(at("run/latest"), "ckpt-0000030.safetensors\n", 25);
  assert_int_equal(verify(at("run"), NULL, NULL), DD_OK);
  assert_part(lines, "there is a newer checkpoint");
  /* data */
  fresh();
  put(at("other.txt"), "another text, too short for the others, and of other letters", 60);
  assert_int_equal(verify(at("run"), NULL, at("other.txt")), DD_E_CORRUPT);
  assert_part(lines, "is not the text the run was trained on");
  assert_int_equal(rename(at("text.txt"), at("moved.txt")), 0);
  assert_int_equal(verify(at("run"), NULL, NULL), DD_OK);
  assert_part(lines, "note data: not checked");
  assert_int_equal(verify(at("run"), NULL, at("moved.txt")), DD_OK);
  assert_part(lines, "good data");
  assert_int_equal(rename(at("moved.txt"), at("text.txt")), 0);
}

/* Write a checkpoint again with something exchanged, hashes and all: only training again can notice. */
static void forge(const char *path, const char *prefix, const char *key, const char *value) {
  dd_st *st;
  assert_int_equal(dd_st_open(path, &st, &err), DD_OK);
  const size_t n = dd_st_count(st);
  dd_tensor_info *t = calloc(n, sizeof *t);
  json_t *meta = json_deep_copy(dd_st_metadata(st));
  for (size_t i = 0; i < n; i++) {
    t[i] = *dd_st_at(st, i);
    const size_t bytes = (size_t)(t[i].end - t[i].begin);
    float *x = malloc(bytes);
    assert_int_equal(dd_st_read(st, dd_st_at(st, i), x, bytes, &err), DD_OK);
    if (prefix && strncmp(t[i].name, prefix, strlen(prefix)) == 0) x[bytes / 8] *= 1.5f;
    t[i].data = x;
  }
  if (key) json_object_set_new(meta, key, json_string(value));
  if (dd_st_write(at("forged"), t, n, meta, &err)) fail_msg("%s", err.message);
  for (size_t i = 0; i < n; i++) free((void *)(uintptr_t)t[i].data);
  free(t);
  json_decref(meta);
  dd_st_close(st);
  assert_int_equal(rename(at("forged"), path), 0);
}
static void expect_replay(const char *range, const char *words) {
  const int rc = verify(at("run"), range, NULL);
  if (rc != DD_E_CORRUPT || !strstr(lines, "BAD replay") || !strstr(lines, words))
    fail_msg("status %d (%s), wanted \"%s\" in:\n%s", rc, err.message, words, lines);
  fresh();
}

static void test_replay(void **state) {
  (void)state;
  static const char *const ranges[] = {"last", "30..40", "10..20", "10..40", "20..30"};
  fresh();
  for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
    if (verify(at("run"), ranges[i], NULL)) fail_msg("%s: %s\n%s", ranges[i], err.message, lines);
    assert_part(lines, "good replay: iterations ");
    assert_part(lines, "are equal, fingerprint ");
  }
  assert_int_equal(result.from, 20);
  assert_int_equal(result.to, 30);
  static const char *const wrong[] = {"10",   "10..",    "..20",   "20..10",  "10..10",
                                      "a..b", "10..20x", "10..25", "-10..20", "5..40"};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    assert_int_equal(verify(at("run"), wrong[i], NULL), DD_E_USAGE);
    assert_true(strlen(err.message) > 20);
  }
  assert_int_equal(verify(at("run/ckpt-0000010.safetensors"), "last", NULL), DD_E_USAGE);
  /* the optimizer's state exchanged: hashes are right, training from it or to it is not */
  forge(at("run/ckpt-0000030.safetensors"), "optim.m/", NULL, NULL);
  assert_int_equal(verify(at("run"), NULL, NULL), DD_OK);
  expect_replay("30..40", "loss of iteration 35 is");
  forge(at("run/ckpt-0000030.safetensors"), "optim.v/", NULL, NULL);
  expect_replay("20..30", "tensor optim.v/");
  forge(at("run/ckpt-0000040.safetensors"), "optim.m/", NULL, NULL);
  expect_replay("last", "tensor optim.m/");
  /* the state: what the schedule val-loss remembers */
  forge(at("run/ckpt-0000030.safetensors"), NULL, "schedule_waited", "1");
  expect_replay("20..30", "schedule_waited");
  forge(at("run/ckpt-0000020.safetensors"), NULL, "schedule_p", "3fd999999999999a"); /* 0.4 */
  expect_replay("20..30", "dropout of iteration 20 is");
  /* metrics that say another loss */
  size_t n;
  char *text = slurp(at("run/metrics.jsonl"), &n);
  char *p = strstr(strstr(text, "\"type\":\"eval\",\"iter\":30"), "val_loss");
  p[14] = p[14] == '0' ? '1' : '0';
  put(at("run/metrics.jsonl"), text, n);
  free(text);
  expect_replay("20..40", "val_loss of iteration 30");
  /* refused with a sentence */
  flip(at("run/ckpt-0000020.safetensors"), 100);
  expect_replay("20..30", "the checkpoint of iteration 20 is damaged");
  forge(at("run/ckpt-0000030.safetensors"), NULL, "numerics_version", "999");
  assert_int_equal(verify(at("run"), NULL, NULL), DD_OK);
  assert_part(lines, "note ckpt-0000030.safetensors: whole, but of numerics version 999");
  assert_int_equal(verify(at("run"), "20..30", NULL), DD_E_CORRUPT);
  assert_part(err.message, "numerics version 999");
  fresh();
  forge(at("run/ckpt-0000020.safetensors"), NULL, "data_hash", "00000000000000000000000000000000");
  assert_int_equal(verify(at("run"), "20..30", NULL), DD_E_CORRUPT);
  assert_part(err.message, "not of one run");
  fresh();
  assert_int_equal(verify(at("run"), "20..30", at("other.txt")), DD_E_CORRUPT);
}

int main(void) {
  char hex[33];
  if (!make_root()) return 1;
  put(at("other.txt"), "another text, too short for the others, and of other letters", 60);
  if (train(at("good"), 0, hex, &err, "schedule", "val-loss", "log_interval", "5", NULL) ||
      train(at("other"), 0, hex, &err, "schedule", "val-loss", "log_interval", "5", NULL)) {
    printf("%s\n", err.message);
    return 1;
  }
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_good), cmocka_unit_test(test_damage),
                                     cmocka_unit_test(test_replay)};
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  printf("verified: %ld\n", cases);
  remove_tree(root);
  return failed != 0;
}
