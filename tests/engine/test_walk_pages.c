// Where pages would be: what memory has no room for is on disk, and nothing that is left stays for good.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/walk_pages.h"

static void test_rows_that_grow_together_write_all_beyond_memory(void **state) {
  (void)state;
  fg_walk_pages p = {.room = 6};
  fg_row_homes rows[4] = {{0}};
  uint32_t written = 0;
  for (uint32_t full = 1; full <= 3; full++)
    for (int i = 0; i < 4; i++) written += fg_walk_pages_fill(&p, &rows[i], full);
  assert_int_equal(written, 4 * 3 - 6);
  assert_int_equal(rows[0].memory, 2);
  assert_int_equal(rows[3].disk, 2);
}

static void test_places_of_rows_that_ended_are_taken(void **state) {
  (void)state;
  fg_walk_pages p = {.room = 4};
  fg_row_homes first = {0}, second = {0};
  assert_int_equal(fg_walk_pages_fill(&p, &first, 5), 1);
  fg_walk_pages_leave(&p, &first);
  assert_int_equal(first.memory + first.disk, 0);
  assert_int_equal(fg_walk_pages_fill(&p, &second, 4), 0);
}

static void test_pages_that_are_kept_stay_in_memory_until_others_want_them(void **state) {
  (void)state;
  fg_walk_pages p = {.room = 4, .most_left = 2};
  fg_row_homes first = {0}, second = {0}, third = {0};
  fg_walk_pages_fill(&p, &first, 4);
  fg_walk_pages_leave(&p, &first);
  assert_int_equal(fg_walk_pages_fill(&p, &second, 3), 1); // two are kept
  fg_walk_pages_bound(&p, 0);
  assert_int_equal(fg_walk_pages_fill(&p, &third, 3), 1); // two are the second one's
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_rows_that_grow_together_write_all_beyond_memory),
      cmocka_unit_test(test_places_of_rows_that_ended_are_taken),
      cmocka_unit_test(test_pages_that_are_kept_stay_in_memory_until_others_want_them),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
