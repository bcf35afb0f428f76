/* --init-from a GPT-2 of Hugging Face transformers: config.json, and model.safetensors or, in parts, what
 * model.safetensors.index.json lists. Numbers are F32, F16 or BF16. */
#include "core/file.h"
#include "core/json.h"
#include "formats/float16.h"
#include "model/safetensors.h"
#include "run/import_internal.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WEIGHTS "model.safetensors"
#define INDEX "model.safetensors.index.json"
enum { CONFIG_BYTES = 1 << 23, CONFIG_ELEMENTS = 4 * DD_VOCAB_MAX + 65536, INDEX_BYTES = 1 << 24, MAX_SHARDS = 256 };

typedef struct hf_model {
  dd_st *shard[MAX_SHARDS];
  int shards;
} hf_model;

/* ---- tensors ---- */

static void close_hf(void *self) {
  hf_model *h = self;
  for (int i = 0; i < h->shards; i++) dd_st_close(h->shard[i]);
  free(h);
}

static const char *name_of(void *self, size_t i) {
  const hf_model *h = self;
  for (int k = 0; k < h->shards; k++) {
    if (i < dd_st_count(h->shard[k])) return dd_st_at(h->shard[k], i)->name;
    i -= dd_st_count(h->shard[k]);
  }
  return NULL;
}

static const dd_tensor_info *tensor_of(const hf_model *h, const char *name, dd_st **in) {
  const dd_tensor_info *t = NULL;
  for (int k = 0; k < h->shards && !t; k++)
    if ((t = dd_st_find(h->shard[k], name))) *in = h->shard[k];
  return t;
}

static int find(void *self, const char *name, dd_import_tensor *out) {
  dd_st *st;
  const dd_tensor_info *t = tensor_of(self, name, &st);
  if (!t) return 0;
  out->ndim = t->ndim;
  for (int i = 0; i < t->ndim; i++) out->shape[i] = t->shape[i];
  return 1;
}

static int read_one(void *self, const char *name, float *out, int64_t n, dd_error *err) {
  dd_st *st = NULL;
  const dd_tensor_info *t = tensor_of(self, name, &st);
  if (t->dtype != DD_F32 && t->dtype != DD_F16 && t->dtype != DD_BF16)
    return dd_fail(err, DD_E_CORRUPT, "%.600s: tensor %s is of type %s; F32, F16 and BF16 can be read", dd_st_path(st),
                   name, dd_dtype_name(t->dtype));
  if (t->dtype == DD_F32) return dd_st_read(st, t, out, (size_t)n * sizeof *out, err);
  uint16_t *half = malloc((size_t)n * sizeof *half);
  if (!half) return dd_fail(err, DD_E_RUNTIME, "out of memory while reading %.600s", dd_st_path(st));
  const int rc = dd_st_read(st, t, half, (size_t)n * sizeof *half, err);
  for (int64_t i = 0; i < n && !rc; i++) out[i] = t->dtype == DD_F16 ? dd_from_f16(half[i]) : dd_from_bf16(half[i]);
  free(half);
  return rc;
}

/* ---- config.json ---- */

static int read_object(const char *dir, const char *name, size_t bytes, size_t elements, json_t **out, dd_error *err) {
  char path[4096], *text;
  size_t n;
  dd_json_fault fault;
  *out = NULL;
  int rc = dd_path_join(path, sizeof path, dir, name, err);
  if (!rc) rc = dd_file_read_all(path, bytes, &text, &n, err);
  if (rc) return rc;
  rc = dd_json_parse(text, n, elements, out, &fault);
  free(text);
  if (rc == DD_E_RUNTIME) return dd_fail(err, rc, "out of memory while reading %.600s", path);
  if (rc) return dd_fail(err, rc, "%.600s is damaged: line %d %s; fetch it again", path, fault.line, fault.what);
  if (json_is_object(*out)) return DD_OK;
  json_decref(*out);
  *out = NULL;
  return dd_fail(err, DD_E_CORRUPT, "%.600s is not a JSON object; fetch it again", path);
}

static int whole(const json_t *o, const char *dir, const char *key, int64_t most, int64_t *out, dd_error *err) {
  const json_t *v = json_object_get(o, key);
  if (!json_is_integer(v) || json_integer_value(v) < 1 || json_integer_value(v) > most)
    return dd_fail(err, DD_E_CORRUPT,
                   "%.600s/config.json: %s must be a whole number from 1 to %lld for a model that can "
                   "be trained here",
                   dir, key, (long long)most);
  *out = json_integer_value(v);
  return DD_OK;
}

static int refuse(const char *dir, const char *key, const char *why, dd_error *err) {
  return dd_fail(err, DD_E_CORRUPT, "%.600s/config.json: %s: %s; such a model cannot be trained here", dir, key, why);
}

/* A missing key stands for what GPT2Config takes then. */
static int is_flag(const json_t *o, const char *key, int otherwise) {
  const json_t *v = json_object_get(o, key);
  return json_is_boolean(v) ? json_is_true(v) : otherwise;
}

static int check_activation(const json_t *o, const char *dir, const dd_callbacks *cb, dd_error *err) {
  static const char *const tanh_forms[] = {"gelu_new", "gelu_pytorch_tanh", "gelu_fast", "gelu_python_tanh"};
  const json_t *v = json_object_get(o, "activation_function");
  const char *name = v ? json_string_value(v) : "gelu_new";
  if (name && (!strcmp(name, "gelu") || !strcmp(name, "gelu_python"))) return DD_OK;
  for (size_t i = 0; name && i < sizeof tanh_forms / sizeof *tanh_forms; i++)
    if (!strcmp(name, tanh_forms[i])) {
      dd_say(cb, DD_WARNING, "%.600s: activation %s approximates GELU by tanh, here GELU is exact (they differ by at "
             "most 0.0005, as when nanoGPT loads GPT-2)", dir, name);
      return DD_OK;
    }
  return refuse(dir, "activation_function", "here it is GELU", err);
}

static int check_arithmetic(const json_t *o, const char *dir, int64_t C, dd_error *err) {
  const json_t *eps = json_object_get(o, "layer_norm_epsilon"), *inner = json_object_get(o, "n_inner");
  const char *type = json_string_value(json_object_get(o, "model_type"));
  if (!type || strcmp(type, "gpt2")) return refuse(dir, "model_type", "not gpt2", err);
  if (eps && !(fabs(json_number_value(eps) - 1e-5) < 1e-9))
    return refuse(dir, "layer_norm_epsilon", "here it is 1e-5", err);
  if (inner && !json_is_null(inner) && (!json_is_integer(inner) || json_integer_value(inner) != 4 * C))
    return refuse(dir, "n_inner", "here it is four times n_embd", err);
  if (!is_flag(o, "scale_attn_weights", 1)) return refuse(dir, "scale_attn_weights", "here attention is scaled", err);
  if (is_flag(o, "scale_attn_by_inverse_layer_idx", 0))
    return refuse(dir, "scale_attn_by_inverse_layer_idx", "here all layers are scaled alike", err);
  if (is_flag(o, "add_cross_attention", 0)) return refuse(dir, "add_cross_attention", "there is no encoder", err);
  return DD_OK;
}

/* What dd-cpu adds to config.json when it exports: the meaning of ids, and that the run had no biases. */
static int read_own(dd_import *i, const json_t *config, const char *dir, dd_error *err) {
  const json_t *own = json_object_get(config, "dd_cpu");
  char source[4200];
  if (!json_is_object(own)) return DD_OK;
  i->shape.bias = is_flag(own, "bias", 1);
  if (!json_object_get(own, "tokenizer")) return DD_OK;
  snprintf(source, sizeof source, "%.4000s/config.json", dir);
  const int rc = dd_vocab_from_json(&i->vocab, own, source, err);
  if (rc) return rc;
  if (i->vocab.size > i->shape.V)
    return dd_fail(err, DD_E_CORRUPT, "%.600s: a vocabulary of %d symbols in a model of %d", source, i->vocab.size,
                   (int)i->shape.V);
  i->has_vocab = i->vocab.kind != DD_VOCAB_NUMBER;
  return DD_OK;
}

static int read_config(dd_import *i, const char *dir, const dd_callbacks *cb, dd_error *err) {
  json_t *o;
  dd_shape *s = &i->shape;
  int rc = read_object(dir, "config.json", CONFIG_BYTES, CONFIG_ELEMENTS, &o, err);
  if (rc) return rc;
  s->bias = 1;
  if (!(rc = whole(o, dir, "n_layer", 4096, &s->L, err)) && !(rc = whole(o, dir, "n_head", 4096, &s->H, err)) &&
      !(rc = whole(o, dir, "n_embd", 65536, &s->C, err)) && !(rc = whole(o, dir, "n_positions", 65536, &s->S, err)) &&
      !(rc = whole(o, dir, "vocab_size", DD_VOCAB_MAX, &s->V, err)) && !(rc = check_arithmetic(o, dir, s->C, err)) &&
      !(rc = check_activation(o, dir, cb, err)))
    rc = read_own(i, o, dir, err);
  json_decref(o);
  if (!rc && s->C % s->H) rc = refuse(dir, "n_head", "n_embd is not a multiple of it", err);
  return rc;
}

/* ---- files ---- */

static int open_shard(hf_model *h, const char *dir, const char *name, dd_error *err) {
  char path[4096];
  if (h->shards == MAX_SHARDS) return dd_fail(err, DD_E_CORRUPT, "%.600s/" INDEX " names too many files", dir);
  int rc = dd_path_join(path, sizeof path, dir, name, err);
  if (!rc) rc = dd_st_open(path, &h->shard[h->shards], err);
  if (!rc) h->shards++;
  return rc;
}

/* Names of files beside the index, each once: no paths, which could lead anywhere. */
static int open_shards(hf_model *h, const char *dir, dd_error *err) {
  json_t *index, *value, *files = json_object();
  const char *key;
  int rc = files ? read_object(dir, INDEX, INDEX_BYTES, 4 * DD_ST_MAX_TENSORS, &index, err)
                 : dd_fail(err, DD_E_RUNTIME, "out of memory while opening %.600s", dir);
  if (rc) {
    json_decref(files);
    return rc;
  }
  json_t *map = json_object_get(index, "weight_map");
  if (!json_object_size(map))
    rc = dd_fail(err, DD_E_CORRUPT, "%.600s/" INDEX " has no weight_map; fetch it again", dir);
  json_object_foreach(map, key, value) {
    const char *name = json_string_value(value);
    if (rc) break;
    if (!name || !*name || strchr(name, '/') || strlen(name) > 255)
      rc =
          dd_fail(err, DD_E_CORRUPT, "%.600s/" INDEX " names something that is no file beside it; fetch it again", dir);
    else if (!json_object_get(files, name)) {
      rc = open_shard(h, dir, name, err);
      if (!rc && json_object_set_new(files, name, json_true()))
        rc = dd_fail(err, DD_E_RUNTIME, "out of memory while opening %.600s", dir);
    }
  }
  json_decref(index);
  json_decref(files);
  return rc;
}

static int has(const char *dir, const char *name) {
  char path[4096];
  return !dd_path_join(path, sizeof path, dir, name, NULL) && dd_is_file(path);
}

int dd_import_is_hf(const char *dir) { return has(dir, WEIGHTS) || has(dir, INDEX); }

int dd_import_hf(dd_import *i, const char *path, const dd_callbacks *cb, dd_error *err) {
  hf_model *h = calloc(1, sizeof *h);
  if (!h) return dd_fail(err, DD_E_RUNTIME, "out of memory while opening %.600s", path);
  i->self = h;
  i->close = close_hf;
  i->name = name_of;
  i->find = find;
  i->read = read_one;
  i->conv1d = 1;
  char dir[4096];
  const char *file = NULL, *slash = strrchr(path, '/');
  if (dd_is_dir(path)) snprintf(dir, sizeof dir, "%s", path);
  else {
    snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
    file = slash ? slash + 1 : path;
  }
  int rc = read_config(i, dir, cb, err);
  if (rc) return rc;
  rc = file || has(dir, WEIGHTS) ? open_shard(h, dir, file ? file : WEIGHTS, err) : open_shards(h, dir, err);
  dd_import_tensor t;
  if (!rc && !find(h, "transformer.wte.weight", &t)) i->prefix = NULL;
  return rc;
}
