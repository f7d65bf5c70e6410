// intervals.h: the union of time spans, as a sorted list of intervals that do not touch.
//
// Spans arrive in about the order of their ends, so nearly every insertion is at the tail.
#ifndef FG_BASE_INTERVALS_H
#define FG_BASE_INTERVALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct fg_interval {
  uint64_t begin, end; // [begin, end)
} fg_interval;

typedef struct fg_intervals {
  fg_interval *list; // sorted; list[i].end < list[i + 1].begin
  size_t count, capacity;
} fg_intervals;

// Adds [begin, end) to the union. False if there is no memory; the union is then as before.
bool fg_intervals_add(fg_intervals *set, uint64_t begin, uint64_t end);
// Room for so many intervals, so that adding them allocates nothing. False if there is no memory.
bool fg_intervals_reserve(fg_intervals *set, size_t capacity);
void fg_intervals_free(fg_intervals *set);
// Forgets everything before `time`.
void fg_intervals_cut(fg_intervals *set, uint64_t time);

// Length of the union, and of what two unions share, before `time` (UINT64_MAX: all of it).
uint64_t fg_intervals_length(const fg_intervals *set, uint64_t time);
uint64_t fg_intervals_shared(const fg_intervals *a, const fg_intervals *b, uint64_t time);

#endif
