#include "run/checkpoint.h"
#include "core/hash.h"
#include "core/json.h"
#include "model/safetensors.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char FORMAT[] = "dd-cpu checkpoint 1";

/* The doubles of the state, said once: written as their 64 bits in hex, exact in any locale. */
#define STATE_REALS(X)                                                                                                 \
  X(train_loss, st->train_loss)                                                                                        \
  X(val_loss, st->val_loss)                                                                                            \
  X(best_val_loss, st->best_val_loss)                                                                                  \
  X(schedule_p, st->schedule.all.p)                                                                                    \
  X(schedule_best, st->schedule.all.best) X(schedule_prev, st->schedule.all.prev) X(elapsed_s, st->elapsed_s)
#define STATE_INTS(X)                                                                                                  \
  X(iter, st->iter)                                                                                                    \
  X(evaluated, st->evaluated) X(best_iter, st->best_iter) X(schedule_waited, st->schedule.all.waited)

/* Rates of sites; missing in checkpoints of before there were any. */
#define STATE_SITES(X)                                                                                                 \
  X(schedule_p_embed, DD_SITE_EMBED) X(schedule_p_attn, DD_SITE_ATTN) X(schedule_p_proj, DD_SITE_PROJ)                 \
      X(schedule_p_mlp, DD_SITE_MLP)

/* The guard's; missing in checkpoints of before there was one, which have an update for every iteration. */
#define STATE_GUARD(X)                                                                                                 \
  X(updates, 0, st->iter) X(skipped, 0, st->iter) X(in_row, 0, st->iter) X(redraw, 0, UINT32_MAX)                     \
  X(rollbacks, 0, UINT32_MAX) X(anchor, -1, st->iter) X(norms, 0, st->iter)

/* Where a rollback would go: that depends on what could be saved and what was asked for, too. */
static int is_of_anchor(const char *key) { return strcmp(key, "anchor") == 0 || strcmp(key, "rollbacks") == 0; }

const char *dd_by_hand_name(int64_t by_hand) {
  return by_hand & DD_HAND_LR        ? "learning rate"
         : by_hand & DD_HAND_DROPOUT ? "dropout rates"
         : by_hand & DD_HAND_BATCHES ? "batches"
                                     : "weights";
}

const char *dd_run_state_difference(const dd_run_state *a, const dd_run_state *b) {
  const dd_run_state *st;
#define COMPARE(key, value)                                                                                            \
  {                                                                                                                    \
    st = a;                                                                                                            \
    const double x = (value);                                                                                          \
    st = b;                                                                                                            \
    const double y = (value);                                                                                          \
    if (memcmp(&x, &y, sizeof x) != 0 && strcmp(#key, "elapsed_s") != 0) return #key;                                  \
  }
  STATE_REALS(COMPARE)
  STATE_INTS(COMPARE) /* iterations: exact as doubles */
#undef COMPARE
#define COMPARE(key, site)                                                                                             \
  if (memcmp(&a->schedule.site_p[site], &b->schedule.site_p[site], sizeof(double)) != 0) return #key;
  STATE_SITES(COMPARE)
#undef COMPARE
#define COMPARE(key, lo, hi)                                                                                           \
  if (a->guard.key != b->guard.key && !is_of_anchor(#key)) return "guard_" #key;
  STATE_GUARD(COMPARE)
#undef COMPARE
  return a->by_hand != b->by_hand ? "by_hand" : NULL;
}

struct dd_checkpoint {
  dd_st *st;
  dd_shape shape;
  dd_vocab vocab;
  dd_settings *settings;
  dd_run_state state;
};

static void describe(dd_tensor_info *t, const dd_tensor *from, const char *name, const float *flat) {
  *t = (dd_tensor_info){.name = name, .dtype = DD_F32, .ndim = from->cols ? 2 : 1, .data = flat + from->offset};
  t->shape[0] = from->rows;
  t->shape[1] = from->cols;
}

uint64_t dd_checkpoint_bytes(const dd_model *m) { return (uint64_t)m->layout.parameters * 12 + (1 << 20); }

/* A key that cannot be added (no memory) leaves `o` without "format", which metadata() looks for at its end. */
static void set_text(json_t *o, const char *key, const char *text) {
  if (json_object_set_new(o, key, json_string(text))) json_object_del(o, "format");
}
static void set_int(json_t *o, const char *key, int64_t v) {
  char text[32];
  snprintf(text, sizeof text, "%lld", (long long)v);
  set_text(o, key, text);
}
static void set_real(json_t *o, const char *key, double v) {
  char text[32];
  uint64_t bits;
  memcpy(&bits, &v, sizeof bits);
  snprintf(text, sizeof text, "%016llx", (unsigned long long)bits);
  set_text(o, key, text);
}
static void set_json(json_t *o, const char *key, json_t *value) {
  char *text = value ? json_dumps(value, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
  if (text) set_text(o, key, text);
  free(text);
  json_decref(value);
}

static int norms_kept(const dd_guard_state *g) {
  return g->norms < DD_GUARD_WINDOW ? (int)g->norms : DD_GUARD_WINDOW;
}

static void set_norms(json_t *o, const dd_guard_state *g) {
  char text[16 * DD_GUARD_WINDOW + 1] = "";
  for (int i = 0; i < norms_kept(g); i++) {
    uint64_t bits;
    memcpy(&bits, g->norm + i, sizeof bits);
    snprintf(text + 16 * i, 17, "%016llx", (unsigned long long)bits);
  }
  set_text(o, "guard_norm", text);
}

static json_t *metadata(const dd_weights_view *w, const dd_run_state *st, const dd_settings *s, const dd_vocab *vocab) {
  json_t *o = json_object(), *v = json_object();
  if (!o || !v) {
    json_decref(o);
    json_decref(v);
    return NULL;
  }
  const dd_shape *p = &w->layout->shape;
  char hex[33];
  dd_params_fingerprint(w->param, w->layout, hex);
  set_text(o, "format", FORMAT);
  set_int(o, "numerics_version", DD_NUMERICS_VERSION);
  set_text(o, "fingerprint", hex);
  if (!*hex) json_object_del(o, "format"); /* no memory to hash with */
  set_int(o, "n_layer", p->L);
  set_int(o, "n_head", p->H);
  set_int(o, "n_embd", p->C);
  set_int(o, "block_size", p->S);
  set_int(o, "vocab_size", p->V);
  set_int(o, "bias", p->bias);
#define WRITE(key, value) set_real(o, #key, value);
  STATE_REALS(WRITE)
#undef WRITE
#define WRITE(key, value) set_int(o, #key, value);
  STATE_INTS(WRITE)
#undef WRITE
#define WRITE(key, site) set_real(o, #key, st->schedule.site_p[site]);
  STATE_SITES(WRITE)
#undef WRITE
#define WRITE(key, lo, hi) set_int(o, "guard_" #key, st->guard.key);
  STATE_GUARD(WRITE)
#undef WRITE
  if (st->guard.norms) set_norms(o, &st->guard);
  set_text(o, "data_hash", st->data_hash);
  if (st->by_hand) set_int(o, "by_hand", st->by_hand);
  if (*st->table_hash) set_text(o, "table_hash", st->table_hash);
  if (*st->init_hash) set_text(o, "init_hash", st->init_hash);
  if (*st->run_id) set_text(o, "run_id", st->run_id);
  set_json(o, "settings", dd_settings_to_json(s));
  if (dd_vocab_to_json(vocab, v, NULL)) {
    json_decref(v);
    v = NULL;
  }
  set_json(o, "vocab", v);
  if (!json_object_get(o, "format") || !json_object_get(o, "settings") || !json_object_get(o, "vocab")) {
    json_decref(o);
    return NULL;
  }
  return o;
}

static const char *const prefix[3] = {"", "optim.m/", "optim.v/"};

int dd_checkpoint_write(const char *path, const dd_weights_view *w, const dd_run_state *st, const dd_settings *s,
                        const dd_vocab *vocab, dd_error *err) {
  const dd_layout *l = w->layout;
  const int n = l->count, all = w->m ? 3 * n : n;
  const float *flat[3] = {w->param, w->m, w->v};
  dd_tensor_info *t = calloc((size_t)all, sizeof *t);
  char(*names)[96] = calloc((size_t)all, sizeof *names);
  json_t *meta = metadata(w, st, s, vocab);
  int rc;
  if (!t || !names || !meta) rc = dd_fail(err, DD_E_RUNTIME, "out of memory while writing %s", path);
  else {
    for (int i = 0; i < all; i++) {
      snprintf(names[i], sizeof names[i], "%s%s", prefix[i / n], l->tensors[i % n].name);
      describe(t + i, l->tensors + i % n, names[i], flat[i / n]);
    }
    rc = dd_st_write(path, t, (size_t)all, meta, err);
  }
  json_decref(meta);
  free(names);
  free(t);
  return rc;
}

/* ---- reading ---- */

static int read_int(const dd_checkpoint *c, const char *key, int64_t lo, int64_t hi, int64_t *out, dd_error *err) {
  const char *s = dd_st_meta(c->st, key);
  char *end;
  const long long v = s ? strtoll(s, &end, 10) : 0;
  if (!s || end == s || *end || v < lo || v > hi)
    return dd_fail(err, DD_E_CORRUPT, "%s: '%s' is missing or out of range in the metadata; use another checkpoint",
                   dd_st_path(c->st), key);
  *out = v;
  return DD_OK;
}

static int read_real(const dd_checkpoint *c, const char *key, double *out, dd_error *err) {
  const char *s = dd_st_meta(c->st, key);
  char *end = NULL;
  const unsigned long long bits = s ? strtoull(s, &end, 16) : 0;
  if (!s || end != s + 16 || *end)
    return dd_fail(err, DD_E_CORRUPT, "%s: '%s' is missing or no number in the metadata; use another checkpoint",
                   dd_st_path(c->st), key);
  const uint64_t u = bits;
  memcpy(out, &u, sizeof *out);
  return DD_OK;
}

static int read_norms(const dd_checkpoint *c, dd_guard_state *g, dd_error *err) {
  const int n = norms_kept(g);
  const char *s = dd_st_meta(c->st, "guard_norm");
  if (n && (!s || strlen(s) != (size_t)n * 16 || strspn(s, "0123456789abcdef") != (size_t)n * 16))
    return dd_fail(err, DD_E_CORRUPT, "%s: 'guard_norm' is missing or damaged in the metadata; use another checkpoint",
                   dd_st_path(c->st));
  for (int i = 0; i < n; i++) {
    char one[17] = "";
    memcpy(one, s + 16 * i, 16);
    const uint64_t bits = strtoull(one, NULL, 16);
    memcpy(g->norm + i, &bits, sizeof bits);
  }
  return DD_OK;
}

static int read_json(const dd_checkpoint *c, const char *key, json_t **out, dd_error *err) {
  const char *s = dd_st_meta(c->st, key);
  *out = NULL;
  const int rc = s ? dd_json_parse(s, strlen(s), DD_VOCAB_MAX + 4096, out, NULL) : DD_E_CORRUPT;
  if (rc == DD_E_RUNTIME) return dd_fail(err, rc, "out of memory while reading %s", dd_st_path(c->st));
  if (rc) return dd_fail(err, rc, "%s: '%s' is missing or damaged in the metadata", dd_st_path(c->st), key);
  return DD_OK;
}

static int read_metadata(dd_checkpoint *c, dd_error *err) {
  const char *format = dd_st_meta(c->st, "format"), *path = dd_st_path(c->st);
  int64_t version = 0, bias = 0;
  if (!format || strcmp(format, FORMAT) != 0)
    return dd_fail(err, DD_E_CORRUPT,
                   "%s is no checkpoint of dd-cpu (format '%s'); name a file that `dd-cpu train` wrote", path,
                   format ? format : "unknown");
  int rc = read_int(c, "numerics_version", 0, INT32_MAX, &version, err);
  if (rc) return rc;
  if (version != DD_NUMERICS_VERSION)
    return dd_fail(err, DD_E_CORRUPT,
                   "%s was made with numerics version %d, this program has version %d, so the run "
                   "would not continue to the same bits; use the dd-cpu that made it",
                   path, (int)version, DD_NUMERICS_VERSION);
  dd_shape *s = &c->shape;
  if ((rc = read_int(c, "n_layer", 1, 4096, &s->L, err)) || (rc = read_int(c, "n_head", 1, 4096, &s->H, err)) ||
      (rc = read_int(c, "n_embd", 1, 65536, &s->C, err)) || (rc = read_int(c, "block_size", 1, 65536, &s->S, err)) ||
      (rc = read_int(c, "vocab_size", 1, 65535, &s->V, err)) || (rc = read_int(c, "bias", 0, 1, &bias, err)))
    return rc;
  s->bias = (int)bias;
  if (s->C % s->H)
    return dd_fail(err, DD_E_CORRUPT, "%s: %d channels do not divide into %d heads", path, (int)s->C, (int)s->H);
  dd_run_state *st = &c->state;
#define READ(key, field)                                                                                               \
  if ((rc = read_real(c, #key, &(field), err))) return rc;
  STATE_REALS(READ)
#undef READ
#define READ(key, field)                                                                                               \
  if ((rc = read_int(c, #key, -1, INT64_MAX, &(field), err))) return rc;
  STATE_INTS(READ)
#undef READ
  for (int i = 0; i < DD_SITES; i++) st->schedule.site_p[i] = -1; /* not known: dd_rates_resume */
#define READ(key, site)                                                                                                \
  if (dd_st_meta(c->st, #key) && (rc = read_real(c, #key, &st->schedule.site_p[site], err))) return rc;
  STATE_SITES(READ)
#undef READ
  st->guard = (dd_guard_state){.updates = st->iter, .anchor = -1};
#define READ(key, lo, hi)                                                                                              \
  if (dd_st_meta(c->st, "guard_" #key) && (rc = read_int(c, "guard_" #key, lo, hi, &st->guard.key, err))) return rc;
  STATE_GUARD(READ)
#undef READ
  if (dd_st_meta(c->st, "by_hand") && (rc = read_int(c, "by_hand", 0, DD_HAND_ALL, &st->by_hand, err))) return rc;
  if ((rc = read_norms(c, &st->guard, err))) return rc;
  st->schedule.all.train = st->train_loss;
  st->schedule.all.lowest = st->best_val_loss;
  const char *hash = dd_st_meta(c->st, "data_hash"), *table = dd_st_meta(c->st, "table_hash");
  snprintf(st->data_hash, sizeof st->data_hash, "%s", hash ? hash : "");
  snprintf(st->table_hash, sizeof st->table_hash, "%s", table ? table : "");
  const char *id = dd_st_meta(c->st, "run_id"), *init = dd_st_meta(c->st, "init_hash");
  snprintf(st->init_hash, sizeof st->init_hash, "%s", init ? init : "");
  snprintf(st->run_id, sizeof st->run_id, "%s", id ? id : "");

  json_t *o;
  if ((rc = read_json(c, "settings", &o, err))) return rc;
  rc = dd_settings_from_json(c->settings, o, err);
  json_decref(o);
  if (rc) {
    dd_fail_prefix(err, "%s: ", path);
    return DD_E_CORRUPT;
  }
  if ((rc = read_json(c, "vocab", &o, err))) return rc;
  rc = dd_vocab_from_json(&c->vocab, o, path, err);
  json_decref(o);
  if (!rc && c->vocab.size > s->V) /* fewer: weights of others have room for more than the text needs */
    rc = dd_fail(err, DD_E_CORRUPT, "%s: vocabulary of %d symbols in a model of %d", path, c->vocab.size, (int)s->V);
  return rc;
}

int dd_checkpoint_open(const char *path, dd_checkpoint **out, dd_error *err) {
  *out = NULL;
  dd_checkpoint *c = calloc(1, sizeof *c);
  if (c) c->settings = dd_settings_create();
  int rc = c && c->settings ? DD_OK : dd_fail(err, DD_E_RUNTIME, "out of memory while opening %s", path);
  if (!rc) rc = dd_st_open(path, &c->st, err);
  if (!rc) rc = read_metadata(c, err);
  if (rc) {
    dd_checkpoint_close(c);
    return rc;
  }
  *out = c;
  return DD_OK;
}

void dd_checkpoint_close(dd_checkpoint *c) {
  if (!c) return;
  dd_st_close(c->st);
  dd_vocab_free(&c->vocab);
  dd_settings_destroy(c->settings);
  free(c);
}

const dd_shape *dd_checkpoint_shape(const dd_checkpoint *c) { return &c->shape; }
const dd_vocab *dd_checkpoint_vocab(const dd_checkpoint *c) { return &c->vocab; }
const dd_settings *dd_checkpoint_settings(const dd_checkpoint *c) { return c->settings; }
const dd_run_state *dd_checkpoint_state(const dd_checkpoint *c) { return &c->state; }

const char *dd_checkpoint_fingerprint(const dd_checkpoint *c) {
  const char *hex = dd_st_meta(c->st, "fingerprint");
  return hex ? hex : "";
}

/* The tensor of the file that is number i of the layout in one of the three arrays. */
static int find_tensor(const dd_checkpoint *c, const dd_tensor *want, int array, const dd_tensor_info **out,
                       dd_error *err) {
  char name[96];
  snprintf(name, sizeof name, "%s%s", prefix[array], want->name);
  const dd_tensor_info *t = dd_st_find(c->st, name);
  if (!t || t->dtype != DD_F32 || t->ndim != (want->cols ? 2 : 1) || t->shape[0] != want->rows ||
      (want->cols && t->shape[1] != want->cols))
    return dd_fail(err, DD_E_CORRUPT, "%s: tensor '%s' is missing or has another shape; use another checkpoint",
                   dd_st_path(c->st), name);
  *out = t;
  return DD_OK;
}

static int wrong_fingerprint(const dd_checkpoint *c, dd_error *err) {
  return dd_fail(err, DD_E_CORRUPT,
                 "%s: the parameters do not have the fingerprint they were saved with; use another checkpoint",
                 dd_st_path(c->st));
}

/* Every tensor of the file in turn, read into buf (room for the largest). */
static int verify_tensors(dd_checkpoint *c, const dd_layout *l, dd_hasher *h, float *buf, dd_error *err) {
  const size_t n = (size_t)l->count, there = dd_st_count(c->st);
  if (there != n && there != 3 * n)
    return dd_fail(err, DD_E_CORRUPT, "%s holds %zu tensors where its model has %zu; use another checkpoint",
                   dd_st_path(c->st), there, n);
  for (size_t i = 0; i < there; i++) {
    const dd_tensor *want = l->tensors + i % n;
    const dd_tensor_info *t = NULL;
    int rc = find_tensor(c, want, (int)(i / n), &t, err);
    if (!rc) rc = dd_st_read(c->st, t, buf, (size_t)want->size * sizeof *buf, err);
    if (rc) return rc;
    for (int64_t e = 0; e < want->size; e++)
      if (!isfinite(buf[e]))
        return dd_fail(err, DD_E_CORRUPT, "%s: tensor '%s' holds a number that is not finite; use another checkpoint",
                       dd_st_path(c->st), t->name);
    if (i < n) dd_hasher_update(h, buf, (size_t)want->size * sizeof *buf);
  }
  char hex[33];
  dd_hasher_hex(h, hex);
  return strcmp(hex, dd_checkpoint_fingerprint(c)) == 0 ? DD_OK : wrong_fingerprint(c, err);
}

int dd_checkpoint_verify(dd_checkpoint *c, dd_error *err) {
  dd_layout l;
  if (dd_st_is_foreign(c->st))
    return dd_fail(err, DD_E_CORRUPT, "%s carries no hashes: another program has rewritten it; use another checkpoint",
                   dd_st_path(c->st));
  int rc = dd_layout_create(&l, &c->shape, err);
  if (rc) return rc;
  int64_t largest = 0;
  for (int i = 0; i < l.count && !rc; i++) { /* first, so that no shape asks for more memory than the file has bytes */
    const dd_tensor_info *t;
    if (l.tensors[i].size > largest) largest = l.tensors[i].size;
    rc = find_tensor(c, l.tensors + i, 0, &t, err);
  }
  dd_hasher *h = rc ? NULL : dd_hasher_create();
  float *buf = rc ? NULL : malloc((size_t)largest * sizeof *buf);
  if (!rc && (!h || !buf)) rc = dd_fail(err, DD_E_RUNTIME, "out of memory while verifying %s", dd_st_path(c->st));
  if (!rc) rc = verify_tensors(c, &l, h, buf, err);
  free(buf);
  dd_hasher_destroy(h);
  dd_layout_destroy(&l);
  return rc;
}

int dd_checkpoint_compare(dd_checkpoint *c, const dd_model *m, char name[96], dd_error *err) {
  const dd_layout *l = &m->layout;
  const float *const flat[3] = {m->param, m->m, m->v};
  *name = '\0';
  const int all = (m->o.train && dd_st_count(c->st) > (size_t)l->count ? 3 : 1) * l->count;
  for (int i = 0; i < all; i++) {
    const dd_tensor *want = l->tensors + i % l->count;
    const dd_tensor_info *t = NULL;
    const size_t bytes = (size_t)want->size * sizeof(float);
    int rc = find_tensor(c, want, i / l->count, &t, err);
    float *buf = rc ? NULL : malloc(bytes);
    if (!rc && !buf) rc = dd_fail(err, DD_E_RUNTIME, "out of memory while comparing %s", dd_st_path(c->st));
    if (!rc) rc = dd_st_read(c->st, t, buf, bytes, err);
    const int differs = !rc && memcmp(buf, flat[i / l->count] + want->offset, bytes) != 0;
    free(buf);
    if (differs) snprintf(name, 96, "%s", t->name);
    if (rc || differs) return rc;
  }
  return DD_OK;
}

static int read_flat(dd_checkpoint *c, const dd_layout *l, int array, float *flat, dd_error *err) {
  for (int i = 0; i < l->count; i++) {
    const dd_tensor *want = l->tensors + i;
    const dd_tensor_info *t = NULL;
    int rc = find_tensor(c, want, array, &t, err);
    if (!rc) rc = dd_st_read(c->st, t, flat + want->offset, (size_t)want->size * sizeof *flat, err);
    if (rc) return rc;
  }
  return DD_OK;
}

int dd_checkpoint_has_moments(const dd_checkpoint *c) {
  const dd_tensor_info *last = dd_st_at(c->st, dd_st_count(c->st) - 1);
  return last && strncmp(last->name, prefix[2], strlen(prefix[2])) == 0;
}

int dd_checkpoint_read(dd_checkpoint *c, const dd_layout *l, float *param, float *m, float *v, dd_error *err) {
  int rc = read_flat(c, l, 0, param, err);
  if (!rc && m) rc = read_flat(c, l, 1, m, err);
  if (!rc && v) rc = read_flat(c, l, 2, v, err);
  if (rc) return rc;
  char hex[33];
  dd_params_fingerprint(param, l, hex);
  if (!*hex) return dd_fail(err, DD_E_RUNTIME, "out of memory while reading %s", dd_st_path(c->st));
  return strcmp(hex, dd_checkpoint_fingerprint(c)) == 0 ? DD_OK : wrong_fingerprint(c, err);
}

int dd_checkpoint_load(dd_checkpoint *c, dd_model *m, dd_error *err) {
  const int rc = dd_checkpoint_read(c, &m->layout, m->param, m->m, m->v, err); /* m, v: NULL without train */
  if (!rc) dd_model_params_changed(m);
  return rc;
}
