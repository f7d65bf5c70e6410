// internlm2.c: InternLM2, of remote code: Llama under other names, q, k and v fused in groups.
#include "model/decoder.h"
#include "model/llama_like.h"

static const fg_names names = {
    .prefixes = {"model."},
    .embed = "tok_embeddings",
    .final_norm = "norm",
    .head = "output",
    .attn_norm = "layers.%u.attention_norm",
    .qkv = "layers.%u.attention.wqkv",
    .attn_out = "layers.%u.attention.wo",
    .mlp_norm = "layers.%u.ffn_norm",
    .gate = "layers.%u.feed_forward.w1",
    .up = "layers.%u.feed_forward.w3",
    .down = "layers.%u.feed_forward.w2",
};

static const fg_names gguf_names = {FG_GGUF_ENDS, FG_GGUF_ATTENTION, FG_GGUF_MLP, FG_GGUF_NORMS};

static const fg_config_key keys[] = {
    FG_SIZE_KEYS(0),
    FG_CONTEXT_KEY(2048),
    FG_RMS_KEY(1e-6),
    FG_ACT_KEY("hidden_act", FG_ACT_SILU),
    {FG_MEMBER(qkv_bias), FG_KEY_BOOL, "bias", NULL, true},
    {FG_MEMBER(out_bias), FG_KEY_BOOL, "bias", NULL, true},
    FG_TIED_KEY(false),
};

// There q, k and v are three tensors.
static fg_status refine_gguf(fg_config *config, const fg_gguf *gguf, fg_error *err) {
  (void)gguf, (void)err;
  config->qkv_groups = 0;
  return FG_OK;
}

const fg_arch fg_arch_internlm2 = {
    .name = "internlm2",
    .gguf = "internlm2",
    .names = &names,
    .gguf_names = &gguf_names,
    .keys = keys,
    .key_count = sizeof keys / sizeof *keys,
    .norm = FG_NORM_RMS,
    .position = FG_POSITION_ROPE,
    .qkv_groups = FG_QKV_KV_HEADS,
    .mlp = FG_MLP_GATED,
    .gguf_qk = FG_TRANSFORM_UNPERMUTE_ROPE,
    .bos = 1,
    .eos = 2,
    .refine_gguf = refine_gguf,
    .build = fg_decoder_build,
};
