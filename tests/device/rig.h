// rig.h: a device with its budgets and threads, and float arrays on it, for the tests of this folder.
#ifndef FG_TESTS_DEVICE_RIG_H
#define FG_TESTS_DEVICE_RIG_H

#include <stdlib.h>
#include <string.h>

#include "../kernels/random.h"
#include "device/device.h"

typedef struct rig {
  fg_budget *host, *memory;
  fg_threads *threads;
  fg_device *device;
} rig;

static inline fg_device_options rig_options(const rig *r, fg_compute compute) {
  return (fg_device_options){.compute = compute,
                             .max_rows = 200,
                             .max_width = 512,
                             .max_k = 256,
                             .max_head_dim = 128,
                             .sparse_heads = 3,
                             .sparse_context = 100,
                             .host = r->host,
                             .memory = r->memory,
                             .threads = r->threads};
}

// OpenCL devices are tested where there is one: on a CPU's driver (PoCL) as on a GPU's.
static inline bool opencl_is_there(void) {
  fg_device_found found;
  return fg_device_find("opencl", &found, NULL) == FG_OK;
}

static inline rig make_rig(const char *device, uint32_t threads, fg_compute compute) {
  rig r;
  fg_error err;
  assert_int_equal(fg_budget_create(&r.host, "host memory", "--host-memory", 0, NULL), FG_OK);
  assert_int_equal(fg_budget_create(&r.memory, "device memory", "--device-memory", 8 << 20, NULL), FG_OK);
  assert_int_equal(fg_threads_create(&r.threads, threads, NULL), FG_OK);
  fg_device_options options = rig_options(&r, compute);
  if (!fg_device_can_be_sparse(device)) options.sparse_heads = 0;
  if (fg_device_create(&r.device, device, &options, &err)) fail_msg("%s", err.message);
  return r;
}

static inline void drop_rig(rig *r) {
  fg_device_destroy(r->device);
  assert_int_equal(fg_budget_used(r->host), 0);
  assert_int_equal(fg_budget_used(r->memory), 0);
  fg_threads_destroy(r->threads);
  fg_budget_destroy(r->memory);
  fg_budget_destroy(r->host);
}

static inline void must(fg_status status, const fg_error *err) {
  if (status) fail_msg("%s", err->message);
}

static inline fg_memory *make_memory(rig *r, uint64_t bytes) {
  fg_memory *m = NULL;
  fg_error err;
  must(r->device->ops->memory_create(r->device, bytes, "test", &m, &err), &err);
  return m;
}

static inline void drop_memory(rig *r, fg_memory *m) {
  r->device->ops->memory_destroy(r->device, m);
}

static inline void wait_queue(rig *r, fg_queue q) {
  fg_error err;
  must(r->device->ops->host_wait(r->device, r->device->ops->record(r->device, q), &err), &err);
}

// New memory with a copy of the host's bytes.
static inline fg_memory *put(rig *r, const void *host, uint64_t bytes) {
  fg_memory *m = make_memory(r, bytes);
  fg_error err;
  must(r->device->ops->upload(r->device, FG_QUEUE_COMPUTE, m, 0, host, bytes, &err), &err);
  wait_queue(r, FG_QUEUE_COMPUTE);
  return m;
}

// Copies memory back and destroys it.
static inline void take(rig *r, fg_memory *m, void *host, uint64_t bytes) {
  fg_error err;
  must(r->device->ops->download(r->device, FG_QUEUE_COMPUTE, m, 0, host, bytes, &err), &err);
  wait_queue(r, FG_QUEUE_COMPUTE);
  drop_memory(r, m);
}

static inline fg_view view_of(fg_memory *m, uint32_t stride) {
  return (fg_view){.memory = m, .stride = stride};
}

// Runs a call that must succeed.
static inline void run_call(rig *r, const fg_call *call) {
  fg_error err;
  must(r->device->ops->run(r->device, FG_QUEUE_COMPUTE, call, &err), &err);
  wait_queue(r, FG_QUEUE_COMPUTE);
}

// Runs a call that must fail; whether run or host_wait reports it is the device's choice.
static inline fg_status run_failing(rig *r, const fg_call *call, fg_error *err) {
  fg_status status = r->device->ops->run(r->device, FG_QUEUE_COMPUTE, call, err);
  if (status) return status;
  return r->device->ops->host_wait(r->device, r->device->ops->record(r->device, FG_QUEUE_COMPUTE), err);
}

static const char *const devices[] = {"cpu", "fake"};
enum { DEVICES = sizeof devices / sizeof *devices };

// FG_TEST_DEVICE=opencl: on this one alone (tests/CMakeLists.txt).
static inline void each_device(void (*check)(rig *r)) {
  const char *only = getenv("FG_TEST_DEVICE");
  if (only && strcmp(only, "opencl") == 0 && !opencl_is_there()) {
    print_message("no OpenCL device here (Debian: apt install pocl-opencl-icd)\n");
    skip();
  }
  for (int i = 0; i < (only ? 1 : DEVICES); i++) {
    rig r = make_rig(only ? only : devices[i], 2, FG_COMPUTE_F32);
    check(&r);
    drop_rig(&r);
  }
}

#endif
