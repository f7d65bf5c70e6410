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

// The body for all choices of a request, in order. A choice that failed makes an error instead: then nothing
// is appended and *error says what.
bool fg_response_body(fg_text *out, const fg_response_head *head, const fg_choice *choices, uint32_t count,
                      fg_api_error *error);
// {"error": {"message", "type", "param", "code"}}
void fg_response_error(fg_text *out, const fg_api_error *error);

#endif
