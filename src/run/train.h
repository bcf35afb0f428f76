/* Parts of a training job that train.c (the loop) and job.c (everything around it) share. */
#ifndef DD_RUN_TRAIN_H
#define DD_RUN_TRAIN_H
#include "run/checkpoint.h"
#include "run/dataset.h"
#include "run/evaluate.h"
#include "run/rates.h"
#include "run/rundir.h"
#include "core/machine.h"

typedef struct dd_job {
  dd_settings *s; /* effective configuration */
  const dd_callbacks *cb;
  dd_dataset *data;
  const dd_kernels *k;
  int threads;
  char tier_why[128], threads_why[128];
  dd_rundir *dir;
  dd_metrics *metrics;
  dd_model *m;
  dd_evaluator evaluator;
  int32_t *idx, *targets; /* one micro-batch */
  dd_rates *rates;
  dd_lr lr;
  dd_run_state state;
  int64_t saved;  /* iteration of the newest checkpoint of this run, -1: none */
  double peak;    /* FLOP/s of all threads, measured at the start */
  double started; /* dd_now() when training began */
  /* For tests: called in every iteration before its gradients are computed (loss NULL) and after, before they are
   * judged. */
  void (*meddle)(struct dd_job *j, double *loss);
  void *meddle_user;
} dd_job;

/** Settings (with --resume: those of the run, then what was given now), data, tier, threads, memory estimate; then,
 *  unless dry_run, the run directory, the model, and initial or loaded parameters. */
int dd_job_open(dd_job *j, const dd_settings *given, const dd_callbacks *cb, dd_error *err);
/** Closes metrics too; that error, if any, is returned. */
int dd_job_close(dd_job *j, dd_error *err);
/** Write a checkpoint of the current state and publish it. */
int dd_job_save(dd_job *j, dd_error *err);
/** The state at the beginning: initial parameters. */
void dd_job_begin(dd_job *j);
/** Parameters, optimizer and state of a checkpoint. */
int dd_job_load(dd_job *j, dd_checkpoint *c, dd_error *err);
/** Back to the state of j->state.guard.anchor, on disk too; the next iterations draw other batches. */
int dd_job_rollback(dd_job *j, dd_error *err);
/** dd_train between opening and closing: the loop and the text at the end. */
int dd_job_train(dd_job *j, dd_train_result *r, dd_error *err);
#endif
