// llama.c: Llama 1 to 3 and what shares their form and name (TinyLlama, SmolLM2, Yi, DeepSeek-llama).
#include "model/decoder.h"
#include "model/llama_like.h"

static const fg_names names = {FG_HF_ENDS, FG_HF_ATTENTION, FG_HF_MLP, FG_HF_NORMS};
static const fg_names gguf_names = {FG_GGUF_ENDS, FG_GGUF_ATTENTION, FG_GGUF_MLP, FG_GGUF_NORMS};

static const fg_config_key keys[] = {
    FG_SIZE_KEYS(0),        FG_CONTEXT_KEY(2048),
    FG_RMS_KEY(1e-6),       FG_ACT_KEY("hidden_act", FG_ACT_SILU),
    FG_ATTENTION_BIAS_KEYS, {FG_MEMBER(mlp_bias), FG_KEY_BOOL, "mlp_bias", NULL, false},
    FG_TIED_KEY(false),
};

const fg_arch fg_arch_llama = {
    .name = "llama",
    .gguf = "llama",
    .names = &names,
    .gguf_names = &gguf_names,
    .keys = keys,
    .key_count = sizeof keys / sizeof *keys,
    .norm = FG_NORM_RMS,
    .position = FG_POSITION_ROPE,
    .mlp = FG_MLP_GATED,
    .gguf_qk = FG_TRANSFORM_UNPERMUTE_ROPE,
    .bos = 1,
    .eos = 2,
    .build = fg_decoder_build,
};
