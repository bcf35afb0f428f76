/* Which tiers' loops are built in. */
#include "bench/bench.h"
#include <string.h>

extern const dd_loops dd_loops_scalar;
#ifdef DD_TIER_AVX2
extern const dd_loops dd_loops_avx2;
#endif
#ifdef DD_TIER_AVX512
extern const dd_loops dd_loops_avx512;
#endif
#ifdef DD_TIER_NEON
extern const dd_loops dd_loops_neon;
#endif

const dd_loops *dd_loops_of(const dd_kernels *k) {
  static const dd_loops *const all[] = {
      &dd_loops_scalar,
#ifdef DD_TIER_AVX2
      &dd_loops_avx2,
#endif
#ifdef DD_TIER_AVX512
      &dd_loops_avx512,
#endif
#ifdef DD_TIER_NEON
      &dd_loops_neon,
#endif
  };
  for (size_t i = 1; i < sizeof all / sizeof *all; i++)
    if (!strcmp(all[i]->tier, k->tier)) return all[i];
  return all[0];
}
