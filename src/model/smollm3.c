// smollm3.c: SmolLM3: Llama with layers that are not turned.
#include "base/json.h"
#include "model/decoder.h"
#include "model/llama_like.h"

static const fg_names names = {FG_HF_ENDS, FG_HF_ATTENTION, FG_HF_MLP, FG_HF_NORMS};
static const fg_names gguf_names = {FG_GGUF_ENDS, FG_GGUF_ATTENTION, FG_GGUF_MLP, FG_GGUF_NORMS};

static const fg_config_key keys[] = {
    FG_SIZE_KEYS(0),        FG_CONTEXT_KEY(32768),
    FG_RMS_KEY(1e-6),       FG_ACT_KEY("hidden_act", FG_ACT_SILU),
    FG_ATTENTION_BIAS_KEYS, {FG_MEMBER(mlp_bias), FG_KEY_BOOL, "mlp_bias", NULL, false},
    FG_TIED_KEY(true),
};
static const char *const reads[] = {"sliding_window", "layer_types", "no_rope_layers", NULL};

// "no_rope_layers" has a 1 for each layer that is turned. Without it every `interval`-th is not.
static fg_status turned_layers(const fg_config *config, const json_t *root, bool *turned, fg_error *err) {
  const json_t *list = json_object_get(root, "no_rope_layers");
  uint32_t interval;
  fg_status status = fg_json_u32(root, "no_rope_layer_interval", 4, &interval, err);
  if (status) return status;
  if (!interval) return fg_fail(err, FG_INVALID, "\"no_rope_layer_interval\" is 0");
  if (json_is_array(list) && json_array_size(list) < config->layers) {
    return fg_fail(err, FG_INVALID, "\"no_rope_layers\" has %zu entries for %u layers", json_array_size(list),
                   config->layers);
  }
  for (uint32_t i = 0; i < config->layers && i < FG_MAX_LAYERS; i++)
    turned[i] =
        json_is_array(list) ? json_integer_value(json_array_get(list, i)) != 0 : (i + 1) % interval != 0;
  return FG_OK;
}

static fg_status refine(fg_config *config, const json_t *root, fg_error *err) {
  bool turned[FG_MAX_LAYERS] = {false}, local[FG_MAX_LAYERS] = {false}, present, use;
  uint32_t window = 0;
  fg_status status = turned_layers(config, root, turned, err);
  if (!status) status = fg_config_layer_types(config, root, local, &present, err);
  if (!status) status = fg_json_bool(root, "use_sliding_window", false, &use, err);
  if (!status && use) status = fg_config_window(root, 0, &window, err);
  config->kind_count = 0;
  for (uint32_t i = 0; !status && i < config->layers && i < FG_MAX_LAYERS; i++) {
    const bool sees_less = window && (present ? local[i] : !turned[i]);
    const fg_layer_kind kind = {.window = sees_less ? window : 0,
                                .rope = turned[i] ? FG_LAYER_ROPE : FG_LAYER_NO_ROPE};
    status = fg_config_kind(config, &kind, &config->kind_of_layer[i], err);
  }
  return status;
}

static fg_status refine_gguf(fg_config *config, const fg_gguf *gguf, fg_error *err) {
  (void)gguf;
  return refine(config, NULL, err);
}

const fg_arch fg_arch_smollm3 = {
    .name = "smollm3",
    .gguf = "smollm3",
    .names = &names,
    .gguf_names = &gguf_names,
    .keys = keys,
    .key_count = sizeof keys / sizeof *keys,
    .reads = reads,
    .norm = FG_NORM_RMS,
    .position = FG_POSITION_ROPE,
    .theta = 2e6,
    .mlp = FG_MLP_GATED,
    .gguf_qk = FG_TRANSFORM_UNPERMUTE_ROPE,
    .bos = 128000,
    .eos = 128001,
    .refine = refine,
    .refine_gguf = refine_gguf,
    .build = fg_decoder_build,
};
