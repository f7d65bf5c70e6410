// qproduct_vec_neon.h: vectors of NEON for qproduct_tmpl.h, all but the dot products.
#ifndef FG_KERNELS_QPRODUCT_VEC_NEON_H
#define FG_KERNELS_QPRODUCT_VEC_NEON_H

#include <arm_neon.h>
#include <stdint.h>

typedef int32x4_t ivec;
typedef float32x4_t fvec;

enum { Q_VEC = 4 };
// At most 16 sums of 32 registers.
#define Q_SHAPES(X) X(1, 4) X(2, 4) X(3, 4) X(4, 4)
// Codes are signed: products of signed bytes are what every CPU has.
#define Q_UNSIGNED     0
#define Q_BYTES(v)     vreinterpretq_u8_s32(v)
#define q_load(p)      vreinterpretq_s32_u8(vld1q_u8(p))
#define q_broadcast(i) vdupq_n_s32(i)
#define q_zero()       vdupq_n_s32(0)
#define q_add(a, b)    vaddq_s32(a, b)
#define q_low(v)       vreinterpretq_s32_u8(vandq_u8(Q_BYTES(v), vdupq_n_u8(15)))
#define q_high(v)      vreinterpretq_s32_u8(vshrq_n_u8(Q_BYTES(v), 4))
#define q_flip(v)      vreinterpretq_s32_u8(veorq_u8(Q_BYTES(v), vdupq_n_u8(128)))
#define q_to_f32(v)    vcvtq_f32_s32(v)
#define f_set(x)       vdupq_n_f32(x)
#define f_add(a, b)    vaddq_f32(a, b)
#define f_mul(a, b)    vmulq_f32(a, b)
#define f_fma(a, b, c) vfmaq_f32(c, a, b)
#define f_load(p)      vld1q_f32(p)
#define f_store(p, v)  vst1q_f32(p, v)
#define f_load_f16(p)  vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p)))

static inline ivec q_byte(ivec v, uint32_t i) {
  uint32x4_t top = vshlq_u32(vreinterpretq_u32_s32(v), vdupq_n_s32(24 - 8 * (int)i));
  return vreinterpretq_s32_u32(vshrq_n_u32(top, 24));
}

static inline ivec q_spread(const int8_t *p) {
  int32_t word;
  __builtin_memcpy(&word, p, sizeof word);
  return q_broadcast(word);
}

#endif
