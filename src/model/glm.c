// glm.c: GLM-4 as transformers' classes have it, and ChatGLM 2, 3 and GLM-4 as their own code does: Llama
// with the first half of each head turned, side by side, biases of q, k and v, and fused matrices.
#include <math.h>

#include "base/json.h"
#include "format/gguf.h"
#include "model/decoder.h"
#include "model/llama_like.h"

#define GATE_UP .gate_up = "layers.%u.mlp.gate_up_proj", .down = "layers.%u.mlp.down_proj"
static const fg_names names = {FG_HF_ENDS, FG_HF_ATTENTION, FG_HF_NORMS, GATE_UP};
static const fg_names names4 = {
    FG_HF_ENDS,
    FG_HF_ATTENTION,
    FG_HF_NORMS,
    GATE_UP,
    .attn_after = "layers.%u.post_self_attn_layernorm",
    .mlp_after = "layers.%u.post_mlp_layernorm",
};
static const fg_names gguf_names4 = {
    FG_GGUF_ENDS,         FG_GGUF_ATTENTION,          FG_GGUF_NORMS,
    FG_GGUF_NORMS_BEHIND, .gate_up = "blk.%u.ffn_up", .down = "blk.%u.ffn_down",
};

static const fg_config_key keys[] = {
    FG_SIZE_KEYS(128),
    FG_CONTEXT_KEY(131072),
    FG_RMS_KEY(1.5625e-7),
    FG_ACT_KEY("hidden_act", FG_ACT_SILU),
    {FG_MEMBER(qkv_bias), FG_KEY_BOOL, "attention_bias", NULL, true},
    FG_TIED_KEY(false),
};

#define GLM_ROW                                                                                              \
  .norm = FG_NORM_RMS, .position = FG_POSITION_ROPE, .partial = 0.5, .rope_interleaved = true,               \
  .mlp = FG_MLP_GATED, .bos = -1, .eos = -1, .build = fg_decoder_build

const fg_arch fg_arch_glm = {
    GLM_ROW, .name = "glm", .names = &names, .keys = keys, .key_count = sizeof keys / sizeof *keys,
};

// What comes with images, and layers behind the last that guess tokens ahead, stand in the same files.
static fg_status refine_gguf4(fg_config *config, const fg_gguf *gguf, fg_error *err) {
  static const char ahead[] = "glm4.nextn_predict_layers", sections[] = "glm4.rope.dimension_sections";
  uint32_t layers;
  (void)config;
  if (fg_gguf_has(gguf, sections)) return fg_fail(err, FG_UNSUPPORTED, "%s is not supported", sections);
  fg_status status = fg_gguf_u32(gguf, ahead, 0, &layers, err);
  if (status || !layers) return status;
  return fg_fail(err, FG_UNSUPPORTED, "%s: %u is not supported", ahead, layers);
}

const fg_arch fg_arch_glm4 = {
    GLM_ROW,
    .name = "glm4",
    .gguf = "glm4",
    .names = &names4,
    .gguf_names = &gguf_names4,
    .keys = keys,
    .key_count = sizeof keys / sizeof *keys,
    .norm_place = FG_NORM_AROUND,
    .refine_gguf = refine_gguf4,
};

// ---- their own code ------------------------------------------------------------------------------------

static const fg_names chat_names = {
    .prefixes = {"transformer."},
    .embed = "embedding.word_embeddings",
    .final_norm = "encoder.final_layernorm",
    .head = "output_layer",
    .attn_norm = "encoder.layers.%u.input_layernorm",
    .qkv = "encoder.layers.%u.self_attention.query_key_value",
    .attn_out = "encoder.layers.%u.self_attention.dense",
    .mlp_norm = "encoder.layers.%u.post_attention_layernorm",
    .gate_up = "encoder.layers.%u.mlp.dense_h_to_4h",
    .down = "encoder.layers.%u.mlp.dense_4h_to_h",
};
static const fg_names chat_gguf_names = {
    FG_GGUF_ENDS,
    FG_GGUF_NORMS,
    FG_GGUF_ATTENTION, // of files made from `glm`
    .qkv = "blk.%u.attn_qkv",
    .gate_up = "blk.%u.ffn_up",
    .down = "blk.%u.ffn_down",
};

static const fg_config_key chat_keys[] = {
    {FG_MEMBER(hidden), FG_KEY_U32, "hidden_size", "embedding_length", FG_REQUIRED},
    {FG_MEMBER(layers), FG_KEY_U32, "num_layers", "block_count", FG_REQUIRED},
    {FG_MEMBER(heads), FG_KEY_U32, "num_attention_heads", "attention.head_count", FG_REQUIRED},
    {FG_MEMBER(kv_heads), FG_KEY_U32, "multi_query_group_num", "attention.head_count_kv", 1},
    {FG_MEMBER(head_dim), FG_KEY_U32, "kv_channels", "attention.key_length", 0},
    {FG_MEMBER(rotary), FG_KEY_U32, NULL, "rope.dimension_count", 0},
    {FG_MEMBER(ffn), FG_KEY_U32, "ffn_hidden_size", "feed_forward_length", FG_REQUIRED},
    {FG_MEMBER(vocab), FG_KEY_U32, "padded_vocab_size", "vocab_size", 0},
    {FG_MEMBER(max_positions), FG_KEY_U32, "seq_length", "context_length", 2048},
    {FG_MEMBER(norm_eps), FG_KEY_F64, "layernorm_epsilon", "attention.layer_norm_rms_epsilon", 1e-5},
    {FG_MEMBER(activation), FG_KEY_ACTIVATION, NULL, NULL, FG_ACT_SILU},
    {FG_MEMBER(out_bias), FG_KEY_BOOL, "add_bias_linear", NULL, false},
    {FG_MEMBER(mlp_bias), FG_KEY_BOOL, "add_bias_linear", NULL, false},
    FG_TIED_KEY(false),
};

// A flag that has to be what every published checkpoint has.
static fg_status expect_flag(const json_t *root, const char *key, bool usual, bool wanted, fg_error *err) {
  bool value;
  fg_status status = fg_json_bool(root, key, usual, &value, err);
  if (status || value == wanted) return status;
  return fg_fail(err, FG_UNSUPPORTED, "\"%s\": %s is not supported", key, value ? "true" : "false");
}

// Codes of its own, and prefixes that were learned.
static fg_status expect_zero(const json_t *root, const char *key, fg_error *err) {
  uint32_t value;
  fg_status status = fg_json_u32(root, key, 0, &value, err);
  if (status || value == 0) return status;
  return fg_fail(err, FG_UNSUPPORTED, "\"%s\": %u is not supported", key, value);
}

static fg_status refine_chat(fg_config *config, const json_t *root, fg_error *err) {
  bool grouped, qkv_bias, final_norm;
  double ratio;
  fg_status status = fg_json_bool(root, "multi_query_attention", false, &grouped, err);
  if (!status) status = fg_json_bool(root, "add_qkv_bias", false, &qkv_bias, err);
  if (!status) status = fg_json_bool(root, "post_layer_norm", true, &final_norm, err);
  if (!status) status = fg_json_f64(root, "rope_ratio", 1, &ratio, err);
  if (!status) status = expect_flag(root, "rmsnorm", true, true, err);
  if (!status) status = expect_flag(root, "apply_residual_connection_post_layernorm", false, false, err);
  if (!status) status = expect_flag(root, "original_rope", true, true, err);
  if (!status) status = expect_zero(root, "quantization_bit", err);
  if (!status) status = expect_zero(root, "pre_seq_len", err);
  if (status) return status;
  if (!(ratio > 0) || !isfinite(config->rope[0].theta * ratio))
    return fg_fail(err, FG_INVALID, "\"rope_ratio\": %g", ratio);
  if (!grouped) config->kv_heads = config->heads;
  config->qkv_bias = qkv_bias || config->out_bias;
  config->no_final_norm = !final_norm;
  config->rope[0].theta *= ratio;
  return FG_OK;
}

static fg_status refine_chat_gguf(fg_config *config, const fg_gguf *gguf, fg_error *err) {
  (void)err;
  if (!fg_config_gguf_holds(gguf, "blk.0.attn_qkv.weight")) config->qkv_groups = 0;
  return FG_OK;
}

const fg_arch fg_arch_chatglm = {
    GLM_ROW,
    .name = "chatglm",
    .gguf = "chatglm",
    .names = &chat_names,
    .gguf_names = &chat_gguf_names,
    .keys = chat_keys,
    .key_count = sizeof chat_keys / sizeof *chat_keys,
    .qkv_groups = 1,
    .refine = refine_chat,
    .refine_gguf = refine_chat_gguf,
};
