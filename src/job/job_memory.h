// job_memory.h: what a job may hold beside the engine: first an allowance that is part of what the engine
// set aside for requests in flight, then what the host budget has left.
#ifndef FG_JOB_JOB_MEMORY_H
#define FG_JOB_JOB_MEMORY_H

#include "base/budget.h"

enum { FG_JOB_ALLOWANCE = 4 << 20 };

typedef struct fg_job_memory {
  fg_budget *host;
  uint64_t used, reserved; // reserved: the part of `used` that was taken from the budget
} fg_job_memory;

// FG_NO_SPACE: nothing was taken; the message names `what`.
fg_status fg_job_memory_take(fg_job_memory *memory, uint64_t bytes, const char *what, fg_error *err);
void fg_job_memory_give(fg_job_memory *memory, uint64_t bytes);

#endif
