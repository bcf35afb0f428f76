#include "formats/pretokenizer.h"
#include "core/utf8.h"
#include "formats/unicode.h"

enum { O = DD_CHAR_OTHER, L = DD_CHAR_LETTER, N = DD_CHAR_NUMBER, S = DD_CHAR_SPACE };

static const unsigned char ascii[128] = {
  O, O, O, O, O, O, O, O, O, S, S, S, S, S, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O,
  S, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, N, N, N, N, N, N, N, N, N, N, O, O, O, O, O, O,
  O, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, O, O, O, O, O,
  O, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, O, O, O, O, O,
};

/* Class and length of the character at text, n > 0. */
static inline unsigned class_at(const char *text, size_t n, size_t *length) {
  const unsigned char byte = (unsigned char)*text;
  *length = 1;
  if (byte < 0x80) return ascii[byte];
  uint32_t code;
  const size_t k = dd_utf8_decode(text, n, &code);
  if (k == 0) return O;
  *length = k;
  return dd_unicode_class(code);
}

/* End of the run of characters of a class that begins at i. */
static inline size_t run_end(const char *text, size_t n, size_t i, unsigned class) {
  for (size_t length; i < n && class_at(text + i, n - i, &length) == class; i += length) continue;
  return i;
}

/* 's 't 'm 'd 're 've 'll behind an apostrophe: the length of the whole, or 0. */
static size_t contraction(const char *text, size_t n) {
  if (n < 2) return 0;
  const char a = text[1], b = n > 2 ? text[2] : 0;
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
  return (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

/* A run of white space is one word at the end of the text, else it leaves its last character to the next word, unless
 * it is that character alone. */
static size_t space_length(const char *text, size_t n) {
  size_t end = 0, last = 0, length;
  for (; end < n && class_at(text + end, n - end, &length) == S; end += length) last = end;
  return end < n && last > 0 ? last : end;
}

size_t dd_word_length(const char *text, size_t n) {
  if (*text == '\'') {
    const size_t length = contraction(text, n);
    if (length) return length;
  }
  size_t length, first = 0;
  unsigned class = class_at(text, n, &length);
  if (*text == ' ' && n > 1) {
    const unsigned next = class_at(text + 1, n - 1, &length);
    if (next != S) first = 1, class = next;
  }
  return class == S ? space_length(text, n) : run_end(text, n, first + length, class);
}

size_t dd_word_cut(const char *text, size_t n, size_t from) {
  for (size_t i = from ? from : 1; i < n; i++) {
    const unsigned char a = (unsigned char)text[i - 1], b = (unsigned char)text[i];
    if (a < 0x80 && b < 0x80 && ascii[a] != S && ascii[b] == S) return i;
  }
  return n;
}
