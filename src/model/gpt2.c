// gpt2.c: GPT-2 and GPT-BigCode (StarCoder 1, SantaCoder), which keeps its matrices the usual way round and
// may have one head of keys for all of queries.
#include <math.h>

#include "base/json.h"
#include "model/decoder.h"
#include "model/llama_like.h"

#define NAMES                                                                                                \
  .prefixes = {"transformer."}, .embed = "wte", .positions = "wpe", .final_norm = "ln_f", .head = "lm_head", \
  .attn_norm = "h.%u.ln_1", .qkv = "h.%u.attn.c_attn", .attn_out = "h.%u.attn.c_proj",                       \
  .mlp_norm = "h.%u.ln_2", .up = "h.%u.mlp.c_fc", .down = "h.%u.mlp.c_proj"

static const fg_names gpt2_names = {NAMES, .transposed = true};
static const fg_names bigcode_names = {NAMES};

static const fg_names gguf_names = {
    FG_GGUF_ENDS, FG_GGUF_FUSED_ATTENTION, FG_GGUF_NORMS, FG_GGUF_PLAIN_MLP, .positions = "position_embd",
};

static const fg_config_key keys[] = {
    {FG_MEMBER(hidden), FG_KEY_U32, "n_embd", "embedding_length", 0},
    {FG_MEMBER(hidden), FG_KEY_U32, "hidden_size", NULL, FG_KEEP},
    {FG_MEMBER(layers), FG_KEY_U32, "n_layer", "block_count", 0},
    {FG_MEMBER(layers), FG_KEY_U32, "num_hidden_layers", NULL, FG_KEEP},
    {FG_MEMBER(heads), FG_KEY_U32, "n_head", "attention.head_count", 0},
    {FG_MEMBER(heads), FG_KEY_U32, "num_attention_heads", NULL, FG_KEEP},
    {FG_MEMBER(kv_heads), FG_KEY_U32, NULL, "attention.head_count_kv", 0},
    {FG_MEMBER(ffn), FG_KEY_U32, "n_inner", "feed_forward_length", 0},
    {FG_MEMBER(vocab), FG_KEY_U32, "vocab_size", "vocab_size", 0},
    {FG_MEMBER(max_positions), FG_KEY_U32, "n_positions", "context_length", 1024},
    {FG_MEMBER(max_positions), FG_KEY_U32, "max_position_embeddings", NULL, FG_KEEP},
    {FG_MEMBER(norm_eps), FG_KEY_F64, "layer_norm_epsilon", "attention.layer_norm_epsilon", 1e-5},
    {FG_MEMBER(activation), FG_KEY_ACTIVATION, "activation_function", NULL, FG_ACT_GELU_TANH},
    {FG_MEMBER(qkv_bias), FG_KEY_BOOL, NULL, NULL, true},
    {FG_MEMBER(out_bias), FG_KEY_BOOL, NULL, NULL, true},
    {FG_MEMBER(mlp_bias), FG_KEY_BOOL, NULL, NULL, true},
    {FG_MEMBER(tied), FG_KEY_BOOL, "tie_word_embeddings", NULL, true},
};

static fg_status check_cross_attention(const json_t *root, fg_error *err) {
  bool cross;
  fg_status status = fg_json_bool(root, "add_cross_attention", false, &cross, err);
  if (status || !cross) return status;
  return fg_fail(err, FG_UNSUPPORTED,
                 "\"add_cross_attention\": layers that look at an encoder are not supported");
}

// Scores are divided by the root of the head's width, and by the number of the layer, if the flags say so.
static fg_status refine_gpt2(fg_config *config, const json_t *root, fg_error *err) {
  bool scaled, by_layer;
  fg_status status = check_cross_attention(root, err);
  if (!status) status = fg_json_bool(root, "scale_attn_weights", true, &scaled, err);
  if (!status) status = fg_json_bool(root, "scale_attn_by_inverse_layer_idx", false, &by_layer, err);
  if (status) return status;
  config->score_scale = scaled ? 1 / sqrt(config->head_dim) : 1;
  if (!by_layer) return FG_OK;
  config->kind_count = 0;
  for (uint32_t i = 0; i < config->layers && i < FG_MAX_LAYERS && !status; i++) {
    const fg_layer_kind kind = {.score_scale = config->score_scale / (i + 1)};
    status = fg_config_kind(config, &kind, &config->kind_of_layer[i], err);
  }
  return status;
}

static fg_status refine_bigcode(fg_config *config, const json_t *root, fg_error *err) {
  bool scaled, multi_query;
  fg_status status = check_cross_attention(root, err);
  if (!status) status = fg_json_bool(root, "scale_attn_weights", true, &scaled, err);
  if (!status) status = fg_json_bool(root, "multi_query", true, &multi_query, err);
  if (status) return status;
  if (!scaled) config->score_scale = 1;
  config->kv_heads = multi_query ? 1 : config->heads;
  config->qkv_groups = config->kv_heads; // q, k and v of each head, or of all
  return FG_OK;
}

const fg_arch fg_arch_gpt2 = {
    .name = "gpt2",
    .gguf = "gpt2",
    .names = &gpt2_names,
    .gguf_names = &gguf_names,
    .keys = keys,
    .key_count = sizeof keys / sizeof *keys,
    .ffn_times = 4,
    .norm = FG_NORM_LAYER,
    .position = FG_POSITION_LEARNED,
    .qkv_groups = 1,
    .mlp = FG_MLP_PLAIN,
    .bos = 50256,
    .eos = 50256,
    .refine = refine_gpt2,
    .build = fg_decoder_build,
};

const fg_arch fg_arch_gpt_bigcode = {
    .name = "gpt_bigcode",
    .gguf = "starcoder",
    .names = &bigcode_names,
    .gguf_names = &gguf_names,
    .keys = keys,
    .key_count = sizeof keys / sizeof *keys,
    .ffn_times = 4,
    .norm = FG_NORM_LAYER,
    .position = FG_POSITION_LEARNED,
    .qkv_groups = 1,
    .mlp = FG_MLP_PLAIN,
    .bos = 50256,
    .eos = 50256,
    .refine = refine_bigcode,
    .build = fg_decoder_build,
};
