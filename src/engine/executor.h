// executor.h: runs a step of any graph on a device.
//
// A step is put together chunk by chunk (begin, add, select) and then run: rows of the tables are gathered
// into registers, the prologue and each layer's program are enqueued node by node, weights arriving panel by
// panel from the weight stream, and the head's logits are handed out block by block, so that
// [rows, vocabulary] never exists whole unless the caller keeps it. What a sequence is and which tokens a
// step takes is the scheduler's business; the executor sees rows, positions and pages. Steps of a policy of
// layer passes are gone through batch by batch (layer_pass.h).
//
// Threads: one owner.
#ifndef FG_ENGINE_EXECUTOR_H
#define FG_ENGINE_EXECUTOR_H

#include "device/device.h"
#include "engine/expert_cache.h"
#include "engine/kv_host.h"
#include "engine/weight_stream.h"
#include "io/io.h"
#include "model/calibration.h"
#include "model/graph.h"
#include "plan/policy.h"

typedef struct fg_executor fg_executor;

typedef struct fg_executor_options {
  const fg_graph *graph; // kv.dtype and kv.page_tokens are set
  fg_store *store;
  fg_device *device;
  fg_io *io, *table_io; // weights; rows of tables
  fg_budget *host;
  fg_trace *trace;
  const fg_policy *policy;
  const char *kv_folder; // where pages of the KV cache go that have no room in memory, and how
  fg_io_backend_id kv_backend;
  bool rotates_cache;   // rotate.h
  double attn_sparsity; // sparse_attention.h; 0 = off
  bool attends_on_host; // kv_host.h
} fg_executor_options;

// What an executor will charge for a graph: fills the memory numbers of a plan (per token, per sequence,
// fixed; vectors, tables, panels, page). The store tells sizes and dtypes.
void fg_executor_costs(const fg_graph *graph, const fg_store *store, bool one_memory,
                       struct fg_plan_input *plan);

fg_status fg_executor_create(fg_executor **out, const fg_executor_options *options, fg_error *err);
void fg_executor_destroy(fg_executor *executor); // NULL is allowed

// ---- one step ----------------------------------------------------------------------------------------

// `dropped`: pages that lost their owner since the step before.
void fg_executor_begin(fg_executor *executor, const uint32_t *dropped, uint32_t dropped_count);
// Tokens [begin, begin + count) of a sequence, of which `known` are known and `prompt` were given; it may
// become `longest` tokens.
typedef struct fg_chunk_tokens {
  const int32_t *ids; // [count]
  uint32_t begin, count, prompt, known, longest;
  uint32_t copied, source; // tokens before `begin` that its page gets from another one
} fg_chunk_tokens;

// Adds tokens, which the sequence's pages cover; the list of these stays as it is until the step has run.
// Returns the row of the first. The step must stay within the policy.
uint32_t fg_executor_add(fg_executor *executor, const fg_chunk_tokens *tokens, const uint32_t *pages,
                         uint32_t page_count);
// Asks for the logits of a row; rows come in the order of the calls.
void fg_executor_select(fg_executor *executor, uint32_t row);

// Logits of selected rows [first, first + rows) for tokens [column, column + columns):
// logits[i * stride + c], f32. All columns of a row come in rising order.
typedef struct fg_logits_block {
  uint32_t first, rows, column, columns, stride;
  const float *logits;
} fg_logits_block;
typedef void fg_logits_fn(void *user, const fg_logits_block *block);

// Returns when all is computed and `logits` has seen every block.
fg_status fg_executor_run(fg_executor *executor, fg_logits_fn *logits, void *user, fg_error *err);

// ---- pages from elsewhere, between two steps (kv_cache.h) ----------------------------------------------

struct fg_kv_move;
// Pages of a text that will be put: `dropped` lost their owner before.
typedef struct fg_page_run {
  const uint32_t *pages; // [end]
  uint32_t begin, end;   // those that will be put
  uint32_t longest;      // tokens that the sequence may have
  const uint32_t *dropped;
  uint32_t dropped_count;
} fg_page_run;
fg_status fg_executor_place(fg_executor *executor, const fg_page_run *run, fg_error *err);
fg_status fg_executor_put(fg_executor *executor, const struct fg_kv_move *move, const void *bytes,
                          fg_error *err);
fg_status fg_executor_get(fg_executor *executor, const struct fg_kv_move *move, void *bytes, fg_error *err);

// From now on every matrix shows its input to `calibration`, whose items are the store's matrices in their
// order; NULL ends it. The device's registers must be within the host's reach.
void fg_executor_observe(fg_executor *executor, fg_calibration *calibration);

uint64_t fg_executor_weight_bytes_read(const fg_executor *executor);
uint64_t fg_executor_kv_bytes_read(const fg_executor *executor); // pages of the KV cache, from disk
uint64_t fg_executor_kv_bytes_written(const fg_executor *executor);
fg_kv_crossing fg_executor_kv_crossing(const fg_executor *executor);
// Of layer passes, whose hidden state did not all fit in memory: bytes from and to the disk.
typedef struct fg_hidden_counts {
  uint64_t read_bytes, written_bytes;
} fg_hidden_counts;
fg_hidden_counts fg_executor_hidden_counts(const fg_executor *executor);
// All 0 where every expert is resident.
fg_expert_counts fg_executor_expert_counts(const fg_executor *executor);
uint64_t fg_executor_resident_bytes(const fg_executor *executor); // panels on the device or in host memory

#endif
