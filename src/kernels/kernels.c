#include "kernels/kernels.h"

#include <string.h>

#include "kernels/cpu.h"
#include "kernels/kernels_internal.h"

void fg_kernels_ref(fg_kernels *k) {
  memset(k, 0, sizeof *k);
  k->name = "c";
  fg_rows_ref(k);
  fg_tiles_ref(k);
  fg_attention_ref(k);
  fg_q_product_ref(k);
}

void fg_kernels_init(fg_kernels *kernels, uint32_t features) {
  fg_kernels_ref(kernels);
#if defined(__x86_64__)
  if (features & FG_CPU_AVX2) fg_kernels_avx2(kernels);
  if (features & FG_CPU_AVX_VNNI) fg_q_product_avx_vnni(kernels);
  if (features & FG_CPU_AVX512) fg_kernels_avx512(kernels);
  if (features & FG_CPU_AVX512_BF16) {
    fg_attention_avx512_bf16(kernels);
    fg_product_avx512_bf16(kernels);
  }
  if (features & FG_CPU_AVX512_VNNI) {
    fg_attention_avx512_codes(kernels);
    fg_q_product_avx512_vnni(kernels);
  }
#if defined(FG_HAVE_AMX)
  if (features & FG_CPU_AMX_BF16) fg_product_amx(kernels);
  if (features & FG_CPU_AMX_INT8) fg_q_product_amx(kernels);
#endif
#else
  (void)features;
#endif
}
