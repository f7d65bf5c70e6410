#include "plan/hardware.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#define GIB 1073741824.0

static const fg_hardware machines[] = {
    {.name = "t4",
     .about =
         "Google Cloud, one T4, 32 virtual CPUs of a Xeon at 2 GHz, four SSDs striped: what FlexGen's "
         "figures "
         "are of. Link, copies and products: constants of FlexGen's own cost model. Disk: its paper. Memory "
         "of the device: 0.8 of the 320 GB/s that the maker states; of the host: half of six channels of "
         "DDR4-2933. A launch: 10 microseconds, usual for this driver and interpreter.",
     .device_bytes = 15ull << 30,
     .host_bytes = 200ull << 30,
     .disk_bytes = 1500ull << 30,
     .device_memory = 256e9,
     .host_memory = 70e9,
     .link = 12.89 * GIB,
     .pageable_out = 0.97 * GIB,
     .pinning = 5e9,
     .disk_read = 2e9,
     .disk_write = 1e9,
     .product = 21.24e12,
     .launch = 10e-6},
};

const fg_hardware *fg_hardware_known(const char *name) {
  for (size_t i = 0; i < sizeof machines / sizeof *machines; i++)
    if (strcmp(machines[i].name, name) == 0) return &machines[i];
  return NULL;
}

double fg_hardware_product(const fg_hardware *hw, double values, double bytes, double rows) {
  return fmax(2 * values * rows / hw->product, bytes / hw->device_memory);
}
