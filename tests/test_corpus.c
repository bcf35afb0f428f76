/* Corpora by name: found, fetched, verified, and what is said when they are not. No network: curl, wget, unzip and
 * bible are scripts of this test. */
#include "data_fixture.h"
#include "core/hash.h"
#include "run/corpus.h"

#define BODY "a corpus of forty-two bytes, for the test\n"
static char body_sha[65];
static dd_corpus row;
static char *real_corpus; /* DD_CPU_CORPUS at the start */
static int stop_answer;

static int should_stop(void *user) {
  return (void)user, stop_answer;
}
static const dd_callbacks stoppable = {.message = listen, .should_stop = should_stop};

static char world[24]; /* directory that PATH leads to */

/* A program of the present world. */
static void put_program(const char *name, const char *body) {
  char path[64];
  snprintf(path, sizeof path, "%s/%s", world, name);
  put_script(path, body);
}

/* A fresh world: own PATH, empty cache, no DD_CPU_CORPUS, and a row that a (fake) URL leads to. */
static void fresh_world(const char *curl) {
  static int n;
  char cache[64];
  snprintf(world, sizeof world, "world%d", ++n);
  assert_int_equal(dd_make_dirs(at(world), &err), DD_OK);
  setenv("PATH", at(world), 1);
  if (curl) put_program("curl", curl);
  snprintf(cache, sizeof cache, "%s/cache", world);
  setenv("XDG_CACHE_HOME", at(cache), 1);
  unsetenv("DD_CPU_CORPUS");
  unsetenv("DD_TEST_CORPUS");
  dd_sha256_hex(BODY, strlen(BODY), body_sha);
  row = (dd_corpus){.name = "toy",
                    .bytes = (int64_t)strlen(BODY),
                    .sha256 = body_sha,
                    .urls = "http://one.invalid/t http://two.invalid/t",
                    .member = "",
                    .program = "",
                    .package = "",
                    .variable = "DD_TEST_CORPUS",
                    .tokenizer = "char",
                    .licence = "",
                    .note = ""};
  stop_answer = 0;
  hush();
}

static int load(char **data, size_t *n) {
  return dd_corpus_load(&row, &stoppable, data, n, &err);
}

static void expect_body(void) {
  char *data = NULL;
  size_t n = 0;
  const int status = load(&data, &n);
  if (status) fail_msg("%s", err.message);
  assert_int_equal(n, strlen(BODY));
  assert_string_equal(data, BODY);
  free(data);
}

static void expect_failure(int code, const char *words) {
  char *data = NULL;
  size_t n = 0;
  hush();
  assert_int_equal(load(&data, &n), code);
  assert_null(data);
  assert_says(words);
}

static void corpus_is_fetched_once(void **state) {
  (void)state;
  fresh_world("printf '" BODY "'");
  expect_body();
  assert_heard("fetching http://one.invalid/t");
  char path[600];
  assert_int_equal(dd_corpus_cache_dir(path, sizeof path), 0);
  snprintf(path + strlen(path), sizeof path - strlen(path), "/toy");
  assert_true(dd_is_file(path));
  setenv("PATH", "/nonexistent", 1); /* now from the cache */
  expect_body();
  assert_int_equal(dd_file_replace(path, BODY, strlen(BODY) - 1, &err), DD_OK); /* damaged: fetched again */
  expect_failure(DD_E_IO, "toy has 41 bytes in place of 42");
  assert_says("neither curl nor wget is installed");
  assert_heard("is damaged");
}

static void corpus_sources_are_verified(void **state) {
  (void)state;
  fresh_world("printf 'A"
              "%s' '" BODY "'"); /* one byte more */
  expect_failure(DD_E_IO, "more than the expected 42 bytes");
  fresh_world("printf 'A corpus of forty-two bytes, for the test\\n'");
  expect_failure(DD_E_IO, "what came has SHA-256 ");
  fresh_world("printf 'a corpus'"); /* cut off */
  expect_failure(DD_E_IO, "what came has 8 bytes in place of 42");
  fresh_world("echo 'curl: (6) Could not resolve host: one.invalid' >&2; exit 6"); /* offline */
  expect_failure(DD_E_IO, "http://one.invalid/t (curl: (6) Could not resolve host: one.invalid)");
  assert_says("DD_TEST_CORPUS is not set");
  assert_says("cache/dd-cpu/toy does not exist");
  assert_says("http://two.invalid/t (");
  assert_says("set DD_TEST_CORPUS to a copy of it");
  assert_says("--data FILE");
  fresh_world("exit 7");
  expect_failure(DD_E_IO, "curl: exit status 7");
  fresh_world("kill -9 $$");
  expect_failure(DD_E_IO, "curl: ended by signal 9");
  fresh_world("for last do :; done; case $last in *two*) printf '" BODY "' ;; *) exit 22 ;; esac"); /* second URL */
  expect_body();
  fresh_world("printf '" BODY "'");
  row.sha256 = "";
  expect_body();
  assert_heard("unverified");
  assert_heard(body_sha);
}

static void corpus_by_wget_and_unzip(void **state) {
  (void)state;
  fresh_world(NULL);
  put_program("wget", "printf ZIP");
  put_program("unzip", "read -r zip <\"$2\"; [ \"$1 $zip $3\" = '-p ZIP inner' ] && printf '" BODY "'");
  row.member = "inner";
  expect_body();
  char path[600];
  assert_int_equal(dd_corpus_cache_dir(path, sizeof path), 0);
  snprintf(path + strlen(path), sizeof path - strlen(path), "/toy.zip");
  assert_false(dd_is_file(path)); /* the archive is not kept */
  fresh_world("printf ZIP");
  row.member = "inner";
  expect_failure(DD_E_IO, "neither unzip nor python3 is installed");
}

static void corpus_named_by_variable(void **state) {
  (void)state;
  fresh_world("exit 1");
  put_text("copy.txt", BODY);
  setenv("DD_TEST_CORPUS", at("copy.txt"), 1);
  expect_body();
  put_text("copy.txt", "another text");
  expect_failure(DD_E_CORRUPT, "is not corpus toy: it has 12 bytes in place of 42");
  unlink(at("copy.txt"));
  expect_failure(DD_E_IO, "DD_TEST_CORPUS=");
  unsetenv("DD_TEST_CORPUS");
  unsetenv("XDG_CACHE_HOME");
  char *home = strdup(getenv("HOME") ? getenv("HOME") : "/");
  unsetenv("HOME");
  char path[600];
  assert_int_equal(dd_corpus_cache_dir(path, sizeof path), -1);
  expect_failure(DD_E_IO, "exit status 1");
  setenv("HOME", at("home"), 1);
  assert_int_equal(dd_corpus_cache_dir(path, sizeof path), 0);
  assert_string_equal(path, at("home/.cache/dd-cpu"));
  setenv("HOME", home, 1);
  free(home);
}

static void fetching_can_be_stopped(void **state) {
  (void)state;
  fresh_world("while :; do :; done");
  stop_answer = 1;
  expect_failure(DD_E_STOPPED, "stopped while fetching");
}

static void default_job_without_network(void **state) {
  (void)state;
  dd_dataset *d = NULL;
  fresh_world("echo 'curl: (6) offline' >&2; exit 6");
  refuse(NULL, NULL, DD_E_IO, "corpus shakespeare was found nowhere: DD_CPU_CORPUS is not set");
  assert_says("(curl: (6) offline)");
  assert_says("apt-get install bible-kjv");
  put_program("bible", "echo 'Ge1:1 another bible'");
  refuse(NULL, NULL, DD_E_IO, "prints has 20 bytes in place of 4404412");
  refuse("kjv", NULL, DD_E_IO, "corpus kjv was found nowhere");
  refuse("shakespeare", NULL, DD_E_IO, "corpus shakespeare was found nowhere"); /* named: no stand-in */
  char path[4096];
  snprintf(path, sizeof path, "%s/bible", getenv("PATH"));
  unlink(path);
  snprintf(path, sizeof path, "%s:%s", getenv("PATH"), "/usr/bin:/usr/games");
  if (access("/usr/bin/bible", X_OK) != 0) {
    print_message("no /usr/bin/bible (package bible-kjv): the stand-in itself is not tried\n");
    return;
  }
  setenv("PATH", path, 1);
  hush();
  const int status = dd_dataset_open(&d, NULL, NULL, &callbacks, &err);
  if (status) fail_msg("%s", err.message);
  assert_string_equal(d->name, "kjv");
  assert_string_equal(d->spec, "kjv");
  assert_int_equal(d->vocab_size, 73);
  assert_int_equal(d->n_train, 3963970);
  assert_int_equal(d->n_val, 440442);
  assert_heard("using kjv, the King James Bible, in place of shakespeare");
  dd_dataset_close(d);
}

static void real_shakespeare(void **state) {
  (void)state;
  fresh_world("exit 1");
  put_text("false.txt", "something else");
  setenv("DD_CPU_CORPUS", at("false.txt"), 1);
  refuse("shakespeare", NULL, DD_E_CORRUPT, "is not corpus shakespeare");
  refuse(NULL, NULL, DD_E_CORRUPT, "is not corpus shakespeare"); /* a wrong copy is no reason for the stand-in */
  if (!real_corpus) {
    print_message("DD_CPU_CORPUS is not set: the text itself is not tried\n");
    return;
  }
  setenv("DD_CPU_CORPUS", real_corpus, 1);
  dd_dataset *d = NULL;
  const int status = dd_dataset_open(&d, "shakespeare", NULL, NULL, &err);
  if (status) fail_msg("%s", err.message);
  assert_int_equal(d->vocab_size, 65);
  assert_int_equal(d->n_train, 1003854);
  assert_int_equal(d->n_val, 111540);
  assert_int_equal(d->vocab.code[0], '\n');
  dd_dataset_close(d);
}

static void table_is_sound(void **state) {
  (void)state;
  const dd_corpus *c;
  for (int i = 0; (c = dd_corpus_at(i)) != NULL; i++) {
    assert_ptr_equal(dd_corpus_find(c->name), c);
    assert_true(c->bytes > 0);
    assert_true(strlen(c->sha256) == 0 || (strlen(c->sha256) == 64 && strspn(c->sha256, "0123456789abcdef") == 64));
    assert_true((c->urls[0] != 0) != (c->program[0] != 0));
    assert_true(strcmp(c->tokenizer, "char") == 0 || strcmp(c->tokenizer, "byte") == 0);
    assert_true(c->val <= c->held_out && c->held_out < c->bytes);
    assert_true(c->licence[0] && c->note[0]);
  }
  assert_null(dd_corpus_find("Shakespeare"));
  assert_null(dd_corpus_at(-1));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(corpus_is_fetched_once),   cmocka_unit_test(corpus_sources_are_verified),
      cmocka_unit_test(corpus_by_wget_and_unzip), cmocka_unit_test(corpus_named_by_variable),
      cmocka_unit_test(fetching_can_be_stopped),  cmocka_unit_test(default_job_without_network),
      cmocka_unit_test(real_shakespeare),         cmocka_unit_test(table_is_sound),
  };
  const char *corpus = getenv("DD_CPU_CORPUS");
  real_corpus = corpus && corpus[0] ? realpath(corpus, NULL) : NULL;
  const int failed = cmocka_run_group_tests(tests, set_up, tear_down);
  free(real_corpus);
  return failed;
}
