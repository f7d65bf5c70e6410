// Layer passes before they run: which graphs can, how the scheduler fills them, what they are expected to
// take.
#include <stdlib.h>
#include <string.h>

#include "engine/layer_pass.h"
#include "plan_rig.h"

// ---- which graphs
// ------------------------------------------------------------------------------------------

// x = register 0; t = norm(x); x += t, and what else the test puts there.
static fg_graph small_graph(fg_program *layer) {
  *layer = (fg_program){.node_count = 2};
  layer->nodes[0] =
      (fg_node){.op = FG_OP_NORM, .a = {FG_OPERAND_REGISTER, 0, 0}, .out = {FG_OPERAND_REGISTER, 1, 0}};
  layer->nodes[1] =
      (fg_node){.op = FG_OP_ADD, .a = {FG_OPERAND_REGISTER, 1, 0}, .out = {FG_OPERAND_REGISTER, 0, 0}};
  fg_graph g = {.layers = 2, .programs = layer, .program_count = 1, .register_count = 3};
  g.register_width[0] = 64;
  g.epilogue.slots[0] = (fg_slot){.kind = FG_WEIGHT_MATRIX, .n = 100, .k = 64};
  return g;
}

static void test_layers_that_leave_the_residual_stream_alone_can_pass(void **state) {
  (void)state;
  fg_program layer;
  const fg_graph g = small_graph(&layer);
  const char *why;
  assert_true(fg_layer_pass_possible(&g, &why));
}

static void test_layer_that_reads_what_another_left_cannot(void **state) {
  (void)state;
  fg_program layer;
  const fg_graph g = small_graph(&layer);
  const char *why;
  layer.nodes[2] =
      (fg_node){.op = FG_OP_ADD, .a = {FG_OPERAND_REGISTER, 2, 0}, .out = {FG_OPERAND_REGISTER, 0, 0}};
  layer.node_count = 3;
  assert_false(fg_layer_pass_possible(&g, &why));
  assert_non_null(strstr(why, "residual stream"));
  // One that only adds to what was left there reads it as well.
  layer.nodes[2] =
      (fg_node){.op = FG_OP_ADD, .a = {FG_OPERAND_REGISTER, 1, 0}, .out = {FG_OPERAND_REGISTER, 2, 0}};
  assert_false(fg_layer_pass_possible(&g, &why));
}

static void test_head_wider_than_the_residual_stream_cannot(void **state) {
  (void)state;
  fg_program layer;
  fg_graph g = small_graph(&layer);
  const char *why;
  g.epilogue.slots[0].k = 65;
  assert_false(fg_layer_pass_possible(&g, &why));
  assert_non_null(strstr(why, "head"));
}

// ---- how they are filled
// -----------------------------------------------------------------------------------

static void test_whole_rows_are_admitted_in_order_and_never_in_part(void **state) {
  (void)state;
  for (unsigned seed = 0; seed < 200; seed++) {
    srand(seed);
    const uint32_t most = 20 + (uint32_t)rand() % 200, count = 1 + (uint32_t)rand() % 40;
    const fg_scheduler_limits limits = {
        .max_tokens = most, .max_seqs = 16, .pages = most / 8 + 34, .page_tokens = 8, .max_len = most};
    fg_scheduler *s;
    assert_int_equal(fg_scheduler_create(&s, &limits, NULL), FG_OK);
    const uint32_t draws = 1 + (uint32_t)rand() % 6;
    fg_scheduler_admit_whole(s, draws);
    uint32_t length[64], done = 0;
    bool drawn[64];
    fg_seq seq[64];
    for (uint32_t i = 0; i < count; i++) {
      length[i] = 1 + (uint32_t)rand() % most;
      assert_int_equal(fg_scheduler_add(s, length[i], &seq[i], NULL), FG_OK);
      drawn[i] = rand() % 2;
      if (drawn[i]) fg_scheduler_mark_drawn(s, seq[i]);
    }
    for (fg_step step; fg_scheduler_plan(s, &step), step.chunk_count;) {
      assert_true(step.tokens <= most);
      assert_int_equal(step.preempted, 0);
      uint32_t kept = 0;
      for (uint32_t c = 0; c < step.chunk_count; c++, done++) {
        assert_int_equal(step.chunks[c].seq, seq[done]);
        assert_int_equal(step.chunks[c].begin, 0);
        assert_int_equal(step.chunks[c].count, length[done]);
        kept += drawn[done];
      }
      assert_true(kept <= draws);
      const uint32_t first = done - step.chunk_count;
      fg_scheduler_done(s, &step);
      fg_scheduler_settle(s, &step);
      for (uint32_t c = first; c < done; c++) fg_scheduler_remove(s, seq[c]);
    }
    assert_int_equal(done, count);
    fg_scheduler_destroy(s);
  }
}

// ---- what they take
// ----------------------------------------------------------------------------------------

static fg_prediction predict(const fg_policy *policy, const fg_plan_job *job) {
  const fg_profile profile = rig_profile();
  const fg_plan_model model = rig_model();
  const fg_step_rates rates = fg_step_rates_of(&profile, &model);
  const fg_predict_options options = {
      .rates = &rates,
      .policy = policy,
      .traffic = {.body_bytes = 200e6, .tail_bytes = 20e6, .hidden_row_bytes = 4096},
      .page_tokens = RIG_PAGE};
  fg_prediction p;
  assert_int_equal(fg_predict(&p, &options, job, NULL), FG_OK);
  return p;
}

static void test_prediction_reads_weights_once_a_pass_and_moves_what_is_on_disk(void **state) {
  (void)state;
  const fg_row_length row = {.prompt = 100, .generated = 1};
  const fg_plan_job job = {.rows = &row, .count = 1, .requests = 95};
  fg_policy policy = {.order = FG_ORDER_INPUT,
                      .max_tokens = 1050, // ten rows and a half
                      .max_seqs = 32,
                      .max_len = 128,
                      .pass_len = 128,
                      .micro_tokens = 128,
                      .hidden_rows = 1050,
                      .device_pages = 8,
                      .pages = 150};
  fg_prediction p = predict(&policy, &job);
  assert_true(p.steps == 10);
  assert_true(fabs(p.read_bytes - 10 * 220e6) < 1);
  assert_true(p.written_bytes == 0);
  policy.hidden_rows = 600;
  policy.hidden_disk_rows = 600;
  p = predict(&policy, &job);
  // 400 rows of nine passes; the last one, of 500, has room.
  const double moved = 9 * 400 * 4096.0 * (RIG_LAYERS + 1);
  assert_true(fabs(p.read_bytes - 10 * 220e6 - moved) < 1);
  assert_true(fabs(p.written_bytes - moved) < 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_layers_that_leave_the_residual_stream_alone_can_pass),
      cmocka_unit_test(test_layer_that_reads_what_another_left_cannot),
      cmocka_unit_test(test_head_wider_than_the_residual_stream_cannot),
      cmocka_unit_test(test_whole_rows_are_admitted_in_order_and_never_in_part),
      cmocka_unit_test(test_prediction_reads_weights_once_a_pass_and_moves_what_is_on_disk),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
