#include "run/vocab.h"
#include "formats/pretokenizer.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CODE_LIMIT = 0x110000, NO_ID = 0xFFFF, PART = 1 << 22 };

static const char *const kind_names[] = {"char", "byte", "number", "gpt2"};

const char *dd_vocab_kind_name(dd_vocab_kind kind) {
  return kind_names[kind];
}

int dd_vocab_kind_parse(const char *name, dd_vocab_kind *kind, dd_error *err) {
  if (strcmp(name, "char") == 0) *kind = DD_VOCAB_CHAR;
  else if (strcmp(name, "byte") == 0) *kind = DD_VOCAB_BYTE;
  else if (strcmp(name, "gpt2") == 0) *kind = DD_VOCAB_GPT2;
  else if (strcmp(name, "number") == 0)
    return dd_fail(err, DD_E_USAGE,
                   "a text is made into tokens by --tokenizer char, byte or gpt2; number is for token files");
  else return dd_fail(err, DD_E_USAGE, "unknown tokenizer '%s': use char, byte or gpt2", name);
  return DD_OK;
}

/* Line and column, both from 1, of text[at]; columns count characters, or bytes where the text is no UTF-8. */
static void locate(const char *text, size_t at, int by_byte, int64_t *line, int64_t *column) {
  *line = *column = 1;
  for (size_t i = 0; i < at; i++) {
    if (text[i] == '\n') ++*line, *column = 1;
    else if (by_byte || ((unsigned char)text[i] & 0xC0) != 0x80) ++*column;
  }
}

static int fail_utf8(const char *text, size_t at, const char *source, dd_error *err) {
  int64_t line, column;
  locate(text, at, 0, &line, &column);
  return dd_fail(err, DD_E_CORRUPT,
                 "%s is not UTF-8 text: bad byte 0x%02x at offset %zu (line %" PRId64
                 "); convert it, or read it as bytes with --tokenizer byte",
                 source, (unsigned)(unsigned char)text[at], at, line);
}

/* Look at should_stop when the loop passes another 4 MB of text. */
static int poll_at(size_t i, size_t *next, const dd_callbacks *cb, const char *source, dd_error *err) {
  if (i < *next) return DD_OK;
  *next += (size_t)1 << 22;
  return i ? dd_check_stop(cb, "reading", source, err) : DD_OK;
}

int dd_vocab_from_text(dd_vocab *v, dd_vocab_kind kind, const char *text, size_t n, const char *source,
                       const dd_callbacks *cb, dd_error *err) {
  *v = (dd_vocab){.kind = kind};
  if (kind == DD_VOCAB_BYTE) {
    v->size = 256;
    return DD_OK;
  }
  if (kind != DD_VOCAB_CHAR) return dd_fail(err, DD_E_USAGE, "only char and byte are vocabularies of a text");
  unsigned char *seen = calloc(CODE_LIMIT, 1);
  if (!seen) return dd_fail(err, DD_E_RUNTIME, "out of memory reading %s", source);
  int status = DD_OK, size = 0;
  for (size_t i = 0, next = 0, length; i < n; i += length) {
    uint32_t code;
    if ((status = poll_at(i, &next, cb, source, err))) goto done;
    length = dd_utf8_decode(text + i, n - i, &code);
    if (length == 0) {
      status = fail_utf8(text, i, source, err);
      goto done;
    }
    size += !seen[code];
    seen[code] = 1;
  }
  if (size > DD_VOCAB_MAX) {
    status = dd_fail(err, DD_E_USAGE,
                     "%s has %d different characters, more than the %d that fit a token; use --tokenizer byte", source,
                     size, DD_VOCAB_MAX);
    goto done;
  }
  v->code = malloc((size_t)(size ? size : 1) * sizeof *v->code);
  if (!v->code) {
    status = dd_fail(err, DD_E_RUNTIME, "out of memory reading %s", source);
    goto done;
  }
  for (uint32_t code = 0; code < CODE_LIMIT; code++)
    if (seen[code]) v->code[v->size++] = code;
done:
  free(seen);
  return status;
}

void dd_vocab_gpt2(dd_vocab *v, dd_bpe *bpe, int size) {
  const int own = dd_bpe_size(bpe);
  *v = (dd_vocab){.kind = DD_VOCAB_GPT2, .size = size > own ? size : own, .bpe = dd_bpe_share(bpe)};
}

void dd_vocab_numbers(dd_vocab *v, int size) {
  *v = (dd_vocab){.kind = DD_VOCAB_NUMBER, .size = size};
}

static int fail_unknown(const char *text, size_t at, size_t length, uint32_t code, const char *source, dd_error *err) {
  int64_t line, column;
  locate(text, at, 0, &line, &column);
  char shown[8] = "";
  if (code >= 0x20 && code != 0x7F && !(code >= 0x80 && code < 0xA0)) /* control characters stay invisible */
    snprintf(shown, sizeof shown, "'%.*s' ", (int)length, text + at);
  return dd_fail(err, DD_E_USAGE,
                 "%s: line %" PRId64 ", column %" PRId64 ": the character %s(U+%04" PRIX32
                 ") is not in the vocabulary of the run",
                 source, line, column, shown, code);
}

/* In parts between which no word is cut, so that a stop is heeded. */
static int encode_gpt2(const dd_bpe *b, const char *text, size_t n, const char *source, uint16_t *out, int64_t *count,
                       const dd_callbacks *cb, dd_error *err) {
  dd_bpe_encoder *e = dd_bpe_encoder_create(b);
  int status = e ? DD_OK : dd_fail(err, DD_E_RUNTIME, "out of memory encoding %s", source);
  *count = 0;
  for (size_t i = 0, end; i < n && !status; i = end) {
    end = n - i > PART ? dd_word_cut(text, n, i + PART) : n;
    const int64_t made = dd_bpe_encode(e, text + i, end - i, out + *count);
    if (made < 0) status = dd_fail(err, DD_E_RUNTIME, "out of memory encoding a very long word of %s", source);
    else *count += made;
    if (!status && end < n) status = dd_check_stop(cb, "reading", source, err);
  }
  dd_bpe_encoder_destroy(e);
  return status;
}

int dd_vocab_encode(const dd_vocab *v, const char *text, size_t n, const char *source, uint16_t **ids, int64_t *count,
                    const dd_callbacks *cb, dd_error *err) {
  *ids = NULL;
  *count = 0;
  if (v->kind == DD_VOCAB_NUMBER)
    return dd_fail(
        err, DD_E_USAGE,
        "%s cannot be encoded: the run was trained on bare token numbers, and only a directory of token files "
        "fits it",
        source);
  if (n > SIZE_MAX / sizeof **ids - 1) return dd_fail(err, DD_E_RUNTIME, "%s is too large for memory", source);
  uint16_t *out = malloc((n + 1) * sizeof *out); /* one id per byte at most */
  uint16_t *id_of = NULL;
  if (!out) goto no_memory;
  if (v->kind == DD_VOCAB_BYTE) {
    for (size_t i = 0; i < n; i++) out[i] = (unsigned char)text[i];
    *ids = out;
    *count = (int64_t)n;
    return DD_OK;
  }
  int status = DD_OK;
  int64_t made = 0;
  if (v->kind == DD_VOCAB_GPT2) {
    status = encode_gpt2(v->bpe, text, n, source, out, &made, cb, err);
    goto done;
  }
  id_of = malloc(CODE_LIMIT * sizeof *id_of);
  if (!id_of) goto no_memory;
  memset(id_of, 0xFF, CODE_LIMIT * sizeof *id_of);
  for (int i = 0; i < v->size; i++) id_of[v->code[i]] = (uint16_t)i;
  for (size_t i = 0, next = 0, length; i < n; i += length) {
    uint32_t code = 0;
    if ((status = poll_at(i, &next, cb, source, err))) break;
    length = dd_utf8_decode(text + i, n - i, &code);
    if (length == 0) status = fail_utf8(text, i, source, err);
    else if (id_of[code] == NO_ID) status = fail_unknown(text, i, length, code, source, err);
    else out[made++] = id_of[code];
    if (status) break;
  }
done:
  free(id_of);
  if (status) {
    free(out);
    return status;
  }
  uint16_t *exact =
      realloc(out, ((size_t)made + 1) * sizeof *out); /* several bytes per character: give back the rest */
  *ids = exact ? exact : out;
  *count = made;
  return DD_OK;
no_memory:
  free(out);
  return dd_fail(err, DD_E_RUNTIME, "out of memory encoding %s", source);
}

int dd_vocab_encode_prompt(const dd_vocab *v, const char *text, size_t n, uint16_t **ids, int64_t *count,
                           dd_error *err) {
  static const char mark[] = "<|endoftext|>";
  const size_t length = sizeof mark - 1;
  const int end = v->kind == DD_VOCAB_GPT2 ? dd_bpe_end_of_text(v->bpe) : -1;
  const char *at = end >= 0 ? memmem(text, n, mark, length) : NULL;
  if (!at) return dd_vocab_encode(v, text, n, "the prompt", ids, count, NULL, err);
  uint16_t *out = malloc((n + 1) * sizeof *out);
  if (!out) return dd_fail(err, DD_E_RUNTIME, "out of memory encoding the prompt");
  for (*count = 0;;) {
    const size_t before = at ? (size_t)(at - text) : n;
    int64_t made = 0;
    const int status = encode_gpt2(v->bpe, text, before, "the prompt", out + *count, &made, NULL, err);
    if (status) {
      free(out);
      return status;
    }
    *count += made;
    if (!at) break;
    out[(*count)++] = (uint16_t)end;
    text += before + length;
    n -= before + length;
    at = memmem(text, n, mark, length);
  }
  *ids = out;
  return DD_OK;
}

const char *dd_vocab_decode(const dd_vocab *v, int id, char scratch[8], size_t *n) {
  *n = 0;
  if (id < 0 || id >= v->size) return scratch;
  switch (v->kind) {
  case DD_VOCAB_CHAR: *n = dd_utf8_encode(v->code[id], scratch); break;
  case DD_VOCAB_BYTE: scratch[0] = (char)id, *n = 1; break;
  case DD_VOCAB_GPT2: return dd_bpe_token(v->bpe, id, n);
  case DD_VOCAB_NUMBER: *n = (size_t)snprintf(scratch, 8, "%u ", (unsigned)id & 0xFFFFU); break; /* at most "65535 " */
  }
  return scratch;
}

int64_t dd_vocab_text_bytes(const dd_vocab *v, const uint16_t *ids, int64_t n) {
  if (v->kind == DD_VOCAB_BYTE) return n;
  if (v->kind == DD_VOCAB_NUMBER) return 0;
  int64_t bytes = 0;
  for (int64_t i = 0; i < n; i++) {
    char scratch[8];
    size_t length;
    if (v->bpe && dd_bpe_is_special(v->bpe, ids[i])) continue;
    dd_vocab_decode(v, ids[i], scratch, &length);
    bytes += (int64_t)length;
  }
  return bytes;
}

int dd_vocab_equal(const dd_vocab *a, const dd_vocab *b) {
  if (a->kind != b->kind || a->size != b->size) return 0;
  if (a->kind == DD_VOCAB_GPT2) return strcmp(dd_bpe_hash(a->bpe), dd_bpe_hash(b->bpe)) == 0;
  return a->kind != DD_VOCAB_CHAR || a->size == 0 || memcmp(a->code, b->code, (size_t)a->size * sizeof *a->code) == 0;
}

int dd_vocab_copy(dd_vocab *to, const dd_vocab *from, dd_error *err) {
  *to = (dd_vocab){.kind = from->kind, .size = from->size, .bpe = from->bpe ? dd_bpe_share(from->bpe) : NULL};
  if (from->kind != DD_VOCAB_CHAR) return DD_OK;
  to->code = malloc((size_t)(from->size ? from->size : 1) * sizeof *to->code);
  if (!to->code) {
    to->size = 0;
    return dd_fail(err, DD_E_RUNTIME, "out of memory copying a vocabulary");
  }
  if (from->size) memcpy(to->code, from->code, (size_t)from->size * sizeof *to->code);
  return DD_OK;
}

void dd_vocab_free(dd_vocab *v) {
  free(v->code);
  dd_bpe_release(v->bpe);
  *v = (dd_vocab){0};
}

int dd_vocab_to_json(const dd_vocab *v, json_t *object, dd_error *err) {
  int bad = json_object_set_new(object, "tokenizer", json_string(dd_vocab_kind_name(v->kind))) != 0;
  bad |= json_object_set_new(object, "vocab_size", json_integer(v->size)) != 0;
  if (v->kind == DD_VOCAB_CHAR) {
    json_t *codes = json_array();
    for (int i = 0; i < v->size; i++) bad |= json_array_append_new(codes, json_integer(v->code[i])) != 0;
    bad |= json_object_set_new(object, "vocabulary", codes) != 0;
  }
  if (bad) return dd_fail(err, DD_E_RUNTIME, "out of memory writing a vocabulary");
  return v->kind == DD_VOCAB_GPT2 ? dd_bpe_to_json(v->bpe, object, err) : DD_OK;
}

static int read_codes(dd_vocab *v, const json_t *codes, const char *source, dd_error *err) {
  if (!json_is_array(codes) || json_array_size(codes) != (size_t)v->size)
    return dd_fail(err, DD_E_CORRUPT, "%s: \"vocabulary\" must be a list of vocab_size = %d code points", source,
                   v->size);
  v->code = malloc((size_t)v->size * sizeof *v->code);
  unsigned char *seen = calloc(CODE_LIMIT, 1);
  int status = v->code && seen ? DD_OK : dd_fail(err, DD_E_RUNTIME, "out of memory reading %s", source);
  for (size_t i = 0; !status && i < (size_t)v->size; i++) {
    const json_t *item = json_array_get(codes, i);
    const json_int_t code = json_integer_value(item);
    if (!json_is_integer(item) || code < 0 || code >= CODE_LIMIT || (code >= 0xD800 && code <= 0xDFFF) || seen[code])
      status = dd_fail(err, DD_E_CORRUPT, "%s: \"vocabulary\" must be different code points; entry %zu is not", source,
                       i);
    else seen[code] = 1, v->code[i] = (uint32_t)code;
  }
  free(seen);
  return status;
}

int dd_vocab_from_json(dd_vocab *v, const json_t *object, const char *source, dd_error *err) {
  *v = (dd_vocab){0};
  const json_t *size = json_object_get(object, "vocab_size"), *name = json_object_get(object, "tokenizer");
  if (!json_is_integer(size) || json_integer_value(size) < 1 || json_integer_value(size) > DD_VOCAB_MAX)
    return dd_fail(err, DD_E_CORRUPT, "%s: \"vocab_size\" must be an integer from 1 to %d", source, DD_VOCAB_MAX);
  const char *text = name ? json_string_value(name) : "number"; /* other tools' files may know only the size */
  int kind = -1;
  for (int i = 0; text && i < 4; i++)
    if (strcmp(text, kind_names[i]) == 0) kind = i;
  if (kind < 0) return dd_fail(err, DD_E_CORRUPT, "%s: \"tokenizer\" must be char, byte, gpt2 or number", source);
  v->kind = (dd_vocab_kind)kind;
  v->size = (int)json_integer_value(size);
  int status = DD_OK;
  if (v->kind == DD_VOCAB_BYTE && v->size != 256)
    status = dd_fail(err, DD_E_CORRUPT, "%s: tokenizer byte has vocab_size 256, not %d", source, v->size);
  else if (v->kind == DD_VOCAB_CHAR) status = read_codes(v, json_object_get(object, "vocabulary"), source, err);
  else if (v->kind == DD_VOCAB_GPT2) {
    status = dd_bpe_from_json(&v->bpe, object, source, err);
    if (!status && dd_bpe_size(v->bpe) > v->size)
      status = dd_fail(err, DD_E_CORRUPT, "%s: \"vocab_size\" is %d, but there are tokens up to %d", source, v->size,
                       dd_bpe_size(v->bpe) - 1);
  }
  if (status) dd_vocab_free(v);
  return status;
}
