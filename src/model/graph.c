#include "model/graph.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fg_graph_destroy(fg_graph *graph) {
  if (!graph) return;
  for (uint32_t i = 0; i < graph->constant_count; i++) free(graph->constants[i]);
  free(graph->programs);
  free(graph->expert_programs);
  free(graph->program_of_layer);
  free(graph);
}

const fg_program *fg_graph_program(const fg_graph *graph, int32_t layer) {
  if (layer < 0) return &graph->prologue;
  if ((uint32_t)layer >= graph->layers) return &graph->epilogue;
  return &graph->programs[graph->program_of_layer[layer]];
}

void fg_graph_weight_name(const fg_graph *graph, int32_t layer, const fg_slot *slot, char out[static 64]) {
  if (layer < 0) {
    snprintf(out, 64, "prologue.%s", slot->name);
  } else if ((uint32_t)layer >= graph->layers) {
    snprintf(out, 64, "epilogue.%s", slot->name);
  } else {
    snprintf(out, 64, "layers.%d.%s", layer, slot->name);
  }
}

const fg_program *fg_graph_expert_program(const fg_graph *graph, int32_t layer) {
  const fg_program *program = fg_graph_program(graph, layer);
  if (!program->experts.count || layer < 0 || (uint32_t)layer >= graph->layers) return NULL;
  return &graph->expert_programs[graph->program_of_layer[layer]];
}

void fg_graph_expert_weight_name(uint32_t layer, uint32_t expert, const fg_slot *slot, char out[static 64]) {
  snprintf(out, 64, "layers.%u.e%u.%s", layer, expert, slot->name);
}

static uint64_t expert_base(const fg_slot *slot, const fg_source *source, uint32_t expert) {
  if (!source->experts) return 0;
  if (slot->kind == FG_WEIGHT_VECTOR) return expert;
  if (source->transform == FG_TRANSFORM_TRANSPOSE) return (uint64_t)expert * slot->k;
  return (uint64_t)expert * fg_source_tensor_rows(source);
}

fg_status fg_graph_expert_slot(const fg_slot *slot, uint32_t expert, fg_slot *out, fg_error *err) {
  *out = *slot;
  for (uint32_t i = 0; i < slot->source_count; i++) {
    const char *pattern = slot->sources[i].tensor, *place = strstr(pattern, "%e");
    fg_source *source = &out->sources[i];
    source->base = expert_base(slot, source, expert);
    if (!place) continue;
    int n = snprintf(source->tensor, sizeof source->tensor, "%.*s%u%s", (int)(place - pattern), pattern,
                     expert, place + 2);
    if (n < 0 || (size_t)n >= sizeof source->tensor)
      return fg_fail(err, FG_INTERNAL, "the tensor name %s is too long", pattern);
  }
  return FG_OK;
}

// Row r of a head in our order is this row in a GGUF: halves (i, i + d/2) were interleaved to (2i, 2i + 1).
static uint64_t interleaved_row(uint64_t r, uint64_t head_dim) {
  return r / head_dim * head_dim + 2 * (r % head_dim % (head_dim / 2)) + r % head_dim / (head_dim / 2);
}

bool fg_source_is_turned(const fg_slot *slot, const fg_source *source) {
  return slot->kind != FG_WEIGHT_VECTOR &&
         (source->transform == FG_TRANSFORM_TRANSPOSE || source->transform == FG_TRANSFORM_TRANSPOSE_HEADS);
}

// With FG_TRANSFORM_TRANSPOSE_HEADS: what a head gives.
static uint32_t head_rows(const fg_source *source) {
  return source->rows / (source->slice.rows / source->slice.period);
}

uint64_t fg_source_turned_base(const fg_source *source, uint64_t row) {
  if (source->transform != FG_TRANSFORM_TRANSPOSE_HEADS) return source->base;
  return source->base + source->slice.first + row / head_rows(source) * source->slice.period;
}

void fg_source_shape(const fg_slot *slot, const fg_source *source, uint64_t *rows, uint64_t *columns) {
  const uint64_t times = source->experts ? source->experts : 1;
  const uint32_t all = fg_source_tensor_rows(source);
  *rows = times * (source->transform == FG_TRANSFORM_TRANSPOSE ? slot->k : all);
  *columns = slot->k;
  if (source->transform == FG_TRANSFORM_TRANSPOSE) *columns = all;
  if (source->transform == FG_TRANSFORM_TRANSPOSE_HEADS) *columns = head_rows(source);
}

uint64_t fg_source_row(const fg_source *source, uint64_t row) {
  const fg_row_slice *s = &source->slice;
  if (source->transform == FG_TRANSFORM_TRANSPOSE_HEADS) return row % head_rows(source);
  if (source->transform == FG_TRANSFORM_UNPERMUTE_ROPE) row = interleaved_row(row, source->head_dim);
  return s->block ? s->first + row / s->block * s->period + row % s->block : row;
}

uint32_t fg_source_tensor_rows(const fg_source *source) {
  return source->slice.block ? source->slice.rows : source->rows;
}

// ---- checks --------------------------------------------------------------------------------------------

typedef struct checker {
  const fg_graph *graph;
  const fg_program *program;
  bool used[FG_MAX_SLOTS];
} checker;

static bool absent(const fg_operand *o) {
  return o->kind == FG_OPERAND_NONE;
}

// A register with room for `width` values behind the operand's column.
static bool reg(const checker *c, const fg_operand *o, uint64_t width) {
  return o->kind == FG_OPERAND_REGISTER && o->index < c->graph->register_count &&
         o->column + width <= c->graph->register_width[o->index];
}

static bool slot(checker *c, const fg_operand *o, fg_weight_kind kind, uint32_t n, uint32_t k) {
  if (o->kind != FG_OPERAND_SLOT || o->index >= c->program->slot_count) return false;
  const fg_slot *s = &c->program->slots[o->index];
  c->used[o->index] = true;
  return s->kind == kind && s->n == n && s->k == k;
}

static bool vector_or_absent(checker *c, const fg_operand *o, uint32_t n) {
  return absent(o) || slot(c, o, FG_WEIGHT_VECTOR, n, 1);
}

static bool apart(const fg_operand *a, const fg_operand *b) {
  return a->index != b->index;
}

static bool check_norm(checker *c, const fg_node *n) {
  uint64_t width = n->params.norm.width, row = width * n->params.norm.segments;
  uint32_t weights = (uint32_t)(n->params.norm.apart ? row : width);
  return row && reg(c, &n->a, row) && reg(c, &n->out, row) && vector_or_absent(c, &n->b, weights) &&
         vector_or_absent(c, &n->c, weights);
}

static bool check_matmul(checker *c, const fg_node *n) {
  const uint32_t rows = n->params.matmul.n, k = n->params.matmul.k;
  if (!slot(c, &n->b, FG_WEIGHT_MATRIX, rows, k) || !apart(&n->a, &n->out)) return false;
  const uint32_t segments = c->program->slots[n->b.index].segments, all = segments ? segments : 1;
  const uint64_t in = (uint64_t)(all - 1) * n->in_step + k,
                 out = (uint64_t)(all - 1) * n->out_step + rows / all;
  return rows % all == 0 && (!segments || n->out_step >= rows / all) && reg(c, &n->a, in) &&
         reg(c, &n->out, out) && vector_or_absent(c, &n->c, rows);
}

static bool check_rope(checker *c, const fg_node *n) {
  uint32_t rotary = n->params.rope.rotary, dim = n->params.rope.head_dim;
  const bool switches = n->params.rope.original && n->params.rope.growth == 0;
  return n->a.kind == FG_OPERAND_CONSTANT && n->a.index < c->graph->constant_count &&
         c->graph->constant_count_of[n->a.index] == rotary / (switches ? 1 : 2) && rotary % 2 == 0 &&
         rotary <= dim && (n->params.rope.growth == 0 || rotary > 2) && n->params.rope.heads &&
         reg(c, &n->out, (uint64_t)(n->params.rope.heads - 1) * dim + rotary);
}

static bool check_kv_store(checker *c, const fg_node *n) {
  const fg_kv_geometry *kv = &n->params.kv_store.kv;
  if (!reg(c, &n->a, (uint64_t)kv->kv_heads * kv->k_dim)) return false;
  return kv->v_in_k ? absent(&n->b) && kv->v_dim <= kv->k_dim
                    : reg(c, &n->b, (uint64_t)kv->kv_heads * kv->v_dim);
}

// What heads have numbers for: slopes are constants, sinks are weights.
static bool check_numbers(checker *c, const fg_node *n) {
  uint32_t heads = n->params.attention.heads;
  if (n->params.attention.head_kind == FG_HEAD_PLAIN) return absent(&n->c);
  if (n->c.kind == FG_OPERAND_SLOT) return slot(c, &n->c, FG_WEIGHT_VECTOR, heads, 1);
  return n->c.kind == FG_OPERAND_CONSTANT && n->c.index < c->graph->constant_count &&
         c->graph->constant_count_of[n->c.index] == heads;
}

static bool check_attention(checker *c, const fg_node *n) {
  const fg_kv_geometry *kv = &n->params.attention.kv;
  uint64_t heads = n->params.attention.heads;
  return kv->kv_heads && heads % kv->kv_heads == 0 && reg(c, &n->a, heads * kv->k_dim) &&
         reg(c, &n->out, heads * kv->v_dim) && apart(&n->a, &n->out) && check_numbers(c, n);
}

static bool check_act(checker *c, const fg_node *n) {
  return reg(c, &n->out, n->params.act.width);
}

static bool check_glu(checker *c, const fg_node *n) {
  return reg(c, &n->a, 2 * (uint64_t)n->params.act.width) && reg(c, &n->out, n->params.act.width) &&
         apart(&n->a, &n->out);
}

static bool check_map(checker *c, const fg_node *n) {
  return reg(c, &n->out, n->params.map.width);
}

static bool check_route(checker *c, const fg_node *n) {
  const fg_route_form *form = &n->params.route;
  return fg_route_form_ok(form) && reg(c, &n->a, form->experts) &&
         vector_or_absent(c, &n->c, form->experts) && reg(c, &n->out, 2 * (uint64_t)form->used) &&
         n->out.column == 0 && apart(&n->a, &n->out);
}

// Of a graph's own: every row to itself, weighted by a column of a register.
static bool check_scatter(checker *c, const fg_node *n) {
  return reg(c, &n->a, n->params.copy.width) && absent(&n->b) && reg(c, &n->c, 1) &&
         reg(c, &n->out, n->params.copy.width) && apart(&n->a, &n->out) && apart(&n->c, &n->out);
}

static bool check_copy(checker *c, const fg_node *n) {
  return reg(c, &n->a, n->params.copy.width) && reg(c, &n->out, n->params.copy.width) &&
         apart(&n->a, &n->out);
}

static bool (*const checks[FG_OP_COUNT])(checker *c, const fg_node *n) = {
    [FG_OP_NORM] = check_norm,
    [FG_OP_MATMUL] = check_matmul,
    [FG_OP_ROPE] = check_rope,
    [FG_OP_KV_STORE] = check_kv_store,
    [FG_OP_KV_COPY] = NULL, // the engine's own
    [FG_OP_ATTENTION] = check_attention,
    [FG_OP_ACT] = check_act,
    [FG_OP_GLU] = check_glu,
    [FG_OP_ADD] = check_copy,
    [FG_OP_MAP] = check_map,
    [FG_OP_SELECT] = NULL, // so is this
    [FG_OP_ROUTE] = check_route,
    [FG_OP_SCATTER] = check_scatter,
};

static fg_status check_slots(const checker *c, const char *name, fg_error *err) {
  for (uint32_t i = 0; i < c->program->slot_count; i++) {
    const fg_slot *s = &c->program->slots[i];
    uint64_t rows = 0;
    for (uint32_t j = 0; j < s->source_count && j < FG_MAX_SOURCES; j++) rows += s->sources[j].rows;
    if (!c->used[i]) return fg_fail(err, FG_INTERNAL, "graph: %s: slot %s is never used", name, s->name);
    if (!s->n || !s->k || rows != s->n || memchr(s->name, 0, sizeof s->name) == NULL) {
      return fg_fail(err, FG_INTERNAL, "graph: %s: slot %s has %u rows, its sources %llu", name, s->name,
                     s->n, (unsigned long long)rows);
    }
  }
  return FG_OK;
}

static fg_status check_program(checker *c, const char *name, fg_error *err) {
  const fg_program *p = c->program;
  if (p->node_count > FG_MAX_NODES || p->slot_count > FG_MAX_SLOTS) {
    return fg_fail(err, FG_INTERNAL, "graph: %s has %u nodes and %u slots", name, p->node_count,
                   p->slot_count);
  }
  for (uint32_t i = 0; i < p->node_count; i++) {
    const fg_node *n = &p->nodes[i];
    if ((unsigned)n->op >= FG_OP_COUNT || !checks[n->op] || !checks[n->op](c, n)) {
      return fg_fail(err, FG_INTERNAL, "graph: %s: node %u (operation %d) has operands that do not fit", name,
                     i, (int)n->op);
    }
  }
  return check_slots(c, name, err);
}

// Operations that know nothing of where rows stand in the step.
static bool is_free_of_place(fg_op op) {
  return op == FG_OP_NORM || op == FG_OP_MATMUL || op == FG_OP_ACT || op == FG_OP_GLU || op == FG_OP_MAP;
}

static bool check_expert_registers(const fg_graph *g, const fg_program *p) {
  const fg_experts *e = &p->experts;
  const fg_node *route = &p->nodes[e->after < p->node_count ? e->after : 0];
  if (e->after >= p->node_count || route->op != FG_OP_ROUTE || route->params.route.experts != e->count ||
      route->params.route.used != e->used)
    return false;
  const uint32_t routes = route->out.index, count = g->register_count;
  if (e->in >= count || e->work >= count || e->sum >= count || e->work == e->in || e->work == e->sum ||
      e->in == e->sum || g->register_width[routes] != 2 * e->used)
    return false;
  return g->register_width[e->in] >= g->hidden && g->register_width[e->work] >= g->hidden &&
         g->register_width[e->sum] >= g->hidden;
}

static fg_status check_experts(const fg_graph *g, uint32_t index, fg_error *err) {
  const fg_program *layer = &g->programs[index];
  if (!layer->experts.count) return FG_OK;
  char name[40];
  snprintf(name, sizeof name, "experts of layer program %u", index);
  if (!g->expert_programs || !check_expert_registers(g, layer))
    return fg_fail(err, FG_INTERNAL, "graph: %s do not fit their registers or their route", name);
  checker c = {.graph = g, .program = &g->expert_programs[index]};
  const uint32_t routes = layer->nodes[layer->experts.after].out.index;
  for (uint32_t i = 0; i < c.program->node_count && i < FG_MAX_NODES; i++) {
    const fg_node *n = &c.program->nodes[i];
    if (!is_free_of_place(n->op) || n->out.index == layer->experts.in || n->out.index == layer->experts.sum ||
        n->out.index == routes)
      return fg_fail(err, FG_INTERNAL, "graph: %s: node %u cannot run on some of the rows", name, i);
  }
  return check_program(&c, name, err);
}

static fg_status check_prologue(const fg_graph *g, fg_error *err) {
  checker c = {.graph = g, .program = &g->prologue};
  for (uint32_t i = 0; i < g->input_count; i++) {
    const fg_input *in = &g->inputs[i];
    const fg_slot *s = &g->prologue.slots[in->slot < FG_MAX_SLOTS ? in->slot : 0];
    if (in->slot >= g->prologue.slot_count || s->kind != FG_WEIGHT_TABLE || in->reg >= g->register_count ||
        s->k > g->register_width[in->reg]) {
      return fg_fail(err, FG_INTERNAL, "graph: input %u does not fit its register", i);
    }
    c.used[in->slot] = true;
  }
  return check_program(&c, "prologue", err);
}

static fg_status check_epilogue(const fg_graph *g, fg_error *err) {
  checker c = {.graph = g, .program = &g->epilogue};
  fg_operand head = {.kind = FG_OPERAND_SLOT, .index = g->head_slot};
  if (g->head_slot >= g->epilogue.slot_count || g->head_reg >= g->register_count ||
      !slot(&c, &head, FG_WEIGHT_MATRIX, g->vocab, g->epilogue.slots[g->head_slot].k) ||
      g->epilogue.slots[g->head_slot].k > g->register_width[g->head_reg]) {
    return fg_fail(err, FG_INTERNAL, "graph: the head does not fit its register");
  }
  fg_operand bias = {.kind = FG_OPERAND_SLOT, .index = (uint32_t)g->head_bias_slot};
  if (g->head_bias_slot >= 0 && !slot(&c, &bias, FG_WEIGHT_VECTOR, g->vocab, 1)) {
    return fg_fail(err, FG_INTERNAL, "graph: the head's bias does not fit the vocabulary");
  }
  if (g->selected_reg == 0 || g->selected_reg >= g->register_count ||
      g->register_width[g->selected_reg] < g->hidden) {
    return fg_fail(err, FG_INTERNAL, "graph: selected rows do not fit register %u", g->selected_reg);
  }
  return check_program(&c, "epilogue", err);
}

fg_status fg_graph_check(const fg_graph *g, fg_error *err) {
  if (!g->hidden || !g->vocab || !g->layers || g->register_count == 0 ||
      g->register_count > FG_MAX_REGISTERS || g->input_count == 0 || g->register_width[0] != g->hidden ||
      !g->programs || !g->program_of_layer) {
    return fg_fail(err, FG_INTERNAL, "graph: hidden %u, vocabulary %u, layers %u, registers %u, inputs %u",
                   g->hidden, g->vocab, g->layers, g->register_count, g->input_count);
  }
  for (uint32_t i = 0; i < g->layers; i++) {
    if (g->program_of_layer[i] >= g->program_count) {
      return fg_fail(err, FG_INTERNAL, "graph: layer %u has no program", i);
    }
  }
  fg_status status = check_prologue(g, err);
  for (uint32_t i = 0; !status && i < g->program_count; i++) {
    checker c = {.graph = g, .program = &g->programs[i]};
    char name[32];
    snprintf(name, sizeof name, "layer program %u", i);
    status = check_program(&c, name, err);
    if (!status) status = check_experts(g, i, err);
  }
  return status ? status : check_epilogue(g, err);
}
