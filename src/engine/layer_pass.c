#include "engine/layer_pass.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/checked.h"
#include "engine/hidden_state.h"
#include "plan/pass_policy.h"

// Whole sequences, whose rows follow each other.
typedef struct pass_batch {
  uint32_t row, rows;
  uint32_t chunk, chunks;
  uint32_t selected, selects; // of the step's selected rows: the first, how many
  uint32_t pages;
} pass_batch;

_Static_assert(sizeof(pass_batch) <= FG_PASS_BATCH_ROOM, "what the policy counts");

struct fg_layer_pass {
  fg_executor_options options;
  fg_hidden_state *hidden;
  fg_memory *numbers;  // [micro_tokens] i32: 0, 1, 2 ...
  pass_batch *batches; // [max_seqs]
  uint64_t list_bytes; // reserved
  uint32_t count;
};

// ---- which graphs ----------------------------------------------------------------------------------------

static bool names_register(fg_operand operand, uint32_t reg) {
  return operand.kind == FG_OPERAND_REGISTER && operand.index == reg;
}

// Whether the program looks at a register that it has not written: what an operation only writes comes before
// what reads it, so the first node that names the register decides.
static bool reads_first(const fg_program *p, uint32_t reg) {
  for (uint32_t i = 0; i < p->node_count; i++) {
    const fg_node *n = &p->nodes[i];
    if (names_register(n->a, reg) || names_register(n->b, reg) || names_register(n->c, reg)) return true;
    if (!names_register(n->out, reg)) continue;
    const bool adds = (n->op == FG_OP_MATMUL && n->params.matmul.accumulate) || n->op == FG_OP_ADD ||
                      n->op == FG_OP_SCATTER;
    const bool in_place = n->op == FG_OP_ROPE || n->op == FG_OP_ACT || n->op == FG_OP_MAP;
    return adds || in_place;
  }
  return false;
}

bool fg_layer_pass_possible(const fg_graph *g, const char **why) {
  *why = "a layer leaves more to the next one than the residual stream";
  for (uint32_t p = 0; p < g->program_count; p++)
    for (uint32_t r = 1; r < g->register_count; r++)
      if (reads_first(&g->programs[p], r)) return false;
  *why = "the head multiplies more values than a row of the residual stream has";
  return g->epilogue.slots[g->head_slot].k <= g->register_width[0];
}

// ---- what it costs ---------------------------------------------------------------------------------------

static uint64_t largest_layer(const fg_graph *g, const fg_store *store) {
  uint64_t largest = 0, bytes = 0;
  int32_t layer = INT32_MIN;
  for (uint32_t w = 0; w < store->weight_count; w++) {
    const fg_weight *weight = &store->weights[w];
    if (weight->kind != FG_WEIGHT_MATRIX || weight->layer >= (int32_t)g->layers) continue;
    if (weight->layer != layer) bytes = 0;
    layer = weight->layer;
    for (uint32_t p = weight->panel; p < weight->panel + weight->panels; p++)
      bytes += fg_align_up(store->panels[p].bytes, FG_IO_ALIGN);
    if (bytes > largest) largest = bytes;
  }
  return largest;
}

// Of the epilogue but for the head, whose panels come one by one.
static uint64_t epilogue_bytes(const fg_graph *g, const fg_store *store) {
  char head[64];
  uint64_t bytes = 0;
  fg_graph_weight_name(g, (int32_t)g->layers, &g->epilogue.slots[g->head_slot], head);
  const uint32_t h = fg_store_find(store, head);
  for (uint32_t w = 0; w < store->weight_count; w++) {
    const fg_weight *weight = &store->weights[w];
    if (weight->kind != FG_WEIGHT_MATRIX || weight->layer < (int32_t)g->layers || w == h) continue;
    for (uint32_t p = weight->panel; p < weight->panel + weight->panels; p++)
      bytes += fg_align_up(store->panels[p].bytes, FG_IO_ALIGN);
  }
  return bytes;
}

void fg_layer_pass_costs(const fg_graph *g, const fg_store *store, fg_plan_input *plan) {
  const char *why;
  fg_pass_costs *c = &plan->pass;
  const uint64_t layer = largest_layer(g, store), epilogue = epilogue_bytes(g, store);
  c->possible = fg_layer_pass_possible(g, &why);
  c->hidden = g->register_width[0];
  c->held_bytes = layer > epilogue ? layer : epilogue;
  for (uint32_t r = 1; r < g->register_count; r++) c->row_device += g->register_width[r] * sizeof(float);
  c->row_device += sizeof(int32_t); // numbers
  const uint64_t arrays = 4 * sizeof(int32_t), chunk = 5 * sizeof(int32_t);
  c->token_device += arrays;
  c->token_host += arrays + sizeof(int32_t); // and its id
  c->row_host += sizeof(int32_t);            // what is looked up
  c->seq_device += chunk;
  c->seq_host += chunk + FG_PASS_BATCH_ROOM;
}

// ---- life ------------------------------------------------------------------------------------------------

static fg_status create_numbers(fg_layer_pass *pass, fg_error *err) {
  fg_device *d = pass->options.device;
  const uint32_t rows = pass->options.policy->micro_tokens;
  const uint64_t bytes = rows * sizeof(int32_t);
  fg_status status = d->ops->memory_create(d, bytes, "numbers of rows", &pass->numbers, err);
  if (status != FG_OK) return status;
  int32_t *numbers = malloc(bytes);
  if (!numbers) return fg_fail(err, FG_NO_SPACE, "out of memory for a batch of %" PRIu32 " rows", rows);
  for (uint32_t i = 0; i < rows; i++) numbers[i] = (int32_t)i;
  status = d->ops->upload(d, FG_QUEUE_LOAD, pass->numbers, 0, numbers, bytes, err);
  if (status == FG_OK) status = d->ops->host_wait(d, d->ops->record(d, FG_QUEUE_LOAD), err);
  free(numbers);
  return status;
}

fg_status fg_layer_pass_create(fg_layer_pass **out, const fg_executor_options *options, fg_error *err) {
  *out = NULL;
  const fg_policy *p = options->policy;
  const char *why;
  if (!fg_layer_pass_possible(options->graph, &why)) return fg_fail(err, FG_UNSUPPORTED, "%s", why);
  fg_layer_pass *pass = calloc(1, sizeof *pass);
  if (!pass) return fg_fail(err, FG_NO_SPACE, "out of memory for layer passes");
  pass->options = *options;
  const uint64_t list = p->max_seqs * sizeof(pass_batch);
  fg_status status = fg_budget_reserve(options->host, list, "batches of a step", err);
  if (status == FG_OK) {
    pass->list_bytes = list;
    pass->batches = calloc(p->max_seqs, sizeof *pass->batches);
    if (!pass->batches)
      status = fg_fail(err, FG_NO_SPACE, "out of memory for %" PRIu32 " batches", p->max_seqs);
  }
  const fg_hidden_options hidden = {.limits = fg_pass_hidden_limits(p, options->graph->register_width[0]),
                                    .device = options->device,
                                    .host = options->host,
                                    .trace = options->trace,
                                    .folder = options->kv_folder,
                                    .backend = options->kv_backend};
  if (status == FG_OK) status = fg_hidden_create(&pass->hidden, &hidden, err);
  if (status == FG_OK) status = create_numbers(pass, err);
  if (status != FG_OK) {
    fg_layer_pass_destroy(pass);
    return status;
  }
  *out = pass;
  return FG_OK;
}

void fg_layer_pass_destroy(fg_layer_pass *pass) {
  if (!pass) return;
  fg_device *d = pass->options.device;
  fg_hidden_destroy(pass->hidden);
  if (pass->numbers) d->ops->memory_destroy(d, pass->numbers);
  fg_budget_release(pass->options.host, pass->list_bytes);
  free(pass->batches);
  free(pass);
}

// ---- putting a step together -----------------------------------------------------------------------------

void fg_layer_pass_begin(fg_layer_pass *pass) {
  pass->count = 0;
}

fg_status fg_layer_pass_add(fg_layer_pass *pass, const fg_kv_chunk *chunk, int32_t *table, uint32_t *number,
                            uint32_t *row, fg_error *err) {
  const fg_policy *p = pass->options.policy;
  const uint32_t page_tokens = pass->options.graph->kv.page_tokens;
  const uint32_t pages = (chunk->count + page_tokens - 1) / page_tokens;
  if (chunk->begin != 0 || chunk->count > p->pass_len || pages > p->device_pages)
    return fg_fail(err, FG_INTERNAL, "tokens %" PRIu32 " to %" PRIu32 " of a sequence in a layer pass",
                   chunk->begin, chunk->begin + chunk->count);
  pass_batch *b = pass->count ? &pass->batches[pass->count - 1] : NULL;
  if (!b || b->rows + chunk->count > p->micro_tokens || b->pages + pages > p->device_pages) {
    if (pass->count == p->max_seqs) return fg_fail(err, FG_INTERNAL, "too many sequences in a layer pass");
    const pass_batch next = {.row = chunk->row,
                             .chunk = b ? b->chunk + b->chunks : 0,
                             .selected = b ? b->selected + b->selects : 0};
    b = &pass->batches[pass->count++];
    *b = next;
  }
  for (uint32_t i = 0; i < pages; i++) table[i] = (int32_t)(b->pages + i);
  *number = b->chunks++;
  *row = b->row;
  b->pages += pages;
  b->rows += chunk->count;
  return FG_OK;
}

uint32_t fg_layer_pass_select(fg_layer_pass *pass) {
  pass_batch *b = &pass->batches[pass->count - 1];
  b->selects++;
  return b->row;
}

// ---- running it ------------------------------------------------------------------------------------------

typedef fg_status batch_fn(fg_layer_pass *pass, fg_executor *x, const pass_batch *b, int32_t layer,
                           fg_error *err);

// Each batch in order; what is left of its rows is that of `keeps`.
static fg_status sweep(fg_layer_pass *pass, fg_executor *x, fg_sweep how, batch_fn *work, int32_t layer,
                       fg_error *err) {
  const bool last = layer == (int32_t)pass->options.graph->layers;
  fg_status status = fg_hidden_sweep(pass->hidden, how, err);
  for (uint32_t i = 0; status == FG_OK && i < pass->count; i++) {
    const pass_batch *b = &pass->batches[i];
    x->span = (fg_span){.row = b->row,
                        .rows = b->rows,
                        .batch = fg_executor_batch_view(x, b->chunk, b->chunks, b->row),
                        .more = i + 1 < pass->count};
    status = fg_hidden_acquire(pass->hidden, &x->span.stream, err);
    if (status == FG_OK) status = work(pass, x, b, layer, err);
    if (status == FG_OK) status = fg_hidden_release(pass->hidden, last ? b->selects : b->rows, err);
  }
  return status;
}

static fg_status make_rows(fg_layer_pass *pass, fg_executor *x, const pass_batch *b, int32_t layer,
                           fg_error *err) {
  (void)pass;
  fg_status status = fg_executor_gather(x, err);
  return status == FG_OK ? fg_executor_program(x, layer, b->rows, err) : status;
}

static fg_status run_layer(fg_layer_pass *pass, fg_executor *x, const pass_batch *b, int32_t layer,
                           fg_error *err) {
  (void)pass;
  return fg_executor_program(x, layer, b->rows, err);
}

// What the head multiplies takes the place of the batch's first rows. A program without rows still uses its
// panels, which must go.
static fg_status end_rows(fg_layer_pass *pass, fg_executor *x, const pass_batch *b, int32_t layer,
                          fg_error *err) {
  const fg_graph *g = pass->options.graph;
  fg_device *d = pass->options.device;
  fg_status status = fg_executor_select_rows(x, b->selected, b->selects, err);
  if (status == FG_OK) status = fg_executor_program(x, layer, b->selects, err);
  fg_call keep = {.op = FG_OP_SELECT,
                  .rows = b->selects,
                  .a = fg_executor_register(x, g->head_reg, 0),
                  .b = {pass->numbers, 0, 1},
                  .out = x->span.stream,
                  .params.copy.width = g->epilogue.slots[g->head_slot].k,
                  .layer = layer};
  return status == FG_OK ? d->ops->run(d, FG_QUEUE_COMPUTE, &keep, err) : status;
}

static fg_status run_head_panel(fg_layer_pass *pass, fg_executor *x, fg_head_run *head, uint32_t panel,
                                fg_error *err) {
  fg_status status = fg_weight_stream_acquire(x->stream, panel, &head->call.b, err);
  if (status == FG_OK) status = fg_hidden_sweep(pass->hidden, FG_SWEEP_READ, err);
  for (uint32_t i = 0; status == FG_OK && i < pass->count; i++) {
    const pass_batch *b = &pass->batches[i];
    fg_view in;
    status = fg_hidden_acquire(pass->hidden, &in, err);
    if (status == FG_OK) status = fg_executor_head_rows(x, head, panel, in, b->selected, b->selects, err);
    if (status == FG_OK) status = fg_hidden_release(pass->hidden, b->selects, err);
  }
  return status == FG_OK ? fg_weight_stream_release(x->stream, panel, err) : status;
}

fg_status fg_layer_pass_run(fg_layer_pass *pass, fg_executor *x, fg_logits_fn *logits, void *user,
                            fg_error *err) {
  const int32_t layers = (int32_t)pass->options.graph->layers;
  fg_status status = fg_weight_stream_begin(x->stream, x->selected > 0, err);
  if (x->expert_cache) fg_expert_cache_begin(x->expert_cache);
  if (status == FG_OK) status = fg_executor_upload_arrays(x, err);
  fg_hidden_begin(pass->hidden);
  for (uint32_t i = 0; status == FG_OK && i < pass->count; i++)
    status = fg_hidden_add(pass->hidden, pass->batches[i].rows, err);
  if (status == FG_OK) status = sweep(pass, x, FG_SWEEP_MAKE, make_rows, -1, err);
  for (int32_t layer = 0; status == FG_OK && layer < layers; layer++)
    status = sweep(pass, x, FG_SWEEP_CHANGE, run_layer, layer, err);
  if (status == FG_OK && x->selected) {
    status = sweep(pass, x, FG_SWEEP_CHANGE, end_rows, layers, err);
    fg_head_run head = fg_executor_head(x, logits, user);
    for (uint32_t i = 0; status == FG_OK && i < head.weight->panels; i++)
      status = run_head_panel(pass, x, &head, head.weight->panel + i, err);
  }
  return status == FG_OK ? fg_hidden_finish(pass->hidden, err) : status;
}

fg_hidden_counts fg_layer_pass_counts(const fg_layer_pass *pass) {
  return (fg_hidden_counts){fg_hidden_bytes_read(pass->hidden), fg_hidden_bytes_written(pass->hidden)};
}
