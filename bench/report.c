/* Rows: a table for people, JSON for programs. */
#include "bench/bench.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void text(const dd_bench *b, const char *s) {
  if (!b->silent && b->cb && b->cb->text) b->cb->text(b->cb->user, s, strlen(s));
}

void dd_bench_say(dd_bench *b, const char *fmt, ...) {
  char line[1024];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(line, sizeof line - 1, fmt, ap);
  va_end(ap);
  strcat(line, "\n");
  text(b, line);
}

void dd_bench_warn(dd_bench *b, const char *fmt, ...) {
  char line[512];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(line, sizeof line, fmt, ap);
  va_end(ap);
  json_array_append_new(b->warnings, json_string(line));
  dd_bench_say(b, "warning: %s", line);
}

static const char row_format[] = "%-30s %-12s %9s %-8s %9s %9s %8s %7s";

void dd_bench_heading(dd_bench *b, const char *fmt, ...) {
  char line[256];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(line, sizeof line, fmt, ap);
  va_end(ap);
  dd_bench_say(b, "\n%s: %s", b->subject, line);
  dd_bench_say(b, row_format, "", "", "median", "", "p10", "p90", "of limit", "vs best");
}

/* Four digits that matter, in at most nine columns. */
static void number(char *out, size_t size, double v) {
  const double a = fabs(v);
  if (!isfinite(v)) snprintf(out, size, "-");
  else if (a >= 1e8) snprintf(out, size, "%.3e", v);
  else snprintf(out, size, "%.*f", a >= 1000 ? 0 : a >= 100 ? 1 : a >= 10 ? 2 : 3, v);
}

static void show(dd_bench *b, const dd_row *r) {
  char median[24], p10[24], p90[24], share[24] = "", ratio[24] = "";
  number(median, sizeof median, r->value.median);
  number(p10, sizeof p10, r->value.p10);
  number(p90, sizeof p90, r->value.p90);
  if (r->modelled || r->value.n <= 1) p10[0] = p90[0] = '\0';
  if (isfinite(r->share)) snprintf(share, sizeof share, "%.1f %%", 100 * r->share);
  if (isfinite(r->ratio)) snprintf(ratio, sizeof ratio, "%.2fx", r->ratio);
  char line[256];
  int n = snprintf(line, sizeof line, row_format, r->what, r->who, median, r->unit, p10, p90, share, ratio);
  while (n > 0 && line[n - 1] == ' ') line[--n] = '\0';
  dd_bench_say(b, "%s", line);
}

void dd_row_name(dd_row *r, const char *preset, const char *who, const dd_kernels *k, const char *unit, const char *fmt,
                 ...) {
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(r->what, sizeof r->what, fmt, ap);
  va_end(ap);
  snprintf(r->preset, sizeof r->preset, "%s", preset ? preset : "");
  snprintf(r->who, sizeof r->who, "%s", who);
  snprintf(r->tier, sizeof r->tier, "%s", k->tier);
  snprintf(r->unit, sizeof r->unit, "%s", unit);
}

int dd_bench_add(dd_bench *b, dd_row *r, dd_error *err) {
  dd_results *rows = &b->rows;
  snprintf(r->subject, sizeof r->subject, "%s", b->subject);
  if (rows->n == rows->room) {
    const int room = rows->room ? 2 * rows->room : 256;
    dd_row *more = realloc(rows->at, (size_t)room * sizeof *more);
    if (!more) return dd_fail(err, DD_E_RUNTIME, "out of memory for results");
    rows->at = more;
    rows->room = room;
  }
  rows->at[rows->n++] = *r;
  show(b, r);
  return DD_OK;
}

static json_t *real(double v) { return isfinite(v) ? json_real(v) : json_null(); }

json_t *dd_bench_json(const dd_bench *b) {
  json_t *rows = json_array();
  for (int i = 0; i < b->rows.n; i++) {
    const dd_row *r = b->rows.at + i;
    json_array_append_new(rows, json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:s, s:b, s:b, s:o, s:o, s:o, s:i, s:o, s:o}",
                                          "subject", r->subject, "preset", r->preset, "what", r->what, "who", r->who,
                                          "tier", r->tier, "threads", r->threads, "unit", r->unit, "lower_is_better",
                                          r->lower_is_better, "modelled", r->modelled, "median", real(r->value.median),
                                          "p10", real(r->value.p10), "p90", real(r->value.p90), "samples", r->value.n,
                                          "share_of_limit", real(r->share), "ratio_to_best", real(r->ratio)));
  }
  return json_pack("{s:s, s:i, s:O, s:O, s:o}", "format", "dd-cpu bench", "format_version", 1, "machine", b->machine,
                   "warnings", b->warnings, "rows", rows);
}
