// reasons.h: everything that speaks against something, where one error would tell the first of it only.
//
// Who looks at a model gives a list; whoever finds a fault that leaves other things to be looked at puts it
// there and goes on. Who wants to run a model gives none, and the first fault ends the matter.
#ifndef FG_BASE_REASONS_H
#define FG_BASE_REASONS_H

#include <stdint.h>

#include "flexgen/error.h"

enum { FG_REASONS_KEPT = 32 };

typedef struct fg_reasons {
  fg_error items[FG_REASONS_KEPT];
  uint32_t count; // of all; those beyond the ones kept are counted
} fg_reasons;

// FG_OK: the failure, of which *err tells, was put into the list. What it would not belong in comes back:
// that all is well, that there is no list (NULL), and what is no fault of the thing looked at (no memory, a
// broken disk).
fg_status fg_reasons_keep(fg_reasons *reasons, fg_status status, const fg_error *err);

// How many of the items there are.
uint32_t fg_reasons_kept(const fg_reasons *reasons);

#endif
