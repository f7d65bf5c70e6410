// request_line.h: a row's prompt as a line of a batch job, and the line with its answer.
#ifndef FG_WRANGLE_REQUEST_LINE_H
#define FG_WRANGLE_REQUEST_LINE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/text_buffer.h"
#include "flexgen/error.h"
#include "text/unicode.h"
#include "wrangle/answers.h"

// How every row is asked.
typedef struct fg_asking {
  uint32_t max_tokens;
  double temperature;
  const char *stop;          // ends an answer; "" = nothing does
  bool chat;                 // the prompt is a user's message
  const fg_answer_set *only; // no other text is an answer; NULL: any is
} fg_asking;

// row: from 0. With a newline.
void fg_put_request(fg_text *out, uint64_t row, fg_slice prompt, const fg_asking *asking);

typedef struct fg_reply {
  json_t *root;      // owns the rest
  fg_slice text;     // of the answer; empty where there is none
  const char *error; // or NULL
} fg_reply;

// Reads a line of a batch job's results that must answer this row; `name` stands in messages.
fg_status fg_reply_read(fg_reply *out, const char *line, size_t length, uint64_t row, const char *name,
                        fg_error *err);
void fg_reply_free(fg_reply *reply);

#endif
