/* dd-cpu prepare: a text, or token files of other programs, become a directory of token files. train.bin and val.bin
 * first, meta.json last: it carries the hash of both, so that a directory left half-way by a crash is noticed when it is
 * opened. */
#include "core/file.h"
#include "core/hash.h"
#include "core/json.h"
#include "run/settings.h"
#include "run/source.h"
#include "run/tokenizer.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* settings.out, or data/<name> in the current directory; <name> is the corpus or the file's name without its ending. */
static int destination(const dd_settings *s, const dd_source *source, char *out, size_t size, dd_error *err) {
  if (s->out[0]) {
    snprintf(out, size, "%s", s->out);
    return DD_OK;
  }
  char stem[256];
  snprintf(stem, sizeof stem, "%s", source->name);
  char *dot = strrchr(stem, '.');
  if (!source->corpus && dot && dot != stem) *dot = 0;
  return dd_path_join(out, size, "data", stem, err);
}

/* Token files that are there already are replaced only when asked. */
static int check_free(const char *dir, int overwrite, dd_error *err) {
  static const char *const files[] = {"train.bin", "val.bin", "meta.json"};
  char path[4200];
  for (int i = 0; i < 3; i++) {
    int there = 0, status = dd_path_join(path, sizeof path, dir, files[i], err);
    if (!status) status = dd_source_exists(path, &there, err);
    if (status) return status;
    if (there && !overwrite)
      return dd_fail(err, DD_E_USAGE, "%s exists: choose another directory with --out, or replace it with --overwrite",
                     path);
  }
  return DD_OK;
}

enum { POLL_TOKENS = 1 << 20 }; /* a multiple of what a block holds */

static int write_ids(const char *dir, const char *file, const uint16_t *ids, int64_t n, const dd_callbacks *cb,
                     dd_error *err) {
  char path[4200];
  int status = dd_path_join(path, sizeof path, dir, file, err);
  if (status) return status;
  dd_atomic a;
  if ((status = dd_atomic_begin(&a, path, (uint64_t)n * 2, err)) != 0) return status;
  unsigned char block[16384];
  for (int64_t i = 0; !status && i < n;) {
    size_t used = 0;
    for (; i < n && used < sizeof block; i++) {
      block[used++] = (unsigned char)ids[i];
      block[used++] = (unsigned char)(ids[i] >> 8);
    }
    status = dd_atomic_write(&a, block, used, err);
    if (!status && i % POLL_TOKENS == 0) status = dd_check_stop(cb, "writing", path, err);
  }
  if (!status) status = dd_atomic_commit(&a, err);
  if (status) dd_atomic_abort(&a);
  return status;
}

/* A path need not be UTF-8, JSON must be: such a name is left out. 1: out of memory. */
static int set_name(json_t *o, const char *text) {
  return dd_utf8_valid(text, strlen(text)) && json_object_set_new(o, "name", json_string(text)) != 0;
}

/* Where the tokens came from; hashes of a text. */
static int source_facts(const dd_source *source, const dd_callbacks *cb, json_t **out, dd_error *err) {
  char sha256[65], xxh3[33];
  *out = json_object();
  int bad = !*out || set_name(*out, source->spec);
  if (source->text) {
    const int status = dd_sha256_polled(source->text, source->size, source->name, cb, sha256, err);
    if (status) return status;
    dd_hash_hex(source->text, source->size, xxh3);
    bad = bad || json_object_set_new(*out, "bytes", json_integer((json_int_t)source->size)) ||
          json_object_set_new(*out, "sha256", json_string(sha256)) ||
          json_object_set_new(*out, "xxh3_128", json_string(xxh3));
  }
  return bad ? dd_fail(err, DD_E_RUNTIME, "out of memory describing %s", source->name) : DD_OK;
}

static int write_meta(const char *dir, const dd_dataset *d, const dd_source *source, const dd_callbacks *cb,
                      dd_error *err) {
  char path[4200], *text = NULL;
  json_t *from = NULL;
  int status = dd_path_join(path, sizeof path, dir, "meta.json", err);
  if (!status) status = source_facts(source, cb, &from, err);
  json_t *meta = status ? NULL : json_pack("{s:s, s:I, s:I, s:s, s:O}", "format", "dd-cpu tokens 1", "train_tokens",
                                           (json_int_t)d->n_train, "val_tokens", (json_int_t)d->n_val, "hash", d->hash,
                                           "source", from);
  if (!status && (!meta || set_name(meta, d->name) ||
                  (source->corpus && json_object_set_new(meta, "licence", json_string(source->corpus->licence)))))
    status = dd_fail(err, DD_E_RUNTIME, "out of memory writing %s", path);
  if (!status) status = dd_vocab_to_json(&d->vocab, meta, err);
  if (!status && !(text = json_dumps(meta, JSON_INDENT(1))))
    status = dd_fail(err, DD_E_RUNTIME, "out of memory writing %s", path);
  if (!status) status = dd_file_replace(path, text, strlen(text), err);
  free(text);
  json_decref(meta);
  json_decref(from);
  return status;
}

int dd_prepare(const dd_settings *s, const dd_callbacks *cb, dd_error *err) {
  char dir[4160];
  dd_source source;
  dd_dataset *d = NULL;
  dd_bpe *bpe = NULL;
  int status = dd_source_open(&source, dd_settings_is_set(s, DD_SETTING_data) ? s->data : NULL, cb, err);
  if (status) return status;
  const char *tokenizer;
  if ((status = dd_tokenizer_given(s, &tokenizer, &bpe, err)) != 0) goto done;
  source.bpe = bpe;
  if ((status = destination(s, &source, dir, sizeof dir, err)) != 0 ||
      (status = check_free(dir, s->overwrite, err)) != 0 ||
      (status = dd_dataset_from_source(&d, &source, tokenizer, cb, err)) != 0 ||
      (status = dd_make_dirs(dir, err)) != 0 ||
      (status = write_ids(dir, "train.bin", d->train, d->n_train, cb, err)) != 0 ||
      (status = write_ids(dir, "val.bin", d->val, d->n_val, cb, err)) != 0 ||
      (status = write_meta(dir, d, &source, cb, err)) != 0)
    goto done;
  dd_say(cb, DD_INFO,
      "%s: %s vocabulary of %d, train.bin %" PRId64 " tokens, val.bin %" PRId64 " tokens, meta.json; train on it with "
      "--data %s",
      dir, dd_vocab_kind_name(d->vocab.kind), d->vocab.size, d->n_train, d->n_val, dir);
done:
  dd_dataset_close(d);
  dd_bpe_release(bpe);
  dd_source_close(&source);
  return status;
}
