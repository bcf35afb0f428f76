#include "core/utf8.h"

size_t dd_utf8_decode(const char *s, size_t n, uint32_t *code) {
  const unsigned char *b = (const unsigned char *)s;
  if (b[0] < 0x80) {
    *code = b[0];
    return 1;
  }
  size_t length;
  uint32_t c, least;
  if (b[0] >= 0xC2 && b[0] <= 0xDF) length = 2, c = b[0] & 0x1FU, least = 0x80;
  else if (b[0] >= 0xE0 && b[0] <= 0xEF) length = 3, c = b[0] & 0x0FU, least = 0x800;
  else if (b[0] >= 0xF0 && b[0] <= 0xF4) length = 4, c = b[0] & 0x07U, least = 0x10000;
  else return 0;
  if (n < length) return 0;
  for (size_t i = 1; i < length; i++) {
    if ((b[i] & 0xC0) != 0x80) return 0;
    c = c << 6 | (b[i] & 0x3FU);
  }
  if (c < least || c >= 0x110000 || (c >= 0xD800 && c <= 0xDFFF)) return 0;
  *code = c;
  return length;
}

size_t dd_utf8_encode(uint32_t c, char out[4]) {
  if (c < 0x80) {
    out[0] = (char)c;
    return 1;
  }
  if (c < 0x800) {
    out[0] = (char)(0xC0 | c >> 6);
    out[1] = (char)(0x80 | (c & 0x3F));
    return 2;
  }
  if (c < 0x10000) {
    out[0] = (char)(0xE0 | c >> 12);
    out[1] = (char)(0x80 | (c >> 6 & 0x3F));
    out[2] = (char)(0x80 | (c & 0x3F));
    return 3;
  }
  out[0] = (char)(0xF0 | c >> 18);
  out[1] = (char)(0x80 | (c >> 12 & 0x3F));
  out[2] = (char)(0x80 | (c >> 6 & 0x3F));
  out[3] = (char)(0x80 | (c & 0x3F));
  return 4;
}
