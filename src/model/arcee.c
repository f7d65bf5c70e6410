// arcee.c: Arcee: Llama whose feed-forward branch is not gated; its activation is the square of relu.
#include "model/decoder.h"
#include "model/llama_like.h"

static const fg_names names = {
    FG_HF_ENDS,
    FG_HF_ATTENTION,
    FG_HF_NORMS,
    .up = "layers.%u.mlp.up_proj",
    .down = "layers.%u.mlp.down_proj",
};
static const fg_names gguf_names = {FG_GGUF_ENDS, FG_GGUF_ATTENTION, FG_GGUF_PLAIN_MLP, FG_GGUF_NORMS};

static const fg_config_key keys[] = {
    FG_SIZE_KEYS(0),        FG_CONTEXT_KEY(4096),
    FG_RMS_KEY(1e-5),       FG_ACT_KEY("hidden_act", FG_ACT_RELU_SQUARED),
    FG_ATTENTION_BIAS_KEYS, {FG_MEMBER(mlp_bias), FG_KEY_BOOL, "mlp_bias", NULL, false},
    FG_TIED_KEY(false),
};

const fg_arch fg_arch_arcee = {
    .name = "arcee",
    .gguf = "arcee",
    .names = &names,
    .gguf_names = &gguf_names,
    .keys = keys,
    .key_count = sizeof keys / sizeof *keys,
    .norm = FG_NORM_RMS,
    .position = FG_POSITION_ROPE,
    .mlp = FG_MLP_PLAIN,
    .gguf_qk = FG_TRANSFORM_UNPERMUTE_ROPE,
    .bos = 128000,
    .eos = 128001,
    .build = fg_decoder_build,
};
