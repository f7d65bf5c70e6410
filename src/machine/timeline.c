#include "machine/timeline.h"

#include <math.h>

static const double NANOSECONDS = 1e9;

static uint64_t later(uint64_t a, uint64_t b) {
  return a > b ? a : b;
}

const char *fg_unit_name(fg_unit unit) {
  static const char *const names[FG_UNIT_COUNT] = {"device", "cpu", "link_in", "link_out", "disk"};
  return names[unit];
}

fg_timeline_span fg_timeline_work(fg_timeline *t, uint32_t queue, fg_unit unit, double seconds) {
  const uint64_t begin = later(later(t->now, t->queue_end[queue]), t->unit_end[unit]);
  const uint64_t length = seconds > 0 ? (uint64_t)llround(seconds * NANOSECONDS) : 0;
  const fg_timeline_span span = {begin, begin + length};
  t->queue_end[queue] = t->unit_end[unit] = span.end;
  t->busy[unit] += length;
  return span;
}

void fg_timeline_hold(fg_timeline *t, uint32_t queue, uint64_t time) {
  t->queue_end[queue] = later(t->queue_end[queue], time);
}

void fg_timeline_wait(fg_timeline *t, uint64_t time) {
  t->now = later(t->now, time);
}
