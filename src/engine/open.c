// Opening an engine: options, budgets, model, policy, and the parts that run it; in that order, so that a job
// that cannot fit is refused before anything large was allocated.
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/size.h"
#include "engine/draft.h"
#include "engine/engine_internal.h"
#include "engine/engine_state.h"
#include "engine/kept_prefixes.h"
#include "engine/sharing.h"
#include "engine/simulate.h"
#include "engine/sparsity.h"
#include "kernels/attention.h"
#include "plan/pass_policy.h"
#include "plan/policy_file.h"

enum {
  // What the process grows by without being counted one by one: requests in flight, their text and JSON,
  // the C library's heap, stacks.
  SLACK_BYTES = 10 * 1024 * 1024,
  // The process that runs what was planned is not quite as large as the one that planned it.
  PLANNED_BYTES = 2 * 1024 * 1024,
  SIMULATED_PROCESS_BYTES = 256 * 1024 * 1024, // of a simulated machine: the same in every run
};

// ---- options ---------------------------------------------------------------------------------------------

typedef struct choice {
  const char *name;
  int value;
} choice;

static fg_status choose(const char *flag, const char *text, const choice *choices, int *value,
                        fg_error *err) {
  char names[128] = "";
  for (const choice *c = choices; c->name; c++) {
    if (strcmp(text ? text : "auto", c->name) == 0) {
      *value = c->value;
      return FG_OK;
    }
    strncat(names, names[0] ? ", " : "", sizeof names - strlen(names) - 1);
    strncat(names, c->name, sizeof names - strlen(names) - 1);
  }
  return fg_fail(err, FG_INVALID, "%s %s: not one of %s", flag, text, names);
}

enum { AUTO = -1 };

static fg_status read_types(fg_engine *e, fg_weight_wish *weights, int *backend, fg_error *err) {
  static const choice computes[] = {
      {"auto", AUTO}, {"f32", FG_COMPUTE_F32}, {"bf16", FG_COMPUTE_BF16}, {"int8", FG_COMPUTE_INT8}, {0}};
  static const choice types[] = {{"auto", AUTO},
                                 {"f32", FG_F32},
                                 {"bf16", FG_BF16},
                                 {"f16", FG_F16},
                                 {"int8", FG_I8G64M},
                                 {"int4", FG_I4G64M},
                                 {0}};
  static const choice backends[] = {
      {"auto", FG_IO_AUTO}, {"uring", FG_IO_URING}, {"threads", FG_IO_THREADS}, {0}};
  int compute = AUTO, cache = AUTO;
  const char *cache_word = e->options.cache_dtype;
  // FlexGen's form: what "int4" is without the turn.
  const bool plain = cache_word && strcmp(cache_word, "flexgen") == 0;
  fg_status status = choose("--dtype", e->options.dtype, computes, &compute, err);
  if (status == FG_OK)
    status = fg_weight_wish_read(weights,
                                 &(fg_weight_words){.dtype = e->options.weight_dtype,
                                                    .group = e->options.weight_group,
                                                    .symmetric = e->options.weight_symmetric,
                                                    .head = e->options.weight_head,
                                                    .table = e->options.weight_embedding},
                                 err);
  if (status == FG_OK) status = choose("--cache-dtype", plain ? "int4" : cache_word, types, &cache, err);
  if (status == FG_OK) status = choose("--io", e->options.io, backends, backend, err);
  if (status != FG_OK) return status;
  // What is asked for; AUTO is settled when the model's weights are known.
  e->compute_auto = compute == AUTO;
  e->compute = compute == AUTO ? FG_COMPUTE_BF16 : (fg_compute)compute;
  e->rotates_cache = cache == FG_I4G64M && !plain;
  e->cache_dtype = cache != AUTO ? (fg_dtype)cache : e->compute == FG_COMPUTE_F32 ? FG_F32 : FG_BF16;
  return FG_OK;
}

// The log levels of the public API are those of base/log.h.
static void forward_log(void *user, fg_log_level level, const char *line) {
  const fg_engine *e = user;
  e->options.log(e->options.user, (int)level, line);
}

static bool forward_packing(void *user, uint64_t done, uint64_t total) {
  const fg_engine *e = user;
  return e->options.packing(e->options.user, done, total);
}

// ---- parts, in order ---------------------------------------------------------------------------------

static fg_status open_machine(fg_engine *e, fg_io_backend_id backend, fg_error *err) {
  e->io_backend = backend;
  uint64_t limit = e->options.host_memory;
  if (!limit) limit = (uint64_t)(0.85 * (double)fg_machine_memory_available());
  fg_status status = fg_budget_create(&e->host, "host memory", "--host-memory", limit, err);
  if (status == FG_OK) status = fg_engine_open_simulation(e, err);
  if (status == FG_OK) status = fg_trace_create(&e->trace, e->options.trace_path, err);
  if (status == FG_OK) status = fg_threads_create(&e->threads, e->options.threads, err);
  if (status != FG_OK) return status;
  fg_engine_start_clock(e);
  e->sample_track = fg_trace_track(e->trace, "sampling");
  e->step_track = fg_trace_track(e->trace, "steps");
  // Deep enough that the whole ring can be on its way while an operation without weights computes.
  fg_io_options io = {
      .backend = backend, .depth = 128, .budget = e->host, .trace = e->trace, .simulation = e->simulation};
  status = fg_io_create(&e->io, &io, err);
  if (status == FG_OK) status = fg_io_create(&e->table_io, &io, err);
  return status;
}

// Before the model: what it takes is not there for the plan.
static fg_status open_draft_model(fg_engine *e, bool plan_only, fg_error *err) {
  const fg_engine_options *o = &e->options;
  if (!o->draft_model || o->no_speculation) return FG_OK;
  if (!plan_only) return fg_draft_model_open(&e->draft_model, o, e->host, err);
  return fg_budget_reserve(e->host, fg_draft_model_share(o, e->host), "the draft model", err);
}

static fg_status choose_attention(fg_engine *e, bool one_memory, fg_error *err) {
  if (!e->options.cpu_cache_compute) return FG_OK;
  if (one_memory) {
    fg_log_line(&e->log, FG_LOG_INFO,
                "--cpu-cache-compute: the %s device computes in host memory, so the CPU attends to the cache "
                "anyway",
                e->device_name);
    return FG_OK;
  }
  if (fg_sparsity_of(e->options.attn_sparsity) > 0)
    return fg_fail(err, FG_UNSUPPORTED,
                   "--cpu-cache-compute with --attn-sparsity %g: keys are chosen among all, and neither side "
                   "has them all; leave one of the two out",
                   e->options.attn_sparsity);
  e->attends_on_host = true;
  return FG_OK;
}

static fg_status choose_device(fg_engine *e, bool *one_memory, fg_error *err) {
  e->device_name = e->options.device ? e->options.device : "cpu";
  if (e->simulation) e->device_name = fg_engine_simulated_device(e);
  if (!fg_device_family(e->device_name))
    return fg_fail(err, FG_INVALID, "--device %s: no such device here", e->device_name);
  fg_status status = fg_device_find(e->device_name, &e->device_found, err);
  if (status != FG_OK) return status;
  *one_memory = fg_device_in_host_memory(e->device_name);
  if (fg_device_only_f32(e->device_name)) {
    if (!e->compute_auto && e->compute != FG_COMPUTE_F32)
      return fg_fail(err, FG_UNSUPPORTED, "--dtype %s: the %s device computes in f32; use f32 or auto",
                     e->options.dtype, e->device_name);
    e->compute = FG_COMPUTE_F32;
    e->compute_auto = false;
  }
  if (fg_sparsity_of(e->options.attn_sparsity) > 0 && !fg_device_can_be_sparse(e->device_name))
    return fg_fail(
        err, FG_UNSUPPORTED,
        "--attn-sparsity %g: the %s device has no sparse attention; leave it out or use --device cpu",
        e->options.attn_sparsity, e->device_name);
  if (e->device_found.memory && e->options.device_memory > e->device_found.memory) {
    char wish[16], there[16];
    return fg_fail(err, FG_INVALID, "--device-memory %s: the %s device has %s",
                   fg_size_format(e->options.device_memory, wish), e->device_name,
                   fg_size_format(e->device_found.memory, there));
  }
  if (*one_memory && e->options.device_memory)
    return fg_fail(err, FG_INVALID,
                   "--device-memory: the %s device computes in host memory; use --host-memory",
                   e->device_name);
  return choose_attention(e, *one_memory, err);
}

// Of a device that knows its memory, most: others use it too, if only to show a picture.
static uint64_t device_limit(const fg_engine *e) {
  return e->options.device_memory ? e->options.device_memory : e->device_found.memory / 10 * 9;
}

static fg_status choose_cache(fg_engine *e, fg_error *err) {
  fg_kv_geometry *kv = &e->model->graph->kv;
  kv->dtype = e->cache_dtype;
  // A page to which the CPU attends is a whole block of keys, so that none waits for its other half.
  kv->page_tokens = e->attends_on_host ? FG_KEY_BLOCK : FG_PAGE_TOKENS;
  e->rotates_cache = e->rotates_cache && fg_kv_can_rotate(kv);
  if (fg_kv_row_bytes(kv->dtype, kv->k_dim) && fg_kv_row_bytes(kv->dtype, kv->v_dim)) return FG_OK;
  return fg_fail(err, FG_UNSUPPORTED,
                 "--cache-dtype %s: codes are for heads of a multiple of %d values, %s has %" PRIu32
                 " and %" PRIu32 "; use bf16",
                 e->options.cache_dtype, FG_KV_CODE_RUN, e->model->name, kv->k_dim, kv->v_dim);
}

// Tokens of a sequence, by the user's word or the model's; 0 = neither says.
static uint32_t longest(const fg_engine *e) {
  return e->options.max_model_len ? e->options.max_model_len : e->model->graph->max_positions;
}

// For a plan, a store that is not there is described as it would be packed.
static fg_status open_model(fg_engine *e, const fg_weight_wish *weights, bool plan_only, fg_error *err) {
  fg_model_options options = {.model = e->options.model,
                              .synthetic = e->options.synthetic,
                              .alias_layers = e->options.alias_layers,
                              .adapter = e->options.adapter,
                              .offload_dir = e->options.offload_dir,
                              .family = fg_device_family(e->device_name),
                              .weights = *weights,
                              .io = e->io,
                              .host = e->host,
                              .threads = e->threads,
                              .log = &e->log,
                              .progress = e->options.packing ? forward_packing : NULL,
                              .user = e};
  fg_status status = e->simulation ? fg_model_inspect(&e->model, &options, err)
                     : plan_only   ? fg_model_look(&e->model, &options, err)
                                   : fg_model_open(&e->model, &options, err);
  if (status == FG_OK && !e->model->store)
    status = fg_model_expected_store(&e->model->store, e->model, &options, err);
  if (status != FG_OK) return status;
  if (e->compute_auto && fg_dtype_get(fg_engine_weight_type(e))->bits) e->compute = FG_COMPUTE_INT8;
  status = choose_cache(e, err);
  const int *percent = e->options.percent;
  const bool cache_on_disk = percent && percent[2] + percent[3] < 100;
  return status
             ? status
             : fg_sparsity_check(e->options.attn_sparsity, e->model->graph, longest(e), cache_on_disk, err);
}

static fg_status open_text(fg_engine *e, fg_error *err) {
  fg_error missing;
  fg_status status = fg_tokenizer_load(&e->tokenizer, &e->model->assets, &missing);
  if (status == FG_NOT_FOUND) return FG_OK;
  if (status != FG_OK) return fg_fail(err, status, "%s", missing.message);
  status = fg_chat_load(&e->chat, &e->model->assets, e->tokenizer, &missing);
  if (status != FG_OK && status != FG_NOT_FOUND)
    fg_log_line(&e->log, FG_LOG_WARN, "the chat template cannot be used: %s", missing.message);
  return FG_OK;
}

fg_device_options fg_engine_device_options(const fg_engine *e, uint32_t max_rows) {
  const fg_graph *g = e->model->graph;
  fg_device_options options = {.compute = e->compute,
                               .max_rows = max_rows,
                               .host = e->host,
                               .memory = e->device_budget,
                               .threads = e->threads,
                               .trace = e->trace,
                               .simulation = e->simulation};
  for (uint32_t r = 0; r < g->register_count; r++)
    if (g->register_width[r] > options.max_width) options.max_width = g->register_width[r];
  const fg_store *store = e->model->store;
  for (uint32_t w = 0; w < store->weight_count; w++)
    if (store->weights[w].kind == FG_WEIGHT_MATRIX && store->weights[w].k > options.max_k)
      options.max_k = store->weights[w].k;
  options.max_head_dim = g->kv.k_dim > g->kv.v_dim ? g->kv.k_dim : g->kv.v_dim;
  if (fg_sparsity_of(e->options.attn_sparsity) != 0) {
    options.sparse_heads = fg_sparsity_heads(g);
    options.sparse_context = longest(e);
  }
  return options;
}

static uint64_t scratch(const void *user, uint32_t tokens) {
  fg_engine *e = (fg_engine *)(uintptr_t)user; // the callback changes nothing
  fg_device_options options = fg_engine_device_options(e, tokens);
  return fg_device_scratch_bytes(e->device_name, &options) +
         (e->attends_on_host ? fg_kv_host_scratch_bytes(&options) : 0);
}

// FlexGen's block is the number of sequences that run together.
static uint32_t wished_seqs(const fg_engine *e) {
  const fg_engine_options *o = &e->options;
  uint64_t block =
      (uint64_t)(o->gpu_batch_size ? o->gpu_batch_size : 1) * (o->num_gpu_batches ? o->num_gpu_batches : 1);
  bool set = o->gpu_batch_size || o->num_gpu_batches;
  if (!set || block > UINT32_MAX) return o->max_num_seqs;
  if (!o->max_num_seqs || o->max_num_seqs > block) return (uint32_t)block;
  if (o->max_num_seqs < block)
    fg_log_line(&e->log, FG_LOG_WARN,
                "--max-num-seqs %" PRIu32 " is less than the block of %" PRIu64 " and wins", o->max_num_seqs,
                block);
  return o->max_num_seqs;
}

// What the KV cache may take of the disk: all that is free but a tenth.
static uint64_t disk_room(const fg_engine *e) {
  if (e->simulation) return fg_engine_simulated_disk(e);
  struct statvfs fs;
  if (!e->options.offload_dir || statvfs(e->options.offload_dir, &fs) != 0) return 0;
  return (uint64_t)fs.f_bavail * fs.f_frsize / 10 * 9;
}

static fg_status make_policy(fg_engine *e, bool one_memory, bool plan_only, fg_error *err) {
  const fg_engine_options *o = &e->options;
  const fg_graph *g = e->model->graph;
  fg_status status = FG_OK;
  e->process_bytes = e->simulation ? SIMULATED_PROCESS_BYTES : fg_process_rss() + SLACK_BYTES;
  if (plan_only && !e->simulation) e->process_bytes += PLANNED_BYTES;
  if (e->draft_model) e->process_bytes -= fg_draft_model_resident(e->draft_model); // reserved by it
  status =
      fg_budget_reserve(e->host, e->process_bytes, "the process, its libraries and requests in flight", err);
  if (status != FG_OK) {
    e->process_bytes = 0;
    return status;
  }
  fg_plan_input *plan = &e->forecast.input;
  *plan = (fg_plan_input){.one_memory = one_memory,
                          .host = fg_budget_left(e->host),
                          .device = fg_budget_left(e->device_budget),
                          .disk = fg_sparsity_of(o->attn_sparsity) > 0 ? 0 : disk_room(e),
                          .context = g->max_positions ? g->max_positions : UINT32_MAX / 4,
                          .scratch = scratch,
                          .user = e,
                          .max_tokens = o->max_num_batched_tokens,
                          .max_seqs = wished_seqs(e),
                          .max_len = o->max_model_len,
                          .expected = o->expected,
                          .percent = o->percent};
  if (o->policy) status = fg_policy_file_read(o->policy, plan, err);
  if (status != FG_OK) return status;
  if (o->max_model_len && g->max_positions && o->max_model_len > g->max_positions)
    return fg_fail(err, FG_INVALID, "--max-model-len %" PRIu32 ": the model knows %" PRIu32 " positions",
                   o->max_model_len, g->max_positions);
  fg_executor_costs(g, e->model->store, one_memory, plan);
  if (e->attends_on_host) fg_kv_host_costs(g, plan);
  fg_readout_costs(g->vocab, fg_draft_room(e), fg_threads_count(e->threads), plan);
  status = fg_engine_choose_policy(e, err);
  if (status == FG_OK && !plan->max_len && g->max_positions && e->policy.max_len < g->max_positions)
    fg_log_line(&e->log, FG_LOG_WARN,
                "sequences are limited to %" PRIu32 " of the model's %" PRIu32 " tokens by memory",
                e->policy.max_len, g->max_positions);
  return status;
}

fg_status fg_engine_open_runner(fg_engine *e, fg_error *err) {
  const uint64_t before = fg_budget_used(e->host);
  e->model->graph->kv.page_align = e->policy.disk_pages ? FG_IO_ALIGN : 0;
  const fg_policy *p = &e->policy;
  fg_device_options device = fg_engine_device_options(e, p->micro_tokens ? p->micro_tokens : p->max_tokens);
  fg_status status = fg_device_create(&e->device, e->device_name, &device, err);
  fg_executor_options executor = {.graph = e->model->graph,
                                  .store = e->model->store,
                                  .device = e->device,
                                  .io = e->io,
                                  .table_io = e->table_io,
                                  .host = e->host,
                                  .trace = e->trace,
                                  .policy = &e->policy,
                                  .rotates_cache = e->rotates_cache,
                                  .attn_sparsity = fg_sparsity_of(e->options.attn_sparsity),
                                  .attends_on_host = e->attends_on_host,
                                  .kv_folder = e->options.offload_dir,
                                  .kv_backend = e->io_backend};
  const fg_readout_shape readout = {.vocab = e->model->graph->vocab,
                                    .rows = p->max_tokens,
                                    .draws = p->micro_tokens ? p->pass_draws : p->max_seqs + fg_draft_room(e),
                                    .top = p->micro_tokens ? FG_PASS_TOP : FG_MAX_TOP};
  if (status == FG_OK) status = fg_executor_create(&e->executor, &executor, err);
  if (status == FG_OK) status = fg_readout_create(&e->readout, &readout, e->threads, e->host, err);
  fg_scheduler_limits limits = {.max_tokens = e->policy.max_tokens,
                                .max_seqs = e->policy.max_seqs,
                                .pages = e->policy.pages,
                                .page_tokens = e->model->graph->kv.page_tokens,
                                .max_len = e->policy.max_len,
                                .writes_once = e->policy.open_slots > 0,
                                .blocks = fg_engine_is_without(e, "continuous"),
                                .apart = fg_engine_is_without(e, "mixed")};
  fg_speculation_begin(&e->speculation);
  if (status == FG_OK) fg_sharing_open(e, &limits);
  if (status == FG_OK) fg_kept_prefixes_open_runner(e, limits.pages);
  if (status == FG_OK) status = fg_scheduler_create(&e->scheduler, &limits, err);
  if (status == FG_OK && p->micro_tokens) fg_scheduler_admit_whole(e->scheduler, p->pass_draws);
  e->runner_bytes = fg_budget_used(e->host) - before;
  return status;
}

fg_runner_counts fg_engine_count(const fg_engine *e) {
  fg_runner_counts c = e->before;
  if (!e->executor) return c;
  c.streamed += fg_executor_weight_bytes_read(e->executor);
  c.kv_read += fg_executor_kv_bytes_read(e->executor);
  c.kv_written += fg_executor_kv_bytes_written(e->executor);
  c.crossing = fg_kv_crossing_sum(c.crossing, fg_executor_kv_crossing(e->executor));
  const fg_hidden_counts hidden = fg_executor_hidden_counts(e->executor);
  c.hidden.read_bytes += hidden.read_bytes;
  c.hidden.written_bytes += hidden.written_bytes;
  c.sparse = fg_sparse_counts_sum(c.sparse, e->device->ops->sparse_counts(e->device));
  c.experts = fg_expert_counts_sum(c.experts, fg_executor_expert_counts(e->executor));
  return c;
}

void fg_engine_close_runner(fg_engine *e) {
  e->before = fg_engine_count(e);
  fg_kept_prefixes_close_runner(e);
  fg_sharing_close(e);
  fg_scheduler_destroy(e->scheduler);
  fg_readout_destroy(e->readout);
  fg_executor_destroy(e->executor);
  fg_device_destroy(e->device);
  e->scheduler = NULL;
  e->readout = NULL;
  e->executor = NULL;
  e->device = NULL;
}

static void log_passes(const fg_engine *e) {
  const fg_policy *p = &e->policy;
  char hidden[16], spilled[16];
  const uint64_t row = e->forecast.input.pass.hidden * sizeof(float);
  fg_log_line(&e->log, FG_LOG_INFO,
              "rows are only scored: layer passes of up to %" PRIu32 " tokens of %" PRIu32
              " sequences, %" PRIu32 " at a time; the residual stream takes %s of memory and %s of disk",
              p->max_tokens, p->max_seqs, p->micro_tokens, fg_size_format(row * p->hidden_rows, hidden),
              fg_size_format(row * p->hidden_disk_rows, spilled));
}

static void log_policy(const fg_engine *e) {
  const fg_policy *p = &e->policy;
  char weights[16], resident[16], kv[16];
  uint64_t all = fg_store_bytes(e->model->store);
  const uint32_t layers = p->micro_tokens ? 1 : e->model->graph->layers;
  fg_log_line(&e->log, FG_LOG_INFO,
              "%s on %s: %s of weights, %s of it resident; KV for %" PRIu32 " tokens (%s); up to %" PRIu32
              " sequences and %" PRIu32 " tokens a step",
              e->model->name, e->device_name, fg_size_format(all, weights),
              fg_size_format(fg_executor_resident_bytes(e->executor), resident),
              (p->micro_tokens ? p->device_pages : p->pages) * e->model->graph->kv.page_tokens,
              fg_size_format(fg_kv_page_bytes(&e->model->graph->kv) * layers *
                                 (p->micro_tokens ? p->device_pages : p->pages),
                             kv),
              p->max_seqs, p->max_tokens);
  if (p->micro_tokens) log_passes(e);
}

static void log_forecast(const fg_engine *e) {
  fg_engine_forecast f;
  fg_engine_get_forecast(e, &f);
  if (!f.known) return;
  fg_log_line(&e->log, FG_LOG_INFO,
              "expected: %.0f s for the job, %.1f prompt and %.1f generated tokens a second, bound by %s",
              f.seconds, f.prompt_tokens_per_s, f.generated_tokens_per_s, f.bound_by);
}

// Where the cache is, if not all of it is where the device computes.
static void log_tiers(const fg_engine *e) {
  const fg_policy *p = &e->policy;
  const uint64_t page = fg_kv_page_bytes(&e->model->graph->kv) * e->model->graph->layers;
  char device[16], host[16], disk[16];
  if (p->open_slots)
    fg_log_line(&e->log, FG_LOG_INFO,
                "of the KV cache %s live where it is computed, %s in host memory, %s on disk in %s",
                fg_size_format(page * p->device_pages, device), fg_size_format(page * p->host_pages, host),
                fg_size_format(page * p->disk_pages, disk), e->options.offload_dir);
}

// The run gives the same results either way, so only its speed is at stake.
static void log_unregistered(const fg_engine *e) {
  int error = fg_io_register_error(e->io);
  if (!error) return;
  char ring[16];
  fg_log_line(&e->log, FG_LOG_INFO,
              "reads cost more CPU time: the kernel did not register %s of memory for them (%s)%s",
              fg_size_format(e->policy.ring_bytes, ring), strerror(error),
              error == ENOMEM ? "; raise the limit of locked memory (ulimit -l) or grant CAP_IPC_LOCK" : "");
}

static fg_status open_engine(fg_engine **out, const fg_engine_options *options, bool plan_only,
                             fg_error *err) {
  *out = NULL;
  if (!options->model) return fg_fail(err, FG_INVALID, "no model was named");
  fg_engine *e = calloc(1, sizeof *e);
  if (!e) return fg_fail(err, FG_NO_SPACE, "out of memory for the engine");
  e->options = *options;
  if (options->log)
    e->log = (fg_log){.level = (fg_log_level)options->log_level, .write = forward_log, .user = e};
  int backend = FG_IO_AUTO;
  fg_weight_wish weights;
  fg_status status = read_types(e, &weights, &backend, err);
  if (status == FG_OK) status = open_machine(e, (fg_io_backend_id)backend, err);
  bool one_memory = false;
  if (status == FG_OK) status = choose_device(e, &one_memory, err);
  if (status == FG_OK) status = open_draft_model(e, plan_only, err);
  if (status == FG_OK) status = open_model(e, &weights, plan_only, err);
  if (status == FG_OK) status = fg_engine_check_simulation(e, err);
  if (status == FG_OK) status = open_text(e, err);
  if (status == FG_OK && e->draft_model) status = fg_draft_model_check(e->draft_model, e, err);
  if (status == FG_OK && !one_memory)
    status = fg_budget_create(&e->device_budget, "device memory", "--device-memory", device_limit(e), err);
  if (status == FG_OK && !one_memory && e->simulation) fg_budget_make_hollow(e->device_budget);
  if (one_memory) e->device_budget = e->host;
  if (status == FG_OK) status = fg_kept_prefixes_open(e, plan_only, err);
  if (status == FG_OK) status = make_policy(e, one_memory, plan_only, err);
  if (status == FG_OK && !plan_only) status = fg_engine_open_runner(e, err);
  if (status != FG_OK) {
    fg_engine_close(e);
    return status;
  }
  if (!plan_only) {
    log_policy(e);
    log_tiers(e);
    log_forecast(e);
    log_unregistered(e);
    fg_engine_begin_history(e, fg_trace_now(e->trace));
  }
  *out = e;
  return FG_OK;
}

fg_status fg_engine_open(fg_engine **out, const fg_engine_options *options, fg_error *err) {
  return open_engine(out, options, false, err);
}

fg_status fg_engine_open_plan(fg_engine **out, const fg_engine_options *options, fg_error *err) {
  return open_engine(out, options, true, err);
}

void fg_engine_close(fg_engine *e) {
  if (!e) return;
  fg_engine_cancel_all(e);
  fg_engine_close_runner(e);
  fg_kept_prefixes_close(e);
  fg_draft_model_close(e->draft_model);
  fg_chat_destroy(e->chat);
  fg_tokenizer_destroy(e->tokenizer);
  fg_model_close(e->model);
  fg_io_destroy(e->table_io);
  fg_io_destroy(e->io);
  fg_threads_destroy(e->threads);
  fg_error lost;
  if (fg_trace_destroy(e->trace, &lost) != FG_OK) fg_log_line(&e->log, FG_LOG_WARN, "%s", lost.message);
  if (e->device_budget != e->host) fg_budget_destroy(e->device_budget);
  fg_budget_destroy(e->host);
  fg_forecast_free(&e->forecast);
  free(e->simulation);
  free(e->sequences);
  free(e);
}
