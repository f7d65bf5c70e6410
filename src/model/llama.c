// llama.c: Llama 1 to 3 and what shares their form and name (TinyLlama, SmolLM2, Yi, DeepSeek-llama).
#include "model/decoder.h"
#include "model/llama_like.h"

static const fg_names names = {FG_HF_ENDS, FG_HF_ATTENTION, FG_HF_MLP, FG_HF_NORMS};

// Mixtral in a GGUF; the first form is that of the earliest files.
static const fg_expert_names gguf_experts = {
    .router = "blk.%u.ffn_gate_inp",
    .gate = "blk.%u.ffn_gate.%e",
    .up = "blk.%u.ffn_up.%e",
    .down = "blk.%u.ffn_down.%e",
};
static const fg_expert_names gguf_fused = {FG_GGUF_EXPERTS};

static const fg_names gguf_names = {FG_GGUF_ENDS,  FG_GGUF_ATTENTION,        FG_GGUF_MLP,
                                    FG_GGUF_NORMS, .experts = &gguf_experts, .experts_fused = &gguf_fused};

static const fg_config_key keys[] = {
    FG_SIZE_KEYS(0),
    FG_CONTEXT_KEY(2048),
    FG_RMS_KEY(1e-6),
    FG_ACT_KEY("hidden_act", FG_ACT_SILU),
    FG_ATTENTION_BIAS_KEYS,
    {FG_MEMBER(mlp_bias), FG_KEY_BOOL, "mlp_bias", NULL, false},
    FG_TIED_KEY(false),
    {FG_MEMBER(route.experts), FG_KEY_U32, NULL, "expert_count", 0},
    {FG_MEMBER(route.used), FG_KEY_U32, NULL, "expert_used_count", 0},
};

static fg_status refine_gguf(fg_config *config, const fg_gguf *gguf, fg_error *err) {
  (void)gguf;
  config->route.normalise = true;
  return fg_config_sparse(config, NULL, err);
}

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
    .refine_gguf = refine_gguf,
    .build = fg_decoder_build,
};
