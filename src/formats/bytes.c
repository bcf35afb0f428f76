#include "formats/bytes.h"
#include "core/checked.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int reserve(dd_bytes *b, size_t more) {
  size_t need, room = b->room ? b->room : 256;
  if (b->failed || !dd_add_size(b->n, more, &need)) return !(b->failed = 1);
  if (need <= b->room) return 1;
  while (room < need)
    if (!dd_mul_size(room, 2, &room)) return !(b->failed = 1);
  unsigned char *data = realloc(b->data, room);
  if (!data) return !(b->failed = 1);
  b->data = data;
  b->room = room;
  return 1;
}

void dd_bytes_put(dd_bytes *b, const void *data, size_t n) {
  if (!n || !reserve(b, n)) return;
  memcpy(b->data + b->n, data, n);
  b->n += n;
}

void dd_bytes_text(dd_bytes *b, const char *text) { dd_bytes_put(b, text, strlen(text)); }

void dd_bytes_printf(dd_bytes *b, const char *format, ...) {
  char text[512];
  va_list ap;
  va_start(ap, format);
  const int n = vsnprintf(text, sizeof text, format, ap);
  va_end(ap);
  if (n < 0 || (size_t)n >= sizeof text) b->failed = 1;
  else dd_bytes_put(b, text, (size_t)n);
}

static void put_le(dd_bytes *b, uint64_t v, int bytes) {
  unsigned char p[8];
  for (int i = 0; i < bytes; i++) p[i] = (unsigned char)(v >> 8 * i);
  dd_bytes_put(b, p, (size_t)bytes);
}

void dd_bytes_u8(dd_bytes *b, unsigned v) { put_le(b, v, 1); }
void dd_bytes_u16(dd_bytes *b, unsigned v) { put_le(b, v, 2); }
void dd_bytes_u32(dd_bytes *b, uint32_t v) { put_le(b, v, 4); }
void dd_bytes_u64(dd_bytes *b, uint64_t v) { put_le(b, v, 8); }

void dd_bytes_align(dd_bytes *b, size_t align) {
  while (b->n % align && !b->failed) dd_bytes_u8(b, 0);
}

void dd_bytes_free(dd_bytes *b) {
  free(b->data);
  *b = (dd_bytes){0};
}
