// half.h: 16-bit floats, one value at a time, in plain C (round to nearest even, NaN stays NaN).
//
// Without branches on the value, so that a loop over any of these becomes vector code.
#ifndef FG_TENSOR_HALF_H
#define FG_TENSOR_HALF_H

#include <stdint.h>
#include <string.h>

static inline float fg_f32_from_bits(uint32_t u) {
  float f;
  memcpy(&f, &u, 4);
  return f;
}

static inline uint32_t fg_f32_bits(float f) {
  uint32_t u;
  memcpy(&u, &f, 4);
  return u;
}

// a where the condition holds, else b, by masks: a compiler does not turn a floating-point operation
// under a condition into vector code, because it might trap.
static inline uint32_t fg_select_bits(int condition, uint32_t a, uint32_t b) {
  uint32_t mask = 0u - (uint32_t)condition;
  return (a & mask) | (b & ~mask);
}

static inline float fg_bf16_to_f32(uint16_t h) {
  return fg_f32_from_bits((uint32_t)h << 16);
}

static inline uint16_t fg_bf16_from_f32(float f) {
  uint32_t u = fg_f32_bits(f);
  uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
  uint32_t nan = (u >> 16) | 0x40u;
  return (uint16_t)((u & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
}

// Exponents are rebiased by 112 = 127 - 15.
static inline float fg_f16_to_f32(uint16_t h) {
  uint32_t sign = ((uint32_t)h & 0x8000u) << 16, magnitude = (uint32_t)h & 0x7fffu;
  uint32_t normal = (magnitude << 13) + (112u << 23);
  uint32_t special = normal + (112u << 23); // infinity, NaN: the exponent becomes 255
  // Subnormal: the fraction behind an implied one of 2^-14, minus that one; exact.
  uint32_t tiny = fg_f32_bits(fg_f32_from_bits(normal + (1u << 23)) - fg_f32_from_bits(113u << 23));
  uint32_t bits = fg_select_bits(magnitude < 0x0400u, tiny, normal);
  bits = fg_select_bits(magnitude >= 0x7c00u, special, bits);
  return fg_f32_from_bits(sign | bits);
}

static inline uint16_t fg_f16_from_f32(float f) {
  uint32_t u = fg_f32_bits(f);
  uint32_t sign = (u >> 16) & 0x8000u, magnitude = u & 0x7fffffffu;
  uint32_t normal = (magnitude - (112u << 23) + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  // Below 2^-14: the spacing of floats just above 0.5 is 2^-24, that of half subnormals, so the
  // addition rounds.
  uint32_t tiny = fg_f32_bits(fg_f32_from_bits(magnitude) + 0.5f) - fg_f32_bits(0.5f);
  uint32_t nan = 0x7e00u | (magnitude >> 13 & 0x1ffu);
  uint32_t bits = fg_select_bits(magnitude < 0x38800000u, tiny, normal);
  bits = fg_select_bits(magnitude >= 0x477ff000u, 0x7c00u, bits); // from 65520 on it is infinity
  bits = fg_select_bits(magnitude > 0x7f800000u, nan, bits);
  return (uint16_t)(sign | bits);
}

#endif
