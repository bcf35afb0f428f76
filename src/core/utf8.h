/* UTF-8, one code point at a time. */
#ifndef DD_CORE_UTF8_H
#define DD_CORE_UTF8_H
#include <stddef.h>
#include <stdint.h>

/** One code point from s[0..n), n > 0, strict (shortest form, no surrogates, at most U+10FFFF): its length 1..4, or 0
 *  when the bytes are no UTF-8. */
size_t dd_utf8_decode(const char *s, size_t n, uint32_t *code);
/** Length 1..4 of the encoding written to out. */
size_t dd_utf8_encode(uint32_t code, char out[4]);
#endif
