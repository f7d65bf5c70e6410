#include "job/answer.h"

#include <inttypes.h>
#include <stdlib.h>

#include "job/response.h"
#include "plan/policy.h"

// ---- what it costs -----------------------------------------------------------------------------------

// JSON of a token's log-probability and of each candidate with it, about.
enum { JSON_FIXED = 4096, JSON_PER_TOKEN = 64, JSON_PER_CANDIDATE = 48, JSON_PER_BYTE = 4 };

uint64_t fg_answer_cost(const fg_job_request *q, const fg_request_context *context) {
  uint64_t cost = 0;
  for (uint32_t i = 0; i < q->prompt_count; i++)
    cost += q->n * fg_choice_cost(q, context, i) + q->prompts[i].ids.count * sizeof(int32_t) +
            q->prompts[i].text_length;
  return cost;
}

uint64_t fg_answer_json_cost(const fg_job_request *q, const fg_request_context *context) {
  uint64_t per_token = q->logprobs < 0 ? 0 : JSON_PER_TOKEN + (uint64_t)q->logprobs * JSON_PER_CANDIDATE;
  uint64_t cost = JSON_FIXED;
  for (uint32_t i = 0; i < q->prompt_count; i++) {
    uint64_t tokens = fg_job_request_room(q, context, i);
    if (q->echo) tokens += q->prompts[i].ids.count;
    cost += q->n * tokens * (per_token + JSON_PER_BYTE);
  }
  return cost;
}

fg_order_item fg_answer_item(const fg_job_request *q, const fg_request_context *context, uint32_t prompt) {
  const fg_ids *ids = &q->prompts[prompt].ids;
  return (fg_order_item){ids->data, (uint32_t)ids->count, fg_job_request_room(q, context, prompt)};
}

// ---- submission --------------------------------------------------------------------------------------

static void choice_grew(void *user, fg_choice *choice) {
  (void)choice;
  fg_answer *a = user;
  a->grew(a->user, a);
}

// Guides are the owner's, and whoever frees the answer may be somebody else.
static void release_guide(fg_answer *a) {
  if (a->guide) fg_form_store_release(a->context->forms, a->guide);
  a->guide = NULL;
}

static void finish(fg_answer *a) {
  release_guide(a);
  a->done(a->user, a);
}

static void choice_done(void *user, fg_choice *choice) {
  (void)choice;
  fg_answer *a = user;
  if (--a->left == 0 && !a->submitting) finish(a);
}

static fg_status submit_choice(fg_answer *a, uint32_t index, fg_error *err) {
  fg_choice *choice = &a->choices[index];
  fg_status status = fg_choice_start(choice, a->request, a->context, index, err);
  if (status != FG_OK) return status;
  choice->lock = a->lock;
  choice->grew = a->grew ? choice_grew : NULL;
  choice->done = choice_done;
  choice->user = a;
  fg_request request;
  fg_choice_engine_request(choice, a->key, &request);
  request.guide = a->guide;
  return fg_engine_submit(a->engine, &request, &choice->id, err);
}

// The numbers of the prompts as they are best submitted.
static fg_status order_prompts(const fg_answer *a, uint32_t *order, fg_error *err) {
  const uint32_t count = a->request->prompt_count;
  order[0] = 0;
  if (count == 1) return FG_OK;
  fg_order_item *items = malloc(count * sizeof *items);
  void *scratch = malloc(fg_order_scratch(count));
  if (items && scratch) {
    for (uint32_t i = 0; i < count; i++) items[i] = fg_answer_item(a->request, a->context, i);
    fg_order(items, count, FG_PAGE_TOKENS, FG_ORDER_INPUT, scratch, order);
  }
  const bool done = items && scratch;
  free(items);
  free(scratch);
  return done ? FG_OK : fg_fail(err, FG_NO_SPACE, "out of memory for %" PRIu32 " prompts", count);
}

static fg_status submit_prompt(fg_answer *a, uint32_t prompt, fg_error *err) {
  const uint32_t n = a->request->n;
  fg_status status = FG_OK;
  for (uint32_t i = prompt * n; status == FG_OK && i < (prompt + 1) * n; i++) {
    a->left++;
    status = submit_choice(a, i, err);
    if (status != FG_OK) a->left--; // the engine never heard of it
  }
  return status;
}

static fg_status acquire_guide(fg_answer *a, fg_error *err) {
  const fg_status status = fg_job_request_guide(a->request, a->context, &a->guide, err);
  if (status != FG_OK) a->error_field = a->request->form.field;
  return status;
}

static fg_status submit_choices(fg_answer *a, fg_error *err) {
  const fg_job_request *q = a->request;
  const uint32_t count = fg_job_request_choices(q);
  a->choices = calloc(count, sizeof *a->choices);
  uint32_t one, *order = q->prompt_count == 1 ? &one : malloc(q->prompt_count * sizeof *order);
  fg_status status = a->choices && order ? order_prompts(a, order, err)
                                         : fg_fail(err, FG_NO_SPACE, "out of memory for %u choices", count);
  if (a->choices) a->count = count;
  if (status == FG_OK) status = acquire_guide(a, err);
  for (uint32_t i = 0; status == FG_OK && i < q->prompt_count; i++) status = submit_prompt(a, order[i], err);
  // Such as what the model has no tokens for, where an answer has to begin with it.
  if (status == FG_UNSUPPORTED && a->guide) a->error_field = q->form.field;
  if (order != &one) free(order);
  return status;
}

void fg_answer_submit(fg_answer *a) {
  a->submitting = true;
  if (a->lock) pthread_mutex_lock(a->lock);
  const fg_status status = submit_choices(a, &a->error);
  if (status == FG_OK) a->error.status = FG_OK;
  if (a->lock) pthread_mutex_unlock(a->lock);
  if (status != FG_OK) fg_answer_cancel(a);
  a->submitting = false;
  if (a->left == 0) finish(a);
}

void fg_answer_cancel(fg_answer *a) {
  for (uint32_t i = 0; i < a->count; i++)
    if (a->choices[i].id && !a->choices[i].finished) fg_engine_cancel(a->engine, a->choices[i].id);
}

bool fg_answer_check(const fg_answer *a, fg_api_error *error) {
  *error = (fg_api_error){0};
  if (a->error_field) return fg_api_fail_form(error, a->error_field, &a->error);
  if (a->error.status != FG_OK) return fg_api_fail_for(error, NULL, &a->error);
  return fg_response_check(a->choices, a->count, error);
}

void fg_answer_free(fg_answer *a) {
  for (uint32_t i = 0; i < a->count; i++) fg_choice_free(&a->choices[i]);
  free(a->choices);
  release_guide(a);
  fg_job_request_destroy(a->request);
  *a = (fg_answer){0};
}
