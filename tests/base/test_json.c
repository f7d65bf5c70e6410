#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"

static json_t *parse(const char *text, fg_error *err) {
  return fg_json_parse(text, strlen(text), "a.json", err);
}

static void test_integers_stay_exact_and_only_too_big_ones_become_reals(void **state) {
  (void)state;
  json_t *array =
      parse("[9223372036854775807, -9223372036854775808, 9223372036854775808,"
            " -9223372036854775809, 1000000000000000019884624838656, 5, \"a\\\"9223372036854775808\"]",
            NULL);
  assert_non_null(array);
  assert_int_equal(json_integer_value(json_array_get(array, 0)), INT64_MAX);
  assert_int_equal(json_integer_value(json_array_get(array, 1)), INT64_MIN);
  assert_true(json_real_value(json_array_get(array, 2)) == 0x1p63);
  assert_true(json_real_value(json_array_get(array, 3)) == -0x1p63);
  assert_true(json_real_value(json_array_get(array, 4)) == 1000000000000000019884624838656.0);
  assert_true(json_is_integer(json_array_get(array, 5)));
  assert_string_equal(json_string_value(json_array_get(array, 6)), "a\"9223372036854775808");
  json_decref(array);
}

static void test_any_one_value_is_a_text(void **state) {
  (void)state;
  static const char *const texts[] = {"null", " 3 ", "\"x\"", "[]", "{}", "true"};
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    json_t *value = parse(texts[i], NULL);
    assert_non_null(value);
    json_decref(value);
  }
}

static void test_nul_characters_keep_their_place(void **state) {
  (void)state;
  json_t *value = parse("\"a\\u0000b\"", NULL);
  assert_int_equal(json_string_length(value), 3);
  assert_memory_equal(json_string_value(value), "a\0b", 3);
  json_decref(value);
}

static void test_errors_name_file_line_and_column(void **state) {
  (void)state;
  fg_error err;
  assert_null(parse("{\n  \"a\": 1,\n  b\n}", &err));
  assert_int_equal(err.status, FG_CORRUPT);
  assert_int_equal(strncmp(err.message, "a.json:3:3: ", 12), 0);
}

static void test_bad_texts_are_refused(void **state) {
  (void)state;
  static const char *const texts[] = {"",
                                      " ",
                                      "{",
                                      "[1,]",
                                      "{\"a\":1,\"a\":2}",
                                      "1 2",
                                      "{} x",
                                      "nan",
                                      "\"\xff\"",
                                      "\"\\ud800\"",
                                      "01",
                                      "'a'",
                                      "1e999",
                                      "[99999999999999999999",
                                      "[99999999999999999999, 1e999]",
                                      "\"\\",
                                      "-",
                                      "[\"\\u0000\" ",
                                      "\"a\nb\""};
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    fg_error err = {0};
    if (parse(texts[i], &err)) fail_msg("%s passed", texts[i]);
    assert_int_equal(err.status, FG_CORRUPT);
  }
}

static void test_text_behind_the_length_is_not_read(void **state) {
  (void)state;
  static const char text[] = "[99999999999999999999]garbage";
  char *exact = malloc(22); // no NUL: an overrun is seen by a sanitizer
  assert_non_null(exact);
  memcpy(exact, text, 22);
  json_t *value = fg_json_parse(exact, 22, "a.json", NULL);
  assert_int_equal(json_array_size(value), 1);
  json_decref(value);
  assert_null(fg_json_parse("\"\\", 2, "a.json", NULL));
  free(exact);
}

static void test_deep_nesting_is_refused(void **state) {
  (void)state;
  enum { DEEP = 100000 };
  char *text = malloc(DEEP);
  assert_non_null(text);
  memset(text, '[', DEEP);
  fg_error err;
  assert_null(fg_json_parse(text, DEEP, "a.json", &err));
  assert_int_equal(err.status, FG_CORRUPT);
  free(text);
}

static void test_typed_access_names_the_key(void **state) {
  (void)state;
  json_t *o =
      parse("{\"i\": 7, \"r\": 7.5, \"whole\": 8.0, \"big\": 4294967296, \"most\": 4294967295, \"neg\": -1,"
            " \"huge\": 1e300, \"s\": \"x\", \"b\": true, \"n\": null, \"list\": [1]}",
            NULL);
  uint32_t u;
  double d;
  bool b;
  const char *s;
  fg_error err;
  assert_int_equal(fg_json_u32(o, "i", 1, &u, &err), FG_OK);
  assert_int_equal(u, 7);
  assert_int_equal(fg_json_u32(o, "whole", 1, &u, &err), FG_OK);
  assert_int_equal(u, 8);
  assert_int_equal(fg_json_u32(o, "most", 1, &u, &err), FG_OK);
  assert_int_equal(u, UINT32_MAX);
  assert_int_equal(fg_json_u32(o, "missing", 5, &u, &err), FG_OK);
  assert_int_equal(u, 5);
  assert_int_equal(fg_json_u32(o, "n", 6, &u, &err), FG_OK);
  assert_int_equal(u, 6);
  static const char *const bad[] = {"r", "big", "neg", "huge", "s", "b", "list"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    assert_int_equal(fg_json_u32(o, bad[i], 1, &u, &err), FG_INVALID);
    assert_non_null(strstr(err.message, bad[i]));
  }
  assert_int_equal(fg_json_f64(o, "i", 1, &d, &err), FG_OK);
  assert_true(d == 7);
  assert_int_equal(fg_json_f64(o, "r", 1, &d, &err), FG_OK);
  assert_true(d == 7.5);
  assert_int_equal(fg_json_f64(o, "n", 2.5, &d, &err), FG_OK);
  assert_true(d == 2.5);
  assert_int_equal(fg_json_f64(o, "s", 1, &d, &err), FG_INVALID);
  assert_int_equal(fg_json_bool(o, "b", false, &b, &err), FG_OK);
  assert_true(b);
  assert_int_equal(fg_json_bool(o, "missing", true, &b, &err), FG_OK);
  assert_true(b);
  assert_int_equal(fg_json_bool(o, "i", true, &b, &err), FG_INVALID);
  assert_int_equal(fg_json_string(o, "s", NULL, &s, &err), FG_OK);
  assert_string_equal(s, "x");
  assert_int_equal(fg_json_string(o, "missing", NULL, &s, &err), FG_OK);
  assert_null(s);
  assert_int_equal(fg_json_string(o, "list", NULL, &s, &err), FG_INVALID);
  json_decref(o);
}

static void test_files_are_read_up_to_a_bound(void **state) {
  (void)state;
  char path[] = "/tmp/flexgen-json-XXXXXX";
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, "[1, 2]", 6), 6);
  close(fd);
  fg_error err;
  json_t *value = fg_json_read_file(path, 6, &err);
  assert_int_equal(json_array_size(value), 2);
  json_decref(value);
  assert_null(fg_json_read_file(path, 5, &err));
  assert_int_equal(err.status, FG_CORRUPT);
  unlink(path);
  assert_null(fg_json_read_file(path, 5, &err));
  assert_int_equal(err.status, FG_NOT_FOUND);
  assert_null(fg_json_read_file("/tmp", 5, &err));
  assert_int_equal(err.status, FG_IO);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_integers_stay_exact_and_only_too_big_ones_become_reals),
      cmocka_unit_test(test_any_one_value_is_a_text),
      cmocka_unit_test(test_nul_characters_keep_their_place),
      cmocka_unit_test(test_errors_name_file_line_and_column),
      cmocka_unit_test(test_bad_texts_are_refused),
      cmocka_unit_test(test_text_behind_the_length_is_not_read),
      cmocka_unit_test(test_deep_nesting_is_refused),
      cmocka_unit_test(test_typed_access_names_the_key),
      cmocka_unit_test(test_files_are_read_up_to_a_bound),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
