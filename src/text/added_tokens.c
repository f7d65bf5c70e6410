#include "text/added_tokens.h"

#include <stdlib.h>
#include <string.h>

#include "text/unicode.h"

enum { NODES_MAX = 1 << 20 }; // bytes of all tokens together; Gemma's 6,000 have 100 KB

static uint32_t child_with(const fg_added_set *set, uint32_t node, uint8_t byte) {
  if (node == 0) return set->roots[byte];
  uint32_t child = set->nodes[node].child;
  while (child && set->nodes[child].byte != byte) child = set->nodes[child].sibling;
  return child;
}

static fg_status grow(fg_added_set *set, size_t more, fg_error *err) {
  size_t need = set->node_count + more, capacity = set->node_capacity ? set->node_capacity : 256;
  if (need > NODES_MAX) return fg_fail(err, FG_UNSUPPORTED, "more than %d bytes of added tokens", NODES_MAX);
  while (capacity < need) capacity *= 2;
  if (capacity == set->node_capacity) return FG_OK;
  fg_added_node *nodes = realloc(set->nodes, capacity * sizeof *nodes);
  if (!nodes) return fg_fail(err, FG_NO_SPACE, "out of memory for %zu bytes of added tokens", need);
  set->nodes = nodes;
  set->node_capacity = (uint32_t)capacity;
  return FG_OK;
}

fg_status fg_added_set_add(fg_added_set *set, const char *text, size_t length, uint32_t token_index,
                           fg_error *err) {
  fg_status status = grow(set, length + 1, err);
  if (status) return status;
  if (set->node_count == 0) set->nodes[set->node_count++] = (fg_added_node){0};
  uint32_t node = 0;
  for (size_t i = 0; i < length; i++) {
    uint8_t byte = (uint8_t)text[i];
    uint32_t child = child_with(set, node, byte);
    if (!child) {
      child = set->node_count++;
      set->nodes[child] = (fg_added_node){.byte = byte, .sibling = set->nodes[node].child};
      set->nodes[node].child = child;
      if (node == 0) set->roots[byte] = child;
    }
    node = child;
  }
  set->nodes[node].token = token_index + 1;
  return FG_OK;
}

void fg_added_set_free(fg_added_set *set) {
  free(set->nodes);
  *set = (fg_added_set){0};
}

// The longest token that starts at `at`; NULL if none does.
static const fg_added_token *longest(const fg_added_set *set, const char *at, const char *end,
                                     const char **stop) {
  const fg_added_token *found = NULL;
  uint32_t node = 0;
  while (at < end && (node = child_with(set, node, (uint8_t)*at)) != 0) {
    at++;
    if (set->nodes[node].token == 0) continue;
    found = &set->tokens[set->nodes[node].token - 1];
    *stop = at;
  }
  return found;
}

static bool is_single_word(const char *text, const char *end, const char *start, const char *stop) {
  const char *before = start, *after = stop;
  if (start > text && fg_is_word(fg_utf8_take_back(&before))) return false;
  return stop == end || !fg_is_word(fg_utf8_take(&after));
}

fg_status fg_added_set_split(const fg_added_set *set, const char *text, size_t length, fg_added_sink *sink,
                             void *user, fg_error *err) {
  const char *end = text + length, *done = text;
  fg_status status = FG_OK;
  for (const char *at = text; at < end && set->node_count > 0;) {
    const char *start = at, *stop = NULL;
    const fg_added_token *token = set->roots[(uint8_t)*at] ? longest(set, at, end, &stop) : NULL;
    if (!token) {
      at++;
      continue;
    }
    // The search goes on behind the match itself, whatever white space it takes along or whether it
    // is refused: as the Rust library does.
    at = stop;
    if (token->single_word && !is_single_word(text, end, start, stop)) continue;
    const char *next;
    while (token->lstrip && start > done && (next = start, fg_is_space(fg_utf8_take_back(&next))))
      start = next;
    while (token->rstrip && stop < end && (next = stop, fg_is_space(fg_utf8_take(&next)))) stop = next;
    if (done < start) status = sink(user, NULL, done, (size_t)(start - done), err);
    if (status == FG_OK) status = sink(user, token, start, (size_t)(stop - start), err);
    if (status) return status;
    done = stop;
  }
  if (done < end) status = sink(user, NULL, done, (size_t)(end - done), err);
  return status;
}
