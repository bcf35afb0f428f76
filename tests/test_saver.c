/* Saving beside the training, and what happens when it fails: every kind of call of a checkpoint's writing fails, once,
 * for the whole of one checkpoint, and for good. The run must end with the bits of an undisturbed one, whole
 * checkpoints only, pointers to whole ones, the reason told, and exit code 74. */
#include "run_fixture.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include "core/machine.h"
#include "run/checkpoint.h"
#include "run/saver.h"

static int no_memory, no_thread;
static pthread_t main_thread;
static long cases;

/* On demand there is no memory and no thread; and the processor is not measured, which takes longer than a run. */
uint64_t __real_dd_machine_free_memory(void);
uint64_t __wrap_dd_machine_free_memory(void);
uint64_t __wrap_dd_machine_free_memory(void) { return no_memory ? 1 : __real_dd_machine_free_memory(); }
double __wrap_dd_machine_peak(const dd_kernels *k, int ms);
double __wrap_dd_machine_peak(const dd_kernels *k, int ms) {
  (void)k, (void)ms;
  return 1e9;
}
int __real_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *), void *arg);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *), void *arg);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *), void *arg) {
  return no_thread ? EAGAIN : __real_pthread_create(t, a, fn, arg);
}

/* ---- a file system in which calls on paths that contain a word fail ---- */

enum { OPEN, WRITE, SYNC, CLOSE, RENAME, ALLOCATE, UNLINK, SYNC_DIR, CALLS };
static struct {
  pthread_mutex_t lock;
  int call, code;
  const char *word;
  int skip; /* calls that pass before the first that fails */
  int left; /* times it still fails; -1: always */
  int after_rename; /* SYNC_DIR: only when the last rename was to a path with the word */
  char path[1024][300];
  char dead[1024];  /* a sync of this descriptor failed */
  long threads, synced_again;
  int hold;         /* wait in the first write of the word until `released` */
} fs = {.lock = PTHREAD_MUTEX_INITIALIZER};
static atomic_int released;

static int fails(int call, const char *path) {
  pthread_mutex_lock(&fs.lock);
  int yes = fs.word && fs.call == call && fs.left != 0 && strstr(path, fs.word);
  if (yes && fs.skip > 0) yes = 0, fs.skip--;
  if (yes && fs.left > 0) fs.left--;
  fs.threads += !pthread_equal(pthread_self(), main_thread);
  pthread_mutex_unlock(&fs.lock);
  if (yes) errno = fs.code;
  return yes;
}
static int f_open(const char *path, int flags, mode_t mode) {
  if ((flags & O_CREAT) && fails(OPEN, path)) return -1;
  const int fd = dd_fs_posix.open(path, flags, mode);
  if (fd >= 0 && fd < 1024) {
    snprintf(fs.path[fd], sizeof fs.path[fd], "%s", path);
    fs.dead[fd] = 0;
  }
  return fd;
}
static void wait_for_release(void) {
  for (int i = 0; i < 20000 && !atomic_load(&released); i++) nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}
static ssize_t f_write(int fd, const void *buf, size_t n) {
  if (fs.hold && fs.word && strstr(fs.path[fd], fs.word)) {
    sigset_t blocked; /* signals must reach the training thread */
    assert_false(pthread_equal(pthread_self(), main_thread));
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    assert_true(sigismember(&blocked, SIGTERM) && sigismember(&blocked, SIGINT) && sigismember(&blocked, SIGUSR1));
    wait_for_release();
  }
  if (fails(WRITE, fs.path[fd])) /* a disk that fills up takes a part first */
    return n > 1 && fs.code == ENOSPC && fs.left == -1 ? dd_fs_posix.write(fd, buf, n / 2) : -1;
  return dd_fs_posix.write(fd, buf, n);
}
static int f_fsync(int fd) {
  fs.synced_again += fs.dead[fd];
  struct stat st;
  const int dir = fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
  if (dir ? fs.after_rename && fails(SYNC_DIR, "ckpt-0000020.") : fails(SYNC, fs.path[fd])) {
    fs.dead[fd] = !dir;
    return -1;
  }
  return 0;
}
static int f_close(int fd) {
  const int rc = dd_fs_posix.close(fd);
  return fails(CLOSE, fs.path[fd]) ? -1 : rc;
}
static int f_rename(const char *from, const char *to) {
  fs.after_rename = fs.word && strstr(to, fs.word) != NULL;
  return fails(RENAME, to) ? -1 : dd_fs_posix.rename(from, to);
}
static int f_unlink(const char *path) { return fails(UNLINK, path) ? -1 : dd_fs_posix.unlink(path); }
static int f_fallocate(int fd, off_t at, off_t n) {
  return fails(ALLOCATE, fs.path[fd]) ? fs.code : dd_fs_posix.fallocate(fd, at, n);
}

static void use(int call, const char *word, int times, int code) {
  static dd_fs_ops ops;
  ops = dd_fs_posix;
  ops.open = f_open, ops.write = f_write, ops.fsync = f_fsync, ops.close = f_close, ops.rename = f_rename;
  ops.unlink = f_unlink, ops.fallocate = f_fallocate;
  fs.call = call, fs.word = word, fs.left = times, fs.code = code;
  fs.skip = fs.hold = 0, fs.threads = fs.synced_again = 0, fs.after_rename = 0;
  dd_fs_replace(&ops);
}

/* ---- runs ---- */

static char undisturbed[33];

/* All checkpoints whole, as many as expected (-1: any number), pointers to whole ones, nothing half-written. */
static void sound(int expected) {
  dd_run_file *file;
  size_t n;
  dd_error err;
  char path[4096], name[64];
  int64_t iter;
  assert_int_equal(dd_run_checkpoints(at("run"), &file, &n, &err), DD_OK);
  if (expected >= 0) assert_int_equal(n, expected);
  for (size_t i = 0; i < n + 2; i++) {
    dd_checkpoint *c;
    if (i < n) strcpy(name, file[i].name);
    else {
      assert_int_equal(dd_run_pointer(at("run"), i == n ? "best" : "latest", name, &iter, &err), DD_OK);
      if (iter < 0) continue;
    }
    assert_int_equal(dd_path_join(path, sizeof path, at("run"), name, &err), DD_OK);
    if (dd_checkpoint_open(path, &c, &err) || dd_checkpoint_verify(c, &err)) fail_msg("%s: %s", name, err.message);
    dd_checkpoint_close(c);
  }
  free(file);
  void *dir = dd_fs_posix.opendir(at("run"));
  for (const char *f; (f = dd_fs_posix.readdir(dir)) != NULL;) assert_null(strstr(f, ".tmp-"));
  dd_fs_posix.closedir(dir);
}

static const char *train_ends(int expected_rc) { /* its error */
  static dd_error err;
  char hex[33];
  const int rc = train(at("run"), 0, hex, &err, NULL);
  dd_fs_replace(NULL);
  if (rc != expected_rc)
    fail_msg("call %d, error %d, path %s: status %d: %s", fs.call, fs.code, fs.word ? fs.word : "", rc, err.message);
  assert_string_equal(hex, undisturbed);
  assert_int_equal(fs.synced_again, 0);
  cases++;
  return err.message;
}
static void resumes(void) {
  char hex[33];
  dd_error err;
  if (train(at("run"), 1, hex, &err, NULL)) fail_msg("%s", err.message);
  assert_string_equal(hex, undisturbed);
  assert_string_equal(heard, "");
}

static void test_failing_calls(void **state) {
  (void)state;
  static const int codes[] = {ENOSPC, EIO, EDQUOT, EROFS, EACCES, EMFILE};
  train_ends(DD_OK);
  for (int call = 0; call < CALLS; call++)
    for (size_t c = 0; c < sizeof codes / sizeof *codes; c++) {
      const int code = codes[c];
      if (call == UNLINK) continue; /* nothing is unlinked in these runs but what failed: below */
      if (call == ALLOCATE && code != ENOSPC && code != EDQUOT) continue; /* the others mean: cannot reserve here */
      /* once */
      use(call, "ckpt-0000020.", 1, code);
      const char *said = train_ends(DD_E_IO);
      assert_part(said, "every checkpoint is saved, but not at the first attempt");
      assert_part(said, strerror(code));
      assert_part(heard, strerror(code));
      assert_part(heard, "iteration 20 was written again under a second name");
      assert_int_equal(access(at("run/ckpt-0000020-2.safetensors"), F_OK), 0);
      assert_int_not_equal(access(at("run/ckpt-0000020.safetensors"), F_OK), 0);
      sound(4);
      resumes();
      /* for all of one checkpoint */
      use(call, "ckpt-0000020", call == SYNC_DIR ? 2 : -1, code);
      said = train_ends(DD_E_IO);
      assert_part(said, "1 checkpoint could not be saved, first that of iteration 20");
      assert_part(said, strerror(code));
      assert_part(said, "the newest good one is of iteration 40");
      assert_part(heard, "the checkpoint of iteration 20 is lost");
      sound(call == SYNC_DIR ? -1 : 3); /* written, and never named */
      resumes();
      /* for good */
      if (call == SYNC_DIR) continue;
      use(call, "ckpt-", -1, code);
      said = train_ends(DD_E_IO);
      assert_part(said, "4 checkpoints could not be saved, first that of iteration 10");
      assert_part(said, "no checkpoint was saved");
      sound(0);
    }
}

/* Naming and removing fail: the checkpoint itself is there. */
static void test_failing_publication(void **state) {
  (void)state;
  for (int times = 1; times <= 2; times++)
    for (int i = 0; i < 2; i++) {
      use(RENAME, i ? "/latest" : "/best", times, EIO);
      assert_part(train_ends(DD_E_IO), "every checkpoint is saved");
      assert_part(heard, times == 1 ? "the second attempt succeeded" : "a resume will find it");
      sound(4);
      resumes();
    }
  use(OPEN, "/latest", -1, EACCES);
  train_ends(DD_E_IO);
  sound(4);
  resumes();
}

static size_t lines_of(const char *path) {
  size_t n, lines = 0;
  char *text = slurp(path, &n);
  for (size_t i = 0; i < n; i++) lines += text[i] == '\n';
  free(text);
  return lines;
}
static void test_failing_metrics(void **state) {
  (void)state;
  train_ends(DD_OK);
  const size_t all = lines_of(at("run/metrics.jsonl"));
  const struct {
    int call, skip, times;
    const char *part;
  } ways[] = {{WRITE, 3, -1, "records are missing at the end of metrics.jsonl"},
              {WRITE, 3, 2, "metrics.jsonl is complete, but not at the first attempt"},
              {SYNC, 1, 1, "every checkpoint is saved, but not at the first attempt"},
              {SYNC, 4, 1, "cannot sync"}}; /* the last one, when it is closed */
  for (int i = 0; i < 4; i++) {
    use(ways[i].call, "metrics.jsonl", ways[i].times, EIO);
    fs.skip = ways[i].skip; /* the record of config.json is written before training: it may still fail then */
    const char *said = train_ends(DD_E_IO);
    assert_part(said, ways[i].part);
    assert_part(said, strerror(EIO));
    if (i) assert_int_equal(lines_of(at("run/metrics.jsonl")), all);
    else assert_int_equal(lines_of(at("run/metrics.jsonl")), 3);
    sound(4);
    resumes();
  }
}

/* ---- beside the training ---- */

static void on_step(void *user, const dd_step_record *r) {
  (void)user;
  if (r->iter >= 25) atomic_store(&released, 1);
}

static void test_beside(void **state) {
  (void)state;
  dd_settings *s = dd_settings_create();
  const char *const pairs[] = {"n_layer", "1", "n_head", "2", "n_embd", "8", "block_size", "8", "batch_size", "2",
                               "max_iters", "40", "warmup_iters", "4", "eval_interval", "10", "eval_iters", "2", "lr",
                               "3e-3", "min_lr", "1e-3", "dropout", "0.2", "init_std", "0.1", "threads", "1",
                               "log_interval", "1", "keep_checkpoints", "100", "overwrite", "true", NULL};
  for (const char *const *p = pairs; *p; p += 2) assert_int_equal(dd_settings_set(s, p[0], p[1], NULL), DD_OK);
  assert_int_equal(dd_settings_set(s, "data", at("text.txt"), NULL), DD_OK);
  assert_int_equal(dd_settings_set(s, "out", at("run"), NULL), DD_OK);
  const dd_callbacks cb = {.step = on_step};
  dd_train_result r;
  dd_error err;
  use(WRITE, "ckpt-0000020", 0, 0);
  fs.hold = 1; /* the checkpoint of 20 is not written before iteration 25 is done */
  atomic_store(&released, 0);
  if (dd_train(s, &cb, &r, &err)) fail_msg("%s", err.message);
  dd_fs_replace(NULL);
  assert_int_equal(atomic_load(&released), 1);
  assert_string_equal(r.fingerprint, undisturbed);
  assert_true(fs.threads > 0);
  sound(4);
  dd_settings_destroy(s);
}

/* No memory for a copy, no thread: saved on the spot, by this thread. */
static void test_on_the_spot(void **state) {
  (void)state;
  char hex[33];
  dd_error err;
  for (int i = 0; i < 2; i++) {
    use(WRITE, NULL, 0, 0);
    no_thread = i;
    if (i == 0) assert_int_equal(train(at("run"), 0, hex, &err, "dry_run", "true", NULL), DD_OK);
    const int rc = train(at("run"), 0, hex, &err, NULL);
    dd_fs_replace(NULL);
    no_thread = 0;
    if (rc) fail_msg("%s", err.message);
    assert_string_equal(hex, undisturbed);
    assert_true(i ? fs.threads == 0 : fs.threads > 0);
    sound(4);
  }
}

/* The saver by itself: the file is that of the plain writer, byte for byte, and holds the state at the call however the
 * model changes while it is written. */
static void test_bytes(void **state) {
  (void)state;
  const dd_kernels *k;
  char why[128];
  dd_error err;
  dd_model *m;
  dd_rundir *rd;
  dd_saver *v;
  dd_vocab vocab = {0};
  json_t *o = json_loads("{\"kind\":\"byte\",\"vocab_size\":256}", 0, NULL);
  dd_settings *s = dd_settings_create();
  assert_int_equal(dd_tier_select("auto", &k, why, sizeof why, &err), DD_OK);
  if (dd_vocab_from_json(&vocab, o, "test", &err)) fail_msg("%s", err.message);
  json_decref(o);
  const dd_model_options options = {.shape = {.L = 1, .H = 2, .C = 16, .S = 8, .V = vocab.size}, .B = 1, .T = 8,
                                    .accumulation = 1, .train = 1, .seed = 3};
  assert_int_equal(dd_model_create(&m, &options, k, 1, &err), DD_OK);
  remove_tree(at("run"));
  assert_int_equal(dd_rundir_open(at("run"), DD_RUN_CREATE, &rd, &err), DD_OK);
  for (int way = 0; way < 3; way++) { /* beside, no memory, no thread */
    dd_model_init(m, 0.02);
    for (int64_t i = 0; i < m->layout.floats; i++) m->m[i] = (float)i, m->v[i] = (float)-i;
    const dd_run_state st = {.iter = 5 + way, .evaluated = -1, .best_iter = -1, .run_id = "0123456789abcdef"};
    const dd_weights_view view = {.layout = &m->layout, .param = m->param, .m = m->m, .v = m->v};
    assert_int_equal(dd_checkpoint_write(at("plain"), &view, &st, s, &vocab, &err), DD_OK);
    const dd_saver_options so = {.dir = rd, .m = m, .s = s, .vocab = &vocab};
    assert_int_equal(dd_saver_create(&v, &so, &err), DD_OK);
    no_memory = way == 1, no_thread = way == 2;
    if (way == 0) {
      use(WRITE, "ckpt-", 0, 0);
      fs.hold = 1;
      atomic_store(&released, 0);
    } else use(WRITE, NULL, 0, 0);
    dd_saver_save(v, &st);
    memset(m->param, 0, 1000), memset(m->m, 0, 1000), memset(m->v, 0, 1000); /* training goes on */
    dd_saver_poll(v);
    atomic_store(&released, 1);
    assert_int_equal(dd_saver_wait(v, &err), 5 + way);
    assert_int_equal(err.code, DD_OK);
    no_memory = no_thread = 0;
    assert_int_equal(dd_saver_close(v, &err), DD_OK);
    dd_fs_replace(NULL);
    assert_true(way ? fs.threads == 0 : fs.threads > 0);
    size_t n[2];
    char name[64];
    snprintf(name, sizeof name, "run/ckpt-%07d.safetensors", 5 + way);
    char *plain = slurp(at("plain"), &n[0]), *saved = slurp(at(name), &n[1]);
    assert_int_equal(n[0], n[1]);
    assert_memory_equal(plain, saved, n[0]);
    free(plain);
    free(saved);
    cases++;
  }
  dd_rundir_close(rd);
  dd_model_destroy(m);
  dd_vocab_free(&vocab);
  dd_settings_destroy(s);
}

/* Stopped on request while nothing can be written: the exit code must not promise a checkpoint. */
static int stop_at(void *user) { return --*(int *)user < 0; }
static void test_stop(void **state) {
  (void)state;
  for (int polls = 30; polls < 60; polls += 10) {
    dd_settings *s = dd_settings_create();
    dd_error err;
    int left = polls;
    const dd_callbacks cb = {.user = &left, .should_stop = stop_at};
    const char *const pairs[] = {"n_layer", "1", "n_head", "2", "n_embd", "8", "block_size", "8", "batch_size", "2",
                                 "max_iters", "400", "warmup_iters", "4", "eval_interval", "10", "eval_iters", "2",
                                 "threads", "1", "overwrite", "true", NULL};
    for (const char *const *p = pairs; *p; p += 2) assert_int_equal(dd_settings_set(s, p[0], p[1], NULL), DD_OK);
    assert_int_equal(dd_settings_set(s, "data", at("text.txt"), NULL), DD_OK);
    assert_int_equal(dd_settings_set(s, "out", at("run"), NULL), DD_OK);
    use(WRITE, "ckpt-", -1, ENOSPC);
    assert_int_equal(dd_train(s, &cb, NULL, &err), DD_E_IO);
    dd_fs_replace(NULL);
    assert_part(err.message, "stopped on request at iteration");
    assert_part(err.message, "could not be saved");
    assert_part(err.message, strerror(ENOSPC));
    dd_settings_destroy(s);
    cases++;
  }
}

int main(void) {
  dd_error err;
  main_thread = pthread_self();
  if (!make_root()) return 1;
  if (train(at("undisturbed"), 0, undisturbed, &err, NULL)) {
    printf("%s\n", err.message);
    return 1;
  }
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_failing_calls), cmocka_unit_test(test_failing_publication),
      cmocka_unit_test(test_failing_metrics), cmocka_unit_test(test_beside), cmocka_unit_test(test_on_the_spot),
      cmocka_unit_test(test_bytes), cmocka_unit_test(test_stop)};
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  printf("runs with failing writes: %ld\n", cases);
  remove_tree(root);
  return failed != 0;
}
