#include "model/decoder.h"

#include <stdlib.h>

#include "model/build.h"

// Registers. What is dead is used again: a register costs memory for every token of a step.
enum {
  X,     // the residual stream // [hidden]
  T,     // normed x, then attention's output, at the end the selected rows
  WIDE,  // q | k | v, then gate | up; between them what a branch gives; at the ends rows of the embedding's
         // own width
  GATED, // act(gate) * up // [ffn]; what latent attention needs beside T and WIDE
  APART, // where T is still needed: attention's output, or the feed-forward's normed x
};

static uint32_t larger(uint32_t a, uint32_t b) {
  return a > b ? a : b;
}

static bool is_gated(const fg_build *b) {
  return b->config->arch->mlp == FG_MLP_GATED;
}

static bool has_kind(const fg_config *c, bool experts) {
  for (uint32_t i = 0; i < c->kind_count; i++)
    if (c->kinds[i].experts == experts) return true;
  return false;
}

// Width of the widest feed-forward branch.
static uint32_t widest_mlp(const fg_config *c) {
  const uint32_t dense = has_kind(c, false) ? c->ffn : 0;
  return has_kind(c, true) ? larger(dense, larger(fg_config_expert_ffn(c), c->shared_ffn)) : dense;
}

static fg_norm_place norm_place(const fg_build *b) {
  return b->config->norms_before ? b->config->arch->norm_place : FG_NORM_SUM;
}

static bool norms_before(const fg_build *b) {
  return norm_place(b) == FG_NORM_BEFORE || norm_place(b) == FG_NORM_AROUND;
}

static void declare_registers(fg_build *b) {
  const fg_config *c = b->config;
  const fg_latent *l = &c->latent;
  const uint32_t ffn = widest_mlp(c), mlp = larger(is_gated(b) ? 2 * ffn : ffn, c->route.experts);
  uint32_t attention = c->heads * c->head_dim, gated = is_gated(b) ? ffn : 1;
  uint32_t qkv = attention + 2 * c->kv_heads * c->head_dim;
  if (l->rank) { // fg_latent_registers
    attention = c->heads * larger(l->nope, l->value);
    qkv = (c->heads + 1) * (l->rank + c->head_dim);
    gated = larger(gated, larger(c->heads * larger(l->rank, l->nope), l->q_rank));
  }
  fg_build_register(b, c->hidden);
  fg_build_register(b, larger(c->hidden, attention));
  fg_build_register(b, larger(larger(qkv, mlp), larger(c->embed, c->hidden)));
  fg_build_register(b, gated);
  if (c->residual != FG_RESIDUAL_SEQUENTIAL) fg_build_register(b, larger(c->hidden, attention));
  if (!has_kind(c, true)) return;
  b->work = fg_build_register(b, c->hidden);
  b->routes = fg_build_register(b, 2 * c->route.used);
}

static void declare_constants(fg_build *b) {
  const fg_config *c = b->config;
  for (uint32_t set = 0; set < FG_ROPE_SETS; set++) {
    bool used = false;
    for (uint32_t i = 0; i < c->kind_count; i++) used |= c->kinds[i].rope == FG_LAYER_ROPE + set;
    if (!used) continue;
    const bool twice = c->rope[set].scaling == FG_ROPE_LONG;
    float *frequencies = malloc(c->rotary * sizeof *frequencies);
    if (frequencies) fg_rope_frequencies(&c->rope[set], c->rotary, false, frequencies);
    if (frequencies && twice)
      fg_rope_frequencies(&c->rope[set], c->rotary, true, frequencies + c->rotary / 2);
    b->rope_constant[set] = fg_build_constant(b, frequencies, c->rotary / (twice ? 1 : 2));
  }
  if (c->head_kind != FG_HEAD_ALIBI && c->head_kind != FG_HEAD_ALIBI_BF16) return;
  float *slopes = malloc(c->heads * sizeof *slopes);
  if (slopes) c->arch->slopes(c->heads, slopes);
  b->slope_constant = fg_build_constant(b, slopes, c->heads);
}

static void build_prologue(fg_build *b) {
  const fg_config *c = b->config;
  const fg_names *n = b->names;
  const bool project = c->embed != c->hidden;
  b->program = &b->graph->prologue;
  const char *embed = c->embed_stored || !c->head_stored ? n->embed : n->head;
  fg_build_table(
      b, "embed", embed, c->vocab, c->embed,
      &(fg_input){.index = FG_INPUT_TOKEN, .reg = project ? WIDE : X, .scale = (float)c->embed_scale});
  if (project) {
    fg_build_linear(b, &(fg_linear){.slot = "project_in",
                                    .parts = {{.tensor = n->project_in, .rows = c->hidden}},
                                    .k = c->embed,
                                    .in = WIDE,
                                    .out = X});
  }
  if (c->position == FG_POSITION_LEARNED) {
    int32_t offset = c->arch->position_offset;
    fg_build_table(b, "positions", n->positions, c->max_positions + (uint32_t)offset, c->hidden,
                   &(fg_input){.index = FG_INPUT_POSITION, .index_offset = offset, .reg = T, .scale = 1});
    fg_build_add(b, T, X, 1);
  }
  if (n->embed_norm) fg_build_norm(b, "embed_norm", n->embed_norm, X, X);
}

// The last product of a branch and what follows: into x at once, or by way of the register `spare`.
static void end_branch(fg_build *b, fg_linear *last, const char *norm_slot, const char *norm,
                       uint32_t spare) {
  const double scale = b->config->residual_scale;
  const bool normed = norm_place(b) == FG_NORM_AFTER || norm_place(b) == FG_NORM_AROUND;
  last->accumulate = !normed && scale == 1;
  last->out = last->accumulate ? X : spare;
  fg_build_linear(b, last);
  if (last->accumulate) return;
  if (normed) fg_build_norm(b, norm_slot, norm, spare, spare);
  fg_build_add(b, spare, X, scale);
}

// The rows of q, k or v in a tensor that holds all three: `first` of q, k and v in a group of `period` rows.
static fg_part fused_part(const fg_build *b, uint32_t rows, uint32_t first, uint32_t period) {
  const uint32_t groups = b->config->qkv_groups;
  return (fg_part){
      .tensor = b->names->qkv,
      .rows = rows,
      .transform = b->names->transposed ? FG_TRANSFORM_TRANSPOSE : FG_TRANSFORM_NONE,
      .slice = {.first = first, .block = rows / groups, .period = period, .rows = period * groups}};
}

static void qkv_parts(const fg_build *b, fg_part parts[3]) {
  const fg_config *c = b->config;
  const fg_names *n = b->names;
  const uint32_t q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
  if (!c->qkv_groups) {
    const fg_transform turn = c->gguf ? c->arch->gguf_qk : FG_TRANSFORM_NONE;
    const fg_transform plain = n->transposed ? FG_TRANSFORM_TRANSPOSE : FG_TRANSFORM_NONE;
    parts[0] = (fg_part){.tensor = n->q, .rows = q, .transform = turn ? turn : plain};
    parts[1] = (fg_part){.tensor = n->k, .rows = kv, .transform = turn ? turn : plain};
    parts[2] = (fg_part){.tensor = n->v, .rows = kv, .transform = plain};
    return;
  }
  const uint32_t q1 = q / c->qkv_groups, kv1 = kv / c->qkv_groups, period = q1 + 2 * kv1;
  parts[0] = fused_part(b, q, 0, period);
  parts[1] = fused_part(b, kv, c->v_before_k ? q1 + kv1 : q1, period);
  parts[2] = fused_part(b, kv, c->v_before_k ? q1 : q1 + kv1, period);
}

static void build_attention(fg_build *b, uint32_t in, uint32_t out) {
  const fg_config *c = b->config;
  const fg_names *n = b->names;
  const bool latent = c->latent.rank > 0;
  if (latent) {
    fg_build_latent(b, &(fg_latent_registers){.in = in, .out = out, .wide = WIDE, .spare = GATED});
  } else {
    fg_linear qkv = {.slot = "qkv", .k = c->hidden, .bias = c->qkv_bias, .in = in, .out = WIDE};
    qkv_parts(b, qkv.parts);
    fg_build_linear(b, &qkv);
    fg_build_attention(b, WIDE, out);
  }
  fg_linear last = {.slot = "attn_out", .bias = c->out_bias, .in = out};
  last.k = c->heads * (latent ? c->latent.value : c->head_dim);
  last.parts[0] = (fg_part){.tensor = n->attn_out, .rows = c->hidden};
  if (n->transposed) last.parts[0].transform = FG_TRANSFORM_TRANSPOSE;
  end_branch(b, &last, "attn_after", n->attn_after, WIDE);
}

static void mlp_parts(const fg_build *b, fg_part parts[2]) {
  const fg_config *c = b->config;
  const fg_names *n = b->names;
  const fg_transform turn = n->transposed ? FG_TRANSFORM_TRANSPOSE : FG_TRANSFORM_NONE;
  if (is_gated(b) && n->gate_up) { // gate's rows come first
    parts[0] = (fg_part){.tensor = n->gate_up, .rows = 2 * c->ffn, .transform = turn};
  } else {
    parts[0] = (fg_part){.tensor = is_gated(b) ? n->gate : n->up, .rows = c->ffn, .transform = turn};
    if (is_gated(b)) parts[1] = (fg_part){.tensor = n->up, .rows = c->ffn, .transform = turn};
  }
}

static void build_mlp(fg_build *b, uint32_t in) {
  const fg_config *c = b->config;
  const bool gated = is_gated(b);
  fg_linear up = {
      .slot = gated ? "gate_up" : "up", .k = c->hidden, .bias = c->mlp_bias, .in = in, .out = WIDE};
  mlp_parts(b, up.parts);
  fg_build_linear(b, &up);
  if (gated) {
    fg_build_glu(b, WIDE, GATED);
  } else {
    fg_build_act(b, WIDE);
  }
  fg_linear last = {.slot = "down", .k = c->ffn, .bias = c->mlp_bias, .in = gated ? GATED : WIDE};
  last.parts[0] = (fg_part){.tensor = b->names->down, .rows = c->hidden};
  if (b->names->transposed) last.parts[0].transform = FG_TRANSFORM_TRANSPOSE;
  end_branch(b, &last, "mlp_after", b->names->mlp_after, gated ? WIDE : T);
}

static void build_layer(fg_build *b, uint32_t kind) {
  const fg_residual residual = b->config->residual;
  const bool before = norms_before(b), sum = norm_place(b) == FG_NORM_SUM;
  const fg_names *n = b->names;
  const uint32_t in = before && !b->config->residual_normed ? T : X;
  b->program = &b->graph->programs[kind];
  b->kind = &b->config->kinds[kind];
  if (before) fg_build_norm(b, "attn_norm", n->attn_norm, X, in);
  if (residual == FG_RESIDUAL_PARALLEL) fg_build_norm(b, "mlp_norm", n->mlp_norm, X, APART);
  build_attention(b, in, residual == FG_RESIDUAL_SHARED ? APART : T);
  if (sum) fg_build_norm(b, "attn_norm", n->attn_norm, X, X);
  if (before && residual == FG_RESIDUAL_SEQUENTIAL) fg_build_norm(b, "mlp_norm", n->mlp_norm, X, in);
  const uint32_t mlp_in = residual == FG_RESIDUAL_PARALLEL ? APART : in;
  if (b->kind->experts) {
    fg_build_experts(
        b, &(fg_expert_registers){
               .in = mlp_in, .wide = WIDE, .gated = GATED, .work = b->work, .routes = b->routes, .sum = X});
  } else {
    build_mlp(b, mlp_in);
  }
  if (sum) fg_build_norm(b, "mlp_norm", n->mlp_norm, X, X);
}

static void build_epilogue(fg_build *b) {
  const fg_config *c = b->config;
  const fg_names *n = b->names;
  const bool project = c->embed != c->hidden;
  b->program = &b->graph->epilogue;
  b->graph->selected_reg = T;
  if (norm_place(b) != FG_NORM_SUM && !c->no_final_norm) fg_build_norm(b, "norm", n->final_norm, T, T);
  if (project) {
    fg_build_linear(b, &(fg_linear){.slot = "project_out",
                                    .parts = {{.tensor = n->project_out, .rows = c->embed}},
                                    .k = c->hidden,
                                    .in = T,
                                    .out = WIDE});
  }
  // A factor of the logits is one of what the head multiplies.
  if (c->logit_scale != 1) fg_build_map(b, FG_MAP_SCALE, c->logit_scale, project ? WIDE : T, c->embed);
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
  if (config->latent.rank) {
    const uint32_t rank = config->latent.rank, key = rank + config->head_dim;
    graph->kv = (fg_kv_geometry){.kv_heads = 1, .k_dim = key, .v_dim = rank, .v_in_k = true};
  }
  graph->programs = calloc(config->kind_count, sizeof *graph->programs);
  graph->program_of_layer = calloc(config->layers, 1);
  if (!graph->programs || !graph->program_of_layer) return fg_fail(err, FG_NO_SPACE, "no memory for a graph");
  if (config->route.experts) {
    graph->expert_programs = calloc(config->kind_count, sizeof *graph->expert_programs);
    if (!graph->expert_programs) return fg_fail(err, FG_NO_SPACE, "no memory for a graph");
  }
  graph->program_count = config->kind_count;
  for (uint32_t i = 0; i < config->layers; i++) graph->program_of_layer[i] = config->kind_of_layer[i];
  declare_registers(&b);
  declare_constants(&b);
  build_prologue(&b);
  for (uint32_t kind = 0; kind < config->kind_count; kind++) build_layer(&b, kind);
  build_epilogue(&b);
  return fg_build_end(&b, err);
}
