#include "model/joint.h"
#include "ops/ops.h"
#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* Floats below which a bucket takes the next layer, too: shorter messages cost more than they hide. */
enum { BUCKET_FLOATS = 1 << 17, PIECE_ALIGN = 16 };

dd_range dd_joint_range(int64_t micros, int ranks, int rank) {
  const int64_t each = micros / ranks, longer = micros % ranks;
  const int64_t first = each * rank + dd_min64(rank, longer);
  return (dd_range){first, first + each + (rank < longer)};
}

int dd_joint_joins(int64_t micros, dd_range range, int64_t i, dd_joint_part *part, int *is_part) {
  int joins = 0;
  *is_part = 0;
  for (int level = 0;; level++) { /* i: first micro-batch of the node */
    const int64_t size = (int64_t)1 << level, parent = i & ~(2 * size - 1);
    const int root = size >= micros;
    if (root || parent < range.first || dd_min64(parent + 2 * size, micros) > range.end) {
      *is_part = 1;
      if (part) *part = (dd_joint_part){.first = i, .level = level};
      return joins;
    }
    if (i & size) joins++, i = parent;
    else if (i + size < micros)
      return joins; /* its neighbour is still to come; where there is none, the parent is it */
  }
}

int dd_joint_waiting(dd_range range, int64_t i) {
  int n = 0;
  for (int64_t at = range.first; at < i; n++) { /* the largest aligned groups */
    int64_t size = 1;
    while (!(at & size) && at + 2 * size <= i) size *= 2;
    at += size;
  }
  return n;
}

int dd_joint_depth(dd_range range) {
  int most = 0;
  for (int64_t i = range.first; i < range.end; i++) {
    const int n = dd_joint_waiting(range, i);
    if (n > most) most = n;
  }
  return most;
}

static int find_part(const dd_joint *s, int64_t first, int level) {
  for (int k = 0; k < s->parts; k++)
    if (s->part[k].first == first && s->part[k].level == level) return k;
  return -1;
}

/* The part that holds the sum of a node when the pairs so far are added. */
static int add_pairs(dd_joint *s, int64_t first, int level, int *pairs) {
  const int k = find_part(s, first, level);
  const int64_t half = first + ((int64_t)1 << level) / 2;
  if (k >= 0) return k;
  const int left = add_pairs(s, first, level - 1, pairs);
  if (half >= s->micros) return left;
  const int right = add_pairs(s, half, level - 1, pairs);
  s->pair[*pairs][0] = left;
  s->pair[(*pairs)++][1] = right;
  return left;
}

static int count_parts(dd_joint *s) {
  int n = 0, is_part;
  for (int r = 0; r < s->size; r++) {
    const dd_range range = dd_joint_range(s->micros, s->size, r);
    for (int64_t i = range.first; i < range.end; i++) {
      dd_joint_part p;
      dd_joint_joins(s->micros, range, i, &p, &is_part);
      if (!is_part) continue;
      p.owner = r;
      if (s->part) s->part[n] = p;
      n++;
    }
  }
  return n;
}

/* Buckets from the last layer down; what is left at the end goes with the embeddings. */
static void cut(dd_joint *s, const dd_layout *l) {
  enum {
    HEAD = 0
#define COUNT_UP(...) +1
    DD_TENSORS_HEAD(COUNT_UP)
#undef COUNT_UP
  };
  int tail = 0;
#define COUNT_UP(field, text, r, c, kind) tail += DD_INIT_##kind != DD_INIT_BIAS || l->shape.bias;
  DD_TENSORS_TAIL(COUNT_UP)
#undef COUNT_UP
  const int64_t L = l->shape.L, each = (l->count - HEAD - tail) / L;
  int64_t end = l->floats, n = 0;
  for (int64_t i = L - 1; i >= 0; i--) {
    const int64_t at = l->tensors[HEAD + i * each].offset;
    if (end - at < BUCKET_FLOATS) continue;
    s->begin[n] = at, s->layer[n] = i, n++; /* still from the end */
    end = at;
  }
  s->begin[n] = 0, s->layer[n] = -1, n++;
  for (int64_t i = 0; i < n / 2; i++) {
    const int64_t at = s->begin[i], layer = s->layer[i];
    s->begin[i] = s->begin[n - 1 - i], s->begin[n - 1 - i] = at;
    s->layer[i] = s->layer[n - 1 - i], s->layer[n - 1 - i] = layer;
  }
  s->begin[n] = l->floats;
  s->buckets = (int)n;
}

static void *take(size_t n, size_t size, int *missing) {
  void *p = calloc(n ? n : 1, size);
  *missing |= !p;
  return p;
}

int dd_joint_create(dd_joint **out, dd_ranks *ranks, int64_t micros, const dd_layout *layout, dd_error *err) {
  *out = NULL;
  const int size = dd_ranks_size(ranks);
  if (size > micros)
    return dd_fail(err, DD_E_USAGE,
                   "%d ranks cannot share %lld micro-batches; start at most %lld, or use "
                   "--gradient-accumulation-steps %d with a smaller --batch-size",
                   size, (long long)micros, (long long)micros, size);
  int missing = 0, pairs = 0, top = 0;
  dd_joint *s = take(1, sizeof *s, &missing);
  if (missing) return dd_fail(err, DD_E_RUNTIME, "out of memory for messages between ranks");
  *s = (dd_joint){.ranks = ranks, .rank = dd_ranks_rank(ranks), .size = size, .micros = micros};
  s->own = dd_joint_range(micros, size, s->rank);
  s->parts = count_parts(s);
  const size_t P = (size_t)s->parts, R = (size_t)size, L = (size_t)layout->shape.L + 1;
  s->part = take(P, sizeof *s->part, &missing);
  s->pair = take(P, sizeof *s->pair, &missing);
  s->begin = take(L + 1, sizeof *s->begin, &missing);
  s->layer = take(L, sizeof *s->layer, &missing);
  s->box = take(P, sizeof *s->box, &missing);
  s->data = take(P, sizeof *s->data, &missing);
  s->sent = take(L * P, sizeof *s->sent, &missing);
  s->in = take(L * P, sizeof *s->in, &missing);
  s->out = take(L * P * R, sizeof *s->out, &missing);
  s->all = take(L + 1, sizeof *s->all, &missing);
  s->counts = take((L + 1) * R, sizeof *s->counts, &missing);
  s->offsets = take((L + 1) * R, sizeof *s->offsets, &missing);
  *out = s;
  if (missing) {
    dd_joint_destroy(s);
    *out = NULL;
    return dd_fail(err, DD_E_RUNTIME, "out of memory for messages between ranks");
  }
  count_parts(s);
  while ((int64_t)1 << top < micros) top++;
  add_pairs(s, 0, top, &pairs);
  assert(pairs == s->parts - 1);
  cut(s, layout);
  return DD_OK;
}

void dd_joint_destroy(dd_joint *s) {
  if (!s) return;
  void *const all[] = {s->part, s->pair, s->begin,  s->layer,   s->box, (void *)s->data, s->sent, s->in,
                       s->out,  s->all,  s->counts, s->offsets, s};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

dd_piece dd_joint_piece(const dd_joint *s, int bucket, int rank) {
  const int64_t from = s->begin[bucket], n = s->begin[bucket + 1] - from;
  const int64_t each = dd_round_up(dd_pieces(n, s->size), PIECE_ALIGN);
  const int64_t at = dd_min64(each * rank, n);
  return (dd_piece){from + at, dd_min64(each, n - at)};
}

int64_t dd_joint_box(const dd_joint *s) {
  int64_t n = 0;
  for (int b = 0; b < s->buckets; b++) n += dd_joint_piece(s, b, s->rank).n;
  return n;
}

float *dd_joint_part_data(const dd_joint *s, int k, int bucket) {
  if (s->part[k].owner == s->rank) return (float *)s->data[k] + dd_joint_piece(s, bucket, s->rank).at;
  int64_t at = 0;
  for (int b = 0; b < bucket; b++) at += dd_joint_piece(s, b, s->rank).n;
  return s->box[k] + at;
}

int dd_joint_bucket_of(const dd_joint *s, int64_t layer) {
  for (int b = 1; b < s->buckets; b++)
    if (s->layer[b] == layer) return b;
  return -1;
}

void dd_joint_begin(dd_joint *s) {
  s->begun = 1;
  memset(s->sent, 0, (size_t)(s->buckets * s->parts));
  for (int b = s->buckets - 1; b >= 0 && !s->rc; b--) {
    const dd_piece p = dd_joint_piece(s, b, s->rank);
    for (int k = 0; k < s->parts && p.n > 0 && !s->rc; k++) {
      if (s->part[k].owner == s->rank) continue;
      s->rc = dd_ranks_receive(s->ranks, dd_joint_part_data(s, k, b), (size_t)p.n * sizeof(float), s->part[k].owner, b,
                               s->in + b * s->parts + k, &s->err);
    }
  }
}

void dd_joint_send(dd_joint *s, int64_t first, const float *flat, int bucket) {
  int k = 0;
  while (s->part[k].first != first) k++; /* there is one */
  s->data[k] = flat;
  for (int b = s->buckets - 1; b >= 0; b--) {
    if ((bucket >= 0 && b != bucket) || s->sent[b * s->parts + k]) continue;
    s->sent[b * s->parts + k] = 1;
    for (int i = 1; i < s->size && !s->rc; i++) {
      const int to = (s->rank + i) % s->size; /* not everybody to the same one first */
      const dd_piece p = dd_joint_piece(s, b, to);
      if (p.n <= 0) continue;
      s->rc = dd_ranks_send(s->ranks, flat + p.at, (size_t)p.n * sizeof(float), to, b,
                            s->out + ((int64_t)b * s->parts + k) * s->size + to, &s->err);
    }
  }
}

void dd_joint_poll(dd_joint *s) {
  int done;
  if (!s->begun) return;
  const int n = s->buckets * s->parts;
  if (!s->rc) s->rc = dd_ranks_test(s->ranks, s->in, n, &done, &s->err);
  if (!s->rc) s->rc = dd_ranks_test(s->ranks, s->out, n * s->size, &done, &s->err);
}

static int status(const dd_joint *s, dd_error *err) {
  if (s->rc && err) *err = s->err;
  return s->rc;
}

int dd_joint_arrived(dd_joint *s, int bucket, dd_error *err) {
  const int first = bucket * s->parts;
  int rc = status(s, err);
  if (!rc) rc = dd_ranks_wait(s->ranks, s->in + first, s->parts, err);
  if (!rc) rc = dd_ranks_wait(s->ranks, s->out + (int64_t)first * s->size, s->parts * s->size, err);
  return rc;
}

int dd_joint_publish(dd_joint *s, int bucket, float *flat, dd_error *err) {
  int *counts = s->counts + bucket * s->size, *offsets = s->offsets + bucket * s->size;
  for (int r = 0; r < s->size; r++) {
    const dd_piece p = dd_joint_piece(s, bucket, r);
    if (p.at - s->begin[bucket] > INT_MAX)
      return dd_fail(err, DD_E_USAGE, "a layer is too large to be shared by ranks");
    counts[r] = (int)p.n;
    offsets[r] = (int)(p.at - s->begin[bucket]);
  }
  return dd_ranks_gather(s->ranks, flat + s->begin[bucket], counts, offsets, s->all + bucket, err);
}

int dd_joint_losses(dd_joint *s, double *losses, dd_error *err) {
  static_assert(sizeof(double) == 8, "two words");
  int *counts = s->counts + s->buckets * s->size, *offsets = s->offsets + s->buckets * s->size;
  for (int r = 0; r < s->size; r++) {
    const dd_range range = dd_joint_range(s->micros, s->size, r);
    counts[r] = (int)(2 * (range.end - range.first));
    offsets[r] = (int)(2 * range.first);
  }
  const int rc = status(s, err);
  return rc ? rc : dd_ranks_gather(s->ranks, losses, counts, offsets, s->all + s->buckets, err);
}

int dd_joint_abandon(dd_joint *s, const float *flat, dd_error *err) {
  int rc = DD_OK;
  for (int k = 0; k < s->parts; k++)
    if (s->part[k].owner == s->rank) dd_joint_send(s, s->part[k].first, flat, -1);
  for (int b = 0; b < s->buckets && !rc; b++) rc = dd_joint_arrived(s, b, err);
  s->begun = 0;
  return rc;
}

int dd_joint_finish(dd_joint *s, dd_error *err) {
  s->begun = 0;
  return dd_ranks_wait(s->ranks, s->all, s->buckets + 1, err);
}
