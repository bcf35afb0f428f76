/* Child processes that train: a crash, an out-of-memory kill or a divergence costs one run and not the others.
 * Parent and child share one page-aligned slot; the child writes how far it is, the parent asks it to stop.
 * Forks: the caller's process must have no other threads that hold locks (a fresh program has none). */
#ifndef DD_STUDY_WORKER_H
#define DD_STUDY_WORKER_H
#include "core/error.h"
#include <sched.h>
#include <stdatomic.h>
#include <sys/types.h>

enum { DD_SLOT_WARNINGS = 8 };

typedef struct dd_slot {
  _Atomic int stop, save;          /* parent: save and stop, save and go on */
  _Atomic int64_t iter, max_iters; /* child: progress of its training */
  _Atomic double loss, val_loss, best_val_loss, dropout, eta_s, ms_per_iter;
  _Atomic int64_t best_iter;
  _Atomic double figure[4]; /* child: results of measurements */
  _Atomic int warnings; /* child: how many there are; the texts of the first DD_SLOT_WARNINGS are kept */
  char warning[DD_SLOT_WARNINGS][400];
  int rc;                   /* child, read after its end */
  dd_error error;
  double seconds;
  char fingerprint[33];
} dd_slot;

typedef struct dd_worker {
  pid_t pid; /* 0: none */
  dd_slot *slot;
  double started;
} dd_worker;

/** Run job(arg, slot) in a child; what it returns is its exit code. cpus: processors of its own, or NULL. */
int dd_worker_start(dd_worker *w, int (*job)(void *arg, dd_slot *slot), void *arg, const cpu_set_t *cpus,
                    dd_error *err);
/** 1 when the child has ended (or none runs): then slot->rc and slot->error tell how, also when a signal ended it. */
int dd_worker_ended(dd_worker *w);
/** After its end: give the slot back. */
void dd_worker_release(dd_worker *w);
/** In the parent: ask for a stop (1), or for a checkpoint of a run that goes on (2). */
void dd_slot_ask(dd_slot *slot, int what);
/** For should_stop of jobs: 1 when the parent asked for it or is gone, or the processor time is spent (SIGXCPU); 2 once
 *  when it asked for a checkpoint. */
int dd_slot_should_stop(dd_slot *slot);
#endif
