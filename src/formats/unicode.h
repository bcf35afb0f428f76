/* Classes of Unicode code points, as far as GPT-2's pattern tells them apart. Pinned to Unicode 16.0.0, so that a text
 * has the same tokens on every machine; these are the tables of tiktoken 0.14 and tokenizers 0.23 (older ones, such as
 * tokenizers 0.19 with Unicode 14.0.0, take letters and digits that were added since for symbols). */
#ifndef DD_FORMATS_UNICODE_H
#define DD_FORMATS_UNICODE_H
#include <stdint.h>

#define DD_UNICODE_VERSION "16.0.0"

typedef enum dd_char_class {
  DD_CHAR_OTHER,
  DD_CHAR_LETTER, /* \p{L} */
  DD_CHAR_NUMBER, /* \p{N} */
  DD_CHAR_SPACE   /* \s, the property White_Space */
} dd_char_class;

/* Private: the block of every 128 code points (beyond dd_unicode_pages: none but OTHER), two bits per code point. */
extern const uint8_t dd_unicode_page[];
extern const uint32_t dd_unicode_pages;
extern const uint64_t dd_unicode_block[];

/** code: any number; what is no code point is OTHER. */
static inline dd_char_class dd_unicode_class(uint32_t code) {
  const uint32_t page = code >> 7;
  if (page >= dd_unicode_pages) return DD_CHAR_OTHER;
  const uint64_t word = dd_unicode_block[dd_unicode_page[page] * 4U + (code >> 5 & 3)];
  return (dd_char_class)(word >> 2 * (code & 31) & 3);
}
#endif
