/* A buffer that grows: what the writers of foreign formats put their headers together in. Numbers are little-endian.
 * When memory runs out, `failed` is set and nothing more is added: look at it once, at the end. */
#ifndef DD_FORMATS_BYTES_H
#define DD_FORMATS_BYTES_H
#include "core/error.h"

typedef struct dd_bytes {
  unsigned char *data;
  size_t n, room;
  int failed;
} dd_bytes;

void dd_bytes_put(dd_bytes *b, const void *data, size_t n);
void dd_bytes_text(dd_bytes *b, const char *text); /* without its NUL */
void dd_bytes_printf(dd_bytes *b, const char *format, ...) DD_PRINTF(2, 3); /* at most 511 bytes */
void dd_bytes_u8(dd_bytes *b, unsigned v);
void dd_bytes_u16(dd_bytes *b, unsigned v);
void dd_bytes_u32(dd_bytes *b, uint32_t v);
void dd_bytes_u64(dd_bytes *b, uint64_t v);
/** Zero bytes up to a multiple of `align`. */
void dd_bytes_align(dd_bytes *b, size_t align);
void dd_bytes_free(dd_bytes *b); /* leaves an empty one */

/** Numbers in the files of others. */
static inline uint64_t dd_load_le(const unsigned char *p, int bytes) {
  uint64_t v = 0;
  for (int i = 0; i < bytes; i++) v |= (uint64_t)p[i] << 8 * i;
  return v;
}
#endif
