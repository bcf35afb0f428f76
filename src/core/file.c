#include "core/file.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* ---- the real system ---- */

static int posix_open(const char *path, int flags, mode_t mode) { return open(path, flags, mode); }

/* KEEP_SIZE: the blocks are reserved but the length stays what was written, and glibc does not fall back to touching
 * every block on file systems that cannot reserve (that would cost a second write of the whole file). */
static int posix_fallocate_keep(int fd, off_t offset, off_t length) {
#ifdef FALLOC_FL_KEEP_SIZE
  return fallocate(fd, FALLOC_FL_KEEP_SIZE, offset, length) == 0 ? 0 : errno;
#else
  (void)fd, (void)offset, (void)length;
  return EOPNOTSUPP;
#endif
}

static int posix_fstat(int fd, struct stat *st) { return fstat(fd, st); }
static int posix_stat(const char *path, struct stat *st) { return stat(path, st); }
static void *posix_opendir(const char *path) { return opendir(path); }
static int posix_closedir(void *dir) { return closedir(dir); }

static const char *posix_readdir(void *dir) {
  errno = 0;
  const struct dirent *e = readdir(dir);
  return e ? e->d_name : NULL;
}

const dd_fs_ops dd_fs_posix = {
    .open = posix_open,
    .read = read,
    .pread = pread,
    .write = write,
    .fsync = fsync,
    .close = close,
    .rename = rename,
    .unlink = unlink,
    .mkdir = mkdir,
    .rmdir = rmdir,
    .ftruncate = ftruncate,
    .fallocate = posix_fallocate_keep,
    .fstat = posix_fstat,
    .stat = posix_stat,
    .flock = flock,
    .statvfs = statvfs,
    .opendir = posix_opendir,
    .readdir = posix_readdir,
    .closedir = posix_closedir,
};

static const dd_fs_ops *current = &dd_fs_posix;
const dd_fs_ops *dd_fs(void) { return current; }
void dd_fs_replace(const dd_fs_ops *ops) { current = ops ? ops : &dd_fs_posix; }

/* ---- errors ---- */

/* What the user can do about a reason of the system; "" where there is nothing to say. */
static const char *remedy(int e) {
  switch (e) {
  case ENOSPC: return "; free some space there or choose another directory";
  case EDQUOT: return "; your disk quota is used up: free some space or choose another directory";
  case EROFS: return "; choose a directory that can be written";
  case EACCES:
  case EPERM: return "; check its permissions";
  case EMFILE:
  case ENFILE: return "; raise the limit of open files (ulimit -n)";
  case EFBIG: return "; raise the limit of file sizes (ulimit -f) or choose another file system";
  default: return "";
  }
}

/* Paths are cut at 700 bytes so that the reason always fits into the message. */
static int fail_io(dd_error *err, int e, const char *what, const char *path) {
  return dd_fail(err, DD_E_IO, "cannot %s %.700s: %s%s", what, path, strerror(e), remedy(e));
}

/* ---- reading ---- */

static ssize_t read_some(int fd, void *buf, size_t n) {
  ssize_t r;
  do r = dd_fs()->read(fd, buf, n);
  while (r < 0 && errno == EINTR);
  return r;
}

enum { POLL_BYTES = 1 << 24 }; /* read between two looks at should_stop */

/* Files of /proc and /sys have no true size: st_size is only the first guess and the end of the file decides. */
static int read_to_end(int fd, const char *path, size_t guess, size_t max_bytes, const dd_callbacks *cb, char **data,
                       size_t *size, dd_error *err) {
  size_t cap = guess + 1, len = 0;
  char *buf = malloc(cap + 1);
  if (!buf) return dd_fail(err, DD_E_RUNTIME, "out of memory while reading %.700s (%zu bytes)", path, cap);
  for (;;) {
    const ssize_t r = read_some(fd, buf + len, cap - len < POLL_BYTES ? cap - len : POLL_BYTES);
    if (r < 0) {
      const int e = errno;
      free(buf);
      return fail_io(err, e, "read", path);
    }
    if (r == 0) break;
    len += (size_t)r;
    if (len > max_bytes) {
      free(buf);
      return dd_fail(err, DD_E_CORRUPT, "%.700s is larger than the %zu bytes allowed for it", path, max_bytes);
    }
    if (r == POLL_BYTES && dd_check_stop(cb, "reading", path, err)) {
      free(buf);
      return DD_E_STOPPED;
    }
    if (len < cap) continue;
    cap = cap > max_bytes / 2 ? max_bytes + 1 : 2 * cap; /* len <= max_bytes, so there is room for one more byte */
    char *bigger = realloc(buf, cap + 1);
    if (!bigger) {
      free(buf);
      return dd_fail(err, DD_E_RUNTIME, "out of memory while reading %.700s (%zu bytes)", path, cap);
    }
    buf = bigger;
  }
  buf[len] = '\0';
  *data = buf;
  *size = len;
  return DD_OK;
}

int dd_file_read_all(const char *path, size_t max_bytes, char **data, size_t *size, dd_error *err) {
  return dd_file_read_polled(path, max_bytes, NULL, data, size, err);
}

int dd_file_read_polled(const char *path, size_t max_bytes, const dd_callbacks *cb, char **data, size_t *size,
                        dd_error *err) {
  *data = NULL;
  *size = 0;
  if (max_bytes > SIZE_MAX - 2) max_bytes = SIZE_MAX - 2;
  /* O_NONBLOCK: opening a FIFO without a writer would wait for ever */
  const int fd = dd_fs()->open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
  if (fd < 0) return fail_io(err, errno, "open", path);
  struct stat st;
  int rc;
  if (dd_fs()->fstat(fd, &st) != 0)
    rc = fail_io(err, errno, "inspect", path);
  else if (!S_ISREG(st.st_mode))
    rc = dd_fail(err, DD_E_IO, "cannot read %.700s: it is %s", path,
                 S_ISDIR(st.st_mode) ? "a directory" : "not a regular file");
  else if (st.st_size > 0 && (uint64_t)st.st_size > max_bytes)
    rc = dd_fail(err, DD_E_CORRUPT, "%.700s is larger than the %zu bytes allowed for it", path, max_bytes);
  else
    rc = read_to_end(fd, path, st.st_size > 0 ? (size_t)st.st_size : 0, max_bytes, cb, data, size, err);
  dd_fs()->close(fd); /* nothing was written: its result says nothing */
  return rc;
}

int dd_file_pread_all(int fd, const char *path, void *buf, size_t n, off_t offset, dd_error *err) {
  char *p = buf;
  while (n > 0) {
    const ssize_t r = dd_fs()->pread(fd, p, n, offset);
    if (r < 0) {
      if (errno == EINTR) continue;
      return fail_io(err, errno, "read", path);
    }
    if (r == 0)
      return dd_fail(err, DD_E_CORRUPT, "%.700s is truncated: it ends at byte %lld, %zu bytes too early", path,
                     (long long)offset, n);
    p += r;
    n -= (size_t)r;
    offset += r;
  }
  return DD_OK;
}

/* ---- writing ---- */

int dd_file_write_all(int fd, const char *path, const void *buf, size_t n, dd_error *err) {
  const char *p = buf;
  while (n > 0) {
    const ssize_t r = dd_fs()->write(fd, p, n);
    if (r < 0) {
      if (errno == EINTR) continue;
      return fail_io(err, errno, "write", path);
    }
    if (r == 0) return dd_fail(err, DD_E_IO, "cannot write %.700s: the system accepts no more bytes", path);
    p += r;
    n -= (size_t)r;
  }
  return DD_OK;
}

/* The directory of path into out[4096]. Callers have checked that path fits. */
static void parent_of(const char *path, char out[4096]) {
  const char *slash = strrchr(path, '/');
  if (!slash)
    strcpy(out, ".");
  else
    snprintf(out, 4096, "%.*s", slash == path ? 1 : (int)(slash - path), path);
}

/* Make the entries of a directory durable. File systems that cannot do it say EINVAL; a directory we may write but not
 * read cannot be opened: neither is a reason to give up a file that is complete. */
static int sync_dir(const char *dir, dd_error *err) {
  const int fd = dd_fs()->open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  if (fd < 0) return errno == EACCES ? DD_OK : fail_io(err, errno, "open directory", dir);
  int rc = DD_OK;
  if (dd_fs()->fsync(fd) != 0 && errno != EINVAL && errno != ENOTSUP) rc = fail_io(err, errno, "sync directory", dir);
  dd_fs()->close(fd);
  return rc;
}

static int reserve(int fd, uint64_t bytes) {
  if (bytes == 0 || bytes > INT64_MAX) return bytes ? EFBIG : 0;
  int e;
  do e = dd_fs()->fallocate(fd, 0, (off_t)bytes);
  while (e == EINTR);
  return e == ENOSPC || e == EDQUOT || e == EFBIG ? e : 0; /* the rest: cannot reserve here, the writes will tell */
}

int dd_atomic_begin(dd_atomic *a, const char *path, uint64_t expected_bytes, dd_error *err) {
  a->fd = -1;
  const size_t len = strlen(path);
  if (len == 0 || len >= sizeof a->path)
    return dd_fail(err, DD_E_USAGE, "the path of a file to write must have 1 to %zu bytes, not %zu",
                   sizeof a->path - 1, len);
  memcpy(a->path, path, len + 1);
  snprintf(a->temp, sizeof a->temp, "%s.tmp-%ld", path, (long)getpid());
  const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  int fd = dd_fs()->open(a->temp, flags, 0644);
  if (fd < 0 && errno == EEXIST) { /* left by a dead process of our number: in containers that is common */
    dd_fs()->unlink(a->temp);
    fd = dd_fs()->open(a->temp, flags, 0644);
  }
  if (fd < 0) return fail_io(err, errno, "create", a->temp);
  a->fd = fd;
  const int e = reserve(fd, expected_bytes); /* a full disk shows now, not after minutes of writing */
  if (e != 0) {
    dd_atomic_abort(a);
    return dd_fail(err, DD_E_IO, "cannot reserve %llu bytes for %.700s: %s%s", (unsigned long long)expected_bytes, path,
                   strerror(e), remedy(e));
  }
  return DD_OK;
}

int dd_atomic_write(dd_atomic *a, const void *buf, size_t n, dd_error *err) {
  return dd_file_write_all(a->fd, a->temp, buf, n, err);
}

int dd_atomic_commit(dd_atomic *a, dd_error *err) {
  /* After a failed fsync the kernel may have dropped the pages and the next fsync would succeed: this file is dead. */
  if (dd_fs()->fsync(a->fd) != 0) {
    const int e = errno;
    dd_atomic_abort(a);
    return fail_io(err, e, "sync", a->path);
  }
  const int fd = a->fd;
  a->fd = -1;
  if (dd_fs()->close(fd) != 0 && errno != EINTR) { /* EINTR: Linux has closed it, and it is synced */
    const int e = errno;
    dd_fs()->unlink(a->temp);
    return fail_io(err, e, "close", a->path);
  }
  if (dd_fs()->rename(a->temp, a->path) != 0) {
    const int e = errno;
    dd_fs()->unlink(a->temp);
    return fail_io(err, e, "replace", a->path);
  }
  char dir[4096];
  parent_of(a->path, dir);
  return sync_dir(dir, err);
}

void dd_atomic_abort(dd_atomic *a) {
  if (a->fd < 0) return;
  dd_fs()->close(a->fd);
  a->fd = -1;
  dd_fs()->unlink(a->temp);
}

int dd_file_replace(const char *path, const void *buf, size_t n, dd_error *err) {
  dd_atomic a;
  int rc = dd_atomic_begin(&a, path, n, err);
  if (rc != DD_OK) return rc;
  rc = dd_atomic_write(&a, buf, n, err);
  if (rc != DD_OK) {
    dd_atomic_abort(&a);
    return rc;
  }
  return dd_atomic_commit(&a, err);
}

/* ---- directories and paths ---- */

static int kind_is(const char *path, mode_t kind) {
  struct stat st;
  return dd_fs()->stat(path, &st) == 0 && (st.st_mode & S_IFMT) == kind;
}

int dd_is_dir(const char *path) { return kind_is(path, S_IFDIR); }
int dd_is_file(const char *path) { return kind_is(path, S_IFREG); }

int dd_file_exists(const char *path, int *there, dd_error *err) {
  struct stat st;
  *there = dd_fs()->stat(path, &st) == 0;
  if (*there || errno == ENOENT) return DD_OK;
  return dd_fail(err, DD_E_IO, "cannot look for %.700s: %s", path, strerror(errno));
}

int dd_make_dirs(const char *path, dd_error *err) {
  char part[4096];
  const size_t len = strlen(path);
  if (len == 0 || len >= sizeof part)
    return dd_fail(err, DD_E_USAGE, "the path of a directory must have 1 to %zu bytes, not %zu", sizeof part - 1, len);
  if (dd_is_dir(path)) return DD_OK;
  memcpy(part, path, len + 1);
  for (size_t i = 1; i <= len; i++) { /* every prefix that ends before a slash or at the end */
    if ((part[i] != '/' && part[i] != '\0') || part[i - 1] == '/') continue;
    const char cut = part[i];
    part[i] = '\0';
    if (!dd_is_dir(part)) {
      if (dd_fs()->mkdir(part, 0755) == 0) {
        char dir[4096];
        parent_of(part, dir);
        (void)sync_dir(dir, NULL); /* a lost empty directory loses nothing */
      } else if (errno != EEXIST || !dd_is_dir(part)) { /* EEXIST: somebody else was faster, or it is a file */
        const int e = errno == EEXIST ? ENOTDIR : errno;
        return fail_io(err, e, "make directory", part);
      }
    }
    part[i] = cut;
  }
  return DD_OK;
}

/* ---- what a directory holds ---- */

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

void dd_names_free(dd_names *l) {
  for (size_t i = 0; i < l->n; i++) free(l->name[i]);
  free(l->name);
  *l = (dd_names){0};
}

int dd_names_add(dd_names *l, const char *name) {
  if (!(l->n & (l->n - 1))) { /* full at every power of two */
    char **bigger = realloc(l->name, (l->n ? 2 * l->n : 1) * sizeof *bigger);
    if (!bigger) return 0;
    l->name = bigger;
  }
  l->name[l->n] = strdup(name);
  return l->name[l->n] && ++l->n;
}

int dd_dir_names(const char *dir, const dd_names_wanted *wanted, dd_names *out, dd_error *err) {
  static const dd_names_wanted all = {0};
  const dd_names_wanted *w = wanted ? wanted : &all;
  int rc = DD_OK;
  const char *name;
  *out = (dd_names){0};
  void *d = dd_fs()->opendir(dir);
  if (!d) return fail_io(err, errno, "list directory", dir);
  while (!rc && (errno = 0, name = dd_fs()->readdir(d)) != NULL) {
    if (name[0] == '.' || (w->keep && !w->keep(dir, name, w->user))) continue;
    if (w->most && out->n == w->most)
      rc = dd_fail(err, DD_E_USAGE, "%.700s holds more than %zu %s", dir, w->most, w->what);
    else if (!dd_names_add(out, name))
      rc = dd_fail(err, DD_E_RUNTIME, "out of memory for the names in %.700s", dir);
  }
  if (!rc && errno) rc = fail_io(err, errno, "list directory", dir);
  dd_fs()->closedir(d);
  if (rc) dd_names_free(out);
  if (out->n) qsort(out->name, out->n, sizeof *out->name, by_name);
  return rc;
}

int dd_path_join(char *out, size_t size, const char *dir, const char *name, dd_error *err) {
  const size_t len = strlen(dir);
  const char *slash = len == 0 || dir[len - 1] == '/' ? "" : "/";
  const int n = snprintf(out, size, "%s%s%s", dir, slash, name);
  if (n < 0 || (size_t)n >= size)
    return dd_fail(err, DD_E_USAGE, "path too long (at most %zu bytes): %.300s/%.300s", size - 1, dir, name);
  return DD_OK;
}
