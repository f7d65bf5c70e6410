// From tokens to the body of a response: text, stops, log-probabilities, echo, usage.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "byte_context.h"
#include "job/json_out.h"
#include "job/response.h"

// ---- an answer that is given token by token ----------------------------------------------------------

typedef struct answer {
  fg_job_request *q;
  fg_choice choice;
  fg_request engine; // what the engine was asked
  json_t *body;
  const json_t *first; // choices[0]
} answer;

static answer begin(fg_endpoint endpoint, const char *text) {
  answer a = {0};
  fg_error err;
  fg_api_error error;
  json_t *body = fg_json_parse(text, strlen(text), "body", &err);
  if (!body) fail_msg("%s", err.message);
  if (!fg_job_request_read(&a.q, &context, endpoint, body, &error)) fail_msg("%s: %s", text, error.message);
  json_decref(body);
  return a;
}

static void start(answer *a) {
  fg_error err;
  if (fg_choice_start(&a->choice, a->q, &context, 0, &err) != FG_OK) fail_msg("%s", err.message);
  fg_choice_engine_request(&a->choice, (fg_choice_key){11, 22}, &a->engine);
}

// The engine's part: prompt tokens are scored -1, -2, ... and each token of `text` (bytes) -0.5, with
// candidates.
static bool give(answer *a, int32_t token, const fg_candidate *top, uint32_t count) {
  fg_token_info info = {.token = token, .logprob = -0.5f, .top = top, .top_count = count};
  return a->engine.on_token(a->engine.user, &info);
}

static void score_prompt(answer *a) {
  for (uint32_t i = 1; i < a->engine.prompt_count && a->engine.on_prompt; i++) {
    fg_candidate top[2] = {{'z', -0.25f}, {a->engine.prompt[i], -(float)i}};
    fg_token_info info = {a->engine.prompt[i], -(float)i, 0, top, (uint32_t)a->engine.prompt_logprobs};
    a->engine.on_prompt(a->engine.user, i, &info);
  }
}

static void give_text(answer *a, const char *text) {
  for (; *text; text++)
    if (!give(a, (uint8_t)*text, NULL, 0)) fail_msg("stopped before '%s'", text);
}

static void end(answer *a, fg_finish finish) {
  a->engine.on_done(a->engine.user, finish, NULL);
  fg_text out = {0};
  fg_api_error error;
  fg_error err;
  fg_response_head head = {"cmpl-1", 1700000000, "byte"};
  assert_true(fg_response_check(&a->choice, 1, &error));
  fg_response_body(&out, &head, &a->choice, 1);
  a->body = fg_json_parse(out.data, out.length, "response", &err);
  if (!a->body) fail_msg("%s: %s", err.message, out.data);
  a->first = json_array_get(json_object_get(a->body, "choices"), 0);
  fg_text_free(&out);
}

static void done(answer *a) {
  json_decref(a->body);
  fg_choice_free(&a->choice);
  fg_job_request_destroy(a->q);
}

// Compares a member, written as JSON, of choices[0].
static void assert_member(const answer *a, const char *path, const char *expected) {
  const json_t *value = a->first;
  char *copy = strdup(path), *save = NULL;
  for (char *name = strtok_r(copy, ".", &save); name; name = strtok_r(NULL, ".", &save))
    value =
        json_is_array(value) ? json_array_get(value, strtoul(name, NULL, 10)) : json_object_get(value, name);
  free(copy);
  json_t *wanted = json_loads(expected, JSON_DECODE_ANY, NULL);
  char *shown = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : strdup("nothing");
  bool same = value && json_equal(value, wanted);
  if (!same) print_error("%s is %s, not %s\n", path, shown, expected);
  free(shown);
  json_decref(wanted);
  assert_true(same);
}

// ---- text and its end --------------------------------------------------------------------------------

static void test_an_eos_is_counted_but_is_no_text(void **state) {
  (void)state;
  answer a = begin(FG_ENDPOINT_COMPLETIONS, "{\"prompt\":\"abc\",\"return_token_ids\":true}");
  start(&a);
  give_text(&a, "xy");
  give(&a, BYTE_EOS, NULL, 0);
  end(&a, FG_FINISH_EOS);
  assert_member(&a, "text", "\"xy\"");
  assert_member(&a, "finish_reason", "\"stop\"");
  assert_member(&a, "stop_reason", "null");
  assert_member(&a, "logprobs", "null");
  assert_member(&a, "token_ids", "[120,121,256]");
  assert_member(&a, "prompt_token_ids", "[97,98,99]");
  const json_t *usage = json_object_get(a.body, "usage");
  assert_int_equal(json_integer_value(json_object_get(usage, "prompt_tokens")), 3);
  assert_int_equal(json_integer_value(json_object_get(usage, "completion_tokens")), 3);
  assert_int_equal(json_integer_value(json_object_get(usage, "total_tokens")), 6);
  done(&a);
}

static void test_an_id_that_only_the_model_knows_has_no_text(void **state) {
  (void)state;
  answer a = begin(FG_ENDPOINT_COMPLETIONS, "{\"prompt\":[258,97],\"return_token_ids\":true,\"logprobs\":0}");
  start(&a);
  give_text(&a, "x");
  assert_true(give(&a, 259, NULL, 0));
  give_text(&a, "y");
  end(&a, FG_FINISH_LENGTH);
  assert_member(&a, "text", "\"xy\"");
  assert_member(&a, "token_ids", "[120,259,121]");
  assert_member(&a, "logprobs.tokens", "[\"x\",\"token_id:259\",\"y\"]");
  done(&a);
}

static void test_another_eos_is_named(void **state) {
  (void)state;
  answer a = begin(FG_ENDPOINT_COMPLETIONS, "{\"prompt\":\"abc\"}");
  start(&a);
  give(&a, BYTE_END, NULL, 0);
  end(&a, FG_FINISH_EOS);
  assert_member(&a, "text", "\"\"");
  assert_member(&a, "stop_reason", "257");
  done(&a);
}

static void test_an_ignored_eos_is_an_ordinary_token(void **state) {
  (void)state;
  answer a = begin(FG_ENDPOINT_COMPLETIONS,
                   "{\"prompt\":\"abc\",\"ignore_eos\":true,\"skip_special_tokens\":false}");
  start(&a);
  give_text(&a, "x");
  assert_true(give(&a, BYTE_EOS, NULL, 0));
  give_text(&a, "y");
  end(&a, FG_FINISH_LENGTH);
  assert_member(&a, "text", "\"x</s>y\"");
  assert_member(&a, "finish_reason", "\"length\"");
  done(&a);
}

static void test_a_stop_id_is_named_and_cut(void **state) {
  (void)state;
  for (int include = 0; include < 2; include++) {
    answer a =
        begin(FG_ENDPOINT_COMPLETIONS,
              include ? "{\"prompt\":\"a\",\"stop_token_ids\":[122],\"include_stop_str_in_output\":true}"
                      : "{\"prompt\":\"a\",\"stop_token_ids\":[122]}");
    start(&a);
    give_text(&a, "xy");
    give(&a, 'z', NULL, 0);
    end(&a, FG_FINISH_STOP_ID);
    assert_member(&a, "text", include ? "\"xyz\"" : "\"xy\"");
    assert_member(&a, "stop_reason", "122");
    assert_member(&a, "finish_reason", "\"stop\"");
    done(&a);
  }
}

static void test_a_stop_string_cuts_the_text_and_keeps_the_tokens(void **state) {
  (void)state;
  for (int include = 0; include < 2; include++) {
    answer a = begin(FG_ENDPOINT_COMPLETIONS,
                     include ? "{\"prompt\":\"a\",\"stop\":[\"END\",\"nd\"],\"logprobs\":0,"
                               "\"include_stop_str_in_output\":true}"
                             : "{\"prompt\":\"a\",\"stop\":[\"END\",\"nd\"],\"logprobs\":0}");
    start(&a);
    give_text(&a, "the e");
    give_text(&a, "n");
    assert_false(give(&a, 'd', NULL, 0));
    end(&a, FG_FINISH_CALLER);
    assert_member(&a, "text", include ? "\"the end\"" : "\"the e\"");
    assert_member(&a, "stop_reason", "\"nd\"");
    assert_member(&a, "finish_reason", "\"stop\"");
    assert_member(&a, "logprobs.tokens", "[\"t\",\"h\",\"e\",\" \",\"e\",\"n\",\"d\"]");
    done(&a);
  }
}

static void test_min_tokens_hold_back_stop_strings(void **state) {
  (void)state;
  answer a = begin(FG_ENDPOINT_COMPLETIONS, "{\"prompt\":\"a\",\"stop\":\"x\",\"min_tokens\":3}");
  start(&a);
  give_text(&a, "xxx");
  assert_false(give(&a, 'x', NULL, 0));
  end(&a, FG_FINISH_CALLER);
  assert_member(&a, "text", "\"xxx\"");
  done(&a);
}

static void test_characters_come_whole_or_as_replacement(void **state) {
  (void)state;
  answer a = begin(FG_ENDPOINT_COMPLETIONS, "{\"prompt\":\"a\",\"logprobs\":0}");
  start(&a);
  give_text(&a, "\xc3\xa9z");
  give(&a, 0xe2, NULL, 0); // the first byte of three
  end(&a, FG_FINISH_LENGTH);
  assert_member(&a, "text", "\"\\u00e9z\\ufffd\"");
  assert_member(&a, "logprobs.tokens", "[\"\\ufffd\",\"\\ufffd\",\"z\",\"\\ufffd\"]");
  assert_member(&a, "logprobs.text_offset", "[0,0,1,2]");
  done(&a);
}

// ---- log-probabilities -------------------------------------------------------------------------------

static void test_top_holds_the_token_too(void **state) {
  (void)state;
  answer a = begin(FG_ENDPOINT_COMPLETIONS, "{\"prompt\":\"a\",\"logprobs\":2}");
  start(&a);
  const fg_candidate with[2] = {{'x', -0.5f}, {'y', -1.5f}}, without[2] = {{'p', -0.25f}, {'q', -0.375f}};
  give(&a, 'x', with, 2);
  give(&a, 'x', without, 2);
  end(&a, FG_FINISH_LENGTH);
  assert_member(&a, "logprobs.top_logprobs.0", "{\"x\":-0.5,\"y\":-1.5}");
  assert_member(&a, "logprobs.top_logprobs.1", "{\"p\":-0.25,\"q\":-0.375,\"x\":-0.5}");
  assert_member(&a, "logprobs.token_logprobs", "[-0.5,-0.5]");
  done(&a);
}

static void test_no_candidates_still_show_the_token(void **state) {
  (void)state;
  answer a = begin(FG_ENDPOINT_COMPLETIONS, "{\"prompt\":\"a\",\"logprobs\":0}");
  start(&a);
  give(&a, 'x', NULL, 0);
  end(&a, FG_FINISH_LENGTH);
  assert_member(&a, "logprobs.top_logprobs", "[{\"x\":-0.5}]");
  done(&a);
}

static void test_of_equal_texts_the_likelier_stays(void **state) {
  (void)state;
  answer a = begin(FG_ENDPOINT_COMPLETIONS, "{\"prompt\":\"a\",\"logprobs\":3}");
  start(&a);
  const fg_candidate top[3] = {{0x80, -0.25f}, {0x81, -0.5f}, {'y', -0.75f}}; // two that show as U+FFFD
  give(&a, 0x82, top, 3);
  end(&a, FG_FINISH_LENGTH);
  assert_member(&a, "logprobs.top_logprobs.0", "{\"\\ufffd\":-0.25,\"y\":-0.75}");
  done(&a);
}

static void test_token_ids_for_names(void **state) {
  (void)state;
  answer a =
      begin(FG_ENDPOINT_COMPLETIONS, "{\"prompt\":\"a\",\"logprobs\":2,\"return_tokens_as_token_ids\":true}");
  start(&a);
  const fg_candidate top[2] = {{0x80, -0.25f}, {0x81, -0.5f}};
  give(&a, 0x81, top, 2);
  end(&a, FG_FINISH_LENGTH);
  assert_member(&a, "logprobs.tokens", "[\"token_id:129\"]");
  assert_member(&a, "logprobs.top_logprobs.0", "{\"token_id:128\":-0.25,\"token_id:129\":-0.5}");
  done(&a);
}

static void test_chat_shows_bytes(void **state) {
  (void)state;
  answer a = begin(FG_ENDPOINT_COMPLETIONS, "{\"prompt\":\"a\",\"logprobs\":1}");
  a.q->endpoint = FG_ENDPOINT_CHAT;
  start(&a);
  const fg_candidate top[1] = {{'y', -0.25f}};
  give(&a, 0xc3, top, 1);
  give(&a, 0xa9, top, 1);
  end(&a, FG_FINISH_LENGTH);
  assert_member(&a, "message", "{\"role\":\"assistant\",\"content\":\"\\u00e9\",\"refusal\":null}");
  assert_member(&a, "logprobs.content.0",
                "{\"token\":\"\\ufffd\",\"logprob\":-0.5,\"bytes\":[195],\"top_logprobs\":"
                "[{\"token\":\"y\",\"logprob\":-0.25,\"bytes\":[121]}]}");
  assert_member(&a, "logprobs.content.1.bytes", "[169]");
  assert_string_equal(json_string_value(json_object_get(a.body, "object")), "chat.completion");
  done(&a);
}

static void test_logprobs_are_written_alike_and_without_infinities(void **state) {
  (void)state;
  static const struct {
    float value;
    const char *text;
  } rows[] = {{-INFINITY, "-9999.0"},
              {NAN, "-9999.0"},
              {0, "0.0"},
              {-0.5f, "-0.5"},
              {-2, "-2.0"},
              {-0.1f, "-0.100000001"},
              {-1e-7f, "-1.00000001e-07"},
              {-1e9f, "-9999.0"}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    fg_text out = {0};
    fg_json_put_logprob(&out, rows[i].value);
    assert_string_equal(out.data, rows[i].text);
    fg_text_free(&out);
  }
  srand(3);
  for (int i = 0; i < 100000; i++) { // every float comes back
    float value = -(float)rand() / (float)(1 + rand() % 1000000);
    if (value < -9999) continue;
    fg_text out = {0};
    fg_json_put_logprob(&out, value);
    assert_true(strtof(out.data, NULL) == value);
    fg_text_free(&out);
  }
}

// ---- echo --------------------------------------------------------------------------------------------

static void test_echo_scores_the_prompt(void **state) {
  (void)state;
  answer a = begin(FG_ENDPOINT_COMPLETIONS,
                   "{\"prompt\":\"a\\u00e9b\",\"echo\":true,\"logprobs\":1,\"max_tokens\":1}");
  start(&a);
  assert_int_equal(a.engine.prompt_logprobs, 1);
  score_prompt(&a);
  give(&a, 'x', (fg_candidate[]){{'x', -0.5f}}, 1);
  end(&a, FG_FINISH_LENGTH);
  assert_member(&a, "text", "\"a\\u00e9bx\"");
  assert_member(&a, "logprobs.tokens", "[\"a\",\"\\ufffd\",\"\\ufffd\",\"b\",\"x\"]");
  assert_member(&a, "logprobs.token_logprobs", "[null,-1.0,-2.0,-3.0,-0.5]");
  assert_member(&a, "logprobs.text_offset", "[0,1,1,2,3]");
  assert_member(&a, "logprobs.top_logprobs.0", "null");
  assert_member(&a, "logprobs.top_logprobs.3", "{\"z\":-0.25,\"b\":-3.0}");
  done(&a);
}

static void test_scoring_alone_shows_the_prompt_only(void **state) {
  (void)state;
  answer a =
      begin(FG_ENDPOINT_COMPLETIONS, "{\"prompt\":[97,98],\"echo\":true,\"logprobs\":0,\"max_tokens\":0}");
  start(&a);
  assert_int_equal(a.engine.max_tokens, 0);
  score_prompt(&a);
  end(&a, FG_FINISH_LENGTH);
  assert_member(&a, "text", "\"ab\"");
  assert_member(&a, "logprobs.token_logprobs", "[null,-1.0]");
  assert_member(&a, "finish_reason", "\"length\"");
  done(&a);
}

static void test_echo_gives_the_prompt_back_as_it_was_sent(void **state) {
  (void)state;
  // </s> is a token here that a decoding would skip; offsets of the answer count from the end of the text.
  answer a = begin(FG_ENDPOINT_COMPLETIONS, "{\"prompt\":\"a</s>b\",\"echo\":true,\"logprobs\":0}");
  start(&a);
  score_prompt(&a);
  give_text(&a, "x");
  end(&a, FG_FINISH_LENGTH);
  assert_member(&a, "text", "\"a</s>bx\"");
  assert_member(&a, "logprobs.tokens", "[\"a\",\"</s>\",\"b\",\"x\"]");
  assert_member(&a, "logprobs.text_offset.3", "6");
  done(&a);
}

static void test_echo_without_logprobs(void **state) {
  (void)state;
  answer a = begin(FG_ENDPOINT_COMPLETIONS, "{\"prompt\":[97,98],\"echo\":true}");
  start(&a);
  assert_int_equal(a.engine.prompt_logprobs, -1);
  give_text(&a, "c");
  end(&a, FG_FINISH_LENGTH);
  assert_member(&a, "text", "\"abc\"");
  assert_member(&a, "logprobs", "null");
  done(&a);
}

// ---- without a tokenizer, keys, failures -------------------------------------------------------------

static void test_a_model_without_tokenizer_shows_ids(void **state) {
  (void)state;
  fg_request_context with = context;
  context.tokenizer = NULL;
  answer a = begin(FG_ENDPOINT_COMPLETIONS, "{\"prompt\":[5,6],\"echo\":true,\"logprobs\":0}");
  start(&a);
  score_prompt(&a);
  give(&a, 7, NULL, 0);
  give(&a, BYTE_EOS, NULL, 0);
  end(&a, FG_FINISH_EOS);
  assert_member(&a, "text", "\"token_id:5token_id:6token_id:7\"");
  assert_member(&a, "logprobs.tokens", "[\"token_id:5\",\"token_id:6\",\"token_id:7\",\"token_id:256\"]");
  assert_member(&a, "logprobs.text_offset", "[0,10,20,30]");
  done(&a);
  context = with;
}

static void test_the_sampling_key_is_the_rows_or_the_seeds(void **state) {
  (void)state;
  answer a = begin(FG_ENDPOINT_COMPLETIONS, "{\"prompt\":[5]}"),
         b = begin(FG_ENDPOINT_COMPLETIONS, "{\"prompt\":[5],\"seed\":3}");
  start(&a);
  start(&b);
  assert_true(a.engine.sampling.seed == 11 && a.engine.sampling.row == 22);
  assert_true(b.engine.sampling.seed == 3 && b.engine.sampling.row == 0);
  done(&a);
  done(&b);
}

static void test_a_failed_choice_is_a_server_error(void **state) {
  (void)state;
  answer a = begin(FG_ENDPOINT_COMPLETIONS, "{\"prompt\":[5]}");
  start(&a);
  fg_error broken = {FG_IO, "the disk is gone"};
  a.engine.on_done(a.engine.user, FG_FINISH_ERROR, &broken);
  fg_text out = {0};
  fg_api_error error;
  assert_false(fg_response_check(&a.choice, 1, &error));
  assert_int_equal(error.status, 500);
  assert_non_null(strstr(error.message, "the disk is gone"));
  fg_response_error(&out, &error);
  assert_string_equal(out.data,
                      "{\"error\":{\"message\":\"choice 0: the disk is gone\",\"type\":\"server_error\","
                      "\"param\":null,\"code\":null}}");
  fg_text_free(&out);
  done(&a);
}

// A form that cannot be written on is no failure of ours.
static void test_a_form_that_the_model_cannot_write_is_the_requests_fault(void **state) {
  (void)state;
  answer a = begin(FG_ENDPOINT_COMPLETIONS, "{\"prompt\":[5],\"guided_regex\":\"x\"}");
  start(&a);
  fg_error lacking = {FG_UNSUPPORTED, "the model has no token for it"};
  a.engine.on_done(a.engine.user, FG_FINISH_ERROR, &lacking);
  fg_api_error error;
  assert_false(fg_response_check(&a.choice, 1, &error));
  assert_int_equal(error.status, 400);
  assert_string_equal(error.type, "invalid_request_error");
  assert_string_equal(error.param, "guided_regex");
  assert_string_equal(error.message, "guided_regex: choice 0: the model has no token for it");
  done(&a);
}

// ---- pieces ------------------------------------------------------------------------------------------

// The next piece's choice; NULL: there is none. For the caller to release.
static json_t *next_piece(answer *a, fg_choice_sent *sent, json_t **piece) {
  fg_text out = {0};
  fg_error err;
  const fg_response_head head = {"cmpl-1", 1700000000, "byte"};
  *piece = NULL;
  if (fg_response_chunk(&out, &head, &a->choice, sent)) {
    *piece = fg_json_parse(out.data, out.length, "piece", &err);
    if (!*piece) fail_msg("%s: %s", err.message, out.data);
  }
  fg_text_free(&out);
  return json_array_get(json_object_get(*piece, "choices"), 0);
}

static void assert_piece(answer *a, fg_choice_sent *sent, const char *text, const char *finish) {
  json_t *piece, *choice = next_piece(a, sent, &piece);
  if (!text) {
    assert_null(piece);
    return;
  }
  assert_non_null(choice);
  const json_t *delta = json_object_get(choice, "delta");
  assert_string_equal(
      json_string_value(delta ? json_object_get(delta, "content") : json_object_get(choice, "text")), text);
  const char *got = json_string_value(json_object_get(choice, "finish_reason"));
  assert_string_equal(got ? got : "none", finish);
  json_decref(piece);
}

static void test_text_that_may_be_a_stop_string_waits(void **state) {
  (void)state;
  answer a = begin(FG_ENDPOINT_COMPLETIONS, "{\"prompt\":\"abc\",\"stop\":\"END\"}");
  fg_choice_sent sent = {0};
  start(&a);
  assert_piece(&a, &sent, NULL, NULL); // nothing yet
  give_text(&a, "xE");
  assert_piece(&a, &sent, "x", "none");
  give_text(&a, "N");
  assert_piece(&a, &sent, NULL, NULL);
  give_text(&a, "y");
  assert_piece(&a, &sent, "ENy", "none");
  give_text(&a, "EN");
  assert_piece(&a, &sent, NULL, NULL);
  assert_false(give(&a, 'D', NULL, 0));
  assert_piece(&a, &sent, NULL, NULL);
  end(&a, FG_FINISH_CALLER);
  assert_piece(&a, &sent, "", "stop");
  assert_piece(&a, &sent, NULL, NULL); // once
  done(&a);
}

static void test_what_was_held_comes_at_the_end(void **state) {
  (void)state;
  answer a = begin(FG_ENDPOINT_COMPLETIONS, "{\"prompt\":\"abc\",\"stop\":\"END\"}");
  fg_choice_sent sent = {0};
  start(&a);
  give_text(&a, "xEN");
  assert_piece(&a, &sent, "x", "none");
  end(&a, FG_FINISH_LENGTH);
  assert_piece(&a, &sent, "EN", "length");
  done(&a);
}

static void test_an_echoed_prompt_comes_with_the_first_piece(void **state) {
  (void)state;
  answer a = begin(FG_ENDPOINT_COMPLETIONS, "{\"prompt\":\"abc\",\"echo\":true,\"logprobs\":1}");
  fg_choice_sent sent = {0};
  start(&a);
  score_prompt(&a);
  assert_piece(&a, &sent, NULL, NULL);
  give_text(&a, "x");
  json_t *piece, *choice = next_piece(&a, &sent, &piece);
  assert_string_equal(json_string_value(json_object_get(choice, "text")), "abcx");
  assert_int_equal(json_array_size(json_object_get(json_object_get(choice, "logprobs"), "tokens")), 4);
  json_decref(piece);
  give_text(&a, "yz");
  choice = next_piece(&a, &sent, &piece);
  assert_string_equal(json_string_value(json_object_get(choice, "text")), "yz");
  const json_t *offsets = json_object_get(json_object_get(choice, "logprobs"), "text_offset");
  assert_int_equal(json_array_size(offsets), 2);
  assert_int_equal(json_integer_value(json_array_get(offsets, 0)), 4);
  json_decref(piece);
  end(&a, FG_FINISH_LENGTH);
  assert_piece(&a, &sent, "", "length");
  done(&a);
}

static void test_scoring_alone_is_one_piece(void **state) {
  (void)state;
  answer a =
      begin(FG_ENDPOINT_COMPLETIONS, "{\"prompt\":\"abc\",\"echo\":true,\"logprobs\":1,\"max_tokens\":0}");
  fg_choice_sent sent = {0};
  start(&a);
  score_prompt(&a);
  assert_piece(&a, &sent, NULL, NULL);
  end(&a, FG_FINISH_LENGTH);
  assert_piece(&a, &sent, "abc", "length");
  done(&a);
}

static void test_tokens_are_shown_while_their_text_waits(void **state) {
  (void)state;
  answer a =
      begin(FG_ENDPOINT_COMPLETIONS, "{\"prompt\":\"abc\",\"stop\":\"END\",\"return_token_ids\":true}");
  fg_choice_sent sent = {0};
  start(&a);
  give_text(&a, "E");
  json_t *piece, *choice = next_piece(&a, &sent, &piece);
  assert_string_equal(json_string_value(json_object_get(choice, "text")), "");
  assert_int_equal(json_array_size(json_object_get(choice, "token_ids")), 1);
  assert_int_equal(json_array_size(json_object_get(choice, "prompt_token_ids")), 3);
  json_decref(piece);
  give_text(&a, "z");
  choice = next_piece(&a, &sent, &piece);
  assert_string_equal(json_string_value(json_object_get(choice, "text")), "Ez");
  assert_int_equal(json_array_size(json_object_get(choice, "token_ids")), 1);
  assert_null(json_object_get(choice, "prompt_token_ids"));
  json_decref(piece);
  end(&a, FG_FINISH_LENGTH);
  done(&a);
}

static void test_a_stream_is_refused_where_answers_are_whole(void **state) {
  (void)state;
  fg_job_request *q = NULL;
  fg_api_error error;
  fg_request_context streams = context;
  json_t *body =
      json_pack("{s:s,s:b,s:{s:b}}", "prompt", "abc", "stream", 1, "stream_options", "include_usage", 1);
  assert_false(fg_job_request_read(&q, &context, FG_ENDPOINT_COMPLETIONS, body, &error));
  assert_string_equal(error.param, "stream");
  streams.streams = true;
  assert_true(fg_job_request_read(&q, &streams, FG_ENDPOINT_COMPLETIONS, body, &error));
  assert_true(q->stream && q->include_usage);
  fg_job_request_destroy(q);
  json_object_set_new(body, "stream", json_integer(1));
  assert_false(fg_job_request_read(&q, &streams, FG_ENDPOINT_COMPLETIONS, body, &error));
  json_object_set_new(body, "stream", json_true());
  json_object_set_new(body, "stream_options", json_true());
  assert_false(fg_job_request_read(&q, &streams, FG_ENDPOINT_COMPLETIONS, body, &error));
  assert_string_equal(error.param, "stream_options");
  json_decref(body);
}

static void test_strings_are_valid_json_whatever_the_bytes(void **state) {
  (void)state;
  static const struct {
    const char *bytes;
    size_t length;
    const char *json;
  } rows[] = {{"a\"\\\n\t\x01\x7f", 7, "\"a\\\"\\\\\\n\\t\\u0001\\u007f\""},
              {"a\0b", 3, "\"a\\u0000b\""},
              {"\xc3", 1, "\"\xef\xbf\xbd\""},
              {"\xe2\x82z", 3, "\"\xef\xbf\xbdz\""}, // a maximal part is one replacement
              {"\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
              {"\xf0\x9f\x98\x80", 4, "\"\xf0\x9f\x98\x80\""}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    fg_text out = {0};
    fg_json_put_string(&out, rows[i].bytes, rows[i].length);
    assert_string_equal(out.data, rows[i].json);
    fg_text_free(&out);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_an_eos_is_counted_but_is_no_text),
      cmocka_unit_test(test_an_id_that_only_the_model_knows_has_no_text),
      cmocka_unit_test(test_another_eos_is_named),
      cmocka_unit_test(test_an_ignored_eos_is_an_ordinary_token),
      cmocka_unit_test(test_a_stop_id_is_named_and_cut),
      cmocka_unit_test(test_a_stop_string_cuts_the_text_and_keeps_the_tokens),
      cmocka_unit_test(test_min_tokens_hold_back_stop_strings),
      cmocka_unit_test(test_characters_come_whole_or_as_replacement),
      cmocka_unit_test(test_top_holds_the_token_too),
      cmocka_unit_test(test_no_candidates_still_show_the_token),
      cmocka_unit_test(test_of_equal_texts_the_likelier_stays),
      cmocka_unit_test(test_token_ids_for_names),
      cmocka_unit_test(test_chat_shows_bytes),
      cmocka_unit_test(test_logprobs_are_written_alike_and_without_infinities),
      cmocka_unit_test(test_echo_scores_the_prompt),
      cmocka_unit_test(test_scoring_alone_shows_the_prompt_only),
      cmocka_unit_test(test_echo_gives_the_prompt_back_as_it_was_sent),
      cmocka_unit_test(test_echo_without_logprobs),
      cmocka_unit_test(test_a_model_without_tokenizer_shows_ids),
      cmocka_unit_test(test_the_sampling_key_is_the_rows_or_the_seeds),
      cmocka_unit_test(test_a_failed_choice_is_a_server_error),
      cmocka_unit_test(test_a_form_that_the_model_cannot_write_is_the_requests_fault),
      cmocka_unit_test(test_text_that_may_be_a_stop_string_waits),
      cmocka_unit_test(test_what_was_held_comes_at_the_end),
      cmocka_unit_test(test_an_echoed_prompt_comes_with_the_first_piece),
      cmocka_unit_test(test_scoring_alone_is_one_piece),
      cmocka_unit_test(test_tokens_are_shown_while_their_text_waits),
      cmocka_unit_test(test_a_stream_is_refused_where_answers_are_whole),
      cmocka_unit_test(test_strings_are_valid_json_whatever_the_bytes),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
