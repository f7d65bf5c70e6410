// request.h: one OpenAI request body, checked and turned into what the engine needs.
//
// A body is read by a table of its fields (request_fields.c): name, range, and who reads it. A field that is
// not in the table, or has a value that would change the result in a way that is not built, fails the
// request with OpenAI's error object: nothing is ignored that matters. The result is a list of prompts in
// token ids and one set of options for all; each prompt gives `n` choices.
//
// Used by the batch runner and the server alike: knows nothing of files, rows or sockets.
#ifndef FG_JOB_REQUEST_H
#define FG_JOB_REQUEST_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "flexgen/engine.h"
#include "job/answer_form.h"
#include "job/stop_strings.h"
#include "text/chat.h"
#include "text/tokenizer.h"

enum {
  FG_REQUEST_MAX_CHOICES = 4096, // prompts times n of one request
  FG_REQUEST_MAX_LOGPROBS = 20,
};

typedef enum fg_endpoint { FG_ENDPOINT_COMPLETIONS, FG_ENDPOINT_CHAT } fg_endpoint;

// What a request is read against. tokenizer, chat and forms may be NULL.
typedef struct fg_request_context {
  const fg_tokenizer *tokenizer;
  const fg_chat *chat;
  fg_engine_info info;
  bool streams;         // an answer may be sent in pieces: "stream" may be true
  fg_form_store *forms; // of whoever owns the engine; NULL: forms of answers are checked only
  bool forms_later;     // whoever reads is not the owner: what is wrong with a form is found at submission
} fg_request_context;

// OpenAI's error object: {"message", "type", "param", "code"}.
typedef struct fg_api_error {
  int status;       // of HTTP
  const char *type; // "invalid_request_error", ...
  const char *code; // or NULL
  char param[64];   // "" = none
  char message[512];
} fg_api_error;

typedef struct fg_prompt {
  fg_ids ids;
  char *text; // as it was sent, if echo wants it; NULL for prompts that came as ids
  size_t text_length;
} fg_prompt;

typedef struct fg_job_request {
  fg_endpoint endpoint;
  char *model; // as it was sent, or NULL
  fg_prompt *prompts;
  uint32_t prompt_count, n;
  uint32_t max_tokens;  // UINT32_MAX: as many as the context holds
  fg_sampling sampling; // without its key; lists point into this object
  bool seeded;
  fg_stop_string *stops;
  uint32_t stop_count;
  fg_answer_form form;
  int32_t logprobs; // top candidates with each token; -1 = no log-probabilities
  bool echo, include_stop, skip_special, return_token_ids, tokens_as_ids;
  bool stream, include_usage; // the answer goes out in pieces; with a last one that counts tokens
  // of the reading
  bool chat_logprobs, add_special, generation_prompt, continue_final;
  int32_t top_logprobs, max_completion_tokens, best_of;
  int32_t truncate;                 // tokens of a prompt that are kept; -1: the context
  const json_t *template_variables; // borrowed while reading
} fg_job_request;

// The endpoint that a URL names ("/v1/completions", "/v1/chat/completions"). Unknown ones give an error.
bool fg_endpoint_find(const char *url, fg_endpoint *endpoint, fg_api_error *error);

// Reads a body; false: *error says what is wrong, and there is nothing to destroy.
bool fg_job_request_read(fg_job_request **out, const fg_request_context *context, fg_endpoint endpoint,
                         const json_t *body, fg_api_error *error);
void fg_job_request_destroy(fg_job_request *request);

static inline uint32_t fg_job_request_choices(const fg_job_request *r) {
  return r->prompt_count * r->n;
}
uint64_t fg_job_request_bytes(const fg_job_request *r); // of memory that it holds
// The guide of the request's form; *out NULL: it asks for none. To be released into context->forms.
fg_status fg_job_request_guide(const fg_job_request *r, const fg_request_context *context, fg_guide **out,
                               fg_error *err);
// Candidates that are wanted with each token of a prompt; -1: it is not scored.
int32_t fg_job_request_prompt_logprobs(const fg_job_request *r);
// Most tokens that a choice of this prompt can generate.
uint32_t fg_job_request_room(const fg_job_request *r, const fg_request_context *context, uint32_t prompt);

// What is wrong with a form that the request's `field` asks for; returns false.
bool fg_api_fail_form(fg_api_error *error, const char *field, const fg_error *err);
// Why a request was not taken: 400 where it is at fault itself (FG_INVALID, FG_UNSUPPORTED), otherwise 500.
// param may be NULL; returns false.
bool fg_api_fail_for(fg_api_error *error, const char *param, const fg_error *err);
// Sets status 400, OpenAI's type, the parameter (may be NULL) and the message; returns false.
bool fg_api_fail(fg_api_error *error, const char *param, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
