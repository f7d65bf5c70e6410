// job.h: what is known of a job before it runs: how long its rows are, and what they share.
#ifndef FG_PLAN_JOB_H
#define FG_PLAN_JOB_H

#include "flexgen/engine.h"

// Rows in the order of their token tree; of a long job a sample that stands for all of them, in turns.
typedef struct fg_plan_job {
  const fg_row_length *rows;
  uint32_t count;
  uint64_t requests; // that are to run
  uint64_t done;     // rows that ran before them
  bool shares;       // rows may share: pages that one leaves are kept for others
} fg_plan_job;

#endif
