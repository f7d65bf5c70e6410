// qproduct_vec512.h: vectors of 512 bits and the dot products of AVX-512 VNNI for qproduct_tmpl.h.
#ifndef FG_KERNELS_QPRODUCT_VEC512_H
#define FG_KERNELS_QPRODUCT_VEC512_H

#include <immintrin.h>
#include <stdint.h>

typedef __m512i ivec;
typedef __m512 fvec;

// 16 sums of integers and as many of floats nearly fill the 32 registers. Few rows take all 64 columns, so
// that weights are read from memory in one run.
enum { Q_VEC = 16 };
#define Q_UNSIGNED  1
#define Q_SHAPES(X) X(1, 4) X(2, 4) X(3, 4) X(4, 4)

// The instruction itself, and activations in a register from which four instructions take them: read by each
// from memory, a CPU of two such units (Zen 5) waits for its two loads a cycle. Not as intrinsics: gcc 12
// hoists the broadcasts, runs out of registers and spills sums.
typedef int32_t q_word __attribute__((may_alias));
static inline ivec q_spread(const int8_t *x) {
  ivec y;
  __asm__("vpbroadcastd %1, %0" : "=v"(y) : "m"(*(const q_word *)(const void *)x));
  return y;
}
static inline ivec dot(ivec a, ivec w, ivec x) {
  __asm__("vpdpbusd %2, %1, %0" : "+v"(a) : "v"(w), "v"(x));
  return a;
}
#define q_dot4(a, w, x) dot(a, w, x)
#define q_dot8(a, w, x) dot(a, w, x)
#define q_load(p)       _mm512_loadu_si512(p)
#define q_flip(v)       _mm512_xor_si512(v, _mm512_set1_epi8(-128))
#define q_broadcast(i)  _mm512_set1_epi32(i)
#define q_zero()        _mm512_setzero_si512()
#define q_add(a, b)     _mm512_add_epi32(a, b)
#define q_low(v)        _mm512_and_si512(v, _mm512_set1_epi8(15))
#define q_high(v)       _mm512_and_si512(_mm512_srli_epi32(v, 4), _mm512_set1_epi8(15))
#define q_byte(v, i)    _mm512_srli_epi32(_mm512_slli_epi32(v, 24 - 8 * (i)), 24)
#define q_to_f32(v)     _mm512_cvtepi32_ps(v)
#define f_set(x)        _mm512_set1_ps(x)
#define f_add(a, b)     _mm512_add_ps(a, b)
#define f_mul(a, b)     _mm512_mul_ps(a, b)
#define f_fma(a, b, c)  _mm512_fmadd_ps(a, b, c)
#define f_load(p)       _mm512_loadu_ps(p)
#define f_store(p, v)   _mm512_storeu_ps(p, v)
#define f_load_f16(p)   _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(p)))

#endif
