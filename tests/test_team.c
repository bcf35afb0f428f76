/* Loops of a team: every task once, whatever the numbers of threads and tasks, without barriers between loops, with
 * threads that are late or slow; and each thread begins with its own part, the same in every loop. */
#include "core/parallel.h"
#include "simd.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

extern const dd_kernels dd_kernels_scalar;
enum { LOOPS = 40, TASKS = 300, RUNS = 12, MOST = 40 };

typedef struct job {
  int64_t tasks[LOOPS];
  atomic_uchar done[LOOPS][TASKS];
  atomic_int first[LOOPS][MOST]; /* what each thread was given first, + 1 */
  unsigned seed;
  int barriers; /* after every so many loops; 0: none */
} job;

static void pause_a_little(unsigned x) {
  if ((x >> 16) % 16 == 0) nanosleep(&(struct timespec){0, (long)((x >> 20) % 50) * 1000}, NULL);
}

static void many_loops(dd_ctx *c, void *arg) {
  job *j = arg;
  unsigned x = j->seed * 2654435761u + (unsigned)c->tid * 40503u;
  for (int l = 0; l < LOOPS; l++) {
    pause_a_little(x = x * 1664525u + 1013904223u);
    DD_FOR(c, i, j->tasks[l]) {
      atomic_fetch_add(&j->done[l][i], 1);
      pause_a_little(x = x * 1664525u + 1013904223u);
    }
    if (j->barriers && l % j->barriers == 0) dd_barrier(c);
  }
}

static void each_task_once(int threads) {
  static job j;
  dd_team *t;
  dd_error err;
  assert_int_equal(dd_team_create(&t, threads, 64, &dd_kernels_scalar, &err), 0);
  for (unsigned run = 0; run < RUNS; run++) {
    memset(&j, 0, sizeof j);
    j.seed = run + 1;
    j.barriers = (int)run % 4;
    for (int l = 0; l < LOOPS; l++) j.tasks[l] = l < 5 ? l : (int64_t)(run * 31 + (unsigned)l * 17) % (TASKS + 1);
    dd_team_run(t, many_loops, &j);
    for (int l = 0; l < LOOPS; l++)
      for (int64_t i = 0; i < TASKS; i++)
        if (j.done[l][i] != (i < j.tasks[l]))
          fail_msg("%d threads, run %u, loop %d of %d tasks: task %d was done %d times", threads, run, l,
                   (int)j.tasks[l], (int)i, j.done[l][i]);
  }
  dd_team_destroy(t);
}
static void test_each_task_once(void **state) {
  (void)state;
  static const int threads[] = {1, 2, 3, 7, 33, MOST};
  for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) each_task_once(threads[i]);
}

/* Everybody waits in the first task until everybody has one, so nobody can help another before. */
static void meet(dd_ctx *c, void *arg) {
  job *j = arg;
  for (int l = 0; l < 3; l++) {
    DD_FOR(c, i, j->tasks[l]) {
      if (!j->first[l][c->tid]) {
        j->first[l][c->tid] = (int)i + 1;
        atomic_fetch_add(&j->done[l][0], 1);
        for (int wait = 0; j->done[l][0] < c->nthreads && wait < 100000; wait++)
          nanosleep(&(struct timespec){0, 1000}, NULL);
      }
    }
    dd_barrier(c);
  }
}
static void test_own_part_first(void **state) {
  (void)state;
  static job j;
  dd_team *t;
  dd_error err;
  assert_int_equal(dd_team_create(&t, 5, 64, &dd_kernels_scalar, &err), 0);
  const int threads = dd_team_threads(t); /* the system may grant fewer */
  j.tasks[0] = 5, j.tasks[1] = 23, j.tasks[2] = 200;
  dd_team_run(t, meet, &j);
  for (int l = 0; l < 3; l++)
    for (int i = 0; i < threads; i++) assert_int_equal(j.first[l][i] - 1, dd_part_begin(j.tasks[l], i, threads));
  dd_team_destroy(t);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_each_task_once), cmocka_unit_test(test_own_part_first)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
