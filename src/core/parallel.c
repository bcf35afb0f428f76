#include "core/parallel.h"
#include "core/arena.h"
#include "core/machine.h"
#include "dd_config.h"
#include <limits.h>
#ifdef DD_HAVE_OPENMP
#include <omp.h>
#endif
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif
#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

/* What was taken of a share of a loop's tasks: number of the loop << 32 | tasks. */
typedef struct share {
  _Alignas(64) atomic_ullong taken;
} share;
enum { SHARES = 32 }; /* at most: who looks for work passes them all */

/* A word that threads wait on: a while spinning, then asleep. */
typedef struct event {
  _Alignas(64) atomic_uint value;
  atomic_int sleepers;
} event;

/* Spinning: by default for some microseconds, which keeps off other load little time. Sleeping and waking takes 30 to
 * 50 microseconds here, so a job of many short phases, where that would be most of the time, is worth twice it. */
enum { SPINS = 1000, SPINS_EAGER = 6000 };

struct dd_team {
  int threads;
  atomic_int spins; /* pauses before a waiting thread sleeps; 0 where threads share processors */
  size_t scratch_bytes;
  const dd_kernels *k;
  int64_t l2;
  dd_arena scratch;
  pthread_t host;
  int hosted;         /* the host thread exists */
  atomic_int cramped; /* a thread has less than STACK_MIN of stack */
  void (*fn)(dd_ctx *c, void *arg);
  void *arg;
  int quit;
  event ready;  /* 1 when the OpenMP threads are there */
  event job;    /* counts jobs handed out */
  event phase;  /* counts barriers passed */
  event finish; /* counts jobs done */
  _Alignas(64) atomic_int arrived, running;
  unsigned begun; /* loops, before this job */
  share shares[SHARES];
  double *clocks; /* [threads][CLOCK_STRIDE], NULL unless measuring */
};

/* Threads' clocks stand in cache lines of their own. */
enum { CLOCK_STRIDE = (DD_PHASE_COUNT + 15) / 8 * 8 };

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

static void relax(void) {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static void event_wait(const dd_team *t, event *e, unsigned old) {
  const int spins = atomic_load_explicit(&t->spins, memory_order_relaxed);
  for (int s = 0; s < spins; s++) {
    if (atomic_load_explicit(&e->value, memory_order_acquire) != old) return;
    relax();
  }
  atomic_fetch_add(&e->sleepers, 1);
  while (atomic_load(&e->value) == old) {
#ifdef __linux__
    syscall(SYS_futex, &e->value, FUTEX_WAIT_PRIVATE, old, NULL, NULL, 0);
#else
    sched_yield();
#endif
  }
  atomic_fetch_sub(&e->sleepers, 1);
}

static void event_next(event *e) {
  atomic_fetch_add(&e->value, 1);
#ifdef __linux__
  if (atomic_load(&e->sleepers)) syscall(SYS_futex, &e->value, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
#endif
}

/* Set once in a process that was given processors of its own, before it makes a team. */
static int places_ignored;
void dd_openmp_ignore_places(void) { places_ignored = 1; }

#ifdef DD_HAVE_OPENMP
/* Places to bind to: 0 when OpenMP binds nothing. */
static int bound_places(void) {
  return places_ignored || omp_get_proc_bind() == omp_proc_bind_false ? 0 : omp_get_num_places();
}

static int place_set(int place, cpu_set_t *set) {
  int ids[CPU_SETSIZE];
  const int n = omp_get_place_num_procs(place);
  if (n < 1 || n > CPU_SETSIZE) return 0;
  omp_get_place_proc_ids(place, ids);
  for (int i = 0; i < n; i++) CPU_SET(ids[i], set);
  return 1;
}

int dd_openmp_places(void *bitmap, size_t size) {
  cpu_set_t set;
  CPU_ZERO(&set);
  const int places = bound_places();
  for (int i = 0; i < places; i++) place_set(i, &set);
  memcpy(bitmap, &set, size < sizeof set ? size : sizeof set);
  return CPU_COUNT(&set);
}

/* The caller is thread 0 on the first place; the host's region would begin there again, so bind by our own numbers. */
static void bind_to_place(const dd_team *t, int tid) {
  const int places = bound_places();
  if (places < 1) return;
  const int spread = omp_get_proc_bind() == omp_proc_bind_spread && places > t->threads;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (place_set(spread ? (int)((int64_t)tid * places / t->threads) : tid % places, &set))
    sched_setaffinity(0, sizeof set, &set); /* only a wish */
}

#else
int dd_openmp_places(void *bitmap, size_t size) {
  memset(bitmap, 0, size);
  return 0;
}
#endif

const char *dd_phase_name(dd_phase p) {
#define PHASE_NAME(id, name, way) name,
  static const char *const names[] = {DD_PHASES(PHASE_NAME)};
  return names[p];
}

dd_way dd_phase_way(dd_phase p) {
#define PHASE_WAY(id, name, way) way,
  static const dd_way ways[] = {DD_PHASES(PHASE_WAY)};
  return ways[p];
}

int dd_team_timing(dd_team *t, int on) {
  free(t->clocks);
  t->clocks = on ? calloc((size_t)t->threads * CLOCK_STRIDE, sizeof *t->clocks) : NULL;
  return on && !t->clocks;
}

double dd_team_phase_seconds(const dd_team *t, dd_phase p) {
  double s = 0;
  for (int i = 0; t->clocks && i < t->threads; i++) s += t->clocks[i * CLOCK_STRIDE + (int)p];
  return s;
}

void dd_enter(dd_ctx *c, dd_phase p) {
  if (!c->clock) return;
  const double now = dd_now();
  c->clock[c->phase] += now - c->since;
  c->since = now;
  c->phase = p;
}

/* Returns the number of the last loop that was begun. */
static unsigned work(dd_team *t, int tid) {
  dd_ctx c = {.team = t, .k = t->k, .tid = tid, .nthreads = t->threads, .l2 = t->l2, .loop = t->begun};
  c.scratch = (float *)(void *)((char *)t->scratch.base + t->scratch_bytes * (size_t)tid);
  if (t->clocks) {
    c.clock = t->clocks + tid * CLOCK_STRIDE;
    c.since = dd_now();
  }
  t->fn(&c, t->arg);
  dd_enter(&c, DD_PHASE_OTHER);
  return c.loop;
}

/* What a thread of the team needs, several times over. OMP_STACKSIZE and `ulimit -s` can leave less. */
enum { STACK_MIN = 128 * 1024 };

/* Bytes of stack that the calling thread has left. SIZE_MAX: the system does not tell. */
static size_t stack_left(void) {
  pthread_attr_t attr;
  void *low = NULL;
  size_t size = 0;
  if (pthread_getattr_np(pthread_self(), &attr)) return SIZE_MAX;
  const int e = pthread_attr_getstack(&attr, &low, &size);
  pthread_attr_destroy(&attr);
  return e ? SIZE_MAX : (uintptr_t)__builtin_frame_address(0) - (uintptr_t)low;
}

/* The stacks that OpenMP will ask for: "64M", "512k", a number of kilobytes. 0: the system's own size. */
static size_t openmp_stack(void) {
  const char *s = getenv("OMP_STACKSIZE");
  char *end;
  if (!s || !*s) return 0;
  const unsigned long long n = strtoull(s, &end, 10);
  end += strspn(end, " \t");
  const char *const units = "bkmg", *unit = *end ? strchr(units, *end | 0x20) : units + 1;
  if (!unit || n > SIZE_MAX >> 30) return 0;
  return (size_t)n << 10 * (unit - units);
}

/* Jobs, one after the other, until the team is dissolved. */
static void serve(dd_team *t, int tid) {
  event_wait(t, &t->ready, 0);
#ifdef DD_HAVE_OPENMP
  bind_to_place(t, tid);
#endif
  for (unsigned seen = 0;; seen++) {
    event_wait(t, &t->job, seen);
    if (t->quit) break;
    work(t, tid);
    if (atomic_fetch_sub(&t->running, 1) == 1) event_next(&t->finish);
  }
}

static void arrive(dd_team *t) {
  fp_default();
  if (stack_left() < STACK_MIN) atomic_store(&t->cramped, 1);
}

#ifdef DD_HAVE_OPENMP
/* OpenMP's threads have stacks of their own; this one only hosts the region. */
static int start_thread(pthread_t *thread, void *(*fn)(void *), void *arg) {
  return pthread_create(thread, NULL, fn, arg);
}

/* Threads 1 .. threads-1: they stay in one OpenMP region for the life of the team, because the wait at a region's end
 * is the OpenMP library's (it spins for milliseconds, which ruins a machine with other load), and wait here for jobs.
 */
static void *host(void *arg) {
  dd_team *t = arg;
  omp_set_dynamic(0);
#pragma omp parallel num_threads(t->threads - 1)
  {
    arrive(t);
#pragma omp barrier
#pragma omp master
    {
      t->threads = 1 + omp_get_num_threads(); /* fewer than asked for where the system limits threads */
      event_next(&t->ready);
    }
    serve(t, 1 + omp_get_thread_num());
  }
  return NULL;
}
#else
typedef struct member {
  dd_team *team;
  int tid;
  pthread_t thread;
} member;

static void *member_main(void *arg) {
  const member *m = arg;
  arrive(m->team);
  atomic_fetch_add(&m->team->running, 1);
  serve(m->team, m->tid);
  return NULL;
}

enum { STACK_DEFAULT = 2 << 20 }; /* some C libraries give threads little */

static int start_thread(pthread_t *thread, void *(*fn)(void *), void *arg) {
  pthread_attr_t stack;
  const size_t wanted = openmp_stack();
  int e = pthread_attr_init(&stack);
  if (e) return e;
  pthread_attr_setstacksize(&stack, wanted ? wanted : STACK_DEFAULT); /* a size that is too small changes nothing */
  e = pthread_create(thread, &stack, fn, arg);
  pthread_attr_destroy(&stack);
  return e;
}

/* The same without OpenMP: this thread is number 1 and starts the others. */
static void *host(void *arg) {
  dd_team *t = arg;
  const int others = t->threads - 2;
  member *m = calloc((size_t)others + 1, sizeof *m);
  int started = 0;
  arrive(t);
  while (m && started < others) {
    m[started] = (member){.team = t, .tid = 2 + started};
    if (start_thread(&m[started].thread, member_main, &m[started])) break;
    started++;
  }
  while (atomic_load(&t->running) < started) sched_yield(); /* until all have said whether their stack suffices */
  t->threads = 2 + started;
  event_next(&t->ready);
  serve(t, 1);
  for (int i = 0; i < started; i++) pthread_join(m[i].thread, NULL);
  free(m);
  return NULL;
}
#endif

static void *hold(void *gate) {
  pthread_mutex_lock(gate);
  pthread_mutex_unlock(gate);
  return NULL;
}

/* OpenMP libraries end the process when a thread cannot be started, so try first: that many threads, all at once.
 * Returns how many there can be, at most n. */
static int startable(int n) {
  pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
  pthread_attr_t stack;
  if (pthread_attr_init(&stack)) return 0;
  pthread_attr_setstacksize(&stack, openmp_stack()); /* a size that is too small changes nothing */
  pthread_t *t = malloc((size_t)n * sizeof *t);
  int started = 0;
  if (!t) n = 0;
  pthread_mutex_lock(&gate);
  while (started < n && pthread_create(&t[started], &stack, hold, &gate) == 0) started++;
  pthread_mutex_unlock(&gate);
  for (int i = 0; i < started; i++) pthread_join(t[i], NULL);
  free(t);
  pthread_attr_destroy(&stack);
  return started;
}

int dd_team_create(dd_team **out, int threads, size_t scratch_bytes, const dd_kernels *k, dd_error *err) {
  *out = NULL;
  dd_team *t = aligned_alloc(64, (sizeof *t + 63) / 64 * 64);
  if (!t) return dd_fail(err, DD_E_RUNTIME, "out of memory for the thread team");
  *t = (dd_team){.threads = threads, .k = k, .l2 = dd_machine_caches("").l2};
  t->scratch_bytes = (scratch_bytes + 4095) / 4096 * 4096 + 256; /* + 256: threads' buffers never alias in 4 KB */
  int rc = dd_arena_create(&t->scratch, t->scratch_bytes * (size_t)threads, "per-thread scratch", err);
  /* Spin a while when every thread has a processor, sleep at once when they must share. */
  atomic_init(&t->spins, threads <= dd_machine_cpus() ? SPINS : 0);
  if (!rc && threads > 1) {
    const int can = startable(threads - 1);
    if (can < threads - 1)
      rc = dd_fail(err, DD_E_RUNTIME, "%d threads cannot be started here, only %d; use -t %d or fewer%s", threads,
                   can + 1, can + 1, getenv("OMP_STACKSIZE") ? ", or a smaller OMP_STACKSIZE" : "");
  }
  if (!rc && threads > 1) {
    const int e = start_thread(&t->host, host, t);
    if (e) rc = dd_fail(err, DD_E_RUNTIME, "cannot start a thread (%s); use fewer with -t", strerror(e));
    else {
      t->hosted = 1;
      event_wait(t, &t->ready, 0);
      if (atomic_load(&t->cramped))
        rc = dd_fail(err, DD_E_RUNTIME, "the stacks of threads are below %d KB here; set OMP_STACKSIZE to 1M",
                     STACK_MIN / 1024);
    }
  }
  if (rc) {
    dd_team_destroy(t);
    return rc;
  }
  *out = t;
  return DD_OK;
}

void dd_team_destroy(dd_team *t) {
  if (!t) return;
  if (t->hosted) {
    t->quit = 1;
    event_next(&t->job);
    pthread_join(t->host, NULL);
  }
  dd_arena_destroy(&t->scratch);
  free(t->clocks);
  free(t);
}

void dd_team_eager(dd_team *t, int eager) {
  if (atomic_load_explicit(&t->spins, memory_order_relaxed))
    atomic_store_explicit(&t->spins, eager ? SPINS_EAGER : SPINS, memory_order_relaxed);
}

int dd_team_threads(const dd_team *t) { return t->threads; }
const dd_kernels *dd_team_kernels(const dd_team *t) { return t->k; }
void dd_team_set_l2(dd_team *t, int64_t bytes) { t->l2 = bytes; }

unsigned dd_team_barriers(const dd_team *t) { return atomic_load(&t->phase.value); }

void dd_team_run(dd_team *t, void (*fn)(dd_ctx *c, void *arg), void *arg) {
  const unsigned fp = fp_default(), done = atomic_load(&t->finish.value);
  t->fn = fn;
  t->arg = arg;
  if (t->begun >> 30) { /* before numbers wrap around, and a share that many loops left alone seems to be ahead */
    for (int i = 0; i < SHARES; i++) atomic_store_explicit(&t->shares[i].taken, 0, memory_order_relaxed);
    t->begun = 0;
  }
  atomic_store(&t->running, t->threads - 1);
  if (t->threads > 1) event_next(&t->job);
  const unsigned begun = work(t, 0);
  if (t->threads > 1) event_wait(t, &t->finish, done);
  t->begun = begun; /* not before: a thread that is late still reads it */
  fp_restore(fp);
}

void dd_barrier(dd_ctx *c) {
  dd_team *t = c->team;
  const dd_phase was = c->phase;
  dd_enter(c, DD_PHASE_WAIT);
  const unsigned phase = atomic_load_explicit(&t->phase.value, memory_order_acquire);
  if (atomic_fetch_add_explicit(&t->arrived, 1, memory_order_acq_rel) == c->nthreads - 1) {
    atomic_store_explicit(&t->arrived, 0, memory_order_relaxed);
    event_next(&t->phase);
  } else event_wait(t, &t->phase, phase);
  dd_enter(c, was);
}

unsigned dd_loop(dd_ctx *c) {
  c->passed = 0;
  return ++c->loop;
}

int64_t dd_next(dd_ctx *c, unsigned loop, int64_t n) {
  dd_team *t = c->team;
  const int shares = t->threads < SHARES ? t->threads : SHARES, own = (int)((int64_t)c->tid * shares / t->threads);
  for (; c->passed < shares; c->passed++) {
    const int s = (own + c->passed) % shares;
    const int64_t begin = dd_part_begin(n, s, shares), length = dd_part_begin(n, s + 1, shares) - begin;
    unsigned long long v = atomic_load_explicit(&t->shares[s].taken, memory_order_relaxed);
    for (;;) {
      /* Of an earlier loop: nothing is taken yet. Of a later one: somebody found nothing left of this one. */
      const int ahead = (int)((unsigned)(v >> 32) - loop);
      const int64_t taken = ahead < 0 ? 0 : (int64_t)(v & 0xffffffff);
      if (ahead > 0 || taken >= length) break;
      if (atomic_compare_exchange_weak_explicit(&t->shares[s].taken, &v,
                                                (unsigned long long)loop << 32 | (unsigned long long)(taken + 1),
                                                memory_order_relaxed, memory_order_relaxed))
        return begin + taken;
    }
  }
  return n;
}
