/* Matrix products: a tiny micro-kernel (simd/tile.h) and the loops around it.
 *
 * Weights are packed once per step; rows of x are read where they lie, in blocks that stay in the second cache. Work is
 * a grid of row parts x column parts: any grid gives the same bits, so it may follow the number of threads. */
#include "ops/ops.h"
#include <string.h>

enum {
  MC = 192,    /* most rows of x at a time; they and the weights' panels stream from the second cache, so fewer
                * where a third of that holds fewer, with the rows of y that several blocks of k add to */
  STRIP = 128, /* columns between two epilogues, which find them in the second cache; a multiple of UNIT and NR */
  UNIT = 64,   /* columns that stay together: epilogues begin at multiples of it */
  TASKS = 8,   /* of y and dx, per thread, where columns allow it: the last one is waited for, and threads are not
                * equally fast; fewer where each packs its rows */
  TASKS_PACKED = 2,
  ROW_TILES = 6,   /* least height of a task, in tiles: lower ones cost more than they save in waiting */
  DW_ROWS = 512,   /* tile of a weight gradient: its rows of dy, once copied, stay in the second cache */
  DW_COLS = 768,
  DW_SQUARE = 384, /* rows and columns where the second cache holds such a tile, too */
  DW_NARROW = 256, /* up to here a chunk of x stays in the second cache, and high tiles find it there in time */
  DW_SHORT = 96,   /* up to here few rows of tiles use what would be copied of x, and it stays in place */
  DW_PANELS = 8,   /* below it too few panels use what would be copied of dy; where x may stay in place, at it, too */
  DW_FEW_SETS = 64 /* rows of a multiple of this fall into a quarter of the sets of a first cache of 32 KB, or fewer,
                    * and a chunk of them does not fit: x is copied then */
};

int64_t dd_packed_size(const dd_kernels *kn, int64_t k, int64_t n) { return k * dd_round_up(n, kn->nr); }

int64_t dd_matmul_scratch(int64_t widest) {
  const int64_t fresh = (DD_FRESH_ROWS + DD_MR_MAX + STRIP) * DD_KC_MAX;
  const int64_t backward = (DD_NR_MAX + dd_min64(DW_ROWS, widest) + DD_MR_MAX) * DD_TOKEN_CHUNK;
  return fresh > backward ? fresh : backward;
}

/* Panels of columns from col0 (a multiple of nr) in the block of k that starts at k0. */
static const float *packed_at(const dd_kernels *kn, const dd_packed *p, int64_t k0, int64_t kc, int64_t col0) {
  return p->data + k0 * dd_round_up(p->n, kn->nr) + col0 * kc;
}

void dd_pack_weights(dd_ctx *c, const dd_packed *forward, const dd_packed *back, const float *w) {
  dd_enter(c, DD_PHASE_PACK);
  /* Square tiles of w, so that the second packing finds what the first one read. */
  const int64_t out = forward ? forward->n : back->k, in = forward ? forward->k : back->n;
  const int64_t kc = c->k->kc, nr = c->k->nr, across = dd_pieces(in, kc);
  DD_FOR(c, tile, dd_pieces(out, kc) * across) {
    const int64_t o = tile / across * kc, i = tile % across * kc, no = dd_min64(kc, out - o), ni = dd_min64(kc, in - i);
    const float *src = w + o * in + i;
    if (forward) c->k->pack_b(forward->data + i * dd_round_up(out, nr) + o * ni, ni, no, src, 1, in);
    if (back) c->k->pack_b(back->data + o * dd_round_up(in, nr) + i * no, no, ni, src, in, 1);
  }
}

/* How a product is shared out: parts of the rows, in whole tiles, times parts of the columns, in whole units. */
typedef struct grid {
  int64_t row_parts, col_parts, unit;
} grid;

/* Rows whose length is a multiple of 4 KB fall into one set of the first cache and are packed. */
static int packs_rows(int64_t ldx) { return ldx % 1024 == 0; }

static grid grid_of(const dd_ctx *c, const dd_packed *w, int64_t tiles, int64_t m, int64_t ldx) {
  const int64_t threads = c->nthreads;
  grid g = {.unit = w->data ? STRIP : UNIT};
  const int64_t units = dd_pieces(w->n, g.unit);
  if (w->data) {
    /* Rows in equal parts, an equal number for each thread, and columns: each part of them reads the rows of x again,
     * or packs them. Where columns are few, more parts of the rows: each of them reads the weights again. `back`:
     * columns that blocks of k come back to, if they are few enough to be kept. */
    const int64_t kc = c->k->kc, back = w->k > kc && w->n <= kc ? w->n : 0;
    const int64_t fitting = c->l2 ? dd_max64(c->l2 / 3 / (4 * (kc + back)), 1) : MC;
    const int64_t tasks = packs_rows(ldx) ? TASKS_PACKED : TASKS;
    g.row_parts = dd_min64(dd_round_up(dd_pieces(m, dd_min64(fitting, MC)), threads), tiles);
    g.col_parts = threads == 1 ? 1 : dd_min64(dd_pieces(tasks * threads, g.row_parts), units);
    if (threads > 1) {
      const int64_t wanted = dd_round_up(dd_pieces(tasks * threads, g.col_parts), threads);
      g.row_parts = dd_max64(g.row_parts, dd_min64(wanted, tiles / ROW_TILES / threads * threads));
    }
    return g;
  }
  /* All rows that fit together: each part of them packs the weights again. */
  g.row_parts = dd_pieces(m, DD_FRESH_ROWS);
  g.col_parts = dd_min64(dd_pieces(threads, g.row_parts), units);
  if (g.row_parts * g.col_parts < threads) g.row_parts = dd_min64(dd_pieces(threads, g.col_parts), tiles);
  return g;
}

/* The left operand of a part. Rows stay where they lie, unless packs_rows says so or weights are packed here, because
 * then many columns pass all rows. */
static dd_operand rows_of(dd_ctx *c, const float *x, int64_t ldx, int64_t rows, int64_t kc, const dd_packed *w) {
  const dd_kernels *kn = c->k;
  if (w->data && !packs_rows(ldx))
    return (dd_operand){.data = x, .lane = ldx, .panel = kn->mr * ldx};
  kn->pack_a(c->scratch, rows, kc, x, ldx, 1);
  return (dd_operand){.data = c->scratch, .step = kn->mr, .panel = kn->mr * kc};
}

/* A strip of weights: `cols` columns from col on in the block of k that starts at k0, and what the tiles of `rows` rows
 * fetch meanwhile: the next panel, or the weights at (k1, col1). */
typedef struct strip {
  int64_t rows, k0, kc, col, cols, k1, col1;
} strip;

static dd_operand strip_of(dd_ctx *c, const dd_packed *w, const strip *s) {
  const dd_kernels *kn = c->k;
  const int64_t panel = kn->nr * s->kc;
  dd_operand right = {.step = kn->nr, .panel = panel};
  if (w->data) {
    right.data = packed_at(kn, w, s->k0, s->kc, s->col);
    right.next = right.data + panel;
    right.next_step = panel / dd_pieces(s->rows, kn->mr);
    return right;
  }
  /* Few rows: packed weights would be written to memory to be read once. Here they are packed where they are used, and
   * pass through the caches once; where their columns lie side by side, the first tile copies them. */
  float *pb = c->scratch + (DD_FRESH_ROWS + DD_MR_MAX) * DD_KC_MAX;
  const float *at = w->w + s->k0 * w->rs + s->col * w->cs;
  if (s->k1 < w->k) right.next = w->w + s->k1 * w->rs + s->col1 * w->cs;
  if (w->cs == 1) {
    right.data = at;
    right.step = w->rs;
    right.panel = kn->nr;
    right.copy = pb;
    return right;
  }
  kn->pack_b(pb, s->kc, s->cols, at, w->rs, w->cs);
  right.data = pb;
  right.next_k = 1; /* a tile fetches a column */
  right.next_step = w->cs;
  return right;
}

static void product(dd_ctx *c, float *out, const float *x, int64_t ldx, const dd_packed *w, int64_t m,
                    const dd_epilogue *e) {
  const dd_kernels *kn = c->k;
  const int64_t tiles = dd_pieces(m, kn->mr);
  const grid g = grid_of(c, w, tiles, m, ldx);
  const int64_t units = dd_pieces(w->n, g.unit);
  DD_FOR(c, task, g.row_parts * g.col_parts) {
    const int64_t rp = task / g.col_parts, cp = task % g.col_parts;
    const int64_t row0 = dd_part_begin(tiles, rp, g.row_parts) * kn->mr;
    const int64_t rows = dd_min64(dd_part_begin(tiles, rp + 1, g.row_parts) * kn->mr, m) - row0;
    const int64_t col0 = dd_part_begin(units, cp, g.col_parts) * g.unit;
    const int64_t col_end = dd_min64(dd_part_begin(units, cp + 1, g.col_parts) * g.unit, w->n);
    for (int64_t k0 = 0; k0 < w->k; k0 += kn->kc) {
      const int64_t kc = dd_min64(kn->kc, w->k - k0);
      const dd_operand left = rows_of(c, x + row0 * ldx + k0, ldx, rows, kc, w);
      for (int64_t col = col0; col < col_end; col += STRIP) {
        const int64_t cols = dd_min64(STRIP, col_end - col), last = col + cols == col_end;
        const strip s = {rows, k0, kc, col, cols, last ? k0 + kc : k0, last ? col0 : col + cols};
        const dd_operand right = strip_of(c, w, &s);
        kn->gemm_strided(rows, cols, kc, &left, &right, out + row0 * w->n + col, w->n,
                         k0 ? DD_GEMM_CONTINUE : DD_GEMM_SET);
        if (e && k0 + kc == w->k) e->fn(kn, e, out, w->n, row0, rows, col, cols);
      }
    }
  }
}

void dd_matmul(dd_ctx *c, float *out, const float *x, int64_t ldx, const dd_packed *w, int64_t m,
               const dd_epilogue *e) {
  dd_enter(c, DD_PHASE_MATMUL);
  product(c, out, x, ldx, w, m, e);
}

void dd_matmul_dx(dd_ctx *c, float *dx, const float *dy, int64_t ldy, const dd_packed *w, int64_t m,
                  const dd_epilogue *e) {
  dd_enter(c, DD_PHASE_MATMUL_BACK);
  product(c, dx, dy, ldy, w, m, e);
}

void dd_matmul_dweight(dd_ctx *c, float *dw, const float *dy, const float *x, int64_t rows, int64_t out, int64_t in,
                       int more) {
  dd_enter(c, DD_PHASE_DWEIGHT);
  const dd_kernels *kn = c->k;
  /* A square tile reads least from beyond the second cache, if it stays there from chunk to chunk with its operands. */
  const int square = c->l2 / 4 * 3 >= 4 * DW_SQUARE * (DW_SQUARE + 2 * DD_TOKEN_CHUNK);
  /* Parts in whole panels: as few as the tile's limits allow, then more until there is work for every thread. A part of
   * the columns packs its rows of dy again, a part of the rows copies x again. */
  const int64_t row_panels = dd_pieces(out, kn->mr), col_panels = dd_pieces(in, kn->nr);
  const int high = kn->mr > 8;
  int64_t row_parts = dd_pieces(out, square ? DW_SQUARE : DW_ROWS);
  int64_t col_parts = dd_pieces(in, square && out > MC ? DW_SQUARE : DW_COLS);
  while (c->nthreads > 1 && row_parts * col_parts < c->nthreads) {
    /* High tiles read x in place: short rows better whole, while three panels are left to a part of the rows of dW. */
    const int few = high && out <= DW_SHORT && in < DW_SQUARE && 6 * row_parts <= row_panels;
    if (2 * row_parts <= row_panels && (few || out / row_parts >= in / col_parts)) row_parts *= 2;
    else if (2 * col_parts <= col_panels) col_parts *= 2;
    else if (2 * row_parts <= row_panels) row_parts *= 2;
    else break;
  }
  if (row_parts * col_parts % c->nthreads) row_parts = dd_min64(dd_round_up(row_parts, c->nthreads), row_panels);
  float *copy = c->scratch, *pa = copy + DD_NR_MAX * DD_TOKEN_CHUNK;
  DD_FOR(c, task, row_parts * col_parts) {
    const int64_t o = dd_part_begin(row_panels, task / col_parts, row_parts) * kn->mr;
    const int64_t no = dd_min64(dd_part_begin(row_panels, task / col_parts + 1, row_parts) * kn->mr, out) - o;
    const int64_t i = dd_part_begin(col_panels, task % col_parts, col_parts) * kn->nr;
    const int64_t ni = dd_min64(dd_part_begin(col_panels, task % col_parts + 1, col_parts) * kn->nr, in) - i;
    const int low = no <= DW_SHORT && out % DW_FEW_SETS, narrow = in <= DW_NARROW && high;
    /* Rows of dy that lie apart fall into few sets of the first cache: with many columns copying them pays. */
    const int pack_dy = ni >= (low || narrow ? DW_PANELS + 1 : DW_PANELS) * kn->nr;
    /* Rows of x that lie apart come from the second cache for each row of tiles: high ones can wait for them, and few,
     * if they take whole rows or the tiles of all chunks find them there. */
    const int stays = 4 * rows * (ni + out) <= c->l2;
    const int in_place = in % (kn->nr / 2) == 0 && (narrow || (low && !pack_dy && (high || ni == in || stays)));
    const int64_t tiles = dd_pieces(no, kn->mr) * dd_pieces(ni, kn->nr);
    for (int64_t t = 0; t < rows; t += DD_TOKEN_CHUNK) {
      const int64_t kc = dd_min64(DD_TOKEN_CHUNK, rows - t);
      const float *xt = x + t * in + i;
      const dd_operand left = {
          .data = dy + t * out + o, .step = out, .panel = kn->mr, .copy = pack_dy ? pa : NULL};
      dd_operand right = {.data = xt, .step = in, .panel = kn->nr, .next = xt + kc * in};
      if (!in_place) right.copy = copy;
      else if (ni == in) right.next_step = DD_TOKEN_CHUNK * in / tiles;
      else if (high) right.next_step = dd_pieces(ni, tiles), right.next_k = in; /* few tiles: by columns */
      else right.next = NULL; /* it is there, and rows that lie apart fetched beside it delay the tiles */
      kn->gemm_strided(no, ni, kc, &left, &right, dw + o * in + i, in, more || t ? DD_GEMM_ADD : DD_GEMM_SET);
    }
  }
}

void dd_epi_bias(const dd_kernels *k, const dd_epilogue *e, float *out, int64_t ldo, int64_t row0, int64_t rows,
                 int64_t col0, int64_t cols) {
  if (!e->bias) return;
  for (int64_t r = row0; r < row0 + rows; r++) {
    float *o = out + r * ldo + col0;
    k->add(o, o, e->bias + col0, cols);
  }
}

void dd_epi_gelu(const dd_kernels *k, const dd_epilogue *e, float *out, int64_t ldo, int64_t row0, int64_t rows,
                 int64_t col0, int64_t cols) {
  dd_epi_bias(k, e, out, ldo, row0, rows, col0, cols);
  for (int64_t r = row0; r < row0 + rows; r++) {
    float *o = out + r * ldo + col0, *act = e->act + r * ldo + col0;
    if (e->slope) k->gelu_slope(act, o, o, cols);
    else k->gelu(act, o, cols);
  }
}

void dd_epi_mul(const dd_kernels *k, const dd_epilogue *e, float *out, int64_t ldo, int64_t row0, int64_t rows,
                int64_t col0, int64_t cols) {
  for (int64_t r = row0; r < row0 + rows; r++) {
    float *o = out + r * ldo + col0;
    k->mul(o, o, e->factor + r * ldo + col0, cols);
  }
}

void dd_epi_gelu_again(const dd_kernels *k, const dd_epilogue *e, float *out, int64_t ldo, int64_t row0, int64_t rows,
                       int64_t col0, int64_t cols) {
  float slope[STRIP];
  for (int64_t r = row0; r < row0 + rows; r++) {
    float *o = out + r * ldo + col0;
    k->gelu_slope(e->act + r * ldo + col0, slope, e->factor + r * ldo + col0, cols);
    k->mul(o, o, slope, cols);
  }
}

void dd_epi_residual(const dd_kernels *k, const dd_epilogue *e, float *out, int64_t ldo, int64_t row0, int64_t rows,
                     int64_t col0, int64_t cols) {
  dd_epi_bias(k, e, out, ldo, row0, rows, col0, cols);
  dd_drop d = e->drop;
  d.col0 = (uint32_t)col0;
  d.c1 += (uint32_t)row0;
  float *o = out + row0 * ldo + col0;
  k->dropout_add(o, e->residual + row0 * ldo + col0, o, &(dd_rows){rows, ldo, cols, 0, 0}, &d);
}
