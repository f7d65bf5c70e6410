// Quantised products by the dot products of AVX-VNNI, for CPUs without AVX-512. Compiled for it
// (src/CMakeLists.txt); for tests also in the spelling of AVX-512.
#if defined(__AVXVNNI__) || (defined(__AVX512VNNI__) && defined(__AVX512VL__))

#include "kernels/qproduct_vec256.h"

#if defined(__AVXVNNI__)
#define Q_DPBUSD _mm256_dpbusd_avx_epi32
#else
#define Q_DPBUSD _mm256_dpbusd_epi32
#endif
#define Q_UNSIGNED      1
#define q_dot4(a, w, x) Q_DPBUSD(a, w, x)
#define q_dot8(a, w, x) Q_DPBUSD(a, w, x)

#include "kernels/qproduct_tmpl.h"

void fg_q_product_avx_vnni(fg_kernels *k) {
  k->name = "avx_vnni";
  q_fill(k, q_products);
}

#else
typedef int fg_avx_vnni_is_not_of_this_cpu;
#endif
