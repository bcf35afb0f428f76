/* The randomness contract: Philox4x32-10 against its published answers, the address of every draw, nested masks, the
 * rate of drops and the rounding of thresholds. The generator is written here once more, from the paper's rules. */
#include "kernels_common.h"
#include <math.h>

typedef struct words {
  uint32_t x[4];
} words;

static words philox(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t k0, uint32_t k1) {
  uint64_t left = (uint64_t)c1 << 32 | c0, right = (uint64_t)c3 << 32 | c2; /* low word: the multiplied counter */
  for (uint32_t round = 0; round < 10; round++) {
    const uint64_t p = (left & 0xffffffff) * 0xD2511F53u, q = (right & 0xffffffff) * 0xCD9E8D57u;
    const uint64_t a = (q >> 32) ^ (left >> 32) ^ (uint32_t)(k0 + round * 0x9E3779B9u);
    const uint64_t b = (p >> 32) ^ (right >> 32) ^ (uint32_t)(k1 + round * 0xBB67AE85u);
    left = (q & 0xffffffff) << 32 | a;
    right = (p & 0xffffffff) << 32 | b;
  }
  return (words){{(uint32_t)left, (uint32_t)(left >> 32), (uint32_t)right, (uint32_t)(right >> 32)}};
}

static uint16_t draw_at(const dd_drop *d, int64_t c) {
  const int64_t column = (int64_t)d->col0 + c;
  const int64_t i = column % 64, w = i / 16, j = (i % 16) / 2, h = i % 2;
  const words x = philox((uint32_t)(column / 64 * 8 + j), d->c1, d->c2, d->c3, d->key0, d->key1);
  return (uint16_t)(x.x[w] >> (16 * h) & 0xffff);
}

/* min(floor(p * 65536 + 0.5), 65535), and the float32 quotient for those that stay. */
static dd_drop with_rate(dd_drop d, double p) {
  const double t = floor(p * 65536 + 0.5);
  d.threshold = t > 65535 ? 65535 : (uint32_t)t;
  d.scale = 65536.f / (float)(65536 - d.threshold);
  return d;
}

/* ---- the generator ----------------------------------------------------------------------------------------- */

static const struct {
  uint32_t c[4], k[2], out[4];
} answers[] = {
    {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
    {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
     {0xffffffff, 0xffffffff},
     {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
    {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
     {0xa4093822, 0x299f31d0},
     {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
};

static void test_known_answers(void **state) {
  (void)state;
  for (size_t a = 0; a < sizeof answers / sizeof *answers; a++) {
    const uint32_t *c = answers[a].c, *k = answers[a].k;
    const words got = philox(c[0], c[1], c[2], c[3], k[0], k[1]);
    for (int w = 0; w < 4; w++)
      if (got.x[w] != answers[a].out[w])
        fail_msg("the test's own Philox, answer %zu, word %d: %08x, not %08x", a, w, got.x[w], answers[a].out[w]);
    if (c[0] > UINT32_MAX / 8) continue; /* columns from 2^32 on: no kernel can be asked for them */
    FOR_TIERS(t) {
      const dd_drop d = {.key0 = k[0], .key1 = k[1], .c1 = c[1], .c2 = c[2], .c3 = c[3]};
      uint16_t draw[64];
      t->draws(draw, 64, &d);
      for (int w = 0; w < 4; w++) {
        const uint32_t word = draw[16 * w + 2 * c[0]] | (uint32_t)draw[16 * w + 2 * c[0] + 1] << 16;
        if (word != answers[a].out[w])
          fail_msg("tier %s, answer %zu, word %d: %08x, not %08x", t->tier, a, w, word, answers[a].out[w]);
      }
    }
  }
}

/* The address of the draw of every column, for the corners of the counter's words and for random ones. */
static void test_mapping(void **state) {
  (void)state;
  enum { N = 1100 };
  static uint16_t got[N];
  static const uint32_t corner[] = {0, 1, 0x7fffffff, 0x80000000, 0xffffffff};
  uint64_t s = 11;
  for (int i = 0; i < 5 * 5 + 200; i++) {
    dd_drop d = {.threshold = 77, .scale = NAN}; /* neither is used by draws */
    if (i < 25) { /* each word of key and counter at each of its corners, all others 0x01234567 */
      uint32_t word[5] = {0x01234567, 0x01234567, 0x01234567, 0x01234567, 0x01234567};
      word[i / 5] = corner[i % 5];
      d.key0 = word[0], d.key1 = word[1], d.c1 = word[2], d.c2 = word[3], d.c3 = word[4];
    } else {
      d.key0 = (uint32_t)rnd(&s), d.key1 = (uint32_t)rnd(&s);
      d.c1 = (uint32_t)rnd(&s), d.c2 = (uint32_t)rnd(&s), d.c3 = (uint32_t)rnd(&s);
      d.col0 = (uint32_t)(i % 3 ? rnd(&s) >> i % 32 : 0) / 64 * 64; /* a row may be drawn in pieces */
    }
    FOR_TIERS(t) {
      t->draws(got, N, &d);
      for (int64_t c = 0; c < N; c++)
        if (got[c] != draw_at(&d, c))
          fail_msg("tier %s, key %08x %08x, c1 %08x c2 %08x c3 %08x, column %u + %lld: %04x, not %04x", t->tier, d.key0,
                   d.key1, d.c1, d.c2, d.c3, d.col0, (long long)c, got[c], draw_at(&d, c));
    }
  }
  /* Far along one row: counters beyond 16 bits, and only as many columns as asked for. */
  enum { LONG = 64 * 9001 + 37 };
  uint16_t *row = malloc((LONG + 1) * sizeof *row);
  assert_non_null(row);
  const dd_drop d = {.key0 = 1337, .c1 = 5, .c2 = 2 << 8 | 1, .c3 = 1999};
  FOR_TIERS(t) {
    row[LONG] = 0xabcd;
    t->draws(row, LONG, &d);
    assert_int_equal(row[LONG], 0xabcd);
    for (int64_t c = 0; c < LONG; c += c < LONG - 500 ? 61 : 1)
      if (row[c] != draw_at(&d, c))
        fail_msg("tier %s, column %lld: %04x, not %04x", t->tier, (long long)c, row[c], draw_at(&d, c));
  }
  free(row);
}

/* ---- masks ------------------------------------------------------------------------------------------------- */

static const double rates[] = {0, 1e-5, 0.05, 0.1, 0.2, 0.25, 0.5, 0.75, 0.9, 0.99, 0.99999};
enum { RATES = (int)(sizeof rates / sizeof *rates), ROW = 1000 };

/* What is dropped at a rate is dropped at every higher rate; dropout and dropout_add drop the same. */
static void test_nested(void **state) {
  (void)state;
  static float ones[ROW], zeros[ROW], out[RATES][ROW], sum[ROW];
  for (int c = 0; c < ROW; c++) ones[c] = 1.f;
  FOR_TIERS(t)
  for (uint32_t row = 0; row < 40; row++) {
    const dd_drop address = {.key0 = 0x5eed, .key1 = row % 3, .c1 = row, .c2 = row % 4 | row % 12 << 8, .c3 = 7 * row};
    int64_t dropped = 0;
    for (int r = 0; r < RATES; r++) {
      const dd_drop d = with_rate(address, rates[r]);
      t->dropout(out[r], ones, &(dd_rows){1, ROW, ROW, 0, 0}, &d);
      t->dropout_add(sum, zeros, ones, &(dd_rows){1, ROW, ROW, 0, 0}, &d);
      int64_t now = 0;
      for (int c = 0; c < ROW; c++) {
        const int here = out[r][c] == 0.f;
        now += here;
        if (!here && bits_of(out[r][c]) != bits_of(d.scale))
          fail_msg("tier %s, p %g, row %u, column %d: 1 becomes %08x, not %08x", t->tier, rates[r], row, c,
                   bits_of(out[r][c]), bits_of(d.scale));
        if (sum[c] != out[r][c])
          fail_msg("tier %s, p %g, row %u, column %d: dropout_add differs", t->tier, rates[r], row, c);
        if (r && out[r - 1][c] == 0.f && !here)
          fail_msg("tier %s, row %u, column %d: dropped at p %g, kept at p %g", t->tier, row, c, rates[r - 1],
                   rates[r]);
      }
      if (now < dropped) fail_msg("tier %s, row %u: fewer drops at p %g", t->tier, row, rates[r]);
      dropped = now;
    }
    if (!dropped) fail_msg("tier %s, row %u: nothing is ever dropped", t->tier, row);
  }
}

/* An element is dropped exactly when its draw is below the threshold: thresholds at and beside each draw of a row. */
static void test_threshold_edge(void **state) {
  (void)state;
  static float ones[ROW], out[ROW];
  for (int c = 0; c < ROW; c++) ones[c] = 1.f;
  dd_drop d = {.key0 = 99, .c1 = 3, .scale = 1.f};
  FOR_TIERS(t)
  for (int c = 0; c < 500; c++)
    for (int step = -1; step <= 1; step++) {
      const int draw = draw_at(&d, c), threshold = draw + step;
      if (threshold < 1 || threshold > 65535) continue;
      d.threshold = (uint32_t)threshold;
      t->dropout(out, ones, &(dd_rows){1, c + 1, c + 1, 0, 0}, &d);
      if ((out[c] == 0.f) != (draw < threshold))
        fail_msg("tier %s, column %d, draw %d, threshold %d: %s", t->tier, c, draw, threshold,
                 out[c] == 0.f ? "dropped" : "kept");
    }
}

static void test_threshold_rounding(void **state) {
  (void)state;
  static const struct {
    double p;
    uint32_t threshold;
  } cases[] = {{0, 0},
               {0.49999 / 65536, 0},
               {0.5 / 65536, 1},
               {1.0 / 65536, 1},
               {1.49999 / 65536, 1},
               {1.5 / 65536, 2},
               {0.05, 3277},
               {0.1, 6554},
               {0.15, 9830},
               {0.2, 13107},
               {0.25, 16384},
               {0.3, 19661},
               {0.5, 32768},
               {0.9, 58982},
               {0.99999, 65535},
               {65535.4 / 65536, 65535},
               {65535.5 / 65536, 65535},
               {0.99999999, 65535}};
  static float in[ROW], out[ROW];
  uint64_t s = 3;
  fill_floats(in, ROW, FILL_NORMAL, 1.f, &s);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const dd_drop d = with_rate((dd_drop){.key0 = 4, .c1 = (uint32_t)i}, cases[i].p);
    if (d.threshold != cases[i].threshold)
      fail_msg("p %.17g: threshold %u, not %u", cases[i].p, d.threshold, cases[i].threshold);
    FOR_TIERS(t) {
      t->dropout(out, in, &(dd_rows){1, ROW, ROW, 0, 0}, &d);
      for (int c = 0; c < ROW; c++) {
        const float want = draw_at(&d, c) < cases[i].threshold ? 0.f : in[c] * d.scale;
        if (bits_of(out[c]) != bits_of(want))
          fail_msg("tier %s, p %g, column %d: %08x, not %08x", t->tier, cases[i].p, c, bits_of(out[c]), bits_of(want));
      }
    }
  }
}

/* ---- statistics -------------------------------------------------------------------------------------------- */

/* Rates over 1e7 draws, and the draws' high and low bytes; the addresses are fixed, so this is no game of chance. */
static void test_rate(void **state) {
  (void)state;
  enum { DRAWS = 10000000, PER_ROW = 1024, ROWS = DRAWS / PER_ROW + 1 };
  static uint16_t draw[PER_ROW];
  FOR_TIERS(t) {
    if (t != tiers_[tier_count_ - 1]) continue; /* tiers are equal: test_mapping. One is enough. */
    static uint64_t count[65536], high[256], low[256];
    for (uint32_t row = 0; row < ROWS; row++) {
      const dd_drop d = {.key0 = 1337, .c1 = row % 512, .c2 = row / 512 % 4 | row / 2048 % 6 << 8, .c3 = row / 12288};
      t->draws(draw, PER_ROW, &d);
      for (int c = 0; c < PER_ROW; c++) count[draw[c]]++;
    }
    const double n = (double)ROWS * PER_ROW;
    double chi_high = 0, chi_low = 0, chi_all = 0;
    for (int v = 0; v < 65536; v++) {
      high[v >> 8] += count[v], low[v & 255] += count[v];
      chi_all += ((double)count[v] - n / 65536) * ((double)count[v] - n / 65536) / (n / 65536);
    }
    for (int v = 0; v < 256; v++) {
      chi_high += ((double)high[v] - n / 256) * ((double)high[v] - n / 256) / (n / 256);
      chi_low += ((double)low[v] - n / 256) * ((double)low[v] - n / 256) / (n / 256);
    }
    /* z of a chi-square with f degrees of freedom: (chi - f) / sqrt(2 f) */
    const double z[3] = {(chi_high - 255) / sqrt(510), (chi_low - 255) / sqrt(510), (chi_all - 65535) / sqrt(131070)};
    printf("  chi-square of %.0f draws, as z: high byte %.2f, low byte %.2f, all 16 bits %.2f\n", n, z[0], z[1], z[2]);
    for (int i = 0; i < 3; i++)
      if (!(fabs(z[i]) < 3.5)) fail_msg("tier %s: chi-square %d has z %.2f", t->tier, i, z[i]);
    for (int r = 1; r < RATES; r++) {
      const dd_drop d = with_rate((dd_drop){0}, rates[r]);
      const double p = d.threshold / 65536.0;
      uint64_t dropped = 0;
      for (uint32_t v = 0; v < d.threshold; v++) dropped += count[v];
      const double zr = ((double)dropped - n * p) / sqrt(n * p * (1 - p));
      printf("  p %g: %.6f of the draws dropped, z %.2f\n", rates[r], (double)dropped / n, zr);
      if (!(fabs(zr) < 3.5) || fabs(p - rates[r]) > 0.5 / 65536 + 1e-12)
        fail_msg("tier %s, p %g: %llu of %.0f dropped, z %.2f", t->tier, rates[r], (unsigned long long)dropped, n, zr);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_known_answers),
                                     cmocka_unit_test(test_mapping),
                                     cmocka_unit_test(test_nested),
                                     cmocka_unit_test(test_threshold_edge),
                                     cmocka_unit_test(test_threshold_rounding),
                                     cmocka_unit_test(test_rate)};
  print_tiers();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
