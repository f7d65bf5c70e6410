// gpt_neo.c: GPT-Neo: scores as they are, and layers that see a window of keys between layers that see all.
#include <string.h>

#include "base/json.h"
#include "model/arch.h"
#include "model/decoder.h"

static const fg_names names = {
    .prefixes = {"transformer."},
    .embed = "wte",
    .positions = "wpe",
    .final_norm = "ln_f",
    .head = "lm_head",
    .attn_norm = "h.%u.ln_1",
    .q = "h.%u.attn.attention.q_proj",
    .k = "h.%u.attn.attention.k_proj",
    .v = "h.%u.attn.attention.v_proj",
    .attn_out = "h.%u.attn.attention.out_proj",
    .mlp_norm = "h.%u.ln_2",
    .up = "h.%u.mlp.c_fc",
    .down = "h.%u.mlp.c_proj",
};

#define MEMBER(m) offsetof(fg_config, m)
static const fg_config_key keys[] = {
    {MEMBER(hidden), FG_KEY_U32, "hidden_size", NULL, FG_REQUIRED},
    {MEMBER(layers), FG_KEY_U32, "num_layers", NULL, 0},
    {MEMBER(layers), FG_KEY_U32, "num_hidden_layers", NULL, FG_KEEP},
    {MEMBER(heads), FG_KEY_U32, "num_heads", NULL, 0},
    {MEMBER(heads), FG_KEY_U32, "num_attention_heads", NULL, FG_KEEP},
    {MEMBER(ffn), FG_KEY_U32, "intermediate_size", NULL, 0},
    {MEMBER(vocab), FG_KEY_U32, "vocab_size", NULL, FG_REQUIRED},
    {MEMBER(max_positions), FG_KEY_U32, "max_position_embeddings", NULL, 2048},
    {MEMBER(window), FG_KEY_U32, "window_size", NULL, 256},
    {MEMBER(norm_eps), FG_KEY_F64, "layer_norm_epsilon", NULL, 1e-5},
    {MEMBER(activation), FG_KEY_ACTIVATION, "activation_function", NULL, FG_ACT_GELU_TANH},
    {MEMBER(score_scale), FG_KEY_F64, NULL, NULL, 1},
    {MEMBER(out_bias), FG_KEY_BOOL, NULL, NULL, true},
    {MEMBER(mlp_bias), FG_KEY_BOOL, NULL, NULL, true},
    {MEMBER(tied), FG_KEY_BOOL, "tie_word_embeddings", NULL, true},
};

typedef struct layer_list {
  uint32_t layers, count;
  bool local[FG_MAX_LAYERS];
} layer_list;

// Adds the kinds that a list of names has. FG_INVALID: more than there are layers.
static fg_status add_kinds(layer_list *list, const json_t *types, fg_error *err) {
  for (size_t i = 0; i < json_array_size(types); i++) {
    const char *name = json_string_value(json_array_get(types, i));
    const bool local = name && strcmp(name, "local") == 0;
    if (!name || (!local && strcmp(name, "global") != 0)) {
      return fg_fail(err, FG_UNSUPPORTED, "a layer's attention is of type %s", name ? name : "(no string)");
    }
    if (list->count == list->layers || list->count == FG_MAX_LAYERS) {
      return fg_fail(err, FG_INVALID, "kinds of attention are listed for more than the %u layers",
                     list->layers);
    }
    list->local[list->count++] = local;
  }
  return FG_OK;
}

// [[["global", "local"], 12]]: lists of kinds, each as often as the number says.
static fg_status add_repeated(layer_list *list, const json_t *item, fg_error *err) {
  const json_t *types = json_array_get(item, 0), *times = json_array_get(item, 1);
  if (!json_is_array(types) || !json_is_integer(times)) {
    return fg_fail(err, FG_INVALID, "\"attention_types\": an item is no pair of kinds and their number");
  }
  fg_status status = FG_OK;
  for (json_int_t i = 0; i < json_integer_value(times) && json_array_size(types) && !status; i++) {
    status = add_kinds(list, types, err);
  }
  return status;
}

static fg_status refine(fg_config *config, const json_t *root, fg_error *err) {
  layer_list list = {.layers = config->layers};
  const json_t *flat = json_object_get(root, "attention_layers"),
               *types = json_object_get(root, "attention_types");
  fg_status status = FG_OK;
  if (json_is_array(flat)) { // the same, written out
    status = add_kinds(&list, flat, err);
  } else if (json_is_array(types)) {
    for (size_t i = 0; i < json_array_size(types) && !status; i++)
      status = add_repeated(&list, json_array_get(types, i), err);
  } else {
    for (; list.count < config->layers && list.count < FG_MAX_LAYERS; list.count++)
      list.local[list.count] = list.count % 2;
  }
  if (status) return status;
  if (list.count < config->layers && list.count < FG_MAX_LAYERS) {
    return fg_fail(err, FG_INVALID, "kinds of attention are listed for %u of %u layers", list.count,
                   config->layers);
  }
  return fg_config_two_kinds(config, list.local, &(fg_layer_kind){0},
                             &(fg_layer_kind){.window = config->window}, err);
}

const fg_arch fg_arch_gpt_neo = {
    .name = "gpt_neo",
    .names = &names,
    .keys = keys,
    .key_count = sizeof keys / sizeof *keys,
    .ffn_times = 4,
    .norm = FG_NORM_LAYER,
    .position = FG_POSITION_LEARNED,
    .mlp = FG_MLP_PLAIN,
    .bos = 50256,
    .eos = 50256,
    .refine = refine,
    .build = fg_decoder_build,
};
