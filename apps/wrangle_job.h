// wrangle_job.h: what a run of wrangle asks, ready to be run as a batch job.
//
// There is always a table and one request for each of its rows. With --template the table is the user's; with
// --data-dir it is made of the split: row, text, label. Both are made again in the same bytes when the
// command is given again, so that the batch job recognises its own and goes on.
#ifndef FG_APPS_WRANGLE_JOB_H
#define FG_APPS_WRANGLE_JOB_H

#include "options.h"
#include "unnamed_file.h"
#include "wrangle/answers.h"
#include "wrangle/examples.h"
#include "wrangle/request_line.h"
#include "wrangle/user_table.h"

typedef struct fg_wrangle_job {
  const fg_options *options;
  const fg_dataset *dataset; // NULL: the user's own table
  fg_answer_set answers;     // count 0: any
  fg_asking asking;
  char delimiter;
  FILE *table;
  const char *table_name;
  fg_unnamed_file made, spooled; // the table, where it is no file of the user's
  fg_table_head head;
  int64_t label;     // column of the true answers, or -1
  uint32_t examples; // that stand in front of each row, where they were drawn
  // The requests.
  FILE *requests;
  fg_unnamed_file unnamed; // `requests`, unless it is --dry-run's output
} fg_wrangle_job;

// Whether the options go together; nothing is read.
fg_status fg_wrangle_check(const fg_options *options, fg_error *err);
// Reads the table, or the data set, and writes the requests. In any case to be closed.
fg_status fg_wrangle_prepare(fg_wrangle_job *job, const fg_options *options, fg_error *err);
void fg_wrangle_close(fg_wrangle_job *job);

// wrangle_dataset.c: the table and the requests of a data set.
fg_status fg_wrangle_dataset(fg_wrangle_job *job, fg_error *err);
// wrangle_template.c: the requests of a user's table.
fg_status fg_wrangle_template(fg_wrangle_job *job, fg_error *err);

fg_status fg_wrangle_ask(fg_wrangle_job *job, uint64_t row, fg_slice prefix, fg_slice text, fg_error *err);

#endif
