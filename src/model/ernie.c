// ernie.c: ERNIE 4.5 without experts: Llama whose pairs are neighbours, with biases everywhere or nowhere.
#include "model/decoder.h"
#include "model/llama_like.h"

static const fg_names names = {FG_HF_ENDS, FG_HF_ATTENTION, FG_HF_MLP, FG_HF_NORMS};
static const fg_names gguf_names = {FG_GGUF_ENDS, FG_GGUF_ATTENTION, FG_GGUF_MLP, FG_GGUF_NORMS};

static const fg_config_key keys[] = {
    FG_SIZE_KEYS(128),
    FG_CONTEXT_KEY(131072),
    FG_RMS_KEY(1e-5),
    FG_ACT_KEY("hidden_act", FG_ACT_SILU),
    {FG_MEMBER(qkv_bias), FG_KEY_BOOL, "use_bias", NULL, false},
    {FG_MEMBER(out_bias), FG_KEY_BOOL, "use_bias", NULL, false},
    {FG_MEMBER(mlp_bias), FG_KEY_BOOL, "use_bias", NULL, false},
    FG_TIED_KEY(true),
};

// Files are written without turning rows of q and k, so that pairs are neighbours there too.
const fg_arch fg_arch_ernie = {
    .name = "ernie4_5",
    .gguf = "ernie4_5",
    .names = &names,
    .gguf_names = &gguf_names,
    .keys = keys,
    .key_count = sizeof keys / sizeof *keys,
    .norm = FG_NORM_RMS,
    .position = FG_POSITION_ROPE,
    .theta = 5e5,
    .rope_interleaved = true,
    .mlp = FG_MLP_GATED,
    .bos = 1,
    .eos = 2,
    .build = fg_decoder_build,
};
