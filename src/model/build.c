#include "model/build.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static fg_operand in_register(uint32_t index, uint32_t column) {
  return (fg_operand){.kind = FG_OPERAND_REGISTER, .index = index, .column = column};
}

static fg_operand in_slot(uint32_t index) {
  return (fg_operand){.kind = FG_OPERAND_SLOT, .index = index};
}

uint32_t fg_build_register(fg_build *b, uint32_t width) {
  fg_graph *g = b->graph;
  if (g->register_count == FG_MAX_REGISTERS) {
    b->full = "registers";
    return 0;
  }
  g->register_width[g->register_count] = width;
  return g->register_count++;
}

void fg_build_constant(fg_build *b, float *values, uint32_t count) {
  fg_graph *g = b->graph;
  if (!values || g->constant_count == FG_MAX_CONSTANTS) {
    b->full = values ? "constants" : "memory";
    free(values);
    return;
  }
  g->constants[g->constant_count] = values;
  g->constant_count_of[g->constant_count++] = count;
}

static fg_node *add_node(fg_build *b, fg_op op) {
  fg_program *p = b->program;
  if (p->node_count == FG_MAX_NODES) {
    b->full = "nodes of a program";
    return &b->spill;
  }
  fg_node *node = &p->nodes[p->node_count++];
  *node = (fg_node){.op = op};
  return node;
}

static uint32_t add_slot(fg_build *b, const char *name, const char *suffix, fg_weight_kind kind, uint32_t n,
                         uint32_t k) {
  fg_program *p = b->program;
  if (p->slot_count == FG_MAX_SLOTS) {
    b->full = "slots of a program";
    return 0;
  }
  fg_slot *slot = &p->slots[p->slot_count];
  *slot = (fg_slot){.kind = kind, .n = n, .k = k};
  int length = snprintf(slot->name, sizeof slot->name, "%s%s", name, suffix);
  if (length < 0 || (size_t)length >= sizeof slot->name) b->full = "the name of a slot";
  return p->slot_count++;
}

static void add_source(fg_build *b, uint32_t slot, const fg_part *part, const char *suffix) {
  fg_slot *s = &b->program->slots[slot];
  if (s->source_count == FG_MAX_SOURCES) {
    b->full = "sources of a slot";
    return;
  }
  fg_source *source = &s->sources[s->source_count++];
  *source = (fg_source){.rows = part->rows, .transform = part->transform, .head_dim = b->config->head_dim};
  int length =
      snprintf(source->tensor, sizeof source->tensor, "%s%s", part->tensor ? part->tensor : "?", suffix);
  if (length < 0 || (size_t)length >= sizeof source->tensor) b->full = "the name of a tensor";
}

void fg_build_table(fg_build *b, const char *slot, const char *tensor, uint32_t rows, uint32_t width,
                    const fg_input *input) {
  fg_graph *g = b->graph;
  uint32_t table = add_slot(b, slot, "", FG_WEIGHT_TABLE, rows, width);
  add_source(b, table, &(fg_part){.tensor = tensor, .rows = rows}, ".weight");
  if (g->input_count == sizeof g->inputs / sizeof *g->inputs) {
    b->full = "inputs";
    return;
  }
  g->inputs[g->input_count] = *input;
  g->inputs[g->input_count++].slot = table;
}

static fg_operand add_vector(fg_build *b, const char *slot, const char *slot_suffix, const char *tensor,
                             const char *suffix, uint32_t n) {
  uint32_t index = add_slot(b, slot, slot_suffix, FG_WEIGHT_VECTOR, n, 1);
  add_source(b, index, &(fg_part){.tensor = tensor, .rows = n}, suffix);
  return in_slot(index);
}

void fg_build_norm(fg_build *b, const char *slot, const char *tensor, uint32_t in, uint32_t out) {
  const fg_config *c = b->config;
  fg_norm_kind kind = c->arch->norm;
  fg_node *node = add_node(b, FG_OP_NORM);
  node->a = in_register(in, 0);
  node->out = in_register(out, 0);
  node->params.norm.width = c->hidden;
  node->params.norm.kind = kind;
  node->params.norm.eps = (float)c->norm_eps;
  if (!c->norm_affine) return;
  node->b = add_vector(b, slot, "", tensor, ".weight", c->hidden);
  if (kind == FG_NORM_LAYER) node->c = add_vector(b, slot, "_bias", tensor, ".bias", c->hidden);
}

void fg_build_linear(fg_build *b, const fg_linear *linear) {
  uint32_t n = 0;
  for (int i = 0; i < FG_MAX_SOURCES; i++) n += linear->parts[i].rows;
  uint32_t matrix = add_slot(b, linear->slot, "", FG_WEIGHT_MATRIX, n, linear->k);
  uint32_t bias = linear->bias ? add_slot(b, linear->slot, "_bias", FG_WEIGHT_VECTOR, n, 1) : 0;
  for (int i = 0; i < FG_MAX_SOURCES; i++) {
    if (!linear->parts[i].rows) continue;
    add_source(b, matrix, &linear->parts[i], ".weight");
    if (linear->bias) add_source(b, bias, &linear->parts[i], ".bias");
  }
  fg_node *node = add_node(b, FG_OP_MATMUL);
  node->a = in_register(linear->in, 0);
  node->b = in_slot(matrix);
  if (linear->bias) node->c = in_slot(bias);
  node->out = in_register(linear->out, 0);
  node->params.matmul.n = n;
  node->params.matmul.k = linear->k;
  node->params.matmul.accumulate = linear->accumulate;
}

void fg_build_add(fg_build *b, uint32_t in, uint32_t out) {
  fg_node *node = add_node(b, FG_OP_ADD);
  node->a = in_register(in, 0);
  node->out = in_register(out, 0);
  node->params.copy.width = b->config->hidden;
}

void fg_build_attention(fg_build *b, uint32_t qkv, uint32_t out) {
  const fg_config *c = b->config;
  const uint32_t k = c->heads * c->head_dim, v = k + c->kv_heads * c->head_dim;
  if (c->arch->position == FG_POSITION_ROPE) {
    fg_node *rope = add_node(b, FG_OP_ROPE); // k's heads follow q's, so one turn serves both
    rope->a = (fg_operand){.kind = FG_OPERAND_CONSTANT, .index = 0};
    rope->out = in_register(qkv, 0);
    rope->params.rope.heads = c->heads + c->kv_heads;
    rope->params.rope.head_dim = rope->params.rope.rotary = c->head_dim;
    rope->params.rope.scale = 1;
  }
  fg_node *store = add_node(b, FG_OP_KV_STORE);
  store->a = in_register(qkv, k);
  store->b = in_register(qkv, v);
  store->params.kv_store.kv = b->graph->kv;

  fg_node *attention = add_node(b, FG_OP_ATTENTION);
  attention->a = in_register(qkv, 0);
  attention->out = in_register(out, 0);
  attention->params.attention.kv = b->graph->kv;
  attention->params.attention.heads = c->heads;
  attention->params.attention.scale = 1.0f / sqrtf((float)c->head_dim);
}

void fg_build_act(fg_build *b, uint32_t reg) {
  fg_node *node = add_node(b, FG_OP_ACT);
  node->out = in_register(reg, 0);
  node->params.act.width = b->config->ffn;
  node->params.act.kind = b->config->activation;
}

void fg_build_glu(fg_build *b, uint32_t in, uint32_t out) {
  fg_node *node = add_node(b, FG_OP_GLU);
  node->a = in_register(in, 0);
  node->out = in_register(out, 0);
  node->params.act.width = b->config->ffn;
  node->params.act.kind = b->config->activation;
}

void fg_build_head(fg_build *b, const char *tensor, uint32_t in, uint32_t k) {
  fg_graph *g = b->graph;
  g->head_reg = in;
  g->head_slot = add_slot(b, "head", "", FG_WEIGHT_MATRIX, g->vocab, k);
  add_source(b, g->head_slot, &(fg_part){.tensor = tensor, .rows = g->vocab}, ".weight");
}

fg_status fg_build_end(fg_build *b, fg_error *err) {
  if (!b->full) return FG_OK;
  return fg_fail(err, FG_INTERNAL, "building %s: no room for the %s", b->config->arch->name, b->full);
}
