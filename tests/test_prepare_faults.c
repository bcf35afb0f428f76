/* dd_prepare over an older directory, with every call of the file system failing in turn: afterwards the directory
 * opens as the old data or as the new, or is refused; it is never taken for something else. */
#include "faulty_fs.h"
#include "run/dataset.h"
#include "run/settings.h"

static char old_hash[33], new_hash[33];
static int refused;

static int prepare_text(const char *text, dd_error *err) {
  dd_settings *s = dd_settings_create();
  if (dd_settings_set(s, "data", at(text), err) || dd_settings_set(s, "out", at("data"), err) ||
      dd_settings_set(s, "overwrite", "true", err)) {
    dd_settings_destroy(s);
    fail_msg("%s", err->message);
  }
  const int rc = dd_prepare(s, NULL, err);
  dd_settings_destroy(s);
  return rc;
}

static int hash_of_directory(char hash[33]) {
  dd_error err;
  dd_dataset *d = NULL;
  const int rc = dd_dataset_open(&d, at("data"), NULL, NULL, &err);
  if (!rc) memcpy(hash, d->hash, 33);
  dd_dataset_close(d);
  return rc;
}

static void prepare_old(void) {
  dd_error err;
  clean();
  put("old.txt", "the old text, of some length");
  put("new.txt", "the new text, of another length");
  assert_int_equal(prepare_text("old.txt", &err), DD_OK);
  assert_int_equal(hash_of_directory(old_hash), DD_OK);
}
static int prepare_new(dd_error *err) {
  return prepare_text("new.txt", err);
}

static void check_directory(int rc) {
  char hash[33];
  const int opened = hash_of_directory(hash);
  if (rc == DD_OK) {
    assert_int_equal(opened, DD_OK);
    assert_string_equal(hash, new_hash);
  } else if (opened == DD_OK) {
    assert_true(strcmp(hash, old_hash) == 0 || strcmp(hash, new_hash) == 0);
  } else {
    assert_true(opened == DD_E_CORRUPT || opened == DD_E_IO);
    refused++;
  }
  if (rc == DD_OK) assert_int_equal(count_files(at("data"), ""), 5); /* ".", "..", and the three of ours */
}

static void every_call_fails_once(void **state) {
  (void)state;
  dd_error err;
  prepare_old();
  assert_int_equal(prepare_new(&err), DD_OK);
  assert_int_equal(hash_of_directory(new_hash), DD_OK);
  fail_each_call(prepare_old, prepare_new, check_directory);
  assert_true(refused > 0); /* new tokens beside the old meta.json */
}

static int try_open(dd_error *err) {
  dd_dataset *d = NULL;
  const int rc = dd_dataset_open(&d, at("data"), NULL, NULL, err);
  if (!rc) assert_string_equal(d->hash, old_hash);
  dd_dataset_close(d);
  return rc;
}
static void check_nothing(int rc) {
  (void)rc;
}

static void opening_survives_failures(void **state) {
  (void)state;
  fail_each_call(prepare_old, try_open, check_nothing);
  use_failing(0, 0, 0);
  fs.max_count = 3;
  fs.eintr = 1;
  dd_error err;
  assert_int_equal(try_open(&err), DD_OK); /* short and interrupted reads are no failures */
  use_plain();
}

int main(void) {
  (void)get;
  if (!make_root()) return 1;
  const struct CMUnitTest tests[] = {cmocka_unit_test_setup(every_call_fails_once, setup),
                                     cmocka_unit_test_setup(opening_survives_failures, setup)};
  return run_group("prepare", tests, sizeof tests / sizeof *tests);
}
