#include "formats/zip.h"
#include <string.h>

/* Eight tables, so that eight bytes are taken at once (Kounavis and Berry 2005). */
static void make_tables(uint32_t table[8][256]) {
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t c = i;
    for (int k = 0; k < 8; k++) c = c & 1 ? c >> 1 ^ 0xEDB88320u : c >> 1;
    table[0][i] = c;
  }
  for (int t = 1; t < 8; t++)
    for (int i = 0; i < 256; i++) table[t][i] = table[t - 1][i] >> 8 ^ table[0][table[t - 1][i] & 255];
}

uint32_t dd_crc32(uint32_t crc, const void *data, size_t n) {
  const unsigned char *p = data;
  uint32_t table[8][256]; /* made in some microseconds: no state outside of calls */
  make_tables(table);
  crc = ~crc;
  for (; n >= 8; n -= 8, p += 8) {
    const uint64_t v = dd_load_le(p, 8) ^ crc;
    crc = 0;
    for (int t = 0; t < 8; t++) crc ^= table[7 - t][v >> 8 * t & 255];
  }
  for (; n; n--, p++) crc = crc >> 8 ^ table[0][(crc ^ *p) & 255];
  return ~crc;
}

enum { DATE = 1 << 5 | 1 }; /* 1 January 1980: the same weights make the same file at any time */

static uint32_t cut(uint64_t v) { return v < UINT32_MAX ? (uint32_t)v : UINT32_MAX; }

/* What the head of an entry and its place in the directory share. */
static void put_fields(dd_bytes *b, uint32_t crc, uint64_t n, size_t name, size_t extra, int wide) {
  dd_bytes_u16(b, wide ? 45 : 20); /* version needed */
  dd_bytes_u16(b, 0);              /* flags */
  dd_bytes_u16(b, 0);              /* stored */
  dd_bytes_u16(b, 0);              /* time */
  dd_bytes_u16(b, DATE);
  dd_bytes_u32(b, crc);
  dd_bytes_u32(b, cut(n));
  dd_bytes_u32(b, cut(n));
  dd_bytes_u16(b, (unsigned)name);
  dd_bytes_u16(b, (unsigned)extra);
}

int dd_zip_begin(dd_zip_writer *w, const char *path, uint64_t expected_bytes, dd_error *err) {
  *w = (dd_zip_writer){0};
  return dd_atomic_begin(&w->a, path, expected_bytes, err);
}

int dd_zip_add(dd_zip_writer *w, const char *name, const void *data, uint64_t n, dd_error *err) {
  const size_t length = strlen(name);
  const int wide_size = n >= UINT32_MAX, wide = wide_size || w->at >= UINT32_MAX;
  const uint32_t crc = dd_crc32(0, data, (size_t)n);
  const uint64_t begin = w->at;
  dd_bytes h = {0};
  /* The gap before the data is an extra field, as torch has it. */
  const uint64_t plain = w->at + 30 + length + (wide_size ? 20 : 0) + 4;
  const size_t gap = (size_t)((DD_ZIP_ALIGN - plain % DD_ZIP_ALIGN) % DD_ZIP_ALIGN);
  dd_bytes_u32(&h, 0x04034b50);
  put_fields(&h, crc, n, length, (wide_size ? 20 : 0) + 4 + gap, wide);
  dd_bytes_put(&h, name, length);
  if (wide_size) {
    dd_bytes_u16(&h, 1);
    dd_bytes_u16(&h, 16);
    dd_bytes_u64(&h, n);
    dd_bytes_u64(&h, n);
  }
  dd_bytes_text(&h, "FB");
  dd_bytes_u16(&h, (unsigned)gap);
  for (size_t i = 0; i < gap; i++) dd_bytes_u8(&h, 'Z');

  dd_bytes *c = &w->central;
  const unsigned more = (wide_size ? 16 : 0) + (begin >= UINT32_MAX ? 8 : 0);
  dd_bytes_u32(c, 0x02014b50);
  dd_bytes_u16(c, 45); /* made by */
  put_fields(c, crc, n, length, more ? 4 + more : 0, wide);
  dd_bytes_u16(c, 0); /* comment */
  dd_bytes_u16(c, 0); /* disk */
  dd_bytes_u16(c, 0);
  dd_bytes_u32(c, 0); /* attributes */
  dd_bytes_u32(c, cut(begin));
  dd_bytes_put(c, name, length);
  if (more) {
    dd_bytes_u16(c, 1);
    dd_bytes_u16(c, more);
    if (wide_size) dd_bytes_u64(c, n), dd_bytes_u64(c, n);
    if (begin >= UINT32_MAX) dd_bytes_u64(c, begin);
  }
  int rc = h.failed || c->failed ? dd_fail(err, DD_E_RUNTIME, "out of memory while writing %.600s", w->a.path)
                                 : dd_atomic_write(&w->a, h.data, h.n, err);
  if (!rc) rc = dd_atomic_write(&w->a, data, (size_t)n, err);
  w->at += h.n + n;
  w->entries++;
  dd_bytes_free(&h);
  return rc;
}

int dd_zip_commit(dd_zip_writer *w, dd_error *err) {
  dd_bytes *c = &w->central;
  const uint64_t size = c->n, end = w->at + size;
  if (w->entries >= 0xFFFF || w->at >= UINT32_MAX || size >= UINT32_MAX) { /* the directory's place in 64 bits */
    dd_bytes_u32(c, 0x06064b50);
    dd_bytes_u64(c, 44);
    dd_bytes_u16(c, 45);
    dd_bytes_u16(c, 45);
    dd_bytes_u32(c, 0);
    dd_bytes_u32(c, 0);
    dd_bytes_u64(c, w->entries);
    dd_bytes_u64(c, w->entries);
    dd_bytes_u64(c, size);
    dd_bytes_u64(c, w->at);
    dd_bytes_u32(c, 0x07064b50);
    dd_bytes_u32(c, 0);
    dd_bytes_u64(c, end);
    dd_bytes_u32(c, 1);
  }
  const unsigned n = w->entries < 0xFFFF ? (unsigned)w->entries : 0xFFFF;
  dd_bytes_u32(c, 0x06054b50);
  dd_bytes_u32(c, 0);
  dd_bytes_u16(c, n);
  dd_bytes_u16(c, n);
  dd_bytes_u32(c, cut(size));
  dd_bytes_u32(c, cut(w->at));
  dd_bytes_u16(c, 0);
  int rc = c->failed ? dd_fail(err, DD_E_RUNTIME, "out of memory while writing %.600s", w->a.path)
                     : dd_atomic_write(&w->a, c->data, c->n, err);
  dd_bytes_free(c);
  if (!rc) return dd_atomic_commit(&w->a, err);
  dd_atomic_abort(&w->a);
  return rc;
}

void dd_zip_abort(dd_zip_writer *w) {
  dd_bytes_free(&w->central);
  dd_atomic_abort(&w->a);
}
