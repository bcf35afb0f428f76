/* Weights of other programs, or of another run, to begin training with (--init-from):
 *
 *   a directory with config.json and model.safetensors (or its shards)   GPT-2 of Hugging Face transformers
 *   a file NAME.safetensors with config.json beside it                   the same
 *   a file ckpt.pt                                                       nanoGPT's checkpoint, of torch.save
 *   a run directory or a checkpoint of dd-cpu                            its parameters alone
 *
 * Opening reads what describes the model and checks that every tensor is there with the shape it must have, so that no
 * memory is taken that the files do not justify. Numbers are read exactly: half precision widened, Conv1D weights
 * transposed. A model that needs arithmetic that is not ours is refused; only a tanh GELU is taken, with a warning. */
#ifndef DD_RUN_IMPORT_H
#define DD_RUN_IMPORT_H
#include "model/params.h"
#include "run/vocab.h"

typedef struct dd_import dd_import;
/** Errors: DD_E_IO cannot be read, DD_E_CORRUPT damaged or a model that cannot be trained here, DD_E_USAGE nothing of
 *  the above. cb (may be NULL) is told what is read. */
int dd_import_open(const char *path, const dd_callbacks *cb, dd_import **out, dd_error *err);
void dd_import_close(dd_import *i); /* accepts NULL */
/** Shape of the model in the file; bias is 0 when there are none. */
const dd_shape *dd_import_shape(const dd_import *i);
/** What its ids mean; NULL when the file does not say. */
const dd_vocab *dd_import_vocab(const dd_import *i);
/** Parameters into flat[l->floats]. l: the shape above, but S may be smaller (the first positions are kept), and bias
 *  may be 1 where the file has none (zeros), or 0 where all of them are zero. DD_E_CORRUPT: numbers that are not
 *  finite. */
int dd_import_read(dd_import *i, const dd_layout *l, float *flat, dd_error *err);
#endif
