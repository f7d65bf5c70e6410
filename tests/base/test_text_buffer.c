#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/text_buffer.h"

static void test_a_text_grows_and_stays_terminated(void **state) {
  (void)state;
  fg_text text = {0};
  for (int i = 0; i < 1000; i++) {
    fg_text_append(&text, "ab\0c", 4);
    fg_text_append_string(&text, "de");
    fg_text_printf(&text, "%03d", i);
    assert_int_equal(text.data[text.length], '\0');
  }
  assert_int_equal(text.length, 9000);
  assert_memory_equal(text.data + 9 * 777, "ab\0cde777", 9);
  assert_false(fg_text_failed(&text));
  fg_text_clear(&text);
  assert_int_equal(text.length, 0);
  fg_text_append(&text, NULL, 0);
  assert_string_equal(text.data, "");
  fg_text_free(&text);
  assert_null(text.data);
}

static void test_a_failed_append_keeps_the_text_and_drops_what_follows(void **state) {
  (void)state;
  fg_text text = {0};
  fg_text_append_string(&text, "kept");
  fg_text_append(&text, "x", SIZE_MAX - 8); // cannot be had
  fg_text_append_string(&text, "dropped");
  fg_text_printf(&text, "%d", 1);
  assert_true(fg_text_failed(&text));
  assert_string_equal(text.data, "kept");
  fg_text_free(&text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_text_grows_and_stays_terminated),
      cmocka_unit_test(test_a_failed_append_keeps_the_text_and_drops_what_follows),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
