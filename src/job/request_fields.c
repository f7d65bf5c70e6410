// The fields of a body, one row each.
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "job/request_internal.h"

typedef struct field field;
typedef bool field_reader(fg_request_reader *r, const field *f, const json_t *value);

enum { COMPLETIONS = 1 << FG_ENDPOINT_COMPLETIONS, CHAT = 1 << FG_ENDPOINT_CHAT, BOTH = COMPLETIONS | CHAT };

struct field {
  const char *name;
  unsigned endpoints;
  field_reader *read;
  size_t offset;        // of the member that is set
  double low, high;     // allowed, both included
  const char *accepted; // read_only: JSON texts of the values that change nothing, one a line
};

// ---- readers ----------------------------------------------------------------------------------------------

static void *member(const fg_request_reader *r, const field *f) {
  return (char *)r->request + f->offset;
}

static bool out_of_range(fg_request_reader *r, const field *f, const char *kind, const json_t *value) {
  char *shown = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII);
  fg_api_fail(r->error, f->name, "%s must be %s from %.15g to %.15g, not %.60s", f->name, kind, f->low,
              f->high, shown ? shown : "this");
  free(shown);
  return false;
}

static bool read_float(fg_request_reader *r, const field *f, const json_t *value) {
  double number = json_number_value(value);
  if (!json_is_number(value) || !(number >= f->low && number <= f->high))
    return out_of_range(r, f, "a number", value);
  *(float *)member(r, f) = (float)number;
  return true;
}

static bool read_int(fg_request_reader *r, const field *f, const json_t *value) {
  double number = json_number_value(value);
  if (!json_is_integer(value) || number < f->low || number > f->high)
    return out_of_range(r, f, "an integer", value);
  *(int32_t *)member(r, f) = (int32_t)json_integer_value(value);
  return true;
}

static bool read_bool(fg_request_reader *r, const field *f, const json_t *value) {
  if (!json_is_boolean(value)) return fg_api_fail(r->error, f->name, "%s must be true or false", f->name);
  *(bool *)member(r, f) = json_is_true(value);
  return true;
}

static bool read_seed(fg_request_reader *r, const field *f, const json_t *value) {
  if (!json_is_integer(value))
    return fg_api_fail(r->error, f->name, "%s must be an integer of at most 64 bits", f->name);
  r->request->seeded = json_integer_value(value) != -1; // vLLM's way to say none
  r->request->sampling.seed = (uint64_t)json_integer_value(value);
  return true;
}

static bool read_model(fg_request_reader *r, const field *f, const json_t *value) {
  if (!json_is_string(value)) return fg_api_fail(r->error, f->name, "%s must be a string", f->name);
  r->request->model = strdup(json_string_value(value));
  return r->request->model || fg_api_fail(r->error, NULL, "out of memory");
}

static bool read_object(fg_request_reader *r, const field *f, const json_t *value) {
  if (!json_is_object(value)) return fg_api_fail(r->error, f->name, "%s must be an object", f->name);
  *(const json_t **)member(r, f) = value;
  return true;
}

// An id of the model's vocabulary.
static bool check_id(fg_request_reader *r, const char *name, const json_t *value, int32_t *id) {
  json_int_t number = json_integer_value(value);
  uint32_t vocab = r->context->info.vocab;
  if (!json_is_integer(value) || number < 0 || number >= (json_int_t)vocab)
    return fg_api_fail(r->error, name, "%s must hold token ids from 0 to %u", name, vocab - 1);
  *id = (int32_t)number;
  return true;
}

static bool read_stop_ids(fg_request_reader *r, const field *f, const json_t *value) {
  size_t count = json_array_size(value);
  if (!json_is_array(value) || count > UINT32_MAX)
    return fg_api_fail(r->error, f->name, "%s must be a list of token ids", f->name);
  int32_t *ids = calloc(count ? count : 1, sizeof *ids);
  if (!ids) return fg_api_fail(r->error, NULL, "out of memory");
  r->request->sampling.stop_ids = ids;
  r->request->sampling.stop_id_count = (uint32_t)count;
  for (size_t i = 0; i < count; i++)
    if (!check_id(r, f->name, json_array_get(value, i), &ids[i])) return false;
  return true;
}

static bool read_bias(fg_request_reader *r, const field *f, const json_t *value) {
  if (!json_is_object(value))
    return fg_api_fail(r->error, f->name, "%s must be an object from token ids to numbers", f->name);
  fg_logit_bias *bias = calloc(json_object_size(value) + 1, sizeof *bias);
  if (!bias) return fg_api_fail(r->error, NULL, "out of memory");
  r->request->sampling.bias = bias;
  const char *key;
  json_t *number;
  json_object_foreach((json_t *)(uintptr_t)value, key, number) { // jansson iterates without changing it
    char *end;
    long long id = strtoll(key, &end, 10);
    if (*key < '0' || *key > '9' || *end || id < 0 || id >= (long long)r->context->info.vocab)
      return fg_api_fail(r->error, f->name, "%s: \"%.40s\" is no token id from 0 to %u", f->name, key,
                         r->context->info.vocab - 1);
    double amount = json_number_value(number);
    if (!json_is_number(number) || !(amount >= f->low && amount <= f->high))
      return out_of_range(r, f, "numbers", number);
    bias[r->request->sampling.bias_count++] = (fg_logit_bias){(int32_t)id, (float)amount};
  }
  return true;
}

static bool read_stop(fg_request_reader *r, const field *f, const json_t *value) {
  size_t count = json_is_string(value) ? 1 : json_array_size(value);
  if ((!json_is_string(value) && !json_is_array(value)) || count > UINT32_MAX)
    return fg_api_fail(r->error, f->name, "%s must be a string or a list of strings", f->name);
  if (!count) return true;
  if (!r->context->tokenizer)
    return fg_api_fail(r->error, f->name, "%s: the model has no tokenizer; use stop_token_ids", f->name);
  r->request->stops = calloc(count, sizeof *r->request->stops);
  if (!r->request->stops) return fg_api_fail(r->error, NULL, "out of memory");
  for (size_t i = 0; i < count; i++) {
    const json_t *item = json_is_string(value) ? value : json_array_get(value, i);
    size_t length = json_string_length(item);
    if (!json_is_string(item) || !length)
      return fg_api_fail(r->error, f->name, "%s must hold strings that are not empty", f->name);
    char *bytes = malloc(length);
    if (!bytes) return fg_api_fail(r->error, NULL, "out of memory");
    memcpy(bytes, json_string_value(item), length);
    r->request->stops[r->request->stop_count++] = (fg_stop_string){bytes, length};
  }
  return true;
}

// ---- forms of answers ------------------------------------------------------------------------------------

static bool read_form(fg_request_reader *r, const field *f, const json_t *value,
                      fg_answer_form_reader *read) {
  fg_error err;
  return read(&r->request->form, f->name, value, &err) == FG_OK || fg_api_fail_form(r->error, f->name, &err);
}

static bool read_response_format(fg_request_reader *r, const field *f, const json_t *value) {
  return read_form(r, f, value, fg_read_response_format);
}

static bool read_structured_outputs(fg_request_reader *r, const field *f, const json_t *value) {
  return read_form(r, f, value, fg_read_structured_outputs);
}

static bool read_guided_choice(fg_request_reader *r, const field *f, const json_t *value) {
  return read_form(r, f, value, fg_read_guided_choice);
}

static bool read_guided_regex(fg_request_reader *r, const field *f, const json_t *value) {
  return read_form(r, f, value, fg_read_guided_regex);
}

static bool read_guided_json(fg_request_reader *r, const field *f, const json_t *value) {
  return read_form(r, f, value, fg_read_guided_json);
}

// That it can be made, once for all requests of this form.
static bool check_form(fg_request_reader *r) {
  const fg_answer_form *form = &r->request->form;
  const fg_sampling *s = &r->request->sampling;
  fg_error err;
  fg_status status = FG_OK;
  if (!form->field) return true;
  if (s->ignore_eos || s->min_tokens)
    return fg_api_fail(r->error, form->field, "%s beside %s: the form says where the answer ends",
                       form->field, s->ignore_eos ? "ignore_eos" : "min_tokens");
  if (!r->context->tokenizer)
    return fg_api_fail(r->error, form->field, "%s: the model has no tokenizer", form->field);
  if (r->context->forms_later) return true;
  if (r->context->forms) {
    fg_guide *guide;
    status = fg_job_request_guide(r->request, r->context, &guide, &err);
    if (status == FG_OK) fg_form_store_release(r->context->forms, guide);
  } else {
    fg_grammar grammar;
    status = fg_form_compile(form->form, form->text, form->length, &grammar, &err);
    if (status == FG_OK) fg_grammar_free(&grammar);
  }
  return status == FG_OK || fg_api_fail_form(r->error, form->field, &err);
}

// Fields that change nothing, whatever they hold.
static bool read_harmless(fg_request_reader *r, const field *f, const json_t *value) {
  (void)r, (void)f, (void)value;
  return true;
}

// Fields that are not built but may be sent with a value that asks for nothing.
static bool read_only(fg_request_reader *r, const field *f, const json_t *value) {
  for (const char *text = f->accepted; text && *text;) {
    size_t length = strcspn(text, "\n");
    json_t *accepted = json_loadb(text, length, JSON_DECODE_ANY, NULL);
    bool same = accepted &&
                (json_equal(accepted, value) || (json_is_number(accepted) && json_is_number(value) &&
                                                 json_number_value(accepted) == json_number_value(value)));
    json_decref(accepted);
    if (same) return true;
    text += length + (text[length] != 0);
  }
  r->error->code = "unsupported_parameter";
  return fg_api_fail(r->error, f->name, "%s is not supported%s%.*s", f->name,
                     f->accepted ? "; the only value that is taken is " : "",
                     f->accepted ? (int)strcspn(f->accepted, "\n") : 0, f->accepted ? f->accepted : "");
}

static bool read_stream(fg_request_reader *r, const field *f, const json_t *value) {
  if (!r->context->streams) return read_only(r, f, value);
  return read_bool(r, f, value);
}

static bool read_stream_options(fg_request_reader *r, const field *f, const json_t *value) {
  const json_t *usage = json_object_get(value, "include_usage");
  if (!json_is_object(value) || (usage && !json_is_boolean(usage) && !json_is_null(usage)))
    return fg_api_fail(r->error, f->name, "%s must be an object, its include_usage true or false", f->name);
  r->request->include_usage = json_is_true(usage);
  return true;
}

// ---- the table ---------------------------------------------------------------------------------------

#define AT(name) offsetof(fg_job_request, name)

static const field fields[] = {
    {"model", BOTH, read_model, 0, 0, 0, NULL},
    {"max_tokens", BOTH, read_int, AT(max_tokens), 0, INT32_MAX, NULL},
    {"max_completion_tokens", CHAT, read_int, AT(max_completion_tokens), 0, INT32_MAX, NULL},
    {"min_tokens", BOTH, read_int, AT(sampling.min_tokens), 0, INT32_MAX, NULL},
    {"n", BOTH, read_int, AT(n), 1, 128, NULL},
    {"best_of", COMPLETIONS, read_int, AT(best_of), 1, 128, NULL},
    {"seed", BOTH, read_seed, 0, 0, 0, NULL},
    {"temperature", BOTH, read_float, AT(sampling.temperature), 0, 2, NULL},
    {"top_p", BOTH, read_float, AT(sampling.top_p), 0, 1, NULL},
    {"min_p", BOTH, read_float, AT(sampling.min_p), 0, 1, NULL},
    {"top_k", BOTH, read_int, AT(sampling.top_k), -1, INT32_MAX, NULL},
    {"presence_penalty", BOTH, read_float, AT(sampling.presence_penalty), -2, 2, NULL},
    {"frequency_penalty", BOTH, read_float, AT(sampling.frequency_penalty), -2, 2, NULL},
    {"repetition_penalty", BOTH, read_float, AT(sampling.repetition_penalty), 0.01, 100, NULL},
    {"logit_bias", BOTH, read_bias, 0, -100, 100, NULL},
    {"stop", BOTH, read_stop, 0, 0, 0, NULL},
    {"stop_token_ids", BOTH, read_stop_ids, 0, 0, 0, NULL},
    {"ignore_eos", BOTH, read_bool, AT(sampling.ignore_eos), 0, 0, NULL},
    {"include_stop_str_in_output", BOTH, read_bool, AT(include_stop), 0, 0, NULL},
    {"skip_special_tokens", BOTH, read_bool, AT(skip_special), 0, 0, NULL},
    {"add_special_tokens", BOTH, read_bool, AT(add_special), 0, 0, NULL},
    {"truncate_prompt_tokens", BOTH, read_int, AT(truncate), -1, INT32_MAX, NULL},
    {"return_token_ids", BOTH, read_bool, AT(return_token_ids), 0, 0, NULL},
    {"return_tokens_as_token_ids", BOTH, read_bool, AT(tokens_as_ids), 0, 0, NULL},
    {"logprobs", COMPLETIONS, read_int, AT(logprobs), 0, FG_REQUEST_MAX_LOGPROBS, NULL},
    {"echo", COMPLETIONS, read_bool, AT(echo), 0, 0, NULL},
    {"logprobs", CHAT, read_bool, AT(chat_logprobs), 0, 0, NULL},
    {"top_logprobs", CHAT, read_int, AT(top_logprobs), 0, FG_REQUEST_MAX_LOGPROBS, NULL},
    {"add_generation_prompt", CHAT, read_bool, AT(generation_prompt), 0, 0, NULL},
    {"continue_final_message", CHAT, read_bool, AT(continue_final), 0, 0, NULL},
    {"chat_template_kwargs", CHAT, read_object, AT(template_variables), 0, 0, NULL},
    {"response_format", BOTH, read_response_format, 0, 0, 0, NULL},
    {"structured_outputs", BOTH, read_structured_outputs, 0, 0, 0, NULL},
    {"guided_choice", BOTH, read_guided_choice, 0, 0, 0, NULL},
    {"guided_regex", BOTH, read_guided_regex, 0, 0, 0, NULL},
    {"guided_json", BOTH, read_guided_json, 0, 0, 0, NULL},
    // read by themselves
    {"prompt", COMPLETIONS, read_harmless, 0, 0, 0, NULL},
    {"messages", CHAT, read_harmless, 0, 0, 0, NULL},
    // for the sender's own books, or for how a service is run
    {"user", BOTH, read_harmless, 0, 0, 0, NULL},
    {"metadata", BOTH, read_harmless, 0, 0, 0, NULL},
    {"store", BOTH, read_harmless, 0, 0, 0, NULL},
    {"service_tier", BOTH, read_harmless, 0, 0, 0, NULL},
    {"safety_identifier", BOTH, read_harmless, 0, 0, 0, NULL},
    {"prompt_cache_key", BOTH, read_harmless, 0, 0, 0, NULL},
    {"prompt_cache_retention", BOTH, read_harmless, 0, 0, 0, NULL},
    {"request_id", BOTH, read_harmless, 0, 0, 0, NULL},
    {"priority", BOTH, read_harmless, 0, 0, 0, NULL},
    {"prediction", CHAT, read_harmless, 0, 0, 0, NULL},          // speed only
    {"parallel_tool_calls", CHAT, read_harmless, 0, 0, 0, NULL}, // no tools, no calls
    {"stream", BOTH, read_stream, AT(stream), 0, 0, "false"},
    {"stream_options", BOTH, read_stream_options, 0, 0, 0, NULL}, // without stream it changes nothing
    // not built: only what asks for nothing
    {"suffix", COMPLETIONS, read_only, 0, 0, 0, "\"\""},
    {"echo", CHAT, read_only, 0, 0, 0, "false"},
    {"modalities", CHAT, read_only, 0, 0, 0, "[\"text\"]"},
    {"tools", CHAT, read_only, 0, 0, 0, "[]"},
    {"tool_choice", CHAT, read_only, 0, 0, 0, "\"none\"\n\"auto\""},
    {"functions", CHAT, read_only, 0, 0, 0, "[]"},
    {"function_call", CHAT, read_only, 0, 0, 0, "\"none\"\n\"auto\""},
    {"use_beam_search", BOTH, read_only, 0, 0, 0, "false"},
    {"length_penalty", BOTH, read_only, 0, 0, 0, "1"},
    {"early_stopping", BOTH, read_only, 0, 0, 0, "false"},
    {"spaces_between_special_tokens", BOTH, read_only, 0, 0, 0, "true"},
    {"allowed_token_ids", BOTH, read_only, 0, 0, 0, "[]"},
    {"bad_words", BOTH, read_only, 0, 0, 0, "[]"},
    {"documents", CHAT, read_only, 0, 0, 0, "[]"},
    {"n_probs", BOTH, read_only, 0, 0, 0, "0"},
};

static const field *find_field(const char *name, fg_endpoint endpoint) {
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
    if ((fields[i].endpoints & 1u << endpoint) && strcmp(fields[i].name, name) == 0) return &fields[i];
  return NULL;
}

// ---- all fields, then what they mean together --------------------------------------------------------

static void set_defaults(fg_job_request *q) {
  q->n = 1;
  q->max_tokens = q->endpoint == FG_ENDPOINT_COMPLETIONS ? 16 : UINT32_MAX;
  q->max_completion_tokens = -1;
  q->truncate = INT32_MAX;
  q->sampling = fg_sampling_default();
  q->logprobs = -1;
  q->skip_special = true;
  q->add_special = q->endpoint == FG_ENDPOINT_COMPLETIONS;
  q->generation_prompt = true;
}

static bool check_together(fg_request_reader *r) {
  fg_job_request *q = r->request;
  if (q->max_completion_tokens >= 0) q->max_tokens = (uint32_t)q->max_completion_tokens;
  if (q->sampling.min_tokens > q->max_tokens)
    return fg_api_fail(r->error, "min_tokens", "min_tokens %u is more than max_tokens %u",
                       q->sampling.min_tokens, q->max_tokens);
  // The best of several equal greedy answers is the one that is made.
  bool same = q->sampling.temperature == 0 && (uint32_t)q->best_of >= q->n;
  if (q->best_of && (uint32_t)q->best_of != q->n && !same)
    return fg_api_fail(r->error, "best_of", "best_of %d is not supported with n %u; leave it out", q->best_of,
                       q->n);
  if (q->endpoint == FG_ENDPOINT_CHAT) {
    if (q->top_logprobs && !q->chat_logprobs)
      return fg_api_fail(r->error, "top_logprobs", "top_logprobs needs logprobs: true");
    if (q->chat_logprobs) q->logprobs = q->top_logprobs;
    if (q->continue_final && q->generation_prompt)
      return fg_api_fail(r->error, "continue_final_message",
                         "continue_final_message needs add_generation_prompt: false");
  }
  return check_form(r);
}

bool fg_request_read_fields(fg_request_reader *r, const json_t *body) {
  set_defaults(r->request);
  const char *name;
  json_t *value;
  json_object_foreach((json_t *)(uintptr_t)body, name, value) {
    const field *f = find_field(name, r->request->endpoint);
    if (json_is_null(value)) continue; // null is absent, as OpenAI has it
    if (!f) {
      r->error->code = "unknown_parameter";
      return fg_api_fail(r->error, name, "\"%.60s\" is not a field that is known here", name);
    }
    if (!f->read(r, f, value)) return false;
  }
  return check_together(r);
}
