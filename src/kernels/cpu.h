// cpu.h: which instruction sets the CPU has and the system lets us use.
#ifndef FG_KERNELS_CPU_H
#define FG_KERNELS_CPU_H

#include <stdint.h>

typedef enum fg_cpu_feature {
  FG_CPU_AVX2 = 1,        // with FMA and F16C
  FG_CPU_AVX512 = 2,      // F, BW, DQ, VL
  FG_CPU_AVX512_BF16 = 4, // dot products of bfloat16
  FG_CPU_AVX512_VNNI = 8, // dot products of int8
  FG_CPU_AVX_VNNI = 16,   // the same without AVX-512
  FG_CPU_AMX_INT8 = 32,   // products of whole tiles (amx.h); with all of AVX-512 above
  FG_CPU_AMX_BF16 = 64,
  FG_CPU_NEON = 128,    // 64-bit ARM, always
  FG_CPU_DOTPROD = 256, // dot products of int8
  FG_CPU_I8MM = 512,    // products of 2 x 8 by 8 x 2 int8; with dot products
} fg_cpu_feature;

// A set of fg_cpu_feature. Asks Linux for the use of tiles, which it gives a process once and for all of its
// threads, older ones too; each then saves 8 KiB more of state, while it has tiles in use.
uint32_t fg_cpu_features(void);

#endif
