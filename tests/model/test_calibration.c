// Means of squares by channel and by segment, and what of them is no use; none of it depends on the rows'
// order.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/calibration.h"

enum { K = 3, STRIDE = 7 };

static const fg_weight weights[] = {
    {.name = "prologue.embed", .kind = FG_WEIGHT_TABLE, .n = 5, .k = K},
    {.name = "layers.0.qkv", .kind = FG_WEIGHT_MATRIX, .n = 4, .k = K},
    {.name = "layers.0.norm", .kind = FG_WEIGHT_VECTOR, .n = 4, .k = 1},
    {.name = "layers.0.heads", .kind = FG_WEIGHT_MATRIX, .n = 4, .k = K, .segments = 2},
    {.name = "layers.0.e7.down", .kind = FG_WEIGHT_MATRIX, .n = 4, .k = K},
};
enum { WEIGHTS = sizeof weights / sizeof *weights };

static const float rows[][STRIDE] = {{1, -2, 3, 0.5f, 10, 0, -1}, {3, 0, 1e-3f, -0.5f, 20, 0, 1}};

static fg_calibration create(void) {
  fg_calibration c;
  assert_int_equal(fg_calibration_create(&c, weights, WEIGHTS, 9, NULL), FG_OK);
  return c;
}

static void test_only_matrices_have_items(void **state) {
  (void)state;
  fg_calibration c = create();
  assert_int_equal(c.count, 3);
  assert_true(c.key == 9);
  for (uint32_t near = 0; near < 8; near++) {
    assert_ptr_equal(fg_calibration_find(&c, "layers.0.heads", near), &c.items[1]);
    assert_null(fg_calibration_find(&c, "prologue.embed", near));
  }
  fg_calibration_free(&c);
}

static void test_means_are_of_squares_channel_by_channel(void **state) {
  (void)state;
  fg_calibration c = create();
  fg_calibration_item *item = &c.items[0];
  fg_calibration_add(item, 0, rows[0], 1, STRIDE);
  fg_calibration_add(item, 0, rows[1], 1, STRIDE);
  assert_int_equal(fg_calibration_finish(&c, NULL), FG_OK);
  assert_true(item->means[0] == 5 && item->means[1] == 2 && item->means[2] == 4.5f);
  fg_calibration_free(&c);
}

static void test_segments_have_inputs_of_their_own(void **state) {
  (void)state;
  fg_calibration c = create();
  fg_calibration_item *item = &c.items[1];
  fg_calibration_add(item, 0, rows[0], 2, STRIDE);
  fg_calibration_add(item, 1, rows[0] + 4, 2, STRIDE);
  assert_int_equal(item->rows, 2);
  assert_int_equal(fg_calibration_finish(&c, NULL), FG_OK);
  assert_true(item->means[0] == 5 && item->means[K] == 250 && item->means[K + 1] == 0 &&
              item->means[K + 2] == 1);
  fg_calibration_free(&c);
}

static void test_what_says_nothing_has_no_means(void **state) {
  (void)state;
  fg_calibration c = create();
  const float infinite[K] = {1, INFINITY, 2}, nothing[K] = {0};
  fg_calibration_add(&c.items[0], 0, infinite, 1, K);
  fg_calibration_add(&c.items[1], 0, nothing, 1, K);
  assert_int_equal(fg_calibration_finish(&c, NULL), FG_OK);
  for (uint32_t i = 0; i < c.count; i++) assert_null(c.items[i].means);
  fg_calibration_free(&c);
}

static void test_order_of_rows_leaves_no_trace(void **state) {
  (void)state;
  enum { ROWS = 1000 };
  float *x = calloc(ROWS, K * sizeof *x);
  fg_calibration a = create(), b = create();
  for (uint32_t i = 0; i < ROWS * K; i++)
    x[i] = ldexpf((float)(i * 2654435761u % 1000003), (int)(i % 40) - 20);
  for (uint32_t r = 0; r < ROWS; r++) {
    fg_calibration_add(&a.items[0], 0, x + r * K, 1, K);
    fg_calibration_add(&b.items[0], 0, x + (ROWS - 1 - r) * K, 1, K);
  }
  assert_int_equal(fg_calibration_finish(&a, NULL), FG_OK);
  assert_int_equal(fg_calibration_finish(&b, NULL), FG_OK);
  assert_memory_equal(a.items[0].means, b.items[0].means, K * sizeof(float));
  fg_calibration_free(&a);
  fg_calibration_free(&b);
  free(x);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_only_matrices_have_items),
      cmocka_unit_test(test_means_are_of_squares_channel_by_channel),
      cmocka_unit_test(test_segments_have_inputs_of_their_own),
      cmocka_unit_test(test_what_says_nothing_has_no_means),
      cmocka_unit_test(test_order_of_rows_leaves_no_trace),
  };
  return cmocka_run_group_tests_name("calibration", tests, NULL, NULL);
}
