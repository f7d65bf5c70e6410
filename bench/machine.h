// machine.h: what the machine can do at most, to hold kernels against.
//
// Peaks are those of one instruction: 12 independent accumulators, or 6 of whole tiles, in a loop that
// touches no memory. Rates are of wall time; on a machine that others use too they sink together with what is
// compared.
#ifndef FG_BENCH_MACHINE_H
#define FG_BENCH_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/threads.h"

typedef struct bench_instruction {
  const char *name;        // "f32", "bf16", "int8": the arithmetic
  const char *instruction; // "vdpbf16ps zmm"
  uint32_t operations;     // of a turn of the loop: multiplications and additions
  bool (*supported)(void); // by this CPU
  void (*loop)(uint64_t turns);
} bench_instruction;

// Rows of the table, best first for each arithmetic; NULL after the last.
const bench_instruction *bench_instruction_at(uint32_t i);
// The first supported row of an arithmetic; NULL if there is none.
const bench_instruction *bench_instruction_of(const char *name);

typedef struct bench_rate {
  double wall, cpu; // 1e9 operations a second of wall time; the same a second of CPU time, times the threads
} bench_rate;

bench_rate bench_peak(const bench_instruction *instruction, fg_threads *threads, uint64_t turns);

// 1e9 bytes a second that all threads together read, each its own part.
double bench_read_rate(const void *block, uint64_t bytes, fg_threads *threads);

#endif
