// workload.h: how large a batch file's job is, from a look at its first rows.
//
// The engine is opened before the job runs, and how many sequences it makes room for depends on what is to
// come. So the first rows are read: text is taken at three bytes a token, an answer at the most it may have.
// A wrong estimate costs speed, nothing else.
#ifndef FG_JOB_WORKLOAD_H
#define FG_JOB_WORKLOAD_H

#include "flexgen/engine.h"

// All 0 where the file cannot be read twice ("-", a pipe) or tells nothing. shards 0 = the whole file.
fg_workload fg_workload_estimate(const char *path, uint32_t shards);

#endif
