#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "format/json_scan.h"

// A scan over a heap copy of just these bytes, so that a sanitizer sees a step beyond them.
static fg_json_scan begin(const char *text, size_t length) {
  char *copy = malloc(length ? length : 1);
  assert_non_null(copy);
  memcpy(copy, text, length);
  return (fg_json_scan){.text = copy, .length = length, .where = "test"};
}

static fg_status skip_all(const char *text, size_t length) {
  fg_error err = {0};
  fg_json_scan scan = begin(text, length);
  fg_status status = fg_scan_skip(&scan, &err);
  if (status == FG_OK) status = fg_scan_end(&scan, &err);
  free(scan.text);
  return status;
}

// The texts are taken or refused as jansson does it, whole and at every cut.
static void test_values_are_accepted_as_jansson_does(void **state) {
  (void)state;
  static const char *const texts[] = {
      "{\"a\":[1,-2.5e+3,0,-0,0.1,1E5,true,false,null],\"b\":{\"c\":\"\\\"\\\\\\/"
      "\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00\"}}",
      " [ ] ",
      "{ }",
      "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"",
      "[1,]",
      "[,1]",
      "{\"a\":1,}",
      "{\"a\"}",
      "{a:1}",
      "{1:2}",
      "[1 2]",
      "01",
      "-",
      "1.",
      ".5",
      "1e",
      "+1",
      "tru",
      "nulll",
      "\"\x01\"",
      "\"\\x\"",
      "\"\\ud83d\"",
      "\"\\ud83d\\u0041\"",
      "\"\\ude00\"",
      "\"\xc0\x80\"",
      "\"\xed\xa0\x80\"",
      "\"\xf4\x90\x80\x80\"",
      "\"\xe2\x82\"",
      "\"\xff\"",
      "\"\xf0\x8f\xbf\xbf\"",
      "\"\xe0\x9f\xbf\"",
      "\"abc",
      "[",
      "]",
      "{\"a\":[}",
      "\"\\u12\"",
      "\"\\u0000\"",
      "\xef\xbb\xbf"
      "1",
      "",
  };
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    for (size_t length = 0; length <= strlen(texts[i]); length++) {
      json_t *value = json_loadb(texts[i], length, JSON_DECODE_ANY, NULL);
      bool accepted = skip_all(texts[i], length) == FG_OK;
      if (accepted != (value != NULL))
        fail_msg("%.*s: %s", (int)length, texts[i], accepted ? "accepted" : "refused");
      json_decref(value);
    }
  }
}

static void test_nul_bytes_are_refused_everywhere(void **state) {
  (void)state;
  static const struct {
    const char *text;
    size_t length;
  } cases[] = {{"\0", 1}, {"1\0", 2}, {"\"a\0b\"", 5}, {"[\0]", 3}, {"1\0e5", 4}, {"-\0", 2}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_int_equal(skip_all(cases[i].text, cases[i].length), FG_CORRUPT);
  }
}

static void test_strings_are_unescaped_in_place(void **state) {
  (void)state;
  static const char text[] = "\"a\\u00e9\\n\\ud83d\\ude00\xc3\xa9\" \"next\"";
  fg_error err = {0};
  char *first, *second;
  fg_json_scan scan = begin(text, sizeof text - 1);
  assert_int_equal(fg_scan_string(&scan, &first, &err), FG_OK);
  assert_int_equal(fg_scan_string(&scan, &second, &err), FG_OK);
  assert_string_equal(first, "a\xc3\xa9\n\xf0\x9f\x98\x80\xc3\xa9");
  assert_string_equal(second, "next");
  assert_int_equal(fg_scan_end(&scan, &err), FG_OK);
  free(scan.text);
}

static void test_integers_up_to_64_bits_and_nothing_else(void **state) {
  (void)state;
  static const struct {
    const char *text;
    uint64_t value;
    fg_status status;
  } cases[] = {
      {"0", 0, FG_OK},
      {"18446744073709551615", UINT64_MAX, FG_OK},
      {"18446744073709551616", 0, FG_CORRUPT},
      {"-1", 0, FG_CORRUPT},
      {"1.0", 0, FG_CORRUPT},
      {"1e3", 0, FG_CORRUPT},
      {"00", 0, FG_CORRUPT},
      {"\"1\"", 0, FG_CORRUPT},
      {"", 0, FG_CORRUPT},
      {" 7", 7, FG_OK},
      {"99999999999999999999999", 0, FG_CORRUPT},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    fg_error err = {0};
    uint64_t value = 0;
    fg_json_scan scan = begin(cases[i].text, strlen(cases[i].text));
    assert_int_equal(fg_scan_u64(&scan, &value, &err), cases[i].status);
    assert_int_equal(value, cases[i].value);
    free(scan.text);
  }
}

static void test_depth_is_limited_to_64(void **state) {
  (void)state;
  char text[130];
  memset(text, '[', 65);
  memset(text + 65, ']', 65);
  assert_int_equal(skip_all(text + 1, 128), FG_OK);
  assert_int_equal(skip_all(text, 130), FG_CORRUPT);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_values_are_accepted_as_jansson_does),
      cmocka_unit_test(test_nul_bytes_are_refused_everywhere),
      cmocka_unit_test(test_strings_are_unescaped_in_place),
      cmocka_unit_test(test_integers_up_to_64_bits_and_nothing_else),
      cmocka_unit_test(test_depth_is_limited_to_64),
  };
  return cmocka_run_group_tests_name("json_scan", tests, NULL, NULL);
}
