// Policies: how memory is divided, what is refused, and what a user may fix of it.
#include "tinyllama.h"

static void test_everything_is_resident_when_it_fits(void **state) {
  (void)state;
  fg_plan_input in = tinyllama(8000 * MiB);
  fg_policy p;
  assert_int_equal(fg_policy_make(&in, &p, NULL), FG_OK);
  assert_int_equal(p.device_weight_bytes, in.panel_bytes);
  assert_int_equal(p.ring_bytes, 0);
  assert_true(p.tables_resident);
  assert_true(p.host_needed <= in.host);
}

static void test_model_larger_than_memory_streams_within_budget(void **state) {
  (void)state;
  for (uint64_t host = 150; host < 2200; host += 50) {
    fg_plan_input in = tinyllama(host * MiB);
    fg_policy p;
    fg_error err;
    if (fg_policy_make(&in, &p, &err) != FG_OK) fail_msg("%d MiB: %s", (int)host, err.message);
    assert_true(p.host_needed <= in.host);
    assert_true(p.ring_bytes >= 2 * in.largest_panel);
    assert_true(p.device_weight_bytes < in.panel_bytes);
    assert_true(p.pages * p.max_seqs > 0);
  }
}

static void test_more_memory_never_means_fewer_resident_weights_or_pages(void **state) {
  (void)state;
  fg_policy before = {0};
  for (uint64_t host = 400; host < 2200; host += 100) {
    fg_plan_input in = tinyllama(host * MiB);
    in.max_tokens = 512;
    in.max_seqs = 32;
    fg_policy p;
    assert_int_equal(fg_policy_make(&in, &p, NULL), FG_OK);
    assert_true(p.device_weight_bytes + p.pages * in.page_bytes >=
                before.device_weight_bytes + before.pages * in.page_bytes);
    before = p;
  }
}

static void test_a_step_finds_room_in_the_cache(void **state) {
  (void)state;
  for (uint64_t host = 60; host < 700; host += 20) {
    fg_plan_input in = tinyllama(host * MiB);
    fg_policy p;
    if (fg_policy_make(&in, &p, NULL) != FG_OK) continue;
    assert_true(p.max_tokens == 16 || p.pages * in.page_tokens >= 2 * p.max_tokens);
  }
}

static void test_sequences_fill_a_step_and_no_more(void **state) {
  (void)state;
  static const struct {
    fg_workload expected;
    uint32_t least, most;
  } cases[] = {
      {{.requests = 0, .tokens = 0, .generated = 0}, 64, 64},       // nothing is known
      {{.requests = 0, .tokens = 144, .generated = 16}, 60, 80},    // 512 * 17 / 144
      {{.requests = 0, .tokens = 544, .generated = 32}, 31, 45},    // a long prompt, few decodes in a step
      {{.requests = 0, .tokens = 6, .generated = 1}, 170, 200},     // a step of prompts alone
      {{.requests = 0, .tokens = 256, .generated = 250}, 256, 256}, // decodes alone: as many as are allowed
      {{.requests = 20, .tokens = 256, .generated = 250}, 20, 20},  // there are no more
      {{.requests = 0, .tokens = UINT32_MAX, .generated = UINT32_MAX}, 256, 256},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    fg_plan_input in = tinyllama(1500 * MiB);
    in.expected = cases[i].expected;
    fg_policy p;
    assert_int_equal(fg_policy_make(&in, &p, NULL), FG_OK);
    if (p.max_seqs < cases[i].least || p.max_seqs > cases[i].most) fail_msg("case %zu: %u", i, p.max_seqs);
  }
}

static void test_cache_of_a_known_job_leaves_memory_to_weights(void **state) {
  (void)state;
  fg_plan_input in = tinyllama(800 * MiB);
  fg_policy unknown, known;
  assert_int_equal(fg_policy_make(&in, &unknown, NULL), FG_OK);
  in.expected = (fg_workload){.requests = 32, .tokens = 144, .generated = 16};
  assert_int_equal(fg_policy_make(&in, &known, NULL), FG_OK);
  assert_int_equal(known.pages, 32 * 6); // 144 tokens, and one page more to grow
  assert_true(known.device_weight_bytes >= unknown.device_weight_bytes + 90 * MiB);
}

// About opt-6.7b in bf16 under 4 GB: half a gigabyte more of weights would save 4 % of a step's reads, two
// sequences more a fifth of the steps.
static void test_sequences_come_before_weights_of_a_model_larger_than_memory(void **state) {
  (void)state;
  fg_plan_input in = tinyllama(4000 * MiB);
  in.panel_bytes = 12800 * MiB;
  in.page_bytes = 32 * 2 * 32 * 128 * 2 * 32;
  in.expected = (fg_workload){.requests = 32, .tokens = 544, .generated = 32};
  fg_policy p;
  assert_int_equal(fg_policy_make(&in, &p, NULL), FG_OK);
  assert_true(p.pages >= 12 * 18); // of 544 tokens, and one page more to grow
  assert_true(p.device_weight_bytes < 20 * in.page_bytes);
}

// Enough sequences run beside all of the weights: more of them would make every step read.
static void test_weights_stay_that_fit_beside_enough_sequences(void **state) {
  (void)state;
  fg_plan_input in = tinyllama(3600 * MiB);
  in.expected = (fg_workload){.requests = 1000, .tokens = 1024, .generated = 1000};
  fg_policy p;
  assert_int_equal(fg_policy_make(&in, &p, NULL), FG_OK);
  assert_int_equal(p.device_weight_bytes, in.panel_bytes);
  assert_true(p.pages >= 32 * 33 && p.pages < 256 * 33);
}

static void test_refusal_names_numbers_and_flag(void **state) {
  (void)state;
  fg_plan_input in = tinyllama(20 * MiB);
  fg_policy p;
  fg_error err;
  assert_int_equal(fg_policy_make(&in, &p, &err), FG_NO_SPACE);
  assert_non_null(strstr(err.message, "--host-memory"));
  assert_non_null(strstr(err.message, "20 MiB are left"));
}

static void test_fixed_wishes_are_kept_or_refused(void **state) {
  (void)state;
  fg_plan_input in = tinyllama(600 * MiB);
  in.max_tokens = 128;
  in.max_seqs = 8;
  in.max_len = 1024;
  fg_policy p;
  assert_int_equal(fg_policy_make(&in, &p, NULL), FG_OK);
  assert_int_equal(p.max_tokens, 128);
  assert_int_equal(p.max_seqs, 8);
  assert_int_equal(p.max_len, 1024);
  in.max_tokens = 100000; // activations alone exceed the memory
  assert_int_equal(fg_policy_make(&in, &p, NULL), FG_NO_SPACE);
}

static void test_percent_fixes_the_resident_share(void **state) {
  (void)state;
  int percent[6] = {5, 10, 100, 0, 100, 0};
  fg_plan_input in = tinyllama(1000 * MiB);
  in.percent = percent;
  fg_policy p;
  assert_int_equal(fg_policy_make(&in, &p, NULL), FG_OK);
  assert_int_equal(p.device_weight_bytes, 300 * MiB);
  percent[1] = 95;
  assert_int_equal(fg_policy_make(&in, &p, NULL), FG_NO_SPACE);
  percent[1] = 0;
  percent[2] = 50; // and no disk to put the others on
  assert_int_equal(fg_policy_make(&in, &p, NULL), FG_NO_SPACE);
  percent[2] = 120;
  assert_int_equal(fg_policy_make(&in, &p, NULL), FG_INVALID);
}

// About tinyllama with room on disk for the cache.
static fg_plan_input with_disk(uint64_t host) {
  fg_plan_input in = tinyllama(host);
  in.layers = 22;
  in.padded_page_bytes = in.page_bytes;
  in.disk = 100000 * MiB;
  return in;
}

static void assert_sums(const fg_plan_input *in, const fg_policy *p) {
  uint64_t host, device;
  assert_int_equal(p->pages, p->device_pages + p->host_pages + p->disk_pages);
  fg_policy_memory(in, p, &host, &device);
  assert_int_equal(host, p->host_needed);
  assert_int_equal(device, p->device_needed);
  assert_true(host <= in->host && (in->one_memory || device <= in->device));
}

static void test_percent_shares_the_cache_among_the_tiers(void **state) {
  (void)state;
  int percent[6] = {0, 0, 20, 10, 100, 0};
  fg_plan_input in = with_disk(1000 * MiB);
  in.percent = percent;
  in.max_seqs = 32;
  in.expected = (fg_workload){.requests = 32, .tokens = 544, .generated = 32};
  fg_policy p;
  assert_int_equal(fg_policy_make(&in, &p, NULL), FG_OK);
  assert_sums(&in, &p);
  assert_int_equal(p.pages, 32 * 18);
  assert_int_equal(p.device_pages, p.pages * 30 / 100); // device and host are one memory
  assert_int_equal(p.host_pages, 0);
  in.one_memory = false;
  in.device = 600 * MiB;
  assert_int_equal(fg_policy_make(&in, &p, NULL), FG_OK);
  assert_sums(&in, &p);
  assert_int_equal(p.device_pages, p.pages * 20 / 100);
  assert_int_equal(p.host_pages, p.pages * 10 / 100);
  percent[2] = 0;
  percent[3] = 100; // needs no disk
  in.disk = 0;
  in.host = 2000 * MiB;
  assert_int_equal(fg_policy_make(&in, &p, NULL), FG_OK);
  assert_sums(&in, &p);
  assert_int_equal(p.host_pages, p.pages);
}

// A frame has room for the longest sequence, open slots for every sequence that runs.
static void test_spilled_cache_can_always_go_on(void **state) {
  (void)state;
  for (uint64_t host = 100; host < 2000; host += 100) {
    int percent[6] = {0, 0, (int)(host / 100), 0, 100, 0};
    fg_plan_input in = with_disk(host * MiB);
    in.percent = percent;
    in.restarts = host % 200 == 0;
    fg_policy p;
    fg_error err;
    if (fg_policy_make(&in, &p, &err) != FG_OK) fail_msg("%d MiB: %s", (int)host, err.message);
    assert_sums(&in, &p);
    assert_true(p.disk_pages > 0 && p.frames >= 2);
    assert_true(p.frame_pages * in.page_tokens >= p.max_len && p.pages * in.page_tokens >= p.max_len);
    assert_true(p.open_slots >= (in.restarts ? 2 : 1) * p.max_seqs + 2);
  }
}

static void test_cache_goes_to_disk_only_where_few_sequences_fit(void **state) {
  (void)state;
  fg_policy p;
  fg_plan_input in = with_disk(1500 * MiB);
  in.expected = (fg_workload){.requests = 1000, .tokens = 544, .generated = 32};
  assert_int_equal(fg_policy_make(&in, &p, NULL), FG_OK);
  assert_int_equal(p.disk_pages, 0);
  assert_int_equal(p.open_slots, 0);
  in.host = 160 * MiB;
  assert_int_equal(fg_policy_make(&in, &p, NULL), FG_OK);
  assert_sums(&in, &p);
  assert_true(p.disk_pages > 0 && p.pages >= 8 * 18);
  in.disk = 0;
  assert_int_equal(fg_policy_make(&in, &p, NULL), FG_OK);
  assert_int_equal(p.disk_pages, 0);
}

static void test_cache_takes_no_more_disk_than_there_is(void **state) {
  (void)state;
  int percent[6] = {0, 0, 0, 0, 100, 0};
  fg_plan_input in = with_disk(1000 * MiB);
  in.percent = percent;
  in.disk = 100 * in.page_bytes;
  fg_policy p;
  fg_error err;
  assert_int_equal(fg_policy_make(&in, &p, NULL), FG_OK);
  assert_int_equal(p.disk_pages, 100);
  in.disk = 10 * in.page_bytes; // not one sequence
  assert_int_equal(fg_policy_make(&in, &p, &err), FG_NO_SPACE);
  assert_non_null(strstr(err.message, "--offload-dir"));
}

// Whatever is wished, a policy keeps to the memory and the disk, or is refused with a reason.
static void test_random_wishes_are_kept_within_the_budgets(void **state) {
  (void)state;
  unsigned seed = 11, spilled = 0, refused = 0;
  print_message("seed %u\n", seed);
  srand(seed);
  for (int i = 0; i < 5000; i++) {
    int percent[6] = {rand() % 40, rand() % 40, rand() % 50, rand() % 50, 100, 0};
    fg_plan_input in = with_disk((uint64_t)(20 + rand() % 3000) * MiB);
    in.one_memory = rand() % 2;
    in.device = (uint64_t)(20 + rand() % 1500) * MiB;
    in.disk = (uint64_t)(rand() % 3) * (uint64_t)(rand() % 4000) * MiB;
    in.padded_page_bytes = in.page_bytes + 22 * 4096;
    in.percent = rand() % 2 ? percent : NULL;
    in.max_seqs = rand() % 3 ? 0 : 1 + (uint32_t)rand() % 200;
    in.max_len = rand() % 3 ? 0 : 1 + (uint32_t)rand() % 2048;
    in.restarts = rand() % 4 == 0;
    if (rand() % 2)
      in.expected = (fg_workload){
          .requests = (uint64_t)rand() % 500, .tokens = 20 + (uint32_t)rand() % 2000, .generated = 10};
    fg_policy p;
    fg_error err;
    if (fg_policy_make(&in, &p, &err) != FG_OK) {
      refused++;
      assert_int_not_equal(err.message[0], 0);
      continue;
    }
    assert_sums(&in, &p);
    assert_true(p.pages * in.page_tokens >= p.max_len && p.disk_pages * in.padded_page_bytes <= in.disk);
    if (p.open_slots == 0) assert_int_equal(p.device_pages, p.pages);
    spilled += p.disk_pages > 0;
  }
  assert_true(spilled > 500 && refused > 100 && refused < 4000); // all of it was tried
}

static void test_device_of_its_own_memory_keeps_both_budgets(void **state) {
  (void)state;
  fg_plan_input in = tinyllama(900 * MiB);
  in.one_memory = false;
  in.device = 500 * MiB;
  fg_policy p;
  assert_int_equal(fg_policy_make(&in, &p, NULL), FG_OK);
  assert_true(p.device_needed <= in.device);
  assert_true(p.host_needed <= in.host);
  assert_true(p.host_weight_bytes > 0);
  assert_true(p.device_weight_bytes > 0);
}

static void test_placement_keeps_to_the_shares_everywhere(void **state) {
  (void)state;
  enum { N = 1000 };
  uint64_t bytes[N], total = 0;
  uint8_t tier[N];
  srand(7);
  for (int i = 0; i < N; i++) total += bytes[i] = 1 + (uint64_t)rand() % 1000;
  uint64_t device = total * 3 / 10, host = total / 5;
  fg_place_panels(bytes, N, device, host, tier);
  uint64_t seen = 0, on[3] = {0};
  for (int i = 0; i < N; i++) {
    seen += bytes[i];
    on[tier[i]] += bytes[i];
    // At every point of the order the resident share is within two panels of what it is overall.
    double due = (double)device * (double)seen / (double)total;
    assert_true((double)on[FG_TIER_DEVICE] <= due + 1);
    assert_true((double)on[FG_TIER_DEVICE] >= due - 2000);
  }
  assert_true(on[FG_TIER_DEVICE] <= device && on[FG_TIER_HOST] <= host);
  assert_true(on[FG_TIER_HOST] >= host - 2000);
}

static void test_placement_of_everything_and_nothing(void **state) {
  (void)state;
  uint64_t bytes[] = {5, 7, 11};
  uint8_t tier[3];
  fg_place_panels(bytes, 3, 100, 0, tier);
  for (int i = 0; i < 3; i++) assert_int_equal(tier[i], FG_TIER_DEVICE);
  fg_place_panels(bytes, 3, 0, 0, tier);
  for (int i = 0; i < 3; i++) assert_int_equal(tier[i], FG_TIER_DISK);
  fg_place_panels(bytes, 3, 0, 23, tier);
  for (int i = 0; i < 3; i++) assert_int_equal(tier[i], FG_TIER_HOST);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_everything_is_resident_when_it_fits),
      cmocka_unit_test(test_model_larger_than_memory_streams_within_budget),
      cmocka_unit_test(test_more_memory_never_means_fewer_resident_weights_or_pages),
      cmocka_unit_test(test_a_step_finds_room_in_the_cache),
      cmocka_unit_test(test_sequences_fill_a_step_and_no_more),
      cmocka_unit_test(test_cache_of_a_known_job_leaves_memory_to_weights),
      cmocka_unit_test(test_sequences_come_before_weights_of_a_model_larger_than_memory),
      cmocka_unit_test(test_weights_stay_that_fit_beside_enough_sequences),
      cmocka_unit_test(test_refusal_names_numbers_and_flag),
      cmocka_unit_test(test_fixed_wishes_are_kept_or_refused),
      cmocka_unit_test(test_percent_fixes_the_resident_share),
      cmocka_unit_test(test_percent_shares_the_cache_among_the_tiers),
      cmocka_unit_test(test_spilled_cache_can_always_go_on),
      cmocka_unit_test(test_cache_goes_to_disk_only_where_few_sequences_fit),
      cmocka_unit_test(test_cache_takes_no_more_disk_than_there_is),
      cmocka_unit_test(test_random_wishes_are_kept_within_the_budgets),
      cmocka_unit_test(test_device_of_its_own_memory_keeps_both_budgets),
      cmocka_unit_test(test_placement_keeps_to_the_shares_everywhere),
      cmocka_unit_test(test_placement_of_everything_and_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
