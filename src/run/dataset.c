#include "run/dataset.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/json.h"
#include "run/corpus.h"
#include "run/source.h"
#include "run/token_dir.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int64_t dd_split_point(int64_t n) {
  return (int64_t)(0.9 * (double)n);
}

/* ---- identity ---- */

static void put_u64(dd_hasher *h, uint64_t x) {
  unsigned char b[8];
  for (int i = 0; i < 8; i++) b[i] = (unsigned char)(x >> 8 * i);
  dd_hasher_update(h, b, sizeof b);
}

/* Token ids in the byte order of the files. */
static void put_ids(dd_hasher *h, const uint16_t *ids, int64_t n) {
  put_u64(h, (uint64_t)n);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  dd_hasher_update(h, ids, (size_t)n * sizeof *ids);
#else
  for (int64_t i = 0; i < n; i++) {
    const unsigned char b[2] = {(unsigned char)ids[i], (unsigned char)(ids[i] >> 8)};
    dd_hasher_update(h, b, 2);
  }
#endif
}

static int identify(dd_dataset *d, dd_error *err) {
  dd_hasher *h = dd_hasher_create();
  if (!h) return dd_fail(err, DD_E_RUNTIME, "out of memory hashing %s", d->name);
  put_u64(h, (uint64_t)d->vocab.kind);
  put_u64(h, (uint64_t)d->vocab.size);
  for (int i = 0; d->vocab.code && i < d->vocab.size; i++) put_u64(h, d->vocab.code[i]);
  if (d->vocab.bpe) dd_hasher_update(h, dd_bpe_hash(d->vocab.bpe), 32);
  put_ids(h, d->train, d->n_train);
  put_ids(h, d->val, d->n_val);
  dd_hasher_hex(h, d->hash);
  dd_hasher_destroy(h);
  return DD_OK;
}

/* ---- token directories ---- */

static int largest_id(const uint16_t *ids, int64_t n) {
  int largest = 0;
  for (int64_t i = 0; i < n; i++) largest = ids[i] > largest ? ids[i] : largest;
  return largest;
}

/* Every id must be below the size of the vocabulary. */
static int check_ids(const char *dir, const char *split, const uint16_t *ids, int64_t n, int size, dd_error *err) {
  for (int64_t i = 0; i < n; i++)
    if (ids[i] >= size)
      return dd_fail(err, DD_E_CORRUPT, "%s: token %" PRId64 " of %s is %d, but the vocabulary has only %d entries",
                     dir, i, split, (int)ids[i], size);
  return DD_OK;
}

/* A code point of the vocabulary on a line of its own has at most 9 bytes and some blanks. */
enum { META_BYTES = 1 << 24, META_ELEMENTS = DD_VOCAB_MAX + 4096 };

/* meta.json of a directory into vocabulary and d->source_bytes; `hash` is what it says about the tokens, or "". Without
 * meta.json *found is 0. */
static int read_meta(dd_dataset *d, const char *dir, int *found, char hash[33], dd_error *err) {
  char path[4200], *text = NULL;
  size_t size = 0;
  *found = 0;
  hash[0] = 0;
  int there = 0, status = dd_path_join(path, sizeof path, dir, "meta.json", err);
  if (!status) status = dd_source_exists(path, &there, err);
  if (status || !there) return status;
  if ((status = dd_file_read_all(path, META_BYTES, &text, &size, err)) != 0) return status;
  dd_json_fault fault;
  json_t *meta;
  status = dd_json_parse(text, size, META_ELEMENTS, &meta, &fault);
  free(text);
  if (status == DD_E_RUNTIME) return dd_fail(err, DD_E_RUNTIME, "out of memory reading %s", path);
  if (status) return dd_fail(err, DD_E_CORRUPT, "%s is damaged: line %d %s", path, fault.line, fault.what);
  if (!json_is_object(meta)) {
    json_decref(meta);
    return dd_fail(err, DD_E_CORRUPT, "%s is not a JSON object", path);
  }
  status = dd_vocab_from_json(&d->vocab, meta, path, err);
  const char *said = json_string_value(json_object_get(meta, "hash"));
  if (said) snprintf(hash, 33, "%s", said);
  const json_t *bytes = json_object_get(json_object_get(meta, "source"), "bytes");
  if (json_is_integer(bytes) && json_integer_value(bytes) > 0) d->source_bytes = json_integer_value(bytes);
  json_decref(meta);
  *found = 1;
  return status;
}

/* nanoGPT's own meta.pkl. */
static int read_pickled_meta(dd_dataset *d, const char *dir, int *found, const dd_callbacks *cb, dd_error *err) {
  char path[4200];
  int status = dd_path_join(path, sizeof path, dir, "meta.pkl", err);
  if (!status) status = dd_source_exists(path, found, err);
  return status || !*found ? status : dd_meta_pkl_read(&d->vocab, path, cb, err);
}

static void guess_vocab(dd_dataset *d, const char *name, int largest, const char *lack, const dd_callbacks *cb) {
  dd_vocab_numbers(&d->vocab, dd_token_vocab_size(largest));
  dd_say(cb, DD_WARNING, "%s has %s: the vocabulary is taken as 0 to %d%s and tokens print as numbers", name, lack,
         d->vocab.size - 1, d->vocab.size > largest + 1 ? ", that of GPT-2," : "");
}

static int open_directory(dd_dataset *d, const char *dir, const char *tokenizer, const dd_callbacks *cb,
                          dd_error *err) {
  uint16_t *train = NULL, *val = NULL;
  int has_meta = 0, status;
  char hash[33];
  status = dd_token_dir_read(dir, "train", cb, &train, &d->n_train, err);
  d->train = d->memory[0] = train;
  if (status) return status;
  status = dd_token_dir_read(dir, "val", cb, &val, &d->n_val, err);
  d->val = d->memory[1] = val;
  if (status || (status = read_meta(d, dir, &has_meta, hash, err)) != 0) return status;
  if (!has_meta && (status = read_pickled_meta(d, dir, &has_meta, cb, err)) != 0) return status;
  if (has_meta) {
    if ((status = check_ids(dir, "train", train, d->n_train, d->vocab.size, err)) != 0 ||
        (status = check_ids(dir, "val", val, d->n_val, d->vocab.size, err)) != 0 ||
        (status = identify(d, err)) != 0)
      return status;
    if (hash[0] && strcmp(hash, d->hash) != 0)
      return dd_fail(err, DD_E_CORRUPT,
                     "%s: the token files are not the ones meta.json was written for (hash %s, not %s)", dir,
                     d->hash, hash);
  } else {
    const int a = largest_id(train, d->n_train), b = largest_id(val, d->n_val);
    guess_vocab(d, dir, a > b ? a : b, "no meta.json and no meta.pkl", cb);
    if ((status = identify(d, err)) != 0) return status;
  }
  if (tokenizer && strcmp(tokenizer, dd_vocab_kind_name(d->vocab.kind)) != 0)
    return dd_fail(err, DD_E_USAGE,
                   "%s holds %s tokens, not %s tokens; leave out --tokenizer or prepare the text again", dir,
                   dd_vocab_kind_name(d->vocab.kind), tokenizer);
  return DD_OK;
}

static int fail_short(const char *name, int64_t n, dd_error *err) {
  return n == 0 ? dd_fail(err, DD_E_USAGE, "%s is empty", name)
                : dd_fail(err, DD_E_USAGE, "%s is too short: %" PRId64 " tokens cannot be split into train and val",
                          name, n);
}

/* One token file, split as a text is. */
static int open_token_file(dd_dataset *d, const dd_source *source, const char *tokenizer, const dd_callbacks *cb,
                           dd_error *err) {
  uint16_t *ids;
  int64_t n;
  if (tokenizer && strcmp(tokenizer, dd_vocab_kind_name(DD_VOCAB_NUMBER)) != 0)
    return dd_fail(err, DD_E_USAGE, "%s holds token numbers, not a text; leave out --tokenizer", source->name);
  int status = dd_token_path_read(source->spec, cb, &ids, &n, err);
  if (status) return status;
  d->train = d->memory[0] = ids;
  d->n_train = dd_split_point(n);
  d->n_val = n - d->n_train;
  d->val = ids + d->n_train;
  if (d->n_train < 2 || d->n_val < 2) return fail_short(source->name, n, err);
  guess_vocab(d, source->name, largest_id(ids, n), "no vocabulary", cb);
  return identify(d, err);
}

/* Bare numbers become tokens of bpe. */
static int adopt_bpe(dd_dataset *d, dd_bpe *bpe, dd_error *err) {
  if (d->vocab.kind == DD_VOCAB_GPT2 && strcmp(dd_bpe_hash(d->vocab.bpe), dd_bpe_hash(bpe)) == 0) return DD_OK;
  if (d->vocab.kind != DD_VOCAB_NUMBER)
    return dd_fail(err, DD_E_USAGE, "%s holds %s tokens of a vocabulary of its own; leave out --bpe and --tokenizer",
                   d->spec, dd_vocab_kind_name(d->vocab.kind));
  int status = check_ids(d->spec, "train", d->train, d->n_train, dd_bpe_size(bpe), err);
  if (!status) status = check_ids(d->spec, "val", d->val, d->n_val, dd_bpe_size(bpe), err);
  if (status) return status;
  dd_vocab_free(&d->vocab);
  dd_vocab_gpt2(&d->vocab, bpe, 0);
  if (!d->source_bytes)
    d->source_bytes = dd_vocab_text_bytes(&d->vocab, d->train, d->n_train) +
                      dd_vocab_text_bytes(&d->vocab, d->val, d->n_val);
  return identify(d, err);
}

/* ---- texts ---- */

/* Cut n tokens: the rule of the corpus, or nanoGPT's. */
static void cut(const dd_corpus *corpus, int64_t n, int64_t *n_train, int64_t *n_val) {
  if (corpus && corpus->held_out && n > corpus->held_out) {
    *n_train = n - corpus->held_out;
    *n_val = corpus->val;
  } else {
    *n_train = dd_split_point(n);
    *n_val = n - *n_train;
  }
}

/* Bytes of the first n characters, or of all there are. */
static size_t prefix_bytes(const char *text, size_t size, int64_t n) {
  size_t i = 0;
  for (; i < size; i++)
    if (((unsigned char)text[i] & 0xC0) != 0x80 && n-- == 0) break;
  return i;
}

/* Tokens of GPT-2: the text is cut first, by characters (of corpora that are bytes, by bytes), then each part is
 * encoded, which gives the files that nanoGPT prepares. What is behind the validation part is left
 * out. */
static int encode_split(const dd_vocab *v, const dd_source *s, uint16_t **ids, int64_t *n, int64_t *n_train,
                        int64_t *n_val, const dd_callbacks *cb, dd_error *err) {
  const int bytes = s->corpus && strcmp(s->corpus->tokenizer, "byte") == 0;
  int64_t characters = 0, cuts[2];
  for (size_t i = 0; i < s->size; i++) characters += bytes || ((unsigned char)s->text[i] & 0xC0) != 0x80;
  cut(s->corpus, characters, cuts, cuts + 1);
  const size_t a = bytes ? (size_t)cuts[0] : prefix_bytes(s->text, s->size, cuts[0]);
  const size_t b = bytes ? (size_t)(cuts[0] + cuts[1]) : prefix_bytes(s->text, s->size, cuts[0] + cuts[1]);
  const size_t ends[3] = {0, a, b};
  *ids = NULL;
  *n = 0;
  for (int part = 0; part < 2; part++) {
    uint16_t *some = NULL;
    int64_t made = 0;
    const size_t length = ends[part + 1] - ends[part];
    const int status = dd_vocab_encode(v, s->text + ends[part], length, s->name, &some, &made, cb, err);
    uint16_t *both = status ? NULL : realloc(*ids, (size_t)(*n + made + 1) * sizeof *both);
    if (both) memcpy(both + *n, some, (size_t)made * sizeof *both);
    free(some);
    if (!both) {
      free(*ids);
      *ids = NULL;
      return status ? status : dd_fail(err, DD_E_RUNTIME, "out of memory encoding %s", s->name);
    }
    *ids = both;
    *n += made;
    *(part ? n_val : n_train) = made;
  }
  return DD_OK;
}

static int open_text(dd_dataset *d, dd_source *source, const char *tokenizer, const dd_callbacks *cb,
                     dd_error *err) {
  dd_vocab_kind kind = DD_VOCAB_CHAR;
  const char *wanted = tokenizer ? tokenizer : source->corpus ? source->corpus->tokenizer : "char";
  int status = dd_vocab_kind_parse(wanted, &kind, err);
  if (!status) status = dd_source_text(source, cb, err);
  if (status) return status;
  if (source->size == 0) return fail_short(source->name, 0, err);
  uint16_t *ids = NULL;
  int64_t n = 0;
  if (kind == DD_VOCAB_GPT2) {
    if (!source->bpe)
      return dd_fail(err, DD_E_USAGE,
                     "tokenizer gpt2 needs GPT-2's vocabulary: name its directory or file with --bpe (vocab.json with "
                     "merges.txt, encoder.json with vocab.bpe, tokenizer.json or *.tiktoken)");
    dd_vocab_gpt2(&d->vocab, source->bpe, 0);
    if ((status = encode_split(&d->vocab, source, &ids, &n, &d->n_train, &d->n_val, cb, err)) != 0) return status;
  } else if ((status = dd_vocab_from_text(&d->vocab, kind, source->text, source->size, source->name, cb, err)) != 0 ||
      (status = dd_vocab_encode(&d->vocab, source->text, source->size, source->name, &ids, &n, cb, err)) != 0)
    return status;
  d->memory[0] = ids;
  d->source_bytes = (int64_t)source->size;
  if (kind != DD_VOCAB_GPT2) cut(source->corpus, n, &d->n_train, &d->n_val);
  if (d->n_train < 2 || d->n_val < 2) return fail_short(source->name, n, err);
  d->train = ids;
  d->val = ids + d->n_train;
  return identify(d, err);
}

/* A file that only its name makes a token file is a text to those who name a tokenizer. */
static int is_read_as_tokens(const dd_source *source, const char *tokenizer) {
  if (!source->is_tokens || (tokenizer && !strcmp(tokenizer, "byte"))) return 0;
  return source->is_tokens == 2 || !tokenizer || strcmp(tokenizer, "char") != 0;
}

int dd_dataset_from_source(dd_dataset **out, dd_source *source, const char *tokenizer, const dd_callbacks *cb,
                           dd_error *err) {
  *out = NULL;
  if (tokenizer && (!tokenizer[0] || strcmp(tokenizer, "auto") == 0)) tokenizer = NULL;
  dd_dataset *d = calloc(1, sizeof *d);
  if (!d) return dd_fail(err, DD_E_RUNTIME, "out of memory opening %s", source->name);
  snprintf(d->name, sizeof d->name, "%s", source->name);
  snprintf(d->spec, sizeof d->spec, "%s", source->spec);
  /* With a vocabulary at hand nothing needs to be said of one that is missing. */
  const dd_callbacks quiet = {.user = cb ? cb->user : NULL, .should_stop = cb ? cb->should_stop : NULL};
  const char *kind = source->bpe ? NULL : tokenizer;
  const dd_callbacks *hears = source->bpe ? &quiet : cb;
  int status = source->is_directory                   ? open_directory(d, source->spec, kind, hears, err)
               : is_read_as_tokens(source, tokenizer) ? open_token_file(d, source, kind, hears, err)
                                                      : open_text(d, source, tokenizer, cb, err);
  if (!status && source->bpe) status = adopt_bpe(d, source->bpe, err);
  if (status) {
    dd_dataset_close(d);
    return status;
  }
  d->vocab_size = d->vocab.size;
  *out = d;
  return DD_OK;
}

int dd_dataset_open(dd_dataset **out, const char *spec, const char *tokenizer, const dd_callbacks *cb, dd_error *err) {
  return dd_dataset_open_bpe(out, spec, tokenizer, NULL, cb, err);
}

int dd_dataset_open_bpe(dd_dataset **out, const char *spec, const char *tokenizer, dd_bpe *bpe,
                        const dd_callbacks *cb, dd_error *err) {
  dd_source source;
  *out = NULL;
  int status = dd_source_open(&source, spec, cb, err);
  if (status) return status;
  source.bpe = bpe;
  status = dd_dataset_from_source(out, &source, tokenizer, cb, err);
  dd_source_close(&source);
  return status;
}

static int copy_ids(void **memory, const uint16_t *ids, int64_t n, int64_t size, const char *what, dd_error *err) {
  if (!ids || n < 2)
    return dd_fail(err, DD_E_USAGE, "%" PRId64 " %s tokens were given; at least 2 are needed", n, what);
  if ((uint64_t)n > DD_SOURCE_MAX_BYTES / sizeof *ids)
    return dd_fail(err, DD_E_USAGE, "%" PRId64 " %s tokens are too many", n, what);
  for (int64_t i = 0; i < n; i++)
    if (ids[i] >= size)
      return dd_fail(err, DD_E_USAGE, "%s token %" PRId64 " is %d, but the vocabulary has only %" PRId64 " entries",
                     what, i, (int)ids[i], size);
  if (!(*memory = malloc((size_t)n * sizeof *ids)))
    return dd_fail(err, DD_E_RUNTIME, "out of memory for %" PRId64 " tokens", n);
  memcpy(*memory, ids, (size_t)n * sizeof *ids);
  return DD_OK;
}

int dd_dataset_from_tokens(dd_dataset **out, const uint16_t *train, int64_t n_train, const uint16_t *val, int64_t n_val,
                           int64_t vocab_size, const char *spec, dd_error *err) {
  *out = NULL;
  if (vocab_size < 1 || vocab_size > DD_VOCAB_MAX)
    return dd_fail(err, DD_E_USAGE, "a vocabulary has 1 to %d entries, not %" PRId64, DD_VOCAB_MAX, vocab_size);
  dd_dataset *d = calloc(1, sizeof *d);
  if (!d) return dd_fail(err, DD_E_RUNTIME, "out of memory for tokens");
  snprintf(d->name, sizeof d->name, "tokens");
  snprintf(d->spec, sizeof d->spec, "%s", *spec ? spec : DD_SOURCE_PROGRAM);
  dd_vocab_numbers(&d->vocab, (int)vocab_size);
  d->vocab_size = (int)vocab_size;
  int rc = copy_ids(&d->memory[0], train, n_train, vocab_size, "training", err);
  if (!rc) rc = copy_ids(&d->memory[1], val, n_val, vocab_size, "validation", err);
  d->train = d->memory[0];
  d->val = d->memory[1];
  d->n_train = n_train;
  d->n_val = n_val;
  if (!rc) rc = identify(d, err);
  if (rc) dd_dataset_close(d);
  else *out = d;
  return rc;
}

static void map_ids(const uint16_t *ids, int64_t n, const uint16_t *map) {
  uint16_t *own = (uint16_t *)(uintptr_t)ids; /* they are d->memory's */
  for (int64_t i = 0; i < n; i++) own[i] = map[own[i]];
}

int dd_dataset_recode(dd_dataset *d, const dd_vocab *to, dd_error *err) {
  enum { CODES = 0x110000, NONE = 0xFFFF };
  dd_vocab copy = {0};
  if (dd_vocab_equal(&d->vocab, to)) return DD_OK;
  if (d->vocab.kind != to->kind || to->kind != DD_VOCAB_CHAR)
    return dd_fail(err, DD_E_USAGE, "%s has %s tokens, but the weights were trained on %s tokens; pass the text itself",
                   d->name, dd_vocab_kind_name(d->vocab.kind), dd_vocab_kind_name(to->kind));
  uint16_t *id_of = malloc(CODES * sizeof *id_of), *map = malloc((size_t)d->vocab.size * sizeof *map);
  int status = id_of && map ? dd_vocab_copy(&copy, to, err)
                            : dd_fail(err, DD_E_RUNTIME, "out of memory reading %s", d->name);
  if (!status) memset(id_of, 0xFF, CODES * sizeof *id_of);
  for (int i = 0; i < to->size && !status; i++) id_of[to->code[i]] = (uint16_t)i;
  for (int i = 0; i < d->vocab.size && !status; i++) {
    map[i] = id_of[d->vocab.code[i]];
    if (map[i] == NONE)
      status = dd_fail(err, DD_E_USAGE, "%s holds the character U+%04X, which the weights do not know: they were "
                       "trained on a text without it; leave it out or replace it", d->name, (unsigned)d->vocab.code[i]);
  }
  if (!status) {
    map_ids(d->train, d->n_train, map);
    map_ids(d->val, d->n_val, map);
    dd_vocab_free(&d->vocab);
    d->vocab = copy;
    d->vocab_size = copy.size;
    status = identify(d, err);
  } else dd_vocab_free(&copy);
  free(id_of);
  free(map);
  return status;
}

void dd_dataset_close(dd_dataset *d) {
  if (!d) return;
  dd_vocab_free(&d->vocab);
  free(d->memory[0]);
  free(d->memory[1]);
  free(d);
}

/* ---- any text under a given vocabulary ---- */

/* Move the wanted part to the front. */
static void take_part(dd_text *t, dd_part part, int64_t n_train, int64_t n_val) {
  if (part == DD_PART_VAL) memmove(t->ids, t->ids + n_train, (size_t)n_val * sizeof *t->ids);
  if (part != DD_PART_ALL) t->n = part == DD_PART_TRAIN ? n_train : n_val;
}

static int tokens_text(dd_text *out, dd_source *source, const dd_vocab *vocab, int64_t *n_train,
                          int64_t *n_val, const dd_callbacks *cb, dd_error *err) {
  dd_dataset *d = NULL;
  int status = dd_dataset_from_source(&d, source, NULL, cb, err);
  if (status) return status;
  /* bare numbers carry no meaning that could differ, and a model may have more ids than its tokenizer; they only have
   * to fit */
  const int numbers = d->vocab.size <= vocab->size &&
                      ((d->vocab.kind == DD_VOCAB_NUMBER && (vocab->kind == DD_VOCAB_NUMBER || vocab->bpe)) ||
                       (d->vocab.bpe && vocab->bpe && !strcmp(dd_bpe_hash(d->vocab.bpe), dd_bpe_hash(vocab->bpe))));
  if (!numbers && !dd_vocab_equal(&d->vocab, vocab)) {
    status = dd_fail(err, DD_E_USAGE,
                     "%s was prepared with another vocabulary (%s, %d entries) than that of the run (%s, %d); "
                     "pass %s",
                     d->name, dd_vocab_kind_name(d->vocab.kind), d->vocab.size, dd_vocab_kind_name(vocab->kind),
                     vocab->size, vocab->kind == DD_VOCAB_NUMBER ? "tokens of the same kind" : "the text itself");
  } else if (!(out->ids = malloc(((size_t)d->n_train + (size_t)d->n_val) * sizeof *out->ids))) {
    status = dd_fail(err, DD_E_RUNTIME, "out of memory reading %s", d->name);
  } else {
    memcpy(out->ids, d->train, (size_t)d->n_train * sizeof *out->ids);
    memcpy(out->ids + d->n_train, d->val, (size_t)d->n_val * sizeof *out->ids);
    out->n = d->n_train + d->n_val;
    *n_train = d->n_train;
    *n_val = d->n_val;
  }
  dd_dataset_close(d);
  return status;
}

int dd_text_load(dd_text *out, const char *spec, dd_part part, const dd_vocab *vocab, const dd_callbacks *cb,
                 dd_error *err) {
  dd_source source;
  int64_t n_train = 0, n_val = 0;
  *out = (dd_text){0};
  int status = dd_source_open(&source, spec, cb, err);
  if (status) return status;
  snprintf(out->name, sizeof out->name, "%s", source.name);
  if (source.is_directory || (source.is_tokens && vocab->kind != DD_VOCAB_BYTE)) {
    status = tokens_text(out, &source, vocab, &n_train, &n_val, cb, err);
  } else if (!(status = dd_source_text(&source, cb, err))) {
    if (vocab->kind == DD_VOCAB_GPT2 && part != DD_PART_ALL) {
      status = encode_split(vocab, &source, &out->ids, &out->n, &n_train, &n_val, cb, err);
    } else {
      status = dd_vocab_encode(vocab, source.text, source.size, source.name, &out->ids, &out->n, cb, err);
      cut(source.corpus, out->n, &n_train, &n_val);
    }
  }
  dd_source_close(&source);
  if (!status) {
    take_part(out, part, n_train, n_val);
    out->bytes = dd_vocab_text_bytes(vocab, out->ids, out->n);
    if (out->n < 2)
      status = out->n == 0 ? dd_fail(err, DD_E_USAGE, "%s is empty", out->name)
                           : dd_fail(err, DD_E_USAGE, "%s is too short: a loss needs at least 2 tokens", out->name);
  }
  if (status) dd_text_free(out);
  return status;
}

void dd_text_free(dd_text *t) {
  free(t->ids);
  t->ids = NULL;
  t->n = 0;
}
