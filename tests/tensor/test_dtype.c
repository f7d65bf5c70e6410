#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tensor/dtype.h"
#include "tensor/half.h"

static void test_every_half_survives_the_round_trip(void **state) {
  (void)state;
  for (uint32_t h = 0; h < 65536; h++) {
    float f = fg_f16_to_f32((uint16_t)h);
    if ((h & 0x7fff) > 0x7c00)
      assert_true(isnan(f) && isnan(fg_f16_to_f32(fg_f16_from_f32(f))));
    else
      assert_int_equal(fg_f16_from_f32(f), h);
  }
}

static void test_every_bfloat_survives_the_round_trip(void **state) {
  (void)state;
  for (uint32_t h = 0; h < 65536; h++) {
    float f = fg_bf16_to_f32((uint16_t)h);
    if ((h & 0x7fff) > 0x7f80)
      assert_true(isnan(f) && isnan(fg_bf16_to_f32(fg_bf16_from_f32(f))));
    else
      assert_int_equal(fg_bf16_from_f32(f), h);
  }
}

static void test_half_values_by_hand(void **state) {
  (void)state;
  static const struct {
    float f;
    uint16_t h;
  } rows[] = {
      {0.0f, 0x0000},
      {-0.0f, 0x8000},
      {1.0f, 0x3c00},
      {-2.0f, 0xc000},
      {65504.0f, 0x7bff},
      {65519.9f, 0x7bff},
      {65520.0f, 0x7c00},
      {INFINITY, 0x7c00},
      {-INFINITY, 0xfc00},
      {0x1p-14f, 0x0400},
      {0x1p-24f, 0x0001},
      {0x1p-25f, 0x0000}, // tie to even
      {0x1.8p-24f, 0x0002},
      {0x1.000002p-25f, 0x1},
      {0x1.ffcp-15f, 0x400},
      {1.0f + 0x1p-11f, 0x3c00},
      {1.0f + 0x3p-11f, 0x3c02},
      {0x1p-149f, 0x0000},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
    assert_int_equal(fg_f16_from_f32(rows[i].f), rows[i].h);
}

// The compiler's own conversion is the oracle, over floats spread evenly through all bit patterns.
static void test_half_agrees_with_the_compiler(void **state) {
  (void)state;
#ifdef __FLT16_MAX__
  for (uint64_t u = 0; u < UINT64_C(1) << 32; u += 4093) {
    float f = fg_f32_from_bits((uint32_t)u);
    if (isnan(f)) continue;
    _Float16 want = (_Float16)f;
    uint16_t bits;
    memcpy(&bits, &want, 2);
    if (fg_f16_from_f32(f) != bits) fail_msg("%a: %04x, not %04x", (double)f, fg_f16_from_f32(f), bits);
  }
  for (uint32_t h = 0; h < 65536; h++) {
    uint16_t bits = (uint16_t)h;
    _Float16 half;
    memcpy(&half, &bits, 2);
    float want = (float)half, got = fg_f16_to_f32(bits);
    if (!isnan(want)) assert_int_equal(fg_f32_bits(got), fg_f32_bits(want));
  }
#else
  skip();
#endif
}

// Nearest of the two neighbours, the even one of a tie, by exact arithmetic in double.
static void test_bfloat_rounds_to_nearest_even(void **state) {
  (void)state;
  for (uint64_t u = 0; u < UINT64_C(1) << 32; u += 4093) {
    float f = fg_f32_from_bits((uint32_t)u);
    if (!isfinite(f) || (u & 0x7f800000u) == 0x7f000000u) continue; // next to infinity: no upper neighbour
    uint16_t low = (uint16_t)(u >> 16), high = (uint16_t)(low + 1); // by magnitude
    double below = fabs((double)f - (double)fg_bf16_to_f32(low));
    double above = fabs((double)f - (double)fg_bf16_to_f32(high));
    uint16_t want = below < above || (below == above && (low & 1) == 0) ? low : high;
    if (fg_bf16_from_f32(f) != want) fail_msg("%a: %04x, not %04x", (double)f, fg_bf16_from_f32(f), want);
  }
  assert_int_equal(fg_bf16_from_f32(0x1.fffffep127f), 0x7f80);
}

static void test_blocks_expand_as_gguf_does(void **state) {
  (void)state;
  enum { BLOCKS = 24, ELEMENTS = BLOCKS * 32 };
  FILE *file = fopen(FG_TEST_DIR "/tensor/golden_blocks.bin", "rb");
  assert_non_null(file);
  static const fg_dtype types[] = {FG_Q8_0, FG_Q4_0, FG_Q4_1};
  for (size_t i = 0; i < 3; i++) {
    const fg_dtype_info *info = fg_dtype_get(types[i]);
    uint8_t blocks[1 + BLOCKS * 34]; // the source need not be aligned
    float want[ELEMENTS], got[ELEMENTS];
    assert_int_equal(fread(blocks + 1, info->bytes, BLOCKS, file), BLOCKS);
    assert_int_equal(fread(want, sizeof want, 1, file), 1);
    info->to_f32(blocks + 1, got, ELEMENTS);
    assert_memory_equal(got, want, sizeof want);
  }
  assert_int_equal(fgetc(file), EOF);
  fclose(file);
}

static void test_other_blocks_expand_as_gguf_does(void **state) {
  (void)state;
  enum { BLOCKS = 6, MOST = 256 };
  FILE *file = fopen(FG_TEST_DIR "/tensor/golden_gguf_blocks.bin", "rb");
  assert_non_null(file);
  static const fg_dtype types[] = {FG_Q5_0, FG_Q5_1, FG_Q2_K,   FG_Q3_K,   FG_Q4_K,
                                   FG_Q5_K, FG_Q6_K, FG_IQ4_NL, FG_IQ4_XS, FG_MXFP4};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
    const fg_dtype_info *info = fg_dtype_get(types[i]);
    uint8_t blocks[1 + BLOCKS * 210];
    float want[BLOCKS * MOST], got[BLOCKS * MOST];
    assert_int_equal(fread(blocks + 1, info->bytes, BLOCKS, file), BLOCKS);
    assert_int_equal(fread(want, sizeof *want * info->block, BLOCKS, file), BLOCKS);
    info->to_f32(blocks + 1, got, BLOCKS * info->block);
    for (uint32_t j = 0; j < BLOCKS * info->block; j++)
      if (memcmp(&got[j], &want[j], 4) != 0)
        fail_msg("%s: value %u is %a, not %a", info->name, j, got[j], want[j]);
  }
  assert_int_equal(fgetc(file), EOF);
  fclose(file);
}

static void test_unaligned_sources_expand(void **state) {
  (void)state;
  static const fg_dtype types[] = {FG_F32, FG_F16, FG_BF16};
  static const float values[] = {0.5f, -3.0f, 1024.0f, 0.0f, 0x1p-14f};
  for (size_t i = 0; i < 3; i++) {
    uint8_t bytes[1 + sizeof values];
    float back[5];
    fg_dtype_get(types[i])->from_f32(values, bytes + 1, 5);
    fg_dtype_get(types[i])->to_f32(bytes + 1, back, 5);
    assert_memory_equal(back, values, sizeof values);
  }
  double d = 1.0 + 0x1p-30;
  uint8_t bytes[9];
  float f;
  memcpy(bytes + 1, &d, 8);
  fg_dtype_get(FG_F64)->to_f32(bytes + 1, &f, 1);
  assert_true(f == 1.0f);
}

static void test_names_parse_back(void **state) {
  (void)state;
  for (int i = 0; i < FG_DTYPE_COUNT; i++) {
    fg_dtype dtype;
    assert_true(fg_dtype_parse(fg_dtype_get((fg_dtype)i)->name, &dtype));
    assert_int_equal(dtype, i);
  }
  fg_dtype dtype;
  assert_false(fg_dtype_parse("q7_k", &dtype));
  assert_false(fg_dtype_parse("", &dtype));
}

static void test_bytes_refuse_torn_blocks_and_overflow(void **state) {
  (void)state;
  uint64_t bytes = 7;
  assert_true(fg_dtype_bytes(FG_Q4_1, 64, &bytes));
  assert_int_equal(bytes, 40);
  assert_false(fg_dtype_bytes(FG_Q4_1, 63, &bytes));
  assert_false(fg_dtype_bytes(FG_F32, UINT64_MAX / 2, &bytes));
  assert_int_equal(bytes, 40);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_half_survives_the_round_trip),
      cmocka_unit_test(test_every_bfloat_survives_the_round_trip),
      cmocka_unit_test(test_half_values_by_hand),
      cmocka_unit_test(test_half_agrees_with_the_compiler),
      cmocka_unit_test(test_bfloat_rounds_to_nearest_even),
      cmocka_unit_test(test_blocks_expand_as_gguf_does),
      cmocka_unit_test(test_other_blocks_expand_as_gguf_does),
      cmocka_unit_test(test_unaligned_sources_expand),
      cmocka_unit_test(test_names_parse_back),
      cmocka_unit_test(test_bytes_refuse_torn_blocks_and_overflow),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
