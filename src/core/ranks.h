/* Ranks: copies of the program, on one machine or several, that train one model together. What carries their messages
 * is a plugin (ranks_mpi.c, the only file that knows MPI, built once per MPI library), loaded when the environment says
 * that a launcher started several copies: the program itself needs no MPI and does without one.
 *
 * A NULL dd_ranks is a rank that is alone: 0 of 1. All calls are made by one thread. Messages are started and waited
 * for, never blocking inside the plugin; a wait lets other processes have the processor. Bytes travel as they are: all
 * machines have one byte order. */
#ifndef DD_CORE_RANKS_H
#define DD_CORE_RANKS_H
#include "core/error.h"

typedef struct dd_ranks dd_ranks;

/** What the environment says of the launcher. */
typedef struct dd_launch {
  int rank, size;     /* 0 of 1: alone, or DD_CPU_MPI=none */
  const char *plugin; /* "openmpi", "mpich": which MPI it seems to be; NULL when alone */
  const char *sign;   /* the variable that said so */
} dd_launch;
dd_launch dd_ranks_launch(void);

/** Join the others; *out stays NULL when alone. Once per process. DD_E_USAGE when there is no plugin for the launcher,
 *  or the ranks are not copies of one program. */
int dd_ranks_open(dd_ranks **out, dd_error *err);
/** Leave together: returns when all ranks do. Accepts NULL. */
void dd_ranks_close(dd_ranks *r);
/** End all ranks now, with this exit code. Does not return unless r is NULL. */
void dd_ranks_abort(dd_ranks *r, int code);

int dd_ranks_rank(const dd_ranks *r);
int dd_ranks_size(const dd_ranks *r);
/** Ranks of this machine, this one included; and how many of them may use one of its processors. */
int dd_ranks_local(const dd_ranks *r);
int dd_ranks_sharing(const dd_ranks *r);
/** Is this rank on the machine of the caller's? */
int dd_ranks_same_host(const dd_ranks *r, int rank);
/** Different machines. */
int dd_ranks_hosts(const dd_ranks *r);
/** Processors that the ranks of this machine may use together. */
int dd_ranks_local_cpus(const dd_ranks *r);
/** "Open MPI v4.1.4" */
const char *dd_ranks_library(const dd_ranks *r);
/** "rank 2 on node7"; valid as long as r. */
const char *dd_ranks_name(const dd_ranks *r, int rank);
/** Of the threads of this machine's ranks together: more than processors make waiting give way at once. */
void dd_ranks_crowded(dd_ranks *r, int crowded);
/** Is this the rank to tell of a failure that the others do not know? One on each machine that noticed. */
int dd_ranks_speaks(const dd_ranks *r);

/* ---- messages: started here, done when a wait or test says so; buffers stay untouched until then ---- */
typedef struct dd_request {
  uint64_t handle; /* the plugin's */
  int peer;        /* -1: all */
  int active;
} dd_request;

int dd_ranks_send(dd_ranks *r, const void *data, size_t bytes, int to, int tag, dd_request *q, dd_error *err);
/** Messages of one sender and tag arrive in the order in which they were sent. */
int dd_ranks_receive(dd_ranks *r, void *data, size_t bytes, int from, int tag, dd_request *q, dd_error *err);
/** Every rank's part of data to all: part i is counts[i] 4-byte words at offset[i] words. */
int dd_ranks_gather(dd_ranks *r, void *data, const int *counts, const int *offsets, dd_request *q, dd_error *err);
/** *done: all n requests are. */
int dd_ranks_test(dd_ranks *r, dd_request *q, int n, int *done, dd_error *err);
/** DD_E_RUNTIME when a message failed or a rank of this machine died meanwhile. */
int dd_ranks_wait(dd_ranks *r, dd_request *q, int n, dd_error *err);

/* ---- the same, until it is done ---- */
int dd_ranks_broadcast(dd_ranks *r, void *data, size_t bytes, int from, dd_error *err);
/** all: [size] elements of `bytes` (a multiple of 4) each, the own one filled in. */
int dd_ranks_exchange(dd_ranks *r, void *all, size_t bytes, dd_error *err);

/** Every rank says how it fares: rc (with *err) is its own status, *ask what its user asks for (1 stop, 2 save, else
 *  0), at: where it is, the same in all. Afterwards all have the status and the sentence of the first rank that failed,
 *  and *ask (may be NULL) is the most urgent wish. Once a failure was agreed on, further calls return it at once.
 *  Returns rc when alone. */
int dd_ranks_agree(dd_ranks *r, int rc, int *ask, int64_t at, dd_error *err);
/** Have all ranks heard of the failure that ends them? */
int dd_ranks_agreed(const dd_ranks *r);
#endif
