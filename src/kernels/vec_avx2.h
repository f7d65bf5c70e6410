// vec_avx2.h: 8 float32 as a vector, for the kernels in *_tmpl.h. AVX2, FMA, F16C.
#ifndef FG_KERNELS_VEC_AVX2_H
#define FG_KERNELS_VEC_AVX2_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

typedef __m256 vec;
enum { VEC = 8, VEC_ROWS = 3 }; // VEC_ROWS: of four vectors each, as accumulators

static inline __m256i vec_index(void) {
  return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
}
// All ones in lanes [0, n).
static inline __m256i vec_lanes(uint32_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), vec_index());
}

static inline vec vec_load(const float *p) {
  return _mm256_loadu_ps(p);
}
static inline void vec_store(float *p, vec v) {
  _mm256_storeu_ps(p, v);
}
// The first n lanes; the others are zero and touch no memory. Whole vectors avoid the mask, whose
// stores are slow on some CPUs.
static inline vec vec_load_part(const float *p, uint32_t n) {
  return n == VEC ? vec_load(p) : _mm256_maskload_ps(p, vec_lanes(n));
}
static inline void vec_store_part(float *p, vec v, uint32_t n) {
  if (n == VEC)
    vec_store(p, v);
  else
    _mm256_maskstore_ps(p, vec_lanes(n), v);
}
static inline vec vec_first(vec v, uint32_t n) {
  return _mm256_and_ps(v, _mm256_castsi256_ps(vec_lanes(n)));
}
// v in lanes [begin, end), other elsewhere; the bounds may lie outside [0, VEC].
static inline vec vec_range(vec v, int32_t begin, int32_t end, vec other) {
  __m256i i = vec_index();
  __m256i below = _mm256_cmpgt_epi32(_mm256_set1_epi32(begin), i),
          within = _mm256_cmpgt_epi32(_mm256_set1_epi32(end), i);
  return _mm256_blendv_ps(other, v, _mm256_castsi256_ps(_mm256_andnot_si256(below, within)));
}

static inline vec vec_set(float x) {
  return _mm256_set1_ps(x);
}
static inline vec vec_add(vec a, vec b) {
  return _mm256_add_ps(a, b);
}
static inline vec vec_sub(vec a, vec b) {
  return _mm256_sub_ps(a, b);
}
static inline vec vec_mul(vec a, vec b) {
  return _mm256_mul_ps(a, b);
}
static inline vec vec_div(vec a, vec b) {
  return _mm256_div_ps(a, b);
}
static inline vec vec_fma(vec a, vec b, vec c) {
  return _mm256_fmadd_ps(a, b, c);
} // a b + c
static inline vec vec_fnma(vec a, vec b, vec c) {
  return _mm256_fnmadd_ps(a, b, c);
} // c - a b
static inline vec vec_fms(vec a, vec b, vec c) {
  return _mm256_fmsub_ps(a, b, c);
} // a b - c
// b where one of the two is NaN
static inline vec vec_max(vec a, vec b) {
  return _mm256_max_ps(a, b);
}
static inline vec vec_min(vec a, vec b) {
  return _mm256_min_ps(a, b);
}
static inline vec vec_abs(vec a) {
  return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
}
static inline vec vec_if_negative(vec x, vec a, vec b) {
  return _mm256_blendv_ps(b, a, _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_LT_OQ));
}
static inline vec vec_round(vec a) {
  return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static inline vec vec_power(__m256i n) { // 2^n, -126 <= n <= 127
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}
// a 2^n, n whole and of a magnitude below 250: in two steps, so that the result may be subnormal.
static inline vec vec_scale(vec a, vec n) {
  __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1);
  return _mm256_mul_ps(_mm256_mul_ps(a, vec_power(half)), vec_power(_mm256_sub_epi32(whole, half)));
}
// Each of half a vector's values twice, and neighbours in each other's place.
static inline vec vec_load_twice(const float *p) {
  __m256 four = _mm256_castps128_ps256(_mm_loadu_ps(p));
  return _mm256_permutevar8x32_ps(four, _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3));
}
static inline vec vec_swap_pairs(vec a) {
  return _mm256_permute_ps(a, 0xb1);
}
static inline float vec_sum(vec a) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
static inline float vec_highest(vec a) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

static inline __m128i vec_load_halves(const uint8_t *p, uint32_t n) {
  if (n == VEC) return _mm_loadu_si128((const __m128i *)p);
  uint16_t halves[VEC] = {0};
  memcpy(halves, p, n * sizeof *halves);
  return _mm_loadu_si128((const __m128i *)halves);
}
static inline void vec_store_halves(uint8_t *p, __m128i v, uint32_t n) {
  uint16_t halves[VEC];
  _mm_storeu_si128((__m128i *)halves, v);
  memcpy(p, halves, n * sizeof *halves);
}
static inline vec vec_load_bf16(const uint8_t *p, uint32_t n) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(vec_load_halves(p, n)), 16));
}
// Of VEC pairs of bfloat16 the first ones, and the second ones.
static inline vec vec_even_bf16(const uint8_t *p) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_loadu_si256((const void *)p), 16));
}
static inline vec vec_odd_bf16(const uint8_t *p) {
  const __m256i high = _mm256_set1_epi32((int)0xffff0000u);
  return _mm256_castsi256_ps(_mm256_and_si256(_mm256_loadu_si256((const void *)p), high));
}
static inline vec vec_load_f16(const uint8_t *p, uint32_t n) {
  return _mm256_cvtph_ps(vec_load_halves(p, n));
}
// Round to nearest even; NaN stays NaN.
static inline void vec_store_bf16(uint8_t *p, vec v, uint32_t n) {
  __m256i u = _mm256_castps_si256(v), odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
  __m256i rounded = _mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7fff)), odd);
  __m256i quiet = _mm256_or_si256(u, _mm256_set1_epi32(0x400000));
  __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
  rounded = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
  __m128i halves = _mm_packus_epi32(_mm256_castsi256_si128(rounded), _mm256_extracti128_si256(rounded, 1));
  vec_store_halves(p, halves, n);
}
static inline void vec_store_f16(uint8_t *p, vec v, uint32_t n) {
  vec_store_halves(p, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), n);
}

// out[j, i] = in[i, j] of a square of VEC. First pairs of rows, then pairs of pairs within each half,
// then the halves.
static inline void vec_transpose(const float *in, uint64_t in_stride, float *out, uint64_t out_stride) {
  __m256 r[8], t[8];
  for (int i = 0; i < 8; i++) r[i] = _mm256_loadu_ps(in + (uint64_t)i * in_stride);
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    __m256d a = _mm256_castps_pd(t[i]), b = _mm256_castps_pd(t[i + 1]);
    __m256d c = _mm256_castps_pd(t[i + 2]), d = _mm256_castps_pd(t[i + 3]);
    r[i] = _mm256_castpd_ps(_mm256_unpacklo_pd(a, c));
    r[i + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(a, c));
    r[i + 2] = _mm256_castpd_ps(_mm256_unpacklo_pd(b, d));
    r[i + 3] = _mm256_castpd_ps(_mm256_unpackhi_pd(b, d));
  }
  for (int j = 0; j < 4; j++) {
    _mm256_storeu_ps(out + (uint64_t)j * out_stride, _mm256_permute2f128_ps(r[j], r[4 + j], 0x20));
    _mm256_storeu_ps(out + (uint64_t)(4 + j) * out_stride, _mm256_permute2f128_ps(r[j], r[4 + j], 0x31));
  }
}

#endif
