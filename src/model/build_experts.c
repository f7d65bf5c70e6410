// build_experts.c: the feed-forward branch of a layer that has experts.
#include "model/build.h"

static const fg_expert_names *names_of(const fg_build *b) {
  return b->config->experts_fused ? b->names->experts_fused : b->names->experts;
}

static fg_part expert_part(const fg_build *b, const char *tensor, uint32_t rows) {
  const fg_expert_names *n = names_of(b);
  fg_part part = {.tensor = tensor, .rows = rows, .bare = n->bare, .bias_suffix = n->bias_suffix};
  if (n->together) part.experts = b->config->route.experts;
  if (n->transposed) part.transform = FG_TRANSFORM_TRANSPOSE;
  return part;
}

static void gate_up_parts(const fg_build *b, uint32_t ffn, fg_part parts[2]) {
  const fg_expert_names *n = names_of(b);
  if (!n->gate_up) {
    parts[0] = expert_part(b, n->gate, ffn);
    parts[1] = expert_part(b, n->up, ffn);
    return;
  }
  if (!n->interleaved) {
    parts[0] = expert_part(b, n->gate_up, 2 * ffn);
    return;
  }
  for (uint32_t i = 0; i < 2; i++) {
    parts[i] = expert_part(b, n->gate_up, ffn);
    parts[i].slice = (fg_row_slice){.first = i, .block = 1, .period = 2, .rows = 2 * ffn};
  }
}

void fg_build_expert_glu(fg_build *b, uint32_t in, uint32_t out, uint32_t width) {
  fg_node *node = fg_build_node(b, FG_OP_GLU);
  node->a = fg_build_operand(in, 0);
  node->out = fg_build_operand(out, 0);
  node->params.act.width = width;
  node->params.act.kind = b->config->activation;
  node->params.act.limit = (float)b->config->glu_limit;
  node->params.act.alpha = (float)b->config->glu_alpha;
}

// What each expert runs over the rows that chose it.
static void build_expert(fg_build *b, const fg_expert_registers *r) {
  const fg_config *c = b->config;
  const uint32_t ffn = fg_config_expert_ffn(c);
  fg_linear up = {.slot = "gate_up", .k = c->hidden, .bias = c->mlp_bias, .in = r->work, .out = r->wide};
  gate_up_parts(b, ffn, up.parts);
  fg_build_linear(b, &up);
  fg_build_expert_glu(b, r->wide, r->gated, ffn);
  fg_linear down = {.slot = "down", .k = ffn, .bias = c->mlp_bias, .in = r->gated, .out = r->work};
  down.parts[0] = expert_part(b, names_of(b)->down, c->hidden);
  fg_build_linear(b, &down);
}

static void build_router(fg_build *b, const fg_expert_registers *r) {
  const fg_config *c = b->config;
  fg_linear router = {.slot = "router", .k = c->hidden, .bias = c->route_bias, .in = r->in, .out = r->wide};
  router.parts[0] = (fg_part){.tensor = names_of(b)->router, .rows = c->route.experts};
  fg_build_linear(b, &router);
  fg_experts *e = &b->program->experts;
  *e = (fg_experts){.count = c->route.experts,
                    .used = c->route.used,
                    .after = b->program->node_count,
                    .in = r->in,
                    .work = r->work,
                    .sum = r->sum};
  fg_node *route = fg_build_node(b, FG_OP_ROUTE);
  route->a = fg_build_operand(r->wide, 0);
  if (c->route_correction)
    route->c = fg_build_vector(b, "correction", names_of(b)->correction, c->route.experts);
  route->out = fg_build_operand(r->routes, 0);
  route->params.route = c->route;
  route->params.route.scale = (float)(c->route_scale * c->residual_scale);
}

// Its switch is a route to one of one expert: the weight is a sigmoid.
static void build_switch(fg_build *b, const fg_expert_registers *r) {
  const fg_config *c = b->config;
  fg_linear gate = {.slot = "shared_switch", .k = c->hidden, .in = r->in, .out = r->wide};
  gate.parts[0] = (fg_part){.tensor = b->names->shared_switch, .rows = 1};
  fg_build_linear(b, &gate);
  fg_node *route = fg_build_node(b, FG_OP_ROUTE);
  route->a = fg_build_operand(r->wide, 0);
  route->out = fg_build_operand(r->routes, 0);
  route->params.route =
      (fg_route_form){.kind = FG_ROUTE_SIGMOID, .experts = 1, .used = 1, .scale = (float)c->residual_scale};
}

static void build_shared(fg_build *b, const fg_expert_registers *r) {
  const fg_config *c = b->config;
  const fg_names *n = b->names;
  if (c->shared_switch) build_switch(b, r);
  fg_linear up = {.slot = "shared_gate_up", .k = c->hidden, .in = r->in, .out = r->wide};
  up.parts[0] = (fg_part){.tensor = n->shared_gate, .rows = c->shared_ffn};
  up.parts[1] = (fg_part){.tensor = n->shared_up, .rows = c->shared_ffn};
  fg_build_linear(b, &up);
  fg_build_expert_glu(b, r->wide, r->gated, c->shared_ffn);
  fg_linear down = {.slot = "shared_down", .k = c->shared_ffn, .in = r->gated};
  down.accumulate = !c->shared_switch && c->residual_scale == 1;
  down.out = down.accumulate ? r->sum : r->work;
  down.parts[0] = (fg_part){.tensor = n->shared_down, .rows = c->hidden};
  fg_build_linear(b, &down);
  if (down.accumulate) return;
  if (!c->shared_switch) {
    fg_build_add(b, r->work, r->sum, c->residual_scale);
    return;
  }
  fg_node *add = fg_build_node(b, FG_OP_SCATTER);
  add->a = fg_build_operand(r->work, 0);
  add->c = fg_build_operand(r->routes, 1);
  add->out = fg_build_operand(r->sum, 0);
  add->params.copy.width = c->hidden;
}

void fg_build_experts(fg_build *b, const fg_expert_registers *r) {
  fg_program *layer = b->program;
  build_router(b, r);
  b->program = &b->graph->expert_programs[layer - b->graph->programs];
  build_expert(b, r);
  b->program = layer;
  if (b->config->shared_ffn) build_shared(b, r);
}
