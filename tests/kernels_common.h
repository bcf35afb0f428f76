/* Shared by the kernel tests: buffers between guard pages, inputs, usable tiers, and one comparison of a kernel in
 * every tier with `scalar`. A test describes its operands once (kcase); check_case places, runs and compares them. */
#ifndef DD_KERNELS_COMMON_H
#define DD_KERNELS_COMMON_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>
#include "simd.h"

/* One test per kernel: the list of kernels declares them, main() in test_kernels.c names them, so that a kernel without
 * a test does not build. */
#define DD_KERNEL_TEST(ret, name, args) void kernel_##name(void **state);
DD_KERNELS(DD_KERNEL_TEST)
#undef DD_KERNEL_TEST

/* ---- tiers ------------------------------------------------------------------------------------------------- */

enum { TIERS_MAX = 4 };

/* The tiers built in that this machine can run; scalar is always the first. */
static inline int usable_tiers(const dd_kernels *out[TIERS_MAX]) {
  int n = 0;
  out[n++] = &dd_kernels_scalar;
#if defined __x86_64__
  __builtin_cpu_init();
  const int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#ifdef DD_TIER_AVX2
  if (avx2) out[n++] = &dd_kernels_avx2;
#endif
#ifdef DD_TIER_AVX512
#ifdef DD_SIMDE
  if (avx2) out[n++] = &dd_kernels_avx512;
#else
  if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
    out[n++] = &dd_kernels_avx512;
#endif
#endif
  (void)avx2;
#elif defined __aarch64__ && defined DD_TIER_NEON
  out[n++] = &dd_kernels_neon;
#endif
  return n;
}
#define FOR_TIERS(k)                                                                                                   \
  const dd_kernels *tiers_[TIERS_MAX];                                                                                 \
  const int tier_count_ = usable_tiers(tiers_);                                                                        \
  for (const dd_kernels *const *tier_ = tiers_, *k; tier_ < tiers_ + tier_count_ && (k = *tier_, 1); tier_++)

/* DD_QUICK=2 (emulators): `scalar` only says what is right; natively it is also held to its operands' bounds. */
static inline int only_reference(const dd_kernels *k) {
  const char *quick = getenv("DD_QUICK");
  return k == &dd_kernels_scalar && quick && !strcmp(quick, "2");
}

/* Which tiers this run really tested, printed first: a tier that is built in but cannot run here is named. */
static inline void print_tiers(void) {
  printf("tiers under test:");
  FOR_TIERS(k) printf(" %s", k->tier);
  const int built = 1
#ifdef DD_TIER_AVX2
                    + 1
#endif
#ifdef DD_TIER_AVX512
                    + 1
#endif
#ifdef DD_TIER_NEON
                    + 1
#endif
      ;
  if (built > tier_count_) printf(" (%d built in but not usable on this CPU: not tested)", built - tier_count_);
  printf("\n");
}

/* ---- upper halves of registers ------------------------------------------------------------------------------- */

/* A kernel has to clear the upper halves of vector registers when it ends (vzeroupper): where they are left dirty, code
 * of the SSE kind, like most of this program, pays over a hundred cycles an instruction on Intel's processors. The first
 * call finds whether the processor can tell: XGETBV with ECX 1, which says "clean" after vzeroupper. */
#if defined __x86_64__ && defined __OPTIMIZE__
static inline int upper_dirty(void) {
  unsigned in_use, high;
  __asm__ volatile("xgetbv" : "=a"(in_use), "=d"(high) : "c"(1));
  return (in_use & 4) != 0;
}
static inline int upper_tells(void) {
  unsigned a = 0xd, b, c = 1, d;
  if (!__builtin_cpu_supports("avx2")) return 0;
  __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  if (!(a & 4)) return 0;
  __asm__ volatile("vzeroupper");
  return !upper_dirty();
}
static inline void upper_halves_are_clean(const char *kernel, const char *tier) {
  static int tells = -1;
  if (tells < 0) {
    tells = upper_tells();
    if (!tells) printf("this processor does not say whether upper halves are clean: not tested\n");
  } else if (tells && upper_dirty()) fail_msg("%s, tier %s: leaves the upper halves of registers dirty", kernel, tier);
}
#else
static inline void upper_halves_are_clean(const char *kernel, const char *tier) { (void)kernel, (void)tier; }
#endif

/* ---- random inputs ----------------------------------------------------------------------------------------- */

/* SplitMix64 (Steele, Lea, Flood 2014): own and tiny, so that inputs never depend on a library. */
static inline uint64_t rnd(uint64_t *s) {
  uint64_t z = *s += 0x9E3779B97F4A7C15u;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return z ^ z >> 31;
}
static inline int64_t rnd_below(uint64_t *s, int64_t n) {
  return (int64_t)(rnd(s) % (uint64_t)n);
}

static inline float float_of(uint32_t u) {
  float f;
  memcpy(&f, &u, sizeof f);
  return f;
}
static inline uint32_t bits_of(float f) {
  uint32_t u;
  memcpy(&u, &f, sizeof u);
  return u;
}

typedef enum fill {
  FILL_NORMAL,    /* about N(0, 1) */
  FILL_WIDE,      /* exponents -60 .. 60 */
  FILL_SUBNORMAL, /* subnormals of both signs */
  FILL_ZERO,      /* +0, -0, +-1, +-smallest subnormal: many equal values */
  FILL_MIXED,     /* each element from one of the above */
  FILL_HUGE,      /* 2^100 .. FLT_MAX: sums and products overflow */
  FILL_SPECIAL,   /* with infinities and NaNs of many payloads; only where the contract defines the result */
  FILL_KINDS
} fill;
static const char *const fill_names[FILL_KINDS] = {"normal", "wide", "subnormal", "zero", "mixed", "huge", "special"};

static inline float fill_one(fill kind, uint64_t *s) {
  const uint64_t r = rnd(s);
  const uint32_t sign = (uint32_t)(r >> 63) << 31, mantissa = (uint32_t)r & 0x7fffff;
  switch (kind) {
  case FILL_WIDE:
    return float_of(sign | (67u + (uint32_t)(r >> 23) % 121u) << 23 | mantissa);
  case FILL_SUBNORMAL:
    return float_of(sign | mantissa >> (r >> 40) % 23);
  case FILL_ZERO: {
    static const uint32_t pick[8] = {0, 0, 0, 0, 0, 0x3f800000, 0x3f800000, 1};
    return float_of(sign | pick[r % 8]);
  }
  case FILL_MIXED:
    return fill_one((fill)(r % FILL_MIXED), s);
  case FILL_HUGE:
    return float_of(sign | (227u + (uint32_t)(r >> 23) % 28u) << 23 | mantissa);
  case FILL_SPECIAL:
    switch (r >> 32 & 7) {
    case 0:
      return float_of(sign | 0x7f800000u);
    case 1:
      return float_of(sign | 0x7f800001u | mantissa);
    case 2:
      return float_of(sign | 0x7f7fffffu);
    default:
      return fill_one(FILL_MIXED, s);
    }
  default: {
    const int64_t sum =
        (int64_t)(r & 0xffff) + (int64_t)(r >> 16 & 0xffff) + (int64_t)(r >> 32 & 0xffff) + (int64_t)(r >> 48);
    return (float)(sum - 131070) * (1.f / 37837.f);
  }
  }
}
static inline void fill_floats(float *x, int64_t n, fill kind, float scale, uint64_t *s) {
  for (int64_t i = 0; i < n; i++) x[i] = fill_one(kind, s) * scale;
}

/* Every size up to 300, then some around the shapes of models and of blocks. */
static const int64_t big_sizes[] = {383, 384, 385, 511, 1000, 1536, 4097};
enum { SIZE_SMALL = 300, SIZE_COUNT = SIZE_SMALL + 1 + (int)(sizeof big_sizes / sizeof *big_sizes), SIZE_MAX_N = 4200 };
static inline int64_t size_at(int i) {
  return i <= SIZE_SMALL ? i : big_sizes[i - SIZE_SMALL - 1];
}

/* ---- guard pages ------------------------------------------------------------------------------------------- */

/* `room` bytes between two pages that must not be touched. */
typedef struct guard {
  unsigned char *data;
  size_t room, page;
} guard;
enum { MARGIN = 256 }; /* bytes watched before and after an operand where no page ends */
/* A signalling NaN as float: using it shows in every result, and no arithmetic gives it back unchanged. */
static const unsigned char margin_pattern[4] = {0xa5, 0xff, 0xa5, 0xff};

static inline guard guard_new(size_t bytes) {
  guard g;
  g.page = (size_t)sysconf(_SC_PAGESIZE);
  g.room = (bytes + MARGIN + g.page - 1) / g.page * g.page;
  unsigned char *p = mmap(NULL, g.room + 2 * g.page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED || mprotect(p, g.page, PROT_NONE) || mprotect(p + g.page + g.room, g.page, PROT_NONE))
    fail_msg("cannot map %zu bytes between guard pages", bytes);
  g.data = p + g.page;
  return g;
}
static inline void guard_free(guard *g) {
  munmap(g->data - g->page, g->room + 2 * g->page);
}

/* Where an operand of `bytes` lies: right at the first page, or as close to the last as `align` lets it. */
static inline void *guard_place(guard *g, size_t bytes, size_t align, int at_end) {
  assert_true(bytes + MARGIN <= g->room + align);
  const size_t off = at_end ? (g->room - bytes) / align * align : 0, end = off + bytes;
  const size_t lo = off < MARGIN ? 0 : off - MARGIN, hi = g->room - end < MARGIN ? g->room : end + MARGIN;
  for (size_t i = lo; i < hi; i++) g->data[i] = margin_pattern[i % 4];
  return g->data + off;
}
/* 0, or the distance of the first byte changed near the operand: negative before it, positive after its end. */
static inline int64_t guard_broken(const guard *g, const void *operand, size_t bytes) {
  const size_t off = (size_t)((const unsigned char *)operand - g->data), end = off + bytes;
  const size_t lo = off < MARGIN ? 0 : off - MARGIN, hi = g->room - end < MARGIN ? g->room : end + MARGIN;
  for (size_t i = lo; i < off; i++)
    if (g->data[i] != margin_pattern[i % 4]) return (int64_t)i - (int64_t)off;
  for (size_t i = end; i < hi; i++)
    if (g->data[i] != margin_pattern[i % 4]) return (int64_t)(i - end) + 1;
  return 0;
}

/* ---- one kernel, every tier -------------------------------------------------------------------------------- */

enum { OPERANDS_MAX = 6, ALIASES_MAX = 2 };
typedef struct operand {
  const char *name;
  size_t size; /* of one element: 2, 4 or 8 bytes */
  int64_t count;
  const void *init; /* contents before the call; NULL: an output, every byte of which the kernel must write */
} operand;

typedef struct kcase kcase;
typedef void kcall(const dd_kernels *k, void *const *p, const kcase *c);
struct kcase {
  const char *kernel;
  kcall *call;
  fill kind;
  uint64_t seed;
  int64_t n, n_pad, target;
  int64_t rows, ld, grow; /* with n and whole: dd_rows */
  int whole;
  float f0, f1;
  dd_drop drop;
  dd_adamw adamw;
  operand op[OPERANDS_MAX]; /* up to the first without a name; [0] is the output for in-place runs */
  int alias[ALIASES_MAX];   /* operands > 0 that may share the memory of op[0]; 0: none */
  int any_nan;              /* both NaN is equal: inputs overflow, and a NaN's payload is no part of the contract */
};

static inline dd_rows rows_of(const kcase *c) { return (dd_rows){c->rows, c->ld, c->n, c->grow, c->whole}; }

static inline void kcase_print(const kcase *c, const dd_kernels *k, int at_end, int alias) {
  print_error("kernel %s, tier %s: n %lld n_pad %lld target %lld f0 %a f1 %a, inputs %s, seed 0x%llx, operands %s",
              c->kernel, k->tier, (long long)c->n, (long long)c->n_pad, (long long)c->target, (double)c->f0,
              (double)c->f1, fill_names[c->kind], (unsigned long long)c->seed,
              at_end ? "before a guard page" : "after a guard page");
  if (c->rows)
    print_error(", %lld rows ld %lld grow %lld whole %d", (long long)c->rows, (long long)c->ld, (long long)c->grow,
                c->whole);
  if (alias) print_error(", %s in place of %s", c->op[0].name, c->op[alias].name);
  if (c->drop.threshold || c->drop.c1)
    print_error("\n  drop: key %08x %08x c1 %08x c2 %08x c3 %08x col0 %u threshold %u scale %a", c->drop.key0,
                c->drop.key1, c->drop.c1, c->drop.c2, c->drop.c3, c->drop.col0, c->drop.threshold,
                (double)c->drop.scale);
  print_error("\n");
}

static inline uint64_t element_bits(const void *p, size_t size, int64_t i) {
  uint64_t u = 0;
  memcpy(&u, (const unsigned char *)p + (size_t)i * size, size);
  return u;
}
static inline int bits_are_nan(uint64_t u, size_t size) {
  if (size == 4) return (u & 0x7fffffff) > 0x7f800000;
  return size == 8 && (u & INT64_MAX) > 0x7ff0000000000000u;
}
/* Index of the first element that differs, or -1. */
static inline int64_t first_difference(const void *want, const void *got, int64_t count, size_t size, int any_nan) {
  if (!memcmp(want, got, (size_t)count * size)) return -1;
  for (int64_t i = 0; i < count; i++) {
    const uint64_t w = element_bits(want, size, i), g = element_bits(got, size, i);
    if (w != g && !(any_nan && bits_are_nan(w, size) && bits_are_nan(g, size))) return i;
  }
  return -1;
}

/* Adds a result to the fingerprint of its kernel (test_kernels.c), where every NaN counts as the same. */
void kernel_result(const char *kernel, const void *p, int64_t count, size_t size);

/* Runs the case in `scalar`, then in every tier (scalar too) at both ends of guarded memory and for every allowed
 * aliasing, and requires equal bytes in all operands, inputs included. */
static inline void check_case(const kcase *c) {
  static guard want_room[OPERANDS_MAX], got_room[OPERANDS_MAX];
  if (!want_room[0].data)
    for (int i = 0; i < OPERANDS_MAX; i++)
      want_room[i] = guard_new(SIZE_MAX_N * 8), got_room[i] = guard_new(SIZE_MAX_N * 8);
  void *want[OPERANDS_MAX] = {0}, *got[OPERANDS_MAX] = {0};
  int ops = 0;
  for (; ops < OPERANDS_MAX && c->op[ops].name; ops++) {
    const operand *o = &c->op[ops];
    const size_t bytes = (size_t)o->count * o->size;
    want[ops] = guard_place(&want_room[ops], bytes, o->size, 1);
    if (o->init) memcpy(want[ops], o->init, bytes);
    else memset(want[ops], 0x11, bytes);
  }
  c->call(&dd_kernels_scalar, want, c);
  for (int i = 0; i < ops; i++) kernel_result(c->kernel, want[i], c->op[i].count, c->op[i].size);

  FOR_TIERS(k)
  for (int run = only_reference(k) ? 2 * (1 + ALIASES_MAX) : 0; run < 2 * (1 + ALIASES_MAX); run++) {
    const int at_end = run % 2, alias = run < 2 ? 0 : c->alias[run / 2 - 1];
    if (run >= 2 && !alias) continue;
    for (int i = 0; i < ops; i++) {
      const operand *o = &c->op[i];
      const size_t bytes = (size_t)o->count * o->size;
      got[i] = guard_place(&got_room[i], bytes, o->size, at_end);
      if (o->init) memcpy(got[i], o->init, bytes);
      else memset(got[i], 0xee, bytes);
    }
    if (alias) {
      memcpy(got[0], c->op[alias].init, (size_t)c->op[0].count * c->op[0].size);
      got[alias] = got[0];
    }
    c->call(k, got, c);
    upper_halves_are_clean(c->kernel, k->tier);
    for (int i = 0; i < ops; i++) {
      if (i && i == alias) continue;
      const operand *o = &c->op[i];
      const int64_t at = first_difference(want[i], got[i], o->count, o->size, c->any_nan);
      const int64_t broken = guard_broken(&got_room[i], got[i], (size_t)o->count * o->size);
      if (at < 0 && !broken) continue;
      kcase_print(c, k, at_end, alias);
      if (broken)
        fail_msg("%s: wrote outside, at byte %+lld of its %s", o->name, (long long)broken,
                 broken < 0 ? "start" : "end");
      fail_msg("%s[%lld]: scalar 0x%0*llx, %s 0x%0*llx", o->name, (long long)at, (int)o->size * 2,
               (unsigned long long)element_bits(want[i], o->size, at), k->tier, (int)o->size * 2,
               (unsigned long long)element_bits(got[i], o->size, at));
    }
  }
}

/* The test's own pool of input arrays. */
static inline float *input(int slot) {
  static float pool[OPERANDS_MAX][SIZE_MAX_N];
  assert_in_range(slot, 0, OPERANDS_MAX - 1);
  return pool[slot];
}

/* Calls fn for every size from `from` and every kind of input below `kinds`, each with its own seed. */
static inline void each_case(void (*fn)(int64_t n, fill kind, uint64_t seed), int64_t from, fill kinds) {
  for (int i = (int)from; i < SIZE_COUNT; i++)
    for (int f = 0; f < (int)kinds; f++) fn(size_at(i), (fill)f, (uint64_t)i << 8 | (uint64_t)f);
}
#endif
