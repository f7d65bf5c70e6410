// Sampling: each step by hand-computed values, filters against a sorted row, draws against probabilities.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/sampler.h"

typedef struct fixture {
  fg_budget *budget;
  fg_sampler *sampler;
} fixture;

enum { MOST = 4096 };

static int set_up(void **state) {
  fixture *f = calloc(1, sizeof *f);
  assert_int_equal(fg_budget_create(&f->budget, "host memory", "--host-memory", 0, NULL), FG_OK);
  assert_int_equal(fg_sampler_create(&f->sampler, MOST, f->budget, NULL), FG_OK);
  *state = f;
  return 0;
}

static int tear_down(void **state) {
  fixture *f = *state;
  fg_sampler_destroy(f->sampler);
  assert_int_equal(fg_budget_used(f->budget), 0);
  fg_budget_destroy(f->budget);
  free(f);
  return 0;
}

static const int32_t eos[2] = {2, 3};

static int32_t draw(void **state, const float *logits, uint32_t vocab, const fg_sampling *p) {
  fixture *f = *state;
  fg_sampler_input in = {.logits = logits, .vocab = vocab, .sampling = p, .eos = eos, .eos_count = 2};
  return fg_sampler_draw(f->sampler, &in);
}

static fg_sampling unfiltered(void) {
  return (fg_sampling){.temperature = 1, .top_p = 1, .repetition_penalty = 1};
}

static fg_sampling greedy(void) {
  fg_sampling p = unfiltered();
  p.temperature = 0;
  return p;
}

// ---- greedy and what changes logits -------------------------------------------------------------------

static void test_greedy_takes_the_lowest_of_equal_ids(void **state) {
  const float logits[6] = {1, 5, 2, 5, 5, 0};
  fg_sampling p = greedy();
  assert_int_equal(draw(state, logits, 6, &p), 1);
  p.temperature = 9e-6f; // clients write 1e-7 for 0
  assert_int_equal(draw(state, logits, 6, &p), 1);
}

static void test_min_tokens_masks_every_end(void **state) {
  const float logits[6] = {1, 2, 9, 8, 7, 0}; // 2, 3 end the text, 4 is the request's own
  const int32_t stop[1] = {4};
  fg_sampling p = greedy();
  p.stop_ids = stop;
  p.stop_id_count = 1;
  assert_int_equal(draw(state, logits, 6, &p), 2);
  p.min_tokens = 1;
  assert_int_equal(draw(state, logits, 6, &p), 1);
  p.ignore_eos = true; // ends count as ends until then all the same
  assert_int_equal(draw(state, logits, 6, &p), 1);
}

static void test_bias_is_added_before_penalties(void **state) {
  fixture *f = *state;
  const float logits[4] = {2, 1, 0, 0};
  const fg_logit_bias bias[1] = {{1, 3}};
  const int32_t prompt[1] = {1};
  fg_sampling p = greedy();
  p.bias = bias;
  p.bias_count = 1;
  assert_int_equal(draw(state, logits, 4, &p), 1); // 1 + 3 = 4 > 2
  p.repetition_penalty = 2.5f;                     // (1 + 3) / 2.5 = 1.6 < 2; after: 1 / 2.5 + 3 = 3.4 > 2
  fg_sampler_input in = {.logits = logits, .vocab = 4, .sampling = &p, .prompt = prompt, .prompt_count = 1};
  assert_int_equal(fg_sampler_draw(f->sampler, &in), 0);
}

// A situation's only candidates are token 0, untouched, and token 1; `wins` says which the penalty prefers.
static void test_penalties_by_hand(void **state) {
  fixture *f = *state;
  static const struct {
    float repetition, presence, frequency, other, touched; // logits of tokens 0 and 1
    uint32_t in_prompt, in_output;                         // occurrences of token 1
    int32_t wins;
  } rows[] = {
      {2, 0, 0, 1.1f, 2, 1, 0, 0},        // 2 / 2 = 1 < 1.1: the prompt counts
      {2, 0, 0, 0.9f, 2, 3, 2, 1},        // 2 / 2 = 1 > 0.9: once per token, however often
      {2, 0, 0, -1.9f, -1, 0, 1, 0},      // -1 * 2 = -2 < -1.9
      {1, 0.5f, 0, 1.4f, 2, 0, 1, 1},     // 2 - 0.5 = 1.5 > 1.4
      {1, 0.5f, 0, 1.4f, 2, 0, 4, 1},     // once, however often
      {1, 0.5f, 0, 1.6f, 2, 0, 1, 0},     // 1.5 < 1.6
      {1, 0.5f, 0, 1.6f, 2, 5, 0, 1},     // the prompt does not count
      {1, 0, 0.25f, 1.1f, 2, 0, 3, 1},    // 2 - 0.75 = 1.25 > 1.1
      {1, 0, 0.25f, 1.3f, 2, 0, 3, 0},    // 1.25 < 1.3
      {1, 0, 0.25f, 1.3f, 2, 3, 0, 1},    // the prompt does not count
      {2, 0.5f, 0.25f, 0.3f, 2, 0, 1, 0}, // 2 / 2 - 0.25 - 0.5 = 0.25: repetition first, or it were 0.625
      {1, -0.5f, 0, 2.4f, 2, 0, 1, 1},    // a negative penalty rewards
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    const float logits[4] = {rows[i].other, rows[i].touched, -50, -50};
    int32_t ids[8];
    for (int k = 0; k < 8; k++) ids[k] = 1;
    fg_sampling p = greedy();
    p.repetition_penalty = rows[i].repetition;
    p.presence_penalty = rows[i].presence;
    p.frequency_penalty = rows[i].frequency;
    fg_sampler_input in = {.logits = logits, .vocab = 4, .sampling = &p, .prompt = ids, .output = ids};
    in.prompt_count = rows[i].in_prompt;
    in.output_count = rows[i].in_output;
    if (fg_sampler_draw(f->sampler, &in) != rows[i].wins) fail_msg("penalty row %zu", i);
    assert_int_equal(fg_sampler_draw(f->sampler, &in), rows[i].wins); // no trace of the first call
  }
}

// ---- filters: which tokens can come out ----------------------------------------------------------------

// Marks every token that comes out over many keys.
static void reachable(void **state, const float *logits, uint32_t vocab, fg_sampling p, bool *out) {
  memset(out, 0, vocab * sizeof *out);
  for (p.row = 0; p.row < 4000; p.row++) out[draw(state, logits, vocab, &p)] = true;
}

static void assert_reachable(void **state, const float *logits, uint32_t vocab, fg_sampling p,
                             const char *expected) {
  bool out[16];
  char text[17] = {0};
  reachable(state, logits, vocab, p, out);
  for (uint32_t i = 0; i < vocab; i++) text[i] = out[i] ? '1' : '.';
  assert_string_equal(text, expected);
}

static void test_filters_keep_what_vllm_keeps(void **state) {
  fg_sampling p = unfiltered();
  const float quarters[4] = {0, 0, 0, 0};
  const float halves[4] = {logf(0.5f), logf(0.25f), logf(0.125f), logf(0.125f)};
  p.top_k = 2;
  assert_reachable(state, quarters, 4, p, "1111"); // ties with the k-th stay
  assert_reachable(state, halves, 4, p, "11..");
  p.top_k = 3;
  assert_reachable(state, halves, 4, p, "1111");
  p.top_k = -1;
  p.top_p = 0.5f;
  assert_reachable(state, quarters, 4, p, "11.."); // the lower id first
  p.top_p = 0.51f;
  assert_reachable(state, quarters, 4, p, "111.");
  p.top_p = 0.7f;
  assert_reachable(state, halves, 4, p, "11..");
  p.top_p = 0;
  assert_reachable(state, halves, 4, p, "1...");
  p.top_p = 1;
  p.min_p = 0.5f;
  assert_reachable(state, halves, 4, p, "11.."); // strict: 0.25 is not below 0.5 * 0.5
  p.min_p = 0.51f;
  assert_reachable(state, halves, 4, p, "1...");
}

static void test_top_p_sees_what_the_others_left(void **state) {
  const float logits[5] = {logf(0.4f), logf(0.2f), logf(0.15f), logf(0.15f), logf(0.1f)};
  fg_sampling p = unfiltered();
  p.top_p = 0.62f; // of the whole row: 0.4 + 0.2 < 0.62, so three; of 0.4 + 0.2 alone: 0.667 >= 0.62, so one
  assert_reachable(state, logits, 5, p, "111..");
  p.top_k = 2;
  assert_reachable(state, logits, 5, p, "1....");
  p.top_k = 0;
  p.min_p = 0.5f;
  assert_reachable(state, logits, 5, p, "1....");
}

static const float *sorted_row;
static int by_likelihood(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  if (sorted_row[x] != sorted_row[y]) return sorted_row[x] > sorted_row[y] ? -1 : 1;
  return x < y ? -1 : 1;
}

// The cut of top_p without sorting against the same by sorting: nothing beyond it may ever come out, and the
// last token before it must be within reach of the draw that is nearest to it.
static void test_top_p_cut_agrees_with_sorting(void **state) {
  enum { VOCAB = 700 };
  float logits[VOCAB];
  uint32_t ids[VOCAB], words[4];
  for (uint32_t round = 0; round < 40; round++) {
    double total = 0, above = 0;
    for (uint32_t i = 0; i < VOCAB; i++) {
      fg_random(99, round, 0, i, words);
      logits[i] = (float)(fg_random_uniform(words) * 8);
      if (round % 2) logits[i] = floorf(logits[i]); // many ties
      ids[i] = i;
      total += exp((double)logits[i]);
    }
    sorted_row = logits;
    qsort(ids, VOCAB, sizeof *ids, by_likelihood);
    fg_sampling p = unfiltered();
    p.top_p = 0.05f + 0.02f * (float)round;
    uint32_t keep = 0;
    for (; keep < VOCAB && above < (double)p.top_p * total; keep++) above += exp((double)logits[ids[keep]]);
    bool kept[VOCAB] = {false}, out[VOCAB];
    for (uint32_t i = 0; i < keep; i++) kept[ids[i]] = true;
    reachable(state, logits, VOCAB, p, out);
    uint32_t seen = 0;
    for (uint32_t i = 0; i < VOCAB; i++) {
      assert_true(kept[i] || !out[i]);
      seen += out[i];
    }
    assert_true(seen * 10 >= (keep < 400 ? keep : 400) * 9);
  }
}

// ---- the draw --------------------------------------------------------------------------------------------

static void test_draws_follow_the_probabilities(void **state) {
  enum { VOCAB = 64, DRAWS = 200000 };
  float logits[VOCAB];
  double probability[VOCAB], total = 0;
  uint32_t seen[VOCAB] = {0}, words[4];
  for (uint32_t i = 0; i < VOCAB; i++) {
    fg_random(5, 0, 0, i, words);
    logits[i] = (float)(fg_random_uniform(words) * 4);
    total += probability[i] = exp((double)logits[i] / 0.7);
  }
  fg_sampling p = unfiltered();
  p.temperature = 0.7f;
  p.seed = 20240501;
  for (p.row = 0; p.row < DRAWS; p.row++) seen[draw(state, logits, VOCAB, &p)]++;
  double chi2 = 0;
  for (uint32_t i = 0; i < VOCAB; i++) {
    double expected = probability[i] / total * DRAWS;
    chi2 += (seen[i] - expected) * (seen[i] - expected) / expected;
  }
  print_message("chi-square over 63 degrees of freedom: %.1f\n", chi2);
  assert_true(chi2 > 32.0 && chi2 < 103.4); // the middle 99.8 %
}

static void test_every_part_of_the_key_counts(void **state) {
  fixture *f = *state;
  enum { VOCAB = 1000 };
  static const float logits[VOCAB];
  const int32_t output[2] = {0, 0};
  fg_sampling keys[5];
  for (int i = 0; i < 5; i++) keys[i] = unfiltered();
  keys[1].seed = UINT64_C(1) << 40;
  keys[2].row = UINT64_C(1) << 40;
  keys[3].sample = 1;
  int32_t tokens[5];
  for (int i = 0; i < 5; i++) {
    fg_sampler_input in = {.logits = logits, .vocab = VOCAB, .sampling = &keys[i], .output = output};
    in.output_count = i == 4;
    tokens[i] = fg_sampler_draw(f->sampler, &in);
    assert_int_equal(tokens[i], fg_sampler_draw(f->sampler, &in));
    for (int j = 0; j < i; j++) assert_int_not_equal(tokens[i], tokens[j]);
  }
}

static void test_temperature_has_a_floor(void **state) {
  const float logits[2] = {0, 0.02f};
  fg_sampling p = unfiltered(), q = p;
  p.temperature = 0.001f;
  q.temperature = 0.01f;
  for (uint64_t row = 0; row < 500; row++) {
    p.row = q.row = row;
    assert_int_equal(draw(state, logits, 2, &p), draw(state, logits, 2, &q));
  }
}

static void test_broken_rows_still_give_a_token(void **state) {
  fg_sampling p = unfiltered();
  const float none[4] = {-INFINITY, -INFINITY, -INFINITY, -INFINITY};
  const float holes[4] = {NAN, 1, NAN, NAN};
  assert_in_range(draw(state, none, 4, &p), 0, 3);
  assert_int_equal(draw(state, holes, 4, &p), 1);
  p.temperature = 0;
  assert_int_equal(draw(state, holes, 4, &p), 1);
}

// ---- the generator ---------------------------------------------------------------------------------------

// Known answers published with Random123 (kat_vectors, "philox4x32 10").
static void test_philox_known_answers(void **state) {
  (void)state;
  static const struct {
    uint32_t counter[4], key[2], out[4];
  } rows[] = {
      {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
       {0xffffffff, 0xffffffff},
       {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
       {0xa4093822, 0x299f31d0},
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    uint32_t out[4];
    fg_philox(rows[i].counter, rows[i].key, out);
    assert_memory_equal(out, rows[i].out, sizeof out);
  }
}

static void test_uniform_numbers_stay_below_one(void **state) {
  (void)state;
  const uint32_t highest[4] = {UINT32_MAX, UINT32_MAX, 0, 0}, lowest[4] = {0, 0, 0, 0};
  assert_true(fg_random_uniform(highest) < 1.0 && fg_random_uniform(highest) > 0.9999999);
  assert_true(fg_random_uniform(lowest) == 0.0);
}

static void test_only_allowed_tokens_are_drawn(void **state) {
  fixture *f = *state;
  enum { VOCAB = 70 };
  float logits[VOCAB];
  uint64_t allowed[2] = {1ull << 5 | 1ull << 9 | 1ull << 63, 1ull << (69 - 64)};
  bool seen[VOCAB] = {false};
  for (uint32_t i = 0; i < VOCAB; i++) logits[i] = i % 2 ? 1.0f : 9.0f; // the others are likelier
  logits[9] = 1.5f;
  logits[63] = -INFINITY;
  fg_sampling ways[] = {greedy(), unfiltered(), unfiltered(), unfiltered(), unfiltered()};
  ways[2].top_k = 2;
  ways[3].top_p = 0.3f;
  ways[4].min_p = 0.9f;
  for (size_t way = 0; way < sizeof ways / sizeof *ways; way++)
    for (uint64_t seed = 0; seed < 200; seed++) {
      ways[way].seed = seed;
      fg_sampler_input in = {.logits = logits, .vocab = VOCAB, .sampling = &ways[way], .allowed = allowed};
      const int32_t token = fg_sampler_draw(f->sampler, &in);
      assert_true(token == 5 || token == 9 || token == 69);
      if (way == 0 || way >= 3) assert_int_equal(token, 9);
      if (way == 1) seen[token] = true;
    }
  assert_true(seen[5] && seen[9] && seen[69]);
}

// What is allowed is drawn even where its logits are no numbers, or as small as can be.
static void test_broken_rows_give_an_allowed_token(void **state) {
  fixture *f = *state;
  static const float values[] = {NAN, -INFINITY, INFINITY};
  const uint64_t allowed[1] = {1ull << 3 | 1ull << 4};
  for (size_t v = 0; v < sizeof values / sizeof *values; v++)
    for (int way = 0; way < 2; way++) {
      float logits[8] = {1, 1, 1, 0, 0, 1, 1, 1};
      logits[3] = logits[4] = values[v];
      const fg_sampling p = way ? unfiltered() : greedy();
      fg_sampler_input in = {.logits = logits, .vocab = 8, .sampling = &p, .allowed = allowed};
      assert_in_range(fg_sampler_draw(f->sampler, &in), 3, 4);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_greedy_takes_the_lowest_of_equal_ids),
      cmocka_unit_test(test_min_tokens_masks_every_end),
      cmocka_unit_test(test_bias_is_added_before_penalties),
      cmocka_unit_test(test_penalties_by_hand),
      cmocka_unit_test(test_filters_keep_what_vllm_keeps),
      cmocka_unit_test(test_top_p_sees_what_the_others_left),
      cmocka_unit_test(test_top_p_cut_agrees_with_sorting),
      cmocka_unit_test(test_draws_follow_the_probabilities),
      cmocka_unit_test(test_every_part_of_the_key_counts),
      cmocka_unit_test(test_temperature_has_a_floor),
      cmocka_unit_test(test_broken_rows_still_give_a_token),
      cmocka_unit_test(test_only_allowed_tokens_are_drawn),
      cmocka_unit_test(test_broken_rows_give_an_allowed_token),
      cmocka_unit_test(test_philox_known_answers),
      cmocka_unit_test(test_uniform_numbers_stay_below_one),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
