// What NumPy draws and what pandas prints, against what they said (tests/oracle/make_wrangle.py).
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "table_text.h"
#include "wrangle/column_type.h"
#include "wrangle/numpy_random.h"
#include "wrangle/table.h"

static void check_words(uint32_t seed, const json_t *words) {
  enum { DRAWN = 700 }; // more than a state has words
  fg_numpy_random random;
  uint32_t drawn[DRAWN];
  fg_numpy_seed(&random, seed);
  for (size_t i = 0; i < DRAWN; i++) drawn[i] = fg_numpy_next(&random);
  for (size_t i = 0; i < 6; i++)
    assert_int_equal(drawn[i < 3 ? i : DRAWN - 6 + i],
                     (uint32_t)json_integer_value(json_array_get(words, i)));
}

static void check_permutation(uint32_t seed, const json_t *expected) {
  fg_numpy_random random;
  uint32_t order[128];
  const uint32_t count = (uint32_t)json_array_size(expected);
  fg_numpy_seed(&random, seed);
  fg_numpy_permutation(&random, order, count);
  for (uint32_t i = 0; i < count; i++)
    assert_int_equal(order[i], json_integer_value(json_array_get(expected, i)));
}

static void test_draws_are_those_of_numpy(void **state) {
  (void)state;
  json_t *golden = read_golden("random"), *one, *permutation;
  size_t index, number;
  assert_true(json_array_size(golden) > 0);
  json_array_foreach(golden, index, one) {
    const uint32_t seed = (uint32_t)json_integer_value(json_object_get(one, "seed"));
    check_words(seed, json_object_get(one, "words"));
    json_array_foreach(json_object_get(one, "permutations"), number, permutation)
        check_permutation(seed, permutation);
  }
  json_decref(golden);
}

// A table of one column beside one that makes no row blank.
static void put_column(fg_text *text, const json_t *cells) {
  size_t index;
  json_t *cell;
  fg_text_append_string(text, "x,y\n");
  json_array_foreach(cells, index, cell) {
    fg_text_append_string(text, "\"");
    for (const char *c = json_string_value(cell); *c; c++) {
      if (*c == '"') fg_text_append(text, "\"", 1);
      fg_text_append(text, c, 1);
    }
    fg_text_append_string(text, "\",a\n");
  }
}

static void test_columns_print_as_in_pandas(void **state) {
  (void)state;
  json_t *golden = read_golden("columns"), *one;
  size_t index;
  assert_true(json_array_size(golden) > 50);
  json_array_foreach(golden, index, one) {
    fg_text text = {0};
    put_column(&text, json_object_get(one, "cells"));
    FILE *file = file_of(text.data, text.length);
    fg_table table;
    fg_error err;
    if (fg_table_read_stream(&table, file, "t", FG_CELLS_AS_PANDAS, &err) != FG_OK)
      fail_msg("%s", err.message);
    const json_t *texts = json_object_get(one, "texts");
    assert_int_equal(table.rows, json_array_size(texts));
    for (size_t row = 0; row < table.rows; row++) {
      const fg_cell *cell = fg_table_row(&table, row);
      const char *expected = json_string_value(json_array_get(texts, row));
      assert_int_equal(cell->missing, !expected);
      assert_slice(cell->text, expected ? expected : "nan");
    }
    fg_table_free(&table);
    fclose(file);
    fg_text_free(&text);
  }
  json_decref(golden);
}

static void test_tables_that_make_no_sense_are_refused(void **state) {
  (void)state;
  static const struct {
    const char *text, *why;
  } cases[] = {
      {"a,b,a\n1,2,3\n", "t: two columns are named 'a'"},
      {"a,b\n1\n", "t: line 2: 1 cells, the header has 2 columns"},
      {"", "t: it is empty, not even a header stands in it"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    FILE *file = file_of(cases[i].text, strlen(cases[i].text));
    fg_table table;
    fg_error err;
    assert_int_not_equal(fg_table_read_stream(&table, file, "t", FG_CELLS_AS_PANDAS, &err), FG_OK);
    assert_string_equal(err.message, cases[i].why);
    fclose(file);
  }
}

static void test_latin_1_is_decided_for_the_whole_table(void **state) {
  (void)state;
  static const char text[] = "caf\xe9,b\n\xc3\xa9,x\n"; // the second would pass as UTF-8
  FILE *file = file_of(text, sizeof text - 1);
  fg_table table;
  fg_error err;
  size_t column;
  assert_int_equal(fg_table_read_stream(&table, file, "t", FG_CELLS_AS_THEY_STAND, &err), FG_OK);
  assert_slice(table.names[0], "caf\xc3\xa9");
  assert_slice(fg_table_row(&table, 0)->text, "\xc3\x83\xc2\xa9");
  assert_int_equal(fg_table_need(&table, "z", &column, &err), FG_INVALID);
  assert_string_equal(err.message, "t: there is no column 'z'; its columns are caf\xc3\xa9, b");
  fg_table_free(&table);
  fclose(file);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_draws_are_those_of_numpy),
      cmocka_unit_test(test_columns_print_as_in_pandas),
      cmocka_unit_test(test_tables_that_make_no_sense_are_refused),
      cmocka_unit_test(test_latin_1_is_decided_for_the_whole_table),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
