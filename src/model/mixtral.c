// mixtral.c: Mixtral: Mistral's layers with experts. Its GGUF files call themselves llama (llama.c).
#include "base/json.h"
#include "model/decoder.h"
#include "model/llama_like.h"

static const fg_expert_names experts = {
    .router = "layers.%u.block_sparse_moe.gate",
    .gate = "layers.%u.block_sparse_moe.experts.%e.w1",
    .up = "layers.%u.block_sparse_moe.experts.%e.w3",
    .down = "layers.%u.block_sparse_moe.experts.%e.w2",
};

static const fg_expert_names fused = {FG_HF_EXPERTS_FUSED};

static const fg_names names = {
    FG_HF_ENDS, FG_HF_ATTENTION, FG_HF_NORMS, .experts = &experts, .experts_fused = &fused,
};

static const fg_config_key keys[] = {
    {FG_MEMBER(hidden), FG_KEY_U32, "hidden_size", NULL, FG_REQUIRED},
    {FG_MEMBER(layers), FG_KEY_U32, "num_hidden_layers", NULL, FG_REQUIRED},
    {FG_MEMBER(heads), FG_KEY_U32, "num_attention_heads", NULL, FG_REQUIRED},
    {FG_MEMBER(kv_heads), FG_KEY_U32, "num_key_value_heads", NULL, 8},
    {FG_MEMBER(head_dim), FG_KEY_U32, "head_dim", NULL, 0},
    {FG_MEMBER(ffn), FG_KEY_U32, "intermediate_size", NULL, FG_REQUIRED},
    {FG_MEMBER(vocab), FG_KEY_U32, "vocab_size", NULL, FG_REQUIRED},
    {FG_MEMBER(max_positions), FG_KEY_U32, "max_position_embeddings", NULL, 131072},
    {FG_MEMBER(norm_eps), FG_KEY_F64, "rms_norm_eps", NULL, 1e-5},
    {FG_MEMBER(activation), FG_KEY_ACTIVATION, "hidden_act", NULL, FG_ACT_SILU},
    {FG_MEMBER(window), FG_KEY_U32, "sliding_window", NULL, 0},
    {FG_MEMBER(tied), FG_KEY_BOOL, "tie_word_embeddings", NULL, false},
    {FG_MEMBER(route.experts), FG_KEY_U32, "num_local_experts", NULL, 8},
    {FG_MEMBER(route.used), FG_KEY_U32, "num_experts_per_tok", NULL, 2},
};

static fg_status refine(fg_config *config, const json_t *root, fg_error *err) {
  (void)root;
  config->kinds[0].window = config->window;
  config->route.normalise = true;
  return fg_config_sparse(config, NULL, err);
}

const fg_arch fg_arch_mixtral = {
    .name = "mixtral",
    .names = &names,
    .keys = keys,
    .key_count = sizeof keys / sizeof *keys,
    .norm = FG_NORM_RMS,
    .position = FG_POSITION_ROPE,
    .theta = 1e6,
    .mlp = FG_MLP_GATED,
    .bos = 1,
    .eos = 2,
    .refine = refine,
    .build = fg_decoder_build,
};
