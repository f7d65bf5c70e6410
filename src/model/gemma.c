// gemma.c: Gemma 1 to 3 (text): norms whose weights are stored less one, scaled embeddings; 2 and 3 with
// norms around branches and local layers, 2 with soft caps, 3 with norms of heads and a rotary base of local
// layers.
#include <math.h>

#include "base/json.h"
#include "format/gguf.h"
#include "model/decoder.h"
#include "model/llama_like.h"

#define HF_NORMS_AROUND                                                                                      \
  .attn_norm = "layers.%u.input_layernorm", .attn_after = "layers.%u.post_attention_layernorm",              \
  .mlp_norm = "layers.%u.pre_feedforward_layernorm", .mlp_after = "layers.%u.post_feedforward_layernorm"

static const fg_names names1 = {FG_HF_ENDS, FG_HF_ATTENTION, FG_HF_MLP, FG_HF_NORMS};
static const fg_names names2 = {FG_HF_ENDS, FG_HF_ATTENTION, FG_HF_MLP, HF_NORMS_AROUND};
static const fg_names names3 = {FG_HF_ENDS, FG_HF_ATTENTION, FG_HF_HEAD_NORMS, FG_HF_MLP, HF_NORMS_AROUND};
static const fg_names gguf1 = {FG_GGUF_ENDS, FG_GGUF_ATTENTION, FG_GGUF_MLP, FG_GGUF_NORMS};
static const fg_names gguf2 = {FG_GGUF_ENDS, FG_GGUF_ATTENTION, FG_GGUF_MLP, FG_GGUF_NORMS,
                               FG_GGUF_NORMS_BEHIND};
static const fg_names gguf3 = {FG_GGUF_ENDS, FG_GGUF_ATTENTION, FG_GGUF_HEAD_NORMS,
                               FG_GGUF_MLP,  FG_GGUF_NORMS,     FG_GGUF_NORMS_BEHIND};

#define COMMON_KEYS(positions)                                                                               \
  FG_SIZE_KEYS(256), FG_CONTEXT_KEY(positions), FG_RMS_KEY(1e-6), FG_TIED_KEY(true)
static const fg_config_key keys1[] = {COMMON_KEYS(8192), FG_ACT_KEY("hidden_act", FG_ACT_GELU_TANH),
                                      FG_ATTENTION_BIAS_KEYS};
static const fg_config_key keys2[] = {
    COMMON_KEYS(8192),
    FG_ACT_KEY("hidden_activation", FG_ACT_GELU_TANH),
    FG_ATTENTION_BIAS_KEYS,
    {FG_MEMBER(window), FG_KEY_U32, NULL, "attention.sliding_window", 4096},
    {FG_MEMBER(window_pattern), FG_KEY_U32, NULL, "attention.sliding_window_pattern", 2},
    {FG_MEMBER(score_softcap), FG_KEY_F64, NULL, "attn_logit_softcapping", 50},
    {FG_MEMBER(logit_softcap), FG_KEY_F64, NULL, "final_logit_softcapping", 30},
};
// What models of text and images leave out of their text part is as here.
static const fg_config_key keys3[] = {
    {FG_MEMBER(hidden), FG_KEY_U32, "hidden_size", "embedding_length", 2304},
    {FG_MEMBER(layers), FG_KEY_U32, "num_hidden_layers", "block_count", 26},
    {FG_MEMBER(heads), FG_KEY_U32, "num_attention_heads", "attention.head_count", 8},
    {FG_MEMBER(kv_heads), FG_KEY_U32, "num_key_value_heads", "attention.head_count_kv", 4},
    {FG_MEMBER(head_dim), FG_KEY_U32, "head_dim", "attention.key_length", 256},
    {FG_MEMBER(rotary), FG_KEY_U32, NULL, "rope.dimension_count", 0},
    {FG_MEMBER(ffn), FG_KEY_U32, "intermediate_size", "feed_forward_length", 9216},
    {FG_MEMBER(vocab), FG_KEY_U32, "vocab_size", "vocab_size", 262208},
    FG_CONTEXT_KEY(131072),
    FG_RMS_KEY(1e-6),
    FG_TIED_KEY(true),
    FG_ACT_KEY("hidden_activation", FG_ACT_GELU_TANH),
    FG_ATTENTION_BIAS_KEYS,
    {FG_MEMBER(window), FG_KEY_U32, NULL, "attention.sliding_window", 0},
    {FG_MEMBER(window_pattern), FG_KEY_U32, "sliding_window_pattern", "attention.sliding_window_pattern", 6},
    {FG_MEMBER(logit_softcap), FG_KEY_F64, NULL, "final_logit_softcapping", 0},
};
static const char *const reads[] = {"sliding_window", "layer_types", "attn_logit_softcapping",
                                    "final_logit_softcapping", NULL};

static bool is_local(const fg_config *config, uint32_t layer) {
  return (layer + 1) % config->window_pattern != 0;
}

// A number, none where it is null, `fallback` where it is missing.
static fg_status soft_cap(const json_t *root, const char *key, double fallback, double *out, fg_error *err) {
  const json_t *value = json_object_get(root, key);
  *out = 0;
  if (json_is_null(value)) return FG_OK;
  return fg_json_f64(root, key, fallback, out, err);
}

// Before they said gelu_pytorch_tanh, configurations of Gemma 1 said gelu and meant it.
static fg_status refine1(fg_config *config, const json_t *root, fg_error *err) {
  (void)root, (void)err;
  if (config->activation == FG_ACT_GELU_ERF) config->activation = FG_ACT_GELU_TANH;
  config->embed_scale = sqrt((double)config->hidden);
  return FG_OK;
}

static fg_status local_layers(fg_config *config, const json_t *root, fg_error *err) {
  if (!config->window_pattern) return fg_fail(err, FG_INVALID, "\"sliding_window_pattern\" is 0");
  config->embed_scale = sqrt((double)config->hidden);
  return fg_config_some_local(config, root, config->window, is_local, err);
}

static fg_status refine2(fg_config *config, const json_t *root, fg_error *err) {
  double scalar;
  bool both_ways;
  fg_status status = fg_config_window(root, 4096, &config->window, err);
  if (!status) status = fg_json_f64(root, "query_pre_attn_scalar", 256, &scalar, err);
  if (!status)
    status = soft_cap(root, "attn_logit_softcapping", config->score_softcap, &config->score_softcap, err);
  if (!status)
    status = soft_cap(root, "final_logit_softcapping", config->logit_softcap, &config->logit_softcap, err);
  if (!status) status = fg_json_bool(root, "use_bidirectional_attention", false, &both_ways, err);
  if (status) return status;
  if (both_ways) return fg_fail(err, FG_UNSUPPORTED, "\"use_bidirectional_attention\" is not supported");
  if (!(scalar > 0)) return fg_fail(err, FG_INVALID, "\"query_pre_attn_scalar\": %g", scalar);
  config->score_scale = 1 / sqrt(scalar);
  return local_layers(config, root, err);
}

// Local layers are turned by a base of their own, without scaling.
static fg_status refine3(fg_config *config, const json_t *root, fg_error *err) {
  fg_rope *local = &config->rope[1];
  const json_t *nested = json_object_get(root, "rope_parameters");
  double theta = 10000;
  fg_status status = fg_json_f64(root, "rope_local_base_freq", 10000, &theta, err);
  *local = (fg_rope){.theta = theta, .partial = 1, .factor = 1, .magnitude = 1};
  if (!status)
    status = fg_rope_from_object(local, config->arch, json_object_get(nested, "sliding_attention"),
                                 config->max_positions, err);
  if (!status) status = refine2(config, root, err);
  if (!status) fg_config_turn_by_window(config, FG_LAYER_ROPE_LOCAL, FG_LAYER_ROPE);
  config->score_softcap = 0; // the reference has the key and does not use it
  return status;
}

// The scale of scores stands nowhere in the header: 1 / sqrt(head_dim), but for the largest models.
static fg_status refine_gguf2(fg_config *config, const fg_gguf *gguf, fg_error *err) {
  (void)gguf;
  if (config->layers == 46) config->score_scale = 1 / sqrt((double)config->hidden / config->heads);
  return local_layers(config, NULL, err);
}

static fg_status refine_gguf3(fg_config *config, const fg_gguf *gguf, fg_error *err) {
  float theta;
  fg_status status = fg_gguf_f32(gguf, "gemma3.rope.freq_base_swa", 10000, &theta, err);
  if (status) return status;
  if (!(theta > 0)) return fg_fail(err, FG_INVALID, "gemma3.rope.freq_base_swa is %g", (double)theta);
  config->rope[1] = (fg_rope){.theta = theta, .partial = 1, .factor = 1, .magnitude = 1};
  if (config->layers == 62) config->score_scale = 1 / sqrt((double)config->hidden / config->heads);
  if (!config->window) config->window_pattern = 1;
  status = local_layers(config, NULL, err);
  if (!status) fg_config_turn_by_window(config, FG_LAYER_ROPE_LOCAL, FG_LAYER_ROPE);
  return status;
}

static fg_status refine_gguf1(fg_config *config, const fg_gguf *gguf, fg_error *err) {
  (void)gguf;
  return refine1(config, NULL, err);
}

#define GEMMA_ROW                                                                                            \
  .norm = FG_NORM_RMS, .norm_less_one = true, .position = FG_POSITION_ROPE, .mlp = FG_MLP_GATED, .bos = 2,   \
  .eos = 1, .build = fg_decoder_build

const fg_arch fg_arch_gemma = {
    GEMMA_ROW,
    .name = "gemma",
    .gguf = "gemma",
    .names = &names1,
    .gguf_names = &gguf1,
    .keys = keys1,
    .key_count = sizeof keys1 / sizeof *keys1,
    .refine = refine1,
    .refine_gguf = refine_gguf1,
};

const fg_arch fg_arch_gemma2 = {
    GEMMA_ROW,
    .name = "gemma2",
    .gguf = "gemma2",
    .names = &names2,
    .gguf_names = &gguf2,
    .keys = keys2,
    .key_count = sizeof keys2 / sizeof *keys2,
    .reads = reads,
    .norm_place = FG_NORM_AROUND,
    .refine = refine2,
    .refine_gguf = refine_gguf2,
};

const fg_arch fg_arch_gemma3 = {
    GEMMA_ROW,
    .name = "gemma3_text",
    .gguf = "gemma3",
    .names = &names3,
    .gguf_names = &gguf3,
    .keys = keys3,
    .key_count = sizeof keys3 / sizeof *keys3,
    .reads = reads,
    .norm_place = FG_NORM_AROUND,
    .theta = 1e6,
    .qk_norm = FG_QK_NORM_HEAD,
    .refine = refine3,
    .refine_gguf = refine_gguf3,
};
