// job.h: what is known of a job before it runs: how long its rows are.
#ifndef FG_PLAN_JOB_H
#define FG_PLAN_JOB_H

#include "flexgen/engine.h"

// Rows in their order; of a long job a sample that stands for `requests` of them.
typedef struct fg_plan_job {
  const fg_row_length *rows;
  uint32_t count;
  uint64_t requests;
} fg_plan_job;

#endif
