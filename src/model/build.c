#include "model/build.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/stacks.h"

static fg_operand in_register(uint32_t index, uint32_t column) {
  return (fg_operand){.kind = FG_OPERAND_REGISTER, .index = index, .column = column};
}

static fg_operand in_slot(uint32_t index) {
  return (fg_operand){.kind = FG_OPERAND_SLOT, .index = index};
}

fg_operand fg_build_operand(uint32_t reg, uint32_t column) {
  return in_register(reg, column);
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

uint32_t fg_build_constant(fg_build *b, float *values, uint32_t count) {
  fg_graph *g = b->graph;
  if (!values || g->constant_count == FG_MAX_CONSTANTS) {
    b->full = values ? "constants" : "memory";
    free(values);
    return 0;
  }
  g->constants[g->constant_count] = values;
  g->constant_count_of[g->constant_count] = count;
  return g->constant_count++;
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
  *source = (fg_source){.rows = part->rows,
                        .slice = part->slice,
                        .transform = part->transform,
                        .experts = part->experts,
                        .head_dim = b->config->head_dim};
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

static fg_operand add_vector(fg_build *b, const char *slot, const char *slot_suffix, const fg_part *part,
                             const char *suffix) {
  uint32_t index = add_slot(b, slot, slot_suffix, FG_WEIGHT_VECTOR, part->rows, 1);
  add_source(b, index, part, suffix);
  return in_slot(index);
}

fg_operand fg_build_vector(fg_build *b, const char *slot, const char *tensor, uint32_t count) {
  return add_vector(b, slot, "", &(fg_part){.tensor = tensor, .rows = count}, "");
}

fg_node *fg_build_node(fg_build *b, fg_op op) {
  return add_node(b, op);
}

void fg_build_norm_of(fg_build *b, const fg_norm_spec *spec) {
  const fg_config *c = b->config;
  fg_node *node = add_node(b, FG_OP_NORM);
  node->a = in_register(spec->reg, spec->column);
  node->out = in_register(spec->out, spec->out == spec->reg ? spec->column : 0);
  node->params.norm.width = spec->width;
  node->params.norm.segments = spec->segments;
  node->params.norm.apart = spec->apart;
  node->params.norm.kind = c->arch->norm;
  node->params.norm.eps = (float)(spec->eps != 0 ? spec->eps : c->norm_eps);
  if (!c->norm_affine) return;
  fg_part part = {.tensor = spec->tensor, .rows = spec->apart ? spec->width * spec->segments : spec->width};
  if (c->arch->norm_less_one && !c->gguf) part.transform = FG_TRANSFORM_PLUS_ONE;
  node->b = add_vector(b, spec->slot, "", &part, ".weight");
  part.transform = FG_TRANSFORM_NONE;
  if (spec->bias) node->c = add_vector(b, spec->slot, "_bias", &part, ".bias");
}

void fg_build_norm(fg_build *b, const char *slot, const char *tensor, uint32_t in, uint32_t out) {
  fg_build_norm_of(b, &(fg_norm_spec){.slot = slot,
                                      .tensor = tensor,
                                      .reg = in,
                                      .out = out,
                                      .width = b->config->hidden,
                                      .segments = 1,
                                      .bias = b->config->norm_bias});
}

static const char *bias_suffix(const fg_part *part) {
  return part->bias_suffix ? part->bias_suffix : part->bare ? "_bias" : ".bias";
}

// A product of one matrix.
static fg_node *add_product(fg_build *b, const fg_linear *linear) {
  uint32_t n = 0;
  for (int i = 0; i < FG_MAX_SOURCES; i++) n += linear->parts[i].rows;
  uint32_t matrix = add_slot(b, linear->slot, "", FG_WEIGHT_MATRIX, n, linear->k);
  b->program->slots[matrix].segments = linear->segments;
  uint32_t bias = linear->bias ? add_slot(b, linear->slot, "_bias", FG_WEIGHT_VECTOR, n, 1) : 0;
  for (int i = 0; i < FG_MAX_SOURCES; i++) {
    if (!linear->parts[i].rows) continue;
    add_source(b, matrix, &linear->parts[i], linear->parts[i].bare ? "" : ".weight");
    if (linear->bias) add_source(b, bias, &linear->parts[i], bias_suffix(&linear->parts[i]));
  }
  fg_node *node = add_node(b, FG_OP_MATMUL);
  node->a = in_register(linear->in, linear->in_column);
  node->b = in_slot(matrix);
  if (linear->bias) node->c = in_slot(bias);
  node->out = in_register(linear->out, linear->out_column);
  node->in_step = linear->in_step;
  node->out_step = linear->out_step;
  node->params.matmul.n = n;
  node->params.matmul.k = linear->k;
  node->params.matmul.accumulate = linear->accumulate;
  return node;
}

void fg_build_linear(fg_build *b, const fg_linear *linear) {
  const char *const *names = fg_stack_parts(b->config, linear->slot);
  if (!names) {
    add_product(b, linear);
    return;
  }
  fg_linear one = *linear;
  for (int i = 0; i < FG_MAX_SOURCES && linear->parts[i].rows; i++) {
    memset(one.parts, 0, sizeof one.parts);
    one.parts[0] = linear->parts[i];
    one.slot = names[i];
    add_product(b, &one)->params.matmul.same_a = i > 0;
    one.out_column += one.parts[0].rows;
  }
}

void fg_build_add(fg_build *b, uint32_t in, uint32_t out, double scale) {
  fg_node *node = add_node(b, FG_OP_ADD);
  node->a = in_register(in, 0);
  node->out = in_register(out, 0);
  node->params.copy.width = b->config->hidden;
  node->params.copy.scale = (float)scale;
}

void fg_build_map(fg_build *b, fg_map_kind kind, double number, uint32_t reg, uint32_t width) {
  fg_node *node = add_node(b, FG_OP_MAP);
  node->out = in_register(reg, 0);
  node->params.map.width = width;
  node->params.map.kind = kind;
  node->params.map.number = (float)number;
}

static void add_qk_norms(fg_build *b, uint32_t qkv) {
  const fg_config *c = b->config;
  const bool whole = c->qk_norm == FG_QK_NORM_WHOLE, apart = c->qk_norm == FG_QK_NORM_APART;
  const uint32_t q = c->heads * c->head_dim, k = c->kv_heads * c->head_dim;
  fg_norm_spec spec = {.slot = "q_norm", .tensor = b->names->q_norm, .reg = qkv, .out = qkv, .apart = apart};
  spec.bias = c->qk_norm_bias;
  spec.width = whole ? q : c->head_dim;
  spec.segments = whole ? 1 : c->heads;
  fg_build_norm_of(b, &spec);
  spec.slot = "k_norm";
  spec.tensor = b->names->k_norm;
  spec.column = q;
  spec.width = whole ? k : c->head_dim;
  spec.segments = whole ? 1 : c->kv_heads;
  fg_build_norm_of(b, &spec);
}

void fg_build_rope(fg_build *b, fg_operand first, uint32_t heads, uint32_t dim) {
  const fg_config *c = b->config;
  const uint32_t set = b->kind->rope - FG_LAYER_ROPE;
  fg_node *rope = add_node(b, FG_OP_ROPE);
  rope->a = (fg_operand){.kind = FG_OPERAND_CONSTANT, .index = b->rope_constant[set]};
  rope->out = first;
  rope->params.rope.heads = heads;
  rope->params.rope.head_dim = dim;
  rope->params.rope.rotary = c->rotary;
  rope->params.rope.interleaved = c->rope_interleaved;
  rope->params.rope.scale = (float)c->rope[set].magnitude;
  if (c->rope[set].scaling == FG_ROPE_DYNAMIC || c->rope[set].scaling == FG_ROPE_LONG) {
    rope->params.rope.original = b->graph->rope_original = (uint32_t)c->rope[set].original_positions;
    b->graph->rope_restarts = c->rope[set].scaling == FG_ROPE_LONG;
    rope->params.rope.theta = (float)c->rope[set].theta;
    if (c->rope[set].scaling == FG_ROPE_DYNAMIC) rope->params.rope.growth = (float)c->rope[set].factor;
  }
}

// What heads of queries add to their scores.
static void add_head_numbers(fg_build *b, fg_node *attention) {
  const fg_config *c = b->config;
  attention->params.attention.head_kind = c->head_kind;
  if (c->head_kind == FG_HEAD_ALIBI || c->head_kind == FG_HEAD_ALIBI_BF16)
    attention->c = (fg_operand){.kind = FG_OPERAND_CONSTANT, .index = b->slope_constant};
  if (c->head_kind == FG_HEAD_SINK) attention->c = fg_build_vector(b, "sinks", b->names->sinks, c->heads);
}

void fg_build_attend(fg_build *b, uint32_t qkv, uint32_t k, uint32_t v, uint32_t out) {
  const fg_config *c = b->config;
  fg_node *store = add_node(b, FG_OP_KV_STORE);
  store->a = in_register(qkv, k);
  if (!b->graph->kv.v_in_k) store->b = in_register(qkv, v);
  store->params.kv_store.kv = b->graph->kv;

  fg_node *attention = add_node(b, FG_OP_ATTENTION);
  attention->a = in_register(qkv, 0);
  attention->out = in_register(out, 0);
  attention->params.attention.kv = b->graph->kv;
  attention->params.attention.heads = c->heads;
  attention->params.attention.scale = (float)(b->kind->score_scale != 0 ? b->kind->score_scale
                                              : c->score_scale != 0     ? c->score_scale
                                                                        : 1.0 / sqrt((double)c->head_dim));
  attention->params.attention.window = b->kind->window;
  attention->params.attention.softcap = (float)c->score_softcap;
  add_head_numbers(b, attention);
}

void fg_build_attention(fg_build *b, uint32_t qkv, uint32_t out) {
  const fg_config *c = b->config;
  const uint32_t k = c->heads * c->head_dim, v = k + c->kv_heads * c->head_dim;
  if (c->qk_norm != FG_QK_NORM_NONE) add_qk_norms(b, qkv);
  if (c->clip_qkv > 0) fg_build_map(b, FG_MAP_CLAMP, c->clip_qkv, qkv, v + c->kv_heads * c->head_dim);
  // k's heads follow q's, so one turn serves both.
  if (b->kind->rope != FG_LAYER_NO_ROPE)
    fg_build_rope(b, in_register(qkv, 0), c->heads + c->kv_heads, c->head_dim);
  fg_build_attend(b, qkv, k, v, out);
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
  g->head_bias_slot = -1;
  g->logit_softcap = (float)b->config->logit_softcap;
  if (!b->config->head_bias) return;
  const fg_part bias = {.tensor = b->names->head, .rows = g->vocab};
  g->head_bias_slot = (int32_t)add_vector(b, "head", "_bias", &bias, ".bias").index;
}

fg_status fg_build_end(fg_build *b, fg_error *err) {
  if (!b->full) return FG_OK;
  return fg_fail(err, FG_INTERNAL, "building %s: no room for the %s", b->config->arch->name, b->full);
}
