// list.h: the devices of this machine that are not the CPU itself, for people and for programs that choose.
#ifndef FG_DEVICE_LIST_H
#define FG_DEVICE_LIST_H

#include <stdbool.h>
#include <stdint.h>

#include "flexgen/error.h"

enum { FG_MOST_LISTED_DEVICES = 64 };

typedef struct fg_device_entry {
  char name[24]; // as --device takes it: "opencl:0"
  const char *kind;
  char model[128], platform[64], driver[64];
  uint64_t memory, most_block; // bytes; the largest that can be had at once
  uint32_t units;              // that compute side by side
  bool in_host_memory;         // a CPU: its memory is the machine's
  char unusable[200];          // why kernels cannot run there; "" = they can
} fg_device_entry;

// out: [FG_MOST_LISTED_DEVICES]. FG_NOT_FOUND where there is no OpenCL at all; no driver is an empty list.
fg_status fg_device_list_opencl(fg_device_entry *out, uint32_t *count, fg_error *err);

#endif
