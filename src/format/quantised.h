// quantised.h: a checkpoint that somebody has quantised, shown as one of ordinary weights.
//
// It stands before the checkpoint of the files and hides a quantised module's tensors ("X.qweight",
// "X.scales", ...) behind one, "X.weight" [outputs, inputs], whose rows are made when they are read; tensors
// that are not quantised go through untouched. So whoever reads a model does not know that it was quantised.
// The formats are rows of a table, one for each "quant_method"; what is well known but not built is refused
// with the way out. dequant.h has what a format is made of.
//
// Memory: what is read at once, and a strip of one module's words; both bounded, the strip by the budget.
#ifndef FG_FORMAT_QUANTISED_H
#define FG_FORMAT_QUANTISED_H

#include "base/budget.h"
#include "format/assets.h"
#include "format/checkpoint.h"

typedef enum fg_quantised_form {
  // A matrix has the type that holds its codes where there is one (integers in groups: int4 and int8 types
  // with the checkpoint's own codes; scales and minima are rounded to float16), else bfloat16.
  FG_QUANTISED_AS_STORED,
  FG_QUANTISED_EXACT, // float32: the values that the format defines
} fg_quantised_form;

// Looks for the configuration of a quantisation among the assets (config.json, else quantize_config.json or
// quant_config.json) and puts the new checkpoint in the place of *checkpoint, which it then owns. Nothing
// happens where there is none, or where no tensor is quantised. *checkpoint may be NULL: the configuration is
// checked. `budget` pays for the strip. On failure *checkpoint is as it was.
fg_status fg_quantised_wrap(fg_checkpoint **checkpoint, const fg_assets *assets, fg_quantised_form form,
                            fg_budget *budget, fg_error *err);

#endif
