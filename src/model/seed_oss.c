// seed_oss.c: Seed-OSS: Llama with biases of q, k and v, and of attention's output where it says so.
#include "model/decoder.h"
#include "model/llama_like.h"

static const fg_names names = {FG_HF_ENDS, FG_HF_ATTENTION, FG_HF_MLP, FG_HF_NORMS};
static const fg_names gguf_names = {
    FG_GGUF_ENDS,
    FG_GGUF_ATTENTION,
    FG_GGUF_MLP,
    .attn_norm = "blk.%u.attn_norm",
    .mlp_norm = "blk.%u.post_attention_norm",
};

static const fg_config_key keys[] = {
    FG_SIZE_KEYS(128),
    FG_CONTEXT_KEY(524288),
    FG_RMS_KEY(1e-6),
    FG_ACT_KEY("hidden_act", FG_ACT_SILU),
    {FG_MEMBER(qkv_bias), FG_KEY_BOOL, "attention_bias", NULL, true},
    {FG_MEMBER(out_bias), FG_KEY_BOOL, "attention_out_bias", NULL, false},
    {FG_MEMBER(mlp_bias), FG_KEY_BOOL, "mlp_bias", NULL, false},
    FG_TIED_KEY(false),
};

const fg_arch fg_arch_seed_oss = {
    .name = "seed_oss",
    .gguf = "seed_oss",
    .names = &names,
    .gguf_names = &gguf_names,
    .keys = keys,
    .key_count = sizeof keys / sizeof *keys,
    .norm = FG_NORM_RMS,
    .position = FG_POSITION_ROPE,
    .mlp = FG_MLP_GATED,
    .bos = 0,
    .eos = 2,
    .build = fg_decoder_build,
};
