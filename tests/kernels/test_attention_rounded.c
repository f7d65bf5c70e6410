// Attention with rounded queries and weights.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "kernels/cpu.h"
#include "sequence.h"

static const setting settings[] = {
    //  KV heads, k, v, page, type     heads tokens window
    {{1, 64, 64, 16, FG_BF16, false, 0}, 1, 1, 0, 0, FG_HEAD_PLAIN},
    {{2, 64, 64, 16, FG_BF16, false, 0}, 16, 200, 0, 0, FG_HEAD_PLAIN},
    {{2, 64, 64, 16, FG_BF16, false, 0}, 2, 150, 0, 0, FG_HEAD_PLAIN},
    {{1, 20, 20, 16, FG_BF16, false, 0}, 3, 130, 0, 0, FG_HEAD_PLAIN},
    {{2, 128, 128, 32, FG_BF16, false, 0}, 8, 129, 40, 0, FG_HEAD_PLAIN},
    {{1, 80, 80, 7, FG_BF16, false, 0}, 2, 100, 1, 0, FG_HEAD_PLAIN},
    {{1, 24, 40, 64, FG_BF16, false, 0}, 48, 70, 65, 0, FG_HEAD_PLAIN},
    {{3, 7, 5, 1, FG_BF16, false, 0}, 6, 67, 64, 0, FG_HEAD_PLAIN},
    {{1, 256, 64, 48, FG_BF16, false, 0}, 5, 90, 0, 0, FG_HEAD_PLAIN},
    {{1, 96, 33, 16, FG_BF16, false, 0}, 1, 193, 63, 0, FG_HEAD_PLAIN},
    {{1, 1, 1, 16, FG_BF16, false, 0}, 1, 65, 0, 0, FG_HEAD_PLAIN},
    {{2, 64, 64, 16, FG_I8G64M, false, 0}, 16, 200, 0, 0, FG_HEAD_PLAIN},
    {{2, 64, 64, 16, FG_I4G64M, false, 0}, 2, 150, 0, 0, FG_HEAD_PLAIN},
    {{1, 80, 80, 7, FG_I4G64M, false, 0}, 3, 100, 70, 0, FG_HEAD_PLAIN},
    {{1, 144, 16, 16, FG_I8G64M, false, 0}, 8, 130, 0, 0, FG_HEAD_PLAIN},
    {{2, 128, 96, 32, FG_I4G64M, false, 0}, 8, 129, 40, 0, FG_HEAD_PLAIN},
    {{1, 64, 64, 16, FG_I8G64M, false, 0}, 5, 130, 0, 0, FG_HEAD_PLAIN},
    {{1, 48, 176, 9, FG_I4G64M, false, 0}, 1, 200, 70, 0, FG_HEAD_PLAIN},
    // values that are the beginning of the keys
    {{1, 576, 512, 16, FG_BF16, true, 0}, 16, 130, 0, 0, FG_HEAD_PLAIN},
    {{1, 576, 512, 16, FG_I8G64M, true, 0}, 2, 70, 0, 0, FG_HEAD_PLAIN},
    {{1, 576, 512, 16, FG_I4G64M, true, 0}, 3, 130, 0, 0, FG_HEAD_PLAIN},
    {{2, 43, 30, 7, FG_BF16, true, 0}, 4, 100, 40, 0, FG_HEAD_PLAIN},
    {{1, 112, 80, 5, FG_I4G64M, true, 0}, 2, 90, 0, 0, FG_HEAD_PLAIN},
    // what heads add
    {{2, 64, 64, 16, FG_BF16, false, 0}, 8, 150, 0, 3.0f, FG_HEAD_PLAIN},
    {{1, 64, 64, 16, FG_BF16, false, 0}, 3, 130, 40, 0, FG_HEAD_ALIBI},
    {{1, 64, 64, 16, FG_I8G64M, false, 0}, 2, 130, 0, 0, FG_HEAD_ALIBI_BF16},
    {{2, 64, 64, 16, FG_BF16, false, 0}, 8, 150, 30, 5.0f, FG_HEAD_SINK},
    {{2, 64, 64, 16, FG_I4G64M, false, 0}, 6, 150, 30, 5.0f, FG_HEAD_SINK},
};
enum { SETTINGS = sizeof settings / sizeof *settings };

static const fg_dtype caches[] = {FG_BF16, FG_I8G64M, FG_I4G64M};
enum { CACHES = sizeof caches / sizeof *caches };

static bool has_codes(const sequence *s) {
  return fg_dtype_get(s->kv.dtype)->block > 1;
}

// The kernels of this CPU; skips where it has none at all. A CPU may have one of the two.
static fg_kernels kernels(void) {
  fg_kernels k;
  fg_kernels_init(&k, fg_cpu_features());
  if (!k.attend_rounded[FG_BF16] && !k.attend_rounded[FG_I8G64M]) skip(); // no AVX512_BF16, no AVX512_VNNI
  return k;
}

static void round_to_bf16(float *x, size_t count) {
  const fg_dtype_info *bf16 = fg_dtype_get(FG_BF16);
  for (size_t i = 0; i < count; i++) {
    uint16_t half;
    bf16->from_f32(&x[i], &half, 1);
    bf16->to_f32(&half, &x[i], 1);
  }
}

// To whole parts of the largest, as the kernel of codes does with a group of dimensions.
static void round_group(float *x, uint32_t count) {
  float largest = 0;
  for (uint32_t i = 0; i < count; i++) largest = fmaxf(largest, fabsf(x[i]));
  for (uint32_t i = 0; i < count && largest > 0; i++)
    x[i] = rintf(x[i] * (32639 / largest)) * (largest / 32639);
}

// Rounds the queries, scaled, as the kernels do, so that the definition sees what they see.
static void round_queries(sequence *s) {
  size_t count = (size_t)s->tokens * s->heads * s->kv.k_dim;
  float factor = s->scale * 1.44269504f;
  for (size_t i = 0; i < count; i++) s->q[i] *= factor;
  if (has_codes(s))
    for (size_t row = 0; row < count; row += s->kv.k_dim)
      for (uint32_t c = 0; c < s->kv.k_dim; c += 64)
        round_group(s->q + row + c, s->kv.k_dim - c < 64 ? s->kv.k_dim - c : 64);
  else
    round_to_bf16(s->q, count);
  for (size_t i = 0; i < count; i++) s->q[i] = (float)((double)s->q[i] / factor);
}

// The largest difference from the definition, in parts of the largest value that a query may choose.
static double worst(const sequence *s, const float *out) {
  double *want = malloc(s->kv.v_dim * sizeof *want), error = 0, largest = 0;
  for (size_t i = 0; i < (size_t)s->tokens * s->kv.kv_heads * s->kv.v_dim; i++)
    largest = fmax(largest, fabs(s->v[i]));
  for (uint32_t t = 0; t < s->tokens; t++)
    for (uint32_t h = 0; h < s->heads; h++) {
      naive(s, t, h, want);
      for (uint32_t c = 0; c < s->kv.v_dim; c++) {
        double difference = fabs(out[((size_t)t * s->heads + h) * s->kv.v_dim + c] - want[c]);
        error = isnan(difference) ? INFINITY : fmax(error, difference);
      }
    }
  free(want);
  return error / largest;
}

// Over bfloat16: rounding the weights moves an output by at most 2^-9 of the largest value; all else is
// float32. Rounding the queries moves a score by 2^-9 of the sum of its absolute products, which is not
// bounded as simply: the definition is given the rounded ones. Over codes: a query's values move by 2^-16 of
// the largest of their group, weights times scales by 2^-16 of the largest of their block, codes times these
// reach twice the largest value; 64 of either that err in all directions add up to 8 times as much. The
// definition is given the queries as they are.
static void test_matches_its_definition_but_for_rounding(void **state) {
  (void)state;
  fg_kernels k = kernels();
  for (int i = 0; i < SETTINGS; i++) {
    if (!k.attend_rounded[settings[i].kv.dtype]) continue;
    sequence s = sequence_of(&settings[i]);
    float *out = attend(k.attend_rounded[s.kv.dtype], &s, s.tokens, most_rows(&settings[i]));
    if (!has_codes(&s)) round_queries(&s);
    double error = worst(&s, out), most = has_codes(&s) ? 5e-4 : 1.0 / 512 + 1e-4;
    if (!(error < most)) fail_msg("setting %d: %g of the largest value", i, error);
    free(out);
    drop_sequence(&s);
  }
}

// However a prompt is cut into chunks and blocks, and token by token, the bits are the same.
static void test_chunks_change_no_bit(void **state) {
  (void)state;
  static const uint32_t chunks[] = {1, 2, 7, 16, 33, 64, 100};
  fg_kernels k = kernels();
  for (int i = 0; i < SETTINGS; i++) {
    fg_attend_fn *rounded = k.attend_rounded[settings[i].kv.dtype];
    if (!rounded) continue;
    sequence s = sequence_of(&settings[i]);
    uint32_t rows = most_rows(&settings[i]);
    float *whole = attend(rounded, &s, s.tokens, rows);
    for (size_t c = 0; c < sizeof chunks / sizeof *chunks; c++) {
      float *cut = attend(rounded, &s, chunks[c], c % 2 ? rows : rows / 2 + 1);
      assert_memory_equal(whole, cut, (size_t)s.tokens * s.heads * s.kv.v_dim * sizeof *cut);
      free(cut);
    }
    free(whole);
    drop_sequence(&s);
  }
}

static void test_page_size_changes_no_bit(void **state) {
  (void)state;
  static const uint32_t sizes[] = {1, 5, 16, 64, 200};
  fg_kernels k = kernels();
  for (int c = 0; c < CACHES; c++) {
    float *first = NULL;
    if (!k.attend_rounded[caches[c]]) continue;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
      fg_kv_geometry kv = {2, 32, 32, sizes[i], caches[c], false, 0};
      sequence s = make_sequence(kv, 4, 180, 100, 5);
      float *out = attend(k.attend_rounded[caches[c]], &s, 64, 24);
      if (first) assert_memory_equal(first, out, (size_t)s.tokens * s.heads * kv.v_dim * sizeof *out);
      free(first);
      first = out;
      drop_sequence(&s);
    }
    free(first);
  }
}

// Each window's first and last key is seen and no other: values far from the rest stand just outside.
static void check_window(fg_attend_fn *rounded, fg_dtype cache, uint32_t window) {
  sequence s = make_sequence((fg_kv_geometry){1, 16, 16, 16, cache, false, 0}, 1, 260, window, 11);
  memset(s.q, 0, (size_t)260 * 16 * sizeof(float)); // a mean of the values seen
  for (uint32_t t = 0; t < 260; t++) {
    for (int c = 0; c < 16; c++) s.v[t * 16 + c] = (float)t;
    put_token(&s, t);
  }
  float *out = attend(rounded, &s, 260, 48);
  for (uint32_t t = 0; t < 260; t++) {
    double want[16];
    naive(&s, t, 0, want);
    assert_true(fabs(out[t * 16] - want[0]) <= 1e-5 * want[0]); // weights of 1 and equal values are exact
  }
  free(out);
  drop_sequence(&s);
}

static void test_window_ends_where_it_says(void **state) {
  (void)state;
  fg_kernels k = kernels();
  const uint32_t windows[] = {1, 2, 63, 64, 65, 128};
  for (int c = 0; c < CACHES; c++)
    for (size_t w = 0; w < sizeof windows / sizeof *windows; w++)
      if (k.attend_rounded[caches[c]]) check_window(k.attend_rounded[caches[c]], caches[c], windows[w]);
}

// Scores of +-1e4 and equal ones: softmax becomes a choice, or a mean, and nothing overflows.
static void test_extreme_scores(void **state) {
  (void)state;
  fg_kernels k = kernels();
  for (int c = 0; c < CACHES; c++)
    for (int sharp = 0; sharp < 2 && k.attend_rounded[caches[c]]; sharp++) {
      sequence s = make_sequence((fg_kv_geometry){1, 16, 16, 16, caches[c], false, 0}, 1, 150, 0, 3);
      for (size_t i = 0; i < 150 * 16; i++) s.q[i] *= sharp ? 1e4f : 0;
      float *out = attend(k.attend_rounded[caches[c]], &s, 150, 48);
      round_queries(&s);
      assert_true(worst(&s, out) < 2e-2); // 1e4 has 1e-3 of rounding
      free(out);
      drop_sequence(&s);
    }
}

// Keys in rising order of score: every block of keys brings a new maximum, and what was summed before
// must shrink to nothing without NaN.
static void test_every_block_raises_the_maximum(void **state) {
  (void)state;
  fg_kernels k = kernels();
  for (int cache = 0; cache < CACHES; cache++) {
    if (!k.attend_rounded[caches[cache]]) continue;
    sequence s = make_sequence((fg_kv_geometry){1, 16, 16, 16, caches[cache], false, 0}, 1, 400, 0, 13);
    for (uint32_t t = 0; t < 400; t++) {
      for (int c = 0; c < 16; c++) {
        s.q[t * 16 + c] = 8;
        s.k[t * 16 + c] = (float)t;
      }
      put_token(&s, t);
    }
    float *out = attend(k.attend_rounded[caches[cache]], &s, 400, 48);
    round_queries(&s);
    assert_true(worst(&s, out) < 1.0 / 512 + 1e-4);
    free(out);
    drop_sequence(&s);
  }
}

// A query that holds what is no number gets no number, and the others of its block what they get without it.
static void test_nan_stays_in_its_row(void **state) {
  (void)state;
  fg_kernels k = kernels();
  const float odd[] = {NAN, INFINITY, -INFINITY};
  for (int c = 0; c < CACHES; c++)
    for (size_t i = 0; i < sizeof odd / sizeof *odd && k.attend_rounded[caches[c]]; i++) {
      sequence s = make_sequence((fg_kv_geometry){1, 64, 64, 16, caches[c], false, 0}, 1, 40, 0, 17);
      float *without = attend(k.attend_rounded[caches[c]], &s, 40, 48);
      s.q[7 * 64 + 5] = odd[i];
      float *with = attend(k.attend_rounded[caches[c]], &s, 40, 48);
      assert_memory_equal(with, without, (size_t)7 * 64 * sizeof *with);
      assert_memory_equal(with + 8 * 64, without + 8 * 64, (size_t)32 * 64 * sizeof *with);
      for (int j = 0; j < 64; j++) assert_true(isnan(with[7 * 64 + j]));
      free(with), free(without);
      drop_sequence(&s);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_matches_its_definition_but_for_rounding),
      cmocka_unit_test(test_chunks_change_no_bit),
      cmocka_unit_test(test_page_size_changes_no_bit),
      cmocka_unit_test(test_window_ends_where_it_says),
      cmocka_unit_test(test_extreme_scores),
      cmocka_unit_test(test_every_block_raises_the_maximum),
      cmocka_unit_test(test_nan_stays_in_its_row),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
