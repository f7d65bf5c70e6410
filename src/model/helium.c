// helium.c: Helium: Llama whose pairs are neighbours; attention's output has no bias even where q, k and v
// do.
#include "model/decoder.h"
#include "model/llama_like.h"

static const fg_names names = {FG_HF_ENDS, FG_HF_ATTENTION, FG_HF_MLP, FG_HF_NORMS};

static const fg_config_key keys[] = {
    FG_SIZE_KEYS(128),
    FG_CONTEXT_KEY(4096),
    FG_RMS_KEY(1e-8),
    FG_ACT_KEY("hidden_act", FG_ACT_SILU),
    {FG_MEMBER(qkv_bias), FG_KEY_BOOL, "attention_bias", NULL, false},
    {FG_MEMBER(mlp_bias), FG_KEY_BOOL, "mlp_bias", NULL, false},
    FG_TIED_KEY(false),
};

const fg_arch fg_arch_helium = {
    .name = "helium",
    .names = &names,
    .keys = keys,
    .key_count = sizeof keys / sizeof *keys,
    .norm = FG_NORM_RMS,
    .position = FG_POSITION_ROPE,
    .theta = 1e5,
    .rope_interleaved = true,
    .mlp = FG_MLP_GATED,
    .bos = 1,
    .eos = 2,
    .build = fg_decoder_build,
};
