#include "plan/flexgen_schedule.h"

#include <math.h>

#include "plan/flexgen_work.h"

// One batch in one half of a layer; context 0: its prompts. `load`: the next half's weights come meanwhile.
static double step(const fg_flexgen_job *j, fg_flexgen_half half, double context, bool load) {
  fg_flexgen_lanes t = {0};
  fg_flexgen_compute(j, half, context, &t);
  if (half == FG_FLEXGEN_ATTENTION) {
    if (context > 0) fg_flexgen_load_cache(j, context, &t);
    fg_flexgen_store_cache(j, context, &t);
  }
  if (load) fg_flexgen_load_weights(j, half == FG_FLEXGEN_MLP ? FG_FLEXGEN_ATTENTION : FG_FLEXGEN_MLP, &t);
  fg_flexgen_move_hidden(j, context, &t);
  const double disk = t.read + t.write, compute = t.device + t.cpu;
  if (!j->policy->overlap) return t.thread + t.link + disk + compute + t.back;
  return fmax(disk, t.thread + fmax(fmax(t.link, t.back), compute));
}

static double token(const fg_flexgen_job *j, double context) {
  double layer = 0;
  for (uint32_t k = 0; k < j->policy->batches; k++)
    layer += step(j, FG_FLEXGEN_ATTENTION, context, k == 0) + step(j, FG_FLEXGEN_MLP, context, k == 0);
  return layer * j->shape->layers + fg_flexgen_head(j, context) * j->policy->batches;
}

fg_flexgen_time fg_flexgen_schedule(const fg_hardware *hw, const fg_plan_shape *shape,
                                    const fg_flexgen_policy *policy, uint32_t prompt, uint32_t generated) {
  const fg_flexgen_job j = fg_flexgen_job_of(hw, shape, policy, prompt);
  fg_flexgen_time t = {.prefill = token(&j, 0)};
  for (uint32_t i = 1; i < generated; i++) t.decode += token(&j, prompt + i);
  t.rate = (double)policy->batch * policy->batches * generated / (t.prefill + t.decode);
  return t;
}
