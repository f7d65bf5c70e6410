// qproduct.h: products of activations quantised to int8 with weights in their own quantised bits.
//
// A row of activations becomes codes in [-127, 127] with one scale for each 256 values along k, finer
// groups being bought with speed. A value more than FG_Q_OUTLIER times its group's mean magnitude would
// take the scale for itself and leave the rest few codes; it is taken out, code 0, and multiplied in float32
// with its column of weights, where that makes the rest's codes FG_Q_GAIN times as fine: the last few of a
// long tail, as a gate's products have, would be dear and gain nothing. Weights are of any quantized type
// (tensor/groups.h); a weight group's sum of products is an integer and exact, so it does not matter how an
// instruction set adds it up. What follows is one chain of fused float32 operations in order of k:
//
//   for each activation group a: s = 0
//     for each weight group b of it: s = fma(sum of codes, d[b], s)
//                                    with a minimum: s = fma(m[b], sums[b], s)
//     out = fma(s, scale[a], out)
//     for each outlier of a:         out = fma(value, w[column], out)
//
// So every variant gives the same bits, for any number of rows at once.
#ifndef FG_KERNELS_QPRODUCT_H
#define FG_KERNELS_QPRODUCT_H

#include <stdbool.h>
#include <stdint.h>

#include "tensor/dtype.h"

enum {
  FG_Q_GROUP = 256,   // activations that share a scale: a multiple of every weight group
  FG_Q_OUTLIER = 8,   // SmolLM2: perplexity +0.2 %; with 12 +0.4 %
  FG_Q_GAIN = 2,      // SmolLM2: with 1, 1.25, 1.5 and 2 +0.1 to 0.2 %
  FG_Q_OUTLIERS = 32, // of a group, at most
};

typedef struct fg_q_outlier {
  uint32_t column; // within the activation group
  float value;
} fg_q_outlier;

// Quantised rows, for weights of one type. The rows' parts of one activation group lie side by side: at some
// multiples of k whole rows would fall into the same few sets of the caches.
typedef struct fg_q_rows {
  uint32_t rows, k;       // k: a multiple of the weights' group
  uint32_t group;         // of the weights
  int32_t zero_point;     // the unsigned form of a weight's code is the code plus this; 0 with a minimum
  int8_t *codes;          // [activation groups, rows, 256], zero beyond k
  int32_t *starts;        // [k / group, rows]: minus the zero point times the sum of the codes, or
  float *sums;            // [k / group, rows]: with a minimum, the sum of the codes
  float *scales;          // [activation groups, rows]
  fg_q_outlier *outliers; // [activation groups, rows, 32], in the order taken
  uint8_t *outlier_count; // [activation groups, rows], and 3 that are read with the last ones
} fg_q_rows;

static inline uint32_t fg_q_groups(uint32_t k) {
  return (k + FG_Q_GROUP - 1) / FG_Q_GROUP;
}

// Bytes that hold `rows` quantised rows of at most k values for any type, and their places for one type.
// The memory is aligned to 64 bytes.
uint64_t fg_q_rows_bytes(uint32_t rows, uint32_t k);
fg_q_rows fg_q_rows_place(void *memory, uint32_t rows, uint32_t k, fg_dtype weights);

// Quantises x [k] into row `row`.
typedef void fg_quantise_fn(const float *x, const fg_q_rows *out, uint32_t row);
// out[r, 64] = rows [first, first + rows) times a block of `columns` <= 64 output rows of type `dtype`; what
// is out of columns is any finite value.
typedef void fg_q_product_fn(const fg_q_rows *x, uint32_t first, uint32_t rows, fg_dtype dtype,
                             const void *block, uint32_t columns, float *out);

#endif
