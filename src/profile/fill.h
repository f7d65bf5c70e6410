// fill.h: numbers to measure with, the same every time.
#ifndef FG_PROFILE_FILL_H
#define FG_PROFILE_FILL_H

#include <stdint.h>

static inline uint64_t fg_fill_next(uint64_t *state) {
  *state ^= *state << 13, *state ^= *state >> 7, *state ^= *state << 17;
  return *state;
}

// Bytes from 0x20 to 0x3f: whatever type reads them, floats and scales are normal numbers below 2 and so are
// their products.
static inline void fg_fill_bytes(void *block, uint64_t bytes) {
  uint64_t state = 1, *words = block;
  for (uint64_t i = 0; i < bytes / sizeof *words; i++)
    words[i] = (fg_fill_next(&state) & 0x1f1f1f1f1f1f1f1f) | 0x2020202020202020;
}

// In (-1, 1): activations have no such range as random bytes.
static inline void fg_fill_floats(float *x, uint64_t count) {
  uint64_t state = 1;
  for (uint64_t i = 0; i < count; i++) x[i] = (float)((int64_t)fg_fill_next(&state) >> 39) / (float)(1 << 24);
}

#endif
