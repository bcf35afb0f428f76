/* Which kernel tier runs here, and the start-up check of what fingerprints rest on. */
#include "core/hash.h"
#include "core/machine.h"
#include <fenv.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* __builtin_cpu_supports also asks the operating system to save the wide registers. */
#if defined(DD_TIER_AVX512)
static int runs_avx512(void) {
#ifdef DD_SIMDE
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
#endif
}
#endif
#if defined(DD_TIER_AVX2)
static int runs_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
#endif
static int runs_always(void) { return 1; }

/* Best first. */
static const struct {
  const dd_kernels *k;
  int (*runs)(void);
} tiers[] = {
#ifdef DD_TIER_AVX512
    {&dd_kernels_avx512, runs_avx512},
#endif
#ifdef DD_TIER_AVX2
    {&dd_kernels_avx2, runs_avx2},
#endif
#ifdef DD_TIER_NEON
    {&dd_kernels_neon, runs_always}, /* part of every AArch64 processor */
#endif
    {&dd_kernels_scalar, runs_always},
};

const dd_kernels *dd_tier_at(int i, int *runs) {
  if (i < 0 || (size_t)i >= sizeof tiers / sizeof tiers[0]) return NULL;
  if (runs) *runs = tiers[i].runs();
  return tiers[i].k;
}

int dd_tier_select(const char *want, const dd_kernels **out, char *why, size_t size, dd_error *err) {
  const char *from = "asked for by --tier";
  if (!want || !*want || strcmp(want, "auto") == 0) {
    want = getenv("DD_TIER");
    from = "from DD_TIER";
    if (want && strcmp(want, "auto") == 0) want = NULL;
  }
  char usable[128] = "";
  int runs, known = 0;
  const dd_kernels *k;
  for (int i = 0; (k = dd_tier_at(i, &runs)); i++) {
    const int match = want && *want && strcmp(want, k->tier) == 0;
    if (match) known = 1;
    if (!runs) continue;
    if (match || !want || !*want) {
      snprintf(why, size, "%s", match ? from : "the widest that runs here");
      *out = k;
      return DD_OK;
    }
    snprintf(usable + strlen(usable), sizeof usable - strlen(usable), "%s%s", *usable ? ", " : "", k->tier);
  }
  return dd_fail(err, DD_E_USAGE, "kernel tier '%s' (%s) %s; usable here: %s", want, from,
                 known ? "does not run on this processor" : "is not known in this build", usable);
}

double dd_machine_peak(const dd_kernels *k, int ms) {
  double best = 0;
  float sink[14];
  for (volatile int i = 0; i < 14; i++) sink[i] = 0x1p-20f * (float)i; /* volatile: unknown to the compiler */
  const double end = dd_now() + 1e-3 * ms;
  do {
    const double t = dd_now(), flops = k->peak(20000, sink), s = dd_now() - t;
    if (s > 0 && flops / s > best) best = flops / s;
  } while (dd_now() < end);
  return best;
}

int dd_self_test(const dd_kernels *k, dd_error *err) {
  volatile float tiny = 0x1p-126f, half = 0.5f;
  if (fegetround() != FE_TONEAREST)
    return dd_fail(err, DD_E_RUNTIME, "self-test: the rounding mode is not to-nearest; the caller must restore it");
  if (tiny * half == 0.f)
    return dd_fail(err, DD_E_RUNTIME,
                   "self-test: subnormal numbers are flushed to zero in this process; a library "
                   "built with -ffast-math may have set that: do not load it");
  volatile float x = 1.f + 0x1p-23f;
  if (fmaf(x, x, -(x * x)) == 0.f)
    return dd_fail(err, DD_E_RUNTIME, "self-test: fmaf() rounds twice in this C library");

  /* Philox4x32-10, counter 0, key 0: 6627e8d5 e169c58d bc57ac4c 9b00dbd8, where the randomness contract puts it. */
  static const uint32_t known[4] = {0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u};
  const dd_drop zero = {0};
  uint16_t draws[64];
  k->draws(draws, 64, &zero);
  for (int w = 0; w < 4; w++)
    if (draws[16 * w] != (known[w] & 0xffff) || draws[16 * w + 1] != known[w] >> 16)
      return dd_fail(err, DD_E_RUNTIME, "self-test: tier %s draws wrong Philox numbers", k->tier);

  /* A ragged product and exp of it: bits must be those of numerics version DD_NUMERICS_VERSION. */
  enum { M = 13, N = 37, K = 29 };
  float a[M * K], b[K * N], c[M * N], e[M * N];
  _Alignas(64) float pa[(M + DD_MR_MAX) * K], pb[(N + DD_NR_MAX) * K];
  uint32_t s = 1;
  for (int i = 0; i < M * K; i++) s = s * 1664525u + 1013904223u, a[i] = (float)(int32_t)s * 0x1p-31f;
  for (int i = 0; i < K * N; i++) s = s * 1664525u + 1013904223u, b[i] = (float)(int32_t)s * 0x1p-31f;
  k->pack_a(pa, M, K, a, K, 1);
  k->pack_b(pb, K, N, b, N, 1);
  k->gemm(M, N, K, pa, pb, c, N, DD_GEMM_SET);
  k->exp(e, c, M * N);
  for (int i = 0; i < M; i++)
    for (int j = 0; j < N; j++) {
      float chain = 0.f;
      for (int kk = 0; kk < K; kk++) chain = fmaf(a[i * K + kk], b[kk * N + j], chain);
      if (memcmp(&chain, &c[i * N + j], sizeof chain) != 0)
        return dd_fail(err, DD_E_RUNTIME, "self-test: tier %s multiplies matrices with other bits", k->tier);
    }
  dd_kernels_scalar.exp(c, c, M * N);
  if (memcmp(c, e, sizeof c) != 0) return dd_fail(err, DD_E_RUNTIME, "self-test: tier %s has another exp", k->tier);
  return DD_OK;
}
