#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "random.h"
#include "variants.h"

typedef struct shape {
  uint32_t n, k;
} shape;

static const shape shapes[] = {{1, 1},     {64, 32}, {63, 33},   {65, 64},
                               {130, 100}, {3, 31},  {192, 576}, {70, 768}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

// Calls `check` for every weight type, layout and shape that they allow.
static void each_panel(void (*check)(const fg_layout *layout, fg_dtype dtype, shape s)) {
  for (int l = 0; l < 2; l++)
    for (int t = 0; t < WEIGHT_TYPES; t++)
      for (int i = 0; i < SHAPES; i++) {
        shape s = shapes[i];
        s.k -= s.k % fg_dtype_get(weight_types[t])->block;
        if (s.k) check(fg_layout_find(l ? "n64" : "plain"), weight_types[t], s);
      }
}

static uint8_t *pack(const fg_layout *layout, fg_dtype dtype, const uint8_t *w, shape s) {
  uint8_t *panel = malloc(layout->bytes(dtype, s.n, s.k)); // exact: a sanitizer sees a write beyond
  layout->pack(dtype, w, s.n, s.k, panel);
  return panel;
}

// The values of a block's tile must be the matrix's, transposed, with zeros around.
static void check_reference_tiles(const fg_layout *layout, fg_dtype dtype, shape s) {
  fg_kernels k;
  fg_kernels_init(&k, 0);
  uint64_t state = s.n + s.k;
  uint8_t *w = random_weights(&state, dtype, s.n, s.k), *panel = pack(layout, dtype, w, s);
  float *values = malloc((size_t)s.n * s.k * sizeof *values);
  size_t tile_values = fg_tile_k(s.k) * FG_TILE_ROWS;
  float *tile = malloc(tile_values * sizeof *tile);
  uint16_t *rounded = malloc(tile_values * sizeof *rounded);
  fg_dtype_get(dtype)->to_f32(w, values, (size_t)s.n * s.k);
  for (uint32_t first = 0; first < s.n; first += FG_TILE_ROWS) {
    const uint8_t *block = panel + layout->bytes(dtype, FG_TILE_ROWS, s.k) * (first / FG_TILE_ROWS);
    uint32_t rows = s.n - first < FG_TILE_ROWS ? s.n - first : FG_TILE_ROWS;
    k.tile_f32[layout->kind][dtype](dtype, block, rows, s.k, tile);
    k.tile_bf16[layout->kind][dtype](dtype, block, rows, s.k, rounded);
    for (uint32_t c = 0; c < fg_tile_k(s.k); c++)
      for (uint32_t r = 0; r < FG_TILE_ROWS; r++) {
        float want = r < rows && c < s.k ? values[(size_t)(first + r) * s.k + c] : 0;
        assert_true(tile[(size_t)c * FG_TILE_ROWS + r] == want);
        assert_int_equal(rounded[((size_t)c / 2 * FG_TILE_ROWS + r) * 2 + c % 2], fg_bf16_from_f32(want));
      }
  }
  free(w), free(panel), free(values), free(tile), free(rounded);
}

static void test_tiles_hold_the_matrix_transposed(void **state) {
  (void)state;
  each_panel(check_reference_tiles);
}

// Rows of the matrix bit for bit, but for the payload of a NaN; rows of padding are zeros of either sign.
static bool same_f32(float want, float got, bool padding) {
  if (padding) return got == 0;
  return memcmp(&want, &got, 4) == 0 || (want != want && got != got);
}

static bool same_bf16(uint16_t want, uint16_t got, bool padding) {
  if (padding) return (got & 0x7fff) == 0;
  return want == got || ((want & 0x7fff) > 0x7f80 && (got & 0x7fff) > 0x7f80);
}

// Random bits: scales and values that are infinite, subnormal or NaN too.
static void check_fast_tiles(const fg_layout *layout, fg_dtype dtype, shape s) {
  fg_kernels tables[MAX_VARIANTS];
  int variants = kernel_variants(tables);
  uint64_t state = s.n * 3 + s.k, row_bytes = fg_layout_find("plain")->bytes(dtype, 1, s.k);
  uint8_t *w = malloc(s.n * row_bytes);
  for (size_t i = 0; i < s.n * row_bytes; i++) w[i] = (uint8_t)random_u64(&state);
  uint8_t *panel = pack(layout, dtype, w, s);
  size_t count = fg_tile_k(s.k) * FG_TILE_ROWS;
  float *want = malloc(count * 4), *got = malloc(count * 4);
  uint16_t *want_16 = malloc(count * 2), *got_16 = malloc(count * 2);
  uint32_t rows = s.n < FG_TILE_ROWS ? s.n : FG_TILE_ROWS;
  tables[0].tile_f32[layout->kind][dtype](dtype, panel, rows, s.k, want);
  tables[0].tile_bf16[layout->kind][dtype](dtype, panel, rows, s.k, want_16);
  for (int v = 1; v < variants; v++) {
    tables[v].tile_f32[layout->kind][dtype](dtype, panel, rows, s.k, got);
    tables[v].tile_bf16[layout->kind][dtype](dtype, panel, rows, s.k, got_16);
    for (size_t i = 0; i < count; i++) {
      if (!same_f32(want[i], got[i], i % FG_TILE_ROWS >= rows))
        fail_msg("%s %s: value %zu is %g, not %g", tables[v].name, fg_dtype_get(dtype)->name, i, got[i],
                 want[i]);
      if (!same_bf16(want_16[i], got_16[i], i / 2 % FG_TILE_ROWS >= rows))
        fail_msg("%s %s: bf16 %zu is %x, not %x", tables[v].name, fg_dtype_get(dtype)->name, i, got_16[i],
                 want_16[i]);
    }
  }
  free(w), free(panel), free(want), free(got), free(want_16), free(got_16);
}

static void test_fast_tiles_are_exact(void **state) {
  (void)state;
  each_panel(check_fast_tiles);
}

// A panel of rows cut at a multiple of row_multiple is a part of the whole one: how panels are cut changes
// no byte of them.
static void check_panels(const fg_layout *layout, fg_dtype dtype, shape s) {
  uint64_t state = s.n * 5 + s.k, row_bytes = fg_layout_find("plain")->bytes(dtype, 1, s.k);
  uint8_t *w = random_weights(&state, dtype, s.n, s.k), *whole = pack(layout, dtype, w, s);
  for (uint32_t first = 0; first < s.n; first += 64) {
    shape part = {s.n - first < 64 ? s.n - first : 64, s.k};
    uint8_t *panel = pack(layout, dtype, w + first * row_bytes, part);
    assert_memory_equal(panel, whole + layout->bytes(dtype, first, s.k),
                        layout->bytes(dtype, part.n, part.k));
    free(panel);
  }
  free(w), free(whole);
}

static void test_panels_are_parts_of_the_whole(void **state) {
  (void)state;
  each_panel(check_panels);
}

// A store records names; a row of the table must not be renamed by accident.
static void test_names_that_stand_in_stores(void **state) {
  (void)state;
  assert_string_equal(fg_layout_family_plain()->name, "plain-1");
  assert_string_equal(fg_layout_find("plain")->name, "plain");
  assert_int_equal(fg_layout_find("plain")->row_multiple, 1);
  assert_int_equal(fg_layout_find("n64")->row_multiple, 64);
  assert_null(fg_layout_find("n32"));
}

// Every variant's tiles of blocks that are only expanded are those of the reference, padding included.
static void check_block_tiles(const fg_kernels *k, const fg_kernels *ref, const block_type *type) {
  enum { ROWS = 37, K = 512, TILE = FG_TILE_ROWS * K };
  uint64_t state = (uint64_t)type->dtype;
  uint8_t *rows = random_blocks(&state, type, ROWS, K);
  float *want = malloc(TILE * sizeof *want), *got = malloc(TILE * sizeof *got);
  memset(got, 0xff, TILE * sizeof *got);
  ref->tile_f32[FG_LAYOUT_PLAIN][type->dtype](type->dtype, rows, ROWS, K, want);
  k->tile_f32[FG_LAYOUT_PLAIN][type->dtype](type->dtype, rows, ROWS, K, got);
  assert_memory_equal(got, want, TILE * sizeof *got);
  ref->tile_bf16[FG_LAYOUT_PLAIN][type->dtype](type->dtype, rows, ROWS, K, want);
  k->tile_bf16[FG_LAYOUT_PLAIN][type->dtype](type->dtype, rows, ROWS, K, got);
  assert_memory_equal(got, want, TILE * sizeof(uint16_t));
  free(rows), free(want), free(got);
}

static void test_tiles_of_blocks_are_the_references(void **state) {
  (void)state;
  fg_kernels tables[MAX_VARIANTS];
  int variants = kernel_variants(tables);
  for (int v = 0; v < variants; v++)
    for (int t = 0; t < BLOCK_TYPES; t++) check_block_tiles(&tables[v], &tables[0], &block_types[t]);
}

// A block is kept as it is, in rows, on every CPU.
static void test_blocks_lie_in_rows(void **state) {
  (void)state;
  for (int t = 0; t < BLOCK_TYPES; t++) {
    const fg_layout *layout = fg_layout_family_cpu()->choose(block_types[t].dtype, 64, 512);
    assert_non_null(layout);
    assert_string_equal(layout->name, "plain");
    assert_null(fg_layout_family_cpu()->choose(block_types[t].dtype, 64, 500));
  }
}

static void test_a_cpu_takes_the_layouts_that_its_kernels_read(void **state) {
  (void)state;
  static const struct {
    uint32_t features;
    const char *name, *codes, *floats;
  } cpus[] = {{0, "plain-1", "plain", "plain"},
              {FG_CPU_AVX2, "cpu-avx2-2", "n64", "n64"},
              {FG_CPU_AVX2 | FG_CPU_AVX_VNNI, "cpu-avx2-2", "n64", "n64"},
              {FG_CPU_AVX2 | FG_CPU_AVX512, "cpu-avx512-1", "n64", "n64"},
              {FG_CPU_NEON, "cpu-neon-1", "n64", "n64"},
              {FG_CPU_NEON | FG_CPU_DOTPROD | FG_CPU_I8MM, "cpu-neon-1", "n64", "n64"}};
  for (size_t i = 0; i < sizeof cpus / sizeof *cpus; i++) {
    const fg_layout_family *family = fg_layout_family_of(cpus[i].features);
    assert_string_equal(family->name, cpus[i].name);
    for (int t = 0; t < WEIGHT_TYPES; t++)
      assert_string_equal(family->choose(weight_types[t], 64, 256)->name,
                          fg_dtype_get(weight_types[t])->bits ? cpus[i].codes : cpus[i].floats);
  }
  assert_ptr_equal(fg_layout_family_cpu(), fg_layout_family_of(fg_cpu_features()));
}

static void test_refuses_what_cannot_be_a_weight(void **state) {
  (void)state;
  const fg_layout_family *families[] = {fg_layout_family_plain(), fg_layout_family_of(FG_CPU_AVX2),
                                        fg_layout_family_cpu()};
  for (size_t i = 0; i < 3; i++) {
    assert_null(families[i]->choose(FG_I64, 64, 64));
    assert_null(families[i]->choose(FG_Q8_0, 64, 33));
    assert_non_null(families[i]->choose(FG_Q8_0, 64, 64));
  }
  for (int l = 0; l < 2; l++) {
    const fg_layout *layout = fg_layout_find(l ? "n64" : "plain");
    assert_true(layout->bytes(FG_Q4_0, 64, 33) == UINT64_MAX);
    assert_true(layout->bytes(FG_F32, UINT32_MAX, UINT32_MAX) == UINT64_MAX);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_tiles_hold_the_matrix_transposed),
      cmocka_unit_test(test_fast_tiles_are_exact),
      cmocka_unit_test(test_panels_are_parts_of_the_whole),
      cmocka_unit_test(test_names_that_stand_in_stores),
      cmocka_unit_test(test_a_cpu_takes_the_layouts_that_its_kernels_read),
      cmocka_unit_test(test_tiles_of_blocks_are_the_references),
      cmocka_unit_test(test_blocks_lie_in_rows),
      cmocka_unit_test(test_refuses_what_cannot_be_a_weight),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
