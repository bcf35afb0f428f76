/* Checkpoints: one safetensors file with the weights under nanoGPT's names, AdamW's moments as optim.m/NAME and
 * optim.v/NAME, and the state of the run in its metadata. Any tool that reads safetensors can read the weights. */
#ifndef DD_RUN_CHECKPOINT_H
#define DD_RUN_CHECKPOINT_H
#include "model/model.h"
#include "run/guard.h"
#include "run/rates.h"
#include "run/vocab.h"

enum { DD_HAND_LR = 1, DD_HAND_DROPOUT = 2, DD_HAND_BATCHES = 4, DD_HAND_WEIGHTS = 8, DD_HAND_ALL = 15 };
/** In words: "learning rate", "batches" ...; of several the first. */
const char *dd_by_hand_name(int64_t by_hand);

/** What continues a run besides tensors and settings. State before update `iter`. */
typedef struct dd_run_state {
  int64_t iter;
  int64_t evaluated;   /* last iteration that was evaluated, -1: none */
  double train_loss, val_loss; /* of that evaluation */
  double best_val_loss;
  int64_t best_iter;
  dd_rates_state schedule;
  dd_guard_state guard;
  double elapsed_s;
  char data_hash[33];
  char table_hash[33]; /* of the file of schedule `table`, "" without */
  int64_t by_hand;     /* DD_HAND_x: what a program set that otherwise follows from the settings */
  char init_hash[33];  /* fingerprint of the parameters that --init-from began with, "" without */
  char run_id[33];     /* drawn when the run began: tells its files from those of another; "" in old files */
} dd_run_state;

/** Name of the first entry in which two states differ, to the bit, NULL when they are equal; times are not compared. */
const char *dd_run_state_difference(const dd_run_state *a, const dd_run_state *b);

/** Bytes on disk of a checkpoint of this model, nearly. */
uint64_t dd_checkpoint_bytes(const dd_model *m);
/** The arrays of a model that a checkpoint holds, or copies of them; borrowed. m and v NULL: no optimizer state. */
typedef struct dd_weights_view {
  const dd_layout *layout;
  const float *param, *m, *v; /* [layout->floats] */
} dd_weights_view;
/** Written atomically and durably (dd_st_write). Reads nothing that training changes but the arrays. */
int dd_checkpoint_write(const char *path, const dd_weights_view *w, const dd_run_state *st, const dd_settings *s,
                        const dd_vocab *vocab, dd_error *err);

/** A checkpoint opened: shape, vocabulary, settings and state are known, tensors still in the file. */
typedef struct dd_checkpoint dd_checkpoint;
int dd_checkpoint_open(const char *path, dd_checkpoint **out, dd_error *err);
void dd_checkpoint_close(dd_checkpoint *c); /* accepts NULL */
/** Read and check everything, so that a damaged file is known before anything is loaded from it: which tensors there
 *  are, their shapes and hashes, the fingerprint of the parameters, and that no number is NaN or infinite. Needs memory
 *  for the largest tensor. */
int dd_checkpoint_verify(dd_checkpoint *c, dd_error *err);
/** XXH3-128 of the parameters, as the file says. */
const char *dd_checkpoint_fingerprint(const dd_checkpoint *c);
/** Compare parameters and, where both have them, moments with those of m, bit by bit. name: the first tensor that
 *  differs, "" when none does. */
int dd_checkpoint_compare(dd_checkpoint *c, const dd_model *m, char name[96], dd_error *err);
const dd_shape *dd_checkpoint_shape(const dd_checkpoint *c);
const dd_vocab *dd_checkpoint_vocab(const dd_checkpoint *c);
const dd_settings *dd_checkpoint_settings(const dd_checkpoint *c);
const dd_run_state *dd_checkpoint_state(const dd_checkpoint *c);
/** 1 when the file holds AdamW's moments too. */
int dd_checkpoint_has_moments(const dd_checkpoint *c);
/** Read parameters and, unless NULL, both moments into arrays of layout l, which must be that of the checkpoint's
 *  shape; hashes and the fingerprint of the parameters are verified. */
int dd_checkpoint_read(dd_checkpoint *c, const dd_layout *l, float *param, float *m, float *v, dd_error *err);
/** Read parameters, and with m->o.train also the optimizer, into m, which must have the checkpoint's shape; every
 *  tensor's hash is verified, and so is the fingerprint of the parameters. */
int dd_checkpoint_load(dd_checkpoint *c, dd_model *m, dd_error *err);
#endif
