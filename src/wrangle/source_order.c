#include <stdlib.h>
#include <string.h>

#include "wrangle/source.h"

int fg_slice_compare(fg_slice a, fg_slice b) {
  const size_t length = a.length < b.length ? a.length : b.length;
  const int order = length ? memcmp(a.data, b.data, length) : 0;
  return order ? order : (a.length > b.length) - (a.length < b.length);
}

typedef struct grouped {
  fg_slice key;
  size_t number, first; // first: the lowest number of this key
} grouped;

static int by_number(size_t a, size_t b) {
  return (a > b) - (a < b);
}

static int by_key(const void *a, const void *b) {
  const grouped *x = a, *y = b;
  const int order = fg_slice_compare(x->key, y->key);
  return order ? order : by_number(x->number, y->number);
}

static int by_first(const void *a, const void *b) {
  const grouped *x = a, *y = b;
  return x->first != y->first ? by_number(x->first, y->first) : by_number(x->number, y->number);
}

fg_status fg_group_order(size_t *order, const fg_slice *keys, size_t count, fg_error *err) {
  grouped *all = malloc(count * sizeof *all + 1);
  if (!all) return fg_fail(err, FG_NO_SPACE, "out of memory to order %zu rows", count);
  for (size_t i = 0; i < count; i++) all[i] = (grouped){.key = keys[i], .number = i};
  qsort(all, count, sizeof *all, by_key);
  for (size_t i = 0; i < count; i++)
    all[i].first = i && fg_slice_compare(all[i].key, all[i - 1].key) == 0 ? all[i - 1].first : all[i].number;
  qsort(all, count, sizeof *all, by_first);
  for (size_t i = 0; i < count; i++) order[i] = all[i].number;
  free(all);
  return FG_OK;
}
