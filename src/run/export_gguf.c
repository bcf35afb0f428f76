/* export --format gguf: a file that llama.cpp runs, architecture gpt2.
 *
 * GPT-2's tokens go into the tokenizer of that name. llama.cpp has none of characters or bytes, but that of RWKV takes
 * at every place the longest entry of the vocabulary that fits: where the entries are single characters, or bytes, that
 * is ours. It also is the only one without special tokens; the others make one of our ids the end of text. Its entries
 * are spelled like a string of Python. What llama.cpp does differently: its GELU is the tanh approximation, from a
 * table in half precision. */
#include "formats/gguf.h"
#include "run/export.h"
#include "core/file.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NORMAL = 1, CONTROL = 3, UNUSED = 5 }; /* types of tokens in llama.cpp */

/* Names there: X(name here, name there); what precedes them in blocks is blk.N. */
#define NAMES(X)                                                                                                       \
  X("transformer.wte.weight", "token_embd.weight") X("transformer.wpe.weight", "position_embd.weight")                 \
  X("transformer.ln_f.weight", "output_norm.weight") X("transformer.ln_f.bias", "output_norm.bias")                    \
  X("ln_1.weight", "attn_norm.weight") X("ln_1.bias", "attn_norm.bias")                                                \
  X("attn.c_attn.weight", "attn_qkv.weight") X("attn.c_attn.bias", "attn_qkv.bias")                                    \
  X("attn.c_proj.weight", "attn_output.weight") X("attn.c_proj.bias", "attn_output.bias")                              \
  X("ln_2.weight", "ffn_norm.weight") X("ln_2.bias", "ffn_norm.bias")                                                  \
  X("mlp.c_fc.weight", "ffn_up.weight") X("mlp.c_fc.bias", "ffn_up.bias")                                              \
  X("mlp.c_proj.weight", "ffn_down.weight") X("mlp.c_proj.bias", "ffn_down.bias")

static void name_there(const char *own, char out[64]) {
#define ROW(here, there) {here, there},
  static const struct { const char *here, *there; } names[] = {NAMES(ROW)};
  char prefix[32] = "";
  int block, n = 0;
  if (sscanf(own, "transformer.h.%d.%n", &block, &n) == 1 && n) {
    snprintf(prefix, sizeof prefix, "blk.%d.", block);
    own += n;
  }
  *out = '\0';
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (!strcmp(names[i].here, own)) snprintf(out, 64, "%s%s", prefix, names[i].there);
}

/* One entry of RWKV's vocabulary: text as it is, but for what a string literal would not hold. */
static void put_entry(dd_gguf_pairs *p, const char *text, size_t n) {
  char out[64];
  size_t k = 0;
  for (size_t i = 0; i < n; i++) {
    const unsigned char c = (unsigned char)text[i];
    if (c == '\\') k += (size_t)snprintf(out + k, sizeof out - k, "\\\\");
    else if (c < 32 || c >= 127) k += (size_t)snprintf(out + k, sizeof out - k, "\\x%02x", c);
    else out[k++] = (char)c;
  }
  dd_gguf_element(p, out, k);
}

static void put_vocabulary(dd_gguf_pairs *p, const dd_vocab *v, int64_t V) {
  char text[16];
  dd_gguf_string(p, "tokenizer.ggml.model", "rwkv");
  dd_gguf_array(p, "tokenizer.ggml.tokens", DD_GGUF_STRING, (uint64_t)V);
  for (int i = 0; i < V; i++) {
    size_t n;
    const char *known = i < v->size ? dd_vocab_decode(v, i, text, &n) : NULL;
    if (known) put_entry(p, known, n);
    else dd_gguf_element(p, text, (size_t)snprintf(text, sizeof text, "\\xff%d", i)); /* in no text */
  }
  dd_gguf_array(p, "tokenizer.ggml.token_type", DD_GGUF_I32, (uint64_t)V);
  for (int i = 0; i < V; i++) dd_bytes_u32(&p->b, i < v->size ? NORMAL : UNUSED);
}

/* The end of text. llama.cpp must have one and takes 11 when none is named: then a byte that is in no UTF-8. */
static int end_id(const dd_bpe *b) {
  size_t n;
  int end = dd_bpe_end_of_text(b);
  for (int id = 0; id < dd_bpe_size(b) && end < 0; id++) {
    const char *text = dd_bpe_token(b, id, &n);
    if (n == 1 && *text == '\xff') end = id;
  }
  return end;
}

static int put_gpt2(dd_gguf_pairs *p, const dd_bpe *b, int64_t V, dd_error *err) {
  char text[4 * DD_BPE_MAX_TOKEN + 1];
  uint16_t(*merge)[2];
  size_t n;
  const int rc = dd_bpe_merges(b, &merge, &n, err);
  if (rc) return rc;
  dd_gguf_string(p, "tokenizer.ggml.model", "gpt2");
  dd_gguf_string(p, "tokenizer.ggml.pre", "gpt-2");
  dd_gguf_array(p, "tokenizer.ggml.tokens", DD_GGUF_STRING, (uint64_t)V);
  for (int i = 0; i < V; i++) {
    size_t length = dd_bpe_spell(b, i, text);
    if (!length) length = (size_t)snprintf(text, sizeof text, "[PAD%d]", i);
    dd_gguf_element(p, text, length);
  }
  dd_gguf_array(p, "tokenizer.ggml.token_type", DD_GGUF_I32, (uint64_t)V);
  for (int i = 0; i < V; i++)
    dd_bytes_u32(&p->b, dd_bpe_is_added(b, i) ? CONTROL : dd_bpe_spell(b, i, text) ? NORMAL : UNUSED);
  dd_gguf_array(p, "tokenizer.ggml.merges", DD_GGUF_STRING, n);
  for (size_t i = 0; i < n; i++) {
    size_t length = dd_bpe_spell(b, merge[i][0], text);
    text[length++] = ' ';
    length += dd_bpe_spell(b, merge[i][1], text + length);
    dd_gguf_element(p, text, length);
  }
  free(merge);
  dd_gguf_u32(p, "tokenizer.ggml.bos_token_id", (uint32_t)end_id(b));
  dd_gguf_u32(p, "tokenizer.ggml.eos_token_id", (uint32_t)end_id(b));
  dd_gguf_bool(p, "tokenizer.ggml.add_bos_token", 0);
  return DD_OK;
}

static int put_tokenizer(const dd_export_job *e, dd_gguf_pairs *p, dd_error *err) {
  const dd_vocab *v = &e->vocab;
  const int64_t V = e->layout.shape.V;
  if (v->kind == DD_VOCAB_CHAR || v->kind == DD_VOCAB_BYTE) put_vocabulary(p, v, V);
  else if (v->kind == DD_VOCAB_NUMBER) {
    dd_gguf_string(p, "tokenizer.ggml.model", "none");
    dd_say(e->cb, DD_WARNING, "the run does not know what its tokens mean, so the file has no tokenizer: name GPT-2's "
                              "with --bpe");
  } else {
    const int whole = dd_bpe_needs_whole(v->bpe);
    if (whole < 0) return dd_fail(err, DD_E_RUNTIME, "out of memory for the tokenizer");
    if (whole)
      dd_say(e->cb, DD_WARNING,
             "some words are tokens to which no merges lead (ignore_merges): llama.cpp encodes them as several");
    return put_gpt2(p, v->bpe, V, err);
  }
  return DD_OK;
}

static int put_pairs(const dd_export_job *e, dd_gguf_pairs *p, dd_error *err) {
  const dd_shape *s = &e->layout.shape;
  const char *run = dd_checkpoint_settings(e->c)->out, *slash = strrchr(run, '/');
  dd_gguf_string(p, "general.architecture", "gpt2");
  dd_gguf_string(p, "general.name", slash && slash[1] ? slash + 1 : *run ? run : "dd-cpu");
  dd_gguf_u32(p, "general.file_type", 0); /* all F32 */
  dd_gguf_u32(p, "general.alignment", DD_GGUF_ALIGN);
  dd_gguf_u32(p, "gpt2.context_length", (uint32_t)s->S);
  dd_gguf_u32(p, "gpt2.embedding_length", (uint32_t)s->C);
  dd_gguf_u32(p, "gpt2.feed_forward_length", (uint32_t)(4 * s->C));
  dd_gguf_u32(p, "gpt2.block_count", (uint32_t)s->L);
  dd_gguf_u32(p, "gpt2.attention.head_count", (uint32_t)s->H);
  dd_gguf_f32(p, "gpt2.attention.layer_norm_epsilon", 1e-5f);
  dd_gguf_u32(p, "gpt2.vocab_size", (uint32_t)s->V);
  return put_tokenizer(e, p, err);
}

int dd_export_gguf(dd_export_job *e, dd_error *err) {
  dd_gguf_pairs p = {0};
  dd_layout l;
  float *flat;
  int there = 0, rc = dd_file_exists(e->out, &there, err);
  if (!rc && there && (!e->s->overwrite || dd_is_dir(e->out)))
    return dd_fail(err, DD_E_USAGE, "%.600s is there already%s; name another --out%s", e->out,
                   dd_is_dir(e->out) ? ", and a directory" : "",
                   dd_is_dir(e->out) ? "" : ", or replace it with --overwrite");
  if (!rc) rc = dd_export_full(e, 0, &l, &flat, err);
  if (rc) return rc;
  dd_gguf_tensor *t = calloc((size_t)l.count, sizeof *t);
  if (!t) rc = dd_fail(err, DD_E_RUNTIME, "out of memory while writing %.600s", e->out);
  for (int i = 0; i < l.count && !rc; i++) {
    t[i] = (dd_gguf_tensor){.rows = l.tensors[i].rows, .cols = l.tensors[i].cols, .data = flat + l.tensors[i].offset};
    name_there(l.tensors[i].name, t[i].name);
  }
  if (!rc) rc = put_pairs(e, &p, err);
  if (!rc) rc = dd_gguf_write(e->out, &p, t, (size_t)l.count, err);
  if (!rc) dd_export_count(e, e->out);
  dd_bytes_free(&p.b);
  free(t);
  free(flat);
  dd_layout_destroy(&l);
  return rc;
}
