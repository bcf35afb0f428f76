/* Vocabularies in memory: built token by token and merge by merge, written to and read from JSON of our own files. */
#include "core/hash.h"
#include "core/utf8.h"
#include "formats/bpe_internal.h"
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

const char dd_bpe_no_memory[] = "is too large for memory";

/* ---- the printable alphabet ---- */

static int prints(uint32_t byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

/* Bytes that print stand for themselves, the other 68 are U+0100 and following in order. */
uint32_t dd_bpe_code_of(unsigned char byte) {
  if (prints(byte)) return byte;
  if (byte <= ' ') return 0x100U + byte;
  return byte == 0xAD ? 0x100 + 67 : 0x100U + 33 + (byte - 0x7FU); /* 0x7F..0xA0, then 0xAD */
}

int dd_bpe_byte_of(uint32_t code) {
  if (code < 0x100) return prints(code) ? (int)code : -1;
  if (code <= 0x100 + ' ') return (int)(code - 0x100);
  if (code < 0x100 + 67) return (int)(code - 0x100 - 33 + 0x7F);
  return code == 0x100 + 67 ? 0xAD : -1;
}

int dd_bpe_unmap(const char *text, size_t n, char *out, size_t *length) {
  size_t made = 0;
  for (size_t i = 0, k; i < n; i += k) {
    uint32_t code = 0;
    k = dd_utf8_decode(text + i, n - i, &code);
    const int byte = k ? dd_bpe_byte_of(code) : -1;
    if (byte < 0) return 0;
    out[made++] = (char)byte;
  }
  *length = made;
  return 1;
}

/* ---- building ---- */

dd_bpe *dd_bpe_new(void) {
  dd_bpe *b = calloc(1, sizeof *b);
  if (!b) return NULL;
  atomic_init(&b->owners, 1);
  b->end_of_text = -1;
  memset(b->slot, 0xFF, sizeof b->slot);
  return b;
}

dd_bpe *dd_bpe_share(dd_bpe *b) {
  atomic_fetch_add(&b->owners, 1);
  return b;
}

void dd_bpe_release(dd_bpe *b) {
  if (!b || atomic_fetch_sub(&b->owners, 1) > 1) return;
  free(b->text);
  free(b->merge);
  free(b->pair);
  free(b);
}

int dd_bpe_size(const dd_bpe *b) { return b->size; }
int dd_bpe_end_of_text(const dd_bpe *b) { return b->end_of_text; }
const char *dd_bpe_hash(const dd_bpe *b) { return b->hash; }
int dd_bpe_is_special(const dd_bpe *b, int id) { return id >= 0 && id < b->size && b->token[id].special; }

const char *dd_bpe_token(const dd_bpe *b, int id, size_t *n) {
  *n = id >= 0 && id < b->size ? b->token[id].n : 0;
  return *n ? b->text + b->token[id].at : "";
}

/* The slot of a text: where its id is, or a free one. */
static uint32_t slot_of(const dd_bpe *b, const char *bytes, size_t n) {
  uint32_t i = (uint32_t)XXH3_64bits(bytes, n) & (DD_BPE_SLOTS - 1);
  for (; b->slot[i] != DD_BPE_NO_ID; i = (i + 1) & (DD_BPE_SLOTS - 1)) {
    const dd_bpe_token_entry *t = b->token + b->slot[i];
    if (t->n == n && memcmp(b->text + t->at, bytes, n) == 0) break;
  }
  return i;
}

int dd_bpe_find(const dd_bpe *b, const char *bytes, size_t n) {
  const uint16_t id = b->slot[slot_of(b, bytes, n)];
  return id == DD_BPE_NO_ID ? -1 : id;
}

const char *dd_bpe_put_token(dd_bpe *b, int64_t id, const char *bytes, size_t n, int special) {
  if (id < 0 || id >= DD_BPE_MAX_IDS) return "has an id beyond 0 to 65534";
  if (n == 0 || n > DD_BPE_MAX_TOKEN) return "has a token without text or of more than 512 bytes";
  dd_bpe_token_entry *t = b->token + id;
  if (t->n) return "gives an id to two tokens";
  if (n > b->room - b->used) {
    const size_t room = 2 * b->room + 65536;
    char *text = realloc(b->text, room);
    if (!text) return dd_bpe_no_memory;
    b->text = text;
    b->room = room;
  }
  if (!special) {
    const uint32_t slot = slot_of(b, bytes, n);
    if (b->slot[slot] != DD_BPE_NO_ID) return "has two ids for one token";
    b->slot[slot] = (uint16_t)id;
    if (n == 1) b->byte_id[(unsigned char)*bytes] = (uint16_t)id;
  }
  memcpy(b->text + b->used, bytes, n);
  *t = (dd_bpe_token_entry){.at = (uint32_t)b->used, .n = (uint16_t)n, .special = special != 0,
                           .added = special != 0};
  b->used += n;
  if (id >= b->size) b->size = (int)id + 1;
  return NULL;
}

/* Twice the table, or the first one. */
static int grow_pairs(dd_bpe *b) {
  const uint32_t bits = b->pair ? b->pair_bits + 1 : 10;
  dd_bpe_pair *old = b->pair, *pair = malloc(sizeof *pair << bits);
  const uint32_t n_old = old ? 1U << b->pair_bits : 0;
  if (!pair) return 0;
  for (uint32_t i = 0; i < 1U << bits; i++) pair[i].rank = DD_BPE_NO_RANK;
  b->pair = pair;
  b->pair_bits = bits;
  for (uint32_t i = 0; i < n_old; i++)
    if (old[i].rank != DD_BPE_NO_RANK)
      pair[dd_bpe_pair_of(b, old[i].key >> 16, old[i].key & 0xFFFF) - pair] = old[i];
  free(old);
  return 1;
}

static const char *put_pair(dd_bpe *b, int left, int right, uint32_t rank, int id) {
  if (b->pairs >= DD_BPE_MAX_PAIRS) return "has more than 1048576 merges";
  if ((!b->pair || b->pairs >= 1U << (b->pair_bits - 1)) && !grow_pairs(b)) return dd_bpe_no_memory;
  dd_bpe_pair *p = b->pair + (dd_bpe_pair_of(b, (uint32_t)left, (uint32_t)right) - b->pair);
  if (p->rank != DD_BPE_NO_RANK) return "repeats a merge";
  *p = (dd_bpe_pair){.key = (uint32_t)left << 16 | (uint32_t)right, .rank = rank, .id = (uint32_t)id};
  b->pairs++;
  return NULL;
}

const char *dd_bpe_put_merge(dd_bpe *b, const char *left, size_t n_left, const char *right, size_t n_right) {
  char both[DD_BPE_MAX_TOKEN];
  if (n_left == 0 || n_right == 0 || n_left + n_right > sizeof both)
    return "has a merge of nothing or of more than 512 bytes";
  memcpy(both, left, n_left);
  memcpy(both + n_left, right, n_right);
  const int a = dd_bpe_find(b, left, n_left), c = dd_bpe_find(b, right, n_right);
  const int id = dd_bpe_find(b, both, n_left + n_right);
  if (a < 0 || c < 0 || id < 0) return "has a merge of tokens, or to a token, that the vocabulary lacks";
  if (b->merges == b->merge_room) {
    const uint32_t room = 2 * b->merge_room + 4096;
    uint16_t(*merge)[2] = realloc(b->merge, room * sizeof *merge);
    if (!merge) return dd_bpe_no_memory;
    b->merge = merge;
    b->merge_room = room;
  }
  const char *wrong = put_pair(b, a, c, b->merges, id);
  if (wrong) return wrong;
  b->merge[b->merges][0] = (uint16_t)a;
  b->merge[b->merges++][1] = (uint16_t)c;
  return NULL;
}

/* A token in the printable alphabet, from the line at text. */
static const char *word(const char *text, size_t n, char bytes[DD_BPE_MAX_TOKEN], size_t *length) {
  size_t codes = 0;
  for (size_t i = 0; i < n; i++) codes += ((unsigned char)text[i] & 0xC0) != 0x80;
  if (codes > DD_BPE_MAX_TOKEN) return "has a token of more than 512 bytes";
  return dd_bpe_unmap(text, n, bytes, length) ? NULL : "has a token that is not in GPT-2's alphabet of bytes";
}

const char *dd_bpe_put_lines(dd_bpe *b, const char *text, int *line) {
  int at = 0;
  if (!line) line = &at;
  for (*line = 1; *text; ++*line) {
    const size_t n = strcspn(text, "\n"), end = n && text[n - 1] == '\r' ? n - 1 : n;
    const char *space = memchr(text, ' ', end), *wrong = NULL;
    if (end && !(*line == 1 && !strncmp(text, "#version", 8))) {
      char left[DD_BPE_MAX_TOKEN], right[DD_BPE_MAX_TOKEN];
      size_t n_left = 0, n_right = 0;
      if (!space) return "has a line that is not two tokens with a blank between";
      wrong = word(text, (size_t)(space - text), left, &n_left);
      if (!wrong) wrong = word(space + 1, (size_t)(text + end - space - 1), right, &n_right);
      if (!wrong) wrong = dd_bpe_put_merge(b, left, n_left, right, n_right);
    }
    if (wrong) return wrong;
    text += n + (text[n] == '\n');
  }
  return NULL;
}

/* All pairs of tokens that form a token, with its id as their rank. */
static const char *split_all(dd_bpe *b) {
  for (int id = 0; id < b->size; id++) {
    const dd_bpe_token_entry *t = b->token + id;
    const char *bytes = b->text + t->at;
    for (size_t k = 1; k < t->n && !t->special; k++) {
      const int left = dd_bpe_find(b, bytes, k), right = left < 0 ? -1 : dd_bpe_find(b, bytes + k, t->n - k);
      const char *wrong = right < 0 ? NULL : put_pair(b, left, right, (uint32_t)id, id);
      if (wrong) return wrong;
    }
  }
  return NULL;
}

/* Bytes of the text in the printable alphabet. */
static size_t mapped_length(const dd_bpe *b, const dd_bpe_token_entry *t) {
  size_t n = 0;
  for (size_t i = 0; i < t->n; i++) n += dd_bpe_code_of((unsigned char)b->text[t->at + i]) < 0x80 ? 1 : 2;
  return n;
}

static size_t stored_length(const dd_bpe *b) {
  size_t n = 0;
  for (int id = 0; id < b->size; id++) n += mapped_length(b, b->token + id) + 1 + 16U * b->token[id].special;
  for (uint32_t i = 0; i < b->merges; i++)
    n += mapped_length(b, b->token + b->merge[i][0]) + mapped_length(b, b->token + b->merge[i][1]) + 2;
  return n;
}

static const char *identify(dd_bpe *b) {
  dd_hasher *h = dd_hasher_create();
  if (!h) return dd_bpe_no_memory;
  for (int id = 0; id < b->size; id++) {
    const unsigned char n[2] = {(unsigned char)b->token[id].n, (unsigned char)(b->token[id].n >> 8)};
    dd_hasher_update(h, n, sizeof n);
    dd_hasher_update(h, b->text + b->token[id].at, b->token[id].n);
  }
  dd_hasher_hex(h, b->hash);
  dd_hasher_destroy(h);
  return NULL;
}

const char *dd_bpe_finish(dd_bpe *b) {
  for (int i = 0; i < 256; i++) {
    const char byte = (char)i;
    if (dd_bpe_find(b, &byte, 1) < 0) return "lacks tokens for some of the 256 bytes, so it is no byte-level BPE";
  }
  const char *wrong = b->ranked ? split_all(b) : NULL;
  if (wrong) return wrong;
  if (!b->pair && !grow_pairs(b)) return dd_bpe_no_memory;
  if (!b->ranked && !b->whole) { /* what nothing is merged to is never made of a text */
    for (int id = 0; id < b->size; id++) if (b->token[id].n > 1) b->token[id].special = 1;
    for (uint32_t i = 0; i < 1U << b->pair_bits; i++)
      if (b->pair[i].rank != DD_BPE_NO_RANK) b->token[b->pair[i].id].special = 0;
  }
  int specials = 0;
  for (int id = 0; id < b->size; id++) {
    const dd_bpe_token_entry *t = b->token + id;
    specials += t->special;
    if (t->special && t->n == strlen(DD_BPE_END_OF_TEXT) && !memcmp(b->text + t->at, DD_BPE_END_OF_TEXT, t->n))
      b->end_of_text = id;
  }
  if (specials > 2048) return "has more than 2048 tokens that no text is encoded to";
  if (stored_length(b) > DD_BPE_MAX_STORED) return "has more than 3 MiB of tokens and merges";
  return identify(b);
}

/* ---- JSON ---- */

static char *put_mapped(char *out, const dd_bpe *b, int id) {
  const dd_bpe_token_entry *t = b->token + id;
  for (size_t i = 0; i < t->n; i++)
    out += dd_utf8_encode(dd_bpe_code_of((unsigned char)b->text[t->at + i]), out);
  return out;
}

int dd_bpe_to_json(const dd_bpe *b, json_t *object, dd_error *err) {
  char *text = malloc(stored_length(b) + 1), *end = text, name[16];
  json_t *special = json_object(), *added = json_array();
  int bad = !text || !special || !added;
  for (int id = 0; id < b->size && !bad; id++) {
    const dd_bpe_token_entry *t = b->token + id;
    const char *bytes = b->text + t->at;
    if (t->special && dd_bpe_find(b, bytes, t->n) != id) { /* a name; from JSON, so UTF-8 */
      snprintf(name, sizeof name, "%d", id);
      bad |= json_object_set_new(special, name, json_stringn(bytes, t->n)) != 0;
    } else {
      end = put_mapped(end, b, id);
      if (t->special && t->added) bad |= json_array_append_new(added, json_integer(id)) != 0;
    }
    *end++ = '\n';
  }
  bad = bad || json_object_set_new(object, "tokens", json_stringn(text, (size_t)(end - text))) != 0;
  end = text;
  for (uint32_t i = 0; i < b->merges && !bad; i++) {
    end = put_mapped(end, b, b->merge[i][0]);
    *end++ = ' ';
    end = put_mapped(end, b, b->merge[i][1]);
    *end++ = '\n';
  }
  if (b->ranked) bad = bad || json_object_set_new(object, "ranked", json_true()) != 0;
  else bad = bad || json_object_set_new(object, "merges", json_stringn(text, (size_t)(end - text))) != 0;
  if (b->whole && !b->ranked) bad = bad || json_object_set_new(object, "whole_words", json_true()) != 0;
  bad = bad || json_object_set(object, "special", special) != 0;
  if (json_array_size(added)) bad = bad || json_object_set(object, "added", added) != 0;
  json_decref(special);
  json_decref(added);
  free(text);
  return bad ? dd_fail(err, DD_E_RUNTIME, "out of memory writing a vocabulary") : DD_OK;
}

/* Tokens by line; empty lines are ids that are not used, or special. */
static const char *read_tokens(dd_bpe *b, const char *text) {
  char bytes[DD_BPE_MAX_TOKEN];
  for (int64_t id = 0; *text; id++) {
    const size_t n = strcspn(text, "\n");
    size_t length = 0;
    const char *wrong = n ? word(text, n, bytes, &length) : NULL;
    if (n && !wrong) wrong = dd_bpe_put_token(b, id, bytes, length, 0);
    if (wrong) return wrong;
    if (id >= DD_BPE_MAX_IDS) return "has too many tokens";
    text += n + (text[n] == '\n');
  }
  return NULL;
}

static const char *read_special(dd_bpe *b, const json_t *special) {
  const char *key, *wrong = NULL;
  json_t *value;
  json_object_foreach((json_t *)special, key, value) {
    char *end;
    const long id = strtol(key, &end, 10);
    if (end == key || *end || !json_is_string(value)) return "has a special token without id or text";
    if ((wrong = dd_bpe_put_token(b, id, json_string_value(value), json_string_length(value), 1))) return wrong;
  }
  return wrong;
}

/* Ids of tokens that are in the alphabet, and names all the same. */
static const char *read_added(dd_bpe *b, const json_t *added) {
  size_t i;
  json_t *value;
  json_array_foreach((json_t *)added, i, value) {
    const json_int_t id = json_integer_value(value);
    if (!json_is_integer(value) || id < 0 || id >= b->size) return "has an added token without text";
    b->token[id].added = 1;
  }
  return NULL;
}

int dd_bpe_from_json(dd_bpe **out, const json_t *object, const char *source, dd_error *err) {
  const json_t *tokens = json_object_get(object, "tokens"), *merges = json_object_get(object, "merges");
  const json_t *special = json_object_get(object, "special");
  *out = NULL;
  dd_bpe *b = dd_bpe_new();
  if (!b) return dd_fail(err, DD_E_RUNTIME, "out of memory reading %s", source);
  const char *wrong = NULL;
  b->ranked = json_is_true(json_object_get(object, "ranked"));
  b->whole = b->ranked || json_is_true(json_object_get(object, "whole_words"));
  if (!json_is_string(tokens) || (!b->ranked && !json_is_string(merges)) || (special && !json_is_object(special)))
    wrong = "lacks the tokens or the merges of its vocabulary";
  if (!wrong) wrong = read_tokens(b, json_string_value(tokens));
  if (!wrong && special) wrong = read_special(b, special);
  if (!wrong) wrong = read_added(b, json_object_get(object, "added"));
  if (!wrong && !b->ranked) wrong = dd_bpe_put_lines(b, json_string_value(merges), NULL);
  if (!wrong) wrong = dd_bpe_finish(b);
  if (!wrong) {
    *out = b;
    return DD_OK;
  }
  dd_bpe_release(b);
  return dd_fail(err, wrong == dd_bpe_no_memory ? DD_E_RUNTIME : DD_E_CORRUPT, "%s %s", source, wrong);
}
