// Guesses pay or not: jobs on simulated machines, whose steps take what a formula says, with rows that copy
// more or less.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "engine/speculation.h"

enum { MOST_ROWS = 64, STEPS = 400, MATCH = 4, ROOM = 64 };

// Seconds of a step that reads for so long and computes for so long, the first token and each one more.
typedef struct machine {
  double reading, first_token, token, noise;
} machine;

typedef struct job {
  uint32_t rows;
  double right; // chance of each drafted token
  machine machine;
  uint64_t random;
  fg_speculation s;
  fg_draft_record records[MOST_ROWS];
  double seconds, tokens, drafted; // of all steps
} job;

static double uniform(job *j) {
  j->random ^= j->random << 13, j->random ^= j->random >> 7, j->random ^= j->random << 17;
  return (double)(j->random >> 11) / (double)(1ull << 53);
}

static double computing(const job *j, double tokens) {
  return j->machine.first_token + j->machine.token * (tokens - 1);
}

static double step_seconds(job *j, double tokens) {
  return fmax(j->machine.reading, computing(j, tokens)) * (1 + j->machine.noise * (uniform(j) - 0.5));
}

static uint32_t right_of(job *j, uint32_t count) {
  uint32_t right = 0;
  while (right < count && uniform(j) < j->right) right++;
  return right;
}

static void run_step(job *j) {
  fg_draft_offer offers[MOST_ROWS] = {0};
  uint32_t tokens = j->rows;
  const bool may_pay = fg_speculation_may_pay(&j->s, tokens);
  for (uint32_t i = 0; i < j->rows; i++) {
    const fg_guess guess = {FG_DRAFT_LONGEST, MATCH};
    offers[i] = (fg_draft_offer){
        .chunk = i, .guess = guess, .chance = fg_speculation_chance(&j->s, &j->records[i], MATCH)};
  }
  if (may_pay) fg_speculation_choose(&j->s, offers, j->rows, tokens, ROOM);
  for (uint32_t i = 0; i < j->rows; i++) {
    const uint32_t right = right_of(j, offers[i].taken);
    tokens += offers[i].taken;
    j->drafted += offers[i].taken;
    j->tokens += 1 + right;
    if (offers[i].taken)
      fg_speculation_tried(&j->s, &j->records[i], (fg_guess){offers[i].taken, MATCH}, right);
    else
      fg_speculation_rested(&j->records[i]);
  }
  assert_true(tokens <= j->rows + ROOM);
  const double seconds = step_seconds(j, tokens), busy = fmin(seconds, computing(j, tokens));
  j->seconds += seconds;
  fg_speculation_timed(&j->s, tokens, seconds, fg_speculation_plain_cost(tokens, busy));
}

// How many times as fast as without.
static double gain(job *j) {
  j->random = 88172645463325252ull;
  fg_speculation_begin(&j->s);
  memset(j->records, 0, sizeof j->records);
  j->seconds = j->tokens = j->drafted = 0;
  for (int i = 0; i < STEPS; i++) run_step(j);
  const double plain = fmax(j->machine.reading, computing(j, j->rows)) / j->rows;
  print_message("%u rows, right %.2f: %.2f times as fast, %.1f drafted in a step\n", j->rows, j->right,
                plain * j->tokens / j->seconds, j->drafted / STEPS);
  return plain * j->tokens / j->seconds;
}

static const machine FROM_DISK = {.reading = 1, .first_token = 0.1, .token = 0.01, .noise = 0.1},
                     FROM_MEMORY = {.first_token = 0.05, .token = 0.004, .noise = 0.1},
                     COMPUTE_BOUND = {.reading = 0.1, .first_token = 0.1, .token = 0.1, .noise = 0.1};

static void test_few_rows_that_copy_read_the_model_less_often(void **state) {
  (void)state;
  assert_true(gain(&(job){.rows = 4, .right = 0.9, .machine = FROM_DISK}) > 4);
  assert_true(gain(&(job){.rows = 4, .right = 0.6, .machine = FROM_DISK}) > 2);
  assert_true(gain(&(job){.rows = 1, .right = 0.9, .machine = FROM_MEMORY}) > 2);
  assert_true(gain(&(job){.rows = 4, .right = 0.9, .machine = FROM_MEMORY}) > 1.5);
}

static void test_rows_that_do_not_copy_lose_little(void **state) {
  (void)state;
  assert_true(gain(&(job){.rows = 4, .right = 0, .machine = FROM_DISK}) > 0.97);
  assert_true(gain(&(job){.rows = 4, .right = 0, .machine = FROM_MEMORY}) > 0.97);
  assert_true(gain(&(job){.rows = 4, .right = 0.1, .machine = FROM_MEMORY}) > 0.97);
}

// Nothing is to be gained: what it costs to find that out, and to look again, is small.
static void test_off_where_computing_bounds_the_step(void **state) {
  (void)state;
  for (uint32_t rows = 4; rows <= MOST_ROWS; rows *= 4) {
    job j = {.rows = rows, .right = 0.7, .machine = COMPUTE_BOUND};
    assert_true(gain(&j) > 0.97);
    assert_true(j.drafted / STEPS < 0.2 * rows);
  }
}

static void test_first_step_has_no_drafts(void **state) {
  (void)state;
  fg_speculation s;
  fg_speculation_begin(&s);
  assert_false(fg_speculation_may_pay(&s, 4));
  fg_draft_offer offer = {.guess = {8, 8}, .chance = 1};
  fg_speculation_choose(&s, &offer, 1, 1, 8);
  assert_int_equal(offer.taken, 0);
}

static void test_room_goes_to_the_likeliest_first_tokens(void **state) {
  (void)state;
  fg_speculation s;
  fg_speculation_begin(&s);
  fg_speculation_timed(&s, 2, 1, 0.01);
  fg_draft_offer offers[] = {{.guess = {8, 8}, .chance = 0.9}, {.guess = {1, 2}, .chance = 0.5}};
  fg_speculation_choose(&s, offers, 2, 2, 5);
  assert_int_equal(offers[0].taken, 4);
  assert_int_equal(offers[1].taken, 1);
  fg_speculation_choose(&s, offers, 2, 2, 1);
  assert_int_equal(offers[0].taken + offers[1].taken, 1);
  offers[0].chance = 0.001; // not worth a token's cost
  fg_speculation_choose(&s, offers, 2, 2, 5);
  assert_int_equal(offers[0].taken, 0);
}

// A model's guess is as good as one that was looked up, but takes time.
static void test_what_it_takes_to_make_a_draft_counts(void **state) {
  (void)state;
  fg_speculation s;
  fg_speculation_begin(&s);
  fg_speculation_timed(&s, 2, 1, 0.01);
  fg_speculation_made(&s, 10);
  assert_true(s.making == 10);
  fg_draft_offer offer = {.guess = {8, 0}, .chance = 0.7};
  fg_speculation_choose(&s, &offer, 1, 2, 8);
  assert_true(offer.taken > 0);
  offer.cost = s.making;
  fg_speculation_choose(&s, &offer, 1, 2, 8);
  assert_int_equal(offer.taken, 0);
}

static void test_a_row_is_tried_again(void **state) {
  (void)state;
  fg_speculation s;
  fg_speculation_begin(&s);
  fg_draft_record row = {0};
  const double before = fg_speculation_chance(&s, &row, 6);
  for (int i = 0; i < 10; i++) fg_speculation_tried(&s, &row, (fg_guess){4, 6}, 0);
  const double after = fg_speculation_chance(&s, &row, 6);
  assert_true(after < before / 3);
  for (int i = 0; i < 100; i++) fg_speculation_rested(&row);
  assert_true(fg_speculation_chance(&s, &row, 6) > 2 * after);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_few_rows_that_copy_read_the_model_less_often),
      cmocka_unit_test(test_rows_that_do_not_copy_lose_little),
      cmocka_unit_test(test_off_where_computing_bounds_the_step),
      cmocka_unit_test(test_first_step_has_no_drafts),
      cmocka_unit_test(test_room_goes_to_the_likeliest_first_tokens),
      cmocka_unit_test(test_what_it_takes_to_make_a_draft_counts),
      cmocka_unit_test(test_a_row_is_tried_again),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
