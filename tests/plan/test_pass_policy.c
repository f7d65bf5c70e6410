// Policies of layer passes: when a job runs so, what it gets of the memory, and that this is never more than
// there is.
#include "tinyllama.h"

#include "plan/pass_policy.h"

// 1,000 rows of 200 tokens that are only scored.
static fg_plan_input scoring(uint64_t host) {
  fg_plan_input in = tinyllama(host);
  in.padded_page_bytes = in.page_bytes;
  in.layers = 22;
  in.disk = 100000 * MiB;
  in.pass = (fg_pass_costs){.possible = true,
                            .hidden = 2048,
                            .held_bytes = 84 * MiB,
                            .row_device = 72 * 1024,
                            .row_host = 8,
                            .token_device = 16,
                            .token_host = 400,
                            .seq_device = 20,
                            .seq_host = 60};
  in.longest_row = 200;
  in.only_scored = true;
  in.expected = (fg_workload){.requests = 1000, .tokens = 200};
  return in;
}

static fg_policy make(const fg_plan_input *in) {
  fg_policy p;
  fg_error err;
  if (fg_policy_make(in, &p, &err) != FG_OK) fail_msg("%s", err.message);
  return p;
}

static void test_model_that_fits_runs_ordinary_steps(void **state) {
  (void)state;
  const fg_plan_input in = scoring(8000 * MiB);
  assert_int_equal(make(&in).micro_tokens, 0);
}

static void test_scored_rows_of_a_larger_model_run_in_layer_passes_within_budget(void **state) {
  (void)state;
  for (uint64_t host = 160; host < 2000; host += 20) {
    const fg_plan_input in = scoring(host * MiB);
    const fg_policy p = make(&in);
    uint64_t memory, device;
    fg_policy_memory(&in, &p, &memory, &device);
    assert_true(memory <= in.host);
    assert_int_equal(p.host_needed, memory);
    if (!p.micro_tokens) continue;
    assert_true(p.pass_len >= 200 && p.pass_len <= p.micro_tokens && p.micro_tokens <= p.max_tokens);
    assert_true(p.hidden_rows + p.hidden_disk_rows >= p.max_tokens);
    assert_true(p.device_pages * in.page_tokens >= p.pass_len);
    // A layer stays in the ring while its batches are gone through.
    const bool batches = p.micro_tokens < p.max_tokens;
    if (batches && p.device_weight_bytes < in.panel_bytes) assert_true(p.ring_bytes >= in.pass.held_bytes);
  }
}

static void test_rows_that_are_drawn_have_room_for_their_logits_within_budget(void **state) {
  (void)state;
  for (uint64_t host = 200; host < 2000; host += 100) {
    fg_plan_input in = scoring(host * MiB);
    in.pass.draw_host = 128 * 1024;
    in.pass.draws = 16;
    const fg_policy none = make(&in);
    in.drawn = 1;
    const fg_policy all = make(&in);
    uint64_t memory, device;
    fg_policy_memory(&in, &all, &memory, &device);
    assert_true(memory <= in.host);
    if (!none.micro_tokens) continue;
    assert_true(none.pass_draws >= 16 && none.pass_draws < none.max_seqs);
    assert_int_equal(all.pass_draws, all.max_seqs);
  }
}

static void test_quarter_of_the_model_is_enough_to_read_it_few_times(void **state) {
  (void)state;
  const fg_plan_input in = scoring(500 * MiB);
  const fg_policy p = make(&in);
  assert_true(p.micro_tokens > 0);
  assert_true(p.max_tokens >= 16384);
  assert_int_equal(p.hidden_disk_rows, 0);
}

static void test_more_memory_never_means_more_passes(void **state) {
  (void)state;
  uint32_t before = 0;
  for (uint64_t host = 300; host < 1900; host += 100) {
    const fg_plan_input in = scoring(host * MiB);
    const fg_policy p = make(&in);
    const uint32_t steps = (200000 + p.max_tokens - 1) / p.max_tokens;
    if (before) assert_true(steps <= before);
    before = steps;
  }
}

static void test_what_a_job_does_not_need_for_tokens_goes_to_weights(void **state) {
  (void)state;
  fg_plan_input in = scoring(1200 * MiB);
  in.expected.requests = 50;
  const fg_policy p = make(&in);
  assert_true(p.micro_tokens > 0 && p.max_tokens < 12000);
  assert_true(p.device_weight_bytes > 500 * MiB);
}

// 200,000 tokens in three passes of about 67,000, not in three of 65,536 and a rest.
static void test_passes_divide_the_job_evenly(void **state) {
  (void)state;
  const fg_plan_input in = scoring(1500 * MiB);
  const fg_policy p = make(&in);
  const uint32_t steps = (200000 + p.max_tokens - 1) / p.max_tokens;
  assert_true(p.max_tokens <= 200000 / steps + 200000 / steps / 64 + 201);
}

static void test_rows_with_more_tokens_or_shared_ones_run_ordinary_steps(void **state) {
  (void)state;
  fg_plan_input in = scoring(500 * MiB);
  in.shared = 0.5;
  assert_int_equal(make(&in).micro_tokens, 0);
  in.shared = 0.05;
  assert_true(make(&in).micro_tokens > 0);
  in.only_scored = false;
  assert_int_equal(make(&in).micro_tokens, 0);
}

static void test_graph_that_cannot_runs_ordinary_steps_and_refuses_the_wish(void **state) {
  (void)state;
  fg_plan_input in = scoring(500 * MiB);
  fg_policy p;
  fg_error err;
  in.pass.possible = false;
  assert_int_equal(make(&in).micro_tokens, 0);
  in.micro_tokens = 256;
  assert_int_equal(fg_policy_make(&in, &p, &err), FG_UNSUPPORTED);
  assert_non_null(strstr(err.message, "micro_batch_tokens"));
}

static void test_wishes_are_kept_and_what_has_no_room_goes_to_disk(void **state) {
  (void)state;
  fg_plan_input in = scoring(500 * MiB);
  in.micro_tokens = 256;
  in.max_tokens = 100000;
  in.hidden_rows = 5000;
  fg_policy p = make(&in);
  assert_int_equal(p.micro_tokens, 256);
  assert_int_equal(p.max_tokens, 100000);
  assert_int_equal(p.hidden_rows, 5000);
  assert_true(p.hidden_disk_rows >= 95000);
  in.hidden_rows = 0; // as many as fit
  p = make(&in);
  assert_true(p.hidden_rows > 10000 && p.hidden_rows < 100000);
  in.disk = 0;
  fg_error err;
  assert_int_equal(fg_policy_make(&in, &p, &err), FG_NO_SPACE);
  assert_non_null(strstr(err.message, "--host-memory"));
}

// Little memory, wide rows: reading the weights for few tokens is more traffic than moving these.
static void test_residual_stream_goes_to_disk_where_that_is_less_traffic(void **state) {
  (void)state;
  fg_plan_input in = scoring(1000 * MiB);
  in.pass.hidden = 49152;
  in.panel_bytes = 2000000 * MiB;
  in.only_scored = true;
  const fg_policy p = make(&in);
  assert_true(p.micro_tokens > 0);
  assert_true(p.hidden_disk_rows > p.hidden_rows);
}

static void test_experts_that_come_and_go_see_all_rows_at_once(void **state) {
  (void)state;
  fg_plan_input in = scoring(900 * MiB);
  in.expert_least = 40 * MiB;
  const fg_policy p = make(&in);
  if (p.micro_tokens) assert_int_equal(p.micro_tokens, p.max_tokens);
  assert_true(p.expert_bytes >= in.expert_least);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_model_that_fits_runs_ordinary_steps),
      cmocka_unit_test(test_scored_rows_of_a_larger_model_run_in_layer_passes_within_budget),
      cmocka_unit_test(test_rows_that_are_drawn_have_room_for_their_logits_within_budget),
      cmocka_unit_test(test_quarter_of_the_model_is_enough_to_read_it_few_times),
      cmocka_unit_test(test_more_memory_never_means_more_passes),
      cmocka_unit_test(test_what_a_job_does_not_need_for_tokens_goes_to_weights),
      cmocka_unit_test(test_passes_divide_the_job_evenly),
      cmocka_unit_test(test_rows_with_more_tokens_or_shared_ones_run_ordinary_steps),
      cmocka_unit_test(test_graph_that_cannot_runs_ordinary_steps_and_refuses_the_wish),
      cmocka_unit_test(test_wishes_are_kept_and_what_has_no_room_goes_to_disk),
      cmocka_unit_test(test_residual_stream_goes_to_disk_where_that_is_less_traffic),
      cmocka_unit_test(test_experts_that_come_and_go_see_all_rows_at_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
