#include "study/analysis.h"
#include "study/conclude.h"
#include "study/curves.h"
#include "study/numbers.h"
#include "study/pairs.h"
#include "study/signs.h"
#include "study/stats.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_ROW(key, ...) #key,
static const char *const column_keys[] = {DD_COLUMNS(KEY_ROW)};
#define NAME_ROW(id, name, ...) name,
static const char *const sign_names[] = {DD_SIGNS(NAME_ROW)};

static json_t *columns_json(int *failed) {
#define KIND_ROW(id, name) static const char kind_##id[] = name;
#define BETTER_ROW(id, name) static const char better_##id[] = name;
  DD_COLUMN_KINDS(KIND_ROW)
  DD_COLUMN_BETTERS(BETTER_ROW)
  json_t *out = json_array();
#define COLUMN_ROW(key, label, unit, kind, better, digits, compared, help)                                           \
  dd_json_push(out, json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:s}", "key", #key, "label", label, "unit", unit,       \
                              "kind", kind_##kind, "better", better_##better, "digits", digits, "help", help), failed);
  DD_COLUMNS(COLUMN_ROW)
#undef COLUMN_ROW
  (void)better_HIGHER;
  return out;
}

static json_t *run_json(const dd_study_run *run, const dd_sign signs[DD_SIGN_COUNT], int *failed) {
  json_t *o = json_object(), *columns = json_object(), *list = json_array();
  dd_json_put(o, "seed", dd_json_format("%llu", (unsigned long long)run->seed), failed);
  dd_json_put(o, "dir", dd_json_text(run->dir), failed);
  dd_json_put(o, "state", json_string(dd_run_state_name(run->state)), failed);
  dd_json_put(o, "why", dd_json_text(run->why), failed);
  dd_json_put(o, "iter", run->iter < 0 ? json_null() : json_integer(run->iter), failed);
  dd_json_put(o, "fingerprint", dd_json_text(run->fingerprint), failed);
  for (int c = 0; c < DD_COLUMN_COUNT; c++)
    dd_json_put(columns, column_keys[c], dd_json_real(run->column[c]), failed);
  dd_json_put(o, "columns", columns, failed);
  for (int i = 0; i < DD_SIGN_COUNT; i++) {
    if (!signs[i].there) continue;
    json_t *sign = json_object();
    dd_json_put(sign, "name", json_string(sign_names[i]), failed);
    dd_json_put(sign, "since", json_integer(signs[i].since), failed);
    dd_json_put(sign, "text", dd_json_text(signs[i].text), failed);
    dd_json_push(list, sign, failed);
  }
  dd_json_put(o, "signatures", list, failed);
  return o;
}

static json_t *summary_json(const dd_treatment *t, int c, double *x, int *failed) {
  size_t n = 0;
  for (size_t i = 0; i < t->n; i++)
    if (isfinite(t->run[i]->column[c])) x[n++] = t->run[i]->column[c];
  json_t *o = json_object();
  dd_json_put(o, "n", json_integer((json_int_t)n), failed);
  dd_json_put(o, "mean", dd_json_real(dd_stats_mean(x, n)), failed);
  dd_json_put(o, "sd", dd_json_real(dd_stats_sd(x, n)), failed);
  dd_json_put(o, "min", dd_json_real(dd_stats_min(x, n)), failed);
  dd_json_put(o, "max", dd_json_real(dd_stats_max(x, n)), failed);
  return o;
}

/* Which signs the runs show, how many of them, and since when. */
static json_t *signatures_json(const dd_treatment *t, const dd_sign (*signs)[DD_SIGN_COUNT], double *x, int *failed) {
  json_t *list = json_array();
  size_t seen = 0;
  for (size_t i = 0; i < t->n; i++) seen += t->run[i]->n_evals > 0;
  for (int k = 0; k < DD_SIGN_COUNT; k++) {
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++)
      if (signs[i][k].there) x[n++] = (double)signs[i][k].since;
    if (!n) continue;
    json_t *o = json_object();
    dd_json_put(o, "name", json_string(sign_names[k]), failed);
    dd_json_put(o, "runs", json_integer((json_int_t)n), failed);
    dd_json_put(o, "text", dd_json_format("%s in %zu of %zu run%s, from iteration %s%s", sign_names[k], n,
                                          n > seen ? n : seen, (n > seen ? n : seen) == 1 ? "" : "s",
                                          dd_fixed(dd_stats_median(x, n), 0).s, n > 1 ? " (median)" : ""), failed);
    dd_json_push(list, o, failed);
  }
  return list;
}

static json_t *schedule_json(const dd_treatment *t, int *failed) {
#define FORMULA_ROW(id, name, formula, uses, source, help) formula,
#define HELP_ROW(id, name, formula, uses, source, help) help,
  static const char *const formulas[] = {DD_SCHEDULES(FORMULA_ROW)}, *const helps[] = {DD_SCHEDULES(HELP_ROW)};
  dd_sign(*signs)[DD_SIGN_COUNT] = calloc(t->n, sizeof *signs);
  double *x = malloc(t->n * sizeof *x);
  json_t *o = json_object(), *columns = json_object(), *runs = json_array();
  if (!signs || !x) *failed = 1;
  size_t finished = 0;
  const dd_study_run *example = t->run[0];
  dd_json_put(o, "name", dd_json_text(t->name), failed);
  dd_json_put(o, "formula", json_string(formulas[example->schedule_id]), failed);
  dd_json_put(o, "help", json_string(helps[example->schedule_id]), failed);
  for (size_t i = 0; i < t->n && !*failed; i++) {
    finished += t->run[i]->state == DD_RUN_FINISHED;
    dd_signs_find(t->run[i], signs[i]);
    dd_json_push(runs, run_json(t->run[i], signs[i], failed), failed);
  }
  dd_json_put(o, "planned", json_integer((json_int_t)t->n), failed);
  dd_json_put(o, "finished", json_integer((json_int_t)finished), failed);
  for (int c = 0; c < DD_COLUMN_COUNT && x; c++)
    dd_json_put(columns, column_keys[c], summary_json(t, c, x, failed), failed);
  dd_json_put(o, "columns", columns, failed);
  if (!*failed)
    dd_json_put(o, "signatures", signatures_json(t, (const dd_sign(*)[DD_SIGN_COUNT])signs, x, failed), failed);
  dd_json_put(o, "curves", dd_curves_json(t), failed);
  dd_json_put(o, "runs", runs, failed);
  free(signs);
  free(x);
  return o;
}

static const char *base_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash && slash[1] ? slash + 1 : path;
}

static json_t *group_json(const dd_group *g, const json_t *cost, int *failed) {
  json_t *o = json_object(), *settings = json_array(), *schedules = json_array();
  dd_json_put(o, "label", dd_json_text(g->label), failed);
  dd_json_put(o, "baseline", g->baseline >= 0 ? dd_json_text(g->t[g->baseline].name) : json_null(), failed);
  const dd_setting *d;
  if (g->example->read)
    dd_json_push(settings, json_pack("[s, o]", "data", dd_json_text(base_name(g->example->data_name))), failed);
  for (int i = 0; (d = dd_setting_at(i)); i++)
    if (dd_group_setting(i) && g->example->setting[i])
      dd_json_push(settings, json_pack("[s, o]", d->name, dd_json_text(g->example->setting[i])), failed);
  dd_json_put(o, "settings", settings, failed);
  for (size_t t = 0; t < g->n && !*failed; t++) dd_json_push(schedules, schedule_json(&g->t[t], failed), failed);
  dd_json_put(o, "schedules", schedules, failed);
  if (!*failed) dd_json_put(o, "comparisons", dd_pairs_json(g), failed);
  if (!*failed) dd_json_put(o, "conclusions", dd_conclusions_json(o, cost), failed);
  return o;
}

/* Names of the data, each once, with commas between. */
static json_t *title_json(const dd_groups *gs) {
  char title[512] = "";
  for (size_t k = 0; k < gs->n; k++) {
    const char *name = base_name(gs->g[k].example->data_name);
    bool had = !*name;
    for (size_t j = 0; j < k; j++) had |= !strcmp(base_name(gs->g[j].example->data_name), name);
    const size_t n = strlen(title);
    if (!had) snprintf(title + n, sizeof title - n, "%s%s", n ? ", " : "", name);
  }
  return dd_json_text(*title ? title : "dropout schedules");
}

/* Of the runs that were read; "several" where they differ. */
static json_t *machine_json(const dd_study *st, int *failed) {
  char cpu[128] = "", tier[32] = "", threads[32] = "", text[32];
  for (size_t i = 0; i < st->n; i++) {
    const dd_study_run *run = &st->runs[i];
    if (!run->read) continue;
#define MERGE(into, value) snprintf(into, sizeof into, "%s", !*into || !strcmp(into, value) ? value : "several")
    MERGE(cpu, run->cpu);
    MERGE(tier, run->tier);
    snprintf(text, sizeof text, "%d", run->threads);
    MERGE(threads, text);
  }
  json_t *o = json_object();
  dd_json_put(o, "cpu", dd_json_text(cpu), failed);
  dd_json_put(o, "tier", dd_json_text(tier), failed);
  dd_json_put(o, "threads", dd_json_text(threads), failed);
  return o;
}

/* Sentences about the runs that do not count, and about odd lines in those that do. */
static int warn_about_runs(dd_study *st, dd_error *err) {
  int rc = DD_OK;
  for (size_t i = 0; i < st->n && !rc; i++) {
    const dd_study_run *run = &st->runs[i];
    if (run->state == DD_RUN_DAMAGED || run->state == DD_RUN_DIVERGED || (run->state == DD_RUN_MISSING && !run->known))
      rc = dd_study_warn(st, err, "%s is %s: %s", run->dir, dd_run_state_name(run->state), run->why);
    else if (run->bad_lines)
      rc = dd_study_warn(st, err, "%s: %lld line%s of metrics.jsonl are no records of this run and were left out",
                         run->dir, (long long)run->bad_lines, run->bad_lines == 1 ? "" : "s");
  }
  return rc;
}

static json_t *report_json(dd_study *st, const dd_groups *gs, int *rc, int *failed, dd_error *err) {
  json_t *o = json_object(), *groups = json_array();
  dd_json_put(o, "program", json_string("dd-cpu"), failed);
  dd_json_put(o, "version", json_string(dd_version()), failed);
  dd_json_put(o, "numerics", json_integer(dd_numerics_version()), failed);
  dd_json_put(o, "title", title_json(gs), failed);
  dd_json_put(o, "command", st->command ? dd_json_lines(st->command) : json_null(), failed);
  dd_json_put(o, "sources", json_incref(st->sources), failed);
  dd_json_put(o, "columns", columns_json(failed), failed);
  for (size_t k = 0; k < gs->n && !*failed && !*rc; k++) {
    dd_json_push(groups, group_json(&gs->g[k], st->cost, failed), failed);
    *rc = dd_check_stop(st->cb, "analysing", gs->g[k].example->dir, err);
  }
  dd_json_put(o, "groups", groups, failed);
  dd_json_put(o, "cost", st->cost ? json_incref(st->cost) : json_null(), failed);
  dd_json_put(o, "machine", machine_json(st, failed), failed);
  dd_json_put(o, "notes", dd_notes_json(), failed);
  dd_json_put(o, "warnings", json_incref(st->warnings), failed);
  return o;
}

int dd_study_analyse(const char *const *dirs, int n, const dd_settings *s, const dd_callbacks *cb, json_t **report,
                     dd_error *err) {
  dd_study st;
  dd_groups gs = {0};
  *report = NULL;
  int rc = dd_study_load(dirs, n, cb, &st, err);
  if (!rc) rc = dd_groups_make(&st, s->baseline, &gs, err);
  if (!rc) rc = warn_about_runs(&st, err);
  if (!rc) {
    int failed = 0;
    json_t *o = report_json(&st, &gs, &rc, &failed, err);
    if (rc) json_decref(o);
    else if (failed) {
      json_decref(o);
      rc = dd_fail(err, DD_E_RUNTIME, "out of memory for the report");
    } else *report = o;
  }
  dd_groups_free(&gs);
  dd_study_free(&st);
  return rc;
}
