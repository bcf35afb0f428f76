/* A run resumed at any of its iterations, with another number of threads than before, ends in the same bits: every
 * iteration of a run of 40 x schedules, with 1, 2 and 3 threads in turn. Each schedule's run saves at every iteration;
 * every checkpoint is then the only one of a fresh directory, and the run is continued from it.
 *
 * DD_QUICK (emulators, sanitizers): every seventh iteration. DD_LONG=1: each iteration with 1, 2,
 * 3, 5 and 8 threads. */
#include "run_fixture.h"
#include "core/machine.h"

/* Measuring the processor takes longer than these runs; nothing they are compared by depends on it. */
double __wrap_dd_machine_peak(const dd_kernels *k, int ms);
double __wrap_dd_machine_peak(const dd_kernels *k, int ms) {
  (void)k, (void)ms;
  return 1e9;
}

static const char *const schedules[] = {
    "fixed", "linear", "cosine", "val-loss", "gap", "expr:clamp(p0*val/best + gap/4 + t/T/50, 0.05, 0.5)"};
enum { SCHEDULES = sizeof schedules / sizeof *schedules, ITERS = 40 };

static long cases;

static void resume_at_each(const char *schedule) {
  const int threads[] = {1, 2, 3, 5, 8};
  const int all = getenv("DD_LONG") != NULL, numbers = all ? 5 : 3, stride = getenv("DD_QUICK") ? 7 : 1;
  char expected[33], hex[33], name[64], to[700];
  dd_error err;
  /* the parts that react to evaluations must have something to react to: one every third iteration */
  if (train(at("whole"), 0, expected, &err, "schedule", schedule, "checkpoint_interval", "1", "eval_interval", "3",
            "log_interval", "40", NULL))
    fail_msg("%s: %s", schedule, err.message);
  for (int it = 1; it <= ITERS; it += stride)
    for (int t = all ? 0 : it % numbers; t < numbers; t += all ? 1 : numbers) {
      char n[8];
      snprintf(n, sizeof n, "%d", threads[t]);
      remove_tree(at("part"));
      assert_int_equal(dd_make_dirs(at("part"), &err), DD_OK);
      snprintf(name, sizeof name, "whole/ckpt-%07d.safetensors", it);
      snprintf(to, sizeof to, "%s/%s", at("part"), name + 6);
      assert_int_equal(link(at(name), to), 0);
      const int rc = train(at("part"), 1, hex, &err, "threads", n, "checkpoint_interval", "1000", NULL);
      if (rc) fail_msg("%s, resumed at %d with %s threads: %s", schedule, it, n, err.message);
      if (strcmp(hex, expected) != 0)
        fail_msg("%s, resumed at %d with %s threads: fingerprint %s, without %s", schedule, it, n, hex, expected);
      assert_string_equal(heard, threads[t] > dd_machine_cpus() ? heard : "");
      cases++;
    }
}

static void test_resume(void **state) { resume_at_each(*state); }

int main(void) {
  struct CMUnitTest tests[SCHEDULES];
  if (!make_root()) return 1;
  for (int i = 0; i < SCHEDULES; i++)
    tests[i] = (struct CMUnitTest){.name = schedules[i], .test_func = test_resume,
                                   .initial_state = (void *)(uintptr_t)schedules[i]};
  const int failed = _cmocka_run_group_tests("resume", tests, SCHEDULES, NULL, NULL);
  printf("resumed runs with one fingerprint per schedule: %ld\n", cases);
  remove_tree(root);
  return failed != 0;
}
