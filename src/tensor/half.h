// half.h: 16-bit floats, one value at a time, in plain C (round to nearest even, NaN stays NaN).
#ifndef FG_TENSOR_HALF_H
#define FG_TENSOR_HALF_H

#include <stdint.h>
#include <string.h>

static inline float fg_bf16_to_f32(uint16_t h) {
  uint32_t u = (uint32_t)h << 16;
  float f;
  memcpy(&f, &u, 4);
  return f;
}

static inline uint16_t fg_bf16_from_f32(float f) {
  uint32_t u;
  memcpy(&u, &f, 4);
  if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)((u >> 16) | 0x40u);
  return (uint16_t)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

float fg_f16_to_f32(uint16_t h);
uint16_t fg_f16_from_f32(float f);

#endif
