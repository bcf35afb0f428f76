/* The whole matrix tile of an x86 tier, MR rows x two vectors, in assembly: of so many sums compilers copy and spill
 * some, each in a way of its own, and they load every element of A with an instruction of its own.
 *
 * Where two hardware threads share a core, each can start half of the instructions, and then their number is what binds
 * a tile. So k goes in fours, with one count and few fetches for all of them, and AVX-512 multiplies every second row by
 * an element in memory: not all of them, which would be more loads than some processors can do.
 *
 * The tier says
 *   X_NAME(kind)          the name of this tile in tile.h
 *   X_V, X_BYTES          name and bytes of its registers; 0 and 1 hold a row of B
 *   X_ROWS(X, u)          X(EVEN or ODD, row, its pointer, registers of its two sums, u) for each row: where A lies in
 *                         rows, an even row has a pointer, and an odd one is one stride away from it
 *   X_POINTERS(X)         X(pointer, its row), without row 0
 *   X_EVEN, X_ODD(at,p,q) a step of the sums p and q with the element `at`
 *   X_CLOBBERS            its registers */
#ifndef DD_TILE_X86_H
#define DD_TILE_X86_H
#include <stddef.h>

/* What the loop has no register for; strides in bytes. */
typedef struct tile_args {
  float *c;
  int64_t ldc, fours, rest, from_c, add_c; /* rest: k beyond the fours */
  int64_t apart, step, last;               /* whether each k fetches a line of its own; to the next one; to the next four */
  float *next_c;                           /* the row to fetch next */
  const float *fb;                         /* room for a register */
  int64_t fetch_a, wrap;                   /* wrap: from the last rows of a tile back to its first ones, a line on */
} tile_args;
#define X_C "0(%[args])"
#define X_LDC "8(%[args])"
#define X_FOURS "16(%[args])"
#define X_REST "24(%[args])"
#define X_FROM_C "32(%[args])"
#define X_ADD_C "40(%[args])"
#define X_APART "48(%[args])"
#define X_STEP "56(%[args])"
#define X_LAST "64(%[args])"
#define X_NEXT_C "72(%[args])"
#define X_FB "80(%[args])"
#define X_FETCH_A "88(%[args])"
#define X_WRAP "96(%[args])"
_Static_assert(offsetof(tile_args, ldc) == 8 && offsetof(tile_args, apart) == 48 && offsetof(tile_args, wrap) == 96,
               "the offsets above");

#define X_STR_(x) #x
#define X_STR(x) X_STR_(x)
#define X_R(n) "%%" X_V #n
#define X_HALF X_STR(X_BYTES)
#define X_(text) text "\n\t"

/* ---- sums: from zero or C, and back to it; t points at rows of C ---- */
#define X_ZERO(kind, i, a, p, q, u)                                                                                    \
  X_("vxorps " X_R(p) ", " X_R(p) ", " X_R(p)) X_("vxorps " X_R(q) ", " X_R(q) ", " X_R(q))
#define X_LOAD(kind, i, a, p, q, u)                                                                                    \
  X_("vmovups (%[t]), " X_R(p)) X_("vmovups " X_HALF "(%[t]), " X_R(q)) X_("add " X_LDC ", %[t]")
#define X_ADD(kind, i, a, p, q, u)                                                                                     \
  X_("vaddps (%[t]), " X_R(p) ", " X_R(p)) X_("vaddps " X_HALF "(%[t]), " X_R(q) ", " X_R(q)) X_("add " X_LDC ", %[t]")
#define X_STORE(kind, i, a, p, q, u)                                                                                   \
  X_("vmovups " X_R(p) ", (%[t])") X_("vmovups " X_R(q) ", " X_HALF "(%[t])") X_("add " X_LDC ", %[t]")
#define X_BEGIN                                                                                                        \
  X_("mov " X_C ", %[t]") X_("cmpq $0, " X_FROM_C) X_("jne 1f") X_ROWS(X_ZERO, 0) X_("jmp 2f")                         \
  X_("1:") X_ROWS(X_LOAD, 0) X_("2:")
#define X_END                                                                                                          \
  X_("mov " X_C ", %[t]") X_("cmpq $0, " X_ADD_C) X_("je 1f") X_ROWS(X_ADD, 0) X_("mov " X_C ", %[t]")                 \
  X_("1:") X_ROWS(X_STORE, 0) "vzeroupper"

/* ---- k: t counts the fours, then what is left ---- */
#define X_B X_("vmovups (%[b]), " X_R(0)) X_("vmovups " X_HALF "(%[b]), " X_R(1)) X_("add %[bs], %[b]")
/* C is often beyond the second cache. A row of it is fetched in each of the first fours: all rows at once would take all
 * places in which loads wait, and those of A and B with them. */
#define X_AHEAD_C                                                                                                      \
  X_("cmp $" X_STR(TILE_MR) ", %[t]") X_("jae 9f") X_("mov %[fb], " X_FB) X_("mov " X_NEXT_C ", %[fb]")                \
  X_("prefetcht1 (%[fb])") X_("prefetcht1 2*" X_HALF "-4(%[fb])") X_("add " X_LDC ", %[fb]")                           \
  X_("mov %[fb], " X_NEXT_C) X_("mov " X_FB ", %[fb]") X_("9:")
#define X_AHEAD                                                                                                        \
  X_("prefetcht1 (%[fb])") X_("cmpq $0, " X_APART) X_("je 4f")                                                         \
  X_("add " X_STEP ", %[fb]") X_("prefetcht1 (%[fb])") X_("add " X_STEP ", %[fb]") X_("prefetcht1 (%[fb])")            \
  X_("add " X_STEP ", %[fb]") X_("prefetcht1 (%[fb])") X_("4:") X_("add " X_LAST ", %[fb]")
#define X_LOOP(AHEAD, K, NEXT)                                                                                         \
  X_("xor %k[t], %k[t]") X_("cmp " X_FOURS ", %[t]") X_("je 6f") X_(".p2align 4")                                      \
  X_("3:") X_AHEAD_C X_AHEAD AHEAD K(0) K(1) K(2) K(3) NEXT(16) X_("inc %[t]") X_("cmp " X_FOURS ", %[t]")             \
  X_("jne 3b")                                                                                                         \
  X_("6:") X_("mov " X_REST ", %[t]") X_("test %[t], %[t]") X_("je 8f")                                                \
  X_("7:") K(0) NEXT(4) X_("dec %[t]") X_("jne 7b") X_("8:")

/* ---- A by lanes: row i of a k at a + i ---- */
#define X_LANE(kind, i, a, p, q, u) X_##kind("4*" #i "(%[a])", p, q)
#define X_K_LANES(u) X_B X_ROWS(X_LANE, u) X_("add %[as], %[a]")
#define X_LANES_AHEAD                                                                                                  \
  X_("cmpq $0, " X_FETCH_A) X_("je 5f") X_("prefetcht1 (%[fa])") X_("prefetcht1 (%[fa],%[as])")                        \
  X_("lea (%[fa],%[as],2), %[fa]") X_("prefetcht1 (%[fa])") X_("prefetcht1 (%[fa],%[as])")                             \
  X_("lea (%[fa],%[as],2), %[fa]") X_("5:")
#define X_LANES_NEXT(bytes)

/* ---- A by rows ---- */
#define X_AT_EVEN(a, u) "4*" #u "(%[" #a "])"
#define X_AT_ODD(a, u) "4*" #u "(%[" #a "],%[as])"
#define X_ROW(kind, i, a, p, q, u) X_##kind(X_AT_##kind(a, u), p, q)
#define X_K_ROWS(u) X_B X_ROWS(X_ROW, u)
/* Of the next rows a line of three at a time: of twelve, one tile of them or two, in sixteen k. */
#define X_ROWS_AHEAD                                                                                                   \
  X_("cmpq $0, " X_FETCH_A) X_("je 5f")                                                                                \
  X_("prefetcht1 (%[fa])") X_("prefetcht1 (%[fa],%[as])") X_("prefetcht1 (%[fa],%[as],2)")                             \
  X_("lea (%[fa],%[as],2), %[fa]") X_("add %[as], %[fa]") X_("inc %[t]") X_("test $3, %b[t]") X_("lea -1(%[t]), %[t]") \
  X_("jne 5f") X_("add " X_WRAP ", %[fa]") X_("5:")
#define X_NEXT_16(a, i) X_("add $16, %[" #a "]")
#define X_NEXT_4(a, i) X_("add $4, %[" #a "]")
#define X_ROWS_NEXT(bytes) X_POINTERS(X_NEXT_##bytes) X_("add $" #bytes ", %[a]")
#define X_DECLARE(a_i, i) const float *a_i = a + i * as;
#define X_OPERAND(a_i, i) , [a_i] "+&r"(a_i)

static tile_args tile_args_of(int64_t kk, float *c, int64_t ldc, dd_gemm_mode mode, const ahead *f) {
  const int64_t step = f->step * 4, apart = f->step > 64 / (int)sizeof(float) / 4;
  return (tile_args){.c = c,
                     .ldc = ldc * 4,
                     .fours = kk / 4,
                     .rest = kk % 4,
                     .from_c = mode == DD_GEMM_CONTINUE,
                     .add_c = mode == DD_GEMM_ADD,
                     .apart = apart,
                     .step = step,
                     .last = apart ? step : 4 * step,
                     .next_c = c,
                     .fetch_a = f->fetch_a};
}

static void X_NAME(tile)(int64_t kk, const float *a, int64_t as, const float *b, int64_t bs, float *c, int64_t ldc,
                         dd_gemm_mode mode, const ahead *f) {
  tile_args args = tile_args_of(kk, c, ldc, mode, f);
  const float *fa = f->a, *fb = f->b;
  int64_t t;
  __asm__ volatile(X_BEGIN X_LOOP(X_LANES_AHEAD, X_K_LANES, X_LANES_NEXT) X_END
                   : [t] "=&r"(t), [a] "+&r"(a), [b] "+&r"(b), [fb] "+&r"(fb), [fa] "+&r"(fa)
                   : [as] "r"(as * 4), [bs] "r"(bs * 4), [args] "r"(&args)
                   : X_CLOBBERS, "cc", "memory");
}

static void X_NAME(rows)(int64_t kk, const float *a, int64_t as, const float *b, int64_t bs, float *c, int64_t ldc,
                         dd_gemm_mode mode, const ahead *f) {
  tile_args args = tile_args_of(kk, c, ldc, mode, f);
  args.wrap = 64 - 12 * as * 4;
  const float *fa = f->a, *fb = f->b;
  X_POINTERS(X_DECLARE)
  int64_t t;
  __asm__ volatile(X_BEGIN X_LOOP(X_ROWS_AHEAD, X_K_ROWS, X_ROWS_NEXT) X_END
                   : [t] "=&r"(t), [a] "+&r"(a), [b] "+&r"(b), [fb] "+&r"(fb), [fa] "+&r"(fa)X_POINTERS(X_OPERAND)
                   : [as] "r"(as * 4), [bs] "r"(bs * 4), [args] "r"(&args)
                   : X_CLOBBERS, "cc", "memory");
}
#endif
