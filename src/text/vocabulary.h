// vocabulary.h: tokens by id and ids by token, in one arena and one hash table of ids.
//
// Byte-level tokenizers write every byte as a printable character ("Ġthe"). A token that is written in
// that alphabet can be kept as the bytes it stands for, marked so; then looking up and decoding need
// no translation. Whether a vocabulary does so is decided once, at creation; text and bytes of a token
// are told apart by the mark, so nothing is lost either way.
//
// A token belongs to the model (what merging may produce), was added beside it, or both.
#ifndef FG_TEXT_VOCABULARY_H
#define FG_TEXT_VOCABULARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text_buffer.h"
#include "flexgen/error.h"

enum {
  FG_VOCABULARY_MAX = 1 << 21,   // ids; the largest in use have 2^18
  FG_TOKEN_LENGTH_MAX = 1 << 16, // bytes
};

enum {
  FG_TOKEN_USED = 1,    // the id has a token
  FG_TOKEN_BYTES = 2,   // kept as bytes that its characters stand for
  FG_TOKEN_MODEL = 4,   // the model knows it
  FG_TOKEN_SPECIAL = 8, // left out of decoded text on demand
  FG_TOKEN_ADDED = 16,  // found in the text before the model sees it
  FG_TOKEN_NORMAL = 32, // decoded as an added token's normalized text
  FG_TOKEN_APART = 64,  // text never becomes this token of the model (SentencePiece's control, byte, unknown)
  FG_TOKEN_UNUSED = 128, // a piece that is cut up again (SentencePiece)
};

typedef struct fg_token {
  uint32_t offset;
  uint32_t length : 24;
  uint32_t flags : 8;
} fg_token;

typedef struct fg_vocabulary {
  bool byte_level;
  fg_text arena;
  fg_token *tokens;
  uint32_t size, capacity; // highest id + 1
  uint32_t count, model_count;
  uint32_t *slots; // id + 1, 0 = free
  uint32_t slot_count;
} fg_vocabulary;

void fg_vocabulary_free(fg_vocabulary *vocabulary);

// `text` as it stands in the model's files. An id that has another token already is FG_UNSUPPORTED; of
// two ids with the same text the later one is found.
fg_status fg_vocabulary_add(fg_vocabulary *vocabulary, uint32_t id, const char *text, size_t length,
                            uint32_t flags, fg_error *err);
// Gives back what growing reserved too much.
void fg_vocabulary_trim(fg_vocabulary *vocabulary);

int32_t fg_vocabulary_find_text(const fg_vocabulary *vocabulary, const char *text,
                                size_t length); // -1 = none
// The same among the model's own tokens.
int32_t fg_vocabulary_find_model(const fg_vocabulary *vocabulary, const char *text, size_t length);
// The ids of <0x00> ... <0xFF> in the model, -1 = none.
void fg_vocabulary_find_bytes(const fg_vocabulary *vocabulary, int32_t ids[static 256]);
// By what is kept: `flags` is FG_TOKEN_BYTES or 0.
int32_t fg_vocabulary_find(const fg_vocabulary *vocabulary, const char *key, size_t length, uint32_t flags);

static inline const fg_token *fg_vocabulary_token(const fg_vocabulary *vocabulary, int32_t id) {
  if (id < 0 || (uint32_t)id >= vocabulary->size) return NULL;
  const fg_token *token = &vocabulary->tokens[id];
  return token->flags & FG_TOKEN_USED ? token : NULL;
}
static inline const char *fg_token_data(const fg_vocabulary *vocabulary, const fg_token *token) {
  return vocabulary->arena.data + token->offset;
}
// Appends the token as the model's files write it.
void fg_vocabulary_text(const fg_vocabulary *vocabulary, const fg_token *token, fg_text *out);

// ---- the byte alphabet --------------------------------------------------------------------------------
uint32_t fg_byte_char(uint8_t byte);
int fg_char_byte(uint32_t c); // -1 = not in the alphabet
// Writes the bytes that `text` (valid UTF-8) stands for to `out` (at least `length` bytes). False if a
// character is not in the alphabet.
bool fg_text_to_bytes(const char *text, size_t length, char *out, size_t *count);
void fg_bytes_to_text(const char *bytes, size_t count, fg_text *out);

#endif
