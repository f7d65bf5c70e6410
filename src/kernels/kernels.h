// kernels.h: the table of CPU kernels.
//
// A kernel is a small function over one row, one tile or one block of queries; whoever calls it splits the
// work over threads. fg_kernels_init fills the table with the reference, plain C and complete, and then
// lets each instruction set that the CPU has override what it does faster. Every variant computes a row
// from that row alone, in an order that is a function of its length. Pointers need no alignment beyond that
// of their element.
#ifndef FG_KERNELS_KERNELS_H
#define FG_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/attention.h"
#include "kernels/kinds.h"
#include "kernels/layout.h"
#include "kernels/n64.h"
#include "kernels/qproduct.h"
#include "kernels/sparse_attention.h"

// A panel's block of at most 64 output rows as a tile: tile[c, r] = w[r, c], zero where the block has no
// row r and for c in [k, padded k). f32: [padded k, 64] float32, exact. bf16: [padded k / 2, 64, 2]
// bfloat16, rounded to nearest even.
typedef void fg_tile_fn(fg_dtype dtype, const void *block, uint32_t rows, uint32_t k, void *tile);

typedef struct fg_kernels {
  const char *name; // of the last instruction set that overrode something: "c", "avx2", "amx"

  // out = (x - mean) / sqrt(variance + eps) * weight + bias; RMS: x / sqrt(mean square + eps) * weight +
  // bias. weight and bias [width] may be NULL; out may be x.
  void (*norm[FG_NORM_COUNT])(const float *x, const float *weight, const float *bias, float *out,
                              uint32_t width, float eps);
  void (*act)(fg_activation kind, float *x, uint32_t width);                   // in place
  void (*glu)(fg_activation kind, const float *x, float *out, uint32_t width); // x [2 * width]
  void (*add)(const float *x, float scale, float *out, uint32_t width);        // out += scale * x
  void (*map)(fg_map_kind kind, float number, float *x, uint32_t width);       // in place
  // Turns the pairs of one head's first `rotary` values; cosines and sines [rotary / 2].
  void (*rope[FG_ROPE_COUNT])(float *head, const float *cosines, const float *sines, uint32_t rotary);
  void (*to_bf16)(const float *x, uint16_t *out, uint32_t width);
  // Rounds to the cache's type; NULL where a cache cannot have it.
  void (*to_cache[FG_DTYPE_COUNT])(const float *x, void *out, uint32_t width);

  // NULL where a type cannot be a weight.
  fg_tile_fn *tile_f32[FG_LAYOUT_COUNT][FG_DTYPE_COUNT];
  fg_tile_fn *tile_bf16[FG_LAYOUT_COUNT][FG_DTYPE_COUNT];
  // out[r, 64] = sum over c < k of x[r, c] tile[c, 64], c in order.
  // x: [rows, k]; tile: [k, 64] f32; out: [rows, 64], not aliased.
  void (*product)(const float *x, uint32_t rows, uint32_t k, const float *tile, float *out);

  // The same over a tile of the layout n64 of another type; NULL: such a tile has to be expanded.
  void (*product_wide[FG_DTYPE_COUNT])(const float *x, uint32_t rows, uint32_t k, const void *tile,
                                       float *out);

  // The same of bfloat16, pairs of k or pieces of 32 in order, denormals as zeros; NULL where the CPU has no
  // products of such pairs. x: [rows, k], k a multiple of 32; tile: [k / 2, 64, 2]; next: the tile that this
  // thread will likely want after it, or NULL: its beginning is asked for from memory; out: [rows, 64]
  // float32, not aliased.
  void (*product_bf16)(const uint16_t *x, uint32_t rows, uint32_t k, const void *tile, const void *next,
                       float *out);

  fg_quantise_fn *quantise;
  fg_q_product_fn *q_product[FG_LAYOUT_COUNT][FG_DTYPE_COUNT]; // NULL: the type has no such product

  // out (= or +=) sums + bias; bias may be NULL
  void (*finish)(const float *sums, const float *bias, float *out, uint32_t width, bool accumulate);

  fg_attend_fn *attend[FG_DTYPE_COUNT]; // by the cache's type
  // With queries and weights rounded: to bfloat16 for a bfloat16 cache, to whole numbers of 16 bits for one
  // of codes; NULL for other caches and where the CPU has no dot products of such pairs, of bytes.
  fg_attend_fn *attend_rounded[FG_DTYPE_COUNT];
  // Sparse attention; rounded as above, NULL where there is no such kernel.
  fg_score_fn *score[FG_DTYPE_COUNT], *score_rounded[FG_DTYPE_COUNT];
  fg_sparse_values_fn *sparse_values;
} fg_kernels;

// `features`: a set of fg_cpu_feature, what fg_cpu_features says or less; 0 = the reference.
void fg_kernels_init(fg_kernels *kernels, uint32_t features);

#endif
