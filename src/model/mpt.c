// mpt.c: MPT: ALiBi, norms without biases, q | k | v clamped together.
//
// Of the many switches of its configuration only those are read that the reference reads: ALiBi with slopes
// down to 2^-8 is always on, the feed-forward is always four times as wide, there never is a bias.
#include "base/json.h"
#include "format/gguf.h"
#include "model/decoder.h"
#include "model/llama_like.h"

static const fg_names names = {
    .prefixes = {"transformer."},
    .embed = "wte",
    .final_norm = "norm_f",
    .head = "lm_head",
    .attn_norm = "blocks.%u.norm_1",
    .qkv = "blocks.%u.attn.Wqkv",
    .attn_out = "blocks.%u.attn.out_proj",
    .mlp_norm = "blocks.%u.norm_2",
    .up = "blocks.%u.ffn.up_proj",
    .down = "blocks.%u.ffn.down_proj",
};

static const fg_names gguf_names = {
    FG_GGUF_ENDS,
    FG_GGUF_FUSED_ATTENTION,
    FG_GGUF_NORMS,
    FG_GGUF_PLAIN_MLP,
};

static const fg_config_key keys[] = {
    {FG_MEMBER(hidden), FG_KEY_U32, "d_model", "embedding_length", 0},
    {FG_MEMBER(hidden), FG_KEY_U32, "hidden_size", NULL, FG_KEEP},
    {FG_MEMBER(layers), FG_KEY_U32, "n_layers", "block_count", 0},
    {FG_MEMBER(layers), FG_KEY_U32, "num_hidden_layers", NULL, FG_KEEP},
    {FG_MEMBER(heads), FG_KEY_U32, "n_heads", "attention.head_count", 0},
    {FG_MEMBER(heads), FG_KEY_U32, "num_attention_heads", NULL, FG_KEEP},
    {FG_MEMBER(kv_heads), FG_KEY_U32, NULL, "attention.head_count_kv", 0},
    {FG_MEMBER(ffn), FG_KEY_U32, NULL, "feed_forward_length", 0},
    {FG_MEMBER(vocab), FG_KEY_U32, "vocab_size", "vocab_size", 0},
    {FG_MEMBER(max_positions), FG_KEY_U32, "max_seq_len", "context_length", 2048},
    {FG_MEMBER(norm_eps), FG_KEY_F64, "layer_norm_epsilon", "attention.layer_norm_epsilon", 1e-5},
    {FG_MEMBER(activation), FG_KEY_ACTIVATION, NULL, NULL, FG_ACT_GELU_ERF},
    {FG_MEMBER(clip_qkv), FG_KEY_F64, NULL, "attention.clamp_kqv", 0},
    {FG_MEMBER(tied), FG_KEY_BOOL, "tie_word_embeddings", NULL, true},
};

static const char *const reads[] = {"logit_scale", "attention.max_alibi_bias", NULL};

static fg_status refine(fg_config *config, const json_t *root, fg_error *err) {
  const json_t *attention = json_object_get(root, "attn_config");
  if (!attention || json_is_null(attention)) return FG_OK;
  if (!json_is_object(attention)) return fg_fail(err, FG_INVALID, "\"attn_config\" is no object");
  fg_status status = fg_json_f64(attention, "clip_qkv", 0, &config->clip_qkv, err);
  if (!status) status = fg_json_f64(attention, "softmax_scale", 0, &config->score_scale, err);
  return status;
}

static fg_status refine_gguf(fg_config *config, const fg_gguf *gguf, fg_error *err) {
  float most;
  fg_status status = fg_gguf_f32(gguf, "mpt.attention.max_alibi_bias", 8, &most, err);
  if (status) return status;
  if (most != 8) {
    return fg_fail(err, FG_UNSUPPORTED, "mpt.attention.max_alibi_bias is %g, only 8 is supported",
                   (double)most);
  }
  if (fg_config_gguf_holds(gguf, "position_embd.weight")) {
    return fg_fail(err, FG_UNSUPPORTED, "position_embd.weight: MPT with learned positions is not supported");
  }
  config->qkv_groups = 1;
  return FG_OK;
}

const fg_arch fg_arch_mpt = {
    .name = "mpt",
    .gguf = "mpt",
    .names = &names,
    .gguf_names = &gguf_names,
    .keys = keys,
    .key_count = sizeof keys / sizeof *keys,
    .reads = reads,
    .ffn_times = 4,
    .norm = FG_NORM_LAYER,
    .norm_unbiased = true,
    .position = FG_POSITION_ALIBI,
    .slopes = fg_alibi_slopes, // in the same order, though its code gets them another way
    .qkv_groups = 1,
    .mlp = FG_MLP_PLAIN,
    .bos = -1,
    .eos = -1,
    .refine = refine,
    .refine_gguf = refine_gguf,
    .build = fg_decoder_build,
};
