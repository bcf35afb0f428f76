#include "study/signs.h"
#include "study/numbers.h"
#include <math.h>
#include <stdio.h>

/* Best evaluation, or NULL when there is none with a finite loss. */
static const dd_run_eval *best_eval(const dd_study_run *run) {
  const dd_run_eval *best = NULL;
  for (size_t i = 0; i < run->n_evals; i++)
    if (!isnan(run->evals[i].val) && (!best || run->evals[i].val < best->val)) best = &run->evals[i];
  return best;
}

static void overfitting(const dd_study_run *run, dd_sign *sign) {
  const dd_run_eval *best = best_eval(run);
  if (!best) return;
  const dd_run_eval *end = &run->evals[run->n_evals - 1];
  if (!(end->val > best->val + DD_SIGN_RISE) || !(end->train < best->train)) return;
  sign->there = true;
  sign->since = best->iter;
  snprintf(sign->text, sizeof sign->text,
           "overfits since iteration %lld: until iteration %lld the validation loss rose from %s to %s while the "
           "training loss fell from %s to %s",
           (long long)best->iter, (long long)end->iter, dd_fixed(best->val, 4).s, dd_fixed(end->val, 4).s,
           dd_fixed(best->train, 4).s, dd_fixed(end->train, 4).s);
}

static void underfitting(const dd_study_run *run, dd_sign *sign) {
  const size_t n = run->n_evals;
  if (n < 3) return;
  const dd_run_eval *e = run->evals, *end = &e[n - 1];
  if (!(end->val - end->train < DD_SIGN_CLOSE)) return;
  /* Backwards, as long as both losses were what they are at the end. */
  size_t from = n - 1;
  while (from > 0 && fabs(e[from - 1].val - end->val) < DD_SIGN_FLAT &&
         fabs(e[from - 1].train - end->train) < DD_SIGN_FLAT)
    from--;
  if (n - from < 3 || (double)(end->iter - e[from].iter) < DD_SIGN_LAST_PART * (double)run->max_iters) return;
  sign->there = true;
  sign->since = e[from].iter;
  snprintf(sign->text, sizeof sign->text,
           "no progress since iteration %lld: training loss %s, then %s at iteration %lld, validation loss %s, then %s",
           (long long)e[from].iter, dd_fixed(e[from].train, 4).s, dd_fixed(end->train, 4).s, (long long)end->iter,
           dd_fixed(e[from].val, 4).s, dd_fixed(end->val, 4).s);
}

/* Changes of direction among the changes that count, of the evaluations from `from` on; *first: where the first one
 * turns. */
static size_t count_flips(const dd_study_run *run, size_t from, bool rate, double least, size_t *first) {
  size_t flips = 0;
  double before = 0;
  for (size_t i = from + 1; i < run->n_evals; i++) {
    const dd_run_eval *a = &run->evals[i - 1], *b = &run->evals[i];
    const double change = rate ? b->rate - a->rate : b->val - a->val;
    if (!(fabs(change) > least)) continue;
    if (before * change < 0 && !flips++) *first = i - 1;
    before = change;
  }
  return flips;
}

static bool many_flips(size_t flips, size_t n) {
  return n > 2 && flips >= DD_SIGN_FLIPS && (double)flips >= DD_SIGN_FLIP_PART * (double)(n - 2);
}

static void waves(const dd_study_run *run, dd_sign *sign) {
  size_t first = 0;
  const size_t from = run->n_evals / 2, n = run->n_evals - from;
  const size_t flips = count_flips(run, from, false, DD_SIGN_WAVE, &first);
  if (!many_flips(flips, n)) return;
  sign->there = true;
  sign->since = run->evals[first].iter;
  snprintf(sign->text, sizeof sign->text,
           "the validation loss oscillates since iteration %lld: %zu changes of direction in the last %zu evaluations",
           (long long)sign->since, flips, n);
}

static void rate_waves(const dd_study_run *run, dd_sign *sign) {
  size_t first = 0;
  const size_t n = run->n_evals, flips = count_flips(run, 0, true, DD_SIGN_RATE_STEP, &first);
  if (!many_flips(flips, n)) return;
  sign->there = true;
  sign->since = run->evals[first].iter;
  snprintf(sign->text, sizeof sign->text,
           "the dropout rate oscillates since iteration %lld: %zu changes of direction in %zu evaluations",
           (long long)sign->since, flips, n);
}

/* The losses at the end against those at the start; batch losses too, for a run that never came to an evaluation. */
static bool above_start(const dd_study_run *run, int64_t *since, double *from, double *to) {
  const size_t e = run->n_evals, s = run->n_steps;
  if (e > 1 && run->evals[e - 1].val > run->evals[0].val + DD_SIGN_ABOVE_START) {
    *from = run->evals[0].val, *to = run->evals[e - 1].val, *since = run->evals[e - 1].iter;
    for (size_t i = e; i-- > 1 && run->evals[i].val > *from + DD_SIGN_ABOVE_START;) *since = run->evals[i].iter;
    return true;
  }
  if (s < 3 || !(run->steps[s - 1].loss > run->steps[0].loss + DD_SIGN_ABOVE_START)) return false;
  *from = run->steps[0].loss, *to = run->steps[s - 1].loss, *since = run->steps[s - 1].iter;
  for (size_t i = s; i-- > 1 && run->steps[i].loss > *from + DD_SIGN_ABOVE_START;) *since = run->steps[i].iter;
  return true;
}

static void divergence(const dd_study_run *run, dd_sign *sign) {
  double from = NAN, to = NAN;
  if (run->state == DD_RUN_DIVERGED) {
    sign->there = true;
    sign->since = run->iter < 0 ? 0 : run->iter;
    snprintf(sign->text, sizeof sign->text, "diverged: %.200s", run->why);
    return;
  }
  for (size_t i = 0; i < run->n_evals && !sign->there; i++)
    if (isnan(run->evals[i].val) || isnan(run->evals[i].train)) sign->there = true, sign->since = run->evals[i].iter;
  for (size_t i = 0; i < run->n_steps && !sign->there; i++)
    if (isnan(run->steps[i].loss)) sign->there = true, sign->since = run->steps[i].iter;
  if (sign->there) {
    snprintf(sign->text, sizeof sign->text, "a loss is not finite at iteration %lld", (long long)sign->since);
  } else if (above_start(run, &sign->since, &from, &to)) {
    sign->there = true;
    snprintf(sign->text, sizeof sign->text, "the loss is above that of the start since iteration %lld: %s, then %s",
             (long long)sign->since, dd_fixed(from, 4).s, dd_fixed(to, 4).s);
  }
}

void dd_signs_find(const dd_study_run *run, dd_sign out[DD_SIGN_COUNT]) {
  for (int i = 0; i < DD_SIGN_COUNT; i++) out[i] = (dd_sign){0};
  overfitting(run, &out[DD_SIGN_OVERFITTING]);
  underfitting(run, &out[DD_SIGN_UNDERFITTING]);
  waves(run, &out[DD_SIGN_WAVES]);
  rate_waves(run, &out[DD_SIGN_RATE_WAVES]);
  divergence(run, &out[DD_SIGN_DIVERGENCE]);
}
