/* Numbers in text from users: plain decimals, whatever the locale of the host program. */
#ifndef DD_CORE_NUMBER_H
#define DD_CORE_NUMBER_H

/** Decimal number at the beginning of text (sign, digits, point, exponent; at most 63 characters; no space, nan, inf or
 *  hexadecimal), rounded correctly. *end: first character after it, or text when there is none. */
double dd_parse_real(const char *text, const char **end);
#endif
