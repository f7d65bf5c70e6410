// counting_opencl.h: OpenCL's functions between the device and the driver (test_opencl_trouble links them in
// by
// --wrap): they count what is made and given back, and can fail one call.
#ifndef FG_TESTS_DEVICE_COUNTING_OPENCL_H
#define FG_TESTS_DEVICE_COUNTING_OPENCL_H

#include <stdatomic.h>
#include <stdbool.h>

#include "device/opencl_api.h"

typedef enum counted {
  COUNTED_CONTEXT,
  COUNTED_QUEUE,
  COUNTED_BUFFER,
  COUNTED_PROGRAM,
  COUNTED_KERNEL,
  COUNTED_EVENT,
  COUNTED_MAP,
  COUNTED_KINDS
} counted;

static fg_opencl_api real;
static atomic_int live[COUNTED_KINDS], calls;
static int failing; // the call of this number, of those that can fail; 0: none
static bool broken; // it came

static void fail_at(int call) {
  calls = 0;
  broken = false;
  failing = call;
}

static bool fails(void) {
  if (atomic_fetch_add(&calls, 1) + 1 != failing) return false;
  broken = true;
  return true;
}

static void made(counted kind, bool success) {
  if (success) live[kind]++;
}

enum { BROKEN = CL_OUT_OF_RESOURCES };

// ---- what cannot fail, or need not ------------------------------------------------------------------------

static cl_int count_clGetPlatformIDs(cl_uint n, cl_platform_id *ids, cl_uint *count) {
  return fails() ? BROKEN : real.clGetPlatformIDs(n, ids, count);
}
static cl_int count_clGetPlatformInfo(cl_platform_id id, cl_platform_info what, size_t size, void *out,
                                      size_t *used) {
  return real.clGetPlatformInfo(id, what, size, out, used);
}
static cl_int count_clGetDeviceIDs(cl_platform_id id, cl_device_type type, cl_uint n, cl_device_id *ids,
                                   cl_uint *count) {
  return real.clGetDeviceIDs(id, type, n, ids, count);
}
static cl_int count_clGetDeviceInfo(cl_device_id id, cl_device_info what, size_t size, void *out,
                                    size_t *used) {
  return real.clGetDeviceInfo(id, what, size, out, used);
}
static cl_int count_clFlush(cl_command_queue q) {
  return fails() ? BROKEN : real.clFlush(q);
}
static cl_int count_clFinish(cl_command_queue q) {
  return fails() ? BROKEN : real.clFinish(q);
}
static cl_int count_clWaitForEvents(cl_uint n, const cl_event *events) {
  const cl_int code = real.clWaitForEvents(n, events);
  return fails() ? BROKEN : code;
}
static cl_int count_clGetEventInfo(cl_event e, cl_event_info what, size_t size, void *out, size_t *used) {
  return fails() ? BROKEN : real.clGetEventInfo(e, what, size, out, used);
}
static cl_int count_clGetEventProfilingInfo(cl_event e, cl_profiling_info what, size_t size, void *out,
                                            size_t *used) {
  return fails() ? BROKEN : real.clGetEventProfilingInfo(e, what, size, out, used);
}
static cl_int count_clBuildProgram(cl_program p, cl_uint n, const cl_device_id *ids, const char *options,
                                   void(CL_CALLBACK *notify)(cl_program, void *), void *user) {
  return fails() ? BROKEN : real.clBuildProgram(p, n, ids, options, notify, user);
}
static cl_int count_clGetProgramBuildInfo(cl_program p, cl_device_id id, cl_program_build_info what,
                                          size_t size, void *out, size_t *used) {
  return fails() ? BROKEN : real.clGetProgramBuildInfo(p, id, what, size, out, used);
}
static cl_int count_clGetProgramInfo(cl_program p, cl_program_info what, size_t size, void *out,
                                     size_t *used) {
  return fails() ? BROKEN : real.clGetProgramInfo(p, what, size, out, used);
}
static cl_int count_clSetKernelArg(cl_kernel k, cl_uint i, size_t size, const void *value) {
  return fails() ? BROKEN : real.clSetKernelArg(k, i, size, value);
}

// ---- what is made ----------------------------------------------------------------------------------------

// A result by return value, a code by pointer.
#define MAKE(kind, result, call)                                                                             \
  do {                                                                                                       \
    if (fails()) {                                                                                           \
      *code = BROKEN;                                                                                        \
      return NULL;                                                                                           \
    }                                                                                                        \
    result = call;                                                                                           \
    made(kind, *code == CL_SUCCESS);                                                                         \
    return result;                                                                                           \
  } while (0)

static cl_context count_clCreateContext(const cl_context_properties *properties, cl_uint n,
                                        const cl_device_id *ids,
                                        void(CL_CALLBACK *notify)(const char *, const void *, size_t, void *),
                                        void *user, cl_int *code) {
  cl_context context;
  MAKE(COUNTED_CONTEXT, context, real.clCreateContext(properties, n, ids, notify, user, code));
}
static cl_command_queue count_clCreateCommandQueue(cl_context context, cl_device_id id,
                                                   cl_command_queue_properties properties, cl_int *code) {
  cl_command_queue queue;
  MAKE(COUNTED_QUEUE, queue, real.clCreateCommandQueue(context, id, properties, code));
}
static cl_mem count_clCreateBuffer(cl_context context, cl_mem_flags flags, size_t size, void *host,
                                   cl_int *code) {
  cl_mem buffer;
  MAKE(COUNTED_BUFFER, buffer, real.clCreateBuffer(context, flags, size, host, code));
}
static cl_program count_clCreateProgramWithSource(cl_context context, cl_uint n, const char **texts,
                                                  const size_t *lengths, cl_int *code) {
  cl_program program;
  MAKE(COUNTED_PROGRAM, program, real.clCreateProgramWithSource(context, n, texts, lengths, code));
}
static cl_program count_clCreateProgramWithBinary(cl_context context, cl_uint n, const cl_device_id *ids,
                                                  const size_t *lengths, const unsigned char **binaries,
                                                  cl_int *each, cl_int *code) {
  cl_program program;
  MAKE(COUNTED_PROGRAM, program,
       real.clCreateProgramWithBinary(context, n, ids, lengths, binaries, each, code));
}
static cl_kernel count_clCreateKernel(cl_program p, const char *name, cl_int *code) {
  cl_kernel kernel;
  MAKE(COUNTED_KERNEL, kernel, real.clCreateKernel(p, name, code));
}

// A command with an event.
#define ENQUEUE(call)                                                                                        \
  do {                                                                                                       \
    if (fails()) return BROKEN;                                                                              \
    const cl_int code = call;                                                                                \
    made(COUNTED_EVENT, event &&code == CL_SUCCESS);                                                         \
    return code;                                                                                             \
  } while (0)

static cl_int count_clEnqueueWriteBuffer(cl_command_queue q, cl_mem m, cl_bool blocking, size_t offset,
                                         size_t size, const void *host, cl_uint n, const cl_event *after,
                                         cl_event *event) {
  ENQUEUE(real.clEnqueueWriteBuffer(q, m, blocking, offset, size, host, n, after, event));
}
static cl_int count_clEnqueueReadBuffer(cl_command_queue q, cl_mem m, cl_bool blocking, size_t offset,
                                        size_t size, void *host, cl_uint n, const cl_event *after,
                                        cl_event *event) {
  ENQUEUE(real.clEnqueueReadBuffer(q, m, blocking, offset, size, host, n, after, event));
}
static cl_int count_clEnqueueFillBuffer(cl_command_queue q, cl_mem m, const void *pattern,
                                        size_t pattern_size, size_t offset, size_t size, cl_uint n,
                                        const cl_event *after, cl_event *event) {
  ENQUEUE(real.clEnqueueFillBuffer(q, m, pattern, pattern_size, offset, size, n, after, event));
}
static cl_int count_clEnqueueNDRangeKernel(cl_command_queue q, cl_kernel k, cl_uint dimensions,
                                           const size_t *offset, const size_t *all, const size_t *group,
                                           cl_uint n, const cl_event *after, cl_event *event) {
  ENQUEUE(real.clEnqueueNDRangeKernel(q, k, dimensions, offset, all, group, n, after, event));
}
static cl_int count_clEnqueueBarrierWithWaitList(cl_command_queue q, cl_uint n, const cl_event *after,
                                                 cl_event *event) {
  ENQUEUE(real.clEnqueueBarrierWithWaitList(q, n, after, event));
}
static void *count_clEnqueueMapBuffer(cl_command_queue q, cl_mem m, cl_bool blocking, cl_map_flags flags,
                                      size_t offset, size_t size, cl_uint n, const cl_event *after,
                                      cl_event *event, cl_int *code) {
  void *mapped;
  MAKE(COUNTED_MAP, mapped,
       real.clEnqueueMapBuffer(q, m, blocking, flags, offset, size, n, after, event, code));
}
static cl_int count_clEnqueueUnmapMemObject(cl_command_queue q, cl_mem m, void *mapped, cl_uint n,
                                            const cl_event *after, cl_event *event) {
  live[COUNTED_MAP]--;
  return real.clEnqueueUnmapMemObject(q, m, mapped, n, after, event);
}

// ---- and given back --------------------------------------------------------------------------------------

static cl_int count_clReleaseContext(cl_context context) {
  live[COUNTED_CONTEXT]--;
  return real.clReleaseContext(context);
}
static cl_int count_clReleaseCommandQueue(cl_command_queue q) {
  live[COUNTED_QUEUE]--;
  return real.clReleaseCommandQueue(q);
}
static cl_int count_clReleaseMemObject(cl_mem m) {
  live[COUNTED_BUFFER]--;
  return real.clReleaseMemObject(m);
}
static cl_int count_clReleaseProgram(cl_program p) {
  live[COUNTED_PROGRAM]--;
  return real.clReleaseProgram(p);
}
static cl_int count_clReleaseKernel(cl_kernel k) {
  live[COUNTED_KERNEL]--;
  return real.clReleaseKernel(k);
}
static cl_int count_clReleaseEvent(cl_event e) {
  live[COUNTED_EVENT]--;
  return real.clReleaseEvent(e);
}

// ---- in place of the library ------------------------------------------------------------------------------

fg_status __real_fg_opencl_load(fg_opencl_api *out, fg_error *err);
fg_status __wrap_fg_opencl_load(fg_opencl_api *out, fg_error *err);

fg_status __wrap_fg_opencl_load(fg_opencl_api *out, fg_error *err) {
#define COUNTED(name) .name = count_##name,
  static const fg_opencl_api counting = {FG_OPENCL_FUNCTIONS(COUNTED)};
#undef COUNTED
  fg_status status = __real_fg_opencl_load(&real, err);
  *out = counting;
  return status;
}

#endif
