// Quantised products by NEON without its dot products.
#if defined(__aarch64__)

#include "kernels/qproduct_vec_neon.h"

// Two products of bytes are at most 2 * 128 * 127, which 16 bits hold.
static inline ivec dot4(ivec a, ivec w, ivec x) {
  int8x16_t codes = vreinterpretq_s8_s32(w), values = vreinterpretq_s8_s32(x);
  int16x8_t low = vmull_s8(vget_low_s8(codes), vget_low_s8(values)), high = vmull_high_s8(codes, values);
  return vpadalq_s16(a, vpaddq_s16(low, high));
}
#define q_dot4(a, w, x) dot4(a, w, x)
#define q_dot8(a, w, x) dot4(a, w, x)

#include "kernels/qproduct_tmpl.h"

void fg_q_product_neon(fg_kernels *k) {
  q_fill(k, q_products);
}

#else
typedef int fg_neon_products_are_not_of_this_cpu;
#endif
