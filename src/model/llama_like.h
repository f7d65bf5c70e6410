// llama_like.h: what families have in common, as parts of their rows: Llama's many descendants in the first
// place, and in GGUF files all of them.
#ifndef FG_MODEL_LLAMA_LIKE_H
#define FG_MODEL_LLAMA_LIKE_H

#include "model/arch.h"

// Names in Hugging Face checkpoints.
#define FG_HF_ENDS                                                                                           \
  .prefixes = {"model.", "language_model.model.", "model.language_model.", "language_model."},               \
  .embed = "embed_tokens", .final_norm = "norm", .head = "lm_head"
#define FG_HF_ATTENTION                                                                                      \
  .q = "layers.%u.self_attn.q_proj", .k = "layers.%u.self_attn.k_proj", .v = "layers.%u.self_attn.v_proj",   \
  .attn_out = "layers.%u.self_attn.o_proj"
#define FG_HF_HEAD_NORMS .q_norm = "layers.%u.self_attn.q_norm", .k_norm = "layers.%u.self_attn.k_norm"
#define FG_HF_MLP                                                                                            \
  .gate = "layers.%u.mlp.gate_proj", .up = "layers.%u.mlp.up_proj", .down = "layers.%u.mlp.down_proj"
#define FG_HF_NORMS .attn_norm = "layers.%u.input_layernorm", .mlp_norm = "layers.%u.post_attention_layernorm"

// Names in GGUF files, which all families share.
#define FG_GGUF_ENDS .embed = "token_embd", .final_norm = "output_norm", .head = "output"
#define FG_GGUF_ATTENTION                                                                                    \
  .q = "blk.%u.attn_q", .k = "blk.%u.attn_k", .v = "blk.%u.attn_v", .attn_out = "blk.%u.attn_output"
#define FG_GGUF_FUSED_ATTENTION .qkv = "blk.%u.attn_qkv", .attn_out = "blk.%u.attn_output"
#define FG_GGUF_PLAIN_MLP       .up = "blk.%u.ffn_up", .down = "blk.%u.ffn_down"
#define FG_GGUF_HEAD_NORMS      .q_norm = "blk.%u.attn_q_norm", .k_norm = "blk.%u.attn_k_norm"
#define FG_GGUF_MLP             .gate = "blk.%u.ffn_gate", .up = "blk.%u.ffn_up", .down = "blk.%u.ffn_down"
#define FG_GGUF_NORMS           .attn_norm = "blk.%u.attn_norm", .mlp_norm = "blk.%u.ffn_norm"
#define FG_GGUF_NORMS_BEHIND    .attn_after = "blk.%u.post_attention_norm", .mlp_after = "blk.%u.post_ffw_norm"

// Names of experts: of a tensor for each, of transformers' one for all, of GGUF files' one for all.
#define FG_HF_EXPERTS                                                                                        \
  .router = "layers.%u.mlp.gate", .gate = "layers.%u.mlp.experts.%e.gate_proj",                              \
  .up = "layers.%u.mlp.experts.%e.up_proj", .down = "layers.%u.mlp.experts.%e.down_proj"
#define FG_HF_EXPERTS_FUSED                                                                                  \
  .router = "layers.%u.mlp.gate", .gate_up = "layers.%u.mlp.experts.gate_up_proj",                           \
  .down = "layers.%u.mlp.experts.down_proj", .together = true, .bare = true
#define FG_GGUF_EXPERTS                                                                                      \
  .router = "blk.%u.ffn_gate_inp", .gate = "blk.%u.ffn_gate_exps", .up = "blk.%u.ffn_up_exps",               \
  .down = "blk.%u.ffn_down_exps", .together = true

#define FG_MEMBER(m) offsetof(fg_config, m)

// Keys of sizes, by the names that nearly all of them use.
#define FG_SIZE_KEYS(dim)                                                                                    \
  {FG_MEMBER(hidden), FG_KEY_U32, "hidden_size", "embedding_length", FG_REQUIRED},                           \
      {FG_MEMBER(layers), FG_KEY_U32, "num_hidden_layers", "block_count", FG_REQUIRED},                      \
      {FG_MEMBER(heads), FG_KEY_U32, "num_attention_heads", "attention.head_count", FG_REQUIRED},            \
      {FG_MEMBER(kv_heads), FG_KEY_U32, "num_key_value_heads", "attention.head_count_kv", 0},                \
      {FG_MEMBER(head_dim), FG_KEY_U32, "head_dim", "attention.key_length", dim},                            \
      {FG_MEMBER(rotary), FG_KEY_U32, NULL, "rope.dimension_count", 0},                                      \
      {FG_MEMBER(ffn), FG_KEY_U32, "intermediate_size", "feed_forward_length", FG_REQUIRED}, {               \
    FG_MEMBER(vocab), FG_KEY_U32, "vocab_size", "vocab_size", 0                                              \
  }
#define FG_CONTEXT_KEY(positions)                                                                            \
  { FG_MEMBER(max_positions), FG_KEY_U32, "max_position_embeddings", "context_length", positions }
#define FG_RMS_KEY(eps)                                                                                      \
  { FG_MEMBER(norm_eps), FG_KEY_F64, "rms_norm_eps", "attention.layer_norm_rms_epsilon", eps }
#define FG_LAYER_NORM_KEY(name)                                                                              \
  { FG_MEMBER(norm_eps), FG_KEY_F64, name, "attention.layer_norm_epsilon", 1e-5 }
#define FG_ACT_KEY(name, fallback)                                                                           \
  { FG_MEMBER(activation), FG_KEY_ACTIVATION, name, NULL, fallback }
#define FG_ATTENTION_BIAS_KEYS                                                                               \
  {FG_MEMBER(qkv_bias), FG_KEY_BOOL, "attention_bias", NULL, false}, {                                       \
    FG_MEMBER(out_bias), FG_KEY_BOOL, "attention_bias", NULL, false                                          \
  }
#define FG_TIED_KEY(tied_default)                                                                            \
  { FG_MEMBER(tied), FG_KEY_BOOL, "tie_word_embeddings", NULL, tied_default }

// All layers see a window of keys. *window: 0 where "sliding_window" is null.
fg_status fg_config_window(const json_t *root, uint32_t fallback, uint32_t *window, fg_error *err);
// Every layer sees `window` keys.
void fg_config_all_local(fg_config *config, uint32_t window);
// Layers are local by "layer_types", where that is missing by `is_local`; these see `window` keys.
fg_status fg_config_some_local(fg_config *config, const json_t *root, uint32_t window,
                               bool (*is_local)(const fg_config *config, uint32_t layer), fg_error *err);
// The same by "attention.sliding_window_pattern" of a GGUF, a list or a period; every `period`th layer sees
// all keys where that is missing.
fg_status fg_config_gguf_local(fg_config *config, const fg_gguf *gguf, uint32_t period, fg_error *err);
// How layers with a window are turned, and how those without.
void fg_config_turn_by_window(fg_config *config, fg_layer_rope local, fg_layer_rope global);

#endif
