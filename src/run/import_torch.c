/* --init-from nanoGPT's ckpt.pt: a dict with "model", a state_dict, and "model_args", in the archive of torch.save. The
 * pickle in it is read as data, its tensors are looked up, nothing is run. */
#include "core/checked.h"
#include "core/file.h"
#include "formats/float16.h"
#include "formats/pickle.h"
#include "formats/zip.h"
#include "model/safetensors.h"
#include "run/import_internal.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef dd_pickle_value value;

typedef struct torch_tensor {
  char name[96];
  dd_dtype dtype;
  const dd_zip_entry *storage;
  uint64_t offset, count; /* elements */
  dd_import_tensor t;
} torch_tensor;

typedef struct torch_file {
  const char *path;
  dd_zip *zip;
  char root[DD_ZIP_MAX_NAME + 1]; /* the folder in the archive, with its slash */
  char *pickled;
  dd_pickle *pickle;
  torch_tensor *list; /* sorted by name */
  size_t n;
} torch_file;

static void close_torch(void *self) {
  torch_file *f = self;
  dd_pickle_free(f->pickle);
  free(f->pickled);
  free(f->list);
  dd_zip_close(f->zip);
  free(f);
}

static const char *name_of(void *self, size_t i) {
  const torch_file *f = self;
  return i < f->n ? f->list[i].name : NULL;
}

static int by_name(const void *a, const void *b) {
  return strcmp(((const torch_tensor *)a)->name, ((const torch_tensor *)b)->name);
}

static const torch_tensor *tensor_of(const torch_file *f, const char *name) {
  torch_tensor key;
  snprintf(key.name, sizeof key.name, "%s", name);
  return f->n ? bsearch(&key, f->list, f->n, sizeof key, by_name) : NULL;
}

static int find(void *self, const char *name, dd_import_tensor *out) {
  const torch_tensor *t = tensor_of(self, name);
  if (t) *out = t->t;
  return t != NULL;
}

static int read_one(void *self, const char *name, float *out, int64_t n, dd_error *err) {
  torch_file *f = self;
  const torch_tensor *t = tensor_of(f, name);
  if (t->dtype != DD_F32 && t->dtype != DD_F16 && t->dtype != DD_BF16)
    return dd_fail(err, DD_E_CORRUPT, "%.600s: tensor %s is of another type than float32, float16 and bfloat16",
                   f->path, name);
  unsigned char *all = malloc(t->storage->n ? (size_t)t->storage->n : 1);
  int rc = all ? dd_zip_read(f->zip, t->storage, all, err)
               : dd_fail(err, DD_E_RUNTIME, "out of memory while reading %.600s", f->path);
  const size_t each = dd_dtype_size(t->dtype);
  const unsigned char *from = rc ? NULL : all + (size_t)t->offset * each;
  if (!rc && each == 4) memcpy(out, from, (size_t)n * 4);
  for (int64_t i = 0; i < n && !rc && each == 2; i++) {
    const uint16_t half = (uint16_t)dd_load_le(from + 2 * i, 2);
    out[i] = t->dtype == DD_F16 ? dd_from_f16(half) : dd_from_bf16(half);
  }
  free(all);
  return rc;
}

/* ---- what the pickle says ---- */

static int is_text(const value *v, const char *text) {
  return v && (v->kind == DD_PICKLE_TEXT || v->kind == DD_PICKLE_GLOBAL) && v->size == strlen(text) &&
         !memcmp(v->text, text, v->size);
}

/* Element i of a tuple, or NULL. */
static const value *at(const value *v, size_t i) {
  return v && v->kind == DD_PICKLE_TUPLE && i < v->count ? v->item[i] : NULL;
}

static int count_of(const value *v, uint64_t *out) {
  if (!v || v->kind != DD_PICKLE_INT || v->integer < 0) return 0;
  *out = (uint64_t)v->integer;
  return 1;
}

static int dtype_of(const value *v, dd_dtype *out) {
  static const struct { const char *name; dd_dtype dtype; } types[] = {
      {"torch\nFloatStorage", DD_F32}, {"torch\nHalfStorage", DD_F16}, {"torch\nBFloat16Storage", DD_BF16},
      {"torch\nDoubleStorage", DD_F64}, {"torch\nLongStorage", DD_I64}, {"torch\nIntStorage", DD_I32},
      {"torch\nShortStorage", DD_I16}, {"torch\nCharStorage", DD_I8}, {"torch\nByteStorage", DD_U8},
      {"torch\nBoolStorage", DD_BOOL}};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (is_text(v, types[i].name)) return *out = types[i].dtype, 1;
  return 0;
}

/* Arguments of a call of that function, or NULL. */
static const value *call_of(const value *v, const char *function) {
  return v && v->kind == DD_PICKLE_CALL && is_text(v->item[0], function) ? v->item[1] : NULL;
}

static const dd_zip_entry *entry_of(const torch_file *f, const value *key) {
  char name[DD_ZIP_MAX_NAME + 1];
  if (!key || key->kind != DD_PICKLE_TEXT || key->size > 64) return NULL;
  snprintf(name, sizeof name, "%.400sdata/%.*s", f->root, (int)key->size, key->text);
  return dd_zip_find(f->zip, name);
}

/* Size and strides: rows one after another. */
static int read_shape(const value *size, const value *stride, torch_tensor *t) {
  uint64_t next = 1, step;
  if (!size || size->kind != DD_PICKLE_TUPLE || size->count > 4 || !stride || stride->kind != DD_PICKLE_TUPLE ||
      stride->count != size->count)
    return 0;
  t->t.ndim = (int)size->count;
  for (size_t i = size->count; i-- > 0;) {
    uint64_t n;
    if (!count_of(size->item[i], &n) || n > INT64_MAX || !count_of(stride->item[i], &step) || (n > 1 && step != next) ||
        !dd_mul_u64(next, n, &next))
      return 0;
    t->t.shape[i] = (int64_t)n;
  }
  t->count = next;
  return 1;
}

/* torch._utils._rebuild_tensor_v2((storage, offset, size, stride ...)), perhaps as a parameter. */
static int read_tensor(const torch_file *f, const value *v, torch_tensor *t) {
  const value *parameter = call_of(v, "torch._utils\n_rebuild_parameter");
  const value *a = call_of(parameter ? at(parameter, 0) : v, "torch._utils\n_rebuild_tensor_v2");
  const value *p = at(a, 0), *id = p && p->kind == DD_PICKLE_PERSISTENT ? p->item[0] : NULL;
  uint64_t end, bytes, own;
  if (!is_text(at(id, 0), "storage") || !dtype_of(at(id, 1), &t->dtype) || !(t->storage = entry_of(f, at(id, 2))) ||
      !count_of(at(a, 1), &t->offset) || !read_shape(at(a, 2), at(a, 3), t))
    return 0;
  return dd_add_u64(t->offset, t->count, &end) && dd_mul_u64(end, dd_dtype_size(t->dtype), &bytes) &&
         bytes <= t->storage->n && dd_mul_u64(t->count, dd_dtype_size(t->dtype), &own) &&
         t->storage->n / 16 <= own + 4096; /* all of it is read for the sake of this part */
}

static int corrupt(const torch_file *f, const char *what, dd_error *err) {
  return dd_fail(err, DD_E_CORRUPT, "%.600s is no checkpoint of nanoGPT that can be read here: %s; save it again",
                 f->path, what);
}

static int read_state(torch_file *f, const value *model, dd_error *err) {
  static const char compiled[] = "_orig_mod."; /* torch.compile puts it before every name */
  if (!model || model->kind != DD_PICKLE_DICT || !model->count) return corrupt(f, "it holds no \"model\"", err);
  if (model->count / 2 > DD_ST_MAX_TENSORS) return corrupt(f, "it holds too many tensors", err);
  f->list = calloc(model->count / 2, sizeof *f->list);
  if (!f->list) return dd_fail(err, DD_E_RUNTIME, "out of memory while reading %.600s", f->path);
  for (size_t i = 0; i + 1 < model->count; i += 2) {
    const value *key = model->item[i];
    torch_tensor *t = f->list + f->n++;
    size_t skip = sizeof compiled - 1;
    if (key->kind != DD_PICKLE_TEXT) return corrupt(f, "a tensor has no name", err);
    if (key->size < skip || memcmp(key->text, compiled, skip)) skip = 0;
    const size_t n = key->size - skip;
    if (!n || n >= sizeof t->name) return corrupt(f, "a tensor has no usable name", err);
    for (size_t k = 0; k < n; k++) {
      t->name[k] = key->text[skip + k];
      if (t->name[k] < 32 || t->name[k] > 126) return corrupt(f, "a tensor has no usable name", err);
    }
    if (!read_tensor(f, model->item[i + 1], t)) {
      char what[160];
      snprintf(what, sizeof what, "tensor %s is not stored row after row in its storage", t->name);
      return corrupt(f, what, err);
    }
  }
  /* Tensors may share a storage, as embedding and output do, but not so that a small file is a large model. */
  uint64_t all = 0, held = 0;
  for (size_t i = 0; i < f->n; i++) all += f->list[i].count * dd_dtype_size(f->list[i].dtype);
  for (size_t i = 0; dd_zip_at(f->zip, i); i++) held += dd_zip_at(f->zip, i)->n;
  if (all / 2 > held) return corrupt(f, "its tensors are larger than the file", err);
  qsort(f->list, f->n, sizeof *f->list, by_name);
  for (size_t i = 1; i < f->n; i++)
    if (!strcmp(f->list[i - 1].name, f->list[i].name)) return corrupt(f, "two tensors have one name", err);
  return DD_OK;
}

static int whole(const torch_file *f, const value *args, const char *key, int64_t least, int64_t most, int64_t *out,
                 dd_error *err) {
  const value *v = dd_pickle_get(args, key);
  if (!v || (v->kind != DD_PICKLE_INT && v->kind != DD_PICKLE_BOOL) || v->integer < least || v->integer > most)
    return dd_fail(err, DD_E_CORRUPT,
                   "%.600s: %s in model_args must be a number from %lld to %lld for a model that can be "
                   "trained here",
                   f->path, key, (long long)least, (long long)most);
  *out = v->integer;
  return DD_OK;
}

static int read_args(const torch_file *f, const value *args, dd_shape *s, dd_error *err) {
  int64_t bias = 0;
  int rc;
  if ((rc = whole(f, args, "n_layer", 1, 4096, &s->L, err)) || (rc = whole(f, args, "n_head", 1, 4096, &s->H, err)) ||
      (rc = whole(f, args, "n_embd", 1, 65536, &s->C, err)) ||
      (rc = whole(f, args, "block_size", 1, 65536, &s->S, err)) ||
      (rc = whole(f, args, "vocab_size", 1, DD_VOCAB_MAX, &s->V, err)) ||
      (rc = whole(f, args, "bias", 0, 1, &bias, err)))
    return rc;
  s->bias = (int)bias;
  return s->C % s->H ? corrupt(f, "n_embd is not a multiple of n_head", err) : DD_OK;
}

/* The entry data.pkl and the folder that it is in. */
static const dd_zip_entry *find_pickle(torch_file *f) {
  static const char name[] = "data.pkl";
  const dd_zip_entry *e;
  for (size_t i = 0; (e = dd_zip_at(f->zip, i)); i++) {
    const char *slash = strchr(e->name, '/');
    const size_t n = slash ? (size_t)(slash - e->name) + 1 : 0;
    if (n > 400 || strcmp(e->name + n, name)) continue;
    snprintf(f->root, sizeof f->root, "%.*s", (int)n, e->name);
    return e;
  }
  return NULL;
}

static int check_order(torch_file *f, dd_error *err) {
  char name[DD_ZIP_MAX_NAME + 1], order[8] = "";
  snprintf(name, sizeof name, "%.400sbyteorder", f->root);
  const dd_zip_entry *e = dd_zip_find(f->zip, name);
  if (!e) return DD_OK;
  const int rc = e->n < sizeof order ? dd_zip_read(f->zip, e, order, err) : DD_OK;
  return rc || !strcmp(order, "little") ? rc : corrupt(f, "it was saved on a machine of another byte order", err);
}

int dd_import_torch(dd_import *i, const char *path, dd_error *err) {
  torch_file *f = calloc(1, sizeof *f);
  if (!f) return dd_fail(err, DD_E_RUNTIME, "out of memory while opening %.600s", path);
  f->path = i->path;
  i->self = f;
  i->close = close_torch;
  i->name = name_of;
  i->find = find;
  i->read = read_one;
  int rc = dd_zip_open(path, &f->zip, err);
  if (rc) return rc;
  const dd_zip_entry *e = find_pickle(f);
  if (!e) return corrupt(f, "torch.save did not write it", err);
  if (e->n > DD_PICKLE_BYTES) return corrupt(f, "its data.pkl is too large", err);
  f->pickled = malloc((size_t)e->n + 1);
  if (!f->pickled) return dd_fail(err, DD_E_RUNTIME, "out of memory while reading %.600s", path);
  if ((rc = check_order(f, err)) || (rc = dd_zip_read(f->zip, e, f->pickled, err)) ||
      (rc = dd_pickle_parse_torch(f->pickled, (size_t)e->n, path, &f->pickle, err)))
    return rc;
  const value *root = dd_pickle_root(f->pickle);
  if ((rc = read_state(f, dd_pickle_get(root, "model"), err))) return rc;
  return read_args(f, dd_pickle_get(root, "model_args"), &i->shape, err);
}

int dd_import_is_torch(const char *path) {
  unsigned char head[4] = {0};
  const int fd = dd_fs()->open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
  const int is =
      fd >= 0 && dd_fs()->pread(fd, head, sizeof head, 0) == (ssize_t)sizeof head && dd_zip_is(head, sizeof head);
  if (fd >= 0) dd_fs()->close(fd);
  return is;
}
