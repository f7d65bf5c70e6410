#include "job/choice.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "text/unicode.h"

enum {
  FIXED_BYTES = 2048,  // the structures here and in the engine
  GROWTH = 2,          // a buffer that grows has up to twice what it holds
  TEXT_PER_TOKEN = 8,  // bytes of text that a token stands for, rarely more
  COUNTED_ANSWER = 512 // tokens; what a longer answer takes beyond is a thousandth of its keys and values
};

uint64_t fg_choice_cost(const fg_job_request *request, const fg_request_context *context, uint32_t prompt) {
  uint64_t asked = request->prompts[prompt].ids.count, made = fg_job_request_room(request, context, prompt);
  uint64_t record = request->logprobs < 0
                        ? 0
                        : sizeof(fg_token_record) + (uint64_t)request->logprobs * sizeof(fg_candidate);
  if (made > COUNTED_ANSWER) made = COUNTED_ANSWER;
  uint64_t kept = made * (sizeof(int32_t) + TEXT_PER_TOKEN + record);
  if (request->echo) kept += asked * (TEXT_PER_TOKEN + record);
  return FIXED_BYTES + GROWTH * kept + (asked + made) * sizeof(int32_t);
}

static uint32_t count_code_points(const char *bytes, size_t length) {
  uint32_t count = 0;
  for (size_t i = 0; i < length; i++) count += ((unsigned char)bytes[i] & 0xc0) != 0x80;
  return count;
}

// ---- text --------------------------------------------------------------------------------------------

// Without a tokenizer a token's text is its name.
static fg_status push_text(fg_choice *c, int32_t token, fg_text *text, fg_error *err) {
  size_t before = text->length;
  fg_status status = FG_OK;
  if (c->detokenizer)
    status = fg_detokenizer_push(c->detokenizer, token, text, err);
  else
    fg_text_printf(text, "token_id:%" PRId32, token);
  if (status == FG_OK && fg_text_failed(text)) status = fg_fail(err, FG_NO_SPACE, "out of memory for a text");
  if (status == FG_OK && text->length > before)
    c->code_points += count_code_points(text->data + before, text->length - before);
  return status;
}

static void record(fg_choice *c, fg_text *log, const fg_token_info *info, bool has_logprob) {
  fg_token_record r = {.token = info->token,
                       .logprob = info->logprob,
                       .offset = c->code_points,
                       .top_count = has_logprob ? info->top_count : 0,
                       .has_logprob = has_logprob};
  fg_text_append(log, &r, sizeof r);
  if (r.top_count) fg_text_append(log, info->top, r.top_count * sizeof *info->top);
}

// Looks for stop strings in what the last token added, once min_tokens are there; false: the answer ends
// here.
static bool look_for_stops(fg_choice *c) {
  const fg_job_request *q = c->request;
  fg_stop_match match;
  if (!q->stop_count || !c->text.data) return true;
  bool found = c->ids.count > q->sampling.min_tokens &&
               fg_stop_find(q->stops, q->stop_count, c->text.data, c->text.length, c->searched, &match);
  c->searched = c->text.length;
  if (!found) return true;
  c->stopped = true;
  c->stop = match.index;
  c->text.length = q->include_stop ? match.end : match.begin;
  return false;
}

static bool is_one_of(const int32_t *ids, uint32_t count, int32_t id) {
  for (uint32_t i = 0; i < count; i++)
    if (ids[i] == id) return true;
  return false;
}

// Whether the engine will end the sequence at this token: then it is no text, unless that is asked for.
static bool ends(const fg_choice *c, int32_t token) {
  const fg_sampling *s = &c->request->sampling;
  return (!s->ignore_eos && is_one_of(c->context->info.eos, c->context->info.eos_count, token)) ||
         is_one_of(s->stop_ids, s->stop_id_count, token);
}

// ---- what the engine calls ---------------------------------------------------------------------------

static bool fail(fg_choice *c, const fg_error *err) {
  if (c->error.status == FG_OK) c->error = *err;
  return false;
}

static void enter(const fg_choice *c) {
  if (c->lock) pthread_mutex_lock(c->lock);
}

static void leave(const fg_choice *c) {
  if (c->lock) pthread_mutex_unlock(c->lock);
}

static bool add_token(fg_choice *c, const fg_token_info *info) {
  fg_error err;
  if (fg_ids_append(&c->ids, &info->token, 1, &err) != FG_OK) return fail(c, &err);
  if (c->request->logprobs >= 0) record(c, &c->log, info, true);
  bool last = ends(c, info->token);
  if (last && !c->request->include_stop) return true;
  if (push_text(c, info->token, &c->text, &err) != FG_OK) return fail(c, &err);
  return last || look_for_stops(c);
}

static bool take_token(void *user, const fg_token_info *info) {
  fg_choice *c = user;
  enter(c);
  const bool more = add_token(c, info);
  leave(c);
  if (c->grew) c->grew(c->user, c);
  return more;
}

// The text of an echoed prompt moves on token by token, so that each one's offset is known. A prompt that was
// sent as text is shown as it was sent, and what follows counts from its end.
static fg_status echo_token(fg_choice *c, size_t position, fg_error *err) {
  const fg_prompt *prompt = &c->request->prompts[c->prompt];
  if (prompt->text) fg_text_clear(&c->echo);
  fg_status status = push_text(c, prompt->ids.data[position], &c->echo, err);
  if (status == FG_OK && prompt->text && position + 1 == prompt->ids.count)
    c->code_points = count_code_points(prompt->text, prompt->text_length);
  return status;
}

static void take_prompt_token(void *user, uint32_t position, const fg_token_info *info) {
  fg_choice *c = user;
  fg_error err;
  enter(c);
  record(c, &c->prompt_log, info, true);
  if (echo_token(c, position, &err) != FG_OK) fail(c, &err);
  leave(c);
}

static void end(fg_choice *c, fg_finish finish, const fg_error *error) {
  fg_error err;
  c->finish = finish;
  if (finish == FG_FINISH_ERROR && error) fail(c, error);
  // What is left of an incomplete character shows as U+FFFD, as in a decoding of all ids.
  if (c->detokenizer && !c->stopped && fg_detokenizer_finish(c->detokenizer, &c->text, &err) != FG_OK)
    fail(c, &err);
  if (fg_text_failed(&c->text) || fg_text_failed(&c->log) || fg_text_failed(&c->prompt_log))
    fail(c, &(fg_error){FG_NO_SPACE, "out of memory for an answer"});
  c->finished = true;
  fg_detokenizer_destroy(c->detokenizer);
  c->detokenizer = NULL;
}

static void take_end(void *user, fg_finish finish, const fg_error *error) {
  fg_choice *c = user;
  enter(c);
  end(c, finish, error);
  leave(c);
  if (c->done) c->done(c->user, c);
}

// ---- start and end -----------------------------------------------------------------------------------

// Where the prompt's tokens are scored, the rest of it is echoed as the scores come.
static fg_status start_echo(fg_choice *c, fg_error *err) {
  const fg_ids *ids = &c->request->prompts[c->prompt].ids;
  bool scored = c->request->logprobs >= 0;
  if (scored) record(c, &c->prompt_log, &(fg_token_info){.token = ids->data[0]}, false);
  fg_status status = FG_OK;
  for (size_t i = 0; status == FG_OK && i < (scored ? 1 : ids->count); i++) status = echo_token(c, i, err);
  return status;
}

fg_status fg_choice_start(fg_choice *c, const fg_job_request *request, const fg_request_context *context,
                          uint32_t index, fg_error *err) {
  *c = (fg_choice){.request = request, .context = context, .index = index, .prompt = index / request->n};
  const fg_ids *ids = &request->prompts[c->prompt].ids;
  fg_status status = FG_OK;
  if (context->tokenizer)
    status = fg_detokenizer_create(&c->detokenizer, context->tokenizer, request->skip_special, err);
  if (status == FG_OK && request->echo)
    status = start_echo(c, err);
  else if (status == FG_OK && c->detokenizer)
    status = fg_detokenizer_prime(c->detokenizer, ids->data, ids->count, err);
  if (status != FG_OK) fg_choice_free(c);
  return status;
}

void fg_choice_engine_request(fg_choice *c, fg_choice_key key, fg_request *out) {
  const fg_job_request *q = c->request;
  const fg_ids *ids = &q->prompts[c->prompt].ids;
  *out = (fg_request){.prompt = ids->data,
                      .prompt_count = (uint32_t)ids->count,
                      .max_tokens = fg_job_request_room(q, c->context, c->prompt),
                      .sampling = q->sampling,
                      .logprobs = q->logprobs,
                      .prompt_logprobs = fg_job_request_prompt_logprobs(q),
                      .user = c,
                      .on_token = take_token,
                      .on_done = take_end};
  if (out->prompt_logprobs >= 0) out->on_prompt = take_prompt_token;
  if (!q->seeded) out->sampling.seed = key.seed;
  out->sampling.row = q->seeded ? 0 : key.row;
  out->sampling.sample = c->index;
}

void fg_choice_free(fg_choice *c) {
  fg_detokenizer_destroy(c->detokenizer);
  fg_text_free(&c->text);
  fg_text_free(&c->echo);
  fg_text_free(&c->prompt_log);
  fg_text_free(&c->log);
  fg_ids_free(&c->ids);
  *c = (fg_choice){0};
}
