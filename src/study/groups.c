#include "study/groups.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int no_memory(dd_error *err) { return dd_fail(err, DD_E_RUNTIME, "out of memory while grouping runs"); }

/* What is said about dropout makes treatments: schedules, their parameters, places and depths. The rate p0 is common,
 * so that schedules are compared at one p0; and so are evaluations, which decide what is measured, and how often the
 * best is looked for. */
static bool treatment_setting(int id) {
  return dd_setting_at(id)->group == DD_GROUP_DROPOUT && id != DD_SETTING_dropout;
}

bool dd_group_setting(int id) { return !dd_setting_is_harmless(id) && !treatment_setting(id); }

static bool same_text(const char *a, const char *b) { return a == b || (a && b && !strcmp(a, b)); }

static bool in_group(const dd_group *g, const dd_study_run *run) {
  const dd_study_run *e = g->example;
  if (e->read && run->read && (strcmp(e->data_hash, run->data_hash) || e->numerics != run->numerics)) return false;
  for (int i = 0; i < DD_SETTING_COUNT; i++)
    if (dd_group_setting(i) && !same_text(e->setting[i], run->setting[i])) return false;
  return true;
}

static bool in_treatment(const dd_treatment *t, const dd_study_run *run) {
  const dd_study_run *e = t->run[0];
  if (strcmp(e->schedule, run->schedule)) return false;
  for (int i = 0; i < DD_SETTING_COUNT; i++)
    if (treatment_setting(i) && run->used[i] && !same_text(e->setting[i], run->setting[i])) return false;
  return true;
}

/* Room for one more, zeroed. */
static bool grow(void **items, size_t n, size_t *room, size_t size) {
  if (n == *room) {
    const size_t more = *room ? 2 * *room : 8;
    void *bigger = realloc(*items, more * size);
    if (!bigger) return false;
    *items = bigger;
    *room = more;
  }
  memset((char *)*items + n * size, 0, size);
  return true;
}

/* Two runs of one treatment and seed: keep the better known one. */
static int meet(dd_study *st, const dd_study_run **kept, const dd_study_run *run, dd_error *err) {
  const dd_study_run *a = *kept;
  const bool both = a->state == DD_RUN_FINISHED && run->state == DD_RUN_FINISHED;
  if (both && !strcmp(a->fingerprint, run->fingerprint)) return DD_OK;
  if (both)
    return dd_study_warn(st, err, "%s and %s are the same seed of the same schedule, yet their fingerprints differ (%s "
                         "and %s): only the first is counted", a->dir, run->dir, a->fingerprint, run->fingerprint);
  const bool swap = run->state == DD_RUN_FINISHED || (a->state != DD_RUN_FINISHED && run->iter > a->iter);
  if (swap) *kept = run;
  return dd_study_warn(st, err, "%s and %s are the same seed of the same schedule: only %s is counted, the other is %s",
                       a->dir, run->dir, (*kept)->dir, dd_run_state_name(swap ? a->state : run->state));
}

static int place_in_treatment(dd_study *st, dd_treatment *t, const dd_study_run *run, dd_error *err) {
  size_t at = 0;
  while (at < t->n && t->run[at]->seed < run->seed) at++;
  if (at < t->n && t->run[at]->seed == run->seed) return meet(st, &t->run[at], run, err);
  if (!grow((void **)&t->run, t->n, &t->room, sizeof *t->run)) return no_memory(err);
  memmove(t->run + at + 1, t->run + at, (t->n - at) * sizeof *t->run);
  t->run[at] = run;
  t->n++;
  return DD_OK;
}

static int place(dd_study *st, dd_groups *gs, const dd_study_run *run, dd_error *err) {
  size_t g = 0, t = 0;
  while (g < gs->n && !in_group(&gs->g[g], run)) g++;
  if (g == gs->n) {
    if (!grow((void **)&gs->g, gs->n, &gs->room, sizeof *gs->g)) return no_memory(err);
    gs->n++;
    gs->g[g].example = run;
  }
  dd_group *group = &gs->g[g];
  if (run->read && !group->example->read) group->example = run;
  while (t < group->n && !in_treatment(&group->t[t], run)) t++;
  if (t == group->n) {
    if (!grow((void **)&group->t, group->n, &group->room, sizeof *group->t)) return no_memory(err);
    group->n++;
    snprintf(group->t[t].name, sizeof group->t[t].name, "%s", run->schedule);
  }
  return place_in_treatment(st, &group->t[t], run, err);
}

static void add_pair(char *out, size_t size, const char *key, const char *value) {
  const size_t n = strlen(out);
  snprintf(out + n, size - n, "%s%s=%.200s", n ? " " : "", key, value ? value : "?");
}

/* Several treatments of one schedule: what tells them apart goes into their names. */
static void name_treatments(dd_group *g) {
  for (size_t a = 0; a < g->n; a++) {
    const dd_study_run *run = g->t[a].run[0];
    for (int i = 0; i < DD_SETTING_COUNT; i++) {
      bool differs = false;
      for (size_t b = 0; b < g->n && treatment_setting(i) && run->used[i]; b++)
        if (!strcmp(g->t[b].run[0]->schedule, run->schedule) &&
            !same_text(g->t[b].run[0]->setting[i], run->setting[i]))
          differs = true;
      if (differs) add_pair(g->t[a].name, sizeof g->t[a].name, dd_setting_at(i)->name, run->setting[i]);
    }
  }
}

static void name_groups(dd_groups *gs) {
  const dd_study_run *first = gs->n ? gs->g[0].example : NULL;
  for (int i = 0; i < DD_SETTING_COUNT; i++) {
    bool differs = false;
    for (size_t k = 1; k < gs->n && dd_group_setting(i); k++)
      if (!same_text(gs->g[k].example->setting[i], first->setting[i])) differs = true;
    for (size_t k = 0; k < gs->n && differs; k++)
      add_pair(gs->g[k].label, sizeof gs->g[k].label, dd_setting_at(i)->name, gs->g[k].example->setting[i]);
  }
  bool data = false, numerics = false;
  for (size_t k = 1; k < gs->n; k++) {
    const dd_study_run *e = gs->g[k].example;
    data |= strcmp(e->data_hash, first->data_hash) != 0;
    numerics |= e->numerics != first->numerics;
  }
  for (size_t k = 0; k < gs->n; k++) {
    const dd_study_run *e = gs->g[k].example;
    char text[384];
    bool same_name = false;
    for (size_t j = 0; j < gs->n; j++)
      same_name |= j != k && !strcmp(gs->g[j].example->data_name, e->data_name) &&
                   strcmp(gs->g[j].example->data_hash, e->data_hash);
    const char *base = strrchr(e->data_name, '/');
    snprintf(text, sizeof text, "%s%s%.8s%s", base && base[1] ? base + 1 : e->data_name, same_name ? " (" : "",
             same_name ? e->data_hash : "", same_name ? ")" : "");
    if (data && e->read) add_pair(gs->g[k].label, sizeof gs->g[k].label, "data", text);
    snprintf(text, sizeof text, "%lld", (long long)e->numerics);
    if (numerics && e->read) add_pair(gs->g[k].label, sizeof gs->g[k].label, "numerics", text);
  }
}

static int find_treatment(const dd_group *g, const char *name) {
  for (size_t t = 0; t < g->n; t++)
    if (!strcmp(g->t[t].name, name)) return (int)t;
  for (size_t t = 0; t < g->n; t++)
    if (!strcmp(g->t[t].run[0]->schedule, name)) return (int)t;
  return -1;
}

static int find_baselines(const dd_study *st, dd_groups *gs, const char *asked, dd_error *err) {
  bool found = false;
  for (size_t k = 0; k < gs->n; k++) {
    dd_group *g = &gs->g[k];
    if (*asked) g->baseline = find_treatment(g, asked);
    else {
      g->baseline = st->baseline[0] ? find_treatment(g, st->baseline) : -1;
      if (g->baseline < 0) g->baseline = find_treatment(g, "fixed");
      if (g->baseline < 0) g->baseline = 0;
    }
    found |= g->baseline >= 0;
  }
  if (found || !*asked || !gs->n) return DD_OK;
  char names[600] = "";
  for (size_t t = 0; t < gs->g[0].n; t++) {
    const size_t n = strlen(names);
    snprintf(names + n, sizeof names - n, "%s%s", n ? ", " : "", gs->g[0].t[t].name);
  }
  return dd_fail(err, DD_E_USAGE, "no run has the baseline '%.100s'; there is: %s", asked, names);
}

int dd_groups_make(dd_study *st, const char *baseline, dd_groups *out, dd_error *err) {
  *out = (dd_groups){0};
  for (size_t i = 0; i < st->n; i++) {
    const int rc = st->runs[i].known ? place(st, out, &st->runs[i], err) : DD_OK;
    if (rc) return rc;
  }
  for (size_t k = 0; k < out->n; k++) name_treatments(&out->g[k]);
  name_groups(out);
  return find_baselines(st, out, baseline, err);
}

void dd_groups_free(dd_groups *gs) {
  for (size_t k = 0; k < gs->n; k++) {
    for (size_t t = 0; t < gs->g[k].n; t++) free(gs->g[k].t[t].run);
    free(gs->g[k].t);
  }
  free(gs->g);
  *gs = (dd_groups){0};
}
