// The look-ups of a profile, on tables that are made up so that every answer is known.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "device/device.h"
#include "plan/profile.h"

// Half a nanosecond to read a weight, a tenth to multiply it with a row.
static fg_profile_product product_of(fg_dtype dtype, int compute, uint32_t k, double factor) {
  fg_profile_product p = {.dtype = dtype, .compute = compute, .k = k};
  for (uint32_t i = 0; i < FG_PROFILE_ROW_POINTS; i++)
    p.seconds[i] = factor * (0.5e-9 + 0.1e-9 * fg_profile_rows[i]);
  return p;
}

static void fill(fg_profile *p) {
  *p = (fg_profile){.product_count = 5, .attention_count = 4};
  p->products[0] = product_of(FG_BF16, FG_COMPUTE_BF16, 512, 2);
  p->products[1] = product_of(FG_BF16, FG_COMPUTE_BF16, 2048, 1);
  p->products[2] = product_of(FG_I4G64M, FG_COMPUTE_INT8, 2048, 0.25);
  p->products[3] = product_of(FG_Q8_0, FG_COMPUTE_INT8, 2048, 0.5);
  p->products[4] = product_of(FG_Q4_K, FG_COMPUTE_BF16, 2048, 3);
  p->attentions[0] = (fg_profile_attention){FG_BF16, 64, 1, 10e-9, 4e-9};
  p->attentions[1] = (fg_profile_attention){FG_BF16, 64, 4, 20e-9, 2e-9};
  p->attentions[2] = (fg_profile_attention){FG_BF16, 128, 1, 20e-9, 8e-9};
  p->attentions[3] = (fg_profile_attention){FG_I4G64M, 64, 1, 5e-9, 6e-9};
}

#define assert_near(a, b) assert_true(fabs((a) - (b)) <= 1e-9 * fabs(b))

static double bf16(const fg_profile *p, uint32_t k, double rows) {
  return fg_profile_product_seconds(p, FG_BF16, FG_COMPUTE_BF16, k, 1, rows);
}

static void test_products_are_exact_at_measured_points(void **state) {
  (void)state;
  fg_profile p;
  fill(&p);
  for (uint32_t i = 0; i < FG_PROFILE_ROW_POINTS; i++) {
    assert_near(bf16(&p, 512, fg_profile_rows[i]), p.products[0].seconds[i]);
    assert_near(bf16(&p, 2048, fg_profile_rows[i]), p.products[1].seconds[i]);
  }
  double million = fg_profile_product_seconds(&p, FG_BF16, FG_COMPUTE_BF16, 2048, 1e6, 64);
  assert_near(million, 1e6 * p.products[1].seconds[9]);
}

static void test_products_never_get_cheaper_with_rows(void **state) {
  (void)state;
  fg_profile p;
  fill(&p);
  double before = 0;
  for (double rows = 0.25; rows < 5000; rows *= 1.01) {
    double now = bf16(&p, 900, rows);
    assert_true(now >= before);
    before = now;
  }
}

// Few rows by one kernel, many by another one that is four times as fast: between the two the time only
// grows, and it
// stays near what whole blocks of 16 rows take.
static void test_a_kernel_that_takes_over_makes_no_step_cheaper(void **state) {
  (void)state;
  fg_profile p = {.product_count = 1};
  p.products[0] = (fg_profile_product){.dtype = FG_BF16, .compute = FG_COMPUTE_BF16, .k = 2048};
  for (uint32_t i = 0; i < FG_PROFILE_ROW_POINTS; i++) {
    const double rows = fg_profile_rows[i];
    p.products[0].seconds[i] = 1e-9 * (rows <= 12 ? rows : ceil(rows / 16) * 4 + 8);
  }
  double before = 0;
  for (uint32_t rows = 1; rows <= 2048; rows++) {
    const double now = bf16(&p, 2048, rows), real = 1e-9 * (rows <= 12 ? rows : ceil(rows / 16.0) * 4 + 8);
    assert_true(now >= before);
    assert_true(now <= 1.03 * real || rows < 16);
    assert_true(now >= 0.74 * real);
    before = now;
  }
}

static void test_products_between_points_lie_between_them(void **state) {
  (void)state;
  fg_profile p;
  fill(&p);
  for (uint32_t rows = 1; rows < 2048; rows++) {
    // Of a sum of a constant and a line, the straight line between two powers of two is within a few percent.
    double real = 0.5e-9 + 0.1e-9 * rows;
    assert_true(fabs(bf16(&p, 2048, rows) / real - 1) < 0.06);
  }
  assert_near(bf16(&p, 1024, 8), sqrt(bf16(&p, 512, 8) * bf16(&p, 2048, 8)));
}

static void test_products_beyond_the_points_go_on_at_their_rate(void **state) {
  (void)state;
  fg_profile p;
  fill(&p);
  assert_near(bf16(&p, 2048, 8192), 4 * bf16(&p, 2048, 2048));
  assert_near(bf16(&p, 2048, 0.2), bf16(&p, 2048, 1));
  assert_near(bf16(&p, 65536, 16), bf16(&p, 2048, 16));
  assert_near(bf16(&p, 64, 16), bf16(&p, 512, 16));
  assert_true(bf16(&p, 2048, 0) == 0);
}

static void test_products_take_longer_in_a_step(void **state) {
  (void)state;
  fg_profile p;
  fill(&p);
  assert_near(fg_profile_in_step(&p, FG_COMPUTE_BF16, 64), 1.0); // not measured
  p.in_step[FG_COMPUTE_BF16][0] = 2, p.in_step[FG_COMPUTE_BF16][1] = 1;
  assert_near(fg_profile_in_step(&p, FG_COMPUTE_BF16, 1), 2.0);
  assert_near(fg_profile_in_step(&p, FG_COMPUTE_BF16, 64), sqrt(2)); // half way from 16 to 256 rows
  assert_near(fg_profile_in_step(&p, FG_COMPUTE_BF16, 4096), 1.0);
  assert_near(fg_profile_in_step(&p, FG_COMPUTE_F32, 1), 1.0);
}

static void test_the_nearest_kernel_stands_for_one_that_was_not_measured(void **state) {
  (void)state;
  fg_profile p;
  fill(&p);
  static const struct {
    fg_dtype dtype;
    int compute;
    uint32_t entry;
  } rows[] = {
      {FG_Q4_0, FG_COMPUTE_INT8, 2},                                  // codes of 4 bits
      {FG_I8G128, FG_COMPUTE_INT8, 3},                                // codes of 8 bits
      {FG_I8G64, FG_COMPUTE_INT8, 3},  {FG_Q6_K, FG_COMPUTE_BF16, 4}, // blocks that are expanded
      {FG_Q6_K, FG_COMPUTE_INT8, 4},                                  // are expanded in int8 too
      {FG_F16, FG_COMPUTE_BF16, 1},    {FG_BF16, FG_COMPUTE_INT8, 1},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    assert_near(fg_profile_product_seconds(&p, rows[i].dtype, rows[i].compute, 2048, 1, 4),
                p.products[rows[i].entry].seconds[2]);
}

static fg_kv_geometry geometry(uint32_t kv_heads, uint32_t dim, fg_dtype dtype) {
  return (fg_kv_geometry){
      .kv_heads = kv_heads, .k_dim = dim, .v_dim = dim, .page_tokens = 32, .dtype = dtype};
}

static void test_attention_is_exact_at_measured_points(void **state) {
  (void)state;
  fg_profile p;
  fill(&p);
  fg_kv_geometry kv = geometry(8, 64, FG_BF16);
  assert_near(fg_profile_decode_seconds(&p, &kv, 8, 100), 100 * 8 * 10e-9);
  assert_near(fg_profile_decode_seconds(&p, &kv, 32, 100), 100 * 8 * 20e-9);
  assert_near(fg_profile_prefill_seconds(&p, &kv, 32, 100), 100 * 32 * 2e-9);
  kv = geometry(8, 128, FG_BF16);
  assert_near(fg_profile_decode_seconds(&p, &kv, 8, 100), 100 * 8 * 20e-9);
}

static void test_attention_between_and_beyond_points(void **state) {
  (void)state;
  fg_profile p;
  fill(&p);
  fg_kv_geometry kv = geometry(2, 64, FG_BF16);
  assert_near(fg_profile_decode_seconds(&p, &kv, 4, 1), 2 * sqrt(10e-9 * 20e-9)); // group 2
  assert_near(fg_profile_decode_seconds(&p, &kv, 16, 1), 2 * 2 * 20e-9);          // group 8
  assert_near(fg_profile_prefill_seconds(&p, &kv, 16, 1), 16 * 2e-9);             // a head costs the same
  kv = geometry(2, 256, FG_BF16);
  assert_near(fg_profile_decode_seconds(&p, &kv, 2, 1), 2 * 2 * 20e-9); // twice the size
  kv = geometry(2, 96, FG_BF16);
  double middle = fg_profile_decode_seconds(&p, &kv, 2, 1);
  assert_true(middle > 2 * 10e-9 && middle < 2 * 20e-9);
  kv = geometry(2, 64, FG_BF16);
  kv.v_dim = 32;
  assert_near(fg_profile_decode_seconds(&p, &kv, 2, 1), 2 * 0.75 * 10e-9);
}

static void test_attention_takes_the_nearest_cache(void **state) {
  (void)state;
  fg_profile p;
  fill(&p);
  fg_kv_geometry kv = geometry(1, 64, FG_I8G64M);
  assert_near(fg_profile_decode_seconds(&p, &kv, 1, 1), 5e-9);
  kv.dtype = FG_F16;
  assert_near(fg_profile_decode_seconds(&p, &kv, 1, 1), 10e-9);
}

static void test_an_empty_table_costs_nothing(void **state) {
  (void)state;
  fg_profile p = {0};
  fg_kv_geometry kv = geometry(8, 64, FG_BF16);
  assert_true(bf16(&p, 2048, 16) == 0);
  assert_true(fg_profile_decode_seconds(&p, &kv, 8, 1000) == 0);
  assert_true(fg_profile_prefill_seconds(&p, &kv, 8, 1000) == 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_products_are_exact_at_measured_points),
      cmocka_unit_test(test_products_never_get_cheaper_with_rows),
      cmocka_unit_test(test_a_kernel_that_takes_over_makes_no_step_cheaper),
      cmocka_unit_test(test_products_between_points_lie_between_them),
      cmocka_unit_test(test_products_beyond_the_points_go_on_at_their_rate),
      cmocka_unit_test(test_products_take_longer_in_a_step),
      cmocka_unit_test(test_the_nearest_kernel_stands_for_one_that_was_not_measured),
      cmocka_unit_test(test_attention_is_exact_at_measured_points),
      cmocka_unit_test(test_attention_between_and_beyond_points),
      cmocka_unit_test(test_attention_takes_the_nearest_cache),
      cmocka_unit_test(test_an_empty_table_costs_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
