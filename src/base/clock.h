// clock.h: the monotonic clock, in nanoseconds.
#ifndef FG_BASE_CLOCK_H
#define FG_BASE_CLOCK_H

#include <stdint.h>

uint64_t fg_now_ns(void);

#endif
