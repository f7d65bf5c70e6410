// batch_job.h: running a batch job for a command: progress, the journal's key, and what is said at the end.
#ifndef FG_APPS_BATCH_JOB_H
#define FG_APPS_BATCH_JOB_H

#include "flexgen/batch.h"
#include "run.h"

// Runs `input` to `output` on the open engine, as the run's options say, and leaves the rows in run->rows.
// keep_journal: as in fg_batch_options.
fg_status fg_batch_job(fg_run *run, const char *input, const char *output, bool keep_journal,
                       fg_batch_progress *done, fg_error *err);

#endif
