/* Reader of config files: flat `key = literal` lines as nanoGPT's Python files have them, or a run's config.json.
 * Nothing is executed; what is no literal is an error with file and line. */
#include "core/file.h"
#include "core/json.h"
#include "run/settings.h"
#include <ctype.h>
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CONFIG_BYTES = 1 << 20, MAX_ELEMENTS = 4096, MAX_DEPTH = 64, MAX_KEY = 128 };

/* ---- literals ---- */

typedef struct number {
  bool real; /* Python's rule: int with int stays int, except for '/' */
  int64_t i;
  double r;
} number;

typedef struct reader {
  const char *p;    /* next byte of the line */
  int depth;
  const char *wrong; /* what is wrong, once something is */
} reader;

static number failed(reader *in, const char *wrong) {
  if (!in->wrong) in->wrong = wrong;
  return (number){0};
}

static double real_of(number n) { return n.real ? n.r : (double)n.i; }
static number real_number(double r) { return (number){.real = true, .r = r}; }
static number int_number(int64_t i) { return (number){.i = i}; }

static void skip_spaces(reader *in) {
  while (*in->p == ' ' || *in->p == '\t') in->p++;
}

static number read_sum(reader *in);

static number read_digits(reader *in) {
  char buf[64];
  size_t n = 0;
  bool real = false;
  for (;; in->p++) {
    char c = *in->p;
    bool exponent_sign = (c == '+' || c == '-') && n && (buf[n - 1] == 'e' || buf[n - 1] == 'E');
    if (c == '_' && n && isdigit((unsigned char)buf[n - 1]) && isdigit((unsigned char)in->p[1])) continue; /* 600_000 */
    if (!isdigit((unsigned char)c) && c != '.' && c != 'e' && c != 'E' && !exponent_sign) break;
    if (!isdigit((unsigned char)c)) real = true;
    if (n + 1 >= sizeof buf) return failed(in, "the number is too long");
    buf[n++] = c;
  }
  buf[n] = '\0';
  char *end = buf;
  errno = 0;
  if (!real) {
    long long i = strtoll(buf, &end, 10);
    if (errno || !n || *end) return failed(in, "the number is too large");
    return int_number(i);
  }
  locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
  double r = c ? strtod_l(buf, &end, c) : strtod(buf, &end);
  if (c) freelocale(c);
  if (end == buf || *end || !isfinite(r)) return failed(in, "this is not a number");
  return real_number(r);
}

static number read_factor(reader *in) {
  skip_spaces(in);
  if (*in->p == '(' || *in->p == '+' || *in->p == '-') {
    char c = *in->p++;
    if (++in->depth > MAX_DEPTH) return failed(in, "too many parentheses");
    number n = c == '(' ? read_sum(in) : read_factor(in);
    in->depth--;
    if (c == '-') {
      if (!n.real && n.i == INT64_MIN) return failed(in, "the number is too large");
      n.i = -n.i;
      n.r = -n.r;
    }
    if (c != '(') return n;
    skip_spaces(in);
    if (*in->p != ')') return failed(in, "a ')' is missing");
    in->p++;
    return n;
  }
  if (isdigit((unsigned char)*in->p) || *in->p == '.') return read_digits(in);
  return failed(in, "only strings, numbers, True, False and + - * / of numbers can be read here");
}

static number combine(reader *in, char op, number a, number b) {
  int64_t i = 0;
  bool overflow = false;
  if (op == '/') {
    if (real_of(b) == 0) return failed(in, "division by zero");
    return real_number(real_of(a) / real_of(b));
  }
  if (a.real || b.real) {
    double x = real_of(a), y = real_of(b);
    return real_number(op == '*' ? x * y : op == '+' ? x + y : x - y);
  }
  if (op == '*') overflow = __builtin_mul_overflow(a.i, b.i, &i);
  if (op == '+') overflow = __builtin_add_overflow(a.i, b.i, &i);
  if (op == '-') overflow = __builtin_sub_overflow(a.i, b.i, &i);
  return overflow ? failed(in, "the number is too large") : int_number(i);
}

static number read_product(reader *in) {
  number n = read_factor(in);
  for (skip_spaces(in); !in->wrong && (*in->p == '*' || *in->p == '/'); skip_spaces(in)) {
    char op = *in->p++;
    n = combine(in, op, n, read_factor(in)); /* `**` and `//` fail in read_factor */
  }
  return n;
}

static number read_sum(reader *in) {
  number n = read_product(in);
  for (skip_spaces(in); !in->wrong && (*in->p == '+' || *in->p == '-'); skip_spaces(in)) {
    char op = *in->p++;
    n = combine(in, op, n, read_product(in));
  }
  return n;
}

static size_t put_utf8(char *out, unsigned long c) {
  if (c < 0x80) return out[0] = (char)c, 1;
  int n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  for (int k = n - 1; k > 0; k--, c >>= 6) out[k] = (char)(0x80 | (c & 0x3f));
  out[0] = (char)((0xf00 >> n) | (int)c);
  return (size_t)n;
}

/* The part of an escape after the backslash; bytes written to out, 0 when it is wrong. */
static size_t read_escape(reader *in, char *out) {
  static const char letters[] = "nrtabfv\\'\"", values[] = "\n\r\t\a\b\f\v\\'\"";
  char c = *in->p;
  const char *at = c ? strchr(letters, c) : NULL;
  if (c) in->p++; /* else the line ends behind the backslash */
  if (at) return out[0] = values[at - letters], 1;
  int digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
  unsigned long code = 0;
  for (int k = 0; k < digits; k++, in->p++) {
    if (!isxdigit((unsigned char)*in->p)) return failed(in, "a hexadecimal digit is missing after the backslash"), 0;
    char h = (char)tolower((unsigned char)*in->p);
    code = code * 16 + (unsigned long)(h <= '9' ? h - '0' : h - 'a' + 10);
  }
  if (!digits || !code || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
    return failed(in, "this backslash escape is not known"), 0;
  return put_utf8(out, code);
}

static void read_string(reader *in, char *out, size_t size) {
  char quote = *in->p++;
  size_t n = 0;
  if (in->p[0] == quote && in->p[1] == quote) {
    failed(in, "strings of three quotes are not read");
    return;
  }
  while (*in->p != quote && !in->wrong) {
    if (!*in->p) failed(in, "the string does not end on its line");
    else if (n + 5 > size) failed(in, "the string is too long");
    else if (*in->p == '\\') in->p++, n += read_escape(in, out + n);
    else out[n++] = *in->p++;
  }
  if (*in->p) in->p++; /* else the line ends inside */
  out[n] = '\0';
}

static bool read_word(reader *in, const char *word) {
  size_t n = strlen(word);
  if (strncmp(in->p, word, n) || isalnum((unsigned char)in->p[n]) || in->p[n] == '_') return false;
  in->p += n;
  return true;
}

/* The literal as the text dd_settings_set takes; *none for None. */
static void read_literal(reader *in, char *out, size_t size, bool *none) {
  *none = false;
  out[0] = '\0';
  if (*in->p == '\'' || *in->p == '"') read_string(in, out, size);
  else if (read_word(in, "True") || read_word(in, "true")) snprintf(out, size, "true");
  else if (read_word(in, "False") || read_word(in, "false")) snprintf(out, size, "false");
  else if (read_word(in, "None")) *none = true;
  else {
    number n = read_sum(in);
    if (n.real) snprintf(out, size, "%.17g", n.r);
    else snprintf(out, size, "%lld", (long long)n.i);
    for (char *p = out; *p; p++)
      if (*p == ',') *p = '.'; /* a host program's locale */
  }
  skip_spaces(in);
  if (!in->wrong && *in->p && *in->p != '#')
    failed(in, "only strings, numbers, True, False and + - * / of numbers can be read here");
}

/* ---- lines ---- */

/* One line. In the pass for presets only `preset` is applied, in the other everything else. */
static int apply_line(dd_settings *s, const char *line, bool preset_pass, dd_error *err) {
  reader in = {.p = line};
  char key[MAX_KEY], value[4096];
  skip_spaces(&in);
  if (!*in.p || *in.p == '#') return DD_OK;
  size_t n = 0;
  while (n + 1 < sizeof key && (isalnum((unsigned char)in.p[n]) || in.p[n] == '_' || in.p[n] == '-')) n++;
  memcpy(key, in.p, n);
  key[n] = '\0';
  if ((!strcmp(key, "import") || !strcmp(key, "from")) && (in.p[n] == ' ' || in.p[n] == '\t'))
    if (isalpha((unsigned char)in.p[n + 1])) return DD_OK; /* `import time`: what it is for is not executed either */
  in.p += n;
  skip_spaces(&in);
  if (!n || isdigit((unsigned char)key[0]) || in.p[0] != '=' || in.p[1] == '=')
    return dd_fail(err, DD_E_USAGE, "expected `key = value`, found `%.60s`", line + strspn(line, " \t"));
  in.p++;
  skip_spaces(&in);
  const dd_setting *d = dd_setting_find(key);
  if ((d && d->id == DD_SETTING_preset) != preset_pass) return DD_OK;
  if (dd_setting_is_ignored(key)) return dd_settings_set(s, key, "", err); /* its value may be any Python */
  bool none;
  const char *text = in.p;
  read_literal(&in, value, sizeof value, &none);
  if (in.wrong) return dd_fail(err, DD_E_USAGE, "%s: `%s = %.60s`", in.wrong, key, text);
  if (none && d) return dd_settings_reset(s, (enum dd_setting_id)d->id), DD_OK;
  return dd_settings_set(s, key, value, err);
}

static int apply_lines(dd_settings *s, const char *path, const char *text, size_t size, dd_error *err) {
  char *line = malloc(size + 1);
  if (!line) return dd_fail(err, DD_E_RUNTIME, "out of memory for %s", path);
  int rc = DD_OK;
  for (int pass = 0; pass < 2 && !rc; pass++) {
    int line_number = 1;
    for (const char *p = text; *p && !rc; line_number++) {
      size_t n = strcspn(p, "\n");
      memcpy(line, p, n);
      line[n] = '\0';
      if (n && line[n - 1] == '\r') line[n - 1] = '\0';
      rc = apply_line(s, line, pass == 0, err);
      if (rc) dd_fail_prefix(err, "%s:%d: ", path, line_number);
      p += n + (p[n] == '\n');
    }
  }
  free(line);
  return rc;
}

/* A run's config.json: the settings are the whole object or its member "settings". What belonged to one call only
 * (resume, overwrite ...) is not repeated. */
static int apply_json(dd_settings *s, const char *path, const char *text, size_t size, dd_error *err) {
  dd_json_fault fault;
  json_t *root;
  int rc = dd_json_parse(text, size, MAX_ELEMENTS, &root, &fault);
  if (rc == DD_E_RUNTIME) return dd_fail(err, DD_E_RUNTIME, "out of memory for %s", path);
  if (rc) return dd_fail(err, DD_E_USAGE, "%s:%d: %s", path, fault.line, fault.what);
  json_t *settings = json_object_get(root, "settings");
  if (!json_is_object(settings)) settings = root;
  const dd_setting *d;
  for (int i = 0; (d = dd_setting_at(i)); i++)
    if (d->use & DD_USE_ONCE) json_object_del(settings, d->name);
  rc = dd_settings_from_json(s, settings, err);
  if (rc) dd_fail_prefix(err, "%s: ", path);
  json_decref(root);
  return rc;
}

int dd_settings_load(dd_settings *s, const char *path, dd_error *err) {
  char *data = NULL;
  size_t size = 0;
  int rc = dd_file_read_all(path, MAX_CONFIG_BYTES, &data, &size, err);
  if (rc) return rc;
  const char *text = data;
  if (size >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) text += 3, size -= 3; /* byte order mark */
  if (memchr(text, '\0', size)) rc = dd_fail(err, DD_E_USAGE, "%s is not a text file: it holds a NUL byte", path);
  else if (text[strspn(text, " \t\r\n")] == '{') rc = apply_json(s, path, text, size, err);
  else rc = apply_lines(s, path, text, size, err);
  free(data);
  return rc;
}
