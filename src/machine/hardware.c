#include "machine/hardware.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
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
    // Of the others the maker's figures, of which long runs are assumed to reach: memory 0.8, dense products
    // of 16 bits with sums in 32 0.6, a link 0.8; a launch takes 5 microseconds. Host and disk are those of a
    // machine as they are common around such a device.
    {.name = "a10",
     .about =
         "One A10. NVIDIA's data sheet: 24 GB at 600 GB/s, 125 Tflop/s in float16, PCIe 4.0 x16 (31.5 "
         "GB/s). Around it half of a server: 128 GiB of memory in four channels of DDR4-3200 (102.4 GB/s), "
         "one SSD of 900 GB, taken as 1.8 GB/s read and 0.9 GB/s written.",
     .device_bytes = 23ull << 30,
     .host_bytes = 120ull << 30,
     .disk_bytes = 800ull << 30,
     .device_memory = 480e9,
     .host_memory = 80e9,
     .link = 25e9,
     .pageable_out = 5e9,
     .pinning = 8e9,
     .disk_read = 1.8e9,
     .disk_write = 0.9e9,
     .product = 75e12,
     .launch = 5e-6},
    {.name = "rtx4090",
     .about = "One GeForce RTX 4090. NVIDIA's Ada white paper: 24 GB at 1008 GB/s, 165.2 Tflop/s in float16 "
              "with sums in float32, PCIe 4.0 x16 (31.5 GB/s). Around it a desktop: 64 GB in two channels of "
              "DDR5-5600 (89.6 GB/s), an SSD of 2 TB as PCIe 4.0 x4 has them (7 GB/s read, 6 GB/s written by "
              "their data sheets, taken as 5.5 and 4 for long runs).",
     .device_bytes = 23ull << 30,
     .host_bytes = 58ull << 30,
     .disk_bytes = 1700ull << 30,
     .device_memory = 806e9,
     .host_memory = 70e9,
     .link = 25e9,
     .pageable_out = 8e9,
     .pinning = 10e9,
     .disk_read = 5.5e9,
     .disk_write = 4e9,
     .product = 99e12,
     .launch = 5e-6},
    {.name = "h100",
     .about =
         "One H100 SXM. NVIDIA's data sheet: 80 GB at 3.35 TB/s, 989 Tflop/s in bfloat16 without "
         "sparsity, PCIe 5.0 x16 (63 GB/s). Around it an eighth of a DGX H100 (its data sheet: 2 TB of "
         "memory in 16 channels of DDR5-4800, eight SSDs of 3.84 TB): 256 GB, 76 GB/s, one SSD, taken as "
         "6.5 GB/s read and 3.5 GB/s written.",
     .device_bytes = 78ull << 30,
     .host_bytes = 240ull << 30,
     .disk_bytes = 3400ull << 30,
     .device_memory = 2680e9,
     .host_memory = 60e9,
     .link = 50e9,
     .pageable_out = 10e9,
     .pinning = 12e9,
     .disk_read = 6.5e9,
     .disk_write = 3.5e9,
     .product = 593e12,
     .launch = 5e-6},
    {.name = "m2",
     .about =
         "An Apple M2 with ten GPU cores, 24 GB and 1 TB. Apple's specifications: 100 GB/s of memory for "
         "all; 3.6 Tflop/s in float32, and no more is taken for float16. An SSD of 3 GB/s read and 2.8 "
         "GB/s written as reviews measured it, taken as 2.7 and 2.2. A launch of 10 microseconds.",
     .host_bytes = 18ull << 30,
     .disk_bytes = 800ull << 30,
     .device_memory = 80e9,
     .host_memory = 80e9,
     .link = 80e9,
     .pageable_out = 80e9,
     .pinning = 40e9,
     .disk_read = 2.7e9,
     .disk_write = 2.2e9,
     .product = 2.2e12,
     .launch = 10e-6,
     .unified = true},
};

const fg_hardware *fg_hardware_known(const char *name) {
  for (size_t i = 0; i < sizeof machines / sizeof *machines; i++)
    if (strcmp(machines[i].name, name) == 0) return &machines[i];
  return NULL;
}

void fg_hardware_names(char *out, size_t bytes) {
  size_t used = 0;
  if (bytes) out[0] = 0;
  for (size_t i = 0; i < sizeof machines / sizeof *machines && used < bytes; i++)
    used += (size_t)snprintf(out + used, bytes - used, "%s%s", i ? ", " : "", machines[i].name);
}

double fg_hardware_product(const fg_hardware *hw, double values, double bytes, double rows) {
  return fmax(2 * values * rows / hw->product, bytes / hw->device_memory);
}
