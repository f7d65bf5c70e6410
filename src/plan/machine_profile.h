// machine_profile.h: what would be measured (profile.h) on a machine that is known by its rates alone.
//
// So the planner plans for it as for the machine that it runs on. Times of kernels are those by which the
// simulated device goes (device/simulated_cost.h), without what depends on a single call.
#ifndef FG_PLAN_MACHINE_PROFILE_H
#define FG_PLAN_MACHINE_PROFILE_H

#include "machine/hardware.h"
#include "plan/profile.h"

void fg_machine_profile(fg_profile *out, const fg_hardware *machine);

#endif
