/* Philox4x32-10 for blocks of 64 draws, on w8: eight counters in 64-bit lanes, where a product leaves its low and its
 * high word without shuffles; what is above the low word of a lane never matters. The including tier defines w8_add,
 * w8_xor, w8_high (high words to low), w8_times (product of low words), w8_set (a word in all lanes), w8_iota (0 to 7),
 * w8_store (the low words of eight lanes, in order), w8_here (a value that compilers have to compute where it stands,
 * where that helps) and, where registers hold several blocks side by side, PHILOX_SIDE, how many.
 *
 * Within a block only word 0 of the counter differs from lane to lane. So of the first two rounds half is the same in
 * all lanes, and of that a row's number (word 1) meets one product only. */
#ifndef DD_PHILOX_X86_H
#define DD_PHILOX_X86_H
#define PHILOX_M0 0xD2511F53u
#define PHILOX_M1 0xCD9E8D57u
#define PHILOX_W0 0x9E3779B9u
#define PHILOX_W1 0xBB67AE85u

/* What all blocks of a call share. */
typedef struct philox {
  w8 k0[8], k1[8];  /* of the third round and those after it */
  w8 first, second; /* what meets the high words of rounds one and two: word 3 and k1, word 1 and k0 */
  uint32_t row, k1_second;
} philox;
VI void v16_philox_begin(philox *p, uint32_t c2, uint32_t c3, uint32_t k0, uint32_t k1) {
  const uint64_t product = (uint64_t)PHILOX_M1 * c2;
  p->row = (uint32_t)(product >> 32) ^ k0;
  p->first = w8_set(c3 ^ k1);
  p->second = w8_set((uint32_t)product ^ (k0 + PHILOX_W0));
  p->k1_second = k1 + PHILOX_W1;
  for (uint32_t r = 0; r < 8; r++) {
    p->k0[r] = w8_set(k0 + (r + 2) * PHILOX_W0);
    p->k1[r] = w8_set(k1 + (r + 2) * PHILOX_W1);
  }
}

/* A block, columns 64*c0.. of row c1: its first two rounds. */
VI void philox_start(w8 x[4], uint32_t c0, uint32_t c1, const philox *p, w8 m0, w8 m1) {
  const w8 a = w8_times(w8_add(w8_set(8 * c0), w8_iota()), m0);
  const w8 b = w8_times(w8_xor(w8_high(a), p->first), m1);
  const uint64_t same = (uint64_t)PHILOX_M0 * (p->row ^ c1);
  x[0] = w8_xor(w8_high(b), p->second);
  x[1] = b;
  x[2] = w8_xor(a, w8_set((uint32_t)(same >> 32) ^ p->k1_second));
  x[3] = w8_set((uint32_t)same);
}
/* Round r + 2, r < 8. */
VI void philox_round(w8 x[4], const philox *p, int r, w8 m0, w8 m1) {
  const w8 a = w8_times(x[0], m0), b = w8_times(x[2], m1);
  /* Words 1 and 3 are there early; left alone, compilers make their keys wait for the products. */
  x[0] = w8_xor(w8_high(b), w8_here(w8_xor(x[1], p->k0[r])));
  x[2] = w8_xor(w8_high(a), w8_here(w8_xor(x[3], p->k1[r])));
  x[1] = b;
  x[3] = a;
}
/* Its 64 draws. */
VI void philox_end(uint16_t *out, const w8 x[4]) {
  for (int w = 0; w < 4; w++) w8_store(out + 16 * w, x[w]);
}

#ifdef PHILOX_SIDE
/* Not inlined, so that the keys stay in memory, where they are operands, and registers are the rounds'.
 *
 * `count` blocks, block i at out + 64*i, of columns 64*c0[i].. of row c1[i]. All three go up to a multiple of
 * PHILOX_SIDE. */
static __attribute__((noinline)) void v16_philox(uint16_t *out, int count, const uint32_t *c0, const uint32_t *c1,
                                                 const philox *p) {
  const w8 m0 = w8_set(PHILOX_M0), m1 = w8_set(PHILOX_M1);
  for (int at = 0; at < count; at += PHILOX_SIDE) {
    w8 x[PHILOX_SIDE][4];
    for (int i = 0; i < PHILOX_SIDE; i++) philox_start(x[i], c0[at + i], c1[at + i], p, m0, m1);
    for (int r = 0; r < 8; r += 2) /* two rounds at a time: words change places without moves */
      for (int twice = r; twice < r + 2; twice++)
        for (int i = 0; i < PHILOX_SIDE; i++) philox_round(x[i], p, twice, m0, m1);
    for (int i = 0; i < PHILOX_SIDE; i++) philox_end(out + 64 * (at + i), x[i]);
  }
}
#endif
#endif
