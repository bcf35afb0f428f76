/* Commands that read a finished or running run: sample and eval. They take no lock. */
#include "core/machine.h"
#include "run/checkpoint.h"
#include "run/dataset.h"
#include "run/evaluate.h"
#include "run/generate.h"
#include "run/loaded.h"
#include "run/rundir.h"
#include "run/tokenizer.h"
#include <string.h>

void dd_run_unload(dd_loaded *r) {
  dd_model_destroy(r->m);
  dd_vocab_free(&r->vocab);
  dd_checkpoint_close(r->c);
}

int dd_run_load(dd_loaded *r, const dd_settings *s, int64_t B, int64_t T, dd_error *err) {
  char path[4096], why[128];
  const dd_kernels *k;
  *r = (dd_loaded){0};
  if (!*s->run)
    return dd_fail(err, DD_E_USAGE, "no run named: give a run directory or a checkpoint file, for example "
                                    "`dd-cpu sample runs/shakespeare-fixed-s1337`");
  int rc = dd_run_find_checkpoint(s->run, dd_settings_choice(s, DD_SETTING_checkpoint), path, sizeof path, err);
  if (!rc) rc = dd_tier_select(s->tier, &k, why, sizeof why, err);
  if (!rc) rc = dd_self_test(k, err);
  if (!rc) rc = dd_checkpoint_open(path, &r->c, err);
  if (!rc) {
    const dd_shape *shape = dd_checkpoint_shape(r->c);
    if (!B) B = dd_settings_is_set(s, DD_SETTING_batch_size) ? s->batch_size : dd_checkpoint_settings(r->c)->batch_size;
    const dd_model_options o = {.shape = *shape, .B = B, .T = T ? T : shape->S, .accumulation = 1, .seed = s->seed};
    rc = dd_model_create(&r->m, &o, k, dd_machine_threads(s->threads, why, sizeof why), err);
  }
  if (!rc) rc = dd_vocab_copy(&r->vocab, dd_checkpoint_vocab(r->c), err);
  if (!rc && *s->bpe) rc = dd_vocab_read_as_text(&r->vocab, s->bpe, err);
  if (!rc) rc = dd_checkpoint_load(r->c, r->m, err);
  if (rc) dd_run_unload(r);
  return rc;
}

int dd_sample(const dd_settings *s, const dd_callbacks *cb, dd_sample_result *out, dd_error *err) {
  dd_loaded r;
  dd_infer *g = NULL;
  dd_generator q = {0};
  dd_sample_result res = {0};
  int rc = dd_run_load(&r, s, 1, 1, err);
  if (rc) return rc;
  const dd_infer_options o = {
      .weights = (dd_weights)s->weights,
      .streams = dd_generator_streams(&r.m->o.shape, (dd_weights)s->weights, s->num_samples, s->max_new_tokens)};
  rc = dd_infer_create(&g, r.m, &o, err);
  if (!rc) rc = dd_generator_open(&q, g, &r.vocab, s, err);
  q.titled = 1;
  if (!rc) dd_infer_pack(g); /* a part of loading, not of the time that is reported */
  const double t0 = dd_now();
  for (int64_t i = 0; i < s->num_samples && !rc; i += o.streams)
    rc = dd_generate(&q, i, dd_min64(o.streams, s->num_samples - i), s->max_new_tokens, cb, &res.tokens, err);
  res.seconds = dd_now() - t0;
  dd_generator_close(&q);
  dd_infer_destroy(g);
  dd_run_unload(&r);
  if (out) *out = res;
  return rc;
}

int dd_evaluate(const dd_settings *s, const dd_callbacks *cb, dd_eval_result *out, dd_error *err) {
  dd_loaded r;
  dd_infer *g = NULL;
  const int own = s->weights == DD_WEIGHTS_F32; /* the forward pass of training; other formats: that of generation */
  int rc = own ? dd_run_load(&r, s, 0, 0, err) : dd_run_load(&r, s, 1, 1, err);
  if (rc) return rc;
  /* Without --data: the validation split the run was trained against. */
  const int given = dd_settings_is_set(s, DD_SETTING_data);
  dd_text text = {0};
  dd_evaluator e = {0};
  double mean = 0;
  rc = dd_text_load(&text, given ? s->data : dd_checkpoint_settings(r.c)->data, given ? DD_PART_ALL : DD_PART_VAL,
                    &r.vocab, cb, err);
  if (!rc && !own)
    rc = dd_infer_create(&g, r.m, &(dd_infer_options){.weights = (dd_weights)s->weights, .streams = 1}, err);
  if (!rc) rc = g ? dd_evaluator_create_infer(&e, g, cb, err) : dd_evaluator_create(&e, r.m, cb, err);
  if (!rc) rc = dd_evaluate_all(&e, text.ids, text.n, &mean, err);
  if (!rc && out) {
    *out = (dd_eval_result){.tokens = text.n - 1, .loss = mean};
    if (text.bytes > 0) out->bits_per_byte = mean * (double)text.n / (double)text.bytes * 0x1.71547652b82fep+0;
  }
  dd_evaluator_destroy(&e);
  dd_infer_destroy(g);
  dd_text_free(&text);
  dd_run_unload(&r);
  return rc;
}
