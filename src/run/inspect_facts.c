/* Facts about a file, and the lines that show them. */
#include "core/json.h"
#include "run/inspect.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- collecting ---- */

void dd_fact(dd_facts *f, const char *key, json_t *value) {
  if (json_object_set_new(f->object, key, value)) f->failed = true;
}

void dd_fact_int(dd_facts *f, const char *key, int64_t value) { dd_fact(f, key, json_integer(value)); }

void dd_fact_real(dd_facts *f, const char *key, double value) {
  dd_fact(f, key, isfinite(value) ? json_real(value) : json_null());
}

json_t *dd_any_text(const char *text, size_t n) {
  json_t *good = json_stringn(text, n);
  if (good) return good;
  char *copy = malloc(n + 1);
  if (!copy) return NULL;
  for (size_t i = 0; i < n; i++) copy[i] = (unsigned char)text[i] < 0x80 ? text[i] : '?';
  good = json_stringn(copy, n);
  free(copy);
  return good;
}

void dd_fact_text(dd_facts *f, const char *key, const char *fmt, ...) {
  char text[4096];
  va_list ap;
  va_start(ap, fmt);
  const int n = vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  dd_fact(f, key, n < 0 ? NULL : dd_any_text(text, strlen(text)));
}

void dd_fact_vocab(dd_facts *f, const dd_vocab *v) {
  enum { SHOWN = 256 };
  char text[4 * SHOWN];
  size_t n = 0;
  dd_fact_text(f, "tokenizer", "%s", dd_vocab_kind_name(v->kind));
  dd_fact_int(f, "vocabulary", v->size);
  if (v->kind != DD_VOCAB_CHAR) return;
  for (int i = 0; i < v->size && i < SHOWN; i++) n += dd_utf8_encode(v->code[i], text + n);
  dd_fact(f, v->size > SHOWN ? "first characters" : "characters", json_stringn(text, n));
}

/* ---- showing ---- */

typedef struct lines {
  char *text;
  size_t n, room;
  bool failed;
} lines;

static void put(lines *l, const char *text, size_t n) {
  if (l->n + n + 1 > l->room) {
    const size_t room = 2 * (l->n + n) + 256;
    char *bigger = l->failed ? NULL : realloc(l->text, room);
    if (!bigger) {
      l->failed = true;
      return;
    }
    l->text = bigger;
    l->room = room;
  }
  memcpy(l->text + l->n, text, n);
  l->n += n;
  l->text[l->n] = '\0';
}

static void put_spaces(lines *l, size_t n) {
  while (n-- > 0) put(l, " ", 1);
}

/* Foreign text: control characters (C0, DEL, and C1, which UTF-8 writes C2 80..9F) must not reach a terminal. */
static void put_foreign(lines *l, const char *text, size_t n) {
  for (size_t i = 0; i < n; i++) {
    const unsigned char c = (unsigned char)text[i];
    const bool c1 = c == 0xc2 && i + 1 < n && (unsigned char)text[i + 1] < 0xa0;
    char shown[8];
    if (c == '\n') put(l, "\\n", 2);
    else if (c == '\t') put(l, "\\t", 2);
    else if (c < 32 || c == 127 || c1) {
      snprintf(shown, sizeof shown, "\\x%02x", c1 ? (unsigned char)text[++i] : c);
      put(l, shown, 4);
    } else put(l, text + i, 1);
  }
}

static void put_scalar(lines *l, const json_t *v) {
  char number[64];
  switch (json_typeof(v)) {
  case JSON_STRING: put_foreign(l, json_string_value(v), json_string_length(v)); return;
  case JSON_INTEGER: snprintf(number, sizeof number, "%lld", (long long)json_integer_value(v)); break;
  case JSON_REAL: snprintf(number, sizeof number, "%.6g", json_real_value(v)); break;
  case JSON_TRUE: snprintf(number, sizeof number, "yes"); break;
  case JSON_FALSE: snprintf(number, sizeof number, "no"); break;
  default: snprintf(number, sizeof number, "none"); break;
  }
  put(l, number, strlen(number));
}

/* Columns of a table are as wide as their widest cell, which is found by writing all of them first. */
static size_t width_of(const json_t *v) {
  lines l = {0};
  if (v) put_scalar(&l, v);
  size_t width = 0;
  for (size_t i = 0; i < l.n; i++) width += ((unsigned char)l.text[i] & 0xC0) != 0x80; /* characters */
  free(l.text);
  return width;
}

static void put_table(lines *l, json_t *rows, size_t indent) {
  enum { COLUMNS = 12 };
  const char *name[COLUMNS], *key;
  size_t width[COLUMNS], n = 0, i;
  json_t *row, *cell;
  json_object_foreach(json_array_get(rows, 0), key, cell) {
    if (n == COLUMNS) break;
    name[n] = key;
    width[n] = strlen(key);
    json_array_foreach(rows, i, row) {
      const size_t w = width_of(json_object_get(row, key));
      if (w > width[n]) width[n] = w;
    }
    n++;
  }
  for (size_t r = 0; r <= json_array_size(rows); r++) {
    put_spaces(l, indent);
    for (size_t c = 0; c < n; c++) {
      const json_t *v = r ? json_object_get(json_array_get(rows, r - 1), name[c]) : NULL;
      const size_t w = r ? width_of(v) : strlen(name[c]);
      const bool right = json_is_number(json_object_get(json_array_get(rows, 0), name[c]));
      if (right) put_spaces(l, width[c] - w);
      if (!r) put(l, name[c], strlen(name[c]));
      else if (v) put_scalar(l, v);
      if (c + 1 < n) put_spaces(l, (right ? 0 : width[c] - w) + 2);
    }
    while (l->n && l->text[l->n - 1] == ' ') l->n--; /* of cells without text */
    put(l, "\n", 1);
  }
}

static bool is_simple(const json_t *v) { return !json_is_object(v) && !json_is_array(v); }

static void put_object(lines *l, json_t *object, size_t indent, int depth) {
  const char *key;
  json_t *v, *e;
  size_t width = 0, i;
  json_object_foreach(object, key, v)
    if (strlen(key) > width && strlen(key) <= 32) width = strlen(key);
  json_object_foreach(object, key, v) {
    put_spaces(l, indent);
    put_foreign(l, key, strlen(key));
    if (json_is_object(v) && depth < 8) {
      put(l, "\n", 1);
      put_object(l, v, indent + 2, depth + 1);
    } else if (json_is_array(v) && json_is_object(json_array_get(v, 0))) {
      put(l, "\n", 1);
      put_table(l, v, indent + 2);
    } else {
      put_spaces(l, strlen(key) < width ? width - strlen(key) + 2 : 2);
      if (is_simple(v)) put_scalar(l, v);
      json_array_foreach(v, i, e) {
        if (i) put(l, " ", 1);
        if (is_simple(e)) put_scalar(l, e);
      }
      put(l, "\n", 1);
    }
  }
}

char *dd_facts_lines(const json_t *object) {
  lines l = {0};
  put(&l, "", 0);
  put_object(&l, (json_t *)object, 2, 0);
  if (!l.failed) return l.text;
  free(l.text);
  return NULL;
}
