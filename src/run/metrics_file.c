/* metrics.jsonl of a run: whole lines appended, and what a resume takes back. */
#include "core/file.h"
#include "core/json.h"
#include "run/rundir.h"
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define METRICS DD_RUN_METRICS
#define MAX_ELEMENTS ((size_t)4096) /* of a line */
#define MAX_METRICS ((size_t)1 << 32)

static int out_of_memory(const char *what, dd_error *err) {
  return dd_fail(err, DD_E_RUNTIME, "out of memory while reading %.600s", what);
}

struct dd_metrics {
  int fd;
  off_t good; /* bytes of whole lines */
  int torn;   /* there may be more than that in the file */
  atomic_int unsynced; /* a sync failed: another one would succeed without having written anything */
  char path[4096];
};

int dd_metrics_reopen(dd_metrics *m, dd_error *err) {
  struct stat st;
  const int fd = dd_fs()->open(m->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0 || dd_fs()->fstat(fd, &st) != 0) {
    const int e = errno;
    if (fd >= 0) dd_fs()->close(fd);
    return dd_fail(err, DD_E_IO, "cannot open %.700s: %s", m->path, strerror(e));
  }
  if (m->fd >= 0) dd_fs()->close(m->fd); /* of a file that was replaced: nothing in it to lose */
  m->fd = fd;
  m->good = st.st_size;
  m->torn = 0;
  atomic_store(&m->unsynced, 0);
  return DD_OK;
}

int dd_metrics_open(const dd_rundir *rd, dd_metrics **out, dd_error *err) {
  *out = NULL;
  dd_metrics *m = malloc(sizeof *m);
  if (!m) return dd_fail(err, DD_E_RUNTIME, "out of memory while opening %s", METRICS);
  m->fd = -1;
  atomic_init(&m->unsynced, 0);
  int rc = dd_path_join(m->path, sizeof m->path, dd_rundir_path(rd), METRICS, err);
  if (rc == DD_OK) rc = dd_metrics_reopen(m, err);
  if (rc != DD_OK) {
    free(m);
    return rc;
  }
  *out = m;
  return DD_OK;
}

/* text ends with a newline. A line that could only be written in part is taken back. */
static int append(dd_metrics *m, const char *text, size_t n, dd_error *err) {
  if (m->torn && dd_fs()->ftruncate(m->fd, m->good) != 0)
    return dd_fail(err, DD_E_IO, "cannot repair the end of %.700s: %s", m->path, strerror(errno));
  const int rc = dd_file_write_all(m->fd, m->path, text, n, err);
  m->torn = rc != DD_OK && dd_fs()->ftruncate(m->fd, m->good) != 0;
  if (rc == DD_OK) m->good += (off_t)n;
  return rc;
}

int dd_metrics_append_line(dd_metrics *m, const char *line, dd_error *err) {
  const size_t n = strlen(line);
  if (memchr(line, '\n', n)) return dd_fail(err, DD_E_USAGE, "a record of %s must be one line", METRICS);
  char *text = malloc(n + 1);
  if (!text) return dd_fail(err, DD_E_RUNTIME, "out of memory while writing %.700s", m->path);
  memcpy(text, line, n);
  text[n] = '\n';
  const int rc = append(m, text, n + 1, err);
  free(text);
  return rc;
}

int dd_metrics_append(dd_metrics *m, const json_t *record, dd_error *err) {
  char *text = json_dumps(record, JSON_COMPACT | JSON_REAL_PRECISION(17));
  if (!text) return dd_fail(err, DD_E_RUNTIME, "out of memory while writing %.700s", m->path);
  const size_t n = strlen(text);
  text[n] = '\n';
  const int rc = append(m, text, n + 1, err);
  free(text);
  return rc;
}

int dd_metrics_sync(dd_metrics *m, dd_error *err) {
  if (atomic_load(&m->unsynced) || dd_fs()->fsync(m->fd) == 0) return DD_OK;
  atomic_store(&m->unsynced, 1);
  return dd_fail(err, DD_E_IO, "cannot sync %.700s: %s", m->path, strerror(errno));
}

int dd_metrics_close(dd_metrics *m, dd_error *err) {
  if (!m) return DD_OK;
  int rc = dd_metrics_sync(m, err);
  if (dd_fs()->close(m->fd) != 0 && errno != EINTR && rc == DD_OK)
    rc = dd_fail(err, DD_E_IO, "cannot close %.700s: %s", m->path, strerror(errno));
  free(m);
  return rc;
}

/* 1 keep, 0 drop, -1 as the line before, -2 out of memory. */
static int judge_line(const char *line, size_t n, int64_t iter) {
  json_t *o;
  if (dd_json_parse(line, n, MAX_ELEMENTS, &o, NULL) == DD_E_RUNTIME) return -2;
  const json_t *i = json_object_get(o, "iter");
  const int verdict = !json_is_object(o) ? 0 : json_is_number(i) ? json_number_value(i) <= (double)iter : -1;
  json_decref(o);
  return verdict;
}

/* Moves the lines to keep to the front of text and the others to cut. 0: out of memory. */
static int split_lines(char *text, size_t n, int64_t iter, char *cut, size_t *kept_bytes, size_t *cut_bytes) {
  size_t kept = 0, dropped = 0;
  int keep = 1;
  for (size_t at = 0; at < n;) {
    const char *end = memchr(text + at, '\n', n - at);
    const size_t len = end ? (size_t)(end - (text + at)) + 1 : n - at;
    const int verdict = end ? judge_line(text + at, len, iter) : 0;
    if (verdict == -2) return 0;
    if (verdict >= 0) keep = verdict;
    if (keep) {
      memmove(text + kept, text + at, len);
      kept += len;
    } else {
      memcpy(cut + dropped, text + at, len);
      dropped += len;
    }
    at += len;
  }
  *kept_bytes = kept;
  *cut_bytes = dropped;
  return 1;
}

/* Behind what an earlier resume at the same iteration left there. */
static int save_cut(const char *path, const char *cut, size_t n, dd_error *err) {
  char *old = NULL;
  size_t size = 0;
  int there, rc = dd_file_exists(path, &there, err);
  if (rc == DD_OK && there) rc = dd_file_read_all(path, MAX_METRICS, &old, &size, err);
  char *all = rc == DD_OK ? realloc(old, size + n + 1) : NULL;
  if (rc != DD_OK) return rc;
  if (!all) {
    free(old);
    return out_of_memory(path, err);
  }
  if (size > 0 && all[size - 1] != '\n') all[size++] = '\n'; /* it ended in a torn line */
  memcpy(all + size, cut, n);
  rc = dd_file_replace(path, all, size + n, err);
  free(all);
  return rc;
}

int dd_metrics_truncate_after(dd_rundir *rd, int64_t iter, dd_error *err) {
  char path[4096], cut_path[4096], name[64], *text;
  size_t n, kept, cut_bytes = 0;
  snprintf(name, sizeof name, METRICS ".cut-%lld", (long long)(iter < 0 ? 0 : iter));
  int rc = dd_path_join(path, sizeof path, dd_rundir_path(rd), METRICS, err);
  if (rc == DD_OK) rc = dd_path_join(cut_path, sizeof cut_path, dd_rundir_path(rd), name, err);
  int there = 0;
  if (rc == DD_OK) rc = dd_file_exists(path, &there, err);
  if (rc != DD_OK || !there) return rc;
  rc = dd_file_read_all(path, MAX_METRICS, &text, &n, err);
  if (rc != DD_OK) return rc;
  char *cut = malloc(n + 1);
  if (!cut) {
    free(text);
    return out_of_memory(path, err);
  }
  if (!split_lines(text, n, iter, cut, &kept, &cut_bytes)) rc = out_of_memory(path, err);
  if (cut_bytes > 0 && rc == DD_OK) rc = save_cut(cut_path, cut, cut_bytes, err);
  if (cut_bytes > 0 && rc == DD_OK) rc = dd_file_replace(path, text, kept, err);
  free(cut);
  free(text);
  return rc;
}

int dd_metrics_each(const char *dir, int (*take)(void *user, const json_t *record), void *user, dd_metrics_seen *seen,
                    dd_error *err) {
  char path[4096], *text = NULL;
  size_t n = 0;
  *seen = (dd_metrics_seen){0};
  int rc = dd_path_join(path, sizeof path, dir, METRICS, err);
  if (rc == DD_OK) rc = dd_file_read_all(path, MAX_METRICS, &text, &n, err);
  for (size_t at = 0; at < n && rc == DD_OK;) {
    json_t *o = NULL;
    const char *end = memchr(text + at, '\n', n - at);
    const size_t len = end ? (size_t)(end - (text + at)) : n - at;
    const int got = end ? dd_json_parse(text + at, len, MAX_ELEMENTS, &o, NULL) : DD_E_CORRUPT;
    if (got == DD_E_RUNTIME) rc = out_of_memory(path, err);
    else if (got == DD_OK && json_is_object(o)) seen->records++, rc = take(user, o);
    else seen->bad++;
    json_decref(o);
    at += len + 1;
  }
  free(text);
  return rc;
}
