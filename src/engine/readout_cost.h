// readout_cost.h: how long reading out logits takes, for a profile of the machine (profile/measure.h).
#ifndef FG_ENGINE_READOUT_COST_H
#define FG_ENGINE_READOUT_COST_H

#include "base/budget.h"
#include "base/threads.h"

// Seconds of one logit of one row: drawn greedily, by the whole team, from a vocabulary of 32000.
fg_status fg_readout_cost(fg_threads *threads, fg_budget *budget, double *seconds, fg_error *err);

#endif
