/* The training loop: set the learning rate and the dropout rate, evaluate when due, forward and backward, update.
 *
 * As in nanoGPT an evaluation sees the state before the update of its iteration. Updates are those of iterations
 * 0 .. T-1; at iteration T = max_iters there is the last evaluation and the loss of one more mini-batch at p(T), which
 * is what nanoGPT reports there, but no update: the final weights are the evaluated ones. */
#include "run/crew.h"
#include "core/philox.h"
#include "run/generate.h"
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Micro-batch `micro` of step `it`: window starts are addresses (randomness contract, training batches); after a
 * rollback at other ones. */
static void fill_batch(dd_job *j, int64_t it, int64_t micro) {
  const int64_t B = j->m->o.B, T = j->m->o.T;
  if (j->given_idx) {
    memcpy(j->idx, j->given_idx + micro * B * T, (size_t)(B * T) * sizeof *j->idx);
    memcpy(j->targets, j->given_targets + micro * B * T, (size_t)(B * T) * sizeof *j->targets);
    return;
  }
  for (int64_t b = 0; b < B; b++) {
    uint32_t x[4];
    dd_philox(x, j->s->seed, (uint32_t)(micro * B + b), (uint32_t)j->state.guard.redraw,
              (uint32_t)DD_PURPOSE_BATCH << 24, (uint32_t)it);
    const uint16_t *tok = j->data->train + dd_philox_below(x, j->data->n_train - T);
    for (int64_t t = 0; t < T; t++) {
      j->idx[b * T + t] = tok[t];
      j->targets[b * T + t] = tok[t + 1];
    }
  }
}

/* Gradients of iteration it. DD_E_STOPPED leaves the state before its update. *save: a checkpoint was asked for. */
static int gradients(dd_job *j, int64_t it, const dd_dropout_rates *rates, double *loss, int *save, dd_error *err) {
  const dd_range own = dd_model_micros(j->m);
  const int64_t G = j->m->o.accumulation, rounds = dd_pieces(G, dd_ranks_size(j->ranks));
  for (int64_t k = 0; k < rounds; k++) {
    const int64_t g = own.first + k;
    int ask = dd_should_stop(j->cb), rc = dd_crew_ask(j, k == 0, &ask, it, err);
    if (!rc && ask == 1 && k) rc = dd_model_abandon_ranks(j->m, err);
    if (rc) return rc;
    if (ask == 1) return dd_fail(err, DD_E_STOPPED, "stopped on request at iteration %lld", (long long)it);
    if (ask == 2) *save = 1;
    if (g >= own.end) continue;
    fill_batch(j, it, g);
    dd_model_forward_backward(j->m, j->idx, j->targets, j->m->o.B, j->m->o.T, g, it, rates, &j->losses[g]);
  }
  const int rc = dd_model_sum_ranks(j->m, j->losses, err);
  *loss = dd_sum_in_order(j->losses, G) / (double)G;
  return rc;
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

/* What is wrong with an iteration, in words: "loss nan, first non-finite gradient in wte". */
static void describe(const dd_job *j, double loss, double norm, char *out, size_t size) {
  const char *where = first_bad_tensor(j->m, j->m->grad);
  char text[32];
  snprintf(text, sizeof text, "%g", loss);
  if (isnan(loss)) snprintf(text, sizeof text, "nan"); /* its sign is the processor's */
  if (!where && isfinite(norm) && isfinite(loss)) snprintf(out, size, "loss %s, gradient norm %g", text, norm);
  else
    snprintf(out, size, "loss %s, first non-finite gradient in %s", text, where ? where : "none of the tensors");
}

static int diverged(dd_job *j, int64_t it, double loss, double norm, dd_error *err) {
  const dd_guard_state *g = &j->state.guard;
  char what[160], tries[96] = "";
  describe(j, loss, norm, what, sizeof what);
  if (g->in_row) snprintf(tries, sizeof tries, " after %lld skipped updates in a row", (long long)g->in_row);
  if (g->rollbacks) snprintf(tries, sizeof tries, " after %lld rollbacks", (long long)g->rollbacks);
  return dd_fail(err, DD_E_DIVERGED,
                 "training diverged at iteration %lld%s: %s; the weights were not updated and %s a lower --lr or a "
                 "smaller --grad-clip",
                 (long long)it, tries, what,
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
      dd_job_durable(j, NULL) >= 0 ? "resume from the last checkpoint with"
                                               : "start again with --overwrite and");
}

static json_t *real_or_null(double v) { return isfinite(v) ? json_real(v) : json_null(); }

/* rates: of sites, when they need not have one; else NULL. */
static int log_step(dd_job *j, const dd_step_record *r, const double *rates, dd_error *err) {
  if (j->cb && j->cb->step) j->cb->step(j->cb->user, r);
  if (!j->metrics) return DD_OK; /* replay */
  json_t *o = json_pack("{s:s, s:I, s:o, s:f, s:f, s:o, s:f, s:f, s:f}", "type", "step", "iter", (json_int_t)r->iter,
                        "loss", real_or_null(r->loss), "lr", r->lr, "dropout", r->dropout, "grad_norm",
                        real_or_null(r->grad_norm), "ms_per_iter", r->ms_per_iter, "tokens_per_s", r->tokens_per_s,
                        "elapsed_s", r->elapsed_s);
#define RATE_KEY(id, name) name, rates[DD_DROPOUT_SITE_##id],
  static_assert(DD_SITES == 4, "a format below has four rates");
  if (o && rates &&
      json_object_set_new(o, "rates", json_pack("{s:f, s:f, s:f, s:f}", DD_DROPOUT_SITES(RATE_KEY) NULL))) {
    json_decref(o);
    o = NULL;
  }
  return dd_job_log(j, o, err);
}

/* Rates of iteration it by the schedules, or by hand. *all: that of the schedule of all sites. */
static int rates_of(dd_job *j, int64_t it, dd_dropout_rates *out, double *all, dd_error *err) {
  *all = dd_rates_at(j->rates, &j->state.schedule, it, out);
  int bad = isnan(*all), hands = 0;
  for (int i = 0; i < DD_SITES; i++) {
    bad |= isnan(out->site[i]);
    if (isnan(j->hand_rate[i])) continue;
    out->site[i] = j->hand_rate[i];
    hands++;
  }
  if (bad)
    return dd_fail(err, DD_E_USAGE, "the function of schedule callback gave no number (NaN) at iteration %lld; make it "
                   "return a rate from 0 to below 1", (long long)it);
  if (hands == DD_SITES) *all = out->site[0];
  return DD_OK;
}

/* What this iteration does not take from the settings. */
static int hands_of(const dd_job *j) {
  int hands = (isnan(j->hand_lr) ? 0 : DD_HAND_LR) | (j->given_idx ? DD_HAND_BATCHES : 0);
  for (int i = 0; i < DD_SITES; i++) hands |= isnan(j->hand_rate[i]) ? 0 : DD_HAND_DROPOUT;
  return hands;
}

/* The state's evaluation to metrics.jsonl, and to the caller when it is new. */
static int log_eval(dd_job *j, int fresh, double seconds, dd_error *err) {
  const dd_run_state *st = &j->state;
  dd_dropout_rates rates;
  double rate;
  int rc = rates_of(j, st->iter, &rates, &rate, err);
  if (rc) return rc;
  dd_eval_record r = {.iter = st->iter,
                      .max_iters = j->s->max_iters,
                      .train_loss = st->train_loss,
                      .val_loss = st->val_loss,
                      .best_val_loss = st->best_val_loss,
                      .best_iter = st->best_iter,
                      .improved = st->best_iter == st->iter,
                      .dropout = rate,
                      .seconds = seconds,
                      .elapsed_s = st->elapsed_s + dd_now() - j->started};
  dd_model_fingerprint(j->m, r.fingerprint);
  if (!*r.fingerprint) return dd_fail(err, DD_E_RUNTIME, "out of memory for the fingerprint of the weights");
  rc = fresh ? dd_crew_compare(j, r.fingerprint, err) : DD_OK;
  if (rc) return rc;
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

int dd_job_losses(dd_job *j, int64_t it, double *train, double *val, dd_error *err) {
  const dd_dataset *d = j->data;
  int rc;
  if (j->s->eval_iters > 0) {
    rc = dd_evaluate_random(&j->evaluator, d->train, d->n_train, j->s->eval_iters, 0, it, train, err);
    if (!rc) rc = dd_evaluate_random(&j->evaluator, d->val, d->n_val, j->s->eval_iters, 1, it, val, err);
  } else {
    rc = dd_evaluate_spread(&j->evaluator, d->train, d->n_train, (d->n_val - 1) / j->m->o.T, train, err);
    if (!rc) rc = dd_evaluate_all(&j->evaluator, d->val, d->n_val, val, err);
  }
  return rc;
}

/* Losses of both splits at iteration it into the state; tells the schedule. *improved: a new best. */
static int evaluate(dd_job *j, int64_t it, int *improved, double *seconds, dd_error *err) {
  const double t0 = dd_now();
  double train, val;
  const int rc = dd_job_losses(j, it, &train, &val, err);
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

/* Where weights or moments are no numbers: that is no state to save. */
static const char *bad_state(const dd_job *j) {
  const char *where = first_bad_tensor(j->m, j->m->param);
  if (!where && j->m->m) where = first_bad_tensor(j->m, j->m->m);
  return where || !j->m->v ? where : first_bad_tensor(j->m, j->m->v);
}

int dd_job_check_state(dd_job *j, dd_error *err) {
  const char *where = bad_state(j);
  if (!where) return DD_OK;
  return dd_fail(err, DD_E_DIVERGED,
                 "training diverged before iteration %lld: first non-finite weight or moment in %s; this was not "
                 "saved; %s a lower --lr or a smaller --grad-clip",
                 (long long)j->state.iter, where,
                 dd_job_durable(j, NULL) >= 0 ? "resume from the last checkpoint with"
                                              : "start again with --overwrite and");
}

static int save(dd_job *j, dd_error *err) {
  const int rc = dd_job_check_state(j, err);
  if (!rc) dd_job_save(j);
  return rc;
}

/* Save before leaving because of a request; the reason stays the request unless saving fails. */
static int stop_and_save(dd_job *j, dd_error *err) {
  const long long it = (long long)j->state.iter;
  const char *said = "checkpoint saved in";
  dd_error why;
  if (!j->saver) return dd_fail(err, DD_E_STOPPED, "stopped on request at iteration %lld", it);
  const int rc = j->saved != j->state.iter ? save(j, &why) : DD_OK;
  /* A run that would now go back leaves that to its resume. */
  if (rc && (j->s->on_nan != DD_ON_NAN_ROLLBACK || dd_job_durable(j, NULL) < 0))
    return dd_fail(err, (dd_status)rc, "%s", why.message);
  const long long have = (long long)dd_job_durable(j, rc ? NULL : &why);
  if (rc) said = "older checkpoint kept in";
  else if (have != it) {
    char older[64] = "there is no older one";
    if (have >= 0) snprintf(older, sizeof older, "the newest is of iteration %lld", have);
    return dd_fail(err, DD_E_IO, "stopped on request at iteration %lld, but the checkpoint could not be saved "
                   "(%.600s); %s", it, why.message, older);
  }
  return dd_fail(err, DD_E_STOPPED,
                 "stopped on request at iteration %lld of %lld, %s %s; continue with "
                 "`dd-cpu train --resume --out %s`",
                 it, (long long)j->s->max_iters, said, dd_rundir_path(j->dir), dd_rundir_path(j->dir));
}

/* An update that is left out: told, counted, recorded. DD_E_DIVERGED when it is one too many. */
static int skip(dd_job *j, dd_verdict why, double loss, double norm, double limit, dd_error *err) {
  dd_guard_state *g = &j->state.guard;
  const int64_t it = j->state.iter;
  const char *where = first_bad_tensor(j->m, j->m->grad);
  char what[160];
  if (why == DD_OUTLIER) snprintf(what, sizeof what, "gradient norm %.4g is above %.4g", norm, limit);
  else describe(j, loss, norm, what, sizeof what);
  dd_guard_skipped(g);
  dd_say(j->cb, DD_WARNING, "iteration %lld: update skipped, %s (%lld skipped so far)", (long long)it, what,
         (long long)g->skipped);
  int rc = DD_OK;
  if (j->metrics) /* no replay */
    rc = dd_job_log(j,
                    json_pack("{s:s, s:I, s:s, s:o, s:o, s:o, s:o, s:I}", "type", "skip", "iter", (json_int_t)it, "why",
                              why == DD_OUTLIER ? "outlier" : "not finite", "loss", real_or_null(loss), "grad_norm",
                              real_or_null(norm), "limit", real_or_null(limit), "tensor",
                              where ? json_string(where) : json_null(), "skipped", (json_int_t)g->skipped),
                    err);
  if (!rc && g->in_row >= j->s->max_skips) rc = diverged(j, it, loss, norm, err);
  return rc;
}

/* Back to the newest planned checkpoint; *err says why. DD_E_DIVERGED, with that, when it was tried too often. */
static int roll_back_alone(dd_job *j, dd_error *err) {
  const long long from = (long long)j->state.iter;
  if (j->state.guard.rollbacks >= j->s->max_skips || !j->metrics) return DD_E_DIVERGED;
  dd_error why = *err;
  int rc = dd_job_rollback(j, err);
  if (rc) return rc;
  const dd_run_state *st = &j->state;
  char *tail = strstr(why.message, "; ");
  if (tail) *tail = '\0'; /* the advice */
  dd_say(j->cb, DD_WARNING, "%.600s; back to iteration %lld and on with other batches (rollback %lld)", why.message,
         (long long)st->iter, (long long)st->guard.redraw);
  if (st->evaluated == st->iter && (rc = log_eval(j, 0, 0, err))) return rc;
  return dd_job_log(j,
                       json_pack("{s:s, s:I, s:I, s:I}", "type", "rollback", "iter", (json_int_t)st->iter, "from",
                                 (json_int_t)from, "rollbacks", (json_int_t)st->guard.redraw),
                       err);
}

/* Over ranks the others wait for what rank 0 finds on its disk. */
static int roll_back(dd_job *j, dd_error *err) {
  int rc = dd_ranks_rank(j->ranks) ? DD_OK : roll_back_alone(j, err);
  if (!j->ranks || rc) return rc;
  rc = dd_ranks_agree(j->ranks, DD_OK, NULL, -1, err);
  return rc ? rc : dd_crew_hand_out(j, 1, err);
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

/* Is this iteration one whose checkpoint follows from the settings and the losses? */
static int is_planned(const dd_job *j) {
  const dd_run_state *st = &j->state;
  const int64_t every = j->s->checkpoint_interval, it = st->iter;
  if (it == 0) return 0;
  if (every > 0 && it % every == 0) return 1;
  return st->evaluated == it && (st->best_iter == it || it >= j->s->max_iters || every == 0);
}

/* One iteration. *save_asked: a checkpoint was asked for and not yet made. *done: it was the last. */
static int iterate(dd_job *j, pace *p, int *save_asked, int *done, double *final_loss, dd_error *err) {
  const dd_settings *s = j->s;
  dd_run_state *st = &j->state;
  const int64_t it = st->iter;
  const int last = it >= s->max_iters;
  int rc, improved;
  if ((it % s->eval_interval == 0 || last) && st->evaluated != it) {
    const double t = dd_now();
    rc = evaluate(j, it, &improved, &p->eval_seconds, err);
    if (rc == DD_E_STOPPED) return stop_and_save(j, err);
    if (rc) return rc;
    *save_asked |= j->evaluator.save_asked;
    j->evaluator.save_asked = 0;
    p->since += dd_now() - t;
  }
  if (it == j->until) return *done = 1, DD_OK;
  double loss = 0, limit;
  dd_dropout_rates rates;
  double rate;
  if ((rc = rates_of(j, it, &rates, &rate, err))) return rc;
  const double lr = isnan(j->hand_lr) ? dd_learning_rate(&j->lr, it) : j->hand_lr;
  if (j->meddle) j->meddle(j, NULL);
  rc = gradients(j, it, &rates, &loss, save_asked, err);
  if (rc == DD_E_STOPPED) return stop_and_save(j, err);
  if (rc) return rc;
  if (j->meddle) j->meddle(j, &loss);
  const double norm = dd_model_grad_norm(j->m);
  const dd_verdict verdict = dd_guard_judge(s, &st->guard, loss, norm, &limit);
  /* Skipping does not help weights that are bad already. */
  const int bad = verdict == DD_NOT_FINITE && (s->on_nan == DD_ON_NAN_STOP || first_bad_tensor(j->m, j->m->param));
  if (bad) return diverged(j, it, loss, norm, err);
  /* The state before this update, now that its weights are known to give finite gradients, or a finite evaluation. */
  if (verdict != DD_NOT_FINITE || st->evaluated == it) {
    const int planned = is_planned(j);
    const dd_guard_state was = st->guard;
    if (planned && it > was.anchor) st->guard.anchor = it, st->guard.rollbacks = 0;
    if ((planned || *save_asked) && j->saved != it && j->saver) {
      const double t = dd_now();
      if ((rc = save(j, err))) return rc;
      /* A rollback needs it, and where it would go must not depend on how fast the disk is. */
      const int anchored = s->on_nan != DD_ON_NAN_ROLLBACK || !planned || dd_job_durable(j, NULL) == it;
      if (!anchored) st->guard.anchor = was.anchor, st->guard.rollbacks = was.rollbacks;
      p->since += dd_now() - t;
    }
    *save_asked = 0;
  }
  if (j->saver) dd_saver_poll(j->saver);
  *final_loss = loss;
  if (!last) st->by_hand |= hands_of(j);
  if (last) *done = 1; /* no update, so nothing to skip */
  else if (verdict == DD_NOT_FINITE && s->on_nan == DD_ON_NAN_ROLLBACK) return diverged(j, it, loss, norm, err);
  else if (verdict != DD_FIT) {
    if ((rc = skip(j, verdict, loss, norm, limit, err))) return rc;
  } else {
    dd_model_update(j->m,
                    &(dd_update){.lr = lr,
                                 .beta1 = s->beta1,
                                 .beta2 = s->beta2,
                                 .eps = 1e-8,
                                 .weight_decay = s->weight_decay,
                                 .clip = s->grad_clip},
                    norm);
    dd_guard_applied(s, &st->guard, norm);
  }
  p->iters++;
  j->last = step_record(j, it, loss, lr, rate, norm, p);
  if (it % s->log_interval == 0 || last) {
    const int varies = j->rates->varies || (st->by_hand & DD_HAND_DROPOUT);
    if ((rc = log_step(j, &j->last, varies ? rates.site : NULL, err))) return rc;
    p->since = dd_now();
    p->iters = 0;
  }
  st->iter += !last;
  return DD_OK;
}

int dd_job_run(dd_job *j, double *final_loss, dd_error *err) {
  dd_run_state *st = &j->state;
  pace p = {.since = dd_now()};
  int rc = DD_OK, save_asked = 0, done = 0;
  if (j->s->eval_only) {
    int improved;
    double seconds;
    return evaluate(j, st->iter, &improved, &seconds, err);
  }
  if (st->evaluated == st->iter && j->metrics && !j->begun) /* resumed after an evaluation: its record was cut off */
    rc = log_eval(j, 0, 0, err);
  j->begun = 1;
  while (!rc && !done) {
    rc = iterate(j, &p, &save_asked, &done, final_loss, err);
    if (rc == DD_E_DIVERGED && j->s->on_nan == DD_ON_NAN_ROLLBACK) {
      rc = roll_back(j, err);
      p.since = dd_now();
      p.iters = 0;
    }
  }
  return rc;
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

int dd_job_train(dd_job *j, dd_train_result *r, dd_error *err) {
  dd_error local;
  j->started = dd_now();
  int rc = dd_job_run(j, &r->final_loss, err ? err : &local);
  if (rc == DD_E_DIVERGED) log_diverged(j);
  r->seconds = dd_now() - j->started;
  const int rc_result = dd_job_result(j, r, rc ? NULL : err);
  if (!rc) rc = rc_result;
  if (!rc && !j->s->eval_only) rc = taste(j, err);
  return rc;
}

int dd_job_result(const dd_job *j, dd_train_result *r, dd_error *err) {
  r->iter = j->state.iter;
  r->train_loss = j->state.train_loss;
  r->val_loss = j->state.val_loss;
  r->best_val_loss = j->state.best_val_loss;
  r->best_iter = j->state.best_iter;
  r->skipped = j->state.guard.skipped;
  r->rollbacks = j->state.guard.redraw;
  if (j->dir) snprintf(r->run_dir, sizeof r->run_dir, "%s", dd_rundir_path(j->dir));
  dd_model_fingerprint(j->m, r->fingerprint);
  return *r->fingerprint ? DD_OK : dd_fail(err, DD_E_RUNTIME, "out of memory for the fingerprint of the weights");
}

int dd_train(const dd_settings *given, const dd_callbacks *cb, dd_train_result *out, dd_error *err) {
  return dd_train_over(NULL, given, cb, out, err);
}

/* A failure that the ranks do not share: memory that messages may still arrive in stays, the process ends soon. */
static int broken(const dd_job *j, int rc, dd_error *err) {
  char go_on[128] = "";
  if (j->dir) snprintf(go_on, sizeof go_on, " --out %.100s", dd_rundir_path(j->dir));
  const dd_error why = *err;
  return dd_fail(err, (dd_status)rc, "%.700s; all ranks end here, go on from the last checkpoint with `dd-cpu train "
                 "--resume%s`", why.message, go_on);
}

int dd_train_over(dd_ranks *ranks, const dd_settings *given, const dd_callbacks *cb, dd_train_result *out,
                  dd_error *err) {
  dd_job j;
  dd_train_result r = {0};
  dd_error local;
  dd_callbacks quiet = {0};
  if (!err) err = &local;
  if (dd_ranks_rank(ranks)) {
    if (given->dry_run) return DD_OK;
    if (cb) quiet = (dd_callbacks){.user = cb->user, .should_stop = cb->should_stop};
    cb = &quiet;
  }
  int rc = dd_job_open(&j, ranks, given, cb, err);
  if (ranks && !given->dry_run) {
    rc = dd_ranks_agree(ranks, rc, NULL, 2, err);
    if (!rc) rc = dd_crew_hand_out(&j, j.loaded >= 0 || j.init, err);
  }
  if (!rc && !given->dry_run) rc = dd_job_train(&j, &r, err);
  if (ranks && !given->dry_run) {
    rc = dd_ranks_agree(ranks, rc, NULL, 3, err);
    if (rc && !dd_ranks_agreed(ranks)) return broken(&j, rc, err);
  }
  dd_error closing;
  const int rc_close = dd_job_close(&j, &closing);
  if (!rc && rc_close) rc = dd_fail(err, (dd_status)rc_close, "%s", closing.message);
  if (out) *out = r;
  return rc;
}
