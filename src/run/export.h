/* `dd-cpu export`: a run in the format of another program. export.c opens the run and has the table of formats; a
 * format is a row there and a function here. */
#ifndef DD_RUN_EXPORT_H
#define DD_RUN_EXPORT_H
#include "formats/bytes.h"
#include "run/checkpoint.h"

typedef struct dd_export_job {
  const dd_settings *s;
  const dd_callbacks *cb;
  const char *out;   /* file or directory to write */
  dd_checkpoint *c;  /* NULL for formats that are not of weights */
  dd_vocab vocab;    /* of the checkpoint, or of --bpe */
  dd_layout layout;  /* of the checkpoint */
  float *param;      /* [layout.floats] */
  dd_export_result r;
} dd_export_job;

int dd_export_hf(dd_export_job *e, dd_error *err);
int dd_export_nanogpt(dd_export_job *e, dd_error *err);
int dd_export_gguf(dd_export_job *e, dd_error *err);
/** Of --format hf: tokenizer.json and what belongs to it. */
int dd_export_tokenizer(dd_export_job *e, dd_error *err);

/* ---- for the formats ---- */

/** Path of a file to write in directory e->out, which is made; DD_E_USAGE when it is there and may not be replaced. */
int dd_export_path(dd_export_job *e, const char *name, char path[4096], dd_error *err);
/** Write a whole file there and count it. DD_E_RUNTIME when the buffer failed. */
int dd_export_write(dd_export_job *e, const char *name, const dd_bytes *b, dd_error *err);
int dd_export_write_json(dd_export_job *e, const char *name, const json_t *o, dd_error *err);
/** Count a file that was written otherwise. */
void dd_export_count(dd_export_job *e, const char *path);
/** The weights with all biases (zeros where the run has none) in a fresh flat array (free) of layout *l, which is made;
 *  conv1d: matrices inside blocks transposed, as Hugging Face's Conv1D has them. */
int dd_export_full(const dd_export_job *e, int conv1d, dd_layout *l, float **flat, dd_error *err);
/** A text as it stands in JSON, with its quotes. */
void dd_export_json_text(dd_bytes *b, const char *text, size_t n);
#endif
