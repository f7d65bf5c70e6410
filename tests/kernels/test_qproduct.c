#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "kernels/cpu.h"
#include "kernels/kernels.h"
#include "random.h"

static const fg_dtype types[] = {FG_Q8_0,   FG_Q4_0,    FG_Q4_1,    FG_I4G64,  FG_I4G128, FG_I4G256,
                                 FG_I4G64M, FG_I4G128M, FG_I4G256M, FG_I8G64,  FG_I8G128, FG_I8G256,
                                 FG_I8G32M, FG_I8G64M,  FG_I8G128M, FG_I8G256M};
enum { TYPES = sizeof types / sizeof *types, MAX_TABLES = 10 };

// The kernels for AVX-VNNI in instructions that CPUs with AVX-512 have (tests/CMakeLists.txt).
void fg_q_product_evex_vnni(fg_kernels *k);

// Tables of this CPU: the reference first.
static int tables_of(fg_kernels tables[MAX_TABLES]) {
  const uint32_t avx512 = FG_CPU_AVX2 | FG_CPU_AVX512;
  const uint32_t sets[MAX_TABLES - 1] = {0,
                                         FG_CPU_AVX2,
                                         FG_CPU_AVX2 | FG_CPU_AVX_VNNI,
                                         avx512,
                                         avx512 | FG_CPU_AVX512_VNNI,
                                         avx512 | FG_CPU_AVX512_VNNI | FG_CPU_AMX_INT8,
                                         FG_CPU_NEON,
                                         FG_CPU_NEON | FG_CPU_DOTPROD,
                                         FG_CPU_NEON | FG_CPU_DOTPROD | FG_CPU_I8MM};
  int count = 0;
  for (int i = 0; i < MAX_TABLES - 1; i++)
    if ((sets[i] & ~fg_cpu_features()) == 0) fg_kernels_init(&tables[count++], sets[i]);
#if defined(__x86_64__)
  if (fg_cpu_features() & FG_CPU_AVX512_VNNI) {
    fg_kernels_init(&tables[count], FG_CPU_AVX2);
    fg_q_product_evex_vnni(&tables[count++]);
  }
#endif
  return count;
}

// In memory of exactly the size that is asked for: a sanitizer sees a write beyond.
static fg_q_rows make_rows(uint32_t rows, uint32_t k, fg_dtype dtype, void **memory) {
  *memory = malloc(fg_q_rows_bytes(rows, k));
  return fg_q_rows_place(*memory, rows, k, dtype);
}

static void quantise(const fg_kernels *t, const float *x, uint32_t rows, const fg_q_rows *q) {
  for (uint32_t r = 0; r < rows; r++) t->quantise(x + (size_t)r * q->k, q, r);
}

// The product of all variants, in both layouts, must be the reference's bits, however many rows are taken at
// once. Returns the reference's result, [rows, 64].
static float *check_variants(fg_dtype dtype, const float *x, const uint8_t *w, uint32_t rows, uint32_t n,
                             uint32_t k, const char *what) {
  const fg_layout *n64 = fg_layout_find("n64");
  fg_kernels tables[MAX_TABLES];
  int count = tables_of(tables);
  uint8_t *panel = malloc(n64->bytes(dtype, n, k));
  n64->pack(dtype, w, n, k, panel);
  size_t size = (size_t)rows * FG_TILE_ROWS;
  float *expected = malloc(size * sizeof *expected), *out = malloc(size * sizeof *out);
  void *memory, *own_memory;
  fg_q_rows q = make_rows(rows, k, dtype, &memory);
  quantise(&tables[0], x, rows, &q);
  tables[0].q_product[FG_LAYOUT_PLAIN][dtype](&q, 0, rows, dtype, w, n, expected);
  for (int t = 0; t < count; t++) {
    fg_q_rows own = make_rows(rows, k, dtype, &own_memory);
    quantise(&tables[t], x, rows, &own);
    assert_memory_equal(own.codes, q.codes, (size_t)rows * fg_q_groups(k) * FG_Q_GROUP);
    for (uint32_t at_once = 1; at_once <= rows; at_once += at_once < 8 ? 1 : rows) {
      for (uint32_t r = 0; r < rows; r += at_once) {
        uint32_t taken = rows - r < at_once ? rows - r : at_once;
        tables[t].q_product[FG_LAYOUT_N64][dtype](&own, r, taken, dtype, panel, n,
                                                  out + (size_t)r * FG_TILE_ROWS);
      }
      for (uint32_t r = 0; r < rows; r++)
        for (uint32_t c = 0; c < n; c++) {
          const float *a = &out[r * FG_TILE_ROWS + c], *b = &expected[r * FG_TILE_ROWS + c];
          if (memcmp(a, b, sizeof *a) && !(isnan(*a) && isnan(*b)))
            fail_msg("%s %s, %s, k %u, %u rows at once: out[%u, %u] is %g, not %g", tables[t].name,
                     fg_dtype_get(dtype)->name, what, k, at_once, r, c, *a, *b);
        }
    }
    free(own_memory);
  }
  free(memory), free(panel), free(out);
  return expected;
}

// ||out - exact|| / ||exact||
static double relative_error(fg_dtype dtype, const float *x, const uint8_t *w, const float *out,
                             uint32_t rows, uint32_t n, uint32_t k) {
  float *values = malloc((size_t)n * k * sizeof *values);
  double error = 0, size = 0;
  fg_dtype_get(dtype)->to_f32(w, values, (size_t)n * k);
  for (uint32_t r = 0; r < rows; r++)
    for (uint32_t c = 0; c < n; c++) {
      double sum = 0, got = out[r * FG_TILE_ROWS + c];
      for (uint32_t i = 0; i < k; i++) sum += (double)x[(size_t)r * k + i] * values[(size_t)c * k + i];
      error += (got - sum) * (got - sum);
      size += sum * sum;
    }
  free(values);
  return error > 0 ? sqrt(error / size) : 0;
}

static void test_variants_agree_with_the_reference_and_with_doubles(void **state) {
  (void)state;
  static const uint32_t ks[] = {32, 64, 256, 288, 576, 896, 1024}, ns[] = {64, 64, 1, 63, 17, 64, 64};
  for (int t = 0; t < TYPES; t++)
    for (size_t i = 0; i < sizeof ks / sizeof *ks; i++) {
      uint64_t seed = 1 + i;
      const uint32_t rows = 15;
      if (ks[i] % fg_dtype_get(types[t])->block) continue;
      float *x = random_floats(&seed, (size_t)rows * ks[i]);
      uint8_t *w = random_weights(&seed, types[t], ns[i], ks[i]);
      float *out = check_variants(types[t], x, w, rows, ns[i], ks[i], "random");
      double error = relative_error(types[t], x, w, out, rows, ns[i], ks[i]);
      if (!(error < 0.01)) fail_msg("%s k %u: relative error %g", fg_dtype_get(types[t])->name, ks[i], error);
      free(x), free(w), free(out);
    }
}

// Codes at their ends and activations at theirs: sums of 16 bits would saturate here.
static void test_largest_codes_do_not_saturate(void **state) {
  (void)state;
  enum { ROWS = 7, K = 512, N = 64 };
  static const uint8_t codes[] = {0x00, 0xff, 0x80, 0x7f, 0x81, 0x0f, 0xf0};
  float x[ROWS * K];
  for (int t = 0; t < TYPES; t++)
    for (size_t c = 0; c < sizeof codes; c++)
      for (int pattern = 0; pattern < 3; pattern++) {
        uint64_t seed = c;
        uint8_t *w = random_weights(&seed, types[t], N, K);
        uint64_t bytes = fg_dtype_get(types[t])->bytes, head = fg_dtype_get(types[t])->minimum ? 4 : 2;
        for (uint64_t b = 0; b < (uint64_t)N * K / fg_dtype_get(types[t])->block; b++)
          memset(w + b * bytes + head, codes[c], bytes - head);
        for (int i = 0; i < ROWS * K; i++) x[i] = pattern == 0 ? 3 : pattern == 1 ? -3 : i % 2 ? 3 : -3;
        float *out = check_variants(types[t], x, w, ROWS, N, K, "largest");
        if (pattern < 2) {
          double error = relative_error(types[t], x, w, out, ROWS, N, K);
          if (!(error < 1e-5)) fail_msg("%s code %x: %g", fg_dtype_get(types[t])->name, codes[c], error);
        }
        free(out), free(w);
      }
}

static void test_zero_and_denormal_scales(void **state) {
  (void)state;
  enum { ROWS = 6, K = 512, N = 64 };
  static const float sizes[ROWS] = {0, 0x1p-149f, 0x1p-126f, 0x1p-99f, 1, 0x1p100f};
  for (int t = 0; t < TYPES; t++)
    for (uint32_t scale = 0; scale < 3;
         scale++) { // of weights: 0, the smallest denormal, the smallest normal
      uint64_t seed = 7;
      float *x = random_floats(&seed, ROWS * K);
      for (int i = 0; i < ROWS * K; i++) x[i] *= sizes[i / K];
      uint8_t *w = random_weights(&seed, types[t], N, K);
      uint16_t half = scale == 2 ? 0x400 : (uint16_t)scale;
      for (uint64_t at = 0;
           at < (uint64_t)N * K / fg_dtype_get(types[t])->block * fg_dtype_get(types[t])->bytes;
           at += fg_dtype_get(types[t])->bytes)
        memcpy(w + at, &half, sizeof half);
      float *out = check_variants(types[t], x, w, ROWS, N, K, "small scales");
      for (int i = 0; i < ROWS * FG_TILE_ROWS; i++) assert_true(isfinite(out[i]));
      for (int i = 0; i < FG_TILE_ROWS; i++) assert_true(out[i] == 0); // of a row of zeros
      free(x), free(w), free(out);
    }
}

// A channel a hundred times the others' size must not cost the others their precision.
static void test_planted_outlier_channels_cost_no_precision(void **state) {
  (void)state;
  enum { ROWS = 8, K = 2048, N = 64 };
  for (int t = 0; t < TYPES; t++)
    for (uint32_t channels = 1; channels <= 12; channels += 11) {
      uint64_t seed = 11 + channels;
      float *x = random_floats(&seed, ROWS * K);
      uint8_t *w = random_weights(&seed, types[t], N, K);
      for (uint32_t i = 0; i < channels; i++)
        for (uint32_t r = 0; r < ROWS; r++) x[r * K + (i * 997 + 5) % K] *= 100;
      float *out = check_variants(types[t], x, w, ROWS, N, K, "outliers");
      double error = relative_error(types[t], x, w, out, ROWS, N, K);
      if (!(error < 0.01))
        fail_msg("%s, %u outliers: relative error %g", fg_dtype_get(types[t])->name, channels, error);
      free(x), free(w), free(out);
    }
}

// How many values of each activation group are told as outliers, where the largest are `high` and all others
// 1 but for one `second`.
static uint32_t told(float high, uint32_t highs, float second) {
  enum { K = 2 * FG_Q_GROUP };
  float x[K];
  for (int i = 0; i < K; i++) x[i] = i % 2 ? 1 : -1;
  for (uint32_t i = 0; i < highs; i++) x[7 * i + 3] = x[FG_Q_GROUP + 7 * i + 5] = -high;
  x[200] = x[FG_Q_GROUP + 201] = second;
  fg_kernels tables[MAX_TABLES];
  int count = tables_of(tables);
  uint32_t all = UINT32_MAX;
  for (int t = 0; t < count; t++) {
    void *memory;
    fg_q_rows q = make_rows(1, K, FG_Q8_0, &memory);
    quantise(&tables[t], x, 1, &q);
    for (int a = 0; a < 2; a++) {
      if (all == UINT32_MAX) all = q.outlier_count[a];
      assert_int_equal(q.outlier_count[a], all);
    }
    free(memory);
  }
  return all;
}

static void test_outliers_are_told_where_the_rest_gains(void **state) {
  (void)state;
  assert_int_equal(told(7, 1, 1), 0);    // not 8 times the mean
  assert_int_equal(told(20, 1, 1), 1);   // the rest's codes are 20 times as fine
  assert_int_equal(told(9, 1, 7), 0);    // a tail: hardly finer without its last
  assert_int_equal(told(15, 1, 7), 1);   // more than twice as fine
  assert_int_equal(told(100, 4, 18), 5); // the second shows when the first are gone
}

// A row that holds an infinity or no number says so and leaves the other rows alone.
static void test_numbers_that_are_none_stay_in_their_row(void **state) {
  (void)state;
  enum { ROWS = 4, K = 512, N = 64 };
  for (int t = 0; t < TYPES; t++) {
    uint64_t seed = 5;
    float *x = random_floats(&seed, ROWS * K);
    uint8_t *w = random_weights(&seed, types[t], N, K);
    x[1 * K + 300] = NAN;
    x[2 * K + 3] = -INFINITY;
    float *out = check_variants(types[t], x, w, ROWS, N, K, "no numbers");
    for (int i = 0; i < ROWS * FG_TILE_ROWS; i++)
      assert_int_equal(isfinite(out[i]) != 0, i / FG_TILE_ROWS == 0 || i / FG_TILE_ROWS == 3);
    free(x), free(w), free(out);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_variants_agree_with_the_reference_and_with_doubles),
      cmocka_unit_test(test_largest_codes_do_not_saturate),
      cmocka_unit_test(test_zero_and_denormal_scales),
      cmocka_unit_test(test_planted_outlier_channels_cost_no_precision),
      cmocka_unit_test(test_outliers_are_told_where_the_rest_gains),
      cmocka_unit_test(test_numbers_that_are_none_stay_in_their_row),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
