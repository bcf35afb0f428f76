#include "core/hash.h"
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static void to_hex(const unsigned char *bytes, size_t n, char *hex) {
  static const char digit[] = "0123456789abcdef";
  for (size_t i = 0; i < n; i++) {
    hex[2 * i] = digit[bytes[i] >> 4];
    hex[2 * i + 1] = digit[bytes[i] & 15];
  }
  hex[2 * n] = '\0';
}

/* ---- XXH3-128 ---- */

struct dd_hasher {
  XXH3_state_t *state; /* of its own: the library aligns it to 64 bytes */
};

dd_hasher *dd_hasher_create(void) {
  dd_hasher *h = malloc(sizeof *h);
  if (!h) return NULL;
  h->state = XXH3_createState();
  if (!h->state) {
    free(h);
    return NULL;
  }
  XXH3_128bits_reset(h->state);
  return h;
}

void dd_hasher_update(dd_hasher *h, const void *data, size_t n) {
  if (n > 0) XXH3_128bits_update(h->state, data, n);
}

static void canonical_hex(XXH128_hash_t v, char hex[33]) {
  XXH128_canonical_t c;
  XXH128_canonicalFromHash(&c, v);
  to_hex(c.digest, sizeof c.digest, hex);
}

void dd_hasher_hex(const dd_hasher *h, char hex[33]) { canonical_hex(XXH3_128bits_digest(h->state), hex); }

void dd_hasher_destroy(dd_hasher *h) {
  if (!h) return;
  XXH3_freeState(h->state);
  free(h);
}

void dd_hash_hex(const void *data, size_t n, char hex[33]) { canonical_hex(XXH3_128bits(n ? data : "", n), hex); }

/* ---- SHA-256 (FIPS 180-4) ---- */

/* First 32 bits of the fractional parts of the cube roots of the first 64 primes. */
static const uint32_t sha_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotr(uint32_t x, int n) { return x >> n | x << (32 - n); }

static void sha_block(uint32_t state[8], const unsigned char *block) {
  uint32_t w[64];
  for (int i = 0; i < 16; i++, block += 4)
    w[i] = (uint32_t)block[0] << 24 | (uint32_t)block[1] << 16 | (uint32_t)block[2] << 8 | block[3];
  for (int i = 16; i < 64; i++) {
    const uint32_t s0 = rotr(w[i - 15], 7) ^ rotr(w[i - 15], 18) ^ w[i - 15] >> 3;
    const uint32_t s1 = rotr(w[i - 2], 17) ^ rotr(w[i - 2], 19) ^ w[i - 2] >> 10;
    w[i] = w[i - 16] + s0 + w[i - 7] + s1;
  }
  uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
  uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
  for (int i = 0; i < 64; i++) {
    const uint32_t t1 =
        h + (rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25)) + ((e & f) ^ (~e & g)) + sha_k[i] + w[i];
    const uint32_t t2 = (rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + t1;
    d = c, c = b, b = a, a = t1 + t2;
  }
  state[0] += a, state[1] += b, state[2] += c, state[3] += d;
  state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

enum { POLL_BLOCKS = 1 << 16 }; /* 4 MB, some 10 ms, between two looks at should_stop */

void dd_sha256_hex(const void *data, size_t n, char hex[65]) { (void)dd_sha256_polled(data, n, "", NULL, hex, NULL); }

int dd_sha256_polled(const void *data, size_t n, const char *name, const dd_callbacks *cb, char hex[65],
                     dd_error *err) {
  uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  const unsigned char *p = data;
  size_t rest = n;
  for (size_t i = 1; rest >= 64; rest -= 64, p += 64, i++) {
    sha_block(state, p);
    if (i % POLL_BLOCKS == 0 && dd_check_stop(cb, "hashing", name, err)) return DD_E_STOPPED;
  }
  /* the tail, a one bit, zeros, and the length in bits: one block, or two when the length no longer fits */
  unsigned char last[128] = {0};
  if (rest) memcpy(last, p, rest);
  last[rest] = 0x80;
  const size_t blocks = rest < 56 ? 1 : 2;
  for (int i = 0; i < 8; i++) last[64 * blocks - 1 - (size_t)i] = (unsigned char)((uint64_t)n * 8 >> 8 * i);
  for (size_t i = 0; i < blocks; i++) sha_block(state, last + 64 * i);
  unsigned char digest[32];
  for (int i = 0; i < 32; i++) digest[i] = (unsigned char)(state[i / 4] >> (24 - 8 * (i % 4)));
  to_hex(digest, sizeof digest, hex);
  return DD_OK;
}
