// falcon.c: Falcon in its four forms.
//
// | form       | q, k, v                               | norms                            | branches |
// |------------|---------------------------------------|----------------------------------|------------------|
// | 7b         | all of q, one head of k, one of v     | input_layernorm                  | from one norm |
// | 40b, 180b  | for each head of k: its q, itself, v  | ln_attn, ln_mlp                  | from two | | 11b
// | the same                              | input_layernorm                  | from one         | | rw | for
// each head: q, k, v                | input_, post_attention_layernorm | after each other |
//
// ALiBi, which only the last one uses, is computed in bfloat16 and scaled with the scores.
#include <string.h>

#include "base/json.h"
#include "format/gguf.h"
#include "model/arch.h"
#include "model/decoder.h"

#define NAMES                                                                                                \
  .prefixes = {"transformer."}, .embed = "word_embeddings", .final_norm = "ln_f", .head = "lm_head",         \
  .qkv = "h.%u.self_attention.query_key_value", .attn_out = "h.%u.self_attention.dense",                     \
  .up = "h.%u.mlp.dense_h_to_4h", .down = "h.%u.mlp.dense_4h_to_h"

static const fg_names names = {NAMES, .attn_norm = "h.%u.input_layernorm",
                               .mlp_norm = "h.%u.post_attention_layernorm"};
static const fg_names names_of_two = {NAMES, .attn_norm = "h.%u.ln_attn", .mlp_norm = "h.%u.ln_mlp"};

#define GGUF_NAMES                                                                                           \
  .embed = "token_embd", .final_norm = "output_norm", .head = "output", .qkv = "blk.%u.attn_qkv",            \
  .attn_out = "blk.%u.attn_output", .up = "blk.%u.ffn_up", .down = "blk.%u.ffn_down"

static const fg_names gguf_names = {GGUF_NAMES, .attn_norm = "blk.%u.attn_norm"};
static const fg_names gguf_names_of_two = {GGUF_NAMES, .attn_norm = "blk.%u.attn_norm_2",
                                           .mlp_norm = "blk.%u.attn_norm"};

#define MEMBER(m) offsetof(fg_config, m)
static const fg_config_key keys[] = {
    {MEMBER(hidden), FG_KEY_U32, "hidden_size", "embedding_length", 0},
    {MEMBER(hidden), FG_KEY_U32, "n_embed", NULL, FG_KEEP},
    {MEMBER(layers), FG_KEY_U32, "num_hidden_layers", "block_count", 0},
    {MEMBER(layers), FG_KEY_U32, "n_layer", NULL, FG_KEEP},
    {MEMBER(heads), FG_KEY_U32, "num_attention_heads", "attention.head_count", 0},
    {MEMBER(heads), FG_KEY_U32, "n_head", NULL, FG_KEEP},
    {MEMBER(kv_heads), FG_KEY_U32, "num_kv_heads", "attention.head_count_kv", 0},
    {MEMBER(kv_heads), FG_KEY_U32, "n_head_kv", NULL, FG_KEEP},
    {MEMBER(ffn), FG_KEY_U32, "ffn_hidden_size", "feed_forward_length", 0},
    {MEMBER(vocab), FG_KEY_U32, "vocab_size", "vocab_size", 0},
    {MEMBER(max_positions), FG_KEY_U32, "max_position_embeddings", "context_length", 2048},
    {MEMBER(norm_eps), FG_KEY_F64, "layer_norm_epsilon", "attention.layer_norm_epsilon", 1e-5},
    {MEMBER(activation), FG_KEY_ACTIVATION, "activation", NULL, FG_ACT_GELU_ERF},
    {MEMBER(qkv_bias), FG_KEY_BOOL, "bias", NULL, false},
    {MEMBER(out_bias), FG_KEY_BOOL, "bias", NULL, false},
    {MEMBER(mlp_bias), FG_KEY_BOOL, "bias", NULL, false},
    {MEMBER(tied), FG_KEY_BOOL, "tie_word_embeddings", NULL, true},
};

typedef struct flags {
  bool alibi, new_form, multi_query, parallel;
  uint32_t norms;
} flags;

static fg_status read_flags(flags *out, const json_t *root, fg_error *err) {
  // RefinedWeb is what the 40b was called before there were these flags; its code knew only that form.
  const char *type = json_string_value(json_object_get(root, "model_type"));
  const bool old = type && strcmp(type, "RefinedWeb") == 0 && json_object_get(root, "n_head_kv");
  fg_status status = fg_json_bool(root, "alibi", false, &out->alibi, err);
  if (!status) status = fg_json_bool(root, "new_decoder_architecture", old, &out->new_form, err);
  if (!status) status = fg_json_bool(root, "multi_query", true, &out->multi_query, err);
  if (!status) status = fg_json_bool(root, "parallel_attn", true, &out->parallel, err);
  if (!status) status = fg_json_u32(root, "num_ln_in_parallel_attn", out->new_form ? 2 : 1, &out->norms, err);
  if (status) return status;
  if (out->new_form && !out->parallel) {
    return fg_fail(err, FG_UNSUPPORTED,
                   "\"parallel_attn\" is false, which the new decoder architecture is never");
  }
  if (out->parallel && out->norms != 1 && !(out->norms == 2 && out->new_form)) {
    return fg_fail(err, FG_UNSUPPORTED, "\"num_ln_in_parallel_attn\": %u norms are not supported here",
                   out->norms);
  }
  return FG_OK;
}

static fg_status refine(fg_config *config, const json_t *root, fg_error *err) {
  flags f;
  fg_status status = read_flags(&f, root, err);
  if (status) return status;
  if (!f.new_form) config->kv_heads = f.multi_query ? 1 : config->heads; // whatever the file says
  config->qkv_groups = config->kv_heads;
  config->residual = !f.parallel    ? FG_RESIDUAL_SEQUENTIAL
                     : f.norms == 2 ? FG_RESIDUAL_PARALLEL
                                    : FG_RESIDUAL_SHARED;
  if (config->residual == FG_RESIDUAL_PARALLEL) config->names = &names_of_two;
  if (!f.alibi) return FG_OK;
  config->position = FG_POSITION_ALIBI;
  config->head_kind = FG_HEAD_ALIBI_BF16;
  config->kinds[0].rope = FG_LAYER_NO_ROPE;
  return FG_OK;
}

static fg_status refine_gguf(fg_config *config, const fg_gguf *gguf, fg_error *err) {
  (void)err;
  if (!fg_config_gguf_holds(gguf, "blk.0.attn_norm_2.weight")) return FG_OK;
  config->residual = FG_RESIDUAL_PARALLEL;
  config->names = &gguf_names_of_two;
  return FG_OK;
}

const fg_arch fg_arch_falcon = {
    .name = "falcon",
    .aliases = {"RefinedWeb", "RefinedWebModel"},
    .gguf = "falcon",
    .names = &names,
    .gguf_names = &gguf_names,
    .keys = keys,
    .key_count = sizeof keys / sizeof *keys,
    .ffn_times = 4,
    .norm = FG_NORM_LAYER,
    .position = FG_POSITION_ROPE,
    .slopes = fg_alibi_slopes,
    .residual = FG_RESIDUAL_SHARED,
    .qkv_groups = FG_QKV_KV_HEADS,
    .mlp = FG_MLP_PLAIN,
    .bos = 11,
    .eos = 11,
    .refine = refine,
    .refine_gguf = refine_gguf,
    .build = fg_decoder_build,
};
