// added_tokens.h: tokens that are found in a text before anything else looks at it.
//
// Two sets are searched: tokens marked `normalized` in the normalized text, the others in the raw one.
// The longest token wins at the leftmost place. A token may take the white space beside it along, or
// refuse to stand inside a word.
#ifndef FG_TEXT_ADDED_TOKENS_H
#define FG_TEXT_ADDED_TOKENS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "flexgen/error.h"

typedef struct fg_added_token {
  char *content;
  char *normal; // content normalized, where that is something else; decoding shows this
  int32_t id;
  bool single_word, lstrip, rstrip, normalized, special;
} fg_added_token;

// What is searched for in one of the two texts.
typedef struct fg_added_node {
  uint32_t child, sibling; // 0 = none
  uint32_t token;          // index + 1 of the token that ends here, 0 = none
  uint8_t byte;
} fg_added_node;

typedef struct fg_added_set {
  const fg_added_token *tokens; // borrowed; indexed by fg_added_node.token - 1
  fg_added_node *nodes;         // nodes[0] is the root
  uint32_t node_count, node_capacity;
  uint32_t roots[256]; // the root's children by byte
} fg_added_set;

fg_status fg_added_set_add(fg_added_set *set, const char *text, size_t length, uint32_t token_index,
                           fg_error *err);
void fg_added_set_free(fg_added_set *set);

// Called for every part of the text in order: token NULL = a stretch without tokens.
typedef fg_status fg_added_sink(void *user, const fg_added_token *token, const char *text, size_t length,
                                fg_error *err);
fg_status fg_added_set_split(const fg_added_set *set, const char *text, size_t length, fg_added_sink *sink,
                             void *user, fg_error *err);

#endif
