// Which layers of a plan share what others write: pure, on plans made by hand.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "model/pack.h"

enum { LAYERS = 6, EACH = 2, ITEMS = 2 + LAYERS * EACH, BYTES = 1000, OUTSIDE = 70 };

static fg_pack_item items[ITEMS];

static fg_pack_item item(int32_t layer, uint32_t n, uint64_t bytes) {
  return (fg_pack_item){
      .weight = {.kind = FG_WEIGHT_MATRIX, .dtype = FG_BF16, .n = n, .k = 8, .layer = layer},
      .panel_rows = n,
      .bytes = bytes};
}

// A weight before the layers and one behind them; `odd` layers have another width.
static fg_pack_plan make_plan(uint32_t odd) {
  uint32_t count = 0;
  items[count++] = item(-1, 5, OUTSIDE);
  for (int32_t layer = 0; layer < LAYERS; layer++)
    for (uint32_t i = 0; i < EACH; i++) items[count++] = item(layer, odd >> layer & 1 ? 16 : 8, BYTES);
  items[count++] = item(LAYERS, 5, OUTSIDE);
  return (fg_pack_plan){.items = items, .count = count};
}

// The layer whose extents are this one's; itself if it has its own.
static int32_t owner_of(const fg_pack_plan *plan, uint32_t layer) {
  const fg_weight *w = &plan->items[1 + layer * EACH].weight;
  return w->same_as ? plan->items[w->same_as - 1].weight.layer : (int32_t)layer;
}

static void assert_owners(const fg_pack_plan *plan, const int32_t wanted[LAYERS]) {
  for (uint32_t layer = 0; layer < LAYERS; layer++) assert_int_equal(owner_of(plan, layer), wanted[layer]);
}

static void test_layers_take_turns(void **state) {
  (void)state;
  fg_pack_plan plan = make_plan(0);
  fg_pack_plan_alias(&plan, LAYERS, 1);
  assert_owners(&plan, (int32_t[]){0, 0, 0, 0, 0, 0});
  fg_pack_plan_alias(&plan, LAYERS, 2);
  assert_owners(&plan, (int32_t[]){0, 1, 0, 1, 0, 1});
  assert_int_equal(plan.bytes, 2 * OUTSIDE + 2 * EACH * BYTES);
  fg_pack_plan_alias(&plan, LAYERS, 0);
  assert_owners(&plan, (int32_t[]){0, 1, 2, 3, 4, 5});
  assert_int_equal(plan.bytes, 2 * OUTSIDE + LAYERS * EACH * BYTES);
}

static void test_every_weight_has_its_counterpart(void **state) {
  (void)state;
  fg_pack_plan plan = make_plan(0);
  fg_pack_plan_alias(&plan, LAYERS, 1);
  for (uint32_t i = 1 + EACH; i < ITEMS - 1; i++)
    assert_int_equal(plan.items[i].weight.same_as - 1, 1 + (i - 1) % EACH);
  assert_int_equal(plan.items[0].weight.same_as, 0);
  assert_int_equal(plan.items[ITEMS - 1].weight.same_as, 0);
}

static void test_layers_of_other_shapes_share_among_themselves(void **state) {
  (void)state;
  fg_pack_plan plan = make_plan(1u << 1 | 1u << 4);
  fg_pack_plan_alias(&plan, LAYERS, 1);
  assert_owners(&plan, (int32_t[]){0, 1, 0, 0, 1, 0});
  fg_pack_plan_alias(&plan, LAYERS, 3);
  assert_owners(&plan, (int32_t[]){0, 1, 2, 3, 4, 0});
}

static void test_as_many_layers_are_kept_as_fit(void **state) {
  (void)state;
  fg_pack_plan plan = make_plan(0);
  const uint64_t three = 2 * OUTSIDE + 3 * EACH * BYTES;
  assert_int_equal(fg_pack_plan_alias_into(&plan, LAYERS, three), 3);
  assert_int_equal(plan.bytes, three);
  assert_int_equal(fg_pack_plan_alias_into(&plan, LAYERS, three - 1), 2);
  assert_int_equal(fg_pack_plan_alias_into(&plan, LAYERS, 0),
                   1); // whether it fits is asked when it is written
  assert_int_equal(fg_pack_plan_alias_into(&plan, LAYERS, UINT64_MAX), LAYERS - 1);
}

static void test_no_more_is_kept_than_caches_hold(void **state) {
  (void)state;
  fg_pack_plan plan = make_plan(0);
  for (uint32_t i = 1; i < ITEMS - 1; i++) items[i].bytes = 3ull << 30;
  assert_int_equal(fg_pack_plan_alias_into(&plan, LAYERS, UINT64_MAX), 2); // 12 GiB; three are 18
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_layers_take_turns),
      cmocka_unit_test(test_every_weight_has_its_counterpart),
      cmocka_unit_test(test_layers_of_other_shapes_share_among_themselves),
      cmocka_unit_test(test_as_many_layers_are_kept_as_fit),
      cmocka_unit_test(test_no_more_is_kept_than_caches_hold),
  };
  return cmocka_run_group_tests_name("alias", tests, NULL, NULL);
}
