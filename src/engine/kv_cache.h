// kv_cache.h: the keys and values of all layers, on three tiers.
//
// Fast memory holds [layers][slots] pages. What has its home elsewhere (kv_places.h) is there for one layer
// at a time, while that layer attends: a step's chunks are cut into *batches*, and KV_STORE and ATTENTION of
// a batch run on a *frame*, a run of pages behind those of the layers in the same block of memory, so that
// kernels see it as pages with high numbers. In a frame stand old pages of the batch's sequences, which are
// read ahead, each once for those of its neighbours in the step that share it, and new ones that go to other
// tiers, which are written from there once they are computed.
// Frames are a ring in the order (layer, batch): the next ones are read while this one is computed, and those
// before it are written. When a step is over, so are its writes.
//
// The disk goes on while a step ends and the next is planned: frames that have nothing left to do are filled
// with what the next step's first layer will read (kv_ahead.c). What it does not read after all, because a
// sequence has ended, is dropped.
//
// Where the device has a memory of its own, the CPU may attend to the oldest pages of a sequence where they
// live, in host memory or in a frame's image in it, and hand over to the device (kv_host.h). It does so for a
// chunk whose queries and states are fewer bytes than these pages.
//
// A step whose pages are all in fast memory has no batches and costs what it would without tiers.
//
// Threads: one owner, the executor.
#ifndef FG_ENGINE_KV_CACHE_H
#define FG_ENGINE_KV_CACHE_H

#include "base/trace.h"
#include "device/device.h"
#include "engine/kv_host.h"
#include "io/io.h"
#include "model/graph.h"
#include "plan/policy.h"

typedef struct fg_kv_cache fg_kv_cache;
struct fg_kv_tokens; // kv_places.h

typedef struct fg_kv_cache_options {
  const fg_graph *graph; // kv is final: padded if there is a disk tier
  fg_device *device;
  fg_budget *host;
  fg_trace *trace;
  const fg_policy *policy;
  bool one_layer;     // all layers use the same memory, one after the other; all pages are in fast memory
  const char *folder; // for the file; unused without a disk tier
  fg_io_backend_id backend; // of its reads and writes
  bool attends_on_host; // to old pages elsewhere; without effect where the host reaches the device's memory
  bool groups;          // rows attend together to what they share in a frame; not where attention is sparse
} fg_kv_cache_options;

fg_status fg_kv_cache_create(fg_kv_cache **out, const fg_kv_cache_options *options, fg_error *err);
void fg_kv_cache_destroy(fg_kv_cache *kv); // NULL is allowed

// ---- a step: drop, add, start, layer by layer (batch by batch), finish ----------------------------------

// The pages' owner has gone.
void fg_kv_cache_drop(fg_kv_cache *kv, const uint32_t *pages, uint32_t count);

// Tokens [begin, begin + count) of a sequence that may become `longest` tokens, in rows from `row` on.
// `pages` stays as it is until the step is finished.
typedef struct fg_kv_chunk {
  const uint32_t *pages;
  uint32_t page_count, row, begin, count, longest;
  uint32_t prompt; // tokens that were given
  uint32_t known;  // tokens that are known: the next step goes on behind the last one
} fg_kv_chunk;

fg_status fg_kv_cache_add(fg_kv_cache *kv, const fg_kv_chunk *chunk, fg_error *err);
// Of a page that was added: what kernels know it by in a step without batches.
uint32_t fg_kv_cache_slot(const fg_kv_cache *kv, uint32_t page);
// All chunks were added: begins to read. Returns the number of batches of each layer, 0 if all is in fast
// memory.
fg_status fg_kv_cache_start(fg_kv_cache *kv, uint32_t *batches, fg_error *err);

// Rows [row, row + rows) of a step, and the arrays of their KV_STORE and ATTENTION, in which they are rows
// from 0 on.
typedef struct fg_kv_batch {
  uint32_t row, rows;
  fg_batch_view view; // positions and lengths are absent
} fg_kv_batch;

// A layer's queries are there, once what was enqueued has run: before its first batch. `attention` is its
// call for all rows of the step.
fg_status fg_kv_cache_queries(fg_kv_cache *kv, const fg_call *attention, fg_error *err);
// The next batch, in the order (layer, batch), for calls that are enqueued from now on.
fg_status fg_kv_cache_acquire(fg_kv_cache *kv, fg_kv_batch *batch, fg_error *err);
// Runs ATTENTION of that batch, wherever its pages are.
fg_status fg_kv_cache_attend(fg_kv_cache *kv, const fg_call *call, fg_error *err);
// After the last such call.
fg_status fg_kv_cache_release(fg_kv_cache *kv, fg_error *err);
// Lets reads and writes go on; costs little.
fg_status fg_kv_cache_pump(fg_kv_cache *kv, fg_error *err);
// Waits until the step's pages are where they belong; what the next step reads may be on its way.
fg_status fg_kv_cache_finish(fg_kv_cache *kv, fg_error *err);

// ---- whole pages, between two steps
// ------------------------------------------------------------------------

// Gives these tokens' pages, which are whole, their homes, as if a step computed them.
fg_status fg_kv_cache_place(fg_kv_cache *kv, const struct fg_kv_tokens *tokens, fg_error *err);

enum { FG_KV_SPARE_PAGES = 8 };
// Layers [layer, layer + layers) of a page that has a home.
typedef struct fg_kv_move {
  uint32_t page, layer, layers;
  char *spare; // [FG_KV_SPARE_PAGES] pages of a layer, each padded to FG_IO_ALIGN: for those on disk
} fg_kv_move;
// bytes: [layers, fg_kv_cache_kept_bytes], one layer behind the other.
fg_status fg_kv_cache_put(fg_kv_cache *kv, const fg_kv_move *move, const void *bytes, fg_error *err);
fg_status fg_kv_cache_get(fg_kv_cache *kv, const fg_kv_move *move, void *bytes, fg_error *err);
uint64_t fg_kv_cache_kept_bytes(const fg_kv_geometry *geometry); // of a layer's page, without padding

// The cache of a layer, frames within its reach.
fg_view fg_kv_cache_view(const fg_kv_cache *kv, int32_t layer);

uint64_t fg_kv_cache_bytes_read(const fg_kv_cache *kv); // from disk
uint64_t fg_kv_cache_bytes_written(const fg_kv_cache *kv);
fg_kv_crossing fg_kv_cache_crossing(const fg_kv_cache *kv); // all 0 where there is one memory

#endif
