// qwen.c: Qwen2, Qwen2.5 and Qwen3: Llama with biases of q, k and v, or norms of heads.
#include "base/json.h"
#include "model/decoder.h"
#include "model/llama_like.h"

static const fg_names names2 = {FG_HF_ENDS, FG_HF_ATTENTION, FG_HF_MLP, FG_HF_NORMS};
static const fg_names names3 = {FG_HF_ENDS, FG_HF_ATTENTION, FG_HF_HEAD_NORMS, FG_HF_MLP, FG_HF_NORMS};
static const fg_names gguf_names2 = {FG_GGUF_ENDS, FG_GGUF_ATTENTION, FG_GGUF_MLP, FG_GGUF_NORMS};
static const fg_names gguf_names3 = {FG_GGUF_ENDS, FG_GGUF_ATTENTION, FG_GGUF_HEAD_NORMS, FG_GGUF_MLP,
                                     FG_GGUF_NORMS};

#define COMMON_KEYS(dim)                                                                                     \
  FG_SIZE_KEYS(dim), FG_CONTEXT_KEY(32768), FG_RMS_KEY(1e-6), FG_ACT_KEY("hidden_act", FG_ACT_SILU),         \
      FG_TIED_KEY(false)
static const fg_config_key keys2[] = {COMMON_KEYS(0), {FG_MEMBER(qkv_bias), FG_KEY_BOOL, NULL, NULL, true}};
static const fg_config_key keys3[] = {COMMON_KEYS(128), FG_ATTENTION_BIAS_KEYS};
static const char *const reads[] = {"sliding_window", "layer_types", NULL};

static bool is_local(const fg_config *config, uint32_t layer) {
  return layer >= config->window_pattern;
}

static fg_status refine(fg_config *config, const json_t *root, fg_error *err) {
  bool use;
  uint32_t window = 0;
  fg_status status = fg_json_bool(root, "use_sliding_window", false, &use, err);
  if (!status && use) status = fg_config_window(root, 4096, &window, err);
  if (!status) status = fg_json_u32(root, "max_window_layers", 28, &config->window_pattern, err);
  if (status || !window) return status;
  return fg_config_some_local(config, root, window, is_local, err);
}

const fg_arch fg_arch_qwen2 = {
    .name = "qwen2",
    .gguf = "qwen2",
    .names = &names2,
    .gguf_names = &gguf_names2,
    .keys = keys2,
    .key_count = sizeof keys2 / sizeof *keys2,
    .reads = reads,
    .norm = FG_NORM_RMS,
    .position = FG_POSITION_ROPE,
    .mlp = FG_MLP_GATED,
    .bos = -1,
    .eos = -1,
    .refine = refine,
    .build = fg_decoder_build,
};

const fg_arch fg_arch_qwen3 = {
    .name = "qwen3",
    .gguf = "qwen3",
    .names = &names3,
    .gguf_names = &gguf_names3,
    .keys = keys3,
    .key_count = sizeof keys3 / sizeof *keys3,
    .reads = reads,
    .norm = FG_NORM_RMS,
    .position = FG_POSITION_ROPE,
    .qk_norm = FG_QK_NORM_HEAD,
    .mlp = FG_MLP_GATED,
    .bos = -1,
    .eos = -1,
    .refine = refine,
    .build = fg_decoder_build,
};
