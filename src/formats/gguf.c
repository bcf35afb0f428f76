#include "formats/gguf.h"
#include "core/checked.h"
#include "core/file.h"
#include "core/json.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct dd_gguf {
  unsigned char *header; /* all that stands before the tensors, and perhaps more */
  size_t n;              /* bytes of it that were read */
  uint64_t size;         /* of the file */
  dd_gguf_pair *pairs;
  size_t n_pairs;
  dd_gguf_entry *tensors;
  size_t n_tensors;
};

/* A place in the header. `short_` is set where more bytes would be needed, `bad` where none would help. */
typedef struct cursor {
  const unsigned char *p, *end;
  int short_;
  const char *bad;
} cursor;

static const unsigned char *take(cursor *c, uint64_t n) {
  if (c->bad || c->short_ || n > (uint64_t)(c->end - c->p)) {
    c->short_ = 1;
    return NULL;
  }
  const unsigned char *p = c->p;
  c->p += n;
  return p;
}

static uint64_t number(cursor *c, int bytes) {
  const unsigned char *p = take(c, (uint64_t)bytes);
  return p ? dd_load_le(p, bytes) : 0;
}

static int fail(cursor *c, const char *what) {
  if (!c->bad) c->bad = what;
  return 0;
}

static int name_is_sane(const char *s, size_t n) {
  for (size_t i = 0; i < n; i++)
    if ((unsigned char)s[i] < 32 || s[i] == 127) return 0;
  return n > 0 && n <= DD_GGUF_MAX_KEY && dd_utf8_valid(s, n);
}

static int read_name(cursor *c, const char **name, size_t *n) {
  const uint64_t length = number(c, 8);
  if (!c->short_ && length > DD_GGUF_MAX_KEY) return fail(c, "a name is too long");
  *name = (const char *)take(c, length);
  *n = (size_t)length;
  if (c->short_) return 0;
  return name_is_sane(*name, *n) ? 1 : fail(c, "a name is not printable");
}

static const unsigned char sizes[DD_GGUF_TYPES] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

static void skip_strings(cursor *c, uint64_t n) {
  for (; n && !c->short_; n--) take(c, number(c, 8));
}

static int read_pair(cursor *c, dd_gguf_pair *p) {
  uint64_t bytes;
  if (!read_name(c, &p->key, &p->key_n)) return 0;
  p->type = p->element = (dd_gguf_type)number(c, 4);
  p->count = 1;
  if ((unsigned)p->type >= DD_GGUF_TYPES) return fail(c, "a value is of an unknown type");
  if (p->type == DD_GGUF_ARRAY) {
    p->element = (dd_gguf_type)number(c, 4);
    p->count = number(c, 8);
    if ((unsigned)p->element >= DD_GGUF_TYPES || p->element == DD_GGUF_ARRAY)
      return fail(c, "an array is of an unknown type");
    if (p->count > DD_GGUF_MAX_HEADER) return fail(c, "an array is too long");
  }
  p->value = c->p;
  if (p->element == DD_GGUF_STRING) skip_strings(c, p->count);
  else if (dd_mul_u64(p->count, sizes[p->element], &bytes)) take(c, bytes);
  p->bytes = (size_t)(c->p - p->value);
  return !c->short_;
}

/* Bytes of a tensor of a type that is not quantized; 0: not known. */
static int bytes_of(const dd_gguf_entry *t, uint64_t *bytes) {
  *bytes = t->type == 0 ? 4 : t->type == 1 || t->type == 30 ? 2 : 0;
  for (int i = 0; i < t->ndim; i++)
    if (!dd_mul_u64(*bytes, t->shape[i], bytes)) return 0;
  return 1;
}

static int read_tensor(cursor *c, dd_gguf_entry *t) {
  if (!read_name(c, &t->name, &t->name_n)) return 0;
  const uint64_t ndim = number(c, 4);
  if (ndim > DD_GGUF_MAX_DIMS) return fail(c, "a tensor has more than 4 dimensions");
  t->ndim = (int)ndim;
  for (int i = 0; i < t->ndim; i++) t->shape[i] = number(c, 8);
  t->type = (uint32_t)number(c, 4);
  t->offset = number(c, 8);
  return !c->short_;
}

/* Tensors lie within the file, as far as their type tells how long they are. */
static int check_places(cursor *c, const dd_gguf *g) {
  const dd_gguf_pair *p = dd_gguf_find(g, "general.alignment");
  const uint64_t align = dd_gguf_number(p, DD_GGUF_ALIGN);
  uint64_t begin = (uint64_t)(c->p - g->header), bytes, end;
  if (!align || align > 1 << 20 || (align & (align - 1))) return fail(c, "the alignment is no power of two");
  dd_round_up_u64(begin, align, &begin);
  for (size_t i = 0; i < g->n_tensors; i++) {
    const dd_gguf_entry *t = g->tensors + i;
    if (t->offset % align || !bytes_of(t, &bytes) || !dd_add_u64(t->offset, bytes, &end) ||
        !dd_add_u64(end, begin, &end) || end > g->size)
      return fail(c, "a tensor is not within the file");
  }
  return 1;
}

static void parse(dd_gguf *g, cursor *c) {
  *c = (cursor){.p = g->header, .end = g->header + g->n};
  take(c, 4);
  const uint64_t version = number(c, 4), n_tensors = number(c, 8), n_pairs = number(c, 8);
  if (c->short_) return;
  if (version != 2 && version != 3) {
    fail(c, version >> 16 ? "it was written on a machine of another byte order" : "its version is neither 2 nor 3");
    return;
  }
  if (n_tensors > DD_GGUF_MAX_TENSORS || n_pairs > DD_GGUF_MAX_PAIRS || n_tensors > g->size / 24 ||
      n_pairs > g->size / 12) {
    fail(c, "it counts more entries than it can hold");
    return;
  }
  free(g->pairs);
  free(g->tensors);
  g->pairs = calloc((size_t)n_pairs + 1, sizeof *g->pairs);
  g->tensors = calloc((size_t)n_tensors + 1, sizeof *g->tensors);
  g->n_pairs = g->n_tensors = 0;
  if (!g->pairs || !g->tensors) {
    fail(c, "");
    return;
  }
  for (; g->n_pairs < n_pairs; g->n_pairs++)
    if (!read_pair(c, g->pairs + g->n_pairs)) return;
  for (; g->n_tensors < n_tensors; g->n_tensors++)
    if (!read_tensor(c, g->tensors + g->n_tensors)) return;
  check_places(c, g);
}

/* The header has no length: read a piece, and a larger one when it was too short. */
static int read_header(dd_gguf *g, int fd, const char *path, dd_error *err) {
  cursor c;
  for (size_t part = 1 << 16;; part *= 8) {
    if (part > DD_GGUF_MAX_HEADER) part = DD_GGUF_MAX_HEADER;
    g->n = g->size < part ? (size_t)g->size : part;
    free(g->header);
    g->header = malloc(g->n + 1);
    if (!g->header) return dd_fail(err, DD_E_RUNTIME, "out of memory while reading %.600s", path);
    const int rc = dd_file_pread_all(fd, path, g->header, g->n, 0, err);
    if (rc) return rc;
    if (!dd_gguf_is(g->header, g->n))
      return dd_fail(err, DD_E_CORRUPT, "%.600s does not begin like a GGUF file", path);
    parse(g, &c);
    if (c.bad && !*c.bad) return dd_fail(err, DD_E_RUNTIME, "out of memory while reading %.600s", path);
    if (c.bad) return dd_fail(err, DD_E_CORRUPT, "%.600s is damaged: %s; export or fetch it again", path, c.bad);
    if (!c.short_) return DD_OK;
    if (g->n == g->size) return dd_fail(err, DD_E_CORRUPT, "%.600s is cut off; export or fetch it again", path);
    if (part == DD_GGUF_MAX_HEADER)
      return dd_fail(err, DD_E_CORRUPT, "%.600s has a header of more than %d MB", path, DD_GGUF_MAX_HEADER >> 20);
  }
}

int dd_gguf_is(const unsigned char *head, size_t n) { return n >= 4 && !memcmp(head, "GGUF", 4); }

int dd_gguf_open(const char *path, dd_gguf **out, dd_error *err) {
  struct stat st;
  *out = NULL;
  const int fd = dd_fs()->open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
  if (fd < 0) return dd_fail(err, DD_E_IO, "cannot open %.600s: %s", path, strerror(errno));
  dd_gguf *g = calloc(1, sizeof *g);
  int rc = g ? DD_OK : dd_fail(err, DD_E_RUNTIME, "out of memory while opening %.600s", path);
  if (!rc && dd_fs()->fstat(fd, &st)) rc = dd_fail(err, DD_E_IO, "cannot read %.600s: %s", path, strerror(errno));
  if (!rc && !S_ISREG(st.st_mode)) rc = dd_fail(err, DD_E_IO, "cannot read %.600s: it is not a regular file", path);
  if (!rc) {
    g->size = (uint64_t)st.st_size;
    rc = read_header(g, fd, path, err);
  }
  dd_fs()->close(fd);
  if (rc) dd_gguf_close(g);
  else *out = g;
  return rc;
}

void dd_gguf_close(dd_gguf *g) {
  if (!g) return;
  free(g->header);
  free(g->pairs);
  free(g->tensors);
  free(g);
}

size_t dd_gguf_pair_count(const dd_gguf *g) { return g->n_pairs; }
const dd_gguf_pair *dd_gguf_pair_at(const dd_gguf *g, size_t i) { return i < g->n_pairs ? g->pairs + i : NULL; }
size_t dd_gguf_tensor_count(const dd_gguf *g) { return g->n_tensors; }
const dd_gguf_entry *dd_gguf_tensor_at(const dd_gguf *g, size_t i) { return i < g->n_tensors ? g->tensors + i : NULL; }

const dd_gguf_pair *dd_gguf_find(const dd_gguf *g, const char *key) {
  for (size_t i = 0; i < g->n_pairs; i++)
    if (g->pairs[i].key_n == strlen(key) && !memcmp(g->pairs[i].key, key, strlen(key))) return g->pairs + i;
  return NULL;
}

void dd_gguf_text(const dd_gguf_pair *p, char *out, size_t size) {
  *out = '\0';
  if (!p || p->type != DD_GGUF_STRING) return;
  const size_t n = p->bytes - 8 < size - 1 ? p->bytes - 8 : size - 1;
  for (size_t i = 0; i < n; i++) out[i] = p->value[8 + i] >= 32 && p->value[8 + i] < 127 ? (char)p->value[8 + i] : '?';
  out[n] = '\0';
}

uint64_t dd_gguf_number(const dd_gguf_pair *p, uint64_t otherwise) {
  if (!p || p->type == DD_GGUF_F32 || p->type == DD_GGUF_F64 || p->type == DD_GGUF_STRING || p->type == DD_GGUF_ARRAY)
    return otherwise;
  return dd_load_le(p->value, sizes[p->type]);
}

const char *dd_gguf_tensor_type(uint32_t type) {
  static const char *const names[] = {"F32", "F16", "Q4_0", "Q4_1", NULL, NULL, "Q5_0", "Q5_1", "Q8_0", "Q8_1", "Q2_K",
                                      "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_K"};
  if (type == 30) return "BF16";
  return type < sizeof names / sizeof *names && names[type] ? names[type] : "?";
}
