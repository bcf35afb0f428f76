#include "core/json.h"
#include "core/number.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

int dd_utf8_valid(const char *text, size_t n) {
  const unsigned char *p = (const unsigned char *)text, *end = p + n;
  while (p < end) {
    if (*p < 0x80) {
      p++;
      continue;
    }
    const int more = *p >= 0xc2 && *p <= 0xdf ? 1 : (*p & 0xf0) == 0xe0 ? 2 : *p >= 0xf0 && *p <= 0xf4 ? 3 : 0;
    if (!more || end - p <= more) return 0;
    if ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f)) return 0; /* overlong; surrogates */
    if ((*p == 0xf0 && p[1] < 0x90) || (*p == 0xf4 && p[1] > 0x8f)) return 0; /* overlong; beyond U+10FFFF */
    for (int i = 1; i <= more; i++)
      if ((p[i] & 0xc0) != 0x80) return 0;
    p += more + 1;
  }
  return 1;
}

/* ---- the grammar of RFC 8259; jansson's own reader drops characters, or aborts, when memory runs out ---- */

typedef struct reader {
  const char *at, *end;
  const char *wrong;
  int no_memory;
  char *text;  /* room for all decoded strings of one member: no longer than the input */
  size_t used; /* of it, by the key of the member */
  json_t *open[DD_JSON_DEPTH];
  int depth;
} reader;

static int fail(reader *r, const char *wrong) {
  if (!r->wrong) r->wrong = wrong;
  return 0;
}
static int bad(reader *r) { return fail(r, "is not valid JSON"); }
static int peek(const reader *r) { return r->at < r->end ? (unsigned char)*r->at : -1; }
static int digit(int c) { return c >= '0' && c <= '9'; }
static void space(reader *r) {
  while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r')) r->at++;
}

static int hex4(reader *r, uint32_t *out) {
  *out = 0;
  for (int i = 0; i < 4; i++, r->at++) {
    const int c = peek(r), low = c | 0x20;
    if (digit(c)) *out = *out * 16 + (uint32_t)(c - '0');
    else if (c >= 0 && low >= 'a' && low <= 'f') *out = *out * 16 + (uint32_t)(low - 'a' + 10);
    else return bad(r);
  }
  return 1;
}

/* \uXXXX behind the u, a pair of them for what is beyond U+FFFF; at most 4 bytes for at least 6. */
static int unicode(reader *r, char **out) {
  uint32_t c, low;
  if (!hex4(r, &c)) return 0;
  if (c == 0) return fail(r, "holds a NUL character");
  if (c >= 0xdc00 && c <= 0xdfff) return bad(r);
  if (c >= 0xd800 && c <= 0xdbff) {
    if (r->end - r->at < 2 || r->at[0] != '\\' || r->at[1] != 'u') return bad(r);
    r->at += 2;
    if (!hex4(r, &low)) return 0;
    if (low < 0xdc00 || low > 0xdfff) return bad(r);
    c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
  }
  char *p = *out;
  if (c < 0x80) *p++ = (char)c;
  else {
    const int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    *p++ = (char)((0xf00 >> (more + 1)) | (c >> 6 * more));
    for (int i = more - 1; i >= 0; i--) *p++ = (char)(0x80 | (c >> 6 * i & 0x3f));
  }
  *out = p;
  return 1;
}

/* At the quote. *out: the decoded bytes, in r->text behind what is used there. */
static int string(reader *r, char **out, size_t *n) {
  static const char letters[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
  if (peek(r) != '"') return bad(r);
  char *p = *out = r->text + r->used;
  for (r->at++; peek(r) != '"';) {
    const int c = peek(r);
    if (c < 0x20) return bad(r); /* also the end of the text */
    r->at++;
    if (c != '\\') {
      *p++ = (char)c;
      continue;
    }
    const int e = peek(r);
    const char *known = e > 0 ? strchr(letters, e) : NULL;
    if (!known && e != 'u') return bad(r);
    r->at++;
    if (known) *p++ = values[known - letters];
    else if (!unicode(r, &p)) return 0;
  }
  r->at++;
  *n = (size_t)(p - *out);
  *p = '\0';
  return 1;
}

static int digits(reader *r) {
  if (!digit(peek(r))) return bad(r);
  while (digit(peek(r))) r->at++;
  return 1;
}
static json_t *number(reader *r) {
  const char *from = r->at, *end;
  char buf[64];
  if (peek(r) == '-') r->at++;
  if (peek(r) == '0') r->at++;
  else if (!digits(r)) return NULL;
  const char *whole = r->at;
  if (peek(r) == '.' && (r->at++, !digits(r))) return NULL;
  if (peek(r) == 'e' || peek(r) == 'E') {
    r->at++;
    if (peek(r) == '+' || peek(r) == '-') r->at++;
    if (!digits(r)) return NULL;
  }
  const size_t n = (size_t)(r->at - from);
  if (n >= sizeof buf) return fail(r, "holds a number that is too long"), NULL;
  memcpy(buf, from, n);
  buf[n] = '\0';
  errno = 0;
  const long long i = whole == r->at ? strtoll(buf, NULL, 10) : 0;
  const double x = whole == r->at ? 0 : dd_parse_real(buf, &end);
  if ((whole == r->at && errno) || !isfinite(x)) return fail(r, "holds a number that is too large"), NULL;
  return whole == r->at ? json_integer(i) : json_real(x);
}

static int word(reader *r, const char *w) {
  const size_t n = strlen(w);
  if ((size_t)(r->end - r->at) < n || memcmp(r->at, w, n)) return bad(r);
  r->at += n;
  return 1;
}

/* A new value that is no array or object; NULL: wrong, or no memory. */
static json_t *scalar(reader *r) {
  char *text;
  size_t n;
  switch (peek(r)) {
  case '"':
    return string(r, &text, &n) ? json_stringn_nocheck(text, n) : NULL;
  case 't':
    return word(r, "true") ? json_true() : NULL;
  case 'f':
    return word(r, "false") ? json_false() : NULL;
  case 'n':
    return word(r, "null") ? json_null() : NULL;
  default:
    return number(r);
  }
}

/* The key of a member and the colon. */
static int key(reader *r) {
  char *text;
  size_t n;
  space(r);
  r->used = 0;
  if (!string(r, &text, &n)) return 0;
  if (json_object_get(r->open[r->depth - 1], text)) return fail(r, "has a name twice");
  r->used = n + 1;
  space(r);
  if (peek(r) != ':') return bad(r);
  r->at++;
  return 1;
}

/* Takes over the value, also when it fails. */
static int attach(reader *r, json_t *value, json_t **root) {
  if (!value) return r->wrong ? 0 : (r->no_memory = 1, 0);
  json_t *parent = r->depth ? r->open[r->depth - 1] : NULL;
  if (!parent) *root = value;
  else if (json_is_object(parent) ? json_object_set_new_nocheck(parent, r->text, value)
                                  : json_array_append_new(parent, value))
    return r->no_memory = 1, 0;
  r->used = 0;
  return 1;
}

static int document(reader *r, size_t most, json_t **root) {
  size_t elements = 0;
  space(r);
  if (peek(r) != '{' && peek(r) != '[') return bad(r);
  for (;;) { /* at a value */
    space(r);
    if (++elements > most) return fail(r, "has too many elements");
    const int c = peek(r);
    if (c == '{' || c == '[') {
      if (r->depth == DD_JSON_DEPTH) return fail(r, "is nested too deeply");
      json_t *value = c == '{' ? json_object() : json_array();
      if (!attach(r, value, root)) return 0;
      r->open[r->depth++] = value;
      r->at++;
      space(r);
      if (peek(r) != (c == '{' ? '}' : ']')) {
        if (c == '{' && !key(r)) return 0;
        continue;
      }
    } else if (!attach(r, scalar(r), root)) return 0;
    for (space(r); r->depth && peek(r) == (json_is_object(r->open[r->depth - 1]) ? '}' : ']'); space(r)) {
      r->at++;
      r->depth--;
    }
    if (!r->depth) return r->at == r->end || bad(r);
    if (peek(r) != ',') return bad(r);
    r->at++;
    if (json_is_object(r->open[r->depth - 1]) && !key(r)) return 0;
  }
}

static int line_of(const char *text, const char *at) {
  int line = 1;
  for (; text < at; text++) line += *text == '\n';
  return line;
}

int dd_json_parse(const char *text, size_t n, size_t most, json_t **out, dd_json_fault *fault) {
  *out = NULL;
  reader r = {.at = text, .end = text + n};
  if (!dd_utf8_valid(text, n)) r.wrong = "is not UTF-8";
  else if (!(r.text = malloc(n + 2))) r.no_memory = 1;
  const int fine = !r.wrong && !r.no_memory && document(&r, most, out);
  free(r.text);
  if (fine) return DD_OK;
  json_decref(*out);
  *out = NULL;
  if (fault)
    *fault = (dd_json_fault){r.no_memory ? "is too large for the memory" : r.wrong, line_of(text, r.at),
                             (size_t)(r.at - text) + 1};
  return r.no_memory ? DD_E_RUNTIME : DD_E_CORRUPT;
}
