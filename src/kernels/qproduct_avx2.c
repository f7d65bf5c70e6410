// Quantised products by AVX2. Compiled for it (src/CMakeLists.txt).
#if defined(__AVX2__)

#include "kernels/qproduct_vec256.h"

// Products of bytes are added in pairs as 16-bit numbers that saturate: 2 * 15 * 127 stays far below, and so
// does 2 * 128 * 127 of magnitudes, which is why the signs of signed codes go to the activations.
#define Q_UNSIGNED 0

static inline ivec dot4(ivec a, ivec w, ivec x) {
  return q_add(a, _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), _mm256_set1_epi16(1)));
}
#define q_dot4(a, w, x) dot4(a, w, x)
#define q_dot8(a, w, x) dot4(a, _mm256_abs_epi8(w), _mm256_sign_epi8(x, w))

#include "kernels/qproduct_tmpl.h"

void fg_q_product_avx2(fg_kernels *k) {
  q_fill(k, q_products);
}

#else
typedef int fg_avx2_products_are_not_of_this_cpu;
#endif
