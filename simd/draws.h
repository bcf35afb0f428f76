/* Loops over elements and their draws, in any tier that provides philox with v16_philox_begin (keys and what blocks
 * share) and either DRAWS_BETWEEN_ROUNDS with w8 and philox_start, philox_round and philox_end of one block, or
 * v16_philox for many, PHILOX_SIDE side by side. Included by template.h.
 *
 *   FOR_DRAWS(g, d, FETCH, CODE)
 *
 * Draws come in blocks of 64 columns. CODE sees the first of 16 columns: their draws `draw`, their place `at`, and
 * `left`, 16 or fewer where the row ends; where they are 16, compilers see it. FETCH runs for each 16 columns, `at`,
 * before their draws: memory may come meanwhile. */
#ifndef DD_DRAWS_H
#define DD_DRAWS_H
#include "simd.h"

#ifdef DRAWS_BETWEEN_ROUNDS
/* One block is two chains of ten rounds, each round waiting for the one before, and a second block beside it would not
 * fit into registers: what becomes of the draws of the block before goes between the rounds, a quarter after each two.
 * A fifth to a quarter faster than one after the other. */
#define FOR_DRAWS(g, d, FETCH, CODE)                                                                                   \
  do {                                                                                                                 \
    _Alignas(64) uint16_t draws_[2][64]; /* of a block and of the one before */                                        \
    const dd_rows g_ = *(g);                                                                                           \
    const dd_drop d_ = *(d);                                                                                           \
    const w8 m0_ = w8_set(PHILOX_M0), m1_ = w8_set(PHILOX_M1);                                                         \
    philox in_memory_;                                                                                                 \
    v16_philox_begin(&in_memory_, d_.c2, d_.c3, d_.key0, d_.key1);                                                     \
    const philox *keys_ = &in_memory_;                                                                                 \
    __asm__("" : "+r"(keys_) : "m"(in_memory_)); /* operands in memory: the registers are the rounds' */               \
    int64_t before_ = 0, width_ = 0; /* place and width of the block before */                                         \
    int turn_ = 0;                                                                                                     \
    for (int64_t r_ = 0; r_ <= g_.rows; r_++) { /* behind the last row, the last block is left */                      \
      const int64_t n_ = r_ < g_.rows ? dd_row_length(&g_, r_) : 1;                                                    \
      for (int64_t col_ = 0; col_ < n_; col_ += 64, turn_ ^= 1) {                                                      \
        const int64_t here_ = r_ * g_.ld + col_;                                                                       \
        const uint16_t *draw = draws_[turn_ ^ 1];                                                                      \
        int64_t at = before_, left = 16;                                                                               \
        if (r_ < g_.rows) {                                                                                            \
          for (at = here_; at < here_ + 64; at += 16) { FETCH }                                                        \
          at = before_;                                                                                                \
          w8 x_[4];                                                                                                    \
          philox_start(x_, d_.col0 / 64 + (uint32_t)(col_ / 64), d_.c1 + (uint32_t)r_, keys_, m0_, m1_);               \
          for (int q_ = 0; q_ < 4; q_++) {                                                                             \
            philox_round(x_, keys_, 2 * q_, m0_, m1_); /* two at a time: words change places without moves */          \
            philox_round(x_, keys_, 2 * q_ + 1, m0_, m1_);                                                             \
            if (width_ < 16 * q_ + 16) continue;                                                                       \
            CODE                                                                                                       \
            at += 16, draw += 16;                                                                                      \
          }                                                                                                            \
          philox_end(draws_[turn_], x_);                                                                               \
        } else                                                                                                         \
          for (const uint16_t *end_ = draw + (width_ & ~(int64_t)15); draw < end_; at += 16, draw += 16) { CODE }      \
        left = width_ & 15;                                                                                            \
        if (left) { CODE }                                                                                             \
        before_ = here_;                                                                                               \
        width_ = n_ - col_ < 64 ? n_ - col_ : 64;                                                                      \
      }                                                                                                                \
    }                                                                                                                  \
  } while (0)
#else
/* So many blocks of any rows are drawn, then used. */
enum { DRAWS_AT_ONCE = 16 };
_Static_assert(DRAWS_AT_ONCE % PHILOX_SIDE == 0, "v16_philox writes whole groups of blocks");
#define FOR_DRAWS(g, d, FETCH, CODE)                                                                                   \
  do {                                                                                                                 \
    _Alignas(64) uint16_t draws_[DRAWS_AT_ONCE * 64];                                                                  \
    uint32_t c0_[DRAWS_AT_ONCE] = {0}, c1_[DRAWS_AT_ONCE] = {0};                                                       \
    const dd_rows g_ = *(g);                                                                                           \
    const dd_drop d_ = *(d);                                                                                           \
    philox rounds_;                                                                                                    \
    v16_philox_begin(&rounds_, d_.c2, d_.c3, d_.key0, d_.key1);                                                        \
    for (int64_t r_ = 0, col_ = 0; r_ < g_.rows;) {                                                                    \
      int64_t row_ = r_, from_ = col_; /* of the first of these blocks */                                              \
      int full_ = 0;                                                                                                   \
      for (int64_t n_; r_ < g_.rows; r_++, col_ = 0) {                                                                 \
        n_ = dd_row_length(&g_, r_);                                                                                   \
        for (; col_ < n_ && full_ < DRAWS_AT_ONCE; col_ += 64, full_++) {                                              \
          c0_[full_] = d_.col0 / 64 + (uint32_t)(col_ / 64);                                                           \
          c1_[full_] = d_.c1 + (uint32_t)r_;                                                                           \
          for (int64_t at = r_ * g_.ld + col_, end_ = at + 64; at < end_; at += 16) { FETCH }                          \
        }                                                                                                              \
        if (col_ < n_) break;                                                                                          \
      }                                                                                                                \
      v16_philox(draws_, full_, c0_, c1_, &rounds_);                                                                   \
      const uint16_t *draw = draws_;                                                                                   \
      for (const uint16_t *all_ = draws_ + 64 * full_; draw < all_; row_++, from_ = 0) {                               \
        const int64_t rest_ = dd_row_length(&g_, row_) - from_, width_ = rest_ < all_ - draw ? rest_ : all_ - draw;    \
        const uint16_t *next_ = draw + ((width_ + 63) & ~(int64_t)63);                                                 \
        int64_t at = row_ * g_.ld + from_, left = 16;                                                                  \
        for (const uint16_t *end_ = draw + (width_ & ~(int64_t)15); draw < end_; at += 16, draw += 16) { CODE }        \
        left = width_ & 15;                                                                                            \
        if (left) { CODE }                                                                                             \
        draw = next_;                                                                                                  \
      }                                                                                                                \
    }                                                                                                                  \
  } while (0)
#endif
#endif
