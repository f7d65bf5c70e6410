// calibration.h: what a text says about the inputs of a model's matrices.
//
// Rounding a weight moves a product by the error times the input it meets, so the error that counts is the
// squared one times the mean square of that input channel. A calibration has these means: for each matrix one
// value for each of its k channels, for each segment where segments have inputs of their own. They are
// gathered while the model runs over a text (engine/executor.h shows each matrix its input) and read while it
// is packed (tensor/groups.h). Sums are kept in double and means are given in bfloat16's precision: so few
// bits do not tell in which order the rows came, and equal texts make equal stores.
//
// A calibration without means has a key all the same: it finds the store that was made with them.
#ifndef FG_MODEL_CALIBRATION_H
#define FG_MODEL_CALIBRATION_H

#include <stdint.h>

#include "flexgen/error.h"
#include "format/store.h"

typedef struct fg_calibration_item {
  char name[64];        // of the weight
  uint32_t k, segments; // 1 where all of them have one input
  uint64_t rows;        // seen
  double *sums;         // [segments, k] of squares
  float *means;         // [segments, k] once finished; NULL: no row was seen, or a value was not finite
} fg_calibration_item;

typedef struct fg_calibration {
  uint64_t key; // of the text and of how it was run; never 0
  fg_calibration_item *items;
  uint32_t count; // 0: a key alone
  uint32_t near;  // where the next item is likely to be, for who goes through them in order
} fg_calibration;

// Places for the matrices among `weights`, all of them touched, so that they count as the process's own.
fg_status fg_calibration_create(fg_calibration *out, const fg_weight *weights, uint32_t count, uint64_t key,
                                fg_error *err);
void fg_calibration_free(fg_calibration *calibration);

// The item of a weight, or NULL; looked for from number `near` on.
fg_calibration_item *fg_calibration_find(const fg_calibration *calibration, const char *name, uint32_t near);

// Adds rows to what segment `segment` has seen. // x: [rows, stride], the first k of a row are the input
void fg_calibration_add(fg_calibration_item *item, uint32_t segment, const float *x, uint32_t rows,
                        uint32_t stride);

// Turns sums into means.
fg_status fg_calibration_finish(fg_calibration *calibration, fg_error *err);

#endif
