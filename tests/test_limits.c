/* The real program under limits of memory and threads: it works with the same result, or says in one line what it
 * lacks; it never dies of a signal. And the estimate of --dry-run against the memory that the run took.
 *   test_limits PATH-OF-DD-CPU */
#include "core/file.h"
#include "core/machine.h"
#include "study/stats.h"
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static char root[256];
static const char *program;
static int passed, failures;

static void check(int good, const char *fmt, ...) DD_PRINTF(2, 3);
static void check(int good, const char *fmt, ...) {
  passed += good != 0;
  if (good) return;
  va_list ap;
  va_start(ap, fmt);
  printf("FAILED: ");
  vprintf(fmt, ap);
  va_end(ap);
  printf("\n");
  failures++;
}

typedef struct result {
  int code;             /* exit code, or -signal */
  double peak;          /* bytes */
  char said[8192];      /* stdout and stderr */
  char fingerprint[33]; /* "" without */
} result;

typedef struct limits {
  uint64_t memory;          /* RLIMIT_AS in bytes, 0: none */
  int processes;            /* RLIMIT_NPROC, 0: none; takes another user */
  const char *group;        /* directory of a control group, "" or NULL: none */
  const char *name, *value; /* a variable of the environment */
} limits;

static int write_text(const char *dir, const char *name, const char *text) {
  char path[300];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  const int fd = open(path, O_WRONLY);
  if (fd < 0) return 0;
  const int good = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
  close(fd);
  return good;
}

static void child(const limits *l, const char *log, const char *const *argv) {
  const int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0) _exit(99);
  unsetenv("OMP_NUM_THREADS");
  if (l->group && !write_text(l->group, "cgroup.procs", "0")) _exit(98);
  if (l->name) setenv(l->name, l->value, 1);
  if (l->memory) setrlimit(RLIMIT_AS, &(struct rlimit){l->memory, l->memory});
  if (l->processes) {
    const rlim_t n = (rlim_t)l->processes;
    setrlimit(RLIMIT_NPROC, &(struct rlimit){n, n});
    if (geteuid() == 0 && setuid(54321)) _exit(98); /* a user without processes: root has no such limit */
  }
  union {
    const char *const *in;
    char *const *out;
  } words = {.in = argv};
  execv(program, words.out);
  _exit(97);
}

/* Run `program train ARGS` (words with spaces between) on the test's text. */
static void run(result *r, const limits *l, const char *args) {
  char words[1024], log[300], text[300], *rest = NULL, *data;
  const char *argv[64] = {program, "train", "--data", text};
  int n = 4, status = 0;
  size_t size;
  dd_error err;
  struct rusage used;
  snprintf(words, sizeof words, "%s", args);
  snprintf(log, sizeof log, "%s/log", root);
  snprintf(text, sizeof text, "%s/text.txt", root);
  for (char *w = strtok_r(words, " ", &rest); w && n < 62; w = strtok_r(NULL, " ", &rest)) argv[n++] = w;
  *r = (result){.code = -999};
  fflush(stdout);
  const pid_t pid = fork();
  if (pid == 0) child(l, log, argv);
  if (pid < 0 || wait4(pid, &status, 0, &used) != pid) return;
  r->code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  r->peak = (double)used.ru_maxrss * 1024;
  if (dd_file_read_all(log, 1 << 24, &data, &size, &err)) return;
  snprintf(r->said, sizeof r->said, "%s", size < sizeof r->said ? data : data + size - sizeof r->said + 1);
  const char *hex = strstr(data, "\nfingerprint ");
  if (hex) snprintf(r->fingerprint, sizeof r->fingerprint, "%.32s", hex + 13);
  free(data);
}

/* It worked and gave that fingerprint, or it ended with code 1 and one error line with `about` in it. */
static void same_or_said(const char *what, const result *r, const char *fingerprint, const char *about) {
  if (r->code == 0) {
    check(!strcmp(r->fingerprint, fingerprint), "%s: fingerprint %s, not %s", what, r->fingerprint, fingerprint);
    return;
  }
  const char *line = strstr(r->said, "dd-cpu: error: ");
  check(r->code == 1 && line && strstr(line, about) && !strstr(line + 1, "dd-cpu: error: "), "%s: code %d: %.600s",
        what, r->code, r->said);
}

/* ---- memory ---- */

enum { TIMES = 5 };

/* `times` runs, whose medians count. Where libraries lie is random, and with that how many of their
 * pages come with one that is read: half a megabyte of a tiny run's six. */
static void estimate_is_true(const char *name, const char *args, int times) {
  double estimates[TIMES], peaks[TIMES];
  for (int i = 0; i < times; i++) {
    result dry, wet;
    char line[512];
    snprintf(line, sizeof line, "%s --dry-run", args);
    run(&dry, &(limits){0}, line);
    snprintf(line, sizeof line, "%s --overwrite --out %s/run", args, root);
    run(&wet, &(limits){0}, line);
    double parameters = 0, memory = 0;
    char unit[8] = "";
    const char *at = strstr(dry.said, "estimate: ");
    check(at && sscanf(at, "estimate: %lf M parameters, %lf %7s of memory", &parameters, &memory, unit) == 3,
          "%s: no estimate in %.300s", name, dry.said);
    check(wet.code == 0, "%s: code %d: %.300s", name, wet.code, wet.said);
    estimates[i] = memory * (!strcmp(unit, "GB") ? 1e9 : 1e6);
    peaks[i] = wet.peak;
  }
  const double memory = dd_stats_median(estimates, (size_t)times), peak = dd_stats_median(peaks, (size_t)times);
  printf("%s: estimate %.1f MB; peak %.1f MB\n", name, memory / 1e6, peak / 1e6);
  check(peak < 1.1 * memory && peak > 0.9 * memory, "%s: %.1f MB is no estimate of %.1f MB", name, memory / 1e6,
        peak / 1e6);
}

/* A run of 150 MB: refused or done, with the same result, whatever limit of this kind there is. group: a control group
 * and the name of its limit, or NULL for `ulimit -v`. */
static void little_memory(const char *group, const char *limit) {
  const char *const args = "--preset tiny --n-embd 128 --n-head 4 --n-layer 4 --batch-size 16 --block-size 64 "
                           "--max-iters 2 --eval-interval 2 --eval-iters 1 -t 2 -q --overwrite";
  char line[512];
  result r;
  snprintf(line, sizeof line, "%s --out %s/run", args, root);
  run(&r, &(limits){0}, line);
  check(r.code == 0, "without a limit: %d: %.300s", r.code, r.said);
  char whole[33];
  memcpy(whole, r.fingerprint, sizeof whole);
  int refused = 0, done = 0;
  for (uint64_t mb = 16; mb <= 400; mb += mb < 48 ? 8 : 48) {
    char what[64];
    snprintf(what, sizeof what, "%s of %d MB", limit, (int)mb);
    if (group) {
      char bytes[32];
      snprintf(bytes, sizeof bytes, "%d", (int)mb << 20);
      check(write_text(group, limit, bytes), "%s: cannot be set", what);
      run(&r, &(limits){.group = group}, line);
    } else run(&r, &(limits){.memory = mb << 20}, line);
    /* Below some 20 MB the system cannot even load the libraries, which is its own message and 127. */
    if (r.code == 127 || strstr(r.said, "error while loading shared libraries")) continue;
    same_or_said(what, &r, whole, "memory");
    refused += r.code == 1;
    done += r.code == 0;
  }
  check(refused >= 2 && done >= 2, "%s: %d refused, %d done", limit, refused, done);
}

/* The kernel kills what goes beyond the limit of a control group, so dd-cpu has to see it coming. */
static void little_memory_in_group(void) {
  static const struct {
    const char *parent, *limit;
  } kinds[] = {{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"}, {"/sys/fs/cgroup", "memory.max"}};
  for (int i = 0; i < 2; i++) {
    char group[64];
    snprintf(group, sizeof group, "%s/dd-limits-%d", kinds[i].parent, (int)getpid());
    if (mkdir(group, 0755)) continue;
    if (write_text(group, kinds[i].limit, "1000000000")) {
      little_memory(group, kinds[i].limit);
      i = 2;
    }
    for (int n = 0; rmdir(group) && errno == EBUSY && n < 100; n++)
      usleep(20000); /* the last process is still leaving */
    if (i == 2) return;
  }
  printf("skipped: a control group with a limit of memory: none can be made here\n");
}

static void put(const char *name, const char *text) {
  char path[600], *slash;
  dd_error err;
  snprintf(path, sizeof path, "%s/%s", root, name);
  if ((slash = strrchr(path, '/'))) {
    *slash = '\0';
    if (dd_make_dirs(path, &err)) check(0, "%s", err.message);
    *slash = '/';
  }
  if (dd_file_replace(path, text, strlen(text), &err)) check(0, "%s", err.message);
}

/* A made-up machine: the least of the groups on the way up counts, and files in memory can be given up. */
static void groups(void) {
  char tree[300];
  snprintf(tree, sizeof tree, "%s/v2", root);
  put("v2/proc/meminfo", "MemTotal: 9000000 kB\nMemAvailable: 8000000 kB\n");
  check(dd_machine_free_memory(tree) == (uint64_t)8000000 * 1024, "no groups");
  put("v2/proc/self/cgroup", "0::/a/b/c\n");
  put("v2/sys/fs/cgroup/a/memory.max", "1000000000\n");
  put("v2/sys/fs/cgroup/a/memory.current", "600000000\n");
  put("v2/sys/fs/cgroup/a/memory.stat", "anon 1\ninactive_file 100000000\nactive_file 7\n");
  put("v2/sys/fs/cgroup/a/b/memory.max", "max\n");
  put("v2/sys/fs/cgroup/a/b/memory.current", "600000000\n");
  check(dd_machine_free_memory(tree) == 500000000, "a group above our own: %llu",
        (unsigned long long)dd_machine_free_memory(tree));
  put("v2/sys/fs/cgroup/a/b/c/memory.max", "300000000\n");
  put("v2/sys/fs/cgroup/a/b/c/memory.current", "200000000\n");
  check(dd_machine_free_memory(tree) == 100000000, "our own group");
  put("v2/sys/fs/cgroup/a/b/c/memory.current", "400000000\n");
  check(dd_machine_free_memory(tree) == 1, "a group that is full");
  snprintf(tree, sizeof tree, "%s/v1", root);
  put("v1/proc/meminfo", "MemAvailable: 8000000 kB\n");
  put("v1/proc/self/cgroup", "5:memory:/job\n4:cpu,cpuacct:/x\n");
  put("v1/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  put("v1/sys/fs/cgroup/memory/memory.usage_in_bytes", "5\n");
  put("v1/sys/fs/cgroup/memory/job/memory.limit_in_bytes", "200000000\n");
  put("v1/sys/fs/cgroup/memory/job/memory.usage_in_bytes", "50000000\n");
  check(dd_machine_free_memory(tree) == 150000000, "version 1");
}

/* Two cores of two hardware threads each share a second cache: half of it is a core's. */
static void caches(void) {
  static const char *const index[][4] = {{"Data", "1", "48K", "0,4"},
                                         {"Instruction", "1", "32K", "0,4"},
                                         {"Unified", "2", "2048K", "0-1,4-5"},
                                         {"Unified", "3", "300M", "0-7"}};
  static const char *const names[4] = {"type", "level", "size", "shared_cpu_list"};
  char tree[300], name[128], text[32];
  snprintf(tree, sizeof tree, "%s/caches", root);
  dd_caches c = dd_machine_caches(tree);
  check(c.l1 == 0 && c.l2 == 0 && c.l3 == 0, "no caches");
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < 4; j++) {
      snprintf(name, sizeof name, "caches/sys/devices/system/cpu/cpu0/cache/index%d/%s", i, names[j]);
      snprintf(text, sizeof text, "%s\n", index[i][j]);
      put(name, text);
    }
  c = dd_machine_caches(tree);
  check(c.l1 == 48 << 10 && c.l2 == 2 << 20 && c.l3 == 300 << 20, "caches of a core that nothing is said about");
  put("caches/sys/devices/system/cpu/cpu0/topology/thread_siblings_list", "0,4\n");
  c = dd_machine_caches(tree);
  check(c.l1 == 48 << 10 && c.l2 == 1 << 20 && c.l3 == 300 << 20, "half of the second: %lld", (long long)c.l2);
}

/* ---- threads ---- */

static void threads(void) {
  static const limits odd[] = {
      {.name = "OMP_THREAD_LIMIT", .value = "1"},
      {.name = "OMP_THREAD_LIMIT", .value = "2"},
      {.name = "OMP_STACKSIZE", .value = "1k"},
      {.name = "OMP_STACKSIZE", .value = "16k"},
      {.name = "OMP_STACKSIZE", .value = "32k"},
      {.name = "OMP_STACKSIZE", .value = "64k"},
      {.name = "OMP_STACKSIZE", .value = "256k"},
      {.name = "OMP_STACKSIZE", .value = "100000g"},
      {.name = "OMP_STACKSIZE", .value = "nonsense"},
      {.name = "OMP_NUM_THREADS", .value = "3"},
      {.name = "OMP_PROC_BIND", .value = "true"},
      {.name = "OMP_DYNAMIC", .value = "true"},
      {.processes = 1},
      {.processes = 2},
      {.processes = 3},
      {.processes = 50},
  };
  char line[512];
  result r;
  snprintf(line, sizeof line, "--preset tiny --max-iters 4 --eval-interval 4 -t 4 -q --overwrite --out %s/run", root);
  run(&r, &(limits){0}, line);
  check(r.code == 0, "four threads: %d: %.300s", r.code, r.said);
  char whole[33];
  memcpy(whole, r.fingerprint, sizeof whole);
  for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
    char what[96];
    if (odd[i].name) snprintf(what, sizeof what, "%s=%s", odd[i].name, odd[i].value);
    else snprintf(what, sizeof what, "ulimit -u %d", odd[i].processes);
    /* each in a directory of its own: another user cannot write what root wrote */
    snprintf(line, sizeof line, "--preset tiny --max-iters 4 --eval-interval 4 -t 4 -q --out %s/run%d", root, (int)i);
    run(&r, &odd[i], line);
    if (odd[i].processes && (r.code == 97 || r.code == 98)) {
      printf("skipped: %s: the program cannot be run as another user\n", what);
      continue;
    }
    same_or_said(what, &r, whole, "thread");
    if (odd[i].processes && odd[i].processes < 3) check(r.code == 1, "%s: code %d", what, r.code);
  }
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
  (void)st, (void)flag, (void)ftw;
  return remove(path);
}

int main(int argc, char **argv) {
  char path[300], text[60000];
  uint32_t x = 12345;
  const char *tmp = getenv("TMPDIR"), *quick = getenv("DD_QUICK");
  if (argc < 2) {
    fprintf(stderr, "usage: test_limits PATH-OF-DD-CPU\n");
    return 2;
  }
  program = argv[1];
  snprintf(root, sizeof root, "%.200s/dd-limits-XXXXXX", tmp && *tmp ? tmp : "/tmp");
  if (!mkdtemp(root) || chmod(root, 0777)) return 1;
  for (size_t i = 0; i < sizeof text; i++) {
    x = x * 1664525u + 1013904223u;
    text[i] = "etaoinshrdlu ETAOIN.\n"[(x >> 24) % 21];
  }
  snprintf(path, sizeof path, "%s/text.txt", root);
  if (dd_file_replace(path, text, sizeof text, NULL)) return 1;
  groups();
  caches();
  result r;
  run(&r, &(limits){0}, "--dry-run --preset tiny");
  if (r.code) printf("skipped: %s cannot be run on this machine (%d)\n", program, r.code);
  else {
    if (!quick) { /* sanitizers and emulators take memory of their own */
      estimate_is_true("tiny", "--preset tiny --max-iters 2 --eval-interval 2 --eval-iters 1 -t 1", TIMES);
      estimate_is_true("small", "--preset small --max-iters 2 --eval-interval 2 --eval-iters 1 -t 1", 1);
      estimate_is_true("paper, batch 2", "--batch-size 2 --max-iters 1 --eval-interval 1 --eval-iters 1 -t 1", 1);
      if (getenv("DD_LONG"))
        estimate_is_true("paper, batch 64, slices of 4",
                         "--slice 4 --max-iters 1 --eval-interval 1 --eval-iters 1 -t 2", 1);
      little_memory(NULL, "ulimit -v");
      little_memory_in_group();
    }
    threads();
  }
  nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
  printf("%d passed, %d failed\n", passed, failures);
  return failures > 0;
}
