// Float32 tiles from quantized blocks by NEON.
#if defined(__aarch64__)

#include <arm_neon.h>

#include "kernels/kernels_internal.h"
#include "tensor/groups.h"

enum { LANES = 4 };
typedef float32x4_t t_floats;
typedef uint32x4_t t_words;

#define INLINE static inline __attribute__((always_inline))

INLINE t_floats t_zero(void) {
  return vdupq_n_f32(0);
}
INLINE t_floats t_load_f16(const uint8_t *p) {
  return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p)));
}
INLINE t_words t_load_words(const uint8_t *p) {
  return vreinterpretq_u32_u8(vld1q_u8(p));
}
INLINE void t_store(float *p, t_floats v) {
  vst1q_f32(p, v);
}

// Byte `i` of each word, with its sign or without.
INLINE int32x4_t byte_of(t_words words, int i, bool is_signed) {
  t_words top = vshlq_u32(words, vdupq_n_s32(24 - 8 * i));
  return is_signed ? vshrq_n_s32(vreinterpretq_s32_u32(top), 24)
                   : vreinterpretq_s32_u32(vshrq_n_u32(top, 24));
}

INLINE t_floats t_value(uint32_t bits, bool minimum, t_words words, int i, t_floats d, t_floats m) {
  if (bits == 4) words = vandq_u32(i < 4 ? words : vshrq_n_u32(words, 4), vdupq_n_u32(0x0f0f0f0fu));
  int32x4_t code = byte_of(words, i % 4, bits == 8 && !minimum);
  if (minimum) return vaddq_f32(vmulq_f32(d, vcvtq_f32_s32(code)), m);
  if (bits == 4) code = vsubq_s32(code, vdupq_n_s32(8));
  return vmulq_f32(d, vcvtq_f32_s32(code));
}

#include "kernels/code_tiles_tmpl.h"

void fg_tiles_neon(fg_kernels *k) {
  fill_tiles(k);
}

#else
typedef int fg_neon_tiles_are_not_of_this_cpu;
#endif
