#include "study/worker.h"
#include "core/machine.h"
#include "core/parallel.h"
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t parent; /* in a child: who started it */

static volatile sig_atomic_t time_spent; /* in a child: SIGXCPU, which counts each process by itself */

void dd_slot_ask(dd_slot *slot, int what) { atomic_store(what == 1 ? &slot->stop : &slot->save, 1); }

int dd_slot_should_stop(dd_slot *slot) {
  if (atomic_load(&slot->stop) || time_spent || getppid() != parent) return 1;
  return atomic_exchange(&slot->save, 0) ? 2 : 0;
}

static void on_time_spent(int number) {
  (void)number;
  time_spent = 1;
}

/* The terminal sends its signals to children too; only the parent decides what they mean. */
static void ignore_signals(void) {
  static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) signal(numbers[i], SIG_IGN);
  signal(SIGXCPU, on_time_spent);
}

int dd_worker_start(dd_worker *w, int (*job)(void *arg, dd_slot *slot), void *arg, const cpu_set_t *cpus,
                    dd_error *err) {
  dd_slot *slot = mmap(NULL, sizeof *slot, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (slot == MAP_FAILED) return dd_fail(err, DD_E_RUNTIME, "out of memory for a child process");
  slot->rc = -1;
  slot->val_loss = NAN;
  slot->best_val_loss = NAN;
  slot->loss = NAN;
  slot->eta_s = NAN;
  const pid_t self = getpid(), pid = fork();
  if (pid < 0) {
    const int why = errno;
    munmap(slot, sizeof *slot);
    return dd_fail(err, DD_E_RUNTIME, "cannot start a child process: %s; use fewer --jobs", strerror(why));
  }
  if (pid == 0) {
    parent = self;
    ignore_signals();
    dd_openmp_ignore_places();
    if (cpus) sched_setaffinity(0, sizeof *cpus, cpus); /* only a wish */
    slot->rc = job(arg, slot);
    _exit(slot->rc);
  }
  *w = (dd_worker){.pid = pid, .slot = slot, .started = dd_now()};
  return DD_OK;
}

int dd_worker_ended(dd_worker *w) {
  int status;
  if (!w->pid) return 1;
  const pid_t got = waitpid(w->pid, &status, WNOHANG);
  if (got == 0 || (got < 0 && errno == EINTR)) return 0;
  w->pid = 0;
  if (got > 0 && WIFSIGNALED(status)) {
    const int sig = WTERMSIG(status);
    w->slot->rc = dd_fail(&w->slot->error, DD_E_RUNTIME, "killed by signal %d (%s)%s", sig, strsignal(sig),
                          sig == SIGKILL ? ", by hand or for want of memory" : "");
  } else if (w->slot->rc < 0) /* it ended without saying how */
    w->slot->rc = dd_fail(&w->slot->error, DD_E_RUNTIME, "ended without a result");
  return 1;
}

void dd_worker_release(dd_worker *w) {
  if (w->slot) munmap(w->slot, sizeof *w->slot);
  *w = (dd_worker){0};
}
