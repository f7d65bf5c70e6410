// clones.h: a plain loop, compiled once for each instruction set and chosen when the program starts.
//
// For loops that the compiler turns into vector code by itself. Contraction is off and sums are kept in a
// fixed number of lanes, so that every clone gives the same bits.
#ifndef FG_TENSOR_CLONES_H
#define FG_TENSOR_CLONES_H

// A thread sanitizer's code would run in what chooses, before the sanitizer itself is there.
#if defined(__x86_64__) && defined(__linux__) && !defined(__SANITIZE_THREAD__)
#define FG_CLONES __attribute__((target_clones("default", "avx2", "avx512f")))
#else
#define FG_CLONES
#endif

// Before a loop over lanes inside another loop: gcc 12 would unroll it early and keep each lane by itself.
#define FG_LANES _Pragma("GCC unroll 1")

// For what a clone calls: only as a part of it is it compiled for the clone's instruction set.
#define FG_IN_CLONE static inline __attribute__((always_inline))

#endif
