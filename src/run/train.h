/* Parts of a training job that train.c (the loop) and job.c (everything around it) share. */
#ifndef DD_RUN_TRAIN_H
#define DD_RUN_TRAIN_H
#include "run/checkpoint.h"
#include "run/dataset.h"
#include "run/evaluate.h"
#include "run/events.h"
#include "run/import.h"
#include "run/rates.h"
#include "run/rundir.h"
#include "run/saver.h"
#include "core/machine.h"

typedef struct dd_job {
  dd_ranks *ranks;          /* who train together, NULL: alone */
  const dd_settings *given; /* to this call; valid while the job is opened */
  int careful;              /* over ranks: rounds are long, so requests are agreed on in each */
  dd_vocab told;            /* of rank 0, for other ranks; size 0: none */
  int asked;                /* request of this rank's user that is not agreed on yet */
  double *losses;           /* [accumulation] of a step's micro-batches */
  dd_settings *s; /* effective configuration */
  const dd_callbacks *cb;
  dd_dataset *data;
  dd_import *init;     /* weights to begin with, until they are read; NULL: none, or drawn from the seed */
  int64_t symbols;     /* V of the model, at least that of the data; 0: that of the data */
  const dd_kernels *k;
  int threads;
  char tier_why[128], threads_why[128];
  dd_rundir *dir;
  dd_metrics *metrics;
  dd_events *events; /* NULL: not asked for */
  json_t *unlogged;    /* records that metrics.jsonl did not take yet, NULL: none */
  dd_error log_failed; /* the first time it did not; code DD_OK: never */
  dd_saver *saver;
  dd_model *m;
  dd_evaluator evaluator;
  int32_t *idx, *targets; /* one micro-batch */
  dd_rates *rates;
  dd_lr lr;
  dd_run_state state;
  int64_t saved;  /* iteration last handed to the saver, or resumed from; -1: none */
  int64_t loaded; /* iteration resumed from, -1: none */
  int64_t until;  /* replay: return before the gradients of this iteration; -1: no replay */
  int in_memory;  /* no run directory: nothing is written */
  int library;    /* driven through the library, which may set by hand what else follows from the settings */
  int begun;      /* the loop has run before */
  const int32_t *given_idx, *given_targets; /* [accumulation][B][T] of the caller's for the next iteration, or NULL */
  double hand_lr, hand_rate[DD_SITES];      /* NaN: not set by hand */
  dd_step_record last; /* of the newest iteration */
  double peak;    /* FLOP/s of all threads, measured at the start */
  double started; /* dd_now() when training began */
  /* For tests: called in every iteration before its gradients are computed (loss NULL) and after, before they are
   * judged. */
  void (*meddle)(struct dd_job *j, double *loss);
  void *meddle_user;
} dd_job;

/** Settings (with --resume: those of the run, then what was given now), data, tier, threads, memory estimate; then,
 *  unless dry_run, the run directory, the model, and initial or loaded parameters. */
int dd_job_open(dd_job *j, dd_ranks *ranks, const dd_settings *given, const dd_callbacks *cb, dd_error *err);
/** The same for the library: data (NULL: what the settings say) is taken over, also on failure; without `out` in the
 *  settings nothing is written. */
int dd_job_open_library(dd_job *j, const dd_settings *given, dd_dataset *data, const dd_callbacks *cb, dd_error *err);
/** Parts of it, for ranks that are given their settings: rates, machine, data, estimate; and the model. */
int dd_job_prepare(dd_job *j, const dd_checkpoint *c, dd_error *err);
int dd_job_buffers(dd_job *j, dd_error *err);
/** For a replay: the state of checkpoint c, the settings of another of the same run and what was given now, nothing
 *  written. */
int dd_job_open_replay(dd_job *j, dd_checkpoint *c, const dd_settings *of_run, const dd_settings *given,
                       const dd_callbacks *cb, dd_error *err);
/** Waits for the save under way, closes metrics; returns the first failure of either, DD_OK when all is on disk. */
int dd_job_close(dd_job *j, dd_error *err);
/** Save the current state, beside the training. */
void dd_job_save(dd_job *j);
/** Wait for it. Iteration of the newest checkpoint that is durable, -1: none; why as of dd_saver_wait. */
int64_t dd_job_durable(dd_job *j, dd_error *why);
/** Record to metrics.jsonl (NULL: out of memory, which is the only error); the reference is taken over. What cannot be
 *  written is told once, kept, and written later. */
int dd_job_log(dd_job *j, json_t *record, dd_error *err);
/** The state at the beginning: initial parameters. */
int dd_job_begin(dd_job *j, dd_error *err);
/** With --init-from: open it, and take over the shape of its model. The file must be that of the run's beginning when
 *  the state knows its fingerprint. */
int dd_job_open_init(dd_job *j, dd_error *err);
int dd_job_init_weights(dd_job *j, dd_error *err);
/** Parameters, optimizer and state of a checkpoint. */
int dd_job_load(dd_job *j, dd_checkpoint *c, dd_error *err);
/** Back to the state of j->state.guard.anchor, on disk too; the next iterations draw other batches. */
int dd_job_rollback(dd_job *j, dd_error *err);
/** The training loop, from j->state on. */
int dd_job_run(dd_job *j, double *final_loss, dd_error *err);
/** DD_E_DIVERGED when weights or moments are not finite: that is no state to save. */
int dd_job_check_state(dd_job *j, dd_error *err);
/** Losses of both splits at iteration it, with this state of the model; nothing else changes. */
int dd_job_losses(dd_job *j, int64_t it, double *train, double *val, dd_error *err);
/** What is known of the run so far, in *r; seconds are not. */
int dd_job_result(const dd_job *j, dd_train_result *r, dd_error *err);
/** dd_train between opening and closing: the loop and the text at the end. */
int dd_job_train(dd_job *j, dd_train_result *r, dd_error *err);
/** dd_train by several ranks together, each of which calls it with the same settings. Rank 0 alone calls back (but for
 *  should_stop, which is asked in all) and writes; the others have the same result and no text. When it fails and
 *  dd_ranks_agreed is 0, the others do not know: end them with dd_ranks_abort. */
int dd_train_over(dd_ranks *ranks, const dd_settings *s, const dd_callbacks *cb, dd_train_result *out, dd_error *err);
#endif
