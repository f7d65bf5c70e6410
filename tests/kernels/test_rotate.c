// Rows turned by Hadamard matrices: their own inverses, and kind to codes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "kernels/kernels.h"
#include "kernels/rotate.h"
#include "random.h"

static const uint32_t dims[] = {16, 32, 48, 64, 80, 96, 112, 128, 256, 576};
enum { DIMS = sizeof dims / sizeof *dims, LONGEST = 576 };

static uint32_t bits_of(uint32_t x) {
  uint32_t bits = 0;
  for (; x; x &= x - 1) bits++;
  return bits;
}

// Where the run of value i begins and how long it is: 64 each, then 32 and 16.
static uint32_t run_of(uint32_t dim, uint32_t i, uint32_t *order) {
  uint32_t whole = dim / 64 * 64, rest = dim - whole;
  if (i < whole) {
    *order = 64;
    return i / 64 * 64;
  }
  bool in_32 = rest >= 32 && i < whole + 32;
  *order = in_32 ? 32 : 16;
  return rest >= 32 && !in_32 ? whole + 32 : whole;
}

// Sylvester's matrix has (-1)^(bits of i & j) in row i and column j.
static void test_is_the_matrix(void **state) {
  (void)state;
  uint64_t seed = 4;
  for (int d = 0; d < DIMS; d++) {
    float *x = random_floats(&seed, dims[d]), y[LONGEST];
    memcpy(y, x, dims[d] * sizeof *x);
    fg_rotate_row(y, dims[d]);
    for (uint32_t i = 0; i < dims[d]; i++) {
      uint32_t order, run = run_of(dims[d], i, &order);
      double want = 0;
      for (uint32_t j = 0; j < order; j++)
        want += bits_of((i - run) & j) % 2 ? -(double)x[run + j] : x[run + j];
      assert_true(fabs(y[i] - want / sqrt(order)) < 1e-6);
    }
    free(x);
  }
}

static void test_is_its_own_inverse_and_keeps_products(void **state) {
  (void)state;
  uint64_t seed = 5;
  for (int d = 0; d < DIMS; d++) {
    float *x = random_floats(&seed, dims[d]), *z = random_floats(&seed, dims[d]), y[LONGEST];
    double before = 0, after = 0;
    memcpy(y, x, dims[d] * sizeof *x);
    for (uint32_t i = 0; i < dims[d]; i++) before += (double)x[i] * z[i];
    fg_rotate_row(y, dims[d]), fg_rotate_row(z, dims[d]);
    for (uint32_t i = 0; i < dims[d]; i++) after += (double)y[i] * z[i];
    assert_true(fabs(after - before) < 1e-5);
    fg_rotate_row(y, dims[d]);
    for (uint32_t i = 0; i < dims[d]; i++) assert_true(fabs(y[i] - x[i]) < 1e-6);
    free(x), free(z);
  }
}

static double error_of(const fg_kernels *k, const float *x, bool rotated) {
  uint8_t codes[64];
  float y[64], back[64];
  memcpy(y, x, sizeof y);
  if (rotated) fg_rotate_row(y, 64);
  k->to_cache[FG_I4G64M](y, codes, 64);
  for (int i = 0; i < 64; i++) {
    float d, m;
    fg_dtype_get(FG_F16)->to_f32(codes, &d, 1);
    fg_dtype_get(FG_F16)->to_f32(codes + 2, &m, 1);
    back[i] = d * (float)(codes[4 + i / 16 * 8 + i % 8] >> i % 16 / 8 * 4 & 15) + m;
  }
  if (rotated) fg_rotate_row(back, 64);
  double sum = 0;
  for (int i = 0; i < 64; i++) sum += ((double)back[i] - x[i]) * ((double)back[i] - x[i]);
  return sqrt(sum / 64);
}

// A channel of twenty times the others costs them most of their 4 bits, and a third of that when it is
// spread.
static void test_a_large_channel_costs_the_others_less(void **state) {
  (void)state;
  fg_kernels k;
  fg_kernels_init(&k, 0);
  uint64_t seed = 6;
  for (int round = 0; round < 20; round++) {
    float *x = random_floats(&seed, 64);
    x[round * 3] = round % 2 ? 20 : -20;
    double plain = error_of(&k, x, false), rotated = error_of(&k, x, true);
    if (!(rotated < plain * 0.6)) fail_msg("round %d: %g, %g without", round, rotated, plain);
    free(x);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_is_the_matrix),
      cmocka_unit_test(test_is_its_own_inverse_and_keeps_products),
      cmocka_unit_test(test_a_large_channel_costs_the_others_less),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
