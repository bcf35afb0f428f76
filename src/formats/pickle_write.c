#include "formats/pickle_write.h"
#include <stdio.h>
#include <string.h>

void dd_pk_begin(dd_bytes *b) { dd_bytes_put(b, "\x80\x02", 2); }
void dd_pk_end(dd_bytes *b) { dd_bytes_u8(b, '.'); }
void dd_pk_none(dd_bytes *b) { dd_bytes_u8(b, 'N'); }
void dd_pk_bool(dd_bytes *b, int v) { dd_bytes_u8(b, v ? 0x88 : 0x89); }

void dd_pk_int(dd_bytes *b, int64_t v) {
  if (v >= 0 && v < 256) {
    dd_bytes_u8(b, 'K');
    dd_bytes_u8(b, (unsigned)v);
  } else if (v >= INT32_MIN && v <= INT32_MAX) {
    dd_bytes_u8(b, 'J');
    dd_bytes_u32(b, (uint32_t)(int32_t)v);
  } else {
    dd_bytes_put(b, "\x8a\x08", 2);
    dd_bytes_u64(b, (uint64_t)v);
  }
}

void dd_pk_real(dd_bytes *b, double v) {
  uint64_t bits;
  memcpy(&bits, &v, sizeof bits);
  dd_bytes_u8(b, 'G');
  for (int i = 7; i >= 0; i--) dd_bytes_u8(b, bits >> 8 * i & 255); /* the one big-endian number */
}

void dd_pk_text(dd_bytes *b, const char *text, size_t n) {
  dd_bytes_u8(b, 'X');
  dd_bytes_u32(b, (uint32_t)n);
  dd_bytes_put(b, text, n);
}

void dd_pk_string(dd_bytes *b, const char *text) { dd_pk_text(b, text, strlen(text)); }

void dd_pk_dict(dd_bytes *b) { dd_bytes_text(b, "}("); }
void dd_pk_dict_end(dd_bytes *b) { dd_bytes_u8(b, 'u'); }
void dd_pk_list(dd_bytes *b) { dd_bytes_text(b, "]("); }
void dd_pk_list_end(dd_bytes *b) { dd_bytes_u8(b, 'e'); }
void dd_pk_tuple(dd_bytes *b) { dd_bytes_u8(b, '('); }
void dd_pk_tuple_end(dd_bytes *b) { dd_bytes_u8(b, 't'); }

void dd_pk_tensor(dd_bytes *b, int64_t key, int ndim, int64_t rows, int64_t cols) {
  const int64_t size = ndim == 2 ? rows * cols : ndim == 1 ? rows : 1;
  char name[24];
  snprintf(name, sizeof name, "%lld", (long long)key);
  dd_bytes_text(b, "ctorch._utils\n_rebuild_tensor_v2\n((");
  dd_pk_string(b, "storage");
  dd_bytes_text(b, "ctorch\nFloatStorage\n");
  dd_pk_string(b, name);
  dd_pk_string(b, "cpu");
  dd_pk_int(b, size);
  dd_bytes_text(b, "tQ");
  dd_pk_int(b, 0); /* where it begins in the storage */
  dd_pk_tuple(b);
  if (ndim > 0) dd_pk_int(b, rows);
  if (ndim > 1) dd_pk_int(b, cols);
  dd_pk_tuple_end(b);
  dd_pk_tuple(b); /* strides */
  if (ndim > 1) dd_pk_int(b, cols);
  if (ndim > 0) dd_pk_int(b, 1);
  dd_pk_tuple_end(b);
  dd_pk_bool(b, 0); /* requires no gradient */
  dd_bytes_text(b, "ccollections\nOrderedDict\n)RtR");
}
