// A virtual clock: when work begins and ends.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "machine/timeline.h"

enum { A, B, SECOND = 1000000000 };

static void test_work_of_one_queue_follows_itself(void **state) {
  (void)state;
  fg_timeline t = {0};
  const fg_timeline_span first = fg_timeline_work(&t, A, FG_UNIT_DEVICE, 2);
  const fg_timeline_span second = fg_timeline_work(&t, A, FG_UNIT_IN, 1);
  assert_int_equal(first.begin, 0);
  assert_int_equal(first.end, 2ll * SECOND);
  assert_int_equal(second.begin, 2ll * SECOND);
  assert_int_equal(second.end, 3ll * SECOND);
}

static void test_queues_run_side_by_side_on_units_of_their_own(void **state) {
  (void)state;
  fg_timeline t = {0};
  fg_timeline_work(&t, A, FG_UNIT_DEVICE, 2);
  assert_int_equal(fg_timeline_work(&t, B, FG_UNIT_IN, 1).begin, 0);
}

static void test_a_unit_does_one_thing_at_a_time(void **state) {
  (void)state;
  fg_timeline t = {0};
  fg_timeline_work(&t, A, FG_UNIT_DISK, 2);
  assert_int_equal(fg_timeline_work(&t, B, FG_UNIT_DISK, 1).begin, 2ll * SECOND);
  assert_int_equal(t.busy[FG_UNIT_DISK], 3ll * SECOND);
}

static void test_a_queue_that_waits_begins_when_the_event_is_reached(void **state) {
  (void)state;
  fg_timeline t = {0};
  const fg_timeline_span copy = fg_timeline_work(&t, A, FG_UNIT_IN, 3);
  fg_timeline_hold(&t, B, copy.end);
  fg_timeline_hold(&t, B, 1); // an earlier event changes nothing
  assert_int_equal(fg_timeline_work(&t, B, FG_UNIT_DEVICE, 1).begin, 3ll * SECOND);
}

static void test_nothing_begins_before_the_host_has_handed_it_over(void **state) {
  (void)state;
  fg_timeline t = {0};
  fg_timeline_wait(&t, 5ll * SECOND);
  fg_timeline_wait(&t, 1); // the past
  assert_int_equal(t.now, 5ll * SECOND);
  assert_int_equal(fg_timeline_work(&t, A, FG_UNIT_DEVICE, 1).begin, 5ll * SECOND);
}

static void test_handing_over_takes_the_host_no_time(void **state) {
  (void)state;
  fg_timeline t = {0};
  for (int i = 0; i < 100; i++) fg_timeline_work(&t, A, FG_UNIT_DEVICE, 1);
  assert_int_equal(t.now, 0);
}

// Two buffers: the third load waits for the first use.
static void test_double_buffering_takes_as_long_as_the_slower_side(void **state) {
  (void)state;
  fg_timeline t = {0};
  uint64_t used[2] = {0, 0};
  for (int i = 0; i < 10; i++) {
    fg_timeline_wait(&t, used[i % 2]);
    const fg_timeline_span load = fg_timeline_work(&t, A, FG_UNIT_IN, 2);
    fg_timeline_hold(&t, B, load.end);
    used[i % 2] = fg_timeline_work(&t, B, FG_UNIT_DEVICE, 1).end;
  }
  assert_int_equal(t.queue_end[B], 21ll * SECOND); // ten loads of 2 s, and the last use
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_work_of_one_queue_follows_itself),
      cmocka_unit_test(test_queues_run_side_by_side_on_units_of_their_own),
      cmocka_unit_test(test_a_unit_does_one_thing_at_a_time),
      cmocka_unit_test(test_a_queue_that_waits_begins_when_the_event_is_reached),
      cmocka_unit_test(test_nothing_begins_before_the_host_has_handed_it_over),
      cmocka_unit_test(test_handing_over_takes_the_host_no_time),
      cmocka_unit_test(test_double_buffering_takes_as_long_as_the_slower_side),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
