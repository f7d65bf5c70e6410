#include "wrangle/request_line.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "job/json_out.h"

// With and without a space in front: which of them a model goes on with depends on its tokens and on how the
// prompt ends.
static void put_choices(fg_text *out, const fg_answer_set *only) {
  fg_text spaced = {0};
  fg_text_append_string(out, ",\"guided_choice\":[");
  for (uint32_t i = 0; i < only->count; i++) {
    const fg_slice answer = only->items[i];
    fg_text_clear(&spaced);
    fg_text_append(&spaced, " ", 1);
    fg_text_append(&spaced, answer.data, answer.length);
    if (i) fg_text_append(out, ",", 1);
    fg_json_put_string(out, answer.data, answer.length);
    fg_text_append(out, ",", 1);
    fg_json_put_string(out, spaced.data ? spaced.data : "", spaced.length);
  }
  fg_text_append(out, "]", 1);
  out->failed = out->failed || fg_text_failed(&spaced);
  fg_text_free(&spaced);
}

void fg_put_request(fg_text *out, uint64_t row, fg_slice prompt, const fg_asking *asking) {
  fg_text_printf(out, "{\"custom_id\":\"row-%" PRIu64 "\",\"method\":\"POST\",\"url\":\"%s\",\"body\":{", row,
                 asking->chat ? "/v1/chat/completions" : "/v1/completions");
  fg_text_append_string(out, asking->chat ? "\"messages\":[{\"role\":\"user\",\"content\":" : "\"prompt\":");
  fg_json_put_string(out, prompt.data, prompt.length);
  fg_text_printf(out, "%s,\"max_tokens\":%" PRIu32 ",\"temperature\":%.9g", asking->chat ? "}]" : "",
                 asking->max_tokens, asking->temperature);
  if (*asking->stop) {
    fg_text_append_string(out, ",\"stop\":");
    fg_json_put_cstring(out, asking->stop);
  }
  if (asking->only) put_choices(out, asking->only);
  fg_text_append_string(out, "}}\n");
}

static const char *error_of(json_t *root, json_t *response) {
  const json_t *line = json_object_get(root, "error"),
               *body = json_object_get(json_object_get(response, "body"), "error");
  const char *text = json_string_value(json_object_get(json_is_object(body) ? body : line, "message"));
  return text ? text : "no answer";
}

fg_status fg_reply_read(fg_reply *out, const char *line, size_t length, uint64_t row, const char *name,
                        fg_error *err) {
  *out = (fg_reply){.text = {"", 0}};
  char wanted[32];
  snprintf(wanted, sizeof wanted, "row-%" PRIu64, row);
  json_t *root = fg_json_parse(line, length, name, err);
  if (!root) return FG_CORRUPT;
  const char *id = json_string_value(json_object_get(root, "custom_id"));
  if (!id || strcmp(id, wanted) != 0) {
    fg_fail(err, FG_CORRUPT, "%s: its row %" PRIu64 " is '%.40s', not %s", name, row + 1, id ? id : "",
            wanted);
    json_decref(root);
    return FG_CORRUPT;
  }
  json_t *response = json_object_get(root, "response"),
         *choice = json_array_get(json_object_get(json_object_get(response, "body"), "choices"), 0),
         *text = json_object_get(choice, "text");
  if (!text) text = json_object_get(json_object_get(choice, "message"), "content");
  out->root = root;
  if (json_is_string(text))
    out->text = (fg_slice){json_string_value(text), json_string_length(text)};
  else
    out->error = error_of(root, response);
  return FG_OK;
}

void fg_reply_free(fg_reply *reply) {
  json_decref(reply->root);
  *reply = (fg_reply){0};
}
