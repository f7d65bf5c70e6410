#include "plan/row_order.h"

#include <stdlib.h>

#include "base/system.h"

enum { NONE = UINT32_MAX };

// A leaf is a row, any other node a branch: what all below it begin with.
typedef struct node {
  uint32_t parent, child, next; // first child, next of the same parent
  uint32_t rank;                // the lowest below it: leaves have theirs by the wish
  uint32_t depth;               // of a branch: what all below it have in common
} node;

typedef struct walker {
  const fg_row_tree *tree;
  node *node;     // [2 * count + 1]: leaves by their number, then branches, the root first
  uint32_t *open; // [count]: branches from the root down
  uint32_t nodes, opened;
} walker;

size_t fg_row_walk_scratch(uint32_t count) {
  return (2 * (size_t)count + 1) * sizeof(node) + count * sizeof(uint32_t);
}

// ---- the tree ------------------------------------------------------------------------------------------

static void open_branch(walker *w, uint32_t depth) {
  w->node[w->nodes] = (node){.parent = NONE, .child = NONE, .next = NONE, .rank = NONE, .depth = depth};
  w->open[w->opened++] = w->nodes++;
}

static uint32_t deepest(const walker *w) {
  return w->open[w->opened - 1];
}

static void put_below(walker *w, uint32_t child, uint32_t parent) {
  w->node[child].parent = parent;
  if (w->node[child].rank < w->node[parent].rank) w->node[parent].rank = w->node[child].rank;
}

// A leaf that has `depth` in common with the next one: closes the branches that are deeper, and opens the one
// that is just as deep.
static void put_leaf(walker *w, uint32_t leaf, uint32_t depth) {
  uint32_t last = leaf;
  while (w->node[deepest(w)].depth > depth) {
    put_below(w, last, deepest(w));
    last = w->open[--w->opened];
  }
  if (w->node[deepest(w)].depth < depth) open_branch(w, depth);
  put_below(w, last, deepest(w));
}

static void grow(walker *w) {
  const fg_row_tree *t = w->tree;
  for (uint32_t rank = 0; rank < t->count; rank++)
    w->node[t->wished[rank]] = (node){.child = NONE, .next = NONE, .rank = rank};
  w->nodes = t->count;
  open_branch(w, 0);
  for (uint32_t i = 0; i < t->count; i++) put_leaf(w, i, i + 1 < t->count ? t->common[i + 1] : 0);
}

// Hangs every node in front of its parent's children, the last by rank first. The nodes of one rank are a
// leaf and branches straight above it.
static void arrange(walker *w) {
  for (uint32_t rank = w->tree->count; rank-- > 0;)
    for (uint32_t n = w->tree->wished[rank]; w->node[n].rank == rank && w->node[n].parent != NONE;
         n = w->node[n].parent) {
      node *parent = &w->node[w->node[n].parent];
      w->node[n].next = parent->child;
      parent->child = n;
    }
}

static void walk(const walker *w, uint32_t *order, uint32_t *shared) {
  uint32_t n = w->tree->count, done = 0, common = w->tree->common[0]; // from the root
  for (;;) {
    if (w->node[n].child != NONE) {
      n = w->node[n].child;
      continue;
    }
    if (shared) shared[done] = common;
    order[done++] = n;
    while (n != NONE && w->node[n].next == NONE) n = w->node[n].parent;
    if (n == NONE) return;
    common = w->node[w->node[n].parent].depth;
    n = w->node[n].next;
  }
}

void fg_row_walk(const fg_row_tree *tree, void *scratch, uint32_t *order, uint32_t *shared) {
  if (!tree->count) return;
  walker w = {.tree = tree, .node = scratch};
  w.open = (uint32_t *)(w.node + 2 * (size_t)tree->count + 1);
  grow(&w);
  arrange(&w);
  walk(&w, order, shared);
}

// ---- by lengths ----------------------------------------------------------------------------------------

int fg_row_compare_longest(const fg_row_length *a, const fg_row_length *b) {
  if (a->generated != b->generated) return a->generated > b->generated ? -1 : 1;
  return (a->prompt < b->prompt) - (a->prompt > b->prompt);
}

static int compare_rows(const void *x, const void *y, void *user) {
  const fg_row_length *rows = user;
  const uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;
  const int by_length = fg_row_compare_longest(&rows[a], &rows[b]);
  return by_length ? by_length : (a > b) - (a < b);
}

// common, wished: [count].
static void find_longest(uint32_t *order, uint32_t *shared, const fg_row_length *rows, uint32_t count,
                         uint32_t *common, uint32_t *wished, void *scratch) {
  for (uint32_t i = 0; i < count; i++) {
    wished[i] = i;
    common[i] = rows[i].shared;
  }
  fg_sort(wished, count, sizeof *wished, compare_rows, (void *)(uintptr_t)rows); // only read
  fg_row_walk(&(fg_row_tree){count, common, wished}, scratch, order, shared);
}

fg_status fg_row_order_find(uint32_t *order, uint32_t *shared, const fg_row_length *rows, uint32_t count,
                            fg_row_order wish, fg_error *err) {
  for (uint32_t i = 0; i < count; i++) {
    order[i] = i;
    if (shared) shared[i] = rows[i].shared;
  }
  if (wish != FG_ORDER_LONGEST || count < 2) return FG_OK;
  uint32_t *lists = malloc(2 * (size_t)count * sizeof *lists);
  void *scratch = malloc(fg_row_walk_scratch(count));
  const bool has_memory = lists && scratch;
  if (has_memory) find_longest(order, shared, rows, count, lists, lists + count, scratch);
  free(lists);
  free(scratch);
  return has_memory ? FG_OK : fg_fail(err, FG_NO_SPACE, "no memory to put %u rows into order", count);
}
