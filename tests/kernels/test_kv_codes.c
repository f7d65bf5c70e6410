// Rows of a cache as codes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "sequence.h"
#include "variants.h"

static const fg_dtype types[] = {FG_I8G64M, FG_I4G64M};
static const uint32_t widths[] = {16, 32, 48, 64, 80, 96, 112, 128, 144, 256};
enum { TYPES = sizeof types / sizeof *types, WIDTHS = sizeof widths / sizeof *widths, MOST_WIDTH = 256 };

// Rows as they come, far from zero, with an outlier, constant, tiny, and huge.
enum { KINDS = 6 };
static void fill_row(uint64_t *state, int kind, uint32_t width, float *x) {
  float *noise = random_floats(state, width);
  for (uint32_t i = 0; i < width; i++) {
    const float kinds[KINDS] = {noise[i], 30 + noise[i],    i == width / 3 ? -100 : noise[i],
                                -0.7f,    1e-6f * noise[i], 6e4f * noise[i]};
    x[i] = kinds[kind];
  }
  free(noise);
}

// The nearest code is at most half a step away. Scale and minimum have 11 bits: they move the ends of the
// range by 2^-11 of its size and of its start, or by what a subnormal number has, and what is cut off there
// is lost.
static double bound(const float *x, uint32_t count, uint32_t most) {
  double low = x[0], high = x[0];
  for (uint32_t i = 1; i < count; i++) low = fmin(low, x[i]), high = fmax(high, x[i]);
  double step = (high - low) / most, ends = (fabs(low) + (high - low)) / 2048, least = (most + 1) * 0x1p-25;
  return step / 2 + ends + least;
}

static void test_codes_are_as_near_as_scale_and_minimum_allow(void **state) {
  (void)state;
  uint64_t random = 17;
  fg_kernels reference;
  fg_kernels_init(&reference, 0);
  for (int t = 0; t < TYPES; t++)
    for (int w = 0; w < WIDTHS; w++)
      for (int kind = 0; kind < KINDS; kind++) {
        float x[MOST_WIDTH], got[MOST_WIDTH];
        uint8_t row[2 * MOST_WIDTH];
        uint32_t most = (1u << fg_dtype_get(types[t])->bits) - 1;
        fill_row(&random, kind, widths[w], x);
        reference.to_cache[types[t]](x, row, widths[w]);
        get_row(types[t], row, widths[w], got);
        for (uint32_t i = 0; i < widths[w]; i++) {
          uint32_t group = i / 64 * 64, left = widths[w] - group;
          double error = fabs((double)got[i] - x[i]), may = bound(x + group, left < 64 ? left : 64, most);
          if (!(error <= may))
            fail_msg("%s, width %u, kind %d: [%u] %g became %g, %g allowed", fg_dtype_get(types[t])->name,
                     widths[w], kind, i, x[i], got[i], may);
        }
      }
}

static void test_every_variant_writes_the_same_bytes(void **state) {
  (void)state;
  uint64_t random = 18;
  fg_kernels tables[MAX_VARIANTS];
  int variants = kernel_variants(tables);
  for (int t = 0; t < TYPES; t++)
    for (int w = 0; w < WIDTHS; w++)
      for (int kind = 0; kind < 2 * KINDS; kind++) {
        float x[MOST_WIDTH];
        uint8_t want[2 * MOST_WIDTH], got[2 * MOST_WIDTH];
        size_t bytes = fg_kv_row_bytes(types[t], widths[w]);
        fill_row(&random, kind % KINDS, widths[w], x);
        if (kind >= KINDS) x[3] = NAN, x[5] = INFINITY, x[9] = kind % 2 ? -INFINITY : 0;
        tables[0].to_cache[types[t]](x, want, widths[w]);
        for (int v = 1; v < variants; v++) {
          memset(got, 0xff, sizeof got);
          tables[v].to_cache[types[t]](x, got, widths[w]);
          assert_memory_equal(got, want, bytes);
          assert_int_equal(got[bytes], 0xff); // not beyond the row
        }
      }
}

// A group of no numbers, and one with infinite ends, must not make a NaN of its neighbours.
static void test_what_is_no_number_stays_in_its_group(void **state) {
  (void)state;
  fg_kernels reference;
  fg_kernels_init(&reference, 0);
  for (int t = 0; t < TYPES; t++) {
    float x[128], got[128];
    uint8_t row[256];
    for (int i = 0; i < 128; i++) x[i] = i < 64 ? NAN : i == 64 ? INFINITY : i == 65 ? -INFINITY : 1;
    reference.to_cache[types[t]](x, row, 128);
    get_row(types[t], row, 128, got);
    for (int i = 0; i < 128; i++) assert_true(isfinite(got[i]));
    for (int i = 0; i < 64; i++) assert_true(got[i] == 0);
  }
}

static void test_a_row_of_codes_is_a_multiple_of_16_long(void **state) {
  (void)state;
  assert_int_equal(fg_kv_row_bytes(FG_I4G64M, 64), 36);
  assert_int_equal(fg_kv_row_bytes(FG_I8G64M, 64), 68);
  assert_int_equal(fg_kv_row_bytes(FG_I4G64M, 80), 48);
  assert_int_equal(fg_kv_row_bytes(FG_I8G64M, 80), 88);
  assert_int_equal(fg_kv_row_bytes(FG_I8G64M, 20), 0);
  assert_int_equal(fg_kv_row_bytes(FG_Q4_0, 64), 0); // has no minimum
  assert_int_equal(fg_kv_row_bytes(FG_BF16, 20), 40);
}

// Values that are the beginning of the keys take no room of their own.
static void test_values_in_keys_take_no_room(void **state) {
  (void)state;
  const fg_kv_geometry kv = {2, 576, 512, 16, FG_BF16, true, 0}, apart = {2, 576, 512, 16, FG_BF16, false, 0};
  assert_int_equal(fg_kv_page_bytes(&kv), 2 * 16 * 576 * 2);
  assert_int_equal(fg_kv_page_bytes(&apart), 2 * 16 * (576 + 512) * 2);
  assert_int_equal(fg_kv_value_offset(&kv, 1, 3), fg_kv_key_offset(&kv, 1, 3));
}

// Pages on disk are whole blocks; where their rows are does not change.
static void test_padding_of_pages_moves_no_row(void **state) {
  (void)state;
  const fg_kv_geometry plain = {3, 64, 64, 32, FG_I4G64M, false, 0},
                       padded = {3, 64, 64, 32, FG_I4G64M, false, 4096};
  assert_int_equal(fg_kv_page_bytes(&plain), 2 * 3 * 32 * 36);
  assert_int_equal(fg_kv_page_bytes(&padded), 2 * 4096);
  assert_int_equal(fg_kv_value_offset(&padded, 2, 31), fg_kv_value_offset(&plain, 2, 31));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_codes_are_as_near_as_scale_and_minimum_allow),
      cmocka_unit_test(test_every_variant_writes_the_same_bytes),
      cmocka_unit_test(test_what_is_no_number_stays_in_its_group),
      cmocka_unit_test(test_a_row_of_codes_is_a_multiple_of_16_long),
      cmocka_unit_test(test_values_in_keys_take_no_room),
      cmocka_unit_test(test_padding_of_pages_moves_no_row),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
