// batch_row.h: one row of a batch between its line in the input and its line in the output.
#ifndef FG_JOB_BATCH_ROW_H
#define FG_JOB_BATCH_ROW_H

#include "flexgen/engine.h"
#include "job/answer.h"
#include "job/id_set.h"
#include "job/response.h"
#include "job/rows.h"

typedef struct fg_batch_row fg_batch_row;

// What all rows of a job share.
typedef struct fg_batch_setting {
  fg_engine *engine;
  fg_request_context context;
  uint64_t seed;
  uint64_t id_seed; // ids of responses are a hash of this and the row; 0: and times are 0 too
  fg_job_memory *memory;
  // The row is complete: all choices are done.
  void (*complete)(void *user, fg_batch_row *row);
  void *user;
} fg_batch_setting;

// Why rows end without having run.
typedef struct fg_row_end {
  const char *code, *message; // code: a constant
} fg_row_end;

struct fg_batch_row {
  const fg_batch_setting *setting;
  uint64_t row, line; // number among the job's rows, from 0; line of the input
  uint64_t input_bytes, id;
  fg_text custom_id;         // as JSON
  const char *code;          // there is no response: the line cannot be read, ... (error->message says more)
  const fg_api_error *error; // NULL: none so far
  fg_answer answer;
  uint64_t held, cost,
      line_cost; // bytes while it waits to be started; while it runs; while its line is built
  // for the owner: bytes that were taken for it, lists
  uint64_t taken;
  fg_batch_row *previous, *next;
};

// The number-th row, from its envelope; NULL only when there is no memory. What is wrong with it stands in
// it.
fg_batch_row *fg_batch_row_create(const fg_batch_setting *setting, uint64_t number, const fg_line *line,
                                  const fg_envelope *envelope, bool duplicate);
void fg_batch_row_destroy(fg_batch_row *row);
static inline bool fg_batch_row_failed(const fg_batch_row *row) {
  return row->code || row->error;
}
// A row that nobody will answer: its line says code and message, in place of a response, unless the line of
// the input cannot be read, which is said then. NULL only when there is no memory.
fg_batch_row *fg_batch_row_unanswered(const fg_batch_setting *setting, uint64_t number, const fg_line *line,
                                      const fg_envelope *envelope, const fg_row_end *end);
// It cannot be answered, and will not be submitted.
void fg_batch_row_refuse(fg_batch_row *row, const char *why);

// The first of its prompts, and the longest of its answers.
fg_order_item fg_batch_row_item(const fg_batch_row *row);

// Hands all choices to the engine, those of prompts with a common beginning one after the other; `complete`
// is called when the last one is done, perhaps before this returns.
void fg_batch_row_submit(fg_batch_row *row);
void fg_batch_row_cancel(fg_batch_row *row);
// The line for the output, with its newline.
void fg_batch_row_put_line(fg_batch_row *row, fg_text *line);

#endif
