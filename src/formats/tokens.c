#include "formats/tokens.h"
#include "core/file.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LARGEST = 65534, BLOCK = 1 << 16, POLL = 1 << 24 }; /* bytes at a time; bytes between two looks at should_stop */

struct dd_token_file {
  int fd;
  dd_token_layout layout;
  char path[];
};

void dd_tokens_format_name(const dd_token_layout *l, char out[32]) {
  static const char *const names[] = {
      [DD_TOKENS_RAW] = "raw", [DD_TOKENS_NPY] = "npy", [DD_TOKENS_LLMC] = "llm.c"};
  if (l->format == DD_TOKENS_RAW) snprintf(out, 32, "raw");
  else snprintf(out, 32, "%s version %d", names[l->format], l->version);
}

void dd_tokens_type_name(const dd_token_layout *l, char out[16]) {
  snprintf(out, 16, "%sint%d", l->is_signed ? "" : "u", 8 * l->width);
}

static int read_layout(dd_token_file *f, uint64_t size, dd_error *err) {
  const size_t n = size < DD_TOKENS_HEAD ? (size_t)size : DD_TOKENS_HEAD;
  unsigned char *head = malloc(n + 1);
  if (!head) return dd_fail(err, DD_E_RUNTIME, "out of memory while opening %.700s", f->path);
  int rc = dd_file_pread_all(f->fd, f->path, head, n, 0, err);
  if (!rc && dd_npy_is(head, n)) rc = dd_npy_layout(f->path, head, n, size, &f->layout, err);
  else if (!rc && dd_llmc_is(head, n)) rc = dd_llmc_layout(f->path, head, n, size, &f->layout, err);
  else if (!rc && size % 2)
    rc = dd_fail(err, DD_E_CORRUPT, "%.700s has an odd number of bytes, so it is not a file of uint16 tokens", f->path);
  else if (!rc) f->layout = (dd_token_layout){.width = 2, .count = size / 2};
  free(head);
  return rc;
}

/* Open a regular file: its descriptor and size. */
static int open_regular(const char *path, int *fd, uint64_t *size, dd_error *err) {
  struct stat st;
  *fd = dd_fs()->open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0); /* a FIFO without a writer must not block */
  if (*fd < 0) return dd_fail(err, DD_E_IO, "cannot open %.700s: %s", path, strerror(errno));
  int rc = DD_OK;
  if (dd_fs()->fstat(*fd, &st)) rc = dd_fail(err, DD_E_IO, "cannot inspect %.700s: %s", path, strerror(errno));
  else if (!S_ISREG(st.st_mode))
    rc = dd_fail(err, DD_E_IO, "cannot read %.700s: it is %s", path,
                 S_ISDIR(st.st_mode) ? "a directory" : "not a regular file");
  else *size = st.st_size > 0 ? (uint64_t)st.st_size : 0;
  if (!rc) return DD_OK;
  dd_fs()->close(*fd);
  *fd = -1;
  return rc;
}

int dd_token_file_detect(const char *path, bool *is, dd_error *err) {
  unsigned char head[8];
  uint64_t size;
  int fd;
  *is = false;
  int rc = open_regular(path, &fd, &size, err);
  if (rc) return rc;
  const size_t n = size < sizeof head ? (size_t)size : sizeof head;
  rc = dd_file_pread_all(fd, path, head, n, 0, err);
  *is = !rc && (dd_npy_is(head, n) || dd_llmc_is(head, n));
  dd_fs()->close(fd);
  return rc;
}

int dd_token_file_open(const char *path, dd_token_file **out, dd_error *err) {
  const size_t n = strlen(path);
  uint64_t size;
  *out = NULL;
  dd_token_file *f = malloc(sizeof *f + n + 1);
  if (!f) return dd_fail(err, DD_E_RUNTIME, "out of memory while opening %.700s", path);
  memcpy(f->path, path, n + 1);
  int rc = open_regular(path, &f->fd, &size, err);
  if (!rc) rc = read_layout(f, size, err);
  if (rc) dd_token_file_close(f);
  else *out = f;
  return rc;
}

void dd_token_file_close(dd_token_file *f) {
  if (f && f->fd >= 0) dd_fs()->close(f->fd);
  free(f);
}

const dd_token_layout *dd_token_file_layout(const dd_token_file *f) { return &f->layout; }

static int64_t id_at(const dd_token_layout *l, const unsigned char *p) {
  uint64_t v = 0;
  for (int i = 0; i < l->width; i++) v |= (uint64_t)p[i] << 8 * i;
  if (l->is_signed && l->width < 8 && v >> (8 * l->width - 1)) v |= UINT64_MAX << 8 * l->width;
  if (l->is_signed) return (int64_t)v;
  return v > INT64_MAX ? INT64_MAX : (int64_t)v;
}

int dd_token_file_read(dd_token_file *f, uint64_t first, int64_t *ids, size_t n, dd_error *err) {
  const dd_token_layout *l = &f->layout;
  unsigned char block[8192];
  const size_t most = sizeof block / (size_t)l->width;
  for (size_t done = 0; done < n;) {
    const size_t part = n - done < most ? n - done : most;
    const int rc = dd_file_pread_all(f->fd, f->path, block, part * (size_t)l->width,
                                     (off_t)(l->at + (first + done) * (uint64_t)l->width), err);
    if (rc) return rc;
    for (size_t i = 0; i < part; i++) ids[done + i] = id_at(l, block + i * (size_t)l->width);
    done += part;
  }
  return DD_OK;
}

static int fail_id(const dd_token_file *f, uint64_t at, int64_t id, dd_error *err) {
  return dd_fail(err, DD_E_CORRUPT, "%.700s: token %" PRIu64 " is %" PRId64 "; ids must be from 0 to %d", f->path, at,
                 id, LARGEST);
}

int dd_token_file_ids(dd_token_file *f, uint16_t *out, const dd_callbacks *cb, dd_error *err) {
  const dd_token_layout *l = &f->layout;
  unsigned char *block = malloc(BLOCK);
  if (!block) return dd_fail(err, DD_E_RUNTIME, "out of memory while reading %.700s", f->path);
  const uint64_t most = BLOCK / (unsigned)l->width;
  int rc = DD_OK;
  for (uint64_t done = 0, poll = POLL; !rc && done < l->count;) {
    const uint64_t part = l->count - done < most ? l->count - done : most, at = done * (unsigned)l->width;
    rc = dd_file_pread_all(f->fd, f->path, block, (size_t)part * (unsigned)l->width, (off_t)(l->at + at), err);
    for (uint64_t i = 0; !rc && i < part; i++) {
      const unsigned char *p = block + i * (unsigned)l->width;
      const int64_t id = l->width == 2 && !l->is_signed ? p[0] | p[1] << 8 : id_at(l, p);
      if (id < 0 || id > LARGEST) rc = fail_id(f, done + i, id, err);
      else out[done + i] = (uint16_t)id;
    }
    done += part;
    if (!rc && at >= poll && done < l->count) {
      poll += POLL;
      rc = dd_check_stop(cb, "reading", f->path, err);
    }
  }
  free(block);
  return rc;
}
