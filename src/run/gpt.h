/* What stands behind a dd_gpt of the public interface: a job that trains, or a run that was loaded. */
#ifndef DD_RUN_GPT_H
#define DD_RUN_GPT_H
#include "run/loaded.h"
#include "run/train.h"
#include "model/infer.h"

struct dd_gpt {
  dd_job j;            /* of dd_gpt_open: only s, cb, k, threads and m */
  dd_checkpoint *c;    /* of dd_gpt_open, else NULL */
  dd_vocab own;        /* of dd_gpt_open: that of the run, or with the texts of --bpe */
  const dd_vocab *vocab;
  dd_evaluator *asked; /* of dd_gpt_open: that of the loaded model */
  dd_infer *infer;     /* one stream, NULL until it is needed */
  dd_weights infer_weights;
  double final_loss;   /* of the newest iteration */
  int finished;        /* the last loss at max_iters is known */
};

/** DD_E_USAGE for a GPT that cannot train. */
int dd_gpt_must_train(const dd_gpt *g, dd_error *err);
/** DD_E_USAGE when one of ids[n] is not in the vocabulary; what: "id", "target" ... */
int dd_gpt_check_ids(const dd_gpt *g, const int32_t *ids, int64_t n, const char *what, dd_error *err);
#endif
