// placement.h: where weights and KV cache should be, so that a step of given shape takes least time: a linear
// program.
#ifndef FG_PLAN_PLACEMENT_H
#define FG_PLAN_PLACEMENT_H

#include "flexgen/error.h"
#include "plan/solver.h"
#include "plan/step_cost.h"

typedef struct fg_placement {
  double shares[FG_SHARE_COUNT];
  double seconds; // of a step
  fg_lane bound;  // the lane that takes them
} fg_placement;

// The best placement by COIN-OR CLP. FG_NO_SPACE: it fits nowhere.
fg_status fg_placement_find(const fg_solver *solver, const fg_step_cost *cost, fg_placement *out,
                            fg_error *err);

// The numbers of sequences from 1 to `most` by whose steps most tokens are generated in a second, the shares
// by which they are. `wish->sequences` is set. FG_NO_SPACE: not even one sequence fits.
fg_status fg_placement_search(const fg_solver *solver, const fg_hardware *hw, const fg_plan_shape *shape,
                              uint32_t most, fg_step_wish *wish, fg_placement *out, fg_error *err);

#endif
