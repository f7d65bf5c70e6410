// typical.h: one time out of several.
#ifndef FG_BASE_TYPICAL_H
#define FG_BASE_TYPICAL_H

#include <stdint.h>

// Sorts times and returns their mean, 0 of none: what disturbs the machine will disturb a run on it as well,
// and a run's time is a sum. A time above four medians counts as so many: it would be the whole of a figure.
double fg_typical(double *values, uint32_t count);

#endif
