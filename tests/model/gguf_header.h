// gguf_header.h: the header of a GGUF file, put together key by key; tensors behind all keys. Behind
// cmocka.h.
#ifndef TESTS_MODEL_GGUF_HEADER_H
#define TESTS_MODEL_GGUF_HEADER_H

#include <stdio.h>
#include <string.h>

#include "model/arch.h"

typedef struct header {
  char data[8192];
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

enum { GGUF_U32 = 4, GGUF_F32 = 6, GGUF_BOOL = 7, GGUF_STRING = 8 };

static inline void put_key(header *h, const char *key, uint32_t type) {
  uint64_t count;
  put_text(h, key);
  put(h, &type, 4);
  memcpy(&count, h->data + 16, 8);
  count++;
  memcpy(h->data + 16, &count, 8);
}

static inline void put_u32(header *h, const char *key, uint32_t value) {
  put_key(h, key, GGUF_U32);
  put(h, &value, 4);
}

static inline void put_f32(header *h, const char *key, float value) {
  put_key(h, key, GGUF_F32);
  put(h, &value, 4);
}

static inline void put_string(header *h, const char *key, const char *value) {
  put_key(h, key, GGUF_STRING);
  put_text(h, value);
}

static inline void put_key_of(header *h, const char *arch, const char *key, uint32_t type) {
  char name[96];
  snprintf(name, sizeof name, "%s.%s", arch, key);
  put_key(h, name, type);
}

// `value`: 4 bytes, or 1 of a bool.
static inline void put_of(header *h, const char *arch, const char *key, uint32_t type, const void *value) {
  put_key_of(h, arch, key, type);
  put(h, value, type == GGUF_BOOL ? 1 : 4);
}

static inline void put_string_of(header *h, const char *arch, const char *key, const char *value) {
  put_key_of(h, arch, key, GGUF_STRING);
  put_text(h, value);
}

static inline void put_bools(header *h, const char *key, const bool *values, uint64_t count) {
  const uint32_t type = 7;
  put_key(h, key, 9); // an array
  put(h, &type, 4);
  put(h, &count, 8);
  for (uint64_t i = 0; i < count; i++) put(h, &(char){values[i]}, 1);
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

// What all have: 48 wide, two layers of 6 heads.
static inline header begin_gguf(const char *arch) {
  header h = gguf_header(arch);
  const uint32_t hidden = 48, layers = 2, heads = 6, ffn = 96, vocab = 100;
  const float epsilon = 1e-5f;
  put_of(&h, arch, "embedding_length", GGUF_U32, &hidden);
  put_of(&h, arch, "block_count", GGUF_U32, &layers);
  put_of(&h, arch, "attention.head_count", GGUF_U32, &heads);
  put_of(&h, arch, "feed_forward_length", GGUF_U32, &ffn);
  put_of(&h, arch, "vocab_size", GGUF_U32, &vocab);
  put_of(&h, arch, "attention.layer_norm_epsilon", GGUF_F32, &epsilon);
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

static inline fg_status load_gguf(const header *h, fg_config *config, fg_error *err) {
  fg_assets assets = {0};
  header padded = *h;
  put(&padded, (char[32]){0}, 32); // up to the alignment, at least
  assert_int_equal(fg_assets_add(&assets, FG_ASSET_GGUF_HEADER, padded.data, padded.bytes, err), FG_OK);
  fg_status status = fg_config_load(config, &assets, err);
  fg_assets_free(&assets);
  return status;
}

#endif
