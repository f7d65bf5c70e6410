#include "job/job_memory.h"

static uint64_t beyond_allowance(uint64_t used) {
  return used > FG_JOB_ALLOWANCE ? used - FG_JOB_ALLOWANCE : 0;
}

fg_status fg_job_memory_take(fg_job_memory *memory, uint64_t bytes, const char *what, fg_error *err) {
  uint64_t more = beyond_allowance(memory->used + bytes) - memory->reserved;
  if (more) {
    fg_status status = fg_budget_reserve(memory->host, more, what, err);
    if (status != FG_OK) return status;
  }
  memory->reserved += more;
  memory->used += bytes;
  return FG_OK;
}

void fg_job_memory_give(fg_job_memory *memory, uint64_t bytes) {
  memory->used -= bytes;
  uint64_t still = beyond_allowance(memory->used);
  if (memory->reserved > still) fg_budget_release(memory->host, memory->reserved - still);
  memory->reserved = still;
}
