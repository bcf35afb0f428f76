/* `dd-cpu compare`: run every cell of a grid that is not finished, several at once, and report. There is no
 * coordinator: what is done is what the run directories hold, and who trains in one holds its lock. */
#include "core/file.h"
#include "core/ints.h"
#include "core/machine.h"
#include "core/number.h"
#include "run/checkpoint.h"
#include "run/dataset.h"
#include "run/evaluate.h"
#include "run/rundir.h"
#include "run/source.h"
#include "run/tokenizer.h"
#include "study/analysis.h"
#include "study/cost.h"
#include "study/grid.h"
#include "study/packing.h"
#include "study/runs.h"
#include "study/tables.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define POLL_NANOSECONDS 50000000
#define RETRY_NANOSECONDS 500000000
enum { RETRIES = 10 };

typedef enum state { TO_DO, RUNNING, FINISHED, FAILED, ELSEWHERE } state;

typedef struct place { /* a job's: its processors and what runs there */
  dd_worker worker;
  size_t cell;
  dd_settings *s;
  const dd_callbacks *cb; /* the caller's */
  int told; /* warnings of the run that were told */
} place;

typedef struct study {
  const dd_settings *given;
  const dd_callbacks *cb;
  char dir[4096];
  int vocab;
  dd_grid grid;
  state *state; /* [grid.n] */
  dd_packing packing;
  place *place; /* [packing.jobs] */
  dd_study_job *jobs;
  double started, run_seconds; /* of the runs that ended: their sum, for the ETA */
  int64_t ended;
  int stopping;
  dd_error first;    /* what the first run that failed said */
  dd_error troubled; /* what the first said that finished, but could not write everything at first */
  char *said[64];    /* warnings of runs: each is told once */
  int n_said;
} study;

/* ---- in the child ---- */

typedef struct child {
  dd_slot *slot;
  const dd_callbacks *cb; /* the caller's: asked for rates */
} child;

static void child_step(void *user, const dd_step_record *r) {
  dd_slot *slot = ((const child *)user)->slot;
  slot->loss = r->loss;
  slot->dropout = r->dropout;
  slot->eta_s = r->eta_s;
  slot->ms_per_iter = r->ms_per_iter;
  slot->iter = r->iter;
}

static void child_eval(void *user, const dd_eval_record *r) {
  dd_slot *slot = ((const child *)user)->slot;
  slot->val_loss = r->val_loss;
  slot->best_val_loss = r->best_val_loss;
  slot->best_iter = r->best_iter;
  slot->dropout = r->dropout;
  slot->iter = r->iter;
}

static void child_message(void *user, dd_level level, const char *text) {
  dd_slot *slot = ((const child *)user)->slot;
  const int n = slot->warnings;
  if (level != DD_WARNING) return;
  if (n < DD_SLOT_WARNINGS) snprintf(slot->warning[n], sizeof slot->warning[n], "%s", text);
  slot->warnings = n + 1;
}

static int child_should_stop(void *user) { return dd_slot_should_stop(((const child *)user)->slot); }
static double child_rate(void *user, const dd_rate_query *q) {
  const dd_callbacks *cb = ((const child *)user)->cb;
  return cb->rate(cb->user, q);
}

static int train_cell(void *arg, dd_slot *slot) {
  const place *p = arg;
  const int asks = p->cb && p->cb->rate && dd_settings_ask_callback(p->s);
  child c = {.slot = slot, .cb = p->cb};
  const dd_callbacks cb = {.user = &c,
                           .message = child_message,
                           .step = child_step,
                           .eval = child_eval,
                           .should_stop = child_should_stop,
                           .rate = asks ? child_rate : NULL};
  dd_train_result r = {0};
  const int rc = dd_train(p->s, &cb, &r, &slot->error);
  slot->best_val_loss = r.best_val_loss;
  slot->best_iter = r.best_iter;
  slot->iter = r.iter;
  slot->seconds = r.seconds;
  snprintf(slot->fingerprint, sizeof slot->fingerprint, "%s", r.fingerprint);
  return rc;
}

/* ---- what is there ---- */

/* A run in the cell's directory must be the cell's: every setting that matters to it is the same. */
static int check_config(const char *dir, const char *name, const dd_settings *s, dd_error *err) {
  json_t *config;
  int rc = dd_run_config_read(dir, &config, err);
  dd_settings *own = dd_settings_create();
  if (!rc && !own) rc = dd_fail(err, DD_E_RUNTIME, "out of memory for settings");
  if (!rc && (rc = dd_settings_from_json(own, json_object_get(config, "settings"), err)))
    rc = dd_fail_prefix(err, "%s: ", dir);
  const dd_setting *d;
  for (int i = 0; !rc && (d = dd_setting_at(i)); i++) {
    char was[4096] = "", now[4096] = "";
    if (dd_setting_is_harmless(i) || i == DD_SETTING_data || i == DD_SETTING_tokenizer || i == DD_SETTING_preset ||
        dd_settings_schedule_param(s, i) == DD_PARAM_UNUSED)
      continue;
    dd_settings_get(own, d->name, was, sizeof was, NULL);
    dd_settings_get(s, d->name, now, sizeof now, NULL);
    if (strcmp(was, now))
      rc = dd_fail(err, DD_E_CORRUPT, "%s was trained with %s = %s, cell %s has %s; move it away or take another --out",
                   dir, d->name, was, name, now);
  }
  dd_settings_destroy(own);
  json_decref(config);
  return rc;
}

/* Anything but "there is none" is no reason to begin again. */
static int has_checkpoint(const char *dir, bool *yes, dd_error *err) {
  char path[4096];
  const int rc = dd_run_find_checkpoint(dir, "latest", path, sizeof path, err);
  *yes = rc != DD_E_USAGE;
  return rc == DD_E_USAGE || rc == DD_E_CORRUPT ? DD_OK : rc; /* damaged: the resume looks for an older one */
}

/* State of a cell's directory; for one that is to be run, the flags of s that continue or begin it. */
static int look(const study *y, size_t cell, dd_settings *s, state *out, dd_error *err) {
  char config[4096];
  int rc = dd_path_join(config, sizeof config, s->out, "config.json", err);
  *out = TO_DO;
  if (rc) return rc;
  int there;
  if ((rc = dd_source_exists(config, &there, err))) return rc;
  if (!there) { /* nothing yet, or what a kill left before there was a configuration */
    s->overwrite = dd_is_dir(s->out);
    return DD_OK;
  }
  if ((rc = check_config(s->out, y->grid.cells[cell].name, s, err))) return rc;
  if (dd_study_run_finished(s->out)) *out = FINISHED;
  if ((rc = has_checkpoint(s->out, &s->resume, err))) return rc;
  s->overwrite = !s->resume;
  return DD_OK;
}

/* A cell that cannot be run; the others go on. */
static void give_up(study *y, size_t cell, const dd_error *why) {
  y->state[cell] = FAILED;
  if (!y->first.code) dd_fail(&y->first, why->code, "%s: %.900s", y->grid.cells[cell].name, why->message);
  dd_say(y->cb, DD_WARNING, "%s: %.900s", y->grid.cells[cell].name, why->message);
}

static int look_at_all(study *y, dd_error *err) {
  for (size_t i = 0; i < y->grid.n; i++) {
    dd_settings *s;
    dd_error why;
    int rc = dd_check_stop(y->cb, "looking at", y->dir, err);
    if (!rc) rc = dd_grid_settings(&y->grid, i, y->dir, &s, err);
    if (rc) return rc;
    if (look(y, i, s, y->state + i, &why)) give_up(y, i, &why);
    dd_settings_destroy(s);
  }
  return DD_OK;
}

static int64_t count(const study *y, state s) {
  int64_t n = 0;
  for (size_t i = 0; i < y->grid.n; i++) n += y->state[i] == s;
  return n;
}

/* ---- running ---- */

static const char *cell_name(const study *y, size_t cell) { return y->grid.cells[cell].name; }

/* Seconds until all is done, from what runs that ended took, or else from what those that run expect. */
static double remaining(const study *y) {
  double each = y->ended ? y->run_seconds / (double)y->ended : NAN, running = 0, longest = 0;
  int n = 0;
  for (int i = 0; i < y->packing.jobs; i++) {
    const dd_slot *slot = y->place[i].worker.slot;
    if (!slot || isnan(slot->eta_s)) continue;
    const double whole = dd_now() - y->place[i].worker.started + slot->eta_s;
    if (!y->ended) each = n ? (each * n + whole) / (n + 1) : whole;
    n++;
    running += slot->eta_s;
    longest = fmax(longest, slot->eta_s);
  }
  const double waiting = (double)count(y, TO_DO);
  if (waiting > 0 && isnan(each)) return NAN;
  return fmax(longest, (running + (waiting > 0 ? waiting * each : 0)) / y->packing.jobs);
}

static void show(study *y) {
  if (!y->cb || !y->cb->study) return;
  for (int i = 0; i < y->packing.jobs; i++) {
    const dd_slot *slot = y->place[i].worker.slot;
    dd_study_job *j = y->jobs + i;
    if (!slot) {
      *j = (dd_study_job){0};
      continue;
    }
    *j = (dd_study_job){.iter = slot->iter,
                        .max_iters = y->place[i].s->max_iters,
                        .loss = slot->loss,
                        .val_loss = slot->val_loss,
                        .best_val_loss = slot->best_val_loss,
                        .dropout = slot->dropout,
                        .eta_s = slot->eta_s};
    snprintf(j->name, sizeof j->name, "%s", cell_name(y, y->place[i].cell));
  }
  const dd_study_status status = {.cells = (int64_t)y->grid.n,
                                  .finished = count(y, FINISHED),
                                  .failed = count(y, FAILED),
                                  .elsewhere = count(y, ELSEWHERE),
                                  .jobs = y->packing.jobs,
                                  .job = y->jobs,
                                  .elapsed_s = dd_now() - y->started,
                                  .eta_s = remaining(y)};
  y->cb->study(y->cb->user, &status);
}

/* New warnings of the run at a place, of each text the first. */
static void tell_warnings(study *y, place *p) {
  const dd_slot *slot = p->worker.slot;
  for (const int n = slot->warnings; p->told < n; p->told++) {
    const char *text = p->told < DD_SLOT_WARNINGS ? slot->warning[p->told] : "more warnings, not told";
    bool known = false;
    for (int i = 0; i < y->n_said && !known; i++) known = !strcmp(y->said[i], text);
    if (known) continue;
    dd_say(y->cb, DD_WARNING, "%s: %s", cell_name(y, p->cell), text);
    if (y->n_said < (int)(sizeof y->said / sizeof *y->said) && (y->said[y->n_said] = strdup(text))) y->n_said++;
  }
}

static void say_end(const study *y, const place *p, state s) {
  const dd_slot *slot = p->worker.slot;
  const long long done = count(y, FINISHED), all = (long long)y->grid.n;
  const double left = remaining(y);
  char time[32], eta[48] = "";
  dd_duration_text(time, sizeof time, left);
  if (!isnan(left) && left >= 1) snprintf(eta, sizeof eta, ", about %s left", time);
  if (s == FINISHED)
    dd_say(y->cb, DD_INFO, "%lld/%lld %s: best val %.4f at %lld, %.0f s, fingerprint %.8s%s", done, all,
           cell_name(y, p->cell), slot->best_val_loss, (long long)slot->best_iter, slot->seconds, slot->fingerprint,
           eta);
  else if (s == ELSEWHERE) dd_say(y->cb, DD_INFO, "%s is being trained by another process", cell_name(y, p->cell));
}

/* Take in what ended at a place. */
static void collect(study *y, place *p) {
  dd_slot *slot = p->worker.slot;
  state s = FAILED;
  tell_warnings(y, p);
  if (slot->rc == DD_OK) s = FINISHED;
  else if (slot->rc == DD_E_IO && dd_study_run_finished(p->s->out)) { /* a write failed and went well again */
    s = FINISHED;
    if (!y->troubled.code) dd_fail(&y->troubled, DD_E_IO, "%s: %.900s", cell_name(y, p->cell), slot->error.message);
  } else if (slot->rc == DD_E_LOCKED) s = ELSEWHERE;
  else if (slot->rc == DD_E_STOPPED) s = TO_DO;
  y->state[p->cell] = s;
  if (s == FINISHED) y->run_seconds += dd_now() - p->worker.started, y->ended++;
  if (s == FAILED) {
    slot->error.code = (dd_status)slot->rc;
    give_up(y, p->cell, &slot->error);
  } else say_end(y, p, s);
  dd_worker_release(&p->worker);
  dd_settings_destroy(p->s);
  p->s = NULL;
}

/* Begin the next cell at a free place; nothing when none is left. */
static int begin(study *y, int i, dd_error *err) {
  place *p = y->place + i;
  for (size_t c = 0; c < y->grid.n; c++) {
    if (y->state[c] != TO_DO) continue;
    p->cell = c;
    int rc = dd_grid_settings(&y->grid, c, y->dir, &p->s, err);
    if (rc) return rc;
    p->s->threads = y->packing.threads;
    p->s->sample_chars = 0;
    /* Enough to go on from, and the best; a study is many runs. */
    if (!dd_settings_is_set(p->s, DD_SETTING_keep_checkpoints)) p->s->keep_checkpoints = 1;
    /* Once more: another process may have finished it in the meantime. */
    dd_error why;
    if (look(y, c, p->s, y->state + c, &why)) give_up(y, c, &why);
    if (y->state[c] != TO_DO) {
      dd_settings_destroy(p->s);
      p->s = NULL;
      continue;
    }
    p->cb = y->cb;
    rc = dd_worker_start(&p->worker, train_cell, p, y->packing.block ? y->packing.block + i : NULL, err);
    if (rc) return rc;
    y->state[c] = RUNNING;
    p->told = 0;
    return DD_OK;
  }
  return DD_OK;
}

static int run_all(study *y, dd_error *err) {
  int rc = DD_OK, busy = 0;
  do {
    const int ask = dd_should_stop(y->cb), stop = !y->stopping && (rc || ask == 1);
    y->stopping |= stop;
    for (int i = 0; i < y->packing.jobs && (stop || ask == 2); i++)
      if (y->place[i].worker.slot) dd_slot_ask(y->place[i].worker.slot, stop ? 1 : 2);
    busy = 0;
    for (int i = 0; i < y->packing.jobs; i++) {
      place *p = y->place + i;
      if (p->worker.slot && dd_worker_ended(&p->worker)) collect(y, p);
      else if (p->worker.slot) tell_warnings(y, p);
      if (!p->worker.slot && !y->stopping && !rc) rc = begin(y, i, err);
      busy += p->worker.slot != NULL;
    }
    show(y);
    if (busy) nanosleep(&(struct timespec){.tv_nsec = POLL_NANOSECONDS}, NULL);
  } while (busy || (rc && !y->stopping));
  return rc;
}

/* What the checkpoints of that many runs take: weights and two moments, in the newest and the best. */
static double disk_bytes(const study *y, size_t runs) {
  const dd_settings *s = y->given;
  const dd_shape shape = {
      .L = s->n_layer, .H = s->n_head, .C = s->n_embd, .S = s->block_size, .V = y->vocab, .bias = s->bias};
  dd_layout l;
  if (dd_layout_create(&l, &shape, NULL)) return 0;
  const double bytes = (double)l.parameters * 12 * (double)(s->keep_checkpoints > 2 ? s->keep_checkpoints : 2);
  dd_layout_destroy(&l);
  return bytes * (double)runs;
}

/* Settings of the run that takes most memory: it decides what goes at once. To be destroyed. */
static int largest(const study *y, dd_settings **out, dd_error *err) {
  uint64_t most = 0;
  *out = NULL;
  for (size_t i = 0; i < y->grid.n; i++) {
    if (*out && !json_array_size(y->grid.dims)) break; /* only schedules and seeds vary: all are alike */
    if (*out && !json_equal(json_object_get(y->grid.cells[i].overrides, "seed"),
                            json_object_get(y->grid.cells[0].overrides, "seed")))
      continue;
    dd_settings *s;
    const int rc = dd_grid_settings(&y->grid, i, y->dir, &s, err);
    if (rc) {
      dd_settings_destroy(*out);
      return rc;
    }
    const uint64_t bytes = dd_packing_bytes(s, y->vocab, 1);
    if (*out && bytes <= most) dd_settings_destroy(s);
    else {
      dd_settings_destroy(*out);
      *out = s;
      most = bytes;
    }
  }
  return DD_OK;
}

static int choose_packing(study *y, size_t pending, dd_error *err) {
  dd_settings *s;
  int rc = largest(y, &s, err);
  if (!rc) rc = dd_packing_choose(&y->packing, s ? s : y->given, y->vocab, pending, y->cb, err);
  dd_settings_destroy(s);
  return rc;
}

static int run_pending(study *y, dd_error *err) {
  const size_t pending = (size_t)count(y, TO_DO);
  if (!pending) return DD_OK;
  if (!y->given->jobs && pending > 1) dd_say(y->cb, DD_INFO, "measuring how many runs go best at once");
  int rc = choose_packing(y, pending, err);
  if (rc) return rc;
  dd_say(y->cb, DD_INFO, "%zu runs to do, %d at once with %d thread%s each (%s); up to %.2g GB of checkpoints", pending,
         y->packing.jobs, y->packing.threads, y->packing.threads > 1 ? "s" : "", y->packing.why,
         disk_bytes(y, pending) / 1e9);
  y->place = calloc((size_t)y->packing.jobs, sizeof *y->place);
  y->jobs = calloc((size_t)y->packing.jobs, sizeof *y->jobs);
  if (!y->place || !y->jobs) return dd_fail(err, DD_E_RUNTIME, "out of memory for jobs");
  rc = run_all(y, err);
  /* Again what others held: of a call that was killed, runs save and end a moment later than itself. */
  for (int wait = 0; !rc && !y->stopping && count(y, ELSEWHERE) && wait < RETRIES; wait++) {
    nanosleep(&(struct timespec){.tv_nsec = RETRY_NANOSECONDS}, NULL);
    for (size_t i = 0; i < y->grid.n; i++)
      if (y->state[i] == ELSEWHERE) y->state[i] = TO_DO;
    rc = run_all(y, err);
  }
  return rc;
}

/* ---- around it ---- */

static int parse_shard(const char *text, int *i, int *n, dd_error *err) {
  int used = 0;
  *i = *n = 1;
  if (!*text) return DD_OK;
  if (sscanf(text, "%5d/%5d%n", i, n, &used) != 2 || text[used] || *n < 1 || *i < 1 || *i > *n)
    return dd_fail(err, DD_E_USAGE, "shard must be I/N with 1 <= I <= N, as 2/4 for the second of four, not '%.40s'",
                   text);
  return DD_OK;
}

/* Settings of a single training, unless they say what they say anyway (as in a run's config.json). */
static int check_given(const dd_settings *s, dd_error *err) {
  static const struct {
    enum dd_setting_id id;
    const char *instead;
  } foreign[] = {
      {DD_SETTING_schedule, "name the schedules with --schedules"},
      {DD_SETTING_resume, "compare continues by itself what --out holds"},
      {DD_SETTING_auto_resume, "compare continues by itself what --out holds"},
      {DD_SETTING_overwrite, "remove the directory, or take another --out"},
      {DD_SETTING_eval_only, "use `dd-cpu eval` on its runs"},
      {DD_SETTING_sample_chars, "use `dd-cpu sample` on its runs"},
  };
  const dd_setting *d;
  for (int i = 0; (d = dd_setting_at(i)); i++) {
    const char *instead = "it belongs to a single training";
    char value[4096];
    if (!(d->use & DD_USE_ALONE) || !dd_settings_is_set(s, (enum dd_setting_id)i)) continue;
    if (!dd_settings_get(s, d->name, value, sizeof value, NULL) && !strcmp(value, d->default_text)) continue;
    for (size_t k = 0; k < sizeof foreign / sizeof *foreign; k++)
      if ((int)foreign[k].id == i) instead = foreign[k].instead;
    return dd_fail(err, DD_E_USAGE, "'%s' is no option of compare: %s", d->name, instead);
  }
  return DD_OK;
}

/* Fetch and check the text once, before many processes want it. */
static int open_data(study *y, dd_error *err) {
  dd_dataset *d;
  const dd_settings *s = y->given;
  const int rc = dd_dataset_open_for(&d, s, dd_settings_is_set(s, DD_SETTING_data) ? s->data : NULL, NULL, y->cb, err);
  if (rc) return rc;
  y->vocab = d->vocab_size;
  if (*s->out) snprintf(y->dir, sizeof y->dir, "%s", s->out);
  else snprintf(y->dir, sizeof y->dir, "studies/%s", d->name);
  dd_say(y->cb, DD_INFO, "data %s: %lld training and %lld validation tokens, vocabulary %d", d->name,
         (long long)((double)d->n_train * s->train_fraction), (long long)d->n_val, d->vocab_size);
  /* The runs open the same text, wherever they are started. */
  snprintf(y->grid.base->data, sizeof y->grid.base->data, "%s", d->spec);
  dd_settings_resolve_bpe(y->grid.base);
  y->grid.base->set[DD_SETTING_data] = true;
  snprintf(y->grid.data_hash, sizeof y->grid.data_hash, "%s", d->hash);
  dd_dataset_close(d);
  return DD_OK;
}

static int open_study(study *y, const char *command, dd_error *err) {
  int i, n, rc = check_given(y->given, err);
  if (!rc) rc = parse_shard(y->given->shard, &i, &n, err);
  if (!rc) rc = dd_grid_create(&y->grid, y->given, err);
  if (!rc) rc = open_data(y, err);
  if (rc) return rc;
  dd_say(y->cb, DD_INFO, "%zu cells: %zu schedules, %zu seeds", y->grid.n, json_array_size(y->grid.schedules),
         json_array_size(y->grid.seeds));
  rc = y->given->dry_run ? dd_grid_check(&y->grid, y->dir, err) : dd_grid_plan(&y->grid, y->dir, command, err);
  if (rc) return rc;
  if (n > 1) dd_grid_shard(&y->grid, i, n);
  if (y->given->dry_run) return DD_OK;
  y->state = calloc(y->grid.n + 1, sizeof *y->state);
  if (!y->state) return dd_fail(err, DD_E_RUNTIME, "out of memory for the grid");
  if ((rc = look_at_all(y, err))) return rc;
  dd_say(y->cb, DD_INFO, "study %s: %lld of %zu runs are finished%s%s", y->dir, (long long)count(y, FINISHED),
         y->grid.n, n > 1 ? " in part " : "", n > 1 ? y->given->shard : "");
  return DD_OK;
}

static void close_study(study *y) {
  for (int i = 0; y->place && i < y->packing.jobs; i++) dd_settings_destroy(y->place[i].s);
  free(y->place);
  free(y->jobs);
  free(y->state);
  for (int i = 0; i < y->n_said; i++) free(y->said[i]);
  dd_packing_free(&y->packing);
  dd_grid_destroy(&y->grid);
}

/* The plan on paper, what it needs, and how long it would take. */
static int describe(study *y, dd_error *err) {
  dd_settings *s;
  for (size_t i = 0; i < y->grid.n; i++) dd_say(y->cb, DD_INFO, "  %s", cell_name(y, i));
  int rc = choose_packing(y, y->grid.n, err);
  if (!rc) rc = largest(y, &s, err);
  if (rc) return rc;
  const uint64_t bytes = s ? dd_packing_bytes(s, y->vocab, y->packing.threads) : 0;
  dd_settings_destroy(s);
  dd_say(y->cb, DD_INFO, "%d at once with %d thread%s each (%s)", y->packing.jobs, y->packing.threads,
         y->packing.threads > 1 ? "s" : "", y->packing.why);
  if (bytes) dd_say(y->cb, DD_INFO, "up to %.2g GB of memory each", (double)bytes / 1e9);
  if (y->packing.step_ms > 0) {
    char time[32];
    dd_duration_text(time, sizeof time,
                     ceil((double)y->grid.n / y->packing.jobs) * y->packing.step_ms * (double)y->given->max_iters /
                         1e3);
    dd_say(y->cb, DD_INFO, "about %s without evaluations, up to %.2g GB of checkpoints", time,
           disk_bytes(y, y->grid.n) / 1e9);
  }
  return DD_OK;
}

/* What the caller learns when not everything went well; the report is written all the same. */
static int verdict(const study *y, dd_error *err) {
  const long long failed = count(y, FAILED), left = count(y, TO_DO);
  if (y->stopping)
    return dd_fail(err, DD_E_STOPPED, "stopped on request with %lld of %zu runs to do; the same command continues",
                   left, y->grid.n);
  if (failed)
    return dd_fail(err, y->first.code, "%lld of %zu runs failed, everything else is reported; the first was %.800s",
                   failed, y->grid.n, y->first.message);
  if (y->troubled.code)
    return dd_fail(err, DD_E_IO,
                   "all runs that were to do are finished, but not everything was written at once: %.900s",
                   y->troubled.message);
  return DD_OK;
}

/* What there is, reported: also after a stop, and what other processes finished. */
static int report(const study *y, dd_compare_result *out, dd_error *err) {
  const char *const dir = y->dir;
  json_t *r = NULL;
  int rc = dd_study_analyse(&dir, 1, y->given, y->stopping ? NULL : y->cb, &r, err);
  const json_t *warning;
  size_t i;
  json_array_foreach(json_object_get(r, "warnings"), i, warning)
      dd_say(y->cb, DD_WARNING, "%s", json_string_value(warning));
  if (!rc) rc = dd_report_write(r, y->dir, err);
  if (!rc && out) rc = dd_path_join(out->report, sizeof out->report, y->dir, "report.html", err);
  json_decref(r);
  return rc;
}

int dd_compare(const dd_settings *s, const char *command, const dd_callbacks *cb, dd_compare_result *out,
               dd_error *err) {
  study y = {.given = s, .cb = cb, .started = dd_now()};
  int rc = open_study(&y, command ? command : "", err);
  if (!rc && s->dry_run) rc = describe(&y, err);
  else if (!rc) {
    dd_error why;
    rc = run_pending(&y, err);
    /* Not while others train here; and a stop leaves it to the next call. */
    if (!rc && !y.stopping && !count(&y, ELSEWHERE) && dd_cost_measure(y.dir, s, y.vocab, cb, &why)) {
      if (why.code == DD_E_STOPPED) y.stopping = 1;
      else rc = dd_fail(err, why.code, "%s", why.message);
    }
    const int reported = report(&y, out, rc ? &why : err); /* whatever happened: what is finished stays reported */
    if (!rc) rc = reported;
    if (!rc) rc = verdict(&y, err);
  }
  if (out && y.state) {
    char path[4096];
    snprintf(path, sizeof path, "%s", out->report);
    *out = (dd_compare_result){.cells = (int64_t)y.grid.n,
                               .finished = count(&y, FINISHED),
                               .failed = count(&y, FAILED),
                               .elsewhere = count(&y, ELSEWHERE),
                               .seconds = dd_now() - y.started};
    snprintf(out->dir, sizeof out->dir, "%s", y.dir);
    snprintf(out->report, sizeof out->report, "%s", path);
  }
  close_study(&y);
  return rc;
}
