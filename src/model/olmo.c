// olmo.c: OLMo: Llama with norms that have no weights, and q, k and v clamped.
#include "model/decoder.h"
#include "model/llama_like.h"

static const fg_names names = {FG_HF_ENDS, FG_HF_ATTENTION, FG_HF_MLP, FG_HF_NORMS};
static const fg_names gguf_names = {FG_GGUF_ENDS, FG_GGUF_ATTENTION, FG_GGUF_MLP, FG_GGUF_NORMS};

static const fg_config_key keys[] = {
    FG_SIZE_KEYS(0),
    FG_CONTEXT_KEY(2048),
    FG_ACT_KEY("hidden_act", FG_ACT_SILU),
    FG_ATTENTION_BIAS_KEYS,
    FG_TIED_KEY(false),
    {FG_MEMBER(norm_eps), FG_KEY_F64, NULL, NULL, 1e-5}, // fixed in the reference
    {FG_MEMBER(norm_affine), FG_KEY_BOOL, NULL, NULL, false},
    {FG_MEMBER(clip_qkv), FG_KEY_F64, "clip_qkv", "attention.clamp_kqv", 0},
};

const fg_arch fg_arch_olmo = {
    .name = "olmo",
    .gguf = "olmo",
    .names = &names,
    .gguf_names = &gguf_names,
    .keys = keys,
    .key_count = sizeof keys / sizeof *keys,
    .norm = FG_NORM_LAYER,
    .position = FG_POSITION_ROPE,
    .mlp = FG_MLP_GATED,
    .gguf_qk = FG_TRANSFORM_UNPERMUTE_ROPE,
    .bos = -1,
    .eos = 50279,
    .build = fg_decoder_build,
};
