// Templates, examples, and what goes into a line of a batch job. Prompts of data sets are compared by
// tests/cli/test_wrangle.py.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <unistd.h>

#include "table_text.h"
#include "wrangle/examples.h"
#include "wrangle/request_line.h"
#include "wrangle/row_template.h"

static const fg_slice names[] = {{"left", 4}, {"right", 5}, {"a b", 3}, {"", 0}, {"twice", 5}, {"twice", 5}};
enum { NAMES = sizeof names / sizeof *names };

static void check_template(const char *text, const char *expected) {
  static const fg_slice cells[] = {{"L", 1}, {"{left}", 6}, {"", 0}, {"e", 1}, {"1", 1}, {"2", 1}};
  fg_row_template *template;
  fg_error err;
  fg_text out = {0};
  fg_text_append(&out, "", 0);
  if (fg_row_template_read(&template, text, names, NAMES, &err) == FG_OK)
    fg_row_template_put(&out, template, cells);
  else
    fg_text_append_string(&out, err.message);
  assert_string_equal(out.data, expected);
  fg_row_template_destroy(template);
  fg_text_free(&out);
}

static void test_template_takes_cells_and_braces(void **state) {
  (void)state;
  check_template("Is {left} {right}?", "Is L {left}?"); // what a cell holds is no template
  check_template("{{left}} {left}{{{right}}}", "{left} L{{left}}");
  check_template("{a b}{}x", "ex");
  check_template("plain", "plain");
}

static void test_template_says_what_is_wrong(void **state) {
  (void)state;
  check_template("{none}",
                 "the template: there is no column 'none'; the columns are left, right, a b, , twice, twice");
  check_template("{twice}", "the template: 2 columns are named 'twice'");
  check_template("a {left", "the template has a brace without its partner at '{left'; {{ and }} are braces");
  check_template("a } b", "the template has a brace without its partner at '} b'; {{ and }} are braces");
  check_template("{le{ft}",
                 "the template has a brace without its partner at '{le{ft}'; {{ and }} are braces");
  check_template("\xff", "the template is not valid UTF-8");
}

static void check_query(const char *instruction, const char *prefix, const char *text, const char *expected) {
  fg_text out = {0};
  fg_put_query(&out, instruction, fg_words(prefix), fg_words(text));
  assert_string_equal(out.data, expected);
  fg_text_free(&out);
}

static void test_query_is_stripped_as_a_whole(void **state) {
  (void)state;
  check_query(NULL, "", " x? ", "x?");
  check_query(NULL, "\n", " x? ", "x?");
  check_query(NULL, " a No\n", " x? ", "a No\n\n x?");
  check_query("Do: ", "", "x", "Do:  x"); // a space behind the instruction, whatever it ends with
  check_query(NULL, "a\n", " \xe2\x80\x83", "a");
}

static void check_draw(const fg_samples *train, const fg_example_draw *draw, const char *expected) {
  fg_text out = {0};
  fg_error err;
  fg_text_append(&out, "", 0);
  if (fg_examples_random(&out, train, draw, &err) != FG_OK) fg_text_append_string(&out, err.message);
  assert_string_equal(out.data, expected);
  fg_text_free(&out);
}

static void test_no_more_examples_than_there_are(void **state) {
  (void)state;
  fg_samples train = {0};
  fg_error err;
  static const char *const labels[] = {"Yes", "No", "No"};
  for (size_t i = 0; i < 3; i++)
    assert_int_equal(
        fg_samples_add(
            &train, &(fg_sample){fg_words(" q "), fg_words(labels[i]), fg_words(labels[i]), {"", 0}}, &err),
        FG_OK);
  check_draw(&train, &(fg_example_draw){.count = 0}, "");
  check_draw(&train, &(fg_example_draw){.count = 4}, "4 examples are wanted and 3 can be drawn; lower --k");
  check_draw(&train, &(fg_example_draw){.count = 3, .balanced = true},
             "3 examples are wanted and 2 can be drawn; lower --k");
  fg_text out = {0};
  assert_int_equal(fg_examples_random(&out, &train, &(fg_example_draw){.count = 2, .balanced = true}, &err),
                   FG_OK);
  assert_non_null(strstr(out.data, "q Yes"));
  assert_non_null(strstr(out.data, "q No"));
  fg_text_free(&out);
  fg_samples_free(&train);
}

static void check_manual(const char *text, const char *key, const char *expected) {
  char path[] = "/tmp/flexgen-manual-XXXXXX";
  const int fd = mkstemp(path);
  fg_manual_examples *manual;
  fg_slice found;
  fg_error err;
  assert_int_equal(write(fd, text, strlen(text)), strlen(text));
  close(fd);
  fg_status status = fg_manual_read(&manual, path, &err);
  if (status == FG_OK) status = fg_manual_find(manual, fg_words(key), &found, &err);
  if (status == FG_OK)
    assert_slice(found, expected);
  else if (!strstr(err.message, expected))
    fail_msg("'%s' does not say '%s'", err.message, expected);
  fg_manual_destroy(manual);
  unlink(path);
}

static void test_manual_examples_are_found_by_key(void **state) {
  (void)state;
  check_manual("{\"examples\":\"x\\n\"}", "any", "x\n");
  check_manual("{\"by\":\"c\",\"examples\":{\"a\":\"A\",\"nan\":\"N\"}}", "nan", "N");
  check_manual("{\"by\":\"c\",\"examples\":{\"a\":\"A\"}}", "b", "there are no examples for c 'b'");
  check_manual("{\"by\":\"c\",\"examples\":\"x\"}", "", "must be an object of texts");
  check_manual("{\"by\":\"c\",\"examples\":{\"a\":1}}", "", "examples for 'a' are no text");
  check_manual("{\"examples\":{}}", "", "must be a text");
  check_manual("[]", "", "must be a text");
  check_manual("{", "", "expected near end of file");
}

static void test_request_is_a_line_of_a_batch(void **state) {
  (void)state;
  fg_text out = {0};
  fg_asking asking = {.max_tokens = 3, .temperature = 0, .stop = "\n"};
  fg_put_request(&out, 7, fg_words("say \"é\"\n"), &asking);
  assert_string_equal(
      out.data, "{\"custom_id\":\"row-7\",\"method\":\"POST\",\"url\":\"/v1/completions\",\"body\":{"
                "\"prompt\":\"say \\\"é\\\"\\n\",\"max_tokens\":3,\"temperature\":0,\"stop\":\"\\n\"}}\n");
  fg_text_clear(&out);
  asking = (fg_asking){.max_tokens = 1, .temperature = 0.5, .stop = "", .chat = true};
  fg_put_request(&out, 0, fg_words("x"), &asking);
  assert_string_equal(
      out.data,
      "{\"custom_id\":\"row-0\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\",\"body\":{"
      "\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"max_tokens\":1,\"temperature\":0.5}}\n");
  fg_text_free(&out);
}

static void check_reply(const char *line, const char *text, const char *error) {
  fg_reply reply;
  fg_error err;
  if (fg_reply_read(&reply, line, strlen(line), 3, "answers", &err) != FG_OK) fail_msg("%s", err.message);
  assert_slice(reply.text, text);
  if (error)
    assert_string_equal(reply.error, error);
  else
    assert_null(reply.error);
  fg_reply_free(&reply);
}

static void test_reply_is_a_text_or_a_reason(void **state) {
  (void)state;
  check_reply("{\"custom_id\":\"row-3\",\"response\":{\"body\":{\"choices\":[{\"text\":\" Yes\"}]}}}", " Yes",
              NULL);
  check_reply(
      "{\"custom_id\":\"row-3\",\"response\":{\"body\":{\"choices\":[{\"message\":{\"content\":\"a\"}}]}}}",
      "a", NULL);
  check_reply("{\"custom_id\":\"row-3\",\"response\":{\"body\":{\"error\":{\"message\":\"too long\"}}}}", "",
              "too long");
  check_reply("{\"custom_id\":\"row-3\",\"response\":null,\"error\":{\"message\":\"broken\"}}", "", "broken");
  check_reply("{\"custom_id\":\"row-3\"}", "", "no answer");
  fg_reply reply;
  fg_error err;
  static const char other[] = "{\"custom_id\":\"row-4\"}";
  assert_int_equal(fg_reply_read(&reply, other, sizeof other - 1, 3, "answers", &err), FG_CORRUPT);
  assert_string_equal(err.message, "answers: its row 4 is 'row-4', not row-3");
  assert_int_equal(fg_reply_read(&reply, "{", 1, 3, "answers", &err), FG_CORRUPT);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_template_takes_cells_and_braces),
      cmocka_unit_test(test_template_says_what_is_wrong),
      cmocka_unit_test(test_query_is_stripped_as_a_whole),
      cmocka_unit_test(test_no_more_examples_than_there_are),
      cmocka_unit_test(test_manual_examples_are_found_by_key),
      cmocka_unit_test(test_request_is_a_line_of_a_batch),
      cmocka_unit_test(test_reply_is_a_text_or_a_reason),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
