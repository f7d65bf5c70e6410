#include "job/order.h"

#include <stdlib.h>
#include <string.h>

#include "base/system.h"
#include "plan/row_order.h"

enum { LISTS = 4 };

// Each a list of `count`; places are those in the order of tokens.
typedef struct lists {
  uint32_t *sorted; // items in the order of their tokens
  uint32_t *common; // blocks that the item of a place has in common with that of the place before
  uint32_t *place;  // of an item
  uint32_t *wished; // places of items in the wished order
} lists;

size_t fg_order_scratch(uint32_t count) {
  return fg_row_walk_scratch(count) + LISTS * (size_t)count * sizeof(uint32_t);
}

uint32_t fg_order_common(const fg_order_item *a, const fg_order_item *b) {
  const uint32_t count = a->count < b->count ? a->count : b->count;
  uint32_t i = 0;
  while (i < count && a->ids[i] == b->ids[i]) i++;
  return i;
}

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
  const fg_row_length a = {.prompt = items[i].count, .generated = items[i].generated},
                      b = {.prompt = items[j].count, .generated = items[j].generated};
  const int difference = fg_row_compare_longest(&a, &b);
  return difference ? difference : by_number(i, j);
}

static void sort(const fg_order_item *items, uint32_t count, fg_row_order wish, const lists *l) {
  void *user = (void *)(uintptr_t)items; // only read
  for (uint32_t i = 0; i < count; i++) l->sorted[i] = l->wished[i] = i;
  fg_sort(l->sorted, count, sizeof *l->sorted, compare_tokens, user);
  if (wish == FG_ORDER_LONGEST) fg_sort(l->wished, count, sizeof *l->wished, compare_longest, user);
  for (uint32_t place = 0; place < count; place++) l->place[l->sorted[place]] = place;
  for (uint32_t i = 0; i < count; i++) l->wished[i] = l->place[l->wished[i]];
}

void fg_order(const fg_order_item *items, uint32_t count, uint32_t block, fg_row_order wish, void *scratch,
              uint32_t *order) {
  uint32_t *at = (uint32_t *)((char *)scratch + fg_row_walk_scratch(count));
  const lists l = {at, at + count, at + 2 * (size_t)count, at + 3 * (size_t)count};
  sort(items, count, wish, &l);
  for (uint32_t place = 0; place < count; place++)
    l.common[place] =
        place ? fg_order_common(&items[l.sorted[place - 1]], &items[l.sorted[place]]) / block : 0;
  fg_row_walk(&(fg_row_tree){count, l.common, l.wished}, scratch, order, NULL);
  for (uint32_t i = 0; i < count; i++) order[i] = l.sorted[order[i]];
}
