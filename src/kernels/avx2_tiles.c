// Float32 tiles from quantized blocks by AVX2, for CPUs without AVX-512. Compiled for AVX2 and F16C
// (src/CMakeLists.txt).
#if defined(__AVX2__)

#include <immintrin.h>

#include "kernels/kernels_internal.h"
#include "tensor/groups.h"

enum { LANES = 8 };
typedef __m256 t_floats;
typedef __m256i t_words;

#define INLINE static inline __attribute__((always_inline))

INLINE t_floats t_zero(void) {
  return _mm256_setzero_ps();
}
INLINE t_floats t_load_f16(const uint8_t *p) {
  return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}
INLINE t_words t_load_words(const uint8_t *p) {
  return _mm256_loadu_si256((const __m256i *)(const void *)p);
}
INLINE void t_store(float *p, t_floats v) {
  _mm256_storeu_ps(p, v);
}

INLINE t_floats t_value(uint32_t bits, bool minimum, t_words words, int i, t_floats d, t_floats m) {
  if (bits == 4) words = _mm256_and_si256(_mm256_srli_epi32(words, 4 * (i / 4)), _mm256_set1_epi8(15));
  t_words top = _mm256_slli_epi32(words, 24 - 8 * (i % 4));
  t_words code = bits == 8 && !minimum ? _mm256_srai_epi32(top, 24) : _mm256_srli_epi32(top, 24);
  if (minimum) return _mm256_add_ps(_mm256_mul_ps(d, _mm256_cvtepi32_ps(code)), m);
  if (bits == 4) code = _mm256_sub_epi32(code, _mm256_set1_epi32(8));
  return _mm256_mul_ps(d, _mm256_cvtepi32_ps(code));
}

#include "kernels/code_tiles_tmpl.h"

void fg_tiles_avx2(fg_kernels *k) {
  fill_tiles(k);
}

#else
typedef int fg_avx2_tiles_are_not_of_this_cpu;
#endif
