#include "study/svg.h"
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- text ---- */

/* One code point of valid or invalid UTF-8: bytes taken (>= 1), 0 at the end. */
static int decode(const char *s, uint32_t *code) {
  const unsigned char *u = (const unsigned char *)s;
  if (!u[0]) return 0;
  const int more = u[0] < 0x80                   ? 0
                   : u[0] >= 0xC2 && u[0] < 0xE0 ? 1
                   : u[0] >= 0xE0 && u[0] < 0xF0 ? 2
                   : u[0] >= 0xF0 && u[0] < 0xF5 ? 3
                                                 : -1;
  *code = 0xFFFD;
  if (more < 0) return 1;
  uint32_t c = more == 0 ? u[0] : u[0] & (0x3Fu >> more);
  for (int i = 1; i <= more; i++) {
    if ((u[i] & 0xC0) != 0x80) return i;
    c = c << 6 | (u[i] & 0x3Fu);
  }
  *code = c;
  return more + 1;
}

static bool forbidden(uint32_t c) {
  return (c < 0x20 && c != '\t' && c != '\n') || (c >= 0x7F && c < 0xA0) || (c >= 0xD800 && c < 0xE000) ||
         (c & 0xFFFE) == 0xFFFE || c > 0x10FFFF || c == 0x200E || c == 0x200F || (c >= 0x202A && c <= 0x202E) ||
         (c >= 0x2066 && c <= 0x2069) || c == 0xFFFD;
}

static double advance(uint32_t c) {
  if (c >= 0x1100) return c >= 0x2000 && c < 0x2E80 ? 0.8 : 1.0;
  if (strchr("iljtfI.,:;'|!()[] ", (int)(c < 0x80 ? c : 'x'))) return 0.40;
  return c == 'm' || c == 'w' || c == '@' || c == '%' || (c >= 'A' && c <= 'Z') ? 0.85 : 0.62;
}

double dd_text_em(const char *text) {
  double em = 0;
  uint32_t c;
  for (int n; text && (n = decode(text, &c)); text += n) em += advance(c);
  return em;
}

static void escape_until(dd_str *out, const char *text, const char *end) {
  uint32_t c;
  for (int n; text < end && (n = decode(text, &c)); text += n) {
    if (c == '&') dd_str_puts(out, "&amp;");
    else if (c == '<') dd_str_puts(out, "&lt;");
    else if (c == '>') dd_str_puts(out, "&gt;");
    else if (c == '"') dd_str_puts(out, "&quot;");
    else if (c == '\'') dd_str_puts(out, "&#39;");
    else if (forbidden(c)) dd_str_puts(out, "\xEF\xBF\xBD");
    else dd_str_append(out, text, (size_t)n);
  }
}

void dd_escape(dd_str *out, const char *text) {
  if (text) escape_until(out, text, text + strlen(text));
}

void dd_escape_fit(dd_str *out, const char *text, double em) {
  if (!text) return;
  if (dd_text_em(text) <= em) {
    dd_escape(out, text);
    return;
  }
  const char *end = text;
  uint32_t c;
  double used = 1.0; /* the ellipsis */
  for (int n; (n = decode(end, &c)) && used + advance(c) <= em; end += n) used += advance(c);
  while (end > text && end[-1] == ' ') end--;
  escape_until(out, text, end);
  dd_str_puts(out, "\xE2\x80\xA6");
}

char *dd_number(char buf[48], double x, int digits) {
  char raw[48];
  if (digits < 0) digits = 0;
  if (digits > 17) digits = 17;
  if (fabs(x) < 1e15) snprintf(raw, sizeof raw, "%.*f", digits, x);
  else snprintf(raw, sizeof raw, "%.6e", x);
  char *to = buf;
  for (const char *from = raw; *from; from++) { /* whatever the locale writes between digits is the decimal point */
    if (strchr("0123456789-+einfa", *from)) *to++ = *from;
    else if (to == buf || to[-1] != '.') *to++ = '.';
  }
  *to = 0;
  if (buf[0] == '-' && !strpbrk(buf, "123456789if")) memmove(buf, buf + 1, strlen(buf)); /* no -0.00 */
  return buf;
}

char *dd_number_typeset(char buf[48], double x, int digits, bool plus) {
  char plain[48];
  const char *digits_of = dd_number(plain, x, digits);
  const bool minus = *digits_of == '-', zero = !strpbrk(digits_of, "123456789if");
  snprintf(buf, 48, "%s%s", minus ? "\xE2\x88\x92" : plus && !zero ? "+" : "", digits_of + minus);
  return buf;
}

/* ---- axes ---- */

void dd_axis_fit(dd_axis *a, double lo, double hi, int ticks) {
  if (!(lo <= hi)) lo = 0, hi = 1;
  if (!(hi - lo > 1e-12 * (fabs(lo) + fabs(hi)) + 1e-30)) {
    const double pad = lo == 0 ? 1 : 0.05 * fabs(lo);
    lo -= pad;
    hi += pad;
  }
  static const double round_ones[] = {1, 2, 2.5, 5, 10};
  const double raw = (hi - lo) / (ticks > 0 ? ticks : 1);
  double power = 1;
  int exponent = 0;
  while (power > raw) power /= 10, exponent--;
  while (power * 10 <= raw) power *= 10, exponent++;
  int i = 0;
  while (i < 4 && round_ones[i] * power < raw * 0.999999) i++;
  const bool quarter = round_ones[i] == 2.5;
  if (round_ones[i] == 10) exponent++;
  *a = (dd_axis){.lo = lo, .hi = hi, .step = round_ones[i] * power, .digits = (exponent < 0 ? -exponent : 0)};
  if (quarter && exponent <= 0) a->digits++;
}

void dd_axis_fit_round(dd_axis *a, double lo, double hi, int ticks) {
  dd_axis_fit(a, lo, hi, ticks);
  a->lo = floor(a->lo / a->step + 1e-9) * a->step;
  a->hi = ceil(a->hi / a->step - 1e-9) * a->step;
}

bool dd_axis_tick(const dd_axis *a, int i, double *value) {
  *value = (ceil(a->lo / a->step - 1e-9) + i) * a->step;
  return i < 1000 && *value <= a->hi + 1e-9 * a->step;
}

double dd_plot_x(const dd_plot *p, double x) {
  return p->left + (x - p->x.lo) / (p->x.hi - p->x.lo) * (p->right - p->left);
}
double dd_plot_y(const dd_plot *p, double y) {
  return p->bottom - (y - p->y.lo) / (p->y.hi - p->y.lo) * (p->bottom - p->top);
}

/* ---- elements ---- */

/* A coordinate; far outside is cut, so that a renderer need not handle it. */
static void coordinate(dd_str *out, double v) {
  char b[48];
  dd_number(b, v > 9999 ? 9999 : v < -9999 ? -9999 : v, 1);
  const size_t n = strlen(b);
  if (n > 2 && !strcmp(b + n - 2, ".0")) b[n - 2] = 0;
  dd_str_puts(out, b);
}
static void attribute(dd_str *out, const char *name, double v) {
  dd_str_printf(out, " %s=\"", name);
  coordinate(out, v);
  dd_str_puts(out, "\"");
}
static void point(dd_str *out, char command, double x, double y) {
  dd_str_append(out, &command, 1);
  coordinate(out, x);
  dd_str_puts(out, " ");
  coordinate(out, y);
}

void dd_plot_open(const dd_plot *p, double width, double height, const char *id, const char *attributes,
                  const char *title, const char *desc) {
  dd_str *o = p->out;
  dd_str_puts(o, "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"plot\" viewBox=\"0 0 ");
  coordinate(o, width);
  dd_str_puts(o, " ");
  coordinate(o, height);
  dd_str_printf(o, "\" role=\"img\" aria-labelledby=\"%s-t %s-d\"%s%s><title id=\"%s-t\">", id, id,
                *attributes ? " " : "", attributes, id);
  dd_escape(o, title);
  dd_str_printf(o, "</title><desc id=\"%s-d\">", id);
  dd_escape(o, desc);
  dd_str_puts(o, "</desc>");
  if (p->clip) {
    dd_str_printf(o, "<clipPath id=\"%s\"><rect", p->clip);
    attribute(o, "x", p->left - 2);
    attribute(o, "y", p->top - 2);
    attribute(o, "width", p->right - p->left + 4);
    attribute(o, "height", p->bottom - p->top + 4);
    dd_str_puts(o, "/></clipPath>");
  }
}

void dd_plot_style(dd_str *out, const char *css) {
  dd_str_puts(out, "<style>");
  dd_str_puts(out, css); /* ours: nothing to escape, and checked by the tests */
  dd_str_puts(out, "</style>");
}

void dd_plot_text(dd_str *out, const char *class, double x, double y, const char *text) {
  dd_str_printf(out, "<text class=\"%s\"", class);
  attribute(out, "x", x);
  attribute(out, "y", y);
  dd_str_puts(out, ">");
  dd_escape(out, text);
  dd_str_puts(out, "</text>");
}

static void path_open(const dd_plot *p, const char *class) {
  dd_str_printf(p->out, "<path class=\"%s\"", class);
  if (p->clip) dd_str_printf(p->out, " clip-path=\"url(#%s)\"", p->clip);
  dd_str_puts(p->out, " d=\"");
}

void dd_plot_x_axis(const dd_plot *p, const char *x_label) {
  char b[48];
  double v;
  dd_str_puts(p->out, "<path class=\"grid\" d=\"");
  for (int i = 0; dd_axis_tick(&p->x, i, &v); i++) {
    point(p->out, 'M', dd_plot_x(p, v), p->top);
    point(p->out, 'L', dd_plot_x(p, v), p->bottom);
  }
  dd_str_puts(p->out, "\"/>");
  for (int i = 0; dd_axis_tick(&p->x, i, &v); i++)
    dd_plot_text(p->out, "tick mid", dd_plot_x(p, v), p->bottom + 14, dd_number_typeset(b, v, p->x.digits, false));
  if (*x_label) dd_plot_text(p->out, "axis mid", (p->left + p->right) / 2, p->bottom + 29, x_label);
}

void dd_plot_axes(const dd_plot *p, const char *x_label, const char *y_label) {
  char b[48];
  double v;
  dd_str_puts(p->out, "<path class=\"grid\" d=\"");
  for (int i = 0; dd_axis_tick(&p->y, i, &v); i++) {
    point(p->out, 'M', p->left, dd_plot_y(p, v));
    point(p->out, 'L', p->right, dd_plot_y(p, v));
  }
  dd_str_puts(p->out, "\"/>");
  for (int i = 0; dd_axis_tick(&p->y, i, &v); i++)
    dd_plot_text(p->out, "tick end", p->left - 5, dd_plot_y(p, v) + 4, dd_number_typeset(b, v, p->y.digits, false));
  if (*y_label) dd_plot_text(p->out, "axis", 4, p->top - 10, y_label);
  dd_plot_x_axis(p, x_label);
}

static bool usable(double v) { return v >= -DD_PLOT_MAX && v <= DD_PLOT_MAX; }

void dd_plot_line(const dd_plot *p, const char *class, int n, const double *x, const double *y) {
  bool any = false;
  for (int i = 0; i < n; i++) {
    if (!usable(y[i])) continue;
    const bool before = i > 0 && usable(y[i - 1]), after = i + 1 < n && usable(y[i + 1]);
    if (!before && !after) continue; /* a dot, below */
    if (!any) path_open(p, class);
    any = true;
    point(p->out, before ? 'L' : 'M', dd_plot_x(p, x[i]), dd_plot_y(p, y[i]));
  }
  if (any) dd_str_puts(p->out, "\"/>");
  for (int i = 0; i < n; i++)
    if (usable(y[i]) && !(i > 0 && usable(y[i - 1])) && !(i + 1 < n && usable(y[i + 1])))
      if (y[i] >= p->y.lo && y[i] <= p->y.hi) dd_plot_dot(p, "dot", x[i], y[i], 3, NULL);
}

void dd_plot_band(const dd_plot *p, const char *class, int n, const double *x, const double *lo, const double *hi) {
  bool any = false;
  for (int i = 0; i < n;) {
    int end = i;
    while (end < n && usable(lo[end]) && usable(hi[end])) end++;
    if (end - i >= 2) {
      if (!any) path_open(p, class);
      any = true;
      for (int k = i; k < end; k++) point(p->out, k == i ? 'M' : 'L', dd_plot_x(p, x[k]), dd_plot_y(p, hi[k]));
      for (int k = end - 1; k >= i; k--) point(p->out, 'L', dd_plot_x(p, x[k]), dd_plot_y(p, lo[k]));
      dd_str_puts(p->out, "Z");
    }
    i = end + 1;
  }
  if (any) dd_str_puts(p->out, "\"/>");
}

void dd_plot_dot(const dd_plot *p, const char *class, double x, double y, double r, const char *hover) {
  if (!usable(x) || !usable(y)) return;
  dd_str_printf(p->out, "<circle class=\"%s\"", class);
  attribute(p->out, "cx", dd_plot_x(p, x));
  attribute(p->out, "cy", dd_plot_y(p, y));
  attribute(p->out, "r", r);
  if (!hover) {
    dd_str_puts(p->out, "/>");
    return;
  }
  dd_str_puts(p->out, "><title>");
  dd_escape(p->out, hover);
  dd_str_puts(p->out, "</title></circle>");
}

/* ---- labels that must not touch ---- */

typedef struct wanted {
  double y;
  int index;
} wanted;
static int by_height(const void *a, const void *b) {
  const wanted *p = a, *q = b;
  return p->y < q->y ? -1 : p->y > q->y ? 1 : p->index - q->index;
}

void dd_spread(double *y, int n, double gap, double lo, double hi) {
  if (n < 1) return;
  if (n > 1 && (n - 1) * gap > hi - lo) gap = (hi - lo) / (n - 1);
  wanted *w = malloc((size_t)n * sizeof *w);
  if (!w) return;
  for (int i = 0; i < n; i++) w[i] = (wanted){.y = y[i], .index = i};
  qsort(w, (size_t)n, sizeof *w, by_height);
  /* From the top down, then what stands below the end is pushed up. */
  for (int i = 0; i < n; i++) {
    const double least = i ? w[i - 1].y + gap : lo;
    if (w[i].y < least) w[i].y = least;
  }
  for (int i = n - 1; i >= 0; i--) {
    const double most = i + 1 < n ? w[i + 1].y - gap : hi;
    if (w[i].y > most) w[i].y = most;
  }
  for (int i = 0; i < n; i++) y[w[i].index] = w[i].y;
  free(w);
}
