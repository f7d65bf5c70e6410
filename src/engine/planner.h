// planner.h: the best policy for a job on a measured machine.
//
// Batch shapes are enumerated: tokens of a step, sequences at once. For each one, what fast memory holds of
// weights and of the KV cache is the answer of a linear program over a step in the middle of the job
// (plan/placement.h); the rule of plan/policy.h makes a whole policy of it, and the job is gone through under
// that policy (predict.h). The one by which the job ends first is taken. What the user fixed stays fixed.
// Pure.
#ifndef FG_ENGINE_PLANNER_H
#define FG_ENGINE_PLANNER_H

#include "engine/predict.h"
#include "plan/placement.h"

typedef struct fg_planner_input {
  fg_plan_input plan; // wishes and memory; what is not wished is chosen
  const fg_plan_model *model;
  const fg_step_rates *rates; // of the model
  const fg_plan_job *job;     // at least one row
  const fg_solver *solver;
  bool drafts; // rows may try tokens ahead: the plan says in how many steps
} fg_planner_input;

typedef struct fg_plan {
  fg_policy policy;
  fg_prediction predicted;
  fg_plan_traffic traffic;
  fg_lane bound;  // what most of the time goes by
  uint32_t tried; // policies
} fg_plan;

// The time of one policy, which the plan's input led to.
fg_status fg_planner_predict(fg_plan *plan, const fg_planner_input *input, uint32_t most_steps,
                             fg_error *err);

// FG_NO_SPACE and FG_INVALID as fg_policy_make, whose message is passed on.
fg_status fg_planner_choose(fg_plan *out, const fg_planner_input *input, fg_error *err);

#endif
