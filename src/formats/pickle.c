#include "formats/pickle.h"
#include "core/number.h"
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef dd_pickle_value value;

enum { CHUNK = 1024 };
typedef struct chunk { /* values never move */
  struct chunk *before;
  value v[CHUNK];
} chunk;

struct dd_pickle {
  const unsigned char *p, *begin, *end;
  const char *name;
  dd_error *err;
  chunk *chunks;
  size_t values, elements;
  value **stack;
  size_t depth, room;
  size_t mark[DD_PICKLE_MARKS], marks;
  value **memo;
  size_t memo_room, memoized;
  value none, no, yes, *root;
  char *spelled; /* texts of protocol 0, with their escapes resolved; as many bytes as the file has */
  size_t spelled_n;
  int protocol;
  int rc;
  bool torch; /* names of torch are understood */
};

const char *dd_pickle_kind_name(dd_pickle_kind kind) {
  static const char *const names[] = {"None", "bool", "int", "float", "str", "bytes", "list", "tuple", "dict",
                                      "global", "call", "persistent"};
  return names[kind];
}

/* ---- failures ---- */

static bool fail(dd_pickle *s, const char *what) {
  if (!s->rc)
    s->rc = dd_fail(s->err, DD_E_CORRUPT, "%.600s cannot be read as a pickle: %s, at byte %zu", s->name, what,
                    (size_t)(s->p - s->begin));
  return false;
}

static bool no_memory(dd_pickle *s) {
  if (!s->rc) s->rc = dd_fail(s->err, DD_E_RUNTIME, "out of memory while reading %.600s", s->name);
  return false;
}

/* Opcodes that need more than data. */
static const struct {
  unsigned char code;
  const char *name;
} refused[] = {
    {'c', "GLOBAL"},  {'i', "INST"},  {'o', "OBJ"},  {'R', "REDUCE"},  {'b', "BUILD"},  {'P', "PERSID"},
    {'Q', "BINPERSID"}, {0x81, "NEWOBJ"}, {0x82, "EXT1"}, {0x83, "EXT2"}, {0x84, "EXT4"}, {0x8f, "EMPTY_SET"},
    {0x90, "ADDITEMS"}, {0x91, "FROZENSET"}, {0x92, "NEWOBJ_EX"}, {0x93, "STACK_GLOBAL"}, {0x96, "BYTEARRAY8"},
    {0x97, "NEXT_BUFFER"}, {0x98, "READONLY_BUFFER"},
};

static bool fail_opcode(dd_pickle *s, unsigned char code) {
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
    if (refused[i].code == code && !s->rc)
      s->rc = dd_fail(s->err, DD_E_CORRUPT,
                      "%.600s holds more than plain data (%s at byte %zu), and code in files is never run; write it "
                      "again with only dict, list, str, int, float, bool and None",
                      s->name, refused[i].name, (size_t)(s->p - 1 - s->begin));
  return s->rc ? false : fail(s, "this opcode is not known");
}

/* ---- values, stack, memo ---- */

static value *new_value(dd_pickle *s, dd_pickle_kind kind) {
  if (s->values >= DD_PICKLE_VALUES) return fail(s, "it holds too many values"), NULL;
  if (s->values % CHUNK == 0) {
    chunk *c = malloc(sizeof *c);
    if (!c) return no_memory(s), NULL;
    c->before = s->chunks;
    s->chunks = c;
  }
  value *v = &s->chunks->v[s->values++ % CHUNK];
  *v = (value){.kind = kind};
  return v;
}

/* Make room for at least `want` pointers. */
static bool grow(dd_pickle *s, value ***list, size_t *room, size_t want) {
  if (want <= *room) return true;
  size_t more = *room ? *room : 64;
  while (more < want) more *= 2;
  value **bigger = realloc(*list, more * sizeof *bigger);
  if (!bigger) return no_memory(s);
  *list = bigger;
  *room = more;
  return true;
}

static bool push(dd_pickle *s, value *v) {
  if (!v) return false;
  if (s->depth >= DD_PICKLE_ELEMENTS) return fail(s, "it holds too many values");
  if (!grow(s, &s->stack, &s->room, s->depth + 1)) return false;
  s->stack[s->depth++] = v;
  return true;
}

/* The lowest place that belongs to the innermost open container. */
static size_t floor_of(const dd_pickle *s) { return s->marks ? s->mark[s->marks - 1] : 0; }

static value *pop(dd_pickle *s) {
  if (s->depth <= floor_of(s)) return fail(s, "a value is missing"), NULL;
  return s->stack[--s->depth];
}

static value *top(dd_pickle *s) {
  if (s->depth <= floor_of(s)) return fail(s, "a value is missing"), NULL;
  return s->stack[s->depth - 1];
}

static bool set_memo(dd_pickle *s, uint64_t i) {
  value *v = top(s);
  if (!v) return false;
  if (i >= DD_PICKLE_VALUES) return fail(s, "its memo is too large");
  const size_t before = s->memo_room;
  if (!grow(s, &s->memo, &s->memo_room, (size_t)i + 1)) return false;
  for (size_t k = before; k < s->memo_room; k++) s->memo[k] = NULL;
  s->memoized += !s->memo[i];
  s->memo[i] = v;
  return true;
}

static bool get_memo(dd_pickle *s, uint64_t i) {
  if (i >= s->memo_room || !s->memo[i]) return fail(s, "it refers to a value that was not there");
  return push(s, s->memo[i]);
}

/* Append the n values at the top of the stack to a container, and take them away. */
static bool take(dd_pickle *s, value *to, size_t n) {
  if (n > DD_PICKLE_ELEMENTS - s->elements) return fail(s, "it holds too many values");
  const size_t old = to->count;
  size_t room = 0; /* a power of two above what is there */
  if (old) for (room = 4; room < old;) room *= 2;
  if (old + n > room) {
    size_t more = room ? room : 4;
    while (more < old + n) more *= 2;
    const value **bigger = realloc(to->item, more * sizeof *bigger);
    if (!bigger) return no_memory(s);
    to->item = bigger;
  }
  for (size_t i = 0; i < n; i++) to->item[old + i] = s->stack[s->depth - n + i];
  to->count += n;
  s->elements += n;
  s->depth -= n;
  return true;
}

/* Values above the last mark, which is taken away. */
static bool since_mark(dd_pickle *s, size_t *n) {
  if (!s->marks) return fail(s, "a mark is missing");
  *n = s->depth - s->mark[--s->marks];
  return true;
}

/* Fill the container under the last mark, or under one or two values; pairs for dicts. */
static bool fill(dd_pickle *s, dd_pickle_kind kind, bool marked) {
  size_t n = kind == DD_PICKLE_DICT ? 2 : 1;
  if (marked && !since_mark(s, &n)) return false;
  if (s->depth - floor_of(s) < n + 1) return fail(s, "a value is missing");
  value *to = s->stack[s->depth - n - 1];
  if (to->kind != kind) return fail(s, "it adds to something that is no container of this kind");
  if (kind == DD_PICKLE_DICT && n % 2) return fail(s, "a key has no value");
  return take(s, to, n);
}

/* A container of the values above the last mark, or of the n at the top. */
static bool gather(dd_pickle *s, dd_pickle_kind kind, bool marked, size_t n) {
  if (marked && !since_mark(s, &n)) return false;
  if (s->depth - floor_of(s) < n) return fail(s, "a value is missing");
  if (kind == DD_PICKLE_DICT && n % 2) return fail(s, "a key has no value");
  value *v = new_value(s, kind);
  return v && take(s, v, n) && push(s, v);
}

/* ---- arguments of opcodes ---- */

static bool need(dd_pickle *s, uint64_t n) {
  return n <= (uint64_t)(s->end - s->p) ? true : fail(s, "it is truncated");
}

/* Little-endian number of n bytes. */
static bool number(dd_pickle *s, int n, uint64_t *out) {
  if (!need(s, (uint64_t)n)) return false;
  *out = 0;
  for (int i = 0; i < n; i++) *out |= (uint64_t)s->p[i] << 8 * i;
  s->p += n;
  return true;
}

static bool line(dd_pickle *s, const char **text, size_t *n) {
  const unsigned char *feed = memchr(s->p, '\n', (size_t)(s->end - s->p));
  if (!feed) return fail(s, "it is truncated");
  *text = (const char *)s->p;
  *n = (size_t)(feed - s->p);
  s->p = feed + 1;
  return true;
}

static bool push_int(dd_pickle *s, int64_t i) {
  value *v = new_value(s, DD_PICKLE_INT);
  if (v) v->integer = i;
  return push(s, v);
}

static bool push_real(dd_pickle *s, double r) {
  value *v = new_value(s, DD_PICKLE_REAL);
  if (v) v->real = r;
  return push(s, v);
}

static bool push_text(dd_pickle *s, dd_pickle_kind kind, const char *text, size_t n) {
  value *v = new_value(s, kind);
  if (v) v->text = text, v->size = n;
  return push(s, v);
}

/* Two's complement of n bytes, little-endian. */
static bool push_long(dd_pickle *s, uint64_t n) {
  uint64_t u = 0;
  if (n > 8) return fail(s, "it holds an integer of more than 64 bits");
  if (!number(s, (int)n, &u)) return false;
  if (n && n < 8 && u >> (8 * n - 1)) u |= UINT64_MAX << 8 * n;
  return push_int(s, (int64_t)u);
}

/* Text or bytes whose length is a number of `width` bytes. */
static bool push_counted(dd_pickle *s, dd_pickle_kind kind, int width) {
  uint64_t n;
  if (!number(s, width, &n) || !need(s, n)) return false;
  const char *text = (const char *)s->p;
  s->p += n;
  return push_text(s, kind, text, (size_t)n);
}

/* Decimal digits of protocol 0: 12, -3, 12L; I00 and I01 are False and True. */
static bool push_decimal(dd_pickle *s, bool is_long) {
  const char *t;
  size_t n, i = 0;
  if (!line(s, &t, &n)) return false;
  if (!is_long && n == 2 && t[0] == '0' && (t[1] == '0' || t[1] == '1')) return push(s, t[1] == '1' ? &s->yes : &s->no);
  if (is_long && n && t[n - 1] == 'L') n--;
  const bool negative = n && t[0] == '-';
  int64_t v = 0;
  for (i = negative; i < n; i++)
    if (t[i] < '0' || t[i] > '9' || __builtin_mul_overflow(v, 10, &v) ||
        (negative ? __builtin_sub_overflow(v, t[i] - '0', &v) : __builtin_add_overflow(v, t[i] - '0', &v)))
      return fail(s, "it holds an integer that is damaged or has more than 64 bits");
  return n > (size_t)negative ? push_int(s, v) : fail(s, "it holds a damaged integer");
}

static bool push_decimal_real(dd_pickle *s) {
  const char *t, *end;
  char text[64];
  size_t n;
  if (!line(s, &t, &n)) return false;
  if (n >= sizeof text) return fail(s, "it holds a damaged number");
  memcpy(text, t, n);
  text[n] = '\0';
  const double r = dd_parse_real(text, &end);
  return end == text || *end ? fail(s, "it holds a number that is damaged or not finite") : push_real(s, r);
}

static bool push_binary_real(dd_pickle *s) {
  uint64_t u = 0;
  double r;
  if (!need(s, 8)) return false;
  for (int i = 0; i < 8; i++) u = u << 8 | *s->p++;
  memcpy(&r, &u, sizeof r);
  return push_real(s, r);
}

static size_t put_code(char *out, uint32_t c) { /* surrogates too, as Python does */
  if (c < 0x80) return out[0] = (char)c, 1;
  const int n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  for (int k = n - 1; k > 0; k--, c >>= 6) out[k] = (char)(0x80 | (c & 0x3f));
  out[0] = (char)((0xf00 >> n) | (int)c);
  return (size_t)n;
}

/* Protocol 0: Latin-1 with \uXXXX and \UXXXXXXXX. Two bytes of text at most for one of the file. */
static bool push_escaped(dd_pickle *s) {
  const char *t;
  size_t n;
  if (!line(s, &t, &n)) return false;
  if (!s->spelled && !(s->spelled = malloc(2 * (size_t)(s->end - s->begin)))) return no_memory(s);
  char *out = s->spelled + s->spelled_n;
  size_t made = 0;
  for (size_t i = 0; i < n;) {
    uint32_t c = (unsigned char)t[i++];
    const size_t digits = c == '\\' && i < n ? (t[i] == 'u' ? 4 : t[i] == 'U' ? 8 : 0) : 0;
    if (digits) {
      if (n - ++i < digits) return fail(s, "it holds a damaged escape");
      c = 0;
      for (size_t k = 0; k < digits; k++, i++) {
        const char h = t[i] >= 'A' && t[i] <= 'F' ? (char)(t[i] + 32) : t[i];
        if (!(h >= '0' && h <= '9') && !(h >= 'a' && h <= 'f')) return fail(s, "it holds a damaged escape");
        c = c << 4 | (uint32_t)(h <= '9' ? h - '0' : h - 'a' + 10);
      }
      if (c > 0x10ffff) return fail(s, "it holds a damaged escape");
    }
    made += put_code(out + made, c);
  }
  s->spelled_n += made;
  return push_text(s, DD_PICKLE_TEXT, out, made);
}

/* ---- opcodes ---- */

static bool set_mark(dd_pickle *s) {
  if (s->marks == DD_PICKLE_MARKS) return fail(s, "it is nested too deeply");
  s->mark[s->marks++] = s->depth;
  return true;
}

static bool pop_one(dd_pickle *s) {
  if (s->marks && s->mark[s->marks - 1] == s->depth) return s->marks--, true; /* Python takes the mark away */
  return pop(s) != NULL;
}

static bool pop_mark(dd_pickle *s) {
  size_t n;
  if (!since_mark(s, &n)) return false;
  s->depth -= n;
  return true;
}

/* PUT and GET of protocol 0: the number as text. */
static bool memo_line(dd_pickle *s, bool put) {
  const char *t;
  size_t n;
  uint64_t i = 0;
  if (!line(s, &t, &n)) return false;
  if (!n || n > 9) return fail(s, "its memo is damaged");
  for (size_t k = 0; k < n; k++) {
    if (t[k] < '0' || t[k] > '9') return fail(s, "its memo is damaged");
    i = i * 10 + (uint64_t)(t[k] - '0');
  }
  return put ? set_memo(s, i) : get_memo(s, i);
}

static bool memo_number(dd_pickle *s, int width, bool put) {
  uint64_t i;
  return number(s, width, &i) && (put ? set_memo(s, i) : get_memo(s, i));
}

static bool set_protocol(dd_pickle *s) {
  uint64_t n;
  if (!number(s, 1, &n)) return false;
  if (n > 5) return fail(s, "its protocol is newer than 5");
  s->protocol = (int)n;
  return true;
}

static bool stop(dd_pickle *s) {
  if (s->marks) return fail(s, "it ends inside a container");
  s->root = pop(s);
  return s->root != NULL;
}

/* The names that torch.save uses for tensors and dicts of them. */
static const char *const torch_names[] = {
    "collections\nOrderedDict", "torch._utils\n_rebuild_tensor_v2", "torch._utils\n_rebuild_parameter",
    "torch\nFloatStorage", "torch\nHalfStorage", "torch\nBFloat16Storage", "torch\nDoubleStorage", "torch\nLongStorage",
    "torch\nIntStorage", "torch\nShortStorage", "torch\nCharStorage", "torch\nByteStorage", "torch\nBoolStorage"};

static bool push_global(dd_pickle *s) {
  const char *module, *name;
  size_t n, m;
  if (!line(s, &module, &n) || !line(s, &name, &m)) return false;
  for (size_t i = 0; i < sizeof torch_names / sizeof *torch_names; i++)
    if (strlen(torch_names[i]) == n + 1 + m && !memcmp(torch_names[i], module, n + 1 + m))
      return push_text(s, DD_PICKLE_GLOBAL, module, n + 1 + m);
  if (!s->rc)
    s->rc = dd_fail(s->err, DD_E_CORRUPT,
                    "%.600s names a Python object that is no tensor (at byte %zu), and code in files "
                    "is never run; save only tensors, numbers and texts",
                    s->name, (size_t)(s->p - s->begin));
  return false;
}

static bool push_call(dd_pickle *s) {
  static const char ordered[] = "collections\nOrderedDict";
  if (s->depth - floor_of(s) < 2) return fail(s, "a value is missing");
  const value *f = s->stack[s->depth - 2], *arguments = s->stack[s->depth - 1];
  if (f->kind != DD_PICKLE_GLOBAL || arguments->kind != DD_PICKLE_TUPLE) return fail(s, "it calls what is no function");
  if (f->size != sizeof ordered - 1 || memcmp(f->text, ordered, f->size)) return gather(s, DD_PICKLE_CALL, false, 2);
  if (arguments->count) return fail(s, "it makes an OrderedDict of something");
  s->depth -= 2;
  return push(s, new_value(s, DD_PICKLE_DICT));
}

static bool torch_step(dd_pickle *s, unsigned char code) {
  switch (code) {
  case 'c': return push_global(s);
  case 'R': return push_call(s);
  case 'Q': return gather(s, DD_PICKLE_PERSISTENT, false, 1);
  case 'b': return pop(s) && top(s); /* attributes, such as the version of a state_dict */
  default: return fail_opcode(s, code);
  }
}

static bool step(dd_pickle *s) {
  uint64_t n = 0;
  if (!need(s, 1)) return false;
  const unsigned char code = *s->p++;
  switch (code) {
  case 0x80: return set_protocol(s);
  case 0x95: return number(s, 8, &n) && need(s, n); /* a frame: only how much to read at once */
  case '(': return set_mark(s);
  case '0': return pop_one(s);
  case '1': return pop_mark(s);
  case '2': return push(s, top(s));
  case 'N': return push(s, &s->none);
  case 0x88: return push(s, &s->yes);
  case 0x89: return push(s, &s->no);
  case 'I': return push_decimal(s, false);
  case 'L': return push_decimal(s, true);
  case 'J': return number(s, 4, &n) && push_int(s, (int32_t)(uint32_t)n);
  case 'K': return number(s, 1, &n) && push_int(s, (int64_t)n);
  case 'M': return number(s, 2, &n) && push_int(s, (int64_t)n);
  case 0x8a: return number(s, 1, &n) && push_long(s, n);
  case 0x8b: return number(s, 4, &n) && push_long(s, n);
  case 'F': return push_decimal_real(s);
  case 'G': return push_binary_real(s);
  case 'V': return push_escaped(s);
  case 'X': return push_counted(s, DD_PICKLE_TEXT, 4);
  case 0x8c: return push_counted(s, DD_PICKLE_TEXT, 1);
  case 0x8d: return push_counted(s, DD_PICKLE_TEXT, 8);
  case 'T': return push_counted(s, DD_PICKLE_TEXT, 4); /* str of Python 2 */
  case 'U': return push_counted(s, DD_PICKLE_TEXT, 1);
  case 'B': return push_counted(s, DD_PICKLE_DATA, 4);
  case 'C': return push_counted(s, DD_PICKLE_DATA, 1);
  case 0x8e: return push_counted(s, DD_PICKLE_DATA, 8);
  case ']': return push(s, new_value(s, DD_PICKLE_LIST));
  case ')': return push(s, new_value(s, DD_PICKLE_TUPLE));
  case '}': return push(s, new_value(s, DD_PICKLE_DICT));
  case 'l': return gather(s, DD_PICKLE_LIST, true, 0);
  case 't': return gather(s, DD_PICKLE_TUPLE, true, 0);
  case 'd': return gather(s, DD_PICKLE_DICT, true, 0);
  case 0x85: return gather(s, DD_PICKLE_TUPLE, false, 1);
  case 0x86: return gather(s, DD_PICKLE_TUPLE, false, 2);
  case 0x87: return gather(s, DD_PICKLE_TUPLE, false, 3);
  case 'a': return fill(s, DD_PICKLE_LIST, false);
  case 'e': return fill(s, DD_PICKLE_LIST, true);
  case 's': return fill(s, DD_PICKLE_DICT, false);
  case 'u': return fill(s, DD_PICKLE_DICT, true);
  case 'p': return memo_line(s, true);
  case 'g': return memo_line(s, false);
  case 'q': return memo_number(s, 1, true);
  case 'r': return memo_number(s, 4, true);
  case 'h': return memo_number(s, 1, false);
  case 'j': return memo_number(s, 4, false);
  case 0x94: return set_memo(s, s->memoized);
  case '.': return stop(s);
  default: return s->torch ? torch_step(s, code) : fail_opcode(s, code);
  }
}

static int parse(const char *data, size_t n, const char *name, bool torch, dd_pickle **out, dd_error *err) {
  *out = NULL;
  dd_pickle *s = calloc(1, sizeof *s);
  if (!s) return dd_fail(err, DD_E_RUNTIME, "out of memory while reading %.600s", name);
  s->begin = s->p = (const unsigned char *)data;
  s->end = s->begin + n;
  s->name = name;
  s->torch = torch;
  s->err = err;
  s->no = (value){.kind = DD_PICKLE_BOOL};
  s->yes = (value){.kind = DD_PICKLE_BOOL, .integer = 1};
  if (n > DD_PICKLE_BYTES) fail(s, "it is too large");
  while (!s->rc && !s->root && step(s)) {}
  if (!s->rc && s->p != s->end) fail(s, "something follows its end");
  const int rc = s->rc;
  if (rc) dd_pickle_free(s);
  else *out = s;
  return rc;
}

int dd_pickle_parse(const char *data, size_t n, const char *name, dd_pickle **out, dd_error *err) {
  return parse(data, n, name, false, out, err);
}

int dd_pickle_parse_torch(const char *data, size_t n, const char *name, dd_pickle **out, dd_error *err) {
  return parse(data, n, name, true, out, err);
}

void dd_pickle_free(dd_pickle *s) {
  if (!s) return;
  for (chunk *c = s->chunks; c; c = s->chunks) {
    const size_t n = (s->values - 1) % CHUNK + 1; /* of the newest chunk; the others are full */
    for (size_t i = 0; i < n; i++) free(c->v[i].item);
    s->values -= n;
    s->chunks = c->before;
    free(c);
  }
  free(s->spelled);
  free(s->stack);
  free(s->memo);
  free(s);
}

const dd_pickle_value *dd_pickle_root(const dd_pickle *p) { return p->root; }
int dd_pickle_protocol(const dd_pickle *p) { return p->protocol; }

const dd_pickle_value *dd_pickle_get(const dd_pickle_value *v, const char *key) {
  const size_t n = strlen(key);
  const dd_pickle_value *found = NULL;
  for (size_t i = 0; v && v->kind == DD_PICKLE_DICT && i + 1 < v->count; i += 2)
    if (v->item[i]->kind == DD_PICKLE_TEXT && v->item[i]->size == n && !memcmp(v->item[i]->text, key, n))
      found = v->item[i + 1];
  return found;
}
