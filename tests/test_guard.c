/* The guard before updates: NaN, infinities and huge values put into gradients, weights, moments and the loss of a
 * small run; what is skipped, where a run goes back to, what is on disk after it, and that all of it continues to the
 * same bits from an interruption at any iteration. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "core/file.h"
#include "model/safetensors.h"
#include "run/train.h"
#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ITERS = 24, EVERY = 6, AT = 8 };

static char root[256];
static dd_error err;
static int quick;

/* ---- faults: functions of iteration and draw alone, as those of data would be ---- */

typedef enum place { NOWHERE, GRADIENT, WEIGHT, MOMENT1, MOMENT2, LOSS } place;

typedef struct fault {
  place where;
  int tensor;
  float value;
  int64_t from, to; /* iterations, both included */
  int64_t draws;    /* as many draws of the batches have it */
} fault;

typedef struct harness {
  dd_job j;
  fault f;
  int64_t stop_at; /* iteration; -1: never */
  char said[2048];
} harness;

static void meddle(dd_job *j, double *loss) {
  const harness *h = j->meddle_user;
  const fault *f = &h->f;
  const int64_t it = j->state.iter;
  if (f->where == NOWHERE || it < f->from || it > f->to || j->state.guard.redraw >= f->draws) return;
  const dd_tensor *t = j->m->layout.tensors + f->tensor;
  const int64_t at = t->offset + t->size / 2;
  if (loss && f->where == GRADIENT) j->m->grad[at] = f->value;
  if (loss && f->where == LOSS) *loss = (double)f->value;
  if (!loss && f->where == MOMENT1) j->m->m[at] = f->value;
  if (!loss && f->where == MOMENT2) j->m->v[at] = f->value;
  if (!loss && f->where == WEIGHT) {
    j->m->param[at] = f->value;
    dd_model_params_changed(j->m);
  }
}

static int should_stop(void *user) {
  const harness *h = user;
  return h->stop_at >= 0 && h->j.m && h->j.state.iter >= h->stop_at;
}
static void message(void *user, dd_level level, const char *text) {
  harness *h = user;
  const size_t n = strlen(h->said);
  if (level == DD_WARNING) snprintf(h->said + n, sizeof h->said - n, "%s\n", text);
}

static dd_callbacks callbacks;

static void set(dd_settings *s, const char *key, const char *value) {
  if (dd_settings_set(s, key, value, &err)) fail_msg("%s", err.message);
}

/* how: "resume", "overwrite", or NULL for a directory that holds nothing. more: key, value, ..., NULL. */
static void open_job(harness *h, const char *name, const char *how, const char *const *more) {
  static const char *const common[] = {"n_layer", "2", "n_head", "2", "n_embd", "16", "block_size", "8", "batch_size",
    "2", "gradient_accumulation_steps", "2", "max_iters", "24", "eval_interval", "6", "eval_iters", "1", "log_interval",
    "1", "warmup_iters", "2", "lr", "0.003", "min_lr", "0.0003", "threads", "1", "bias", "true", NULL};
  char text[300];
  dd_settings *s = dd_settings_create();
  assert_non_null(s);
  const int resume = how && !strcmp(how, "resume");
  for (const char *const *p = common; *p && !resume; p += 2) set(s, p[0], p[1]);
  for (const char *const *p = more; p && *p && !resume; p += 2) set(s, p[0], p[1]);
  snprintf(text, sizeof text, "%s/text.txt", root);
  if (!resume) set(s, "data", text);
  snprintf(text, sizeof text, "%s/%s", root, name);
  set(s, "out", text);
  set(s, "threads", "1");
  if (how) set(s, how, "true");
  *h = (harness){.stop_at = -1};
  callbacks = (dd_callbacks){.user = h, .message = message, .should_stop = should_stop};
  if (dd_job_open(&h->j, NULL, s, &callbacks, &err)) fail_msg("%s", err.message);
  h->j.meddle = meddle;
  h->j.meddle_user = h;
  dd_settings_destroy(s);
}

static void close_job(harness *h) { assert_int_equal(dd_job_close(&h->j, &err), DD_OK); }

/* From the beginning in the same job. */
static int run_again(harness *h, const fault *f, dd_train_result *r) {
  assert_int_equal(dd_job_begin(&h->j, &err), DD_OK);
  h->f = *f;
  h->said[0] = '\0';
  *r = (dd_train_result){0};
  return dd_job_train(&h->j, r, &err);
}

static int all_finite(const float *v, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    if (!isfinite(v[i])) return 0;
  return 1;
}

/* The newest checkpoint of the job is whole and has no NaN in it; its iteration. */
static int64_t newest_is_good(harness *h) {
  char path[4096];
  dd_checkpoint *c = NULL;
  dd_job_durable(&h->j, NULL);
  if (dd_run_find_checkpoint(dd_rundir_path(h->j.dir), "latest", path, sizeof path, &err) ||
      dd_checkpoint_open(path, &c, &err) || dd_checkpoint_verify(c, &err) || dd_checkpoint_load(c, h->j.m, &err))
    fail_msg("%s", err.message);
  const dd_model *m = h->j.m;
  if (!all_finite(m->param, m->layout.floats) || !all_finite(m->m, m->layout.floats) ||
      !all_finite(m->v, m->layout.floats))
    fail_msg("%s holds numbers that are not finite", path);
  const int64_t iter = dd_checkpoint_state(c)->iter;
  dd_checkpoint_close(c);
  return iter;
}

/* ---- --on-nan stop: every place, every value ---- */

static void test_every_place(void **state) {
  (void)state;
  static const float values[] = {NAN, INFINITY, -INFINITY, 1e30f};
  static const place places[] = {GRADIENT, WEIGHT, MOMENT1, MOMENT2, LOSS};
  harness h;
  dd_train_result clean, r;
  char at_fault[33], expected[64];
  int64_t cases = 0;
  open_job(&h, "places", NULL, NULL);
  h.stop_at = AT;
  assert_int_equal(run_again(&h, &(fault){.where = NOWHERE}, &r), DD_E_STOPPED);
  memcpy(at_fault, r.fingerprint, sizeof at_fault);
  h.stop_at = -1;
  assert_int_equal(run_again(&h, &(fault){.where = NOWHERE}, &clean), DD_OK);
  const int tensors = h.j.m->layout.count;
  assert_true(tensors >= 10);
  snprintf(expected, sizeof expected, "at iteration %d: ", AT);
  for (size_t p = 0; p < sizeof places / sizeof *places; p++)
    for (int t = 0; t < (places[p] == LOSS ? 1 : tensors); t += quick ? 7 : 1)
      for (size_t v = 0; v < sizeof values / sizeof *values; v++, cases++) {
        const fault f = {.where = places[p], .tensor = t, .value = values[v], .from = AT, .to = AT, .draws = 1};
        const char *const name = h.j.m->layout.tensors[t].name;
        const int rc = run_again(&h, &f, &r);
        const int seen_before_update = places[p] == GRADIENT || places[p] == LOSS;
        if (seen_before_update && !isfinite(values[v])) { /* nothing was touched, and the culprit is named */
          assert_int_equal(rc, DD_E_DIVERGED);
          assert_string_equal(r.fingerprint, at_fault);
          assert_non_null(strstr(err.message, expected));
          if (places[p] == GRADIENT && !strstr(err.message, name)) fail_msg("%s is not in: %s", name, err.message);
        } else if (rc == DD_OK) assert_true(isfinite(r.val_loss)); /* clipped, or it did not matter */
        else assert_int_equal(rc, DD_E_DIVERGED);
        if (places[p] == WEIGHT && !isfinite(values[v])) assert_int_equal(rc, DD_E_DIVERGED);
        const int64_t good = newest_is_good(&h);
        if (rc && good > AT + EVERY) fail_msg("a checkpoint at %d", (int)good);
      }
  assert_int_equal(run_again(&h, &(fault){.where = NOWHERE}, &r), DD_OK);
  assert_string_equal(r.fingerprint, clean.fingerprint);
  close_job(&h);
  print_message("%lld cases\n", (long long)cases);
}

/* A gradient that would make AdamW's second moment overflow is no gradient, even where clipping is off. */
static void test_too_large(void **state) {
  (void)state;
  static const char *const more[] = {"grad_clip", "0", NULL};
  harness h;
  dd_train_result r;
  open_job(&h, "large", NULL, more);
  const fault f = {.where = GRADIENT, .value = 1e25f, .from = AT, .to = AT, .draws = 1};
  assert_int_equal(run_again(&h, &f, &r), DD_E_DIVERGED);
  assert_non_null(strstr(err.message, "gradient norm 1e+25"));
  close_job(&h);
}

/* ---- skipping and going back: interrupted anywhere, the same bits ---- */

typedef struct scene {
  const char *name;
  const char *more[9];
  fault f;
  int64_t skipped, rollbacks;
} scene;

static const scene scenes[] = {
    {"skip", {"on_nan", "skip", NULL}, {GRADIENT, 3, NAN, AT, AT + 1, 1}, 2, 0},
    {"skip at a save", {"on_nan", "skip", "checkpoint_interval", "4", NULL}, {LOSS, 0, INFINITY, AT, AT, 1}, 1, 0},
    {"outlier", {"outlier_sigma", "50", "max_iters", "60", NULL}, {GRADIENT, 0, 1e6f, 40, 41, 1}, 2, 0},
    {"rollback", {"on_nan", "rollback", NULL}, {GRADIENT, 2, NAN, AT, AT, 2}, 0, 2},
    {"rollback of weights", {"on_nan", "rollback", NULL}, {WEIGHT, 1, NAN, AT + 1, AT + 1, 1}, 0, 1},
    {"rollback to the beginning", {"on_nan", "rollback", NULL}, {LOSS, 0, NAN, 3, 3, 1}, 0, 1},
    {"rollback at the end", {"on_nan", "rollback", "keep_checkpoints", "1", NULL}, {LOSS, 0, NAN, 23, 23, 1}, 0, 1},
};

static void test_interrupted(void **state) {
  (void)state;
  int64_t cases = 0;
  for (size_t i = 0; i < sizeof scenes / sizeof *scenes; i++) {
    const scene *c = &scenes[i];
    harness h;
    dd_train_result whole, r;
    char clean[33];
    open_job(&h, c->name, "overwrite", c->more);
    if (run_again(&h, &(fault){.where = NOWHERE}, &r)) fail_msg("%s: %s", c->name, err.message);
    memcpy(clean, r.fingerprint, sizeof clean);
    const int64_t iters = h.j.s->max_iters;
    const int64_t step = getenv("DD_LONG") ? 1 : quick ? 7 : 3;
    if (run_again(&h, &c->f, &whole)) fail_msg("%s: %s", c->name, err.message);
    assert_string_not_equal(whole.fingerprint, clean); /* an update less, or other batches */
    assert_int_equal(whole.iter, iters);
    assert_int_equal(whole.skipped, c->skipped);
    assert_int_equal(whole.rollbacks, c->rollbacks);
    assert_int_equal(h.j.state.guard.updates, iters - c->skipped);
    assert_non_null(strstr(h.said, c->skipped ? "update skipped" : "back to iteration"));
    assert_int_equal(newest_is_good(&h), iters);
    close_job(&h);
    for (int64_t k = 0; k <= iters; k += step, cases++) {
      open_job(&h, c->name, "overwrite", c->more);
      h.f = c->f;
      h.stop_at = k;
      assert_int_equal(dd_job_train(&h.j, &r, &err), DD_E_STOPPED);
      close_job(&h);
      open_job(&h, c->name, "resume", NULL);
      h.f = c->f;
      if (k % 3 == 0 && k + 2 < iters) { /* and once more, soon after */
        h.stop_at = k + 2;
        assert_int_equal(dd_job_train(&h.j, &r, &err), DD_E_STOPPED);
        close_job(&h);
        open_job(&h, c->name, "resume", NULL);
        h.f = c->f;
      }
      if (dd_job_train(&h.j, &r, &err)) fail_msg("%s, resumed at %d: %s", c->name, (int)k, err.message);
      if (strcmp(r.fingerprint, whole.fingerprint) || r.skipped != whole.skipped || r.rollbacks != whole.rollbacks)
        fail_msg("%s, resumed at %d: %s after %d skips and %d rollbacks, not %s", c->name, (int)k, r.fingerprint,
                 (int)r.skipped, (int)r.rollbacks, whole.fingerprint);
      close_job(&h);
    }
  }
  print_message("%lld interruptions\n", (long long)cases);
}

/* Without a fault every rule is the same training. */
static void test_nothing_to_do(void **state) {
  (void)state;
  static const char *const rules[][7] = {{NULL}, {"on_nan", "skip", NULL}, {"on_nan", "rollback", NULL},
                                         {"outlier_sigma", "1000", NULL}};
  char first[33];
  for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
    harness h;
    dd_train_result r;
    open_job(&h, "plain", "overwrite", rules[i]);
    assert_int_equal(dd_job_train(&h.j, &r, &err), DD_OK);
    if (!i) memcpy(first, r.fingerprint, sizeof first);
    assert_string_equal(r.fingerprint, first);
    assert_int_equal(r.skipped, 0);
    close_job(&h);
  }
}

/* ---- where it ends ---- */

static void test_ends(void **state) {
  (void)state;
  static const struct {
    const char *more[5];
    fault f;
    const char *said;
    int64_t iter;
  } ends[] = {
      {{"on_nan", "skip", "max_skips", "4", NULL}, {GRADIENT, 0, NAN, 7, ITERS, 1}, "after 4 skipped updates", 10},
      {{"on_nan", "skip", NULL}, {WEIGHT, 0, INFINITY, 7, 7, 1}, "training diverged at iteration 7", 7},
      {{"on_nan", "rollback", "max_skips", "3", NULL}, {LOSS, 0, NAN, 9, 9, 99}, "after 3 rollbacks", 9},
      {{"on_nan", "rollback", "max_skips", "1", NULL}, {WEIGHT, 0, NAN, 0, 0, 99}, "training diverged", 0},
  };
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
    harness h;
    dd_train_result r;
    open_job(&h, "ends", "overwrite", ends[i].more);
    assert_int_equal(run_again(&h, &ends[i].f, &r), DD_E_DIVERGED);
    if (!strstr(err.message, ends[i].said)) fail_msg("no '%s' in: %s", ends[i].said, err.message);
    assert_int_equal(r.iter, ends[i].iter);
    newest_is_good(&h);
    close_job(&h);
  }
}

static void test_outliers(void **state) {
  (void)state;
  dd_settings *s = dd_settings_create();
  dd_guard_state g = {.anchor = -1};
  double limit;
  set(s, "outlier_sigma", "3");
  for (int i = 0; i < 300; i++) {
    const double norm = 2 + (i % 2 ? 0.5 : -0.5);
    assert_int_equal(dd_guard_judge(s, &g, 1, norm, &limit), DD_FIT);
    assert_int_equal(isfinite(limit), i >= DD_GUARD_LEAST);
    dd_guard_applied(s, &g, norm);
  }
  /* mean 2, variance 0.25 * 128 / 127 */
  assert_true(fabs(limit - (2 + 3 * 0.5 * sqrt(128.0 / 127))) < 1e-12);
  assert_int_equal(dd_guard_judge(s, &g, 1, 3.51, NULL), DD_OUTLIER);
  assert_int_equal(dd_guard_judge(s, &g, 1, 3.50, NULL), DD_FIT);
  assert_int_equal(dd_guard_judge(s, &g, NAN, 2, NULL), DD_NOT_FINITE);
  assert_int_equal(dd_guard_judge(s, &g, 1, INFINITY, NULL), DD_NOT_FINITE);
  dd_guard_skipped(&g);
  dd_guard_skipped(&g);
  assert_int_equal(g.in_row, 2);
  dd_guard_applied(s, &g, 2);
  assert_int_equal(g.in_row, 0);
  assert_int_equal(g.skipped, 2);
  assert_int_equal(g.updates, 301);
  dd_settings_destroy(s);
}

/* ---- its state in a checkpoint ---- */

static int open_with(json_t *meta, dd_guard_state *g) {
  char path[300];
  dd_checkpoint *c = NULL;
  snprintf(path, sizeof path, "%s/one.safetensors", root);
  unlink(path);
  if (dd_st_write(path, NULL, 0, meta, &err)) fail_msg("%s", err.message);
  const int rc = dd_checkpoint_open(path, &c, &err);
  if (!rc && g) *g = dd_checkpoint_state(c)->guard;
  if (!rc) dd_checkpoint_close(c);
  return rc;
}

static void test_metadata(void **state) {
  (void)state;
  static const char *const wrong[][2] = {
      {"guard_updates", "25"},        {"guard_updates", "-1"},       {"guard_updates", "9223372036854775807"},
      {"guard_updates", "x"},         {"guard_skipped", "25"},       {"guard_in_row", "-2"},
      {"guard_redraw", "4294967296"}, {"guard_rollbacks", "1e3"},    {"guard_anchor", "25"},
      {"guard_anchor", "-2"},         {"guard_norms", "25"},         {"guard_norms", "23"},
      {"guard_norm", ""},             {"guard_norm", "0123"},
  };
  static const char *const more[] = {"outlier_sigma", "9", NULL};
  harness h;
  dd_train_result r;
  dd_guard_state g;
  dd_st *st = NULL;
  char path[4096];
  open_job(&h, "meta", "overwrite", more);
  assert_int_equal(run_again(&h, &(fault){.where = NOWHERE}, &r), DD_OK);
  assert_int_equal(dd_job_durable(&h.j, NULL), ITERS);
  if (dd_run_find_checkpoint(dd_rundir_path(h.j.dir), "latest", path, sizeof path, &err) ||
      dd_st_open(path, &st, &err))
    fail_msg("%s", err.message);
  json_t *meta = json_deep_copy(dd_st_metadata(st));
  dd_st_close(st);
  assert_int_equal(open_with(meta, &g), DD_OK);
  assert_int_equal(g.norms, ITERS);
  assert_memory_equal(&g, &h.j.state.guard, sizeof g);
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    json_t *bad = json_deep_copy(meta);
    assert_non_null(json_object_get(bad, wrong[i][0]));
    json_object_set_new(bad, wrong[i][0], json_string(wrong[i][1]));
    if (open_with(bad, NULL) != DD_E_CORRUPT) fail_msg("%s = '%s' is read", wrong[i][0], wrong[i][1]);
    assert_non_null(strstr(err.message, "'guard_"));
    json_decref(bad);
  }
  const char *key;
  json_t *value;
  void *next;
  json_object_foreach_safe(meta, next, key, value) /* of before there was a guard */
    if (!strncmp(key, "guard_", 6)) json_object_del(meta, key);
  assert_int_equal(open_with(meta, &g), DD_OK);
  assert_int_equal(g.updates, ITERS);
  assert_int_equal(g.anchor, -1);
  json_decref(meta);
  close_job(&h);
}

/* ---- the directory ---- */

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
  (void)st, (void)flag, (void)ftw;
  return remove(path);
}

static int set_up(void **state) {
  (void)state;
  static const char letters[] = "etaoinshrdlu ETAOIN.\n";
  char text[4000], path[300];
  uint32_t x = 12345;
  const char *tmp = getenv("TMPDIR");
  quick = getenv("DD_QUICK") != NULL;
  if (!tmp || !*tmp) tmp = access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm"; /* hundreds of checkpoints are synced */
  snprintf(root, sizeof root, "%.200s/dd-guard-XXXXXX", tmp);
  if (!mkdtemp(root)) return 1;
  for (size_t i = 0; i < sizeof text; i++) {
    x = x * 1664525u + 1013904223u;
    text[i] = letters[(x >> 24) % (sizeof letters - 1)];
  }
  snprintf(path, sizeof path, "%s/text.txt", root);
  return dd_file_replace(path, text, sizeof text, NULL);
}

static int tear_down(void **state) {
  (void)state;
  return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_outliers),    cmocka_unit_test(test_metadata),      cmocka_unit_test(test_every_place),
      cmocka_unit_test(test_too_large),   cmocka_unit_test(test_nothing_to_do), cmocka_unit_test(test_ends),
      cmocka_unit_test(test_interrupted),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
