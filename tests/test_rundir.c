/* Run directory: lock, rotation, pointers, config.json, metrics.jsonl; on a real directory, every call failing once. */
#include "faulty_fs.h"
#include <signal.h>
#include <sys/wait.h>
#include "model/safetensors.h"
#include "run/rundir.h"

static char run[300];

static int exists(const char *name) { return access(at(name), F_OK) == 0; }

static dd_rundir *open_run(unsigned flags) {
  dd_rundir *rd;
  dd_error err;
  if (dd_rundir_open(run, flags, &rd, &err) != DD_OK) fail_msg("%s", err.message);
  return rd;
}
static int checkpoint(dd_rundir *rd, int64_t iter, int is_best, int keep, dd_error *err) {
  char path[4096];
  const float x = (float)iter;
  const dd_tensor_info t = {.name = "x", .dtype = DD_F32, .ndim = 1, .shape = {1}, .data = &x};
  int rc = dd_rundir_checkpoint_path(rd, iter, 0, path, sizeof path, err);
  if (rc == DD_OK) rc = dd_st_write(path, &t, 1, NULL, err);
  return rc == DD_OK ? dd_rundir_publish(rd, iter, is_best, keep, err) : rc;
}
/* "9 7 5": the checkpoints of the run, newest first, each of which must load. */
static const char *list_run(dd_rundir *rd) {
  static char text[400];
  dd_run_file *v;
  size_t n, len = 0;
  dd_error err;
  assert_int_equal(dd_run_checkpoints(dd_rundir_path(rd), &v, &n, &err), DD_OK);
  text[0] = '\0';
  for (size_t i = 0; i < n; i++) {
    char path[4096];
    float x;
    dd_st *st;
    len += (size_t)snprintf(text + len, sizeof text - len, "%s%lld", i ? " " : "",
                            (long long)v[i].iter);
    assert_int_equal(dd_path_join(path, sizeof path, run, v[i].name, &err), DD_OK);
    if (dd_st_open(path, &st, &err) != DD_OK) fail_msg("%s", err.message);
    assert_int_equal(dd_st_read(st, dd_st_find(st, "x"), &x, sizeof x, &err), DD_OK);
    assert_true(x == (float)v[i].iter);
    dd_st_close(st);
  }
  free(v);
  return text;
}

static void test_run_open(void **state) {
  (void)state;
  dd_rundir *rd;
  dd_error err;
  assert_int_equal(dd_rundir_open(run, 0, &rd, &err), DD_E_USAGE); /* not there */
  assert_null(rd);
  assert_int_equal(dd_rundir_open(run, DD_RUN_RESUME, &rd, &err), DD_E_USAGE);
  assert_int_equal(dd_rundir_open(run, DD_RUN_CREATE | DD_RUN_RESUME | DD_RUN_OVERWRITE, &rd, &err), DD_E_USAGE);
  assert_int_equal(dd_rundir_open("", DD_RUN_CREATE, &rd, &err), DD_E_USAGE);
  rd = open_run(DD_RUN_CREATE);
  assert_string_equal(dd_rundir_path(rd), run);
  assert_int_equal(count_files(run, ""), 3); /* . .. run.lock: the probe is gone */
  dd_rundir_close(rd);
  dd_rundir_close(NULL);
  rd = open_run(DD_RUN_CREATE); /* still empty: fine */
  json_t *config = json_pack("{s:i, s:f}", "n_layer", 2, "lr", 0.1), *again;
  assert_int_equal(dd_rundir_config_write(rd, config, &err), DD_OK);
  assert_int_equal(dd_run_config_read(run, &again, &err), DD_OK);
  assert_true(json_equal(config, again));
  json_decref(again);
  json_decref(config);
  dd_rundir_close(rd);
  assert_int_equal(dd_rundir_open(run, DD_RUN_CREATE, &rd, &err), DD_E_USAGE);
  assert_non_null(strstr(err.message, "--resume"));
  assert_non_null(strstr(err.message, "--overwrite"));
  rd = open_run(DD_RUN_RESUME);
  assert_true(exists("run/config.json"));
  assert_int_equal(checkpoint(rd, 10, 1, 2, &err), DD_OK);
  dd_rundir_close(rd);
  /* what --overwrite takes away, and what it leaves alone */
  static const char *const mine[] = {"run/metrics.jsonl", "run/metrics.jsonl.cut-7", "run/log",
                                     "run/ckpt-0000001.safetensors.tmp-77", "run/config.json.tmp-1",
                                     "run/ckpt-12345678.safetensors"};
  static const char *const theirs[] = {"run/notes.txt", "run/ckpt-1.safetensors", "run/ckpt-0000001.safetensors.bak",
                                       "run/my.tmp-77", "run/metrics.jsonl.cut-x", "run/ckpt-00000001.safetensors",
                                       "run/best.txt", "run/ckpt--000001.safetensors", "run/config.json.tmp-1x"};
  for (size_t i = 0; i < sizeof mine / sizeof *mine; i++) put(mine[i], "x");
  for (size_t i = 0; i < sizeof theirs / sizeof *theirs; i++) put(theirs[i], "x");
  rd = open_run(DD_RUN_RESUME);
  assert_true(exists(mine[0]) && exists(mine[1]) && exists(mine[2]) && exists(mine[5]) && exists("run/latest"));
  assert_false(exists(mine[3])); /* left by a crash */
  dd_rundir_close(rd);
  rd = open_run(DD_RUN_OVERWRITE);
  for (size_t i = 0; i < sizeof mine / sizeof *mine; i++) assert_false(exists(mine[i]));
  for (size_t i = 0; i < sizeof theirs / sizeof *theirs; i++) assert_true(exists(theirs[i]));
  assert_false(exists("run/latest") || exists("run/best") || exists("run/config.json"));
  assert_string_equal(list_run(rd), "");
  dd_rundir_close(rd);
  put("run/config.json", "{\"a\":1,\"a\":2}");
  assert_int_equal(dd_run_config_read(run, &again, &err), DD_E_CORRUPT);
  put("run/config.json", "[]");
  assert_int_equal(dd_run_config_read(run, &again, &err), DD_E_CORRUPT);
  put("run/config.json", "{\"a\":");
  assert_int_equal(dd_run_config_read(run, &again, &err), DD_E_CORRUPT);
  unlink(at("run/config.json"));
  assert_int_equal(dd_run_config_read(run, &again, &err), DD_E_IO);
  put("afile", "");
  assert_int_equal(dd_rundir_open(at("afile"), DD_RUN_CREATE, &rd, &err), DD_E_IO);
  assert_int_equal(symlink("/etc/passwd", at("run2")), 0);
  assert_int_equal(dd_rundir_open(at("run2"), DD_RUN_RESUME, &rd, &err), DD_E_USAGE);
}

/* A disk of 4 KB blocks with so many left. -1: it cannot be told. */
static long long blocks_left;
static int made_up_disk(const char *path, struct statvfs *v) {
  (void)path;
  if (blocks_left < 0) return errno = EIO, -1;
  *v = (struct statvfs){.f_frsize = 4096, .f_blocks = 1000000, .f_bavail = (fsblkcnt_t)blocks_left};
  return 0;
}

static void test_run_space(void **state) {
  (void)state;
  dd_error err;
  dd_fs_ops made_up = dd_fs_posix;
  made_up.statvfs = made_up_disk;
  dd_rundir *rd = open_run(DD_RUN_CREATE);
  assert_int_equal(dd_rundir_check_space(rd, 1, &err), DD_OK);
  assert_int_equal(dd_rundir_check_space(rd, UINT64_MAX, &err), DD_E_IO);
  assert_non_null(strstr(err.message, "free some space"));
  dd_fs_replace(&made_up);
  blocks_left = 0;
  assert_int_equal(dd_rundir_check_space(rd, 1, &err), DD_E_IO);
  blocks_left = 11;
  assert_int_equal(dd_rundir_check_space(rd, 10 * 4096 + 1, &err), DD_OK);
  assert_int_equal(dd_rundir_check_space(rd, 11 * 4096, &err), DD_E_IO); /* the last block is for the directory */
  blocks_left = -1;
  assert_int_equal(dd_rundir_check_space(rd, UINT64_MAX, &err), DD_OK); /* writing will tell */
  dd_fs_replace(NULL);
  dd_rundir_close(rd);
}

static void test_lock(void **state) {
  (void)state;
  dd_rundir *rd = open_run(DD_RUN_CREATE), *second;
  dd_error err;
  char who[64];
  snprintf(who, sizeof who, "process %ld on ", (long)getpid());
  const unsigned flags[] = {DD_RUN_CREATE, DD_RUN_RESUME, DD_RUN_OVERWRITE};
  put("run/ckpt-0000005.safetensors", "x");
  for (int i = 0; i < 3; i++) {
    assert_int_equal(dd_rundir_open(run, flags[i], &second, &err), DD_E_LOCKED);
    assert_null(second);
    assert_non_null(strstr(err.message, who));
  }
  assert_true(exists("run/ckpt-0000005.safetensors")); /* --overwrite touched nothing */
  dd_rundir_close(rd);
  assert_true(exists("run/run.lock"));
  rd = open_run(DD_RUN_OVERWRITE);
  dd_rundir_close(rd);
  /* a holder that is killed holds nothing, whatever the file says */
  int ready[2];
  char byte;
  assert_int_equal(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    dd_rundir *own;
    if (dd_rundir_open(run, DD_RUN_CREATE, &own, NULL) != DD_OK || write(ready[1], "x", 1) != 1) _exit(1);
    pause();
    _exit(0);
  }
  assert_int_equal(read(ready[0], &byte, 1), 1);
  assert_int_equal(dd_rundir_open(run, DD_RUN_CREATE, &second, &err), DD_E_LOCKED);
  snprintf(who, sizeof who, "process %ld on ", (long)child);
  assert_non_null(strstr(err.message, who));
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  close(ready[0]);
  close(ready[1]);
  assert_true(strlen(get("run/run.lock")) > 0);
  dd_rundir_close(open_run(DD_RUN_CREATE));
}

/* Many start at once: exactly one gets the directory. */
static void test_lock_race(void **state) {
  (void)state;
  for (int round = 0; round < 30; round++) {
    pid_t child[4];
    int go[2], done[2], won = 0;
    clean();
    assert_int_equal(pipe(go), 0);
    assert_int_equal(pipe(done), 0);
    for (int i = 0; i < 4; i++) {
      child[i] = fork();
      if (child[i] != 0) continue;
      dd_rundir *rd;
      char byte;
      close(go[1]);
      close(done[1]);
      if (read(go[0], &byte, 1) != 0) _exit(99); /* all wait for the close below */
      const int rc = dd_rundir_open(run, DD_RUN_CREATE, &rd, NULL);
      if (rc == DD_OK && read(done[0], &byte, 1) != 0) _exit(99); /* hold it until all have tried */
      _exit(rc);
    }
    close(go[0]);
    close(done[0]);
    close(go[1]);
    int status, rest = 0;
    for (; rest < 3; rest++) { /* three losers end by themselves */
      waitpid(-1, &status, 0);
      assert_true(WIFEXITED(status));
      assert_int_equal(WEXITSTATUS(status), DD_E_LOCKED);
    }
    close(done[1]);
    waitpid(-1, &status, 0);
    won += WIFEXITED(status) && WEXITSTATUS(status) == DD_OK;
    assert_int_equal(won, 1);
    cases++;
  }
}

static void test_rotation(void **state) {
  (void)state;
  dd_error err;
  char path[4096];
  dd_rundir *rd = open_run(DD_RUN_CREATE);
  assert_int_equal(dd_run_find_checkpoint(run, "best", path, sizeof path, &err), DD_E_USAGE); /* none yet */
  assert_int_equal(checkpoint(rd, 0, 0, 2, &err), DD_OK);
  assert_string_equal(get("run/latest"), "ckpt-0000000.safetensors\n");
  assert_int_equal(dd_run_find_checkpoint(run, "best", path, sizeof path, &err), DD_OK); /* no best: latest */
  assert_non_null(strstr(path, "run/ckpt-0000000.safetensors"));
  assert_int_equal(checkpoint(rd, 10, 1, 2, &err), DD_OK);
  assert_int_equal(checkpoint(rd, 20, 0, 2, &err), DD_OK);
  assert_string_equal(list_run(rd), "20 10");
  assert_int_equal(checkpoint(rd, 30, 0, 2, &err), DD_OK);
  assert_string_equal(list_run(rd), "30 20 10"); /* 10 is the best one */
  assert_int_equal(checkpoint(rd, 40, 0, 2, &err), DD_OK);
  assert_string_equal(list_run(rd), "40 30 10");
  assert_int_equal(checkpoint(rd, 50, 1, 2, &err), DD_OK);
  assert_string_equal(list_run(rd), "50 40");
  assert_int_equal(checkpoint(rd, 60, 0, 0, &err), DD_OK); /* keep all */
  assert_int_equal(checkpoint(rd, 70, 0, -1, &err), DD_OK);
  assert_string_equal(list_run(rd), "70 60 50 40");
  assert_int_equal(checkpoint(rd, 80, 0, 1, &err), DD_OK);
  assert_string_equal(list_run(rd), "80 50");
  assert_int_equal(checkpoint(rd, 12345678, 1, 1, &err), DD_OK);
  assert_string_equal(list_run(rd), "12345678");
  dd_rundir_close(rd);
  /* a run that fell back to 80: later ones do not push the new ones out */
  rd = open_run(DD_RUN_RESUME);
  assert_int_equal(checkpoint(rd, 80, 0, 2, &err), DD_OK);
  assert_int_equal(checkpoint(rd, 90, 0, 2, &err), DD_OK);
  assert_int_equal(checkpoint(rd, 100, 0, 2, &err), DD_OK);
  assert_string_equal(list_run(rd), "12345678 100 90");
  assert_string_equal(get("run/latest"), "ckpt-0000100.safetensors\n");
  assert_int_equal(dd_rundir_publish(rd, 777, 1, 1, &err), DD_E_IO); /* not there: pointers stay */
  assert_string_equal(get("run/latest"), "ckpt-0000100.safetensors\n");
  /* readers, while the lock is held */
  assert_int_equal(dd_run_find_checkpoint(run, "latest", path, sizeof path, &err), DD_OK);
  assert_string_equal(path, at("run/ckpt-0000100.safetensors"));
  assert_int_equal(dd_run_find_checkpoint(run, "best", path, sizeof path, &err), DD_OK);
  assert_string_equal(path, at("run/ckpt-12345678.safetensors"));
  assert_int_equal(dd_run_find_checkpoint(run, "newest", path, sizeof path, &err), DD_E_USAGE);
  assert_int_equal(dd_run_find_checkpoint(run, "best", path, 10, &err), DD_E_USAGE);
  assert_int_equal(dd_run_find_checkpoint(at("run/ckpt-0000090.safetensors"), "best", path, sizeof path, &err), DD_OK);
  assert_string_equal(path, at("run/ckpt-0000090.safetensors"));
  assert_int_equal(dd_run_find_checkpoint(at("nowhere"), "best", path, sizeof path, &err), DD_E_IO);
  static const char *const bad[] = {"", "\n", "x", "../ckpt-0000001.safetensors", "/etc/passwd", "ckpt-1.safetensors",
                                    "ckpt-0000100.safetensors\nx", "ckpt-0000100.safetensors ",
                                    "ckpt-99999999999999999999999.safetensors"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    put("run/best", bad[i]);
    assert_int_equal(dd_run_find_checkpoint(run, "best", path, sizeof path, &err), DD_E_CORRUPT);
  }
  /* pointers we cannot read: training goes on, nothing is removed */
  assert_int_equal(checkpoint(rd, 110, 0, 1, &err), DD_OK);
  assert_string_equal(list_run(rd), "12345678 110 100 90");
  put("run/best", "ckpt-0000055.safetensors");
  assert_int_equal(dd_run_find_checkpoint(run, "best", path, sizeof path, &err), DD_E_CORRUPT); /* names a lost file */
  unlink(at("run/best"));
  unlink(at("run/latest"));
  assert_int_equal(dd_run_find_checkpoint(run, "best", path, sizeof path, &err), DD_OK); /* the newest */
  assert_string_equal(path, at("run/ckpt-12345678.safetensors"));
  dd_rundir_close(rd);
}

/* ---- n-th call fails in the life of a run ---- */

static void run_with_two(void) {
  dd_error err;
  clean();
  dd_rundir *rd = open_run(DD_RUN_CREATE);
  json_t *config = json_pack("{s:i}", "v", 1);
  assert_int_equal(dd_rundir_config_write(rd, config, &err), DD_OK);
  json_decref(config);
  assert_int_equal(checkpoint(rd, 10, 1, 2, &err), DD_OK);
  assert_int_equal(checkpoint(rd, 20, 0, 2, &err), DD_OK);
  dd_rundir_close(rd);
}
static int two_more(dd_error *err) {
  dd_rundir *rd;
  int rc = dd_rundir_open(run, DD_RUN_RESUME, &rd, err);
  if (rc != DD_OK) return rc;
  rc = checkpoint(rd, 30, 1, 2, err);
  if (rc == DD_OK) rc = checkpoint(rd, 40, 0, 2, err);
  dd_rundir_close(rd);
  return rc;
}
/* Whatever failed: the run can be resumed, its checkpoints load, best and latest name one of them. */
static void run_is_sound(int rc) {
  dd_error err;
  char path[4096];
  json_t *config;
  dd_rundir *rd = open_run(DD_RUN_RESUME);
  const char *list = list_run(rd); /* loads each */
  if (rc == DD_OK) assert_string_equal(list, "40 30");
  assert_true(strlen(list) >= 5); /* never less than two of them */
  assert_int_equal(count_files(run, ".tmp-"), 0);
  static const char *const which[] = {"best", "latest"};
  for (int i = 0; i < 2; i++)
    if (dd_run_find_checkpoint(run, which[i], path, sizeof path, &err) != DD_OK) fail_msg("%s", err.message);
  assert_int_equal(dd_run_config_read(run, &config, &err), DD_OK);
  json_decref(config);
  dd_rundir_close(rd);
}
static int find_best(dd_error *err) {
  char path[4096];
  return dd_run_find_checkpoint(run, "best", path, sizeof path, err);
}
static void still_two(int rc) {
  (void)rc;
  dd_rundir *rd = open_run(DD_RUN_RESUME);
  assert_string_equal(list_run(rd), "20 10");
  dd_rundir_close(rd);
}
static int overwrite(dd_error *err) {
  dd_rundir *rd;
  const int rc = dd_rundir_open(run, DD_RUN_OVERWRITE, &rd, err);
  if (rc == DD_OK) dd_rundir_close(rd);
  return rc;
}
static void overwritten_or_run(int rc) { /* never an unmarked half of a run */
  dd_rundir *rd;
  dd_error err;
  const int again = dd_rundir_open(run, DD_RUN_CREATE, &rd, &err);
  if (again == DD_OK) {
    assert_string_equal(list_run(rd), "");
    dd_rundir_close(rd);
  } else {
    assert_int_not_equal(rc, DD_OK);
    assert_int_equal(again, DD_E_USAGE);
  }
}
static int write_config(dd_error *err) {
  dd_rundir *rd;
  int rc = dd_rundir_open(run, DD_RUN_RESUME, &rd, err);
  if (rc != DD_OK) return rc;
  json_t *config = json_pack("{s:i}", "v", 2);
  rc = dd_rundir_config_write(rd, config, err);
  json_decref(config);
  dd_rundir_close(rd);
  return rc;
}
static void config_old_or_new(int rc) {
  json_t *config;
  dd_error err;
  assert_int_equal(dd_run_config_read(run, &config, &err), DD_OK);
  const json_int_t v = json_integer_value(json_object_get(config, "v"));
  assert_true(v == 2 || (v == 1 && rc != DD_OK));
  json_decref(config);
}

static void test_run_fails_each_call(void **state) {
  (void)state;
  const long before = cases;
  fail_each_call(run_with_two, two_more, run_is_sound);
  fail_each_call(run_with_two, find_best, still_two);
  fail_each_call(run_with_two, overwrite, overwritten_or_run);
  fail_each_call(run_with_two, write_config, config_old_or_new);
  print_message("failing calls, run directory: %ld cases\n", cases - before);
}

/* ---- metrics ---- */

static const char lines10[] = "{\"run\":1}\n{\"iter\":0,\"loss\":4.5}\n{\"iter\":10,\"loss\":3.25}\n";
static const char lines20[] = "{\"iter\":11}\n{\"note\":\"of 11\"}\n{\"iter\":20,\"loss\":2.5}\n";

static void truncate_case(const char *content, int64_t iter, const char *kept, const char *cut) {
  dd_error err;
  char name[64];
  clean();
  dd_rundir *rd = open_run(DD_RUN_CREATE);
  if (content) put("run/metrics.jsonl", content);
  if (dd_metrics_truncate_after(rd, iter, &err) != DD_OK) fail_msg("%s", err.message);
  assert_string_equal(get("run/metrics.jsonl"), kept);
  snprintf(name, sizeof name, "run/metrics.jsonl.cut-%lld", (long long)(iter < 0 ? 0 : iter));
  assert_string_equal(get(name), cut);
  assert_int_equal(exists(name), cut[0] != '\0');
  dd_rundir_close(rd);
  cases++;
}

static void test_metrics(void **state) {
  (void)state;
  dd_error err;
  dd_metrics *m;
  dd_rundir *rd = open_run(DD_RUN_CREATE);
  assert_int_equal(dd_metrics_open(rd, &m, &err), DD_OK);
  use_failing(0, 0, 0);
  assert_int_equal(dd_metrics_append_line(m, "{\"iter\":1}", &err), DD_OK);
  assert_string_equal(fs.trace, "w"); /* one write per line */
  use_plain();
  assert_int_equal(dd_metrics_append_line(m, "{\n}", &err), DD_E_USAGE);
  json_t *o = json_pack("{s:i, s:f}", "iter", 2, "loss", 0.1);
  assert_int_equal(dd_metrics_append(m, o, &err), DD_OK);
  json_decref(o);
  assert_int_equal(dd_metrics_close(m, &err), DD_OK);
  assert_int_equal(dd_metrics_close(NULL, &err), DD_OK);
  assert_string_equal(get("run/metrics.jsonl"), "{\"iter\":1}\n{\"iter\":2,\"loss\":0.10000000000000001}\n");
  /* a torn line that could not be taken back at once is taken back before the next one */
  assert_int_equal(dd_metrics_open(rd, &m, &err), DD_OK);
  use_failing(1, 1, ENOSPC);
  assert_int_equal(dd_metrics_append_line(m, "{\"iter\":3}", &err), DD_E_IO);
  assert_string_equal(fs.trace, "wwt");
  assert_int_equal(dd_metrics_append_line(m, "{\"iter\":4}", &err), DD_E_IO);
  assert_string_equal(fs.trace, "wwtt");
  use_plain();
  assert_non_null(strstr(get("run/metrics.jsonl"), "}\n{\"ite"));
  assert_int_equal(dd_metrics_append_line(m, "{\"iter\":5}", &err), DD_OK);
  assert_int_equal(dd_metrics_close(m, &err), DD_OK);
  assert_string_equal(get("run/metrics.jsonl"),
                      "{\"iter\":1}\n{\"iter\":2,\"loss\":0.10000000000000001}\n{\"iter\":5}\n");
  dd_rundir_close(rd);
  char both[400], text[500];
  snprintf(both, sizeof both, "%s%s", lines10, lines20);
  truncate_case(NULL, 5, "", "");
  truncate_case("", 5, "", "");
  truncate_case(both, 20, both, "");
  truncate_case(both, 19, "{\"run\":1}\n{\"iter\":0,\"loss\":4.5}\n{\"iter\":10,\"loss\":3.25}\n{\"iter\":11}\n"
                          "{\"note\":\"of 11\"}\n", "{\"iter\":20,\"loss\":2.5}\n");
  truncate_case(both, 10, lines10, lines20);
  truncate_case(both, -1, "{\"run\":1}\n", strchr(both, '\n') + 1);
  truncate_case("{\"iter\":1}\n{\"iter\":2}", 9, "{\"iter\":1}\n", "{\"iter\":2}"); /* torn: no newline */
  truncate_case("{\"iter\":1}\n{\"it", 9, "{\"iter\":1}\n", "{\"it");
  truncate_case("{\"iter\":1}\nrubbish\n[1]\n\n{\"iter\":2}\n", 9, "{\"iter\":1}\n{\"iter\":2}\n", "rubbish\n[1]\n\n");
  for (size_t n = 0; n <= strlen(both); n++) { /* torn anywhere */
    size_t whole = n;
    memcpy(text, both, n);
    text[n] = '\0';
    while (whole > 0 && text[whole - 1] != '\n') whole--;
    char kept[500];
    memcpy(kept, text, whole);
    kept[whole] = '\0';
    truncate_case(text, 20, kept, text + whole);
  }
  /* twice at the same iteration: both tails are kept */
  truncate_case("{\"iter\":1}\n{\"iter\":5}\n{\"it", 1, "{\"iter\":1}\n", "{\"iter\":5}\n{\"it");
  rd = open_run(DD_RUN_RESUME);
  put("run/metrics.jsonl", "{\"iter\":1}\n{\"iter\":3}\n");
  assert_int_equal(dd_metrics_truncate_after(rd, 1, &err), DD_OK);
  assert_string_equal(get("run/metrics.jsonl.cut-1"), "{\"iter\":5}\n{\"it\n{\"iter\":3}\n");
  dd_rundir_close(rd);
}

static void run_with_metrics(void) {
  clean();
  dd_rundir_close(open_run(DD_RUN_CREATE));
  char both[400];
  snprintf(both, sizeof both, "%s%s", lines10, lines20);
  put("run/metrics.jsonl", both);
}
static int resume_metrics(dd_error *err) {
  dd_rundir *rd;
  dd_metrics *m;
  int rc = dd_rundir_open(run, DD_RUN_RESUME, &rd, err);
  if (rc != DD_OK) return rc;
  rc = dd_metrics_truncate_after(rd, 10, err);
  if (rc == DD_OK) {
    rc = dd_metrics_open(rd, &m, err);
    if (rc == DD_OK) {
      rc = dd_metrics_append_line(m, "{\"iter\":12}", err);
      if (rc != DD_OK && !fs.persistent) { /* the next line finds a whole file */
        dd_error second;
        assert_int_equal(dd_metrics_append_line(m, "{\"iter\":13}", &second), DD_OK);
      }
      dd_error at_end;
      const int closed = dd_metrics_close(m, &at_end);
      if (rc == DD_OK && closed != DD_OK) {
        *err = at_end;
        rc = closed;
      }
    }
  }
  dd_rundir_close(rd);
  return rc;
}
/* No line is lost, none is torn. */
static void metrics_sound(int rc) {
  char now[8192];
  dd_rundir *rd = open_run(DD_RUN_RESUME);
  dd_error err;
  assert_int_equal(dd_metrics_truncate_after(rd, 1000, &err), DD_OK); /* what the next resume does */
  dd_rundir_close(rd);
  strcpy(now, get("run/metrics.jsonl"));
  const size_t n = strlen(now);
  assert_true(n > 0 && now[n - 1] == '\n');
  assert_int_equal(strncmp(now, lines10, strlen(lines10)), 0);
  if (rc == DD_OK) assert_null(strstr(now, "\"of 11\""));
  if (!strstr(now, "\"of 11\"")) assert_string_equal(get("run/metrics.jsonl.cut-10"), lines20);
  if (rc == DD_OK) assert_non_null(strstr(now, "{\"iter\":12}\n"));
  for (char *line = strtok(now, "\n"); line; line = strtok(NULL, "\n")) {
    json_t *o = json_loads(line, 0, NULL);
    assert_non_null(o);
    json_decref(o);
  }
}
static void test_metrics_fail_each_call(void **state) {
  (void)state;
  const long before = cases;
  fail_each_call(run_with_metrics, resume_metrics, metrics_sound);
  print_message("failing calls, metrics: %ld cases\n", cases - before);
}

int main(void) {
  if (!make_root()) return 1;
  snprintf(run, sizeof run, "%s/run", root);
#define TEST(f) cmocka_unit_test_setup(f, setup)
  const struct CMUnitTest tests[] = {
      TEST(test_run_open), TEST(test_run_space),         TEST(test_lock),    TEST(test_lock_race),
      TEST(test_rotation), TEST(test_run_fails_each_call), TEST(test_metrics), TEST(test_metrics_fail_each_call),
  };
  return run_group("rundir", tests, sizeof tests / sizeof *tests);
}
