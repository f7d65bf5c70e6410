// The order in which rows run: the longest first, and what begins alike together.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "plan/row_order.h"

enum { MOST = 64 };

static void find(const fg_row_length *rows, uint32_t count, fg_row_order wish, uint32_t *order,
                 uint32_t *shared) {
  fg_error err;
  if (fg_row_order_find(order, shared, rows, count, wish, &err) != FG_OK) fail_msg("%s", err.message);
}

static void assert_order(const fg_row_length *rows, uint32_t count, fg_row_order wish,
                         const uint32_t *expected, const uint32_t *expected_shared) {
  uint32_t order[MOST], shared[MOST];
  find(rows, count, wish, order, shared);
  for (uint32_t i = 0; i < count; i++) {
    assert_int_equal(order[i], expected[i]);
    assert_int_equal(shared[i], expected_shared[i]);
  }
}

static void test_rows_stay_as_they_come(void **state) {
  (void)state;
  const fg_row_length rows[] = {{5, 1, 0, false, 0}, {5, 9, 3, false, 0}, {7, 4, 2, false, 0}};
  assert_order(rows, 3, FG_ORDER_INPUT, (uint32_t[]){0, 1, 2}, (uint32_t[]){0, 3, 2});
}

static void test_rows_that_generate_most_come_first(void **state) {
  (void)state;
  const fg_row_length rows[] = {{5, 1, 0, false, 0},
                                {5, 9, 0, false, 0},
                                {7, 4, 0, false, 0},
                                {8, 4, 0, false, 0},
                                {8, 4, 0, false, 0}};
  assert_order(rows, 5, FG_ORDER_LONGEST, (uint32_t[]){1, 3, 4, 2, 0}, (uint32_t[]){0, 0, 0, 0, 0});
}

// Two instructions of 10 tokens; under the second one an example of 20 that two rows share.
static void test_what_begins_alike_stays_together(void **state) {
  (void)state;
  const fg_row_length rows[] = {{30, 5, 0, false, 0},
                                {30, 6, 10, false, 0},
                                {30, 1, 0, false, 0},
                                {30, 2, 10, false, 0},
                                {30, 7, 20, false, 0}};
  assert_order(rows, 5, FG_ORDER_LONGEST, (uint32_t[]){4, 3, 2, 1, 0}, (uint32_t[]){0, 20, 10, 0, 10});
}

// Rows of random trees as strings; what is said to be shared is compared with the strings.
static uint32_t common_of(const char *a, const char *b) {
  uint32_t n = 0;
  while (a[n] && a[n] == b[n]) n++;
  return n;
}

typedef char text[8];

static int compare_texts(const void *a, const void *b) {
  for (int i = 0; i < 8; i++) {
    const int d = ((const char *)a)[i] - ((const char *)b)[i];
    if (d) return d;
  }
  return 0;
}

static void random_rows(unsigned *seed, text *texts, fg_row_length *rows) {
  for (int i = 0; i < MOST; i++)
    for (int c = 0; c < 8; c++) texts[i][c] = (char)(c < 7 ? 'a' + rand_r(seed) % 2 : 0);
  qsort(texts, MOST, sizeof *texts, compare_texts);
  for (int i = 0; i < MOST; i++)
    rows[i] = (fg_row_length){.prompt = 7,
                              .generated = (uint32_t)rand_r(seed) % 50,
                              .shared = i ? common_of(texts[i - 1], texts[i]) : 0};
}

static void test_nothing_that_is_shared_is_lost(void **state) {
  (void)state;
  for (unsigned seed = 1; seed <= 50; seed++) {
    unsigned random = seed;
    text texts[MOST];
    fg_row_length rows[MOST];
    uint32_t order[MOST], shared[MOST], seen[MOST] = {0}, before = 0, after = 0;
    random_rows(&random, texts, rows);
    find(rows, MOST, FG_ORDER_LONGEST, order, shared);
    for (uint32_t i = 0; i < MOST; i++) {
      const uint32_t expected = i ? common_of(texts[order[i - 1]], texts[order[i]]) : 0;
      if (shared[i] != expected) fail_msg("seed %u: row %u shares %u, not %u", seed, i, expected, shared[i]);
      seen[order[i]]++;
      before += rows[i].shared;
      after += shared[i];
    }
    for (uint32_t i = 0; i < MOST; i++) assert_int_equal(seen[i], 1);
    if (before != after) fail_msg("seed %u: %u tokens shared, before %u", seed, after, before);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_rows_stay_as_they_come),
      cmocka_unit_test(test_rows_that_generate_most_come_first),
      cmocka_unit_test(test_what_begins_alike_stays_together),
      cmocka_unit_test(test_nothing_that_is_shared_is_lost),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
