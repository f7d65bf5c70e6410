#include "report/stats.h"

#include <stdio.h>

#include "engine/engine_internal.h"

// Bytes that this process had fetched from the disk, as the kernel counts them; -1 = unknown.
static json_int_t process_read_bytes(void) {
  FILE *file = fopen("/proc/self/io", "re");
  if (!file) return -1;
  char line[128];
  long long bytes = -1;
  while (fgets(line, sizeof line, file))
    if (sscanf(line, "read_bytes: %lld", &bytes) == 1) break;
  fclose(file);
  return bytes;
}

static json_int_t n(uint64_t value) {
  return (json_int_t)value;
}

static json_t *model_json(const fg_engine_info *info) {
  return json_pack("{s:s?,s:s?,s:s?,s:I,s:I,s:I,s:I,s:I,s:s?,s:s?,s:s?,s:s?,s:s?,s:I}", "name", info->name,
                   "architecture", info->architecture, "fingerprint", info->fingerprint, "parameters",
                   n(info->parameters), "weight_bytes", n(info->weight_bytes), "resident_weight_bytes",
                   n(info->resident_weight_bytes), "stored_weight_bytes", n(info->stored_weight_bytes),
                   "aliased_layers", n(info->aliased_layers), "device", info->device, "dtype", info->dtype,
                   "weight_dtype", info->weight_dtype, "cache_dtype", info->cache_dtype, "io", info->io,
                   "max_model_len", n(info->max_model_len));
}

static json_t *phases_json(const fg_stats_run *run, const fg_engine_stats *s) {
  return json_pack("{s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f}", "open_s", run->open_seconds, "run_s",
                   run->run_seconds, "steps_s", s->seconds_steps, "compute_s", s->seconds_compute,
                   "wait_read_s", s->seconds_wait_read, "read_s", s->seconds_read, "read_overlapped_s",
                   s->seconds_read_overlapped, "gather_s", s->seconds_gather, "sample_s", s->seconds_sample);
}

static json_t *tokens_json(const fg_engine_stats *s, double seconds) {
  double per_second = seconds > 0 ? 1 / seconds : 0;
  return json_pack("{s:I,s:I,s:I,s:I,s:I,s:f,s:f,s:I,s:I,s:I,s:I,s:I,s:I}", "prompt", n(s->prompt_tokens),
                   "prompt_distinct", n(s->prompt_tokens_distinct), "prompt_shared",
                   n(s->prompt_tokens_shared), "prompt_copied", n(s->prompt_tokens_copied), "generated",
                   n(s->generated_tokens), "prompt_per_s", (double)s->prompt_tokens * per_second,
                   "generated_per_s", (double)s->generated_tokens * per_second, "steps", n(s->steps),
                   "preemptions", n(s->preemptions), "drafted", n(s->drafted_tokens), "drafted_steps",
                   n(s->drafted_steps), "accepted", n(s->accepted_tokens), "forced", n(s->forced_tokens));
}

static json_t *tiers_json(const fg_engine_info *info, const fg_engine_stats *s) {
  return json_pack("{s:{s:I,s:I,s:I,s:I},s:{s:I,s:I},s:{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}}", "host",
                   "budget_bytes", n(info->host_budget), "used_bytes", n(s->host_used), "peak_bytes",
                   n(s->host_peak), "process_peak_bytes", n(s->process_peak), "device", "budget_bytes",
                   n(info->device_budget), "peak_bytes", n(s->device_peak), "disk", "read_bytes",
                   n(s->bytes_read), "written_bytes", n(s->bytes_written), "weight_bytes_streamed",
                   n(s->weight_bytes_streamed), "kv_bytes_read", n(s->kv_bytes_read), "kv_bytes_written",
                   n(s->kv_bytes_written), "hidden_bytes_read", n(s->hidden_bytes_read),
                   "hidden_bytes_written", n(s->hidden_bytes_written), "registered_bytes",
                   n(s->registered_bytes), "process_read_bytes", process_read_bytes());
}

static json_t *crossing_json(const fg_engine_stats *s) {
  return json_pack("{s:I,s:I,s:I,s:I}", "query_bytes", n(s->crossing_query_bytes), "state_bytes",
                   n(s->crossing_state_bytes), "page_bytes", n(s->crossing_page_bytes), "spared_page_bytes",
                   n(s->crossing_spared_bytes));
}

static json_t *experts_json(const fg_engine_stats *s) {
  return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "used", n(s->experts_used), "hits", n(s->experts_hit),
                   "read_bytes", n(s->expert_bytes_read), "absent_bytes", n(s->expert_bytes_absent),
                   "ahead_bytes", n(s->expert_bytes_ahead), "wrong_bytes", n(s->expert_bytes_wrong),
                   "open_bytes", n(s->expert_bytes_open));
}

json_t *fg_stats_predicted(const fg_engine *engine) {
  fg_engine_forecast f;
  fg_engine_get_forecast(engine, &f);
  if (!f.known) return json_null();
  return json_pack("{s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:I,s:I,s:s,s:f}", "seconds", f.seconds, "steps",
                   f.steps, "prompt_tokens_per_s", f.prompt_tokens_per_s, "generated_tokens_per_s",
                   f.generated_tokens_per_s, "shared_tokens", f.shared_tokens, "copied_tokens",
                   f.copied_tokens, "kept_tokens", f.kept_tokens, "drafting_steps", f.drafting_steps,
                   "bytes_read", f.bytes_read, "bytes_written", f.bytes_written, "host_bytes",
                   n(f.host_bytes), "device_bytes", n(f.device_bytes), "bound_by", f.bound_by, "pace",
                   f.pace);
}

static json_t *sparse_json(const fg_engine_stats *s) {
  return json_pack("{s:I,s:I}", "value_bytes", n(s->sparse_value_bytes), "spared_bytes",
                   n(s->sparse_spared_bytes));
}

// A number of the history; whole ones are exact up to 2^53, beyond which no count of a run goes.
static json_t *number(double value, bool whole) {
  return whole ? json_integer((json_int_t)value) : json_real(value);
}

static json_t *column_json(const fg_history *h, fg_history_column column) {
  json_t *values = json_array();
  for (uint32_t i = 0; i < fg_history_count(h); i++)
    json_array_append_new(values, number(fg_history_at(h, i)->values[column], fg_history_is_whole(column)));
  return values;
}

static json_t *timeline_json(const fg_history *h) {
  json_t *columns = json_object();
  for (uint32_t c = 0; c < FG_HISTORY_COLUMNS; c++)
    json_object_set_new(columns, fg_history_name(c), column_json(h, c));
  return columns;
}

static json_t *steps_json(const fg_history *h) {
  json_t *steps = json_array();
  for (uint32_t i = 0; i < fg_history_step_count(h); i++) {
    const fg_history_step *s = fg_history_step_at(h, i);
    json_array_append_new(steps, json_pack("{s:f,s:f,s:f,s:f,s:I,s:I,s:I}", "begin_s", s->begin, "step_s",
                                           s->seconds, "compute_s", s->compute, "wait_read_s", s->wait,
                                           "prompt_tokens", (json_int_t)s->prompt_tokens, "generated_tokens",
                                           (json_int_t)s->generated_tokens, "rows", (json_int_t)s->rows));
  }
  return steps;
}

static json_t *prefix_cache_json(const fg_engine_stats *s) {
  return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:f}", "loaded_tokens", n(s->prefix_tokens_loaded),
                   "loaded_bytes", n(s->prefix_bytes_loaded), "saved_tokens", n(s->prefix_tokens_saved),
                   "saved_bytes", n(s->prefix_bytes_saved), "removed_pages", n(s->prefix_pages_removed),
                   "damaged_pages", n(s->prefix_pages_damaged), "seconds", s->seconds_prefixes);
}

json_t *fg_stats_simulation(const fg_engine *engine) {
  fg_engine_simulation s;
  if (!fg_engine_get_simulation(engine, &s)) return NULL;
  json_t *busy = json_object();
  for (int u = 0; u < FG_UNIT_COUNT; u++)
    json_object_set_new(busy, fg_unit_name((fg_unit)u), json_real(s.busy[u]));
  return json_pack("{s:s,s:f,s:o}", "machine", s.machine, "seconds", s.seconds, "busy_s", busy);
}

json_t *fg_stats_json(const fg_engine *engine, const fg_stats_run *run) {
  fg_engine_stats s;
  fg_engine_info info;
  fg_engine_get_stats(engine, &s);
  fg_engine_describe(engine, &info);
  json_t *policy = fg_engine_policy_json(engine);
  const fg_history *history = fg_engine_history(engine);
  return json_pack("{s:s,s:s,s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o*,s:O*,s:o,s:o}", "version",
                   FG_VERSION, "command", run->command, "outcome", run->outcome, "model", model_json(&info),
                   "policy", policy ? policy : json_null(), "predicted", fg_stats_predicted(engine), "phases",
                   phases_json(run, &s), "tokens", tokens_json(&s, run->run_seconds), "tiers",
                   tiers_json(&info, &s), "experts", experts_json(&s), "sparse_attention", sparse_json(&s),
                   "crossing", crossing_json(&s), "prefix_cache", prefix_cache_json(&s), "simulation",
                   fg_stats_simulation(engine), "rows", run->rows, "last_steps", steps_json(history),
                   "timeline", timeline_json(history));
}
