// executor_state.h: an executor's parts, for executor_open.c, which makes them, and executor.c, which runs
// steps.
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
  uint64_t positions, lengths, slots, selected, chunks, prompts, shared, members, starts, tables, bytes;
  uint32_t table_stride;
} fg_step_arrays;

struct fg_executor {
  fg_executor_options options;
  fg_weight_stream *stream;
  fg_table *tables[4]; // of graph->inputs
  fg_memory *registers, *vectors, *array_memory, *logits;
  fg_memory *states; // [max_tokens, 2 * heads]: of attention, between segments
  uint32_t heads;    // of queries, the most in a layer
  fg_kv_cache *kv;
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
  float *staging;      // [max_tokens, widest input] where the host cannot reach the registers
  float *host_logits;  // where it cannot reach the logits
  uint32_t head_rows;  // rows of a block of logits
  uint64_t resident;
  uint32_t tokens, chunks, selected;
  uint32_t batches; // into which a layer's attention is cut; 0: it is not
  fg_shared_lists shared;
  fg_status added; // the first failure of putting the step together, and its message
  fg_error added_error;
  uint32_t track;
  fg_calibration *calibration; // NULL: nobody looks
};

#endif
