#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/typical.h"

static void test_a_mean_of_which_one_time_is_not_the_whole(void **state) {
  (void)state;
  double even[] = {3, 1, 2}, torn[] = {1, 1000, 1}, one[] = {5};
  assert_float_equal(fg_typical(even, 3), 2, 1e-12);
  assert_float_equal(fg_typical(torn, 3), (1 + 1 + 4) / 3.0, 1e-12); // as four medians
  assert_float_equal(fg_typical(one, 1), 5, 1e-12);
  assert_float_equal(fg_typical(NULL, 0), 0, 1e-12);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_mean_of_which_one_time_is_not_the_whole)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
