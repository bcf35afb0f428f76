/* --init-from a run of our own: the parameters of its best checkpoint, nothing else. */
#include "run/checkpoint.h"
#include "run/import_internal.h"
#include "run/rundir.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct own_run {
  dd_checkpoint *c;
  dd_layout layout;
  float *flat; /* NULL until the first tensor is read */
  int last;    /* found before: they are asked for in order */
} own_run;

static void close_run(void *self) {
  own_run *r = self;
  dd_checkpoint_close(r->c);
  dd_layout_destroy(&r->layout);
  free(r->flat);
  free(r);
}

static const char *name_of(void *self, size_t i) {
  const own_run *r = self;
  return i < (size_t)r->layout.count ? r->layout.tensors[i].name : NULL;
}

static const dd_tensor *tensor_of(own_run *r, const char *name) {
  for (int i = 0; i < r->layout.count; i++) {
    const int k = (r->last + i) % r->layout.count;
    if (!strcmp(r->layout.tensors[k].name, name)) return r->layout.tensors + (r->last = k);
  }
  return NULL;
}

static int find(void *self, const char *name, dd_import_tensor *out) {
  const dd_tensor *t = tensor_of(self, name);
  if (!t) return 0;
  *out = (dd_import_tensor){.ndim = t->cols ? 2 : 1, .shape = {t->rows, t->cols}};
  return 1;
}

static int read_one(void *self, const char *name, float *out, int64_t n, dd_error *err) {
  own_run *r = self;
  const dd_tensor *t = tensor_of(r, name);
  if (!r->flat) {
    r->flat = malloc((size_t)r->layout.floats * sizeof *r->flat);
    const int rc = r->flat ? dd_checkpoint_read(r->c, &r->layout, r->flat, NULL, NULL, err)
                           : dd_fail(err, DD_E_RUNTIME, "out of memory for the weights to begin with");
    if (rc) {
      free(r->flat);
      r->flat = NULL;
      return rc;
    }
  }
  memcpy(out, r->flat + t->offset, (size_t)n * sizeof *out);
  return DD_OK;
}

int dd_import_run(dd_import *i, const char *path, const dd_callbacks *cb, dd_error *err) {
  char file[4096];
  own_run *r = calloc(1, sizeof *r);
  (void)cb;
  if (!r) return dd_fail(err, DD_E_RUNTIME, "out of memory while opening %.600s", path);
  i->self = r;
  i->close = close_run;
  i->name = name_of;
  i->find = find;
  i->read = read_one;
  int rc = dd_run_find_checkpoint(path, "best", file, sizeof file, err);
  if (!rc) rc = dd_checkpoint_open(file, &r->c, err);
  if (!rc) rc = dd_checkpoint_verify(r->c, err);
  if (rc) return rc;
  i->shape = *dd_checkpoint_shape(r->c);
  i->has_vocab = dd_checkpoint_vocab(r->c)->kind != DD_VOCAB_NUMBER;
  if ((rc = dd_layout_create(&r->layout, &i->shape, err))) return rc;
  return i->has_vocab ? dd_vocab_copy(&i->vocab, dd_checkpoint_vocab(r->c), err) : DD_OK;
}
