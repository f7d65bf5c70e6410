// Configurations of the families around GPT: old and new names of keys, forms that flags decide, what is
// refused.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gguf_header.h"
#include "json_config.h"
#include "memory_checkpoint.h"
#include "model/arch.h"
#include "model/pack.h"

#define GPT2    "\"model_type\":\"gpt2\",\"n_embd\":48,\"n_layer\":3,\"n_head\":4,\"vocab_size\":100"
#define BIGCODE "\"model_type\":\"gpt_bigcode\",\"n_embd\":48,\"n_layer\":3,\"n_head\":4,\"vocab_size\":100"
#define NEO                                                                                                  \
  "\"model_type\":\"gpt_neo\",\"hidden_size\":48,\"num_layers\":4,\"num_heads\":4,\"vocab_size\":100"
#define GPTJ    "\"model_type\":\"gptj\",\"n_embd\":48,\"n_layer\":3,\"n_head\":2,\"vocab_size\":100"
#define CODEGEN "\"model_type\":\"codegen\",\"n_embd\":48,\"n_layer\":3,\"n_head\":4,\"vocab_size\":100"
#define NEOX                                                                                                 \
  "\"model_type\":\"gpt_neox\",\"hidden_size\":64,\"num_hidden_layers\":2,\"num_attention_heads\":4,"        \
  "\"intermediate_size\":96,\"vocab_size\":100"
#define BLOOM "\"model_type\":\"bloom\",\"hidden_size\":48,\"n_layer\":3,\"n_head\":6,\"vocab_size\":100"
#define FALCON                                                                                               \
  "\"hidden_size\":48,\"num_hidden_layers\":2,\"num_attention_heads\":6,\"vocab_size\":100,\"model_type\":"  \
  "\"falcon\""
#define OLD_FALCON "\"hidden_size\":48,\"n_layer\":2,\"n_head\":6,\"vocab_size\":100"
#define MPT        "\"model_type\":\"mpt\",\"d_model\":48,\"n_layers\":2,\"n_heads\":6,\"vocab_size\":100"
#define STARCODER2                                                                                           \
  "\"model_type\":\"starcoder2\",\"hidden_size\":48,\"num_hidden_layers\":2,\"num_attention_heads\":6,"      \
  "\"num_key_value_heads\":2,\"intermediate_size\":96,\"vocab_size\":100"
#define STABLELM                                                                                             \
  "\"model_type\":\"stablelm\",\"hidden_size\":64,\"num_hidden_layers\":2,\"num_attention_heads\":4,"        \
  "\"num_key_value_heads\":2,\"intermediate_size\":96,\"vocab_size\":100"
#define OPT                                                                                                  \
  "\"model_type\":\"opt\",\"hidden_size\":48,\"num_hidden_layers\":2,\"num_attention_heads\":4,"             \
  "\"ffn_dim\":96,\"vocab_size\":100"

// What must be built, so that the family's parts fit each other.
static fg_graph *build(const fg_config *config) {
  fg_graph *graph;
  fg_error err = {FG_OK, ""};
  if (fg_graph_build(&graph, config, &err)) fail_msg("%s", err.message);
  return graph;
}

static void test_missing_keys_take_the_defaults_of_the_reference(void **state) {
  (void)state;
  static const struct {
    const char *json;
    uint32_t ffn, positions, rotary, groups, kv_heads;
    fg_activation activation;
    bool tied, qkv_bias;
  } cases[] = {
      {"{" GPT2 "}", 192, 1024, 12, 1, 4, FG_ACT_GELU_TANH, true, true},
      {"{" BIGCODE "}", 192, 1024, 12, 1, 1, FG_ACT_GELU_TANH, true, true},
      {"{" NEO "}", 192, 2048, 12, 0, 4, FG_ACT_GELU_TANH, true, false},
      {"{" GPTJ ",\"rotary_dim\":12}", 192, 2048, 12, 0, 2, FG_ACT_GELU_TANH, false, false},
      {"{" CODEGEN ",\"rotary_dim\":8}", 192, 2048, 8, 4, 4, FG_ACT_GELU_TANH, false, false},
      {"{" NEOX "}", 96, 2048, 4, 4, 4, FG_ACT_GELU_ERF, false, true},
      {"{" BLOOM "}", 192, 2048, 8, 6, 6, FG_ACT_GELU_TANH, true, true},
      {"{" FALCON "}", 192, 2048, 8, 1, 1, FG_ACT_GELU_ERF, true, false},
      {"{" MPT "}", 192, 2048, 8, 1, 6, FG_ACT_GELU_ERF, true, false},
      {"{" STARCODER2 "}", 96, 4096, 8, 0, 2, FG_ACT_GELU_TANH, true, true},
      {"{" STABLELM "}", 96, 4096, 4, 0, 2, FG_ACT_SILU, false, false},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    fg_config c = load(cases[i].json);
    assert_int_equal(c.ffn, cases[i].ffn);
    assert_int_equal(c.max_positions, cases[i].positions);
    assert_int_equal(c.rotary, cases[i].rotary);
    assert_int_equal(c.qkv_groups, cases[i].groups);
    assert_int_equal(c.kv_heads, cases[i].kv_heads);
    assert_int_equal(c.activation, cases[i].activation);
    assert_int_equal(c.tied, cases[i].tied);
    assert_int_equal(c.qkv_bias, cases[i].qkv_bias);
    assert_true(c.norm_eps == 1e-5);
    fg_graph_destroy(build(&c));
  }
}

static void test_old_and_new_names_of_keys_are_the_same(void **state) {
  (void)state;
#define V "\"vocab_size\":100"
  static const char *const pairs[][2] = {
      {"{" GPT2 ",\"n_positions\":77}",
       "{\"model_type\":\"gpt2\",\"hidden_size\":48,\"num_hidden_layers\":3,\"num_attention_heads\":4," V
       ",\"max_position_embeddings\":77}"},
      {"{" BLOOM "}",
       "{\"model_type\":\"bloom\",\"n_embed\":48,\"num_hidden_layers\":3,\"num_attention_heads\":6," V "}"},
      {"{" NEO "}",
       "{\"model_type\":\"gpt_neo\",\"hidden_size\":48,\"num_hidden_layers\":4,"
       "\"num_attention_heads\":4," V ",\"attention_layers\":[\"global\",\"local\",\"global\",\"local\"]}"},
      {"{" NEO "}", "{" NEO ",\"attention_types\":[[[\"global\",\"local\"],2]]}"},
      {"{" NEOX ",\"rotary_pct\":0.5,\"rotary_emb_base\":777}",
       "{" NEOX ",\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":777,"
       "\"partial_rotary_factor\":0.5}}"},
      {"{" STABLELM ",\"partial_rotary_factor\":0.5,\"rope_theta\":777}",
       "{" STABLELM ",\"rope_parameters\":{\"rope_theta\":777,\"partial_rotary_factor\":0.5}}"},
      {"{" MPT "}",
       "{\"model_type\":\"mpt\",\"hidden_size\":48,\"num_hidden_layers\":2,\"num_attention_heads\":6," V
       ",\"attn_config\":{\"clip_qkv\":null,\"alibi\":false,\"softmax_scale\":null},\"logit_scale\":0.5,"
       "\"expansion_ratio\":2}"},
      {"{" FALCON "}", "{" OLD_FALCON ",\"model_type\":\"RefinedWebModel\",\"multi_query\":true}"},
      {"{" FALCON ",\"num_kv_heads\":2,\"new_decoder_architecture\":true}",
       "{" OLD_FALCON ",\"model_type\":\"RefinedWeb\",\"n_head_kv\":2}"},
  };
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
    fg_config a = load(pairs[i][0]), b = load(pairs[i][1]);
    for (int set = 0; set < FG_ROPE_SETS;
         set++) { // what only scalings use is filled in by the newer form alone
      a.rope[set].low_freq_factor = b.rope[set].low_freq_factor;
      a.rope[set].high_freq_factor = b.rope[set].high_freq_factor;
      a.rope[set].original_positions = b.rope[set].original_positions;
    }
    if (memcmp(&a, &b, sizeof a) != 0) fail_msg("%s and %s differ", pairs[i][0], pairs[i][1]);
  }
}

static void test_gpt2_flags_scale_scores(void **state) {
  (void)state;
  fg_config c = load("{" GPT2 "}");
  assert_true(c.kind_count == 1 && fabs(c.score_scale - 1 / sqrt(12)) < 1e-12);
  c = load("{" GPT2 ",\"scale_attn_weights\":false}");
  assert_true(c.kind_count == 1 && c.score_scale == 1);
  c = load("{" GPT2 ",\"scale_attn_weights\":false,\"scale_attn_by_inverse_layer_idx\":true}");
  assert_int_equal(c.kind_count, 3);
  for (uint32_t i = 0; i < 3; i++) assert_true(c.kinds[c.kind_of_layer[i]].score_scale == 1.0 / (i + 1));
}

static void test_odd_share_of_a_head_turns_one_value_more(void **state) {
  (void)state;
  fg_config c = load("{" NEOX ",\"rotary_pct\":0.3125}");
  float out[3];
  assert_int_equal(c.rotary, 6);
  fg_rope_frequencies(&c.rope[0], c.rotary, false, out);
  for (int i = 0; i < 3; i++) assert_true(fabs(out[i] * pow(10000, 2 * i / 5.0) - 1) < 1e-6);
}

static void test_falcon_flags_choose_a_form(void **state) {
  (void)state;
  static const struct {
    const char *json;
    uint32_t kv_heads, groups;
    fg_residual residual;
    bool alibi;
    const char *norm;
  } cases[] = {
      {"{" FALCON ",\"num_kv_heads\":6}", 1, 1, FG_RESIDUAL_SHARED, false, "h.%u.input_layernorm"},
      {"{" FALCON ",\"num_kv_heads\":2,\"new_decoder_architecture\":true}", 2, 2, FG_RESIDUAL_PARALLEL, false,
       "h.%u.ln_attn"},
      {"{" FALCON ",\"num_kv_heads\":2,\"new_decoder_architecture\":true,\"num_ln_in_parallel_attn\":1}", 2,
       2, FG_RESIDUAL_SHARED, false, "h.%u.input_layernorm"},
      {"{" FALCON ",\"alibi\":true,\"bias\":true,\"multi_query\":false,\"parallel_attn\":false}", 6, 6,
       FG_RESIDUAL_SEQUENTIAL, true, "h.%u.input_layernorm"},
      {"{" OLD_FALCON ",\"model_type\":\"RefinedWeb\",\"alibi\":true,\"multi_query\":false,"
       "\"parallel_attn\":false}",
       6, 6, FG_RESIDUAL_SEQUENTIAL, true, "h.%u.input_layernorm"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    fg_config c = load(cases[i].json);
    assert_int_equal(c.kv_heads, cases[i].kv_heads);
    assert_int_equal(c.qkv_groups, cases[i].groups);
    assert_int_equal(c.residual, cases[i].residual);
    assert_int_equal(c.head_kind, cases[i].alibi ? FG_HEAD_ALIBI_BF16 : FG_HEAD_PLAIN);
    assert_string_equal(fg_config_names(&c)->attn_norm, cases[i].norm);
    fg_graph_destroy(build(&c));
  }
}

static void test_stablelm_heads_have_a_tensor_each(void **state) {
  (void)state;
  fg_config c = load("{" STABLELM ",\"qk_layernorm\":true,\"use_parallel_residual\":true}");
  fg_graph *graph = build(&c);
  uint32_t found = 0;
  for (uint32_t i = 0; i < graph->programs[0].slot_count; i++) {
    const fg_slot *slot = &graph->programs[0].slots[i];
    assert_int_not_equal(strcmp(slot->name, "mlp_norm"), 0);
    if (!strstr(slot->sources[0].tensor, "%h")) continue;
    assert_int_equal(slot->n, (found ? 2 : 4) * 16);
    found++;
  }
  assert_int_equal(found, 2);
  fg_graph_destroy(graph);
}

static fg_status plan_two_heads(const fg_checkpoint_tensor *tensors, size_t count, fg_pack_plan *plan,
                                fg_error *err) {
  fg_program program = {.slot_count = 1};
  fg_slot *slot = &program.slots[0];
  *slot = (fg_slot){.name = "q_norm", .kind = FG_WEIGHT_VECTOR, .n = 32, .k = 1, .source_count = 1};
  slot->sources[0] = (fg_source){.tensor = "layers.%u.norms.%h.weight", .rows = 32, .head_dim = 16};
  uint8_t program_of_layer[1] = {0};
  fg_graph *graph = calloc(1, sizeof *graph); // too large for a stack
  graph->layers = graph->program_count = 1;
  graph->programs = &program;
  graph->program_of_layer = program_of_layer;
  fg_checkpoint checkpoint = {.tensors = (fg_checkpoint_tensor *)tensors, .count = count};
  static const fg_names no_names;
  const fg_pack_source source = {.graph = graph, .names = &no_names, .checkpoint = &checkpoint};
  const fg_model_options options = {.family = fg_layout_family_plain()};
  fg_status status = fg_pack_plan_create(plan, &source, &options, err);
  if (!status) {
    assert_int_equal(plan->items[0].head_count, count == 2 ? 2 : 0);
    if (count == 2) assert_ptr_equal(plan->items[0].heads[1], &tensors[1]);
    fg_pack_plan_free(plan);
  }
  free(graph);
  return status;
}

static void test_head_that_is_missing_or_unlike_the_first_is_named(void **state) {
  (void)state;
  fg_checkpoint_tensor t[2] = {{.name = "layers.0.norms.0.weight",
                                .dtype = FG_BF16,
                                .dims = 1,
                                .shape = {16},
                                .rows = 1,
                                .columns = 16},
                               {.name = "layers.0.norms.1.weight",
                                .dtype = FG_BF16,
                                .dims = 1,
                                .shape = {16},
                                .rows = 1,
                                .columns = 16}};
  fg_pack_plan plan;
  fg_error err = {FG_OK, ""};
  assert_int_equal(plan_two_heads(t, 2, &plan, &err), FG_OK);
  assert_int_equal(plan_two_heads(t, 1, &plan, &err), FG_NOT_FOUND);
  assert_non_null(strstr(err.message, "layers.0.norms.1.weight"));
  t[1].columns = t[1].shape[0] = 8;
  assert_int_equal(plan_two_heads(t, 2, &plan, &err), FG_INVALID);
  assert_non_null(strstr(err.message, "layers.0.norms.1.weight"));
  t[1].columns = t[1].shape[0] = 16;
  t[1].dtype = FG_F32;
  assert_int_equal(plan_two_heads(t, 2, &plan, &err), FG_UNSUPPORTED);
  assert_non_null(strstr(err.message, "layers.0.norms.1.weight"));
}

static void test_made_up_checkpoint_has_all_heads_in_one_tensor(void **state) {
  (void)state;
  const fg_checkpoint_tensor one = {.name = "layers.0.norms.%h.weight",
                                    .dtype = FG_BF16,
                                    .dims = 1,
                                    .shape = {32},
                                    .rows = 1,
                                    .columns = 32};
  fg_pack_plan plan;
  fg_error err = {FG_OK, ""};
  assert_int_equal(plan_two_heads(&one, 1, &plan, &err), FG_OK);
}

static void test_stored_tensors_decide_about_biases_and_norms_of_opt(void **state) {
  (void)state;
  static const char *const jsons[] = {
      "{" OPT "}", "{" OPT ",\"enable_bias\":false,\"layer_norm_elementwise_affine\":false}"};
  for (int whole = 0; whole < 2; whole++) {
    memory_checkpoint checkpoint = {0};
    memory_add(&checkpoint, "model.decoder.embed_tokens.weight", FG_F32, 100, 48, NULL);
    if (whole) {
      memory_add(&checkpoint, "model.decoder.layers.0.fc2.bias", FG_F32, 0, 48, NULL);
      memory_add(&checkpoint, "model.decoder.layers.0.self_attn.out_proj.bias", FG_F32, 0, 48, NULL);
      memory_add(&checkpoint, "model.decoder.layers.0.self_attn.q_proj.bias", FG_F32, 0, 48, NULL);
      memory_add(&checkpoint, "model.decoder.layers.0.self_attn_layer_norm.weight", FG_F32, 0, 48, NULL);
    }
    fg_assets assets = {0};
    fg_config c;
    fg_error err = {FG_OK, ""};
    const char *json = jsons[whole];
    assert_int_equal(fg_assets_add(&assets, "config.json", json, strlen(json), &err), FG_OK);
    assert_int_equal(fg_facts_gather(&assets, &checkpoint.base, NULL, &err), FG_OK);
    assert_int_equal(fg_config_load(&c, &assets, &err), FG_OK);
    fg_assets_free(&assets);
    assert_true(c.qkv_bias == whole && c.out_bias == whole && c.mlp_bias == whole && c.norm_affine == whole);
  }
}

static void test_slopes_are_those_of_the_paper(void **state) {
  (void)state;
  static const struct {
    uint32_t heads, head;
    double slope;
  } cases[] = {{8, 0, 0.5},         {8, 7, 1.0 / 256},    {12, 8, 0.7071068},
               {12, 11, 0.0883883}, {16, 0, 0.7071068},   {16, 15, 0.00390625},
               {112, 0, 0.9170040}, {112, 64, 0.9576033}, {112, 111, 0.0163168}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    float slopes[112];
    fg_alibi_slopes(cases[i].heads, slopes);
    assert_true(fabs(slopes[cases[i].head] / cases[i].slope - 1) < 5e-6);
  }
}

// ---- GGUF ----------------------------------------------------------------------------------------------

static fg_config load_gguf_of(const char *arch, const char *tensor) {
  header h = begin_gguf(arch);
  if (tensor) put_tensor(&h, tensor);
  fg_config config;
  fg_error err = {FG_OK, ""};
  if (load_gguf(&h, &config, &err)) fail_msg("%s: %s", arch, err.message);
  return config;
}

static void test_gguf_holds_q_k_and_v_one_after_the_other(void **state) {
  (void)state;
  static const char *const archs[] = {"gpt2", "starcoder", "gptneox", "bloom", "falcon", "mpt"};
  for (size_t i = 0; i < sizeof archs / sizeof *archs; i++) {
    fg_config c = load_gguf_of(archs[i], NULL);
    assert_int_equal(c.qkv_groups, 1);
    fg_graph_destroy(build(&c));
  }
}

static void test_gguf_tensors_and_flags_choose_a_form(void **state) {
  (void)state;
  assert_int_equal(load_gguf_of("falcon", NULL).residual, FG_RESIDUAL_SHARED);
  fg_config c = load_gguf_of("falcon", "blk.0.attn_norm_2.weight");
  assert_int_equal(c.residual, FG_RESIDUAL_PARALLEL);
  assert_string_equal(fg_config_names(&c)->attn_norm, "blk.%u.attn_norm_2");
  assert_int_equal(load_gguf_of("stablelm", NULL).residual, FG_RESIDUAL_SHARED);
  assert_int_equal(load_gguf_of("stablelm", "blk.0.ffn_norm.weight").residual, FG_RESIDUAL_SEQUENTIAL);
  assert_int_equal(load_gguf_of("stablelm", "blk.0.attn_q_norm.weight").qk_norm, FG_QK_NORM_APART);
  assert_int_equal(load_gguf_of("gptneox", NULL).residual, FG_RESIDUAL_PARALLEL);
  header h = begin_gguf("gptneox");
  put_of(&h, "gptneox", "use_parallel_residual", GGUF_BOOL, "");
  fg_error err = {FG_OK, ""};
  assert_int_equal(load_gguf(&h, &c, &err), FG_OK);
  assert_int_equal(c.residual, FG_RESIDUAL_SEQUENTIAL);
}

static void test_gguf_mpt_with_other_slopes_or_positions_is_refused(void **state) {
  (void)state;
  fg_config c;
  fg_error err = {FG_OK, ""};
  const float most[] = {8, 0, 4}, clip = 6;
  for (int i = 0; i < 3; i++) {
    header h = begin_gguf("mpt");
    put_of(&h, "mpt", "attention.max_alibi_bias", GGUF_F32, &most[i]);
    put_of(&h, "mpt", "attention.clamp_kqv", GGUF_F32, &clip);
    assert_int_equal(load_gguf(&h, &c, &err), i ? FG_UNSUPPORTED : FG_OK);
    assert_true(c.clip_qkv == 6);
  }
  assert_non_null(strstr(err.message, "max_alibi_bias"));
  header h = begin_gguf("mpt");
  put_tensor(&h, "position_embd.weight");
  assert_int_equal(load_gguf(&h, &c, &err), FG_UNSUPPORTED);
  assert_non_null(strstr(err.message, "position_embd"));
}

// ---- refusals ------------------------------------------------------------------------------------------

static const struct {
  const char *json;
  fg_status status;
  const char *named; // must be in the message
} refusals[] = {
    {"{\"model_type\":\"gpt2\",\"vocab_size\":9}", FG_INVALID, "0 heads"},
    {"{" GPT2 ",\"add_cross_attention\":true}", FG_UNSUPPORTED, "add_cross_attention"},
    {"{" GPT2 ",\"activation_function\":\"gelu_10\"}", FG_UNSUPPORTED, "gelu_10"},
    {"{" BIGCODE ",\"multi_query\":3}", FG_INVALID, "multi_query"},
    {"{" NEO ",\"attention_types\":[[[\"global\",\"sparse\"],2]]}", FG_UNSUPPORTED, "sparse"},
    {"{" NEO ",\"attention_types\":[[[\"global\"],5]]}", FG_INVALID, "more than the 4 layers"},
    {"{" NEO ",\"attention_types\":[[[\"global\"],3]]}", FG_INVALID, "3 of 4 layers"},
    {"{" NEO ",\"attention_types\":[[[],4000000000]]}", FG_INVALID, "0 of 4 layers"},
    {"{" NEO ",\"attention_types\":[[\"global\",4]]}", FG_INVALID, "attention_types"},
    {"{" NEO ",\"attention_layers\":[1,2,3,4]}", FG_UNSUPPORTED, "no string"},
    {"{" GPTJ "}", FG_INVALID, "64 of the 24 values"},
    {"{\"model_type\":\"codegen\",\"n_embd\":48,\"n_layer\":3,\"n_head\":6,\"rotary_dim\":8,\"vocab_size\":"
     "9}",
     FG_INVALID, "4 groups"},
    {"{" NEOX ",\"rotary_pct\":0}", FG_INVALID, "of a head"},
    {"{" STABLELM ",\"partial_rotary_factor\":0.3125}", FG_INVALID, "5 of the 16 values"},
    {"{" FALCON ",\"new_decoder_architecture\":true,\"parallel_attn\":false}", FG_UNSUPPORTED,
     "parallel_attn"},
    {"{" FALCON ",\"num_ln_in_parallel_attn\":2}", FG_UNSUPPORTED, "num_ln_in_parallel_attn"},
    {"{" FALCON ",\"num_kv_heads\":5,\"new_decoder_architecture\":true}", FG_INVALID, "key-value"},
    {"{" MPT ",\"attn_config\":[1]}", FG_INVALID, "attn_config"},
    {"{" MPT ",\"attn_config\":{\"clip_qkv\":\"six\"}}", FG_INVALID, "clip_qkv"},
    {"{\"model_type\":\"bloom\",\"hidden_size\":48,\"n_layer\":3,\"n_head\":7,\"vocab_size\":9}", FG_INVALID,
     "multiple"},
    {"{\"model_type\":\"bloom\",\"hidden_size\":4294967295,\"n_layer\":1,\"n_head\":1,\"vocab_size\":9}",
     FG_INVALID, "4294967295"},
};

static void test_what_is_not_built_is_refused_by_name(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
    fg_config config;
    fg_error err = {FG_OK, ""};
    fg_status status = try_load(&config, refusals[i].json, &err);
    if (status != refusals[i].status || !strstr(err.message, refusals[i].named)) {
      fail_msg("%s: status %d, %s", refusals[i].json, status, err.message);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_missing_keys_take_the_defaults_of_the_reference),
      cmocka_unit_test(test_old_and_new_names_of_keys_are_the_same),
      cmocka_unit_test(test_gpt2_flags_scale_scores),
      cmocka_unit_test(test_odd_share_of_a_head_turns_one_value_more),
      cmocka_unit_test(test_falcon_flags_choose_a_form),
      cmocka_unit_test(test_stablelm_heads_have_a_tensor_each),
      cmocka_unit_test(test_head_that_is_missing_or_unlike_the_first_is_named),
      cmocka_unit_test(test_made_up_checkpoint_has_all_heads_in_one_tensor),
      cmocka_unit_test(test_stored_tensors_decide_about_biases_and_norms_of_opt),
      cmocka_unit_test(test_slopes_are_those_of_the_paper),
      cmocka_unit_test(test_gguf_holds_q_k_and_v_one_after_the_other),
      cmocka_unit_test(test_gguf_tensors_and_flags_choose_a_form),
      cmocka_unit_test(test_gguf_mpt_with_other_slopes_or_positions_is_refused),
      cmocka_unit_test(test_what_is_not_built_is_refused_by_name),
  };
  return cmocka_run_group_tests_name("config_gpt", tests, NULL, NULL);
}
