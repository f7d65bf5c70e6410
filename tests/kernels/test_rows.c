#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "random.h"
#include "variants.h"

static const uint32_t widths[] = {1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 576, 2049};
enum { WIDTHS = sizeof widths / sizeof *widths };

static float *copy_of(const float *x, size_t count) {
  float *y = malloc(count * sizeof *y);
  memcpy(y, x, count * sizeof *y);
  return y;
}

// Every instruction set against the reference: calls `check` with its table, the reference's and a width.
static void each_variant(void (*check)(const fg_kernels *k, const fg_kernels *ref, uint32_t width,
                                       uint64_t *state)) {
  fg_kernels tables[MAX_VARIANTS];
  int count = kernel_variants(tables);
  uint64_t state = 11;
  for (int v = 1; v < count; v++)
    for (int i = 0; i < WIDTHS; i++) check(&tables[v], &tables[0], widths[i], &state);
}

static void assert_near(const char *name, const float *got, const float *want, uint32_t width,
                        double relative, double absolute) {
  for (uint32_t i = 0; i < width; i++) {
    if (isnan(want[i]) && isnan(got[i])) continue;
    if (got[i] == want[i]) continue; // infinities
    if (!(fabs((double)got[i] - want[i]) <= relative * fabs((double)want[i]) + absolute))
      fail_msg("%s: [%u] of %u is %.9g, not %.9g", name, i, width, got[i], want[i]);
  }
}

// ---- norms ---------------------------------------------------------------------------------------------

static void check_norm(const fg_kernels *k, const fg_kernels *ref, const float *x, uint32_t width,
                       uint64_t *state) {
  float *weight = random_floats(state, width), *bias = random_floats(state, width);
  for (int kind = 0; kind < FG_NORM_COUNT; kind++)
    for (int parts = 0; parts < 4; parts++) {
      const float *w = parts & 1 ? weight : NULL, *b = parts & 2 ? bias : NULL;
      float *got = malloc(width * sizeof *got), *want = malloc(width * sizeof *want),
            *in_place = copy_of(x, width);
      ref->norm[kind](x, w, b, want, width, 1e-5f);
      k->norm[kind](x, w, b, got, width, 1e-5f);
      k->norm[kind](in_place, w, b, in_place, width, 1e-5f);
      assert_near(k->name, got, want, width, 2e-6, 2e-6);
      assert_memory_equal(got, in_place, width * sizeof *got);
      free(got), free(want), free(in_place);
    }
  free(weight), free(bias);
}

static void check_norms(const fg_kernels *k, const fg_kernels *ref, uint32_t width, uint64_t *state) {
  float *x = random_floats(state, width);
  check_norm(k, ref, x, width, state);
  for (uint32_t i = 0; i < width; i++) x[i] *= 1e-20f; // eps alone keeps it finite; squares are subnormal
  check_norm(k, ref, x, width, state);
  for (uint32_t i = 0; i < width; i++) x[i] = 0;
  check_norm(k, ref, x, width, state);
  for (uint32_t i = 0; i < width; i++) x[i] = random_float(state);
  x[width / 2] = 3e4f; // an outlier channel, as OPT has them
  check_norm(k, ref, x, width, state);
  free(x);
}

static void test_norms_match_the_reference(void **state) {
  (void)state;
  each_variant(check_norms);
}

// A mean far from zero: the variance must come from differences, not from a difference of squares.
static void check_offset_norm(const fg_kernels *k, const fg_kernels *ref, uint32_t width, uint64_t *state) {
  float *x = random_floats(state, width), *got = malloc(width * sizeof *got),
        *want = malloc(width * sizeof *want);
  for (uint32_t i = 0; i < width; i++) x[i] = 1000 + x[i];
  ref->norm[FG_NORM_LAYER](x, NULL, NULL, want, width, 1e-5f);
  k->norm[FG_NORM_LAYER](x, NULL, NULL, got, width, 1e-5f);
  if (width > 3)
    assert_near(k->name, got, want, width, 1e-3, 1e-3); // a unit in the last place of 1000 is 6e-5
  free(x), free(got), free(want);
}

static void test_layer_norm_survives_a_large_mean(void **state) {
  (void)state;
  each_variant(check_offset_norm);
}

// The reference itself, against the formulas in one line each.
static void test_reference_norms_are_the_formulas(void **state) {
  (void)state;
  fg_kernels k;
  fg_kernels_init(&k, 0);
  const float x[] = {1, 2, 3, 6}, weight[] = {1, 2, 1, 1}, bias[] = {0, 0, 10, 0};
  float out[4];
  k.norm[FG_NORM_LAYER](x, weight, bias, out, 4, 0.5f); // mean 3, variance 3.5
  const float layer[] = {-1, -1, 10, 1.5f};
  assert_near("layer", out, layer, 4, 1e-7, 0);
  k.norm[FG_NORM_RMS](x, weight, NULL, out, 4, 3.5f); // mean square 12.5
  const float rms[] = {0.25f, 1, 0.75f, 1.5f};
  assert_near("rms", out, rms, 4, 1e-7, 0);
}

// ---- activations ---------------------------------------------------------------------------------------

static const char *const act_names[] = {"relu", "gelu_erf", "gelu_tanh", "silu", "relu_squared"};

// A sweep that takes in both tails, the neighbourhood of zero, subnormal and huge numbers.
static float *sweep(size_t *count) {
  static const float extremes[] = {0,     -0.0f,  1e-40f, -1e-40f, 1e-30f,   -1e-30f,
                                   1e10f, -1e10f, 3e38f,  -3e38f,  INFINITY, NAN};
  enum { STEPS = 40001, EXTREMES = sizeof extremes / sizeof *extremes };
  float *x = malloc((STEPS + EXTREMES) * sizeof *x);
  for (int i = 0; i < STEPS; i++) x[i] = (float)(i - STEPS / 2) * (100.f / STEPS);
  memcpy(x + STEPS, extremes, sizeof extremes);
  *count = STEPS + EXTREMES;
  return x;
}

// Left of -3 the exponent of the tanh form is large, and its rounding shows in the result.
static const struct {
  double relative, absolute;
} act_bounds[FG_ACT_COUNT] = {{0, 0}, {5e-7, 1e-36}, {3e-6, 1e-12}, {5e-7, 1e-36}, {0, 0}};

static void test_activations_match_the_reference(void **state) {
  (void)state;
  fg_kernels tables[MAX_VARIANTS];
  int variants = kernel_variants(tables);
  size_t count;
  float *x = sweep(&count);
  for (int kind = 0; kind < FG_ACT_COUNT; kind++) {
    float *want = copy_of(x, count);
    tables[0].act(kind, want, (uint32_t)count);
    for (int v = 1; v < variants; v++) {
      float *got = copy_of(x, count);
      tables[v].act(kind, got, (uint32_t)count);
      assert_near(act_names[kind], got, want, (uint32_t)count, act_bounds[kind].relative,
                  act_bounds[kind].absolute);
      free(got);
    }
    free(want);
  }
  free(x);
}

// Published values of the functions (x, relu, gelu by erf, gelu by tanh, silu, the square of relu).
static void test_reference_activations_are_the_functions(void **state) {
  (void)state;
  static const float rows[][6] = {
      {1, 1, 0.8413447461f, 0.8411919906f, 0.7310585786f, 1},
      {-1, 0, -0.1586552539f, -0.1588080094f, -0.2689414214f, 0},
      {2.5f, 2.5f, 2.484475837f, 2.484915733f, 2.31035455f, 6.25f},
  };
  fg_kernels k;
  fg_kernels_init(&k, 0);
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    for (int kind = 0; kind < FG_ACT_COUNT; kind++) {
      float x = rows[i][0];
      k.act(kind, &x, 1);
      assert_near(act_names[kind], &x, &rows[i][1 + kind], 1, 1e-6, 0);
    }
}

static void check_glu(const fg_kernels *k, const fg_kernels *ref, uint32_t width, uint64_t *state) {
  float *x = random_floats(state, 2 * (size_t)width), *want = copy_of(x, width);
  for (int kind = 0; kind < FG_ACT_COUNT; kind++) {
    float *got = malloc(width * sizeof *got);
    memcpy(want, x, width * sizeof *want);
    ref->act(kind, want, width);
    for (uint32_t i = 0; i < width; i++) want[i] *= x[width + i];
    k->glu(kind, x, got, width);
    assert_near(act_names[kind], got, want, width, 2e-6, 1e-12);
    ref->glu(kind, x, got, width);
    assert_near(act_names[kind], got, want, width, 1e-6, 1e-12);
    free(got);
  }
  free(x), free(want);
}

static void test_glu_gates_the_second_half(void **state) {
  (void)state;
  each_variant(check_glu);
}

// ---- sums, rotary embedding ----------------------------------------------------------------------------

static void check_sums(const fg_kernels *k, const fg_kernels *ref, uint32_t width, uint64_t *state) {
  float *x = random_floats(state, width), *bias = random_floats(state, width),
        *before = random_floats(state, width);
  float *got = copy_of(before, width), *want = copy_of(before, width);
  k->add(x, 1, got, width);
  ref->add(x, 1, want, width);
  assert_memory_equal(got, want, width * sizeof *got);
  for (uint32_t i = 0; i < width; i++) assert_true(want[i] == before[i] + x[i]);
  k->add(x, 0.22f, got, width);
  ref->add(x, 0.22f, want, width);
  assert_memory_equal(got, want, width * sizeof *got);
  for (int variant = 0; variant < 4; variant++) {
    memcpy(got, before, width * sizeof *got);
    memcpy(want, before, width * sizeof *got);
    k->finish(x, variant & 1 ? bias : NULL, got, width, variant & 2);
    ref->finish(x, variant & 1 ? bias : NULL, want, width, variant & 2);
    assert_memory_equal(got, want, width * sizeof *got);
  }
  free(x), free(bias), free(before), free(got), free(want);
}

static void test_sums_are_exact(void **state) {
  (void)state;
  each_variant(check_sums);
}

static void check_rope(const fg_kernels *k, const fg_kernels *ref, uint32_t half, uint64_t *state) {
  float *head = random_floats(state, 2 * (size_t)half), *cosines = random_floats(state, half);
  float *sines = random_floats(state, half);
  for (int kind = 0; kind < FG_ROPE_COUNT; kind++) {
    float *got = copy_of(head, 2 * (size_t)half), *want = copy_of(head, 2 * (size_t)half);
    k->rope[kind](got, cosines, sines, 2 * half);
    ref->rope[kind](want, cosines, sines, 2 * half);
    assert_memory_equal(got, want, 2 * (size_t)half * sizeof *got);
    for (uint32_t i = 0; i < half; i++) {
      uint32_t a = kind == FG_ROPE_HALF ? i : 2 * i, b = kind == FG_ROPE_HALF ? i + half : 2 * i + 1;
      double x = (double)head[a] * cosines[i] - (double)head[b] * sines[i];
      double y = (double)head[b] * cosines[i] + (double)head[a] * sines[i];
      assert_true(fabs(want[a] - x) < 3e-7 && fabs(want[b] - y) < 3e-7);
    }
    free(got), free(want);
  }
  free(head), free(cosines), free(sines);
}

static void test_rope_turns_its_pairs(void **state) {
  (void)state;
  each_variant(check_rope);
}

// ---- conversions ---------------------------------------------------------------------------------------

// Numbers of every kind: exponents from subnormal to infinite, halves that round to even, NaNs.
static void check_conversions(const fg_kernels *k, const fg_kernels *ref, uint32_t width, uint64_t *state) {
  uint32_t *bits = malloc(width * sizeof *bits);
  uint8_t *got = malloc(width * 4), *want = malloc(width * 4);
  static const fg_dtype types[] = {FG_F32, FG_F16, FG_BF16};
  for (int round = 0; round < 20; round++) {
    for (uint32_t i = 0; i < width; i++) {
      bits[i] = (uint32_t)random_u64(state);
      if (round % 4 == 1) bits[i] = (bits[i] & 0xffff0000u) | 0x8000u;     // half way between two bfloat16
      if (round % 4 == 2) bits[i] &= 0x807fffffu;                          // subnormal
      if (round % 4 == 3) bits[i] = (bits[i] & 0x8fffe000u) | 0x38001000u; // near float16's range, half way
    }
    const float *x = (const float *)bits;
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
      size_t bytes = width * fg_dtype_get(types[t])->bytes;
      for (uint32_t i = 0; i < width; i++) // float16's NaNs may differ in their payload
        if (types[t] == FG_F16 && isnan(x[i])) bits[i] = 0x3f800000u;
      k->to_cache[types[t]](x, got, width);
      ref->to_cache[types[t]](x, want, width);
      assert_memory_equal(got, want, bytes);
      fg_dtype_get(types[t])->from_f32(x, want, width);
      assert_memory_equal(got, want, bytes);
    }
    k->to_bf16(x, (uint16_t *)got, width);
    assert_memory_equal(got, want, width * 2);
  }
  free(bits), free(got), free(want);
}

static void test_conversions_round_as_the_types_do(void **state) {
  (void)state;
  each_variant(check_conversions);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_norms_match_the_reference),
      cmocka_unit_test(test_layer_norm_survives_a_large_mean),
      cmocka_unit_test(test_reference_norms_are_the_formulas),
      cmocka_unit_test(test_activations_match_the_reference),
      cmocka_unit_test(test_reference_activations_are_the_functions),
      cmocka_unit_test(test_glu_gates_the_second_half),
      cmocka_unit_test(test_sums_are_exact),
      cmocka_unit_test(test_rope_turns_its_pairs),
      cmocka_unit_test(test_conversions_round_as_the_types_do),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
