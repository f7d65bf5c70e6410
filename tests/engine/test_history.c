// A run's samples: bounded, in order, true at their ends; peaks are never lost.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "engine/history.h"

static fg_history history;

// A step of `seconds` that ends at `end` and computes ten tokens; what it holds is `bytes`.
static fg_history_sample step_at(double end, double steps, double bytes) {
  fg_history_sample s = {{0}};
  s.values[FG_HISTORY_SECONDS] = end;
  s.values[FG_HISTORY_STEP_COUNT] = steps;
  s.values[FG_HISTORY_PROMPT_TOKENS] = 10 * steps;
  s.values[FG_HISTORY_COMPUTE_SECONDS] = 0.5 * end;
  s.values[FG_HISTORY_HOST_BYTES] = bytes;
  s.values[FG_HISTORY_RUNNING] = 3;
  return s;
}

static double value(uint32_t index, fg_history_column column) {
  return fg_history_at(&history, index)->values[column];
}

static void add_steps(uint32_t count, double seconds) {
  const fg_history_sample first = step_at(0, 0, 50);
  fg_history_begin(&history, &first);
  for (uint32_t i = 0; i < count; i++) {
    const fg_history_sample s = step_at(seconds * (i + 1), i + 1, i == count / 3 ? 777 : 100);
    fg_history_add(&history, seconds * i, 4, &s);
  }
}

static void test_a_short_job_has_a_sample_a_step(void **state) {
  (void)state;
  add_steps(5, 2);
  assert_int_equal(fg_history_count(&history), 1 + 5);
  for (uint32_t i = 0; i <= 5; i++) {
    assert_true(value(i, FG_HISTORY_SECONDS) == 2 * i);
    assert_true(value(i, FG_HISTORY_PROMPT_TOKENS) == 10 * i);
  }
}

static void test_any_number_of_steps_takes_the_same_memory(void **state) {
  (void)state;
  const uint32_t counts[] = {FG_HISTORY_SAMPLES, FG_HISTORY_SAMPLES + 1, 1000, 100000};
  for (uint32_t c = 0; c < 4; c++) {
    add_steps(counts[c], 0.01);
    const uint32_t count = fg_history_count(&history);
    assert_in_range(count, FG_HISTORY_SAMPLES / 4, FG_HISTORY_SAMPLES + 2);
    assert_true(value(0, FG_HISTORY_SECONDS) == 0);
    assert_true(value(count - 1, FG_HISTORY_STEP_COUNT) == counts[c]);
    assert_true(fabs(value(count - 1, FG_HISTORY_SECONDS) - 0.01 * counts[c]) < 1e-9);
  }
}

static void test_samples_are_in_order_and_evenly_spread(void **state) {
  (void)state;
  add_steps(54321, 0.003);
  const uint32_t count = fg_history_count(&history);
  for (uint32_t i = 1; i + 1 < count; i++) {
    const double width = value(i, FG_HISTORY_SECONDS) - value(i - 1, FG_HISTORY_SECONDS);
    assert_true(width > 0.95 * history.interval && width < 1.05 * history.interval);
    assert_true(value(i, FG_HISTORY_STEP_COUNT) > value(i - 1, FG_HISTORY_STEP_COUNT));
  }
}

static void test_a_peak_outlives_coarsening(void **state) {
  (void)state;
  add_steps(100000, 0.001);
  uint32_t peaks = 0;
  for (uint32_t i = 0; i < fg_history_count(&history); i++) peaks += value(i, FG_HISTORY_HOST_BYTES) == 777;
  assert_int_equal(peaks, 1);
}

static void test_short_steps_share_a_sample(void **state) {
  (void)state;
  add_steps(10, 0.0001);
  assert_int_equal(fg_history_count(&history), 2);
  assert_true(value(1, FG_HISTORY_STEP_COUNT) == 10);
}

static void test_a_pause_is_a_sample_in_which_nothing_ran(void **state) {
  (void)state;
  add_steps(1, 1);
  const fg_history_sample s = step_at(100, 2, 100);
  fg_history_add(&history, 99, 4, &s);
  assert_int_equal(fg_history_count(&history), 4);
  assert_true(value(2, FG_HISTORY_SECONDS) == 99);
  assert_true(value(2, FG_HISTORY_STEP_COUNT) == 1);
  assert_true(value(2, FG_HISTORY_RUNNING) == 0);
  assert_true(value(2, FG_HISTORY_HOST_BYTES) == 777);
}

static void test_the_last_steps_are_kept_one_by_one(void **state) {
  (void)state;
  add_steps(1000, 0.25);
  assert_int_equal(fg_history_step_count(&history), FG_HISTORY_STEPS);
  for (uint32_t i = 0; i < FG_HISTORY_STEPS; i++) {
    const fg_history_step *s = fg_history_step_at(&history, i);
    assert_true(fabs(s->begin - 0.25 * (1000 - FG_HISTORY_STEPS + i)) < 1e-9);
    assert_true(fabs(s->seconds - 0.25) < 1e-9 && fabs(s->compute - 0.125) < 1e-9);
    assert_true(s->prompt_tokens == 10 && s->rows == 4);
  }
}

static void test_every_column_has_a_name_of_its_own(void **state) {
  (void)state;
  for (uint32_t a = 0; a < FG_HISTORY_COLUMNS; a++) {
    assert_non_null(fg_history_name(a));
    for (uint32_t b = 0; b < a; b++) assert_string_not_equal(fg_history_name(a), fg_history_name(b));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_short_job_has_a_sample_a_step),
      cmocka_unit_test(test_any_number_of_steps_takes_the_same_memory),
      cmocka_unit_test(test_samples_are_in_order_and_evenly_spread),
      cmocka_unit_test(test_a_peak_outlives_coarsening),
      cmocka_unit_test(test_short_steps_share_a_sample),
      cmocka_unit_test(test_a_pause_is_a_sample_in_which_nothing_ran),
      cmocka_unit_test(test_the_last_steps_are_kept_one_by_one),
      cmocka_unit_test(test_every_column_has_a_name_of_its_own),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
