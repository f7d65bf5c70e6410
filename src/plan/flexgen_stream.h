// flexgen_stream.h: FlexGen's schedule as the commands that it hands to a machine, on a timeline.
//
// The zig-zag block of its paper: token by token, layer by layer, batch by batch. In the step of a batch the
// next half of a layer is loaded (in the first batch only), then the next batch's cache, what is computed is
// stored, and the step ends when all of that has passed. Between prompts and decoding nothing is mixed, and a
// block ends before the next one begins. What a step moves and computes: flexgen_work.h.
#ifndef FG_PLAN_FLEXGEN_STREAM_H
#define FG_PLAN_FLEXGEN_STREAM_H

#include "base/trace.h"
#include "machine/simulation.h"
#include "plan/flexgen_schedule.h"

typedef struct fg_flexgen_run {
  const fg_plan_shape *shape;
  const fg_flexgen_policy *policy;
  uint32_t prompt, generated;
  uint32_t blocks; // one after the other
  fg_trace *trace; // may be NULL
} fg_flexgen_run;

// Seconds of prompts and of all else are summed over the blocks.
fg_flexgen_time fg_flexgen_stream(fg_simulation *simulation, const fg_flexgen_run *run);

#endif
