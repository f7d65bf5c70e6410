// exaone4.c: EXAONE 4: norms behind the branches and of each head; where there are windows, three of four
// layers have one and alone are turned.
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
static const fg_names gguf_names = {FG_GGUF_ENDS, FG_GGUF_ATTENTION, FG_GGUF_HEAD_NORMS, FG_GGUF_MLP,
                                    FG_GGUF_NORMS_BEHIND};

static const fg_config_key keys[] = {
    FG_SIZE_KEYS(0),    FG_CONTEXT_KEY(2048),
    FG_RMS_KEY(1e-5),   FG_ACT_KEY("hidden_act", FG_ACT_SILU),
    FG_TIED_KEY(false), {FG_MEMBER(window), FG_KEY_U32, NULL, "attention.sliding_window", 0},
};
static const char *const reads[] = {"sliding_window", "layer_types", NULL};

static bool is_local(const fg_config *config, uint32_t layer) {
  return (layer + 1) % config->window_pattern != 0;
}

static fg_status refine(fg_config *config, const json_t *root, fg_error *err) {
  const json_t *types = json_object_get(root, "layer_types");
  fg_status status = fg_config_window(root, 4096, &config->window, err);
  if (status || !config->window) return status;
  config->window_pattern = 4;
  // A pattern of letters has a list of layer types beside it, which says the same.
  if (!types || json_is_null(types))
    status = fg_json_u32(root, "sliding_window_pattern", 4, &config->window_pattern, err);
  if (status) return status;
  if (!config->window_pattern) return fg_fail(err, FG_INVALID, "\"sliding_window_pattern\" is 0");
  status = fg_config_some_local(config, root, config->window, is_local, err);
  if (!status) fg_config_turn_by_window(config, FG_LAYER_ROPE, FG_LAYER_NO_ROPE);
  return status;
}

static fg_status refine_gguf(fg_config *config, const fg_gguf *gguf, fg_error *err) {
  if (!config->window) return FG_OK;
  fg_status status = fg_config_gguf_local(config, gguf, 4, err);
  if (!status) fg_config_turn_by_window(config, FG_LAYER_ROPE, FG_LAYER_NO_ROPE);
  return status;
}

const fg_arch fg_arch_exaone4 = {
    .name = "exaone4",
    .gguf = "exaone4",
    .names = &names,
    .gguf_names = &gguf_names,
    .keys = keys,
    .key_count = sizeof keys / sizeof *keys,
    .reads = reads,
    .norm = FG_NORM_RMS,
    .norm_place = FG_NORM_AFTER,
    .position = FG_POSITION_ROPE,
    .qk_norm = FG_QK_NORM_HEAD,
    .mlp = FG_MLP_GATED,
    .bos = 0,
    .eos = 2,
    .refine = refine,
    .refine_gguf = refine_gguf,
    .build = fg_decoder_build,
};
