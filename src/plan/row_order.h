// row_order.h: in which order a job's rows run.
//
// Rows that begin alike stand together, as in a walk over the tree of their tokens: so a prefix is computed
// once and lives shortly. Which branch comes first at a fork of the tree is free. The branch with the longest
// row comes first where that is wanted: what is left when the job ends is then short, and the last steps are
// full for longer. Pure.
#ifndef FG_PLAN_ROW_ORDER_H
#define FG_PLAN_ROW_ORDER_H

#include <stddef.h>

#include "flexgen/engine.h"
#include "flexgen/error.h"

// rows: in the order of their tree. order[i]: which of them runs as the i-th; rows that are alike stay as
// they come. shared[i]: what it has in common with the one before it there; may be NULL. FG_NO_SPACE.
fg_status fg_row_order_find(uint32_t *order, uint32_t *shared, const fg_row_length *rows, uint32_t count,
                            fg_row_order wish, fg_error *err);

// Rows in the order of their tree by what they have in common, in any unit, and who comes first at a fork.
typedef struct fg_row_tree {
  uint32_t count;
  const uint32_t *common; // [count]: each with the one before it; of the first it means nothing
  const uint32_t *wished; // [count]: rows, the one whose branch should come first first
} fg_row_tree;

// Below 0: a comes first where the longest do.
int fg_row_compare_longest(const fg_row_length *a, const fg_row_length *b);

size_t fg_row_walk_scratch(uint32_t count); // bytes, aligned as malloc does
// order: [count]; shared: [count] or NULL, in the unit of `common`, which of the first is taken as it is.
void fg_row_walk(const fg_row_tree *tree, void *scratch, uint32_t *order, uint32_t *shared);

#endif
