#include "model/safetensors.h"
#include "core/checked.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/json.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "safetensors holds little-endian numbers, and this code copies them as they are"
#endif

#define METADATA "__metadata__"
#define KEY_HEADER "header_xxh3"
#define KEY_TENSORS "tensors_xxh3"
#define HEX 32 /* digits of a hash */
/* Our headers begin with exactly these bytes, so that the 32 digits that follow have one place in the file. */
static const char own_prefix[] = "{\"" METADATA "\":{\"" KEY_HEADER "\":\"";
#define DIGITS_AT (8 + sizeof own_prefix - 1)

#define REMEDY "restore it from a copy or use another checkpoint"

/* ---- types and sizes ---- */

static const struct {
  const char *name;
  size_t size;
} dtypes[DD_DTYPES] = {
    [DD_F32] = {"F32", 4}, [DD_I32] = {"I32", 4}, [DD_F64] = {"F64", 8}, [DD_U8] = {"U8", 1},   [DD_I64] = {"I64", 8},
    [DD_U16] = {"U16", 2}, [DD_I8] = {"I8", 1},   [DD_I16] = {"I16", 2}, [DD_U32] = {"U32", 4}, [DD_U64] = {"U64", 8},
    [DD_F16] = {"F16", 2}, [DD_BF16] = {"BF16", 2}, [DD_BOOL] = {"BOOL", 1},
};

size_t dd_dtype_size(dd_dtype t) { return (unsigned)t < DD_DTYPES ? dtypes[t].size : 0; }
const char *dd_dtype_name(dd_dtype t) { return (unsigned)t < DD_DTYPES ? dtypes[t].name : "?"; }

static int dtype_of(const char *name, dd_dtype *out) {
  for (int i = 0; i < DD_DTYPES; i++)
    if (strcmp(dtypes[i].name, name) == 0) {
      *out = (dd_dtype)i;
      return 1;
    }
  return 0;
}

int dd_tensor_bytes(const dd_tensor_info *t, uint64_t *bytes) {
  uint64_t product = dd_dtype_size(t->dtype);
  if (product == 0 || t->ndim < 0 || t->ndim > DD_ST_MAX_DIMS) return 0;
  for (int i = 0; i < t->ndim; i++)
    if (t->shape[i] < 0 || !dd_mul_u64(product, (uint64_t)t->shape[i], &product)) return 0;
  *bytes = product;
  return 1;
}

/* Names end up in messages and on terminals: no control characters (C0, DEL, and C1, which UTF-8 writes C2 80..9F). */
static int name_is_sane(const char *name) {
  size_t n = 0;
  for (const unsigned char *p = (const unsigned char *)name; *p; p++, n++)
    if (*p < 0x20 || *p == 0x7f || (*p == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f)) return 0;
  return n > 0 && n <= DD_ST_MAX_NAME && strcmp(name, METADATA) != 0 && dd_utf8_valid(name, n);
}

/* Hostile text made fit for a message. */
typedef struct shown {
  char text[81];
} shown;
static shown show(const char *s) {
  shown r;
  size_t n = 0;
  for (; *s && n < sizeof r.text - 1; s++) r.text[n++] = *s >= 0x20 && *s < 0x7f ? *s : '?';
  r.text[n] = '\0';
  return r;
}

static void store_le64(unsigned char *p, uint64_t v) {
  for (int i = 0; i < 8; i++) p[i] = (unsigned char)(v >> 8 * i);
}

static uint64_t load_le64(const unsigned char *p) {
  uint64_t v = 0;
  for (int i = 0; i < 8; i++) v |= (uint64_t)p[i] << 8 * i;
  return v;
}

/* ---- writer ---- */

/* Object for one tensor; *at is where its bytes begin and moves behind them. */
static json_t *describe(const dd_tensor_info *t, uint64_t *at, dd_error *err) {
  uint64_t bytes, end;
  if (!t->name || !name_is_sane(t->name)) {
    dd_fail(err, DD_E_USAGE, "\"%s\" cannot be the name of a tensor", show(t->name ? t->name : "").text);
    return NULL;
  }
  if (!dd_tensor_bytes(t, &bytes) || !dd_add_u64(*at, bytes, &end) || end > INT64_MAX / 2 || (bytes && !t->data)) {
    dd_fail(err, DD_E_USAGE, "tensor %s cannot be written: type, shape or data is not valid", show(t->name).text);
    return NULL;
  }
  json_t *shape = json_array();
  for (int i = 0; i < t->ndim; i++)
    if (json_array_append_new(shape, json_integer(t->shape[i])) != 0) {
      json_decref(shape);
      shape = NULL;
    }
  json_t *o = json_pack("{s:s, s:o, s:[I,I]}", "dtype", dd_dtype_name(t->dtype), "shape", shape, "data_offsets",
                        (json_int_t)*at, (json_int_t)end); /* takes over shape, also when it fails */
  if (!o) dd_fail(err, DD_E_RUNTIME, "out of memory while writing a header of tensors");
  *at = end;
  return o;
}

static int add_metadata(json_t *meta, const json_t *from, dd_error *err) {
  const char *key;
  json_t *value;
  if (from && !json_is_object(from)) return dd_fail(err, DD_E_USAGE, "metadata of tensors must be a JSON object");
  json_object_foreach((json_t *)from, key, value) { /* NULL has no members */
    if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value))
      return dd_fail(err, DD_E_USAGE, "metadata \"%s\" of tensors must be a string", show(key).text);
    if (json_object_get(meta, key))
      return dd_fail(err, DD_E_USAGE, "metadata \"%s\" is reserved for the hashes of the file", show(key).text);
    if (json_object_set(meta, key, value) != 0)
      return dd_fail(err, DD_E_RUNTIME, "out of memory while writing a header of tensors");
  }
  return DD_OK;
}

/* The tree of the header, hashes still '0' digits. */
static json_t *header_tree(const dd_tensor_info *t, size_t n, const json_t *metadata, uint64_t *data_bytes,
                           dd_error *err) {
  json_t *root = json_object(), *meta = json_object();
  char *zeros = malloc(n * HEX + HEX + 1);
  int ok = root && meta && zeros;
  if (ok) {
    memset(zeros, '0', n * HEX + HEX);
    ok = json_object_set_new(meta, KEY_HEADER, json_stringn(zeros, HEX)) == 0 &&
         json_object_set_new(meta, KEY_TENSORS, json_stringn(zeros, n * HEX)) == 0 &&
         json_object_set(root, METADATA, meta) == 0;
  }
  free(zeros);
  if (!ok)
    dd_fail(err, DD_E_RUNTIME, "out of memory while writing a header of tensors");
  else
    ok = add_metadata(meta, metadata, err) == DD_OK;
  *data_bytes = 0;
  for (size_t i = 0; ok && i < n; i++) {
    json_t *o = describe(&t[i], data_bytes, err);
    ok = o != NULL;
    if (ok && json_object_get(root, t[i].name)) {
      ok = 0;
      json_decref(o);
      dd_fail(err, DD_E_USAGE, "tensor %s is to be written twice", show(t[i].name).text);
    } else if (ok && json_object_set_new(root, t[i].name, o) != 0) {
      ok = 0;
      dd_fail(err, DD_E_RUNTIME, "out of memory while writing a header of tensors");
    }
  }
  json_decref(meta);
  if (ok) return root;
  json_decref(root);
  return NULL;
}

/* Length and text of the header, padded with spaces so that the data is aligned; *size counts the length field too. */
static int build_header(const dd_tensor_info *t, size_t n, const json_t *metadata, unsigned char **out, size_t *size,
                        uint64_t *data_bytes, dd_error *err) {
  dd_error why = {.code = DD_E_RUNTIME};
  if (n > DD_ST_MAX_TENSORS)
    return dd_fail(err, DD_E_USAGE, "a file can hold %u tensors, not %zu", DD_ST_MAX_TENSORS, n);
  if (json_object_size(metadata) > DD_ST_MAX_TENSORS - 2)
    return dd_fail(err, DD_E_USAGE, "a file can hold %u metadata entries", DD_ST_MAX_TENSORS - 2);
  json_t *root = header_tree(t, n, metadata, data_bytes, &why);
  if (!root) return dd_fail(err, why.code, "%s", why.message);
  const size_t len = json_dumpb(root, NULL, 0, JSON_COMPACT);
  const size_t total = (8 + len + DD_ST_ALIGN - 1) / DD_ST_ALIGN * DD_ST_ALIGN;
  unsigned char *buf = len > 0 && total - 8 <= DD_ST_MAX_HEADER ? malloc(total) : NULL;
  if (buf) {
    store_le64(buf, total - 8);
    memset(buf + 8, ' ', total - 8);
    if (json_dumpb(root, (char *)buf + 8, len, JSON_COMPACT) != len) { /* no memory, this time */
      free(buf);
      buf = NULL;
    }
  }
  json_decref(root);
  if (!buf && len > 0 && total - 8 > DD_ST_MAX_HEADER)
    return dd_fail(err, DD_E_USAGE, "names and metadata of the tensors need %zu bytes, more than %u", len,
                   DD_ST_MAX_HEADER);
  if (!buf) return dd_fail(err, DD_E_RUNTIME, "out of memory while writing a header of tensors");
  *out = buf;
  *size = total;
  return DD_OK;
}

uint64_t dd_st_size(const dd_tensor_info *t, size_t n, const json_t *metadata) {
  unsigned char *header;
  size_t size;
  uint64_t bytes;
  if (build_header(t, n, metadata, &header, &size, &bytes, NULL) != DD_OK) return 0;
  free(header);
  return size + bytes;
}

int dd_st_write(const char *path, const dd_tensor_info *t, size_t n, const json_t *metadata, dd_error *err) {
  static const char between[] = "\",\"" KEY_TENSORS "\":\"";
  unsigned char *header;
  size_t size;
  uint64_t bytes = 0;
  int rc = build_header(t, n, metadata, &header, &size, &bytes, err);
  if (rc != DD_OK) return rc;
  char *digits = (char *)header + DIGITS_AT, *p = digits + HEX + sizeof between - 1, hex[HEX + 1];
  for (size_t i = 0; i < n; i++, p += HEX) {
    uint64_t each = 0;
    dd_tensor_bytes(&t[i], &each);
    dd_hash_hex(t[i].data, (size_t)each, hex);
    memcpy(p, hex, HEX);
  }
  dd_hash_hex(header, size, hex);
  memcpy(digits, hex, HEX);

  dd_atomic a;
  rc = dd_atomic_begin(&a, path, size + bytes, err);
  if (rc == DD_OK) rc = dd_atomic_write(&a, header, size, err);
  for (size_t i = 0; rc == DD_OK && i < n; i++) {
    uint64_t each = 0;
    dd_tensor_bytes(&t[i], &each);
    rc = dd_atomic_write(&a, t[i].data, (size_t)each, err);
  }
  free(header);
  if (rc == DD_OK) return dd_atomic_commit(&a, err);
  dd_atomic_abort(&a);
  return rc;
}

/* ---- reader ---- */

struct dd_st {
  int fd;
  char *path;
  uint64_t data_at, data_bytes;
  dd_tensor_info *t; /* sorted by offset; the names are keys of root */
  size_t n;
  json_t *root; /* name -> index into t; METADATA -> its object */
  json_t *meta;
  char *hashes; /* HEX digits per tensor; NULL in foreign files */
};

static int corrupt(const dd_st *st, dd_error *err, const char *what, const char *name) {
  if (!name) return dd_fail(err, DD_E_CORRUPT, "%.600s is damaged: %s; " REMEDY, st->path, what);
  return dd_fail(err, DD_E_CORRUPT, "%.600s is damaged: tensor %s %s; " REMEDY, st->path, show(name).text, what);
}

/* What jansson would allocate for a hostile header is far more than its bytes, so nesting and number of elements are
 * limited before it sees the text. A valid header has depth 3 and at most 7 commas per tensor. */
static const char *scan_header(const char *p, size_t n) {
  size_t commas = 0, members = 0;
  int depth = 0;
  for (size_t i = 0; i < n; i++) {
    switch (p[i]) {
    case '"':
      for (i++; i < n && p[i] != '"'; i++) i += p[i] == '\\';
      break;
    case '{':
    case '[':
      if (++depth > 3) return "its header is nested too deeply";
      break;
    case '}':
    case ']': depth--; break;
    case ',':
      if (depth == 1 && ++members > DD_ST_MAX_TENSORS) return "its header lists too many tensors";
      if (++commas > 8u * DD_ST_MAX_TENSORS) return "its header has too many elements";
      break;
    default: break;
    }
  }
  return NULL;
}

/* Hash of the header, with its own digits taken as '0'. Returns 0 only when the header has one that does not fit. */
static int header_hash_fits(unsigned char *header, size_t size, int *has_hash) {
  char want[HEX], hex[HEX + 1];
  *has_hash = size >= DIGITS_AT + HEX && memcmp(header + 8, own_prefix, sizeof own_prefix - 1) == 0;
  if (!*has_hash) return 1;
  memcpy(want, header + DIGITS_AT, HEX);
  memset(header + DIGITS_AT, '0', HEX);
  dd_hash_hex(header, size, hex);
  memcpy(header + DIGITS_AT, want, HEX);
  return memcmp(want, hex, HEX) == 0;
}

static int parse_header(dd_st *st, const char *text, size_t n, dd_error *err) {
  const char *bad = n < 2 || text[0] != '{' ? "its header does not begin with {" : scan_header(text, n);
  if (bad) return corrupt(st, err, bad, NULL);
  dd_json_fault fault;
  const int rc = dd_json_parse(text, n, SIZE_MAX, &st->root, &fault);
  if (rc == DD_OK) return DD_OK;
  if (rc == DD_E_RUNTIME) return dd_fail(err, DD_E_RUNTIME, "out of memory while reading %.600s", st->path);
  char what[80];
  snprintf(what, sizeof what, "its header %s (byte %zu)", fault.what, fault.byte);
  return corrupt(st, err, what, NULL);
}

static int parse_metadata(dd_st *st, int has_hash, dd_error *err) {
  json_t *meta = json_object_get(st->root, METADATA), *value;
  const char *key;
  if (!meta) {
    meta = json_object();
    if (!meta || json_object_set_new(st->root, METADATA, meta) != 0)
      return dd_fail(err, DD_E_RUNTIME, "out of memory while reading %.600s", st->path);
  }
  if (!json_is_object(meta)) return corrupt(st, err, "its " METADATA " is not an object", NULL);
  json_object_foreach(meta, key, value)
    if (!json_is_string(value)) return corrupt(st, err, "its " METADATA " holds something that is no string", NULL);
  st->meta = meta;
  const json_t *hashes = json_object_get(meta, KEY_TENSORS);
  /* One changed byte can hide one of the two keys but not both: a file with either must satisfy both. */
  if (!has_hash && !hashes && !json_object_get(meta, KEY_HEADER)) return DD_OK;
  if (!has_hash || !hashes || json_string_length(hashes) != st->n * HEX)
    return corrupt(st, err, "the hashes in its header are incomplete (or another tool rewrote it)", NULL);
  st->hashes = strdup(json_string_value(hashes));
  if (!st->hashes) return dd_fail(err, DD_E_RUNTIME, "out of memory while reading %.600s", st->path);
  json_object_del(meta, KEY_HEADER);
  json_object_del(meta, KEY_TENSORS);
  return DD_OK;
}

static int parse_offsets(const json_t *offsets, dd_tensor_info *t) {
  if (json_array_size(offsets) != 2) return 0;
  const json_t *b = json_array_get(offsets, 0), *e = json_array_get(offsets, 1);
  if (!json_is_integer(b) || !json_is_integer(e)) return 0;
  if (json_integer_value(b) < 0 || json_integer_value(e) < json_integer_value(b)) return 0;
  t->begin = (uint64_t)json_integer_value(b);
  t->end = (uint64_t)json_integer_value(e);
  return 1;
}

static int parse_tensor(const dd_st *st, const char *name, const json_t *o, dd_tensor_info *t, dd_error *err) {
  *t = (dd_tensor_info){.name = name};
  if (!name_is_sane(name)) return corrupt(st, err, "has no usable name", name);
  const json_t *dtype = json_object_get(o, "dtype"), *shape = json_object_get(o, "shape");
  if (json_object_size(o) != 3 || !json_is_string(dtype) || !json_is_array(shape))
    return corrupt(st, err, "is not described by dtype, shape and data_offsets", name);
  if (!dtype_of(json_string_value(dtype), &t->dtype)) return corrupt(st, err, "has an unknown dtype", name);
  if (json_array_size(shape) > DD_ST_MAX_DIMS) return corrupt(st, err, "has more than 4 dimensions", name);
  t->ndim = (int)json_array_size(shape);
  for (int i = 0; i < t->ndim; i++) {
    const json_t *d = json_array_get(shape, (size_t)i);
    if (!json_is_integer(d) || json_integer_value(d) < 0)
      return corrupt(st, err, "has a dimension that is no count", name);
    t->shape[i] = json_integer_value(d);
  }
  uint64_t bytes;
  if (!parse_offsets(json_object_get(o, "data_offsets"), t))
    return corrupt(st, err, "has data_offsets that are no range", name);
  if (!dd_tensor_bytes(t, &bytes) || bytes != t->end - t->begin)
    return corrupt(st, err, "has a shape that does not fit its data_offsets", name);
  return DD_OK;
}

static int before(const dd_tensor_info *a, const dd_tensor_info *b) {
  return a->begin != b->begin ? a->begin < b->begin : a->end < b->end;
}

static int compare(const void *pa, const void *pb) {
  const dd_tensor_info *a = pa, *b = pb;
  return before(a, b) ? -1 : before(b, a) ? 1 : strcmp(a->name, b->name);
}

/* Tensors must follow each other from the first byte of the data to the last. */
static int check_layout(dd_st *st, dd_error *err) {
  int sorted = 1;
  for (size_t i = 1; i < st->n && sorted; i++) sorted = !before(&st->t[i], &st->t[i - 1]);
  if (!sorted) qsort(st->t, st->n, sizeof *st->t, compare);
  uint64_t at = 0;
  for (size_t i = 0; i < st->n; i++) {
    if (st->t[i].begin != at)
      return corrupt(st, err, st->t[i].begin < at ? "overlaps the one before it" : "follows a gap", st->t[i].name);
    at = st->t[i].end;
  }
  if (at == st->data_bytes) return DD_OK;
  char what[120];
  snprintf(what, sizeof what, "it holds %llu bytes of tensors where its header says %llu%s",
           (unsigned long long)st->data_bytes, (unsigned long long)at, at > st->data_bytes ? " (truncated?)" : "");
  return corrupt(st, err, what, NULL);
}

static int parse_tensors(dd_st *st, dd_error *err) {
  const char *name;
  json_t *value;
  st->t = calloc(st->n + 1, sizeof *st->t);
  if (!st->t) return dd_fail(err, DD_E_RUNTIME, "out of memory while reading %.600s", st->path);
  size_t i = 0;
  int rc = DD_OK;
  json_object_foreach(st->root, name, value) {
    if (value == st->meta) continue;
    rc = parse_tensor(st, name, value, &st->t[i++], err);
    if (rc != DD_OK) return rc;
  }
  rc = check_layout(st, err);
  /* root becomes the index: replacing a value keeps its key, to which t[i].name points */
  for (i = 0; rc == DD_OK && i < st->n; i++)
    if (json_object_set_new(st->root, st->t[i].name, json_integer((json_int_t)i)) != 0)
      rc = dd_fail(err, DD_E_RUNTIME, "out of memory while reading %.600s", st->path);
  return rc;
}

static int read_header(dd_st *st, dd_error *err) {
  struct stat info;
  if (dd_fs()->fstat(st->fd, &info) != 0)
    return dd_fail(err, DD_E_IO, "cannot inspect %.600s: %s", st->path, strerror(errno));
  if (!S_ISREG(info.st_mode))
    return dd_fail(err, DD_E_IO, "cannot read %.600s: it is %s", st->path,
                   S_ISDIR(info.st_mode) ? "a directory" : "not a regular file");
  const uint64_t file = info.st_size > 0 ? (uint64_t)info.st_size : 0;
  unsigned char length[8];
  if (file < 8) return corrupt(st, err, file ? "it is too short" : "it is empty", NULL);
  int rc = dd_file_pread_all(st->fd, st->path, length, sizeof length, 0, err);
  if (rc != DD_OK) return rc;
  const uint64_t n = load_le64(length);
  if (n > file - 8) return corrupt(st, err, "its header is longer than the file (truncated, or no safetensors)", NULL);
  if (n > DD_ST_MAX_HEADER) return corrupt(st, err, "its header is larger than the 16 MiB allowed", NULL);
  unsigned char *header = malloc((size_t)n + 8);
  if (!header) return dd_fail(err, DD_E_RUNTIME, "out of memory while reading %.600s", st->path);
  memcpy(header, length, 8);
  rc = dd_file_pread_all(st->fd, st->path, header + 8, (size_t)n, 8, err);
  st->data_at = 8 + n;
  st->data_bytes = file - st->data_at;
  int has_hash = 0;
  if (rc == DD_OK && !header_hash_fits(header, (size_t)n + 8, &has_hash))
    rc = corrupt(st, err, "its header does not match its hash", NULL);
  if (rc == DD_OK) rc = parse_header(st, (const char *)header + 8, (size_t)n, err);
  free(header);
  if (rc != DD_OK) return rc;
  st->n = json_object_size(st->root) - (json_object_get(st->root, METADATA) != NULL);
  rc = parse_metadata(st, has_hash, err);
  return rc == DD_OK ? parse_tensors(st, err) : rc;
}

int dd_st_open(const char *path, dd_st **out, dd_error *err) {
  *out = NULL;
  dd_st *st = calloc(1, sizeof *st);
  if (st) st->path = strdup(path);
  if (!st || !st->path) {
    free(st);
    return dd_fail(err, DD_E_RUNTIME, "out of memory while reading %.600s", path);
  }
  st->fd = dd_fs()->open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0); /* a FIFO would wait for a writer */
  const int rc = st->fd < 0 ? dd_fail(err, DD_E_IO, "cannot open %.600s: %s", path, strerror(errno))
                            : read_header(st, err);
  if (rc != DD_OK) {
    dd_st_close(st);
    return rc;
  }
  *out = st;
  return DD_OK;
}

void dd_st_close(dd_st *st) {
  if (!st) return;
  if (st->fd >= 0) dd_fs()->close(st->fd);
  json_decref(st->root);
  free(st->hashes);
  free(st->t);
  free(st->path);
  free(st);
}

int dd_st_is_foreign(const dd_st *st) { return st->hashes == NULL; }
size_t dd_st_count(const dd_st *st) { return st->n; }
const dd_tensor_info *dd_st_at(const dd_st *st, size_t i) { return i < st->n ? &st->t[i] : NULL; }
const json_t *dd_st_metadata(const dd_st *st) { return st->meta; }
const char *dd_st_meta(const dd_st *st, const char *key) { return json_string_value(json_object_get(st->meta, key)); }
const char *dd_st_path(const dd_st *st) { return st->path; }

const dd_tensor_info *dd_st_find(const dd_st *st, const char *name) {
  const json_t *i = json_object_get(st->root, name);
  return json_is_integer(i) ? &st->t[json_integer_value(i)] : NULL;
}

static int check_hash(const dd_st *st, size_t i, const char *hex, dd_error *err) {
  if (!st->hashes || memcmp(st->hashes + i * HEX, hex, HEX) == 0) return DD_OK;
  return corrupt(st, err, "does not match its hash", st->t[i].name);
}

int dd_st_read(dd_st *st, const dd_tensor_info *t, void *dst, size_t bytes, dd_error *err) {
  const size_t i = ((uintptr_t)t - (uintptr_t)st->t) / sizeof *t;
  if ((uintptr_t)t < (uintptr_t)st->t || i >= st->n || t != &st->t[i])
    return dd_fail(err, DD_E_USAGE, "%.600s has no such tensor", st->path);
  if (t->end - t->begin != bytes)
    return dd_fail(err, DD_E_CORRUPT, "tensor %s of %.600s has %llu bytes where this model needs %zu",
                   show(t->name).text, st->path, (unsigned long long)(t->end - t->begin), bytes);
  const int rc = dd_file_pread_all(st->fd, st->path, dst, bytes, (off_t)(st->data_at + t->begin), err);
  if (rc != DD_OK || !st->hashes) return rc;
  char hex[HEX + 1];
  dd_hash_hex(dst, bytes, hex);
  return check_hash(st, i, hex, err);
}

static int verify_one(dd_st *st, size_t i, unsigned char *buf, size_t size, dd_error *err) {
  const dd_tensor_info *t = &st->t[i];
  dd_hasher *h = dd_hasher_create();
  if (!h) return dd_fail(err, DD_E_RUNTIME, "out of memory while verifying %.600s", st->path);
  int rc = DD_OK;
  for (uint64_t at = t->begin; rc == DD_OK && at < t->end;) {
    const size_t part = t->end - at < size ? (size_t)(t->end - at) : size;
    rc = dd_file_pread_all(st->fd, st->path, buf, part, (off_t)(st->data_at + at), err);
    if (rc == DD_OK) dd_hasher_update(h, buf, part);
    at += part;
  }
  char hex[HEX + 1];
  dd_hasher_hex(h, hex);
  dd_hasher_destroy(h);
  return rc == DD_OK ? check_hash(st, i, hex, err) : rc;
}

int dd_st_verify(dd_st *st, dd_error *err) {
  const size_t size = (size_t)1 << 20;
  unsigned char *buf = malloc(size);
  if (!buf) return dd_fail(err, DD_E_RUNTIME, "out of memory while verifying %.600s", st->path);
  int rc = DD_OK;
  for (size_t i = 0; rc == DD_OK && i < st->n; i++) rc = verify_one(st, i, buf, size, err);
  free(buf);
  return rc;
}
