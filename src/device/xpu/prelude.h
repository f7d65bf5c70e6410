// prelude.h: the few words in which kernels are written, for OpenCL C 1.2 and for CUDA.
//
// Kernels (*.xpu) use these macros and what C99, OpenCL C and CUDA have in common. Halves are storage only
// and stand as bytes in memory. Products and sums round one by one; where a fused one is meant it is written
// FMA.
#ifndef FG_DEVICE_XPU_PRELUDE_H
#define FG_DEVICE_XPU_PRELUDE_H

#if defined(__OPENCL_C_VERSION__)
#pragma OPENCL FP_CONTRACT OFF
typedef uint xpu_u32;
typedef int xpu_i32;
typedef ulong xpu_u64;
typedef uchar xpu_u8;
typedef ushort xpu_u16;
#define KERNEL           __kernel
#define GLOBAL           __global
#define LOCAL            __local
#define LOCAL_ARG        __local // of a pointer in a function
#define DEVFN            static
#define CONSTANT         __constant
#define RESTRICT         restrict
#define GROUP(d)         ((xpu_u32)get_group_id(d))
#define LANE             ((xpu_u32)get_local_id(0))
#define LANES            ((xpu_u32)get_local_size(0))
#define SYNC()           barrier(CLK_LOCAL_MEM_FENCE)
#define SYNC_ALL()       barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE)
#define LOAD_HALF(p)     vload_half(0, (GLOBAL const half *)(p))
#define STORE_HALF(x, p) vstore_half_rte(x, 0, (GLOBAL half *)(p))
#define BITS_OF(x)       as_uint(x)
#define FLOAT_OF(u)      as_float(u)
#define FMA(a, b, c)     fma(a, b, c)
#define EXP(x)           exp(x)
#define TANH(x)          tanh(x)
#define ERFC(x)          erfc(x)
#define POW(x, y)        pow(x, y)
#define SQRT(x)          sqrt(x)
#define COS(x)           cos(x)
#define SIN(x)           sin(x)
#define FMAX(a, b)       fmax(a, b)
#define FMIN(a, b)       fmin(a, b)

#elif defined(__CUDACC__)
typedef unsigned int xpu_u32;
typedef int xpu_i32;
typedef unsigned long long xpu_u64;
typedef unsigned char xpu_u8;
typedef unsigned short xpu_u16;
#define KERNEL extern "C" __global__
#define GLOBAL
#define LOCAL __shared__
#define LOCAL_ARG
#define DEVFN            static __device__ __forceinline__
#define CONSTANT         __constant__
#define RESTRICT         __restrict__
#define GROUP(d)         ((d) == 0 ? blockIdx.x : blockIdx.y)
#define LANE             threadIdx.x
#define LANES            blockDim.x
#define SYNC()           __syncthreads()
#define SYNC_ALL()       __syncthreads()
DEVFN float xpu_half_load(const void *p) {
  float f;
  asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(*(const xpu_u16 *)p));
  return f;
}
DEVFN void xpu_half_store(float x, void *p) {
  xpu_u16 h;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(x));
  *(xpu_u16 *)p = h;
}
#define LOAD_HALF(p)     xpu_half_load(p)
#define STORE_HALF(x, p) xpu_half_store(x, p)
#define BITS_OF(x)       __float_as_uint(x)
#define FLOAT_OF(u)      __uint_as_float(u)
#define FMA(a, b, c)     fmaf(a, b, c)
#define EXP(x)           expf(x)
#define TANH(x)          tanhf(x)
#define ERFC(x)          erfcf(x)
#define POW(x, y)        powf(x, y)
#define SQRT(x)          sqrtf(x)
#define COS(x)           cosf(x)
#define SIN(x)           sinf(x)
#define FMAX(a, b)       fmaxf(a, b)
#define FMIN(a, b)       fminf(a, b)

#else // the host, for the structures that both see
#include <stdint.h>
typedef uint32_t xpu_u32;
typedef int32_t xpu_i32;
typedef uint64_t xpu_u64;
#endif

#endif
