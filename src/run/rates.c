#include "run/rates.h"
#include "core/file.h"
#include "core/hash.h"
#include <stdio.h>
#include <stdlib.h>

void dd_rates_schedule(dd_schedule *out, const dd_settings *s, enum dd_schedule_id id, double p0) {
  *out = (dd_schedule){.id = id,
                       .p0 = p0,
                       .pf = s->dropout_final,
                       .T = s->max_iters,
                       .gamma = s->dropout_gamma,
                       .cutoff = s->dropout_cutoff,
                       .cycles = s->dropout_cycles,
                       .step = s->dropout_step,
                       .min = s->dropout_min,
                       .max = s->dropout_max,
                       .min_delta = s->val_min_delta,
                       .patience = s->val_patience,
                       .compare_prev = s->val_compare == DD_COMPARE_PREV,
                       .gap_target = s->gap_target,
                       .gap_gain = s->gap_gain};
}

static int read_table(dd_rates *r, const dd_settings *s, dd_error *err) {
  char *text;
  size_t n;
  if (r->table) return DD_OK;
  int rc = dd_file_read_all(s->dropout_table, DD_POINTS_FILE_MAX, &text, &n, err);
  if (rc) return rc;
  rc = dd_points_parse_table(&r->table, s->dropout_table, text, n, err);
  if (!rc) rc = dd_points_check(r->table, s->dropout_table, s->max_iters, err);
  if (!rc) dd_hash_hex(text, n, r->table_hash);
  free(text);
  return rc;
}

/* Schedule i: 0 that of all, 1 + site. */
static int open_schedule(dd_rates *r, const dd_settings *s, int i, const dd_chosen *c, dd_error *err) {
  dd_schedule *one = i ? &r->site[i - 1] : &r->all;
  int rc = DD_OK;
  dd_rates_schedule(one, s, c->id, c->p0);
  if (c->id == DD_SCHEDULE_TABLE) {
    rc = read_table(r, s, err);
    one->points = r->table;
  } else if (c->id == DD_SCHEDULE_STEPS) {
    rc = dd_points_parse_list(&r->points[i], "dropout_steps", c->arg, err);
    one->points = r->points[i];
  } else if (c->id == DD_SCHEDULE_EXPR) {
    rc = dd_expr_compile(&r->expr[i], c->arg, err);
    one->expr = r->expr[i];
  } else if (c->id == DD_SCHEDULE_CALLBACK) {
    snprintf(r->name[i], sizeof r->name[i], "%s", c->arg);
    one->name = r->name[i];
    one->site = i - 1;
    r->asks = true;
  }
  return rc;
}

/* Factor of block l of L. */
static double depth_factor(int how, int64_t l, int64_t L) {
  switch ((enum dd_depth_id)how) {
  case DD_DEPTH_LINEAR: return (double)(l + 1) / (double)L;
  case DD_DEPTH_LIMA: return L > 1 ? (double)l / (double)(L - 1) : 1;
  case DD_DEPTH_REVERSE: return (double)(L - l) / (double)L;
  default: return 1;
  }
}

static int open_all(dd_rates *r, const dd_settings *s, dd_error *err) {
  const unsigned follow = dd_settings_site_mask(s);
  dd_chosen c;
  dd_settings_chosen(s, -1, &c);
  int rc = open_schedule(r, s, 0, &c, err);
  for (int i = 0; i < DD_SITES && !rc; i++) {
    if (dd_settings_chosen(s, i, &c)) {
      r->mode[i] = DD_RATE_OWN;
      rc = open_schedule(r, s, 1 + i, &c, err);
    } else r->mode[i] = follow >> i & 1 ? DD_RATE_FOLLOWS : DD_RATE_STAYS;
    if (r->mode[i] != DD_RATE_FOLLOWS) r->varies = true;
  }
  if (rc) return rc;
  r->depth = malloc((size_t)s->n_layer * sizeof *r->depth);
  if (!r->depth) return dd_fail(err, DD_E_RUNTIME, "out of memory for rates of dropout");
  for (int64_t l = 0; l < s->n_layer; l++) r->depth[l] = depth_factor(s->dropout_depth, l, s->n_layer);
  return DD_OK;
}

int dd_rates_create(dd_rates **out, const dd_settings *s, dd_error *err) {
  *out = NULL;
  dd_rates *r = calloc(1, sizeof *r);
  if (!r) return dd_fail(err, DD_E_RUNTIME, "out of memory for rates of dropout");
  const int rc = open_all(r, s, err);
  if (rc) dd_rates_destroy(r);
  else *out = r;
  return rc;
}

int dd_rates_set_callbacks(dd_rates *r, const dd_callbacks *cb, dd_error *err) {
  const int there = cb && cb->rate;
  if (r->asks && !there)
    return dd_fail(err, DD_E_USAGE,
                   "schedule callback takes its rates from a function of a program that uses the library "
                   "(dd_callbacks.rate), and here is none: choose another --schedule, or go on with that program");
  if (there && !r->asks)
    return dd_fail(err, DD_E_USAGE,
                   "dd_callbacks.rate is given, but no schedule asks it: set \"schedule\" to \"callback:NAME\"");
  r->all.ask = cb;
  for (int i = 0; i < DD_SITES; i++) r->site[i].ask = cb;
  return DD_OK;
}

void dd_rates_destroy(dd_rates *r) {
  if (!r) return;
  for (int i = 0; i <= DD_SITES; i++) {
    free(r->points[i]);
    dd_expr_destroy(r->expr[i]);
  }
  free(r->table);
  free(r->depth);
  free(r);
}

void dd_rates_start(const dd_rates *r, dd_rates_state *st) {
  dd_schedule_start(&r->all, &st->all);
  for (int i = 0; i < DD_SITES; i++) st->site_p[i] = r->mode[i] == DD_RATE_OWN ? r->site[i].p0 : r->all.p0;
}

void dd_rates_resume(const dd_rates *r, dd_rates_state *st) {
  dd_rates_state fresh;
  dd_rates_start(r, &fresh);
  for (int i = 0; i < DD_SITES; i++)
    if (!(st->site_p[i] >= 0 && st->site_p[i] < 1)) st->site_p[i] = fresh.site_p[i];
}

static dd_schedule_state state_of_site(const dd_rates_state *st, int site) {
  dd_schedule_state one = st->all;
  one.p = st->site_p[site];
  return one;
}

double dd_rates_at(const dd_rates *r, const dd_rates_state *st, int64_t t, dd_dropout_rates *out) {
  const double p = dd_schedule_rate(&r->all, &st->all, t);
  if (!out) return p;
  out->depth = r->depth;
  for (int i = 0; i < DD_SITES; i++) {
    const dd_schedule_state own = state_of_site(st, i);
    out->site[i] = r->mode[i] == DD_RATE_OWN     ? dd_schedule_rate(&r->site[i], &own, t)
                   : r->mode[i] == DD_RATE_STAYS ? r->all.p0
                                                 : p;
  }
  return p;
}

void dd_rates_observe(const dd_rates *r, dd_rates_state *st, double train_loss, double val_loss) {
  for (int i = 0; i < DD_SITES; i++) {
    if (r->mode[i] != DD_RATE_OWN) continue;
    dd_schedule_state own = state_of_site(st, i);
    dd_schedule_observe(&r->site[i], &own, train_loss, val_loss);
    st->site_p[i] = own.p;
  }
  dd_schedule_observe(&r->all, &st->all, train_loss, val_loss);
}
