// gguf_header.h: the header of a GGUF file, put together key by key. Behind cmocka.h.
#ifndef TESTS_MODEL_GGUF_HEADER_H
#define TESTS_MODEL_GGUF_HEADER_H

#include <stdio.h>
#include <string.h>

#include "model/arch.h"

typedef struct header {
  char data[4096];
  size_t bytes;
} header;

static inline void put(header *h, const void *data, size_t bytes) {
  assert_true(h->bytes + bytes <= sizeof h->data);
  memcpy(h->data + h->bytes, data, bytes);
  h->bytes += bytes;
}

static inline void put_text(header *h, const char *text) {
  const uint64_t length = strlen(text);
  put(h, &length, 8);
  put(h, text, length);
}

static inline void begin_key(header *h, const char *arch, const char *key, uint32_t type) {
  char name[96];
  uint64_t count;
  snprintf(name, sizeof name, "%s.%s", arch, key);
  put_text(h, name);
  put(h, &type, 4);
  memcpy(&count, h->data + 16, 8);
  count++;
  memcpy(h->data + 16, &count, 8);
}

// `value`: 4 bytes, or 1 of a bool.
static inline void put_key(header *h, const char *arch, const char *key, uint32_t type, const void *value) {
  begin_key(h, arch, key, type);
  put(h, value, type == 7 ? 1 : 4);
}

static inline void put_string(header *h, const char *arch, const char *key, const char *value) {
  begin_key(h, arch, key, 8);
  put_text(h, value);
}

enum { GGUF_U32 = 4, GGUF_F32 = 6, GGUF_BOOL = 7 };

// What all have: 48 wide, two layers of 6 heads.
static inline header begin_gguf(const char *arch) {
  header h = {.bytes = 0};
  const uint32_t version = 3, hidden = 48, layers = 2, heads = 6, ffn = 96, vocab = 100, text = 8;
  const uint64_t none = 0, one = 1;
  const float epsilon = 1e-5f;
  put(&h, "GGUF", 4);
  put(&h, &version, 4);
  put(&h, &none, 8); // tensors
  put(&h, &one, 8);  // keys
  put_text(&h, "general.architecture");
  put(&h, &text, 4);
  put_text(&h, arch);
  put_key(&h, arch, "embedding_length", GGUF_U32, &hidden);
  put_key(&h, arch, "block_count", GGUF_U32, &layers);
  put_key(&h, arch, "attention.head_count", GGUF_U32, &heads);
  put_key(&h, arch, "feed_forward_length", GGUF_U32, &ffn);
  put_key(&h, arch, "vocab_size", GGUF_U32, &vocab);
  put_key(&h, arch, "attention.layer_norm_epsilon", GGUF_F32, &epsilon);
  return h;
}

// Behind all keys.
static inline void put_tensor(header *h, const char *name) {
  const uint32_t dims = 1, type = 0;
  const uint64_t columns = 48, offset = 0;
  put_text(h, name);
  put(h, &dims, 4);
  put(h, &columns, 8);
  put(h, &type, 4);
  put(h, &offset, 8);
  h->data[8]++;
}

static inline fg_status load_gguf(header *h, fg_config *config, fg_error *err) {
  fg_assets assets = {0};
  put(h, (char[32]){0}, 32); // up to the alignment, at least
  assert_int_equal(fg_assets_add(&assets, FG_ASSET_GGUF_HEADER, h->data, h->bytes, err), FG_OK);
  fg_status status = fg_config_load(config, &assets, err);
  fg_assets_free(&assets);
  return status;
}

#endif
