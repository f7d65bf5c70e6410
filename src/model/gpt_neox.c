// gpt_neox.c: GPT-NeoX-20b, Pythia, Dolly 2, RedPajama-INCITE: both branches start from x, under norms of
// their own, or follow each other.
#include "base/json.h"
#include "format/gguf.h"
#include "model/arch.h"
#include "model/decoder.h"

static const fg_names names = {
    .prefixes = {"gpt_neox."},
    .embed = "embed_in",
    .final_norm = "final_layer_norm",
    .head = "embed_out",
    .attn_norm = "layers.%u.input_layernorm",
    .qkv = "layers.%u.attention.query_key_value",
    .attn_out = "layers.%u.attention.dense",
    .mlp_norm = "layers.%u.post_attention_layernorm",
    .up = "layers.%u.mlp.dense_h_to_4h",
    .down = "layers.%u.mlp.dense_4h_to_h",
};

static const fg_names gguf_names = {
    .embed = "token_embd",
    .final_norm = "output_norm",
    .head = "output",
    .attn_norm = "blk.%u.attn_norm",
    .qkv = "blk.%u.attn_qkv",
    .attn_out = "blk.%u.attn_output",
    .mlp_norm = "blk.%u.ffn_norm",
    .up = "blk.%u.ffn_up",
    .down = "blk.%u.ffn_down",
};

#define MEMBER(m) offsetof(fg_config, m)
static const fg_config_key keys[] = {
    {MEMBER(hidden), FG_KEY_U32, "hidden_size", "embedding_length", FG_REQUIRED},
    {MEMBER(layers), FG_KEY_U32, "num_hidden_layers", "block_count", FG_REQUIRED},
    {MEMBER(heads), FG_KEY_U32, "num_attention_heads", "attention.head_count", FG_REQUIRED},
    {MEMBER(ffn), FG_KEY_U32, "intermediate_size", "feed_forward_length", FG_REQUIRED},
    {MEMBER(rotary), FG_KEY_U32, NULL, "rope.dimension_count", 0},
    {MEMBER(vocab), FG_KEY_U32, "vocab_size", "vocab_size", 0},
    {MEMBER(max_positions), FG_KEY_U32, "max_position_embeddings", "context_length", 2048},
    {MEMBER(norm_eps), FG_KEY_F64, "layer_norm_eps", "attention.layer_norm_epsilon", 1e-5},
    {MEMBER(activation), FG_KEY_ACTIVATION, "hidden_act", NULL, FG_ACT_GELU_ERF},
    {MEMBER(qkv_bias), FG_KEY_BOOL, "attention_bias", NULL, true},
    {MEMBER(out_bias), FG_KEY_BOOL, "attention_bias", NULL, true},
    {MEMBER(mlp_bias), FG_KEY_BOOL, NULL, NULL, true},
    {MEMBER(tied), FG_KEY_BOOL, "tie_word_embeddings", NULL, false},
};

static void set_residual(fg_config *config, bool parallel) {
  config->residual = parallel ? FG_RESIDUAL_PARALLEL : FG_RESIDUAL_SEQUENTIAL;
}

// An odd number of values to turn: the reference spreads frequencies over it and turns one more.
static void round_rotary(fg_config *config) {
  if (config->rotary % 2 == 0) return;
  config->rope[0].dims = config->rotary;
  config->rotary++;
}

static fg_status refine(fg_config *config, const json_t *root, fg_error *err) {
  bool parallel;
  round_rotary(config);
  fg_status status = fg_json_bool(root, "use_parallel_residual", true, &parallel, err);
  if (!status) set_residual(config, parallel);
  return status;
}

static fg_status refine_gguf(fg_config *config, const fg_gguf *gguf, fg_error *err) {
  bool parallel;
  fg_status status = fg_gguf_bool(gguf, "gptneox.use_parallel_residual", true, &parallel, err);
  if (!status) set_residual(config, parallel);
  return status;
}

const fg_arch fg_arch_gpt_neox = {
    .name = "gpt_neox",
    .gguf = "gptneox",
    .names = &names,
    .gguf_names = &gguf_names,
    .keys = keys,
    .key_count = sizeof keys / sizeof *keys,
    .norm = FG_NORM_LAYER,
    .position = FG_POSITION_ROPE,
    .partial = 0.25,
    .theta_key = "rotary_emb_base",
    .partial_key = "rotary_pct",
    .qkv_groups = FG_QKV_KV_HEADS,
    .mlp = FG_MLP_PLAIN,
    .bos = 0,
    .eos = 2,
    .refine = refine,
    .refine_gguf = refine_gguf,
    .build = fg_decoder_build,
};
