/* Arithmetic that notices overflow: sizes that come from files are only ever combined through these.
 * Each returns 1 and stores the result when it fits, else returns 0 and leaves *out alone. */
#ifndef DD_CORE_CHECKED_H
#define DD_CORE_CHECKED_H
#include <stddef.h>
#include <stdint.h>

static inline int dd_add_u64(uint64_t a, uint64_t b, uint64_t *out) {
  uint64_t r;
  if (__builtin_add_overflow(a, b, &r)) return 0;
  *out = r;
  return 1;
}

static inline int dd_mul_u64(uint64_t a, uint64_t b, uint64_t *out) {
  uint64_t r;
  if (__builtin_mul_overflow(a, b, &r)) return 0;
  *out = r;
  return 1;
}

static inline int dd_add_size(size_t a, size_t b, size_t *out) {
  size_t r;
  if (__builtin_add_overflow(a, b, &r)) return 0;
  *out = r;
  return 1;
}

static inline int dd_mul_size(size_t a, size_t b, size_t *out) {
  size_t r;
  if (__builtin_mul_overflow(a, b, &r)) return 0;
  *out = r;
  return 1;
}

/** Round up to a multiple of align (> 0). */
static inline int dd_round_up_u64(uint64_t a, uint64_t align, uint64_t *out) {
  const uint64_t rest = a % align;
  return dd_add_u64(a, rest ? align - rest : 0, out);
}
#endif
