#include "engine/plan_model.h"

#include <math.h>

#include "base/checked.h"
#include "engine/experts.h"
#include "engine/tables.h"

static void add_matrix(fg_plan_products *products, const fg_weight *weight) {
  const double values = (double)weight->n * weight->k;
  uint32_t i = 0;
  while (i < products->count &&
         (products->kinds[i].dtype != weight->dtype || products->kinds[i].k != weight->k))
    i++;
  if (i == FG_PLAN_MATRICES) i--; // one kind more or less makes no difference that could be measured
  if (i == products->count)
    products->kinds[products->count++] = (fg_plan_matrices){.dtype = weight->dtype, .k = weight->k};
  products->kinds[i].values += values;
}

static bool in_units(const fg_experts_map *map, uint32_t panel, uint32_t *hint) {
  // Units stand in the order of the store, and so do the weights that are asked for.
  while (*hint < map->unit_count && map->units[*hint].panel + map->units[*hint].panels <= panel) ++*hint;
  return *hint < map->unit_count && map->units[*hint].panel <= panel;
}

static void add_attention(fg_plan_model *out, const fg_node *node) {
  const uint32_t heads = node->params.attention.heads, window = node->params.attention.window;
  uint32_t i = 0;
  while (i < out->attention_count && (out->attention[i].heads != heads || out->attention[i].window != window))
    i++;
  if (i == FG_PLAN_ATTENTIONS) i--;
  if (i == out->attention_count)
    out->attention[out->attention_count++] = (fg_plan_attention){.heads = heads, .window = window};
  out->attention[i].layers++;
}

// Values of activations that a node goes over for a token.
static double row_values(const fg_node *node) {
  switch (node->op) {
  case FG_OP_NORM: return (double)node->params.norm.width * node->params.norm.segments;
  case FG_OP_ROPE: return (double)node->params.rope.heads * node->params.rope.rotary;
  case FG_OP_ACT: return node->params.act.width;
  case FG_OP_GLU: return 2.0 * node->params.act.width;
  case FG_OP_MAP: return node->params.map.width;
  case FG_OP_ADD:
  case FG_OP_SELECT:
  case FG_OP_SCATTER: return node->params.copy.width;
  default: return 0;
  }
}

// Values of a token that a node puts into the form that its product reads.
static double input_values(const fg_node *node) {
  return node->op == FG_OP_MATMUL && !node->params.matmul.same_a ? node->params.matmul.k : 0;
}

// What a program does to a token's activations.
typedef struct activations {
  double values, inputs;
} activations;

static activations activations_of(const fg_program *program) {
  activations a = {0, 0};
  for (uint32_t i = 0; i < program->node_count; i++) {
    a.values += row_values(&program->nodes[i]);
    a.inputs += input_values(&program->nodes[i]);
  }
  return a;
}

static void add_program(fg_plan_model *out, const fg_program *program) {
  const activations a = activations_of(program);
  out->operations += program->node_count;
  out->row_values += a.values;
  out->input_values += a.inputs;
  for (uint32_t i = 0; i < program->node_count; i++)
    if (program->nodes[i].op == FG_OP_ATTENTION) add_attention(out, &program->nodes[i]);
}

static void add_experts(fg_plan_model *out, const fg_graph *g, uint32_t layer) {
  const fg_experts *e = &fg_graph_program(g, (int32_t)layer)->experts;
  if (!e->count) return;
  if (e->count > out->expert_count) out->expert_count = e->count;
  if (e->used > out->experts_used) out->experts_used = e->used;
  const fg_program *program = fg_graph_expert_program(g, (int32_t)layer);
  const activations a = activations_of(program);
  out->row_values += (a.values + 2.0 * g->hidden) * e->used; // gathered, and scattered
  out->input_values += a.inputs * e->used;
}

// A table's row begins anywhere in a block, at a multiple of what both have in common.
static double table_row_bytes(const fg_weight *weight) {
  uint64_t bytes = 0;
  if (!fg_dtype_bytes(weight->dtype, weight->k, &bytes) || !bytes) return 0;
  const uint64_t step = bytes & -bytes; // the largest power of two that divides it
  return (double)(bytes + FG_IO_ALIGN) - (double)(step < FG_IO_ALIGN ? step : FG_IO_ALIGN);
}

static void add_panels(fg_plan_model *out, const fg_store *store, const fg_weight *weight, bool expert) {
  const bool head = weight->layer >= (int32_t)out->layers;
  add_matrix(expert ? &out->experts : head ? &out->head : &out->body, weight);
  out->operations += weight->panels;
  for (uint32_t p = weight->panel; p < weight->panel + weight->panels; p++) {
    const double bytes = (double)fg_align_up(store->panels[p].bytes, FG_IO_ALIGN);
    if (expert)
      out->expert_bytes += bytes;
    else if (head)
      out->head_bytes += bytes;
  }
}

fg_status fg_plan_model_of(fg_plan_model *out, const fg_graph *g, const fg_store *store, int compute,
                           fg_error *err) {
  *out = (fg_plan_model){.layers = g->layers, .vocab = g->vocab, .compute = compute, .kv = g->kv};
  fg_experts_map map;
  fg_status status = fg_experts_map_create(&map, g, store, err);
  if (status != FG_OK) return status;
  uint32_t hint = 0;
  for (uint32_t w = 0; w < store->weight_count; w++) {
    const fg_weight *weight = &store->weights[w];
    if (weight->kind == FG_WEIGHT_TABLE && fg_table_bytes(weight, true) > FG_SMALL_TABLE)
      out->table_row_bytes += table_row_bytes(weight);
    if (weight->kind == FG_WEIGHT_MATRIX)
      add_panels(out, store, weight, in_units(&map, weight->panel, &hint));
  }
  fg_experts_map_free(&map);
  for (uint32_t i = 0; i < g->input_count; i++)
    out->input_row_bytes += g->register_width[g->inputs[i].reg] * (double)sizeof(float);
  add_program(out, &g->prologue);
  for (uint32_t layer = 0; layer < g->layers; layer++) {
    add_program(out, fg_graph_program(g, (int32_t)layer));
    add_experts(out, g, layer);
  }
  const activations head = activations_of(&g->epilogue);
  out->head_row_values = head.values;
  out->head_input_values = head.inputs + g->hidden;
  out->operations += g->epilogue.node_count;
  return FG_OK;
}

// One panel is in use, and one frame; the rest of both rings is on its way.
static void set_ahead(fg_plan_traffic *t, const fg_plan_input *in, const fg_policy *p) {
  const double ring = (double)p->ring_bytes - (double)in->largest_panel;
  t->weights_ahead = ring > 0 ? ring : 0;
  if (p->frames > 1) t->pages_ahead = (p->frames - 1.0) / p->frames * (double)p->stage_bytes;
}

static void set_link(fg_plan_traffic *t, const fg_plan_model *model, const fg_plan_input *in,
                     const fg_policy *p) {
  const double panels = (double)in->panel_bytes;
  if (in->one_memory || panels <= 0) return;
  const double crosses = 1 - fmin(1, (double)p->device_weight_bytes / panels);
  t->link_tail_bytes = model->head_bytes * crosses;
  t->link_body_bytes = (panels - model->head_bytes) * crosses;
  t->link_token_bytes = model->input_row_bytes;
}

fg_plan_traffic fg_plan_traffic_of(const fg_plan_model *model, const fg_plan_input *in, const fg_policy *p) {
  const double panels = (double)in->panel_bytes, head = model->head_bytes;
  const double resident = (double)(p->device_weight_bytes + p->host_weight_bytes);
  fg_plan_traffic t = {.page_bytes = (double)(p->disk_pages ? in->padded_page_bytes : in->page_bytes),
                       .ring_bytes = (double)p->ring_bytes,
                       .hidden_row_bytes = (double)in->pass.hidden * sizeof(float)};
  set_ahead(&t, in, p);
  set_link(&t, model, in, p);
  t.open_bytes = (double)in->vector_bytes + (double)in->small_table_bytes;
  if (p->tables_resident)
    t.open_bytes += (double)(in->table_bytes - in->small_table_bytes);
  else
    t.table_bytes = model->table_row_bytes;
  if (resident >= panels) {
    t.open_bytes += panels;
    return t;
  }
  double dense = panels - model->expert_bytes, dense_resident = resident;
  if (model->expert_bytes > 0) { // matrices that every step uses are kept first
    dense_resident = resident < dense ? resident : dense;
    const double experts =
        (double)p->expert_bytes + (resident >= dense ? resident - dense + (double)p->ring_bytes : 0);
    t.missing_experts = experts < model->expert_bytes ? 1 - experts / model->expert_bytes : 0;
  }
  const double streamed = dense > 0 ? 1 - dense_resident / dense : 0;
  t.tail_bytes = head * streamed;
  t.body_bytes = (dense - head) * streamed;
  t.open_bytes += dense_resident;
  if (t.ring_bytes > t.body_bytes) t.ring_bytes = t.body_bytes;
  return t;
}
