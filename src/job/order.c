#include "job/order.h"

#include <stdlib.h>
#include <string.h>

enum { NONE = UINT32_MAX };

// A leaf is a prompt, any other node a common beginning.
typedef struct node {
  uint32_t parent, child, next; // first child, next of the same parent
  uint32_t rank;                // the lowest below it
  uint32_t depth;               // blocks that all below it share; of a leaf nothing
} node;

typedef struct tree {
  const fg_order_item *items;
  uint32_t count, block, nodes;
  uint32_t *sorted, *wished, *open; // [count]: items by tokens, by wish; branches from the root down
  node *node;                       // [2 * count]: leaves by the number of their item, then branches
} tree;

size_t fg_order_scratch(uint32_t count) {
  return (size_t)count * (3 * sizeof(uint32_t) + 2 * sizeof(node)) + sizeof(node);
}

uint32_t fg_order_common(const fg_order_item *a, const fg_order_item *b) {
  const uint32_t count = a->count < b->count ? a->count : b->count;
  uint32_t i = 0;
  while (i < count && a->ids[i] == b->ids[i]) i++;
  return i;
}

// ---- sorting -------------------------------------------------------------------------------------------

static int by_number(uint32_t a, uint32_t b) {
  return (a > b) - (a < b);
}

// Any order of tokens will do that puts common beginnings together: that of their bytes is the fastest.
static int compare_tokens(const void *left, const void *right, void *user) {
  const fg_order_item *items = user;
  const uint32_t i = *(const uint32_t *)left, j = *(const uint32_t *)right;
  const fg_order_item *a = &items[i], *b = &items[j];
  const uint32_t count = a->count < b->count ? a->count : b->count;
  int difference = count ? memcmp(a->ids, b->ids, count * sizeof *a->ids) : 0;
  if (!difference) difference = by_number(a->count, b->count);
  return difference ? difference : by_number(i, j);
}

static int compare_longest(const void *left, const void *right, void *user) {
  const fg_order_item *items = user;
  const uint32_t i = *(const uint32_t *)left, j = *(const uint32_t *)right;
  int difference = by_number(items[j].generated, items[i].generated);
  if (!difference) difference = by_number(items[j].count, items[i].count);
  return difference ? difference : by_number(i, j);
}

static void sort(tree *t, fg_row_order wish) {
  for (uint32_t i = 0; i < t->count; i++) t->sorted[i] = t->wished[i] = i;
  void *items = (void *)(uintptr_t)t->items; // only read
  qsort_r(t->sorted, t->count, sizeof *t->sorted, compare_tokens, items);
  if (wish == FG_ORDER_LONGEST) qsort_r(t->wished, t->count, sizeof *t->wished, compare_longest, items);
  for (uint32_t rank = 0; rank < t->count; rank++) t->node[t->wished[rank]].rank = rank;
}

// ---- the tree ------------------------------------------------------------------------------------------

static uint32_t new_branch(tree *t, uint32_t depth) {
  t->node[t->nodes] = (node){.parent = NONE, .child = NONE, .next = NONE, .rank = NONE, .depth = depth};
  return t->nodes++;
}

static void put_below(tree *t, uint32_t child, uint32_t parent) {
  t->node[child].parent = parent;
  if (t->node[child].rank < t->node[parent].rank) t->node[parent].rank = t->node[child].rank;
}

// Closes the branches that share more than `depth` blocks, with `last` below the deepest, and opens the one
// that shares just as many. Returns how many are open.
static uint32_t close_branches(tree *t, uint32_t opened, uint32_t last, uint32_t depth) {
  while (t->node[t->open[opened - 1]].depth > depth) {
    put_below(t, last, t->open[opened - 1]);
    last = t->open[--opened];
  }
  if (t->node[t->open[opened - 1]].depth < depth) t->open[opened++] = new_branch(t, depth);
  put_below(t, last, t->open[opened - 1]);
  return opened;
}

// From the sorted prompts: how much each shares with the next says where branches end and begin.
static void grow(tree *t) {
  t->nodes = t->count;
  t->open[0] = new_branch(t, 0); // the root
  uint32_t opened = 1;
  for (uint32_t i = 0; i < t->count; i++) {
    const uint32_t leaf = t->sorted[i];
    const uint32_t common =
        i + 1 < t->count ? fg_order_common(&t->items[leaf], &t->items[t->sorted[i + 1]]) : 0;
    t->node[leaf].child = t->node[leaf].next = NONE;
    opened = close_branches(t, opened, leaf, common / t->block);
  }
}

// Hangs every node in front of its parent's children, the last by rank first. The nodes of one rank are a
// leaf and branches straight above it.
static void arrange(tree *t) {
  for (uint32_t rank = t->count; rank-- > 0;)
    for (uint32_t n = t->wished[rank]; t->node[n].rank == rank && t->node[n].parent != NONE;
         n = t->node[n].parent) {
      node *parent = &t->node[t->node[n].parent];
      t->node[n].next = parent->child;
      parent->child = n;
    }
}

static void walk(const tree *t, uint32_t *order) {
  uint32_t n = t->count, done = 0; // from the root
  for (;;) {
    if (n < t->count) order[done++] = n;
    if (t->node[n].child != NONE) {
      n = t->node[n].child;
      continue;
    }
    while (n != NONE && t->node[n].next == NONE) n = t->node[n].parent;
    if (n == NONE) return;
    n = t->node[n].next;
  }
}

void fg_order(const fg_order_item *items, uint32_t count, uint32_t block, fg_row_order wish, void *scratch,
              uint32_t *order) {
  tree t = {.items = items, .count = count, .block = block, .node = scratch};
  t.sorted = (uint32_t *)(t.node + 2 * (size_t)count + 1);
  t.wished = t.sorted + count;
  t.open = t.wished + count;
  if (!count) return;
  sort(&t, wish);
  grow(&t);
  arrange(&t);
  walk(&t, order);
}
