#include "formats/gguf.h"
#include "core/checked.h"
#include "core/file.h"
#include <string.h>

static void text(dd_bytes *b, const char *s, size_t n) {
  dd_bytes_u64(b, n);
  dd_bytes_put(b, s, n);
}

static void key(dd_gguf_pairs *p, const char *name, dd_gguf_type type) {
  text(&p->b, name, strlen(name));
  dd_bytes_u32(&p->b, type);
  p->n++;
}

void dd_gguf_u32(dd_gguf_pairs *p, const char *name, uint32_t v) {
  key(p, name, DD_GGUF_U32);
  dd_bytes_u32(&p->b, v);
}

void dd_gguf_f32(dd_gguf_pairs *p, const char *name, float v) {
  uint32_t bits;
  memcpy(&bits, &v, sizeof bits);
  key(p, name, DD_GGUF_F32);
  dd_bytes_u32(&p->b, bits);
}

void dd_gguf_bool(dd_gguf_pairs *p, const char *name, int v) {
  key(p, name, DD_GGUF_BOOL);
  dd_bytes_u8(&p->b, v != 0);
}

void dd_gguf_string(dd_gguf_pairs *p, const char *name, const char *v) {
  key(p, name, DD_GGUF_STRING);
  text(&p->b, v, strlen(v));
}

void dd_gguf_array(dd_gguf_pairs *p, const char *name, dd_gguf_type type, uint64_t count) {
  key(p, name, DD_GGUF_ARRAY);
  dd_bytes_u32(&p->b, type);
  dd_bytes_u64(&p->b, count);
}

void dd_gguf_element(dd_gguf_pairs *p, const char *s, size_t n) { text(&p->b, s, n); }

static uint64_t bytes_of(const dd_gguf_tensor *t) {
  return (uint64_t)t->rows * (uint64_t)(t->cols ? t->cols : 1) * sizeof *t->data;
}

int dd_gguf_write(const char *path, const dd_gguf_pairs *p, const dd_gguf_tensor *t, size_t n, dd_error *err) {
  static const unsigned char zeros[DD_GGUF_ALIGN];
  dd_bytes h = {0};
  uint64_t at = 0;
  dd_bytes_text(&h, "GGUF");
  dd_bytes_u32(&h, DD_GGUF_VERSION);
  dd_bytes_u64(&h, n);
  dd_bytes_u64(&h, p->n);
  dd_bytes_put(&h, p->b.data, p->b.n);
  for (size_t i = 0; i < n; i++) {
    text(&h, t[i].name, strlen(t[i].name));
    dd_bytes_u32(&h, t[i].cols ? 2 : 1);
    if (t[i].cols) dd_bytes_u64(&h, (uint64_t)t[i].cols);
    dd_bytes_u64(&h, (uint64_t)t[i].rows);
    dd_bytes_u32(&h, 0); /* F32 */
    dd_bytes_u64(&h, at);
    at += bytes_of(t + i);
    dd_round_up_u64(at, DD_GGUF_ALIGN, &at);
  }
  dd_bytes_align(&h, DD_GGUF_ALIGN);
  if (h.failed || p->b.failed) {
    dd_bytes_free(&h);
    return dd_fail(err, DD_E_RUNTIME, "out of memory while writing %.600s", path);
  }
  dd_atomic a;
  int rc = dd_atomic_begin(&a, path, h.n + at, err);
  if (!rc) rc = dd_atomic_write(&a, h.data, h.n, err);
  for (size_t i = 0; i < n && !rc; i++) {
    const uint64_t bytes = bytes_of(t + i);
    uint64_t end = bytes;
    dd_round_up_u64(bytes, DD_GGUF_ALIGN, &end);
    rc = dd_atomic_write(&a, t[i].data, (size_t)bytes, err);
    if (!rc && end > bytes) rc = dd_atomic_write(&a, zeros, (size_t)(end - bytes), err);
  }
  dd_bytes_free(&h);
  if (!rc) return dd_atomic_commit(&a, err);
  dd_atomic_abort(&a);
  return rc;
}
