// step_cost.h: how long a step of this engine takes and how much memory it needs, by where things are.
//
// In a long job all steps are alike: every running sequence decodes one token, and as many tokens of prompts
// are read as keep their number up. Kernels, CPU, the link's two directions and the disk work side by side,
// so a step takes as long as the busiest of these lanes. What a lane does is linear in the shares of weights,
// keys and values that are at one place or another, and so is the memory that they take: placing them is a
// linear program (placement.h).
#ifndef FG_PLAN_STEP_COST_H
#define FG_PLAN_STEP_COST_H

#include <stdbool.h>

#include "machine/hardware.h"
#include "plan/policy.h"
#include "plan/shape.h"

typedef enum fg_lane {
  FG_LANE_DEVICE, // kernels
  FG_LANE_CPU,    // attention over keys and values of the host
  FG_LANE_IN,     // the link to the device, and from it
  FG_LANE_OUT,
  FG_LANE_DISK,
  FG_LANE_COUNT
} fg_lane;

// Where weights and the KV cache may be; the shares of each add up to 1.
typedef enum fg_share {
  FG_WEIGHTS_DEVICE,
  FG_WEIGHTS_HOST,
  FG_WEIGHTS_DISK,
  FG_CACHE_DEVICE,
  FG_CACHE_HOST,     // comes over the link for every step
  FG_CACHE_HOST_CPU, // is attended to where it is
  FG_CACHE_DISK,     // is read for every step and attended to by the CPU
  FG_SHARE_COUNT
} fg_share;

enum { FG_TIER_COUNT = FG_TIER_DISK + 1 };

typedef struct fg_step_wish {
  uint32_t prompt, generated; // tokens of a sequence
  double sequences;           // that run at once
  double weight_bytes;        // of a value: 2, or 0.5625 for codes of 4 bits in groups of 64
  double cache_bytes;
} fg_step_wish;

typedef struct fg_step_cost {
  double tokens;                                    // of a step
  double fixed[FG_LANE_COUNT];                      // seconds wherever things are
  double seconds[FG_LANE_COUNT][FG_SHARE_COUNT];    // more when all of it is there
  double taken[FG_TIER_COUNT], room[FG_TIER_COUNT]; // bytes: taken anyway; there are
  double bytes[FG_TIER_COUNT][FG_SHARE_COUNT];      // more when all of it is there
} fg_step_cost;

fg_step_cost fg_step_cost_of(const fg_hardware *hw, const fg_plan_shape *shape, const fg_step_wish *wish);

// Seconds of a lane under these shares.
double fg_step_cost_lane(const fg_step_cost *cost, fg_lane lane, const double *shares);

const char *fg_lane_name(fg_lane lane);

#endif
