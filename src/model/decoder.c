#include "model/decoder.h"

#include <stdlib.h>

#include "model/build.h"

// Registers. What is dead is used again: a register costs memory for every token of a step.
enum {
  X,     // the residual stream // [hidden]
  T,     // normed x, then attention's output, at the end the selected rows
  WIDE,  // q | k | v, then gate | up; at the ends rows of the embedding's own width
  GATED, // act(gate) * up // [ffn]
};

static uint32_t larger(uint32_t a, uint32_t b) {
  return a > b ? a : b;
}

static void declare_registers(fg_build *b) {
  const fg_config *c = b->config;
  const bool gated = c->arch->mlp == FG_MLP_GATED;
  const uint32_t attention = c->heads * c->head_dim;
  const uint32_t qkv = attention + 2 * c->kv_heads * c->head_dim;
  fg_build_register(b, c->hidden);
  fg_build_register(b, larger(c->hidden, attention));
  fg_build_register(b, larger(larger(qkv, gated ? 2 * c->ffn : c->ffn), c->embed));
  if (gated) fg_build_register(b, c->ffn);
}

static void build_prologue(fg_build *b) {
  const fg_config *c = b->config;
  const fg_names *n = b->names;
  const bool project = c->embed != c->hidden;
  b->program = &b->graph->prologue;
  const char *embed = c->embed_stored || !c->head_stored ? n->embed : n->head;
  fg_build_table(b, "embed", embed, c->vocab, c->embed,
                 &(fg_input){.index = FG_INPUT_TOKEN, .reg = project ? WIDE : X, .scale = 1});
  if (project) {
    fg_build_linear(b, &(fg_linear){.slot = "project_in",
                                    .parts = {{.tensor = n->project_in, .rows = c->hidden}},
                                    .k = c->embed,
                                    .in = WIDE,
                                    .out = X});
  }
  if (c->arch->position == FG_POSITION_LEARNED) {
    int32_t offset = c->arch->position_offset;
    fg_build_table(b, "positions", n->positions, c->max_positions + (uint32_t)offset, c->hidden,
                   &(fg_input){.index = FG_INPUT_POSITION, .index_offset = offset, .reg = T, .scale = 1});
    fg_build_add(b, T, X);
  }
}

static void build_attention(fg_build *b, uint32_t in) {
  const fg_config *c = b->config;
  const fg_names *n = b->names;
  const fg_transform turn = c->gguf ? c->arch->gguf_qk : FG_TRANSFORM_NONE;
  const uint32_t kv = c->kv_heads * c->head_dim;
  fg_build_linear(
      b, &(fg_linear){.slot = "qkv",
                      .parts = {{n->q, c->heads * c->head_dim, turn}, {n->k, kv, turn}, {n->v, kv, 0}},
                      .k = c->hidden,
                      .bias = c->qkv_bias,
                      .in = in,
                      .out = WIDE});
  fg_build_attention(b, WIDE, T);
  fg_build_linear(b, &(fg_linear){.slot = "attn_out",
                                  .parts = {{.tensor = n->attn_out, .rows = c->hidden}},
                                  .k = c->heads * c->head_dim,
                                  .bias = c->out_bias,
                                  .accumulate = true,
                                  .in = T,
                                  .out = X});
}

static void build_mlp(fg_build *b, uint32_t in) {
  const fg_config *c = b->config;
  const fg_names *n = b->names;
  const bool gated = c->arch->mlp == FG_MLP_GATED;
  fg_linear up = {
      .slot = gated ? "gate_up" : "up", .k = c->hidden, .bias = c->mlp_bias, .in = in, .out = WIDE};
  up.parts[0] = (fg_part){.tensor = gated ? n->gate : n->up, .rows = c->ffn};
  if (gated) up.parts[1] = (fg_part){.tensor = n->up, .rows = c->ffn};
  fg_build_linear(b, &up);
  if (gated) {
    fg_build_glu(b, WIDE, GATED);
  } else {
    fg_build_act(b, WIDE);
  }
  fg_build_linear(b, &(fg_linear){.slot = "down",
                                  .parts = {{.tensor = n->down, .rows = c->hidden}},
                                  .k = c->ffn,
                                  .bias = c->mlp_bias,
                                  .accumulate = true,
                                  .in = gated ? GATED : WIDE,
                                  .out = X});
}

// Norms before: x += f(norm(x)). Norms behind: x = norm(x + f(x)).
static void build_layer(fg_build *b) {
  const bool before = b->config->pre_norm;
  const fg_names *n = b->names;
  b->program = &b->graph->programs[0];
  if (before) fg_build_norm(b, "attn_norm", n->attn_norm, X, T);
  build_attention(b, before ? T : X);
  if (!before) fg_build_norm(b, "attn_norm", n->attn_norm, X, X);
  if (before) fg_build_norm(b, "mlp_norm", n->mlp_norm, X, T);
  build_mlp(b, before ? T : X);
  if (!before) fg_build_norm(b, "mlp_norm", n->mlp_norm, X, X);
}

static void build_epilogue(fg_build *b) {
  const fg_config *c = b->config;
  const fg_names *n = b->names;
  const bool project = c->embed != c->hidden;
  b->program = &b->graph->epilogue;
  b->graph->selected_reg = T;
  if (c->pre_norm && !c->no_final_norm) fg_build_norm(b, "norm", n->final_norm, T, T);
  if (project) {
    fg_build_linear(b, &(fg_linear){.slot = "project_out",
                                    .parts = {{.tensor = n->project_out, .rows = c->embed}},
                                    .k = c->hidden,
                                    .in = T,
                                    .out = WIDE});
  }
  fg_build_head(b, c->head_stored ? n->head : n->embed, project ? WIDE : T, c->embed);
}

fg_status fg_decoder_build(fg_graph *graph, const fg_config *config, fg_error *err) {
  fg_build b = {.graph = graph, .config = config, .names = fg_config_names(config)};
  graph->hidden = config->hidden;
  graph->vocab = config->vocab;
  graph->layers = config->layers;
  graph->max_positions = config->max_positions;
  graph->kv =
      (fg_kv_geometry){.kv_heads = config->kv_heads, .k_dim = config->head_dim, .v_dim = config->head_dim};
  graph->programs = calloc(1, sizeof *graph->programs);
  graph->program_of_layer = calloc(config->layers, 1); // all layers are alike
  if (!graph->programs || !graph->program_of_layer) return fg_fail(err, FG_NO_SPACE, "no memory for a graph");
  graph->program_count = 1;
  declare_registers(&b);
  if (config->arch->position == FG_POSITION_ROPE) {
    float *frequencies = malloc(config->head_dim / 2 * sizeof *frequencies);
    if (frequencies) fg_rope_frequencies(&config->rope, config->head_dim, frequencies);
    fg_build_constant(&b, frequencies, config->head_dim / 2);
  }
  build_prologue(&b);
  build_layer(&b);
  build_epilogue(&b);
  return fg_build_end(&b, err);
}
