// request_internal.h: between the files that read a request.
#ifndef FG_JOB_REQUEST_INTERNAL_H
#define FG_JOB_REQUEST_INTERNAL_H

#include "job/request.h"

typedef struct fg_request_reader {
  const fg_request_context *context;
  fg_job_request *request;
  fg_api_error *error;
} fg_request_reader;

// All fields but the prompt and the messages.
bool fg_request_read_fields(fg_request_reader *reader, const json_t *body);
// The prompts; after the fields.
bool fg_request_read_prompts(fg_request_reader *reader, const json_t *prompt);
bool fg_request_read_messages(fg_request_reader *reader, const json_t *messages);
// Turns a text into the ids of the next prompt; keeps the text if echo wants it.
bool fg_request_add_text(fg_request_reader *reader, const char *param, const char *text, size_t length);

#endif
