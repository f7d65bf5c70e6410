// olmoe.c: OLMoE: norms over all queries and all keys, a clamp, and experts in every layer.
#include "base/json.h"
#include "model/decoder.h"
#include "model/llama_like.h"

static const fg_expert_names experts = {FG_HF_EXPERTS};

static const fg_expert_names fused = {FG_HF_EXPERTS_FUSED};

static const fg_names names = {
    FG_HF_ENDS, FG_HF_ATTENTION, FG_HF_NORMS, FG_HF_HEAD_NORMS, .experts = &experts, .experts_fused = &fused,
};

static const fg_expert_names gguf_experts = {FG_GGUF_EXPERTS};

static const fg_names gguf_names = {
    FG_GGUF_ENDS, FG_GGUF_ATTENTION, FG_GGUF_NORMS, FG_GGUF_HEAD_NORMS, .experts = &gguf_experts,
};

static const fg_config_key keys[] = {
    FG_SIZE_KEYS(0),
    FG_CONTEXT_KEY(4096),
    FG_RMS_KEY(1e-5),
    FG_ACT_KEY("hidden_act", FG_ACT_SILU),
    FG_ATTENTION_BIAS_KEYS,
    FG_TIED_KEY(false),
    {FG_MEMBER(clip_qkv), FG_KEY_F64, "clip_qkv", "attention.clamp_kqv", 0},
    {FG_MEMBER(route.experts), FG_KEY_U32, "num_experts", "expert_count", 64},
    {FG_MEMBER(route.used), FG_KEY_U32, "num_experts_per_tok", "expert_used_count", 8},
    {FG_MEMBER(route.normalise), FG_KEY_BOOL, "norm_topk_prob", NULL, false},
};

static fg_status refine(fg_config *config, const json_t *root, fg_error *err) {
  (void)root;
  return fg_config_sparse(config, NULL, err);
}

static fg_status refine_gguf(fg_config *config, const fg_gguf *gguf, fg_error *err) {
  (void)gguf;
  return fg_config_sparse(config, NULL, err);
}

const fg_arch fg_arch_olmoe = {
    .name = "olmoe",
    .gguf = "olmoe",
    .names = &names,
    .gguf_names = &gguf_names,
    .keys = keys,
    .key_count = sizeof keys / sizeof *keys,
    .norm = FG_NORM_RMS,
    .position = FG_POSITION_ROPE,
    .qk_norm = FG_QK_NORM_WHOLE,
    .mlp = FG_MLP_GATED,
    .bos = -1,
    .eos = 50279,
    .refine = refine,
    .refine_gguf = refine_gguf,
    .build = fg_decoder_build,
};
