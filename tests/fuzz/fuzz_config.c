// config.json of every family, changed as JSON values, then as bytes. A configuration that is taken must give
// a graph: what its checks let through, the graph's own must not find.
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "fuzz_json.h"
#include "model/arch.h"

// Besides the names of families and their keys.
static const char *const more_words[] = {
    "model_type",
    "text_config",
    "rope_scaling",
    "rope_parameters",
    "rope_type",
    "rope_theta",
    "factor",
    "low_freq_factor",
    "high_freq_factor",
    "original_max_position_embeddings",
    "partial_rotary_factor",
    "attention_factor",
    "mscale",
    "mscale_all_dim",
    "beta_fast",
    "beta_slow",
    "truncate",
    "short_factor",
    "long_factor",
    "linear",
    "dynamic",
    "llama3",
    "yarn",
    "longrope",
    "full_attention",
    "sliding_attention",
    "layer_types",
    "sliding_window",
    "sliding_window_pattern",
    "use_sliding_window",
    "max_window_layers",
    "no_rope_layers",
    "no_rope_layer_interval",
    "quantization_config",
    "gelu",
    "silu",
    "relu",
    "eos_token_id",
    "bos_token_id",
    NULL,
};

// A golden's model is what a file of its family looks like.
enum { MAX_BASES = 256, MAX_WORDS = 2048 };
static json_t *bases[MAX_BASES];
static const char *words[MAX_WORDS + 1];
static size_t base_count, word_count;

static void add_word(const char *word) {
  for (size_t i = 0; word && i < word_count; i++) {
    if (strcmp(words[i], word) == 0) return;
  }
  if (word && word_count < MAX_WORDS) words[word_count++] = word;
}

static void add_words(void) {
  const fg_arch *arch;
  for (size_t i = 0; more_words[i]; i++) add_word(more_words[i]);
  for (uint32_t i = 0; (arch = fg_arch_at(i)); i++) {
    add_word(arch->name);
    for (uint32_t k = 0; k < arch->key_count; k++) add_word(arch->keys[k].json);
    for (const char *const *read = arch->reads; read && *read; read++) add_word(*read);
  }
  for (size_t i = 0; i < base_count; i++) {
    const char *key;
    json_t *value;
    json_object_foreach(bases[i], key, value) add_word(key);
  }
}

static const char *type_of(const json_t *config) {
  const json_t *text = json_object_get(config, "text_config");
  const char *type = json_string_value(json_object_get(text ? text : config, "model_type"));
  return type ? type : "";
}

static bool every_family_has_a_base(void) {
  const fg_arch *arch;
  for (uint32_t i = 0; (arch = fg_arch_at(i)); i++) {
    bool found = false;
    for (size_t k = 0; k < base_count; k++) found |= fg_arch_find(type_of(bases[k])) == arch;
    if (found) continue;
    fprintf(stderr, "no config.json of a %s under %s/oracle/models\n", arch->name, FG_TEST_DIR);
    return false;
  }
  return true;
}

static bool setup(void) {
  glob_t found;
  if (glob(FG_TEST_DIR "/oracle/models/*/config.json", 0, NULL, &found)) return false;
  bool ok = found.gl_pathc <= MAX_BASES;
  for (size_t i = 0; ok && i < found.gl_pathc; i++) {
    fg_error err = {0};
    bases[base_count] = fg_json_read_file(found.gl_pathv[i], 1 << 20, &err);
    ok = json_is_object(bases[base_count]);
    if (!ok) fprintf(stderr, "%s: %s\n", found.gl_pathv[i], err.message);
    if (bases[base_count]) base_count++;
  }
  globfree(&found);
  add_words();
  return ok && every_family_has_a_base();
}

static void teardown(void) {
  for (size_t i = 0; i < base_count; i++) json_decref(bases[i]);
}

// Keys of another family among one's own.
static void cross(fuzz_random *r, json_t *root, const json_t *other) {
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)other, key, value) {
    if (fuzz_chance(r, 15)) json_object_set_new(root, key, json_deep_copy(value));
  }
}

static void make(fuzz_random *r, fuzz_bytes *out) {
  json_t *root = json_deep_copy(bases[fuzz_below(r, base_count)]);
  if (fuzz_chance(r, 20)) cross(r, root, bases[fuzz_below(r, base_count)]);
  for (uint64_t n = fuzz_below(r, 5); n > 0; n--) fuzz_json_mutate(r, root, words);
  fuzz_json_put(out, root);
  json_decref(root);
  if (fuzz_chance(r, 10)) fuzz_noise(r, out);
}

// Ends of a text stand in the same file.
static void read_ends(const fg_config *config, const fg_assets *assets) {
  int32_t eos[4], bos = 0;
  uint32_t count = 0;
  fg_error err = {0};
  if (fg_config_token_ids(config, assets, eos, 4, &count, &bos, &err) || count > 4 || bos < -1)
    fuzz_broken("%u ends, begin %d: %s", count, bos, err.message);
}

// The list of all that is wrong begins with what the configuration is refused for, and is empty if it is not.
static void list_reasons(const fg_assets *assets, fg_status expected, const char *first) {
  fg_config config;
  fg_reasons reasons = {.count = 0};
  fg_error err = {0};
  const fg_status status = fg_config_load_all(&config, assets, &reasons, &err);
  const bool listed = status == FG_OK && reasons.count > 0 && strcmp(reasons.items[0].message, first) == 0;
  if (expected ? !listed : status || reasons.count)
    fuzz_broken("%d, %u reasons, the first %s; refused for %s", (int)status, reasons.count,
                reasons.count ? reasons.items[0].message : "none", first);
}

static fuzz_outcome load(const fg_assets *assets) {
  fg_config config;
  fg_graph *graph = NULL;
  fg_error err = {0};
  fg_status status = fg_config_load(&config, assets, &err);
  list_reasons(assets, status, err.message);
  if (status) {
    if (status == FG_INTERNAL || err.message[0] == 0) fuzz_broken("%d: %s", (int)status, err.message);
    bool early = strstr(err.message, "invalid JSON") || strstr(err.message, "\"model_type\"");
    return early ? FUZZ_REFUSED : FUZZ_PAST_HEADER;
  }
  read_ends(&config, assets);
  status = fg_graph_build(&graph, &config, &err);
  if (status) fuzz_broken("a configuration that was taken gives no graph: %s", err.message);
  if (graph->layers != config.layers || graph->vocab != config.vocab)
    fuzz_broken("the graph has other sizes than the configuration");
  fg_graph_destroy(graph);
  return FUZZ_ACCEPTED;
}

static fuzz_outcome run(const char *path, const fuzz_bytes *input) {
  (void)path;
  fg_assets assets = {0};
  fg_error err = {0};
  if (fg_assets_add(&assets, "config.json", input->data, input->count, &err)) fuzz_broken("%s", err.message);
  fuzz_outcome outcome = load(&assets);
  fg_assets_free(&assets);
  return outcome;
}

int main(int argc, char **argv) {
  static const fuzz_target target = {
      .name = "config",
      .file_name = "config.json",
      .setup = setup,
      .make = make,
      .run = run,
      .teardown = teardown,
  };
  return fuzz_main(argc, argv, &target);
}
