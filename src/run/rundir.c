#include "run/rundir.h"
#include "core/file.h"
#include "core/json.h"
#include "run/events.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define CONFIG "config.json"
#define METRICS DD_RUN_METRICS
#define LOCK "run.lock"
#define PROBE "write-test"
#define MAX_CONFIG ((size_t)1 << 20)
#define MAX_ELEMENTS ((size_t)4096) /* of config.json */

struct dd_rundir {
  int lock;
  char path[4096];
};

static int out_of_memory(const char *what, dd_error *err) {
  return dd_fail(err, DD_E_RUNTIME, "out of memory while reading %.600s", what);
}

/* ---- names: what in a run directory is ours ---- */

/* A write that failed is tried again under the second name: what the first one left behind is not to be trusted. */
static void checkpoint_name(int64_t iter, int spare, char out[64]) {
  snprintf(out, 64, "ckpt-%07lld%s.safetensors", (long long)iter, spare ? "-2" : "");
}

/* Iteration of a checkpoint name, -1 for any other name ("ckpt-12.safetensors" has too few digits to be ours). */
static int64_t checkpoint_iter(const char *name) {
  char again[64];
  if (strncmp(name, "ckpt-", 5) != 0 || !isdigit((unsigned char)name[5])) return -1;
  errno = 0;
  const long long iter = strtoll(name + 5, NULL, 10);
  if (errno != 0 || iter < 0) return -1;
  for (int spare = 0; spare < 2; spare++) {
    checkpoint_name(iter, spare, again);
    if (strcmp(name, again) == 0) return iter;
  }
  return -1;
}

static int is_all_digits(const char *s) {
  if (!*s) return 0;
  for (; *s; s++)
    if (!isdigit((unsigned char)*s)) return 0;
  return 1;
}

static int is_run_file(const char *name) {
  static const char *const names[] = {CONFIG, METRICS, "latest", "best", "log"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strcmp(name, names[i]) == 0) return 1;
  return checkpoint_iter(name) >= 0;
}

static int is_cut(const char *name) {
  const size_t n = sizeof METRICS ".cut-" - 1;
  return strncmp(name, METRICS ".cut-", n) == 0 && is_all_digits(name + n);
}

/* OURS.tmp-PID: left by a process that died while writing. */
static int is_leftover(const char *name) {
  const char *dot = strstr(name, ".tmp-");
  char base[64];
  if (!dot || !is_all_digits(dot + 5) || (size_t)(dot - name) >= sizeof base) return 0;
  memcpy(base, name, (size_t)(dot - name));
  base[dot - name] = '\0';
  return is_run_file(base) || is_cut(base) || strcmp(base, PROBE) == 0;
}

/* ---- listing ---- */

static int remove_file(const char *dir, const char *name, dd_error *err) {
  char path[4096];
  const int rc = dd_path_join(path, sizeof path, dir, name, err);
  if (rc != DD_OK) return rc;
  if (dd_fs()->unlink(path) == 0 || errno == ENOENT) return DD_OK;
  return dd_fail(err, DD_E_IO, "cannot remove %.700s: %s", path, strerror(errno));
}

/* ---- open ---- */

static void write_holder(const dd_rundir *rd) {
  char host[256] = "?", when[32] = "?", line[400];
  const time_t now = time(NULL);
  struct tm tm;
  if (gethostname(host, sizeof host) == 0) host[sizeof host - 1] = '\0';
  if (gmtime_r(&now, &tm)) strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &tm);
  const int n = snprintf(line, sizeof line, "%ld %s %s\n", (long)getpid(), host, when);
  if (dd_fs()->ftruncate(rd->lock, 0) == 0) dd_file_write_all(rd->lock, LOCK, line, (size_t)n, NULL);
}

/* "PID HOST START" of the lock file as a sentence; a holder that has not yet written it stays unnamed. */
static int fail_locked(const char *dir, int fd, dd_error *err) {
  char line[400], host[256], when[32];
  long pid;
  const ssize_t n = dd_fs()->pread(fd, line, sizeof line - 1, 0);
  line[n > 0 ? n : 0] = '\0';
  for (char *p = line; *p; p++)
    if ((unsigned char)*p < 0x20 || *p == 0x7f) *p = ' ';
  if (sscanf(line, "%ld %255s %31s", &pid, host, when) == 3)
    return dd_fail(err, DD_E_LOCKED,
                   "another process trains in %.500s: process %ld on %s since %s; wait for it or choose another "
                   "directory with --out", dir, pid, host, when);
  return dd_fail(err, DD_E_LOCKED,
                 "another process trains in %.500s; wait for it or choose another directory with --out", dir);
}

static int take_lock(dd_rundir *rd, dd_error *err) {
  char path[4096];
  int rc = dd_path_join(path, sizeof path, rd->path, LOCK, err);
  if (rc != DD_OK) return rc;
  rd->lock = dd_fs()->open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
  if (rd->lock < 0)
    return dd_fail(err, DD_E_IO, "cannot write into run directory %.600s: %s; choose another one with --out", rd->path,
                   strerror(errno));
  do rc = dd_fs()->flock(rd->lock, LOCK_EX | LOCK_NB);
  while (rc != 0 && errno == EINTR);
  if (rc == 0) return DD_OK;
  if (errno == EWOULDBLOCK) return fail_locked(rd->path, rd->lock, err);
  return dd_fail(err, DD_E_IO, "cannot lock %.700s: %s; choose a run directory on a local disk with --out", path,
                 strerror(errno));
}

/* Creating, syncing and renaming must work now, not only when the first checkpoint is due. */
static int probe(const dd_rundir *rd, dd_error *err) {
  char path[4096];
  int rc = dd_path_join(path, sizeof path, rd->path, PROBE, err);
  if (rc == DD_OK) rc = dd_file_replace(path, "ok\n", 3, err);
  if (rc == DD_OK) rc = remove_file(rd->path, PROBE, err);
  return rc;
}

static int has_run(const dd_names *l) {
  for (size_t i = 0; i < l->n; i++)
    if (strcmp(l->name[i], CONFIG) == 0 || strcmp(l->name[i], METRICS) == 0 || checkpoint_iter(l->name[i]) >= 0)
      return 1;
  return 0;
}

/* Checkpoints go first, so that what a kill leaves of a run has its metrics; config.json goes last: a directory that is
 * only half cleared still counts as a run. */
static int clear(const dd_rundir *rd, const dd_names *l, unsigned flags, dd_error *err) {
  int rc = DD_OK;
  for (size_t k = 0; rc == DD_OK && k < 2 * l->n; k++) {
    const char *name = l->name[k % l->n];
    if ((checkpoint_iter(name) >= 0) != (k < l->n)) continue;
    const int run = (is_run_file(name) && strcmp(name, CONFIG) != 0) || is_cut(name);
    if (is_leftover(name) || ((flags & DD_RUN_OVERWRITE) && run)) rc = remove_file(rd->path, name, err);
  }
  if (rc == DD_OK && (flags & DD_RUN_OVERWRITE)) rc = dd_events_remove(rd->path, err);
  if (rc == DD_OK && (flags & DD_RUN_OVERWRITE)) rc = remove_file(rd->path, CONFIG, err);
  return rc;
}

static int enter(dd_rundir *rd, unsigned flags, dd_error *err) {
  int rc = take_lock(rd, err);
  if (rc != DD_OK) return rc;
  dd_names l;
  rc = dd_dir_names(rd->path, NULL, &l, err);
  if (rc != DD_OK) return rc;
  if (has_run(&l) && !(flags & (DD_RUN_RESUME | DD_RUN_OVERWRITE)))
    rc = dd_fail(err, DD_E_USAGE,
                 "%.600s already holds a run: continue it with --resume, or replace it with --overwrite", rd->path);
  if (rc == DD_OK) rc = probe(rd, err);
  if (rc == DD_OK) rc = clear(rd, &l, flags, err);
  dd_names_free(&l);
  if (rc == DD_OK) write_holder(rd); /* only for the message of fail_locked: failure is harmless */
  return rc;
}

int dd_rundir_open(const char *path, unsigned flags, dd_rundir **out, dd_error *err) {
  *out = NULL;
  if ((flags & DD_RUN_RESUME) && (flags & DD_RUN_OVERWRITE))
    return dd_fail(err, DD_E_USAGE, "--resume and --overwrite exclude each other");
  const size_t len = strlen(path);
  if (len == 0 || len >= sizeof((dd_rundir *)0)->path)
    return dd_fail(err, DD_E_USAGE, "the path of a run directory must have 1 to 4095 bytes, not %zu", len);
  int rc = DD_OK;
  if (flags & DD_RUN_CREATE) rc = dd_make_dirs(path, err);
  int there = 0;
  if (rc == DD_OK) rc = dd_file_exists(path, &there, err);
  if (rc == DD_OK && (!there || !dd_is_dir(path)))
    rc = dd_fail(err, DD_E_USAGE, "there is no run directory %.700s", path);
  if (rc != DD_OK) return rc;
  dd_rundir *rd = malloc(sizeof *rd);
  if (!rd) return out_of_memory(path, err);
  rd->lock = -1;
  memcpy(rd->path, path, len + 1);
  rc = enter(rd, flags, err);
  if (rc != DD_OK) {
    if (rd->lock >= 0) dd_fs()->close(rd->lock);
    free(rd);
    return rc;
  }
  *out = rd;
  return DD_OK;
}

void dd_rundir_close(dd_rundir *rd) {
  if (!rd) return;
  (void)!dd_fs()->ftruncate(rd->lock, 0); /* so that the next one is never reported under our name */
  dd_fs()->close(rd->lock);
  free(rd);
}

const char *dd_rundir_path(const dd_rundir *rd) { return rd->path; }

int dd_rundir_check_space(const dd_rundir *rd, uint64_t bytes, dd_error *err) {
  struct statvfs v;
  if (dd_fs()->statvfs(rd->path, &v) != 0 || v.f_frsize == 0 || v.f_blocks == 0) return DD_OK;
  if (bytes / v.f_frsize < v.f_bavail) return DD_OK;
  return dd_fail(err, DD_E_IO,
                 "%.600s has %.1f MB free, but %.1f MB are needed; free some space or choose another directory with "
                 "--out", rd->path, (double)v.f_bavail * (double)v.f_frsize / 1e6, (double)bytes / 1e6);
}

/* ---- checkpoints ---- */

int dd_rundir_checkpoint_path(const dd_rundir *rd, int64_t iter, int spare, char *out, size_t size, dd_error *err) {
  char name[64];
  checkpoint_name(iter, spare, name);
  return dd_path_join(out, size, rd->path, name, err);
}

int dd_run_pointer(const char *dir, const char *which, char name[64], int64_t *iter, dd_error *err) {
  char path[4096], *text;
  size_t n;
  *iter = -1;
  int there = 0, rc = dd_path_join(path, sizeof path, dir, which, err);
  if (rc == DD_OK) rc = dd_file_exists(path, &there, err);
  if (rc != DD_OK || !there) return rc;
  rc = dd_file_read_all(path, 64, &text, &n, err);
  if (rc != DD_OK) return rc;
  while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r')) text[--n] = '\0';
  if (n < 64 && strlen(text) == n) *iter = checkpoint_iter(text); /* also keeps "../" out of the path made of it */
  if (*iter >= 0) memcpy(name, text, n + 1);
  free(text);
  if (*iter >= 0) return DD_OK;
  return dd_fail(err, DD_E_CORRUPT,
                 "%.600s is damaged: it does not hold the name of a checkpoint; name the checkpoint file itself", path);
}

static int write_pointer(const dd_rundir *rd, const char *which, const char *name, dd_error *err) {
  char path[4096], line[80];
  const int rc = dd_path_join(path, sizeof path, rd->path, which, err);
  if (rc != DD_OK) return rc;
  const int n = snprintf(line, sizeof line, "%s\n", name);
  return dd_file_replace(path, line, (size_t)n, err);
}

static int newest_first(const void *pa, const void *pb) {
  const dd_run_file *a = pa, *b = pb;
  if (a->iter != b->iter) return a->iter > b->iter ? -1 : 1;
  return strlen(a->name) < strlen(b->name) ? -1 : 1; /* the first name is the shorter one */
}

int dd_run_checkpoints(const char *dir, dd_run_file **files, size_t *n, dd_error *err) {
  dd_names l;
  *files = NULL;
  *n = 0;
  const int rc = dd_dir_names(dir, NULL, &l, err);
  if (rc != DD_OK) return rc;
  dd_run_file *v = malloc((l.n + 1) * sizeof *v);
  for (size_t i = 0; v && i < l.n; i++) {
    const int64_t iter = checkpoint_iter(l.name[i]);
    if (iter < 0) continue;
    v[*n].iter = iter;
    snprintf(v[(*n)++].name, sizeof v->name, "%s", l.name[i]);
  }
  dd_names_free(&l);
  if (!v) return out_of_memory(dir, err);
  if (*n == 0) {
    free(v);
    return DD_OK;
  }
  qsort(v, *n, sizeof *v, newest_first);
  *files = v;
  return DD_OK;
}

/* best and latest are read back from disk: after a resume nobody else knows them. Of the checkpoint just published only
 * the name that `latest` has remains. */
static int rotate(const dd_rundir *rd, int64_t iter, int keep, dd_error *err) {
  char best[64] = "", latest[64] = "";
  int64_t of;
  dd_run_file *v;
  size_t n;
  int rc = dd_run_pointer(rd->path, "best", best, &of, err);
  if (rc == DD_OK) rc = dd_run_pointer(rd->path, "latest", latest, &of, err);
  if (rc == DD_E_CORRUPT) return DD_OK; /* we do not know what to spare: rather keep all than end the training */
  if (rc == DD_OK) rc = dd_run_checkpoints(rd->path, &v, &n, err);
  if (rc != DD_OK) return rc;
  int older = 0; /* iterations before this one */
  for (size_t i = 0; rc == DD_OK && i < n; i++) {
    older += v[i].iter < iter && (i == 0 || v[i].iter != v[i - 1].iter);
    if (v[i].iter > iter || (v[i].iter < iter && older < keep)) continue;
    if (strcmp(v[i].name, best) != 0 && strcmp(v[i].name, latest) != 0) rc = remove_file(rd->path, v[i].name, err);
  }
  free(v);
  return rc;
}

int dd_rundir_publish(dd_rundir *rd, int64_t iter, unsigned how, int keep, dd_error *err) {
  char name[64], path[4096];
  checkpoint_name(iter, (how & DD_PUBLISH_SPARE) != 0, name);
  int rc = dd_path_join(path, sizeof path, rd->path, name, err);
  if (rc == DD_OK && !dd_is_file(path)) rc = dd_fail(err, DD_E_IO, "checkpoint %.700s is gone", path);
  /* best first: a run that dies between the two resumes before this checkpoint and does both again */
  if (rc == DD_OK && (how & DD_PUBLISH_BEST)) rc = write_pointer(rd, "best", name, err);
  if (rc == DD_OK) rc = write_pointer(rd, "latest", name, err);
  if (rc == DD_OK && keep > 0) rc = rotate(rd, iter, keep, err);
  return rc;
}

static int find_once(const char *dir, const char *which, char name[64], dd_error *err) {
  int64_t iter;
  int rc = dd_run_pointer(dir, which, name, &iter, err);
  if (rc == DD_OK && iter < 0 && strcmp(which, "latest") != 0) rc = dd_run_pointer(dir, "latest", name, &iter, err);
  if (rc != DD_OK || iter >= 0) return rc;
  dd_run_file *v;
  size_t n;
  rc = dd_run_checkpoints(dir, &v, &n, err);
  if (rc != DD_OK) return rc;
  if (n > 0) memcpy(name, v[0].name, sizeof v->name);
  free(v);
  return n > 0 ? DD_OK : dd_fail(err, DD_E_USAGE, "%.700s holds no checkpoint (is it the directory of a run?)", dir);
}

int dd_run_find_checkpoint(const char *path, const char *which, char *out, size_t size, dd_error *err) {
  if (strcmp(which, "best") != 0 && strcmp(which, "latest") != 0)
    return dd_fail(err, DD_E_USAGE, "a run has a checkpoint \"best\" and one \"latest\", but none \"%.40s\"", which);
  if (!dd_is_dir(path)) {
    if (dd_is_file(path)) return dd_path_join(out, size, "", path, err);
    int there;
    const int rc = dd_file_exists(path, &there, err);
    if (rc != DD_OK) return rc;
    return dd_fail(err, DD_E_IO, "%.700s is no run directory or checkpoint%s", path, there ? "" : ": no such file");
  }
  char name[64];
  for (int attempt = 0; attempt < 3; attempt++) { /* the trainer may rotate between our two looks */
    int rc = find_once(path, which, name, err);
    if (rc == DD_OK) rc = dd_path_join(out, size, path, name, err);
    if (rc != DD_OK) return rc;
    if (dd_is_file(out)) return DD_OK;
  }
  return dd_fail(err, DD_E_CORRUPT, "%.600s names the checkpoint %s, which is gone; name a checkpoint file itself",
                 path, name);
}

/* ---- config.json ---- */

int dd_rundir_config_write(dd_rundir *rd, const json_t *config, dd_error *err) {
  char path[4096];
  const int rc = dd_path_join(path, sizeof path, rd->path, CONFIG, err);
  if (rc != DD_OK) return rc;
  char *text = json_dumps(config, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
  if (!text) return dd_fail(err, DD_E_RUNTIME, "out of memory while writing %.700s", path);
  const size_t n = strlen(text);
  text[n] = '\n'; /* over the NUL: the length is known */
  const int result = dd_file_replace(path, text, n + 1, err);
  free(text);
  return result;
}

int dd_run_config_read(const char *dir, json_t **out, dd_error *err) {
  char path[4096], *text;
  size_t n;
  *out = NULL;
  int rc = dd_path_join(path, sizeof path, dir, CONFIG, err);
  if (rc == DD_OK) rc = dd_file_read_all(path, MAX_CONFIG, &text, &n, err);
  if (rc != DD_OK) return rc;
  dd_json_fault fault;
  json_t *config;
  rc = dd_json_parse(text, n, MAX_ELEMENTS, &config, &fault);
  free(text);
  if (rc == DD_E_RUNTIME) return out_of_memory(path, err);
  if (rc != DD_OK)
    return dd_fail(err, DD_E_CORRUPT, "%.700s is damaged: line %d %s; restore it from a copy", path, fault.line,
                   fault.what);
  if (!json_is_object(config)) {
    json_decref(config);
    return dd_fail(err, DD_E_CORRUPT, "%.700s is damaged: it is no JSON object; restore it from a copy", path);
  }
  *out = config;
  return DD_OK;
}
