#include "core/parallel.h"
#include "core/arena.h"
#include "core/machine.h"
#include <errno.h>
#include <omp.h>
#include <stdatomic.h>
#include <stdlib.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif
#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#else
#include <sched.h>
#endif

typedef struct padded {
  _Alignas(64) atomic_llong v;
} padded;

struct dd_team {
  int threads, entered, spins;
  size_t scratch_bytes;
  const dd_kernels *k;
  dd_arena scratch;
  _Alignas(64) atomic_int arrived;
  _Alignas(64) atomic_uint generation;
  atomic_int sleepers;
  padded loops[DD_LOOPS];
};

int dd_team_create(dd_team **out, int threads, size_t scratch_bytes, const dd_kernels *k, dd_error *err) {
  *out = NULL;
  dd_team *t = aligned_alloc(64, (sizeof *t + 63) / 64 * 64);
  if (!t) return dd_fail(err, DD_E_RUNTIME, "out of memory for the thread team");
  *t = (dd_team){.threads = threads, .k = k};
  t->scratch_bytes = (scratch_bytes + 4095) / 4096 * 4096 + 256; /* + 256: threads' buffers never alias in 4 KB */
  const int rc = dd_arena_create(&t->scratch, t->scratch_bytes * (size_t)threads, "per-thread scratch", err);
  if (rc) {
    free(t);
    return rc;
  }
  /* Spin a while when every thread has a processor, sleep at once when they must share. */
  t->spins = threads <= dd_machine_cpus() ? 4000 : 0;
  *out = t;
  return DD_OK;
}

void dd_team_destroy(dd_team *t) {
  if (!t) return;
  dd_arena_destroy(&t->scratch);
  free(t);
}

int dd_team_threads(const dd_team *t) { return t->threads; }
const dd_kernels *dd_team_kernels(const dd_team *t) { return t->k; }

/* Default rounding, subnormals on: a library loaded with -ffast-math may have changed this thread. */
static unsigned fp_default(void) {
#if defined(__x86_64__)
  const unsigned old = _mm_getcsr();
  _mm_setcsr(0x1f80);
  return old;
#elif defined(__aarch64__)
  uint64_t old;
  __asm__ volatile("mrs %0, fpcr" : "=r"(old));
  __asm__ volatile("msr fpcr, %0" ::"r"((uint64_t)0));
  return (unsigned)old;
#else
  return 0;
#endif
}

static void fp_restore(unsigned old) {
#if defined(__x86_64__)
  _mm_setcsr(old);
#elif defined(__aarch64__)
  __asm__ volatile("msr fpcr, %0" ::"r"((uint64_t)old));
#else
  (void)old;
#endif
}

void dd_team_run(dd_team *t, void (*fn)(dd_ctx *c, void *arg), void *arg) {
  atomic_store(&t->arrived, 0);
  for (int i = 0; i < DD_LOOPS; i++) atomic_store(&t->loops[i].v, 0);
  omp_set_dynamic(0);
#pragma omp parallel num_threads(t->threads)
  {
    const unsigned fp = fp_default();
    const int tid = omp_get_thread_num(), n = omp_get_num_threads();
    if (tid == 0) t->entered = n; /* fewer than asked for when the system limits threads */
#pragma omp barrier
    dd_ctx c = {.team = t, .k = t->k, .tid = tid, .nthreads = n};
    c.scratch = (float *)(void *)((char *)t->scratch.base + t->scratch_bytes * (size_t)tid);
    fn(&c, arg);
    fp_restore(fp);
  }
}

static void relax(void) {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

void dd_barrier(dd_ctx *c) {
  dd_team *t = c->team;
  c->loop = 0;
  const unsigned gen = atomic_load_explicit(&t->generation, memory_order_acquire);
  if (atomic_fetch_add_explicit(&t->arrived, 1, memory_order_acq_rel) == c->nthreads - 1) {
    /* The last one: everybody is done with the loops of this phase. */
    for (int i = 0; i < DD_LOOPS; i++) atomic_store_explicit(&t->loops[i].v, 0, memory_order_relaxed);
    atomic_store_explicit(&t->arrived, 0, memory_order_relaxed);
    atomic_store(&t->generation, gen + 1);
#ifdef __linux__
    if (atomic_load(&t->sleepers)) syscall(SYS_futex, &t->generation, FUTEX_WAKE_PRIVATE, 1 << 30, NULL, NULL, 0);
#endif
    return;
  }
  for (int s = 0; s < t->spins; s++) {
    if (atomic_load_explicit(&t->generation, memory_order_acquire) != gen) return;
    relax();
  }
  atomic_fetch_add(&t->sleepers, 1);
  while (atomic_load(&t->generation) == gen) {
#ifdef __linux__
    syscall(SYS_futex, &t->generation, FUTEX_WAIT_PRIVATE, gen, NULL, NULL, 0);
#else
    sched_yield();
#endif
  }
  atomic_fetch_sub(&t->sleepers, 1);
}

int dd_loop(dd_ctx *c) { return c->loop++ % DD_LOOPS; }

int64_t dd_next(dd_ctx *c, int loop, int64_t n) {
  const int64_t i = atomic_fetch_add_explicit(&c->team->loops[loop].v, 1, memory_order_relaxed);
  return i < n ? i : n;
}
