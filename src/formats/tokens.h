/* Files of token ids, one id after another: raw uint16 (nanoGPT's train.bin), NumPy's .npy, llm.c's .bin.
 * A format is told by its first bytes; what is none of the others is raw. All numbers are little-endian. */
#ifndef DD_FORMATS_TOKENS_H
#define DD_FORMATS_TOKENS_H
#include "core/error.h"
#include <stdbool.h>

typedef enum dd_token_format {
  DD_TOKENS_RAW, /* nothing but uint16 */
  DD_TOKENS_NPY, /* NumPy's format, versions 1 to 3, one dimension of integers */
  DD_TOKENS_LLMC /* header of 256 int32 (magic, version, number of tokens), then uint16 or uint32 */
} dd_token_format;

/** Where the ids of a file are. */
typedef struct dd_token_layout {
  dd_token_format format;
  int version;     /* of the format; 0: raw */
  int width;       /* bytes of an id: 1, 2, 4 or 8 */
  bool is_signed;
  uint64_t at;     /* byte at which the first begins */
  uint64_t count;
} dd_token_layout;

enum { DD_TOKENS_HEAD = 1 << 16 }; /* first bytes of a file that any header fits into */

/** Do head[n], the first bytes of a file, begin like the format? */
bool dd_npy_is(const unsigned char *head, size_t n);
bool dd_llmc_is(const unsigned char *head, size_t n);
/** Read the header in head[n], the first min(size, DD_TOKENS_HEAD) bytes of a file of `size` bytes, for which the
 *  _is() above holds. DD_E_CORRUPT: damaged, or holds something else than little-endian integers in one dimension; the
 *  length of the file is exactly what the header promises. path: for messages. */
int dd_npy_layout(const char *path, const unsigned char *head, size_t n, uint64_t size, dd_token_layout *out,
                  dd_error *err);
int dd_llmc_layout(const char *path, const unsigned char *head, size_t n, uint64_t size, dd_token_layout *out,
                   dd_error *err);

/** The name of the format with its version, for people: "npy version 1". */
void dd_tokens_format_name(const dd_token_layout *l, char out[32]);
/** "uint16", "int64". */
void dd_tokens_type_name(const dd_token_layout *l, char out[16]);

typedef struct dd_token_file dd_token_file;
/** *is = do the first bytes of a file say that it holds tokens (npy, llm.c)? DD_E_IO when it cannot be read. */
int dd_token_file_detect(const char *path, bool *is, dd_error *err);
/** Open a regular file and read its header. DD_E_IO, or as above; a raw file has an even number of bytes. */
int dd_token_file_open(const char *path, dd_token_file **out, dd_error *err);
void dd_token_file_close(dd_token_file *f); /* accepts NULL */
const dd_token_layout *dd_token_file_layout(const dd_token_file *f);
/** The n ids from number `first` on; first + n must be at most count. Ids above INT64_MAX are returned as INT64_MAX. */
int dd_token_file_read(dd_token_file *f, uint64_t first, int64_t *ids, size_t n, dd_error *err);
/** All ids, which must be from 0 to 65534 (else DD_E_CORRUPT), into out[count]; cb may be NULL. */
int dd_token_file_ids(dd_token_file *f, uint16_t *out, const dd_callbacks *cb, dd_error *err);
#endif
