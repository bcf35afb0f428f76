/* Writer of Python pickles, protocol 2: the plain values, and tensors as torch.save refers to them. */
#ifndef DD_FORMATS_PICKLE_WRITE_H
#define DD_FORMATS_PICKLE_WRITE_H
#include "formats/bytes.h"

void dd_pk_begin(dd_bytes *b);
void dd_pk_end(dd_bytes *b);
void dd_pk_none(dd_bytes *b);
void dd_pk_bool(dd_bytes *b, int v);
void dd_pk_int(dd_bytes *b, int64_t v);
void dd_pk_real(dd_bytes *b, double v);
void dd_pk_text(dd_bytes *b, const char *text, size_t n); /* UTF-8 */
void dd_pk_string(dd_bytes *b, const char *text);
/** A dict: begin, then keys and values in turn, then end. The same for lists and tuples. */
void dd_pk_dict(dd_bytes *b);
void dd_pk_dict_end(dd_bytes *b);
void dd_pk_list(dd_bytes *b);
void dd_pk_list_end(dd_bytes *b);
void dd_pk_tuple(dd_bytes *b);
void dd_pk_tuple_end(dd_bytes *b);
/** A float32 tensor on the CPU: all of the storage in entry data/KEY of the archive, row after row. ndim 0, 1 or 2. */
void dd_pk_tensor(dd_bytes *b, int64_t key, int ndim, int64_t rows, int64_t cols);
#endif
