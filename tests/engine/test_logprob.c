// Log-probabilities against double-precision sums, and in blocks against whole rows, bit for bit.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/logprob.h"

static uint64_t random_state;

static double uniform(void) {
  random_state = random_state * 6364136223846793005u + 1442695040888963407u;
  return (double)(random_state >> 11) * 0x1p-53;
}

// Rows as models make them, and as they should not: peaked, flat, with masked ends, with ties.
static void fill(float *row, uint32_t vocab, int kind) {
  for (uint32_t i = 0; i < vocab; i++) {
    double u = uniform();
    row[i] = kind == 0   ? (float)(u * 20 - 10)
             : kind == 1 ? (float)(u * 1e-3)
             : kind == 2 ? (float)floor(u * 6)
             : kind == 3 ? (u < 0.5 ? -INFINITY : (float)(u * 400 - 200))
                         : (float)i * 0.01f; // a new maximum in every column
  }
}

static double oracle(const float *row, uint32_t vocab, int32_t token) {
  double max = -INFINITY, sum = 0;
  for (uint32_t i = 0; i < vocab; i++) max = fmax(max, (double)row[i]);
  for (uint32_t i = 0; i < vocab; i++) sum += exp((double)row[i] - max);
  return (double)row[token] - max - log(sum);
}

static void test_logprob_agrees_with_double_sums(void **state) {
  (void)state;
  enum { VOCAB = 50257 };
  float *row = malloc(VOCAB * sizeof *row);
  for (int kind = 0; kind < 5; kind++) {
    for (uint32_t vocab = 1; vocab <= VOCAB; vocab = vocab * 3 + 1) {
      fill(row, vocab, kind);
      int32_t token = (int32_t)(vocab / 3);
      if (isinf(row[token])) row[token] = 1;
      double expected = oracle(row, vocab, token);
      double got = (double)fg_logprob(row, vocab, token, NULL, NULL, 0);
      assert_true(fabs(got - expected) <= 3e-7 * fmax(1, fabs(expected)));
    }
  }
  free(row);
}

static void test_blocks_change_no_bit(void **state) {
  (void)state;
  enum { VOCAB = 3001, COUNT = 7 };
  float row[VOCAB];
  for (int round = 0; round < 400; round++) {
    fill(row, VOCAB, round % 5);
    int32_t token = (int32_t)(uniform() * VOCAB);
    fg_candidate whole[COUNT], parts[COUNT];
    float expected = fg_logprob(row, VOCAB, token, NULL, whole, COUNT);
    fg_logprob_state s;
    fg_logprob_begin(&s, token, parts, COUNT);
    for (uint32_t first = 0; first < VOCAB;) {
      uint32_t columns = 1 + (uint32_t)(uniform() * (round % 3 ? 700 : 20));
      if (columns > VOCAB - first) columns = VOCAB - first;
      fg_logprob_block(&s, row + first, first, columns);
      first += columns;
    }
    float got = fg_logprob_end(&s);
    assert_memory_equal(&got, &expected, sizeof got);
    assert_int_equal(s.top_count, COUNT);
    assert_memory_equal(parts, whole, sizeof whole);
  }
}

static const float *sorted_row;
static int by_likelihood(const void *a, const void *b) {
  int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
  if (sorted_row[x] != sorted_row[y]) return sorted_row[x] > sorted_row[y] ? -1 : 1;
  return x < y ? -1 : 1;
}

static void test_top_is_the_head_of_the_sorted_row(void **state) {
  (void)state;
  enum { VOCAB = 1237 };
  float row[VOCAB];
  int32_t ids[VOCAB];
  fg_candidate top[VOCAB];
  const uint32_t counts[] = {1, 2, 5, 20, 100, VOCAB};
  for (int round = 0; round < 60; round++) {
    fill(row, VOCAB, round % 5);
    for (int32_t i = 0; i < VOCAB; i++) ids[i] = i;
    sorted_row = row;
    qsort(ids, VOCAB, sizeof *ids, by_likelihood);
    uint32_t count = counts[round / 5 % 6];
    fg_logprob(row, VOCAB, 0, NULL, top, count);
    for (uint32_t i = 0; i < count; i++) assert_int_equal(top[i].token, ids[i]);
  }
}

static void test_more_candidates_than_tokens(void **state) {
  (void)state;
  const float row[3] = {1, 3, 2};
  fg_candidate top[5];
  fg_logprob_state s;
  fg_logprob_begin(&s, 1, top, 5);
  fg_logprob_block(&s, row, 0, 3);
  float best = fg_logprob_end(&s);
  assert_int_equal(s.top_count, 3);
  assert_int_equal(top[0].token, 1);
  assert_int_equal(top[2].token, 0);
  assert_memory_equal(&best, &top[0].logprob, sizeof best); // equal logits, equal numbers
}

static void test_rank_counts_ties_as_better(void **state) {
  (void)state;
  const float row[6] = {1, 4, 2, 4, 0, -INFINITY};
  const uint32_t ranks[6] = {4, 2, 3, 2, 5, 6};
  for (int32_t token = 0; token < 6; token++) {
    uint32_t rank;
    fg_logprob(row, 6, token, &rank, NULL, 0);
    assert_int_equal(rank, ranks[token]);
  }
}

static void test_masked_token_has_no_probability(void **state) {
  (void)state;
  const float row[4] = {0, -INFINITY, 0, -INFINITY};
  assert_true(fg_logprob(row, 4, 1, NULL, NULL, 0) == -INFINITY);
  assert_true(fabsf(fg_logprob(row, 4, 0, NULL, NULL, 0) + logf(2)) < 1e-7f);
}

static void test_exponential_is_close_and_ends_at_zero(void **state) {
  (void)state;
  double worst = 0;
  for (float x = -86.99f; x <= 0; x += 0.00173f) {
    float y;
    fg_exp_row(&x, 1, 0, &y);
    worst = fmax(worst, fabs((double)y / exp((double)x) - 1));
  }
  assert_true(worst < 2.4e-7);
  const float ends[4] = {0, -88, -1e30f, -INFINITY};
  float out[4];
  fg_exp_row(ends, 4, 0, out);
  assert_true(out[0] == 1 && out[1] == 0 && out[2] == 0 && out[3] == 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_logprob_agrees_with_double_sums),
      cmocka_unit_test(test_blocks_change_no_bit),
      cmocka_unit_test(test_top_is_the_head_of_the_sorted_row),
      cmocka_unit_test(test_more_candidates_than_tokens),
      cmocka_unit_test(test_rank_counts_ties_as_better),
      cmocka_unit_test(test_masked_token_has_no_probability),
      cmocka_unit_test(test_exponential_is_close_and_ends_at_zero),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
