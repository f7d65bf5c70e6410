// token_ids.c: where a text begins and ends, as the model's files say.
#include "base/json.h"
#include "format/gguf.h"
#include "model/arch.h"

typedef struct ids {
  int32_t *items;
  uint32_t count, max;
} ids;

static void ids_add(ids *list, int64_t id) {
  if (id < 0 || id > INT32_MAX) return;
  for (uint32_t i = 0; i < list->count; i++) {
    if (list->items[i] == id) return;
  }
  if (list->count < list->max) list->items[list->count++] = (int32_t)id;
}

// An integer, a list of them, or null for none; a missing key changes nothing.
static void ids_read(ids *list, const json_t *value) {
  if (!value) return;
  list->count = 0;
  if (json_is_integer(value)) ids_add(list, json_integer_value(value));
  for (size_t i = 0; i < json_array_size(value); i++) {
    const json_t *item = json_array_get(value, i);
    if (json_is_integer(item)) ids_add(list, json_integer_value(item));
  }
}

// generation_config.json often has a null where config.json has the id.
static void ids_read_over(ids *list, const json_t *value) {
  if (!json_is_null(value)) ids_read(list, value);
}

static fg_status from_gguf(ids *eos, ids *bos, const fg_asset *asset, fg_error *err) {
  static const char *const ends[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"};
  fg_gguf *gguf;
  fg_status status = fg_gguf_parse(&gguf, asset->data, asset->bytes, err);
  if (status) return status;
  uint32_t id;
  for (size_t i = 0; !status && i < sizeof ends / sizeof *ends; i++) {
    status = fg_gguf_u32(gguf, ends[i], UINT32_MAX, &id, err);
    if (!status) ids_add(eos, id);
  }
  if (!status) status = fg_gguf_u32(gguf, "tokenizer.ggml.bos_token_id", UINT32_MAX, &id, err);
  if (!status) ids_add(bos, id);
  fg_gguf_destroy(gguf);
  return status;
}

static fg_status from_json(ids *eos, ids *bos, const fg_arch *arch, const fg_assets *assets, fg_error *err) {
  static const struct {
    const char *name;
    void (*read)(ids *list, const json_t *value);
  } files[] = {{"config.json", ids_read}, {"generation_config.json", ids_read_over}}; // the last one wins
  ids_add(eos, arch->eos);
  ids_add(bos, arch->bos);
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    const fg_asset *asset = fg_assets_find(assets, files[i].name);
    if (!asset) continue;
    json_t *root = fg_json_parse(asset->data, asset->bytes, files[i].name, err);
    if (!root) return FG_CORRUPT;
    files[i].read(eos, json_object_get(root, "eos_token_id"));
    files[i].read(bos, json_object_get(root, "bos_token_id"));
    json_decref(root);
  }
  return FG_OK;
}

fg_status fg_config_token_ids(const fg_config *config, const fg_assets *assets, int32_t *eos,
                              uint32_t eos_max, uint32_t *eos_count, int32_t *bos, fg_error *err) {
  ids ends = {.items = eos, .max = eos_max};
  int32_t first = -1;
  ids begins = {.items = &first, .max = 1};
  fg_status status = config->gguf
                         ? from_gguf(&ends, &begins, fg_assets_find(assets, FG_ASSET_GGUF_HEADER), err)
                         : from_json(&ends, &begins, config->arch, assets, err);
  *eos_count = ends.count;
  *bos = begins.count ? first : -1;
  return status;
}
