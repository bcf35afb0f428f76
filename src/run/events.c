#include "run/events.h"
#include "core/file.h"
#include "run/settings.h"
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- records to events ---- */

/* A number, or NaN for null, which stands for what was not finite. */
static int number(const json_t *o, const char *key, double *out) {
  const json_t *v = json_object_get(o, key);
  *out = json_is_number(v) ? json_number_value(v) : NAN;
  return json_is_number(v) || json_is_null(v);
}

static void add(dd_tfscalar *scalars, int *n, const char *tag, double value) {
  if (*n < DD_TFSCALARS_MOST) scalars[(*n)++] = (dd_tfscalar){tag, (float)value};
}

static void scalars_of(const char *type, const json_t *o, double wall, int64_t iter, dd_tfevents *out) {
  static const struct { const char *kind, *key, *tag; } tags[] = {
#define TAG_ROW(kind, key, tag) {#kind, key, tag},
      DD_EVENTS_TAGS(TAG_ROW)};
  static const struct { const char *key, *tag; } sites[] = {
#define SITE_ROW(id, name) {name, "dropout/" name},
      DD_DROPOUT_SITES(SITE_ROW)};
  dd_tfscalar scalars[DD_TFSCALARS_MOST];
  double v, train, val;
  int n = 0;
  for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
    if (!strcmp(tags[i].kind, type) && number(o, tags[i].key, &v)) add(scalars, &n, tags[i].tag, v);
  if (!strcmp(type, "eval") && number(o, "train_loss", &train) && number(o, "val_loss", &val))
    add(scalars, &n, "loss/gap", val - train);
  const json_t *rates = json_object_get(o, "rates");
  for (size_t i = 0; rates && i < sizeof sites / sizeof *sites; i++)
    if (number(rates, sites[i].key, &v)) add(scalars, &n, sites[i].tag, v);
  if (n) dd_tfevents_scalars(out, wall, iter, scalars, n);
}

/* Text that grows; n stays below room when it does not fit, and the rest is left out. */
typedef struct page {
  char *text;
  size_t n, room;
} page;

static void put(page *p, const char *text, int escaped) {
  for (; *text && p->n + 3 < p->room; text++) {
    const unsigned char c = (unsigned char)*text;
    if (escaped && (c == '|' || c == '\\' || c == '`' || c == '*' || c == '_' || c == '<')) p->text[p->n++] = '\\';
    p->text[p->n++] = c < 32 && escaped ? ' ' : (char)c;
  }
  p->text[p->n] = '\0';
}

/* Rows of a table: "settings.lr | 0.001". Objects inside are opened. */
static void put_rows(page *p, const char *before, const json_t *o) {
  const char *key;
  json_t *v;
  json_object_foreach((json_t *)o, key, v) {
    char name[128], *text = NULL;
    snprintf(name, sizeof name, "%s%s%.60s", before, *before ? "." : "", key);
    if (json_is_object(v)) {
      if (!*before) put_rows(p, key, v);
      continue;
    }
    const char *value = json_is_string(v) ? json_string_value(v) : (text = json_dumps(v, JSON_ENCODE_ANY));
    put(p, "| ", 0), put(p, name, 1), put(p, " | ", 0), put(p, value ? value : "", 1), put(p, " |\n", 0);
    free(text);
  }
}

static void text_of(const json_t *config, double wall, int64_t iter, dd_tfevents *out) {
  page p = {.room = 65536};
  p.text = malloc(p.room);
  if (!p.text) {
    out->failed = 1;
    return;
  }
  put(&p, "| setting | value |\n|---|---|\n", 0);
  put_rows(&p, "", config);
  dd_tfevents_text(out, wall, iter, "settings", p.text);
  free(p.text);
}

/* The settings that decide the result and that the schedule reads. */
static void hparams_of(const json_t *config, double wall, dd_tfevents *out) {
  const json_t *settings = json_object_get(config, "settings");
  const char *id = json_string_value(json_object_get(config, "run_id"));
  dd_settings *s = dd_settings_create();
  dd_tfparam params[DD_SETTING_COUNT];
  const dd_setting *d;
  int n = 0;
  /* a file of another version may have settings that are not known here: it has its text */
  if (s && json_is_object(settings) && dd_settings_from_json(s, settings, NULL) == DD_OK) {
    for (int i = 0; (d = dd_setting_at(i)); i++) {
      const json_t *v = json_object_get(settings, d->name);
      if (!v || dd_setting_is_harmless(i) || dd_settings_schedule_param(s, i) == DD_PARAM_UNUSED) continue;
      const char *text = json_is_string(v) ? json_string_value(v)
                         : json_is_true(v)  ? "true"
                         : json_is_false(v) ? "false"
                                            : NULL;
      if (text && !*text) continue;
      params[n++] = (dd_tfparam){d->name, text, json_number_value(v)};
    }
    if (n) dd_tfevents_hparams(out, wall, id ? id : "", params, n);
  }
  dd_settings_destroy(s);
}

void dd_events_of_record(dd_events_state *st, const json_t *o, double wall, dd_tfevents *out) {
  const char *type = json_string_value(json_object_get(o, "type"));
  const json_t *i = json_object_get(o, "iter");
  if (!type) return;
  if (!strcmp(type, "config")) {
    const int64_t last = st->step > st->eval ? st->step : st->eval;
    text_of(o, wall, last + 1, out);
    if (last < 0) hparams_of(o, wall, out);
    return;
  }
  if (!json_is_integer(i) || json_integer_value(i) < 0) return;
  const int64_t iter = json_integer_value(i);
  const int step = !strcmp(type, "step"), eval = !strcmp(type, "eval");
  /* An evaluation comes before the step of its iteration. */
  if ((step && (iter <= st->step || iter < st->eval)) || (eval && (iter <= st->eval || iter <= st->step)) ||
      iter < st->step || iter < st->eval) {
    dd_tfevents_start(out, wall, iter);
    st->step = st->eval = iter - 1;
  }
  if (step) st->step = iter;
  if (eval) st->eval = iter;
  scalars_of(type, o, wall, iter, out);
}

/* ---- files ---- */

struct dd_events {
  int fd, torn;
  off_t good; /* bytes of whole records */
  dd_events_state state;
  dd_tfevents pending;
  dd_error failed; /* the first time; code DD_OK: never */
  char path[4096];
};

static int is_event_file(const char *name) { return !strncmp(name, DD_EVENTS_PREFIX, sizeof DD_EVENTS_PREFIX - 1); }

static int events_dir(const char *run, char out[4096], dd_error *err) {
  return dd_path_join(out, 4096, run, DD_EVENTS_DIR, err);
}

/* Readers take files by name: the new one's seconds are above those of all that are there, whatever the clocks say. */
static int next_seconds(const char *dir, long long *out, dd_error *err) {
  const char *name;
  void *d = dd_fs()->opendir(dir);
  if (!d) return dd_fail(err, DD_E_IO, "cannot list directory %.700s: %s", dir, strerror(errno));
  *out = (long long)time(NULL);
  while (errno = 0, (name = dd_fs()->readdir(d)) != NULL) {
    if (!is_event_file(name)) continue;
    const long long have = strtoll(name + sizeof DD_EVENTS_PREFIX - 1, NULL, 10);
    if (have >= *out && have < 9999999999) *out = have + 1;
  }
  const int why = errno;
  dd_fs()->closedir(d);
  return why ? dd_fail(err, DD_E_IO, "cannot list directory %.700s: %s", dir, strerror(why)) : DD_OK;
}

static void host_name(char out[65]) {
  if (gethostname(out, 65)) snprintf(out, 65, "host");
  out[64] = '\0';
  for (char *c = out; *c; c++)
    if (!isalnum((unsigned char)*c) && *c != '-' && *c != '.') *c = '_';
}

static double wall_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int dd_events_open(const char *run, int64_t iter, dd_events **out, dd_error *err) {
  char dir[4096], host[65], name[128];
  long long seconds = 0;
  *out = NULL;
  dd_events *e = calloc(1, sizeof *e);
  if (!e) return dd_fail(err, DD_E_RUNTIME, "out of memory for an event file");
  e->fd = -1;
  e->state = (dd_events_state){iter - 1, iter - 1};
  if (iter < 0) e->state = (dd_events_state){-1, -1};
  host_name(host);
  int rc = events_dir(run, dir, err);
  if (!rc) rc = dd_make_dirs(dir, err);
  if (!rc) rc = next_seconds(dir, &seconds, err);
  snprintf(name, sizeof name, DD_EVENTS_PREFIX "%010lld.%s.%ld", seconds, host, (long)getpid());
  if (!rc) rc = dd_path_join(e->path, sizeof e->path, dir, name, err);
  if (!rc) {
    e->fd = dd_fs()->open(e->path, O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (e->fd < 0) rc = dd_fail(err, DD_E_IO, "cannot create %.700s: %s", e->path, strerror(errno));
  }
  if (rc) {
    free(e);
    return rc;
  }
  const double wall = wall_now();
  dd_tfevents_version(&e->pending, wall);
  if (iter >= 0) dd_tfevents_start(&e->pending, wall, iter);
  *out = e;
  return DD_OK;
}

/* Whole records only: what could be written in part is taken back. */
static int write_pending(dd_events *e, dd_error *err) {
  if (e->pending.failed) {
    e->pending.failed = 0;
    return dd_fail(err, DD_E_IO, "out of memory for events of %.700s", e->path);
  }
  if (e->torn && dd_fs()->ftruncate(e->fd, e->good))
    return dd_fail(err, DD_E_IO, "cannot repair the end of %.700s: %s", e->path, strerror(errno));
  e->torn = 0;
  const int rc = dd_file_write_all(e->fd, e->path, e->pending.data, e->pending.n, err);
  if (rc) e->torn = dd_fs()->ftruncate(e->fd, e->good) != 0;
  else e->good += (off_t)e->pending.n, e->pending.n = 0;
  return rc;
}

void dd_events_log(dd_events *e, const json_t *record, const dd_callbacks *cb) {
  dd_error why;
  if (!e) return;
  dd_events_of_record(&e->state, record, wall_now(), &e->pending);
  if (!write_pending(e, &why) || e->failed.code) return;
  e->failed = why;
  dd_say(cb, DD_WARNING, "%s; training goes on, the events are kept and written when they can be", why.message);
}

int dd_events_close(dd_events *e, dd_error *err) {
  if (!e) return DD_OK;
  dd_error why = {.code = DD_OK};
  int rc = write_pending(e, &why);
  if (!rc && dd_fs()->fsync(e->fd)) rc = dd_fail(&why, DD_E_IO, "cannot sync %.700s: %s", e->path, strerror(errno));
  if (dd_fs()->close(e->fd) && errno != EINTR && !rc)
    rc = dd_fail(&why, DD_E_IO, "cannot close %.700s: %s", e->path, strerror(errno));
  if (!rc && e->failed.code) {
    why = e->failed;
    rc = why.code;
  }
  if (rc)
    rc = dd_fail(err, DD_E_IO, "events for TensorBoard may be missing (%.600s); everything is in metrics.jsonl: make "
                 "them again with `dd-cpu export --format tensorboard`", why.message);
  free(e->pending.data);
  free(e);
  return rc;
}

int dd_events_remove(const char *run, dd_error *err) {
  char dir[4096], path[4096];
  int there = 0, rc = events_dir(run, dir, err);
  if (!rc) rc = dd_file_exists(dir, &there, err);
  while (!rc && there) { /* a directory may not be read while its names go: the first, again and again */
    char name[256] = "";
    const char *next;
    void *d = dd_fs()->opendir(dir);
    if (!d) return errno == ENOTDIR ? DD_OK : dd_fail(err, DD_E_IO, "cannot list %.700s: %s", dir, strerror(errno));
    while (!*name && (next = dd_fs()->readdir(d)) != NULL)
      if (is_event_file(next)) snprintf(name, sizeof name, "%s", next);
    dd_fs()->closedir(d);
    if (!*name) break;
    rc = dd_path_join(path, sizeof path, dir, name, err);
    if (!rc && dd_fs()->unlink(path) && errno != ENOENT)
      rc = dd_fail(err, DD_E_IO, "cannot remove %.700s: %s", path, strerror(errno));
  }
  if (!rc && there) dd_fs()->rmdir(dir); /* stays when it holds something else */
  return rc;
}
