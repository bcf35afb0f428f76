/* What import.c knows of a file of weights; one opener per kind of file. */
#ifndef DD_RUN_IMPORT_INTERNAL_H
#define DD_RUN_IMPORT_INTERNAL_H
#include "run/import.h"

typedef struct dd_import_tensor {
  int ndim;
  int64_t shape[4];
} dd_import_tensor;

struct dd_import {
  char path[4096];
  dd_shape shape;
  dd_vocab vocab;
  int has_vocab;
  int conv1d;         /* matrices inside blocks are stored transposed */
  const char *prefix; /* what precedes the names of DD_TENSORS_*: "", or "transformer." is missing: NULL */
  void *self;         /* of the functions below */
  void (*close)(void *self);
  /* i-th tensor of the file: its name, or NULL after the last. */
  const char *(*name)(void *self, size_t i);
  /* 1 when there is such a tensor. */
  int (*find)(void *self, const char *name, dd_import_tensor *out);
  /* Its n numbers as floats. */
  int (*read)(void *self, const char *name, float *out, int64_t n, dd_error *err);
};

/** Fill i->shape, vocab, and the functions. path: a directory or safetensors file (hf), a file that begins like a zip
 *  archive (torch), a checkpoint or run directory (run). */
int dd_import_hf(dd_import *i, const char *path, const dd_callbacks *cb, dd_error *err);
/** Does the file begin like a zip archive? */
int dd_import_is_torch(const char *path);
int dd_import_torch(dd_import *i, const char *path, dd_error *err);
/** Is there a model.safetensors, whole or in parts, in the directory? */
int dd_import_is_hf(const char *dir);
int dd_import_run(dd_import *i, const char *path, const dd_callbacks *cb, dd_error *err);
#endif
