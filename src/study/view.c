#include "study/view.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *dd_view_text(const json_t *object, const char *key) {
  const char *s = json_string_value(json_object_get(object, key));
  return s ? s : "";
}
double dd_view_value(const json_t *value) { return json_is_number(value) ? json_number_value(value) : (double)NAN; }
double dd_view_number(const json_t *object, const char *key) { return dd_view_value(json_object_get(object, key)); }
int dd_view_int(const json_t *object, const char *key, int otherwise) {
  const double v = dd_view_number(object, key);
  return v >= -1e9 && v <= 1e9 ? (int)v : otherwise;
}
const json_t *dd_view_array(const json_t *object, const char *key) {
  const json_t *a = json_object_get(object, key);
  return json_is_array(a) ? a : NULL;
}

static const json_t *find(const json_t *array, const char *key, const char *text) {
  size_t i;
  json_t *item;
  json_array_foreach((json_t *)array, i, item) if (!strcmp(dd_view_text(item, key), text)) return item;
  return NULL;
}
const json_t *dd_view_schedule(const json_t *group, const char *name) {
  return find(dd_view_array(group, "schedules"), "name", name);
}
const json_t *dd_view_column(const json_t *report, const char *key) {
  return find(dd_view_array(report, "columns"), "key", key);
}
const json_t *dd_view_group(const dd_view *v, int group) {
  return json_array_get(dd_view_array(v->report, "groups"), (size_t)group);
}

/* ---- looks ---- */

/* Names get a number when they are first mentioned; colours go to those that are no baseline. */
static bool mention(dd_view *v, const char *name) {
  if (json_object_get(v->names, name)) return true;
  const bool base = json_object_get(v->bases, name) != NULL;
  const int number = (int)json_object_size(v->names);
  int coloured = 0;
  const char *key;
  json_t *value;
  json_object_foreach(v->names, key, value) coloured += !json_object_get(v->bases, key);
  return !json_object_set_new(v->names, name, json_pack("[i,i]", number, base ? -1 : coloured));
}

int dd_view_init(dd_view *v, const json_t *report, dd_error *err) {
  *v = (dd_view){.report = report, .names = json_object(), .bases = json_object()};
  bool ok = v->names && v->bases;
  size_t g, s;
  json_t *group, *schedule;
  const json_t *groups = dd_view_array(report, "groups");
  json_array_foreach((json_t *)groups, g, group) {
    const char *base = dd_view_text(group, "baseline");
    if (ok && *base) ok = !json_object_set_new(v->bases, base, json_true());
  }
  json_array_foreach((json_t *)groups, g, group) {
    const json_t *schedules = dd_view_array(group, "schedules");
    json_array_foreach((json_t *)schedules, s, schedule) ok = ok && mention(v, dd_view_text(schedule, "name"));
  }
  if (ok) return DD_OK;
  dd_view_free(v);
  return dd_fail(err, DD_E_RUNTIME, "no memory for the report");
}

void dd_view_free(dd_view *v) {
  json_decref(v->names);
  json_decref(v->bases);
  *v = (dd_view){0};
}

dd_look dd_view_look(const dd_view *v, const char *schedule) {
  const json_t *entry = json_object_get(v->names, schedule);
  dd_look look = {.number = -1, .colour = 0, .letter = "?"};
  if (!entry) return look;
  look.number = (int)json_integer_value(json_array_get(entry, 0));
  const int colour = (int)json_integer_value(json_array_get(entry, 1));
  look.colour = colour < 0 ? 0 : 1 + colour % DD_COLOURS;
  /* Neighbours in the list that share a dash pattern differ in colour; the first DD_COLOURS * DD_DASHES are all
   * different. */
  const int half = DD_COLOURS / 2;
  look.dash = colour < 0 ? 0 : (colour / half + colour / (half * DD_DASHES)) % DD_DASHES;
  char *end = look.letter + sizeof look.letter - 1;
  *end = 0;
  int n = look.number;
  do *--end = (char)('A' + n % 26);
  while ((n = n / 26 - 1) >= 0);
  memmove(look.letter, end, strlen(end) + 1);
  return look;
}

/* ---- curves ---- */

static bool allocate(dd_curve *c, size_t n, int *failed) {
  *c = (dd_curve){0};
  if (n == 0 || n > 1000000) return false;
  c->x = malloc(4 * n * sizeof *c->x);
  if (!c->x) {
    *failed = 1;
    return false;
  }
  c->mean = c->x + n;
  c->lo = c->mean + n;
  c->hi = c->lo + n;
  return true;
}

static double at(const json_t *array, size_t i) {
  const double v = dd_view_value(json_array_get(array, i));
  return fabs(v) <= DD_PLOT_MAX ? v : (double)NAN;
}

static bool read_curve(dd_curve *c, const json_t *schedule, const char *name, int *failed) {
  const json_t *source = json_object_get(json_object_get(schedule, "curves"), name);
  const json_t *iter = dd_view_array(source, "iter"), *mean = dd_view_array(source, "mean");
  const json_t *lo = dd_view_array(source, "lo"), *hi = dd_view_array(source, "hi");
  const size_t points = json_array_size(iter) < json_array_size(mean) ? json_array_size(iter) : json_array_size(mean);
  if (!allocate(c, points, failed)) return false;
  c->seeds = dd_view_int(source, "n", 0);
  bool any = false;
  for (size_t i = 0; i < points; i++) {
    const double x = at(iter, i);
    if (isnan(x) || (c->n && x <= c->x[c->n - 1])) continue; /* iterations rise */
    c->x[c->n] = x;
    c->mean[c->n] = at(mean, i);
    c->lo[c->n] = at(lo, i);
    c->hi[c->n] = at(hi, i);
    any |= !isnan(c->mean[c->n++]);
  }
  if (any) return true;
  dd_curve_free(c);
  return false;
}

bool dd_curve_read(dd_curve *c, const json_t *group, const json_t *schedule, const char *name, int *failed) {
  if (strcmp(name, "val_diff")) return read_curve(c, schedule, name, failed);
  dd_curve base;
  if (!read_curve(c, schedule, "val_loss", failed)) return false;
  if (!read_curve(&base, dd_view_schedule(group, dd_view_text(group, "baseline")), "val_loss", failed)) {
    dd_curve_free(c);
    return false;
  }
  int n = 0;
  for (int i = 0, j = 0; i < c->n && j < base.n;) {
    if (c->x[i] < base.x[j]) i++;
    else if (c->x[i] > base.x[j]) j++;
    else {
      c->x[n] = c->x[i];
      c->mean[n] = c->mean[i++] - base.mean[j++];
      c->lo[n] = c->hi[n] = (double)NAN;
      n++;
    }
  }
  c->n = n;
  dd_curve_free(&base);
  if (n) return true;
  dd_curve_free(c);
  return false;
}

void dd_curve_free(dd_curve *c) {
  free(c->x);
  *c = (dd_curve){0};
}
