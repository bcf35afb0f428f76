/* A GPT and one training step of it (nanoGPT's semantics).
 *
 *   dd_model_forward_backward   per micro-batch: packs weights if they changed, forward, loss, backward, fold
 *   dd_model_sum_ranks          when other ranks computed some of them
 *   dd_model_update             norm, clip, AdamW
 *   dd_model_losses             forward only, dropout off: evaluation
 *
 * A micro-batch goes forward and backward slice by slice (a few sequences at a time), so that activations stay near the
 * processor and take little memory. Slices end where the chunks of the weight gradients do (DD_TOKEN_CHUNK), and every
 * sum over tokens goes on where the slice before left it: the bits are those of the whole micro-batch at once.
 *
 * Memory is three arenas sized at creation; no call allocates after that. */
#ifndef DD_MODEL_MODEL_H
#define DD_MODEL_MODEL_H
#include "model/params.h"
#include "model/joint.h"
#include "ops/ops.h"
#include "core/arena.h"

/** Dropout sites of the randomness contract. */
typedef enum dd_site { DD_SITE_EMBED, DD_SITE_ATTN, DD_SITE_PROJ, DD_SITE_MLP, DD_SITES } dd_site;

/** Dropout rates of one step. */
typedef struct dd_dropout_rates {
  double site[DD_SITES];
  const double *depth; /* [L] factors of the rates inside each block, the embedding keeps its own; NULL: 1 */
} dd_dropout_rates;

typedef struct dd_model_options {
  dd_shape shape;
  int64_t B, T;         /* largest micro-batch: sequences, tokens per sequence (T <= shape.S) */
  int64_t accumulation; /* micro-batches per step */
  int64_t slice;        /* sequences that go forward and backward together, see dd_model_slice(); 0: chosen */
  int recompute;        /* keep no LayerNorm and GELU outputs for the way back, compute them again */
  int train;            /* 0: no gradients, no optimizer state */
  uint64_t seed;
  dd_ranks *ranks;      /* who share the micro-batches of a step; NULL: alone */
} dd_model_options;

/* Activations of one layer that backward needs; N = rows (tokens) of a slice. */
typedef struct dd_layer_acts {
  float *ln1, *ln1_mean, *ln1_rstd; /* [N][C], [N], [N] */
  float *qkv;                       /* [N][3C] */
  float *att_max, *att_inv;         /* [B*H*T] */
  float *att;                       /* [N][C] heads side by side */
  float *mid;                       /* [N][C] residual after attention */
  float *ln2, *ln2_mean, *ln2_rstd;
  float *fc, *act; /* [N][4C] before GELU (its slope there when training without recompute), after */
  float *out;      /* [N][C] residual after the MLP */
} dd_layer_acts;

typedef struct dd_layer_packs { /* of each weight, as B of forward (x W') and of backward (dy W) */
  dd_packed qkv, att, fc, out, qkv_back, att_back, fc_back, out_back;
} dd_layer_packs;

typedef struct dd_model {
  dd_model_options o;
  dd_layout layout;
  dd_team *team;
  dd_arena weights, acts;
  float *param, *grad, *m, *v; /* flat, layout.floats each; grad, m, v NULL without train */
  dd_params p, g;
  dd_layer_packs *packs; /* [L] */
  dd_packed head, head_back;
  int fresh;            /* a step has so few rows that products pack the weights themselves */
  int packs_valid;      /* packed weights are those of param */
  uint64_t version;     /* raised when param changes, for copies of it elsewhere (generation) */
  dd_layer_acts *layer; /* [L]; without train all share one */
  float *embed, *lnf, *lnf_mean, *lnf_rstd, *logits; /* [N][C] ... [N][V] */
  float *dsite, *dwide, *dnarrow, *dqkv, *partial;   /* backward: [N][C], [N][4C], [N][C], [N][3C] */
  float *dres;                                       /* [B*T][C] gradient of the residual stream; at the end of embed */
  double *row_loss, *norm_partial;                   /* [B*T], ... */
  float *tree[128];                                  /* sums of micro-batches that wait for their neighbours */
  dd_joint *joint;                                   /* with other ranks, or NULL */
  int64_t update;                                    /* updates done: t of AdamW's bias correction */
  double beta1_t, beta2_t;                           /* beta^update, by repeated products */
  uint64_t bytes;                                    /* all arenas */
} dd_model;

/** Sequences per slice for a model: o->slice rounded up to what the chunks of the weight gradients allow, or, if that
 * is 0, enough to keep `threads` busy; at most B. Decides speed and memory, never bits. */
int64_t dd_model_slice(const dd_model_options *o, int threads);
/** Memory a model would take, in bytes. */
uint64_t dd_model_bytes(const dd_model_options *o, const dd_kernels *k, int threads);
/** team is created here: threads, tier k. Parameters are zero until dd_model_init or a load. */
int dd_model_create(dd_model **out, const dd_model_options *o, const dd_kernels *k, int threads, dd_error *err);
void dd_model_destroy(dd_model *m);
/** Draw initial parameters, clear the optimizer. */
void dd_model_init(dd_model *m, double std);
/** Pack the weights now if they changed; the calls below do it themselves. */
void dd_model_pack(dd_model *m);
/** To be called after param was written from outside. */
void dd_model_params_changed(dd_model *m);
/** Set the number of updates done (after loading optimizer state). */
void dd_model_set_update(dd_model *m, int64_t update, double beta1, double beta2);
void dd_model_fingerprint(const dd_model *m, char hex[33]);

/** One micro-batch. idx, targets: [B][T], ids < V; T that of the options, or all of it within the rows of one slice.
 *  micro: its index in the step, all of dd_model_micros() in increasing order. step: the optimizer step, address of
 *  the masks. *loss: mean cross-entropy. */
void dd_model_forward_backward(dd_model *m, const int32_t *idx, const int32_t *targets, int64_t B, int64_t T,
                               int64_t micro, int64_t step, const dd_dropout_rates *rates, double *loss);

/** The micro-batches of a step that this rank computes: all when alone. */
dd_range dd_model_micros(const dd_model *m);
/** After the last of them: the gradient becomes the sum over the micro-batches of all ranks, the same in each; losses
 *  [accumulation] with those of the own ones filled in becomes all. Nothing to do when alone. */
int dd_model_sum_ranks(dd_model *m, double *losses, dd_error *err);

/** Instead of it, when the step ends before the last of them: exchange what is expected, to no use. */
int dd_model_abandon_ranks(dd_model *m, dd_error *err);

typedef struct dd_update {
  double lr, beta1, beta2, eps, weight_decay;
  double clip; /* largest norm, 0: none */
} dd_update;
/** Global gradient norm of the micro-batches since the last update. */
double dd_model_grad_norm(dd_model *m);
/** AdamW with the gradients scaled by min(1, clip / (norm + 1e-6)). */
void dd_model_update(dd_model *m, const dd_update *u, double norm);

/** Cross-entropy of each position without dropout: loss[B*T]. B*T at most that of the options. */
void dd_model_losses(dd_model *m, const int32_t *idx, const int32_t *targets, int64_t B, int64_t T, double *loss);
/** Forward only: logits of all positions, [B*T][V] in m->logits. B*T at most the rows of a slice (create the model with
 *  slice = B). rates: NULL for no dropout. */
void dd_model_logits(dd_model *m, const int32_t *idx, int64_t B, int64_t T, int64_t step,
                     const dd_dropout_rates *rates);

/** Multiplications and additions of one training step per token, counted as the papers do: 6 x matmul parameters +
 *  12 L T C (full square of attention). */
double dd_flops_per_token(const dd_shape *s, int64_t T);

/** threshold = min(floor(rate*65536 + 0.5), 65535). */
uint32_t dd_drop_threshold(double rate);
#endif
