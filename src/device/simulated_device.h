// simulated_device.h: a device that takes commands and computes nothing.
//
// Each command is put on the timeline of fg_device_options.simulation with the seconds that the machine would
// take (simulated_cost.h); events are times, and who waits for one moves the host's clock. Its memory is
// counted and mapped, and not used: only small copies to small blocks are kept, because they are the lists of
// a step, on which the cost of attention depends. Copies of bytes cost what the link allows; host memory is
// taken to be pinned.
#ifndef FG_DEVICE_SIMULATED_DEVICE_H
#define FG_DEVICE_SIMULATED_DEVICE_H

#include "device/device.h"

fg_status fg_simulated_device_create(fg_device **out, const fg_device_options *options, fg_error *err);
uint64_t fg_simulated_device_scratch_bytes(const fg_device_options *options); // none

#endif
