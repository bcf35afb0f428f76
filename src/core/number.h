/* Numbers in text from users: plain decimals, whatever the locale of the host program; and durations for people. */
#ifndef DD_CORE_NUMBER_H
#define DD_CORE_NUMBER_H
#include <stddef.h>

/** Decimal number at the beginning of text (sign, digits, point, exponent; at most 63 characters; no space, nan, inf or
 *  hexadecimal), rounded correctly. *end: first character after it, or text when there is none. */
double dd_parse_real(const char *text, const char **end);
/** "45 s", "12 min", "3.4 h" or "5 days". */
void dd_duration_text(char *out, size_t size, double seconds);
#endif
