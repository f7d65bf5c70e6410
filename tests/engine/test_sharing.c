// Requests that share what they have in common, as the callers of an engine see it; and the notes on prompts.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/prompt_notes.h"
#include "heard.h"

enum { REQUESTS = 6, COMMON = 75, PROMPT = 100, ANSWER = 20, PAGE = 32, TOP = 2, NOTED = 9, MIB = 1 << 20 };

// ---- notes -----------------------------------------------------------------------------------------------

static fg_token_info info_of(int32_t token, const fg_candidate *top, uint32_t count) {
  return (fg_token_info){
      .token = token, .logprob = -0.5f * (float)token, .rank = 3, .top = top, .top_count = count};
}

static fg_prompt_notes *make_notes(fg_budget **budget) {
  fg_prompt_notes *n;
  fg_error err;
  assert_int_equal(fg_budget_create(budget, "memory", "--memory", 0, &err), FG_OK);
  assert_int_equal(fg_prompt_notes_create(&n, 4, (fg_notes_shape){4, NOTED}, *budget, &err), FG_OK);
  return n;
}

static void test_notes_hold_for_their_token_and_what_was_asked(void **state) {
  (void)state;
  fg_budget *budget;
  fg_prompt_notes *n = make_notes(&budget);
  const fg_candidate top[] = {{7, -0.25f}, {9, -1.0f}};
  fg_token_info out, in = info_of(9, top, 2);
  fg_prompt_notes_put(n, (fg_note_place){.page = 1, .offset = 0, .top = 2}, &in);
  assert_true(fg_prompt_notes_get(n, (fg_note_place){1, 0, 2}, 9, &out));
  assert_true(out.token == 9 && out.logprob == in.logprob && out.rank == 3 && out.top_count == 2);
  assert_memory_equal(out.top, top, sizeof top);
  assert_false(fg_prompt_notes_get(n, (fg_note_place){1, 0, 2}, 8, &out)); // another token
  assert_false(fg_prompt_notes_get(n, (fg_note_place){1, 0, 1}, 9, &out)); // fewer candidates
  assert_false(fg_prompt_notes_get(n, (fg_note_place){1, 1, 2}, 9, &out)); // not yet noted
  assert_false(fg_prompt_notes_get(n, (fg_note_place){2, 0, 2}, 9, &out)); // another page
  fg_prompt_notes_begin(n, 1);
  assert_false(fg_prompt_notes_get(n, (fg_note_place){1, 0, 2}, 9, &out));
  fg_prompt_notes_destroy(n);
  assert_int_equal(fg_budget_used(budget), 0);
  fg_budget_destroy(budget);
}

static void test_notes_on_a_part_of_a_page_go_with_its_copy(void **state) {
  (void)state;
  enum { TOKENS = 4 };
  fg_budget *budget;
  fg_prompt_notes *n;
  fg_error err;
  assert_int_equal(fg_budget_create(&budget, "memory", "--memory", 0, &err), FG_OK);
  assert_int_equal(fg_prompt_notes_create(&n, 3, (fg_notes_shape){TOKENS, NOTED}, budget, &err), FG_OK);
  const fg_candidate top[] = {{7, -0.25f}};
  for (uint32_t i = 1; i < TOKENS; i++) {
    const fg_token_info in = info_of(20 + (int32_t)i, top, 1);
    fg_prompt_notes_put(n, (fg_note_place){0, i, 1}, &in);
  }
  fg_prompt_notes_copy(n, 0, 2, 3);
  fg_prompt_notes_copy(n, 0, 1, 1);
  fg_prompt_notes_begin(n, 0);
  for (uint32_t i = 0; i < TOKENS; i++) {
    fg_token_info out;
    const int32_t token = 20 + (int32_t)i;
    assert_int_equal(fg_prompt_notes_get(n, (fg_note_place){2, i, 1}, token, &out), i == 1 || i == 2);
    if (i == 1 || i == 2) assert_true(out.token == token && out.top[0].token == 7);
    assert_false(fg_prompt_notes_get(n, (fg_note_place){1, i, 1}, token, &out));
  }
  const fg_token_info next = info_of(31, top, 1); // and goes on
  fg_prompt_notes_put(n, (fg_note_place){2, 3, 1}, &next);
  fg_token_info out;
  assert_true(fg_prompt_notes_get(n, (fg_note_place){2, 3, 1}, 31, &out));
  fg_prompt_notes_destroy(n);
  fg_budget_destroy(budget);
}

static void test_notes_have_no_gaps(void **state) {
  (void)state;
  fg_budget *budget;
  fg_prompt_notes *n = make_notes(&budget);
  fg_token_info out, in = info_of(5, NULL, 0);
  fg_prompt_notes_put(n, (fg_note_place){.page = 0, .offset = 0}, &in);
  fg_prompt_notes_put(n, (fg_note_place){.page = 0, .offset = 2}, &in);
  assert_true(fg_prompt_notes_get(n, (fg_note_place){0, 0, 0}, 5, &out));
  assert_false(fg_prompt_notes_get(n, (fg_note_place){0, 2, 0}, 5, &out));
  const fg_note_place many = {.page = 0, .top = NOTED + 1};
  fg_prompt_notes_put(n, many, &in);
  assert_false(fg_prompt_notes_get(n, many, 5, &out));
  fg_prompt_notes_destroy(n);
  fg_budget_destroy(budget);
}

// ---- requests --------------------------------------------------------------------------------------------

typedef struct answer {
  heard heard;
  float logprobs[PROMPT], best[PROMPT]; // of the prompt
  uint32_t times[PROMPT];               // that a position was told
  uint32_t last;                        // position that was
} answer;

static void on_prompt(void *user, uint32_t position, const fg_token_info *info) {
  answer *a = user;
  assert_true(position < PROMPT && position > a->last && info->top_count == TOP);
  a->last = position;
  a->times[position]++;
  a->logprobs[position] = info->logprob;
  a->best[position] = info->top[0].logprob;
}

// Row `row` of a group: the first COMMON tokens are everyone's.
static void submit(fg_engine *engine, answer *a, int32_t row, bool scored, uint32_t from) {
  int32_t prompt[PROMPT];
  for (int32_t i = 0; i < PROMPT; i++) prompt[i] = 30 + i + (i >= COMMON ? 11 * row : 0);
  fg_request request = heard_request(a, prompt, PROMPT, ANSWER);
  request.prompt_logprobs = scored ? TOP : -1;
  request.logprobs_from = from;
  request.on_prompt = on_prompt;
  request.sampling.row = (uint64_t)row;
  heard_submit(engine, &request);
}

static fg_engine *open_engine(const char *directory, bool sharing) {
  fg_engine_options options = {.model = FG_TEST_DIR "/oracle/models/llama-gqa",
                               .offload_dir = directory,
                               .dtype = "f32",
                               .host_memory = 400ull * MIB,
                               .max_model_len = PROMPT + ANSWER,
                               .max_num_batched_tokens = 128,
                               .no_prefix_sharing = !sharing,
                               .threads = 2};
  fg_engine *engine;
  fg_error err;
  if (fg_engine_open(&engine, &options, &err) != FG_OK) fail_msg("%s", err.message);
  return engine;
}

typedef struct fixture {
  char directory[32];
  answer alone[REQUESTS]; // each with its prompt scored, without sharing
} fixture;

static int set_up(void **state) {
  static fixture f;
  strcpy(f.directory, "/tmp/flexgen-sharing-XXXXXX");
  if (!mkdtemp(f.directory)) return -1;
  fg_engine *engine = open_engine(f.directory, false);
  for (int32_t i = 0; i < REQUESTS; i++) {
    submit(engine, &f.alone[i], i, true, 0);
    heard_run(engine);
  }
  fg_engine_stats stats;
  fg_engine_get_stats(engine, &stats);
  fg_engine_close(engine);
  *state = &f;
  return stats.prompt_tokens == REQUESTS * PROMPT && !stats.prompt_tokens_shared ? 0 : -1;
}

static int tear_down(void **state) {
  const fixture *f = *state;
  char command[64];
  snprintf(command, sizeof command, "rm -r %s", f->directory);
  return system(command);
}

static void check_answer(const answer *a, const answer *alone) {
  assert_true(a->heard.done);
  assert_int_equal(a->heard.finish, FG_FINISH_LENGTH);
  assert_memory_equal(a->heard.tokens, alone->heard.tokens, sizeof a->heard.tokens);
}

static void check_prompt(const answer *a, const answer *alone, uint32_t from) {
  for (uint32_t p = 0; p < PROMPT; p++) {
    assert_int_equal(a->times[p], p >= from && p > 0);
    if (!a->times[p]) continue;
    assert_memory_equal(&a->logprobs[p], &alone->logprobs[p], sizeof(float));
    assert_memory_equal(&a->best[p], &alone->best[p], sizeof(float));
  }
}

static void test_scored_prompts_that_are_shared_tell_the_same(void **state) {
  const fixture *f = *state;
  fg_engine *engine = open_engine(f->directory, true);
  answer answers[REQUESTS] = {0};
  for (int32_t i = 0; i < REQUESTS; i++) submit(engine, &answers[i], i, true, 0);
  heard_run(engine);
  fg_engine_stats stats;
  fg_engine_get_stats(engine, &stats);
  fg_engine_close(engine);
  // The last common token gives the logits of the next one, which differs.
  assert_int_equal(stats.prompt_tokens_shared, (REQUESTS - 1) * (COMMON - 1));
  assert_int_equal(stats.prompt_tokens_copied, (REQUESTS - 1) * ((COMMON - 1) % PAGE));
  assert_int_equal(stats.prompt_tokens_distinct, REQUESTS * PROMPT - stats.prompt_tokens_shared);
  for (int i = 0; i < REQUESTS; i++) {
    check_answer(&answers[i], &f->alone[i]);
    check_prompt(&answers[i], &f->alone[i], 0);
  }
}

// Nobody scores their beginning; the one that does not compute a token hears of it by the other's notes.
static void test_log_probabilities_from_the_middle_of_a_page_on_are_told(void **state) {
  const fixture *f = *state;
  for (uint32_t from = 9; from < 2 * PAGE; from += 13) {
    fg_engine *engine = open_engine(f->directory, true);
    answer answers[REQUESTS] = {0};
    for (int32_t i = 0; i < REQUESTS; i++) submit(engine, &answers[i], i, true, from + (uint32_t)i % 2);
    heard_run(engine);
    fg_engine_close(engine);
    for (uint32_t i = 0; i < REQUESTS; i++) {
      check_answer(&answers[i], &f->alone[i]);
      check_prompt(&answers[i], &f->alone[i], from + i % 2);
    }
  }
}

// A beginning that nobody scored does for a row that wants the log-probabilities of its end.
static void test_log_probabilities_from_a_position_on_leave_what_is_before_it_shared(void **state) {
  const fixture *f = *state;
  fg_engine *engine = open_engine(f->directory, true);
  answer answers[3] = {0};
  const uint32_t from[] = {0, COMMON, 2 * PAGE}; // each needs the logits of the token before it
  for (int32_t i = 0; i < 3; i++) submit(engine, &answers[i], i, i > 0, from[i]);
  heard_run(engine);
  fg_engine_stats stats;
  fg_engine_get_stats(engine, &stats);
  fg_engine_close(engine);
  assert_int_equal(stats.prompt_tokens_shared, (COMMON - 1) + (2 * PAGE - 1));
  for (int i = 0; i < 3; i++) check_answer(&answers[i], &f->alone[i]);
  for (int i = 1; i < 3; i++) check_prompt(&answers[i], &f->alone[i], from[i]);
}

static void test_cancelled_writer_leaves_what_others_share(void **state) {
  const fixture *f = *state;
  fg_error err;
  for (int steps = 0; steps < 3; steps++) {
    fg_engine *engine = open_engine(f->directory, true);
    answer answers[REQUESTS] = {0};
    for (int32_t i = 0; i < REQUESTS; i++) submit(engine, &answers[i], i, true, 0);
    for (int i = 0; i < steps; i++) assert_int_equal(fg_engine_step(engine, &err), FG_OK);
    fg_engine_cancel(engine, answers[0].heard.id);
    heard_run(engine);
    fg_engine_close(engine);
    assert_int_equal(answers[0].heard.finish, FG_FINISH_CANCELLED);
    for (int i = 1; i < REQUESTS; i++) {
      check_answer(&answers[i], &f->alone[i]);
      check_prompt(&answers[i], &f->alone[i], 0);
    }
  }
}

// What was shared is forgotten with the old policy's cache, and nobody hears of a token twice.
static void test_a_smaller_budget_in_the_middle_of_a_group_changes_nothing(void **state) {
  const fixture *f = *state;
  fg_error err;
  for (int at = 1; at < 4; at++) {
    fg_engine *engine = open_engine(f->directory, true);
    answer answers[REQUESTS] = {0};
    fg_engine_stats stats;
    for (int32_t i = 0; i < REQUESTS; i++) submit(engine, &answers[i], i, true, 0);
    for (int i = 0; i < at; i++) assert_int_equal(fg_engine_step(engine, &err), FG_OK);
    fg_engine_get_stats(engine, &stats);
    fg_engine_shrink(engine, stats.host_used + 4 * MIB);
    heard_run(engine);
    fg_engine_get_stats(engine, &stats);
    fg_engine_close(engine);
    assert_int_equal(stats.policies, 2);
    assert_int_equal(stats.prompt_tokens_distinct + stats.prompt_tokens_shared, REQUESTS * PROMPT);
    for (int i = 0; i < REQUESTS; i++) {
      check_answer(&answers[i], &f->alone[i]);
      check_prompt(&answers[i], &f->alone[i], 0);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_notes_hold_for_their_token_and_what_was_asked),
      cmocka_unit_test(test_notes_on_a_part_of_a_page_go_with_its_copy),
      cmocka_unit_test(test_notes_have_no_gaps),
      cmocka_unit_test(test_scored_prompts_that_are_shared_tell_the_same),
      cmocka_unit_test(test_log_probabilities_from_the_middle_of_a_page_on_are_told),
      cmocka_unit_test(test_log_probabilities_from_a_position_on_leave_what_is_before_it_shared),
      cmocka_unit_test(test_cancelled_writer_leaves_what_others_share),
      cmocka_unit_test(test_a_smaller_budget_in_the_middle_of_a_group_changes_nothing),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
