/* `dd-cpu verify`: is everything in a run directory, or one checkpoint, what was written? */
#include "run/verify.h"
#include "core/file.h"
#include "core/machine.h"
#include "model/safetensors.h"
#include "run/checkpoint.h"
#include "run/corpus.h"
#include "run/dataset.h"
#include "run/tokenizer.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_METRICS ((size_t)1 << 32)

typedef struct verifier {
  const dd_settings *s;
  const dd_callbacks *cb;
  dd_verify_result *r;
  const char *dir; /* NULL: one checkpoint */
  dd_run_file *file;
  size_t n;
  char *good;          /* [n] whether that checkpoint is */
  json_t *fingerprint; /* of good checkpoints, by iteration */
  dd_checkpoint *newest; /* the newest good one */
  char run_id[33];     /* of config.json */
  char first[600];     /* the first thing that is wrong */
} verifier;

static void tell(verifier *v, const char *file, dd_check_state state, const char *fmt, ...) DD_PRINTF(4, 5);
static void tell(verifier *v, const char *file, dd_check_state state, const char *fmt, ...) {
  char text[1024];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  v->r->files++;
  v->r->bad += state == DD_CHECK_BAD;
  if (state == DD_CHECK_BAD && !*v->first) snprintf(v->first, sizeof v->first, "%.60s: %.500s", file, text);
  if (v->cb && v->cb->check) v->cb->check(v->cb->user, &(dd_check_record){.file = file, .state = state, .text = text});
}

/* ---- checkpoints ---- */

/* Another version's checkpoint: its bytes can be checked, its meaning not. *version: INT64_MIN when it says none. */
static int check_bytes(const char *path, int64_t *version, dd_error *err) {
  dd_st *st;
  int rc = dd_st_open(path, &st, err);
  if (rc) return rc;
  const char *text = dd_st_meta(st, "numerics_version");
  *version = text ? strtoll(text, NULL, 10) : INT64_MIN;
  if (text && *version != DD_NUMERICS_VERSION) rc = dd_st_verify(st, err);
  dd_st_close(st);
  return rc;
}

/* i: its place in v->file, or -1 for one that stands alone. Only a lack of memory is an error. */
static int check_checkpoint(verifier *v, const char *path, const char *name, int64_t i, dd_error *err) {
  dd_error why;
  dd_checkpoint *c = NULL;
  int64_t version;
  int rc = check_bytes(path, &version, &why), there = 1;
  if (!rc && version != INT64_MIN && version != DD_NUMERICS_VERSION) {
    tell(v, name, DD_CHECK_NOTE, "whole, but of numerics version %lld: this program, of version %d, cannot continue it",
         (long long)version, DD_NUMERICS_VERSION);
    if (i >= 0) v->good[i] = 1;
    return DD_OK;
  }
  if (!rc) rc = dd_checkpoint_open(path, &c, &why);
  if (!rc) rc = dd_checkpoint_verify(c, &why);
  const dd_run_state *st = c ? dd_checkpoint_state(c) : NULL;
  if (!rc && i >= 0 && st->iter != v->file[i].iter)
    rc = dd_fail(&why, DD_E_CORRUPT, "it is the checkpoint of iteration %lld under another name", (long long)st->iter);
  if (!rc && *st->run_id && *v->run_id && strcmp(st->run_id, v->run_id) != 0)
    rc = dd_fail(&why, DD_E_CORRUPT, "it belongs to another run (%.8s, config.json says %.8s)", st->run_id, v->run_id);
  if (rc == DD_E_RUNTIME) {
    dd_checkpoint_close(c);
    return dd_fail(err, DD_E_RUNTIME, "%s", why.message);
  }
  if (rc == DD_E_IO && i >= 0 && !dd_file_exists(path, &there, NULL) && !there) {
    tell(v, name, DD_CHECK_NOTE, "gone in the meantime: the run is training and removes older checkpoints");
  } else if (rc) {
    tell(v, name, DD_CHECK_BAD, "%s", why.message);
  } else {
    const dd_shape *p = dd_checkpoint_shape(c);
    char loss[48] = "no evaluation yet";
    if (st->evaluated >= 0) snprintf(loss, sizeof loss, "val loss %.4f", st->val_loss);
    tell(v, name, DD_CHECK_GOOD, "iteration %lld, %lld layers of %lld channels, %s, fingerprint %s",
         (long long)st->iter, (long long)p->L, (long long)p->C, loss, dd_checkpoint_fingerprint(c));
    char key[32];
    snprintf(key, sizeof key, "%lld", (long long)st->iter);
    json_object_set_new(v->fingerprint, key, json_string(dd_checkpoint_fingerprint(c)));
    if (i >= 0) v->good[i] = 1;
  }
  if (!rc && !v->newest) v->newest = c;
  else dd_checkpoint_close(c);
  return DD_OK;
}

/* ---- config.json ---- */

static void check_config(verifier *v) {
  json_t *o = NULL;
  dd_error why;
  dd_settings *s = dd_settings_create();
  int rc = dd_run_config_read(v->dir, &o, &why);
  const json_t *settings = json_object_get(o, "settings"), *version = json_object_get(o, "numerics_version");
  const char *id = json_string_value(json_object_get(o, "run_id"));
  if (id) snprintf(v->run_id, sizeof v->run_id, "%s", id);
  if (!rc && (!json_is_object(settings) || !json_is_integer(version)))
    rc = dd_fail(&why, DD_E_CORRUPT, "it lacks the settings or the numerics version");
  if (!rc && s && json_integer_value(version) == DD_NUMERICS_VERSION) rc = dd_settings_from_json(s, settings, &why);
  if (rc) tell(v, "config.json", DD_CHECK_BAD, "%s", why.message);
  else if (json_integer_value(version) != DD_NUMERICS_VERSION)
    tell(v, "config.json", DD_CHECK_NOTE, "numerics version %lld; this program has version %d",
         (long long)json_integer_value(version), DD_NUMERICS_VERSION);
  else tell(v, "config.json", DD_CHECK_GOOD, "run %.8s, numerics version %d", id ? id : "without a name",
            DD_NUMERICS_VERSION);
  json_decref(o);
  dd_settings_destroy(s);
}

/* ---- metrics.jsonl ---- */

typedef struct lines {
  long long n, evals, agree; /* lines, evaluations, those of iterations that have a checkpoint */
  double iter;               /* of the last record that has one */
  int torn;
  char wrong[300];
} lines;

static void check_line(const verifier *v, lines *l, const char *text, size_t n) {
  json_t *o = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);
  const json_t *iter = json_object_get(o, "iter");
  const double it = json_is_integer(iter) ? (double)json_integer_value(iter) : l->iter;
  l->n++;
  if (!json_is_object(o)) snprintf(l->wrong, sizeof l->wrong, "line %lld is no JSON object", l->n);
  else if (iter && !json_is_integer(iter)) snprintf(l->wrong, sizeof l->wrong, "line %lld: iter is no integer", l->n);
  else if (it < l->iter)
    snprintf(l->wrong, sizeof l->wrong, "line %lld is of iteration %.0f, the one before of %.0f", l->n, it, l->iter);
  l->iter = it;
  const char *type = json_string_value(json_object_get(o, "type"));
  if (type && strcmp(type, "eval") == 0) {
    char key[32];
    snprintf(key, sizeof key, "%.0f", it);
    const char *got = json_string_value(json_object_get(o, "fingerprint"));
    const char *want = json_string_value(json_object_get(v->fingerprint, key));
    l->evals++;
    l->agree += want != NULL;
    if (want && !*l->wrong && (!got || strcmp(got, want) != 0))
      snprintf(l->wrong, sizeof l->wrong, "line %lld: the evaluation of iteration %s is not of the weights in its "
               "checkpoint (%.40s)", l->n, key, want);
  }
  json_decref(o);
}

static int check_metrics(verifier *v, dd_error *err) {
  char path[4096], *text = NULL;
  size_t n = 0;
  dd_error why;
  lines l = {.iter = -1};
  int there = 1, rc = dd_path_join(path, sizeof path, v->dir, DD_RUN_METRICS, &why);
  if (!rc) rc = dd_file_exists(path, &there, &why);
  if (!rc && !there) rc = dd_fail(&why, DD_E_CORRUPT, "it is missing");
  if (!rc) rc = dd_file_read_all(path, MAX_METRICS, &text, &n, &why);
  if (rc == DD_E_RUNTIME) return dd_fail(err, DD_E_RUNTIME, "%s", why.message);
  if (rc) {
    tell(v, DD_RUN_METRICS, DD_CHECK_BAD, "%s", why.message);
    return DD_OK;
  }
  for (size_t at = 0; at < n && !*l.wrong;) {
    const char *end = memchr(text + at, '\n', n - at);
    if (!end) {
      l.torn = 1;
      break;
    }
    check_line(v, &l, text + at, (size_t)(end - (text + at)));
    at = (size_t)(end - text) + 1;
  }
  free(text);
  if (*l.wrong) tell(v, DD_RUN_METRICS, DD_CHECK_BAD, "%s", l.wrong);
  else
    tell(v, DD_RUN_METRICS, l.torn ? DD_CHECK_NOTE : DD_CHECK_GOOD,
         "%lld records to iteration %.0f, %lld evaluations, of which %lld agree with a checkpoint%s", l.n,
         l.iter < 0 ? 0 : l.iter, l.evals, l.agree,
         l.torn ? "; the last line is torn: the run was interrupted there, a resume takes it back" : "");
  return DD_OK;
}

/* ---- pointers ---- */

static void check_pointer(verifier *v, const char *which) {
  char name[64] = "";
  int64_t iter;
  dd_error why;
  size_t i = 0;
  if (dd_run_pointer(v->dir, which, name, &iter, &why)) {
    tell(v, which, DD_CHECK_BAD, "%s", why.message);
    return;
  }
  if (iter < 0) { /* a run that never got better than it began has no best */
    if (v->n && strcmp(which, "latest") == 0)
      tell(v, which, DD_CHECK_NOTE, "not there; a resume takes the newest checkpoint");
    return;
  }
  while (i < v->n && strcmp(v->file[i].name, name) != 0) i++;
  if (i == v->n) tell(v, which, DD_CHECK_BAD, "it names %s, which is not there", name);
  else if (!v->good[i]) tell(v, which, DD_CHECK_BAD, "it names %s, which is damaged", name);
  else if (i > 0 && v->file[0].iter != iter && strcmp(which, "latest") == 0)
    tell(v, which, DD_CHECK_NOTE, "%s; there is a newer checkpoint, of iteration %lld", name,
         (long long)v->file[0].iter);
  else tell(v, which, DD_CHECK_GOOD, "%s", name);
}

/* ---- data ---- */

/* Can this text be had without fetching it from elsewhere? */
static int at_hand(const char *spec) {
  const dd_corpus *c = dd_corpus_find(spec);
  char dir[4096], path[4352];
  if (!c) return dd_is_file(spec) || dd_is_dir(spec);
  if (c->variable[0] && getenv(c->variable)) return 1;
  if (!c->urls[0]) return 1; /* printed by a program */
  if (dd_corpus_cache_dir(dir, sizeof dir)) return 0;
  snprintf(path, sizeof path, "%s/%s", dir, c->name);
  return dd_is_file(path);
}

static int check_data(verifier *v, dd_error *err) {
  const int given = dd_settings_is_set(v->s, DD_SETTING_data);
  const dd_settings *own = dd_checkpoint_settings(v->newest);
  const char *spec = given ? v->s->data : own->data, *want = dd_checkpoint_state(v->newest)->data_hash;
  dd_error why;
  dd_dataset *d = NULL;
  if (!given && !at_hand(spec)) {
    tell(v, "data", DD_CHECK_NOTE, "not checked: %.300s is not on this machine; name the text with --data", spec);
    return DD_OK;
  }
  const int rc = dd_dataset_open_for(&d, v->s, spec, dd_checkpoint_vocab(v->newest), v->cb, &why);
  if (!rc) dd_dataset_recode(d, dd_checkpoint_vocab(v->newest), NULL); /* where that fails, the hashes differ */
  if (rc == DD_E_RUNTIME || (rc && given)) return dd_fail(err, (dd_status)rc, "%s", why.message);
  if (rc) tell(v, "data", DD_CHECK_NOTE, "not checked: %s", why.message);
  else if (strcmp(d->hash, want) != 0)
    tell(v, "data", DD_CHECK_BAD, "%.300s is not the text the run was trained on (hash %s, the run has %s)", spec,
         d->hash, want);
  else tell(v, "data", DD_CHECK_GOOD, "%s, %lld training and %lld validation tokens, hash %s", d->name,
            (long long)d->n_train, (long long)d->n_val, d->hash);
  dd_dataset_close(d);
  return DD_OK;
}

/* ---- all of it ---- */

static int replay(verifier *v, const int64_t range[2], dd_error *err) {
  const char *name[2] = {NULL, NULL};
  char text[512] = "";
  for (int k = 0; k < 2; k++)
    for (size_t i = 0; i < v->n; i++)
      if (v->file[i].iter == range[k] && v->good[i]) name[k] = v->file[i].name;
  if (!name[0] || !name[1]) {
    tell(v, "replay", DD_CHECK_BAD, "not possible: the checkpoint of iteration %lld is damaged",
         (long long)range[name[0] ? 1 : 0]);
    return DD_OK;
  }
  const int rc = dd_replay(v->dir, name[0], name[1], v->s, v->cb, text, err);
  if (rc && rc != DD_E_DIVERGED) return rc;
  v->r->from = range[0];
  v->r->to = range[1];
  tell(v, "replay", rc ? DD_CHECK_BAD : DD_CHECK_GOOD, "%s", text);
  return DD_OK;
}

static int check_run(verifier *v, dd_error *err) {
  int64_t range[2] = {-1, -1};
  int rc = dd_run_checkpoints(v->dir, &v->file, &v->n, err);
  if (rc) return rc;
  if (*v->s->replay && (rc = dd_replay_range(v->s->replay, v->file, v->n, range, err))) return rc;
  v->good = calloc(v->n + 1, 1);
  if (!v->good) return dd_fail(err, DD_E_RUNTIME, "out of memory while verifying %.600s", v->dir);
  check_config(v);
  for (size_t i = 0; i < v->n && !rc; i++) {
    char path[4096];
    if (v->cb && v->cb->phase) v->cb->phase(v->cb->user, "verify", (int64_t)i, (int64_t)v->n);
    if (v->cb && v->cb->should_stop && v->cb->should_stop(v->cb->user) == 1)
      return dd_fail(err, DD_E_STOPPED, "stopped on request");
    rc = dd_path_join(path, sizeof path, v->dir, v->file[i].name, err);
    if (!rc) rc = check_checkpoint(v, path, v->file[i].name, (int64_t)i, err);
  }
  if (v->cb && v->cb->phase) v->cb->phase(v->cb->user, "verify", (int64_t)v->n, (int64_t)v->n);
  if (!rc) rc = check_metrics(v, err);
  if (rc) return rc;
  if (!v->n) tell(v, "checkpoints", DD_CHECK_NOTE, "there is none yet");
  check_pointer(v, "latest");
  check_pointer(v, "best");
  if (v->newest) rc = check_data(v, err);
  return !rc && range[1] >= 0 ? replay(v, range, err) : rc;
}

static int check_one(verifier *v, const char *path, dd_error *err) {
  if (*v->s->replay)
    return dd_fail(err, DD_E_USAGE, "replay needs the run directory, %.600s is a checkpoint", path);
  const char *base = strrchr(path, '/');
  const int rc = check_checkpoint(v, path, base ? base + 1 : path, -1, err);
  return rc || !v->newest ? rc : check_data(v, err);
}

int dd_verify(const dd_settings *s, const dd_callbacks *cb, dd_verify_result *out, dd_error *err) {
  dd_verify_result r = {.from = -1, .to = -1};
  verifier v = {.s = s, .cb = cb, .r = &r, .fingerprint = json_object()};
  const double t0 = dd_now();
  int rc;
  snprintf(r.path, sizeof r.path, "%s", s->run);
  if (!v.fingerprint) rc = dd_fail(err, DD_E_RUNTIME, "out of memory while verifying %.600s", s->run);
  else if (!*s->run) rc = dd_fail(err, DD_E_USAGE, "nothing to verify: give a run directory or a checkpoint");
  else if (dd_is_dir(s->run)) {
    v.dir = s->run;
    rc = check_run(&v, err);
  } else {
    char path[4096];
    rc = dd_run_find_checkpoint(s->run, "latest", path, sizeof path, err);
    if (!rc) rc = check_one(&v, path, err);
  }
  if (!rc && r.bad)
    rc = dd_fail(err, DD_E_CORRUPT, "%lld of %lld checks of %.400s failed; the first: %s", (long long)r.bad,
                 (long long)r.files, s->run, v.first);
  dd_checkpoint_close(v.newest);
  json_decref(v.fingerprint);
  free(v.file);
  free(v.good);
  r.seconds = dd_now() - t0;
  if (out) *out = r;
  return rc;
}
