// gguf_header.h: headers of GGUF files without tensors, key by key.
#ifndef TESTS_MODEL_GGUF_HEADER_H
#define TESTS_MODEL_GGUF_HEADER_H

#include <string.h>

#include "model/config.h"

typedef struct header {
  char data[8192];
  size_t bytes;
  uint64_t keys;
} header;

static inline void put(header *h, const void *data, size_t bytes) {
  assert_true(h->bytes + bytes <= sizeof h->data);
  memcpy(h->data + h->bytes, data, bytes);
  h->bytes += bytes;
}

static inline void put_text(header *h, const char *text) {
  uint64_t length = strlen(text);
  put(h, &length, 8);
  put(h, text, length);
}

static inline void put_key(header *h, const char *key, uint32_t type) {
  put_text(h, key);
  put(h, &type, 4);
  h->keys++;
  memcpy(h->data + 16, &h->keys, 8);
}

static inline void put_u32(header *h, const char *key, uint32_t value) {
  put_key(h, key, 4);
  put(h, &value, 4);
}

static inline void put_f32(header *h, const char *key, float value) {
  put_key(h, key, 6);
  put(h, &value, 4);
}

static inline void put_string(header *h, const char *key, const char *value) {
  put_key(h, key, 8);
  put_text(h, value);
}

static inline header gguf_header(const char *architecture) {
  header h = {.bytes = 0};
  const uint32_t version = 3;
  const uint64_t zero = 0;
  put(&h, "GGUF", 4);
  put(&h, &version, 4);
  put(&h, &zero, 8); // tensors
  put(&h, &zero, 8); // keys
  put_string(&h, "general.architecture", architecture);
  return h;
}

static inline fg_status load_gguf(const header *h, fg_config *config, fg_error *err) {
  fg_assets assets = {0};
  assert_int_equal(fg_assets_add(&assets, FG_ASSET_GGUF_HEADER, h->data, h->bytes, err), FG_OK);
  fg_status status = fg_config_load(config, &assets, err);
  fg_assets_free(&assets);
  return status;
}

#endif
