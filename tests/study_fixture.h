/* Run directories made up by tests of the study layer: the files that training writes, with values one can calculate
 * with. */
#ifndef DD_TESTS_STUDY_FIXTURE_H
#define DD_TESTS_STUDY_FIXTURE_H
#include "faulty_fs.h"
#include "run/settings.h"
#include <math.h>

/* A run of `iters` iterations, evaluated at 0, half, and the end: validation loss 4, best, last; training loss 4, 2,
 * train. Recorded up to iteration `stop`. */
typedef struct fake {
  const char *dir, *schedule;
  int seed, iters, stop;
  double best, last, train, loss; /* loss: of the mini-batch at the end */
  const char *more;               /* "n_layer=3 lr=0.01" */
  const char *hash;               /* of the data; NULL: the usual one */
  int mark;                       /* goes into the fingerprint */
} fake;

static void make_dirs(const char *name) {
  dd_error err;
  if (dd_make_dirs(at(name), &err)) fail_msg("%s", err.message);
}

static json_t *fake_settings(const fake *f) {
  dd_settings *s = dd_settings_create();
  dd_error err;
  char text[512], *rest = NULL, number[32];
  assert_non_null(s);
  assert_int_equal(dd_settings_set(s, "preset", "tiny", &err), DD_OK);
  assert_int_equal(dd_settings_set(s, "schedule", f->schedule, &err), DD_OK);
  snprintf(number, sizeof number, "%d", f->seed);
  assert_int_equal(dd_settings_set(s, "seed", number, &err), DD_OK);
  snprintf(number, sizeof number, "%d", f->iters);
  assert_int_equal(dd_settings_set(s, "max_iters", number, &err), DD_OK);
  snprintf(number, sizeof number, "%d", f->iters / 2);
  assert_int_equal(dd_settings_set(s, "eval_interval", number, &err), DD_OK);
  snprintf(text, sizeof text, "%s", f->more ? f->more : "");
  for (char *p = strtok_r(text, " ", &rest); p; p = strtok_r(NULL, " ", &rest)) {
    char *value = strchr(p, '=');
    *value++ = '\0';
    if (dd_settings_set(s, p, value, &err)) fail_msg("%s", err.message);
  }
  json_t *o = dd_settings_to_json(s);
  dd_settings_destroy(s);
  return o;
}

static double fake_rate(const fake *f, int it) {
  return strcmp(f->schedule, "fixed") ? 0.2 * (1 - (double)it / f->iters) : 0.2;
}

static int print_eval(char *out, size_t size, const fake *f, int it, double val, double train) {
  return snprintf(out, size,
                  "{\"type\":\"eval\",\"iter\":%d,\"train_loss\":%.17g,\"val_loss\":%.17g,\"best_val_loss\":0,"
                  "\"best_iter\":0,\"improved\":true,\"dropout\":%.17g,\"fingerprint\":\"%08x%08x%08x%08x\","
                  "\"seconds\":0.5,\"elapsed_s\":1}\n", it, train, val, fake_rate(f, it), it, f->seed, f->mark,
                  (unsigned)strlen(f->schedule));
}
static int print_step(char *out, size_t size, const fake *f, int it, double loss) {
  return snprintf(out, size,
                  "{\"type\":\"step\",\"iter\":%d,\"loss\":%.17g,\"lr\":0.001,\"dropout\":%.17g,\"grad_norm\":1,"
                  "\"ms_per_iter\":%d,\"tokens_per_s\":100,\"elapsed_s\":%d}\n",
                  it, loss, fake_rate(f, it), it + 1, it);
}

static void make_run(const fake *f) {
  (void)count_files; /* not needed here */
  char name[200], text[8192];
  size_t n = 0;
  make_dirs(f->dir);
  json_t *config = json_pack("{s:s, s:s, s:i, s:o, s:{s:s, s:s}, s:{s:s, s:s, s:i}}", "program", "dd-cpu", "version",
                             "0.1.0", "numerics_version", DD_NUMERICS_VERSION, "settings", fake_settings(f), "data", "name",
                             "/texts/plays", "hash", f->hash ? f->hash : "0123456789abcdef0123456789abcdef", "machine",
                             "cpu", "A CPU", "tier", "scalar", "threads", 2);
  assert_non_null(config);
  char *dump = json_dumps(config, JSON_INDENT(2));
  snprintf(name, sizeof name, "%s/config.json", f->dir);
  put(name, dump);
  free(dump);
  json_decref(config);
  text[0] = '\0';
  for (int part = 0; part <= 4; part++) {
    const int it = f->iters * part / 4;
    if (it > f->stop) break;
    const double val[] = {4, f->best, f->last}, train[] = {4, 2, f->train};
    if (part % 2 == 0)
      n += (size_t)print_eval(text + n, sizeof text - n, f, it, val[part / 2], train[part / 2]);
    n += (size_t)print_step(text + n, sizeof text - n, f, it, part == 4 ? f->loss : 4 - part);
  }
  snprintf(name, sizeof name, "%s/metrics.jsonl", f->dir);
  put(name, text);
}
#endif
