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

static size_t begun(const char *const *stops, const char *text) {
  fg_stop_string list[4];
  uint32_t count = 0;
  for (; stops[count]; count++)
    list[count] = (fg_stop_string){(char *)(uintptr_t)stops[count], strlen(stops[count])};
  return fg_stop_begun(list, count, text, strlen(text));
}

static void test_the_longest_beginning_of_a_stop_string_is_held(void **state) {
  (void)state;
  const char *const stops[] = {"END", "NDX", "q", NULL};
  assert_int_equal(begun(stops, "abc"), 0);
  assert_int_equal(begun(stops, "abcE"), 1);
  assert_int_equal(begun(stops, "abcEN"), 2);
  assert_int_equal(begun(stops, "abcEND"), 2); // of the second one
  assert_int_equal(begun(stops, ""), 0);
  assert_int_equal(begun(stops, "N"), 1);
  assert_int_equal(begun((const char *const[]){NULL}, "abc"), 0);
}

// What was shown of a growing text is never taken back.
static void test_a_match_never_begins_before_what_is_held(void **state) {
  (void)state;
  const char *const stops[] = {"aba", "bb", "babab", NULL};
  srand(8);
  uint32_t matches = 0;
  for (int round = 0; round < 20000; round++) {
    char text[24] = "";
    size_t shown = 0;
    fg_stop_match match;
    for (size_t length = 0; length < sizeof text - 1; length++) {
      text[length] = "ab"[rand() & 1] + (rand() % 3 == 0);
      if (find(stops, text, length + 1, length, &match)) {
        assert_true(match.begin >= shown);
        matches++;
        break;
      }
      text[length + 1] = '\0';
      shown = length + 1 - begun(stops, text);
    }
  }
  assert_true(matches > 1000);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_the_match_that_ends_first_wins),
      cmocka_unit_test(test_of_equal_ends_the_first_in_the_list_wins),
      cmocka_unit_test(test_what_was_searched_does_not_match_again),
      cmocka_unit_test(test_pieces_find_what_the_whole_finds),
      cmocka_unit_test(test_the_longest_beginning_of_a_stop_string_is_held),
      cmocka_unit_test(test_a_match_never_begins_before_what_is_held),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
