// gpt_neox.c: GPT-NeoX-20b, Pythia, Dolly 2, RedPajama-INCITE: both branches start from x, under norms of
// their own, or follow each other.
#include "base/json.h"
#include "format/gguf.h"
#include "model/decoder.h"
#include "model/llama_like.h"

static const fg_names names = {
    FG_HF_NORMS,
    .prefixes = {"gpt_neox."},
    .embed = "embed_in",
    .final_norm = "final_layer_norm",
    .head = "embed_out",
    .qkv = "layers.%u.attention.query_key_value",
    .attn_out = "layers.%u.attention.dense",
    .up = "layers.%u.mlp.dense_h_to_4h",
    .down = "layers.%u.mlp.dense_4h_to_h",
};

static const fg_names gguf_names = {
    FG_GGUF_ENDS,
    FG_GGUF_FUSED_ATTENTION,
    FG_GGUF_NORMS,
    FG_GGUF_PLAIN_MLP,
};

static const fg_config_key keys[] = {
    {FG_MEMBER(hidden), FG_KEY_U32, "hidden_size", "embedding_length", FG_REQUIRED},
    {FG_MEMBER(layers), FG_KEY_U32, "num_hidden_layers", "block_count", FG_REQUIRED},
    {FG_MEMBER(heads), FG_KEY_U32, "num_attention_heads", "attention.head_count", FG_REQUIRED},
    {FG_MEMBER(ffn), FG_KEY_U32, "intermediate_size", "feed_forward_length", FG_REQUIRED},
    {FG_MEMBER(rotary), FG_KEY_U32, NULL, "rope.dimension_count", 0},
    {FG_MEMBER(vocab), FG_KEY_U32, "vocab_size", "vocab_size", 0},
    {FG_MEMBER(max_positions), FG_KEY_U32, "max_position_embeddings", "context_length", 2048},
    {FG_MEMBER(norm_eps), FG_KEY_F64, "layer_norm_eps", "attention.layer_norm_epsilon", 1e-5},
    {FG_MEMBER(activation), FG_KEY_ACTIVATION, "hidden_act", NULL, FG_ACT_GELU_ERF},
    {FG_MEMBER(qkv_bias), FG_KEY_BOOL, "attention_bias", NULL, true},
    {FG_MEMBER(out_bias), FG_KEY_BOOL, "attention_bias", NULL, true},
    {FG_MEMBER(mlp_bias), FG_KEY_BOOL, NULL, NULL, true},
    {FG_MEMBER(tied), FG_KEY_BOOL, "tie_word_embeddings", NULL, false},
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
