// Compiled for AVX-512 F, BW, DQ and VL (src/CMakeLists.txt).
#if defined(__AVX512F__)

#include "kernels/vec_avx512.h"

#include "kernels/blocks_tmpl.h"
#include "kernels/rows_tmpl.h"
// rows come first
#include "kernels/plain_tiles_tmpl.h"

void fg_kernels_avx512(fg_kernels *k) {
  k->name = "avx512";
  vec_rows(k);
  vec_blocks(k);
  vec_plain_tiles(k);
  fg_tiles_avx512(k);
}

#else
typedef int fg_avx512_is_not_of_this_cpu;
#endif
