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

// An instruction set fills in what it does faster, after those before it.
typedef struct variant {
  uint32_t needs; // of fg_cpu_feature, all of them
  void (*fill)(fg_kernels *k);
} variant;

static const variant variants[] = {
    {0, fg_kernels_ref},
#if defined(__x86_64__)
    {FG_CPU_AVX2, fg_kernels_avx2},
    {FG_CPU_AVX_VNNI, fg_q_product_avx_vnni},
    {FG_CPU_AVX512, fg_kernels_avx512},
    {FG_CPU_AVX512_BF16, fg_attention_avx512_bf16},
    {FG_CPU_AVX512_BF16, fg_product_avx512_bf16},
    {FG_CPU_AVX512_VNNI, fg_attention_avx512_codes},
    {FG_CPU_AVX512_VNNI, fg_q_product_avx512_vnni},
#if defined(FG_HAVE_AMX)
    {FG_CPU_AMX_BF16, fg_product_amx},
    {FG_CPU_AMX_INT8, fg_q_product_amx},
#endif
#endif
#if defined(__aarch64__)
    {FG_CPU_NEON, fg_kernels_neon},
#if defined(FG_HAVE_DOTPROD)
    {FG_CPU_DOTPROD, fg_q_product_dotprod},
#endif
#if defined(FG_HAVE_I8MM)
    {FG_CPU_I8MM, fg_q_product_i8mm},
#endif
#endif
};

void fg_kernels_init(fg_kernels *kernels, uint32_t features) {
  for (size_t i = 0; i < sizeof variants / sizeof *variants; i++)
    if ((variants[i].needs & ~features) == 0) variants[i].fill(kernels);
}
