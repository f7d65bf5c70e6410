// variants.h: the kernel tables of this CPU: the reference, then each instruction set that it has.
#ifndef FG_TESTS_KERNELS_VARIANTS_H
#define FG_TESTS_KERNELS_VARIANTS_H

#include "kernels/cpu.h"
#include "kernels/kernels.h"

enum { MAX_VARIANTS = 4 };

// What every CPU of its kind that has vectors at all has.
enum { NARROW_FEATURES = FG_CPU_AVX2 | FG_CPU_NEON };

// Fills tables[0] with the reference and returns how many there are.
static inline int kernel_variants(fg_kernels tables[MAX_VARIANTS]) {
  static const uint32_t sets[MAX_VARIANTS] = {0, FG_CPU_AVX2, FG_CPU_AVX2 | FG_CPU_AVX512, FG_CPU_NEON};
  int count = 0;
  for (int i = 0; i < MAX_VARIANTS; i++)
    if ((sets[i] & ~fg_cpu_features()) == 0) fg_kernels_init(&tables[count++], sets[i]);
  return count;
}

#endif
