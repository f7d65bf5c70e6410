#include "device/opencl_list.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/list.h"
#include "device/xpu/call.h"

enum {
  MOST_PLATFORMS = 16,
  LEAST_LANES = XPU_PRODUCT_LANES,
  LEAST_LOCAL_MEMORY = 24 << 10, // a product's tiles, attention's weights, a choice among experts
};

static void platform_text(const fg_opencl_api *cl, cl_platform_id id, cl_platform_info what, char *out,
                          size_t size) {
  if (cl->clGetPlatformInfo(id, what, size - 1, out, NULL) != CL_SUCCESS) out[0] = 0;
  out[size - 1] = 0;
}

static void device_text(const fg_opencl_api *cl, cl_device_id id, cl_device_info what, char *out,
                        size_t size) {
  if (cl->clGetDeviceInfo(id, what, size - 1, out, NULL) != CL_SUCCESS) out[0] = 0;
  out[size - 1] = 0;
}

static uint64_t device_number(const fg_opencl_api *cl, cl_device_id id, cl_device_info what, size_t size) {
  uint64_t number = 0; // little-endian: a shorter number fills its low bytes
  return cl->clGetDeviceInfo(id, what, size, &number, NULL) == CL_SUCCESS ? number : 0;
}

static fg_opencl_info describe(const fg_opencl_api *cl, cl_platform_id platform, cl_device_id id) {
  fg_opencl_info d = {.platform = platform, .device = id};
  platform_text(cl, platform, CL_PLATFORM_NAME, d.platform_name, sizeof d.platform_name);
  platform_text(cl, platform, CL_PLATFORM_VERSION, d.platform_version, sizeof d.platform_version);
  device_text(cl, id, CL_DEVICE_NAME, d.name, sizeof d.name);
  device_text(cl, id, CL_DRIVER_VERSION, d.driver, sizeof d.driver);
  d.is_cpu = (device_number(cl, id, CL_DEVICE_TYPE, sizeof(cl_device_type)) & CL_DEVICE_TYPE_CPU) != 0;
  d.units = (uint32_t)device_number(cl, id, CL_DEVICE_MAX_COMPUTE_UNITS, sizeof(cl_uint));
  d.most_lanes = (uint32_t)device_number(cl, id, CL_DEVICE_MAX_WORK_GROUP_SIZE, sizeof(size_t));
  d.memory = device_number(cl, id, CL_DEVICE_GLOBAL_MEM_SIZE, sizeof(cl_ulong));
  d.most_block = device_number(cl, id, CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof(cl_ulong));
  d.local_memory = device_number(cl, id, CL_DEVICE_LOCAL_MEM_SIZE, sizeof(cl_ulong));
  const uint64_t config = device_number(cl, id, CL_DEVICE_SINGLE_FP_CONFIG, sizeof(cl_device_fp_config));
  d.exact_division = (config & CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT) != 0;
  return d;
}

fg_status fg_opencl_list(const fg_opencl_api *cl, fg_opencl_info *out, uint32_t *count, fg_error *err) {
  cl_platform_id platforms[MOST_PLATFORMS];
  cl_uint platform_count = 0;
  *count = 0;
  const cl_int code = cl->clGetPlatformIDs(MOST_PLATFORMS, platforms, &platform_count);
  const cl_int no_platform = -1001; // of the loader (cl_khr_icd)
  if (code == no_platform) return FG_OK;
  if (code != CL_SUCCESS)
    return fg_fail(err, FG_UNSUPPORTED, "OpenCL platforms cannot be listed: %s (%d)", fg_opencl_error(code),
                   (int)code);
  if (platform_count > MOST_PLATFORMS) platform_count = MOST_PLATFORMS;
  for (cl_uint p = 0; p < platform_count; p++) {
    cl_device_id devices[FG_OPENCL_MOST_DEVICES];
    cl_uint n = 0, room = FG_OPENCL_MOST_DEVICES - *count;
    if (room == 0) break;
    // A platform without devices says so by an error.
    if (cl->clGetDeviceIDs(platforms[p], CL_DEVICE_TYPE_ALL, room, devices, &n) != CL_SUCCESS) continue;
    for (cl_uint d = 0; d < n && d < room; d++) out[(*count)++] = describe(cl, platforms[p], devices[d]);
  }
  return FG_OK;
}

static fg_status check_usable(const fg_opencl_info *d, fg_error *err) {
  if (d->most_lanes >= LEAST_LANES && d->local_memory >= LEAST_LOCAL_MEMORY) return FG_OK;
  return fg_fail(err, FG_UNSUPPORTED,
                 "%s has groups of %" PRIu32 " lanes and %" PRIu64
                 " bytes of local memory; %d and %d are wanted",
                 d->name, d->most_lanes, d->local_memory, LEAST_LANES, LEAST_LOCAL_MEMORY);
}

fg_status fg_opencl_choose(const fg_opencl_api *cl, uint32_t number, fg_opencl_info *out, fg_error *err) {
  fg_opencl_info *all = malloc(FG_OPENCL_MOST_DEVICES * sizeof *all);
  uint32_t count = 0;
  if (!all) return fg_fail(err, FG_NO_SPACE, "no memory for a list of devices");
  fg_status status = fg_opencl_list(cl, all, &count, err);
  if (status == FG_OK && number >= count)
    status = fg_fail(err, FG_NOT_FOUND,
                     "there is no device opencl:%" PRIu32 " among %" PRIu32
                     " of OpenCL; a driver may be missing; flexgen devices lists what there is",
                     number, count);
  if (status == FG_OK) *out = all[number];
  free(all);
  return status == FG_OK ? check_usable(out, err) : status;
}

// ---- for people ------------------------------------------------------------------------------------------

static void copy_text(char *to, size_t size, const char *from) {
  snprintf(to, size, "%.*s", (int)size - 1, from);
}

static void describe_entry(fg_device_entry *out, const fg_opencl_info *d, uint32_t number) {
  fg_error why;
  *out = (fg_device_entry){.kind = "opencl",
                           .memory = d->memory,
                           .most_block = d->most_block,
                           .units = d->units,
                           .in_host_memory = d->is_cpu};
  snprintf(out->name, sizeof out->name, "opencl:%" PRIu32, number);
  copy_text(out->model, sizeof out->model, d->name);
  copy_text(out->platform, sizeof out->platform, d->platform_name);
  copy_text(out->driver, sizeof out->driver, d->driver);
  if (check_usable(d, &why) != FG_OK) copy_text(out->unusable, sizeof out->unusable, why.message);
}

fg_status fg_device_list_opencl(fg_device_entry *out, uint32_t *count, fg_error *err) {
  fg_opencl_api cl;
  fg_opencl_info *all = malloc(FG_OPENCL_MOST_DEVICES * sizeof *all);
  *count = 0;
  if (!all) return fg_fail(err, FG_NO_SPACE, "no memory for a list of devices");
  fg_status status = fg_opencl_load(&cl, err);
  if (status == FG_OK) status = fg_opencl_list(&cl, all, count, err);
  for (uint32_t i = 0; status == FG_OK && i < *count; i++) describe_entry(&out[i], &all[i], i);
  free(all);
  return status;
}
