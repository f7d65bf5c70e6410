// Records of tables: what a reader must understand, refuse, and leave as it stands.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "table_text.h"
#include "wrangle/csv.h"

// All records, each cell in brackets, records ended by '|'; blank lines as "-|". The error's message on
// failure.
static void show(const char *bytes, size_t length, char delimiter, fg_text *shown, fg_text *copied) {
  FILE *file = file_of(bytes, length);
  fg_csv *csv;
  fg_error err;
  bool end = false;
  assert_int_equal(fg_csv_create(&csv, file, "t.csv", delimiter, &err), FG_OK);
  while (!end) {
    fg_csv_record record;
    if (fg_csv_next(csv, &record, &end, &err) != FG_OK) {
      fg_text_append_string(shown, err.message);
      break;
    }
    if (end) break;
    for (size_t i = 0; i < record.count; i++)
      fg_text_printf(shown, "[%.*s]", (int)record.cells[i].length, record.cells[i].data);
    fg_text_append_string(shown, record.count ? "|" : "-|");
    fg_text_append(copied, record.raw.data, record.raw.length);
    fg_text_append(copied, record.end.data, record.end.length);
  }
  fg_csv_destroy(csv);
  fclose(file);
}

static void check_bytes(const char *bytes, size_t length, char delimiter, const char *expected) {
  fg_text shown = {0}, copied = {0};
  fg_text_append(&copied, "", 0);
  show(bytes, length, delimiter, &shown, &copied);
  assert_string_equal(shown.data, expected);
  assert_true(copied.length <= length);
  assert_memory_equal(copied.data, bytes, copied.length);
  if (!strstr(expected, "t.csv")) assert_int_equal(copied.length, length);
  fg_text_free(&shown);
  fg_text_free(&copied);
}

static void check(const char *text, const char *expected) {
  check_bytes(text, strlen(text), ',', expected);
}

static void test_ends_of_lines_may_be_of_any_kind(void **state) {
  (void)state;
  check("a,b\n1,2\n", "[a][b]|[1][2]|");
  check("a,b\r\n1,2\r\n", "[a][b]|[1][2]|");
  check("a,b\r1,2\r", "[a][b]|[1][2]|");
  check("a,b\n1,2", "[a][b]|[1][2]|"); // the last one needs none
  check("a,b\n1,2\r\n3,4\r5,6", "[a][b]|[1][2]|[3][4]|[5][6]|");
}

static void test_quotes_hold_delimiters_line_ends_and_quotes(void **state) {
  (void)state;
  check("a,b\n\"x,y\",\"one\ntwo\"\n", "[a][b]|[x,y][one\ntwo]|");
  check("a\n\"one\r\ntwo\"\r\n", "[a]|[one\r\ntwo]|");
  check("a,b\n\"say \"\"hi\"\"\",\"\"\n", "[a][b]|[say \"hi\"][]|");
  check("a\n\"\"\"\"\n", "[a]|[\"]|");
}

static void test_quote_inside_a_cell_is_a_character(void **state) {
  (void)state;
  check("a,b\n5\" disk,x\"y\"\n", "[a][b]|[5\" disk][x\"y\"]|");
  check("a\n \"x\"\n", "[a]|[ \"x\"]|");
}

static void test_mark_is_no_part_of_the_first_name(void **state) {
  (void)state;
  check("\xef\xbb\xbf\"a\",b\n1,2\n", "[a][b]|[1][2]|");
  check("\xef\xbb\xbf\na\n", "-|[a]|");
  check("\xef\xbb\"a\n", "[\xef\xbb\"a]|"); // half a mark is none
}

static void test_blank_lines_are_passed_over(void **state) {
  (void)state;
  check("a\n\n1\n\n\n2\n\n", "[a]|-|[1]|-|-|[2]|-|");
  check("a\n\"\"\n", "[a]|[]|"); // an empty cell in quotes is a row
  check("a,b\n,\n", "[a][b]|[][]|");
}

static void test_ragged_row_names_its_line(void **state) {
  (void)state;
  check("a,b\n1,2\n3\n", "[a][b]|[1][2]|t.csv: line 3: 1 cells, the header has 2 columns");
  check("a,b\n\"x\ny\",2\n3,4,5\n", "[a][b]|[x\ny][2]|t.csv: line 4: 3 cells, the header has 2 columns");
  check("\n\na,b\r\n\r\n1\r\n", "-|-|[a][b]|-|t.csv: line 5: 1 cells, the header has 2 columns");
}

static void test_open_quote_names_the_line_where_it_opens(void **state) {
  (void)state;
  check("a\n1\n\"x\ny\n", "[a]|[1]|t.csv: line 3: a quote is opened and never closed");
}

static void test_text_behind_a_quote_is_refused(void **state) {
  (void)state;
  check("a,b\n\"x\"y,1\n",
        "[a][b]|t.csv: line 2: text behind a closing quote; a quote inside a quoted cell is written twice");
}

static void test_zero_bytes_and_nothing_are_refused(void **state) {
  (void)state;
  fg_text shown = {0}, copied = {0};
  show("\xff\xfe"
       "a\0\n\0",
       6, ',', &shown, &copied);
  assert_non_null(strstr(shown.data, "line 1: a zero byte"));
  fg_text_free(&shown);
  fg_text_free(&copied);
  check("", "t.csv: it is empty, not even a header stands in it");
}

static void test_record_is_bounded(void **state) {
  (void)state;
  char *large = malloc(FG_CSV_RECORD_BYTES + 100);
  assert_non_null(large);
  memset(large, 'x', FG_CSV_RECORD_BYTES + 100);
  memcpy(large, "a\n\"", 3);
  fg_text shown = {0}, copied = {0};
  show(large, FG_CSV_RECORD_BYTES + 100, ',', &shown, &copied);
  assert_non_null(strstr(shown.data, "line 2: a record of more than 16 MiB; is a quote left open?"));
  memset(large, ',', FG_CSV_CELLS + 10);
  fg_text_clear(&shown);
  show(large, FG_CSV_CELLS + 10, ',', &shown, &copied);
  assert_non_null(strstr(shown.data, "line 1: more than 65536 cells in a record"));
  fg_text_free(&shown);
  fg_text_free(&copied);
  free(large);
}

static void test_other_delimiters(void **state) {
  (void)state;
  check_bytes("a;b\n1,5;2\n", 10, ';', "[a][b]|[1,5][2]|");
  check_bytes("a\tb\n1\t2\n", 8, '\t', "[a][b]|[1][2]|");
}

static void test_what_is_written_reads_back(void **state) {
  (void)state;
  static const char *const cells[] = {"",         "x",        "a,b",      "a;b", "say \"hi\"",
                                      "one\ntwo", "cr\rhere", " padded ", "\"",  "5\" disk"};
  enum { CELLS = sizeof cells / sizeof *cells };
  fg_text line = {0}, shown = {0}, copied = {0}, expected = {0};
  for (size_t row = 0; row < 2; row++) {
    for (size_t i = 0; i < CELLS; i++) {
      if (i) fg_text_append(&line, ",", 1);
      fg_csv_put(&line, cells[i], strlen(cells[i]), ',');
      fg_text_printf(&expected, "[%s]", cells[i]);
    }
    fg_text_append(&line, "\n", 1);
    fg_text_append(&expected, "|", 1);
  }
  show(line.data, line.length, ',', &shown, &copied);
  assert_string_equal(shown.data, expected.data);
  fg_text_clear(&line);
  fg_csv_put(&line, "a,b", 3, ';');
  assert_string_equal(line.data, "a,b"); // no quotes without need
  fg_text_free(&line);
  fg_text_free(&shown);
  fg_text_free(&copied);
  fg_text_free(&expected);
}

// ---- visits ----------------------------------------------------------------------------------------------

typedef struct visits {
  fg_text seen;
  uint64_t fails_at; // line; 0: nowhere
} visits;

static fg_status visit(void *user, const fg_csv_record *record, fg_error *err) {
  visits *v = user;
  if (record->line == v->fails_at) return fg_fail(err, FG_IO, "enough");
  fg_text_printf(&v->seen, "%s%zu ", record->header ? "header " : "", record->count);
  return FG_OK;
}

static void test_a_walk_sees_every_record_and_the_header_once(void **state) {
  (void)state;
  fg_error err;
  visits v = {0};
  FILE *file = file_of("\na,b\n\n1,2\n3,4", 13);
  assert_int_equal(fg_csv_visit(file, "t.csv", ',', visit, &v, &err), FG_OK);
  assert_string_equal(v.seen.data, "0 header 2 0 2 2 ");
  fg_text_free(&v.seen);
  fclose(file);
}

static void test_a_walk_ends_with_the_visit_that_fails(void **state) {
  (void)state;
  fg_error err;
  visits v = {.fails_at = 2};
  FILE *file = file_of("a,b\n1,2\n3,4,5\n", 15);
  assert_int_equal(fg_csv_visit(file, "t.csv", ',', visit, &v, &err), FG_IO);
  assert_string_equal(err.message, "enough"); // not what is wrong with the third line
  assert_string_equal(v.seen.data, "header 2 ");
  fg_text_free(&v.seen);
  fclose(file);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_walk_sees_every_record_and_the_header_once),
      cmocka_unit_test(test_a_walk_ends_with_the_visit_that_fails),
      cmocka_unit_test(test_ends_of_lines_may_be_of_any_kind),
      cmocka_unit_test(test_quotes_hold_delimiters_line_ends_and_quotes),
      cmocka_unit_test(test_quote_inside_a_cell_is_a_character),
      cmocka_unit_test(test_mark_is_no_part_of_the_first_name),
      cmocka_unit_test(test_blank_lines_are_passed_over),
      cmocka_unit_test(test_ragged_row_names_its_line),
      cmocka_unit_test(test_open_quote_names_the_line_where_it_opens),
      cmocka_unit_test(test_text_behind_a_quote_is_refused),
      cmocka_unit_test(test_zero_bytes_and_nothing_are_refused),
      cmocka_unit_test(test_record_is_bounded),
      cmocka_unit_test(test_other_delimiters),
      cmocka_unit_test(test_what_is_written_reads_back),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
