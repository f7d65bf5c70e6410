// Attention with products in bfloat16.
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
    {{1, 64, 64, 16, FG_BF16, false}, 1, 1, 0, 0, FG_HEAD_PLAIN},
    {{2, 64, 64, 16, FG_BF16, false}, 16, 200, 0, 0, FG_HEAD_PLAIN},
    {{2, 64, 64, 16, FG_BF16, false}, 2, 150, 0, 0, FG_HEAD_PLAIN},
    {{1, 20, 20, 16, FG_BF16, false}, 3, 130, 0, 0, FG_HEAD_PLAIN},
    {{2, 128, 128, 32, FG_BF16, false}, 8, 129, 40, 0, FG_HEAD_PLAIN},
    {{1, 80, 80, 7, FG_BF16, false}, 2, 100, 1, 0, FG_HEAD_PLAIN},
    {{1, 24, 40, 64, FG_BF16, false}, 48, 70, 65, 0, FG_HEAD_PLAIN},
    {{3, 7, 5, 1, FG_BF16, false}, 6, 67, 64, 0, FG_HEAD_PLAIN},
    {{1, 256, 64, 48, FG_BF16, false}, 5, 90, 0, 0, FG_HEAD_PLAIN},
    {{1, 96, 33, 16, FG_BF16, false}, 1, 193, 63, 0, FG_HEAD_PLAIN},
    {{1, 1, 1, 16, FG_BF16, false}, 1, 65, 0, 0, FG_HEAD_PLAIN},
    {{2, 64, 64, 16, FG_I8G64M, false}, 16, 200, 0, 0, FG_HEAD_PLAIN},
    {{2, 64, 64, 16, FG_I4G64M, false}, 2, 150, 0, 0, FG_HEAD_PLAIN},
    {{1, 80, 80, 7, FG_I4G64M, false}, 3, 100, 70, 0, FG_HEAD_PLAIN},
    {{1, 144, 16, 16, FG_I8G64M, false}, 8, 130, 0, 0, FG_HEAD_PLAIN},
    {{2, 128, 96, 32, FG_I4G64M, false}, 8, 129, 40, 0, FG_HEAD_PLAIN},
    // values that are the beginning of the keys
    {{1, 576, 512, 16, FG_BF16, true}, 16, 130, 0, 0, FG_HEAD_PLAIN},
    {{1, 576, 512, 16, FG_I8G64M, true}, 2, 70, 0, 0, FG_HEAD_PLAIN},
    {{1, 576, 512, 16, FG_I4G64M, true}, 3, 130, 0, 0, FG_HEAD_PLAIN},
    {{2, 43, 30, 7, FG_BF16, true}, 4, 100, 40, 0, FG_HEAD_PLAIN},
    // what heads add
    {{2, 64, 64, 16, FG_BF16, false}, 8, 150, 0, 3.0f, FG_HEAD_PLAIN},
    {{1, 64, 64, 16, FG_BF16, false}, 3, 130, 40, 0, FG_HEAD_ALIBI},
    {{1, 64, 64, 16, FG_I8G64M, false}, 2, 130, 0, 0, FG_HEAD_ALIBI_BF16},
    {{2, 64, 64, 16, FG_BF16, false}, 8, 150, 30, 5.0f, FG_HEAD_SINK},
};
enum { SETTINGS = sizeof settings / sizeof *settings };

static fg_attend_fn *kernel(void) {
  fg_kernels k;
  fg_kernels_init(&k, fg_cpu_features());
  if (!k.attend_bf16[FG_BF16]) skip(); // the CPU has no AVX512_BF16
  return k.attend_bf16[FG_BF16];
}

static void round_to_bf16(float *x, size_t count) {
  const fg_dtype_info *bf16 = fg_dtype_get(FG_BF16);
  for (size_t i = 0; i < count; i++) {
    uint16_t half;
    bf16->from_f32(&x[i], &half, 1);
    bf16->to_f32(&half, &x[i], 1);
  }
}

// Rounds the queries, scaled, and expanded codes as the kernel does, so that the definition sees what it
// sees.
static void round_sequence(sequence *s) {
  size_t count = (size_t)s->tokens * s->heads * s->kv.k_dim, rows = (size_t)s->tokens * s->kv.kv_heads;
  float factor = s->scale * 1.44269504f;
  for (size_t i = 0; i < count; i++) s->q[i] *= factor;
  round_to_bf16(s->q, count);
  for (size_t i = 0; i < count; i++) s->q[i] = (float)((double)s->q[i] / factor);
  round_to_bf16(s->k, rows * s->kv.k_dim);
  round_to_bf16(s->v, rows * s->kv.v_dim);
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

// Rounding the weights moves an output by at most 2^-9 of the largest value; all else is float32. Rounding
// the queries moves a score by 2^-9 of the sum of its absolute products, which is not bounded as simply:
// the definition is given the rounded ones.
static void test_matches_its_definition_but_for_rounded_weights(void **state) {
  (void)state;
  fg_attend_fn *attend_bf16 = kernel();
  for (int i = 0; i < SETTINGS; i++) {
    sequence s = sequence_of(&settings[i]);
    float *out = attend(attend_bf16, &s, s.tokens, most_rows(&settings[i]));
    round_sequence(&s);
    double error = worst(&s, out);
    if (!(error < 1.0 / 512 + 1e-4)) fail_msg("setting %d: %g of the largest value", i, error);
    free(out);
    drop_sequence(&s);
  }
}

// However a prompt is cut into chunks and blocks, and token by token, the bits are the same.
static void test_chunks_change_no_bit(void **state) {
  (void)state;
  static const uint32_t chunks[] = {1, 2, 7, 16, 33, 64, 100};
  fg_attend_fn *attend_bf16 = kernel();
  for (int i = 0; i < SETTINGS; i++) {
    sequence s = sequence_of(&settings[i]);
    uint32_t rows = most_rows(&settings[i]);
    float *whole = attend(attend_bf16, &s, s.tokens, rows);
    for (size_t c = 0; c < sizeof chunks / sizeof *chunks; c++) {
      float *cut = attend(attend_bf16, &s, chunks[c], c % 2 ? rows : rows / 2 + 1);
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
  fg_attend_fn *attend_bf16 = kernel();
  float *first = NULL;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    fg_kv_geometry kv = {2, 32, 32, sizes[i], FG_BF16, false};
    sequence s = make_sequence(kv, 4, 180, 100, 5);
    float *out = attend(attend_bf16, &s, 64, 24);
    if (first) assert_memory_equal(first, out, (size_t)s.tokens * s.heads * kv.v_dim * sizeof *out);
    free(first);
    first = out;
    drop_sequence(&s);
  }
  free(first);
}

// Each window's first and last key is seen and no other: values far from the rest stand just outside.
static void test_window_ends_where_it_says(void **state) {
  (void)state;
  fg_attend_fn *attend_bf16 = kernel();
  const uint32_t windows[] = {1, 2, 63, 64, 65, 128};
  for (size_t w = 0; w < sizeof windows / sizeof *windows; w++) {
    sequence s = make_sequence((fg_kv_geometry){1, 16, 16, 16, FG_BF16, false}, 1, 260, windows[w], 11);
    memset(s.q, 0, (size_t)260 * 16 * sizeof(float)); // a mean of the values seen
    for (uint32_t t = 0; t < 260; t++) {
      for (int c = 0; c < 16; c++) s.v[t * 16 + c] = (float)t;
      put_token(&s, t);
    }
    float *out = attend(attend_bf16, &s, 260, 48);
    for (uint32_t t = 0; t < 260; t++) {
      double want;
      double all[16];
      naive(&s, t, 0, all);
      want = all[0];
      assert_true(fabs(out[t * 16] - want) <= 1e-5 * want); // weights of 1 are exact in bfloat16
    }
    free(out);
    drop_sequence(&s);
  }
}

// Scores of +-1e4 and equal ones: softmax becomes a choice, or a mean, and nothing overflows.
static void test_extreme_scores(void **state) {
  (void)state;
  fg_attend_fn *attend_bf16 = kernel();
  for (int sharp = 0; sharp < 2; sharp++) {
    sequence s = make_sequence((fg_kv_geometry){1, 16, 16, 16, FG_BF16, false}, 1, 150, 0, 3);
    for (size_t i = 0; i < 150 * 16; i++) s.q[i] *= sharp ? 1e4f : 0;
    float *out = attend(attend_bf16, &s, 150, 48);
    round_sequence(&s);
    assert_true(worst(&s, out) < 2e-2); // 1e4 has 1e-3 of rounding
    free(out);
    drop_sequence(&s);
  }
}

// Keys in rising order of score: every block of keys brings a new maximum, and what was summed before
// must shrink to nothing without NaN.
static void test_every_block_raises_the_maximum(void **state) {
  (void)state;
  fg_attend_fn *attend_bf16 = kernel();
  sequence s = make_sequence((fg_kv_geometry){1, 16, 16, 16, FG_BF16, false}, 1, 400, 0, 13);
  for (uint32_t t = 0; t < 400; t++) {
    for (int c = 0; c < 16; c++) {
      s.q[t * 16 + c] = 8;
      s.k[t * 16 + c] = (float)t;
    }
    put_token(&s, t);
  }
  float *out = attend(attend_bf16, &s, 400, 48);
  round_sequence(&s);
  assert_true(worst(&s, out) < 1.0 / 512 + 1e-4);
  free(out);
  drop_sequence(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_matches_its_definition_but_for_rounded_weights),
      cmocka_unit_test(test_chunks_change_no_bit),
      cmocka_unit_test(test_page_size_changes_no_bit),
      cmocka_unit_test(test_window_ends_where_it_says),
      cmocka_unit_test(test_extreme_scores),
      cmocka_unit_test(test_every_block_raises_the_maximum),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
