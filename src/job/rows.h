// rows.h: the lines of a batch file, one at a time.
//
// A row is a line that holds something; blank lines are skipped but counted, so that a row's line number is
// the one that an editor shows. A byte-order mark, CRLF and a last line without an end are fine. A line
// of more than FG_ROW_MAX_BYTES is a row that cannot be read, not the end of the job.
//
// What was read of a file stays in the system's cache, since a job reads its input three times, unless the
// file is large beside the budget, which counts that cache too: then it is dropped behind the reader.
#ifndef FG_JOB_ROWS_H
#define FG_JOB_ROWS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "flexgen/error.h"
#include "job/job_memory.h"

enum { FG_ROW_MAX_BYTES = 16 << 20 };

typedef struct fg_rows fg_rows;

// A line without its end. Valid until the next call.
typedef struct fg_line {
  uint64_t number; // 1 = first
  const char *text;
  size_t length; // 0: the line cannot be held; `error` says why
  fg_error error;
} fg_line;

// "-" is standard input.
fg_status fg_rows_open(fg_rows **out, const char *path, fg_job_memory *memory, fg_error *err);
void fg_rows_close(fg_rows *rows);
// The next row; *end instead when there is none.
fg_status fg_rows_next(fg_rows *rows, fg_line *line, bool *end, fg_error *err);
// Whether next is likely not to wait for whoever writes the input.
bool fg_rows_ready(const fg_rows *rows);

// A whole file in one pass: what identifies it, and how many rows it holds.
typedef struct fg_rows_survey {
  bool regular; // a file that can be read again; otherwise nothing else is set
  uint64_t hash, rows, bytes;
} fg_rows_survey;
fg_status fg_rows_look_over(const char *path, fg_job_memory *memory, fg_rows_survey *survey, fg_error *err);

// ---- what a line holds: {"custom_id", "method", "url", "body"} ---------------------------------------

typedef struct fg_envelope {
  json_t *root; // owns the rest; NULL: the line cannot be read, see code and error
  const char *custom_id;
  size_t custom_id_length;
  const char *method, *url; // NULL: missing or no string
  const json_t *body;
  uint64_t parse_bytes; // taken while root lives
  const char *code;
  fg_error error;
} fg_envelope;

void fg_envelope_read(fg_envelope *envelope, const fg_line *line, fg_job_memory *memory);
void fg_envelope_free(fg_envelope *envelope, fg_job_memory *memory);

#endif
