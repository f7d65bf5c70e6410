// forecast.h: what an engine expects of its job, and how it keeps to that.
//
// Where the machine was measured and the job is known, the planner makes the policy, and with it comes how
// long the job will take. While it runs, each step is timed by the same rules; measured against expected is
// the pace, by which what is left is corrected. A pace that stays off says that the machine is not what the
// profile says: rates are then corrected one by one (computing, disk), and a policy that is better for them
// may take over between two steps (replan.h).
#ifndef FG_ENGINE_FORECAST_H
#define FG_ENGINE_FORECAST_H

#include "engine/planner.h"
#include "engine/scheduler.h"
#include "flexgen/engine.h"

typedef struct fg_forecast {
  bool known; // a profile and a job were there
  fg_plan_input input;
  fg_plan_model model;
  fg_profile profile;
  fg_step_scale scale; // of steps that were tried beforehand; without points where none was
  fg_step_rates rates; // of model, profile and scale
  fg_plan_job job;     // its rows are owned
  fg_plan plan;
  // of the steps since rates were last compared
  double expected, expected_compute; // seconds, by the rates
  double taken;                      // measured
  double pace;                       // of those before; 0 = there were none
  double all_expected, all_taken;    // of all steps, by the rates as they were then
  uint64_t rows, generated, allowed; // finished; tokens they made; and could have made
} fg_forecast;

// Rows of the workload: its lengths, or one row that is its mean. False: nothing is known of it.
bool fg_forecast_take_job(fg_forecast *forecast, const fg_workload *workload);
// Each of them will be computed whole.
void fg_forecast_share_nothing(fg_forecast *forecast);
void fg_forecast_free(fg_forecast *forecast);

// A step is over.
void fg_forecast_end_step(fg_forecast *forecast, fg_step_work *work, const fg_step_pages *pages,
                          double seconds);
// Seconds that each of `more` tokens whose logits are wanted would add to a step; 0: not known.
double fg_forecast_token_seconds(const fg_forecast *forecast, const fg_step_work *work,
                                 const fg_step_pages *pages, double more);
void fg_forecast_end_row(fg_forecast *forecast, uint32_t generated, uint32_t allowed);

// Measured over expected, of late; 1 where nothing is known.
double fg_forecast_pace(const fg_forecast *forecast);
void fg_forecast_begin_window(fg_forecast *forecast);
// forecast->profile has other rates than before: what was measured is in them.
void fg_forecast_rates_changed(fg_forecast *forecast);
// What steps take by another profile than the forecast's own.
fg_step_rates fg_forecast_rates_by(const fg_forecast *forecast, const fg_profile *profile);
// Seconds that `requests` more rows of the job will take under `plan`; < 0: not known.
double fg_forecast_remaining(const fg_forecast *forecast, const fg_plan *plan, uint64_t requests);

#endif
