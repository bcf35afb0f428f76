#include "formats/zip.h"
#include "core/checked.h"
#include "core/json.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

typedef struct entry {
  dd_zip_entry e;
  uint64_t head; /* where its own head begins */
} entry;

struct dd_zip {
  int fd;
  char *path;
  uint64_t size, directory; /* of the file; where the directory begins */
  unsigned char *text;      /* the directory */
  size_t bytes;
  char *names;
  entry *list;              /* sorted by name */
  size_t n;
};

enum { END = 22, LOCATOR = 20, END64 = 56, PLACE = 46, HEAD = 30, COMMENT = 65535 };

static int corrupt(const dd_zip *z, const char *what, dd_error *err) {
  return dd_fail(err, DD_E_CORRUPT,
                 "%.600s is damaged, or no archive that can be read here: %s; save or fetch it again", z->path, what);
}

int dd_zip_is(const unsigned char *head, size_t n) { return n >= 4 && !memcmp(head, "PK\3\4", 4); }

/* The record at the end of the file, and the one of the 64-bit extension before it. */
static int find_directory(dd_zip *z, uint64_t *count, dd_error *err) {
  const size_t tail = z->size < END + COMMENT + LOCATOR ? (size_t)z->size : END + COMMENT + LOCATOR;
  unsigned char *p = malloc(tail), wide[END64];
  int rc = p ? dd_file_pread_all(z->fd, z->path, p, tail, (off_t)(z->size - tail), err)
             : dd_fail(err, DD_E_RUNTIME, "out of memory while reading %.600s", z->path);
  size_t at = tail >= END ? tail - END : 0;
  if (!rc && tail >= END)
    while (at > 0 && (memcmp(p + at, "PK\5\6", 4) || at + END + dd_load_le(p + at + 20, 2) != tail)) at--;
  if (!rc && (tail < END || memcmp(p + at, "PK\5\6", 4) || at + END + dd_load_le(p + at + 20, 2) != tail))
    rc = corrupt(z, "its end is missing", err);
  if (rc) return free(p), rc;
  uint64_t end = z->size - tail + at, size = dd_load_le(p + at + 12, 4);
  *count = dd_load_le(p + at + 10, 2);
  z->directory = dd_load_le(p + at + 16, 4);
  const int parts = dd_load_le(p + at + 4, 4) != 0; /* number of this disk, and of that with the directory */
  if (!parts && at >= LOCATOR && !memcmp(p + at - LOCATOR, "PK\6\7", 4)) {
    const uint64_t there = dd_load_le(p + at - LOCATOR + 8, 8);
    end -= LOCATOR;
    if (end < END64 || there > end - END64) rc = corrupt(z, "its directory is outside", err);
    if (!rc) rc = dd_file_pread_all(z->fd, z->path, wide, END64, (off_t)there, err);
    if (!rc && memcmp(wide, "PK\6\6", 4)) rc = corrupt(z, "its directory is missing", err);
    if (!rc) {
      *count = dd_load_le(wide + 32, 8);
      size = dd_load_le(wide + 40, 8);
      z->directory = dd_load_le(wide + 48, 8);
      end = there;
    }
  }
  free(p);
  if (!rc && parts) rc = corrupt(z, "it is one of several parts", err);
  if (!rc && (size > DD_ZIP_MAX_DIRECTORY || *count > DD_ZIP_MAX_ENTRIES || *count > size / PLACE))
    rc = corrupt(z, "its directory has an impossible size", err);
  if (!rc && (size > end || z->directory != end - size)) rc = corrupt(z, "its directory is not before its end", err);
  z->bytes = (size_t)size;
  return rc;
}

/* Sizes and offset that are too large for their fields stand in an extra field, in this order. */
static int read_extra(const unsigned char *x, size_t n, uint64_t *size, uint64_t *stored, uint64_t *head) {
  for (size_t i = 0; i + 4 <= n;) {
    const size_t id = (size_t)dd_load_le(x + i, 2), length = (size_t)dd_load_le(x + i + 2, 2);
    const unsigned char *p = x + i + 4, *end = p + length;
    if (length > n - i - 4) return 0;
    uint64_t *const field[3] = {size, stored, head};
    for (int k = 0; k < 3 && id == 1; k++) {
      if (*field[k] != UINT32_MAX) continue;
      if (end - p < 8) return 0;
      *field[k] = dd_load_le(p, 8);
      p += 8;
    }
    i += 4 + length;
  }
  return 1;
}

static int name_is_sane(const char *name, size_t n) {
  for (size_t i = 0; i < n; i++)
    if ((unsigned char)name[i] < 32 || name[i] == 127) return 0;
  return n > 0 && n <= DD_ZIP_MAX_NAME && dd_utf8_valid(name, n);
}

/* One entry of the directory; *p moves behind it, *names behind the copy of its name. */
static int read_place(dd_zip *z, const unsigned char **p, char **names, entry *out, dd_error *err) {
  const unsigned char *c = *p, *end = z->text + z->bytes;
  if (end - c < PLACE || memcmp(c, "PK\1\2", 4)) return corrupt(z, "an entry of its directory is damaged", err);
  const size_t name = (size_t)dd_load_le(c + 28, 2), extra = (size_t)dd_load_le(c + 30, 2);
  const size_t comment = (size_t)dd_load_le(c + 32, 2);
  if ((size_t)(end - c) - PLACE < name + extra + comment) return corrupt(z, "its directory is cut off", err);
  const unsigned flags = (unsigned)dd_load_le(c + 8, 2), method = (unsigned)dd_load_le(c + 10, 2);
  uint64_t stored = dd_load_le(c + 20, 4), size = dd_load_le(c + 24, 4);
  out->head = dd_load_le(c + 42, 4);
  out->e.crc = (uint32_t)dd_load_le(c + 16, 4);
  if (!read_extra(c + PLACE + name, extra, &size, &stored, &out->head))
    return corrupt(z, "an entry of its directory is damaged", err);
  if (flags & 1) return corrupt(z, "an entry is encrypted", err);
  if (method || size != stored) return corrupt(z, "an entry is compressed", err);
  if (!name_is_sane((const char *)c + PLACE, name)) return corrupt(z, "an entry has no usable name", err);
  memcpy(*names, c + PLACE, name);
  (*names)[name] = '\0';
  out->e.name = *names;
  out->e.n = size;
  *names += name + 1;
  *p = c + PLACE + name + extra + comment;
  return DD_OK;
}

/* Where the bytes begin: behind the entry's own head. */
static int read_head(dd_zip *z, entry *e, dd_error *err) {
  unsigned char h[HEAD];
  uint64_t end;
  if (z->directory < HEAD || e->head > z->directory - HEAD) return corrupt(z, "an entry is outside", err);
  const int rc = dd_file_pread_all(z->fd, z->path, h, HEAD, (off_t)e->head, err);
  if (rc) return rc;
  e->e.at = e->head + HEAD + dd_load_le(h + 26, 2) + dd_load_le(h + 28, 2);
  if (memcmp(h, "PK\3\4", 4) || dd_load_le(h + 26, 2) != strlen(e->e.name))
    return corrupt(z, "an entry has no head", err);
  if (!dd_add_u64(e->e.at, e->e.n, &end) || end > z->directory) return corrupt(z, "an entry is outside", err);
  return DD_OK;
}

static int by_place(const void *a, const void *b) {
  const entry *x = a, *y = b;
  return x->head < y->head ? -1 : x->head > y->head;
}
static int by_name(const void *a, const void *b) {
  return strcmp(((const entry *)a)->e.name, ((const entry *)b)->e.name);
}

static int read_entries(dd_zip *z, dd_error *err) {
  const unsigned char *p = z->text;
  char *names = z->names;
  int rc = DD_OK;
  for (size_t i = 0; i < z->n && !rc; i++) {
    rc = read_place(z, &p, &names, z->list + i, err);
    if (!rc) rc = read_head(z, z->list + i, err);
  }
  if (!rc && p != z->text + z->bytes) rc = corrupt(z, "its directory has another length than it says", err);
  if (!rc) qsort(z->list, z->n, sizeof *z->list, by_place);
  for (size_t i = 1; i < z->n && !rc; i++)
    if (z->list[i - 1].e.at + z->list[i - 1].e.n > z->list[i].head) rc = corrupt(z, "entries overlap", err);
  if (!rc) qsort(z->list, z->n, sizeof *z->list, by_name);
  for (size_t i = 1; i < z->n && !rc; i++)
    if (!strcmp(z->list[i - 1].e.name, z->list[i].e.name)) rc = corrupt(z, "two entries have one name", err);
  return rc;
}

static int read_all(dd_zip *z, dd_error *err) {
  struct stat st;
  uint64_t count = 0;
  if (dd_fs()->fstat(z->fd, &st)) return dd_fail(err, DD_E_IO, "cannot read %.600s: %s", z->path, strerror(errno));
  if (!S_ISREG(st.st_mode)) return dd_fail(err, DD_E_IO, "cannot read %.600s: it is not a regular file", z->path);
  z->size = (uint64_t)st.st_size;
  int rc = find_directory(z, &count, err);
  if (rc) return rc;
  z->n = (size_t)count;
  z->text = malloc(z->bytes + 1);
  z->names = malloc(z->bytes + z->n + 1);
  z->list = calloc(z->n + 1, sizeof *z->list);
  if (!z->text || !z->names || !z->list)
    return dd_fail(err, DD_E_RUNTIME, "out of memory while reading %.600s", z->path);
  rc = dd_file_pread_all(z->fd, z->path, z->text, z->bytes, (off_t)z->directory, err);
  return rc ? rc : read_entries(z, err);
}

int dd_zip_open(const char *path, dd_zip **out, dd_error *err) {
  *out = NULL;
  dd_zip *z = calloc(1, sizeof *z);
  if (z) z->fd = -1, z->path = strdup(path);
  if (!z || !z->path) {
    free(z);
    return dd_fail(err, DD_E_RUNTIME, "out of memory while opening %.600s", path);
  }
  z->fd = dd_fs()->open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
  const int rc = z->fd < 0 ? dd_fail(err, DD_E_IO, "cannot open %.600s: %s", path, strerror(errno)) : read_all(z, err);
  if (rc) dd_zip_close(z);
  else *out = z;
  return rc;
}

void dd_zip_close(dd_zip *z) {
  if (!z) return;
  if (z->fd >= 0) dd_fs()->close(z->fd);
  free(z->text);
  free(z->names);
  free(z->list);
  free(z->path);
  free(z);
}

size_t dd_zip_count(const dd_zip *z) { return z->n; }
const dd_zip_entry *dd_zip_at(const dd_zip *z, size_t i) { return i < z->n ? &z->list[i].e : NULL; }

const dd_zip_entry *dd_zip_find(const dd_zip *z, const char *name) {
  const entry key = {.e.name = name}, *found = z->n ? bsearch(&key, z->list, z->n, sizeof key, by_name) : NULL;
  return found ? &found->e : NULL;
}

int dd_zip_read(dd_zip *z, const dd_zip_entry *e, void *dst, dd_error *err) {
  const int rc = dd_file_pread_all(z->fd, z->path, dst, (size_t)e->n, (off_t)e->at, err);
  if (rc || dd_crc32(0, dst, (size_t)e->n) == e->crc) return rc;
  return dd_fail(err, DD_E_CORRUPT,
                 "%.600s is damaged: entry %.100s does not match its checksum; save or fetch it again", z->path,
                 e->name);
}
