// Compiled for AVX2, FMA and F16C (src/CMakeLists.txt).
#if defined(__AVX2__)

#include "kernels/vec_avx2.h"

#include "kernels/blocks_tmpl.h"
#include "kernels/rows_tmpl.h"
// rows come first
#include "kernels/plain_tiles_tmpl.h"

void fg_kernels_avx2(fg_kernels *k) {
  k->name = "avx2";
  vec_rows(k);
  vec_blocks(k);
  vec_plain_tiles(k);
  fg_tiles_avx2(k);
  fg_quantise_avx2(k);
  fg_q_product_avx2(k);
}

#else
typedef int fg_avx2_is_not_of_this_cpu;
#endif
