// flexgen_work.h: what the parts of a step of FlexGen (Sheng et al. 2023) move and compute, in seconds.
//
// A step is one batch in one half of a layer. Whole tensors are placed where their midpoint falls; the keys
// and values of the host are read by the CPU in float32, or copied into pinned memory by the thread that also
// starts the kernels; codes of 4 bits are expanded by a chain of tensor operations, weights once a batch; all
// prompts are as long as the longest. Who puts the parts in order is somebody else: flexgen_schedule.h adds
// them up, flexgen_stream.h puts them on a timeline.
#ifndef FG_PLAN_FLEXGEN_WORK_H
#define FG_PLAN_FLEXGEN_WORK_H

#include "machine/hardware.h"
#include "plan/flexgen_schedule.h"

typedef enum fg_flexgen_half { FG_FLEXGEN_ATTENTION, FG_FLEXGEN_MLP, FG_FLEXGEN_HALVES } fg_flexgen_half;

// Where the weights of half a layer are, in values.
typedef struct fg_flexgen_place {
  double gpu, cpu, disk;
} fg_flexgen_place;

typedef struct fg_flexgen_job {
  const fg_hardware *hw;
  const fg_plan_shape *shape;
  const fg_flexgen_policy *policy;
  uint32_t prompt;
  fg_flexgen_place weights[FG_FLEXGEN_HALVES];
} fg_flexgen_job;

// Seconds that each unit of the machine has to do. thread: the main one, which copies into pinned memory
// before it starts kernels.
typedef struct fg_flexgen_lanes {
  double thread, link, back, read, write, device, cpu;
} fg_flexgen_lanes;

fg_flexgen_job fg_flexgen_job_of(const fg_hardware *hw, const fg_plan_shape *shape,
                                 const fg_flexgen_policy *policy, uint32_t prompt);

// Each adds to *lanes. context: keys that a decoded token sees; 0: the step is one of prompts.
void fg_flexgen_load_weights(const fg_flexgen_job *job, fg_flexgen_half half, fg_flexgen_lanes *lanes);
void fg_flexgen_load_cache(const fg_flexgen_job *job, double context, fg_flexgen_lanes *lanes);
void fg_flexgen_compute(const fg_flexgen_job *job, fg_flexgen_half half, double context,
                        fg_flexgen_lanes *lanes);
void fg_flexgen_store_cache(const fg_flexgen_job *job, double context, fg_flexgen_lanes *lanes);
void fg_flexgen_move_hidden(const fg_flexgen_job *job, double context, fg_flexgen_lanes *lanes);
// Of a batch, seconds of the device.
double fg_flexgen_head(const fg_flexgen_job *job, double context);

#endif
