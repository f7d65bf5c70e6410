// qwen_moe.c: Qwen2-MoE (biases, an expert that all tokens share) and Qwen3-MoE (norms of heads); some layers
// of either may be dense.
#include <string.h>

#include "base/json.h"
#include "model/decoder.h"
#include "model/llama_like.h"

static const fg_expert_names experts = {FG_HF_EXPERTS};

static const fg_expert_names fused = {FG_HF_EXPERTS_FUSED};

// Qwen3's has no shared expert, Qwen2's no norms: what a configuration does not have is not looked for.
static const fg_names names = {
    FG_HF_ENDS,
    FG_HF_ATTENTION,
    FG_HF_NORMS,
    FG_HF_HEAD_NORMS,
    FG_HF_MLP,
    .shared_gate = "layers.%u.mlp.shared_expert.gate_proj",
    .shared_up = "layers.%u.mlp.shared_expert.up_proj",
    .shared_down = "layers.%u.mlp.shared_expert.down_proj",
    .shared_switch = "layers.%u.mlp.shared_expert_gate",
    .experts = &experts,
    .experts_fused = &fused,
};

static const fg_expert_names gguf_experts = {FG_GGUF_EXPERTS};

static const fg_names gguf_names = {
    FG_GGUF_ENDS,
    FG_GGUF_ATTENTION,
    FG_GGUF_NORMS,
    FG_GGUF_HEAD_NORMS,
    .shared_gate = "blk.%u.ffn_gate_shexp",
    .shared_up = "blk.%u.ffn_up_shexp",
    .shared_down = "blk.%u.ffn_down_shexp",
    .shared_switch = "blk.%u.ffn_gate_inp_shexp",
    .experts = &gguf_experts,
};

#define QWEN_KEYS                                                                                            \
  FG_SIZE_KEYS(0), FG_CONTEXT_KEY(32768), FG_RMS_KEY(1e-6), FG_ACT_KEY("hidden_act", FG_ACT_SILU),           \
      FG_TIED_KEY(false), {FG_MEMBER(window), FG_KEY_U32, "sliding_window", NULL, 4096},                     \
      {FG_MEMBER(expert_ffn), FG_KEY_U32, "moe_intermediate_size", "expert_feed_forward_length",             \
       FG_REQUIRED},                                                                                         \
      {FG_MEMBER(route.used), FG_KEY_U32, "num_experts_per_tok", "expert_used_count", FG_REQUIRED}, {        \
    FG_MEMBER(route.normalise), FG_KEY_BOOL, "norm_topk_prob", NULL, false                                   \
  }

static const fg_config_key keys2[] = {
    QWEN_KEYS,
    {FG_MEMBER(route.experts), FG_KEY_U32, "num_experts", "expert_count", FG_REQUIRED},
    {FG_MEMBER(shared_ffn), FG_KEY_U32, "shared_expert_intermediate_size",
     "expert_shared_feed_forward_length", FG_REQUIRED},
    {FG_MEMBER(qkv_bias), FG_KEY_BOOL, "qkv_bias", NULL, true},
};

static const fg_config_key keys3[] = {
    QWEN_KEYS,
    {FG_MEMBER(route.experts), FG_KEY_U32, "num_experts", "expert_count", 0},
    FG_ATTENTION_BIAS_KEYS,
};

static const char *const reads[] = {"layer_types", "num_local_experts", NULL};

// Layers of "mlp_only_layers" are dense, and of the others all that are no multiple of the step.
static fg_status read_sparse(fg_config *config, const json_t *root, fg_error *err) {
  bool sparse[FG_MAX_LAYERS];
  uint32_t step;
  fg_status status = fg_json_u32(root, "decoder_sparse_step", 1, &step, err);
  if (status) return status;
  if (step == 0) return fg_fail(err, FG_INVALID, "\"decoder_sparse_step\" is 0");
  for (uint32_t i = 0; i < FG_MAX_LAYERS; i++) sparse[i] = (i + 1) % step == 0;
  const json_t *dense = json_object_get(root, "mlp_only_layers");
  if (dense && !json_is_null(dense) && !json_is_array(dense))
    return fg_fail(err, FG_INVALID, "\"mlp_only_layers\" is no list");
  for (size_t i = 0; i < json_array_size(dense); i++) {
    const json_t *item = json_array_get(dense, i);
    const json_int_t layer = json_integer_value(item);
    if (!json_is_integer(item)) return fg_fail(err, FG_INVALID, "\"mlp_only_layers\": entry %zu", i);
    if (layer >= 0 && layer < FG_MAX_LAYERS) sparse[layer] = false;
  }
  return fg_config_sparse(config, sparse, err);
}

static fg_status read_windows(fg_config *config, const bool *local, fg_error *err) {
  const fg_layer_kind all = {.rope = FG_LAYER_ROPE},
                      window = {.rope = FG_LAYER_ROPE, .window = config->window};
  return fg_config_two_kinds(config, local, &all, &window, err);
}

// Every other layer below max_window_layers sees a window, if any does; a list of layer types wins.
static fg_status refine2(fg_config *config, const json_t *root, fg_error *err) {
  bool local[FG_MAX_LAYERS], present, used;
  uint32_t most;
  fg_status status = fg_json_bool(root, "use_sliding_window", false, &used, err);
  if (!status) status = fg_json_u32(root, "max_window_layers", 28, &most, err);
  if (!status) status = fg_config_layer_types(config, root, local, &present, err);
  if (status) return status;
  if (!used) config->window = 0;
  for (uint32_t i = 0; !present && i < FG_MAX_LAYERS; i++) local[i] = used && i % 2 == 0 && i < most;
  config->shared_switch = true;
  status = read_windows(config, local, err);
  return status ? status : read_sparse(config, root, err);
}

static fg_status refine3(fg_config *config, const json_t *root, fg_error *err) {
  bool local[FG_MAX_LAYERS], used;
  fg_status status = fg_json_bool(root, "use_sliding_window", false, &used, err);
  // What its attribute is called; some files have this name.
  if (!status && !config->route.experts)
    status = fg_json_u32(root, "num_local_experts", 128, &config->route.experts, err);
  if (status) return status;
  for (uint32_t i = 0; i < FG_MAX_LAYERS; i++) local[i] = used;
  status = read_windows(config, local, err);
  return status ? status : read_sparse(config, root, err);
}

static fg_status refine2_gguf(fg_config *config, const fg_gguf *gguf, fg_error *err) {
  (void)gguf;
  config->shared_switch = true;
  return fg_config_sparse(config, NULL, err);
}

static fg_status refine3_gguf(fg_config *config, const fg_gguf *gguf, fg_error *err) {
  (void)gguf;
  config->route.normalise = true;
  return fg_config_sparse(config, NULL, err);
}

const fg_arch fg_arch_qwen2_moe = {
    .name = "qwen2_moe",
    .gguf = "qwen2moe",
    .names = &names,
    .gguf_names = &gguf_names,
    .keys = keys2,
    .key_count = sizeof keys2 / sizeof *keys2,
    .reads = reads,
    .norm = FG_NORM_RMS,
    .position = FG_POSITION_ROPE,
    .mlp = FG_MLP_GATED,
    .bos = -1,
    .eos = 151643,
    .refine = refine2,
    .refine_gguf = refine2_gguf,
    .build = fg_decoder_build,
};

const fg_arch fg_arch_qwen3_moe = {
    .name = "qwen3_moe",
    .gguf = "qwen3moe",
    .names = &names,
    .gguf_names = &gguf_names,
    .keys = keys3,
    .key_count = sizeof keys3 / sizeof *keys3,
    .reads = reads,
    .norm = FG_NORM_RMS,
    .position = FG_POSITION_ROPE,
    .qk_norm = FG_QK_NORM_HEAD,
    .mlp = FG_MLP_GATED,
    .bos = -1,
    .eos = 151643,
    .refine = refine3,
    .refine_gguf = refine3_gguf,
    .build = fg_decoder_build,
};
