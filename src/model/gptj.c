// gptj.c: GPT-J and CodeGen: one norm, from which attention and feed-forward both start. CodeGen has q, v and
// k (in this order) in one tensor, a quarter of the heads at a time.
#include "model/arch.h"
#include "model/decoder.h"

#define NAMES                                                                                                \
  .prefixes = {"transformer."}, .embed = "wte", .final_norm = "ln_f", .head = "lm_head",                     \
  .attn_norm = "h.%u.ln_1", .attn_out = "h.%u.attn.out_proj", .up = "h.%u.mlp.fc_in",                        \
  .down = "h.%u.mlp.fc_out"

static const fg_names gptj_names = {NAMES, .q = "h.%u.attn.q_proj", .k = "h.%u.attn.k_proj",
                                    .v = "h.%u.attn.v_proj"};
static const fg_names codegen_names = {NAMES, .qkv = "h.%u.attn.qkv_proj"};

#define MEMBER(m) offsetof(fg_config, m)
static const fg_config_key keys[] = {
    {MEMBER(hidden), FG_KEY_U32, "n_embd", NULL, 0},
    {MEMBER(hidden), FG_KEY_U32, "hidden_size", NULL, FG_KEEP},
    {MEMBER(layers), FG_KEY_U32, "n_layer", NULL, 0},
    {MEMBER(layers), FG_KEY_U32, "num_hidden_layers", NULL, FG_KEEP},
    {MEMBER(heads), FG_KEY_U32, "n_head", NULL, 0},
    {MEMBER(heads), FG_KEY_U32, "num_attention_heads", NULL, FG_KEEP},
    {MEMBER(ffn), FG_KEY_U32, "n_inner", NULL, 0},
    {MEMBER(rotary), FG_KEY_U32, "rotary_dim", NULL, 64},
    {MEMBER(vocab), FG_KEY_U32, "vocab_size", NULL, FG_REQUIRED},
    {MEMBER(max_positions), FG_KEY_U32, "n_positions", NULL, 2048},
    {MEMBER(max_positions), FG_KEY_U32, "max_position_embeddings", NULL, FG_KEEP},
    {MEMBER(norm_eps), FG_KEY_F64, "layer_norm_epsilon", NULL, 1e-5},
    {MEMBER(activation), FG_KEY_ACTIVATION, "activation_function", NULL, FG_ACT_GELU_TANH},
    {MEMBER(v_before_k), FG_KEY_BOOL, NULL, NULL, true}, // where they stand in one tensor
    {MEMBER(mlp_bias), FG_KEY_BOOL, NULL, NULL, true},
    {MEMBER(head_bias), FG_KEY_BOOL, NULL, NULL, true},
    {MEMBER(tied), FG_KEY_BOOL, "tie_word_embeddings", NULL, false},
};

const fg_arch fg_arch_gptj = {
    .name = "gptj",
    .names = &gptj_names,
    .keys = keys,
    .key_count = sizeof keys / sizeof *keys,
    .ffn_times = 4,
    .norm = FG_NORM_LAYER,
    .position = FG_POSITION_ROPE,
    .rope_interleaved = true,
    .residual = FG_RESIDUAL_SHARED,
    .mlp = FG_MLP_PLAIN,
    .bos = 50256,
    .eos = 50256,
    .build = fg_decoder_build,
};

const fg_arch fg_arch_codegen = {
    .name = "codegen",
    .names = &codegen_names,
    .keys = keys,
    .key_count = sizeof keys / sizeof *keys,
    .ffn_times = 4,
    .norm = FG_NORM_LAYER,
    .position = FG_POSITION_ROPE,
    .rope_interleaved = true,
    .residual = FG_RESIDUAL_SHARED,
    .qkv_groups = 4,
    .mlp = FG_MLP_PLAIN,
    .bos = 50256,
    .eos = 50256,
    .build = fg_decoder_build,
};
