// The planner's choice: against all policies of a grid, and what it must keep to.
#include "plan_rig.h"

#include <string.h>

static fg_profile profile;
static fg_plan_model model;
static fg_step_rates rates;
static fg_solver solver;

static const fg_row_length rows[] = {{512, 32, 0, false, 0}, {300, 32, 0, false, 0}, {700, 32, 0, false, 0}};
static const fg_plan_job job = {.rows = rows, .count = 3, .requests = 500};

static int set_up(void **state) {
  (void)state;
  profile = rig_profile();
  model = rig_model();
  fg_error err;
  if (fg_solver_open(&solver, &err) == FG_OK) return 0;
  print_error("%s\n", err.message);
  return -1;
}

static int tear_down(void **state) {
  (void)state;
  fg_solver_close(&solver);
  return 0;
}

static fg_planner_input planner_input(fg_plan_input input) {
  rates = fg_step_rates_of(&profile, &model);
  return (fg_planner_input){.plan = input, .model = &model, .rates = &rates, .job = &job, .solver = &solver};
}

static fg_plan choose(fg_plan_input input) {
  const fg_planner_input in = planner_input(input);
  fg_plan plan;
  fg_error err;
  if (fg_planner_choose(&plan, &in, &err) != FG_OK) fail_msg("%s", err.message);
  return plan;
}

// Of every policy of the grid that can be.
static double best_of_grid(uint64_t host) {
  static const uint32_t tokens[] = {32, 96, 160, 256, 384, 640, 1024}, seqs[] = {1, 5, 10, 20, 40, 80, 160};
  static const uint32_t shares[] = {1, 2, 4, 8};
  double best = INFINITY;
  for (int t = 0; t < 7; t++)
    for (int s = 0; s < 7; s++)
      for (int c = 0; c < 4; c++) {
        fg_plan_input input = rig_input(host);
        input.max_tokens = tokens[t];
        input.max_seqs = seqs[s];
        input.device_pages = (uint32_t)(host / input.page_bytes) * shares[c] / 8;
        fg_planner_input in = planner_input(input);
        fg_plan plan;
        fg_error err;
        if (fg_policy_make(&in.plan, &plan.policy, &err) != FG_OK ||
            fg_planner_predict(&plan, &in, 0, &err) != FG_OK)
          continue;
        if (plan.predicted.seconds < best) best = plan.predicted.seconds;
      }
  return best;
}

static void test_no_policy_of_a_grid_is_much_better(void **state) {
  (void)state;
  static const uint64_t hosts[] = {60000000, 120000000, 240000000, 1000000000};
  for (int i = 0; i < 4; i++) {
    const fg_plan plan = choose(rig_input(hosts[i]));
    const double best = best_of_grid(hosts[i]);
    if (plan.predicted.seconds > 1.05 * best)
      fail_msg("with %.0f MB: %.1f s, %.1f s in the grid", 1e-6 * (double)hosts[i], plan.predicted.seconds,
               best);
  }
}

static void test_more_memory_is_never_slower(void **state) {
  (void)state;
  double before = INFINITY;
  for (uint64_t host = 50000000; host < 800000000; host = host * 5 / 4) {
    const double seconds = choose(rig_input(host)).predicted.seconds;
    if (seconds > 1.03 * before)
      fail_msg("%.0f MB: %.1f s after %.1f s", 1e-6 * (double)host, seconds, before);
    before = seconds;
  }
}

static void test_what_the_user_fixed_stays(void **state) {
  (void)state;
  fg_plan_input input = rig_input(300000000);
  input.max_tokens = 100;
  input.max_seqs = 7;
  input.max_len = 1000;
  const fg_plan plan = choose(input);
  assert_int_equal(plan.policy.max_tokens, 100);
  assert_int_equal(plan.policy.max_seqs, 7);
  assert_int_equal(plan.policy.max_len, 1000);
}

// A disk for the cache, and rows whose cache does not fit.
static fg_plan_input spilled_input(void) {
  fg_plan_input input = rig_input(60000000);
  input.disk = 1u << 30;
  return input;
}

static void test_frames_and_ring_that_are_fixed_stay(void **state) {
  (void)state;
  fg_plan_input input = spilled_input();
  input.max_len = 1024;
  input.disk_pages = 300;
  input.frames = 5;
  input.frame_pages = 40;
  input.wished_ring = 7u << 20;
  const fg_plan plan = choose(input);
  assert_int_equal(plan.policy.frames, 5);
  assert_int_equal(plan.policy.frame_pages, 40);
  assert_int_equal(plan.policy.ring_bytes, 7u << 20);
}

#define NUMBERS_OF(p)                                                                                        \
  {                                                                                                          \
    p.max_tokens, p.max_seqs, p.max_len, p.order, p.pages, p.device_pages, p.disk_pages, p.open_slots,       \
        p.frames, p.frame_pages, p.stage_bytes, p.ring_bytes, p.tables_resident, p.device_weight_bytes,      \
        p.host_needed                                                                                        \
  }

static void give_back(fg_plan_input input) {
  const fg_policy chosen = choose(input).policy;
  input.max_tokens = chosen.max_tokens;
  input.max_seqs = chosen.max_seqs;
  input.max_len = chosen.max_len;
  input.order = chosen.order;
  input.device_pages = chosen.device_pages;
  input.disk_pages = chosen.disk_pages;
  input.frames = chosen.frames;
  input.frame_pages = chosen.frame_pages;
  input.weight_bytes = chosen.device_weight_bytes;
  input.wished_ring = chosen.ring_bytes;
  fg_policy again;
  fg_error err;
  if (fg_policy_make(&input, &again, &err) != FG_OK) fail_msg("%s", err.message);
  const uint64_t a[] = NUMBERS_OF(again), b[] = NUMBERS_OF(chosen);
  assert_memory_equal(a, b, sizeof a);
}

static void test_a_policy_that_is_given_back_is_the_same(void **state) {
  (void)state;
  give_back(rig_input(90000000));
  give_back(rig_input(1000000000));
  give_back(spilled_input());
}

// The disk moves as fast as memory is read; matrices take no time, attention all of it. What the ring cannot
// hold while layers attend is waited for.
static void test_the_ring_is_as_large_as_attention_is_long(void **state) {
  (void)state;
  profile.attentions[0].decode = 200e-9;
  fg_plan_input input = rig_input(150000000);
  const fg_plan plan = choose(input);
  input.wished_ring = 4u << 20; // the least
  const fg_plan small = choose(input);
  profile = rig_profile();
  assert_true(plan.predicted.seconds <= small.predicted.seconds);
  assert_true(plan.policy.device_weight_bytes + plan.policy.ring_bytes < 220000000);
}

static void test_the_longest_come_first_where_the_tail_is_long(void **state) {
  (void)state;
  static const fg_row_length uneven[] = {
      {20, 10, 0, false, 0}, {20, 12, 0, false, 0}, {20, 11, 0, false, 0}, {20, 300, 0, false, 0}};
  static const fg_row_length even[] = {{20, 40, 0, false, 0}};
  fg_planner_input in = planner_input(rig_input(300000000));
  in.plan.max_seqs = 2;
  fg_plan plan;
  fg_error err;
  const fg_plan_job tail = {.rows = uneven, .count = 4, .requests = 4},
                    none = {.rows = even, .count = 1, .requests = 64};
  in.job = &tail;
  assert_int_equal(fg_planner_choose(&plan, &in, &err), FG_OK);
  assert_int_equal(plan.policy.order, FG_ORDER_LONGEST);
  in.job = &none;
  assert_int_equal(fg_planner_choose(&plan, &in, &err), FG_OK);
  assert_int_equal(plan.policy.order, FG_ORDER_INPUT);
  in.job = &tail;
  in.plan.order = FG_ORDER_INPUT;
  assert_int_equal(fg_planner_choose(&plan, &in, &err), FG_OK);
  assert_int_equal(plan.policy.order, FG_ORDER_INPUT);
}

static void test_a_shared_prefix_makes_a_job_shorter(void **state) {
  (void)state;
  static const fg_row_length apart[] = {{500, 8, 0, false, 0}}, alike[] = {{500, 8, 480, false, 0}};
  fg_planner_input in = planner_input(rig_input(200000000));
  const fg_plan_job a = {.rows = apart, .count = 1, .requests = 200},
                    b = {.rows = alike, .count = 1, .requests = 200};
  fg_plan alone, shared;
  fg_error err;
  in.job = &a;
  assert_int_equal(fg_planner_choose(&alone, &in, &err), FG_OK);
  in.job = &b;
  assert_int_equal(fg_planner_choose(&shared, &in, &err), FG_OK);
  assert_true(shared.predicted.seconds < alone.predicted.seconds / 5);
}

static void test_every_plan_is_within_the_budget(void **state) {
  (void)state;
  for (uint64_t host = 40000000; host < 600000000; host += 37000000) {
    const fg_plan plan = choose(rig_input(host));
    assert_true(plan.policy.host_needed <= host);
  }
}

static void test_what_cannot_be_is_refused_in_numbers(void **state) {
  (void)state;
  fg_plan_input input = rig_input(300000);
  const fg_planner_input in = planner_input(input);
  fg_plan plan;
  fg_error err;
  assert_int_equal(fg_planner_choose(&plan, &in, &err), FG_NO_SPACE);
  assert_non_null(strstr(err.message, "--host-memory"));
}

static void test_the_lane_that_binds_is_named(void **state) {
  (void)state;
  assert_int_equal(choose(rig_input(1000000000)).bound, FG_LANE_DEVICE); // all of it is in memory
  profile.disk_read = 1e6;
  assert_int_equal(choose(rig_input(60000000)).bound, FG_LANE_DISK);
  profile = rig_profile();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_no_policy_of_a_grid_is_much_better),
      cmocka_unit_test(test_more_memory_is_never_slower),
      cmocka_unit_test(test_what_the_user_fixed_stays),
      cmocka_unit_test(test_frames_and_ring_that_are_fixed_stay),
      cmocka_unit_test(test_a_policy_that_is_given_back_is_the_same),
      cmocka_unit_test(test_the_ring_is_as_large_as_attention_is_long),
      cmocka_unit_test(test_the_longest_come_first_where_the_tail_is_long),
      cmocka_unit_test(test_a_shared_prefix_makes_a_job_shorter),
      cmocka_unit_test(test_every_plan_is_within_the_budget),
      cmocka_unit_test(test_what_cannot_be_is_refused_in_numbers),
      cmocka_unit_test(test_the_lane_that_binds_is_named),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
