// Request bodies: what each field becomes, and which bodies are refused with which parameter named.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "byte_context.h"
#include "job/request.h"

static bool read_body(fg_job_request **q, fg_endpoint endpoint, const char *text, fg_api_error *error) {
  fg_error err;
  json_t *body = fg_json_parse(text, strlen(text), "body", &err);
  if (!body) fail_msg("%s: %s", text, err.message);
  bool ok = fg_job_request_read(q, &context, endpoint, body, error);
  json_decref(body);
  return ok;
}

static fg_job_request *read_good(const char *text) {
  fg_job_request *q = NULL;
  fg_api_error error;
  if (!read_body(&q, FG_ENDPOINT_COMPLETIONS, text, &error)) fail_msg("%s: %s", text, error.message);
  return q;
}

// ---- what is refused, and what is named --------------------------------------------------------------

typedef struct refusal {
  const char *body, *param;
} refusal;

static void assert_refused(fg_endpoint endpoint, const refusal *r) {
  fg_job_request *q = NULL;
  fg_api_error error;
  if (read_body(&q, endpoint, r->body, &error)) fail_msg("accepted: %s", r->body);
  if (strcmp(error.param, r->param) != 0)
    fail_msg("%s: names \"%s\": %s", r->body, error.param, error.message);
  assert_int_equal(error.status, 400);
  assert_string_equal(error.type, "invalid_request_error");
  assert_true(error.message[0]);
}

static void test_bad_completions_name_the_field(void **state) {
  (void)state;
  static const refusal rows[] = {
      {"{}", "prompt"},
      {"{\"prompt\":null}", "prompt"},
      {"{\"prompt\":\"\"}", "prompt"},
      {"{\"prompt\":[]}", "prompt"},
      {"{\"prompt\":7}", "prompt"},
      {"{\"prompt\":{}}", "prompt"},
      {"{\"prompt\":[[]]}", "prompt"},
      {"{\"prompt\":[\"a\",5]}", "prompt"},
      {"{\"prompt\":[5,\"a\"]}", "prompt"},
      {"{\"prompt\":[[1],\"a\"]}", "prompt"},
      {"{\"prompt\":[1,2.0]}", "prompt"},
      {"{\"prompt\":[true]}", "prompt"},
      {"{\"prompt\":[260]}", "prompt"},
      {"{\"prompt\":[-1]}", "prompt"},
      {"{\"prompt\":[99999999999]}", "prompt"},
      {"{\"prompt\":[1],\"max_tokens\":100}", "prompt"}, // 101 of 100
      {"{\"prompt\":[1],\"max_tokens\":-1}", "max_tokens"},
      {"{\"prompt\":[1],\"max_tokens\":1.5}", "max_tokens"},
      {"{\"prompt\":[1],\"max_tokens\":\"5\"}", "max_tokens"},
      {"{\"prompt\":[1],\"max_tokens\":99999999999999999999}", "max_tokens"},
      {"{\"prompt\":[1],\"max_completion_tokens\":5}", "max_completion_tokens"}, // of chat
      {"{\"prompt\":[1],\"temperature\":2.1}", "temperature"},
      {"{\"prompt\":[1],\"temperature\":-0.1}", "temperature"},
      {"{\"prompt\":[1],\"temperature\":\"hot\"}", "temperature"},
      {"{\"prompt\":[1],\"top_p\":1.1}", "top_p"},
      {"{\"prompt\":[1],\"min_p\":-1}", "min_p"},
      {"{\"prompt\":[1],\"top_k\":-2}", "top_k"},
      {"{\"prompt\":[1],\"n\":0}", "n"},
      {"{\"prompt\":[1],\"n\":129}", "n"},
      {"{\"prompt\":[1],\"n\":2,\"best_of\":3}", "best_of"},
      {"{\"prompt\":[1],\"n\":2,\"best_of\":1,\"temperature\":0}", "best_of"},
      {"{\"prompt\":[1],\"seed\":1.5}", "seed"},
      {"{\"prompt\":[1],\"seed\":99999999999999999999}", "seed"},
      {"{\"prompt\":[1],\"presence_penalty\":3}", "presence_penalty"},
      {"{\"prompt\":[1],\"frequency_penalty\":-3}", "frequency_penalty"},
      {"{\"prompt\":[1],\"repetition_penalty\":0}", "repetition_penalty"},
      {"{\"prompt\":[1],\"logit_bias\":[1]}", "logit_bias"},
      {"{\"prompt\":[1],\"logit_bias\":{\"x\":1}}", "logit_bias"},
      {"{\"prompt\":[1],\"logit_bias\":{\"260\":1}}", "logit_bias"},
      {"{\"prompt\":[1],\"logit_bias\":{\"-1\":1}}", "logit_bias"},
      {"{\"prompt\":[1],\"logit_bias\":{\" 1\":1}}", "logit_bias"},
      {"{\"prompt\":[1],\"logit_bias\":{\"1\":101}}", "logit_bias"},
      {"{\"prompt\":[1],\"stop\":\"\"}", "stop"},
      {"{\"prompt\":[1],\"stop\":[\"a\",\"\"]}", "stop"},
      {"{\"prompt\":[1],\"stop\":5}", "stop"},
      {"{\"prompt\":[1],\"stop_token_ids\":5}", "stop_token_ids"},
      {"{\"prompt\":[1],\"stop_token_ids\":[260]}", "stop_token_ids"},
      {"{\"prompt\":[1],\"min_tokens\":17}", "min_tokens"}, // default of max_tokens: 16
      {"{\"prompt\":[1],\"ignore_eos\":1}", "ignore_eos"},
      {"{\"prompt\":[1],\"logprobs\":21}", "logprobs"},
      {"{\"prompt\":[1],\"logprobs\":true}", "logprobs"},
      {"{\"prompt\":[1],\"echo\":\"yes\"}", "echo"},
      {"{\"prompt\":[1],\"truncate_prompt_tokens\":0}", "prompt"},
      {"{\"prompt\":[1],\"stream\":true}", "stream"},
      {"{\"prompt\":[1],\"suffix\":\"x\"}", "suffix"},
      {"{\"prompt\":[1],\"response_format\":{\"type\":\"xml\"}}", "response_format"},
      {"{\"prompt\":[1],\"response_format\":{}}", "response_format"},
      {"{\"prompt\":[1],\"response_format\":{\"type\":\"json_object\",\"x\":1}}", "response_format"},
      {"{\"prompt\":[1],\"response_format\":{\"type\":\"json_schema\"}}", "response_format"},
      {"{\"prompt\":[1],\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"schema\":{\"not\":{}"
       "}}}}",
       "response_format"},
      {"{\"prompt\":[1],\"guided_choice\":[\"a\"],\"guided_regex\":\"a\"}", "guided_regex"},
      {"{\"prompt\":[1],\"guided_choice\":[\"a\"],\"ignore_eos\":true}", "guided_choice"},
      {"{\"prompt\":[1],\"guided_choice\":[\"a\"],\"min_tokens\":3}", "guided_choice"},
      {"{\"prompt\":[1],\"guided_choice\":[]}", "guided_choice"},
      {"{\"prompt\":[1],\"guided_choice\":[1]}", "guided_choice"},
      {"{\"prompt\":[1],\"guided_choice\":\"a\"}", "guided_choice"},
      {"{\"prompt\":[1],\"guided_regex\":\"(?=a)\"}", "guided_regex"},
      {"{\"prompt\":[1],\"guided_regex\":[\"a\"]}", "guided_regex"},
      {"{\"prompt\":[1],\"guided_json\":\"{\"}", "guided_json"},
      {"{\"prompt\":[1],\"guided_json\":{\"type\":\"nothing\"}}", "guided_json"},
      {"{\"prompt\":[1],\"guided_grammar\":\"root ::= x\"}", "guided_grammar"},
      {"{\"prompt\":[1],\"structured_outputs\":{\"grammar\":\"root ::= x\"}}", "structured_outputs"},
      {"{\"prompt\":[1],\"structured_outputs\":{\"regex\":\"a\",\"choice\":[\"a\"]}}", "structured_outputs"},
      {"{\"prompt\":[1],\"use_beam_search\":true}", "use_beam_search"},
      {"{\"prompt\":[1],\"length_penalty\":1.2}", "length_penalty"},
      {"{\"prompt\":[1],\"allowed_token_ids\":[1]}", "allowed_token_ids"},
      {"{\"prompt\":[1],\"bad_words\":[\"x\"]}", "bad_words"},
      {"{\"prompt\":[1],\"prompt_logprobs\":1}", "prompt_logprobs"},
      {"{\"prompt\":[1],\"temprature\":1}", "temprature"},
      {"{\"prompt\":[1],\"messages\":[]}", "messages"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) assert_refused(FG_ENDPOINT_COMPLETIONS, &rows[i]);
}

static void test_bad_chats_name_the_field(void **state) {
  (void)state;
  static const refusal rows[] = {
      {"{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"tools\":[{\"type\":\"function\"}]}", "tools"},
      {"{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"top_logprobs\":2}", "top_logprobs"},
      {"{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"logprobs\":5}", "logprobs"},
      {"{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"echo\":true}", "echo"},
      {"{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"prompt\":\"x\"}", "prompt"},
      {"{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"chat_template_kwargs\":[]}",
       "chat_template_kwargs"},
      {"{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"continue_final_message\":true}",
       "continue_final_message"},
      {"{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}", "messages"}, // the model has no template
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) assert_refused(FG_ENDPOINT_CHAT, &rows[i]);
}

static void test_too_many_choices_are_refused(void **state) {
  (void)state;
  fg_text body = {0};
  fg_text_append_string(&body, "{\"n\":128,\"prompt\":[[1]");
  for (int i = 0; i < 32; i++) fg_text_append_string(&body, ",[1]");
  fg_text_append_string(&body, "]}");
  assert_refused(FG_ENDPOINT_COMPLETIONS, &(refusal){body.data, "prompt"});
  fg_text_free(&body);
}

// ---- what is taken -----------------------------------------------------------------------------------

static void test_defaults_are_openais(void **state) {
  (void)state;
  fg_job_request *q = read_good("{\"model\":\"m\",\"prompt\":\"hi\"}");
  assert_string_equal(q->model, "m");
  assert_int_equal(q->prompt_count, 1);
  assert_int_equal(q->prompts[0].ids.count, 2);
  assert_int_equal(q->prompts[0].ids.data[1], 'i');
  assert_int_equal(q->max_tokens, 16);
  assert_int_equal(q->n, 1);
  assert_int_equal(q->logprobs, -1);
  assert_true(q->sampling.temperature == 1 && q->sampling.top_p == 1 && q->sampling.repetition_penalty == 1);
  assert_false(q->seeded || q->echo || q->return_token_ids);
  assert_true(q->skip_special);
  fg_job_request_destroy(q);
}

static void test_every_field_arrives(void **state) {
  (void)state;
  fg_job_request *q = read_good(
      "{\"prompt\":[1,2],\"max_tokens\":9,\"min_tokens\":3,\"n\":4,\"best_of\":4,\"seed\":-5,\"temperature\":"
      "0.5,"
      "\"top_p\":0.25,\"min_p\":0.125,\"top_k\":7,\"presence_penalty\":1.5,\"frequency_penalty\":-1.5,"
      "\"repetition_penalty\":1.25,\"logit_bias\":{\"5\":-100,\"6\":0.5},\"stop\":[\"ab\",\"c\\u0000d\"],"
      "\"stop_token_ids\":[8,9],\"ignore_eos\":true,\"include_stop_str_in_output\":true,\"skip_special_"
      "tokens\":false,"
      "\"return_token_ids\":true,\"return_tokens_as_token_ids\":true,\"logprobs\":0,\"echo\":true,"
      "\"user\":\"u\",\"metadata\":{\"a\":\"b\"},\"stream\":false,\"suffix\":\"\",\"length_penalty\":1.0,"
      "\"response_format\":{\"type\":\"text\"},\"guided_choice\":null,\"use_beam_search\":false}");
  const fg_sampling *s = &q->sampling;
  assert_int_equal(q->max_tokens, 9);
  assert_int_equal(s->min_tokens, 3);
  assert_int_equal(fg_job_request_choices(q), 4);
  assert_true(q->seeded && s->seed == (uint64_t)-5);
  assert_true(s->temperature == 0.5f && s->top_p == 0.25f && s->min_p == 0.125f && s->top_k == 7);
  assert_true(s->presence_penalty == 1.5f && s->frequency_penalty == -1.5f && s->repetition_penalty == 1.25f);
  assert_int_equal(s->bias_count, 2);
  for (uint32_t i = 0; i < 2; i++) assert_true(s->bias[i].bias == (s->bias[i].token == 5 ? -100.0f : 0.5f));
  assert_int_equal(q->stop_count, 2);
  assert_int_equal(q->stops[1].length, 3);
  assert_memory_equal(q->stops[1].bytes, "c\0d", 3);
  assert_int_equal(s->stop_id_count, 2);
  assert_int_equal(s->stop_ids[1], 9);
  assert_true(s->ignore_eos && q->include_stop && !q->skip_special && q->return_token_ids &&
              q->tokens_as_ids);
  assert_int_equal(q->logprobs, 0);
  assert_true(q->echo);
  fg_job_request_destroy(q);
}

static void test_all_forms_of_prompts(void **state) {
  (void)state;
  static const struct {
    const char *body;
    uint32_t prompts, last_count;
    int32_t last_id;
  } rows[] = {
      {"{\"prompt\":\"abc\"}", 1, 3, 'c'},
      {"{\"prompt\":[\"abc\",\"d\"]}", 2, 1, 'd'},
      {"{\"prompt\":[5,6,7]}", 1, 3, 7},
      {"{\"prompt\":[[5],[6,7]]}", 2, 2, 7},
      {"{\"prompt\":\"a</s>\"}", 1, 2, BYTE_EOS},
      {"{\"prompt\":\"\\u00e9\"}", 1, 2, 0xa9},
      {"{\"prompt\":\"a\\u0000b\"}", 1, 3, 'b'},
      {"{\"prompt\":\"abcdef\",\"truncate_prompt_tokens\":2}", 1, 2, 'f'},
      {"{\"prompt\":\"abcdef\",\"truncate_prompt_tokens\":-1}", 1, 6, 'f'},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    fg_job_request *q = read_good(rows[i].body);
    const fg_ids *last = &q->prompts[q->prompt_count - 1].ids;
    assert_int_equal(q->prompt_count, rows[i].prompts);
    assert_int_equal(last->count, rows[i].last_count);
    assert_int_equal(last->data[last->count - 1], rows[i].last_id);
    fg_job_request_destroy(q);
  }
}

static void test_the_best_of_equal_answers_is_any(void **state) {
  (void)state;
  fg_job_request_destroy(read_good("{\"prompt\":[1],\"temperature\":0,\"best_of\":5}")); // HELM sends this
  fg_job_request_destroy(read_good("{\"prompt\":[1],\"best_of\":1}"));
}

static void test_forms_of_answers(void **state) {
  (void)state;
  static const struct {
    const char *body;
    fg_form form;
    const char *text;
  } rows[] = {
      {"{\"prompt\":[1],\"guided_choice\":[\"a\", \"b\"]}", FG_FORM_CHOICE, "[\"a\",\"b\"]"},
      {"{\"prompt\":[1],\"guided_regex\":\"a+\"}", FG_FORM_REGEX, "a+"},
      {"{\"prompt\":[1],\"guided_json\":{\"type\": \"null\"}}", FG_FORM_JSON, "{\"type\":\"null\"}"},
      {"{\"prompt\":[1],\"guided_json\":\"{\\\"type\\\": \\\"null\\\"}\"}", FG_FORM_JSON,
       "{\"type\": \"null\"}"},
      {"{\"prompt\":[1],\"response_format\":{\"type\":\"json_object\"}}", FG_FORM_JSON,
       "{\"type\":\"object\"}"},
      {"{\"prompt\":[1],\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\","
       "\"strict\":true,"
       "\"schema\":{\"type\":\"null\"}}}}",
       FG_FORM_JSON, "{\"type\":\"null\"}"},
      {"{\"prompt\":[1],\"structured_outputs\":{\"regex\":\"a\",\"json\":null,\"json_object\":false}}",
       FG_FORM_REGEX, "a"},
      {"{\"prompt\":[1],\"structured_outputs\":{\"json_object\":true}}", FG_FORM_JSON,
       "{\"type\":\"object\"}"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    fg_job_request *q = read_good(rows[i].body);
    assert_non_null(q->form.field);
    assert_int_equal(q->form.form, rows[i].form);
    assert_string_equal(q->form.text, rows[i].text);
    fg_job_request_destroy(q);
  }
}

// Guides are made from the job's memory when the first is wanted, and given back.
static void test_a_store_holds_each_form_once(void **state) {
  (void)state;
  fg_budget *budget;
  assert_int_equal(fg_budget_create(&budget, "host memory", "--host-memory", 64 << 20, NULL), FG_OK);
  fg_job_memory memory = {.host = budget};
  fg_form_store store = {.memory = &memory};
  fg_request_context with = context;
  context.forms = &store;
  fg_guide *guides[2];
  fg_job_request *requests[2];
  for (int i = 0; i < 2; i++) {
    requests[i] = read_good("{\"prompt\":[1],\"guided_regex\":\"a+\"}");
    assert_int_equal(fg_job_request_guide(requests[i], &context, &guides[i], NULL), FG_OK);
  }
  assert_ptr_equal(guides[0], guides[1]);
  assert_int_equal(fg_guides_compiled(store.guides), 1);
  assert_true(memory.used > 2 << 20);
  for (int i = 0; i < 2; i++) {
    fg_form_store_release(&store, guides[i]);
    fg_job_request_destroy(requests[i]);
  }
  fg_form_store_close(&store);
  assert_true(memory.used == 0);
  fg_budget_destroy(budget);
  context = with;
}

static void test_a_store_without_memory_says_so(void **state) {
  (void)state;
  fg_budget *budget;
  assert_int_equal(fg_budget_create(&budget, "host memory", "--host-memory", 1 << 20, NULL), FG_OK);
  fg_job_memory memory = {.host = budget, .used = FG_JOB_ALLOWANCE};
  fg_form_store store = {.memory = &memory};
  fg_request_context with = context;
  context.forms = &store;
  fg_api_error error;
  fg_job_request *q;
  json_t *body = json_loads("{\"prompt\":[1],\"guided_regex\":\"a+\"}", 0, NULL);
  assert_false(fg_job_request_read(&q, &context, FG_ENDPOINT_COMPLETIONS, body, &error));
  assert_int_equal(error.status, 500);
  assert_non_null(strstr(error.message, "structured answers"));
  assert_non_null(strstr(error.message, "--host-memory"));
  json_decref(body);
  fg_form_store_close(&store);
  fg_budget_destroy(budget);
  context = with;
}

static void test_seed_minus_one_is_none(void **state) {
  (void)state;
  fg_job_request *q = read_good("{\"prompt\":[1],\"seed\":-1}");
  assert_false(q->seeded);
  fg_job_request_destroy(q);
}

static void test_scoring_fills_the_context(void **state) {
  (void)state;
  fg_text body = {0};
  fg_text_append_string(&body, "{\"max_tokens\":0,\"echo\":true,\"prompt\":[1");
  for (int i = 1; i < 100; i++) fg_text_append_string(&body, ",1");
  fg_text_append_string(&body, "]}");
  fg_job_request *q = read_good(body.data);
  assert_int_equal(fg_job_request_room(q, &context, 0), 0);
  fg_job_request_destroy(q);
  fg_text_free(&body);
}

static void test_without_a_tokenizer_only_ids_are_taken(void **state) {
  (void)state;
  fg_request_context with = context;
  context.tokenizer = NULL;
  assert_refused(FG_ENDPOINT_COMPLETIONS, &(refusal){"{\"prompt\":\"x\"}", "prompt"});
  assert_refused(FG_ENDPOINT_COMPLETIONS, &(refusal){"{\"prompt\":[1],\"stop\":\"x\"}", "stop"});
  assert_refused(FG_ENDPOINT_COMPLETIONS,
                 &(refusal){"{\"prompt\":[1],\"guided_regex\":\"x\"}", "guided_regex"});
  fg_job_request_destroy(read_good("{\"prompt\":[1],\"stop_token_ids\":[3],\"stop\":[]}"));
  context = with;
}

static void test_urls(void **state) {
  (void)state;
  fg_endpoint endpoint;
  fg_api_error error;
  assert_true(fg_endpoint_find("/v1/chat/completions", &endpoint, &error));
  assert_int_equal(endpoint, FG_ENDPOINT_CHAT);
  assert_true(fg_endpoint_find("/v1/completions", &endpoint, &error));
  assert_false(fg_endpoint_find("/v1/embeddings", &endpoint, &error));
  assert_string_equal(error.param, "url");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_bad_completions_name_the_field),
      cmocka_unit_test(test_bad_chats_name_the_field),
      cmocka_unit_test(test_too_many_choices_are_refused),
      cmocka_unit_test(test_defaults_are_openais),
      cmocka_unit_test(test_every_field_arrives),
      cmocka_unit_test(test_all_forms_of_prompts),
      cmocka_unit_test(test_the_best_of_equal_answers_is_any),
      cmocka_unit_test(test_forms_of_answers),
      cmocka_unit_test(test_a_store_holds_each_form_once),
      cmocka_unit_test(test_a_store_without_memory_says_so),
      cmocka_unit_test(test_seed_minus_one_is_none),
      cmocka_unit_test(test_scoring_fills_the_context),
      cmocka_unit_test(test_without_a_tokenizer_only_ids_are_taken),
      cmocka_unit_test(test_urls),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
