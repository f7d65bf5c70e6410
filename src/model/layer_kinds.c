// layer_kinds.c: layers that differ: which see a window of keys, which are turned and how.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "format/gguf.h"
#include "model/llama_like.h"

fg_status fg_config_kind(fg_config *config, const fg_layer_kind *kind, uint8_t *number, fg_error *err) {
  for (uint32_t i = 0; i < config->kind_count; i++) {
    const fg_layer_kind *k = &config->kinds[i];
    *number = (uint8_t)i;
    if (k->window == kind->window && k->rope == kind->rope && k->score_scale == kind->score_scale &&
        k->experts == kind->experts)
      return FG_OK;
  }
  if (config->kind_count == FG_MAX_LAYER_KINDS) {
    return fg_fail(err, FG_UNSUPPORTED, "more than %d kinds of layers", FG_MAX_LAYER_KINDS);
  }
  *number = (uint8_t)config->kind_count;
  config->kinds[config->kind_count++] = *kind;
  return FG_OK;
}

fg_status fg_config_two_kinds(fg_config *config, const bool *local, const fg_layer_kind *global_kind,
                              const fg_layer_kind *local_kind, fg_error *err) {
  config->kind_count = 0;
  for (uint32_t i = 0; i < config->layers && i < FG_MAX_LAYERS; i++) {
    fg_status status =
        fg_config_kind(config, local[i] ? local_kind : global_kind, &config->kind_of_layer[i], err);
    if (status) return status;
  }
  return FG_OK;
}

fg_status fg_config_layer_types(const fg_config *config, const json_t *root, bool *local, bool *present,
                                fg_error *err) {
  const json_t *types = json_object_get(root, "layer_types");
  *present = types && !json_is_null(types);
  if (!*present) return FG_OK;
  if (json_array_size(types) != config->layers || config->layers > FG_MAX_LAYERS) {
    return fg_fail(err, FG_INVALID, "\"layer_types\" has %zu entries for %u layers", json_array_size(types),
                   config->layers);
  }
  for (uint32_t i = 0; i < config->layers; i++) {
    const char *name = json_string_value(json_array_get(types, i));
    local[i] = name && strcmp(name, "sliding_attention") == 0;
    if (!name || (!local[i] && strcmp(name, "full_attention") != 0)) {
      return fg_fail(err, FG_UNSUPPORTED, "\"layer_types\": layer %u is of type %s", i,
                     name ? name : "(no string)");
    }
  }
  return FG_OK;
}

// Powers of 2^(-8 / P), P the largest power of two that is not above `heads`; the rest are the odd powers of
// the root of that.
void fg_alibi_slopes(uint32_t heads, float *out) {
  uint32_t power = 1;
  while (2 * power <= heads) power *= 2;
  for (uint32_t i = 0; i < heads; i++) {
    uint32_t exponent = i < power ? 2 * (i + 1) : 2 * (i - power) + 1;
    out[i] = (float)pow(2, -4.0 * exponent / power);
  }
}

fg_status fg_config_window(const json_t *root, uint32_t fallback, uint32_t *window, fg_error *err) {
  const json_t *value = json_object_get(root, "sliding_window");
  *window = 0;
  if (json_is_null(value)) return FG_OK;
  return fg_json_u32(root, "sliding_window", fallback, window, err);
}

void fg_config_all_local(fg_config *config, uint32_t window) {
  config->kinds[0].window = window;
}

static fg_status give_windows(fg_config *config, const bool *local, uint32_t window, fg_error *err) {
  const fg_layer_kind global_kind = config->kinds[0];
  fg_layer_kind local_kind = global_kind;
  local_kind.window = window;
  return fg_config_two_kinds(config, local, &global_kind, &local_kind, err);
}

fg_status fg_config_some_local(fg_config *config, const json_t *root, uint32_t window,
                               bool (*is_local)(const fg_config *config, uint32_t layer), fg_error *err) {
  bool local[FG_MAX_LAYERS] = {false}, present;
  fg_status status = fg_config_layer_types(config, root, local, &present, err);
  if (status) return status;
  for (uint32_t i = 0; !present && i < config->layers && i < FG_MAX_LAYERS; i++)
    local[i] = is_local(config, i);
  return give_windows(config, local, window, err);
}

fg_status fg_config_gguf_local(fg_config *config, const fg_gguf *gguf, uint32_t period, fg_error *err) {
  bool local[FG_MAX_LAYERS] = {false};
  char key[128];
  snprintf(key, sizeof key, "%s.attention.sliding_window_pattern", config->arch->gguf);
  if (config->layers > FG_MAX_LAYERS) return fg_fail(err, FG_INVALID, "%u layers", config->layers);
  const bool listed = fg_gguf_has(gguf, key) && fg_gguf_u32(gguf, key, 0, &period, NULL);
  fg_status status = listed ? fg_gguf_array_bool(gguf, key, local, config->layers, err) : FG_OK;
  if (!status && period == 0) status = fg_fail(err, FG_INVALID, "%s is 0", key);
  if (status) return status;
  for (uint32_t i = 0; !listed && i < config->layers; i++) local[i] = (i + 1) % period != 0;
  return give_windows(config, local, config->window, err);
}

void fg_config_turn_by_window(fg_config *config, fg_layer_rope local, fg_layer_rope global) {
  for (uint32_t i = 0; i < config->kind_count; i++)
    config->kinds[i].rope = config->kinds[i].window ? local : global;
}
