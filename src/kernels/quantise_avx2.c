// Activations to int8 (qproduct.h) by AVX2, for every CPU that has it: once a matrix, 1 % of a product with
// 5,632 columns and 3 % of one with 2,048. Compiled for it (src/CMakeLists.txt).
#if defined(__AVX2__)

#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "kernels/kernels_internal.h"
#include "kernels/quantise.h"
#include "tensor/groups.h"

enum { VEC = 8 };

static inline __m256 magnitude(const float *p) {
  return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), _mm256_loadu_ps(p));
}

// The higher half's lanes are joined to the lower half's until one is left.
static inline float joined_sum(__m256 v) {
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
static inline float joined_highest(__m256 v) {
  __m128 four = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

static q_size measure(const float *x) {
  __m256 s0 = _mm256_setzero_ps(), s1 = s0, s2 = s0, s3 = s0, highest = s0;
#pragma GCC unroll 1 // unrolled whole, gcc 12 loads more ahead than there are registers
  for (int i = 0; i < FG_Q_GROUP; i += Q_LANES, x += Q_LANES) {
    __m256 a = magnitude(x), b = magnitude(x + VEC), c = magnitude(x + 2 * VEC), d = magnitude(x + 3 * VEC);
    s0 = _mm256_add_ps(s0, a), s1 = _mm256_add_ps(s1, b);
    s2 = _mm256_add_ps(s2, c), s3 = _mm256_add_ps(s3, d);
    highest = _mm256_max_ps(_mm256_max_ps(_mm256_max_ps(a, b), _mm256_max_ps(c, d)), highest);
  }
  s0 = _mm256_add_ps(_mm256_add_ps(s0, s2), _mm256_add_ps(s1, s3));
  return (q_size){joined_highest(highest), joined_sum(s0)};
}

static float highest_within(const float *x, float limit) {
  __m256 high = _mm256_setzero_ps(), most = _mm256_set1_ps(limit);
  for (int i = 0; i < FG_Q_GROUP; i += VEC) {
    __m256 a = magnitude(x + i);
    high = _mm256_max_ps(high, _mm256_and_ps(a, _mm256_cmp_ps(a, most, _CMP_LE_OQ)));
  }
  return joined_highest(high);
}

static uint32_t take_outliers(float *x, float limit, fg_q_outlier *list, uint32_t room) {
  uint32_t taken = 0;
  for (uint32_t i = 0; i < FG_Q_GROUP; i += VEC) {
    __m256 above = _mm256_cmp_ps(magnitude(x + i), _mm256_set1_ps(limit), _CMP_GT_OQ);
    for (unsigned mask = (unsigned)_mm256_movemask_ps(above); mask && taken < room; mask &= mask - 1) {
      uint32_t column = i + (uint32_t)__builtin_ctz(mask);
      list[taken++] = (fg_q_outlier){column, x[column]};
      x[column] = 0;
    }
  }
  return taken;
}

static inline __m256i rounded(const float *x, __m256 inverse) {
  return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), inverse));
}

// Stores a run's codes; returns 8 lanes whose sum is theirs.
static inline __m256i store_run(const float *x, __m256 inverse, int8_t *to) {
  __m256i a = rounded(x, inverse), b = rounded(x + VEC, inverse);
  __m256i c = rounded(x + 2 * VEC, inverse), d = rounded(x + 3 * VEC, inverse);
  __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
  bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  _mm256_storeu_si256((__m256i *)(void *)to, bytes);
  return _mm256_add_epi32(_mm256_add_epi32(a, b), _mm256_add_epi32(c, d));
}

static inline __m256i store_four_runs(const float *x, __m256 inverse, int8_t *to) {
  __m256i a = store_run(x, inverse, to), b = store_run(x + FG_GROUP_RUN, inverse, to + FG_GROUP_RUN);
  x += 2 * FG_GROUP_RUN, to += 2 * FG_GROUP_RUN;
  __m256i c = store_run(x, inverse, to), d = store_run(x + FG_GROUP_RUN, inverse, to + FG_GROUP_RUN);
  return _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
}

static void store_codes(const float *x, float inverse, int8_t *to, int32_t sums[Q_RUNS]) {
  const __m256 factor = _mm256_set1_ps(inverse);
  __m256i a = store_four_runs(x, factor, to);
  __m256i b = store_four_runs(x + FG_Q_GROUP / 2, factor, to + FG_Q_GROUP / 2);
  __m256i sum =
      _mm256_add_epi32(_mm256_permute2x128_si256(a, b, 0x20), _mm256_permute2x128_si256(a, b, 0x31));
  _mm256_storeu_si256((__m256i *)(void *)sums, sum);
}

static const q_steps steps = {measure, highest_within, take_outliers, store_codes};

static void quantise(const float *x, const fg_q_rows *out, uint32_t row) {
  q_quantise(&steps, x, out, row);
}

void fg_quantise_avx2(fg_kernels *k) {
  k->quantise = quantise;
}

#else
typedef int fg_avx2_quantising_is_not_of_this_cpu;
#endif
