// For 64-bit ARM, whose every CPU has these instructions.
#if defined(__aarch64__)

#include "kernels/vec_neon.h"

#include "kernels/blocks_tmpl.h"
#include "kernels/rows_tmpl.h"
// rows come first
#include "kernels/plain_tiles_tmpl.h"

void fg_kernels_neon(fg_kernels *k) {
  k->name = "neon";
  vec_rows(k);
  vec_blocks(k);
  vec_plain_tiles(k);
  fg_tiles_neon(k);
  fg_quantise_neon(k);
  fg_q_product_neon(k);
}

#else
typedef int fg_neon_is_not_of_this_cpu;
#endif
