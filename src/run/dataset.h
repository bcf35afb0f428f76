/* Training data: a train and a val split of uint16 token ids and the vocabulary they index.
 *
 * A data spec (option --data) is, in this order:
 *   NULL or ""        the default job: `shakespeare`; when that can be had from nowhere, `kjv`, announced in one
 * message a table name      a row of data/corpora.def ("shakespeare", "kjv", "enwik8", "text8"); a file or directory of
 * that name is meant by "./shakespeare" a directory       token files train.bin and val.bin (raw little-endian uint16)
 * and, if there, meta.json a file            UTF-8 text (tokenizer char) or anything (tokenizer byte), split first
 * int(0.9 n) / rest Names and files are tokenized in memory; nothing but the download cache is written. */
#ifndef DD_RUN_DATASET_H
#define DD_RUN_DATASET_H
#include "run/vocab.h"

typedef struct dd_dataset {
  const uint16_t *train, *val;
  int64_t n_train, n_val;
  int vocab_size; /* = vocab.size */
  dd_vocab vocab;
  char name[256];       /* for people: "shakespeare", "input.txt", "mine" (last part of the path) */
  char spec[4096];      /* opens the same data again from any directory: a table name or an absolute path */
  char hash[33];        /* XXH3-128 over vocabulary and both splits: the identity a resume checks */
  int64_t source_bytes; /* bytes of the text the tokens came from; 0 when not known (directory without meta.json) */
  void *memory[2];      /* private: what train and val point into */
} dd_dataset;

/** tokenizer: "char", "byte", or NULL / "" / "auto" (a directory's own, a table row's own, else char): pass NULL
 *  unless the setting was given. A directory whose tokens were made by another tokenizer than the one asked for is
 *  DD_E_USAGE. cb may be NULL. */
int dd_dataset_open(dd_dataset **out, const char *spec, const char *tokenizer, const dd_callbacks *cb, dd_error *err);
/** Tokens of a caller, copied; every id below vocab_size (DD_E_USAGE). The vocabulary is that of bare numbers, and the
 *  hash that of a directory with the same tokens. spec: what `data` says of it, "" for nothing. */
int dd_dataset_from_tokens(dd_dataset **out, const uint16_t *train, int64_t n_train, const uint16_t *val, int64_t n_val,
                           int64_t vocab_size, const char *spec, dd_error *err);
/** The same with the vocabulary for tokenizer gpt2 (shared, may be NULL). A text is split by its characters, as nanoGPT
 *  does, then each part is encoded. A directory of bare token numbers, such as nanoGPT prepares, gets this vocabulary;
 *  DD_E_CORRUPT when it has a larger id. */
int dd_dataset_open_bpe(dd_dataset **out, const char *spec, const char *tokenizer, dd_bpe *bpe,
                        const dd_callbacks *cb, dd_error *err);
void dd_dataset_close(dd_dataset *d); /* accepts NULL */

/** The same tokens under another vocabulary of the same kind, of which it may use only a part; the hash becomes that of
 *  the new ids. DD_E_USAGE, and nothing changed: the vocabulary cannot spell the text, or is of another kind. */
int dd_dataset_recode(dd_dataset *d, const dd_vocab *to, dd_error *err);

/** Where a text of n tokens is cut: int(0.9 n). */
int64_t dd_split_point(int64_t n);

/** Tokens of any data spec under a given vocabulary (that of a run): for `eval`, and for prompts from files. */
typedef enum dd_part { DD_PART_ALL, DD_PART_TRAIN, DD_PART_VAL } dd_part;
typedef struct dd_text {
  uint16_t *ids;
  int64_t n;
  int64_t bytes; /* UTF-8 bytes these tokens stand for (0 for number vocabularies): for bits per byte */
  char name[256];
} dd_text;
/** Text that the vocabulary cannot spell is DD_E_USAGE, naming the character, line and column. Directories must have
 * the same vocabulary. Fewer than 2 tokens are DD_E_USAGE. */
int dd_text_load(dd_text *out, const char *spec, dd_part part, const dd_vocab *vocab, const dd_callbacks *cb,
                 dd_error *err);
void dd_text_free(dd_text *t);
#endif
