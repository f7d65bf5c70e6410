// replan.h: another policy for a job that is under way.
//
// A policy is remade between two steps when the machine turns out to be another one than the profile says, by
// rates that are corrected by what was measured, or when there is less memory than there was. All that a step
// needs is then built anew; every sequence keeps its tokens and begins again from its first one, so no row is
// lost and none changes: draws are keyed, and a row's numbers do not depend on the policy.
#ifndef FG_ENGINE_REPLAN_H
#define FG_ENGINE_REPLAN_H

#include "engine/forecast.h"

// How the rates differ from the profile's: 2 = takes twice as long. 1 where too little was measured.
typedef struct fg_drift {
  double compute, disk;
} fg_drift;

// Measured over so many seconds of steps of which `waiting` went by waiting for the disk, which read
// `read_bytes` in `reading` seconds.
typedef struct fg_measured_time {
  double seconds, waiting, reading, read_bytes;
} fg_measured_time;
// The same of all steps so far.
fg_measured_time fg_engine_measured(const struct fg_engine *engine);
// Pure.
fg_drift fg_drift_of(const fg_forecast *forecast, const fg_measured_time *since);

// Whether a plan for the corrected rates is worth the change: what is left ends sooner by a tenth, what the
// change itself takes included. Pure.
bool fg_replan_pays(double left_as_it_is, double left_changed, double change);

#endif
