/* Helper programs (curl, unzip, bible): run one without a shell and keep what it prints. The only file that starts
 * processes. */
#ifndef DD_RUN_SPAWN_H
#define DD_RUN_SPAWN_H
#include "core/error.h"

typedef enum dd_spawn_result {
  DD_SPAWN_DONE,    /* exit status 0 */
  DD_SPAWN_MISSING, /* no such program in PATH */
  DD_SPAWN_FAILED,  /* started and failed; or more output than max_bytes; or silent for idle_seconds */
  DD_SPAWN_STOPPED  /* dd_callbacks.should_stop said 1: the program was ended */
} dd_spawn_result;

typedef struct dd_output {
  char *data; /* NUL byte appended; free() by the caller, NULL unless DD_SPAWN_DONE */
  size_t size;
  char reason[320]; /* unless DD_SPAWN_DONE: one clause, "curl: (6) Could not resolve host: x" */
} dd_output;

/** argv: NULL-terminated, argv[0] looked up in PATH. It runs in "/" with an empty standard input. `phase` and `total`
 *  (bytes expected, for dd_callbacks.phase) may be NULL and 0. */
dd_spawn_result dd_spawn_capture(const char *const *argv, size_t max_bytes, int idle_seconds, const char *phase,
                                 int64_t total, const dd_callbacks *cb, dd_output *out);
#endif
