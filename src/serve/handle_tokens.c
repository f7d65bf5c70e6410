// /tokenize, /detokenize and /tokenizer_info, in vLLM's form: clients that score texts need the model's own
// tokens, and so they need no tokenizer of their own.
#include <string.h>

#include "serve/body.h"

// ---- what is asked -----------------------------------------------------------------------------------

typedef struct tokens_request {
  fg_json_body body;
  fg_server *server;
  fg_exchange *x;
} tokens_request;

static bool is_one_of(const char *name, const char *const *names) {
  for (; *names; names++)
    if (strcmp(name, *names) == 0) return true;
  return false;
}

// Reads a body that has no other fields than these; false: the exchange is answered.
static bool open_request(tokens_request *r, fg_server *s, fg_exchange *x, const char *const *fields) {
  *r = (tokens_request){.server = s, .x = x};
  if (!s->context.tokenizer) {
    fg_exchange_refuse(x, 404, NULL, "the model has no tokenizer");
    return false;
  }
  if (!fg_json_body_read(&r->body, x)) return false;
  const char *name;
  json_t *value;
  bool ok = fg_server_check_model(s, x, json_string_value(json_object_get(r->body.root, "model")));
  json_object_foreach(r->body.root, name, value) {
    if (!ok || is_one_of(name, fields)) continue;
    fg_exchange_refuse(x, 400, "unknown_parameter", "\"%.60s\" is not a field that is known here", name);
    ok = false;
  }
  if (!ok) fg_json_body_free(&r->body, x);
  return ok;
}

static void close_request(tokens_request *r) {
  fg_json_body_free(&r->body, r->x);
}

// A member that is true or false; missing or null is `otherwise`.
static bool read_flag(const tokens_request *r, const char *name, bool otherwise, bool *out) {
  const json_t *value = json_object_get(r->body.root, name);
  *out = value && !json_is_null(value) ? json_is_true(value) : otherwise;
  if (!value || json_is_null(value) || json_is_boolean(value)) return true;
  fg_exchange_refuse(r->x, 400, NULL, "%s must be true or false", name);
  return false;
}

// ---- text to tokens ----------------------------------------------------------------------------------

static bool encode_prompt(const tokens_request *r, const json_t *prompt, fg_ids *ids) {
  fg_error err;
  bool special;
  if (!read_flag(r, "add_special_tokens", true, &special)) return false;
  if (!json_is_string(prompt)) {
    fg_exchange_refuse(r->x, 400, NULL, "prompt must be a string; or send messages");
    return false;
  }
  if (fg_tokenizer_encode(r->server->context.tokenizer, json_string_value(prompt), json_string_length(prompt),
                          special, ids, &err) == FG_OK)
    return true;
  fg_exchange_refuse(r->x, 400, NULL, "%s", err.message);
  return false;
}

// As a chat is read that is to be answered, but however long it is.
static bool encode_messages(const tokens_request *r, fg_ids *ids) {
  fg_request_context context = r->server->context;
  context.info.max_model_len = INT32_MAX;
  fg_api_error error;
  fg_job_request *request = NULL;
  json_object_del(r->body.root, "return_token_strs");
  if (!fg_job_request_read(&request, &context, FG_ENDPOINT_CHAT, r->body.root, &error)) {
    fg_exchange_fail(r->x, &error);
    return false;
  }
  *ids = request->prompts[0].ids;
  request->prompts[0].ids = (fg_ids){0};
  fg_job_request_destroy(request);
  return true;
}

static json_t *token_texts(const fg_tokenizer *tokenizer, const fg_ids *ids) {
  json_t *list = json_array();
  for (size_t i = 0; list && i < ids->count; i++) {
    fg_text text = {0};
    // Bytes that are part of a character show as U+FFFD.
    const bool ok = fg_tokenizer_decode(tokenizer, &ids->data[i], 1, false, &text, NULL) == FG_OK;
    json_t *string = ok ? json_stringn(text.data ? text.data : "", text.length) : NULL;
    fg_text_free(&text);
    if (json_array_append_new(list, string) == 0) continue;
    json_decref(list);
    list = NULL;
  }
  return list;
}

static json_t *ids_json(const fg_ids *ids) {
  json_t *list = json_array();
  for (size_t i = 0; list && i < ids->count; i++) {
    if (json_array_append_new(list, json_integer(ids->data[i])) == 0) continue;
    json_decref(list);
    list = NULL;
  }
  return list;
}

static void answer_tokens(const tokens_request *r, const fg_ids *ids, bool texts) {
  enum { PER_TOKEN = 160 }; // a value of JSON, its text, and both once more in the answer
  const fg_server *s = r->server;
  fg_error err;
  if (fg_exchange_take(r->x, ids->count * PER_TOKEN, "the tokens of a text", &err) != FG_OK) {
    fg_exchange_refuse_for_now(r->x);
    return;
  }
  json_t *answer = json_pack("{s:I,s:I,s:o,s:o}", "count", (json_int_t)ids->count, "max_model_len",
                             (json_int_t)s->context.info.max_model_len, "tokens", ids_json(ids), "token_strs",
                             texts ? token_texts(s->context.tokenizer, ids) : json_null());
  fg_exchange_answer_json(r->x, 200, answer);
}

void fg_handle_tokenize(void *server, fg_exchange *x) {
  static const char *const fields[] = {"model",
                                       "prompt",
                                       "messages",
                                       "add_special_tokens",
                                       "return_token_strs",
                                       "add_generation_prompt",
                                       "continue_final_message",
                                       "chat_template_kwargs",
                                       NULL};
  tokens_request r;
  if (!open_request(&r, server, x, fields)) return;
  const json_t *prompt = json_object_get(r.body.root, "prompt");
  fg_ids ids = {0};
  bool texts;
  if (read_flag(&r, "return_token_strs", false, &texts) &&
      (json_object_get(r.body.root, "messages") && !prompt ? encode_messages(&r, &ids)
                                                           : encode_prompt(&r, prompt, &ids)))
    answer_tokens(&r, &ids, texts);
  fg_ids_free(&ids);
  close_request(&r);
}

// ---- tokens to text ----------------------------------------------------------------------------------

static bool read_ids(const tokens_request *r, fg_ids *ids) {
  const json_t *list = json_object_get(r->body.root, "tokens");
  for (size_t i = 0; i < json_array_size(list); i++) {
    const json_t *item = json_array_get(list, i);
    const json_int_t value = json_integer_value(item);
    fg_error err;
    if (!json_is_integer(item) || value < 0 || value > INT32_MAX) {
      fg_exchange_refuse(r->x, 400, NULL, "element %zu of tokens is no token id", i);
      return false;
    }
    if (fg_ids_append(ids, &(int32_t){(int32_t)value}, 1, &err) != FG_OK) {
      fg_exchange_refuse(r->x, 500, NULL, "%s", err.message);
      return false;
    }
  }
  if (json_is_array(list)) return true;
  fg_exchange_refuse(r->x, 400, NULL, "tokens must be a list of token ids");
  return false;
}

static void answer_text(const tokens_request *r, const fg_ids *ids) {
  fg_text text = {0};
  fg_error err;
  if (fg_tokenizer_decode(r->server->context.tokenizer, ids->data, ids->count, false, &text, &err) != FG_OK)
    fg_exchange_refuse(r->x, 400, NULL, "%s", err.message);
  else if (fg_text_failed(&text))
    fg_exchange_refuse(r->x, 500, NULL, "out of memory for the text");
  else
    fg_exchange_answer_json(r->x, 200,
                            json_pack("{s:s%}", "prompt", text.data ? text.data : "", text.length));
  fg_text_free(&text);
}

void fg_handle_detokenize(void *server, fg_exchange *x) {
  static const char *const fields[] = {"model", "tokens", NULL};
  tokens_request r;
  if (!open_request(&r, server, x, fields)) return;
  fg_ids ids = {0};
  if (read_ids(&r, &ids)) answer_text(&r, &ids);
  fg_ids_free(&ids);
  close_request(&r);
}

// ---- the tokenizer -----------------------------------------------------------------------------------

void fg_handle_tokenizer_info(void *server, fg_exchange *x) {
  static const char *const roles[] = {"bos_token", "eos_token", "pad_token", "unk_token"};
  const fg_server *s = server;
  const fg_tokenizer *t = s->context.tokenizer;
  if (!t) {
    fg_exchange_refuse(x, 404, NULL, "the model has no tokenizer");
    return;
  }
  json_t *info = json_pack("{s:s,s:I,s:I,s:s?}", "tokenizer_class", "flexgen", "vocab_size",
                           (json_int_t)fg_tokenizer_size(t), "model_max_length",
                           (json_int_t)s->context.info.max_model_len, "chat_template",
                           s->context.chat ? fg_chat_source(s->context.chat) : NULL);
  for (size_t i = 0; info && i < sizeof roles / sizeof *roles; i++) {
    const char *text = fg_tokenizer_special_text(t, roles[i]);
    if (json_object_set_new(info, roles[i], text ? json_string(text) : json_null()) == 0) continue;
    json_decref(info);
    info = NULL;
  }
  fg_exchange_answer_json(x, 200, info);
}
