// opt.c: OPT 125m to 175b, OPT-IML, Galactica. 350m differs: norms behind the additions, and embeddings of
// another width. Galactica's files and configurations do not always agree on biases and weights of norms.
#include "model/arch.h"
#include "model/decoder.h"

static const fg_names names = {
    .prefixes = {"model.decoder.", "decoder.", "model."},
    .embed = "embed_tokens",
    .positions = "embed_positions",
    .project_in = "project_in",
    .project_out = "project_out",
    .final_norm = "final_layer_norm",
    .head = "lm_head",
    .attn_norm = "layers.%u.self_attn_layer_norm",
    .q = "layers.%u.self_attn.q_proj",
    .k = "layers.%u.self_attn.k_proj",
    .v = "layers.%u.self_attn.v_proj",
    .attn_out = "layers.%u.self_attn.out_proj",
    .mlp_norm = "layers.%u.final_layer_norm",
    .up = "layers.%u.fc1",
    .down = "layers.%u.fc2",
};

#define MEMBER(m) offsetof(fg_config, m)
static const fg_config_key keys[] = {
    {MEMBER(hidden), FG_KEY_U32, "hidden_size", NULL, FG_REQUIRED},
    {MEMBER(layers), FG_KEY_U32, "num_hidden_layers", NULL, FG_REQUIRED},
    {MEMBER(heads), FG_KEY_U32, "num_attention_heads", NULL, FG_REQUIRED},
    {MEMBER(ffn), FG_KEY_U32, "ffn_dim", NULL, FG_REQUIRED},
    {MEMBER(vocab), FG_KEY_U32, "vocab_size", NULL, FG_REQUIRED},
    {MEMBER(embed), FG_KEY_U32, "word_embed_proj_dim", NULL, 0},
    {MEMBER(max_positions), FG_KEY_U32, "max_position_embeddings", NULL, 2048},
    {MEMBER(norm_eps), FG_KEY_F64, NULL, NULL, 1e-5}, // fixed in the reference
    {MEMBER(activation), FG_KEY_ACTIVATION, "activation_function", NULL, FG_ACT_RELU},
    {MEMBER(qkv_bias), FG_KEY_BOOL, "enable_bias", NULL, true},
    {MEMBER(out_bias), FG_KEY_BOOL, "enable_bias", NULL, true},
    {MEMBER(mlp_bias), FG_KEY_BOOL, "enable_bias", NULL, true},
    {MEMBER(norm_affine), FG_KEY_BOOL, "layer_norm_elementwise_affine", NULL, true},
    {MEMBER(norms_before), FG_KEY_BOOL, "do_layer_norm_before", NULL, true},
    {MEMBER(no_final_norm), FG_KEY_BOOL, "_remove_final_layer_norm", NULL, false},
    {MEMBER(tied), FG_KEY_BOOL, "tie_word_embeddings", NULL, true},
};

const fg_arch fg_arch_opt = {
    .name = "opt",
    .names = &names,
    .keys = keys,
    .key_count = sizeof keys / sizeof *keys,
    .tensors_decide = true,
    .norm = FG_NORM_LAYER,
    .position = FG_POSITION_LEARNED,
    .position_offset = 2,
    .mlp = FG_MLP_PLAIN,
    .bos = 2,
    .eos = 2,
    .build = fg_decoder_build,
};
