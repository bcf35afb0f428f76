/* nanoGPT's meta.pkl to a vocabulary. */
#include "core/file.h"
#include "formats/pickle.h"
#include "run/token_dir.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The code point of a value that is a string of one character; 0 length: it is not. */
static size_t one_character(const dd_pickle_value *v, uint32_t *code) {
  if (v->kind != DD_PICKLE_TEXT || !v->size) return 0;
  const size_t n = dd_utf8_decode(v->text, v->size, code);
  return n == v->size ? n : 0;
}

/* Fill code[size] from itos, a dict of id: character or a list of characters. A phrase when it cannot be. */
static const char *read_itos(const dd_pickle_value *itos, int size, uint32_t *code, unsigned char *known) {
  const int is_dict = itos->kind == DD_PICKLE_DICT;
  if (!is_dict && itos->kind != DD_PICKLE_LIST && itos->kind != DD_PICKLE_TUPLE) return "itos is no dict";
  for (size_t i = 0; i < itos->count; i += is_dict ? 2 : 1) {
    const dd_pickle_value *key = itos->item[i], *text = itos->item[i + (size_t)is_dict];
    const int64_t id = is_dict ? key->integer : (int64_t)i;
    if ((is_dict && key->kind != DD_PICKLE_INT) || id < 0 || id >= size)
      return "itos has keys that are no ids below vocab_size";
    if (!one_character(text, &code[id])) return "itos has entries that are not one character";
    known[id] = 1;
  }
  for (int i = 0; i < size; i++)
    if (!known[i]) return "itos has no entry for some ids";
  return NULL;
}

static int has_twice(const uint32_t *code, int size, uint16_t *id_of) {
  for (int i = 0; i < size; i++) {
    if (id_of[code[i]] != 0xFFFF) return 1;
    id_of[code[i]] = (uint16_t)i;
  }
  return 0;
}

/* Every entry of stoi that is about a known character must agree. */
static int check_stoi(const dd_pickle_value *stoi, const uint16_t *id_of, const char *path, dd_error *err) {
  for (size_t i = 0; stoi && stoi->kind == DD_PICKLE_DICT && i + 1 < stoi->count; i += 2) {
    uint32_t code;
    const dd_pickle_value *id = stoi->item[i + 1];
    if (!one_character(stoi->item[i], &code) || id_of[code] == 0xFFFF) continue;
    if (id->kind != DD_PICKLE_INT || id->integer != id_of[code])
      return dd_fail(err, DD_E_CORRUPT, "%.700s contradicts itself: stoi does not give U+%04" PRIX32 " the id %d that "
                                        "itos has for it", path, code, id_of[code]);
  }
  return DD_OK;
}

static int read_characters(dd_vocab *v, const dd_pickle_value *root, const char *path, const dd_callbacks *cb,
                           dd_error *err) {
  enum { CODES = 0x110000 };
  const dd_pickle_value *itos = dd_pickle_get(root, "itos");
  if (!itos) return DD_OK;
  uint32_t *code = calloc((size_t)v->size, sizeof *code);
  unsigned char *known = calloc((size_t)v->size, 1);
  uint16_t *id_of = malloc(CODES * sizeof *id_of);
  int rc = DD_OK;
  if (!code || !known || !id_of) rc = dd_fail(err, DD_E_RUNTIME, "out of memory while reading %.700s", path);
  else {
    memset(id_of, 0xFF, CODES * sizeof *id_of);
    const char *why = read_itos(itos, v->size, code, known);
    if (!why && has_twice(code, v->size, id_of)) why = "itos has a character twice";
    if (why)
      dd_say(cb, DD_WARNING, "%.600s: %s, so tokens print as numbers", path, why);
    else if (!(rc = check_stoi(dd_pickle_get(root, "stoi"), id_of, path, err))) {
      v->kind = DD_VOCAB_CHAR;
      v->code = code;
      code = NULL;
    }
  }
  free(code);
  free(known);
  free(id_of);
  return rc;
}

int dd_meta_pkl_read(dd_vocab *v, const char *path, const dd_callbacks *cb, dd_error *err) {
  char *data;
  size_t size;
  dd_pickle *pickle;
  *v = (dd_vocab){0};
  int rc = dd_file_read_all(path, DD_PICKLE_BYTES, &data, &size, err);
  if (rc) return rc;
  rc = dd_pickle_parse(data, size, path, &pickle, err);
  if (!rc) {
    const dd_pickle_value *root = dd_pickle_root(pickle), *n = dd_pickle_get(root, "vocab_size");
    if (!n || n->kind != DD_PICKLE_INT || n->integer < 1 || n->integer > DD_VOCAB_MAX)
      rc = dd_fail(err, DD_E_CORRUPT, "%.700s must be a dict with an integer 'vocab_size' from 1 to %d", path,
                   DD_VOCAB_MAX);
    else {
      dd_vocab_numbers(v, (int)n->integer);
      rc = read_characters(v, root, path, cb, err);
    }
    dd_pickle_free(pickle);
  }
  free(data);
  if (rc) dd_vocab_free(v);
  return rc;
}
