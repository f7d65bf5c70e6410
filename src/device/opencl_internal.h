// opencl_internal.h: what the files of the OpenCL device share.
#ifndef FG_DEVICE_OPENCL_INTERNAL_H
#define FG_DEVICE_OPENCL_INTERNAL_H

#include "device/device.h"
#include "device/opencl_program.h"
#include "device/xpu/call.h"

// Memory of this device.
struct fg_memory {
  cl_mem buffer;
  uint64_t bytes;
};

enum { FG_OPENCL_OPERANDS = 10 };

// What a call becomes: a kernel, its lanes and what it is told.
typedef struct fg_launch {
  fg_xpu_source source;
  char options[96]; // of the program
  const char *name;
  size_t groups[2]; // of `lanes`; 0: nothing to do
  size_t lanes;
  bool checks; // numbers in device memory, and may report bad ones
  // Operands in the order of XPU_PARAMETERS; NULL = absent.
  const fg_memory *memories[FG_OPENCL_OPERANDS];
  xpu_call call;
} fg_launch;

// Checks the call's operands against their memory, as far as the host can know.
fg_status fg_opencl_plan_launch(fg_launch *out, const fg_device_options *options, const fg_call *call,
                                fg_error *err);

#endif
