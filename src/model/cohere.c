// cohere.c: Command-R: both branches from one norm without bias, pairs turned side by side, scaled logits.
// Cohere 2: local layers, which alone are turned.
#include "base/json.h"
#include "format/gguf.h"
#include "model/decoder.h"
#include "model/llama_like.h"

#define ONE_NORM .attn_norm = "layers.%u.input_layernorm"
static const fg_names names = {FG_HF_ENDS, FG_HF_ATTENTION, FG_HF_HEAD_NORMS, FG_HF_MLP, ONE_NORM};
static const fg_names gguf_names = {FG_GGUF_ENDS, FG_GGUF_ATTENTION, FG_GGUF_HEAD_NORMS, FG_GGUF_MLP,
                                    .attn_norm = "blk.%u.attn_norm"};

#define COMMON_KEYS                                                                                          \
  FG_SIZE_KEYS(0), FG_CONTEXT_KEY(8192), FG_LAYER_NORM_KEY("layer_norm_eps"),                                \
      FG_ACT_KEY("hidden_act", FG_ACT_SILU), FG_ATTENTION_BIAS_KEYS, FG_TIED_KEY(true), {                    \
    FG_MEMBER(logit_scale), FG_KEY_F64, "logit_scale", "logit_scale", 0.0625                                 \
  }
static const fg_config_key keys[] = {COMMON_KEYS};
static const fg_config_key keys2[] = {
    COMMON_KEYS,
    {FG_MEMBER(window), FG_KEY_U32, NULL, "attention.sliding_window", 4096},
    {FG_MEMBER(window_pattern), FG_KEY_U32, "sliding_window_pattern", "attention.sliding_window_pattern", 4},
};
static const char *const reads2[] = {"sliding_window", "layer_types", NULL};

static fg_status refine(fg_config *config, const json_t *root, fg_error *err) {
  bool norms = false;
  fg_status status = fg_json_bool(root, "use_qk_norm", false, &norms, err);
  config->qk_norm = norms ? FG_QK_NORM_APART : FG_QK_NORM_NONE;
  return status;
}

static fg_status refine_gguf(fg_config *config, const fg_gguf *gguf, fg_error *err) {
  (void)err;
  if (fg_config_gguf_holds(gguf, "blk.0.attn_q_norm.weight")) config->qk_norm = FG_QK_NORM_APART;
  return FG_OK;
}

static bool is_local(const fg_config *config, uint32_t layer) {
  return (layer + 1) % config->window_pattern != 0;
}

static fg_status local_layers(fg_config *config, const json_t *root, fg_error *err) {
  if (!config->window_pattern) return fg_fail(err, FG_INVALID, "\"sliding_window_pattern\" is 0");
  fg_status status = fg_config_some_local(config, root, config->window, is_local, err);
  fg_config_turn_by_window(config, FG_LAYER_ROPE, FG_LAYER_NO_ROPE);
  return status;
}

static fg_status refine2(fg_config *config, const json_t *root, fg_error *err) {
  fg_status status = fg_config_window(root, 4096, &config->window, err);
  return status ? status : local_layers(config, root, err);
}

static fg_status refine_gguf2(fg_config *config, const fg_gguf *gguf, fg_error *err) {
  (void)gguf;
  return local_layers(config, NULL, err);
}

#define COHERE_ROW                                                                                           \
  .names = &names, .gguf_names = &gguf_names, .norm = FG_NORM_LAYER, .norm_unbiased = true,                  \
  .position = FG_POSITION_ROPE, .rope_interleaved = true, .residual = FG_RESIDUAL_SHARED,                    \
  .mlp = FG_MLP_GATED, .bos = 5, .eos = 255001, .build = fg_decoder_build

const fg_arch fg_arch_cohere = {
    COHERE_ROW,
    .name = "cohere",
    .gguf = "command-r",
    .keys = keys,
    .key_count = sizeof keys / sizeof *keys,
    .theta = 5e5,
    .refine = refine,
    .refine_gguf = refine_gguf,
};

const fg_arch fg_arch_cohere2 = {
    COHERE_ROW,
    .name = "cohere2",
    .gguf = "cohere2",
    .keys = keys2,
    .key_count = sizeof keys2 / sizeof *keys2,
    .reads = reads2,
    .refine = refine2,
    .refine_gguf = refine_gguf2,
};
