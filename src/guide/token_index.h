// token_index.h: a vocabulary in the order of its tokens' bytes, so that all tokens that an automaton takes
// are found in one walk in which what they begin with in common is read once.
//
// Held are the tokens that are text: no special ones, and none without bytes.
//
// Threads: one owner, for the scratch of a walk.
#ifndef FG_GUIDE_TOKEN_INDEX_H
#define FG_GUIDE_TOKEN_INDEX_H

#include "guide/automaton.h"
#include "text/tokenizer.h"

typedef struct fg_indexed_token {
  const uint8_t *bytes; // the tokenizer's
  uint32_t length;
  int32_t id;
} fg_indexed_token;

typedef struct fg_token_index {
  const fg_tokenizer *tokenizer;
  fg_indexed_token *tokens; // [count]
  uint32_t *common; // [count + 1]: bytes in which a token begins as the one before it; 0 behind the last
  uint32_t count;
  uint32_t first[257]; // tokens that begin with each byte
  uint32_t vocab, longest;
  fg_guide_state *path; // [longest + 1] scratch
} fg_token_index;

// `vocab`: ids of the model; tokens beyond it are left out. FG_UNSUPPORTED: a text is not simply its tokens'
// bytes in a row.
fg_status fg_token_index_create(fg_token_index **out, const fg_tokenizer *tokenizer, uint32_t vocab,
                                fg_error *err);
void fg_token_index_destroy(fg_token_index *index); // NULL is allowed
uint64_t fg_token_index_bytes(const fg_tokenizer *tokenizer,
                              uint32_t vocab); // what create allocates, at most

static inline uint32_t fg_token_words(uint32_t vocab) {
  return (vocab + 63) / 64;
}

// Sets a bit for each token that may follow in a state; *count: how many do. bits: [fg_token_words(vocab)],
// 0.
fg_status fg_token_index_allowed(fg_token_index *index, fg_automaton *a, fg_guide_state state, uint64_t *bits,
                                 uint32_t *count, fg_error *err);
// The longest token that begins `bytes`; NULL = none.
const fg_indexed_token *fg_token_index_longest(const fg_token_index *index, const uint8_t *bytes,
                                               uint32_t length);
// Whether a token begins with all of `bytes` and goes on with something that may follow in `state`.
fg_status fg_token_index_crosses(const fg_token_index *index, const uint8_t *bytes, uint32_t length,
                                 fg_automaton *a, fg_guide_state state, bool *out, fg_error *err);

#endif
