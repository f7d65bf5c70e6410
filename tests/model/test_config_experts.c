// Models with experts: what their configurations say, what the graphs made of them name, what is refused.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "gguf_header.h"

#define SIZES                                                                                                \
  "\"hidden_size\":64,\"num_hidden_layers\":4,\"num_attention_heads\":8,\"num_key_value_heads\":2,"          \
  "\"intermediate_size\":96,\"vocab_size\":100"
#define MIXTRAL "\"model_type\":\"mixtral\"," SIZES
#define QWEN2                                                                                                \
  "\"model_type\":\"qwen2_moe\"," SIZES ",\"moe_intermediate_size\":24,\"num_experts\":6,"                   \
  "\"shared_expert_intermediate_size\":40,\"num_experts_per_tok\":2"
#define QWEN3   "\"model_type\":\"qwen3_moe\"," SIZES ",\"moe_intermediate_size\":24,\"num_experts_per_tok\":2"
#define OLMOE   "\"model_type\":\"olmoe\"," SIZES
#define GPT_OSS "\"model_type\":\"gpt_oss\"," SIZES

static fg_status load_with(fg_config *config, const char *json, const char *facts, fg_error *err) {
  fg_assets assets = {0};
  assert_int_equal(fg_assets_add(&assets, "config.json", json, strlen(json), err), FG_OK);
  if (facts) assert_int_equal(fg_assets_add(&assets, FG_ASSET_FACTS, facts, strlen(facts), err), FG_OK);
  fg_status status = fg_config_load(config, &assets, err);
  fg_assets_free(&assets);
  return status;
}

static fg_config load(const char *json) {
  fg_config config;
  fg_error err = {FG_OK, ""};
  if (load_with(&config, json, NULL, &err)) fail_msg("%s", err.message);
  return config;
}

static fg_graph *build(const char *json, const char *facts) {
  fg_config config;
  fg_graph *graph = NULL;
  fg_error err = {FG_OK, ""};
  if (load_with(&config, json, facts, &err) || fg_graph_build(&graph, &config, &err))
    fail_msg("%s", err.message);
  return graph;
}

static bool is_sparse(const fg_config *c, uint32_t layer) {
  return c->kinds[c->kind_of_layer[layer]].experts;
}

static void test_mixtral_takes_the_defaults_of_the_reference(void **state) {
  (void)state;
  fg_config c = load("{" MIXTRAL "}");
  assert_int_equal(c.route.experts, 8);
  assert_int_equal(c.route.used, 2);
  assert_true(c.route.normalise && c.route.kind == FG_ROUTE_SOFTMAX);
  assert_true(c.rope[0].theta == 1e6 && c.norm_eps == 1e-5);
  assert_int_equal(c.kinds[c.kind_of_layer[3]].window, 0);
  c = load("{" MIXTRAL ",\"sliding_window\":24,\"num_local_experts\":5,\"num_experts_per_tok\":3}");
  assert_int_equal(c.kinds[c.kind_of_layer[3]].window, 24);
  assert_int_equal(c.route.experts, 5);
  assert_int_equal(c.route.used, 3);
}

static void test_qwen_says_which_layers_are_dense(void **state) {
  (void)state;
  fg_config c = load("{" QWEN2 ",\"mlp_only_layers\":[2],\"decoder_sparse_step\":2}");
  for (uint32_t i = 0; i < 4; i++) assert_int_equal(is_sparse(&c, i), i == 1 || i == 3);
  c = load("{" QWEN2 ",\"mlp_only_layers\":[1,3,77]}");
  for (uint32_t i = 0; i < 4; i++) assert_int_equal(is_sparse(&c, i), i == 0 || i == 2);
  c = load("{" QWEN3 ",\"num_experts\":6,\"mlp_only_layers\":null}");
  for (uint32_t i = 0; i < 4; i++) assert_true(is_sparse(&c, i));
}

static void test_qwen2_moe_reads_its_keys(void **state) {
  (void)state;
  fg_config c = load("{" QWEN2 "}");
  assert_true(c.qkv_bias && !c.out_bias && c.shared_switch && !c.route.normalise);
  assert_int_equal(c.shared_ffn, 40);
  assert_int_equal(fg_config_expert_ffn(&c), 24);
  assert_int_equal(c.ffn, 96);
  // Windows of every other layer below the limit, and only if they are switched on.
  c = load("{" QWEN2 ",\"sliding_window\":24,\"max_window_layers\":3}");
  for (uint32_t i = 0; i < 4; i++) assert_int_equal(c.kinds[c.kind_of_layer[i]].window, 0);
  c = load("{" QWEN2 ",\"sliding_window\":24,\"max_window_layers\":3,\"use_sliding_window\":true}");
  for (uint32_t i = 0; i < 4; i++)
    assert_int_equal(c.kinds[c.kind_of_layer[i]].window, i == 0 || i == 2 ? 24 : 0);
}

static void test_qwen3_moe_has_two_names_for_the_number_of_experts(void **state) {
  (void)state;
  assert_int_equal(load("{" QWEN3 ",\"num_experts\":6}").route.experts, 6);
  assert_int_equal(load("{" QWEN3 ",\"num_local_experts\":7}").route.experts, 7);
  fg_config c = load("{" QWEN3 ",\"num_experts\":6,\"sliding_window\":24,\"use_sliding_window\":true}");
  for (uint32_t i = 0; i < 4; i++) assert_int_equal(c.kinds[c.kind_of_layer[i]].window, 24);
}

static void test_gpt_oss_alternates_and_clamps(void **state) {
  (void)state;
  fg_config c = load("{" GPT_OSS ",\"num_local_experts\":5,\"experts_per_token\":3,\"sliding_window\":16}");
  assert_int_equal(c.route.used, 3);
  assert_true(c.route.kind == FG_ROUTE_CHOSEN && c.head_kind == FG_HEAD_SINK);
  assert_true(c.glu_limit == 7 && c.glu_alpha == 1.702);
  assert_true(c.rope[0].scaling == FG_ROPE_YARN && c.rope[0].factor == 32 && !c.rope[0].whole_bounds);
  assert_true(fabs(c.rope[0].magnitude - 1.3465735902799727) < 1e-12); // where the file is silent
  for (uint32_t i = 0; i < 4; i++) assert_int_equal(c.kinds[c.kind_of_layer[i]].window, i % 2 == 0 ? 16 : 0);
}

static const struct {
  const char *json;
  fg_status status;
  const char *named;
} refusals[] = {
    {"{" MIXTRAL ",\"num_experts_per_tok\":9}", FG_INVALID, "8 experts"},
    {"{" MIXTRAL ",\"num_local_experts\":5000}", FG_INVALID, "5000"},
    {"{" MIXTRAL ",\"num_experts_per_tok\":0}", FG_INVALID, "tokens take 0"},
    {"{" QWEN2 ",\"decoder_sparse_step\":0}", FG_INVALID, "decoder_sparse_step"},
    {"{" QWEN2 ",\"mlp_only_layers\":3}", FG_INVALID, "mlp_only_layers"},
    {"{" QWEN2 ",\"mlp_only_layers\":[\"a\"]}", FG_INVALID, "mlp_only_layers"},
    {"{\"model_type\":\"qwen3_moe\"," SIZES
     ",\"num_experts_per_tok\":2,\"moe_intermediate_size\":4000000000}",
     FG_INVALID, "4000000000"},
    {"{" QWEN2 ",\"layer_types\":[\"full_attention\"]}", FG_INVALID, "layer_types"},
    {"{\"model_type\":\"qwen3_moe\"," SIZES "}", FG_INVALID, "moe_intermediate_size"},
    {"{\"model_type\":\"llama\"," SIZES ",\"num_local_experts\":4}", FG_UNSUPPORTED, "num_local_experts"},
};

static void test_what_makes_no_sense_is_refused_by_name(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
    fg_config config;
    fg_error err = {FG_OK, ""};
    fg_status status = load_with(&config, refusals[i].json, NULL, &err);
    if (status != refusals[i].status || !strstr(err.message, refusals[i].named))
      fail_msg("%s: status %d, %s", refusals[i].json, (int)status, err.message);
  }
}

// ---- graphs --------------------------------------------------------------------------------------------

static const fg_slot *slot_of(const fg_program *program, const char *name) {
  for (uint32_t i = 0; i < program->slot_count; i++)
    if (strcmp(program->slots[i].name, name) == 0) return &program->slots[i];
  fail_msg("no slot %s", name);
  return NULL;
}

static void test_experts_are_named_by_layer_and_number(void **state) {
  (void)state;
  fg_graph *g = build("{" MIXTRAL "}", NULL);
  const fg_program *p = fg_graph_expert_program(g, 3);
  const fg_slot *slot = slot_of(p, "gate_up");
  fg_slot own;
  fg_error err;
  char name[64];
  fg_graph_expert_weight_name(3, 7, slot, name);
  assert_string_equal(name, "layers.3.e7.gate_up");
  assert_int_equal(fg_graph_expert_slot(slot, 7, &own, &err), FG_OK);
  assert_string_equal(own.sources[0].tensor, "layers.%u.block_sparse_moe.experts.7.w1.weight");
  assert_string_equal(own.sources[1].tensor, "layers.%u.block_sparse_moe.experts.7.w3.weight");
  assert_int_equal(own.sources[0].base, 0);
  assert_null(fg_graph_expert_program(g, -1));
  assert_null(fg_graph_expert_program(g, 4));
  fg_graph_destroy(g);
}

static void test_fused_experts_are_parts_of_one_tensor(void **state) {
  (void)state;
  fg_graph *g = build("{" OLMOE "}", "{\"experts_fused\":true}");
  fg_slot own;
  fg_error err;
  assert_int_equal(fg_graph_expert_slot(slot_of(fg_graph_expert_program(g, 0), "gate_up"), 5, &own, &err),
                   FG_OK);
  assert_string_equal(own.sources[0].tensor, "layers.%u.mlp.experts.gate_up_proj");
  assert_int_equal(own.sources[0].experts, 64);
  assert_int_equal(own.sources[0].base, 5 * 2 * 96);
  fg_graph_destroy(g);
}

static void test_gpt_oss_experts_are_columns_that_alternate(void **state) {
  (void)state;
  fg_graph *g = build("{" GPT_OSS ",\"num_local_experts\":5}", NULL);
  const fg_program *p = fg_graph_expert_program(g, 0);
  fg_slot own;
  fg_error err;
  assert_int_equal(fg_graph_expert_slot(slot_of(p, "gate_up"), 3, &own, &err), FG_OK);
  assert_int_equal(own.sources[0].base, 3 * 64); // lines of the tensor are inputs
  assert_int_equal(fg_source_row(&own.sources[0], 10), 20);
  assert_int_equal(fg_source_row(&own.sources[1], 10), 21);
  assert_int_equal(fg_graph_expert_slot(slot_of(p, "down_bias"), 3, &own, &err), FG_OK);
  assert_string_equal(own.sources[0].tensor, "layers.%u.mlp.experts.down_proj_bias");
  assert_int_equal(own.sources[0].base, 3);
  fg_graph_destroy(g);
}

static void test_dense_layers_have_no_experts(void **state) {
  (void)state;
  fg_graph *g = build("{" QWEN2 ",\"mlp_only_layers\":[2]}", NULL);
  assert_null(fg_graph_expert_program(g, 2));
  assert_non_null(fg_graph_expert_program(g, 1));
  slot_of(fg_graph_program(g, 2), "gate_up");
  slot_of(fg_graph_program(g, 1), "shared_switch");
  fg_graph_destroy(g);
}

static void break_count(fg_graph *g) {
  g->programs[0].experts.count++;
}
static void break_place(fg_graph *g) {
  g->programs[0].experts.after--;
}
static void break_far_place(fg_graph *g) {
  g->programs[0].experts.after = 1000;
}
static void break_work(fg_graph *g) {
  g->programs[0].experts.work = g->programs[0].experts.in;
}
static void break_width(fg_graph *g) {
  g->register_width[g->programs[0].experts.work] = 63;
}
static void break_routes(fg_graph *g) {
  g->register_width[g->programs[0].nodes[g->programs[0].experts.after].out.index]++;
}
static void break_form(fg_graph *g) {
  g->programs[0].nodes[g->programs[0].experts.after].params.route.used = 0;
}
static void break_op(fg_graph *g) {
  g->expert_programs[0].nodes[0].op = FG_OP_ROPE;
}
static void break_input(fg_graph *g) {
  g->expert_programs[0].nodes[2].out.index = g->programs[0].experts.in;
}
static void break_slot(fg_graph *g) {
  g->expert_programs[0].slots[0].n++;
}

static void test_check_finds_experts_that_do_not_fit(void **state) {
  (void)state;
  static void (*const breaks[])(fg_graph *) = {break_count, break_place,  break_far_place, break_work,
                                               break_width, break_routes, break_form,      break_op,
                                               break_input, break_slot};
  for (size_t i = 0; i < sizeof breaks / sizeof *breaks; i++) {
    fg_graph *g = build("{" MIXTRAL "}", NULL);
    fg_error err = {FG_OK, ""};
    breaks[i](g);
    if (fg_graph_check(g, &err) != FG_INTERNAL) fail_msg("break %zu was not found", i);
    fg_graph_destroy(g);
  }
}

// ---- GGUF ----------------------------------------------------------------------------------------------

static header gpt_oss_header(void) {
  header h = begin_gguf("gpt-oss");
  const uint32_t ffn = 32, experts = 5, used = 2, window = 16, original = 48, kv_heads = 2;
  const float epsilon = 1e-5f, factor = 8;
  put_of(&h, "gpt-oss", "expert_feed_forward_length", GGUF_U32, &ffn);
  put_of(&h, "gpt-oss", "attention.head_count_kv", GGUF_U32, &kv_heads);
  put_of(&h, "gpt-oss", "expert_count", GGUF_U32, &experts);
  put_of(&h, "gpt-oss", "expert_used_count", GGUF_U32, &used);
  put_of(&h, "gpt-oss", "attention.sliding_window", GGUF_U32, &window);
  put_of(&h, "gpt-oss", "attention.layer_norm_rms_epsilon", GGUF_F32, &epsilon);
  put_of(&h, "gpt-oss", "rope.scaling.factor", GGUF_F32, &factor);
  put_of(&h, "gpt-oss", "rope.scaling.original_context_length", GGUF_U32, &original);
  put_string_of(&h, "gpt-oss", "rope.scaling.type", "yarn");
  return h;
}

static void test_gguf_of_gpt_oss_has_windows_in_even_layers(void **state) {
  (void)state;
  header h = gpt_oss_header();
  fg_config c;
  fg_error err = {FG_OK, ""};
  if (load_gguf(&h, &c, &err)) fail_msg("%s", err.message);
  assert_int_equal(c.ffn, 32);
  assert_int_equal(c.kinds[c.kind_of_layer[0]].window, 16);
  assert_int_equal(c.kinds[c.kind_of_layer[1]].window, 0);
  assert_true(is_sparse(&c, 0) && is_sparse(&c, 1));
  assert_true(c.head_kind == FG_HEAD_SINK && c.route.kind == FG_ROUTE_CHOSEN && c.route_bias);
  assert_true(c.glu_limit == 7 && c.glu_alpha == 1.702);
  assert_true(c.rope[0].scaling == FG_ROPE_YARN && !c.rope[0].whole_bounds);
}

static void test_gguf_of_gpt_oss_may_say_which_layers_see_all(void **state) {
  (void)state;
  fg_config c;
  fg_error err = {FG_OK, ""};
  for (uint32_t pattern = 0; pattern < 2; pattern++) {
    header h = gpt_oss_header();
    put_of(&h, "gpt-oss", "attention.sliding_window_pattern", GGUF_U32, &pattern);
    assert_int_equal(load_gguf(&h, &c, &err), pattern ? FG_OK : FG_INVALID);
  }
  assert_non_null(strstr(err.message, "sliding_window_pattern"));
  for (uint32_t i = 0; i < 2; i++) assert_int_equal(c.kinds[c.kind_of_layer[i]].window, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_mixtral_takes_the_defaults_of_the_reference),
      cmocka_unit_test(test_qwen_says_which_layers_are_dense),
      cmocka_unit_test(test_qwen2_moe_reads_its_keys),
      cmocka_unit_test(test_qwen3_moe_has_two_names_for_the_number_of_experts),
      cmocka_unit_test(test_gpt_oss_alternates_and_clamps),
      cmocka_unit_test(test_what_makes_no_sense_is_refused_by_name),
      cmocka_unit_test(test_experts_are_named_by_layer_and_number),
      cmocka_unit_test(test_fused_experts_are_parts_of_one_tensor),
      cmocka_unit_test(test_gpt_oss_experts_are_columns_that_alternate),
      cmocka_unit_test(test_dense_layers_have_no_experts),
      cmocka_unit_test(test_check_finds_experts_that_do_not_fit),
      cmocka_unit_test(test_gguf_of_gpt_oss_has_windows_in_even_layers),
      cmocka_unit_test(test_gguf_of_gpt_oss_may_say_which_layers_see_all),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
