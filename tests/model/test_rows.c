// Rows on their way from a checkpoint into a weight: stacked, turned, converted; against naive loops.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "memory_checkpoint.h"
#include "model/rows.h"
#include "tensor/half.h"

enum { K = 64, HEAD = 8, N = 48 };

typedef struct fixture {
  fg_budget *budget;
  memory_checkpoint checkpoint;
  fg_slot slot;
  fg_pack_item item;
  fg_pack_plan plan;
  fg_rows rows;
  fg_error err;
  float values[N * 300];
  float out[N * 300];
} fixture;

static int setup(void **state) {
  fixture *f = calloc(1, sizeof *f);
  *state = f;
  for (size_t i = 0; i < sizeof f->values / sizeof *f->values; i++) {
    f->values[i] =
        (float)((int)(i * 2654435761u >> 12) % 4001 - 2000) * 0x1p-11f; // exact in f16, not in bf16
  }
  f->item.slot = &f->slot;
  f->plan = (fg_pack_plan){.items = &f->item, .count = 1};
  return fg_budget_create(&f->budget, "host memory", "--host-memory", 0, &f->err);
}

static int teardown(void **state) {
  fixture *f = *state;
  fg_rows_destroy(&f->rows);
  fg_budget_destroy(f->budget);
  free(f);
  return 0;
}

static void weight_is(fixture *f, fg_weight_kind kind, fg_dtype dtype, uint32_t n, uint32_t k) {
  f->slot.kind = kind;
  f->slot.n = f->item.weight.n = n;
  f->slot.k = f->item.weight.k = k;
  f->item.weight.kind = kind;
  f->item.weight.dtype = dtype;
}

static void add_source(fixture *f, const fg_checkpoint_tensor *tensor, uint32_t rows,
                       fg_transform transform) {
  fg_source *s = &f->slot.sources[f->slot.source_count];
  *s = (fg_source){.rows = rows, .transform = transform, .head_dim = HEAD};
  f->item.tensors[f->slot.source_count++] = tensor;
}

static void start(fixture *f) {
  assert_int_equal(fg_rows_create(&f->rows, &f->plan, &f->checkpoint.base, f->budget, &f->err), FG_OK);
}

// Reads rows in uneven pieces, so that every border is crossed.
static void read_all(fixture *f, void *out, uint64_t row_bytes) {
  for (uint32_t row = 0, step = 1; row < f->item.weight.n; row += step, step = step * 2 % 13 + 1) {
    uint32_t count = f->item.weight.n - row < step ? f->item.weight.n - row : step;
    assert_int_equal(fg_rows_read(&f->rows, &f->item, row, count, (char *)out + row * row_bytes, &f->err),
                     FG_OK);
  }
}

// In a GGUF, row 2i + s of a head is row s d/2 + i of the original.
static uint32_t place_in_gguf(uint32_t row) {
  uint32_t in_head = row % HEAD, s = in_head / (HEAD / 2), i = in_head % (HEAD / 2);
  return row - in_head + 2 * i + s;
}

static void test_sources_are_stacked(void **state) {
  fixture *f = *state;
  weight_is(f, FG_WEIGHT_MATRIX, FG_F32, 30, K);
  add_source(f, memory_add(&f->checkpoint, "a", FG_F32, 10, K, f->values), 10, FG_TRANSFORM_NONE);
  add_source(f, memory_add(&f->checkpoint, "b", FG_F32, 5, K, f->values + 10 * K), 5, FG_TRANSFORM_NONE);
  add_source(f, memory_add(&f->checkpoint, "c", FG_F32, 15, K, f->values + 15 * K), 15, FG_TRANSFORM_NONE);
  start(f);
  read_all(f, f->out, K * 4);
  assert_memory_equal(f->out, f->values, 30 * K * 4);
}

static void test_rotary_rows_are_put_back_in_order(void **state) {
  fixture *f = *state;
  weight_is(f, FG_WEIGHT_MATRIX, FG_F32, N, K);
  add_source(f, memory_add(&f->checkpoint, "q", FG_F32, N, K, f->values), N, FG_TRANSFORM_UNPERMUTE_ROPE);
  start(f);
  read_all(f, f->out, K * 4);
  for (uint32_t r = 0; r < N; r++)
    assert_memory_equal(f->out + r * K, f->values + place_in_gguf(r) * K, K * 4);
}

static void test_rotary_rows_of_blocks_move_whole(void **state) {
  fixture *f = *state;
  enum { BYTES = K / 32 * 18 };
  char *blocks = (char *)f->values, *out = (char *)f->out; // any bytes will do
  weight_is(f, FG_WEIGHT_MATRIX, FG_Q4_0, N, K);
  add_source(f, memory_add(&f->checkpoint, "q", FG_Q4_0, N, K, blocks), N, FG_TRANSFORM_UNPERMUTE_ROPE);
  start(f);
  read_all(f, out, BYTES);
  for (uint32_t r = 0; r < N; r++)
    assert_memory_equal(out + r * BYTES, blocks + place_in_gguf(r) * BYTES, BYTES);
}

static void test_rotary_rows_of_a_head_are_read_once(void **state) {
  fixture *f = *state;
  weight_is(f, FG_WEIGHT_MATRIX, FG_BF16, N, K);
  add_source(f, memory_add(&f->checkpoint, "q", FG_F32, N, K, f->values), N, FG_TRANSFORM_UNPERMUTE_ROPE);
  start(f);
  uint16_t *out = (uint16_t *)(void *)f->out;
  for (uint32_t r = 0; r < N; r++) {
    assert_int_equal(fg_rows_read(&f->rows, &f->item, r, 1, out + r * K, &f->err), FG_OK);
  }
  assert_int_equal(f->checkpoint.reads, N / HEAD);
  for (uint32_t i = 0; i < N * K; i++) {
    assert_int_equal(out[i], fg_bf16_from_f32(f->values[place_in_gguf(i / K) * K + i % K]));
  }
}

static void test_rotary_bias_is_put_back_in_order(void **state) {
  fixture *f = *state;
  weight_is(f, FG_WEIGHT_VECTOR, FG_F32, N + 8, 1);
  add_source(f, memory_add(&f->checkpoint, "b", FG_F32, 0, N, f->values), N, FG_TRANSFORM_UNPERMUTE_ROPE);
  add_source(f, memory_add(&f->checkpoint, "c", FG_F32, 0, 8, f->values + N), 8, FG_TRANSFORM_NONE);
  start(f);
  assert_int_equal(fg_rows_read_vector(&f->rows, &f->item, f->out, &f->err), FG_OK);
  for (uint32_t r = 0; r < N; r++) assert_true(f->out[r] == f->values[place_in_gguf(r)]);
  assert_memory_equal(f->out + N, f->values + N, 8 * 4);
}

static void test_transposed_matrix_is_turned(void **state) {
  fixture *f = *state;
  enum { COLUMNS = 300 }; // of the file: our rows
  weight_is(f, FG_WEIGHT_MATRIX, FG_F32, COLUMNS, N);
  add_source(f, memory_add(&f->checkpoint, "w", FG_F32, N, COLUMNS, f->values), COLUMNS,
             FG_TRANSFORM_TRANSPOSE);
  start(f);
  read_all(f, f->out, N * 4);
  for (uint32_t n = 0; n < COLUMNS; n++) {
    for (uint32_t k = 0; k < N; k++) assert_true(f->out[n * N + k] == f->values[k * COLUMNS + n]);
  }
}

static void test_mixed_types_become_one(void **state) {
  fixture *f = *state;
  uint16_t half[10 * K];
  for (int i = 0; i < 10 * K; i++) half[i] = fg_f16_from_f32(f->values[i]);
  weight_is(f, FG_WEIGHT_MATRIX, FG_F32, 20, K);
  add_source(f, memory_add(&f->checkpoint, "a", FG_F16, 10, K, half), 10, FG_TRANSFORM_NONE);
  add_source(f, memory_add(&f->checkpoint, "b", FG_F32, 10, K, f->values + 10 * K), 10, FG_TRANSFORM_NONE);
  start(f);
  read_all(f, f->out, K * 4);
  assert_memory_equal(f->out, f->values, 20 * K * 4); // exact: the values fit into f16
}

static void test_conversion_rounds_to_nearest_even(void **state) {
  fixture *f = *state;
  weight_is(f, FG_WEIGHT_TABLE, FG_BF16, 3, K);
  f->values[0] = 1.00390625f; // half way between 1 and the next bfloat16: to even
  f->values[1] = 1.01171875f; // half way between the next two: up, to even
  add_source(f, memory_add(&f->checkpoint, "a", FG_F32, 3, K, f->values), 3, FG_TRANSFORM_NONE);
  start(f);
  uint16_t out[3 * K];
  read_all(f, out, K * 2);
  assert_true(fg_bf16_to_f32(out[0]) == 1.0f);
  assert_true(fg_bf16_to_f32(out[1]) == 1.015625f);
}

static void test_absent_optional_vector_has_its_value(void **state) {
  fixture *f = *state;
  weight_is(f, FG_WEIGHT_VECTOR, FG_F32, 8, 1);
  add_source(f, NULL, 8, FG_TRANSFORM_NONE);
  f->slot.sources[0].optional = true;
  f->slot.sources[0].missing = 1;
  start(f);
  assert_int_equal(fg_rows_read_vector(&f->rows, &f->item, f->out, &f->err), FG_OK);
  for (int i = 0; i < 8; i++) assert_true(f->out[i] == 1);
}

// ---- panels --------------------------------------------------------------------------------------------

static void test_panels_are_nearly_equal_and_within_the_limit(void **state) {
  (void)state;
  static const uint32_t heights[] = {1, 63, 64, 65, 1000, 11008, 32000, 50272, 128256};
  static const uint64_t limits[] = {4096, 1 << 20, 8 << 20};
  static const char *const layouts[] = {"plain", "n64"};
  for (size_t i = 0; i < sizeof heights / sizeof *heights; i++) {
    for (int l = 0; l < 3; l++) {
      for (int y = 0; y < 2; y++) {
        const fg_layout *layout = fg_layout_find(layouts[y]);
        assert_non_null(layout);
        uint32_t n = heights[i], k = 2048, rows = fg_pack_panel_rows(layout, FG_BF16, n, k, limits[l]);
        uint64_t block = layout->bytes(FG_BF16, layout->row_multiple, k);
        uint32_t panels = (n + rows - 1) / rows, last = n - (panels - 1) * rows;
        assert_true(rows > 0 && rows % layout->row_multiple == 0);
        assert_true(layout->bytes(FG_BF16, rows, k) <= (limits[l] > block ? limits[l] : block));
        // No panel could be spared, and the last one lacks less than a block for every panel.
        uint64_t most = limits[l] / block ? limits[l] / block : 1;
        uint64_t blocks = (n + layout->row_multiple - 1) / layout->row_multiple;
        assert_true(panels <= (blocks + most - 1) / most);
        assert_true(rows - last < (uint64_t)panels * layout->row_multiple + layout->row_multiple);
      }
    }
  }
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      T(test_sources_are_stacked),
      T(test_rotary_rows_are_put_back_in_order),
      T(test_rotary_rows_of_blocks_move_whole),
      T(test_rotary_rows_of_a_head_are_read_once),
      T(test_rotary_bias_is_put_back_in_order),
      T(test_transposed_matrix_is_turned),
      T(test_mixed_types_become_one),
      T(test_conversion_rounds_to_nearest_even),
      T(test_absent_optional_vector_has_its_value),
      cmocka_unit_test(test_panels_are_nearly_equal_and_within_the_limit),
  };
  return cmocka_run_group_tests_name("rows", tests, NULL, NULL);
}
