/* inspect: token files, data directories, vocabularies, text. */
#include "core/file.h"
#include "core/json.h"
#include "formats/pickle.h"
#include "formats/tokens.h"
#include "run/dataset.h"
#include "run/inspect.h"
#include "run/source.h"
#include "run/token_dir.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- token files ---- */

typedef struct census {
  int64_t least, largest, distinct;
  int64_t first[16];
  unsigned char seen[65536];
} census;

static int count_ids(census *c, dd_token_file *f, const char *path, const dd_callbacks *cb, dd_error *err) {
  enum { BLOCK = 4096, POLL = 1 << 22 };
  int64_t ids[BLOCK];
  const uint64_t n = dd_token_file_layout(f)->count;
  for (uint64_t done = 0; done < n;) {
    const size_t part = n - done < BLOCK ? (size_t)(n - done) : BLOCK;
    int rc = dd_token_file_read(f, done, ids, part, err);
    if (!rc && done && done % POLL == 0) rc = dd_check_stop(cb, "reading", path, err);
    if (rc) return rc;
    if (!done) memcpy(c->first, ids, (part < 16 ? part : 16) * sizeof *ids);
    for (size_t i = 0; i < part; i++) {
      if (ids[i] < c->least || (!done && !i)) c->least = ids[i];
      if (ids[i] > c->largest || (!done && !i)) c->largest = ids[i];
      if (ids[i] < 0 || ids[i] > 65535) continue;
      c->distinct += !c->seen[ids[i]];
      c->seen[ids[i]] = 1;
    }
    done += part;
  }
  return DD_OK;
}

static int tell_tokens(const dd_probe *p, dd_facts *f, const dd_callbacks *cb, dd_error *err) {
  dd_token_file *file;
  int rc = dd_token_file_open(p->path, &file, err);
  if (rc) return rc;
  const dd_token_layout *l = dd_token_file_layout(file);
  census *c = calloc(1, sizeof *c);
  rc = c ? count_ids(c, file, p->path, cb, err)
         : dd_fail(err, DD_E_RUNTIME, "out of memory while reading %.700s", p->path);
  if (!rc) {
    char format[32], type[16];
    json_t *first = json_array();
    dd_tokens_format_name(l, format);
    dd_tokens_type_name(l, type);
    for (uint64_t i = 0; i < l->count && i < 16; i++)
      if (json_array_append_new(first, json_integer(c->first[i]))) f->failed = true;
    dd_fact_text(f, "format", "%s", format);
    dd_fact_text(f, "type", "%s", type);
    dd_fact_int(f, "tokens", (int64_t)l->count);
    dd_fact_int(f, "bytes", (int64_t)p->size);
    if (l->count) {
      dd_fact_int(f, "least", c->least);
      dd_fact_int(f, "largest", c->largest);
      dd_fact_int(f, "distinct", c->distinct);
      if (c->least < 0 || c->largest >= DD_VOCAB_MAX)
        dd_fact_text(f, "note", "cannot be trained on: ids must be from 0 to %d", DD_VOCAB_MAX - 1);
    }
    dd_fact(f, "first", first);
  }
  free(c);
  dd_token_file_close(file);
  return rc;
}

int dd_is_npy(const dd_probe *p) { return dd_npy_is(p->head, p->n_head); }
int dd_tell_npy(const dd_probe *p, dd_facts *f, const dd_callbacks *cb, dd_error *err) {
  return tell_tokens(p, f, cb, err);
}
int dd_is_llmc(const dd_probe *p) { return dd_llmc_is(p->head, p->n_head); }
int dd_tell_llmc(const dd_probe *p, dd_facts *f, const dd_callbacks *cb, dd_error *err) {
  return tell_tokens(p, f, cb, err);
}
int dd_is_raw(const dd_probe *p) {
  return !p->is_directory && dd_probe_ends(p, ".bin") && p->size % 2 == 0 && memcmp(p->head, "PK", 2) != 0;
}
int dd_tell_raw(const dd_probe *p, dd_facts *f, const dd_callbacks *cb, dd_error *err) {
  return tell_tokens(p, f, cb, err);
}

/* ---- data directories ---- */

int dd_is_data(const dd_probe *p) { return p->is_directory && dd_token_dir_is(p->path); }

int dd_tell_data(const dd_probe *p, dd_facts *f, const dd_callbacks *cb, dd_error *err) {
  char spec[4200];
  dd_dataset *d;
  snprintf(spec, sizeof spec, "%s%s", p->path[0] == '/' || p->path[0] == '.' ? "" : "./", p->path);
  const int rc = dd_dataset_open(&d, spec, NULL, cb, err);
  if (rc) return rc;
  dd_fact_int(f, "train tokens", d->n_train);
  dd_fact_int(f, "val tokens", d->n_val);
  dd_fact_vocab(f, &d->vocab);
  dd_fact_text(f, "hash", "%s", d->hash);
  dd_dataset_close(d);
  return DD_OK;
}

/* ---- vocabularies ---- */

int dd_is_pickle(const dd_probe *p) {
  return dd_probe_ends(p, ".pkl") || dd_probe_ends(p, ".pickle") ||
         (p->n_head > 2 && p->head[0] == 0x80 && p->head[1] >= 2 && p->head[1] <= 5);
}

/* "dict of 65", "65", "a text" */
static json_t *pickle_text(const dd_pickle_value *v) {
  char text[64];
  switch (v->kind) {
  case DD_PICKLE_BOOL: return json_boolean(v->integer);
  case DD_PICKLE_INT: return json_integer(v->integer);
  case DD_PICKLE_REAL: return json_real(v->real);
  case DD_PICKLE_TEXT: return dd_any_text(v->text, v->size < 200 ? v->size : 200);
  case DD_PICKLE_NONE: return json_null();
  case DD_PICKLE_DATA: snprintf(text, sizeof text, "bytes of length %zu", v->size); break;
  default:
    snprintf(text, sizeof text, "%s of %zu", dd_pickle_kind_name(v->kind),
             v->kind == DD_PICKLE_DICT ? v->count / 2 : v->count);
  }
  return json_string(text);
}

int dd_tell_pickle(const dd_probe *p, dd_facts *f, const dd_callbacks *cb, dd_error *err) {
  enum { SHOWN = 100 };
  char *data;
  size_t size;
  dd_pickle *pickle;
  (void)cb;
  int rc = dd_file_read_all(p->path, DD_PICKLE_BYTES, &data, &size, err);
  if (rc) return rc;
  if (!(rc = dd_pickle_parse(data, size, p->path, &pickle, err))) {
    const dd_pickle_value *v = dd_pickle_root(pickle);
    if (dd_pickle_protocol(pickle)) dd_fact_int(f, "protocol", dd_pickle_protocol(pickle));
    else dd_fact_text(f, "protocol", "0 or 1");
    dd_fact_int(f, "bytes", (int64_t)p->size);
    dd_fact(f, "value", pickle_text(v));
    json_t *entries = v->kind == DD_PICKLE_DICT && v->count ? json_object() : NULL;
    for (size_t i = 0; entries && i + 1 < v->count && i < 2 * SHOWN; i += 2) {
      const dd_pickle_value *k = v->item[i];
      json_t *key = k->kind == DD_PICKLE_TEXT ? dd_any_text(k->text, k->size < 60 ? k->size : 60) : NULL;
      char number[32];
      snprintf(number, sizeof number, "%lld", (long long)k->integer);
      if (json_object_set_new(entries, key ? json_string_value(key) : number, pickle_text(v->item[i + 1])))
        f->failed = true;
      json_decref(key);
    }
    if (entries) dd_fact(f, "entries", entries);
    dd_pickle_free(pickle);
  }
  free(data);
  return rc;
}

int dd_is_meta(const dd_probe *p) {
  return dd_is_json(p) && dd_probe_holds(p, "\"vocab_size\"") && !strcmp(p->name, "meta.json");
}

int dd_tell_meta(const dd_probe *p, dd_facts *f, const dd_callbacks *cb, dd_error *err) {
  char *text;
  size_t size;
  json_t *meta;
  dd_vocab v;
  dd_json_fault fault;
  (void)cb;
  int rc = dd_file_read_all(p->path, 1 << 22, &text, &size, err);
  if (rc) return rc;
  rc = dd_json_parse(text, size, DD_VOCAB_MAX + 4096, &meta, &fault);
  free(text);
  if (rc) return dd_fail(err, (dd_status)rc, "%.700s: line %d %s", p->path, fault.line, fault.what);
  rc = dd_vocab_from_json(&v, meta, p->path, err);
  if (!rc) {
    static const char *const keys[] = {"name", "train_tokens", "val_tokens", "hash", "source", "licence"};
    dd_fact_vocab(f, &v);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
      if (json_object_get(meta, keys[i])) dd_fact(f, keys[i], json_incref(json_object_get(meta, keys[i])));
    dd_vocab_free(&v);
  }
  json_decref(meta);
  return rc;
}

/* ---- text ---- */

int dd_is_text(const dd_probe *p) {
  if (p->is_directory) return 0;
  uint32_t code;
  for (size_t i = 0, n; i < p->n_head; i += n) {
    n = dd_utf8_decode((const char *)p->head + i, p->n_head - i, &code);
    if (!n && p->n_head - i < 4 && p->n_head < p->size) break; /* a character that the end of the head cuts */
    if (!n || !code) return 0;
  }
  return 1;
}

int dd_tell_text(const dd_probe *p, dd_facts *f, const dd_callbacks *cb, dd_error *err) {
  char *text;
  size_t size;
  dd_vocab v;
  int rc = dd_file_read_polled(p->path, DD_SOURCE_MAX_BYTES, cb, &text, &size, err);
  if (rc) return rc;
  rc = dd_vocab_from_text(&v, DD_VOCAB_CHAR, text, size, p->path, cb, err);
  if (!rc) {
    int64_t characters = 0, lines = 0;
    for (size_t i = 0; i < size; i++) {
      characters += ((unsigned char)text[i] & 0xC0) != 0x80;
      lines += text[i] == '\n';
    }
    dd_fact_int(f, "bytes", (int64_t)size);
    dd_fact_int(f, "characters", characters);
    dd_fact_int(f, "lines", lines + (text[size - 1] != '\n'));
    dd_fact_int(f, "distinct characters", v.size);
    dd_vocab_free(&v);
  }
  free(text);
  return rc;
}
