// stablelm.c: StableLM 2 and StableLM 3b: Llama with layer norms and a part of each head turned; 12b has both
// branches start from one norm, and a norm for every head of queries and keys.
#include "base/json.h"
#include "format/gguf.h"
#include "model/decoder.h"
#include "model/llama_like.h"

static const fg_names names = {
    FG_HF_ATTENTION,
    FG_HF_NORMS,
    FG_HF_MLP,
    .prefixes = {"model."},
    .embed = "embed_tokens",
    .final_norm = "norm",
    .head = "lm_head",
    .q_norm = "layers.%u.self_attn.q_layernorm.norms.%h",
    .k_norm = "layers.%u.self_attn.k_layernorm.norms.%h",
};

static const fg_names gguf_names = {
    FG_GGUF_ENDS, FG_GGUF_ATTENTION, FG_GGUF_HEAD_NORMS, FG_GGUF_NORMS, FG_GGUF_MLP,
};

static const fg_config_key keys[] = {
    {FG_MEMBER(hidden), FG_KEY_U32, "hidden_size", "embedding_length", FG_REQUIRED},
    {FG_MEMBER(layers), FG_KEY_U32, "num_hidden_layers", "block_count", FG_REQUIRED},
    {FG_MEMBER(heads), FG_KEY_U32, "num_attention_heads", "attention.head_count", FG_REQUIRED},
    {FG_MEMBER(kv_heads), FG_KEY_U32, "num_key_value_heads", "attention.head_count_kv", 0},
    {FG_MEMBER(ffn), FG_KEY_U32, "intermediate_size", "feed_forward_length", FG_REQUIRED},
    {FG_MEMBER(rotary), FG_KEY_U32, NULL, "rope.dimension_count", 0},
    {FG_MEMBER(vocab), FG_KEY_U32, "vocab_size", "vocab_size", 0},
    {FG_MEMBER(max_positions), FG_KEY_U32, "max_position_embeddings", "context_length", 4096},
    {FG_MEMBER(norm_eps), FG_KEY_F64, "layer_norm_eps", "attention.layer_norm_epsilon", 1e-5},
    {FG_MEMBER(activation), FG_KEY_ACTIVATION, "hidden_act", NULL, FG_ACT_SILU},
    {FG_MEMBER(qkv_bias), FG_KEY_BOOL, "use_qkv_bias", NULL, false},
    {FG_MEMBER(tied), FG_KEY_BOOL, "tie_word_embeddings", NULL, false},
};

static void set_form(fg_config *config, bool parallel, bool qk_norms) {
  config->residual = parallel ? FG_RESIDUAL_SHARED : FG_RESIDUAL_SEQUENTIAL;
  config->qk_norm = qk_norms ? FG_QK_NORM_APART : FG_QK_NORM_NONE;
}

static fg_status refine(fg_config *config, const json_t *root, fg_error *err) {
  bool parallel, qk_norms;
  fg_status status = fg_json_bool(root, "use_parallel_residual", false, &parallel, err);
  if (!status) status = fg_json_bool(root, "qk_layernorm", false, &qk_norms, err);
  if (!status) set_form(config, parallel, qk_norms);
  return status;
}

static fg_status refine_gguf(fg_config *config, const fg_gguf *gguf, fg_error *err) {
  (void)err;
  set_form(config, !fg_config_gguf_holds(gguf, "blk.0.ffn_norm.weight"),
           fg_config_gguf_holds(gguf, "blk.0.attn_q_norm.weight"));
  return FG_OK;
}

const fg_arch fg_arch_stablelm = {
    .name = "stablelm",
    .gguf = "stablelm",
    .names = &names,
    .gguf_names = &gguf_names,
    .keys = keys,
    .key_count = sizeof keys / sizeof *keys,
    .norm = FG_NORM_LAYER,
    .position = FG_POSITION_ROPE,
    .partial = 0.25,
    .mlp = FG_MLP_GATED,
    .bos = 0,
    .eos = 0,
    .refine = refine,
    .refine_gguf = refine_gguf,
    .build = fg_decoder_build,
};
