// Quantized groups of every type against sums in double precision: what is stored expands exactly, each value
// takes the nearest code, and four bits lose less than their range rounded naively would.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/dtype.h"
#include "tensor/groups.h"
#include "tensor/half.h"

enum { VALUES = 4096, ROW = 512 };

static const fg_dtype types[] = {
    FG_Q8_0,    FG_Q4_0,  FG_Q4_1,   FG_I4G64,  FG_I4G128, FG_I4G256, FG_I4G64M,  FG_I4G128M,
    FG_I4G256M, FG_I8G64, FG_I8G128, FG_I8G256, FG_I8G32M, FG_I8G64M, FG_I8G128M, FG_I8G256M,
};
enum { TYPES = sizeof types / sizeof *types };

typedef struct buffers {
  float values[VALUES], back[VALUES];
  uint8_t packed[VALUES * 2];
} buffers;

static int setup(void **state) {
  *state = calloc(1, sizeof(buffers));
  return *state ? 0 : -1;
}

static int teardown(void **state) {
  free(*state);
  return 0;
}

static uint64_t random_bits(uint64_t *seed) {
  *seed += 0x9e3779b97f4a7c15u;
  uint64_t z = (*seed ^ (*seed >> 30)) * 0xbf58476d1ce4e5b9u;
  return z ^ (z >> 29);
}

// Near to Gaussian, deviation 0.02, as weights are; about `mean`.
static void fill(float *x, size_t count, float mean, uint64_t seed) {
  for (size_t i = 0; i < count; i++) {
    double sum = 0;
    for (int j = 0; j < 12; j++) sum += (double)(random_bits(&seed) >> 40) * 0x1p-24;
    x[i] = mean + 0.02f * (float)(sum - 6);
  }
}

// ---- what is stored, read by the words of groups.h -----------------------------------------------------

typedef struct stored {
  double d, m;        // w = d code + m
  double codes[256];  // zero point taken off
  double least, most; // such codes
} stored;

static double half_at(const uint8_t *p) {
  uint16_t h;
  memcpy(&h, p, 2);
  return (double)fg_f16_to_f32(h);
}

static void read_group(const fg_dtype_info *type, const uint8_t *in, stored *s) {
  const double zero = type->bits == 4 && !type->minimum ? 8 : 0;
  s->d = half_at(in);
  s->m = type->minimum ? half_at(in + 2) : 0;
  s->least = type->minimum ? 0 : type->bits == 8 ? -127 : -8;
  s->most = type->minimum ? (type->bits == 8 ? 255 : 15) : type->bits == 8 ? 127 : 7;
  in += type->minimum ? 4 : 2;
  for (uint32_t i = 0; i < type->block; i++) {
    uint32_t run = i / 32, j = i % 32;
    uint8_t byte = type->bits == 8 ? in[i] : in[run * 16 + j % 16];
    int code = type->bits == 4 ? (j < 16 ? byte & 15 : byte >> 4) : type->minimum ? byte : (int8_t)byte;
    s->codes[i] = code - zero;
  }
}

static void test_bytes_expand_by_the_words_of_the_header(void **state) {
  buffers *b = *state;
  for (int t = 0; t < TYPES; t++) {
    const fg_dtype_info *type = fg_dtype_get(types[t]);
    uint64_t seed = 7;
    for (size_t i = 0; i < sizeof b->packed; i++) b->packed[i] = (uint8_t)(random_bits(&seed) >> 32);
    // Scales and minima of moderate size: their high bytes are 0x2c, 0xac.
    for (uint32_t g = 0; g < VALUES / type->block; g++) {
      b->packed[g * type->bytes + 1] = g % 2 ? 0x2c : 0xac;
      if (type->minimum) b->packed[g * type->bytes + 3] = 0x2d;
    }
    type->to_f32(b->packed, b->back, VALUES);
    for (uint32_t i = 0; i < VALUES; i++) {
      stored s;
      read_group(type, b->packed + i / type->block * type->bytes, &s);
      float scaled = (float)(s.d * s.codes[i % type->block]), want = (float)((double)scaled + s.m);
      if (b->back[i] != want) fail_msg("%s: %a, not %a at %u", type->name, b->back[i], want, i);
    }
  }
}

// ---- rounding --------------------------------------------------------------------------------------------

static void test_each_value_takes_the_nearest_code(void **state) {
  buffers *b = *state;
  for (int t = 0; t < TYPES; t++) {
    const fg_dtype_info *type = fg_dtype_get(types[t]);
    fill(b->values, VALUES, t % 2 ? 0.01f : 0, 11);
    type->from_f32(b->values, b->packed, VALUES);
    for (uint32_t i = 0; i < VALUES; i++) {
      stored s;
      read_group(type, b->packed + i / type->block * type->bytes, &s);
      double code = s.codes[i % type->block], wanted = ((double)b->values[i] - s.m) / s.d;
      assert_true(code >= s.least && code <= s.most);
      wanted = wanted < s.least ? s.least : wanted > s.most ? s.most : wanted;
      if (fabs(code - wanted) > 0.5001) fail_msg("%s: code %g for %g", type->name, code, wanted);
    }
  }
}

static double squared_error(const float *x, const float *y, size_t count) {
  double sum = 0;
  for (size_t i = 0; i < count; i++) sum += ((double)x[i] - y[i]) * ((double)x[i] - y[i]);
  return sum;
}

// The error when the range of the values is the range of the codes: GGUF's rounding.
static double error_of_the_range(const fg_dtype_info *type, const float *x, uint32_t count) {
  double low = x[0], high = x[0], sum = 0;
  for (uint32_t i = 0; i < count; i++) {
    low = fmin(low, (double)x[i]);
    high = fmax(high, (double)x[i]);
  }
  double least = type->minimum ? 0 : -8, most = least + 15, m = type->minimum ? low : 0;
  double d = type->minimum ? (high - low) / 15 : (-low > high ? low : high) / -8;
  for (uint32_t i = 0; i < count; i++) {
    double code = fmin(fmax(rint((x[i] - m) / d), least), most), rest = x[i] - (d * code + m);
    sum += rest * rest;
  }
  return sum;
}

static void test_four_bits_lose_less_than_their_range_would(void **state) {
  buffers *b = *state;
  for (int t = 0; t < TYPES; t++) {
    const fg_dtype_info *type = fg_dtype_get(types[t]);
    if (type->bits != 4) continue;
    fill(b->values, VALUES, 0, 13);
    type->from_f32(b->values, b->packed, VALUES);
    type->to_f32(b->packed, b->back, VALUES);
    double naive = 0, ours = squared_error(b->values, b->back, VALUES);
    for (uint32_t i = 0; i < VALUES; i += type->block)
      naive += error_of_the_range(type, b->values + i, type->block);
    if (ours > 0.95 * naive) fail_msg("%s: %.3f of the naive error", type->name, ours / naive);
  }
}

static void test_eight_bits_are_within_half_a_step(void **state) {
  buffers *b = *state;
  for (int t = 0; t < TYPES; t++) {
    const fg_dtype_info *type = fg_dtype_get(types[t]);
    if (type->bits != 8) continue;
    fill(b->values, VALUES, 0.01f, 17);
    type->from_f32(b->values, b->packed, VALUES);
    type->to_f32(b->packed, b->back, VALUES);
    for (uint32_t i = 0; i < VALUES; i++) {
      stored s;
      read_group(type, b->packed + i / type->block * type->bytes, &s);
      // The minimum and the scale are half floats: up to a step at the ends of the range.
      double step = fabs((double)b->values[i] - b->back[i]) / fabs(s.d);
      if (step > 0.7) fail_msg("%s: %g steps off", type->name, step);
    }
  }
}

static void test_a_row_has_one_scale_in_all_its_groups(void **state) {
  buffers *b = *state;
  for (int t = 0; t < TYPES; t++) {
    const fg_dtype_info *type = fg_dtype_get(types[t]);
    const uint32_t head = type->minimum ? 4 : 2, groups = ROW / type->block;
    fill(b->values, VALUES, 0, 19);
    b->values[ROW - 1] = 0.3f; // known to all groups of the first row
    fg_groups_from_f32((fg_group_form){type->bits, type->block, type->minimum}, ROW, b->values, b->packed,
                       VALUES);
    for (uint32_t g = 0; g < VALUES / type->block; g++)
      assert_memory_equal(b->packed + g * type->bytes, b->packed + g / groups * groups * type->bytes, head);
    assert_memory_not_equal(b->packed, b->packed + groups * type->bytes, head);
    type->to_f32(b->packed, b->back, VALUES);
    double sum = 0;
    for (int i = 0; i < VALUES; i++) sum += (double)b->values[i] * b->values[i];
    double part = squared_error(b->values, b->back, VALUES) / sum;
    if (part > (type->bits == 8 ? 1e-3 : 0.1)) fail_msg("%s: error %g", type->name, part);
  }
}

// ---- errors that do not count the same -------------------------------------------------------------------

// As activations are: most channels near to each other, a few far larger, some silent.
static void fill_importance(float *w, size_t count, uint64_t seed) {
  for (size_t i = 0; i < count; i++) {
    const uint64_t r = random_bits(&seed);
    w[i] = r % 17 == 0 ? 40 : r % 13 == 0 ? 0 : 0.1f + (float)(r >> 40) * 0x1p-24f;
  }
}

static double weighted_error(const float *x, const float *y, const float *w, size_t count) {
  double sum = 0;
  for (size_t i = 0; i < count; i++) sum += (double)w[i] * ((double)x[i] - y[i]) * ((double)x[i] - y[i]);
  return sum;
}

static void test_weighted_rounding_is_never_worse_than_the_other(void **state) {
  buffers *b = *state;
  static float importance[VALUES];
  double sums[2] = {0};
  for (int t = 0; t < TYPES; t++) {
    const fg_dtype_info *type = fg_dtype_get(types[t]);
    if (type->bits != 4) continue;
    const fg_group_form form = {type->bits, type->block, type->minimum};
    for (uint32_t span = type->block; span <= ROW; span += ROW - type->block) {
      fill(b->values, VALUES, t % 2 ? 0.01f : 0, 31);
      fill_importance(importance, VALUES, 37);
      double error[2][VALUES / 32];
      for (int weighted = 0; weighted < 2; weighted++) {
        if (weighted)
          fg_groups_from_f32_weighted(form, span, importance, b->values, b->packed, VALUES);
        else
          fg_groups_from_f32(form, span, b->values, b->packed, VALUES);
        type->to_f32(b->packed, b->back, VALUES);
        for (uint32_t i = 0; i < VALUES; i += span) {
          error[weighted][i / span] = weighted_error(b->values + i, b->back + i, importance + i, span);
          sums[weighted] += error[weighted][i / span];
        }
      }
      for (uint32_t i = 0; i < VALUES / span; i++)
        if (error[1][i] > error[0][i] * (1 + 1e-5))
          fail_msg("%s, span %u: %g, not %g", type->name, span, error[1][i], error[0][i]);
    }
  }
  if (sums[1] > 0.8 * sums[0]) fail_msg("%.3f of the unweighted error", sums[1] / sums[0]);
}

// All scales and minima of a fine grid around the range: what the search leaves is close to the best of them.
static double error_of_the_best(const fg_dtype_info *type, const float *x, const float *w) {
  float low = x[0], high = x[0];
  double least = INFINITY;
  for (uint32_t i = 0; i < type->block; i++) low = fminf(low, x[i]), high = fmaxf(high, x[i]);
  const int shifts = type->minimum ? 60 : 0;
  for (int size = 1; size <= 120; size++) {
    for (int shift = -shifts; shift <= shifts; shift++) {
      const double reach = type->minimum ? high - low : fmax(high, -low) * 2;
      const double d = reach / 15 * size / 100 * (!type->minimum && high > -low ? -1 : 1);
      const double m = type->minimum ? (low + high) / 2 - 7.5 * d + shift * reach / 200 : -8 * d;
      double sum = 0;
      for (uint32_t i = 0; i < type->block; i++) {
        const double code = fmin(fmax(rint((x[i] - m) / d), 0), 15), rest = x[i] - (d * code + m);
        sum += w[i] * rest * rest;
      }
      least = fmin(least, sum);
    }
  }
  return least;
}

static void test_weighted_rounding_is_near_the_best_of_all(void **state) {
  buffers *b = *state;
  enum { COUNT = 512 };
  float importance[COUNT];
  for (int t = 0; t < TYPES; t++) {
    const fg_dtype_info *type = fg_dtype_get(types[t]);
    if (type->bits != 4 || type->block > 64) continue;
    fill(b->values, COUNT, 0, 41);
    fill_importance(importance, COUNT, 43);
    fg_groups_from_f32_weighted((fg_group_form){4, type->block, type->minimum}, type->block, importance,
                                b->values, b->packed, COUNT);
    type->to_f32(b->packed, b->back, COUNT);
    double ours = weighted_error(b->values, b->back, importance, COUNT), best = 0;
    for (uint32_t i = 0; i < COUNT; i += type->block)
      best += error_of_the_best(type, b->values + i, importance + i);
    if (ours > 1.25 * best) fail_msg("%s: %.3f of the least error", type->name, ours / best);
  }
}

static void test_odd_importance_leaves_finite_values(void **state) {
  buffers *b = *state;
  static const float odd[] = {0, NAN, INFINITY, 3e38f, 1e-38f};
  float importance[256];
  for (int t = 0; t < TYPES; t++) {
    const fg_dtype_info *type = fg_dtype_get(types[t]);
    if (type->bits != 4) continue;
    for (int o = 0; o < 5; o++) {
      fill(b->values, 256, 0, 47);
      if (o == 0) b->values[7] = NAN;
      for (int i = 0; i < 256; i++) importance[i] = odd[o];
      fg_groups_from_f32_weighted((fg_group_form){4, type->block, type->minimum}, type->block, importance,
                                  b->values, b->packed, 256);
      type->to_f32(b->packed, b->back, 256);
      for (int i = 0; i < 256; i++)
        if (!isfinite(b->back[i]) || fabsf(b->back[i]) > 0.2f) fail_msg("%s: %g", type->name, b->back[i]);
    }
  }
}

// ---- what no model should hold
// -------------------------------------------------------------------------------

static void test_constant_values_come_back(void **state) {
  buffers *b = *state;
  static const float constants[] = {0, 0.5f, -0.25f};
  for (int t = 0; t < TYPES; t++) {
    const fg_dtype_info *type = fg_dtype_get(types[t]);
    for (int c = 0; c < 3; c++) {
      for (int i = 0; i < 256; i++) b->values[i] = constants[c];
      type->from_f32(b->values, b->packed, 256);
      type->to_f32(b->packed, b->back, 256);
      for (int i = 0; i < 256; i++)
        if (fabsf(b->back[i] - constants[c]) > 1e-3f) fail_msg("%s: %g", type->name, b->back[i]);
    }
  }
}

static void test_nothing_becomes_infinite(void **state) {
  buffers *b = *state;
  static const float odd[] = {NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 1e6f, 1e-30f, 1e-7f};
  for (int t = 0; t < TYPES; t++) {
    const fg_dtype_info *type = fg_dtype_get(types[t]);
    for (int o = 0; o < 8; o++) {
      fill(b->values, 256, 0, 23);
      for (int i = 0; i < 256; i += 37) b->values[i] = odd[o];
      type->from_f32(b->values, b->packed, 256);
      type->to_f32(b->packed, b->back, 256);
      for (int i = 0; i < 256; i++)
        if (!isfinite(b->back[i])) fail_msg("%s: %g from %g", type->name, b->back[i], odd[o]);
    }
  }
}

// A number of the wrong kind spoils its own value, not its group.
static void test_no_number_leaves_its_neighbours(void **state) {
  buffers *b = *state;
  for (int t = 0; t < TYPES; t++) {
    const fg_dtype_info *type = fg_dtype_get(types[t]);
    fill(b->values, 256, 0, 29);
    b->values[5] = NAN;
    type->from_f32(b->values, b->packed, 256);
    type->to_f32(b->packed, b->back, 256);
    for (int i = 0; i < 256; i++)
      if (i != 5 && fabsf(b->back[i] - b->values[i]) > 0.02f) fail_msg("%s: %d", type->name, i);
  }
}

static void test_types_are_found_by_their_form(void **state) {
  (void)state;
  fg_dtype found;
  for (int t = 0; t < TYPES; t++) {
    const fg_dtype_info *type = fg_dtype_get(types[t]);
    assert_true(fg_dtype_find(type->bits, type->block, type->minimum, &found));
    assert_int_equal(found, types[t]);
  }
  assert_false(fg_dtype_find(4, 16, false, &found));
  assert_false(fg_dtype_find(3, 64, false, &found));
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      T(test_bytes_expand_by_the_words_of_the_header),
      T(test_each_value_takes_the_nearest_code),
      T(test_four_bits_lose_less_than_their_range_would),
      T(test_eight_bits_are_within_half_a_step),
      T(test_a_row_has_one_scale_in_all_its_groups),
      T(test_weighted_rounding_is_never_worse_than_the_other),
      T(test_weighted_rounding_is_near_the_best_of_all),
      T(test_odd_importance_leaves_finite_values),
      T(test_constant_values_come_back),
      T(test_nothing_becomes_infinite),
      T(test_no_number_leaves_its_neighbours),
      cmocka_unit_test(test_types_are_found_by_their_form),
  };
  return cmocka_run_group_tests_name("groups", tests, NULL, NULL);
}
