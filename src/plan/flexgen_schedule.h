// flexgen_schedule.h: how long FlexGen (Sheng et al. 2023) takes for a job under one of its own policies.
//
// It is here to try the cost model on figures that others have measured. What is FlexGen's own: the next half
// of a layer is loaded whole during the first of the batches and waited for; whole tensors are placed where
// their midpoint falls; the keys and values of the host are read by the CPU in float32, or copied into pinned
// memory by the thread that also starts the kernels; codes of 4 bits are expanded by a chain of tensor
// operations, weights once a batch.
#ifndef FG_PLAN_FLEXGEN_SCHEDULE_H
#define FG_PLAN_FLEXGEN_SCHEDULE_H

#include <stdbool.h>

#include "plan/hardware.h"
#include "plan/shape.h"

typedef struct fg_flexgen_policy {
  uint32_t batch, batches; // --gpu-batch-size, --num-gpu-batches
  double percent[6];       // w_gpu w_cpu cache_gpu cache_cpu act_gpu act_cpu; the rest is on disk
  bool compress_weight, compress_cache;
  bool cpu_cache_compute, pin_weight, overlap;
} fg_flexgen_policy;

typedef struct fg_flexgen_time {
  double prefill, decode; // seconds: the first step; all others
  double rate;            // generated tokens a second of both
} fg_flexgen_time;

fg_flexgen_time fg_flexgen_schedule(const fg_hardware *hw, const fg_plan_shape *shape,
                                    const fg_flexgen_policy *policy, uint32_t prompt, uint32_t generated);

#endif
