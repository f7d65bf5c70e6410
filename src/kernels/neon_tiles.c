// Float32 tiles from quantized blocks of the layout n64, 4 output rows a vector.
#if defined(__aarch64__)

#include <arm_neon.h>

#include "kernels/kernels_internal.h"
#include "tensor/groups.h"

enum { LANES = 4 };

#define INLINE static inline __attribute__((always_inline))

// What varies by type: the bits of a code and whether there is a minimum.
typedef struct group_form {
  uint32_t bits;
  bool minimum;
} group_form;

// Byte `i` of each word, with its sign or without.
INLINE int32x4_t byte_of(uint32x4_t words, int i, bool is_signed) {
  uint32x4_t top = vshlq_u32(words, vdupq_n_s32(24 - 8 * i));
  return is_signed ? vshrq_n_s32(vreinterpretq_s32_u32(top), 24)
                   : vreinterpretq_s32_u32(vshrq_n_u32(top, 24));
}

// Value `i` of a word of 4 codes of 8 bits, or 8 of 4 bits, low halves first, as its format computes it.
INLINE float32x4_t value(group_form g, uint32x4_t words, int i, float32x4_t d, float32x4_t m) {
  if (g.bits == 4) words = vandq_u32(i < 4 ? words : vshrq_n_u32(words, 4), vdupq_n_u32(0x0f0f0f0fu));
  int32x4_t code = byte_of(words, i % 4, g.bits == 8 && !g.minimum);
  if (g.minimum) return vaddq_f32(vmulq_f32(d, vcvtq_f32_s32(code)), m);
  if (g.bits == 4) code = vsubq_s32(code, vdupq_n_s32(8));
  return vmulq_f32(d, vcvtq_f32_s32(code));
}

INLINE float32x4_t load_f16(const uint8_t *p) {
  return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p)));
}

// A run of 32 values of 64 output rows: its units of codes at `in`, the group's head at `head`.
INLINE void expand_run(group_form g, const uint8_t *head, const uint8_t *in, float *tile) {
  for (uint32_t r = 0; r < FG_TILE_ROWS; r += LANES) {
    const float32x4_t d = load_f16(head + 2 * r);
    const float32x4_t m = g.minimum ? load_f16(head + 2 * FG_TILE_ROWS + 2 * r) : vdupq_n_f32(0);
    for (uint32_t word = 0; word < g.bits; word++) {
      const uint32x4_t words = vreinterpretq_u32_u8(vld1q_u8(in + 4 * (word * FG_TILE_ROWS + r)));
      for (int i = 0; i < (int)(32 / g.bits); i++) {
        const uint32_t column = 4 * word + (uint32_t)(i / 4) * (FG_GROUP_RUN / 2) + (uint32_t)(i % 4);
        vst1q_f32(tile + column * FG_TILE_ROWS + r, value(g, words, i, d, m));
      }
    }
  }
}

INLINE void expand(group_form g, uint32_t group, const uint8_t *in, uint32_t k, float *tile) {
  for (uint32_t c = 0; c < k; c += group) {
    const uint8_t *head = in;
    in += (g.minimum ? 4 : 2) * FG_TILE_ROWS;
    for (uint32_t run = 0; run < group; run += FG_GROUP_RUN, in += 4 * g.bits * FG_TILE_ROWS)
      expand_run(g, head, in, tile + (uint64_t)(c + run) * FG_TILE_ROWS);
  }
}

// One function a form, so that it is a constant inside.
#define TILE(name, bits, minimum)                                                                            \
  static void name(fg_dtype dtype, const void *block, uint32_t rows, uint32_t k, void *tile) {               \
    (void)rows;                                                                                              \
    expand((group_form){bits, minimum}, fg_dtype_get(dtype)->block, block, k, tile);                         \
  }
TILE(codes8, 8, false)
TILE(codes8_minimum, 8, true)
TILE(codes4, 4, false)
TILE(codes4_minimum, 4, true)

void fg_tiles_neon(fg_kernels *k) {
  for (fg_dtype dtype = 0; dtype < FG_DTYPE_COUNT; dtype++) {
    const fg_dtype_info *type = fg_dtype_get(dtype);
    fg_tile_fn **slot = &k->tile_f32[FG_LAYOUT_N64][dtype];
    if (type->bits == 8) *slot = type->minimum ? codes8_minimum : codes8;
    if (type->bits == 4) *slot = type->minimum ? codes4_minimum : codes4;
  }
}

#else
typedef int fg_neon_tiles_are_not_of_this_cpu;
#endif
