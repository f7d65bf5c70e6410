// store_bench.h: a small store of panels that are known, and a device to bring them to.
//
// A test's own bench has this one as `base` and is called `b`; how the store is written is the test's.
#ifndef FG_TESTS_STORE_BENCH_H
#define FG_TESTS_STORE_BENCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/threads.h"
#include "device/device.h"
#include "format/store.h"
#include "io/io.h"

typedef struct store_bench {
  char path[64];
  fg_budget *host, *memory;
  fg_threads *threads;
  fg_io *io;
  fg_store *store;
  fg_device *device;
  fg_error err;
} store_bench;

#define must(call)                                                                                           \
  do {                                                                                                       \
    if ((call) != FG_OK) fail_msg("%s", b->base.err.message);                                                \
  } while (0)

// All but store and device, which wait for what is written.
static inline fg_status store_bench_make(store_bench *b) {
  snprintf(b->path, sizeof b->path, "/tmp/fg-bench-%d.fgstore", (int)getpid());
  fg_status status = fg_budget_create(&b->host, "host memory", "--host-memory", 0, &b->err);
  if (!status) status = fg_budget_create(&b->memory, "device memory", "--device-memory", 0, &b->err);
  if (!status) status = fg_threads_create(&b->threads, 2, &b->err);
  return status ? status : fg_io_create(&b->io, &(fg_io_options){.budget = b->host}, &b->err);
}

static inline fg_status store_bench_open(store_bench *b, const char *device, uint32_t max_width) {
  fg_device_options options = {
      .max_rows = 16, .max_width = max_width, .host = b->host, .memory = b->memory, .threads = b->threads};
  fg_status status = fg_store_open(&b->store, b->path, &b->err);
  return status ? status : fg_device_create(&b->device, device, &options, &b->err);
}

// Everything that was taken of either memory must have been given back.
static inline void store_bench_close(store_bench *b) {
  fg_device_destroy(b->device);
  fg_store_close(b->store);
  fg_io_destroy(b->io);
  fg_threads_destroy(b->threads);
  assert_int_equal(fg_budget_used(b->host), 0);
  assert_int_equal(fg_budget_used(b->memory), 0);
  fg_budget_destroy(b->host);
  fg_budget_destroy(b->memory);
  unlink(b->path);
}

#endif
