// workload.h: what a batch file's job is, from a look at it before it runs.
//
// How memory is divided, and how long the job takes, depends on the lengths of its rows. So requests are read
// as the job will read them, of a long file some groups of neighbours that stand evenly in it, and their
// prompts are tokenized. An answer is taken to be as long as it may be. Lengths stand in the order in which
// the job would run these rows alone, each with what it shares with the one before (order.h): of a beginning
// that few of many rows have in common, the sample sees too little. Beyond whole pages that is told by a byte
// of each token's hash, so a token may count that is none. A wrong estimate costs speed, nothing else.
#ifndef FG_JOB_WORKLOAD_H
#define FG_JOB_WORKLOAD_H

#include "flexgen/engine.h"
#include "job/request.h"

enum { FG_WORKLOAD_LENGTHS = 1024 };

typedef struct fg_workload_survey {
  fg_workload workload; // `lengths` points into this object
  fg_row_length lengths[FG_WORKLOAD_LENGTHS];
} fg_workload_survey;

// Where a job's rows are, and what they will be read against.
typedef struct fg_workload_source {
  const fg_request_context *context;
  const char *path;
  uint32_t shards; // 0 = the whole file
  // Of the first tokens of a request's prompt, those that are kept from jobs before. NULL: none are.
  uint32_t (*kept)(const void *user, const fg_request *request);
  const void *user;
} fg_workload_source;

// All 0 where the file cannot be read twice ("-", a pipe) or tells nothing.
void fg_workload_look(fg_workload_survey *out, const fg_workload_source *source);

#endif
