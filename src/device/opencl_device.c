#include "device/opencl_device.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/clock.h"
#include "device/opencl_internal.h"

enum {
  QUEUE_COMMANDS = 512,         // whose events are kept; the host then waits
  CHECK_QUEUE = FG_QUEUE_COUNT, // reads the word that kernels report in, behind nobody
  QUEUES,
  STATUS_BYTES = 64,
  PAGE = 4096, // to which blocks of host memory are aligned
};

// What the driver and its compiler hold in host memory; it cannot be counted one by one, so it is charged as
// a lump (PoCL 3.1: a process grew by 260 MB while it compiled for a small model).
#define DRIVER_BYTES ((uint64_t)256 << 20)

typedef struct command {
  cl_event event;
  fg_span_kind kind;
  bool traced;
  const char *label;
  int32_t layer;
  uint64_t bytes;
} command;

// Commands (done, enqueued] have their events in a ring.
typedef struct queue {
  cl_command_queue queue;
  uint64_t enqueued, done;
  bool flushed;
  uint32_t track;
  command ring[QUEUE_COMMANDS];
} queue;

// Host memory of the driver's.
typedef struct pinned {
  struct pinned *next;
  cl_mem buffer;
  void *mapped, *block; // block: the first page boundary in what is mapped
  uint64_t bytes;
} pinned;

typedef struct opencl_device {
  fg_device base;
  fg_opencl_api cl;
  fg_opencl_info info;
  cl_context context;
  fg_opencl_programs *programs;
  queue queues[QUEUES];
  cl_mem status;
  pinned *pinned;
  bool unread;      // kernels that report ran since it was read
  int64_t clock;    // host time less the device's
  fg_error failure; // of the first command that failed
  uint64_t driver_lump;
} opencl_device;

static fg_status refuse(const opencl_device *o, cl_int code, const char *what, fg_error *err) {
  const bool full = code == CL_MEM_OBJECT_ALLOCATION_FAILURE || code == CL_OUT_OF_RESOURCES ||
                    code == CL_OUT_OF_HOST_MEMORY || code == CL_INVALID_BUFFER_SIZE;
  return fg_fail(err, full ? FG_NO_SPACE : FG_INTERNAL, "%s on %s: %s (OpenCL error %d)", what, o->info.name,
                 fg_opencl_error(code), (int)code);
}

// ---- queues ----------------------------------------------------------------------------------------------

static void fail_once(opencl_device *o, const fg_error *error) {
  if (o->failure.status == FG_OK) o->failure = *error;
}

static void trace_command(opencl_device *o, const queue *q, const command *c) {
  cl_ulong begin, end;
  if (!c->traced || !o->base.options.trace ||
      o->cl.clGetEventProfilingInfo(c->event, CL_PROFILING_COMMAND_START, sizeof begin, &begin, NULL) !=
          CL_SUCCESS ||
      o->cl.clGetEventProfilingInfo(c->event, CL_PROFILING_COMMAND_END, sizeof end, &end, NULL) != CL_SUCCESS)
    return;
  fg_trace_span(o->base.options.trace, q->track, c->kind, c->label, c->layer, c->bytes,
                begin + (uint64_t)o->clock, end + (uint64_t)o->clock);
}

// Of an in-order queue whose command `value` is done: all up to it are.
static void retire(opencl_device *o, queue *q, uint64_t value) {
  while (q->done < value) {
    command *c = &q->ring[q->done++ % QUEUE_COMMANDS];
    cl_int code = CL_COMPLETE;
    fg_error error;
    o->cl.clGetEventInfo(c->event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof code, &code, NULL);
    if (code < 0) {
      refuse(o, code, c->label ? c->label : "a copy", &error);
      fail_once(o, &error);
    }
    trace_command(o, q, c);
    o->cl.clReleaseEvent(c->event);
  }
}

// A command that another queue waits for must be on its way.
static void flush_all(opencl_device *o) {
  for (int i = 0; i < FG_QUEUE_COUNT; i++) {
    if (!o->queues[i].flushed) o->cl.clFlush(o->queues[i].queue);
    o->queues[i].flushed = true;
  }
}

static void wait_for(opencl_device *o, queue *q, uint64_t value) {
  if (value <= q->done) return;
  flush_all(o);
  fg_error error;
  // An event that stands for a failure is told apart by retire.
  cl_int code = o->cl.clWaitForEvents(1, &q->ring[(value - 1) % QUEUE_COMMANDS].event);
  if (code != CL_SUCCESS && code != CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST) {
    refuse(o, code, "waiting", &error);
    fail_once(o, &error);
  }
  retire(o, q, value);
}

// Room for one more command.
static queue *next_in(opencl_device *o, fg_queue number) {
  queue *q = &o->queues[number];
  if (q->enqueued - q->done == QUEUE_COMMANDS) wait_for(o, q, q->done + QUEUE_COMMANDS / 2);
  return q;
}

static cl_event *event_of_next(queue *q) {
  return &q->ring[q->enqueued % QUEUE_COMMANDS].event;
}

static void enqueued(queue *q, command c) {
  c.event = *event_of_next(q);
  q->ring[q->enqueued++ % QUEUE_COMMANDS] = c;
  q->flushed = false;
}

static fg_event record(fg_device *d, fg_queue q) {
  opencl_device *o = (opencl_device *)d;
  queue *of = &o->queues[q];
  if (!of->flushed) o->cl.clFlush(of->queue); // whoever asks for a point wants it to be reached
  of->flushed = true;
  return (fg_event){.queue = q, .value = of->enqueued};
}

static fg_status queue_wait(fg_device *d, fg_queue number, fg_event event, fg_error *err) {
  opencl_device *o = (opencl_device *)d;
  queue *from = &o->queues[event.queue];
  if (event.queue == number || event.value <= from->done) return FG_OK;
  queue *q = next_in(o, number);
  if (!from->flushed) o->cl.clFlush(from->queue);
  from->flushed = true;
  const cl_event *on = &from->ring[(event.value - 1) % QUEUE_COMMANDS].event;
  cl_int code = o->cl.clEnqueueBarrierWithWaitList(q->queue, 1, on, event_of_next(q));
  if (code != CL_SUCCESS) return refuse(o, code, "a queue that waits", err);
  enqueued(q, (command){0});
  return FG_OK;
}

static void read_status(opencl_device *o) {
  static const char *const meanings[] = {
      [XPU_BAD_ROW] = "a row that is not there",
      [XPU_BAD_SLOT] = "a slot that the cache does not have",
      [XPU_BAD_PAGE] = "a page that the cache does not have",
      [XPU_BAD_COPY] = "a copy from page to page that cannot be made",
      [XPU_BAD_CHUNK] = "a chunk of rows that are not there",
  };
  int32_t word = 0;
  fg_error error;
  if (!o->unread) return;
  cl_int code = o->cl.clEnqueueReadBuffer(o->queues[CHECK_QUEUE].queue, o->status, CL_TRUE, 0, sizeof word,
                                          &word, 0, NULL, NULL);
  o->unread = false;
  if (code != CL_SUCCESS) {
    refuse(o, code, "reading what kernels report", &error);
    fail_once(o, &error);
  } else if (word) {
    const bool known = word > 0 && (size_t)word < sizeof meanings / sizeof *meanings;
    fg_fail(&error, FG_INTERNAL, "a kernel on %s was told of %s", o->info.name,
            known ? meanings[word] : "something that is not there");
    fail_once(o, &error);
  }
}

static fg_status host_wait(fg_device *d, fg_event event, fg_error *err) {
  opencl_device *o = (opencl_device *)d;
  wait_for(o, &o->queues[event.queue], event.value);
  read_status(o);
  return o->failure.status ? fg_fail(err, o->failure.status, "%s", o->failure.message) : FG_OK;
}

static bool reached(fg_device *d, fg_event event) {
  opencl_device *o = (opencl_device *)d;
  queue *q = &o->queues[event.queue];
  if (event.value <= q->done) return true;
  flush_all(o);
  cl_int code = CL_QUEUED;
  o->cl.clGetEventInfo(q->ring[(event.value - 1) % QUEUE_COMMANDS].event, CL_EVENT_COMMAND_EXECUTION_STATUS,
                       sizeof code, &code, NULL);
  if (code > CL_COMPLETE) return false;
  retire(o, q, event.value);
  return true;
}

// ---- commands --------------------------------------------------------------------------------------------

static fg_status check_range(const fg_memory *m, uint64_t offset, uint64_t bytes, fg_error *err) {
  if (fg_range_ok(offset, bytes, m->bytes)) return FG_OK;
  return fg_fail(err, FG_INTERNAL, "a copy of %" PRIu64 " bytes at offset %" PRIu64 " of %" PRIu64, bytes,
                 offset, m->bytes);
}

static fg_status upload(fg_device *d, fg_queue number, fg_memory *m, uint64_t offset, const void *host,
                        uint64_t bytes, fg_error *err) {
  opencl_device *o = (opencl_device *)d;
  fg_status status = check_range(m, offset, bytes, err);
  if (status || bytes == 0) return status;
  queue *q = next_in(o, number);
  cl_int code = o->cl.clEnqueueWriteBuffer(q->queue, m->buffer, CL_FALSE, offset, bytes, host, 0, NULL,
                                           event_of_next(q));
  if (code != CL_SUCCESS) return refuse(o, code, "an upload", err);
  enqueued(q, (command){.kind = FG_SPAN_UPLOAD, .traced = true, .layer = -1, .bytes = bytes});
  return FG_OK;
}

static fg_status download(fg_device *d, fg_queue number, fg_memory *m, uint64_t offset, void *host,
                          uint64_t bytes, fg_error *err) {
  opencl_device *o = (opencl_device *)d;
  fg_status status = check_range(m, offset, bytes, err);
  if (status || bytes == 0) return status;
  queue *q = next_in(o, number);
  cl_int code = o->cl.clEnqueueReadBuffer(q->queue, m->buffer, CL_FALSE, offset, bytes, host, 0, NULL,
                                          event_of_next(q));
  if (code != CL_SUCCESS) return refuse(o, code, "a download", err);
  enqueued(q, (command){.layer = -1});
  return FG_OK;
}

static cl_int set_arguments(const opencl_device *o, cl_kernel kernel, const fg_launch *l) {
  cl_int code = CL_SUCCESS;
  for (cl_uint i = 0; i < FG_OPENCL_OPERANDS && code == CL_SUCCESS; i++)
    code = o->cl.clSetKernelArg(kernel, i, sizeof(cl_mem),
                                l->memories[i] ? &l->memories[i]->buffer : &o->status);
  if (code == CL_SUCCESS) code = o->cl.clSetKernelArg(kernel, FG_OPENCL_OPERANDS, sizeof(cl_mem), &o->status);
  return code == CL_SUCCESS ? o->cl.clSetKernelArg(kernel, FG_OPENCL_OPERANDS + 1, sizeof l->call, &l->call)
                            : code;
}

static fg_status run(fg_device *d, fg_queue number, const fg_call *call, fg_error *err) {
  opencl_device *o = (opencl_device *)d;
  fg_launch l;
  cl_kernel kernel = NULL;
  fg_status status = fg_opencl_plan_launch(&l, &d->options, call, err);
  if (status || l.groups[0] == 0 || l.groups[1] == 0) return status;
  status = fg_opencl_kernel(o->programs, l.source, l.options, l.name, &kernel, err);
  if (status) return status;
  queue *q = next_in(o, number);
  const size_t lanes[] = {l.lanes, 1}, all[] = {l.groups[0] * l.lanes, l.groups[1]};
  cl_int code = set_arguments(o, kernel, &l);
  if (code == CL_SUCCESS)
    code = o->cl.clEnqueueNDRangeKernel(q->queue, kernel, 2, NULL, all, lanes, 0, NULL, event_of_next(q));
  if (code != CL_SUCCESS) return refuse(o, code, fg_op_name(call->op), err);
  o->unread |= l.checks;
  enqueued(q,
           (command){
               .kind = FG_SPAN_COMPUTE, .traced = true, .label = fg_op_name(call->op), .layer = call->layer});
  return FG_OK;
}

// ---- memory ----------------------------------------------------------------------------------------------

// A driver may promise memory and not have it when a kernel comes: so it is written to at once, with what
// nobody may count on (NaNs, -1).
static cl_int fill(opencl_device *o, cl_mem buffer, uint64_t bytes) {
  const cl_uint ones = 0xffffffffu;
  const cl_command_queue q = o->queues[CHECK_QUEUE].queue;
  const uint64_t words = bytes / sizeof ones * sizeof ones;
  cl_int code =
      words ? o->cl.clEnqueueFillBuffer(q, buffer, &ones, sizeof ones, 0, words, 0, NULL, NULL) : CL_SUCCESS;
  return code == CL_SUCCESS ? o->cl.clFinish(q) : code;
}

static fg_status memory_create(fg_device *d, uint64_t bytes, const char *what, fg_memory **out,
                               fg_error *err) {
  opencl_device *o = (opencl_device *)d;
  fg_memory *m = calloc(1, sizeof *m);
  if (!m) return fg_fail(err, FG_NO_SPACE, "no memory to note %s", what);
  fg_status status = fg_budget_reserve(d->options.memory, bytes, what, err);
  if (status) {
    free(m);
    return status;
  }
  cl_int code;
  m->bytes = bytes;
  m->buffer = o->cl.clCreateBuffer(o->context, CL_MEM_READ_WRITE, bytes ? bytes : 1, NULL, &code);
  if (code == CL_SUCCESS) code = fill(o, m->buffer, bytes);
  if (code == CL_SUCCESS) {
    *out = m;
    return FG_OK;
  }
  if (m->buffer) o->cl.clReleaseMemObject(m->buffer);
  fg_budget_release(d->options.memory, bytes);
  free(m);
  return fg_fail(err, FG_NO_SPACE,
                 "%" PRIu64 " bytes for %s on %s: %s (OpenCL error %d); it has %" PRIu64 ", at most %" PRIu64
                 " in one block; a smaller --device-memory may help",
                 bytes, what, o->info.name, fg_opencl_error(code), (int)code, o->info.memory,
                 o->info.most_block);
}

// The driver keeps it until the commands that use it are done.
static void memory_destroy(fg_device *d, fg_memory *m) {
  opencl_device *o = (opencl_device *)d;
  if (!m) return;
  o->cl.clReleaseMemObject(m->buffer);
  fg_budget_release(d->options.memory, m->bytes);
  free(m);
}

static void *host_pointer(fg_device *d, fg_memory *m) {
  (void)d, (void)m;
  return NULL;
}

static cl_int map_block(opencl_device *o, pinned *p) {
  cl_int code;
  p->buffer = o->cl.clCreateBuffer(o->context, CL_MEM_READ_WRITE | CL_MEM_ALLOC_HOST_PTR, p->bytes + PAGE,
                                   NULL, &code);
  if (code == CL_SUCCESS)
    p->mapped =
        o->cl.clEnqueueMapBuffer(o->queues[CHECK_QUEUE].queue, p->buffer, CL_TRUE, CL_MAP_READ | CL_MAP_WRITE,
                                 0, p->bytes + PAGE, 0, NULL, NULL, &code);
  if (code == CL_SUCCESS) {
    p->block = (void *)fg_align_up((uintptr_t)p->mapped, PAGE);
    memset(p->block, 0, p->bytes);
  } else if (p->buffer) {
    o->cl.clReleaseMemObject(p->buffer);
  }
  return code;
}

// Drivers give a limited amount of such memory: what is beyond it is memory like any other.
static fg_status host_create(fg_device *d, uint64_t bytes, const char *what, void **out, fg_error *err) {
  opencl_device *o = (opencl_device *)d;
  pinned *p = calloc(1, sizeof *p);
  if (!p) return fg_fail(err, FG_NO_SPACE, "no memory to note %s", what);
  p->bytes = fg_align_up(bytes ? bytes : 1, PAGE);
  fg_status status = fg_budget_reserve(d->options.host, p->bytes, what, err);
  if (status == FG_OK && map_block(o, p) == CL_SUCCESS) {
    p->next = o->pinned;
    o->pinned = p;
    *out = p->block;
    return FG_OK;
  }
  if (status == FG_OK) fg_budget_release(d->options.host, p->bytes);
  free(p);
  return status ? status : fg_budget_alloc(d->options.host, bytes, what, out, err);
}

static void host_destroy(fg_device *d, void *block) {
  opencl_device *o = (opencl_device *)d;
  pinned **at = &o->pinned, *p;
  while (*at && (*at)->block != block) at = &(*at)->next;
  if (!*at) {
    fg_budget_free(d->options.host, block);
    return;
  }
  p = *at;
  *at = p->next;
  o->cl.clEnqueueUnmapMemObject(o->queues[CHECK_QUEUE].queue, p->buffer, p->mapped, 0, NULL, NULL);
  o->cl.clFinish(o->queues[CHECK_QUEUE].queue);
  o->cl.clReleaseMemObject(p->buffer);
  fg_budget_release(d->options.host, p->bytes);
  free(p);
}

static fg_sparse_counts sparse_counts(fg_device *d) {
  (void)d;
  return (fg_sparse_counts){0};
}

// ---- life ------------------------------------------------------------------------------------------------

static void destroy(fg_device *d) {
  opencl_device *o = (opencl_device *)d;
  for (int i = 0; i < QUEUES; i++) {
    if (!o->queues[i].queue) continue;
    if (i < FG_QUEUE_COUNT) wait_for(o, &o->queues[i], o->queues[i].enqueued);
    o->cl.clReleaseCommandQueue(o->queues[i].queue);
  }
  if (o->status) o->cl.clReleaseMemObject(o->status);
  fg_opencl_programs_destroy(o->programs);
  if (o->context) o->cl.clReleaseContext(o->context);
  fg_budget_release(d->options.host, o->driver_lump);
  free(o);
}

static const struct fg_device_ops opencl_ops = {
    .name = "opencl",
    .memory_create = memory_create,
    .memory_destroy = memory_destroy,
    .host_pointer = host_pointer,
    .host_create = host_create,
    .host_destroy = host_destroy,
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

static fg_status open_queues(opencl_device *o, fg_error *err) {
  static const char *const names[] = {"OpenCL compute", "OpenCL load", "OpenCL store"};
  const cl_context_properties properties[] = {CL_CONTEXT_PLATFORM, (cl_context_properties)o->info.platform,
                                              0};
  cl_int code;
  o->context = o->cl.clCreateContext(properties, 1, &o->info.device, NULL, NULL, &code);
  if (code != CL_SUCCESS) return refuse(o, code, "a context", err);
  const cl_command_queue_properties timed = o->base.options.trace ? CL_QUEUE_PROFILING_ENABLE : 0;
  for (int i = 0; i < QUEUES; i++) {
    o->queues[i].queue = o->cl.clCreateCommandQueue(o->context, o->info.device, timed, &code);
    if (code != CL_SUCCESS) return refuse(o, code, "a queue", err);
    o->queues[i].flushed = true;
    if (i < FG_QUEUE_COUNT) o->queues[i].track = fg_trace_track(o->base.options.trace, names[i]);
  }
  return FG_OK;
}

// The first command of all also tells how the device's clock stands.
static fg_status open_status(opencl_device *o, fg_error *err) {
  static const char zeros[STATUS_BYTES];
  cl_int code;
  cl_event event = NULL;
  cl_ulong end;
  o->status = o->cl.clCreateBuffer(o->context, CL_MEM_READ_WRITE, STATUS_BYTES, NULL, &code);
  if (code == CL_SUCCESS)
    code = o->cl.clEnqueueWriteBuffer(o->queues[FG_QUEUE_COMPUTE].queue, o->status, CL_TRUE, 0, STATUS_BYTES,
                                      zeros, 0, NULL, &event);
  if (code != CL_SUCCESS) return refuse(o, code, "the first copy", err);
  const uint64_t now = fg_now_ns();
  if (o->base.options.trace &&
      o->cl.clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_END, sizeof end, &end, NULL) == CL_SUCCESS)
    o->clock = (int64_t)(now - end);
  o->cl.clReleaseEvent(event);
  return FG_OK;
}

fg_status fg_opencl_device_create(fg_device **out, const fg_device_options *options, fg_error *err) {
  *out = NULL;
  if (options->sparse_heads)
    return fg_fail(err, FG_UNSUPPORTED, "OpenCL devices have no sparse attention; use --device cpu");
  opencl_device *o = calloc(1, sizeof *o);
  if (!o) return fg_fail(err, FG_NO_SPACE, "no memory for a device");
  o->base = (fg_device){.ops = &opencl_ops, .family = fg_layout_family_plain(), .options = *options};
  fg_status status = fg_budget_reserve(options->host, DRIVER_BYTES, "the OpenCL driver", err);
  if (status == FG_OK) o->driver_lump = DRIVER_BYTES;
  if (status == FG_OK) status = fg_opencl_load(&o->cl, err);
  if (status == FG_OK) status = fg_opencl_choose(&o->cl, options->number, &o->info, err);
  if (status == FG_OK) status = open_queues(o, err);
  if (status == FG_OK) status = open_status(o, err);
  if (status == FG_OK) status = fg_opencl_programs_create(&o->programs, &o->cl, o->context, &o->info, err);
  if (status != FG_OK) {
    destroy(&o->base);
    return status;
  }
  *out = &o->base;
  return FG_OK;
}

uint64_t fg_opencl_device_scratch_bytes(const fg_device_options *options) {
  (void)options;
  return DRIVER_BYTES;
}

fg_status fg_opencl_device_find(uint32_t number, fg_device_found *out, fg_error *err) {
  fg_opencl_api cl;
  fg_opencl_info info;
  fg_status status = fg_opencl_load(&cl, err);
  if (status == FG_OK) status = fg_opencl_choose(&cl, number, &info, err);
  if (status != FG_OK) return status;
  out->memory = info.memory;
  snprintf(out->identity, sizeof out->identity, ", %.90s, %.60s", info.name, info.driver);
  return FG_OK;
}
