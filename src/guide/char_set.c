#include "guide/char_set.h"

#include <stdlib.h>
#include <string.h>

enum { SURROGATE_FIRST = 0xd800, SURROGATE_LAST = 0xdfff };

static bool reserve(fg_char_set *set, uint32_t count) {
  if (count <= set->capacity) return true;
  uint32_t capacity = set->capacity ? set->capacity * 2 : 8;
  if (capacity < count) capacity = count;
  fg_char_range *ranges = realloc(set->ranges, capacity * sizeof *ranges);
  if (!ranges) {
    set->failed = true;
    return false;
  }
  set->ranges = ranges;
  set->capacity = capacity;
  return true;
}

static void add_range(fg_char_set *set, uint32_t low, uint32_t high) {
  if (low > high || !reserve(set, set->count + 1)) return;
  uint32_t first = 0;
  while (first < set->count && set->ranges[first].high + 1 < low) first++;
  uint32_t last = first; // behind those that it joins
  for (; last < set->count && set->ranges[last].low <= high + 1; last++) {
    if (set->ranges[last].low < low) low = set->ranges[last].low;
    if (set->ranges[last].high > high) high = set->ranges[last].high;
  }
  memmove(set->ranges + first + 1, set->ranges + last, (set->count - last) * sizeof *set->ranges);
  set->ranges[first] = (fg_char_range){low, high};
  set->count = set->count - (last - first) + 1;
}

void fg_char_set_add(fg_char_set *set, uint32_t low, uint32_t high) {
  if (high > FG_CHAR_MAX) high = FG_CHAR_MAX;
  add_range(set, low, high < SURROGATE_FIRST ? high : SURROGATE_FIRST - 1);
  add_range(set, low > SURROGATE_LAST ? low : SURROGATE_LAST + 1, high);
}

void fg_char_set_add_set(fg_char_set *set, const fg_char_set *other) {
  for (uint32_t i = 0; i < other->count; i++)
    fg_char_set_add(set, other->ranges[i].low, other->ranges[i].high);
  set->failed |= other->failed;
}

void fg_char_set_remove(fg_char_set *set, uint32_t low, uint32_t high) {
  fg_char_set left = {.failed = set->failed};
  for (uint32_t i = 0; i < set->count; i++) {
    const fg_char_range r = set->ranges[i];
    if (r.low < low) fg_char_set_add(&left, r.low, r.high < low ? r.high : low - 1);
    if (r.high > high) fg_char_set_add(&left, r.low > high ? r.low : high + 1, r.high);
  }
  free(set->ranges);
  *set = left;
}

void fg_char_set_negate(fg_char_set *set) {
  fg_char_set left = {.failed = set->failed};
  uint32_t next = 0;
  for (uint32_t i = 0; i < set->count; i++) {
    if (set->ranges[i].low > next) fg_char_set_add(&left, next, set->ranges[i].low - 1);
    next = set->ranges[i].high + 1;
  }
  if (next <= FG_CHAR_MAX) fg_char_set_add(&left, next, FG_CHAR_MAX);
  free(set->ranges);
  *set = left;
}

bool fg_char_set_has(const fg_char_set *set, uint32_t c) {
  for (uint32_t i = 0; i < set->count; i++)
    if (c >= set->ranges[i].low && c <= set->ranges[i].high) return true;
  return false;
}

bool fg_char_set_equal(const fg_char_set *a, const fg_char_set *b) {
  return a->count == b->count &&
         (!a->count || memcmp(a->ranges, b->ranges, a->count * sizeof *a->ranges) == 0);
}

void fg_char_set_free(fg_char_set *set) {
  free(set->ranges);
  *set = (fg_char_set){0};
}
