/* Row and element kernels, in memory and in the second cache, beside a loop that only moves the same memory, plain C,
 * and oneDNN where it has the operation. */
#include "bench/cases.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { FLAT_ROW = 4096, THREADS_MAX = 4096 };

typedef struct measured {
  dd_bench *b;
  dd_team *team;
  const dd_case *k;
  dd_field f;
  dd_field *mine; /* [threads]: f with parameter gradients of that thread's own */
  dd_arena memory;
  dd_dnnl *dnnl;
  void (*row)(const dd_field *f, int64_t row); /* what the team runs now */
  dd_team_job ours, plain;
} measured;

/* Rows of a thread: whole units, contiguous. */
static void each_row(dd_ctx *c, const measured *m, void (*fn)(const dd_field *f, int64_t row)) {
  const int64_t units = m->f.rows / m->f.unit;
  const int64_t end = dd_part_begin(units, c->tid + 1, c->nthreads);
  for (int64_t u = dd_part_begin(units, c->tid, c->nthreads); u < end; u++) fn(m->mine + c->tid, u * m->f.unit);
}

static void ours_team(dd_ctx *c, void *arg, int64_t times) {
  const measured *m = arg;
  for (int64_t i = 0; i < times; i++) each_row(c, m, m->k->ours);
}

static void plain_team(dd_ctx *c, void *arg, int64_t times) {
  const measured *m = arg;
  for (int64_t i = 0; i < times; i++) each_row(c, m, m->k->plain);
}

static void run_dnnl(void *arg, int64_t times) {
  measured *m = arg;
  const dd_field *f = &m->f;
  float *out = m->k->arrays > 1 ? f->a[1] : f->a[0];
  for (int64_t i = 0; i < times; i++) dd_dnnl_run(m->dnnl, out, f->a[0], f->w, f->bias, f->mean, f->rstd);
}

/* Values between -1 and 1; those of the third and fourth array above 0, so that moments of AdamW do not fade; of
 * attention, probabilities in the second. */
static void fill_row(const measured *m, int64_t row) {
  const dd_field *f = &m->f;
  for (int i = 0; i < 4; i++) {
    float *x = f->a[i] ? f->a[i] + row * f->cols : NULL;
    for (int64_t j = 0; x && j < f->cols; j++)
      if (i == 1 && m->k->columns == DD_COLS_T) x[j] = f->w[j];
      else x[j] = i < 2 ? (float)((row * 7 + j * 3) % 31 - 15) * 0.06f : (float)((row + j) % 5 + 1) * 0.1f;
  }
  f->mean[row] = f->rstd[row] = 0;
}

static void fill_team(dd_ctx *c, void *arg, int64_t times) {
  const measured *m = arg;
  (void)times;
  const int64_t units = m->f.rows / m->f.unit, end = dd_part_begin(units, c->tid + 1, c->nthreads) * m->f.unit;
  for (int64_t r = dd_part_begin(units, c->tid, c->nthreads) * m->f.unit; r < end; r++) fill_row(m, r);
}

static int64_t columns(const dd_case *k, const dd_bench_preset *p) {
  switch (k->columns) {
  case DD_COLS_C:
    return p->shape.C;
  case DD_COLS_4C:
    return 4 * p->shape.C;
  case DD_COLS_T:
    return p->T;
  case DD_COLS_V:
    return p->shape.V;
  default:
    return FLAT_ROW;
  }
}

static int setup(measured *m, const dd_bench_preset *p, int64_t bytes, dd_error *err) {
  const int n = dd_team_threads(m->team);
  dd_field *f = &m->f;
  *f = (dd_field){.k = dd_team_kernels(m->team), .cols = columns(m->k, p)};
  f->l = dd_loops_of(f->k);
  const int64_t per_row = f->cols * 4 * m->k->arrays;
  f->unit = m->k->unit;
  /* rows of logits: as many as fit */
  if (m->k->columns == DD_COLS_V) f->unit = dd_max64(1, dd_min64(f->unit, bytes / per_row / n));
  const int64_t least = f->unit * n;
  f->rows = bytes / per_row / f->unit * f->unit;
  if (f->rows < least) f->rows = least;
  const int64_t size = f->rows * f->cols, vectors = dd_round_up(f->cols, 16) * (2 + 2 * n);
  /* The packed sides of ragged panels take some rows more. */
  const int64_t spare = (DD_MR_MAX + DD_NR_MAX) * f->cols * 2;
  int rc = dd_arena_create(&m->memory, (size_t)(size * m->k->arrays + spare + vectors + 2 * f->rows + 8192) * 4,
                           "a kernel's data", err);
  m->mine = calloc((size_t)n, sizeof *m->mine);
  if (rc || !m->mine) return rc ? rc : dd_fail(err, DD_E_RUNTIME, "out of memory for a kernel's data");
  /* Arrays do not begin at the same place of a page: stores would be taken for writers of what is loaded next. */
  for (int i = 0; i < m->k->arrays; i++) f->a[i] = dd_arena_take(&m->memory, (size_t)size * 4 + 1088);
  if (f->unit > 1) dd_arena_take(&m->memory, (size_t)spare * 4);
  f->w = dd_arena_take(&m->memory, (size_t)f->cols * 4);
  f->bias = dd_arena_take(&m->memory, (size_t)f->cols * 4);
  f->mean = dd_arena_take(&m->memory, (size_t)f->rows * 4);
  f->rstd = dd_arena_take(&m->memory, (size_t)f->rows * 4);
  for (int64_t i = 0; i < f->cols; i++)
    f->w[i] = m->k->columns == DD_COLS_T ? 1.f / (float)f->cols : 1.f, f->bias[i] = 0.f;
  f->drop = (dd_drop){.key0 = 1, .c2 = 1, .c3 = 1, .threshold = dd_drop_threshold(0.2), .scale = 1.f};
  f->adam = (dd_adamw){.beta1 = 0.9f,
                       .one_minus_beta1 = 0.1f,
                       .beta2 = 0.99f,
                       .one_minus_beta2 = 0.01f,
                       .decay = 1.f,
                       .step = 1e-6f,
                       .inv_sqrt_bc2 = 1.f,
                       .eps = 1e-8f,
                       .grad_scale = 1.f};
  for (int i = 0; i < n; i++) {
    m->mine[i] = *f;
    m->mine[i].dw = dd_arena_take(&m->memory, (size_t)f->cols * 4);
    m->mine[i].db = dd_arena_take(&m->memory, (size_t)f->cols * 4);
  }
  m->ours = (dd_team_job){m->team, fill_team, m, 0};
  dd_run_team(&m->ours, 1);
  m->ours.fn = ours_team;
  m->plain = (dd_team_job){m->team, plain_team, m, 0};
  return DD_OK;
}

static int add(measured *m, const dd_contender *c, const char *place, const dd_bench_preset *p,
               const dd_contender *limit, const dd_contender *best, dd_error *err) {
  dd_row r = {.threads = dd_team_threads(m->team),
              .value = dd_contender_rate(c, 4e9 * m->k->moves),
              .share = dd_contender_ratio(c, limit),
              .ratio = dd_contender_ratio(c, best)};
  char cols[24] = "";
  if (m->k->columns != DD_COLS_FLAT) snprintf(cols, sizeof cols, " %lld", (long long)m->f.cols);
  dd_row_name(&r, p->name, c->who, m->f.k, "Gelem/s", "%s%s %s", m->k->name, cols, place);
  return dd_bench_add(m->b, &r, err);
}

static int rounds(measured *m, const dd_bench_preset *p, const char *place, int64_t bytes, dd_error *err) {
  enum { LIMIT, OURS, MOST = 4 };
  const double work = 4 * m->k->moves * (double)(m->f.rows * m->f.cols);
  dd_stream s = {0};
  dd_contender c[MOST];
  int n = 0, rc = dd_stream_open(&s, m->team, m->k->limit, bytes, err);
  if (rc) return rc;
  c[n++] = dd_stream_contender(&s);
  c[n++] = (dd_contender){.who = "dd-cpu", .run = dd_run_team, .arg = &m->ours, .work = work};
  if (m->k->plain) c[n++] = (dd_contender){.who = "plain C", .run = dd_run_team, .arg = &m->plain, .work = work};
  const dd_peer *onednn = m->b->peers + DD_PEER_ONEDNN;
  if (m->k->dnnl >= 0 && onednn->handle) {
    dd_peer_threads(onednn, dd_team_threads(m->team));
    m->dnnl = dd_dnnl_create(onednn, (dd_dnnl_op)m->k->dnnl, m->f.rows, m->f.cols);
  }
  if (m->dnnl) c[n++] = (dd_contender){.who = "oneDNN", .run = run_dnnl, .arg = m, .work = work, .foreign = 1};
  rc = dd_rounds(m->b, c, n, dd_bench_repeats(m->b, 11), err);
  const dd_contender *best = dd_contender_best(c + 2, n - 2);
  for (int i = OURS; i < n && !rc; i++) rc = add(m, c + i, place, p, c, i == OURS ? best : NULL, err);
  dd_dnnl_destroy(m->dnnl);
  dd_stream_close(&s);
  return rc;
}

static int one(dd_bench *b, dd_team *t, const dd_case *k, const dd_bench_preset *p, const char *place, int64_t bytes,
               dd_error *err) {
  measured m = {.b = b, .team = t, .k = k};
  int rc = setup(&m, p, bytes, err);
  if (!rc) rc = rounds(&m, p, place, bytes, err);
  free(m.mine);
  dd_arena_destroy(&m.memory);
  return rc;
}

static int all_cases(dd_bench *b, dd_team *t, int preset, dd_error *err) {
  const dd_bench_preset *p = b->presets + preset;
  const int64_t l2 = b->caches.l2 ? b->caches.l2 : 524288, all = b->caches.l3 + l2 * dd_team_threads(t);
  const int64_t memory = 4 * all < ((int64_t)64 << 20) ? (int64_t)64 << 20 : 4 * all;
  const dd_case *k;
  int rc = DD_OK;
  dd_bench_heading(b, "%s, tier %s, %d thread%s; limit: a loop that moves the same memory", p->name,
                   dd_team_kernels(t)->tier, dd_team_threads(t), dd_team_threads(t) > 1 ? "s" : "");
  for (int i = 0; (k = dd_case_at(i)) && !rc; i++) {
    if (k->columns == DD_COLS_FLAT && preset) continue; /* the same for all of them */
    rc = one(b, t, k, p, "DRAM", b->quick ? dd_min64(memory, (int64_t)96 << 20) : memory, err);
    if (!rc) rc = one(b, t, k, p, "L2", l2 / 2 * dd_team_threads(t), err);
  }
  return rc;
}

int dd_bench_kernels(dd_bench *b, dd_error *err) {
  const dd_peer *onednn = b->peers + DD_PEER_ONEDNN;
  int rc = DD_OK;
  if (onednn->handle && !dd_dnnl_usable(onednn))
    dd_bench_say(b, "oneDNN's rows are left out: its header (Debian: libdnnl-dev) was missing at build time,"
                    " or too new");
  for (int i = 0; i < b->n_tiers && !rc; i++) {
    /* scalar is the reference for bits, not for speed; measured when asked for */
    if (b->tiers[i] == &dd_kernels_scalar && !b->tiers_given && b->n_tiers > 1) continue;
    for (int j = 0; j < b->n_threads && !rc; j++) {
      dd_team *t;
      b->using = b->threads[j];
      if ((rc = dd_team_create(&t, b->threads[j], 64, b->tiers[i], err))) break;
      for (int q = 0; q < b->n_presets && !rc; q++) rc = all_cases(b, t, q, err);
      dd_team_destroy(t);
    }
  }
  return rc;
}
