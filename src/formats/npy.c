/* Header of NumPy's .npy files: 6 bytes of magic, 2 of version, the length of the rest (2 bytes in version 1, else 4),
 * and a Python dictionary such as {'descr': '<u2', 'fortran_order': False, 'shape': (1003854,), }. */
#include "core/checked.h"
#include "formats/tokens.h"
#include <stdio.h>
#include <string.h>

static const unsigned char magic[6] = {0x93, 'N', 'U', 'M', 'P', 'Y'};

bool dd_npy_is(const unsigned char *head, size_t n) { return n >= sizeof magic && !memcmp(head, magic, sizeof magic); }

/* The dictionary while it is read; `wrong` is a phrase, once something is. */
typedef struct reader {
  const char *p, *end;
  const char *wrong;
} reader;

static void skip_spaces(reader *r) {
  while (r->p < r->end && (*r->p == ' ' || *r->p == '\n' || *r->p == '\t')) r->p++;
}

static bool take(reader *r, char c) {
  skip_spaces(r);
  if (r->p >= r->end || *r->p != c) return false;
  r->p++;
  return true;
}

static bool take_word(reader *r, const char *word) {
  const size_t n = strlen(word);
  skip_spaces(r);
  if ((size_t)(r->end - r->p) < n || memcmp(r->p, word, n) != 0) return false;
  r->p += n;
  return true;
}

/* A string without escapes. */
static bool take_string(reader *r, char *out, size_t size) {
  skip_spaces(r);
  if (r->p >= r->end || (*r->p != '\'' && *r->p != '"')) return false;
  const char quote = *r->p++;
  size_t n = 0;
  for (; r->p < r->end && *r->p != quote; r->p++) {
    if (*r->p == '\\' || (unsigned char)*r->p < 32 || n + 1 >= size) return false;
    out[n++] = *r->p;
  }
  out[n] = '\0';
  return take(r, quote);
}

static bool take_number(reader *r, uint64_t *out) {
  skip_spaces(r);
  const char *from = r->p;
  uint64_t v = 0;
  for (; r->p < r->end && *r->p >= '0' && *r->p <= '9'; r->p++)
    if (!dd_mul_u64(v, 10, &v) || !dd_add_u64(v, (uint64_t)(*r->p - '0'), &v)) return false;
  if (r->p == from) return false;
  if (r->p < r->end && *r->p == 'L') r->p++; /* written by Python 2 */
  *out = v;
  return true;
}

/* (N,) */
static void read_shape(reader *r, uint64_t *count) {
  int dimensions = 0;
  if (!take(r, '(')) r->wrong = "has a damaged header";
  while (!r->wrong && !take(r, ')')) {
    if (!take_number(r, count)) r->wrong = "has a damaged header";
    else if (++dimensions > 1) r->wrong = "has more than one dimension; save a.reshape(-1)";
    else if (!take(r, ',') && (r->p >= r->end || *r->p != ')')) r->wrong = "has a damaged header";
  }
  if (!r->wrong && dimensions != 1) r->wrong = "holds a single number without a dimension; save an array of tokens";
}

/* '<u2': byte order, kind, bytes. */
static void read_type(reader *r, dd_token_layout *l) {
  char t[32];
  skip_spaces(r);
  if (r->p < r->end && *r->p == '[') r->wrong = "holds records of several fields; save one field of integers";
  else if (!take_string(r, t, sizeof t)) r->wrong = "has a damaged header";
  else if (t[0] == '>' && (t[1] == 'u' || t[1] == 'i') && t[2] != '1')
    r->wrong = "holds big-endian numbers; save a.astype('<u2')";
  else if (strlen(t) != 3 || !strchr("<|>=", t[0]) || !strchr("ui", t[1]) || !strchr("1248", t[2]))
    r->wrong = "does not hold integers; token ids are saved as a.astype('<u2')";
  if (r->wrong) return;
  l->is_signed = t[1] == 'i';
  l->width = t[2] - '0';
}

static void read_header(reader *r, dd_token_layout *l) {
  enum { DESCR = 1, ORDER = 2, SHAPE = 4 };
  unsigned seen = 0, key;
  char name[32];
  if (!take(r, '{')) r->wrong = "has a damaged header";
  while (!r->wrong && !take(r, '}')) {
    key = 0;
    if (take_string(r, name, sizeof name) && take(r, ':'))
      key = !strcmp(name, "descr")           ? DESCR
            : !strcmp(name, "fortran_order") ? ORDER
            : !strcmp(name, "shape")         ? SHAPE
                                             : 0;
    if (!key || (seen & key)) r->wrong = "has a damaged header";
    else if (key == DESCR) read_type(r, l);
    else if (key == SHAPE) read_shape(r, &l->count);
    else if (take_word(r, "True")) r->wrong = "is in Fortran order; save np.ascontiguousarray(a)";
    else if (!take_word(r, "False")) r->wrong = "has a damaged header";
    seen |= key;
    skip_spaces(r);
    if (!r->wrong && !take(r, ',') && (r->p >= r->end || *r->p != '}')) r->wrong = "has a damaged header";
  }
  skip_spaces(r);
  if (!r->wrong && (r->p != r->end || seen != (DESCR | ORDER | SHAPE))) r->wrong = "has a damaged header";
}

int dd_npy_layout(const char *path, const unsigned char *head, size_t n, uint64_t size, dd_token_layout *out,
                  dd_error *err) {
  *out = (dd_token_layout){.format = DD_TOKENS_NPY};
  const size_t fixed = n > 6 && head[6] == 1 ? 10 : 12;
  if (n < fixed) return dd_fail(err, DD_E_CORRUPT, "%.700s is truncated: its header is not whole", path);
  if (head[6] < 1 || head[6] > 3 || head[7] != 0)
    return dd_fail(err, DD_E_CORRUPT, "%.700s has version %d.%d of the npy format; versions 1, 2 and 3 are known", path,
                   head[6], head[7]);
  out->version = head[6];
  uint64_t length = head[8] | (uint64_t)head[9] << 8;
  if (fixed == 12) length |= (uint64_t)head[10] << 16 | (uint64_t)head[11] << 24;
  if (length > n - fixed)
    return dd_fail(err, DD_E_CORRUPT,
                   length > DD_TOKENS_HEAD - fixed ? "%.700s has a damaged header: it says that it has %llu bytes"
                                                   : "%.700s is truncated: its header has %llu bytes",
                   path, (unsigned long long)length);
  reader r = {.p = (const char *)head + fixed};
  r.end = r.p + length;
  read_header(&r, out);
  if (r.wrong) return dd_fail(err, DD_E_CORRUPT, "%.700s %s", path, r.wrong);
  uint64_t bytes, end;
  out->at = fixed + length;
  if (!dd_mul_u64(out->count, (uint64_t)out->width, &bytes) || !dd_add_u64(out->at, bytes, &end) || end != size)
    return dd_fail(err, DD_E_CORRUPT, "%.700s is damaged: its header promises %llu numbers, and %llu bytes follow it",
                   path, (unsigned long long)out->count, (unsigned long long)(size - out->at));
  return DD_OK;
}
