/* export --format hf: a directory that Hugging Face transformers loads with from_pretrained(). */
#include "model/safetensors.h"
#include "run/export.h"
#include <stdlib.h>
#include <string.h>

/* The end of text, which also begins one; null where there is none, or transformers would take 50256. */
static void put_ends(json_t *o, const dd_vocab *v) {
  static const char *const keys[] = {"bos_token_id", "eos_token_id"};
  const int end = v->bpe ? dd_bpe_end_of_text(v->bpe) : -1;
  for (int i = 0; i < 2; i++) json_object_set_new(o, keys[i], end < 0 ? json_null() : json_integer(end));
}

/* GPT2Config. The activation is the exact GELU; dropout rates matter only to those who train on. */
static json_t *config(const dd_export_job *e) {
  const dd_shape *p = &e->layout.shape;
  const dd_settings *s = dd_checkpoint_settings(e->c);
  const dd_run_state *st = dd_checkpoint_state(e->c);
  json_t *own = json_pack("{s:s, s:I, s:b, s:s}", "version", dd_version(), "iter", (json_int_t)st->iter, "bias",
                          p->bias, "fingerprint", dd_checkpoint_fingerprint(e->c));
  if (own && dd_vocab_to_json(&e->vocab, own, NULL)) {
    json_decref(own);
    own = NULL;
  }
  json_t *o = json_pack(
      "{s:[s], s:s, s:I, s:I, s:I, s:I, s:I, s:n, s:I, s:s, s:f, s:b, s:b, s:b, s:b, s:f, s:f, s:f, s:f, s:b, "
      "s:s, s:o}",
      "architectures", "GPT2LMHeadModel", "model_type", "gpt2", "n_layer", (json_int_t)p->L, "n_head", (json_int_t)p->H,
      "n_embd", (json_int_t)p->C, "n_positions", (json_int_t)p->S, "n_ctx", (json_int_t)p->S, "n_inner", "vocab_size",
      (json_int_t)p->V, "activation_function", "gelu", "layer_norm_epsilon", 1e-5, "scale_attn_weights", 1,
      "scale_attn_by_inverse_layer_idx", 0, "reorder_and_upcast_attn", 0, "tie_word_embeddings", 1, "initializer_range",
      s->init_std, "attn_pdrop", s->dropout, "embd_pdrop", s->dropout, "resid_pdrop", s->dropout, "use_cache",
      1, "torch_dtype", "float32", "dd_cpu", own);
  put_ends(o, &e->vocab);
  return o;
}

static int write_weights(dd_export_job *e, dd_error *err) {
  char path[4096];
  dd_layout l;
  float *flat;
  int rc = dd_export_path(e, "model.safetensors", path, err);
  if (!rc) rc = dd_export_full(e, 1, &l, &flat, err);
  if (rc) return rc;
  dd_tensor_info *t = calloc((size_t)l.count, sizeof *t);
  json_t *meta = json_pack("{s:s}", "format", "pt");
  if (!t || !meta) rc = dd_fail(err, DD_E_RUNTIME, "out of memory while writing %.600s", path);
  for (int i = 0; i < l.count && !rc; i++) {
    const dd_tensor *d = l.tensors + i;
    const int turned = d->cols && !strncmp(d->name, "transformer.h.", 14);
    t[i] = (dd_tensor_info){.name = d->name, .dtype = DD_F32, .ndim = d->cols ? 2 : 1, .data = flat + d->offset};
    t[i].shape[0] = turned ? d->cols : d->rows;
    t[i].shape[1] = turned ? d->rows : d->cols;
  }
  if (!rc) rc = dd_st_write(path, t, (size_t)l.count, meta, err);
  if (!rc) dd_export_count(e, path);
  json_decref(meta);
  free(t);
  free(flat);
  dd_layout_destroy(&l);
  return rc;
}

int dd_export_hf(dd_export_job *e, dd_error *err) {
  json_t *c = config(e), *g = json_object();
  put_ends(g, &e->vocab);
  int rc = write_weights(e, err);
  if (!rc) rc = dd_export_write_json(e, "config.json", c, err);
  if (!rc) rc = dd_export_write_json(e, "generation_config.json", g, err);
  if (!rc) rc = dd_export_tokenizer(e, err);
  json_decref(c);
  json_decref(g);
  return rc;
}
