/* SIGKILL before and after system calls that change a file, in runs that save their first checkpoint, rotate
 * older ones away, resume, and replace a run; and at random times, again and again on one run directory. After each
 * kill a resume ends at the weights of the uninterrupted run.
 *
 * The run is a forked child that this program traces (ptrace); where that is not permitted, or the kernel cannot say
 * which system call it is (before Linux 5.3, or an emulator), those points are skipped with status 77.
 * Every 4th, 5th and 13th point; DD_QUICK: every 7th of those and 20 random kills. DD_LONG: every point, 1,000. */
#include "jobs_fixture.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static long points, kills;

/* ---- the run, in a child ---- */

static void train_and_exit(const char *how, const char *threads) {
  dd_error err;
  dd_settings *s = training("run", how);
  if (dd_settings_set(s, "threads", threads, &err)) _exit(99);
  const int rc = run_train(s, &err);
  if (rc) printf("%s\n", err.message), fflush(stdout);
  _exit(rc);
}

/* recover() in a child of its own, so that no thread is ever left in this process. */
static int recovered(int had_checkpoint) {
  fflush(stdout);
  const pid_t pid = fork();
  if (pid == 0) {
    recover("run", had_checkpoint);
    _exit(0);
  }
  int status = -1;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
  return status == 0;
}

/* ---- at a system call ---- */

#ifdef PTRACE_GET_SYSCALL_INFO
enum { STOP_SYSCALL = SIGTRAP | 0x80 };

/* Does this call change a file or a directory? *writing: a file is open that was made. */
static int changes(const struct __ptrace_syscall_info *info, int *writing) {
  const uint64_t nr = info->entry.nr;
  static const long always[] = {
      SYS_write,     SYS_pwrite64,  SYS_writev,    SYS_fsync,    SYS_fdatasync,
      SYS_ftruncate, SYS_fallocate, SYS_renameat2, SYS_unlinkat, SYS_mkdirat,
#ifdef SYS_renameat
      SYS_renameat,
#endif
#ifdef SYS_rename
      SYS_rename,    SYS_unlink,    SYS_mkdir,
#endif
  };
  for (size_t i = 0; i < sizeof always / sizeof *always; i++)
    if (nr == (uint64_t)always[i]) return 1;
  int made = nr == SYS_openat && (info->entry.args[2] & O_CREAT);
#ifdef SYS_open
  made |= nr == SYS_open && (info->entry.args[1] & O_CREAT);
#endif
  if (made) return *writing = 1;
  const int closes = *writing && nr == SYS_close;
  if (closes) *writing = 0;
  return closes;
}

/* Runs the child until its n-th changing call, kills it before (after: behind) that call. Returns the calls seen when
 * it ended by itself, 0 when it was killed, -1 when it cannot be traced. */
static long run_until(const char *how, const char *threads, long n, int after) {
  fflush(stdout);
  const pid_t pid = fork();
  if (pid == 0) {
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL)) _exit(98);
    raise(SIGSTOP);
    train_and_exit(how, threads);
  }
  int status, writing = 0, untraceable = 0;
  long seen = 0;
  pid_t waiting_for = 0;
  while (waitpid(pid, &status, __WALL) < 0 && errno == EINTR) {}
  if (!WIFSTOPPED(status)) return -1;
  if (ptrace(PTRACE_SETOPTIONS, pid, NULL,
             (void *)(uintptr_t)(PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL)))
    untraceable = 1;
  if (untraceable) kill(pid, SIGKILL);
  ptrace(PTRACE_SYSCALL, pid, NULL, NULL);
  for (int ended = 0, killed = 0;;) {
    const pid_t who = waitpid(-1, &status, __WALL);
    if (who < 0 && errno == EINTR) continue;
    if (who < 0) return untraceable ? -1 : killed ? 0 : ended == DD_OK ? seen : -2;
    if (WIFEXITED(status) || WIFSIGNALED(status)) {
      if (who == pid) ended = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
      continue;
    }
    int deliver = 0;
    if (WSTOPSIG(status) == STOP_SYSCALL && !killed && !untraceable) {
      struct __ptrace_syscall_info info;
      const long got = ptrace(PTRACE_GET_SYSCALL_INFO, who, (void *)sizeof info, &info);
      untraceable = got <= 0;
      const int entry = !untraceable && info.op == PTRACE_SYSCALL_INFO_ENTRY && changes(&info, &writing);
      if (entry && ++seen == n && after) waiting_for = who;
      if (untraceable || (entry && seen == n && !after) || (waiting_for == who && !entry)) {
        killed = 1;
        kill(pid, SIGKILL);
      }
    } else if (WSTOPSIG(status) != STOP_SYSCALL && WSTOPSIG(status) != SIGTRAP && WSTOPSIG(status) != SIGSTOP)
      deliver = WSTOPSIG(status);
    ptrace(PTRACE_SYSCALL, who, NULL, (void *)(uintptr_t)deliver);
  }
}

static int at_every_call(const char *name, const char *how, const char *from, const char *threads, long stride) {
  const double t0 = __real_dd_now();
  if (getenv("DD_QUICK")) stride *= 7;
  if (getenv("DD_LONG")) stride = 1;
  long calls = 0, done = 0;
  for (int after = 0; after < 2; after++)
    for (long n = 1;; n += stride) {
      if (from) copy_dir(from, "run");
      else drop("run");
      const long got = run_until(how, threads, n, after);
      if (got == -1) return 77;
      if (got < -1) {
        printf("FAILED: %s ends with an error\n", name);
        return 1;
      }
      done++;
      if (!recovered(from && strcmp(how, "overwrite"))) {
        printf("FAILED: %s, killed %s call %ld\n", name, after ? "after" : "before", n);
        return 1;
      }
      if (got) {
        calls = got;
        break;
      }
      points++;
    }
  printf("%s: %ld calls change files, killed at %ld points in %.1f s\n", name, calls, done - 2, __real_dd_now() - t0);
  return 0;
}
#else
static int at_every_call(const char *name, const char *how, const char *from, const char *threads, long stride) {
  (void)name, (void)how, (void)from, (void)threads, (void)stride;
  return 77;
}
#endif

/* ---- at random times ---- */

static uint64_t random_state = 7;
static uint64_t below(uint64_t n) {
  random_state ^= random_state >> 12, random_state ^= random_state << 25, random_state ^= random_state >> 27;
  return (random_state * UINT64_C(0x2545f4914f6cdd1d) >> 33) % n;
}

static int at_random(long wanted_kills) {
  const double t0 = __real_dd_now();
  static const char *const threads[] = {"1", "2", "3"};
  long runs = 0, ends = 0;
  double whole = 0.005; /* seconds of a run, learned from those that end */
  drop("run");
  while (kills < wanted_kills && runs < 10 * wanted_kills) {
    runs++;
    const char *how = has_checkpoint("run") ? "resume" : "overwrite";
    const double begun = __real_dd_now();
    fflush(stdout);
    const pid_t pid = fork();
    if (pid == 0) train_and_exit(how, threads[below(3)]);
    const long pause = (long)(1e9 * 1.2 * whole * (double)below(1000) / 1000);
    __real_nanosleep(&(struct timespec){.tv_sec = pause / 1000000000, .tv_nsec = pause % 1000000000}, NULL);
    kill(pid, SIGKILL);
    int status;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    if (WIFSIGNALED(status)) {
      kills++;
      if (kills % 16) continue; /* most are killed again before they get to an end */
    } else {
      ends++;
      whole = (whole * 7 + __real_dd_now() - begun) / 8;
    }
    if ((WIFEXITED(status) && WEXITSTATUS(status)) || !recovered(0)) {
      printf("FAILED: after %ld random kills\n", kills);
      return 1;
    }
    if (below(2)) drop("run");
  }
  if (!recovered(0)) return 1;
  printf("random times: %ld kills, %ld runs ended, in %.1f s\n", kills, ends, __real_dd_now() - t0);
  return kills < wanted_kills;
}

int main(void) {
  (void)get, (void)count_files, (void)wanted, (void)run_group;
  if (!make_root()) return 1;
  make_inputs();
  dd_fs_replace(NULL); /* really synced from here on */
  int rc = at_every_call("first checkpoints, and rotation", "", NULL, "1", 4);
  if (!rc) rc = at_every_call("resumed", "resume", "half", "1", 5);
  if (!rc) rc = at_every_call("replacing a run", "overwrite", "done", "2", 13);
  const int skipped = rc == 77;
  if (skipped) printf("skipped: system calls cannot be traced here\n");
  if (!rc || skipped) rc = at_random(getenv("DD_QUICK") ? 20 : getenv("DD_LONG") ? 1000 : 200);
  printf("%ld points and %ld random kills%s\n", points, kills, rc ? ", FAILED" : " passed");
  clean();
  rmdir(root);
  return rc ? rc : skipped ? 77 : 0;
}
