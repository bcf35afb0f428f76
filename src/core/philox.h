/* Philox4x32-10 (Salmon et al., SC'11) for single draws; rows of dropout draws come from the kernels. */
#ifndef DD_CORE_PHILOX_H
#define DD_CORE_PHILOX_H
#include <stdint.h>

enum { DD_PURPOSE_DROPOUT, DD_PURPOSE_INIT, DD_PURPOSE_BATCH, DD_PURPOSE_SAMPLE, DD_PURPOSE_EVAL };

static inline void dd_philox(uint32_t x[4], uint64_t seed, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3) {
  uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
  x[0] = c0, x[1] = c1, x[2] = c2, x[3] = c3;
  for (int r = 0; r < 10; r++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
    const uint64_t p = (uint64_t)0xD2511F53u * x[0], q = (uint64_t)0xCD9E8D57u * x[2];
    const uint32_t y0 = (uint32_t)(q >> 32) ^ x[1] ^ k0, y2 = (uint32_t)(p >> 32) ^ x[3] ^ k1;
    x[0] = y0, x[1] = (uint32_t)q, x[2] = y2, x[3] = (uint32_t)p;
  }
}
/** floor(u / 2^64 * n) for the 64-bit draw x[1] << 32 | x[0]. */
static inline int64_t dd_philox_below(const uint32_t x[4], int64_t n) {
  const uint64_t u = (uint64_t)x[1] << 32 | x[0];
  return (int64_t)((unsigned __int128)u * (uint64_t)n >> 64);
}
#endif
