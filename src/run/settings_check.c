/* What no single setting can see: do they fit together? And settings as JSON. */
#include "run/settings_internal.h"
#include <stdio.h>
#include <string.h>

static const enum dd_setting_id harmless[] = {
    DD_SETTING_out,          DD_SETTING_resume,           DD_SETTING_overwrite,           DD_SETTING_dry_run,
    DD_SETTING_eval_only,    DD_SETTING_tier,             DD_SETTING_threads,             DD_SETTING_slice,
    DD_SETTING_recompute,    DD_SETTING_log_interval,     DD_SETTING_checkpoint_interval, DD_SETTING_keep_checkpoints,
    DD_SETTING_sample_chars, DD_SETTING_prompt,           DD_SETTING_temperature,         DD_SETTING_top_k,
    DD_SETTING_overflow,     DD_SETTING_weights,          DD_SETTING_auto_resume,         DD_SETTING_strict,
    DD_SETTING_tensorboard,
    DD_SETTING_bpe, /* a run carries its vocabulary */
};

bool dd_setting_is_harmless(int id) {
  for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
    if ((int)harmless[i] == id) return true;
  return !(dd_setting_at(id)->use & DD_USE_TRAIN); /* what other commands read */
}

static int check_shape(const dd_settings *s, dd_error *err) {
  if (s->n_embd % s->n_head) {
    int64_t below = s->n_embd / s->n_head * s->n_head, head = s->n_head - 1;
    while (s->n_embd % head) head--;
    char lower[32] = "";
    if (below) snprintf(lower, sizeof lower, "%lld or ", (long long)below);
    return dd_fail(err, DD_E_USAGE, "n_embd %lld is not divisible by n_head %lld: use n_embd %s%lld, or n_head %lld",
                   (long long)s->n_embd, (long long)s->n_head, lower, (long long)(below + s->n_head), (long long)head);
  }
  /* Dropout addresses a row of attention probabilities with 32 bits: (sequence*n_head + head)*block_size + query. */
  double sequences = (double)s->batch_size * (double)s->gradient_accumulation_steps;
  double rows = sequences * (double)s->n_head * (double)s->block_size;
  if (rows > 4294967296.0)
    return dd_fail(err, DD_E_USAGE, "batch_size * gradient_accumulation_steps * n_head * block_size is %.0f, at most "
                   "4294967296 can be addressed: use a smaller batch", rows);
  return DD_OK;
}

int dd_settings_check(const dd_settings *s, dd_error *err) {
  int rc = check_shape(s, err);
  if (!rc) rc = dd_settings_check_dropout(s, err);
  if (rc) return rc;
  if (s->decay_lr && s->min_lr > s->lr)
    return dd_fail(err, DD_E_USAGE, "min_lr %g is above lr %g: the learning rate would grow; lower min_lr too",
                   s->min_lr, s->lr);
  if (s->decay_lr && s->lr_decay_iters && s->lr_decay_iters < s->warmup_iters)
    return dd_fail(err, DD_E_USAGE, "lr_decay_iters %lld is below warmup_iters %lld: the decay would end before the "
                   "warm-up", (long long)s->lr_decay_iters, (long long)s->warmup_iters);
  if (s->resume && s->overwrite)
    return dd_fail(err, DD_E_USAGE, "resume and overwrite exclude each other: continue the run, or replace it?");
  if (s->auto_resume && (s->resume || s->overwrite))
    return dd_fail(err, DD_E_USAGE, "auto_resume decides whether to continue or to begin: leave out %s",
                   s->resume ? "resume" : "overwrite");
  return DD_OK;
}

json_t *dd_settings_to_json(const dd_settings *s) {
  json_t *object = json_object();
  const dd_setting *d;
  for (int i = 0; object && (d = dd_setting_at(i)); i++) {
    if (!(d->use & DD_USE_RUN)) continue; /* no matter of a run */
    const void *field = (const char *)s + d->offset;
    json_t *value = NULL;
    char text[4096];
    switch (d->kind) {
    case DD_KIND_INT: value = json_integer(*(const int64_t *)field); break;
    case DD_KIND_REAL: value = json_real(*(const double *)field); break;
    case DD_KIND_BOOL: value = json_boolean(*(const bool *)field); break;
    case DD_KIND_CHOICE:
    case DD_KIND_SEED:
    case DD_KIND_TEXT:
    case DD_KIND_PATH:
      if (!dd_settings_get(s, d->name, text, sizeof text, NULL)) value = json_string(text);
      break;
    }
    if (json_object_set_new(object, d->name, value)) {
      json_decref(object);
      object = NULL;
    }
  }
  return object;
}

static int set_from_value(dd_settings *s, const char *key, const json_t *value, dd_error *err) {
  char number[64];
  const char *text = number;
  switch (json_typeof(value)) {
  case JSON_INTEGER: snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(value)); break;
  case JSON_REAL:
    snprintf(number, sizeof number, "%.17g", json_real_value(value));
    for (char *p = number; *p; p++)
      if (*p == ',') *p = '.'; /* a host program's locale */
    break;
  case JSON_TRUE: text = "true"; break;
  case JSON_FALSE: text = "false"; break;
  case JSON_STRING: text = json_string_value(value); break;
  case JSON_NULL: {
    const dd_setting *d = dd_setting_find(key);
    if (d) return dd_settings_reset(s, (enum dd_setting_id)d->id), DD_OK;
    text = "";
    break; /* for the message about an unknown key */
  }
  default: return dd_fail(err, DD_E_USAGE, "%s must be a number, a string, true or false", key);
  }
  return dd_settings_set(s, key, text, err);
}

int dd_settings_from_json(dd_settings *s, const json_t *object, dd_error *err) {
  if (!json_is_object(object)) return dd_fail(err, DD_E_USAGE, "settings must be a JSON object");
  json_t *preset = json_object_get(object, "preset");
  if (preset) {
    int rc = set_from_value(s, "preset", preset, err);
    if (rc) return rc;
  }
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)object, key, value) {
    if (!strcmp(key, "preset")) continue;
    int rc = set_from_value(s, key, value, err);
    if (rc) return rc;
  }
  return DD_OK;
}
