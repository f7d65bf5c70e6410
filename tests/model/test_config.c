// Numbers of a model from config.json and from GGUF headers: what is read, what is derived, what is refused.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gguf_header.h"
#include "memory_checkpoint.h"
#include "model/arch.h"

#define LLAMA                                                                                                \
  "\"model_type\":\"llama\",\"hidden_size\":64,\"num_hidden_layers\":3,\"num_attention_heads\":8,"           \
  "\"intermediate_size\":96,\"vocab_size\":100"
#define OPT                                                                                                  \
  "\"model_type\":\"opt\",\"hidden_size\":64,\"num_hidden_layers\":2,\"num_attention_heads\":4,\"ffn_dim\":" \
  "256,"                                                                                                     \
  "\"vocab_size\":100"

static fg_status load_with(fg_config *config, const char *json, const char *name, const char *more,
                           fg_error *err) {
  fg_assets assets = {0};
  assert_int_equal(fg_assets_add(&assets, "config.json", json, strlen(json), err), FG_OK);
  if (name) assert_int_equal(fg_assets_add(&assets, name, more, strlen(more), err), FG_OK);
  fg_status status = fg_config_load(config, &assets, err);
  fg_assets_free(&assets);
  return status;
}

static fg_config load(const char *json) {
  fg_config config;
  fg_error err = {FG_OK, ""};
  if (load_with(&config, json, NULL, NULL, &err)) fail_msg("%s", err.message);
  return config;
}

static void test_llama_takes_the_defaults_of_the_reference(void **state) {
  (void)state;
  fg_config c = load("{" LLAMA "}");
  assert_string_equal(c.arch->name, "llama");
  assert_int_equal(c.kv_heads, 8);
  assert_int_equal(c.head_dim, 8);
  assert_int_equal(c.max_positions, 2048);
  assert_int_equal(c.activation, FG_ACT_SILU);
  assert_true(c.norm_eps == 1e-6);
  assert_true(c.rope[0].theta == 10000);
  assert_false(c.qkv_bias || c.out_bias || c.mlp_bias || c.tied);
  assert_true(c.head_stored && c.embed_stored);
}

static void test_llama_reads_its_keys(void **state) {
  (void)state;
  fg_config c =
      load("{" LLAMA ",\"num_key_value_heads\":2,\"head_dim\":16,\"attention_bias\":true,\"mlp_bias\":true,"
           "\"rms_norm_eps\":1e-5,\"rope_theta\":500000.0,\"tie_word_embeddings\":true,"
           "\"max_position_embeddings\":4096,\"hidden_act\":\"gelu_pytorch_tanh\",\"pretraining_tp\":2}");
  assert_int_equal(c.kv_heads, 2);
  assert_int_equal(c.head_dim, 16);
  assert_true(c.qkv_bias && c.out_bias && c.mlp_bias && c.tied && !c.head_stored);
  assert_true(c.norm_eps == 1e-5 && c.rope[0].theta == 500000);
  assert_int_equal(c.activation, FG_ACT_GELU_TANH);
  assert_int_equal(c.max_positions, 4096);
}

static void test_opt_takes_the_defaults_of_the_reference(void **state) {
  (void)state;
  fg_config c = load("{" OPT "}");
  assert_int_equal(c.embed, 64);
  assert_int_equal(c.head_dim, 16);
  assert_int_equal(c.activation, FG_ACT_RELU);
  assert_true(c.norm_eps == 1e-5);
  assert_true(c.norms_before && c.norm_affine && c.qkv_bias && c.out_bias && c.mlp_bias && c.tied &&
              !c.no_final_norm);
}

static void test_opt_reads_its_flags(void **state) {
  (void)state;
  fg_config c =
      load("{" OPT ",\"word_embed_proj_dim\":32,\"do_layer_norm_before\":false,\"enable_bias\":false,"
           "\"layer_norm_elementwise_affine\":false,\"_remove_final_layer_norm\":true,"
           "\"activation_function\":\"gelu\",\"layer_norm_eps\":0.5}");
  assert_int_equal(c.embed, 32);
  assert_int_equal(c.activation, FG_ACT_GELU_ERF);
  assert_true(c.no_final_norm);
  assert_false(c.norms_before || c.norm_affine || c.qkv_bias || c.out_bias || c.mlp_bias);
  assert_true(c.norm_eps == 1e-5); // the reference does not read the key
}

typedef struct refusal {
  const char *json;
  fg_status status;
  const char *named; // must be in the message
} refusal;

static const refusal refusals[] = {
    {"{}", FG_UNSUPPORTED, "model_type"},
    {"{\"model_type\":\"bert\"}", FG_UNSUPPORTED, "bert"},
    {"{\"model_type\":7}", FG_INVALID, "model_type"},
    {"[]", FG_UNSUPPORTED, "model_type"},
    {"{", FG_CORRUPT, "config.json"},
    {"{\"model_type\":\"llama\"}", FG_INVALID, "hidden_size"},
    {"{" LLAMA ",\"hidden_act\":\"relu6\"}", FG_UNSUPPORTED, "relu6"},
    {"{" LLAMA ",\"hidden_act\":3}", FG_UNSUPPORTED, "hidden_act"},
    {"{" LLAMA ",\"sliding_window\":4096}", FG_UNSUPPORTED, "sliding_window"},
    {"{" LLAMA ",\"layer_types\":[\"full_attention\",\"sliding_attention\"]}", FG_UNSUPPORTED, "layer_types"},
    {"{" LLAMA ",\"partial_rotary_factor\":0.5}", FG_UNSUPPORTED, "partial_rotary_factor"},
    {"{" LLAMA ",\"num_local_experts\":8}", FG_UNSUPPORTED, "num_local_experts"},
    {"{" LLAMA ",\"logit_scale\":0.25}", FG_UNSUPPORTED, "logit_scale"},
    {"{" LLAMA ",\"rope_scaling\":{\"type\":\"mrope\",\"factor\":2}}", FG_UNSUPPORTED, "mrope"},
    {"{" LLAMA ",\"rope_scaling\":{\"rope_type\":\"yarn\",\"beta_fast\":0}}", FG_INVALID, "yarn"},
    {"{" LLAMA ",\"rope_parameters\":{\"rope_type\":\"longrope\"}}", FG_INVALID, "short_factor"},
    {"{" LLAMA ",\"rope_parameters\":[]}", FG_UNSUPPORTED, "rope_parameters"},
    {"{" LLAMA ",\"rope_parameters\":{\"partial_rotary_factor\":0.5}}", FG_UNSUPPORTED,
     "partial_rotary_factor"},
    {"{" LLAMA ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":0}}", FG_INVALID, "factor"},
    {"{" LLAMA ",\"rope_scaling\":{\"rope_type\":\"llama3\",\"high_freq_factor\":1,\"low_freq_factor\":1}}",
     FG_INVALID, "llama3"},
    {"{" LLAMA ",\"rope_theta\":-1}", FG_INVALID, "rotary base"},
    {"{" LLAMA ",\"rms_norm_eps\":0}", FG_INVALID, "epsilon"},
    {"{" LLAMA ",\"num_key_value_heads\":3}", FG_INVALID, "key-value"},
    {"{" LLAMA ",\"head_dim\":7}", FG_INVALID, "rotary"},
    {"{" LLAMA ",\"head_dim\":4294967295}", FG_INVALID, "heads"},
    {"{" LLAMA ",\"num_key_value_heads\":-1}", FG_INVALID, "num_key_value_heads"},
    {"{\"model_type\":\"llama\",\"hidden_size\":64,\"num_hidden_layers\":4294967295,\"num_attention_heads\":"
     "8,"
     "\"intermediate_size\":96,\"vocab_size\":100}",
     FG_INVALID, "layers"},
    {"{\"model_type\":\"llama\",\"hidden_size\":60,\"num_hidden_layers\":1,\"num_attention_heads\":8,"
     "\"intermediate_size\":96,\"vocab_size\":100}",
     FG_INVALID, "multiple"},
    {"{" OPT ",\"activation_function\":\"quick_gelu\"}", FG_UNSUPPORTED, "quick_gelu"},
    {"{" OPT ",\"do_layer_norm_before\":\"yes\"}", FG_INVALID, "do_layer_norm_before"},
    {"{" OPT ",\"max_position_embeddings\":0}", FG_INVALID, "0 positions"},
    {"{" LLAMA ",\"head_dim\":2,\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2}}", FG_INVALID,
     "dynamic"},
    {"{" LLAMA ",\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2,"
     "\"original_max_position_embeddings\":1e18}}",
     FG_INVALID, "1e+18"},
    {"{\"model_type\":\"phi\",\"hidden_size\":64,\"num_hidden_layers\":2,\"num_attention_heads\":4,"
     "\"intermediate_size\":96,\"vocab_size\":100,\"qk_layernorm\":1}",
     FG_INVALID, "qk_layernorm"},
};

static void test_what_would_change_results_is_refused_by_name(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
    fg_config config;
    fg_error err = {FG_OK, ""};
    fg_status status = load_with(&config, refusals[i].json, NULL, NULL, &err);
    if (status != refusals[i].status || !strstr(err.message, refusals[i].named)) {
      fail_msg("%s: status %d, %s", refusals[i].json, status, err.message);
    }
  }
}

static void test_neutral_values_are_allowed(void **state) {
  (void)state;
  load("{" LLAMA
       ",\"sliding_window\":null,\"layer_types\":[\"full_attention\",\"full_attention\"],\"logit_scale\":1.0,"
       "\"rope_scaling\":null,\"partial_rotary_factor\":1.0,\"num_local_experts\":0,\"quantization_config\":"
       "null}");
  load("{" LLAMA ",\"rope_scaling\":{\"type\":\"default\"}}");
}

// ---- rotary frequencies --------------------------------------------------------------------------------

typedef struct frequency {
  uint32_t i;
  double value;
} frequency;

static void assert_frequencies(const char *json, const frequency *expected, size_t count) {
  float out[FG_MAX_HEAD_DIM / 2];
  fg_config c = load(json);
  fg_rope_frequencies(&c.rope[0], c.head_dim, false, out);
  for (size_t i = 0; i < count; i++) {
    double got = out[expected[i].i], want = expected[i].value;
    if (fabs(got - want) > 3e-7 * want) fail_msg("frequency %u is %.9g, not %.9g", expected[i].i, got, want);
  }
}

// Llama-3.2-1B and Llama-3.1-8B, in double precision.
static void test_llama3_scaling_matches_its_formula(void **state) {
  (void)state;
  static const frequency small[] = {{1, 0.663601238},     {14, 0.00321144599}, {15, 0.00129054793},
                                    {16, 0.000429556797}, {17, 9.7082878e-05}, {18, 1.94616382e-05},
                                    {31, 9.41830673e-08}};
  static const frequency large[] = {{28, 0.00321144599},
                                    {29, 0.00216657076},
                                    {30, 0.00137189357},
                                    {35, 9.55621235e-05},
                                    {63, 3.06892599e-07}};
#define SCALED(head_dim, factor)                                                                             \
  "{" LLAMA ",\"head_dim\":" #head_dim ",\"rope_theta\":500000,\"rope_scaling\":{\"rope_type\":\"llama3\","  \
  "\"factor\":" #factor                                                                                      \
  ",\"low_freq_factor\":1,\"high_freq_factor\":4,\"original_max_position_embeddings\":8192}}"
  assert_frequencies(SCALED(64, 32), small, sizeof small / sizeof *small);
  assert_frequencies(SCALED(128, 8), large, sizeof large / sizeof *large);
}

static void test_old_and_new_form_of_rope_are_the_same(void **state) {
  (void)state;
  float a[FG_MAX_HEAD_DIM / 2], b[FG_MAX_HEAD_DIM / 2];
  fg_config old =
      load("{" LLAMA ",\"rope_theta\":70000,\"rope_scaling\":{\"type\":\"linear\",\"factor\":4}}");
  fg_config new =
      load("{" LLAMA ",\"rope_parameters\":{\"rope_type\":\"linear\",\"rope_theta\":70000,\"factor\":4}}");
  fg_rope_frequencies(&old.rope[0], 8, false, a);
  fg_rope_frequencies(&new.rope[0], 8, false, b);
  assert_memory_equal(a, b, 4 * sizeof *a);
  assert_true(a[0] == 0.25f);
}

// ---- facts ---------------------------------------------------------------------------------------------

static void test_stored_tensors_decide_about_tying(void **state) {
  (void)state;
  fg_config c;
  fg_error err;
  const char *tied = "{" LLAMA ",\"tie_word_embeddings\":true}", *untied = "{" LLAMA "}";
  assert_int_equal(load_with(&c, untied, FG_ASSET_FACTS, "{\"embed\":true,\"head\":false}", &err), FG_OK);
  assert_false(c.head_stored);
  assert_int_equal(load_with(&c, tied, FG_ASSET_FACTS, "{\"embed\":true,\"head\":true}", &err), FG_OK);
  assert_true(c.head_stored && c.embed_stored);
  assert_int_equal(load_with(&c, tied, FG_ASSET_FACTS, "{\"embed\":false,\"head\":true}", &err), FG_OK);
  assert_true(c.head_stored && !c.embed_stored);
}

static void test_rotary_divisors_must_fit_the_head(void **state) {
  (void)state;
  fg_config c;
  fg_error err;
  assert_int_equal(load_with(&c, "{" LLAMA "}", FG_ASSET_FACTS, "{\"rope_divisor\":[1,2,4,8]}", &err), FG_OK);
  float out[4];
  fg_rope_frequencies(&c.rope[0], 8, false, out);
  assert_true(out[0] == 1.0f && out[1] == 0.1f / 2);
  assert_int_equal(load_with(&c, "{" LLAMA "}", FG_ASSET_FACTS, "{\"rope_divisor\":[1,2]}", &err),
                   FG_INVALID);
  assert_int_equal(load_with(&c, "{" LLAMA "}", FG_ASSET_FACTS, "{\"rope_divisor\":[1,0,1,1]}", &err),
                   FG_CORRUPT);
}

// ---- ends of a text ------------------------------------------------------------------------------------

typedef struct ids {
  const char *config, *generation;
  int32_t eos[3];
  uint32_t count;
  int32_t bos;
} ids;

static void test_generation_config_wins_over_config_over_default(void **state) {
  (void)state;
  static const ids cases[] = {
      {"{" LLAMA "}", NULL, {2}, 1, 1},
      {"{" OPT "}", NULL, {2}, 1, 2},
      {"{" LLAMA ",\"eos_token_id\":7,\"bos_token_id\":5}", NULL, {7}, 1, 5},
      {"{" LLAMA ",\"eos_token_id\":[7,9,7]}", NULL, {7, 9}, 2, 1},
      {"{" LLAMA ",\"eos_token_id\":7}", "{\"eos_token_id\":[11,12,13]}", {11, 12, 13}, 3, 1},
      {"{" LLAMA ",\"eos_token_id\":7}", "{\"eos_token_id\":null}", {7}, 1, 1},
      {"{" LLAMA ",\"eos_token_id\":7}", "{\"bos_token_id\":3}", {7}, 1, 3},
      {"{" LLAMA ",\"eos_token_id\":null,\"bos_token_id\":null}", NULL, {0}, 0, -1},
      {"{" LLAMA ",\"eos_token_id\":-1}", NULL, {0}, 0, 1},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const ids *k = &cases[i];
    fg_error err = {FG_OK, ""};
    fg_assets assets = {0};
    fg_config config = load(k->config);
    int32_t eos[16], bos;
    uint32_t count;
    assert_int_equal(fg_assets_add(&assets, "config.json", k->config, strlen(k->config), &err), FG_OK);
    if (k->generation) {
      assert_int_equal(
          fg_assets_add(&assets, "generation_config.json", k->generation, strlen(k->generation), &err),
          FG_OK);
    }
    assert_int_equal(fg_config_token_ids(&config, &assets, eos, 16, &count, &bos, &err), FG_OK);
    assert_int_equal(count, k->count);
    assert_memory_equal(eos, k->eos, count * sizeof *eos);
    assert_int_equal(bos, k->bos);
    fg_assets_free(&assets);
  }
}

// ---- GGUF ----------------------------------------------------------------------------------------------

static header gguf(void) {
  header h = gguf_header("llama");
  put_u32(&h, "llama.embedding_length", 64);
  put_u32(&h, "llama.block_count", 3);
  put_u32(&h, "llama.feed_forward_length", 96);
  put_u32(&h, "llama.attention.head_count", 8);
  put_u32(&h, "llama.attention.head_count_kv", 2);
  put_u32(&h, "llama.context_length", 512);
  put_f32(&h, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
  return h;
}

static void test_gguf_header_is_a_configuration(void **state) {
  (void)state;
  header h = gguf();
  put_u32(&h, "llama.vocab_size", 100);
  put_f32(&h, "llama.rope.freq_base", 100000);
  put_u32(&h, "llama.rope.dimension_count", 8);
  fg_config c;
  fg_error err = {FG_OK, ""};
  assert_int_equal(load_gguf(&h, &c, &err), FG_OK);
  assert_true(c.gguf);
  assert_int_equal(c.kv_heads, 2);
  assert_int_equal(c.vocab, 100);
  assert_int_equal(c.max_positions, 512);
  assert_true(c.rope[0].theta == 100000);
  assert_true(c.norm_eps == (double)1e-5f);
}

static void test_gguf_vocabulary_is_its_list_of_tokens(void **state) {
  (void)state;
  header h = gguf();
  const uint32_t string_type = 8;
  const uint64_t tokens = 5;
  put_u32(&h, "llama.vocab_size", 100);
  put_key(&h, "tokenizer.ggml.tokens", 9);
  put(&h, &string_type, 4);
  put(&h, &tokens, 8);
  for (int i = 0; i < 5; i++) put_text(&h, "t");
  fg_config c;
  fg_error err;
  assert_int_equal(load_gguf(&h, &c, &err), FG_OK);
  assert_int_equal(c.vocab, 5);
}

static void test_gguf_that_is_more_than_llama_is_refused_by_key(void **state) {
  (void)state;
  static const struct {
    const char *key;
    uint32_t integer;
    float real;
    const char *text;
  } cases[] = {
      {"llama.attention.sliding_window", 4096, 0, NULL},
      {"llama.attention.value_length", 16, 0, NULL},
      {"llama.logit_scale", 0, 0.5f, NULL},
      {"llama.rope.scaling.type", 0, 0, "longrope"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    header h = gguf();
    put_u32(&h, "llama.vocab_size", 100);
    if (cases[i].text)
      put_string(&h, cases[i].key, cases[i].text);
    else if (cases[i].integer)
      put_u32(&h, cases[i].key, cases[i].integer);
    else
      put_f32(&h, cases[i].key, cases[i].real);
    fg_config c;
    fg_error err = {FG_OK, ""};
    assert_int_equal(load_gguf(&h, &c, &err), FG_UNSUPPORTED);
    assert_non_null(strstr(err.message, cases[i].text ? cases[i].text : cases[i].key));
  }
}

static void test_gguf_ends_are_eos_and_eot(void **state) {
  (void)state;
  header h = gguf();
  put_u32(&h, "llama.vocab_size", 100);
  put_u32(&h, "tokenizer.ggml.eos_token_id", 2);
  put_u32(&h, "tokenizer.ggml.eot_token_id", 9);
  put_u32(&h, "tokenizer.ggml.bos_token_id", 4);
  fg_assets assets = {0};
  fg_config c;
  fg_error err;
  int32_t eos[16], bos;
  uint32_t count;
  assert_int_equal(fg_assets_add(&assets, FG_ASSET_GGUF_HEADER, h.data, h.bytes, &err), FG_OK);
  assert_int_equal(fg_config_load(&c, &assets, &err), FG_OK);
  assert_int_equal(fg_config_token_ids(&c, &assets, eos, 16, &count, &bos, &err), FG_OK);
  fg_assets_free(&assets);
  assert_int_equal(count, 2);
  assert_int_equal(eos[0], 2);
  assert_int_equal(eos[1], 9);
  assert_int_equal(bos, 4);
}

static void test_gguf_tensors_say_what_its_header_does_not(void **state) {
  (void)state;
  static const float divisors[4] = {1, 1, 2, 8};
  header h = gguf();
  put_u32(&h, "llama.vocab_size", 100);
  fg_assets assets = {0};
  fg_config c;
  fg_error err = {FG_OK, ""};
  float plain[4], divided[4];
  assert_int_equal(load_gguf(&h, &c, &err), FG_OK);
  fg_rope_frequencies(&c.rope[0], 8, false, plain);

  memory_checkpoint checkpoint = {0};
  memory_add(&checkpoint, "blk.0.attn_q.bias", FG_F32, 0, 64, NULL);
  memory_add(&checkpoint, "rope_freqs.weight", FG_F32, 0, 4, divisors);
  memory_add(&checkpoint, "token_embd.weight", FG_F32, 100, 64, NULL);
  assert_int_equal(fg_assets_add(&assets, FG_ASSET_GGUF_HEADER, h.data, h.bytes, &err), FG_OK);
  assert_int_equal(fg_facts_gather(&assets, &checkpoint.base, NULL, &err), FG_OK);
  assert_int_equal(fg_config_load(&c, &assets, &err), FG_OK);
  fg_assets_free(&assets);
  assert_true(c.qkv_bias && !c.out_bias && !c.mlp_bias);
  assert_true(c.embed_stored && !c.head_stored);
  fg_rope_frequencies(&c.rope[0], 8, false, divided);
  for (int i = 0; i < 4; i++) assert_true(divided[i] == plain[i] / divisors[i]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_llama_takes_the_defaults_of_the_reference),
      cmocka_unit_test(test_llama_reads_its_keys),
      cmocka_unit_test(test_opt_takes_the_defaults_of_the_reference),
      cmocka_unit_test(test_opt_reads_its_flags),
      cmocka_unit_test(test_what_would_change_results_is_refused_by_name),
      cmocka_unit_test(test_neutral_values_are_allowed),
      cmocka_unit_test(test_llama3_scaling_matches_its_formula),
      cmocka_unit_test(test_old_and_new_form_of_rope_are_the_same),
      cmocka_unit_test(test_stored_tensors_decide_about_tying),
      cmocka_unit_test(test_rotary_divisors_must_fit_the_head),
      cmocka_unit_test(test_generation_config_wins_over_config_over_default),
      cmocka_unit_test(test_gguf_header_is_a_configuration),
      cmocka_unit_test(test_gguf_vocabulary_is_its_list_of_tokens),
      cmocka_unit_test(test_gguf_that_is_more_than_llama_is_refused_by_key),
      cmocka_unit_test(test_gguf_ends_are_eos_and_eot),
      cmocka_unit_test(test_gguf_tensors_say_what_its_header_does_not),
  };
  return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
