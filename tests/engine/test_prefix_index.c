// The index of prefixes in small situations, and against a search through all texts on random ones.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "engine/prefix_index.h"

enum { T = 2 }; // tokens of a page

static fg_prefix_index *make(uint32_t pages) {
  fg_prefix_index *x;
  fg_error err;
  assert_int_equal(fg_prefix_index_create(&x, pages, T, &err), FG_OK);
  return x;
}

static fg_prefix_block block(uint32_t before, uint64_t kind, const int32_t *tokens) {
  return (fg_prefix_block){before, kind, tokens};
}

static uint32_t find(const fg_prefix_index *x, uint32_t before, uint64_t kind, const int32_t *tokens) {
  const fg_prefix_block b = block(before, kind, tokens);
  return fg_prefix_index_find(x, &b);
}

static void put(fg_prefix_index *x, uint32_t page, uint32_t before, uint64_t kind, const int32_t *tokens) {
  const fg_prefix_block b = block(before, kind, tokens);
  fg_prefix_index_put(x, page, &b);
}

static const int32_t ab[] = {1, 2}, cd[] = {3, 4};

static void test_block_is_known_by_its_tokens_and_those_before(void **state) {
  (void)state;
  fg_prefix_index *x = make(4);
  put(x, 3, FG_NO_PAGE, 0, ab);
  put(x, 1, 3, 0, cd);
  assert_int_equal(find(x, FG_NO_PAGE, 0, ab), 3);
  assert_int_equal(find(x, 3, 0, cd), 1);
  assert_int_equal(find(x, FG_NO_PAGE, 0, cd), FG_NO_PAGE); // the same tokens elsewhere
  assert_int_equal(find(x, 3, 0, ab), FG_NO_PAGE);
  fg_prefix_index_destroy(x);
}

static void test_page_tells_the_text_that_it_ends(void **state) {
  (void)state;
  fg_prefix_index *x = make(4);
  put(x, 3, FG_NO_PAGE, 7, ab);
  put(x, 1, 3, 0, cd); // the kind counts for first blocks
  put(x, 2, 1, 0, ab);
  int32_t text[3 * T] = {0};
  uint64_t kind = 0;
  assert_int_equal(fg_prefix_index_text(x, 2, text, 2, &kind), 3); // no room: nothing is written
  assert_int_equal(text[0], 0);
  assert_int_equal(fg_prefix_index_text(x, 2, text, 3, &kind), 3);
  assert_memory_equal(text, ((int32_t[]){1, 2, 3, 4, 1, 2}), sizeof text);
  assert_int_equal(kind, 7);
  fg_prefix_index_destroy(x);
}

static void test_kinds_share_nothing(void **state) {
  (void)state;
  fg_prefix_index *x = make(4);
  put(x, 0, FG_NO_PAGE, 7, ab);
  assert_int_equal(find(x, FG_NO_PAGE, 8, ab), FG_NO_PAGE);
  put(x, 1, FG_NO_PAGE, 8, ab);
  assert_int_equal(find(x, FG_NO_PAGE, 7, ab), 0);
  assert_int_equal(find(x, FG_NO_PAGE, 8, ab), 1);
  fg_prefix_index_destroy(x);
}

static void test_removed_page_is_not_found_and_can_hold_another_text(void **state) {
  (void)state;
  fg_prefix_index *x = make(2);
  put(x, 0, FG_NO_PAGE, 0, ab);
  put(x, 1, 0, 0, cd);
  assert_int_equal(fg_prefix_index_followers(x, 0), 1);
  fg_prefix_index_remove(x, 1);
  assert_int_equal(fg_prefix_index_followers(x, 0), 0);
  assert_int_equal(find(x, 0, 0, cd), FG_NO_PAGE);
  fg_prefix_index_remove(x, 0);
  assert_int_equal(fg_prefix_index_count(x), 0);
  put(x, 0, FG_NO_PAGE, 0, cd);
  assert_int_equal(find(x, FG_NO_PAGE, 0, cd), 0);
  assert_int_equal(find(x, FG_NO_PAGE, 0, ab), FG_NO_PAGE);
  fg_prefix_index_destroy(x);
}

// ---- random trees of few tokens, so that many blocks are equal
// ----------------------------------------------

enum { PAGES = 40, DEPTH = 6 };

typedef struct text { // of a page: all tokens from the first on
  bool here;
  uint64_t kind;
  uint32_t blocks;
  int32_t tokens[DEPTH * T];
} text;

static uint32_t pick(uint64_t *random, uint32_t below) { // Marsaglia's xorshift
  *random ^= *random << 13;
  *random ^= *random >> 7;
  *random ^= *random << 17;
  return (uint32_t)(*random % below);
}

static uint32_t search(const text *texts, const text *wanted) {
  for (uint32_t i = 0; i < PAGES; i++)
    if (texts[i].here && texts[i].kind == wanted->kind && texts[i].blocks == wanted->blocks &&
        memcmp(texts[i].tokens, wanted->tokens, wanted->blocks * T * sizeof(int32_t)) == 0)
      return i;
  return FG_NO_PAGE;
}

static uint32_t followers(const text *texts, uint32_t page) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < PAGES; i++)
    count += texts[i].here && texts[i].kind == texts[page].kind &&
             texts[i].blocks == texts[page].blocks + 1 &&
             memcmp(texts[i].tokens, texts[page].tokens, texts[page].blocks * T * sizeof(int32_t)) == 0;
  return count;
}

// Walks a random text down the tree, checks each block, and puts the first that is missing.
static void walk(fg_prefix_index *x, text *texts, uint64_t *random) {
  text t = {.here = true, .kind = pick(random, 2)};
  uint32_t before = FG_NO_PAGE;
  while (t.blocks < DEPTH) {
    int32_t *tokens = t.tokens + t.blocks++ * T;
    for (int i = 0; i < T; i++) tokens[i] = (int32_t)pick(random, 2);
    const uint32_t found = find(x, before, t.kind, tokens);
    assert_int_equal(found, search(texts, &t));
    if (found == FG_NO_PAGE) {
      for (uint32_t page = 0; page < PAGES; page++) {
        if (texts[page].here) continue;
        put(x, page, before, t.kind, tokens);
        texts[page] = t;
        return;
      }
      return;
    }
    before = found;
  }
}

static void test_random_trees_are_found_as_by_a_search_through_all(void **state) {
  (void)state;
  uint32_t removed = 0;
  for (uint64_t seed = 1; seed <= 200; seed++) {
    uint64_t random = seed * 0x9E3779B97F4A7C15u;
    fg_prefix_index *x = make(PAGES);
    text texts[PAGES] = {0};
    for (int turn = 0; turn < 300; turn++) {
      walk(x, texts, &random);
      const uint32_t page = pick(&random, PAGES);
      assert_int_equal(fg_prefix_index_has(x, page), texts[page].here);
      if (!texts[page].here) continue;
      assert_int_equal(fg_prefix_index_followers(x, page), followers(texts, page));
      if (followers(texts, page) || pick(&random, 2)) continue;
      fg_prefix_index_remove(x, page);
      texts[page].here = false;
      removed++;
    }
    fg_prefix_index_destroy(x);
  }
  assert_true(removed > 1000);
}

// Of several that follow it is the one that was put last, and nothing once that has gone.
static void test_the_last_block_behind_a_page_is_found_by_its_first_tokens(void **state) {
  (void)state;
  fg_prefix_index *x = make(4);
  const int32_t ce[] = {3, 5}, f[] = {6, 6};
  uint32_t page = FG_NO_PAGE;
  put(x, 0, FG_NO_PAGE, 0, ab);
  assert_int_equal(fg_prefix_index_find_part(x, 0, cd, 2, &page), 0);
  put(x, 1, 0, 0, cd);
  assert_int_equal(fg_prefix_index_find_part(x, 0, ce, 2, &page), 1);
  assert_int_equal(page, 1);
  assert_int_equal(fg_prefix_index_find_part(x, 0, cd, 2, &page), 2);
  assert_int_equal(fg_prefix_index_find_part(x, 0, cd, 1, &page), 1);
  put(x, 2, 0, 0, f);
  page = FG_NO_PAGE;
  assert_int_equal(fg_prefix_index_find_part(x, 0, cd, 2, &page), 0);
  assert_int_equal(page, FG_NO_PAGE);
  fg_prefix_index_remove(x, 2);
  assert_int_equal(fg_prefix_index_find_part(x, 0, f, 2, &page), 0);
  fg_prefix_index_destroy(x);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_block_is_known_by_its_tokens_and_those_before),
      cmocka_unit_test(test_page_tells_the_text_that_it_ends),
      cmocka_unit_test(test_kinds_share_nothing),
      cmocka_unit_test(test_removed_page_is_not_found_and_can_hold_another_text),
      cmocka_unit_test(test_the_last_block_behind_a_page_is_found_by_its_first_tokens),
      cmocka_unit_test(test_random_trees_are_found_as_by_a_search_through_all),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
