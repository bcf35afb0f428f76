/* The tokenizer of export --format hf: tokenizer.json, from which transformers makes its fast tokenizers, and how to
 * use it. GPT-2's tokens also as vocab.json and merges.txt, for programs that know only these. */
#include "run/export.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct merges { /* left and right ids */
  uint16_t (*pair)[2];
  size_t n;
} merges;

static void spelled(dd_bytes *b, const dd_bpe *bpe, int id) {
  char text[2 * DD_BPE_MAX_TOKEN];
  dd_export_json_text(b, text, dd_bpe_spell(bpe, id, text));
}

static const char byte_level[] = "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, "
                                 "\"use_regex\": ";

/* Words as GPT-2 cuts them, or the whole text as one, of which every byte stays alone. */
static void byte_level_parts(dd_bytes *b, int words, int whole) {
  const char *regex = words ? "true" : "false";
  dd_bytes_printf(b, "  \"pre_tokenizer\": %s%s},\n  \"decoder\": %s%s},\n", byte_level, regex, byte_level, regex);
  dd_bytes_printf(b,
                  "  \"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": null, "
                  "\"continuing_subword_prefix\": null, \"end_of_word_suffix\": null, \"fuse_unk\": false, "
                  "\"byte_fallback\": false, \"ignore_merges\": %s, ",
                  whole ? "true" : "false");
}

/* {"token": id, ...}: also the added tokens, or libraries would number these anew. */
static void put_ids(dd_bytes *b, const dd_bpe *bpe) {
  const char *between = "{\n";
  for (int id = 0; id < dd_bpe_size(bpe); id++) {
    size_t n;
    dd_bpe_token(bpe, id, &n);
    if (!n) continue;
    dd_bytes_text(b, between);
    spelled(b, bpe, id);
    dd_bytes_printf(b, ": %d", id);
    between = ",\n";
  }
  dd_bytes_text(b, "\n}");
}

static void put_merge(dd_bytes *b, const dd_bpe *bpe, const uint16_t pair[2], int json) {
  char text[4 * DD_BPE_MAX_TOKEN + 1];
  size_t n = dd_bpe_spell(bpe, pair[0], text);
  text[n++] = ' ';
  n += dd_bpe_spell(bpe, pair[1], text + n);
  if (json) dd_export_json_text(b, text, n);
  else dd_bytes_put(b, text, n);
}

static void gpt2_tokenizer(dd_bytes *b, const dd_bpe *bpe, const merges *m, int whole) {
  byte_level_parts(b, 1, whole);
  dd_bytes_text(b, "\"merges\": [\n");
  for (size_t i = 0; i < m->n; i++) {
    put_merge(b, bpe, m->pair[i], 1);
    dd_bytes_text(b, i + 1 < m->n ? ",\n" : "\n");
  }
  dd_bytes_text(b, "], \"vocab\": ");
  put_ids(b, bpe);
  dd_bytes_text(b, "}\n}\n");
}

/* GPT-2's byte-level BPE without merges. */
static void byte_tokenizer(dd_bytes *b) {
  byte_level_parts(b, 0, 0);
  dd_bytes_text(b, "\"merges\": [], \"vocab\": {\n");
  for (unsigned i = 0; i < 256; i++) {
    char text[4];
    const size_t n = dd_bpe_spell_byte((unsigned char)i, text);
    dd_bytes_text(b, "    ");
    dd_export_json_text(b, text, n);
    dd_bytes_printf(b, ": %u%s\n", i, i < 255 ? "," : "");
  }
  dd_bytes_text(b, "  }}\n}\n");
}

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

static void put_added(dd_bytes *b, const dd_bpe *bpe) {
  const char *between = "\n";
  for (int id = 0; bpe && id < dd_bpe_size(bpe); id++) {
    if (!dd_bpe_is_added(bpe, id)) continue;
    dd_bytes_printf(b, "%s    {\"id\": %d, \"content\": ", between, id);
    spelled(b, bpe, id);
    dd_bytes_text(b, ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, "
                     "\"special\": true}");
    between = ",\n";
  }
}

static int write_gpt2_files(dd_export_job *e, const dd_bpe *bpe, const merges *m, dd_error *err) {
  dd_bytes b = {0};
  put_ids(&b, bpe);
  dd_bytes_text(&b, "\n");
  int rc = dd_export_write(e, "vocab.json", &b, err);
  dd_bytes_free(&b);
  if (rc) return rc;
  dd_bytes_text(&b, "#version: 0.2\n");
  for (size_t i = 0; i < m->n; i++) {
    put_merge(&b, bpe, m->pair[i], 0);
    dd_bytes_text(&b, "\n");
  }
  rc = dd_export_write(e, "merges.txt", &b, err);
  dd_bytes_free(&b);
  return rc;
}

/* How transformers uses it: no token_type_ids, which GPT-2's model would add to its input. */
static int write_config(dd_export_job *e, dd_error *err) {
  json_t *o = json_pack("{s:s, s:b, s:I, s:[s, s]}", "tokenizer_class", "PreTrainedTokenizerFast",
                        "clean_up_tokenization_spaces", 0, "model_max_length", (json_int_t)e->layout.shape.S,
                        "model_input_names", "input_ids", "attention_mask");
  const dd_bpe *bpe = e->vocab.bpe;
  const int end = bpe ? dd_bpe_end_of_text(bpe) : -1;
  if (end >= 0) {
    size_t n;
    const char *text = dd_bpe_token(bpe, end, &n);
    json_object_set_new(o, "bos_token", json_stringn(text, n));
    json_object_set_new(o, "eos_token", json_stringn(text, n));
  }
  const int rc = dd_export_write_json(e, "tokenizer_config.json", o, err);
  json_decref(o);
  return rc;
}

int dd_export_tokenizer(dd_export_job *e, dd_error *err) {
  const dd_vocab *v = &e->vocab;
  dd_bytes b = {0};
  merges m = {0};
  int rc = DD_OK;
  if (v->kind == DD_VOCAB_NUMBER) {
    dd_say(e->cb, DD_WARNING,
           "the run does not know what its tokens mean, so no tokenizer was written: name GPT-2's with --bpe, or use "
           "the one that made its data");
    return DD_OK;
  }
  const int whole = v->bpe ? dd_bpe_needs_whole(v->bpe) : 0;
  if (whole < 0) return dd_fail(err, DD_E_RUNTIME, "out of memory for the tokenizer");
  if (v->bpe) rc = dd_bpe_merges(v->bpe, &m.pair, &m.n, err);
  if (rc) return rc;
  dd_bytes_text(&b, "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n  \"added_tokens\": [");
  put_added(&b, v->bpe);
  dd_bytes_text(&b, "],\n  \"normalizer\": null,\n  \"post_processor\": null,\n");
  if (v->bpe) gpt2_tokenizer(&b, v->bpe, &m, whole);
  else if (v->kind == DD_VOCAB_CHAR) char_tokenizer(&b, v);
  else byte_tokenizer(&b);
  rc = dd_export_write(e, "tokenizer.json", &b, err);
  dd_bytes_free(&b);
  if (!rc) rc = write_config(e, err);
  if (!rc && v->bpe && !whole) rc = write_gpt2_files(e, v->bpe, &m, err);
  free(m.pair);
  return rc;
}
