// response.h: finished choices to the body that OpenAI's clients read.
#ifndef FG_JOB_RESPONSE_H
#define FG_JOB_RESPONSE_H

#include "base/text_buffer.h"
#include "job/choice.h"

typedef struct fg_response_head {
  const char *id;    // "cmpl-..."
  int64_t created;   // seconds since 1970
  const char *model; // shown if the request names none
} fg_response_head;

// Whether all choices came to an end; otherwise *error says what happened to the first that did not.
bool fg_response_check(const fg_choice *choices, uint32_t count, fg_api_error *error);
// The body for all choices of a request, in order; they were checked.
void fg_response_body(fg_text *out, const fg_response_head *head, const fg_choice *choices, uint32_t count);
// What of a choice was sent in pieces: bytes of its logs and text, ids.
typedef struct fg_choice_sent {
  size_t prompt_log, log, text, ids;
  bool begun, finished;
} fg_choice_sent;

// Appends the next piece of a choice that is streamed, one chunk object with all that is certain and was not
// sent; false: there is nothing. All pieces together say what the body would. The last one has the
// finish_reason.
bool fg_response_chunk(fg_text *out, const fg_response_head *head, const fg_choice *choice,
                       fg_choice_sent *sent);
// The last chunk where a stream's usage is asked for.
void fg_response_usage_chunk(fg_text *out, const fg_response_head *head, const fg_choice *choices,
                             uint32_t count);
// {"error": {"message", "type", "param", "code"}}
void fg_response_error(fg_text *out, const fg_api_error *error);

#endif
