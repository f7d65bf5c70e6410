// vec_neon.h: 4 float32 as a vector, for the kernels in *_tmpl.h. What every 64-bit ARM CPU has.
#ifndef FG_KERNELS_VEC_NEON_H
#define FG_KERNELS_VEC_NEON_H

#include <arm_neon.h>
#include <stdint.h>
#include <string.h>

typedef float32x4_t vec;
enum { VEC = 4, VEC_ROWS = 6 }; // VEC_ROWS: of four vectors each, as accumulators; 24 of 32 registers

static inline uint32x4_t vec_index(void) {
  static const uint32_t index[VEC] = {0, 1, 2, 3};
  return vld1q_u32(index);
}
// All ones in lanes [0, n).
static inline uint32x4_t vec_lanes(uint32_t n) {
  return vcltq_u32(vec_index(), vdupq_n_u32(n));
}

static inline vec vec_load(const float *p) {
  return vld1q_f32(p);
}
static inline void vec_store(float *p, vec v) {
  vst1q_f32(p, v);
}
// The first n lanes; the others are zero and touch no memory.
static inline vec vec_load_part(const float *p, uint32_t n) {
  if (n == VEC) return vec_load(p);
  float part[VEC] = {0};
  memcpy(part, p, n * sizeof *part);
  return vec_load(part);
}
static inline void vec_store_part(float *p, vec v, uint32_t n) {
  if (n == VEC) {
    vec_store(p, v);
    return;
  }
  float part[VEC];
  vec_store(part, v);
  memcpy(p, part, n * sizeof *part);
}
static inline vec vec_first(vec v, uint32_t n) {
  return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(v), vec_lanes(n)));
}
// v in lanes [begin, end), other elsewhere; the bounds may lie outside [0, VEC].
static inline vec vec_range(vec v, int32_t begin, int32_t end, vec other) {
  int32x4_t i = vreinterpretq_s32_u32(vec_index());
  uint32x4_t inside = vandq_u32(vcgeq_s32(i, vdupq_n_s32(begin)), vcltq_s32(i, vdupq_n_s32(end)));
  return vbslq_f32(inside, v, other);
}

static inline vec vec_set(float x) {
  return vdupq_n_f32(x);
}
static inline vec vec_add(vec a, vec b) {
  return vaddq_f32(a, b);
}
static inline vec vec_sub(vec a, vec b) {
  return vsubq_f32(a, b);
}
static inline vec vec_mul(vec a, vec b) {
  return vmulq_f32(a, b);
}
static inline vec vec_div(vec a, vec b) {
  return vdivq_f32(a, b);
}
static inline vec vec_fma(vec a, vec b, vec c) {
  return vfmaq_f32(c, a, b);
} // a b + c
static inline vec vec_fnma(vec a, vec b, vec c) {
  return vfmsq_f32(c, a, b);
} // c - a b
static inline vec vec_fms(vec a, vec b, vec c) {
  return vfmaq_f32(vnegq_f32(c), a, b);
} // a b - c
// b where one of the two is NaN, which the instructions for it would spread
static inline vec vec_max(vec a, vec b) {
  return vbslq_f32(vcgtq_f32(a, b), a, b);
}
static inline vec vec_min(vec a, vec b) {
  return vbslq_f32(vcltq_f32(a, b), a, b);
}
static inline vec vec_abs(vec a) {
  return vabsq_f32(a);
}
static inline vec vec_if_negative(vec x, vec a, vec b) {
  return vbslq_f32(vcltzq_f32(x), a, b);
}
static inline vec vec_round(vec a) {
  return vrndnq_f32(a);
}
static inline vec vec_power(int32x4_t n) { // 2^n, -126 <= n <= 127
  return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(n, vdupq_n_s32(127)), 23));
}
// a 2^n, n whole and of a magnitude below 250: in two steps, so that the result may be subnormal.
static inline vec vec_scale(vec a, vec n) {
  int32x4_t whole = vcvtnq_s32_f32(n), half = vshrq_n_s32(whole, 1);
  return vmulq_f32(vmulq_f32(a, vec_power(half)), vec_power(vsubq_s32(whole, half)));
}
// Each of half a vector's values twice, and neighbours in each other's place.
static inline vec vec_load_twice(const float *p) {
  float32x2_t two = vld1_f32(p);
  return vcombine_f32(vzip1_f32(two, two), vzip2_f32(two, two));
}
static inline vec vec_swap_pairs(vec a) {
  return vrev64q_f32(a);
}
static inline float vec_sum(vec a) {
  float32x2_t s = vadd_f32(vget_low_f32(a), vget_high_f32(a));
  return vget_lane_f32(s, 0) + vget_lane_f32(s, 1);
}
static inline float vec_highest(vec a) {
  float s[VEC];
  vec_store(s, vec_max(a, vextq_f32(a, a, 2)));
  return s[0] > s[1] ? s[0] : s[1];
}

static inline uint16x4_t vec_load_halves(const uint8_t *p, uint32_t n) {
  uint16_t halves[VEC] = {0};
  if (n == VEC)
    memcpy(halves, p, sizeof halves);
  else
    memcpy(halves, p, n * sizeof *halves);
  return vld1_u16(halves);
}
static inline void vec_store_halves(uint8_t *p, uint16x4_t v, uint32_t n) {
  uint16_t halves[VEC];
  vst1_u16(halves, v);
  if (n == VEC)
    memcpy(p, halves, sizeof halves);
  else
    memcpy(p, halves, n * sizeof *halves);
}
static inline vec vec_load_bf16(const uint8_t *p, uint32_t n) {
  return vreinterpretq_f32_u32(vshll_n_u16(vec_load_halves(p, n), 16));
}
static inline uint32x4_t vec_load_pairs(const uint8_t *p) {
  return vreinterpretq_u32_u8(vld1q_u8(p));
}
// Of VEC pairs of bfloat16 the first ones, and the second ones.
static inline vec vec_even_bf16(const uint8_t *p) {
  return vreinterpretq_f32_u32(vshlq_n_u32(vec_load_pairs(p), 16));
}
static inline vec vec_odd_bf16(const uint8_t *p) {
  return vreinterpretq_f32_u32(vandq_u32(vec_load_pairs(p), vdupq_n_u32(0xffff0000u)));
}
static inline vec vec_load_f16(const uint8_t *p, uint32_t n) {
  return vcvt_f32_f16(vreinterpret_f16_u16(vec_load_halves(p, n)));
}
// Round to nearest even; NaN stays NaN.
static inline void vec_store_bf16(uint8_t *p, vec v, uint32_t n) {
  uint32x4_t u = vreinterpretq_u32_f32(v), odd = vandq_u32(vshrq_n_u32(u, 16), vdupq_n_u32(1));
  uint32x4_t rounded = vaddq_u32(vaddq_u32(u, vdupq_n_u32(0x7fff)), odd);
  uint32x4_t quiet = vorrq_u32(u, vdupq_n_u32(0x400000));
  vec_store_halves(p, vshrn_n_u32(vbslq_u32(vceqq_f32(v, v), rounded, quiet), 16), n);
}
static inline void vec_store_f16(uint8_t *p, vec v, uint32_t n) {
  vec_store_halves(p, vreinterpret_u16_f16(vcvt_f16_f32(v)), n);
}

// out[j, i] = in[i, j] of a square of VEC: pairs of rows, then pairs of pairs.
static inline void vec_transpose(const float *in, uint64_t in_stride, float *out, uint64_t out_stride) {
  float32x4_t a = vld1q_f32(in), b = vld1q_f32(in + in_stride);
  float32x4_t c = vld1q_f32(in + 2 * in_stride), d = vld1q_f32(in + 3 * in_stride);
  float32x4_t ab_even = vtrn1q_f32(a, b), ab_odd = vtrn2q_f32(a, b);
  float32x4_t cd_even = vtrn1q_f32(c, d), cd_odd = vtrn2q_f32(c, d);
  vst1q_f32(out, vcombine_f32(vget_low_f32(ab_even), vget_low_f32(cd_even)));
  vst1q_f32(out + out_stride, vcombine_f32(vget_low_f32(ab_odd), vget_low_f32(cd_odd)));
  vst1q_f32(out + 2 * out_stride, vcombine_f32(vget_high_f32(ab_even), vget_high_f32(cd_even)));
  vst1q_f32(out + 3 * out_stride, vcombine_f32(vget_high_f32(ab_odd), vget_high_f32(cd_odd)));
}

#endif
