/* Row operations: LayerNorm, dropout, embeddings, bias sums, cross-entropy. */
#include "ops/ops.h"
#include "core/mathd.h"
#include <string.h>

static int64_t chunks_of(int64_t rows) { return dd_pieces(rows, DD_ROW_CHUNK); }

int64_t dd_partial_size(int64_t rows, int64_t C) { return chunks_of(rows) * 4 * C; }

void dd_layernorm_forward(dd_ctx *c, float *out, float *mean, float *rstd, const float *x, const float *w,
                          const float *b, int64_t rows, int64_t C) {
  dd_enter(c, DD_PHASE_NORM);
  DD_FOR(c, i, chunks_of(rows)) {
    const int64_t r = i * DD_ROW_CHUNK;
    c->k->layernorm(out + r * C, mean + r, rstd + r, x + r * C, w, b, dd_min64(DD_ROW_CHUNK, rows - r), C);
  }
}

/* out[n] = (more: out +) partial[0] + partial[1] + ..., partials of stride ld. */
static void fold(dd_ctx *c, float *out, const float *partial, int64_t ld, int64_t n, int64_t chunks, int more) {
  enum { STRIP = 64 };
  DD_FOR(c, i, dd_pieces(n, STRIP)) {
    const int64_t at = i * STRIP, cols = dd_min64(STRIP, n - at);
    if (!more) memcpy(out + at, partial + at, (size_t)cols * sizeof *out);
    for (int64_t j = !more; j < chunks; j++) c->k->add(out + at, out + at, partial + j * ld + at, cols);
  }
}

/* Chunk i of the rows. */
static void drop_chunk(dd_ctx *c, float *dst, const float *src, int64_t i, int64_t rows, int64_t C, const dd_drop *d) {
  const int64_t r = i * DD_ROW_CHUNK;
  dd_drop from = *d;
  from.c1 += (uint32_t)r;
  c->k->dropout(dst + r * C, src + r * C, &(dd_rows){dd_min64(DD_ROW_CHUNK, rows - r), C, C, 0, 0}, &from);
}

void dd_layernorm_backward(dd_ctx *c, float *dres, float *dw, float *db, const float *dy, const float *x,
                           const float *w, const float *mean, const float *rstd, int64_t rows, int64_t C,
                           float *partial, int more, const dd_after *after) {
  dd_enter(c, DD_PHASE_NORM_BACK);
  const int64_t ld = 2 * C;
  DD_FOR(c, i, chunks_of(rows)) {
    float *pw = partial + i * ld, *pb = db ? pw + C : NULL;
    memset(pw, 0, (size_t)ld * sizeof *pw);
    enum { HOT = 8 }; /* rows that the second kernel finds in the first cache */
    const int64_t end = dd_min64((i + 1) * DD_ROW_CHUNK, rows);
    for (int64_t r = i * DD_ROW_CHUNK; r < end; r += HOT) {
      const int64_t n = dd_min64(HOT, end - r);
      c->k->layernorm_backward(dres + r * C, dy + r * C, x + r * C, w, mean + r, rstd + r, n, C);
      c->k->layernorm_dparam(pw, pb, dy + r * C, x + r * C, mean + r, rstd + r, n, C);
    }
    if (after && after->drop.threshold) drop_chunk(c, after->out, dres, i, rows, C, &after->drop);
  }
  dd_barrier(c);
  fold(c, dw, partial, ld, C, chunks_of(rows), more);
  if (db) fold(c, db, partial + C, ld, C, chunks_of(rows), more);
  dd_barrier(c);
}

void dd_bias_backward(dd_ctx *c, float *db, const float *dy, int64_t rows, int64_t n, float *partial, int more) {
  dd_enter(c, DD_PHASE_BIAS_BACK);
  DD_FOR(c, i, chunks_of(rows)) {
    float *p = partial + i * n;
    memcpy(p, dy + i * DD_ROW_CHUNK * n, (size_t)n * sizeof *p);
    for (int64_t r = i * DD_ROW_CHUNK + 1; r < dd_min64((i + 1) * DD_ROW_CHUNK, rows); r++)
      c->k->add(p, p, dy + r * n, n);
  }
  dd_barrier(c);
  fold(c, db, partial, n, n, chunks_of(rows), more);
  dd_barrier(c);
}

void dd_embed_forward(dd_ctx *c, float *x, const int32_t *idx, const float *wte, const float *wpe, int64_t B, int64_t T,
                      int64_t C, const dd_drop *d) {
  dd_enter(c, DD_PHASE_EMBED);
  DD_FOR(c, i, chunks_of(B * T)) {
    const int64_t first = i * DD_ROW_CHUNK, end = dd_min64(first + DD_ROW_CHUNK, B * T);
    for (int64_t r = first; r < end; r++) c->k->add(x + r * C, wte + idx[r] * C, wpe + r % T * C, C);
    if (!d->threshold) continue;
    dd_drop from = *d;
    from.c1 += (uint32_t)first;
    c->k->dropout(x + first * C, x + first * C, &(dd_rows){end - first, C, C, 0, 0}, &from);
  }
}

void dd_embed_backward(dd_ctx *c, float *dwte, float *dwpe, const float *dx, const int32_t *idx, int64_t B, int64_t T,
                       int64_t S, int64_t C) {
  dd_enter(c, DD_PHASE_EMBED_BACK);
  /* Columns are split, tokens are not: each element adds up in token order. */
  enum { STRIP = 16 };
  DD_FOR(c, i, dd_pieces(C, STRIP)) {
    const int64_t at = i * STRIP, cols = dd_min64(STRIP, C - at);
    for (int64_t r = 0; r < B * T; r++) {
      float *w = dwte + idx[r] * C + at;
      c->k->add(w, w, dx + r * C + at, cols);
    }
  }
  DD_FOR(c, t, S) {
    float *w = dwpe + t * C;
    if (t >= T) {
      memset(w, 0, (size_t)C * sizeof *w);
      continue;
    }
    memcpy(w, dx + t * C, (size_t)C * sizeof *w);
    for (int64_t b = 1; b < B; b++) c->k->add(w, w, dx + (b * T + t) * C, C);
  }
}

void dd_loss_rows(dd_ctx *c, double *loss, float *logits, const int32_t *targets, int64_t rows, int64_t V, float g) {
  dd_enter(c, DD_PHASE_LOSS);
  DD_FOR(c, i, chunks_of(rows)) {
    const int64_t first = i * DD_ROW_CHUNK, n = dd_min64(DD_ROW_CHUNK, rows - first);
    float max[DD_ROW_CHUNK], sum[DD_ROW_CHUNK], *l = logits + first * V;
    double *of = loss + first;
    for (int64_t r = 0; r < n; r++) of[r] = (double)l[r * V + targets[first + r]];
    c->k->xent(l, n, V, targets + first, g, max, sum);
    for (int64_t r = 0; r < n; r++) of[r] = dd_log((double)sum[r]) + ((double)max[r] - of[r]);
  }
}
