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

static const fg_expert_names gguf_experts = {FG_GGUF_EXPERTS};

static const fg_names gguf_names = {
    FG_GGUF_ENDS,
    FG_GGUF_ATTENTION,
    .attn_norm = "blk.%u.attn_norm",
    .mlp_norm = "blk.%u.post_attention_norm",
    .sinks = "blk.%u.attn_sinks.weight",
    .experts = &gguf_experts,
};

static const fg_config_key keys[] = {
    {FG_MEMBER(hidden), FG_KEY_U32, "hidden_size", "embedding_length", FG_REQUIRED},
    {FG_MEMBER(layers), FG_KEY_U32, "num_hidden_layers", "block_count", FG_REQUIRED},
    {FG_MEMBER(heads), FG_KEY_U32, "num_attention_heads", "attention.head_count", FG_REQUIRED},
    {FG_MEMBER(kv_heads), FG_KEY_U32, "num_key_value_heads", "attention.head_count_kv", 8},
    {FG_MEMBER(head_dim), FG_KEY_U32, "head_dim", "attention.key_length", 64},
    {FG_MEMBER(rotary), FG_KEY_U32, NULL, "rope.dimension_count", 0},
    {FG_MEMBER(ffn), FG_KEY_U32, "intermediate_size", "expert_feed_forward_length", FG_REQUIRED},
    {FG_MEMBER(vocab), FG_KEY_U32, "vocab_size", "vocab_size", FG_REQUIRED},
    {FG_MEMBER(max_positions), FG_KEY_U32, "max_position_embeddings", "context_length", 131072},
    {FG_MEMBER(norm_eps), FG_KEY_F64, "rms_norm_eps", "attention.layer_norm_rms_epsilon", 1e-5},
    {FG_MEMBER(qkv_bias), FG_KEY_BOOL, "attention_bias", NULL, true},
    {FG_MEMBER(out_bias), FG_KEY_BOOL, "attention_bias", NULL, true},
    {FG_MEMBER(mlp_bias), FG_KEY_BOOL, NULL, NULL, true},
    {FG_MEMBER(route_bias), FG_KEY_BOOL, NULL, NULL, true},
    {FG_MEMBER(window), FG_KEY_U32, "sliding_window", "attention.sliding_window", 128},
    {FG_MEMBER(window_pattern), FG_KEY_U32, NULL, "attention.sliding_window_pattern", 2},
    {FG_MEMBER(tied), FG_KEY_BOOL, "tie_word_embeddings", NULL, false},
    {FG_MEMBER(route.experts), FG_KEY_U32, "num_local_experts", "expert_count", 0},
    {FG_MEMBER(route.used), FG_KEY_U32, "num_experts_per_tok", "expert_used_count", 0},
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

// What holds of all of them, whichever file they come from. local: [layers]
static fg_status use_kinds(fg_config *config, const bool *local, fg_error *err) {
  const fg_layer_kind all = {.rope = FG_LAYER_ROPE},
                      window = {.rope = FG_LAYER_ROPE, .window = config->window};
  config->head_kind = FG_HEAD_SINK;
  config->route.kind = FG_ROUTE_CHOSEN;
  fg_status status = fg_config_two_kinds(config, local, &all, &window, err);
  return status ? status : fg_config_sparse(config, NULL, err);
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
  if (!has(root, "rope_scaling") && !has(root, "rope_parameters")) usual_rope(&config->rope[0]);
  return use_kinds(config, local, err);
}

// No key says that yarn's bounds are not rounded to whole dimensions, as all of these models have them.
static fg_status refine_gguf(fg_config *config, const fg_gguf *gguf, fg_error *err) {
  bool local[FG_MAX_LAYERS];
  (void)gguf;
  if (!config->window_pattern)
    return fg_fail(err, FG_INVALID, "gpt-oss.attention.sliding_window_pattern is 0");
  for (uint32_t i = 0; i < FG_MAX_LAYERS; i++)
    local[i] = i % config->window_pattern < config->window_pattern - 1;
  config->rope[0].whole_bounds = false;
  return use_kinds(config, local, err);
}

const fg_arch fg_arch_gpt_oss = {
    .name = "gpt_oss",
    .gguf = "gpt-oss",
    .names = &names,
    .gguf_names = &gguf_names,
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
    .refine_gguf = refine_gguf,
    .build = fg_decoder_build,
};
