// granite.c: Granite: Llama with four factors.
#include "base/json.h"
#include "model/decoder.h"
#include "model/llama_like.h"

static const fg_names names = {FG_HF_ENDS, FG_HF_ATTENTION, FG_HF_MLP, FG_HF_NORMS};
static const fg_names gguf_names = {FG_GGUF_ENDS, FG_GGUF_ATTENTION, FG_GGUF_MLP, FG_GGUF_NORMS};

static const fg_config_key keys[] = {
    FG_SIZE_KEYS(0),
    FG_CONTEXT_KEY(2048),
    FG_RMS_KEY(1e-6),
    FG_ACT_KEY("hidden_act", FG_ACT_SILU),
    FG_ATTENTION_BIAS_KEYS,
    {FG_MEMBER(mlp_bias), FG_KEY_BOOL, "mlp_bias", NULL, false},
    FG_TIED_KEY(false),
    {FG_MEMBER(embed_scale), FG_KEY_F64, "embedding_multiplier", "embedding_scale", 1},
    {FG_MEMBER(residual_scale), FG_KEY_F64, "residual_multiplier", "residual_scale", 1},
    {FG_MEMBER(score_scale), FG_KEY_F64, "attention_multiplier", "attention.scale", 1},
    {FG_MEMBER(logit_scale), FG_KEY_F64, "logits_scaling", "logit_scale", 1}, // a divisor, until refined
};

static fg_status invert_logit_scale(fg_config *config, fg_error *err) {
  if (!(config->logit_scale != 0)) return fg_fail(err, FG_INVALID, "\"logits_scaling\" is 0");
  config->logit_scale = 1 / config->logit_scale;
  return FG_OK;
}

static fg_status refine(fg_config *config, const json_t *root, fg_error *err) {
  (void)root;
  return invert_logit_scale(config, err);
}
static fg_status refine_gguf(fg_config *config, const fg_gguf *gguf, fg_error *err) {
  (void)gguf;
  return invert_logit_scale(config, err);
}

const fg_arch fg_arch_granite = {
    .name = "granite",
    .gguf = "granite",
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
    .refine = refine,
    .refine_gguf = refine_gguf,
    .build = fg_decoder_build,
};
