// hardware.h: what a machine can do, as plain numbers.
//
// The cost model knows a machine by these rates alone, so that a machine which is not at hand is planned for
// like the one that was measured. Every rate is a physical one, of long runs: bytes or operations in a
// second.
#ifndef FG_MACHINE_HARDWARE_H
#define FG_MACHINE_HARDWARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct fg_hardware {
  const char *name;
  const char *about;                             // what it is, and where the rates come from
  uint64_t device_bytes, host_bytes, disk_bytes; // that a job may use
  double device_memory, host_memory;             // bytes/s that kernels read
  double link;                                   // bytes/s each way between device and pinned host memory
  double pageable_out;                           // bytes/s from the device to host memory that is not pinned
  double pinning;                                // bytes/s by which one thread copies into pinned memory
  double disk_read, disk_write;                  // bytes/s
  double product;                                // operations/s of dense products with many rows
  double launch;                                 // seconds that an operation costs before it computes
  bool
      unified; // the device computes in host memory: host_bytes are all there are, and nothing crosses a link
} fg_hardware;

// A machine by its name, NULL if there is none such.
const fg_hardware *fg_hardware_known(const char *name);
// The names in order, separated by commas.
void fg_hardware_names(char *out, size_t bytes);

// Seconds of a product of `rows` rows with `values` weights, which take `bytes` in the device's memory: bound
// by its operations or by reading the weights.
double fg_hardware_product(const fg_hardware *hw, double values, double bytes, double rows);

#endif
