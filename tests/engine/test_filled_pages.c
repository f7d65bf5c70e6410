// Pages that somebody fills from elsewhere: the scheduler takes them for waiting sequences, which find them
// when they are admitted, and holds pages that somebody looks at.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/scheduler.h"

enum { T = 2, TOKENS = 20 };

static int32_t tokens[TOKENS];

static fg_scheduler *make(uint32_t pages, uint32_t cached) {
  fg_scheduler *s;
  fg_error err;
  const fg_scheduler_limits limits = {.max_tokens = 64,
                                      .max_seqs = 3,
                                      .pages = pages,
                                      .page_tokens = T,
                                      .max_len = TOKENS,
                                      .share = FG_SHARING_AFTER,
                                      .cached_pages = cached};
  for (int32_t i = 0; i < TOKENS; i++) tokens[i] = i;
  assert_int_equal(fg_scheduler_create(&s, &limits, &err), FG_OK);
  return s;
}

// A sequence of the first `known` tokens, all of one text.
static fg_seq add(fg_scheduler *s, uint32_t known) {
  fg_seq seq;
  fg_error err;
  assert_int_equal(fg_scheduler_add(s, known, &seq, &err), FG_OK);
  const fg_seq_text text = {.tokens = tokens, .most = UINT32_MAX};
  fg_scheduler_share(s, seq, &text);
  return seq;
}

static fg_step plan(fg_scheduler *s) {
  fg_step step;
  fg_scheduler_plan(s, &step);
  return step;
}

static void test_sequence_begins_behind_what_was_filled_well(void **state) {
  (void)state;
  fg_scheduler *s = make(10, 10);
  const fg_seq seq = add(s, 3 * T + 1);
  const fg_text_blocks blocks = fg_scheduler_blocks(s, seq);
  assert_int_equal(blocks.held, 0);
  assert_int_equal(blocks.most, 3);
  fg_filling f;
  fg_scheduler_fill(s, seq, 3, &f);
  assert_int_equal(f.end, 3);
  const uint32_t first = f.pages[0], bad = f.pages[2];
  fg_scheduler_filled(s, seq, &f, 2); // the last one was not good
  assert_int_equal(fg_scheduler_blocks(s, seq).held, 2);
  const fg_step step = plan(s);
  assert_int_equal(step.chunk_count, 1);
  assert_int_equal(step.chunks[0].begin, 2 * T);
  uint32_t count;
  assert_int_equal(fg_scheduler_pages(s, seq, &count)[0], first);
  assert_int_equal(step.dropped_count, 1); // and its content is told to be nothing
  assert_int_equal(step.dropped[0], bad);
  fg_scheduler_destroy(s);
}

static void test_no_more_is_filled_than_is_computed_or_kept(void **state) {
  (void)state;
  const struct {
    uint32_t pages, cached, known, wished, filled;
  } cases[] = {{10, 10, 3 * T, 9, 2}, // the last token is computed
               {10, 10, 9, 1, 1},
               {10, 2, 9, 9, 2},
               {10, 0, 9, 9, 0}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    fg_scheduler *s = make(cases[i].pages, cases[i].cached);
    const fg_seq seq = add(s, cases[i].known);
    fg_filling f;
    fg_scheduler_fill(s, seq, cases[i].wished, &f);
    assert_int_equal(f.end - f.held, cases[i].filled);
    fg_scheduler_filled(s, seq, &f, f.end);
    assert_int_equal(fg_scheduler_blocks(s, seq).held, cases[i].filled);
    fg_scheduler_destroy(s);
  }
}

static void test_what_is_held_before_is_not_taken_for_it(void **state) {
  (void)state;
  fg_scheduler *s = make(5, 5);
  fg_seq seq = add(s, 9);
  fg_filling f;
  fg_scheduler_fill(s, seq, 2, &f);
  fg_scheduler_filled(s, seq, &f, f.end);
  fg_scheduler_fill(s, seq, 2, &f);
  assert_int_equal(f.held, 2);
  assert_int_equal(f.end, 4);
  for (uint32_t i = 0; i < f.end; i++)
    for (uint32_t k = 0; k < i; k++) assert_true(f.pages[i] != f.pages[k]);
  fg_scheduler_filled(s, seq, &f, f.end);
  assert_int_equal(fg_scheduler_blocks(s, seq).held, 4);
  assert_int_equal(plan(s).chunks[0].begin, 8);
  fg_scheduler_destroy(s);
}

static void test_waiting_sequences_come_in_their_order(void **state) {
  (void)state;
  fg_scheduler *s = make(20, 20);
  assert_int_equal(fg_scheduler_next_waiting(s, FG_NO_SEQ), FG_NO_SEQ);
  fg_seq seqs[5];
  for (uint32_t i = 0; i < 5; i++) seqs[i] = add(s, T);
  assert_int_equal(fg_scheduler_free_rows(s), 3);
  const fg_step step = plan(s);
  assert_int_equal(step.chunk_count, 3);
  fg_scheduler_done(s, &step);
  fg_scheduler_settle(s, &step);
  assert_int_equal(fg_scheduler_free_rows(s), 0);
  assert_int_equal(fg_scheduler_next_waiting(s, FG_NO_SEQ), seqs[3]);
  assert_int_equal(fg_scheduler_next_waiting(s, seqs[3]), seqs[4]);
  assert_int_equal(fg_scheduler_next_waiting(s, seqs[4]), FG_NO_SEQ);
  fg_scheduler_destroy(s);
}

static void test_held_page_outlives_its_owner_and_tells_its_text(void **state) {
  (void)state;
  fg_scheduler *s = make(5, 0); // nothing stays without an owner
  const fg_seq seq = add(s, 5);
  const fg_step step = plan(s);
  uint32_t count;
  const uint32_t *pages = fg_scheduler_pages(s, seq, &count), first = pages[0], second = pages[1],
                 open = pages[2];
  assert_true(fg_scheduler_hold(s, first));
  assert_true(fg_scheduler_hold(s, second));
  assert_false(fg_scheduler_hold(s, open)); // not full, so nobody finds it
  fg_scheduler_done(s, &step);
  fg_scheduler_settle(s, &step);
  fg_scheduler_remove(s, seq);
  assert_int_equal(fg_scheduler_free_pages(s), 3);
  int32_t text[2 * T] = {0};
  uint64_t kind = 9;
  assert_int_equal(fg_scheduler_text(s, second, text, 2, &kind), 2);
  assert_memory_equal(text, tokens, sizeof text);
  assert_int_equal(kind, 0);
  fg_scheduler_let_go(s, second);
  fg_scheduler_let_go(s, first);
  assert_int_equal(fg_scheduler_free_pages(s), 5);
  fg_scheduler_destroy(s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sequence_begins_behind_what_was_filled_well),
      cmocka_unit_test(test_no_more_is_filled_than_is_computed_or_kept),
      cmocka_unit_test(test_what_is_held_before_is_not_taken_for_it),
      cmocka_unit_test(test_waiting_sequences_come_in_their_order),
      cmocka_unit_test(test_held_page_outlives_its_owner_and_tells_its_text),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
