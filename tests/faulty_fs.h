/* What test_files and test_rundir share: a file system in between that fails on purpose, and a directory to work in. */
#ifndef DD_TESTS_FAULTY_FS_H
#define DD_TESTS_FAULTY_FS_H
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "core/file.h"

/* ---- the file system that fails: call number fail_at (and all later ones when persistent) returns error code ---- */

/* In memory that forked children share, and counted atomically: a job may have several threads and processes. */
static struct fault_state {
  long calls, fail_at;
  int persistent, code;
  size_t max_count;  /* > 0: read and write move at most this much */
  int eintr;         /* every second read, pread, write, flock, fallocate is interrupted */
  long eintr_calls, balance; /* descriptors and directories open */
  char trace[256];   /* one letter per call */
  size_t traced;
  char failed; /* letter of the call that failed first */
} *fault_state;
#define fs (*fault_state)
static long cases;
__attribute__((constructor)) static void share_faults(void) {
  fault_state = mmap(NULL, sizeof *fault_state, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (fault_state == MAP_FAILED) abort();
}

static int trip(char letter) {
  const size_t at = __atomic_fetch_add(&fs.traced, 1, __ATOMIC_RELAXED);
  if (at < sizeof fs.trace - 1) fs.trace[at] = letter;
  const long calls = __atomic_add_fetch(&fs.calls, 1, __ATOMIC_RELAXED);
  if (!fs.fail_at || (fs.persistent ? calls < fs.fail_at : calls != fs.fail_at)) return 0;
  if (calls == fs.fail_at) fs.failed = letter;
  errno = fs.code;
  return 1;
}
static int interrupted(void) {
  if (!fs.eintr || __atomic_fetch_add(&fs.eintr_calls, 1, __ATOMIC_RELAXED) % 2) return 0;
  errno = EINTR;
  return 1;
}
static size_t limited(size_t n) { return fs.max_count && n > fs.max_count ? fs.max_count : n; }

static int f_open(const char *p, int flags, mode_t m) {
  if (trip('o')) return -1;
  const int fd = dd_fs_posix.open(p, flags, m);
  if (fd >= 0) __atomic_add_fetch(&fs.balance, 1, __ATOMIC_RELAXED);
  return fd;
}
static ssize_t f_read(int fd, void *b, size_t n) {
  return interrupted() || trip('r') ? -1 : dd_fs_posix.read(fd, b, limited(n));
}
static ssize_t f_pread(int fd, void *b, size_t n, off_t o) {
  return interrupted() || trip('p') ? -1 : dd_fs_posix.pread(fd, b, limited(n), o);
}
static ssize_t f_write(int fd, const void *b, size_t n) {
  if (interrupted()) return -1;
  if (trip('w')) /* a disk that fills up takes a part first */
    return n > 1 && fs.code == ENOSPC && fs.calls == fs.fail_at ? dd_fs_posix.write(fd, b, n / 2) : -1;
  return dd_fs_posix.write(fd, b, limited(n));
}
static int no_fsync(int fd) { /* thousands of real ones would make the test wait for a busy disk */
  (void)fd;
  return 0;
}
static int f_fsync(int fd) { return trip('s') ? -1 : no_fsync(fd); }
static int f_close(int fd) {
  __atomic_sub_fetch(&fs.balance, 1, __ATOMIC_RELAXED);
  const int rc = dd_fs_posix.close(fd); /* also when it fails */
  return trip('c') ? -1 : rc;
}
static int f_rename(const char *a, const char *b) { return trip('R') ? -1 : dd_fs_posix.rename(a, b); }
static int f_unlink(const char *p) { return trip('u') ? -1 : dd_fs_posix.unlink(p); }
static int f_mkdir(const char *p, mode_t m) { return trip('m') ? -1 : dd_fs_posix.mkdir(p, m); }
static int f_rmdir(const char *p) { return trip('d') ? -1 : dd_fs_posix.rmdir(p); }
static int f_ftruncate(int fd, off_t n) { return trip('t') ? -1 : dd_fs_posix.ftruncate(fd, n); }
static int f_fallocate(int fd, off_t o, off_t n) {
  return interrupted() || trip('a') ? errno : dd_fs_posix.fallocate(fd, o, n);
}
static int f_fstat(int fd, struct stat *st) { return trip('f') ? -1 : dd_fs_posix.fstat(fd, st); }
static int f_stat(const char *p, struct stat *st) { return trip('S') ? -1 : dd_fs_posix.stat(p, st); }
static int f_flock(int fd, int op) { return interrupted() || trip('l') ? -1 : dd_fs_posix.flock(fd, op); }
static void *f_opendir(const char *p) {
  if (trip('D')) return NULL;
  void *d = dd_fs_posix.opendir(p);
  if (d) __atomic_add_fetch(&fs.balance, 1, __ATOMIC_RELAXED);
  return d;
}
static const char *f_readdir(void *d) { return trip('e') ? NULL : dd_fs_posix.readdir(d); }
static int f_closedir(void *d) {
  __atomic_sub_fetch(&fs.balance, 1, __ATOMIC_RELAXED);
  const int rc = dd_fs_posix.closedir(d);
  return trip('C') ? -1 : rc;
}

static const dd_fs_ops failing = {
    .open = f_open,       .read = f_read,     .pread = f_pread,       .write = f_write,         .fsync = f_fsync,
    .close = f_close,     .rename = f_rename, .unlink = f_unlink,     .mkdir = f_mkdir,         .rmdir = f_rmdir,
    .fallocate = f_fallocate, .fstat = f_fstat, .ftruncate = f_ftruncate, .stat = f_stat,       .flock = f_flock,
    .statvfs = statvfs, /* its failure changes nothing: test_rundir */
    .opendir = f_opendir, .readdir = f_readdir, .closedir = f_closedir,
};

static void use_failing(long n, int persistent, int code) {
  memset(&fs, 0, sizeof fs);
  fs.fail_at = n, fs.persistent = persistent, fs.code = code;
  dd_fs_replace(&failing);
}
/* Back to the real one, but for fsync; nothing may be left open. */
static void use_plain(void) {
  static dd_fs_ops plain;
  plain = dd_fs_posix;
  plain.fsync = no_fsync;
  dd_fs_replace(&plain);
  assert_int_equal(fs.balance, 0);
}

static const int codes[] = {ENOSPC, EIO, EDQUOT, EROFS, EACCES, EMFILE};

/* Runs `body` with the n-th call failing, n = 1, 2, ... until it gets through, transient and persistent, and `check`
 * after each. body returns its status; check is told it. */
static inline void fail_each_call(void (*prepare)(void), int (*body)(dd_error *), void (*check)(int rc)) {
  for (size_t c = 0; c < sizeof codes / sizeof *codes; c++)
    for (int persistent = 0; persistent < 2; persistent++)
      for (long n = 1;; n++) {
        dd_error err = {.message = ""};
        prepare();
        use_failing(n, persistent, codes[c]);
        const int rc = body(&err);
        const long calls = fs.calls;
        use_plain();
        cases++;
        if (rc != DD_OK) {
          assert_int_equal(rc, err.code);
          assert_true(strlen(err.message) > 10);
        }
        check(rc);
        if (calls < n) {
          assert_int_equal(rc, DD_OK);
          break;
        }
        assert_true(n < 2000);
      }
}

/* ---- a place to work ---- */

static char root[128];

static const char *at(const char *name) { /* a path below root; four may be in use */
  static char path[4][1024];
  static int next;
  next = (next + 1) % 4;
  snprintf(path[next], sizeof path[next], "%s/%s", root, name);
  return path[next];
}
static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
  (void)st, (void)type;
  return ftw->level ? remove(path) : 0;
}
static void clean(void) { nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS); }
static void put(const char *name, const char *text) {
  FILE *f = fopen(at(name), "wb");
  assert_non_null(f);
  fputs(text, f);
  fclose(f);
}
static char *get(const char *name) { /* "" when there is none; valid until the next call */
  static char text[8192];
  FILE *f = fopen(at(name), "rb");
  const size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
  if (f) fclose(f);
  text[n] = '\0';
  return text;
}
static int count_files(const char *dir, const char *part) {
  int n = 0;
  void *d = dd_fs_posix.opendir(dir);
  for (const char *name; d && (name = dd_fs_posix.readdir(d)) != NULL;) n += strstr(name, part) != NULL;
  if (d) dd_fs_posix.closedir(d);
  return n;
}
static inline int setup(void **state) {
  (void)state;
  memset(&fs, 0, sizeof fs);
  use_plain();
  clean();
  return 0;
}

/* In memory where there is such a place: on disks every rename over a file starts a flush, which takes minutes here. */
static int make_root(void) {
  const char *tmp = getenv("TMPDIR");
  const char *const places[] = {tmp && *tmp && strlen(tmp) < 100 ? tmp : "/dev/shm", "/tmp"};
  for (int i = 0; i < 2; i++) {
    snprintf(root, sizeof root, "%s/dd-test-XXXXXX", places[i]);
    if (mkdtemp(root)) return 1;
  }
  perror(root);
  return 0;
}
static int run_group(const char *group, const struct CMUnitTest *tests, size_t n) {
  const int failed = _cmocka_run_group_tests(group, tests, n, NULL, NULL);
  printf("cases with faults: %ld\n", cases);
  clean();
  rmdir(root);
  return failed != 0;
}
#endif
