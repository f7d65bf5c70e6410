// A policy that is remade while rows are under way, and when that is worth it.
#include "plan_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/replan.h"
#include "heard.h"

enum { REQUESTS = 6, PROMPT = 40, ANSWER = 24, MIB = 1 << 20 };

// ---- rows survive ----------------------------------------------------------------------------------------

static void submit(fg_engine *engine, heard *answer, uint64_t row) {
  int32_t prompt[PROMPT];
  for (int i = 0; i < PROMPT; i++) prompt[i] = (int32_t)(50 + 7 * row + (uint64_t)i);
  fg_request request = heard_request(answer, prompt, PROMPT, ANSWER);
  request.sampling.row = row;
  heard_submit(engine, &request);
}

// What becomes of the budget before step `at`: what is used and a little is left of it, which will do; next
// to nothing, which will not.
typedef enum budget { STAYS, WHAT_IS_USED, NOTHING } budget;

// streamed: of the weights half stays in memory, and the rest comes with every step.
static fg_engine_stats run(const char *directory, heard *answers, uint32_t at, budget becomes,
                           bool streamed) {
  static const int half[] = {0, 50, 0, 100, 0, 100};
  fg_engine_options options = {.model = FG_TEST_DIR "/oracle/models/llama-gqa",
                               .offload_dir = directory,
                               .dtype = "f32",
                               .host_memory = 400ull * MIB,
                               .max_model_len = PROMPT + ANSWER,
                               .threads = 2,
                               .percent = streamed ? half : NULL};
  fg_engine *engine;
  fg_error err;
  fg_engine_stats stats;
  uint64_t shrunk = 0;
  if (fg_engine_open(&engine, &options, &err) != FG_OK) fail_msg("%s", err.message);
  memset(answers, 0, REQUESTS * sizeof *answers);
  for (uint32_t i = 0; i < REQUESTS; i++) submit(engine, &answers[i], i);
  for (uint32_t step = 0; fg_engine_pending(engine); step++) {
    fg_engine_get_stats(engine, &stats);
    if (step == at && becomes == WHAT_IS_USED) fg_engine_shrink(engine, shrunk = stats.host_used + 4 * MIB);
    if (step == at && becomes == NOTHING) fg_engine_shrink(engine, MIB);
    if (fg_engine_step(engine, &err) != FG_OK) fail_msg("%s", err.message);
    fg_engine_get_stats(engine, &stats);
    if (shrunk) assert_true(stats.host_used <= shrunk);
  }
  fg_engine_get_stats(engine, &stats);
  fg_engine_close(engine);
  return stats;
}

static void shrink_at_each(const char *directory, bool streamed) {
  heard whole[REQUESTS], cut[REQUESTS];
  assert_int_equal(run(directory, whole, 0, STAYS, streamed).policies, 1);
  for (uint32_t at = 1; at < ANSWER; at += 9) {
    assert_int_equal(run(directory, cut, at, WHAT_IS_USED, streamed).policies, 2);
    for (int i = 0; i < REQUESTS; i++) {
      assert_true(cut[i].done);
      assert_int_equal(cut[i].finish, FG_FINISH_LENGTH);
      assert_memory_equal(cut[i].tokens, whole[i].tokens, sizeof whole[i].tokens);
    }
  }
  // Too little for anything: it goes on as it was.
  assert_int_equal(run(directory, cut, 3, NOTHING, streamed).policies, 1);
  for (int i = 0; i < REQUESTS; i++)
    assert_memory_equal(cut[i].tokens, whole[i].tokens, sizeof whole[i].tokens);
}

static void test_a_smaller_budget_loses_no_row_and_changes_none(void **state) {
  (void)state;
  char directory[] = "/tmp/flexgen-replan-XXXXXX", command[64];
  assert_non_null(mkdtemp(directory));
  shrink_at_each(directory, false);
  shrink_at_each(directory, true);
  snprintf(command, sizeof command, "rm -r %s", directory);
  assert_int_equal(system(command), 0);
}

// All bytes count for which the disk is seen to read: weights and pages of the cache.
static void test_what_is_measured_of_the_disk_is_all_that_it_reads(void **state) {
  (void)state;
  static const int nothing_stays[] = {0, 0, 0, 0, 0, 100};
  char directory[] = "/tmp/flexgen-replan-XXXXXX", command[64];
  assert_non_null(mkdtemp(directory));
  const fg_engine_options options = {.model = FG_TEST_DIR "/oracle/models/llama-gqa",
                                     .offload_dir = directory,
                                     .host_memory = 400ull * MIB,
                                     .max_model_len = PROMPT + ANSWER,
                                     .threads = 2,
                                     .percent = nothing_stays};
  heard answers[REQUESTS] = {0};
  fg_engine *engine;
  fg_engine_stats stats;
  fg_error err;
  if (fg_engine_open(&engine, &options, &err) != FG_OK) fail_msg("%s", err.message);
  for (uint32_t i = 0; i < REQUESTS; i++) submit(engine, &answers[i], i);
  heard_run(engine);
  fg_engine_get_stats(engine, &stats);
  const fg_measured_time t = fg_engine_measured(engine);
  assert_true(stats.kv_bytes_read > 0 && stats.bytes_read > stats.kv_bytes_read);
  assert_true(t.read_bytes >= (double)stats.bytes_read);
  assert_true(t.seconds > 0 && t.reading > 0);
  fg_engine_close(engine);
  snprintf(command, sizeof command, "rm -r %s", directory);
  assert_int_equal(system(command), 0);
}

// ---- when ------------------------------------------------------------------------------------------------

static fg_forecast forecast(void) {
  fg_forecast f = {.known = true, .expected = 10, .expected_compute = 8};
  f.rates.disk_read = RIG_DISK;
  return f;
}

static void test_drift_is_told_apart_by_what_waited(void **state) {
  (void)state;
  const fg_forecast f = forecast();
  // Twice the time, all of it computing.
  fg_drift d = fg_drift_of(&f, &(fg_measured_time){.seconds = 16});
  assert_float_equal(d.compute, 2, 1e-9);
  assert_float_equal(d.disk, 1, 1e-9);
  // The disk at half its rate; computing as expected.
  d = fg_drift_of(&f, &(fg_measured_time){.seconds = 20, .waiting = 12, .reading = 20, .read_bytes = 10e9});
  assert_float_equal(d.compute, 1, 1e-9);
  assert_float_equal(d.disk, 2, 1e-9);
  // Reads at half the rate for which nobody waited: there was no room for more.
  d = fg_drift_of(&f, &(fg_measured_time){.seconds = 20, .waiting = 1, .reading = 20, .read_bytes = 10e9});
  assert_float_equal(d.disk, 1, 1e-9);
  // But a disk that is faster is.
  d = fg_drift_of(&f, &(fg_measured_time){.seconds = 20, .waiting = 1, .reading = 5, .read_bytes = 10e9});
  assert_float_equal(d.disk, 0.5, 1e-9);
  // Reads of a moment say nothing.
  d = fg_drift_of(&f, &(fg_measured_time){.seconds = 8, .reading = 0.01, .read_bytes = 1e6});
  assert_float_equal(d.disk, 1, 1e-9);
}

static void test_a_change_must_pay_for_itself(void **state) {
  (void)state;
  assert_true(fg_replan_pays(100, 60, 10));
  assert_false(fg_replan_pays(100, 85, 10));
  assert_false(fg_replan_pays(100, 95, 0));
}

static void test_pace_is_that_of_late_and_keeps_over_a_window(void **state) {
  (void)state;
  fg_forecast f = forecast();
  f.taken = 15;
  assert_float_equal(fg_forecast_pace(&f), 1.5, 1e-9);
  fg_forecast_begin_window(&f);
  assert_float_equal(fg_forecast_pace(&f), 1.5, 1e-9);
  f.expected = 10;
  f.taken = 10;
  assert_float_equal(fg_forecast_pace(&f), 1, 1e-9);
}

static void test_what_is_left_goes_by_pace_and_by_how_long_answers_are(void **state) {
  (void)state;
  const fg_profile profile = rig_profile();
  fg_forecast f = {.known = true, .model = rig_model(), .profile = profile};
  const fg_workload job = {.requests = 100, .tokens = 140, .generated = 40};
  assert_true(fg_forecast_take_job(&f, &job));
  f.rates = fg_step_rates_of(&f.profile, &f.model);
  f.input.page_tokens = RIG_PAGE;
  f.plan.policy =
      (fg_policy){.max_tokens = 64, .max_seqs = 8, .max_len = 4096, .pages = 999, .device_pages = 999};
  const double all = fg_forecast_remaining(&f, &f.plan, 100), half = fg_forecast_remaining(&f, &f.plan, 50);
  assert_true(all > 1.9 * half && all < 2.1 * half);
  f.expected = 10;
  f.taken = 20;
  assert_float_equal(fg_forecast_remaining(&f, &f.plan, 100), 2 * all, 1e-6 * all);
  for (int i = 0; i < 10; i++) fg_forecast_end_row(&f, 4, 40);
  assert_true(fg_forecast_remaining(&f, &f.plan, 100) < 1.7 * all); // answers of a tenth
  assert_float_equal(fg_forecast_remaining(&f, &f.plan, 0), 0, 1e-9);
  fg_forecast_free(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_smaller_budget_loses_no_row_and_changes_none),
      cmocka_unit_test(test_what_is_measured_of_the_disk_is_all_that_it_reads),
      cmocka_unit_test(test_drift_is_told_apart_by_what_waited),
      cmocka_unit_test(test_a_change_must_pay_for_itself),
      cmocka_unit_test(test_pace_is_that_of_late_and_keeps_over_a_window),
      cmocka_unit_test(test_what_is_left_goes_by_pace_and_by_how_long_answers_are),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
