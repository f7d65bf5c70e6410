// output.h: finished rows, in any order, become a file in the order of the input.
//
// OUT holds the longest finished prefix; a row that finished before an earlier one stands in OUT.journal
// until its turn comes. Both are written so that a kill at any moment loses no row: see docs/batch.md. One
// process at a time: OUT is locked. An OUT that is no regular file (a pipe, "-") cannot be resumed, and its
// waiting rows stand in a file without a name.
#ifndef FG_JOB_OUTPUT_H
#define FG_JOB_OUTPUT_H

#include "flexgen/batch.h"
#include "job/journal.h"

typedef struct fg_output fg_output;

typedef struct fg_output_options {
  const char *path;
  const fg_journal_key *key;
  fg_resume resume;
  bool retry_errors;
  bool repeatable; // the input can be read again, so a journal is worth keeping
  uint64_t rows;   // of the input, if repeatable
  // For a finished OUT whose failed rows are to run again: whether its row `row` answers that row of the
  // input.
  fg_status (*belongs)(void *user, uint64_t row, const char *line, size_t length, fg_error *err);
  void *user;
  fg_job_memory *memory;
} fg_output_options;

fg_status fg_output_open(fg_output **out, const fg_output_options *options, fg_error *err);
// Syncs what is there. complete: all rows were put, the journal goes.
fg_status fg_output_close(fg_output *output, bool complete, fg_error *err);

bool fg_output_has(const fg_output *output, uint64_t row); // finished, in this run or an earlier one
uint64_t fg_output_next(const fg_output *output);          // rows that stand in OUT
// Makes sure that a row can be put later without more memory.
fg_status fg_output_expect(fg_output *output, uint64_t row, fg_error *err);
// `line` ends with a newline. Written to OUT if it is the next one, with all that waited for it.
fg_status fg_output_put(fg_output *output, uint64_t row, const char *line, size_t length, fg_error *err);
// Call every few seconds: what was put before is on the disk then.
fg_status fg_output_sync(fg_output *output, fg_error *err);

// Visits all rows that are finished, in their order: those of OUT, then those that wait.
typedef fg_status fg_output_visitor(void *user, const char *line, size_t length, bool failed, fg_error *err);
fg_status fg_output_visit(fg_output *output, fg_output_visitor *visit, void *user, fg_error *err);

// Rows of earlier runs, and how many of them failed.
void fg_output_earlier(const fg_output *output, uint64_t *rows, uint64_t *failed);
// Whether a row of ours says anything but 200.
bool fg_output_row_failed(const char *line, size_t length);

#endif
