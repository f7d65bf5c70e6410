// trie.h: byte strings to numbers, and all of them that begin a text.
//
// A tree of bytes. While strings are added its edges lie in a hash table; fg_trie_finish turns it into a
// double array (Aoe 1989, with exclusive or as in Darts-clone): a node's children lie at its base xor their
// byte, and each says whose child it is, so that a step down costs one look.
#ifndef FG_TEXT_TRIE_H
#define FG_TEXT_TRIE_H

#include <stddef.h>
#include <stdint.h>

#include "flexgen/error.h"

enum { FG_TRIE_NODES_MAX = 1 << 24 }; // a node takes 24 bits of an edge

typedef struct fg_trie_unit {
  uint32_t base, parent; // parent: UINT32_MAX = a free unit, or the root
  int32_t value;         // -1 = no string ends here
} fg_trie_unit;

typedef struct fg_trie {
  fg_trie_unit *units; // NULL = no strings; units[0] is the root
  uint32_t unit_count; // a multiple of 256, so that a base xor any byte lies within

  // until it is finished
  uint64_t *edges; // parent << 32 | byte << 24 | child; 0 = free slot
  int32_t *values; // by node; node 0 is the root
  uint32_t slot_count, node_count, node_capacity;
} fg_trie;

// A string that is there already gets the new value (>= 0).
fg_status fg_trie_add(fg_trie *trie, const char *key, size_t length, int32_t value, fg_error *err);
// After the last string, before the first look.
fg_status fg_trie_finish(fg_trie *trie, fg_error *err);
void fg_trie_free(fg_trie *trie);

// The child of a unit by byte; 0 = none. Not for a trie without strings.
static inline uint32_t fg_trie_step(const fg_trie_unit *units, uint32_t unit, uint8_t byte) {
  uint32_t next = units[unit].base ^ byte;
  return units[next].parent == unit ? next : 0;
}

// The longest string that begins the text: its length, 0 = none. `value` may be NULL.
size_t fg_trie_longest(const fg_trie *trie, const char *text, size_t length, int32_t *value);

#endif
