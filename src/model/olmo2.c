// olmo2.c: OLMo 2: norms behind the branches, norms of all of q and all of k.
#include "model/decoder.h"
#include "model/llama_like.h"

static const fg_names names = {
    FG_HF_ENDS,
    FG_HF_ATTENTION,
    FG_HF_HEAD_NORMS,
    FG_HF_MLP,
    .attn_after = "layers.%u.post_attention_layernorm",
    .mlp_after = "layers.%u.post_feedforward_layernorm",
};
static const fg_names gguf_names = {FG_GGUF_ENDS, FG_GGUF_ATTENTION, FG_GGUF_HEAD_NORMS, FG_GGUF_MLP,
                                    FG_GGUF_NORMS_BEHIND};

static const fg_config_key keys[] = {
    FG_SIZE_KEYS(0),        FG_CONTEXT_KEY(2048), FG_RMS_KEY(1e-5), FG_ACT_KEY("hidden_act", FG_ACT_SILU),
    FG_ATTENTION_BIAS_KEYS, FG_TIED_KEY(false),
};

const fg_arch fg_arch_olmo2 = {
    .name = "olmo2",
    .gguf = "olmo2",
    .names = &names,
    .gguf_names = &gguf_names,
    .keys = keys,
    .key_count = sizeof keys / sizeof *keys,
    .norm = FG_NORM_RMS,
    .norm_place = FG_NORM_AFTER,
    .position = FG_POSITION_ROPE,
    .qk_norm = FG_QK_NORM_WHOLE,
    .mlp = FG_MLP_GATED,
    .bos = -1,
    .eos = 50279,
    .build = fg_decoder_build,
};
