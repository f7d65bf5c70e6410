#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "format/prefix_list.h"

enum { SEED = 20260611 };

static uint64_t draw(uint64_t *state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return *state >> 33;
}

// Hashes that fall on few slots, so that searches run into each other.
static void test_names_are_those_that_were_added_and_not_removed(void **state) {
  (void)state;
  enum { HASHES = 300 };
  fg_prefix_names names = {0};
  bool there[HASHES] = {0};
  size_t count = 0;
  uint64_t random = SEED;
  for (uint32_t i = 0; i < 20000; i++) {
    const uint32_t which = (uint32_t)(draw(&random) % HASHES);
    const uint64_t hash = (uint64_t)(which % 7) + ((uint64_t)which << 40);
    assert_int_equal(fg_prefix_names_has(&names, hash), there[which]);
    const bool adds = draw(&random) % 2;
    if (adds) assert_true(fg_prefix_names_add(&names, hash));
    if (!adds) fg_prefix_names_remove(&names, hash);
    count += (size_t)adds - (size_t)there[which];
    there[which] = adds;
    assert_int_equal(names.count, count);
  }
  for (uint32_t which = 0; which < HASHES; which++)
    assert_int_equal(fg_prefix_names_has(&names, (uint64_t)(which % 7) + ((uint64_t)which << 40)),
                     there[which]);
  fg_prefix_names_free(&names);
  assert_false(fg_prefix_names_has(&names, 1));
}

static void test_longest_unused_goes_first_and_of_a_text_its_end(void **state) {
  (void)state;
  const fg_prefix_file old_root = {.used_ns = 1, .block = 0}, old_end = {.used_ns = 1, .block = 9},
                       root = {.used_ns = 2, .block = 0}, end = {.used_ns = 2, .block = 1};
  assert_true(fg_prefix_goes_before(&old_end, &old_root));
  assert_true(fg_prefix_goes_before(&old_root, &end));
  assert_true(fg_prefix_goes_before(&end, &root));
  assert_false(fg_prefix_goes_before(&root, &root));
}

static int by_order(const void *a, const void *b) {
  return fg_prefix_goes_before(a, b) ? -1 : fg_prefix_goes_before(b, a);
}

static void test_of_many_files_those_are_listed_that_go_first(void **state) {
  (void)state;
  enum { FILES = 5 * FG_PREFIX_OLDEST };
  fg_prefix_file *files = calloc(FILES, sizeof *files);
  fg_prefix_oldest *oldest = calloc(1, sizeof *oldest);
  assert_true(files && oldest);
  uint64_t random = SEED;
  for (uint32_t i = 0; i < FILES; i++) {
    files[i] = (fg_prefix_file){.folder = draw(&random) % 3,
                                .hash = i,
                                .block = (uint32_t)(draw(&random) % 20),
                                .bytes = draw(&random),
                                .used_ns = (int64_t)(draw(&random) % 50)};
    fg_prefix_oldest_offer(oldest, &files[i]);
  }
  fg_prefix_oldest_sort(oldest);
  qsort(files, FILES, sizeof *files, by_order);
  assert_int_equal(oldest->count, FG_PREFIX_OLDEST);
  assert_memory_equal(oldest->files, files, sizeof oldest->files);
  free(files);
  free(oldest);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_names_are_those_that_were_added_and_not_removed),
      cmocka_unit_test(test_longest_unused_goes_first_and_of_a_text_its_end),
      cmocka_unit_test(test_of_many_files_those_are_listed_that_go_first),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
