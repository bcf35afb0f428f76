#include "formats/tfevents.h"
#include "core/file.h"
#include "formats/crc32c.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 }; /* wire types */
enum { DT_STRING = 7, STATUS_START = 1 };
enum { FRAME = 12, CRC = 4 }; /* bytes before and behind the data of a record */
#define RECORD_MOST ((uint64_t)64 << 20)

/* ---- writing ---- */

static void put(dd_tfevents *b, const void *bytes, size_t n) {
  if (b->failed || !n) return;
  if (b->room - b->n < n) {
    const size_t room = 2 * b->room + n + 256;
    unsigned char *more = realloc(b->data, room);
    if (!more) {
      b->failed = 1;
      return;
    }
    b->data = more;
    b->room = room;
  }
  memcpy(b->data + b->n, bytes, n);
  b->n += n;
}

static void store(unsigned char *p, uint64_t v, int bytes) {
  for (int i = 0; i < bytes; i++) p[i] = (unsigned char)(v >> 8 * i);
}

static void put_fixed(dd_tfevents *b, uint64_t v, int bytes) {
  unsigned char p[8];
  store(p, v, bytes);
  put(b, p, (size_t)bytes);
}

static void put_varint(dd_tfevents *b, uint64_t v) {
  unsigned char p[10];
  size_t n = 0;
  for (; v > 127; v >>= 7) p[n++] = (unsigned char)(v | 128);
  p[n++] = (unsigned char)v;
  put(b, p, n);
}

static void put_key(dd_tfevents *b, unsigned field, unsigned type) { put_varint(b, field << 3 | type); }

static void put_int(dd_tfevents *b, unsigned field, int64_t v) {
  put_key(b, field, VARINT);
  put_varint(b, (uint64_t)v);
}

static void put_double(dd_tfevents *b, unsigned field, double v) {
  uint64_t bits;
  memcpy(&bits, &v, sizeof bits);
  put_key(b, field, FIXED64);
  put_fixed(b, bits, 8);
}

static void put_bytes(dd_tfevents *b, unsigned field, const void *bytes, size_t n) {
  put_key(b, field, BYTES);
  put_varint(b, n);
  put(b, bytes, n);
}

static void put_text(dd_tfevents *b, unsigned field, const char *text) { put_bytes(b, field, text, strlen(text)); }

/* A message inside another one; its buffer is freed. */
static void put_message(dd_tfevents *b, unsigned field, dd_tfevents *inner) {
  b->failed |= inner->failed;
  put_bytes(b, field, inner->data, inner->n);
  free(inner->data);
  *inner = (dd_tfevents){0};
}

static dd_tfevents event(double wall, int64_t step) {
  dd_tfevents e = {0};
  put_double(&e, 1, wall);
  if (step) put_int(&e, 2, step);
  return e;
}

/* Frames the event as a record; all of it or nothing. */
static void put_record(dd_tfevents *out, dd_tfevents *e) {
  unsigned char head[FRAME], tail[CRC];
  const size_t before = out->n;
  store(head, e->n, 8);
  store(head + 8, dd_crc32c_masked(head, 8), 4);
  store(tail, dd_crc32c_masked(e->data, e->n), CRC);
  out->failed |= e->failed;
  put(out, head, sizeof head);
  put(out, e->data, e->n);
  put(out, tail, sizeof tail);
  if (out->failed) out->n = before;
  free(e->data);
  *e = (dd_tfevents){0};
}

void dd_tfevents_version(dd_tfevents *out, double wall) {
  dd_tfevents e = event(wall, 0);
  put_text(&e, 3, "brain.Event:2");
  put_record(out, &e);
}

void dd_tfevents_start(dd_tfevents *out, double wall, int64_t step) {
  dd_tfevents e = event(wall, step), log = {0};
  put_int(&log, 1, STATUS_START);
  put_message(&e, 7, &log);
  put_record(out, &e);
}

void dd_tfevents_scalars(dd_tfevents *out, double wall, int64_t step, const dd_tfscalar *scalars, int n) {
  dd_tfevents e = event(wall, step), summary = {0};
  for (int i = 0; i < n; i++) {
    dd_tfevents value = {0};
    uint32_t bits;
    memcpy(&bits, &scalars[i].value, sizeof bits);
    put_text(&value, 1, scalars[i].tag);
    put_key(&value, 2, FIXED32);
    put_fixed(&value, bits, 4);
    put_message(&summary, 1, &value);
  }
  put_message(&e, 5, &summary);
  put_record(out, &e);
}

/* metadata of a value: which plugin shows it, and what it reads. */
static void put_metadata(dd_tfevents *value, const char *plugin, dd_tfevents *content) {
  dd_tfevents data = {0}, metadata = {0};
  put_text(&data, 1, plugin);
  if (content) put_message(&data, 2, content);
  put_message(&metadata, 1, &data);
  put_message(value, 9, &metadata);
}

void dd_tfevents_text(dd_tfevents *out, double wall, int64_t step, const char *tag, const char *markdown) {
  dd_tfevents e = event(wall, step), summary = {0}, value = {0}, tensor = {0}, shape = {0}, size = {0};
  put_text(&value, 1, tag);
  put_int(&size, 1, 1);
  put_message(&shape, 2, &size);
  put_int(&tensor, 1, DT_STRING);
  put_message(&tensor, 2, &shape);
  put_text(&tensor, 8, markdown);
  put_message(&value, 8, &tensor);
  put_metadata(&value, "text", NULL);
  put_message(&summary, 1, &value);
  put_message(&e, 5, &summary);
  put_record(out, &e);
}

/* SessionStartInfo of the plugin hparams: 1 map of names to google.protobuf.Value {2 number, 3 string}, 4 group,
 * 5 start time. */
void dd_tfevents_hparams(dd_tfevents *out, double wall, const char *group, const dd_tfparam *params, int n) {
  dd_tfevents e = event(wall, 0), summary = {0}, value = {0}, info = {0}, content = {0};
  for (int i = 0; i < n; i++) {
    dd_tfevents entry = {0}, v = {0};
    if (params[i].text) put_text(&v, 3, params[i].text);
    else put_double(&v, 2, params[i].number);
    put_text(&entry, 1, params[i].name);
    put_message(&entry, 2, &v);
    put_message(&info, 1, &entry);
  }
  put_text(&info, 4, group);
  put_double(&info, 5, wall);
  put_message(&content, 3, &info);
  put_text(&value, 1, "_hparams_/session_start_info");
  put_metadata(&value, "hparams", &content);
  put_message(&summary, 1, &value);
  put_message(&e, 5, &summary);
  put_record(out, &e);
}

/* ---- reading ---- */

typedef struct span {
  const unsigned char *at, *end;
} span;

static uint64_t load(const unsigned char *p, int bytes) {
  uint64_t v = 0;
  for (int i = 0; i < bytes; i++) v |= (uint64_t)p[i] << 8 * i;
  return v;
}

static bool get_varint(span *s, uint64_t *out) {
  *out = 0;
  for (int shift = 0; shift < 64 && s->at < s->end; shift += 7) {
    *out |= (uint64_t)(*s->at & 127) << shift;
    if (!(*s->at++ & 128)) return true;
  }
  return false;
}

typedef struct field {
  unsigned number, type;
  uint64_t v; /* of numbers */
  span bytes; /* of BYTES */
} field;

/* The next field; false at the end, and when there is no whole one (then s is not at its end). */
static bool get_field(span *s, field *f) {
  const span before = *s;
  uint64_t key;
  *f = (field){0};
  if (s->at == s->end || !get_varint(s, &key) || key >> 3 == 0 || key >> 32) return *s = before, false;
  f->number = (unsigned)(key >> 3);
  f->type = key & 7;
  const size_t left = (size_t)(s->end - s->at), fixed = f->type == FIXED64 ? 8 : f->type == FIXED32 ? 4 : 0;
  if (fixed) {
    if (left < fixed) return *s = before, false;
    f->v = load(s->at, (int)fixed);
    s->at += fixed;
    return true;
  }
  if ((f->type != VARINT && f->type != BYTES) || !get_varint(s, &f->v)) return *s = before, false;
  if (f->type == VARINT) return true;
  if (f->v > (size_t)(s->end - s->at)) return *s = before, false;
  f->bytes = (span){s->at, s->at + f->v};
  s->at += f->v;
  return true;
}

/* Where events go. */
typedef struct sink {
  int (*take)(void *user, const dd_tfevent *e);
  void *user;
  int rc;
  char tag[512];
} sink;

static bool read_value(span s, dd_tfevent e, sink *to) {
  field f;
  e.tag = to->tag;
  to->tag[0] = '\0';
  while (get_field(&s, &f)) {
    if (f.number == 1 && f.type == BYTES) {
      const size_t n = (size_t)(f.bytes.end - f.bytes.at);
      if (n >= sizeof to->tag || memchr(f.bytes.at, 0, n)) return false;
      memcpy(to->tag, f.bytes.at, n);
      to->tag[n] = '\0';
    } else if (f.number == 2 && f.type == FIXED32) {
      const uint32_t bits = (uint32_t)f.v;
      memcpy(&e.value, &bits, sizeof e.value);
      e.is_scalar = true;
    }
  }
  if (s.at != s.end) return false;
  to->rc = to->take(to->user, &e);
  return true;
}

static bool read_event(span s, sink *to) {
  const span whole = s;
  dd_tfevent e = {0};
  field f, g;
  bool told = false;
  while (get_field(&s, &f)) { /* time and step may stand behind the values */
    if (f.number == 1 && f.type == FIXED64) memcpy(&e.wall, &f.v, sizeof e.wall);
    if (f.number == 2 && f.type == VARINT) e.step = (int64_t)f.v;
    if (f.number == 3 && f.type == BYTES) e.version = true;
    if (f.number == 7 && f.type == BYTES)
      for (span log = f.bytes; get_field(&log, &g);) e.start |= g.number == 1 && g.v == STATUS_START;
  }
  if (s.at != s.end) return false;
  for (s = whole; get_field(&s, &f);) {
    if (f.number != 5 || f.type != BYTES) continue;
    for (; get_field(&f.bytes, &g) && !to->rc; told = true)
      if (g.number == 1 && g.type == BYTES && !read_value(g.bytes, e, to)) return false;
    if (!to->rc && f.bytes.at != f.bytes.end) return false;
  }
  if (!told && !to->rc) to->rc = to->take(to->user, &e);
  return true;
}

static int damaged(const char *path, uint64_t at, const char *what, dd_error *err) {
  return dd_fail(err, DD_E_CORRUPT, "%.700s is damaged at byte %llu: %s; make it again from the run's metrics.jsonl",
                 path, (unsigned long long)at, what);
}

/* One record at *at. *buf grows as needed. */
static int read_record(int fd, const char *path, uint64_t size, dd_tfevents *buf, sink *to, dd_tfevents_end *end,
                       dd_error *err) {
  const uint64_t at = end->bytes;
  unsigned char head[FRAME];
  int rc;
  if (size - at < FRAME) return end->torn = true, DD_OK;
  if ((rc = dd_file_pread_all(fd, path, head, sizeof head, (off_t)at, err))) return rc;
  const uint64_t n = load(head, 8);
  if (load(head + 8, 4) != dd_crc32c_masked(head, 8)) {
    if (at) return damaged(path, at, "the checksum of a record's length is wrong", err);
    return dd_fail(err, DD_E_CORRUPT, "%.700s is no event file of TensorBoard: its first record has a wrong checksum",
                   path);
  }
  if (n > RECORD_MOST) return damaged(path, at, "a record is longer than 64 MB", err);
  if (size - at < FRAME + n + CRC) return end->torn = true, DD_OK;
  if (buf->room < n + CRC) {
    free(buf->data);
    buf->room = 0;
    buf->data = malloc(n + CRC);
    if (!buf->data) return dd_fail(err, DD_E_RUNTIME, "out of memory while reading %.700s", path);
    buf->room = n + CRC;
  }
  if ((rc = dd_file_pread_all(fd, path, buf->data, n + CRC, (off_t)(at + FRAME), err))) return rc;
  if (load(buf->data + n, CRC) != dd_crc32c_masked(buf->data, n))
    return damaged(path, at, "the checksum of a record is wrong", err);
  if (!read_event((span){buf->data, buf->data + n}, to)) return damaged(path, at, "a record is no event", err);
  end->records++;
  end->bytes += FRAME + n + CRC;
  return to->rc ? dd_fail(err, (dd_status)to->rc, "reading %.700s was ended", path) : DD_OK;
}

int dd_tfevents_read(const char *path, int (*take)(void *user, const dd_tfevent *e), void *user, dd_tfevents_end *end,
                     dd_error *err) {
  struct stat st;
  *end = (dd_tfevents_end){0};
  const int fd = dd_fs()->open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
  if (fd < 0) return dd_fail(err, DD_E_IO, "cannot open %.700s: %s", path, strerror(errno));
  sink to = {.take = take, .user = user};
  dd_tfevents buf = {0};
  int rc = DD_OK;
  if (dd_fs()->fstat(fd, &st) || !S_ISREG(st.st_mode))
    rc = dd_fail(err, DD_E_IO, "cannot read %.700s: it is no regular file", path);
  else
    while (!rc && !end->torn && end->bytes < (uint64_t)st.st_size)
      rc = read_record(fd, path, (uint64_t)st.st_size, &buf, &to, end, err);
  free(buf.data);
  dd_fs()->close(fd);
  return rc;
}
