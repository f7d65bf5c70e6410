// Rows on their way from a checkpoint into a weight: stacked, turned, converted; against naive loops.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "memory_checkpoint.h"
#include "model/rows.h"
#include "tensor/half.h"

enum { K = 64, HEAD = 8, N = 48 };

typedef struct fixture {
  memory_checkpoint checkpoint;
  fg_slot slot;
  fg_pack_item item;
  fg_rows rows;
  char *buffer;
  uint64_t buffer_bytes;
  fg_error err;
  float values[N * 1600];
  float out[N * 1600];
} fixture;

static int setup(void **state) {
  fixture *f = calloc(1, sizeof *f);
  *state = f;
  for (size_t i = 0; i < sizeof f->values / sizeof *f->values; i++) {
    f->values[i] =
        (float)((int)(i * 2654435761u >> 12) % 4001 - 2000) * 0x1p-11f; // exact in f16, not in bf16
  }
  f->item.slot = &f->slot;
  f->rows = (fg_rows){.checkpoint = &f->checkpoint.base};
  return 0;
}

static int teardown(void **state) {
  fixture *f = *state;
  free(f->buffer);
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

// A fetch of these rows, as it is when its reads are there; its buffer is as large as was asked for.
static fg_rows_fetch fetch(fixture *f, uint32_t row, uint32_t count) {
  free(f->buffer);
  f->buffer_bytes = fg_rows_fetch_bytes(&f->item, row, count);
  f->buffer = aligned_alloc(FG_IO_ALIGN, f->buffer_bytes + FG_IO_ALIGN);
  assert_non_null(f->buffer);
  fg_rows_fetch fetch = {.item = &f->item, .row = row, .count = count, .buffer = f->buffer};
  fetch.buffer_bytes = f->buffer_bytes;
  assert_int_equal(fg_rows_begin(&f->rows, &fetch, &f->err), FG_OK);
  assert_int_equal(fg_rows_wait(&f->rows, &fetch, &f->err), FG_OK);
  return fetch;
}

// Fetches rows in uneven pieces and takes each in two, so that every border is crossed.
static void read_all(fixture *f, void *out, uint64_t row_bytes) {
  float wide[512];
  for (uint32_t row = 0, step = 1; row < f->item.weight.n; row += step, step = step * 2 % 13 + 1) {
    uint32_t count = f->item.weight.n - row < step ? f->item.weight.n - row : step, half = count / 2;
    fg_rows_fetch rows = fetch(f, row, count);
    char *to = (char *)out + row * row_bytes;
    fg_rows_take(&rows, row, half, wide, to);
    fg_rows_take(&rows, row + half, count - half, wide, to + half * row_bytes);
    const void *as_it_is = fg_rows_borrow(&rows, row + half, count - half);
    if (as_it_is) assert_memory_equal(as_it_is, to + half * row_bytes, (count - half) * row_bytes);
  }
}

static void read_vector(fixture *f, float *out) {
  float wide[512];
  fg_rows_fetch values = fetch(f, 0, f->item.weight.n);
  fg_rows_take_vector(&values, wide, out);
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
  read_all(f, f->out, K * 4);
  assert_memory_equal(f->out, f->values, 30 * K * 4);
}

static void test_rotary_rows_are_put_back_in_order(void **state) {
  fixture *f = *state;
  weight_is(f, FG_WEIGHT_MATRIX, FG_F32, N, K);
  add_source(f, memory_add(&f->checkpoint, "q", FG_F32, N, K, f->values), N, FG_TRANSFORM_UNPERMUTE_ROPE);
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
  read_all(f, out, BYTES);
  for (uint32_t r = 0; r < N; r++)
    assert_memory_equal(out + r * BYTES, blocks + place_in_gguf(r) * BYTES, BYTES);
}

static void test_rotary_rows_are_converted_in_order(void **state) {
  fixture *f = *state;
  weight_is(f, FG_WEIGHT_MATRIX, FG_BF16, N, K);
  add_source(f, memory_add(&f->checkpoint, "q", FG_F32, N, K, f->values), N, FG_TRANSFORM_UNPERMUTE_ROPE);
  uint16_t *out = (uint16_t *)(void *)f->out;
  read_all(f, out, K * 2);
  for (uint32_t i = 0; i < N * K; i++) {
    assert_int_equal(out[i], fg_bf16_from_f32(f->values[place_in_gguf(i / K) * K + i % K]));
  }
}

static void test_rows_as_they_are_need_no_copy(void **state) {
  fixture *f = *state;
  weight_is(f, FG_WEIGHT_MATRIX, FG_F32, 20, K);
  add_source(f, memory_add(&f->checkpoint, "a", FG_F32, 10, K, f->values), 10, FG_TRANSFORM_NONE);
  add_source(f, memory_add(&f->checkpoint, "b", FG_F32, 10, K, f->values + 10 * K), 10, FG_TRANSFORM_NONE);
  fg_rows_fetch rows = fetch(f, 0, 20);
  assert_non_null(fg_rows_borrow(&rows, 3, 7));
  assert_null(fg_rows_borrow(&rows, 3, 8)); // two tensors
  f->item.weight.dtype = FG_BF16;
  assert_null(fg_rows_borrow(&rows, 3, 7));
}

static void test_blocks_become_other_codes(void **state) {
  fixture *f = *state;
  uint8_t blocks[10 * K / 32 * 20];
  float want[10 * K], back[10 * K];
  uint8_t out[10 * (K + 2)], expected[10 * (K + 2)];
  fg_dtype_get(FG_Q4_1)->from_f32(f->values, blocks, 10 * K);
  fg_dtype_get(FG_Q4_1)->to_f32(blocks, want, 10 * K);
  weight_is(f, FG_WEIGHT_MATRIX, FG_I8G64, 10, K);
  add_source(f, memory_add(&f->checkpoint, "a", FG_Q4_1, 10, K, blocks), 10, FG_TRANSFORM_NONE);
  read_all(f, out, K + 2);
  fg_dtype_get(FG_I8G64)->from_f32(want, expected, 10 * K);
  assert_memory_equal(out, expected, 10 * (K + 2));
  fg_dtype_get(FG_I8G64)->to_f32(out, back, 10 * K);
  for (int i = 0; i < 10 * K; i++) assert_true(back[i] - want[i] < 0.01f && want[i] - back[i] < 0.01f);
}

static void test_row_with_one_scale_repeats_it(void **state) {
  fixture *f = *state;
  uint8_t out[4 * (K + 4)];
  weight_is(f, FG_WEIGHT_MATRIX, FG_Q8_0, 4, K);
  f->item.per_row = true;
  f->values[1] = 40; // in the first group of the first row
  add_source(f, memory_add(&f->checkpoint, "a", FG_F32, 4, K, f->values), 4, FG_TRANSFORM_NONE);
  read_all(f, out, 2 * 34);
  assert_memory_equal(out, out + 34, 2);
  assert_memory_not_equal(out, out + 2 * 34, 2);
}

static void test_rotary_bias_is_put_back_in_order(void **state) {
  fixture *f = *state;
  weight_is(f, FG_WEIGHT_VECTOR, FG_F32, N + 8, 1);
  add_source(f, memory_add(&f->checkpoint, "b", FG_F32, 0, N, f->values), N, FG_TRANSFORM_UNPERMUTE_ROPE);
  add_source(f, memory_add(&f->checkpoint, "c", FG_F32, 0, 8, f->values + N), 8, FG_TRANSFORM_NONE);
  read_vector(f, f->out);
  for (uint32_t r = 0; r < N; r++) assert_true(f->out[r] == f->values[place_in_gguf(r)]);
  assert_memory_equal(f->out + N, f->values + N, 8 * 4);
}

static void test_transposed_matrix_is_turned(void **state) {
  fixture *f = *state;
  enum { COLUMNS = 300 }; // of the file: our rows
  weight_is(f, FG_WEIGHT_MATRIX, FG_F32, COLUMNS, N);
  add_source(f, memory_add(&f->checkpoint, "w", FG_F32, N, COLUMNS, f->values), COLUMNS,
             FG_TRANSFORM_TRANSPOSE);
  read_all(f, f->out, N * 4);
  for (uint32_t n = 0; n < COLUMNS; n++) {
    for (uint32_t k = 0; k < N; k++) assert_true(f->out[n * N + k] == f->values[k * COLUMNS + n]);
  }
}

// Our row h * COLUMNS + j of head h is column j of the lines that the head's slice has in the file.
static void check_heads_are_turned(fixture *f, const float *file) {
  enum { HEADS = 3, COLUMNS = 32, FIRST = 2, LINES = 5, PERIOD = 9 };
  f->slot.sources[0].transform = FG_TRANSFORM_TRANSPOSE_HEADS;
  f->slot.sources[0].slice = (fg_row_slice){FIRST, LINES, PERIOD, HEADS * PERIOD};
  read_all(f, f->out, LINES * 4);
  for (uint32_t h = 0; h < HEADS; h++)
    for (uint32_t j = 0; j < COLUMNS; j++)
      for (uint32_t i = 0; i < LINES; i++)
        assert_true(f->out[(h * COLUMNS + j) * LINES + i] == file[(h * PERIOD + FIRST + i) * COLUMNS + j]);
}

static void test_each_head_is_turned_by_itself(void **state) {
  fixture *f = *state;
  weight_is(f, FG_WEIGHT_MATRIX, FG_F32, 96, 5);
  add_source(f, memory_add(&f->checkpoint, "w", FG_F32, 27, 32, f->values), 96, FG_TRANSFORM_NONE);
  check_heads_are_turned(f, f->values);
}

static void test_heads_of_blocks_are_opened_and_turned(void **state) {
  fixture *f = *state;
  uint8_t blocks[27 * 34];
  float opened[27 * 32];
  fg_dtype_get(FG_Q8_0)->from_f32(f->values, blocks, 27 * 32);
  fg_dtype_get(FG_Q8_0)->to_f32(blocks, opened, 27 * 32);
  weight_is(f, FG_WEIGHT_MATRIX, FG_F32, 96, 5);
  add_source(f, memory_add(&f->checkpoint, "w", FG_Q8_0, 27, 32, blocks), 96, FG_TRANSFORM_NONE);
  check_heads_are_turned(f, opened);
}

static void test_mixed_types_become_one(void **state) {
  fixture *f = *state;
  uint16_t half[10 * K];
  for (int i = 0; i < 10 * K; i++) half[i] = fg_f16_from_f32(f->values[i]);
  weight_is(f, FG_WEIGHT_MATRIX, FG_F32, 20, K);
  add_source(f, memory_add(&f->checkpoint, "a", FG_F16, 10, K, half), 10, FG_TRANSFORM_NONE);
  add_source(f, memory_add(&f->checkpoint, "b", FG_F32, 10, K, f->values + 10 * K), 10, FG_TRANSFORM_NONE);
  read_all(f, f->out, K * 4);
  assert_memory_equal(f->out, f->values, 20 * K * 4); // exact: the values fit into f16
}

static void test_conversion_rounds_to_nearest_even(void **state) {
  fixture *f = *state;
  weight_is(f, FG_WEIGHT_TABLE, FG_BF16, 3, K);
  f->values[0] = 1.00390625f; // half way between 1 and the next bfloat16: to even
  f->values[1] = 1.01171875f; // half way between the next two: up, to even
  add_source(f, memory_add(&f->checkpoint, "a", FG_F32, 3, K, f->values), 3, FG_TRANSFORM_NONE);
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
  read_vector(f, f->out);
  for (int i = 0; i < 8; i++) assert_true(f->out[i] == 1);
}

static void test_vector_of_a_tensor_for_each_head_is_stacked(void **state) {
  fixture *f = *state;
  static const char *const names[] = {"norms.0.weight", "norms.1.weight", "norms.2.weight"};
  const fg_checkpoint_tensor *heads[3];
  for (int i = 0; i < 3; i++)
    heads[i] = memory_add(&f->checkpoint, names[i], FG_F32, 0, HEAD, f->values + 100 * i);
  weight_is(f, FG_WEIGHT_VECTOR, FG_F32, 3 * HEAD, 1);
  add_source(f, heads[0], 3 * HEAD, FG_TRANSFORM_NONE);
  f->item.heads = heads;
  f->item.head_count = 3;
  read_vector(f, f->out);
  for (int i = 0; i < 3 * HEAD; i++) assert_true(f->out[i] == f->values[100 * (i / HEAD) + i % HEAD]);
}

// ---- panels --------------------------------------------------------------------------------------------

// ---- slices --------------------------------------------------------------------------------------------

enum { BLOCK = 8, GROUPS = 6, PERIOD = 3 * BLOCK, ROWS = PERIOD * GROUPS, OFFSET = 1234 };

// q, k and v of a tensor that holds rows of q, k and v in turn.
static void slice_tensor(fixture *f, const fg_checkpoint_tensor *tensor, uint32_t k) {
  weight_is(f, FG_WEIGHT_MATRIX, FG_F32, ROWS, k);
  for (uint32_t i = 0; i < 3; i++) {
    add_source(f, tensor, BLOCK * GROUPS, FG_TRANSFORM_NONE);
    f->slot.sources[i].slice =
        (fg_row_slice){.first = i * BLOCK, .block = BLOCK, .period = PERIOD, .rows = ROWS};
  }
}

static void assert_sliced(const float *out, const float *values, uint32_t k) {
  for (uint32_t r = 0; r < ROWS; r++) {
    const uint32_t part = r / (BLOCK * GROUPS), in_part = r % (BLOCK * GROUPS);
    const uint32_t from = part * BLOCK + in_part / BLOCK * PERIOD + in_part % BLOCK;
    assert_memory_equal(out + r * k, values + from * k, k * sizeof(float));
  }
}

// Rows of 256 bytes lie so near that all between them come along, those of 2048 are read alone.
static void test_rows_between_distant_slices_are_not_read(void **state) {
  fixture *f = *state;
  static const uint32_t widths[] = {64, 512};
  for (size_t i = 0; i < 2; i++) {
    const uint32_t k = widths[i];
    f->slot.source_count = 0;
    f->checkpoint.rows_read = 0;
    slice_tensor(f, memory_add(&f->checkpoint, "qkv", FG_F32, ROWS, k, f->values), k);
    read_all(f, f->out, k * sizeof(float));
    assert_sliced(f->out, f->values, k);
    assert_true(k == 64 ? f->checkpoint.rows_read > ROWS : f->checkpoint.rows_read == ROWS);
    fg_rows_fetch whole = fetch(f, 0, ROWS);
    assert_non_null(fg_rows_borrow(&whole, BLOCK, BLOCK));
    assert_null(fg_rows_borrow(&whole, BLOCK, BLOCK + 1));
  }
}

typedef struct file_checkpoint {
  fg_checkpoint base;
  fg_file *file;
} file_checkpoint;

static bool place_in_file(const fg_checkpoint *self, const fg_checkpoint_tensor *tensor, uint64_t row,
                          uint64_t count, fg_checkpoint_place *out) {
  const file_checkpoint *c = (const file_checkpoint *)((const char *)self - offsetof(file_checkpoint, base));
  const uint64_t bytes = tensor->columns * sizeof(float);
  *out = (fg_checkpoint_place){.file = c->file, .offset = OFFSET + row * bytes, .bytes = count * bytes};
  return true;
}

static void test_distant_slices_are_read_from_where_they_stand(void **state) {
  fixture *f = *state;
  static const fg_checkpoint_ops ops = {.format = "file", .place = place_in_file};
  enum { WIDTH = 512, BYTES = OFFSET + ROWS * WIDTH * 4 };
  char path[] = "/tmp/flexgen-rows-XXXXXX", *bytes = calloc(1, BYTES);
  const int fd = mkstemp(path);
  assert_true(fd >= 0 && bytes);
  memcpy(bytes + OFFSET, f->values, BYTES - OFFSET);
  assert_int_equal(write(fd, bytes, BYTES), BYTES);
  close(fd);
  free(bytes);
  file_checkpoint c = {.base = {.ops = &ops}};
  fg_budget *budget;
  assert_int_equal(fg_budget_create(&budget, "host memory", "--host-memory", 0, &f->err), FG_OK);
  assert_int_equal(fg_io_create(&f->rows.io, &(fg_io_options){.budget = budget}, &f->err), FG_OK);
  assert_int_equal(fg_file_open(&c.file, path, FG_FILE_READ, &f->err), FG_OK);
  f->rows.checkpoint = &c.base;
  slice_tensor(f, memory_add(&f->checkpoint, "qkv", FG_F32, ROWS, WIDTH, NULL), WIDTH);
  fg_rows_fetch whole = fetch(f, 0, ROWS);
  // A block of the file at either end of each of the slices at most.
  assert_true(fg_io_bytes_read(f->rows.io) <= ROWS * WIDTH * 4 + 3 * GROUPS * 2 * FG_IO_ALIGN);
  float wide[WIDTH];
  fg_rows_take(&whole, 0, ROWS, wide, f->out);
  assert_sliced(f->out, f->values, WIDTH);
  read_all(f, f->out, WIDTH * sizeof(float));
  assert_sliced(f->out, f->values, WIDTH);
  fg_file_close(c.file);
  fg_io_destroy(f->rows.io);
  fg_budget_destroy(budget);
  unlink(path);
}

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
        const fg_weight w = {.dtype = FG_BF16, .n = heights[i], .k = 2048};
        uint32_t n = w.n, k = w.k, rows = fg_pack_panel_rows(layout, &w, limits[l]);
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

// Panels hold whole segments; several only where these are whole blocks of the layout.
static void test_panels_do_not_cut_segments(void **state) {
  (void)state;
  const fg_layout *plain = fg_layout_find("plain"), *n64 = fg_layout_find("n64");
  const fg_weight odd = {.dtype = FG_BF16, .n = 7 * 24, .k = 64, .segments = 7};
  const fg_weight even = {.dtype = FG_BF16, .n = 16 * 128, .k = 64, .segments = 16};
  assert_int_equal(fg_pack_panel_rows(n64, &odd, 1 << 20), 24);
  assert_int_equal(fg_pack_panel_rows(plain, &odd, 24 * 64 * 2 * 2), 2 * 24);
  assert_int_equal(fg_pack_panel_rows(n64, &even, 1), 128);
  assert_int_equal(fg_pack_panel_rows(n64, &even, 128 * 64 * 2 * 6), 6 * 128); // three panels
  assert_int_equal(fg_pack_panel_rows(n64, &even, 1 << 20), 2048);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      T(test_sources_are_stacked),
      T(test_rotary_rows_are_put_back_in_order),
      T(test_rotary_rows_of_blocks_move_whole),
      T(test_rotary_rows_are_converted_in_order),
      T(test_rows_as_they_are_need_no_copy),
      T(test_blocks_become_other_codes),
      T(test_row_with_one_scale_repeats_it),
      T(test_rotary_bias_is_put_back_in_order),
      T(test_transposed_matrix_is_turned),
      T(test_each_head_is_turned_by_itself),
      T(test_heads_of_blocks_are_opened_and_turned),
      T(test_mixed_types_become_one),
      T(test_conversion_rounds_to_nearest_even),
      T(test_absent_optional_vector_has_its_value),
      T(test_vector_of_a_tensor_for_each_head_is_stacked),
      T(test_rows_between_distant_slices_are_not_read),
      T(test_distant_slices_are_read_from_where_they_stand),
      cmocka_unit_test(test_panels_are_nearly_equal_and_within_the_limit),
      cmocka_unit_test(test_panels_do_not_cut_segments),
  };
  return cmocka_run_group_tests_name("rows", tests, NULL, NULL);
}
