/* Parameters that a run begins with: drawn from the seed, or those of a file (--init-from). */
#include "run/train.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A setting of the shape takes the value of the file; one that was given must not contradict it. */
static int adopt(dd_settings *s, enum dd_setting_id id, int64_t of_file, dd_error *err) {
  char value[32], given[32];
  snprintf(value, sizeof value, "%lld", (long long)of_file);
  if (!dd_settings_is_set(s, id)) {
    const int rc = dd_settings_set(s, dd_setting_at(id)->name, value, err);
    return rc;
  }
  int rc = dd_settings_get(s, dd_setting_at(id)->name, given, sizeof given, err);
  if (!rc && strcmp(given, value))
    rc = dd_fail(err, DD_E_USAGE, "%s is %s, but the weights of %.600s have %s; leave the option out",
                 dd_setting_at(id)->name, given, s->init_from, value);
  return rc;
}

static int adopt_shape(dd_settings *s, const dd_shape *p, dd_error *err) {
  int rc = adopt(s, DD_SETTING_n_layer, p->L, err);
  if (!rc) rc = adopt(s, DD_SETTING_n_head, p->H, err);
  if (!rc) rc = adopt(s, DD_SETTING_n_embd, p->C, err);
  if (rc) return rc;
  if (!dd_settings_is_set(s, DD_SETTING_bias)) rc = dd_settings_set(s, "bias", p->bias ? "true" : "false", err);
  if (!dd_settings_is_set(s, DD_SETTING_block_size)) return rc ? rc : adopt(s, DD_SETTING_block_size, p->S, err);
  if (!rc && s->block_size > p->S)
    rc = dd_fail(err, DD_E_USAGE, "block_size %lld is beyond the %lld positions that the weights of %.600s know; use "
                 "%lld or less", (long long)s->block_size, (long long)p->S, s->init_from, (long long)p->S);
  return rc;
}

int dd_job_open_init(dd_job *j, dd_error *err) {
  dd_settings *s = j->s;
  if (!*s->init_from) return DD_OK;
  char *full = realpath(s->init_from, NULL); /* a resumed run may be started from another directory */
  if (full && strlen(full) < sizeof s->init_from) snprintf(s->init_from, sizeof s->init_from, "%s", full);
  free(full);
  int rc = dd_import_open(s->init_from, j->cb, &j->init, err);
  if (rc) return rc;
  const dd_shape *p = dd_import_shape(j->init);
  if ((rc = adopt_shape(s, p, err))) return rc;
  j->symbols = p->V;
  dd_say(j->cb, DD_INFO, "begin with %.600s: %lld layers, %lld heads, %lld channels, %lld positions, %lld symbols, %s",
         s->init_from, (long long)p->L, (long long)p->H, (long long)p->C, (long long)p->S, (long long)p->V,
         p->bias ? "biases" : "no biases");
  return DD_OK;
}

int dd_job_init_weights(dd_job *j, dd_error *err) {
  char hex[33];
  dd_model_init(j->m, j->s->init_std);
  if (!*j->s->init_from) return DD_OK;
  int rc = j->init ? DD_OK : dd_import_open(j->s->init_from, NULL, &j->init, err);
  const dd_shape *own = &j->m->o.shape, *p = rc ? NULL : dd_import_shape(j->init);
  if (p && (p->L != own->L || p->H != own->H || p->C != own->C || p->V != own->V || p->S < own->S))
    rc = dd_fail(err, DD_E_CORRUPT, "%.600s is no longer the model that this run began with", j->s->init_from);
  if (!rc) rc = dd_import_read(j->init, &j->m->layout, j->m->param, err);
  dd_import_close(j->init); /* needed again only after a rollback to the beginning */
  j->init = NULL;
  if (rc) return rc;
  dd_model_params_changed(j->m);
  dd_model_fingerprint(j->m, hex);
  if (!*hex) return dd_fail(err, DD_E_RUNTIME, "out of memory for the fingerprint of the weights");
  if (*j->state.init_hash && strcmp(hex, j->state.init_hash) != 0)
    return dd_fail(err, DD_E_CORRUPT,
                   "the weights of %.600s are no longer those this run began with (fingerprint %s, the "
                   "run has %s)",
                   j->s->init_from, hex, j->state.init_hash);
  snprintf(j->state.init_hash, sizeof j->state.init_hash, "%s", hex);
  return DD_OK;
}
