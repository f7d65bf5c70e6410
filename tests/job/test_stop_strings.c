// Stop strings: the match that ends first, however the text arrives.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "job/stop_strings.h"

static bool find(const char *const *stops, const char *text, size_t length, size_t searched,
                 fg_stop_match *m) {
  fg_stop_string list[4];
  uint32_t count = 0;
  for (; stops[count]; count++)
    list[count] = (fg_stop_string){(char *)(uintptr_t)stops[count], strlen(stops[count])};
  return fg_stop_find(list, count, text, length, searched, m);
}

static void test_the_match_that_ends_first_wins(void **state) {
  (void)state;
  fg_stop_match m;
  assert_true(find((const char *const[]){"cdef", "cd", NULL}, "abcdefg", 7, 0, &m));
  assert_int_equal(m.index, 1);
  assert_int_equal(m.begin, 2);
  assert_int_equal(m.end, 4);
}

static void test_of_equal_ends_the_first_in_the_list_wins(void **state) {
  (void)state;
  fg_stop_match m;
  assert_true(find((const char *const[]){"d", "bcd", "cd", NULL}, "abcd", 4, 0, &m));
  assert_int_equal(m.index, 0);
  assert_true(find((const char *const[]){"bcd", "d", NULL}, "abcd", 4, 0, &m));
  assert_int_equal(m.index, 0);
  assert_int_equal(m.begin, 1);
}

static void test_what_was_searched_does_not_match_again(void **state) {
  (void)state;
  fg_stop_match m;
  const char *const stops[] = {"ab", NULL};
  assert_false(find(stops, "abx", 3, 2, &m)); // ended before
  assert_true(find(stops, "xab", 3, 2, &m));  // ends behind, begins before
  assert_false(find(stops, "a", 1, 0, &m));
}

// Character by character, or in pieces of any size: the same first match as in the whole text.
static void test_pieces_find_what_the_whole_finds(void **state) {
  (void)state;
  const char *const stops[] = {"aba", "bb", "babab", NULL};
  srand(7);
  for (int round = 0; round < 20000; round++) {
    char text[24];
    for (size_t i = 0; i < sizeof text; i++) text[i] = "ab"[rand() & 1] + (rand() % 3 == 0);
    fg_stop_match whole, piece;
    bool expected = find(stops, text, sizeof text, 0, &whole), got = false;
    for (size_t searched = 0, length = 0; length < sizeof text && !got; searched = length) {
      length += 1 + (size_t)rand() % 4;
      if (length > sizeof text) length = sizeof text;
      got = find(stops, text, length, searched, &piece);
    }
    assert_int_equal(got, expected);
    if (!got) continue;
    assert_int_equal(piece.end, whole.end);
    assert_int_equal(piece.index, whole.index);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_the_match_that_ends_first_wins),
      cmocka_unit_test(test_of_equal_ends_the_first_in_the_list_wins),
      cmocka_unit_test(test_what_was_searched_does_not_match_again),
      cmocka_unit_test(test_pieces_find_what_the_whole_finds),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
