// simulated_cost.h: how long a call would take on a machine that is known by a few physical rates.
//
// A product is bound by its operations or by the bytes that it reads and writes; weights of codes are
// expanded once more for the matrix units. All else is bound by the device's memory, but attention of
// prompts, which is bound by its operations too. Every call costs a launch.
#ifndef FG_DEVICE_SIMULATED_COST_H
#define FG_DEVICE_SIMULATED_COST_H

#include "device/op.h"
#include "machine/hardware.h"

// chunk_list: [chunks, 4] of the call's batch, where the host can read it; NULL: the call has none.
double fg_simulated_seconds(const fg_hardware *hw, const fg_call *call, const int32_t *chunk_list);
// Of ATTENTION by the CPU, in host memory.
double fg_simulated_host_seconds(const fg_hardware *hw, const fg_call *call, const int32_t *chunk_list);

// What this engine's kernels for a device of its own move, in bytes, beside what they read once.
// A weight of codes is written in 16 bits, and read again.
#define FG_EXPAND_BYTES 4.0
// Of one score of a prompt: they stay on the chip but for the merging.
#define FG_SCORE_BYTES 2.0

#endif
