// The cost model against what others have measured: FlexGen's published throughput, 512 tokens in and 32 out,
// on one T4, by the policies that its repository gives for each row. docs/planner.md holds the table that
// this prints.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "plan/flexgen_schedule.h"
#include "plan/flexgen_stream.h"
#include "plan/placement.h"

enum { PROMPT = 512, GENERATED = 32, VOCAB = 50272, MOST_SEQUENCES = 2048 };

typedef struct row {
  const char *name;
  uint32_t layers, hidden, heads;
  fg_flexgen_policy policy;
  double published; // tokens/s: README of FlexGen
  double wanted;    // of this engine, in multiples of it
} row;

#define OPT_6_7B 32, 4096, 32
#define OPT_30B  48, 7168, 56
#define OPT_175B 96, 12288, 96
static const row rows[] = {
    {"OPT-6.7B",
     OPT_6_7B,
     {.batch = 2, .batches = 1, .percent = {100, 0, 100, 0, 100, 0}, .pin_weight = true},
     25.26,
     2},
    {"OPT-30B",
     OPT_30B,
     {.batch = 48,
      .batches = 3,
      .percent = {20, 80, 0, 100, 0, 100},
      .cpu_cache_compute = true,
      .pin_weight = true,
      .overlap = true},
     7.32,
     2},
    {"OPT-175B",
     OPT_175B,
     {.batch = 32,
      .batches = 8,
      .percent = {0, 50, 0, 0, 0, 100},
      .cpu_cache_compute = true,
      .overlap = true},
     0.69,
     0},
    {"OPT-6.7B compressed",
     OPT_6_7B,
     {.batch = 72,
      .batches = 1,
      .percent = {100, 0, 100, 0, 100, 0},
      .compress_weight = true,
      .compress_cache = true,
      .pin_weight = true},
     29.12,
     2},
    {"OPT-30B compressed",
     OPT_30B,
     {.batch = 64,
      .batches = 8,
      .percent = {0, 100, 0, 100, 0, 100},
      .compress_cache = true,
      .pin_weight = true,
      .overlap = true},
     8.38,
     1.7},
    {"OPT-175B compressed",
     OPT_175B,
     {.batch = 48,
      .batches = 3,
      .percent = {0, 100, 0, 100, 0, 100},
      .compress_weight = true,
      .compress_cache = true,
      .overlap = true},
     1.12,
     2},
};
enum { ROWS = sizeof rows / sizeof *rows };

static fg_plan_shape shape_of(const row *r) {
  return fg_plan_shape_plain(r->layers, r->hidden, r->heads, 4 * r->hidden, VOCAB);
}

static double by_flexgen(const row *r) {
  const fg_plan_shape shape = shape_of(r);
  return fg_flexgen_schedule(fg_hardware_known("t4"), &shape, &r->policy, PROMPT, GENERATED).rate;
}

static fg_step_wish wish_of(const row *r) {
  return (fg_step_wish){.prompt = PROMPT,
                        .generated = GENERATED,
                        .weight_bytes = r->policy.compress_weight ? 0.5625 : 2,
                        .cache_bytes = r->policy.compress_cache ? 0.5625 : 2};
}

static void by_this_engine(const row *r, fg_step_wish *wish, fg_placement *placement) {
  const fg_plan_shape shape = shape_of(r);
  fg_error err;
  fg_solver solver;
  *wish = wish_of(r);
  if (fg_solver_open(&solver, &err) != FG_OK ||
      fg_placement_search(&solver, fg_hardware_known("t4"), &shape, MOST_SEQUENCES, wish, placement, &err) !=
          FG_OK)
    fail_msg("%s: %s", r->name, err.message);
  fg_solver_close(&solver);
}

static void test_flexgen_under_its_own_policies_is_within_a_quarter(void **state) {
  (void)state;
  for (int i = 0; i < ROWS; i++) {
    const double rate = by_flexgen(&rows[i]);
    if (fabs(rate / rows[i].published - 1) > 0.25)
      fail_msg("%s: %.2f tokens/s, published %.2f", rows[i].name, rate, rows[i].published);
  }
}

// The same policies, command by command on a virtual clock.
static void test_flexgens_commands_on_a_timeline_are_too(void **state) {
  (void)state;
  for (int i = 0; i < ROWS; i++) {
    fg_simulation machine = {.machine = *fg_hardware_known("t4")};
    const fg_plan_shape shape = shape_of(&rows[i]);
    const fg_flexgen_run run = {
        .shape = &shape, .policy = &rows[i].policy, .prompt = PROMPT, .generated = GENERATED, .blocks = 1};
    const double rate = fg_flexgen_stream(&machine, &run).rate;
    if (fabs(rate / rows[i].published - 1) > 0.25)
      fail_msg("%s: %.2f tokens/s, published %.2f", rows[i].name, rate, rows[i].published);
    // The formula takes what goes on side by side in a step for the longest of it; so do the commands.
    if (fabs(rate / by_flexgen(&rows[i]) - 1) > 0.05)
      fail_msg("%s: %.2f tokens/s, by the formula %.2f", rows[i].name, rate, by_flexgen(&rows[i]));
  }
}

static void test_blocks_follow_each_other(void **state) {
  (void)state;
  fg_simulation one = {.machine = *fg_hardware_known("t4")}, two = one;
  const fg_plan_shape shape = shape_of(&rows[0]);
  fg_flexgen_run run = {
      .shape = &shape, .policy = &rows[0].policy, .prompt = PROMPT, .generated = GENERATED, .blocks = 1};
  const double alone = fg_flexgen_stream(&one, &run).rate;
  run.blocks = 2;
  assert_true(fabs(fg_flexgen_stream(&two, &run).rate / alone - 1) < 1e-6);
  assert_true(llabs((long long)(two.time.now - 2 * one.time.now)) < 10000);
}

static void test_the_planner_beats_flexgen(void **state) {
  (void)state;
  for (int i = 0; i < ROWS; i++) {
    fg_step_wish wish;
    fg_placement p;
    by_this_engine(&rows[i], &wish, &p);
    const double rate = wish.sequences / p.seconds;
    if (rate < rows[i].wanted * rows[i].published)
      fail_msg("%s: %.2f tokens/s, published %.2f", rows[i].name, rate, rows[i].published);
  }
}

static void print_row(const row *r, FILE *out) {
  fg_step_wish wish;
  fg_placement p;
  by_this_engine(r, &wish, &p);
  const double flexgen = by_flexgen(r), rate = wish.sequences / p.seconds, *s = p.shares;
  fprintf(out,
          "| %s | %.2f | %.2f (%+.0f %%) | %.2f (%.1f x) | %.0f | %.0f / %.0f / %.0f | %.0f / %.0f / %.0f | "
          "%s |\n",
          r->name, r->published, flexgen, 100 * (flexgen / r->published - 1), rate, rate / r->published,
          wish.sequences, 100 * s[FG_WEIGHTS_DEVICE], 100 * s[FG_WEIGHTS_HOST], 100 * s[FG_WEIGHTS_DISK],
          100 * s[FG_CACHE_DEVICE], 100 * (s[FG_CACHE_HOST] + s[FG_CACHE_HOST_CPU]), 100 * s[FG_CACHE_DISK],
          fg_lane_name(p.bound));
}

static void test_the_table_in_the_documentation_is_this_one(void **state) {
  (void)state;
  char *table, page[1 << 16];
  size_t bytes;
  FILE *out = open_memstream(&table, &bytes), *file = fopen(FG_TEST_DIR "/../docs/planner.md", "r");
  for (int i = 0; i < ROWS; i++) print_row(&rows[i], out);
  fclose(out);
  assert_non_null(file);
  page[fread(page, 1, sizeof page - 1, file)] = 0;
  fclose(file);
  if (!strstr(page, table)) fail_msg("docs/planner.md should hold\n%s", table);
  free(table);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_flexgen_under_its_own_policies_is_within_a_quarter),
      cmocka_unit_test(test_flexgens_commands_on_a_timeline_are_too),
      cmocka_unit_test(test_blocks_follow_each_other),
      cmocka_unit_test(test_the_planner_beats_flexgen),
      cmocka_unit_test(test_the_table_in_the_documentation_is_this_one),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
