// Tensors that are stacked in one matrix, and what becomes of them when their types differ.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "memory_checkpoint.h"
#include "model/stacks.h"

#define SIZES                                                                                                \
  "\"hidden_size\":64,\"num_hidden_layers\":2,\"num_attention_heads\":8,\"num_key_value_heads\":2,"          \
  "\"intermediate_size\":96,\"vocab_size\":100"
#define LLAMA "{\"model_type\":\"llama\"," SIZES "}"
#define MOE                                                                                                  \
  "{\"model_type\":\"qwen2_moe\"," SIZES ",\"moe_intermediate_size\":24,\"num_experts\":6,"                  \
  "\"shared_expert_intermediate_size\":40,\"num_experts_per_tok\":2}"

// The configuration as the facts of the checkpoint leave it.
static fg_config gather(const char *json, memory_checkpoint *checkpoint) {
  fg_assets assets = {0};
  fg_config config;
  fg_error err = {FG_OK, ""};
  if (fg_assets_add(&assets, "config.json", json, strlen(json), &err) ||
      fg_facts_gather(&assets, &checkpoint->base, NULL, &err) || fg_config_load(&config, &assets, &err))
    fail_msg("%s", err.message);
  fg_assets_free(&assets);
  return config;
}

static fg_graph *build(const fg_config *config) {
  fg_graph *graph = NULL;
  fg_error err = {FG_OK, ""};
  if (fg_graph_build(&graph, config, &err)) fail_msg("%s", err.message);
  return graph;
}

// The product by the matrix of this name.
static const fg_node *product(const fg_program *p, const char *slot) {
  for (uint32_t i = 0; i < p->node_count; i++) {
    const fg_node *n = &p->nodes[i];
    if (n->op == FG_OP_MATMUL && strcmp(p->slots[n->b.index].name, slot) == 0) return n;
  }
  return NULL;
}

static fg_config attention_types(fg_dtype k, fg_dtype v_of_the_last) {
  memory_checkpoint c = {0};
  memory_add(&c, "model.layers.0.self_attn.k_proj.weight", k, 16, 64, NULL);
  memory_add(&c, "model.layers.0.self_attn.q_proj.weight", FG_F16, 64, 64, NULL);
  memory_add(&c, "model.layers.0.self_attn.v_proj.weight", FG_F16, 16, 64, NULL);
  memory_add(&c, "model.layers.1.self_attn.k_proj.weight", FG_F16, 16, 64, NULL);
  memory_add(&c, "model.layers.1.self_attn.q_proj.weight", FG_F16, 64, 64, NULL);
  memory_add(&c, "model.layers.1.self_attn.v_proj.weight", v_of_the_last, 16, 64, NULL);
  return gather(LLAMA, &c);
}

static void test_one_type_is_stacked(void **state) {
  (void)state;
  fg_config c = attention_types(FG_F16, FG_F16);
  fg_graph *g = build(&c);
  assert_non_null(product(&g->programs[0], "qkv"));
  assert_null(product(&g->programs[0], "q"));
  fg_graph_destroy(g);
}

static void test_one_layer_with_another_type_keeps_all_apart(void **state) {
  (void)state;
  const fg_config differing[] = {attention_types(FG_BF16, FG_F16), attention_types(FG_F16, FG_BF16)};
  for (size_t i = 0; i < sizeof differing / sizeof *differing; i++) {
    fg_graph *g = build(&differing[i]);
    const fg_program *p = &g->programs[0];
    const fg_node *q = product(p, "q"), *k = product(p, "k"), *v = product(p, "v");
    assert_null(product(p, "qkv"));
    assert_non_null(product(p, "gate_up"));
    assert_true(q && k == q + 1 && v == q + 2);
    assert_int_equal(q->params.matmul.n, 64);
    assert_int_equal(v->params.matmul.n, 16);
    assert_true(q->out.column == 0 && k->out.column == 64 && v->out.column == 80);
    assert_true(!q->params.matmul.same_a && k->params.matmul.same_a && v->params.matmul.same_a);
    fg_graph_destroy(g);
  }
}

static void test_experts_of_two_types_are_kept_apart(void **state) {
  (void)state;
  memory_checkpoint c = {0};
  memory_add(&c, "model.layers.1.mlp.shared_expert.gate_proj.weight", FG_F32, 40, 64, NULL);
  memory_add(&c, "model.layers.1.mlp.shared_expert.up_proj.weight", FG_F16, 40, 64, NULL);
  fg_config config = gather(MOE, &c);
  fg_graph *g = build(&config);
  const fg_program *layer = &g->programs[0], *expert = &g->expert_programs[0];
  assert_true(product(layer, "shared_gate") && product(layer, "shared_up"));
  assert_non_null(product(expert, "gate_up"));
  fg_graph_destroy(g);
}

static void test_a_stack_that_nobody_knows_is_refused(void **state) {
  (void)state;
  static const char *const facts[] = {"{\"apart\":[\"down\"]}", "{\"apart\":[1]}"};
  for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
    fg_assets assets = {0};
    fg_config config;
    fg_error err = {FG_OK, ""};
    assert_int_equal(fg_assets_add(&assets, "config.json", LLAMA, strlen(LLAMA), &err), FG_OK);
    assert_int_equal(fg_assets_add(&assets, FG_ASSET_FACTS, facts[i], strlen(facts[i]), &err), FG_OK);
    assert_int_equal(fg_config_load(&config, &assets, &err), FG_CORRUPT);
    assert_non_null(strstr(err.message, "apart"));
    fg_assets_free(&assets);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_one_type_is_stacked),
      cmocka_unit_test(test_one_layer_with_another_type_keeps_all_apart),
      cmocka_unit_test(test_experts_of_two_types_are_kept_apart),
      cmocka_unit_test(test_a_stack_that_nobody_knows_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
