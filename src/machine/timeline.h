// timeline.h: a virtual clock, and when work that is handed to queues would be done.
//
// One host hands over work and sometimes waits for some of it; only waiting makes its clock go on. Work keeps
// one unit of the machine busy (kernels, a direction of the link, the disk). It begins when the host has
// handed it over, the queue has done what it was given before, the unit is idle, and what it waits for is
// there; so when work is handed over, its begin and its end are known, and nothing need be gone through
// later. A unit takes work in the order in which it was handed over. Pure: no clock, no memory, no thread;
// the same calls give the same times.
//
// Times are nanoseconds since the timeline began.
#ifndef FG_MACHINE_TIMELINE_H
#define FG_MACHINE_TIMELINE_H

#include <stdint.h>

typedef enum fg_unit {
  FG_UNIT_DEVICE, // kernels
  FG_UNIT_CPU,    // what the host computes itself
  FG_UNIT_IN,     // the link to the device, and from it
  FG_UNIT_OUT,
  FG_UNIT_DISK,
  FG_UNIT_COUNT
} fg_unit;

const char *fg_unit_name(fg_unit unit);

enum { FG_TIMELINE_QUEUES = 8 };

typedef struct fg_timeline {
  uint64_t now;                           // of the host
  uint64_t queue_end[FG_TIMELINE_QUEUES]; // of all that a queue was given
  uint64_t unit_end[FG_UNIT_COUNT];
  uint64_t busy[FG_UNIT_COUNT];
} fg_timeline;

// All zero is a timeline at its beginning.

typedef struct fg_timeline_span {
  uint64_t begin, end;
} fg_timeline_span;

fg_timeline_span fg_timeline_work(fg_timeline *timeline, uint32_t queue, fg_unit unit, double seconds);
// What the queue is given from now on begins at `time` at the earliest.
void fg_timeline_hold(fg_timeline *timeline, uint32_t queue, uint64_t time);
// The host waits until then.
void fg_timeline_wait(fg_timeline *timeline, uint64_t time);

#endif
