// starcoder2.c: StarCoder2: Llama's attention, GPT-2's norms and feed-forward, a window in every layer.
#include "base/json.h"
#include "model/decoder.h"
#include "model/llama_like.h"

static const fg_names names = {
    FG_HF_ATTENTION,      FG_HF_NORMS,       .prefixes = {"model."},     .embed = "embed_tokens",
    .final_norm = "norm", .head = "lm_head", .up = "layers.%u.mlp.c_fc", .down = "layers.%u.mlp.c_proj",
};

static const fg_names gguf_names = {
    FG_GGUF_ENDS,
    FG_GGUF_ATTENTION,
    FG_GGUF_NORMS,
    FG_GGUF_PLAIN_MLP,
};

static const fg_config_key keys[] = {
    {FG_MEMBER(hidden), FG_KEY_U32, "hidden_size", "embedding_length", FG_REQUIRED},
    {FG_MEMBER(layers), FG_KEY_U32, "num_hidden_layers", "block_count", FG_REQUIRED},
    {FG_MEMBER(heads), FG_KEY_U32, "num_attention_heads", "attention.head_count", FG_REQUIRED},
    {FG_MEMBER(kv_heads), FG_KEY_U32, "num_key_value_heads", "attention.head_count_kv", 0},
    {FG_MEMBER(head_dim), FG_KEY_U32, "head_dim", "attention.key_length", 0},
    {FG_MEMBER(ffn), FG_KEY_U32, "intermediate_size", "feed_forward_length", FG_REQUIRED},
    {FG_MEMBER(rotary), FG_KEY_U32, NULL, "rope.dimension_count", 0},
    {FG_MEMBER(vocab), FG_KEY_U32, "vocab_size", "vocab_size", 0},
    {FG_MEMBER(max_positions), FG_KEY_U32, "max_position_embeddings", "context_length", 4096},
    {FG_MEMBER(window), FG_KEY_U32, "sliding_window", NULL, 0},
    {FG_MEMBER(norm_eps), FG_KEY_F64, "norm_epsilon", "attention.layer_norm_epsilon", 1e-5},
    {FG_MEMBER(activation), FG_KEY_ACTIVATION, "hidden_act", NULL, FG_ACT_GELU_TANH},
    {FG_MEMBER(qkv_bias), FG_KEY_BOOL, "use_bias", NULL, true},
    {FG_MEMBER(out_bias), FG_KEY_BOOL, "use_bias", NULL, true},
    {FG_MEMBER(mlp_bias), FG_KEY_BOOL, "use_bias", NULL, true},
    {FG_MEMBER(tied), FG_KEY_BOOL, "tie_word_embeddings", NULL, true},
};

static fg_status refine(fg_config *config, const json_t *root, fg_error *err) {
  (void)root;
  (void)err;
  config->kinds[0].window = config->window;
  return FG_OK;
}

const fg_arch fg_arch_starcoder2 = {
    .name = "starcoder2",
    .gguf = "starcoder2",
    .names = &names,
    .gguf_names = &gguf_names,
    .keys = keys,
    .key_count = sizeof keys / sizeof *keys,
    .norm = FG_NORM_LAYER,
    .position = FG_POSITION_ROPE,
    .mlp = FG_MLP_PLAIN,
    .bos = 50256,
    .eos = 50256,
    .refine = refine,
    .build = fg_decoder_build,
};
