/* How the gradients of a step's micro-batches become one sum.
 *
 * The sum is a fixed binary tree over the micro-batches 0 .. G-1: a node of level k is the sum of an aligned group of
 * 2^k of them (of what there is of it, at the end), its left child plus its right child. Each rank computes the
 * micro-batches of one range; the nodes that lie in its range, but whose parent does not, are its *parts*. For the rest
 * of the tree every rank owns a piece of each bucket of parameters: it receives that piece of all parts, adds them as
 * the tree says, and gives the sum to all. So no order depends on the number of ranks or on who is fast, each gradient
 * travels about twice, and a bucket's way begins when its layers' backward pass is done, while the next layers compute.
 *
 * Any number of ranks up to G will do; with ranges that are aligned groups (G and ranks powers of two) each rank has
 * one part. */
#ifndef DD_MODEL_JOINT_H
#define DD_MODEL_JOINT_H
#include "core/ranks.h"
#include "model/params.h"

/** Micro-batches of a rank: [first, end). Ranges differ in length by at most one, longer ones first. */
typedef struct dd_range {
  int64_t first, end;
} dd_range;
dd_range dd_joint_range(int64_t micros, int ranks, int rank);

/** What to do after micro-batch i of a range, whose gradient is at hand: join it with that many sums that wait, the
 *  newest first, each being the left operand. *part (may be NULL): the result is a part; else it waits, too. */
typedef struct dd_joint_part {
  int64_t first; /* of its micro-batches */
  int level;
  int owner; /* rank */
} dd_joint_part;
int dd_joint_joins(int64_t micros, dd_range range, int64_t i, dd_joint_part *part, int *is_part);
/** Sums that wait when micro-batch i of a range begins, parts included; and the most there are at any time. */
int dd_joint_waiting(dd_range range, int64_t i);
int dd_joint_depth(dd_range range);

typedef struct dd_piece { /* of a flat array, in floats */
  int64_t at, n;
} dd_piece;

typedef struct dd_joint {
  dd_ranks *ranks;
  int rank, size;
  int64_t micros;
  dd_range own;
  int parts; /* of all ranks, in the order of their micro-batches */
  dd_joint_part *part;
  int (*pair)[2]; /* [parts - 1] part[a] += part[b], in this order */
  int buckets;    /* a bucket is ready when the layer it begins with is; bucket 0 holds the embeddings, last of all */
  int64_t *begin; /* [buckets + 1] in floats */
  int64_t *layer; /* [buckets] */
  float **box;    /* [parts] what arrives of other ranks' parts, dd_joint_box floats each; set by the owner of share */
  const float **data;         /* [parts] where the own ones are */
  char *sent;                 /* [buckets][parts] in this step */
  dd_request *in, *out, *all; /* [buckets][parts], [buckets][parts][size], [buckets + 1] */
  int *counts, *offsets;      /* [buckets + 1][size] of gathers */
  int begun, rc;
  dd_error err; /* of rc: what went wrong inside a team */
} dd_joint;

/** DD_E_USAGE when there are more ranks than micro-batches. */
int dd_joint_create(dd_joint **out, dd_ranks *ranks, int64_t micros, const dd_layout *layout, dd_error *err);
void dd_joint_destroy(dd_joint *s); /* accepts NULL */
/** Floats that a box holds. */
int64_t dd_joint_box(const dd_joint *s);
/** The own piece of a bucket, and where part k's is. */
dd_piece dd_joint_piece(const dd_joint *s, int bucket, int rank);
float *dd_joint_part_data(const dd_joint *s, int k, int bucket);
/** The bucket that begins with this layer, or -1. */
int dd_joint_bucket_of(const dd_joint *s, int64_t layer);

/** Before the first micro-batch of a step. */
void dd_joint_begin(dd_joint *s);
/** Part that begins with this micro-batch is final in flat, of one bucket, or (-1) of all. */
void dd_joint_send(dd_joint *s, int64_t first, const float *flat, int bucket);
/** Let messages get on; from the thread that made the share. */
void dd_joint_poll(dd_joint *s);
/** Wait for the own piece of all parts of a bucket, and until nobody reads the own parts any more. */
int dd_joint_arrived(dd_joint *s, int bucket, dd_error *err);
/** The own piece of the bucket in flat is the sum: to all. */
int dd_joint_publish(dd_joint *s, int bucket, float *flat, dd_error *err);
/** losses: [micros], those of the own range filled in; all are when dd_joint_finish returns. */
int dd_joint_losses(dd_joint *s, double *losses, dd_error *err);
/** When a step ends early, in all ranks: send the parts that are not made yet, whatever is in flat, so that nothing
 * stays expected. */
int dd_joint_abandon(dd_joint *s, const float *flat, dd_error *err);
int dd_joint_finish(dd_joint *s, dd_error *err);
#endif
