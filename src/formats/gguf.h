/* GGUF version 3 (ggml), the files of llama.cpp: key/value pairs, a list of tensors, the tensors at multiples of 32
 * bytes. Dimensions are listed innermost first. Numbers are little-endian. */
#ifndef DD_FORMATS_GGUF_H
#define DD_FORMATS_GGUF_H
#include "formats/bytes.h"

enum {
  DD_GGUF_VERSION = 3,
  DD_GGUF_ALIGN = 32,
  DD_GGUF_MAX_DIMS = 4,
  DD_GGUF_MAX_TENSORS = 65536,
  DD_GGUF_MAX_PAIRS = 65536,
  DD_GGUF_MAX_HEADER = 1 << 28, /* bytes before the tensors: a vocabulary of a million entries fits */
  DD_GGUF_MAX_KEY = 1024        /* bytes of a key or of the name of a tensor, which has 63 at most in llama.cpp */
};

typedef enum dd_gguf_type {
  DD_GGUF_U8, DD_GGUF_I8, DD_GGUF_U16, DD_GGUF_I16, DD_GGUF_U32, DD_GGUF_I32, DD_GGUF_F32, DD_GGUF_BOOL, DD_GGUF_STRING,
  DD_GGUF_ARRAY, DD_GGUF_U64, DD_GGUF_I64, DD_GGUF_F64, DD_GGUF_TYPES
} dd_gguf_type;

/* ---- writing ---- */

/** Pairs, put together one after another. */
typedef struct dd_gguf_pairs {
  dd_bytes b;
  uint64_t n;
} dd_gguf_pairs;
void dd_gguf_u32(dd_gguf_pairs *p, const char *key, uint32_t v);
void dd_gguf_f32(dd_gguf_pairs *p, const char *key, float v);
void dd_gguf_bool(dd_gguf_pairs *p, const char *key, int v);
void dd_gguf_string(dd_gguf_pairs *p, const char *key, const char *v);
/** The head of an array: `count` elements must follow, strings by dd_gguf_element, numbers by dd_bytes_*. */
void dd_gguf_array(dd_gguf_pairs *p, const char *key, dd_gguf_type type, uint64_t count);
void dd_gguf_element(dd_gguf_pairs *p, const char *text, size_t n);

typedef struct dd_gguf_tensor {
  char name[64];
  int64_t rows, cols; /* row after row; cols 0: a vector of rows */
  const float *data;
} dd_gguf_tensor;
/** A file of float32 tensors, atomically and durably (dd_atomic_*). */
int dd_gguf_write(const char *path, const dd_gguf_pairs *p, const dd_gguf_tensor *t, size_t n, dd_error *err);

/* ---- reading ---- */

typedef struct dd_gguf_pair {
  const char *key; /* key_n bytes, printable UTF-8, not terminated */
  size_t key_n;
  dd_gguf_type type, element; /* element: of arrays */
  uint64_t count;  /* elements of an array, else 1 */
  const unsigned char *value; /* its bytes in the header; of a string behind its length */
  size_t bytes;
} dd_gguf_pair;

typedef struct dd_gguf_entry {
  const char *name;
  size_t name_n;
  int ndim;
  uint64_t shape[DD_GGUF_MAX_DIMS]; /* innermost first */
  uint32_t type;    /* of ggml: 0 F32, 1 F16, 30 BF16, others are quantized */
  uint64_t offset;  /* from the start of the data */
} dd_gguf_entry;

typedef struct dd_gguf dd_gguf;
/** 1 when head[n], the first bytes of a file, begin like the format. */
int dd_gguf_is(const unsigned char *head, size_t n);
/** Read and check pairs and tensors; not the tensors' numbers. DD_E_CORRUPT: damaged, another version or byte order. */
int dd_gguf_open(const char *path, dd_gguf **out, dd_error *err);
void dd_gguf_close(dd_gguf *g); /* accepts NULL */
size_t dd_gguf_pair_count(const dd_gguf *g);
const dd_gguf_pair *dd_gguf_pair_at(const dd_gguf *g, size_t i);
/** Pair of that key, or NULL. */
const dd_gguf_pair *dd_gguf_find(const dd_gguf *g, const char *key);
/** Text of a string pair into out[size], cut off and made fit to print; "" when p is NULL or no string. */
void dd_gguf_text(const dd_gguf_pair *p, char *out, size_t size);
/** Value of a whole-number pair, or otherwise. */
uint64_t dd_gguf_number(const dd_gguf_pair *p, uint64_t otherwise);
size_t dd_gguf_tensor_count(const dd_gguf *g);
const dd_gguf_entry *dd_gguf_tensor_at(const dd_gguf *g, size_t i);
/** Name of a type of ggml, "?" when it is not known. */
const char *dd_gguf_tensor_type(uint32_t type);
#endif
