/* A result beside an older one of another build, machine or day. */
#include "bench/bench.h"
#include "core/file.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_MAX_BYTES = 64 << 20 };

static int copy_text(char *out, size_t size, const json_t *row, const char *key) {
  const char *s = json_string_value(json_object_get(row, key));
  if (!s || strlen(s) >= size) return 0;
  strcpy(out, s);
  return 1;
}

static double number_of(const json_t *row, const char *key) {
  const json_t *v = json_object_get(row, key);
  return json_is_number(v) ? json_number_value(v) : NAN;
}

static int row_of(dd_row *r, const json_t *o) {
  *r = (dd_row){.share = number_of(o, "share_of_limit"), .ratio = number_of(o, "ratio_to_best")};
  r->value = (dd_spread){number_of(o, "median"), number_of(o, "p10"), number_of(o, "p90"),
                         (int)json_integer_value(json_object_get(o, "samples"))};
  r->threads = (int)json_integer_value(json_object_get(o, "threads"));
  r->lower_is_better = json_is_true(json_object_get(o, "lower_is_better"));
  r->modelled = json_is_true(json_object_get(o, "modelled"));
  return copy_text(r->subject, sizeof r->subject, o, "subject") &&
         copy_text(r->preset, sizeof r->preset, o, "preset") && copy_text(r->what, sizeof r->what, o, "what") &&
         copy_text(r->who, sizeof r->who, o, "who") && copy_text(r->tier, sizeof r->tier, o, "tier") &&
         copy_text(r->unit, sizeof r->unit, o, "unit");
}

static int read_rows(dd_results *rows, const json_t *o, const char *path, dd_error *err) {
  const char *format = json_string_value(json_object_get(o, "format"));
  const json_t *list = json_object_get(o, "rows");
  const int version = (int)json_integer_value(json_object_get(o, "format_version"));
  if (!format || strcmp(format, "dd-cpu bench") != 0 || !json_is_array(list))
    return dd_fail(err, DD_E_CORRUPT, "%s is no result of `dd-cpu bench`; make one with `dd-cpu bench --json FILE`",
                   path);
  if (version != 1)
    return dd_fail(err, DD_E_CORRUPT, "%s has format version %d, and this program reads version 1; measure again", path,
                   version);
  const int n = (int)json_array_size(list);
  rows->at = calloc((size_t)n + 1, sizeof *rows->at);
  if (!rows->at) return dd_fail(err, DD_E_RUNTIME, "out of memory for %s", path);
  rows->room = n + 1;
  for (; rows->n < n; rows->n++)
    if (!row_of(rows->at + rows->n, json_array_get(list, (size_t)rows->n)))
      return dd_fail(err, DD_E_CORRUPT, "%s: row %d lacks a name; the file is damaged, measure again", path,
                     rows->n + 1);
  return DD_OK;
}

int dd_compare_load(dd_results *rows, const char *path, dd_error *err) {
  char *data;
  size_t size;
  json_error_t why;
  *rows = (dd_results){0};
  int rc = dd_file_read_all(path, FILE_MAX_BYTES, &data, &size, err);
  if (rc) return rc;
  json_t *o = json_loadb(data, size, JSON_REJECT_DUPLICATES, &why);
  free(data);
  if (!o) return dd_fail(err, DD_E_CORRUPT, "%s is not JSON: line %d: %s", path, why.line, why.text);
  rc = read_rows(rows, o, path, err);
  json_decref(o);
  if (rc) {
    free(rows->at);
    *rows = (dd_results){0};
  }
  return rc;
}

static int same(const dd_row *a, const dd_row *b) {
  return a->threads == b->threads && !strcmp(a->subject, b->subject) && !strcmp(a->preset, b->preset) &&
         !strcmp(a->what, b->what) && !strcmp(a->who, b->who) && !strcmp(a->tier, b->tier) && !strcmp(a->unit, b->unit);
}

static const dd_row *find(const dd_results *rows, const dd_row *like) {
  for (int i = 0; i < rows->n; i++)
    if (same(rows->at + i, like)) return rows->at + i;
  return NULL;
}

static void name_of(char *out, size_t size, const dd_row *r) {
  snprintf(out, size, "%s %s%s%s, %s, %s, %dt", r->subject, r->preset, *r->preset ? " " : "", r->what, r->who, r->tier,
           r->threads);
}

void dd_compare_print(dd_bench *b, int *regressed) {
  int better = 0, worse = 0, fresh = 0, missing = 0;
  char name[160];
  dd_bench_say(b, "\ncompared: ratio above 1 is better; better and WORSE: outside both spreads (p10 to p90)");
  dd_bench_say(b, "%-56s %10s %10s %7s", "", "old", "new", "ratio");
  for (int i = 0; i < b->rows.n; i++) {
    const dd_row *r = b->rows.at + i, *o = find(&b->old, r);
    if (r->modelled || (!o && ++fresh)) continue;
    const int known = r->value.n > 2 && o->value.n > 2; /* a single look has no spread to be outside of */
    int sign = known ? dd_spread_differs(&o->value, &r->value) : 0;
    double ratio = r->value.median / o->value.median;
    if (r->lower_is_better) sign = -sign, ratio = 1 / ratio;
    better += sign > 0;
    worse += sign < 0;
    name_of(name, sizeof name, r);
    dd_bench_say(b, "%-56s %10.4g %10.4g %6.2fx%s", name, o->value.median, r->value.median, ratio,
                 sign > 0   ? " better"
                 : sign < 0 ? " WORSE"
                            : "");
  }
  for (int i = 0; i < b->old.n; i++) {
    if (b->old.at[i].modelled || find(&b->rows, b->old.at + i)) continue;
    name_of(name, sizeof name, b->old.at + i);
    if (!missing++) dd_bench_say(b, "\nonly in the old result:");
    dd_bench_say(b, "  %s", name);
  }
  dd_bench_say(b, "\n%d better, %d worse, %d new, %d missing", better, worse, fresh, missing);
  *regressed = worse;
}
