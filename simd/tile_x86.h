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
 *   X_ROWS(X, u)          X(EVEN or ODD, row, its pointer, strides from there, registers of its two sums, u) for each
 *                         row: where A lies in rows, every fourth has a pointer
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
#define X_EIGHTS "48(%[job])"
#define X_K_ON "56(%[job])"
#define X_FOUR_ON "64(%[job])"
#define X_EIGHT_ON "72(%[job])"
#define X_WRAP "80(%[job])"
#define X_FETCH "88(%[job])"
#define X_C "96(%[job])"
_Static_assert(!offsetof(tile_job, ldc4) && offsetof(tile_job, add_c) == 16 && offsetof(tile_job, c_fours) == 32 &&
                   offsetof(tile_job, eights) == 48 && offsetof(tile_job, eight_on) == 72 &&
                   offsetof(tile_job, wrap) == 80 && offsetof(tile_job, c) == 96,
               "the offsets above");

#define X_STR_(x) #x
#define X_STR(x) X_STR_(x)
#define X_R(n) "%%" X_V #n
#define X_HALF X_STR(X_BYTES)
#define X_(text) text "\n\t"

/* ---- sums: from zero or C, and back to it; t points at rows of C ---- */
#define X_ZERO(kind, i, a, m, p, q, u)                                                                                 \
  X_("vxorps " X_R(p) ", " X_R(p) ", " X_R(p)) X_("vxorps " X_R(q) ", " X_R(q) ", " X_R(q))
#define X_LOAD(kind, i, a, m, p, q, u)                                                                                 \
  X_("vmovups (%[t]), " X_R(p)) X_("vmovups " X_HALF "(%[t]), " X_R(q)) X_("add " X_LDC ", %[t]")
#define X_ADD(kind, i, a, m, p, q, u)                                                                                  \
  X_("vaddps (%[t]), " X_R(p) ", " X_R(p)) X_("vaddps " X_HALF "(%[t]), " X_R(q) ", " X_R(q)) X_("add " X_LDC ", %[t]")
#define X_STORE(kind, i, a, m, p, q, u)                                                                                \
  X_("vmovups " X_R(p) ", (%[t])") X_("vmovups " X_R(q) ", " X_HALF "(%[t])") X_("add " X_LDC ", %[t]")
#define X_BEGIN                                                                                                        \
  X_("mov %[c], %[t]") X_("cmpq $0, " X_FROM_C) X_("jne 1f") X_ROWS(X_ZERO, 0) X_("jmp 2f")                            \
  X_("1:") X_ROWS(X_LOAD, 0) X_("2:")
#define X_END                                                                                                          \
  X_("mov " X_C ", %[t]") X_("cmpq $0, " X_ADD_C) X_("je 1f") X_ROWS(X_ADD, 0) X_("mov " X_C ", %[t]")                 \
  X_("1:") X_ROWS(X_STORE, 0) "vzeroupper"

/* ---- k: t counts fours up, eights down (up where rows of A are fetched), what is left down ---- */
#define X_AT_0(s) ")"
#define X_AT_1(s) ",%[" #s "])"
#define X_AT_2(s) ",%[" #s "],2)"
#define X_AT_3(s) ",%[" #s "3])"
#define X_AT(m, a, s) "(%[" #a "]" X_AT_##m(s)
#define X_B(u) X_("vmovups " X_AT(u, b, bs) ", " X_R(0)) X_("vmovups " X_HALF X_AT(u, b, bs) ", " X_R(1))
#define X_B_ON(n) X_("lea (%[b],%[bs]," #n "), %[b]")
#define X_QUARTET(X, u, v, w, x)                                                                                       \
  X_B(0) X_ROWS(X, u) X_B(1) X_ROWS(X, v) X_B(2) X_ROWS(X, w) X_B(3) X_ROWS(X, x) X_B_ON(4)
/* What the fours of a tile fetch. C is often beyond the second cache; a row of it is fetched in each of the first
 * fours, because all rows at once would take all places in which loads wait, and those of A and B with them. */
#define X_AHEAD_C X_("prefetcht1 (%[c])") X_("prefetcht1 2*" X_HALF "-4(%[c])") X_("add " X_LDC ", %[c]")
#define X_AHEAD_B X_("prefetcht1 (%[fb])") X_("add " X_FOUR_ON ", %[fb]")
#define X_AHEAD_4B                                                                                                     \
  X_("prefetcht1 (%[fb])") X_("add " X_K_ON ", %[fb]") X_("prefetcht1 (%[fb])") X_("add " X_K_ON ", %[fb]")            \
  X_("prefetcht1 (%[fb])") X_("add " X_K_ON ", %[fb]") X_("prefetcht1 (%[fb])") X_("add " X_K_ON ", %[fb]")
/* A loop for each, first those fours that fetch a row of C, too: branches among so few instructions are felt. Where a
 * line of B's next is enough, the others go in eights. */
#define X_AHEAD_EIGHT X_("prefetcht1 (%[fb])") X_("add " X_EIGHT_ON ", %[fb]")
#define X_UP_TO(label, END, AHEAD, STEP)                                                                               \
  X_(".p2align 4") X_(#label ":") AHEAD STEP X_("inc %[t]") X_("cmp " END ", %[t]") X_("jne " #label "b")
#define X_WITH_C(label, AHEAD, FOUR)                                                                                   \
  X_("cmp " X_C_FOURS ", %[t]") X_("je 4f") X_UP_TO(1##label, X_C_FOURS, X_AHEAD_C AHEAD, FOUR) X_("4:")
#define X_IN_FOURS(label, AHEAD, FOUR)                                                                                 \
  X_WITH_C(label, AHEAD, FOUR)                                                                                         \
  X_("cmp " X_FOURS ", %[t]") X_("je 6f") X_UP_TO(2##label, X_FOURS, AHEAD, FOUR) X_("jmp 6f")
#define X_IN_EIGHTS(label, FOUR, EIGHT)                                                                                \
  X_WITH_C(label, X_AHEAD_B, FOUR)                                                                                     \
  X_("mov " X_EIGHTS ", %[t]") X_("test %[t], %[t]") X_("je 6f") X_(".p2align 4") X_("2" #label ":") X_AHEAD_EIGHT     \
  EIGHT X_("dec %[t]") X_("jne 2" #label "b") X_("jmp 6f")
/* The same with A's next: lanes, of which each k has a line, in fours; rows, see X_ROWS_LOOP. */
#define X_A_IN_FOURS(AHEAD, FOUR, EIGHT) X_IN_FOURS(2, AHEAD X_AHEAD_B, FOUR)
#define X_A_IN_EIGHTS(AHEAD, FOUR, EIGHT)                                                                              \
  X_WITH_C(2, AHEAD X_AHEAD_B, FOUR)                                                                                   \
  X_("xor %k[t], %k[t]") X_("cmp " X_EIGHTS ", %[t]") X_("je 6f") X_UP_TO(22, X_EIGHTS, AHEAD X_AHEAD_EIGHT, EIGHT)    \
  X_("jmp 6f")
#define X_CHAINS(WITH_A, AHEAD_A, ONE, FOUR, EIGHT)                                                                    \
  X_("xor %k[t], %k[t]") X_("cmpq $1, " X_FETCH) X_("je 3f") X_("ja 5f") X_IN_EIGHTS(1, FOUR, EIGHT)                   \
  X_("3:") WITH_A(AHEAD_A, FOUR, EIGHT)                                                                                \
  X_("5:") X_("cmpq $2, " X_FETCH) X_("jne 7f") X_IN_FOURS(3, X_AHEAD_4B, FOUR)                                        \
  X_("7:") X_IN_FOURS(4, X_AHEAD_B, FOUR) X_LAST(ONE)
#define X_LAST(ONE)                                                                                                    \
  X_("6:") X_("mov " X_REST ", %[t]") X_("test %[t], %[t]") X_("je 8f")                                                \
  X_("7:") ONE X_B_ON(1) X_("dec %[t]") X_("jne 7b") X_("8:")

/* ---- A by lanes: row i of a k at a + i ---- */
#define X_LANE(kind, i, pointer, m, p, q, u) X_##kind("4*" #i X_AT(u, a, as), p, q)
#define X_ONE_LANES X_B(0) X_ROWS(X_LANE, 0) X_("add %[as], %[a]")
#define X_FOUR_LANES X_QUARTET(X_LANE, 0, 1, 2, 3) X_("lea (%[a],%[as],4), %[a]")
#define X_LANES_AHEAD                                                                                                  \
  X_("prefetcht1 (%[fa])") X_("prefetcht1 (%[fa],%[as])") X_("prefetcht1 (%[fa],%[as],2)")                             \
  X_("prefetcht1 (%[fa],%[as3])") X_("lea (%[fa],%[as],4), %[fa]")

/* The first tile of a panel of B that is copied: its rows lie apart, and come into the first cache on time if they are
 * asked for X_FAR k before. Of the next panel's rows one line is fetched; where they have two, the other one comes with
 * it on most processors, or when the panel is copied. */
#define X_FAR 32
#if X_BYTES > 32
#define X_FETCH_FAR(u) X_("prefetcht0 " X_AT(u, far, bs)) X_("prefetcht0 64" X_AT(u, far, bs))
#else
#define X_FETCH_FAR(u) X_("prefetcht0 " X_AT(u, far, bs))
#endif
#define X_K_COPY(u)                                                                                                    \
  X_FETCH_FAR(u) X_B(u) X_("vmovaps " X_R(0) ", 2*" X_HALF "*" #u "(%[copy])")                                         \
  X_("vmovaps " X_R(1) ", 2*" X_HALF "*" #u "+" X_HALF "(%[copy])") X_ROWS(X_LANE, u)
#define X_COPY_ON(n) X_("add $2*" X_HALF "*" #n ", %[copy]")
#define X_ONE_COPY X_K_COPY(0) X_("add %[as], %[a]") X_("add %[bs], %[far]") X_COPY_ON(1)
#define X_FOUR_COPY                                                                                                    \
  X_K_COPY(0) X_K_COPY(1) X_K_COPY(2) X_K_COPY(3) X_B_ON(4)                                                            \
  X_("lea (%[a],%[as],4), %[a]") X_("lea (%[far],%[bs],4), %[far]") X_COPY_ON(4)

/* The tiles of the first panel of B leave A packed: a vector of each k. What is beyond MR the next k takes back, that
 * of the last k the next panel. Lanes of the next tile are fetched: most come from beyond the second cache. */
#define X_MR4 X_STR(TILE_MR) "*4"
#define X_K_LEAVE(u)                                                                                                   \
  X_B(u) X_("vmovups " X_AT(u, a, as) ", " X_R(2)) X_("vmovups " X_R(2) ", " X_MR4 "*" #u "(%[copy])") X_ROWS(X_LANE, u)
#define X_LEAVE_ON(n) X_("add $" X_MR4 "*" #n ", %[copy]")
#define X_ONE_LEAVE X_K_LEAVE(0) X_("add %[as], %[a]") X_LEAVE_ON(1)
#define X_FOUR_LEAVE                                                                                                   \
  X_K_LEAVE(0) X_K_LEAVE(1) X_K_LEAVE(2) X_K_LEAVE(3) X_B_ON(4) X_("lea (%[a],%[as],4), %[a]") X_LEAVE_ON(4)

/* ---- A by rows ---- */
#define X_ROW(kind, i, a, m, p, q, u) X_##kind("4*" #u X_AT(m, a, as), p, q)
#define X_STEP_4(a, i) X_("add $4, %[" #a "]")
#define X_STEP_16(a, i) X_("add $16, %[" #a "]")
#define X_STEP_32(a, i) X_("add $32, %[" #a "]")
#define X_ONE_ROWS X_B(0) X_ROWS(X_ROW, 0) X_STEP_4(a, 0) X_POINTERS(X_STEP_4)
#define X_FOUR_ROWS X_QUARTET(X_ROW, 0, 1, 2, 3) X_STEP_16(a, 0) X_POINTERS(X_STEP_16)
#define X_EIGHT_ROWS                                                                                                   \
  X_QUARTET(X_ROW, 0, 1, 2, 3) X_QUARTET(X_ROW, 4, 5, 6, 7) X_STEP_32(a, 0) X_POINTERS(X_STEP_32)
/* Of the next rows a line of three at a time: in sixteen k one of twelve, in four fours, or of six, in two eights; of
 * six the fours that fetch C, too, run ahead (a line in two of them), and leave the eights three rows off where there
 * is an odd number of them. */
#define X_ROWS_3                                                                                                       \
  X_("prefetcht1 (%[fa])") X_("prefetcht1 (%[fa],%[as])") X_("prefetcht1 (%[fa],%[as],2)") X_("add %[as3], %[fa]")
#if TILE_MR == 6
#define X_ROWS_LOOP X_A_IN_EIGHTS
#define X_ROWS_AHEAD X_ROWS_3 X_("test $1, %b[t]") X_("je 9f") X_("add " X_WRAP ", %[fa]") X_("9:")
#else
#define X_ROWS_LOOP X_A_IN_FOURS
#define X_ROWS_AHEAD                                                                                                   \
  X_ROWS_3 X_("inc %[t]") X_("test $3, %b[t]") X_("lea -1(%[t]), %[t]") X_("jne 9f") X_("add " X_WRAP ", %[fa]")       \
  X_("9:")
#endif
#define X_DECLARE(a_i, i) const float *a_i = a + i * job->as;
#define X_OPERAND(a_i, i) , [a_i] "+&r"(a_i)

static void tile_prepare(tile_job *j) {
  j->ldc4 = j->ldc * 4;
  j->from_c = j->mode == DD_GEMM_CONTINUE;
  j->add_c = j->mode == DD_GEMM_ADD;
  /* Shifts, because divisions of what may be negative take several times as many instructions. */
  j->fours = j->kk >> 2;
  j->rest = j->kk & 3;
  j->c_fours = j->from_c ? 0 : j->fours < TILE_MR ? j->fours : TILE_MR;
  j->c_fours += (j->fours - j->c_fours) & 1;
  j->eights = (j->fours - j->c_fours) >> 1;
  j->wrap = 64 - TILE_MR * 4 * j->as; /* see X_ROWS_AHEAD */
  j->k_on = j->per_k * 4;
  j->four_on = j->k_on * 4;
  j->eight_on = j->k_on * 8;
  /* Rows of B that lie apart come in time if a load meets every fourth of them, not every eighth: 14 % on Zen 3. */
  j->plain = j->eight_on > 64 ? 2 : j->bs != TILE_NR ? 3 : 0;
  if (!j->rows) return;
  j->four_on = j->eight_on = j->k_on; /* a row each time, in whichever loop has times enough */
  j->plain = j->rows > j->kk / 4 ? 2 : j->rows > j->kk / 8 ? 3 : 0;
}
VI void tile_fetch(tile_job *j, int fetch_a) { j->fetch = fetch_a && j->plain != 2 ? 1 : j->plain; }

/* What all tiles read, and the end of their statements. */
#define X_INPUTS                                                                                                       \
  : [as] "r"(as), [as3] "r"(as * 3), [bs] "r"(bs), [bs3] "r"(bs * 3), [job] "r"(job) : X_CLOBBERS, "cc", "memory"

static void X_NAME(tile)(const float *a, const float *b, float *c, tile_job *job) {
  const float *fa = job->next_a, *fb = job->next_b;
  const int64_t as = job->as * 4, bs = job->bs * 4;
  int64_t t;
  job->c = c;
  __asm__ volatile(X_BEGIN X_CHAINS(X_A_IN_FOURS, X_LANES_AHEAD, X_ONE_LANES, X_FOUR_LANES,
                                    X_FOUR_LANES X_FOUR_LANES) X_END
                   : [t] "=&r"(t), [a] "+&r"(a), [b] "+&r"(b), [c] "+&r"(c), [fb] "+&r"(fb), [fa] "+&r"(fa)
                   X_INPUTS);
}

static void tile_copying(const float *a, const float *b, float *c, tile_job *job, float *copy) {
  const float *fb = job->next_b, *far = b + X_FAR * job->per_k;
  const int64_t as = job->as * 4, bs = job->per_k * 4;
  int64_t t;
  job->c = c;
  __asm__ volatile(X_BEGIN X_("xor %k[t], %k[t]") X_IN_FOURS(1, X_AHEAD_B, X_FOUR_COPY) X_LAST(X_ONE_COPY) X_END
                   : [t] "=&r"(t), [a] "+&r"(a), [b] "+&r"(b), [c] "+&r"(c), [fb] "+&r"(fb), [far] "+&r"(far),
                     [copy] "+&r"(copy)
                   X_INPUTS);
}

/* Of A and `copy` it touches a vector for each k, TW - MR lanes more than it multiplies: at least TW must be left. */
static void tile_leaving(const float *a, const float *b, float *c, tile_job *job, float *copy) {
  const float *fa = job->next_a, *fb = job->next_b;
  const int64_t as = job->as * 4, bs = job->bs * 4;
  int64_t t;
  job->c = c;
  __asm__ volatile(X_BEGIN X_("xor %k[t], %k[t]") X_IN_FOURS(1, X_LANES_AHEAD X_AHEAD_B, X_FOUR_LEAVE)
                       X_LAST(X_ONE_LEAVE) X_END
                   : [t] "=&r"(t), [a] "+&r"(a), [b] "+&r"(b), [c] "+&r"(c), [fb] "+&r"(fb), [fa] "+&r"(fa),
                     [copy] "+&r"(copy)
                   X_INPUTS);
}

static void X_NAME(rows)(const float *a, const float *b, float *c, tile_job *job) {
  const float *fa = job->next_a, *fb = job->next_b;
  const int64_t as = job->as * 4, bs = job->bs * 4;
  X_POINTERS(X_DECLARE)
  int64_t t;
  job->c = c;
  __asm__ volatile(X_BEGIN X_CHAINS(X_ROWS_LOOP, X_ROWS_AHEAD, X_ONE_ROWS, X_FOUR_ROWS, X_EIGHT_ROWS) X_END
                   : [t] "=&r"(t), [a] "+&r"(a), [b] "+&r"(b), [c] "+&r"(c), [fb] "+&r"(fb),
                     [fa] "+&r"(fa) X_POINTERS(X_OPERAND)
                   X_INPUTS);
}
#endif
