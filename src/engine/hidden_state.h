// hidden_state.h: the residual stream of all rows of a step, of which a batch at a time is computed with.
//
// A step's rows are cut into batches. The first ones have their rows where the device computes; the next ones
// in host memory, if that is another; the rest in a file without a name. What lives elsewhere comes to a
// frame, one of a few, while it is computed with, and goes back from it. All is done in *sweeps* that take
// each batch once, in order: while one is computed, the next ones are read and those before it written.
//
// Threads: one owner, the executor.
#ifndef FG_ENGINE_HIDDEN_STATE_H
#define FG_ENGINE_HIDDEN_STATE_H

#include "base/trace.h"
#include "device/device.h"
#include "io/io.h"
#include "plan/pass_policy.h"

typedef struct fg_hidden_state fg_hidden_state;

typedef struct fg_hidden_options {
  fg_hidden_limits limits;
  fg_device *device;
  fg_budget *host;
  fg_trace *trace;
  const char *folder;       // for the file; unused without disk_rows
  fg_io_backend_id backend; // of its reads and writes
} fg_hidden_options;

// Charges fg_hidden_bytes.
fg_status fg_hidden_create(fg_hidden_state **out, const fg_hidden_options *options, fg_error *err);
void fg_hidden_destroy(fg_hidden_state *h); // NULL is allowed

// ---- a step: begin, add, sweeps, finish ------------------------------------------------------------------

void fg_hidden_begin(fg_hidden_state *h);
// The next batch. FG_INTERNAL: there is no room for it.
fg_status fg_hidden_add(fg_hidden_state *h, uint32_t rows, fg_error *err);

typedef enum fg_sweep { FG_SWEEP_MAKE, FG_SWEEP_CHANGE, FG_SWEEP_READ } fg_sweep;

// Begins a sweep: what it does to the rows of each batch.
fg_status fg_hidden_sweep(fg_hidden_state *h, fg_sweep sweep, fg_error *err);
// The next batch's rows, for calls that are enqueued from now on. Of one of which no rows are left, it is
// nothing.
fg_status fg_hidden_acquire(fg_hidden_state *h, fg_view *rows, fg_error *err);
// After the last such call. `rows`: of the batch only its first ones are still wanted, now and later.
fg_status fg_hidden_release(fg_hidden_state *h, uint32_t rows, fg_error *err);
// Waits until nothing is on its way.
fg_status fg_hidden_finish(fg_hidden_state *h, fg_error *err);

uint64_t fg_hidden_bytes_read(const fg_hidden_state *h); // from disk
uint64_t fg_hidden_bytes_written(const fg_hidden_state *h);

#endif
