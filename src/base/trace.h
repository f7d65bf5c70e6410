// trace.h: where a run's time goes, as spans on tracks.
//
// Whoever does work that takes time reports it as a span; a track holds spans that do not overlap
// (one per queue: compute, one per read in flight, ...). Sums per kind of span are always kept (they
// make --stats); the single events are written only when a file was asked for, as they happen, in
// Trace Event Format (JSON array; opens in Perfetto), so that a killed run leaves a readable file.
//
// Threads: all functions may be called from any thread. A NULL trace is allowed everywhere.
#ifndef FG_BASE_TRACE_H
#define FG_BASE_TRACE_H

#include <stdint.h>

#include "flexgen/error.h"

typedef struct fg_trace fg_trace;

// Kinds of spans: a row each in trace.c (name, category).
typedef enum fg_span_kind {
  FG_SPAN_STEP,      // one step of the engine, end to end
  FG_SPAN_COMPUTE,   // a device operation
  FG_SPAN_WAIT_READ, // compute waits for weights from disk
  FG_SPAN_READ,      // a disk read in flight
  FG_SPAN_UPLOAD,    // host to device
  FG_SPAN_DOWNLOAD,  // and back
  FG_SPAN_GATHER,    // rows of token and position tables on their way into a step
  FG_SPAN_SAMPLE,    // sampling and the bookkeeping of a step
  FG_SPAN_OUTPUT,    // results being written
  FG_SPAN_KIND_COUNT
} fg_span_kind;

typedef struct fg_span_sum {
  uint64_t count, nanoseconds, bytes;
} fg_span_sum;

// path NULL = sums only.
fg_status fg_trace_create(fg_trace **out, const char *path, fg_error *err);
// Writes what is buffered and closes the file.
fg_status fg_trace_destroy(fg_trace *trace, fg_error *err);

// Times are those of another clock from now on, which may be asked for while the trace is open: simulated
// ones. Before the first span.
void fg_trace_set_clock(fg_trace *trace, uint64_t (*now)(const void *user), const void *user);
// What spans are measured by: fg_now_ns, if no other clock was set.
uint64_t fg_trace_now(const fg_trace *trace);

// A new track; `name` is shown beside it.
uint32_t fg_trace_track(fg_trace *trace, const char *name);

// Times from fg_trace_now. `label` (may be NULL) and the numbers appear as arguments of the event;
// layer < 0 is left out. bytes 0 is left out.
void fg_trace_span(fg_trace *trace, uint32_t track, fg_span_kind kind, const char *label, int layer,
                   uint64_t bytes, uint64_t begin_ns, uint64_t end_ns);
// A counter's value from now on (memory per tier, rows running).
void fg_trace_counter(fg_trace *trace, const char *name, double value);

fg_span_sum fg_trace_sum(const fg_trace *trace, fg_span_kind kind);
// Of the time in which at least one span of `kind` was open, the part during which a span of
// `under` was open too, both in nanoseconds. Exact over the whole run, for spans that are reported late
// too: a span of the last ten seconds is always whole; from an older one the early part may be missing
// here (never in the sums), once a kind has more than 65,536 gaps. Memory: at most 4 MiB a kind.
void fg_trace_overlap(const fg_trace *trace, fg_span_kind kind, fg_span_kind under, uint64_t *busy_ns,
                      uint64_t *covered_ns);

#endif
