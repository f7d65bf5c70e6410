// olmo3.c: OLMo 3: OLMo 2 three of whose four layers see a window, and are turned without scaling.
#include "base/json.h"
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

static const fg_config_key keys[] = {
    FG_SIZE_KEYS(0),        FG_CONTEXT_KEY(2048), FG_RMS_KEY(1e-5), FG_ACT_KEY("hidden_act", FG_ACT_SILU),
    FG_ATTENTION_BIAS_KEYS, FG_TIED_KEY(false),
};
static const char *const reads[] = {"sliding_window", "layer_types", NULL};

static bool is_local(const fg_config *config, uint32_t layer) {
  (void)config;
  return (layer + 1) % 4 != 0;
}

// Layers with a window have an object of their own; where configurations are older, rope_scaling is that of
// the others alone.
static fg_status refine(fg_config *config, const json_t *root, fg_error *err) {
  fg_rope *local = &config->rope[1];
  *local = (fg_rope){.theta = 5e5, .partial = 1, .factor = 1, .magnitude = 1};
  fg_status status = fg_json_f64(root, "rope_theta", local->theta, &local->theta, err);
  const json_t *own = json_object_get(json_object_get(root, "rope_parameters"), "sliding_attention");
  if (!status) status = fg_rope_from_object(local, config->arch, own, config->max_positions, err);
  if (!status) status = fg_config_window(root, 4096, &config->window, err);
  if (!status) status = fg_config_some_local(config, root, config->window, is_local, err);
  if (!status) fg_config_turn_by_window(config, FG_LAYER_ROPE_LOCAL, FG_LAYER_ROPE);
  return status;
}

const fg_arch fg_arch_olmo3 = {
    .name = "olmo3",
    .names = &names,
    .keys = keys,
    .key_count = sizeof keys / sizeof *keys,
    .reads = reads,
    .norm = FG_NORM_RMS,
    .norm_place = FG_NORM_AFTER,
    .position = FG_POSITION_ROPE,
    .theta = 5e5,
    .qk_norm = FG_QK_NORM_WHOLE,
    .mlp = FG_MLP_GATED,
    .bos = -1,
    .eos = 50279,
    .refine = refine,
    .build = fg_decoder_build,
};
