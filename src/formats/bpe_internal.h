/* Inside of a vocabulary, and how the readers of bpe_files.c build one. */
#ifndef DD_FORMATS_BPE_INTERNAL_H
#define DD_FORMATS_BPE_INTERNAL_H
#include "formats/bpe.h"
#include <stdatomic.h>

#define DD_BPE_END_OF_TEXT "<|endoftext|>"

enum { DD_BPE_NO_ID = 0xFFFF, DD_BPE_SLOTS = 1 << 17 };
#define DD_BPE_NO_RANK UINT32_MAX

typedef struct dd_bpe_token_entry {
  uint32_t at; /* in text */
  uint16_t n;  /* bytes; 0: no such id */
  unsigned char special;
  unsigned char added; /* its file says that it is looked for in texts */
} dd_bpe_token_entry;

/* Joining left and right gives id; the lowest rank is first. */
typedef struct dd_bpe_pair {
  uint32_t key; /* left << 16 | right */
  uint32_t rank; /* DD_BPE_NO_RANK: free */
  uint32_t id;
} dd_bpe_pair;

struct dd_bpe {
  atomic_int owners;
  int size, end_of_text;
  int ranked; /* from a file of ranks: every pair that forms a token may join */
  int whole;  /* a word that is a token is that token, whatever the merges say */
  char hash[33];
  char *text; /* of all tokens */
  size_t used, room;
  uint16_t byte_id[256];
  uint16_t (*merge)[2]; /* by rank; none when ranked */
  uint32_t merges, merge_room;
  dd_bpe_pair *pair; /* hash table */
  uint32_t pairs, pair_bits;
  dd_bpe_token_entry token[DD_BPE_MAX_IDS + 1];
  uint16_t slot[DD_BPE_SLOTS]; /* hash table of texts: ids */
};

/** Building: NULL when out of memory. Then tokens, then merges, then finish; each returns NULL, or what is wrong as the
 *  end of a sentence ("has ..."); dd_bpe_no_memory is one of these. */
dd_bpe *dd_bpe_new(void);
extern const char dd_bpe_no_memory[];
/** special: its text is a name; it takes part in nothing. */
const char *dd_bpe_put_token(dd_bpe *b, int64_t id, const char *bytes, size_t n, int special);
/** left, right, and both together must be tokens. */
const char *dd_bpe_put_merge(dd_bpe *b, const char *left, size_t n_left, const char *right, size_t n_right);
/** The same for lines "left right" in the printable alphabet (merges.txt). *line (may be NULL): the last one read. */
const char *dd_bpe_put_lines(dd_bpe *b, const char *text, int *line);
const char *dd_bpe_finish(dd_bpe *b);

/** Id of a text, -1 when it is no token. */
int dd_bpe_find(const dd_bpe *b, const char *bytes, size_t n);
/** GPT-2's printable alphabet: the byte of a code point, -1: none; the code point of a byte. */
int dd_bpe_byte_of(uint32_t code);
uint32_t dd_bpe_code_of(unsigned char byte);
/** Text in that alphabet -> bytes (no more than n); 0 when it holds a character that is no byte. */
int dd_bpe_unmap(const char *text, size_t n, char *out, size_t *length);

static inline uint32_t dd_bpe_pair_hash(uint32_t key, uint32_t bits) {
  return (uint32_t)(((uint64_t)key * 0x9E3779B97F4A7C15U) >> (64 - bits));
}
static inline const dd_bpe_pair *dd_bpe_pair_of(const dd_bpe *b, uint32_t left, uint32_t right) {
  const uint32_t key = left << 16 | right, mask = (1U << b->pair_bits) - 1;
  uint32_t i = dd_bpe_pair_hash(key, b->pair_bits);
  while (b->pair[i].rank != DD_BPE_NO_RANK && b->pair[i].key != key) i = (i + 1) & mask;
  return b->pair + i; /* rank DD_BPE_NO_RANK: they do not join */
}
#endif
