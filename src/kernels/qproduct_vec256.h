// qproduct_vec256.h: vectors of 256 bits for qproduct_tmpl.h, all but the dot products.
#ifndef FG_KERNELS_QPRODUCT_VEC256_H
#define FG_KERNELS_QPRODUCT_VEC256_H

#include <immintrin.h>
#include <stdint.h>

typedef __m256i ivec;
typedef __m256 fvec;

enum { Q_VEC = 8 };
// 8 sums of 16 registers.
#define Q_SHAPES(X)    X(1, 4) X(2, 4) X(3, 2) X(4, 2)
#define q_load(p)      _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define q_broadcast(i) _mm256_set1_epi32(i)
#define q_zero()       _mm256_setzero_si256()
#define q_add(a, b)    _mm256_add_epi32(a, b)
#define q_low(v)       _mm256_and_si256(v, _mm256_set1_epi8(15))
#define q_high(v)      _mm256_and_si256(_mm256_srli_epi32(v, 4), _mm256_set1_epi8(15))
#define q_flip(v)      _mm256_xor_si256(v, _mm256_set1_epi8(-128))
#define q_byte(v, i)   _mm256_srli_epi32(_mm256_slli_epi32(v, 24 - 8 * (int)(i)), 24)
#define q_to_f32(v)    _mm256_cvtepi32_ps(v)
#define f_set(x)       _mm256_set1_ps(x)
#define f_add(a, b)    _mm256_add_ps(a, b)
#define f_mul(a, b)    _mm256_mul_ps(a, b)
#define f_fma(a, b, c) _mm256_fmadd_ps(a, b, c)
#define f_load(p)      _mm256_loadu_ps(p)
#define f_store(p, v)  _mm256_storeu_ps(p, v)
#define f_load_f16(p)  _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(p)))

static inline ivec q_spread(const int8_t *p) {
  int32_t word;
  __builtin_memcpy(&word, p, sizeof word);
  return q_broadcast(word);
}

#endif
