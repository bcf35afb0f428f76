/* Threads. The only file that knows OpenMP is parallel.c.
 *
 * A team's threads live as long as the team. It is entered once per micro-batch: every thread, the caller being number
 * 0, then runs the same function (SPMD) and shares work by loops that own whole outputs, so results never depend on the
 * number of threads or on who did what. */
#ifndef DD_CORE_PARALLEL_H
#define DD_CORE_PARALLEL_H
#include "core/error.h"
#include "core/ints.h"
#include "simd.h"

typedef struct dd_team dd_team;

/** Which pass of a training step a phase belongs to. */
typedef enum dd_way { DD_NEITHER, DD_FORWARD, DD_BACKWARD } dd_way;
/** What a thread can be doing, for measurements of a training step: X(id, name, way). */
#define DD_PHASES(X)                                                                                                   \
  X(OTHER, "other", DD_NEITHER)                                                                                        \
  X(WAIT, "waiting", DD_NEITHER)                                                                                       \
  X(PACK, "weight packing", DD_FORWARD)                                                                                \
  X(EMBED, "embedding", DD_FORWARD)                                                                                    \
  X(NORM, "layernorm", DD_FORWARD)                                                                                     \
  X(MATMUL, "matmul y = x W'", DD_FORWARD)                                                                             \
  X(ATTENTION, "attention", DD_FORWARD)                                                                                \
  X(LOSS, "loss", DD_FORWARD)                                                                                          \
  X(NORM_BACK, "layernorm backward", DD_BACKWARD)                                                                      \
  X(MATMUL_BACK, "matmul dx = dy W", DD_BACKWARD)                                                                      \
  X(DWEIGHT, "matmul dW = dy' x", DD_BACKWARD)                                                                         \
  X(BIAS_BACK, "bias backward", DD_BACKWARD)                                                                           \
  X(ATTENTION_BACK, "attention backward", DD_BACKWARD)                                                                 \
  X(EMBED_BACK, "embedding backward", DD_BACKWARD)                                                                     \
  X(FOLD, "gradient sum and norm", DD_NEITHER)                                                                         \
  X(UPDATE, "optimizer", DD_NEITHER)
typedef enum dd_phase {
#define DD_PHASE_ID(id, name, way) DD_PHASE_##id,
  DD_PHASES(DD_PHASE_ID)
#undef DD_PHASE_ID
      DD_PHASE_COUNT
} dd_phase;
const char *dd_phase_name(dd_phase p);
dd_way dd_phase_way(dd_phase p);

/** One thread's view of the team it runs in. */
typedef struct dd_ctx {
  dd_team *team;
  const dd_kernels *k;
  int tid, nthreads;
  int64_t l2;     /* bytes of second cache that one core has, 0: not known; may decide what is cut how, never a bit */
  unsigned loop;  /* number of the last loop begun: the same in all threads */
  int passed;     /* shares of it in which nothing was left, from the own one on */
  float *scratch; /* this thread's own, 64-byte aligned, dd_team_scratch() bytes; undefined content */
  double *clock;  /* seconds per phase of this thread, NULL when nobody measures */
  dd_phase phase; /* what the time since `since` belongs to */
  double since;
} dd_ctx;

/** threads >= 1, the caller's included; where the system allows fewer, there are fewer. scratch_bytes per thread. */
int dd_team_create(dd_team **out, int threads, size_t scratch_bytes, const dd_kernels *k, dd_error *err);
void dd_team_destroy(dd_team *t);
int dd_team_threads(const dd_team *t);
const dd_kernels *dd_team_kernels(const dd_team *t);
/** Act as if a core had so many bytes of second cache; by default what the machine has. */
void dd_team_set_l2(dd_team *t, int64_t bytes);
/** Barriers passed since the team was created; wraps around. */
unsigned dd_team_barriers(const dd_team *t);
/** Run fn on all threads and wait for them; the floating-point environment is the default one inside. */
void dd_team_run(dd_team *t, void (*fn)(dd_ctx *c, void *arg), void *arg);

/** Begin (from zero) or end measuring how long threads spend in each phase; not while the team runs. Returns 0, or 1
 *  when there is no memory for it. Costs a clock reading per operation. */
int dd_team_timing(dd_team *t, int on);
/** Seconds all threads together spent in a phase since measuring began. Waiting at barriers is its own phase. */
double dd_team_phase_seconds(const dd_team *t, dd_phase p);
/** From here on this thread's time belongs to p. */
void dd_enter(dd_ctx *c, dd_phase p);

/** Between runs: let waiting threads spin longer before they sleep (eager), or as usual. For runs whose phases between
 *  barriers take microseconds. Without effect where threads outnumber processors. */
void dd_team_eager(dd_team *t, int eager);

/** Processors of all OpenMP places (OMP_PROC_BIND, OMP_PLACES), set in the bitmap of `size` bytes; 0 when OpenMP binds
 *  nothing. With binding, the library pins the first thread at start-up, so that its own mask says one processor. */
int dd_openmp_places(void *bitmap, size_t size);
/** From now on the affinity mask of this process decides and OpenMP's places do not: for a child process that was given
 *  processors of its own. Before the first team. */
void dd_openmp_ignore_places(void);

/** Wait for all threads; everything written before is visible after. */
void dd_barrier(dd_ctx *c);

/** Dynamic loop of n < 2^32 tasks, without a barrier at its end: `unsigned l = dd_loop(c);
 *  for (int64_t i; (i = dd_next(c, l, n)) < n;)`. Each thread (of more than 32, a few neighbours together) begins with
 *  its own share, the same part of n in every loop, so that what it wrote in one loop is still in its caches, and on
 *  its node, in the next; who has finished helps the others. Every thread must begin the same loops in the same order,
 *  one after the other, and must not leave one before its end. */
unsigned dd_loop(dd_ctx *c);
int64_t dd_next(dd_ctx *c, unsigned loop, int64_t n);
#define DD_FOR(c, i, n)                                                                                                \
  for (int64_t loop_##i = dd_loop(c), n_##i = (n), i; (i = dd_next(c, (unsigned)loop_##i, n_##i)) < n_##i;)

#endif
