#include "text/chat.h"

#include <stdlib.h>
#include <string.h>

#include "format/gguf.h"
#include "text/jinja.h"
#include "text/json_span.h"
#include "text/tokenizer_internal.h"

struct fg_chat {
  const fg_tokenizer *tokenizer;
  fg_template *template, *with_tools; // with_tools: NULL = the same
  char *source;                       // of `template`
};

// ---- finding the template -----------------------------------------------------------------------------

static fg_status parse(fg_chat *chat, fg_template **out, fg_json_span source, const char *where,
                       fg_error *err) {
  fg_template_destroy(*out);
  *out = NULL;
  if (fg_template_parse(out, source.text, source.length, err)) return fg_fail_prefix(err, "%s", where);
  if (out != &chat->template) return FG_OK;
  free(chat->source);
  chat->source = strndup(source.text, source.length);
  return chat->source ? FG_OK : fg_fail(err, FG_NO_SPACE, "out of memory for a chat template");
}

// A named template of a list: "default", or "tool_use" where there are tools.
static fg_status parse_named(void *user, const char *key, fg_json_span value, fg_error *err) {
  static const char where[] = "tokenizer_config.json";
  fg_chat *chat = user;
  json_t *json;
  fg_status status = fg_json_tree(value, where, &json, err);
  if (status) return status;
  const char *name = key ? key : json_string_value(json_object_get(json, "name"));
  const char *text = json_string_value(key ? json : json_object_get(json, "template"));
  fg_template **slot = NULL;
  if (name && strcmp(name, "default") == 0) slot = &chat->template;
  if (name && strcmp(name, "tool_use") == 0) slot = &chat->with_tools;
  if (slot && text) status = parse(chat, slot, (fg_json_span){text, strlen(text)}, where, err);
  json_decref(json);
  return status;
}

static fg_status load_config(fg_chat *chat, const fg_asset *asset, fg_error *err) {
  static const char *const keys[] = {"chat_template"};
  fg_json_span span;
  fg_status status =
      fg_json_pick((fg_json_span){asset->data, asset->bytes}, asset->name, keys, 1, &span, err);
  if (status || !span.text) return status;
  if (*span.text == '[' || *span.text == '{') return fg_json_each(span, asset->name, parse_named, chat, err);
  json_t *json;
  status = fg_json_tree(span, asset->name, &json, err);
  if (status == FG_OK && json_is_string(json)) {
    status = parse(chat, &chat->template, (fg_json_span){json_string_value(json), json_string_length(json)},
                   asset->name, err);
  }
  json_decref(json);
  return status;
}

static fg_status load_gguf(fg_chat *chat, const fg_asset *asset, fg_error *err) {
  const struct {
    const char *key;
    fg_template **slot;
  } keys[] = {{"tokenizer.chat_template", &chat->template},
              {"tokenizer.chat_template.tool_use", &chat->with_tools}};
  fg_gguf *gguf;
  fg_status status = fg_gguf_parse(&gguf, asset->data, asset->bytes, err);
  if (status) return status;
  for (size_t i = 0; i < sizeof keys / sizeof *keys && status == FG_OK; i++) {
    fg_gguf_string text;
    status = fg_gguf_text(gguf, keys[i].key, &text, err);
    if (status == FG_OK && text.data)
      status = parse(chat, keys[i].slot, (fg_json_span){text.data, text.length}, keys[i].key, err);
  }
  fg_gguf_destroy(gguf);
  return status;
}

static fg_status load_file(fg_chat *chat, const fg_asset *asset, fg_error *err) {
  return parse(chat, &chat->template, (fg_json_span){asset->data, asset->bytes}, asset->name, err);
}

// The first that has a template wins.
static const struct {
  const char *asset;
  fg_status (*load)(fg_chat *chat, const fg_asset *asset, fg_error *err);
} sources[] = {
    {"chat_template.jinja", load_file},
    {"tokenizer_config.json", load_config},
    {FG_ASSET_GGUF_HEADER, load_gguf},
};

fg_status fg_chat_load(fg_chat **out, const fg_assets *assets, const fg_tokenizer *tokenizer, fg_error *err) {
  fg_chat *chat = calloc(1, sizeof *chat);
  *out = NULL;
  if (!chat) return fg_fail(err, FG_NO_SPACE, "out of memory for a chat template");
  chat->tokenizer = tokenizer;
  fg_status status = FG_OK;
  for (size_t i = 0; i < sizeof sources / sizeof *sources && status == FG_OK && !chat->template; i++) {
    const fg_asset *asset = fg_assets_find(assets, sources[i].asset);
    if (asset) status = sources[i].load(chat, asset, err);
  }
  if (status == FG_OK && !chat->template)
    status = fg_fail(err, FG_NOT_FOUND, "the model has no chat template");
  if (status) {
    fg_chat_destroy(chat);
    return status;
  }
  *out = chat;
  return FG_OK;
}

void fg_chat_destroy(fg_chat *chat) {
  if (!chat) return;
  fg_template_destroy(chat->template);
  fg_template_destroy(chat->with_tools);
  free(chat->source);
  free(chat);
}

const char *fg_chat_source(const fg_chat *chat) {
  return chat->source;
}

// ---- rendering ----------------------------------------------------------------------------------------

// Names under which a message may carry its reasoning; templates read the first, some the second.
static json_t *reasoning_of(const json_t *message) {
  static const char *const names[] = {"reasoning_content", "thinking", "reasoning"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    json_t *value = json_object_get(message, names[i]);
    if (value && !json_is_null(value)) return value;
  }
  return NULL;
}

// A message as templates expect it: without members that are null (they handle what is missing, not what
// is None), its reasoning under both names.
static json_t *as_expected(const json_t *message) {
  if (!json_is_object(message)) return json_incref((json_t *)message);
  json_t *copy = json_object(), *reasoning = reasoning_of(message), *value;
  const char *key;
  if (reasoning) json_object_set(copy, "thinking", reasoning);
  json_object_foreach((json_t *)message, key, value) {
    if (!json_is_null(value)) json_object_set(copy, key, value);
  }
  if (reasoning) json_object_set(copy, "reasoning_content", reasoning);
  return copy;
}

// What every template may ask for: the special tokens, and these names whether given or not.
static json_t *with_defaults(const fg_chat *chat, const json_t *variables) {
  json_t *all = json_object(), *messages = json_array(), *message;
  size_t i;
  json_object_set_new(all, "tools", json_null());
  json_object_set_new(all, "documents", json_null());
  json_object_set_new(all, "add_generation_prompt", json_false());
  for (uint32_t k = 0; k < chat->tokenizer->role_count; k++) {
    json_object_set_new(all, chat->tokenizer->roles[k].name, json_string(chat->tokenizer->roles[k].text));
  }
  json_object_update(all, (json_t *)variables);
  json_array_foreach(json_object_get(variables, "messages"), i, message) {
    json_array_append_new(messages, as_expected(message));
  }
  json_object_set_new(all, "messages", messages);
  return all;
}

fg_status fg_chat_render(const fg_chat *chat, const json_t *variables, fg_text *prompt, fg_error *err) {
  if (!json_is_array(json_object_get(variables, "messages"))) {
    return fg_fail(err, FG_INVALID, "\"messages\" must be a list of messages");
  }
  json_t *all = with_defaults(chat, variables);
  if (!all) return fg_fail(err, FG_NO_SPACE, "out of memory for a chat's messages");
  bool tools = json_is_array(json_object_get(variables, "tools"));
  fg_status status =
      fg_template_render(tools && chat->with_tools ? chat->with_tools : chat->template, all, prompt, err);
  json_decref(all);
  return status;
}
