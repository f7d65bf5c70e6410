// fake_engine.h: a small engine for tests of the job layer, in place of the real one at link time.
//
// Up to `max_seqs` sequences run; each step gives every one of them one token. What comes out is a function
// of the request alone: a prompt that ends with ">TEXT" is answered with TEXT and an end token; any other one
// with letters drawn from (seed, row, sample, position, prompt), of a length that the same key draws.
#ifndef FG_TESTS_FAKE_ENGINE_H
#define FG_TESTS_FAKE_ENGINE_H

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "byte_model.h"
#include "engine/engine_internal.h"

typedef struct fake_sequence {
  fg_request request;
  fg_request_id id;
  uint64_t key;
  int32_t *prompt;
  uint32_t made;
  bool started, cancelled;
  struct fake_sequence *next;
} fake_sequence;

struct fg_engine {
  uint32_t max_seqs, max_len;
  fg_tokenizer *tokenizer;
  fg_budget *budget;
  fake_sequence *first;
  uint32_t pending;
  uint32_t most_pending;   // seen
  uint64_t steps, fail_at; // fail_at 0: never
  uint64_t refuse_every;   // every so many-th submission is refused; 0: none
  fg_error refusal;        // what it says then; FG_OK: it has no memory
  uint64_t submitted;
  uint64_t prompt_tokens, generated_tokens;
  uint32_t step_microseconds;
  fg_row_order order;                                              // that it wishes
  void (*after_step)(fg_engine *engine);                           // may be NULL
  void (*on_submit)(fg_engine *engine, const fg_request *request); // may be NULL
  void *user;
  bool failed;
};

fg_sampling fg_sampling_default(void) {
  return (fg_sampling){.temperature = 1, .top_p = 1, .repetition_penalty = 1};
}

const fg_tokenizer *fg_engine_tokenizer(const fg_engine *e) {
  return e->tokenizer;
}
const fg_chat *fg_engine_chat(const fg_engine *e) {
  return (void)e, NULL;
}
fg_budget *fg_engine_host_budget(fg_engine *e) {
  return e->budget;
}
fg_trace *fg_engine_trace(fg_engine *e) {
  return (void)e, NULL;
}

void fg_engine_describe(const fg_engine *e, fg_engine_info *out) {
  *out = (fg_engine_info){.name = "fake",
                          .fingerprint = "fake-1",
                          .vocab = BYTE_VOCAB,
                          .max_model_len = e->max_len,
                          .eos = byte_eos,
                          .eos_count = 2,
                          .max_num_seqs = e->max_seqs,
                          .order = e->order};
}

void fg_engine_get_stats(const fg_engine *e, fg_engine_stats *out) {
  *out = (fg_engine_stats){.prompt_tokens = e->prompt_tokens, .generated_tokens = e->generated_tokens};
}

void fg_engine_get_forecast(const fg_engine *e, fg_engine_forecast *out) {
  (void)e, *out = (fg_engine_forecast){0}; // nothing was planned
}
const fg_history *fg_engine_history(const fg_engine *e) {
  static const fg_history none;
  return (void)e, &none;
}
json_t *fg_engine_policy_json(const fg_engine *e) {
  return (void)e, NULL;
}

double fg_engine_remaining_seconds(const fg_engine *e, uint64_t requests) {
  return (void)e, (void)requests, -1; // nothing was planned
}

uint32_t fg_engine_pending(const fg_engine *e) {
  return e->pending;
}
uint32_t fg_engine_wants(const fg_engine *e) {
  return e->pending < 2 * e->max_seqs ? 2 * e->max_seqs - e->pending : 0;
}

static fg_status fake_refuse(const fg_engine *e, fg_error *err) {
  if (e->refusal.status != FG_OK) return fg_fail(err, e->refusal.status, "%s", e->refusal.message);
  return fg_fail(err, FG_NO_SPACE, "out of memory for a request");
}

fg_status fg_engine_submit(fg_engine *e, const fg_request *r, fg_request_id *id, fg_error *err) {
  e->submitted++;
  if (e->on_submit) e->on_submit(e, r);
  if (e->refuse_every && e->submitted % e->refuse_every == 0) return fake_refuse(e, err);
  fake_sequence *s = calloc(1, sizeof *s), **at = &e->first;
  s->request = *r;
  s->prompt = malloc(r->prompt_count * sizeof *s->prompt);
  memcpy(s->prompt, r->prompt, r->prompt_count * sizeof *s->prompt);
  const uint64_t key[3] = {r->sampling.seed, r->sampling.row, r->sampling.sample};
  s->key = fg_hash_more(fg_hash(key, sizeof key), s->prompt, r->prompt_count * sizeof *s->prompt);
  s->id = *id = e->submitted;
  while (*at) at = &(*at)->next;
  *at = s;
  e->pending++;
  if (e->pending > e->most_pending) e->most_pending = e->pending;
  return FG_OK;
}

void fg_engine_cancel(fg_engine *e, fg_request_id id) {
  for (fake_sequence *s = e->first; s; s = s->next) s->cancelled |= s->id == id;
}

static void fake_end(fg_engine *e, fake_sequence *s, fg_finish how, const fg_error *error) {
  fake_sequence **at = &e->first;
  while (*at != s) at = &(*at)->next;
  *at = s->next;
  e->pending--;
  s->request.on_done(s->request.user, how, error);
  free(s->prompt);
  free(s);
}

static uint64_t fake_random(const fake_sequence *s, uint64_t what) {
  return fg_hash_more(s->key, &what, sizeof what);
}

static int32_t fake_token(const fake_sequence *s) {
  uint32_t count = s->request.prompt_count, script = count;
  for (uint32_t i = 0; i < count; i++)
    if (s->prompt[i] == '>') script = i + 1;
  if (script < count) return script + s->made < count ? s->prompt[script + s->made] : BYTE_EOS;
  if (s->made >= fake_random(s, 1u << 30) % 12) return BYTE_EOS;
  return 'a' + (int32_t)(fake_random(s, s->made) % 26);
}

static void fake_score(const fake_sequence *s, int32_t token, uint64_t what, int32_t wanted,
                       fg_candidate top[64], fg_token_info *info) {
  uint32_t count = wanted > 0 ? (uint32_t)wanted : 0;
  float logprob = -(float)(fake_random(s, what) % 1000) / 128;
  for (uint32_t i = 0; i < count; i++) top[i] = (fg_candidate){'A' + (int32_t)i, -(float)i / 8};
  *info = (fg_token_info){.token = token, .logprob = logprob, .top = top, .top_count = count};
}

// Gives one sequence its next token; true if it is over.
static bool fake_advance(fg_engine *e, fake_sequence *s, fg_finish *how) {
  const fg_request *r = &s->request;
  fg_candidate top[64];
  fg_token_info info;
  if (!s->started) {
    e->prompt_tokens += r->prompt_count;
    for (uint32_t i = 1; i < r->prompt_count && r->prompt_logprobs >= 0; i++) {
      fake_score(s, s->prompt[i], 1000 + i, r->prompt_logprobs, top, &info);
      if (r->on_prompt) r->on_prompt(r->user, i, &info);
    }
  }
  s->started = true;
  *how = FG_FINISH_LENGTH;
  if (!r->max_tokens) return true;
  fake_score(s, fake_token(s), 2000 + s->made, r->logprobs, top, &info);
  s->made++;
  e->generated_tokens++;
  bool go_on = r->on_token(r->user, &info);
  if (info.token == BYTE_EOS && !r->sampling.ignore_eos)
    *how = FG_FINISH_EOS;
  else if (!go_on)
    *how = FG_FINISH_CALLER;
  else
    return s->made >= r->max_tokens;
  return true;
}

fg_status fg_engine_step(fg_engine *e, fg_error *err) {
  if (e->failed) return fg_fail(err, FG_IO, "an earlier step failed");
  for (fake_sequence *s = e->first, *next; s; s = next) {
    next = s->next;
    if (s->cancelled) fake_end(e, s, FG_FINISH_CANCELLED, NULL);
  }
  if (!e->pending) return FG_OK;
  if (e->step_microseconds) nanosleep(&(struct timespec){.tv_nsec = 1000 * (long)e->step_microseconds}, NULL);
  if (++e->steps == e->fail_at) {
    fg_error error;
    e->failed = true;
    fg_fail(&error, FG_IO, "store: cannot read: Input/output error");
    while (e->first) fake_end(e, e->first, FG_FINISH_ERROR, &error);
    return fg_fail(err, FG_IO, "%s", error.message);
  }
  uint32_t running = 0;
  for (fake_sequence *s = e->first, *next; s && running < e->max_seqs; s = next, running++) {
    next = s->next;
    fg_finish how;
    if (fake_advance(e, s, &how)) fake_end(e, s, how, NULL);
  }
  if (e->after_step) e->after_step(e);
  return FG_OK;
}

static inline fg_engine *fake_open(uint32_t max_seqs, uint64_t budget) {
  fg_engine *e = calloc(1, sizeof *e);
  e->max_seqs = max_seqs;
  e->max_len = 1000;
  e->tokenizer = byte_tokenizer();
  fg_budget_create(&e->budget, "host memory", "--host-memory", budget, NULL);
  return e;
}

// Returns what the budget still holds: nothing, if all was given back.
static inline uint64_t fake_close(fg_engine *e) {
  while (e->first) fake_end(e, e->first, FG_FINISH_CANCELLED, NULL);
  uint64_t left = fg_budget_used(e->budget);
  fg_tokenizer_destroy(e->tokenizer);
  fg_budget_destroy(e->budget);
  free(e);
  return left;
}

#endif
