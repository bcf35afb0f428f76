/* inspect: what dd-cpu writes itself, other safetensors files, JSON. */
#include "core/file.h"
#include "core/json.h"
#include "model/safetensors.h"
#include "run/checkpoint.h"
#include "run/inspect.h"
#include "run/rundir.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_JSON = 1 << 22, MAX_ELEMENTS = 1 << 17 };
#define MAX_METRICS ((size_t)1 << 32)

/* ---- settings ---- */

/* Those that differ from the preset's. */
static void tell_changed(dd_facts *f, const dd_settings *s) {
  dd_settings *plain = dd_settings_create();
  json_t *ours = dd_settings_to_json(s), *theirs = NULL, *changed = json_object(), *v;
  const char *preset = dd_settings_choice(s, DD_SETTING_preset), *key;
  if (plain && !dd_settings_set(plain, "preset", preset, NULL)) theirs = dd_settings_to_json(plain);
  dd_fact_text(f, "preset", "%s", preset);
  if (!ours || !theirs || !changed) f->failed = true;
  json_object_foreach(theirs ? ours : NULL, key, v) {
    const dd_setting *d = dd_setting_find(key);
    const bool matters = d && (d->use & DD_USE_TRAIN) && !(d->use & DD_USE_ONCE) && !dd_setting_is_harmless(d->id);
    if (matters && !json_equal(v, json_object_get(theirs, key)) && json_object_set(changed, key, v)) f->failed = true;
  }
  if (json_object_size(changed)) dd_fact(f, "changed", json_incref(changed));
  json_decref(ours);
  json_decref(theirs);
  json_decref(changed);
  dd_settings_destroy(plain);
}

/* Members of a config.json other than the settings. */
static void tell_config_head(dd_facts *f, const json_t *config) {
  static const char *const keys[] = {"version", "numerics_version", "run_id", "data", "machine"};
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    json_t *v = json_object_get(config, keys[i]);
    if (v) dd_fact(f, keys[i], json_incref(v));
  }
}

static int tell_config_settings(dd_facts *f, const json_t *config, const char *path, dd_error *err) {
  dd_settings *s = dd_settings_create();
  if (!s) return dd_fail(err, DD_E_RUNTIME, "out of memory while reading %.700s", path);
  int rc = dd_settings_from_json(s, json_object_get(config, "settings"), err);
  if (rc) dd_fail_prefix(err, "%.300s: ", path);
  else tell_changed(f, s);
  dd_settings_destroy(s);
  return rc ? DD_E_CORRUPT : DD_OK;
}

/* ---- JSON ---- */

static int read_json(const char *path, json_t **out, dd_error *err) {
  char *text;
  size_t size;
  dd_json_fault fault;
  int rc = dd_file_read_all(path, MAX_JSON, &text, &size, err);
  if (rc) return rc;
  rc = dd_json_parse(text, size, MAX_ELEMENTS, out, &fault);
  free(text);
  if (rc == DD_E_RUNTIME) return dd_fail(err, DD_E_RUNTIME, "out of memory while reading %.700s", path);
  return rc ? dd_fail(err, DD_E_CORRUPT, "%.700s is damaged: line %d %s", path, fault.line, fault.what) : DD_OK;
}

int dd_is_json(const dd_probe *p) {
  const char *head = (const char *)p->head;
  return !p->is_directory && head[strspn(head, " \t\r\n")] == '{' && dd_probe_ends(p, ".json");
}

int dd_tell_json(const dd_probe *p, dd_facts *f, const dd_callbacks *cb, dd_error *err) {
  json_t *o, *v;
  const char *key;
  (void)cb;
  const int rc = read_json(p->path, &o, err);
  if (rc) return rc;
  json_object_foreach(o, key, v) {
    if (json_is_object(v)) dd_fact_text(f, key, "object of %zu", json_object_size(v));
    else if (json_is_array(v)) dd_fact_text(f, key, "list of %zu", json_array_size(v));
    else dd_fact(f, key, json_incref(v));
  }
  json_decref(o);
  return DD_OK;
}

int dd_is_config(const dd_probe *p) {
  return dd_is_json(p) && dd_probe_holds(p, "\"dd-cpu\"") && dd_probe_holds(p, "\"settings\"");
}

int dd_tell_config(const dd_probe *p, dd_facts *f, const dd_callbacks *cb, dd_error *err) {
  json_t *o;
  (void)cb;
  int rc = read_json(p->path, &o, err);
  if (rc) return rc;
  tell_config_head(f, o);
  rc = tell_config_settings(f, o, p->path, err);
  json_decref(o);
  return rc;
}

/* ---- metrics ---- */

int dd_is_metrics(const dd_probe *p) {
  return !p->is_directory && p->head[0] == '{' && dd_probe_ends(p, ".jsonl") && dd_probe_holds(p, "\"type\"");
}

typedef struct summary {
  json_t *count;                /* records by type */
  json_t *step, *eval, *config; /* the last of each */
  int64_t lines, damaged, first, last;
} summary;

static void keep(json_t **place, json_t *o) {
  json_decref(*place);
  *place = json_incref(o);
}

static int add_record(summary *m, json_t *o) {
  const char *type = json_string_value(json_object_get(o, "type"));
  const json_t *iter = json_object_get(o, "iter");
  if (!type) type = "other";
  if (json_object_set_new(m->count, type, json_integer(json_integer_value(json_object_get(m->count, type)) + 1)))
    return DD_E_RUNTIME;
  if (!strcmp(type, "step")) keep(&m->step, o);
  if (!strcmp(type, "eval")) keep(&m->eval, o);
  if (!strcmp(type, "config")) keep(&m->config, o);
  if (!json_is_integer(iter)) return DD_OK;
  if (m->first < 0) m->first = json_integer_value(iter);
  m->last = json_integer_value(iter);
  return DD_OK;
}

static int summarize(summary *m, const char *path, const dd_callbacks *cb, dd_error *err) {
  char *text;
  size_t size;
  int rc = dd_file_read_polled(path, MAX_METRICS, cb, &text, &size, err);
  for (size_t at = 0, n; !rc && at < size; at += n + 1) {
    json_t *o;
    const char *feed = memchr(text + at, '\n', size - at);
    n = feed ? (size_t)(feed - text) - at : size - at;
    m->lines++;
    int one = dd_json_parse(text + at, n, 65536, &o, NULL);
    if (!one) {
      one = add_record(m, o);
      json_decref(o);
    } else if (one != DD_E_RUNTIME) m->damaged++;
    if (one == DD_E_RUNTIME) rc = dd_fail(err, DD_E_RUNTIME, "out of memory while reading %.700s", path);
    if (!rc && m->lines % 65536 == 0) rc = dd_check_stop(cb, "reading", path, err);
  }
  free(text);
  return rc;
}

/* Members of a record under names of their own. */
static void copy_members(dd_facts *f, const json_t *record, const char *const (*names)[2], size_t n) {
  for (size_t i = 0; i < n; i++) {
    json_t *v = json_object_get(record, names[i][0]);
    if (v) dd_fact(f, names[i][1], json_incref(v));
  }
}

int dd_tell_metrics(const dd_probe *p, dd_facts *f, const dd_callbacks *cb, dd_error *err) {
  static const char *const of_step[][2] = {{"loss", "last loss"}, {"tokens_per_s", "tokens/s"}};
  static const char *const of_eval[][2] = {{"train_loss", "train loss"},
                                           {"val_loss", "val loss"},
                                           {"best_val_loss", "best val loss"},
                                           {"best_iter", "best at"},
                                           {"fingerprint", "fingerprint"}};
  summary m = {.count = json_object(), .first = -1};
  int rc = m.count ? summarize(&m, p->path, cb, err)
                   : dd_fail(err, DD_E_RUNTIME, "out of memory while reading %.700s", p->path);
  if (!rc) {
    dd_fact_int(f, "lines", m.lines);
    if (m.damaged) dd_fact_int(f, "damaged lines", m.damaged);
    dd_fact(f, "records", json_incref(m.count));
    if (m.first >= 0) dd_fact_text(f, "iterations", "%lld to %lld", (long long)m.first, (long long)m.last);
    copy_members(f, m.step, of_step, sizeof of_step / sizeof *of_step);
    copy_members(f, m.eval, of_eval, sizeof of_eval / sizeof *of_eval);
    if (m.config) tell_config_head(f, m.config);
  }
  json_decref(m.count);
  json_decref(m.step);
  json_decref(m.eval);
  json_decref(m.config);
  return rc;
}

/* ---- checkpoints and other safetensors ---- */

int dd_is_safetensors(const dd_probe *p) {
  return p->n_head > 9 && p->head[8] == '{' && !p->head[5] && !p->head[6] && !p->head[7];
}

int dd_is_checkpoint(const dd_probe *p) {
  dd_st *st;
  const int rc = dd_is_safetensors(p) ? dd_st_open(p->path, &st, NULL) : DD_E_CORRUPT;
  if (rc) return rc == DD_E_RUNTIME; /* out of memory: opening it again tells that */
  const char *format = dd_st_meta(st, "format");
  const int is = format && !strncmp(format, "dd-cpu checkpoint", 17);
  dd_st_close(st);
  return is;
}

static json_t *shape_text(const dd_tensor_info *t) {
  char text[128] = "scalar";
  for (int k = 0, n = 0; k < t->ndim; k++)
    n += snprintf(text + n, sizeof text - (size_t)n, "%s%lld", k ? " x " : "", (long long)t->shape[k]);
  return json_string(text);
}

int dd_tell_safetensors(const dd_probe *p, dd_facts *f, const dd_callbacks *cb, dd_error *err) {
  dd_st *st;
  (void)cb;
  const int rc = dd_st_open(p->path, &st, err);
  if (rc) return rc;
  json_t *tensors = json_array(), *meta = json_object(), *v;
  int64_t elements = 0, bytes = 0;
  const char *key;
  for (size_t i = 0; i < dd_st_count(st); i++) {
    const dd_tensor_info *t = dd_st_at(st, i);
    const int64_t size = (int64_t)(t->end - t->begin);
    elements += size / (int64_t)dd_dtype_size(t->dtype);
    bytes += size;
    if (json_array_append_new(tensors, json_pack("{s:s, s:s, s:o}", "tensor", t->name, "type",
                                                 dd_dtype_name(t->dtype), "shape", shape_text(t))))
      f->failed = true;
  }
  json_object_foreach((json_t *)dd_st_metadata(st), key, v) {
    const size_t n = json_string_length(v);
    if (json_object_set_new(meta, key, n <= 400 ? json_incref(v) : json_sprintf("(%zu bytes)", n))) f->failed = true;
  }
  dd_fact_int(f, "bytes", (int64_t)p->size);
  dd_fact_int(f, "elements", elements);
  dd_fact_int(f, "bytes of tensors", bytes);
  dd_fact_text(f, "hashes", "%s", dd_st_is_foreign(st) ? "none" : "of every tensor, not checked here");
  if (json_object_size(meta)) dd_fact(f, "metadata", json_incref(meta));
  json_decref(meta);
  dd_fact(f, "tensors", tensors);
  dd_st_close(st);
  return DD_OK;
}

static void tell_shape(dd_facts *f, const dd_shape *s) {
  dd_layout l;
  dd_fact(f, "model", json_pack("{s:I, s:I, s:I, s:I, s:b}", "layers", (json_int_t)s->L, "heads", (json_int_t)s->H,
                                "channels", (json_int_t)s->C, "context", (json_int_t)s->S, "bias", s->bias));
  if (dd_layout_create(&l, s, NULL)) {
    f->failed = true;
    return;
  }
  dd_fact_int(f, "parameters", l.parameters);
  dd_layout_destroy(&l);
}

static void tell_state(dd_facts *f, const dd_checkpoint *c) {
  const dd_run_state *st = dd_checkpoint_state(c);
  dd_fact_int(f, "iteration", st->iter);
  dd_fact_int(f, "of", dd_checkpoint_settings(c)->max_iters);
  if (st->evaluated >= 0) {
    dd_fact_int(f, "evaluated at", st->evaluated);
    dd_fact_real(f, "train loss", st->train_loss);
    dd_fact_real(f, "val loss", st->val_loss);
    dd_fact_real(f, "best val loss", st->best_val_loss);
    dd_fact_int(f, "best at", st->best_iter);
  }
  dd_fact_text(f, "fingerprint", "%s", dd_checkpoint_fingerprint(c));
}

int dd_tell_checkpoint(const dd_probe *p, dd_facts *f, const dd_callbacks *cb, dd_error *err) {
  dd_checkpoint *c;
  (void)cb;
  const int rc = dd_checkpoint_open(p->path, &c, err);
  if (rc) return rc;
  const dd_run_state *st = dd_checkpoint_state(c);
  tell_state(f, c);
  tell_shape(f, dd_checkpoint_shape(c));
  dd_fact_vocab(f, dd_checkpoint_vocab(c));
  dd_fact_text(f, "data", "%s", dd_checkpoint_settings(c)->data);
  dd_fact_text(f, "data hash", "%s", st->data_hash);
  if (*st->run_id) dd_fact_text(f, "run id", "%s", st->run_id);
  tell_changed(f, dd_checkpoint_settings(c));
  dd_fact_int(f, "bytes", (int64_t)p->size);
  dd_checkpoint_close(c);
  return DD_OK;
}

/* ---- run directories ---- */

static bool has_file(const char *dir, const char *name) {
  char path[4200];
  return !dd_path_join(path, sizeof path, dir, name, NULL) && dd_is_file(path);
}

int dd_is_run(const dd_probe *p) {
  return p->is_directory && (has_file(p->path, "config.json") || has_file(p->path, DD_RUN_METRICS)) &&
         (has_file(p->path, DD_RUN_METRICS) || has_file(p->path, "latest") || has_file(p->path, "run.lock"));
}

static int tell_checkpoints(const dd_probe *p, dd_facts *f, dd_error *err) {
  dd_run_file *file;
  size_t n;
  char best[64] = "", latest[64] = "", path[4200];
  int64_t iter;
  dd_error why = {0};
  int rc = dd_run_checkpoints(p->path, &file, &n, err);
  if (rc) return rc;
  if (dd_run_pointer(p->path, "best", best, &iter, &why) == DD_E_RUNTIME ||
      dd_run_pointer(p->path, "latest", latest, &iter, &why) == DD_E_RUNTIME)
    rc = dd_fail(err, DD_E_RUNTIME, "%s", why.message);
  json_t *table = json_array();
  for (size_t i = 0; !rc && i < n; i++) {
    dd_checkpoint *c = NULL;
    const bool is_best = !strcmp(file[i].name, best), is_latest = !strcmp(file[i].name, latest);
    int one = dd_path_join(path, sizeof path, p->path, file[i].name, &why);
    if (!one) one = dd_checkpoint_open(path, &c, &why);
    if (one == DD_E_RUNTIME) rc = dd_fail(err, DD_E_RUNTIME, "%s", why.message); /* says nothing about the file */
    if (!one && i == 0) {
      tell_state(f, c);
      tell_shape(f, dd_checkpoint_shape(c));
      dd_fact_vocab(f, dd_checkpoint_vocab(c));
    }
    if (json_array_append_new(table, json_pack("{s:I, s:s, s:s}", "iteration", (json_int_t)file[i].iter, "checkpoint",
                                               file[i].name, "is",
                                               one                    ? "not readable: see dd-cpu verify"
                                               : is_best && is_latest ? "best, latest"
                                               : is_best              ? "best"
                                               : is_latest            ? "latest"
                                                                      : "")))
      f->failed = true;
    dd_checkpoint_close(c);
  }
  if (n && !rc) dd_fact(f, "checkpoints", table);
  else json_decref(table);
  free(file);
  return rc;
}

int dd_tell_run(const dd_probe *p, dd_facts *f, const dd_callbacks *cb, dd_error *err) {
  json_t *config = NULL;
  (void)cb;
  int rc = has_file(p->path, "config.json") ? dd_run_config_read(p->path, &config, err) : DD_OK;
  if (!rc) rc = tell_checkpoints(p, f, err);
  if (!rc && config) {
    tell_config_head(f, config);
    rc = tell_config_settings(f, config, p->path, err);
  }
  json_decref(config);
  return rc;
}
