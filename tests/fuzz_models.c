/* Fuzz target of models of other programs. The first byte says what the rest is:
 *   A  an archive of torch.save          P  the pickle in one, around which the archive is made here, checksums and all
 *   G  a GGUF file                       H  config.json, and after a line "%%" the header of model.safetensors
 * What is accepted is read to the end, or refused there: weights that are used are finite. */
#include "fuzz_common.h"
#include "formats/gguf.h"
#include "formats/pickle_write.h"
#include "formats/zip.h"
#include "run/import.h"
#include <math.h>

enum { DATA = 4096 };
static uint8_t *sunk;
static size_t sunk_n, sunk_room;
static ssize_t keep(int fd, const void *buf, size_t n) {
  (void)fd;
  demand(sunk_n + n <= sunk_room, "container");
  memcpy(sunk + sunk_n, buf, n);
  sunk_n += n;
  return (ssize_t)n;
}

/* A checkpoint whose storages 0 to 15 are 1 KB of zeros. */
static void archive_of(const uint8_t *data, size_t size) {
  static const char zeros[1024];
  dd_zip_writer w;
  char name[32];
  dd_fs_ops ops = mem_ops;
  ops.write = keep;
  mem_use((const char *const[]){"/m/none", NULL}, data, 0);
  dd_fs_replace(&ops);
  demand(!dd_zip_begin(&w, "/m/c", size, NULL) && !dd_zip_add(&w, "x/data.pkl", data, size, NULL), "archive");
  for (int i = 0; i < 16; i++) {
    snprintf(name, sizeof name, "x/data/%d", i);
    demand(!dd_zip_add(&w, name, zeros, sizeof zeros, NULL), "archive");
  }
  demand(!dd_zip_commit(&w, NULL), "archive");
}

static int import(const char *path, dd_error *err) {
  dd_import *i;
  dd_layout l = {0};
  float *flat = NULL;
  int rc = dd_import_open(path, NULL, &i, err);
  demand((rc == DD_OK) == (i != NULL), "object");
  if (i) {
    const dd_shape *s = dd_import_shape(i);
    const dd_vocab *v = dd_import_vocab(i);
    demand(s->C % s->H == 0 && (!v || v->size <= s->V), "shape");
    demand(!dd_layout_create(&l, s, err), "layout");
    demand(l.parameters < 1 << 20, "more weights than there are bytes");
    flat = malloc((size_t)l.floats * sizeof *flat);
    rc = dd_import_read(i, &l, flat, err);
    for (int64_t e = 0; e < l.floats && !rc; e++) demand(isfinite(flat[e]), "finite");
  }
  free(flat);
  dd_layout_destroy(&l);
  dd_import_close(i);
  return rc;
}

/* The container of a header, with zeros for tensors. */
static void safetensors_of(const uint8_t *header, size_t n) {
  for (int i = 0; i < 8; i++) sunk[i] = (uint8_t)((uint64_t)n >> 8 * i);
  memcpy(sunk + 8, header, n);
  memset(sunk + 8 + n, 0, DATA);
  const char *tail = n ? memmem(header, n, "\"end\":\"", 7) : NULL; /* how many bytes of tensors follow */
  const unsigned long bytes = tail ? strtoul(tail + 7, NULL, 10) : DATA;
  sunk_n = 8 + n + (bytes < DATA ? bytes : DATA);
}

static int import_hf(const uint8_t *data, size_t size, dd_error *err) {
  const uint8_t *mark = memmem(data, size, "\n%%\n", 4);
  const size_t n = mark ? (size_t)(mark - data) : size;
  mem_use((const char *const[]){"/m/hf/config.json", NULL}, data, n);
  if (mark) {
    safetensors_of(mark + 4, size - n - 4);
    mem[mem_n++] = (mem_entry){"/m/hf/model.safetensors", sunk, sunk_n};
  }
  return import("/m/hf", err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  dd_error err = {.message = ""};
  int rc = DD_E_CORRUPT;
  fuzz_name = "fuzz_models";
  sunk_room = size + 65536;
  sunk_n = 0;
  sunk = malloc(sunk_room);
  demand(sunk != NULL, "memory");
  const char kind = size ? (char)*data : 0;
  char *text = malloc(size + 1); /* a header is read to a NUL here */
  demand(text != NULL, "memory");
  if (size) memcpy(text, data + 1, size - 1);
  text[size ? size - 1 : 0] = '\0';
  if (kind == 'A') {
    mem_use((const char *const[]){"/m/ckpt.pt", NULL}, data + 1, size - 1);
    rc = import("/m/ckpt.pt", &err);
  } else if (kind == 'P') {
    archive_of(data + 1, size - 1);
    mem_use((const char *const[]){"/m/ckpt.pt", NULL}, sunk, sunk_n);
    mem[0].size = sunk_n;
    rc = import("/m/ckpt.pt", &err);
  } else if (kind == 'G') {
    dd_gguf *g;
    mem_use((const char *const[]){"/m/x.gguf", NULL}, data + 1, size - 1);
    rc = dd_gguf_open("/m/x.gguf", &g, &err);
    for (size_t i = 0; g && i < dd_gguf_pair_count(g); i++) {
      char value[64];
      dd_gguf_text(dd_gguf_pair_at(g, i), value, sizeof value);
    }
    dd_gguf_close(g);
  } else if (kind == 'H') rc = import_hf((const uint8_t *)text, size - 1, &err);
  demand(rc == DD_OK || rc == DD_E_CORRUPT || rc == DD_E_USAGE || rc == DD_E_IO, "status");
  demand(!rc || !*err.message || strlen(err.message) > 20, "sentence");
  free(text);
  free(sunk);
  if (kind) mem_done();
  *(rc ? &refused : &accepted) += 1;
  return 0;
}

#ifndef DD_LIBFUZZER
/* The smallest GPT-2, 1 layer of 2 channels with 3 positions and 2 symbols. */
#define TENSORS(X)                                                                                                     \
  X("transformer.wte.weight", 2, 2) X("transformer.wpe.weight", 3, 2) X("transformer.h.0.ln_1.weight", 2, 0)           \
  X("transformer.h.0.ln_1.bias", 2, 0) X("transformer.h.0.attn.c_attn.weight", 6, 2)                                   \
  X("transformer.h.0.attn.c_attn.bias", 6, 0) X("transformer.h.0.attn.c_proj.weight", 2, 2)                            \
  X("transformer.h.0.attn.c_proj.bias", 2, 0) X("transformer.h.0.ln_2.weight", 2, 0)                                   \
  X("transformer.h.0.ln_2.bias", 2, 0) X("transformer.h.0.mlp.c_fc.weight", 8, 2)                                      \
  X("transformer.h.0.mlp.c_fc.bias", 8, 0) X("transformer.h.0.mlp.c_proj.weight", 2, 8)                                \
  X("transformer.h.0.mlp.c_proj.bias", 2, 0) X("transformer.ln_f.weight", 2, 0) X("transformer.ln_f.bias", 2, 0)
static const struct {
  const char *name;
  int rows, cols;
} tensors[] = {
#define ROW(name, rows, cols) {name, rows, cols},
    TENSORS(ROW)};
enum { COUNT = sizeof tensors / sizeof *tensors };

static void seed_pickle(dd_bytes *b, int tag) {
  static const char *const keys[] = {"n_layer", "n_head", "n_embd", "block_size", "vocab_size", "bias"};
  static const int values[] = {1, 1, 2, 3, 2, 1};
  if (tag) dd_bytes_u8(b, 'P');
  dd_pk_begin(b);
  dd_pk_dict(b);
  dd_pk_string(b, "model");
  dd_pk_dict(b);
  for (int i = 0; i < COUNT; i++) {
    dd_pk_string(b, tensors[i].name);
    dd_pk_tensor(b, i, tensors[i].cols ? 2 : 1, tensors[i].rows, tensors[i].cols);
  }
  dd_pk_dict_end(b);
  dd_pk_string(b, "model_args");
  dd_pk_dict(b);
  for (int i = 0; i < 6; i++) dd_pk_string(b, keys[i]), dd_pk_int(b, values[i]);
  dd_pk_dict_end(b);
  dd_pk_dict_end(b);
  dd_pk_end(b);
}

static void seed_hf(dd_bytes *b) {
  int at = 0;
  dd_bytes_text(
      b, "H{\"model_type\":\"gpt2\",\"n_layer\":1,\"n_head\":1,\"n_embd\":2,\"n_positions\":3,\"vocab_size\":2,"
         "\"activation_function\":\"gelu\",\"n_inner\":null,\"layer_norm_epsilon\":1e-05,\"dd_cpu\":{\"bias\":true,"
         "\"tokenizer\":\"char\",\"vocab_size\":2,\"vocabulary\":[10,97]}}\n%%\n{");
  for (int i = 0; i < COUNT; i++) {
    const int cols = tensors[i].cols, turn = cols && i > 1, n = tensors[i].rows * (cols ? cols : 1) * 4;
    dd_bytes_printf(b, "\"%s\":{\"dtype\":\"F32\",\"shape\":[", tensors[i].name);
    if (!cols) dd_bytes_printf(b, "%d", tensors[i].rows);
    else dd_bytes_printf(b, "%d,%d", turn ? cols : tensors[i].rows, turn ? tensors[i].rows : cols);
    dd_bytes_printf(b, "],\"data_offsets\":[%d,%d]},", at, at + n);
    at += n;
  }
  dd_bytes_printf(b, "\"__metadata__\":{\"end\":\"%d\"}}", at);
}

static void seed_gguf(dd_bytes *b) {
  static const float zeros[64];
  dd_gguf_pairs p = {0};
  dd_gguf_tensor t[2] = {{.name = "token_embd.weight", .rows = 3, .cols = 2, .data = zeros},
                         {.name = "output_norm.bias", .rows = 5, .data = zeros}};
  dd_gguf_string(&p, "general.architecture", "gpt2");
  dd_gguf_u32(&p, "gpt2.block_count", 1);
  dd_gguf_f32(&p, "gpt2.attention.layer_norm_epsilon", 1e-5f);
  dd_gguf_array(&p, "tokenizer.ggml.tokens", DD_GGUF_STRING, 2);
  dd_gguf_element(&p, "a", 1);
  dd_gguf_element(&p, "bc", 2);
  dd_fs_ops ops = mem_ops;
  ops.write = keep;
  mem_use((const char *const[]){"/m/none", NULL}, NULL, 0);
  dd_fs_replace(&ops);
  sunk_n = 0;
  demand(!dd_gguf_write("/m/g", &p, t, 2, NULL), "gguf");
  dd_bytes_u8(b, 'G');
  dd_bytes_put(b, sunk, sunk_n);
  dd_bytes_free(&p.b);
}

static const char *const words[] = {"P",
                                    "A",
                                    "G",
                                    "H",
                                    "\"",
                                    "{",
                                    "}",
                                    "[",
                                    "]",
                                    ",",
                                    "0",
                                    "-1",
                                    "1",
                                    "2",
                                    "65536",
                                    "4294967296",
                                    "9223372036854775807",
                                    "transformer.",
                                    "_orig_mod.",
                                    "lm_head.weight",
                                    ".attn.bias",
                                    "ctorch\nHalfStorage\n",
                                    "ccollections\nOrderedDict\n",
                                    "cos\nsystem\n",
                                    ")R",
                                    "Q",
                                    "b",
                                    "PK\1\2",
                                    "PK\3\4",
                                    "PK\5\6",
                                    "\xff\xff\xff\xff",
                                    "K\1",
                                    "GGUF",
                                    "F16",
                                    "BF16",
                                    "I64",
                                    "\"n_layer\":2,",
                                    "\n%%\n",
                                    "u",
                                    "(",
                                    "t",
                                    "null"};

int main(int argc, char **argv) {
  dd_bytes b[4] = {{0}};
  dd_bytes pickle = {0};
  fuzz_name = "fuzz_models";
  seed_pickle(&b[0], 1);
  seed_hf(&b[1]);
  sunk = malloc(sunk_room = 1 << 17);
  demand(sunk != NULL, "memory");
  seed_gguf(&b[2]);
  seed_pickle(&pickle, 0);
  sunk_n = 0;
  archive_of(pickle.data, pickle.n);
  dd_bytes_u8(&b[3], 'A');
  dd_bytes_put(&b[3], sunk, sunk_n);
  free(sunk);
  fuzz_seed seeds[4];
  for (int i = 0; i < 4; i++) {
    demand(!b[i].failed, "memory");
    seeds[i] = (fuzz_seed){(const char *)b[i].data, b[i].n};
  }
  const int rc = fuzz_main(argc, argv, "fuzz_models", 40000, seeds, 4, words, sizeof words / sizeof *words);
  for (int i = 0; i < 4; i++) dd_bytes_free(&b[i]);
  dd_bytes_free(&pickle);
  return rc;
}
#endif
