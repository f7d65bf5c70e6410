#include "base/intervals.h"

#include <stdlib.h>
#include <string.h>

static uint64_t min_u64(uint64_t a, uint64_t b) {
  return a < b ? a : b;
}
static uint64_t max_u64(uint64_t a, uint64_t b) {
  return a > b ? a : b;
}

// The first interval that ends at `time` or later.
static size_t first_reaching(const fg_intervals *set, uint64_t time) {
  size_t low = 0, high = set->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (set->list[middle].end < time)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

bool fg_intervals_reserve(fg_intervals *set, size_t capacity) {
  if (capacity <= set->capacity) return true;
  fg_interval *list = realloc(set->list, capacity * sizeof *list);
  if (!list) return false;
  set->list = list;
  set->capacity = capacity;
  return true;
}

static bool make_room(fg_intervals *set) {
  return set->count < set->capacity || fg_intervals_reserve(set, set->capacity ? set->capacity * 2 : 64);
}

bool fg_intervals_add(fg_intervals *set, uint64_t begin, uint64_t end) {
  if (begin >= end) return true;
  // [first, last) are those that the new one overlaps or touches: they become one.
  size_t first = first_reaching(set, begin), last = first;
  for (; last < set->count && set->list[last].begin <= end; last++) {
    begin = min_u64(begin, set->list[last].begin);
    end = max_u64(end, set->list[last].end);
  }
  if (first == last && !make_room(set)) return false;
  fg_interval *at = set->list + first;
  memmove(at + 1, set->list + last, (set->count - last) * sizeof *at);
  *at = (fg_interval){begin, end};
  set->count = set->count - (last - first) + 1;
  return true;
}

void fg_intervals_free(fg_intervals *set) {
  free(set->list);
  *set = (fg_intervals){0};
}

void fg_intervals_cut(fg_intervals *set, uint64_t time) {
  size_t gone = first_reaching(set, time);
  if (gone < set->count && set->list[gone].end == time) gone++;
  set->count -= gone;
  if (set->count == 0) return;
  memmove(set->list, set->list + gone, set->count * sizeof *set->list);
  set->list[0].begin = max_u64(set->list[0].begin, time);
}

uint64_t fg_intervals_length(const fg_intervals *set, uint64_t time) {
  uint64_t length = 0;
  for (size_t i = 0; i < set->count && set->list[i].begin < time; i++)
    length += min_u64(set->list[i].end, time) - set->list[i].begin;
  return length;
}

uint64_t fg_intervals_shared(const fg_intervals *a, const fg_intervals *b, uint64_t time) {
  uint64_t length = 0;
  for (size_t i = 0, j = 0; i < a->count && j < b->count;) {
    const fg_interval *x = &a->list[i], *y = &b->list[j];
    uint64_t begin = max_u64(x->begin, y->begin), end = min_u64(x->end, y->end);
    if (begin >= time) break;
    if (begin < end) length += min_u64(end, time) - begin;
    if (x->end < y->end)
      i++;
    else
      j++;
  }
  return length;
}
