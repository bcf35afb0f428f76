/* Small integer helpers. */
#ifndef DD_CORE_INTS_H
#define DD_CORE_INTS_H
#include <stdint.h>

static inline int64_t dd_min64(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t dd_max64(int64_t a, int64_t b) { return a > b ? a : b; }
/** n rounded up to a multiple of unit. */
static inline int64_t dd_round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }
/** Number of pieces of `unit` that n items make. */
static inline int64_t dd_pieces(int64_t n, int64_t unit) { return (n + unit - 1) / unit; }
/** Bounds of part `part` of `parts` nearly equal pieces of n items. */
static inline int64_t dd_part_begin(int64_t n, int64_t part, int64_t parts) {
  return n / parts * part + (part < n % parts ? part : n % parts);
}
#endif
