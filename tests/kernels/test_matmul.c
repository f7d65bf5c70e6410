#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <math.h>
#include <stdio.h>

#include "kernels/cpu.h"
#include "kernels/matmul.h"
#include "random.h"
#include "variants.h"

#if defined(FG_HAVE_ONEDNN)
// Of the OpenMP run time that it is linked with.
extern void omp_set_num_threads(int count);
extern int omp_get_max_threads(void);
#endif

typedef enum arithmetic { F32, BF16, INT8 } arithmetic;

typedef struct rig {
  arithmetic arithmetic;
  fg_budget *budget;
  fg_threads *threads;
  fg_kernels kernels;
  fg_matmul *matmul;
} rig;

static rig *make_rig(uint32_t features, arithmetic a, uint32_t max_rows, uint32_t max_k, uint32_t threads) {
  rig *r = calloc(1, sizeof *r);
  r->arithmetic = a;
  assert_int_equal(fg_budget_create(&r->budget, "host memory", "--host-memory", 0, NULL), FG_OK);
  assert_int_equal(fg_threads_create(&r->threads, threads, NULL), FG_OK);
  fg_kernels_init(&r->kernels, features);
  fg_matmul_options options = {
      .kernels = &r->kernels,
      .features = features,
      .bf16 = a != F32,
      .int8 = a == INT8,
      .max_rows = max_rows,
      .max_k = max_k,
      .threads = r->threads,
      .budget = r->budget,
  };
  assert_int_equal(fg_matmul_create(&r->matmul, &options, NULL), FG_OK);
  assert_int_equal(fg_budget_used(r->budget), fg_matmul_scratch_bytes(&options));
  return r;
}

static void drop_rig(rig *r) {
  fg_matmul_destroy(r->matmul);
  assert_int_equal(fg_budget_used(r->budget), 0);
  fg_threads_destroy(r->threads);
  fg_budget_destroy(r->budget);
  free(r);
}

static uint8_t *pack(const fg_layout *layout, fg_dtype dtype, const uint8_t *w, uint32_t n, uint32_t k) {
  uint8_t *panel = malloc(layout->bytes(dtype, n, k));
  layout->pack(dtype, w, n, k, panel);
  return panel;
}

static void run(rig *r, const fg_matmul_call *call) {
  fg_error err;
  if (fg_matmul_run(r->matmul, call, &err)) fail_msg("%s", err.message);
}

// ---- against doubles -----------------------------------------------------------------------------------

typedef struct shape {
  uint32_t rows, n, k;
} shape;

// Compares a product with its double-precision value. The bound is a share of sum |x w|: for float32
// the usual random walk of roundings with room to spare; for bfloat16 one rounding of x and one of w; for
// int8 half a step of the codes of x, which is in (-1, 1). The variants after the first use x's copy again.
static uint8_t *weights_of(uint64_t *state, fg_dtype dtype, shape s) {
  for (int t = 0; t < BLOCK_TYPES; t++)
    if (block_types[t].dtype == dtype) return random_blocks(state, &block_types[t], s.n, s.k);
  return random_weights(state, dtype, s.n, s.k);
}

static void check_product(rig *r, const fg_layout *layout, fg_dtype dtype, shape s, uint64_t seed) {
  uint32_t x_stride = s.k + 3, out_stride = s.n + 5;
  uint64_t state = seed;
  // Exactly as large as the operand, so that a sanitizer sees what is read beyond it.
  float *x = random_floats(&state, s.rows ? (size_t)(s.rows - 1) * x_stride + s.k : 0);
  float *bias = random_floats(&state, s.n), *before = random_floats(&state, (size_t)s.rows * out_stride);
  float *w = malloc((size_t)s.n * s.k * sizeof *w),
        *out = malloc(((size_t)s.rows * out_stride + 1) * sizeof *out);
  uint8_t *rows = weights_of(&state, dtype, s), *panel = pack(layout, dtype, rows, s.n, s.k);
  fg_dtype_get(dtype)->to_f32(rows, w, (size_t)s.n * s.k);
  bool own_bits = r->arithmetic == INT8 && fg_dtype_get(dtype)->bits;
  double bound = own_bits ? 0.5 / 127 * 1.01 : fg_matmul_is_bf16(r->matmul) ? 0x1p-8 * 1.01 : 1e-6;
  for (int variant = 0; variant < 4; variant++) {
    bool accumulate = variant & 1, biased = variant & 2;
    memcpy(out, before, (size_t)s.rows * out_stride * sizeof *out);
    run(r, &(fg_matmul_call){x, panel, biased ? bias : NULL, out, s.rows, s.n, s.k, x_stride, out_stride,
                             dtype, layout, accumulate, variant > 0});
    for (size_t i = 0; i < (size_t)s.rows * out_stride; i++) {
      size_t row = i / out_stride, column = i % out_stride;
      double sum = 0, size = own_bits ? 0.01 : 1;
      if (column >= s.n) {
        assert_memory_equal(&out[i], &before[i], sizeof *out); // the gap between two rows
        continue;
      }
      for (uint32_t c = 0; c < s.k; c++) {
        double term = (double)x[row * x_stride + c] * w[column * s.k + c];
        sum += term;
        size += own_bits ? fabs(w[column * s.k + c]) : fabs(term);
      }
      if (biased) sum += bias[column];
      if (accumulate) sum += before[i];
      if (!(fabs(out[i] - sum) <= bound * size))
        fail_msg("%s %s [%u, %u] %u rows, seed %llu: out[%zu, %zu] is %g, not %g", layout->name,
                 fg_dtype_get(dtype)->name, s.n, s.k, s.rows, (unsigned long long)seed, row, column, out[i],
                 sum);
    }
  }
  free(x), free(bias), free(before), free(w), free(out), free(rows), free(panel);
}

static void check_all_products(uint32_t features, arithmetic a) {
  static const shape shapes[] = {{0, 64, 32}, {1, 1, 1},     {1, 64, 64},   {3, 70, 24},   {5, 130, 100},
                                 {8, 64, 33}, {17, 200, 96}, {130, 65, 40}, {300, 66, 64}, {33, 66, 600}};
  rig *r = make_rig(features, a, 300, 600, 2);
  for (int layout = 0; layout < 2; layout++)
    for (int t = 0; t < WEIGHT_TYPES; t++)
      for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        shape s = shapes[i];
        s.k -= s.k % fg_dtype_get(weight_types[t])->block;
        if (s.k == 0) continue;
        check_product(r, fg_layout_find(layout ? "n64" : "plain"), weight_types[t], s, 1 + i);
      }
  for (int t = 0; t < BLOCK_TYPES; t++)
    check_product(r, fg_layout_find("plain"), block_types[t].dtype, (shape){5, 70, 512}, 9);
  drop_rig(r);
}

// A CPU with AVX-512 at most.
static uint32_t without_tiles(void) {
  return fg_cpu_features() & ~(uint32_t)(FG_CPU_AMX_INT8 | FG_CPU_AMX_BF16);
}

static void test_reference_products_match_doubles(void **state) {
  (void)state;
  check_all_products(0, F32);
}

static void test_float32_products_match_doubles(void **state) {
  (void)state;
  check_all_products(fg_cpu_features(), F32);
  check_all_products(NARROW_FEATURES & fg_cpu_features(), F32);
}

static void test_bfloat16_products_match_doubles(void **state) {
  (void)state;
  check_all_products(fg_cpu_features(), BF16);
  check_all_products(without_tiles(), BF16);
}

static void test_int8_products_match_doubles(void **state) {
  (void)state;
  check_all_products(fg_cpu_features(), INT8);
  check_all_products(NARROW_FEATURES & fg_cpu_features(), INT8);
}

// Without the instruction, products asked for in bfloat16 are float32's.
static void test_bfloat16_without_the_instruction_is_float32(void **state) {
  (void)state;
  rig *r = make_rig(without_tiles() & ~(uint32_t)FG_CPU_AVX512_BF16, BF16, 8, 64, 1);
  assert_false(fg_matmul_is_bf16(r->matmul));
  check_product(r, fg_layout_find("n64"), FG_BF16, (shape){3, 64, 64}, 7);
  drop_rig(r);
}

// ---- bfloat16 ------------------------------------------------------------------------------------------

static float from_bf16(uint16_t v) {
  uint32_t bits = (uint32_t)v << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

// What a sum of bfloat16 products is said to be: of a column of `tile` [k / 2, 64, 2].
typedef float chain_fn(const uint16_t *x, const uint16_t *tile, uint32_t k, uint32_t column);

// Dot products of pairs, in order of k: the second of a pair, then the first.
static float chain_of_pairs(const uint16_t *x, const uint16_t *tile, uint32_t k, uint32_t column) {
  float sum = 0;
  for (uint32_t c = 0; c < k; c += 2) {
    const uint16_t *w = tile + (size_t)c * FG_TILE_ROWS + 2 * column;
    sum = fmaf(from_bf16(x[c + 1]), from_bf16(w[1]), sum);
    sum = fmaf(from_bf16(x[c]), from_bf16(w[0]), sum);
  }
  return sum;
}

// Products of tiles, in pieces of 32: a chain of the first of all pairs, one of the second.
static float chain_of_pieces(const uint16_t *x, const uint16_t *tile, uint32_t k, uint32_t column) {
  float sum = 0;
  for (uint32_t piece = 0; piece < k; piece += 32) {
    float first = 0, second = 0;
    for (uint32_t c = piece; c < piece + 32; c += 2) {
      const uint16_t *w = tile + (size_t)c * FG_TILE_ROWS + 2 * column;
      first = fmaf(from_bf16(x[c]), from_bf16(w[0]), first);
      second = fmaf(from_bf16(x[c + 1]), from_bf16(w[1]), second);
    }
    sum += first + second;
  }
  return sum;
}

// The instructions for such products, by what they need.
static const struct {
  uint32_t features;
  chain_fn *chain;
  const char *what;
} chains[] = {
    {FG_CPU_AVX2 | FG_CPU_AVX512 | FG_CPU_AVX512_BF16, chain_of_pairs, "dot products of bfloat16"},
    {FG_CPU_AVX2 | FG_CPU_AVX512 | FG_CPU_AVX512_BF16 | FG_CPU_AMX_BF16, chain_of_pieces,
     "products of tiles"},
};
enum { CHAINS = sizeof chains / sizeof *chains };

// However rows and k are cut, a sum is one chain; operands are exactly as large as said, for sanitizers.
static void check_chains(const fg_kernels *kernels, chain_fn *chain, uint32_t rows, uint32_t k) {
  uint64_t state = rows + k;
  float *x = random_floats(&state, (size_t)rows * k), *w = random_floats(&state, (size_t)k * FG_TILE_ROWS);
  uint16_t *x16 = malloc((size_t)rows * k * sizeof *x16);
  uint16_t *tile = malloc((size_t)k * FG_TILE_ROWS * sizeof *tile);
  float *out = malloc((size_t)rows * FG_TILE_ROWS * sizeof *out);
  kernels->to_bf16(x, x16, rows * k);
  kernels->to_bf16(w, tile, k * FG_TILE_ROWS);
  for (int ahead = 0; ahead < 2; ahead++) {
    for (uint32_t i = 0; i < rows * FG_TILE_ROWS; i++) out[i] = NAN; // nothing of before is added
    kernels->product_bf16(x16, rows, k, tile, ahead ? tile : NULL, out);
    for (uint32_t i = 0; i < rows * FG_TILE_ROWS; i++) {
      float sum = chain(x16 + (size_t)(i / FG_TILE_ROWS) * k, tile, k, i % FG_TILE_ROWS);
      if (memcmp(&out[i], &sum, sizeof sum))
        fail_msg("%s: row %u of %u, column %u, k %u: %a, not %a", kernels->name, i / FG_TILE_ROWS, rows,
                 i % FG_TILE_ROWS, k, (double)out[i], (double)sum);
    }
  }
  free(x), free(w), free(x16), free(tile), free(out);
}

static void test_bfloat16_sums_are_one_chain_over_k(void **state) {
  (void)state;
  static const uint32_t ks[] = {32, 64, 128, 160, 256, 288, 608};
  int checked = 0;
  for (int c = 0; c < CHAINS; c++) {
    fg_kernels kernels;
    if (chains[c].features & ~fg_cpu_features()) {
      print_message("left out: this CPU has no %s\n", chains[c].what);
      continue;
    }
    fg_kernels_init(&kernels, chains[c].features);
    for (size_t i = 0; i < sizeof ks / sizeof *ks; i++) {
      for (uint32_t rows = 1; rows <= 40; rows++) check_chains(&kernels, chains[c].chain, rows, ks[i]);
      for (uint32_t rows = 64; rows <= 129; rows += 13) check_chains(&kernels, chains[c].chain, rows, ks[i]);
    }
    checked++;
  }
  if (!checked) skip();
}

// A denormal, as a bfloat16 or as a sum, counts as zero.
static void test_bfloat16_denormals_are_zeros(void **state) {
  (void)state;
  enum { K = 32 };
  uint16_t x[K] = {0}, tile[K * FG_TILE_ROWS] = {0};
  x[0] = 0x0040, tile[0] = 0x7e00;          // 2^-127 times 2^125
  x[2] = 0x2000, tile[2 * 64 + 2] = 0x1f80; // 2^-63 times 2^-64
  x[4] = 0x0080, tile[4 * 64 + 4] = 0x3f80; // the smallest normal number times 1
  int checked = 0;
  for (int c = 0; c < CHAINS; c++) {
    fg_kernels kernels;
    float out[FG_TILE_ROWS];
    if (chains[c].features & ~fg_cpu_features()) continue;
    fg_kernels_init(&kernels, chains[c].features);
    kernels.product_bf16(x, 1, K, tile, NULL, out);
    assert_true(out[0] == 0);
    assert_true(out[1] == 0);
    assert_true(out[2] == 0x1p-126f);
    checked++;
  }
  if (!checked) skip();
}

// ---- bit by bit ------------------------------------------------------------------------------------------

// One row's result must be the same bits alone, in any company and order, on any number of threads, and
// from any panel that holds its outputs.
static void check_invariance(uint32_t features, arithmetic a, fg_dtype dtype, uint32_t k) {
  enum { ROWS = 300, N = 320, TRIALS = 24 };
  const fg_layout *layout = fg_layout_find("n64");
  uint64_t state = k;
  float *x = random_floats(&state, (size_t)ROWS * k), *all = malloc(ROWS * N * sizeof *all);
  float *some = malloc(ROWS * N * sizeof *some), *picked = malloc((size_t)ROWS * k * sizeof *picked);
  uint8_t *w = random_weights(&state, dtype, N, k), *panel = pack(layout, dtype, w, N, k);
  rig *two = make_rig(features, a, ROWS, k, 2), *one = make_rig(features, a, ROWS, k, 1);
  run(two, &(fg_matmul_call){x, panel, NULL, all, ROWS, N, k, k, N, dtype, layout, false, false});
  static const uint32_t counts[] = {1, 2, 3, 4, 5, 7, 8, 9, 16, 31, 33, 64, 100, 128, 129, 200, 257, 300};
  for (size_t i = 0; i < sizeof counts / sizeof *counts + TRIALS; i++) {
    uint32_t rows = i < sizeof counts / sizeof *counts ? counts[i] : 1, from[ROWS];
    uint32_t first = (uint32_t)(random_u64(&state) % (N / 64)), blocks = N / 64 - first;
    uint32_t n = (1 + (uint32_t)(random_u64(&state) % blocks)) * 64;
    for (uint32_t r = 0; r < rows; r++) {
      from[r] = (uint32_t)(random_u64(&state) % ROWS);
      memcpy(picked + (size_t)r * k, x + (size_t)from[r] * k, k * sizeof *x);
    }
    const uint8_t *part = panel + layout->bytes(dtype, first * 64, k);
    run(i % 2 ? one : two,
        &(fg_matmul_call){picked, part, NULL, some, rows, n, k, k, N, dtype, layout, false, false});
    for (uint32_t r = 0; r < rows; r++)
      if (memcmp(some + (size_t)r * N, all + (size_t)from[r] * N + first * 64, n * sizeof *some))
        fail_msg("%s k %u: row %u of %u differs", fg_dtype_get(dtype)->name, k, r, rows);
  }
  drop_rig(one), drop_rig(two);
  free(x), free(all), free(some), free(picked), free(w), free(panel);
}

static void check_invariance_of_types(uint32_t features, arithmetic a) {
  static const uint32_t ks[] = {1, 24, 64, 100, 576, 768, 1536, 2048, 4544, 5632, 11008};
  for (size_t i = 0; i < sizeof ks / sizeof *ks; i++) {
    check_invariance(features, a, FG_F32, ks[i]);
    check_invariance(features, a, FG_BF16, ks[i]);
    if (ks[i] > 1000) continue; // every other type becomes one of these two before it is multiplied
    check_invariance(features, a, FG_F16, ks[i]);
    if (ks[i] % 32) continue;
    for (int t = 0; t < WEIGHT_TYPES; t++) {
      const fg_dtype_info *type = fg_dtype_get(weight_types[t]);
      if (type->bits && ks[i] % type->block == 0) check_invariance(features, a, weight_types[t], ks[i]);
    }
  }
}

static void test_float32_rows_do_not_depend_on_company(void **state) {
  (void)state;
  check_invariance_of_types(fg_cpu_features(), F32);
}

static void test_bfloat16_rows_do_not_depend_on_company(void **state) {
  (void)state;
  check_invariance_of_types(fg_cpu_features(), BF16);
  if (without_tiles() != fg_cpu_features()) check_invariance_of_types(without_tiles(), BF16);
}

static void test_int8_rows_do_not_depend_on_company(void **state) {
  (void)state;
  check_invariance_of_types(fg_cpu_features(), INT8);
}

static void test_reference_rows_do_not_depend_on_company(void **state) {
  (void)state;
  check_invariance(0, F32, FG_F32, 100);
  check_invariance(0, F32, FG_Q4_1, 96);
}

// More values of k than shapes are kept: old ones go and come back.
static void test_shapes_are_replaced_when_the_table_is_full(void **state) {
  (void)state;
  rig *r = make_rig(fg_cpu_features(), F32, 8, 5000, 1);
  for (int pass = 0; pass < 2; pass++)
    for (uint32_t k = 32; k <= 32 * 140; k += 32)
      check_product(r, fg_layout_find("n64"), FG_F32, (shape){1, 64, k}, k);
  drop_rig(r);
}

// x is padded along k in scratch, where an earlier product left infinities: zero weights do not hide them.
static void test_padding_forgets_earlier_rows(void **state) {
  (void)state;
  for (arithmetic a = F32; a <= BF16; a++) {
    rig *r = make_rig(fg_cpu_features(), a, 40, 128, 1);
    const fg_layout *layout = fg_layout_find("n64");
    uint64_t seed = 1;
    float x[40 * 128], out[40 * 64];
    for (int i = 0; i < 40 * 128; i++) x[i] = INFINITY;
    uint8_t *w = random_weights(&seed, FG_F32, 64, 128), *panel = pack(layout, FG_F32, w, 64, 128);
    run(r, &(fg_matmul_call){x, panel, NULL, out, 40, 64, 128, 128, 64, FG_F32, layout, false, false});
    for (uint32_t rows = 1; rows <= 40; rows += 13)
      check_product(r, layout, FG_F32, (shape){rows, 64, 100}, rows);
    free(w), free(panel);
    drop_rig(r);
  }
}

#if defined(FG_HAVE_ONEDNN)
static int process_threads(void) {
  int count = 0;
  DIR *tasks = opendir("/proc/self/task");
  assert_non_null(tasks);
  while (readdir(tasks)) count++;
  closedir(tasks);
  return count;
}

// The team is ours: oneDNN must compute on the calling thread, and leave its caller's OpenMP as it was.
static void test_onednn_starts_no_threads(void **state) {
  (void)state;
  omp_set_num_threads(4);
  rig *r = make_rig(fg_cpu_features(), F32, 256, 2048, 2);
  int before = process_threads();
  check_product(r, fg_layout_find("n64"), FG_F32, (shape){256, 256, 2048}, 1);
  assert_int_equal(process_threads(), before);
  assert_int_equal(omp_get_max_threads(), 4);
  drop_rig(r);
}
#endif

static void test_refuses_a_k_beyond_its_scratch(void **state) {
  (void)state;
  rig *r = make_rig(fg_cpu_features(), F32, 8, 64, 1);
  float x[128] = {0}, w[128 * 64] = {0}, out[64];
  fg_matmul_call call = {x, w, NULL, out, 1, 64, 65, 128, 64, FG_F32, fg_layout_find("n64"), false, false};
  assert_int_equal(fg_matmul_run(r->matmul, &call, NULL), FG_INTERNAL);
  drop_rig(r);
}

// As many rows as the scratch was made for are one chunk: otherwise each panel of a matrix makes their codes
// anew, and reads its weights again for the last few. Seen by a second call that still has the first one's x.
static void test_its_rows_are_one_chunk(void **state) {
  (void)state;
  enum { ROWS = 512, N = 64 };
  static const uint32_t ks[] = {256, 2048, 5632};
  const fg_layout *layout = fg_layout_find("n64");
  for (size_t i = 0; i < sizeof ks / sizeof *ks; i++) {
    const uint32_t k = ks[i];
    uint64_t seed = k;
    float *x = random_floats(&seed, (size_t)ROWS * k), *first = malloc(ROWS * N * sizeof *first);
    float *second = malloc(ROWS * N * sizeof *second);
    uint8_t *w = random_weights(&seed, FG_I8G128, N, k), *panel = pack(layout, FG_I8G128, w, N, k);
    rig *r = make_rig(fg_cpu_features(), INT8, ROWS, k, 2);
    run(r, &(fg_matmul_call){x, panel, NULL, first, ROWS, N, k, k, N, FG_I8G128, layout, false, false});
    memset(x, 0, (size_t)ROWS * k * sizeof *x);
    run(r, &(fg_matmul_call){x, panel, NULL, second, ROWS, N, k, k, N, FG_I8G128, layout, false, true});
    assert_memory_equal(first, second, ROWS * N * sizeof *first);
    drop_rig(r);
    free(x), free(first), free(second), free(w), free(panel);
  }
}

// An argument, such as "test_float32_*", names what is run alone: under an emulator all of it takes hours.
int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_reference_products_match_doubles),
    cmocka_unit_test(test_float32_products_match_doubles),
    cmocka_unit_test(test_bfloat16_products_match_doubles),
    cmocka_unit_test(test_int8_products_match_doubles),
    cmocka_unit_test(test_bfloat16_without_the_instruction_is_float32),
    cmocka_unit_test(test_bfloat16_sums_are_one_chain_over_k),
    cmocka_unit_test(test_bfloat16_denormals_are_zeros),
    cmocka_unit_test(test_float32_rows_do_not_depend_on_company),
    cmocka_unit_test(test_bfloat16_rows_do_not_depend_on_company),
    cmocka_unit_test(test_int8_rows_do_not_depend_on_company),
    cmocka_unit_test(test_reference_rows_do_not_depend_on_company),
    cmocka_unit_test(test_shapes_are_replaced_when_the_table_is_full),
    cmocka_unit_test(test_padding_forgets_earlier_rows),
    cmocka_unit_test(test_its_rows_are_one_chunk),
#if defined(FG_HAVE_ONEDNN)
    cmocka_unit_test(test_onednn_starts_no_threads),
#endif
    cmocka_unit_test(test_refuses_a_k_beyond_its_scratch),
  };
  if (argc > 1) cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
