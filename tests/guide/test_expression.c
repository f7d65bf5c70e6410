// Regular expressions against Python's re (make_expressions.py), and what is refused.
#include "read_text.h"

#include <jansson.h>
#include <stdio.h>

#include "base/json.h"
#include "guide/expression.h"

static void open_expression(reader *r, fg_grammar *g, const json_t *text, fg_matching matching,
                            fg_writing writing) {
  fg_error err = {0};
  fg_expression *e;
  uint32_t start;
  fg_grammar_begin(g);
  if (fg_expression_parse(&e, json_string_value(text), json_string_length(text), &err) ||
      fg_expression_write(e, g, matching, writing, FG_RETURN, &start, &err) ||
      fg_grammar_finish(g, start, &err))
    fail_msg("%s: %s", json_string_value(text), err.message);
  fg_expression_destroy(e);
  reader_open(r, g);
}

static json_t *load_golden(void) {
  char path[512];
  fg_error err = {0};
  snprintf(path, sizeof path, "%s/guide/golden_expressions.json", FG_TEST_DIR);
  json_t *golden = fg_json_read_file(path, 4 << 20, &err);
  if (!golden) fail_msg("%s", err.message);
  return golden;
}

static void compare(const json_t *one, fg_matching matching, fg_writing writing) {
  const json_t *expression = json_object_get(one, "expression");
  json_t *c;
  size_t i;
  fg_grammar g;
  reader r;
  open_expression(&r, &g, expression, matching, writing);
  json_array_foreach(json_object_get(one, "cases"), i, c) {
    const json_t *string = json_array_get(c, 0),
                 *expected = json_array_get(c, matching == FG_MATCH_WITHIN ? 2 : 1);
    const char *text = json_string_value(string);
    const size_t length = json_string_length(string);
    char *quoted = json_dumps(string, JSON_ENCODE_ANY);
    // Written by jansson as here, but for the case of the digits of characters without a short escape.
    for (char *at = quoted; (at = strstr(at, "\\u00")) != NULL; at += 6)
      for (int digit = 4; digit < 6; digit++) at[digit] |= at[digit] >= 'A' ? 0x20 : 0;
    const bool inner = writing == FG_QUOTED;
    const bool taken = reader_takes(&r, inner ? quoted + 1 : text, inner ? strlen(quoted) - 2 : length);
    if (taken != json_is_true(expected))
      fail_msg("\"%s\" and %s: %s", json_string_value(expression), quoted, taken ? "taken" : "not taken");
    free(quoted);
  }
  reader_close(&r);
}

static void test_matches_what_python_matches(void **state) {
  (void)state;
  json_t *golden = load_golden(), *one;
  size_t i;
  assert_true(json_array_size(golden) > 50);
  json_array_foreach(golden, i, one) {
    compare(one, FG_MATCH_WHOLE, FG_PLAIN);
    compare(one, FG_MATCH_WITHIN, FG_PLAIN);
    compare(one, FG_MATCH_WHOLE, FG_QUOTED);
    compare(one, FG_MATCH_WITHIN, FG_QUOTED);
  }
  json_decref(golden);
}

static void test_refuses_by_name_and_place(void **state) {
  (void)state;
  static const struct {
    const char *text, *message;
  } cases[] = {
      {"a(?=b)", "look-ahead at byte 1"},
      {"a(?!b)", "look-ahead at byte 1"},
      {"(?<=a)b", "look-behind at byte 0"},
      {"(?<!a)b", "look-behind at byte 0"},
      {"(a)\\1", "a reference to a group at byte 3"},
      {"(?P<x>a)(?P=x)", "a reference to a group at byte 8"},
      {"(?i)a", "this kind of group at byte 0"},
      {"(?i:a)", "this kind of group at byte 0"},
      {"\\bword", "a word boundary at byte 0"},
      {"\\p{L}", "a Unicode property at byte 0"},
      {"a\\z", "this escape at byte 1"},
      {"a++", "a possessive quantifier at byte 2"},
      {"a**", "a quantifier behind another at byte 2"},
      {"*a", "a quantifier with nothing before it at byte 0"},
      {"{2}", "a quantifier with nothing before it at byte 0"},
      {"(a", "a group without its closing parenthesis at byte 0"},
      {"a)", "a closing parenthesis without its group at byte 1"},
      {"[a", "a class without its closing bracket"},
      {"[]a]", "a class that begins with ]"},
      {"[z-a]", "a range that ends before it begins"},
      {"[a-\\d]", "a range that ends before it begins"},
      {"a{3,2}", "a repetition whose bounds are the wrong way round"},
      {"a{100001}", "a repetition of more than 100000 times"},
      {"\\x4", "a number of too few digits"},
      {"\\ud800", "half of a surrogate pair"},
      {"a\\", "a backslash without anything behind it"},
      {"a^b", "an anchor at byte 1"},
      {"(^a|b)c", "an anchor at byte 1"},
      {"(a{1000}){1000}", "it is too large"},
      {"a[^\\x00-\\U]", "this escape"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    fg_error err = {0};
    fg_expression *e = NULL;
    fg_grammar g;
    uint32_t start;
    fg_grammar_begin(&g);
    fg_status status = fg_expression_parse(&e, cases[i].text, strlen(cases[i].text), &err);
    if (!status) status = fg_expression_write(e, &g, FG_MATCH_WHOLE, FG_PLAIN, FG_RETURN, &start, &err);
    if (!status) status = fg_grammar_finish(&g, start, &err);
    if (!status || !strstr(err.message, cases[i].message)) fail_msg("%s: %s", cases[i].text, err.message);
    fg_expression_destroy(e);
    fg_grammar_free(&g);
  }
}

// Nested repetitions of nothing end, and repetitions of little do not take long.
static void test_many_repetitions(void **state) {
  (void)state;
  const char *const texts[] = {"((){100000}){100000}", "((a{0}){100000}){100000}", "(a|b){0,20000}",
                               "((a*)*)*"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    fg_grammar g;
    reader r;
    json_t *text = json_string(texts[i]);
    open_expression(&r, &g, text, FG_MATCH_WHOLE, FG_PLAIN);
    assert_true(reader_takes(&r, "", 0));
    assert_int_equal(reader_takes(&r, "aaa", 3), i >= 2);
    reader_close(&r);
    json_decref(text);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_matches_what_python_matches),
      cmocka_unit_test(test_refuses_by_name_and_place),
      cmocka_unit_test(test_many_repetitions),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
