#include "format/lora_config.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

// ---- what is refused -----------------------------------------------------------------------------------

// Keys that change what an adapter computes: allowed if missing, null, false or empty.
static const char *const refused[] = {
    "target_parameters",
    "layer_replication",
    "use_qalora",
    "alora_invocation_tokens",
    "trainable_token_indices",
    "lora_bias",
    "use_bdlora",
    "arrow_config",
    "kasa_config",
    "velora_config",
    "monteclora_config",
    "megatron_config",
    "loftq_config",
};

// Initialisations that leave the base's weights as they are; after the others an adapter belongs to other
// ones.
static const char *const initialisations[] = {"gaussian", "eva", "orthogonal"};

static bool is_empty(const json_t *value) {
  if (!value || json_is_null(value) || json_is_false(value)) return true;
  return (json_is_object(value) && json_object_size(value) == 0) ||
         (json_is_array(value) && json_array_size(value) == 0);
}

static fg_status refuse(const char *key, const json_t *value, fg_error *err) {
  char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
  fg_fail(err, FG_UNSUPPORTED, "\"%s\": %.80s is not supported; merge the adapter with the tool that made it",
          key, text ? text : "this value");
  free(text);
  return FG_UNSUPPORTED;
}

static fg_status check_initialisation(const json_t *root, fg_error *err) {
  const json_t *value = json_object_get(root, "init_lora_weights");
  const char *name = json_string_value(value);
  for (size_t i = 0; name && i < sizeof initialisations / sizeof *initialisations; i++) {
    if (strcmp(initialisations[i], name) == 0) return FG_OK;
  }
  return name ? refuse("init_lora_weights", value, err) : FG_OK;
}

static fg_status check_supported(const json_t *root, fg_error *err) {
  const char *type = NULL, *bias = NULL;
  fg_status status = fg_json_string(root, "peft_type", "LORA", &type, err);
  if (!status) status = fg_json_string(root, "bias", "none", &bias, err);
  if (status) return status;
  if (strcmp(type, "LORA") != 0) return refuse("peft_type", json_object_get(root, "peft_type"), err);
  if (strcmp(bias, "none") != 0) return refuse("bias", json_object_get(root, "bias"), err);
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
    const json_t *value = json_object_get(root, refused[i]);
    if (!is_empty(value)) return refuse(refused[i], value, err);
  }
  return check_initialisation(root, err);
}

// ---- reading -------------------------------------------------------------------------------------------

static fg_status read_members(fg_lora_config *out, fg_error *err) {
  const json_t *root = out->root;
  fg_status status = fg_json_f64(root, "lora_alpha", 8, &out->alpha, err);
  if (!status) status = fg_json_bool(root, "use_rslora", false, &out->rank_stabilised, err);
  if (!status) status = fg_json_bool(root, "use_dora", false, &out->magnitudes, err);
  if (!status) status = fg_json_bool(root, "fan_in_fan_out", false, &out->turned, err);
  if (!status) status = check_supported(root, err);
  return status;
}

fg_status fg_lora_config_read(fg_lora_config *out, const char *path, fg_error *err) {
  enum { MAX_BYTES = 1 << 20 };
  *out = (fg_lora_config){.root = fg_json_read_file(path, MAX_BYTES, err)};
  if (!out->root) return err ? err->status : FG_CORRUPT;
  fg_status status =
      json_is_object(out->root) ? read_members(out, err) : fg_fail(err, FG_CORRUPT, "it is no object");
  if (!status) return FG_OK;
  fg_lora_config_free(out);
  return err ? fg_fail_prefix(err, "%s", path) : status;
}

void fg_lora_config_free(fg_lora_config *config) {
  json_decref(config->root);
  *config = (fg_lora_config){0};
}

// ---- patterns ------------------------------------------------------------------------------------------

// Whether `key`, a regular expression, matches the end of the path from one of its dots on.
static fg_status matches(bool *out, const char *key, const char *path, fg_error *err) {
  enum { MOST_STEPS = 100000 }; // no pattern of a real adapter comes near it
  char *pattern = NULL;
  int code = 0;
  PCRE2_SIZE at = 0;
  if (asprintf(&pattern, "(?:.*\\.)?(?:%s)$", key) < 0) return fg_fail(err, FG_NO_SPACE, "no memory");
  pcre2_code *compiled = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                                       PCRE2_ANCHORED | PCRE2_DOLLAR_ENDONLY, &code, &at, NULL);
  free(pattern);
  if (!compiled) return fg_fail(err, FG_INVALID, "pattern \"%.80s\" is no regular expression", key);
  pcre2_match_data *data = pcre2_match_data_create(1, NULL);
  pcre2_match_context *limits = pcre2_match_context_create(NULL);
  if (limits) pcre2_set_match_limit(limits, MOST_STEPS);
  code = data && limits ? pcre2_match(compiled, (PCRE2_SPTR)path, strlen(path), 0, 0, data, limits)
                        : PCRE2_ERROR_NOMEMORY;
  pcre2_match_context_free(limits);
  pcre2_match_data_free(data);
  pcre2_code_free(compiled);
  *out = code >= 0;
  if (code >= 0 || code == PCRE2_ERROR_NOMATCH) return FG_OK;
  return fg_fail(err, FG_INVALID, "pattern \"%.80s\" cannot be matched against \"%.80s\"", key, path);
}

// The value of the first key of a pattern that matches, or `fallback`.
static fg_status look_up(const fg_lora_config *config, const char *pattern, const char *path, double fallback,
                         double *out, fg_error *err) {
  json_t *object = json_object_get(config->root, pattern), *value;
  const char *key;
  *out = fallback;
  json_object_foreach(object, key, value) {
    bool found = false;
    fg_status status = matches(&found, key, path, err);
    if (!status && found && !json_is_number(value))
      status = fg_fail(err, FG_INVALID, "\"%s\": \"%.80s\" has no number", pattern, key);
    if (status) return status;
    if (!found) continue;
    *out = json_number_value(value);
    return FG_OK;
  }
  return FG_OK;
}

fg_status fg_lora_config_factor(const fg_lora_config *config, const char *path, uint64_t rank, float *out,
                                fg_error *err) {
  double alpha, named;
  fg_status status = look_up(config, "alpha_pattern", path, config->alpha, &alpha, err);
  if (!status) status = look_up(config, "rank_pattern", path, (double)rank, &named, err);
  if (status) return status;
  if (named != (double)rank) {
    return fg_fail(err, FG_CORRUPT, "\"rank_pattern\" gives %.80s the rank %g, its matrices have %" PRIu64,
                   path, named, rank);
  }
  *out = (float)(alpha / (config->rank_stabilised ? sqrt((double)rank) : (double)rank));
  if (isfinite(*out)) return FG_OK;
  return fg_fail(err, FG_INVALID, "\"lora_alpha\" gives %.80s a factor that is no number", path);
}
