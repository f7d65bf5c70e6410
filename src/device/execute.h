// execute.h: runs calls at once on memory of this process, by CPU kernels; what the CPU device and the
// fake device share.
//
// The executor resolves a call's views into pointers, checks that they lie within their memory and that the
// numbers of tokens, pages and slots do too, and splits the work over a team of threads. Scratch is
// allocated when it is created.
//
// Threads: one owner.
#ifndef FG_DEVICE_EXECUTE_H
#define FG_DEVICE_EXECUTE_H

#include "device/device.h"

// Memory of the devices that compute on the CPU.
struct fg_memory {
  uint8_t *base;
  uint64_t bytes;
};

fg_status fg_cpu_memory_create(fg_budget *budget, uint64_t bytes, const char *what, fg_memory **out,
                               fg_error *err);
void fg_cpu_memory_destroy(fg_budget *budget, fg_memory *m);

typedef struct fg_cpu_executor fg_cpu_executor;

// `features` choose the kernels (a set of fg_cpu_feature; 0 = reference). options.threads may be NULL.
fg_status fg_cpu_executor_create(fg_cpu_executor **out, const fg_device_options *options, uint32_t features,
                                 fg_error *err);
void fg_cpu_executor_destroy(fg_cpu_executor *e);
uint64_t fg_cpu_executor_scratch_bytes(const fg_device_options *options, uint32_t features);

// May be asked by any thread.
fg_sparse_counts fg_cpu_executor_sparse_counts(fg_cpu_executor *e);

fg_status fg_cpu_executor_run(fg_cpu_executor *e, const fg_call *call, fg_error *err);
// Copies of host bytes into memory and back; they fail when the range is not within it.
fg_status fg_cpu_executor_copy_in(fg_memory *m, uint64_t offset, const void *host, uint64_t bytes,
                                  fg_error *err);
fg_status fg_cpu_executor_copy_out(fg_memory *m, uint64_t offset, void *host, uint64_t bytes, fg_error *err);

#endif
