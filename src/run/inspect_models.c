/* inspect: models of other programs. */
#include "core/file.h"
#include "formats/gguf.h"
#include "formats/zip.h"
#include "run/import_internal.h"
#include "run/inspect.h"
#include <stdio.h>
#include <string.h>

/* ---- GGUF ---- */

int dd_is_gguf(const dd_probe *p) { return !p->is_directory && dd_gguf_is(p->head, p->n_head); }

static json_t *value_of(const dd_gguf_pair *p) {
  char text[256];
  float f;
  switch (p->type) {
  case DD_GGUF_STRING: return dd_any_text((const char *)p->value + 8, p->bytes - 8);
  case DD_GGUF_ARRAY:
    snprintf(text, sizeof text, "%llu %s", (unsigned long long)p->count,
             p->element == DD_GGUF_STRING ? "texts" : "numbers");
    return json_string(text);
  case DD_GGUF_BOOL: return json_boolean(*p->value);
  case DD_GGUF_F32:
    memcpy(&f, p->value, sizeof f);
    return f - f == 0 ? json_real((double)f) : json_null();
  case DD_GGUF_F64: return json_null();
  default: return json_integer((json_int_t)dd_gguf_number(p, 0));
  }
}

int dd_tell_gguf(const dd_probe *p, dd_facts *f, const dd_callbacks *cb, dd_error *err) {
  dd_gguf *g;
  (void)cb;
  const int rc = dd_gguf_open(p->path, &g, err);
  if (rc) return rc;
  json_t *pairs = json_object(), *tensors = json_array();
  uint64_t parameters = 0;
  for (size_t i = 0; i < dd_gguf_pair_count(g); i++) {
    const dd_gguf_pair *k = dd_gguf_pair_at(g, i);
    char key[DD_GGUF_MAX_KEY + 1];
    snprintf(key, sizeof key, "%.*s", (int)k->key_n, k->key);
    json_object_set_new(pairs, key, value_of(k));
  }
  for (size_t i = 0; i < dd_gguf_tensor_count(g); i++) {
    const dd_gguf_entry *t = dd_gguf_tensor_at(g, i);
    char shape[96] = "";
    uint64_t n = 1;
    for (int d = t->ndim; d-- > 0;) {
      snprintf(shape + strlen(shape), sizeof shape - strlen(shape), "%s%llu", *shape ? " x " : "",
               (unsigned long long)t->shape[d]);
      n *= t->shape[d];
    }
    parameters += n;
    json_array_append_new(tensors, json_pack("{s:o, s:s, s:s}", "tensor", dd_any_text(t->name, t->name_n), "type",
                                             dd_gguf_tensor_type(t->type), "shape", shape));
  }
  dd_fact_int(f, "tensors_in_all", (int64_t)dd_gguf_tensor_count(g));
  dd_fact_int(f, "parameters", (int64_t)parameters);
  dd_fact_int(f, "bytes", (int64_t)p->size);
  dd_fact(f, "metadata", pairs);
  dd_fact(f, "tensors", tensors);
  dd_gguf_close(g);
  return DD_OK;
}

/* ---- what --init-from reads: directories of transformers, ckpt.pt ---- */

static int tell_model(const dd_probe *p, dd_facts *f, const dd_callbacks *cb, dd_error *err) {
  dd_import *i;
  const int rc = dd_import_open(p->path, cb, &i, err);
  if (rc) return rc;
  const dd_shape *s = dd_import_shape(i);
  dd_layout l;
  if (!dd_layout_create(&l, s, NULL)) {
    dd_fact_int(f, "parameters", l.parameters);
    dd_layout_destroy(&l);
  }
  dd_fact_int(f, "n_layer", s->L);
  dd_fact_int(f, "n_head", s->H);
  dd_fact_int(f, "n_embd", s->C);
  dd_fact_int(f, "block_size", s->S);
  dd_fact_int(f, "vocab_size", s->V);
  dd_fact_text(f, "bias", "%s", s->bias ? "true" : "false");
  if (dd_import_vocab(i)) dd_fact_vocab(f, dd_import_vocab(i));
  dd_import_close(i);
  return DD_OK;
}

int dd_is_hf(const dd_probe *p) { return p->is_directory && dd_import_is_hf(p->path); }
int dd_tell_hf(const dd_probe *p, dd_facts *f, const dd_callbacks *cb, dd_error *err) {
  return tell_model(p, f, cb, err);
}

int dd_is_torch(const dd_probe *p) { return !p->is_directory && dd_zip_is(p->head, p->n_head); }
int dd_tell_torch(const dd_probe *p, dd_facts *f, const dd_callbacks *cb, dd_error *err) {
  dd_fact_int(f, "bytes", (int64_t)p->size);
  return tell_model(p, f, cb, err);
}
