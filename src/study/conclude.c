#include "study/conclude.h"
#include "study/numbers.h"
#include "study/pairs.h"
#include "study/signs.h"
#include "study/stats.h"
#include "study/text.h"
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SEEDS_TOLD = 1000 }; /* beyond, their number is nothing anybody trains */

static const char *text_of(const json_t *o, const char *key) {
  const char *s = json_string_value(json_object_get(o, key));
  return s ? s : "";
}
static json_int_t count_of(const json_t *o, const char *key) { return json_integer_value(json_object_get(o, key)); }

static void push_str(json_t *out, dd_str *s, int *failed) {
  dd_json_push(out, s->failed ? NULL : dd_json_text(s->data), failed);
  dd_str_free(s);
}

/* The rows of the primary comparison with this verdict, as they say it themselves. */
static void push_verdicts(json_t *out, const json_t *group, const char *verdict, int *failed) {
  const json_t *primary = json_array_get(json_object_get(group, "comparisons"), 0), *row;
  size_t i;
  json_array_foreach(json_object_get(primary, "rows"), i, row) {
    if (strcmp(text_of(row, "verdict"), verdict)) continue;
    dd_str s = {0};
    const char *text = text_of(row, "text");
    const bool begins = !strncmp(text, "nothing can", 11) || !strncmp(text, "no seed is", 10); /* else with a name */
    dd_str_printf(&s, "%c%s.", begins ? 'N' : *text, *text ? text + 1 : "");
    push_str(out, &s, failed);
  }
}

/* ", " between names, "and" before the last. */
static void list_name(dd_str *s, const char *name, size_t i, size_t n) {
  dd_str_printf(s, "%s%s", i == 0 ? "" : i + 1 < n ? ", " : " and ", name);
}

static size_t count_verdict(const json_t *comparison, const char *verdict) {
  const json_t *row;
  size_t i, n = 0;
  json_array_foreach(json_object_get(comparison, "rows"), i, row) n += !strcmp(text_of(row, "verdict"), verdict);
  return n;
}

static void list_verdict(dd_str *s, const json_t *comparison, const char *verdict) {
  const size_t n = count_verdict(comparison, verdict);
  const json_t *row;
  size_t i, k = 0;
  json_array_foreach(json_object_get(comparison, "rows"), i, row) if (!strcmp(text_of(row, "verdict"), verdict))
      list_name(s, text_of(row, "schedule"), k++, n);
}

/* Schedules about which nothing can be said; many of them in one sentence, as the table has their figures. */
static void push_open(json_t *out, const json_t *group, const char *verdict, int *failed) {
  const json_t *primary = json_array_get(json_object_get(group, "comparisons"), 0), *row;
  size_t i, least = SIZE_MAX, most = 0;
  double lo = INFINITY, hi = -INFINITY;
  if (count_verdict(primary, verdict) <= 2) {
    push_verdicts(out, group, verdict, failed);
    return;
  }
  json_array_foreach(json_object_get(primary, "rows"), i, row) {
    if (strcmp(text_of(row, "verdict"), verdict)) continue;
    const double mean = dd_json_value(json_object_get(row, "mean"));
    const size_t needed = (size_t)count_of(row, "seeds_needed");
    if (mean < lo) lo = mean;
    if (mean > hi) hi = mean;
    if (needed && needed < least) least = needed;
    if (needed > most) most = needed;
  }
  dd_str s = {0};
  const int digits = (int)count_of(primary, "digits");
  dd_str_puts(&s, "Nothing can be concluded about ");
  list_verdict(&s, primary, verdict);
  dd_str_printf(&s, " against %s on %s", text_of(group, "baseline"), text_of(primary, "label"));
  if (!strcmp(verdict, "too few"))
    dd_str_puts(&s, ": so few paired seeds cannot show any difference among so many schedules");
  if (isfinite(lo))
    dd_str_printf(&s, "; mean differences lie between %s and %s", dd_signed(lo, digits).s, dd_signed(hi, digits).s);
  if (most) dd_str_puts(&s, ", and to show them, were they true, would take about ");
  if (least < most && least <= SEEDS_TOLD) dd_str_printf(&s, "%zu to ", least);
  if (most > SEEDS_TOLD) dd_str_printf(&s, "more than %d seeds", SEEDS_TOLD);
  else if (most) dd_str_printf(&s, "%zu seeds", most);
  dd_str_puts(&s, ".");
  push_str(out, &s, failed);
}

/* What was decided on the other metrics, a sentence each. */
static void say_others(json_t *out, const json_t *group, int *failed) {
  const json_t *comparison;
  size_t i;
  json_array_foreach(json_object_get(group, "comparisons"), i, comparison) {
    const size_t better = count_verdict(comparison, "better"), worse = count_verdict(comparison, "worse");
    if (i == 0 || better + worse == 0) continue;
    dd_str s = {0};
    dd_str_printf(&s, "On %s: ", text_of(comparison, "label"));
    if (better) {
      dd_str_printf(&s, "lower than %s with ", text_of(group, "baseline"));
      list_verdict(&s, comparison, "better");
    }
    if (worse) {
      dd_str_printf(&s, "%s", better ? "; higher with " : "higher than ");
      if (!better) dd_str_printf(&s, "%s with ", text_of(group, "baseline"));
      list_verdict(&s, comparison, "worse");
    }
    dd_str_puts(&s, " (corrected p below 0.05).");
    push_str(out, &s, failed);
  }
}

static void say_overfitting(json_t *out, const json_t *group, json_int_t finished, int *failed) {
  const json_t *schedule, *run, *sign;
  size_t i, k, m, n = 0;
  double *since = malloc((size_t)(finished + 1) * sizeof *since);
  if (!since) {
    *failed = 1;
    return;
  }
  json_array_foreach(json_object_get(group, "schedules"), i,
                     schedule) json_array_foreach(json_object_get(schedule, "runs"), k, run)
      json_array_foreach(json_object_get(run, "signatures"), m, sign) if (!strcmp(text_of(run, "state"), "finished") &&
                                                                          !strcmp(text_of(sign, "name"), "overfitting"))
          since[n++] = (double)count_of(sign, "since");
  if (2 * (json_int_t)n > finished)
    dd_json_push(out,
                 dd_json_format("The validation loss rises again after its best in %zu of %lld finished runs, "
                                "from iteration %s (median): the last weights are not the best ones, and a "
                                "comparison of final losses is one of overfitting.",
                                n, (long long)finished, dd_fixed(dd_stats_median(since, n), 0).s),
                 failed);
  free(since);
}

/* Mini-batch loss with dropout says little where rates end apart. */
static void say_final_rates(json_t *out, const json_t *group, int *failed) {
  const json_t *schedule;
  size_t i, n = 0;
  double least = INFINITY, most = -INFINITY;
  dd_str s = {0};
  json_array_foreach(json_object_get(group, "schedules"), i, schedule) {
    const json_t *c = json_object_get(json_object_get(schedule, "columns"), "final_rate");
    const double rate = dd_json_value(json_object_get(c, "mean"));
    if (!isfinite(rate)) continue;
    dd_str_printf(&s, "%s%s %s", n++ ? ", " : "", text_of(schedule, "name"), dd_fixed(rate, 4).s);
    if (rate < least) least = rate;
    if (rate > most) most = rate;
  }
  if (n > 1 && most - least > 1e-6 && s.data)
    dd_json_push(out,
                 dd_json_format("The final batch loss is taken with dropout active and falls by itself when the "
                                "rate is low at the end (mean final rates: %s): compare schedules by losses "
                                "without dropout.",
                                s.data),
                 failed);
  if (s.failed) *failed = 1;
  dd_str_free(&s);
}

static void say_generation(json_t *out, const json_t *cost, int *failed) {
  const double speed = dd_json_value(json_object_get(cost, "generation_tokens_per_s"));
  char measured[96] = "";
  if (isfinite(speed))
    snprintf(measured, sizeof measured, ": %s tokens/s were measured, for all of them", dd_fixed(speed, 1).s);
  dd_json_push(out,
               dd_json_format("A schedule cannot change the speed of generation, where dropout is off%s.", measured),
               failed);
}

json_t *dd_conclusions_json(const json_t *group, const json_t *cost) {
  json_t *out = json_array();
  const json_t *schedule, *run;
  size_t i, k;
  json_int_t finished = 0, planned = 0, diverged = 0;
  int failed = !out;
  json_array_foreach(json_object_get(group, "schedules"), i, schedule) {
    finished += count_of(schedule, "finished");
    planned += count_of(schedule, "planned");
    json_array_foreach(json_object_get(schedule, "runs"), k, run) diverged +=
        !strcmp(text_of(run, "state"), "diverged");
  }
  if (!finished) dd_json_push(out, json_string("No run is finished: there is nothing to conclude yet."), &failed);
  else if (finished < planned)
    dd_json_push(out,
                 dd_json_format("%lld of %lld runs are finished; what follows is about these.", (long long)finished,
                                (long long)planned),
                 &failed);
  if (diverged)
    dd_json_push(out,
                 dd_json_format("%lld run%s diverged and count%s for nothing here.", (long long)diverged,
                                diverged == 1 ? "" : "s", diverged == 1 ? "s" : ""),
                 &failed);
  if (finished) {
    const json_t *comparisons = json_object_get(group, "comparisons");
    if (!json_array_size(json_object_get(json_array_get(comparisons, 0), "rows")))
      dd_json_push(out, json_string("There is nothing to compare: that takes a baseline and another schedule."),
                   &failed);
    push_verdicts(out, group, "better", &failed);
    push_verdicts(out, group, "worse", &failed);
    push_open(out, group, "undecided", &failed);
    push_open(out, group, "too few", &failed);
    say_others(out, group, &failed);
    say_overfitting(out, group, finished, &failed);
    say_final_rates(out, group, &failed);
    say_generation(out, cost, &failed);
  }
  if (failed) json_decref(out);
  return failed ? NULL : out;
}

json_t *dd_notes_json(void) {
  json_t *out = json_array();
  int failed = !out;
  static const char *const notes[] = {
      "Losses are natural logarithms per token. Means and standard deviations (n - 1) are over the finished runs.",
      "A difference is schedule minus baseline at the same seed, which gives both the same initial weights, batches "
      "and dropout masks; wins are seeds at which the schedule is lower.",
      "The 95 % interval is that of the paired t test. The bootstrap interval (percentile, 10,000 resamples) assumes "
      "no distribution but is too narrow for few seeds.",
      "p is that of the sign-flip permutation test of the mean difference, two-sided: every pattern of signs up to 20 "
      "seeds, 100,000 drawn ones beyond. Holm's correction takes the number of schedules into account; a verdict needs "
      "a corrected p below 0.05.",
      "Seeds needed: those with which a paired t test at 0.05 finds a true difference of the observed mean and "
      "standard deviation with 80 % power (noncentral t), without the correction.",
      "Curves show mean, smallest and largest value over the finished runs (while none is finished, over those begun).",
  };
  for (size_t i = 0; i < sizeof notes / sizeof *notes; i++) dd_json_push(out, json_string(notes[i]), &failed);
#define SIGN_ROW(id, name, rule) dd_json_push(out, json_string("Sign \"" name "\": " rule "."), &failed);
  DD_SIGNS(SIGN_ROW)
#undef SIGN_ROW
  dd_json_push(out,
               json_string("Times are those of this machine and differ between repetitions; they are kept apart "
                           "from the results, which do not."),
               &failed);
  if (failed) json_decref(out);
  return failed ? NULL : out;
}
