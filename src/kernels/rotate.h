// rotate.h: rows turned so that no value of theirs stands out, for caches that hold few bits.
//
// Keys have channels that are many times larger than the rest, and a group's scale is made for its largest
// value. A Hadamard matrix spreads each value evenly over all of its group. It is orthogonal, so products of
// keys and queries that are both turned are what they were, and a sum of turned values is turned back once it
// is made (Ashkboos et al. 2024, "QuaRot").
//
// Each group of 64 values, and what is left of the row in runs of 32 and 16, is multiplied by the Hadamard
// matrix of that order in Sylvester's form over the root of the order, which is its own inverse. Sums run in
// a fixed order; a group's bits depend on its values alone.
#ifndef FG_KERNELS_ROTATE_H
#define FG_KERNELS_ROTATE_H

#include <stdint.h>

// In place; dim: a multiple of FG_KV_CODE_RUN.
void fg_rotate_row(float *row, uint32_t dim);

#endif
