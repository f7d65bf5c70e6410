// gpt_oss.c: GPT-OSS: sinks beside the keys, every other layer with a window, experts with biases and a
// clamped gate.
#include <math.h>

#include "base/json.h"
#include "model/decoder.h"
#include "model/llama_like.h"

static const fg_expert_names experts = {
    .router = "layers.%u.mlp.router",
    .gate_up = "layers.%u.mlp.experts.gate_up_proj",
    .down = "layers.%u.mlp.experts.down_proj",
    .together = true,
    .bare = true,
    .transposed = true,
    .interleaved = true,
};

// MXFP4: the rows of a matrix are its outputs.
static const fg_expert_names quantised = {
    .router = "layers.%u.mlp.router",
    .gate_up = "layers.%u.mlp.experts.gate_up_proj",
    .down = "layers.%u.mlp.experts.down_proj",
    .together = true,
    .bias_suffix = "_bias",
    .interleaved = true,
};

static const fg_names names = {
    FG_HF_ENDS,          FG_HF_ATTENTION,
    FG_HF_NORMS,         .sinks = "layers.%u.self_attn.sinks",
    .experts = &experts, .experts_fused = &quantised,
};

static const fg_config_key keys[] = {
    {FG_MEMBER(hidden), FG_KEY_U32, "hidden_size", NULL, FG_REQUIRED},
    {FG_MEMBER(layers), FG_KEY_U32, "num_hidden_layers", NULL, FG_REQUIRED},
    {FG_MEMBER(heads), FG_KEY_U32, "num_attention_heads", NULL, FG_REQUIRED},
    {FG_MEMBER(kv_heads), FG_KEY_U32, "num_key_value_heads", NULL, 8},
    {FG_MEMBER(head_dim), FG_KEY_U32, "head_dim", NULL, 64},
    {FG_MEMBER(ffn), FG_KEY_U32, "intermediate_size", NULL, FG_REQUIRED},
    {FG_MEMBER(vocab), FG_KEY_U32, "vocab_size", NULL, FG_REQUIRED},
    {FG_MEMBER(max_positions), FG_KEY_U32, "max_position_embeddings", NULL, 131072},
    {FG_MEMBER(norm_eps), FG_KEY_F64, "rms_norm_eps", NULL, 1e-5},
    {FG_MEMBER(qkv_bias), FG_KEY_BOOL, "attention_bias", NULL, true},
    {FG_MEMBER(out_bias), FG_KEY_BOOL, "attention_bias", NULL, true},
    {FG_MEMBER(mlp_bias), FG_KEY_BOOL, NULL, NULL, true},
    {FG_MEMBER(route_bias), FG_KEY_BOOL, NULL, NULL, true},
    {FG_MEMBER(window), FG_KEY_U32, "sliding_window", NULL, 128},
    {FG_MEMBER(tied), FG_KEY_BOOL, "tie_word_embeddings", NULL, false},
    {FG_MEMBER(route.experts), FG_KEY_U32, "num_local_experts", NULL, 0},
    {FG_MEMBER(route.used), FG_KEY_U32, "num_experts_per_tok", NULL, 0},
    {FG_MEMBER(glu_limit), FG_KEY_F64, "swiglu_limit", NULL, 7},
    {FG_MEMBER(glu_alpha), FG_KEY_F64, "swiglu_alpha", NULL, 1.702},
};

static const char *const reads[] = {"layer_types", "num_experts", NULL};

// What the class has where a configuration is silent.
static void usual_rope(fg_rope *rope) {
  rope->scaling = FG_ROPE_YARN;
  rope->factor = 32;
  rope->beta_fast = 32;
  rope->beta_slow = 1;
  rope->original_positions = 4096;
  rope->magnitude = 0.1 * log(32) + 1;
}

static bool has(const json_t *root, const char *key) {
  const json_t *value = json_object_get(root, key);
  return value && !json_is_null(value);
}

static fg_status refine(fg_config *config, const json_t *root, fg_error *err) {
  bool local[FG_MAX_LAYERS], present;
  fg_status status = FG_OK;
  if (!config->route.experts) status = fg_json_u32(root, "num_experts", 128, &config->route.experts, err);
  if (!status && !config->route.used)
    status = fg_json_u32(root, "experts_per_token", 4, &config->route.used, err);
  if (!status) status = fg_config_layer_types(config, root, local, &present, err);
  if (status) return status;
  for (uint32_t i = 0; !present && i < FG_MAX_LAYERS; i++) local[i] = i % 2 == 0;
  const fg_layer_kind all = {.rope = FG_LAYER_ROPE},
                      window = {.rope = FG_LAYER_ROPE, .window = config->window};
  if (!has(root, "rope_scaling") && !has(root, "rope_parameters")) usual_rope(&config->rope[0]);
  config->head_kind = FG_HEAD_SINK;
  config->route.kind = FG_ROUTE_CHOSEN;
  status = fg_config_two_kinds(config, local, &all, &window, err);
  return status ? status : fg_config_sparse(config, NULL, err);
}

const fg_arch fg_arch_gpt_oss = {
    .name = "gpt_oss",
    .names = &names,
    .keys = keys,
    .key_count = sizeof keys / sizeof *keys,
    .reads = reads,
    .norm = FG_NORM_RMS,
    .position = FG_POSITION_ROPE,
    .theta = 150000,
    .mlp = FG_MLP_GATED,
    .bos = 199998,
    .eos = 200002,
    .refine = refine,
    .build = fg_decoder_build,
};
