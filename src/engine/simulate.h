// simulate.h: an engine on a machine that is not there (machine/simulation.h).
//
// Scheduler, planner, budgets and streams are those of any run; the device and the I/O queues put what they
// are given on a timeline, which is also the clock of the trace and so of all figures. What the host itself
// does takes no time there, but for attention by the CPU.
#ifndef FG_ENGINE_SIMULATE_H
#define FG_ENGINE_SIMULATE_H

#include "engine/engine_state.h"

// By options.simulate; nothing if it is NULL. The host budget, which is there and empty, and
// options.device_memory become the machine's, unless the user set them.
fg_status fg_engine_open_simulation(fg_engine *engine, fg_error *err);
// The trace goes by the timeline.
void fg_engine_start_clock(fg_engine *engine);
// The model is known: whether it can be simulated.
fg_status fg_engine_check_simulation(const fg_engine *engine, fg_error *err);

const char *fg_engine_simulated_device(const fg_engine *engine);
// What its disk has beside the weights.
uint64_t fg_engine_simulated_disk(const fg_engine *engine);
// Whether options.without has the word.
bool fg_engine_is_without(const fg_engine *engine, const char *word);

#endif
