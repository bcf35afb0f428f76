/* Half-precision numbers of weight files: IEEE binary16 and bfloat16, read exactly. */
#ifndef DD_FORMATS_FLOAT16_H
#define DD_FORMATS_FLOAT16_H
#include <stdint.h>
#include <string.h>

static inline float dd_from_bits(uint32_t bits) {
  float f;
  memcpy(&f, &bits, sizeof f);
  return f;
}

/** bfloat16 is the upper half of a float. */
static inline float dd_from_bf16(uint16_t h) { return dd_from_bits((uint32_t)h << 16); }

/** binary16: 1 sign, 5 exponent (bias 15), 10 fraction bits; every value, subnormals too, is a float. */
static inline float dd_from_f16(uint16_t h) {
  const uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 1023;
  if (exponent == 31) return dd_from_bits(sign | 0x7f800000u | fraction << 13);
  if (exponent) return dd_from_bits(sign | (exponent + 112) << 23 | fraction << 13);
  const float small = (float)fraction * 0x1p-24f;
  return sign ? -small : small;
}
#endif
