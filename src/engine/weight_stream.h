// weight_stream.h: the matrices of a model as a stream of panels in the order of use.
//
// A step uses every panel once, in the store's order, step after step. Some panels stay where the device
// computes; some stay in host memory and cross the bus each time; the rest come from disk. Whoever computes
// acquires the next panel, uses it and releases it; behind that, the panels that follow are read and
// uploaded into a ring as far ahead as the ring has room, across layers and across steps. The same panels
// stay resident for the whole run (a cyclic scan would defeat any cache). A panel that is acquired again
// before it was released is still there: so a layer may go over several batches of rows while the ring holds
// it.
//
// A panel's bytes are compared with the store's hash before their first use in a run, by all threads where
// several panels have arrived.
//
// Threads: one owner, the executor.
#ifndef FG_ENGINE_WEIGHT_STREAM_H
#define FG_ENGINE_WEIGHT_STREAM_H

#include "base/budget.h"
#include "base/trace.h"
#include "device/device.h"
#include "format/store.h"
#include "io/io.h"
#include "plan/policy.h"

typedef struct fg_weight_stream fg_weight_stream;

typedef struct fg_weight_stream_options {
  fg_store *store;
  fg_device *device;
  fg_io *io;
  fg_budget *host;
  fg_trace *trace;
  const uint8_t *tier;  // [store->panel_count] fg_tier of each panel of a matrix
  const uint8_t *apart; // [store->panel_count] of those that somebody else brings; NULL = none
  uint64_t ring_bytes;  // on the device; the same again in host memory if the host cannot reach it
  uint32_t tail_weight; // first matrix of the epilogue: a step that wants no logits uses none from here on
} fg_weight_stream_options;

// Loads the resident panels and starts reading ahead.
fg_status fg_weight_stream_create(fg_weight_stream **out, const fg_weight_stream_options *options,
                                  fg_error *err);
void fg_weight_stream_destroy(fg_weight_stream *stream); // NULL is allowed

// Before each step: whether it will use the epilogue's matrices.
fg_status fg_weight_stream_begin(fg_weight_stream *stream, bool tail, fg_error *err);
// The panel (an index of store->panels) for calls that are enqueued on the compute queue from now on: the
// next one in the order of use, or one that is acquired. The ring has room for all that are at once.
fg_status fg_weight_stream_acquire(fg_weight_stream *stream, uint32_t panel, fg_view *view, fg_error *err);
// After the last call that uses it has been enqueued; in the order of use, once.
fg_status fg_weight_stream_release(fg_weight_stream *stream, uint32_t panel, fg_error *err);

uint64_t
fg_weight_stream_bytes_read(const fg_weight_stream *stream); // from disk by the steps, and ahead of them

#endif
