/* Everything around the training loop: settings of a new or resumed run, data, machine, memory, run directory. */
#include "run/crew.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/number.h"
#include "run/tokenizer.h"
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

/* Settings that may not change when a run is resumed: the result would belong to no configuration. */
static const enum dd_setting_id fixed_settings[] = {
    DD_SETTING_n_layer,        DD_SETTING_n_head,
    DD_SETTING_n_embd,         DD_SETTING_block_size,
    DD_SETTING_bias,           DD_SETTING_init_std,
    DD_SETTING_data,           DD_SETTING_tokenizer,
    DD_SETTING_batch_size,     DD_SETTING_gradient_accumulation_steps,
    DD_SETTING_seed,           DD_SETTING_preset,
    DD_SETTING_train_fraction,
};
static int is_fixed(enum dd_setting_id id) {
  for (size_t i = 0; i < sizeof fixed_settings / sizeof *fixed_settings; i++)
    if (fixed_settings[i] == id) return 1;
  return 0;
}

/* The configuration of a resumed run: its own, then what was given now. */
static int resume_settings(dd_job *j, const dd_settings *given, const dd_checkpoint *c, dd_error *err) {
  char name[32], now[4096], was[4096];
  for (int i = 0; dd_setting_at(i); i++) {
    const enum dd_setting_id id = (enum dd_setting_id)i;
    if (!dd_settings_is_set(given, id) || dd_setting_is_harmless(i)) continue;
    snprintf(name, sizeof name, "%s", dd_setting_at(i)->name);
    int rc = dd_settings_get(given, name, now, sizeof now, err);
    if (!rc) rc = dd_settings_get(dd_checkpoint_settings(c), name, was, sizeof was, err);
    if (rc) return rc;
    if (strcmp(now, was) == 0) continue;
    if (id == DD_SETTING_data || id == DD_SETTING_dropout_table) continue; /* compared by their hashes */
    if (is_fixed(id))
      return dd_fail(err, DD_E_CORRUPT,
                     "cannot resume with %s = %s: this run has %s = %s; leave the option out, or start "
                     "a new run with another --out",
                     name, now, name, was);
    if (dd_settings_schedule_param(dd_checkpoint_settings(c), i) == DD_PARAM_UNUSED) continue;
    dd_say(j->cb, DD_WARNING, "resuming with %s = %s (was %s): the result will differ from an uninterrupted run", name,
           now, was);
  }
  json_t *own = dd_settings_to_json(dd_checkpoint_settings(c));
  const int rc = own ? dd_settings_from_json(j->s, own, err) : dd_fail(err, DD_E_RUNTIME, "out of memory for settings");
  json_decref(own);
  /* What belonged to that call of the program does not belong to this one. */
  for (int i = 0; dd_setting_at(i); i++)
    if (dd_setting_at(i)->use & DD_USE_ONCE) dd_settings_reset(j->s, (enum dd_setting_id)i);
  if (!rc) dd_settings_overlay(j->s, given);
  return rc;
}

static void default_out(dd_settings *s, const char *data_name) {
  const char *schedule = dd_settings_choice(s, DD_SETTING_schedule), *base = strrchr(data_name, '/');
  char name[256];
  snprintf(name, sizeof name, "%.255s", base && base[1] ? base + 1 : data_name);
  snprintf(s->out, sizeof s->out, "runs/%s-%s-s%llu", *name ? name : "data", schedule, (unsigned long long)s->seed);
}

static int check_data(dd_job *j, dd_error *err) {
  const dd_dataset *d = j->data;
  const int64_t T = j->s->block_size;
  if (d->n_train <= T)
    return dd_fail(err, DD_E_USAGE,
                   "%s has %lld training tokens, too few for a context of %lld; use a longer text%s or "
                   "--block-size %lld",
                   d->name, (long long)d->n_train, (long long)T,
                   j->s->train_fraction < 1 ? ", a larger --train-fraction" : "",
                   (long long)(d->n_train > 1 ? d->n_train - 1 : 1));
  if (d->n_val < 2 || (j->s->eval_iters > 0 && d->n_val <= T))
    return dd_fail(err, DD_E_USAGE,
                   "%s has %lld validation tokens, too few for a context of %lld; use a longer text or a "
                   "smaller --block-size",
                   d->name, (long long)d->n_val, (long long)T);
  return DD_OK;
}

static dd_model_options model_options(const dd_job *j) {
  const dd_settings *s = j->s;
  return (dd_model_options){.shape = {.L = s->n_layer,
                                      .H = s->n_head,
                                      .C = s->n_embd,
                                      .S = s->block_size,
                                      .V = j->symbols ? j->symbols : j->data->vocab_size,
                                      .bias = s->bias},
                            .B = s->batch_size,
                            .T = s->block_size,
                            .accumulation = s->gradient_accumulation_steps,
                            .slice = s->slice,
                            .recompute = s->recompute,
                            .train = 1,
                            .seed = s->seed,
                            .ranks = j->ranks};
}

static void peak_team(dd_ctx *c, void *arg) { ((double *)arg)[c->tid] = dd_machine_peak(c->k, 15); }

/* FMA peak of all threads at once. */
static int team_peak(const dd_kernels *k, int threads, double *peak, dd_error *err) {
  dd_team *t;
  const int rc = dd_team_create(&t, threads, 64, k, err);
  if (rc) return rc;
  double *each = calloc((size_t)threads, sizeof *each);
  if (each) dd_team_run(t, peak_team, each);
  *peak = 0;
  for (int i = 0; each && i < threads; i++) *peak += each[i];
  dd_team_destroy(t);
  free(each);
  return *peak > 0 ? DD_OK : dd_fail(err, DD_E_RUNTIME, "out of memory while measuring the processor");
}

static void size_text(char *out, size_t size, double bytes) {
  if (bytes < 1e7) snprintf(out, size, "%.1f MB", fmax(bytes / 1e6, 0.1));
  else if (bytes < 1e9) snprintf(out, size, "%.0f MB", bytes / 1e6);
  else snprintf(out, size, "%.2f GB", bytes / 1e9);
}

/* Memory, disk and time before anything is allocated. */
static int estimate(dd_job *j, dd_error *err) {
  const dd_settings *s = j->s;
  const dd_model_options o = model_options(j);
  const uint64_t left = dd_machine_free_memory("");
  const double per_token = dd_flops_per_token(&o.shape, o.T);
  const double tokens = (double)(o.B * o.T * o.accumulation) * (double)s->max_iters;
  const double evals = (double)(s->max_iters / s->eval_interval + 1);
  const double eval_tokens = s->eval_iters ? 2.0 * (double)(s->eval_iters * o.B * o.T) : 2.0 * (double)j->data->n_val;
  /* Seven tenths of the peak, forward passes a third of a step: between what large and small models reach. */
  const int ranks = dd_ranks_size(j->ranks), local = dd_ranks_local(j->ranks);
  const double seconds = per_token * (tokens + evals * eval_tokens / 3) / (0.7 * j->peak * ranks);
  dd_layout l;
  int rc = dd_layout_create(&l, &o.shape, err);
  if (rc) return rc;
  /* What is still to come: the model, batches, and the copy that a checkpoint is written from. */
  const uint64_t batches = (uint64_t)(o.B * o.T) * (4 * sizeof *j->idx + sizeof(double));
  const uint64_t bytes = dd_model_bytes(&o, j->k, j->threads) + batches + dd_saver_bytes(&l);
  const uint64_t all = bytes + dd_machine_used_memory();
  char time[32], memory[32], disk[32];
  dd_duration_text(time, sizeof time, seconds < 1 ? 1 : seconds);
  size_text(memory, sizeof memory, (double)all);
  size_text(disk, sizeof disk, (double)l.parameters * 12);
  dd_say(j->cb, DD_INFO, "estimate: %.2f M parameters, %s of memory, %s per checkpoint, about %s",
         (double)l.parameters / 1e6, memory, disk, time);
  dd_layout_destroy(&l);
  if (seconds > 3600 && s->preset != DD_PRESET_SMALL && s->preset != DD_PRESET_TINY)
    dd_say(j->cb, DD_INFO, "that is more than an hour; `--preset small` trains nanoGPT's CPU model in minutes");
  if (left && bytes * (uint64_t)local > left)
    return dd_fail(err, DD_E_RUNTIME,
                   "this run needs %.3g GB of memory and %.3g GB may be taken; halve --batch-size and double "
                   "--gradient-accumulation-steps, use fewer threads (-t), or raise the limit (ulimit, cgroup)",
                   (double)bytes * local / 1e9, (double)left / 1e9);
  return DD_OK;
}

static int write_config(dd_job *j, dd_error *err) {
  char cpu[256];
  dd_machine_name(cpu, sizeof cpu);
  json_t *settings = dd_settings_to_json(j->s);
  json_t *o = json_pack("{s:s, s:s, s:s, s:i, s:o, s:{s:s, s:s, s:I, s:I, s:i}, s:{s:s, s:s, s:i, s:i}}", "program",
                        "dd-cpu", "version", dd_version(), "run_id", j->state.run_id, "numerics_version",
                        DD_NUMERICS_VERSION, "settings", settings, "data", "name", j->data->name, "hash", j->data->hash,
                        "train_tokens", (json_int_t)j->data->n_train, "val_tokens", (json_int_t)j->data->n_val,
                        "vocab_size", j->data->vocab_size, "machine", "cpu", cpu, "tier", j->k->tier, "threads",
                        j->threads, "ranks", dd_ranks_size(j->ranks));
  if (!o) return dd_fail(err, DD_E_RUNTIME, "out of memory for config.json");
  int rc = dd_rundir_config_write(j->dir, o, err);
  if (!rc) {
    if (json_object_set_new(o, "type", json_string("config")))
      rc = dd_fail(err, DD_E_RUNTIME, "out of memory for metrics.jsonl");
    else rc = dd_metrics_append(j->metrics, o, err);
    if (!rc) dd_events_log(j->events, o, j->cb);
  }
  json_decref(o);
  return rc;
}

/* The name of the run in config.json, "" when there is none that could be read. */
static void run_id_of(const char *dir, char id[33]) {
  json_t *o = NULL;
  *id = '\0';
  if (dd_run_config_read(dir, &o, NULL)) return;
  const char *text = json_string_value(json_object_get(o, "run_id"));
  if (text) snprintf(id, 33, "%s", text);
  json_decref(o);
}

static int open_whole(const char *dir, const char *name, const char *run_id, dd_checkpoint **out, dd_error *err) {
  char path[4096];
  int rc = dd_path_join(path, sizeof path, dir, name, err);
  if (!rc) rc = dd_checkpoint_open(path, out, err);
  if (!rc) rc = dd_checkpoint_verify(*out, err);
  const char *own = rc ? "" : dd_checkpoint_state(*out)->run_id;
  if (!rc && *own && *run_id && strcmp(own, run_id) != 0)
    rc = dd_fail(err, DD_E_CORRUPT, "%s belongs to another run than this directory; move it elsewhere", path);
  if (!rc) return DD_OK;
  dd_checkpoint_close(*out);
  *out = NULL;
  return rc;
}

/* Newest checkpoint that is whole; damaged ones are passed over with a warning, or with --strict not at all. */
static int open_newest(dd_job *j, int strict, dd_checkpoint **out, dd_error *err) {
  const char *dir = dd_rundir_path(j->dir);
  dd_run_file *file;
  size_t n;
  char id[33];
  *out = NULL;
  int rc = dd_run_checkpoints(dir, &file, &n, err);
  if (rc) return rc;
  rc = dd_fail(err, DD_E_USAGE,
               "%s holds no checkpoint to resume from; start the run with --overwrite instead of --resume", dir);
  run_id_of(dir, id);
  for (size_t i = 0; i < n; i++) {
    rc = open_whole(dir, file[i].name, id, out, err);
    if (!rc || strict || rc == DD_E_RUNTIME) break; /* the last is no fault of the file */
    if (i + 1 < n) dd_say(j->cb, DD_WARNING, "%s; trying the checkpoint before it", err->message);
  }
  free(file);
  return rc;
}

/* Schedules, before anything is written: a table that cannot be read, or is not that of the run, stops here. */
static int open_rates(dd_job *j, const dd_checkpoint *c, dd_error *err) {
  dd_settings *s = j->s;
  char full[PATH_MAX];
  /* a resumed run may be started from another directory */
  if (*s->dropout_table && realpath(s->dropout_table, full)) snprintf(s->dropout_table, sizeof full, "%s", full);
  int rc = dd_rates_create(&j->rates, s, err);
  if (!rc) rc = dd_rates_set_callbacks(j->rates, j->cb, err);
  if (rc) return rc;
  if (c && *dd_checkpoint_state(c)->table_hash && *j->rates->table_hash &&
      strcmp(dd_checkpoint_state(c)->table_hash, j->rates->table_hash) != 0)
    return dd_fail(err, DD_E_CORRUPT,
                   "cannot continue: %s is not the table of rates this run was trained with (hash %s, the run has %s); "
                   "restore the file, or start a new run with another --out",
                   s->dropout_table, j->rates->table_hash, dd_checkpoint_state(c)->table_hash);
  j->lr = (dd_lr){.max = s->lr,
                  .min = s->min_lr,
                  .warmup = s->warmup_iters,
                  .decay_iters = s->lr_decay_iters ? s->lr_decay_iters : s->max_iters,
                  .decay = s->decay_lr};
  return DD_OK;
}

/* 128 random bits; where the system has none to give, the time and the process. They decide nothing but the name. */
static void name_run(char id[33]) {
  unsigned char bits[16];
  if (getrandom(bits, sizeof bits, GRND_NONBLOCK) != sizeof bits) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    const uint64_t part[2] = {(uint64_t)now.tv_sec << 30 ^ (uint64_t)now.tv_nsec, (uint64_t)getpid()};
    memcpy(bits, part, sizeof bits);
  }
  dd_hash_hex(bits, sizeof bits, id);
}

int dd_job_begin(dd_job *j, dd_error *err) {
  char run_id[33], init_hash[33]; /* a run that goes back to its beginning is the same run */
  memcpy(run_id, j->state.run_id, sizeof run_id);
  memcpy(init_hash, j->state.init_hash, sizeof init_hash);
  j->state = (dd_run_state){.evaluated = -1,
                            .best_val_loss = INFINITY,
                            .best_iter = -1,
                            .train_loss = INFINITY,
                            .val_loss = INFINITY,
                            .guard = {.anchor = -1}};
  dd_rates_start(j->rates, &j->state.schedule);
  snprintf(j->state.data_hash, sizeof j->state.data_hash, "%s", j->data->hash);
  snprintf(j->state.table_hash, sizeof j->state.table_hash, "%s", j->rates->table_hash);
  snprintf(j->state.run_id, sizeof j->state.run_id, "%s", run_id);
  if (!*run_id) name_run(j->state.run_id);
  memcpy(j->state.init_hash, init_hash, sizeof init_hash);
  j->saved = -1;
  return dd_job_init_weights(j, err);
}

int dd_job_load(dd_job *j, dd_checkpoint *c, dd_error *err) {
  j->state = *dd_checkpoint_state(c);
  dd_rates_resume(j->rates, &j->state.schedule);
  snprintf(j->state.table_hash, sizeof j->state.table_hash, "%s", j->rates->table_hash);
  const int rc = dd_checkpoint_load(c, j->m, err);
  if (rc) return rc;
  if (!*j->state.run_id) name_run(j->state.run_id); /* of before runs had names */
  j->saved = j->state.iter;
  dd_model_set_update(j->m, j->state.guard.updates, j->s->beta1, j->s->beta2);
  return DD_OK;
}

static int start_state(dd_job *j, dd_checkpoint *c, dd_error *err) {
  if (!c) return dd_job_begin(j, err);
  if (dd_checkpoint_state(c)->iter > j->s->max_iters)
    return dd_fail(err, DD_E_USAGE, "the run is at iteration %lld, beyond --max-iters %lld; raise it to go on",
                   (long long)dd_checkpoint_state(c)->iter, (long long)j->s->max_iters);
  if (dd_checkpoint_state(c)->by_hand && !j->library)
    return dd_fail(err, DD_E_USAGE,
                   "the program that trained this run set its %s by hand, so it does not follow from "
                   "the settings: go on with that program",
                   dd_by_hand_name(dd_checkpoint_state(c)->by_hand));
  const int rc = dd_job_load(j, c, err);
  if (rc) return rc;
  j->loaded = j->state.iter;
  if (!j->dir) return DD_OK; /* replay */
  dd_say(j->cb, DD_INFO, "%s %s at iteration %lld", j->s->eval_only ? "evaluating" : "resuming", dd_rundir_path(j->dir),
         (long long)j->state.iter);
  return j->s->eval_only ? DD_OK : dd_metrics_truncate_after(j->dir, j->state.iter - 1, err);
}

static int open_machine(dd_job *j, dd_error *err) {
  int rc = dd_tier_select(j->s->tier, &j->k, j->tier_why, sizeof j->tier_why, err);
  if (!rc) rc = dd_self_test(j->k, err);
  if (rc) return rc;
  j->threads =
      dd_machine_threads_shared(j->s->threads, dd_ranks_sharing(j->ranks), j->threads_why, sizeof j->threads_why);
  if ((rc = team_peak(j->k, j->threads, &j->peak, err))) return rc;
  dd_say(j->cb, DD_INFO, "tier %s (%s), %d threads (%s), FMA peak %.0f GFLOP/s, numerics %d", j->k->tier, j->tier_why,
         j->threads, j->threads_why, j->peak / 1e9, DD_NUMERICS_VERSION);
  if (j->threads > dd_machine_cpus())
    dd_say(j->cb, DD_WARNING, "%d threads share %d processors: slower than %d threads, with the same result",
           j->threads, dd_machine_cpus(), dd_machine_cpus());
  return DD_OK;
}

static int open_data(dd_job *j, const dd_checkpoint *c, dd_error *err) {
  const int named = c || dd_settings_is_set(j->s, DD_SETTING_data);
  const dd_vocab *own = c              ? dd_checkpoint_vocab(c)
                        : j->init      ? dd_import_vocab(j->init)
                        : j->told.size ? &j->told
                                       : NULL;
  const int asked = !c && !j->told.size && (dd_settings_is_set(j->s, DD_SETTING_tokenizer) || *j->s->bpe);
  int rc =
      j->data ? DD_OK : dd_dataset_open_for(&j->data, j->s, named ? j->s->data : NULL, asked ? NULL : own, j->cb, err);
  /* Weights that know what their ids mean get the text in these ids. */
  if (!rc && own && own->kind != DD_VOCAB_NUMBER) rc = dd_dataset_recode(j->data, own, err);
  if (rc && c && j->data) rc = DD_OK; /* not the run's text: said below */
  if (rc) return rc;
  static const int tokenizers[] = {[DD_VOCAB_CHAR] = DD_TOKENIZER_CHAR,
                                   [DD_VOCAB_BYTE] = DD_TOKENIZER_BYTE,
                                   [DD_VOCAB_NUMBER] = DD_TOKENIZER_NUMBER,
                                   [DD_VOCAB_GPT2] = DD_TOKENIZER_GPT2};
  j->s->tokenizer = tokenizers[j->data->vocab.kind];
  dd_settings_resolve_bpe(j->s);
  if (c && strcmp(j->data->hash, dd_checkpoint_state(c)->data_hash) != 0)
    return dd_fail(err, DD_E_CORRUPT,
                   "cannot continue: %s is not the text this run was trained on (hash %s, the run has %s); "
                   "restore the text, or start a new run with another --out",
                   j->data->name, j->data->hash, dd_checkpoint_state(c)->data_hash);
  snprintf(j->s->data, sizeof j->s->data, "%s", j->data->spec);
  if (j->s->train_fraction < 1) j->data->n_train = (int64_t)(j->s->train_fraction * (double)j->data->n_train);
  dd_say(j->cb, DD_INFO, "data %s: %lld training and %lld validation tokens, vocabulary %d", j->data->name,
         (long long)j->data->n_train, (long long)j->data->n_val, j->data->vocab_size);
  if (j->symbols && j->symbols < j->data->vocab_size)
    return dd_fail(err, DD_E_USAGE,
                   "%s has ids up to %d, but the model that --init-from names knows %lld symbols; encode "
                   "the text with the tokenizer of that model",
                   j->data->name, j->data->vocab_size - 1, (long long)j->symbols);
  if (j->init && !own)
    dd_say(j->cb, DD_WARNING, "%.600s does not say what its ids mean: those of %s are taken to mean the same",
           j->s->init_from, j->data->name);
  return check_data(j, err);
}

int dd_job_buffers(dd_job *j, dd_error *err) {
  const dd_model_options o = model_options(j);
  int rc = dd_model_create(&j->m, &o, j->k, j->threads, err);
  if (!rc) rc = dd_evaluator_create(&j->evaluator, j->m, j->cb, err);
  j->evaluator.job = j;
  if (rc) return rc;
  j->idx = malloc((size_t)(o.B * o.T) * sizeof *j->idx);
  j->targets = malloc((size_t)(o.B * o.T) * sizeof *j->targets);
  j->losses = calloc((size_t)o.accumulation, sizeof *j->losses);
  if (!j->idx || !j->targets || !j->losses) return dd_fail(err, DD_E_RUNTIME, "out of memory for a batch");
  return DD_OK;
}

/* Without --out a resume looks where the run that is meant has been written. */
static void find_out(dd_job *j, const dd_settings *given) {
  char full[PATH_MAX]; /* the name that dd_source_open made of it when the run began */
  if (*j->s->out) return;
  default_out(j->s, realpath(j->s->data, full) ? full : j->s->data);
  /* the default job may have found only its stand-in */
  if (!dd_settings_is_set(given, DD_SETTING_data) && !dd_is_dir(j->s->out)) default_out(j->s, "kjv");
}

/* --auto-resume: any checkpoint, even a damaged one, means to continue; what a start without one left is replaced. */
static void decide_resume(const dd_job *j, dd_settings *given) {
  char path[4096];
  if (!dd_is_dir(j->s->out)) return;
  if (dd_run_find_checkpoint(j->s->out, "latest", path, sizeof path, NULL) == DD_E_USAGE) given->overwrite = true;
  else given->resume = true;
}

int dd_job_prepare(dd_job *j, const dd_checkpoint *c, dd_error *err) {
  int rc;
  if ((rc = open_rates(j, c, err)) || (rc = open_machine(j, err)) || (rc = open_data(j, c, err))) return rc;
  return estimate(j, err);
}

static int open_all(dd_job *j, const dd_settings *given, dd_checkpoint **c, dd_error *err) {
  int rc;
  if (given->resume && *given->init_from)
    return dd_fail(err, DD_E_USAGE, "resume and init_from exclude each other: a run that goes on has its own weights");
  if (given->resume) {
    find_out(j, given); /* the run directory first: its checkpoint says what the run is */
    if ((rc = dd_rundir_open(j->s->out, DD_RUN_RESUME, &j->dir, err)) || (rc = open_newest(j, given->strict, c, err)) ||
        (rc = resume_settings(j, given, *c, err)))
      return rc;
  }
  if (*c) j->symbols = dd_checkpoint_shape(*c)->V;
  else if ((rc = dd_job_open_init(j, err))) return rc;
  if ((rc = dd_settings_check(j->s, err)) || (rc = dd_job_prepare(j, *c, err)) || given->dry_run) return rc;
  /* Buffers before the run directory: --overwrite removes a run only when this one can start. */
  if ((rc = dd_job_buffers(j, err)) || (rc = dd_crew_enlist(j, err))) return rc;
  if (given->eval_only || j->in_memory || !*c) rc = start_state(j, *c, err);
  if (rc || given->eval_only || j->in_memory) return rc; /* leaves no trace */
  if (!given->resume) {
    if (!*j->s->out) default_out(j->s, j->data->name);
    const unsigned flags = DD_RUN_CREATE | (given->overwrite ? DD_RUN_OVERWRITE : 0);
    if ((rc = dd_rundir_open(j->s->out, flags, &j->dir, err))) return rc;
  }
  if ((rc = dd_rundir_check_space(j->dir, 2 * dd_checkpoint_bytes(j->m), err)) ||
      (*c && (rc = start_state(j, *c, err))) || (rc = dd_metrics_open(j->dir, &j->metrics, err)))
    return rc;
  if (j->s->tensorboard && (rc = dd_events_open(dd_rundir_path(j->dir), j->loaded, &j->events, err))) return rc;
  dd_say(j->cb, DD_INFO, "run directory %s", dd_rundir_path(j->dir));
  rc = write_config(j, err);
  const dd_saver_options o = {
      .dir = j->dir, .metrics = j->metrics, .m = j->m, .s = j->s, .vocab = &j->data->vocab, .cb = j->cb};
  return rc ? rc : dd_saver_create(&j->saver, &o, err);
}

static int open_replay(dd_job *j, dd_checkpoint *c, const dd_settings *given, dd_error *err) {
  int rc;
  /* What belonged to that call of the program does not belong to this one. */
  for (int i = 0; dd_setting_at(i); i++)
    if (dd_setting_at(i)->use & DD_USE_ONCE) dd_settings_reset(j->s, (enum dd_setting_id)i);
  dd_settings_overlay(j->s, given);
  j->symbols = dd_checkpoint_shape(c)->V;
  if ((rc = dd_settings_check(j->s, err)) || (rc = dd_job_prepare(j, c, err)) || (rc = dd_job_buffers(j, err)))
    return rc;
  return start_state(j, c, err);
}

static int begin(dd_job *j, dd_ranks *ranks, const dd_settings *s, const dd_callbacks *cb, dd_error *err) {
  *j = (dd_job){.ranks = ranks, .given = s, .cb = cb, .saved = -1, .loaded = -1, .until = -1, .hand_lr = NAN};
  for (int i = 0; i < DD_SITES; i++) j->hand_rate[i] = NAN;
  j->s = dd_settings_create();
  if (!j->s) return dd_fail(err, DD_E_RUNTIME, "out of memory for settings");
  *j->s = *s;
  return DD_OK;
}

static int open_job(dd_job *j, const dd_settings *given, dd_error *err) {
  dd_checkpoint *c = NULL;
  int rc = DD_OK;
  dd_settings *decided = NULL;
  if (!rc && given->auto_resume) {
    if ((rc = dd_settings_check(given, err))) return rc;
    decided = dd_settings_create();
    if (!decided) return dd_fail(err, DD_E_RUNTIME, "out of memory for settings");
    *decided = *given;
    char *const out = j->s->out, *const asked = decided->out;
    find_out(j, given);
    decide_resume(j, decided);
    if (decided->resume) dd_settings_reset(decided, DD_SETTING_init_from); /* what it began with */
    if (!decided->resume) memcpy(out, asked, sizeof j->s->out);            /* named after the text that is found */
  }
  if (!rc) rc = open_all(j, decided ? decided : given, &c, err);
  dd_settings_destroy(decided);
  dd_checkpoint_close(c);
  return rc;
}

int dd_job_open(dd_job *j, dd_ranks *ranks, const dd_settings *given, const dd_callbacks *cb, dd_error *err) {
  dd_error local;
  if (!err) err = &local; /* fallback to an older checkpoint reads the message */
  const int rc = begin(j, ranks, given, cb, err);
  if (rc || !dd_ranks_rank(ranks)) return rc ? rc : open_job(j, given, err);
  dd_settings_destroy(j->s); /* it is rank 0's that count */
  j->s = dd_settings_create();
  return j->s ? dd_crew_open(j, given, err) : dd_fail(err, DD_E_RUNTIME, "out of memory for settings");
}

int dd_job_open_library(dd_job *j, const dd_settings *given, dd_dataset *data, const dd_callbacks *cb, dd_error *err) {
  dd_error local;
  if (!err) err = &local;
  const int rc = begin(j, NULL, given, cb, err);
  j->data = data;
  j->library = 1;
  j->in_memory = !*given->out;
  return rc ? rc : open_job(j, given, err);
}

int dd_job_open_replay(dd_job *j, dd_checkpoint *c, const dd_settings *of_run, const dd_settings *given,
                       const dd_callbacks *cb, dd_error *err) {
  const int rc = begin(j, NULL, of_run, cb, err);
  return rc ? rc : open_replay(j, c, given, err);
}

/* The queue first, so that records stay in order. Stops where writing fails. */
static int write_records(dd_job *j, dd_error *err) {
  int rc = DD_OK;
  while (json_array_size(j->unlogged) > 0 && !rc) {
    rc = dd_metrics_append(j->metrics, json_array_get(j->unlogged, 0), err);
    if (!rc) json_array_remove(j->unlogged, 0);
  }
  return rc;
}

int dd_job_log(dd_job *j, json_t *record, dd_error *err) {
  if (!record || (!j->unlogged && !(j->unlogged = json_array())) || json_array_append(j->unlogged, record)) {
    json_decref(record);
    return dd_fail(err, DD_E_RUNTIME, "out of memory for a record of metrics.jsonl");
  }
  dd_events_log(j->events, record, j->cb);
  json_decref(record);
  dd_error e;
  const int rc = write_records(j, &e);
  if (rc && !j->log_failed.code) {
    j->log_failed = e;
    dd_say(j->cb, DD_WARNING, "%s; training goes on, the records are kept and written when they can be", e.message);
  }
  return rc == DD_E_RUNTIME ? dd_fail(err, DD_E_RUNTIME, "%s", e.message) : DD_OK;
}

/* Metrics to the disk, or what of them is lost. */
static int close_metrics(dd_job *j, dd_error *err) {
  if (j->metrics) write_records(j, NULL);
  const size_t lost = json_array_size(j->unlogged);
  json_decref(j->unlogged);
  const int rc = dd_metrics_close(j->metrics, err);
  if (rc || !j->log_failed.code) return rc;
  if (lost)
    return dd_fail(err, DD_E_IO,
                   "%zu records are missing at the end of metrics.jsonl (%.600s); the checkpoints are "
                   "not affected, a resume writes them again",
                   lost, j->log_failed.message);
  return dd_fail(err, DD_E_IO,
                 "metrics.jsonl is complete, but not at the first attempt (%.600s); check the disk "
                 "before the next run",
                 j->log_failed.message);
}

int dd_job_close(dd_job *j, dd_error *err) {
  dd_error e;
  int rc = dd_saver_close(j->saver, err); /* before what it reads */
  const int rc_metrics = close_metrics(j, &e);
  if (!rc && rc_metrics) rc = dd_fail(err, e.code, "%s", e.message);
  const int rc_events = dd_events_close(j->events, &e);
  if (!rc && rc_events) rc = dd_fail(err, e.code, "%s", e.message);
  dd_evaluator_destroy(&j->evaluator);
  free(j->idx);
  free(j->targets);
  free(j->losses);
  dd_model_destroy(j->m);
  dd_import_close(j->init);
  dd_dataset_close(j->data);
  dd_vocab_free(&j->told);
  dd_rates_destroy(j->rates);
  dd_rundir_close(j->dir);
  dd_settings_destroy(j->s);
  return rc;
}

void dd_job_save(dd_job *j) {
  dd_run_state st = j->state;
  st.elapsed_s += dd_now() - j->started;
  dd_saver_save(j->saver, &st);
  j->saved = st.iter;
}

int64_t dd_job_durable(dd_job *j, dd_error *why) {
  if (why) *why = (dd_error){.code = DD_OK};
  const int64_t iter = j->saver ? dd_saver_wait(j->saver, why) : -1;
  return iter >= 0 ? iter : j->loaded;
}
