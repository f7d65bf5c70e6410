// heard.h: what an engine's caller hears of a request, kept for a test to look at.
//
// A test makes a request with heard_request, changes what it is about, and submits it. Callbacks that do more
// call those here first.
#ifndef FG_TESTS_HEARD_H
#define FG_TESTS_HEARD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "flexgen/engine.h"

enum { HEARD_TOKENS = 64 };

typedef struct heard {
  int32_t tokens[HEARD_TOKENS];
  uint32_t count;
  fg_request_id id;
  fg_finish finish;
  bool done;
} heard;

static inline bool hear_token(void *user, const fg_token_info *info) {
  heard *h = user;
  assert_false(h->done);
  assert_true(h->count < HEARD_TOKENS);
  h->tokens[h->count++] = info->token;
  return true;
}

static inline void hear_end(void *user, fg_finish finish, const fg_error *error) {
  heard *h = user;
  (void)error;
  assert_false(h->done);
  h->finish = finish;
  h->done = true;
}

// `user` begins with a heard. No log-probabilities, and no end but after max_tokens.
static inline fg_request heard_request(void *user, const int32_t *prompt, uint32_t count,
                                       uint32_t max_tokens) {
  fg_request request = {.prompt = prompt,
                        .prompt_count = count,
                        .max_tokens = max_tokens,
                        .sampling = fg_sampling_default(),
                        .logprobs = -1,
                        .prompt_logprobs = -1,
                        .user = user,
                        .on_token = hear_token,
                        .on_done = hear_end};
  request.sampling.ignore_eos = true;
  return request;
}

static inline void heard_submit(fg_engine *engine, const fg_request *request) {
  heard *h = request->user;
  fg_error err;
  if (fg_engine_submit(engine, request, &h->id, &err) != FG_OK) fail_msg("%s", err.message);
}

// Steps until nothing is left to hear.
static inline void heard_run(fg_engine *engine) {
  fg_error err;
  while (fg_engine_pending(engine))
    if (fg_engine_step(engine, &err) != FG_OK) fail_msg("%s", err.message);
}

#endif
