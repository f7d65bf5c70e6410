// A user's table with answers beside it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "table_text.h"
#include "wrangle/results.h"

#define REPLY(row, text)                                                                                     \
  "{\"custom_id\":\"row-" row "\",\"response\":{\"body\":{\"choices\":[{\"text\":\"" text "\"}]}}}\n"
#define FAILED(row)                                                                                          \
  "{\"custom_id\":\"row-" row "\",\"response\":{\"body\":{\"error\":{\"message\":\"too, long\"}}}}\n"

static fg_status join(const char *table, const char *answers, const fg_results_options *options,
                      fg_results *results, fg_text *out, fg_error *err) {
  FILE *t = file_of(table, strlen(table)), *a = file_of(answers, strlen(answers)), *o = tmpfile();
  fg_table_head head;
  assert_non_null(o);
  fg_status status = fg_table_look_over(&head, t, "t.csv", ',', err);
  if (status == FG_OK) {
    const fg_results_files files = {t, a, o, "t.csv", "answers", "out"};
    status = fg_results_write(results, &head, options, &files, err);
    fg_table_head_free(&head);
  }
  char chunk[256];
  size_t count;
  rewind(o);
  fg_text_append(out, "", 0);
  while ((count = fread(chunk, 1, sizeof chunk, o)) > 0) fg_text_append(out, chunk, count);
  fclose(t);
  fclose(a);
  fclose(o);
  return status;
}

static fg_results check(const char *table, const char *answers, const fg_results_options *options,
                        const char *expected) {
  fg_text out = {0};
  fg_results results;
  fg_error err;
  if (join(table, answers, options, &results, &out, &err) != FG_OK) fail_msg("%s", err.message);
  assert_string_equal(out.data, expected);
  fg_text_free(&out);
  return results;
}

static const fg_results_options plain = {.answer = "same", .label = -1};

static void test_users_bytes_stay_as_they_are(void **state) {
  (void)state;
  check("\xef\xbb\xbf\"a\",b\r\n\r\n\"x\"\"\ny\", 5\"\r\n\"z\",", REPLY("0", " Yes ") REPLY("1", "a,b"),
        &plain, "\xef\xbb\xbf\"a\",b,same\r\n\r\n\"x\"\"\ny\", 5\",Yes\r\n\"z\",,\"a,b\"");
}

static void test_table_without_rows_gets_its_column(void **state) {
  (void)state;
  check("a,b", "", &plain, "a,b,same");
}

static void test_columns_stand_in_one_order(void **state) {
  (void)state;
  fg_answer_set answers;
  fg_error err;
  assert_int_equal(fg_answers_read(&answers, "Yes,No", &err), FG_OK);
  const fg_results_options options = {
      .answer = "same", .text = "said", .error = "why", .answers = &answers, .label = 1};
  const fg_results r = check(
      "a,l\n1,yes\n2,No\n3,No\n4,x\n",
      REPLY("0", " yes!") REPLY("1", "perhaps\\n") FAILED("2") REPLY("3", "No"), &options,
      "a,l,same,said,why\n1,yes,Yes,\" yes!\",\n2,No,,\"perhaps\n\",\n3,No,,,\"too, long\"\n4,x,No,No,\n");
  assert_int_equal(r.rows, 4);
  assert_int_equal(r.errors, 1);
  assert_int_equal(r.unmatched, 1);
  assert_string_equal(r.first_error, "row 3: too, long");
  assert_int_equal(r.metrics.right, 1);
  assert_int_equal(r.metrics.true_positive, 1);
  assert_int_equal(r.metrics.false_positive, 2);
}

static void test_answers_are_in_the_tables_encoding(void **state) {
  (void)state;
  const fg_results r =
      check("caf\xe9\nx\n", REPLY("0", "na\u00efve \u20ac"), &plain, "caf\xe9,same\nx,na\xefve ?\n");
  assert_int_equal(r.replaced, 1);
  check("caf\xc3\xa9\nx\n", REPLY("0", "\u20ac"), &plain, "caf\xc3\xa9,same\nx,\xe2\x82\xac\n");
}

static void test_data_set_says_what_is_right(void **state) {
  (void)state;
  const fg_results_options options = {
      .answer = "prediction", .right = "correct", .dataset = fg_dataset_find("Buy"), .label = 1};
  const fg_results r =
      check("row,label\n0,Sony\n1,LG\n", REPLY("0", " sony ") REPLY("1", "LG Electronics"), &options,
            "row,label,prediction,correct\n0,Sony,sony,1\n1,LG,LG Electronics,0\n");
  assert_int_equal(r.metrics.right, 1);
  assert_int_equal(r.metrics.true_positive + r.metrics.false_negative, 0);
}

static void check_refused(const char *table, const char *answers, const char *why) {
  fg_text out = {0};
  fg_results results;
  fg_error err;
  assert_int_not_equal(join(table, answers, &plain, &results, &out, &err), FG_OK);
  assert_string_equal(err.message, why);
  fg_text_free(&out);
}

static void test_answers_of_another_table_are_refused(void **state) {
  (void)state;
  check_refused("a\n1\n2\n", REPLY("0", "x"), "answers: it ends before row 2");
  check_refused("a\n1\n", REPLY("0", "x") REPLY("1", "x"), "answers: it does not answer t.csv row by row");
  check_refused("a\n1\n", REPLY("1", "x"), "answers: its row 1 is 'row-1', not row-0");
  check_refused("a,b\n1\n", "", "t.csv: line 2: 1 cells, the header has 2 columns");
  check_refused("\n\n", "", "t.csv: it is empty, not even a header stands in it");
}

static void test_rows_are_read_as_text(void **state) {
  (void)state;
  FILE *file = file_of("caf\xe9,b\n\n1,\xe4\n", 12);
  fg_table_head head;
  fg_row_reader *rows;
  const fg_slice *cells;
  fg_error err;
  assert_int_equal(fg_table_look_over(&head, file, "t", ',', &err), FG_OK);
  assert_int_equal(head.rows, 1);
  assert_int_equal(head.encoding, FG_LATIN_1);
  assert_slice(head.names[0], "caf\xc3\xa9");
  assert_int_equal(fg_row_reader_create(&rows, &head, file, "t", &err), FG_OK);
  assert_int_equal(fg_row_reader_next(rows, &cells, &err), FG_OK);
  assert_slice(cells[1], "\xc3\xa4");
  assert_int_equal(fg_row_reader_next(rows, &cells, &err), FG_OK);
  assert_null(cells);
  fg_row_reader_destroy(rows);
  fg_table_head_free(&head);
  fclose(file);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_users_bytes_stay_as_they_are),
      cmocka_unit_test(test_table_without_rows_gets_its_column),
      cmocka_unit_test(test_columns_stand_in_one_order),
      cmocka_unit_test(test_answers_are_in_the_tables_encoding),
      cmocka_unit_test(test_data_set_says_what_is_right),
      cmocka_unit_test(test_answers_of_another_table_are_refused),
      cmocka_unit_test(test_rows_are_read_as_text),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
