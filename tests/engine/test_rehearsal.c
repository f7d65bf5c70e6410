// Steps of a model that is cut short: what comes of them, and what they leave behind.
#include "../scratch_folder.h"
#include "plan_rig.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/rehearsal.h"
#include "model/model.h"

enum { MIB = 1 << 20, ROWS = 96 };

typedef struct stage {
  scratch_folder folder;
  fg_budget *host;
  fg_threads *threads;
  fg_io *io;
  fg_model *model;
  fg_profile profile;
  fg_plan_input input;
} stage;

static uint64_t scratch(const void *user, uint32_t tokens) {
  const stage *s = user;
  const fg_device_options options = {.compute = FG_COMPUTE_BF16,
                                     .max_rows = tokens,
                                     .max_width = 4096,
                                     .host = s->host,
                                     .memory = s->host,
                                     .threads = s->threads};
  return fg_device_scratch_bytes("cpu", &options);
}

static int set_up(void **state) {
  stage *s = calloc(1, sizeof *s);
  fg_error err;
  assert_non_null(s);
  scratch_make(&s->folder);
  assert_int_equal(fg_budget_create(&s->host, "host memory", NULL, 0, &err), FG_OK);
  assert_int_equal(fg_threads_create(&s->threads, 2, &err), FG_OK);
  assert_int_equal(fg_io_create(&s->io, &(fg_io_options){.budget = s->host}, &err), FG_OK);
  const fg_model_options options = {.model = FG_TEST_DIR "/oracle/models/llama-gqa",
                                    .offload_dir = s->folder.path,
                                    .family = fg_device_family("cpu"),
                                    .io = s->io,
                                    .host = s->host,
                                    .threads = s->threads};
  if (fg_model_open(&s->model, &options, &err) != FG_OK) fail_msg("%s", err.message);
  s->model->graph->kv.dtype = FG_BF16;
  s->model->graph->kv.page_tokens = RIG_PAGE;
  s->profile = rig_profile();
  s->input = (fg_plan_input){
      .scratch = scratch,
      .user = s,
  };
  *state = s;
  return 0;
}

static int tear_down(void **state) {
  stage *s = *state;
  fg_model_close(s->model);
  fg_io_destroy(s->io);
  fg_threads_destroy(s->threads);
  fg_budget_destroy(s->host);
  assert_int_equal(scratch_remove(&s->folder), 0);
  free(s);
  return 0;
}

static fg_rehearsal_options options_of(stage *s) {
  return (fg_rehearsal_options){.graph = s->model->graph,
                                .store = s->model->store,
                                .device = "cpu",
                                .settings = {.compute = FG_COMPUTE_BF16,
                                             .max_width = 4096,
                                             .host = s->host,
                                             .memory = s->host,
                                             .threads = s->threads},
                                .input = &s->input,
                                .profile = &s->profile,
                                .memory = 64 * MIB,
                                .tokens = ROWS,
                                .context = 48,
                                .seconds = 8};
}

static void test_steps_of_several_sizes_are_tried_and_nothing_is_left(void **state) {
  stage *s = *state;
  const fg_rehearsal_options options = options_of(s);
  const uint64_t before = fg_budget_used(s->host);
  fg_step_scale scale;
  fg_error err;
  if (fg_rehearse(&scale, &options, &err) != FG_OK) fail_msg("%s", err.message);
  assert_true(scale.count >= 3);
  assert_true(scale.tokens[0] == 1);
  assert_true(scale.tokens[scale.count - 1] <= ROWS);
  for (uint32_t i = 0; i < scale.count; i++) {
    assert_true(i == 0 || scale.tokens[i] > scale.tokens[i - 1]);
    assert_true(scale.times[i] >= 0.25 && scale.times[i] <= 4);
  }
  assert_int_equal(fg_budget_used(s->host), before);
}

// By a machine that is said to be so many times slower, the scale is so many times smaller.
static void test_the_scale_is_beside_the_profile(void **state) {
  stage *s = *state;
  fg_rehearsal_options options = options_of(s);
  fg_step_scale scale;
  fg_error err;
  fg_profile *p = &s->profile;
  for (int r = 0; r < FG_PROFILE_ROW_POINTS; r++) p->products[0].seconds[r] = 1;
  assert_int_equal(fg_rehearse(&scale, &options, &err), FG_OK);
  for (uint32_t i = 0; i < scale.count; i++) assert_true(scale.times[i] == 0.25); // the least there is
  for (int r = 0; r < FG_PROFILE_ROW_POINTS; r++) p->products[0].seconds[r] = 1e-30;
  p->attentions[0].decode = p->attentions[0].prefill = 1e-30;
  assert_int_equal(fg_rehearse(&scale, &options, &err), FG_OK);
  for (uint32_t i = 0; i < scale.count; i++) assert_true(scale.times[i] == 4);
}

static void test_too_little_memory_is_no_error(void **state) {
  stage *s = *state;
  fg_rehearsal_options options = options_of(s);
  const uint64_t before = fg_budget_used(s->host);
  fg_error err;
  for (uint64_t memory = 4096; memory < 16 * MIB; memory *= 4) {
    fg_step_scale scale = {.count = 7};
    options.memory = memory;
    assert_int_equal(fg_rehearse(&scale, &options, &err), FG_OK);
    assert_true(scale.count <= FG_STEP_SCALE_POINTS && scale.count != 7);
    assert_int_equal(fg_budget_used(s->host), before);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_steps_of_several_sizes_are_tried_and_nothing_is_left, set_up,
                                      tear_down),
      cmocka_unit_test_setup_teardown(test_the_scale_is_beside_the_profile, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_too_little_memory_is_no_error, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
