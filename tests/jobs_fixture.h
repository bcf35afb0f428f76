/* Whole jobs on a tiny model, for tests that let something fail in the middle of one: what each does, what it leaves
 * behind, and how that is told to be the same as without failures. Used by test_job_faults.c and test_job_memory.c,
 * which are linked with --wrap=dd_machine_peak,--wrap=nanosleep,--wrap=dd_now so that a job takes a millisecond or two.
 */
#ifndef DD_TESTS_JOBS_FIXTURE_H
#define DD_TESTS_JOBS_FIXTURE_H
#include "faulty_fs.h"
#include "core/hash.h"
#include "core/machine.h"
#include "model/safetensors.h"
#include "run/dataset.h"
#include "run/settings.h"
#include "simd.h"
#include <time.h>

/* The speed of the processor is no subject here, nor are pauses. */
double __wrap_dd_machine_peak(const dd_kernels *k, int ms);
double __wrap_dd_machine_peak(const dd_kernels *k, int ms) {
  (void)k, (void)ms;
  return 1e9;
}
extern double __real_dd_now(void);
double __wrap_dd_now(void);
double __wrap_dd_now(void) { return 1000 * __real_dd_now(); } /* what measures for a second is done in a millisecond */
extern int __real_nanosleep(const struct timespec *t, struct timespec *rest);
int __wrap_nanosleep(const struct timespec *t, struct timespec *rest);
int __wrap_nanosleep(const struct timespec *t, struct timespec *rest) {
  (void)t;
  return __real_nanosleep(&(struct timespec){.tv_nsec = 200000}, rest);
}

enum { ITERS = 4 };
static const char *const tiny_run[] = {"n_layer",
                                       "2",
                                       "n_head",
                                       "2",
                                       "n_embd",
                                       "32",
                                       "block_size",
                                       "16",
                                       "batch_size",
                                       "2",
                                       "max_iters",
                                       "4",
                                       "eval_interval",
                                       "2",
                                       "eval_iters",
                                       "1",
                                       "checkpoint_interval",
                                       "1",
                                       "keep_checkpoints",
                                       "1",
                                       "log_interval",
                                       "1",
                                       "warmup_iters",
                                       "1",
                                       "threads",
                                       "1",
                                       "dropout",
                                       "0.1",
                                       "schedule",
                                       "val-loss",
                                       "dropout_step",
                                       "0.05",
                                       NULL};

static dd_settings *settings_of(const char *const *pairs) {
  dd_error err;
  dd_settings *s = dd_settings_create();
  for (; s && pairs && *pairs; pairs += 2)
    if (dd_settings_set(s, pairs[0], pairs[1], &err)) fail_msg("%s", err.message);
  return s;
}

static void set_path(dd_settings *s, const char *key, const char *name) {
  dd_error err;
  if (dd_settings_set(s, key, at(name), &err)) fail_msg("%s", err.message);
}

/* ---- what a job said: a text that is equal when all went the same way ---- */

static char outcome[256], wanted[256];
static dd_hasher *heard; /* made before faults begin */
static void hear(void *user, const char *text, size_t n) {
  (void)user;
  dd_hasher_update(heard, text, n);
}
static int64_t stop_at = -1, polls;
static int stop_there(void *user) {
  (void)user;
  return stop_at >= 0 && polls++ >= stop_at;
}
static const dd_callbacks listening = {.text = hear, .should_stop = stop_there};

static void hear_nothing(void) {
  dd_hasher_destroy(heard);
  heard = dd_hasher_create();
  outcome[0] = '\0';
  polls = 0;
}

static int count_in(const char *text, const char *part) {
  int n = 0;
  for (; (text = strstr(text, part)); text++) n++;
  return n;
}

/* ---- jobs: given settings (made before faults begin) to a status; `outcome` when they succeed ---- */

static inline int run_train(const dd_settings *s, dd_error *err) {
  dd_train_result r;
  const int rc = dd_train(s, &listening, &r, err);
  if (!rc) snprintf(outcome, sizeof outcome, "%s at %d", r.fingerprint, (int)r.iter);
  return rc;
}
static inline int run_eval(const dd_settings *s, dd_error *err) {
  dd_eval_result r;
  const int rc = dd_evaluate(s, &listening, &r, err);
  if (!rc) snprintf(outcome, sizeof outcome, "%d %.17g %.17g", (int)r.tokens, r.loss, r.bits_per_byte);
  return rc;
}
static inline int run_sample(const dd_settings *s, dd_error *err) {
  dd_sample_result r;
  const int rc = dd_sample(s, &listening, &r, err);
  if (!rc) dd_hasher_hex(heard, outcome);
  return rc;
}
static inline int run_prepare(const dd_settings *s, dd_error *err) {
  const int rc = dd_prepare(s, NULL, err);
  if (!rc) snprintf(outcome, sizeof outcome, "prepared");
  return rc;
}
static inline int run_report(const dd_settings *s, dd_error *err) {
  const int rc = dd_report(s, &listening, err);
  if (!rc) dd_hasher_hex(heard, outcome);
  return rc;
}
static inline int run_compare(const dd_settings *s, dd_error *err) {
  dd_compare_result r;
  const int rc = dd_compare(s, "a test", &listening, &r, err);
  if (!rc) snprintf(outcome, sizeof outcome, "%d of %d", (int)r.finished, (int)r.cells);
  return rc;
}
static inline int run_config(const dd_settings *s, dd_error *err) {
  dd_settings *read = dd_settings_create();
  if (!read) return dd_fail(err, DD_E_RUNTIME, "out of memory for settings");
  int rc = dd_settings_load(read, s->run, err);
  if (!rc) rc = dd_settings_check(read, err);
  if (!rc) {
    const dd_setting *d;
    char text[4096];
    for (int i = 0; (d = dd_setting_at(i)); i++)
      if (!dd_settings_get(read, d->name, text, sizeof text, err)) dd_hasher_update(heard, text, strlen(text) + 1);
    dd_hasher_hex(heard, outcome);
  }
  dd_settings_destroy(read);
  return rc;
}

/* ---- what they work on ---- */

static void copy_file(const char *from, const char *to) {
  char *data = NULL;
  size_t size = 0;
  dd_error err;
  if (dd_file_read_all(from, 1 << 26, &data, &size, &err)) fail_msg("%s", err.message);
  FILE *f = fopen(to, "wb");
  assert_non_null(f);
  assert_int_equal(fwrite(data, 1, size, f), size);
  assert_int_equal(fclose(f), 0);
  free(data);
}
static void drop(const char *name) {
  char dir[600];
  snprintf(dir, sizeof dir, "%s", at(name));
  nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
  remove(dir);
}
/* A flat directory. */
static void copy_dir(const char *from, const char *to) {
  char dir[600], a[1200], b[1200];
  snprintf(dir, sizeof dir, "%s", at(from));
  drop(to);
  assert_int_equal(mkdir(at(to), 0755), 0);
  void *d = dd_fs_posix.opendir(dir);
  assert_non_null(d);
  for (const char *name; (name = dd_fs_posix.readdir(d));) {
    if (name[0] == '.') continue;
    snprintf(a, sizeof a, "%s/%s", dir, name);
    snprintf(b, sizeof b, "%s/%s", at(to), name);
    copy_file(a, b);
  }
  dd_fs_posix.closedir(d);
}

static char *whole(const char *name, size_t *size) {
  char *data = NULL;
  dd_error err;
  if (dd_file_read_all(at(name), 1 << 26, &data, size, &err)) fail_msg("%s", err.message);
  return data;
}

/* Records of run directory `dir`: every iteration has its step once, every evaluation is there once. */
static void check_records(const char *dir) {
  char name[700];
  size_t n;
  snprintf(name, sizeof name, "%s/metrics.jsonl", dir);
  char *text = whole(name, &n);
  for (int i = 0; i <= ITERS; i++) {
    char part[64];
    snprintf(part, sizeof part, "\"type\":\"step\",\"iter\":%d,", i);
    if (count_in(text, part) != 1) fail_msg("%s: %d records of step %d in\n%s", dir, count_in(text, part), i, text);
    snprintf(part, sizeof part, "\"type\":\"eval\",\"iter\":%d,", i);
    if (count_in(text, part) != (i % 2 == 0)) fail_msg("%s: evaluations of iteration %d in\n%s", dir, i, text);
  }
  free(text);
}

static int has_checkpoint(const char *dir) {
  int n = 0;
  void *d = dd_fs_posix.opendir(at(dir));
  for (const char *name; d && (name = dd_fs_posix.readdir(d)) != NULL;) {
    const char *dot = strrchr(name, '.');
    n += dot && !strcmp(dot, ".safetensors");
  }
  if (d) dd_fs_posix.closedir(d);
  return n;
}

static dd_settings *training(const char *out, const char *how) {
  dd_settings *s = settings_of(strcmp(how, "resume") ? tiny_run : NULL);
  if (strcmp(how, "resume")) set_path(s, "data", "text.txt");
  set_path(s, "out", out);
  dd_error err;
  if (*how && dd_settings_set(s, how, "true", &err)) fail_msg("%s", err.message);
  if (!strcmp(how, "resume") && dd_settings_set(s, "threads", "1", &err)) fail_msg("%s", err.message);
  return s;
}

static char good_end[256]; /* outcome of the uninterrupted run */

/* Whatever happened in run directory `dir`: without failures it ends at the weights of the uninterrupted run. A good
 * checkpoint that was there before must still be there, or a newer one. */
static void recover(const char *dir, int had_checkpoint) {
  dd_error err = {.message = ""};
  hear_nothing();
  if (had_checkpoint && !has_checkpoint(dir)) fail_msg("the checkpoint of %s is lost", dir);
  dd_settings *s = training(dir, has_checkpoint(dir) ? "resume" : "overwrite");
  const int rc = run_train(s, &err);
  if (rc && !had_checkpoint && has_checkpoint(dir)) fail_msg("%s: %s", dir, err.message);
  if (rc) fail_msg("%s does not resume: %s", dir, err.message);
  dd_settings_destroy(s);
  assert_string_equal(outcome, good_end);
  check_records(dir);
}

static const char config_py[] = "# as nanoGPT writes it\nout_dir = 'runs/x'\nn_layer = 2 * 3\nlearning_rate = 1e-3\n"
                                "dropout = 0.2 # rate\nbias = False\nprompt = \"a\\n\\u00e9\"\ndevice = 'cpu'\n"
                                "preset = 'small'\nschedule = 'expr:p0*(1-t/T)'\n";

/* Directories of the tests: text.txt, done (a whole run), half (the same stopped half way), study, config.py. */
static void make_inputs(void) {
  dd_error err;
  char text[1600];
  static const char letters[] = "etaoin shrdlu.\n";
  uint32_t x = 99;
  use_plain();
  for (size_t i = 0; i + 1 < sizeof text; i++) {
    x = x * 1664525u + 1013904223u;
    text[i] = letters[(x >> 24) % (sizeof letters - 1)];
  }
  text[sizeof text - 1] = '\0';
  put("text.txt", text);
  put("config.py", config_py);
  hear_nothing();
  dd_settings *s = training("done", "");
  if (run_train(s, &err)) fail_msg("%s", err.message);
  dd_settings_destroy(s);
  strcpy(good_end, outcome);
  check_records("done");
  s = training("half", "");
  stop_at = 3; /* behind the first evaluation and update */
  hear_nothing();
  assert_int_equal(run_train(s, &err), DD_E_STOPPED);
  stop_at = -1;
  dd_settings_destroy(s);
  assert_true(has_checkpoint("half"));
  copy_dir("half", "run");
  recover("run", 1);
}
#endif
