// choice.h: one answer in the making: tokens come from the engine one by one, text grows, stop strings are
// found, and what the response will show of each token is kept in a few bytes.
//
// A choice fills an fg_request with its prompt, its sampling key and its own callbacks; whoever owns it
// submits that, and hears once that it is done. Used by the batch runner and the server alike.
#ifndef FG_JOB_CHOICE_H
#define FG_JOB_CHOICE_H

#include <pthread.h>

#include "base/text_buffer.h"
#include "job/request.h"

// What the response shows of one token; `top_count` candidates follow it in the log.
typedef struct fg_token_record {
  int32_t token;
  float logprob;
  uint32_t offset; // in the text, in code points
  uint32_t top_count;
  bool has_logprob; // the first token of a prompt has none
} fg_token_record;

typedef struct fg_choice {
  const fg_job_request *request; // must outlive the choice
  const fg_request_context *context;
  uint32_t prompt, index; // of the request's prompts; of its choices
  pthread_mutex_t *lock;  // held while it changes, where another thread reads it meanwhile; else NULL
  void (*grew)(void *user, struct fg_choice *choice); // after each token, without the lock; may be NULL
  void (*done)(void *user, struct fg_choice *choice);
  void *user;
  fg_request_id id; // for the owner: of the engine
  // the answer
  fg_text text;            // of what was generated
  fg_ids ids;              // generated, the last one included
  fg_text prompt_log, log; // fg_token_records with their candidates
  fg_finish finish;
  bool finished, stopped;
  uint32_t stop;  // of the request's stop strings, if `stopped`
  fg_error error; // FG_FINISH_ERROR
  // of the reading
  fg_detokenizer *detokenizer;
  size_t searched;      // bytes of the text without a stop string
  uint32_t code_points; // of the text so far, echoed prompt included
  fg_text echo;         // text of an echoed prompt that was sent as ids
} fg_choice;

// The sampling key is (seed, row) for a request without a seed and (its seed, 0) for one that has one, so
// that it gives the same answer wherever it stands.
typedef struct fg_choice_key {
  uint64_t seed, row;
} fg_choice_key;

// Prepares choice `index` of a request.
fg_status fg_choice_start(fg_choice *choice, const fg_job_request *request, const fg_request_context *context,
                          uint32_t index, fg_error *err);
// Fills what is to be submitted, but for the guide; set done and user before that. bias and stop ids are
// those of the request.
void fg_choice_engine_request(fg_choice *choice, fg_choice_key key, fg_request *out);
void fg_choice_free(fg_choice *choice);

// Bytes that a choice of this prompt holds at most, the engine's copy included, unless its answer is very
// long: what has to be free before it is started.
uint64_t fg_choice_cost(const fg_job_request *request, const fg_request_context *context, uint32_t prompt);

#endif
