#include "model/config.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "format/gguf.h"
#include "model/arch.h"
#include "model/stacks.h"

// Bounds on what a configuration may ask for: beyond any model, and small enough that products of two
// fit into 64 bits and sums of a few into 32.
enum { MAX_WIDTH = 1 << 24, MAX_VOCAB = 1 << 28 };

static const struct {
  const char *name;
  fg_activation activation;
} activations[] = {
    {"relu", FG_ACT_RELU},
    {"gelu", FG_ACT_GELU_ERF},
    {"gelu_python", FG_ACT_GELU_ERF},
    {"gelu_new", FG_ACT_GELU_TANH},
    {"gelu_fast", FG_ACT_GELU_TANH},
    {"gelu_pytorch_tanh", FG_ACT_GELU_TANH},
    {"silu", FG_ACT_SILU},
    {"swish", FG_ACT_SILU},
    {"gelu_python_tanh", FG_ACT_GELU_TANH},
    {"gelu_accurate", FG_ACT_GELU_TANH},
    {"relu2", FG_ACT_RELU_SQUARED},
};

// Keys that change results and that nothing here reads: allowed if missing, null, false, or this value.
typedef struct neutral_key {
  const char *key;
  double value;
} neutral_key;

static const neutral_key neutral_json[] = {
    {"sliding_window", NAN},
    {"layer_types", NAN}, // a list of "full_attention" is neutral
    {"no_rope_layers", NAN},
    {"attn_logit_softcapping", NAN},
    {"final_logit_softcapping", NAN},
    {"logit_scale", 1},
    {"logits_scaling", 1},
    {"embedding_multiplier", 1},
    {"residual_multiplier", 1},
    {"attention_multiplier", NAN},
    {"num_local_experts", 0},
    {"num_experts", 0},
    {"clip_qkv", NAN},
    {"use_bidirectional_attention", NAN},
    {NULL, 0},
};
static const neutral_key neutral_gguf[] = {
    {"expert_count", 0},
    {"attention.sliding_window", 0},
    {"attention.clamp_kqv", 0},
    {"attention.max_alibi_bias", 0},
    {"attention.scale", 0},
    {"attention.temperature_scale", 0},
    {"attn_logit_softcapping", 0},
    {"final_logit_softcapping", 0},
    {"logit_scale", 1},
    {"embedding_scale", 1},
    {"residual_scale", 1},
    {NULL, 0},
};

static bool activation_find(const char *name, fg_activation *out) {
  for (size_t i = 0; i < sizeof activations / sizeof *activations; i++) {
    if (strcmp(activations[i].name, name) == 0) {
      *out = activations[i].activation;
      return true;
    }
  }
  return false;
}

static void store_number(fg_config *config, const fg_config_key *key, double value) {
  char *member = (char *)config + key->member;
  if (value == FG_KEEP) return;
  switch (key->kind) {
  case FG_KEY_U32: *(uint32_t *)member = (uint32_t)value; break;
  case FG_KEY_F64: *(double *)member = value; break;
  case FG_KEY_BOOL: *(bool *)member = value != 0; break;
  case FG_KEY_ACTIVATION: *(fg_activation *)member = (fg_activation)value; break;
  }
}

static fg_status fill_gaps(fg_config *c, fg_error *err);

// ---- config.json ---------------------------------------------------------------------------------------

static fg_status key_from_json(fg_config *config, const fg_config_key *key, const json_t *root,
                               fg_error *err) {
  char *member = (char *)config + key->member;
  const json_t *value = key->json ? json_object_get(root, key->json) : NULL;
  if (!value || json_is_null(value)) {
    if (key->fallback == FG_REQUIRED) return fg_fail(err, FG_INVALID, "\"%s\" is missing", key->json);
    store_number(config, key, key->fallback);
    return FG_OK;
  }
  switch (key->kind) {
  case FG_KEY_U32: return fg_json_u32(root, key->json, 0, (uint32_t *)member, err);
  case FG_KEY_F64: return fg_json_f64(root, key->json, 0, (double *)member, err);
  case FG_KEY_BOOL: return fg_json_bool(root, key->json, false, (bool *)member, err);
  case FG_KEY_ACTIVATION: break;
  }
  const char *name = json_string_value(value);
  if (name && activation_find(name, (fg_activation *)member)) return FG_OK;
  return fg_fail(err, FG_UNSUPPORTED, "\"%s\": activation %s is not supported", key->json,
                 name ? name : "(no string)");
}

// Keys that the family's own table or its `refine` reads.
static bool is_read(const fg_arch *arch, const char *key, bool gguf) {
  for (uint32_t i = 0; i < arch->key_count; i++) {
    const char *read = gguf ? arch->keys[i].gguf : arch->keys[i].json;
    if (read && strcmp(read, key) == 0) return true;
  }
  for (const char *const *read = arch->reads; read && *read; read++) {
    if (strcmp(*read, key) == 0) return true;
  }
  return false;
}

static bool is_neutral(const json_t *value, double neutral) {
  if (!value || json_is_null(value) || json_is_false(value)) return true;
  if (json_is_number(value)) return json_number_value(value) == neutral;
  if (!json_is_array(value)) return false;
  for (size_t i = 0; i < json_array_size(value); i++) {
    const char *item = json_string_value(json_array_get(value, i));
    if (!item || strcmp(item, "full_attention") != 0) return false;
  }
  return true;
}

// load_json puts the file's name in front of what is not kept.
static fg_status keep_json(fg_reasons *reasons, fg_status status, fg_error *err) {
  if (status && reasons) fg_fail_prefix(err, "config.json");
  return fg_reasons_keep(reasons, status, err);
}

static fg_status check_neutral_json(const fg_arch *arch, const json_t *root, fg_reasons *reasons,
                                    fg_error *err) {
  fg_status status = FG_OK;
  for (const neutral_key *n = neutral_json; n->key && !status; n++) {
    const json_t *value = json_object_get(root, n->key);
    if (is_neutral(value, n->value) || is_read(arch, n->key, false)) continue;
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    fg_fail(err, FG_UNSUPPORTED, "\"%s\": %.100s is not supported", n->key, text ? text : "this value");
    free(text);
    status = keep_json(reasons, FG_UNSUPPORTED, err);
  }
  return status;
}

// What is looked at key by key, before the family looks at all of it.
static fg_status read_json(fg_config *config, const json_t *root, fg_reasons *reasons, fg_error *err) {
  fg_status status = FG_OK;
  for (uint32_t i = 0; !status && i < config->arch->key_count; i++) {
    status = keep_json(reasons, key_from_json(config, &config->arch->keys[i], root, err), err);
  }
  if (!status) status = check_neutral_json(config->arch, root, reasons, err);
  if (status) return status;
  status = fg_rope_from_json(&config->rope[0], config->arch, root, config->max_positions, err);
  return keep_json(reasons, status, err);
}

static uint32_t count_of(const fg_reasons *reasons) {
  return reasons ? reasons->count : 0;
}

static fg_status load_json(fg_config *config, const fg_asset *asset, fg_reasons *reasons, fg_error *err) {
  const uint32_t before = count_of(reasons);
  json_t *root = fg_json_parse(asset->data, asset->bytes, "config.json", err);
  if (!root) return FG_CORRUPT;
  const char *type, *inner = NULL;
  fg_status status = fg_json_string(root, "model_type", NULL, &type, err);
  if (!status) config->arch = type ? fg_arch_find(type) : NULL;
  // A model of text and images has its text model inside.
  json_t *text = json_object_get(root, "text_config");
  if (!status && !config->arch && text && !fg_json_string(text, "model_type", NULL, &inner, NULL) && inner &&
      fg_arch_find(inner)) {
    config->arch = fg_arch_find(inner);
    json_incref(text);
    json_decref(root);
    root = text;
  }
  if (!status && !config->arch) {
    char list[512];
    status = fg_fail(err, FG_UNSUPPORTED, "\"model_type\": architecture %s is not supported (supported: %s)",
                     type ? type : "(missing)", fg_arch_list(list, sizeof list));
  }
  if (!status) status = read_json(config, root, reasons, err);
  const bool whole = count_of(reasons) == before;
  if (!status && whole) status = fill_gaps(config, err);
  if (!status && whole && config->arch->refine) status = config->arch->refine(config, root, err);
  json_decref(root);
  if (status) fg_fail_prefix(err, "config.json");
  return status;
}

// ---- GGUF ----------------------------------------------------------------------------------------------

static fg_status key_from_gguf(fg_config *config, const fg_config_key *key, const fg_gguf *gguf,
                               fg_error *err) {
  char *member = (char *)config + key->member, name[128];
  snprintf(name, sizeof name, "%s.%s", config->arch->gguf, key->gguf ? key->gguf : "");
  if (!key->gguf || !fg_gguf_has(gguf, name)) {
    if (key->fallback == FG_REQUIRED) return fg_fail(err, FG_INVALID, "%s is missing", name);
    store_number(config, key, key->fallback);
    return FG_OK;
  }
  float value = 0;
  fg_status status = FG_OK;
  switch (key->kind) {
  case FG_KEY_U32: return fg_gguf_u32(gguf, name, 0, (uint32_t *)member, err);
  case FG_KEY_BOOL: return fg_gguf_bool(gguf, name, false, (bool *)member, err);
  case FG_KEY_ACTIVATION: break; // no GGUF key names one
  case FG_KEY_F64: status = fg_gguf_f32(gguf, name, 0, &value, err); *(double *)member = value;
  }
  return status;
}

static fg_status check_neutral_gguf(const fg_config *config, const fg_gguf *gguf, fg_reasons *reasons,
                                    fg_error *err) {
  fg_status status = FG_OK;
  for (const neutral_key *n = neutral_gguf; n->key && !status; n++) {
    char name[128];
    uint32_t integer;
    float real;
    snprintf(name, sizeof name, "%s.%s", config->arch->gguf, n->key);
    if (!fg_gguf_has(gguf, name) || is_read(config->arch, n->key, true)) continue;
    if (!fg_gguf_u32(gguf, name, 0, &integer, NULL) && integer == n->value) continue;
    if (!fg_gguf_f32(gguf, name, 0, &real, NULL) && (real == n->value || real == 0)) continue;
    status = fg_reasons_keep(reasons, fg_fail(err, FG_UNSUPPORTED, "%s is set, which is not supported", name),
                             err);
  }
  return status;
}

// Sizes that must agree with the dimension of a head, where they are given.
static fg_status check_gguf_heads(const fg_config *config, const fg_gguf *gguf, fg_error *err) {
  static const char *const keys[] = {"attention.value_length"};
  uint32_t dim = config->head_dim ? config->head_dim : config->heads ? config->hidden / config->heads : 0;
  for (size_t i = 0; dim && i < sizeof keys / sizeof *keys; i++) {
    char name[128];
    uint32_t value;
    snprintf(name, sizeof name, "%s.%s", config->arch->gguf, keys[i]);
    if (is_read(config->arch, keys[i], true)) continue;
    fg_status status = fg_gguf_u32(gguf, name, dim, &value, err);
    if (status) return status;
    if (value != dim) {
      return fg_fail(err, FG_UNSUPPORTED, "%s is %u, heads have %u values; only equal ones are supported",
                     name, value, dim);
    }
  }
  return FG_OK;
}

bool fg_config_gguf_holds(const fg_gguf *gguf, const char *tensor) {
  size_t count;
  const fg_gguf_tensor *tensors = fg_gguf_tensors(gguf, &count);
  for (size_t i = 0; i < count; i++) {
    const fg_gguf_string name = tensors[i].name;
    if (name.length == strlen(tensor) && memcmp(name.data, tensor, name.length) == 0) return true;
  }
  return false;
}

// What is looked at key by key.
static fg_status read_gguf(fg_config *config, const fg_gguf *gguf, fg_reasons *reasons, fg_error *err) {
  fg_status status = FG_OK;
  for (uint32_t i = 0; !status && i < config->arch->key_count; i++) {
    status = fg_reasons_keep(reasons, key_from_gguf(config, &config->arch->keys[i], gguf, err), err);
  }
  // The list of tokens is the vocabulary; a vocab_size beside it is for files without a tokenizer.
  uint64_t tokens = 0;
  if (!status) status = fg_gguf_array_count(gguf, "tokenizer.ggml.tokens", &tokens, err);
  if (!status && tokens) config->vocab = tokens <= MAX_VOCAB ? (uint32_t)tokens : 0;
  if (!status) status = check_neutral_gguf(config, gguf, reasons, err);
  if (!status) status = fg_reasons_keep(reasons, check_gguf_heads(config, gguf, err), err);
  if (status) return status;
  status = fg_rope_from_gguf(&config->rope[0], gguf, config->arch->gguf, err);
  return fg_reasons_keep(reasons, status, err);
}

static fg_status load_gguf(fg_config *config, const fg_asset *asset, fg_reasons *reasons, fg_error *err) {
  const uint32_t before = count_of(reasons);
  fg_gguf *gguf;
  fg_status status = fg_gguf_parse(&gguf, asset->data, asset->bytes, err);
  if (status) return status;
  config->gguf = true;
  fg_gguf_string name;
  status = fg_gguf_text(gguf, "general.architecture", &name, err);
  if (!status) config->arch = name.data ? fg_arch_find_gguf(name.data, name.length) : NULL;
  if (!status && !config->arch) {
    int length = name.length < 64 ? (int)name.length : 64;
    status = fg_fail(err, FG_UNSUPPORTED, "GGUF: general.architecture %.*s is not supported",
                     name.data ? length : 9, name.data ? name.data : "(missing)");
  }
  if (!status) status = read_gguf(config, gguf, reasons, err);
  const bool whole = count_of(reasons) == before;
  if (!status && whole) status = fill_gaps(config, err);
  if (!status && whole && config->arch->refine_gguf) status = config->arch->refine_gguf(config, gguf, err);
  fg_gguf_destroy(gguf);
  return status;
}

// ---- facts ---------------------------------------------------------------------------------------------

// A list of rotary factors; without it nothing changes.
static fg_status read_factors(const json_t *root, const char *key, float *out, uint32_t *count,
                              fg_error *err) {
  const json_t *list = json_object_get(root, key);
  const size_t n = json_array_size(list);
  if (!list) return FG_OK;
  if (n > FG_MAX_HEAD_DIM / 2) return fg_fail(err, FG_CORRUPT, "%s: too many rotary factors", FG_ASSET_FACTS);
  for (size_t i = 0; i < n; i++) {
    out[i] = (float)json_number_value(json_array_get(list, i));
    if (!(out[i] > 0)) return fg_fail(err, FG_CORRUPT, "%s: rotary factor %zu", FG_ASSET_FACTS, i);
  }
  *count = (uint32_t)n;
  return FG_OK;
}

// Those of a GGUF: Llama 3's, or Phi-3's for texts up to the original context and for longer ones.
static fg_status apply_factors(fg_rope *rope, const json_t *root, fg_error *err) {
  fg_status status = read_factors(root, "rope_long", rope->long_divisor, &rope->long_count, err);
  const char *key = rope->long_count ? "rope_short" : "rope_divisor";
  if (!status) status = read_factors(root, key, rope->divisor, &rope->divisor_count, err);
  if (status || !rope->long_count) return status;
  if (rope->divisor_count != rope->long_count || !(rope->original_positions >= 1) ||
      rope->original_positions > INT32_MAX) {
    return fg_fail(err, FG_INVALID, "%u long and %u short rotary factors, original context of %g positions",
                   rope->long_count, rope->divisor_count, rope->original_positions);
  }
  rope->scaling = FG_ROPE_LONG;
  return FG_OK;
}

static fg_status apply_facts(fg_config *config, const fg_asset *asset, fg_error *err) {
  json_t *root = fg_json_parse(asset->data, asset->bytes, FG_ASSET_FACTS, err);
  if (!root) return FG_CORRUPT;
  fg_status status = fg_json_bool(root, "embed", config->embed_stored, &config->embed_stored, err);
  if (!status) status = fg_json_bool(root, "head", config->head_stored, &config->head_stored, err);
  if (!status) status = fg_json_bool(root, "qkv_bias", config->qkv_bias, &config->qkv_bias, err);
  if (!status) status = fg_json_bool(root, "out_bias", config->out_bias, &config->out_bias, err);
  if (!status) status = fg_json_bool(root, "mlp_bias", config->mlp_bias, &config->mlp_bias, err);
  if (!status) status = fg_json_bool(root, "norm_affine", config->norm_affine, &config->norm_affine, err);
  if (!status) status = fg_json_bool(root, "experts_fused", false, &config->experts_fused, err);
  if (!status) status = fg_stacks_apply(config, root, err);
  if (!status) status = apply_factors(&config->rope[0], root, err);
  json_decref(root);
  return status;
}

static bool has_tensor(const fg_checkpoint *checkpoint, const fg_names *names, const char *base,
                       const char *suffix) {
  char name[192];
  if (!base || fg_tensor_name(name, sizeof name - 8, base, 0, NULL)) return false;
  strcat(name, suffix);
  return fg_tensor_find(checkpoint, names, name) != NULL;
}

// Whether experts stand in one tensor a layer; not all layers need have any.
static bool has_fused_experts(const fg_checkpoint *checkpoint, const fg_config *config) {
  const fg_names *names = fg_config_names(config);
  const fg_expert_names *fused = names->experts_fused;
  for (uint32_t layer = 0; fused && layer < config->layers; layer++) {
    char name[192];
    if (fg_tensor_name(name, sizeof name - 8, fused->down, layer, NULL)) return false;
    if (!fused->bare) strcat(name, ".weight");
    if (fg_tensor_find(checkpoint, names, name)) return true;
  }
  return false;
}

// Scalings stand in a GGUF as vectors of divisors.
static fg_status gather_factors(json_t *facts, const char *fact, fg_checkpoint *checkpoint, const char *name,
                                fg_error *err) {
  const fg_checkpoint_tensor *tensor = fg_checkpoint_find(checkpoint, name);
  if (!tensor) return FG_OK;
  float values[FG_MAX_HEAD_DIM / 2];
  if (tensor->dtype != FG_F32 || tensor->rows != 1 || tensor->columns > FG_MAX_HEAD_DIM / 2) {
    return fg_fail(err, FG_UNSUPPORTED, "%s: expected at most %d values of f32", name, FG_MAX_HEAD_DIM / 2);
  }
  fg_status status = fg_checkpoint_read_rows(checkpoint, tensor, 0, 1, values, err);
  json_t *list = json_array();
  for (uint64_t i = 0; !status && i < tensor->columns; i++) {
    if (json_array_append_new(list, json_real(values[i])) != 0) {
      status = fg_fail(err, FG_CORRUPT, "%s: value %llu is no number", name, (unsigned long long)i);
    }
  }
  if (json_object_set_new(facts, fact, list) != 0 && !status) {
    status = fg_fail(err, FG_NO_SPACE, "no memory for rotary factors");
  }
  return status;
}

// Which biases and weights of norms there are, by the first layer.
static void gather_shapes(json_t *facts, const fg_checkpoint *checkpoint, const fg_config *config) {
  const fg_names *names = fg_config_names(config);
  const char *qkv = config->qkv_groups ? names->qkv : names->q;
  const char *down = names->down ? names->down : names->experts ? names->experts->down : NULL;
  const struct {
    const char *fact, *tensor, *suffix;
  } rows[] = {
      {"qkv_bias", qkv, ".bias"},
      {"out_bias", names->attn_out, ".bias"},
      {"mlp_bias", down, ".bias"},
      {"norm_affine", names->attn_norm ? names->attn_norm : names->attn_after, ".weight"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    bool has = has_tensor(checkpoint, names, rows[i].tensor, rows[i].suffix);
    json_object_set_new(facts, rows[i].fact, json_boolean(has));
  }
}

fg_status fg_facts_gather(fg_assets *assets, fg_checkpoint *checkpoint, const fg_log *log, fg_error *err) {
  fg_config config;
  fg_status status = fg_config_load(&config, assets, err);
  if (status) return status;
  const fg_names *names = fg_config_names(&config);
  bool embed = has_tensor(checkpoint, names, names->embed, ".weight");
  bool head = has_tensor(checkpoint, names, names->head, ".weight");
  json_t *facts = json_object();
  json_object_set_new(facts, "embed", json_boolean(embed));
  json_object_set_new(facts, "head", json_boolean(head));
  config.experts_fused = has_fused_experts(checkpoint, &config);
  if (config.experts_fused) json_object_set_new(facts, "experts_fused", json_true());
  if (!head && !config.tied && !config.gguf) {
    fg_log_line(log, FG_LOG_WARN, "the checkpoint has no %s.weight: the embedding serves as the head",
                names->head);
  }
  if (config.gguf || config.arch->tensors_decide) gather_shapes(facts, checkpoint, &config);
  status = fg_stacks_gather(facts, checkpoint, &config, err);
  static const char *const factors[][2] = {{"rope_divisor", "rope_freqs.weight"},
                                           {"rope_long", "rope_factors_long.weight"},
                                           {"rope_short", "rope_factors_short.weight"}};
  for (size_t i = 0; !status && config.gguf && i < sizeof factors / sizeof *factors; i++)
    status = gather_factors(facts, factors[i][0], checkpoint, factors[i][1], err);
  char *text = status ? NULL : json_dumps(facts, JSON_COMPACT | JSON_SORT_KEYS);
  json_decref(facts);
  if (status) return status;
  if (!text) return fg_fail(err, FG_NO_SPACE, "no memory for %s", FG_ASSET_FACTS);
  status = fg_assets_add(assets, FG_ASSET_FACTS, text, strlen(text), err);
  free(text);
  return status;
}

// ---- all of it -----------------------------------------------------------------------------------------

static bool width_ok(uint64_t a, uint64_t b) {
  return a * b <= MAX_WIDTH;
}

static fg_status check_sizes(const fg_config *c, fg_error *err) {
  if (!c->heads || !c->hidden || !c->layers || !c->vocab || !c->ffn || c->layers > FG_MAX_LAYERS ||
      c->hidden > MAX_WIDTH || c->ffn > MAX_WIDTH / 2 || c->embed > MAX_WIDTH || c->vocab > MAX_VOCAB ||
      c->max_positions > INT32_MAX - 64) {
    return fg_fail(err, FG_INVALID,
                   "sizes that no model has: hidden %u, layers %u, heads %u, feed-forward %u, vocabulary %u",
                   c->hidden, c->layers, c->heads, c->ffn, c->vocab);
  }
  if (!c->kv_heads || c->heads % c->kv_heads) {
    return fg_fail(err, FG_INVALID, "%u heads are no multiple of %u key-value heads", c->heads, c->kv_heads);
  }
  if (c->head_dim > FG_MAX_HEAD_DIM ||
      !width_ok((uint64_t)c->heads + 2 * (uint64_t)c->kv_heads, c->head_dim)) {
    return fg_fail(err, FG_INVALID, "%u heads of %u values are more than any model has", c->heads,
                   c->head_dim);
  }
  const fg_latent *l = &c->latent;
  if (l->rank && (l->rank > FG_MAX_HEAD_DIM || l->rank + c->head_dim > FG_MAX_HEAD_DIM || !l->nope ||
                  !l->value || l->nope > FG_MAX_HEAD_DIM || l->value > FG_MAX_HEAD_DIM ||
                  l->q_rank > MAX_WIDTH || !width_ok((uint64_t)c->heads + 1, FG_MAX_HEAD_DIM))) {
    return fg_fail(err, FG_INVALID,
                   "latent attention of rank %u (queries %u) with %u heads of %u and %u values, %u turned",
                   l->rank, l->q_rank, c->heads, l->nope, l->value, c->head_dim);
  }
  if (!(c->norm_eps > 0) || c->norm_eps > 1) return fg_fail(err, FG_INVALID, "norm epsilon %g", c->norm_eps);
  if (c->qkv_groups && (c->heads % c->qkv_groups || c->kv_heads % c->qkv_groups)) {
    return fg_fail(err, FG_INVALID, "%u heads and %u key-value heads in %u groups", c->heads, c->kv_heads,
                   c->qkv_groups);
  }
  fg_status experts = fg_config_check_experts(c, err);
  if (experts) return experts;
  const uint32_t factors =
      c->rope[0].divisor_count > c->rope[0].long_count ? c->rope[0].divisor_count : c->rope[0].long_count;
  bool rope = c->position == FG_POSITION_ROPE;
  if (rope &&
      (c->rotary < 2 || c->rotary % 2 || c->rotary > c->head_dim || (factors && factors != c->rotary / 2))) {
    return fg_fail(err, FG_INVALID, "%u of the %u values of a head cannot be turned (%u rotary factors)",
                   c->rotary, c->head_dim, factors);
  }
  if (c->position == FG_POSITION_LEARNED && !c->max_positions)
    return fg_fail(err, FG_INVALID, "a table of 0 positions");
  for (int set = 0; rope && set < FG_ROPE_SETS; set++) {
    if (c->rope[set].scaling == FG_ROPE_DYNAMIC && c->rotary == 2)
      return fg_fail(err, FG_INVALID,
                     "dynamic rotary scaling of 2 values of a head: there is no base for it");
  }
  return FG_OK;
}

// What the keys left open, before the family looks at all of it.
static fg_status fill_gaps(fg_config *c, fg_error *err) {
  const fg_arch *a = c->arch;
  if (!c->kv_heads) c->kv_heads = c->heads;
  if (!c->embed) c->embed = c->hidden;
  if (!c->ffn && c->hidden <= MAX_WIDTH) c->ffn = a->ffn_times * c->hidden;
  if (!c->head_dim) {
    if (!c->heads || c->hidden % c->heads) {
      return fg_fail(err, FG_INVALID, "hidden size %u is no multiple of %u heads", c->hidden, c->heads);
    }
    c->head_dim = c->hidden / c->heads;
  }
  // The base grows with the text, so that the context does too.
  if (c->rope[0].scaling == FG_ROPE_DYNAMIC && a->position == FG_POSITION_ROPE)
    c->max_positions = (uint32_t)fmin(c->max_positions * c->rope[0].factor, INT32_MAX / 2);
  c->position = a->position;
  c->residual = a->residual;
  c->qk_norm = a->qk_norm;
  c->norm_bias = a->norm == FG_NORM_LAYER && !a->norm_unbiased;
  c->rope_interleaved = a->rope_interleaved;
  if (!c->rotary) c->rotary = (uint32_t)(c->head_dim * c->rope[0].partial);
  if (a->position == FG_POSITION_ALIBI) c->head_kind = FG_HEAD_ALIBI;
  c->qkv_groups = a->qkv_groups == FG_QKV_KV_HEADS ? c->kv_heads : a->qkv_groups;
  if (c->qkv_groups && c->gguf) c->qkv_groups = 1; // all of q, then k, then v
  c->rope[1] = c->rope[0];
  c->kinds[0].rope = c->position == FG_POSITION_ROPE ? FG_LAYER_ROPE : FG_LAYER_NO_ROPE;
  c->kind_count = 1;
  return FG_OK;
}

fg_status fg_config_load(fg_config *out, const fg_assets *assets, fg_error *err) {
  return fg_config_load_all(out, assets, NULL, err);
}

fg_status fg_config_load_all(fg_config *out, const fg_assets *assets, fg_reasons *reasons, fg_error *err) {
  *out = (fg_config){.norm_affine = true,
                     .norms_before = true,
                     .embed_stored = true,
                     .embed_scale = 1,
                     .residual_scale = 1,
                     .route_scale = 1,
                     .logit_scale = 1};
  const fg_asset *gguf = fg_assets_find(assets, FG_ASSET_GGUF_HEADER),
                 *json = fg_assets_find(assets, "config.json");
  if (!gguf && !json) return fg_fail(err, FG_NOT_FOUND, "no config.json");
  const uint32_t before = count_of(reasons);
  fg_status status = gguf ? load_gguf(out, gguf, reasons, err) : load_json(out, json, reasons, err);
  if (status || count_of(reasons) > before) return fg_reasons_keep(reasons, status, err);
  out->head_stored = !out->tied;
  const fg_asset *facts = fg_assets_find(assets, FG_ASSET_FACTS);
  if (facts) status = apply_facts(out, facts, err);
  if (!status) status = check_sizes(out, err);
  return fg_reasons_keep(reasons, status, err);
}
