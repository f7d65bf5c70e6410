// measure_internal.h: what the files that measure share.
#ifndef FG_PROFILE_MEASURE_INTERNAL_H
#define FG_PROFILE_MEASURE_INTERNAL_H

#include "base/typical.h"
#include "device/device.h"
#include "profile/measure.h"

enum { FG_TAKER_COMPUTES = FG_COMPUTE_INT8 + 1, FG_TAKER_ROWS = 2048, FG_TAKER_WIDTH = 8192 };

// Everything that measurements need, opened once.
typedef struct fg_taker {
  const fg_profile_options *options;
  fg_profile *out;
  fg_budget *budget;
  fg_threads *threads;
  fg_device *devices[FG_TAKER_COMPUTES]; // on the CPU all share host memory
  // One block: weights or a cache. Larger than the caches if memory allows.
  fg_memory *pool;
  uint8_t *pool_host;
  uint64_t pool_bytes;
  fg_memory *x, *y;  // [FG_TAKER_ROWS, FG_TAKER_WIDTH] f32
  fg_memory *small;  // page tables, or a row
  uint64_t slice_ns; // that a figure may take
} fg_taker;

typedef struct fg_file_system {
  char name[32]; // "ext4"
  uint64_t bytes;
} fg_file_system;
bool fg_file_system_of(const char *folder,
                       fg_file_system *out); // false, with errno, if it cannot be looked at

fg_status fg_taker_tell(const fg_taker *t, const char *what, double share, fg_error *err);
// Runs a call and waits for it; adds its time to *ns.
fg_status fg_taker_run(const fg_taker *t, fg_compute compute, const fg_call *call, uint64_t *ns,
                       fg_error *err);
fg_status fg_taker_memory(const fg_taker *t, uint64_t bytes, fg_memory **out, fg_error *err);

fg_status fg_measure_products(fg_taker *t, fg_error *err);
fg_status fg_measure_layers(fg_taker *t, fg_error *err); // after the products
fg_status fg_measure_attentions(fg_taker *t, fg_error *err);
fg_status fg_measure_rows(fg_taker *t, fg_error *err);
fg_status fg_measure_memory(fg_taker *t, fg_error *err);
fg_status fg_measure_disk(fg_taker *t, fg_error *err);

// One product of codes with enough rows to be bound by arithmetic: what reading disturbs. Values of weights
// times rows a second, for `ns`; `turn` is called between calls and may be NULL.
typedef void fg_measure_turn(void *user);
fg_status fg_measure_product_rate(fg_taker *t, uint64_t ns, fg_measure_turn *turn, void *user, double *rate,
                                  fg_error *err);

#endif
