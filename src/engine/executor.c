#include "engine/executor.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/clock.h"
#include "engine/expert_rows.h"
#include "engine/experts.h"
#include "engine/tables.h"

enum {
  HEAD_FLOATS = 1 << 20,         // logits that exist at once: 4 MiB
  SMALL_TABLE = 8 * 1024 * 1024, // position tables are always kept
};

// The step's arrays, in host memory and again on the device: offsets in bytes.
typedef struct arrays {
  uint64_t positions, lengths, slots, selected, chunks, prompts, tables, bytes;
  uint32_t table_stride;
} arrays;

struct fg_executor {
  fg_executor_options options;
  fg_weight_stream *stream;
  fg_table *tables[4]; // of graph->inputs
  fg_memory *registers, *vectors, *kv, *array_memory, *logits;
  uint64_t register_offset[FG_MAX_REGISTERS];
  uint64_t *vector_offset; // [weights]
  uint64_t constant_offset[FG_MAX_CONSTANTS];
  uint32_t (*weight_of)[FG_MAX_SLOTS]; // [layers + 2]: prologue, layers, epilogue
  fg_experts_map experts;
  fg_expert_rows *expert_rows;   // NULL: no layer has experts
  fg_expert_cache *expert_cache; // NULL: all of them are resident
  arrays at;
  char *host_arrays;   // image of array_memory
  int32_t *ids, *rows; // [max_tokens]
  float *staging;      // [max_tokens, widest input] where the host cannot reach the registers
  float *host_logits;  // where it cannot reach the logits
  uint32_t head_rows;  // rows of a block of logits
  uint64_t resident;
  uint32_t tokens, chunks, selected;
  uint32_t track;
};

static uint32_t pages_of(const fg_graph *g, uint32_t tokens) {
  return (tokens + g->kv.page_tokens - 1) / g->kv.page_tokens;
}

static uint64_t register_bytes_per_token(const fg_graph *g) {
  uint64_t width = 0;
  for (uint32_t r = 0; r < g->register_count; r++) width += g->register_width[r];
  return width * sizeof(float);
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
      if (w->kind == FG_WEIGHT_TABLE && bytes <= SMALL_TABLE) plan->small_table_bytes += bytes;
    }
    if (w->kind == FG_WEIGHT_TABLE) plan->host_fixed += fg_table_bytes(w, false);
  }
  for (uint32_t c = 0; c < g->constant_count; c++)
    plan->vector_bytes += fg_align_up(g->constant_count_of[c] * sizeof(float), 64);
  expert_costs(g, store, plan);
  plan->page_bytes = fg_kv_page_bytes(&g->kv) * g->layers;
  plan->page_tokens = g->kv.page_tokens;
  uint64_t array_token = 4 * sizeof(int32_t),
           array_seq = (5 + (uint64_t)pages_of(g, plan->context)) * sizeof(int32_t);
  plan->device_per_token += register_bytes_per_token(g) + array_token;
  plan->device_per_seq += array_seq;
  plan->device_fixed += logits_bytes(g, store) + 16 * FG_IO_ALIGN; // and rounding of the blocks
  plan->host_per_token += array_token + 2 * sizeof(int32_t);
  plan->host_per_seq += array_seq;
  if (!one_memory) {
    plan->host_per_token += widest_input(g) * sizeof(float);
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
                    fg_table_bytes(&x->options.store->weights[w], true) <= SMALL_TABLE;
    fg_status status = fg_table_create(&x->tables[i], x->options.store, w, resident, x->options.table_io,
                                       x->options.host, err);
    if (status != FG_OK) return status;
  }
  return FG_OK;
}

static fg_status create_arrays(fg_executor *x, fg_error *err) {
  const fg_policy *p = x->options.policy;
  arrays *at = &x->at;
  uint64_t token_bytes = p->max_tokens * sizeof(int32_t);
  at->table_stride = pages_of(x->options.graph, p->max_len);
  at->lengths = token_bytes;
  at->slots = 2 * token_bytes;
  at->selected = 3 * token_bytes;
  at->chunks = 4 * token_bytes;
  at->prompts = at->chunks + 4 * sizeof(int32_t) * (uint64_t)p->max_seqs;
  at->tables = at->prompts + sizeof(int32_t) * (uint64_t)p->max_seqs;
  at->bytes = at->tables + sizeof(int32_t) * (uint64_t)p->max_seqs * at->table_stride;
  fg_device *d = x->options.device;
  fg_budget *host = x->options.host;
  fg_status status = d->ops->memory_create(d, at->bytes, "positions and page tables", &x->array_memory, err);
  if (status == FG_OK)
    status = fg_budget_alloc(host, at->bytes, "positions and page tables", (void **)&x->host_arrays, err);
  if (status == FG_OK) status = fg_budget_alloc(host, 2 * token_bytes, "token ids", (void **)&x->ids, err);
  x->rows = x->ids ? x->ids + p->max_tokens : NULL;
  return status;
}

static fg_status create_activations(fg_executor *x, fg_error *err) {
  const fg_graph *g = x->options.graph;
  const fg_policy *p = x->options.policy;
  fg_device *d = x->options.device;
  uint64_t bytes = 0;
  for (uint32_t r = 0; r < g->register_count; r++) {
    x->register_offset[r] = bytes;
    bytes += (uint64_t)g->register_width[r] * sizeof(float) * p->max_tokens;
  }
  uint64_t logits = logits_bytes(g, x->options.store);
  uint32_t head = x->weight_of[g->layers + 1][g->head_slot];
  x->head_rows = (uint32_t)(logits / sizeof(float) /
                            largest_panel_rows(x->options.store, &x->options.store->weights[head]));
  if (x->head_rows > p->max_tokens) x->head_rows = p->max_tokens;
  fg_status status = d->ops->memory_create(d, bytes, "activations", &x->registers, err);
  if (status == FG_OK) status = d->ops->memory_create(d, logits, "logits", &x->logits, err);
  if (status == FG_OK)
    status = d->ops->memory_create(d, fg_kv_page_bytes(&g->kv) * g->layers * p->pages, "the KV cache", &x->kv,
                                   err);
  if (status != FG_OK) return status;
  fg_budget *host = x->options.host;
  if (!fg_device_host_pointer(d, x->registers))
    status = fg_budget_alloc(host, (uint64_t)widest_input(g) * sizeof(float) * p->max_tokens,
                             "staging of activations", (void **)&x->staging, err);
  if (status == FG_OK && !fg_device_host_pointer(d, x->logits))
    status = fg_budget_alloc(host, logits, "logits", (void **)&x->host_logits, err);
  return status;
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
  if (status == FG_OK && x->experts.unit_count)
    status = fg_expert_rows_create(&x->expert_rows, x->options.device, x->options.host,
                                   x->options.policy->max_tokens, x->experts.most_used, err);
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
  fg_expert_cache_destroy(x->expert_cache);
  fg_expert_rows_destroy(x->expert_rows);
  fg_experts_map_free(&x->experts);
  for (uint32_t i = 0; i < 4; i++) fg_table_destroy(x->tables[i]);
  fg_memory *memories[] = {x->registers, x->vectors, x->kv, x->array_memory, x->logits};
  for (uint32_t i = 0; i < sizeof memories / sizeof *memories; i++)
    if (memories[i]) d->ops->memory_destroy(d, memories[i]);
  fg_budget_free(x->options.host, x->host_arrays);
  fg_budget_free(x->options.host, x->ids);
  fg_budget_free(x->options.host, x->staging);
  fg_budget_free(x->options.host, x->host_logits);
  free(x->vector_offset);
  free(x->weight_of);
  free(x);
}

// ---- putting a step together -------------------------------------------------------------------------

void fg_executor_begin(fg_executor *x) {
  x->tokens = x->chunks = x->selected = 0;
}

// Where texts of another length are turned otherwise at once, tokens go by all that is known of theirs; else
// one of the prompt by the prompt, and one that was generated by the text up to itself, as it was when it was
// new.
static uint32_t length_for(const fg_graph *g, uint32_t position, uint32_t prompt, uint32_t known) {
  if (g->rope_restarts) return known;
  return position < prompt ? prompt : position + 1;
}

uint32_t fg_executor_add(fg_executor *x, const fg_chunk_tokens *tokens, const uint32_t *pages,
                         uint32_t page_count) {
  const int32_t *ids = tokens->ids;
  const uint32_t begin = tokens->begin, count = tokens->count;
  uint32_t page_tokens = x->options.graph->kv.page_tokens, first = x->tokens;
  int32_t *positions = (int32_t *)(x->host_arrays + x->at.positions);
  int32_t *lengths = (int32_t *)(x->host_arrays + x->at.lengths);
  int32_t *slots = (int32_t *)(x->host_arrays + x->at.slots);
  int32_t *chunk = (int32_t *)(x->host_arrays + x->at.chunks) + 4 * (size_t)x->chunks;
  int32_t *table = (int32_t *)(x->host_arrays + x->at.tables) + (size_t)x->chunks * x->at.table_stride;
  for (uint32_t i = 0; i < count; i++) {
    uint32_t position = begin + i;
    x->ids[first + i] = ids[i];
    positions[first + i] = (int32_t)position;
    lengths[first + i] = (int32_t)length_for(x->options.graph, position, tokens->prompt, tokens->known);
    slots[first + i] = (int32_t)(pages[position / page_tokens] * page_tokens + position % page_tokens);
  }
  memcpy(table, pages, page_count * sizeof *table);
  chunk[0] = (int32_t)first;
  chunk[1] = (int32_t)count;
  chunk[2] = (int32_t)begin;
  chunk[3] = (int32_t)x->chunks;
  ((int32_t *)(x->host_arrays + x->at.prompts))[x->chunks] = (int32_t)tokens->prompt;
  x->chunks++;
  x->tokens += count;
  return first;
}

void fg_executor_select(fg_executor *x, uint32_t row) {
  ((int32_t *)(x->host_arrays + x->at.selected))[x->selected++] = (int32_t)row;
}

// ---- running it --------------------------------------------------------------------------------------

static fg_status upload_arrays(fg_executor *x, fg_error *err) {
  fg_device *d = x->options.device;
  uint64_t token_bytes = x->tokens * sizeof(int32_t);
  const struct {
    uint64_t offset, bytes;
  } parts[] = {{x->at.positions, token_bytes},
               {x->at.lengths, token_bytes},
               {x->at.slots, token_bytes},
               {x->at.selected, x->selected * sizeof(int32_t)},
               {x->at.chunks, 4 * sizeof(int32_t) * (uint64_t)x->chunks},
               {x->at.prompts, sizeof(int32_t) * (uint64_t)x->chunks},
               {x->at.tables, sizeof(int32_t) * (uint64_t)x->chunks * x->at.table_stride}};
  for (uint32_t i = 0; i < sizeof parts / sizeof *parts; i++) {
    if (parts[i].bytes == 0) continue;
    fg_status status = d->ops->upload(d, FG_QUEUE_LOAD, x->array_memory, parts[i].offset,
                                      x->host_arrays + parts[i].offset, parts[i].bytes, err);
    if (status != FG_OK) return status;
  }
  return d->ops->queue_wait(d, FG_QUEUE_COMPUTE, d->ops->record(d, FG_QUEUE_LOAD), err);
}

static fg_batch_view batch_view(const fg_executor *x) {
  const int32_t *chunks = (const int32_t *)(x->host_arrays + x->at.chunks);
  fg_batch_view view = {.tokens = x->tokens,
                        .chunks = x->chunks,
                        .positions = {x->array_memory, x->at.positions, 1},
                        .lengths = {x->array_memory, x->at.lengths, 1},
                        .slots = {x->array_memory, x->at.slots, 1},
                        .chunk_list = {x->array_memory, x->at.chunks, 4},
                        .page_tables = {x->array_memory, x->at.tables, x->at.table_stride},
                        .prompts = {x->array_memory, x->at.prompts, 1}};
  for (uint32_t c = 0; c < x->chunks; c++) {
    uint32_t context = (uint32_t)(chunks[4 * c + 1] + chunks[4 * c + 2]);
    if (context > view.max_context) view.max_context = context;
  }
  return view;
}

static fg_view register_view(const fg_executor *x, uint32_t index, uint32_t column) {
  return (fg_view){x->registers, x->register_offset[index] + column * sizeof(float),
                   x->options.graph->register_width[index]};
}

static fg_status gather_input(fg_executor *x, uint32_t i, fg_error *err) {
  const fg_input *input = &x->options.graph->inputs[i];
  fg_device *d = x->options.device;
  const int32_t *index =
      input->index == FG_INPUT_TOKEN ? x->ids : (int32_t *)(x->host_arrays + x->at.positions);
  for (uint32_t t = 0; t < x->tokens; t++) x->rows[t] = index[t] + input->index_offset;
  fg_view to = register_view(x, input->reg, 0);
  char *reach = fg_device_host_pointer(d, x->registers);
  float *out = reach ? (float *)(reach + to.offset) : x->staging;
  uint64_t begin = fg_now_ns();
  fg_status status = fg_table_gather(x->tables[i], x->rows, x->tokens, input->scale, out, to.stride, err);
  fg_trace_span(x->options.trace, x->track, FG_SPAN_GATHER, NULL, -1, 0, begin, fg_now_ns());
  if (status != FG_OK || reach) return status;
  status = d->ops->upload(d, FG_QUEUE_LOAD, x->registers, to.offset, out,
                          (uint64_t)x->tokens * to.stride * sizeof(float), err);
  fg_event there = d->ops->record(d, FG_QUEUE_LOAD);
  if (status == FG_OK) status = d->ops->queue_wait(d, FG_QUEUE_COMPUTE, there, err);
  if (status == FG_OK) status = d->ops->host_wait(d, there, err); // staging is used again
  return status;
}

// weights: of the program's slots
static fg_view operand_view(const fg_executor *x, const uint32_t *weights, fg_operand operand) {
  switch (operand.kind) {
  case FG_OPERAND_REGISTER: return register_view(x, operand.index, operand.column);
  case FG_OPERAND_SLOT: return (fg_view){x->vectors, x->vector_offset[weights[operand.index]], 0};
  case FG_OPERAND_CONSTANT: return (fg_view){x->vectors, x->constant_offset[operand.index], 0};
  case FG_OPERAND_NONE: break;
  }
  return (fg_view){0};
}

// A program in a layer, or one expert's: what it runs with.
typedef struct frame {
  const fg_program *program;
  const uint32_t *weights; // of its slots
  int32_t layer;
  uint32_t rows;
  const fg_batch_view *batch;
  bool cached; // its matrices are those of the unit that the expert cache has acquired
} frame;

// Rows [row, row + count) of a matrix, which begin `skip` rows into the panel that `call` has. The other
// views of the call are those of the whole matrix.
typedef struct matrix_piece {
  uint32_t row, count, skip;
} matrix_piece;

static fg_status run_piece(fg_executor *x, const fg_call *call, const fg_node *node, const fg_weight *weight,
                           matrix_piece piece, fg_error *err) {
  const uint32_t each = weight->segments ? weight->n / weight->segments : weight->n;
  const uint64_t segment = piece.row / each;
  fg_call one = *call;
  one.params.matmul.n = piece.count;
  one.params.matmul.same_a =
      (call->params.matmul.same_a || piece.row > 0) && (segment == 0 || node->in_step == 0);
  one.a.offset += segment * node->in_step * sizeof(float);
  if (piece.skip) one.b.offset += one.params.matmul.layout->bytes(weight->dtype, piece.skip, weight->k);
  one.c.offset += piece.row * sizeof(float);
  one.out.offset += (segment * node->out_step + piece.row % each) * sizeof(float);
  return x->options.device->ops->run(x->options.device, FG_QUEUE_COMPUTE, &one, err);
}

// One matrix: out[:, panel's rows] for each of its panels, as they come; segment by segment if it has some.
static fg_status run_matmul(fg_executor *x, fg_call *call, const fg_node *node, const frame *f,
                            fg_error *err) {
  const fg_weight *weight = &x->options.store->weights[f->weights[node->b.index]];
  call->params.matmul.k = weight->k;
  call->params.matmul.dtype = weight->dtype;
  call->params.matmul.layout = fg_layout_find(weight->layout);
  for (uint32_t p = weight->panel; p < weight->panel + weight->panels; p++) {
    const fg_panel *panel = &x->options.store->panels[p];
    const uint32_t step = weight->segments ? weight->n / weight->segments : panel->rows;
    fg_status status = FG_OK;
    if (f->cached)
      call->b = fg_expert_cache_panel(x->expert_cache, p);
    else
      status = fg_weight_stream_acquire(x->stream, p, &call->b, err);
    for (uint32_t row = 0; row < panel->rows && status == FG_OK; row += step)
      status = run_piece(x, call, node, weight, (matrix_piece){panel->row + row, step, row}, err);
    if (status == FG_OK && !f->cached) status = fg_weight_stream_release(x->stream, p, err);
    if (status != FG_OK) return status;
  }
  return FG_OK;
}

static fg_view cache_view(const fg_executor *x, int32_t layer) {
  uint64_t page_bytes = fg_kv_page_bytes(&x->options.graph->kv);
  return (fg_view){x->kv, (uint64_t)layer * x->options.policy->pages * page_bytes, 0};
}

static fg_status run_node(fg_executor *x, const fg_node *node, const frame *f, fg_error *err) {
  const int32_t layer = f->layer;
  fg_call call = {
      .op = node->op, .rows = f->rows, .params = node->params, .batch = *f->batch, .layer = layer};
  call.a = operand_view(x, f->weights, node->a);
  call.c = operand_view(x, f->weights, node->c);
  call.out = operand_view(x, f->weights, node->out);
  if (node->op == FG_OP_MATMUL) return run_matmul(x, &call, node, f, err);
  call.b = operand_view(x, f->weights, node->b);
  if (node->op == FG_OP_KV_STORE) {
    call.params.kv_store.kv = x->options.graph->kv;
    call.params.kv_store.rotated = x->options.rotates_cache;
    call.out = cache_view(x, layer);
  } else if (node->op == FG_OP_ATTENTION) {
    call.params.attention.kv = x->options.graph->kv;
    call.params.attention.rotated = x->options.rotates_cache;
    call.params.attention.sparsity = x->options.attn_sparsity;
    call.b = cache_view(x, layer);
  }
  return x->options.device->ops->run(x->options.device, FG_QUEUE_COMPUTE, &call, err);
}

// An expert on the rows that chose it: gathered, computed, and added to where they came from.
static fg_status run_expert(fg_executor *x, const frame *layer, const fg_expert_run *run, fg_error *err) {
  fg_device *d = x->options.device;
  const fg_experts *e = &layer->program->experts;
  const uint32_t unit = x->experts.first_unit[layer->layer] + run->expert;
  fg_status status = x->expert_cache ? fg_expert_cache_acquire(x->expert_cache, unit, err) : FG_OK;
  if (status != FG_OK) return status;
  fg_call move = {.op = FG_OP_SELECT, .rows = run->rows, .layer = layer->layer};
  move.a = register_view(x, e->in, 0);
  move.b = run->list;
  move.out = register_view(x, e->work, 0);
  move.params.copy.width = x->options.graph->hidden;
  status = d->ops->run(d, FG_QUEUE_COMPUTE, &move, err);
  const frame f = {.program = fg_graph_expert_program(x->options.graph, layer->layer),
                   .weights = x->experts.weights[unit],
                   .layer = layer->layer,
                   .rows = run->rows,
                   .batch = layer->batch,
                   .cached = x->expert_cache != NULL};
  for (uint32_t i = 0; status == FG_OK && i < f.program->node_count; i++)
    status = run_node(x, &f.program->nodes[i], &f, err);
  move.op = FG_OP_SCATTER;
  move.a = move.out;
  move.c = run->weights;
  move.out = register_view(x, e->sum, 0);
  if (status == FG_OK) status = d->ops->run(d, FG_QUEUE_COMPUTE, &move, err);
  if (status == FG_OK && x->expert_cache) status = fg_expert_cache_release(x->expert_cache, err);
  return status;
}

static fg_status run_experts(fg_executor *x, const frame *layer, fg_error *err) {
  const fg_node *route = &layer->program->nodes[layer->program->experts.after];
  uint32_t count, units[FG_MAX_EXPERTS];
  fg_status status = fg_expert_rows_sort(x->expert_rows, register_view(x, route->out.index, 0), layer->rows,
                                         &route->params.route, err);
  if (status != FG_OK) return status;
  const fg_expert_run *runs = fg_expert_rows_runs(x->expert_rows, &count);
  for (uint32_t i = 0; i < count; i++) units[i] = x->experts.first_unit[layer->layer] + runs[i].expert;
  if (x->expert_cache) status = fg_expert_cache_want(x->expert_cache, units, count, err);
  for (uint32_t i = 0; status == FG_OK && i < count; i++) status = run_expert(x, layer, &runs[i], err);
  return status;
}

static fg_status run_program(fg_executor *x, const fg_program *program, int32_t layer, uint32_t rows,
                             const fg_batch_view *batch, fg_error *err) {
  const frame f = {
      .program = program, .weights = x->weight_of[layer + 1], .layer = layer, .rows = rows, .batch = batch};
  for (uint32_t i = 0; i < program->node_count; i++) {
    fg_status status = run_node(x, &program->nodes[i], &f, err);
    if (status == FG_OK && program->experts.count && i == program->experts.after)
      status = run_experts(x, &f, err);
    if (status != FG_OK) return status;
  }
  return FG_OK;
}

static fg_status select_rows(fg_executor *x, fg_error *err) {
  const fg_graph *g = x->options.graph;
  fg_call call = {.op = FG_OP_SELECT,
                  .rows = x->selected,
                  .a = register_view(x, 0, 0),
                  .b = {x->array_memory, x->at.selected, 1},
                  .out = register_view(x, g->selected_reg, 0),
                  .params.copy.width = g->register_width[0],
                  .layer = (int32_t)g->layers};
  return x->options.device->ops->run(x->options.device, FG_QUEUE_COMPUTE, &call, err);
}

// One panel of the head for `rows` selected rows from `first` on: computed, brought to the host, handed out.
static fg_status run_head_block(fg_executor *x, fg_call *call, const fg_panel *panel, uint32_t first,
                                uint32_t rows, fg_logits_fn *fn, void *user, fg_error *err) {
  fg_device *d = x->options.device;
  const fg_graph *g = x->options.graph;
  call->rows = rows;
  call->a = register_view(x, g->head_reg, 0);
  call->a.offset += (uint64_t)first * call->a.stride * sizeof(float);
  call->out = (fg_view){x->logits, 0, panel->rows};
  fg_status status = d->ops->run(d, FG_QUEUE_COMPUTE, call, err);
  if (status == FG_OK && g->logit_softcap != 0) {
    fg_call cap = {.op = FG_OP_MAP, .rows = rows, .out = call->out, .layer = call->layer};
    cap.params.map.width = panel->rows;
    cap.params.map.kind = FG_MAP_SOFTCAP;
    cap.params.map.number = g->logit_softcap;
    status = d->ops->run(d, FG_QUEUE_COMPUTE, &cap, err);
  }
  float *logits = fg_device_host_pointer(d, x->logits);
  if (status == FG_OK && !logits) {
    logits = x->host_logits;
    status = d->ops->download(d, FG_QUEUE_COMPUTE, x->logits, 0, logits,
                              (uint64_t)rows * panel->rows * sizeof(float), err);
  }
  if (status == FG_OK) status = d->ops->host_wait(d, d->ops->record(d, FG_QUEUE_COMPUTE), err);
  if (status != FG_OK) return status;
  fn(user, &(fg_logits_block){first, rows, panel->row, panel->rows, panel->rows, logits});
  return FG_OK;
}

static fg_status run_head(fg_executor *x, fg_logits_fn *fn, void *user, fg_error *err) {
  const fg_graph *g = x->options.graph;
  const fg_weight *head = &x->options.store->weights[x->weight_of[g->layers + 1][g->head_slot]];
  fg_call call = {.op = FG_OP_MATMUL, .layer = (int32_t)g->layers};
  call.params.matmul.k = head->k;
  call.params.matmul.dtype = head->dtype;
  call.params.matmul.layout = fg_layout_find(head->layout);
  for (uint32_t p = head->panel; p < head->panel + head->panels; p++) {
    const fg_panel *panel = &x->options.store->panels[p];
    call.params.matmul.n = panel->rows;
    call.params.matmul.same_a = p > head->panel && x->selected <= x->head_rows;
    if (g->head_bias_slot >= 0) {
      fg_operand bias = {.kind = FG_OPERAND_SLOT, .index = (uint32_t)g->head_bias_slot};
      call.c = operand_view(x, x->weight_of[g->layers + 1], bias);
      call.c.offset += panel->row * sizeof(float);
    }
    fg_status status = fg_weight_stream_acquire(x->stream, p, &call.b, err);
    for (uint32_t first = 0; status == FG_OK && first < x->selected; first += x->head_rows) {
      uint32_t rows = x->selected - first < x->head_rows ? x->selected - first : x->head_rows;
      status = run_head_block(x, &call, panel, first, rows, fn, user, err);
    }
    if (status == FG_OK) status = fg_weight_stream_release(x->stream, p, err);
    if (status != FG_OK) return status;
  }
  return FG_OK;
}

fg_status fg_executor_run(fg_executor *x, fg_logits_fn *logits, void *user, fg_error *err) {
  const fg_graph *g = x->options.graph;
  fg_status status = fg_weight_stream_begin(x->stream, x->selected > 0, err);
  if (x->expert_cache) fg_expert_cache_begin(x->expert_cache);
  if (status == FG_OK) status = upload_arrays(x, err);
  for (uint32_t i = 0; status == FG_OK && i < g->input_count; i++) status = gather_input(x, i, err);
  fg_batch_view batch = batch_view(x);
  if (status == FG_OK) status = run_program(x, &g->prologue, -1, x->tokens, &batch, err);
  for (uint32_t layer = 0; status == FG_OK && layer < g->layers; layer++)
    status = run_program(x, &g->programs[g->program_of_layer[layer]], (int32_t)layer, x->tokens, &batch, err);
  if (status == FG_OK && x->selected) {
    status = select_rows(x, err);
    if (status == FG_OK) status = run_program(x, &g->epilogue, (int32_t)g->layers, x->selected, &batch, err);
    if (status == FG_OK) status = run_head(x, logits, user, err);
  }
  // The arrays are written again for the next step, so this one must have passed.
  fg_device *d = x->options.device;
  return status == FG_OK ? d->ops->host_wait(d, d->ops->record(d, FG_QUEUE_COMPUTE), err) : status;
}

uint64_t fg_executor_weight_bytes_read(const fg_executor *x) {
  return fg_weight_stream_bytes_read(x->stream) + fg_executor_expert_counts(x).read_bytes;
}

fg_expert_counts fg_executor_expert_counts(const fg_executor *x) {
  return x->expert_cache ? fg_expert_cache_counts(x->expert_cache) : (fg_expert_counts){0};
}

uint64_t fg_executor_resident_bytes(const fg_executor *x) {
  return x->resident;
}
