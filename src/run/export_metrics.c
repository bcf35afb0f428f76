#include "run/export_metrics.h"
#include "core/file.h"
#include "core/number.h"
#include "run/events.h"
#include "run/rundir.h"
#include "run/settings.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Told about lines that could not be read; there must be a record. */
static int judge(const char *run, const dd_metrics_seen *seen, const dd_callbacks *cb, dd_error *err) {
  if (!seen->records)
    return dd_fail(err, DD_E_CORRUPT, "%.700s/" DD_RUN_METRICS " holds no record that can be read", run);
  if (seen->bad)
    dd_say(cb, DD_WARNING, "%.700s/" DD_RUN_METRICS ": %lld lines are no records and are left out", run,
           (long long)seen->bad);
  return DD_OK;
}

static int no_run(const char *run, dd_error *err) {
  return dd_fail(err, DD_E_USAGE, "%.700s is no directory of a run: there is no " DD_RUN_METRICS " in it", run);
}

static int has_metrics(const char *dir) {
  char path[4096];
  return dd_path_join(path, sizeof path, dir, DD_RUN_METRICS, NULL) == DD_OK && dd_is_file(path);
}

/* ---- CSV ---- */

typedef struct column {
  const char *kind, *key, *name;
} column;
static const column columns[] = {
#define COLUMN_ROW(kind, key, name) {kind, key, name},
    DD_CSV_COLUMNS(COLUMN_ROW)};
static const char *const sites[] = {
#define SITE_ROW(id, name) name,
    DD_DROPOUT_SITES(SITE_ROW)};
enum { COLUMNS = sizeof columns / sizeof *columns, SITES = sizeof sites / sizeof *sites, CELL = 40 };

typedef struct table {
  char *text;
  size_t n, room;
  int failed, rates; /* out of memory; the run has rates of sites */
  int64_t iter;      /* of the row that is being filled, -1: none */
  char cell[COLUMNS][CELL], site[SITES][CELL];
} table;

static void put(table *t, const char *text) {
  const size_t n = strlen(text);
  if (t->room - t->n <= n && !t->failed) {
    const size_t room = 2 * t->room + n + 4096;
    char *more = realloc(t->text, room);
    if (!more) t->failed = 1;
    else t->text = more, t->room = room;
  }
  if (t->failed) return;
  memcpy(t->text + t->n, text, n + 1);
  t->n += n;
}

/* As few digits as read back to the same number; a point whatever the locale. */
static void number_text(char out[CELL], double v) {
  for (int digits = 6; digits <= 17; digits++) {
    snprintf(out, CELL, "%.*g", digits, v);
    for (char *c = out; *c; c++)
      if (*c == ',') *c = '.';
    const char *end;
    if (dd_parse_real(out, &end) == v) return;
  }
}

static void cell_text(char out[CELL], const json_t *v) {
  *out = '\0';
  if (json_is_integer(v)) snprintf(out, CELL, "%lld", (long long)json_integer_value(v));
  else if (json_is_real(v) && isfinite(json_real_value(v))) number_text(out, json_real_value(v));
  else if (json_is_string(v) && !json_string_value(v)[strcspn(json_string_value(v), ",\"\r\n")])
    snprintf(out, CELL, "%s", json_string_value(v));
}

static void end_row(table *t) {
  char iter[32];
  if (t->iter < 0) return;
  snprintf(iter, sizeof iter, "%lld", (long long)t->iter);
  put(t, iter);
  for (int i = 0; i < COLUMNS; i++) {
    put(t, ",");
    put(t, t->cell[i]);
    for (int s = 0; s < SITES && t->rates && !strcmp(columns[i].name, "dropout"); s++) put(t, ","), put(t, t->site[s]);
  }
  put(t, "\n");
  memset(t->cell, 0, sizeof t->cell);
  memset(t->site, 0, sizeof t->site);
}

static void head(table *t) {
  put(t, "iter");
  for (int i = 0; i < COLUMNS; i++) {
    put(t, ",");
    put(t, columns[i].name);
    for (int s = 0; s < SITES && t->rates && !strcmp(columns[i].name, "dropout"); s++)
      put(t, ",dropout_"), put(t, sites[s]);
  }
  put(t, "\n");
}

static int take_row(void *user, const json_t *o) {
  table *t = user;
  const char *type = json_string_value(json_object_get(o, "type"));
  const json_t *iter = json_object_get(o, "iter"), *rates = json_object_get(o, "rates");
  if (!type || !json_is_integer(iter)) return DD_OK;
  if (json_integer_value(iter) != t->iter) end_row(t);
  t->iter = json_integer_value(iter);
  for (int i = 0; i < COLUMNS; i++) {
    const json_t *v = json_object_get(o, columns[i].key);
    if (v && (!columns[i].kind || !strcmp(columns[i].kind, type))) cell_text(t->cell[i], v);
  }
  for (int s = 0; s < SITES && rates; s++) cell_text(t->site[s], json_object_get(rates, sites[s]));
  return DD_OK;
}

static int find_rates(void *user, const json_t *o) {
  if (json_object_get(o, "rates")) ((table *)user)->rates = 1;
  return DD_OK;
}

int dd_export_csv(const char *run, const char *path, const dd_callbacks *cb, dd_error *err) {
  table t = {.iter = -1};
  dd_metrics_seen seen;
  if (!has_metrics(run)) return no_run(run, err);
  int rc = dd_metrics_each(run, find_rates, &t, &seen, err);
  if (!rc) rc = judge(run, &seen, cb, err);
  head(&t);
  if (!rc) rc = dd_metrics_each(run, take_row, &t, &seen, err);
  end_row(&t);
  if (!rc && t.failed) rc = dd_fail(err, DD_E_RUNTIME, "out of memory for the table of %.700s", run);
  if (!rc && strcmp(path, "-")) rc = dd_file_replace(path, t.text, t.n, err);
  else if (!rc && cb && cb->text) cb->text(cb->user, t.text, t.n);
  free(t.text);
  return rc;
}

/* ---- TensorBoard ---- */

typedef struct conversion {
  dd_tfevents out;
  dd_events_state state;
  double begin, elapsed; /* seconds since 1970; since then */
  char id[33];
} conversion;

static double elapsed_of(const json_t *o, double before) {
  const json_t *v = json_object_get(o, "elapsed_s");
  return json_is_number(v) ? json_number_value(v) : before;
}

static int find_elapsed(void *user, const json_t *o) {
  conversion *c = user;
  const char *id = json_string_value(json_object_get(o, "run_id"));
  c->elapsed = elapsed_of(o, c->elapsed);
  if (id && strlen(id) == 32 && strspn(id, "0123456789abcdef") == 32) memcpy(c->id, id, sizeof c->id);
  return DD_OK;
}

static int take_events(void *user, const json_t *o) {
  conversion *c = user;
  c->elapsed = elapsed_of(o, c->elapsed);
  dd_events_of_record(&c->state, o, c->begin + c->elapsed, &c->out);
  return DD_OK;
}

static int convert(const char *run, const char *dir, dd_written *written, const dd_callbacks *cb, dd_error *err) {
  char path[4096], name[128];
  struct stat st;
  conversion c = {.state = {-1, -1}};
  dd_metrics_seen seen;
  int rc = dd_metrics_each(run, find_elapsed, &c, &seen, err);
  if (!rc) rc = judge(run, &seen, cb, err);
  if (!rc) rc = dd_path_join(path, sizeof path, run, DD_RUN_METRICS, err);
  if (rc) return rc;
  /* Records have the time since the run began; the file was last written at the end of it. */
  if (dd_fs()->stat(path, &st) == 0) c.begin = (double)st.st_mtime - c.elapsed;
  c.elapsed = 0;
  dd_tfevents_version(&c.out, c.begin);
  rc = dd_metrics_each(run, take_events, &c, &seen, err);
  if (!rc && c.out.failed) rc = dd_fail(err, DD_E_RUNTIME, "out of memory for the events of %.700s", run);
  /* The name does not depend on the clock: the same run, exported again, takes the place of the first. */
  snprintf(name, sizeof name, DD_EVENTS_PREFIX "0000000000.%s", *c.id ? c.id : "dd-cpu");
  if (!rc) rc = dd_make_dirs(dir, err);
  if (!rc) rc = dd_path_join(path, sizeof path, dir, name, err);
  if (!rc) rc = dd_file_replace(path, c.out.data, c.out.n, err);
  if (!rc && written) written->files++, written->bytes += (int64_t)c.out.n;
  free(c.out.data);
  return rc;
}

static int is_run(const char *dir, const char *name, const void *user) {
  char path[4096];
  (void)user;
  return !dd_path_join(path, sizeof path, dir, name, NULL) && has_metrics(path);
}

int dd_export_tensorboard(const char *run, const char *dir, dd_written *written, const dd_callbacks *cb,
                          dd_error *err) {
  char from[4096], to[4096];
  dd_names l;
  if (has_metrics(run)) return convert(run, dir, written, cb, err);
  char inner[4096]; /* the runs of a study are in a directory of their own */
  if (dd_path_join(inner, sizeof inner, run, "runs", NULL) == DD_OK && dd_is_dir(inner)) run = inner;
  if (!dd_is_dir(run)) return no_run(run, err);
  int rc = dd_dir_names(run, &(dd_names_wanted){.keep = is_run}, &l, err);
  if (!rc && !l.n) rc = no_run(run, err);
  for (size_t i = 0; i < l.n && !rc; i++) {
    rc = dd_path_join(from, sizeof from, run, l.name[i], err);
    if (!rc) rc = dd_path_join(to, sizeof to, dir, l.name[i], err);
    if (!rc) rc = convert(from, to, written, cb, err);
    if (!rc) rc = dd_check_stop(cb, "exporting", l.name[i], err);
  }
  dd_names_free(&l);
  return rc;
}
