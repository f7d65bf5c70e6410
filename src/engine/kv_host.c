#include "engine/kv_host.h"

#include <stdlib.h>

#include "base/checked.h"
#include "device/execute.h"

// The largest of all layers.
typedef struct widths {
  uint32_t heads;
  uint64_t query, output, state; // of a row, in floats
} widths;

// Offsets in bytes, of which those below `far_bytes` are the same in host memory and on the device.
typedef struct copies {
  uint64_t queries, outputs, rows, far_bytes; // rows: 0, 1, ... as i32
  uint64_t states, numbers, near_bytes;       // numbers [heads]
} copies;

struct fg_kv_host {
  fg_device *device;
  fg_cpu_executor *executor;
  widths widths;
  copies at;
  fg_memory *near, *far; // in host memory; on the device
  fg_event fetched;
  fg_kv_crossing crossing;
};

static widths find_widths(const fg_graph *g) {
  widths w = {0};
  for (uint32_t p = 0; p < g->program_count; p++)
    for (uint32_t i = 0; i < g->programs[p].node_count; i++) {
      const fg_node *n = &g->programs[p].nodes[i];
      if (n->op == FG_OP_ATTENTION && n->params.attention.heads > w.heads)
        w.heads = n->params.attention.heads;
    }
  w.query = (uint64_t)w.heads * g->kv.k_dim;
  w.output = (uint64_t)w.heads * g->kv.v_dim;
  w.state = 2ull * w.heads;
  return w;
}

static copies lay_out(const widths *w, uint32_t max_rows) {
  copies at = {0};
  at.outputs = at.queries + max_rows * w->query * sizeof(float);
  at.rows = at.outputs + max_rows * w->output * sizeof(float);
  at.states = at.far_bytes = at.rows + max_rows * sizeof(int32_t);
  at.numbers = at.states + max_rows * w->state * sizeof(float);
  at.near_bytes = at.numbers + w->heads * sizeof(float);
  return at;
}

void fg_kv_host_costs(const fg_graph *g, fg_plan_input *plan) {
  const widths w = find_widths(g);
  const copies none = lay_out(&w, 0), one = lay_out(&w, 1);
  plan->host_per_token += one.near_bytes - none.near_bytes;
  plan->device_per_token += one.far_bytes - none.far_bytes;
  plan->host_fixed += fg_align_up(none.near_bytes, FG_IO_ALIGN);
}

// The device's own arithmetic, and no products.
static fg_device_options executor_options(const fg_device_options *device) {
  fg_device_options own = *device;
  own.max_width = own.max_k = 1;
  own.sparse_heads = own.sparse_context = 0;
  return own;
}

uint64_t fg_kv_host_scratch_bytes(const fg_device_options *device) {
  const fg_device_options own = executor_options(device);
  return fg_cpu_executor_scratch_bytes(&own, 0);
}

static fg_status number_rows(fg_kv_host *h, uint32_t max_rows, fg_error *err) {
  fg_device *d = h->device;
  int32_t *rows = (int32_t *)(void *)(h->near->base + h->at.rows);
  for (uint32_t i = 0; i < max_rows; i++) rows[i] = (int32_t)i;
  fg_status status =
      d->ops->upload(d, FG_QUEUE_COMPUTE, h->far, h->at.rows, rows, max_rows * sizeof *rows, err);
  return status == FG_OK ? d->ops->host_wait(d, d->ops->record(d, FG_QUEUE_COMPUTE), err) : status;
}

fg_status fg_kv_host_create(fg_kv_host **out, const fg_graph *graph, fg_device *device, uint32_t max_rows,
                            fg_error *err) {
  *out = NULL;
  fg_kv_host *h = calloc(1, sizeof *h);
  if (!h) return fg_fail(err, FG_NO_SPACE, "out of memory for attention on the host");
  const char *what = "queries of attention on the host";
  const fg_device_options own = executor_options(&device->options);
  h->device = device;
  h->widths = find_widths(graph);
  h->at = lay_out(&h->widths, max_rows);
  fg_status status = fg_cpu_executor_create(&h->executor, &own, device->host_features, err);
  if (status == FG_OK)
    status = fg_cpu_memory_create(device->options.host, h->at.near_bytes, what, &h->near, err);
  if (status == FG_OK) status = device->ops->memory_create(device, h->at.far_bytes, what, &h->far, err);
  if (status == FG_OK) status = number_rows(h, max_rows, err);
  if (status != FG_OK) {
    fg_kv_host_destroy(h);
    return status;
  }
  *out = h;
  return FG_OK;
}

void fg_kv_host_destroy(fg_kv_host *h) {
  if (!h) return;
  if (h->far) h->device->ops->memory_destroy(h->device, h->far);
  fg_cpu_memory_destroy(h->device->options.host, h->near);
  fg_cpu_executor_destroy(h->executor);
  free(h);
}

uint64_t fg_kv_host_row_bytes(const fg_kv_host *h) {
  return (h->widths.query + h->widths.output + h->widths.state) * sizeof(float);
}

fg_kv_crossing fg_kv_host_crossing(const fg_kv_host *h) {
  return h->crossing;
}

// ---- there ----------------------------------------------------------------------------------------------

static fg_view copy_view(fg_memory *memory, uint64_t offset, uint32_t row, uint32_t width) {
  return (fg_view){memory, offset + (uint64_t)row * width * sizeof(float), width};
}

static uint32_t query_width(const fg_call *attention) {
  return attention->params.attention.heads * attention->params.attention.kv.k_dim;
}
static uint32_t output_width(const fg_call *attention) {
  return attention->params.attention.heads * attention->params.attention.kv.v_dim;
}

// On the device: rows of one view to another.
static fg_status copy_rows(fg_kv_host *h, fg_view from, fg_view to, uint32_t rows, uint32_t width,
                           int32_t layer, fg_error *err) {
  const fg_call call = {.op = FG_OP_SELECT,
                        .rows = rows,
                        .a = from,
                        .b = {h->far, h->at.rows, 1},
                        .out = to,
                        .params.copy.width = width,
                        .layer = layer};
  return h->device->ops->run(h->device, FG_QUEUE_COMPUTE, &call, err);
}

static fg_view moved(fg_view view, uint32_t row) {
  view.offset += (uint64_t)row * view.stride * sizeof(float);
  return view;
}

fg_status fg_kv_host_fetch(fg_kv_host *h, const fg_call *attention, uint32_t row, uint32_t rows,
                           fg_error *err) {
  fg_device *d = h->device;
  const uint32_t width = query_width(attention);
  const fg_view to = copy_view(h->far, h->at.queries, row, width);
  const uint64_t bytes = (uint64_t)rows * width * sizeof(float);
  fg_status status = copy_rows(h, moved(attention->a, row), to, rows, width, attention->layer, err);
  if (status == FG_OK)
    status = d->ops->queue_wait(d, FG_QUEUE_STORE, d->ops->record(d, FG_QUEUE_COMPUTE), err);
  if (status == FG_OK)
    status = d->ops->download(d, FG_QUEUE_STORE, h->far, to.offset, h->near->base + to.offset, bytes, err);
  if (status == FG_OK && attention->c.memory)
    status = d->ops->download(d, FG_QUEUE_STORE, attention->c.memory, attention->c.offset,
                              h->near->base + h->at.numbers,
                              attention->params.attention.heads * sizeof(float), err);
  h->fetched = d->ops->record(d, FG_QUEUE_STORE);
  h->crossing.queries += bytes;
  return status;
}

fg_status fg_kv_host_wait(fg_kv_host *h, fg_error *err) {
  return h->device->ops->host_wait(h->device, h->fetched, err);
}

// ---- and back -------------------------------------------------------------------------------------------

static fg_status attend_here(fg_kv_host *h, const fg_kv_host_run *run, fg_error *err) {
  fg_call call = *run->batch;
  call.a = copy_view(h->near, h->at.queries, run->first, query_width(&call));
  call.out = copy_view(h->near, h->at.outputs, run->first, output_width(&call));
  call.state = copy_view(h->near, h->at.states, run->first, call.state.stride);
  call.b = run->cache;
  if (call.c.memory) call.c = (fg_view){h->near, h->at.numbers, 0};
  call.batch.chunk_list = run->chunk_list;
  call.batch.page_tables = run->page_tables;
  call.params.attention.segment = (fg_key_segment){.end_key = run->end, .pauses = true};
  return h->device->ops->host_run ? h->device->ops->host_run(h->device, &call, err)
                                  : fg_cpu_executor_run(h->executor, &call, err);
}

// The run's rows of a copy that begins at `offset`, to the device's `to`, where they follow each other too.
static fg_status send(fg_kv_host *h, uint64_t offset, const fg_kv_host_run *run, fg_view to, fg_error *err) {
  fg_device *d = h->device;
  const uint64_t from = copy_view(h->near, offset, run->first + run->row, to.stride).offset;
  return d->ops->upload(d, FG_QUEUE_LOAD, to.memory, to.offset, h->near->base + from,
                        (uint64_t)run->rows * to.stride * sizeof(float), err);
}

// A rotated cache's queries are turned in place by who begins the chain.
static fg_status send_back(fg_kv_host *h, const fg_kv_host_run *run, fg_error *err) {
  fg_device *d = h->device;
  const fg_call *call = run->batch;
  const bool turned = call->params.attention.rotated;
  const uint32_t row = run->first + run->row;
  const fg_view outputs = copy_view(h->far, h->at.outputs, row, output_width(call));
  const fg_view queries = copy_view(h->far, h->at.queries, row, query_width(call));
  const fg_view states = moved(call->state, run->row);
  fg_status status = send(h, h->at.outputs, run, outputs, err);
  if (status == FG_OK) status = send(h, h->at.states, run, states, err);
  if (status == FG_OK && turned) status = send(h, h->at.queries, run, queries, err);
  h->crossing.states += run->rows * (uint64_t)(outputs.stride + states.stride) * sizeof(float);
  h->crossing.queries += turned ? run->rows * (uint64_t)queries.stride * sizeof(float) : 0;
  if (status == FG_OK)
    status = d->ops->queue_wait(d, FG_QUEUE_COMPUTE, d->ops->record(d, FG_QUEUE_LOAD), err);
  if (status == FG_OK)
    status = copy_rows(h, outputs, moved(call->out, run->row), run->rows, outputs.stride, call->layer, err);
  if (status == FG_OK && turned)
    status = copy_rows(h, queries, moved(call->a, run->row), run->rows, queries.stride, call->layer, err);
  return status;
}

fg_status fg_kv_host_attend(fg_kv_host *h, const fg_kv_host_run *run, fg_error *err) {
  fg_call rest = *run->batch;
  fg_status status = attend_here(h, run, err);
  if (status == FG_OK) status = send_back(h, run, err);
  rest.params.attention.segment = (fg_key_segment){.first_key = run->end, .resumes = true};
  return status == FG_OK ? h->device->ops->run(h->device, FG_QUEUE_COMPUTE, &rest, err) : status;
}
