#include "run/import_internal.h"
#include "core/file.h"
#include "model/safetensors.h"
#include "run/rundir.h"
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char HEAD[] = "lm_head.weight"; /* the same numbers as wte: DD_TENSORS_HEAD's first */

/* "transformer.h.0.attn.bias" and "...masked_bias": the causal mask, which some files carry along. */
static int is_mask(const char *name) {
  const size_t n = strlen(name);
  return (n > 10 && !strcmp(name + n - 10, ".attn.bias")) || (n > 17 && !strcmp(name + n - 17, ".attn.masked_bias"));
}

/* Name of a tensor in the file; GPT2Model's own files have no "transformer." */
static void file_name(const dd_import *i, const char *canonical, char out[96]) {
  static const char stem[] = "transformer.";
  const size_t skip = i->prefix ? 0 : strlen(stem);
  snprintf(out, 96, "%s", canonical + (strncmp(canonical, stem, strlen(stem)) ? 0 : skip));
}

static int inside_block(const char *canonical) { return strncmp(canonical, "transformer.h.", 14) == 0; }

/* Is a tensor of the file that of the model? Matrices may be transposed. */
static int fits(const dd_import *i, const dd_tensor *t, const dd_import_tensor *have) {
  if (!t->cols) return have->ndim == 1 && have->shape[0] == t->rows;
  const int turned = i->conv1d && inside_block(t->name);
  return have->ndim == 2 && have->shape[turned] == t->rows && have->shape[!turned] == t->cols;
}

/* Is it a tensor of the model? Every block is like the first, so only the names of that are looked at. */
static int known(const dd_layout *full, const dd_import *i, const char *name) {
  static const char block[] = "transformer.h.";
  char own[160], *end;
  if (is_mask(name) || !strcmp(name, HEAD)) return 1;
  snprintf(own, sizeof own, "%s%.100s", i->prefix ? "" : "transformer.", name);
  if (!strncmp(own, block, strlen(block))) {
    char *digits = own + strlen(block);
    const unsigned long number = strspn(digits, "0123456789") ? strtoul(digits, &end, 10) : ULONG_MAX;
    if (number >= (unsigned long)full->shape.L || *end != '.') return 0;
    *digits = '0';
    memmove(digits + 1, end, strlen(end) + 1);
  }
  const int each = (full->count - 4) / (int)full->shape.L; /* two tensors before the blocks, two after them */
  for (int k = 0; k < full->count; k = k == 1 + each ? full->count - 2 : k + 1)
    if (!strcmp(full->tensors[k].name, own)) return 1;
  return 0;
}

/* Every tensor of the model is there as it must be, and no other that would be lost. */
static int check_tensors(dd_import *i, dd_error *err) {
  dd_layout full;
  dd_shape shape = i->shape;
  char name[96];
  const char *other;
  shape.bias = 1;
  int rc = dd_layout_create(&full, &shape, err);
  for (int k = 0; k < full.count && !rc; k++) {
    const dd_tensor *t = full.tensors + k;
    dd_import_tensor have = {0};
    file_name(i, t->name, name);
    const int there = i->find(i->self, name, &have);
    if (!there && (i->shape.bias || t->init != DD_INIT_BIAS))
      rc = dd_fail(err, DD_E_CORRUPT, "%.600s has no tensor %s: this is no whole GPT-2 model; fetch or save it again",
                   i->path, name);
    else if (there && !fits(i, t, &have))
      rc = dd_fail(err, DD_E_CORRUPT, "%.600s: tensor %s has another shape than the configuration says (%d layers, %d "
                   "channels, %d positions, %d symbols); the files do not belong together", i->path, name,
                   (int)shape.L, (int)shape.C, (int)shape.S, (int)shape.V);
  }
  for (size_t n = 0; !rc && (other = i->name(i->self, n)); n++)
    if (!known(&full, i, other))
      rc = dd_fail(err, DD_E_CORRUPT, "%.600s holds tensor %.80s, which a GPT-2 with tied embeddings does not have; "
                   "such a model cannot be trained here", i->path, other);
  dd_layout_destroy(&full);
  return rc;
}

/* ---- reading ---- */

static int read_tensor(dd_import *i, const dd_tensor *t, float *out, dd_error *err) {
  char name[96];
  file_name(i, t->name, name);
  const int rc = i->read(i->self, name, out, t->size, err);
  if (rc) return rc;
  for (int64_t e = 0; e < t->size; e++)
    if (!isfinite(out[e]))
      return dd_fail(err, DD_E_CORRUPT, "%.600s: tensor %s holds a number that is not finite; such weights cannot be "
                     "trained", i->path, name);
  return DD_OK;
}

/* [cols][rows] -> [rows][cols], in blocks that stay in the cache. */
static void transpose(float *to, const float *from, int64_t rows, int64_t cols) {
  enum { B = 32 };
  for (int64_t r = 0; r < rows; r += B)
    for (int64_t c = 0; c < cols; c += B)
      for (int64_t y = r; y < rows && y < r + B; y++)
        for (int64_t x = c; x < cols && x < c + B; x++) to[y * cols + x] = from[x * rows + y];
}

static int all_zero(const float *x, int64_t n) {
  for (int64_t e = 0; e < n; e++)
    if (x[e] != 0) return 0;
  return 1;
}

/* Tensor t of the file, whose place in the wanted layout is `to` (NULL: it has none, so it must be zero). */
static int take(dd_import *i, const dd_tensor *t, const dd_tensor *to, float *flat, float *work, dd_error *err) {
  dd_import_tensor have;
  char name[96];
  file_name(i, t->name, name);
  if (!i->find(i->self, name, &have)) { /* a bias */
    if (to) memset(flat + to->offset, 0, (size_t)to->size * sizeof *flat);
    return DD_OK;
  }
  const int rc = read_tensor(i, t, work, err);
  if (rc) return rc;
  if (!to)
    return all_zero(work, t->size) ? DD_OK
                                   : dd_fail(err, DD_E_USAGE, "%.600s has biases that are not zero (%s): leave out "
                                             "--no-bias", i->path, name);
  if (i->conv1d && t->cols && inside_block(t->name)) transpose(flat + to->offset, work, t->rows, t->cols);
  else memcpy(flat + to->offset, work, (size_t)to->size * sizeof *flat); /* of wpe perhaps only the first rows */
  return DD_OK;
}

/* Embedding and head must be one matrix. */
static int check_head(dd_import *i, const dd_layout *l, const float *wte, float *work, dd_error *err) {
  dd_import_tensor have;
  const dd_tensor *t = l->tensors;
  if (!i->find(i->self, HEAD, &have)) return DD_OK;
  int same = have.ndim == 2 && have.shape[0] == t->rows && have.shape[1] == t->cols;
  if (same) {
    const int rc = i->read(i->self, HEAD, work, t->size, err);
    if (rc) return rc;
    same = memcmp(work, wte, (size_t)t->size * sizeof *wte) == 0;
  }
  return same ? DD_OK
              : dd_fail(err, DD_E_CORRUPT,
                        "%.600s: %s is not the same as %s; a model whose embedding and output are not "
                        "tied cannot be trained here",
                        i->path, HEAD, t->name);
}

int dd_import_read(dd_import *i, const dd_layout *l, float *flat, dd_error *err) {
  dd_layout full; /* of the file, with all biases */
  dd_shape shape = i->shape;
  int64_t largest = 0;
  int own = 0;
  shape.bias = 1;
  int rc = dd_layout_create(&full, &shape, err);
  if (rc) return rc;
  for (int k = 0; k < full.count; k++)
    if (full.tensors[k].size > largest) largest = full.tensors[k].size;
  float *work = malloc((size_t)largest * sizeof *work);
  if (!work) rc = dd_fail(err, DD_E_RUNTIME, "out of memory while reading %.600s", i->path);
  memset(flat, 0, (size_t)l->floats * sizeof *flat);
  for (int k = 0; k < full.count && !rc; k++) {
    const dd_tensor *t = full.tensors + k;
    const int wanted = l->shape.bias || t->init != DD_INIT_BIAS;
    rc = take(i, t, wanted ? l->tensors + own++ : NULL, flat, work, err);
  }
  if (!rc) rc = check_head(i, &full, flat + l->tensors[0].offset, work, err);
  free(work);
  dd_layout_destroy(&full);
  return rc;
}

/* ---- opening ---- */

static int exists_in(const char *dir, const char *name) {
  char path[4096];
  return !dd_path_join(path, sizeof path, dir, name, NULL) && dd_is_file(path);
}

int dd_import_open(const char *path, const dd_callbacks *cb, dd_import **out, dd_error *err) {
  *out = NULL;
  int there = 0, rc = dd_file_exists(path, &there, err);
  if (rc) return rc;
  if (!there)
    return dd_fail(err, DD_E_IO, "init_from %.600s: there is no such file or directory; name a directory with "
                   "config.json and model.safetensors, a ckpt.pt or a run", path);
  dd_import *i = calloc(1, sizeof *i);
  if (!i) return dd_fail(err, DD_E_RUNTIME, "out of memory while opening %.600s", path);
  snprintf(i->path, sizeof i->path, "%s", path);
  i->prefix = "";
  const int dir = dd_is_dir(path);
  if (dir && dd_import_is_hf(path)) rc = dd_import_hf(i, path, cb, err);
  else if (dir && (exists_in(path, "latest") || exists_in(path, "best"))) rc = dd_import_run(i, path, cb, err);
  else if (dir)
    rc = dd_fail(err, DD_E_USAGE,
                 "init_from %.600s: this directory has neither a model.safetensors (of Hugging Face) nor "
                 "a checkpoint of a run; a ckpt.pt is named itself",
                 path);
  else {
    dd_st *st = NULL;
    const int archive = dd_import_is_torch(path);
    if (archive) rc = dd_import_torch(i, path, err);
    else rc = dd_st_open(path, &st, err);
    const int own = st && dd_st_meta(st, "format") && !strncmp(dd_st_meta(st, "format"), "dd-cpu", 6);
    dd_st_close(st);
    if (!rc && !archive) rc = own ? dd_import_run(i, path, cb, err) : dd_import_hf(i, path, cb, err);
  }
  if (!rc) rc = check_tensors(i, err);
  if (rc) dd_import_close(i);
  else *out = i;
  return rc;
}

void dd_import_close(dd_import *i) {
  if (!i) return;
  if (i->close && i->self) i->close(i->self);
  dd_vocab_free(&i->vocab);
  free(i);
}

const dd_shape *dd_import_shape(const dd_import *i) { return &i->shape; }
const dd_vocab *dd_import_vocab(const dd_import *i) { return i->has_vocab ? &i->vocab : NULL; }
