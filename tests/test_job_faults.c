/* File-system calls of whole jobs fail, once and for good: train, resume, overwrite, eval, sample, prepare, report, and
 * compare with its child processes; of the long jobs a part, with DD_LONG=1 every call. A job then either says so (path
 * and reason, no descriptor left open), or it ends as if nothing had happened, because that call did not matter. After
 * each failed training, a resume without failures ends at the weights of the uninterrupted run. */
#include "jobs_fixture.h"
#include <fcntl.h>

typedef struct job {
  const char *name;
  int (*run)(const dd_settings *, dd_error *);
  void (*before)(void); /* puts the inputs back */
  const char *trains;   /* run directory that must survive, or NULL */
  int had_checkpoint;   /* before: one that must not be lost */
  const char *dir;      /* a part of the paths in its messages */
  dd_settings *s;
} job;

static void no_run(void) { drop("run"); }
static void half_run(void) { copy_dir("half", "run"); }
static void done_run(void) { copy_dir("done", "run"); }
static void no_data(void) { drop("data"); }
static void no_study(void) { drop("study"); }
static void nothing(void) {}

static dd_settings *reading(void) {
  dd_settings *s = settings_of((const char *const[]){"threads", "1", "max_new_tokens", "20", NULL});
  set_path(s, "run", "done");
  return s;
}
static dd_settings *preparing(void) {
  dd_settings *s = settings_of(NULL);
  set_path(s, "data", "text.txt");
  set_path(s, "out", "data");
  return s;
}
static dd_settings *reporting(void) {
  dd_settings *s = settings_of((const char *const[]){"format", "md", NULL});
  set_path(s, "study", "done");
  return s;
}
static dd_settings *comparing(void) {
  dd_settings *s = settings_of(tiny_run);
  dd_error err;
  static const char *const more[] = {"schedules", "fixed,linear", "seeds", "1", "jobs", "2", "max_iters", "2"};
  s->set[DD_SETTING_schedule] = false;
  for (int i = 0; i < 8; i += 2) assert_int_equal(dd_settings_set(s, more[i], more[i + 1], &err), DD_OK);
  set_path(s, "data", "text.txt");
  set_path(s, "out", "study");
  return s;
}

static char tolerated[128];
static long said, other_words;

static void note_tolerated(char letter) {
  const size_t n = strlen(tolerated);
  if (letter && !strchr(tolerated, letter) && n + 1 < sizeof tolerated) tolerated[n] = letter;
}

static void check_message(const job *j, int rc, const dd_error *err, int code) {
  assert_int_equal(rc, err->code);
  const int known = rc == DD_E_IO || rc == DD_E_USAGE || rc == DD_E_CORRUPT || rc == DD_E_RUNTIME;
  if (!known || strlen(err->message) < 10 || !strchr(err->message, '/'))
    fail_msg("%s, call %ld ('%c') with %s: status %d: %s", j->name, fs.fail_at, fs.failed, strerror(code), rc,
             err->message);
  said++;
  if (strstr(err->message, strerror(code))) return;
  other_words++;
  if (getenv("DD_SHOW"))
    printf("%s, call %ld '%c', %s: %d %s\n", j->name, fs.fail_at, fs.failed, strerror(code), rc, err->message);
}

/* One case; returns the number of calls. */
static long once(job *j, long n, int persistent, int code, size_t max_count, int eintr) {
  dd_error err = {.message = ""};
  j->before();
  hear_nothing();
  use_failing(n, persistent, code);
  fs.max_count = max_count;
  fs.eintr = eintr;
  const int rc = j->run(j->s, &err);
  const long calls = fs.calls;
  const char letter = fs.failed;
  use_plain(); /* asserts that nothing is open */
  cases++;
  if (rc) {
    if (!n) fail_msg("%s: %s", j->name, err.message);
    check_message(j, rc, &err, code);
  } else {
    if (n && calls >= n) note_tolerated(letter);
    /* a report tells of a run that could not be read, and goes on */
    if (*wanted && j->run != run_report && strcmp(outcome, wanted))
      fail_msg("%s, call %ld ('%c'): %s, not %s", j->name, n, letter, outcome, wanted);
    if (j->trains) check_records(j->trains);
  }
  if (j->trains && (rc || n % 16 == 0)) recover(j->trains, j->had_checkpoint);
  if (j->run == run_prepare && !rc) {
    dd_dataset *d;
    if (dd_dataset_open(&d, at("data"), NULL, NULL, &err)) fail_msg("%s", err.message);
    dd_dataset_close(d);
  }
  return calls;
}

/* first: stride of the calls that meet the first code; stride: of those that meet the others. */
static void sweep(job *j, long first, long stride) {
  static const int reasons[] = {EIO, ENOSPC, EROFS, EACCES, EMFILE};
  const long before = cases;
  const double t0 = __real_dd_now();
  if (getenv("DD_QUICK")) first = stride *= 6;
  if (getenv("DD_LONG")) first = stride = 1;
  memset(tolerated, 0, sizeof tolerated);
  wanted[0] = '\0';
  said = other_words = 0;
  const long calls = once(j, 0, 0, 0, 0, 0);
  memcpy(wanted, outcome, sizeof wanted);
  for (size_t c = 0; c < sizeof reasons / sizeof *reasons; c++)
    for (int persistent = 0; persistent < 2; persistent++) {
      const long step = c ? stride : first;
      for (long n = 1 + (2 * (long)c + persistent) % step;; n += step)
        if (once(j, n, persistent, reasons[c], 0, 0) < n) break;
    }
  for (size_t max = 1; max <= 100; max *= 100) once(j, 0, 0, 0, max, 1); /* short and interrupted, not failed */
  once(j, 0, 0, 0, 1000, 0);
  printf("%s: %ld calls, %ld cases in %.1f s; %ld failures said (%ld in other words), no harm in: %s\n", j->name, calls,
         cases - before, __real_dd_now() - t0, said, other_words, tolerated);
  dd_settings_destroy(j->s);
}

static void train(void **state) {
  (void)state;
  sweep(&(job){.name = "train", .run = run_train, .before = no_run, .trains = "run", .s = training("run", "")}, 7, 61);
}
static void resume(void **state) {
  (void)state;
  sweep(&(job){.name = "resume",
               .run = run_train,
               .before = half_run,
               .trains = "run",
               .had_checkpoint = 1,
               .s = training("run", "resume")},
        7, 61);
}
static void overwrite(void **state) {
  (void)state;
  sweep(&(job){.name = "overwrite",
               .run = run_train,
               .before = done_run,
               .trains = "run",
               .s = training("run", "overwrite")},
        13, 81);
}
static void readers(void **state) {
  (void)state;
  sweep(&(job){.name = "eval", .run = run_eval, .before = nothing, .s = reading()}, 1, 1);
  sweep(&(job){.name = "sample", .run = run_sample, .before = nothing, .s = reading()}, 1, 1);
  sweep(&(job){.name = "prepare", .run = run_prepare, .before = no_data, .s = preparing()}, 1, 1);
  sweep(&(job){.name = "report", .run = run_report, .before = nothing, .s = reporting()}, 1, 1);
}
static void compare(void **state) {
  (void)state;
  sweep(&(job){.name = "compare", .run = run_compare, .before = no_study, .s = comparing()}, 29, 151);
}

/* ---- a write that fails once, in one of the runs of a study ---- */

static int *trouble; /* shared with the runs: how many writes of checkpoints are still to fail */
static int checkpoint_fd = -1;
static int once_open(const char *p, int flags, mode_t m) {
  const int fd = dd_fs_posix.open(p, flags, m);
  if ((flags & O_CREAT) && strstr(p, "/ckpt-")) checkpoint_fd = fd;
  return fd;
}
static ssize_t once_write(int fd, const void *b, size_t n) {
  if (fd == checkpoint_fd && __atomic_fetch_sub(trouble, 1, __ATOMIC_RELAXED) > 0) return errno = EIO, -1;
  return dd_fs_posix.write(fd, b, n);
}

static long warned;
static void hear_warning(void *user, dd_level level, const char *text) {
  (void)user;
  if (level == DD_WARNING && strstr(text, "-s1337: ") && strstr(text, strerror(EIO))) warned++;
}

/* The run goes on and is finished; the study has all its results, tells what happened, and its status does too. */
static void healed(void **state) {
  (void)state;
  dd_fs_ops ops = dd_fs_posix;
  ops.open = once_open, ops.write = once_write, ops.fsync = no_fsync;
  trouble = mmap(NULL, sizeof *trouble, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  assert_true(trouble != MAP_FAILED);
  *trouble = 1;
  dd_settings *s = comparing();
  const dd_callbacks cb = {.message = hear_warning};
  dd_compare_result r;
  dd_error err = {.message = ""};
  no_study();
  dd_fs_replace(&ops);
  const int rc = dd_compare(s, NULL, &cb, &r, &err);
  dd_fs_replace(NULL);
  if (rc != DD_E_IO || !strstr(err.message, "finished")) fail_msg("status %d: %s", rc, err.message);
  assert_true(*trouble < 0);
  assert_int_equal(r.finished, 2);
  assert_int_equal(r.failed, 0);
  assert_int_equal(warned, 1);
  assert_int_equal(dd_compare(s, NULL, NULL, &r, &err), DD_OK); /* nothing is left to do */
  assert_int_equal(r.finished, 2);
  dd_settings_destroy(s);
  munmap(trouble, sizeof *trouble);
}

int main(void) {
  (void)get, (void)count_files;
  if (!make_root()) return 1;
  make_inputs();
  const struct CMUnitTest tests[] = {cmocka_unit_test(train),   cmocka_unit_test(resume),  cmocka_unit_test(overwrite),
                                     cmocka_unit_test(readers), cmocka_unit_test(compare), cmocka_unit_test(healed)};
  return run_group("jobs with a failing file system", tests, sizeof tests / sizeof *tests);
}
