#include "device/cpu_device.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/topology.h"
#include "device/execute.h"
#include "kernels/cpu.h"

typedef struct cpu_device {
  fg_device base;
  fg_cpu_executor *executor;
  fg_nodes *nodes; // NULL: one memory node, nothing to spread over
  uint32_t track;
} cpu_device;

static fg_status memory_create(fg_device *d, uint64_t bytes, const char *what, fg_memory **out,
                               fg_error *err) {
  fg_status status = fg_cpu_memory_create(d->options.memory, bytes, what, out, err);
  if (status == FG_OK) fg_nodes_interleave(((const cpu_device *)d)->nodes, (*out)->base, bytes);
  return status;
}

static void memory_destroy(fg_device *d, fg_memory *m) {
  fg_cpu_memory_destroy(d->options.memory, m);
}

static void *host_pointer(fg_device *d, fg_memory *m) {
  (void)d;
  return m->base;
}

static fg_status upload(fg_device *d, fg_queue q, fg_memory *m, uint64_t offset, const void *host,
                        uint64_t bytes, fg_error *err) {
  (void)d, (void)q;
  return fg_cpu_executor_copy_in(m, offset, host, bytes, err);
}

static fg_status download(fg_device *d, fg_queue q, fg_memory *m, uint64_t offset, void *host, uint64_t bytes,
                          fg_error *err) {
  (void)d, (void)q;
  return fg_cpu_executor_copy_out(m, offset, host, bytes, err);
}

static fg_status run(fg_device *d, fg_queue q, const fg_call *call, fg_error *err) {
  cpu_device *c = (cpu_device *)d;
  (void)q;
  uint64_t begin = fg_now_ns();
  fg_status status = fg_cpu_executor_run(c->executor, call, err);
  fg_trace_span(d->options.trace, c->track, FG_SPAN_COMPUTE, fg_op_name(call->op), call->layer, 0, begin,
                fg_now_ns());
  return status;
}

static fg_event record(fg_device *d, fg_queue q) {
  (void)d;
  return (fg_event){.queue = q, .value = 0};
}

static fg_status queue_wait(fg_device *d, fg_queue q, fg_event event, fg_error *err) {
  (void)d, (void)q, (void)event, (void)err;
  return FG_OK;
}

static fg_status host_wait(fg_device *d, fg_event event, fg_error *err) {
  (void)d, (void)event, (void)err;
  return FG_OK;
}

static bool reached(fg_device *d, fg_event event) {
  (void)d, (void)event;
  return true;
}

static fg_sparse_counts sparse_counts(fg_device *d) {
  return fg_cpu_executor_sparse_counts(((cpu_device *)d)->executor);
}

static void destroy(fg_device *d) {
  cpu_device *c = (cpu_device *)d;
  fg_cpu_executor_destroy(c->executor);
  fg_nodes_destroy(c->nodes);
  free(c);
}

static const struct fg_device_ops cpu_ops = {
    .name = "cpu",
    .memory_create = memory_create,
    .memory_destroy = memory_destroy,
    .host_pointer = host_pointer,
    .upload = upload,
    .download = download,
    .run = run,
    .record = record,
    .queue_wait = queue_wait,
    .host_wait = host_wait,
    .reached = reached,
    .sparse_counts = sparse_counts,
    .destroy = destroy,
};

fg_status fg_cpu_device_create(fg_device **out, const fg_device_options *options, fg_error *err) {
  cpu_device *c = calloc(1, sizeof *c);
  if (!c) return fg_fail(err, FG_NO_SPACE, "no memory for a device");
  c->base = (fg_device){.ops = &cpu_ops,
                        .family = fg_layout_family_cpu(),
                        .host_features = fg_cpu_features(),
                        .options = *options};
  fg_status status = fg_cpu_executor_create(&c->executor, options, fg_cpu_features(), err);
  if (status) {
    free(c);
    return status;
  }
  c->nodes = fg_nodes_create(2);
  c->track = fg_trace_track(options->trace, "compute");
  *out = &c->base;
  return FG_OK;
}

uint64_t fg_cpu_device_scratch_bytes(const fg_device_options *options) {
  return fg_cpu_executor_scratch_bytes(options, fg_cpu_features());
}
