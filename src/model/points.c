#include "model/points.h"
#include "core/number.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *skip_blanks(const char *p) {
  while (*p == ' ' || *p == '\t') p++; /* strspn is slow on a long text where it is checked */
  return p;
}

static double position(const dd_point *p, int64_t T) { return p->percent ? p->at / 100 * (double)T : p->at; }

/* "50%" or "3000" at *p, behind it afterwards; NULL, or what is wrong. */
static const char *parse_at(const char **p, dd_point *out) {
  const char *end;
  out->at = dd_parse_real(*p, &end);
  if (end == *p) return "an iteration is a whole number or a percentage";
  out->percent = *end == '%';
  if (out->percent ? !(out->at >= 0 && out->at <= 100) : !(out->at >= 0 && out->at <= 4e9))
    return out->percent ? "a percentage is from 0% to 100%" : "an iteration is from 0 to 4000000000";
  if (!out->percent && (double)(int64_t)out->at != out->at) return "an iteration is a whole number or a percentage";
  *p = end + out->percent;
  return NULL;
}

static const char *parse_rate(const char **p, dd_point *out) {
  const char *end;
  out->rate = dd_parse_real(*p, &end) + 0.0;
  if (end == *p || !(out->rate >= 0 && out->rate < 1)) return "a rate is a number from 0 to below 1";
  *p = end;
  return NULL;
}

/* Room for one more; doubles what there is. */
static int grow(dd_points **list, size_t *room, dd_error *err) {
  if (*list && (*list)->n < *room) return DD_OK;
  const size_t more = *room ? *room * 2 : 16;
  dd_points *p = realloc(*list, sizeof *p + more * sizeof p->point[0]);
  if (!p) return dd_fail(err, DD_E_RUNTIME, "out of memory for a table of rates");
  if (!*list) p->n = 0;
  *list = p;
  *room = more;
  return DD_OK;
}

int dd_points_parse_list(dd_points **out, const char *name, const char *text, dd_error *err) {
  dd_points *list = NULL;
  size_t room = 0;
  *out = NULL;
  for (const char *p = text;;) {
    dd_point one;
    int rc = grow(&list, &room, err);
    p = skip_blanks(p);
    const char *wrong = rc ? NULL : parse_at(&p, &one);
    p = skip_blanks(p);
    if (!rc && !wrong && *p != '=') wrong = "expected '='";
    if (!rc && !wrong) {
      p = skip_blanks(p + 1);
      wrong = parse_rate(&p, &one);
    }
    p = skip_blanks(p);
    if (!rc && !wrong && *p && *p != ',') wrong = "expected ','";
    if (!rc && !wrong && list->n == DD_POINTS_MAX) wrong = "too many steps";
    if (wrong)
      rc = dd_fail(err, DD_E_USAGE, "%s: column %td: %s; a list of steps is like 0=0.2,50%%=0.1,3000=0", name,
                   p - text + 1, wrong);
    if (rc) {
      free(list);
      return rc;
    }
    list->point[list->n++] = one;
    if (!*p++) break;
  }
  *out = list;
  return DD_OK;
}

/* One line up to its end: 1 a row, 0 nothing, -1 wrong (*why). */
static int parse_line(const char *p, const char *end, dd_point *out, const char **why) {
  p = skip_blanks(p);
  if (p == end || *p == '#') return 0;
  if ((*why = parse_at(&p, out))) return -1;
  const char *behind = p;
  p = skip_blanks(p);
  if (*p == ',' || *p == ';') p = skip_blanks(p + 1);
  else if (p == behind) return *why = "expected a comma, tab or space between iteration and rate", -1;
  if ((*why = parse_rate(&p, out))) return -1;
  p = skip_blanks(p);
  if (p != end && *p != '#') return *why = "something follows the rate", -1;
  return 1;
}

/* A header has a letter where the first number would be. */
static bool is_header(const char *p) {
  p = skip_blanks(p);
  if (*p == '"') p++;
  return (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z');
}

int dd_points_parse_table(dd_points **out, const char *name, const char *text, size_t n, dd_error *err) {
  dd_points *list = NULL;
  size_t room = 0, line = 0;
  bool header = false;
  *out = NULL;
  int rc = DD_OK;
  if (memchr(text, 0, n)) rc = dd_fail(err, DD_E_CORRUPT, "%s is no table of rates: it holds a NUL byte", name);
  if (!rc) rc = grow(&list, &room, err);
  const char *p = n >= 3 && !memcmp(text, "\xef\xbb\xbf", 3) ? text + 3 : text;
  for (const char *next; !rc && p < text + n; p = next) {
    const char *feed = memchr(p, '\n', (size_t)(text + n - p)), *end = feed ? feed : text + n, *why = NULL;
    next = feed ? feed + 1 : end;
    if (end > p && end[-1] == '\r') end--;
    line++;
    dd_point one;
    const int got = parse_line(p, end, &one, &why);
    if (got < 0 && !list->n && !header && is_header(p)) {
      header = true;
      continue;
    }
    if (got > 0 && list->n == DD_POINTS_MAX) why = "too many rows, at most 100000 are read";
    if (why)
      rc = dd_fail(err, DD_E_CORRUPT, "%s:%zu: %s; a row is `iteration, rate` such as 500, 0.1", name, line, why);
    if (rc || got <= 0) continue;
    rc = grow(&list, &room, err);
    if (!rc) list->point[list->n++] = one;
  }
  if (!rc && !list->n) rc = dd_fail(err, DD_E_CORRUPT, "%s holds no row `iteration, rate`", name);
  if (rc) free(list);
  else *out = list;
  return rc;
}

int dd_points_check(const dd_points *p, const char *name, int64_t T, dd_error *err) {
  for (size_t i = 1; i < p->n; i++) {
    const dd_point *a = &p->point[i - 1], *b = &p->point[i];
    if (!(position(b, T) > position(a, T)))
      return dd_fail(err, DD_E_USAGE,
                     "%s: iterations must increase, but %.15g%s comes after %.15g%s (of %lld iterations)", name,
                     b->at, b->percent ? "%" : "", a->at, a->percent ? "%" : "", (long long)T);
  }
  return DD_OK;
}

/* Points that t has reached. */
static size_t reached(const dd_points *p, int64_t T, int64_t t) {
  size_t lo = 0, hi = p->n;
  while (lo < hi) {
    const size_t mid = lo + (hi - lo) / 2;
    if (position(&p->point[mid], T) <= (double)t) lo = mid + 1;
    else hi = mid;
  }
  return lo;
}

double dd_points_step(const dd_points *p, int64_t T, int64_t t, double before) {
  const size_t n = reached(p, T, t);
  return n ? p->point[n - 1].rate : before;
}

double dd_points_line(const dd_points *p, int64_t T, int64_t t) {
  const size_t n = reached(p, T, t);
  if (!n) return p->point[0].rate;
  const dd_point *a = &p->point[n - 1], *b = a + 1;
  if (n == p->n) return a->rate;
  const double from = position(a, T), u = ((double)t - from) / (position(b, T) - from);
  return a->rate * (1 - u) + b->rate * u;
}
