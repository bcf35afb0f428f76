/* Encoding: words, a cache of them, and the merges of those it does not hold. */
#include "formats/bpe.h"
#include "formats/bpe_internal.h"
#include "formats/pretokenizer.h"
#include <stdlib.h>
#include <string.h>

enum { CACHE_BITS = 15, KEY = 16, KEPT = 7, SHORT = 64 };

/* A word and its ids: 32 bytes. */
typedef struct cached {
  uint64_t key[2]; /* its bytes, zeros behind */
  uint8_t length, n; /* bytes, 0: free; ids */
  uint16_t id[KEPT];
} cached;

/* A part of a long word. */
typedef struct part {
  uint32_t prev, next; /* next of the last part: number of bytes */
  uint32_t rank, id;   /* of the pair that it begins; of itself, NO_PART when it is joined to the part before */
} part;

struct dd_bpe_encoder {
  const dd_bpe *b;
  cached *cache;
  part *parts;
  uint64_t *heap; /* rank << 32 | part, the smallest first; may hold pairs that are no more */
  size_t room, n_heap;
};

#define NO_PART UINT32_MAX

dd_bpe_encoder *dd_bpe_encoder_create(const dd_bpe *b) {
  dd_bpe_encoder *e = calloc(1, sizeof *e);
  if (e) e->cache = calloc((size_t)1 << CACHE_BITS, sizeof *e->cache);
  if (e && e->cache) {
    e->b = b;
    return e;
  }
  free(e);
  return NULL;
}

void dd_bpe_encoder_destroy(dd_bpe_encoder *e) {
  if (!e) return;
  free(e->cache);
  free(e->parts);
  free(e->heap);
  free(e);
}

/* ---- short words: look through all pairs for each merge ---- */

static size_t merge_short(const dd_bpe *b, const unsigned char *word, size_t n, uint16_t *out) {
  uint32_t id[SHORT], rank[SHORT], made[SHORT];
  for (size_t i = 0; i < n; i++) id[i] = b->byte_id[word[i]];
  for (size_t i = 0; i + 1 < n; i++) {
    const dd_bpe_pair *p = dd_bpe_pair_of(b, id[i], id[i + 1]);
    rank[i] = p->rank, made[i] = p->id;
  }
  while (n > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < n; i++)
      if (rank[i] < rank[best]) best = i;
    if (rank[best] == DD_BPE_NO_RANK) break;
    id[best] = made[best];
    n--;
    for (size_t i = best + 1; i < n; i++) id[i] = id[i + 1], rank[i - 1] = rank[i], made[i - 1] = made[i];
    if (best + 1 < n) {
      const dd_bpe_pair *p = dd_bpe_pair_of(b, id[best], id[best + 1]);
      rank[best] = p->rank, made[best] = p->id;
    }
    if (best) {
      const dd_bpe_pair *p = dd_bpe_pair_of(b, id[best - 1], id[best]);
      rank[best - 1] = p->rank, made[best - 1] = p->id;
    }
  }
  for (size_t i = 0; i < n; i++) out[i] = (uint16_t)id[i];
  return n;
}

/* ---- long words: a list of parts and a heap of pairs ---- */

static void heap_down(uint64_t *heap, size_t n, size_t i) {
  const uint64_t x = heap[i];
  for (size_t child; (child = 2 * i + 1) < n; i = child) {
    child += child + 1 < n && heap[child + 1] < heap[child];
    if (x <= heap[child]) break;
    heap[i] = heap[child];
  }
  heap[i] = x;
}

static void heap_put(dd_bpe_encoder *e, uint64_t x) {
  size_t i = e->n_heap++;
  for (; i > 0 && x < e->heap[(i - 1) / 2]; i = (i - 1) / 2) e->heap[i] = e->heap[(i - 1) / 2];
  e->heap[i] = x;
}

/* The pair that part i begins, in a word of n bytes. */
static uint32_t rank_at(const dd_bpe_encoder *e, size_t n, uint32_t i) {
  const uint32_t next = e->parts[i].next;
  return next >= n ? DD_BPE_NO_RANK : dd_bpe_pair_of(e->b, e->parts[i].id, e->parts[next].id)->rank;
}

static void renew(dd_bpe_encoder *e, size_t n, uint32_t i) {
  e->parts[i].rank = rank_at(e, n, i);
  if (e->parts[i].rank != DD_BPE_NO_RANK) heap_put(e, (uint64_t)e->parts[i].rank << 32 | i);
}

/* A merge takes one entry from the heap and puts at most two there, so 2 n entries are enough. */
static int make_room(dd_bpe_encoder *e, size_t n) {
  if (n <= e->room) return 1;
  if (n > UINT32_MAX / 2 || n > SIZE_MAX / 32) return 0;
  free(e->parts);
  free(e->heap);
  e->parts = malloc(n * sizeof *e->parts);
  e->heap = malloc(2 * n * sizeof *e->heap);
  e->room = e->parts && e->heap ? n : 0;
  return e->room > 0;
}

static int64_t merge_long(dd_bpe_encoder *e, const unsigned char *word, size_t n, uint16_t *out) {
  if (!make_room(e, n)) return -1;
  const dd_bpe *b = e->b;
  part *parts = e->parts;
  for (uint32_t i = 0; i < n; i++)
    parts[i] = (part){.prev = i ? i - 1 : NO_PART, .next = i + 1, .id = b->byte_id[word[i]]};
  e->n_heap = 0;
  for (uint32_t i = 0; i < n; i++) {
    parts[i].rank = rank_at(e, n, i);
    if (parts[i].rank != DD_BPE_NO_RANK) e->heap[e->n_heap++] = (uint64_t)parts[i].rank << 32 | i;
  }
  for (size_t i = e->n_heap / 2; i-- > 0;) heap_down(e->heap, e->n_heap, i);
  while (e->n_heap) {
    const uint64_t top = e->heap[0];
    e->heap[0] = e->heap[--e->n_heap];
    if (e->n_heap) heap_down(e->heap, e->n_heap, 0);
    const uint32_t i = (uint32_t)top, rank = (uint32_t)(top >> 32);
    if (parts[i].id == NO_PART || parts[i].rank != rank) continue;
    const uint32_t gone = parts[i].next;
    parts[i].id = dd_bpe_pair_of(b, parts[i].id, parts[gone].id)->id;
    parts[i].next = parts[gone].next;
    parts[gone].id = NO_PART;
    if (parts[i].next < n) parts[parts[i].next].prev = i;
    renew(e, n, i);
    if (parts[i].prev != NO_PART) renew(e, n, parts[i].prev);
  }
  int64_t made = 0;
  for (uint32_t i = 0; i < n; i = parts[i].next) out[made++] = (uint16_t)parts[i].id;
  return made;
}

static int64_t merge(dd_bpe_encoder *e, const char *word, size_t n, uint16_t *out) {
  if (e->b->whole) {
    const int id = dd_bpe_find(e->b, word, n);
    if (id >= 0) return out[0] = (uint16_t)id, 1;
  }
  const unsigned char *bytes = (const unsigned char *)word;
  return n <= SHORT ? (int64_t)merge_short(e->b, bytes, n, out) : merge_long(e, bytes, n, out);
}

int dd_bpe_needs_whole(const dd_bpe *b) {
  uint16_t ids[DD_BPE_MAX_TOKEN];
  int needs = 0;
  if (!b->whole) return 0;
  dd_bpe_encoder *e = dd_bpe_encoder_create(b);
  for (int id = 0; id < b->size && e && !needs; id++) {
    const dd_bpe_token_entry *t = b->token + id;
    const unsigned char *bytes = (const unsigned char *)b->text + t->at;
    if (t->n < 2 || t->special || dd_word_length((const char *)bytes, t->n) != t->n) continue;
    const int64_t made = t->n <= SHORT ? (int64_t)merge_short(b, bytes, t->n, ids) : merge_long(e, bytes, t->n, ids);
    needs = made < 0 ? -1 : made != 1;
  }
  if (!e) needs = -1;
  dd_bpe_encoder_destroy(e);
  return needs;
}

/* ---- the cache ---- */

/* n <= KEY bytes of the `left` that may be read. */
static void load_key(uint64_t key[2], const char *word, size_t n, size_t left) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  if (left >= KEY) {
    memcpy(key, word, KEY);
    if (n < 8) key[0] &= ((uint64_t)1 << 8 * n) - 1, key[1] = 0;
    else if (n < KEY) key[1] &= ((uint64_t)1 << 8 * (n - 8)) - 1;
    return;
  }
#endif
  (void)left;
  key[0] = key[1] = 0;
  memcpy(key, word, n);
}

static uint32_t hash_key(const uint64_t key[2]) {
  uint64_t x = (key[0] ^ key[0] >> 32) * 0x9E3779B97F4A7C15U;
  x = (x ^ key[1] ^ x >> 29) * 0xD6E8FEB86659FD93U;
  return (uint32_t)(x >> (64 - CACHE_BITS));
}

int64_t dd_bpe_encode(dd_bpe_encoder *e, const char *text, size_t n, uint16_t *ids) {
  int64_t made = 0;
  for (size_t i = 0, length; i < n; i += length) {
    length = dd_word_length(text + i, n - i);
    if (length > KEY) {
      const int64_t more = merge(e, text + i, length, ids + made);
      if (more < 0) return -1;
      made += more;
      continue;
    }
    uint64_t key[2];
    load_key(key, text + i, length, n - i);
    cached *c = e->cache + hash_key(key);
    if (c->key[0] != key[0] || c->key[1] != key[1] || c->length != length) {
      const int64_t more = merge(e, text + i, length, ids + made);
      if (more <= KEPT) {
        *c = (cached){.key = {key[0], key[1]}, .length = (uint8_t)length, .n = (uint8_t)more};
        memcpy(c->id, ids + made, (size_t)more * sizeof *ids);
      }
      made += more;
      continue;
    }
    for (int k = 0; k < c->n; k++) ids[made + k] = c->id[k];
    made += c->n;
  }
  return made;
}
