#include "text/trie.h"

#include <stdlib.h>
#include <string.h>

static fg_status no_memory(const fg_trie *trie, fg_error *err) {
  return fg_fail(err, FG_NO_SPACE, "out of memory for a tree of %u bytes of tokens", trie->node_count);
}

static void put_edge(fg_trie *trie, uint64_t edge) {
  uint32_t slot = fg_trie_slot(trie, edge);
  while (trie->edges[slot] != 0) slot = (slot + 1) & (trie->slot_count - 1);
  trie->edges[slot] = edge;
}

// Room for one more node; the table of edges stays at most half full.
static fg_status grow(fg_trie *trie, fg_error *err) {
  if (trie->node_count < trie->node_capacity) return FG_OK;
  if (trie->node_count == FG_TRIE_NODES_MAX) {
    return fg_fail(err, FG_UNSUPPORTED, "tokens with more than %d different beginnings", FG_TRIE_NODES_MAX);
  }
  uint32_t capacity = trie->node_capacity ? trie->node_capacity * 2 : 256;
  int32_t *values = realloc(trie->values, capacity * sizeof *values);
  if (!values) return no_memory(trie, err);
  trie->values = values;
  fg_trie grown = *trie;
  grown.slot_count = capacity * 2;
  grown.edges = calloc(grown.slot_count, sizeof *grown.edges);
  if (!grown.edges) return no_memory(trie, err);
  grown.node_capacity = capacity;
  for (uint32_t i = 0; i < trie->slot_count; i++) {
    if (trie->edges[i] != 0) put_edge(&grown, trie->edges[i]);
  }
  free(trie->edges);
  *trie = grown;
  return FG_OK;
}

static fg_status add_node(fg_trie *trie, fg_error *err) {
  fg_status status = grow(trie, err);
  if (status == FG_OK) trie->values[trie->node_count++] = -1;
  return status;
}

fg_status fg_trie_add(fg_trie *trie, const char *key, size_t length, int32_t value, fg_error *err) {
  fg_status status = trie->node_count == 0 ? add_node(trie, err) : FG_OK;
  uint32_t node = 0;
  for (size_t i = 0; i < length && status == FG_OK; i++) {
    uint8_t byte = (uint8_t)key[i];
    uint32_t child = fg_trie_step(trie, node, byte);
    if (child == 0) {
      child = trie->node_count;
      status = add_node(trie, err);
      if (status == FG_OK) put_edge(trie, (uint64_t)node << 32 | (uint64_t)byte << 24 | child);
    }
    node = child;
  }
  if (status == FG_OK) trie->values[node] = value;
  return status;
}

void fg_trie_free(fg_trie *trie) {
  free(trie->edges);
  free(trie->values);
  *trie = (fg_trie){0};
}

size_t fg_trie_longest(const fg_trie *trie, const char *text, size_t length, int32_t *value) {
  size_t longest = 0;
  uint32_t node = 0;
  if (trie->node_count == 0) return 0;
  for (size_t i = 0; i < length && (node = fg_trie_step(trie, node, (uint8_t)text[i])) != 0; i++) {
    if (trie->values[node] < 0) continue;
    longest = i + 1;
    if (value) *value = trie->values[node];
  }
  return longest;
}
