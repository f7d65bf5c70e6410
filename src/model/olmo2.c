// olmo2.c: OLMo 2: norms behind the branches, norms of all of q and all of k. In GGUF files OLMo 3 too, which
// has windows.
#include "format/gguf.h"
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
    FG_SIZE_KEYS(0),
    FG_CONTEXT_KEY(2048),
    FG_RMS_KEY(1e-5),
    FG_ACT_KEY("hidden_act", FG_ACT_SILU),
    FG_ATTENTION_BIAS_KEYS,
    FG_TIED_KEY(false),
    {FG_MEMBER(window), FG_KEY_U32, NULL, "attention.sliding_window", 0},
};

// Layers with a window are turned without scaling. Files of the first converter have all of yarn's magnitude
// under this key, later ones do not have it.
static fg_status refine_gguf(fg_config *config, const fg_gguf *gguf, fg_error *err) {
  fg_rope *rope = config->rope;
  float magnitude = (float)rope->magnitude, theta = (float)rope->theta;
  if (!config->window) return FG_OK;
  fg_status status = fg_gguf_f32(gguf, "olmo2.rope.scaling.attn_factor", magnitude, &magnitude, err);
  if (!status) status = fg_gguf_f32(gguf, "olmo2.rope.freq_base_swa", theta, &theta, err);
  if (!status && !(theta > 0))
    return fg_fail(err, FG_INVALID, "olmo2.rope.freq_base_swa is %g", (double)theta);
  config->rope[1] = (fg_rope){.theta = theta, .partial = 1, .factor = 1, .magnitude = 1};
  if (!status) status = fg_config_gguf_local(config, gguf, 4, err);
  if (!status) fg_config_turn_by_window(config, FG_LAYER_ROPE_LOCAL, FG_LAYER_ROPE);
  rope->magnitude = (double)magnitude;
  return status;
}

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
    .refine_gguf = refine_gguf,
    .build = fg_decoder_build,
};
