#include "job/request.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "job/request_internal.h"

bool fg_api_fail(fg_api_error *error, const char *param, const char *format, ...) {
  error->status = 400;
  error->type = "invalid_request_error";
  snprintf(error->param, sizeof error->param, "%s", param ? param : "");
  va_list args;
  va_start(args, format);
  vsnprintf(error->message, sizeof error->message, format, args);
  va_end(args);
  return false;
}

static bool blame(fg_api_error *error, fg_status status, bool server) {
  if (status == FG_UNSUPPORTED) error->code = "unsupported_parameter";
  if (!server) return false;
  error->status = 500;
  error->type = "server_error";
  return false;
}

bool fg_api_fail_form(fg_api_error *error, const char *field, const fg_error *err) {
  fg_api_fail(error, field, "%s: %.400s", field, err->message);
  return blame(error, err->status, err->status == FG_NO_SPACE || err->status == FG_INTERNAL);
}

bool fg_api_fail_for(fg_api_error *error, const char *param, const fg_error *err) {
  fg_api_fail(error, param, "%s", err->message);
  return blame(error, err->status, err->status != FG_INVALID && err->status != FG_UNSUPPORTED);
}

bool fg_endpoint_find(const char *url, fg_endpoint *endpoint, fg_api_error *error) {
  static const char *const urls[] = {
      [FG_ENDPOINT_COMPLETIONS] = "/v1/completions", [FG_ENDPOINT_CHAT] = "/v1/chat/completions"};
  for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
    if (strcmp(url, urls[i]) != 0) continue;
    *endpoint = (fg_endpoint)i;
    return true;
  }
  return fg_api_fail(error, "url", "url \"%.100s\" is not supported; known are %s and %s", url, urls[0],
                     urls[1]);
}

int32_t fg_job_request_prompt_logprobs(const fg_job_request *r) {
  return r->echo ? r->logprobs : -1;
}

uint32_t fg_job_request_room(const fg_job_request *r, const fg_request_context *context, uint32_t prompt) {
  uint32_t room = context->info.max_model_len - (uint32_t)r->prompts[prompt].ids.count;
  return r->max_tokens < room ? r->max_tokens : room;
}

uint64_t fg_job_request_bytes(const fg_job_request *r) {
  uint64_t bytes = sizeof *r + r->prompt_count * sizeof *r->prompts + r->stop_count * sizeof *r->stops +
                   r->sampling.bias_count * sizeof *r->sampling.bias +
                   r->sampling.stop_id_count * sizeof *r->sampling.stop_ids;
  for (uint32_t i = 0; i < r->prompt_count; i++)
    bytes += r->prompts[i].ids.capacity * sizeof(int32_t) + r->prompts[i].text_length;
  for (uint32_t i = 0; i < r->stop_count; i++) bytes += r->stops[i].length;
  return bytes + r->form.length + (r->model ? strlen(r->model) : 0);
}

fg_status fg_job_request_guide(const fg_job_request *r, const fg_request_context *context, fg_guide **out,
                               fg_error *err) {
  const fg_form_model model = {context->tokenizer, context->info.vocab, context->info.eos,
                               context->info.eos_count};
  *out = NULL;
  if (!r->form.field) return FG_OK;
  if (!context->forms) return fg_fail(err, FG_INTERNAL, "%s without a store of forms", r->form.field);
  return fg_form_store_acquire(context->forms, &model, &r->form, out, err);
}

// ---- prompts ----------------------------------------------------------------------------------------------

static fg_prompt *next_prompt(fg_request_reader *r) {
  return &r->request->prompts[r->request->prompt_count++];
}

static bool allocate_prompts(fg_request_reader *r, size_t count) {
  if (count == 0) return fg_api_fail(r->error, "prompt", "prompt is empty");
  if (count * r->request->n > FG_REQUEST_MAX_CHOICES)
    return fg_api_fail(r->error, "prompt",
                       "%zu prompts with n %u are more than the %d choices that one request may ask for",
                       count, r->request->n, FG_REQUEST_MAX_CHOICES);
  r->request->prompts = calloc(count, sizeof *r->request->prompts);
  return r->request->prompts || fg_api_fail(r->error, NULL, "out of memory");
}

// A list that has grown holds up to twice its ids, and thousands of prompts may wait.
static void give_back_spare(fg_ids *ids) {
  int32_t *data = ids->count ? realloc(ids->data, ids->count * sizeof *data) : NULL;
  if (!data) return;
  ids->data = data;
  ids->capacity = ids->count;
}

bool fg_request_add_text(fg_request_reader *r, const char *param, const char *text, size_t length) {
  if (!r->context->tokenizer)
    return fg_api_fail(r->error, param, "the model has no tokenizer; send prompts as token ids");
  fg_prompt *prompt = next_prompt(r);
  fg_error err;
  if (fg_tokenizer_encode(r->context->tokenizer, text, length, r->request->add_special, &prompt->ids, &err) !=
      FG_OK)
    return fg_api_fail(r->error, param, "%s", err.message);
  give_back_spare(&prompt->ids);
  if (!r->request->echo) return true;
  prompt->text = malloc(length + 1);
  if (!prompt->text) return fg_api_fail(r->error, NULL, "out of memory");
  memcpy(prompt->text, text, length);
  prompt->text[length] = '\0';
  prompt->text_length = length;
  return true;
}

static bool add_ids(fg_request_reader *r, const json_t *list) {
  fg_prompt *prompt = next_prompt(r);
  size_t count = json_array_size(list);
  prompt->ids.data = malloc(count * sizeof *prompt->ids.data + 1);
  if (!prompt->ids.data) return fg_api_fail(r->error, NULL, "out of memory");
  prompt->ids.capacity = count;
  for (size_t i = 0; i < count; i++) {
    const json_t *item = json_array_get(list, i);
    json_int_t id = json_integer_value(item);
    if (!json_is_integer(item))
      return fg_api_fail(r->error, "prompt", "prompt mixes token ids with something else");
    if (id < 0 || id >= (json_int_t)r->context->info.vocab)
      return fg_api_fail(r->error, "prompt", "token id %lld of the prompt is outside the vocabulary of %u",
                         (long long)id, r->context->info.vocab);
    prompt->ids.data[prompt->ids.count++] = (int32_t)id;
  }
  return true;
}

bool fg_request_read_prompts(fg_request_reader *r, const json_t *prompt) {
  const json_t *first = json_array_get(prompt, 0);
  if (json_is_string(prompt) || json_is_integer(first)) { // one text, one list of ids
    if (!allocate_prompts(r, 1)) return false;
    return json_is_string(prompt)
               ? fg_request_add_text(r, "prompt", json_string_value(prompt), json_string_length(prompt))
               : add_ids(r, prompt);
  }
  if (!json_is_array(prompt))
    return fg_api_fail(r->error, "prompt", "prompt must be a string, a list of strings, or token ids");
  if (!allocate_prompts(r, json_array_size(prompt))) return false;
  for (size_t i = 0; i < json_array_size(prompt); i++) {
    const json_t *item = json_array_get(prompt, i);
    if (json_typeof(item) != json_typeof(first) || (!json_is_string(item) && !json_is_array(item)))
      return fg_api_fail(r->error, "prompt",
                         "prompt must hold strings only, or token ids, or lists of token ids");
    bool ok = json_is_string(item)
                  ? fg_request_add_text(r, "prompt", json_string_value(item), json_string_length(item))
                  : add_ids(r, item);
    if (!ok) return false;
  }
  return true;
}

// Keeps the last ids of a prompt that is to be truncated, and refuses what cannot run.
static bool fit_prompt(fg_request_reader *r, fg_prompt *prompt) {
  const fg_job_request *q = r->request;
  const char *param = q->endpoint == FG_ENDPOINT_CHAT ? "messages" : "prompt";
  uint32_t longest = r->context->info.max_model_len;
  size_t keep = q->truncate < 0 ? longest : (size_t)q->truncate;
  if (prompt->ids.count > keep) {
    memmove(prompt->ids.data, prompt->ids.data + prompt->ids.count - keep, keep * sizeof *prompt->ids.data);
    prompt->ids.count = keep;
    free(prompt->text); // it would say more than the model saw
    prompt->text = NULL;
  }
  if (!prompt->ids.count) return fg_api_fail(r->error, param, "the prompt has no tokens");
  uint64_t answer = q->max_tokens == UINT32_MAX ? 1 : q->max_tokens;
  if (prompt->ids.count + answer <= longest) return true;
  r->error->code = "context_length_exceeded";
  return fg_api_fail(
      r->error, param,
      "the prompt has %zu tokens and %llu may be generated, but the longest sequence is %u tokens",
      prompt->ids.count, (unsigned long long)answer, longest);
}

// ---- a body ------------------------------------------------------------------------------------------

static bool read_body(fg_request_reader *r, const json_t *body) {
  if (!json_is_object(body)) return fg_api_fail(r->error, "body", "body must be an object");
  if (!fg_request_read_fields(r, body)) return false;
  bool chat = r->request->endpoint == FG_ENDPOINT_CHAT;
  const json_t *content = json_object_get(body, chat ? "messages" : "prompt");
  if (!content || json_is_null(content))
    return fg_api_fail(r->error, chat ? "messages" : "prompt", "%s is missing", chat ? "messages" : "prompt");
  if (chat ? !(allocate_prompts(r, 1) && fg_request_read_messages(r, content))
           : !fg_request_read_prompts(r, content))
    return false;
  for (uint32_t i = 0; i < r->request->prompt_count; i++)
    if (!fit_prompt(r, &r->request->prompts[i])) return false;
  return true;
}

bool fg_job_request_read(fg_job_request **out, const fg_request_context *context, fg_endpoint endpoint,
                         const json_t *body, fg_api_error *error) {
  *error = (fg_api_error){0};
  fg_job_request *request = calloc(1, sizeof *request);
  if (!request) return fg_api_fail(error, NULL, "out of memory");
  request->endpoint = endpoint;
  fg_request_reader reader = {.context = context, .request = request, .error = error};
  if (!read_body(&reader, body)) {
    fg_job_request_destroy(request);
    return false;
  }
  request->template_variables = NULL;
  *out = request;
  return true;
}

void fg_job_request_destroy(fg_job_request *request) {
  if (!request) return;
  for (uint32_t i = 0; i < request->prompt_count; i++) {
    fg_ids_free(&request->prompts[i].ids);
    free(request->prompts[i].text);
  }
  for (uint32_t i = 0; i < request->stop_count; i++) free(request->stops[i].bytes);
  free(request->prompts);
  free(request->stops);
  fg_answer_form_free(&request->form);
  free(request->model);
  free((void *)(uintptr_t)request->sampling.bias);
  free((void *)(uintptr_t)request->sampling.stop_ids);
  free(request);
}
