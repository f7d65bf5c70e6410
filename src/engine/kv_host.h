// kv_host.h: attention on the CPU over pages of the KV cache that are not where the device computes.
//
// The oldest pages of a sequence are in host memory, or come there from disk, and stay: its queries come to
// the host, the CPU attends to these pages, and the state of each query (output, maximum, sum) goes to the
// device, which goes on with the pages that it has. The chain over the keys is the same, cut at a place that
// no bit depends on, as long as both sides' kernels are (fg_device.host_features).
//
// A run of rows goes there and back by itself, so that the device goes on with one while the CPU attends for
// the next. All rows keep their numbers in the copies.
//
// Threads: one owner, the KV cache.
#ifndef FG_ENGINE_KV_HOST_H
#define FG_ENGINE_KV_HOST_H

#include "device/device.h"
#include "model/graph.h"
#include "plan/policy.h"

typedef struct fg_kv_host fg_kv_host;

// What crosses between the memories, in bytes.
typedef struct fg_kv_crossing {
  uint64_t queries, states; // of attention on the CPU, there and back
  uint64_t pages;           // old ones, copied to the device
  uint64_t spared;          // that need not be, since the CPU attends to them
} fg_kv_crossing;

static inline fg_kv_crossing fg_kv_crossing_sum(fg_kv_crossing a, fg_kv_crossing b) {
  return (fg_kv_crossing){a.queries + b.queries, a.states + b.states, a.pages + b.pages, a.spared + b.spared};
}

fg_status fg_kv_host_create(fg_kv_host **out, const fg_graph *graph, fg_device *device, uint32_t max_rows,
                            fg_error *err);
void fg_kv_host_destroy(fg_kv_host *h); // NULL is allowed
// What create charges: adds what grows with a step's tokens to the plan; of the rest, in host memory, by the
// device's options.
void fg_kv_host_costs(const fg_graph *graph, fg_plan_input *plan);
uint64_t fg_kv_host_scratch_bytes(const fg_device_options *device);
// Of a row in all: what goes there and back.
uint64_t fg_kv_host_row_bytes(const fg_kv_host *h);

// ---- a layer: fetch, wait, then attend ------------------------------------------------------------------

// Begins to bring queries of rows [row, row + rows) to the host; `attention` is the layer's call for all
// rows.
fg_status fg_kv_host_fetch(fg_kv_host *h, const fg_call *attention, uint32_t row, uint32_t rows,
                           fg_error *err);
fg_status fg_kv_host_wait(fg_kv_host *h, fg_error *err); // until all that was fetched is there

// Keys [0, end) of rows that follow each other are pages of the host. `batch` is the device's call for a
// batch whose rows begin with row `first` of the layer's, cut to the chunks of these rows, and has a state.
typedef struct fg_kv_host_run {
  const fg_call *batch;
  uint32_t first, row, rows;       // [row, row + rows) within the batch
  uint32_t end;                    // a multiple of FG_KEY_BLOCK
  fg_view cache;                   // of the layer, in host memory
  fg_view chunk_list, page_tables; // of the run, in host memory
} fg_kv_host_run;

// Attends, and enqueues the rest of the run's attention on the device.
fg_status fg_kv_host_attend(fg_kv_host *h, const fg_kv_host_run *run, fg_error *err);

fg_kv_crossing fg_kv_host_crossing(const fg_kv_host *h); // queries and states

#endif
