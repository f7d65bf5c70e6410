// opencl_api.h: the OpenCL library, loaded when a device of it is asked for.
//
// Headers are needed to compile and nothing to link, so one binary runs on machines with and without OpenCL.
#ifndef FG_DEVICE_OPENCL_API_H
#define FG_DEVICE_OPENCL_API_H

#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>

#include "flexgen/error.h"

// One line a few names, which clang-format never leaves alone.
// clang-format off
#define FG_OPENCL_FUNCTIONS(X) \
  X(clGetPlatformIDs) X(clGetPlatformInfo) X(clGetDeviceIDs) X(clGetDeviceInfo) X(clCreateContext) \
  X(clReleaseContext) X(clCreateCommandQueue) X(clReleaseCommandQueue) X(clCreateBuffer) \
  X(clReleaseMemObject) X(clEnqueueWriteBuffer) X(clEnqueueReadBuffer) X(clEnqueueFillBuffer) \
  X(clEnqueueMapBuffer) X(clEnqueueUnmapMemObject) X(clEnqueueNDRangeKernel) \
  X(clEnqueueBarrierWithWaitList) X(clFlush) X(clFinish) X(clWaitForEvents) X(clGetEventInfo) \
  X(clGetEventProfilingInfo) X(clReleaseEvent) X(clCreateProgramWithSource) \
  X(clCreateProgramWithBinary) X(clBuildProgram) X(clGetProgramBuildInfo) X(clGetProgramInfo) \
  X(clReleaseProgram) X(clCreateKernel) X(clReleaseKernel) X(clSetKernelArg)
// clang-format on

typedef struct fg_opencl_api {
#define FG_OPENCL_FIELD(name) __typeof__(name) *name; // NOLINT(bugprone-macro-parentheses): a declaration
  FG_OPENCL_FUNCTIONS(FG_OPENCL_FIELD)
#undef FG_OPENCL_FIELD
} fg_opencl_api;

// Fails with FG_NOT_FOUND where there is no OpenCL library. It stays loaded: drivers have threads of their
// own.
fg_status fg_opencl_load(fg_opencl_api *out, fg_error *err);

// "out of device memory (CL_..., -4)": what a code means, for messages.
const char *fg_opencl_error(cl_int code);

#endif
