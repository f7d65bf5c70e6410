// job.h: what is known of a job before it runs: how long its rows are.
#ifndef FG_PLAN_JOB_H
#define FG_PLAN_JOB_H

#include <stdint.h>

typedef struct fg_plan_row {
  uint32_t prompt, generated; // tokens
} fg_plan_row;

// Rows in their order; of a long job a sample that stands for `requests` of them.
typedef struct fg_plan_job {
  const fg_plan_row *rows;
  uint32_t count;
  uint64_t requests;
} fg_plan_job;

#endif
