/* A report.json of made-up but plausible numbers, for the tests of renderers: schedules whose losses, rates and gaps
 * look like those of small GPTs, and, when asked for, everything that a stranger's files may hold. */
#ifndef DD_TESTS_REPORT_FIXTURE_H
#define DD_TESTS_REPORT_FIXTURE_H
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { FIXTURE_EVALS = 21, FIXTURE_MAX = 2000 };

static uint64_t fixture_state;
static double fixture_noise(void) { /* about normal, sd 1 */
  double sum = 0;
  for (int i = 0; i < 12; i++) {
    fixture_state = fixture_state * 6364136223846793005u + 1442695040888963407u;
    sum += (double)(fixture_state >> 40) / (double)(1 << 24);
  }
  return sum - 6;
}

static const char *const fixture_names[] = {"fixed",
                                            "linear",
                                            "exponential",
                                            "cosine",
                                            "val-loss",
                                            "none",
                                            "step",
                                            "inverse cosine",
                                            "linear dropout_final=0.05",
                                            "warm-up then linear",
                                            "triangle",
                                            "cyclic period=200",
                                            "cyclic period=500",
                                            "sqrt",
                                            "quadratic",
                                            "cosine restarts",
                                            "late 50%",
                                            "early 50%",
                                            "random",
                                            "linear up"};

static double fixture_rate(int k, double u) {
  switch (k % 7) {
  case 0:
    return 0.2;
  case 1:
    return 0.2 * (1 - u);
  case 2:
    return 0.2 * pow(0.05, u);
  case 3:
    return 0.1 * (1 + cos(3.14159265 * u));
  case 4:
    return 0.2 + 0.1 * sin(9 * u);
  case 5:
    return 0;
  default:
    return u < 0.5 ? 0.2 : 0.1;
  }
}
/* Loss at u = t/T: learnt quickly, then overfitting, the more the less dropout there is. */
static double fixture_train(int k, double u) {
  return 1.05 + 0.35 * fixture_rate(k, u) + 0.012 * k + 3.12 * exp(-9 * u);
}
static double fixture_val(int k, double u) {
  return 1.44 + 0.009 * ((k * 5) % 8) + (k == 5 ? 0.35 * u * u : 0.03 * u * u) + 2.73 * exp(-9 * u);
}

static json_t *fixture_curve(int k, const char *key, int points, int seeds) {
  json_t *iter = json_array(), *mean = json_array(), *lo = json_array(), *hi = json_array();
  for (int i = 0; i < points; i++) {
    const double u = points > 1 ? (double)i / (points - 1) : 1;
    const double train = fixture_train(k, u), val = fixture_val(k, u);
    const double v = !strcmp(key, "val_loss")     ? val
                     : !strcmp(key, "train_loss") ? train
                     : !strcmp(key, "gap")        ? val - train
                     : !strcmp(key, "rate")       ? fixture_rate(k, u)
                                                  : train + 0.4 * fixture_rate(k, u) + 0.02 * fixture_noise();
    const double spread = !strcmp(key, "rate") ? 0 : 0.012 + 0.004 * fabs(fixture_noise());
    json_array_append_new(iter, json_integer((json_int_t)(u * FIXTURE_MAX + 0.5)));
    json_array_append_new(mean, json_real(v));
    json_array_append_new(lo, json_real(v - spread));
    json_array_append_new(hi, json_real(v + spread));
  }
  return json_pack("{s:o,s:o,s:o,s:o,s:i}", "iter", iter, "mean", mean, "lo", lo, "hi", hi, "n", seeds);
}

static const struct {
  const char *key, *label, *unit, *kind, *better;
  int digits;
  const char *help;
} fixture_columns[] = {
    {"train_loss", "train loss", "nats/token", "paper", "lower", 4,
     "Loss on training data at the last evaluation, dropout off."},
    {"val_loss", "val loss", "nats/token", "paper", "lower", 4, "Loss on validation data at the last evaluation."},
    {"best_val_loss", "best val loss", "nats/token", "paper", "lower", 4,
     "Smallest validation loss of all evaluations."},
    {"gap", "gap", "nats/token", "honest", "none", 4, "Validation minus training loss at the last evaluation."},
    {"best_iter", "best iteration", "", "honest", "none", 0, "Where the smallest validation loss was."},
    {"iters_to_target", "iterations to 1.60", "", "honest", "lower", 0, "First evaluation at or below the target."},
    {"train_s", "training time", "s", "cost", "lower", 1, "Time of all steps and evaluations."},
    {"tokens_per_s", "training speed", "tokens/s", "cost", "higher", 0, "Tokens of all steps over the time of steps."}};
enum { FIXTURE_COLUMNS = sizeof fixture_columns / sizeof *fixture_columns };

static double fixture_value(int k, int column, double noise) {
  const double v[FIXTURE_COLUMNS] = {fixture_train(k, 1),
                                     fixture_val(k, 1),
                                     fixture_val(k, 0.9) - 0.01,
                                     fixture_val(k, 1) - fixture_train(k, 1),
                                     1500 + 100 * (k % 5),
                                     700 + 20 * k,
                                     412.5 + k,
                                     39000 - 31 * k};
  const double sd[FIXTURE_COLUMNS] = {0.004, 0.006, 0.0035, 0.005, 120, 45, 3.1, 190};
  return v[column] + sd[column] * noise;
}

static json_t *fixture_statistics(const double *v, int n) {
  double sum = 0, square = 0, lo = INFINITY, hi = -INFINITY;
  for (int i = 0; i < n; i++) sum += v[i], lo = fmin(lo, v[i]), hi = fmax(hi, v[i]);
  if (!n) return json_pack("{s:i,s:n,s:n,s:n,s:n}", "n", 0, "mean", "sd", "min", "max");
  for (int i = 0; i < n; i++) square += (v[i] - sum / n) * (v[i] - sum / n);
  return json_pack("{s:i,s:f,s:o,s:f,s:f}", "n", n, "mean", sum / n, "sd",
                   n > 1 ? json_real(sqrt(square / (n - 1))) : json_null(), "min", lo, "max", hi);
}

typedef struct fixture_size {
  int schedules, seeds, groups;
  bool hostile;
} fixture_size;

static const char fixture_script[] = "<script>alert(\"x\")</script>";
static const char fixture_markup[] = "\"&' --><b>]]>\x01\xE2\x80\xAEgnp.exe";
static const char fixture_long[] = "expr: p = clamp(0.2 * (1 - t/T) + 0.05 * sin(40 * pi * t / T) * exp(-3 * t / T), "
                                   "0.01, 0.5) if val_improved_twice_in_a_row_otherwise_the_rate_before";

static json_t *fixture_schedule(fixture_size size, int k) {
  const char *name = fixture_names[k];
  if (size.hostile) name = k == 6 ? fixture_script : k == 7 ? fixture_markup : k == 8 ? fixture_long : name;
  const bool none = size.hostile && k == 9, one_evaluation = size.hostile && k == 4, equal = size.hostile && k == 3;
  json_t *columns = json_object(), *runs = json_array(), *curves = json_object(), *signatures = json_array();
  double values[FIXTURE_COLUMNS][64];
  for (int s = 0; s < size.seeds; s++) {
    json_t *own = json_object(), *signs = json_array();
    for (int c = 0; c < FIXTURE_COLUMNS; c++) {
      values[c][s] = fixture_value(k, c, equal ? 0 : fixture_noise());
      if (!none) json_object_set_new(own, fixture_columns[c].key, json_real(values[c][s]));
    }
    if (k == 5)
      json_array_append_new(signs, json_pack("{s:s,s:i,s:s}", "name", "overfitting", "since", 800 + 100 * (s % 3),
                                             "text", "overfitting: training loss falls, validation loss rises"));
    char seed[32], dir[96], fingerprint[33];
    snprintf(seed, sizeof seed, "%d", 1337 + s);
    snprintf(dir, sizeof dir, "runs/%d-s%s", k, seed);
    snprintf(fingerprint, sizeof fingerprint, "%08x%08x%08x%08x", k * 77777 + 5, s * 99991 + 3, k * s + 19, 0xabcdef0);
    json_array_append_new(runs, json_pack("{s:s,s:s,s:s,s:s,s:i,s:s,s:o,s:o}", "seed", seed, "dir",
                                          size.hostile && k == 6 ? "runs/<img src=x onerror=alert(1)>" : dir, "state",
                                          none ? (s ? "missing" : "damaged") : "finished", "why",
                                          none && !s ? "metrics.jsonl: line 40 is no JSON <b>" : "", "iter",
                                          none ? 0 : FIXTURE_MAX, "fingerprint", none ? "" : fingerprint, "columns",
                                          own, "signatures", signs));
  }
  for (int c = 0; c < FIXTURE_COLUMNS; c++) {
    if (size.hostile && c == 5 && k % 3 == 1) continue; /* a key that is not there */
    json_object_set_new(columns, fixture_columns[c].key, fixture_statistics(values[c], none ? 0 : size.seeds));
  }
  static const char *const keys[] = {"val_loss", "train_loss", "gap", "rate", "loss"};
  for (int i = 0; i < 5 && !none; i++) {
    json_t *curve = fixture_curve(k, keys[i], one_evaluation ? 1 : i < 3 ? FIXTURE_EVALS : 50, size.seeds);
    if (size.hostile && k == 2) json_array_set_new(json_object_get(curve, "mean"), 4, json_null());
    json_object_set_new(curves, keys[i], curve);
  }
  if (k == 5)
    json_array_append_new(signatures, json_pack("{s:s,s:i,s:s}", "name", "overfitting", "runs", size.seeds, "text",
                                                "overfitting in 8 of 8 runs, from iteration 900 (median)"));
  if (k == 2)
    json_array_append_new(signatures, json_pack("{s:s,s:i,s:s}", "name", "late rise", "runs", 2, "text",
                                                "validation loss rises at the end in 2 of 8 runs"));
  return json_pack("{s:s,s:s,s:s,s:i,s:i,s:o,s:o,s:o,s:o}", "name", name, "formula", "p = p0 (1 - t/T) + pf t/T & < >",
                   "help", "a straight line from p0 to pf", "planned", size.seeds, "finished", none ? 0 : size.seeds,
                   "columns", columns, "signatures", signatures, "curves", curves, "runs", runs);
}

static json_t *fixture_comparison(const json_t *schedules, const char *metric, const char *label, double scale) {
  json_t *rows = json_array(), *s, *run;
  size_t k, i;
  json_array_foreach((json_t *)schedules, k, s) {
    if (!k) continue;
    json_t *differences = json_array();
    double sum = 0, square = 0, d[64];
    int n = 0, wins = 0;
    json_array_foreach(json_object_get(s, "runs"), i, run) {
      const json_t *own = json_object_get(json_object_get(run, "columns"), metric);
      if (!own) continue;
      d[n] = (k % 4 == 1   ? -0.006
              : k % 4 == 2 ? 0.0004
              : k % 4 == 3 ? 0.012
                           : -0.0011) *
                 scale +
             0.003 * scale * fixture_noise();
      sum += d[n];
      wins += d[n] < 0;
      json_array_append_new(differences, json_pack("[s,f]", json_string_value(json_object_get(run, "seed")), d[n]));
      n++;
    }
    for (int j = 0; j < n; j++) square += (d[j] - sum / n) * (d[j] - sum / n);
    const double mean = n ? sum / n : 0, sd = n > 1 ? sqrt(square / (n - 1)) : 0, half = n ? 2.365 * sd / sqrt(n) : 0;
    const char *verdict = n < 2 ? "too few" : mean + half < 0 ? "better" : mean - half > 0 ? "worse" : "undecided";
    json_t *row =
        json_pack("{s:O,s:i,s:s,s:s}", "schedule", json_object_get(s, "name"), "n", n, "verdict", verdict, "text",
                  n < 2 ? "Too few pairs to say anything."
                        : "The mean difference over the seeds, its interval and what follows from it.");
    json_object_set_new(row, "differences", differences);
    const struct {
      const char *key;
      double v;
    } numbers[] = {{"mean", mean},
                   {"sd", sd},
                   {"t_lo", mean - half},
                   {"t_hi", mean + half},
                   {"t_p", fabs(mean) > half ? 0.00004 : 0.31},
                   {"boot_lo", mean - 0.8 * half},
                   {"boot_hi", mean + 0.85 * half},
                   {"perm_p", 0.0078125},
                   {"sign_p", 0.0703125},
                   {"holm_p", 0.046875},
                   {"wins", wins},
                   {"ties", 0},
                   {"losses", n - wins}};
    for (size_t j = 0; j < sizeof numbers / sizeof *numbers; j++)
      json_object_set_new(row, numbers[j].key, n < 2 && j < 10 ? json_null() : json_real(numbers[j].v));
    json_object_set_new(row, "perm_exact", json_boolean(k % 2));
    json_object_set_new(row, "seeds_needed", !strcmp(verdict, "undecided") ? json_integer(40) : json_null());
    json_array_append_new(rows, row);
  }
  return json_pack("{s:s,s:s,s:s,s:i,s:{s:f,s:f,s:f,s:s},s:o}", "metric", metric, "label", label, "unit", "nats/token",
                   "digits", 4, "pairing", "var_paired", 1e-5, "var_unpaired", 4e-5, "ratio", 0.25, "text",
                   "Pairing by seed removes 75 % of the variance of a difference: the same seeds are as good as 4 "
                   "times as many without.",
                   "rows", rows);
}

/* size.schedules <= 20, size.seeds <= 64. The caller owns the report. */
static json_t *report_fixture(fixture_size size) {
  fixture_state = 42;
  json_t *columns = json_array(), *groups = json_array();
  for (int c = 0; c < FIXTURE_COLUMNS; c++)
    json_array_append_new(columns, json_pack("{s:s,s:s,s:s,s:s,s:s,s:i,s:s}", "key", fixture_columns[c].key, "label",
                                             fixture_columns[c].label, "unit", fixture_columns[c].unit, "kind",
                                             fixture_columns[c].kind, "better", fixture_columns[c].better, "digits",
                                             fixture_columns[c].digits, "help", fixture_columns[c].help));
  for (int g = 0; g < size.groups; g++) {
    char label[32] = "";
    if (size.groups > 1) snprintf(label, sizeof label, "n_layer=%d", 6 + 6 * g);
    json_t *schedules = json_array(), *comparisons = json_array();
    for (int k = 0; k < size.schedules; k++) json_array_append_new(schedules, fixture_schedule(size, k));
    json_array_append_new(comparisons, fixture_comparison(schedules, "best_val_loss", "best val loss", 1));
    json_array_append_new(comparisons, fixture_comparison(schedules, "val_loss", "val loss", 2));
    json_array_append_new(
        groups,
        json_pack("{s:s,s:s,s:[[s,s],[s,s],[s,s],[s,s],[s,s]],s:o,s:o,s:[s,s]}", "label", label, "baseline", "fixed",
                  "settings", "n_layer", g ? "12" : "6", "n_embd", "384", "dropout", "0.2", "max_iters", "2000",
                  "init_from",
                  size.hostile ? "../<i>\"quoted\" & a_very_long_path_without_any_place_to_break_it_/checkpoints/latest"
                               : "scratch",
                  "schedules", schedules, "comparisons", comparisons, "conclusions",
                  "linear is better than fixed in best val loss by 0.0061 nats/token (95 % interval 0.0039 to 0.0083, "
                  "8 seeds, p = 0.0078).",
                  size.hostile ? "</script><script>alert(2)</script> is undecided."
                               : "cosine is worse; of the others none can be told from fixed."));
  }
  return json_pack(
      "{s:s,s:s,s:i,s:s,s:s,s:[s,s],s:o,s:o,s:{s:i,s:s,s:f,s:s,s:f,s:f,s:f,s:s},s:{s:s,s:s,s:s},s:[s,s],s:[s]}",
      "program", "dd-cpu", "version", "0.1.0", "numerics", 1, "title",
      size.hostile ? "shakespeare & <words>" : "shakespeare", "command",
      "dd-cpu compare --schedules fixed,linear --seeds 8 --out runs", "sources", "runs/six",
      size.hostile ? "runs/\"><svg onload=alert(3)>" : "runs/twelve", "columns", columns, "groups", groups, "cost",
      "threads", 2, "tier", "avx512", "generation_tokens_per_s", 812.25, "generation_text",
      "812 tokens/s, one sequence", "step_ms", 206.5, "step_ms_no_dropout", 200.25, "dropout_price", 0.03, "text",
      "A step takes 206.5 ms, 3 % of which is dropout.", "machine", "cpu", "Some CPU @ 2.00GHz", "tier", "avx512",
      "threads", "2", "notes",
      "Differences are paired: both runs of a pair have the same seed, so the same batches and initial parameters.",
      "An interval that does not hold zero is called better or worse; p-values are corrected after Holm.", "warnings",
      "runs/linear-s1340 is damaged (metrics.jsonl, line 40) and was left out.");
}
#endif
