/* The only file layer: every open, read, write, sync, rename of the program goes through the table dd_fs_ops, so that
 * tests can make the n-th call fail, return short counts or lose un-synced data.
 * Paths are UTF-8 bytes as the system takes them. Errors name the path and the system's reason. */
#ifndef DD_CORE_FILE_H
#define DD_CORE_FILE_H
#include "core/error.h"
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>

/** Same meaning and return values as the system calls of those names (-1 and errno). */
typedef struct dd_fs_ops {
  int (*open)(const char *path, int flags, mode_t mode);
  ssize_t (*read)(int fd, void *buf, size_t n);
  ssize_t (*pread)(int fd, void *buf, size_t n, off_t offset);
  ssize_t (*write)(int fd, const void *buf, size_t n);
  int (*fsync)(int fd);
  int (*close)(int fd);
  int (*rename)(const char *from, const char *to);
  int (*unlink)(const char *path);
  int (*mkdir)(const char *path, mode_t mode);
  int (*rmdir)(const char *path);
  int (*ftruncate)(int fd, off_t length);
  int (*fallocate)(int fd, off_t offset, off_t length); /* as posix_fallocate: returns an error number, 0 when done */
  int (*fstat)(int fd, struct stat *st);
  int (*stat)(const char *path, struct stat *st);
  int (*flock)(int fd, int operation);
  int (*statvfs)(const char *path, struct statvfs *v);
  void *(*opendir)(const char *path);
  const char *(*readdir)(void *dir); /* next name, NULL at the end (errno 0) or on error */
  int (*closedir)(void *dir);
} dd_fs_ops;

/** The real system, and the table in use (tests replace it before any other call). */
extern const dd_fs_ops dd_fs_posix;
const dd_fs_ops *dd_fs(void);
void dd_fs_replace(const dd_fs_ops *ops); /* NULL: back to the real one */

/** Whole file into fresh memory (*data, NUL byte appended, free() by the caller). Refuses files above max_bytes and
 *  anything that is not a regular file. */
int dd_file_read_all(const char *path, size_t max_bytes, char **data, size_t *size, dd_error *err);
/** The same for files that may be large: cb->should_stop is asked every 16 MB, and 1 is DD_E_STOPPED. */
int dd_file_read_polled(const char *path, size_t max_bytes, const dd_callbacks *cb, char **data, size_t *size,
                        dd_error *err);
/** Exactly n bytes at offset; short files are DD_E_CORRUPT. Handles EINTR and short counts. */
int dd_file_pread_all(int fd, const char *path, void *buf, size_t n, off_t offset, dd_error *err);
/** All n bytes; handles EINTR and short counts. */
int dd_file_write_all(int fd, const char *path, const void *buf, size_t n, dd_error *err);

/** Replace a file so that readers and crashes see the old or the new content, never a mixture: create
 *  PATH.tmp-PID (O_EXCL), write, fsync, close, rename, fsync of the directory. */
typedef struct dd_atomic {
  int fd;
  char path[4096], temp[4160];
} dd_atomic;
int dd_atomic_begin(dd_atomic *a, const char *path, uint64_t expected_bytes, dd_error *err);
int dd_atomic_write(dd_atomic *a, const void *buf, size_t n, dd_error *err);
int dd_atomic_commit(dd_atomic *a, dd_error *err);
void dd_atomic_abort(dd_atomic *a); /* after any failure, or instead of commit; harmless when nothing is open */
int dd_file_replace(const char *path, const void *buf, size_t n, dd_error *err);

/** Whether there is something of that name; DD_E_IO when that cannot be told (which must not be taken for no). */
int dd_file_exists(const char *path, int *there, dd_error *err);
/** mkdir -p. */
int dd_make_dirs(const char *path, dd_error *err);
/** 1 when path exists and is a directory / regular file, else 0. */
int dd_is_dir(const char *path);
int dd_is_file(const char *path);

/** Names in a directory, in the order of strcmp. */
typedef struct dd_names {
  char **name;
  size_t n;
} dd_names;
/** Which names are wanted: keep says so (NULL: all); at most `most` (0: any number) of what the error calls `what`. */
typedef struct dd_names_wanted {
  int (*keep)(const char *dir, const char *name, const void *user);
  const void *user;
  size_t most;
  const char *what;
} dd_names_wanted;
/** Those that are wanted (NULL: all), but none that begins with a dot; to be freed. DD_E_IO: the directory cannot be
 *  read; DD_E_USAGE: it holds more than `most`; then *out is empty. */
int dd_dir_names(const char *dir, const dd_names_wanted *wanted, dd_names *out, dd_error *err);
/** One more at the end; 0: out of memory. */
int dd_names_add(dd_names *l, const char *name);
void dd_names_free(dd_names *l);
/** Join into out[size]; DD_E_USAGE when it does not fit. */
int dd_path_join(char *out, size_t size, const char *dir, const char *name, dd_error *err);
#endif
