// stablelm.c: StableLM 2 and StableLM 3b: Llama with layer norms and a part of each head turned; 12b has both
// branches start from one norm, and a norm for every head of queries and keys.
#include "base/json.h"
#include "format/gguf.h"
#include "model/arch.h"
#include "model/decoder.h"

static const fg_names names = {
    .prefixes = {"model."},
    .embed = "embed_tokens",
    .final_norm = "norm",
    .head = "lm_head",
    .attn_norm = "layers.%u.input_layernorm",
    .q = "layers.%u.self_attn.q_proj",
    .k = "layers.%u.self_attn.k_proj",
    .v = "layers.%u.self_attn.v_proj",
    .q_norm = "layers.%u.self_attn.q_layernorm.norms.%h",
    .k_norm = "layers.%u.self_attn.k_layernorm.norms.%h",
    .attn_out = "layers.%u.self_attn.o_proj",
    .mlp_norm = "layers.%u.post_attention_layernorm",
    .gate = "layers.%u.mlp.gate_proj",
    .up = "layers.%u.mlp.up_proj",
    .down = "layers.%u.mlp.down_proj",
};

static const fg_names gguf_names = {
    .embed = "token_embd",
    .final_norm = "output_norm",
    .head = "output",
    .attn_norm = "blk.%u.attn_norm",
    .q = "blk.%u.attn_q",
    .k = "blk.%u.attn_k",
    .v = "blk.%u.attn_v",
    .q_norm = "blk.%u.attn_q_norm",
    .k_norm = "blk.%u.attn_k_norm",
    .attn_out = "blk.%u.attn_output",
    .mlp_norm = "blk.%u.ffn_norm",
    .gate = "blk.%u.ffn_gate",
    .up = "blk.%u.ffn_up",
    .down = "blk.%u.ffn_down",
};

#define MEMBER(m) offsetof(fg_config, m)
static const fg_config_key keys[] = {
    {MEMBER(hidden), FG_KEY_U32, "hidden_size", "embedding_length", FG_REQUIRED},
    {MEMBER(layers), FG_KEY_U32, "num_hidden_layers", "block_count", FG_REQUIRED},
    {MEMBER(heads), FG_KEY_U32, "num_attention_heads", "attention.head_count", FG_REQUIRED},
    {MEMBER(kv_heads), FG_KEY_U32, "num_key_value_heads", "attention.head_count_kv", 0},
    {MEMBER(ffn), FG_KEY_U32, "intermediate_size", "feed_forward_length", FG_REQUIRED},
    {MEMBER(rotary), FG_KEY_U32, NULL, "rope.dimension_count", 0},
    {MEMBER(vocab), FG_KEY_U32, "vocab_size", "vocab_size", 0},
    {MEMBER(max_positions), FG_KEY_U32, "max_position_embeddings", "context_length", 4096},
    {MEMBER(norm_eps), FG_KEY_F64, "layer_norm_eps", "attention.layer_norm_epsilon", 1e-5},
    {MEMBER(activation), FG_KEY_ACTIVATION, "hidden_act", NULL, FG_ACT_SILU},
    {MEMBER(qkv_bias), FG_KEY_BOOL, "use_qkv_bias", NULL, false},
    {MEMBER(tied), FG_KEY_BOOL, "tie_word_embeddings", NULL, false},
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
