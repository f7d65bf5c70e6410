// Tiles from blocks of the layout n64, 16 output rows a vector. Compiled for AVX-512 (src/CMakeLists.txt).
#if defined(__AVX512F__)

#include <immintrin.h>

#include "kernels/kernels_internal.h"
#include "tensor/groups.h"

enum { LANES = 16, QUARTERS = FG_TILE_ROWS / LANES };

typedef enum tile_form { TILE_F32, TILE_BF16 } tile_form;

#define INLINE static inline __attribute__((always_inline))

// Bits [31:16]: the value rounded to bfloat16, to nearest even; NaN stays NaN.
INLINE __m512i round_bf16(__m512 v) {
  __m512i u = _mm512_castps_si512(v), odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
  __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7fff)), odd);
  return _mm512_mask_or_epi32(rounded, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), u,
                              _mm512_set1_epi32(0x400000));
}

// Values of columns c and c + 1 (c even) of a quarter's 16 rows.
INLINE void put_pair(tile_form form, void *tile, uint64_t c, uint32_t quarter, __m512 even, __m512 odd) {
  if (form == TILE_F32) {
    float *out = (float *)tile + c * FG_TILE_ROWS + quarter * LANES;
    _mm512_storeu_ps(out, even);
    _mm512_storeu_ps(out + FG_TILE_ROWS, odd);
  } else {
    __m512i low = _mm512_srli_epi32(round_bf16(even), 16);
    __m512i high = _mm512_and_si512(round_bf16(odd), _mm512_set1_epi32((int)0xffff0000u));
    uint32_t *out = (uint32_t *)tile + c / 2 * FG_TILE_ROWS + quarter * LANES;
    _mm512_storeu_si512(out, _mm512_or_si512(low, high));
  }
}

INLINE __m512 load_f16(const void *p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(p));
}

// ---- plain floats --------------------------------------------------------------------------------------

static void f32_to_bf16(fg_dtype dtype, const void *block, uint32_t rows, uint32_t k, void *tile) {
  const float *in = block;
  (void)dtype, (void)rows;
  for (uint64_t c = 0; c < fg_tile_k(k); c += 2)
    for (uint32_t q = 0; q < QUARTERS; q++) {
      const float *at = in + c * FG_TILE_ROWS + q * LANES;
      put_pair(TILE_BF16, tile, c, q, _mm512_loadu_ps(at), _mm512_loadu_ps(at + FG_TILE_ROWS));
    }
}

static void bf16_to_f32(fg_dtype dtype, const void *block, uint32_t rows, uint32_t k, void *tile) {
  const uint32_t *in = block;
  (void)dtype, (void)rows;
  for (uint64_t c = 0; c < fg_tile_k(k); c += 2)
    for (uint32_t q = 0; q < QUARTERS; q++) {
      __m512i pair = _mm512_loadu_si512(in + c / 2 * FG_TILE_ROWS + q * LANES);
      __m512i odd = _mm512_and_si512(pair, _mm512_set1_epi32((int)0xffff0000u));
      put_pair(TILE_F32, tile, c, q, _mm512_castsi512_ps(_mm512_slli_epi32(pair, 16)),
               _mm512_castsi512_ps(odd));
    }
}

INLINE void expand_f16(tile_form form, const void *block, uint32_t k, void *tile) {
  const uint16_t *in = block;
  for (uint64_t c = 0; c < fg_tile_k(k); c += 2)
    for (uint32_t q = 0; q < QUARTERS; q++) {
      const uint16_t *at = in + c * FG_TILE_ROWS + q * LANES;
      put_pair(form, tile, c, q, load_f16(at), load_f16(at + FG_TILE_ROWS));
    }
}

// ---- quantized groups ----------------------------------------------------------------------------------

// A type's group: its codes' bits, how many values, whether it has a minimum.
typedef struct group_form {
  uint32_t bits, values;
  bool minimum;
} group_form;

INLINE group_form form_of(fg_dtype dtype, uint32_t bits, bool minimum) {
  return (group_form){bits, fg_dtype_get(dtype)->block, minimum};
}

// Byte i of each lane's word; or its low or high half (`half`).
INLINE __m512i code(group_form g, __m512i words, unsigned i, unsigned half) {
  if (g.bits == 4) return _mm512_and_si512(_mm512_srli_epi32(words, 8 * i + 4 * half), _mm512_set1_epi32(15));
  __m512i top = _mm512_slli_epi32(words, 24 - 8 * i);
  return g.minimum ? _mm512_srli_epi32(top, 24) : _mm512_srai_epi32(top, 24);
}

// d (code - zero point), or d code + m in two roundings: the formats' own arithmetic, so results are exact.
INLINE __m512 value(group_form g, __m512i code, __m512 d, __m512 m) {
  if (g.minimum) return _mm512_add_ps(_mm512_mul_ps(d, _mm512_cvtepi32_ps(code)), m);
  if (g.bits == 4) code = _mm512_sub_epi32(code, _mm512_set1_epi32(8));
  return _mm512_mul_ps(d, _mm512_cvtepi32_ps(code));
}

// A word of 4 bytes of each of a quarter's 16 rows: columns c to c + 3, and c + 16 to c + 19 of 4 bits.
INLINE void expand_word(tile_form form, group_form g, __m512i words, uint64_t c, uint32_t quarter, __m512 d,
                        __m512 m, void *tile) {
  for (unsigned half = 0; half < 8 / g.bits; half++)
    for (unsigned i = 0; i < 4; i += 2)
      put_pair(form, tile, c + 16 * half + i, quarter, value(g, code(g, words, i, half), d, m),
               value(g, code(g, words, i + 1, half), d, m));
}

INLINE void expand_groups(tile_form form, group_form g, const void *block, uint32_t k, void *tile) {
  const uint8_t *in = block;
  const uint32_t heads = g.minimum ? 2 : 1, words = g.bits;
  for (uint64_t c = 0; c < k; c += g.values) {
    const uint8_t *head = in;
    in += 2 * heads * FG_TILE_ROWS;
    for (uint32_t run = 0; run < g.values; run += FG_GROUP_RUN, in += 4 * words * FG_TILE_ROWS)
      for (uint32_t q = 0; q < QUARTERS; q++) {
        __m512 d = load_f16(head + 2 * LANES * q);
        __m512 m = g.minimum ? load_f16(head + 2 * FG_TILE_ROWS + 2 * LANES * q) : _mm512_setzero_ps();
        for (uint32_t word = 0; word < words; word++)
          expand_word(form, g, _mm512_loadu_si512(in + (word * FG_TILE_ROWS + q * LANES) * 4),
                      c + run + 4 * word, q, d, m, tile);
      }
  }
}

// One function a kind and form, so that both are constants inside.
#define TILE(name, call)                                                                                     \
  static void name(fg_dtype dtype, const void *block, uint32_t rows, uint32_t k, void *tile) {               \
    (void)dtype, (void)rows;                                                                                 \
    call;                                                                                                    \
  }
TILE(f16_to_f32, expand_f16(TILE_F32, block, k, tile))
TILE(f16_to_bf16, expand_f16(TILE_BF16, block, k, tile))
TILE(codes8_to_f32, expand_groups(TILE_F32, form_of(dtype, 8, false), block, k, tile))
TILE(codes8_to_bf16, expand_groups(TILE_BF16, form_of(dtype, 8, false), block, k, tile))
TILE(codes8_minimum_to_f32, expand_groups(TILE_F32, form_of(dtype, 8, true), block, k, tile))
TILE(codes8_minimum_to_bf16, expand_groups(TILE_BF16, form_of(dtype, 8, true), block, k, tile))
TILE(codes4_to_f32, expand_groups(TILE_F32, form_of(dtype, 4, false), block, k, tile))
TILE(codes4_to_bf16, expand_groups(TILE_BF16, form_of(dtype, 4, false), block, k, tile))
TILE(codes4_minimum_to_f32, expand_groups(TILE_F32, form_of(dtype, 4, true), block, k, tile))
TILE(codes4_minimum_to_bf16, expand_groups(TILE_BF16, form_of(dtype, 4, true), block, k, tile))

// Float32 to float32 and bfloat16 to bfloat16 are used in place and stay the reference's.
void fg_tiles_avx512(fg_kernels *k) {
  fg_tile_fn **f32 = k->tile_f32[FG_LAYOUT_N64], **bf16 = k->tile_bf16[FG_LAYOUT_N64];
  f32[FG_BF16] = bf16_to_f32;
  f32[FG_F16] = f16_to_f32;
  bf16[FG_F32] = f32_to_bf16;
  bf16[FG_F16] = f16_to_bf16;
  for (fg_dtype dtype = 0; dtype < FG_DTYPE_COUNT; dtype++) {
    const fg_dtype_info *info = fg_dtype_get(dtype);
    if (info->bits == 8) {
      f32[dtype] = info->minimum ? codes8_minimum_to_f32 : codes8_to_f32;
      bf16[dtype] = info->minimum ? codes8_minimum_to_bf16 : codes8_to_bf16;
    } else if (info->bits == 4) {
      f32[dtype] = info->minimum ? codes4_minimum_to_f32 : codes4_to_f32;
      bf16[dtype] = info->minimum ? codes4_minimum_to_bf16 : codes4_to_bf16;
    }
  }
}

#else
typedef int fg_avx512_tiles_are_not_of_this_cpu;
#endif
