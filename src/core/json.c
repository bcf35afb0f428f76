#include "core/json.h"
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

/* ---- the grammar of RFC 8259, as a walk over the text ---- */

typedef struct scan {
  const char *at, *end;
  const char *wrong;
} scan;

static int fail(scan *s, const char *wrong) {
  if (!s->wrong) s->wrong = wrong;
  return 0;
}
static int bad(scan *s) { return fail(s, "is not valid JSON"); }
static int peek(const scan *s) { return s->at < s->end ? (unsigned char)*s->at : -1; }
static int digit(int c) { return c >= '0' && c <= '9'; }
static void space(scan *s) {
  while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\n' || *s->at == '\r')) s->at++;
}

static int hex4(scan *s, unsigned *out) {
  *out = 0;
  for (int i = 0; i < 4; i++, s->at++) {
    const int c = peek(s), low = c | 0x20;
    if (digit(c)) *out = *out * 16 + (unsigned)(c - '0');
    else if (low >= 'a' && low <= 'f') *out = *out * 16 + (unsigned)(low - 'a' + 10);
    else return bad(s);
  }
  return 1;
}

/* Behind the backslash. Surrogates come in pairs, the higher first. */
static int escape(scan *s) {
  const int c = peek(s);
  if (c < 0 || !strchr("\"\\/bfnrtu", c) || !c) return bad(s);
  s->at++;
  unsigned code, second;
  if (c != 'u') return 1;
  if (!hex4(s, &code)) return 0;
  if (code >= 0xdc00 && code <= 0xdfff) return bad(s);
  if (code < 0xd800 || code > 0xdbff) return 1;
  if (s->end - s->at < 2 || s->at[0] != '\\' || s->at[1] != 'u') return bad(s);
  s->at += 2;
  return hex4(s, &second) && ((second >= 0xdc00 && second <= 0xdfff) || bad(s));
}

static int string(scan *s) {
  if (peek(s) != '"') return bad(s);
  for (s->at++; peek(s) != '"';) {
    const int c = peek(s);
    if (c < 0x20) return bad(s); /* also the end of the text */
    s->at++;
    if (c == '\\' && !escape(s)) return 0;
  }
  s->at++;
  return 1;
}

static int digits(scan *s) {
  if (!digit(peek(s))) return bad(s);
  while (digit(peek(s))) s->at++;
  return 1;
}
static int number(scan *s) {
  if (peek(s) == '-') s->at++;
  if (peek(s) == '0') s->at++;
  else if (!digits(s)) return 0;
  if (peek(s) == '.' && (s->at++, !digits(s))) return 0;
  if ((peek(s) | 0x20) != 'e') return 1;
  s->at++;
  if (peek(s) == '+' || peek(s) == '-') s->at++;
  return digits(s);
}

static int word(scan *s, const char *w) {
  const size_t n = strlen(w);
  if ((size_t)(s->end - s->at) < n || memcmp(s->at, w, n)) return bad(s);
  s->at += n;
  return 1;
}

static int scalar(scan *s) {
  switch (peek(s)) {
  case '"': return string(s);
  case 't': return word(s, "true");
  case 'f': return word(s, "false");
  case 'n': return word(s, "null");
  default: return number(s);
  }
}

/* In an object, up to the value. */
static int key(scan *s) {
  space(s);
  if (!string(s)) return 0;
  space(s);
  if (peek(s) != ':') return bad(s);
  s->at++;
  return 1;
}

static int document(scan *s, size_t most) {
  char closing[DD_JSON_DEPTH];
  size_t elements = 0;
  int depth = 0;
  space(s);
  if (peek(s) != '{' && peek(s) != '[') return bad(s);
  do { /* at a value */
    space(s);
    if (++elements > most) return fail(s, "has too many elements");
    const int c = peek(s);
    if (c == '{' || c == '[') {
      if (depth == DD_JSON_DEPTH) return fail(s, "is nested too deeply");
      closing[depth++] = c == '{' ? '}' : ']';
      s->at++;
      space(s);
      if (peek(s) != closing[depth - 1]) {
        if (c == '{' && !key(s)) return 0;
        continue;
      }
    } else if (!scalar(s)) return 0;
    for (space(s); depth && peek(s) == closing[depth - 1]; space(s)) s->at++, depth--;
    if (!depth) return s->at == s->end || bad(s);
    if (peek(s) != ',') return bad(s);
    s->at++;
    if (closing[depth - 1] == '}' && !key(s)) return 0;
  } while (1);
}

static int line_of(const char *text, const char *at) {
  int line = 1;
  for (; text < at; text++) line += *text == '\n';
  return line;
}

int dd_json_parse(const char *text, size_t n, size_t most, json_t **out, dd_json_fault *fault) {
  scan s = {.at = text, .end = text + n};
  dd_json_fault unused;
  if (!fault) fault = &unused;
  *out = NULL;
  if (!document(&s, most)) {
    *fault = (dd_json_fault){s.wrong, line_of(text, s.at), (size_t)(s.at - text) + 1};
    return DD_E_CORRUPT;
  }
  json_error_t e;
  *out = json_loadb(text, n, JSON_REJECT_DUPLICATES, &e);
  if (*out) return DD_OK;
  *fault = (dd_json_fault){.line = e.line, .byte = e.position > 0 ? (size_t)e.position : 1};
  switch (json_error_code(&e)) { /* what the grammar does not say */
  case json_error_duplicate_key: fault->what = "has a name twice"; return DD_E_CORRUPT;
  case json_error_invalid_utf8: fault->what = "is not UTF-8"; return DD_E_CORRUPT;
  case json_error_numeric_overflow: fault->what = "holds a number that is too large"; return DD_E_CORRUPT;
  case json_error_null_character:
  case json_error_null_byte_in_key: fault->what = "holds a NUL character"; return DD_E_CORRUPT;
  default: fault->what = "is too large for the memory"; return DD_E_RUNTIME;
  }
}
