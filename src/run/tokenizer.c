/* Which tokenizer a command means, from its settings or from the run that it goes on with. */
#include "run/tokenizer.h"
#include "core/file.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int dd_tokenizer_given(const dd_settings *s, const char **name, dd_bpe **bpe, dd_error *err) {
  *bpe = NULL;
  *name = dd_settings_is_set(s, DD_SETTING_tokenizer) ? dd_settings_choice(s, DD_SETTING_tokenizer) : NULL;
  if (!*s->bpe) return DD_OK;
  if (*name && strcmp(*name, "gpt2") != 0)
    return dd_fail(err, DD_E_USAGE, "bpe names the vocabulary of tokenizer gpt2: leave it out, or say tokenizer gpt2");
  *name = "gpt2";
  return dd_bpe_load(bpe, s->bpe, err);
}

int dd_dataset_open_for(dd_dataset **out, const dd_settings *s, const char *spec, const dd_vocab *own,
                        const dd_callbacks *cb, dd_error *err) {
  const char *name = NULL;
  dd_bpe *bpe = NULL;
  int rc = DD_OK;
  if (!own) rc = dd_tokenizer_given(s, &name, &bpe, err);
  else if (own->bpe) name = "gpt2", bpe = dd_bpe_share(own->bpe);
  else if (!spec || !dd_is_dir(spec)) name = dd_vocab_kind_name(own->kind); /* a directory knows its own */
  if (!rc) rc = dd_dataset_open_bpe(out, spec, name, bpe, cb, err);
  dd_bpe_release(bpe);
  return rc;
}

void dd_settings_resolve_bpe(dd_settings *s) {
  char full[PATH_MAX];
  if (*s->bpe && realpath(s->bpe, full)) snprintf(s->bpe, sizeof s->bpe, "%s", full);
}

int dd_vocab_read_as_text(dd_vocab *v, const char *path, dd_error *err) {
  dd_bpe *bpe;
  if (v->kind != DD_VOCAB_NUMBER && v->kind != DD_VOCAB_GPT2)
    return dd_fail(err, DD_E_USAGE, "bpe is for runs on GPT-2 tokens; this one was trained on %s tokens, leave it out",
                   dd_vocab_kind_name(v->kind));
  int rc = dd_bpe_load(&bpe, path, err);
  if (rc) return rc;
  int used = dd_bpe_size(bpe);
  while (used > 0 && dd_bpe_is_special(bpe, used - 1)) used--;
  if (used > v->size)
    rc = dd_fail(err, DD_E_USAGE, "%s has %d tokens, the run only %d: it was trained on other tokens", path, used,
                 v->size);
  else if (v->bpe && strcmp(dd_bpe_hash(v->bpe), dd_bpe_hash(bpe)) != 0)
    rc = dd_fail(err, DD_E_USAGE, "%s is not the vocabulary that the run carries with it; leave bpe out", path);
  if (!rc) {
    const int size = v->size;
    dd_vocab_free(v);
    dd_vocab_gpt2(v, bpe, size);
  }
  dd_bpe_release(bpe);
  return rc;
}
