// Float32 tiles from quantized blocks of the layout n64, 8 output rows a vector, for CPUs without AVX-512.
// Compiled for AVX2 and F16C (src/CMakeLists.txt).
#if defined(__AVX2__)

#include <immintrin.h>

#include "kernels/kernels_internal.h"
#include "tensor/groups.h"

enum { LANES = 8 };

#define INLINE static inline __attribute__((always_inline))

// What varies by type: the bits of a code and whether there is a minimum.
typedef struct group_form {
  uint32_t bits;
  bool minimum;
} group_form;

// Value `i` of a word of 4 codes of 8 bits, or 8 of 4 bits, low halves first, as its format computes it.
INLINE __m256 value(group_form g, __m256i words, int i, __m256 d, __m256 m) {
  if (g.bits == 4) words = _mm256_and_si256(_mm256_srli_epi32(words, 4 * (i / 4)), _mm256_set1_epi8(15));
  __m256i top = _mm256_slli_epi32(words, 24 - 8 * (i % 4));
  __m256i code = g.bits == 8 && !g.minimum ? _mm256_srai_epi32(top, 24) : _mm256_srli_epi32(top, 24);
  if (g.minimum) return _mm256_add_ps(_mm256_mul_ps(d, _mm256_cvtepi32_ps(code)), m);
  if (g.bits == 4) code = _mm256_sub_epi32(code, _mm256_set1_epi32(8));
  return _mm256_mul_ps(d, _mm256_cvtepi32_ps(code));
}

INLINE __m256 load_f16(const uint8_t *p) {
  return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}

// A run of 32 values of 64 output rows: its units of codes at `in`, the group's head at `head`.
INLINE void expand_run(group_form g, const uint8_t *head, const uint8_t *in, float *tile) {
  for (uint32_t r = 0; r < FG_TILE_ROWS; r += LANES) {
    const __m256 d = load_f16(head + 2 * r);
    const __m256 m = g.minimum ? load_f16(head + 2 * FG_TILE_ROWS + 2 * r) : _mm256_setzero_ps();
    for (uint32_t word = 0; word < g.bits; word++) {
      const __m256i words =
          _mm256_loadu_si256((const __m256i *)(const void *)(in + 4 * (word * FG_TILE_ROWS + r)));
      for (int i = 0; i < (int)(32 / g.bits); i++) {
        const uint32_t column = 4 * word + (uint32_t)(i / 4) * (FG_GROUP_RUN / 2) + (uint32_t)(i % 4);
        _mm256_storeu_ps(tile + column * FG_TILE_ROWS + r, value(g, words, i, d, m));
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

void fg_tiles_avx2(fg_kernels *k) {
  for (fg_dtype dtype = 0; dtype < FG_DTYPE_COUNT; dtype++) {
    const fg_dtype_info *type = fg_dtype_get(dtype);
    fg_tile_fn **slot = &k->tile_f32[FG_LAYOUT_N64][dtype];
    if (type->bits == 8) *slot = type->minimum ? codes8_minimum : codes8;
    if (type->bits == 4) *slot = type->minimum ? codes4_minimum : codes4;
  }
}

#else
typedef int fg_avx2_tiles_are_not_of_this_cpu;
#endif
