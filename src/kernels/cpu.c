#include "kernels/cpu.h"

#include <stdbool.h>

#if defined(__x86_64__)
#include <cpuid.h>

// clang 14 knows no "f16c" in __builtin_cpu_supports, which knows the rest and asks the system too.
static bool has_f16c(void) {
  unsigned a, b, c, d;
  return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

// clang 14 does not know this one either.
static bool has_avx_vnni(void) {
  unsigned a, b, c, d;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4);
}

uint32_t fg_cpu_features(void) {
  uint32_t features = 0;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c()) features |= FG_CPU_AVX2;
  if (features && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    features |= FG_CPU_AVX512;
  if (features & FG_CPU_AVX512 && __builtin_cpu_supports("avx512bf16")) features |= FG_CPU_AVX512_BF16;
  if (features & FG_CPU_AVX512 && __builtin_cpu_supports("avx512vnni")) features |= FG_CPU_AVX512_VNNI;
  if (features & FG_CPU_AVX2 && has_avx_vnni()) features |= FG_CPU_AVX_VNNI;
  return features;
}

#else

uint32_t fg_cpu_features(void) {
  return 0;
}

#endif
