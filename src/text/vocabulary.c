#include "text/vocabulary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "text/unicode.h"

// Bytes that print as themselves keep their code point; the 68 others follow in order from U+0100.
static bool prints(uint32_t c) {
  return (c >= 33 && c <= 126) || (c >= 161 && c <= 172) || (c >= 174 && c <= 255);
}

enum { OTHERS = 68 };
static const uint8_t others[OTHERS] = {0,   1,   2,   3,   4,   5,   6,   7,   8,   9,   10,  11,  12,  13,
                                       14,  15,  16,  17,  18,  19,  20,  21,  22,  23,  24,  25,  26,  27,
                                       28,  29,  30,  31,  32,  127, 128, 129, 130, 131, 132, 133, 134, 135,
                                       136, 137, 138, 139, 140, 141, 142, 143, 144, 145, 146, 147, 148, 149,
                                       150, 151, 152, 153, 154, 155, 156, 157, 158, 159, 160, 173};

uint32_t fg_byte_char(uint8_t byte) {
  if (prints(byte)) return byte;
  uint32_t index = byte <= 32 ? byte : byte == 173 ? OTHERS - 1 : byte - 127u + 33u;
  return 0x100 + index;
}

int fg_char_byte(uint32_t c) {
  if (c < 0x100) return prints(c) ? (int)c : -1;
  return c < 0x100 + OTHERS ? others[c - 0x100] : -1;
}

bool fg_text_to_bytes(const char *text, size_t length, char *out, size_t *count) {
  size_t n = 0;
  for (const char *at = text; at < text + length;) {
    int byte = fg_char_byte(fg_utf8_take(&at));
    if (byte < 0) return false;
    out[n++] = (char)byte;
  }
  *count = n;
  return true;
}

void fg_bytes_to_text(const char *bytes, size_t count, fg_text *out) {
  for (size_t i = 0; i < count; i++) fg_utf8_append(out, fg_byte_char((uint8_t)bytes[i]));
}

void fg_vocabulary_free(fg_vocabulary *v) {
  fg_text_free(&v->arena);
  free(v->tokens);
  free(v->slots);
  *v = (fg_vocabulary){0};
}

// The slot that holds this key, or the free one where it belongs.
static uint32_t find_slot(const fg_vocabulary *v, const char *key, size_t length, uint32_t flags) {
  uint32_t mask = v->slot_count - 1;
  for (uint32_t slot = (uint32_t)fg_hash(key, length) & mask;; slot = (slot + 1) & mask) {
    if (v->slots[slot] == 0) return slot;
    const fg_token *token = &v->tokens[v->slots[slot] - 1];
    if (token->length == length && (token->flags & FG_TOKEN_BYTES) == flags &&
        memcmp(fg_token_data(v, token), key, length) == 0) {
      return slot;
    }
  }
}

int32_t fg_vocabulary_find(const fg_vocabulary *v, const char *key, size_t length, uint32_t flags) {
  if (v->slot_count == 0) return -1;
  return (int32_t)v->slots[find_slot(v, key, length, flags)] - 1;
}

int32_t fg_vocabulary_find_text(const fg_vocabulary *v, const char *text, size_t length) {
  if (length > FG_TOKEN_LENGTH_MAX) return -1;
  char stack[256], *bytes = length <= sizeof stack ? stack : malloc(length);
  size_t count;
  int32_t id;
  if (bytes && v->byte_level && fg_text_to_bytes(text, length, bytes, &count)) {
    id = fg_vocabulary_find(v, bytes, count, FG_TOKEN_BYTES);
  } else {
    id = fg_vocabulary_find(v, text, length, 0);
  }
  if (bytes != stack) free(bytes);
  return id;
}

int32_t fg_vocabulary_find_model(const fg_vocabulary *v, const char *text, size_t length) {
  int32_t id = fg_vocabulary_find_text(v, text, length);
  return id >= 0 && v->tokens[id].flags & FG_TOKEN_MODEL ? id : -1;
}

void fg_vocabulary_find_bytes(const fg_vocabulary *v, int32_t ids[static 256]) {
  for (unsigned i = 0; i < 256; i++) {
    char name[8];
    int length = snprintf(name, sizeof name, "<0x%02X>", i);
    ids[i] = fg_vocabulary_find_model(v, name, (size_t)length);
  }
}

static fg_status grow_tokens(fg_vocabulary *v, uint32_t id, fg_error *err) {
  uint32_t capacity = v->capacity ? v->capacity : 1024;
  while (capacity <= id) capacity *= 2;
  if (capacity > v->capacity) {
    fg_token *tokens = realloc(v->tokens, capacity * sizeof *tokens);
    if (!tokens) return fg_fail(err, FG_NO_SPACE, "out of memory for a vocabulary of %u tokens", capacity);
    memset(tokens + v->capacity, 0, (capacity - v->capacity) * sizeof *tokens);
    v->tokens = tokens;
    v->capacity = capacity;
  }
  if (id >= v->size) v->size = id + 1;
  return FG_OK;
}

static fg_status grow_slots(fg_vocabulary *v, fg_error *err) {
  if (v->slot_count / 3 * 2 > v->count) return FG_OK; // at most two thirds full
  fg_vocabulary grown = *v;
  grown.slot_count = v->slot_count ? v->slot_count * 2 : 2048;
  grown.slots = calloc(grown.slot_count, sizeof *grown.slots);
  if (!grown.slots) return fg_fail(err, FG_NO_SPACE, "out of memory for a vocabulary of %u tokens", v->count);
  for (uint32_t i = 0; i < v->slot_count; i++) {
    if (v->slots[i] == 0) continue;
    const fg_token *token = &v->tokens[v->slots[i] - 1];
    uint32_t slot = find_slot(&grown, fg_token_data(v, token), token->length, token->flags & FG_TOKEN_BYTES);
    grown.slots[slot] = v->slots[i];
  }
  free(v->slots);
  *v = grown;
  return FG_OK;
}

// Appends the token's bytes to the arena in the form in which they are kept.
static fg_status store(fg_vocabulary *v, const char *text, size_t length, fg_token *token, fg_error *err) {
  size_t offset = v->arena.length, count;
  fg_text_append(&v->arena, text, length);
  if (fg_text_failed(&v->arena) || v->arena.length > UINT32_MAX) {
    return fg_fail(err, FG_NO_SPACE, "out of memory for a vocabulary of %u tokens", v->count);
  }
  char *stored = v->arena.data + offset;
  token->offset = (uint32_t)offset;
  token->length = (uint32_t)length & 0xffffff;
  token->flags = 0;
  if (v->byte_level && fg_text_to_bytes(text, length, stored, &count)) {
    v->arena.length = offset + count;
    token->length = (uint32_t)count & 0xffffff;
    token->flags = FG_TOKEN_BYTES;
  } else {
    memcpy(stored, text, length);
  }
  return FG_OK;
}

fg_status fg_vocabulary_add(fg_vocabulary *v, uint32_t id, const char *text, size_t length, uint32_t flags,
                            fg_error *err) {
  int shown = length < 60 ? (int)length : 60;
  if (id >= FG_VOCABULARY_MAX) {
    return fg_fail(err, FG_UNSUPPORTED, "token \"%.*s\" has id %u, at most %d ids are supported", shown, text,
                   id, FG_VOCABULARY_MAX);
  }
  if (length > FG_TOKEN_LENGTH_MAX) {
    return fg_fail(err, FG_UNSUPPORTED, "token %u has %zu bytes, at most %d are supported", id, length,
                   FG_TOKEN_LENGTH_MAX);
  }
  if (!fg_utf8_valid(text, length)) return fg_fail(err, FG_CORRUPT, "token %u is not UTF-8", id);
  fg_status status = grow_tokens(v, id, err);
  if (status == FG_OK) status = grow_slots(v, err);
  if (status) return status;
  fg_token *token = &v->tokens[id];
  if (token->flags & FG_TOKEN_USED) {
    return fg_fail(err, FG_UNSUPPORTED, "token \"%.*s\" has id %u, which another token has too", shown, text,
                   id);
  }
  status = store(v, text, length, token, err);
  if (status) return status;
  token->flags = (token->flags | flags | FG_TOKEN_USED) & 0xff;
  uint32_t slot = find_slot(v, fg_token_data(v, token), token->length, token->flags & FG_TOKEN_BYTES);
  v->slots[slot] = id + 1;
  v->count++;
  if (flags & FG_TOKEN_MODEL) v->model_count++;
  return FG_OK;
}

void fg_vocabulary_trim(fg_vocabulary *v) {
  char *arena = v->arena.data ? realloc(v->arena.data, v->arena.length + 1) : NULL;
  if (arena) {
    v->arena.data = arena;
    v->arena.capacity = v->arena.length + 1;
  }
  fg_token *tokens = v->size ? realloc(v->tokens, v->size * sizeof *tokens) : NULL;
  if (tokens) {
    v->tokens = tokens;
    v->capacity = v->size;
  }
}

void fg_vocabulary_text(const fg_vocabulary *v, const fg_token *token, fg_text *out) {
  const char *data = fg_token_data(v, token);
  if (token->flags & FG_TOKEN_BYTES) {
    fg_bytes_to_text(data, token->length, out);
  } else {
    fg_text_append(out, data, token->length);
  }
}
