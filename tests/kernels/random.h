// random.h: the random inputs of kernel tests: numbers from a seed that a failing test prints, and
// weights of every type.
#ifndef FG_TESTS_KERNELS_RANDOM_H
#define FG_TESTS_KERNELS_RANDOM_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/dtype.h"
#include "tensor/half.h"

static inline uint64_t random_u64(uint64_t *state) { // Vigna's splitmix64
  uint64_t z = (*state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

static inline float random_float(uint64_t *state) { // (-1, 1)
  return (float)((int64_t)random_u64(state) >> 39) / (float)(1 << 24);
}

static inline float *random_floats(uint64_t *state, size_t count) {
  float *x = calloc(count ? count : 1, sizeof *x);
  for (size_t i = 0; i < count; i++) x[i] = random_float(state);
  return x;
}

// Row-major weights [n, k] of a type, in a block of exactly their size. Scales of quantized blocks are
// around 1 / 64, their minima around -1 / 8.
static inline uint8_t *random_weights(uint64_t *state, fg_dtype dtype, size_t n, size_t k) {
  const fg_dtype_info *info = fg_dtype_get(dtype);
  size_t bytes = n * k / info->block * info->bytes;
  uint8_t *w = malloc(bytes ? bytes : 1);
  if (!info->bits) {
    for (size_t i = 0; i < n * k; i++) {
      float value = random_float(state);
      info->from_f32(&value, w + i * info->bytes, 1);
    }
    return w;
  }
  for (size_t i = 0; i < bytes; i++) w[i] = (uint8_t)random_u64(state);
  for (size_t at = 0; at < bytes; at += info->bytes) {
    uint16_t scale = fg_f16_from_f32(random_float(state) / 64),
             minimum = fg_f16_from_f32(random_float(state) / 8);
    memcpy(w + at, &scale, 2);
    if (info->minimum) memcpy(w + at + 2, &minimum, 2);
  }
  return w;
}

static const fg_dtype weight_types[] = {FG_F32,     FG_F16,     FG_BF16,    FG_Q8_0,   FG_Q4_0,
                                        FG_Q4_1,    FG_I4G64,   FG_I4G128,  FG_I4G256, FG_I4G64M,
                                        FG_I4G128M, FG_I4G256M, FG_I8G64,   FG_I8G128, FG_I8G256,
                                        FG_I8G32M,  FG_I8G64M,  FG_I8G128M, FG_I8G256M};
enum { WEIGHT_TYPES = sizeof weight_types / sizeof *weight_types };

// Types that are kept as they are and expanded, and where their blocks have halves.
typedef struct block_type {
  fg_dtype dtype;
  int halves[2];
} block_type;
static const block_type block_types[] = {
    {FG_Q5_0, {0, -1}},   {FG_Q5_1, {0, 2}},    {FG_Q2_K, {80, 82}},  {FG_Q3_K, {108, -1}},
    {FG_Q4_K, {0, 2}},    {FG_Q5_K, {0, 2}},    {FG_Q6_K, {208, -1}}, {FG_IQ4_NL, {0, -1}},
    {FG_IQ4_XS, {0, -1}}, {FG_MXFP4, {-1, -1}},
};
enum { BLOCK_TYPES = sizeof block_types / sizeof *block_types };

static inline uint8_t *random_blocks(uint64_t *state, const block_type *type, size_t n, size_t k) {
  const fg_dtype_info *info = fg_dtype_get(type->dtype);
  size_t bytes = n * k / info->block * info->bytes;
  uint8_t *w = malloc(bytes);
  for (size_t i = 0; i < bytes; i++) w[i] = (uint8_t)random_u64(state);
  for (size_t at = 0; at < bytes; at += info->bytes) {
    for (int i = 0; i < 2; i++) {
      uint16_t half = fg_f16_from_f32(random_float(state) / 256);
      if (type->halves[i] >= 0) memcpy(w + at + type->halves[i], &half, 2);
    }
    if (type->dtype == FG_MXFP4) w[at] = (uint8_t)(118 + w[at] % 8);
  }
  return w;
}

#endif
