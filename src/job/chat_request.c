// The messages of a chat request, through the model's template, to one prompt.
#include <stdlib.h>
#include <string.h>

#include "job/request_internal.h"

static bool known_role(const char *role) {
  static const char *const roles[] = {"system", "developer", "user", "assistant", "tool"};
  for (size_t i = 0; role && i < sizeof roles / sizeof *roles; i++)
    if (strcmp(role, roles[i]) == 0) return true;
  return false;
}

// Text parts become one string, a line each (templates expect a string).
static json_t *join_parts(fg_request_reader *r, const json_t *parts) {
  fg_text text = {0};
  bool ok = true;
  for (size_t i = 0; ok && i < json_array_size(parts); i++) {
    const json_t *part = json_array_get(parts, i), *words = json_object_get(part, "text");
    const char *type = json_string_value(json_object_get(part, "type"));
    ok = type && strcmp(type, "text") == 0 && json_is_string(words);
    if (!ok) {
      fg_api_fail(r->error, "messages", "content parts of type \"%.40s\" are not supported, only text",
                  type ? type : "?");
      break;
    }
    if (i) fg_text_append(&text, "\n", 1);
    fg_text_append(&text, json_string_value(words), json_string_length(words));
  }
  json_t *joined = ok ? json_stringn(text.data ? text.data : "", text.length) : NULL;
  if (ok && (!joined || fg_text_failed(&text))) fg_api_fail(r->error, NULL, "out of memory");
  fg_text_free(&text);
  return joined;
}

// A copy of one message whose content is a string or null.
static json_t *plain_message(fg_request_reader *r, const json_t *message) {
  const json_t *content = json_object_get(message, "content");
  if (!known_role(json_string_value(json_object_get(message, "role")))) {
    fg_api_fail(r->error, "messages",
                "each message needs a role: system, developer, user, assistant or tool");
    return NULL;
  }
  if (!json_is_string(content) && !json_is_array(content) && !json_is_null(content)) {
    fg_api_fail(r->error, "messages", "a message's content must be a string or a list of text parts");
    return NULL;
  }
  json_t *copy = json_copy((json_t *)(uintptr_t)message);
  if (!copy) {
    fg_api_fail(r->error, NULL, "out of memory");
    return NULL;
  }
  if (!json_is_array(content)) return copy;
  json_t *joined = join_parts(r, content);
  if (joined && json_object_set_new(copy, "content", joined) == 0) return copy;
  json_decref(copy);
  return NULL;
}

static json_t *plain_messages(fg_request_reader *r, const json_t *messages) {
  if (!json_array_size(messages)) {
    fg_api_fail(r->error, "messages", "messages must be a list of at least one message");
    return NULL;
  }
  json_t *list = json_array();
  for (size_t i = 0; i < json_array_size(messages); i++) {
    json_t *message = plain_message(r, json_array_get(messages, i));
    if (!message || json_array_append_new(list, message) != 0) {
      json_decref(list);
      return NULL;
    }
  }
  return list;
}

// Ends the prompt with the words of the last message, so that the answer goes on with them: what the template
// puts behind them is cut, and so are white spaces that it trimmed.
static bool cut_after_last_message(fg_request_reader *r, const json_t *messages, fg_text *prompt) {
  const json_t *last = json_array_get(messages, json_array_size(messages) - 1);
  const char *words = json_string_value(json_object_get(last, "content"));
  if (!words) return fg_api_fail(r->error, "continue_final_message", "the final message has no content");
  while (*words && strchr(" \t\r\n", *words)) words++;
  size_t length = strlen(words), core = length;
  while (core && strchr(" \t\r\n", words[core - 1])) core--;
  for (size_t at = prompt->length + 1 - (core < prompt->length ? core : prompt->length); at-- > 0;) {
    if (prompt->length - at < core || memcmp(prompt->data + at, words, core) != 0) continue;
    bool spacing_kept = prompt->length - at >= length && memcmp(prompt->data + at, words, length) == 0;
    prompt->length = at + (spacing_kept ? length : core);
    return true;
  }
  return fg_api_fail(r->error, "continue_final_message", "the chat template does not show the final message");
}

static json_t *template_variables(fg_request_reader *r, const json_t *messages) {
  json_t *variables = json_object();
  if (!variables) return NULL;
  bool ok = !r->request->template_variables ||
            json_object_update(variables, (json_t *)(uintptr_t)r->request->template_variables) == 0;
  ok = ok && json_object_set(variables, "messages", (json_t *)(uintptr_t)messages) == 0;
  ok = ok && json_object_set_new(variables, "add_generation_prompt",
                                 json_boolean(r->request->generation_prompt)) == 0;
  if (ok) return variables;
  json_decref(variables);
  return NULL;
}

static bool render(fg_request_reader *r, const json_t *messages) {
  json_t *variables = template_variables(r, messages);
  if (!variables) return fg_api_fail(r->error, NULL, "out of memory");
  fg_text prompt = {0};
  fg_error err;
  bool ok = fg_chat_render(r->context->chat, variables, &prompt, &err) == FG_OK;
  if (!ok) fg_api_fail(r->error, "messages", "%s", err.message);
  if (ok && r->request->continue_final) ok = cut_after_last_message(r, messages, &prompt);
  if (ok && fg_text_failed(&prompt)) ok = fg_api_fail(r->error, NULL, "out of memory");
  if (ok) ok = fg_request_add_text(r, "messages", prompt.data ? prompt.data : "", prompt.length);
  fg_text_free(&prompt);
  json_decref(variables);
  return ok;
}

bool fg_request_read_messages(fg_request_reader *r, const json_t *messages) {
  if (!r->context->chat)
    return fg_api_fail(r->error, "messages", "the model has no chat template; use /v1/completions");
  json_t *plain = plain_messages(r, messages);
  if (!plain) return false;
  bool ok = render(r, plain);
  json_decref(plain);
  return ok;
}
