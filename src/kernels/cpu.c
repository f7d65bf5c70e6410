#include "kernels/cpu.h"

uint32_t fg_cpu_features(void) {
  uint32_t features = 0;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c"))
    features |= FG_CPU_AVX2;
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    features |= FG_CPU_AVX512;
  if (features & FG_CPU_AVX512 && __builtin_cpu_supports("avx512bf16")) features |= FG_CPU_AVX512_BF16;
#endif
  return features;
}
