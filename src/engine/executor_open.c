// What an executor costs, and making one.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "engine/executor_state.h"
#include "engine/layer_pass.h"

enum {
  HEAD_FLOATS = 1 << 20, // logits that exist at once: 4 MiB
};

static uint32_t pages_of(const fg_graph *g, uint32_t tokens) {
  return (tokens + g->kv.page_tokens - 1) / g->kv.page_tokens;
}

static uint64_t register_bytes_per_token(const fg_graph *g) {
  uint64_t width = 0;
  for (uint32_t r = 0; r < g->register_count; r++) width += g->register_width[r];
  return width * sizeof(float);
}

// Of queries, the most in a layer.
static uint32_t most_heads(const fg_graph *g) {
  uint32_t most = 0;
  for (uint32_t layer = 0; layer < g->layers; layer++) {
    const fg_program *p = fg_graph_program(g, (int32_t)layer);
    for (uint32_t i = 0; i < p->node_count; i++)
      if (p->nodes[i].op == FG_OP_ATTENTION && p->nodes[i].params.attention.heads > most)
        most = p->nodes[i].params.attention.heads;
  }
  return most;
}

static uint32_t widest_input(const fg_graph *g) {
  uint32_t widest = 0;
  for (uint32_t i = 0; i < g->input_count; i++)
    if (g->register_width[g->inputs[i].reg] > widest) widest = g->register_width[g->inputs[i].reg];
  return widest;
}

static uint32_t largest_panel_rows(const fg_store *store, const fg_weight *w) {
  uint32_t rows = 0;
  for (uint32_t p = w->panel; p < w->panel + w->panels; p++)
    if (store->panels[p].rows > rows) rows = store->panels[p].rows;
  return rows;
}

// ---- costs -----------------------------------------------------------------------------------------------

static uint64_t logits_bytes(const fg_graph *g, const fg_store *store) {
  char name[64];
  fg_graph_weight_name(g, (int32_t)g->layers, &g->epilogue.slots[g->head_slot], name);
  uint32_t w = fg_store_find(store, name);
  uint64_t columns = w == UINT32_MAX ? g->vocab : largest_panel_rows(store, &store->weights[w]);
  return (columns > HEAD_FLOATS ? columns : HEAD_FLOATS) * sizeof(float);
}

// Experts of which no memory can be found are said to be missing when the executor is created.
static void expert_costs(const fg_graph *g, const fg_store *store, fg_plan_input *plan) {
  fg_experts_map map;
  if (fg_experts_map_create(&map, g, store, NULL) != FG_OK) return;
  uint64_t largest = 0;
  for (uint32_t i = 0; i < map.unit_count; i++) {
    uint64_t bytes = fg_expert_unit_bytes(store, &map.units[i]);
    if (bytes > largest) largest = bytes;
  }
  plan->expert_least = FG_EXPERT_SLOTS * largest;
  plan->device_per_token += fg_expert_rows_device_bytes(map.most_used);
  plan->host_per_token += fg_expert_rows_host_bytes(map.most_used);
  plan->pass.row_device += fg_expert_rows_device_bytes(map.most_used);
  plan->pass.row_host += fg_expert_rows_host_bytes(map.most_used);
  fg_experts_map_free(&map);
}

void fg_executor_costs(const fg_graph *g, const fg_store *store, bool one_memory, fg_plan_input *plan) {
  for (uint32_t i = 0; i < store->weight_count; i++) {
    const fg_weight *w = &store->weights[i];
    for (uint32_t p = w->panel; p < w->panel + w->panels; p++) {
      uint64_t bytes = fg_align_up(store->panels[p].bytes, FG_IO_ALIGN);
      if (w->kind == FG_WEIGHT_VECTOR) plan->vector_bytes += fg_align_up(store->panels[p].bytes, 64);
      if (w->kind == FG_WEIGHT_MATRIX) plan->panel_bytes += bytes;
      if (w->kind == FG_WEIGHT_MATRIX && bytes > plan->largest_panel) plan->largest_panel = bytes;
      if (w->kind == FG_WEIGHT_TABLE) plan->table_bytes += bytes;
      if (w->kind == FG_WEIGHT_TABLE && bytes <= FG_SMALL_TABLE) plan->small_table_bytes += bytes;
    }
    if (w->kind == FG_WEIGHT_TABLE) plan->host_fixed += fg_table_bytes(w, false);
  }
  for (uint32_t c = 0; c < g->constant_count; c++)
    plan->vector_bytes += fg_align_up(g->constant_count_of[c] * sizeof(float), 64);
  expert_costs(g, store, plan);
  fg_layer_pass_costs(g, store, plan);
  plan->page_bytes = fg_kv_page_bytes(&g->kv) * g->layers;
  plan->padded_page_bytes = fg_align_up(fg_kv_page_bytes(&g->kv), FG_IO_ALIGN) * g->layers;
  plan->page_tokens = g->kv.page_tokens;
  plan->layers = g->layers;
  plan->restarts = g->rope_restarts;
  uint64_t array_token = 4 * sizeof(int32_t) + FG_SHARED_LEVELS * sizeof(fg_query_row),
           array_seq = (6 + (uint64_t)pages_of(g, plan->context)) * sizeof(int32_t) +
                       sizeof(fg_shared_segment) + sizeof(fg_page_copy);
  plan->device_per_token +=
      register_bytes_per_token(g) + array_token + (uint64_t)2 * most_heads(g) * sizeof(float);
  plan->device_per_seq += array_seq;
  plan->device_fixed += logits_bytes(g, store) + 16 * FG_IO_ALIGN; // and rounding of the blocks
  plan->host_per_token += array_token + 2 * sizeof(int32_t);
  plan->host_per_seq += array_seq + fg_shared_scratch_bytes(1);
  if (!one_memory) {
    plan->host_per_token += widest_input(g) * sizeof(float);
    plan->pass.row_host += widest_input(g) * sizeof(float);
    plan->host_fixed += logits_bytes(g, store) + plan->largest_panel;
  }
}

// ---- building ----------------------------------------------------------------------------------------

static fg_status find_weights(fg_executor *x, fg_error *err) {
  const fg_graph *g = x->options.graph;
  x->weight_of = calloc((size_t)g->layers + 2, sizeof *x->weight_of);
  if (!x->weight_of) return fg_fail(err, FG_NO_SPACE, "out of memory for a table of weights");
  uint32_t near = 0;
  for (int32_t layer = -1; layer <= (int32_t)g->layers; layer++) {
    const fg_program *p = layer < 0                     ? &g->prologue
                          : layer == (int32_t)g->layers ? &g->epilogue
                                                        : &g->programs[g->program_of_layer[layer]];
    for (uint32_t s = 0; s < p->slot_count; s++) {
      char name[64];
      fg_graph_weight_name(g, layer, &p->slots[s], name);
      uint32_t w = fg_store_find_near(x->options.store, name, near);
      near = w + 1;
      if (w == UINT32_MAX)
        return fg_fail(err, FG_CORRUPT, "%s: weight %s is not in the store",
                       fg_file_path(x->options.store->file), name);
      const fg_weight *weight = &x->options.store->weights[w];
      if (weight->n != p->slots[s].n || weight->k != p->slots[s].k || weight->kind != p->slots[s].kind ||
          weight->segments != p->slots[s].segments)
        return fg_fail(
            err, FG_CORRUPT,
            "%s: weight %s has shape [%" PRIu32 ", %" PRIu32 "], the model's is [%" PRIu32 ", %" PRIu32 "]",
            fg_file_path(x->options.store->file), name, weight->n, weight->k, p->slots[s].n, p->slots[s].k);
      x->weight_of[layer + 1][s] = w;
    }
  }
  return fg_experts_map_create(&x->experts, g, x->options.store, err);
}

static fg_status upload_now(fg_executor *x, fg_memory *m, uint64_t offset, const void *host, uint64_t bytes,
                            fg_error *err) {
  fg_device *d = x->options.device;
  fg_status status = d->ops->upload(d, FG_QUEUE_LOAD, m, offset, host, bytes, err);
  return status == FG_OK ? d->ops->host_wait(d, d->ops->record(d, FG_QUEUE_LOAD), err) : status;
}

// Vectors and constants, one block, always on the device.
static fg_status load_vectors(fg_executor *x, fg_error *err) {
  const fg_store *store = x->options.store;
  const fg_graph *g = x->options.graph;
  x->vector_offset = calloc((size_t)store->weight_count + 1, sizeof *x->vector_offset);
  if (!x->vector_offset) return fg_fail(err, FG_NO_SPACE, "out of memory for a table of weights");
  uint64_t bytes = 0, largest = 0;
  for (uint32_t i = 0; i < store->weight_count; i++) {
    if (store->weights[i].kind != FG_WEIGHT_VECTOR) continue;
    const fg_panel *panel = &store->panels[store->weights[i].panel];
    x->vector_offset[i] = bytes;
    bytes += fg_align_up(panel->bytes, 64);
    if (fg_align_up(panel->bytes, FG_IO_ALIGN) > largest) largest = fg_align_up(panel->bytes, FG_IO_ALIGN);
  }
  for (uint32_t c = 0; c < g->constant_count; c++) {
    x->constant_offset[c] = bytes;
    bytes += fg_align_up(g->constant_count_of[c] * sizeof(float), 64);
  }
  fg_device *d = x->options.device;
  fg_status status = d->ops->memory_create(d, bytes, "norms and biases", &x->vectors, err);
  void *buffer = NULL;
  if (status == FG_OK)
    status = fg_budget_alloc(x->options.host, largest, "a buffer for norms and biases", &buffer, err);
  for (uint32_t i = 0; status == FG_OK && i < store->weight_count; i++) {
    if (store->weights[i].kind != FG_WEIGHT_VECTOR) continue;
    const fg_panel *panel = &store->panels[store->weights[i].panel];
    // Whole blocks to an aligned buffer need no bounce.
    status = fg_io_read_now(x->options.table_io, store->file, panel->offset, buffer,
                            fg_align_up(panel->bytes, FG_IO_ALIGN), err);
    if (status == FG_OK) status = upload_now(x, x->vectors, x->vector_offset[i], buffer, panel->bytes, err);
  }
  for (uint32_t c = 0; status == FG_OK && c < g->constant_count; c++)
    status = upload_now(x, x->vectors, x->constant_offset[c], g->constants[c],
                        g->constant_count_of[c] * sizeof(float), err);
  fg_budget_free(x->options.host, buffer);
  return status;
}

static fg_status create_tables(fg_executor *x, fg_error *err) {
  const fg_graph *g = x->options.graph;
  for (uint32_t i = 0; i < g->input_count; i++) {
    uint32_t w = x->weight_of[0][g->inputs[i].slot];
    bool resident = x->options.policy->tables_resident ||
                    fg_table_bytes(&x->options.store->weights[w], true) <= FG_SMALL_TABLE;
    fg_status status = fg_table_create(&x->tables[i], x->options.store, w, resident, x->options.table_io,
                                       x->options.host, err);
    if (status != FG_OK) return status;
  }
  return FG_OK;
}

// Rows that programs run on at once, the longest sequence of a step.
static uint32_t most_rows(const fg_policy *p) {
  return p->micro_tokens ? p->micro_tokens : p->max_tokens;
}
static uint32_t longest(const fg_policy *p) {
  return p->micro_tokens ? p->pass_len : p->max_len;
}

static fg_status create_arrays(fg_executor *x, fg_error *err) {
  const fg_policy *p = x->options.policy;
  fg_step_arrays *at = &x->at;
  uint64_t token_bytes = p->max_tokens * sizeof(int32_t);
  at->table_stride = pages_of(x->options.graph, longest(p));
  at->lengths = token_bytes;
  at->slots = 2 * token_bytes;
  at->selected = 3 * token_bytes;
  at->chunks = 4 * token_bytes;
  at->prompts = at->chunks + 4 * sizeof(int32_t) * (uint64_t)p->max_seqs;
  at->shared = at->prompts + sizeof(int32_t) * (uint64_t)p->max_seqs;
  const uint64_t sharing = p->micro_tokens ? 0 : 1; // sequences of a layer pass have pages of their own
  at->members = at->shared + sharing * sizeof(fg_shared_segment) * p->max_seqs;
  at->starts = at->members + sharing * FG_SHARED_LEVELS * sizeof(fg_query_row) * p->max_tokens;
  at->copies = at->starts + sharing * sizeof(int32_t) * p->max_seqs;
  at->tables = at->copies + sharing * sizeof(fg_page_copy) * p->max_seqs;
  at->bytes = at->tables + sizeof(int32_t) * (uint64_t)p->max_seqs * at->table_stride;
  fg_device *d = x->options.device;
  fg_budget *host = x->options.host;
  fg_status status = d->ops->memory_create(d, at->bytes, "positions and page tables", &x->array_memory, err);
  if (status == FG_OK)
    status = fg_device_host_create(d, at->bytes, "positions and page tables", (void **)&x->host_arrays, err);
  const uint64_t ids = token_bytes + most_rows(p) * sizeof(int32_t);
  if (status == FG_OK) status = fg_budget_alloc(host, ids, "token ids", (void **)&x->ids, err);
  x->rows = x->ids ? x->ids + p->max_tokens : NULL;
  if (status == FG_OK && sharing)
    status = fg_budget_alloc(host, fg_shared_scratch_bytes(p->max_seqs), "a tree of what sequences share",
                             &x->finding, err);
  if (status != FG_OK) return status;
  x->shared.segments = (fg_shared_segment *)(x->host_arrays + at->shared);
  x->shared.members = (fg_query_row *)(x->host_arrays + at->members);
  x->shared.starts = (int32_t *)(x->host_arrays + at->starts);
  return FG_OK;
}

static fg_status create_activations(fg_executor *x, fg_error *err) {
  const fg_graph *g = x->options.graph;
  const fg_policy *p = x->options.policy;
  fg_device *d = x->options.device;
  uint64_t bytes = 0;
  for (uint32_t r = p->micro_tokens ? 1 : 0; r < g->register_count; r++) { // register 0: hidden_state.h
    x->register_offset[r] = bytes;
    bytes += (uint64_t)g->register_width[r] * sizeof(float) * most_rows(p);
  }
  uint64_t logits = logits_bytes(g, x->options.store);
  uint32_t head = x->weight_of[g->layers + 1][g->head_slot];
  x->head_rows = (uint32_t)(logits / sizeof(float) /
                            largest_panel_rows(x->options.store, &x->options.store->weights[head]));
  if (x->head_rows > most_rows(p)) x->head_rows = most_rows(p);
  fg_status status = d->ops->memory_create(d, bytes, "activations", &x->registers, err);
  if (status == FG_OK) status = d->ops->memory_create(d, logits, "logits", &x->logits, err);
  x->heads = most_heads(g);
  if (status == FG_OK && !p->micro_tokens)
    status = d->ops->memory_create(d, (uint64_t)2 * x->heads * sizeof(float) * p->max_tokens,
                                   "states of attention", &x->states, err);
  if (status != FG_OK) return status;
  if (!fg_device_host_pointer(d, x->registers))
    status = fg_device_host_create(d, (uint64_t)widest_input(g) * sizeof(float) * most_rows(p),
                                   "staging of activations", (void **)&x->staging, err);
  if (status == FG_OK && !fg_device_host_pointer(d, x->logits))
    status = fg_device_host_create(d, logits, "logits", (void **)&x->host_logits, err);
  return status;
}

static fg_status create_cache(fg_executor *x, fg_error *err) {
  const fg_executor_options *o = &x->options;
  const fg_kv_cache_options options = {.graph = o->graph,
                                       .device = o->device,
                                       .host = o->host,
                                       .trace = o->trace,
                                       .policy = o->policy,
                                       .one_layer = o->policy->micro_tokens > 0,
                                       .folder = o->kv_folder,
                                       .backend = o->kv_backend,
                                       .attends_on_host = o->attends_on_host,
                                       .groups = o->attn_sparsity == 0};
  return fg_kv_cache_create(&x->kv, &options, err);
}

// The first matrix that only steps with wanted logits use.
static uint32_t tail_weight(const fg_executor *x) {
  const fg_graph *g = x->options.graph;
  uint32_t first = UINT32_MAX;
  for (uint32_t i = 0; i < g->epilogue.slot_count; i++) {
    uint32_t w = x->weight_of[g->layers + 1][i];
    if (g->epilogue.slots[i].kind == FG_WEIGHT_MATRIX && w < first) first = w;
  }
  return first;
}

static uint64_t matrix_bytes(const fg_store *store) {
  uint64_t bytes = 0;
  for (uint32_t w = 0; w < store->weight_count; w++)
    for (uint32_t i = 0; i < store->weights[w].panels && store->weights[w].kind == FG_WEIGHT_MATRIX; i++)
      bytes += fg_align_up(store->panels[store->weights[w].panel + i].bytes, FG_IO_ALIGN);
  return bytes;
}

// Where not all weights fit, experts are the expert cache's business. Matrices that every step uses are kept
// first; experts, of which a step uses some, have what remains of the memory for weights, the ring's too if
// nothing is left for it.
static fg_status create_expert_cache(fg_executor *x, uint64_t dense, fg_error *err) {
  const fg_policy *p = x->options.policy;
  fg_expert_cache_options options = {.store = x->options.store,
                                     .device = x->options.device,
                                     .io = x->options.io,
                                     .host = x->options.host,
                                     .trace = x->options.trace,
                                     .units = x->experts.units,
                                     .unit_count = x->experts.unit_count,
                                     .bytes = p->expert_bytes};
  if (p->device_weight_bytes >= dense) options.bytes += p->device_weight_bytes - dense + p->ring_bytes;
  fg_status status = fg_expert_cache_create(&x->expert_cache, &options, err);
  if (status == FG_OK) x->resident += fg_expert_cache_bytes(x->expert_cache);
  return status;
}

static fg_status create_stream(fg_executor *x, fg_error *err) {
  const fg_store *store = x->options.store;
  const fg_policy *p = x->options.policy;
  uint64_t *bytes = malloc(((size_t)store->panel_count + 1) * sizeof *bytes);
  uint32_t *index = malloc(((size_t)store->panel_count + 1) * sizeof *index);
  uint8_t *tier = calloc((size_t)store->panel_count + 1, 3),
          *placed = tier ? tier + store->panel_count : NULL,
          *apart = tier ? placed + store->panel_count : NULL;
  const bool cached = x->experts.unit_count && p->device_weight_bytes < matrix_bytes(store);
  fg_status status = FG_OK;
  if (!bytes || !index || !tier)
    status = fg_fail(err, FG_NO_SPACE, "out of memory for placing %" PRIu32 " panels", store->panel_count);
  uint32_t count = 0;
  uint64_t dense = 0;
  for (uint32_t i = 0; status == FG_OK && cached && i < x->experts.unit_count; i++)
    memset(apart + x->experts.units[i].panel, 1, x->experts.units[i].panels);
  for (uint32_t w = 0; status == FG_OK && w < store->weight_count; w++) {
    if (store->weights[w].kind != FG_WEIGHT_MATRIX) continue;
    for (uint32_t i = store->weights[w].panel; i < store->weights[w].panel + store->weights[w].panels; i++) {
      if (apart[i]) continue;
      index[count] = i;
      bytes[count] = fg_align_up(store->panels[i].bytes, FG_IO_ALIGN);
      dense += bytes[count++];
    }
  }
  if (status == FG_OK) {
    fg_place_panels(bytes, count, p->device_weight_bytes, p->host_weight_bytes, placed);
    for (uint32_t i = 0; i < count; i++) {
      tier[index[i]] = placed[i];
      if (placed[i] != FG_TIER_DISK) x->resident += bytes[i];
    }
    fg_weight_stream_options options = {.store = x->options.store,
                                        .device = x->options.device,
                                        .io = x->options.io,
                                        .host = x->options.host,
                                        .trace = x->options.trace,
                                        .tier = tier,
                                        .apart = apart,
                                        .ring_bytes = p->ring_bytes,
                                        .tail_weight = tail_weight(x)};
    status = fg_weight_stream_create(&x->stream, &options, err);
    if (status == FG_OK && cached) status = create_expert_cache(x, dense, err);
  }
  free(bytes);
  free(index);
  free(tier);
  return status;
}

fg_status fg_executor_create(fg_executor **out, const fg_executor_options *options, fg_error *err) {
  *out = NULL;
  fg_executor *x = calloc(1, sizeof *x);
  if (!x) return fg_fail(err, FG_NO_SPACE, "out of memory for the executor");
  x->options = *options;
  x->track = fg_trace_track(options->trace, "rows of tables");
  fg_status status = find_weights(x, err);
  if (status == FG_OK) status = load_vectors(x, err);
  if (status == FG_OK) status = create_tables(x, err);
  if (status == FG_OK) status = create_arrays(x, err);
  if (status == FG_OK) status = create_activations(x, err);
  if (status == FG_OK) status = create_cache(x, err);
  if (status == FG_OK && options->policy->micro_tokens)
    status = fg_layer_pass_create(&x->pass, &x->options, err);
  if (status == FG_OK && x->experts.unit_count)
    status = fg_expert_rows_create(&x->expert_rows, x->options.device, x->options.host,
                                   most_rows(x->options.policy), x->experts.most_used, err);
  if (status == FG_OK) status = create_stream(x, err);
  if (status != FG_OK) {
    fg_executor_destroy(x);
    return status;
  }
  *out = x;
  return FG_OK;
}

void fg_executor_destroy(fg_executor *x) {
  if (!x) return;
  fg_device *d = x->options.device;
  for (int q = 0; q < FG_QUEUE_COUNT; q++) (void)d->ops->host_wait(d, d->ops->record(d, (fg_queue)q), NULL);
  fg_weight_stream_destroy(x->stream);
  fg_kv_cache_destroy(x->kv);
  fg_layer_pass_destroy(x->pass);
  fg_expert_cache_destroy(x->expert_cache);
  fg_expert_rows_destroy(x->expert_rows);
  fg_experts_map_free(&x->experts);
  for (uint32_t i = 0; i < 4; i++) fg_table_destroy(x->tables[i]);
  fg_memory *memories[] = {x->registers, x->vectors, x->array_memory, x->logits, x->states};
  for (uint32_t i = 0; i < sizeof memories / sizeof *memories; i++)
    if (memories[i]) d->ops->memory_destroy(d, memories[i]);
  fg_device_host_destroy(d, x->host_arrays);
  fg_budget_free(x->options.host, x->ids);
  fg_budget_free(x->options.host, x->finding);
  fg_device_host_destroy(d, x->staging);
  fg_device_host_destroy(d, x->host_logits);
  free(x->vector_offset);
  free(x->weight_of);
  free(x);
}
