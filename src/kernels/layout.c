#include "kernels/layout.h"

#include <string.h>

#include "base/checked.h"
#include "kernels/cpu.h"
#include "kernels/n64.h"

static const fg_n64_step steps[FG_DTYPE_COUNT] = {
    [FG_F32] = {1, 0, 1},   [FG_F16] = {1, 1, 0},   [FG_BF16] = {2, 0, 1},
    [FG_Q8_0] = {32, 1, 8}, [FG_Q4_0] = {32, 1, 4}, [FG_Q4_1] = {32, 2, 4},
};

const fg_n64_step *fg_n64_step_of(fg_dtype dtype) {
  return &steps[dtype];
}

static bool can_be_weight(fg_dtype dtype, uint32_t k) {
  return (unsigned)dtype < FG_DTYPE_COUNT && steps[dtype].elements && k % fg_dtype_get(dtype)->block == 0;
}

static uint64_t plain_bytes(fg_dtype dtype, uint32_t rows, uint32_t k) {
  uint64_t bytes;
  if (!can_be_weight(dtype, k) || !fg_dtype_bytes(dtype, (uint64_t)rows * k, &bytes)) return UINT64_MAX;
  return bytes;
}

static void plain_pack(fg_dtype dtype, const void *rows_data, uint32_t rows, uint32_t k, void *dst) {
  memcpy(dst, rows_data, plain_bytes(dtype, rows, k));
}

static uint64_t n64_bytes(fg_dtype dtype, uint32_t rows, uint32_t k) {
  uint64_t bytes;
  if (!can_be_weight(dtype, k)) return UINT64_MAX;
  uint64_t padded_rows = fg_align_up(rows, FG_TILE_ROWS);
  uint64_t row_bytes = fg_tile_k(k) / steps[dtype].elements * fg_n64_step_bytes(&steps[dtype]);
  return fg_mul_u64(padded_rows, row_bytes, &bytes) ? bytes : UINT64_MAX;
}

// Puts one row into its lane of a block, unit by unit; what the row lacks of a unit or of the padding
// stays zero.
static void n64_pack_row(const fg_n64_step *step, const uint8_t *row, uint64_t row_bytes, uint8_t *lane,
                         uint32_t index) {
  uint64_t at = 0;
  while (at < row_bytes)
    for (uint32_t unit = 0; unit < step->small + step->words; unit++) {
      uint32_t size = unit < step->small ? 2 : 4;
      uint64_t left = row_bytes - at, take = left < size ? left : size;
      memcpy(lane + (uint64_t)index * size, row + at, take);
      at += take;
      lane += (uint64_t)FG_TILE_ROWS * size;
    }
}

static void n64_pack(fg_dtype dtype, const void *rows_data, uint32_t rows, uint32_t k, void *dst) {
  uint64_t row_bytes = plain_bytes(dtype, 1, k), block_bytes = n64_bytes(dtype, FG_TILE_ROWS, k);
  memset(dst, 0, n64_bytes(dtype, rows, k));
  for (uint32_t r = 0; r < rows; r++)
    n64_pack_row(&steps[dtype], (const uint8_t *)rows_data + r * row_bytes, row_bytes,
                 (uint8_t *)dst + r / FG_TILE_ROWS * block_bytes, r % FG_TILE_ROWS);
}

static const fg_layout layouts[FG_LAYOUT_COUNT] = {
    [FG_LAYOUT_PLAIN] = {FG_LAYOUT_PLAIN, "plain", 1, plain_bytes, plain_pack},
    [FG_LAYOUT_N64] = {FG_LAYOUT_N64, "n64", FG_TILE_ROWS, n64_bytes, n64_pack},
};

const fg_layout *fg_layout_find(const char *name) {
  for (size_t i = 0; i < FG_LAYOUT_COUNT; i++)
    if (strcmp(layouts[i].name, name) == 0) return &layouts[i];
  return NULL;
}

static const fg_layout *choose_plain(fg_dtype dtype, uint32_t n, uint32_t k) {
  (void)n;
  return can_be_weight(dtype, k) ? &layouts[FG_LAYOUT_PLAIN] : NULL;
}

static const fg_layout *choose_n64(fg_dtype dtype, uint32_t n, uint32_t k) {
  (void)n;
  return can_be_weight(dtype, k) ? &layouts[FG_LAYOUT_N64] : NULL;
}

static const fg_layout_family plain_family = {"plain-1", choose_plain};
static const fg_layout_family avx512_family = {"cpu-avx512-1", choose_n64};

const fg_layout_family *fg_layout_family_plain(void) {
  return &plain_family;
}

const fg_layout_family *fg_layout_family_cpu(void) {
  return fg_cpu_features() & FG_CPU_AVX512 ? &avx512_family : &plain_family;
}
