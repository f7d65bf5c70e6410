// nemotron.c: Nemotron-4 and Minitron: layer norms whose weights are stored less one, half of a head turned,
// a feed-forward branch of relu squared that is not gated.
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
    FG_SIZE_KEYS(0),
    FG_CONTEXT_KEY(4096),
    FG_LAYER_NORM_KEY("norm_eps"),
    FG_ACT_KEY("hidden_act", FG_ACT_RELU_SQUARED),
    FG_ATTENTION_BIAS_KEYS,
    {FG_MEMBER(mlp_bias), FG_KEY_BOOL, "mlp_bias", NULL, false},
    FG_TIED_KEY(false),
};

const fg_arch fg_arch_nemotron = {
    .name = "nemotron",
    .gguf = "nemotron",
    .names = &names,
    .gguf_names = &gguf_names,
    .keys = keys,
    .key_count = sizeof keys / sizeof *keys,
    .norm = FG_NORM_LAYER,
    .norm_less_one = true,
    .position = FG_POSITION_ROPE,
    .partial = 0.5,
    .mlp = FG_MLP_PLAIN,
    .bos = 2,
    .eos = 3,
    .build = fg_decoder_build,
};
