// simulation.h: a machine that is not there: what it can do, and the clock by which it does it.
//
// The simulated device (device/simulated_device.h) and I/O queues that are opened on it (io/io.h) put what
// the engine hands them on one timeline. Nothing is computed and no byte is moved.
#ifndef FG_MACHINE_SIMULATION_H
#define FG_MACHINE_SIMULATION_H

#include "machine/hardware.h"
#include "machine/timeline.h"

// Of the timeline; a device's queues come first, in its order.
enum { FG_SIMULATED_DISK = 6, FG_SIMULATED_HOST = 7 };

typedef struct fg_simulation {
  fg_hardware machine;
  fg_timeline time;
} fg_simulation;

#endif
