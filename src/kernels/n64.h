// n64.h: the units of the layout "n64" (layout.h), as rows of a table.
#ifndef FG_KERNELS_N64_H
#define FG_KERNELS_N64_H

#include <stdint.h>

#include "tensor/dtype.h"

enum {
  FG_TILE_ROWS = 64, // output rows of a block, and columns of the tile that products read
  FG_TILE_K = 32,    // k is padded to a multiple of it
};

// A step of `elements` values along k is `small` units of 2 bytes, then `words` units of 4 bytes.
typedef struct fg_n64_step {
  uint32_t elements, small, words;
} fg_n64_step;

// elements 0: the type cannot be a weight.
fg_n64_step fg_n64_step_of(fg_dtype dtype);

static inline uint32_t fg_n64_step_bytes(const fg_n64_step *step) {
  return 2 * step->small + 4 * step->words;
}
static inline uint64_t fg_tile_k(uint32_t k) {
  return ((uint64_t)k + FG_TILE_K - 1) / FG_TILE_K * FG_TILE_K;
}

#endif
