// Quantised products by the dot products of ARMv8.2. Compiled for them (src/CMakeLists.txt).
#if defined(__aarch64__) && defined(__ARM_FEATURE_DOTPROD)

#include "kernels/qproduct_vec_neon.h"

#define Q_DOT(a, w, x)  vdotq_s32(a, vreinterpretq_s8_s32(w), vreinterpretq_s8_s32(x))
#define q_dot4(a, w, x) Q_DOT(a, w, x)
#define q_dot8(a, w, x) Q_DOT(a, w, x)

#include "kernels/qproduct_tmpl.h"

void fg_q_product_dotprod(fg_kernels *k) {
  k->name = "neon_dotprod";
  q_fill(k, q_products);
}

#else
typedef int fg_dotprod_is_not_of_this_cpu;
#endif
