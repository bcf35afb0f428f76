#include "study/numbers.h"
#include "core/json.h"
#include "study/text.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static dd_num formatted(double x, int digits, int sign) {
  dd_num n = {"-"};
  if (!isfinite(x)) return n;
  /* beyond that a table would break, and nothing here is so large */
  if (fabs(x) < 1e15) snprintf(n.s, sizeof n.s, sign ? "%+.*f" : "%.*f", digits, x);
  else snprintf(n.s, sizeof n.s, "%.3e", x);
  for (char *p = n.s; *p; p++)
    if (*p == ',') *p = '.'; /* a host program's locale */
  if ((n.s[0] == '-' || n.s[0] == '+') && !n.s[1 + strspn(n.s + 1, "0.")]) memmove(n.s, n.s + 1, strlen(n.s));
  return n;
}

dd_num dd_fixed(double x, int digits) { return formatted(x, digits, 0); }
dd_num dd_signed(double x, int digits) { return formatted(x, digits, 1); }

dd_num dd_p_cell(double p) { return p < 0.0001 ? (dd_num){"<0.0001"} : dd_fixed(p, 4); }

dd_num dd_p_text(double p) {
  dd_num n = {"unknown"};
  if (!isfinite(p)) return n;
  if (p < 0.0001) return (dd_num){"< 0.0001"};
  snprintf(n.s, sizeof n.s, "= %.16s", dd_fixed(p, p < 0.001 ? 5 : 4).s);
  return n;
}

json_t *dd_json_real(double x) { return isfinite(x) ? json_real(x) : json_null(); }
double dd_json_value(const json_t *v) { return json_is_number(v) ? json_number_value(v) : NAN; }

static json_t *clean_text(const char *text, char keep) {
  char *copy = strdup(text ? text : "");
  if (!copy) return NULL;
  for (char *p = copy; *p; p++)
    if (((unsigned char)*p < 32 && *p != keep) || *p == 127) *p = '?';
  const int is_utf8 = dd_utf8_valid(copy, strlen(copy));
  for (char *p = copy; *p && !is_utf8; p++)
    if ((unsigned char)*p >= 0x80) *p = '?';
  json_t *v = json_string(copy);
  free(copy);
  return v;
}

json_t *dd_json_text(const char *text) { return clean_text(text, '\0'); }
json_t *dd_json_lines(const char *text) { return clean_text(text, '\n'); }

void dd_json_put(json_t *object, const char *key, json_t *value, int *failed) {
  if (!value || json_object_set_new(object, key, value)) *failed = 1;
}
void dd_json_push(json_t *array, json_t *value, int *failed) {
  if (!value || json_array_append_new(array, value)) *failed = 1;
}

json_t *dd_json_format(const char *format, ...) {
  va_list ap;
  va_start(ap, format);
  char *text = NULL;
  const int n = vasprintf(&text, format, ap);
  va_end(ap);
  if (n < 0) return NULL;
  json_t *v = dd_json_text(text);
  free(text);
  return v;
}
