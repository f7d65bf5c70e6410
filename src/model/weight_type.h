// weight_type.h: how a user wants the matrices of a model held.
//
// The words of --weight-dtype, --weight-group and --weight-symmetric become one wish, and the wish becomes
// the type of each matrix. Codes of 8 and 4 bits go with a scale for a group of values along k. A matrix
// whose k the group does not divide takes the largest smaller group that does; one whose k is no multiple
// of the smallest keeps the type that it has. Tables (embeddings) are gathered, not multiplied, and keep
// theirs too. Of int4 the head has 8 bits: it is a small part of a model, and every logit shows its error.
#ifndef FG_MODEL_WEIGHT_TYPE_H
#define FG_MODEL_WEIGHT_TYPE_H

#include <stdbool.h>
#include <stdint.h>

#include "flexgen/error.h"
#include "tensor/dtype.h"

typedef struct fg_weight_wish {
  bool set;       // else as in the checkpoint
  fg_dtype dtype; // a plain type, or a quantized one with the largest group wanted
  bool per_row;   // a row has one scale (and minimum), which all its groups repeat
} fg_weight_wish;

// dtype: auto, f32, bf16, f16, int8, int4. group: auto, 32, 64, 128, channel; symmetric: auto, true, false;
// for int8 (128, true) and int4 (64, false) only. NULL is auto. FG_INVALID names the option.
fg_status fg_weight_wish_read(fg_weight_wish *out, const char *dtype, const char *group,
                              const char *symmetric, fg_error *err);

// The same wish for the head.
fg_weight_wish fg_weight_wish_of_head(const fg_weight_wish *wish);

// The type of a matrix with rows of k values; false if it has to keep its own.
bool fg_weight_wish_type(const fg_weight_wish *wish, uint32_t k, fg_dtype *out);

#endif
