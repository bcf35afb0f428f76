/* What test_gpt.c and test_gpt_use.c share: GPTs on the text of run_fixture.h, and what their calls must return. */
#ifndef DD_TESTS_GPT_FIXTURE_H
#define DD_TESTS_GPT_FIXTURE_H
#include "run_fixture.h"
#include "core/machine.h"
#include <math.h>

/* Measuring the processor takes longer than these runs. */
double __wrap_dd_machine_peak(const dd_kernels *k, int ms);
double __wrap_dd_machine_peak(const dd_kernels *k, int ms) {
  (void)k, (void)ms;
  return 1e9;
}

enum { T = 40 };
static dd_error err;

#define OK(call)                                                                                                       \
  do {                                                                                                                 \
    err.message[0] = 0;                                                                                                \
    if ((call) != DD_OK) fail_msg("line %d: %s", __LINE__, err.message);                                               \
  } while (0)
#define FAILS(code, part, call)                                                                                        \
  do {                                                                                                                 \
    assert_int_equal(call, code);                                                                                      \
    assert_part(err.message, part);                                                                                    \
  } while (0)

/* The smallest model on ROOT/text.txt and pairs of key and value; without `out` unless it is among them. */
static inline dd_settings *make(const void *none, ...) {
  va_list pairs;
  va_start(pairs, none);
  dd_settings *s = settings_of("", 0, pairs);
  va_end(pairs);
  return s;
}

static inline dd_gpt *gpt(dd_settings *s, const dd_callbacks *cb) { /* takes s */
  dd_gpt *g;
  OK(dd_gpt_create(&g, s, cb, &err));
  dd_settings_destroy(s);
  return g;
}

static inline const char *print_of(const dd_gpt *g) {
  static char hex[4][33];
  static int next;
  next = (next + 1) % 4;
  OK(dd_gpt_fingerprint(g, hex[next], &err));
  return hex[next];
}
#endif
