#include "kernels/layout.h"

#include <string.h>

#include "base/checked.h"
#include "kernels/cpu.h"
#include "kernels/n64.h"

static const fg_n64_step plain_steps[FG_DTYPE_COUNT] = {
    [FG_F32] = {1, 0, 1}, [FG_F16] = {1, 1, 0}, [FG_BF16] = {2, 0, 1}};

fg_n64_step fg_n64_step_of(fg_dtype dtype) {
  const fg_dtype_info *type = fg_dtype_get(dtype);
  if (!type->bits) return plain_steps[dtype];
  // A group is its scale, perhaps its minimum, and its codes.
  return (fg_n64_step){type->block, type->minimum ? 2 : 1, type->block * type->bits / 32};
}

static bool can_be_n64(fg_dtype dtype, uint32_t k) {
  return (unsigned)dtype < FG_DTYPE_COUNT && fg_n64_step_of(dtype).elements &&
         k % fg_dtype_get(dtype)->block == 0;
}

// Blocks that have no step in n64 are kept as they are and expanded row by row.
static bool can_be_weight(fg_dtype dtype, uint32_t k) {
  if ((unsigned)dtype >= FG_DTYPE_COUNT) return false;
  const fg_dtype_info *type = fg_dtype_get(dtype);
  return can_be_n64(dtype, k) || (type->block > 1 && type->to_f32 && k % type->block == 0);
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
  if (!can_be_n64(dtype, k)) return UINT64_MAX;
  uint64_t padded_rows = fg_align_up(rows, FG_TILE_ROWS);
  const fg_n64_step step = fg_n64_step_of(dtype);
  uint64_t row_bytes = fg_tile_k(k) / step.elements * fg_n64_step_bytes(&step);
  return fg_mul_u64(padded_rows, row_bytes, &bytes) ? bytes : UINT64_MAX;
}

enum { PIECE = 260 }; // bytes of each row that are packed at a time, at least a step's: i8g256m

// One unit of a block: out[r] = rows[r]. Copies of constant sizes are single moves.
static void pack_unit(const uint8_t *rows, uint32_t count, uint32_t size, uint8_t *out) {
  if (size == 4)
    for (uint32_t r = 0; r < count; r++) memcpy(out + r * 4, rows + r * PIECE, 4);
  else
    for (uint32_t r = 0; r < count; r++) memcpy(out + r * 2, rows + r * PIECE, 2);
}

// Pieces of all rows are first put side by side: at their own distance they often fall into few sets of
// the cache (bfloat16, k = 5632: 2.1 to 3.8 GB/s).
static void pack_block(const fg_n64_step *step, const uint8_t *src, uint64_t row_bytes, uint32_t rows,
                       uint8_t *dst) {
  uint32_t step_bytes = fg_n64_step_bytes(step), piece = PIECE / step_bytes * step_bytes;
  uint8_t side_by_side[FG_TILE_ROWS * PIECE];
  for (uint64_t at = 0; at < row_bytes; at += piece) {
    uint64_t bytes = row_bytes - at < piece ? row_bytes - at : piece;
    if (bytes < piece) memset(side_by_side, 0, sizeof side_by_side); // an odd bfloat16 is half a unit
    for (uint32_t r = 0; r < rows; r++) memcpy(side_by_side + r * PIECE, src + r * row_bytes + at, bytes);
    for (uint32_t done = 0; done < bytes;)
      for (uint32_t unit = 0; unit < step->small + step->words; unit++) {
        uint32_t size = unit < step->small ? 2 : 4;
        pack_unit(side_by_side + done, rows, size, dst);
        done += size;
        dst += (uint64_t)FG_TILE_ROWS * size;
      }
  }
}

static void n64_pack(fg_dtype dtype, const void *rows_data, uint32_t rows, uint32_t k, void *dst) {
  const fg_n64_step step = fg_n64_step_of(dtype);
  uint64_t row_bytes = plain_bytes(dtype, 1, k), block_bytes = n64_bytes(dtype, FG_TILE_ROWS, k);
  const uint8_t *src = rows_data;
  uint8_t *out = dst;
  for (uint32_t r = 0; r < rows; r += FG_TILE_ROWS, out += block_bytes) {
    uint32_t count = rows - r < FG_TILE_ROWS ? rows - r : FG_TILE_ROWS;
    if (count < FG_TILE_ROWS || k % FG_TILE_K) memset(out, 0, block_bytes);
    pack_block(&step, src + r * row_bytes, row_bytes, count, out);
  }
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
  return can_be_n64(dtype, k) ? &layouts[FG_LAYOUT_N64] : choose_plain(dtype, n, k);
}

static const fg_layout_family plain_family = {"plain-1", choose_plain};
static const fg_layout_family avx2_family = {"cpu-avx2-2", choose_n64};
static const fg_layout_family avx512_family = {"cpu-avx512-1", choose_n64};
static const fg_layout_family neon_family = {"cpu-neon-1", choose_n64};

const fg_layout_family *fg_layout_family_plain(void) {
  return &plain_family;
}

const fg_layout_family *fg_layout_family_of(uint32_t features) {
  if (features & FG_CPU_AVX512) return &avx512_family;
  if (features & FG_CPU_NEON) return &neon_family;
  return features & FG_CPU_AVX2 ? &avx2_family : &plain_family;
}

const fg_layout_family *fg_layout_family_cpu(void) {
  return fg_layout_family_of(fg_cpu_features());
}
