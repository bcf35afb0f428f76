/* Logits of a run for the ids on standard input, as float32 [ids][vocabulary] on standard output:
 *   logits RUN < IDS
 * Tests compare them with those that other programs compute from the exported weights. */
#include "run/checkpoint.h"
#include "run/rundir.h"
#include "core/machine.h"
#include <stdio.h>
#include <stdlib.h>

static int fail(const dd_error *err) {
  fprintf(stderr, "logits: %s\n", err->message);
  return err->code;
}

int main(int argc, char **argv) {
  dd_error err = {0};
  dd_checkpoint *c;
  dd_model *m;
  const dd_kernels *k;
  char path[4096], why[128];
  int32_t ids[4096];
  int64_t n = 0;
  if (argc != 2) return 2;
  while (n < 4096 && scanf("%d", &ids[n]) == 1) n++;
  if (dd_run_find_checkpoint(argv[1], "latest", path, sizeof path, &err) || dd_checkpoint_open(path, &c, &err) ||
      dd_tier_select("auto", &k, why, sizeof why, &err))
    return fail(&err);
  const dd_shape *s = dd_checkpoint_shape(c);
  const dd_model_options o = {.shape = *s, .B = 1, .T = n, .accumulation = 1, .slice = 1};
  for (int64_t i = 0; i < n; i++)
    if (ids[i] < 0 || ids[i] >= s->V) return 2;
  if (n < 1 || n > s->S) return 2;
  if (dd_model_create(&m, &o, k, 1, &err) || dd_checkpoint_load(c, m, &err)) return fail(&err);
  dd_model_logits(m, ids, 1, n, 0, NULL);
  const size_t all = (size_t)(n * s->V), wrote = fwrite(m->logits, sizeof(float), all, stdout);
  dd_model_destroy(m);
  dd_checkpoint_close(c);
  return wrote == all && !fflush(stdout) ? 0 : 74;
}
