#include "text/trie.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
  BLOCK = 256,     // units are added by as many as a base reaches
  PLACES_MAX = 64, // free units that are tried for a node's children before a new block is taken
};
static const uint32_t nobody = UINT32_MAX;

static fg_status no_memory(const fg_trie *trie, fg_error *err) {
  return fg_fail(err, FG_NO_SPACE, "out of memory for a tree of %u bytes of tokens", trie->node_count);
}

// ---- adding -------------------------------------------------------------------------------------------

// The slot that holds the edge from a node by a byte, or the free one where it belongs.
static uint32_t find_slot(const fg_trie *trie, uint32_t node, uint8_t byte) {
  uint64_t wanted = (uint64_t)node << 8 | byte;
  uint64_t mixed = wanted * 0x9e3779b97f4a7c15u; // Fibonacci hashing: the high bits are well mixed
  uint32_t slot = (uint32_t)(mixed >> 32) & (trie->slot_count - 1);
  while (trie->edges[slot] != 0 && trie->edges[slot] >> 24 != wanted)
    slot = (slot + 1) & (trie->slot_count - 1);
  return slot;
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
    uint64_t edge = trie->edges[i];
    if (edge != 0) grown.edges[find_slot(&grown, (uint32_t)(edge >> 32), (uint8_t)(edge >> 24))] = edge;
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
    uint32_t child = (uint32_t)trie->edges[find_slot(trie, node, byte)] & 0xffffff;
    if (child == 0) {
      child = trie->node_count;
      status = add_node(trie, err);
      if (status) break;
      trie->edges[find_slot(trie, node, byte)] = (uint64_t)node << 32 | (uint64_t)byte << 24 | child;
    }
    node = child;
  }
  if (status == FG_OK) trie->values[node] = value;
  return status;
}

// ---- the double array ---------------------------------------------------------------------------------

typedef struct placing {
  fg_trie *trie;
  uint32_t first_free, capacity;
} placing;

static fg_status add_block(placing *p, fg_error *err) {
  fg_trie *trie = p->trie;
  if (trie->unit_count + BLOCK > p->capacity) {
    uint32_t capacity = p->capacity ? p->capacity * 2 : 4 * BLOCK;
    fg_trie_unit *units = realloc(trie->units, capacity * sizeof *units);
    if (!units) return no_memory(trie, err);
    trie->units = units;
    p->capacity = capacity;
  }
  for (uint32_t i = 0; i < BLOCK; i++) trie->units[trie->unit_count++] = (fg_trie_unit){0, nobody, -1};
  return FG_OK;
}

static bool is_free(const fg_trie *trie, uint32_t unit) {
  return unit != 0 && trie->units[unit].parent == nobody;
}

static bool fits(const fg_trie *trie, uint32_t base, const uint64_t *edges, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (!is_free(trie, base ^ (uint8_t)(edges[i] >> 24))) return false;
  }
  return true;
}

// A base at which all children of a node find free units.
static fg_status find_base(placing *p, const uint64_t *edges, size_t count, uint32_t *base, fg_error *err) {
  const fg_trie *trie = p->trie;
  while (p->first_free < trie->unit_count && !is_free(trie, p->first_free)) p->first_free++;
  int places = 0;
  for (uint32_t unit = p->first_free; unit < trie->unit_count && places < PLACES_MAX; unit++) {
    if (!is_free(trie, unit)) continue;
    places++;
    *base = unit ^ (uint8_t)(edges[0] >> 24);
    if (fits(trie, *base, edges, count)) return FG_OK;
  }
  *base = trie->unit_count;
  return add_block(p, err);
}

static int by_number(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

// Edges sorted are grouped by parent, and a parent's number is below its children's: its unit is known.
static fg_status place_all(placing *p, size_t count, uint32_t *unit_of, fg_error *err) {
  fg_trie *trie = p->trie;
  const uint64_t *edges = trie->edges;
  fg_status status = add_block(p, err);
  if (status == FG_OK) trie->units[0].value = trie->values[0];
  for (size_t from = 0, to; from < count && status == FG_OK; from = to) {
    for (to = from + 1; to < count && edges[to] >> 32 == edges[from] >> 32;) to++;
    uint32_t base, parent = unit_of[edges[from] >> 32];
    status = find_base(p, edges + from, to - from, &base, err);
    if (status) break;
    trie->units[parent].base = base;
    for (size_t i = from; i < to; i++) {
      uint32_t child = (uint32_t)edges[i] & 0xffffff, unit = base ^ (uint8_t)(edges[i] >> 24);
      trie->units[unit] = (fg_trie_unit){0, parent, trie->values[child]};
      unit_of[child] = unit;
    }
  }
  return status;
}

fg_status fg_trie_finish(fg_trie *trie, fg_error *err) {
  if (trie->node_count == 0) return FG_OK;
  uint32_t *unit_of = calloc(trie->node_count, sizeof *unit_of);
  if (!unit_of) return no_memory(trie, err);
  size_t count = 0;
  for (uint32_t i = 0; i < trie->slot_count; i++) {
    if (trie->edges[i] != 0) trie->edges[count++] = trie->edges[i];
  }
  qsort(trie->edges, count, sizeof *trie->edges, by_number);
  placing p = {.trie = trie};
  fg_status status = place_all(&p, count, unit_of, err);
  free(unit_of);
  free(trie->edges);
  free(trie->values);
  trie->edges = NULL;
  trie->values = NULL;
  trie->slot_count = trie->node_count = trie->node_capacity = 0;
  return status;
}

void fg_trie_free(fg_trie *trie) {
  free(trie->units);
  free(trie->edges);
  free(trie->values);
  *trie = (fg_trie){0};
}

size_t fg_trie_longest(const fg_trie *trie, const char *text, size_t length, int32_t *value) {
  size_t longest = 0;
  uint32_t unit = 0;
  if (!trie->units) return 0;
  for (size_t i = 0; i < length && (unit = fg_trie_step(trie->units, unit, (uint8_t)text[i])) != 0; i++) {
    if (trie->units[unit].value < 0) continue;
    longest = i + 1;
    if (value) *value = trie->units[unit].value;
  }
  return longest;
}
