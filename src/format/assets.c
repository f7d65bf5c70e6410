#include "format/assets.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "format/gguf.h"
#include "format/whole_file.h"

// The largest tokenizer.json known has 35 MB.
enum { MAX_ASSET_BYTES = 256 * 1024 * 1024, MAX_TOTAL_BYTES = 512 * 1024 * 1024 };

static const char *const names[] = {
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "quantize_config.json",
    "quant_config.json",
};

const char *fg_assets_name(size_t index) {
  return index < sizeof names / sizeof *names ? names[index] : NULL;
}

// Takes the malloc'd `data`, in every case.
static fg_status take(fg_assets *assets, const char *name, void *data, size_t bytes, fg_error *err) {
  fg_asset *items = realloc(assets->items, (assets->count + 1) * sizeof *items);
  if (items) assets->items = items;
  char *copy = strdup(name);
  if (!items || !copy) {
    free(copy);
    free(data);
    return fg_fail(err, FG_NO_SPACE, "no memory for %s", name);
  }
  items[assets->count++] = (fg_asset){.name = copy, .data = data, .bytes = bytes};
  return FG_OK;
}

fg_status fg_assets_add(fg_assets *assets, const char *name, const void *data, size_t bytes, fg_error *err) {
  if (fg_assets_find(assets, name)) return fg_fail(err, FG_INVALID, "two assets are named %s", name);
  char *copy = bytes < SIZE_MAX ? malloc(bytes + 1) : NULL;
  if (!copy) return fg_fail(err, FG_NO_SPACE, "no memory for %s (%zu bytes)", name, bytes);
  if (bytes) memcpy(copy, data, bytes);
  copy[bytes] = 0;
  return take(assets, name, copy, bytes, err);
}

const fg_asset *fg_assets_find(const fg_assets *assets, const char *name) {
  for (size_t i = 0; i < assets->count; i++) {
    if (strcmp(assets->items[i].name, name) == 0) return &assets->items[i];
  }
  return NULL;
}

void fg_assets_free(fg_assets *assets) {
  for (size_t i = 0; i < assets->count; i++) {
    free(assets->items[i].name);
    free(assets->items[i].data);
  }
  free(assets->items);
  *assets = (fg_assets){0};
}

static fg_status load_file(fg_assets *out, const char *name, const char *path, fg_error *err) {
  void *data;
  size_t bytes;
  fg_status status = fg_read_whole(path, MAX_ASSET_BYTES, &data, &bytes, err);
  return status ? status : take(out, name, data, bytes, err);
}

static fg_status load_folder(fg_assets *out, const char *folder, fg_error *err) {
  char path[PATH_MAX];
  size_t total = 0;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    int n = snprintf(path, sizeof path, "%s/%s", folder, names[i]);
    if (n < 0 || (size_t)n >= sizeof path) return fg_fail(err, FG_INVALID, "%s: path too long", folder);
    fg_status status = load_file(out, names[i], path, err);
    if (status == FG_NOT_FOUND) continue;
    if (status) return status;
    total += out->items[out->count - 1].bytes;
    if (total > MAX_TOTAL_BYTES) {
      return fg_fail(err, FG_UNSUPPORTED, "%s: its configuration and tokenizer have more than %d bytes",
                     folder, MAX_TOTAL_BYTES);
    }
  }
  if (out->count) return FG_OK;
  return fg_fail(err, FG_NOT_FOUND, "%s holds neither a config.json nor a tokenizer", folder);
}

static fg_status load_gguf(fg_assets *out, const char *path, fg_error *err) {
  void *header;
  size_t bytes;
  fg_status status = fg_gguf_read_header(path, MAX_ASSET_BYTES, &header, &bytes, err);
  if (status) return status;
  status = fg_assets_add(out, FG_ASSET_GGUF_HEADER, header, bytes, err);
  free(header);
  return status;
}

static bool ends_in(const char *path, const char *suffix) {
  size_t length = strlen(path), tail = strlen(suffix);
  return length >= tail && strcmp(path + length - tail, suffix) == 0;
}

fg_status fg_assets_load(fg_assets *out, const char *path, fg_error *err) {
  struct stat st;
  fg_status status;
  *out = (fg_assets){0};
  if (stat(path, &st) != 0) {
    return fg_fail(err, errno == ENOENT || errno == ENOTDIR ? FG_NOT_FOUND : FG_IO, "%s: %s", path,
                   strerror(errno));
  }
  if (S_ISDIR(st.st_mode)) {
    status = load_folder(out, path, err);
  } else if (ends_in(path, ".gguf")) {
    status = load_gguf(out, path, err);
  } else if (ends_in(path, ".json")) {
    status = load_file(out, "config.json", path, err);
  } else {
    status = fg_fail(err, FG_UNSUPPORTED, "%s is neither a folder nor a .gguf file nor a config.json", path);
  }
  if (status) fg_assets_free(out);
  return status;
}
