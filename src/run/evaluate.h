/* Losses of a model over token arrays, dropout off. */
#ifndef DD_RUN_EVALUATE_H
#define DD_RUN_EVALUATE_H
#include "model/infer.h"

typedef struct dd_evaluator {
  dd_model *m; /* borrowed; NULL with a decoder */
  dd_infer *g; /* borrowed; the decoder whose arithmetic is evaluated, or NULL */
  int64_t B, T;  /* sequences at once, tokens of each */
  uint64_t seed; /* of random batches */
  const dd_callbacks *cb;
  int32_t *idx, *targets; /* [B][T] */
  double *loss;           /* [B*T] */
  double *others;         /* [ranks - 1][B*T] of other ranks, in rank 0 */
  dd_request *requests;   /* [ranks] */
  dd_ranks *ranks;        /* who share the batches, NULL: alone */
  struct dd_job *job;     /* with ranks: agrees on requests */
  int save_asked;         /* should_stop said 2 in passing: save when the evaluation is done */
} dd_evaluator;

int dd_evaluator_create(dd_evaluator *e, dd_model *m, const dd_callbacks *cb, dd_error *err);
/** The same windows with the weights and the arithmetic of a decoder, one sequence at a time. */
int dd_evaluator_create_infer(dd_evaluator *e, dd_infer *g, const dd_callbacks *cb, dd_error *err);
void dd_evaluator_destroy(dd_evaluator *e);

/** Mean loss over every one of the n-1 predictions in tok[n]: consecutive windows of T tokens, a shorter one at the
 * end. The sum runs in token order, so neither batch size nor ranks change it. DD_E_STOPPED when should_stop asked.
 */
int dd_evaluate_all(dd_evaluator *e, const uint16_t *tok, int64_t n, double *mean, dd_error *err);
/** Mean over `windows` windows of T tokens spread evenly over tok[n]: fixed training text. */
int dd_evaluate_spread(dd_evaluator *e, const uint16_t *tok, int64_t n, int64_t windows, double *mean, dd_error *err);
/** nanoGPT's estimate: `batches` random batches; Philox counter (sequence, batch, 4 << 24 | split, iter). */
int dd_evaluate_random(dd_evaluator *e, const uint16_t *tok, int64_t n, int64_t batches, uint32_t split, int64_t iter,
                       double *mean, dd_error *err);
#endif
