#include "study/curves.h"
#include "study/numbers.h"
#include <math.h>
#include <stdlib.h>

#define CURVES(X) X(val_loss, 1) X(train_loss, 1) X(gap, 1) X(rate, 0) X(loss, 0) /* key, of evaluations? */
enum curve_id {
#define ROW(key, evals) CURVE_##key,
  CURVES(ROW) CURVE_COUNT
#undef ROW
};

static size_t points(const dd_study_run *run, bool evals) { return evals ? run->n_evals : run->n_steps; }
static int64_t iter_at(const dd_study_run *run, bool evals, size_t i) {
  return evals ? run->evals[i].iter : run->steps[i].iter;
}
static double value_at(const dd_study_run *run, enum curve_id id, size_t i) {
  switch (id) {
  case CURVE_val_loss: return run->evals[i].val;
  case CURVE_train_loss: return run->evals[i].train;
  case CURVE_gap: return run->evals[i].val - run->evals[i].train;
  case CURVE_rate: return run->steps[i].rate;
  default: return run->steps[i].loss;
  }
}

/* at[k * n_runs + r]: index in run r of the k-th iteration that all runs have; returns their number. */
static size_t common(const dd_study_run **run, size_t n_runs, bool evals, size_t *at) {
  size_t n = 0;
  size_t *next = at; /* where each run is: kept in the row that is being filled */
  for (size_t r = 0; r < n_runs; r++) next[r] = 0;
  for (;;) {
    int64_t most = -1;
    bool equal = true;
    for (size_t r = 0; r < n_runs; r++) {
      if (next[r] >= points(run[r], evals)) return n;
      const int64_t it = iter_at(run[r], evals, next[r]);
      if (r && it != most) equal = false;
      if (it > most) most = it;
    }
    if (equal) {
      size_t *row = next + n_runs;
      for (size_t r = 0; r < n_runs; r++) row[r] = next[r] + 1;
      next = row;
      n++;
      continue;
    }
    for (size_t r = 0; r < n_runs; r++)
      while (next[r] < points(run[r], evals) && iter_at(run[r], evals, next[r]) < most) next[r]++;
  }
}

static json_t *one_curve(const dd_study_run **run, size_t n_runs, enum curve_id id, bool evals, const size_t *at,
                         size_t n, int *failed) {
  json_t *c = json_object(), *iter = json_array(), *mean = json_array(), *lo = json_array(), *hi = json_array();
  const size_t most = evals ? DD_CURVE_EVALS : DD_CURVE_STEPS, shown = n < most ? n : most;
  for (size_t k = 0; k < shown; k++) {
    const size_t i = shown > 1 ? k * (n - 1) / (shown - 1) : 0; /* the first and the last are among them */
    const size_t *row = at + i * n_runs;
    double sum = 0, least = INFINITY, largest = -INFINITY;
    for (size_t r = 0; r < n_runs; r++) {
      const double v = value_at(run[r], id, row[r]);
      sum += v;
      if (v < least) least = v;
      if (v > largest) largest = v;
    }
    const bool good = isfinite(sum);
    dd_json_push(iter, json_integer(iter_at(run[0], evals, row[0])), failed);
    dd_json_push(mean, dd_json_real(sum / (double)n_runs), failed);
    dd_json_push(lo, good ? dd_json_real(least) : json_null(), failed);
    dd_json_push(hi, good ? dd_json_real(largest) : json_null(), failed);
  }
  dd_json_put(c, "iter", iter, failed);
  dd_json_put(c, "mean", mean, failed);
  dd_json_put(c, "lo", lo, failed);
  dd_json_put(c, "hi", hi, failed);
  dd_json_put(c, "n", json_integer((json_int_t)n_runs), failed);
  return c;
}

json_t *dd_curves_json(const dd_treatment *t) {
  const dd_study_run **run = malloc((t->n + 1) * sizeof *run);
  json_t *out = json_object();
  int failed = !run || !out;
  size_t n_runs = 0;
  for (size_t i = 0; i < t->n && !failed; i++)
    if (t->run[i]->state == DD_RUN_FINISHED) run[n_runs++] = t->run[i];
  for (size_t i = 0; i < t->n && !failed && (!n_runs || run[0]->state != DD_RUN_FINISHED); i++)
    if (t->run[i]->n_evals && t->run[i]->n_steps) run[n_runs++] = t->run[i];
  for (int evals = 0; evals < 2 && !failed; evals++) {
    size_t rows = n_runs ? points(run[0], evals) : 0;
    for (size_t r = 1; r < n_runs; r++)
      if (points(run[r], evals) < rows) rows = points(run[r], evals);
    size_t *at = malloc((rows + 2) * (n_runs + 1) * sizeof *at);
    if (!at) {
      failed = 1;
      break;
    }
    const size_t n = n_runs ? common(run, n_runs, evals, at) : 0;
#define ROW(key, of_evals)                                                                                           \
  if (of_evals == evals) dd_json_put(out, #key, one_curve(run, n_runs, CURVE_##key, evals, at, n, &failed), &failed);
    CURVES(ROW)
#undef ROW
    free(at);
  }
  free(run);
  if (failed) json_decref(out);
  return failed ? NULL : out;
}
