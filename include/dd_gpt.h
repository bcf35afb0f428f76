/** @file dd_gpt.h
 *  part of dd_cpu.h, which is what to include: a GPT in memory that a program trains, evaluates and asks.
 *
 * The same engine as dd_train, step by step: a run that is driven through these functions ends with the fingerprint
 * that `dd-cpu train` gives for the same settings, and either continues what the other saved. */
#ifndef DD_GPT_H
#define DD_GPT_H
#ifndef DD_CPU_H
#include "dd_cpu.h"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/** A GPT with its optimizer, data and state of training (dd_gpt_create), or one to be asked only (dd_gpt_open). */
typedef struct dd_gpt dd_gpt;

/** What a GPT is. */
typedef struct dd_gpt_info {
  int64_t n_layer;       /**< transformer blocks */
  int64_t n_head;        /**< heads per block */
  int64_t n_embd;        /**< channels */
  int64_t block_size;    /**< longest context, tokens */
  int64_t vocab_size;    /**< ids are 0 .. vocab_size-1 */
  int64_t batch_size;    /**< sequences of a micro-batch */
  int64_t accumulation;  /**< micro-batches of an iteration */
  int64_t parameters;    /**< elements of all tensors */
  int64_t tensors;       /**< see dd_gpt_tensor_at */
  int64_t train_tokens;  /**< of the training split; 0 without data */
  int64_t val_tokens;    /**< of the validation split; 0 without data */
  int64_t iter;          /**< iterations done */
  int64_t max_iters;     /**< iterations of the whole run, T of the schedules */
  int64_t threads;       /**< that compute */
  int64_t bytes;         /**< memory of weights, optimizer and activations */
  int32_t bias;          /**< 1: linear layers and layer norms have biases */
  int32_t trains;        /**< 1: from dd_gpt_create, 0: from dd_gpt_open */
  char tier[16];         /**< instruction set: "avx2" ... */
  int64_t reserved[8];   /**< 0 */
} dd_gpt_info;

/** Where a tensor lies in memory: row-major float32, no gaps. */
typedef struct dd_tensor_view {
  float *data;         /**< of the GPT; valid until it is closed, and not moved by training */
  int64_t size;        /**< elements */
  int64_t dimensions;  /**< 1 or 2 */
  int64_t shape[2];    /**< rows and columns; shape[1] is 1 for vectors */
  char name[64];       /**< as in checkpoints: "transformer.h.0.attn.c_attn.weight" */
  int64_t reserved[4]; /**< 0 */
} dd_tensor_view;

/** A GPT to train with these settings, its weights drawn from the seed.
 *  When the setting `out` is empty, nothing is written but by dd_gpt_save. Else `out` becomes a run directory as with
 *  dd_train (metrics, checkpoints; `resume`, `auto_resume` and `overwrite` mean what they mean there), locked until
 *  dd_gpt_close; `on_nan` rollback needs one. Nothing is trained yet.
 *  @param out the object, NULL on failure
 *  @param s copied; `schedule` may be "callback:NAME"
 *  @param cb borrowed until dd_gpt_close; NULL: none
 *  @param err why it failed; may be NULL
 *  @return DD_OK or a dd_status: DD_E_USAGE, DD_E_RUNTIME (memory), DD_E_IO, DD_E_LOCKED, DD_E_CORRUPT */
DD_API int dd_gpt_create(dd_gpt **out, const dd_settings *s, const dd_callbacks *cb, dd_error *err);
/** The same with tokens of the caller's own in place of the setting `data`.
 *  `data` is only kept with the run: name a directory there that holds the same tokens as train.bin and val.bin, and
 *  `dd-cpu train --resume` finds them.
 *  @param out the object, NULL on failure
 *  @param s copied
 *  @param train training tokens, copied
 *  @param n_train their number, above `block_size`
 *  @param val validation tokens, copied
 *  @param n_val their number, at least 2
 *  @param vocab_size 1 to 65,535; every token is below it
 *  @param cb borrowed until dd_gpt_close; NULL: none
 *  @param err why it failed; may be NULL
 *  @return as dd_gpt_create */
DD_API int dd_gpt_create_from_tokens(dd_gpt **out, const dd_settings *s, const uint16_t *train, int64_t n_train,
                                     const uint16_t *val, int64_t n_val, int64_t vocab_size, const dd_callbacks *cb,
                                     dd_error *err);
/** A GPT from run directory or checkpoint `s.run` (`s.checkpoint`: best or latest) to evaluate and to sample: no data,
 *  no optimizer, no lock. What trains is DD_E_USAGE here.
 *  @param out the object, NULL on failure
 *  @param s copied; `batch_size`, `threads`, `tier` and those of sampling matter
 *  @param cb borrowed until dd_gpt_close; NULL: none
 *  @param err why it failed; may be NULL
 *  @return DD_OK, DD_E_IO, DD_E_CORRUPT, DD_E_USAGE or DD_E_RUNTIME */
DD_API int dd_gpt_open(dd_gpt **out, const dd_settings *s, const dd_callbacks *cb, dd_error *err);
/** Wait for a checkpoint under way and free everything.
 *  @param g NULL is accepted; gone in any case
 *  @param err why it failed; may be NULL
 *  @return DD_OK, or DD_E_IO when something of the run directory could not be written */
DD_API int dd_gpt_close(dd_gpt *g, dd_error *err);

/** What it is and how far it is.
 *  @param g a GPT
 *  @param out filled in */
DD_API void dd_gpt_describe(const dd_gpt *g, dd_gpt_info *out);
/** The value of a setting in effect, as dd_settings_get.
 *  @param g a GPT
 *  @param key a setting
 *  @param buf its value, NUL-terminated
 *  @param size bytes of buf
 *  @param err why it failed; may be NULL
 *  @return DD_OK or DD_E_USAGE */
DD_API int dd_gpt_setting(const dd_gpt *g, const char *key, char *buf, size_t size, dd_error *err);

/* ---- training ---- */

/** The next iterations: evaluations where they are due, batches, schedules, update, as in dd_train. An evaluation due
 *  at the iteration where it stops is made; at max_iters comes the last loss, and further calls do nothing.
 *  should_stop == 1 gives DD_E_STOPPED before an update; the next call goes on as if nothing had been.
 *  @param g from dd_gpt_create
 *  @param iterations how many; less than 0: all that are left
 *  @param out where the run is then, also on failure; seconds are those of this call; may be NULL, which spares the
 *    fingerprint (all weights are read for it)
 *  @param err why it failed; may be NULL
 *  @return DD_OK, DD_E_DIVERGED, DD_E_STOPPED, DD_E_USAGE, DD_E_RUNTIME or DD_E_IO */
DD_API int dd_gpt_train(dd_gpt *g, int64_t iterations, dd_train_result *out, dd_error *err);
/** One iteration on a batch of the caller's, with everything else as in dd_gpt_train. The run then no longer follows
 *  from its settings: dd-cpu refuses to resume it, the library goes on with it.
 *  @param g from dd_gpt_create, below max_iters
 *  @param ids [accumulation][batch_size][block_size], each below vocab_size
 *  @param targets the same shape: the token that follows each
 *  @param out loss, rates and norm of this iteration; may be NULL
 *  @param err why it failed; may be NULL
 *  @return as dd_gpt_train */
DD_API int dd_gpt_step(dd_gpt *g, const int32_t *ids, const int32_t *targets, dd_step_record *out, dd_error *err);
/** Use this learning rate from the next iteration on, in place of the settings'. Such a run is marked as in
 *  dd_gpt_step.
 *  @param g from dd_gpt_create
 *  @param lr at least 0; NaN: that of the settings again
 *  @param err why it failed; may be NULL
 *  @return DD_OK or DD_E_USAGE */
DD_API int dd_gpt_set_lr(dd_gpt *g, double lr, dd_error *err);
/** Use this dropout rate from the next iteration on, in place of the schedule's. Such a run is marked as in
 *  dd_gpt_step; a function that is asked (dd_callbacks.rate) can be repeated instead.
 *  @param g from dd_gpt_create
 *  @param site "embed", "attn", "proj" or "mlp"; NULL: all four
 *  @param rate 0 to below 1; NaN: that of the schedule again
 *  @param err why it failed; may be NULL
 *  @return DD_OK or DD_E_USAGE */
DD_API int dd_gpt_set_dropout(dd_gpt *g, const char *site, double rate, dd_error *err);
/** Losses of both splits now, dropout off, by the rules of the settings (`eval_iters`). Nothing of the training moves:
 *  no schedule is told, `best` stays.
 *  @param g from dd_gpt_create
 *  @param out the losses, the best of the run so far, fingerprint, seconds
 *  @param err why it failed; may be NULL
 *  @return DD_OK, DD_E_STOPPED, DD_E_USAGE or DD_E_RUNTIME */
DD_API int dd_gpt_evaluate(dd_gpt *g, dd_eval_record *out, dd_error *err);

/* ---- forward ---- */

/** Mean loss over the n-1 predictions in a text, in windows of block_size tokens, dropout off.
 *  @param g a GPT
 *  @param ids tokens
 *  @param n their number, at least 2
 *  @param mean nats per token
 *  @param err why it failed; may be NULL
 *  @return DD_OK, DD_E_STOPPED, DD_E_USAGE or DD_E_RUNTIME */
DD_API int dd_gpt_evaluate_tokens(dd_gpt *g, const uint16_t *ids, int64_t n, double *mean, dd_error *err);
/** Loss of every position, dropout off.
 *  @param g a GPT
 *  @param ids [sequences][tokens]
 *  @param targets [sequences][tokens]
 *  @param sequences at least 1, any number
 *  @param tokens 1 to block_size
 *  @param loss [sequences][tokens], nats
 *  @param err why it failed; may be NULL
 *  @return DD_OK or DD_E_USAGE */
DD_API int dd_gpt_loss(dd_gpt *g, const int32_t *ids, const int32_t *targets, int64_t sequences, int64_t tokens,
                       double *loss, dd_error *err);
/** Logits of every position, dropout off.
 *  @param g a GPT
 *  @param ids [sequences][tokens]
 *  @param sequences at least 1, any number
 *  @param tokens 1 to block_size
 *  @param logits [sequences][tokens][vocab_size]
 *  @param err why it failed; may be NULL
 *  @return DD_OK or DD_E_USAGE */
DD_API int dd_gpt_logits(dd_gpt *g, const int32_t *ids, int64_t sequences, int64_t tokens, float *logits,
                         dd_error *err);
/** New tokens after a prompt: those of dd_sample with the same settings and prompt, sample 0.
 *  @param g a GPT
 *  @param how `temperature`, `top_k`, `seed`, `overflow` and `weights`; NULL: the GPT's own
 *  @param prompt tokens; of more than block_size the last
 *  @param n_prompt their number, at least 1
 *  @param ids [n], the new tokens
 *  @param n how many, at least 1
 *  @param err why it failed; may be NULL
 *  @return DD_OK, DD_E_STOPPED, DD_E_USAGE or DD_E_RUNTIME */
DD_API int dd_gpt_generate(dd_gpt *g, const dd_settings *how, const int32_t *prompt, int64_t n_prompt, int32_t *ids,
                           int64_t n, dd_error *err);
/** Text to ids.
 *  @param g a GPT
 *  @param text UTF-8, need not end in NUL
 *  @param bytes of text
 *  @param ids [room], filled as far as there is room; may be NULL when room is 0
 *  @param room of ids
 *  @param n tokens of the text, also when there is less room
 *  @param err why it failed; may be NULL
 *  @return DD_OK, DD_E_USAGE (a character that the vocabulary does not have, or no text at all: bare numbers) */
DD_API int dd_gpt_encode(const dd_gpt *g, const char *text, size_t bytes, int32_t *ids, int64_t room, int64_t *n,
                         dd_error *err);
/** Ids to text; bare numbers give "12 7 ".
 *  @param g a GPT
 *  @param ids tokens
 *  @param n their number
 *  @param text [room], NUL-terminated where room is at least 1, cut when it does not fit
 *  @param room bytes of text
 *  @param bytes of the whole text without its NUL
 *  @param err why it failed; may be NULL
 *  @return DD_OK or DD_E_USAGE */
DD_API int dd_gpt_decode(const dd_gpt *g, const int32_t *ids, int64_t n, char *text, size_t room, size_t *bytes,
                         dd_error *err);

/* ---- weights ---- */

/** A tensor by number, in the order of the fingerprint.
 *  @param g a GPT
 *  @param i 0 to tensors-1
 *  @param out where it is
 *  @param err why it failed; may be NULL
 *  @return DD_OK or DD_E_USAGE */
DD_API int dd_gpt_tensor_at(dd_gpt *g, int64_t i, dd_tensor_view *out, dd_error *err);
/** A tensor by name: parameters, and with "optim.m/" or "optim.v/" before it AdamW's moments of dd_gpt_create.
 *  @param g a GPT
 *  @param name as in checkpoints
 *  @param out where it is
 *  @param err why it failed; may be NULL
 *  @return DD_OK or DD_E_USAGE */
DD_API int dd_gpt_tensor(dd_gpt *g, const char *name, dd_tensor_view *out, dd_error *err);
/** To be called after a parameter or moment was written, before anything else is asked: copies in other layouts are
 *  made again. A run that trains is marked as in dd_gpt_step.
 *  @param g a GPT
 *  @param err why it failed; may be NULL
 *  @return DD_OK, or DD_E_DIVERGED when something that is not finite was written */
DD_API int dd_gpt_changed(dd_gpt *g, dd_error *err);
/** XXH3-128 of all parameters.
 *  @param g a GPT
 *  @param out 32 hexadecimal digits and a NUL
 *  @param err why it failed; may be NULL
 *  @return DD_OK or DD_E_RUNTIME */
DD_API int dd_gpt_fingerprint(const dd_gpt *g, char out[33], dd_error *err);

/* ---- checkpoints ---- */

/** Save weights, optimizer and the state of the training; durable when it returns. A checkpoint of iteration 250 that
 *  is named DIR/ckpt-0000250.safetensors is continued by `dd-cpu train --resume --out DIR`.
 *  @param g from dd_gpt_create
 *  @param path a file, replaced atomically; NULL: the run directory
 *  @param err why it failed; may be NULL
 *  @return DD_OK, DD_E_IO, DD_E_USAGE (no path and no run directory), DD_E_DIVERGED (something is not finite) */
DD_API int dd_gpt_save(dd_gpt *g, const char *path, dd_error *err);
/** Go on from a checkpoint: weights, optimizer, state. The settings stay those of the GPT; shape and data must be those
 *  of the checkpoint. On failure nothing has changed, unless the file could be read at first and not a second time.
 *  @param g from dd_gpt_create, without a run directory (there the setting `resume` does this)
 *  @param path a checkpoint, or a run directory: its latest
 *  @param err why it failed; may be NULL
 *  @return DD_OK, DD_E_CORRUPT (damaged, or of another shape or text), DD_E_IO, DD_E_USAGE, DD_E_RUNTIME */
DD_API int dd_gpt_load(dd_gpt *g, const char *path, dd_error *err);

#ifdef __cplusplus
}
#endif
#endif
