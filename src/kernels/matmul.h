// matmul.h: dense products of activations with one panel of a packed matrix.
//
// A panel is walked in tiles of 64 output rows. Where its bytes already are what the product reads
// (float32 or bfloat16 in n64), they are used in place; quantized types are multiplied in their own bits
// if int8 is the arithmetic (qproduct.h); any other type is expanded one tile at a time into a thread's
// scratch, which then serves all rows at hand. Rows are taken in blocks of at most 128, for oneDNN of
// powers of two, so that few shapes exist. x is copied into scratch in the form that the product reads: dense
// and padded along k, rounded to bfloat16, or quantised; calls that follow with the same x use the copy
// again. A row's result is a function of that row: neither the block it came in nor panels, tiles and threads
// change a bit of it.
//
// Threads: one owner; the work is split over the team.
#ifndef FG_KERNELS_MATMUL_H
#define FG_KERNELS_MATMUL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/budget.h"
#include "base/threads.h"
#include "kernels/kernels.h"

typedef struct fg_matmul fg_matmul;

typedef struct fg_matmul_options {
  const fg_kernels *kernels;
  uint32_t features; // of the CPU: with AVX-512 oneDNN multiplies float32, else the table's own product
  bool bf16;         // wanted; float32 is computed where the CPU has no bfloat16
  bool int8;         // quantized weights against activations quantised to int8
  uint32_t max_rows, max_k;
  fg_threads *threads; // NULL: all on the calling thread
  fg_budget *budget;   // pays for scratch
} fg_matmul_options;

typedef struct fg_matmul_call {
  const float *x;      // [rows, k], rows x_stride apart
  const void *panel;   // [n, k] of `dtype` in `layout`
  const float *bias;   // [n] or NULL
  float *out;          // [rows, n], rows out_stride apart; not x
  uint32_t rows, n, k; // any number of rows, k <= max_k
  uint32_t x_stride, out_stride;
  fg_dtype dtype;
  const fg_layout *layout;
  bool accumulate; // out += instead of out =
  bool same_x;     // x, rows and k are those of the call before, and so are the values
} fg_matmul_call;

// What create charges.
uint64_t fg_matmul_scratch_bytes(const fg_matmul_options *options);
fg_status fg_matmul_create(fg_matmul **out, const fg_matmul_options *options, fg_error *err);
void fg_matmul_destroy(fg_matmul *matmul);
bool fg_matmul_is_bf16(const fg_matmul *matmul);
fg_status fg_matmul_run(fg_matmul *matmul, const fg_matmul_call *call, fg_error *err);

#endif
