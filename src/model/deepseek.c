// deepseek.c: DeepSeek-V2 and V3 (and R1): latent attention, experts behind one that all tokens share, dense
// layers first. Layers beyond num_hidden_layers predict more tokens than the next one and are not read.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "format/gguf.h"
#include "model/decoder.h"
#include "model/llama_like.h"

static const fg_expert_names experts = {
    FG_HF_EXPERTS,
    .correction = "layers.%u.mlp.gate.e_score_correction_bias",
};

static const fg_expert_names fused = {
    FG_HF_EXPERTS_FUSED,
    .correction = "layers.%u.mlp.gate.e_score_correction_bias",
};

static const fg_names names = {
    FG_HF_ENDS,
    FG_HF_NORMS,
    FG_HF_MLP,
    .q = "layers.%u.self_attn.q_proj",
    .q_a = "layers.%u.self_attn.q_a_proj",
    .q_a_norm = "layers.%u.self_attn.q_a_layernorm",
    .q_b = "layers.%u.self_attn.q_b_proj",
    .kv_a = "layers.%u.self_attn.kv_a_proj_with_mqa",
    .kv_a_norm = "layers.%u.self_attn.kv_a_layernorm",
    .kv_b = "layers.%u.self_attn.kv_b_proj",
    .attn_out = "layers.%u.self_attn.o_proj",
    .shared_gate = "layers.%u.mlp.shared_experts.gate_proj",
    .shared_up = "layers.%u.mlp.shared_experts.up_proj",
    .shared_down = "layers.%u.mlp.shared_experts.down_proj",
    .experts = &experts,
    .experts_fused = &fused,
};

static const fg_expert_names gguf_experts = {FG_GGUF_EXPERTS, .correction = "blk.%u.exp_probs_b.bias"};

static const fg_names gguf_names = {
    FG_GGUF_ENDS,
    FG_GGUF_NORMS,
    FG_GGUF_MLP,
    .q = "blk.%u.attn_q",
    .q_a = "blk.%u.attn_q_a",
    .q_a_norm = "blk.%u.attn_q_a_norm",
    .q_b = "blk.%u.attn_q_b",
    .kv_a = "blk.%u.attn_kv_a_mqa",
    .kv_a_norm = "blk.%u.attn_kv_a_norm",
    .kv_b = "blk.%u.attn_kv_b",
    .k_b = "blk.%u.attn_k_b",
    .v_b = "blk.%u.attn_v_b",
    .attn_out = "blk.%u.attn_output",
    .shared_gate = "blk.%u.ffn_gate_shexp",
    .shared_up = "blk.%u.ffn_up_shexp",
    .shared_down = "blk.%u.ffn_down_shexp",
    .experts = &gguf_experts,
};

// shared_ffn is their number until `refine` has multiplied it by their width.
#define DEEPSEEK_KEYS(width)                                                                                 \
  {FG_MEMBER(hidden), FG_KEY_U32, "hidden_size", "embedding_length", FG_REQUIRED},                           \
      {FG_MEMBER(layers), FG_KEY_U32, "num_hidden_layers", "block_count", FG_REQUIRED},                      \
      {FG_MEMBER(heads), FG_KEY_U32, "num_attention_heads", "attention.head_count", FG_REQUIRED},            \
      {FG_MEMBER(ffn), FG_KEY_U32, "intermediate_size", "feed_forward_length", FG_REQUIRED},                 \
      {FG_MEMBER(vocab), FG_KEY_U32, "vocab_size", "vocab_size", 0}, FG_RMS_KEY(1e-6),                       \
      FG_ACT_KEY("hidden_act", FG_ACT_SILU), FG_TIED_KEY(false), FG_ATTENTION_BIAS_KEYS,                     \
      {FG_MEMBER(head_dim), FG_KEY_U32, "qk_rope_head_dim", "rope.dimension_count", 64},                     \
      {FG_MEMBER(latent.rank), FG_KEY_U32, "kv_lora_rank", "attention.kv_lora_rank", 512},                   \
      {FG_MEMBER(latent.nope), FG_KEY_U32, "qk_nope_head_dim", NULL, 128},                                   \
      {FG_MEMBER(latent.value), FG_KEY_U32, "v_head_dim", NULL, 128}, {                                      \
    FG_MEMBER(expert_ffn), FG_KEY_U32, "moe_intermediate_size", "expert_feed_forward_length", width          \
  }

static const fg_config_key keys2[] = {
    DEEPSEEK_KEYS(1407),
    FG_CONTEXT_KEY(2048),
    {FG_MEMBER(route.experts), FG_KEY_U32, "n_routed_experts", "expert_count", 64},
    {FG_MEMBER(route.used), FG_KEY_U32, "num_experts_per_tok", "expert_used_count", FG_REQUIRED},
    {FG_MEMBER(route.groups), FG_KEY_U32, "n_group", "expert_group_count", 0},
    {FG_MEMBER(route.top_groups), FG_KEY_U32, "topk_group", "expert_group_used_count", 0},
    {FG_MEMBER(route_scale), FG_KEY_F64, "routed_scaling_factor", "expert_weights_scale", 1},
    {FG_MEMBER(shared_ffn), FG_KEY_U32, "n_shared_experts", NULL, 2},
};

static const fg_config_key keys3[] = {
    DEEPSEEK_KEYS(2048),
    FG_CONTEXT_KEY(4096),
    {FG_MEMBER(route.experts), FG_KEY_U32, "n_routed_experts", NULL, 256},
    {FG_MEMBER(route.used), FG_KEY_U32, "num_experts_per_tok", NULL, 8},
    {FG_MEMBER(route.groups), FG_KEY_U32, "n_group", NULL, 8},
    {FG_MEMBER(route.top_groups), FG_KEY_U32, "topk_group", NULL, 4},
    {FG_MEMBER(route.normalise), FG_KEY_BOOL, "norm_topk_prob", NULL, true},
    {FG_MEMBER(route_scale), FG_KEY_F64, "routed_scaling_factor", NULL, 2.5},
    {FG_MEMBER(shared_ffn), FG_KEY_U32, "n_shared_experts", NULL, 1},
};

static const char *const reads[] = {"attention.value_length", NULL};

// Keys with which the published code computes something else than what is built.
static fg_status check_keys(const json_t *root, const char *scoring, fg_error *err) {
  uint32_t step;
  bool biases;
  const char *function;
  fg_status status = fg_json_u32(root, "moe_layer_freq", 1, &step, err);
  if (!status) status = fg_json_bool(root, "mlp_bias", false, &biases, err);
  if (!status) status = fg_json_string(root, "scoring_func", scoring, &function, err);
  if (status) return status;
  if (step != 1) return fg_fail(err, FG_UNSUPPORTED, "\"moe_layer_freq\": %u is not supported, 1 is", step);
  if (biases) return fg_fail(err, FG_UNSUPPORTED, "\"mlp_bias\": true is not supported");
  if (strcmp(function, scoring) != 0)
    return fg_fail(err, FG_UNSUPPORTED, "\"scoring_func\": \"%.40s\" is not supported, \"%s\" is", function,
                   scoring);
  return FG_OK;
}

static fg_status read_method(const json_t *root, const char *usual, const char *other, const char **out,
                             fg_error *err) {
  fg_status status = fg_json_string(root, "topk_method", usual, out, err);
  if (status || strcmp(*out, usual) == 0 || (other && strcmp(*out, other) == 0)) return status;
  return fg_fail(err, FG_UNSUPPORTED, "\"topk_method\": \"%.40s\" is not supported", *out);
}

// What follows from the numbers, wherever they are from; `dense` layers come first.
static fg_status finish(fg_config *config, uint32_t dense, fg_error *err) {
  const fg_latent *l = &config->latent;
  if (l->rank == 0) return fg_fail(err, FG_INVALID, "latent attention of rank 0");
  const uint64_t shared = (uint64_t)config->shared_ffn * config->expert_ffn;
  config->shared_ffn = shared < UINT32_MAX ? (uint32_t)shared : UINT32_MAX; // too many are refused
  config->kv_heads = 1;
  config->score_scale =
      fg_rope_score_factor(&config->rope[0]) / sqrt((double)l->nope + (double)config->head_dim);
  bool sparse[FG_MAX_LAYERS];
  for (uint32_t i = 0; i < FG_MAX_LAYERS; i++) sparse[i] = i >= dense;
  return fg_config_sparse(config, sparse, err);
}

// Of both; null, which the tables of keys take for missing, stands for none.
static fg_status read_common(fg_config *config, const json_t *root, uint32_t dense, fg_error *err) {
  fg_latent *l = &config->latent;
  const bool none = json_is_null(json_object_get(root, "q_lora_rank"));
  fg_status status = fg_json_u32(root, "q_lora_rank", none ? 0 : 1536, &l->q_rank, err);
  if (!status) status = fg_json_u32(root, "first_k_dense_replace", dense, &dense, err);
  if (status) return status;
  if (json_is_null(json_object_get(root, "n_shared_experts"))) config->shared_ffn = 0;
  if (json_is_null(json_object_get(root, "n_routed_experts"))) config->route.experts = 0;
  l->norm_eps = 1e-6; // whatever the configuration says
  return finish(config, dense, err);
}

static fg_status refine2(fg_config *config, const json_t *root, fg_error *err) {
  const char *method;
  bool normalise;
  fg_status status = check_keys(root, "softmax", err);
  if (!status) status = read_method(root, "greedy", "group_limited_greedy", &method, err);
  if (!status) status = fg_json_bool(root, "norm_topk_prob", false, &normalise, err);
  if (status) return status;
  if (normalise) // transformers ignores it, the published code does not
    return fg_fail(err, FG_UNSUPPORTED, "\"norm_topk_prob\": true is not supported");
  if (strcmp(method, "greedy") == 0) config->route.groups = 0;
  config->route.kind = FG_ROUTE_SOFTMAX;
  config->route.group_best = 1;
  return read_common(config, root, 0, err);
}

static fg_status refine3(fg_config *config, const json_t *root, fg_error *err) {
  const char *method;
  fg_status status = check_keys(root, "sigmoid", err);
  if (!status) status = read_method(root, "noaux_tc", NULL, &method, err);
  if (!status) status = fg_json_bool(root, "rope_interleave", true, &config->rope_interleaved, err);
  if (status) return status;
  if (!config->route.top_groups) return fg_fail(err, FG_INVALID, "\"topk_group\": experts of 0 groups");
  config->route.kind = FG_ROUTE_SIGMOID;
  config->route.group_best = 2;
  config->route_correction = true;
  return read_common(config, root, 3, err);
}

// ---- GGUF: V2 and V3 have one name ---------------------------------------------------------------------

static fg_status number(const fg_gguf *gguf, const char *name, uint32_t fallback, uint32_t *out,
                        fg_error *err) {
  char key[96];
  snprintf(key, sizeof key, "deepseek2.%s", name);
  return fg_gguf_u32(gguf, key, fallback, out, err);
}

// Heads as they would be without latent attention have names of their own since what makes keys and what
// makes values are two tensors.
static fg_status read_heads(fg_config *config, const fg_gguf *gguf, fg_error *err) {
  fg_latent *l = &config->latent;
  uint32_t key;
  l->split = fg_gguf_has(gguf, "deepseek2.attention.key_length_mla");
  fg_status status =
      number(gguf, l->split ? "attention.key_length_mla" : "attention.key_length", 192, &key, err);
  if (!status)
    status =
        number(gguf, l->split ? "attention.value_length_mla" : "attention.value_length", 128, &l->value, err);
  if (!status) status = number(gguf, "attention.q_lora_rank", 0, &l->q_rank, err);
  if (status) return status;
  if (key <= config->head_dim)
    return fg_fail(err, FG_INVALID, "GGUF: keys of %u values, of which %u are turned", key, config->head_dim);
  l->nope = key - config->head_dim;
  return FG_OK;
}

static fg_status read_route(fg_config *config, const fg_gguf *gguf, uint32_t dense, fg_error *err) {
  enum { SOFTMAX = 1, SIGMOID = 2 }; // as the format numbers them
  uint32_t function;
  char correction[64]; // older files do not name the function; with sigmoids there is one
  snprintf(correction, sizeof correction, "blk.%u.exp_probs_b.bias", dense);
  fg_status status = number(gguf, "expert_gating_func",
                            fg_config_gguf_holds(gguf, correction) ? SIGMOID : SOFTMAX, &function, err);
  if (!status) status = number(gguf, "expert_shared_count", 0, &config->shared_ffn, err);
  if (!status)
    status = fg_gguf_bool(gguf, "deepseek2.expert_weights_norm", false, &config->route.normalise, err);
  if (status) return status;
  if (function > SIGMOID)
    return fg_fail(err, FG_UNSUPPORTED, "deepseek2.expert_gating_func: %u is not supported (1 and 2 are)",
                   function);
  const bool sigmoid = function == SIGMOID;
  config->route.kind = sigmoid ? FG_ROUTE_SIGMOID : FG_ROUTE_SOFTMAX;
  config->route.group_best = sigmoid ? 2 : 1;
  config->route_correction = sigmoid;
  if (config->route_scale == 0) config->route_scale = 1;
  return FG_OK;
}

static fg_status refine_gguf(fg_config *config, const fg_gguf *gguf, fg_error *err) {
  uint32_t dense, more;
  float multiplier; // of the logarithm of the factor
  fg_status status = read_heads(config, gguf, err);
  if (!status) status = number(gguf, "leading_dense_block_count", 0, &dense, err);
  if (!status) status = read_route(config, gguf, dense, err);
  if (!status) status = number(gguf, "nextn_predict_layers", 0, &more, err);
  if (!status) status = fg_gguf_f32(gguf, "deepseek2.rope.scaling.yarn_log_multiplier", 0, &multiplier, err);
  if (status) return status;
  if (more >= config->layers)
    return fg_fail(err, FG_INVALID, "GGUF: %u layers, of which %u only predict more tokens", config->layers,
                   more);
  config->layers -= more;
  config->rope[0].mscale_all_dim = (double)multiplier * 10;
  config->rope[0].magnitude = 1; // the file knows the factor of scores alone
  return finish(config, dense, err);
}

const fg_arch fg_arch_deepseek_v2 = {
    .name = "deepseek_v2",
    .gguf = "deepseek2",
    .names = &names,
    .gguf_names = &gguf_names,
    .keys = keys2,
    .key_count = sizeof keys2 / sizeof *keys2,
    .reads = reads,
    .norm = FG_NORM_RMS,
    .position = FG_POSITION_ROPE,
    .rope_interleaved = true,
    .mlp = FG_MLP_GATED,
    .bos = 100000,
    .eos = 100001,
    .refine = refine2,
    .refine_gguf = refine_gguf,
    .build = fg_decoder_build,
};

const fg_arch fg_arch_deepseek_v3 = {
    .name = "deepseek_v3",
    .names = &names,
    .keys = keys3,
    .key_count = sizeof keys3 / sizeof *keys3,
    .norm = FG_NORM_RMS,
    .position = FG_POSITION_ROPE,
    .rope_interleaved = true,
    .mlp = FG_MLP_GATED,
    .bos = 0,
    .eos = 1,
    .refine = refine3,
    .build = fg_decoder_build,
};
