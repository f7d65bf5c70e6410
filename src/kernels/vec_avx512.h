// vec_avx512.h: 16 float32 as a vector, for the kernels in *_tmpl.h. AVX-512 F, BW, DQ, VL.
#ifndef FG_KERNELS_VEC_AVX512_H
#define FG_KERNELS_VEC_AVX512_H

#include <immintrin.h>
#include <stdint.h>

typedef __m512 vec;
enum { VEC = 16, VEC_ROWS = 6 }; // VEC_ROWS: of four vectors each, as accumulators

// Lanes [0, n), n <= VEC.
static inline __mmask16 vec_lanes(uint32_t n) {
  return (__mmask16)((1u << n) - 1);
}

static inline vec vec_load(const float *p) {
  return _mm512_loadu_ps(p);
}
static inline void vec_store(float *p, vec v) {
  _mm512_storeu_ps(p, v);
}
// The first n lanes; the others are zero and touch no memory.
static inline vec vec_load_part(const float *p, uint32_t n) {
  return _mm512_maskz_loadu_ps(vec_lanes(n), p);
}
static inline void vec_store_part(float *p, vec v, uint32_t n) {
  _mm512_mask_storeu_ps(p, vec_lanes(n), v);
}
static inline vec vec_first(vec v, uint32_t n) {
  return _mm512_maskz_mov_ps(vec_lanes(n), v);
}
// v in lanes [begin, end), other elsewhere; the bounds may lie outside [0, VEC].
static inline vec vec_range(vec v, int32_t begin, int32_t end, vec other) {
  begin = begin < 0 ? 0 : begin > VEC ? VEC : begin;
  end = end < begin ? begin : end > VEC ? VEC : end;
  return _mm512_mask_mov_ps(other, vec_lanes((uint32_t)end) & (__mmask16)~vec_lanes((uint32_t)begin), v);
}

static inline vec vec_set(float x) {
  return _mm512_set1_ps(x);
}
static inline vec vec_add(vec a, vec b) {
  return _mm512_add_ps(a, b);
}
static inline vec vec_sub(vec a, vec b) {
  return _mm512_sub_ps(a, b);
}
static inline vec vec_mul(vec a, vec b) {
  return _mm512_mul_ps(a, b);
}
static inline vec vec_div(vec a, vec b) {
  return _mm512_div_ps(a, b);
}
static inline vec vec_fma(vec a, vec b, vec c) {
  return _mm512_fmadd_ps(a, b, c);
} // a b + c
static inline vec vec_fnma(vec a, vec b, vec c) {
  return _mm512_fnmadd_ps(a, b, c);
} // c - a b
static inline vec vec_fms(vec a, vec b, vec c) {
  return _mm512_fmsub_ps(a, b, c);
} // a b - c
// b where one of the two is NaN
static inline vec vec_max(vec a, vec b) {
  return _mm512_max_ps(a, b);
}
static inline vec vec_min(vec a, vec b) {
  return _mm512_min_ps(a, b);
}
static inline vec vec_abs(vec a) {
  return _mm512_abs_ps(a);
}
static inline vec vec_if_negative(vec x, vec a, vec b) {
  return _mm512_mask_mov_ps(b, _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ), a);
}
static inline vec vec_round(vec a) {
  return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static inline vec vec_scale(vec a, vec n) {
  return _mm512_scalef_ps(a, n);
} // a 2^n, n whole
// Each of half a vector's values twice, and neighbours in each other's place.
static inline vec vec_load_twice(const float *p) {
  __m512i twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
  return _mm512_permutexvar_ps(twice, _mm512_castps256_ps512(_mm256_loadu_ps(p)));
}
static inline vec vec_swap_pairs(vec a) {
  return _mm512_permute_ps(a, 0xb1);
}
static inline float vec_sum(vec a) {
  return _mm512_reduce_add_ps(a);
}
static inline float vec_highest(vec a) {
  return _mm512_reduce_max_ps(a);
}

static inline vec vec_load_bf16(const uint8_t *p, uint32_t n) {
  __m256i h = _mm256_maskz_loadu_epi16(vec_lanes(n), p);
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}
// Of VEC pairs of bfloat16 the first ones, and the second ones.
static inline vec vec_even_bf16(const uint8_t *p) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(p), 16));
}
static inline vec vec_odd_bf16(const uint8_t *p) {
  const __m512i high = _mm512_set1_epi32((int)0xffff0000u);
  return _mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(p), high));
}
static inline vec vec_load_f16(const uint8_t *p, uint32_t n) {
  return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(vec_lanes(n), p));
}
// Round to nearest even; NaN stays NaN.
static inline __m256i vec_to_bf16(vec v) {
  __m512i u = _mm512_castps_si512(v), odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
  __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7fff)), odd);
  __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
  rounded = _mm512_mask_or_epi32(rounded, nan, u, _mm512_set1_epi32(0x400000));
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16));
}
static inline void vec_store_bf16(uint8_t *p, vec v, uint32_t n) {
  _mm256_mask_storeu_epi16(p, vec_lanes(n), vec_to_bf16(v));
}
static inline void vec_store_f16(uint8_t *p, vec v, uint32_t n) {
  _mm256_mask_storeu_epi16(p, vec_lanes(n),
                           _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

// Lane i of out[j] = lane j of r[i]. First pairs of rows, then pairs of pairs within each quarter,
// then the quarters.
static inline void vec_transpose_16(__m512 r[16], __m512 out[16]) {
  __m512 t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    __m512d a = _mm512_castps_pd(t[i]), b = _mm512_castps_pd(t[i + 1]);
    __m512d c = _mm512_castps_pd(t[i + 2]), d = _mm512_castps_pd(t[i + 3]);
    r[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
    r[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
    r[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
    r[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
  }
  for (int j = 0; j < 4; j++) {
    __m512 even_ab = _mm512_shuffle_f32x4(r[j], r[4 + j], 0x88),
           odd_ab = _mm512_shuffle_f32x4(r[j], r[4 + j], 0xdd);
    __m512 even_cd = _mm512_shuffle_f32x4(r[8 + j], r[12 + j], 0x88);
    __m512 odd_cd = _mm512_shuffle_f32x4(r[8 + j], r[12 + j], 0xdd);
    out[j] = _mm512_shuffle_f32x4(even_ab, even_cd, 0x88);
    out[4 + j] = _mm512_shuffle_f32x4(odd_ab, odd_cd, 0x88);
    out[8 + j] = _mm512_shuffle_f32x4(even_ab, even_cd, 0xdd);
    out[12 + j] = _mm512_shuffle_f32x4(odd_ab, odd_cd, 0xdd);
  }
}
static inline void vec_store_transposed(__m512 r[16], float *out, uint64_t out_stride) {
  __m512 columns[16];
  vec_transpose_16(r, columns);
  for (int j = 0; j < 16; j++) _mm512_storeu_ps(out + (uint64_t)j * out_stride, columns[j]);
}

// out[j, i] = in[i, j] of a square of VEC.
static inline void vec_transpose(const float *in, uint64_t in_stride, float *out, uint64_t out_stride) {
  __m512 r[16];
  for (int i = 0; i < 16; i++) r[i] = _mm512_loadu_ps(in + (uint64_t)i * in_stride);
  vec_store_transposed(r, out, out_stride);
}

#endif
