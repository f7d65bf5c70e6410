// Chat requests: messages, through the model's template, to a prompt.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "byte_model.h"
#include "job/request.h"

static fg_request_context context;
static fg_tokenizer *tokenizer;
static fg_chat *chat;

static int set_up(void **state) {
  (void)state;
  fg_error err;
  fg_assets assets =
      byte_assets("{\"eos_token\":\"</s>\",\"chat_template\":\""
                  "{% for m in messages %}[{{ m['role'] }}:{{ m['content'] | trim }}]{% endfor %}"
                  "{% if mood %}({{ mood }}){% endif %}"
                  "{% if add_generation_prompt %}[assistant:{% endif %}\"}");
  if (fg_tokenizer_load(&tokenizer, &assets, &err) != FG_OK ||
      fg_chat_load(&chat, &assets, tokenizer, &err) != FG_OK)
    fail_msg("%s", err.message);
  fg_assets_free(&assets);
  context = (fg_request_context){.tokenizer = tokenizer, .chat = chat};
  context.info = (fg_engine_info){.vocab = BYTE_VOCAB, .max_model_len = 200, .eos = byte_eos, .eos_count = 2};
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  fg_chat_destroy(chat);
  fg_tokenizer_destroy(tokenizer);
  return 0;
}

static bool read_body(fg_job_request **q, const char *text, fg_api_error *error) {
  fg_error err;
  json_t *body = fg_json_parse(text, strlen(text), "body", &err);
  if (!body) fail_msg("%s: %s", text, err.message);
  bool ok = fg_job_request_read(q, &context, FG_ENDPOINT_CHAT, body, error);
  json_decref(body);
  return ok;
}

static void test_messages_become_one_prompt(void **state) {
  (void)state;
#define ASK "{\"role\":\"user\",\"content\":\"hi\"}"
  static const struct {
    const char *body, *prompt;
  } rows[] = {
      {"{\"messages\":[" ASK "]}", "[user:hi][assistant:"},
      {"{\"messages\":[{\"role\":\"system\",\"content\":\"s\"}," ASK "]}", "[system:s][user:hi][assistant:"},
      {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\","
       "\"text\":\"b\"}]}]}",
       "[user:a\nb][assistant:"},
      {"{\"messages\":[" ASK "],\"add_generation_prompt\":false}", "[user:hi]"},
      {"{\"messages\":[" ASK "],\"chat_template_kwargs\":{\"mood\":\"glad\"}}", "[user:hi](glad)[assistant:"},
      // names that belong to the request are not the template's to change
      {"{\"messages\":[" ASK "],\"chat_template_kwargs\":{\"messages\":[]}}", "[user:hi][assistant:"},
      {"{\"messages\":[" ASK
       ",{\"role\":\"assistant\",\"content\":\"well, hi\"}],\"add_generation_prompt\":false,"
       "\"continue_final_message\":true}",
       "[user:hi][assistant:well, hi"},
      {"{\"messages\":[" ASK
       ",{\"role\":\"assistant\",\"content\":\" well \"}],\"add_generation_prompt\":false,"
       "\"continue_final_message\":true}",
       "[user:hi][assistant:well"}, // the template trimmed it
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    fg_job_request *q;
    fg_api_error error;
    if (!read_body(&q, rows[i].body, &error)) fail_msg("%s: %s", rows[i].body, error.message);
    char prompt[256] = {0};
    for (size_t k = 0; k < q->prompts[0].ids.count; k++) prompt[k] = (char)q->prompts[0].ids.data[k];
    assert_string_equal(prompt, rows[i].prompt);
    fg_job_request_destroy(q);
  }
}

static void test_answers_fill_the_context_unless_bounded(void **state) {
  (void)state;
  static const struct {
    const char *fields;
    uint32_t room;
  } rows[] = {{"", 200 - 20},
              {",\"max_tokens\":7", 7},
              {",\"max_completion_tokens\":5", 5},
              {",\"max_tokens\":7,\"max_completion_tokens\":5", 5}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char body[256];
    fg_job_request *q;
    fg_api_error error;
    snprintf(body, sizeof body, "{\"messages\":[" ASK "]%s}", rows[i].fields);
    assert_true(read_body(&q, body, &error));
    assert_int_equal(fg_job_request_room(q, &context, 0), rows[i].room);
    fg_job_request_destroy(q);
  }
}

static void test_logprobs_of_chat(void **state) {
  (void)state;
  static const struct {
    const char *fields;
    int32_t logprobs;
  } rows[] = {{"", -1},
              {",\"logprobs\":false", -1},
              {",\"logprobs\":true", 0},
              {",\"logprobs\":true,\"top_logprobs\":4", 4}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char body[256];
    fg_job_request *q;
    fg_api_error error;
    snprintf(body, sizeof body, "{\"messages\":[" ASK "]%s}", rows[i].fields);
    assert_true(read_body(&q, body, &error));
    assert_int_equal(q->logprobs, rows[i].logprobs);
    fg_job_request_destroy(q);
  }
}

static void test_bad_messages_are_refused(void **state) {
  (void)state;
  static const char *const bodies[] = {
      "{}",
      "{\"messages\":[]}",
      "{\"messages\":\"hi\"}",
      "{\"messages\":[5]}",
      "{\"messages\":[{\"content\":\"x\"}]}",
      "{\"messages\":[{\"role\":\"king\",\"content\":\"x\"}]}",
      "{\"messages\":[{\"role\":\"user\"}]}",
      "{\"messages\":[{\"role\":\"user\",\"content\":5}]}",
      "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}]}",
      "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}]}",
      "{\"messages\":[{\"role\":\"user\",\"content\":[5]}]}",
  };
  for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
    fg_job_request *q;
    fg_api_error error;
    if (read_body(&q, bodies[i], &error)) fail_msg("accepted: %s", bodies[i]);
    assert_string_equal(error.param, "messages");
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_messages_become_one_prompt),
      cmocka_unit_test(test_answers_fill_the_context_unless_bounded),
      cmocka_unit_test(test_logprobs_of_chat),
      cmocka_unit_test(test_bad_messages_are_refused),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
