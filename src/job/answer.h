// answer.h: one request on its way through the engine: all of its choices, from submission until the last one
// is done.
//
// Used by the batch runner and the server alike: knows nothing of files, rows or sockets. Whoever owns it
// sets what stands at the top, submits it, and hears once that it is done; then the choices hold what
// response.h shows.
//
// Threads: the engine's owner. Where somebody else reads the choices while they grow, `lock` is held around
// each change; and anybody may free it once it is done.
#ifndef FG_JOB_ANSWER_H
#define FG_JOB_ANSWER_H

#include <pthread.h>

#include "job/choice.h"
#include "job/order.h"

typedef struct fg_answer fg_answer;
struct fg_answer {
  fg_engine *engine;
  const fg_request_context *context; // must outlive it
  fg_job_request *request;           // owned
  fg_choice_key key;
  pthread_mutex_t *lock;                       // may be NULL
  void (*grew)(void *user, fg_answer *answer); // a choice has more than before; without the lock; may be NULL
  void (*done)(void *user, fg_answer *answer); // without the lock
  void *user;
  // what comes of it
  fg_guide *guide;    // of all choices, until the last one is done; NULL: any form
  fg_choice *choices; // [count]
  uint32_t count, left;
  fg_error error;          // not FG_OK: it could not be submitted whole
  const char *error_field; // of the request, whose form is what is wrong; NULL: something else is
  bool submitting;
};

// Hands all choices to the engine, those of prompts with a common beginning one after the other; `done` is
// called when the last one is done, perhaps before this returns.
void fg_answer_submit(fg_answer *answer);
void fg_answer_cancel(fg_answer *answer);
void fg_answer_free(fg_answer *answer);
// Whether one that is done has all its choices; otherwise *error says what is wrong, and with whom.
bool fg_answer_check(const fg_answer *answer, fg_api_error *error);

// A prompt of a request, and the longest of its answers, as the order of rows sees it.
fg_order_item fg_answer_item(const fg_job_request *request, const fg_request_context *context,
                             uint32_t prompt);
// Bytes that all choices of a request hold at most while they run, beside the request itself; and those of
// the response's JSON.
uint64_t fg_answer_cost(const fg_job_request *request, const fg_request_context *context);
uint64_t fg_answer_json_cost(const fg_job_request *request, const fg_request_context *context);

#endif
