// executor_state.h: an executor's parts, for executor_open.c, which makes them, executor.c, which runs steps,
// and layer_pass.c, which runs those that are gone through batch by batch.
#ifndef FG_ENGINE_EXECUTOR_STATE_H
#define FG_ENGINE_EXECUTOR_STATE_H

#include "engine/executor.h"
#include "engine/expert_rows.h"
#include "engine/experts.h"
#include "engine/kv_cache.h"
#include "engine/shared_segments.h"
#include "engine/tables.h"

// The step's arrays, in host memory and again on the device: offsets in bytes.
typedef struct fg_step_arrays {
  uint64_t positions, lengths, slots, selected, chunks, prompts, shared, members, starts, copies, tables,
      bytes;
  uint32_t table_stride;
} fg_step_arrays;

// The rows that programs run on: all of a step, or a batch of a layer pass.
typedef struct fg_span {
  uint32_t row, rows; // of the step
  fg_view stream;     // of register 0, from the first of them on
  fg_batch_view batch;
  bool more; // other rows follow in the same program: panels stay acquired
} fg_span;

typedef struct fg_layer_pass fg_layer_pass;

struct fg_executor {
  fg_executor_options options;
  fg_weight_stream *stream;
  fg_table *tables[4]; // of graph->inputs
  fg_memory *registers, *vectors, *array_memory, *logits;
  fg_memory *states; // [max_tokens, 2 * heads]: of attention, between segments
  uint32_t heads;    // of queries, the most in a layer
  fg_kv_cache *kv;
  fg_layer_pass *pass; // NULL: steps are ordinary ones
  fg_span span;        // what is run now
  uint64_t register_offset[FG_MAX_REGISTERS];
  uint64_t *vector_offset; // [weights]
  uint64_t constant_offset[FG_MAX_CONSTANTS];
  uint32_t (*weight_of)[FG_MAX_SLOTS]; // [layers + 2]: prologue, layers, epilogue
  fg_experts_map experts;
  fg_expert_rows *expert_rows;   // NULL: no layer has experts
  fg_expert_cache *expert_cache; // NULL: all of them are resident
  fg_step_arrays at;
  char *host_arrays;   // image of array_memory
  void *finding;       // scratch of fg_shared_segments_find
  int32_t *ids, *rows; // [max_tokens]
  float *staging;      // [rows of a span, widest input] where the host cannot reach the registers
  float *host_logits;  // where it cannot reach the logits
  uint32_t head_rows;  // rows of a block of logits
  uint64_t resident;
  uint32_t tokens, chunks, selected, copies;
  uint32_t batches; // into which a layer's attention is cut; 0: it is not
  fg_shared_lists shared;
  fg_status added; // the first failure of putting the step together, and its message
  fg_error added_error;
  uint32_t track;
  fg_calibration *calibration; // NULL: nobody looks
};

// ---- parts of a step, on x->span --------------------------------------------------------------------------

fg_status fg_executor_upload_arrays(fg_executor *x, fg_error *err);
// Chunks [first, first + count) of the step; rows from `row` on are the view's rows from 0 on.
fg_batch_view fg_executor_batch_view(const fg_executor *x, uint32_t first, uint32_t count, uint32_t row);
fg_view fg_executor_register(const fg_executor *x, uint32_t index, uint32_t column);
fg_status fg_executor_gather(fg_executor *x, fg_error *err);
// layer as in fg_graph_program; `rows`: the epilogue has fewer than the span.
fg_status fg_executor_program(fg_executor *x, int32_t layer, uint32_t rows, fg_error *err);
// Out = rows of register 0 that are selected rows [first, first + count) of the step.
fg_status fg_executor_select_rows(fg_executor *x, uint32_t first, uint32_t count, fg_error *err);

// The head's product, panel by panel.
typedef struct fg_head_run {
  const fg_weight *weight;
  fg_call call;
  fg_logits_fn *logits;
  void *user;
} fg_head_run;

fg_head_run fg_executor_head(fg_executor *x, fg_logits_fn *logits, void *user);
// For panel `p`, which is acquired, and `rows` rows of `in`: selected rows from `first` on.
fg_status fg_executor_head_rows(fg_executor *x, fg_head_run *head, uint32_t p, fg_view in, uint32_t first,
                                uint32_t rows, fg_error *err);

#endif
