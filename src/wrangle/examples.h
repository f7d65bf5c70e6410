// examples.h: solved rows in front of the one that is asked.
//
// Random ones are drawn once from the train set and are the same for every row, so that all prompts share
// them; drawn as the authors' program draws them through pandas, so that a seed means the same rows. Manual
// ones are written by hand, perhaps others for each value of a column.
#ifndef FG_WRANGLE_EXAMPLES_H
#define FG_WRANGLE_EXAMPLES_H

#include "flexgen/error.h"
#include "wrangle/samples.h"

typedef struct fg_example_draw {
  uint32_t count;
  bool balanced; // as many of each class as the smallest has, before drawing
  uint32_t seed;
} fg_example_draw;

// Appends the examples, a blank line between them and a newline behind; nothing for count 0.
fg_status fg_examples_random(fg_text *out, const fg_samples *train, const fg_example_draw *draw,
                             fg_error *err);

// A JSON file: {"examples": TEXT} or {"by": COLUMN, "examples": {VALUE: TEXT, ...}}; other members are
// remarks.
typedef struct fg_manual_examples fg_manual_examples;

fg_status fg_manual_read(fg_manual_examples **out, const char *path, fg_error *err);
void fg_manual_destroy(fg_manual_examples *manual);
// The examples for a row whose column has this value; an error if there are none.
fg_status fg_manual_find(const fg_manual_examples *manual, fg_slice key, fg_slice *examples, fg_error *err);
// The column that they are chosen by, or NULL.
const char *fg_manual_column(const fg_manual_examples *manual);

#endif
