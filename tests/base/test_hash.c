#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hash.h"

static void test_chained_hashes_depend_on_order_and_on_where_parts_end(void **state) {
  (void)state;
  // The value that the XXH3 specification's reference gives for no bytes.
  assert_int_equal(fg_hash("", 0), UINT64_C(0x2d06800538d394c2));
  uint64_t ab = fg_hash_more(fg_hash("a", 1), "b", 1), ba = fg_hash_more(fg_hash("b", 1), "a", 1);
  assert_int_not_equal(ab, ba);
  assert_int_not_equal(fg_hash_more(fg_hash("ab", 2), "c", 1), fg_hash_more(fg_hash("a", 1), "bc", 2));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_chained_hashes_depend_on_order_and_on_where_parts_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
