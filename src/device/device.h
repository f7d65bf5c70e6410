// device.h: something that has memory and computes.
//
// The engine knows devices only through this: memory that perhaps only the device can read, in-order
// queues that perhaps run later, and events to order them. Nothing may be assumed done when a call
// returns, and device memory is reached by upload and download alone, unless the device says that
// the host may dereference it (host_pointer). The CPU is a device whose memory is host memory and whose
// queues run at once. The fake device (FG_DEVICE "fake") has an address space and a thread of its own,
// so that code which assumes too much fails in tests.
//
// Threads: one owner.
#ifndef FG_DEVICE_DEVICE_H
#define FG_DEVICE_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/budget.h"
#include "base/threads.h"
#include "base/trace.h"
#include "device/op.h"
#include "flexgen/error.h"
#include "machine/simulation.h"

typedef struct fg_device fg_device;

typedef enum fg_queue { FG_QUEUE_COMPUTE, FG_QUEUE_LOAD, FG_QUEUE_STORE, FG_QUEUE_COUNT } fg_queue;

// A point in a queue: reached when all that was enqueued before it is done.
typedef struct fg_event {
  fg_queue queue;
  uint64_t value; // 0 = always reached
} fg_event;

// The arithmetic of dense products. f32 is the reference: stored weights are expanded exactly. int8
// multiplies quantized weights in their own bits, and all others as bf16 does.
typedef enum fg_compute { FG_COMPUTE_F32, FG_COMPUTE_BF16, FG_COMPUTE_INT8 } fg_compute;

typedef struct fg_device_options {
  fg_compute compute;
  uint32_t max_rows;       // largest number of rows of a call: scratch is sized and charged by it
  uint32_t max_width;      // largest k, n and register width
  uint32_t max_k;          // largest k of a product, which is what scratch grows with; 0 = max_width
  uint32_t max_head_dim;   // largest k_dim and v_dim of a cache; 0 = 256
  uint32_t sparse_heads;   // of queries that share a KV head, where attention may be sparse; 0 = it never is
  uint32_t sparse_context; // the most keys that such a query sees
  fg_budget *host;         // pays for scratch in host memory
  fg_budget *memory;       // pays for device memory (the CPU: the same as host)
  fg_threads *threads;     // for devices that compute on the CPU
  uint32_t number;         // of its kind; set by fg_device_create
  fg_trace *trace;
  fg_simulation *simulation; // of the simulated device, NULL for all others
} fg_device_options;

// Bytes of values in the cache that queries of sparse attention see, and of these, what none of those that
// share a KV head reads.
typedef struct fg_sparse_counts {
  uint64_t value_bytes, spared_bytes;
} fg_sparse_counts;

static inline fg_sparse_counts fg_sparse_counts_sum(fg_sparse_counts a, fg_sparse_counts b) {
  return (fg_sparse_counts){a.value_bytes + b.value_bytes, a.spared_bytes + b.spared_bytes};
}

struct fg_device_ops {
  const char *name; // of its kind
  fg_status (*memory_create)(fg_device *d, uint64_t bytes, const char *what, fg_memory **out, fg_error *err);
  void (*memory_destroy)(fg_device *d, fg_memory *m);
  void *(*host_pointer)(fg_device *d, fg_memory *m); // NULL: the host cannot reach it
  // Host memory that the device copies from and to by itself; NULL: any will do.
  fg_status (*host_create)(fg_device *d, uint64_t bytes, const char *what, void **out, fg_error *err);
  void (*host_destroy)(fg_device *d, void *block);
  // host must stay as it is until the queue has passed.
  fg_status (*upload)(fg_device *d, fg_queue q, fg_memory *m, uint64_t offset, const void *host,
                      uint64_t bytes, fg_error *err);
  fg_status (*download)(fg_device *d, fg_queue q, fg_memory *m, uint64_t offset, void *host, uint64_t bytes,
                        fg_error *err);
  fg_status (*run)(fg_device *d, fg_queue q, const fg_call *call, fg_error *err);
  // The CPU attends in host memory (kv_host.h of the engine), and the caller waits. NULL: as the host does.
  fg_status (*host_run)(fg_device *d, const fg_call *call, fg_error *err);
  fg_event (*record)(fg_device *d, fg_queue q);
  fg_status (*queue_wait)(fg_device *d, fg_queue q, fg_event event,
                          fg_error *err); // q waits, the caller does not
  fg_status (*host_wait)(fg_device *d, fg_event event,
                         fg_error *err); // also reports a failed earlier command
  bool (*reached)(fg_device *d, fg_event event);
  fg_sparse_counts (*sparse_counts)(fg_device *d); // of what has run so far
  void (*destroy)(fg_device *d);
};

struct fg_device {
  const struct fg_device_ops *ops;
  const fg_layout_family *family; // the layouts that its kernels read
  // A set of fg_cpu_feature: CPU kernels with these leave states of attention with which its own go on, bit
  // for bit.
  uint32_t host_features;
  fg_device_options options;
};

// Kinds of devices are rows of a table in device.c. `name` as on the command line: "cpu", "fake", "opencl",
// "opencl:1".
fg_status fg_device_create(fg_device **out, const char *name, const fg_device_options *options,
                           fg_error *err);
void fg_device_destroy(fg_device *device);

// What creating a device will charge, for planning: scratch in host memory, by the same options.
uint64_t fg_device_scratch_bytes(const char *name, const fg_device_options *options);
// The layouts it will read, before it exists; NULL for an unknown name.
const fg_layout_family *fg_device_family(const char *name);

// Whether its memory is host memory, so that both tiers share one budget; false for an unknown name.
bool fg_device_in_host_memory(const char *name);
// Whether it computes in float32 whatever is asked for.
bool fg_device_only_f32(const char *name);
// Whether it has kernels for sparse attention (fg_device_options.sparse_heads).
bool fg_device_can_be_sparse(const char *name);

// What is known of a device before it exists.
typedef struct fg_device_found {
  uint64_t memory;    // of one that has its own and knows how much; else 0
  char identity[192]; // what its bits depend on beside its name: ", model, driver"; "" for the CPU
} fg_device_found;

// Fails, and says what there is, where there is no such device.
fg_status fg_device_find(const char *name, fg_device_found *out, fg_error *err);

// Host memory for what crosses to the device and back: a block as of fg_budget_alloc, of the device's
// options.host. Copies from other memory are right too, but may keep the host waiting.
fg_status fg_device_host_create(fg_device *device, uint64_t bytes, const char *what, void **out,
                                fg_error *err);
void fg_device_host_destroy(fg_device *device, void *block); // NULL is allowed

// Short forms.
static inline void *fg_device_host_pointer(fg_device *d, fg_memory *m) {
  return d->ops->host_pointer(d, m);
}

#endif
