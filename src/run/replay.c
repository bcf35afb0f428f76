#include "core/file.h"
#include "run/train.h"
#include "run/verify.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int dd_replay_range(const char *text, const dd_run_file *file, size_t n, int64_t range[2], dd_error *err) {
  if (strcmp(text, "last") == 0) {
    size_t before = 0;
    while (before < n && file[before].iter == file[0].iter) before++; /* one may have two files */
    if (before >= n) return dd_fail(err, DD_E_USAGE, "replay needs two checkpoints of the run; it has %d", n > 0);
    range[0] = file[before].iter;
    range[1] = file[0].iter;
    return DD_OK;
  }
  char *end, *last;
  const long long a = strtoll(text, &end, 10);
  const long long b = end != text && strncmp(end, "..", 2) == 0 ? strtoll(end + 2, &last, 10) : -1;
  if (b < 0 || a < 0 || last == end + 2 || *last || a >= b)
    return dd_fail(err, DD_E_USAGE, "replay must be two iterations such as 250..500, the first before the second, or "
                   "last; not '%.60s'", text);
  range[0] = a;
  range[1] = b;
  for (int i = 0; i < 2; i++) {
    size_t k = 0;
    while (k < n && file[k].iter != range[i]) k++;
    if (k < n) continue;
    char have[200] = "";
    for (k = n; k-- > 0;) { /* oldest first, as many as fit */
      const size_t len = strlen(have);
      if (len < sizeof have - 24 && (k + 1 == n || file[k].iter != file[k + 1].iter))
        snprintf(have + len, sizeof have - len, " %lld", (long long)file[k].iter);
    }
    return dd_fail(err, DD_E_USAGE, "there is no checkpoint of iteration %lld to replay; there are:%s",
                   (long long)range[i], have);
  }
  return DD_OK;
}

typedef struct replay {
  const dd_callbacks *user;
  json_t *step, *eval; /* records of metrics.jsonl in the range, by iteration */
  int64_t from, to;
  int64_t steps, evals; /* compared */
  char wrong[400];      /* the first difference, "" while there is none */
} replay;

static json_t *record_at(const json_t *records, int64_t iter) {
  char key[32];
  snprintf(key, sizeof key, "%lld", (long long)iter);
  return json_object_get(records, key);
}

static void compare_real(replay *r, const json_t *record, const char *key, double got, int64_t iter) {
  const json_t *want = json_object_get(record, key);
  if (*r->wrong || !json_is_number(want) || json_number_value(want) == got) return;
  snprintf(r->wrong, sizeof r->wrong, "%s of iteration %lld is %.17g, the run recorded %.17g", key, (long long)iter,
           got, json_number_value(want));
}

static void on_step(void *user, const dd_step_record *s) {
  replay *r = user;
  const json_t *want = record_at(r->step, s->iter);
  if (want) {
    r->steps++;
    compare_real(r, want, "dropout", s->dropout, s->iter); /* causes before what follows from them */
    compare_real(r, want, "loss", s->loss, s->iter);
    compare_real(r, want, "grad_norm", s->grad_norm, s->iter);
  }
  if (r->user && r->user->phase) r->user->phase(r->user->user, "replay", s->iter - r->from, r->to - r->from);
}

static void on_eval(void *user, const dd_eval_record *e) {
  replay *r = user;
  const json_t *want = record_at(r->eval, e->iter);
  if (!want) return;
  const char *hex = json_string_value(json_object_get(want, "fingerprint"));
  r->evals++;
  if (!*r->wrong && hex && strcmp(hex, e->fingerprint) != 0)
    snprintf(r->wrong, sizeof r->wrong, "the weights of iteration %lld have fingerprint %s, the run recorded %.40s",
             (long long)e->iter, e->fingerprint, hex);
  compare_real(r, want, "train_loss", e->train_loss, e->iter);
  compare_real(r, want, "val_loss", e->val_loss, e->iter);
}

static void on_message(void *user, dd_level level, const char *text) {
  const replay *r = user;
  if (r->user && r->user->message) r->user->message(r->user->user, level == DD_INFO ? DD_DEBUG : level, text);
}

/* A difference is enough: what follows would only repeat it. */
static int on_poll(void *user) {
  const replay *r = user;
  return *r->wrong || (r->user && r->user->should_stop && r->user->should_stop(r->user->user) == 1);
}

static double on_rate(void *user, const dd_rate_query *q) {
  const replay *r = user;
  return r->user->rate(r->user->user, q);
}

/* Records from A on: the evaluation of A itself is part of its checkpoint. */
static int read_records(replay *r, const char *dir, dd_error *err) {
  char path[4096], *text, *line, *end;
  size_t n;
  int there, rc = dd_path_join(path, sizeof path, dir, DD_RUN_METRICS, err);
  if (!rc) rc = dd_file_exists(path, &there, err);
  if (rc || !there) return rc;
  rc = dd_file_read_all(path, SIZE_MAX, &text, &n, err);
  if (rc) return rc;
  r->step = json_object();
  r->eval = json_object();
  for (line = text; (end = memchr(line, '\n', n - (size_t)(line - text))) != NULL; line = end + 1) {
    json_t *o = json_loadb(line, (size_t)(end - line), 0, NULL);
    const json_int_t iter = json_integer_value(json_object_get(o, "iter"));
    const char *type = json_string_value(json_object_get(o, "type"));
    char key[32];
    snprintf(key, sizeof key, "%lld", (long long)iter);
    if (type && iter >= r->from && iter <= r->to)
      json_object_set(strcmp(type, "eval") == 0 ? r->eval : strcmp(type, "step") == 0 ? r->step : NULL, key, o);
    json_decref(o);
  }
  free(text);
  return r->step && r->eval ? DD_OK : dd_fail(err, DD_E_RUNTIME, "out of memory while reading %.600s", path);
}

/* The state reached against checkpoint `to`. */
static int compare_end(replay *r, const dd_job *j, dd_checkpoint *to, dd_error *err) {
  char name[96];
  const int rc = dd_checkpoint_compare(to, j->m, name, err);
  if (rc || *r->wrong) return rc;
  const char *entry = dd_run_state_difference(&j->state, dd_checkpoint_state(to));
  if (*name)
    snprintf(r->wrong, sizeof r->wrong, "tensor %s of iteration %lld differs from the checkpoint's", name,
             (long long)r->to);
  else if (entry)
    snprintf(r->wrong, sizeof r->wrong, "%s of iteration %lld differs from the checkpoint's", entry, (long long)r->to);
  return rc;
}

static int fits(const dd_checkpoint *a, const dd_checkpoint *b, dd_error *err) {
  const dd_run_state *x = dd_checkpoint_state(a), *y = dd_checkpoint_state(b);
  if (strcmp(x->data_hash, y->data_hash) != 0 || (*x->run_id && *y->run_id && strcmp(x->run_id, y->run_id) != 0) ||
      memcmp(dd_checkpoint_shape(a), dd_checkpoint_shape(b), sizeof(dd_shape)) != 0)
    return dd_fail(err, DD_E_CORRUPT, "cannot replay: the checkpoints of iterations %lld and %lld are not of one run",
                   (long long)x->iter, (long long)y->iter);
  return DD_OK;
}

int dd_replay(const char *dir, const char *from, const char *to, const dd_settings *given, const dd_callbacks *cb,
              char text[512], dd_error *err) {
  char path[4096];
  dd_checkpoint *a = NULL, *b = NULL;
  dd_job j = {0};
  replay r = {.user = cb};
  const dd_callbacks mine = {.user = &r,
                             .message = on_message,
                             .step = on_step,
                             .eval = on_eval,
                             .should_stop = on_poll,
                             .rate = cb && cb->rate ? on_rate : NULL};
  int rc = dd_path_join(path, sizeof path, dir, from, err);
  if (!rc) rc = dd_checkpoint_open(path, &a, err);
  if (!rc) rc = dd_path_join(path, sizeof path, dir, to, err);
  if (!rc) rc = dd_checkpoint_open(path, &b, err);
  if (!rc) rc = fits(a, b, err);
  if (!rc) {
    r.from = dd_checkpoint_state(a)->iter;
    r.to = dd_checkpoint_state(b)->iter;
    rc = read_records(&r, dir, err);
  }
  const int opened = !rc;
  if (!rc) rc = dd_job_open_replay(&j, a, dd_checkpoint_settings(b), given, &mine, err);
  if (!rc) {
    double loss = 0;
    j.until = r.to;
    j.started = dd_now();
    rc = dd_job_run(&j, &loss, err);
    if (rc == DD_E_STOPPED && *r.wrong) rc = DD_OK;
    else if (!rc) rc = compare_end(&r, &j, b, err);
  }
  if (!rc && *r.wrong) {
    snprintf(text, 512, "trained again from iteration %lld: %s", (long long)r.from, r.wrong);
    rc = DD_E_DIVERGED;
  } else if (!rc) {
    snprintf(text, 512, "iterations %lld to %lld trained again: %lld evaluations, %lld records, every tensor and the "
             "state are equal, fingerprint %s", (long long)r.from, (long long)r.to, (long long)r.evals,
             (long long)r.steps, dd_checkpoint_fingerprint(b));
  } else if (rc == DD_E_DIVERGED) { /* the run itself did not */
    snprintf(text, 512, "%.500s", err ? err->message : "diverged");
  }
  if (opened) dd_job_close(&j, NULL);
  json_decref(r.step);
  json_decref(r.eval);
  dd_checkpoint_close(a);
  dd_checkpoint_close(b);
  return rc;
}
