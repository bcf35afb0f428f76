/* Corpora known by name (data/corpora.def): found, fetched, verified. */
#ifndef DD_RUN_CORPUS_H
#define DD_RUN_CORPUS_H
#include "core/error.h"

typedef struct dd_corpus { /* a row of data/corpora.def, where the columns are explained */
  const char *name;
  int64_t bytes;
  const char *sha256, *urls, *member, *program, *package, *variable, *tokenizer;
  int64_t held_out, val;
  const char *licence, *note;
} dd_corpus;

/** Row i of the table, NULL after the last. */
const dd_corpus *dd_corpus_at(int i);
/** Row of that name, or NULL. */
const dd_corpus *dd_corpus_find(const char *name);
/** "shakespeare, kjv, ..." into buf. */
void dd_corpus_names(char *buf, size_t size);

/** The text of a corpus in fresh memory (NUL appended; free() by the caller). In order: the file its environment
 * variable names, the cache ($XDG_CACHE_HOME/dd-cpu or ~/.cache/dd-cpu), its URLs through curl or wget (and then the
 * cache), the program that prints it. DD_E_IO when none has it, with every place tried; DD_E_CORRUPT when the file that
 * the variable names is another text. cb may be NULL. */
int dd_corpus_load(const dd_corpus *c, const dd_callbacks *cb, char **data, size_t *size, dd_error *err);
/** The default job: shakespeare, or where that cannot be had, kjv. *which is the row that was loaded. */
int dd_corpus_load_default(const dd_callbacks *cb, const dd_corpus **which, char **data, size_t *size, dd_error *err);

/** The cache directory: 0 and its path, or -1 when neither variable is usable. */
int dd_corpus_cache_dir(char *out, size_t size);
#endif
