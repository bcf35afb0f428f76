/* A growing string, from which reports are made. Nothing fails loudly: after memory ran out every further call does
 * nothing and `failed` stays set, so that it is checked once, at the end. */
#ifndef DD_STUDY_TEXT_H
#define DD_STUDY_TEXT_H
#include "core/error.h"
#include <stddef.h>

typedef struct dd_str {
  char *data;    /* terminated by a NUL that `n` does not count; NULL as long as nothing was written */
  size_t n, cap; /* bytes written, bytes allocated */
  int failed;    /* memory ran out: the text is not complete */
} dd_str;        /* begins as {0} */

void dd_str_printf(dd_str *s, const char *fmt, ...) DD_PRINTF(2, 3);
/** Bytes as they are; they may hold NUL. */
void dd_str_append(dd_str *s, const char *bytes, size_t n);
/** A terminated string as it is (NULL: nothing). */
void dd_str_puts(dd_str *s, const char *text);
/** Frees the text and makes s empty again. */
void dd_str_free(dd_str *s);
#endif
