// What an open engine says of itself.
#include <jansson.h>

#include "engine/engine_internal.h"
#include "engine/engine_state.h"
#include "engine/kept_prefixes.h"
#include "plan/policy_file.h"

const fg_tokenizer *fg_engine_tokenizer(const fg_engine *e) {
  return e->tokenizer;
}
const fg_chat *fg_engine_chat(const fg_engine *e) {
  return e->chat;
}
const fg_model *fg_engine_model(const fg_engine *e) {
  return e->model;
}
fg_budget *fg_engine_host_budget(fg_engine *e) {
  return e->host;
}
uint32_t fg_engine_kept_tokens(const fg_engine *e, const fg_request *request) {
  return fg_kept_prefixes_tokens(e, request);
}
fg_trace *fg_engine_trace(fg_engine *e) {
  return e->trace;
}

const fg_history *fg_engine_history(const fg_engine *e) {
  return &e->history;
}

static const char *compute_name(fg_compute compute) {
  static const char *const names[] = {
      [FG_COMPUTE_F32] = "f32", [FG_COMPUTE_BF16] = "bf16", [FG_COMPUTE_INT8] = "int8"};
  return names[compute];
}

fg_dtype fg_engine_weight_type(const fg_engine *e) {
  const fg_store *store = e->model->store;
  uint64_t bytes[FG_DTYPE_COUNT] = {0};
  fg_dtype most = FG_F32;
  for (uint32_t w = 0; w < store->weight_count; w++) {
    const fg_weight *weight = &store->weights[w];
    if (weight->kind != FG_WEIGHT_MATRIX) continue;
    for (uint32_t p = weight->panel; p < weight->panel + weight->panels; p++)
      bytes[weight->dtype] += store->panels[p].bytes;
    if (bytes[weight->dtype] > bytes[most]) most = weight->dtype;
  }
  return most;
}

// Also of an engine that is not open yet, or only planned.
static uint64_t resident_bytes(const fg_engine *e) {
  return e->executor ? fg_executor_resident_bytes(e->executor)
                     : e->policy.device_weight_bytes + e->policy.host_weight_bytes;
}

void fg_engine_describe(const fg_engine *e, fg_engine_info *out) {
  const fg_model *m = e->model;
  *out = (fg_engine_info){
      .name = m->name,
      .architecture = m->architecture,
      .fingerprint = m->fingerprint,
      .device = e->device_name,
      .dtype = compute_name(e->compute),
      .weight_dtype = fg_dtype_get(fg_engine_weight_type(e))->name,
      .cache_dtype = e->rotates_cache ? "i4g64m, rotated" : fg_dtype_get(e->cache_dtype)->name,
      .io = fg_io_backend_name(e->io),
      .vocab = m->graph->vocab,
      .max_model_len = e->policy.max_len,
      .eos = m->eos,
      .eos_count = m->eos_count,
      .max_num_seqs = e->policy.max_seqs,
      .max_num_batched_tokens = e->policy.max_tokens,
      .order = e->policy.order,
      .parameters = m->parameters,
      .weight_bytes = fg_store_bytes(m->store),
      .stored_weight_bytes = fg_store_own_bytes(m->store),
      .aliased_layers = fg_store_aliased_layers(m->store),
      .resident_weight_bytes = resident_bytes(e),
      .host_budget = fg_budget_limit(e->host),
      .device_budget = e->device_budget == e->host ? 0 : fg_budget_limit(e->device_budget),
  };
}

static uint64_t disk_bytes_read(const fg_engine *e, const fg_runner_counts *counts) {
  return fg_io_bytes_read(e->io) + fg_io_bytes_read(e->table_io) + counts->kv_read +
         counts->hidden.read_bytes + fg_kept_prefixes_counts(e).loaded_bytes;
}

static uint64_t disk_bytes_written(const fg_engine *e, const fg_runner_counts *counts) {
  return fg_io_bytes_written(e->io) + counts->kv_written + counts->hidden.written_bytes +
         fg_kept_prefixes_counts(e).saved_bytes;
}

static double span_seconds(const fg_engine *e, fg_span_kind kind) {
  return 1e-9 * (double)fg_trace_sum(e->trace, kind).nanoseconds;
}

// Of the moment `now_ns`.
static fg_history_sample sample_at(const fg_engine *e, uint64_t now_ns) {
  const double seconds = 1e-9 * (double)(now_ns - e->opened_ns);
  const fg_runner_counts counts = fg_engine_count(e);
  const bool own_memory = e->device_budget != e->host;
  return (fg_history_sample){
      .values = {
          [FG_HISTORY_SECONDS] = seconds,
          [FG_HISTORY_STEP_COUNT] = (double)e->steps,
          [FG_HISTORY_PROMPT_TOKENS] = (double)e->prompt_tokens,
          [FG_HISTORY_SHARED_TOKENS] = (double)e->prompt_tokens_shared,
          [FG_HISTORY_GENERATED_TOKENS] = (double)e->generated_tokens,
          [FG_HISTORY_READ_BYTES] = (double)disk_bytes_read(e, &counts),
          [FG_HISTORY_WRITTEN_BYTES] = (double)disk_bytes_written(e, &counts),
          [FG_HISTORY_STEP_SECONDS] = span_seconds(e, FG_SPAN_STEP),
          [FG_HISTORY_COMPUTE_SECONDS] = span_seconds(e, FG_SPAN_COMPUTE),
          [FG_HISTORY_WAIT_SECONDS] = span_seconds(e, FG_SPAN_WAIT_READ),
          [FG_HISTORY_HOST_BYTES] = (double)fg_budget_used(e->host),
          [FG_HISTORY_DEVICE_BYTES] = own_memory ? (double)fg_budget_used(e->device_budget) : 0,
          [FG_HISTORY_WAITING] = fg_scheduler_waiting(e->scheduler),
      }};
}

void fg_engine_begin_history(fg_engine *e, uint64_t now_ns) {
  e->opened_ns = now_ns;
  fg_history_sample first = sample_at(e, now_ns);
  first.values[FG_HISTORY_PROCESS_BYTES] = (double)fg_process_rss();
  fg_history_begin(&e->history, &first);
}

void fg_engine_record_step(fg_engine *e, uint64_t begin_ns, uint64_t end_ns, uint32_t rows) {
  fg_history_sample now = sample_at(e, end_ns);
  now.values[FG_HISTORY_RUNNING] = rows; // those that it ended are gone already
  // The system is asked where a sample ends only: of a long run few steps do.
  if (fg_history_due(&e->history, now.values[FG_HISTORY_SECONDS]))
    now.values[FG_HISTORY_PROCESS_BYTES] = (double)fg_process_rss();
  fg_history_add(&e->history, 1e-9 * (double)(begin_ns - e->opened_ns), rows, &now);
}

void fg_engine_get_stats(const fg_engine *e, fg_engine_stats *out) {
  uint64_t busy, covered;
  fg_trace_overlap(e->trace, FG_SPAN_READ, FG_SPAN_COMPUTE, &busy, &covered);
  const fg_runner_counts counts = fg_engine_count(e);
  const fg_prefix_counts kept = fg_kept_prefixes_counts(e);
  *out = (fg_engine_stats){
      .steps = e->steps,
      .prompt_tokens = e->prompt_tokens,
      .prompt_tokens_distinct = e->prompt_tokens - e->prompt_tokens_repeated,
      .prompt_tokens_shared = e->prompt_tokens_shared,
      .prompt_tokens_copied = e->prompt_tokens_copied,
      .generated_tokens = e->generated_tokens,
      .preemptions = e->preemptions,
      .drafted_tokens = e->drafted_tokens,
      .drafted_steps = e->drafted_steps,
      .accepted_tokens = e->accepted_tokens,
      .forced_tokens = e->forced_tokens,
      .prefix_tokens_loaded = kept.loaded_pages * e->model->graph->kv.page_tokens,
      .prefix_bytes_loaded = kept.loaded_bytes,
      .prefix_tokens_saved = kept.saved_pages * e->model->graph->kv.page_tokens,
      .prefix_bytes_saved = kept.saved_bytes,
      .prefix_pages_removed = kept.removed_pages,
      .prefix_pages_damaged = kept.damaged_pages,
      .bytes_read = disk_bytes_read(e, &counts),
      .bytes_written = disk_bytes_written(e, &counts),
      .hidden_bytes_read = counts.hidden.read_bytes,
      .hidden_bytes_written = counts.hidden.written_bytes,
      .kv_bytes_read = counts.kv_read,
      .kv_bytes_written = counts.kv_written,
      .weight_bytes_streamed = counts.streamed,
      .experts_used = counts.experts.used,
      .experts_hit = counts.experts.hits,
      .expert_bytes_read = counts.experts.read_bytes,
      .expert_bytes_absent = counts.experts.absent_bytes,
      .expert_bytes_ahead = counts.experts.ahead_bytes,
      .expert_bytes_wrong = counts.experts.wrong_bytes,
      .expert_bytes_open = counts.experts.open_bytes,
      .sparse_value_bytes = counts.sparse.value_bytes,
      .sparse_spared_bytes = counts.sparse.spared_bytes,
      .crossing_query_bytes = counts.crossing.queries,
      .crossing_state_bytes = counts.crossing.states,
      .crossing_page_bytes = counts.crossing.pages,
      .crossing_spared_bytes = counts.crossing.spared,
      .registered_bytes = fg_io_bytes_registered(e->io),
      .host_used = fg_budget_used(e->host),
      .host_peak = fg_budget_peak(e->host),
      .process_peak = fg_process_peak_rss(),
      .running = e->scheduler ? fg_scheduler_running(e->scheduler) : 0,
      .waiting = e->scheduler ? fg_scheduler_waiting(e->scheduler) : 0,
      .policies = e->changes + 1,
      .seconds_steps = span_seconds(e, FG_SPAN_STEP),
      .seconds_compute = span_seconds(e, FG_SPAN_COMPUTE),
      .seconds_wait_read = span_seconds(e, FG_SPAN_WAIT_READ),
      .seconds_sample = span_seconds(e, FG_SPAN_SAMPLE),
      .seconds_gather = span_seconds(e, FG_SPAN_GATHER),
      .seconds_prefixes = fg_kept_prefixes_seconds(e),
      .seconds_read = 1e-9 * (double)busy,
      .seconds_read_overlapped = 1e-9 * (double)covered,
  };
  if (e->device_budget == e->host) return;
  out->device_used = fg_budget_used(e->device_budget);
  out->device_peak = fg_budget_peak(e->device_budget);
}

json_t *fg_engine_policy_json(const fg_engine *e) {
  const fg_policy *p = &e->policy;
  double weights = (double)fg_store_bytes(e->model->store);
  return json_pack(
      "{s:s, s:I, s:I, s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
      "s:I, s:f, s:b}",
      "device", e->device_name, "max_num_batched_tokens", (json_int_t)p->max_tokens, "max_num_seqs",
      (json_int_t)p->max_seqs, "max_model_len", (json_int_t)p->max_len, "row_order",
      fg_row_order_name(p->order), "kv_pages", (json_int_t)p->pages, "kv_page_tokens",
      (json_int_t)e->model->graph->kv.page_tokens, "kv_page_bytes",
      (json_int_t)fg_kv_page_bytes(&e->model->graph->kv), "kv_device_pages", (json_int_t)p->device_pages,
      "kv_host_pages", (json_int_t)p->host_pages, "kv_disk_pages", (json_int_t)p->disk_pages, "kv_frames",
      (json_int_t)p->frames, "kv_frame_pages", (json_int_t)p->frame_pages, "kv_stage_bytes",
      (json_int_t)p->stage_bytes, "ring_bytes", (json_int_t)p->ring_bytes, "device_weight_bytes",
      (json_int_t)p->device_weight_bytes, "host_weight_bytes", (json_int_t)p->host_weight_bytes,
      "micro_batch_tokens", (json_int_t)p->micro_tokens, "hidden_memory_tokens", (json_int_t)p->hidden_rows,
      "hidden_host_tokens", (json_int_t)p->hidden_host_rows, "hidden_disk_tokens",
      (json_int_t)p->hidden_disk_rows, "resident_share",
      weights > 0 ? (double)resident_bytes(e) / weights : 1.0, "tables_resident", (int)p->tables_resident);
}
