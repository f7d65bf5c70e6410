// row_order.h: in which order a job's rows run.
//
// Rows that begin alike stand together, as in a walk over the tree of their tokens: so a prefix is computed
// once and lives shortly. At each fork of the tree the branch with the longest row comes first where that is
// wanted: what is left when the job ends is then short, and the last steps are full for longer. Pure.
#ifndef FG_PLAN_ROW_ORDER_H
#define FG_PLAN_ROW_ORDER_H

#include "flexgen/engine.h"
#include "flexgen/error.h"

// rows: in the order of their tree. order[i]: which of them runs as the i-th; rows that are alike stay as
// they come. shared[i]: what it has in common with the one before it there; may be NULL. FG_NO_SPACE.
fg_status fg_row_order_find(uint32_t *order, uint32_t *shared, const fg_row_length *rows, uint32_t count,
                            fg_row_order wish, fg_error *err);

#endif
