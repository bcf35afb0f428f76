#include "study/runs.h"
#include "core/file.h"
#include "run/rundir.h"
#include "study/metrics.h"
#include "study/stats.h"
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *dd_run_state_name(enum dd_run_state_id id) {
#define STATE_ROW(id, name) name,
  static const char *const names[] = {DD_RUN_STATES(STATE_ROW)};
  return names[id];
}

static int no_memory(dd_error *err) { return dd_fail(err, DD_E_RUNTIME, "out of memory while reading runs"); }

/* Settings that tell runs apart. A preset is only a way to write others; data is told by its hash, and its tokens
 * with it. */
static bool tells_apart(int id) {
  return !dd_setting_is_harmless(id) && id != DD_SETTING_seed && id != DD_SETTING_preset && id != DD_SETTING_data &&
         id != DD_SETTING_tokenizer;
}

int dd_study_run_plan(dd_study_run *run, const dd_settings *s, dd_error *err) {
  const dd_setting *d;
  char text[4096];
  for (int i = 0; (d = dd_setting_at(i)); i++) {
    run->used[i] = dd_settings_schedule_param(s, i) == DD_PARAM_USED;
    if (!tells_apart(i) || dd_settings_get(s, d->name, text, sizeof text, NULL)) continue;
    free(run->setting[i]);
    if (!(run->setting[i] = strdup(text))) return no_memory(err);
  }
  dd_settings_schedule_label(s, run->schedule, sizeof run->schedule);
  run->schedule_id = s->schedule;
  run->seed = s->seed;
  run->max_iters = s->max_iters;
  run->known = true;
  return DD_OK;
}

static void copy_text(char *out, size_t size, const json_t *v) {
  const char *text = json_string_value(v);
  snprintf(out, size, "%s", text ? text : "");
  for (char *p = out; *p; p++)
    if ((unsigned char)*p < 32 || *p == 127) *p = '?';
}

/* DD_E_CORRUPT: config.json is none of ours. */
static int take_config(dd_study_run *run, const json_t *config, dd_error *err) {
  const json_t *data = json_object_get(config, "data"), *machine = json_object_get(config, "machine");
  const json_t *numerics = json_object_get(config, "numerics_version");
  copy_text(run->data_name, sizeof run->data_name, json_object_get(data, "name"));
  copy_text(run->data_hash, sizeof run->data_hash, json_object_get(data, "hash"));
  copy_text(run->cpu, sizeof run->cpu, json_object_get(machine, "cpu"));
  copy_text(run->tier, sizeof run->tier, json_object_get(machine, "tier"));
  const json_int_t threads = json_integer_value(json_object_get(machine, "threads"));
  run->threads = threads > 0 && threads <= 1000000 ? (int)threads : 0;
  if (!json_is_integer(numerics)) return dd_fail(err, DD_E_CORRUPT, "it does not say its numerics_version");
  if (!run->data_hash[0]) return dd_fail(err, DD_E_CORRUPT, "it does not say the hash of its data");
  run->numerics = json_integer_value(numerics);
  const json_t *settings = json_object_get(config, "settings");
  if (!json_is_object(settings)) return dd_fail(err, DD_E_CORRUPT, "it holds no settings");
  dd_settings *s = dd_settings_create();
  if (!s) return no_memory(err);
  dd_error why;
  int rc = dd_settings_from_json(s, settings, &why);
  if (rc) rc = dd_fail(err, DD_E_CORRUPT, "%s", why.message);
  if (!rc) rc = dd_study_run_plan(run, s, err);
  dd_settings_destroy(s);
  run->read = !rc;
  return rc;
}

static void set_state(dd_study_run *run, enum dd_run_state_id state, const char *format, ...) DD_PRINTF(3, 4);
static void set_state(dd_study_run *run, enum dd_run_state_id state, const char *format, ...) {
  va_list ap;
  va_start(ap, format);
  run->state = state;
  vsnprintf(run->why, sizeof run->why, format, ap);
  va_end(ap);
}

static void find_state(dd_study_run *run, const dd_metrics_end *end) {
  const int64_t step = run->n_steps ? run->steps[run->n_steps - 1].iter : -1;
  const int64_t eval = run->n_evals ? run->evals[run->n_evals - 1].iter : -1;
  run->iter = step > eval ? step : eval;
  const char *cut = end->torn ? "; the last line of metrics.jsonl is cut" : "";
  const long long at = (long long)run->iter, of = (long long)run->max_iters;
  if (end->missing) set_state(run, DD_RUN_UNFINISHED, "there is no metrics.jsonl yet");
  else if (end->too_many)
    set_state(run, DD_RUN_DAMAGED, "metrics.jsonl holds more than %d evaluations", DD_RUN_EVALS_MOST);
  else if (run->iter < 0 && run->bad_lines > 0)
    set_state(run, DD_RUN_DAMAGED, "metrics.jsonl holds no record of this run, only %lld other lines",
              (long long)run->bad_lines);
  else if (end->diverged) {
    run->iter = end->diverged_at;
    set_state(run, DD_RUN_DIVERGED, "loss or gradient became NaN or infinite at iteration %lld of %lld",
              (long long)end->diverged_at, of);
  } else if (step == run->max_iters && eval == run->max_iters) run->state = DD_RUN_FINISHED;
  else if (run->iter < 0) set_state(run, DD_RUN_UNFINISHED, "nothing is recorded yet%s", cut);
  else set_state(run, DD_RUN_UNFINISHED, "recorded up to iteration %lld of %lld%s", at, of, cut);
}

/* Area under the recorded rates over the iterations they span. */
static double mean_rate(const dd_study_run *run) {
  const size_t n = run->n_steps;
  double area = 0;
  for (size_t i = 1; i < n; i++)
    area += (run->steps[i].rate + run->steps[i - 1].rate) / 2 * (double)(run->steps[i].iter - run->steps[i - 1].iter);
  const double span = n ? (double)(run->steps[n - 1].iter - run->steps[0].iter) : 0;
  return span > 0 ? area / span : n ? run->steps[0].rate : NAN;
}

static int find_columns(dd_study_run *run, dd_error *err) {
  const dd_run_eval *end = &run->evals[run->n_evals - 1], *best = NULL;
  const dd_run_step *last = &run->steps[run->n_steps - 1];
  for (size_t i = 0; i < run->n_evals; i++)
    if (!isnan(run->evals[i].val) && (!best || run->evals[i].val < best->val)) best = &run->evals[i];
  double *ms = malloc(run->n_steps * sizeof *ms);
  if (!ms) return no_memory(err);
  size_t n = 0;
  for (size_t i = 0; i < run->n_steps; i++)
    if (!isnan(run->steps[i].ms)) ms[n++] = run->steps[i].ms;
  double *c = run->column;
  c[DD_COLUMN_best_val_loss] = best ? best->val : NAN;
  c[DD_COLUMN_best_iter] = best ? (double)best->iter : NAN;
  c[DD_COLUMN_gap_best] = best ? best->val - best->train : NAN;
  c[DD_COLUMN_val_loss] = end->val;
  c[DD_COLUMN_train_loss] = end->train;
  c[DD_COLUMN_gap] = end->val - end->train;
  c[DD_COLUMN_final_loss] = last->loss;
  c[DD_COLUMN_final_rate] = last->rate;
  c[DD_COLUMN_mean_rate] = mean_rate(run);
  c[DD_COLUMN_seconds] = last->elapsed_s;
  c[DD_COLUMN_ms_per_iter] = dd_stats_median(ms, n);
  free(ms);
  return DD_OK;
}

static int read_files(const char *path, dd_study_run *run, dd_error *err) {
  char file[4096];
  json_t *config;
  int rc = dd_path_join(file, sizeof file, path, "config.json", err);
  struct stat st;
  if (rc) {
    set_state(run, DD_RUN_DAMAGED, "its path is too long");
    return DD_OK;
  }
  if (dd_fs()->stat(file, &st)) {
    if (errno != ENOENT && errno != ENOTDIR) {
      set_state(run, DD_RUN_DAMAGED, "its config.json cannot be looked for: %s", strerror(errno));
      return DD_OK;
    }
    set_state(run, DD_RUN_MISSING, dd_is_dir(path) ? "there is no config.json in its directory"
                                                   : "there is no such directory");
    return DD_OK;
  }
  dd_error why = {0};
  rc = dd_run_config_read(path, &config, &why);
  if (!rc) {
    rc = take_config(run, config, &why);
    json_decref(config);
    if (rc) set_state(run, DD_RUN_DAMAGED, "its config.json does not fit this program: %.500s", why.message);
  } else set_state(run, DD_RUN_DAMAGED, "%.590s", why.message);
  if (rc) return rc == DD_E_RUNTIME ? dd_fail(err, DD_E_RUNTIME, "%s", why.message) : DD_OK;
  dd_metrics_end end;
  rc = dd_path_join(file, sizeof file, path, "metrics.jsonl", err);
  if (!rc) rc = dd_study_metrics_read(file, run, &end, &why);
  if (rc == DD_E_RUNTIME) return dd_fail(err, DD_E_RUNTIME, "%s", why.message);
  if (rc) set_state(run, DD_RUN_DAMAGED, "%.590s", why.message);
  else find_state(run, &end);
  return run->state == DD_RUN_FINISHED ? find_columns(run, err) : DD_OK;
}

int dd_study_run_read(const char *path, const char *shown, dd_study_run *run, dd_error *err) {
  *run = (dd_study_run){.iter = -1, .state = DD_RUN_MISSING};
  for (int i = 0; i < DD_COLUMN_COUNT; i++) run->column[i] = NAN;
  if (!(run->dir = strdup(shown))) return no_memory(err);
  return read_files(path, run, err);
}

void dd_study_run_free(dd_study_run *run) {
  for (int i = 0; i < DD_SETTING_COUNT; i++) free(run->setting[i]);
  free(run->dir);
  free(run->steps);
  free(run->evals);
  *run = (dd_study_run){0};
}

int dd_study_run_finished(const char *dir) {
  dd_study_run run;
  const int rc = dd_study_run_read(dir, dir, &run, NULL);
  const int finished = !rc && run.state == DD_RUN_FINISHED;
  dd_study_run_free(&run);
  return finished;
}
