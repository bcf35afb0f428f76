/* Vocabularies as other libraries want them. */
#include "core/utf8.h"
#include "formats/bpe_internal.h"
#include <stdlib.h>
#include <string.h>

int dd_bpe_is_added(const dd_bpe *b, int id) {
  return dd_bpe_is_special(b, id) && (b->token[id].added || id == b->end_of_text);
}

size_t dd_bpe_spell_byte(unsigned char byte, char out[4]) { return dd_utf8_encode(dd_bpe_code_of(byte), out); }

size_t dd_bpe_spell(const dd_bpe *b, int id, char out[2 * DD_BPE_MAX_TOKEN]) {
  size_t n, made = 0;
  const char *bytes = dd_bpe_token(b, id, &n);
  if (dd_bpe_is_special(b, id) && dd_bpe_find(b, bytes, n) != id) return memcpy(out, bytes, n), n; /* a name */
  for (size_t i = 0; i < n; i++) made += dd_bpe_spell_byte((unsigned char)bytes[i], out + made);
  return made;
}

static int by_rank(const void *a, const void *b) {
  const dd_bpe_pair *x = a, *y = b;
  if (x->rank != y->rank) return x->rank < y->rank ? -1 : 1;
  return x->key < y->key ? -1 : x->key > y->key;
}

int dd_bpe_merges(const dd_bpe *b, uint16_t (**merge)[2], size_t *n, dd_error *err) {
  dd_bpe_pair *sorted = malloc((b->pairs + 1) * sizeof *sorted);
  *merge = malloc((b->pairs + 1) * sizeof **merge);
  *n = 0;
  if (!sorted || !*merge) {
    free(sorted);
    free(*merge);
    *merge = NULL;
    return dd_fail(err, DD_E_RUNTIME, "out of memory for the merges of a vocabulary");
  }
  for (uint32_t i = 0; i < 1U << b->pair_bits; i++)
    if (b->pair[i].rank != DD_BPE_NO_RANK) sorted[(*n)++] = b->pair[i];
  qsort(sorted, *n, sizeof *sorted, by_rank);
  for (size_t i = 0; i < *n; i++) {
    (*merge)[i][0] = (uint16_t)(sorted[i].key >> 16);
    (*merge)[i][1] = (uint16_t)(sorted[i].key & 0xFFFF);
  }
  free(sorted);
  return DD_OK;
}
