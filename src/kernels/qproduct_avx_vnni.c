// Quantised products by the dot products of AVX-VNNI, for CPUs without AVX-512. Compiled for it
// (src/CMakeLists.txt).
#if defined(__AVXVNNI__)

#include "kernels/qproduct_vec256.h"

#define Q_UNSIGNED      1
#define q_dot4(a, w, x) _mm256_dpbusd_avx_epi32(a, w, q_activations(x))
#define q_dot8(a, w, x) _mm256_dpbusd_avx_epi32(a, w, q_activations(x))

#include "kernels/qproduct_tmpl.h"

void fg_q_product_avx_vnni(fg_kernels *k) {
  k->name = "avx_vnni";
  q_fill(k);
}

#else
typedef int fg_avx_vnni_is_not_of_this_cpu;
#endif
