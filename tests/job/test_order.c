// The order in which prompts are computed, against its definition checked pair by pair.
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "job/order.h"

enum { MOST = 48, LONGEST = 24 };

typedef struct prompts {
  uint32_t count, block;
  int32_t ids[MOST][LONGEST];
  fg_order_item items[MOST];
  uint32_t order[MOST];
} prompts;

static void order(prompts *p, fg_row_order wish) {
  void *scratch = malloc(fg_order_scratch(p->count));
  assert_non_null(scratch);
  fg_order(p->items, p->count, p->block, wish, scratch, p->order);
  free(scratch);
}

// A letter is a token.
static void add(prompts *p, const char *text, uint32_t generated) {
  const uint32_t i = p->count++, count = (uint32_t)strlen(text);
  for (uint32_t k = 0; k < count; k++) p->ids[i][k] = text[k];
  p->items[i] = (fg_order_item){p->ids[i], count, generated};
}

static void assert_order(const prompts *p, const uint32_t *expected) {
  for (uint32_t i = 0; i < p->count; i++) assert_int_equal(p->order[i], expected[i]);
}

static void test_prompts_with_a_common_beginning_stand_together(void **state) {
  (void)state;
  prompts p = {.block = 2};
  static const char *const texts[] = {"aabbx", "ccddx", "aacc", "ccddy", "aabby", "aa"};
  for (uint32_t i = 0; i < 6; i++) add(&p, texts[i], 10);
  order(&p, FG_ORDER_INPUT);
  assert_order(&p, (const uint32_t[]){0, 4, 2, 5, 1, 3});
}

static void test_less_than_a_block_in_common_moves_nothing(void **state) {
  (void)state;
  prompts p = {.block = 4};
  static const char *const texts[] = {"abcx", "zz", "abcy", "abc", "z"};
  for (uint32_t i = 0; i < 5; i++) add(&p, texts[i], 10);
  order(&p, FG_ORDER_INPUT);
  assert_order(&p, (const uint32_t[]){0, 1, 2, 3, 4});
}

static void test_the_longest_comes_first_with_its_group(void **state) {
  (void)state;
  prompts p = {.block = 2};
  add(&p, "xx", 50);
  add(&p, "aab", 10);
  add(&p, "yy", 60);
  add(&p, "aac", 90);
  add(&p, "zzz", 60);
  order(&p, FG_ORDER_LONGEST);
  assert_order(&p, (const uint32_t[]){3, 1, 4, 2, 0});
}

// Each a beginning of the next: as deep a tree as there can be.
static void test_a_chain_of_many_prompts(void **state) {
  (void)state;
  enum { CHAIN = 5000 };
  int32_t *ids = calloc(CHAIN, sizeof *ids);
  fg_order_item *items = calloc(CHAIN, sizeof *items);
  uint32_t *chain = calloc(CHAIN, sizeof *chain);
  void *scratch = malloc(fg_order_scratch(CHAIN));
  for (uint32_t i = 0; i < CHAIN; i++) items[i] = (fg_order_item){ids, CHAIN - i, CHAIN - i};
  fg_order(items, CHAIN, 1, FG_ORDER_INPUT, scratch, chain);
  for (uint32_t i = 0; i < CHAIN; i++) assert_int_equal(chain[i], i);
  free(ids);
  free(items);
  free(chain);
  free(scratch);
}

static void test_nothing_and_one(void **state) {
  (void)state;
  prompts p = {.block = 1};
  order(&p, FG_ORDER_INPUT);
  add(&p, "", 1);
  order(&p, FG_ORDER_LONGEST);
  assert_int_equal(p.order[0], 0);
}

// ---- what an order is, by its definition -----------------------------------------------------------------

static uint32_t blocks(const prompts *p, uint32_t a, uint32_t b) {
  return fg_order_common(&p->items[a], &p->items[b]) / p->block;
}

static bool before(const prompts *p, uint32_t a, uint32_t b, fg_row_order wish) {
  const fg_order_item *x = &p->items[a], *y = &p->items[b];
  if (wish != FG_ORDER_LONGEST) return a < b;
  if (x->generated != y->generated) return x->generated > y->generated;
  return x->count != y->count ? x->count > y->count : a < b;
}

// The prompt that comes first by the wish, of those that share more than `depth` blocks with `a`.
static uint32_t first_of_branch(const prompts *p, uint32_t a, uint32_t depth, fg_row_order wish) {
  uint32_t first = a;
  for (uint32_t i = 0; i < p->count; i++)
    if (blocks(p, i, a) > depth && before(p, i, first, wish)) first = i;
  return first;
}

static bool is_in_order(const prompts *p, fg_row_order wish) {
  bool seen[MOST] = {0};
  for (uint32_t i = 0; i < p->count; i++) {
    if (p->order[i] >= p->count || seen[p->order[i]]) return false;
    seen[p->order[i]] = true;
  }
  for (uint32_t x = 0; x < p->count; x++)
    for (uint32_t z = x + 1; z < p->count; z++) {
      const uint32_t a = p->order[x], c = p->order[z], depth = blocks(p, a, c);
      for (uint32_t y = x + 1; y < z; y++) // what stands between two shares what these share
        if (blocks(p, a, p->order[y]) < depth) return false;
      if (!before(p, first_of_branch(p, a, depth, wish), first_of_branch(p, c, depth, wish), wish))
        return false;
    }
  return true;
}

static void test_random_prompts(void **state) {
  (void)state;
  srand(5); // the seed of all that follows
  for (int round = 0; round < 500; round++) {
    prompts p = {.count = 1 + (uint32_t)rand() % MOST, .block = 1 + (uint32_t)rand() % 3};
    for (uint32_t i = 0; i < p.count; i++) {
      // Often the beginning of an earlier one.
      const uint32_t other = i && rand() % 4 ? (uint32_t)rand() % i : i, count = (uint32_t)rand() % LONGEST;
      const uint32_t kept = other < i ? (uint32_t)rand() % (p.items[other].count + 1) : 0;
      for (uint32_t k = 0; k < count; k++) p.ids[i][k] = k < kept ? p.ids[other][k] : rand() % 3;
      p.items[i] = (fg_order_item){p.ids[i], count, (uint32_t)rand() % 10};
    }
    for (fg_row_order wish = FG_ORDER_INPUT; wish <= FG_ORDER_LONGEST; wish++) {
      order(&p, wish);
      if (!is_in_order(&p, wish)) fail_msg("round %d, wish %d", round, (int)wish);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_prompts_with_a_common_beginning_stand_together),
      cmocka_unit_test(test_less_than_a_block_in_common_moves_nothing),
      cmocka_unit_test(test_the_longest_comes_first_with_its_group),
      cmocka_unit_test(test_a_chain_of_many_prompts),
      cmocka_unit_test(test_nothing_and_one),
      cmocka_unit_test(test_random_prompts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
