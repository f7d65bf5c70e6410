#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/budget.h"
#include "base/threads.h"

enum { LIMIT = 1 << 20 };

static int setup(void **state) {
  fg_budget *budget;
  if (fg_budget_create(&budget, "host memory", "--host-memory", LIMIT, NULL)) return 1;
  *state = budget;
  return 0;
}

static int teardown(void **state) {
  fg_budget_destroy(*state);
  return 0;
}

static void test_refusal_tells_who_how_much_and_the_flag(void **state) {
  fg_budget *budget = *state;
  fg_error err;
  assert_int_equal(fg_budget_reserve(budget, LIMIT - 1024, "libraries", &err), FG_OK);
  assert_int_equal(fg_budget_reserve(budget, 1025, "key-value cache", &err), FG_NO_SPACE);
  static const char *const parts[] = {"key-value cache", "host memory", "1 MiB", "1 KiB", "--host-memory"};
  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) assert_non_null(strstr(err.message, parts[i]));
  assert_int_equal(fg_budget_reserve(budget, 1024, "key-value cache", &err), FG_OK);
  assert_int_equal(fg_budget_left(budget), 0);
}

static void test_no_sum_overflows(void **state) {
  fg_budget *budget = *state, *unlimited;
  assert_int_equal(fg_budget_reserve(budget, 5, "x", NULL), FG_OK);
  assert_int_equal(fg_budget_reserve(budget, UINT64_MAX, "x", NULL), FG_NO_SPACE);
  assert_int_equal(fg_budget_create(&unlimited, "device memory", NULL, 0, NULL), FG_OK);
  assert_int_equal(fg_budget_limit(unlimited), UINT64_MAX);
  assert_int_equal(fg_budget_reserve(unlimited, 5, "x", NULL), FG_OK);
  assert_int_equal(fg_budget_reserve(unlimited, UINT64_MAX - 4, "x", NULL), FG_NO_SPACE);
  void *block;
  assert_int_equal(fg_budget_alloc(unlimited, UINT64_MAX - 100, "x", &block, NULL), FG_NO_SPACE);
  assert_int_equal(fg_budget_used(unlimited), 5);
  fg_budget_destroy(unlimited);
}

static void test_what_the_system_refuses_is_not_counted(void **state) {
  (void)state;
  fg_budget *unlimited;
  fg_error err;
  void *block;
  assert_int_equal(fg_budget_create(&unlimited, "host memory", NULL, 0, NULL), FG_OK);
  assert_int_equal(fg_budget_alloc(unlimited, UINT64_C(1) << 60, "everything", &block, &err), FG_NO_SPACE);
  assert_non_null(strstr(err.message, "everything"));
  assert_int_equal(fg_budget_used(unlimited), 0);
  fg_budget_destroy(unlimited);
}

static void test_peak_remembers_what_was_released(void **state) {
  fg_budget *budget = *state;
  assert_int_equal(fg_budget_reserve(budget, 700, "x", NULL), FG_OK);
  fg_budget_release(budget, 700);
  assert_int_equal(fg_budget_reserve(budget, 300, "x", NULL), FG_OK);
  assert_int_equal(fg_budget_used(budget), 300);
  assert_int_equal(fg_budget_peak(budget), 700);
}

static void test_blocks_are_zeroed_aligned_and_counted_in_pages(void **state) {
  fg_budget *budget = *state;
  static const uint64_t sizes[] = {0, 1, 4096, 4097, 100000};
  void *blocks[5];
  uint64_t total = 0;
  for (int i = 0; i < 5; i++) {
    assert_int_equal(fg_budget_alloc(budget, sizes[i], "block", &blocks[i], NULL), FG_OK);
    assert_int_equal((uintptr_t)blocks[i] % 4096, 0);
    uint64_t pages = sizes[i] ? (sizes[i] + 4095) / 4096 : 1;
    for (uint64_t j = 0; j < pages * 4096; j++) assert_int_equal(((char *)blocks[i])[j], 0);
    memset(blocks[i], 0xff, pages * 4096);
    total += pages * 4096;
    assert_int_equal(fg_budget_used(budget), total);
  }
  static const int order[] = {2, 0, 4, 1, 3};
  for (int i = 0; i < 5; i++) fg_budget_free(budget, blocks[order[i]]);
  fg_budget_free(budget, NULL);
  assert_int_equal(fg_budget_used(budget), 0);
  assert_int_equal(fg_budget_peak(budget), total);
}

static void test_freeing_gives_the_memory_back(void **state) {
  (void)state;
  enum { BYTES = 64 << 20 };
  fg_budget *budget;
  void *block;
  assert_int_equal(fg_budget_create(&budget, "host memory", NULL, 0, NULL), FG_OK);
  assert_int_equal(fg_budget_alloc(budget, BYTES, "block", &block, NULL), FG_OK);
  memset(block, 1, BYTES);
  uint64_t full = fg_process_rss();
  fg_budget_free(budget, block);
  uint64_t empty = fg_process_rss();
  fg_budget_destroy(budget);
  assert_true(empty + BYTES / 2 < full);
  assert_true(fg_process_peak_rss() + BYTES / 8 >= full); // the kernel counts in batches
}

static void reserve_and_release(void *arg, uint32_t item, uint32_t thread) {
  (void)thread;
  fg_budget *budget = arg;
  for (uint32_t i = 0; i < 2000; i++) {
    uint64_t bytes = (item * 7919 + i * 104729) % (LIMIT / 2);
    if (fg_budget_reserve(budget, bytes, "race", NULL) == FG_OK) fg_budget_release(budget, bytes);
    void *block;
    if (i % 100 == 0 && fg_budget_alloc(budget, 8192, "race", &block, NULL) == FG_OK) {
      memset(block, (int)item, 8192);
      fg_budget_free(budget, block);
    }
  }
}

static void test_threads_together_never_pass_the_limit(void **state) {
  fg_budget *budget = *state;
  fg_threads *threads;
  assert_int_equal(fg_threads_create(&threads, 4, NULL), FG_OK);
  fg_threads_run(threads, 8, reserve_and_release, budget);
  fg_threads_destroy(threads);
  assert_int_equal(fg_budget_used(budget), 0);
  assert_true(fg_budget_peak(budget) <= LIMIT && fg_budget_peak(budget) > 0);
}

static void test_the_machine_has_memory(void **state) {
  (void)state;
  uint64_t physical = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
  uint64_t available = fg_machine_memory_available();
  assert_true(available > 0 && available <= physical);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_refusal_tells_who_how_much_and_the_flag, setup, teardown),
      cmocka_unit_test_setup_teardown(test_no_sum_overflows, setup, teardown),
      cmocka_unit_test(test_what_the_system_refuses_is_not_counted),
      cmocka_unit_test_setup_teardown(test_peak_remembers_what_was_released, setup, teardown),
      cmocka_unit_test_setup_teardown(test_blocks_are_zeroed_aligned_and_counted_in_pages, setup, teardown),
      cmocka_unit_test(test_freeing_gives_the_memory_back),
      cmocka_unit_test_setup_teardown(test_threads_together_never_pass_the_limit, setup, teardown),
      cmocka_unit_test(test_the_machine_has_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
