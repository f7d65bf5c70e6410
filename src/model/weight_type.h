// weight_type.h: how a user wants the matrices of a model held.
//
// The words of --weight-dtype, --weight-group and --weight-symmetric become one wish, and the wish becomes
// the type of each matrix. Codes of 8 and 4 bits go with a scale for a group of values along k. A matrix
// whose k the group does not divide takes the largest smaller group that does; one whose k is no multiple
// of the smallest keeps the type that it has. The head, and the tables that rows are gathered from, have
// words of their own, --weight-head and --weight-embedding; "auto" is a rule that was measured
// (docs/quality.md): of int4 both have 8 bits, tables where the checkpoint has more; of int8 tables keep
// their type.
#ifndef FG_MODEL_WEIGHT_TYPE_H
#define FG_MODEL_WEIGHT_TYPE_H

#include <stdbool.h>
#include <stdint.h>

#include "flexgen/error.h"
#include "tensor/dtype.h"

typedef struct fg_weight_form {
  bool set;       // else as in the checkpoint
  fg_dtype dtype; // a plain type, or a quantized one with the largest group wanted
  bool per_row;   // a row has one scale (and minimum), which all its groups repeat
  bool smaller;   // only where that is less than the checkpoint has
} fg_weight_form;

typedef enum fg_weight_part { FG_PART_LAYERS, FG_PART_HEAD, FG_PART_TABLE, FG_PART_COUNT } fg_weight_part;

typedef struct fg_weight_wish {
  fg_weight_form parts[FG_PART_COUNT];
} fg_weight_wish;

// As a user writes them; NULL is auto. dtype: auto, f32, bf16, f16, int8, int4. group: auto, 32, 64, 128,
// channel; symmetric: auto, true, false; for int8 (128, true) and int4 (64, false) only. head, table: auto,
// same, f32, bf16, f16, int8, int4; same is what the layers have.
typedef struct fg_weight_words {
  const char *dtype, *group, *symmetric, *head, *table;
} fg_weight_words;

// FG_INVALID names the option.
fg_status fg_weight_wish_read(fg_weight_wish *out, const fg_weight_words *words, fg_error *err);

// The type of a matrix or table with rows of k values; false if it has to keep its own.
bool fg_weight_form_type(const fg_weight_form *form, uint32_t k, fg_dtype *out);

#endif
