/* The whole matrix tile of an x86 tier, MR rows x two vectors, in assembly: of so many sums compilers copy and spill
 * some, each in a way of its own, and they load every element of A with an instruction of its own.
 *
 * Where two hardware threads share a core, each can start half of the instructions, and then their number is what
 * binds a tile. So k goes in fours, with one count and one fetch for all of them, in a loop for each kind of fetch, and
 * AVX-512 multiplies every second row by an element in memory: not all of them, which would be more loads than some
 * processors can do.
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

/* What the loops read in memory: the first fields of tile_job. */
#define X_LDC "0(%[job])"
#define X_FROM_C "8(%[job])"
#define X_ADD_C "16(%[job])"
#define X_REST "24(%[job])"
#define X_C_FOURS "32(%[job])"
#define X_FOURS "40(%[job])"
#define X_K_ON "48(%[job])"
#define X_FOUR_ON "56(%[job])"
#define X_WRAP "64(%[job])"
#define X_FETCH "72(%[job])"
#define X_C "80(%[job])"
_Static_assert(!offsetof(tile_job, ldc4) && offsetof(tile_job, add_c) == 16 && offsetof(tile_job, rest) == 24 &&
                   offsetof(tile_job, fours) == 40 && offsetof(tile_job, four_on) == 56 &&
                   offsetof(tile_job, wrap) == 64 && offsetof(tile_job, c) == 80,
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
  X_("mov %[c], %[t]") X_("cmpq $0, " X_FROM_C) X_("jne 1f") X_ROWS(X_ZERO, 0) X_("jmp 2f")                            \
  X_("1:") X_ROWS(X_LOAD, 0) X_("2:")
#define X_END                                                                                                          \
  X_("mov " X_C ", %[t]") X_("cmpq $0, " X_ADD_C) X_("je 1f") X_ROWS(X_ADD, 0) X_("mov " X_C ", %[t]")                 \
  X_("1:") X_ROWS(X_STORE, 0) "vzeroupper"

/* ---- k: t counts the fours up, then down what is left ---- */
#define X_B_EVEN X_("vmovups (%[b]), " X_R(0)) X_("vmovups " X_HALF "(%[b]), " X_R(1))
#define X_B_ODD                                                                                                        \
  X_("vmovups (%[b],%[bs]), " X_R(0)) X_("vmovups " X_HALF "(%[b],%[bs]), " X_R(1)) X_("lea (%[b],%[bs],2), %[b]")
/* What the fours of a tile fetch. C is often beyond the second cache; a row of it is fetched in each of the first
 * fours, because all rows at once would take all places in which loads wait, and those of A and B with them. */
#define X_AHEAD_C X_("prefetcht1 (%[c])") X_("prefetcht1 2*" X_HALF "-4(%[c])") X_("add " X_LDC ", %[c]")
#define X_AHEAD_B X_("prefetcht1 (%[fb])") X_("add " X_FOUR_ON ", %[fb]")
#define X_AHEAD_4B                                                                                                     \
  X_("prefetcht1 (%[fb])") X_("add " X_K_ON ", %[fb]") X_("prefetcht1 (%[fb])") X_("add " X_K_ON ", %[fb]")            \
  X_("prefetcht1 (%[fb])") X_("add " X_K_ON ", %[fb]") X_("prefetcht1 (%[fb])") X_("add " X_K_ON ", %[fb]")
/* A loop for each, first those fours that fetch a row of C, too: branches among so few instructions are felt. */
#define X_LOOP(label, END, AHEAD, FOUR)                                                                                \
  X_(".p2align 4") X_(#label ":") AHEAD FOUR X_("inc %[t]") X_("cmp " END ", %[t]") X_("jne " #label "b")
#define X_PHASES(label, AHEAD, FOUR)                                                                                   \
  X_("cmp " X_C_FOURS ", %[t]") X_("je 4f") X_LOOP(1##label, X_C_FOURS, X_AHEAD_C AHEAD, FOUR)                         \
  X_("4:") X_("cmp " X_FOURS ", %[t]") X_("je 6f") X_LOOP(2##label, X_FOURS, AHEAD, FOUR) X_("jmp 6f")
#define X_CHAINS(AHEAD_A, FOUR, ONE)                                                                                   \
  X_("xor %k[t], %k[t]") X_("cmpq $1, " X_FETCH) X_("je 3f") X_("ja 5f") X_PHASES(1, X_AHEAD_B, FOUR)                  \
  X_("3:") X_PHASES(2, AHEAD_A X_AHEAD_B, FOUR) X_("5:") X_PHASES(3, X_AHEAD_4B, FOUR)                                 \
  X_("6:") X_("mov " X_REST ", %[t]") X_("test %[t], %[t]") X_("je 8f")                                                \
  X_("7:") ONE X_("dec %[t]") X_("jne 7b") X_("8:")

/* ---- A by lanes: row i of a k at a + i ---- */
#define X_LANE_AT_0(i) "4*" #i "(%[a])"
#define X_LANE_AT_1(i) "4*" #i "(%[a],%[as])"
#define X_LANE(kind, i, a, p, q, u) X_##kind(X_LANE_AT_##u(i), p, q)
#define X_TWO_LANES                                                                                                    \
  X_B_EVEN X_ROWS(X_LANE, 0) X_B_ODD X_ROWS(X_LANE, 1) X_("lea (%[a],%[as],2), %[a]")
#define X_FOUR_LANES X_TWO_LANES X_TWO_LANES
#define X_ONE_LANES X_B_EVEN X_ROWS(X_LANE, 0) X_("add %[as], %[a]") X_("add %[bs], %[b]")
#define X_LANES_AHEAD                                                                                                  \
  X_("prefetcht1 (%[fa])") X_("prefetcht1 (%[fa],%[as])") X_("lea (%[fa],%[as],2), %[fa]")                             \
  X_("prefetcht1 (%[fa])") X_("prefetcht1 (%[fa],%[as])") X_("lea (%[fa],%[as],2), %[fa]")

/* ---- A by rows ---- */
#define X_AT_EVEN(a, u) "4*" #u "(%[" #a "])"
#define X_AT_ODD(a, u) "4*" #u "(%[" #a "],%[as])"
#define X_ROW(kind, i, a, p, q, u) X_##kind(X_AT_##kind(a, u), p, q)
#define X_NEXT_16(a, i) X_("add $16, %[" #a "]")
#define X_NEXT_4(a, i) X_("add $4, %[" #a "]")
#define X_FOUR_ROWS                                                                                                    \
  X_B_EVEN X_ROWS(X_ROW, 0) X_B_ODD X_ROWS(X_ROW, 1) X_B_EVEN X_ROWS(X_ROW, 2) X_B_ODD X_ROWS(X_ROW, 3)                \
  X_POINTERS(X_NEXT_16) X_("add $16, %[a]")
#define X_ONE_ROWS X_B_EVEN X_ROWS(X_ROW, 0) X_("add %[bs], %[b]") X_POINTERS(X_NEXT_4) X_("add $4, %[a]")
/* Of the next rows a line of three at a time: of twelve, one tile of them or two, in sixteen k. */
#define X_ROWS_AHEAD                                                                                                   \
  X_("prefetcht1 (%[fa])") X_("prefetcht1 (%[fa],%[as])") X_("prefetcht1 (%[fa],%[as],2)")                             \
  X_("lea (%[fa],%[as],2), %[fa]") X_("add %[as], %[fa]") X_("inc %[t]") X_("test $3, %b[t]") X_("lea -1(%[t]), %[t]") \
  X_("jne 9f") X_("add " X_WRAP ", %[fa]") X_("9:")
#define X_DECLARE(a_i, i) const float *a_i = a + i * as;
#define X_OPERAND(a_i, i) , [a_i] "+&r"(a_i)

static void tile_prepare(tile_job *j) {
  j->ldc4 = j->ldc * 4;
  j->from_c = j->mode == DD_GEMM_CONTINUE;
  j->add_c = j->mode == DD_GEMM_ADD;
  j->fours = j->kk / 4;
  j->rest = j->kk % 4;
  j->c_fours = j->from_c ? 0 : j->fours < TILE_MR ? j->fours : TILE_MR;
  j->wrap = 64 - 12 * 4 * j->as; /* see X_ROWS_AHEAD */
}
VI void tile_fetch(tile_job *j, int fetch_a) {
  j->k_on = j->per_k * 4;
  j->four_on = j->k_on * 4;
  j->fetch = j->four_on > 64 ? 2 : fetch_a;
}

static void X_NAME(tile)(const float *a, const float *b, float *c, tile_job *job) {
  const float *fa = job->next_a, *fb = job->next_b;
  int64_t t;
  job->c = c;
  __asm__ volatile(X_BEGIN X_CHAINS(X_LANES_AHEAD, X_FOUR_LANES, X_ONE_LANES) X_END
                   : [t] "=&r"(t), [a] "+&r"(a), [b] "+&r"(b), [c] "+&r"(c), [fb] "+&r"(fb), [fa] "+&r"(fa)
                   : [as] "r"(job->as * 4), [bs] "r"(job->bs * 4), [job] "r"(job)
                   : X_CLOBBERS, "cc", "memory");
}

static void X_NAME(rows)(const float *a, const float *b, float *c, tile_job *job) {
  const float *fa = job->next_a, *fb = job->next_b;
  const int64_t as = job->as;
  X_POINTERS(X_DECLARE)
  int64_t t;
  job->c = c;
  __asm__ volatile(X_BEGIN X_CHAINS(X_ROWS_AHEAD, X_FOUR_ROWS, X_ONE_ROWS) X_END
                   : [t] "=&r"(t), [a] "+&r"(a), [b] "+&r"(b), [c] "+&r"(c), [fb] "+&r"(fb),
                     [fa] "+&r"(fa) X_POINTERS(X_OPERAND)
                   : [as] "r"(as * 4), [bs] "r"(job->bs * 4), [job] "r"(job)
                   : X_CLOBBERS, "cc", "memory");
}
#endif
