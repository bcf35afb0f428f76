#include "model/expr.h"
#include "core/mathd.h"
#include "core/number.h"
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LENGTH = 4096, MAX_DEPTH = 64, MAX_STACK = 256 };

typedef enum op {
  OP_NUMBER, OP_VAR, OP_NEG, OP_NOT, OP_ADD, OP_SUB, OP_MUL, OP_DIV, OP_POW, OP_LT, OP_LE, OP_GT, OP_GE, OP_EQ, OP_NE,
  OP_AND, OP_OR, OP_CHOOSE,
#define FUNCTION_OP(name, n, help) OP_##name,
  DD_EXPR_FUNCTIONS(FUNCTION_OP)
} op;

typedef struct code { /* one instruction of a stack machine */
  op op;
  int n; /* arguments, or the variable */
  double number;
} code;
struct dd_expr {
  unsigned vars;
  int n;
  code code[];
};

/* ---- functions, from own mathematics alone ---- */

static double as_bool(int yes) { return yes ? 1 : 0; }

/* Repeated squaring: x^2 is x*x. */
static double whole_power(double x, int n) {
  double p = 1;
  for (int k = n < 0 ? -n : n; k; k >>= 1, x *= x)
    if (k & 1) p *= x;
  return n < 0 ? 1 / p : p;
}

static double power(double x, double y) {
  if (y >= -64 && y <= 64 && (double)(int)y == y) return whole_power(x, (int)y);
  if (x > 0) return dd_pow(x, y);
  if (x == 0) return y > 0 ? 0 : y < 0 ? (double)INFINITY : (double)NAN;
  return (double)NAN; /* the root of a negative number, or too large a power to tell its sign */
}

static double whole_below(double x) {
  if (!(fabs(x) < 0x1p52)) return x;
  const double r = (double)(int64_t)x;
  return r > x ? r - 1 : r;
}

/* Turns of pi; beyond 2^50 no digit of an angle is left. */
static double turns(double x) { return fabs(x) < 0x1p50 ? x / 0x1.921fb54442d18p+1 : (double)NAN; }
static double sine(double x) { return turns(x) == turns(x) ? dd_sinpi(turns(x)) : (double)NAN; }
static double cosine(double x) { return turns(x) == turns(x) ? dd_cospi(turns(x)) : (double)NAN; }

static double apply(const code *c, const double *a) {
  double r = a[0];
  switch (c->op) {
  case OP_NUMBER:
  case OP_VAR: break;
  case OP_NEG: return -a[0];
  case OP_NOT: return as_bool(a[0] == 0);
  case OP_ADD: return a[0] + a[1];
  case OP_SUB: return a[0] - a[1];
  case OP_MUL: return a[0] * a[1];
  case OP_DIV: return a[0] / a[1];
  case OP_POW: return power(a[0], a[1]);
  case OP_LT: return as_bool(a[0] < a[1]);
  case OP_LE: return as_bool(a[0] <= a[1]);
  case OP_GT: return as_bool(a[0] > a[1]);
  case OP_GE: return as_bool(a[0] >= a[1]);
  case OP_EQ: return as_bool(a[0] == a[1]);
  case OP_NE: return as_bool(a[0] != a[1]);
  case OP_AND: return as_bool(a[0] != 0 && a[1] != 0);
  case OP_OR: return as_bool(a[0] != 0 || a[1] != 0);
  case OP_CHOOSE: return a[0] != 0 ? a[1] : a[2];
  case OP_min:
    for (int i = 1; i < c->n; i++) r = a[i] < r ? a[i] : r;
    return r;
  case OP_max:
    for (int i = 1; i < c->n; i++) r = a[i] > r ? a[i] : r;
    return r;
  case OP_clamp: return a[0] < a[1] ? a[1] : a[0] > a[2] ? a[2] : a[0];
  case OP_abs: return a[0] < 0 ? -a[0] : a[0];
  case OP_floor: return whole_below(a[0]);
  case OP_sqrt: return sqrt(a[0]);
  case OP_exp: return dd_exp(a[0]);
  case OP_log: return dd_log(a[0]);
  case OP_sin: return sine(a[0]);
  case OP_cos: return cosine(a[0]);
  }
  return r;
}

double dd_expr_eval(const dd_expr *e, const double var[DD_EXPR_VAR_COUNT]) {
  double stack[MAX_STACK];
  int top = 0;
  for (int i = 0; i < e->n; i++) {
    const code *c = &e->code[i];
    if (c->op == OP_NUMBER) stack[top++] = c->number;
    else if (c->op == OP_VAR) stack[top++] = var[c->n];
    else {
      top -= c->n;
      stack[top] = apply(c, stack + top);
      top++;
    }
  }
  return stack[0];
}

unsigned dd_expr_vars(const dd_expr *e) { return e->vars; }
void dd_expr_destroy(dd_expr *e) { free(e); }

/* ---- the parser: recursive descent, one function per level of precedence ---- */

typedef struct parser {
  const char *text, *p;
  dd_expr *e;
  int depth, stack; /* levels open now, values on the stack of the machine */
  int rc;           /* first failure */
  dd_error *err;
} parser;

static void spaces(parser *s) { s->p += strspn(s->p, " \t\r\n"); }

static void wrong(parser *s, const char *at, const char *what) {
  if (s->rc) return;
  char found[48] = "the end";
  const size_t n = strcspn(at, " \t\r\n+-*/^()<>=!?:,&|");
  /* whole UTF-8 characters or nothing of them: only their beginning is shown */
  size_t shown = n ? (n < 24 ? n : 24) : 1;
  while (shown < n && ((unsigned char)at[shown] & 0xc0) == 0x80) shown++;
  if (*at) snprintf(found, sizeof found, "'%.*s'", (int)shown, at);
  s->rc = dd_fail(s->err, DD_E_USAGE, "column %td: %s, found %s", at - s->text + 1, what, found);
}

static void emit(parser *s, op what, int n, double number) {
  if (s->rc) return;
  s->stack += what == OP_NUMBER || what == OP_VAR ? 1 : 1 - n;
  if (s->stack > MAX_STACK) wrong(s, s->p, "too many values are open; write the expression in simpler parts");
  else s->e->code[s->e->n++] = (code){.op = what, .n = n, .number = number};
}

static bool accept(parser *s, const char *symbol) {
  spaces(s);
  const size_t n = strlen(symbol);
  if (s->rc || strncmp(s->p, symbol, n)) return false;
  s->p += n;
  return true;
}

static void expect(parser *s, const char *symbol) {
  char what[32];
  snprintf(what, sizeof what, "expected '%s'", symbol);
  if (!accept(s, symbol)) wrong(s, s->p, what);
}

static bool enter(parser *s) {
  if (++s->depth > MAX_DEPTH) wrong(s, s->p, "nested too deeply");
  return !s->rc;
}
static void leave(parser *s) { s->depth--; }

static void choice(parser *s);

static bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static void call(parser *s, const char *at, op function, int arity) {
  int n = 0;
  expect(s, "(");
  do {
    choice(s);
    n++;
  } while (!s->rc && accept(s, ","));
  expect(s, ")");
  if (arity < 0 ? n < 2 : n != arity)
    wrong(s, at, arity < 0 ? "this function takes two or more values"
                 : arity == 1 ? "this function takes one value" : "this function takes three values");
  emit(s, function, n, 0);
}

static void name(parser *s) {
  static const char *const vars[] = {
#define VAR_NAME(name, help) #name,
      DD_EXPR_VARS(VAR_NAME)};
  static const struct { const char *name; int arity; op op; } functions[] = {
#define FUNCTION_ROW(name, n, help) {#name, n, OP_##name},
      DD_EXPR_FUNCTIONS(FUNCTION_ROW)};
  const char *at = s->p;
  size_t n = 0;
  while (is_name_char(at[n])) n++;
  s->p += n;
  for (int i = 0; i < DD_EXPR_VAR_COUNT; i++)
    if (strlen(vars[i]) == n && !strncmp(at, vars[i], n)) {
      s->e->vars |= 1u << i;
      emit(s, OP_VAR, i, 0);
      return;
    }
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
    if (strlen(functions[i].name) == n && !strncmp(at, functions[i].name, n)) {
      call(s, at, functions[i].op, functions[i].arity);
      return;
    }
  if (n == 2 && !strncmp(at, "pi", 2)) emit(s, OP_NUMBER, 0, 0x1.921fb54442d18p+1);
  else {
#define KNOWN(name, ...) " " #name
    wrong(s, at, "unknown name; known are" DD_EXPR_VARS(KNOWN) " pi" DD_EXPR_FUNCTIONS(KNOWN));
  }
}

static void primary(parser *s) {
  spaces(s);
  const char *end;
  if (s->rc) return;
  if ((*s->p >= '0' && *s->p <= '9') || *s->p == '.') {
    const double v = dd_parse_real(s->p, &end);
    if (end == s->p || is_name_char(*end) || *end == '.') wrong(s, s->p, "expected a number");
    else {
      s->p = end;
      emit(s, OP_NUMBER, 0, v);
    }
  } else if (is_name_char(*s->p)) name(s);
  else if (accept(s, "(")) {
    choice(s);
    expect(s, ")");
  } else wrong(s, s->p, "expected a number, a name or '('");
}

static void unary(parser *s);

/* -2^2 is -4, 2^-1 is 0.5, 2^3^2 is 2^9. */
static void raised(parser *s) {
  primary(s);
  if (!accept(s, "^")) return;
  unary(s);
  emit(s, OP_POW, 2, 0);
}

static void unary(parser *s) {
  if (enter(s)) {
    spaces(s);
    if (accept(s, "-")) {
      unary(s);
      emit(s, OP_NEG, 1, 0);
    } else if (s->p[0] == '!' && s->p[1] != '=') {
      s->p++;
      unary(s);
      emit(s, OP_NOT, 1, 0);
    } else if (accept(s, "+")) unary(s);
    else raised(s);
  }
  leave(s);
}

/* Binary operators from left to right: levels of precedence, the weakest first; a symbol stands before its prefixes. */
static const struct level { struct { const char *symbol; op op; } of[6]; } levels[] = {
    {{{"||", OP_OR}}},
    {{{"&&", OP_AND}}},
    {{{"<=", OP_LE}, {">=", OP_GE}, {"==", OP_EQ}, {"!=", OP_NE}, {"<", OP_LT}, {">", OP_GT}}},
    {{{"+", OP_ADD}, {"-", OP_SUB}}},
    {{{"*", OP_MUL}, {"/", OP_DIV}}},
};
enum { LEVELS = sizeof levels / sizeof levels[0] };

static void binary(parser *s, int level) {
  if (level == LEVELS) {
    unary(s);
    return;
  }
  binary(s, level + 1);
  for (int i = 0; !s->rc && i < 6 && levels[level].of[i].symbol;) {
    if (!accept(s, levels[level].of[i].symbol)) {
      i++;
      continue;
    }
    binary(s, level + 1);
    emit(s, levels[level].of[i].op, 2, 0);
    i = 0;
  }
}

static void choice(parser *s) {
  if (enter(s)) {
    binary(s, 0);
    if (accept(s, "?")) {
      choice(s);
      expect(s, ":");
      choice(s);
      emit(s, OP_CHOOSE, 3, 0);
    }
  }
  leave(s);
}

int dd_expr_compile(dd_expr **out, const char *text, dd_error *err) {
  *out = NULL;
  const size_t n = strlen(text);
  if (n > MAX_LENGTH) return dd_fail(err, DD_E_USAGE, "an expression of %zu bytes is too long, at most 4096", n);
  dd_expr *e = malloc(sizeof *e + (n + 1) * sizeof e->code[0]); /* every instruction has a character of its own */
  if (!e) return dd_fail(err, DD_E_RUNTIME, "out of memory for an expression");
  e->vars = 0;
  e->n = 0;
  parser s = {.text = text, .p = text, .e = e, .err = err};
  choice(&s);
  spaces(&s);
  if (*s.p) wrong(&s, s.p, "expected an operator or the end");
  if (s.rc) free(e);
  else *out = e;
  return s.rc;
}
