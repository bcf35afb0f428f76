/* Strict reader and writer of safetensors, the container of checkpoints and of the golden cases.
 *
 * A file is: 8 bytes little-endian header length N, N bytes of JSON, then the tensors one after another without gaps.
 * What dd_st_write adds stays inside the format, so every other tool reads our files: two strings in __metadata__,
 *   header_xxh3   XXH3-128 of the first 8+N bytes of the file, with these 32 digits themselves taken as '0';
 *                 always the first entry of __metadata__, which is the first key of the header
 *   tensors_xxh3  XXH3-128 of the bytes of each tensor, 32 digits each, in file order, without separators
 * Together with the length rules, any changed byte of such a file is noticed: in the header by dd_st_open, in a tensor
 * when it is read. Files without them are accepted as foreign (dd_st_is_foreign): only their structure is checked. */
#ifndef DD_MODEL_SAFETENSORS_H
#define DD_MODEL_SAFETENSORS_H
#include "core/error.h"
#include <jansson.h>

#define DD_ST_MAX_HEADER (16u << 20) /* bytes; what a hostile file may make us allocate follows from these two */
#define DD_ST_MAX_TENSORS 65536u
#define DD_ST_MAX_DIMS 4
#define DD_ST_MAX_NAME 512 /* bytes */
#define DD_ST_ALIGN 64     /* the data begins at a multiple of this */

typedef enum dd_dtype {
  DD_F32,
  DD_I32,
  DD_F64,
  DD_U8,
  DD_I64,
  DD_U16,
  DD_I8,
  DD_I16,
  DD_U32,
  DD_U64,
  DD_F16,
  DD_BF16,
  DD_BOOL,
  DD_DTYPES
} dd_dtype;

typedef struct dd_tensor_info {
  const char *name; /* printable UTF-8, 1..DD_ST_MAX_NAME bytes, not "__metadata__" */
  dd_dtype dtype;
  int ndim; /* 0 (scalar) .. DD_ST_MAX_DIMS */
  int64_t shape[DD_ST_MAX_DIMS];
  const void *data;    /* writer only; may be NULL for a tensor without elements */
  uint64_t begin, end; /* reader only: byte offsets from the start of the data */
} dd_tensor_info;

/** Bytes of one element, and the name in the file ("F32"). */
size_t dd_dtype_size(dd_dtype t);
const char *dd_dtype_name(dd_dtype t);
/** product(shape) * dtype into *bytes; 0 when a dimension is negative or the product overflows, else 1. */
int dd_tensor_bytes(const dd_tensor_info *t, uint64_t *bytes);

/** Write all tensors in the order given, atomically and durably (dd_atomic_*). metadata: an object of strings, or NULL;
 *  it is not changed, and must not hold the two keys above. Usage mistakes are DD_E_USAGE and touch no file. */
int dd_st_write(const char *path, const dd_tensor_info *t, size_t n, const json_t *metadata, dd_error *err);
/** Exact size of the file dd_st_write would make, for the check of free space; 0 when it would refuse. */
uint64_t dd_st_size(const dd_tensor_info *t, size_t n, const json_t *metadata);

typedef struct dd_st dd_st;
/** Open and check everything but the tensor bytes. DD_E_CORRUPT: damaged; DD_E_IO: could not be read. */
int dd_st_open(const char *path, dd_st **out, dd_error *err);
/** 1 when the file carries no hashes of ours. */
int dd_st_is_foreign(const dd_st *st);
size_t dd_st_count(const dd_st *st);
/** i-th tensor in file order (the order of dd_st_write), NULL beyond the end; lives as long as st. */
const dd_tensor_info *dd_st_at(const dd_st *st, size_t i);
/** Tensor of that name or NULL. */
const dd_tensor_info *dd_st_find(const dd_st *st, const char *name);
/** __metadata__, an object of strings (empty when the file has none), without our two keys; owned by st. */
const json_t *dd_st_metadata(const dd_st *st);
/** One string of it, or NULL. */
const char *dd_st_meta(const dd_st *st, const char *key);
const char *dd_st_path(const dd_st *st);
/** Read the bytes of tensor t (one that st handed out), which must be exactly `bytes`, and verify their hash. */
int dd_st_read(dd_st *st, const dd_tensor_info *t, void *dst, size_t bytes, dd_error *err);
/** Check the hash of every tensor with a small buffer. Foreign files: that every byte can be read. */
int dd_st_verify(dd_st *st, dd_error *err);
void dd_st_close(dd_st *st); /* accepts NULL */
#endif
