// assets.h: a model's small files (configuration, tokenizer, chat template) by name, wherever they
// stand: in a folder, in a packed store, or in a GGUF's header, which counts as one asset named
// FG_ASSET_GGUF_HEADER. A store made from a folder holds the same assets, so whoever reads a tokenizer
// does not know which it is.
#ifndef FG_FORMAT_ASSETS_H
#define FG_FORMAT_ASSETS_H

#include <stddef.h>

#include "flexgen/error.h"

#define FG_ASSET_GGUF_HEADER "gguf-header"

typedef struct fg_asset {
  char *name;
  void *data; // NUL-terminated beyond `bytes`
  size_t bytes;
} fg_asset;

typedef struct fg_assets {
  fg_asset *items;
  size_t count;
} fg_assets;

// From a folder (config.json, generation_config.json, tokenizer.json, tokenizer_config.json,
// special_tokens_map.json, added_tokens.json, vocab.json, merges.txt, tokenizer.model,
// chat_template.jinja, quantize_config.json, quant_config.json, those that exist) or a .gguf file. A lone
// path to one config.json works too.
// `index` counts these names; NULL behind the last one.
const char *fg_assets_name(size_t index);
fg_status fg_assets_load(fg_assets *out, const char *path, fg_error *err);
fg_status fg_assets_add(fg_assets *assets, const char *name, const void *data, size_t bytes, fg_error *err);
const fg_asset *fg_assets_find(const fg_assets *assets, const char *name); // NULL if absent
void fg_assets_free(fg_assets *assets);

#endif
