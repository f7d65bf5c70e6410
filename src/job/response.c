#include "job/response.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "job/json_out.h"
#include "text/unicode.h"

// ---- tokens and their log-probabilities --------------------------------------------------------------

enum { NAME_BYTES = 32 };

// What stands for a token: its bytes, or its name where that is asked for or there is no tokenizer.
static const char *token_bytes(const fg_choice *c, int32_t token, char name[NAME_BYTES], size_t *length) {
  const fg_tokenizer *tokenizer = c->context->tokenizer;
  const char *bytes =
      tokenizer && !c->request->tokens_as_ids ? fg_tokenizer_token_bytes(tokenizer, token, length) : NULL;
  if (bytes) return bytes;
  *length = (size_t)snprintf(name, NAME_BYTES, "token_id:%" PRId32, token);
  return name;
}

static void put_token(fg_text *out, const fg_choice *c, int32_t token) {
  char name[NAME_BYTES];
  size_t length;
  const char *bytes = token_bytes(c, token, name, &length);
  fg_json_put_string(out, bytes, length);
}

// The records of a log, one after the other: false at the end.
typedef struct log_reader {
  const fg_text *log;
  size_t at;
  fg_token_record record;
} log_reader;

static bool next_record(log_reader *r) {
  if (r->log->length - r->at < sizeof r->record) return false;
  memcpy(&r->record, r->log->data + r->at, sizeof r->record);
  r->at += sizeof r->record + r->record.top_count * sizeof(fg_candidate);
  return true;
}

static fg_candidate candidate(const log_reader *r, uint32_t index) {
  fg_candidate c;
  size_t begin = r->at - r->record.top_count * sizeof c;
  memcpy(&c, r->log->data + begin + index * sizeof c, sizeof c);
  return c;
}

// Each member of the legacy form is an array over the prompt's tokens, if they are shown, and the answer's.
typedef void put_member(fg_text *out, const fg_choice *c, const log_reader *r);

static void put_text(fg_text *out, const fg_choice *c, const log_reader *r) {
  put_token(out, c, r->record.token);
}

static void put_logprob(fg_text *out, const fg_choice *c, const log_reader *r) {
  (void)c;
  if (r->record.has_logprob)
    fg_json_put_logprob(out, r->record.logprob);
  else
    fg_text_append_string(out, "null");
}

static void put_offset(fg_text *out, const fg_choice *c, const log_reader *r) {
  (void)c;
  fg_text_printf(out, "%" PRIu32, r->record.offset);
}

// Whether two tokens show as the same text. Different bytes may: what is not UTF-8 shows as U+FFFD.
static bool same_text(const char *a, size_t a_length, const char *b, size_t b_length) {
  if (a_length == b_length && memcmp(a, b, a_length) == 0) return true;
  if (fg_utf8_valid(a, a_length) && fg_utf8_valid(b, b_length)) return false;
  fg_text x = {0}, y = {0};
  fg_json_put_string(&x, a, a_length);
  fg_json_put_string(&y, b, b_length);
  bool same = x.length == y.length && x.data && y.data && memcmp(x.data, y.data, x.length) == 0;
  fg_text_free(&x);
  fg_text_free(&y);
  return same;
}

// Whether an earlier candidate shows as the same text: then it is the likelier and stays.
static bool shown_before(const fg_choice *c, const log_reader *r, uint32_t index, int32_t token) {
  char name[NAME_BYTES], other_name[NAME_BYTES];
  size_t length, other_length;
  const char *bytes = token_bytes(c, token, name, &length);
  for (uint32_t i = 0; i < index; i++) {
    const char *other = token_bytes(c, candidate(r, i).token, other_name, &other_length);
    if (same_text(bytes, length, other, other_length)) return true;
  }
  return false;
}

// The most likely tokens, and the token itself where it is not among them. Candidates come most likely first,
// and the token is no likelier than the last, so of equal texts the first is the one to keep.
static void put_top(fg_text *out, const fg_choice *c, const log_reader *r) {
  if (!r->record.has_logprob) {
    fg_text_append_string(out, "null");
    return;
  }
  uint32_t count = r->record.top_count, shown = 0;
  bool among = false;
  fg_text_append(out, "{", 1);
  for (uint32_t i = 0; i <= count; i++) {
    fg_candidate top = i < count ? candidate(r, i) : (fg_candidate){r->record.token, r->record.logprob};
    if (i == count && among) break;
    among |= top.token == r->record.token;
    if (shown_before(c, r, i, top.token)) continue;
    if (shown++) fg_text_append(out, ",", 1);
    put_token(out, c, top.token);
    fg_text_append(out, ":", 1);
    fg_json_put_logprob(out, top.logprob);
  }
  fg_text_append(out, "}", 1);
}

// Of the tokens that were not sent yet.
static void put_legacy_logprobs(fg_text *out, const fg_choice *c, const fg_choice_sent *sent) {
  static const struct {
    const char *name;
    put_member *put;
  } members[] = {{"tokens", put_text},
                 {"token_logprobs", put_logprob},
                 {"top_logprobs", put_top},
                 {"text_offset", put_offset}};
  for (size_t m = 0; m < sizeof members / sizeof *members; m++) {
    fg_text_printf(out, "%c\"%s\":[", m ? ',' : '{', members[m].name);
    const log_reader logs[2] = {{.log = &c->prompt_log, .at = sent->prompt_log},
                                {.log = &c->log, .at = sent->log}};
    bool first = true;
    for (int l = 0; l < 2; l++) {
      for (log_reader r = logs[l]; next_record(&r); first = false) {
        if (!first) fg_text_append(out, ",", 1);
        members[m].put(out, c, &r);
      }
    }
    fg_text_append(out, "]", 1);
  }
  fg_text_append(out, "}", 1);
}

static void put_chat_token(fg_text *out, const fg_choice *c, int32_t token, float logprob) {
  size_t length = 0;
  const char *bytes =
      c->context->tokenizer ? fg_tokenizer_token_bytes(c->context->tokenizer, token, &length) : NULL;
  fg_text_append_string(out, "{\"token\":");
  put_token(out, c, token);
  fg_text_append_string(out, ",\"logprob\":");
  fg_json_put_logprob(out, logprob);
  fg_text_append_string(out, ",\"bytes\":");
  if (bytes)
    fg_json_put_bytes(out, bytes, length);
  else
    fg_text_append_string(out, "null");
}

static void put_chat_logprobs(fg_text *out, const fg_choice *c, const fg_choice_sent *sent) {
  fg_text_append_string(out, "{\"content\":[");
  bool first = true;
  for (log_reader r = {.log = &c->log, .at = sent->log}; next_record(&r); first = false) {
    if (!first) fg_text_append(out, ",", 1);
    put_chat_token(out, c, r.record.token, r.record.logprob);
    fg_text_append_string(out, ",\"top_logprobs\":[");
    for (uint32_t i = 0; i < r.record.top_count; i++) {
      fg_candidate top = candidate(&r, i);
      if (i) fg_text_append(out, ",", 1);
      put_chat_token(out, c, top.token, top.logprob);
      fg_text_append(out, "}", 1);
    }
    fg_text_append_string(out, "]}");
  }
  fg_text_append_string(out, "],\"refusal\":null}");
}

// ---- choices -----------------------------------------------------------------------------------------

static const fg_choice_sent nothing_sent;

static void put_logprobs(fg_text *out, const fg_choice *c, const fg_choice_sent *sent) {
  fg_text_append_string(out, ",\"logprobs\":");
  if (c->request->logprobs < 0)
    fg_text_append_string(out, "null");
  else if (c->request->endpoint == FG_ENDPOINT_CHAT)
    put_chat_logprobs(out, c, sent);
  else
    put_legacy_logprobs(out, c, sent);
}

static void put_finish(fg_text *out, const fg_choice *c) {
  bool length = c->finish == FG_FINISH_LENGTH;
  fg_text_printf(out, ",\"finish_reason\":\"%s\",\"stop_reason\":", length ? "length" : "stop");
  int32_t last = c->ids.count ? c->ids.data[c->ids.count - 1] : -1;
  const fg_engine_info *info = &c->context->info;
  bool primary = c->finish == FG_FINISH_EOS && info->eos_count && last == info->eos[0];
  if (c->stopped)
    fg_json_put_string(out, c->request->stops[c->stop].bytes, c->request->stops[c->stop].length);
  else if ((c->finish == FG_FINISH_EOS && !primary) || c->finish == FG_FINISH_STOP_ID)
    fg_text_printf(out, "%" PRId32, last);
  else
    fg_text_append_string(out, "null");
}

static void put_prompt_ids(fg_text *out, const fg_choice *c) {
  const fg_ids *ids = &c->request->prompts[c->prompt].ids;
  fg_text_append_string(out, ",\"prompt_token_ids\":");
  fg_json_put_ids(out, ids->data, ids->count);
}

static void put_token_ids(fg_text *out, const fg_choice *c, const fg_choice_sent *sent) {
  const size_t count = c->ids.count - sent->ids;
  fg_text_append_string(out, ",\"token_ids\":");
  fg_json_put_ids(out, count ? c->ids.data + sent->ids : NULL, count);
}

// Of the answer up to byte `end`. Prompt and answer are one string for the JSON: a character must not be cut
// between them.
static void put_text_from(fg_text *out, const fg_choice *c, const fg_choice_sent *sent, size_t end) {
  const fg_prompt *prompt = &c->request->prompts[c->prompt];
  const bool echo = c->request->echo && !sent->begun;
  fg_text whole = {0};
  if (echo && prompt->text)
    fg_text_append(&whole, prompt->text, prompt->text_length);
  else if (echo)
    fg_text_append(&whole, c->echo.data, c->echo.length);
  if (end > sent->text) fg_text_append(&whole, c->text.data + sent->text, end - sent->text);
  fg_json_put_string(out, whole.data ? whole.data : "", whole.length);
  out->failed |= whole.failed;
  fg_text_free(&whole);
}

static void put_completion_choice(fg_text *out, const fg_choice *c) {
  fg_text_printf(out, "{\"index\":%" PRIu32 ",\"text\":", c->index);
  put_text_from(out, c, &nothing_sent, c->text.length);
  put_logprobs(out, c, &nothing_sent);
  put_finish(out, c);
  if (c->request->return_token_ids) {
    put_token_ids(out, c, &nothing_sent);
    put_prompt_ids(out, c);
  }
  fg_text_append(out, "}", 1);
}

static void put_chat_choice(fg_text *out, const fg_choice *c) {
  fg_text_printf(out, "{\"index\":%" PRIu32 ",\"message\":{\"role\":\"assistant\",\"content\":", c->index);
  fg_json_put_string(out, c->text.data ? c->text.data : "", c->text.length);
  fg_text_append_string(out, ",\"refusal\":null}");
  put_logprobs(out, c, &nothing_sent);
  put_finish(out, c);
  if (c->request->return_token_ids) put_token_ids(out, c, &nothing_sent);
  fg_text_append(out, "}", 1);
}

// ---- bodies ------------------------------------------------------------------------------------------

static const struct {
  const char *object, *chunk;
  void (*put_choice)(fg_text *out, const fg_choice *c);
} forms[] = {
    [FG_ENDPOINT_COMPLETIONS] = {"text_completion", "text_completion", put_completion_choice},
    [FG_ENDPOINT_CHAT] = {"chat.completion", "chat.completion.chunk", put_chat_choice},
};

static void put_head(fg_text *out, const fg_response_head *head, const fg_job_request *q,
                     const char *object) {
  fg_text_append_string(out, "{\"id\":");
  fg_json_put_cstring(out, head->id);
  fg_text_printf(out, ",\"object\":\"%s\",\"created\":%" PRId64 ",\"model\":", object, head->created);
  fg_json_put_cstring(out, q->model ? q->model : head->model);
}

// A prompt counts once, however many answers it has.
static void put_usage(fg_text *out, const fg_job_request *q, const fg_choice *choices, uint32_t count) {
  uint64_t asked = 0, made = 0;
  for (uint32_t i = 0; i < q->prompt_count; i++) asked += q->prompts[i].ids.count;
  for (uint32_t i = 0; i < count; i++) made += choices[i].ids.count;
  fg_text_printf(out,
                 ",\"usage\":{\"prompt_tokens\":%" PRIu64 ",\"completion_tokens\":%" PRIu64
                 ",\"total_tokens\":%" PRIu64 "}",
                 asked, made, asked + made);
}

// A form that the model cannot write on is its request's fault, anything else that ends a choice ours.
static bool fail_choice(const fg_choice *choice, uint32_t index, fg_api_error *error) {
  const char *form = choice->request->form.field;
  fg_error why = choice->error;
  if (why.status == FG_OK) fg_fail(&why, FG_CANCELLED, "the request was cancelled");
  fg_fail_prefix(&why, "choice %" PRIu32, index);
  if (form && why.status == FG_UNSUPPORTED) return fg_api_fail_form(error, form, &why);
  why.status = FG_INTERNAL;
  return fg_api_fail_for(error, NULL, &why);
}

bool fg_response_check(const fg_choice *choices, uint32_t count, fg_api_error *error) {
  *error = (fg_api_error){0};
  for (uint32_t i = 0; i < count; i++) {
    if (choices[i].error.status == FG_OK && choices[i].finish != FG_FINISH_CANCELLED) continue;
    return fail_choice(&choices[i], i, error);
  }
  return true;
}

void fg_response_body(fg_text *out, const fg_response_head *head, const fg_choice *choices, uint32_t count) {
  const fg_job_request *q = choices[0].request;
  put_head(out, head, q, forms[q->endpoint].object);
  for (uint32_t i = 0; i < count; i++) {
    fg_text_append_string(out, i ? "," : ",\"choices\":[");
    forms[q->endpoint].put_choice(out, &choices[i]);
  }
  fg_text_append(out, "]", 1);
  put_usage(out, q, choices, count);
  if (q->endpoint == FG_ENDPOINT_CHAT && q->return_token_ids) put_prompt_ids(out, &choices[0]);
  fg_text_append(out, "}", 1);
}

// ---- pieces ------------------------------------------------------------------------------------------

// The bytes of the text that no stop string can take away any more.
static size_t certain_text(const fg_choice *c) {
  if (c->finished || !c->text.length) return c->text.length;
  return c->text.length -
         fg_stop_begun(c->request->stops, c->request->stop_count, c->text.data, c->text.length);
}

static void put_delta(fg_text *out, const fg_choice *c, const fg_choice_sent *sent, size_t end) {
  const bool chat = c->request->endpoint == FG_ENDPOINT_CHAT;
  fg_text_printf(out, "{\"index\":%" PRIu32 ",", c->index);
  if (chat) fg_text_append_string(out, sent->begun ? "\"delta\":{" : "\"delta\":{\"role\":\"assistant\",");
  fg_text_append_string(out, chat ? "\"content\":" : "\"text\":");
  put_text_from(out, c, sent, end);
  if (chat) fg_text_append(out, "}", 1);
}

static void put_piece(fg_text *out, const fg_choice *c, const fg_choice_sent *sent, size_t end) {
  const bool chat = c->request->endpoint == FG_ENDPOINT_CHAT;
  put_delta(out, c, sent, end);
  put_logprobs(out, c, sent);
  if (c->finished)
    put_finish(out, c);
  else
    fg_text_append_string(out, ",\"finish_reason\":null,\"stop_reason\":null");
  if (c->request->return_token_ids) {
    put_token_ids(out, c, sent);
    if (!chat && !sent->begun) put_prompt_ids(out, c);
  }
  fg_text_append(out, "}", 1);
}

bool fg_response_chunk(fg_text *out, const fg_response_head *head, const fg_choice *c, fg_choice_sent *sent) {
  const fg_job_request *q = c->request;
  // An echoed prompt goes with the first token behind it.
  if (sent->finished || (!c->finished && !c->ids.count)) return false;
  const size_t end = certain_text(c);
  const bool tokens = (q->logprobs >= 0 || q->return_token_ids) && c->ids.count > sent->ids;
  if (!c->finished && end <= sent->text && !tokens) return false;
  put_head(out, head, q, forms[q->endpoint].chunk);
  fg_text_append_string(out, ",\"choices\":[");
  put_piece(out, c, sent, end);
  fg_text_append(out, "]", 1);
  if (q->include_usage) fg_text_append_string(out, ",\"usage\":null");
  if (q->endpoint == FG_ENDPOINT_CHAT && q->return_token_ids && !sent->begun) put_prompt_ids(out, c);
  fg_text_append(out, "}", 1);
  *sent = (fg_choice_sent){.prompt_log = c->prompt_log.length,
                           .log = c->log.length,
                           .text = end,
                           .ids = c->ids.count,
                           .begun = true,
                           .finished = c->finished};
  return true;
}

void fg_response_usage_chunk(fg_text *out, const fg_response_head *head, const fg_choice *choices,
                             uint32_t count) {
  const fg_job_request *q = choices[0].request;
  put_head(out, head, q, forms[q->endpoint].chunk);
  fg_text_append_string(out, ",\"choices\":[]");
  put_usage(out, q, choices, count);
  fg_text_append(out, "}", 1);
}

void fg_response_error(fg_text *out, const fg_api_error *error) {
  fg_text_append_string(out, "{\"error\":{\"message\":");
  fg_json_put_cstring(out, error->message);
  fg_text_append_string(out, ",\"type\":");
  fg_json_put_cstring(out, error->type);
  fg_text_append_string(out, ",\"param\":");
  fg_json_put_cstring(out, error->param[0] ? error->param : NULL);
  fg_text_append_string(out, ",\"code\":");
  fg_json_put_cstring(out, error->code);
  fg_text_append_string(out, "}}");
}
