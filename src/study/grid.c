#include "study/grid.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/json.h"
#include "run/source.h"
#include "study/load.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

enum {
  PLAN_BYTES_MAX = 64 << 20, /* what the report reads */
  PLAN_ELEMENTS_MAX = 16 * DD_STUDY_CELLS_MOST,
  NAME_MAX_PLAIN = 150
};

static int no_memory(dd_error *err) { return dd_fail(err, DD_E_RUNTIME, "out of memory for the grid"); }

/* ---- lists ---- */

/* Length of the item at p: up to a separator outside parentheses, which expressions have. words: items begin with a
 * letter, so a comma before anything else is inside one ("steps:0=0.2,50%=0.1"). */
static size_t item_length(const char *p, char separator, int words) {
  int depth = 0;
  const char *q = p;
  for (; *q; q++) {
    depth += (*q == '(') - (*q == ')');
    const char next = q[1 + strspn(q + 1, " ")];
    if (*q == separator && depth <= 0 && (!words || !next || next == separator || isalpha((unsigned char)next))) break;
  }
  return (size_t)(q - p);
}

static json_t *trimmed(const char *p, size_t n) {
  while (n && (*p == ' ' || *p == '\n')) p++, n--;
  while (n && (p[n - 1] == ' ' || p[n - 1] == '\n')) n--;
  return json_stringn(p, n);
}

/* Items of a list; empty ones and repetitions are errors. name: the option, for messages. */
static int parse_list(json_t **out, const char *name, const char *text, size_t size, int words, dd_error *err) {
  char *list = strndup(text, size);
  json_t *items = json_array();
  int rc = list && items ? DD_OK : no_memory(err);
  for (const char *p = list; !rc;) {
    const size_t n = item_length(p, ',', words);
    json_t *item = trimmed(p, n);
    size_t i;
    json_t *other;
    if (!item) rc = no_memory(err);
    else if (!*json_string_value(item)) rc = dd_fail(err, DD_E_USAGE, "%s has an empty item: '%.200s'", name, list);
    json_array_foreach(items, i, other) if (!rc && json_equal(item, other)) rc = dd_fail(
        err, DD_E_USAGE, "%s has '%.200s' twice: every cell of a grid runs once", name, json_string_value(item));
    if (json_array_append_new(items, item) && !rc) rc = no_memory(err);
    p += n;
    if (!*p) break;
    p++;
  }
  free(list);
  if (rc) json_decref(items);
  else *out = items;
  return rc;
}

/* May this option vary between cells? */
static int check_dim(const char *key, dd_error *err) {
  const dd_setting *d = dd_setting_find(key);
  if (!d || !(d->use & DD_USE_TRAIN)) {
    const char *close = dd_setting_suggest(key, DD_USE_TRAIN);
    return dd_fail(err, DD_E_USAGE, "grid: unknown option '%.60s'%s%s%s", key, close ? "; did you mean '" : "",
                   close ? close : "", close ? "'?" : "");
  }
  if (d->id == DD_SETTING_schedule || d->id == DD_SETTING_seed)
    return dd_fail(err, DD_E_USAGE, "grid: '%s' has an option of its own, --%ss", d->name, d->name);
  if (d->id == DD_SETTING_preset)
    return dd_fail(err, DD_E_USAGE, "grid: a preset is many options at once; vary single ones, as in n_layer=6,12");
  if (dd_setting_is_harmless(d->id))
    return dd_fail(err, DD_E_USAGE, "grid: '%s' changes nothing in the result of a run, so there is nothing to compare",
                   d->name);
  return DD_OK;
}

/* "n_layer=6,12;dropout=0.1,0.2" */
static int parse_dims(json_t **out, const char *text, dd_error *err) {
  json_t *dims = json_array();
  int rc = dims ? DD_OK : no_memory(err);
  for (const char *p = text; *p && !rc;) {
    const size_t n = item_length(p, ';', 0);
    const char *eq = memchr(p, '=', n);
    char key[64] = "";
    if (eq) snprintf(key, sizeof key, "%.*s", (int)((eq - p) < 63 ? eq - p : 63), p + strspn(p, " "));
    key[strcspn(key, " =")] = 0;
    if (!*key) rc = dd_fail(err, DD_E_USAGE, "grid must look like n_layer=6,12, not '%.60s'", p);
    if (!rc) rc = check_dim(key, err);
    json_t *values = NULL;
    if (!rc) rc = parse_list(&values, "grid", eq + 1, (size_t)(p + n - eq - 1), 0, err);
    const char *name = rc ? "" : dd_setting_find(key)->name;
    size_t i;
    json_t *dim;
    json_array_foreach(dims, i, dim) if (!rc && !strcmp(json_string_value(json_array_get(dim, 0)), name)) rc =
        dd_fail(err, DD_E_USAGE, "grid has '%s' twice; put all its values into one list", name);
    if (rc) json_decref(values);
    else if (json_array_append_new(dims, json_pack("[s, o]", name, values))) rc = no_memory(err);
    p += n;
    p += *p == ';';
  }
  if (rc) json_decref(dims);
  else *out = dims;
  return rc;
}

/* ---- cells ---- */

static int set_all(dd_settings *s, const json_t *overrides, dd_error *err) {
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)overrides, key, value) {
    const int rc = json_is_string(value) ? dd_settings_set(s, key, json_string_value(value), err)
                                         : dd_fail(err, DD_E_CORRUPT, "%s must be a string", key);
    if (rc) return rc;
  }
  return DD_OK;
}

static dd_settings *copy_of(const dd_settings *s) {
  dd_settings *c = dd_settings_create();
  if (c) *c = *s;
  return c;
}

/* Append "-text" to a name. What file systems or shells would take amiss is replaced by a hash of the whole. */
static void name_part(char *name, size_t size, const char *text) {
  const size_t used = strlen(name), n = strlen(text);
  int plain = n <= 48;
  for (const char *p = text; *p; p++)
    if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.=+-", *p)) plain = 0;
  if (plain) {
    snprintf(name + used, size - used, "%s%s", used ? "-" : "", text);
    return;
  }
  char hex[33];
  dd_hash_hex(text, n, hex);
  const size_t head = strspn(text, "abcdefghijklmnopqrstuvwxyz_="); /* "expr", "data=" */
  snprintf(name + used, size - used, "%s%.*s-%.8s", used ? "-" : "", (int)(head < 40 ? head : 40), text, hex);
}

/* A path means the same wherever the study is gone on with. */
static void make_absolute(char *value, size_t size) {
  char full[PATH_MAX];
  if (realpath(value, full) && strlen(full) < size) memcpy(value, full, strlen(full) + 1);
}

/* Index of the dimension of this setting, or -1. */
static int dim_of(const dd_grid *g, int id) {
  for (size_t d = 0; d < json_array_size(g->dims); d++)
    if (dd_setting_find(json_string_value(json_array_get(json_array_get(g->dims, d), 0)))->id == id) return (int)d;
  return -1;
}

/* One dimension's value into the settings, the overrides and the name; nothing when it makes no difference. */
static int add_dim(dd_settings *s, int id, const char *value, dd_cell *cell, char *name, size_t size, dd_error *err) {
  const char *key = dd_setting_at(id)->name;
  char was[4096], now[4096], part[4200];
  int rc = dd_settings_get(s, key, was, sizeof was, err);
  if (!rc) rc = dd_settings_set(s, key, value, err);
  if (!rc) rc = dd_settings_get(s, key, now, sizeof now, err);
  /* What the schedule does not read, and what all have anyway, is no difference. */
  if (rc || !strcmp(was, now) || dd_settings_schedule_param(s, id) == DD_PARAM_UNUSED) return rc;
  snprintf(part, sizeof part, "%s=%s", key, now);
  if (id == DD_SETTING_data) {
    const char *base = strrchr(now, '/');
    if (base) snprintf(part, sizeof part, "%s=%s", key, base + 1);
    make_absolute(now, sizeof now);
  }
  name_part(name, size, part);
  return json_object_set_new(cell->overrides, key, json_string(now)) ? no_memory(err) : DD_OK;
}

/* The cell of one schedule, seed and combination. Names go by the table of settings, not by the order of --grid. */
static int make_cell(dd_grid *g, const char *schedule, const char *seed, const size_t *choice, dd_cell *cell,
                     dd_error *err) {
  json_t *o = json_pack("{s:s, s:s}", "schedule", schedule, "seed", seed);
  dd_settings *s = copy_of(g->base);
  char name[4096] = "";
  int rc = o && s ? set_all(s, o, err) : no_memory(err);
  *cell = (dd_cell){.overrides = o};
  if (!rc) name_part(name, sizeof name, schedule);
  for (int id = 0; id < DD_SETTING_COUNT && !rc; id++) {
    const int d = dim_of(g, id);
    if (d < 0) continue;
    const json_t *values = json_array_get(json_array_get(g->dims, (size_t)d), 1);
    rc = add_dim(s, id, json_string_value(json_array_get(values, choice[d])), cell, name, sizeof name, err);
  }
  if (strlen(name) > NAME_MAX_PLAIN) { /* a hash of the whole, so that nothing that differs is cut off */
    char hex[33];
    dd_hash_hex(name, strlen(name), hex);
    snprintf(name + 80, sizeof name - 80, "...-%.16s", hex);
  }
  snprintf(cell->name, sizeof cell->name, "%s-s%s", name, seed);
  dd_error why;
  if (!rc && dd_settings_check(s, &why))
    rc = dd_fail(err, DD_E_USAGE, "cell %s of the grid: %.900s", cell->name, why.message);
  dd_settings_destroy(s);
  return rc;
}

/* Next combination of the dimensions, the last one fastest; 0 after the last. */
static int next_choice(const dd_grid *g, size_t *choice) {
  for (size_t d = json_array_size(g->dims); d-- > 0;) {
    if (++choice[d] < json_array_size(json_array_get(json_array_get(g->dims, d), 1))) return 1;
    choice[d] = 0;
  }
  return 0;
}

static int make_cells(dd_grid *g, dd_error *err) {
  const size_t n_dims = json_array_size(g->dims), n_schedules = json_array_size(g->schedules);
  double all = (double)n_schedules * (double)json_array_size(g->seeds);
  for (size_t d = 0; d < n_dims; d++) all *= (double)json_array_size(json_array_get(json_array_get(g->dims, d), 1));
  if (all > DD_STUDY_CELLS_MOST)
    return dd_fail(err, DD_E_USAGE, "the grid has %.0f cells, at most %d can be planned", all, DD_STUDY_CELLS_MOST);
  g->cells = calloc((size_t)all, sizeof *g->cells);
  size_t *choice = calloc(n_dims + 1, sizeof *choice);
  json_t *known = json_object(); /* names so far */
  int rc = g->cells && choice && known ? DD_OK : no_memory(err);
  size_t i;
  json_t *seed;
  json_array_foreach(g->seeds, i, seed) {
    do {
      for (size_t k = 0; k < n_schedules && !rc; k++) {
        dd_cell *cell = g->cells + g->n;
        rc = make_cell(g, json_string_value(json_array_get(g->schedules, k)), json_string_value(seed), choice, cell,
                       err);
        const json_t *same = rc ? NULL : json_object_get(known, cell->name);
        if (same && !json_equal(same, cell->overrides))
          rc = dd_fail(err, DD_E_USAGE, "grid: two different cells would be called %s; give the files other names",
                       cell->name);
        if (!rc && !same) {
          if (json_object_set(known, cell->name, cell->overrides)) rc = no_memory(err);
          g->n++;
        } else json_decref(cell->overrides);
      }
    } while (!rc && next_choice(g, choice));
  }
  free(choice);
  json_decref(known);
  return rc;
}

int dd_grid_create(dd_grid *g, const dd_settings *s, dd_error *err) {
  *g = (dd_grid){.base = copy_of(s), .seeds = json_array()};
  int rc = g->base && g->seeds ? DD_OK : no_memory(err);
  if (!rc) rc = parse_list(&g->schedules, "schedules", s->schedules, strlen(s->schedules), 1, err);
  if (!rc) rc = parse_dims(&g->dims, s->grid, err);
  for (int64_t i = 0; i < s->seeds && !rc; i++) {
    char text[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)(s->seed + (uint64_t)i));
    if (json_array_append_new(g->seeds, json_string(text))) rc = no_memory(err);
  }
  if (!rc) rc = make_cells(g, err);
  if (rc) dd_grid_destroy(g);
  return rc;
}

void dd_grid_destroy(dd_grid *g) {
  for (size_t i = 0; i < g->n; i++) json_decref(g->cells[i].overrides);
  free(g->cells);
  json_decref(g->schedules);
  json_decref(g->seeds);
  json_decref(g->dims);
  dd_settings_destroy(g->base);
  *g = (dd_grid){0};
}

int dd_grid_settings(const dd_grid *g, size_t cell, const char *dir, dd_settings **out, dd_error *err) {
  dd_settings *s = copy_of(g->base);
  int rc = s ? set_all(s, g->cells[cell].overrides, err) : no_memory(err);
  if (!rc && snprintf(s->out, sizeof s->out, "%s/runs/%s", dir, g->cells[cell].name) >= (int)sizeof s->out)
    rc = dd_fail(err, DD_E_USAGE, "the path %.200s.../runs/%s is too long", dir, g->cells[cell].name);
  if (rc) dd_settings_destroy(s);
  else *out = s;
  return rc;
}

void dd_grid_shard(dd_grid *g, int i, int n) {
  size_t kept = 0;
  for (size_t c = 0; c < g->n; c++) {
    if (c % (size_t)n == (size_t)i - 1) g->cells[kept++] = g->cells[c];
    else json_decref(g->cells[c].overrides);
  }
  g->n = kept;
}

/* ---- the plan ---- */

/* Settings that all cells share and that matter: those that vary are left out. */
static json_t *shared_settings(const dd_grid *g) {
  json_t *all = dd_settings_to_json(g->base);
  const dd_setting *d;
  for (int i = 0; all && (d = dd_setting_at(i)); i++)
    if (dd_setting_is_harmless(i) || i == DD_SETTING_schedule || i == DD_SETTING_seed || i == DD_SETTING_preset)
      json_object_del(all, d->name);
  if (all && *g->data_hash && json_object_set_new(all, "data_hash", json_string(g->data_hash))) {
    json_decref(all);
    all = NULL;
  }
  return all;
}

/* Two plans for one directory must agree in what their cells share. */
static int check_same(const char *path, const json_t *was, const json_t *now, dd_error *err) {
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)now, key, value) {
    const json_t *old = json_object_get(was, key);
    if (!old || json_equal(old, value)) continue; /* a setting that is newer than the plan */
    if (!strcmp(key, "data_hash"))
      return dd_fail(err, DD_E_CORRUPT,
                     "%s was planned with a text of the same name that was another (hash %s, now %s); "
                     "restore the text, or take another --out",
                     path, json_string_value(old), json_string_value(value));
    char *a = json_dumps(old, JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
    char *b = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
    const int rc = dd_fail(err, DD_E_CORRUPT,
                           "%s was planned with %s = %s, this call says %s; leave the option out, vary "
                           "it with --grid, or take another --out",
                           path, key, a ? a : "?", b ? b : "?");
    free(a);
    free(b);
    return rc;
  }
  return DD_OK;
}

/* Items of b that a has not, to its end. */
static int unite(json_t *a, const json_t *b) {
  size_t i, k;
  json_t *item, *other;
  json_array_foreach(b, i, item) {
    int have = 0;
    json_array_foreach(a, k, other) have |= json_equal(item, other);
    if (!have && json_array_append(a, item)) return -1;
  }
  return 0;
}

static json_t *plan_of(const dd_grid *g, const char *command) {
  json_t *cells = json_array();
  for (size_t i = 0; i < g->n && cells; i++)
    if (json_array_append_new(cells, json_pack("{s:s, s:O}", "name", g->cells[i].name, "settings",
                                               g->cells[i].overrides))) {
      json_decref(cells);
      cells = NULL;
    }
  const char *baseline = *g->base->baseline ? g->base->baseline : "";
  return json_pack("{s:s, s:i, s:[s], s:s, s:o, s:O, s:O, s:O, s:o}", "program", "dd-cpu", "numerics_version",
                   DD_NUMERICS_VERSION, "commands", command, "baseline", baseline, "settings", shared_settings(g),
                   "schedules", g->schedules, "seeds", g->seeds, "grid", g->dims, "cells", cells);
}

static int merge_plan(const char *path, json_t *old, const json_t *now, dd_error *err) {
  static const char *const lists[] = {"commands", "schedules", "seeds", "grid", "cells"};
  if (!json_is_object(json_object_get(old, "settings")))
    return dd_fail(err, DD_E_CORRUPT, "%s is no plan of dd-cpu compare; remove it or take another --out", path);
  if (json_integer_value(json_object_get(old, "numerics_version")) != DD_NUMERICS_VERSION)
    return dd_fail(err, DD_E_CORRUPT,
                   "%s was made by another numerics version of dd-cpu (%lld, this is %d); take another "
                   "--out",
                   path, (long long)json_integer_value(json_object_get(old, "numerics_version")), DD_NUMERICS_VERSION);
  const int rc = check_same(path, json_object_get(old, "settings"), json_object_get(now, "settings"), err);
  if (rc) return rc;
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
    json_t *list = json_object_get(old, lists[i]);
    if (!json_is_array(list))
      return dd_fail(err, DD_E_CORRUPT, "%s has no list '%s'; remove it or take another --out", path, lists[i]);
    if (unite(list, json_object_get(now, lists[i]))) return no_memory(err);
  }
  const json_t *baseline = json_object_get(now, "baseline");
  if (*json_string_value(baseline) && json_object_set(old, "baseline", (json_t *)baseline)) return no_memory(err);
  return DD_OK;
}

/* The baseline must be a schedule of the study: known before anything is trained. */
static int check_baseline(const json_t *plan, dd_error *err) {
  const char *baseline = json_string_value(json_object_get(plan, "baseline"));
  const size_t n = baseline ? strcspn(baseline, " ") : 0; /* "late dropout_cutoff=0.5" */
  char have[400] = "";
  size_t i;
  json_t *schedule;
  if (!n) return DD_OK;
  json_array_foreach(json_object_get(plan, "schedules"), i, schedule) {
    const char *name = json_string_value(schedule);
    if (name && !strncmp(name, baseline, n) && !name[n]) return DD_OK;
    snprintf(have + strlen(have), sizeof have - strlen(have), "%s%s", i ? ", " : "", name ? name : "");
  }
  return dd_fail(err, DD_E_USAGE, "baseline '%.100s' is none of the schedules: %s", baseline, have);
}

/* What is there with what is new added; *plan is the caller's. */
static int joined_plan(const char *path, json_t *now, json_t **plan, dd_error *err) {
  json_t *old = NULL;
  int there, rc = dd_source_exists(path, &there, err); /* a plan that cannot be looked for is not replaced */
  *plan = NULL;
  if (rc) return rc;
  if (there) {
    char *text;
    size_t size;
    if ((rc = dd_file_read_all(path, PLAN_BYTES_MAX, &text, &size, err))) return rc;
    rc = dd_json_parse(text, size, PLAN_ELEMENTS_MAX, &old, NULL);
    free(text);
    if (rc == DD_E_RUNTIME) return no_memory(err);
    rc = old ? merge_plan(path, old, now, err)
             : dd_fail(err, DD_E_CORRUPT,
                       "%s is damaged: no JSON; the runs beside it are not touched: remove it and start "
                       "the same call again",
                       path);
  }
  if (!rc) rc = check_baseline(old ? old : now, err);
  if (rc) json_decref(old);
  else *plan = old ? old : json_incref(now);
  return rc;
}

/* With the lock held: read what is there, add, replace. */
static int update_plan(const char *path, json_t *now, dd_error *err) {
  json_t *plan;
  int rc = joined_plan(path, now, &plan, err);
  char *text = rc ? NULL : json_dumps(plan, JSON_INDENT(1) | JSON_REAL_PRECISION(17));
  if (!rc && !text) rc = no_memory(err);
  if (!rc) rc = dd_file_replace(path, text, strlen(text), err);
  free(text);
  json_decref(plan);
  return rc;
}

int dd_grid_check(const dd_grid *g, const char *dir, dd_error *err) {
  char path[4096];
  json_t *now = NULL, *plan = NULL;
  int rc = dd_path_join(path, sizeof path, dir, "compare.json", err);
  if (!rc && !(now = plan_of(g, ""))) rc = no_memory(err);
  if (!rc) rc = joined_plan(path, now, &plan, err);
  json_decref(plan);
  json_decref(now);
  return rc;
}

int dd_grid_plan(const dd_grid *g, const char *dir, const char *command, dd_error *err) {
  char lock[4096], path[4096], runs[4096];
  int rc = dd_path_join(runs, sizeof runs, dir, "runs", err);
  if (!rc) rc = dd_path_join(lock, sizeof lock, dir, "compare.lock", err);
  if (!rc) rc = dd_path_join(path, sizeof path, dir, "compare.json", err);
  if (!rc) rc = dd_make_dirs(runs, err);
  if (rc) return rc;
  json_t *now = plan_of(g, command);
  const int fd = dd_fs()->open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  int locked;
  do locked = fd < 0 ? -1 : dd_fs()->flock(fd, LOCK_EX);
  while (fd >= 0 && locked && errno == EINTR);
  if (!now) rc = no_memory(err);
  else if (fd < 0) rc = dd_fail(err, DD_E_IO, "cannot open %s: %s", lock, strerror(errno));
  else if (locked) rc = dd_fail(err, DD_E_IO, "cannot lock %s: %s", lock, strerror(errno));
  if (!rc) rc = update_plan(path, now, err);
  if (fd >= 0) dd_fs()->close(fd);
  json_decref(now);
  return rc;
}
