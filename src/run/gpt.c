/* dd_gpt: making, training, saving. A GPT that trains is a job whose loop returns after as many iterations as asked. */
#include "run/gpt.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int create(dd_gpt **out, const dd_settings *s, dd_dataset *data, const dd_callbacks *cb, dd_error *err) {
  *out = NULL;
  if (!*s->out && (s->resume || s->auto_resume)) {
    dd_dataset_close(data);
    return dd_fail(err, DD_E_USAGE, "resume and auto_resume need `out`, the run directory to go on in (or use "
                   "dd_gpt_load)");
  }
  dd_gpt *g = calloc(1, sizeof *g);
  if (!g) {
    dd_dataset_close(data);
    return dd_fail(err, DD_E_RUNTIME, "out of memory for a GPT");
  }
  int rc = dd_job_open_library(&g->j, s, data, cb, err);
  if (!rc && (g->j.s->dry_run || g->j.s->eval_only))
    rc = dd_fail(err, DD_E_USAGE, "settings dry_run and eval_only mean nothing to a GPT that is driven step by step");
  if (rc) {
    dd_gpt_close(g, NULL);
    return rc;
  }
  g->vocab = &g->j.data->vocab;
  g->final_loss = NAN;
  *out = g;
  return DD_OK;
}

int dd_gpt_create(dd_gpt **out, const dd_settings *s, const dd_callbacks *cb, dd_error *err) {
  return create(out, s, NULL, cb, err);
}

int dd_gpt_create_from_tokens(dd_gpt **out, const dd_settings *s, const uint16_t *train, int64_t n_train,
                              const uint16_t *val, int64_t n_val, int64_t vocab_size, const dd_callbacks *cb,
                              dd_error *err) {
  dd_dataset *d;
  *out = NULL;
  const char *spec = dd_settings_is_set(s, DD_SETTING_data) ? s->data : "";
  const int rc = dd_dataset_from_tokens(&d, train, n_train, val, n_val, vocab_size, spec, err);
  return rc ? rc : create(out, s, d, cb, err);
}

int dd_gpt_open(dd_gpt **out, const dd_settings *s, const dd_callbacks *cb, dd_error *err) {
  dd_gpt *g = calloc(1, sizeof *g);
  dd_loaded r;
  *out = NULL;
  if (!g) return dd_fail(err, DD_E_RUNTIME, "out of memory for a GPT");
  int rc = dd_run_load(&r, s, 0, 0, err);
  if (rc) {
    free(g);
    return rc;
  }
  g->c = r.c;
  g->j = (dd_job){.m = r.m, .cb = cb, .k = dd_team_kernels(r.m->team), .threads = dd_team_threads(r.m->team)};
  g->j.state = *dd_checkpoint_state(r.c);
  g->own = r.vocab;
  g->vocab = &g->own;
  if ((g->j.s = dd_settings_create())) *g->j.s = *s;
  else rc = dd_fail(err, DD_E_RUNTIME, "out of memory for settings");
  if (!rc) rc = dd_evaluator_create(&g->j.evaluator, g->j.m, cb, err);
  if (rc) dd_gpt_close(g, NULL);
  else *out = g;
  return rc;
}

int dd_gpt_close(dd_gpt *g, dd_error *err) {
  if (!g) return DD_OK;
  dd_infer_destroy(g->infer);
  const int rc = dd_job_close(&g->j, err);
  dd_vocab_free(&g->own);
  dd_checkpoint_close(g->c);
  free(g);
  return rc;
}

int dd_gpt_must_train(const dd_gpt *g, dd_error *err) {
  if (!g->c) return DD_OK;
  return dd_fail(err, DD_E_USAGE, "this GPT was opened to be asked only: make one that trains with dd_gpt_create");
}

void dd_gpt_describe(const dd_gpt *g, dd_gpt_info *out) {
  const dd_model *m = g->j.m;
  const dd_shape *p = &m->o.shape;
  *out = (dd_gpt_info){.n_layer = p->L,
                       .n_head = p->H,
                       .n_embd = p->C,
                       .block_size = p->S,
                       .vocab_size = p->V,
                       .batch_size = m->o.B,
                       .accumulation = m->o.accumulation,
                       .parameters = m->layout.parameters,
                       .tensors = m->layout.count,
                       .train_tokens = g->j.data ? g->j.data->n_train : 0,
                       .val_tokens = g->j.data ? g->j.data->n_val : 0,
                       .iter = g->j.state.iter,
                       .max_iters = g->c ? dd_checkpoint_settings(g->c)->max_iters : g->j.s->max_iters,
                       .threads = g->j.threads,
                       .bytes = (int64_t)m->bytes,
                       .bias = p->bias,
                       .trains = !g->c};
  snprintf(out->tier, sizeof out->tier, "%s", g->j.k->tier);
}

int dd_gpt_setting(const dd_gpt *g, const char *key, char *buf, size_t size, dd_error *err) {
  return dd_settings_get(g->j.s, key, buf, size, err);
}

/* ---- training ---- */

/* Up to iteration `until`, with its evaluation; -1: to the end of the run. */
static int run(dd_gpt *g, int64_t until, dd_error *err) {
  dd_error local;
  g->j.until = until;
  g->j.started = dd_now();
  const int rc = dd_job_run(&g->j, &g->final_loss, err ? err : &local);
  g->j.state.elapsed_s += dd_now() - g->j.started;
  g->j.started = dd_now();
  if (!rc && until < 0) g->finished = 1;
  return rc;
}

int dd_gpt_train(dd_gpt *g, int64_t iterations, dd_train_result *out, dd_error *err) {
  const double t0 = dd_now();
  int rc = dd_gpt_must_train(g, err);
  if (rc) return rc;
  const int64_t left = g->j.s->max_iters - g->j.state.iter;
  const int to_the_end = iterations < 0 || iterations >= left;
  if (!(to_the_end ? g->finished : iterations == 0))
    rc = run(g, to_the_end ? -1 : g->j.state.iter + iterations, err);
  if (out) {
    *out = (dd_train_result){.final_loss = g->final_loss, .seconds = dd_now() - t0};
    const int rc_result = dd_job_result(&g->j, out, rc ? NULL : err);
    if (!rc) rc = rc_result;
  }
  return rc;
}

int dd_gpt_step(dd_gpt *g, const int32_t *ids, const int32_t *targets, dd_step_record *out, dd_error *err) {
  dd_job *j = &g->j;
  int rc = dd_gpt_must_train(g, err);
  if (rc) return rc;
  const int64_t n = j->m->o.accumulation * j->m->o.B * j->m->o.T;
  if (j->state.iter >= j->s->max_iters)
    return dd_fail(err, DD_E_USAGE, "the run is at its last iteration, %lld; raise max_iters to go on",
                   (long long)j->s->max_iters);
  rc = dd_gpt_check_ids(g, ids, n, "id", err);
  if (!rc) rc = dd_gpt_check_ids(g, targets, n, "target", err);
  if (rc) return rc;
  j->given_idx = ids;
  j->given_targets = targets;
  rc = run(g, j->state.iter + 1, err);
  j->given_idx = j->given_targets = NULL;
  if (out) *out = j->last;
  return rc;
}

int dd_gpt_set_lr(dd_gpt *g, double lr, dd_error *err) {
  const int rc = dd_gpt_must_train(g, err);
  if (rc) return rc;
  if (lr < 0 || isinf(lr)) return dd_fail(err, DD_E_USAGE, "a learning rate is at least 0 and finite, not %g", lr);
  g->j.hand_lr = lr;
  return DD_OK;
}

int dd_gpt_set_dropout(dd_gpt *g, const char *site, double rate, dd_error *err) {
#define SITE_NAME(id, name) name,
  static const char *const names[DD_SITES] = {DD_DROPOUT_SITES(SITE_NAME)};
  int rc = dd_gpt_must_train(g, err), known = 0;
  if (rc) return rc;
  if (!isnan(rate) && !(rate >= 0 && rate < 1))
    return dd_fail(err, DD_E_USAGE, "a dropout rate is 0 to below 1, not %g", rate);
  for (int i = 0; i < DD_SITES; i++) known |= !site || strcmp(site, names[i]) == 0;
  if (!known) return dd_fail(err, DD_E_USAGE, "a site of dropout is embed, attn, proj or mlp, not '%.40s'", site);
  for (int i = 0; i < DD_SITES; i++)
    if (!site || strcmp(site, names[i]) == 0) g->j.hand_rate[i] = rate;
  return DD_OK;
}

int dd_gpt_evaluate(dd_gpt *g, dd_eval_record *out, dd_error *err) {
  const dd_job *j = &g->j;
  const double t0 = dd_now();
  int rc = dd_gpt_must_train(g, err);
  if (rc) return rc;
  const dd_run_state *st = &j->state;
  dd_eval_record r = {.iter = st->iter,
                      .max_iters = j->s->max_iters,
                      .best_val_loss = st->best_val_loss,
                      .best_iter = st->best_iter,
                      .dropout = dd_rates_at(j->rates, &st->schedule, st->iter, NULL)};
  if ((rc = dd_job_losses(&g->j, st->iter, &r.train_loss, &r.val_loss, err))) return rc;
  if ((rc = dd_gpt_fingerprint(g, r.fingerprint, err))) return rc;
  r.seconds = dd_now() - t0;
  r.elapsed_s = st->elapsed_s;
  *out = r;
  return DD_OK;
}

/* ---- checkpoints ---- */

static int save_file(dd_gpt *g, const char *path, dd_error *err) {
  const dd_model *m = g->j.m;
  const dd_weights_view w = {.layout = &m->layout, .param = m->param, .m = m->m, .v = m->v};
  return dd_checkpoint_write(path, &w, &g->j.state, g->j.s, g->vocab, err);
}

int dd_gpt_save(dd_gpt *g, const char *path, dd_error *err) {
  int rc = dd_gpt_must_train(g, err);
  if (rc) return rc;
  if (!path && !g->j.saver)
    return dd_fail(err, DD_E_USAGE, "this GPT has no run directory: name the file of the checkpoint");
  if ((rc = dd_job_check_state(&g->j, err))) return rc;
  if (path) return save_file(g, path, err);
  dd_error why = {.code = DD_OK};
  g->j.started = dd_now(); /* the time between calls is not the training's */
  if (g->j.saved != g->j.state.iter) dd_job_save(&g->j);
  dd_job_durable(&g->j, &why);
  return why.code ? dd_fail(err, why.code, "%s", why.message) : DD_OK;
}

/* Is this a checkpoint that the GPT can go on from? */
static int fits(const dd_gpt *g, const dd_checkpoint *c, const char *path, dd_error *err) {
  const dd_shape *a = dd_checkpoint_shape(c), *b = &g->j.m->o.shape;
  const dd_run_state *st = dd_checkpoint_state(c);
  if (a->L != b->L || a->H != b->H || a->C != b->C || a->S != b->S || a->V != b->V || a->bias != b->bias)
    return dd_fail(err, DD_E_CORRUPT, "%s has another shape (n_layer, n_head, n_embd, block_size, vocabulary or bias) "
                   "than this GPT", path);
  if (strcmp(st->data_hash, g->j.data->hash) != 0)
    return dd_fail(err, DD_E_CORRUPT, "%s was trained on another text (hash %s, this GPT has %s)", path, st->data_hash,
                   g->j.data->hash);
  if (*st->table_hash && *g->j.rates->table_hash && strcmp(st->table_hash, g->j.rates->table_hash) != 0)
    return dd_fail(err, DD_E_CORRUPT, "%s was trained with another table of rates", path);
  if (st->iter > g->j.s->max_iters)
    return dd_fail(err, DD_E_USAGE, "%s is of iteration %lld, beyond max_iters %lld; raise it to go on", path,
                   (long long)st->iter, (long long)g->j.s->max_iters);
  return DD_OK;
}

int dd_gpt_load(dd_gpt *g, const char *path, dd_error *err) {
  char file[4096];
  dd_checkpoint *c = NULL;
  int rc = dd_gpt_must_train(g, err);
  if (rc) return rc;
  if (g->j.saver)
    return dd_fail(err, DD_E_USAGE, "a GPT with a run directory goes on with setting resume or auto_resume; load into "
                   "one without `out`");
  rc = dd_run_find_checkpoint(path, "latest", file, sizeof file, err);
  if (!rc) rc = dd_checkpoint_open(file, &c, err);
  if (!rc) rc = fits(g, c, file, err);
  if (!rc) rc = dd_checkpoint_verify(c, err);
  if (!rc) rc = dd_job_load(&g->j, c, err);
  if (!rc) g->finished = 0;
  dd_checkpoint_close(c);
  return rc;
}
