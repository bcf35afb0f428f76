#include "study/load.h"
#include "core/file.h"
#include "core/json.h"
#include "study/numbers.h"
#include "study/text.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PLAN "compare.json"
#define MEASURED "measured.json"
enum {
  PLAN_MOST = 64 << 20,
  PLAN_ELEMENTS = 16 * DD_STUDY_CELLS_MOST,
  MEASURED_MOST = 1 << 20,
  MEASURED_ELEMENTS = 4096
};

static int no_memory(dd_error *err) { return dd_fail(err, DD_E_RUNTIME, "out of memory while reading a study"); }

int dd_study_warn(dd_study *st, dd_error *err, const char *format, ...) {
  char line[2048];
  va_list ap;
  va_start(ap, format);
  vsnprintf(line, sizeof line, format, ap);
  va_end(ap);
  return json_array_append_new(st->warnings, dd_json_text(line)) ? no_memory(err) : DD_OK;
}

static int add_run(dd_study *st, const char *path, const char *shown, int source, dd_error *err) {
  if (st->n == st->room) {
    const size_t room = st->room ? 2 * st->room : 64;
    void *runs = realloc(st->runs, room * sizeof *st->runs);
    if (runs) st->runs = runs;
    void *cell = realloc(st->cell, room * sizeof *st->cell);
    if (cell) st->cell = cell;
    void *from = realloc(st->source, room * sizeof *st->source);
    if (from) st->source = from;
    if (!runs || !cell || !from) return no_memory(err);
    st->room = room;
  }
  if (dd_check_stop(st->cb, "reading", shown, err)) return DD_E_STOPPED;
  st->cell[st->n] = NULL;
  st->source[st->n] = source;
  return dd_study_run_read(path, shown, &st->runs[st->n++], err);
}

/* ---- directories without a plan ---- */

static int is_run(const char *dir, const char *name, const void *user) {
  char path[4096], file[4096];
  (void)user;
  return !dd_path_join(path, sizeof path, dir, name, NULL) &&
         !dd_path_join(file, sizeof file, path, "config.json", NULL) && dd_is_file(file);
}

static int load_runs_in(dd_study *st, const char *dir, const char *shown, int source, dd_error *err) {
  const dd_names_wanted runs = {.keep = is_run, .most = DD_STUDY_CELLS_MOST, .what = "runs; name some of them"};
  dd_names l;
  int rc = dd_dir_names(dir, &runs, &l, err);
  for (size_t i = 0; i < l.n && !rc; i++) {
    char path[4096], as[4096];
    rc = dd_path_join(path, sizeof path, dir, l.name[i], err);
    if (!rc) rc = dd_path_join(as, sizeof as, shown, l.name[i], err);
    if (!rc) rc = add_run(st, path, as, source, err);
  }
  dd_names_free(&l);
  return rc;
}

/* ---- directories with a plan ---- */

static bool good_name(const char *name) {
  if (!name || !*name || strlen(name) > 255 || name[0] == '.') return false;
  for (; *name; name++)
    if (*name == '/' || (unsigned char)*name < 32 || *name == 127) return false;
  return true;
}

static int read_json(const char *path, size_t bytes, size_t elements, json_t **out, dd_error *err) {
  char *text;
  size_t n;
  dd_json_fault fault;
  *out = NULL;
  int rc = dd_file_read_all(path, bytes, &text, &n, err);
  if (rc) return rc;
  rc = dd_json_parse(text, n, elements, out, &fault);
  free(text);
  if (rc == DD_E_RUNTIME) return no_memory(err);
  if (rc) return dd_fail(err, DD_E_CORRUPT, "%.700s is damaged: line %d %s", path, fault.line, fault.what);
  if (json_is_object(*out)) return DD_OK;
  json_decref(*out);
  *out = NULL;
  return dd_fail(err, DD_E_CORRUPT, "%.700s is damaged: it is no JSON object", path);
}

/* Why a plan cannot be used, or NULL. */
static const char *wrong_plan(const json_t *plan) {
  const json_t *cells = json_object_get(plan, "cells"), *cell;
  size_t i;
  if (!json_is_array(cells)) return "it lists no cells";
  if (json_array_size(cells) > DD_STUDY_CELLS_MOST) return "it lists more than 65536 cells";
  json_array_foreach(cells, i, cell) {
    if (!good_name(json_string_value(json_object_get(cell, "name")))) return "a cell has no usable name";
    if (!json_is_object(json_object_get(cell, "settings"))) return "a cell has no settings";
  }
  return NULL;
}

/* The settings of a cell but for the seed, as text that is equal for equal settings. */
static char *cell_text(const json_t *settings) {
  json_t *copy = json_copy((json_t *)(uintptr_t)settings);
  json_object_del(copy, "seed");
  char *text = copy ? json_dumps(copy, JSON_SORT_KEYS | JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
  json_decref(copy);
  return text;
}

/* A run that tells nothing itself: the settings of another seed of its cell, else those of the plan. */
static int plan_run(dd_study *st, size_t at, size_t first, const json_t *base, const json_t *cell, dd_error *err) {
  dd_study_run *run = &st->runs[at];
  dd_error why;
  dd_settings *s = dd_settings_create();
  if (!s) return no_memory(err);
  const json_t *given = json_object_get(cell, "settings");
  int rc = json_is_object(base) ? dd_settings_from_json(s, base, &why) : DD_OK;
  /* Written out, a default counts as given; that of the rate at the end depends on the schedule. */
  if (!rc && s->dropout_final == 0) dd_settings_reset(s, DD_SETTING_dropout_final);
  if (!rc) rc = dd_settings_from_json(s, given, &why);
  if (!rc) rc = dd_study_run_plan(run, s, err);
  dd_settings_destroy(s);
  if (rc == DD_E_RUNTIME) return rc;
  if (rc) return dd_study_warn(st, err, "%s cannot be placed: %s", run->dir, why.message);
  for (size_t i = first; i < st->n; i++) {
    const dd_study_run *other = &st->runs[i];
    if (!other->read || strcmp(st->cell[i], st->cell[at])) continue;
    for (int k = 0; k < DD_SETTING_COUNT; k++) {
      char *text = other->setting[k] ? strdup(other->setting[k]) : NULL;
      if (other->setting[k] && !text) return no_memory(err);
      free(run->setting[k]);
      run->setting[k] = text;
    }
    memcpy(run->used, other->used, sizeof run->used);
    memcpy(run->schedule, other->schedule, sizeof run->schedule);
    run->schedule_id = other->schedule_id;
    run->max_iters = other->max_iters;
    break;
  }
  return DD_OK;
}

static int load_cells(dd_study *st, const char *dir, const char *prefix, const json_t *plan, int source,
                      dd_error *err) {
  const json_t *cells = json_object_get(plan, "cells"), *cell;
  const size_t first = st->n;
  size_t i;
  json_array_foreach(cells, i, cell) {
    const char *name = json_string_value(json_object_get(cell, "name"));
    char path[4096], shown[4096], sub[300];
    snprintf(sub, sizeof sub, "runs/%s", name);
    int rc = dd_path_join(path, sizeof path, dir, sub, err);
    if (!rc) rc = dd_path_join(shown, sizeof shown, prefix, sub, err);
    if (!rc) rc = add_run(st, path, shown, source, err);
    if (rc) return rc;
    if (!(st->cell[st->n - 1] = cell_text(json_object_get(cell, "settings")))) return no_memory(err);
  }
  json_array_foreach(cells, i, cell) {
    if (st->runs[first + i].read) continue;
    const int rc = plan_run(st, first + i, first, json_object_get(plan, "settings"), cell, err);
    if (rc) return rc;
  }
  return DD_OK;
}

static int load_cost(dd_study *st, const char *dir, dd_error *err) {
  char path[4096];
  json_t *measured;
  dd_error why;
  if (st->cost || dd_path_join(path, sizeof path, dir, MEASURED, err) || !dd_is_file(path)) return DD_OK;
  if (read_json(path, MEASURED_MOST, MEASURED_ELEMENTS, &measured, &why))
    return dd_study_warn(st, err, "%s", why.message);
  json_t *cost = json_object_get(measured, "cost");
  if (json_is_object(cost)) st->cost = json_incref(cost);
  json_decref(measured);
  return st->cost ? DD_OK : dd_study_warn(st, err, "%s is damaged: it holds no object \"cost\"", path);
}

/* The calls that made a plan, a line each; *text NULL: none are known. */
static int commands_of(const json_t *plan, char **text, dd_error *err) {
  dd_str s = {0};
  size_t i;
  json_t *call;
  json_array_foreach(json_object_get(plan, "commands"), i, call)
    if (json_is_string(call) && *json_string_value(call))
      dd_str_printf(&s, "%s%s", s.n ? "\n" : "", json_string_value(call));
  *text = s.data;
  return s.failed ? no_memory(err) : DD_OK;
}

static int load_study(dd_study *st, const char *dir, const char *prefix, const char *plan_path, int source,
                      dd_error *err) {
  json_t *plan;
  dd_error why;
  int rc = read_json(plan_path, PLAN_MOST, PLAN_ELEMENTS, &plan, &why);
  const char *wrong = rc ? NULL : wrong_plan(plan);
  if (rc == DD_E_RUNTIME) return dd_fail(err, DD_E_RUNTIME, "%s", why.message);
  if (rc || wrong) {
    rc = dd_study_warn(st, err, "%.700s cannot be used (%s): its runs are read without the plan, so that missing ones "
                       "are not known", plan_path, wrong ? wrong : why.message);
    char runs[4096], shown[4096];
    if (!rc) rc = dd_path_join(runs, sizeof runs, dir, "runs", err);
    if (!rc) rc = dd_path_join(shown, sizeof shown, prefix, "runs", err);
    if (!rc && dd_is_dir(runs)) rc = load_runs_in(st, runs, shown, source, err);
  } else {
    const char *baseline = json_string_value(json_object_get(plan, "baseline"));
    if (baseline && !st->baseline[0]) snprintf(st->baseline, sizeof st->baseline, "%s", baseline);
    if (!st->command) rc = commands_of(plan, &st->command, err);
    if (!rc) rc = load_cells(st, dir, prefix, plan, source, err);
  }
  json_decref(plan);
  return rc ? rc : load_cost(st, dir, err);
}

/* ---- any directory ---- */

static int load_dir(dd_study *st, const char *dir, int source, int alone, dd_error *err) {
  char plan[4096], config[4096];
  const size_t before = st->n;
  int rc = dd_path_join(plan, sizeof plan, dir, PLAN, err);
  if (!rc) rc = dd_path_join(config, sizeof config, dir, "config.json", err);
  if (rc) return rc;
  if (!dd_is_dir(dir))
    return dd_fail(err, DD_E_IO, "there is no directory %.700s; a report is made of directories of `dd-cpu compare` or "
                   "of runs", dir);
  /* Alone, a study's own directory is left out of the names, so that equal studies give equal reports. */
  if (dd_is_file(plan)) rc = load_study(st, dir, alone ? "" : dir, plan, source, err);
  else if (dd_is_file(config)) rc = add_run(st, dir, dir, source, err);
  else rc = load_runs_in(st, dir, alone ? "" : dir, source, err);
  if (!rc && st->n == before)
    rc = dd_fail(err, DD_E_USAGE, "%.700s holds no run: name a directory of `dd-cpu compare`, a run directory, or a "
                 "directory that holds run directories", dir);
  return rc;
}

int dd_study_load(const char *const *dirs, int n, const dd_callbacks *cb, dd_study *st, dd_error *err) {
  *st = (dd_study){.sources = json_array(), .warnings = json_array(), .cb = cb};
  if (!st->sources || !st->warnings) return no_memory(err);
  for (int i = 0; i < n; i++) {
    if (json_array_append_new(st->sources, dd_json_text(dirs[i]))) return no_memory(err);
    const int rc = load_dir(st, dirs[i], i, n == 1, err);
    if (rc) return rc;
  }
  return DD_OK;
}

void dd_study_free(dd_study *st) {
  for (size_t i = 0; i < st->n; i++) {
    dd_study_run_free(&st->runs[i]);
    free(st->cell[i]);
  }
  free(st->runs);
  free(st->cell);
  free(st->source);
  free(st->command);
  json_decref(st->sources);
  json_decref(st->warnings);
  json_decref(st->cost);
  *st = (dd_study){0};
}
