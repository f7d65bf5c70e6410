#include "device/simulated_device.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "device/execute.h"
#include "device/simulated_cost.h"

// Copies up to this size to blocks up to that one are kept: a step's lists. Weights, pages and activations of
// large models are larger.
static const uint64_t KEPT_BYTES = 1 << 20, KEPT_BLOCK = 64 << 20;

typedef struct simulated_device {
  fg_device base;
  fg_simulation *simulation;
  uint32_t tracks[FG_UNIT_COUNT];
} simulated_device;

static simulated_device *self(fg_device *d) {
  return (simulated_device *)d;
}

static fg_status memory_create(fg_device *d, uint64_t bytes, const char *what, fg_memory **out,
                               fg_error *err) {
  fg_memory *m = calloc(1, sizeof *m);
  if (!m) return fg_fail(err, FG_NO_SPACE, "no memory to note %s", what);
  void *base;
  fg_status status = fg_budget_alloc(d->options.memory, bytes, what, &base, err);
  if (status != FG_OK) {
    free(m);
    return status;
  }
  *m = (fg_memory){.base = base, .bytes = bytes};
  *out = m;
  return FG_OK;
}

static void memory_destroy(fg_device *d, fg_memory *m) {
  if (!m) return;
  fg_budget_free(d->options.memory, m->base);
  free(m);
}

static void *host_pointer(fg_device *d, fg_memory *m) {
  return self(d)->simulation->machine.unified ? m->base : NULL;
}

static fg_status check_range(const fg_memory *m, uint64_t offset, uint64_t bytes, fg_error *err) {
  if (fg_range_ok(offset, bytes, m->bytes)) return FG_OK;
  return fg_fail(err, FG_INTERNAL, "a copy of %" PRIu64 " bytes at offset %" PRIu64 " of %" PRIu64, bytes,
                 offset, m->bytes);
}

static fg_status upload(fg_device *d, fg_queue q, fg_memory *m, uint64_t offset, const void *host,
                        uint64_t bytes, fg_error *err) {
  simulated_device *s = self(d);
  fg_status status = check_range(m, offset, bytes, err);
  if (status != FG_OK) return status;
  const double seconds = (double)bytes / s->simulation->machine.link;
  const fg_timeline_span span = fg_timeline_work(&s->simulation->time, q, FG_UNIT_IN, seconds);
  if (m->bytes <= KEPT_BLOCK && bytes && bytes <= KEPT_BYTES) memcpy(m->base + offset, host, bytes);
  fg_trace_span(d->options.trace, s->tracks[FG_UNIT_IN], FG_SPAN_UPLOAD, NULL, -1, bytes, span.begin,
                span.end);
  return FG_OK;
}

static fg_status download(fg_device *d, fg_queue q, fg_memory *m, uint64_t offset, void *host, uint64_t bytes,
                          fg_error *err) {
  (void)host; // stays as it is
  simulated_device *s = self(d);
  fg_status status = check_range(m, offset, bytes, err);
  if (status != FG_OK) return status;
  const double seconds = (double)bytes / s->simulation->machine.link;
  const fg_timeline_span span = fg_timeline_work(&s->simulation->time, q, FG_UNIT_OUT, seconds);
  fg_trace_span(d->options.trace, s->tracks[FG_UNIT_OUT], FG_SPAN_DOWNLOAD, NULL, -1, bytes, span.begin,
                span.end);
  return FG_OK;
}

static const int32_t *chunk_list(const fg_call *call) {
  const fg_view *v = &call->batch.chunk_list;
  return v->memory ? (const int32_t *)(const void *)(v->memory->base + v->offset) : NULL;
}

static fg_status run(fg_device *d, fg_queue q, const fg_call *call, fg_error *err) {
  (void)err;
  simulated_device *s = self(d);
  const double seconds = fg_simulated_seconds(&s->simulation->machine, call, chunk_list(call));
  const fg_timeline_span span = fg_timeline_work(&s->simulation->time, q, FG_UNIT_DEVICE, seconds);
  fg_trace_span(d->options.trace, s->tracks[FG_UNIT_DEVICE], FG_SPAN_COMPUTE, fg_op_name(call->op),
                call->layer, 0, span.begin, span.end);
  return FG_OK;
}

static fg_status host_run(fg_device *d, const fg_call *call, fg_error *err) {
  (void)err;
  simulated_device *s = self(d);
  fg_timeline *time = &s->simulation->time;
  const double seconds = fg_simulated_host_seconds(&s->simulation->machine, call, chunk_list(call));
  const fg_timeline_span span = fg_timeline_work(time, FG_SIMULATED_HOST, FG_UNIT_CPU, seconds);
  fg_timeline_wait(time, span.end);
  fg_trace_span(d->options.trace, s->tracks[FG_UNIT_CPU], FG_SPAN_COMPUTE, fg_op_name(call->op), call->layer,
                0, span.begin, span.end);
  return FG_OK;
}

// An event is the time at which it is reached.
static fg_event record(fg_device *d, fg_queue q) {
  return (fg_event){.queue = q, .value = self(d)->simulation->time.queue_end[q]};
}

static fg_status queue_wait(fg_device *d, fg_queue q, fg_event event, fg_error *err) {
  (void)err;
  fg_timeline_hold(&self(d)->simulation->time, q, event.value);
  return FG_OK;
}

static fg_status host_wait(fg_device *d, fg_event event, fg_error *err) {
  (void)err;
  fg_timeline_wait(&self(d)->simulation->time, event.value);
  return FG_OK;
}

static bool reached(fg_device *d, fg_event event) {
  return self(d)->simulation->time.now >= event.value;
}

static fg_sparse_counts sparse_counts(fg_device *d) {
  (void)d;
  return (fg_sparse_counts){0};
}

static void destroy(fg_device *d) {
  free(d);
}

static const struct fg_device_ops simulated_ops = {
    .name = "simulated",
    .memory_create = memory_create,
    .memory_destroy = memory_destroy,
    .host_pointer = host_pointer,
    .upload = upload,
    .download = download,
    .run = run,
    .host_run = host_run,
    .record = record,
    .queue_wait = queue_wait,
    .host_wait = host_wait,
    .reached = reached,
    .sparse_counts = sparse_counts,
    .destroy = destroy,
};

fg_status fg_simulated_device_create(fg_device **out, const fg_device_options *options, fg_error *err) {
  if (!options->simulation)
    return fg_fail(err, FG_INVALID, "the simulated device is that of --simulate; name a machine there");
  simulated_device *s = calloc(1, sizeof *s);
  if (!s) return fg_fail(err, FG_NO_SPACE, "no memory for a device");
  s->base = (fg_device){.ops = &simulated_ops, .family = fg_layout_family_plain(), .options = *options};
  s->simulation = options->simulation;
  for (int u = 0; u < FG_UNIT_DISK; u++)
    s->tracks[u] = fg_trace_track(options->trace, fg_unit_name((fg_unit)u));
  *out = &s->base;
  return FG_OK;
}

uint64_t fg_simulated_device_scratch_bytes(const fg_device_options *options) {
  (void)options;
  return 0;
}
