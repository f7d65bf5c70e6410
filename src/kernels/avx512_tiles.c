// Tiles from blocks of the layout n64, 16 output rows a vector. Compiled for AVX-512 (src/CMakeLists.txt).
#if defined(__AVX512F__)

#include <immintrin.h>

#include "kernels/kernels_internal.h"

enum { LANES = 16, QUARTERS = FG_TILE_ROWS / LANES, QUANTIZED = 32 };

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

// ---- quantized blocks ----------------------------------------------------------------------------------

// Byte i of each lane's word, as a signed number.
INLINE __m512 signed_byte(__m512i words, unsigned i) {
  return _mm512_cvtepi32_ps(_mm512_srai_epi32(_mm512_slli_epi32(words, 24 - 8 * i), 24));
}

INLINE void expand_q8_0(tile_form form, const void *block, uint32_t k, void *tile) {
  const uint8_t *in = block;
  for (uint64_t c = 0; c < k; c += QUANTIZED, in += (2 + QUANTIZED) * FG_TILE_ROWS)
    for (uint32_t q = 0; q < QUARTERS; q++) {
      __m512 d = load_f16(in + 2 * LANES * q);
      for (uint32_t word = 0; word < QUANTIZED / 4; word++) {
        const uint8_t *at = in + 2 * FG_TILE_ROWS + (word * FG_TILE_ROWS + q * LANES) * 4;
        __m512i codes = _mm512_loadu_si512(at);
        for (unsigned i = 0; i < 4; i += 2)
          put_pair(form, tile, c + 4 * word + i, q, _mm512_mul_ps(d, signed_byte(codes, i)),
                   _mm512_mul_ps(d, signed_byte(codes, i + 1)));
      }
    }
}

INLINE __m512i nibble(__m512i words, unsigned i) {
  return _mm512_and_si512(_mm512_srli_epi32(words, 4 * i), _mm512_set1_epi32(15));
}

// d (code - 8), and d code + m in two roundings: the formats' own arithmetic, so results are exact.
INLINE __m512 value_q4_0(__m512i code, __m512 d, __m512 m) {
  (void)m;
  return _mm512_mul_ps(d, _mm512_cvtepi32_ps(_mm512_sub_epi32(code, _mm512_set1_epi32(8))));
}
INLINE __m512 value_q4_1(__m512i code, __m512 d, __m512 m) {
  return _mm512_add_ps(_mm512_mul_ps(d, _mm512_cvtepi32_ps(code)), m);
}

// A byte holds elements j and j + 16 of a block; four bytes a word.
INLINE void expand_q4(tile_form form, bool minimum, const void *block, uint32_t k, void *tile) {
  const uint8_t *in = block;
  uint32_t heads = minimum ? 2 : 1;
  for (uint64_t c = 0; c < k; c += QUANTIZED, in += (2 * heads + QUANTIZED / 2) * FG_TILE_ROWS)
    for (uint32_t q = 0; q < QUARTERS; q++) {
      __m512 d = load_f16(in + 2 * LANES * q);
      __m512 m = minimum ? load_f16(in + 2 * FG_TILE_ROWS + 2 * LANES * q) : _mm512_setzero_ps();
      for (uint32_t word = 0; word < QUANTIZED / 8; word++) {
        const uint8_t *at = in + 2 * heads * FG_TILE_ROWS + (word * FG_TILE_ROWS + q * LANES) * 4;
        __m512i codes = _mm512_loadu_si512(at);
        for (unsigned half = 0; half < 2; half++)
          for (unsigned i = 0; i < 4; i += 2) {
            __m512i even = nibble(codes, 2 * i + half), odd = nibble(codes, 2 * i + 2 + half);
            uint64_t column = c + QUANTIZED / 2 * half + 4 * word + i;
            put_pair(form, tile, column, q, minimum ? value_q4_1(even, d, m) : value_q4_0(even, d, m),
                     minimum ? value_q4_1(odd, d, m) : value_q4_0(odd, d, m));
          }
      }
    }
}

// One function a type and form, so that both are constants inside.
#define TILE(name, call)                                                                                     \
  static void name(fg_dtype dtype, const void *block, uint32_t rows, uint32_t k, void *tile) {               \
    (void)dtype, (void)rows;                                                                                 \
    call;                                                                                                    \
  }
TILE(f16_to_f32, expand_f16(TILE_F32, block, k, tile))
TILE(f16_to_bf16, expand_f16(TILE_BF16, block, k, tile))
TILE(q8_0_to_f32, expand_q8_0(TILE_F32, block, k, tile))
TILE(q8_0_to_bf16, expand_q8_0(TILE_BF16, block, k, tile))
TILE(q4_0_to_f32, expand_q4(TILE_F32, false, block, k, tile))
TILE(q4_0_to_bf16, expand_q4(TILE_BF16, false, block, k, tile))
TILE(q4_1_to_f32, expand_q4(TILE_F32, true, block, k, tile))
TILE(q4_1_to_bf16, expand_q4(TILE_BF16, true, block, k, tile))

// Float32 to float32 and bfloat16 to bfloat16 are used in place and stay the reference's.
void fg_tiles_avx512(fg_kernels *k) {
  fg_tile_fn **f32 = k->tile_f32[FG_LAYOUT_N64], **bf16 = k->tile_bf16[FG_LAYOUT_N64];
  f32[FG_BF16] = bf16_to_f32;
  f32[FG_F16] = f16_to_f32;
  f32[FG_Q8_0] = q8_0_to_f32;
  f32[FG_Q4_0] = q4_0_to_f32;
  f32[FG_Q4_1] = q4_1_to_f32;
  bf16[FG_F32] = f32_to_bf16;
  bf16[FG_F16] = f16_to_bf16;
  bf16[FG_Q8_0] = q8_0_to_bf16;
  bf16[FG_Q4_0] = q4_0_to_bf16;
  bf16[FG_Q4_1] = q4_1_to_bf16;
}

#else
typedef int fg_avx512_tiles_are_not_of_this_cpu;
#endif
