#include "kernels/cpu.h"

#include <stdbool.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

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

#if defined(FG_HAVE_AMX)

enum {
  REQUEST_PERMISSION = 0x1023, // ARCH_REQ_XCOMP_PERM, which older headers lack
  TILE_DATA = 18,              // its bit of XCR0; the configuration's is before it
};

// Linux refuses where a thread's stack for signals is too small for the larger frame.
static bool may_use_tiles(void) {
  uint32_t low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low >> (TILE_DATA - 1) & 3) == 3 && syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

static uint32_t amx_features(void) {
  unsigned a, b, c, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & 1u << 24) || !may_use_tiles()) return 0;
  return (d & 1u << 25 ? FG_CPU_AMX_INT8 : 0u) | (d & 1u << 22 ? FG_CPU_AMX_BF16 : 0u);
}

#else

static uint32_t amx_features(void) { // the compiler knows none of its instructions
  return 0;
}

#endif

uint32_t fg_cpu_features(void) {
  const uint32_t for_tiles = FG_CPU_AVX512_BF16 | FG_CPU_AVX512_VNNI;
  uint32_t features = 0;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c()) features |= FG_CPU_AVX2;
  if (features && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    features |= FG_CPU_AVX512;
  if (features & FG_CPU_AVX512 && __builtin_cpu_supports("avx512bf16")) features |= FG_CPU_AVX512_BF16;
  if (features & FG_CPU_AVX512 && __builtin_cpu_supports("avx512vnni")) features |= FG_CPU_AVX512_VNNI;
  if (features & FG_CPU_AVX2 && has_avx_vnni()) features |= FG_CPU_AVX_VNNI;
  if ((features & for_tiles) == for_tiles) features |= amx_features();
  return features;
}

#elif defined(__aarch64__) && defined(__linux__)

#include <sys/auxv.h>

enum { HWCAP_DOT_PRODUCTS = 1 << 20, HWCAP2_MATRIX_PRODUCTS = 1 << 13 }; // older headers lack them

uint32_t fg_cpu_features(void) {
  uint32_t features = FG_CPU_NEON;
#if defined(FG_HAVE_DOTPROD)
  if (getauxval(AT_HWCAP) & HWCAP_DOT_PRODUCTS) features |= FG_CPU_DOTPROD;
#endif
#if defined(FG_HAVE_I8MM)
  if (features & FG_CPU_DOTPROD && getauxval(AT_HWCAP2) & HWCAP2_MATRIX_PRODUCTS) features |= FG_CPU_I8MM;
#endif
  return features;
}

#elif defined(__aarch64__) && defined(__APPLE__)

#include <stdbool.h>
#include <stddef.h>
#include <sys/sysctl.h>

#if defined(FG_HAVE_DOTPROD)
static bool has(const char *feature) {
  int yes = 0;
  size_t size = sizeof yes;
  return sysctlbyname(feature, &yes, &size, NULL, 0) == 0 && yes;
}
#endif

uint32_t fg_cpu_features(void) {
  uint32_t features = FG_CPU_NEON;
#if defined(FG_HAVE_DOTPROD)
  if (has("hw.optional.arm.FEAT_DotProd")) features |= FG_CPU_DOTPROD;
#endif
#if defined(FG_HAVE_I8MM)
  if (features & FG_CPU_DOTPROD && has("hw.optional.arm.FEAT_I8MM")) features |= FG_CPU_I8MM;
#endif
  return features;
}

#else

uint32_t fg_cpu_features(void) {
  return 0;
}

#endif
