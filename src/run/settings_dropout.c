/* Settings of dropout: sites with schedules of their own, defaults that follow the schedule, what a schedule reads, and
 * whether all of it fits together. */
#include "core/number.h"
#include "model/schedule.h"
#include "run/rates.h"
#include "run/settings_internal.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* ---- rows ---- */

#define SITE_NAME(id, name) name,
static const char *const site_names[] = {DD_DROPOUT_SITES(SITE_NAME)};
#define SITE_SETTING(id, name) [DD_DROPOUT_SITE_##id] = DD_SETTING_##name,
static const enum dd_setting_id site_settings[] = {DD_DROPOUT_SITE_SETTINGS(SITE_SETTING)};

#define USES_ROW(id, name, formula, uses, source, help) [DD_SCHEDULE_##id] = uses,
static const unsigned schedule_uses[] = {DD_SCHEDULES(USES_ROW)};

#define ARGUMENT_ROW(id, setting, example) {DD_SCHEDULE_##id, DD_SETTING_##setting, example},
static const struct {
  enum dd_schedule_id id;
  enum dd_setting_id setting;
  const char *example;
} arguments[] = {DD_SCHEDULE_ARGUMENTS(ARGUMENT_ROW)};

static const char *text_of(const dd_settings *s, int id) { return (const char *)s + dd_setting_at(id)->offset; }

int dd_schedule_argument(enum dd_schedule_id id, const char **example) {
  for (size_t i = 0; i < COUNT(arguments); i++)
    if (arguments[i].id == id) {
      if (example) *example = arguments[i].example;
      return (int)arguments[i].setting;
    }
  return -1;
}

/* ---- sites ---- */

/* Bits of a list of sites, or -1 with the offending word in bad[64]. */
static int parse_sites(const char *list, char *bad) {
  int mask = 0;
  for (const char *p = list; ; p++) {
    size_t n = strcspn(p, ",");
    char piece[64], word[64];
    snprintf(piece, sizeof piece, "%.*s", (int)(n < 63 ? n : 63), p);
    int bit = -1;
    if (dd_setting_trim(piece, word, sizeof word)) {
      if (!strcmp(word, "all")) bit = (1 << DD_DROPOUT_SITE_COUNT) - 1;
      if (!strcmp(word, "none")) bit = 0;
      for (int i = 0; i < DD_DROPOUT_SITE_COUNT; i++)
        if (!strcmp(word, site_names[i])) bit = 1 << i;
    }
    if (bit < 0) {
      if (bad) snprintf(bad, 64, "%s", piece);
      return -1;
    }
    mask |= bit;
    p += n;
    if (!*p) return mask;
  }
}

unsigned dd_settings_site_mask(const dd_settings *s) {
  int mask = parse_sites(s->dropout_sites, NULL);
  return mask < 0 ? 0 : (unsigned)mask;
}

/* The value of a site's own setting: [RATE][,NAME[:ARG]]. */
typedef struct own {
  bool has_rate, has_schedule;
  double rate;
  int schedule;
  const char *arg; /* behind the colon, or NULL */
} own;

static int check_argument(const char *name, enum dd_schedule_id id, const char *arg, dd_error *err) {
  int rc = DD_OK;
  if (id == DD_SCHEDULE_STEPS) {
    dd_points *p;
    if (!(rc = dd_points_parse_list(&p, name, arg, err))) free(p);
  } else if (id == DD_SCHEDULE_EXPR) {
    dd_expr *e;
    if (!(rc = dd_expr_compile(&e, arg, err))) dd_expr_destroy(e);
    else if (rc == DD_E_USAGE) dd_fail_prefix(err, "%s: '%.60s%s', ", name, arg, strlen(arg) > 60 ? "..." : "");
  } else if (id == DD_SCHEDULE_CALLBACK) {
    const size_t n = strlen(arg);
    if (n > 63 || strspn(arg, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") != n)
      rc = dd_fail(err, DD_E_USAGE, "%s must be at most 63 letters, digits and any of _ . -, not '%.80s'", name, arg);
  }
  return rc;
}

static int parse_own(const dd_setting *d, const char *text, own *out, dd_error *err) {
  const char *end, *p = text + strspn(text, " \t");
  *out = (own){.schedule = -1};
  out->rate = dd_parse_real(p, &end) + 0.0;
  if (end != p) {
    out->has_rate = true;
    if (!(out->rate >= 0 && out->rate <= DD_BELOW_1))
      return dd_setting_bad_value(d->name, "a rate from 0 to below 1, a schedule, or both", text, err);
    p = end + strspn(end, " \t");
    if (!*p) return DD_OK;
    if (*p != ',') return dd_setting_bad_value(d->name, "[RATE][,NAME[:ARG]] such as 0.1,cosine", text, err);
    p++;
  }
  char name[64];
  const size_t n = strcspn(p, ":");
  snprintf(name, sizeof name, "%.*s", (int)(n < 63 ? n : 63), p);
  dd_setting row = *dd_setting_at(DD_SETTING_schedule);
  row.name = d->name;
  int rc = dd_setting_parse_choice(&row, &out->schedule, name, err);
  if (rc) return rc;
  out->has_schedule = true;
  if (!p[n]) return DD_OK;
  out->arg = p + n + 1;
  const enum dd_schedule_id id = (enum dd_schedule_id)out->schedule;
  if (id == DD_SCHEDULE_TABLE)
    return dd_fail(err, DD_E_USAGE, "%s: the file of all sites is that of dropout_table; write just `table` here",
                   d->name);
  if (dd_schedule_argument(id, NULL) < 0)
    return dd_fail(err, DD_E_USAGE, "%s: schedule %s takes no argument", d->name, row.choices[id]);
  return check_argument(d->name, id, out->arg, err);
}

int dd_settings_check_text(const dd_setting *d, const char *value, dd_error *err) {
  char bad[64];
  own o;
  if (d->id == DD_SETTING_dropout_sites) {
#define SITE_NAME(id, name) name,
    static const char *const sites[] = {DD_DROPOUT_SITES(SITE_NAME) "all", "none", NULL};
    if (parse_sites(value, bad) >= 0) return DD_OK;
    const int rc =
        dd_setting_bad_value(d->name, "all, none, or some of embed,attn,proj,mlp with commas between", bad, err);
    return dd_setting_add_suggestion(dd_suggest(bad, sites), err), rc;
  }
  if (!*value) return DD_OK; /* as if not given */
  for (size_t i = 0; i < COUNT(site_settings); i++)
    if (d->id == (int)site_settings[i]) return parse_own(d, value, &o, err);
  for (size_t i = 0; i < COUNT(arguments); i++)
    if (d->id == (int)arguments[i].setting) return check_argument(d->name, arguments[i].id, value, err);
  return DD_OK;
}

bool dd_settings_chosen(const dd_settings *s, int site, dd_chosen *out) {
  *out = (dd_chosen){.id = (enum dd_schedule_id)s->schedule, .p0 = s->dropout};
  own o = {0};
  if (site >= 0) {
    const dd_setting *d = dd_setting_at((int)site_settings[site]);
    if (!*text_of(s, d->id) || parse_own(d, text_of(s, d->id), &o, NULL)) return false;
    if (o.has_rate) out->p0 = o.rate;
    if (o.has_schedule) out->id = (enum dd_schedule_id)o.schedule;
  }
  const int argument = dd_schedule_argument(out->id, NULL);
  out->arg = o.arg ? o.arg : argument >= 0 ? text_of(s, argument) : NULL;
  return true;
}

/* ---- what a schedule reads ---- */

/* Of a list and an expression it depends on what they say. */
static unsigned uses_of(const dd_settings *s, const dd_chosen *c) {
  unsigned uses = schedule_uses[c->id];
  if (c->id == DD_SCHEDULE_STEPS) {
    dd_points *p;
    if (c->arg != s->dropout_steps) uses &= ~(unsigned)DD_USES_STEPS;
    if (!dd_points_parse_list(&p, "", c->arg, NULL)) {
      if (p->point[0].at == 0) uses &= ~(unsigned)DD_USES_P0; /* there is nothing before the first step */
      free(p);
    }
  } else if (c->id == DD_SCHEDULE_EXPR) {
    dd_expr *e;
    if (c->arg != s->dropout_expr) uses &= ~(unsigned)DD_USES_EXPR;
    if (!dd_expr_compile(&e, c->arg, NULL)) {
      const unsigned vars = dd_expr_vars(e);
      if (vars & DD_EXPR_EVALS) uses |= DD_USES_EVALS | DD_USES_P0; /* p0 stands in for NaN */
      if (vars & 1u << DD_EXPR_p0) uses |= DD_USES_P0;
      if (vars & 1u << DD_EXPR_pf) uses |= DD_USES_FINAL;
      dd_expr_destroy(e);
    }
  } else if (c->id == DD_SCHEDULE_CALLBACK && c->arg != s->dropout_callback) uses &= ~(unsigned)DD_USES_CALLBACK;
  return uses;
}

unsigned dd_settings_uses(const dd_settings *s) {
  const unsigned all = (1u << DD_DROPOUT_SITE_COUNT) - 1;
  unsigned uses = dd_settings_site_mask(s) == all ? 0 : DD_USES_P0; /* sites that stay at p0 */
  dd_chosen c;
  for (int site = -1; site < DD_DROPOUT_SITE_COUNT; site++)
    if (dd_settings_chosen(s, site, &c)) uses |= uses_of(s, &c);
  return uses;
}

/* Settings that schedules read, and which schedules do: any that has one of the bits; 0: all of them. */
static const struct { enum dd_setting_id id; unsigned uses; } schedule_params[] = {
    {DD_SETTING_schedule, 0},
    {DD_SETTING_dropout, DD_USES_P0},
    {DD_SETTING_dropout_sites, 0},
    {DD_SETTING_dropout_embed, 0},
    {DD_SETTING_dropout_attn, 0},
    {DD_SETTING_dropout_proj, 0},
    {DD_SETTING_dropout_mlp, 0},
    {DD_SETTING_dropout_depth, 0},
    {DD_SETTING_dropout_final, DD_USES_FINAL},
    {DD_SETTING_dropout_steps, DD_USES_STEPS},
    {DD_SETTING_dropout_table, DD_USES_TABLE},
    {DD_SETTING_dropout_expr, DD_USES_EXPR},
    {DD_SETTING_dropout_callback, DD_USES_CALLBACK},
    {DD_SETTING_dropout_gamma, DD_USES_GAMMA},
    {DD_SETTING_dropout_cutoff, DD_USES_CUTOFF},
    {DD_SETTING_dropout_cycles, DD_USES_CYCLES},
    {DD_SETTING_dropout_step, DD_USES_STEP},
    {DD_SETTING_dropout_min, DD_USES_STEP},
    {DD_SETTING_dropout_max, DD_USES_STEP},
    {DD_SETTING_val_compare, DD_USES_VAL},
    {DD_SETTING_val_patience, DD_USES_VAL},
    {DD_SETTING_val_min_delta, DD_USES_VAL},
    {DD_SETTING_gap_target, DD_USES_GAP},
    {DD_SETTING_gap_gain, DD_USES_GAP},
    {DD_SETTING_eval_interval, DD_USES_EVALS},
    {DD_SETTING_eval_iters, DD_USES_EVALS},
};

dd_param dd_settings_schedule_param(const dd_settings *s, int id) {
  for (size_t i = 0; i < COUNT(schedule_params); i++)
    if ((int)schedule_params[i].id == id)
      return !schedule_params[i].uses || (schedule_params[i].uses & dd_settings_uses(s)) ? DD_PARAM_USED
                                                                                         : DD_PARAM_UNUSED;
  return DD_PARAM_NONE;
}

bool dd_setting_is_used(int id, unsigned uses) {
  for (size_t i = 0; i < COUNT(schedule_params); i++)
    if ((int)schedule_params[i].id == id) return (schedule_params[i].uses & uses) != 0;
  return false;
}

bool dd_settings_ask_callback(const dd_settings *s) {
  dd_chosen c;
  for (int site = -1; site < DD_DROPOUT_SITE_COUNT; site++)
    if (dd_settings_chosen(s, site, &c) && c.id == DD_SCHEDULE_CALLBACK) return true;
  return false;
}

void dd_settings_schedule_label(const dd_settings *s, char *out, size_t size) {
  dd_chosen c;
  dd_settings_chosen(s, -1, &c);
  const char *name = dd_settings_choice(s, DD_SETTING_schedule), *arg = c.arg;
  if (c.id == DD_SCHEDULE_TABLE && strrchr(arg, '/')) arg = strrchr(arg, '/') + 1;
  snprintf(out, size, "%s%s%s", name, arg && *arg ? ":" : "", arg ? arg : "");
}

/* ---- defaults that follow the schedule ---- */

/* Value of a setting by the first schedule, that of all and then those of sites, that reads it. */
static const struct {
  enum dd_setting_id id;
  unsigned uses;
  double otherwise;
  struct { enum dd_schedule_id schedule; double value; } of[2];
} derived[] = {
    /* 0 is what most schedules want and what the exponential one cannot reach. */
    {DD_SETTING_dropout_final, DD_USES_FINAL, 0.0, {{DD_SCHEDULE_EXPONENTIAL, 0.01}, {DD_SCHEDULE_EXPONENTIAL, 0.01}}},
    {DD_SETTING_dropout_cutoff, DD_USES_CUTOFF, 0.5, {{DD_SCHEDULE_EARLY, 1.0 / 6}, {DD_SCHEDULE_LATE, 1.0 / 6}}},
    /* The controller only comes to its limit when the gap is far off. */
    {DD_SETTING_dropout_step, DD_USES_STEP, 0.01, {{DD_SCHEDULE_GAP, 0.05}, {DD_SCHEDULE_GAP, 0.05}}},
};

void dd_settings_derive(dd_settings *s) {
  for (size_t i = 0; i < COUNT(derived); i++) {
    if (s->set[derived[i].id]) continue;
    double value = derived[i].otherwise;
    for (int site = -1; site < DD_DROPOUT_SITE_COUNT; site++) {
      dd_chosen c;
      if (!dd_settings_chosen(s, site, &c) || !(schedule_uses[c.id] & derived[i].uses)) continue;
      for (int k = 0; k < 2; k++)
        if (derived[i].of[k].schedule == c.id) value = derived[i].of[k].value;
      break;
    }
    memcpy((char *)s + dd_setting_at((int)derived[i].id)->offset, &value, sizeof value);
  }
}

/* ---- does it fit together? ---- */

static int check_exponential(const dd_settings *s, const dd_chosen *c, dd_error *err) {
  if (!(s->dropout_final > 0))
    return dd_fail(err, DD_E_USAGE, "schedule exponential never reaches dropout_final 0: use a rate above 0 such as "
                   "0.01, or schedule linear or cosine");
  if (!(c->p0 > 0))
    return dd_fail(err, DD_E_USAGE, "schedule exponential cannot start at dropout 0: use a rate above 0 such as "
                   "0.01, or schedule linear or cosine");
  return DD_OK;
}

static int check_bounds(const dd_settings *s, const dd_chosen *c, dd_error *err) {
  const char *name = dd_setting_at(DD_SETTING_schedule)->choices[c->id];
  if (s->dropout_min > s->dropout_max)
    return dd_fail(err, DD_E_USAGE, "dropout_min %g is above dropout_max %g", s->dropout_min, s->dropout_max);
  if (c->p0 < s->dropout_min || c->p0 > s->dropout_max)
    return dd_fail(err, DD_E_USAGE, "dropout %g, the start of schedule %s, is outside dropout_min %g to "
                   "dropout_max %g", c->p0, name, s->dropout_min, s->dropout_max);
  return DD_OK;
}

/* An expression of t alone is looked at all along the run; one that reads losses, with losses like those of a run. */
static int check_expr(const dd_settings *s, const dd_chosen *c, dd_error *err) {
  enum { SAMPLES = 1024 };
  dd_expr *e;
  int rc = dd_expr_compile(&e, c->arg, err), nan = 0;
  if (rc) return rc;
  const bool reacts = dd_expr_vars(e) & DD_EXPR_EVALS;
  dd_schedule one;
  dd_rates_schedule(&one, s, c->id, c->p0);
  one.expr = e;
  for (int i = 0; i <= SAMPLES && !rc; i++) {
    const double x = (double)i / SAMPLES;
    const int64_t t = (int64_t)(x * (double)s->max_iters);
    const dd_schedule_state st = {.prev = 4 - 2 * x, .train = 4 - 3 * x, .lowest = 4 - 2 * x};
    const double p = dd_schedule_raw_expr(&one, &st, t);
    if (p != p) nan++;
    if (p != p && !reacts)
      rc = dd_fail(err, DD_E_USAGE, "the expression '%.60s' is not a number (NaN) at t = %lld", c->arg, (long long)t);
    else if (p >= 1 && !reacts)
      rc = dd_fail(err, DD_E_USAGE, "the expression '%.60s' is %g at t = %lld, and a rate is below 1: scale it, or "
                   "bound it with min(0.5, ...)", c->arg, p, (long long)t);
  }
  if (!rc && nan > SAMPLES)
    rc = dd_fail(err, DD_E_USAGE, "the expression '%.60s' is not a number (NaN)", c->arg);
  dd_expr_destroy(e);
  return rc;
}

static int check_steps(const dd_settings *s, const dd_chosen *c, dd_error *err) {
  dd_points *p;
  int rc = dd_points_parse_list(&p, "dropout_steps", c->arg, err);
  if (!rc) rc = dd_points_check(p, "dropout_steps", s->max_iters, err);
  free(p);
  return rc;
}

static int check_chosen(const dd_settings *s, const dd_chosen *c, dd_error *err) {
  const char *example;
  const int argument = dd_schedule_argument(c->id, &example);
  if (argument >= 0 && !*c->arg) {
    const char *name = dd_setting_at(DD_SETTING_schedule)->choices[c->id];
    return dd_fail(err, DD_E_USAGE, "schedule %s needs an argument: --schedule '%s:%s' (or %s)", name, name, example,
                   dd_setting_at(argument)->name);
  }
  switch (c->id) {
  case DD_SCHEDULE_EXPONENTIAL: return check_exponential(s, c, err);
  case DD_SCHEDULE_VAL_LOSS:
  case DD_SCHEDULE_GAP: return check_bounds(s, c, err);
  case DD_SCHEDULE_EXPR: return check_expr(s, c, err);
  case DD_SCHEDULE_STEPS: return check_steps(s, c, err);
  default: return DD_OK;
  }
}

int dd_settings_check_dropout(const dd_settings *s, dd_error *err) {
  dd_chosen c;
  const bool some = dd_settings_site_mask(s) != (1u << DD_DROPOUT_SITE_COUNT) - 1;
  for (int site = -1; site < DD_DROPOUT_SITE_COUNT; site++) {
    if (!dd_settings_chosen(s, site, &c)) continue;
    const char *name = site < 0 ? NULL : dd_setting_at((int)site_settings[site])->name;
    if (name && some)
      return dd_fail(err, DD_E_USAGE, "dropout_sites %s and %s both say what %s does: leave one out (a site that stays "
                     "at p0 is --dropout-%s fixed)", s->dropout_sites, name, site_names[site], site_names[site]);
    const int rc = check_chosen(s, &c, err);
    if (rc && name) dd_fail_prefix(err, "%s: ", name);
    if (rc) return rc;
  }
  return DD_OK;
}
