/* A file system of one file in memory, so that hundreds of thousands of damaged files cost no disk. Whatever path is
 * opened is this file. mem_file.max_read > 0 gives short counts. */
#ifndef DD_TESTS_MEM_FILE_H
#define DD_TESTS_MEM_FILE_H
#include "core/file.h"
#include <errno.h>
#include <string.h>

static struct {
  const unsigned char *data;
  size_t size, max_read;
  int open; /* descriptors not closed: must be 0 after each case */
} mem_file;

static int mem_open(const char *path, int flags, mode_t mode) {
  (void)path, (void)flags, (void)mode;
  mem_file.open++;
  return 1 << 20;
}

static ssize_t mem_pread(int fd, void *buf, size_t n, off_t offset) {
  (void)fd;
  if (offset < 0) {
    errno = EINVAL;
    return -1;
  }
  if ((uint64_t)offset >= mem_file.size) return 0;
  size_t part = mem_file.size - (size_t)offset;
  if (part > n) part = n;
  if (mem_file.max_read && part > mem_file.max_read) part = mem_file.max_read;
  memcpy(buf, mem_file.data + offset, part);
  return (ssize_t)part;
}

static int mem_close(int fd) {
  (void)fd;
  mem_file.open--;
  return 0;
}

static int mem_fstat(int fd, struct stat *st) {
  (void)fd;
  memset(st, 0, sizeof *st);
  st->st_mode = S_IFREG | 0644;
  st->st_size = (off_t)mem_file.size;
  return 0;
}

static const dd_fs_ops mem_ops = {.open = mem_open, .pread = mem_pread, .close = mem_close, .fstat = mem_fstat};

static void mem_file_use(const void *data, size_t size) {
  mem_file.data = data;
  mem_file.size = size;
  dd_fs_replace(&mem_ops);
}
#endif
