#include "core/number.h"
#include <stdio.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

static int is_digit(char c) { return c >= '0' && c <= '9'; }

/* Characters of the number at s, 0: none. */
static size_t number_length(const char *s) {
  const char *p = s + (*s == '+' || *s == '-');
  int digits = 0;
  for (; is_digit(*p); p++) digits = 1;
  if (*p == '.')
    for (p++; is_digit(*p); p++) digits = 1;
  if (!digits) return 0;
  if (*p == 'e' || *p == 'E') {
    const char *q = p + 1 + (p[1] == '+' || p[1] == '-');
    if (is_digit(*q)) {
      while (is_digit(*q)) q++;
      p = q;
    }
  }
  return (size_t)(p - s);
}

double dd_parse_real(const char *text, const char **end) {
  char buf[64];
  const size_t n = number_length(text);
  *end = text;
  if (!n || n >= sizeof buf) return 0;
  memcpy(buf, text, n);
  buf[n] = '\0';
  locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
  const double v = c ? strtod_l(buf, NULL, c) : strtod(buf, NULL);
  if (c) freelocale(c);
  *end = text + n;
  return v;
}

void dd_duration_text(char *out, size_t size, double s) {
  if (s < 100) snprintf(out, size, "%.0f s", s);
  else if (s < 6000) snprintf(out, size, "%.0f min", s / 60);
  else if (s < 2 * 86400) snprintf(out, size, "%.1f h", s / 3600);
  else snprintf(out, size, "%.0f days", s / 86400);
}
