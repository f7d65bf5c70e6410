// plain_tiles_tmpl.h: tiles from rows as they lie, over the vectors of a vec_*.h and the rows of rows_tmpl.h,
// which are included before: a piece of some rows is expanded, then turned in registers.
#ifndef FG_KERNELS_PLAIN_TILES_TMPL_H
#define FG_KERNELS_PLAIN_TILES_TMPL_H

#include <string.h>

#include "kernels/kernels_internal.h"

enum { TURNED_PIECE = 256 }; // a multiple of every block

static uint32_t turned_piece(uint32_t k, uint32_t c) {
  uint64_t left = fg_tile_k(k) - c;
  return left < TURNED_PIECE ? (uint32_t)left : TURNED_PIECE;
}

// Rows [r, r + VEC), values from c on. // out: [VEC, TURNED_PIECE]
static void expand_rows(fg_dtype dtype, const void *block, const uint32_t shape[2], uint32_t r, uint32_t c,
                        float *out) {
  const uint32_t rows = shape[0], k = shape[1], count = turned_piece(k, c);
  for (uint32_t i = 0; i < VEC; i++, out += TURNED_PIECE) {
    if (r + i < rows)
      fg_plain_values(dtype, block, k, r + i, c, count, out);
    else
      memset(out, 0, count * sizeof *out);
  }
}

static void turned_f32(fg_dtype dtype, const void *block, uint32_t rows, uint32_t k, void *tile) {
  float piece[VEC * TURNED_PIECE];
  for (uint32_t r = 0; r < FG_TILE_ROWS; r += VEC)
    for (uint32_t c = 0; c < k; c += TURNED_PIECE) {
      expand_rows(dtype, block, (const uint32_t[]){rows, k}, r, c, piece);
      for (uint32_t i = 0; i < turned_piece(k, c); i += VEC)
        vec_transpose(piece + i, TURNED_PIECE, (float *)tile + (uint64_t)(c + i) * FG_TILE_ROWS + r,
                      FG_TILE_ROWS);
    }
}

// A pair of bfloat16 is turned as one float32.
static void turned_bf16(fg_dtype dtype, const void *block, uint32_t rows, uint32_t k, void *tile) {
  float piece[VEC * TURNED_PIECE], pairs[VEC * TURNED_PIECE / 2];
  for (uint32_t r = 0; r < FG_TILE_ROWS; r += VEC)
    for (uint32_t c = 0; c < k; c += TURNED_PIECE) {
      const uint32_t count = turned_piece(k, c);
      expand_rows(dtype, block, (const uint32_t[]){rows, k}, r, c, piece);
      for (uint32_t i = 0; i < VEC; i++)
        vec_bf16_row(piece + i * TURNED_PIECE, (uint16_t *)(void *)(pairs + i * TURNED_PIECE / 2), count);
      for (uint32_t i = 0; i < count / 2; i += VEC)
        vec_transpose(pairs + i, TURNED_PIECE / 2, (float *)tile + (uint64_t)(c / 2 + i) * FG_TILE_ROWS + r,
                      FG_TILE_ROWS);
    }
}

static void vec_plain_tiles(fg_kernels *k) {
  for (fg_dtype dtype = 0; dtype < FG_DTYPE_COUNT; dtype++) {
    if (!k->tile_f32[FG_LAYOUT_PLAIN][dtype]) continue;
    k->tile_f32[FG_LAYOUT_PLAIN][dtype] = turned_f32;
    k->tile_bf16[FG_LAYOUT_PLAIN][dtype] = turned_bf16;
  }
}

#endif
