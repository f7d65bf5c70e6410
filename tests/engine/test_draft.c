// Tokens tried ahead, as a caller of the engine sees them: one by one, and none behind the end.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "heard.h"

enum { ROWS = 2, PROMPT = 8, ANSWER = 60, DRAFTS = 7, TOKEN = 77, ENDS_AT = 21 };

// A row that says the same token again and again, and what its callbacks do at its ENDS_AT'th token.
typedef struct row {
  heard heard;
  fg_engine *engine;
  fg_request_id cancels; // 0: none
  bool stops;
  uint32_t tokens_then; // when it was cancelled by another row
  struct row *other;
} row;

static bool on_token(void *user, const fg_token_info *info) {
  row *r = user;
  assert_int_equal(info->token, TOKEN);
  hear_token(user, info);
  if (r->heard.count != ENDS_AT) return true;
  if (r->cancels) {
    fg_engine_cancel(r->engine, r->cancels);
    if (r->other) r->other->tokens_then = r->other->heard.count;
  }
  return !r->stops;
}

static void submit(row *r) {
  int32_t prompt[PROMPT];
  for (int32_t i = 0; i < PROMPT; i++) prompt[i] = 10 + i;
  const fg_logit_bias bias = {TOKEN, 1000};
  fg_request request = heard_request(r, prompt, PROMPT, ANSWER);
  request.sampling.bias = &bias;
  request.sampling.bias_count = 1;
  request.on_token = on_token;
  heard_submit(r->engine, &request);
}

static fg_engine *open_engine(const char *directory) {
  const fg_engine_options options = {.model = FG_TEST_DIR "/oracle/models/llama-gqa",
                                     .offload_dir = directory,
                                     .dtype = "f32",
                                     .max_num_seqs = ROWS,
                                     .host_memory = 200 << 20,
                                     .speculative_tokens = DRAFTS,
                                     .threads = 1};
  fg_engine *engine;
  fg_error err;
  if (fg_engine_open(&engine, &options, &err) != FG_OK) fail_msg("%s", err.message);
  return engine;
}

static fg_engine_stats run(row *rows) {
  char directory[] = "/tmp/flexgen-draft-XXXXXX", command[64];
  assert_non_null(mkdtemp(directory));
  fg_engine *engine = open_engine(directory);
  for (int i = 0; i < ROWS; i++) {
    rows[i].engine = engine;
    submit(&rows[i]);
  }
  if (rows[0].other) rows[0].cancels = rows[1].heard.id;
  if (rows[0].cancels && !rows[0].other) rows[0].cancels = rows[0].heard.id;
  heard_run(engine);
  fg_engine_stats stats;
  fg_engine_get_stats(engine, &stats);
  fg_engine_close(engine);
  snprintf(command, sizeof command, "rm -r %s", directory);
  assert_int_equal(system(command), 0);
  return stats;
}

static void test_all_tokens_come_once(void **state) {
  (void)state;
  row rows[ROWS] = {0};
  const fg_engine_stats stats = run(rows);
  for (int i = 0; i < ROWS; i++)
    assert_true(rows[i].heard.count == ANSWER && rows[i].heard.finish == FG_FINISH_LENGTH);
  assert_int_equal(stats.generated_tokens, ROWS * ANSWER);
  // With the prompt one, alone one, then eight a step, the last ones fewer.
  assert_int_equal(stats.steps, 2 + (ANSWER - 2 + DRAFTS) / (1 + DRAFTS));
  assert_true(stats.accepted_tokens == stats.drafted_tokens &&
              stats.drafted_tokens == ROWS * ANSWER - ROWS * stats.steps);
}

static void test_a_row_that_its_owner_stops_hears_no_more(void **state) {
  (void)state;
  row rows[ROWS] = {{.stops = true}};
  (void)run(rows);
  assert_true(rows[0].heard.count == ENDS_AT && rows[0].heard.finish == FG_FINISH_CALLER);
  assert_int_equal(rows[1].heard.count, ANSWER);
}

static void test_a_row_that_cancels_itself_hears_no_more(void **state) {
  (void)state;
  row rows[ROWS] = {{.cancels = 1}};
  (void)run(rows);
  assert_true(rows[0].heard.count == ENDS_AT && rows[0].heard.finish == FG_FINISH_CANCELLED);
  assert_int_equal(rows[1].heard.count, ANSWER);
}

// In the same step it may hear the one token that it would have heard without drafts.
static void test_a_row_that_another_cancels_hears_one_token_more_at_most(void **state) {
  (void)state;
  row rows[ROWS] = {0};
  rows[0].other = &rows[1];
  (void)run(rows);
  assert_int_equal(rows[0].heard.count, ANSWER);
  assert_int_equal(rows[1].heard.finish, FG_FINISH_CANCELLED);
  assert_true(rows[1].tokens_then > 0 && rows[1].heard.count <= rows[1].tokens_then + 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_all_tokens_come_once),
      cmocka_unit_test(test_a_row_that_its_owner_stops_hears_no_more),
      cmocka_unit_test(test_a_row_that_cancels_itself_hears_no_more),
      cmocka_unit_test(test_a_row_that_another_cancels_hears_one_token_more_at_most),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
