// What a job takes, by the scheduler and the rates of a machine.
#include "plan_rig.h"

#include "engine/predict.h"

static fg_profile profile;
static fg_plan_model model;
static fg_step_rates rates;

static int set_up(void **state) {
  (void)state;
  profile = rig_profile();
  model = rig_model();
  rates = fg_step_rates_of(&profile, &model);
  return 0;
}

static fg_prediction predict(fg_predict_options options, const fg_row_length *rows, uint32_t count,
                             uint64_t requests) {
  const fg_plan_job job = {.rows = rows, .count = count, .requests = requests};
  fg_prediction out;
  fg_error err;
  options.rates = &rates;
  options.page_tokens = RIG_PAGE;
  if (fg_predict(&out, &options, &job, &err) != FG_OK) fail_msg("%s", err.message);
  return out;
}

static fg_policy policy(uint32_t tokens, uint32_t seqs) {
  return (fg_policy){
      .max_tokens = tokens, .max_seqs = seqs, .max_len = 4096, .pages = 4096, .device_pages = 4096};
}

static void assert_near(double value, double expected, double share) {
  if (fabs(value - expected) > share * expected) fail_msg("%.6g, expected %.6g", value, expected);
}

static void test_one_row_takes_its_steps(void **state) {
  (void)state;
  const fg_policy p = policy(64, 4);
  const fg_row_length row = {.prompt = 16, .generated = 3};
  const fg_prediction out = predict((fg_predict_options){.policy = &p}, &row, 1, 1);
  assert_int_equal(out.steps, 3); // the first token is drawn from the step that reads the prompt
  assert_int_equal(out.prompt_tokens, 16);
  assert_int_equal(out.generated_tokens, 3);
  const double products = RIG_VALUE * (100e6 * (16 + 8 + 8) + 10e6 * 3 * 8);
  const double pairs = RIG_LAYERS * 8 * 1e-10 * (16 * 17 / 2), keys = RIG_LAYERS * 8 * 1e-9 * (17 + 18);
  assert_near(out.seconds, products + pairs + keys, 1e-6);
}

static void test_reading_binds_where_it_takes_longer(void **state) {
  (void)state;
  const fg_policy p = policy(64, 4);
  const fg_row_length row = {.prompt = 16, .generated = 5};
  const fg_plan_traffic traffic = {
      .body_bytes = 2 * RIG_DISK, .tail_bytes = RIG_DISK, .open_bytes = 7, .weights_ahead = 1e6};
  const fg_prediction out = predict((fg_predict_options){.policy = &p, .traffic = traffic}, &row, 1, 1);
  assert_near(out.seconds, 5 * 3.0, 1e-9);
  assert_near(out.read_bytes, 5 * 3 * RIG_DISK + 7, 1e-12);
}

static void test_steps_that_were_tried_scale_computing_and_nothing_else(void **state) {
  (void)state;
  assert_near(fg_step_scale_at(&(fg_step_scale){0}, 5), 1, 1e-12);
  const fg_step_scale scale = {.count = 2, .tokens = {4, 64}, .times = {3, 1}};
  static const double seen[][2] = {{1, 3}, {4, 3}, {16, 2}, {64, 1}, {1000, 1}}; // 16: half-way in powers
  for (size_t i = 0; i < sizeof seen / sizeof *seen; i++)
    assert_near(fg_step_scale_at(&scale, seen[i][0]), seen[i][1], 1e-12);
  fg_step_rates scaled = rates;
  scaled.scale = scale;
  const fg_step_work work = {.tokens = 16, .selected = 2, .keys = {100}, .read_bytes = RIG_DISK / 100};
  const fg_step_seconds before = fg_step_time(&rates, &work), after = fg_step_time(&scaled, &work);
  assert_near(after.compute, 2 * before.compute, 1e-9);
  assert_near(after.disk, before.disk, 1e-12);
}

// A step that multiplies for 3 s and attends for 1 s, of 4 layers.
static fg_step_seconds step_of(double weights, double pages, double weights_ahead, double pages_ahead) {
  const fg_step_work work = {.tokens = 3 / (RIG_VALUE * 100e6),
                             .keys = {1 / (RIG_LAYERS * 8 * 1e-9)},
                             .read_bytes = (weights + pages) * RIG_DISK,
                             .cache_bytes = pages * RIG_DISK,
                             .weights_ahead = weights_ahead * RIG_DISK / RIG_LAYERS,
                             .pages_ahead = pages_ahead * RIG_DISK / RIG_LAYERS};
  return fg_step_time(&rates, &work);
}

static void test_a_small_ring_lets_the_disk_wait(void **state) {
  (void)state;
  static const struct {
    double weights, pages, weights_ahead, pages_ahead, seconds;
  } cases[] = {
      {4, 0, 1, 0, 4},                        // read while it attends, too
      {4, 0, 0, 0, 5},                        // nothing is read meanwhile
      {4, 0, 0.25, 0, 4.75}, {3, 0, 0, 0, 4}, // all of it comes while it multiplies
      {0, 4, 0, 3, 4},                        // pages: three quarters before they are wanted
      {0, 4, 0, 0, 7},       {2, 2, 0, 1, 4}, // one of each waits for nothing
      {9, 1, 9, 9, 10},                       // the disk binds
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_near(
        step_of(cases[i].weights, cases[i].pages, cases[i].weights_ahead, cases[i].pages_ahead).seconds,
        cases[i].seconds, 1e-6);
}

// The same step where all of that comes over a link: pages that come while it multiplies keep weights
// waiting.
static void test_a_link_brings_pages_in_bursts(void **state) {
  (void)state;
  static const struct {
    double weights, pages, weights_ahead, pages_ahead, seconds;
  } cases[] = {
      {4, 0, 1, 0, 4}, {4, 0, 0, 0, 5}, {0, 4, 0, 3, 4},
      {0, 4, 0, 0, 7}, {2, 2, 0, 1, 5}, // a burst of a second, and nothing to multiply with meanwhile
      {2, 2, 2, 1, 4},                  // the ring has enough for it
  };
  fg_step_rates r = rates;
  r.link = RIG_DISK;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const fg_step_work work = {.tokens = 3 / (RIG_VALUE * 100e6),
                               .keys = {1 / (RIG_LAYERS * 8 * 1e-9)},
                               .link_bytes = (cases[i].weights + cases[i].pages) * RIG_DISK,
                               .link_cache_bytes = cases[i].pages * RIG_DISK,
                               .weights_ahead = cases[i].weights_ahead * RIG_DISK / RIG_LAYERS,
                               .pages_ahead = cases[i].pages_ahead * RIG_DISK / RIG_LAYERS};
    assert_near(fg_step_time(&r, &work).seconds, cases[i].seconds, 1e-6);
  }
}

static void test_batches_of_the_cache_are_launched_apart(void **state) {
  (void)state;
  fg_profile slow = rig_profile();
  slow.launch = 0.25;
  const fg_step_rates r = fg_step_rates_of(&slow, &model);
  const fg_step_work one = {.tokens = 8}, three = {.tokens = 8, .batches = 2};
  assert_near(fg_step_time(&r, &three).seconds - fg_step_time(&r, &one).seconds, 2 * RIG_LAYERS * 2 * 0.25,
              1e-9);
}

// Each arithmetic has its own form of a product's input.
static void test_inputs_of_products_are_made_for_each_token(void **state) {
  (void)state;
  fg_profile p = rig_profile();
  p.input_value[FG_COMPUTE_F32] = 9, p.input_value[FG_COMPUTE_BF16] = 0.5, p.input_value[FG_COMPUTE_INT8] = 7;
  fg_plan_model m = model;
  m.input_values = 16, m.head_input_values = 4;
  const fg_step_rates with = fg_step_rates_of(&p, &m);
  const fg_step_work work = {.tokens = 8, .selected = 2};
  assert_near(fg_step_time(&with, &work).seconds - fg_step_time(&rates, &work).seconds,
              0.5 * (8 * 16 + 2 * 4), 1e-9);
}

// 96 of 100 tokens are shared: whole pages of 32, where pages are on several tiers.
static void test_what_rows_share_is_computed_once(void **state) {
  (void)state;
  fg_policy p = policy(512, 4);
  p.open_slots = 4;
  const fg_row_length rows[] = {
      {100, 2, 0, false, 0}, {101, 2, 100, false, 0}, {102, 2, 97, false, 0}, {103, 2, 10, false, 0}};
  const fg_prediction out = predict((fg_predict_options){.policy = &p}, rows, 4, 4);
  assert_int_equal(out.prompt_tokens, 100 + 101 + 102 + 103);
  assert_int_equal(out.shared_tokens, 2 * 96);
  assert_int_equal(out.generated_tokens, 8);
  const double computed = 100 + 5 + 6 + 103;
  const double pairs = 100 * 101 / 2 + (101 * 102 - 96 * 97) / 2 + (102 * 103 - 96 * 97) / 2 + 103 * 104 / 2;
  const double keys = 101 + 102 + 103 + 104;
  const double seconds =
      RIG_VALUE * (100e6 * (computed + 8) + 10e6 * (8 + 8)) + RIG_LAYERS * 8 * (1e-10 * pairs + 1e-9 * keys);
  assert_int_equal(out.steps, 2);
  assert_near(out.seconds, seconds, 1e-6);
}

static void test_a_prompt_that_is_shared_whole_still_gives_its_last_token(void **state) {
  (void)state;
  fg_policy p = policy(512, 4);
  const fg_row_length rows[] = {{64, 1, 0, false, 0}, {64, 1, 64, false, 0}};
  assert_int_equal(predict((fg_predict_options){.policy = &p}, rows, 2, 2).shared_tokens, 63);
  p.open_slots = 4;
  assert_int_equal(predict((fg_predict_options){.policy = &p}, rows, 2, 2).shared_tokens, 32);
}

// Where all pages are in one memory the rows above compute what they have alone, to the token.
static void test_what_rows_share_of_a_page_is_copied(void **state) {
  (void)state;
  const fg_policy p = policy(512, 4);
  const fg_row_length rows[] = {
      {100, 2, 0, false, 0}, {101, 2, 100, false, 0}, {102, 2, 97, false, 0}, {103, 2, 10, false, 0}};
  const fg_prediction out = predict((fg_predict_options){.policy = &p}, rows, 4, 4);
  assert_int_equal(out.prompt_tokens, 100 + 101 + 102 + 103);
  assert_int_equal(out.copied_tokens, 4 + 1 + 10);
  assert_int_equal(out.shared_tokens, 2 * 96 + out.copied_tokens);
  const double computed = 100 + 1 + 5 + 93;
  const double pairs =
      100 * 101 / 2 + (101 * 102 - 100 * 101) / 2 + (102 * 103 - 97 * 98) / 2 + (103 * 104 - 10 * 11) / 2;
  const double keys = 101 + 102 + 103 + 104;
  const double seconds =
      RIG_VALUE * (100e6 * (computed + 8) + 10e6 * (8 + 8)) + RIG_LAYERS * 8 * (1e-10 * pairs + 1e-9 * keys);
  assert_near(out.seconds, seconds, 1e-6);
}

static void test_what_is_kept_is_read_and_not_computed(void **state) {
  (void)state;
  const fg_policy p = policy(512, 4);
  const fg_row_length row = {.prompt = 100, .generated = 1, .kept = 64},
                      rest = {.prompt = 36, .generated = 1};
  const fg_plan_traffic traffic = {.page_bytes = 0.25 * RIG_DISK};
  const fg_predict_options options = {.policy = &p, .traffic = traffic};
  const fg_prediction out = predict(options, &row, 1, 1), alone = predict(options, &rest, 1, 1);
  assert_int_equal(out.prompt_tokens, 100);
  assert_int_equal(out.kept_tokens, 64);
  assert_near(out.read_bytes, 2 * traffic.page_bytes, 1e-12);
  // Its queries see the keys that were read, too.
  assert_near(out.seconds, 0.5 + alone.seconds + RIG_LAYERS * 8 * 1e-10 * 36 * 64, 1e-9);
}

// The first one reads it; others find it in the cache, and the last one reads what it has beyond.
static void test_what_rows_share_is_read_once(void **state) {
  (void)state;
  const fg_policy p = policy(512, 4);
  const fg_row_length rows[] = {
      {100, 2, 0, false, 96}, {101, 2, 96, false, 96}, {102, 2, 97, false, 96}, {203, 2, 96, false, 160}};
  const fg_prediction out = predict((fg_predict_options){.policy = &p}, rows, 4, 4);
  assert_int_equal(out.kept_tokens, 96 + 64);
  assert_int_equal(out.shared_tokens, 96 + 97 + 96);
}

static void test_a_last_token_is_computed_though_it_is_kept(void **state) {
  (void)state;
  const fg_policy p = policy(512, 4);
  const fg_row_length row = {.prompt = 64, .generated = 1, .kept = 64};
  assert_int_equal(predict((fg_predict_options){.policy = &p}, &row, 1, 1).kept_tokens, 32);
}

// On several tiers a quarter of the pages may wait for their row; layer passes keep none.
static void test_how_much_of_what_is_kept_is_read_goes_by_the_policy(void **state) {
  (void)state;
  fg_policy p = policy(512, 4);
  const fg_row_length row = {.prompt = 1000, .generated = 1, .kept = 960};
  p.pages = 40;
  p.device_pages = 20;
  p.open_slots = 4;
  assert_int_equal(predict((fg_predict_options){.policy = &p}, &row, 1, 1).kept_tokens, 10 * RIG_PAGE);
  fg_policy pass = policy(1024, 4);
  pass.micro_tokens = 128;
  pass.pass_len = 1024;
  assert_int_equal(predict((fg_predict_options){.policy = &pass}, &row, 1, 1).kept_tokens, 0);
}

// Room for three rows, whoever filled their pages.
static void test_pages_that_are_read_take_room(void **state) {
  (void)state;
  fg_policy p = policy(512, 8);
  p.max_len = 160;
  p.pages = p.device_pages = 12;
  const fg_row_length computed = {100, 20, 0, false, 0}, kept = {100, 20, 0, false, 96};
  const fg_predict_options options = {.policy = &p};
  assert_near(predict(options, &kept, 1, 64).steps, predict(options, &computed, 1, 64).steps, 0.05);
}

// A row that waits for the disk has room for drafts; where as many run as products are worth, there is none.
static void test_steps_in_which_drafts_may_pay_are_counted(void **state) {
  (void)state;
  const fg_policy few = policy(64, 1), many = policy(256, 128);
  const fg_row_length row = {.prompt = 16, .generated = 5};
  const fg_plan_traffic slow = {.body_bytes = RIG_DISK, .weights_ahead = RIG_DISK};
  assert_int_equal(predict((fg_predict_options){.policy = &few, .traffic = slow, .drafts = true}, &row, 1, 1)
                       .drafting_steps,
                   4);
  assert_int_equal(predict((fg_predict_options){.policy = &few, .traffic = slow}, &row, 1, 1).drafting_steps,
                   0);
  assert_int_equal(
      predict((fg_predict_options){.policy = &many, .drafts = true}, &row, 1, 128).drafting_steps, 0);
}

// Pages for one row of 128 tokens; with a prefix of 96 that all share there is room for four.
static void test_pages_that_are_shared_are_held_once(void **state) {
  (void)state;
  fg_policy p = policy(512, 8);
  p.max_len = 160;
  p.pages = p.device_pages = 12;
  const fg_row_length alone = {100, 20, 0, false, 0}, shared = {100, 20, 96, false, 0};
  const fg_predict_options options = {.policy = &p};
  const fg_prediction a = predict(options, &alone, 1, 64), b = predict(options, &shared, 1, 64);
  assert_true(b.steps < 0.7 * a.steps);
  assert_near(b.shared_tokens, 63 * 96, 1e-9);
}

// Two rows at once; the long one at the end runs alone if it comes last.
static void test_the_longest_first_make_the_tail_short(void **state) {
  (void)state;
  fg_policy p = policy(64, 2);
  const fg_row_length rows[] = {
      {8, 10, 0, false, 0}, {8, 10, 0, false, 0}, {8, 10, 0, false, 0}, {8, 30, 0, false, 0}};
  assert_int_equal(predict((fg_predict_options){.policy = &p}, rows, 4, 4).steps, 40);
  p.order = FG_ORDER_LONGEST;
  assert_int_equal(predict((fg_predict_options){.policy = &p}, rows, 4, 4).steps, 30);
}

static void test_a_row_that_is_only_scored_passes_once(void **state) {
  (void)state;
  const fg_policy p = policy(64, 4);
  const fg_row_length row = {.prompt = 40, .generated = 0};
  const fg_prediction out = predict((fg_predict_options){.policy = &p}, &row, 1, 1);
  assert_int_equal(out.steps, 1);
  assert_int_equal(out.generated_tokens, 0);
}

static void test_what_is_left_of_a_long_job_goes_on_as_it_did(void **state) {
  (void)state;
  const fg_policy p = policy(128, 16);
  const fg_row_length rows[] = {{200, 20, 0, false, 0}, {50, 60, 0, false, 0}, {400, 5, 0, false, 0}};
  const fg_predict_options all = {.policy = &p}, some = {.policy = &p, .most_steps = 200};
  const fg_prediction whole = predict(all, rows, 3, 3000), part = predict(some, rows, 3, 3000);
  assert_true(whole.steps > 2000);
  assert_near(part.seconds, whole.seconds, 0.02);
  assert_near(part.steps, whole.steps, 0.02);
  assert_near(part.generated_tokens, whole.generated_tokens, 1e-9);
}

static void test_pages_beyond_memory_are_written_once_and_read_every_step(void **state) {
  (void)state;
  fg_policy p = policy(64, 2);
  p.device_pages = 0;
  p.disk_pages = p.pages;
  const fg_row_length row = {.prompt = 64, .generated = 3};
  const fg_plan_traffic traffic = {.page_bytes = 1000};
  const fg_prediction out = predict((fg_predict_options){.policy = &p, .traffic = traffic}, &row, 1, 1);
  assert_near(out.written_bytes, 2 * 1000, 1e-12);  // two full pages
  assert_near(out.read_bytes, 2 * 2 * 1000, 1e-12); // by the two steps that come after
}

// Four rows of two pages that grow to four, memory for ten: what comes last is on disk, all of it.
static void test_rows_that_grow_together_write_all_beyond_memory(void **state) {
  (void)state;
  fg_policy p = policy(512, 4);
  p.pages = 20;
  p.device_pages = 10;
  p.disk_pages = 10;
  p.open_slots = 5;
  const fg_row_length row = {.prompt = 64, .generated = 65};
  const fg_plan_traffic traffic = {.page_bytes = 1000};
  const fg_prediction out = predict((fg_predict_options){.policy = &p, .traffic = traffic}, &row, 1, 4);
  assert_near(out.written_bytes, (4 * 4 - 10) * 1000, 1e-12);
}

// The next four rows find what these have left in memory, if it may be kept for them.
static void test_pages_that_rows_left_take_memory_where_rows_may_share(void **state) {
  (void)state;
  fg_policy p = policy(512, 4);
  p.pages = 24;
  p.device_pages = 16;
  p.disk_pages = 8;
  p.open_slots = 5;
  p.max_len = 256;
  const fg_row_length row = {.prompt = 64, .generated = 65};
  fg_plan_job job = {.rows = &row, .count = 1, .requests = 8};
  const fg_predict_options options = {
      .rates = &rates, .policy = &p, .page_tokens = RIG_PAGE, .traffic = {.page_bytes = 1000}};
  fg_prediction apart, shares;
  assert_int_equal(fg_predict(&apart, &options, &job, NULL), FG_OK);
  job.shares = true;
  assert_int_equal(fg_predict(&shares, &options, &job, NULL), FG_OK);
  assert_near(apart.written_bytes, 0, 1e-12);
  assert_near(shares.written_bytes, 6 * 1000, 1e-12); // a quarter of 24
}

static void test_windows_bound_what_is_seen(void **state) {
  (void)state;
  assert_near(fg_plan_visible_keys(0, 0, 10), 55, 1e-12);
  assert_near(fg_plan_visible_keys(4, 0, 10), 1 + 2 + 3 + 4 * 7, 1e-12);
  assert_near(fg_plan_visible_keys(4, 2, 3), 3 + 4 + 4, 1e-12);
  assert_near(fg_plan_visible_keys(0, 100, 1), 101, 1e-12);
}

static void test_a_job_that_waits_for_pages_takes_longer(void **state) {
  (void)state;
  fg_policy much = policy(64, 8), little = much;
  little.pages = little.device_pages = 12;
  const fg_row_length row = {.prompt = 60, .generated = 60};
  const fg_predict_options a = {.policy = &much}, b = {.policy = &little};
  assert_true(predict(b, &row, 1, 32).seconds > 1.2 * predict(a, &row, 1, 32).seconds);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_one_row_takes_its_steps),
      cmocka_unit_test(test_reading_binds_where_it_takes_longer),
      cmocka_unit_test(test_steps_that_were_tried_scale_computing_and_nothing_else),
      cmocka_unit_test(test_a_small_ring_lets_the_disk_wait),
      cmocka_unit_test(test_a_link_brings_pages_in_bursts),
      cmocka_unit_test(test_inputs_of_products_are_made_for_each_token),
      cmocka_unit_test(test_batches_of_the_cache_are_launched_apart),
      cmocka_unit_test(test_what_rows_share_is_computed_once),
      cmocka_unit_test(test_a_prompt_that_is_shared_whole_still_gives_its_last_token),
      cmocka_unit_test(test_what_rows_share_of_a_page_is_copied),
      cmocka_unit_test(test_what_is_kept_is_read_and_not_computed),
      cmocka_unit_test(test_what_rows_share_is_read_once),
      cmocka_unit_test(test_a_last_token_is_computed_though_it_is_kept),
      cmocka_unit_test(test_how_much_of_what_is_kept_is_read_goes_by_the_policy),
      cmocka_unit_test(test_pages_that_are_read_take_room),
      cmocka_unit_test(test_steps_in_which_drafts_may_pay_are_counted),
      cmocka_unit_test(test_pages_that_are_shared_are_held_once),
      cmocka_unit_test(test_the_longest_first_make_the_tail_short),
      cmocka_unit_test(test_a_row_that_is_only_scored_passes_once),
      cmocka_unit_test(test_what_is_left_of_a_long_job_goes_on_as_it_did),
      cmocka_unit_test(test_pages_beyond_memory_are_written_once_and_read_every_step),
      cmocka_unit_test(test_rows_that_grow_together_write_all_beyond_memory),
      cmocka_unit_test(test_pages_that_rows_left_take_memory_where_rows_may_share),
      cmocka_unit_test(test_windows_bound_what_is_seen),
      cmocka_unit_test(test_a_job_that_waits_for_pages_takes_longer),
  };
  return cmocka_run_group_tests(tests, set_up, NULL);
}
