#include "device/opencl_api.h"

#include "base/shared_library.h"

#if defined(__APPLE__)
#define LIBRARY "/System/Library/Frameworks/OpenCL.framework/OpenCL"
#else
#define LIBRARY "libOpenCL.so.1"
#endif

static const fg_shared_function functions[] = {
#define FUNCTION(name) {#name, offsetof(fg_opencl_api, name)},
    FG_OPENCL_FUNCTIONS(FUNCTION)
#undef FUNCTION
};

fg_status fg_opencl_load(fg_opencl_api *out, fg_error *err) {
  static const fg_shared_library library = {
      .file = LIBRARY,
      .name = "libOpenCL.so.1",
      .advice = "the driver of the device brings it, or on Debian: apt install ocl-icd-libopencl1",
      .wanted = "OpenCL 1.2 or newer",
      .functions = functions,
      .count = sizeof functions / sizeof *functions};
  void *handle; // stays, as drivers do
  return fg_shared_library_open(&handle, &library, out, err);
}

const char *fg_opencl_error(cl_int code) {
  static const struct {
    cl_int code;
    const char *meaning;
  } codes[] = {
      {CL_DEVICE_NOT_AVAILABLE, "the device is not available"},
      {CL_MEM_OBJECT_ALLOCATION_FAILURE, "the device's memory is full"},
      {CL_OUT_OF_RESOURCES, "the device is out of resources"},
      {CL_OUT_OF_HOST_MEMORY, "the driver is out of host memory"},
      {CL_BUILD_PROGRAM_FAILURE, "the kernels do not compile"},
      {CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST, "a command failed"},
      {CL_INVALID_BUFFER_SIZE, "more than the device gives in one block"},
      {CL_INVALID_WORK_GROUP_SIZE, "the device cannot have so many lanes"},
      {CL_INVALID_BINARY, "a kept program is not for this device"},
  };
  for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
    if (codes[i].code == code) return codes[i].meaning;
  return "the driver refused";
}
