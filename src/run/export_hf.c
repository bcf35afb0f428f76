/* export --format hf: a directory that Hugging Face transformers loads with from_pretrained(). */
#include "model/safetensors.h"
#include "run/export.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* GPT2Config. The activation is the exact GELU; dropout rates matter only to those who train on. */
static json_t *config(const dd_export_job *e) {
  const dd_shape *p = &e->layout.shape;
  const dd_settings *s = dd_checkpoint_settings(e->c);
  const dd_run_state *st = dd_checkpoint_state(e->c);
  json_t *own = json_pack("{s:s, s:I, s:b, s:s}", "version", dd_version(), "iter", (json_int_t)st->iter, "bias",
                          p->bias, "fingerprint", dd_checkpoint_fingerprint(e->c));
  if (own && dd_vocab_to_json(dd_checkpoint_vocab(e->c), own, NULL)) {
    json_decref(own);
    own = NULL;
  }
  return json_pack(
      "{s:[s], s:s, s:I, s:I, s:I, s:I, s:I, s:n, s:I, s:s, s:f, s:b, s:b, s:b, s:b, s:f, s:f, s:f, s:f, s:n, "
      "s:n, s:b, s:s, s:o}",
      "architectures", "GPT2LMHeadModel", "model_type", "gpt2", "n_layer", (json_int_t)p->L, "n_head", (json_int_t)p->H,
      "n_embd", (json_int_t)p->C, "n_positions", (json_int_t)p->S, "n_ctx", (json_int_t)p->S, "n_inner", "vocab_size",
      (json_int_t)p->V, "activation_function", "gelu", "layer_norm_epsilon", 1e-5, "scale_attn_weights", 1,
      "scale_attn_by_inverse_layer_idx", 0, "reorder_and_upcast_attn", 0, "tie_word_embeddings", 1, "initializer_range",
      s->init_std, "attn_pdrop", s->dropout, "embd_pdrop", s->dropout, "resid_pdrop", s->dropout, "bos_token_id",
      "eos_token_id", "use_cache", 1, "torch_dtype", "float32", "dd_cpu", own);
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

/* ---- tokenizer.json ---- */

static const char head[] = "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n"
                           "  \"added_tokens\": [],\n  \"normalizer\": null,\n  \"post_processor\": null,\n";

/* Every code point is a word of its own. A character that is not in the vocabulary is an error, as it is here: the
 * unknown token is none of the vocabulary. */
static void char_tokenizer(dd_bytes *b, const dd_vocab *v) {
  char scratch[8];
  dd_bytes_text(b,
                "  \"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"[\\\\s\\\\S]\"}, \"behavior\": "
                "\"Isolated\", \"invert\": false},\n  \"decoder\": {\"type\": \"Fuse\"},\n"
                "  \"model\": {\"type\": \"WordLevel\", \"unk_token\": \"<unknown character>\", \"vocab\": {\n");
  for (int i = 0; i < v->size; i++) {
    size_t n;
    const char *text = dd_vocab_decode(v, i, scratch, &n);
    dd_bytes_text(b, "    ");
    dd_export_json_text(b, text, n);
    dd_bytes_printf(b, ": %d%s\n", i, i + 1 < v->size ? "," : "");
  }
  dd_bytes_text(b, "  }}\n}\n");
}

/* GPT-2's byte-level BPE without merges. */
static void byte_tokenizer(dd_bytes *b) {
  dd_bytes_text(b,
                "  \"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, "
                "\"use_regex\": false},\n  \"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
                "\"trim_offsets\": true, \"use_regex\": false},\n"
                "  \"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": null, "
                "\"continuing_subword_prefix\": null, \"end_of_word_suffix\": null, \"fuse_unk\": false, "
                "\"byte_fallback\": false, \"ignore_merges\": false, \"merges\": [], \"vocab\": {\n");
  for (unsigned i = 0; i < 256; i++) {
    char text[4];
    const size_t n = dd_export_byte_symbol(i, text);
    dd_bytes_text(b, "    ");
    dd_export_json_text(b, text, n);
    dd_bytes_printf(b, ": %u%s\n", i, i < 255 ? "," : "");
  }
  dd_bytes_text(b, "  }}\n}\n");
}

static int write_tokenizer(dd_export_job *e, dd_error *err) {
  const dd_vocab *v = dd_checkpoint_vocab(e->c);
  dd_bytes b = {0};
  if (v->kind != DD_VOCAB_CHAR && v->kind != DD_VOCAB_BYTE) {
    dd_say(e->cb, DD_WARNING,
           "the run does not know what its tokens mean, so no tokenizer was written: use the one that "
           "made its data");
    return DD_OK;
  }
  dd_bytes_text(&b, head);
  if (v->kind == DD_VOCAB_CHAR) char_tokenizer(&b, v);
  else byte_tokenizer(&b);
  int rc = dd_export_write(e, "tokenizer.json", &b, err);
  dd_bytes_free(&b);
  if (rc) return rc;
  json_t *o = json_pack("{s:s, s:b, s:I}", "tokenizer_class", "PreTrainedTokenizerFast", "clean_up_tokenization_spaces",
                        0, "model_max_length", (json_int_t)e->layout.shape.S);
  rc = dd_export_write_json(e, "tokenizer_config.json", o, err);
  json_decref(o);
  return rc;
}

int dd_export_hf(dd_export_job *e, dd_error *err) {
  json_t *c = config(e), *g = json_pack("{s:n, s:n}", "bos_token_id", "eos_token_id");
  int rc = write_weights(e, err);
  if (!rc) rc = dd_export_write_json(e, "config.json", c, err);
  if (!rc) rc = dd_export_write_json(e, "generation_config.json", g, err);
  if (!rc) rc = write_tokenizer(e, err);
  json_decref(c);
  json_decref(g);
  return rc;
}
