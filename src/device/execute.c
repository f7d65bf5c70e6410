#include "device/execute.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "device/execute_internal.h"
#include "device/view.h"

enum {
  DEFAULT_HEAD_DIM = 256,
  SHARED_ELEMENTS = 16384, // below it a team's start costs more than it saves (about 2 us of one thread)
};

fg_status fg_view_resolve(const fg_view *view, const char *name, uint64_t rows, uint64_t width, uint64_t size,
                          void **out, fg_error *err) {
  *out = NULL;
  if (!view->memory) return fg_fail(err, FG_INTERNAL, "operand %s is absent", name);
  fg_status status = fg_view_check(view, name, rows, width, size, view->memory->bytes, err);
  if (status) return status;
  *out = view->memory->base + view->offset;
  return FG_OK;
}

void fg_execute_items(fg_cpu_executor *e, uint32_t items, uint64_t elements, fg_thread_fn *fn, void *arg) {
  fg_threads_run(elements >= SHARED_ELEMENTS ? e->options.threads : NULL, items, fn, arg);
}

static fg_status execute_matmul(fg_cpu_executor *e, const fg_call *call, fg_error *err) {
  uint32_t n = call->params.matmul.n, k = call->params.matmul.k;
  const fg_layout *layout = call->params.matmul.layout;
  void *x, *panel, *bias = NULL, *out;
  fg_status status = fg_view_resolve(&call->a, "a", call->rows, k, sizeof(float), &x, err);
  uint64_t panel_bytes = layout->bytes(call->params.matmul.dtype, n, k);
  if (!status) status = fg_view_resolve(&call->b, "b", 1, panel_bytes, 1, &panel, err);
  if (!status && call->c.memory) status = fg_view_resolve(&call->c, "c", 1, n, sizeof(float), &bias, err);
  if (!status) status = fg_view_resolve(&call->out, "out", call->rows, n, sizeof(float), &out, err);
  if (status) return status;
  return fg_matmul_run(e->matmul,
                       &(fg_matmul_call){
                           .x = x,
                           .panel = panel,
                           .bias = bias,
                           .out = out,
                           .rows = call->rows,
                           .n = n,
                           .k = k,
                           .x_stride = call->a.stride,
                           .out_stride = call->out.stride,
                           .dtype = call->params.matmul.dtype,
                           .layout = layout,
                           .accumulate = call->params.matmul.accumulate,
                           .same_x = call->params.matmul.same_a,
                       },
                       err);
}

static fg_execute_fn *const ops[FG_OP_COUNT] = {
    [FG_OP_NORM] = fg_execute_norm,       [FG_OP_MATMUL] = execute_matmul,
    [FG_OP_ROPE] = fg_execute_rope,       [FG_OP_KV_STORE] = fg_execute_kv_store,
    [FG_OP_KV_COPY] = fg_execute_kv_copy, [FG_OP_ATTENTION] = fg_execute_attention,
    [FG_OP_ACT] = fg_execute_act,         [FG_OP_GLU] = fg_execute_glu,
    [FG_OP_ADD] = fg_execute_add,         [FG_OP_MAP] = fg_execute_map,
    [FG_OP_SELECT] = fg_execute_select,   [FG_OP_ROUTE] = fg_execute_route,
    [FG_OP_SCATTER] = fg_execute_scatter,
};

fg_status fg_cpu_executor_run(fg_cpu_executor *e, const fg_call *call, fg_error *err) {
  if ((unsigned)call->op >= FG_OP_COUNT)
    return fg_fail(err, FG_INTERNAL, "operation %d is unknown", (int)call->op);
  if (call->rows == 0) return FG_OK;
  fg_error cause;
  fg_status status = FG_OK;
  if (call->rows > e->options.max_rows)
    status = fg_fail(&cause, FG_INTERNAL, "%u rows on a device made for at most %u", call->rows,
                     e->options.max_rows);
  else
    status = ops[call->op](e, call, &cause);
  return status ? fg_fail(err, status, "%s of layer %d: %s", fg_op_name(call->op), (int)call->layer,
                          cause.message)
                : FG_OK;
}

fg_status fg_cpu_memory_create(fg_budget *budget, uint64_t bytes, const char *what, fg_memory **out,
                               fg_error *err) {
  fg_memory *m = calloc(1, sizeof *m);
  if (!m) return fg_fail(err, FG_NO_SPACE, "no memory to note %s", what);
  void *base;
  fg_status status = fg_budget_alloc(budget, bytes, what, &base, err);
  if (status) {
    free(m);
    return status;
  }
  fg_prefer_huge_pages(base, bytes);
  *m = (fg_memory){.base = base, .bytes = bytes};
  *out = m;
  return FG_OK;
}

void fg_cpu_memory_destroy(fg_budget *budget, fg_memory *m) {
  if (!m) return;
  fg_budget_free(budget, m->base);
  free(m);
}

fg_status fg_cpu_executor_copy_in(fg_memory *m, uint64_t offset, const void *host, uint64_t bytes,
                                  fg_error *err) {
  if (!fg_range_ok(offset, bytes, m->bytes))
    return fg_fail(err, FG_INTERNAL, "upload of %" PRIu64 " bytes to offset %" PRIu64 " of %" PRIu64, bytes,
                   offset, m->bytes);
  if (bytes) memcpy(m->base + offset, host, bytes);
  return FG_OK;
}

fg_status fg_cpu_executor_copy_out(fg_memory *m, uint64_t offset, void *host, uint64_t bytes, fg_error *err) {
  if (!fg_range_ok(offset, bytes, m->bytes))
    return fg_fail(err, FG_INTERNAL, "download of %" PRIu64 " bytes from offset %" PRIu64 " of %" PRIu64,
                   bytes, offset, m->bytes);
  if (bytes) memcpy(host, m->base + offset, bytes);
  return FG_OK;
}

// ---- life ----------------------------------------------------------------------------------------------

static uint32_t largest_head(const fg_device_options *o) {
  return o->max_head_dim ? o->max_head_dim : DEFAULT_HEAD_DIM;
}

static uint64_t thread_scratch_bytes(const fg_device_options *o) {
  uint64_t bytes = fg_attend_scratch_bytes(largest_head(o));
  if (o->sparse_heads)
    bytes = fg_sparse_scratch_bytes(largest_head(o),
                                    o->sparse_heads < FG_QUERY_BLOCK ? o->sparse_heads : FG_QUERY_BLOCK,
                                    o->sparse_context);
  return fg_align_up(bytes, 4096);
}

static uint64_t block_list_bytes(const fg_device_options *o) {
  return fg_align_up((o->max_rows ? o->max_rows : 1) * sizeof(fg_row_block), 4096);
}

static fg_matmul_options matmul_options(const fg_device_options *o, uint32_t features) {
  return (fg_matmul_options){
      .features = features,
      .bf16 = o->compute != FG_COMPUTE_F32,
      .int8 = o->compute == FG_COMPUTE_INT8,
      .max_rows = o->max_rows,
      .max_k = o->max_k ? o->max_k : o->max_width,
      .threads = o->threads,
      .budget = o->host,
  };
}

uint64_t fg_cpu_executor_scratch_bytes(const fg_device_options *options, uint32_t features) {
  fg_matmul_options products = matmul_options(options, features);
  return fg_threads_count(options->threads) * thread_scratch_bytes(options) + block_list_bytes(options) +
         fg_matmul_scratch_bytes(&products);
}

fg_status fg_cpu_executor_create(fg_cpu_executor **out, const fg_device_options *options, uint32_t features,
                                 fg_error *err) {
  fg_cpu_executor *e = calloc(1, sizeof *e);
  if (!e) return fg_fail(err, FG_NO_SPACE, "no memory for a device");
  e->options = *options;
  e->head_dim = largest_head(options);
  e->thread_bytes = thread_scratch_bytes(options);
  fg_kernels_init(&e->kernels, features);
  void *scratch = NULL, *blocks = NULL;
  fg_status status = fg_budget_alloc(options->host, fg_threads_count(options->threads) * e->thread_bytes,
                                     "scratch of attention", &scratch, err);
  if (!status)
    status = fg_budget_alloc(options->host, block_list_bytes(options), "list of queries", &blocks, err);
  e->scratch = scratch;
  e->blocks = blocks;
  fg_matmul_options products = matmul_options(options, features);
  products.kernels = &e->kernels;
  if (!status) status = fg_matmul_create(&e->matmul, &products, err);
  if (status) {
    fg_cpu_executor_destroy(e);
    return status;
  }
  *out = e;
  return FG_OK;
}

fg_sparse_counts fg_cpu_executor_sparse_counts(fg_cpu_executor *e) {
  return (fg_sparse_counts){atomic_load_explicit(&e->value_bytes, memory_order_relaxed),
                            atomic_load_explicit(&e->spared_bytes, memory_order_relaxed)};
}

void fg_cpu_executor_destroy(fg_cpu_executor *e) {
  if (!e) return;
  fg_matmul_destroy(e->matmul);
  fg_budget_free(e->options.host, e->blocks);
  fg_budget_free(e->options.host, e->scratch);
  free(e);
}
