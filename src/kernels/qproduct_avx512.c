// Quantised products by the dot products of AVX-512 VNNI. Compiled for it (src/CMakeLists.txt).
#if defined(__AVX512VNNI__)

#include "kernels/qproduct_vec512.h"

#include "kernels/qproduct_tmpl.h"

void fg_q_product_avx512_vnni(fg_kernels *k) {
  k->name = "avx512_vnni";
  q_fill(k, q_products);
}

#else
typedef int fg_avx512_vnni_is_not_of_this_cpu;
#endif
