// flexgen_schedule.h: how long FlexGen (Sheng et al. 2023) takes for a job under one of its own policies.
//
// It is here to try the cost model on figures that others have measured. What its steps move and compute
// stands in flexgen_work.h. The next half of a layer is loaded whole during the first of the batches and
// waited for, and each step ends when all that goes on beside it has.
#ifndef FG_PLAN_FLEXGEN_SCHEDULE_H
#define FG_PLAN_FLEXGEN_SCHEDULE_H

#include <stdbool.h>

#include "machine/hardware.h"
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
