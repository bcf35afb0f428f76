#include "study/pairs.h"
#include "study/numbers.h"
#include "study/stats.h"
#include "study/text.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct column { /* row of columns.def */
  const char *key, *label, *unit;
  int digits, compared, higher;
} column;

enum { LOWER, HIGHER, NONE };
#define COLUMN_ROW(key, label, unit, kind, better, digits, compared, help)                                           \
  {#key, label, unit, digits, compared, better == HIGHER},
static const column columns[] = {DD_COLUMNS(COLUMN_ROW)};

typedef struct pairs { /* one schedule against the baseline */
  const char *name;
  size_t n, wins, ties, losses, needed;
  uint64_t *seed;
  double *d;
  double mean, sd, t_lo, t_hi, t_p, boot_lo, boot_hi, perm_p, sign_p, holm_p;
  double var_unpaired; /* of the same runs as if seeds had nothing in common */
  bool exact;
  const char *verdict;
} pairs;

static void free_pairs(pairs *p) {
  free(p->seed);
  free(p->d);
  *p = (pairs){0};
}

/* Both lists rise in the seed. */
static bool collect(pairs *p, const dd_treatment *t, const dd_treatment *base, int c) {
  const size_t room = t->n < base->n ? t->n : base->n;
  double *a = malloc((room + 1) * sizeof *a), *b = malloc((room + 1) * sizeof *b);
  p->seed = malloc((room + 1) * sizeof *p->seed);
  p->d = malloc((room + 1) * sizeof *p->d);
  const bool good = a && b && p->seed && p->d;
  for (size_t i = 0, k = 0; good && i < t->n && k < base->n;) {
    const dd_study_run *x = t->run[i], *y = base->run[k];
    if (x->seed != y->seed) {
      if (x->seed < y->seed) i++;
      else k++;
      continue;
    }
    if (isfinite(x->column[c]) && isfinite(y->column[c])) {
      a[p->n] = x->column[c];
      b[p->n] = y->column[c];
      p->d[p->n] = a[p->n] - b[p->n];
      p->seed[p->n++] = x->seed;
    }
    i++, k++;
  }
  if (good) {
    const double sa = dd_stats_sd(a, p->n), sb = dd_stats_sd(b, p->n);
    p->var_unpaired = sa * sa + sb * sb;
  }
  free(a);
  free(b);
  return good;
}

static bool evaluate(pairs *p, const dd_treatment *t, const dd_treatment *base, int c) {
  p->name = t->name;
  if (!collect(p, t, base, c)) return false;
  for (size_t i = 0; i < p->n; i++) {
    const double d = columns[c].higher ? -p->d[i] : p->d[i];
    p->wins += d < 0;
    p->losses += d > 0;
    p->ties += d == 0;
  }
  p->mean = dd_stats_mean(p->d, p->n);
  p->sd = dd_stats_sd(p->d, p->n);
  dd_stats_t_test(p->d, p->n, &p->t_p, &p->t_lo, &p->t_hi);
  dd_stats_bootstrap(p->d, p->n, &p->boot_lo, &p->boot_hi);
  p->perm_p = dd_stats_permutation(p->d, p->n, &p->exact);
  p->sign_p = p->n ? dd_stats_sign_test(p->wins, p->losses) : NAN;
  if (p->t_lo <= 0 && p->t_hi >= 0) p->needed = dd_stats_seeds_needed(p->mean, p->sd);
  return true;
}

/* Least Holm-corrected p that row i could reach: those with as few pairs cannot all come before it. */
static double floor_of(const pairs *p, size_t rows, size_t i) {
  size_t times = 0;
  for (size_t k = 0; k < rows; k++) times += p[k].n > 0 && p[k].n <= p[i].n;
  return (double)times * dd_stats_permutation_floor(p[i].n);
}

/* Pairs with which every one of `rows` schedules could reach the level. */
static size_t least_pairs(size_t rows) {
  size_t n = 1;
  while (!((double)rows * dd_stats_permutation_floor(n) < DD_ALPHA) && n < DD_PERMUTATION_EXACT) n++;
  return n;
}

static void judge(pairs *p, size_t rows, bool higher) {
  double *raw = malloc((rows + 1) * sizeof *raw), *holm = malloc((rows + 1) * sizeof *holm);
  for (size_t i = 0; i < rows && raw; i++) raw[i] = p[i].perm_p;
  if (raw && holm) dd_stats_holm(raw, rows, holm);
  for (size_t i = 0; i < rows; i++) {
    p[i].holm_p = raw && holm ? holm[i] : NAN;
    if (!(floor_of(p, rows, i) < DD_ALPHA) || !p[i].n) p[i].verdict = "too few";
    else if (!(p[i].holm_p < DD_ALPHA)) p[i].verdict = "undecided";
    else p[i].verdict = (p[i].mean < 0) != higher ? "better" : "worse";
  }
  free(raw);
  free(holm);
}

/* "mean difference -0.0012 (95 % interval -0.0031 to 0.0007)" */
static void say_difference(dd_str *s, const pairs *p, int digits) {
  dd_str_printf(s, "mean difference %s", dd_signed(p->mean, digits).s);
  if (p->n >= 2)
    dd_str_printf(s, " (95 %% interval %s to %s)", dd_signed(p->t_lo, digits).s, dd_signed(p->t_hi, digits).s);
}

static void say_seeds(dd_str *s, size_t n) { dd_str_printf(s, "%zu paired seed%s", n, n == 1 ? "" : "s"); }

static json_t *sentence(const pairs *p, size_t rows, const char *base, const column *c, int digits) {
  dd_str s = {0};
  const bool better = !strcmp(p->verdict, "better");
  if (!p->n) {
    dd_str_printf(&s, "no seed is finished with both %s and %s: nothing can be concluded", p->name, base);
  } else if (p->ties == p->n) {
    dd_str_printf(&s, "%s and %s have the same %s in all of ", p->name, base, c->label);
    say_seeds(&s, p->n);
  } else if (better || !strcmp(p->verdict, "worse")) {
    dd_str_printf(&s, "%s %s %s on %s: ", p->name, better ? "beats" : "loses to", base, c->label);
    say_difference(&s, p, digits);
    dd_str_printf(&s, ", p %s, over ", dd_p_text(p->holm_p).s);
    say_seeds(&s, p->n);
  } else if (!strcmp(p->verdict, "too few")) {
    dd_str_printf(&s, "nothing can be concluded about %s against %s on %s: ", p->name, base, c->label);
    say_seeds(&s, p->n);
    dd_str_printf(&s, " cannot show any difference%s, at least %zu are needed; so far ",
                  rows > 1 ? " among so many schedules" : "", least_pairs(rows));
    say_difference(&s, p, digits);
  } else {
    dd_str_printf(&s, "nothing can be concluded about %s against %s on %s from ", p->name, base, c->label);
    say_seeds(&s, p->n);
    dd_str_puts(&s, ": ");
    say_difference(&s, p, digits);
    dd_str_printf(&s, ", p %s", dd_p_text(p->holm_p).s);
    if (p->needed)
      dd_str_printf(&s, "; a true difference of this size would take about %zu seeds to show",
                    p->needed > p->n ? p->needed : p->n + 1);
    else if (p->t_lo <= 0 && p->t_hi >= 0)
      dd_str_puts(&s, "; no feasible number of seeds would show such a difference");
    else dd_str_printf(&s, " after the correction for %zu schedules, though the interval alone leaves out zero", rows);
  }
  json_t *text = s.failed ? NULL : dd_json_text(s.data);
  dd_str_free(&s);
  return text;
}

static json_t *row_json(const pairs *p, size_t rows, const char *base, const column *c, int digits, int *failed) {
  json_t *o = json_object(), *list = json_array();
#define REAL(key, value) dd_json_put(o, key, dd_json_real(value), failed)
#define COUNTED(key, value) dd_json_put(o, key, json_integer((json_int_t)(value)), failed)
  dd_json_put(o, "schedule", dd_json_text(p->name), failed);
  COUNTED("n", p->n);
  REAL("mean", p->mean);
  REAL("sd", p->sd);
  REAL("t_lo", p->t_lo);
  REAL("t_hi", p->t_hi);
  REAL("t_p", p->t_p);
  REAL("boot_lo", p->boot_lo);
  REAL("boot_hi", p->boot_hi);
  REAL("perm_p", p->perm_p);
  dd_json_put(o, "perm_exact", json_boolean(p->exact), failed);
  REAL("sign_p", p->sign_p);
  REAL("holm_p", p->holm_p);
  COUNTED("wins", p->wins);
  COUNTED("ties", p->ties);
  COUNTED("losses", p->losses);
  if (p->needed) COUNTED("seeds_needed", p->needed);
  else dd_json_put(o, "seeds_needed", json_null(), failed);
  dd_json_put(o, "verdict", json_string(p->verdict), failed);
  dd_json_put(o, "text", sentence(p, rows, base, c, digits), failed);
  for (size_t i = 0; i < p->n; i++) {
    json_t *pair = json_array();
    dd_json_push(pair, dd_json_format("%llu", (unsigned long long)p->seed[i]), failed);
    dd_json_push(pair, dd_json_real(p->d[i]), failed);
    dd_json_push(list, pair, failed);
  }
  dd_json_put(o, "differences", list, failed);
#undef REAL
#undef COUNTED
  return o;
}

/* What pairing by seed does to the variance of a difference. */
static json_t *pairing_json(const pairs *p, size_t rows, int *failed) {
  double paired = 0, unpaired = 0;
  size_t n = 0;
  for (size_t i = 0; i < rows; i++)
    if (p[i].n >= 2) paired += p[i].sd * p[i].sd, unpaired += p[i].var_unpaired, n++;
  paired = n ? paired / (double)n : NAN;
  unpaired = n ? unpaired / (double)n : NAN;
  const double ratio = unpaired > 0 ? paired / unpaired : NAN;
  json_t *o = json_object();
  dd_json_put(o, "var_paired", dd_json_real(paired), failed);
  dd_json_put(o, "var_unpaired", dd_json_real(unpaired), failed);
  dd_json_put(o, "ratio", dd_json_real(ratio), failed);
  json_t *text;
  if (!isfinite(ratio)) text = json_string("what pairing by seed gains is not known from so few runs");
  else if (ratio == 0) text = json_string("paired by seed the differences do not vary at all");
  else if (ratio < 1)
    text = dd_json_format("pairing by seed leaves %s %% of the variance of a difference: as good as %s times the seeds "
                          "unpaired", dd_fixed(100 * ratio, 1).s, dd_fixed(1 / ratio, 1).s);
  else
    text = dd_json_format("pairing by seed gains nothing here: the variance of a difference is %s times that of "
                          "unpaired runs", dd_fixed(ratio, 2).s);
  dd_json_put(o, "text", text, failed);
  return o;
}

static json_t *comparison(const dd_group *g, int c, int *failed) {
  const dd_treatment *base = &g->t[g->baseline];
  pairs *p = calloc(g->n, sizeof *p);
  json_t *o = json_object(), *list = json_array();
  const int digits = columns[c].digits + 1;
  size_t rows = 0;
  for (size_t t = 0; t < g->n && p && !*failed; t++)
    if (t != (size_t)g->baseline && !evaluate(&p[rows++], &g->t[t], base, c)) *failed = 1;
  if (!p) *failed = 1;
  if (!*failed) {
    judge(p, rows, columns[c].higher);
    dd_json_put(o, "metric", json_string(columns[c].key), failed);
    dd_json_put(o, "label", json_string(columns[c].label), failed);
    dd_json_put(o, "unit", json_string(columns[c].unit), failed);
    dd_json_put(o, "digits", json_integer(digits), failed);
    dd_json_put(o, "pairing", pairing_json(p, rows, failed), failed);
    for (size_t i = 0; i < rows; i++)
      dd_json_push(list, row_json(&p[i], rows, base->name, &columns[c], digits, failed), failed);
    dd_json_put(o, "rows", list, failed);
  } else json_decref(list);
  for (size_t i = 0; i < rows; i++) free_pairs(&p[i]);
  free(p);
  return o;
}

json_t *dd_pairs_json(const dd_group *g) {
  json_t *out = json_array();
  int failed = !out;
  for (int c = 0; c < DD_COLUMN_COUNT && g->baseline >= 0 && !failed; c++)
    if (columns[c].compared) dd_json_push(out, comparison(g, c, &failed), &failed);
  if (failed) json_decref(out);
  return failed ? NULL : out;
}
