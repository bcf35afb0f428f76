#include "study/text.h"
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Room for n more bytes and the NUL. */
static int reserve(dd_str *s, size_t n) {
  if (s->failed) return 0;
  if (n >= SIZE_MAX / 2 - s->n) {
    s->failed = 1;
    return 0;
  }
  size_t need = s->n + n + 1;
  if (need <= s->cap) return 1;
  size_t cap = s->cap ? s->cap : 256;
  while (cap < need) cap *= 2;
  char *data = realloc(s->data, cap);
  if (!data) {
    s->failed = 1;
    return 0;
  }
  s->data = data;
  s->cap = cap;
  return 1;
}

void dd_str_append(dd_str *s, const char *bytes, size_t n) {
  if (!reserve(s, n)) return;
  if (n) memcpy(s->data + s->n, bytes, n);
  s->n += n;
  s->data[s->n] = 0;
}

void dd_str_puts(dd_str *s, const char *text) {
  if (text) dd_str_append(s, text, strlen(text));
}

void dd_str_printf(dd_str *s, const char *fmt, ...) {
  va_list ap, again;
  va_start(ap, fmt);
  va_copy(again, ap);
  int n = vsnprintf(NULL, 0, fmt, ap);
  va_end(ap);
  if (n < 0) s->failed = 1;
  else if (reserve(s, (size_t)n)) {
    vsnprintf(s->data + s->n, (size_t)n + 1, fmt, again);
    s->n += (size_t)n;
  }
  va_end(again);
}

void dd_str_free(dd_str *s) {
  free(s->data);
  *s = (dd_str){0};
}
