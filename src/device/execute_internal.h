// execute_internal.h: what the files of the executor share.
#ifndef FG_DEVICE_EXECUTE_INTERNAL_H
#define FG_DEVICE_EXECUTE_INTERNAL_H

#include <stdatomic.h>

#include "device/execute.h"
#include "kernels/kernels.h"
#include "kernels/matmul.h"

typedef enum fg_block_kind {
  FG_BLOCK_DENSE,
  FG_BLOCK_SPARSE, // one row, whose attention is sparse
  FG_BLOCK_SHARED, // members of a shared segment
} fg_block_kind;

// A block of queries: some rows of one chunk.
typedef struct fg_row_block {
  fg_block_kind kind;
  uint32_t of, first, rows; // rows [first, first + rows) of a chunk, or members of a segment
  uint32_t run;             // entry i of the list: the block that run i begins with
} fg_row_block;

struct fg_cpu_executor {
  fg_device_options options;
  fg_kernels kernels;
  fg_matmul *matmul;
  uint32_t head_dim;     // largest of a cache
  uint64_t thread_bytes; // of scratch
  uint8_t *scratch;      // [threads, thread_bytes]: a block of queries, or the angles of a token
  fg_row_block *blocks;  // [max_rows]
  _Atomic uint64_t value_bytes, spared_bytes; // fg_sparse_counts
};

typedef fg_status fg_execute_fn(fg_cpu_executor *e, const fg_call *call, fg_error *err);

// Where [rows, width] of elements of `size` bytes lies; fails if that is not within the view's memory.
// `name` is for the message.
fg_status fg_view_resolve(const fg_view *view, const char *name, uint64_t rows, uint64_t width, uint64_t size,
                          void **out, fg_error *err);
// Runs items on the team; on the caller if the work is too small to share (elements of float32 touched).
void fg_execute_items(fg_cpu_executor *e, uint32_t items, uint64_t elements, fg_thread_fn *fn, void *arg);

// Of a cache that kernels can have.
fg_status fg_check_geometry(const fg_cpu_executor *e, const fg_kv_geometry *kv, bool rotated, fg_error *err);
// A cache reaches from the view's offset to the end of its memory.
fg_status fg_resolve_cache(const fg_view *view, const fg_kv_geometry *kv, uint8_t **cache, uint64_t *pages,
                           fg_error *err);

fg_execute_fn fg_execute_norm, fg_execute_rope, fg_execute_act, fg_execute_glu, fg_execute_add,
    fg_execute_map, fg_execute_select, fg_execute_route, fg_execute_scatter;
fg_execute_fn fg_execute_kv_store, fg_execute_kv_copy, fg_execute_attention;

#endif
