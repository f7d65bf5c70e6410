// opencl_list.h: which OpenCL devices there are, numbered over all platforms in their order: "opencl:1".
#ifndef FG_DEVICE_OPENCL_LIST_H
#define FG_DEVICE_OPENCL_LIST_H

#include <stdbool.h>
#include <stdint.h>

#include "device/opencl_api.h"

enum { FG_OPENCL_MOST_DEVICES = 64 };

typedef struct fg_opencl_info {
  cl_platform_id platform;
  cl_device_id device;
  char platform_name[64], platform_version[128], name[128], driver[64];
  bool is_cpu; // its memory is host memory
  uint32_t units, most_lanes;
  uint64_t memory, most_block, local_memory;
  bool exact_division; // as IEEE 754 has it
} fg_opencl_info;

// No platform is an empty list. out: [FG_OPENCL_MOST_DEVICES]
fg_status fg_opencl_list(const fg_opencl_api *cl, fg_opencl_info *out, uint32_t *count, fg_error *err);

// Device `number`; fails where there is none, or where kernels could not run on it.
fg_status fg_opencl_choose(const fg_opencl_api *cl, uint32_t number, fg_opencl_info *out, fg_error *err);

#endif
