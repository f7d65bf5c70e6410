// phi.c: Phi-1, 1.5 and 2: LayerNorm, both branches from one norm, part of each head turned; Phi-3 and 4:
// Llama with fused matrices.
#include "base/json.h"
#include "model/decoder.h"
#include "model/llama_like.h"

static const fg_names names = {
    .prefixes = {"model."},
    .embed = "embed_tokens",
    .final_norm = "final_layernorm",
    .head = "lm_head",
    .attn_norm = "layers.%u.input_layernorm",
    .q = "layers.%u.self_attn.q_proj",
    .k = "layers.%u.self_attn.k_proj",
    .v = "layers.%u.self_attn.v_proj",
    .q_norm = "layers.%u.self_attn.q_layernorm",
    .k_norm = "layers.%u.self_attn.k_layernorm",
    .attn_out = "layers.%u.self_attn.dense",
    .up = "layers.%u.mlp.fc1",
    .down = "layers.%u.mlp.fc2",
};

static const fg_names gguf_names = {FG_GGUF_ENDS, FG_GGUF_ATTENTION, .attn_norm = "blk.%u.attn_norm",
                                    .up = "blk.%u.ffn_up", .down = "blk.%u.ffn_down"};

static const fg_config_key keys[] = {
    FG_SIZE_KEYS(0),
    FG_CONTEXT_KEY(2048),
    FG_LAYER_NORM_KEY("layer_norm_eps"),
    FG_ACT_KEY("hidden_act", FG_ACT_GELU_TANH),
    {FG_MEMBER(qkv_bias), FG_KEY_BOOL, NULL, NULL, true},
    {FG_MEMBER(out_bias), FG_KEY_BOOL, NULL, NULL, true},
    {FG_MEMBER(mlp_bias), FG_KEY_BOOL, NULL, NULL, true},
    {FG_MEMBER(head_bias), FG_KEY_BOOL, NULL, NULL, true},
    FG_TIED_KEY(false),
};

static fg_status refine(fg_config *config, const json_t *root, fg_error *err) {
  bool norms = false;
  fg_status status = fg_json_bool(root, "qk_layernorm", false, &norms, err);
  config->qk_norm = norms ? FG_QK_NORM_HEAD : FG_QK_NORM_NONE;
  config->qk_norm_bias = norms;
  return status;
}

const fg_arch fg_arch_phi = {
    .name = "phi",
    .gguf = "phi2",
    .names = &names,
    .gguf_names = &gguf_names,
    .keys = keys,
    .key_count = sizeof keys / sizeof *keys,
    .norm = FG_NORM_LAYER,
    .position = FG_POSITION_ROPE,
    .partial = 0.5,
    .residual = FG_RESIDUAL_SHARED,
    .mlp = FG_MLP_PLAIN,
    .bos = 1,
    .eos = 2,
    .refine = refine,
    .build = fg_decoder_build,
};

// ---- Phi-3 ---------------------------------------------------------------------------------------------

#define FUSED_NAMES                                                                                          \
  .qkv = "layers.%u.self_attn.qkv_proj", .attn_out = "layers.%u.self_attn.o_proj",                           \
  .gate_up = "layers.%u.mlp.gate_up_proj", .down = "layers.%u.mlp.down_proj"
static const fg_names names3 = {FG_HF_ENDS, FG_HF_NORMS, FUSED_NAMES};

static const fg_names gguf_names3 = {FG_GGUF_ENDS,
                                     FG_GGUF_NORMS,
                                     .qkv = "blk.%u.attn_qkv",
                                     .attn_out = "blk.%u.attn_output",
                                     .gate_up = "blk.%u.ffn_up",
                                     .down = "blk.%u.ffn_down"};

static const fg_config_key keys3[] = {
    FG_SIZE_KEYS(0),    FG_CONTEXT_KEY(4096),
    FG_RMS_KEY(1e-5),   FG_ACT_KEY("hidden_act", FG_ACT_SILU),
    FG_TIED_KEY(false), {FG_MEMBER(window), FG_KEY_U32, NULL, "attention.sliding_window", 0},
};
static const char *const reads3[] = {"sliding_window", NULL};

static fg_status refine3(fg_config *config, const json_t *root, fg_error *err) {
  uint32_t window;
  fg_status status = fg_config_window(root, 0, &window, err);
  if (!status) fg_config_all_local(config, window);
  return status;
}

static fg_status refine_gguf3(fg_config *config, const fg_gguf *gguf, fg_error *err) {
  (void)gguf, (void)err;
  fg_config_all_local(config, config->window);
  return FG_OK;
}

const fg_arch fg_arch_phi3 = {
    .name = "phi3",
    .gguf = "phi3",
    .names = &names3,
    .gguf_names = &gguf_names3,
    .keys = keys3,
    .key_count = sizeof keys3 / sizeof *keys3,
    .reads = reads3,
    .norm = FG_NORM_RMS,
    .position = FG_POSITION_ROPE,
    .partial = 1,
    .qkv_groups = 1,
    .mlp = FG_MLP_GATED,
    .bos = 1,
    .eos = 32000,
    .refine = refine3,
    .refine_gguf = refine_gguf3,
    .build = fg_decoder_build,
};
