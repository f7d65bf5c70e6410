#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/reasons.h"

static void test_faults_are_kept_and_others_come_back(void **state) {
  (void)state;
  static const fg_status faults[] = {FG_INVALID, FG_NOT_FOUND, FG_CORRUPT, FG_UNSUPPORTED},
                         others[] = {FG_OK,   FG_IO,        FG_NO_SPACE, FG_DISK_FULL,
                                     FG_BUSY, FG_CANCELLED, FG_INTERNAL};
  fg_reasons reasons = {.count = 0};
  fg_error err;
  for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
    fg_fail(&err, faults[i], "number %zu", i);
    assert_int_equal(fg_reasons_keep(&reasons, faults[i], &err), FG_OK);
    assert_int_equal(fg_reasons_keep(NULL, faults[i], &err), faults[i]);
    assert_int_equal(reasons.items[i].status, faults[i]);
  }
  assert_string_equal(reasons.items[2].message, "number 2");
  for (size_t i = 0; i < sizeof others / sizeof *others; i++)
    assert_int_equal(fg_reasons_keep(&reasons, others[i], &err), others[i]);
  assert_int_equal(reasons.count, 4);
  assert_int_equal(fg_reasons_kept(&reasons), 4);
}

static void test_those_beyond_the_room_are_counted(void **state) {
  (void)state;
  fg_reasons reasons = {.count = 0};
  fg_error err;
  for (uint32_t i = 0; i < FG_REASONS_KEPT + 7; i++)
    fg_reasons_keep(&reasons, fg_fail(&err, FG_INVALID, "number %u", i), &err);
  assert_int_equal(reasons.count, FG_REASONS_KEPT + 7);
  assert_int_equal(fg_reasons_kept(&reasons), FG_REASONS_KEPT);
  assert_string_equal(reasons.items[FG_REASONS_KEPT - 1].message, "number 31");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_faults_are_kept_and_others_come_back),
      cmocka_unit_test(test_those_beyond_the_room_are_counted),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
