#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "flexgen/error.h"

static void test_fail_returns_its_status_without_an_error_object(void **state) {
  (void)state;
  assert_int_equal(fg_fail(NULL, FG_CORRUPT, "%d", 1), FG_CORRUPT);
  assert_int_not_equal(fg_fail_prefix(NULL, "x"), FG_OK);
}

static void test_prefix_keeps_status_and_puts_the_place_in_front(void **state) {
  (void)state;
  fg_error err;
  fg_fail(&err, FG_NOT_FOUND, "no tensor '%s'", "w");
  assert_int_equal(fg_fail_prefix(&err, "layer %d", 3), FG_NOT_FOUND);
  assert_string_equal(err.message, "layer 3: no tensor 'w'");
}

static void test_message_may_quote_itself(void **state) {
  (void)state;
  fg_error err;
  fg_fail(&err, FG_IO, "inner");
  fg_fail(&err, FG_IO, "outer (%s)", err.message);
  assert_string_equal(err.message, "outer (inner)");
}

static void test_message_stays_one_line(void **state) {
  (void)state;
  fg_error err;
  fg_fail(&err, FG_CORRUPT, "key '%s'", "a\nb\r\x1b[31m");
  assert_string_equal(err.message, "key 'a b  [31m'");
}

static void test_long_message_is_cut_between_characters(void **state) {
  (void)state;
  fg_error err;
  char name[2001];
  for (int i = 0; i < 1000; i++) memcpy(name + 2 * i, "\xc3\xa9", 3); // two-byte letters
  for (int shift = 0; shift < 2; shift++) {
    fg_fail(&err, FG_CORRUPT, "%s%s", shift ? "x" : "", name);
    size_t length = strlen(err.message);
    assert_true(length >= sizeof err.message - 2 && length < sizeof err.message);
    assert_int_equal((unsigned char)err.message[length - 1], 0xa9);
    fg_fail_prefix(&err, "%s", name);
    assert_int_equal((unsigned char)err.message[strlen(err.message) - 1], 0xa9);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_fail_returns_its_status_without_an_error_object),
      cmocka_unit_test(test_prefix_keeps_status_and_puts_the_place_in_front),
      cmocka_unit_test(test_message_may_quote_itself),
      cmocka_unit_test(test_message_stays_one_line),
      cmocka_unit_test(test_long_message_is_cut_between_characters),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
