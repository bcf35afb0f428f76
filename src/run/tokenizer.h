/* Which tokenizer a command means, from its settings or from the run that it goes on with. */
#ifndef DD_RUN_TOKENIZER_H
#define DD_RUN_TOKENIZER_H
#include "run/dataset.h"
#include "run/settings.h"

/** *name: of the tokenizer asked for, NULL when none was; bpe given means gpt2. *bpe: its vocabulary (release), or
 *  NULL. */
int dd_tokenizer_given(const dd_settings *s, const char **name, dd_bpe **bpe, dd_error *err);
/** dd_dataset_open with that tokenizer, or, with own, under the vocabulary of a run, whose files are not needed. */
int dd_dataset_open_for(dd_dataset **out, const dd_settings *s, const char *spec, const dd_vocab *own,
                        const dd_callbacks *cb, dd_error *err);
/** Make s->bpe absolute, for runs that are continued from another directory. */
void dd_settings_resolve_bpe(dd_settings *s);
/** Give a vocabulary of bare numbers the texts of --bpe PATH. DD_E_USAGE when v is of another kind or too small, or
 *  carries other tokens. */
int dd_vocab_read_as_text(dd_vocab *v, const char *path, dd_error *err);
#endif
