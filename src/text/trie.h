// trie.h: byte strings to numbers, and all of them that begin a text.
//
// A tree of bytes. Its edges lie in one hash table of 64-bit words, so that a step down costs one probe
// however many children a node has, and adding a string needs no rebuilding.
#ifndef FG_TEXT_TRIE_H
#define FG_TEXT_TRIE_H

#include <stddef.h>
#include <stdint.h>

#include "flexgen/error.h"

enum { FG_TRIE_NODES_MAX = 1 << 24 }; // a node takes 24 bits of an edge

typedef struct fg_trie {
  uint64_t *edges; // parent << 32 | byte << 24 | child; 0 = free slot
  int32_t *values; // by node; -1 = no string ends here. Node 0 is the root
  uint32_t slot_count, node_count, node_capacity;
} fg_trie;

// A string that is there already gets the new value (>= 0).
fg_status fg_trie_add(fg_trie *trie, const char *key, size_t length, int32_t value, fg_error *err);
void fg_trie_free(fg_trie *trie);

static inline uint32_t fg_trie_slot(const fg_trie *trie, uint64_t edge) {
  uint64_t mixed = (edge >> 24) * 0x9e3779b97f4a7c15u; // Fibonacci hashing: the high bits are well mixed
  return (uint32_t)(mixed >> 32) & (trie->slot_count - 1);
}

// The child of a node by byte; 0 = none. Not for a trie without strings.
static inline uint32_t fg_trie_step(const fg_trie *trie, uint32_t node, uint8_t byte) {
  uint64_t wanted = (uint64_t)node << 32 | (uint64_t)byte << 24;
  for (uint32_t slot = fg_trie_slot(trie, wanted);; slot = (slot + 1) & (trie->slot_count - 1)) {
    uint64_t edge = trie->edges[slot];
    if (edge >> 24 == wanted >> 24) return (uint32_t)edge & 0xffffff; // a free slot says 0 for (root, 0)
    if (edge == 0) return 0;
  }
}

// The longest string that begins the text: its length, 0 = none. `value` may be NULL.
size_t fg_trie_longest(const fg_trie *trie, const char *text, size_t length, int32_t *value);

#endif
