/* Matrix products of the training step beside the multiply-add peak of the same run.
 *
 *   bench_matmul [--tier NAME] [--threads N] [--rows N] [--repeats N]
 *
 * Shapes are those of presets `paper` and `small` (rows = tokens of a micro-batch). Peak and products are measured in
 * turn, repeat after repeat, and medians (10th and 90th percentile beside them) are printed: compare the last column,
 * not figures of different moments. */
#include "core/arena.h"
#include "core/machine.h"
#include "ops/ops.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPEATS_MAX = 101 };
typedef enum kind { PEAK, FORWARD, BACKWARD, DWEIGHT, KINDS } kind;
static const char *const kind_name[KINDS] = {"peak", "y = x W'", "dx = dy W", "dW = dy' x"};

typedef struct job {
  kind what;
  int64_t rows, in, out;
  float *x, *y, *w;
  dd_packed packed;
  double *peak; /* per thread */
} job;

static void team(dd_ctx *c, void *arg) {
  const job *j = arg;
  if (j->what == PEAK) j->peak[c->tid] = dd_machine_peak(c->k, 3);
  else if (j->what == FORWARD) dd_matmul(c, j->y, j->x, j->in, &j->packed, j->rows, NULL);
  else if (j->what == BACKWARD) dd_matmul(c, j->x, j->y, j->out, &j->packed, j->rows, NULL);
  else dd_matmul_dweight(c, j->w, j->y, j->x, j->rows, j->out, j->in, 0);
}

static void pack_team(dd_ctx *c, void *arg) {
  const job *j = arg;
  if (j->what == FORWARD) dd_pack(c, &j->packed, j->w, 1, j->in);
  else dd_pack(c, &j->packed, j->w, j->in, 1);
}

static int compare(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double measure(dd_team *t, job *j) { /* FLOP/s */
  if (j->what == PEAK) {
    double sum = 0;
    dd_team_run(t, team, j);
    for (int i = 0; i < dd_team_threads(t); i++) sum += j->peak[i];
    return sum;
  }
  const double t0 = dd_now();
  dd_team_run(t, team, j);
  return 2.0 * (double)j->rows * (double)j->in * (double)j->out / (dd_now() - t0);
}

static int bench_shape(dd_team *t, int64_t rows, int64_t in, int64_t out, int repeats) {
  const dd_kernels *k = dd_team_kernels(t);
  dd_error err;
  dd_arena a;
  const size_t f = sizeof(float), packed = (size_t)(dd_packed_size(k, in, out) + dd_packed_size(k, out, in)) * f;
  if (dd_arena_create(&a, (size_t)(rows * (in + out) + in * out) * f + packed + 4096, "the bench", &err)) {
    fprintf(stderr, "%s\n", err.message);
    return 1;
  }
  job j = {.rows = rows, .in = in, .out = out};
  j.x = dd_arena_take(&a, (size_t)(rows * in) * f);
  j.y = dd_arena_take(&a, (size_t)(rows * out) * f);
  j.w = dd_arena_take(&a, (size_t)(in * out) * f);
  j.peak = calloc((size_t)dd_team_threads(t), sizeof *j.peak);
  float *forward = dd_arena_take(&a, (size_t)dd_packed_size(k, in, out) * f);
  float *backward = dd_arena_take(&a, (size_t)dd_packed_size(k, out, in) * f);
  if (!j.peak) return 1;
  for (int64_t i = 0; i < rows * in; i++) j.x[i] = (float)(i % 17) * 0.01f;
  for (int64_t i = 0; i < rows * out; i++) j.y[i] = (float)(i % 13) * 0.01f;
  for (int64_t i = 0; i < in * out; i++) j.w[i] = (float)(i % 11) * 0.01f;
  static double sample[KINDS][REPEATS_MAX];
  for (int r = -1; r < repeats; r++) /* round -1 warms up */
    for (int w = 0; w < KINDS; w++) {
      j.what = (kind)w;
      j.packed = w == FORWARD ? (dd_packed){forward, in, out} : (dd_packed){backward, out, in};
      if (r < 0 && (w == FORWARD || w == BACKWARD)) dd_team_run(t, pack_team, &j);
      const double v = measure(t, &j);
      if (r >= 0) sample[w][r] = v;
    }
  double peak = 0;
  for (int w = 0; w < KINDS; w++) {
    qsort(sample[w], (size_t)repeats, sizeof **sample, compare);
    const double mid = sample[w][repeats / 2];
    if (w == PEAK) peak = mid;
    printf("%6lld x %5lld x %5lld  %-11s %8.1f GFLOP/s  (p10 %.1f, p90 %.1f)  %5.1f %% of peak\n", (long long)rows,
           (long long)in, (long long)out, kind_name[w], mid / 1e9, sample[w][repeats / 10] / 1e9,
           sample[w][repeats * 9 / 10] / 1e9, 100 * mid / peak);
  }
  free(j.peak);
  dd_arena_destroy(&a);
  return 0;
}

int main(int argc, char **argv) {
  const char *tier = NULL;
  int threads = 1, repeats = 21;
  int64_t only_rows = 0;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (strcmp(argv[i], "--tier") == 0) tier = argv[i + 1];
    else if (strcmp(argv[i], "--threads") == 0) threads = atoi(argv[i + 1]);
    else if (strcmp(argv[i], "--rows") == 0) only_rows = atoll(argv[i + 1]);
    else if (strcmp(argv[i], "--repeats") == 0) repeats = atoi(argv[i + 1]);
    else {
      fprintf(stderr, "unknown option %s; options are --tier, --threads, --rows, --repeats\n", argv[i]);
      return 2;
    }
  }
  if (repeats < 1 || repeats > REPEATS_MAX || threads < 1) {
    fprintf(stderr, "--repeats must be 1..%d and --threads at least 1\n", REPEATS_MAX);
    return 2;
  }
  const dd_kernels *k;
  char why[128], cpu[256];
  dd_error err;
  dd_team *t;
  if (dd_tier_select(tier, &k, why, sizeof why, &err) ||
      dd_team_create(&t, threads, (size_t)dd_matmul_scratch() * sizeof(float), k, &err)) {
    fprintf(stderr, "%s\n", err.message);
    return 1;
  }
  dd_machine_name(cpu, sizeof cpu);
  printf("%s, tier %s, %d threads, medians of %d\n", cpu, k->tier, threads, repeats);
  static const int64_t shapes[][3] = {{4096, 384, 1152}, {4096, 384, 384}, {4096, 384, 1536}, {4096, 1536, 384},
                                      {4096, 384, 65},   {768, 128, 384},  {768, 128, 512},   {768, 512, 128}};
  int rc = 0;
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes && !rc; i++)
    rc = bench_shape(t, only_rows ? only_rows : shapes[i][0], shapes[i][1], shapes[i][2], repeats);
  dd_team_destroy(t);
  return rc;
}
