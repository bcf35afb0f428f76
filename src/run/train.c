/* The training loop: set the learning rate and the dropout rate, evaluate when due, forward and backward, update.
 *
 * As in nanoGPT an evaluation sees the state before the update of its iteration. Updates are those of iterations
 * 0 .. T-1; at iteration T = max_iters there is the last evaluation and the loss of one more mini-batch at p(T), which
 * is what nanoGPT reports there, but no update: the final weights are the evaluated ones. */
#include "run/train.h"
#include "core/philox.h"
#include "run/generate.h"
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Micro-batch `micro` of step `it`: window starts are addresses (randomness contract, training batches). */
static void fill_batch(dd_job *j, int64_t it, int64_t micro) {
  const int64_t B = j->m->o.B, T = j->m->o.T;
  for (int64_t b = 0; b < B; b++) {
    uint32_t x[4];
    dd_philox(x, j->s->seed, (uint32_t)(micro * B + b), 0, (uint32_t)DD_PURPOSE_BATCH << 24, (uint32_t)it);
    const uint16_t *tok = j->data->train + dd_philox_below(x, j->data->n_train - T);
    for (int64_t t = 0; t < T; t++) {
      j->idx[b * T + t] = tok[t];
      j->targets[b * T + t] = tok[t + 1];
    }
  }
}

/* Gradients of iteration it. DD_E_STOPPED leaves the state before its update. *save: a checkpoint was asked for. */
static int gradients(dd_job *j, int64_t it, const dd_dropout_rates *rates, double *loss, int *save, dd_error *err) {
  double sum = 0;
  for (int64_t g = 0; g < j->m->o.accumulation; g++) {
    const int ask = dd_should_stop(j->cb);
    if (ask == 1) return dd_fail(err, DD_E_STOPPED, "stopped on request at iteration %lld", (long long)it);
    if (ask == 2) *save = 1;
    double l = 0;
    fill_batch(j, it, g);
    dd_model_forward_backward(j->m, j->idx, j->targets, j->m->o.B, j->m->o.T, g, it, rates, &l);
    sum += l;
  }
  *loss = sum / (double)j->m->o.accumulation;
  return DD_OK;
}

/* Name of the first tensor with a NaN or an infinity, or NULL. */
static const char *first_bad_tensor(const dd_model *m, const float *flat) {
  for (int i = 0; i < m->layout.count; i++) {
    const dd_tensor *t = m->layout.tensors + i;
    for (int64_t e = 0; e < t->size; e++)
      if (!isfinite(flat[t->offset + e])) return t->name;
  }
  return NULL;
}

static int diverged(dd_job *j, int64_t it, double loss, dd_error *err) {
  const char *where = first_bad_tensor(j->m, j->m->grad);
  char text[32];
  snprintf(text, sizeof text, "%g", loss);
  if (isnan(loss)) snprintf(text, sizeof text, "nan"); /* its sign is the processor's */
  return dd_fail(err, DD_E_DIVERGED,
                 "training diverged at iteration %lld: loss %s, first non-finite gradient in %s; the weights were not "
                 "updated and %s a lower --lr or a smaller --grad-clip",
                 (long long)it, text, where ? where : "none of the tensors",
                 dd_job_durable(j, NULL) >= 0 ? "the last checkpoint is good: resume from it with"
                               : "no checkpoint was saved yet: start again with --overwrite and");
}

/* The weights themselves went bad: an update that looked finite led here. */
static int diverged_in_eval(dd_job *j, int64_t it, double train, double val, dd_error *err) {
  const char *where = first_bad_tensor(j->m, j->m->param);
  return dd_fail(
      err, DD_E_DIVERGED,
      "training diverged before iteration %lld: %s loss is not finite, first non-finite weight in %s; nothing "
      "was saved since; %s a lower --lr or a smaller --grad-clip",
      (long long)it,
      isfinite(val)     ? "training"
      : isfinite(train) ? "validation"
                        : "every",
      where ? where : "none of the tensors",
      dd_job_durable(j, NULL) >= 0 ? "resume from the last checkpoint with" : "start again with --overwrite and");
}

/* rates: of sites, when they need not have one; else NULL. */
static int log_step(dd_job *j, const dd_step_record *r, const double *rates, dd_error *err) {
  if (j->cb && j->cb->step) j->cb->step(j->cb->user, r);
  if (!j->metrics) return DD_OK; /* replay */
  json_t *o = json_pack("{s:s, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "type", "step", "iter", (json_int_t)r->iter,
                        "loss", r->loss, "lr", r->lr, "dropout", r->dropout, "grad_norm", r->grad_norm, "ms_per_iter",
                        r->ms_per_iter, "tokens_per_s", r->tokens_per_s, "elapsed_s", r->elapsed_s);
#define RATE_KEY(id, name) name, rates[DD_DROPOUT_SITE_##id],
  static_assert(DD_SITES == 4, "a format below has four rates");
  if (o && rates &&
      json_object_set_new(o, "rates", json_pack("{s:f, s:f, s:f, s:f}", DD_DROPOUT_SITES(RATE_KEY) NULL))) {
    json_decref(o);
    o = NULL;
  }
  return dd_job_log(j, o, err);
}

/* The state's evaluation to metrics.jsonl, and to the caller when it is new. */
static int log_eval(dd_job *j, int fresh, double seconds, dd_error *err) {
  const dd_run_state *st = &j->state;
  dd_eval_record r = {.iter = st->iter,
                      .max_iters = j->s->max_iters,
                      .train_loss = st->train_loss,
                      .val_loss = st->val_loss,
                      .best_val_loss = st->best_val_loss,
                      .best_iter = st->best_iter,
                      .improved = st->best_iter == st->iter,
                      .dropout = dd_rates_at(j->rates, &st->schedule, st->iter, NULL),
                      .seconds = seconds,
                      .elapsed_s = st->elapsed_s + dd_now() - j->started};
  dd_model_fingerprint(j->m, r.fingerprint);
  if (fresh && j->cb && j->cb->eval) j->cb->eval(j->cb->user, &r);
  if (!j->metrics) return DD_OK; /* eval_only, replay */
  json_t *o = json_pack("{s:s, s:I, s:f, s:f, s:f, s:I, s:b, s:f, s:s, s:f, s:f}", "type", "eval", "iter",
                        (json_int_t)r.iter, "train_loss", r.train_loss, "val_loss", r.val_loss, "best_val_loss",
                        r.best_val_loss, "best_iter", (json_int_t)r.best_iter, "improved", r.improved, "dropout",
                        r.dropout, "fingerprint", r.fingerprint, "seconds", r.seconds, "elapsed_s", r.elapsed_s);
  return dd_job_log(j, o, err);
}

/* The end of a run that has no end: who reads metrics.jsonl is told. The reason it is returned for comes before a
 * failure to write this. */
static void log_diverged(dd_job *j) {
  if (j->metrics)
    dd_job_log(j, json_pack("{s:s, s:I}", "type", "diverged", "iter", (json_int_t)j->state.iter), NULL);
}

/* Losses of both splits at iteration it into the state; tells the schedule. *improved: a new best. */
static int evaluate(dd_job *j, int64_t it, int *improved, double *seconds, dd_error *err) {
  const double t0 = dd_now();
  const dd_dataset *d = j->data;
  double train, val;
  int rc;
  if (j->s->eval_iters > 0) {
    rc = dd_evaluate_random(&j->evaluator, d->train, d->n_train, j->s->eval_iters, 0, it, &train, err);
    if (!rc) rc = dd_evaluate_random(&j->evaluator, d->val, d->n_val, j->s->eval_iters, 1, it, &val, err);
  } else {
    rc = dd_evaluate_spread(&j->evaluator, d->train, d->n_train, (d->n_val - 1) / j->m->o.T, &train, err);
    if (!rc) rc = dd_evaluate_all(&j->evaluator, d->val, d->n_val, &val, err);
  }
  if (rc) return rc;
  dd_run_state *st = &j->state;
  if (!isfinite(val) || !isfinite(train)) return diverged_in_eval(j, it, train, val, err);
  *improved = val < st->best_val_loss;
  if (*improved) st->best_val_loss = val, st->best_iter = it;
  st->train_loss = train;
  st->val_loss = val;
  st->evaluated = it;
  dd_rates_observe(j->rates, &st->schedule, train, val);
  *seconds = dd_now() - t0;
  return log_eval(j, 1, *seconds, err);
}

/* Save before leaving because of a request; the reason stays the request unless saving fails. */
static int stop_and_save(dd_job *j, dd_error *err) {
  const long long it = (long long)j->state.iter;
  if (j->until >= 0) return dd_fail(err, DD_E_STOPPED, "stopped on request at iteration %lld", it);
  dd_error why;
  if (j->saved != j->state.iter) dd_job_save(j);
  const long long have = (long long)dd_job_durable(j, &why);
  if (have != it) {
    char older[64] = "there is no older one";
    if (have >= 0) snprintf(older, sizeof older, "the newest is of iteration %lld", have);
    return dd_fail(err, DD_E_IO, "stopped on request at iteration %lld, but the checkpoint could not be saved "
                   "(%.600s); %s", it, why.message, older);
  }
  return dd_fail(err, DD_E_STOPPED,
                 "stopped on request at iteration %lld of %lld, checkpoint saved in %s; continue with "
                 "`dd-cpu train --resume --out %s`",
                 it, (long long)j->s->max_iters, dd_rundir_path(j->dir), dd_rundir_path(j->dir));
}

typedef struct pace { /* speed since the last record, evaluations left out */
  double since, eval_seconds;
  int64_t iters;
} pace;

static dd_step_record step_record(const dd_job *j, int64_t it, double loss, double lr, double rate, double norm,
                                  const pace *p) {
  const dd_settings *s = j->s;
  const double tokens = (double)(j->m->o.B * j->m->o.T * j->m->o.accumulation);
  const double each = p->iters ? (dd_now() - p->since) / (double)p->iters : 0;
  const double evals = (double)((s->max_iters - it) / s->eval_interval);
  dd_step_record r = {.iter = it,
                      .max_iters = s->max_iters,
                      .loss = loss,
                      .lr = lr,
                      .dropout = rate,
                      .grad_norm = norm,
                      .ms_per_iter = each * 1e3,
                      .elapsed_s = j->state.elapsed_s + dd_now() - j->started,
                      .eta_s = (double)(s->max_iters - it) * each + evals * p->eval_seconds};
  if (each > 0) {
    r.tokens_per_s = tokens / each;
    r.peak_fraction = r.tokens_per_s * dd_flops_per_token(&j->m->o.shape, j->m->o.T) / j->peak;
  }
  return r;
}

int dd_job_run(dd_job *j, double *final_loss, dd_error *err) {
  const dd_settings *s = j->s;
  dd_run_state *st = &j->state;
  pace p = {.since = dd_now()};
  if (s->eval_only) {
    int improved;
    double seconds;
    return evaluate(j, st->iter, &improved, &seconds, err);
  }
  /* resumed just after an evaluation: its record was cut off with what followed */
  if (st->evaluated == st->iter && j->metrics) {
    int rc = log_eval(j, 0, 0, err);
    if (rc) return rc;
  }
  for (;; st->iter++) {
    const int64_t it = st->iter;
    const int last = it >= s->max_iters;
    int rc, improved = 0, save = 0;
    double seconds = 0;
    if ((it % s->eval_interval == 0 || last) && st->evaluated != it) {
      const double t = dd_now();
      rc = evaluate(j, it, &improved, &seconds, err);
      if (rc == DD_E_STOPPED) return stop_and_save(j, err);
      if (rc) return rc;
      p.eval_seconds = seconds;
      save = j->evaluator.save_asked || (it > 0 && (improved || last || s->checkpoint_interval == 0));
      j->evaluator.save_asked = 0;
      p.since += dd_now() - t;
    }
    if (it == j->until) return DD_OK;
    if (s->checkpoint_interval > 0 && it > 0 && it % s->checkpoint_interval == 0) save = 1;
    double loss = 0;
    dd_dropout_rates rates;
    const double rate = dd_rates_at(j->rates, &st->schedule, it, &rates);
    const double lr = dd_learning_rate(&j->lr, it);
    rc = gradients(j, it, &rates, &loss, &save, err);
    if (rc == DD_E_STOPPED) return stop_and_save(j, err);
    const double norm = dd_model_grad_norm(j->m);
    if (!isfinite(loss) || !isfinite(norm)) return diverged(j, it, loss, err);
    /* The state before this update, now that its weights are known to give finite gradients. */
    if (save && j->saver && j->saved != it) {
      const double t = dd_now();
      dd_job_save(j);
      p.since += dd_now() - t;
    }
    if (j->saver) dd_saver_poll(j->saver);
    *final_loss = loss;
    if (!last) {
      dd_model_update(j->m,
                      &(dd_update){.lr = lr,
                                   .beta1 = s->beta1,
                                   .beta2 = s->beta2,
                                   .eps = 1e-8,
                                   .weight_decay = s->weight_decay,
                                   .clip = s->grad_clip},
                      norm);
    }
    p.iters++;
    if (it % s->log_interval == 0 || last) {
      const dd_step_record r = step_record(j, it, loss, lr, rate, norm, &p);
      if ((rc = log_step(j, &r, j->rates->varies ? rates.site : NULL, err))) return rc;
      p.since = dd_now();
      p.iters = 0;
    }
    if (last) return DD_OK;
  }
}

/* A taste of the result: sample_chars tokens after the prompt, from the final weights. */
static int taste(dd_job *j, dd_error *err) {
  if (j->s->sample_chars <= 0 || !j->cb || !j->cb->text) return DD_OK;
  dd_infer *g;
  int rc = dd_infer_create(&g, j->m, &(dd_infer_options){.weights = DD_WEIGHTS_F32, .streams = 1}, err);
  if (rc) return rc;
  dd_generator gen;
  rc = dd_generator_open(&gen, g, &j->data->vocab, j->s, err);
  if (!rc) rc = dd_generate(&gen, 0, 1, j->s->sample_chars, j->cb, NULL, err);
  dd_generator_close(&gen);
  dd_infer_destroy(g);
  return rc;
}

int dd_train(const dd_settings *given, const dd_callbacks *cb, dd_train_result *out, dd_error *err) {
  dd_job j;
  dd_train_result r = {0};
  int rc = dd_job_open(&j, given, cb, err);
  if (!rc && !given->dry_run) {
    j.started = dd_now();
    rc = dd_job_run(&j, &r.final_loss, err);
    if (rc == DD_E_DIVERGED) log_diverged(&j);
    r.iter = j.state.iter;
    r.train_loss = j.state.train_loss;
    r.val_loss = j.state.val_loss;
    r.best_val_loss = j.state.best_val_loss;
    r.best_iter = j.state.best_iter;
    r.seconds = dd_now() - j.started;
    dd_model_fingerprint(j.m, r.fingerprint);
    if (j.dir) snprintf(r.run_dir, sizeof r.run_dir, "%s", dd_rundir_path(j.dir));
    if (!rc && !given->eval_only) rc = taste(&j, err);
  }
  dd_error closing;
  const int rc_close = dd_job_close(&j, &closing);
  if (!rc && rc_close) rc = dd_fail(err, (dd_status)rc_close, "%s", closing.message);
  if (out) *out = r;
  return rc;
}
