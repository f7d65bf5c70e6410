// Tiles in plain C: every block goes through its row-major bytes and the type's own to_f32.
#include <string.h>

#include "kernels/kernels_internal.h"
#include "tensor/half.h"

enum { PIECE = 256, PIECE_BYTES = 4 * PIECE }; // values taken at once: a multiple of every type's block

void fg_n64_row_bytes(fg_dtype dtype, const uint8_t *block, uint32_t r, uint32_t c, uint32_t count,
                      uint8_t *out) {
  const fg_n64_step step = fg_n64_step_of(dtype);
  block += (uint64_t)(c / step.elements) * fg_n64_step_bytes(&step) * FG_TILE_ROWS;
  for (uint32_t s = 0; s < count / step.elements; s++)
    for (uint32_t unit = 0; unit < step.small + step.words; unit++) {
      uint32_t size = unit < step.small ? 2 : 4;
      memcpy(out, block + (uint64_t)r * size, size);
      out += size;
      block += (uint64_t)FG_TILE_ROWS * size;
    }
}

// values[i] = w[r, c + i] for i < count; where k is padded, zeros behind the row's end
static void n64_values(fg_dtype dtype, const void *block, uint32_t k, uint32_t r, uint32_t c, uint32_t count,
                       float *values) {
  (void)k;
  uint8_t bytes[PIECE_BYTES];
  fg_n64_row_bytes(dtype, block, r, c, count, bytes);
  fg_dtype_get(dtype)->to_f32(bytes, values, count);
}

void fg_plain_values(fg_dtype dtype, const void *block, uint32_t k, uint32_t r, uint32_t c, uint32_t count,
                     float *values) {
  const fg_dtype_info *info = fg_dtype_get(dtype);
  uint64_t row_bytes = (uint64_t)k / info->block * info->bytes;
  uint32_t there = k - c < count ? k - c : count;
  const uint8_t *row = (const uint8_t *)block + r * row_bytes;
  info->to_f32(row + (uint64_t)c / info->block * info->bytes, values, there);
  memset(values + there, 0, (count - there) * sizeof *values);
}

typedef void values_fn(fg_dtype dtype, const void *block, uint32_t k, uint32_t r, uint32_t c, uint32_t count,
                       float *values);

static uint32_t piece_at(uint32_t k, uint32_t c) {
  uint64_t left = fg_tile_k(k) - c;
  return left < PIECE ? (uint32_t)left : PIECE;
}

static void fill_f32(values_fn *values_of, fg_dtype dtype, const void *block, uint32_t rows, uint32_t k,
                     float *tile) {
  float values[PIECE];
  if (rows < FG_TILE_ROWS) memset(tile, 0, fg_tile_k(k) * FG_TILE_ROWS * sizeof *tile);
  for (uint32_t r = 0; r < rows; r++)
    for (uint32_t c = 0; c < k; c += PIECE) {
      uint32_t count = piece_at(k, c);
      values_of(dtype, block, k, r, c, count, values);
      for (uint32_t i = 0; i < count; i++) tile[(uint64_t)(c + i) * FG_TILE_ROWS + r] = values[i];
    }
}

static void fill_bf16(values_fn *values_of, fg_dtype dtype, const void *block, uint32_t rows, uint32_t k,
                      uint16_t *tile) {
  float values[PIECE];
  if (rows < FG_TILE_ROWS) memset(tile, 0, fg_tile_k(k) * FG_TILE_ROWS * sizeof *tile);
  for (uint32_t r = 0; r < rows; r++)
    for (uint32_t c = 0; c < k; c += PIECE) {
      uint32_t count = piece_at(k, c);
      values_of(dtype, block, k, r, c, count, values);
      for (uint32_t i = 0; i < count; i++)
        tile[((uint64_t)(c + i) / 2 * FG_TILE_ROWS + r) * 2 + (i & 1)] = fg_bf16_from_f32(values[i]);
    }
}

static void n64_f32(fg_dtype dtype, const void *block, uint32_t rows, uint32_t k, void *tile) {
  fill_f32(n64_values, dtype, block, rows, k, tile);
}
static void n64_bf16(fg_dtype dtype, const void *block, uint32_t rows, uint32_t k, void *tile) {
  fill_bf16(n64_values, dtype, block, rows, k, tile);
}
static void plain_f32(fg_dtype dtype, const void *block, uint32_t rows, uint32_t k, void *tile) {
  fill_f32(fg_plain_values, dtype, block, rows, k, tile);
}
static void plain_bf16(fg_dtype dtype, const void *block, uint32_t rows, uint32_t k, void *tile) {
  fill_bf16(fg_plain_values, dtype, block, rows, k, tile);
}

static void product(const float *x, uint32_t rows, uint32_t k, const float *tile, float *out) {
  for (uint32_t r = 0; r < rows; r++) {
    float sums[FG_TILE_ROWS] = {0};
    for (uint32_t c = 0; c < k; c++) {
      float value = x[(uint64_t)r * k + c];
      const float *column = tile + (uint64_t)c * FG_TILE_ROWS;
      for (uint32_t i = 0; i < FG_TILE_ROWS; i++) sums[i] += value * column[i];
    }
    memcpy(out + (uint64_t)r * FG_TILE_ROWS, sums, sizeof sums);
  }
}

static void finish(const float *sums, const float *bias, float *out, uint32_t width, bool accumulate) {
  for (uint32_t i = 0; i < width; i++) {
    float sum = bias ? sums[i] + bias[i] : sums[i];
    out[i] = accumulate ? out[i] + sum : sum;
  }
}

void fg_tiles_ref(fg_kernels *k) {
  for (fg_dtype dtype = 0; dtype < FG_DTYPE_COUNT; dtype++) {
    const bool interleaved = fg_n64_step_of(dtype).elements > 0;
    if (!interleaved && (fg_dtype_get(dtype)->block == 1 || !fg_dtype_get(dtype)->to_f32)) continue;
    k->tile_f32[FG_LAYOUT_PLAIN][dtype] = plain_f32;
    k->tile_bf16[FG_LAYOUT_PLAIN][dtype] = plain_bf16;
    if (!interleaved) continue;
    k->tile_f32[FG_LAYOUT_N64][dtype] = n64_f32;
    k->tile_bf16[FG_LAYOUT_N64][dtype] = n64_bf16;
  }
  k->product = product;
  k->finish = finish;
}
