// Activations to int8 (qproduct.h) by NEON.
#if defined(__aarch64__)

#include <arm_neon.h>

#include "kernels/kernels_internal.h"
#include "kernels/quantise.h"

enum { VEC = 4, SUMS = Q_LANES / VEC };

static inline float32x4_t magnitude(const float *p) {
  return vabsq_f32(vld1q_f32(p));
}
// b where one of the two is no number.
static inline float32x4_t larger(float32x4_t a, float32x4_t b) {
  return vbslq_f32(vcgtq_f32(a, b), a, b);
}

static inline float joined_highest(float32x4_t v) {
  float lanes[VEC];
  vst1q_f32(lanes, larger(v, vextq_f32(v, v, 2)));
  return lanes[0] > lanes[1] ? lanes[0] : lanes[1];
}

// The higher half's lanes are joined to the lower half's until one is left.
static inline float joined_sum(float32x4_t sums[SUMS]) {
  for (int half = SUMS / 2; half; half /= 2)
    for (int i = 0; i < half; i++) sums[i] = vaddq_f32(sums[i], sums[i + half]);
  float32x2_t two = vadd_f32(vget_low_f32(sums[0]), vget_high_f32(sums[0]));
  return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}

static q_size measure(const float *x) {
  float32x4_t sums[SUMS], highest = vdupq_n_f32(0);
  for (int j = 0; j < SUMS; j++) sums[j] = highest;
  for (int i = 0; i < FG_Q_GROUP; i += Q_LANES)
    for (int j = 0; j < SUMS; j++) {
      float32x4_t size = magnitude(x + i + j * VEC);
      sums[j] = vaddq_f32(sums[j], size);
      highest = larger(size, highest);
    }
  return (q_size){joined_highest(highest), joined_sum(sums)};
}

static float highest_within(const float *x, float limit) {
  float32x4_t high = vdupq_n_f32(0), most = vdupq_n_f32(limit);
  for (int i = 0; i < FG_Q_GROUP; i += VEC) {
    float32x4_t size = magnitude(x + i);
    uint32x4_t within = vandq_u32(vreinterpretq_u32_f32(size), vcleq_f32(size, most));
    high = larger(vreinterpretq_f32_u32(within), high);
  }
  return joined_highest(high);
}

static uint32_t take_outliers(float *x, float limit, fg_q_outlier *list, uint32_t room) {
  uint32_t taken = 0;
  for (uint32_t i = 0; i < FG_Q_GROUP; i += VEC) {
    if (vmaxvq_u32(vcgtq_f32(magnitude(x + i), vdupq_n_f32(limit))) == 0) continue;
    for (uint32_t column = i; column < i + VEC && taken < room; column++) {
      if (!(fabsf(x[column]) > limit)) continue;
      list[taken++] = (fg_q_outlier){column, x[column]};
      x[column] = 0;
    }
  }
  return taken;
}

// Four whole numbers, rounded to nearest even.
static inline int32x4_t rounded(const float *x, float inverse) {
  return vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x), inverse));
}

static inline int8x8_t eight_codes(int32x4_t a, int32x4_t b) {
  return vqmovn_s16(vcombine_s16(vqmovn_s32(a), vqmovn_s32(b)));
}

static void store_codes(const float *x, float inverse, int8_t *to, int32_t sums[Q_RUNS]) {
  for (int run = 0; run < Q_RUNS; run++) {
    int32x4_t sum = vdupq_n_s32(0);
    for (int i = 0; i < FG_GROUP_RUN; i += 2 * VEC, x += 2 * VEC, to += 2 * VEC) {
      int32x4_t a = rounded(x, inverse), b = rounded(x + VEC, inverse);
      vst1_s8(to, eight_codes(a, b));
      sum = vaddq_s32(sum, vaddq_s32(a, b));
    }
    sums[run] = vaddvq_s32(sum);
  }
}

static const q_steps steps = {measure, highest_within, take_outliers, store_codes};

static void quantise(const float *x, const fg_q_rows *out, uint32_t row) {
  q_quantise(&steps, x, out, row);
}

void fg_quantise_neon(fg_kernels *k) {
  k->quantise = quantise;
}

#else
typedef int fg_neon_quantising_is_not_of_this_cpu;
#endif
