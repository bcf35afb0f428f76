/* The job `report`: directories in, one file or text out. */
#include "core/file.h"
#include "run/settings.h"
#include "study/analysis.h"
#include "study/html.h"
#include "study/tables.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* s.study is one directory per line. *text owns what dirs points into. */
static int split(const dd_settings *s, char **text, const char ***dirs, int *n, dd_error *err) {
  *n = 0;
  *text = strdup(s->study);
  *dirs = malloc((strlen(s->study) + 1) * sizeof **dirs);
  if (!*text || !*dirs) return dd_fail(err, DD_E_RUNTIME, "out of memory for a report");
  char *rest = NULL;
  for (char *p = strtok_r(*text, "\n", &rest); p; p = strtok_r(NULL, "\n", &rest)) (*dirs)[(*n)++] = p;
  if (*n) return DD_OK;
  return dd_fail(err, DD_E_USAGE,
                 "report needs a directory of `dd-cpu compare`, or run directories: dd-cpu report DIR");
}

static int render(const json_t *report, int format, dd_str *out, dd_error *err) {
  switch (format) {
  case DD_FORMAT_MD: dd_report_md(report, out); break;
  case DD_FORMAT_CSV: dd_report_csv(report, out); break;
  case DD_FORMAT_TSV: dd_report_tsv(report, out); break;
  case DD_FORMAT_JSON: dd_report_json(report, out); break;
  default: dd_report_html(report, out);
  }
  return out->failed ? dd_fail(err, DD_E_RUNTIME, "out of memory for the report") : DD_OK;
}

static int find_out(const dd_settings *s, const char *const *dirs, int n, char *path, size_t size, dd_error *err) {
  *path = '\0';
  if (!strcmp(s->out, "-")) return DD_OK;
  if (*s->out) return dd_path_join(path, size, "", s->out, err);
  if (s->format != DD_FORMAT_HTML) return DD_OK;
  if (n == 1) return dd_path_join(path, size, dirs[0], "report.html", err);
  return dd_fail(err, DD_E_USAGE,
                 "a report of %d directories needs a name: --out FILE.html (or - for standard output)", n);
}

int dd_report_path(const dd_settings *s, char *path, size_t size, dd_error *err) {
  char *text;
  const char **dirs;
  int n, rc = split(s, &text, &dirs, &n, err);
  if (!rc) rc = find_out(s, dirs, n, path, size, err);
  free(dirs);
  free(text);
  return rc;
}

int dd_report_write(const json_t *report, const char *dir, dd_error *err) {
  static const struct { int format; const char *name; } files[] = {
      {DD_FORMAT_JSON, "report.json"}, {DD_FORMAT_MD, "report.md"}, {DD_FORMAT_HTML, "report.html"}};
  int rc = DD_OK;
  for (size_t i = 0; i < sizeof files / sizeof *files && !rc; i++) {
    char path[4096];
    dd_str out = {0};
    rc = dd_path_join(path, sizeof path, dir, files[i].name, err);
    if (!rc) rc = render(report, files[i].format, &out, err);
    if (!rc) rc = dd_file_replace(path, out.data, out.n, err);
    dd_str_free(&out);
  }
  return rc;
}

int dd_report(const dd_settings *s, const dd_callbacks *cb, dd_error *err) {
  char *text, path[4096];
  const char **dirs;
  int n;
  json_t *report = NULL;
  dd_str out = {0};
  int rc = split(s, &text, &dirs, &n, err);
  if (!rc) rc = find_out(s, dirs, n, path, sizeof path, err);
  if (!rc) rc = dd_study_analyse(dirs, n, s, cb, &report, err);
  const json_t *warning;
  size_t i;
  json_array_foreach(json_object_get(report, "warnings"), i, warning)
    dd_say(cb, DD_WARNING, "%s", json_string_value(warning));
  if (!rc) rc = render(report, s->format, &out, err);
  if (!rc && *path) rc = dd_file_replace(path, out.data, out.n, err);
  if (!rc && *path) dd_say(cb, DD_INFO, "report written to %s", path);
  if (!rc && !*path && cb && cb->text) cb->text(cb->user, out.data, out.n);
  if (!rc && *s->plots) rc = dd_report_plots(report, s->plots, err);
  dd_str_free(&out);
  json_decref(report);
  free(dirs);
  free(text);
  return rc;
}
