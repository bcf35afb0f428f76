/* What a data spec leads to: a text in memory, a token file, or a directory of those. Shared by dataset.c and
 * prepare.c. */
#ifndef DD_RUN_SOURCE_H
#define DD_RUN_SOURCE_H
#include "run/corpus.h"
#include "run/dataset.h"

/* 64 GiB; where size_t is small, what it can hold. */
#define DD_SOURCE_MAX_BYTES (SIZE_MAX > 0xFFFFFFFFU ? (size_t)1 << 18 << 18 : SIZE_MAX / 2)

/* `data` of runs on tokens that a program gave to the library. */
#define DD_SOURCE_PROGRAM "(tokens of a program)"

typedef struct dd_source {
  const dd_corpus *corpus; /* named corpora, else NULL */
  int is_directory;
  int is_tokens;   /* a file of token ids: 2 when its first bytes say so, 1 when only its name, .bin, does */
  char name[256];  /* as dd_dataset.name */
  char spec[4096]; /* as dd_dataset.spec */
  char *text;      /* NULL for directories, and for token files before dd_source_text */
  dd_bpe *bpe;     /* borrowed: the vocabulary of tokenizer gpt2, set by those who have one; else NULL */
  size_t size;
} dd_source;

int dd_source_open(dd_source *s, const char *spec, const dd_callbacks *cb, dd_error *err);
/** Have the bytes of a file in s->text, of a token file too. */
int dd_source_text(dd_source *s, const dd_callbacks *cb, dd_error *err);
void dd_source_close(dd_source *s); /* harmless after a failed open */

/** *there = is something at path? DD_E_IO when that cannot be told (which must not be taken for no). */
int dd_source_exists(const char *path, int *there, dd_error *err);

int dd_dataset_from_source(dd_dataset **out, dd_source *source, const char *tokenizer, const dd_callbacks *cb,
                           dd_error *err);
#endif
