// batch_job.h: a batch job that somebody else drives: fg_batch_run until it is done, a server between the
// requests of others.
//
// Whoever drives it calls `fill` when the engine has room, steps the engine, and calls `stepped`, until it is
// done. What it has written by then goes on where it was when the same job is opened again.
//
// Threads: the engine's owner.
#ifndef FG_JOB_BATCH_JOB_H
#define FG_JOB_BATCH_JOB_H

#include "flexgen/batch.h"
#include "job/batch_row.h"
#include "job/output.h"

typedef struct fg_batch_job fg_batch_job;

// Texts of the options must stay until close.
fg_status fg_batch_job_open(fg_batch_job **out, fg_engine *engine, const fg_batch_options *options,
                            fg_error *err);
// Submits rows until the engine has `room` sequences more, or the job no rows.
fg_status fg_batch_job_fill(fg_batch_job *job, uint32_t room, fg_error *err);
// After a step: rows that ended are written, and made to last every few seconds.
fg_status fg_batch_job_stepped(fg_batch_job *job, fg_error *err);
bool fg_batch_job_runs(const fg_batch_job *job); // rows of it are with the engine
bool fg_batch_job_done(const fg_batch_job *job); // all rows are written
// Rows of it that are finished, of earlier runs too.
void fg_batch_job_count(const fg_batch_job *job, uint64_t *done, uint64_t *failed, uint64_t *total);
// Visits the rows that are finished, in their order, also those of earlier runs.
fg_status fg_batch_job_visit(fg_batch_job *job, fg_output_visitor *visit, void *user, fg_error *err);
// No more `fill`. Rows that are under way end in the engine's next step, without a result.
void fg_batch_job_cancel(fg_batch_job *job);
// After `cancel`, when none of it is with the engine: every row that is not finished is, with this error.
fg_status fg_batch_job_give_up(fg_batch_job *job, const fg_row_end *end, fg_error *err);
// No row of it may be with the engine. done: its journal is not needed any more.
fg_status fg_batch_job_close(fg_batch_job *job, bool done, fg_error *err);

#endif
