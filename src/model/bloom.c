// bloom.c: BLOOM, BLOOMZ: ALiBi instead of positions, a norm behind the embedding.
#include "base/json.h"
#include "model/decoder.h"
#include "model/llama_like.h"

static const fg_names names = {
    .prefixes = {"transformer."},
    .embed = "word_embeddings",
    .embed_norm = "word_embeddings_layernorm",
    .final_norm = "ln_f",
    .head = "lm_head",
    .attn_norm = "h.%u.input_layernorm",
    .qkv = "h.%u.self_attention.query_key_value",
    .attn_out = "h.%u.self_attention.dense",
    .mlp_norm = "h.%u.post_attention_layernorm",
    .up = "h.%u.mlp.dense_h_to_4h",
    .down = "h.%u.mlp.dense_4h_to_h",
};

static const fg_names gguf_names = {
    FG_GGUF_ENDS, FG_GGUF_FUSED_ATTENTION, FG_GGUF_NORMS, FG_GGUF_PLAIN_MLP, .embed_norm = "token_embd_norm",
};

static const fg_config_key keys[] = {
    {FG_MEMBER(hidden), FG_KEY_U32, "hidden_size", "embedding_length", 0},
    {FG_MEMBER(hidden), FG_KEY_U32, "n_embed", NULL, FG_KEEP},
    {FG_MEMBER(layers), FG_KEY_U32, "n_layer", "block_count", 0},
    {FG_MEMBER(layers), FG_KEY_U32, "num_hidden_layers", NULL, FG_KEEP},
    {FG_MEMBER(heads), FG_KEY_U32, "n_head", "attention.head_count", 0},
    {FG_MEMBER(heads), FG_KEY_U32, "num_attention_heads", NULL, FG_KEEP},
    {FG_MEMBER(vocab), FG_KEY_U32, "vocab_size", "vocab_size", 0},
    {FG_MEMBER(ffn), FG_KEY_U32, NULL, "feed_forward_length", 0},
    {FG_MEMBER(max_positions), FG_KEY_U32, "seq_length", "context_length", 2048},
    {FG_MEMBER(norm_eps), FG_KEY_F64, "layer_norm_epsilon", "attention.layer_norm_epsilon", 1e-5},
    {FG_MEMBER(activation), FG_KEY_ACTIVATION, NULL, NULL, FG_ACT_GELU_TANH},
    {FG_MEMBER(residual_normed), FG_KEY_BOOL, "apply_residual_connection_post_layernorm", NULL, false},
    {FG_MEMBER(qkv_bias), FG_KEY_BOOL, NULL, NULL, true},
    {FG_MEMBER(out_bias), FG_KEY_BOOL, NULL, NULL, true},
    {FG_MEMBER(mlp_bias), FG_KEY_BOOL, NULL, NULL, true},
    {FG_MEMBER(tied), FG_KEY_BOOL, "tie_word_embeddings", NULL, true},
};

const fg_arch fg_arch_bloom = {
    .name = "bloom",
    .gguf = "bloom",
    .names = &names,
    .gguf_names = &gguf_names,
    .keys = keys,
    .key_count = sizeof keys / sizeof *keys,
    .ffn_times = 4,
    .norm = FG_NORM_LAYER,
    .position = FG_POSITION_ALIBI,
    .slopes = fg_alibi_slopes,
    .qkv_groups = FG_QKV_KV_HEADS,
    .mlp = FG_MLP_PLAIN,
    .bos = 1,
    .eos = 2,
    .build = fg_decoder_build,
};
